#include "alloc_fail.h"
#include "base/input.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

struct target {
    struct dc_slice before;
    int64_t limit;
    bool feed;
};

static const struct dc_field fields[] = {
    {"before", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct target, before)},
    {"limit", DC_FIELD_INT, DC_FIELD_CLAMP, 1, 500, offsetof(struct target, limit)},
    {"feed", DC_FIELD_BOOL, 0, 0, 0, offsetof(struct target, feed)},
};

static void queries_are_decoded_into_the_target(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *field, *code; /* the one problem, or NULL */
        const char *before;
        int64_t limit;
        bool feed;
    } rows[] = {
        {"", NULL, NULL, NULL, 100, false},
        {"limit=20&feed=1&before=m_1", NULL, NULL, "m_1", 20, true},
        {"before=%D0%9F%2b&limit=%32%30", NULL, NULL, "\xd0\x9f+", 20, false},
        {"%62efore=x", NULL, NULL, "x", 100, false},
        {"limit=5&limit=6", NULL, NULL, NULL, 5, false},
        {"limit=5&limit=x", NULL, NULL, NULL, 5, false},
        {"other=%zz&limit=5", NULL, NULL, NULL, 5, false},
        {"&&=&=x&limit=5&", NULL, NULL, NULL, 5, false},
        {"limit=500", NULL, NULL, NULL, 500, false},
        {"limit=501", NULL, NULL, NULL, 500, false},
        {"limit=9223372036854775808", NULL, NULL, NULL, 500, false},
        {"limit=99999999999999999999999999", NULL, NULL, NULL, 500, false},
        {"limit=-99999999999999999999999999", "limit", "out_of_range", NULL, 100, false},
        {"limit=0", "limit", "out_of_range", NULL, 100, false},
        {"limit=-1", "limit", "out_of_range", NULL, 100, false},
        {"limit=", "limit", "wrong_type", NULL, 100, false},
        {"limit", "limit", "wrong_type", NULL, 100, false},
        {"limit=5.0", "limit", "wrong_type", NULL, 100, false},
        {"limit=+5", "limit", "wrong_type", NULL, 100, false},
        {"limit=-", "limit", "wrong_type", NULL, 100, false},
        {"limit=5=5", "limit", "wrong_type", NULL, 100, false},
        {"limit=%3", "limit", "invalid_text", NULL, 100, false},
        {"limit=5%00", "limit", "invalid_text", NULL, 100, false},
        {"Limit=5", NULL, NULL, NULL, 100, false},
        {"feed=true", NULL, NULL, NULL, 100, true},
        {"feed=0", NULL, NULL, NULL, 100, false},
        {"feed=false", NULL, NULL, NULL, 100, false},
        {"feed=yes", "feed", "wrong_type", NULL, 100, false},
        {"feed=", "feed", "wrong_type", NULL, 100, false},
        {"before=", NULL, NULL, NULL, 100, false},
        {"before", NULL, NULL, NULL, 100, false},
        {"before=a+b", "before", "invalid_format", NULL, 100, false},
        {"before=%ff", "before", "invalid_text", NULL, 100, false},
        {"before=a=b", NULL, NULL, "a=b", 100, false},
        {"limit=5;feed=1", "limit", "wrong_type", NULL, 100, false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %s\n", rows[i].query);
        struct dc_arena arena;
        dc_arena_init(&arena, 256, 0);
        struct target t = {.limit = 100};
        struct dc_problems problems = {0};
        enum dc_status st = dc_input_query(fields, DC_ARRAY_LEN(fields), dc_slice_z(rows[i].query),
                                           &arena, &t, &problems);
        assert_int_equal(st, rows[i].code == NULL ? DC_OK : DC_INVALID);
        assert_int_equal(problems.count, rows[i].code == NULL ? 0 : 1);
        if (rows[i].code != NULL) {
            assert_string_equal(problems.items[0].field, rows[i].field);
            assert_string_equal(problems.items[0].code, rows[i].code);
        }
        assert_true(dc_slice_eq(t.before, dc_slice_z(rows[i].before)));
        assert_int_equal(t.before.ptr == NULL, rows[i].before == NULL);
        assert_int_equal(t.limit, rows[i].limit);
        assert_int_equal(t.feed, rows[i].feed);
        dc_arena_free(&arena);
    }
}

static void a_huge_integer_without_bounds_or_clamping_is_out_of_range(void **state)
{
    (void)state;
    static const struct dc_field rows[] = {
        {"limit", DC_FIELD_INT, DC_FIELD_CLAMP, 0, 0, offsetof(struct target, limit)},
        {"limit", DC_FIELD_INT, 0, 1, 500, offsetof(struct target, limit)},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_arena arena;
        dc_arena_init(&arena, 256, 0);
        struct target t = {0};
        struct dc_problems problems = {0};
        assert_int_equal(
            dc_input_query(&rows[i], 1, DC_S("limit=9223372036854775808"), &arena, &t, &problems),
            DC_INVALID);
        assert_string_equal(problems.items[0].code, "out_of_range");
        dc_arena_free(&arena);
    }
}

static void required_fields_must_be_there(void **state)
{
    (void)state;
    static const struct dc_field field = {
        "before", DC_FIELD_ID, DC_FIELD_REQUIRED | DC_FIELD_NULLABLE,
        0,        0,           offsetof(struct target, before)};
    static const char *const rows[] = {"", "limit=1", "before=", "before"};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_arena arena;
        dc_arena_init(&arena, 256, 0);
        struct target t = {0};
        struct dc_problems problems = {0};
        assert_int_equal(dc_input_query(&field, 1, dc_slice_z(rows[i]), &arena, &t, &problems),
                         DC_INVALID);
        assert_string_equal(problems.items[0].code, "missing");
        dc_arena_free(&arena);
    }
}

static void one_value_is_looked_up_and_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *query, *name;
        const char *value; /* NULL: false */
    } rows[] = {
        {"token=abc&x=1", "token", "abc"},
        {"x=1&token=a%2Bb+c", "token", "a+b c"},
        {"token=", "token", ""},
        {"token", "token", ""},
        {"to%6ben=x", "token", "x"},
        {"to+ken=x", "to ken", "x"},
        {"tokens=x", "token", NULL},
        {"access_token=x", "token", NULL},
        {"token=%", "token", NULL},
        {"tok%en=x", "token", NULL},
        {"", "token", NULL},
        {"=x", "", "x"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %s\n", rows[i].query);
        struct dc_arena arena;
        dc_arena_init(&arena, 256, 0);
        struct dc_slice value = DC_SLICE_NULL;
        bool is_found =
            dc_query_get(dc_slice_z(rows[i].query), dc_slice_z(rows[i].name), &arena, &value);
        assert_int_equal(is_found, rows[i].value != NULL);
        if (is_found) {
            assert_true(dc_slice_eq(value, dc_slice_z(rows[i].value)));
            assert_int_equal(value.ptr[value.len], '\0');
        }
        dc_arena_free(&arena);
    }
    struct dc_arena arena;
    struct dc_slice value;
    dc_arena_init(&arena, 256, 0);
    assert_false(dc_query_get(DC_SLICE_NULL, DC_S("token"), &arena, &value));
    dc_arena_free(&arena);
}

static void a_long_encoded_name_is_no_match(void **state)
{
    (void)state;
    char query[2000];
    for (size_t i = 0; i < sizeof(query); i++) {
        query[i] = "%61"[i % 3];
    }
    struct dc_arena arena;
    struct dc_slice value;
    dc_arena_init(&arena, 256, 0);
    assert_false(dc_query_get(dc_slice_make(query, sizeof(query)), DC_S("a"), &arena, &value));
    /* the longest that is decoded */
    assert_false(dc_query_get(dc_slice_make(query, 192), DC_S("a"), &arena, &value));
    assert_true(dc_query_get(dc_slice_make(query, 3), DC_S("a"), &arena, &value));
    dc_arena_free(&arena);
}

static void without_memory_the_answer_is_no_memory(void **state)
{
    (void)state;
    struct target t = {0};
    struct dc_problems problems = {0};
    struct dc_arena arena;
    dc_arena_init(&arena, 256, 0);
    alloc_fail_after(0);
    enum dc_status st =
        dc_input_query(fields, DC_ARRAY_LEN(fields), DC_S("limit=5"), &arena, &t, &problems);
    assert_true(alloc_fail_stop());
    assert_int_equal(st, DC_NO_MEMORY);
    assert_int_equal(problems.count, 0);
    dc_arena_free(&arena);

    dc_arena_init(&arena, 256, 16); /* its limit has the same effect */
    assert_int_equal(dc_input_query(fields, DC_ARRAY_LEN(fields),
                                    DC_S("before=0123456789abcdef&limit=5"), &arena, &t, &problems),
                     DC_NO_MEMORY);
    struct dc_slice value;
    assert_false(dc_query_get(DC_S("a=0123456789abcdef"), DC_S("a"), &arena, &value));
    dc_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_are_decoded_into_the_target),
        cmocka_unit_test(a_huge_integer_without_bounds_or_clamping_is_out_of_range),
        cmocka_unit_test(required_fields_must_be_there),
        cmocka_unit_test(one_value_is_looked_up_and_decoded),
        cmocka_unit_test(a_long_encoded_name_is_no_match),
        cmocka_unit_test(without_memory_the_answer_is_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
