/* Inside of the SQLite driver.
 *
 * db_sqlite.c        on the loop: which connection gets which batches; opening and closing
 * db_sqlite_work.c   on libuv's pool: transactions
 * db_sqlite_stmt.c   on libuv's pool: one statement, its parameters and rows
 *
 * A connection is used by one job at a time, so by one thread at a time; a job belongs to the
 * worker from submission until its end.  Of a batch in a job the worker touches calls, results and
 * arena, the loop everything else. */
#ifndef DC_DB_DB_SQLITE_H
#define DC_DB_DB_SQLITE_H

#include "base/map.h"
#include "db/db_priv.h"
#include "db/sqlite_file.h"

#define LITE_READERS      2
#define LITE_CONNS        (1 + LITE_READERS)
#define LITE_MAX_READS    16 /* in one job */
#define LITE_PROGRESS_OPS 1000

struct lite_db;

struct lite_stmt {
    const struct dc_db_stmt *stmt; /* the key is this pointer's bytes */
    sqlite3_stmt *lite;
    size_t n_params;
    int index[DC_DB_MAX_PARAMS]; /* where $1, $2, … are bound */
};

/* What the worker found out about one batch of its job. */
struct lite_outcome {
    enum dc_status status;
    struct dc_error err;
    const struct dc_db_stmt *failed; /* of DC_INTERNAL, for the log */
    char message[160];
};

struct lite_conn {
    struct lite_db *lite;
    bool is_writer, is_busy;
    sqlite3 *db;
    struct dc_map stmts;
    /* the job */
    struct dc_db_batch *batches[DC_DB_MAX_GROUP];
    struct lite_outcome outcomes[DC_DB_MAX_GROUP];
    size_t n;
    int roll_back_rc;                  /* SQLITE_OK, or how a ROLLBACK failed */
    size_t splits;                     /* transactions that had to be run again in parts */
    int64_t clock_skew_ms;             /* loop's clock minus the worker's */
    const struct dc_db_batch *current; /* for the progress handler */
};

enum lite_state { LITE_OPENING, LITE_OPEN, LITE_BROKEN, LITE_CLOSING, LITE_CLOSED };

struct lite_db {
    struct dc_db base;
    char *path;
    enum lite_state state;
    bool close_wanted;
    struct lite_conn conns[LITE_CONNS]; /* the writer first */
    struct dc_error open_err;
};

/* --- on the worker --- */
void lite_work_batches(void *data); /* struct lite_conn */
void lite_work_open(void *data);    /* struct lite_db */
void lite_work_close(void *data);

/* One statement of a batch: rows into b->results[i]. An SQLite result code; LITE_USAGE and
 * LITE_TOO_LARGE are ours. */
#define LITE_USAGE     (-1) /* parameters and values do not match */
#define LITE_TOO_LARGE (-2) /* the result does not fit DC_DB_MAX_BATCH_BYTES */
int lite_run_call(struct lite_conn *c, struct dc_db_batch *b, size_t i);
void lite_forget_stmts(struct lite_conn *c);

#endif
