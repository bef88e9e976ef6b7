/* HTTP/1.1 server (RFC 9112): keep-alive, pipelining (answered in order, one at a time), chunked
 * bodies in and out, HEAD, OPTIONS/CORS by allow-list, Expect: 100-continue, limits and timeouts of
 * DESIGN §8.  A handler gets a whole request (head and body) and must answer exactly once, now or
 * later.  A request object lives until it has been answered, also when the client has gone: answers
 * to the dead are dropped silently, so handlers need no special case (and may cancel early by
 * dc_http_on_gone). */
#ifndef DC_NET_HTTP_H
#define DC_NET_HTTP_H

#include "base/arena.h"
#include "base/blob.h"
#include "base/input.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "rt/loop.h"

struct dc_server;
struct dc_router;
struct dc_http_request;

struct dc_server_opts {
    const char *name;       /* "public" or "internal": logs and metrics */
    const char *host;       /* numeric address; IPv4 or IPv6 */
    uint16_t port;          /* 0: any free port */
    bool reuse_port;        /* SO_REUSEPORT, for --workers */
    size_t max_connections; /* further ones get 503 and are closed */
    /* Of one address (of IPv6: of one /64), further ones get 429 and are closed; trusted proxies
     * may have any number. 0: no limit. */
    uint32_t max_connections_per_address;
    size_t max_head_bytes;   /* 431 */
    size_t max_body_bytes;   /* 413 */
    size_t max_output_bytes; /* queued; a send that finds more closes the connection */
    /* All above 0. */
    uint64_t head_timeout_ms;      /* whole head, from its first byte; 408 */
    uint64_t body_timeout_ms;      /* whole body; 408 */
    uint64_t keepalive_timeout_ms; /* idle between requests */
    /* 0: 10 s.  An answer of which the client takes less than 1 KiB in this time is given up. */
    uint64_t stall_timeout_ms;
    const char *cors_origins;    /* "https://a,https://b", "*" or NULL: same-origin only */
    const char *trusted_proxies; /* whose X-Forwarded-For is believed (base/address.h); or NULL */
};

/* Everything is borrowed and must outlive the server; log may be NULL.  Listens at once; DC_CONFIG
 * when the port is taken or the address is wrong. */
DC_MUST_USE enum dc_status dc_server_create(struct dc_loop *loop, const struct dc_server_opts *opts,
                                            const struct dc_router *router, struct dc_log *log,
                                            struct dc_metrics *metrics, struct dc_server **out,
                                            struct dc_error *err);
/* The port it listens on. */
uint16_t dc_server_port(const struct dc_server *s);
/* Stops accepting, ends keep-alive, closes sockets with 1001 after their queues are written (the
 * hub does WebSockets), and calls stopped when the last connection has gone or after timeout_ms,
 * when the rest is cut. Then the server is freed. */
void dc_server_stop(struct dc_server *s, uint64_t timeout_ms, void (*stopped)(void *data),
                    void *data);

/* --- request --- */
enum dc_http_method {
    DC_GET = 1,
    DC_HEAD = 2, /* routed as GET, body is dropped */
    DC_POST = 4,
    DC_PUT = 8,
    DC_PATCH = 16,
    DC_DELETE = 32,
    DC_OPTIONS = 64
};

enum dc_http_method dc_http_method(const struct dc_http_request *r);
/* Percent-decoded, normalised (no dot segments), starts with '/'. */
struct dc_slice dc_http_path(const struct dc_http_request *r);
/* Raw text behind '?'. Never logged as it is: it may carry a token. */
struct dc_slice dc_http_query(const struct dc_http_request *r);
/* First header of that name, any case; DC_SLICE_NULL if missing. */
struct dc_slice dc_http_header(const struct dc_http_request *r, struct dc_slice name);
struct dc_slice dc_http_body(const struct dc_http_request *r);
/* Decoded path parameter by its place in the pattern. */
struct dc_slice dc_http_param(const struct dc_http_request *r, size_t i);
/* Text form of the client's address without port: the socket's, or what a trusted proxy says. */
struct dc_slice dc_http_peer(const struct dc_http_request *r);
/* 26 letters; from X-Request-Id if that is sane, else made. Echoed in the answer. */
struct dc_slice dc_http_request_id(const struct dc_http_request *r);
/* Lives as long as the request. */
struct dc_arena *dc_http_arena(struct dc_http_request *r);

/* gone runs at most once, when the client closes (or ends its side) before the answer; NULL unsets.
 * Not for a client that has gone already. The answer is still owed. */
void dc_http_on_gone(struct dc_http_request *r, void (*gone)(void *data), void *data);

/* --- answer: exactly one of these, exactly once --- */
/* Adds a header to the coming answer; name and value are copied. Values with control characters are
 * refused by an assertion: they must come from us. */
void dc_http_set_header(struct dc_http_request *r, const char *name_z, struct dc_slice value);
/* body is copied (small answers) before return. */
void dc_http_reply(struct dc_http_request *r, int http_status, const char *content_type_z,
                   struct dc_slice body);
/* Body shared with others, e.g. a static file or a cached snapshot: takes a reference. */
void dc_http_reply_blob(struct dc_http_request *r, int http_status, const char *content_type_z,
                        struct dc_blob *body);
/* Frees *body. A failed buffer becomes 503 out_of_memory. */
void dc_http_reply_json(struct dc_http_request *r, int http_status, struct dc_strbuf *body);
/* The one way to answer errors: {"error","detail","message"} with the HTTP number of err->status;
 * adds Retry-After for 429 and 503. */
void dc_http_reply_error(struct dc_http_request *r, const struct dc_error *err);
/* 422 with errors:[{field,code,detail}]. */
void dc_http_reply_problems(struct dc_http_request *r, const struct dc_problems *problems);
/* Body in pieces (chunked for 1.1): begin, then write until end. Writing to the dead is allowed. */
void dc_http_stream_begin(struct dc_http_request *r, int http_status, const char *content_type_z);
void dc_http_stream_write(struct dc_http_request *r, struct dc_slice piece);
void dc_http_stream_end(struct dc_http_request *r);

/* The body as a JSON object checked against a field table; on failure the answer (400, 415, 422)
 * has been given and false is returned.  An empty body counts as {}. Slices live as long as the
 * request. */
DC_MUST_USE bool dc_http_read_json(struct dc_http_request *r, const struct dc_field *fields,
                                   size_t n, void *target);
/* The same for the query string. */
DC_MUST_USE bool dc_http_read_query(struct dc_http_request *r, const struct dc_field *fields,
                                    size_t n, void *target);

#endif
