#include "alloc_fail.h"
#include "base/blob.h"
#include "dies.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void a_copy_keeps_the_bytes_until_the_last_reference_goes(void **state)
{
    (void)state;
    struct dc_blob *b = dc_blob_copy(DC_S("pla\0za"));
    assert_non_null(b);
    assert_true(dc_slice_eq(dc_blob_slice(b), DC_S("pla\0za")));
    assert_ptr_equal(dc_blob_ref(b), b);
    assert_int_equal(b->refs, 2);
    dc_blob_unref(b);
    assert_true(dc_slice_eq(dc_blob_slice(b), DC_S("pla\0za")));
    dc_blob_unref(b); /* the leak check holds us to it */
    dc_blob_unref(NULL);
}

static void a_blob_may_be_empty(void **state)
{
    (void)state;
    struct dc_blob *b = dc_blob_copy(DC_SLICE_NULL);
    assert_non_null(b);
    assert_int_equal(dc_blob_slice(b).len, 0);
    dc_blob_unref(b);
}

static void too_large_or_no_memory_gives_null(void **state)
{
    (void)state;
    assert_null(dc_blob_create((size_t)UINT32_MAX + 1));
    assert_null(dc_blob_create(SIZE_MAX));
    alloc_fail_after(0);
    struct dc_blob *made = dc_blob_create(10);
    struct dc_blob *copied = dc_blob_copy(DC_S("abc"));
    assert_true(alloc_fail_stop());
    assert_null(made);
    assert_null(copied);
}

static void ref_at_the_limit(void *data)
{
    struct dc_blob *b = data;
    b->refs = UINT32_MAX;
    dc_blob_ref(b);
}

static void unref_below_zero(void *data)
{
    struct dc_blob *b = data;
    b->refs = 0;
    dc_blob_unref(b);
}

static void a_count_never_runs_over(void **state)
{
    (void)state;
    struct dc_blob *b = dc_blob_copy(DC_S("x"));
    assert_non_null(b);
    assert_true(dies_with("assertion failed", ref_at_the_limit, b));
    assert_true(dies_with("assertion failed", unref_below_zero, b));
    dc_blob_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_keeps_the_bytes_until_the_last_reference_goes),
        cmocka_unit_test(a_blob_may_be_empty),
        cmocka_unit_test(too_large_or_no_memory_gives_null),
        cmocka_unit_test(a_count_never_runs_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
