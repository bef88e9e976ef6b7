/* Presence of a resident on the homeserver (specs/presence-heartbeat, CONTRACT §5): by the
 * resident's own access token, or, without one, as the application service that owns the account.
 * Heartbeats come again by themselves, so none of them waits for the homeserver's rate limit. */
#include "matrix/matrix_id.h"
#include "roles/matrix_gateway/gateway.h"
#include "roles/request.h"

#define STATUS_MSG_MAX_CHARS 200
#define TOKEN_MAX_CHARS      4096

struct presence_flow {
    struct dc_gateway_flow flow;
    struct dc_slice user_id, token, status, status_msg;
};

struct presence_body {
    struct dc_slice matrix_user_id, access_token, status, status_msg;
};
static const struct dc_field presence_fields[] = {
    {"matrix_user_id", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 1, DC_MATRIX_ID_MAX_BYTES,
     offsetof(struct presence_body, matrix_user_id)},
    {"access_token", DC_FIELD_TEXT, DC_FIELD_NULLABLE | DC_FIELD_SINGLE_LINE, 1, TOKEN_MAX_CHARS,
     offsetof(struct presence_body, access_token)},
    {"status", DC_FIELD_TEXT, DC_FIELD_NULLABLE, 0, 0, offsetof(struct presence_body, status)},
    {"status_msg", DC_FIELD_TEXT, DC_FIELD_NULLABLE | DC_FIELD_SINGLE_LINE, 0, STATUS_MSG_MAX_CHARS,
     offsetof(struct presence_body, status_msg)},
};

static void on_set(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                   const struct dc_error *err)
{
    struct presence_flow *f = data;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    if (st != DC_OK) {
        dc_gateway_fail(&f->flow, err, answer->retry_after_ms);
        return;
    }
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_bool(&w, "ok", true);
    dc_jsonw_key_text(&w, "matrix_user_id", f->user_id);
    dc_jsonw_key_text(&w, "status", f->status);
    dc_jsonw_end(&w);
    dc_gateway_reply(&f->flow, &out);
}

static void put(struct presence_flow *f, struct dc_matrix_auth auth)
{
    struct dc_error err = {0};
    struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_set);
    how.is_impatient = true;
    enum dc_status st =
        dc_matrix_set_presence(f->flow.g->matrix, &how, f->user_id, f->status, f->status_msg, &err);
    if (st != DC_OK) {
        dc_gateway_fail(&f->flow, &err, -1);
    }
}

static void put_as_service(struct dc_gateway_flow *flow)
{
    struct presence_flow *f = (struct presence_flow *)flow;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    if (!dc_gateway_has_as(flow->g)) {
        dc_gateway_fail_field(flow, "access_token", "missing",
                              "is needed: the gateway has no application service to speak as");
    } else if (dc_gateway_auth(flow->g, &auth, &err) != DC_OK) {
        dc_gateway_fail(flow, &err, -1);
    } else {
        auth.as_user_id = f->user_id;
        put(f, auth);
    }
}

static bool is_status(struct dc_slice text)
{
    return dc_slice_eq(text, DC_S("online")) || dc_slice_eq(text, DC_S("unavailable")) ||
           dc_slice_eq(text, DC_S("offline"));
}

static bool is_token(struct dc_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~') {
            return false;
        }
    }
    return true;
}

void dc_gateway_set_presence(void *ctx, struct dc_http_request *r)
{
    struct dc_gateway *g = ctx;
    struct presence_body body = {.status = DC_S("online")};
    struct dc_slice localpart;
    struct dc_slice server;
    struct presence_flow *f = (struct presence_flow *)dc_gateway_flow_begin(g, r, sizeof(*f));
    if (f == NULL) {
        return;
    }
    if (!dc_http_read_json(r, presence_fields, DC_ARRAY_LEN(presence_fields), &body)) {
        dc_gateway_end(g);
        return;
    }
    if (!dc_matrix_id_split(body.matrix_user_id, '@', &localpart, &server)) {
        dc_gateway_fail_field(&f->flow, "matrix_user_id", "invalid_format",
                              "is not a user id such as @name:example.org");
    } else if (!dc_slice_eq(server, g->server_name)) {
        dc_gateway_fail_field(&f->flow, "matrix_user_id", "wrong_server",
                              "is a user of another homeserver");
    } else if (!is_status(body.status)) {
        dc_gateway_fail_field(&f->flow, "status", "invalid_format",
                              "is not online, unavailable or offline");
    } else if (!is_token(body.access_token)) {
        dc_gateway_fail_field(&f->flow, "access_token", "invalid_format",
                              "has characters that no token has");
    } else {
        f->user_id = body.matrix_user_id;
        f->token = body.access_token;
        f->status = body.status;
        f->status_msg = body.status_msg;
        if (f->token.len > 0) {
            f->flow.is_callers_token = true;
            put(f, (struct dc_matrix_auth){.token = f->token});
        } else {
            dc_gateway_when_known(&f->flow, false, put_as_service);
        }
    }
}
