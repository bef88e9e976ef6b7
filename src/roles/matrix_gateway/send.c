/* Saying in a Matrix room what a resident has said in the city: as the application service, by the
 * resident's own account.
 *
 *   account ─ name ─┬─ said already? ─┐
 *                   └─────────────────┴─ send ── 403 ─ join ─ send ─ the event's id
 *
 * The message's id is the transaction's, so a repetition gives the same event, as long as the
 * homeserver remembers; and it stands in the event, so that who is not sure whether it has been
 * said (is_unsure: after a crash, or without an answer) can have it looked up first. */
#include "matrix/matrix_push.h"
#include "matrix/matrix_read.h"
#include "roles/matrix_gateway/accounts.h"

/* In bytes and so in characters: the whole event has 64 KiB at most. */
#define BODY_MAX_CHARS 65536

struct send_flow {
    struct dc_gateway_flow flow;
    struct dc_gateway_account account;
    struct dc_slice room_id, body, message_id;
    bool is_unsure;
    bool has_joined;
};

static void fail(struct send_flow *f, const struct dc_error *err, int64_t retry_after_ms)
{
    dc_gateway_account_close(&f->account);
    dc_gateway_fail(&f->flow, err, retry_after_ms);
}

static void on_account_failed(struct dc_gateway_account *a, const struct dc_error *err,
                              int64_t retry_after_ms)
{
    dc_gateway_fail(a->flow, err, retry_after_ms);
}

static void reply(struct send_flow *f, struct dc_slice event_id)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event_id", event_id);
    dc_jsonw_end(&w);
    dc_gateway_account_close(&f->account);
    dc_gateway_reply(&f->flow, &out);
}

/* The service's token and the resident's id. */
static enum dc_status auth_as_resident(const struct send_flow *f, struct dc_matrix_auth *auth,
                                       struct dc_error *err)
{
    enum dc_status st = dc_gateway_as_auth(f->flow.g, auth, err);
    if (st == DC_OK) {
        auth->as_user_id = f->account.matrix_user_id;
    }
    return st;
}

/* --- sending --- */

static void send_text(struct send_flow *f);

static void on_joined(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                      const struct dc_error *cause)
{
    struct send_flow *f = data;
    struct dc_error err = {0};
    if (st == DC_OK) {
        send_text(f);
    } else if ((st == DC_FORBIDDEN || st == DC_NOT_FOUND) &&
               dc_gateway_account_repair(&f->account)) {
        f->has_joined = false;       /* it was the account that is not there */
    } else if (st == DC_NOT_FOUND) { /* with an account that is there: it is the room */
        (void)dc_fail_code(&err, DC_NOT_FOUND, "matrix_room_gone",
                           "the homeserver has no such room (any more)");
        fail(f, &err, -1);
    } else {
        fail(f, cause, answer->retry_after_ms);
    }
}

static void join(struct send_flow *f)
{
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = auth_as_resident(f, &auth, &err);
    f->has_joined = true;
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_joined);
        st = dc_matrix_join(f->flow.g->matrix, &how, f->room_id, &err);
    }
    if (st != DC_OK) {
        fail(f, &err, -1);
    }
}

static void on_sent(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                    const struct dc_error *cause)
{
    struct send_flow *f = data;
    struct dc_slice event_id;
    struct dc_error err = {0};
    int http_status = answer->http_status;
    if (st == DC_OK && dc_matrix_read_event_id(answer->json, &event_id, &err) == DC_OK) {
        f->flow.g->messages_sent->value++;
        reply(f, event_id);
    } else if (st == DC_OK) {
        fail(f, &err, -1);
    } else if (st == DC_FORBIDDEN && strcmp(dc_error_code(cause), "matrix_forbidden") == 0 &&
               !f->has_joined) {
        join(f);
    } else if (st == DC_UPSTREAM && http_status >= 400 && http_status < 500) {
        /* It has looked at this very message and does not take it. */
        (void)dc_fail_code(&err, DC_CONFLICT, "matrix_refused", "%s", dc_error_text(cause));
        fail(f, &err, -1);
    } else {
        fail(f, cause, answer->retry_after_ms);
    }
}

static void send_text(struct send_flow *f)
{
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = auth_as_resident(f, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_text text = {.room_id = f->room_id,
                                            .txn_id = f->message_id,
                                            .body = f->body,
                                            .message_id = f->message_id};
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_sent);
        st = dc_matrix_send_text(f->flow.g->matrix, &how, &text, &err);
    }
    if (st != DC_OK) {
        fail(f, &err, -1);
    }
}

/* --- has it been said already? --- */

static void on_said(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                    const struct dc_error *cause)
{
    struct send_flow *f = data;
    size_t i;
    const json_t *event;
    struct dc_slice event_id;
    struct dc_error err = {0};
    /* Who is not in the room, or is not at all, has said nothing. */
    if (st != DC_OK && st != DC_FORBIDDEN && st != DC_NOT_FOUND) {
        fail(f, cause, answer->retry_after_ms);
        return;
    }
    json_array_foreach(st == DC_OK ? json_object_get(answer->json, "chunk") : NULL, i, event)
    {
        const json_t *content = json_object_get(event, "content");
        if (dc_slice_eq(dc_json_text(content, DC_MATRIX_MESSAGE_ID_KEY), f->message_id) &&
            dc_slice_eq(dc_json_text(event, "sender"), f->account.matrix_user_id) &&
            dc_matrix_read_event_id(event, &event_id, &err) == DC_OK) {
            reply(f, event_id);
            return;
        }
    }
    send_text(f);
}

static void look(struct send_flow *f)
{
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = auth_as_resident(f, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_said);
        st =
            dc_matrix_said_by(f->flow.g->matrix, &how, f->room_id, f->account.matrix_user_id, &err);
    }
    if (st != DC_OK) {
        fail(f, &err, -1);
    }
}

/* --- the account --- */

static void on_named(struct dc_gateway_account *a)
{
    struct send_flow *f = DC_CONTAINER_OF(a, struct send_flow, account);
    dc_gateway_account_close(a); /* what is left concerns this message alone */
    if (f->is_unsure) {
        look(f);
    } else {
        send_text(f);
    }
}

static void on_account(struct dc_gateway_account *a)
{
    struct send_flow *f = DC_CONTAINER_OF(a, struct send_flow, account);
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    if (auth_as_resident(f, &auth, &err) != DC_OK) {
        fail(f, &err, -1);
        return;
    }
    dc_gateway_account_show_name(a, auth, on_named);
}

static void begin(struct dc_gateway_flow *flow)
{
    struct send_flow *f = (struct send_flow *)flow;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    if (auth_as_resident(f, &auth, &err) == DC_OK) {
        dc_gateway_account_open(&f->account);
    } else {
        dc_gateway_fail(flow, &err, -1);
    }
}

struct send_body {
    struct dc_slice user_id, username, body, txn_id;
    bool is_unsure;
};
static const struct dc_field send_fields[] = {
    {"user_id", DC_FIELD_ID, DC_FIELD_REQUIRED, 0, 0, offsetof(struct send_body, user_id)},
    {"username", DC_FIELD_TEXT, DC_FIELD_NULLABLE | DC_FIELD_TRIM | DC_FIELD_SINGLE_LINE, 1,
     DC_GATEWAY_NAME_MAX_CHARS, offsetof(struct send_body, username)},
    {"body", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 1, BODY_MAX_CHARS, offsetof(struct send_body, body)},
    {"txn_id", DC_FIELD_KEY, DC_FIELD_REQUIRED, 0, 0, offsetof(struct send_body, txn_id)},
    {"is_unsure", DC_FIELD_BOOL, 0, 0, 0, offsetof(struct send_body, is_unsure)},
};

void dc_gateway_send_message(void *ctx, struct dc_http_request *r)
{
    struct dc_gateway *g = ctx;
    struct send_body body = {0};
    struct send_flow *f = (struct send_flow *)dc_gateway_flow_begin(g, r, sizeof(*f));
    if (f == NULL) {
        return;
    }
    if (!dc_http_read_json(r, send_fields, DC_ARRAY_LEN(send_fields), &body)) {
        dc_gateway_end(g);
        return;
    }
    if (!dc_gateway_take_room_id(&f->flow, &f->room_id)) {
        return;
    }
    f->account = (struct dc_gateway_account){.flow = &f->flow,
                                             .user_id = body.user_id,
                                             .display_name = body.username,
                                             .ready = on_account,
                                             .failed = on_account_failed};
    f->body = body.body;
    f->message_id = body.txn_id;
    f->is_unsure = body.is_unsure;
    dc_gateway_when_known(&f->flow, false, begin);
}
