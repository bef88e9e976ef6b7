#include "base/utf8.h"
#include "domain/snippet.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void texts_become_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t max;
        const char *expected;
    } rows[] = {
        {"hello", 100, "hello"},
        {"  two\n\n words \t", 100, "two words"},
        {"a\r\nb\xc2\xa0\xe3\x80\x80\xe2\x80\xa8"
         "c\x01\x7f"
         "d",
         100, "a b c d"},
        {"", 10, ""},
        {" \n ", 10, ""},
        {"abcdef", 6, "abcdef"},
        {"abcdefg", 6, "abcde…"},
        {"abc def", 7, "abc def"},
        {"abc def", 6, "abc d…"},
        {"abc def", 5, "abc…"}, /* no blank before the ellipsis */
        {"abc def", 4, "abc…"},
        {"abc def", 3, "ab…"},
        {"abc  ", 3, "abc"}, /* blanks at the end are nothing to cut */
        {"Привіт місто!", 8, "Привіт…"},
        {"Привіт місто!", 9, "Привіт м…"},
        {"🎉🎉🎉", 2, "🎉…"},
        {"ab", 1, "…"},
        {"a", 1, "a"},
        {"abc", 0, ""},
        {"\xff", 10, ""},
        {"ok\xd0", 10, ""},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf out = {0};
        dc_snippet(&out, dc_slice_z(rows[i].text), rows[i].max);
        if (!dc_slice_eq(dc_strbuf_slice(&out), dc_slice_z(rows[i].expected))) {
            fail_msg("row %zu: %.*s instead of %s", i, DC_SLICE_ARG(dc_strbuf_slice(&out)),
                     rows[i].expected);
        }
        assert_true(dc_utf8_count(dc_strbuf_slice(&out)) <= rows[i].max);
        dc_strbuf_free(&out);
    }
}

static void the_snippet_is_appended(void **state)
{
    (void)state;
    struct dc_strbuf out = {0};
    dc_strbuf_add_z(&out, "x:");
    dc_snippet(&out, DC_S(" abc"), 2);
    dc_snippet(&out, DC_S("\xff"), 2);
    assert_true(dc_slice_eq(dc_strbuf_slice(&out), DC_S("x:a…")));
    dc_strbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_one_line),
        cmocka_unit_test(the_snippet_is_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
