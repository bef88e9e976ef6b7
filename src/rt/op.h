/* Operations: an asynchronous call ends exactly once, has a deadline and can be cancelled (DESIGN
 * §3 rule 11).  A function that starts one returns DC_OK and hands out *op (valid until its
 * callback returns; out pointer may be NULL) — then the callback runs exactly once, on the loop,
 * never before the call has returned; or it returns an error and the callback never runs. */
#ifndef DC_RT_OP_H
#define DC_RT_OP_H

#include "rt/timer.h"

/* Embedded by the backend as part of its own operation object. */
struct dc_op {
    void (*cancel)(struct dc_op *op);
};

/* Asks an operation to stop.  Its callback still runs, later, with DC_CANCELED — or with the real
 * result if that won the race. NULL is allowed. */
static inline void dc_op_cancel(struct dc_op *op)
{
    if (op != NULL && op->cancel != NULL) {
        op->cancel(op);
    }
}

/* Back-off of every retry in this program: base * 2^attempt with full jitter, bounded. */
struct dc_backoff {
    uint32_t base_ms, max_ms;
    uint32_t attempt;
};
/* The pause before the next attempt, 1 .. min(base_ms * 2^attempt, max_ms); counts it. */
uint64_t dc_backoff_next_ms(struct dc_backoff *b);
void dc_backoff_reset(struct dc_backoff *b);

/* Blocking work on libuv's pool (SQLite, password hashing).  work runs on another thread and
 * touches nothing but *data; done runs on the loop, exactly once. */
DC_MUST_USE enum dc_status dc_work_submit(struct dc_loop *loop, void (*work)(void *data),
                                          void (*done)(void *data), void *data);

#endif
