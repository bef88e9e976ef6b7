/* Reading cells, whatever their text is. */
#include "db/db_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct fake {
    struct dc_db_result base;
    struct dc_slice text;
};

static struct dc_slice fake_cell(const struct dc_db_result *r, size_t row, size_t col)
{
    assert_true(row == 0 && col == 0);
    return ((const struct fake *)r)->text;
}

static struct fake fake_of(struct dc_slice text, bool utc_is_ms)
{
    return (struct fake){
        {.rows = 1, .cols = 1, .affected = 7, .utc_is_ms = utc_is_ms, .cell = fake_cell}, text};
}

static void texts_are_read_as_what_is_asked_for(void **state)
{
    static const struct {
        struct dc_slice text;
        int64_t num, utc_ms;
        bool flag;
    } rows[] = {
        {{NULL, 0}, 0, 0, false},
        {{"", 0}, 0, 0, false},
        {{"1", 1}, 1, 0, true},
        {{"0", 1}, 0, 0, false},
        {{"t", 1}, 0, 0, true},
        {{"f", 1}, 0, 0, false},
        {{"true", 4}, 0, 0, false},
        {{"-9223372036854775808", 20}, INT64_MIN, 0, false},
        {{"9223372036854775807", 19}, INT64_MAX, 0, false},
        {{"9223372036854775808", 19}, 0, 0, false},
        {{"12x", 3}, 0, 0, false},
        {{"2026-11-20 10:15:00.123456+00", 29}, 0, 1795169700123, false},
        {{"2026-11-20 10:15:00+00", 22}, 0, 1795169700000, false},
        {{"2026-11-20 15:45:00+05:30", 25}, 0, 1795169700000, false},
        {{"1969-12-31 23:59:59.999+00", 26}, 0, -1, false},
        {{"infinity", 8}, 0, 0, false},
    };

    assert_null(*state);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct fake f = fake_of(rows[i].text, false);
        const struct dc_db_result *r = &f.base;
        assert_int_equal(dc_db_rows(r), 1);
        assert_int_equal(dc_db_affected(r), 7);
        assert_int_equal(dc_db_is_null(r, 0, 0), rows[i].text.ptr == NULL);
        assert_true(dc_db_get_text(r, 0, 0).ptr == rows[i].text.ptr);
        assert_true(dc_db_get_int(r, 0, 0) == rows[i].num);
        assert_int_equal(dc_db_get_bool(r, 0, 0), rows[i].flag);
        if (dc_db_get_utc(r, 0, 0).ms != rows[i].utc_ms) {
            print_error("row %zu: %lld\n", i, (long long)dc_db_get_utc(r, 0, 0).ms);
            fail();
        }
    }
}

static void sqlite_times_are_milliseconds(void **state)
{
    struct fake f = fake_of(DC_S("-62135596800000"), true);

    assert_null(*state);
    assert_true(dc_db_get_utc(&f.base, 0, 0).ms == -62135596800000);
    f = fake_of(DC_SLICE_NULL, true);
    assert_true(dc_db_get_utc(&f.base, 0, 0).ms == 0);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(texts_are_read_as_what_is_asked_for),
        cmocka_unit_test(sqlite_times_are_milliseconds),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
