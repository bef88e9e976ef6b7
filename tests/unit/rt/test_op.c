/* Back-off, cancelling, work on the pool. */
#include "rt/op.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void backoff_stays_between_one_and_the_doubled_base(void **state)
{
    const struct {
        uint32_t base_ms, max_ms, attempt;
        uint64_t limit_ms;
    } rows[] = {
        {100, 30000, 0, 100},
        {100, 30000, 1, 200},
        {100, 30000, 8, 25600},
        {100, 30000, 9, 30000},
        {100, 30000, 64, 30000},
        {100, 30000, UINT32_MAX, 30000},
        {1, UINT32_MAX, 31, UINT64_C(1) << 31},
        {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
        {500, 100, 0, 100}, /* the bound wins */
        {0, 1000, 5, 1},
        {0, 0, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        for (int draw = 0; draw < 200; draw++) {
            struct dc_backoff b = {rows[i].base_ms, rows[i].max_ms, rows[i].attempt};
            uint64_t ms = dc_backoff_next_ms(&b);
            if (ms < 1 || ms > rows[i].limit_ms) {
                fail_msg("row %zu: %llu ms", i, (unsigned long long)ms);
            }
        }
    }
}

static void backoff_counts_attempts_until_reset(void **state)
{
    struct dc_backoff b = {.base_ms = 10, .max_ms = 1000};

    (void)state;
    for (uint32_t i = 1; i <= 5; i++) {
        assert_true(dc_backoff_next_ms(&b) <= 1000);
        assert_int_equal(b.attempt, i);
    }
    dc_backoff_reset(&b);
    assert_int_equal(b.attempt, 0);
    assert_true(dc_backoff_next_ms(&b) <= 10);
    b.attempt = UINT32_MAX;
    assert_true(dc_backoff_next_ms(&b) <= 1000);
    assert_int_equal(b.attempt, UINT32_MAX);
}

static void backoff_uses_the_whole_range(void **state)
{
    int low = 0;
    int high = 0;

    (void)state;
    for (int i = 0; i < 400; i++) {
        struct dc_backoff b = {.base_ms = 1000, .max_ms = 1000};
        uint64_t ms = dc_backoff_next_ms(&b);
        low += ms <= 250;
        high += ms > 750;
    }
    /* A fair quarter misses 400 times with a chance of 1e-50. */
    assert_true(low > 0);
    assert_true(high > 0);
}

struct op {
    struct dc_op op;
    int cancels;
};

static void count_cancel(struct dc_op *op)
{
    DC_CONTAINER_OF(op, struct op, op)->cancels++;
}

static void cancel_reaches_the_operation_and_takes_null(void **state)
{
    struct op with = {.op = {.cancel = count_cancel}};
    struct dc_op without = {.cancel = NULL};

    (void)state;
    dc_op_cancel(&with.op);
    dc_op_cancel(&without);
    dc_op_cancel(NULL);
    assert_int_equal(with.cancels, 1);
}

struct job {
    struct dc_loop *loop;
    uv_thread_t loop_thread;
    bool ran_elsewhere;
    int works, dones;
    int left; /* submits itself that often */
};

static void do_work(void *data)
{
    struct job *j = data;
    uv_thread_t me = uv_thread_self();

    j->ran_elsewhere = !uv_thread_equal(&me, &j->loop_thread);
    j->works++;
}

static void work_done(void *data)
{
    struct job *j = data;
    uv_thread_t me = uv_thread_self();

    assert_true(uv_thread_equal(&me, &j->loop_thread));
    j->dones++;
    assert_int_equal(j->works, j->dones);
    if (j->left > 0) {
        j->left--;
        assert_int_equal(dc_work_submit(j->loop, do_work, work_done, j), DC_OK);
    }
}

static void work_runs_elsewhere_and_is_done_on_the_loop_exactly_once(void **state)
{
    enum { N = 50 };
    struct dc_loop *loop = NULL;
    struct job jobs[N];

    (void)state;
    assert_int_equal(dc_loop_create(&loop, NULL), DC_OK);
    for (int i = 0; i < N; i++) {
        jobs[i] = (struct job){.loop = loop, .loop_thread = uv_thread_self(), .left = i % 3};
        assert_int_equal(dc_work_submit(loop, do_work, work_done, &jobs[i]), DC_OK);
        assert_int_equal(jobs[i].dones, 0); /* never before the call has returned */
    }
    dc_loop_run(loop);
    for (int i = 0; i < N; i++) {
        assert_true(jobs[i].ran_elsewhere);
        assert_int_equal(jobs[i].works, 1 + i % 3);
        assert_int_equal(jobs[i].dones, 1 + i % 3);
    }
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_stays_between_one_and_the_doubled_base),
        cmocka_unit_test(backoff_counts_attempts_until_reset),
        cmocka_unit_test(backoff_uses_the_whole_range),
        cmocka_unit_test(cancel_reaches_the_operation_and_takes_null),
        cmocka_unit_test(work_runs_elsewhere_and_is_done_on_the_loop_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
