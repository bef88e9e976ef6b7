/* What counts of a homeserver's word: by example, and against the rule as it is written, for random
 * histories (ECHO_SEED=n replays one). */
#include "base/random.h"
#include "domain/presence_echo.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SETTLE  2000
#define DOUBT   70000
#define OFFLINE DC_PRESENCE_OFFLINE
#define AWAY    DC_PRESENCE_AWAY
#define ONLINE  DC_PRESENCE_ONLINE

/* The core's side: what counts of each, as it was reported, and what was asked for. */
enum { PEOPLE = 4 };
static const char *const names[PEOPLE] = {"ann", "bob", "cyd", "дар"};
struct rig {
    struct dc_presence_echo *echo;
    enum dc_presence_status counts[PEOPLE];
    struct dc_utc last_active[PEOPLE];
    int reports[PEOPLE], doubts[PEOPLE], cleared[PEOPLE];
};

static int index_of(struct dc_slice id)
{
    for (int i = 0; i < PEOPLE; i++) {
        if (dc_slice_eq(id, dc_slice_z(names[i]))) {
            return i;
        }
    }
    fail_msg("somebody unknown");
    return 0;
}

static void on_counts(void *data, struct dc_slice id, enum dc_presence_status status,
                      struct dc_utc last_active)
{
    struct rig *g = data;
    int i = index_of(id);
    assert_int_not_equal(g->counts[i], status); /* changes alone */
    g->counts[i] = status;
    g->last_active[i] = last_active;
    g->reports[i]++;
}

static void on_doubt(void *data, struct dc_slice id)
{
    struct rig *g = data;
    g->doubts[index_of(id)]++;
}

static void on_cleared(void *data, struct dc_slice id)
{
    struct rig *g = data;
    g->cleared[index_of(id)]++;
}

static void set_up(struct rig *g, size_t max_people)
{
    const struct dc_presence_echo_opts opts = {SETTLE, DOUBT, max_people, {3, 4}};
    const struct dc_presence_echo_callbacks cbs = {on_counts, on_doubt, on_cleared};
    *g = (struct rig){0};
    g->echo = dc_presence_echo_create(&opts, &cbs, g);
}

/* We push, and have for long. */
static void lead_long_ago(struct rig *g)
{
    dc_presence_echo_lead(g->echo, -DOUBT - 1);
}

static struct dc_slice id(int i)
{
    return dc_slice_z(names[i]);
}

static void say(struct rig *g, int i, enum dc_presence_status status, int64_t now)
{
    g->counts[i] = dc_presence_echo_said(g->echo, id(i), status, (struct dc_utc){now}, now);
}

static void begin(struct rig *g, int i, enum dc_presence_status status, int64_t now)
{
    dc_presence_echo_begin(g->echo, id(i), status, g->counts[i], now);
}

static void end(struct rig *g, int i, enum dc_presence_echo_end how, int64_t now)
{
    dc_presence_echo_end(g->echo, id(i), how, now);
}

static void push(struct rig *g, int i, enum dc_presence_status status, int64_t now)
{
    begin(g, i, status, now);
    end(g, i, DC_ECHO_DONE, now);
}

/* Everybody knows of it; one at a time. */
static void walk(struct rig *g)
{
    while (dc_presence_echo_walk(g->echo, 1)) {
        /* the next one */
    }
}

static void who_is_never_pushed_is_believed_and_not_remembered(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    lead_long_ago(&g);
    say(&g, 0, ONLINE, 0);
    assert_int_equal(g.counts[0], ONLINE);
    say(&g, 0, AWAY, 1);
    assert_int_equal(g.counts[0], AWAY);
    say(&g, 0, OFFLINE, 2);
    assert_int_equal(g.counts[0], OFFLINE);
    assert_int_equal(dc_presence_echo_count(g.echo), 0);
    assert_int_equal(g.doubts[0], 0);
    dc_presence_echo_destroy(g.echo);
}

static void an_echo_does_not_count_and_is_forgotten_when_it_has_died_away(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    lead_long_ago(&g);
    push(&g, 0, ONLINE, 0);
    say(&g, 0, ONLINE, 20);
    assert_int_equal(g.counts[0], OFFLINE);
    say(&g, 0, ONLINE, 60000); /* said again without news */
    assert_int_equal(g.counts[0], OFFLINE);
    push(&g, 0, OFFLINE, 70000);
    say(&g, 0, ONLINE, 70010); /* of before */
    assert_int_equal(g.counts[0], OFFLINE);
    say(&g, 0, OFFLINE, 70020);
    assert_int_equal(dc_presence_echo_next_due_ms(g.echo), 72000);
    dc_presence_echo_tick(g.echo, true, 72000);
    assert_int_equal(g.reports[0], 0);
    assert_int_equal(dc_presence_echo_count(g.echo), 0);
    assert_int_equal(dc_presence_echo_next_due_ms(g.echo), INT64_MAX);
    dc_presence_echo_destroy(g.echo);
}

static void a_higher_status_than_ours_counts(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    lead_long_ago(&g);
    push(&g, 0, AWAY, 0);
    say(&g, 0, AWAY, 10);
    assert_int_equal(g.counts[0], OFFLINE);
    say(&g, 0, ONLINE, 20); /* another client of his */
    assert_int_equal(g.counts[0], ONLINE);
    push(&g, 0, ONLINE, 30);
    assert_int_equal(g.counts[0], OFFLINE); /* cannot be told from ours any more */
    dc_presence_echo_destroy(g.echo);
}

static void who_is_there_by_another_client_counts_again_after_we_have_said_offline(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    lead_long_ago(&g);
    say(&g, 0, ONLINE, 0); /* before we push anything: nobody remembers it but the core */
    push(&g, 0, ONLINE, 10);
    assert_int_equal(g.counts[0], OFFLINE);
    push(&g, 0, OFFLINE, 50000); /* and the homeserver has nothing new to say */
    assert_int_equal(g.counts[0], OFFLINE);
    dc_presence_echo_tick(g.echo, true, 51999);
    assert_int_equal(g.counts[0], OFFLINE);
    dc_presence_echo_tick(g.echo, true, 52000);
    assert_int_equal(g.counts[0], ONLINE);
    assert_int_equal(dc_presence_echo_count(g.echo), 0);
    dc_presence_echo_destroy(g.echo);
}

static void what_is_under_way_or_lost_counts_as_told(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    lead_long_ago(&g);
    begin(&g, 0, ONLINE, 0);
    say(&g, 0, ONLINE, 5);
    assert_int_equal(g.counts[0], OFFLINE);
    end(&g, 0, DC_ECHO_UNKNOWN, 10);
    say(&g, 0, ONLINE, 20);
    assert_int_equal(g.counts[0], OFFLINE);
    /* An offline that nobody has acknowledged ends nothing. */
    begin(&g, 0, OFFLINE, 100);
    end(&g, 0, DC_ECHO_UNKNOWN, 110);
    dc_presence_echo_tick(g.echo, true, 90000);
    assert_int_equal(g.counts[0], OFFLINE);
    push(&g, 0, OFFLINE, 90000);
    dc_presence_echo_tick(g.echo, true, 92000);
    assert_int_equal(g.counts[0], ONLINE);
    /* What was refused was not told. */
    begin(&g, 0, ONLINE, 93000);
    assert_int_equal(g.counts[0], OFFLINE);
    end(&g, 0, DC_ECHO_NOTHING, 93010);
    assert_int_equal(g.counts[0], ONLINE);
    assert_int_equal(dc_presence_echo_count(g.echo), 0);
    dc_presence_echo_destroy(g.echo);
}

static void nobody_is_settled_while_the_homeserver_is_not_heard(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    lead_long_ago(&g);
    push(&g, 0, ONLINE, 0);
    say(&g, 0, ONLINE, 10);
    push(&g, 0, AWAY, 100);
    push(&g, 0, OFFLINE, 200);
    dc_presence_echo_tick(g.echo, false, 2300); /* both levels are due */
    assert_int_equal(g.counts[0], OFFLINE);
    assert_int_equal(dc_presence_echo_next_due_ms(g.echo), 4300);
    dc_presence_echo_tick(g.echo, false, 4300);
    say(&g, 0, OFFLINE, 5000); /* heard again */
    dc_presence_echo_tick(g.echo, true, 6300);
    assert_int_equal(g.reports[0], 0);
    assert_int_equal(dc_presence_echo_count(g.echo), 0);
    dc_presence_echo_destroy(g.echo);
}

static void a_new_leader_doubts_whom_it_does_not_know_once(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    say(&g, 0, ONLINE, 0); /* while somebody else leads */
    assert_int_equal(g.counts[0], OFFLINE);
    assert_int_equal(g.doubts[0], 1);
    dc_presence_echo_lead(g.echo, 1000);
    say(&g, 1, AWAY, 1000);
    assert_int_equal(g.doubts[1], 1);
    say(&g, 1, AWAY, 1100);
    assert_int_equal(g.doubts[1], 1);
    say(&g, 1, OFFLINE, 1200); /* it was nothing */
    assert_int_equal(g.cleared[1], 1);
    push(&g, 0, OFFLINE, 1300);
    dc_presence_echo_tick(g.echo, true, 3300); /* he is really there */
    assert_int_equal(g.counts[0], ONLINE);
    assert_int_equal(dc_presence_echo_count(g.echo), 1); /* so that he is not doubted again */
    say(&g, 0, ONLINE, 60000);
    assert_int_equal(g.counts[0], ONLINE);
    assert_int_equal(g.doubts[0], 1);
    dc_presence_echo_tick(g.echo, true, 1000 + DOUBT);
    assert_int_equal(dc_presence_echo_count(g.echo), 0);
    say(&g, 2, ONLINE, 1000 + DOUBT); /* nobody else can have told it by now */
    assert_int_equal(g.counts[2], ONLINE);
    assert_int_equal(g.doubts[2], 0);
    dc_presence_echo_destroy(g.echo);
}

static void a_suspect_whom_nobody_can_tell_anything_is_believed(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    dc_presence_echo_lead(g.echo, 0);
    say(&g, 0, ONLINE, 0);
    begin(&g, 0, OFFLINE, 10);
    end(&g, 0, DC_ECHO_NOTHING, 20); /* later */
    assert_int_equal(g.counts[0], OFFLINE);
    begin(&g, 0, OFFLINE, 30);
    end(&g, 0, DC_ECHO_CANNOT, 40);
    assert_int_equal(g.counts[0], ONLINE);
    assert_int_equal(g.doubts[0], 1);
    dc_presence_echo_destroy(g.echo);
}

static void who_ceases_to_lead_doubts_everybody_and_who_pushes_nobody_believes_all(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    lead_long_ago(&g);
    push(&g, 0, ONLINE, 0);
    say(&g, 0, ONLINE, 10);
    push(&g, 1, AWAY, 0);
    say(&g, 1, ONLINE, 10);
    push(&g, 2, ONLINE, 0);
    begin(&g, 3, ONLINE, 0);
    say(&g, 3, ONLINE, 1);
    dc_presence_echo_distrust(g.echo);
    assert_int_equal(g.counts[1], ONLINE); /* nobody waits for all of them */
    walk(&g);
    assert_int_equal(g.counts[1], OFFLINE);
    assert_int_equal(g.doubts[0] + g.doubts[1] + g.doubts[3], 3);
    assert_int_equal(g.doubts[2], 0);
    assert_int_equal(dc_presence_echo_count(g.echo), 3);
    end(&g, 3, DC_ECHO_DONE, 20); /* of another time */
    dc_presence_echo_distrust(g.echo);
    walk(&g);
    assert_int_equal(g.doubts[0] + g.doubts[1] + g.doubts[3], 3);
    dc_presence_echo_trust(g.echo);
    walk(&g);
    assert_int_equal(g.counts[0], ONLINE);
    assert_int_equal(g.counts[1], ONLINE);
    assert_int_equal(g.counts[3], ONLINE);
    assert_int_equal(g.last_active[1].ms, 10);
    assert_int_equal(dc_presence_echo_count(g.echo), 0);
    dc_presence_echo_destroy(g.echo);
}

static void a_walk_does_so_much_as_it_may(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 100);
    for (int i = 0; i < PEOPLE; i++) {
        say(&g, i, ONLINE, 0); /* a suspect */
    }
    assert_false(dc_presence_echo_walk(g.echo, 1));
    dc_presence_echo_trust(g.echo);
    for (int i = 0; i < PEOPLE; i++) {
        assert_int_equal(dc_presence_echo_count(g.echo), PEOPLE - i);
        assert_true(dc_presence_echo_walk(g.echo, 0));
        assert_int_equal(dc_presence_echo_walk(g.echo, 1), i + 1 < PEOPLE);
    }
    dc_presence_echo_destroy(g.echo);
}

static void it_remembers_no_more_people_than_it_may(void **state)
{
    (void)state;
    struct rig g;
    set_up(&g, 1);
    say(&g, 0, ONLINE, 0);
    say(&g, 1, ONLINE, 0);
    assert_int_equal(g.counts[1], ONLINE);
    begin(&g, 1, ONLINE, 5);
    end(&g, 1, DC_ECHO_DONE, 6);
    assert_int_equal(dc_presence_echo_count(g.echo), 1);
    dc_presence_echo_destroy(g.echo);
}

/* --- the rule, as it is written --- */

enum { TELLINGS = 400 };
struct telling {
    enum dc_presence_status status;
    bool is_acknowledged, is_void;
    int64_t acknowledged_ms;
};
struct model {
    struct telling told[TELLINGS];
    int n;
    enum dc_presence_status said;
};

static enum dc_presence_status model_p(const struct model *m, int64_t now)
{
    enum dc_presence_status p = OFFLINE;
    for (int i = 0; i < m->n; i++) {
        bool is_replaced = m->told[i].is_void;
        for (int j = i + 1; j < m->n && !is_replaced; j++) {
            const struct telling *later = &m->told[j];
            is_replaced = later->is_acknowledged && later->status < m->told[i].status &&
                          now - later->acknowledged_ms >= SETTLE;
        }
        if (!is_replaced && m->told[i].status > p) {
            p = m->told[i].status;
        }
    }
    return p;
}

static enum dc_presence_status model_counts(const struct model *m, int64_t now)
{
    return m->said > model_p(m, now) ? m->said : OFFLINE;
}

static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* One history of one person. */
static void live(uint64_t *random, uint64_t seed)
{
    struct rig g;
    set_up(&g, 100);
    struct model m = {0};
    bool is_flying = false;
    int64_t now = 0;
    lead_long_ago(&g);
    for (int step = 0; step < 300; step++) {
        now += (int64_t)(next_random(random) % 1500);
        dc_presence_echo_tick(g.echo, true, now);
        uint64_t what = next_random(random) % 4;
        enum dc_presence_status status = (enum dc_presence_status)(next_random(random) % 3);
        if (what == 0) {
            m.said = status;
            say(&g, 0, status, now);
        } else if (what == 1 && !is_flying) {
            is_flying = true;
            m.told[m.n++] = (struct telling){.status = status};
            begin(&g, 0, status, now);
        } else if (what == 2 && is_flying) {
            static const enum dc_presence_echo_end ends[] = {
                DC_ECHO_DONE, DC_ECHO_DONE, DC_ECHO_NOTHING, DC_ECHO_UNKNOWN, DC_ECHO_CANNOT};
            enum dc_presence_echo_end how = ends[next_random(random) % DC_ARRAY_LEN(ends)];
            struct telling *t = &m.told[m.n - 1];
            is_flying = false;
            t->is_acknowledged = how == DC_ECHO_DONE;
            t->acknowledged_ms = now;
            t->is_void = how == DC_ECHO_NOTHING || how == DC_ECHO_CANNOT;
            end(&g, 0, how, now);
        }
        if (g.counts[0] != model_counts(&m, now)) {
            fail_msg("step %d at %" PRId64 ": %d counts, not %d; ECHO_SEED=%" PRIu64, step, now,
                     g.counts[0], model_counts(&m, now), seed);
        }
    }
    dc_presence_echo_destroy(g.echo);
}

/* --- who is told of an era later --- */

/* The same happens to both; the first knows of each era at once, the second when somebody is found,
 * or when its walk gets there. */
static void live_twice(uint64_t *random, uint64_t seed)
{
    struct rig both[2];
    bool is_flying[PEOPLE] = {false};
    int64_t now = 0;
    set_up(&both[0], 100);
    set_up(&both[1], 100);
    for (int step = 0; step < 300; step++) {
        now += (int64_t)(next_random(random) % 3000);
        uint64_t what = next_random(random) % 20;
        int i = (int)(next_random(random) % PEOPLE);
        enum dc_presence_status status = (enum dc_presence_status)(next_random(random) % 3);
        enum dc_presence_echo_end how = (enum dc_presence_echo_end)(next_random(random) % 4);
        for (int k = 0; k < 2; k++) {
            struct rig *g = &both[k];
            dc_presence_echo_tick(g->echo, true, now);
            if (what < 8) {
                say(g, i, status, now);
            } else if (what < 16 && !is_flying[i]) {
                begin(g, i, status, now);
            } else if (what < 16) {
                end(g, i, how, now);
            } else if (what == 16) {
                dc_presence_echo_distrust(g->echo);
            } else if (what == 17) {
                dc_presence_echo_trust(g->echo);
            } else if (what == 18) {
                dc_presence_echo_lead(g->echo, now);
            }
            if (k == 0) {
                walk(g);
            } else if (what == 19) {
                (void)dc_presence_echo_walk(g->echo, 1);
            }
        }
        is_flying[i] = what >= 8 && what < 16 ? !is_flying[i] : is_flying[i];
        if (what < 16 && both[0].counts[i] != both[1].counts[i]) {
            fail_msg("step %d: %d counts, not %d; ECHO_SEED=%" PRIu64, step, both[1].counts[i],
                     both[0].counts[i], seed);
        }
    }
    walk(&both[1]);
    for (int i = 0; i < PEOPLE; i++) {
        assert_int_equal(both[0].counts[i], both[1].counts[i]);
    }
    assert_int_equal(dc_presence_echo_count(both[0].echo), dc_presence_echo_count(both[1].echo));
    dc_presence_echo_destroy(both[0].echo);
    dc_presence_echo_destroy(both[1].echo);
}

static void whoever_hears_of_an_era_later_ends_the_same(void **state)
{
    (void)state;
    const char *given = getenv("ECHO_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : dc_random_u64(NULL);
    uint64_t random = seed;
    for (int i = 0; i < 300; i++) {
        live_twice(&random, seed);
    }
}

static void what_counts_follows_the_rule_as_it_is_written(void **state)
{
    (void)state;
    const char *given = getenv("ECHO_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : dc_random_u64(NULL);
    uint64_t random = seed;
    for (int i = 0; i < 300; i++) {
        live(&random, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_never_pushed_is_believed_and_not_remembered),
        cmocka_unit_test(an_echo_does_not_count_and_is_forgotten_when_it_has_died_away),
        cmocka_unit_test(a_higher_status_than_ours_counts),
        cmocka_unit_test(who_is_there_by_another_client_counts_again_after_we_have_said_offline),
        cmocka_unit_test(what_is_under_way_or_lost_counts_as_told),
        cmocka_unit_test(nobody_is_settled_while_the_homeserver_is_not_heard),
        cmocka_unit_test(a_new_leader_doubts_whom_it_does_not_know_once),
        cmocka_unit_test(a_suspect_whom_nobody_can_tell_anything_is_believed),
        cmocka_unit_test(who_ceases_to_lead_doubts_everybody_and_who_pushes_nobody_believes_all),
        cmocka_unit_test(it_remembers_no_more_people_than_it_may),
        cmocka_unit_test(a_walk_does_so_much_as_it_may),
        cmocka_unit_test(what_counts_follows_the_rule_as_it_is_written),
        cmocka_unit_test(whoever_hears_of_an_era_later_ends_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
