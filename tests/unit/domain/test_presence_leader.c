/* Who may publish: one candidate step by step, and several against a store in random time. */
#include "domain/presence_leader.h"

#include "base/random.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define LEASE 5000

static struct dc_mono at(int64_t ms)
{
    return (struct dc_mono){ms};
}

/* Leading since it asked at `ms`, with token 7. */
static struct dc_presence_leader leader_since(int64_t ms)
{
    struct dc_presence_leader l;
    dc_presence_leader_init(&l, LEASE, at(ms));
    assert_true(dc_presence_leader_should_ask(&l, at(ms)));
    dc_presence_leader_asked(&l, at(ms));
    assert_int_equal(dc_presence_leader_answered(&l, DC_OK, 7, at(ms + 10)), DC_LEADER_GAINED);
    return l;
}

static void a_candidate_asks_every_three_tenths_of_the_lease(void **state)
{
    (void)state;
    struct dc_presence_leader l;
    dc_presence_leader_init(&l, LEASE, at(100));
    assert_int_equal(dc_presence_leader_every_ms(&l), 1500);
    assert_int_equal(dc_presence_leader_next_due_ms(&l), 100);
    dc_presence_leader_asked(&l, at(100));
    assert_false(dc_presence_leader_should_ask(&l, at(99999))); /* one question at a time */
    assert_int_equal(dc_presence_leader_next_due_ms(&l), INT64_MAX);
    assert_int_equal(dc_presence_leader_answered(&l, DC_CONFLICT, 0, at(110)), DC_LEADER_SAME);
    assert_false(dc_presence_leader_should_ask(&l, at(1599)));
    assert_true(dc_presence_leader_should_ask(&l, at(1600)));
    dc_presence_leader_hurry(&l, at(200)); /* the other one goes */
    assert_true(dc_presence_leader_should_ask(&l, at(200)));
}

static void the_lease_counts_from_the_question_and_for_nine_tenths(void **state)
{
    (void)state;
    struct dc_presence_leader l = leader_since(1000);
    assert_int_equal(l.token, 7);
    assert_true(dc_presence_leader_may_publish(&l, at(1010)));
    assert_true(dc_presence_leader_may_publish(&l, at(5499)));
    assert_false(dc_presence_leader_may_publish(&l, at(5500)));
    assert_int_equal(dc_presence_leader_tick(&l, at(5499)), DC_LEADER_SAME);
    assert_int_equal(dc_presence_leader_tick(&l, at(5500)), DC_LEADER_LOST);
    assert_int_equal(dc_presence_leader_tick(&l, at(5501)), DC_LEADER_SAME); /* once */
}

static void an_answer_that_took_too_long_proves_nothing(void **state)
{
    (void)state;
    struct dc_presence_leader l;
    dc_presence_leader_init(&l, LEASE, at(0));
    dc_presence_leader_asked(&l, at(0));
    assert_int_equal(dc_presence_leader_answered(&l, DC_OK, 7, at(4500)), DC_LEADER_SAME);
    assert_false(dc_presence_leader_may_publish(&l, at(4500)));
    assert_true(dc_presence_leader_should_ask(&l, at(4500)));
}

static void renewing_goes_on_and_a_new_token_is_told(void **state)
{
    (void)state;
    struct dc_presence_leader l = leader_since(0);
    dc_presence_leader_asked(&l, at(1500));
    assert_int_equal(dc_presence_leader_answered(&l, DC_OK, 7, at(1510)), DC_LEADER_SAME);
    assert_true(dc_presence_leader_may_publish(&l, at(5999)));
    dc_presence_leader_asked(&l, at(3000));
    assert_int_equal(dc_presence_leader_answered(&l, DC_OK, 9, at(3010)), DC_LEADER_RENEWED);
    assert_int_equal(l.token, 9);
}

static void somebody_elses_lease_ends_it(void **state)
{
    (void)state;
    struct dc_presence_leader l = leader_since(0);
    dc_presence_leader_echoed(&l, at(1400));
    dc_presence_leader_asked(&l, at(1500));
    assert_int_equal(dc_presence_leader_answered(&l, DC_CONFLICT, 0, at(1510)), DC_LEADER_LOST);
    assert_false(dc_presence_leader_may_publish(&l, at(1510)));
    assert_int_equal(dc_presence_leader_resign(&l), DC_LEADER_SAME); /* it was none any more */
}

static void while_the_store_is_away_the_bus_carries_a_leader_and_makes_none(void **state)
{
    (void)state;
    struct dc_presence_leader l = leader_since(0);
    for (int64_t t = 1500; t < 60000; t += 1500) {
        assert_true(dc_presence_leader_may_publish(&l, at(t)));
        dc_presence_leader_asked(&l, at(t));
        assert_int_equal(dc_presence_leader_answered(&l, DC_UNAVAILABLE, 0, at(t + 1)),
                         DC_LEADER_SAME);
        dc_presence_leader_echoed(&l, at(t));
        assert_int_equal(dc_presence_leader_is_confirmed(&l, at(t)), t < 4500);
    }
    /* Then the bus is silent too: it is cut off. */
    assert_true(dc_presence_leader_may_publish(&l, at(58500 + 4499)));
    assert_int_equal(dc_presence_leader_tick(&l, at(58500 + 4500)), DC_LEADER_LOST);
    dc_presence_leader_echoed(&l, at(63000)); /* late: it does not lead */
    assert_false(dc_presence_leader_may_publish(&l, at(63001)));
    struct dc_presence_leader standby;
    dc_presence_leader_init(&standby, LEASE, at(0));
    dc_presence_leader_asked(&standby, at(0));
    assert_int_equal(dc_presence_leader_answered(&standby, DC_TIMEOUT, 0, at(2000)),
                     DC_LEADER_SAME);
    dc_presence_leader_echoed(&standby, at(2000));
    assert_false(dc_presence_leader_may_publish(&standby, at(2001)));
}

static void the_bus_alone_does_not_carry_a_leader_whom_the_store_answers(void **state)
{
    (void)state;
    struct dc_presence_leader l = leader_since(0);
    dc_presence_leader_echoed(&l, at(4000));
    assert_int_equal(dc_presence_leader_tick(&l, at(4500)), DC_LEADER_LOST);
}

static void a_leader_that_slept_begins_anew_whatever_the_store_says(void **state)
{
    (void)state;
    struct dc_presence_leader l = leader_since(0);
    dc_presence_leader_asked(&l, at(1500)); /* stopped with the answer on its way */
    assert_false(dc_presence_leader_may_publish(&l, at(90000)));
    assert_int_equal(dc_presence_leader_answered(&l, DC_OK, 7, at(90000)), DC_LEADER_LOST);
    assert_true(dc_presence_leader_should_ask(&l, at(90000)));
    dc_presence_leader_asked(&l, at(90000));
    assert_int_equal(dc_presence_leader_answered(&l, DC_OK, 7, at(90001)), DC_LEADER_GAINED);
}

/* --- several candidates, one store, random time --- */

enum { CANDIDATES = 4, STEPS = 200000 };

struct candidate {
    struct dc_presence_leader l;
    int64_t answer_at, awake_at; /* the answer arrives; it is stopped until then */
    enum dc_status answer;
    int64_t token;
};

struct store {
    int holder; /* -1: none */
    int64_t until, token;
};

static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void ask_store(struct store *s, struct candidate *c, int i, int64_t now)
{
    if (s->holder >= 0 && s->until <= now) {
        s->holder = -1;
    }
    c->answer = s->holder >= 0 && s->holder != i ? DC_CONFLICT : DC_OK;
    if (c->answer == DC_OK) {
        s->token += s->holder != i;
        s->holder = i;
        s->until = now + LEASE;
    }
    c->token = s->token;
}

static void step_candidate(struct candidate *c, struct store *s, int i, int64_t now, uint64_t *seed)
{
    if (now < c->awake_at) {
        return;
    }
    if (next_random(seed) % 5000 == 0) {
        c->awake_at = now + (int64_t)(next_random(seed) % (3 * LEASE)); /* SIGSTOP */
        return;
    }
    if (c->l.is_asking && now >= c->answer_at) {
        (void)dc_presence_leader_answered(&c->l, c->answer, c->token, at(now));
    }
    (void)dc_presence_leader_tick(&c->l, at(now));
    if (dc_presence_leader_should_ask(&c->l, at(now))) {
        dc_presence_leader_asked(&c->l, at(now));
        ask_store(s, c, i, now); /* at the latest moment that is worst for us: at once */
        c->answer_at = now + (int64_t)(next_random(seed) % 3000);
    }
}

static void never_two_of_them_may_publish_while_the_store_works(void **state)
{
    (void)state;
    const char *given = getenv("LEADER_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : dc_random_u64(NULL);
    uint64_t first = seed;
    struct candidate candidates[CANDIDATES] = {0};
    struct store store = {.holder = -1};
    size_t n_led = 0;
    for (int i = 0; i < CANDIDATES; i++) {
        dc_presence_leader_init(&candidates[i].l, LEASE, at(0));
    }
    for (int64_t now = 0, step = 0; step < STEPS;
         step++, now += (int64_t)(next_random(&seed) % 9)) {
        int leaders = 0;
        for (int i = 0; i < CANDIDATES; i++) {
            step_candidate(&candidates[i], &store, i, now, &seed);
            /* Asked of one that is stopped too: that is what it would find when it continues. */
            leaders += dc_presence_leader_may_publish(&candidates[i].l, at(now));
        }
        n_led += leaders == 1;
        if (leaders > 1) {
            fail_msg("two leaders at %" PRId64 ": LEADER_SEED=%" PRIu64, now, first);
        }
    }
    if (n_led < STEPS / 3) {
        fail_msg("hardly anybody ever led: %zu of %d, LEADER_SEED=%" PRIu64, n_led, STEPS, first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_candidate_asks_every_three_tenths_of_the_lease),
        cmocka_unit_test(the_lease_counts_from_the_question_and_for_nine_tenths),
        cmocka_unit_test(an_answer_that_took_too_long_proves_nothing),
        cmocka_unit_test(renewing_goes_on_and_a_new_token_is_told),
        cmocka_unit_test(somebody_elses_lease_ends_it),
        cmocka_unit_test(while_the_store_is_away_the_bus_carries_a_leader_and_makes_none),
        cmocka_unit_test(the_bus_alone_does_not_carry_a_leader_whom_the_store_answers),
        cmocka_unit_test(a_leader_that_slept_begins_anew_whatever_the_store_says),
        cmocka_unit_test(never_two_of_them_may_publish_while_the_store_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
