/* Inside of the key-value port: what a backend offers.  kv.c checks arguments and makes one request
 * of every call, so a backend has one door for all of them (Redis: one pipeline). */
#ifndef DC_KV_KV_PRIV_H
#define DC_KV_KV_PRIV_H

#include "kv/kv.h"

enum dc_kv_verb {
    DC_KV_SET,
    DC_KV_GET,
    DC_KV_DELETE,
    DC_KV_LEASE_ACQUIRE,
    DC_KV_LEASE_RELEASE,
    DC_KV_EXPIRY_ADD,
    DC_KV_EXPIRY_REMOVE,
    DC_KV_EXPIRY_TAKE_DUE,
};

/* Borrowed: the backend copies what it keeps. */
struct dc_kv_request {
    enum dc_kv_verb verb;
    struct dc_slice key;   /* or name of the lease or set */
    struct dc_slice value; /* or holder, or member */
    uint64_t ttl_ms;
    size_t max;
    dc_kv_cb cb;
    dc_kv_due_cb due_cb; /* of TAKE_DUE */
    void *data;
};

struct dc_kv_backend {
    enum dc_status (*submit)(struct dc_kv *kv, const struct dc_kv_request *req, struct dc_op **op);
    void (*close)(struct dc_kv *kv, void (*closed)(void *data), void *data);
};

/* First member of every backend's own struct. */
struct dc_kv {
    const struct dc_kv_backend *backend;
    struct dc_counter *calls, *failed;
};

/* What all backends have in common. */
void dc_kv_init(struct dc_kv *kv, const struct dc_kv_backend *backend,
                const struct dc_kv_opts *opts);
/* A call that was accepted has ended badly: counted unless somebody wanted it so (cancelled) or it
 * is an answer (a lease that another holds). */
void dc_kv_count_failure(struct dc_kv *kv, enum dc_status st);

enum dc_status dc_kv_memory_open(struct dc_loop *loop, const struct dc_kv_opts *opts,
                                 struct dc_kv **out, struct dc_error *err);

#endif
