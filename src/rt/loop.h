/* The one loop of a process (DESIGN §3 rule 9): a libuv loop, what runs at the end of each turn,
 * and orderly shutdown.  Everything here is called on the loop's thread. */
#ifndef DC_RT_LOOP_H
#define DC_RT_LOOP_H

#include "base/list.h"
#include "base/status.h"
#include "base/time.h"
#include <uv.h>

struct dc_loop;

DC_MUST_USE enum dc_status dc_loop_create(struct dc_loop **out, struct dc_error *err);
/* Runs until nothing is left to do or dc_loop_stop(). */
void dc_loop_run(struct dc_loop *loop);
/* One turn without blocking; true while there is more to do. For tests. */
bool dc_loop_step(struct dc_loop *loop);
void dc_loop_stop(struct dc_loop *loop);
/* Waits for work on the pool, gives close callbacks that close further handles some turns to end by
 * themselves, closes the loop's own handles and runs the loop until it is empty.  DC_INTERNAL when
 * somebody left a handle open: it is named on stderr and closed without its owner's callback. Frees
 * the loop in any case.  Turn items that still wait are dropped. */
DC_MUST_USE enum dc_status dc_loop_destroy(struct dc_loop *loop);

uv_loop_t *dc_loop_uv(struct dc_loop *loop);
/* Cached time of this turn, as libuv keeps it. */
struct dc_mono dc_loop_now(const struct dc_loop *loop);
/* After long work inside a turn, so that timers do not drift (DESIGN §5). */
void dc_loop_update_time(struct dc_loop *loop);

/* Work collected during a turn and done once at its end, before the loop polls: one write for each
 * socket, one pipeline for the database.  A member of its owner; schedule is idempotent within a
 * turn; fn may schedule again (itself too): that runs in the next turn, and the loop does not
 * block. */
struct dc_turn {
    struct dc_list link;
    void (*fn)(struct dc_turn *turn);
};
void dc_turn_init(struct dc_turn *turn, void (*fn)(struct dc_turn *turn));
/* Does nothing once dc_loop_destroy() has closed the loop's own handles. */
void dc_turn_schedule(struct dc_loop *loop, struct dc_turn *turn);
/* Harmless when not scheduled; call before freeing the owner. */
void dc_turn_cancel(struct dc_turn *turn);

#endif
