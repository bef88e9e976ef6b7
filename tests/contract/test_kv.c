/* What every key-value backend does.
 *
 *   test_kv memory
 *   test_kv redis      needs script/with-redis; without it the cases are skipped (77), except where
 *                      CI is true: there a skip must not hide
 *   test_kv redis --tls=script/with-redis     over TLS: starts itself again under the script */
#include "base/mem.h"
#include "kv_fixture.h"
#include <string.h>

static const struct backend {
    const char *name;
    const char *url_variable; /* NULL: needs no server */
} backends[] = {{"memory", NULL}, {"redis", "TEST_REDIS_URL"}};

static const struct backend *current;

static bool is_memory(void)
{
    return current->url_variable == NULL;
}

static int open_rig(void **state)
{
    struct rig *g = rig_create();
    if (!is_memory()) {
        g->opts.url = getenv(current->url_variable);
        g->opts.tls_ca_file = getenv("TEST_REDIS_CA");
        admin("FLUSHALL");
    }
    rig_open(g);
    *state = g;
    return 0;
}

static int open_small_rig(void **state)
{
    struct rig *g = rig_create();
    g->opts.max_keys = 5;
    rig_open(g);
    *state = g;
    return 0;
}

static int close_rig(void **state)
{
    rig_destroy(*state);
    return 0;
}

static void a_value_is_set_read_replaced_and_deleted(void **state)
{
    struct rig *g = *state;
    assert_null(get(g, "k"));
    assert_int_equal(set(g, "k", "one", 0), DC_OK);
    assert_string_equal(get(g, "k"), "one");
    assert_int_equal(set(g, "k", "two", 0), DC_OK); /* same length */
    assert_string_equal(get(g, "k"), "two");
    assert_int_equal(set(g, "k", "longer", 0), DC_OK);
    assert_string_equal(get(g, "k"), "longer");
    assert_int_equal(set(g, "k", "", 0), DC_OK);
    assert_string_equal(get(g, "k"), ""); /* empty is not missing */
    assert_int_equal(delete_key(g, "k"), 1);
    assert_int_equal(delete_key(g, "k"), 0);
    assert_null(get(g, "k"));
}

static void a_value_expires_and_never_early(void **state)
{
    struct rig *g = *state;
    uint64_t before_us = dc_mono_now_us();
    assert_int_equal(set(g, "k", "v", 30), DC_OK);
    assert_int_equal(set(g, "kept", "v", 30), DC_OK);
    assert_int_equal(set(g, "kept", "v", 0), DC_OK); /* no longer expires */
    while (get(g, "k") != NULL) {
    }
    /* The loop's clock counts whole milliseconds. */
    assert_true(dc_mono_now_us() - before_us >= 29 * 1000);
    assert_string_equal(get(g, "kept"), "v");
    assert_int_equal(delete_key(g, "k"), 0);
}

static void setting_again_prolongs(void **state)
{
    struct rig *g = *state;
    assert_int_equal(set(g, "k", "v", 20), DC_OK);
    assert_int_equal(set(g, "k", "v", 3600000), DC_OK);
    assert_int_equal(set(g, "marker", "v", 40), DC_OK);
    while (get(g, "marker") != NULL) {
    }
    assert_string_equal(get(g, "k"), "v");
}

static void keys_and_values_are_any_bytes(void **state)
{
    struct rig *g = *state;
    struct dc_slice key = {"\0a\xff ", 4}, other = {"\0a\xff", 3};
    char big[DC_KV_VALUE_MAX_BYTES];
    memset(big, 0, sizeof(big));
    enum dc_status st =
        CALL(g, dc_kv_set(g->kv, key, dc_slice_make(big, sizeof(big)), 0, on_answer, g, NULL));
    assert_int_equal(st, DC_OK);
    st = CALL(g, dc_kv_get(g->kv, key, on_answer, g, NULL));
    assert_int_equal(st, DC_OK);
    assert_true(g->has_value);
    st = CALL(g, dc_kv_get(g->kv, other, on_answer, g, NULL));
    assert_int_equal(st, DC_OK);
    assert_false(g->has_value);
}

static void bad_arguments_are_refused_by_the_call_itself(void **state)
{
    struct rig *g = *state;
    static char bytes[DC_KV_VALUE_MAX_BYTES + 1];
    struct dc_slice empty = DC_SLICE_NULL, good = DC_S("k");
    struct dc_slice long_key = {bytes, DC_KV_KEY_MAX_BYTES + 1};
    struct dc_slice long_value = {bytes, sizeof(bytes)};
    struct dc_op unused;
    struct dc_op *op = &unused;
    struct dc_kv *kv = g->kv;
    const struct {
        enum dc_status got, expected;
    } rows[] = {
        {dc_kv_set(kv, empty, good, 0, on_answer, g, &op), DC_INVALID},
        {dc_kv_set(kv, long_key, good, 0, on_answer, g, &op), DC_INVALID},
        {dc_kv_set(kv, good, long_value, 0, on_answer, g, &op), DC_TOO_LARGE},
        {dc_kv_get(kv, empty, on_answer, g, &op), DC_INVALID},
        {dc_kv_delete(kv, long_key, on_answer, g, &op), DC_INVALID},
        {dc_kv_lease_acquire(kv, empty, good, 10, on_answer, g, &op), DC_INVALID},
        {dc_kv_lease_acquire(kv, good, empty, 10, on_answer, g, &op), DC_INVALID},
        {dc_kv_lease_acquire(kv, good, good, 0, on_answer, g, &op), DC_INVALID},
        {dc_kv_lease_release(kv, good, long_key, on_answer, g, &op), DC_INVALID},
        {dc_kv_expiry_add(kv, good, empty, 10, on_answer, g, &op), DC_INVALID},
        {dc_kv_expiry_add(kv, long_key, good, 10, on_answer, g, &op), DC_INVALID},
        {dc_kv_expiry_remove(kv, empty, good, on_answer, g, &op), DC_INVALID},
        {dc_kv_expiry_take_due(kv, empty, 1, on_due, g, &op), DC_INVALID},
        /* The port's own keys. */
        {dc_kv_set(kv, DC_S("daarion:kv:token"), good, 0, on_answer, g, &op), DC_INVALID},
        {dc_kv_get(kv, DC_S("daarion:kv:lease:x"), on_answer, g, &op), DC_INVALID},
        {dc_kv_delete(kv, DC_S("daarion:kv:due:x"), on_answer, g, &op), DC_INVALID},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        if (rows[i].got != rows[i].expected) {
            fail_msg("row %zu: %s", i, dc_status_code(rows[i].got));
        }
    }
    assert_null(op);
    assert_null(get(g, "k")); /* and no answer came for them: waiting would fall below 0 */
}

static void more_keys_than_allowed_are_refused_and_known_ones_are_not(void **state)
{
    struct rig *g = *state;
    assert_int_equal(set(g, "a", "1", 0), DC_OK);
    assert_int_equal(set(g, "b", "1", 0), DC_OK);
    assert_int_equal(acquire(g, "lease", "me", 3600000), DC_OK);
    assert_int_equal(add(g, "set", "m1", 3600000), DC_OK);
    assert_int_equal(add(g, "set", "m2", 3600000), DC_OK);
    assert_int_equal(set(g, "c", "1", 0), DC_LIMIT);
    assert_int_equal(acquire(g, "lease2", "me", 1000), DC_LIMIT);
    assert_int_equal(add(g, "set", "m3", 0), DC_LIMIT);
    assert_int_equal(add(g, "set3", "m3", 0), DC_LIMIT);
    assert_int_equal(set(g, "a", "22", 0), DC_OK);
    assert_int_equal(acquire(g, "lease", "me", 3600000), DC_OK);
    assert_int_equal(add(g, "set", "m1", 3600000), DC_OK);
    assert_int_equal(delete_key(g, "b"), 1);
    assert_int_equal(set(g, "c", "1", 0), DC_OK);
}

static void a_lease_has_one_holder_and_a_rising_token(void **state)
{
    struct rig *g = *state;
    assert_int_equal(acquire(g, "leader", "a", 3600000), DC_OK);
    int64_t first = g->number;
    assert_true(first > 0);
    assert_int_equal(acquire(g, "leader", "b", 3600000), DC_CONFLICT);
    assert_int_equal(acquire(g, "leader", "a", 3600000), DC_OK);
    assert_int_equal(g->number, first); /* a renewal */
    assert_int_equal(release(g, "leader", "b"), DC_CONFLICT);
    assert_int_equal(release(g, "leader", "a"), DC_OK);
    assert_int_equal(release(g, "leader", "a"), DC_CONFLICT);
    assert_int_equal(acquire(g, "leader", "b", 3600000), DC_OK);
    assert_true(g->number > first);
    int64_t second = g->number;
    assert_int_equal(release(g, "leader", "b"), DC_OK);
    assert_int_equal(acquire(g, "leader", "b", 20), DC_OK); /* the same, but anew */
    assert_true(g->number > second);
    second = g->number;
    while (acquire(g, "leader", "c", 3600000) != DC_OK) {
        assert_int_equal(g->status, DC_CONFLICT);
    }
    assert_true(g->number > second);
    assert_int_equal(release(g, "leader", "b"), DC_CONFLICT); /* it has expired */
    assert_null(get(g, "leader"));                            /* another name space */
}

static void names_and_holders_are_any_bytes(void **state)
{
    struct rig *g = *state;
    const struct dc_slice names[] = {{"\0:\n\xff", 4}, {"\0:\n", 3}};
    const struct dc_slice holders[] = {{"a:\0b\r\n", 6}, {"a:\0b\r", 5}, DC_S("12:"), DC_S("%d+")};

    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        for (size_t k = 0; k < DC_ARRAY_LEN(holders); k++) {
            enum dc_status st = CALL(
                g, dc_kv_lease_acquire(g->kv, names[i], holders[k], 3600000, on_answer, g, NULL));
            assert_int_equal(st, DC_OK);
            int64_t token = g->number;
            st = CALL(
                g, dc_kv_lease_acquire(g->kv, names[i], holders[k], 3600000, on_answer, g, NULL));
            assert_int_equal(st, DC_OK);
            assert_int_equal(g->number, token);
            for (size_t other = 0; other < DC_ARRAY_LEN(holders); other++) {
                if (other != k) {
                    st = CALL(g, dc_kv_lease_release(g->kv, names[i], holders[other], on_answer, g,
                                                     NULL));
                    assert_int_equal(st, DC_CONFLICT);
                }
            }
            st = CALL(g, dc_kv_lease_release(g->kv, names[i], holders[k], on_answer, g, NULL));
            assert_int_equal(st, DC_OK);
        }
    }
}

static void due_members_are_handed_out_once_in_order_and_at_most_max(void **state)
{
    struct rig *g = *state;
    assert_string_equal(take(g, "set", 10), "");
    assert_int_equal(add(g, "set", "late", 3600000), DC_OK);
    assert_int_equal(add(g, "set", "b", 0), DC_OK);
    assert_int_equal(add(g, "set", "a", 0), DC_OK);
    assert_int_equal(add(g, "set", "soon", 10), DC_OK);
    assert_int_equal(add(g, "other", "x", 0), DC_OK);
    assert_string_equal(take(g, "set", 0), "");
    assert_string_equal(take(g, "set", 1), "b ");
    while (strcmp(take(g, "set", 10), "soon ") != 0) {
        assert_true(strcmp(g->members, "") == 0 || strcmp(g->members, "a ") == 0 ||
                    strcmp(g->members, "a soon ") == 0);
        if (strcmp(g->members, "a soon ") == 0) {
            break; /* slow machine: both at once */
        }
    }
    assert_string_equal(take(g, "set", 10), "");
    assert_int_equal(add(g, "set", "late", 0), DC_OK); /* moved */
    assert_string_equal(take(g, "set", 10), "late ");
    assert_string_equal(take(g, "other", 10), "x ");
}

static void a_removed_member_is_not_handed_out(void **state)
{
    struct rig *g = *state;
    assert_int_equal(add(g, "set", "a", 0), DC_OK);
    assert_int_equal(add(g, "set", "b", 0), DC_OK);
    for (int64_t removed = 1; removed >= 0; removed--) {
        enum dc_status st =
            CALL(g, dc_kv_expiry_remove(g->kv, DC_S("set"), DC_S("a"), on_answer, g, NULL));
        assert_int_equal(st, DC_OK);
        assert_int_equal(g->number, removed);
    }
    enum dc_status st =
        CALL(g, dc_kv_expiry_remove(g->kv, DC_S("none"), DC_S("a"), on_answer, g, NULL));
    assert_int_equal(st, DC_OK);
    assert_int_equal(g->number, 0);
    assert_string_equal(take(g, "set", 10), "b ");
}

static void a_thousand_members_are_handed_out_at_most(void **state)
{
    struct rig *g = *state;
    char name[DC_KV_KEY_MAX_BYTES];

    memset(name, 'm', sizeof(name));
    for (int i = 0; i < DC_KV_TAKE_MAX + 1; i++) {
        snprintf(name, sizeof(name), "%06d", i);
        name[6] = 'm';
        assert_int_equal(dc_kv_expiry_add(g->kv, DC_S("set"), dc_slice_make(name, sizeof(name)), 0,
                                          on_answer, g, NULL),
                         DC_OK);
        g->waiting++;
    }
    assert_int_equal(wait_all(g), DC_OK);
    (void)take(g, "set", SIZE_MAX);
    assert_int_equal(g->n_members, DC_KV_TAKE_MAX);
    assert_memory_equal(g->members, "000000m", 7);
    (void)take(g, "set", SIZE_MAX);
    assert_int_equal(g->n_members, 1);
    assert_memory_equal(g->members, "001000m", 7);
}

static void calls_never_answer_inside_and_take_effect_in_order(void **state)
{
    struct rig *g = *state;
    struct dc_op *op = NULL;
    assert_int_equal(dc_kv_set(g->kv, DC_S("k"), DC_S("1"), 0, on_answer, g, &op), DC_OK);
    assert_non_null(op);
    g->waiting++;
    g->status = DC_INTERNAL;
    /* Nobody waits for this one. */
    assert_int_equal(dc_kv_set(g->kv, DC_S("k"), DC_S("2"), 0, NULL, NULL, &op), DC_OK);
    assert_null(op);
    assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
    g->waiting++;
    assert_int_equal(g->status, DC_INTERNAL);
    assert_int_equal(wait_all(g), DC_OK);
    assert_string_equal(g->value, "2");
}

static void a_canceled_call_ends_once_and_changes_nothing(void **state)
{
    struct rig *g = *state;
    struct dc_op *op = NULL;
    assert_int_equal(dc_kv_set(g->kv, DC_S("k"), DC_S("1"), 0, on_answer, g, &op), DC_OK);
    g->waiting++;
    dc_op_cancel(op);
    dc_op_cancel(op);
    enum dc_status st = wait_all(g);
    assert_true(st == DC_CANCELED || st == DC_OK); /* the real result may have won */
    if (st == DC_CANCELED && is_memory()) {
        assert_null(get(g, "k"));
    }
    assert_int_equal(dc_kv_expiry_take_due(g->kv, DC_S("s"), 1, on_due, g, &op), DC_OK);
    g->waiting++;
    dc_op_cancel(op);
    st = wait_all(g);
    assert_true(st == DC_CANCELED || st == DC_OK);
}

static void on_closed(void *data)
{
    struct rig *g = data;
    assert_int_equal(g->waiting, 0); /* closed runs last */
    g->is_closed = true;
    g->kv = NULL;
}

static void closing_ends_every_waiting_call(void **state)
{
    struct rig *g = *state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
        g->waiting++;
    }
    assert_int_equal(dc_kv_set(g->kv, DC_S("k"), DC_S("v"), 1000, NULL, NULL, NULL), DC_OK);
    dc_kv_close(g->kv, on_closed, g);
    assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_CLOSED);
    assert_false(g->is_closed);
    rig_until(g, &g->is_closed);
    assert_int_equal(g->status, DC_CANCELED);
}

static void close_in_answer(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                            const struct dc_error *err)
{
    struct rig *g = data;
    /* A call made just before closing is canceled as well. */
    assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
    g->waiting++;
    dc_kv_close(g->kv, on_closed, g);
    on_answer(data, st, value, number, err);
}

static void closing_inside_an_answer_is_safe(void **state)
{
    struct rig *g = *state;
    assert_int_equal(dc_kv_get(g->kv, DC_S("k"), close_in_answer, g, NULL), DC_OK);
    assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
    g->waiting += 2;
    rig_until(g, &g->is_closed);
    assert_int_equal(g->waiting, 0);
    assert_int_equal(g->status, DC_CANCELED);
}

struct chain {
    struct rig *g;
    int left;
};

static void again(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                  const struct dc_error *err)
{
    struct chain *c = data;
    if (--c->left > 0) {
        assert_int_equal(dc_kv_get(c->g->kv, DC_S("k"), again, c, NULL), DC_OK);
        return;
    }
    on_answer(c->g, st, value, number, err);
}

static void an_answer_may_make_the_next_call(void **state)
{
    struct rig *g = *state;
    struct chain c = {g, 1000};
    enum dc_status st = CALL(g, dc_kv_get(g->kv, DC_S("k"), again, &c, NULL));
    assert_int_equal(st, DC_OK);
    assert_int_equal(c.left, 0);
}

static void too_many_waiting_calls_are_refused(void **state)
{
    struct rig *g = *state;
    for (int i = 0; i < DC_KV_CALLS_MAX; i++) {
        assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
        g->waiting++;
    }
    assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_LIMIT);
    assert_int_equal(wait_all(g), DC_OK);
    assert_null(get(g, "k"));
}

struct numbered {
    struct rig *g;
    int number;
    int *next;
};

static void on_numbered(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                        const struct dc_error *err)
{
    struct numbered *n = data;
    assert_int_equal(n->number, *n->next);
    (*n->next)++;
    on_answer(n->g, st, value, number, err);
}

static void answers_come_in_the_order_of_the_calls(void **state)
{
    struct rig *g = *state;
    struct numbered calls[300];
    int next = 0;

    for (int i = 0; i < (int)DC_ARRAY_LEN(calls); i++) {
        calls[i] = (struct numbered){g, i, &next};
        enum dc_status st = i % 3 == 0   ? dc_kv_get(g->kv, DC_S("k"), on_numbered, &calls[i], NULL)
                            : i % 3 == 1 ? dc_kv_lease_acquire(g->kv, DC_S("l"), DC_S("h"), 1000,
                                                               on_numbered, &calls[i], NULL)
                                         : dc_kv_expiry_add(g->kv, DC_S("s"), DC_S("m"), 0,
                                                            on_numbered, &calls[i], NULL);
        assert_int_equal(st, DC_OK);
        g->waiting++;
    }
    assert_int_equal(wait_all(g), DC_OK);
    assert_int_equal(next, DC_ARRAY_LEN(calls));
}

static void too_many_waiting_bytes_are_refused(void **state)
{
    struct rig *g = *state;
    static char bytes[DC_KV_VALUE_MAX_BYTES];
    const struct dc_slice big = {bytes, sizeof(bytes)};
    size_t fit = DC_KV_CALLS_MAX_BYTES / (sizeof(bytes) + 1);

    for (size_t i = 0; i < fit; i++) {
        assert_int_equal(dc_kv_set(g->kv, DC_S("k"), big, 0, on_answer, g, NULL), DC_OK);
        g->waiting++;
    }
    assert_int_equal(dc_kv_set(g->kv, DC_S("k"), big, 0, on_answer, g, NULL), DC_LIMIT);
    assert_int_equal(wait_all(g), DC_OK);
    assert_int_equal(set(g, "k", "small", 0), DC_OK);
    assert_string_equal(get(g, "k"), "small");
}

static void on_ready_again(void *data, const struct dc_error *err)
{
    assert_int_equal(err->status, DC_OK);
    *(bool *)data = true;
}

static void ready_is_told_in_a_later_turn_and_never_after_closing(void **state)
{
    struct rig *g = *state;
    bool is_told = false;
    dc_kv_on_ready(g->kv, on_ready_again, &is_told);
    assert_false(is_told);
    rig_until(g, &is_told);
    is_told = false;
    dc_kv_on_ready(g->kv, on_ready_again, &is_told);
    rig_close(g);
    assert_false(is_told);
}

static void a_mixed_pipeline_takes_effect_in_order(void **state)
{
    struct rig *g = *state;
    static const char *const values[] = {"1", "2", "3", "4"};

    for (size_t i = 0; i < DC_ARRAY_LEN(values); i++) {
        assert_int_equal(dc_kv_set(g->kv, DC_S("k"), dc_slice_z(values[i]), 0, NULL, NULL, NULL),
                         DC_OK);
        assert_int_equal(
            dc_kv_lease_acquire(g->kv, DC_S("l"), dc_slice_z(values[i]), 3600000, NULL, NULL, NULL),
            DC_OK);
        assert_int_equal(
            dc_kv_lease_release(g->kv, DC_S("l"), dc_slice_z(values[i]), on_answer, g, NULL),
            DC_OK);
        assert_int_equal(
            dc_kv_expiry_add(g->kv, DC_S("s"), dc_slice_z(values[i]), 0, NULL, NULL, NULL), DC_OK);
        assert_int_equal(
            dc_kv_expiry_remove(g->kv, DC_S("s"), dc_slice_z(values[i]), on_answer, g, NULL),
            DC_OK);
        assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
        g->waiting += 3;
    }
    assert_int_equal(wait_all(g), DC_OK);
    assert_string_equal(g->value, "4");
    assert_string_equal(take(g, "s", 10), "");
    assert_int_equal(release(g, "l", "4"), DC_CONFLICT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_is_set_read_replaced_and_deleted),
        TEST(a_value_expires_and_never_early),
        TEST(setting_again_prolongs),
        TEST(keys_and_values_are_any_bytes),
        TEST(bad_arguments_are_refused_by_the_call_itself),
        TEST(a_lease_has_one_holder_and_a_rising_token),
        TEST(names_and_holders_are_any_bytes),
        TEST(due_members_are_handed_out_once_in_order_and_at_most_max),
        TEST(a_removed_member_is_not_handed_out),
        TEST(a_thousand_members_are_handed_out_at_most),
        TEST(calls_never_answer_inside_and_take_effect_in_order),
        TEST(a_mixed_pipeline_takes_effect_in_order),
        TEST(answers_come_in_the_order_of_the_calls),
        TEST(a_canceled_call_ends_once_and_changes_nothing),
        TEST(closing_ends_every_waiting_call),
        TEST(closing_inside_an_answer_is_safe),
        TEST(an_answer_may_make_the_next_call),
        TEST(too_many_waiting_calls_are_refused),
        TEST(too_many_waiting_bytes_are_refused),
        TEST(ready_is_told_in_a_later_turn_and_never_after_closing),
    };
    /* Redis has a limit of its own, its memory: test_kv_faults.c. */
    const struct CMUnitTest memory_tests[] = {
        cmocka_unit_test_setup_teardown(more_keys_than_allowed_are_refused_and_known_ones_are_not,
                                        open_small_rig, close_rig),
    };
    kv_over_tls(&argc, argv);
    for (size_t i = 0; i < DC_ARRAY_LEN(backends) && argc == 2; i++) {
        if (strcmp(argv[1], backends[i].name) == 0) {
            current = &backends[i];
        }
    }
    if (current == NULL) {
        fprintf(stderr, "usage: test_kv memory|redis\n");
        return 2;
    }
    int rc = is_memory() ? 0 : kv_need_server();
    if (rc != 0) {
        return rc;
    }
    rc = cmocka_run_group_tests_name(current->name, tests, NULL, NULL);
    if (is_memory()) {
        rc += cmocka_run_group_tests_name("limits of memory", memory_tests, NULL, NULL);
    }
    return rc;
}
