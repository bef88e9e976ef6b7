/* The long way: from the table to the bus, a page at a time.
 *
 * A run has a mark: rows up to that id are to be published.  The mark does not follow what others
 * write meanwhile, so a run ends also when the table is never empty.  Each page starts at the
 * smallest id again: a row with a small id may be committed after one with a larger id, and a page
 * that went on behind the last one would publish what follows it first. */
#include "relay/relay_priv.h"

#include "base/random.h"

/* Another relay is at the same rows: it gets so much time. */
#define YIELD_MIN_MS  100
#define YIELD_MORE_MS 500

static void go_on(struct dc_relay *r, uint64_t after_ms);
static void page_begin(struct dc_relay *r, const struct dc_db_result *rows);

static bool is_over(const struct dc_relay *r)
{
    return r->is_closing && (r->has_given_up || r->is_in_trouble);
}

/* --- reading --- */

static void caught_up(struct dc_relay *r)
{
    if (r->is_trouble_told) {
        DC_LOG_INFO_EVENT(r->opts.log, "relay.caught_up",
                          DC_LF_I("published", r->relayed_in_trouble));
    }
    r->is_in_trouble = false;
    r->is_trouble_told = false;
    r->run.mark = 0;
    r->m.waiting->value = 0;
}

/* A read has ended, and with it the page before. */
static void read_ended(struct dc_relay *r, const struct dc_db_result *rows)
{
    struct dc_relay_run *run = &r->run;
    run->state = DC_RUN_IDLE;
    if (is_over(r) || (r->is_closing && rows == NULL)) {
        dc_relay_maybe_close(r);
        return;
    }
    if (rows == NULL) {
        go_on(r, dc_backoff_next_ms(&run->backoff)); /* the database is away */
    } else if (dc_db_rows(rows) > 0) {
        page_begin(r, rows);
        return;
    } else if (run->mark > run->read_mark || run->wants_all) {
        go_on(r, r->is_closing ? 0 : r->opts.wake_ms); /* left while the read ran */
    } else {
        caught_up(r);
    }
    dc_relay_maybe_close(r);
}

static void on_read(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *err)
{
    struct dc_relay *r = data;
    struct dc_relay_run *run = &r->run;
    bool is_asking = run->is_asking;
    run->op = NULL;
    run->is_asking = false;
    if (st != DC_OK) {
        if (!r->is_closing) {
            DC_LOG_WARN_EVENT(r->opts.log, "relay.read_failed", DC_LF_ERR(err));
        }
        run->wants_all = run->wants_all || is_asking;
        read_ended(r, NULL);
        return;
    }
    int64_t newest = n > 1 ? dc_outbox_id(results[1], 0) : 0;
    if (is_asking && newest > run->mark) {
        run->mark = newest;
    }
    if (run->is_sweep) {
        run->is_sweep = false;
        run->swept = newest;
    }
    read_ended(r, results[0]);
}

static void read_now(struct dc_relay *r)
{
    struct dc_relay_run *run = &r->run;
    struct dc_error err = {0};
    struct dc_db_batch *b = dc_db_batch_create(r->opts.db, DC_DB_READ);
    run->read_mark = run->mark;
    run->last_read_ms = dc_loop_now(r->loop).ms;
    dc_outbox_add_page(b, run->mark, r->is_in_trouble ? DC_RELAY_CAREFUL_PAGE : DC_RELAY_PAGE);
    if (run->wants_all || run->is_sweep) {
        dc_outbox_add_newest(b);
    }
    if (dc_db_submit(b, on_read, r, &run->op, &err) != DC_OK) {
        read_ended(r, NULL);
        return;
    }
    run->is_asking = run->wants_all;
    run->wants_all = false;
    run->state = DC_RUN_READING;
}

static void on_timer(struct dc_timer *t)
{
    struct dc_relay_run *run = DC_CONTAINER_OF(t, struct dc_relay_run, timer);
    run->is_waiting = false;
    read_now(DC_CONTAINER_OF(run, struct dc_relay, run));
}

static void go_on(struct dc_relay *r, uint64_t after_ms)
{
    r->run.is_waiting = true;
    dc_timer_start(&r->run.timer, after_ms, 0);
}

/* --- publishing a page --- */

static void page_ended(struct dc_relay *r);

static void publish_more(struct dc_relay *r);

static void on_acked(void *data, enum dc_status st, uint64_t sequence, const struct dc_error *err)
{
    struct dc_relay_flight *f = data;
    struct dc_relay *r = f->relay;
    struct dc_relay_run *run = &r->run;
    (void)sequence;
    run->outstanding--;
    if (st == DC_OK || dc_relay_is_unpublishable(r, st, DC_SLICE_NULL, f->row_id)) {
        run->acked[run->n_acked++] = f->row_id;
        r->m.relayed->value += st == DC_OK ? 1 : 0;
    } else {
        run->has_failed = true;
        dc_relay_trouble(r, st, err);
    }
    dc_relay_flight_end(f);
    publish_more(r);
}

static void publish_row(struct dc_relay *r, const struct dc_outbox_row *row)
{
    struct dc_relay_run *run = &r->run;
    struct dc_relay_flight *f = dc_relay_flight_begin(r, row->id);
    enum dc_status st = dc_bus_publish(r->opts.bus, row->subject, row->message_id, row->payload,
                                       on_acked, f, &f->op);
    if (st == DC_OK) {
        run->outstanding++;
        return;
    }
    dc_relay_flight_end(f);
    if (dc_relay_is_unpublishable(r, st, row->subject, row->id)) {
        run->acked[run->n_acked++] = row->id;
    } else {
        run->has_failed = true;
        dc_relay_trouble(r, st, NULL);
    }
}

static void publish_more(struct dc_relay *r)
{
    struct dc_relay_run *run = &r->run;
    while (run->next < run->n && run->outstanding < run->window && !run->has_failed &&
           !r->has_given_up) {
        publish_row(r, &run->rows[run->next++]);
    }
    if (run->outstanding == 0) {
        page_ended(r);
    }
}

/* Copies: what is not published in this turn must outlive the result. */
static bool take_rows(struct dc_relay_run *run, const struct dc_db_result *rows)
{
    dc_arena_free(&run->arena);
    dc_arena_init(&run->arena, 4096, 0);
    run->n = 0;
    for (size_t i = 0; i < dc_db_rows(rows) && i < DC_RELAY_PAGE; i++) {
        struct dc_outbox_row row;
        dc_outbox_read_row(rows, i, &row);
        row.subject = dc_arena_dup(&run->arena, row.subject);
        row.message_id = dc_arena_dup(&run->arena, row.message_id);
        row.payload = dc_arena_dup(&run->arena, row.payload);
        if (row.subject.ptr == NULL || row.message_id.ptr == NULL || row.payload.ptr == NULL) {
            break; /* no memory for all of them: some are enough */
        }
        run->rows[run->n++] = row;
    }
    return run->n > 0;
}

static void page_begin(struct dc_relay *r, const struct dc_db_result *rows)
{
    struct dc_relay_run *run = &r->run;
    if (!take_rows(run, rows)) {
        go_on(r, dc_backoff_next_ms(&run->backoff));
        return;
    }
    run->state = DC_RUN_PUBLISHING;
    run->next = 0;
    run->n_acked = 0;
    run->outstanding = 0;
    run->has_failed = false;
    run->window = r->is_in_trouble ? 1 : DC_RELAY_PAGE;
    publish_more(r);
}

/* The rows of the page have been deleted, and the next page read. */
static void on_deleted(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    struct dc_relay *r = data;
    struct dc_relay_run *run = &r->run;
    (void)n;
    run->op = NULL;
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(r->opts.log, "relay.delete_failed", DC_LF_ERR(err));
        read_ended(r, NULL);
    } else if (dc_db_affected(results[0]) < run->n_acked && r->n_done == 0 && !r->is_closing) {
        run->state = DC_RUN_IDLE;
        go_on(r, YIELD_MIN_MS + dc_random_below(NULL, YIELD_MORE_MS));
    } else {
        read_ended(r, results[1]);
    }
}

static void page_ended(struct dc_relay *r)
{
    struct dc_relay_run *run = &r->run;
    struct dc_error err = {0};
    r->relayed_in_trouble += r->is_trouble_told ? run->n_acked : 0;
    r->m.waiting->value -=
        r->m.waiting->value > (int64_t)run->n_acked ? (int64_t)run->n_acked : r->m.waiting->value;
    if (run->n_acked > 0 && !run->has_failed) {
        r->is_in_trouble = false; /* the bus takes it again */
        dc_backoff_reset(&run->backoff);
    }
    if (run->n_acked == 0 || run->has_failed || is_over(r)) {
        for (size_t i = 0; i < run->n_acked; i++) {
            dc_relay_done(r, run->acked[i]);
        }
        run->state = DC_RUN_IDLE;
        if (!is_over(r)) {
            go_on(r, dc_backoff_next_ms(&run->backoff));
        }
        dc_relay_maybe_close(r);
        return;
    }
    struct dc_db_batch *b = dc_db_batch_create(r->opts.db, DC_DB_WRITE);
    dc_outbox_add_delete(b, run->acked, run->n_acked);
    dc_outbox_add_page(b, run->mark, DC_RELAY_PAGE);
    run->read_mark = run->mark;
    if (dc_db_submit(b, on_deleted, r, &run->op, &err) != DC_OK) {
        DC_LOG_WARN_EVENT(r->opts.log, "relay.delete_failed", DC_LF_ERR(&err));
        read_ended(r, NULL);
        return;
    }
    run->state = DC_RUN_READING;
}

/* --- from outside --- */

static void stop_waiting(struct dc_relay_run *run)
{
    if (run->is_waiting) {
        dc_timer_stop(&run->timer);
        run->is_waiting = false;
    }
}

void dc_relay_run_init(struct dc_relay *r)
{
    struct dc_relay_run *run = &r->run;
    run->backoff = (struct dc_backoff){.base_ms = 100, .max_ms = 5000};
    dc_arena_init(&run->arena, 4096, 0);
    dc_timer_init(r->loop, &run->timer, on_timer);
    run->wants_all = true; /* whatever was left by those before us */
    run->last_read_ms = dc_loop_now(r->loop).ms;
    go_on(r, 0);
}

void dc_relay_run_wake(struct dc_relay *r)
{
    struct dc_relay_run *run = &r->run;
    if (run->state != DC_RUN_IDLE || run->is_waiting || r->is_closing) {
        return; /* the end of the page sees that the mark has moved */
    }
    int64_t since_ms = dc_loop_now(r->loop).ms - run->last_read_ms;
    uint64_t pause_ms = r->opts.wake_ms;
    if (since_ms >= 0) {
        pause_ms = (uint64_t)since_ms < pause_ms ? pause_ms - (uint64_t)since_ms : 0;
    }
    go_on(r, r->is_in_trouble ? dc_backoff_next_ms(&run->backoff) : pause_ms);
}

void dc_relay_run_sweep(struct dc_relay *r)
{
    struct dc_relay_run *run = &r->run;
    if (run->state != DC_RUN_IDLE || run->is_waiting) {
        return; /* it is looking already */
    }
    if (run->swept > run->mark) {
        run->mark = run->swept;
    }
    run->is_sweep = true;
    read_now(r);
}

void dc_relay_doubt(struct dc_relay *r)
{
    struct dc_relay_run *run = &r->run;
    run->wants_all = true;
    stop_waiting(run);
    dc_backoff_reset(&run->backoff); /* the bus may be back */
    dc_relay_run_wake(r);
}

void dc_relay_run_finish(struct dc_relay *r)
{
    struct dc_relay_run *run = &r->run;
    stop_waiting(run);
    if (run->state == DC_RUN_IDLE && run->mark > 0 && !r->is_in_trouble) {
        read_now(r);
    }
}

void dc_relay_run_give_up(struct dc_relay *r)
{
    stop_waiting(&r->run);
    dc_op_cancel(r->run.op);
}

void dc_relay_run_deinit(struct dc_relay *r)
{
    dc_arena_free(&r->run.arena);
}
