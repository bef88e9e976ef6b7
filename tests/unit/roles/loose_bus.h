/* A connection of its own to a memory bus that several roles share in a test: it can be cut and
 * mended like a network.  While it is cut nothing arrives and what is published is lost, without a
 * word; mending tells every subscription that it was interrupted. */
#ifndef TESTS_UNIT_ROLES_LOOSE_BUS_H
#define TESTS_UNIT_ROLES_LOOSE_BUS_H

#include "bus/bus.h"

/* inner outlives it. */
struct dc_bus *loose_bus_open(struct dc_bus *inner, struct dc_metrics *metrics);
/* All subscriptions have been undone. */
void loose_bus_free(struct dc_bus *bus);
void loose_bus_cut(struct dc_bus *bus);
void loose_bus_mend(struct dc_bus *bus);
/* `interrupted` of the subscriptions whose pattern begins so, as when a stream has been deleted. */
void loose_bus_interrupt(struct dc_bus *bus, const char *pattern_prefix);

#endif
