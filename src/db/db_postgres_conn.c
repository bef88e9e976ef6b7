/* One connection of the pool.  PQconnectStart looks names up and blocks while it does, so it runs
 * on libuv's pool; all else happens on the loop through uv_poll.
 *
 * While the server cannot be reached only one connection tries, with back-off; the others are
 * parked and follow when it has succeeded. */
#include "base/mem.h"
#include "db/db_postgres.h"

#define BACKOFF_BASE_MS 50
#define BACKOFF_MAX_MS  5000

static void on_poll(uv_poll_t *uv, int status, int events);
static void connect_step(struct pg_conn *c);
static void fail_attempt(struct pg_conn *c);

/* --- the socket --- */

static void on_poll_closed(uv_handle_t *handle)
{
    struct pg_poll *poll = DC_CONTAINER_OF(handle, struct pg_poll, uv);
    struct pg_db *pg = poll->pg;

    dc_free(poll);
    pg->n_polls--;
    pg_check_closed(pg);
}

static void poll_close(struct pg_conn *c)
{
    if (c->poll != NULL) {
        c->poll->conn = NULL;
        uv_close((uv_handle_t *)&c->poll->uv, on_poll_closed);
        c->poll = NULL;
    }
}

/* Watches the socket that libpq uses now. false: impossible. */
static bool poll_want(struct pg_conn *c, int events)
{
    int fd = PQsocket(c->pq);

    if (fd < 0) {
        return false;
    }
    if (c->poll != NULL && c->poll->fd != fd) {
        poll_close(c);
    }
    if (c->poll == NULL) {
        struct pg_poll *poll = dc_calloc(1, sizeof(*poll));
        if (uv_poll_init(dc_loop_uv(c->pg->base.loop), &poll->uv, fd) != 0) {
            dc_free(poll);
            return false;
        }
        poll->fd = fd;
        poll->conn = c;
        poll->pg = c->pg;
        c->poll = poll;
        c->pg->n_polls++;
    }
    if (c->poll->events == events) {
        return true;
    }
    c->poll->events = events;
    return uv_poll_start(&c->poll->uv, events, on_poll) == 0;
}

static void poll_stop(struct pg_conn *c)
{
    if (c->poll != NULL) {
        int rc = uv_poll_stop(&c->poll->uv);
        DC_ASSERT(rc == 0);
        c->poll->events = 0;
    }
}

/* --- connecting --- */

static void on_notice(void *data, const PGresult *res)
{
    struct pg_conn *c = data;
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    /* Only the code: notices may quote values. */
    DC_LOG_DEBUG_EVENT(c->pg->base.log, "db.notice",
                       DC_LF_Z("sqlstate", state == NULL ? "" : state));
}

static void release(struct pg_conn *c)
{
    poll_close(c);
    if (c->pq != NULL) {
        PQfinish(c->pq);
        c->pq = NULL;
    }
    dc_timer_stop(&c->timer);
    pg_stmts_forget(c);
    c->is_suspect = false;
    c->has_result = false;
    c->needs_flush = false;
}

static void work_start(void *data)
{
    struct pg_conn *c = data;

    c->pq = PQconnectStartParams((const char *const *)c->pg->url.keywords,
                                 (const char *const *)c->pg->url.values, 0);
    if (c->pq != NULL) {
        /* So that messages carry their SQLSTATE. */
        PQsetErrorVerbosity(c->pq, PQERRORS_VERBOSE);
    }
}

static void done_start(void *data)
{
    struct pg_conn *c = data;

    if (c->pg->is_closing) {
        release(c);
        c->state = PG_CLOSED;
        pg_check_closed(c->pg);
        return;
    }
    if (c->pq == NULL || PQstatus(c->pq) == CONNECTION_BAD) {
        fail_attempt(c);
        return;
    }
    PQsetNoticeReceiver(c->pq, on_notice, c);
    c->state = PG_CONNECTING;
    dc_timer_start(&c->timer, DC_PG_CONNECT_TIMEOUT_MS, 0);
    if (!poll_want(c, UV_WRITABLE)) {
        fail_attempt(c);
    }
}

static void start(struct pg_conn *c)
{
    DC_ASSERT(c->pq == NULL && c->poll == NULL);
    c->state = PG_STARTING;
    if (dc_work_submit(c->pg->base.loop, work_start, done_start, c) != DC_OK) {
        fail_attempt(c);
    }
}

static bool is_trying(const struct pg_conn *c)
{
    return c->state == PG_STARTING || c->state == PG_CONNECTING || c->state == PG_BACKOFF;
}

void pg_conn_want(struct pg_conn *c)
{
    struct pg_db *pg = c->pg;

    if (pg_count_ready(pg) == 0) {
        for (size_t i = 0; i < pg->n_conns; i++) {
            if (&pg->conns[i] != c && is_trying(&pg->conns[i])) {
                c->state = PG_PARKED;
                return;
            }
        }
    }
    if (c->backoff.attempt == 0) {
        start(c);
        return;
    }
    c->state = PG_BACKOFF;
    dc_timer_start(&c->timer, dc_backoff_next_ms(&c->backoff), 0);
}

static void fail_attempt(struct pg_conn *c)
{
    struct pg_db *pg = c->pg;
    const char *message = c->pq == NULL ? "out of memory" : PQerrorMessage(c->pq);
    char sqlstate[6], line[160];

    dc_pg_sqlstate_of_message(message, sqlstate);
    dc_pg_first_line(message, line, sizeof(line));
    if (c->state == PG_CONNECTING && line[0] == '\0') {
        dc_pg_first_line("the server did not answer in time", line, sizeof(line));
    }
    bool is_config = dc_pg_is_config_problem(sqlstate) ||
                     (c->pq != NULL && PQconnectionNeedsPassword(c->pq) != 0);
    DC_LOG(pg->base.log, is_config ? DC_LOG_ERROR : DC_LOG_WARN, "db.connect_failed",
           DC_LF_Z("setting", "DATABASE_URL"), DC_LF_Z("sqlstate", sqlstate),
           DC_LF_Z("detail", line));
    release(c);
    c->state = PG_BACKOFF;
    dc_timer_start(&c->timer, dc_backoff_next_ms(&c->backoff), 0);
    if (is_config) {
        struct dc_error err;
        (void)dc_pg_name_setting(dc_fail(&err, DC_CONFIG, 0, "%s", line), &err);
        dc_db_tell_ready(&pg->base, &err);
    }
    if (pg_count_ready(pg) == 0) {
        dc_db_set_down(&pg->base, is_config ? "refused by the server" : "cannot connect");
    }
}

static void become_ready(struct pg_conn *c)
{
    struct pg_db *pg = c->pg;
    const struct dc_error ok = {.status = DC_OK};

    if (PQsetnonblocking(c->pq, 1) != 0 || PQenterPipelineMode(c->pq) != 1 ||
        !poll_want(c, UV_READABLE)) {
        fail_attempt(c);
        return;
    }
    dc_timer_stop(&c->timer);
    c->state = PG_READY;
    pg->base.m.connects->value++;
    pg->base.m.connections->value++;
    DC_LOG_INFO_EVENT(pg->base.log, "db.connected", DC_LF_Z("backend", "postgresql"),
                      DC_LF_I("server_version", PQserverVersion(c->pq)),
                      DC_LF_I("connections", pg_count_ready(pg)));
    for (size_t i = 0; i < pg->n_conns; i++) {
        if (pg->conns[i].state == PG_PARKED) {
            dc_backoff_reset(&pg->conns[i].backoff);
            start(&pg->conns[i]);
        }
    }
    dc_db_tell_ready(&pg->base, &ok);
    dc_db_set_up(&pg->base);
}

static void connect_step(struct pg_conn *c)
{
    /* libpq may close its socket and open another one with the same number: the watcher must not
     * be armed meanwhile. */
    poll_stop(c);
    switch (PQconnectPoll(c->pq)) {
    case PGRES_POLLING_READING:
        if (!poll_want(c, UV_READABLE)) {
            fail_attempt(c);
        }
        return;
    case PGRES_POLLING_WRITING:
        if (!poll_want(c, UV_WRITABLE)) {
            fail_attempt(c);
        }
        return;
    case PGRES_POLLING_OK:
        become_ready(c);
        return;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE: /* not used by libpq */
        fail_attempt(c);
        return;
    }
}

static void on_conn_timer(struct dc_timer *timer)
{
    struct pg_conn *c = DC_CONTAINER_OF(timer, struct pg_conn, timer);

    if (c->state == PG_BACKOFF) {
        start(c);
    } else if (c->state == PG_CONNECTING) {
        fail_attempt(c);
    }
}

/* --- connected --- */

bool pg_conn_is_usable(const struct pg_conn *c)
{
    return c->state == PG_READY && !c->is_suspect;
}

void pg_conn_flush(struct pg_conn *c)
{
    if (c->state != PG_READY || !c->needs_flush) {
        return;
    }
    int rc = PQflush(c->pq);
    c->needs_flush = rc == 1;
    if (rc < 0 || !poll_want(c, c->needs_flush ? UV_READABLE | UV_WRITABLE : UV_READABLE)) {
        pg_conn_drop(c, "cannot write");
    }
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
    struct pg_poll *poll = DC_CONTAINER_OF(uv, struct pg_poll, uv);
    struct pg_conn *c = poll->conn;

    if (c == NULL) {
        return;
    }
    if (c->state == PG_CONNECTING) {
        connect_step(c);
        return;
    }
    DC_ASSERT(c->state == PG_READY);
    if (status < 0) {
        pg_conn_drop(c, "cannot watch the socket");
        return;
    }
    /* What has arrived is used even when the connection ends with it. */
    bool is_alive = (events & UV_READABLE) == 0 || PQconsumeInput(c->pq) == 1;
    if (!pg_conn_read(c) || !is_alive || PQstatus(c->pq) == CONNECTION_BAD) {
        pg_conn_drop(c, "closed by the server");
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        pg_conn_flush(c);
    }
}

static void lose_runs(struct pg_conn *c)
{
    while (!dc_list_is_empty(&c->runs)) {
        struct pg_run *run = DC_LIST_ENTRY(c->runs.next, struct pg_run, link);
        dc_list_remove(&run->link);
        c->n_runs--;
        pg_run_lost(run); /* frees it */
    }
    c->n_live = 0;
}

void pg_conn_drop(struct pg_conn *c, const char *reason)
{
    struct pg_db *pg = c->pg;

    DC_ASSERT(c->state == PG_READY);
    pg->base.m.losses->value++;
    pg->base.m.connections->value--;
    DC_LOG_WARN_EVENT(pg->base.log, "db.connection_lost", DC_LF_Z("reason", reason),
                      DC_LF_I("runs", c->n_runs));
    release(c);
    /* Not before the next attempt is on its way: what is requeued below must find a state. */
    c->state = PG_PARKED;
    if (pg->is_closing) {
        c->state = PG_CLOSED;
    } else {
        /* Never at once: a server that accepts and hangs up must not make us spin. */
        if (c->backoff.attempt == 0) {
            c->backoff.attempt = 1;
        }
        pg_conn_want(c);
        if (pg_count_ready(pg) == 0 && pg->base.health != NULL) {
            dc_health_set(pg->base.health, DC_HEALTH_DOWN, "connection lost");
        }
    }
    lose_runs(c);
    pg_check_closed(pg);
}

/* --- life --- */

void pg_conn_init(struct pg_db *pg, struct pg_conn *c)
{
    const uint64_t seed[2] = {0, 0}; /* keys are our own statements */

    c->pg = pg;
    c->state = PG_PARKED;
    c->backoff = (struct dc_backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
    dc_timer_init(pg->base.loop, &c->timer, on_conn_timer);
    dc_list_init(&c->runs);
    dc_map_init(&c->stmts, seed);
}

static void on_conn_timer_closed(struct dc_timer *timer)
{
    struct pg_conn *c = DC_CONTAINER_OF(timer, struct pg_conn, timer);

    c->is_timer_closed = true;
    pg_check_closed(c->pg);
}

void pg_conn_close(struct pg_conn *c)
{
    switch (c->state) {
    case PG_STARTING:
        break; /* done_start finds out */
    case PG_READY:
        c->pg->base.m.connections->value--;
        release(c);
        c->state = PG_CLOSED;
        lose_runs(c);
        break;
    case PG_PARKED:
    case PG_CONNECTING:
    case PG_BACKOFF:
        release(c);
        c->state = PG_CLOSED;
        break;
    case PG_CLOSED:
        break;
    }
    dc_timer_close(&c->timer, on_conn_timer_closed);
}
