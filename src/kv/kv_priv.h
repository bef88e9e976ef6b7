/* Inside of the key-value port: what a backend offers.  kv.c checks arguments, makes one call
 * object of every call and ends it, so a backend has one door for all of them (Redis: one
 * pipeline). */
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

/* First member of a backend's own call object. */
struct dc_kv_call {
    struct dc_op op;          /* cancel is set by the backend */
    struct dc_list link;      /* the backend's queue */
    struct dc_kv_request req; /* its slices are copies, behind the object */
};

/* What a call that went well has to say. */
struct dc_kv_answer {
    struct dc_slice value;
    int64_t number;
    const struct dc_slice *members; /* of TAKE_DUE */
    size_t n_members;
};

struct dc_kv_backend {
    /* req is borrowed: dc_kv_call_create() copies it.  *op is the call's. */
    enum dc_status (*submit)(struct dc_kv *kv, const struct dc_kv_request *req, struct dc_op **op);
    /* Ends all calls with DC_CANCELED in a later turn, then dc_kv_closed(). */
    void (*close)(struct dc_kv *kv);
};

/* First member of every backend's own struct. */
struct dc_kv {
    const struct dc_kv_backend *backend;
    struct dc_loop *loop;
    struct dc_log *log;
    struct dc_health_check *health;
    struct dc_counter *calls, *failed;
    struct dc_gauge *waiting;
    size_t n_calls, n_bytes; /* of call objects that exist */
    bool is_closing;
    void (*closed)(void *data);
    void *closed_data;
    struct dc_turn ready_turn;
    bool has_ready;
    struct dc_error ready_err;
    void (*ready)(void *data, const struct dc_error *err);
    void *ready_data;
};

/* --- what kv.c does for backends --- */
void dc_kv_init(struct dc_kv *kv, const struct dc_kv_backend *backend, struct dc_loop *loop,
                const struct dc_kv_opts *opts);
/* Outcome of the first attempts; only the first one counts. */
void dc_kv_tell_ready(struct dc_kv *kv, const struct dc_error *err);
/* An object of `size` bytes that begins with a struct dc_kv_call, zeroed otherwise, with copies of
 * the request's bytes behind it.  DC_LIMIT and DC_NO_MEMORY leave *out alone. */
DC_MUST_USE enum dc_status dc_kv_call_create(struct dc_kv *kv, const struct dc_kv_request *req,
                                             size_t size, struct dc_kv_call **out);
/* Runs the caller's callback: once a call.  answer is needed with DC_OK only; err NULL: the text of
 * st.  Failures are counted unless somebody wanted it so (cancelled) or it is an answer (a lease
 * that another holds), and logged when nobody waits for them. */
void dc_kv_call_answer(struct dc_kv *kv, const struct dc_kv_call *call, enum dc_status st,
                       const struct dc_kv_answer *answer, const struct dc_error *err);
void dc_kv_call_free(struct dc_kv *kv, struct dc_kv_call *call);
/* Frees *kv (the backend's object begins with it) and tells whoever closed it: the last thing a
 * backend does. */
void dc_kv_closed(struct dc_kv *kv);

/* --- backends --- */
DC_MUST_USE enum dc_status dc_kv_memory_open(struct dc_loop *loop, const struct dc_kv_opts *opts,
                                             struct dc_kv **out, struct dc_error *err);
DC_MUST_USE enum dc_status dc_kv_redis_open(struct dc_loop *loop, const struct dc_kv_opts *opts,
                                            struct dc_kv **out, struct dc_error *err);

#endif
