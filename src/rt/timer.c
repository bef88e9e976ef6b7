/* Timers.  The timeouts of one set have the same length, so their list is sorted by itself: a touch
 * moves to the end, the head is always the next one due. */
#include "rt/timer.h"
#include "base/mem.h"

#define RESOLUTION_PART   16
#define RESOLUTION_MIN_MS 10

static void on_timer(uv_timer_t *uv)
{
    struct dc_timer *t = DC_CONTAINER_OF(uv, struct dc_timer, uv);

    t->fn(t);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct dc_timer *t = DC_CONTAINER_OF(handle, struct dc_timer, uv);

    if (t->closed != NULL) {
        t->closed(t);
    }
}

void dc_timer_init(struct dc_loop *loop, struct dc_timer *t, void (*fn)(struct dc_timer *t))
{
    int rc = uv_timer_init(dc_loop_uv(loop), &t->uv);

    DC_ASSERT(rc == 0);
    t->fn = fn;
    t->closed = NULL;
}

void dc_timer_start(struct dc_timer *t, uint64_t after_ms, uint64_t repeat_ms)
{
    if (uv_is_closing((uv_handle_t *)&t->uv)) {
        return;
    }
    int rc = uv_timer_start(&t->uv, on_timer, after_ms, repeat_ms);
    DC_ASSERT(rc == 0);
}

void dc_timer_stop(struct dc_timer *t)
{
    int rc = uv_timer_stop(&t->uv);

    DC_ASSERT(rc == 0);
}

void dc_timer_close(struct dc_timer *t, void (*closed)(struct dc_timer *t))
{
    DC_ASSERT(!uv_is_closing((uv_handle_t *)&t->uv));
    t->closed = closed;
    uv_close((uv_handle_t *)&t->uv, on_timer_closed);
}

struct dc_timeouts {
    struct dc_list list; /* oldest first */
    struct dc_timer timer;
    struct dc_loop *loop;
    int64_t length_ms;
    int64_t resolution_ms;
    dc_timeout_cb fn;
    void *data;
};

static void on_timeouts(struct dc_timer *timer)
{
    struct dc_timeouts *ts = DC_CONTAINER_OF(timer, struct dc_timeouts, timer);
    int64_t now_ms = dc_loop_now(ts->loop).ms;

    /* One by one from the head: the callback may remove or touch any timeout.  What it touches is
     * due after now_ms, so this ends. */
    while (!dc_list_is_empty(&ts->list)) {
        struct dc_timeout *t = DC_LIST_ENTRY(ts->list.next, struct dc_timeout, link);
        if (t->at_ms > now_ms) {
            break;
        }
        dc_list_remove(&t->link);
        ts->fn(ts->data, t);
    }
    if (dc_list_is_empty(&ts->list)) {
        dc_timer_stop(&ts->timer); /* also when it was closed in the callback */
        return;
    }
    const struct dc_timeout *next = DC_LIST_ENTRY(ts->list.next, struct dc_timeout, link);
    int64_t wait_ms = next->at_ms - dc_loop_now(ts->loop).ms;
    if (wait_ms < ts->resolution_ms) {
        wait_ms = ts->resolution_ms;
    }
    dc_timer_start(&ts->timer, (uint64_t)wait_ms, 0);
}

struct dc_timeouts *dc_timeouts_create(struct dc_loop *loop, uint64_t length_ms, dc_timeout_cb fn,
                                       void *data)
{
    DC_ASSERT(length_ms > 0 && length_ms <= INT64_MAX / 2);
    struct dc_timeouts *ts = dc_calloc(1, sizeof(*ts));

    dc_list_init(&ts->list);
    dc_timer_init(loop, &ts->timer, on_timeouts);
    ts->loop = loop;
    ts->length_ms = (int64_t)length_ms;
    ts->resolution_ms = ts->length_ms / RESOLUTION_PART;
    if (ts->resolution_ms < RESOLUTION_MIN_MS) {
        ts->resolution_ms = RESOLUTION_MIN_MS;
    }
    ts->fn = fn;
    ts->data = data;
    return ts;
}

static void on_timeouts_closed(struct dc_timer *timer)
{
    dc_free(DC_CONTAINER_OF(timer, struct dc_timeouts, timer));
}

void dc_timeouts_close(struct dc_timeouts *ts)
{
    if (ts == NULL) {
        return;
    }
    DC_ASSERT(dc_list_is_empty(&ts->list));
    dc_timer_close(&ts->timer, on_timeouts_closed);
}

void dc_timeout_init(struct dc_timeout *t)
{
    dc_list_init(&t->link);
    t->at_ms = 0;
}

void dc_timeout_touch(struct dc_timeouts *ts, struct dc_timeout *t)
{
    DC_ASSERT(!uv_is_closing((uv_handle_t *)&ts->timer.uv));
    dc_timeout_remove(t); /* perhaps out of another set, whose timer may have nothing left to do */
    t->at_ms = dc_loop_now(ts->loop).ms + ts->length_ms;
    dc_list_push_back(&ts->list, &t->link);
    if (!uv_is_active((uv_handle_t *)&ts->timer.uv)) {
        dc_timer_start(&ts->timer, (uint64_t)ts->length_ms, 0);
    }
}

void dc_timeout_remove(struct dc_timeout *t)
{
    struct dc_list *other = t->link.next;
    bool is_last = other != &t->link && other == t->link.prev;

    dc_list_remove(&t->link);
    if (is_last) {
        /* The only neighbour of the only timeout is the list's head: an empty set has no timer
         * running, so that it does not keep the loop alive. */
        dc_timer_stop(&DC_CONTAINER_OF(other, struct dc_timeouts, list)->timer);
    }
}
