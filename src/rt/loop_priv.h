/* Inside of a loop, for the other files of src/rt. */
#ifndef DC_RT_LOOP_PRIV_H
#define DC_RT_LOOP_PRIV_H

#include "rt/loop.h"

struct dc_loop {
    uv_loop_t uv;
    uv_prepare_t prepare; /* always started, never counts: runs the turn's items before the poll */
    uv_idle_t idle; /* started only while an item waits: no end and no blocking before it ran */
    struct dc_list scheduled;
    struct dc_list running; /* items of this turn that have not run yet */
    size_t work_count;      /* dc_work_submit() whose done has not run */
    bool is_closing;        /* own handles are closed: nothing can be scheduled any more */
};

#endif
