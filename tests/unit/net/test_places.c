#include "../base/alloc_fail.h"
#include "base/random.h"
#include "net/places.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka needs the four above */
#include <cmocka.h>

static struct dc_slice key_of(char text[24], unsigned n)
{
    int len = snprintf(text, 24, "key-%u", n);
    return dc_slice_make(text, (size_t)len);
}

static void each_key_has_its_own_places_and_gets_them_back(void **state)
{
    (void)state;
    struct dc_places *p = dc_places_create(2);
    dc_place a1, a2, a3, b1;
    assert_true(dc_places_take(p, DC_S("a"), &a1));
    assert_true(dc_places_take(p, DC_S("a"), &a2));
    assert_false(dc_places_take(p, DC_S("a"), &a3));
    assert_int_equal(a3, 0);
    assert_true(dc_places_take(p, DC_S("b"), &b1));
    assert_int_equal(dc_places_count(p), 2);
    dc_places_leave(p, &a1);
    assert_int_equal(a1, 0);
    dc_places_leave(p, &a1); /* nothing */
    assert_true(dc_places_take(p, DC_S("a"), &a1));
    assert_false(dc_places_take(p, DC_S("a"), &a3));
    dc_places_leave(p, &a1);
    dc_places_leave(p, &a2);
    assert_int_equal(dc_places_count(p), 1); /* who holds none is forgotten */
    dc_places_leave(p, &b1);
    assert_int_equal(dc_places_count(p), 0);
    dc_places_destroy(p);
    dc_places_destroy(NULL);
}

static void without_a_limit_nothing_is_counted(void **state)
{
    (void)state;
    struct dc_places *p = dc_places_create(0);
    for (int i = 0; i < 1000; i++) {
        dc_place place = 1;
        assert_true(dc_places_take(p, DC_S("a"), &place));
        assert_int_equal(place, 0);
    }
    assert_int_equal(dc_places_count(p), 0);
    dc_places_destroy(p);
}

/* Against plain counters, in an order of chance. */
static void any_order_of_coming_and_going_keeps_the_counts(void **state)
{
    enum { KEYS = 500, EACH = 3, STEPS = 100000 };
    static dc_place held[KEYS][EACH];
    static unsigned counts[KEYS];
    (void)state;
    struct dc_places *p = dc_places_create(EACH);
    size_t n_holders = 0;
    for (int i = 0; i < STEPS; i++) {
        char text[24];
        unsigned k = (unsigned)dc_random_below(NULL, KEYS);
        dc_place place;
        if (dc_random_below(NULL, 2) == 0) {
            bool is_granted = dc_places_take(p, key_of(text, k), &place);
            assert_int_equal(is_granted, counts[k] < EACH);
            if (is_granted) {
                n_holders += counts[k] == 0;
                held[k][counts[k]++] = place;
            }
        } else if (counts[k] > 0) {
            dc_places_leave(p, &held[k][--counts[k]]);
            n_holders -= counts[k] == 0;
        }
        assert_int_equal(dc_places_count(p), n_holders);
    }
    dc_places_destroy(p);
}

static void without_memory_no_place_is_given_and_none_is_lost(void **state)
{
    (void)state;
    struct dc_places *p = dc_places_create(1);
    dc_place place, places[48];
    char text[24];
    alloc_fail_after(0);
    assert_false(dc_places_take(p, DC_S("a"), &place));
    assert_true(alloc_fail_stop());
    for (unsigned i = 0; i < DC_ARRAY_LEN(places); i++) {
        assert_true(dc_places_take(p, key_of(text, i), &places[i]));
    }
    alloc_fail_after(0); /* the table would have to grow */
    assert_false(dc_places_take(p, DC_S("one more"), &place));
    assert_true(alloc_fail_stop());
    assert_int_equal(dc_places_count(p), DC_ARRAY_LEN(places));
    assert_true(dc_places_take(p, DC_S("one more"), &place));
    assert_false(dc_places_take(p, key_of(text, 7), &place));
    dc_places_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_has_its_own_places_and_gets_them_back),
        cmocka_unit_test(without_a_limit_nothing_is_counted),
        cmocka_unit_test(any_order_of_coming_and_going_keeps_the_counts),
        cmocka_unit_test(without_memory_no_place_is_given_and_none_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
