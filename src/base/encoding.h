/* Text forms of bytes: base64 (RFC 4648, standard and url-safe), hex, percent-encoding. */
#ifndef DC_BASE_ENCODING_H
#define DC_BASE_ENCODING_H

#include "base/strbuf.h"

/* With padding. */
void dc_base64_encode(struct dc_strbuf *out, struct dc_slice in);
/* Strict: correct padding, no blanks, unused bits zero (one text for each value). */
DC_MUST_USE bool dc_base64_decode(struct dc_slice in, uint8_t *out, size_t cap, size_t *len);
/* Without padding. */
void dc_base64url_encode(struct dc_strbuf *out, struct dc_slice in);
DC_MUST_USE bool dc_base64url_decode(struct dc_slice in, uint8_t *out, size_t cap, size_t *len);
void dc_hex_encode(struct dc_strbuf *out, struct dc_slice in);
/* Everything but unreserved characters of RFC 3986. */
void dc_percent_encode(struct dc_strbuf *out, struct dc_slice in);
/* %XX only, or with '+' as blank (query strings); false on a bad escape or a decoded NUL. */
DC_MUST_USE bool dc_percent_decode(struct dc_strbuf *out, struct dc_slice in, bool plus_is_blank);

#endif
