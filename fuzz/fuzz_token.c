/* Tokens from strangers.  The input as it is: nothing that was not signed by us passes.  Its first
 * line and the rest, signed by us as head and payload: accepted exactly when a plain reading of
 * RFC 7515/7519 and of CONTRACT §9 accepts them, with claims that keep their promises, the second
 * time (from memory) as the first; and never when a bit of the signature is another. */
#include "auth/token.h"
#include "base/encoding.h"
#include "base/input.h"
#include "fuzz.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#define SECRET "a secret that no corpus knows"

static const struct dc_utc now = {1800000000000};

static struct dc_tokens *create(void)
{
    struct dc_tokens *tokens = NULL;
    enum dc_status st = dc_tokens_create(DC_S(SECRET), &tokens, NULL);
    DC_ASSERT(st == DC_OK);
    return tokens;
}

static void check_is_refused(struct dc_tokens *tokens, struct dc_slice token)
{
    struct dc_arena arena;
    struct dc_claims claims;
    struct dc_error err = {.status = DC_OK};
    dc_arena_init(&arena, 256, 0);
    DC_ASSERT(dc_tokens_verify(tokens, token, now, &arena, &claims, &err) == DC_UNAUTHORIZED);
    DC_ASSERT(err.status == DC_UNAUTHORIZED && strlen(dc_error_text(&err)) > 0);
    dc_arena_free(&arena);
}

/* --- the model --- */

static bool is_text(const json_t *object, const char *key, const char *want)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) && json_string_length(value) == strlen(want) &&
           strcmp(json_string_value(value), want) == 0;
}

static bool is_missing_or_text(const json_t *object, const char *key, const char *want)
{
    return json_object_get(object, key) == NULL || is_text(object, key, want);
}

static bool is_time_between(const json_t *value, double least_s, double most_s)
{
    return json_is_number(value) && json_number_value(value) >= least_s &&
           json_number_value(value) <= most_s;
}

static bool is_good_head(struct dc_slice text)
{
    json_t *head = NULL;
    bool ok = text.len <= 512 && dc_json_parse(text, &head, NULL) == DC_OK &&
              json_is_object(head) && is_text(head, "alg", "HS256") &&
              json_object_get(head, "crit") == NULL;
    json_decref(head);
    return ok;
}

static bool is_good_payload(const json_t *p)
{
    const json_t *sub = json_object_get(p, "sub"), *iat = json_object_get(p, "iat");
    double now_s = (double)now.ms / 1000;
    return json_is_object(p) && json_is_string(sub) &&
           dc_user_id_is_valid(dc_slice_make(json_string_value(sub), json_string_length(sub))) &&
           is_missing_or_text(p, "type", "access") &&
           is_missing_or_text(p, "iss", "daarion-auth") &&
           is_time_between(json_object_get(p, "exp"), now_s + 0.001, 253402300799.0) &&
           (iat == NULL || is_time_between(iat, 0, now_s + 30.0009));
}

/* --- signed by us --- */

static void write_signed(struct dc_strbuf *out, struct dc_slice head, struct dc_slice payload)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int mac_len = 0;
    dc_base64url_encode(out, head);
    dc_strbuf_add_char(out, '.');
    dc_base64url_encode(out, payload);
    DC_ASSERT(HMAC(EVP_sha256(), SECRET, (int)strlen(SECRET), (const unsigned char *)out->ptr,
                   out->len, mac, &mac_len) != NULL);
    dc_strbuf_add_char(out, '.');
    dc_base64url_encode(out, dc_slice_make(mac, mac_len));
}

static void check_claims(const struct dc_claims *c, const json_t *payload)
{
    struct dc_slice roles = c->roles, role;
    const char *sub = json_string_value(json_object_get(payload, "sub"));
    DC_ASSERT(dc_user_id_is_valid(c->sub) && dc_slice_eq(c->sub, dc_slice_z(sub)));
    DC_ASSERT(c->name.len <= DC_TOKEN_NAME_MAX_BYTES && dc_text_is_valid(c->name));
    DC_ASSERT(c->expires_at.ms > now.ms && c->issued_at.ms <= now.ms + 30000);
    while (dc_slice_take_token(&roles, ',', &role)) {
        DC_ASSERT(dc_slug_is_valid(role));
    }
}

static void check_accepted(struct dc_tokens *tokens, struct dc_slice token, const json_t *payload)
{
    struct dc_arena arena;
    struct dc_claims c[2];
    struct dc_error err = {.status = DC_OK};
    dc_arena_init(&arena, 256, 0);
    for (size_t i = 0; i < 2; i++) {
        DC_ASSERT(dc_tokens_verify(tokens, token, now, &arena, &c[i], &err) == DC_OK);
        check_claims(&c[i], payload);
    }
    DC_ASSERT(dc_slice_eq(c[0].sub, c[1].sub) && dc_slice_eq(c[0].name, c[1].name) &&
              dc_slice_eq(c[0].roles, c[1].roles) && c[0].issued_at.ms == c[1].issued_at.ms &&
              c[0].expires_at.ms == c[1].expires_at.ms);
    DC_ASSERT(dc_tokens_verify(tokens, token, c[0].expires_at, &arena, &c[1], &err) ==
              DC_UNAUTHORIZED);
    DC_ASSERT(strcmp(dc_error_code(&err), "token_expired") == 0);
    dc_arena_free(&arena);
}

static void check_signed(struct dc_slice head, struct dc_slice text)
{
    struct dc_tokens *tokens = create();
    struct dc_strbuf token = {0};
    json_t *payload = NULL;
    write_signed(&token, head, text);
    bool is_good = token.len <= DC_TOKEN_MAX_BYTES && is_good_head(head) &&
                   dc_json_parse(text, &payload, NULL) == DC_OK && is_good_payload(payload);
    if (is_good) {
        check_accepted(tokens, dc_strbuf_slice(&token), payload);
    } else {
        check_is_refused(tokens, dc_strbuf_slice(&token));
    }
    token.ptr[token.len - 20] = (char)(token.ptr[token.len - 20] == 'A' ? 'B' : 'A');
    check_is_refused(tokens, dc_strbuf_slice(&token));
    json_decref(payload);
    dc_strbuf_free(&token);
    dc_tokens_destroy(tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dc_tokens *strict; /* remembers nothing, as it accepts nothing */
    struct dc_slice rest = dc_slice_make(data, size), head;
    if (strict == NULL) {
        strict = create();
    }
    check_is_refused(strict, rest);
    if (dc_slice_take_token(&rest, '\n', &head) && head.len > 0 && rest.len > 0) {
        check_signed(head, rest);
    }
    return 0;
}
