/* UTF-8 (RFC 3629): no surrogates, no overlong forms, at most U+10FFFF. */
#ifndef DC_BASE_UTF8_H
#define DC_BASE_UTF8_H

#include "base/slice.h"

/* Incremental state for fragmented WebSocket text: zero-initialise, feed pieces, then ask. */
struct dc_utf8 {
    uint8_t need, seen, lower, upper;
};
/* false as soon as the bytes so far cannot become valid, and from then on. */
DC_MUST_USE bool dc_utf8_feed(struct dc_utf8 *u, struct dc_slice s);
/* No sequence is left open. */
static inline bool dc_utf8_is_complete(const struct dc_utf8 *u)
{
    return u->need == 0;
}

bool dc_utf8_is_valid(struct dc_slice s);
/* Number of code points; s must be valid. */
size_t dc_utf8_count(struct dc_slice s);
/* The longest prefix with at most n code points; s must be valid. */
struct dc_slice dc_utf8_prefix(struct dc_slice s, size_t n);
/* Next code point of valid text; false at the end. */
bool dc_utf8_next(struct dc_slice *in, uint32_t *cp);
/* Appends cp (a valid scalar value) in UTF-8; returns the number of bytes, 1 to 4. */
size_t dc_utf8_encode(uint32_t cp, char out[4]);

#endif
