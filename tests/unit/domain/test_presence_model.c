/* The presence core against the model: random operations with random steps of time; after each one
 * everything that was reported, the time of the next tick and the whole visible state are equal.
 *
 *   test_domain_presence_model [SEED [RUNS]]   or PRESENCE_SEED, PRESENCE_RUNS
 *
 * replays the run of a seed, or that and the RUNS - 1 seeds after it; otherwise one that is always
 * the same and one that is new. */
#include "base/random.h"
#include "presence_rig.h"
#include "presence_script.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OPERATIONS = 10000, CROWD = 2 * M_USERS };

/* SplitMix64: small, and the same everywhere. */
static uint64_t next_random(struct rig *g)
{
    uint64_t z = (g->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int below(struct rig *g, int n)
{
    return (int)(next_random(g) % (uint64_t)n);
}

static enum dc_presence_status random_status(struct rig *g)
{
    return (enum dc_presence_status)below(g, 3);
}

/* One call of the core, and what it and the model answer. */
struct call {
    struct dc_presence_now now;
    enum dc_status core, model;
    bool is_tick;
};
typedef void (*op_fn)(struct rig *g, struct call *c);

/* A call that takes no time: that of the call before counts. */
static void take_none(struct rig *g)
{
    g->model.now = g->mono_before;
    g->model.utc = g->utc_before;
}

static void op_beat(struct rig *g, struct call *c)
{
    int s = below(g, M_SESSIONS);
    /* Mostly the session's own user; sometimes somebody else tries. */
    int u = below(g, 10) == 0 ? below(g, M_USERS) : s * 2 % M_USERS;
    int name = below(g, 4);
    char buf[16];
    struct dc_slice username = name == 0 ? DC_SLICE_NULL : rig_text(buf, sizeof(buf), "n", name);
    enum dc_presence_status status = random_status(g);
    rig_note(g, "beat s%d u%d n%d %s", s, u, name, dc_presence_status_word(status));
    c->core =
        dc_presence_session_beat(g->core, rig_session(s), rig_user(u), username, status, c->now);
    c->model = model_beat(&g->model, s, u, name, status);
}

static void op_join(struct rig *g, struct call *c)
{
    int s = below(g, M_SESSIONS), r = below(g, M_ROOMS);
    rig_note(g, "join s%d r%d", s, r);
    c->core = dc_presence_session_join(g->core, rig_session(s), rig_room(r), c->now);
    c->model = model_join(&g->model, s, r);
}

static void op_leave(struct rig *g, struct call *c)
{
    int s = below(g, M_SESSIONS), r = below(g, M_ROOMS);
    rig_note(g, "leave s%d r%d", s, r);
    dc_presence_session_leave(g->core, rig_session(s), rig_room(r), c->now);
    model_leave(&g->model, s, r);
}

static void op_close(struct rig *g, struct call *c)
{
    int s = below(g, M_SESSIONS);
    bool is_final = below(g, 2) == 0;
    rig_note(g, "close s%d final %d", s, is_final);
    dc_presence_session_close(g->core, rig_session(s), is_final, c->now);
    model_close(&g->model, s, is_final);
}

static void op_typing(struct rig *g, struct call *c)
{
    int s = below(g, M_SESSIONS), r = below(g, M_ROOMS);
    bool on = below(g, 2) == 0;
    rig_note(g, "type s%d r%d %d", s, r, on);
    c->core = dc_presence_session_typing(g->core, rig_session(s), rig_room(r), on, c->now);
    c->model = model_session_typing(&g->model, s, r, on);
}

static void op_matrix_status(struct rig *g, struct call *c)
{
    int u = below(g, M_USERS);
    enum dc_presence_status status = random_status(g);
    int64_t active = below(g, 2) == 0 ? 0 : g->utc + below(g, 2000) - 1000;
    rig_note(g, "mx u%d %s %" PRId64, u, dc_presence_status_word(status), active);
    c->core =
        dc_presence_matrix_status(g->core, rig_user(u), status, (struct dc_utc){active}, c->now);
    c->model = model_matrix_status(&g->model, u, status, active);
}

static void matrix_member(struct rig *g, struct call *c, int u, int r, bool on)
{
    rig_note(g, "mxmember u%d r%d %d", u, r, on);
    c->core = dc_presence_matrix_member(g->core, rig_user(u), rig_room(r), on, c->now);
    c->model = model_matrix_member(&g->model, u, r, on);
}

static void op_matrix_member(struct rig *g, struct call *c)
{
    matrix_member(g, c, below(g, M_USERS), below(g, M_ROOMS), below(g, 2) == 0);
}

static void op_matrix_typing(struct rig *g, struct call *c)
{
    int users[M_USERS + 5];
    struct dc_slice ids[DC_ARRAY_LEN(users)];
    /* Some, named twice perhaps; sometimes a crowd; sometimes ids that are none. */
    size_t n = (size_t)below(g, below(g, 8) == 0 ? (int)DC_ARRAY_LEN(users) : 5);
    for (size_t i = 0; i < n; i++) {
        users[i] = below(g, 20) == 0 ? M_NOBODY : below(g, M_USERS);
        ids[i] = users[i] == M_NOBODY ? rig_bad_id((int)i) : rig_user(users[i]);
    }
    int r = below(g, M_ROOMS);
    int64_t ttl = 1 + below(g, 20000);
    rig_note(g, "mxtype r%d n=%zu %d %d %d ttl %" PRId64, r, n, n > 0 ? users[0] : -1,
             n > 1 ? users[1] : -1, n > 2 ? users[2] : -1, ttl);
    c->core = dc_presence_matrix_typing(g->core, rig_room(r), ids, n, (uint64_t)ttl, c->now);
    c->model = model_matrix_typing(&g->model, r, users, n, ttl);
}

static void op_room_add(struct rig *g, struct call *c)
{
    int r = below(g, M_ROOMS), slug = below(g, 3);
    char buf[16];
    rig_note(g, "room r%d slug %d", r, slug);
    c->core =
        dc_presence_room_add(g->core, rig_room(r), rig_text(buf, sizeof(buf), "", slug), c->now);
    c->model = model_room_add(&g->model, r, slug);
}

static void op_room_remove(struct rig *g, struct call *c)
{
    int r = below(g, M_ROOMS);
    (void)c;
    rig_note(g, "unroom r%d", r);
    dc_presence_room_remove(g->core, rig_room(r));
    take_none(g);
    model_room_remove(&g->model, r);
}

static void op_restate(struct rig *g, struct call *c)
{
    int r = below(g, M_ROOMS + 1);
    rig_note(g, "restate %d", r);
    if (r < M_ROOMS) {
        dc_presence_room_restate(g->core, rig_room(r), c->now);
        model_room_restate(&g->model, r);
    } else {
        dc_presence_totals_restate(g->core, c->now);
        model_totals_restate(&g->model);
    }
}

/* Mostly they are not held. */
static void op_hold(struct rig *g, struct call *c)
{
    bool on = below(g, 4) == 0;
    (void)c;
    rig_note(g, "hold %d", on);
    dc_presence_hold_leases(g->core, on);
    take_none(g);
    g->model.are_leases_held = on;
}

/* What no core accepts changes nothing, and takes no time. */
static void op_nonsense(struct rig *g, struct call *c)
{
    int kind = below(g, 7);
    struct dc_slice bad = rig_bad_id(below(g, 2));
    rig_note(g, "nonsense %d", kind);
    const enum dc_status answers[] = {
        dc_presence_session_beat(
            g->core, kind == 0 ? bad : rig_session(0), kind == 1 ? bad : rig_user(0),
            kind == 2 ? rig_bad_id(1) : DC_SLICE_NULL,
            kind > 2 ? (enum dc_presence_status)3 : DC_PRESENCE_ONLINE, c->now),
        dc_presence_room_add(g->core, kind % 2 == 0 ? bad : rig_room(0),
                             kind % 2 == 0 ? DC_S("s") : rig_bad_id(1), c->now),
        dc_presence_matrix_status(g->core, kind % 2 == 0 ? bad : rig_user(0),
                                  kind % 2 == 0 ? DC_PRESENCE_ONLINE : (enum dc_presence_status)3,
                                  (struct dc_utc){0}, c->now),
        dc_presence_matrix_member(g->core, bad, rig_room(0), true, c->now),
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(answers); i++) {
        rig_same(g, "answer to nonsense", answers[i], DC_INVALID);
    }
    take_none(g);
}

static void op_tick(struct rig *g, struct call *c)
{
    rig_note(g, "tick");
    int64_t due = dc_presence_tick(g->core, c->now);
    rig_same(g, "tick's answer", due, dc_presence_next_due_ms(g->core));
    model_tick(&g->model);
    c->is_tick = true;
}

/* Everybody becomes online and a member: more people than a sample has room for. */
static void crowd(struct rig *g, struct call *c)
{
    int u = --g->crowd_left / 2;
    if (g->crowd_left % 2 == 0) {
        matrix_member(g, c, u, g->crowd_room, true);
        return;
    }
    rig_note(g, "crowd u%d", u);
    c->core = dc_presence_matrix_status(g->core, rig_user(u), DC_PRESENCE_ONLINE,
                                        (struct dc_utc){0}, c->now);
    c->model = model_matrix_status(&g->model, u, DC_PRESENCE_ONLINE, 0);
}

static void operate(struct rig *g, struct call *c)
{
    static const struct {
        int weight;
        op_fn fn;
    } ops[] = {
        {22, op_beat},    {14, op_join},         {6, op_leave},          {5, op_close},
        {11, op_typing},  {8, op_matrix_status}, {10, op_matrix_member}, {5, op_matrix_typing},
        {3, op_room_add}, {1, op_room_remove},   {1, op_restate},        {1, op_hold},
        {1, op_nonsense}, {12, op_tick},
    };
    if (g->crowd_left > 0 && below(g, 10) > 0) {
        crowd(g, c);
        return;
    }
    if (below(g, 500) == 0) {
        g->crowd_left = CROWD;
        g->crowd_room = below(g, M_ROOMS);
    }
    int dice = below(g, 100);
    size_t i = 0;
    for (; dice >= ops[i].weight; i++) {
        dice -= ops[i].weight;
    }
    ops[i].fn(g, c);
}

static void take_time(struct rig *g)
{
    static const int64_t steps[] = {0, 0, 0, 1, 50, 400, 1500, 3000, 3001, 6000};
    int dice = below(g, 40);
    if (dice == 0) {
        g->mono -= below(g, 5000); /* must count as standing still */
    } else if (dice == 1) {
        g->mono += below(g, 60000);
    } else if (dice == 2 && dc_presence_next_due_ms(g->core) != INT64_MAX) {
        g->mono = dc_presence_next_due_ms(g->core) - below(g, 2); /* right on the edge */
    } else {
        g->mono += steps[below(g, (int)DC_ARRAY_LEN(steps))];
    }
    g->utc = below(g, 50) == 0 ? below(g, 2000000) : g->utc + below(g, 2000);
}

static void look_at_user(void *data, const struct dc_presence_user_state *u)
{
    (void)data;
    assert_true(rig_user_index(u->user_id) >= 0);
    assert_int_not_equal(u->status, DC_PRESENCE_OFFLINE);
}

static void look_at_room(void *data, struct dc_slice room, struct dc_slice slug)
{
    (void)data;
    (void)slug;
    assert_true(rig_room_index(room) >= 0);
}

/* Walks go on beside everything else, a step at a time, and nobody notices. */
static void walk_on(struct rig *g)
{
    struct dc_slice room = rig_room(below(g, M_ROOMS));
    bool restarts = below(g, 8) == 0;
    (void)dc_presence_walk_users(g->core, restarts, 1, look_at_user, g);
    (void)dc_presence_walk_rooms(g->core, restarts, 1, look_at_room, g);
    (void)dc_presence_walk_members(g->core, room, restarts, 1, look_at_user, g);
}

static void run(uint64_t seed, const struct dc_presence_opts *opts)
{
    struct rig *g = calloc(1, sizeof(*g));
    assert_non_null(g);
    g->seed = seed;
    g->random = seed;
    g->utc = 1000000;
    assert_int_equal(dc_presence_create(opts, &rig_callbacks, g, &g->core, NULL), DC_OK);
    model_init(&g->model, opts);
    while (g->n_done < OPERATIONS) {
        take_time(g);
        struct call c = {{{g->mono}, {g->utc}}, DC_OK, DC_OK, false};
        dc_strbuf_clear(&g->log);
        g->mono_before = g->model.now;
        g->utc_before = g->model.utc;
        model_begin(&g->model, c.now);
        walk_on(g);
        operate(g, &c);
        model_end(&g->model, c.is_tick);
        g->n_done++;
        rig_same(g, "status of the call", c.core, c.model);
        rig_compare_reports(g);
        rig_compare_state(g);
    }
    dc_presence_destroy(g->core);
    model_free(&g->model);
    dc_strbuf_free(&g->log);
    free(g);
}

static const char *given_seed, *given_runs;

static void run_seeds(const struct dc_presence_opts *opts)
{
    if (given_seed != NULL) {
        uint64_t seed = strtoull(given_seed, NULL, 10);
        uint64_t runs = given_runs == NULL ? 1 : strtoull(given_runs, NULL, 10);
        for (uint64_t i = 0; i < runs; i++) {
            run(seed + i, opts);
        }
        return;
    }
    run(1, opts);
    run(dc_random_u64(NULL), opts); /* printed if it fails */
}

static void the_core_agrees_with_the_model(void **state)
{
    (void)state;
    struct dc_presence_opts opts = script_opts();
    run_seeds(&opts);
}

static void the_core_agrees_with_the_model_at_its_limits(void **state)
{
    (void)state;
    struct dc_presence_opts opts = script_opts();
    opts.max_users = M_USERS - 2;
    opts.max_rooms = M_ROOMS - 1;
    opts.max_sessions = M_SESSIONS - 4;
    opts.max_rooms_per_user = 2;
    run_seeds(&opts);
}

int main(int argc, char **argv)
{
    given_seed = argc > 1 ? argv[1] : getenv("PRESENCE_SEED");
    given_runs = argc > 2 ? argv[2] : getenv("PRESENCE_RUNS");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_core_agrees_with_the_model),
        cmocka_unit_test(the_core_agrees_with_the_model_at_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
