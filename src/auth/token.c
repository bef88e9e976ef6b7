/* Access tokens by cjose.  The text is checked before cjose sees it: three parts of strict
 * base64url (cjose asserts that padding stands at the end, so a stranger could end the process),
 * and a header of {"alg":"HS256"} (typ may follow), so `none`, RS256-with-our-secret and crit
 * headers end here. */
#include "auth/token.h"

#include "base/encoding.h"
#include "base/input.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"

#include <cjose/cjose.h>
#include <openssl/evp.h>

#define TOKEN_MIN_SECRET 16
#define TOKEN_CACHE_MAX  8192
#define TOKEN_DIGEST_LEN 32
#define TOKEN_SKEW_MS    30000
#define TOKEN_ISSUER     "daarion-auth"
#define TOKEN_TYPE       "access"
#define TOKEN_MAX_TIME_S 253402300799.0 /* the end of the year 9999 */

/* A token that has been verified: its claims, until exp. The digest is the key of the map. */
struct token_entry {
    uint8_t digest[TOKEN_DIGEST_LEN];
    struct dc_claims claims; /* slices point into text */
    char text[];
};

struct dc_tokens {
    cjose_jwk_t *key;
    struct dc_map cache;
    struct token_entry *ring[TOKEN_CACHE_MAX]; /* oldest is replaced first */
    size_t ring_next;
};

bool dc_user_id_is_valid(struct dc_slice id)
{
    return id.len <= DC_USER_ID_MAX_BYTES && dc_id_is_valid(id);
}

enum dc_status dc_tokens_create(struct dc_slice secret, struct dc_tokens **out,
                                struct dc_error *err)
{
    *out = NULL;
    if (secret.len < TOKEN_MIN_SECRET) {
        return dc_fail(err, DC_CONFIG, 0, "JWT_SECRET must have at least %d bytes",
                       TOKEN_MIN_SECRET);
    }
    struct dc_tokens *t = dc_calloc(1, sizeof(*t));
    cjose_err cerr = {0};
    t->key = cjose_jwk_create_oct_spec((const uint8_t *)secret.ptr, secret.len, &cerr);
    if (t->key == NULL) {
        dc_free(t);
        return dc_fail(err, DC_INTERNAL, (int)cerr.code, "cannot make the signing key");
    }
    uint64_t seed[2];
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&t->cache, seed);
    *out = t;
    return DC_OK;
}

void dc_tokens_destroy(struct dc_tokens *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < TOKEN_CACHE_MAX; i++) {
        dc_free(t->ring[i]);
    }
    dc_map_free(&t->cache);
    cjose_jwk_release(t->key); /* wipes the key */
    dc_free(t);
}

/* --- signing --- */

static void write_roles(struct dc_jsonw *w, struct dc_slice roles)
{
    struct dc_slice role;
    dc_jsonw_array(w);
    while (dc_slice_take_token(&roles, ',', &role)) {
        dc_jsonw_text(w, role);
    }
    dc_jsonw_end(w);
}

enum dc_status dc_tokens_sign(struct dc_tokens *t, const struct dc_claims *claims,
                              struct dc_strbuf *out, struct dc_error *err)
{
    struct dc_strbuf payload = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &payload);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "sub", claims->sub);
    dc_jsonw_key_text(&w, "name", claims->name);
    dc_jsonw_key(&w, "roles");
    write_roles(&w, claims->roles);
    dc_jsonw_key_text(&w, "type", DC_S(TOKEN_TYPE));
    dc_jsonw_key_text(&w, "iss", DC_S(TOKEN_ISSUER));
    dc_jsonw_key_i64(&w, "iat", claims->issued_at.ms / 1000);
    dc_jsonw_key_i64(&w, "exp", claims->expires_at.ms / 1000);
    dc_jsonw_end(&w);

    enum dc_status st = DC_INTERNAL;
    cjose_err cerr = {0};
    cjose_header_t *head = NULL;
    cjose_jws_t *jws = NULL;
    const char *compact = NULL;
    if (!dc_strbuf_ok(&payload)) {
        st = dc_fail(err, DC_NO_MEMORY, 0, "cannot write the token");
        goto done;
    }
    head = cjose_header_new(&cerr);
    if (head == NULL || !cjose_header_set(head, CJOSE_HDR_ALG, CJOSE_HDR_ALG_HS256, &cerr)) {
        st = dc_fail(err, DC_INTERNAL, (int)cerr.code, "cannot make the token's head");
        goto done;
    }
    jws = cjose_jws_sign(t->key, head, (const uint8_t *)payload.ptr, payload.len, &cerr);
    if (jws == NULL || !cjose_jws_export(jws, &compact, &cerr)) {
        st = dc_fail(err, DC_INTERNAL, (int)cerr.code, "cannot sign the token");
        goto done;
    }
    dc_strbuf_add_z(out, compact);
    st = dc_strbuf_ok(out) ? DC_OK : dc_fail(err, DC_NO_MEMORY, 0, "cannot write the token");
done:
    cjose_jws_release(jws);
    cjose_header_release(head);
    dc_strbuf_free(&payload);
    return st;
}

/* --- verifying --- */

static enum dc_status refuse(struct dc_error *err, const char *why)
{
    return dc_fail(err, DC_UNAUTHORIZED, 0, "the token is not valid: %s", why);
}

/* header.payload.signature (RFC 7515 §3.1), each of base64url and not empty. */
static bool is_compact_jws(struct dc_slice token)
{
    uint8_t bytes[DC_TOKEN_MAX_BYTES];
    struct dc_slice part;
    size_t n = 0;
    while (dc_slice_take_token(&token, '.', &part)) {
        size_t len = 0;
        if (!dc_base64url_decode(part, bytes, sizeof(bytes), &len) || len == 0) {
            return false;
        }
        n++;
    }
    return n == 3;
}

static bool header_is_hs256(struct dc_slice token)
{
    struct dc_slice head;
    if (!dc_slice_take_token(&token, '.', &head) || head.len > 512) {
        return false;
    }
    uint8_t text[512];
    size_t len = 0;
    json_t *object = NULL;
    if (!dc_base64url_decode(head, text, sizeof(text), &len) ||
        dc_json_parse(dc_slice_make(text, len), &object, NULL) != DC_OK) {
        return false;
    }
    bool ok = json_is_object(object) && dc_slice_eq(dc_json_text(object, "alg"), DC_S("HS256")) &&
              json_object_get(object, "crit") == NULL;
    json_decref(object);
    return ok;
}

/* Roles of the token as comma-separated text; anything that is no plain word is left out. */
static void collect_roles(const json_t *roles, struct dc_strbuf *out)
{
    size_t i;
    json_t *item;
    json_array_foreach(roles, i, item)
    {
        struct dc_slice role = dc_slice_make(json_string_value(item), json_string_length(item));
        if (role.ptr != NULL && dc_slug_is_valid(role)) {
            if (out->len > 0) {
                dc_strbuf_add_char(out, ',');
            }
            dc_strbuf_add(out, role);
        }
    }
}

static struct token_entry *entry_create(const uint8_t digest[TOKEN_DIGEST_LEN],
                                        const struct dc_claims *c)
{
    struct token_entry *e = dc_calloc(1, sizeof(*e) + c->sub.len + c->name.len + c->roles.len + 1);
    char *at = e->text;
    const struct dc_slice *from[] = {&c->sub, &c->name, &c->roles};
    struct dc_slice *to[] = {&e->claims.sub, &e->claims.name, &e->claims.roles};
    for (size_t i = 0; i < DC_ARRAY_LEN(from); i++) {
        if (from[i]->len > 0) {
            memcpy(at, from[i]->ptr, from[i]->len);
        }
        *to[i] = dc_slice_make(at, from[i]->len);
        at += from[i]->len;
    }
    e->claims.issued_at = c->issued_at;
    e->claims.expires_at = c->expires_at;
    memcpy(e->digest, digest, TOKEN_DIGEST_LEN);
    return e;
}

static void remember(struct dc_tokens *t, struct token_entry *e)
{
    struct token_entry *old = t->ring[t->ring_next];
    if (old != NULL) {
        (void)dc_map_remove(&t->cache, dc_slice_make(old->digest, TOKEN_DIGEST_LEN));
        dc_free(old);
    }
    t->ring[t->ring_next] = e;
    t->ring_next = (t->ring_next + 1) % TOKEN_CACHE_MAX;
    (void)dc_map_put(&t->cache, dc_slice_make(e->digest, TOKEN_DIGEST_LEN), e);
}

/* A NumericDate (RFC 7519 §2). */
static bool read_time(const json_t *value, struct dc_utc *out)
{
    double seconds = json_number_value(value);
    if (!json_is_number(value) || !(seconds >= 0.0 && seconds <= TOKEN_MAX_TIME_S)) {
        return false;
    }
    out->ms = (int64_t)(seconds * 1000.0);
    return true;
}

/* Who holds the secret may leave a claim out; what stands there must be right. */
static bool is_missing_or(const json_t *object, const char *key_z, struct dc_slice want)
{
    return json_object_get(object, key_z) == NULL || dc_slice_eq(dc_json_text(object, key_z), want);
}

/* What is wrong with the claims, or NULL. roles is left to the caller. */
static const char *check_claims(const json_t *object, struct dc_utc now, struct dc_claims *c)
{
    const json_t *iat = json_object_get(object, "iat");
    const json_t *nbf = json_object_get(object, "nbf");
    struct dc_utc not_before = {0};
    c->sub = dc_json_text(object, "sub");
    c->name = dc_json_text(object, "name");
    if (!dc_user_id_is_valid(c->sub)) {
        return "sub is missing or malformed";
    }
    if (!is_missing_or(object, "type", DC_S(TOKEN_TYPE))) {
        return "it is no access token";
    }
    if (!is_missing_or(object, "iss", DC_S(TOKEN_ISSUER))) {
        return "it has another issuer";
    }
    if (!read_time(json_object_get(object, "exp"), &c->expires_at)) {
        return "exp is missing or malformed";
    }
    if (iat != NULL && !read_time(iat, &c->issued_at)) {
        return "iat is malformed";
    }
    if (c->issued_at.ms > now.ms + TOKEN_SKEW_MS) {
        return "it was issued in the future";
    }
    /* Looked at once, when the token is new here: what holds now holds later. */
    if (nbf != NULL && !read_time(nbf, &not_before)) {
        return "nbf is malformed";
    }
    if (not_before.ms > now.ms + TOKEN_SKEW_MS) {
        return "it does not hold yet";
    }
    if (c->name.len > DC_TOKEN_NAME_MAX_BYTES || !dc_line_is_valid(c->name)) {
        c->name = DC_SLICE_NULL;
    }
    return NULL;
}

/* The entry of a payload whose signature holds; NULL: refused. */
static struct token_entry *read_claims(const uint8_t digest[TOKEN_DIGEST_LEN],
                                       struct dc_slice payload, struct dc_utc now,
                                       struct dc_error *err)
{
    json_t *object = NULL;
    struct token_entry *e = NULL;
    struct dc_strbuf roles = {0};
    struct dc_claims c = {0};
    const char *wrong = "its payload is no JSON object";
    if (dc_json_parse(payload, &object, NULL) == DC_OK && json_is_object(object)) {
        wrong = check_claims(object, now, &c);
    }
    if (wrong != NULL) {
        (void)refuse(err, wrong);
    } else {
        collect_roles(json_object_get(object, "roles"), &roles);
        c.roles = dc_strbuf_slice(&roles);
        e = entry_create(digest, &c);
    }
    json_decref(object);
    dc_strbuf_free(&roles);
    return e;
}

static struct token_entry *verify_signature(struct dc_tokens *t,
                                            const uint8_t digest[TOKEN_DIGEST_LEN],
                                            struct dc_slice token, struct dc_utc now,
                                            struct dc_error *err)
{
    struct token_entry *e = NULL;
    cjose_err cerr = {0};
    cjose_jws_t *jws = cjose_jws_import(token.ptr, token.len, &cerr);
    uint8_t *plain = NULL;
    size_t plain_len = 0;
    if (jws == NULL) {
        (void)refuse(err, "it is malformed");
    } else if (!cjose_jws_verify(jws, t->key, &cerr)) {
        (void)refuse(err, "its signature is wrong");
    } else if (!cjose_jws_get_plaintext(jws, &plain, &plain_len, &cerr)) {
        (void)refuse(err, "it has no payload");
    } else {
        e = read_claims(digest, dc_slice_make(plain, plain_len), now, err);
    }
    cjose_jws_release(jws);
    return e;
}

enum dc_status dc_tokens_verify(struct dc_tokens *t, struct dc_slice token, struct dc_utc now,
                                struct dc_arena *arena, struct dc_claims *claims,
                                struct dc_error *err)
{
    uint8_t digest[TOKEN_DIGEST_LEN];
    if (token.len == 0 || token.len > DC_TOKEN_MAX_BYTES) {
        return refuse(err, "its length is out of bounds");
    }
    if (EVP_Digest(token.ptr, token.len, digest, NULL, EVP_sha256(), NULL) != 1) {
        return dc_fail(err, DC_INTERNAL, 0, "cannot hash the token");
    }
    struct token_entry *e = dc_map_get(&t->cache, dc_slice_make(digest, sizeof(digest)));
    if (e == NULL) {
        if (!is_compact_jws(token)) {
            return refuse(err, "it is malformed");
        }
        if (!header_is_hs256(token)) {
            return refuse(err, "only HS256 is accepted");
        }
        e = verify_signature(t, digest, token, now, err);
        if (e == NULL) {
            return DC_UNAUTHORIZED;
        }
        remember(t, e);
    }
    if (e->claims.expires_at.ms <= now.ms) {
        return dc_fail_code(err, DC_UNAUTHORIZED, "token_expired", "the token has expired");
    }
    claims->sub = dc_arena_dup(arena, e->claims.sub);
    claims->name = dc_arena_dup(arena, e->claims.name);
    claims->roles = dc_arena_dup(arena, e->claims.roles);
    claims->issued_at = e->claims.issued_at;
    claims->expires_at = e->claims.expires_at;
    if (claims->sub.ptr == NULL || claims->name.ptr == NULL || claims->roles.ptr == NULL) {
        return dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
    }
    return DC_OK;
}
