/* Request targets (RFC 9112 §3.2): origin-form, absolute-form and "*"; the path is percent-decoded
 * and normalised (RFC 3986 §5.2.4), so "..", also written %2e%2e, never leads above "/".  Pure. */
#ifndef DC_NET_HTTP_TARGET_H
#define DC_NET_HTTP_TARGET_H

#include "base/arena.h"
#include "base/status.h"

/* Deeper paths belong to no route. */
#define DC_HTTP_MAX_SEGMENTS 16

struct dc_http_target {
    struct dc_slice authority; /* of the absolute-form, else DC_SLICE_NULL */
    struct dc_slice path;      /* decoded, normalised, starts with '/'; "*" for the asterisk-form */
    struct dc_slice query;     /* raw, without '?'; .ptr NULL when there is none */
    size_t n_segments;         /* of the path; "/a/" has two, the second is empty */
    bool is_asterisk;
    /* A segment holds an encoded slash: it must not be mistaken for two, so no route matches. */
    bool has_encoded_slash;
    bool is_too_deep; /* segments are not given */
    struct dc_slice segments[DC_HTTP_MAX_SEGMENTS];
};

/* Slices point into raw or the arena.  DC_MALFORMED: no path, a bad escape, %00, invalid UTF-8;
 * DC_NO_MEMORY. */
DC_MUST_USE enum dc_status dc_http_target_parse(struct dc_slice raw, struct dc_arena *arena,
                                                struct dc_http_target *out);

#endif
