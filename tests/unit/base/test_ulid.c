#include "base/ulid.h"
#include "seeded_random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void fill_ones(void *data, void *out, size_t len)
{
    memset(out, *(int *)data, len);
}

static void the_text_is_time_and_random_part_in_base_32(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        int fill;
        const char *text;
    } rows[] = {
        /* the example of the ULID specification for the time part */
        {1469918176385, 0x00, "01ARYZ6S410000000000000000"},
        {1469918176385, 0xFF, "01ARYZ6S41ZZZZZZZZZZZZZZZZ"},
        {1469918176385, 0x80, "01ARYZ6S41G2081040G2081040"},
        {1, 0x00, "00000000010000000000000000"},
        {(INT64_C(1) << 48) - 1, 0x00, "7ZZZZZZZZZ0000000000000000"},
        {INT64_MAX, 0x00, "7ZZZZZZZZZ0000000000000000"},
        {0, 0x00, "00000000000000000000000001"},
        {-1, 0x00, "00000000000000000000000001"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        int fill = rows[i].fill;
        const struct dc_random r = {fill_ones, &fill};
        struct dc_ulid_gen g = {.random = &r};
        char text[DC_ULID_LEN + 1];
        dc_ulid_next(&g, (struct dc_utc){rows[i].ms}, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void ids_increase_strictly_whatever_the_clock_does(void **state)
{
    (void)state;
    struct seeded_random s = {1};
    struct dc_random r = seeded_source(&s);
    struct dc_ulid_gen g = {.random = &r};
    char last[DC_ULID_LEN + 1] = "";
    int64_t now_ms = 1700000000000;
    for (int i = 0; i < 200000; i++) {
        /* stands still, steps forward, steps back */
        now_ms += (int64_t)seeded_below(&s, 7) - 3;
        char text[DC_ULID_LEN + 1];
        dc_ulid_next(&g, (struct dc_utc){now_ms}, text);
        assert_true(strcmp(last, text) < 0);
        memcpy(last, text, sizeof(last));
    }
}

static void the_random_part_that_runs_over_goes_on_in_the_next_millisecond(void **state)
{
    (void)state;
    int fill = 0xFF;
    const struct dc_random r = {fill_ones, &fill};
    struct dc_ulid_gen g = {.random = &r};
    char a[DC_ULID_LEN + 1], b[DC_ULID_LEN + 1], c[DC_ULID_LEN + 1];
    dc_ulid_next(&g, (struct dc_utc){31}, a);
    fill = 0;
    dc_ulid_next(&g, (struct dc_utc){31}, b);
    dc_ulid_next(&g, (struct dc_utc){31}, c);
    assert_string_equal(a, "000000000ZZZZZZZZZZZZZZZZZ");
    assert_string_equal(b, "00000000100000000000000000");
    assert_string_equal(c, "00000000100000000000000001");
}

static void a_new_millisecond_draws_a_new_random_part(void **state)
{
    (void)state;
    struct dc_ulid_gen g = {0}; /* the operating system */
    char a[DC_ULID_LEN + 1], b[DC_ULID_LEN + 1];
    dc_ulid_next(&g, (struct dc_utc){1000}, a);
    dc_ulid_next(&g, (struct dc_utc){1001}, b);
    assert_true(strcmp(a + 10, b + 10) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_time_and_random_part_in_base_32),
        cmocka_unit_test(ids_increase_strictly_whatever_the_clock_does),
        cmocka_unit_test(the_random_part_that_runs_over_goes_on_in_the_next_millisecond),
        cmocka_unit_test(a_new_millisecond_draws_a_new_random_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
