/* The loop: turn items, sleeping, orderly end. */
#include "base/mem.h"
#include "rt/loop.h"
#include "rt/op.h"
#include "rt/timer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR_MS 3600000

/* A turn item that counts and may act on another one. */
struct item {
    struct dc_turn turn;
    struct dc_loop *loop;
    struct item *schedules, *cancels;
    struct dc_timer *closes;
    int repeats; /* schedules itself that often */
    int runs;
};

static void run_item(struct dc_turn *turn)
{
    struct item *it = DC_CONTAINER_OF(turn, struct item, turn);

    it->runs++;
    if (it->schedules != NULL) {
        dc_turn_schedule(it->loop, &it->schedules->turn);
    }
    if (it->cancels != NULL) {
        dc_turn_cancel(&it->cancels->turn);
    }
    if (it->repeats > 0) {
        it->repeats--;
        dc_turn_schedule(it->loop, &it->turn);
    } else if (it->closes != NULL) {
        dc_timer_close(it->closes, NULL);
    }
}

static void init_item(struct item *it, struct dc_loop *loop)
{
    *it = (struct item){.loop = loop};
    dc_turn_init(&it->turn, run_item);
}

static void never(struct dc_timer *t)
{
    (void)t;
    fail_msg("a timer of an hour has fired");
}

/* Of each test: a loop, and two items that it may use. */
struct rig {
    struct dc_loop *loop; /* NULL: the test has ended it, as its handles are on its stack */
    struct item first, second;
};

static int set_up(void **state)
{
    struct rig *rig = dc_calloc(1, sizeof(*rig));
    struct dc_error err = {0};

    assert_int_equal(dc_loop_create(&rig->loop, &err), DC_OK);
    assert_non_null(rig->loop);
    init_item(&rig->first, rig->loop);
    init_item(&rig->second, rig->loop);
    *state = rig;
    return 0;
}

static void end_loop(struct rig *rig)
{
    struct dc_loop *loop = rig->loop;

    rig->loop = NULL;
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
}

/* The loop must be empty. */
static int tear_down(void **state)
{
    struct rig *rig = *state;

    if (rig->loop != NULL) {
        end_loop(rig);
    }
    dc_free(rig);
    return 0;
}

static void loop_without_anything_to_do_ends_at_once(void **state)
{
    struct dc_loop *loop = ((struct rig *)*state)->loop;

    assert_false(dc_loop_step(loop));
    dc_loop_run(loop);
}

static void scheduled_item_runs_once_although_nothing_else_keeps_the_loop_alive(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct item *it = &rig->first;

    dc_turn_schedule(loop, &it->turn);
    dc_turn_schedule(loop, &it->turn);
    dc_loop_run(loop);
    assert_int_equal(it->runs, 1);
    dc_turn_schedule(loop, &it->turn);
    dc_loop_run(loop);
    assert_int_equal(it->runs, 2);
}

static void items_run_in_the_order_they_were_scheduled(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct item *a = &rig->first, *b = &rig->second;

    b->cancels = a; /* too late when a runs first, prevents it otherwise */
    dc_turn_schedule(loop, &a->turn);
    dc_turn_schedule(loop, &b->turn);
    dc_loop_run(loop);
    assert_int_equal(a->runs, 1);
    assert_int_equal(b->runs, 1);
}

static void item_scheduled_while_items_run_waits_for_the_next_turn(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct item *first = &rig->first, *second = &rig->second;

    first->schedules = second;
    dc_turn_schedule(loop, &first->turn);
    assert_true(dc_loop_step(loop));
    assert_int_equal(first->runs, 1);
    assert_int_equal(second->runs, 0);
    dc_loop_step(loop);
    assert_int_equal(second->runs, 1);
    assert_int_equal(first->runs, 1);
}

static void item_already_waiting_is_not_moved_to_the_next_turn(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct item *first = &rig->first, *second = &rig->second;

    first->schedules = second;
    dc_turn_schedule(loop, &first->turn);
    dc_turn_schedule(loop, &second->turn);
    dc_loop_step(loop);
    assert_int_equal(second->runs, 1);
    assert_false(dc_loop_step(loop));
    assert_int_equal(second->runs, 1);
}

static void loop_does_not_block_while_an_item_schedules_itself(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct dc_timer timer;
    struct item *it = &rig->first;

    dc_timer_init(loop, &timer, never);
    dc_timer_start(&timer, HOUR_MS, 0);
    it->repeats = 1000;
    it->closes = &timer; /* with the last run: the loop would sleep for an hour otherwise */
    dc_turn_schedule(loop, &it->turn);
    dc_loop_run(loop);
    assert_int_equal(it->runs, 1001);
    end_loop(rig);
}

static void loop_sleeps_when_no_item_waits(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct dc_timer timer;
    struct item *it = &rig->first;

    dc_timer_init(loop, &timer, never);
    dc_timer_start(&timer, HOUR_MS, 0);
    assert_true(dc_loop_step(loop));
    assert_true(uv_backend_timeout(dc_loop_uv(loop)) > 0);
    dc_turn_schedule(loop, &it->turn);
    assert_int_equal(uv_backend_timeout(dc_loop_uv(loop)), 0);
    assert_true(dc_loop_step(loop));
    assert_int_equal(it->runs, 1);
    assert_true(uv_backend_timeout(dc_loop_uv(loop)) > 0);

    /* A cancelled item costs one turn at most. */
    dc_turn_schedule(loop, &it->turn);
    dc_turn_cancel(&it->turn);
    assert_true(dc_loop_step(loop));
    assert_int_equal(it->runs, 1);
    assert_true(uv_backend_timeout(dc_loop_uv(loop)) > 0);
    dc_timer_close(&timer, NULL);
    end_loop(rig);
}

static void cancelled_item_does_not_run_and_may_be_freed(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct item *gone = dc_calloc(1, sizeof(*gone));
    struct item *first = &rig->first, *second = &rig->second;

    init_item(gone, loop);
    dc_turn_cancel(&gone->turn); /* harmless when not scheduled */
    dc_turn_schedule(loop, &gone->turn);
    dc_turn_cancel(&gone->turn);
    dc_free(gone);

    first->cancels = second;
    dc_turn_schedule(loop, &first->turn);
    dc_turn_schedule(loop, &second->turn);
    dc_loop_run(loop);
    assert_int_equal(first->runs, 1);
    assert_int_equal(second->runs, 0);
}

static void free_item(struct dc_turn *turn)
{
    dc_free(DC_CONTAINER_OF(turn, struct item, turn));
}

static void item_may_free_itself_when_it_runs(void **state)
{
    struct dc_loop *loop = ((struct rig *)*state)->loop;
    struct item *it = dc_calloc(1, sizeof(*it));

    dc_turn_init(&it->turn, free_item);
    dc_turn_schedule(loop, &it->turn);
    dc_loop_run(loop);
}

struct pacer {
    struct dc_timer timer;
    struct item *item;
    int runs_seen;
};

static void schedule_item(struct dc_timer *t)
{
    struct pacer *p = DC_CONTAINER_OF(t, struct pacer, timer);

    p->runs_seen = p->item->runs;
    dc_turn_schedule(p->item->loop, &p->item->turn);
    dc_timer_close(t, NULL);
}

static void item_scheduled_by_a_timer_runs_after_it_in_the_same_turn(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct pacer p = {.runs_seen = -1};
    struct item *it = &rig->first;

    p.item = it;
    dc_timer_init(loop, &p.timer, schedule_item);
    dc_timer_start(&p.timer, 0, 0);
    dc_loop_step(loop);
    assert_int_equal(p.runs_seen, 0);
    assert_int_equal(it->runs, 1);
    end_loop(rig);
}

static void stop_from(struct dc_timer *t)
{
    struct pacer *p = DC_CONTAINER_OF(t, struct pacer, timer);

    dc_loop_stop(p->item->loop);
}

static void stop_ends_the_run_although_there_is_more_to_do(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct pacer p = {.runs_seen = 0};
    struct item *it = &rig->first;

    p.item = it;
    dc_timer_init(loop, &p.timer, stop_from);
    dc_timer_start(&p.timer, 0, 1);
    dc_loop_run(loop);
    dc_timer_close(&p.timer, NULL);
    end_loop(rig);
}

static void time_of_the_loop_is_that_of_libuv_and_moves_only_when_told(void **state)
{
    struct dc_loop *loop = ((struct rig *)*state)->loop;

    dc_loop_update_time(loop);
    int64_t before = dc_loop_now(loop).ms;
    assert_true(before == (int64_t)uv_now(dc_loop_uv(loop)));
    while (dc_mono_now().ms <= before) {
        assert_true(dc_loop_now(loop).ms == before);
    }
    dc_loop_update_time(loop);
    assert_true(dc_loop_now(loop).ms > before);
}

/* Runs dc_loop_destroy with stderr in buf. */
static enum dc_status destroy_and_read_stderr(struct rig *rig, char *buf, size_t size)
{
    struct dc_loop *loop = rig->loop;
    int fds[2];
    int saved = dup(2);

    assert_true(saved >= 0);
    assert_int_equal(pipe(fds), 0);
    assert_true(dup2(fds[1], 2) == 2);
    rig->loop = NULL;
    enum dc_status st = dc_loop_destroy(loop);
    assert_true(dup2(saved, 2) == 2);
    close(saved);
    close(fds[1]);
    ssize_t n = read(fds[0], buf, size - 1);
    assert_true(n >= 0);
    buf[n] = '\0';
    close(fds[0]);
    return st;
}

static void destroy_names_and_closes_handles_left_open(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct dc_timer timer;
    uv_async_t async;
    char text[512];

    dc_timer_init(loop, &timer, never);
    dc_timer_start(&timer, HOUR_MS, 0);
    assert_int_equal(uv_async_init(dc_loop_uv(loop), &async, NULL), 0);
    assert_int_equal(destroy_and_read_stderr(rig, text, sizeof(text)), DC_INTERNAL);
    assert_non_null(strstr(text, "handle left open: timer (active)"));
    assert_non_null(strstr(text, "handle left open: async"));
}

struct chain {
    struct dc_timer timers[10];
    int closed;
};

static void close_next(struct dc_timer *t)
{
    struct chain *c = t->uv.data;

    c->closed++;
    if (c->closed < (int)DC_ARRAY_LEN(c->timers)) {
        dc_timer_close(&c->timers[c->closed], close_next);
    }
}

static void destroy_waits_for_close_callbacks_that_close_further_handles(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct chain c = {.closed = 0};
    char text[512];

    for (size_t i = 0; i < DC_ARRAY_LEN(c.timers); i++) {
        dc_timer_init(loop, &c.timers[i], never);
        dc_timer_start(&c.timers[i], HOUR_MS, 0);
        c.timers[i].uv.data = &c;
    }
    dc_timer_close(&c.timers[0], close_next);
    assert_int_equal(destroy_and_read_stderr(rig, text, sizeof(text)), DC_OK);
    assert_string_equal(text, "");
    assert_int_equal(c.closed, DC_ARRAY_LEN(c.timers));
}

static void destroy_ends_although_an_item_schedules_itself_for_ever(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct item *it = &rig->first;

    it->repeats = INT32_MAX;
    dc_turn_schedule(loop, &it->turn);
    end_loop(rig);
    assert_true(it->runs > 0);
    dc_turn_cancel(&it->turn); /* dropped: no link into the freed loop is left */
}

static void destroy_after_stop_still_ends_what_was_begun(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct item *it = &rig->first;

    dc_turn_schedule(loop, &it->turn);
    dc_loop_stop(loop);
    end_loop(rig);
    assert_int_equal(it->runs, 1);
}

struct job {
    struct dc_loop *loop;
    struct item *item;
    struct dc_timer timer;
    uv_sem_t may_end;
    int done;
};

static void wait_for_release(void *data)
{
    struct job *j = data;

    uv_sem_wait(&j->may_end);
}

static void schedule_when_done(void *data)
{
    struct job *j = data;

    j->done++;
    dc_turn_schedule(j->loop, &j->item->turn);
    dc_timer_close(&j->timer, NULL);
}

static void release(struct dc_timer *t)
{
    struct job *j = DC_CONTAINER_OF(t, struct job, timer);

    uv_sem_post(&j->may_end);
}

static void destroy_waits_for_work_and_what_its_end_starts(void **state)
{
    struct rig *rig = *state;
    struct dc_loop *loop = rig->loop;
    struct job j = {.loop = loop};
    struct item *it = &rig->first;

    j.item = it;
    assert_int_equal(uv_sem_init(&j.may_end, 0), 0);
    dc_timer_init(loop, &j.timer, release);
    dc_timer_start(&j.timer, 5, 0); /* the work cannot end before destroy runs the loop */
    assert_int_equal(dc_work_submit(loop, wait_for_release, schedule_when_done, &j), DC_OK);
    end_loop(rig);
    assert_int_equal(j.done, 1);
    assert_int_equal(it->runs, 1);
    uv_sem_destroy(&j.may_end);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(loop_without_anything_to_do_ends_at_once),
        TEST(scheduled_item_runs_once_although_nothing_else_keeps_the_loop_alive),
        TEST(items_run_in_the_order_they_were_scheduled),
        TEST(item_scheduled_while_items_run_waits_for_the_next_turn),
        TEST(item_already_waiting_is_not_moved_to_the_next_turn),
        TEST(loop_does_not_block_while_an_item_schedules_itself),
        TEST(loop_sleeps_when_no_item_waits),
        TEST(cancelled_item_does_not_run_and_may_be_freed),
        TEST(item_may_free_itself_when_it_runs),
        TEST(item_scheduled_by_a_timer_runs_after_it_in_the_same_turn),
        TEST(stop_ends_the_run_although_there_is_more_to_do),
        TEST(time_of_the_loop_is_that_of_libuv_and_moves_only_when_told),
        TEST(destroy_names_and_closes_handles_left_open),
        TEST(destroy_waits_for_close_callbacks_that_close_further_handles),
        TEST(destroy_ends_although_an_item_schedules_itself_for_ever),
        TEST(destroy_after_stop_still_ends_what_was_begun),
        TEST(destroy_waits_for_work_and_what_its_end_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
