#include "base/random.h"
#include "dies.h"
#include "seeded_random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void the_system_gives_different_bytes_each_time(void **state)
{
    (void)state;
    unsigned char a[1000], b[1000];
    const struct dc_random system = {0};
    dc_random_fill(NULL, a, sizeof(a));
    dc_random_fill(&system, b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    /* no part was left out: 1000 equal bytes in a row do not happen */
    for (size_t i = 0; i < sizeof(a); i += 100) {
        bool is_flat = true;
        for (size_t k = 1; k < 100; k++) {
            is_flat = is_flat && a[i + k] == a[i];
        }
        assert_false(is_flat);
    }
    dc_random_fill(NULL, a, 0);
}

static void a_given_source_is_used_and_replayed(void **state)
{
    (void)state;
    struct seeded_random a = {7}, b = {7};
    struct dc_random from_a = seeded_source(&a), from_b = seeded_source(&b);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(dc_random_u64(&from_a), dc_random_u64(&from_b));
    }
    assert_true(dc_random_u64(&from_a) != dc_random_u64(&from_a));
}

static void a_bounded_number_is_below_its_bound_and_reaches_all_values(void **state)
{
    (void)state;
    struct seeded_random s = {3};
    struct dc_random r = seeded_source(&s);
    static const uint64_t bounds[] = {1, 2, 3, 7, 100};
    for (size_t i = 0; i < DC_ARRAY_LEN(bounds); i++) {
        size_t counts[100] = {0};
        for (int k = 0; k < 20000; k++) {
            uint64_t v = dc_random_below(&r, bounds[i]);
            assert_true(v < bounds[i]);
            counts[v]++;
        }
        for (size_t v = 0; v < bounds[i]; v++) {
            assert_in_range(counts[v], 20000 / bounds[i] * 7 / 10, 20000 / bounds[i] * 13 / 10);
        }
    }
}

/* Gives the numbers of a list, then stops the test. */
struct script {
    const uint64_t *values;
    size_t count, at;
};

static void fill_from_script(void *data, void *out, size_t len)
{
    struct script *s = data;
    assert_int_equal(len, sizeof(uint64_t));
    assert_true(s->at < s->count);
    memcpy(out, &s->values[s->at++], sizeof(uint64_t));
}

static void numbers_that_would_bias_the_result_are_drawn_again(void **state)
{
    (void)state;
    /* bound 2^63+1: all below 2^64 mod bound = 2^63-1 must be skipped */
    static const uint64_t values[] = {0, (UINT64_C(1) << 63) - 2, (UINT64_C(1) << 63) - 1};
    struct script s = {values, DC_ARRAY_LEN(values), 0};
    const struct dc_random r = {fill_from_script, &s};
    assert_int_equal(dc_random_below(&r, (UINT64_C(1) << 63) + 1), (UINT64_C(1) << 63) - 1);
    assert_int_equal(s.at, 3);
}

static void below_zero_values(void *data)
{
    dc_random_below(data, 0);
}

static void a_bound_of_zero_aborts(void **state)
{
    (void)state;
    assert_true(dies_with("assertion failed: bound > 0", below_zero_values, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_gives_different_bytes_each_time),
        cmocka_unit_test(a_given_source_is_used_and_replayed),
        cmocka_unit_test(a_bounded_number_is_below_its_bound_and_reaches_all_values),
        cmocka_unit_test(numbers_that_would_bias_the_result_are_drawn_again),
        cmocka_unit_test(a_bound_of_zero_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
