/* Tokens of residents: the account (accounts.h), then a login, then the name that others see.
 *
 * Every token is one of its own, and with an application service it belongs to a device of its own,
 * so a second tab never ends the first one's session. */
#include "base/input.h"
#include "matrix/matrix_read.h"
#include "roles/matrix_gateway/accounts.h"

struct token_flow {
    struct dc_gateway_flow flow;
    struct dc_gateway_account account;
    struct dc_slice device_id; /* as asked */
    struct dc_slice token, device;
};

static void fail(struct token_flow *f, const struct dc_error *err, int64_t retry_after_ms)
{
    dc_gateway_account_close(&f->account);
    dc_gateway_fail(&f->flow, err, retry_after_ms);
}

static void on_account_failed(struct dc_gateway_account *a, const struct dc_error *err,
                              int64_t retry_after_ms)
{
    dc_gateway_fail(a->flow, err, retry_after_ms);
}

static void reply(struct dc_gateway_account *a)
{
    struct token_flow *f = DC_CONTAINER_OF(a, struct token_flow, account);
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    f->flow.g->tokens_issued->value++;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "matrix_user_id", a->matrix_user_id);
    dc_jsonw_key_text(&w, "access_token", f->token);
    dc_jsonw_key_text(&w, "device_id", f->device);
    dc_jsonw_key_text(&w, "home_server", f->flow.g->server_name);
    dc_jsonw_end(&w);
    dc_gateway_account_close(a);
    dc_gateway_reply(&f->flow, &out);
}

static struct dc_slice keep(struct token_flow *f, struct dc_slice text)
{
    return text.ptr == NULL ? text : dc_arena_dup(dc_http_arena(f->flow.r), text);
}

static void on_login(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                     const struct dc_error *cause)
{
    struct token_flow *f = data;
    struct dc_slice token;
    struct dc_slice device;
    struct dc_error err = {0};
    bool is_gone = st == DC_NOT_FOUND ||
                   (st == DC_FORBIDDEN && strcmp(dc_error_code(cause), "matrix_forbidden") == 0);
    if (is_gone && dc_gateway_account_repair(&f->account)) {
        return;
    }
    if (st != DC_OK) {
        fail(f, cause, answer->retry_after_ms);
        return;
    }
    if (dc_matrix_read_login(answer->json, &token, &device, &err) != DC_OK) {
        fail(f, &err, -1);
        return;
    }
    f->token = keep(f, token);
    f->device = keep(f, device);
    if (f->token.ptr == NULL || (device.ptr != NULL && f->device.ptr == NULL)) {
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
        fail(f, &err, -1);
        return;
    }
    /* With the resident's own new token: the same way for administrators and application services.
     */
    dc_gateway_account_show_name(&f->account, (struct dc_matrix_auth){.token = f->token}, reply);
}

static void log_in(struct dc_gateway_account *a)
{
    struct token_flow *f = DC_CONTAINER_OF(a, struct token_flow, account);
    struct dc_gateway *g = f->flow.g;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_auth(g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_login);
        st = dc_gateway_has_as(g)
                 ? dc_matrix_as_login(g->matrix, &how, a->matrix_user_id, f->device_id, &err)
                 : dc_matrix_admin_login(g->matrix, &how, a->matrix_user_id, &err);
    }
    if (st != DC_OK) {
        fail(f, &err, -1);
    }
}

static void begin(struct dc_gateway_flow *flow)
{
    dc_gateway_account_open(&((struct token_flow *)flow)->account);
}

struct token_body {
    struct dc_slice user_id, display_name, device_id;
};
static const struct dc_field token_fields[] = {
    {"user_id", DC_FIELD_ID, DC_FIELD_REQUIRED, 0, 0, offsetof(struct token_body, user_id)},
    {"display_name", DC_FIELD_TEXT, DC_FIELD_NULLABLE | DC_FIELD_TRIM | DC_FIELD_SINGLE_LINE, 1,
     DC_GATEWAY_NAME_MAX_CHARS, offsetof(struct token_body, display_name)},
    {"device_id", DC_FIELD_KEY, DC_FIELD_NULLABLE, 0, 0, offsetof(struct token_body, device_id)},
};

void dc_gateway_issue_token(void *ctx, struct dc_http_request *r)
{
    struct dc_gateway *g = ctx;
    struct token_body body = {0};
    struct token_flow *f = (struct token_flow *)dc_gateway_flow_begin(g, r, sizeof(*f));
    if (f == NULL) {
        return;
    }
    if (!dc_http_read_json(r, token_fields, DC_ARRAY_LEN(token_fields), &body)) {
        dc_gateway_end(g);
        return;
    }
    f->account = (struct dc_gateway_account){.flow = &f->flow,
                                             .user_id = body.user_id,
                                             .display_name = body.display_name,
                                             .ready = log_in,
                                             .failed = on_account_failed};
    f->device_id = body.device_id;
    dc_gateway_when_known(&f->flow, false, begin);
}
