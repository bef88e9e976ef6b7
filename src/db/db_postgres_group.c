/* Group commit: all grouped batches that wait become one run, so one transaction, one round trip
 * and one flush of the log. While it is under way others collect for the next.
 *
 * Batches are ordered by lock key, and by age within a key: processes that lock rows of the same
 * rooms do so in the same order.  When a group fails because of one batch, what lies before it, the
 * batch alone, and what lies behind it are run one after the other; so each bad batch costs two
 * more round trips, neighbours commit, and the order within a key stays.  A group that failed at
 * its commit has no culprit: its batches are run one by one. */
#include "base/mem.h"
#include "db/db_postgres.h"
#include <stdlib.h>

void pg_group_give_up(struct pg_db *pg)
{
    struct pg_group *g = &pg->group;

    /* What has not been sent, or has certainly been rolled back, waits again. */
    while (g->n_segments > 0) {
        struct pg_segment s = g->segments[--g->n_segments];
        for (size_t i = s.from; i < s.to; i++) {
            dc_db_requeue(g->batches[i]);
        }
    }
}

static void on_group_timer(struct dc_timer *timer)
{
    struct pg_group *g = DC_CONTAINER_OF(timer, struct pg_group, timer);
    struct pg_db *pg = DC_CONTAINER_OF(g, struct pg_db, group);

    g->is_timer_running = false;
    dc_db_wake(&pg->base);
}

void pg_group_init(struct pg_db *pg)
{
    pg->group.backoff = (struct dc_backoff){.base_ms = 10, .max_ms = 200};
    dc_timer_init(pg->base.loop, &pg->group.timer, on_group_timer);
}

static int by_key(const void *pa, const void *pb)
{
    const struct dc_db_batch *const *a = pa, *const *b = pb;
    int order = dc_slice_cmp(dc_slice_make((*a)->lock_key, (*a)->lock_key_len),
                             dc_slice_make((*b)->lock_key, (*b)->lock_key_len));

    if (order != 0) {
        return order;
    }
    return (*a)->seq < (*b)->seq ? -1 : 1;
}

static int by_age(const void *pa, const void *pb)
{
    const struct dc_db_batch *const *a = pa, *const *b = pb;

    return (*a)->seq < (*b)->seq ? -1 : 1;
}

static void push_segment(struct pg_group *g, size_t from, size_t to)
{
    if (from < to) {
        DC_ASSERT(g->n_segments < PG_MAX_SEGMENTS);
        g->segments[g->n_segments++] = (struct pg_segment){from, to};
    }
}

static void collect(struct pg_db *pg)
{
    struct pg_group *g = &pg->group;
    const struct dc_db_batch *next;
    size_t bytes = 0;

    g->n = 0;
    while (g->n < DC_DB_MAX_GROUP && (next = dc_db_peek(&pg->base, DC_DB_Q_GROUP)) != NULL) {
        if (g->n > 0 && bytes + next->bytes > DC_DB_MAX_GROUP_BYTES) {
            break;
        }
        bytes += next->bytes;
        g->batches[g->n++] = dc_db_take(&pg->base, DC_DB_Q_GROUP);
    }
    qsort(g->batches, g->n, sizeof(g->batches[0]), by_key);
    g->n_segments = 0;
    push_segment(g, 0, g->n);
    g->retries = 0;
    dc_backoff_reset(&g->backoff);
    pg->base.m.groups->value++;
    pg->base.m.grouped->value += g->n;
}

/* The same connection for all groups while it works, as its statements are prepared. */
static struct pg_conn *choose_writer(struct pg_db *pg)
{
    struct pg_conn *best = &pg->conns[pg->writer];

    if (pg_conn_is_usable(best)) {
        return best;
    }
    best = NULL;
    for (size_t i = 0; i < pg->n_conns; i++) {
        struct pg_conn *c = &pg->conns[i];
        if (pg_conn_is_usable(c) && (best == NULL || c->n_runs < best->n_runs)) {
            best = c;
            pg->writer = i;
        }
    }
    return best;
}

/* Gives up batches of the segment that nobody waits for any more. */
static struct pg_segment without_abandoned(struct pg_group *g, struct pg_segment s)
{
    size_t to = s.from;

    for (size_t i = s.from; i < s.to; i++) {
        struct dc_db_batch *b = g->batches[i];
        if (b->is_abandoned) {
            dc_db_finish(b, DC_TIMEOUT, NULL);
        } else {
            g->batches[to++] = b;
        }
    }
    s.to = to;
    return s;
}

void pg_group_dispatch(struct pg_db *pg)
{
    struct pg_group *g = &pg->group;

    while (g->run == NULL && !g->is_timer_running) {
        if (g->n_segments == 0) {
            if (dc_db_peek(&pg->base, DC_DB_Q_GROUP) == NULL || choose_writer(pg) == NULL) {
                return;
            }
            collect(pg);
        }
        struct pg_conn *c = choose_writer(pg);
        if (c == NULL) {
            pg_group_give_up(pg);
            return;
        }
        struct pg_segment s = without_abandoned(g, g->segments[--g->n_segments]);
        if (s.from == s.to) {
            continue;
        }
        if (!pg_run_start(c, g->batches + s.from, s.to - s.from, true)) {
            pg_conn_drop(c, "cannot send"); /* comes back through pg_group_run_lost() */
            return;
        }
    }
}

static struct pg_segment segment_of(const struct pg_group *g, const struct pg_run *run)
{
    size_t from = (size_t)(run->batches - g->batches);

    return (struct pg_segment){from, from + run->n_batches};
}

/* In the order of submission. */
static void finish_all(struct pg_run *run, enum dc_status status, const struct dc_error *err)
{
    qsort(run->batches, run->n_batches, sizeof(run->batches[0]), by_age);
    for (size_t i = 0; i < run->n_batches; i++) {
        dc_db_finish(run->batches[i], status, err);
    }
}

static void split(struct pg_group *g, const struct pg_run *run)
{
    struct pg_segment s = segment_of(g, run);

    g->retries = 0;
    if (run->failure.has_batch) {
        size_t bad = s.from + run->failure.batch;
        push_segment(g, bad + 1, s.to);
        push_segment(g, bad, bad + 1);
        push_segment(g, s.from, bad);
        return;
    }
    for (size_t i = s.to; i > s.from; i--) {
        push_segment(g, i - 1, i);
    }
}

void pg_group_run_ended(struct pg_db *pg, struct pg_run *run)
{
    struct pg_group *g = &pg->group;
    const struct pg_failure *f = &run->failure;
    struct pg_segment s = segment_of(g, run);

    g->run = NULL;
    if (!run->has_failed) {
        g->retries = 0;
        finish_all(run, DC_OK, NULL);
        return;
    }
    if ((f->is_stale || f->is_transient) && g->retries < DC_DB_MAX_RETRIES) {
        g->retries++;
        push_segment(g, s.from, s.to);
        if (f->is_transient) {
            pg->base.m.retries->value++;
            g->is_timer_running = true;
            dc_timer_start(&g->timer, dc_backoff_next_ms(&g->backoff), 0);
        }
        return;
    }
    if (run->n_batches > 1) {
        pg->base.m.splits->value++;
        split(g, run);
        return;
    }
    g->retries = 0;
    finish_all(run, f->status, &f->err);
}

void pg_group_run_lost(struct pg_db *pg, struct pg_run *run)
{
    struct pg_group *g = &pg->group;
    struct pg_segment s = segment_of(g, run);
    struct dc_error err;

    g->run = NULL;
    if (!run->has_failed || !run->failure.has_batch) {
        dc_fail_code(&err, DC_UNAVAILABLE, "outcome_unknown",
                     "the connection was lost while the write was being committed");
        finish_all(run, DC_UNAVAILABLE, &err);
        pg_group_give_up(pg);
        return;
    }
    /* The server reported an error before it went, so nothing was committed. The batch that met it
     * gets a second chance, as it may only have been there when the server was stopped. */
    size_t bad = s.from + run->failure.batch;
    struct dc_db_batch *b = g->batches[bad];
    push_segment(g, bad + 1, s.to);
    if (b->requeues == 0) {
        b->requeues++;
        push_segment(g, bad, bad + 1);
    } else {
        dc_db_finish(b, run->failure.status, &run->failure.err);
    }
    push_segment(g, s.from, bad);
    pg_group_give_up(pg);
}
