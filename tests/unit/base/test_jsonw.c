#include "alloc_fail.h"
#include "base/json.h"
#include "dies.h"
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
    if (!dc_slice_eq(dc_strbuf_slice(b), dc_slice_z(expected))) {
        fail_msg("got %.*s instead of %s", DC_SLICE_ARG(dc_strbuf_slice(b)), expected);
    }
    dc_strbuf_clear(b);
}

static void only_what_json_demands_is_escaped(void **state)
{
    (void)state;
    static const struct {
        struct dc_slice text;
        const char *quoted;
    } rows[] = {
        {{NULL, 0}, "\"\""},
        {{"", 0}, "\"\""},
        {{"plain", 5}, "\"plain\""},
        {{"a\"b", 3}, "\"a\\\"b\""},
        {{"\\", 1}, "\"\\\\\""},
        {{"/", 1}, "\"/\""},
        {{"\b\f\n\r\t", 5}, "\"\\b\\f\\n\\r\\t\""},
        {{"\0\x01\x1f\x7f", 4}, "\"\\u0000\\u0001\\u001f\x7f\""},
        {{"\xe2\x80\xa8", 3}, "\"\xe2\x80\xa8\""},
        {{"\xd0\x9f\xd0\xbb\"", 5}, "\"\xd0\x9f\xd0\xbb\\\"\""},
        {{"12345678\"12345678", 17}, "\"12345678\\\"12345678\""},
        {{"\"\"\"\"\"\"\"\"\"", 9}, "\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\""},
    };
    struct dc_strbuf b = {0};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        dc_json_quote(&b, rows[i].text);
        check(&b, rows[i].quoted);
    }
    dc_strbuf_free(&b);
}

static void quoted_text_reads_back_wherever_the_special_bytes_are(void **state)
{
    (void)state;
    struct seeded_random r = {2};
    struct dc_strbuf b = {0};
    for (int run = 0; run < 5000; run++) {
        char text[60];
        size_t n = seeded_below(&r, sizeof(text));
        for (size_t i = 0; i < n; i++) {
            /* 1..127, now and then one that needs an escape or stands next to such */
            static const char special[] = "\"\\\x01\x1f\x20\x21\x23\x5b\x5d\x7f\n";
            text[i] = seeded_below(&r, 6) == 0 ? special[seeded_below(&r, sizeof(special) - 1)]
                                               : (char)(1 + seeded_below(&r, 127));
        }
        dc_json_quote(&b, dc_slice_make(text, n));
        json_t *root = NULL;
        assert_int_equal(dc_json_parse(dc_strbuf_slice(&b), &root, NULL), DC_OK);
        assert_int_equal(json_string_length(root), n);
        assert_memory_equal(json_string_value(root), text, n);
        json_decref(root);
        dc_strbuf_clear(&b);
    }
    dc_strbuf_free(&b);
}

static void write_sample(struct dc_strbuf *b)
{
    struct dc_jsonw w;
    dc_jsonw_init(&w, b);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "id", DC_S("m_1"));
    dc_jsonw_key_text(&w, "none", DC_SLICE_NULL);
    dc_jsonw_key_text(&w, "empty", DC_S(""));
    dc_jsonw_key_i64(&w, "n", INT64_MIN);
    dc_jsonw_key_bool(&w, "yes", true);
    dc_jsonw_key_bool(&w, "no", false);
    dc_jsonw_key_null(&w, "null");
    dc_jsonw_key_utc(&w, "at", (struct dc_utc){0});
    dc_jsonw_key_raw(&w, "raw", DC_S("{\"x\":[]}"));
    dc_jsonw_key_raw(&w, "nothing", DC_SLICE_NULL);
    dc_jsonw_key(&w, "list");
    dc_jsonw_array(&w);
    dc_jsonw_end(&w);
    dc_jsonw_key(&w, "mixed \"key\"");
    dc_jsonw_array(&w);
    dc_jsonw_i64(&w, 1);
    dc_jsonw_text(&w, DC_S("two"));
    dc_jsonw_object(&w);
    dc_jsonw_end(&w);
    dc_jsonw_array(&w);
    dc_jsonw_bool(&w, true);
    dc_jsonw_null(&w);
    dc_jsonw_end(&w);
    dc_jsonw_object(&w); /* where an array has been */
    dc_jsonw_key_i64(&w, "k", 0);
    dc_jsonw_end(&w);
    dc_jsonw_utc(&w, (struct dc_utc){1});
    dc_jsonw_raw(&w, DC_S("3"));
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
}

static const char sample[] =
    "{\"id\":\"m_1\",\"none\":null,\"empty\":\"\",\"n\":-9223372036854775808,\"yes\":true,"
    "\"no\":false,\"null\":null,\"at\":\"1970-01-01T00:00:00.000Z\",\"raw\":{\"x\":[]},"
    "\"nothing\":null,\"list\":[],\"mixed \\\"key\\\"\":[1,\"two\",{},[true,null],{\"k\":0},"
    "\"1970-01-01T00:00:00.001Z\",3]}";

static void objects_and_arrays_get_their_commas(void **state)
{
    (void)state;
    struct dc_strbuf b = {0};
    write_sample(&b);
    check(&b, sample);
    dc_strbuf_free(&b);
}

static void a_value_may_stand_alone_and_follow_other_text(void **state)
{
    (void)state;
    struct dc_strbuf b = {0};
    struct dc_jsonw w;
    dc_strbuf_add_z(&b, "data: ");
    dc_jsonw_init(&w, &b);
    dc_jsonw_text(&w, DC_S("x"));
    check(&b, "data: \"x\"");
    dc_strbuf_free(&b);
}

static void sixty_four_levels_are_written(void **state)
{
    (void)state;
    struct dc_strbuf b = {0}, expected = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &b);
    /* levels alternate, so that a wrong bit shows */
    for (int i = 0; i < 32; i++) {
        dc_jsonw_array(&w);
        dc_jsonw_i64(&w, i);
        dc_jsonw_object(&w);
        dc_jsonw_key(&w, "k");
        dc_strbuf_printf(&expected, "[%d,{\"k\":", i);
    }
    dc_jsonw_null(&w);
    dc_strbuf_add_z(&expected, "null");
    for (int i = 0; i < 64; i++) {
        dc_jsonw_end(&w);
        dc_strbuf_add_char(&expected, i % 2 == 0 ? '}' : ']');
    }
    dc_strbuf_add_char(&expected, '\0');
    check(&b, expected.ptr);
    dc_strbuf_free(&b);
    dc_strbuf_free(&expected);
}

static void after_a_failed_allocation_the_buffer_is_failed(void **state)
{
    (void)state;
    bool has_failed = true;
    for (size_t n = 0; has_failed; n++) {
        struct dc_strbuf b = {0};
        alloc_fail_after(n);
        write_sample(&b);
        has_failed = alloc_fail_stop();
        assert_int_equal(dc_strbuf_ok(&b), !has_failed);
        if (!has_failed) {
            check(&b, sample);
        }
        dc_strbuf_free(&b);
    }
}

enum mistake {
    VALUE_WITHOUT_KEY,
    KEY_IN_ARRAY,
    KEY_AFTER_KEY,
    KEY_AT_TOP,
    END_AFTER_KEY,
    END_AT_TOP,
    SECOND_VALUE_AT_TOP,
    TOO_MANY_LEVELS,
    MISTAKE_COUNT
};

static void make_mistake(void *data)
{
    struct dc_strbuf b = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &b);
    switch (*(enum mistake *)data) {
    case VALUE_WITHOUT_KEY:
        dc_jsonw_object(&w);
        dc_jsonw_i64(&w, 1);
        break;
    case KEY_IN_ARRAY:
        dc_jsonw_array(&w);
        dc_jsonw_key(&w, "a");
        break;
    case KEY_AFTER_KEY:
        dc_jsonw_object(&w);
        dc_jsonw_key(&w, "a");
        dc_jsonw_key(&w, "b");
        break;
    case KEY_AT_TOP:
        dc_jsonw_key(&w, "a");
        break;
    case END_AFTER_KEY:
        dc_jsonw_object(&w);
        dc_jsonw_key(&w, "a");
        dc_jsonw_end(&w);
        break;
    case END_AT_TOP:
        dc_jsonw_end(&w);
        break;
    case SECOND_VALUE_AT_TOP:
        dc_jsonw_null(&w);
        dc_jsonw_null(&w);
        break;
    case TOO_MANY_LEVELS:
        for (int i = 0; i < 65; i++) {
            dc_jsonw_array(&w);
        }
        break;
    case MISTAKE_COUNT:
        break;
    }
    dc_strbuf_free(&b);
}

static void calls_that_would_write_invalid_json_abort(void **state)
{
    (void)state;
    for (int i = 0; i < MISTAKE_COUNT; i++) {
        enum mistake m = (enum mistake)i;
        assert_true(dies_with("assertion failed", make_mistake, &m));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_json_demands_is_escaped),
        cmocka_unit_test(quoted_text_reads_back_wherever_the_special_bytes_are),
        cmocka_unit_test(objects_and_arrays_get_their_commas),
        cmocka_unit_test(a_value_may_stand_alone_and_follow_other_text),
        cmocka_unit_test(sixty_four_levels_are_written),
        cmocka_unit_test(after_a_failed_allocation_the_buffer_is_failed),
        cmocka_unit_test(calls_that_would_write_invalid_json_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
