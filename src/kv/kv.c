/* Key-value port: checks arguments and hands requests to the backend. */
#include "kv/kv_priv.h"

enum dc_status dc_kv_open(struct dc_loop *loop, const struct dc_kv_opts *opts, struct dc_kv **out,
                          struct dc_error *err)
{
    *out = NULL;
    if (opts->url != NULL) {
        return dc_fail(err, DC_UNSUPPORTED, 0, "this program has no client for the given kv URL");
    }
    return dc_kv_memory_open(loop, opts, out, err);
}

void dc_kv_init(struct dc_kv *kv, const struct dc_kv_backend *backend,
                const struct dc_kv_opts *opts)
{
    kv->backend = backend;
    kv->calls = dc_metrics_counter(opts->metrics, "daarion_kv_calls_total", NULL,
                                   "Calls of the key-value store");
    kv->failed = dc_metrics_counter(opts->metrics, "daarion_kv_failed_total", NULL,
                                    "Calls refused or ended with an error");
}

void dc_kv_count_failure(struct dc_kv *kv, enum dc_status st)
{
    kv->failed->value += st != DC_CANCELED && st != DC_CONFLICT;
}

void dc_kv_close(struct dc_kv *kv, void (*closed)(void *data), void *data)
{
    kv->backend->close(kv, closed, data);
}

static bool is_key(struct dc_slice s)
{
    return s.ptr != NULL && s.len > 0 && s.len <= DC_KV_KEY_MAX_BYTES;
}

static enum dc_status check(const struct dc_kv_request *req)
{
    bool has_name = req->verb != DC_KV_SET && req->verb != DC_KV_GET && req->verb != DC_KV_DELETE &&
                    req->verb != DC_KV_EXPIRY_TAKE_DUE;
    if (!is_key(req->key) || (has_name && !is_key(req->value))) {
        return DC_INVALID;
    }
    if (req->verb == DC_KV_LEASE_ACQUIRE && req->ttl_ms == 0) {
        return DC_INVALID; /* a lease that never ends is none */
    }
    return req->value.len > DC_KV_VALUE_MAX_BYTES ? DC_TOO_LARGE : DC_OK;
}

static enum dc_status submit(struct dc_kv *kv, const struct dc_kv_request *req, struct dc_op **op)
{
    struct dc_op *unused = NULL;
    struct dc_op **out = op == NULL ? &unused : op;
    *out = NULL;
    enum dc_status st = check(req);
    if (st == DC_OK) {
        st = kv->backend->submit(kv, req, out);
    }
    kv->calls->value++;
    if (st != DC_OK) {
        dc_kv_count_failure(kv, st);
    }
    return st;
}

enum dc_status dc_kv_set(struct dc_kv *kv, struct dc_slice key, struct dc_slice value,
                         uint64_t ttl_ms, dc_kv_cb cb, void *data, struct dc_op **op)
{
    const struct dc_kv_request req = {
        .verb = DC_KV_SET, .key = key, .value = value, .ttl_ms = ttl_ms, .cb = cb, .data = data};
    return submit(kv, &req, op);
}

enum dc_status dc_kv_get(struct dc_kv *kv, struct dc_slice key, dc_kv_cb cb, void *data,
                         struct dc_op **op)
{
    const struct dc_kv_request req = {.verb = DC_KV_GET, .key = key, .cb = cb, .data = data};
    return submit(kv, &req, op);
}

enum dc_status dc_kv_delete(struct dc_kv *kv, struct dc_slice key, dc_kv_cb cb, void *data,
                            struct dc_op **op)
{
    const struct dc_kv_request req = {.verb = DC_KV_DELETE, .key = key, .cb = cb, .data = data};
    return submit(kv, &req, op);
}

enum dc_status dc_kv_lease_acquire(struct dc_kv *kv, struct dc_slice name, struct dc_slice holder,
                                   uint64_t ttl_ms, dc_kv_cb cb, void *data, struct dc_op **op)
{
    const struct dc_kv_request req = {.verb = DC_KV_LEASE_ACQUIRE,
                                      .key = name,
                                      .value = holder,
                                      .ttl_ms = ttl_ms,
                                      .cb = cb,
                                      .data = data};
    return submit(kv, &req, op);
}

enum dc_status dc_kv_lease_release(struct dc_kv *kv, struct dc_slice name, struct dc_slice holder,
                                   dc_kv_cb cb, void *data, struct dc_op **op)
{
    const struct dc_kv_request req = {
        .verb = DC_KV_LEASE_RELEASE, .key = name, .value = holder, .cb = cb, .data = data};
    return submit(kv, &req, op);
}

enum dc_status dc_kv_expiry_add(struct dc_kv *kv, struct dc_slice set, struct dc_slice member,
                                uint64_t ttl_ms, dc_kv_cb cb, void *data, struct dc_op **op)
{
    const struct dc_kv_request req = {.verb = DC_KV_EXPIRY_ADD,
                                      .key = set,
                                      .value = member,
                                      .ttl_ms = ttl_ms,
                                      .cb = cb,
                                      .data = data};
    return submit(kv, &req, op);
}

enum dc_status dc_kv_expiry_remove(struct dc_kv *kv, struct dc_slice set, struct dc_slice member,
                                   dc_kv_cb cb, void *data, struct dc_op **op)
{
    const struct dc_kv_request req = {
        .verb = DC_KV_EXPIRY_REMOVE, .key = set, .value = member, .cb = cb, .data = data};
    return submit(kv, &req, op);
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
