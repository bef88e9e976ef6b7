/* What the front (db.c, result.c) and the drivers share.  The front owns queues, deadlines,
 * retries, cancellation, metrics and callbacks; a driver takes batches from a queue, runs them, and
 * gives each back exactly once: dc_db_finish(), dc_db_requeue() or dc_db_retry_after().
 *
 * Life of a batch: NEW -> WAITING -> RUNNING -> ENDED -> freed after its callback.  A running batch
 * whose deadline passes, or a running read that is cancelled, is *abandoned*: its callback runs
 * although the driver still holds it; what the driver finds out later is thrown away. */
#ifndef DC_DB_DB_PRIV_H
#define DC_DB_DB_PRIV_H

#include "base/arena.h"
#include "base/heap.h"
#include "base/list.h"
#include "db/db.h"
#include "rt/loop.h"
#include "rt/timer.h"
#include <stdatomic.h>

#define DC_DB_DEFAULT_DEADLINE_MS 5000
#define DC_DB_DEFAULT_MAX_WAITING 10000
#define DC_DB_MAX_LOCK_KEY        128
/* Values and (SQLite) results of one batch. */
#define DC_DB_MAX_BATCH_BYTES ((size_t)64 * 1024 * 1024)
#define DC_DB_MAX_GROUP       256
#define DC_DB_MAX_GROUP_BYTES ((size_t)1024 * 1024)
/* Of a batch that met a serialization failure or a deadlock. */
#define DC_DB_MAX_RETRIES 3

/* Cells are read through the driver that made them. */
struct dc_db_result {
    size_t rows, cols, affected;
    bool utc_is_ms; /* SQLite: times are integers */
    /* ptr NULL: null. row and col have been checked. */
    struct dc_slice (*cell)(const struct dc_db_result *r, size_t row, size_t col);
    void (*free)(struct dc_db_result *r); /* NULL: lives in the batch's arena */
};

struct dc_db_call {
    const struct dc_db_stmt *stmt;
    const struct dc_db_value *values; /* texts end in NUL */
    size_t n;
};

enum dc_db_state { DC_DB_NEW, DC_DB_WAITING, DC_DB_RUNNING, DC_DB_ENDED };
enum dc_db_queue { DC_DB_Q_SHARED, DC_DB_Q_GROUP, DC_DB_QUEUES };

struct dc_db_batch {
    struct dc_op op;
    struct dc_list link;      /* a queue, while waiting */
    struct dc_list done_link; /* batches whose callback is due */
    struct dc_heap_node deadline, retry;
    struct dc_db *db;
    unsigned flags;
    enum dc_db_state state;
    bool is_abandoned, is_delivered;
    atomic_bool should_stop; /* abandoned, for the worker of SQLite */
    enum dc_db_queue queue;
    dc_db_cb cb;
    void *data;
    uint64_t seq; /* order of submission */
    uint64_t submitted_us, deadline_ms;
    unsigned retries, requeues;
    char lock_key[DC_DB_MAX_LOCK_KEY];
    size_t lock_key_len;
    struct dc_arena arena;
    size_t bytes;
    enum dc_status bad; /* what is wrong with the values, DC_OK: nothing */
    size_t n_calls;
    struct dc_db_call calls[DC_DB_MAX_STATEMENTS];
    struct dc_db_result *results[DC_DB_MAX_STATEMENTS];
    enum dc_status status;
    struct dc_error err;
    void *carrier; /* the driver's */
};

struct dc_db_driver {
    bool is_postgres;
    bool groups_all_writes; /* DC_DB_GROUP or not */
    /* Sends what can be sent, from the queues; at the end of a turn. */
    void (*dispatch)(struct dc_db *db);
    /* A running batch has just been abandoned, because its deadline passed or by its caller. */
    void (*abandoned)(struct dc_db *db, struct dc_db_batch *b);
    /* Gives back what it still holds (all abandoned), closes handles, then dc_db_driver_closed().
     */
    void (*close)(struct dc_db *db);
    void (*destroy)(struct dc_db *db);
};

enum dc_db_kind { DC_DB_KIND_READ, DC_DB_KIND_WRITE, DC_DB_KIND_GROUP, DC_DB_KINDS };

/* First member of a driver's own object. */
struct dc_db {
    const struct dc_db_driver *driver;
    struct dc_loop *loop;
    struct dc_log *log;
    struct dc_health_check *health;
    uint64_t deadline_ms;
    size_t max_waiting;
    struct dc_turn turn;
    bool in_turn;
    bool is_woken;         /* while dispatching: another turn is needed */
    struct dc_timer timer; /* of both heaps */
    int64_t timer_at_ms;   /* INT64_MAX: not running */
    struct dc_heap deadlines, retries;
    struct dc_list queues[DC_DB_QUEUES];
    struct dc_list done;
    size_t n_waiting, n_running; /* running: not counting abandoned ones */
    uint64_t next_seq;
    bool is_down, is_closing, is_driver_closing;
    bool has_ready, is_ready_told;
    struct dc_error ready_err;
    void (*ready)(void *data, const struct dc_error *err);
    void *ready_data;
    void (*closed)(void *data);
    void *closed_data;
    struct {
        struct dc_counter *batches[DC_DB_KINDS];
        struct dc_histogram *seconds[DC_DB_KINDS];
        struct dc_counter *errors[DC_STATUS_COUNT]; /* made when first met */
        struct dc_counter *groups, *grouped, *splits, *retries, *refused, *connects, *losses;
        struct dc_gauge *waiting, *running, *connections;
        struct dc_metrics *registry;
    } m;
};

/* --- drivers --- */
DC_MUST_USE enum dc_status dc_db_open_postgres(struct dc_loop *loop, const struct dc_db_opts *opts,
                                               struct dc_db **out, struct dc_error *err);
DC_MUST_USE enum dc_status dc_db_open_sqlite(struct dc_loop *loop, const struct dc_db_opts *opts,
                                             struct dc_db **out, struct dc_error *err);

/* --- what the front does for drivers, all on the loop --- */
void dc_db_init(struct dc_db *db, const struct dc_db_driver *driver, struct dc_loop *loop,
                const struct dc_db_opts *opts);
/* The oldest waiting batch, now running, or NULL. */
struct dc_db_batch *dc_db_take(struct dc_db *db, enum dc_db_queue queue);
/* The same without taking it. */
const struct dc_db_batch *dc_db_peek(const struct dc_db *db, enum dc_db_queue queue);
/* Ends a running batch; results are in b->results if status is DC_OK. err is copied. */
void dc_db_finish(struct dc_db_batch *b, enum dc_status status, const struct dc_error *err);
/* A running batch that certainly had no effect waits again, at its old place. */
void dc_db_requeue(struct dc_db_batch *b);
/* The same, after a pause. */
void dc_db_retry_after(struct dc_db_batch *b, uint64_t pause_ms);
/* Throws away results of an attempt. */
void dc_db_drop_results(struct dc_db_batch *b);
/* Outcome of the first attempts to connect; only the first call counts. */
void dc_db_tell_ready(struct dc_db *db, const struct dc_error *err);
/* Up, or down with a reason (static text). While down, submit fails, and what waits ends with
 * DC_UNAVAILABLE. */
void dc_db_set_up(struct dc_db *db);
void dc_db_set_down(struct dc_db *db, const char *reason);
void dc_db_wake(struct dc_db *db);
void dc_db_driver_closed(struct dc_db *db);

static inline bool dc_db_is_write(const struct dc_db_batch *b)
{
    return (b->flags & DC_DB_WRITE) != 0;
}

#endif
