#include "base/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void values_of_every_kind_are_read(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{}",
        "[]",
        "1",
        "-9223372036854775808",
        "1.5e3",
        "true",
        "null",
        "\"x\"",
        "\"\"",
        " \t\r\n[1, 2]\n ",
        "{\"a\":{\"b\":[null]}}",
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        json_t *root = NULL;
        struct dc_error err;
        assert_int_equal(dc_json_parse(dc_slice_z(rows[i]), &root, &err), DC_OK);
        assert_non_null(root);
        json_decref(root);
    }
}

static void malformed_json_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        struct dc_slice text;
        const char *reason; /* part of the text for people */
    } rows[] = {
        {{NULL, 0}, "empty"},
        {{"", 0}, "empty"},
        {{" ", 1}, "ends too early"},
        {{"{", 1}, "ends too early"},
        {{"\"abc", 4}, "ends too early"},
        {{"{\"a\":1}x", 8}, "something follows"},
        {{"1 2", 3}, "something follows"},
        {{"{}\0", 3}, "something follows"},
        {{"{\"a\":1,\"a\":2}", 13}, "occurs twice"},
        {{"{\"a\":1,\"\\u0061\":2}", 18}, "occurs twice"},
        {{"{\"\\u0000\":1}", 12}, "NUL"},
        {{"\"\0\"", 3}, "not valid JSON"},
        {{"\"\n\"", 3}, "not valid JSON"},
        {{"\"\xff\"", 3}, "UTF-8"},
        {{"\"\xc0\x80\"", 4}, "UTF-8"},
        {{"\"\xed\xa0\x80\"", 5}, "UTF-8"},
        {{"\xef\xbb\xbf{}", 5}, "not valid JSON"},
        {{"\"\\ud800\"", 8}, "not valid JSON"},
        {{"\"\\udc00\\ud800\"", 14}, "not valid JSON"},
        {{"\"\\x\"", 4}, "not valid JSON"},
        {{"[1,]", 4}, "not valid JSON"},
        {{"{a:1}", 5}, "not valid JSON"},
        {{"'a'", 3}, "not valid JSON"},
        {{"01", 2}, "not valid JSON"},
        {{"+1", 2}, "not valid JSON"},
        {{"NaN", 3}, "not valid JSON"},
        {{"tru", 3}, "not valid JSON"},
        {{"9223372036854775808", 19}, "too large"},
        {{"-9223372036854775809", 20}, "too large"},
        {{"1e999", 5}, "too large"},
        {{"// x", 4}, "not valid JSON"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_error err = {0};
        json_t *root = (json_t *)&err;
        enum dc_status st = dc_json_parse(rows[i].text, &root, &err);
        print_message("row %zu: %s\n", i, err.text);
        assert_int_equal(st, DC_MALFORMED);
        assert_null(root);
        assert_int_equal(err.status, DC_MALFORMED);
        assert_string_equal(dc_error_code(&err), "invalid_json");
        assert_non_null(strstr(dc_error_text(&err), rows[i].reason));
        assert_int_equal(dc_json_parse(rows[i].text, &root, NULL), DC_MALFORMED);
    }
}

static void errors_tell_the_position_and_not_the_content(void **state)
{
    (void)state;
    struct dc_error err;
    json_t *root;
    assert_int_equal(dc_json_parse(DC_S("{\"password\":\n  hunter2}"), &root, &err), DC_MALFORMED);
    assert_non_null(strstr(err.text, "line 2"));
    assert_null(strstr(err.text, "hunter2"));
    assert_null(strstr(err.text, "password"));
    assert_int_equal(dc_json_parse(DC_S("{\"secret\":1,\"secret\":2}"), &root, &err), DC_MALFORMED);
    assert_null(strstr(err.text, "secret"));
}

/* depth levels: open, open, .., inner, close, close */
static char *nested(const char *open, const char *close, size_t depth, const char *inner)
{
    struct dc_strbuf b = {0};
    for (size_t i = 0; i < depth; i++) {
        dc_strbuf_add_z(&b, open);
    }
    dc_strbuf_add_z(&b, inner);
    for (size_t i = 0; i < depth; i++) {
        dc_strbuf_add_z(&b, close);
    }
    dc_strbuf_add_char(&b, '\0');
    return b.ptr;
}

static void answers_of_servers_may_be_nested_deeper(void **state)
{
    static const size_t depths[] = {DC_JSON_MAX_DEPTH + 1, DC_JSON_DEEPEST, DC_JSON_DEEPEST + 1};
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(depths); i++) {
        char *text = nested("[", "]", depths[i], "");
        struct dc_error err = {0};
        json_t *root = NULL;
        enum dc_status st = dc_json_parse_deep(dc_slice_z(text), DC_JSON_DEEPEST, &root, &err);
        assert_int_equal(st, depths[i] <= DC_JSON_DEEPEST ? DC_OK : DC_MALFORMED);
        json_decref(root);
        free(text);
    }
}

static void depth_is_limited(void **state)
{
    (void)state;
    static const struct {
        const char *open, *close;
        size_t depth;
        const char *inner;
        enum dc_status st;
    } rows[] = {
        {"[", "]", DC_JSON_MAX_DEPTH, "", DC_OK},
        {"[", "]", DC_JSON_MAX_DEPTH + 1, "", DC_MALFORMED},
        {"{\"a\":", "}", DC_JSON_MAX_DEPTH, "1", DC_OK},
        {"{\"a\":", "}", DC_JSON_MAX_DEPTH + 1, "1", DC_MALFORMED},
        {"[", "]", DC_JSON_MAX_DEPTH - 1, "{},[],{},[]", DC_OK},
        {"[", "]", DC_JSON_MAX_DEPTH, "[]", DC_MALFORMED},
        /* brackets in strings are text, whatever is escaped there */
        {"[", "]", DC_JSON_MAX_DEPTH, "\"[[[[\\\"[[[[\",\"\\\\\",[{[{", DC_MALFORMED},
        {"[", "]", DC_JSON_MAX_DEPTH, "\"[[[[\\\"[[[[\",\"\\\\\",\"[{[{\"", DC_OK},
        {"[", "", 100000, "", DC_MALFORMED},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char *text = nested(rows[i].open, rows[i].close, rows[i].depth, rows[i].inner);
        struct dc_error err = {0};
        json_t *root = NULL;
        assert_int_equal(dc_json_parse(dc_slice_z(text), &root, &err), rows[i].st);
        if (rows[i].st != DC_OK) {
            assert_non_null(strstr(err.text, "deeper than 32"));
            assert_string_equal(dc_error_code(&err), "invalid_json");
        }
        json_decref(root);
        free(text);
    }
}

static void text_is_borrowed_from_string_members_only(void **state)
{
    (void)state;
    json_t *root = NULL;
    assert_int_equal(
        dc_json_parse(DC_S("{\"a\":\"x\",\"e\":\"\",\"n\":null,\"i\":1}"), &root, NULL), DC_OK);
    assert_true(dc_slice_eq(dc_json_text(root, "a"), DC_S("x")));
    assert_non_null(dc_json_text(root, "e").ptr);
    assert_int_equal(dc_json_text(root, "e").len, 0);
    assert_null(dc_json_text(root, "n").ptr);
    assert_null(dc_json_text(root, "i").ptr);
    assert_null(dc_json_text(root, "missing").ptr);
    assert_null(dc_json_text(json_object_get(root, "i"), "a").ptr);
    assert_null(dc_json_text(NULL, "a").ptr);
    json_decref(root);
}

static size_t allocations_left;

static void *limited_malloc(size_t size)
{
    if (allocations_left == 0) {
        return NULL;
    }
    allocations_left--;
    return malloc(size);
}

static void failed_allocations_give_an_error_and_leak_nothing(void **state)
{
    (void)state;
    json_set_alloc_funcs(limited_malloc, free);
    enum dc_status st = DC_INTERNAL;
    size_t n = 0;
    size_t no_memory = 0;
    for (; st != DC_OK; n++) {
        assert_true(n < 1000);
        allocations_left = n;
        json_t *root = NULL;
        struct dc_error err = {0};
        st = dc_json_parse(DC_S("{\"a\":[1,2.5,\"text\",{\"b\":null}],\"c\":{\"d\":\"e\"}}"), &root,
                           &err);
        /* inside a string or a number the library takes it for a syntax error */
        assert_true(st == DC_OK || st == DC_NO_MEMORY || st == DC_MALFORMED);
        assert_true(n > 0 || st == DC_NO_MEMORY);
        no_memory += st == DC_NO_MEMORY ? 1U : 0U;
        assert_int_equal(root == NULL, st != DC_OK);
        json_decref(root);
    }
    json_set_alloc_funcs(malloc, free);
    assert_true(n > 10);
    assert_true(no_memory > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind_are_read),
        cmocka_unit_test(malformed_json_is_refused_with_its_reason),
        cmocka_unit_test(errors_tell_the_position_and_not_the_content),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(answers_of_servers_may_be_nested_deeper),
        cmocka_unit_test(text_is_borrowed_from_string_members_only),
        cmocka_unit_test(failed_allocations_give_an_error_and_leak_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
