/* Calls to another role's /internal interface: by a URL, or, without one, to the internal listener
 * of this very process (`up`), so that both arrangements go the same way.  They carry the internal
 * key; answers are JSON objects, or arrays where the caller says so. */
#ifndef DC_ROLES_PEER_H
#define DC_ROLES_PEER_H

#include "base/json.h"
#include "roles/role.h"

struct dc_peer;
/* url_z: http(s)://host[:port][/path], borrowed; NULL: this process. name_z: who
 * it is, for errors, literal.  ctx must outlive the peer. */
DC_MUST_USE enum dc_status dc_peer_create(struct dc_ctx *ctx, const char *name_z, const char *url_z,
                                          struct dc_peer **out, struct dc_error *err);
/* matrix-gateway: by MATRIX_GATEWAY_URL, or that of this process where it has a homeserver.  DC_OK
 * with *out NULL: there is none.  DC_CONFIG: the key that it needs is missing. */
DC_MUST_USE enum dc_status dc_peer_open_gateway(struct dc_ctx *ctx, struct dc_peer **out,
                                                struct dc_error *err);
/* Calls under way end with DC_CANCELED.  NULL is allowed. */
void dc_peer_close(struct dc_peer *p);

/* DC_OK: a status of 200..299 and a JSON object (or array: takes_array), borrowed.  Otherwise json
 * is NULL and err has the peer's status, its code if it is one of those below, and its words.
 * retry_after_ms: -1 unless the peer has named a pause. DC_UNAVAILABLE peer_unavailable   nobody
 * answers there, or no JSON DC_TIMEOUT     peer_timeout       not within the deadline: what was
 * asked may have been done */
typedef void (*dc_peer_cb)(void *data, enum dc_status st, const json_t *json,
                           int64_t retry_after_ms, const struct dc_error *err);
struct dc_peer_call {
    const char *method_z;
    struct dc_slice path; /* with its query; begins with '/' */
    struct dc_slice body; /* a JSON object; empty: none */
    uint64_t deadline_ms;
    size_t max_response_bytes; /* 0: 1 MiB */
    bool takes_array;
    dc_peer_cb cb;
    void *data;
};
/* See rt/op.h; call is copied. */
DC_MUST_USE enum dc_status dc_peer_call(struct dc_peer *p, const struct dc_peer_call *call,
                                        struct dc_error *err);

#endif
