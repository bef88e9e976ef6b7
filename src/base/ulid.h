/* ULID: 48 bits of UTC milliseconds and 80 random bits, 26 letters of Crockford's base 32, upper
 * case.  One generator gives strictly increasing ids, also within a millisecond and when the clock
 * steps back. */
#ifndef DC_BASE_ULID_H
#define DC_BASE_ULID_H

#include "base/random.h"
#include "base/time.h"

#define DC_ULID_LEN 26

struct dc_ulid_gen {
    const struct dc_random *random; /* NULL: the operating system */
    uint64_t last_ms;
    uint8_t tail[10];
};

/* Zero-initialise the generator to start. Writes DC_ULID_LEN bytes and a NUL. */
void dc_ulid_next(struct dc_ulid_gen *g, struct dc_utc now, char out[DC_ULID_LEN + 1]);

#endif
