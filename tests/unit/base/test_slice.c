#include "base/mem.h"
#include "base/slice.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void comparing_respects_length_and_bytes(void **state)
{
    (void)state;
    static const struct {
        struct dc_slice a, b;
        bool is_eq, is_ieq;
        int order;
    } rows[] = {
        {{"", 0}, {NULL, 0}, true, true, 0},
        {{"a", 1}, {"a", 1}, true, true, 0},
        {{"a", 1}, {"A", 1}, false, true, 1},
        {{"a", 1}, {"ab", 2}, false, false, -1},
        {{"b", 1}, {"ab", 2}, false, false, 1},
        {{NULL, 0}, {"a", 1}, false, false, -1},
        {{"a\0b", 3}, {"a\0c", 3}, false, false, -1},
        {{"\xc3\x84", 2}, {"\xc3\xa4", 2}, false, false, -1},
        {{"[", 1}, {"{", 1}, false, false, -1}, /* differ by the bit of the case */
        {{"@", 1}, {"`", 1}, false, false, -1},
        {{"Z", 1}, {"z", 1}, false, true, -1},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %zu\n", i);
        int order = dc_slice_cmp(rows[i].a, rows[i].b);
        assert_int_equal(dc_slice_eq(rows[i].a, rows[i].b), rows[i].is_eq);
        assert_int_equal(dc_slice_ieq(rows[i].a, rows[i].b), rows[i].is_ieq);
        assert_int_equal((order > 0) - (order < 0), rows[i].order);
        int back = dc_slice_cmp(rows[i].b, rows[i].a);
        assert_int_equal((back > 0) - (back < 0), -rows[i].order);
    }
}

static void prefixes_and_suffixes_are_recognised(void **state)
{
    (void)state;
    static const struct {
        struct dc_slice s, part;
        bool starts, ends;
    } rows[] = {
        {{"/api/x", 6}, {"/api/", 5}, true, false}, {{"x.gz", 4}, {".gz", 3}, false, true},
        {{"ab", 2}, {"ab", 2}, true, true},         {{"ab", 2}, {"abc", 3}, false, false},
        {{"ab", 2}, {"", 0}, true, true},           {{NULL, 0}, {NULL, 0}, true, true},
        {{NULL, 0}, {"a", 1}, false, false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        assert_int_equal(dc_slice_starts(rows[i].s, rows[i].part), rows[i].starts);
        assert_int_equal(dc_slice_ends(rows[i].s, rows[i].part), rows[i].ends);
    }
}

static void finding_a_byte_gives_its_first_index(void **state)
{
    (void)state;
    assert_int_equal(dc_slice_find(DC_S("a=b=c"), '='), 1);
    assert_int_equal(dc_slice_find(DC_S("a\0b"), '\0'), 1);
    assert_int_equal(dc_slice_find(DC_S("abc"), '='), SIZE_MAX);
    assert_int_equal(dc_slice_find(DC_S(""), '\0'), SIZE_MAX);
    assert_int_equal(dc_slice_find(DC_SLICE_NULL, 'a'), SIZE_MAX);
}

static void trimming_drops_spaces_and_tabs_only(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"  a b\t", "a b"}, {"\n a", "\n a"}, {" \t ", ""}, {"", ""}, {"a", "a"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        assert_true(dc_slice_eq(dc_slice_trim(dc_slice_z(rows[i][0])), dc_slice_z(rows[i][1])));
    }
    assert_int_equal(dc_slice_trim(DC_SLICE_NULL).len, 0);
}

static void taking_fails_without_side_effects(void **state)
{
    (void)state;
    struct dc_slice in = DC_S("abcd");
    struct dc_slice out = DC_S("untouched");
    assert_false(dc_slice_take(&in, 5, &out));
    assert_false(dc_slice_take(&in, SIZE_MAX, &out));
    assert_false(dc_slice_take_prefix(&in, DC_S("b")));
    assert_true(dc_slice_eq(in, DC_S("abcd")));
    assert_true(dc_slice_eq(out, DC_S("untouched")));

    assert_true(dc_slice_take(&in, 0, &out));
    assert_int_equal(out.len, 0);
    assert_true(dc_slice_take(&in, 1, &out));
    assert_true(dc_slice_eq(out, DC_S("a")));
    assert_true(dc_slice_take_prefix(&in, DC_S("bc")));
    assert_true(dc_slice_eq(in, DC_S("d")));
    assert_true(dc_slice_take(&in, 1, &out));
    assert_false(dc_slice_take(&in, 1, &out));

    struct dc_slice nothing = DC_SLICE_NULL;
    assert_true(dc_slice_take(&nothing, 0, &out));
    assert_false(dc_slice_take(&nothing, 1, &out));
}

static void tokens_end_at_the_separator_or_the_end(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *tokens[5];
    } rows[] = {
        {"a,b", {"a", "b"}}, {"a,,b", {"a", "", "b"}},
        {",a", {"", "a"}},   {"a,", {"a"}},
        {",", {""}},         {"", {NULL}},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_slice in = dc_slice_z(rows[i].in);
        struct dc_slice token;
        size_t n = 0;
        while (dc_slice_take_token(&in, ',', &token)) {
            assert_non_null(rows[i].tokens[n]);
            assert_true(dc_slice_eq(token, dc_slice_z(rows[i].tokens[n])));
            n++;
        }
        assert_null(rows[i].tokens[n]);
    }
    struct dc_slice in = DC_SLICE_NULL;
    struct dc_slice token;
    assert_false(dc_slice_take_token(&in, ',', &token));
}

static void numbers_are_decimal_whole_and_in_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_u64;
        uint64_t u;
        bool is_i64;
        int64_t i;
    } rows[] = {
        {"0", true, 0, true, 0},
        {"-0", false, 0, true, 0},
        {"007", true, 7, true, 7},
        {"9223372036854775807", true, INT64_MAX, true, INT64_MAX},
        {"9223372036854775808", true, UINT64_C(9223372036854775808), false, 0},
        {"-9223372036854775808", false, 0, true, INT64_MIN},
        {"-9223372036854775809", false, 0, false, 0},
        {"18446744073709551615", true, UINT64_MAX, false, 0},
        {"18446744073709551616", false, 0, false, 0},
        {"99999999999999999999999", false, 0, false, 0},
        {"00000000000000000000000000000000042", true, 42, true, 42},
        {"-1", false, 0, true, -1},
        {"+1", false, 0, false, 0},
        {"--1", false, 0, false, 0},
        {"", false, 0, false, 0},
        {"-", false, 0, false, 0},
        {" 1", false, 0, false, 0},
        {"1 ", false, 0, false, 0},
        {"1e3", false, 0, false, 0},
        {"0x1", false, 0, false, 0},
        {"1/", false, 0, false, 0},
        {"1:", false, 0, false, 0},
        {"\xd9\xa1", false, 0, false, 0},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %s\n", rows[i].text);
        uint64_t u = 77;
        int64_t v = 77;
        assert_int_equal(dc_slice_to_u64(dc_slice_z(rows[i].text), &u), rows[i].is_u64);
        assert_int_equal(dc_slice_to_i64(dc_slice_z(rows[i].text), &v), rows[i].is_i64);
        assert_int_equal(u, rows[i].is_u64 ? rows[i].u : 77);
        assert_int_equal(v, rows[i].is_i64 ? rows[i].i : 77);
    }
    uint64_t u;
    assert_false(dc_slice_to_u64(dc_slice_make("1\0", 2), &u));
    assert_false(dc_slice_to_u64(DC_SLICE_NULL, &u));
}

static void copies_end_in_nul_and_must_fit(void **state)
{
    (void)state;
    char *z = dc_slice_dup_z(dc_slice_make("plaza!", 5));
    assert_string_equal(z, "plaza");
    dc_free(z);
    z = dc_slice_dup_z(DC_SLICE_NULL);
    assert_string_equal(z, "");
    dc_free(z);

    char buf[4] = "zzz";
    assert_false(dc_slice_copy_z(DC_S("four"), buf, sizeof(buf)));
    assert_false(dc_slice_copy_z(DC_S("a\0b"), buf, sizeof(buf)));
    assert_false(dc_slice_copy_z(DC_S(""), buf, 0));
    assert_string_equal(buf, "zzz");
    assert_true(dc_slice_copy_z(DC_S("abc"), buf, sizeof(buf)));
    assert_string_equal(buf, "abc");
    assert_true(dc_slice_copy_z(DC_SLICE_NULL, buf, sizeof(buf)));
    assert_string_equal(buf, "");
}

static void a_missing_c_string_is_the_null_slice(void **state)
{
    (void)state;
    assert_null(dc_slice_z(NULL).ptr);
    assert_int_equal(dc_slice_z(NULL).len, 0);
    assert_int_equal(DC_S("a\0b").len, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparing_respects_length_and_bytes),
        cmocka_unit_test(prefixes_and_suffixes_are_recognised),
        cmocka_unit_test(finding_a_byte_gives_its_first_index),
        cmocka_unit_test(trimming_drops_spaces_and_tabs_only),
        cmocka_unit_test(taking_fails_without_side_effects),
        cmocka_unit_test(tokens_end_at_the_separator_or_the_end),
        cmocka_unit_test(numbers_are_decimal_whole_and_in_range),
        cmocka_unit_test(copies_end_in_nul_and_must_fit),
        cmocka_unit_test(a_missing_c_string_is_the_null_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
