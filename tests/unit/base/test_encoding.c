#include "alloc_fail.h"
#include "base/encoding.h"
#include "seeded_random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void check(struct dc_strbuf *b, const char *expected)
{
    assert_true(dc_strbuf_ok(b));
    assert_true(dc_slice_eq(dc_strbuf_slice(b), dc_slice_z(expected)));
    dc_strbuf_clear(b);
}

static void base64_has_the_vectors_of_rfc_4648(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/", "-_-_"},
    };
    struct dc_strbuf b = {0};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_slice plain = dc_slice_z(rows[i][0]);
        uint8_t out[16];
        size_t len = 99;
        dc_base64_encode(&b, plain);
        check(&b, rows[i][1]);
        dc_base64url_encode(&b, plain);
        check(&b, rows[i][2]);
        assert_true(dc_base64_decode(dc_slice_z(rows[i][1]), out, sizeof(out), &len));
        assert_true(dc_slice_eq(dc_slice_make(out, len), plain));
        assert_true(dc_base64url_decode(dc_slice_z(rows[i][2]), out, plain.len, &len));
        assert_true(dc_slice_eq(dc_slice_make(out, len), plain));
        if (plain.len > 0) {
            assert_false(dc_base64_decode(dc_slice_z(rows[i][1]), out, plain.len - 1, &len));
            assert_false(dc_base64url_decode(dc_slice_z(rows[i][2]), out, plain.len - 1, &len));
        }
    }
    dc_strbuf_free(&b);
}

static void base64_is_decoded_in_one_spelling_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_standard, is_url;
    } rows[] = {
        {"Zg==", true, false},      {"Zg", false, true},     {"Zg=", false, false},
        {"Zh==", false, false},     {"Zh", false, false},    {"Zm9=", false, false},
        {"Zm9", false, false},      {"Zm8=", true, false},   {"Z", false, false},
        {"Z===", false, false},     {"====", false, false},  {"==", false, false},
        {"=", false, false},        {"Zm9v=", false, false}, {"Zm9v====", false, false},
        {"Zg==Zg==", false, false}, {"Zm 9", false, false},  {"Zm9v\n", false, false},
        {" Zm9v", false, false},    {"Zm9-", false, true},   {"Zm9+", true, false},
        {"Zm9\xc3", false, false},  {"Zm9.", false, false},  {"Zm9_", false, true},
        {"Zm9/", true, false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %s\n", rows[i].text);
        uint8_t out[16];
        size_t len = 99;
        struct dc_slice in = dc_slice_z(rows[i].text);
        assert_int_equal(dc_base64_decode(in, out, sizeof(out), &len), rows[i].is_standard);
        assert_int_equal(dc_base64url_decode(in, out, sizeof(out), &len), rows[i].is_url);
    }
    uint8_t out[4];
    size_t len = 99;
    assert_false(dc_base64_decode(dc_slice_make("Zm9\0", 4), out, sizeof(out), &len));
    assert_int_equal(len, 99);
    assert_true(dc_base64_decode(DC_SLICE_NULL, out, 0, &len));
    assert_int_equal(len, 0);
}

static void hex_is_lower_case(void **state)
{
    (void)state;
    struct dc_strbuf b = {0};
    dc_hex_encode(&b, DC_S("\x00\x9f\xAb\xff"));
    check(&b, "009fabff");
    dc_hex_encode(&b, DC_SLICE_NULL);
    check(&b, "");
    dc_strbuf_free(&b);
}

static void all_but_unreserved_characters_are_percent_encoded(void **state)
{
    (void)state;
    struct dc_strbuf b = {0};
    dc_percent_encode(&b, DC_S("azAZ09-._~"));
    check(&b, "azAZ09-._~");
    dc_percent_encode(&b, DC_S(" /?#[]@!$&'()*+,;=%\x00\xd0\x9f"));
    check(&b, "%20%2F%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25%00%D0%9F");
    dc_strbuf_free(&b);
}

static void percent_escapes_are_decoded_or_refused(void **state)
{
    (void)state;
    static const struct {
        struct dc_slice in;
        const char *path;  /* NULL: refused */
        const char *query; /* '+' is a blank */
    } rows[] = {
        {{"", 0}, "", ""},
        {{NULL, 0}, "", ""},
        {{"plaza", 5}, "plaza", "plaza"},
        {{"a%20b+c", 7}, "a b+c", "a b c"},
        {{"%d0%9F", 6}, "\xd0\x9f", "\xd0\x9f"},
        {{"%2B", 3}, "+", "+"},
        {{"%252F", 5}, "%2F", "%2F"},
        {{"%", 1}, NULL, NULL},
        {{"%2", 2}, NULL, NULL},
        {{"a%", 2}, NULL, NULL},
        {{"%41", 2}, NULL, NULL}, /* what follows the slice does not count */
        {{"%41", 1}, NULL, NULL},
        {{"%zz", 3}, NULL, NULL},
        {{"%2g", 3}, NULL, NULL},
        {{"%g2", 3}, NULL, NULL},
        {{"%%41", 4}, NULL, NULL},
        {{"%00", 3}, NULL, NULL},
        {{"a\0b", 3}, NULL, NULL},
        {{"% 1", 3}, NULL, NULL},
        {{"%+1", 3}, NULL, NULL},
    };
    struct dc_strbuf b = {0};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %zu\n", i);
        for (int plus = 0; plus < 2; plus++) {
            const char *expected = plus == 0 ? rows[i].path : rows[i].query;
            dc_strbuf_add_z(&b, "kept:");
            bool is_decoded = dc_percent_decode(&b, rows[i].in, plus == 1);
            assert_int_equal(is_decoded, expected != NULL);
            struct dc_slice all = dc_strbuf_slice(&b);
            assert_true(dc_slice_take_prefix(&all, DC_S("kept:")));
            /* nothing is left of what was refused */
            assert_true(dc_slice_eq(all, dc_slice_z(expected)));
            dc_strbuf_clear(&b);
        }
    }
    dc_strbuf_free(&b);
}

static void decoding_undoes_encoding(void **state)
{
    (void)state;
    struct seeded_random r = {9};
    struct dc_strbuf b = {0}, back = {0};
    for (int run = 0; run < 5000; run++) {
        char plain[64];
        size_t n = seeded_below(&r, sizeof(plain));
        for (size_t i = 0; i < n; i++) {
            plain[i] = (char)(1 + seeded_below(&r, 255));
        }
        struct dc_slice in = dc_slice_make(plain, n);
        uint8_t out[64];
        size_t len;
        dc_base64_encode(&b, in);
        assert_true(dc_base64_decode(dc_strbuf_slice(&b), out, sizeof(out), &len));
        assert_true(dc_slice_eq(dc_slice_make(out, len), in));
        dc_strbuf_clear(&b);
        dc_base64url_encode(&b, in);
        assert_true(dc_base64url_decode(dc_strbuf_slice(&b), out, sizeof(out), &len));
        assert_true(dc_slice_eq(dc_slice_make(out, len), in));
        dc_strbuf_clear(&b);
        dc_percent_encode(&b, in);
        assert_true(dc_percent_decode(&back, dc_strbuf_slice(&b), run % 2 == 0));
        assert_true(dc_slice_eq(dc_strbuf_slice(&back), in));
        dc_strbuf_clear(&b);
        dc_strbuf_clear(&back);
    }
    dc_strbuf_free(&b);
    dc_strbuf_free(&back);
}

static void without_memory_the_buffer_says_so(void **state)
{
    (void)state;
    struct dc_strbuf b[4] = {0};
    alloc_fail_after(0);
    dc_base64_encode(&b[0], DC_S("abc"));
    dc_hex_encode(&b[1], DC_S("abc"));
    dc_percent_encode(&b[2], DC_S("a c"));
    bool is_decoded = dc_percent_decode(&b[3], DC_S("abc"), true);
    assert_true(alloc_fail_stop());
    assert_false(is_decoded);
    for (size_t i = 0; i < DC_ARRAY_LEN(b); i++) {
        assert_false(dc_strbuf_ok(&b[i]));
        assert_int_equal(b[i].len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_has_the_vectors_of_rfc_4648),
        cmocka_unit_test(base64_is_decoded_in_one_spelling_only),
        cmocka_unit_test(hex_is_lower_case),
        cmocka_unit_test(all_but_unreserved_characters_are_percent_encoded),
        cmocka_unit_test(percent_escapes_are_decoded_or_refused),
        cmocka_unit_test(decoding_undoes_encoding),
        cmocka_unit_test(without_memory_the_buffer_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
