/* One-line snippets of messages for lists and the feed. */
#ifndef DC_DOMAIN_SNIPPET_H
#define DC_DOMAIN_SNIPPET_H

#include "base/strbuf.h"

/* Appends text as one line: runs of white space and control characters (line breaks included)
 * become one blank, none at the ends; at most max_chars code points, the last of which is "…" when
 * something had to be cut.  text must be valid UTF-8: otherwise nothing is appended. */
void dc_snippet(struct dc_strbuf *out, struct dc_slice text, size_t max_chars);

#endif
