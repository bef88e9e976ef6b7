/* Random bytes of the operating system.  Everything that needs randomness in a replayable way takes
 * a struct dc_random. */
#ifndef DC_BASE_RANDOM_H
#define DC_BASE_RANDOM_H

#include "base/attr.h"
#include <stddef.h>
#include <stdint.h>

struct dc_random {
    /* NULL: the operating system. Fills out completely. */
    void (*fill)(void *data, void *out, size_t len);
    void *data;
};

void dc_random_fill(const struct dc_random *r, void *out, size_t len);
uint64_t dc_random_u64(const struct dc_random *r);
/* 0 .. bound-1, without bias; bound > 0. */
uint64_t dc_random_below(const struct dc_random *r, uint64_t bound);

#endif
