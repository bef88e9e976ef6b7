/* Presence of a resident on the homeserver (specs/presence-heartbeat, CONTRACT §5): by the
 * resident's own access token, or, without one, as the application service that owns the account.
 * The resident is named by his Matrix id, or by his id in the city: then he must have an account
 * already, as none is made for a heartbeat (not_provisioned).
 * Heartbeats come again by themselves, so none of them waits for the homeserver's rate limit. */
#include "matrix/matrix_id.h"
#include "roles/matrix_gateway/gateway.h"
#include "roles/matrix_gateway/repo.h"
#include "roles/request.h"

#define STATUS_MSG_MAX_CHARS 200
#define TOKEN_MAX_CHARS      4096

struct presence_flow {
    struct dc_gateway_flow flow;
    struct dc_slice city_user_id; /* whose account is to be found; ptr NULL: user_id is known */
    struct dc_slice user_id, token, status, status_msg;
};

struct presence_body {
    struct dc_slice matrix_user_id, user_id, access_token, status, status_msg;
};
static const struct dc_field presence_fields[] = {
    {"matrix_user_id", DC_FIELD_TEXT, DC_FIELD_NULLABLE, 1, DC_MATRIX_ID_MAX_BYTES,
     offsetof(struct presence_body, matrix_user_id)},
    {"user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct presence_body, user_id)},
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

/* --- by the id in the city --- */

static void fail_named(struct presence_flow *f, enum dc_status st, const char *code_z,
                       const char *text_z)
{
    struct dc_error err = {0};
    (void)dc_fail_code(&err, st, code_z, "%s", text_z);
    dc_gateway_fail(&f->flow, &err, -1);
}

static void put_as_service(struct dc_gateway_flow *flow);

static void on_account(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    struct presence_flow *f = data;
    struct dc_matrix_account account;
    struct dc_slice localpart;
    struct dc_slice server;
    if (st != DC_OK) {
        dc_gateway_fail(&f->flow, err, -1);
        return;
    }
    DC_ASSERT(n == 1);
    dc_gateway_repo_read(results[0], &account);
    if (!account.is_provisioned) {
        fail_named(f, DC_NOT_FOUND, "not_provisioned", "this user has no Matrix account");
        return;
    }
    if (!dc_matrix_id_split(account.matrix_user_id, '@', &localpart, &server) ||
        !dc_slice_eq(server, f->flow.g->server_name)) {
        fail_named(f, DC_CONFLICT, "account_taken", /* of this user alone: the others can be told */
                   "MATRIX_SERVER_NAME has changed: this user's account is on another homeserver");
        return;
    }
    f->user_id = dc_arena_dup(dc_http_arena(f->flow.r), account.matrix_user_id);
    if (f->user_id.ptr == NULL) {
        fail_named(f, DC_NO_MEMORY, dc_status_code(DC_NO_MEMORY), dc_status_text(DC_NO_MEMORY));
    } else {
        put_as_service(&f->flow);
    }
}

static void find_account(struct dc_gateway_flow *flow)
{
    struct presence_flow *f = (struct presence_flow *)flow;
    struct dc_gateway *g = flow->g;
    struct dc_error err = {0};
    if (!dc_gateway_has_as(g)) {
        fail_named(f, DC_CONFLICT, "no_application_service",
                   "the gateway is an administrator: it cannot speak as a resident without his "
                   "access token");
    } else if (dc_db_submit(dc_gateway_repo_find(g->ctx->db, f->city_user_id), on_account, f, NULL,
                            &err) != DC_OK) {
        dc_gateway_fail(flow, &err, -1);
    }
}

/* --- by the Matrix id --- */

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

/* What is wrong with the body, in words for dc_gateway_fail_field(). */
struct complaint {
    const char *field_z, *code_z, *detail_z;
};

static bool check(const struct presence_body *body, struct dc_slice server_name,
                  struct complaint *c)
{
    struct dc_slice localpart;
    struct dc_slice server;
    *c = (struct complaint){0};
    if (body->user_id.ptr != NULL) {
        if (body->matrix_user_id.ptr != NULL || body->access_token.len > 0) {
            *c = (struct complaint){"user_id", "invalid_format",
                                    "names the resident alone: no matrix_user_id or access_token "
                                    "beside it"};
        }
    } else if (body->matrix_user_id.ptr == NULL) {
        *c = (struct complaint){"matrix_user_id", "missing", "is needed, or user_id"};
    } else if (!dc_matrix_id_split(body->matrix_user_id, '@', &localpart, &server)) {
        *c = (struct complaint){"matrix_user_id", "invalid_format",
                                "is not a user id such as @name:example.org"};
    } else if (!dc_slice_eq(server, server_name)) {
        *c =
            (struct complaint){"matrix_user_id", "wrong_server", "is a user of another homeserver"};
    }
    if (c->field_z == NULL && !is_status(body->status)) {
        *c =
            (struct complaint){"status", "invalid_format", "is not online, unavailable or offline"};
    } else if (c->field_z == NULL && !is_token(body->access_token)) {
        *c = (struct complaint){"access_token", "invalid_format",
                                "has characters that no token has"};
    }
    return c->field_z == NULL;
}

void dc_gateway_set_presence(void *ctx, struct dc_http_request *r)
{
    struct dc_gateway *g = ctx;
    struct presence_body body = {.status = DC_S("online")};
    struct complaint c;
    struct presence_flow *f = (struct presence_flow *)dc_gateway_flow_begin(g, r, sizeof(*f));
    if (f == NULL) {
        return;
    }
    if (!dc_http_read_json(r, presence_fields, DC_ARRAY_LEN(presence_fields), &body)) {
        dc_gateway_end(g);
        return;
    }
    if (!check(&body, g->server_name, &c)) {
        dc_gateway_fail_field(&f->flow, c.field_z, c.code_z, c.detail_z);
        return;
    }
    f->city_user_id = body.user_id;
    f->user_id = body.matrix_user_id;
    f->token = body.access_token;
    f->status = body.status;
    f->status_msg = body.status_msg;
    if (f->token.len > 0) {
        f->flow.is_callers_token = true;
        put(f, (struct dc_matrix_auth){.token = f->token});
    } else {
        dc_gateway_when_known(&f->flow, false,
                              f->city_user_id.ptr != NULL ? find_account : put_as_service);
    }
}
