/* What SQLite does on libuv's pool: opening, closing, and the transactions of a job.
 *
 * All writes of a job share one transaction, each within its own savepoint: one flush of the log
 * for all, and a batch that fails undoes only itself.  Some errors (interrupt, full disk) make
 * SQLite roll back the whole transaction, and the commit itself can fail: then each batch is run
 * again alone, in order. */
#include "base/mem.h"
#include "db/db_sqlite.h"
#include <stdio.h>

/* --- deadlines --- */

static int64_t left_ms(const struct lite_conn *c, const struct dc_db_batch *b)
{
    return b->deadline.at_ms - (dc_mono_now().ms + c->clock_skew_ms);
}

/* Non-zero interrupts the statement. */
static int on_progress(void *data)
{
    const struct lite_conn *c = data;

    if (c->current == NULL) {
        return 0;
    }
    return atomic_load(&c->current->should_stop) || left_ms(c, c->current) <= 0 ? 1 : 0;
}

/* --- outcomes --- */

static void set_ok(struct lite_outcome *o)
{
    *o = (struct lite_outcome){.status = DC_OK};
}

static void set_failed(struct lite_conn *c, struct lite_outcome *o, int rc,
                       const struct dc_db_stmt *stmt)
{
    *o = (struct lite_outcome){.status = DC_OK};
    if (rc == LITE_USAGE) {
        o->status = dc_fail(&o->err, DC_INTERNAL, 0,
                            "not one statement, or parameters and values do not match");
    } else if (rc == LITE_TOO_LARGE) {
        o->status = dc_fail(&o->err, DC_INTERNAL, 0, "the result is too large");
    } else {
        o->status = dc_sqlite_fail(&o->err, c->db, rc);
    }
    if (o->status == DC_INTERNAL) {
        o->failed = stmt;
        int len = snprintf(o->message, sizeof(o->message), "%s",
                           rc < 0 ? o->err.text : sqlite3_errmsg(c->db));
        DC_ASSERT(len >= 0);
    }
}

static void set_late(struct lite_outcome *o)
{
    *o = (struct lite_outcome){.status = DC_OK};
    o->status = dc_fail(&o->err, DC_TIMEOUT, 0, "the database did not get to it in time");
}

/* --- transactions --- */

static bool in_transaction(const struct lite_conn *c)
{
    return sqlite3_get_autocommit(c->db) == 0;
}

static void roll_back(struct lite_conn *c)
{
    c->current = NULL;
    if (in_transaction(c)) {
        int rc = dc_sqlite_exec(c->db, "ROLLBACK");
        if (rc != SQLITE_OK) {
            c->roll_back_rc = rc; /* the next BEGIN fails if this mattered; the loop logs it */
        }
    }
}

/* All statements of a batch; stops at the first failure. */
static void run_calls(struct lite_conn *c, size_t index)
{
    struct dc_db_batch *b = c->batches[index];

    set_ok(&c->outcomes[index]);
    c->current = b;
    for (size_t i = 0; i < b->n_calls; i++) {
        int rc = lite_run_call(c, b, i);
        if (rc != SQLITE_OK) {
            set_failed(c, &c->outcomes[index], rc, b->calls[i].stmt);
            break;
        }
    }
    c->current = NULL;
}

static int begin(struct lite_conn *c, size_t from, size_t to)
{
    int64_t wait_ms = 1;

    /* Another process may hold the lock; nobody here waits longer than the last deadline. */
    for (size_t i = from; i < to; i++) {
        int64_t left = left_ms(c, c->batches[i]);
        wait_ms = left > wait_ms ? left : wait_ms;
    }
    int rc = sqlite3_busy_timeout(c->db, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
    return rc == SQLITE_OK ? dc_sqlite_exec(c->db, "BEGIN IMMEDIATE") : rc;
}

static int commit(struct lite_conn *c)
{
    return dc_sqlite_exec(c->db, "COMMIT");
}

/* One batch in a transaction of its own. */
static void write_alone(struct lite_conn *c, size_t index)
{
    struct lite_outcome *o = &c->outcomes[index];

    dc_db_drop_results(c->batches[index]);
    if (left_ms(c, c->batches[index]) <= 0) {
        set_late(o);
        return;
    }
    int rc = begin(c, index, index + 1);
    if (rc != SQLITE_OK) {
        set_failed(c, o, rc, NULL);
        return;
    }
    /* Waiting for the lock may have taken all its time; what is late is undone and says so. */
    if (left_ms(c, c->batches[index]) > 0) {
        run_calls(c, index);
    } else {
        set_late(o);
    }
    if (o->status == DC_OK) {
        rc = commit(c);
        if (rc != SQLITE_OK) {
            set_failed(c, o, rc, NULL);
            if ((rc & 0xff) == SQLITE_IOERR) {
                /* The log was written, but whether it is on the disk nobody knows. */
                o->err.code = "outcome_unknown";
            }
        }
    }
    roll_back(c);
}

/* One batch within the common transaction. false: SQLite has rolled everything back. */
static bool write_in_group(struct lite_conn *c, size_t index)
{
    struct lite_outcome *o = &c->outcomes[index];
    int rc;

    if (left_ms(c, c->batches[index]) <= 0) {
        set_late(o);
        return true;
    }
    rc = dc_sqlite_exec(c->db, "SAVEPOINT batch");
    if (rc != SQLITE_OK) {
        return false;
    }
    run_calls(c, index);
    if (!in_transaction(c)) {
        return false;
    }
    if (o->status != DC_OK && dc_sqlite_exec(c->db, "ROLLBACK TO batch") != SQLITE_OK) {
        return false;
    }
    return dc_sqlite_exec(c->db, "RELEASE batch") == SQLITE_OK;
}

static bool write_together(struct lite_conn *c)
{
    int rc = begin(c, 0, c->n);

    if (rc != SQLITE_OK) {
        for (size_t i = 0; i < c->n; i++) {
            set_failed(c, &c->outcomes[i], rc, NULL);
        }
        return true;
    }
    for (size_t i = 0; i < c->n; i++) {
        if (!write_in_group(c, i)) {
            roll_back(c);
            return false;
        }
    }
    rc = commit(c);
    roll_back(c);
    return rc == SQLITE_OK;
}

static void work_writes(struct lite_conn *c)
{
    if (c->n > 1 && write_together(c)) {
        return;
    }
    c->splits += c->n > 1 ? 1 : 0;
    for (size_t i = 0; i < c->n; i++) {
        write_alone(c, i);
    }
}

/* Several statements see one snapshot. */
static void read_one(struct lite_conn *c, size_t index)
{
    struct dc_db_batch *b = c->batches[index];
    struct lite_outcome *o = &c->outcomes[index];

    if (left_ms(c, b) <= 0 || atomic_load(&b->should_stop)) {
        set_late(o);
        return;
    }
    if (b->n_calls > 1) {
        int rc = dc_sqlite_exec(c->db, "BEGIN");
        if (rc != SQLITE_OK) {
            set_failed(c, o, rc, NULL);
            return;
        }
    }
    run_calls(c, index);
    roll_back(c);
}

void lite_work_batches(void *data)
{
    struct lite_conn *c = data;

    if (c->is_writer) {
        work_writes(c);
        return;
    }
    for (size_t i = 0; i < c->n; i++) {
        read_one(c, i);
    }
}

/* --- opening and closing --- */

void lite_work_close(void *data)
{
    struct lite_db *lite = data;

    /* The writer last: the last connection to close brings the log into the file. */
    for (size_t i = LITE_CONNS; i > 0; i--) {
        struct lite_conn *c = &lite->conns[i - 1];
        lite_forget_stmts(c);
        sqlite3_close_v2(c->db);
        c->db = NULL;
    }
}

void lite_work_open(void *data)
{
    struct lite_db *lite = data;

    for (size_t i = 0; i < LITE_CONNS; i++) {
        struct lite_conn *c = &lite->conns[i];
        enum dc_status st =
            dc_sqlite_open(lite->path, c->is_writer ? DC_SQLITE_WRITER : DC_SQLITE_READER, &c->db,
                           &lite->open_err);
        if (st != DC_OK) {
            lite_work_close(lite);
            return;
        }
        sqlite3_progress_handler(c->db, LITE_PROGRESS_OPS, on_progress, c);
    }
    lite->open_err = (struct dc_error){.status = DC_OK};
}
