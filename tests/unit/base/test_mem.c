#include "alloc_fail.h"
#include "base/mem.h"
#include "dies.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void an_allocation_of_no_bytes_gives_a_pointer(void **state)
{
    (void)state;
    void *p[] = {dc_alloc(0), dc_calloc(0, 8), dc_calloc(8, 0), dc_try_alloc(0)};
    for (size_t i = 0; i < DC_ARRAY_LEN(p); i++) {
        assert_non_null(p[i]);
        p[i] = dc_realloc(p[i], 0);
        assert_non_null(p[i]);
        dc_free(p[i]);
    }
    dc_free(NULL);
}

static void calloc_gives_zeroed_memory(void **state)
{
    (void)state;
    static const char zeros[700];
    char *p = dc_calloc(7, 100);
    assert_memory_equal(p, zeros, sizeof(zeros));
    dc_free(p);
}

static void realloc_keeps_the_content(void **state)
{
    (void)state;
    char *p = dc_strdup("plaza");
    p = dc_realloc(p, 4000);
    assert_string_equal(p, "plaza");
    p = dc_try_realloc(p, 6);
    assert_non_null(p);
    assert_string_equal(p, "plaza");
    dc_free(p);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    size_t out = 0;
    assert_true(dc_mul_size(SIZE_MAX / 2, 2, &out));
    assert_int_equal(out, SIZE_MAX - 1);
    assert_false(dc_mul_size(SIZE_MAX / 2 + 1, 2, &out));
    assert_true(dc_add_size(SIZE_MAX - 1, 1, &out));
    assert_int_equal(out, SIZE_MAX);
    assert_false(dc_add_size(SIZE_MAX, 1, &out));
}

static void wiping_overwrites_exactly_the_bytes_given(void **state)
{
    (void)state;
    char secret[8] = "hunter2";
    dc_wipe(secret + 1, 5);
    assert_memory_equal(secret,
                        "h\0\0\0\0\0"
                        "2",
                        8);
    dc_wipe(NULL, 0);
}

static void try_allocations_answer_null_without_memory(void **state)
{
    (void)state;
    char *kept = dc_strdup("kept");
    alloc_fail_after(0);
    void *a = dc_try_alloc(10);
    void *b = dc_try_realloc(kept, 1000);
    assert_true(alloc_fail_stop());
    assert_null(a);
    assert_null(b);
    assert_string_equal(kept, "kept");
    dc_free(kept);
}

static void alloc_without_memory(void *data)
{
    (void)data;
    alloc_fail_after(0);
    dc_free(dc_alloc(12345));
}

static void calloc_without_memory(void *data)
{
    (void)data;
    alloc_fail_after(0);
    dc_free(dc_calloc(5, 2469));
}

static void realloc_without_memory(void *data)
{
    (void)data;
    alloc_fail_after(0);
    dc_free(dc_realloc(NULL, 12345));
}

static void calloc_of_too_much(void *data)
{
    dc_free(dc_calloc(*(size_t *)data, 16));
}

static void other_allocations_abort_without_memory(void **state)
{
    (void)state;
    size_t many = SIZE_MAX / 8;
    assert_true(dies_with("out of memory: 12345 bytes", alloc_without_memory, NULL));
    assert_true(dies_with("out of memory: 12345 bytes", calloc_without_memory, NULL));
    assert_true(dies_with("out of memory: 12345 bytes", realloc_without_memory, NULL));
    assert_true(dies_with("out of memory", calloc_of_too_much, &many));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocation_of_no_bytes_gives_a_pointer),
        cmocka_unit_test(calloc_gives_zeroed_memory),
        cmocka_unit_test(realloc_keeps_the_content),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(wiping_overwrites_exactly_the_bytes_given),
        cmocka_unit_test(try_allocations_answer_null_without_memory),
        cmocka_unit_test(other_allocations_abort_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
