/* Timers and sets of equal timeouts. */
#include "base/mem.h"
#include "rt/timer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HOUR_MS 3600000

static struct dc_loop *new_loop(void)
{
    struct dc_loop *loop = NULL;

    assert_int_equal(dc_loop_create(&loop, NULL), DC_OK);
    return loop;
}

static void end_loop(struct dc_loop *loop)
{
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
}

struct ticker {
    struct dc_timer timer;
    int left;
    int fired;
    int closed;
};

static void tick(struct dc_timer *t)
{
    struct ticker *k = DC_CONTAINER_OF(t, struct ticker, timer);

    k->fired++;
    if (--k->left == 0) {
        dc_timer_stop(t);
    }
}

static void count_closed(struct dc_timer *t)
{
    struct ticker *k = DC_CONTAINER_OF(t, struct ticker, timer);

    k->closed++;
}

static void timer_fires_once_or_repeats_until_stopped(void **state)
{
    struct dc_loop *loop = new_loop();
    struct ticker k = {.left = 3};

    (void)state;
    dc_timer_init(loop, &k.timer, tick);
    dc_timer_start(&k.timer, 1, 0);
    dc_loop_run(loop);
    assert_int_equal(k.fired, 1);
    dc_timer_start(&k.timer, 1, 1);
    dc_loop_run(loop);
    assert_int_equal(k.fired, 3);
    dc_timer_close(&k.timer, NULL);
    end_loop(loop);
}

static void timer_started_again_forgets_its_earlier_time(void **state)
{
    struct dc_loop *loop = new_loop();
    struct ticker k = {.left = 1};

    (void)state;
    dc_timer_init(loop, &k.timer, tick);
    dc_timer_start(&k.timer, HOUR_MS, 0);
    dc_timer_start(&k.timer, 1, 0);
    dc_loop_run(loop);
    assert_int_equal(k.fired, 1);
    dc_timer_close(&k.timer, NULL);
    end_loop(loop);
}

static void stopped_timer_neither_fires_nor_keeps_the_loop_alive(void **state)
{
    struct dc_loop *loop = new_loop();
    struct ticker k = {.left = 1};

    (void)state;
    dc_timer_init(loop, &k.timer, tick);
    dc_timer_stop(&k.timer);
    dc_timer_start(&k.timer, HOUR_MS, 0);
    dc_timer_stop(&k.timer);
    dc_loop_run(loop);
    assert_int_equal(k.fired, 0);
    dc_timer_close(&k.timer, NULL);
    end_loop(loop);
}

static void closing_timer_reports_once_and_later_and_ignores_starts(void **state)
{
    struct dc_loop *loop = new_loop();
    struct ticker k = {.left = 1};

    (void)state;
    dc_timer_init(loop, &k.timer, tick);
    dc_timer_start(&k.timer, 0, 0);
    dc_timer_close(&k.timer, count_closed);
    dc_timer_start(&k.timer, 0, 0);
    dc_timer_stop(&k.timer);
    assert_int_equal(k.closed, 0);
    dc_loop_run(loop);
    assert_int_equal(k.closed, 1);
    assert_int_equal(k.fired, 0);
    end_loop(loop);
}

static void free_owner(struct dc_timer *t)
{
    dc_free(DC_CONTAINER_OF(t, struct ticker, timer));
}

static void close_from_inside(struct dc_timer *t)
{
    dc_timer_close(t, free_owner);
}

static void owner_may_be_freed_when_the_timer_has_closed(void **state)
{
    struct dc_loop *loop = new_loop();
    struct ticker *k = dc_calloc(1, sizeof(*k));

    (void)state;
    dc_timer_init(loop, &k->timer, close_from_inside);
    dc_timer_start(&k->timer, 0, 1);
    dc_loop_run(loop);
    end_loop(loop);
}

#define IDLE_MAX 8
/* A set and what happens with it: each entry says what it does when its time has passed. */
struct idle;
struct entry {
    struct dc_timeout timeout;
    struct entry *touches, *removes;
    bool closes_set, frees_itself;
};
struct idle {
    struct dc_loop *loop;
    struct dc_timeouts *set;
    struct entry entries[IDLE_MAX];
    struct dc_timeout *fired[2 * IDLE_MAX];
    size_t count;
};

static void on_timeout(void *data, struct dc_timeout *t)
{
    struct idle *x = data;
    struct entry *e = DC_CONTAINER_OF(t, struct entry, timeout);

    assert_true(dc_list_is_empty(&t->link));
    assert_true(dc_loop_now(x->loop).ms >= t->at_ms);
    assert_true(x->count < DC_ARRAY_LEN(x->fired));
    x->fired[x->count++] = t;
    if (e->touches != NULL) {
        struct entry *again = e->touches;
        e->touches = NULL;
        dc_timeout_touch(x->set, &again->timeout);
    }
    if (e->removes != NULL) {
        dc_timeout_remove(&e->removes->timeout);
    }
    if (e->closes_set) {
        dc_timeouts_close(x->set);
        x->set = NULL;
    }
    if (e->frees_itself) {
        dc_free(e);
    }
}

static void open_idle(struct idle *x, uint64_t length_ms)
{
    *x = (struct idle){.loop = new_loop()};
    x->set = dc_timeouts_create(x->loop, length_ms, on_timeout, x);
    for (size_t i = 0; i < IDLE_MAX; i++) {
        dc_timeout_init(&x->entries[i].timeout);
    }
}

static void close_idle(struct idle *x)
{
    dc_timeouts_close(x->set);
    end_loop(x->loop);
}

static void timeouts_pass_in_the_order_of_their_last_touch(void **state)
{
    struct idle x;

    (void)state;
    open_idle(&x, 20);
    for (size_t i = 0; i < 4; i++) {
        dc_timeout_touch(x.set, &x.entries[i].timeout);
    }
    dc_timeout_touch(x.set, &x.entries[1].timeout);
    dc_loop_run(x.loop);
    assert_int_equal(x.count, 4);
    assert_ptr_equal(x.fired[0], &x.entries[0].timeout);
    assert_ptr_equal(x.fired[1], &x.entries[2].timeout);
    assert_ptr_equal(x.fired[2], &x.entries[3].timeout);
    assert_ptr_equal(x.fired[3], &x.entries[1].timeout);
    close_idle(&x);
}

static void timeouts_started_at_different_times_all_pass_and_none_early(void **state)
{
    struct idle x;

    (void)state;
    open_idle(&x, 40);
    for (size_t i = 0; i < 3; i++) {
        int64_t before_ms = dc_loop_now(x.loop).ms;
        dc_timeout_touch(x.set, &x.entries[i].timeout);
        while (dc_loop_now(x.loop).ms < before_ms + 12) {
            dc_loop_update_time(x.loop);
        }
    }
    dc_loop_run(x.loop); /* the first to pass must leave the timer running for the others */
    assert_int_equal(x.count, 3);
    close_idle(&x);
}

static void set_without_timeouts_does_not_keep_the_loop_alive(void **state)
{
    struct idle x;

    (void)state;
    open_idle(&x, HOUR_MS);
    dc_loop_run(x.loop);
    dc_timeout_touch(x.set, &x.entries[0].timeout);
    dc_timeout_touch(x.set, &x.entries[1].timeout);
    dc_timeout_remove(&x.entries[0].timeout);
    assert_true(dc_loop_step(x.loop)); /* one is left */
    dc_timeout_remove(&x.entries[1].timeout);
    dc_timeout_remove(&x.entries[1].timeout); /* harmless */
    dc_loop_run(x.loop);
    assert_int_equal(x.count, 0);
    close_idle(&x);
}

static void timeout_that_moves_to_another_set_leaves_the_first_one_asleep(void **state)
{
    struct idle x;

    (void)state;
    open_idle(&x, 5);
    struct dc_timeouts *first = dc_timeouts_create(x.loop, HOUR_MS, on_timeout, &x);
    dc_timeout_touch(first, &x.entries[0].timeout);
    dc_timeout_touch(x.set, &x.entries[0].timeout);
    dc_loop_run(x.loop); /* would last an hour */
    assert_int_equal(x.count, 1);
    dc_timeouts_close(first);
    close_idle(&x);
}

static void set_is_alive_again_when_touched_after_it_was_empty(void **state)
{
    struct idle x;

    (void)state;
    open_idle(&x, 5);
    for (size_t round = 1; round <= 3; round++) {
        dc_timeout_touch(x.set, &x.entries[0].timeout);
        dc_timeout_remove(&x.entries[0].timeout);
        dc_timeout_touch(x.set, &x.entries[0].timeout);
        dc_loop_run(x.loop);
        assert_int_equal(x.count, round);
    }
    close_idle(&x);
}

static void timeout_may_be_touched_again_in_its_callback(void **state)
{
    struct idle x;

    (void)state;
    open_idle(&x, 1);
    x.entries[0].touches = &x.entries[0];
    dc_timeout_touch(x.set, &x.entries[0].timeout);
    dc_loop_run(x.loop);
    assert_int_equal(x.count, 2);
    close_idle(&x);
}

static void callback_may_remove_or_touch_timeouts_that_are_due_with_it(void **state)
{
    struct idle x;

    (void)state;
    open_idle(&x, 10);
    x.entries[0].removes = &x.entries[1];
    x.entries[0].touches = &x.entries[2]; /* is due too, starts anew, passes last */
    for (size_t i = 0; i < 4; i++) {
        dc_timeout_touch(x.set, &x.entries[i].timeout);
    }
    dc_loop_run(x.loop);
    assert_int_equal(x.count, 3);
    assert_ptr_equal(x.fired[0], &x.entries[0].timeout);
    assert_ptr_equal(x.fired[1], &x.entries[3].timeout);
    assert_ptr_equal(x.fired[2], &x.entries[2].timeout);
    close_idle(&x);
}

static void callback_may_free_its_timeout_and_close_the_set(void **state)
{
    struct idle x;
    struct entry *e = dc_calloc(1, sizeof(*e));

    (void)state;
    open_idle(&x, 1);
    dc_timeout_init(&e->timeout);
    e->closes_set = true;
    e->frees_itself = true;
    dc_timeout_touch(x.set, &e->timeout);
    dc_loop_run(x.loop);
    assert_int_equal(x.count, 1);
    assert_null(x.set);
    close_idle(&x); /* NULL is allowed */
}

struct storm {
    struct dc_loop *loop;
    size_t count;
    int64_t last_at_ms;
};

static void count_timeout(void *data, struct dc_timeout *t)
{
    struct storm *s = data;

    assert_true(dc_loop_now(s->loop).ms >= t->at_ms);
    assert_true(t->at_ms >= s->last_at_ms);
    s->last_at_ms = t->at_ms;
    s->count++;
}

static void ten_thousand_timeouts_pass_behind_one_timer(void **state)
{
    enum { N = 10000 };
    struct storm s = {.loop = new_loop()};
    struct dc_timeouts *set = dc_timeouts_create(s.loop, 30, count_timeout, &s);
    struct dc_timeout *t = dc_calloc(N, sizeof(*t));

    (void)state;
    for (size_t i = 0; i < N; i++) {
        dc_timeout_init(&t[i]);
        dc_timeout_touch(set, &t[i]);
        if (i % 1000 == 0) {
            dc_loop_update_time(s.loop);
        }
    }
    for (size_t i = 0; i < N; i += 2) {
        dc_timeout_remove(&t[i]);
    }
    dc_loop_run(s.loop);
    assert_int_equal(s.count, N / 2);
    dc_timeouts_close(set);
    dc_free(t);
    end_loop(s.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_fires_once_or_repeats_until_stopped),
        cmocka_unit_test(timer_started_again_forgets_its_earlier_time),
        cmocka_unit_test(stopped_timer_neither_fires_nor_keeps_the_loop_alive),
        cmocka_unit_test(closing_timer_reports_once_and_later_and_ignores_starts),
        cmocka_unit_test(owner_may_be_freed_when_the_timer_has_closed),
        cmocka_unit_test(timeouts_pass_in_the_order_of_their_last_touch),
        cmocka_unit_test(timeouts_started_at_different_times_all_pass_and_none_early),
        cmocka_unit_test(set_without_timeouts_does_not_keep_the_loop_alive),
        cmocka_unit_test(timeout_that_moves_to_another_set_leaves_the_first_one_asleep),
        cmocka_unit_test(set_is_alive_again_when_touched_after_it_was_empty),
        cmocka_unit_test(timeout_may_be_touched_again_in_its_callback),
        cmocka_unit_test(callback_may_remove_or_touch_timeouts_that_are_due_with_it),
        cmocka_unit_test(callback_may_free_its_timeout_and_close_the_set),
        cmocka_unit_test(ten_thousand_timeouts_pass_behind_one_timer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
