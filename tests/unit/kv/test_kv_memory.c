/* The key-value store in this process: what the contract suite cannot see from outside. */
#include "kv/kv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct rig {
    struct dc_loop *loop;
    struct dc_metrics *metrics;
    struct dc_kv *kv;
    enum dc_status status;
    unsigned n_answers;
    bool is_closed;
};

static void on_answer(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                      const struct dc_error *err)
{
    (void)value;
    (void)number;
    (void)err;
    struct rig *g = data;
    g->status = st;
    g->n_answers++;
    dc_loop_stop(g->loop);
}

static void on_closed(void *data)
{
    struct rig *g = data;
    g->is_closed = true;
}

static enum dc_status set(struct rig *g, const char *key, uint64_t ttl_ms)
{
    unsigned n = g->n_answers;
    assert_int_equal(dc_kv_set(g->kv, dc_slice_z(key), DC_S("v"), ttl_ms, on_answer, g, NULL),
                     DC_OK);
    while (g->n_answers == n) {
        dc_loop_run(g->loop);
    }
    return g->status;
}

static void open_rig(struct rig *g, const struct dc_kv_opts *opts)
{
    struct dc_kv_opts with_metrics = *opts;
    *g = (struct rig){.metrics = dc_metrics_create()};
    with_metrics.metrics = g->metrics;
    assert_int_equal(dc_loop_create(&g->loop, NULL), DC_OK);
    assert_int_equal(dc_kv_open(g->loop, &with_metrics, &g->kv, NULL), DC_OK);
}

static void close_rig(struct rig *g)
{
    dc_kv_close(g->kv, on_closed, g);
    dc_loop_run(g->loop); /* ends by itself: nothing is left */
    assert_true(g->is_closed);
    assert_int_equal(dc_loop_destroy(g->loop), DC_OK);
    dc_metrics_destroy(g->metrics);
}

static void expired_keys_make_room_although_nobody_touches_them(void **state)
{
    (void)state;
    struct rig g;
    const struct dc_kv_opts opts = {.max_keys = 3};
    open_rig(&g, &opts);
    assert_int_equal(set(&g, "a", 10), DC_OK);
    assert_int_equal(set(&g, "b", 20), DC_OK);
    assert_int_equal(set(&g, "c", 3600000), DC_OK);
    while (set(&g, "d", 3600000) != DC_OK) {
        assert_int_equal(g.status, DC_LIMIT);
    }
    while (set(&g, "e", 0) != DC_OK) {
        assert_int_equal(g.status, DC_LIMIT);
    }
    assert_int_equal(set(&g, "f", 0), DC_LIMIT);
    close_rig(&g);
}

static void an_address_that_nobody_can_speak_is_refused(void **state)
{
    (void)state;
    struct dc_loop *loop = NULL;
    assert_int_equal(dc_loop_create(&loop, NULL), DC_OK);
    struct dc_kv *kv = NULL;
    struct dc_error err = {0};
    const struct dc_kv_opts opts = {.url = "memcached://u:secret@127.0.0.1"};
    assert_int_equal(dc_kv_open(loop, &opts, &kv, &err), DC_CONFIG);
    assert_null(kv);
    assert_null(strstr(err.text, "secret"));
    assert_non_null(strstr(err.text, "REDIS_URL"));
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
}

static void health_is_ok_and_failures_nobody_waits_for_are_harmless(void **state)
{
    (void)state;
    struct dc_health *health = dc_health_create();
    struct rig g;
    const struct dc_kv_opts opts = {.max_keys = 1, .health = dc_health_add(health, "kv", true)};
    open_rig(&g, &opts);
    assert_int_equal(dc_health_overall(health), DC_HEALTH_OK);
    assert_int_equal(set(&g, "a", 0), DC_OK);
    assert_int_equal(dc_kv_set(g.kv, DC_S("b"), DC_S("v"), 0, NULL, NULL, NULL), DC_OK);
    assert_int_equal(dc_kv_expiry_take_due(g.kv, DC_S("b"), 10, NULL, NULL, NULL), DC_OK);
    assert_int_equal(set(&g, "c", 0), DC_LIMIT);
    close_rig(&g);
    dc_health_destroy(health);
}

static int64_t metric(struct dc_metrics *m, const char *name)
{
    struct dc_strbuf page = {0};
    dc_metrics_render(m, &page);
    dc_strbuf_add_char(&page, '\0');
    assert_true(dc_strbuf_ok(&page));
    char line[128];
    assert_true(snprintf(line, sizeof(line), "\n%s ", name) < (int)sizeof(line));
    const char *at = strstr(page.ptr, line);
    assert_non_null(at);
    int64_t v = strtoll(at + strlen(line), NULL, 10);
    dc_strbuf_free(&page);
    return v;
}

static void calls_failures_and_what_is_kept_are_counted(void **state)
{
    (void)state;
    struct rig g;
    const struct dc_kv_opts opts = {.max_keys = 1};
    open_rig(&g, &opts);
    assert_int_equal(set(&g, "a", 0), DC_OK);
    assert_int_equal(metric(g.metrics, "daarion_kv_entries"), 1);
    assert_int_equal(metric(g.metrics, "daarion_kv_waiting"), 0);
    assert_int_equal(set(&g, "b", 0), DC_LIMIT); /* 1: ended badly */
    assert_int_equal(dc_kv_get(g.kv, DC_S(""), on_answer, &g, NULL), DC_INVALID); /* 2: refused */
    assert_int_equal(dc_kv_set(g.kv, DC_S("b"), DC_S("v"), 0, NULL, NULL, NULL), DC_OK);
    assert_int_equal(metric(g.metrics, "daarion_kv_waiting"), 1);
    assert_int_equal(set(&g, "c", 0), DC_LIMIT); /* 3 and 4: nobody waited for the one before */
    /* An answer, though no success: */
    struct dc_op *op = NULL;
    unsigned n = g.n_answers;
    assert_int_equal(dc_kv_lease_release(g.kv, DC_S("l"), DC_S("h"), on_answer, &g, &op), DC_OK);
    while (g.n_answers == n) {
        dc_loop_run(g.loop);
    }
    assert_int_equal(g.status, DC_CONFLICT);
    assert_int_equal(metric(g.metrics, "daarion_kv_failed_total"), 4);
    assert_int_equal(metric(g.metrics, "daarion_kv_calls_total"), 6);
    close_rig(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expired_keys_make_room_although_nobody_touches_them),
        cmocka_unit_test(an_address_that_nobody_can_speak_is_refused),
        cmocka_unit_test(calls_failures_and_what_is_kept_are_counted),
        cmocka_unit_test(health_is_ok_and_failures_nobody_waits_for_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
