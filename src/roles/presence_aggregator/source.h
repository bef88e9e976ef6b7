/* Where presence comes from.  The aggregator has a row of sources that feed one core: native
 * sessions (native.c) and a homeserver's /sync (matrix_source.h).  A source calls the core of its
 * own accord and then dc_agg_fed(); what the core derives from several of them is the core's
 * business (domain/presence.h).
 *
 * A source that fails keeps what it has said: unknown is not offline. */
#ifndef DC_ROLES_PRESENCE_AGGREGATOR_SOURCE_H
#define DC_ROLES_PRESENCE_AGGREGATOR_SOURCE_H

#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

enum dc_source_state {
    DC_SOURCE_FRESH,
    DC_SOURCE_STALE, /* something may have been missed; it is being made good */
    DC_SOURCE_DOWN,  /* nothing is heard */
};

struct dc_aggregator;

struct dc_source {
    const char *name;
    /* Failure means that nothing has been started. *self is handed to the others; NULL: it is not
     * configured, and none of them is called. */
    enum dc_status (*start)(struct dc_aggregator *a, void **self, struct dc_error *err);
    /* Nothing more of it runs afterwards. */
    void (*stop)(void *self);
    /* Finds out what somebody else may know and it does not. */
    void (*refresh)(void *self);
    /* The same after something has been missed for certain: the bus was away. */
    void (*recover)(void *self);
    /* Renewals may have been lost, or be on their way: no lease is to end now. */
    bool (*may_miss)(const void *self);
    /* *age_ms: since it has heard anything. */
    enum dc_source_state (*state)(const void *self, int64_t *age_ms);
};

extern const struct dc_source dc_source_native;
extern const struct dc_source dc_source_matrix;

#endif
