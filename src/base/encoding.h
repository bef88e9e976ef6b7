/* Text forms of bytes: base64 (RFC 4648, standard and url-safe), hex, percent-encoding.  Encoders
 * append to *out, which says whether there was memory (dc_strbuf_ok). */
#ifndef DC_BASE_ENCODING_H
#define DC_BASE_ENCODING_H

#include "base/strbuf.h"

/* With padding. */
void dc_base64_encode(struct dc_strbuf *out, struct dc_slice in);
/* Strict: correct padding, no blanks, unused bits zero (one text for each value).  false also when
 * the bytes do not fit cap; *len is then unchanged, out may be written to. */
DC_MUST_USE bool dc_base64_decode(struct dc_slice in, uint8_t *out, size_t cap, size_t *len);
/* The same without padding. */
void dc_base64url_encode(struct dc_strbuf *out, struct dc_slice in);
DC_MUST_USE bool dc_base64url_decode(struct dc_slice in, uint8_t *out, size_t cap, size_t *len);
void dc_hex_encode(struct dc_strbuf *out, struct dc_slice in);
/* Everything but unreserved characters of RFC 3986. */
void dc_percent_encode(struct dc_strbuf *out, struct dc_slice in);
/* Appends; %XX only, or with '+' as blank (query strings).  false on a bad escape, a decoded NUL or
 * no memory; nothing has been appended then. */
DC_MUST_USE bool dc_percent_decode(struct dc_strbuf *out, struct dc_slice in, bool plus_is_blank);

#endif
