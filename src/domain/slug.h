/* Slugs from names: what a room is called in addresses when nobody has chosen (CONTRACT §2.2). */
#ifndef DC_DOMAIN_SLUG_H
#define DC_DOMAIN_SLUG_H

#include "base/slice.h"
#include <stdint.h>

#define DC_SLUG_MAX 63

/* Ukrainian letters by the official table of 2010 (word-initial forms of є ї й ю я, зг as zgh,
 * apostrophe and soft sign dropped), Russian and Belarusian letters in the same manner, Latin
 * letters without their marks; lower case; every run of other characters is one dash, none at the
 * ends. The result is a slice of out: valid by dc_slug_is_valid(), or empty when nothing is left
 * (the caller has a word for that).  Never cut inside a transliterated letter.  name may be any
 * bytes; in text that is not UTF-8 only ASCII counts. */
struct dc_slice dc_slug_from_name(struct dc_slice name, char out[DC_SLUG_MAX]);

/* slug-n, the slug shortened so that the whole fits; for names that are taken. n of at most 10
 * digits; slug must be valid; out may not overlap it. */
struct dc_slice dc_slug_numbered(struct dc_slice slug, uint32_t n, char out[DC_SLUG_MAX]);

#endif
