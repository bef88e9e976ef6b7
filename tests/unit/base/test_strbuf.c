#include "alloc_fail.h"
#include "base/strbuf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void check(const struct dc_strbuf *b, const char *expected)
{
    assert_true(dc_strbuf_ok(b));
    assert_true(dc_slice_eq(dc_strbuf_slice(b), dc_slice_z(expected)));
}

static void pieces_are_appended_in_order(void **state)
{
    (void)state;
    struct dc_strbuf b = {0};
    check(&b, "");
    dc_strbuf_add(&b, DC_S("a"));
    dc_strbuf_add(&b, DC_SLICE_NULL);
    dc_strbuf_add_z(&b, "bc");
    dc_strbuf_add_z(&b, NULL);
    dc_strbuf_add_char(&b, 'd');
    dc_strbuf_printf(&b, "%d-%s", 12, "x");
    check(&b, "abcd12-x");
    dc_strbuf_clear(&b);
    check(&b, "");
    dc_strbuf_add_char(&b, 'n');
    check(&b, "n");
    dc_strbuf_free(&b);
    assert_null(b.ptr);
    dc_strbuf_free(&b);
}

static void numbers_are_written_up_to_their_limits(void **state)
{
    (void)state;
    struct dc_strbuf b = {0};
    static const uint64_t u[] = {0, 9, 10, UINT64_MAX};
    static const int64_t v[] = {0, -1, 10, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < DC_ARRAY_LEN(u); i++) {
        dc_strbuf_add_u64(&b, u[i]);
        dc_strbuf_add_char(&b, ' ');
    }
    check(&b, "0 9 10 18446744073709551615 ");
    dc_strbuf_clear(&b);
    for (size_t i = 0; i < DC_ARRAY_LEN(v); i++) {
        dc_strbuf_add_i64(&b, v[i]);
        dc_strbuf_add_char(&b, ' ');
    }
    check(&b, "0 -1 10 9223372036854775807 -9223372036854775808 ");
    dc_strbuf_free(&b);
}

static void growth_doubles_and_reserve_makes_room(void **state)
{
    (void)state;
    struct dc_strbuf b = {0};
    size_t moves = 0;
    for (size_t i = 0; i < 100000; i++) {
        size_t cap = b.cap;
        dc_strbuf_add_char(&b, (char)('a' + i % 26));
        moves += b.cap != cap ? 1 : 0;
    }
    assert_int_equal(b.len, 100000);
    assert_true(moves <= 12);
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(b.ptr[i], 'a' + (int)(i % 26));
    }
    assert_true(dc_strbuf_reserve(&b, 500000));
    char *before = b.ptr;
    for (size_t i = 0; i < 500000; i++) {
        dc_strbuf_add_char(&b, 'x');
    }
    assert_ptr_equal(b.ptr, before);
    dc_strbuf_free(&b);
}

static void printf_grows_at_every_remaining_room(void **state)
{
    (void)state;
    for (size_t filled = 0; filled <= 70; filled++) {
        struct dc_strbuf b = {0};
        for (size_t i = 0; i < filled; i++) {
            dc_strbuf_add_char(&b, '.');
        }
        dc_strbuf_printf(&b, "%s", "0123456789");
        assert_int_equal(b.len, filled + 10);
        assert_memory_equal(b.ptr + filled, "0123456789", 10);
        dc_strbuf_printf(&b, "%s", "");
        assert_int_equal(b.len, filled + 10);
        dc_strbuf_free(&b);
    }
}

static void a_size_that_overflows_makes_the_buffer_fail(void **state)
{
    (void)state;
    struct dc_strbuf b = {0};
    dc_strbuf_add(&b, DC_S("abc"));
    assert_false(dc_strbuf_reserve(&b, SIZE_MAX));
    assert_false(dc_strbuf_ok(&b));
    dc_strbuf_free(&b);
    alloc_fail_after(0); /* beyond the largest power of two: asked for as it is, and refused */
    assert_false(dc_strbuf_reserve(&b, SIZE_MAX / 2 + 2));
    assert_true(alloc_fail_stop());
    dc_strbuf_free(&b);
}

static void a_number_is_appended_whole_or_not_at_all(void **state)
{
    (void)state;
    struct dc_strbuf b = {0};
    assert_true(dc_strbuf_reserve(&b, 1));
    while (b.len < b.cap - 1) {
        dc_strbuf_add_char(&b, '.');
    }
    size_t len = b.len;
    alloc_fail_after(0);
    dc_strbuf_add_i64(&b, -5);
    assert_true(alloc_fail_stop());
    assert_false(dc_strbuf_ok(&b));
    assert_int_equal(b.len, len);
    dc_strbuf_free(&b);
}

static void append_everything(struct dc_strbuf *b)
{
    for (int i = 0; i < 40; i++) {
        dc_strbuf_add(b, DC_S("hello "));
        dc_strbuf_add_u64(b, UINT64_MAX);
        dc_strbuf_add_i64(b, INT64_MIN);
        dc_strbuf_printf(b, "%0100d", 7);
    }
}

static void after_a_failed_allocation_nothing_more_is_appended(void **state)
{
    (void)state;
    struct dc_strbuf whole = {0};
    append_everything(&whole);
    assert_true(dc_strbuf_ok(&whole));
    bool has_failed = true;
    size_t sweeps = 0;
    for (size_t n = 0; has_failed; n++) {
        struct dc_strbuf b = {0};
        alloc_fail_after(n);
        append_everything(&b);
        size_t len = b.len;
        bool is_failed = !dc_strbuf_ok(&b);
        dc_strbuf_add_z(&b, "more");
        dc_strbuf_add_i64(&b, -1);
        dc_strbuf_printf(&b, "x");
        has_failed = alloc_fail_stop();
        assert_int_equal(is_failed, has_failed);
        if (has_failed) {
            sweeps++;
            assert_int_equal(b.len, len);
            assert_false(dc_strbuf_reserve(&b, 0));
            /* what is there is a prefix, and no number is cut */
            assert_true(dc_slice_starts(dc_strbuf_slice(&whole), dc_strbuf_slice(&b)));
            dc_strbuf_clear(&b);
            dc_strbuf_add_z(&b, "again");
            check(&b, "again");
        } else {
            assert_int_equal(len, whole.len);
        }
        dc_strbuf_free(&b);
    }
    assert_true(sweeps >= 5);
    dc_strbuf_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_appended_in_order),
        cmocka_unit_test(numbers_are_written_up_to_their_limits),
        cmocka_unit_test(growth_doubles_and_reserve_makes_room),
        cmocka_unit_test(printf_grows_at_every_remaining_room),
        cmocka_unit_test(a_size_that_overflows_makes_the_buffer_fail),
        cmocka_unit_test(a_number_is_appended_whole_or_not_at_all),
        cmocka_unit_test(after_a_failed_allocation_nothing_more_is_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
