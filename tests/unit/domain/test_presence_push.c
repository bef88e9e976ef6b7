/* Whom a homeserver is told of, by example; against a model: test_presence_push_model.c. */
#include "domain/presence_push.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OFFLINE DC_PRESENCE_OFFLINE
#define AWAY    DC_PRESENCE_AWAY
#define ONLINE  DC_PRESENCE_ONLINE
#define RENEW   20000
#define ABSENT  300000

static struct dc_presence_push *create(uint32_t per_s, uint32_t max_flying)
{
    const struct dc_presence_push_opts opts = {per_s, max_flying, RENEW, ABSENT, 100, {5, 6}};
    return dc_presence_push_create(&opts);
}

static struct dc_presence_push *leader(uint32_t per_s, uint32_t max_flying)
{
    struct dc_presence_push *p = create(per_s, max_flying);
    dc_presence_push_lead(p, true, 0);
    return p;
}

static void set(struct dc_presence_push *p, const char *id_z, enum dc_presence_status status,
                int64_t now)
{
    dc_presence_push_set(p, dc_slice_z(id_z), status, now);
}

static void nobody(struct dc_presence_push *p, int64_t now)
{
    struct dc_presence_push_next next;
    assert_false(dc_presence_push_next(p, now, &next));
}

static void expect(struct dc_presence_push *p, const char *id_z, enum dc_presence_status status,
                   int64_t now)
{
    struct dc_presence_push_next next;
    assert_true(dc_presence_push_next(p, now, &next));
    if (!dc_slice_eq(next.user_id, dc_slice_z(id_z))) {
        fail_msg("%.*s instead of %s", DC_SLICE_ARG(next.user_id), id_z);
    }
    assert_int_equal(next.status, status);
}

static void answer(struct dc_presence_push *p, const char *id_z, enum dc_presence_push_end how,
                   int64_t retry_after, int64_t now)
{
    dc_presence_push_answered(p, dc_slice_z(id_z), how, retry_after, now);
}

static void tell(struct dc_presence_push *p, const char *id_z, enum dc_presence_status status,
                 int64_t now)
{
    expect(p, id_z, status, now);
    answer(p, id_z, DC_PUSH_DONE, -1, now);
}

static void who_comes_is_told_renewed_and_told_gone(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(10, 8);
    set(p, "ann", ONLINE, 0);
    tell(p, "ann", ONLINE, 0);
    nobody(p, RENEW - 1);
    assert_int_equal(dc_presence_push_due_ms(p), RENEW);
    tell(p, "ann", ONLINE, RENEW);
    set(p, "ann", AWAY, RENEW + 100); /* a change waits for no spacing */
    tell(p, "ann", AWAY, RENEW + 100);
    nobody(p, 2 * RENEW + 99);
    tell(p, "ann", AWAY, 2 * RENEW + 100);
    set(p, "ann", OFFLINE, 2 * RENEW + 200);
    tell(p, "ann", OFFLINE, 2 * RENEW + 200);
    assert_int_equal(dc_presence_push_due_ms(p), INT64_MAX);
    assert_int_equal(dc_presence_push_counts(p).people, 0);
    dc_presence_push_destroy(p);
}

static void changes_go_first_the_oldest_first_and_with_the_newest_status(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(1, 8);
    set(p, "ann", ONLINE, 0);
    tell(p, "ann", ONLINE, 0);
    set(p, "bob", ONLINE, RENEW + 10); /* ann's renewal is older */
    set(p, "cyd", AWAY, RENEW + 20);
    set(p, "bob", AWAY, RENEW + 30);
    tell(p, "bob", AWAY, RENEW + 40);
    nobody(p, RENEW + 1039); /* the budget: one a second */
    assert_int_equal(dc_presence_push_due_ms(p), RENEW + 1040);
    struct dc_presence_push_backlog b = dc_presence_push_backlog(p, RENEW + 1040);
    assert_int_equal(b.changes, 1);
    assert_int_equal(b.renewals, 1);
    assert_int_equal(b.oldest_ms, 1040);
    assert_int_equal(b.why, DC_PUSH_BUDGET);
    tell(p, "cyd", AWAY, RENEW + 1040);
    tell(p, "ann", ONLINE, RENEW + 2040);
    assert_int_equal(dc_presence_push_counts(p).late, 2);
    dc_presence_push_destroy(p);
}

static void who_changes_back_or_was_never_told_waits_no_more(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(1, 8);
    set(p, "ann", ONLINE, 0);
    tell(p, "ann", ONLINE, 0);
    set(p, "ann", AWAY, 100);
    set(p, "bob", ONLINE, 100);
    set(p, "ann", ONLINE, 200);
    set(p, "bob", OFFLINE, 200);
    nobody(p, 5000);
    assert_int_equal(dc_presence_push_due_ms(p), RENEW); /* of what she was told at 0 */
    assert_int_equal(dc_presence_push_counts(p).people, 1);
    dc_presence_push_destroy(p);
}

static void who_changes_while_he_is_told_is_told_again(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(10, 2);
    set(p, "ann", ONLINE, 0);
    set(p, "bob", ONLINE, 1);
    set(p, "cyd", ONLINE, 2);
    expect(p, "ann", ONLINE, 10);
    expect(p, "bob", ONLINE, 10);
    nobody(p, 10); /* two at a time */
    assert_int_equal(dc_presence_push_due_ms(p), INT64_MAX);
    set(p, "ann", AWAY, 20);
    answer(p, "ann", DC_PUSH_DONE, -1, 30);
    tell(p, "cyd", ONLINE, 30);
    tell(p, "ann", AWAY, 30);
    set(p, "bob", OFFLINE, 40);
    set(p, "bob", ONLINE, 41);
    answer(p, "bob", DC_PUSH_DONE, -1, 50); /* as it is told */
    nobody(p, 60);
    dc_presence_push_destroy(p);
}

static void who_has_no_account_costs_a_look_and_no_budget(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(1, 8);
    set(p, "guest", ONLINE, 0);
    set(p, "ann", ONLINE, 1);
    expect(p, "guest", ONLINE, 10);
    answer(p, "guest", DC_PUSH_ABSENT, -1, 20);
    tell(p, "ann", ONLINE, 20);
    set(p, "guest", AWAY, 1000);
    set(p, "guest", OFFLINE, 2000);
    set(p, "guest", ONLINE, 3000);
    nobody(p, 4000);
    dc_presence_push_found(p, DC_S("guest"), 5000); /* he has one now */
    expect(p, "guest", ONLINE, 5000);
    answer(p, "guest", DC_PUSH_REFUSED, -1, 5000);
    set(p, "ann", OFFLINE, 6000);
    tell(p, "ann", OFFLINE, 6000);
    nobody(p, 5000 + ABSENT - 1);
    tell(p, "guest", ONLINE, 5000 + ABSENT); /* perhaps by now */
    dc_presence_push_destroy(p);
}

static void a_guest_who_has_gone_is_forgotten_when_his_time_is_over(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(1, 8);
    set(p, "guest", ONLINE, 0);
    expect(p, "guest", ONLINE, 0);
    set(p, "guest", OFFLINE, 5);
    answer(p, "guest", DC_PUSH_ABSENT, -1, 10);
    assert_int_equal(dc_presence_push_counts(p).people, 1);
    nobody(p, 10 + ABSENT);
    assert_int_equal(dc_presence_push_counts(p).people, 0);
    dc_presence_push_destroy(p);
}

static void a_429_holds_one_back_and_several_in_a_row_everybody(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(100, 8);
    static const char *const ids[] = {"ann", "bob", "cyd", "dan"};
    for (int i = 0; i < 4; i++) {
        set(p, ids[i], ONLINE, i);
    }
    expect(p, "ann", ONLINE, 10);
    answer(p, "ann", DC_PUSH_LIMITED, 3000, 10);
    tell(p, "bob", ONLINE, 10); /* it was about her alone */
    set(p, "bob", AWAY, 20);
    for (int i = 1; i < 4; i++) {
        static const char *const order[] = {"", "cyd", "dan", "bob"};
        expect(p, order[i], i == 3 ? AWAY : ONLINE, 30);
        answer(p, order[i], DC_PUSH_LIMITED, i == 3 ? 5000 : -1, 30);
    }
    nobody(p, 5029);
    assert_int_equal(dc_presence_push_backlog(p, 5029).why, DC_PUSH_SLOWED);
    tell(p, "ann", ONLINE, 5030); /* the oldest change, at its old place */
    tell(p, "cyd", ONLINE, 5030);
    tell(p, "dan", ONLINE, 5030);
    tell(p, "bob", AWAY, 5030);
    dc_presence_push_destroy(p);
}

static void while_nobody_answers_one_asks_and_waits_longer_each_time(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(100, 8);
    int64_t now = 10;
    set(p, "ann", ONLINE, 0);
    for (int64_t wait = 1000; wait < 300000; wait *= 2) {
        expect(p, "ann", ONLINE, now);
        answer(p, "ann", DC_PUSH_CUT_OFF, -1, now);
        assert_int_equal(dc_presence_push_backlog(p, now).why, DC_PUSH_UNREACHABLE);
        int64_t pause = wait < 60000 ? wait : 60000;
        nobody(p, now + pause - 1);
        assert_int_equal(dc_presence_push_due_ms(p), now + pause);
        now += pause;
    }
    set(p, "bob", ONLINE, now);
    expect(p, "bob", ONLINE, now); /* one at a time */
    nobody(p, now);
    answer(p, "bob", DC_PUSH_DONE, -1, now + 1);
    expect(p, "ann", ONLINE, now + 1);
    set(p, "bob", OFFLINE, now + 2);
    expect(p, "bob", OFFLINE, now + 2);
    answer(p, "bob", DC_PUSH_CUT_OFF, -1, now + 3); /* perhaps done: he is told again */
    answer(p, "ann", DC_PUSH_DONE, -1, now + 4);
    tell(p, "bob", OFFLINE, now + 2000);
    dc_presence_push_destroy(p);
}

/* A homeserver that hangs with one person alone looks as if it were away. */
static void who_asks_in_vain_is_not_the_next_to_ask(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(100, 8);
    set(p, "ann", ONLINE, 0);
    set(p, "bob", ONLINE, 1);
    expect(p, "ann", ONLINE, 10);
    set(p, "cyd", ONLINE, 11);
    answer(p, "ann", DC_PUSH_CUT_OFF, -1, 20);
    nobody(p, 1019);
    tell(p, "bob", ONLINE, 1020);
    tell(p, "cyd", ONLINE, 1020);
    tell(p, "ann", ONLINE, 1020);
    dc_presence_push_destroy(p);
}

static void with_whom_it_fails_waits_longer_each_time_and_keeps_nobody(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(100, 8);
    int64_t now = 10;
    set(p, "ann", ONLINE, 0);
    for (int64_t wait = 1000; wait < 300000; wait *= 2) {
        expect(p, "ann", ONLINE, now);
        answer(p, "ann", DC_PUSH_FAILED, -1, now);
        set(p, "bob", ONLINE, now);
        tell(p, "bob", ONLINE, now);
        assert_int_equal(dc_presence_push_backlog(p, now).why, DC_PUSH_BUDGET);
        set(p, "bob", OFFLINE, now);
        tell(p, "bob", OFFLINE, now);
        set(p, "ann", AWAY, now);
        set(p, "ann", ONLINE, now); /* changes nothing of her wait */
        int64_t pause = wait < 60000 ? wait : 60000;
        nobody(p, now + pause - 1);
        assert_int_equal(dc_presence_push_due_ms(p), now + pause);
        now += pause;
    }
    tell(p, "ann", ONLINE, now);
    set(p, "ann", AWAY, now + 1);
    expect(p, "ann", AWAY, now + 1);
    answer(p, "ann", DC_PUSH_FAILED, -1, now + 2); /* from the beginning */
    tell(p, "ann", AWAY, now + 1002);
    dc_presence_push_destroy(p);
}

/* Her change too: it has had its turn before them. */
static void who_is_asked_again_takes_her_turn_with_the_renewals(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(1, 8);
    set(p, "bob", ONLINE, 0);
    tell(p, "bob", ONLINE, 0);
    set(p, "ann", ONLINE, RENEW - 1500);
    expect(p, "ann", ONLINE, RENEW - 1500);
    answer(p, "ann", DC_PUSH_FAILED, -1, RENEW - 500); /* until RENEW + 500 */
    set(p, "cyd", ONLINE, RENEW - 400);
    tell(p, "cyd", ONLINE, RENEW - 400);
    set(p, "dan", ONLINE, RENEW + 550);
    tell(p, "dan", ONLINE, RENEW + 600);
    assert_int_equal(dc_presence_push_backlog(p, RENEW + 600).renewals, 2);
    tell(p, "bob", ONLINE, RENEW + 1600); /* since RENEW */
    tell(p, "ann", ONLINE, RENEW + 2600);
    nobody(p, RENEW + 3600);
    dc_presence_push_destroy(p);
}

/* Ten people and a homeserver that fails with all of them. */
static void when_it_fails_with_everybody_requests_are_few(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(100, 8);
    struct dc_presence_push_next next;
    int n = 0;
    for (int i = 0; i < 10; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "u%d", i);
        set(p, name, ONLINE, i);
    }
    for (int64_t now = 100; now < 100 + 80000; now += 10) {
        while (dc_presence_push_next(p, now, &next)) {
            n++;
            dc_presence_push_answered(p, next.user_id, DC_PUSH_FAILED, -1, now);
        }
    }
    assert_int_equal(dc_presence_push_backlog(p, 100 + 80000).why, DC_PUSH_FAILING);
    /* Five at once, then after 1, 2, 4 and 8 s, and every 8 s. */
    assert_int_equal(n, 5 + 4 + 8);
    /* Whoever can be told is the next, and everybody goes on. */
    set(p, "zoe", ONLINE, 100 + 80000);
    tell(p, "zoe", ONLINE, 100 + 88000);
    for (n = 0; dc_presence_push_next(p, 100 + 88000, &next); n++) {
    }
    assert_int_equal(n, 8);
    dc_presence_push_destroy(p);
}

/* Nine with whom it always fails, and one whose presence is only to be renewed. */
static void many_with_whom_it_fails_keep_nobody_for_long(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(100, 8);
    struct dc_presence_push_next next;
    int64_t told_at = 0;
    set(p, "zoe", ONLINE, 0);
    tell(p, "zoe", ONLINE, 0);
    for (int i = 0; i < 9; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "u%d", i);
        set(p, name, ONLINE, 1);
    }
    for (int64_t now = 10; now < 600000; now += 10) {
        while (dc_presence_push_next(p, now, &next)) {
            bool is_zoe = dc_slice_eq(next.user_id, DC_S("zoe"));
            if (is_zoe) {
                assert_true(now - told_at <= RENEW + 8000);
                told_at = now;
            }
            dc_presence_push_answered(p, next.user_id, is_zoe ? DC_PUSH_DONE : DC_PUSH_FAILED, -1,
                                      now);
        }
    }
    assert_true(told_at > 600000 - RENEW - 8000);
    dc_presence_push_destroy(p);
}

static void who_ceases_to_lead_forgets_with_whom_it_failed(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(100, 8);
    set(p, "ann", ONLINE, 0);
    set(p, "bob", ONLINE, 1);
    expect(p, "ann", ONLINE, 10);
    answer(p, "ann", DC_PUSH_FAILED, -1, 10);
    expect(p, "bob", ONLINE, 10);
    answer(p, "bob", DC_PUSH_FAILED, -1, 10);
    set(p, "ann", OFFLINE, 20);
    dc_presence_push_pause(p, 5000);
    nobody(p, 2000); /* both would be asked */
    dc_presence_push_lead(p, false, 2000);
    assert_int_equal(dc_presence_push_counts(p).people, 1);
    dc_presence_push_lead(p, true, 3000);
    tell(p, "bob", ONLINE, 3000);
    dc_presence_push_destroy(p);
}

static void a_new_leader_renews_whom_it_knows_and_asks_about_whom_it_doubts(void **state)
{
    (void)state;
    struct dc_presence_push *p = create(2, 8);
    set(p, "ann", ONLINE, 0);
    set(p, "bob", ONLINE, 10);
    set(p, "bob", OFFLINE, 20); /* whoever leads tells it */
    set(p, "cyd", AWAY, 30);
    dc_presence_push_doubt(p, DC_S("eve"), 40);
    dc_presence_push_doubt(p, DC_S("ann"), 50); /* she is here */
    dc_presence_push_doubt(p, DC_S("fay"), 60);
    dc_presence_push_undoubt(p, DC_S("fay"));
    dc_presence_push_undoubt(p, DC_S("ann"));
    nobody(p, 100000);
    assert_int_equal(dc_presence_push_due_ms(p), INT64_MAX);
    dc_presence_push_lead(p, true, 100000);
    set(p, "dan", ONLINE, 100001); /* a change goes before renewals */
    tell(p, "eve", OFFLINE, 100002);
    tell(p, "dan", ONLINE, 100002);
    tell(p, "ann", ONLINE, 101000);
    set(p, "cyd", OFFLINE, 101001); /* perhaps told away: she must be told */
    tell(p, "cyd", OFFLINE, 101500);
    nobody(p, 105000);
    dc_presence_push_destroy(p);
}

static void who_ceases_to_lead_tells_nobody_and_keeps_who_is_here(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(2, 8);
    set(p, "ann", ONLINE, 0);
    set(p, "bob", ONLINE, 1);
    tell(p, "ann", ONLINE, 5);
    expect(p, "bob", ONLINE, 5);
    set(p, "ann", OFFLINE, 10);
    set(p, "cyd", AWAY, 11);
    dc_presence_push_lead(p, false, 20);
    answer(p, "bob", DC_PUSH_DONE, -1, 30);
    nobody(p, 5000);
    assert_int_equal(dc_presence_push_counts(p).people, 2);
    dc_presence_push_lead(p, true, 6000);
    tell(p, "cyd", AWAY, 6000);
    tell(p, "bob", ONLINE, 6000);
    dc_presence_push_pause(p, 90000);
    nobody(p, 89999);
    tell(p, "cyd", AWAY, 90000);
    dc_presence_push_destroy(p);
}

static void people_beyond_the_limit_are_counted_and_not_told(void **state)
{
    (void)state;
    struct dc_presence_push *p = leader(200, 200);
    for (int i = 0; i < 101; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "u%d", i);
        set(p, name, ONLINE, i);
    }
    assert_int_equal(dc_presence_push_counts(p).people, 100);
    assert_int_equal(dc_presence_push_counts(p).too_many, 1);
    set(p, "u100", OFFLINE, 200);
    dc_presence_push_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes_is_told_renewed_and_told_gone),
        cmocka_unit_test(changes_go_first_the_oldest_first_and_with_the_newest_status),
        cmocka_unit_test(who_changes_back_or_was_never_told_waits_no_more),
        cmocka_unit_test(who_changes_while_he_is_told_is_told_again),
        cmocka_unit_test(who_has_no_account_costs_a_look_and_no_budget),
        cmocka_unit_test(a_guest_who_has_gone_is_forgotten_when_his_time_is_over),
        cmocka_unit_test(a_429_holds_one_back_and_several_in_a_row_everybody),
        cmocka_unit_test(while_nobody_answers_one_asks_and_waits_longer_each_time),
        cmocka_unit_test(who_asks_in_vain_is_not_the_next_to_ask),
        cmocka_unit_test(with_whom_it_fails_waits_longer_each_time_and_keeps_nobody),
        cmocka_unit_test(who_is_asked_again_takes_her_turn_with_the_renewals),
        cmocka_unit_test(when_it_fails_with_everybody_requests_are_few),
        cmocka_unit_test(many_with_whom_it_fails_keep_nobody_for_long),
        cmocka_unit_test(who_ceases_to_lead_forgets_with_whom_it_failed),
        cmocka_unit_test(a_new_leader_renews_whom_it_knows_and_asks_about_whom_it_doubts),
        cmocka_unit_test(who_ceases_to_lead_tells_nobody_and_keeps_who_is_here),
        cmocka_unit_test(people_beyond_the_limit_are_counted_and_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
