#include "base/time.h"
#include "seeded_random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
/* cmocka needs the four above */
#include <cmocka.h>

#define MIN_MS INT64_C(-62167219200000)
#define MAX_MS INT64_C(253402300799999)

static void moments_are_written_as_iso_8601(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1795169700123, "2026-11-20T10:15:00.123Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {4107542399999, "2100-02-28T23:59:59.999Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {MIN_MS, "0000-01-01T00:00:00.000Z"},
        {MAX_MS, "9999-12-31T23:59:59.999Z"},
        {MIN_MS - 1, "0000-01-01T00:00:00.000Z"},
        {MAX_MS + 1, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char text[DC_ISO_LEN + 1];
        dc_utc_format((struct dc_utc){rows[i].ms}, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void check_against_the_c_library(int64_t ms)
{
    int64_t milli = ((ms % 1000) + 1000) % 1000;
    time_t seconds = (time_t)((ms - milli) / 1000);
    struct tm tm;
    assert_non_null(gmtime_r(&seconds, &tm));
    char expected[64];
    snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)milli);
    char text[DC_ISO_LEN + 1];
    dc_utc_format((struct dc_utc){ms}, text);
    assert_string_equal(text, expected);
    struct dc_utc back = {0};
    assert_true(dc_utc_parse(dc_slice_z(text), &back));
    assert_int_equal(back.ms, ms);
}

static void every_day_agrees_with_the_c_library_and_reads_back(void **state)
{
    (void)state;
    struct seeded_random r = {5};
    for (int64_t day_ms = MIN_MS; day_ms < MAX_MS; day_ms += INT64_C(86400000) * 17) {
        check_against_the_c_library(day_ms);
        check_against_the_c_library(day_ms + (int64_t)seeded_below(&r, 86400000));
    }
    /* each single day of the years around now */
    for (int64_t day = 0; day < 366 * 80; day++) {
        check_against_the_c_library(day * 86400000 - 1);
    }
}

static void dates_are_read_in_all_documented_spellings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *utc; /* NULL: refused */
    } rows[] = {
        {"2026-11-20T10:15:00.123Z", "2026-11-20T10:15:00.123Z"},
        {"2026-11-20T10:15:00Z", "2026-11-20T10:15:00.000Z"},
        {"2026-11-20 10:15:00Z", "2026-11-20T10:15:00.000Z"},
        {"2026-11-20 10:15:00.5+00", "2026-11-20T10:15:00.500Z"},
        {"2026-11-20T10:15:00.123456+02:00", "2026-11-20T08:15:00.123Z"},
        {"2026-11-20T10:15:00.123999999-05:30", "2026-11-20T15:45:00.123Z"},
        {"2026-01-01T00:00:00+01", "2025-12-31T23:00:00.000Z"},
        {"2024-02-29T00:00:00-00:00", "2024-02-29T00:00:00.000Z"},
        {"0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"},
        {"9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999Z"},
        {"", NULL},
        {"2026-11-20", NULL},
        {"2026-11-20T10:15:00", NULL},
        {"2026-11-20T10:15Z", NULL},
        {"2026-11-20t10:15:00Z", NULL},
        {"2026-11-20T10:15:00z", NULL},
        {"2026-11-20T10:15:00.Z", NULL},
        {"2026-11-20T10:15:00,5Z", NULL},
        {"2026-11-20T10:15:00.1234567890Z", NULL},
        {"2026-11-20T10:15:00Z ", NULL},
        {" 2026-11-20T10:15:00Z", NULL},
        {"2026-11-20  10:15:00Z", NULL},
        {"2026-11-20T10:15:00+2:00", NULL},
        {"2026-11-20T10:15:00+02:", NULL},
        {"2026-11-20T10:15:00+0200", NULL},
        {"2026-11-20T10:15:00+24:00", NULL},
        {"2026-11-20T10:15:00+02:60", NULL},
        {"2026-11-20T10:15:00+", NULL},
        {"2026-13-20T10:15:00Z", NULL},
        {"2026-00-20T10:15:00Z", NULL},
        {"2026-11-00T10:15:00Z", NULL},
        {"2026-11-31T10:15:00Z", NULL},
        {"2026-02-29T10:15:00Z", NULL},
        {"1900-02-29T10:15:00Z", NULL},
        {"2026-11-20T24:00:00Z", NULL},
        {"2026-11-20T10:60:00Z", NULL},
        {"2026-11-20T10:15:60Z", NULL},
        {"+026-11-20T10:15:00Z", NULL},
        {"-026-11-20T10:15:00Z", NULL},
        {"2026-1-020T10:15:00Z", NULL},
        {"2026/11/20T10:15:00Z", NULL},
        {"20261120T101500Z", NULL},
        {"0000-01-01T00:00:00+00:01", NULL},
        {"9999-12-31T23:59:59-00:01", NULL},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %s\n", rows[i].text);
        struct dc_utc t = {77};
        bool is_read = dc_utc_parse(dc_slice_z(rows[i].text), &t);
        assert_int_equal(is_read, rows[i].utc != NULL);
        if (is_read) {
            char text[DC_ISO_LEN + 1];
            dc_utc_format(t, text);
            assert_string_equal(text, rows[i].utc);
        } else {
            assert_int_equal(t.ms, 77);
        }
    }
    struct dc_utc t;
    assert_false(dc_utc_parse(DC_SLICE_NULL, &t));
    assert_false(dc_utc_parse(dc_slice_make("2026-11-20T10:15:00Z\0", 21), &t));
}

static void every_cut_of_a_date_is_refused(void **state)
{
    (void)state;
    static const char text[] = "2026-11-20T10:15:00.123+02:00";
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        struct dc_utc t;
        /* +02 without minutes is whole */
        assert_int_equal(dc_utc_parse(dc_slice_make(text, n), &t), n == sizeof(text) - 4);
    }
}

static void clocks_tell_the_time(void **state)
{
    (void)state;
    struct dc_mono a = dc_mono_now();
    uint64_t b_us = dc_mono_now_us();
    struct dc_mono c = dc_mono_now();
    assert_true(a.ms <= (int64_t)(b_us / 1000));
    assert_true((int64_t)(b_us / 1000) <= c.ms);
    time_t before = time(NULL);
    struct dc_utc now = dc_utc_now();
    /* time() may lag behind the exact clock by a tick */
    assert_true(now.ms / 1000 >= before);
    assert_true(now.ms < MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_written_as_iso_8601),
        cmocka_unit_test(every_day_agrees_with_the_c_library_and_reads_back),
        cmocka_unit_test(dates_are_read_in_all_documented_spellings),
        cmocka_unit_test(every_cut_of_a_date_is_refused),
        cmocka_unit_test(clocks_tell_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
