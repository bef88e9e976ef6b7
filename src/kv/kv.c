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

void dc_kv_close(struct dc_kv *kv, void (*closed)(void *data), void *data)
{
    kv->backend->close(kv, closed, data);
}

static bool is_key(struct dc_slice s)
{
    return s.ptr != NULL && s.len > 0 && s.len <= DC_KV_KEY_MAX_BYTES;
}

static enum dc_status submit(struct dc_kv *kv, const struct dc_kv_request *req, struct dc_op **op)
{
    struct dc_op *unused = NULL;
    struct dc_op **out = op == NULL ? &unused : op;
    *out = NULL;
    if (!is_key(req->key)) {
        return DC_INVALID;
    }
    return kv->backend->submit(kv, req, out);
}

/* For verbs whose second argument is a name too: a holder or a member. */
static enum dc_status submit_named(struct dc_kv *kv, const struct dc_kv_request *req,
                                   struct dc_op **op)
{
    if (!is_key(req->value)) {
        if (op != NULL) {
            *op = NULL;
        }
        return DC_INVALID;
    }
    return submit(kv, req, op);
}

enum dc_status dc_kv_set(struct dc_kv *kv, struct dc_slice key, struct dc_slice value,
                         uint64_t ttl_ms, dc_kv_cb cb, void *data, struct dc_op **op)
{
    if (value.len > DC_KV_VALUE_MAX_BYTES) {
        if (op != NULL) {
            *op = NULL;
        }
        return DC_TOO_LARGE;
    }
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
    if (ttl_ms == 0) {
        if (op != NULL) {
            *op = NULL;
        }
        return DC_INVALID; /* a lease that never ends is none */
    }
    const struct dc_kv_request req = {.verb = DC_KV_LEASE_ACQUIRE,
                                      .key = name,
                                      .value = holder,
                                      .ttl_ms = ttl_ms,
                                      .cb = cb,
                                      .data = data};
    return submit_named(kv, &req, op);
}

enum dc_status dc_kv_lease_release(struct dc_kv *kv, struct dc_slice name, struct dc_slice holder,
                                   dc_kv_cb cb, void *data, struct dc_op **op)
{
    const struct dc_kv_request req = {
        .verb = DC_KV_LEASE_RELEASE, .key = name, .value = holder, .cb = cb, .data = data};
    return submit_named(kv, &req, op);
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
    return submit_named(kv, &req, op);
}

enum dc_status dc_kv_expiry_remove(struct dc_kv *kv, struct dc_slice set, struct dc_slice member,
                                   dc_kv_cb cb, void *data, struct dc_op **op)
{
    const struct dc_kv_request req = {
        .verb = DC_KV_EXPIRY_REMOVE, .key = set, .value = member, .cb = cb, .data = data};
    return submit_named(kv, &req, op);
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
