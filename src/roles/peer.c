/* Calls to another role's /internal interface. */
#include "roles/peer.h"

#include "base/mem.h"
#include "net/http_client.h"

struct dc_peer {
    struct dc_ctx *ctx;
    const char *name_z;
    const char *url_z;
    struct dc_http_client *client;
};

struct calling {
    const char *name_z;
    bool takes_array;
    dc_peer_cb cb;
    void *data;
};

enum dc_status dc_peer_create(struct dc_ctx *ctx, const char *name_z, const char *url_z,
                              struct dc_peer **out, struct dc_error *err)
{
    struct dc_http_client *client;
    enum dc_status st = dc_http_client_create(ctx->loop, &client, err);
    if (st != DC_OK) {
        return st;
    }
    struct dc_peer *p = dc_calloc(1, sizeof(*p));
    *p = (struct dc_peer){ctx, name_z, url_z, client};
    *out = p;
    return DC_OK;
}

enum dc_status dc_peer_open_gateway(struct dc_ctx *ctx, struct dc_peer **out, struct dc_error *err)
{
    const char *url_z = ctx->settings->matrix_gateway_url;
    *out = NULL;
    if (url_z == NULL && !(ctx->is_combined && ctx->settings->synapse_url != NULL)) {
        return DC_OK;
    }
    if (ctx->auth.internal_key.len == 0) {
        return dc_fail(err, DC_CONFIG, 0,
                       "MATRIX_GATEWAY_URL is set, so INTERNAL_API_KEY is needed: the same as "
                       "matrix-gateway's");
    }
    return dc_peer_create(ctx, "matrix-gateway", url_z, out, err);
}

void dc_peer_close(struct dc_peer *p)
{
    if (p != NULL) {
        dc_http_client_close(p->client);
        dc_free(p);
    }
}

/* --- answers --- */

/* Codes of our own that go on to the caller's caller; their texts are ours too. */
static const char *known_code(struct dc_slice code)
{
    static const char *const known[] = {
        "alias_taken",
        "account_taken",
        "chat_not_bridged",
        "matrix_bad_answer",
        "matrix_forbidden",
        "matrix_misconfigured",
        "matrix_not_configured",
        "matrix_refused",
        "matrix_room_gone",
        "matrix_timeout",
        "matrix_token_refused",
        "matrix_too_large",
        "matrix_unavailable",
        "matrix_user_deactivated",
        "no_application_service",
        "not_provisioned",
        "rate_limited",
        "room_not_found",
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(known); i++) {
        if (dc_slice_eq(dc_slice_z(known[i]), code)) {
            return known[i];
        }
    }
    return NULL;
}

static enum dc_status fail_unavailable(const struct calling *c, const char *why_z,
                                       struct dc_error *err)
{
    return dc_fail_code(err, DC_UNAVAILABLE, "peer_unavailable", "%s %s", c->name_z, why_z);
}

static enum dc_status read_refusal(const struct calling *c, int http_status, const json_t *json,
                                   struct dc_error *err)
{
    struct dc_slice detail = dc_json_text(json, "detail");
    const char *code = known_code(dc_json_text(json, "error"));
    enum dc_status st = dc_status_from_http(http_status);
    if (detail.ptr == NULL) {
        return fail_unavailable(c, "gives no answer of ours (is its URL right?)", err);
    }
    if (st == DC_UNAUTHORIZED && code == NULL) {
        return fail_unavailable(c, "refuses INTERNAL_API_KEY: both need the same", err);
    }
    if (code != NULL) {
        return dc_fail_code(err, st, code, "%.*s", DC_SLICE_ARG(detail));
    }
    return dc_fail(err, st, 0, "%s: %.*s", c->name_z, DC_SLICE_ARG(detail));
}

static enum dc_status read_answer(const struct calling *c, enum dc_status st,
                                  const struct dc_http_answer *answer, const struct dc_error *cause,
                                  json_t **json, struct dc_error *err)
{
    if (st == DC_TIMEOUT) {
        return dc_fail_code(err, DC_TIMEOUT, "peer_timeout", "%s did not answer in time",
                            c->name_z);
    }
    if (st != DC_OK) {
        if (st != DC_CANCELED && st != DC_CLOSED) {
            return fail_unavailable(c, "cannot be reached", err);
        }
        *err = *cause;
        return st;
    }
    DC_ASSERT(answer != NULL); /* there is one with DC_OK */
    if (dc_json_parse(answer->body, json, err) != DC_OK ||
        !(json_is_object(*json) || (c->takes_array && json_is_array(*json)))) {
        return fail_unavailable(c, "gives no JSON (is its URL right?)", err);
    }
    if (answer->http_status < 200 || answer->http_status > 299) {
        return read_refusal(c, answer->http_status, *json, err);
    }
    return DC_OK;
}

static void on_answer(void *data, enum dc_status st, const struct dc_http_answer *answer,
                      const struct dc_error *cause)
{
    struct calling *c = data;
    json_t *json = NULL;
    struct dc_error err = {0};
    int64_t retry_after_ms = answer != NULL ? answer->retry_after_ms : -1;
    st = read_answer(c, st, answer, cause, &json, &err);
    c->cb(c->data, st, st == DC_OK ? json : NULL, retry_after_ms, &err);
    json_decref(json);
    dc_free(c);
}

/* --- calls --- */

static const char *as_z(struct dc_strbuf *text)
{
    dc_strbuf_add_char(text, '\0');
    return text->ptr;
}

static enum dc_status submit(struct dc_peer *p, const struct dc_peer_call *call,
                             struct dc_strbuf *url, struct dc_strbuf *key, struct dc_error *err)
{
    const char *base_z = p->url_z != NULL ? p->url_z : p->ctx->internal_url;
    if (base_z[0] == '\0') {
        return dc_fail_code(err, DC_UNAVAILABLE, "peer_unavailable",
                            "%s is starting: the internal listener is not open yet", p->name_z);
    }
    struct dc_slice base = dc_slice_z(base_z);
    dc_strbuf_add(url,
                  dc_slice_make(base.ptr, base.len - (dc_slice_ends(base, DC_S("/")) ? 1 : 0)));
    dc_strbuf_add(url, call->path);
    dc_strbuf_add(key, DC_S("X-Internal-API-Key: "));
    dc_strbuf_add(key, p->ctx->auth.internal_key);
    const char *url_z = as_z(url);
    const char *key_z = as_z(key);
    if (!dc_strbuf_ok(url) || !dc_strbuf_ok(key)) {
        return dc_fail(err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    }
    const char *const headers[] = {key_z, "Content-Type: application/json"};
    const struct dc_http_call http = {.method_z = call->method_z,
                                      .url_z = url_z,
                                      .headers = headers,
                                      .n_headers = DC_ARRAY_LEN(headers),
                                      .body = call->body,
                                      .deadline_ms = call->deadline_ms,
                                      .max_response_bytes = call->max_response_bytes};
    struct calling *c = dc_calloc(1, sizeof(*c));
    *c = (struct calling){p->name_z, call->takes_array, call->cb, call->data};
    enum dc_status st = dc_http_client_call(p->client, &http, on_answer, c, NULL, err);
    if (st != DC_OK) {
        dc_free(c);
    }
    return st;
}

enum dc_status dc_peer_call(struct dc_peer *p, const struct dc_peer_call *call,
                            struct dc_error *err)
{
    struct dc_strbuf url = {0};
    struct dc_strbuf key = {0};
    enum dc_status st = submit(p, call, &url, &key, err);
    if (key.ptr != NULL) {
        dc_wipe(key.ptr, key.len);
    }
    dc_strbuf_free(&url);
    dc_strbuf_free(&key);
    return st;
}
