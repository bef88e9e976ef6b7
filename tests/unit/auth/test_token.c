/* Tokens: what is accepted, and everything that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/token.h"
#include "base/encoding.h"
#include "base/json.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#define SECRET "0123456789abcdef0123456789abcdef"

static const struct dc_utc now = {1800000000000};

struct fixture {
    struct dc_tokens *tokens;
    struct dc_arena arena;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(dc_tokens_create(DC_S(SECRET), &f->tokens, NULL), DC_OK);
    dc_arena_init(&f->arena, 256, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    dc_tokens_destroy(f->tokens);
    dc_arena_free(&f->arena);
    free(f);
    return 0;
}

/* A token made by hand from its three parts, signed as RFC 7515 says. */
static void make_token(const char *header, const char *payload, const char *secret,
                       struct dc_strbuf *out)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int mac_len = 0;
    dc_base64url_encode(out, dc_slice_z(header));
    dc_strbuf_add_char(out, '.');
    dc_base64url_encode(out, dc_slice_z(payload));
    assert_non_null(HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)out->ptr,
                         out->len, mac, &mac_len));
    dc_strbuf_add_char(out, '.');
    dc_base64url_encode(out, dc_slice_make(mac, mac_len));
}

static void a_signed_token_gives_its_claims_back(void **state)
{
    struct fixture *f = *state;
    const struct dc_claims in = {.sub = DC_S("u_1"),
                                 .name = DC_S("Олена \"Мавка\""),
                                 .roles = DC_S("guest,admin"),
                                 .issued_at = now,
                                 .expires_at = {now.ms + 60000}};
    struct dc_strbuf token = {0};
    struct dc_claims out;
    assert_int_equal(dc_tokens_sign(f->tokens, &in, &token, NULL), DC_OK);
    for (int i = 0; i < 2; i++) { /* the second time from the cache */
        assert_int_equal(
            dc_tokens_verify(f->tokens, dc_strbuf_slice(&token), now, &f->arena, &out, NULL),
            DC_OK);
        assert_true(dc_slice_eq(out.sub, in.sub));
        assert_true(dc_slice_eq(out.name, in.name));
        assert_true(dc_slice_eq(out.roles, in.roles));
        assert_int_equal(out.expires_at.ms, in.expires_at.ms);
    }
    dc_strbuf_free(&token);
}

static void a_token_is_refused_from_the_moment_it_expires_also_when_remembered(void **state)
{
    struct fixture *f = *state;
    const struct dc_claims in = {
        .sub = DC_S("u_1"), .issued_at = now, .expires_at = {now.ms + 1000}};
    struct dc_strbuf token = {0};
    struct dc_claims out;
    struct dc_error err = {0};
    assert_int_equal(dc_tokens_sign(f->tokens, &in, &token, NULL), DC_OK);
    struct dc_utc last = {now.ms + 999};
    struct dc_utc end = {now.ms + 1000};
    assert_int_equal(
        dc_tokens_verify(f->tokens, dc_strbuf_slice(&token), last, &f->arena, &out, NULL), DC_OK);
    assert_int_equal(
        dc_tokens_verify(f->tokens, dc_strbuf_slice(&token), end, &f->arena, &out, &err),
        DC_UNAUTHORIZED);
    assert_string_equal(dc_error_code(&err), "token_expired");
    dc_strbuf_free(&token);
}

static void tokens_that_are_not_ours_are_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *what, *header, *payload, *secret;
    } rows[] = {
        {"another secret", "{\"alg\":\"HS256\"}", "{\"sub\":\"u_1\",\"exp\":1900000000}",
         "another secret, another secret"},
        {"alg none", "{\"alg\":\"none\"}", "{\"sub\":\"u_1\",\"exp\":1900000000}", SECRET},
        {"alg NoNe", "{\"alg\":\"NoNe\"}", "{\"sub\":\"u_1\",\"exp\":1900000000}", SECRET},
        {"HS512", "{\"alg\":\"HS512\"}", "{\"sub\":\"u_1\",\"exp\":1900000000}", SECRET},
        {"RS256 with our secret", "{\"alg\":\"RS256\"}", "{\"sub\":\"u_1\",\"exp\":1900000000}",
         SECRET},
        {"no alg", "{\"typ\":\"JWT\"}", "{\"sub\":\"u_1\",\"exp\":1900000000}", SECRET},
        {"crit", "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}",
         "{\"sub\":\"u_1\",\"exp\":1900000000}", SECRET},
        {"header no object", "[\"HS256\"]", "{\"sub\":\"u_1\",\"exp\":1900000000}", SECRET},
        {"payload no object", "{\"alg\":\"HS256\"}", "[1]", SECRET},
        {"payload no JSON", "{\"alg\":\"HS256\"}", "sub=u_1", SECRET},
        {"no sub", "{\"alg\":\"HS256\"}", "{\"exp\":1900000000}", SECRET},
        {"empty sub", "{\"alg\":\"HS256\"}", "{\"sub\":\"\",\"exp\":1900000000}", SECRET},
        {"sub with a blank", "{\"alg\":\"HS256\"}", "{\"sub\":\"u 1\",\"exp\":1900000000}", SECRET},
        {"sub no text", "{\"alg\":\"HS256\"}", "{\"sub\":17,\"exp\":1900000000}", SECRET},
        {"no exp", "{\"alg\":\"HS256\"}", "{\"sub\":\"u_1\"}", SECRET},
        {"exp as text", "{\"alg\":\"HS256\"}", "{\"sub\":\"u_1\",\"exp\":\"1900000000\"}", SECRET},
        {"huge exp", "{\"alg\":\"HS256\"}", "{\"sub\":\"u_1\",\"exp\":1e300}", SECRET},
        {"refresh token", "{\"alg\":\"HS256\"}",
         "{\"sub\":\"u_1\",\"exp\":1900000000,\"type\":\"refresh\"}", SECRET},
        {"another issuer", "{\"alg\":\"HS256\"}",
         "{\"sub\":\"u_1\",\"exp\":1900000000,\"iss\":\"somebody\"}", SECRET},
        {"from the future", "{\"alg\":\"HS256\"}",
         "{\"sub\":\"u_1\",\"exp\":1900000000,\"iat\":1800000031}", SECRET},
        {"not yet", "{\"alg\":\"HS256\"}",
         "{\"sub\":\"u_1\",\"exp\":1900000000,\"nbf\":1800000031}", SECRET},
        {"nbf as text", "{\"alg\":\"HS256\"}",
         "{\"sub\":\"u_1\",\"exp\":1900000000,\"nbf\":\"1700000000\"}", SECRET},
        {"nbf null", "{\"alg\":\"HS256\"}", "{\"sub\":\"u_1\",\"exp\":1900000000,\"nbf\":null}",
         SECRET},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf token = {0};
        struct dc_claims out;
        struct dc_error err = {0};
        make_token(rows[i].header, rows[i].payload, rows[i].secret, &token);
        if (dc_tokens_verify(f->tokens, dc_strbuf_slice(&token), now, &f->arena, &out, &err) !=
            DC_UNAUTHORIZED) {
            fail_msg("accepted: %s", rows[i].what);
        }
        dc_strbuf_free(&token);
    }
}

static void a_token_of_the_original_without_type_and_with_clock_skew_is_accepted(void **state)
{
    struct fixture *f = *state;
    struct dc_strbuf token = {0};
    struct dc_claims out;
    make_token("{\"typ\":\"JWT\",\"alg\":\"HS256\"}",
               "{\"sub\":\"8e2f0b9a-0c9e-4a43-9d1c-000000000000\",\"exp\":1900000000.5,"
               "\"iat\":1800000029,\"nbf\":1800000029,\"roles\":[\"user\",17,\"no role\"]}",
               SECRET, &token);
    assert_int_equal(
        dc_tokens_verify(f->tokens, dc_strbuf_slice(&token), now, &f->arena, &out, NULL), DC_OK);
    assert_true(dc_slice_eq(out.roles, DC_S("user")));
    assert_int_equal(out.name.len, 0);
    dc_strbuf_free(&token);
}

static void a_token_that_held_not_yet_holds_later(void **state)
{
    struct fixture *f = *state;
    struct dc_strbuf token = {0};
    struct dc_claims out;
    make_token("{\"alg\":\"HS256\"}", "{\"sub\":\"u_1\",\"exp\":1900000000,\"nbf\":1800000600}",
               SECRET, &token);
    struct dc_slice text = dc_strbuf_slice(&token);
    const struct dc_utc later = {1800000570000};
    assert_int_equal(dc_tokens_verify(f->tokens, text, now, &f->arena, &out, NULL),
                     DC_UNAUTHORIZED);
    assert_int_equal(dc_tokens_verify(f->tokens, text, later, &f->arena, &out, NULL), DC_OK);
    dc_strbuf_free(&token);
}

static void a_name_that_is_no_line_counts_as_none(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *want;
    } rows[] = {{"Olena", "Olena"},
                {"two\\nlines", ""},
                {"a\\u202Eb", ""},
                {"a\\u2066b", ""},
                {"\\u200Fשלום", "\u200Fשלום"}};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf token = {0};
        struct dc_claims out;
        char payload[200];
        snprintf(payload, sizeof(payload), "{\"sub\":\"u_1\",\"exp\":1900000000,\"name\":\"%s\"}",
                 rows[i].name);
        make_token("{\"alg\":\"HS256\"}", payload, SECRET, &token);
        assert_int_equal(
            dc_tokens_verify(f->tokens, dc_strbuf_slice(&token), now, &f->arena, &out, NULL),
            DC_OK);
        assert_true(dc_slice_eq(out.name, dc_slice_z(rows[i].want)));
        dc_strbuf_free(&token);
    }
}

static void every_change_of_one_character_makes_a_token_invalid(void **state)
{
    struct fixture *f = *state;
    struct dc_strbuf token = {0};
    struct dc_claims out;
    make_token("{\"alg\":\"HS256\"}", "{\"sub\":\"u_1\",\"exp\":1900000000}", SECRET, &token);
    for (size_t i = 0; i < token.len; i++) {
        char was = token.ptr[i];
        /* The lowest bits of the last character of a part may be padding: flip a high one. */
        token.ptr[i] = was == 'A' ? 'h' : 'A';
        assert_int_not_equal(
            dc_tokens_verify(f->tokens, dc_strbuf_slice(&token), now, &f->arena, &out, NULL),
            DC_OK);
        token.ptr[i] = was;
    }
    for (size_t len = 0; len < token.len; len++) {
        assert_int_not_equal(
            dc_tokens_verify(f->tokens, dc_slice_make(token.ptr, len), now, &f->arena, &out, NULL),
            DC_OK);
    }
    dc_strbuf_free(&token);
}

static void more_tokens_than_are_remembered_are_all_verified(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 9000; i++) {
        char sub[32];
        struct dc_strbuf token = {0};
        struct dc_claims out;
        int n = snprintf(sub, sizeof(sub), "u_%d", i);
        const struct dc_claims in = {
            .sub = dc_slice_make(sub, (size_t)n), .issued_at = now, .expires_at = {now.ms + 60000}};
        assert_int_equal(dc_tokens_sign(f->tokens, &in, &token, NULL), DC_OK);
        assert_int_equal(
            dc_tokens_verify(f->tokens, dc_strbuf_slice(&token), now, &f->arena, &out, NULL),
            DC_OK);
        assert_true(dc_slice_eq(out.sub, in.sub));
        dc_strbuf_free(&token);
    }
}

static void a_short_secret_is_a_configuration_error(void **state)
{
    struct dc_tokens *tokens = NULL;
    struct dc_error err = {0};
    (void)state;
    assert_int_equal(dc_tokens_create(DC_S("too short"), &tokens, &err), DC_CONFIG);
    assert_null(tokens);
    assert_null(strstr(err.text, "too short"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_signed_token_gives_its_claims_back, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_token_is_refused_from_the_moment_it_expires_also_when_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_that_are_not_ours_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_token_of_the_original_without_type_and_with_clock_skew_is_accepted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_token_that_held_not_yet_holds_later, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_that_is_no_line_counts_as_none, setup, teardown),
        cmocka_unit_test_setup_teardown(every_change_of_one_character_makes_a_token_invalid, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(more_tokens_than_are_remembered_are_all_verified, setup,
                                        teardown),
        cmocka_unit_test(a_short_secret_is_a_configuration_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
