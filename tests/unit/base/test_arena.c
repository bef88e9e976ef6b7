#include "alloc_fail.h"
#include "base/arena.h"
#include "seeded_random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void allocations_are_aligned_and_do_not_overlap(void **state)
{
    (void)state;
    static const size_t firsts[] = {0, 1, 1000, 1000000};
    for (size_t f = 0; f < DC_ARRAY_LEN(firsts); f++) {
        struct seeded_random r = {f};
        struct dc_arena a;
        dc_arena_init(&a, firsts[f], 0);
        struct {
            unsigned char *ptr;
            size_t size;
        } got[500];
        for (size_t i = 0; i < DC_ARRAY_LEN(got); i++) {
            size_t size = seeded_below(&r, i % 50 == 0 ? 100000 : 300);
            got[i].ptr = dc_arena_alloc(&a, size);
            got[i].size = size;
            assert_non_null(got[i].ptr);
            assert_int_equal((uintptr_t)got[i].ptr % 16, 0);
            memset(got[i].ptr, (int)(i % 251), size);
        }
        for (size_t i = 0; i < DC_ARRAY_LEN(got); i++) {
            for (size_t k = 0; k < got[i].size; k++) {
                assert_int_equal(got[i].ptr[k], i % 251);
            }
        }
        dc_arena_free(&a);
    }
}

static void the_limit_counts_what_was_handed_out(void **state)
{
    (void)state;
    struct dc_arena a;
    dc_arena_init(&a, 256, 1024);
    for (int i = 0; i < 64; i++) {
        assert_non_null(dc_arena_alloc(&a, 1));
    }
    assert_int_equal(a.used_bytes, 1024);
    assert_null(dc_arena_alloc(&a, 1));
    assert_null(dc_arena_alloc(&a, 0));
    assert_null(dc_arena_dup(&a, DC_S("x")).ptr);
    assert_int_equal(a.used_bytes, 1024);
    dc_arena_free(&a);
    assert_int_equal(a.used_bytes, 0);
    assert_null(dc_arena_alloc(&a, 1025));
    assert_non_null(dc_arena_alloc(&a, 1024));
    dc_arena_free(&a);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    struct dc_arena a;
    dc_arena_init(&a, 256, 0);
    assert_non_null(dc_arena_alloc(&a, 1));
    assert_null(dc_arena_alloc(&a, SIZE_MAX));
    assert_null(dc_arena_alloc(&a, SIZE_MAX - 15));
    assert_null(dc_arena_alloc(&a, SIZE_MAX - 31));
    assert_null(dc_arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_null(dc_arena_dup(&a, dc_slice_make("x", SIZE_MAX)).ptr);
    assert_int_equal(a.used_bytes, 16);
    dc_arena_free(&a);
}

static void calloc_zeroes_and_dup_ends_in_nul(void **state)
{
    (void)state;
    struct dc_arena a;
    dc_arena_init(&a, 256, 0);
    memset(dc_arena_alloc(&a, 200), 0xAA, 200);
    dc_arena_free(&a);
    char *zeros = dc_arena_calloc(&a, 10, 10);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(zeros[i], 0);
    }
    struct dc_slice s = dc_arena_dup(&a, DC_S("a\0b"));
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.ptr, "a\0b\0", 4);
    s = dc_arena_dup(&a, DC_SLICE_NULL);
    assert_int_equal(s.len, 0);
    assert_string_equal(s.ptr, "");
    dc_arena_free(&a);
}

static void a_large_request_leaves_room_in_the_current_chunk(void **state)
{
    (void)state;
    struct dc_arena a;
    dc_arena_init(&a, 4096, 0);
    char *first = dc_arena_alloc(&a, 16);
    assert_non_null(dc_arena_alloc(&a, 1000000));
    char *second = dc_arena_alloc(&a, 16);
    assert_ptr_equal(second, first + 16);
    dc_arena_free(&a);
}

static void failed_allocations_leave_the_arena_usable(void **state)
{
    (void)state;
    bool has_failed = true;
    for (size_t n = 0; has_failed; n++) {
        struct dc_arena a;
        dc_arena_init(&a, 256, 0);
        alloc_fail_after(n);
        size_t used = 0;
        bool is_short = false;
        for (size_t i = 0; i < 60; i++) {
            if (dc_arena_alloc(&a, i * 16 + 16) != NULL) {
                used += i * 16 + 16;
            } else {
                is_short = true;
            }
        }
        has_failed = alloc_fail_stop();
        assert_int_equal(is_short, has_failed);
        assert_int_equal(a.used_bytes, used);
        assert_non_null(dc_arena_alloc(&a, 5000));
        dc_arena_free(&a);
    }
}

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
static void bytes_that_were_not_handed_out_are_poisoned(void **state)
{
    (void)state;
    struct dc_arena a;
    dc_arena_init(&a, 256, 0);
    for (size_t size = 1; size <= 40; size++) {
        char *p = dc_arena_alloc(&a, size);
        assert_non_null(p);
        assert_null(__asan_region_is_poisoned(p, size));
        assert_true(__asan_address_is_poisoned(p + size));
    }
    dc_arena_free(&a);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_do_not_overlap),
        cmocka_unit_test(the_limit_counts_what_was_handed_out),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(calloc_zeroes_and_dup_ends_in_nul),
        cmocka_unit_test(a_large_request_leaves_room_in_the_current_chunk),
        cmocka_unit_test(failed_allocations_leave_the_arena_usable),
#ifdef HAS_ASAN
        cmocka_unit_test(bytes_that_were_not_handed_out_are_poisoned),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
