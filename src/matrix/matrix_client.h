/* Client of one homeserver: calls of the client-server and of Synapse's admin interface, each with
 * a deadline.  When the homeserver asks to wait (429) the same call is made again after the time it
 * names, as long as that lies within the caller's deadline; such a call has not been carried out,
 * so repeating it is safe whatever it is.  Nothing else is repeated here: the caller knows whether
 * that would be right.
 *
 * A large answer is read and freed on the pool (rt/op.h): a megabyte of JSON takes some 20 ms.
 *
 * Tokens come with each call and are kept for its life only, then wiped.  They stand in the
 * Authorization header, never in a URL; nothing here logs a URL, a header or a body. */
#ifndef DC_MATRIX_MATRIX_CLIENT_H
#define DC_MATRIX_MATRIX_CLIENT_H

#include "base/json.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "rt/op.h"

struct dc_matrix;

struct dc_matrix_opts {
    const char *base_url_z; /* http(s)://host[:port][/path], with or without a slash at its end */
    struct dc_log *log;     /* NULL allowed */
    struct dc_metrics *metrics;
};
/* opts is copied; log and metrics must outlive the client. */
DC_MUST_USE enum dc_status dc_matrix_create(struct dc_loop *loop, const struct dc_matrix_opts *opts,
                                            struct dc_matrix **out, struct dc_error *err);
/* Calls under way end with DC_CANCELED; freed when the last has ended.  NULL is allowed. */
void dc_matrix_close(struct dc_matrix *m);

/* Who speaks.  An application service may speak as any user of its namespace: its token and that
 * user's id.  Borrowed for the call. */
struct dc_matrix_auth {
    struct dc_slice token;      /* empty: nobody */
    struct dc_slice as_user_id; /* empty: the token's own user */
};

struct dc_matrix_request {
    const char *name;       /* literal, for the log: "createRoom" */
    const char *limit_hint; /* literal: what lifts this call's rate limit; NULL: unknown */
    const char *method;     /* literal */
    struct dc_slice path;   /* by dc_matrix_path(), with its query */
    struct dc_slice body;   /* JSON; empty: none (POST and PUT then send {}) */
    struct dc_matrix_auth auth;
    uint64_t deadline_ms;      /* waiting included; required */
    size_t max_response_bytes; /* 0: 1 MiB */
    bool is_impatient;         /* 429 is not waited for */
};

/* Never NULL in a callback; everything is borrowed. */
struct dc_matrix_answer {
    int http_status;        /* 0: none came */
    const json_t *json;     /* a JSON object, or NULL */
    int64_t retry_after_ms; /* with DC_LIMIT: what the homeserver asks for; -1: unknown */
};
/* The answer's JSON for longer than the callback: to be given back by dc_matrix_release(). */
DC_MUST_USE json_t *dc_matrix_keep(const struct dc_matrix_answer *answer);
/* is_large: freeing it would take a while, and is done on the pool. NULL is allowed. */
void dc_matrix_release(struct dc_loop *loop, json_t *json, bool is_large);
/* DC_OK: a status of 200..299 with a JSON object.  Otherwise err as in matrix_error.h. */
typedef void (*dc_matrix_cb)(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                             const struct dc_error *err);

/* See rt/op.h; request is copied.  Refused with DC_CLOSED after dc_matrix_close(), DC_INVALID for a
 * token that cannot stand in a header, DC_UNAVAILABLE when too many calls are under way. */
DC_MUST_USE enum dc_status dc_matrix_call(struct dc_matrix *m,
                                          const struct dc_matrix_request *request, dc_matrix_cb cb,
                                          void *data, struct dc_op **op, struct dc_error *err);

#endif
