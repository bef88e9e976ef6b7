/* What a stream in this process keeps, beyond the limits of its row. */
#include "base/mem.h"
#include "bus/bus_memory_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MIB ((size_t)1024 * 1024)

static const uint64_t seed[2] = {1, 2};
static const char *const subjects[] = {"t.>", NULL};

/* A message of a quarter of a MiB (and a little): the largest there are. */
static void store(struct dc_bus_mstream *s, const char *subject)
{
    char *bytes = dc_calloc(1, DC_BUS_PAYLOAD_MAX_BYTES);
    struct dc_bus_mmsg *m =
        dc_bus_mmsg_new(dc_slice_z(subject), dc_slice_make(bytes, DC_BUS_PAYLOAD_MAX_BYTES));
    dc_free(bytes);
    assert_non_null(m);
    (void)dc_bus_mstream_store(s, m, DC_SLICE_NULL, 0);
    dc_bus_mmsg_unref(m);
}

static uint64_t first_sequence(const struct dc_bus_mstream *s)
{
    assert_false(dc_list_is_empty(&s->messages));
    return DC_LIST_ENTRY(s->messages.next, const struct dc_bus_mmsg, link)->sequence;
}

static void what_nobody_has_to_read_any_more_is_kept_up_to_16_mib(void **state)
{
    (void)state;
    const struct dc_bus_stream def = {.name = "T", .subjects = subjects, .max_bytes = 64 * MIB};
    struct dc_bus_mstream s = {0};
    dc_bus_mstream_init(&s, &def, seed);
    for (int i = 0; i < 100; i++) {
        store(&s, "t.a");
        assert_true(s.bytes <= 16 * MIB);
    }
    assert_true(s.bytes > 15 * MIB);
    assert_int_equal(s.last_sequence, 100);
    dc_bus_mstream_free(&s);
}

static void what_somebody_still_has_to_read_is_kept_up_to_the_limit_of_the_row(void **state)
{
    (void)state;
    const struct dc_bus_stream def = {.name = "T", .subjects = subjects, .max_bytes = 24 * MIB};
    const struct dc_bus_sub_opts all = {.pattern = DC_S("t.>"), .start = DC_BUS_ALL};
    struct dc_bus_mstream s = {0};
    struct dc_bus_cursor c;
    size_t budget = 10;
    dc_bus_mstream_init(&s, &def, seed);
    dc_bus_cursor_open(&s, &c, &all);
    for (int i = 0; i < 80; i++) {
        store(&s, "t.a");
    }
    assert_true(s.bytes > 16 * MIB);
    assert_int_equal(first_sequence(&s), 1);
    /* Two are read: at the next message they go, and no more than they. */
    for (int i = 0; i < 2; i++) {
        assert_non_null(dc_bus_cursor_next(&s, &c, all.pattern, &budget));
        dc_bus_cursor_pass(&s, &c);
    }
    store(&s, "t.a");
    assert_int_equal(first_sequence(&s), 3);
    for (int i = 0; i < 40; i++) {
        store(&s, "t.a");
        assert_true(s.bytes <= 24 * MIB);
    }
    assert_true(s.bytes > 23 * MIB);
    dc_bus_cursor_close(&c);
    dc_bus_mstream_free(&s);
}

static void last_values_are_state_and_stay(void **state)
{
    (void)state;
    const struct dc_bus_stream def = {
        .name = "T", .subjects = subjects, .last_per_subject = true, .max_bytes = 64 * MIB};
    struct dc_bus_mstream s = {0};
    dc_bus_mstream_init(&s, &def, seed);
    for (int i = 0; i < 80; i++) {
        char subject[] = "t.aa";
        subject[2] = (char)('a' + i / 10);
        subject[3] = (char)('a' + i % 10);
        store(&s, subject);
    }
    assert_int_equal(s.subjects.count, 80);
    assert_int_equal(first_sequence(&s), 1);
    dc_bus_mstream_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_has_to_read_any_more_is_kept_up_to_16_mib),
        cmocka_unit_test(what_somebody_still_has_to_read_is_kept_up_to_the_limit_of_the_row),
        cmocka_unit_test(last_values_are_state_and_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
