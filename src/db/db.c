/* The front of the database port: queues, deadlines, retries, cancellation, metrics and callbacks.
 * Drivers run batches; see db_priv.h.
 *
 * Callbacks run from one place, the end of a turn, after their batch has left every list; so they
 * may submit, cancel and close freely. What they submit is sent in the same turn. */
#include "base/mem.h"
#include "db/db_priv.h"
#include <stdio.h>

static void on_turn(struct dc_turn *turn);
static void on_timer(struct dc_timer *timer);

enum dc_status dc_db_open(struct dc_loop *loop, const struct dc_db_opts *opts, struct dc_db **out,
                          struct dc_error *err)
{
    *out = NULL;
    if (opts->url != NULL) {
        return dc_db_open_postgres(loop, opts, out, err);
    }
    return dc_db_open_sqlite(loop, opts, out, err);
}

static void register_metrics(struct dc_db *db, struct dc_metrics *m)
{
    static const char *const kinds[DC_DB_KINDS] = {
        [DC_DB_KIND_READ] = "kind=\"read\"",
        [DC_DB_KIND_WRITE] = "kind=\"write\"",
        [DC_DB_KIND_GROUP] = "kind=\"group\"",
    };

    db->m.registry = m;
    for (size_t i = 0; i < DC_DB_KINDS; i++) {
        db->m.batches[i] =
            dc_metrics_counter(m, "daarion_db_batches_total", kinds[i], "Batches that have ended.");
        db->m.seconds[i] = dc_metrics_histogram(m, "daarion_db_batch_seconds", kinds[i],
                                                "From submission to the end, waiting included.");
    }
    db->m.groups = dc_metrics_counter(m, "daarion_db_groups_total", NULL,
                                      "Transactions shared by grouped batches.");
    db->m.grouped = dc_metrics_counter(m, "daarion_db_grouped_batches_total", NULL,
                                       "Batches sent in those transactions.");
    db->m.splits = dc_metrics_counter(m, "daarion_db_group_splits_total", NULL,
                                      "Groups that failed and were run again in parts.");
    db->m.retries = dc_metrics_counter(m, "daarion_db_retries_total", NULL,
                                       "Transactions run again after a conflict with another.");
    db->m.refused = dc_metrics_counter(m, "daarion_db_refused_total", NULL,
                                       "Batches refused: queue full or database down.");
    db->m.connects =
        dc_metrics_counter(m, "daarion_db_connects_total", NULL, "Connections established.");
    db->m.losses = dc_metrics_counter(m, "daarion_db_connection_losses_total", NULL,
                                      "Connections that were lost or dropped.");
    db->m.waiting = dc_metrics_gauge(m, "daarion_db_waiting", NULL, "Batches in the queue.");
    db->m.running = dc_metrics_gauge(m, "daarion_db_running", NULL, "Batches being executed.");
    db->m.connections = dc_metrics_gauge(m, "daarion_db_connections", NULL, "Open connections.");
}

void dc_db_init(struct dc_db *db, const struct dc_db_driver *driver, struct dc_loop *loop,
                const struct dc_db_opts *opts)
{
    db->driver = driver;
    db->loop = loop;
    db->log = opts->log;
    db->health = opts->health;
    db->deadline_ms = opts->deadline_ms != 0 ? opts->deadline_ms : DC_DB_DEFAULT_DEADLINE_MS;
    DC_ASSERT(db->deadline_ms <= INT32_MAX);
    db->max_waiting = opts->max_waiting != 0 ? opts->max_waiting : DC_DB_DEFAULT_MAX_WAITING;
    dc_turn_init(&db->turn, on_turn);
    dc_timer_init(loop, &db->timer, on_timer);
    db->timer_at_ms = INT64_MAX;
    for (size_t i = 0; i < DC_DB_QUEUES; i++) {
        dc_list_init(&db->queues[i]);
    }
    dc_list_init(&db->done);
    register_metrics(db, opts->metrics);
}

bool dc_db_is_postgres(const struct dc_db *db)
{
    return db->driver->is_postgres;
}

void dc_db_wake(struct dc_db *db)
{
    if (db->in_turn) {
        db->is_woken = true;
    } else {
        dc_turn_schedule(db->loop, &db->turn);
    }
}

/* --- one timer for all deadlines and pauses --- */

static void arm_timer(struct dc_db *db)
{
    const struct dc_heap_node *deadline = dc_heap_peek(&db->deadlines);
    const struct dc_heap_node *retry = dc_heap_peek(&db->retries);
    int64_t at_ms = INT64_MAX;

    if (deadline != NULL) {
        at_ms = deadline->at_ms;
    }
    if (retry != NULL && retry->at_ms < at_ms) {
        at_ms = retry->at_ms;
    }
    /* Ends of batches leave the timer alone: it finds nothing due and looks again. */
    if (at_ms >= db->timer_at_ms || db->is_driver_closing) {
        return;
    }
    int64_t wait_ms = at_ms - dc_loop_now(db->loop).ms;
    db->timer_at_ms = at_ms;
    dc_timer_start(&db->timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

/* --- the ends of a batch --- */

static enum dc_db_kind kind_of(const struct dc_db_batch *b)
{
    if (!dc_db_is_write(b)) {
        return DC_DB_KIND_READ;
    }
    return (b->flags & DC_DB_GROUP) != 0 ? DC_DB_KIND_GROUP : DC_DB_KIND_WRITE;
}

static void count_end(struct dc_db *db, const struct dc_db_batch *b)
{
    enum dc_db_kind kind = kind_of(b);

    db->m.batches[kind]->value++;
    dc_histogram_observe_us(db->m.seconds[kind], dc_mono_now_us() - b->submitted_us);
    if (b->status != DC_OK) {
        if (db->m.errors[b->status] == NULL) {
            char labels[64];
            int len = snprintf(labels, sizeof(labels), "code=\"%s\"", dc_status_code(b->status));
            DC_ASSERT(len > 0 && (size_t)len < sizeof(labels));
            db->m.errors[b->status] = dc_metrics_counter(db->m.registry, "daarion_db_errors_total",
                                                         labels, "Batches that failed.");
        }
        db->m.errors[b->status]->value++;
    }
}

/* The outcome is decided; the callback follows. */
static void end_batch(struct dc_db_batch *b, enum dc_status status, const struct dc_error *err)
{
    struct dc_db *db = b->db;

    b->status = status;
    b->err = (struct dc_error){.status = status};
    if (err != NULL) {
        b->err = *err;
        b->err.status = status;
    }
    dc_heap_remove(&db->deadlines, &b->deadline);
    dc_heap_remove(&db->retries, &b->retry);
    count_end(db, b);
    dc_list_push_back(&db->done, &b->done_link);
    dc_db_wake(db);
}

static void set_waiting(struct dc_db *db, struct dc_db_batch *b)
{
    b->state = DC_DB_WAITING;
    db->n_waiting++;
    db->m.waiting->value++;
}

static void leave_waiting(struct dc_db *db, struct dc_db_batch *b, enum dc_db_state state)
{
    dc_list_remove(&b->link);
    dc_heap_remove(&db->retries, &b->retry);
    b->state = state;
    db->n_waiting--;
    db->m.waiting->value--;
}

static void leave_running(struct dc_db *db)
{
    db->n_running--;
    db->m.running->value--;
}

static void end_waiting(struct dc_db_batch *b, enum dc_status status, const struct dc_error *err)
{
    leave_waiting(b->db, b, DC_DB_ENDED);
    end_batch(b, status, err);
}

static void abandon(struct dc_db_batch *b, enum dc_status status, const struct dc_error *err)
{
    DC_ASSERT(b->state == DC_DB_RUNNING && !b->is_abandoned);
    b->is_abandoned = true;
    atomic_store(&b->should_stop, true);
    leave_running(b->db);
    end_batch(b, status, err);
    b->db->driver->abandoned(b->db, b);
}

void dc_db_finish(struct dc_db_batch *b, enum dc_status status, const struct dc_error *err)
{
    struct dc_db *db = b->db;

    DC_ASSERT(b->state == DC_DB_RUNNING);
    b->state = DC_DB_ENDED;
    b->carrier = NULL;
    if (b->is_abandoned) {
        if (b->is_delivered) {
            dc_db_batch_free(b);
        }
        return;
    }
    leave_running(db);
    end_batch(b, status, err);
}

static void on_deadline(struct dc_db_batch *b)
{
    struct dc_error err;

    if (b->state == DC_DB_WAITING) {
        end_waiting(b, dc_fail(&err, DC_TIMEOUT, 0, "the database did not get to it in time"),
                    &err);
        return;
    }
    if (dc_db_is_write(b)) {
        dc_fail_code(&err, DC_TIMEOUT, "outcome_unknown",
                     "the database did not answer in time; the write may have happened");
    } else {
        dc_fail(&err, DC_TIMEOUT, 0, "the database did not answer in time");
    }
    abandon(b, DC_TIMEOUT, &err);
}

static void insert_by_seq(struct dc_list *queue, struct dc_db_batch *b)
{
    struct dc_list *at = queue->next;

    /* What comes back is older than nearly everything that waits. */
    while (at != queue && DC_LIST_ENTRY(at, struct dc_db_batch, link)->seq < b->seq) {
        at = at->next;
    }
    dc_list_push_back(at, &b->link);
}

static void on_timer(struct dc_timer *timer)
{
    struct dc_db *db = DC_CONTAINER_OF(timer, struct dc_db, timer);
    int64_t now_ms = dc_loop_now(db->loop).ms;
    struct dc_heap_node *node;

    db->timer_at_ms = INT64_MAX;
    while ((node = dc_heap_peek(&db->deadlines)) != NULL && node->at_ms <= now_ms) {
        dc_heap_remove(&db->deadlines, node);
        on_deadline(DC_CONTAINER_OF(node, struct dc_db_batch, deadline));
    }
    while ((node = dc_heap_peek(&db->retries)) != NULL && node->at_ms <= now_ms) {
        struct dc_db_batch *b = DC_CONTAINER_OF(node, struct dc_db_batch, retry);
        dc_heap_remove(&db->retries, node);
        insert_by_seq(&db->queues[b->queue], b);
        dc_db_wake(db);
    }
    arm_timer(db);
}

static void fail_waiting(struct dc_db *db, enum dc_status status, const struct dc_error *err)
{
    struct dc_heap_node *retry;

    for (size_t i = 0; i < DC_DB_QUEUES; i++) {
        while (!dc_list_is_empty(&db->queues[i])) {
            end_waiting(DC_LIST_ENTRY(db->queues[i].next, struct dc_db_batch, link), status, err);
        }
    }
    while ((retry = dc_heap_peek(&db->retries)) != NULL) {
        end_waiting(DC_CONTAINER_OF(retry, struct dc_db_batch, retry), status, err);
    }
}

/* --- the turn --- */

static void tell_ready(struct dc_db *db)
{
    if (db->has_ready && !db->is_ready_told && db->ready != NULL) {
        db->is_ready_told = true;
        db->ready(db->ready_data, &db->ready_err);
    }
}

static void deliver(struct dc_db *db)
{
    struct dc_list batches;

    /* What callbacks end in turn is for the next round. */
    dc_list_init(&batches);
    dc_list_move_all(&batches, &db->done);
    while (!dc_list_is_empty(&batches)) {
        struct dc_db_batch *b = DC_LIST_ENTRY(batches.next, struct dc_db_batch, done_link);
        const struct dc_db_result *results[DC_DB_MAX_STATEMENTS] = {NULL};
        size_t n = b->status == DC_OK ? b->n_calls : 0;
        dc_list_remove(&b->done_link);
        for (size_t i = 0; i < n; i++) {
            results[i] = b->results[i];
        }
        b->cb(b->data, b->status, results, n, &b->err);
        b->is_delivered = true;
        if (b->state == DC_DB_ENDED) {
            dc_db_batch_free(b);
        } /* else abandoned: the driver still holds it */
    }
}

static void on_turn(struct dc_turn *turn)
{
    struct dc_db *db = DC_CONTAINER_OF(turn, struct dc_db, turn);

    db->in_turn = true;
    tell_ready(db);
    deliver(db);
    db->is_woken = false; /* what callbacks have submitted is dispatched now */
    if (!db->is_driver_closing) {
        db->driver->dispatch(db); /* while closing too: a group may still have parts to run */
    }
    db->in_turn = false;
    /* A connection lost while it was written to: its batches have ended or wait again. */
    if (db->is_woken || !dc_list_is_empty(&db->done)) {
        dc_db_wake(db);
        return;
    }
    if (db->is_closing && !db->is_driver_closing && db->n_running == 0) {
        db->is_driver_closing = true;
        db->driver->close(db);
    }
}

/* --- drivers' requests --- */

struct dc_db_batch *dc_db_take(struct dc_db *db, enum dc_db_queue queue)
{
    if (dc_list_is_empty(&db->queues[queue])) {
        return NULL;
    }
    struct dc_db_batch *b = DC_LIST_ENTRY(db->queues[queue].next, struct dc_db_batch, link);
    leave_waiting(db, b, DC_DB_RUNNING);
    db->n_running++;
    db->m.running->value++;
    return b;
}

const struct dc_db_batch *dc_db_peek(const struct dc_db *db, enum dc_db_queue queue)
{
    const struct dc_list *head = &db->queues[queue];

    return dc_list_is_empty(head) ? NULL : DC_LIST_ENTRY(head->next, struct dc_db_batch, link);
}

/* false: nobody waits for it any more, and it has been given up. */
static bool take_back(struct dc_db_batch *b)
{
    struct dc_db *db = b->db;
    struct dc_error err;

    if (b->is_abandoned) {
        dc_db_finish(b, DC_CANCELED, NULL);
        return false;
    }
    if (db->is_closing) {
        dc_db_finish(b, dc_fail(&err, DC_CANCELED, 0, "the database is being closed"), &err);
        return false;
    }
    dc_db_drop_results(b);
    b->carrier = NULL;
    leave_running(db);
    set_waiting(db, b);
    return true;
}

void dc_db_requeue(struct dc_db_batch *b)
{
    struct dc_db *db = b->db;

    if (take_back(b)) {
        insert_by_seq(&db->queues[b->queue], b);
        dc_db_wake(db);
    }
}

void dc_db_retry_after(struct dc_db_batch *b, uint64_t pause_ms)
{
    struct dc_db *db = b->db;

    db->m.retries->value++;
    if (take_back(b)) {
        dc_heap_set(&db->retries, &b->retry, dc_loop_now(db->loop).ms + (int64_t)pause_ms);
        arm_timer(db);
    }
}

void dc_db_tell_ready(struct dc_db *db, const struct dc_error *err)
{
    if (!db->has_ready) {
        db->has_ready = true;
        db->ready_err = *err;
        dc_db_wake(db);
    }
}

void dc_db_set_up(struct dc_db *db)
{
    db->is_down = false;
    if (db->health != NULL) {
        dc_health_set(db->health, DC_HEALTH_OK, NULL);
    }
    dc_db_wake(db);
}

void dc_db_set_down(struct dc_db *db, const char *reason)
{
    struct dc_error err;

    db->is_down = true;
    if (db->health != NULL) {
        dc_health_set(db->health, DC_HEALTH_DOWN, reason);
    }
    fail_waiting(db, dc_fail(&err, DC_UNAVAILABLE, 0, "the database is down"), &err);
}

static void on_timer_closed(struct dc_timer *timer)
{
    struct dc_db *db = DC_CONTAINER_OF(timer, struct dc_db, timer);
    void (*closed)(void *data) = db->closed;
    void *data = db->closed_data;

    DC_ASSERT(dc_list_is_empty(&db->done) && db->n_waiting == 0 && db->n_running == 0);
    dc_turn_cancel(&db->turn);
    dc_heap_free(&db->deadlines);
    dc_heap_free(&db->retries);
    db->driver->destroy(db);
    if (closed != NULL) {
        closed(data);
    }
}

void dc_db_driver_closed(struct dc_db *db)
{
    dc_timer_close(&db->timer, on_timer_closed);
}

/* --- users' requests --- */

void dc_db_on_ready(struct dc_db *db, void (*ready)(void *data, const struct dc_error *err),
                    void *data)
{
    db->ready = ready;
    db->ready_data = data;
    if (db->has_ready) {
        dc_db_wake(db);
    }
}

void dc_db_close(struct dc_db *db, void (*closed)(void *data), void *data)
{
    struct dc_error err;

    DC_ASSERT(!db->is_closing);
    db->is_closing = true;
    db->closed = closed;
    db->closed_data = data;
    fail_waiting(db, dc_fail(&err, DC_CANCELED, 0, "the database is being closed"), &err);
    /* Also from within a callback: what is decided here is done at the end of the next turn. */
    dc_turn_schedule(db->loop, &db->turn);
}

static void on_cancel(struct dc_op *op)
{
    struct dc_db_batch *b = DC_CONTAINER_OF(op, struct dc_db_batch, op);
    struct dc_error err;

    switch (b->state) {
    case DC_DB_WAITING:
        end_waiting(b, dc_fail(&err, DC_CANCELED, 0, "canceled before it began"), &err);
        return;
    case DC_DB_RUNNING:
        /* A write that has been sent may commit: its real outcome is worth waiting for. */
        if (!dc_db_is_write(b) && !b->is_abandoned) {
            abandon(b, dc_fail(&err, DC_CANCELED, 0, "canceled while it ran"), &err);
        }
        return;
    case DC_DB_NEW:
    case DC_DB_ENDED:
        return;
    }
}

static enum dc_status check_submit(const struct dc_db *db, const struct dc_db_batch *b,
                                   struct dc_error *err)
{
    if (b->bad != DC_OK) {
        return dc_fail(err, b->bad, 0,
                       "a value is too large, out of range, or no valid text (UTF-8 without NUL)");
    }
    if (db->is_closing) {
        return dc_fail(err, DC_UNAVAILABLE, 0, "the database is being closed");
    }
    if (db->is_down) {
        return dc_fail(err, DC_UNAVAILABLE, 0, "the database is down");
    }
    if (db->n_waiting >= db->max_waiting) {
        return dc_fail_code(err, DC_UNAVAILABLE, "queue_full",
                            "too many requests wait for the database");
    }
    return DC_OK;
}

enum dc_status dc_db_submit(struct dc_db_batch *b, dc_db_cb cb, void *data, struct dc_op **op,
                            struct dc_error *err)
{
    struct dc_db *db = b->db;

    DC_ASSERT(b->state == DC_DB_NEW && b->n_calls > 0);
    if (op != NULL) {
        *op = NULL;
    }
    enum dc_status st = check_submit(db, b, err);
    if (st != DC_OK) {
        if (st == DC_UNAVAILABLE) {
            db->m.refused->value++;
        }
        dc_db_batch_free(b);
        return st;
    }
    b->cb = cb;
    b->data = data;
    b->op.cancel = on_cancel;
    b->seq = db->next_seq++;
    b->submitted_us = dc_mono_now_us();
    b->queue = DC_DB_Q_SHARED;
    if (dc_db_is_write(b) && (db->driver->groups_all_writes || (b->flags & DC_DB_GROUP) != 0)) {
        b->queue = DC_DB_Q_GROUP;
    }
    set_waiting(db, b);
    dc_list_push_back(&db->queues[b->queue], &b->link);
    dc_heap_set(&db->deadlines, &b->deadline, dc_loop_now(db->loop).ms + (int64_t)b->deadline_ms);
    arm_timer(db);
    dc_db_wake(db);
    if (op != NULL) {
        *op = &b->op;
    }
    return DC_OK;
}
