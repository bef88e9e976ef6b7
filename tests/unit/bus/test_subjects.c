#include "bus/subjects.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void subjects_and_patterns_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_subject, is_pattern;
    } rows[] = {
        {"city", true, true},        {"city.presence.room.plaza", true, true},
        {"a.B-9_=%:@~", true, true}, {"", false, false},
        {".", false, false},         {"a.", false, false},
        {".a", false, false},        {"a..b", false, false},
        {"a b", false, false},       {"a\tb", false, false},
        {"кімната", false, false},   {"a/b", false, false},
        {"*", false, true},          {">", false, true},
        {"a.*", false, true},        {"*.b.>", false, true},
        {"a.>", false, true},        {">.a", false, false},
        {"a.>.b", false, false},     {"a*", false, false},
        {"a.b>", false, false},      {"**", false, false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_slice s = dc_slice_z(rows[i].text);
        if (dc_bus_subject_is_valid(s) != rows[i].is_subject ||
            dc_bus_pattern_is_valid(s) != rows[i].is_pattern) {
            fail_msg("row %zu: %s", i, rows[i].text);
        }
    }
    char text[DC_BUS_SUBJECT_MAX_BYTES + 1];
    memset(text, 'a', sizeof(text));
    assert_true(dc_bus_subject_is_valid(dc_slice_make(text, DC_BUS_SUBJECT_MAX_BYTES)));
    assert_false(dc_bus_subject_is_valid(dc_slice_make(text, sizeof(text))));
    assert_false(dc_bus_subject_is_valid(dc_slice_make("a\0b", 3)));
    assert_false(dc_bus_subject_is_valid(DC_SLICE_NULL));
}

static void patterns_match_subjects(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *subject;
        bool matches;
    } rows[] = {
        {"a.b", "a.b", true},      {"a.b", "a.c", false},    {"a.b", "a", false},
        {"a", "a.b", false},       {"a.*", "a.b", true},     {"a.*", "a", false},
        {"a.*", "a.b.c", false},   {"*", "a", true},         {"*", "a.b", false},
        {">", "a", true},          {">", "a.b.c", true},     {"a.>", "a", false},
        {"a.>", "a.b", true},      {"a.>", "a.b.c.d", true}, {"*.b.>", "a.b.c", true},
        {"*.b.>", "a.c.c", false}, {"*.*", "a.b", true},     {"*.b", "a.b", true},
        {"ab", "abc", false},      {"abc", "ab", false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        if (dc_bus_subject_matches(dc_slice_z(rows[i].pattern), dc_slice_z(rows[i].subject)) !=
            rows[i].matches) {
            fail_msg("row %zu: %s and %s", i, rows[i].pattern, rows[i].subject);
        }
    }
}

static void patterns_contain_and_overlap(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool contains, overlaps; /* a contains b */
    } rows[] = {
        {"a.>", "a.*", true, true},       {"a.*", "a.>", false, true},
        {"a.>", "a.b.>", true, true},     {"a.*", "a.*", true, true},
        {"a.*", "*.b", false, true},      {"a.*", "b.*", false, false},
        {"*", ">", false, true},          {">", ">", true, true},
        {"a.b", "a.>", false, true},      {"a.*.c", "a.b.*", false, true},
        {"a.*.c", "a.b.d", false, false}, {"a", "a.>", false, false},
        {"*.>", "a.b", true, true},       {"*.>", "a", false, false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_slice a = dc_slice_z(rows[i].a), b = dc_slice_z(rows[i].b);
        if (dc_bus_pattern_contains(a, b) != rows[i].contains ||
            dc_bus_pattern_overlaps(a, b) != rows[i].overlaps ||
            dc_bus_pattern_overlaps(b, a) != rows[i].overlaps) {
            fail_msg("row %zu: %s and %s", i, rows[i].a, rows[i].b);
        }
    }
}

static void tokens_escape_and_come_back(void **state)
{
    (void)state;
    static const struct {
        struct dc_slice text;
        const char *token;
    } rows[] = {
        {{"plaza", 5}, "plaza"}, {{"a-b_c=9", 7}, "a-b_c=9"},   {{"", 0}, "%"},
        {{"%", 1}, "%25"},       {{"a.b", 3}, "a%2Eb"},         {{"*", 1}, "%2A"},
        {{">", 1}, "%3E"},       {{"@u:d~", 5}, "%40u%3Ad%7E"}, {{"\0\xff ", 3}, "%00%FF%20"},
        {{"ї", 2}, "%D1%97"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf token = {0}, text = {0};
        dc_bus_token(&token, rows[i].text);
        bool is_decoded = dc_bus_token_decode(&text, dc_strbuf_slice(&token));
        if (!dc_slice_eq(dc_strbuf_slice(&token), dc_slice_z(rows[i].token)) || !is_decoded ||
            !dc_slice_eq(dc_strbuf_slice(&text), rows[i].text) ||
            !dc_bus_subject_is_valid(dc_strbuf_slice(&token))) {
            fail_msg("row %zu: %.*s", i, DC_SLICE_ARG(dc_strbuf_slice(&token)));
        }
        dc_strbuf_free(&token);
        dc_strbuf_free(&text);
    }
}

static void every_pair_of_bytes_comes_back(void **state)
{
    (void)state;
    struct dc_strbuf token = {0}, text = {0};
    for (unsigned i = 0; i < 65536; i++) {
        const char bytes[2] = {(char)(i >> 8), (char)(i & 255)};
        dc_strbuf_clear(&token);
        dc_strbuf_clear(&text);
        dc_bus_token(&token, dc_slice_make(bytes, 2));
        assert_true(dc_bus_subject_is_valid(dc_strbuf_slice(&token)));
        assert_true(dc_bus_token_decode(&text, dc_strbuf_slice(&token)));
        assert_true(dc_slice_eq(dc_strbuf_slice(&text), dc_slice_make(bytes, 2)));
    }
    dc_strbuf_free(&token);
    dc_strbuf_free(&text);
}

static void foreign_tokens_are_refused_and_leave_the_buffer_alone(void **state)
{
    (void)state;
    static const char *const rows[] = {"",    "%2",   "%zz", "%2e", "%41", "a.b",
                                       "ab%", "%2E%", "*",   "a b", "@",   "ab%2g"};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf text = {0};
        dc_strbuf_add_z(&text, "kept");
        if (dc_bus_token_decode(&text, dc_slice_z(rows[i])) ||
            !dc_slice_eq(dc_strbuf_slice(&text), DC_S("kept"))) {
            fail_msg("row %zu: %s", i, rows[i]);
        }
        dc_strbuf_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects_and_patterns_are_checked),
        cmocka_unit_test(patterns_match_subjects),
        cmocka_unit_test(patterns_contain_and_overlap),
        cmocka_unit_test(tokens_escape_and_come_back),
        cmocka_unit_test(every_pair_of_bytes_comes_back),
        cmocka_unit_test(foreign_tokens_are_refused_and_leave_the_buffer_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
