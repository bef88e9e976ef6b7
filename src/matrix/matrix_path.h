/* Paths of the homeserver's interface.  Every part that comes from data is percent-encoded whole,
 * '/' and '.' segments included, so that no value leaves its place in the path.  Pure. */
#ifndef DC_MATRIX_MATRIX_PATH_H
#define DC_MATRIX_MATRIX_PATH_H

#include "base/strbuf.h"

/* Appends pattern_z with each "{}" replaced by the next part, encoded.  The number of parts must be
 * that of the places (assertion).  A part of dots alone would be a path segment with a meaning:
 * then nothing is appended and false is returned, as for an empty part. */
DC_MUST_USE bool dc_matrix_path(struct dc_strbuf *out, const char *pattern_z,
                                const struct dc_slice *parts, size_t n);
/* Appends '?' or '&' (whatever the text so far asks for), name_z, '=' and the encoded value. */
void dc_matrix_query(struct dc_strbuf *out, const char *name_z, struct dc_slice value);

#endif
