/* Finding and checking the token of a request. */
#include "auth/identity.h"

#include <openssl/crypto.h>

/* Where a token may stand, strongest first. found is false when there is none anywhere. */
static bool find_token(struct dc_http_request *r, struct dc_slice *token, bool *by_subprotocol)
{
    struct dc_slice head = dc_http_header(r, DC_S("authorization"));
    struct dc_slice scheme;
    *by_subprotocol = false;
    if (head.len > 0) {
        struct dc_slice rest = dc_slice_trim(head);
        if (dc_slice_take_token(&rest, ' ', &scheme) && dc_slice_ieq(scheme, DC_S("bearer"))) {
            *token = dc_slice_trim(rest);
            return true;
        }
        *token = DC_S("?"); /* another scheme: there is something, and it is not valid */
        return true;
    }
    struct dc_slice query = dc_http_query(r);
    if (dc_query_get(query, DC_S("token"), dc_http_arena(r), token) ||
        dc_query_get(query, DC_S("access_token"), dc_http_arena(r), token)) {
        return true;
    }
    struct dc_slice protocols = dc_http_header(r, DC_S("sec-websocket-protocol"));
    struct dc_slice item;
    bool next_is_token = false;
    while (dc_slice_take_token(&protocols, ',', &item)) {
        item = dc_slice_trim(item);
        if (next_is_token) {
            *token = item;
            *by_subprotocol = true;
            return true;
        }
        next_is_token = dc_slice_eq(item, DC_S("bearer"));
    }
    return false;
}

static struct dc_slice default_username(struct dc_arena *arena, struct dc_slice user_id)
{
    struct dc_slice tail = user_id;
    struct dc_strbuf name = {0};
    if (tail.len > 4) {
        tail = dc_slice_make(tail.ptr + tail.len - 4, 4);
    }
    dc_strbuf_add(&name, DC_S("User-"));
    dc_strbuf_add(&name, dc_text_is_valid(tail) ? tail : DC_SLICE_NULL);
    struct dc_slice out = dc_arena_dup(arena, dc_strbuf_slice(&name));
    dc_strbuf_free(&name);
    return out;
}

enum dc_status dc_identify(const struct dc_auth *auth, struct dc_http_request *r,
                           struct dc_identity *out, struct dc_error *err)
{
    struct dc_slice token;
    bool by_subprotocol;
    *out = (struct dc_identity){0};
    if (!find_token(r, &token, &by_subprotocol)) {
        return DC_OK;
    }
    struct dc_claims claims = {0};
    enum dc_status st =
        dc_tokens_verify(auth->tokens, token, dc_utc_now(), dc_http_arena(r), &claims, err);
    if (st != DC_OK) {
        return st;
    }
    out->user_id = claims.sub;
    out->username =
        claims.name.len > 0 ? claims.name : default_username(dc_http_arena(r), claims.sub);
    out->roles = claims.roles;
    out->expires_at = claims.expires_at;
    out->is_verified = true;
    out->by_subprotocol = by_subprotocol;
    return DC_OK;
}

bool dc_identity_claim(const struct dc_auth *auth, struct dc_arena *arena, struct dc_slice claimed,
                       struct dc_identity *id, struct dc_error *err)
{
    if (id->is_verified) {
        if (claimed.len > 0 && !dc_slice_eq(claimed, id->user_id)) {
            (void)dc_fail_code(err, DC_FORBIDDEN, "user_mismatch",
                               "user_id differs from the token's");
            return false;
        }
        return true;
    }
    if (!auth->is_open) {
        (void)dc_fail(err, DC_UNAUTHORIZED, 0, "a token is needed");
        return false;
    }
    if (claimed.len > 0) {
        id->user_id = dc_arena_dup(arena, claimed);
        id->username = default_username(arena, claimed);
    } else if (id->user_id.len == 0) {
        id->user_id = DC_S("anonymous");
        id->username = DC_S("Anonymous");
    }
    if (id->user_id.ptr == NULL || id->username.ptr == NULL) {
        (void)dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
        return false;
    }
    return true;
}

bool dc_require_identity(const struct dc_auth *auth, struct dc_http_request *r,
                         struct dc_slice claimed, struct dc_identity *out)
{
    struct dc_error err = {0};
    if (dc_identify(auth, r, out, &err) != DC_OK ||
        !dc_identity_claim(auth, dc_http_arena(r), claimed, out, &err)) {
        dc_http_reply_error(r, &err);
        return false;
    }
    return true;
}

bool dc_require_internal_key(const struct dc_auth *auth, struct dc_http_request *r)
{
    struct dc_slice key = dc_http_header(r, DC_S("x-internal-api-key"));
    if (key.ptr == NULL) {
        key = dc_http_header(r, DC_S("x-internal-service-token"));
    }
    if (key.len > 0 && key.len == auth->internal_key.len &&
        CRYPTO_memcmp(key.ptr, auth->internal_key.ptr, key.len) == 0) {
        return true;
    }
    struct dc_error err = {0};
    (void)dc_fail(&err, DC_UNAUTHORIZED, 0, "the internal key is needed");
    dc_http_reply_error(r, &err);
    return false;
}
