/* matrix-gateway: routes, life, and what all flows share. */
#include "base/mem.h"
#include "matrix/matrix_id.h"
#include "roles/matrix_gateway/accounts.h"
#include "roles/matrix_gateway/repo.h"
#include "roles/matrix_gateway/transactions.h"
#include "roles/request.h"

/* A room that is being made takes the homeserver some tenths of a second. */
#define ROOM_RECHECK_MS 200

/* --- what is under way --- */

static void finish_stop(struct dc_gateway *g)
{
    void (*stopped)(void *data) = g->stopped;
    void *data = g->stopped_data;
    dc_timeouts_close(g->recheck);
    dc_timeouts_close(g->renewals);
    dc_gateway_session_free(g);
    dc_gateway_pulse_free(g);
    dc_gateway_transactions_free(g);
    dc_free(g);
    stopped(data);
}

void dc_gateway_begin(struct dc_gateway *g)
{
    g->pending++;
}

void dc_gateway_end(struct dc_gateway *g)
{
    DC_ASSERT(g->pending > 0);
    g->pending--;
    if (g->is_stopping && g->pending == 0) {
        finish_stop(g);
    }
}

/* --- flows --- */

struct dc_gateway_flow *dc_gateway_flow_begin(struct dc_gateway *g, struct dc_http_request *r,
                                              size_t size)
{
    struct dc_error err = {0};
    if (!dc_require_internal_key(&g->ctx->auth, r)) {
        return NULL;
    }
    if (g->matrix == NULL) {
        (void)dc_fail_code(&err, DC_UNAVAILABLE, "matrix_not_configured",
                           "no homeserver is connected: SYNAPSE_URL is not set");
        dc_http_reply_error(r, &err);
        return NULL;
    }
    struct dc_gateway_flow *flow = dc_request_alloc(r, size);
    if (flow != NULL) {
        flow->g = g;
        flow->r = r;
        flow->deadline_ms = dc_loop_now(g->ctx->loop).ms + (int64_t)g->timeout_ms;
        dc_list_init(&flow->wait_link);
        dc_gateway_begin(g);
    }
    return flow;
}

void dc_gateway_reply(struct dc_gateway_flow *flow, struct dc_strbuf *json)
{
    struct dc_gateway *g = flow->g;
    dc_http_set_header(flow->r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(flow->r, 200, json);
    dc_gateway_end(g);
}

void dc_gateway_fail(struct dc_gateway_flow *flow, const struct dc_error *err,
                     int64_t retry_after_ms)
{
    struct dc_gateway *g = flow->g;
    struct dc_error shown = *err;
    if (err->status == DC_UNAUTHORIZED && !flow->is_callers_token) {
        (void)dc_fail_code(&shown, DC_UNAVAILABLE, DC_GATEWAY_MISCONFIGURED,
                           "the homeserver refuses the gateway's own token: see /healthz");
    }
    if (shown.status == DC_UNAVAILABLE || shown.status == DC_TIMEOUT) {
        dc_gateway_check_now(g);
    }
    if (err->status == DC_LIMIT) {
        dc_request_fail_limit(flow->r, retry_after_ms > 0 ? (uint64_t)retry_after_ms : 1000,
                              dc_error_text(err));
    } else {
        if (err->status == DC_CONFIG) { /* the operator's mistake is ours to the caller */
            shown.status = DC_UNAVAILABLE;
        }
        dc_http_reply_error(flow->r, &shown);
    }
    dc_gateway_end(g);
}

void dc_gateway_fail_field(struct dc_gateway_flow *flow, const char *field_z, const char *code_z,
                           const char *detail_z)
{
    struct dc_gateway *g = flow->g;
    dc_request_fail_field(flow->r, field_z, code_z, detail_z);
    dc_gateway_end(g);
}

void dc_gateway_ask(struct dc_gateway_flow *flow, enum dc_status st, const struct dc_error *err)
{
    if (st != DC_OK) {
        dc_gateway_fail(flow, err, -1);
    }
}

bool dc_gateway_take_room_id(struct dc_gateway_flow *flow, struct dc_slice *room_id)
{
    *room_id = dc_http_param(flow->r, 0);
    if (!dc_matrix_room_id_is_valid(*room_id)) {
        dc_gateway_fail_field(flow, "room_id", "invalid_format",
                              "is not a room id such as !abc:example.org");
        return false;
    }
    return true;
}

struct dc_matrix_how dc_gateway_how(struct dc_gateway_flow *flow, struct dc_matrix_auth auth,
                                    dc_matrix_cb cb)
{
    int64_t left = flow->deadline_ms - dc_loop_now(flow->g->ctx->loop).ms;
    return (struct dc_matrix_how){
        .auth = auth, .deadline_ms = left > 0 ? (uint64_t)left : 1, .cb = cb, .data = flow};
}

/* --- life --- */

static const struct dc_route routes[] = {
    {DC_POST, "/internal/matrix/rooms/create", dc_gateway_create_room},
    {DC_GET, "/internal/matrix/rooms/find-by-alias", dc_gateway_find_room},
    {DC_GET, "/internal/matrix/rooms/{room_id}", dc_gateway_show_room},
    {DC_POST, "/internal/matrix/rooms/{room_id}/send", dc_gateway_send_message},
    {DC_POST, "/internal/matrix/users/token", dc_gateway_issue_token},
    {DC_POST, "/internal/matrix/users/owners", dc_gateway_find_owners},
    {DC_POST, "/internal/matrix/presence/online", dc_gateway_set_presence},
};

static enum dc_status connect_matrix(struct dc_gateway *g, struct dc_error *err)
{
    const struct dc_settings *s = g->ctx->settings;
    const struct dc_matrix_opts opts = {
        .base_url_z = s->synapse_url, .log = g->ctx->log, .metrics = g->ctx->metrics};
    enum dc_status st = dc_gateway_read_settings(g, err);
    if (st == DC_OK) {
        st = dc_matrix_create(g->ctx->loop, &opts, &g->matrix, err);
    }
    if (st == DC_OK) {
        g->recheck = dc_timeouts_create(g->ctx->loop, ROOM_RECHECK_MS, dc_gateway_recheck_room, g);
        g->renewals =
            dc_timeouts_create(g->ctx->loop, DC_MATRIX_CLAIM_RENEW_MS, dc_gateway_renew_claim, g);
    }
    return st;
}

static enum dc_status start(struct dc_ctx *ctx, void (*ready)(void *data), void *ready_data,
                            void **state, struct dc_error *err)
{
    struct dc_gateway *g = dc_calloc(1, sizeof(*g));
    struct dc_metrics *m = ctx->metrics;
    g->ctx = ctx;
    g->timeout_ms = (uint64_t)ctx->settings->matrix_timeout_ms;
    dc_list_init(&g->waiters);
    dc_list_init(&g->provisioning);
    if (ctx->settings->synapse_url != NULL) {
        enum dc_status st = dc_gateway_transactions_open(g, err);
        if (st == DC_OK) {
            st = connect_matrix(g, err);
        }
        if (st != DC_OK) {
            dc_gateway_transactions_stop(g);
            dc_gateway_transactions_free(g);
            dc_gateway_session_free(g);
            dc_free(g);
            return st;
        }
    } else if (!ctx->is_combined) {
        dc_free(g);
        return dc_fail(err, DC_CONFIG, 0,
                       "matrix-gateway needs SYNAPSE_URL: the homeserver it is the gateway to");
    }
    g->rooms_created = dc_metrics_counter(m, "daarion_matrix_rooms_total", "outcome=\"created\"",
                                          "Matrix rooms asked for, by where they came from.");
    g->rooms_found = dc_metrics_counter(m, "daarion_matrix_rooms_total", "outcome=\"found\"",
                                        "Matrix rooms asked for, by where they came from.");
    g->accounts_created =
        dc_metrics_counter(m, "daarion_matrix_accounts_total", NULL, "Matrix accounts made.");
    g->tokens_issued = dc_metrics_counter(m, "daarion_matrix_tokens_total", NULL,
                                          "Matrix access tokens given to residents.");
    g->messages_sent = dc_metrics_counter(m, "daarion_matrix_messages_total", NULL,
                                          "Messages of residents that the homeserver has taken.");
    dc_router_add(ctx->internal_router, "", routes, DC_ARRAY_LEN(routes), g);
    if (!ctx->is_combined) {
        /* Alone, its own port is the one that the city calls (specs/matrix-rooms-bridge §5.1). */
        dc_router_add(ctx->public_router, "", routes, DC_ARRAY_LEN(routes), g);
    }
    if (g->matrix != NULL) {
        dc_gateway_routes_transactions(g, ctx->internal_router);
        if (!ctx->is_combined) {
            dc_gateway_routes_transactions(g, ctx->public_router);
        }
        dc_gateway_session_start(g);
    }
    *state = g;
    ready(ready_data);
    return DC_OK;
}

/* The token that we made for ourselves ends with us. */
static void on_logged_out(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                          const struct dc_error *err)
{
    struct dc_gateway *g = data;
    (void)answer;
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(g->ctx->log, "matrix.logout_failed", DC_LF_ERR(err));
    }
    dc_matrix_close(g->matrix);
    dc_gateway_end(g);
}

static void stop(void *state, void (*stopped)(void *data), void *data)
{
    struct dc_gateway *g = state;
    g->is_stopping = true;
    g->stopped = stopped;
    g->stopped_data = data;
    dc_gateway_begin(g);
    dc_gateway_transactions_stop(g);
    if (g->matrix != NULL) {
        dc_gateway_session_stop(g);
    }
    if (g->matrix != NULL && g->is_admin_from_secret && g->admin.state == DC_CREDENTIAL_OK &&
        g->server == DC_SERVER_CONNECTED) {
        const struct dc_matrix_how how = {.auth = {.token = dc_strbuf_slice(&g->admin.token)},
                                          .deadline_ms = 1000,
                                          .is_impatient = true,
                                          .cb = on_logged_out,
                                          .data = g};
        if (dc_matrix_logout(g->matrix, &how, NULL) == DC_OK) {
            return;
        }
    }
    dc_matrix_close(g->matrix);
    dc_gateway_end(g);
}

const struct dc_role dc_role_matrix_gateway = {
    .name = "matrix-gateway",
    .summary = "rooms, accounts and tokens of the homeserver",
    .port = 7025,
    .needs = DC_NEEDS_DB,
    .start = start,
    .stop = stop,
};
