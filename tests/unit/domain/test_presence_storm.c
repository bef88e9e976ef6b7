/* Storms: many people at once.  A room publishes at most once in a window, whatever comes, every
 * published count is that of its moment, and the last ones are exact; what ends together is dealt
 * with in slices when the owner wants it so. */
#include "base/mem.h"
#include "presence_script.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { USERS = 10000, ROOMS = 1000, ROOMS_A_USER = 20, WINDOW_MS = 3000 };

/* What is known without the core: who is in which room, and what everybody does. */
struct city {
    struct dc_presence *core;
    int64_t now_ms;
    enum dc_presence_status status[USERS];
    uint32_t online[ROOMS], away[ROOMS], total_online, total_away;
    struct {
        size_t n;
        int64_t at_ms;
        uint32_t online, away;
    } published[ROOMS];
    size_t n_totals, n_reports;
    int64_t totals_ms;
    bool is_ending; /* slice by slice: what is published on the way is not known here */
    uint64_t random;
};

static uint64_t next_random(struct city *c)
{
    uint64_t z = (c->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int room_of(int user, int k)
{
    return (user * 7 + k * 50) % ROOMS;
}

static struct dc_slice id_of(char buf[16], char kind, int n)
{
    return dc_slice_make(buf, (size_t)snprintf(buf, 16, "%c%d", kind, n));
}

static int number_of(struct dc_slice id)
{
    int64_t n = -1;
    assert_true(dc_slice_to_i64(dc_slice_make(id.ptr + 1, id.len - 1), &n));
    return (int)n;
}

static void on_user(void *data, const struct dc_presence_user_state *u)
{
    struct city *c = data;
    assert_int_equal(u->status, c->status[number_of(u->user_id)]);
    c->n_reports++;
}

static void on_member(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      enum dc_presence_member_change change)
{
    struct city *c = data;
    (void)room_id;
    (void)u;
    (void)change;
    c->n_reports++;
}

static void on_room(void *data, const struct dc_presence_room_state *r)
{
    struct city *c = data;
    int i = number_of(r->room_id);
    assert_true(c->published[i].n == 0 || c->now_ms - c->published[i].at_ms >= WINDOW_MS);
    assert_true(c->is_ending || r->online_count == c->online[i]);
    assert_true(c->is_ending || r->away_count == c->away[i]);
    assert_int_equal(r->n_online_users,
                     r->online_count < DC_PRESENCE_SAMPLE ? r->online_count : DC_PRESENCE_SAMPLE);
    c->published[i].n++;
    c->published[i].at_ms = c->now_ms;
    c->published[i].online = r->online_count;
    c->published[i].away = r->away_count;
}

static void on_totals(void *data, const struct dc_presence_totals *t)
{
    struct city *c = data;
    assert_true(c->n_totals == 0 || c->now_ms - c->totals_ms >= WINDOW_MS);
    assert_true(c->is_ending || t->online == c->total_online);
    assert_true(c->is_ending || t->away == c->total_away);
    c->n_totals++;
    c->totals_ms = c->now_ms;
}

static struct city *city_new(size_t tick_steps)
{
    struct city *c = dc_calloc(1, sizeof(*c));
    struct dc_presence_opts opts = script_opts();
    const struct dc_presence_callbacks cbs = {
        .user = on_user, .member = on_member, .room = on_room, .totals = on_totals};
    char id[16];
    opts.max_users = USERS;
    opts.max_sessions = USERS;
    opts.max_rooms = ROOMS;
    opts.max_rooms_per_user = ROOMS_A_USER;
    opts.throttle_ms = WINDOW_MS;
    opts.tick_steps = tick_steps;
    c->random = 11;
    assert_int_equal(dc_presence_create(&opts, &cbs, c, &c->core, NULL), DC_OK);
    for (int r = 0; r < ROOMS; r++) {
        struct dc_slice room = id_of(id, 'r', r);
        assert_int_equal(dc_presence_room_add(c->core, room, room, script_now(0)), DC_OK);
    }
    return c;
}

static void city_free(struct city *c)
{
    dc_presence_destroy(c->core);
    dc_free(c);
}

/* What he does now, as far as the city's own counts go. */
static void count(struct city *c, int user, enum dc_presence_status to)
{
    enum dc_presence_status from = c->status[user];
    c->status[user] = to;
    for (int k = 0; k < ROOMS_A_USER; k++) {
        int r = room_of(user, k);
        c->online[r] += (uint32_t)(to != DC_PRESENCE_OFFLINE) - (from != DC_PRESENCE_OFFLINE);
        c->away[r] += (uint32_t)(to == DC_PRESENCE_AWAY) - (from == DC_PRESENCE_AWAY);
    }
    c->total_online += (uint32_t)(to != DC_PRESENCE_OFFLINE) - (from != DC_PRESENCE_OFFLINE);
    c->total_away += (uint32_t)(to == DC_PRESENCE_AWAY) - (from == DC_PRESENCE_AWAY);
}

static void set_status(struct city *c, int user, enum dc_presence_status to)
{
    char id[16];
    count(c, user, to);
    assert_int_equal(dc_presence_matrix_status(c->core, id_of(id, 'u', user), to,
                                               (struct dc_utc){0}, script_now(c->now_ms)),
                     DC_OK);
}

/* Time goes on, and every tick comes when it is due. */
static void pass_until(struct city *c, int64_t ms)
{
    for (int64_t due = dc_presence_next_due_ms(c->core); due <= ms;) {
        c->now_ms = due > c->now_ms ? due : c->now_ms;
        due = dc_presence_tick(c->core, script_now(c->now_ms));
    }
    c->now_ms = ms;
}

static void assert_last_published_is_exact(const struct city *c)
{
    for (int r = 0; r < ROOMS; r++) {
        assert_int_equal(c->published[r].online, c->online[r]);
        assert_int_equal(c->published[r].away, c->away[r]);
    }
    struct dc_presence_totals t = dc_presence_totals_get(c->core);
    assert_int_equal(t.online, c->total_online);
    assert_int_equal(t.away, c->total_away);
}

static void assert_each_published(const struct city *c, size_t n)
{
    for (int r = 0; r < ROOMS; r++) {
        assert_int_equal(c->published[r].n, n);
    }
}

static void members_of_matrix(struct city *c)
{
    char uid[16], rid[16];
    for (int u = 0; u < USERS; u++) {
        for (int k = 0; k < ROOMS_A_USER; k++) {
            assert_int_equal(dc_presence_matrix_member(c->core, id_of(uid, 'u', u),
                                                       id_of(rid, 'r', room_of(u, k)), true,
                                                       script_now(0)),
                             DC_OK);
        }
    }
    c->n_reports = 0;
}

static void when_10000_come_online_by_matrix_each_room_is_published_twice(void **state)
{
    (void)state;
    struct city *c = city_new(0);
    members_of_matrix(c);
    for (int u = 0; u < USERS; u++) {
        pass_until(c, u / 10); /* all within one second */
        set_status(c, u, DC_PRESENCE_ONLINE);
    }
    assert_int_equal(c->n_reports, USERS * (1 + ROOMS_A_USER));
    assert_each_published(c, 1); /* the first of its people, at once */
    assert_int_equal(c->n_totals, 1);
    pass_until(c, 60000);
    assert_each_published(c, 2);
    assert_int_equal(c->n_totals, 2);
    assert_int_equal(c->total_online, USERS);
    assert_last_published_is_exact(c);
    assert_int_equal(dc_presence_next_due_ms(c->core), INT64_MAX);
    city_free(c);
}

static void changes_without_end_are_one_publication_for_a_room_and_window(void **state)
{
    (void)state;
    enum { SECONDS = 10, CHANGES_A_MS = 10, WINDOWS = SECONDS * 1000 / WINDOW_MS };
    struct city *c = city_new(0);
    members_of_matrix(c);
    for (int64_t ms = 0; ms < SECONDS * 1000; ms++) {
        pass_until(c, ms);
        for (int i = 0; i < CHANGES_A_MS; i++) {
            set_status(c, (int)(next_random(c) % USERS),
                       (enum dc_presence_status)(next_random(c) % 3));
        }
    }
    for (int r = 0; r < ROOMS; r++) {
        assert_in_range(c->published[r].n, 1, 1 + WINDOWS);
    }
    pass_until(c, 60000);
    assert_last_published_is_exact(c);
    assert_true(c->total_online > USERS / 2 && c->total_away > USERS / 5);
    city_free(c);
}

static void join(const struct city *c, int user, int k)
{
    char uid[16], rid[16];
    assert_int_equal(dc_presence_session_join(c->core, id_of(uid, 'u', user),
                                              id_of(rid, 'r', room_of(user, k)),
                                              script_now(c->now_ms)),
                     DC_OK);
}

static void beat(const struct city *c, int user)
{
    char id[16];
    struct dc_slice u = id_of(id, 'u', user);
    assert_int_equal(dc_presence_session_beat(c->core, u, u, DC_S(""), DC_PRESENCE_ONLINE,
                                              script_now(c->now_ms)),
                     DC_OK);
}

/* Somebody opens his browser, and joins his rooms one after the other. */
static void come(struct city *c, int user)
{
    c->status[user] = DC_PRESENCE_ONLINE;
    c->total_online++;
    beat(c, user);
    for (int k = 0; k < ROOMS_A_USER; k++) {
        c->online[room_of(user, k)]++;
        join(c, user, k);
    }
}

static void when_10000_open_their_browsers_each_room_is_published_twice(void **state)
{
    (void)state;
    struct city *c = city_new(0);
    for (int u = 0; u < USERS; u++) {
        pass_until(c, u / 10);
        come(c, u);
    }
    assert_each_published(c, 1);
    pass_until(c, 10000);
    assert_each_published(c, 2);
    assert_last_published_is_exact(c);
    join(c, 7, 7); /* again: nothing */
    assert_int_equal(dc_presence_counts_get(c->core).memberships, USERS * ROOMS_A_USER);
    /* Their machines lose the network together: one tick, and nobody is there. */
    for (int u = 0; u < USERS; u++) {
        count(c, u, DC_PRESENCE_OFFLINE);
    }
    c->now_ms = 60000;
    assert_int_equal(dc_presence_tick(c->core, script_now(c->now_ms)), INT64_MAX);
    assert_each_published(c, 3);
    assert_last_published_is_exact(c);
    assert_int_equal(dc_presence_counts_get(c->core).users, 0);
    city_free(c);
}

static void what_ends_together_ends_in_slices_if_wanted(void **state)
{
    (void)state;
    enum { STEPS = 100, SESSIONS_A_TICK = 5, LEASE_MS = 40000, LUCKY = USERS - 1 };
    struct city *c = city_new(STEPS);
    for (int u = 0; u < USERS; u++) {
        come(c, u);
    }
    pass_until(c, LEASE_MS - 1);
    assert_last_published_is_exact(c);
    for (int u = 0; u < USERS - 1; u++) {
        count(c, u, DC_PRESENCE_OFFLINE);
    }
    c->is_ending = true;
    c->now_ms = LEASE_MS;
    size_t n_ticks = 0, n_published = 0;
    int64_t due = LEASE_MS;
    for (; due <= c->now_ms; n_ticks++) {
        size_t before = c->n_reports;
        due = dc_presence_tick(c->core, script_now(c->now_ms));
        assert_true(c->n_reports - before <= SESSIONS_A_TICK * (2 + 2 * ROOMS_A_USER));
        if (n_ticks == 0) {
            beat(c, LUCKY); /* his turn has not come yet */
        }
    }
    assert_int_equal(n_ticks, USERS / SESSIONS_A_TICK);
    for (int r = 0; r < ROOMS; r++) {
        n_published += c->published[r].n;
    }
    c->is_ending = false;
    for (size_t n = n_published; due < LEASE_MS + 2 * WINDOW_MS; n = n_published) {
        c->now_ms = due > c->now_ms ? due : c->now_ms;
        due = dc_presence_tick(c->core, script_now(c->now_ms));
        n_published = 0;
        for (int r = 0; r < ROOMS; r++) {
            n_published += c->published[r].n;
        }
        assert_true(n_published - n <= STEPS / 4);
    }
    assert_last_published_is_exact(c);
    assert_int_equal(c->total_online, 1);
    assert_int_equal(dc_presence_counts_get(c->core).users, 1);
    city_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_10000_come_online_by_matrix_each_room_is_published_twice),
        cmocka_unit_test(changes_without_end_are_one_publication_for_a_room_and_window),
        cmocka_unit_test(when_10000_open_their_browsers_each_room_is_published_twice),
        cmocka_unit_test(what_ends_together_ends_in_slices_if_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
