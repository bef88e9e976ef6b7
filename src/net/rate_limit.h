/* Token buckets by key (user, address): rate per second and burst.  Bounded: past max_keys the
 * fullest (= longest quiet) buckets are forgotten, which only ever helps a client. Pure: time is an
 * argument, nothing calls back. */
#ifndef DC_NET_RATE_LIMIT_H
#define DC_NET_RATE_LIMIT_H

#include "base/slice.h"
#include "base/time.h"

struct dc_rate_limit;
/* rate_per_s 0: no limit.  burst and max_keys: at least 1, 0 counts as that. */
struct dc_rate_limit *dc_rate_limit_create(uint32_t rate_per_s, uint32_t burst, size_t max_keys);
/* NULL is allowed. */
void dc_rate_limit_destroy(struct dc_rate_limit *l);
/* Takes one token; 0 when granted, else the milliseconds until one is there (1000 when there is no
 * memory to count with).  key is copied. */
uint64_t dc_rate_limit_take(struct dc_rate_limit *l, struct dc_slice key, struct dc_mono now);

#endif
