/* Database port: PostgreSQL (libpq, asynchronous, pipelined) and SQLite (WAL, on libuv's pool)
 * behind one interface of atomic batches (DESIGN §3 rule 3).  A caller describes its statements,
 * submits them as one transaction in one round trip, and gets all results in one callback.
 *
 * SQL is written once where both engines agree (ON CONFLICT, RETURNING, $1..$n); values carry
 * types, and the driver translates time and JSON (timestamptz <-> INTEGER ms in SQLite, jsonb <->
 * TEXT).
 *
 * Group commit: write batches with DC_DB_GROUP that wait at the same moment share one transaction;
 * when it fails because of one of them, that one is run again alone and the others without it, so
 * neighbours never suffer.
 * Grouped batches of one process commit in submission order, one group at a time, and their
 * callbacks run in that order; after a failure, when a group has to be run in parts, that holds for
 * batches of one lock_key only.  Within a group batches are ordered by lock_key so that processes
 * cannot deadlock.
 *
 * Faults: reconnect with back-off; while down, submit fails fast with DC_UNAVAILABLE.  A connection
 * that dies during COMMIT ends its batches with DC_UNAVAILABLE, code "outcome_unknown": retry needs
 * an idempotency key. */
#ifndef DC_DB_DB_H
#define DC_DB_DB_H

#include "base/json.h"
#include "base/time.h"
#include "obs/health.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "rt/op.h"

struct dc_db;

struct dc_db_opts {
    const char *url;      /* postgresql://… ; NULL: SQLite file below */
    const char *path;     /* SQLite file, created if missing */
    size_t pool_size;     /* PostgreSQL connections, one the group writer; 0: 4, at most 64 */
    uint64_t deadline_ms; /* default for a batch, waiting included */
    size_t max_waiting;   /* batches queued; more fail with DC_UNAVAILABLE */
    struct dc_log *log;
    struct dc_metrics *metrics;
    struct dc_health_check *health; /* NULL allowed */
};

/* Starts connecting; `ready` is told by health and by dc_db_on_ready. A malformed URL is DC_CONFIG.
 */
DC_MUST_USE enum dc_status dc_db_open(struct dc_loop *loop, const struct dc_db_opts *opts,
                                      struct dc_db **out, struct dc_error *err);
/* ready runs once, on the loop, when the first connection works (DC_OK) or can never work
 * (DC_CONFIG: wrong password, no such database). */
void dc_db_on_ready(struct dc_db *db, void (*ready)(void *data, const struct dc_error *err),
                    void *data);
/* Waiting batches end with DC_CANCELED, running ones are awaited; closed runs last, then *db is
 * gone. */
void dc_db_close(struct dc_db *db, void (*closed)(void *data), void *data);
bool dc_db_is_postgres(const struct dc_db *db);

/* --- values --- */
enum dc_db_type { DC_DB_NULL, DC_DB_TEXT, DC_DB_INT, DC_DB_BOOL, DC_DB_UTC, DC_DB_JSON };
struct dc_db_value {
    enum dc_db_type type;
    struct dc_slice text; /* TEXT, JSON */
    int64_t num;          /* INT, BOOL, UTC (ms) */
};
static inline struct dc_db_value dc_db_null(void)
{
    return (struct dc_db_value){DC_DB_NULL, {NULL, 0}, 0};
}
/* ptr NULL: null */
static inline struct dc_db_value dc_db_text(struct dc_slice s)
{
    return (struct dc_db_value){s.ptr == NULL ? DC_DB_NULL : DC_DB_TEXT, s, 0};
}
static inline struct dc_db_value dc_db_int(int64_t v)
{
    return (struct dc_db_value){DC_DB_INT, {NULL, 0}, v};
}
static inline struct dc_db_value dc_db_bool(bool v)
{
    return (struct dc_db_value){DC_DB_BOOL, {NULL, 0}, v ? 1 : 0};
}
static inline struct dc_db_value dc_db_utc(struct dc_utc t)
{
    return (struct dc_db_value){DC_DB_UTC, {NULL, 0}, t.ms};
}
static inline struct dc_db_value dc_db_json(struct dc_slice s)
{
    return (struct dc_db_value){DC_DB_JSON, s, 0};
}

/* --- batches --- */
/* A statement is static; its address is its identity (prepared once per connection). Parameters are
 * $1..$n, each used at least once. sqlite: NULL unless the two engines cannot agree on the text.
 * Types in PostgreSQL: INT is bigint, BOOL boolean, UTC timestamptz, JSON jsonb; TEXT and null take
 * the type that the statement asks for.  Where it asks for none ($1 IS NULL), or for another one
 * (functions of integer), write CAST($1 AS text): "$1::text" means something else in SQLite.
 * Several statements of one READ see the same snapshot. */
struct dc_db_stmt {
    const char *sql;
    const char *sqlite;
};
#define DC_DB_MAX_PARAMS     32
#define DC_DB_MAX_STATEMENTS 16

enum dc_db_flag {
    DC_DB_READ = 1,  /* no transaction is opened for a single statement */
    DC_DB_WRITE = 2, /* one transaction */
    DC_DB_GROUP = 4, /* with WRITE: may share a commit with others, in submission order */
};

struct dc_db_batch;
/* Lives until submitted (submit takes it) or freed. */
struct dc_db_batch *dc_db_batch_create(struct dc_db *db, unsigned flags);
void dc_db_batch_free(struct dc_db_batch *b);
/* values are copied. More than the limits above is our own mistake. */
void dc_db_batch_add(struct dc_db_batch *b, const struct dc_db_stmt *stmt,
                     const struct dc_db_value *values, size_t n);
/* For DC_DB_GROUP; copied, <= 128 bytes. */
void dc_db_batch_set_lock_key(struct dc_db_batch *b, struct dc_slice key);
void dc_db_batch_set_deadline(struct dc_db_batch *b, uint64_t deadline_ms);

/* results[i] belongs to statement i. Borrowed: copy what you keep before returning. On failure n is
 * 0. DC_CONFLICT: a unique constraint (err->text names it: the constraint in PostgreSQL,
 * "table.column" in SQLite). DC_INVALID: another constraint or a bad value. DC_UNAVAILABLE,
 * DC_TIMEOUT, DC_CANCELED, DC_INTERNAL (SQL error: ours).  A write whose deadline passes while it
 * runs is DC_TIMEOUT, code "outcome_unknown" unless it was certainly undone; a write that runs
 * already cannot be cancelled and ends with its real outcome.  Deadlocks and serialization failures
 * are retried three times inside. */
struct dc_db_result;
typedef void (*dc_db_cb)(void *data, enum dc_status st, const struct dc_db_result *const *results,
                         size_t n, const struct dc_error *err);
/* See rt/op.h. On failure the batch has been freed too and cb never runs: DC_INVALID for a value
 * that is no valid text or out of range (years 0001 to 9999) and for more than 64 MiB of values,
 * DC_UNAVAILABLE while the database is down or closing, and with code "queue_full" when max_waiting
 * batches wait. */
DC_MUST_USE enum dc_status dc_db_submit(struct dc_db_batch *b, dc_db_cb cb, void *data,
                                        struct dc_op **op, struct dc_error *err);

/* --- results --- */
size_t dc_db_rows(const struct dc_db_result *r);
/* Rows touched by a statement without rows. */
size_t dc_db_affected(const struct dc_db_result *r);
bool dc_db_is_null(const struct dc_db_result *r, size_t row, size_t col);
/* Text form; NULL ptr for null. JSON columns too. */
struct dc_slice dc_db_get_text(const struct dc_db_result *r, size_t row, size_t col);
int64_t dc_db_get_int(const struct dc_db_result *r, size_t row, size_t col);
bool dc_db_get_bool(const struct dc_db_result *r, size_t row, size_t col);
struct dc_utc dc_db_get_utc(const struct dc_db_result *r, size_t row, size_t col);

#endif
