/* The SQLite driver on the loop: one writer takes all writes that wait, two readers share the
 * reads. Nothing here blocks. */
#include "db/db_sqlite.h"
#include "base/mem.h"

static struct lite_db *lite_of(struct dc_db *db)
{
    return DC_CONTAINER_OF(db, struct lite_db, base);
}

static void try_close(struct lite_db *lite);

/* --- jobs --- */

static void log_outcome(struct lite_db *lite, const struct lite_outcome *o)
{
    if (o->status == DC_INTERNAL) {
        const char *sql = "";
        if (o->failed != NULL) {
            sql = o->failed->sqlite != NULL ? o->failed->sqlite : o->failed->sql;
        }
        DC_LOG_ERROR_EVENT(lite->base.log, "db.statement_failed", DC_LF_I("sqlite", o->err.cause),
                           DC_LF_Z("sql", sql), DC_LF_Z("message", o->message));
    } else if (o->status == DC_UNAVAILABLE) {
        DC_LOG_WARN_EVENT(lite->base.log, "db.unavailable", DC_LF_ERR(&o->err));
    }
}

static void done_batches(void *data)
{
    struct lite_conn *c = data;
    struct lite_db *lite = c->lite;

    lite->base.m.splits->value += c->splits;
    if (c->roll_back_rc != SQLITE_OK) {
        DC_LOG_ERROR_EVENT(lite->base.log, "db.roll_back_failed",
                           DC_LF_I("sqlite", c->roll_back_rc));
    }
    for (size_t i = 0; i < c->n; i++) {
        const struct lite_outcome *o = &c->outcomes[i];
        log_outcome(lite, o);
        dc_db_finish(c->batches[i], o->status, &o->err);
    }
    c->n = 0;
    c->is_busy = false;
    dc_db_wake(&lite->base);
    try_close(lite);
}

static void submit_job(struct lite_conn *c)
{
    struct dc_db *db = &c->lite->base;

    c->splits = 0;
    c->roll_back_rc = SQLITE_OK;
    dc_loop_update_time(db->loop); /* the loop's clock stands still during a turn */
    c->clock_skew_ms = dc_loop_now(db->loop).ms - dc_mono_now().ms;
    c->is_busy = true;
    if (dc_work_submit(db->loop, lite_work_batches, done_batches, c) != DC_OK) {
        for (size_t i = 0; i < c->n; i++) {
            struct lite_outcome *o = &c->outcomes[i];
            o->status = dc_fail(&o->err, DC_UNAVAILABLE, 0, "no thread for the database");
        }
        done_batches(c);
    }
}

static void dispatch_writer(struct lite_conn *c)
{
    struct dc_db *db = &c->lite->base;
    const struct dc_db_batch *next;
    size_t bytes = 0;

    while (c->n < DC_DB_MAX_GROUP && (next = dc_db_peek(db, DC_DB_Q_GROUP)) != NULL) {
        if (c->n > 0 && bytes + next->bytes > DC_DB_MAX_GROUP_BYTES) {
            break;
        }
        bytes += next->bytes;
        c->batches[c->n++] = dc_db_take(db, DC_DB_Q_GROUP);
    }
    if (c->n > 0) {
        db->m.groups->value++;
        db->m.grouped->value += c->n;
        submit_job(c);
    }
}

static void dispatch_readers(struct lite_db *lite)
{
    struct dc_db *db = &lite->base;
    struct lite_conn *idle[LITE_READERS] = {NULL};
    struct dc_db_batch *b;
    size_t n_idle = 0, turn = 0;

    for (size_t i = 1; i < LITE_CONNS; i++) {
        if (!lite->conns[i].is_busy) {
            idle[n_idle++] = &lite->conns[i];
        }
    }
    while (turn < n_idle * LITE_MAX_READS && (b = dc_db_take(db, DC_DB_Q_SHARED)) != NULL) {
        struct lite_conn *c = idle[turn++ % n_idle];
        c->batches[c->n++] = b;
    }
    for (size_t i = 0; i < n_idle; i++) {
        if (idle[i]->n > 0) {
            submit_job(idle[i]);
        }
    }
}

static void dispatch(struct dc_db *db)
{
    struct lite_db *lite = lite_of(db);

    if (lite->state != LITE_OPEN) {
        return;
    }
    if (!lite->conns[0].is_busy) {
        dispatch_writer(&lite->conns[0]);
    }
    dispatch_readers(lite);
}

static void abandoned(struct dc_db *db, struct dc_db_batch *b)
{
    /* The worker looks at should_stop and at the deadline by itself. */
    DC_ASSERT(b->db == db);
}

/* --- opening --- */

static void done_open(void *data)
{
    struct lite_db *lite = data;

    if (lite->open_err.status == DC_OK) {
        lite->state = LITE_OPEN;
        lite->base.m.connects->value += LITE_CONNS;
        lite->base.m.connections->value = LITE_CONNS;
        DC_LOG_INFO_EVENT(lite->base.log, "db.connected", DC_LF_Z("backend", "sqlite"),
                          DC_LF_Z("path", lite->path));
        dc_db_set_up(&lite->base);
    } else {
        lite->state = LITE_BROKEN;
        DC_LOG_ERROR_EVENT(lite->base.log, "db.open_failed", DC_LF_ERR(&lite->open_err));
        dc_db_set_down(&lite->base, "cannot open the file");
    }
    dc_db_tell_ready(&lite->base, &lite->open_err);
    try_close(lite);
}

/* --- closing --- */

static void done_close(void *data)
{
    struct lite_db *lite = data;

    lite->state = LITE_CLOSED;
    lite->base.m.connections->value = 0;
    dc_db_driver_closed(&lite->base);
}

static void try_close(struct lite_db *lite)
{
    if (!lite->close_wanted || lite->state == LITE_OPENING || lite->state == LITE_CLOSING ||
        lite->state == LITE_CLOSED) {
        return;
    }
    for (size_t i = 0; i < LITE_CONNS; i++) {
        if (lite->conns[i].is_busy) {
            return; /* a job of abandoned batches */
        }
    }
    lite->state = LITE_CLOSING;
    if (dc_work_submit(lite->base.loop, lite_work_close, done_close, lite) != DC_OK) {
        lite_work_close(lite);
        done_close(lite);
    }
}

static void close_driver(struct dc_db *db)
{
    struct lite_db *lite = lite_of(db);

    lite->close_wanted = true;
    try_close(lite);
}

static void destroy(struct dc_db *db)
{
    struct lite_db *lite = lite_of(db);

    dc_free(lite->path);
    dc_free(lite);
}

static const struct dc_db_driver driver = {
    .is_postgres = false,
    .groups_all_writes = true,
    .dispatch = dispatch,
    .abandoned = abandoned,
    .close = close_driver,
    .destroy = destroy,
};

enum dc_status dc_db_open_sqlite(struct dc_loop *loop, const struct dc_db_opts *opts,
                                 struct dc_db **out, struct dc_error *err)
{
    const uint64_t seed[2] = {0, 0}; /* keys are our own statements */

    if (opts->path == NULL || opts->path[0] == '\0') {
        return dc_fail(err, DC_CONFIG, 0, "neither a database URL nor a database file is given");
    }
    if (sqlite3_threadsafe() == 0) {
        return dc_fail(err, DC_CONFIG, 0, "this SQLite was built without threads");
    }
    struct lite_db *lite = dc_calloc(1, sizeof(*lite));
    dc_db_init(&lite->base, &driver, loop, opts);
    lite->path = dc_strdup(opts->path);
    lite->state = LITE_OPENING;
    for (size_t i = 0; i < LITE_CONNS; i++) {
        lite->conns[i].lite = lite;
        lite->conns[i].is_writer = i == 0;
        dc_map_init(&lite->conns[i].stmts, seed);
    }
    if (dc_work_submit(loop, lite_work_open, done_open, lite) != DC_OK) {
        lite->open_err = (struct dc_error){.status = DC_UNAVAILABLE};
        done_open(lite);
    }
    *out = &lite->base;
    return DC_OK;
}
