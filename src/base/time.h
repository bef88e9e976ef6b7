/* Two clocks, two types: deadlines are monotonic, timestamps are UTC.  Both in milliseconds.
 * Pure code takes them as arguments; only loops and main read the clocks. */
#ifndef DC_BASE_TIME_H
#define DC_BASE_TIME_H

#include "base/slice.h"
#include <stdint.h>

/* Monotonic milliseconds of this process; never compare with UTC. */
struct dc_mono {
    int64_t ms;
};
/* Milliseconds since 1970-01-01T00:00:00Z. */
struct dc_utc {
    int64_t ms;
};

struct dc_mono dc_mono_now(void);
uint64_t dc_mono_now_us(void);
struct dc_utc dc_utc_now(void);

#define DC_ISO_LEN 24 /* 2026-11-20T10:15:00.123Z */
/* Years 0000 to 9999; writes DC_ISO_LEN bytes and a NUL. */
void dc_utc_format(struct dc_utc t, char out[DC_ISO_LEN + 1]);
/* ISO 8601 date-time with Z or +hh[:mm], 'T' or blank between, up to 9 fraction digits. */
DC_MUST_USE bool dc_utc_parse(struct dc_slice s, struct dc_utc *out);

#endif
