/* HTTP/1.x request parser, pure: bytes in, events out.  Heads that arrive in pieces or look odd go
 * through the packaged parser; every head is read by a strict scanner of our own, which refuses
 * everything on which two implementations could disagree (request smuggling, RFC 9112 §11.2): bare
 * CR or LF, NUL and other control characters, folded lines, blanks before a colon, repeated or odd
 * Content-Length, Content-Length with Transfer-Encoding, any coding but a single "chunked".  Bodies
 * are decoded here, strictly.  The result does not depend on how the bytes are cut.  Only
 * http_parse.c knows which parser is underneath.
 *
 * One struct reads one message at a time; it keeps a copy of the head, whose slices stay valid
 * until the next reset. */
#ifndef DC_NET_HTTP_PARSE_H
#define DC_NET_HTTP_PARSE_H

#include "base/slice.h"
#include "base/status.h"

#define DC_HTTP_MAX_HEADERS      100
#define DC_HTTP_MAX_TARGET_BYTES 8192
#define DC_HTTP_MAX_HEAD_BYTES   65000 /* offsets are 16 bits wide */

struct dc_http_limits {
    size_t max_head_bytes; /* at most DC_HTTP_MAX_HEAD_BYTES; more is cut to it */
    size_t max_body_bytes;
};

struct dc_http_field {
    uint16_t name_at, name_len, value_at, value_len;
};

/* Headers that the server itself looks at; DC_HTTP_KNOWN_COUNT: none of them. */
enum dc_http_known {
    DC_HTTP_KNOWN_HOST,
    DC_HTTP_KNOWN_ORIGIN,
    DC_HTTP_KNOWN_EXPECT,
    DC_HTTP_KNOWN_REQUEST_ID,
    DC_HTTP_KNOWN_COUNT
};

enum dc_http_event {
    DC_HTTP_MORE,  /* everything consumed, nothing to report */
    DC_HTTP_HEAD,  /* the head is complete: the fields below are valid */
    DC_HTTP_BODY,  /* *piece is the next part of the body, borrowed from *in */
    DC_HTTP_DONE,  /* the message is complete; what is left of *in belongs to the next one */
    DC_HTTP_REFUSE /* status and reason say why; the connection cannot be used any more */
};

struct dc_http_parse {
    struct dc_http_limits limits;
    /* After DC_HTTP_HEAD. */
    struct dc_slice method;              /* upper-case name */
    struct dc_slice target;              /* as sent: printable ASCII without blanks */
    uint16_t known[DC_HTTP_KNOWN_COUNT]; /* index + 1 of the first such header; 0: none */
    uint8_t minor;                       /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;
    bool has_body;
    bool is_chunked;
    uint64_t content_length; /* unless chunked */
    size_t n_fields;
    /* After DC_HTTP_REFUSE: MALFORMED, HEAD_TOO_LARGE, TOO_LARGE or NO_MEMORY. */
    enum dc_status status;
    const char *reason;

    /* --- inside --- */
    uint8_t state;
    uint8_t last_call;
    char *head;
    size_t head_len, head_cap;
    uint16_t target_at, target_len;
    uint64_t left;         /* of the body or chunk */
    uint64_t body_bytes;   /* counted so far */
    uint32_t digits;       /* of the chunk size */
    size_t chunk_overhead; /* bytes of extensions and trailers */
    union {
        unsigned char bytes[64];
        void *align;
    } impl;
    struct dc_http_field fields[DC_HTTP_MAX_HEADERS];
};

/* No allocation. */
void dc_http_parse_init(struct dc_http_parse *p, const struct dc_http_limits *limits);
/* Ready for the next message; keeps a small buffer. */
void dc_http_parse_reset(struct dc_http_parse *p);
void dc_http_parse_free(struct dc_http_parse *p);

/* Consumes from *in until something is to be reported.  After DC_HTTP_DONE and DC_HTTP_REFUSE only
 * reset or free may follow. Empty lines before a message are skipped. */
enum dc_http_event dc_http_parse_next(struct dc_http_parse *p, struct dc_slice *in,
                                      struct dc_slice *piece);
/* No byte of a message has been seen since the last reset. */
bool dc_http_parse_is_fresh(const struct dc_http_parse *p);

static inline struct dc_slice dc_http_field_name(const struct dc_http_parse *p, size_t i)
{
    return dc_slice_make(p->head + p->fields[i].name_at, p->fields[i].name_len);
}

static inline struct dc_slice dc_http_field_value(const struct dc_http_parse *p, size_t i)
{
    return dc_slice_make(p->head + p->fields[i].value_at, p->fields[i].value_len);
}

/* First header of that name, any case; DC_SLICE_NULL if missing. */
struct dc_slice dc_http_parse_header(const struct dc_http_parse *p, struct dc_slice name);
size_t dc_http_parse_count(const struct dc_http_parse *p, struct dc_slice name);
/* Whether the headers of that name list this token, any case: a list may be spread over several of
 * them (RFC 9110 §5.3). */
bool dc_http_parse_lists(const struct dc_http_parse *p, struct dc_slice name,
                         struct dc_slice token);
static inline struct dc_slice dc_http_parse_known(const struct dc_http_parse *p,
                                                  enum dc_http_known k)
{
    return p->known[k] == 0 ? DC_SLICE_NULL : dc_http_field_value(p, p->known[k] - 1u);
}

#endif
