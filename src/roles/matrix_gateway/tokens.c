/* Accounts and tokens of residents.
 *
 *   find the row ── provisioned ────────────────────────────────┐
 *     └─ none, or a claim that was lost                         │
 *        is the account free? ─ claim ─ make it ─ confirm ──────┴─ log in ─ show the name ─ answer
 *
 * An account that was there before our claim is somebody else's and stays so (account_taken): the
 * registration of the application service keeps such from being made at all.  Accounts have no
 * password; every token is one of its own, and with an application service it belongs to a device
 * of its own, so a second tab never ends the first one's session. */
#include "base/input.h"
#include "base/mem.h"
#include "matrix/matrix_error.h"
#include "matrix/matrix_id.h"
#include "matrix/matrix_read.h"
#include "roles/matrix_gateway/gateway.h"
#include "roles/matrix_gateway/repo.h"

#define DISPLAY_NAME_MAX_CHARS 64
#define BUSY_RETRY_MS          1000

struct token_flow {
    struct dc_gateway_flow flow;
    struct dc_slice user_id, display_name, device_id; /* as asked */
    struct dc_slice matrix_user_id;
    struct dc_list link;    /* in g->provisioning */
    struct dc_list waiters; /* flows for the same user, which look again when this one ends */
    bool is_fresh;          /* nobody had claimed the account before */
    bool has_claim;         /* others keep away until it is confirmed or given up */
    bool is_repair;         /* the row is there, the account is not (any more) */
    bool name_is_known;     /* the homeserver shows display_name already */
    struct dc_slice token, device;
    struct dc_error why; /* of a failure that waits for the claim to be given up */
    int64_t retry_after_ms;
};

/* --- endings --- */

static void begin(struct dc_gateway_flow *flow);

/* Leaves the row of those who make accounts; who waited for it looks again. */
static void leave(struct token_flow *f)
{
    struct dc_list waiters;
    dc_list_init(&waiters);
    dc_list_remove(&f->link);
    dc_list_move_all(&waiters, &f->waiters);
    while (!dc_list_is_empty(&waiters)) {
        struct dc_gateway_flow *waiter =
            DC_LIST_ENTRY(waiters.next, struct dc_gateway_flow, wait_link);
        dc_list_remove(&waiter->wait_link);
        begin(waiter);
    }
}

static void end_failed(struct token_flow *f)
{
    leave(f);
    dc_gateway_fail(&f->flow, &f->why, f->retry_after_ms);
}

static void on_abandoned(void *data, enum dc_status st, const struct dc_db_result *const *results,
                         size_t n, const struct dc_error *err)
{
    struct token_flow *f = data;
    (void)results;
    (void)n;
    if (st != DC_OK) { /* others keep away for DC_MATRIX_CLAIM_MS */
        DC_LOG_WARN_EVENT(f->flow.g->ctx->log, "matrix.claim_kept", DC_LF_ERR(err));
    }
    end_failed(f);
}

static void fail(struct token_flow *f, const struct dc_error *err, int64_t retry_after_ms)
{
    struct dc_gateway *g = f->flow.g;
    f->why = *err;
    f->retry_after_ms = retry_after_ms;
    if (f->has_claim) {
        f->has_claim = false;
        if (dc_db_submit(dc_gateway_repo_abandon(g->ctx->db, f->user_id), on_abandoned, f, NULL,
                         NULL) == DC_OK) {
            return;
        }
    }
    end_failed(f);
}

/* A step that could not be asked ends the flow. */
static void ask(struct token_flow *f, enum dc_status st, const struct dc_error *err)
{
    if (st != DC_OK) {
        fail(f, err, -1);
    }
}

static struct dc_slice keep(struct token_flow *f, struct dc_slice text)
{
    return text.ptr == NULL ? text : dc_arena_dup(dc_http_arena(f->flow.r), text);
}

static void submit(struct token_flow *f, struct dc_db_batch *batch, dc_db_cb cb)
{
    struct dc_error err = {0};
    ask(f, dc_db_submit(batch, cb, f, NULL, &err), &err);
}

static void fail_taken(struct token_flow *f)
{
    struct dc_error err = {0};
    DC_LOG_WARN_EVENT(f->flow.g->ctx->log, "matrix.account_taken",
                      DC_LF_T("matrix_user_id", f->matrix_user_id));
    (void)dc_fail_code(&err, DC_CONFLICT, "account_taken",
                       "the Matrix account of this user exists already and is not the city's");
    fail(f, &err, -1);
}

static void reply(struct token_flow *f)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    f->flow.g->tokens_issued->value++;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "matrix_user_id", f->matrix_user_id);
    dc_jsonw_key_text(&w, "access_token", f->token);
    dc_jsonw_key_text(&w, "device_id", f->device);
    dc_jsonw_key_text(&w, "home_server", f->flow.g->server_name);
    dc_jsonw_end(&w);
    leave(f);
    dc_gateway_reply(&f->flow, &out);
}

/* --- the name that others see --- */

static void on_name_stored(void *data, enum dc_status st, const struct dc_db_result *const *results,
                           size_t n, const struct dc_error *err)
{
    struct token_flow *f = data;
    (void)results;
    (void)n;
    if (st != DC_OK) { /* the name is set once more next time */
        DC_LOG_WARN_EVENT(f->flow.g->ctx->log, "matrix.name_not_stored", DC_LF_ERR(err));
    }
    reply(f);
}

static void on_name_set(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                        const struct dc_error *err)
{
    struct token_flow *f = data;
    struct dc_gateway *g = f->flow.g;
    (void)answer;
    if (st == DC_OK &&
        dc_db_submit(dc_gateway_repo_set_name(g->ctx->db, f->user_id, f->display_name),
                     on_name_stored, f, NULL, NULL) == DC_OK) {
        return;
    }
    if (st != DC_OK) { /* a token under an old name is better than none */
        DC_LOG_WARN_EVENT(g->ctx->log, "matrix.name_not_set", DC_LF_ERR(err));
    }
    reply(f);
}

/* With the resident's own new token: the same way for administrators and application services. */
static void set_name(struct token_flow *f)
{
    if (f->display_name.len == 0 || f->name_is_known) {
        reply(f);
        return;
    }
    const struct dc_matrix_auth auth = {.token = f->token};
    const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_name_set);
    if (dc_matrix_set_display_name(f->flow.g->matrix, &how, f->matrix_user_id, f->display_name,
                                   NULL) != DC_OK) {
        reply(f);
    }
}

/* --- the token --- */

static void make_account(struct token_flow *f);

static void on_login(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                     const struct dc_error *cause)
{
    struct token_flow *f = data;
    struct dc_slice token;
    struct dc_slice device;
    struct dc_error err = {0};
    bool is_gone = st == DC_NOT_FOUND ||
                   (st == DC_FORBIDDEN && strcmp(dc_error_code(cause), "matrix_forbidden") == 0);
    if (is_gone && !f->is_fresh && !f->is_repair) {
        f->is_repair = true; /* the homeserver has lost the account: a new database, say */
        make_account(f);
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
    set_name(f);
}

static void log_in(struct token_flow *f)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_auth(g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_login);
        st = dc_gateway_has_as(g)
                 ? dc_matrix_as_login(g->matrix, &how, f->matrix_user_id, f->device_id, &err)
                 : dc_matrix_admin_login(g->matrix, &how, f->matrix_user_id, &err);
    }
    ask(f, st, &err);
}

/* --- the account --- */

static void on_released(void *data, enum dc_status st, const struct dc_db_result *const *results,
                        size_t n, const struct dc_error *err)
{
    struct token_flow *f = data;
    (void)results;
    (void)n;
    if (st != DC_OK) {
        fail(f, err, -1);
        return;
    }
    f->has_claim = false;
    fail_taken(f);
}

static void on_confirmed(void *data, enum dc_status st, const struct dc_db_result *const *results,
                         size_t n, const struct dc_error *err)
{
    struct token_flow *f = data;
    (void)results;
    (void)n;
    if (st != DC_OK) {
        fail(f, err, -1);
        return;
    }
    f->has_claim = false;
    log_in(f);
}

static void on_made(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                    const struct dc_error *cause)
{
    struct token_flow *f = data;
    struct dc_gateway *g = f->flow.g;
    struct dc_error err = {0};
    bool was_there = (st == DC_CONFLICT && strcmp(dc_error_code(cause), "matrix_in_use") == 0) ||
                     (st == DC_OK && !dc_gateway_has_as(g) && answer->http_status == 200);
    if (was_there && f->is_fresh) {
        submit(f, dc_gateway_repo_release(g->ctx->db, f->user_id), on_released);
        return;
    }
    if (st == DC_CONFLICT && !was_there) {
        (void)dc_fail_code(&err, DC_UNAVAILABLE, DC_GATEWAY_MISCONFIGURED,
                           "the names of residents are reserved by an application service: set its "
                           "MATRIX_AS_TOKEN");
        fail(f, &err, -1);
        return;
    }
    if (st != DC_OK && !was_there) {
        fail(f, cause, answer->retry_after_ms);
        return;
    }
    if (!was_there) {
        g->accounts_created->value++;
        f->name_is_known = false;
    }
    DC_LOG_INFO_EVENT(g->ctx->log, "matrix.account_made",
                      DC_LF_T("matrix_user_id", f->matrix_user_id),
                      DC_LF_B("was_there", was_there));
    submit(f, dc_gateway_repo_confirm(g->ctx->db, f->user_id, dc_utc_now()), on_confirmed);
}

static void make_account(struct token_flow *f)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    struct dc_slice localpart;
    struct dc_slice server;
    bool is_id = dc_matrix_id_split(f->matrix_user_id, '@', &localpart, &server);
    DC_ASSERT(is_id); /* we have written it */
    enum dc_status st = dc_gateway_auth(g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_made);
        st = dc_gateway_has_as(g)
                 ? dc_matrix_as_register(g->matrix, &how, localpart, &err)
                 : dc_matrix_admin_put_user(g->matrix, &how, f->matrix_user_id, &err);
    }
    ask(f, st, &err);
}

static void on_claimed(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *cause)
{
    struct token_flow *f = data;
    struct dc_error err = {0};
    if (st == DC_CONFLICT) {
        fail_taken(f); /* another user of the city has this Matrix id */
        return;
    }
    if (st != DC_OK) {
        fail(f, cause, -1);
        return;
    }
    DC_ASSERT(n == 1);
    if (dc_db_rows(results[0]) == 0) {
        (void)dc_fail_code(&err, DC_LIMIT, "rate_limited",
                           "another process is making this account: try again");
        fail(f, &err, BUSY_RETRY_MS);
        return;
    }
    f->has_claim = true;
    make_account(f);
}

static void claim(struct token_flow *f)
{
    submit(f,
           dc_gateway_repo_claim(f->flow.g->ctx->db, f->user_id, f->matrix_user_id, dc_utc_now()),
           on_claimed);
}

static void on_profile(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *cause)
{
    struct token_flow *f = data;
    if (st == DC_OK) {
        fail_taken(f);
    } else if (st == DC_NOT_FOUND || st == DC_FORBIDDEN) {
        claim(f); /* forbidden: profiles are hidden; making it will tell */
    } else {
        fail(f, cause, answer->retry_after_ms);
    }
}

static void look_before_claim(struct token_flow *f)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_auth(g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_profile);
        st = dc_matrix_profile(g->matrix, &how, f->matrix_user_id, &err);
    }
    ask(f, st, &err);
}

/* --- the row --- */

/* The stored account is of this homeserver. */
static bool is_of_this_server(const struct token_flow *f)
{
    struct dc_slice localpart;
    struct dc_slice server;
    return dc_matrix_id_split(f->matrix_user_id, '@', &localpart, &server) &&
           dc_slice_eq(server, f->flow.g->server_name);
}

static void on_found(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *cause)
{
    struct token_flow *f = data;
    struct dc_matrix_account account;
    struct dc_error err = {0};
    struct dc_strbuf made = {0};
    if (st != DC_OK) {
        fail(f, cause, -1);
        return;
    }
    DC_ASSERT(n == 1);
    dc_gateway_repo_read(results[0], &account);
    if (account.is_provisioned) {
        f->matrix_user_id = keep(f, account.matrix_user_id);
    } else {
        dc_matrix_user_id(f->user_id, f->flow.g->server_name, &made);
        f->matrix_user_id = dc_strbuf_ok(&made) ? keep(f, dc_strbuf_slice(&made)) : DC_SLICE_NULL;
        dc_strbuf_free(&made);
    }
    f->name_is_known =
        account.display_name.ptr != NULL && dc_slice_eq(account.display_name, f->display_name);
    if (f->matrix_user_id.ptr == NULL) {
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
        fail(f, &err, -1);
    } else if (account.is_provisioned && !is_of_this_server(f)) {
        (void)dc_fail_code(&err, DC_UNAVAILABLE, DC_GATEWAY_MISCONFIGURED,
                           "MATRIX_SERVER_NAME has changed: this user's account is %.*s",
                           DC_SLICE_ARG(f->matrix_user_id));
        fail(f, &err, -1);
    } else if (account.is_provisioned) {
        log_in(f);
    } else if (account.is_there) {
        claim(f); /* somebody set out to make it, perhaps we, before a crash */
    } else {
        f->is_fresh = true;
        look_before_claim(f);
    }
}

/* One flow at a time for each user: tabs that open together get one account. */
static void begin(struct dc_gateway_flow *flow)
{
    struct token_flow *f = (struct token_flow *)flow;
    struct dc_gateway *g = flow->g;
    DC_LIST_FOREACH (it, &g->provisioning) {
        struct token_flow *other = DC_LIST_ENTRY(it, struct token_flow, link);
        if (dc_slice_eq(other->user_id, f->user_id)) {
            dc_list_push_back(&other->waiters, &flow->wait_link);
            return;
        }
    }
    dc_list_push_back(&g->provisioning, &f->link);
    submit(f, dc_gateway_repo_find(g->ctx->db, f->user_id), on_found);
}

struct token_body {
    struct dc_slice user_id, display_name, device_id;
};
static const struct dc_field token_fields[] = {
    {"user_id", DC_FIELD_ID, DC_FIELD_REQUIRED, 0, 0, offsetof(struct token_body, user_id)},
    {"display_name", DC_FIELD_TEXT, DC_FIELD_NULLABLE | DC_FIELD_TRIM | DC_FIELD_SINGLE_LINE, 1,
     DISPLAY_NAME_MAX_CHARS, offsetof(struct token_body, display_name)},
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
    dc_list_init(&f->link);
    dc_list_init(&f->waiters);
    f->user_id = body.user_id;
    f->display_name = body.display_name;
    f->device_id = body.device_id;
    dc_gateway_when_known(&f->flow, false, begin);
}
