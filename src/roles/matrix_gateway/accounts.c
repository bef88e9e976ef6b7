/* Accounts of residents. */
#include "roles/matrix_gateway/accounts.h"

#include "matrix/matrix_id.h"
#include "roles/matrix_gateway/repo.h"

#define BUSY_RETRY_MS 1000

/* --- endings --- */

static void begin(struct dc_gateway_account *a);

void dc_gateway_account_close(struct dc_gateway_account *a)
{
    struct dc_list waiters;
    dc_list_init(&waiters);
    dc_list_remove(&a->link);
    dc_list_move_all(&waiters, &a->waiters);
    while (!dc_list_is_empty(&waiters)) {
        struct dc_gateway_account *waiter =
            DC_LIST_ENTRY(waiters.next, struct dc_gateway_account, wait_link);
        dc_list_remove(&waiter->wait_link);
        begin(waiter);
    }
}

static void end_failed(struct dc_gateway_account *a)
{
    dc_gateway_account_close(a);
    a->failed(a, &a->why, a->retry_after_ms);
}

/* Given up: abandoned, or released. */
static void on_given_up(void *data, enum dc_status st, const struct dc_db_result *const *results,
                        size_t n, const struct dc_error *err)
{
    struct dc_gateway_account *a = data;
    (void)results;
    (void)n;
    if (st != DC_OK) { /* others keep away for DC_MATRIX_CLAIM_MS */
        DC_LOG_WARN_EVENT(a->flow->g->ctx->log, "matrix.claim_kept", DC_LF_ERR(err));
    }
    end_failed(a);
}

/* A claim that has certainly made nothing leaves nothing behind: an account that is there the next
 * time is a stranger's. */
static void fail(struct dc_gateway_account *a, const struct dc_error *err, int64_t retry_after_ms)
{
    struct dc_gateway *g = a->flow->g;
    a->why = *err;
    a->retry_after_ms = retry_after_ms;
    if (a->has_claim) {
        a->has_claim = false;
        struct dc_db_batch *batch = a->is_fresh && a->is_unmade
                                        ? dc_gateway_repo_release(g->ctx->db, a->user_id, a->claim)
                                        : dc_gateway_repo_abandon(g->ctx->db, a->user_id, a->claim);
        if (dc_db_submit(batch, on_given_up, a, NULL, NULL) == DC_OK) {
            return;
        }
    }
    end_failed(a);
}

static struct dc_matrix_how how_to(struct dc_gateway_account *a, struct dc_matrix_auth auth,
                                   dc_matrix_cb cb)
{
    struct dc_matrix_how how = dc_gateway_how(a->flow, auth, cb);
    how.data = a;
    return how;
}

/* A step that could not be asked ends the flow. */
static void ask(struct dc_gateway_account *a, enum dc_status st, const struct dc_error *err)
{
    if (st != DC_OK) {
        fail(a, err, -1);
    }
}

static struct dc_slice keep(struct dc_gateway_account *a, struct dc_slice text)
{
    return text.ptr == NULL ? text : dc_arena_dup(dc_http_arena(a->flow->r), text);
}

static void submit(struct dc_gateway_account *a, struct dc_db_batch *batch, dc_db_cb cb)
{
    struct dc_error err = {0};
    ask(a, dc_db_submit(batch, cb, a, NULL, &err), &err);
}

static void fail_taken(struct dc_gateway_account *a)
{
    struct dc_error err = {0};
    DC_LOG_WARN_EVENT(a->flow->g->ctx->log, "matrix.account_taken",
                      DC_LF_T("matrix_user_id", a->matrix_user_id));
    (void)dc_fail_code(&err, DC_CONFLICT, "account_taken",
                       "the Matrix account of this user exists already and is not the city's");
    fail(a, &err, -1);
}

/* --- the claim --- */

static void fail_busy(struct dc_gateway_account *a)
{
    struct dc_error err = {0};
    (void)dc_fail_code(&err, DC_LIMIT, "rate_limited",
                       "another process is making this account: try again");
    fail(a, &err, BUSY_RETRY_MS);
}

static void keep_claim(struct dc_gateway_account *a)
{
    if (a->has_claim) {
        dc_timeout_touch(a->flow->g->renewals, &a->renewal);
    }
}

static void on_renewed(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    struct dc_gateway_account *a = data;
    void (*next)(struct dc_gateway_account *) = a->after_renewal;
    a->is_renewing = false;
    if (st != DC_OK) { /* it may have been: then the next one fails, and the claim counts as lost */
        DC_LOG_WARN_EVENT(a->flow->g->ctx->log, "matrix.claim_not_renewed", DC_LF_ERR(err));
    } else {
        DC_ASSERT(n == 1);
        a->has_claim = dc_gateway_repo_read_claim(results[0], &a->claim);
        DC_LOG_DEBUG_EVENT(a->flow->g->ctx->log, "matrix.claim_renewed",
                           DC_LF_B("is_lost", !a->has_claim));
    }
    a->after_renewal = NULL;
    if (next != NULL) {
        next(a);
    } else {
        keep_claim(a);
    }
}

void dc_gateway_renew_claim(void *data, struct dc_timeout *t)
{
    struct dc_gateway_account *a = DC_CONTAINER_OF(t, struct dc_gateway_account, renewal);
    struct dc_gateway *g = data;
    if (dc_db_submit(dc_gateway_repo_renew(g->ctx->db, a->user_id, a->claim), on_renewed, a, NULL,
                     NULL) == DC_OK) {
        a->is_renewing = true;
    } else {
        keep_claim(a);
    }
}

/* Renews no more; next runs once no renewal is under way. */
static void stop_renewing(struct dc_gateway_account *a, void (*next)(struct dc_gateway_account *a))
{
    dc_timeout_remove(&a->renewal);
    if (a->is_renewing) {
        a->after_renewal = next;
    } else {
        next(a);
    }
}

/* --- the account --- */

static void on_released(void *data, enum dc_status st, const struct dc_db_result *const *results,
                        size_t n, const struct dc_error *err)
{
    struct dc_gateway_account *a = data;
    struct dc_utc claim;
    a->has_claim = false;
    if (st != DC_OK) {
        fail(a, err, -1);
        return;
    }
    DC_ASSERT(n == 1);
    if (dc_gateway_repo_read_claim(results[0], &claim)) {
        fail_taken(a);
    } else {
        fail_busy(a); /* it took so long that another has claimed it, and perhaps made it */
    }
}

static void on_confirmed(void *data, enum dc_status st, const struct dc_db_result *const *results,
                         size_t n, const struct dc_error *err)
{
    struct dc_gateway_account *a = data;
    (void)results;
    (void)n;
    if (st != DC_OK) {
        fail(a, err, -1);
        return;
    }
    a->has_claim = false;
    a->ready(a);
}

/* The homeserver has answered. */
static void conclude(struct dc_gateway_account *a)
{
    struct dc_gateway *g = a->flow->g;
    if (a->was_there && a->is_fresh && a->has_claim) {
        submit(a, dc_gateway_repo_release(g->ctx->db, a->user_id, a->claim), on_released);
        return;
    }
    if (a->was_there && a->is_fresh) {
        fail_busy(a);
        return;
    }
    if (!a->was_there && !a->is_made) {
        const struct dc_error why = a->why;
        fail(a, &why, a->retry_after_ms);
        return;
    }
    if (a->is_made) {
        g->accounts_created->value++;
        a->name_is_known = false;
    }
    DC_LOG_INFO_EVENT(g->ctx->log, "matrix.account_made",
                      DC_LF_T("matrix_user_id", a->matrix_user_id),
                      DC_LF_B("was_there", a->was_there));
    submit(a, dc_gateway_repo_confirm(g->ctx->db, a->user_id, dc_utc_now()), on_confirmed);
}

static void on_made(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                    const struct dc_error *cause)
{
    struct dc_gateway_account *a = data;
    struct dc_gateway *g = a->flow->g;
    a->was_there = (st == DC_CONFLICT && strcmp(dc_error_code(cause), "matrix_in_use") == 0) ||
                   (st == DC_OK && !dc_gateway_has_as(g) && answer->http_status == 200);
    a->is_made = st == DC_OK && !a->was_there;
    /* 408 may be the word of a proxy that has waited for too long. */
    a->is_unmade = answer->http_status >= 400 && answer->http_status < 500 &&
                   answer->http_status != 408 && !a->was_there;
    if (st == DC_CONFLICT && !a->was_there) {
        (void)dc_fail_code(&a->why, DC_UNAVAILABLE, DC_GATEWAY_MISCONFIGURED,
                           "the names of residents are reserved by an application service: set its "
                           "MATRIX_AS_TOKEN");
        a->retry_after_ms = -1;
    } else if (st != DC_OK && !a->was_there) {
        a->why = *cause;
        a->retry_after_ms = answer->retry_after_ms;
    }
    stop_renewing(a, conclude);
}

static void make_account(struct dc_gateway_account *a)
{
    struct dc_gateway *g = a->flow->g;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    struct dc_slice localpart;
    struct dc_slice server;
    bool is_id = dc_matrix_id_split(a->matrix_user_id, '@', &localpart, &server);
    DC_ASSERT(is_id); /* we have written it */
    enum dc_status st = dc_gateway_auth(g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = how_to(a, auth, on_made);
        st = dc_gateway_has_as(g)
                 ? dc_matrix_as_register(g->matrix, &how, localpart, &err)
                 : dc_matrix_admin_put_user(g->matrix, &how, a->matrix_user_id, &err);
    }
    if (st != DC_OK) {
        a->why = err;
        a->retry_after_ms = -1;
        a->was_there = a->is_made = false;
        a->is_unmade = true;
        stop_renewing(a, conclude);
    }
}

static void on_claimed(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *cause)
{
    struct dc_gateway_account *a = data;
    if (st == DC_CONFLICT) {
        fail_taken(a); /* another user of the city has this Matrix id */
        return;
    }
    if (st != DC_OK) {
        fail(a, cause, -1);
        return;
    }
    DC_ASSERT(n == 1);
    a->has_claim = dc_gateway_repo_read_claim(results[0], &a->claim);
    if (!a->has_claim) {
        fail_busy(a);
        return;
    }
    keep_claim(a);
    make_account(a);
}

static void claim(struct dc_gateway_account *a)
{
    submit(a,
           dc_gateway_repo_claim(a->flow->g->ctx->db, a->user_id, a->matrix_user_id, a->is_fresh),
           on_claimed);
}

static void on_profile(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *cause)
{
    struct dc_gateway_account *a = data;
    if (st == DC_OK) {
        fail_taken(a);
    } else if (st == DC_NOT_FOUND || st == DC_FORBIDDEN) {
        claim(a); /* forbidden: profiles are hidden; making it will tell */
    } else {
        fail(a, cause, answer->retry_after_ms);
    }
}

static void look_before_claim(struct dc_gateway_account *a)
{
    struct dc_gateway *g = a->flow->g;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_auth(g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = how_to(a, auth, on_profile);
        st = dc_matrix_profile(g->matrix, &how, a->matrix_user_id, &err);
    }
    ask(a, st, &err);
}

/* --- the row --- */

/* The stored account is of this homeserver. */
static bool is_of_this_server(const struct dc_gateway_account *a)
{
    struct dc_slice localpart;
    struct dc_slice server;
    return dc_matrix_id_split(a->matrix_user_id, '@', &localpart, &server) &&
           dc_slice_eq(server, a->flow->g->server_name);
}

static void on_found(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *cause)
{
    struct dc_gateway_account *a = data;
    struct dc_matrix_account account;
    struct dc_error err = {0};
    struct dc_strbuf made = {0};
    if (st != DC_OK) {
        fail(a, cause, -1);
        return;
    }
    DC_ASSERT(n == 1);
    dc_gateway_repo_read(results[0], &account);
    if (account.is_provisioned) {
        a->matrix_user_id = keep(a, account.matrix_user_id);
    } else {
        dc_matrix_user_id(a->user_id, a->flow->g->server_name, &made);
        a->matrix_user_id = dc_strbuf_ok(&made) ? keep(a, dc_strbuf_slice(&made)) : DC_SLICE_NULL;
        dc_strbuf_free(&made);
    }
    a->name_is_known =
        account.display_name.ptr != NULL && dc_slice_eq(account.display_name, a->display_name);
    if (a->matrix_user_id.ptr == NULL) {
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
        fail(a, &err, -1);
    } else if (account.is_provisioned && !is_of_this_server(a)) {
        (void)dc_fail_code(&err, DC_UNAVAILABLE, DC_GATEWAY_MISCONFIGURED,
                           "MATRIX_SERVER_NAME has changed: this user's account is %.*s",
                           DC_SLICE_ARG(a->matrix_user_id));
        fail(a, &err, -1);
    } else if (account.is_provisioned) {
        a->ready(a);
    } else if (account.is_there) {
        claim(a); /* somebody set out to make it, perhaps we, before a crash */
    } else {
        a->is_fresh = true;
        look_before_claim(a);
    }
}

static void begin(struct dc_gateway_account *a)
{
    struct dc_gateway *g = a->flow->g;
    DC_LIST_FOREACH (it, &g->provisioning) {
        struct dc_gateway_account *other = DC_LIST_ENTRY(it, struct dc_gateway_account, link);
        if (dc_slice_eq(other->user_id, a->user_id)) {
            dc_list_push_back(&other->waiters, &a->wait_link);
            return;
        }
    }
    dc_list_push_back(&g->provisioning, &a->link);
    submit(a, dc_gateway_repo_find(g->ctx->db, a->user_id), on_found);
}

void dc_gateway_account_open(struct dc_gateway_account *a)
{
    dc_list_init(&a->link);
    dc_list_init(&a->waiters);
    dc_list_init(&a->wait_link);
    dc_timeout_init(&a->renewal);
    begin(a);
}

bool dc_gateway_account_repair(struct dc_gateway_account *a)
{
    if (a->is_fresh || a->is_repair) {
        return false;
    }
    a->is_repair = true;
    make_account(a);
    return true;
}

/* --- the name that others see --- */

static void on_name_stored(void *data, enum dc_status st, const struct dc_db_result *const *results,
                           size_t n, const struct dc_error *err)
{
    struct dc_gateway_account *a = data;
    (void)results;
    (void)n;
    if (st != DC_OK) { /* the name is set once more next time */
        DC_LOG_WARN_EVENT(a->flow->g->ctx->log, "matrix.name_not_stored", DC_LF_ERR(err));
    }
    a->named(a);
}

static void on_name_set(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                        const struct dc_error *err)
{
    struct dc_gateway_account *a = data;
    struct dc_gateway *g = a->flow->g;
    (void)answer;
    if (st == DC_OK &&
        dc_db_submit(dc_gateway_repo_set_name(g->ctx->db, a->user_id, a->display_name),
                     on_name_stored, a, NULL, NULL) == DC_OK) {
        return;
    }
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(g->ctx->log, "matrix.name_not_set", DC_LF_ERR(err));
    }
    a->named(a);
}

void dc_gateway_account_show_name(struct dc_gateway_account *a, struct dc_matrix_auth auth,
                                  void (*named)(struct dc_gateway_account *a))
{
    a->named = named;
    if (a->display_name.len == 0 || a->name_is_known) {
        named(a);
        return;
    }
    const struct dc_matrix_how how = how_to(a, auth, on_name_set);
    if (dc_matrix_set_display_name(a->flow->g->matrix, &how, a->matrix_user_id, a->display_name,
                                   NULL) != DC_OK) {
        named(a);
    }
}
