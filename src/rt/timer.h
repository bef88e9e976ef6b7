/* Timers.  dc_timer: one libuv timer, member of its owner, closed asynchronously.  dc_timeouts:
 * many timeouts of one same length (idle sockets, request heads) behind one timer: O(1) touch, 16
 * bytes each plus the time. */
#ifndef DC_RT_TIMER_H
#define DC_RT_TIMER_H

#include "rt/loop.h"

struct dc_timer {
    uv_timer_t uv;
    void (*fn)(struct dc_timer *t);
    void (*closed)(struct dc_timer *t);
};

void dc_timer_init(struct dc_loop *loop, struct dc_timer *t, void (*fn)(struct dc_timer *t));
/* Starts or restarts; repeat_ms 0: once.  Counted from dc_loop_now(); harmless on a timer that is
 * being closed. */
void dc_timer_start(struct dc_timer *t, uint64_t after_ms, uint64_t repeat_ms);
void dc_timer_stop(struct dc_timer *t);
/* The owner may be freed in closed (NULL: nobody wants to know) and not earlier.  Once a timer. */
void dc_timer_close(struct dc_timer *t, void (*closed)(struct dc_timer *t));

struct dc_timeout {
    struct dc_list link;
    int64_t at_ms;
};
struct dc_timeouts;
typedef void (*dc_timeout_cb)(void *data, struct dc_timeout *t);

/* fn runs on the loop when a timeout has passed; the timeout is removed before the call and may be
 * touched again or freed in it. Resolution: 1/16 of length_ms, at least 10 ms, never early.
 * length_ms > 0.  A set without timeouts does not keep the loop alive. */
struct dc_timeouts *dc_timeouts_create(struct dc_loop *loop, uint64_t length_ms, dc_timeout_cb fn,
                                       void *data);
/* All timeouts must have been removed; frees itself when its timer has closed.  NULL is allowed. */
void dc_timeouts_close(struct dc_timeouts *ts);
void dc_timeout_init(struct dc_timeout *t);
/* Starts, or starts anew. */
void dc_timeout_touch(struct dc_timeouts *ts, struct dc_timeout *t);
void dc_timeout_remove(struct dc_timeout *t);

#endif
