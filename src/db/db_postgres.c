/* The pool of the PostgreSQL driver. One connection is the writer of groups (db_postgres_group.c);
 * reads and single writes go to the least busy of the others, several in flight on each. */
#include "db/db_postgres.h"
#include "base/mem.h"

static struct pg_db *pg_of(struct dc_db *db)
{
    return DC_CONTAINER_OF(db, struct pg_db, base);
}

size_t pg_count_ready(const struct pg_db *pg)
{
    size_t n = 0;

    for (size_t i = 0; i < pg->n_conns; i++) {
        n += pg->conns[i].state == PG_READY ? 1 : 0;
    }
    return n;
}

/* --- dispatch --- */

/* The writer only if there is no other. */
static struct pg_conn *choose_shared(struct pg_db *pg)
{
    struct pg_conn *best = NULL;
    bool has_other = false;

    for (size_t i = 0; i < pg->n_conns; i++) {
        struct pg_conn *c = &pg->conns[i];
        if (i == pg->writer || !pg_conn_is_usable(c)) {
            continue;
        }
        has_other = true;
        if (c->n_runs < DC_PG_PIPELINE_DEPTH && (best == NULL || c->n_runs < best->n_runs)) {
            best = c;
        }
    }
    struct pg_conn *writer = &pg->conns[pg->writer];
    if (!has_other && pg_conn_is_usable(writer) && writer->n_runs < DC_PG_PIPELINE_DEPTH) {
        return writer;
    }
    return best;
}

static void dispatch(struct dc_db *db)
{
    struct pg_db *pg = pg_of(db);
    struct pg_conn *c;

    pg_group_dispatch(pg);
    while (dc_db_peek(db, DC_DB_Q_SHARED) != NULL && (c = choose_shared(pg)) != NULL) {
        struct dc_db_batch *b = dc_db_take(db, DC_DB_Q_SHARED);
        if (!pg_run_start(c, &b, 1, false)) {
            pg_conn_drop(c, "cannot send");
        }
    }
    for (size_t i = 0; i < pg->n_conns; i++) {
        pg_conn_flush(&pg->conns[i]);
    }
}

static void abandoned(struct dc_db *db, struct dc_db_batch *b)
{
    const struct pg_run *run = b->carrier;

    if (run == NULL) {
        return; /* part of a group that has not been sent yet */
    }
    struct pg_conn *c = run->conn;
    DC_ASSERT(c->n_live > 0 && c->pg == pg_of(db));
    c->n_live--;
    if (b->status != DC_TIMEOUT) {
        return; /* canceled: its answer will come and be thrown away */
    }
    c->is_suspect = true;
    if (c->n_live == 0) {
        /* It answers nobody: a hung server or network. Others on it had their time as well. */
        pg_conn_drop(c, "deadline passed");
    }
}

/* --- opening and closing --- */

void pg_check_closed(struct pg_db *pg)
{
    if (!pg->is_closing || pg->has_told_closed || pg->n_polls > 0 || !pg->group.is_timer_closed) {
        return;
    }
    for (size_t i = 0; i < pg->n_conns; i++) {
        if (pg->conns[i].state != PG_CLOSED || !pg->conns[i].is_timer_closed) {
            return;
        }
    }
    pg->has_told_closed = true;
    dc_db_driver_closed(&pg->base);
}

static void on_group_timer_closed(struct dc_timer *timer)
{
    struct pg_group *g = DC_CONTAINER_OF(timer, struct pg_group, timer);

    g->is_timer_closed = true;
    pg_check_closed(DC_CONTAINER_OF(g, struct pg_db, group));
}

static void close_driver(struct dc_db *db)
{
    struct pg_db *pg = pg_of(db);

    pg->is_closing = true;
    pg_group_give_up(pg);
    for (size_t i = 0; i < pg->n_conns; i++) {
        pg_conn_close(&pg->conns[i]);
    }
    dc_timer_close(&pg->group.timer, on_group_timer_closed);
}

static void destroy(struct dc_db *db)
{
    struct pg_db *pg = pg_of(db);

    for (size_t i = 0; i < pg->n_conns; i++) {
        dc_map_free(&pg->conns[i].stmts);
    }
    dc_free(pg->conns);
    dc_pg_url_free(&pg->url);
    dc_free(pg);
}

static const struct dc_db_driver driver = {
    .is_postgres = true,
    .groups_all_writes = false,
    .dispatch = dispatch,
    .abandoned = abandoned,
    .close = close_driver,
    .destroy = destroy,
};

static void add_settings(struct dc_pg_url *url, uint64_t deadline_ms)
{
    char number[24];
    int len = snprintf(number, sizeof(number), "%llu", (unsigned long long)deadline_ms);

    DC_ASSERT(len > 0 && (size_t)len < sizeof(number));
    dc_pg_url_set(url, "client_encoding", "UTF8");
    dc_pg_url_default(url, "application_name", "daarion");
    /* Asking for Kerberos first costs a round trip, and libpq may block for it. */
    dc_pg_url_default(url, "gssencmode", "disable");
    dc_pg_url_default(url, "keepalives_idle", "30");
    dc_pg_url_default(url, "keepalives_interval", "10");
    dc_pg_url_default(url, "keepalives_count", "3");
    dc_pg_url_default(url, "tcp_user_timeout", "30000");
    dc_pg_url_add_option(url, "TimeZone", "UTC");
    dc_pg_url_add_option(url, "DateStyle", "ISO");
    dc_pg_url_add_option(url, "statement_timeout", number);
    dc_pg_url_add_option(url, "default_transaction_isolation", "read\\ committed");
}

enum dc_status dc_db_open_postgres(struct dc_loop *loop, const struct dc_db_opts *opts,
                                   struct dc_db **out, struct dc_error *err)
{
    struct dc_pg_url url;
    enum dc_status st;

    if (PQisthreadsafe() == 0) {
        return dc_fail(err, DC_CONFIG, 0, "this libpq was built without threads");
    }
    if (opts->pool_size > DC_PG_MAX_POOL) {
        return dc_fail(err, DC_CONFIG, 0, "at most %d database connections", DC_PG_MAX_POOL);
    }
    st = dc_pg_name_setting(dc_pg_url_parse(opts->url, &url, err), err);
    if (st != DC_OK) {
        return st;
    }
    struct pg_db *pg = dc_calloc(1, sizeof(*pg));
    dc_db_init(&pg->base, &driver, loop, opts);
    pg->url = url;
    add_settings(&pg->url, pg->base.deadline_ms);
    pg->n_conns = opts->pool_size != 0 ? opts->pool_size : 4;
    pg->conns = dc_calloc(pg->n_conns, sizeof(*pg->conns));
    for (size_t i = 0; i < pg->n_conns; i++) {
        pg_conn_init(pg, &pg->conns[i]);
    }
    pg_group_init(pg);
    pg_conn_want(&pg->conns[0]); /* the others follow it */
    *out = &pg->base;
    return DC_OK;
}
