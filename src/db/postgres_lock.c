/* See postgres_lock.h.  Connecting and asking block, so they run on libuv's pool; a connection that
 * has the lock is only watched on the loop: it says nothing until it ends. */
#include "db/postgres_lock.h"
#include "base/mem.h"
#include "db/postgres_connect.h"
#include "rt/op.h"

#define TIMEOUT_MS      5000 /* to connect, and to be answered */
#define BACKOFF_BASE_MS 100
#define BACKOFF_MAX_MS  2000

/* "daar" in ASCII; the other half is the schema.  A session that is idle for ever must be let. */
#define ASK(function)                                                                              \
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout';"    \
    "SELECT " function "(1684103538, hashtext(coalesce(current_schema(), '')))"

struct dc_pg_lock {
    struct dc_loop *loop;
    struct dc_log *log;
    struct dc_pg_url url;
    bool is_shared;
    uint64_t patience_ms;
    dc_pg_lock_cb heard;
    void *data;
    /* The pool's thread has these, and url, while is_working. */
    PGconn *pq;
    enum dc_status st;
    struct dc_error err;
    bool is_working;
    atomic_bool is_closing;
    uv_poll_t poll;
    bool has_poll;   /* while the lock is held, and until libuv has closed it */
    bool is_refused; /* somebody else had it at the last attempt */
    int64_t refused_since_ms;
    struct dc_timer again;
    struct dc_backoff backoff;
};

static void on_again(struct dc_timer *t);

/* --- the end --- */

static void on_timer_closed(struct dc_timer *t)
{
    struct dc_pg_lock *l = DC_CONTAINER_OF(t, struct dc_pg_lock, again);

    dc_pg_url_free(&l->url);
    dc_free(l);
}

static void try_later(struct dc_pg_lock *l)
{
    dc_timer_start(&l->again, dc_backoff_next_ms(&l->backoff), 0);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct dc_pg_lock *l = DC_CONTAINER_OF(handle, struct dc_pg_lock, poll);

    l->has_poll = false;
    if (l->is_closing) {
        dc_timer_close(&l->again, on_timer_closed);
    } else {
        try_later(l);
    }
}

/* Ends the connection; on_poll_closed() goes on. */
static void let_go(struct dc_pg_lock *l)
{
    uv_close((uv_handle_t *)&l->poll, on_poll_closed);
    PQfinish(l->pq);
    l->pq = NULL;
}

void dc_pg_lock_close(struct dc_pg_lock *l)
{
    if (l == NULL) {
        return;
    }
    DC_ASSERT(!l->is_closing);
    l->is_closing = true;
    dc_timer_stop(&l->again);
    if (l->is_working) {
        return; /* on_worked() goes on */
    }
    if (l->pq != NULL) {
        let_go(l);
    } else if (!l->has_poll) {
        dc_timer_close(&l->again, on_timer_closed);
    }
}

/* --- held --- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct dc_pg_lock *l = DC_CONTAINER_OF(poll, struct dc_pg_lock, poll);

    (void)events;
    /* PQisBusy() takes notices and changed settings in, which may come unasked. */
    bool is_alive = status == 0 && PQconsumeInput(l->pq) == 1 && PQisBusy(l->pq) == 0 &&
                    PQstatus(l->pq) == CONNECTION_OK;
    if (!is_alive) {
        DC_LOG_WARN_EVENT(l->log, "db.lock_lost", DC_LF_Z("setting", "DATABASE_URL"));
        let_go(l);
    }
}

static void hold(struct dc_pg_lock *l)
{
    const struct dc_error ok = {.status = DC_OK};

    if (uv_poll_init(dc_loop_uv(l->loop), &l->poll, PQsocket(l->pq)) != 0) {
        PQfinish(l->pq);
        l->pq = NULL;
        try_later(l);
        return;
    }
    l->has_poll = true;
    dc_backoff_reset(&l->backoff);
    l->is_refused = false;
    DC_LOG_INFO_EVENT(l->log, "db.lock_held", DC_LF_B("shared", l->is_shared));
    if (uv_poll_start(&l->poll, UV_READABLE, on_readable) != 0) {
        let_go(l);
        return;
    }
    l->heard(l->data, &ok);
}

/* --- getting it --- */

static void work(void *data)
{
    struct dc_pg_lock *l = data;
    const char *ask =
        l->is_shared ? ASK("pg_try_advisory_lock_shared") : ASK("pg_try_advisory_lock");
    char answer[8] = "";

    l->st = dc_pg_connect(&l->url, TIMEOUT_MS, &l->is_closing, &l->pq, &l->err);
    if (l->st == DC_OK) {
        l->st = dc_pg_ask(l->pq, ask, TIMEOUT_MS, &l->is_closing, answer, sizeof(answer), &l->err);
    }
    if (l->st == DC_OK && strcmp(answer, "t") != 0) {
        l->st = dc_fail(&l->err, DC_CONFLICT, 0, "another process has the lock");
    }
    if (l->st != DC_OK && l->pq != NULL) {
        PQfinish(l->pq);
        l->pq = NULL;
    }
}

/* Whoever has it may be about to leave. */
static void refused(struct dc_pg_lock *l)
{
    int64_t now_ms = dc_mono_now().ms;

    if (!l->is_refused) {
        l->is_refused = true;
        l->refused_since_ms = now_ms;
        DC_LOG_WARN_EVENT(l->log, "db.lock_taken", DC_LF_B("shared", l->is_shared),
                          DC_LF_I("patience_ms", l->patience_ms));
    }
    try_later(l);
    if (now_ms - l->refused_since_ms >= (int64_t)l->patience_ms) {
        l->heard(l->data, &l->err);
    }
}

static void on_worked(void *data)
{
    struct dc_pg_lock *l = data;

    l->is_working = false;
    if (l->is_closing) {
        if (l->pq != NULL) {
            PQfinish(l->pq);
        }
        dc_timer_close(&l->again, on_timer_closed);
    } else if (l->st == DC_OK) {
        hold(l);
    } else if (l->st == DC_CONFLICT) {
        refused(l);
    } else {
        (void)dc_pg_name_setting(l->st, &l->err);
        DC_LOG_WARN_EVENT(l->log, "db.lock_later", DC_LF_Z("setting", "DATABASE_URL"),
                          DC_LF_ERR(&l->err));
        try_later(l);
        l->heard(l->data, &l->err);
    }
}

static void attempt(struct dc_pg_lock *l)
{
    l->err = (struct dc_error){0};
    l->is_working = true;
    if (dc_work_submit(l->loop, work, on_worked, l) != DC_OK) {
        l->is_working = false;
        try_later(l);
    }
}

static void on_again(struct dc_timer *t)
{
    attempt(DC_CONTAINER_OF(t, struct dc_pg_lock, again));
}

static void add_settings(struct dc_pg_url *url)
{
    dc_pg_url_set(url, "client_encoding", "UTF8");
    dc_pg_url_set(url, "application_name", "daarion-lock");
    dc_pg_url_default(url, "gssencmode", "disable");
    /* Both ends notice within seconds that the other has gone without a word. */
    dc_pg_url_set(url, "keepalives_idle", "5");
    dc_pg_url_set(url, "keepalives_interval", "2");
    dc_pg_url_set(url, "keepalives_count", "3");
    dc_pg_url_set(url, "tcp_user_timeout", "10000");
    dc_pg_url_add_option(url, "tcp_keepalives_idle", "2");
    dc_pg_url_add_option(url, "tcp_keepalives_interval", "1");
    dc_pg_url_add_option(url, "tcp_keepalives_count", "2");
}

enum dc_status dc_pg_lock_open(struct dc_loop *loop, const struct dc_pg_lock_opts *opts,
                               dc_pg_lock_cb heard, void *data, struct dc_pg_lock **out,
                               struct dc_error *err)
{
    struct dc_pg_url url;
    enum dc_status st = dc_pg_name_setting(dc_pg_url_parse(opts->url, &url, err), err);

    if (st != DC_OK) {
        return st;
    }
    struct dc_pg_lock *l = dc_calloc(1, sizeof(*l));
    l->loop = loop;
    l->log = opts->log;
    l->url = url;
    l->is_shared = opts->is_shared;
    l->patience_ms = opts->patience_ms;
    l->heard = heard;
    l->data = data;
    l->backoff = (struct dc_backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
    add_settings(&l->url);
    dc_timer_init(loop, &l->again, on_again);
    attempt(l);
    *out = l;
    return DC_OK;
}
