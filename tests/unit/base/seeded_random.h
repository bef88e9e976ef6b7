/* A replayable source of random numbers (splitmix64), also as struct dc_random. */
#ifndef DC_TESTS_SEEDED_RANDOM_H
#define DC_TESTS_SEEDED_RANDOM_H

#include "base/random.h"
#include <stdint.h>

struct seeded_random {
    uint64_t state;
};

uint64_t seeded_next(struct seeded_random *r);
/* 0 .. bound-1 */
uint64_t seeded_below(struct seeded_random *r, uint64_t bound);
/* Borrows r. */
struct dc_random seeded_source(struct seeded_random *r);

#endif
