/* Whom a homeserver is told of, against a plain model that looks through everybody (PUSH_SEED=n
 * replays a run); by example: test_presence_push.c. */
#include "base/random.h"
#include "domain/presence_push.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OFFLINE DC_PRESENCE_OFFLINE
#define RENEW   20000
#define ABSENT  300000

static struct dc_presence_push *leader(uint32_t per_s, uint32_t max_flying)
{
    const struct dc_presence_push_opts opts = {per_s, max_flying, RENEW, ABSENT, 100, {5, 6}};
    struct dc_presence_push *p = dc_presence_push_create(&opts);
    dc_presence_push_lead(p, true, 0);
    return p;
}

enum { PEOPLE = 12, STEPS = 4000, PER_S = 3, FLYING = 4 };
#define FAR INT64_C(1000000000000)

struct mperson {
    enum dc_presence_status want;
    int told; /* -1: not known */
    bool is_known, is_flying, has_change, flying_change;
    enum dc_presence_status sent;
    int64_t changed, flying_changed, told_at, due, put_off_until, retry;
    int failures;
    bool is_in_row; /* has failed since somebody was told */
};
struct model {
    struct mperson people[PEOPLE];
    int64_t sends[STEPS * 2];
    int n_sends;
    int64_t paused_until;
    int limited, cut_off, in_row;
    double tokens;
    int64_t filled;
};
struct game {
    struct dc_presence_push *push;
    struct model m;
    uint64_t seed, random;
    int64_t now;
    int step;
};

static uint64_t next_random(struct game *g)
{
    uint64_t z = (g->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int below(struct game *g, int n)
{
    return (int)(next_random(g) % (uint64_t)n);
}

#define CHECK(g, condition)                                                                        \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("%s: step %d, PUSH_SEED=%" PRIu64, #condition, (g)->step, (g)->seed);         \
        }                                                                                          \
    } while (0)

static struct dc_slice name_of(int i, char out[8])
{
    int n = snprintf(out, 8, "p%d", i);
    return dc_slice_make(out, (size_t)n);
}

static bool waits(const struct game *g, const struct mperson *m)
{
    return m->is_known && !m->is_flying && m->put_off_until <= g->now;
}

static bool waits_with_change(const struct game *g, const struct mperson *m)
{
    return waits(g, m) && m->failures == 0 && m->has_change && m->told != (int)m->want;
}

static bool waits_for_renewal(const struct game *g, const struct mperson *m)
{
    return waits(g, m) && m->failures == 0 && !(m->has_change && m->told != (int)m->want) &&
           m->want != OFFLINE && m->due <= g->now;
}

static bool waits_for_retry(const struct game *g, const struct mperson *m)
{
    return waits(g, m) && m->failures > 0;
}

static bool is_asking(const struct game *g)
{
    return g->m.cut_off > 0 || g->m.in_row >= 5;
}

/* Among those of whom nobody goes before the others: since when he waits; less is first. */
static int64_t turn_of(const struct game *g, const struct mperson *m)
{
    if (waits_with_change(g, m)) {
        return m->changed - INT64_C(4) * FAR;
    }
    if (waits_for_renewal(g, m)) {
        return m->due - (is_asking(g) ? INT64_C(2) * FAR : 0);
    }
    return waits_for_retry(g, m) ? m->retry : INT64_MAX;
}

/* The moment after which he is renewed, once nothing else is to be said. */
static void rest(const struct game *g, struct mperson *m)
{
    if (m->want == OFFLINE && (m->told == (int)OFFLINE || !m->has_change)) {
        m->is_known = false;
    } else if (m->told == (int)m->want) {
        m->has_change = false;
        m->due = m->told_at + RENEW;
    } else if (m->told == -1 && !m->has_change) {
        m->due = g->now;
    }
}

static void model_set(struct game *g, struct mperson *m, enum dc_presence_status status)
{
    if (!m->is_known && status == OFFLINE) {
        return;
    }
    if (!m->is_known) {
        *m = (struct mperson){.is_known = true, .told = OFFLINE};
    }
    if (m->want != status && !m->has_change) {
        m->has_change = true;
        m->changed = g->now;
    }
    m->want = status;
    if (!m->is_flying && m->put_off_until <= g->now) {
        rest(g, m);
    }
}

static void fill_model(struct game *g)
{
    struct model *m = &g->m;
    m->tokens += (double)(g->now - m->filled) * PER_S / 1000;
    m->tokens = m->tokens > PER_S ? PER_S : m->tokens;
    m->filled = g->now;
}

/* Who was put off and whose time has come rests or waits again. */
static void model_time(struct game *g)
{
    for (int i = 0; i < PEOPLE; i++) {
        struct mperson *m = &g->m.people[i];
        if (m->is_known && m->put_off_until > 0 && m->put_off_until <= g->now) {
            m->put_off_until = 0;
            rest(g, m);
        }
    }
    fill_model(g);
}

static bool take(struct game *g)
{
    struct dc_presence_push_next next;
    struct mperson *oldest = NULL;
    int flying = 0;
    model_time(g);
    for (int i = 0; i < PEOPLE; i++) {
        struct mperson *m = &g->m.people[i];
        flying += m->is_known && m->is_flying;
        if (turn_of(g, m) < (oldest == NULL ? INT64_MAX : turn_of(g, oldest))) {
            oldest = m;
        }
    }
    bool may = g->now >= g->m.paused_until && g->m.tokens > 0.9999 &&
               flying < (is_asking(g) ? 1 : FLYING) && oldest != NULL;
    CHECK(g, dc_presence_push_next(g->push, g->now, &next) == may);
    if (!may) {
        return false;
    }
    int i = atoi(next.user_id.ptr + 1);
    struct mperson *m = &g->m.people[i];
    CHECK(g, turn_of(g, m) == turn_of(g, oldest));
    CHECK(g, next.status == m->want);
    g->m.tokens -= 1;
    g->m.sends[g->m.n_sends++] = g->now;
    m->is_flying = true;
    m->sent = m->want;
    m->flying_change = m->has_change;
    m->flying_changed = m->changed;
    m->has_change = false;
    m->told = -1;
    m->told_at = g->now;
    return true;
}

static void give_back(struct mperson *m)
{
    if (m->flying_change) {
        m->has_change = true;
        m->changed = m->flying_changed;
    }
}

static int64_t doubled(int n, int64_t max)
{
    int64_t wait = 1000 << (n < 6 ? n : 6);
    return wait < max ? wait : max;
}

static void put_off(struct game *g, struct mperson *m, int64_t wait)
{
    m->put_off_until = g->now + wait;
    m->retry = m->put_off_until;
}

/* What it means for everybody: so long nobody is told. */
static int64_t pause_after(struct game *g, struct mperson *m, enum dc_presence_push_end how)
{
    if (how == DC_PUSH_DONE) {
        g->m.in_row = 0;
        for (int i = 0; i < PEOPLE; i++) {
            g->m.people[i].is_in_row = false;
        }
    } else if (how == DC_PUSH_CUT_OFF) {
        return doubled(g->m.cut_off - 1, 60000);
    } else if (how == DC_PUSH_LIMITED) {
        return g->m.limited >= 3 ? m->put_off_until - g->now : 0;
    } else if (how == DC_PUSH_FAILED) {
        g->m.in_row += m->is_in_row ? 0 : 1;
        m->is_in_row = true;
        return g->m.in_row >= 5 ? doubled(g->m.in_row - 5, 8000) : 0;
    }
    return 0;
}

static void model_answer(struct game *g, struct mperson *m, enum dc_presence_push_end how,
                         int64_t retry_after)
{
    m->is_flying = false;
    g->m.limited = how == DC_PUSH_LIMITED ? g->m.limited + 1 : 0;
    g->m.cut_off = how == DC_PUSH_CUT_OFF ? g->m.cut_off + 1 : 0;
    if (how == DC_PUSH_DONE) {
        m->told = (int)m->sent;
        m->failures = 0;
        rest(g, m);
    } else if (how == DC_PUSH_FAILED || how == DC_PUSH_CUT_OFF) {
        give_back(m);
        put_off(g, m, doubled(m->failures++, 60000));
    } else if (how == DC_PUSH_LIMITED) {
        give_back(m);
        put_off(g, m, retry_after > 1000 ? retry_after : 1000);
    } else {
        m->told = OFFLINE;
        m->failures = 0;
        m->has_change = m->want != OFFLINE;
        m->changed = g->now + ABSENT;
        put_off(g, m, ABSENT);
        fill_model(g);
        g->m.tokens += how == DC_PUSH_ABSENT && g->m.tokens + 1 <= PER_S ? 1 : 0;
    }
    int64_t pause = pause_after(g, m, how);
    if (pause > 0 && g->now + pause > g->m.paused_until) {
        g->m.paused_until = g->now + pause;
    }
}

static void step(struct game *g)
{
    char name[8];
    int i = below(g, PEOPLE);
    struct mperson *m = &g->m.people[i];
    /* Moments are never the same, so what is oldest is one person. */
    g->now += 1 + below(g, below(g, 20) == 0 ? 8000 : 120);
    int what = below(g, 10);
    if (what < 4) {
        enum dc_presence_status status = (enum dc_presence_status)below(g, 3);
        model_time(g);
        while (take(g)) { /* keeps both on one idea of who is put off */
        }
        model_set(g, m, status);
        dc_presence_push_set(g->push, name_of(i, name), status, g->now);
    } else if (what < 7 && m->is_known && m->is_flying) {
        static const enum dc_presence_push_end ends[] = {
            DC_PUSH_DONE,   DC_PUSH_DONE,    DC_PUSH_DONE,    DC_PUSH_DONE,
            DC_PUSH_DONE,   DC_PUSH_LIMITED, DC_PUSH_LIMITED, DC_PUSH_FAILED,
            DC_PUSH_FAILED, DC_PUSH_CUT_OFF, DC_PUSH_ABSENT};
        /* For a while it fails with everybody. */
        bool is_broken = g->step % 1000 > 800;
        enum dc_presence_push_end how =
            is_broken && below(g, 20) > 0 ? DC_PUSH_FAILED : ends[below(g, 11)];
        int64_t retry_after = below(g, 3) == 0 ? -1 : below(g, 4000);
        while (take(g)) {
        }
        model_answer(g, m, how, retry_after);
        dc_presence_push_answered(g->push, name_of(i, name), how, retry_after, g->now);
    }
    while (take(g)) {
    }
    /* Never sleeps past something to do. */
    int64_t due = dc_presence_push_due_ms(g->push);
    CHECK(g, due > g->now);
}

/* What came out keeps to the budget in every stretch of time. */
static void check_budget(struct game *g)
{
    const struct model *m = &g->m;
    for (int from = 0; from < m->n_sends; from++) {
        for (int to = from; to < m->n_sends && to < from + 200; to++) {
            double allowed = PER_S + (double)(m->sends[to] - m->sends[from]) * PER_S / 1000;
            CHECK(g, to - from + 1 <= (int)(allowed + 0.001));
        }
    }
}

static void the_order_is_that_of_a_model_that_looks_through_everybody(void **state)
{
    (void)state;
    const char *given = getenv("PUSH_SEED");
    struct game *g = calloc(1, sizeof(*g));
    assert_non_null(g);
    g->seed = given != NULL ? strtoull(given, NULL, 10) : dc_random_u64(NULL);
    g->random = g->seed;
    g->push = leader(PER_S, FLYING);
    g->m.tokens = PER_S;
    for (g->step = 0; g->step < STEPS; g->step++) {
        step(g);
    }
    CHECK(g, g->m.n_sends > STEPS / 20);
    dc_presence_push_destroy(g->push);
    free(g);
}

static void the_budget_is_kept_in_every_stretch_of_time(void **state)
{
    (void)state;
    struct game *g = calloc(1, sizeof(*g));
    assert_non_null(g);
    g->seed = dc_random_u64(NULL);
    g->random = g->seed;
    g->push = leader(PER_S, FLYING);
    for (g->step = 0; g->step < STEPS; g->step++) {
        char name[8];
        struct dc_presence_push_next next;
        g->now += below(g, 60);
        dc_presence_push_set(g->push, name_of(below(g, PEOPLE), name),
                             (enum dc_presence_status)below(g, 3), g->now);
        while (dc_presence_push_next(g->push, g->now, &next)) {
            g->m.sends[g->m.n_sends++] = g->now;
            dc_presence_push_answered(g->push, next.user_id, DC_PUSH_DONE, -1, g->now);
        }
    }
    check_budget(g);
    CHECK(g, g->m.n_sends > (int)(g->now / 1000) * PER_S / 2);
    dc_presence_push_destroy(g->push);
    free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_is_that_of_a_model_that_looks_through_everybody),
        cmocka_unit_test(the_budget_is_kept_in_every_stretch_of_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
