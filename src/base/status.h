/* The one list of outcomes: name, HTTP status, error code on the wire, worth retrying, default
 * text. A fallible function returns enum dc_status, is DC_MUST_USE and fills an optional
 * caller-owned struct dc_error.  Status drives policy; text is for people and never parsed. Wire
 * shape of errors: DESIGN §8, schema/openapi.yaml "Error". */
#ifndef DC_BASE_STATUS_H
#define DC_BASE_STATUS_H

#include "base/attr.h"
#include <stdbool.h>

#define DC_STATUS_MAP(XX)                                                                          \
    XX(OK, 200, "ok", false, "ok")                                                                 \
    XX(MALFORMED, 400, "bad_request", false, "the request is malformed")                           \
    XX(UNAUTHORIZED, 401, "unauthorized", false, "a valid token is needed")                        \
    XX(FORBIDDEN, 403, "forbidden", false, "not allowed")                                          \
    XX(NOT_FOUND, 404, "not_found", false, "not found")                                            \
    XX(METHOD, 405, "method_not_allowed", false, "this method is not allowed here")                \
    XX(REQUEST_TIMEOUT, 408, "request_timeout", false, "the request took too long to arrive")      \
    XX(CONFLICT, 409, "conflict", false, "already exists")                                         \
    XX(TOO_LARGE, 413, "payload_too_large", false, "the body is too large")                        \
    XX(MEDIA_TYPE, 415, "unsupported_media_type", false, "the body must be application/json")      \
    XX(EXPECTATION, 417, "expectation_failed", false, "only Expect: 100-continue is understood")   \
    XX(INVALID, 422, "invalid_input", false, "the input is not valid")                             \
    XX(UPGRADE, 426, "upgrade_required", false, "this address speaks WebSocket")                   \
    XX(LIMIT, 429, "rate_limited", true, "too many requests")                                      \
    XX(HEAD_TOO_LARGE, 431, "headers_too_large", false, "the request head is too large")           \
    XX(CANCELED, 499, "canceled", false, "canceled by the caller")                                 \
    XX(INTERNAL, 500, "internal", false, "internal error")                                         \
    XX(UNSUPPORTED, 501, "unsupported", false, "not supported")                                    \
    XX(UPSTREAM, 502, "upstream_error", true, "another service gave a wrong answer")               \
    XX(UNAVAILABLE, 503, "unavailable", true, "temporarily unavailable")                           \
    XX(NO_MEMORY, 503, "out_of_memory", true, "out of memory")                                     \
    XX(CLOSED, 503, "closed", true, "the connection is closed")                                    \
    XX(TIMEOUT, 504, "timeout", true, "the deadline passed")                                       \
    XX(CONFIG, 500, "configuration", false, "the configuration is wrong")

enum dc_status {
#define XX(name, http, code, retry, text) DC_##name,
    DC_STATUS_MAP(XX)
#undef XX
        DC_STATUS_COUNT
};

struct dc_error {
    enum dc_status status;
    const char *code; /* static text, e.g. "slug_taken"; NULL: the code of the status */
    int cause;        /* errno, libuv or backend code; 0: none */
    char text[192];   /* for people; empty: the text of the status */
};

int dc_status_http(enum dc_status st);
const char *dc_status_code(enum dc_status st);
const char *dc_status_text(enum dc_status st);
bool dc_status_is_retryable(enum dc_status st);
/* The first status with this HTTP number; INTERNAL for a number that is not in the list. */
enum dc_status dc_status_from_http(int http);

/* Fills *err (NULL is allowed) and returns st: `return dc_fail(err, DC_CLOSED, rc, "redis %s", h);`
 */
enum dc_status dc_fail(struct dc_error *err, enum dc_status st, int cause, const char *fmt, ...)
    DC_PRINTF(4, 5);
/* The same with a more specific wire code; code must be static. */
enum dc_status dc_fail_code(struct dc_error *err, enum dc_status st, const char *code,
                            const char *fmt, ...) DC_PRINTF(4, 5);

/* What an errno value means, never NULL.  Unlike strerror() it may be called on any thread. */
const char *dc_errno_text(int cause);

const char *dc_error_code(const struct dc_error *err);
const char *dc_error_text(const struct dc_error *err);

#endif
