/* Paths with encoded parts. */
#include "matrix/matrix_path.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_path(const char *part, const char *expected)
{
    struct dc_strbuf out = {0};
    struct dc_slice slice = dc_slice_z(part);
    bool is_good = dc_matrix_path(&out, "/rooms/{}/state", &slice, 1);
    assert_int_equal(is_good, expected != NULL);
    if (is_good) {
        dc_strbuf_add_char(&out, '\0');
        assert_string_equal(out.ptr, expected);
    } else {
        assert_int_equal(out.len, 0);
    }
    dc_strbuf_free(&out);
}

static void no_value_leaves_its_place_in_the_path(void **state)
{
    (void)state;
    assert_path("!abc:example.org", "/rooms/%21abc%3Aexample.org/state");
    assert_path("../../_synapse/admin", "/rooms/..%2F..%2F_synapse%2Fadmin/state");
    assert_path("a%2fb", "/rooms/a%252fb/state");
    assert_path("a?b=c#d", "/rooms/a%3Fb%3Dc%23d/state");
    assert_path("a b\r\n", "/rooms/a%20b%0D%0A/state");
    assert_path("\xD1\x97", "/rooms/%D1%97/state");
    assert_path("a..", "/rooms/a../state");
}

static void a_part_that_would_be_a_dot_segment_or_nothing_is_refused(void **state)
{
    (void)state;
    assert_path(".", NULL);
    assert_path("..", NULL);
    assert_path("...", NULL);
    assert_path("", NULL);
}

static void queries_are_joined_and_encoded(void **state)
{
    struct dc_strbuf out = {0};
    (void)state;
    dc_strbuf_add(&out, DC_S("/sync"));
    dc_matrix_query(&out, "since", DC_S("s1_2&x=y"));
    dc_matrix_query(&out, "user_id", DC_S("@a:b"));
    dc_strbuf_add_char(&out, '\0');
    assert_string_equal(out.ptr, "/sync?since=s1_2%26x%3Dy&user_id=%40a%3Ab");
    dc_strbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_value_leaves_its_place_in_the_path),
        cmocka_unit_test(a_part_that_would_be_a_dot_segment_or_nothing_is_refused),
        cmocka_unit_test(queries_are_joined_and_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
