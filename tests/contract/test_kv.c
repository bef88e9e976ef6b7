/* What every key-value backend does.  One row in the table below for each of them. */
#include "base/mem.h"
#include "kv/kv.h"
#include "rt/timer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct backend {
    const char *name;
    const char *url;
};
static const struct backend backends[] = {{"memory", NULL}};

struct rig {
    struct dc_loop *loop;
    struct dc_kv *kv;
    int waiting; /* calls without an answer */
    bool is_closed;
    /* Of the last answer. */
    enum dc_status status;
    bool has_value;
    char value[64];
    int64_t number;
    bool had_error;
    size_t n_members;
    char members[256]; /* joined by blanks */
};

static const struct backend *current;

static int open_rig(void **state)
{
    struct rig *g = dc_calloc(1, sizeof(*g));
    assert_int_equal(dc_loop_create(&g->loop, NULL), DC_OK);
    const struct dc_kv_opts opts = {.url = current->url, .deadline_ms = 5000, .max_keys = 5};
    assert_int_equal(dc_kv_open(g->loop, &opts, &g->kv, NULL), DC_OK);
    *state = g;
    return 0;
}

static void on_closed(void *data)
{
    struct rig *g = data;
    assert_int_equal(g->waiting, 0); /* closed runs last */
    g->is_closed = true;
    dc_loop_stop(g->loop);
}

static void close_kv(struct rig *g)
{
    dc_kv_close(g->kv, on_closed, g);
    while (!g->is_closed) {
        dc_loop_run(g->loop);
    }
}

static int close_rig(void **state)
{
    struct rig *g = *state;
    if (!g->is_closed) {
        close_kv(g);
    }
    assert_int_equal(dc_loop_destroy(g->loop), DC_OK);
    dc_free(g);
    return 0;
}

static void on_answer(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                      const struct dc_error *err)
{
    struct rig *g = data;
    assert_true(g->waiting > 0);
    g->waiting--;
    g->status = st;
    g->has_value = value.ptr != NULL;
    g->value[0] = '\0';
    assert_true(value.ptr == NULL || value.len >= sizeof(g->value) ||
                dc_slice_copy_z(value, g->value, sizeof(g->value)));
    g->number = number;
    g->had_error = err != NULL;
    assert_int_equal(st != DC_OK, g->had_error);
    if (g->waiting == 0) {
        dc_loop_stop(g->loop);
    }
}

static void on_due(void *data, enum dc_status st, const struct dc_slice *members, size_t n,
                   const struct dc_error *err)
{
    struct rig *g = data;
    g->n_members = n;
    g->members[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(g->members);
        snprintf(g->members + len, sizeof(g->members) - len, "%.*s ", DC_SLICE_ARG(members[i]));
    }
    on_answer(g, st, DC_SLICE_NULL, 0, err);
}

/* Waits for every answer and returns the status of the last one. */
static enum dc_status wait_all(struct rig *g)
{
    while (g->waiting > 0) {
        dc_loop_run(g->loop);
    }
    return g->status;
}

#define CALL(g, call)                                                                              \
    (assert_int_equal((call), DC_OK), (g)->waiting++, assert_int_equal((g)->waiting, 1),           \
     wait_all(g))

static enum dc_status set(struct rig *g, const char *key, const char *value, uint64_t ttl_ms)
{
    return CALL(g,
                dc_kv_set(g->kv, dc_slice_z(key), dc_slice_z(value), ttl_ms, on_answer, g, NULL));
}

static const char *get(struct rig *g, const char *key)
{
    enum dc_status st = CALL(g, dc_kv_get(g->kv, dc_slice_z(key), on_answer, g, NULL));
    assert_int_equal(st, DC_OK);
    return g->has_value ? g->value : NULL;
}

static int64_t delete_key(struct rig *g, const char *key)
{
    enum dc_status st = CALL(g, dc_kv_delete(g->kv, dc_slice_z(key), on_answer, g, NULL));
    assert_int_equal(st, DC_OK);
    return g->number;
}

static enum dc_status acquire(struct rig *g, const char *name, const char *holder, uint64_t ttl_ms)
{
    return CALL(g, dc_kv_lease_acquire(g->kv, dc_slice_z(name), dc_slice_z(holder), ttl_ms,
                                       on_answer, g, NULL));
}

static enum dc_status release(struct rig *g, const char *name, const char *holder)
{
    return CALL(
        g, dc_kv_lease_release(g->kv, dc_slice_z(name), dc_slice_z(holder), on_answer, g, NULL));
}

static enum dc_status add(struct rig *g, const char *set_name, const char *member, uint64_t ttl_ms)
{
    return CALL(g, dc_kv_expiry_add(g->kv, dc_slice_z(set_name), dc_slice_z(member), ttl_ms,
                                    on_answer, g, NULL));
}

static const char *take(struct rig *g, const char *set_name, size_t max)
{
    enum dc_status st =
        CALL(g, dc_kv_expiry_take_due(g->kv, dc_slice_z(set_name), max, on_due, g, NULL));
    assert_int_equal(st, DC_OK);
    return g->members;
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
    if (st == DC_CANCELED && current->url == NULL) {
        assert_null(get(g, "k"));
    }
    assert_int_equal(dc_kv_expiry_take_due(g->kv, DC_S("s"), 1, on_due, g, &op), DC_OK);
    g->waiting++;
    dc_op_cancel(op);
    st = wait_all(g);
    assert_true(st == DC_CANCELED || st == DC_OK);
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
    while (!g->is_closed) {
        dc_loop_run(g->loop);
    }
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
    while (!g->is_closed) {
        dc_loop_run(g->loop);
    }
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_is_set_read_replaced_and_deleted),
        TEST(a_value_expires_and_never_early),
        TEST(setting_again_prolongs),
        TEST(keys_and_values_are_any_bytes),
        TEST(bad_arguments_are_refused_by_the_call_itself),
        TEST(more_keys_than_allowed_are_refused_and_known_ones_are_not),
        TEST(a_lease_has_one_holder_and_a_rising_token),
        TEST(due_members_are_handed_out_once_in_order_and_at_most_max),
        TEST(a_removed_member_is_not_handed_out),
        TEST(calls_never_answer_inside_and_take_effect_in_order),
        TEST(a_canceled_call_ends_once_and_changes_nothing),
        TEST(closing_ends_every_waiting_call),
        TEST(closing_inside_an_answer_is_safe),
        TEST(an_answer_may_make_the_next_call),
        TEST(too_many_waiting_calls_are_refused),
    };
    int failed = 0;
    for (size_t i = 0; i < DC_ARRAY_LEN(backends); i++) {
        current = &backends[i];
        failed += cmocka_run_group_tests_name(current->name, tests, NULL, NULL);
    }
    return failed;
}
