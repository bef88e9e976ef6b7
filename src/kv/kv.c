/* Key-value port: checks arguments, hands requests to the backend, and ends them. */
#include "base/mem.h"
#include "kv/kv_priv.h"

enum dc_status dc_kv_open(struct dc_loop *loop, const struct dc_kv_opts *opts, struct dc_kv **out,
                          struct dc_error *err)
{
    *out = NULL;
    return opts->url == NULL ? dc_kv_memory_open(loop, opts, out, err)
                             : dc_kv_redis_open(loop, opts, out, err);
}

/* --- life --- */

static void on_ready_turn(struct dc_turn *turn)
{
    struct dc_kv *kv = DC_CONTAINER_OF(turn, struct dc_kv, ready_turn);
    void (*ready)(void *data, const struct dc_error *err) = kv->ready;

    if (kv->has_ready && ready != NULL) {
        kv->ready = NULL;
        ready(kv->ready_data, &kv->ready_err);
    }
}

void dc_kv_init(struct dc_kv *kv, const struct dc_kv_backend *backend, struct dc_loop *loop,
                const struct dc_kv_opts *opts)
{
    kv->backend = backend;
    kv->loop = loop;
    kv->log = opts->log;
    kv->health = opts->health;
    kv->calls = dc_metrics_counter(opts->metrics, "daarion_kv_calls_total", NULL,
                                   "Calls of the key-value store");
    kv->failed = dc_metrics_counter(opts->metrics, "daarion_kv_failed_total", NULL,
                                    "Calls refused or ended with an error");
    kv->waiting = dc_metrics_gauge(opts->metrics, "daarion_kv_waiting", NULL,
                                   "Calls without an answer so far");
    dc_turn_init(&kv->ready_turn, on_ready_turn);
}

void dc_kv_tell_ready(struct dc_kv *kv, const struct dc_error *err)
{
    if (!kv->has_ready) {
        kv->has_ready = true;
        kv->ready_err = *err;
        dc_turn_schedule(kv->loop, &kv->ready_turn);
    }
}

void dc_kv_on_ready(struct dc_kv *kv, void (*ready)(void *data, const struct dc_error *err),
                    void *data)
{
    kv->ready = ready;
    kv->ready_data = data;
    if (kv->has_ready) {
        dc_turn_schedule(kv->loop, &kv->ready_turn);
    }
}

void dc_kv_close(struct dc_kv *kv, void (*closed)(void *data), void *data)
{
    DC_ASSERT(!kv->is_closing);
    kv->is_closing = true;
    kv->closed = closed;
    kv->closed_data = data;
    kv->ready = NULL;
    kv->backend->close(kv);
}

void dc_kv_closed(struct dc_kv *kv)
{
    void (*closed)(void *data) = kv->closed;
    void *data = kv->closed_data;

    DC_ASSERT(kv->is_closing && kv->n_calls == 0);
    dc_turn_cancel(&kv->ready_turn);
    dc_free(kv);
    if (closed != NULL) {
        closed(data);
    }
}

/* --- a call's object --- */

enum dc_status dc_kv_call_create(struct dc_kv *kv, const struct dc_kv_request *req, size_t size,
                                 struct dc_kv_call **out)
{
    size_t bytes = req->key.len + req->value.len; /* both have been checked */

    if (kv->n_calls >= DC_KV_CALLS_MAX || bytes > DC_KV_CALLS_MAX_BYTES - kv->n_bytes) {
        return DC_LIMIT;
    }
    struct dc_kv_call *call = dc_try_alloc(size + bytes);
    if (call == NULL) {
        return DC_NO_MEMORY;
    }
    memset(call, 0, size);
    char *copy = (char *)call + size;
    call->req = *req;
    memcpy(copy, req->key.ptr, req->key.len);
    call->req.key.ptr = copy;
    if (req->value.len > 0) {
        memcpy(copy + req->key.len, req->value.ptr, req->value.len);
    }
    call->req.value.ptr = copy + req->key.len;
    dc_list_init(&call->link);
    kv->n_calls++;
    kv->n_bytes += bytes;
    kv->waiting->value = (int64_t)kv->n_calls;
    *out = call;
    return DC_OK;
}

void dc_kv_call_free(struct dc_kv *kv, struct dc_kv_call *call)
{
    kv->n_calls--;
    kv->n_bytes -= call->req.key.len + call->req.value.len;
    kv->waiting->value = (int64_t)kv->n_calls;
    dc_free(call);
}

static void count_failure(struct dc_kv *kv, enum dc_status st)
{
    kv->failed->value += st != DC_OK && st != DC_CANCELED && st != DC_CONFLICT;
}

void dc_kv_call_answer(struct dc_kv *kv, const struct dc_kv_call *call, enum dc_status st,
                       const struct dc_kv_answer *answer, const struct dc_error *err)
{
    const struct dc_kv_answer nothing = {.value = DC_SLICE_NULL};
    const struct dc_kv_request *req = &call->req;
    struct dc_error plain;

    if (st == DC_OK) {
        err = NULL;
    } else {
        answer = &nothing;
        if (err == NULL) {
            (void)dc_fail(&plain, st, 0, "%s", dc_status_text(st));
            err = &plain;
        }
    }
    count_failure(kv, st);
    if (req->verb == DC_KV_EXPIRY_TAKE_DUE && req->due_cb != NULL) {
        req->due_cb(req->data, st, answer->members, answer->n_members, err);
    } else if (req->verb != DC_KV_EXPIRY_TAKE_DUE && req->cb != NULL) {
        req->cb(req->data, st, answer->value, answer->number, err);
    } else if (err != NULL && st != DC_CANCELED) {
        DC_LOG_WARN_EVENT(kv->log, "kv.call_failed", DC_LF_ERR(err));
    }
}

/* --- verbs --- */

static bool is_key(struct dc_slice s)
{
    return s.ptr != NULL && s.len > 0 && s.len <= DC_KV_KEY_MAX_BYTES;
}

static enum dc_status check(const struct dc_kv_request *req)
{
    bool is_plain = req->verb == DC_KV_SET || req->verb == DC_KV_GET || req->verb == DC_KV_DELETE;
    bool has_name = !is_plain && req->verb != DC_KV_EXPIRY_TAKE_DUE;

    if (!is_key(req->key) || (has_name && !is_key(req->value))) {
        return DC_INVALID;
    }
    if (is_plain && dc_slice_starts(req->key, DC_S(DC_KV_RESERVED))) {
        return DC_INVALID;
    }
    if (req->verb == DC_KV_LEASE_ACQUIRE && req->ttl_ms == 0) {
        return DC_INVALID; /* a lease that never ends is none */
    }
    return req->value.len > DC_KV_VALUE_MAX_BYTES ? DC_TOO_LARGE : DC_OK;
}

static enum dc_status submit(struct dc_kv *kv, const struct dc_kv_request *req, struct dc_op **op)
{
    struct dc_op *made = NULL;
    enum dc_status st = check(req);

    if (st == DC_OK) {
        st = kv->is_closing ? DC_CLOSED : kv->backend->submit(kv, req, &made);
    }
    if (op != NULL) {
        *op = st != DC_OK || (req->cb == NULL && req->due_cb == NULL) ? NULL : made;
    }
    kv->calls->value++;
    count_failure(kv, st);
    return st;
}

/* Every verb but take_due. */
static enum dc_status call(struct dc_kv *kv, enum dc_kv_verb verb, struct dc_slice key,
                           struct dc_slice value, uint64_t ttl_ms, dc_kv_cb cb, void *data,
                           struct dc_op **op)
{
    const struct dc_kv_request req = {
        .verb = verb, .key = key, .value = value, .ttl_ms = ttl_ms, .cb = cb, .data = data};

    return submit(kv, &req, op);
}

enum dc_status dc_kv_set(struct dc_kv *kv, struct dc_slice key, struct dc_slice value,
                         uint64_t ttl_ms, dc_kv_cb cb, void *data, struct dc_op **op)
{
    return call(kv, DC_KV_SET, key, value, ttl_ms, cb, data, op);
}

enum dc_status dc_kv_get(struct dc_kv *kv, struct dc_slice key, dc_kv_cb cb, void *data,
                         struct dc_op **op)
{
    return call(kv, DC_KV_GET, key, DC_SLICE_NULL, 0, cb, data, op);
}

enum dc_status dc_kv_delete(struct dc_kv *kv, struct dc_slice key, dc_kv_cb cb, void *data,
                            struct dc_op **op)
{
    return call(kv, DC_KV_DELETE, key, DC_SLICE_NULL, 0, cb, data, op);
}

enum dc_status dc_kv_lease_acquire(struct dc_kv *kv, struct dc_slice name, struct dc_slice holder,
                                   uint64_t ttl_ms, dc_kv_cb cb, void *data, struct dc_op **op)
{
    return call(kv, DC_KV_LEASE_ACQUIRE, name, holder, ttl_ms, cb, data, op);
}

enum dc_status dc_kv_lease_release(struct dc_kv *kv, struct dc_slice name, struct dc_slice holder,
                                   dc_kv_cb cb, void *data, struct dc_op **op)
{
    return call(kv, DC_KV_LEASE_RELEASE, name, holder, 0, cb, data, op);
}

enum dc_status dc_kv_expiry_add(struct dc_kv *kv, struct dc_slice set, struct dc_slice member,
                                uint64_t ttl_ms, dc_kv_cb cb, void *data, struct dc_op **op)
{
    return call(kv, DC_KV_EXPIRY_ADD, set, member, ttl_ms, cb, data, op);
}

enum dc_status dc_kv_expiry_remove(struct dc_kv *kv, struct dc_slice set, struct dc_slice member,
                                   dc_kv_cb cb, void *data, struct dc_op **op)
{
    return call(kv, DC_KV_EXPIRY_REMOVE, set, member, 0, cb, data, op);
}

enum dc_status dc_kv_expiry_take_due(struct dc_kv *kv, struct dc_slice set, size_t max,
                                     dc_kv_due_cb cb, void *data, struct dc_op **op)
{
    const struct dc_kv_request req = {.verb = DC_KV_EXPIRY_TAKE_DUE,
                                      .key = set,
                                      .max = max < DC_KV_TAKE_MAX ? max : DC_KV_TAKE_MAX,
                                      .due_cb = cb,
                                      .data = data};

    return submit(kv, &req, op);
}
