/* SipHash-1-3 (Aumasson and Bernstein): a keyed hash of short inputs, for tables whose hashes
 * nobody sees.  Whoever does not know the key cannot choose inputs that collide. */
#ifndef DC_BASE_SIPHASH_H
#define DC_BASE_SIPHASH_H

#include "base/slice.h"

uint64_t dc_siphash13(const uint64_t key[2], struct dc_slice in);

#endif
