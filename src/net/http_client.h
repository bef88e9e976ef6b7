/* HTTP client (libcurl multi on the loop): deadlines, connection reuse, cancellation, bounded
 * answers.  Used by health checks, the homeserver, language models and the map's sources.  Calls go
 * where their URL says: a proxy named in the environment is not used. */
#ifndef DC_NET_HTTP_CLIENT_H
#define DC_NET_HTTP_CLIENT_H

#include "base/slice.h"
#include "rt/op.h"

/* Calls under way at a time; further ones are DC_LIMIT. */
#define DC_HTTP_CLIENT_MAX_CALLS 1024

struct dc_http_client;
DC_MUST_USE enum dc_status dc_http_client_create(struct dc_loop *loop, struct dc_http_client **out,
                                                 struct dc_error *err);
/* Running calls end with DC_CANCELED, then handles are closed; freed when the last has closed. */
void dc_http_client_close(struct dc_http_client *c);

struct dc_http_call {
    const char *method_z;       /* "GET" … */
    const char *url_z;          /* http or https; redirects are not followed */
    const char *const *headers; /* "Name: value" lines, n_headers of them */
    size_t n_headers;
    struct dc_slice body;
    uint64_t deadline_ms;      /* from now, for the whole call; required */
    size_t max_response_bytes; /* 0: 1 MiB; more is DC_UPSTREAM */
};
struct dc_http_answer {
    int http_status;
    struct dc_slice content_type;
    struct dc_slice body;
    struct dc_strbuf *bytes; /* where body stands: may be moved out, leaving {0} */
    int64_t retry_after_ms;  /* from Retry-After; -1: none */
};
/* DC_OK with any HTTP status; answer is borrowed. DC_TIMEOUT, DC_UPSTREAM (connection, protocol),
 * DC_CANCELED: answer is NULL. */
typedef void (*dc_http_call_cb)(void *data, enum dc_status st, const struct dc_http_answer *answer,
                                const struct dc_error *err);
/* call is copied. See rt/op.h for the contract of *op. */
DC_MUST_USE enum dc_status dc_http_client_call(struct dc_http_client *c,
                                               const struct dc_http_call *call, dc_http_call_cb cb,
                                               void *data, struct dc_op **op, struct dc_error *err);

#endif
