/* Finding and checking the token of a request. */
#include "auth/identity.h"

#include <openssl/crypto.h>

/* Subprotocols "…, bearer, <token>, …": true when bearer is among them; *token is what follows it,
 * NULL when nothing does. */
static bool find_subprotocol(const struct dc_http_request *r, struct dc_slice *token)
{
    struct dc_slice protocols = dc_http_header(r, DC_S("sec-websocket-protocol"));
    struct dc_slice item;
    *token = DC_SLICE_NULL;
    while (dc_slice_take_token(&protocols, ',', &item)) {
        if (dc_slice_eq(dc_slice_trim(item), DC_S("bearer"))) {
            if (dc_slice_take_token(&protocols, ',', &item)) {
                *token = dc_slice_trim(item);
            }
            return true;
        }
    }
    return false;
}

bool dc_offers_bearer(const struct dc_http_request *r)
{
    struct dc_slice token;
    return find_subprotocol(r, &token);
}

/* What stands where a token may stand. */
struct found {
    struct dc_slice token;
    bool is_there, are_several; /* several: different ones */
};

static void note(struct found *f, struct dc_slice token)
{
    f->are_several = f->are_several || (f->is_there && !dc_slice_eq(f->token, token));
    f->is_there = true;
    f->token = token;
}

static struct found find_token(struct dc_http_request *r)
{
    struct found f = {0};
    struct dc_slice head = dc_slice_trim(dc_http_header(r, DC_S("authorization")));
    struct dc_slice query = dc_http_query(r);
    struct dc_slice token;
    if (head.len > 0) {
        bool is_bearer =
            dc_slice_take_token(&head, ' ', &token) && dc_slice_ieq(token, DC_S("bearer"));
        /* Another scheme: there is something, and it is not valid. */
        note(&f, is_bearer ? dc_slice_trim(head) : DC_S("?"));
    }
    if (dc_query_get(query, DC_S("token"), dc_http_arena(r), &token)) {
        note(&f, token);
    }
    if (dc_query_get(query, DC_S("access_token"), dc_http_arena(r), &token)) {
        note(&f, token);
    }
    if (find_subprotocol(r, &token) && token.ptr != NULL) {
        note(&f, token);
    }
    return f;
}

/* .ptr NULL: out of memory. */
static struct dc_slice default_username(struct dc_arena *arena, struct dc_slice user_id)
{
    struct dc_slice tail = user_id;
    struct dc_strbuf name = {0};
    if (tail.len > 4) {
        tail = dc_slice_make(tail.ptr + tail.len - 4, 4);
    }
    while (!dc_text_is_valid(tail)) {
        tail = dc_slice_make(tail.ptr + 1, tail.len - 1); /* never half a character */
    }
    dc_strbuf_add(&name, DC_S("User-"));
    dc_strbuf_add(&name, tail);
    struct dc_slice out =
        dc_strbuf_ok(&name) ? dc_arena_dup(arena, dc_strbuf_slice(&name)) : DC_SLICE_NULL;
    dc_strbuf_free(&name);
    return out;
}

enum dc_status dc_identify(const struct dc_auth *auth, struct dc_http_request *r,
                           struct dc_identity *out, struct dc_error *err)
{
    struct found found = find_token(r);
    struct dc_claims claims = {0};
    *out = (struct dc_identity){0};
    if (!found.is_there) {
        return DC_OK;
    }
    if (found.are_several) {
        return dc_fail(err, DC_UNAUTHORIZED, 0, "two different tokens were given");
    }
    if (auth->tokens == NULL) {
        return dc_fail(err, DC_UNAUTHORIZED, 0, "no token is accepted here");
    }
    enum dc_status st =
        dc_tokens_verify(auth->tokens, found.token, dc_utc_now(), dc_http_arena(r), &claims, err);
    if (st != DC_OK) {
        return st;
    }
    out->user_id = claims.sub;
    out->username =
        claims.name.len > 0 ? claims.name : default_username(dc_http_arena(r), claims.sub);
    if (out->username.ptr == NULL) {
        return dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
    }
    out->roles = claims.roles;
    out->expires_at = claims.expires_at;
    out->is_verified = true;
    return DC_OK;
}

static bool take_claim(struct dc_arena *arena, struct dc_slice claimed, struct dc_identity *id,
                       struct dc_error *err)
{
    if (claimed.len == 0) {
        if (id->user_id.len == 0) {
            id->user_id = DC_S("anonymous");
            id->username = DC_S("Anonymous");
        }
        return true;
    }
    if (!dc_user_id_is_valid(claimed)) {
        (void)dc_fail(err, DC_INVALID, 0, "user_id: must be 1 to %d bytes without blanks",
                      DC_USER_ID_MAX_BYTES);
        return false;
    }
    struct dc_slice user_id = dc_arena_dup(arena, claimed);
    struct dc_slice username = default_username(arena, claimed);
    if (user_id.ptr == NULL || username.ptr == NULL) {
        (void)dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
        return false;
    }
    id->user_id = user_id;
    id->username = username;
    return true;
}

static bool fail_mismatch(struct dc_error *err)
{
    (void)dc_fail_code(err, DC_FORBIDDEN, "user_mismatch", "user_id differs from the token's");
    return false;
}

bool dc_identity_is(const struct dc_identity *id, struct dc_slice author, struct dc_error *err)
{
    return author.len == 0 || dc_slice_eq(author, id->user_id) || fail_mismatch(err);
}

bool dc_identity_claim(const struct dc_auth *auth, struct dc_arena *arena, struct dc_slice claimed,
                       struct dc_identity *id, struct dc_error *err)
{
    if (id->is_verified) {
        if (claimed.len > 0 && !dc_slice_eq(claimed, id->user_id)) {
            return fail_mismatch(err);
        }
        return true;
    }
    if (!auth->is_open) {
        (void)dc_fail(err, DC_UNAUTHORIZED, 0, "a token is needed");
        return false;
    }
    return take_claim(arena, claimed, id, err);
}

static void refuse(struct dc_http_request *r, const struct dc_error *err)
{
    if (err->status == DC_INVALID) {
        struct dc_problems problems = {0};
        dc_problem_add(&problems, "user_id", "invalid_format",
                       "must be 1 to %d bytes without blanks", DC_USER_ID_MAX_BYTES);
        dc_http_reply_problems(r, &problems);
    } else {
        dc_http_reply_error(r, err);
    }
}

bool dc_allow_public(const struct dc_auth *auth, struct dc_http_request *r)
{
    struct dc_identity who;
    struct dc_error err = {0};
    if (dc_identify(auth, r, &who, &err) == DC_OK) {
        return true;
    }
    dc_http_reply_error(r, &err);
    return false;
}

bool dc_require_token(const struct dc_auth *auth, struct dc_http_request *r)
{
    struct dc_identity who;
    struct dc_error err = {0};
    enum dc_status st = dc_identify(auth, r, &who, &err);
    if (st == DC_OK && !who.is_verified && !auth->is_open) {
        st = dc_fail(&err, DC_UNAUTHORIZED, 0, "a token is needed");
    }
    if (st != DC_OK) {
        refuse(r, &err);
    }
    return st == DC_OK;
}

bool dc_require_identity(const struct dc_auth *auth, struct dc_http_request *r,
                         struct dc_slice claimed, struct dc_identity *out)
{
    struct dc_error err = {0};
    if (dc_identify(auth, r, out, &err) != DC_OK ||
        !dc_identity_claim(auth, dc_http_arena(r), claimed, out, &err)) {
        refuse(r, &err);
        return false;
    }
    return true;
}

bool dc_require_author(struct dc_http_request *r, const struct dc_identity *who,
                       struct dc_slice author)
{
    struct dc_error err = {0};
    if (dc_identity_is(who, author, &err)) {
        return true;
    }
    refuse(r, &err);
    return false;
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
