/* SipHash (Aumasson and Bernstein): a keyed hash of short inputs.  Whoever does not know the key
 * cannot choose inputs that collide.
 * 1-3 is for tables, whose hashes nobody sees; 2-4 is the conservative variant, for hashes that
 * stand in for the input (a cache keyed by the hash of a token). */
#ifndef DC_BASE_SIPHASH_H
#define DC_BASE_SIPHASH_H

#include "base/slice.h"

uint64_t dc_siphash13(const uint64_t key[2], struct dc_slice in);
uint64_t dc_siphash24(const uint64_t key[2], struct dc_slice in);

#endif
