/* How many of something each key has, and the limit of that: sockets of a user, connections of an
 * address.  Keys are remembered by 40 bits of a hash under a seed of the table (they come from
 * strangers): 11 to 21 bytes for each key that holds a place, whatever its length.  Two keys with
 * one hash, which a million keys hardly have among them, share their places. Pure: nothing calls
 * back.
 */
#ifndef DC_NET_PLACES_H
#define DC_NET_PLACES_H

#include "base/slice.h"

struct dc_places;
/* max_each 0: no limit, and nothing is counted; DC_PLACES_MAX at most. */
#define DC_PLACES_MAX 10000000u
struct dc_places *dc_places_create(uint32_t max_each);
/* NULL is allowed; places that are still held are forgotten. */
void dc_places_destroy(struct dc_places *p);

/* A place that is held; 0: none. */
typedef uint64_t dc_place;
/* False: the key holds max_each places already, or there is no memory to count with.  *out is 0
 * then, and where nothing is counted. */
bool dc_places_take(struct dc_places *p, struct dc_slice key, dc_place *out);
/* *place becomes 0; 0 is allowed. */
void dc_places_leave(struct dc_places *p, dc_place *place);
/* Keys that hold a place. */
size_t dc_places_count(const struct dc_places *p);

#endif
