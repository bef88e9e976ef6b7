/* A memory bus behind a door that can be shut: publishing is refused, lost, stored without an
 * acknowledgement, or stalled, as a real bus does when its servers go.  Subscribers hear the memory
 * bus itself. */
#ifndef DC_TESTS_RELAY_FAULTY_BUS_H
#define DC_TESTS_RELAY_FAULTY_BUS_H

#include "bus/bus_priv.h"

enum fault {
    FAULT_NONE,
    FAULT_REFUSE,  /* DC_UNAVAILABLE at once */
    FAULT_LOSE,    /* accepted; fails later, and is not in the stream */
    FAULT_NO_ACK,  /* in the stream, but the publisher is told that it failed */
    FAULT_STALL,   /* accepted; neither stored nor acknowledged until faulty_release() */
    FAULT_INVALID, /* DC_TOO_LARGE at once */
};

struct faulty_bus {
    struct dc_bus bus; /* first */
    struct dc_bus *inner;
    struct dc_loop *loop;
    struct dc_turn turn;
    struct dc_list failing, stalled;
    enum fault fault;
    size_t skip;  /* so many are let through before … */
    size_t count; /* … so many meet the fault; SIZE_MAX: all */
    size_t n_published, n_stalled;
    struct dc_list subs;
};

struct faulty_bus *faulty_open(struct dc_loop *loop, struct dc_metrics *metrics);
/* All that is accepted must have ended, and all subscriptions. */
void faulty_close(struct faulty_bus *f, void (*closed)(void *data), void *data);
/* From now on; after skip messages, count of them. */
void faulty_set(struct faulty_bus *f, enum fault fault, size_t skip, size_t count);
/* What was stalled goes on its way, in order. */
void faulty_release(struct faulty_bus *f);
/* Every subscriber is told that it may have missed something. */
void faulty_interrupt(struct faulty_bus *f);

#endif
