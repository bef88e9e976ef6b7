#include "alloc_fail.h"
#include "base/input.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

struct target {
    struct dc_slice text;
    int64_t number;
    bool flag;
};

#define TEXT_FIELD(flag_bits, low, high)                                                           \
    {                                                                                              \
        "f", DC_FIELD_TEXT, flag_bits, low, high, offsetof(struct target, text)                    \
    }
#define FIELD(type_suffix, flag_bits, member)                                                      \
    {                                                                                              \
        "f", DC_FIELD_##type_suffix, flag_bits, 0, 0, offsetof(struct target, member)              \
    }
#define INT_FIELD(flag_bits, low, high)                                                            \
    {                                                                                              \
        "f", DC_FIELD_INT, flag_bits, low, high, offsetof(struct target, number)                   \
    }

static json_t *parse(const char *text)
{
    json_t *root = NULL;
    assert_int_equal(dc_json_parse(dc_slice_z(text), &root, NULL), DC_OK);
    return root;
}

/* One field, one object: the code of the only problem, or NULL. */
static const char *decode(struct dc_field field, const char *json, struct target *t)
{
    struct dc_problems problems = {0};
    json_t *root = parse(json);
    enum dc_status st = dc_input_json(&field, 1, root, t, &problems);
    if (t->text.ptr != NULL) {
        /* the object ends here: keep the text for the checks */
        static char kept[1000];
        assert_true(dc_slice_copy_z(t->text, kept, sizeof(kept)));
        t->text.ptr = kept;
    }
    json_decref(root);
    assert_int_equal(st, problems.count == 0 ? DC_OK : DC_INVALID);
    if (problems.count == 0) {
        return NULL;
    }
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.items[0].field, "f");
    assert_true(strlen(problems.items[0].detail) > 0);
    return problems.items[0].code;
}

static void check_code(const char *got, const char *expected)
{
    if (got == NULL || expected == NULL) {
        assert_ptr_equal(got, expected);
    } else {
        assert_string_equal(got, expected);
    }
}

static void text_is_measured_in_code_points(void **state)
{
    (void)state;
    static const struct {
        struct dc_field field;
        const char *json;
        const char *code; /* NULL: fine */
        const char *text; /* NULL: not stored */
    } rows[] = {
        {TEXT_FIELD(0, 1, 3), "{\"f\":\"abc\"}", NULL, "abc"},
        {TEXT_FIELD(0, 1, 3), "{\"f\":\"abcd\"}", "too_long", NULL},
        {TEXT_FIELD(0, 1, 3), "{\"f\":\"\"}", "too_short", NULL},
        {TEXT_FIELD(0, 2, 3), "{\"f\":\"a\"}", "too_short", NULL},
        {TEXT_FIELD(0, 1, 3), "{\"f\":\"\xd0\x9f\xd0\xbb\xd0\xb0\"}", NULL,
         "\xd0\x9f\xd0\xbb\xd0\xb0"},
        {TEXT_FIELD(0, 1, 1), "{\"f\":\"\\ud83d\\ude00\"}", NULL, "\xf0\x9f\x98\x80"},
        {TEXT_FIELD(0, 1, 1), "{\"f\":\"\\ud83d\\ude00\\u0301\"}", "too_long", NULL},
        {TEXT_FIELD(0, 0, 0), "{\"f\":\"\"}", NULL, ""},
        {TEXT_FIELD(0, 0, 0), "{\"f\":\"anything at all\"}", NULL, "anything at all"},
        {TEXT_FIELD(0, 0, 2), "{\"f\":\"\"}", NULL, ""},
        {TEXT_FIELD(0, 2, 0), "{\"f\":\"no upper bound\"}", NULL, "no upper bound"},
        {TEXT_FIELD(0, 1, 3), "{}", NULL, NULL},
        {TEXT_FIELD(DC_FIELD_REQUIRED, 1, 3), "{}", "missing", NULL},
        {TEXT_FIELD(DC_FIELD_REQUIRED, 1, 3), "{\"F\":\"a\"}", "missing", NULL},
        {TEXT_FIELD(0, 1, 3), "{\"f\":null}", "wrong_type", NULL},
        {TEXT_FIELD(DC_FIELD_NULLABLE, 1, 3), "{\"f\":null}", NULL, NULL},
        {TEXT_FIELD(DC_FIELD_NULLABLE | DC_FIELD_REQUIRED, 1, 3), "{\"f\":null}", "missing", NULL},
        {TEXT_FIELD(0, 1, 3), "{\"f\":1}", "wrong_type", NULL},
        {TEXT_FIELD(0, 1, 3), "{\"f\":true}", "wrong_type", NULL},
        {TEXT_FIELD(0, 1, 3), "{\"f\":[\"a\"]}", "wrong_type", NULL},
        {TEXT_FIELD(0, 1, 3), "{\"f\":{}}", "wrong_type", NULL},
        {TEXT_FIELD(0, 1, 3), "{\"f\":\"a\",\"other\":[{}]}", NULL, "a"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %zu: %s\n", i, rows[i].json);
        struct target t = {0};
        check_code(decode(rows[i].field, rows[i].json, &t), rows[i].code);
        assert_true(dc_slice_eq(t.text, dc_slice_z(rows[i].text)));
        assert_int_equal(t.text.ptr == NULL, rows[i].text == NULL);
    }
}

static void trimming_comes_before_measuring(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *code;
        const char *text;
    } rows[] = {
        {"{\"f\":\"  ab c \\t\\n\"}", NULL, "ab c"},
        {"{\"f\":\"   \"}", "too_short", NULL},
        {"{\"f\":\"\"}", "too_short", NULL},
        {"{\"f\":\"     abcdefgh     \"}", NULL, "abcdefgh"},
        {"{\"f\":\" \\u00a0\\u3000\\u2003x\\u2028\\u0085\"}", NULL, "x"},
        {"{\"f\":\"\\u3000\\u00a0\"}", "too_short", NULL},
        {"{\"f\":\"\xd0\x9f\"}", NULL, "\xd0\x9f"},
        {"{\"f\":\" \\ud83d\\ude00 \"}", NULL, "\xf0\x9f\x98\x80"},
        {"{\"f\":\"\\u200bx\"}", NULL, "\xe2\x80\x8bx"}, /* zero width: no blank */
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %zu: %s\n", i, rows[i].json);
        struct target t = {0};
        check_code(decode((struct dc_field)TEXT_FIELD(DC_FIELD_TRIM, 1, 8), rows[i].json, &t),
                   rows[i].code);
        assert_true(dc_slice_eq(t.text, dc_slice_z(rows[i].text)));
    }
    struct target t = {0};
    check_code(decode((struct dc_field)TEXT_FIELD(DC_FIELD_TRIM, 0, 8), "{\"f\":\"  \"}", &t),
               NULL);
    assert_non_null(t.text.ptr); /* given, though empty */
}

static void one_line_has_no_control_characters(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *code;
    } rows[] = {
        {"{\"f\":\"one line\"}", NULL},
        {"{\"f\":\"two\\nlines\"}", "invalid_text"},
        {"{\"f\":\"tab\\t\"}", "invalid_text"},
        {"{\"f\":\"\\u007f\"}", "invalid_text"},
        {"{\"f\":\"\\u0085\"}", "invalid_text"},
        {"{\"f\":\"a\\u2028b\"}", "invalid_text"},
        {"{\"f\":\"\xd0\x9f\\u00a0\"}", NULL},
        /* What turns the text behind it; marks that order their neighbours do not. */
        {"{\"f\":\"a\\u202ab\"}", "invalid_text"},
        {"{\"f\":\"a\\u202eb\"}", "invalid_text"},
        {"{\"f\":\"a\\u2066b\"}", "invalid_text"},
        {"{\"f\":\"a\\u2069b\"}", "invalid_text"},
        {"{\"f\":\"a\\u200fb\"}", NULL},
        {"{\"f\":\"a\\u202fb\"}", NULL},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct target t = {0};
        check_code(
            decode((struct dc_field)TEXT_FIELD(DC_FIELD_SINGLE_LINE, 0, 0), rows[i].json, &t),
            rows[i].code);
    }
    struct target t = {0};
    check_code(decode((struct dc_field)TEXT_FIELD(DC_FIELD_SINGLE_LINE | DC_FIELD_TRIM, 0, 0),
                      "{\"f\":\"name\\n\"}", &t),
               NULL);
}

static void a_text_that_must_not_be_blank_keeps_its_blanks(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *code;
    } rows[] = {
        {"{\"f\":\" \"}", "too_short"},   {"{\"f\":\"\\n\\t \\u3000\"}", "too_short"},
        {"{\"f\":\"\"}", "too_short"},    {"{\"f\":\" a \"}", NULL},
        {"{\"f\":\"  aa\"}", "too_long"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct target t = {0};
        check_code(decode((struct dc_field)TEXT_FIELD(DC_FIELD_NOT_BLANK, 1, 3), rows[i].json, &t),
                   rows[i].code);
        assert_true(rows[i].code != NULL || dc_slice_eq(t.text, DC_S(" a ")));
    }
}

static void integers_are_integers_within_their_bounds(void **state)
{
    (void)state;
    static const struct {
        struct dc_field field;
        const char *json;
        const char *code;
        int64_t value; /* 77: untouched */
    } rows[] = {
        {INT_FIELD(0, 1, 100), "{\"f\":1}", NULL, 1},
        {INT_FIELD(0, 1, 100), "{\"f\":100}", NULL, 100},
        {INT_FIELD(0, 1, 100), "{\"f\":0}", "out_of_range", 77},
        {INT_FIELD(0, 1, 100), "{\"f\":101}", "out_of_range", 77},
        {INT_FIELD(DC_FIELD_CLAMP, 1, 100), "{\"f\":101}", NULL, 100},
        {INT_FIELD(DC_FIELD_CLAMP, 1, 100), "{\"f\":0}", "out_of_range", 77},
        {INT_FIELD(DC_FIELD_CLAMP, 0, 0), "{\"f\":101}", NULL, 101},
        {INT_FIELD(0, 0, 0), "{\"f\":-9223372036854775808}", NULL, INT64_MIN},
        {INT_FIELD(0, 0, INT64_MAX), "{\"f\":-1}", "out_of_range", 77},
        {INT_FIELD(0, INT64_MIN, 0), "{\"f\":1}", "out_of_range", 77},
        {INT_FIELD(0, -5, 0), "{\"f\":-5}", NULL, -5},
        {INT_FIELD(0, 1, 100), "{\"f\":5.0}", "wrong_type", 77},
        {INT_FIELD(0, 1, 100), "{\"f\":1e30}", "wrong_type", 77},
        {INT_FIELD(0, 1, 100), "{\"f\":\"5\"}", "wrong_type", 77},
        {INT_FIELD(0, 1, 100), "{\"f\":true}", "wrong_type", 77},
        {INT_FIELD(0, 1, 100), "{\"f\":null}", "wrong_type", 77},
        {INT_FIELD(DC_FIELD_NULLABLE, 1, 100), "{\"f\":null}", NULL, 77},
        {INT_FIELD(0, 1, 100), "{}", NULL, 77},
        {INT_FIELD(DC_FIELD_REQUIRED, 1, 100), "{}", "missing", 77},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %zu: %s\n", i, rows[i].json);
        struct target t = {.number = 77};
        check_code(decode(rows[i].field, rows[i].json, &t), rows[i].code);
        assert_int_equal(t.number, rows[i].value);
    }
}

static void booleans_slugs_ids_and_keys_have_their_form(void **state)
{
    (void)state;
    static const struct {
        struct dc_field field;
        const char *json;
        const char *code;
    } rows[] = {
        {FIELD(BOOL, 0, flag), "{\"f\":true}", NULL},
        {FIELD(BOOL, 0, flag), "{\"f\":1}", "wrong_type"},
        {FIELD(BOOL, 0, flag), "{\"f\":\"true\"}", "wrong_type"},
        {FIELD(BOOL, 0, flag), "{\"f\":null}", "wrong_type"},
        {FIELD(SLUG, 0, text), "{\"f\":\"main-plaza_2\"}", NULL},
        {FIELD(SLUG, 0, text), "{\"f\":\"Plaza\"}", "invalid_format"},
        {FIELD(SLUG, 0, text), "{\"f\":\"\"}", "invalid_format"},
        {FIELD(SLUG, 0, text), "{\"f\":\" plaza\"}", "invalid_format"},
        {FIELD(SLUG, DC_FIELD_TRIM, text), "{\"f\":\" plaza \"}", NULL},
        {FIELD(SLUG, 0, text), "{\"f\":5}", "wrong_type"},
        {FIELD(ID, 0, text), "{\"f\":\"u_01ARZ3NDEKTSV4RRFFQ69G5FAV\"}", NULL},
        {FIELD(ID, 0, text), "{\"f\":\"a b\"}", "invalid_format"},
        {FIELD(ID, 0, text), "{\"f\":\"\"}", "invalid_format"},
        {FIELD(ID, 0, text), "{\"f\":[]}", "wrong_type"},
        {FIELD(KEY, 0, text), "{\"f\":\"A key, with ~!\"}", NULL},
        {FIELD(KEY, 0, text), "{\"f\":\"\"}", "invalid_format"},
        {FIELD(KEY, 0, text), "{\"f\":\"\xd0\x9f\"}", "invalid_format"},
        {FIELD(KEY, 0, text), "{\"f\":\"a\\u007f\"}", "invalid_format"},
        {FIELD(KEY, 0, text), "{\"f\":\"a\\n\"}", "invalid_format"},
        {FIELD(KEY, 0, text), "{\"f\":false}", "wrong_type"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %zu: %s\n", i, rows[i].json);
        struct target t = {0};
        check_code(decode(rows[i].field, rows[i].json, &t), rows[i].code);
        assert_int_equal(t.flag || t.text.ptr != NULL, rows[i].code == NULL);
    }
}

static void single_values_are_judged_like_fields(void **state)
{
    (void)state;
    char long_ascii[130];
    memset(long_ascii, 'a', sizeof(long_ascii));
    char long_cyrillic[2 * 129];
    for (size_t i = 0; i < sizeof(long_cyrillic); i += 2) {
        memcpy(long_cyrillic + i, "\xd0\x9f", 2);
    }
    assert_true(dc_slug_is_valid(DC_S("a")));
    assert_true(dc_slug_is_valid(DC_S("0_-")));
    assert_true(dc_slug_is_valid(dc_slice_make(long_ascii, 63)));
    assert_false(dc_slug_is_valid(dc_slice_make(long_ascii, 64)));
    assert_false(dc_slug_is_valid(DC_S("-a")));
    assert_false(dc_slug_is_valid(DC_S("_a")));
    assert_false(dc_slug_is_valid(DC_S("a\0")));
    assert_false(dc_slug_is_valid(DC_S("a\n")));
    assert_false(dc_slug_is_valid(DC_S("\xd0\x9f")));
    assert_false(dc_slug_is_valid(DC_SLICE_NULL));

    assert_true(dc_id_is_valid(DC_S("@anna:example.org")));
    assert_true(dc_id_is_valid(dc_slice_make(long_ascii, 128)));
    assert_false(dc_id_is_valid(dc_slice_make(long_ascii, 129)));
    assert_true(dc_id_is_valid(dc_slice_make(long_cyrillic, 2 * 128)));
    assert_false(dc_id_is_valid(dc_slice_make(long_cyrillic, 2 * 129)));
    assert_false(dc_id_is_valid(DC_S("a\0b")));
    assert_false(dc_id_is_valid(DC_S("a\tb")));
    assert_false(dc_id_is_valid(DC_S("a\x7f")));
    assert_false(dc_id_is_valid(DC_S("a\xc2\xa0"
                                     "b")));
    assert_false(dc_id_is_valid(DC_S("a\xff")));
    assert_false(dc_id_is_valid(DC_SLICE_NULL));

    assert_true(dc_author_id_is_valid(dc_slice_make(long_ascii, 129)));
    assert_false(dc_author_id_is_valid(dc_slice_make(long_cyrillic, 2 * 128)));
    assert_false(dc_author_id_is_valid(DC_S("@a b:c")));
    assert_false(dc_author_id_is_valid(DC_S("@a\xe2\x80\xae:c")));
    assert_false(dc_author_id_is_valid(DC_SLICE_NULL));

    assert_true(dc_text_is_valid(DC_S("a\nb \xd0\x9f")));
    assert_true(dc_text_is_valid(DC_SLICE_NULL));
    assert_false(dc_text_is_valid(DC_S("a\0b")));
    assert_false(dc_text_is_valid(DC_S("\xed\xa0\x80")));
}

static void a_body_that_is_no_object_is_one_problem(void **state)
{
    (void)state;
    static const char *const rows[] = {"[]", "1", "\"f\"", "null", "true"};
    const struct dc_field field = TEXT_FIELD(DC_FIELD_REQUIRED, 1, 3);
    for (size_t i = 0; i <= DC_ARRAY_LEN(rows); i++) {
        struct dc_problems problems = {0};
        struct target t = {0};
        json_t *root = i < DC_ARRAY_LEN(rows) ? parse(rows[i]) : NULL;
        assert_int_equal(dc_input_json(&field, 1, root, &t, &problems), DC_INVALID);
        assert_int_equal(problems.count, 1);
        assert_string_equal(problems.items[0].field, "body");
        assert_string_equal(problems.items[0].code, "wrong_type");
        json_decref(root);
    }
}

static void details_are_sentences_for_people(void **state)
{
    (void)state;
    static const struct {
        struct dc_field field;
        const char *json;
        const char *detail;
    } rows[] = {
        {TEXT_FIELD(0, 1, 80), "{\"f\":\"\"}", "must not be empty"},
        {TEXT_FIELD(0, 2, 80), "{\"f\":\"\"}", "must be at least 2 characters"},
        {TEXT_FIELD(0, 0, 2), "{\"f\":\"abc\"}", "must be at most 2 characters"},
        {TEXT_FIELD(DC_FIELD_REQUIRED, 0, 2), "{}", "is required"},
        {TEXT_FIELD(0, 0, 2), "{\"f\":1}", "must be text"},
        {INT_FIELD(0, 1, 5), "{\"f\":\"x\"}", "must be an integer"},
        {INT_FIELD(0, 1, 5), "{\"f\":6}", "must be between 1 and 5"},
        {INT_FIELD(0, 0, INT64_MAX), "{\"f\":-1}", "must be at least 0"},
        {INT_FIELD(0, INT64_MIN, 5), "{\"f\":6}", "must be at most 5"},
        {FIELD(BOOL, 0, flag), "{\"f\":6}", "must be true or false"},
        {FIELD(SLUG, 0, text), "{\"f\":\"-\"}",
         "must be 1 to 63 of a-z, 0-9, - and _, starting with a letter or digit"},
        {FIELD(ID, 0, text), "{\"f\":\"\"}", "must be 1 to 128 characters without blanks"},
        {FIELD(KEY, 0, text), "{\"f\":\"\"}", "must be 1 to 128 printable ASCII characters"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_problems problems = {0};
        struct target t = {0};
        json_t *root = parse(rows[i].json);
        assert_int_equal(dc_input_json(&rows[i].field, 1, root, &t, &problems), DC_INVALID);
        assert_string_equal(problems.items[0].detail, rows[i].detail);
        json_decref(root);
    }
}

static void every_problem_is_collected_up_to_the_limit(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    struct dc_field fields[DC_ARRAY_LEN(names)];
    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        fields[i] = (struct dc_field){
            names[i], DC_FIELD_INT, DC_FIELD_REQUIRED, 0, 0, offsetof(struct target, number)};
    }
    struct target t = {0};
    struct dc_problems problems = {0};
    json_t *root = parse("{\"b\":5}");
    assert_int_equal(dc_input_json(fields, 3, root, &t, &problems), DC_INVALID);
    assert_int_equal(problems.count, 2);
    assert_string_equal(problems.items[0].field, "a");
    assert_string_equal(problems.items[1].field, "c");
    assert_int_equal(t.number, 5);
    assert_int_equal(dc_input_json(fields, DC_ARRAY_LEN(names), root, &t, &problems), DC_INVALID);
    assert_int_equal(problems.count, DC_PROBLEMS_MAX);
    /* the list is full, the answer is still right */
    assert_int_equal(dc_input_json(fields, 1, root, &t, &problems), DC_INVALID);
    assert_int_equal(dc_input_json(&fields[1], 1, root, &t, &problems), DC_OK);
    assert_int_equal(problems.count, DC_PROBLEMS_MAX);
    json_decref(root);
}

static void a_callers_own_problem_is_added_and_its_detail_cut(void **state)
{
    (void)state;
    struct dc_problems problems = {0};
    dc_problem_add(&problems, "before", "unknown_cursor", "%s", "no such message");
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.items[0].code, "unknown_cursor");
    assert_string_equal(problems.items[0].detail, "no such message");
    dc_problem_add(&problems, "x", "y", "%0200d", 1);
    assert_int_equal(strlen(problems.items[1].detail), sizeof(problems.items[1].detail) - 1);
}

static void decoding_json_allocates_nothing(void **state)
{
    (void)state;
    const struct dc_field field = TEXT_FIELD(DC_FIELD_TRIM, 1, 10);
    json_t *root = parse("{\"f\":\" abc \"}");
    struct target t = {0};
    struct dc_problems problems = {0};
    alloc_fail_after(0);
    enum dc_status st = dc_input_json(&field, 1, root, &t, &problems);
    assert_false(alloc_fail_stop());
    assert_int_equal(st, DC_OK);
    assert_true(dc_slice_eq(t.text, DC_S("abc")));
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_measured_in_code_points),
        cmocka_unit_test(trimming_comes_before_measuring),
        cmocka_unit_test(one_line_has_no_control_characters),
        cmocka_unit_test(a_text_that_must_not_be_blank_keeps_its_blanks),
        cmocka_unit_test(integers_are_integers_within_their_bounds),
        cmocka_unit_test(booleans_slugs_ids_and_keys_have_their_form),
        cmocka_unit_test(single_values_are_judged_like_fields),
        cmocka_unit_test(a_body_that_is_no_object_is_one_problem),
        cmocka_unit_test(details_are_sentences_for_people),
        cmocka_unit_test(every_problem_is_collected_up_to_the_limit),
        cmocka_unit_test(a_callers_own_problem_is_added_and_its_detail_cut),
        cmocka_unit_test(decoding_json_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
