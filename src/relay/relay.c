/* The relay: beginning and end, and the rows that have been published. */
#include "relay/relay_priv.h"

#include "base/mem.h"
#include "base/random.h"

#define HOLD_MS   200
#define SWEEP_MS  1000
#define WAKE_MS   33
#define DELETE_MS 100
#define STALL_MS  1000

/* --- outcomes --- */

static void flush_later(struct dc_relay *r, uint64_t after_ms)
{
    if (!r->is_flush_due && r->n_done > 0 && !r->is_closing) {
        r->is_flush_due = true;
        dc_timer_start(&r->flush, after_ms, 0);
    }
}

static void on_flushed(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    struct dc_relay *r = data;
    (void)results;
    (void)n;
    if (st == DC_OK || r->is_closing) {
        /* On the way out there is no second try: the next relay finds the rows. */
        r->n_done -= r->n_deleting;
        memmove(r->done, r->done + r->n_deleting, r->n_done * sizeof(r->done[0]));
        dc_backoff_reset(&r->flush_backoff);
    }
    r->n_deleting = 0;
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(r->opts.log, "relay.delete_failed", DC_LF_ERR(err));
        flush_later(r, dc_backoff_next_ms(&r->flush_backoff));
    } else {
        flush_later(r, r->opts.delete_ms);
    }
    dc_relay_maybe_close(r);
}

/* All in one statement, in the next common commit. */
static void flush_now(struct dc_relay *r)
{
    struct dc_error err = {0};
    if (r->n_deleting > 0 || r->n_done == 0) {
        return;
    }
    struct dc_db_batch *b = dc_db_batch_create(r->opts.db, DC_DB_WRITE | DC_DB_GROUP);
    r->n_deleting = r->n_done < DC_OUTBOX_DELETE_MAX ? r->n_done : DC_OUTBOX_DELETE_MAX;
    dc_outbox_add_delete(b, r->done, r->n_deleting);
    if (dc_db_submit(b, on_flushed, r, NULL, &err) != DC_OK) {
        DC_LOG_WARN_EVENT(r->opts.log, "relay.delete_failed", DC_LF_ERR(&err));
        r->n_done -= r->is_closing ? r->n_done : 0;
        r->n_deleting = 0;
        flush_later(r, dc_backoff_next_ms(&r->flush_backoff));
    }
}

static void on_flush(struct dc_timer *t)
{
    struct dc_relay *r = DC_CONTAINER_OF(t, struct dc_relay, flush);
    r->is_flush_due = false;
    flush_now(r);
}

void dc_relay_done(struct dc_relay *r, int64_t row_id)
{
    if (r->n_done == DC_RELAY_MAX_DONE) {
        return; /* a sweep finds it, publishes it again and deletes it */
    }
    r->done[r->n_done++] = row_id;
    if (r->n_done - r->n_deleting >= DC_OUTBOX_DELETE_MAX / 2 && r->flush_backoff.attempt == 0) {
        flush_now(r);
    }
    flush_later(r, r->opts.delete_ms);
}

void dc_relay_leave(struct dc_relay *r, int64_t row_id)
{
    r->m.left->value++;
    r->m.waiting->value++;
    if (row_id > r->run.mark) {
        r->run.mark = row_id;
    }
}

static void begin_trouble(struct dc_relay *r, enum dc_status st, const struct dc_error *err)
{
    if (!r->is_in_trouble && !r->is_closing) {
        r->is_in_trouble = true;
        if (!r->is_trouble_told) {
            r->is_trouble_told = true;
            r->relayed_in_trouble = 0;
            DC_LOG_WARN_EVENT(
                r->opts.log, "relay.behind", DC_LF_Z("code", dc_status_code(st)),
                DC_LF_Z("detail", err != NULL ? dc_error_text(err) : dc_status_text(st)));
        }
    }
    r->is_in_trouble = true;
    dc_relay_run_wake(r);
}

void dc_relay_trouble(struct dc_relay *r, enum dc_status st, const struct dc_error *err)
{
    r->m.failed->value++;
    begin_trouble(r, st, err);
}

bool dc_relay_is_unpublishable(struct dc_relay *r, enum dc_status st, struct dc_slice subject,
                               int64_t row_id)
{
    if (st != DC_INVALID && st != DC_TOO_LARGE) {
        return false;
    }
    r->m.unpublishable->value++;
    DC_LOG_ERROR_EVENT(r->opts.log, "relay.unpublishable", DC_LF_I("row", row_id),
                       DC_LF_T("subject", subject), DC_LF_Z("code", dc_status_code(st)));
    return true;
}

struct dc_relay_flight *dc_relay_flight_begin(struct dc_relay *r, int64_t row_id)
{
    struct dc_relay_flight *f = dc_calloc(1, sizeof(*f));
    f->relay = r;
    f->row_id = row_id;
    f->begun_ms = dc_loop_now(r->loop).ms;
    dc_list_push_back(&r->flights, &f->link);
    r->m.under_way->value = (int64_t)++r->n_flights;
    return f;
}

void dc_relay_flight_end(struct dc_relay_flight *f)
{
    struct dc_relay *r = f->relay;
    dc_list_remove(&f->link);
    r->m.under_way->value = (int64_t)--r->n_flights;
    dc_free(f);
}

/* --- beginning --- */

static void sweep_later(struct dc_relay *r)
{
    /* Not in step with the other processes. */
    dc_timer_start(&r->sweep, r->opts.sweep_ms + dc_random_below(NULL, r->opts.sweep_ms), 0);
}

/* What the bus has taken while it is away waits for it in memory, until it gives up on some: the
 * less that is, the better.  The rows keep the rest. */
static void look_for_a_stall(struct dc_relay *r)
{
    if (r->is_in_trouble || dc_list_is_empty(&r->flights)) {
        return;
    }
    const struct dc_relay_flight *oldest =
        DC_LIST_ENTRY(r->flights.next, struct dc_relay_flight, link);
    if (dc_loop_now(r->loop).ms - oldest->begun_ms >= (int64_t)r->opts.stall_ms) {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_TIMEOUT, 0, "the bus does not acknowledge");
        begin_trouble(r, DC_TIMEOUT, &err);
    }
}

static void on_sweep(struct dc_timer *t)
{
    struct dc_relay *r = DC_CONTAINER_OF(t, struct dc_relay, sweep);
    if (!r->is_closing) {
        look_for_a_stall(r);
        dc_relay_run_sweep(r);
        sweep_later(r);
        return;
    }
    /* The time to close is over. */
    r->has_given_up = true;
    DC_LIST_FOREACH_SAFE (it, &r->flights) {
        dc_op_cancel(DC_LIST_ENTRY(it, struct dc_relay_flight, link)->op);
    }
    dc_relay_run_give_up(r);
    dc_relay_maybe_close(r);
}

static void on_hold_over(void *data, struct dc_timeout *t)
{
    dc_relay_leave_held(data, DC_CONTAINER_OF(t, struct dc_relay_lane, hold));
}

static void add_metrics(struct dc_relay *r)
{
    struct dc_metrics *m = r->opts.metrics;
    const char *const help = "Messages of committed transactions acknowledged by the bus";
    r->m.direct = dc_metrics_counter(m, "daarion_relay_published_total", "way=\"direct\"", help);
    r->m.relayed = dc_metrics_counter(m, "daarion_relay_published_total", "way=\"table\"", help);
    r->m.held = dc_metrics_counter(m, "daarion_relay_held_total", NULL,
                                   "Commits that waited for the one before them");
    r->m.left = dc_metrics_counter(m, "daarion_relay_left_total", NULL,
                                   "Messages left to the table after their commit");
    r->m.failed = dc_metrics_counter(m, "daarion_relay_failed_total", NULL,
                                     "Messages that the bus refused or did not acknowledge");
    r->m.unpublishable = dc_metrics_counter(m, "daarion_relay_unpublishable_total", NULL,
                                            "Messages dropped because no bus takes them");
    r->m.waiting = dc_metrics_gauge(m, "daarion_relay_waiting", NULL,
                                    "Messages left to the table and not known to be published");
    r->m.under_way = dc_metrics_gauge(m, "daarion_relay_under_way", NULL,
                                      "Messages handed to the bus and not yet acknowledged");
}

struct dc_relay *dc_relay_open(struct dc_loop *loop, const struct dc_relay_opts *opts)
{
    struct dc_relay *r = dc_calloc(1, sizeof(*r));
    r->opts = *opts;
    r->opts.hold_ms = opts->hold_ms > 0 ? opts->hold_ms : HOLD_MS;
    r->opts.sweep_ms = opts->sweep_ms > 0 ? opts->sweep_ms : SWEEP_MS;
    r->opts.wake_ms = opts->wake_ms > 0 ? opts->wake_ms : WAKE_MS;
    r->opts.delete_ms = opts->delete_ms > 0 ? opts->delete_ms : DELETE_MS;
    r->opts.stall_ms = opts->stall_ms > 0 ? opts->stall_ms : STALL_MS;
    r->loop = loop;
    r->flush_backoff = (struct dc_backoff){.base_ms = 200, .max_ms = 5000};
    dc_list_init(&r->flights);
    dc_list_init(&r->lanes);
    r->holds = dc_timeouts_create(loop, r->opts.hold_ms, on_hold_over, r);
    add_metrics(r);
    dc_timer_init(loop, &r->sweep, on_sweep);
    dc_timer_init(loop, &r->flush, on_flush);
    dc_relay_run_init(r);
    sweep_later(r);
    return r;
}

/* --- end --- */

static void timer_closed(struct dc_relay *r)
{
    if (--r->n_timers > 0) {
        return;
    }
    void (*closed)(void *data) = r->closed;
    void *data = r->closed_data;
    dc_free(r);
    closed(data);
}

static void on_sweep_closed(struct dc_timer *t)
{
    timer_closed(DC_CONTAINER_OF(t, struct dc_relay, sweep));
}

static void on_flush_closed(struct dc_timer *t)
{
    timer_closed(DC_CONTAINER_OF(t, struct dc_relay, flush));
}

static void on_run_closed(struct dc_timer *t)
{
    timer_closed(DC_CONTAINER_OF(t, struct dc_relay, run.timer));
}

void dc_relay_maybe_close(struct dc_relay *r)
{
    if (!r->is_closing || r->n_timers > 0 || r->n_flights > 0 || r->n_deleting > 0 ||
        r->run.state != DC_RUN_IDLE || r->run.is_waiting) {
        return;
    }
    if (r->n_done > 0) {
        flush_now(r);
        if (r->n_deleting > 0) {
            return;
        }
    }
    dc_relay_run_deinit(r);
    dc_timeouts_close(r->holds);
    r->n_timers = 3;
    dc_timer_close(&r->sweep, on_sweep_closed);
    dc_timer_close(&r->flush, on_flush_closed);
    dc_timer_close(&r->run.timer, on_run_closed);
}

void dc_relay_close(struct dc_relay *r, uint64_t timeout_ms, void (*closed)(void *data), void *data)
{
    DC_ASSERT(!r->is_closing);
    r->closed = closed;
    r->closed_data = data;
    while (!dc_list_is_empty(&r->lanes)) {
        dc_relay_leave_held(r, DC_LIST_ENTRY(r->lanes.next, struct dc_relay_lane, link));
    }
    r->is_closing = true;
    dc_timer_stop(&r->flush);
    dc_timer_start(&r->sweep, timeout_ms, 0);
    dc_relay_run_finish(r);
    dc_relay_maybe_close(r);
}
