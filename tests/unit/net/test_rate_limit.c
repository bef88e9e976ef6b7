#include "net/rate_limit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct dc_mono at(int64_t ms)
{
    return (struct dc_mono){1000000 + ms};
}

static void a_burst_passes_then_the_rate_holds(void **state)
{
    (void)state;
    struct dc_rate_limit *l = dc_rate_limit_create(10, 3, 100);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(0)), 0);
    }
    assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(0)), 100);
    assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(60)), 40); /* asking costs nothing */
    assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(100)), 0);
    assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(100)), 100);
    /* Full again, and not fuller than the burst. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(60000)), 0);
    }
    assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(60000)), 100);
    dc_rate_limit_destroy(l);
}

static void waiting_as_long_as_told_is_enough(void **state)
{
    (void)state;
    struct dc_rate_limit *l = dc_rate_limit_create(3, 2, 100);
    int64_t now = 0;
    size_t granted = 0;
    while (now < 100000) {
        uint64_t wait = dc_rate_limit_take(l, DC_S("a"), at(now));
        if (wait == 0) {
            granted++;
            continue;
        }
        now += (int64_t)wait;
        assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(now)), 0);
        granted++;
    }
    assert_in_range(granted, 290, 304);
    dc_rate_limit_destroy(l);
}

static void keys_do_not_share(void **state)
{
    (void)state;
    struct dc_rate_limit *l = dc_rate_limit_create(1, 1, 100);
    assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(0)), 0);
    assert_int_equal(dc_rate_limit_take(l, DC_S("b"), at(0)), 0);
    assert_int_equal(dc_rate_limit_take(l, DC_S(""), at(0)), 0);
    assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(0)), 1000);
    assert_int_equal(dc_rate_limit_take(l, DC_S(""), at(0)), 1000);
    dc_rate_limit_destroy(l);
}

static void no_rate_is_no_limit(void **state)
{
    (void)state;
    struct dc_rate_limit *l = dc_rate_limit_create(0, 1, 1);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(dc_rate_limit_take(l, DC_S("a"), at(0)), 0);
    }
    dc_rate_limit_destroy(l);
    dc_rate_limit_destroy(NULL);
}

static void the_fullest_bucket_is_forgotten_when_there_are_too_many(void **state)
{
    (void)state;
    struct dc_rate_limit *l = dc_rate_limit_create(1, 2, 2);
    assert_int_equal(dc_rate_limit_take(l, DC_S("busy"), at(0)), 0);
    assert_int_equal(dc_rate_limit_take(l, DC_S("busy"), at(0)), 0);
    /* A thousand strangers push each other out, never the one who has spent most. */
    for (int i = 0; i < 1000; i++) {
        char key[16];
        int n = snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(dc_rate_limit_take(l, dc_slice_make(key, (size_t)n), at(0)), 0);
    }
    assert_int_not_equal(dc_rate_limit_take(l, DC_S("busy"), at(0)), 0);
    dc_rate_limit_destroy(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_passes_then_the_rate_holds),
        cmocka_unit_test(waiting_as_long_as_told_is_enough),
        cmocka_unit_test(keys_do_not_share),
        cmocka_unit_test(no_rate_is_no_limit),
        cmocka_unit_test(the_fullest_bucket_is_forgotten_when_there_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
