/* Creation, limits, time that jumps, totals, bounded memory, ids that are any bytes. */
#include "presence_script.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    struct dc_presence_opts rows[9];
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        rows[i] = script_opts();
    }
    rows[0].lease_ms = 0;
    rows[1].typing_ms = 0;
    rows[2].lease_ms = UINT64_MAX;
    rows[3].close_grace_ms = UINT64_MAX;
    rows[4].throttle_ms = UINT64_MAX;
    rows[5].max_users = 0;
    rows[6].max_rooms = 0;
    rows[7].max_sessions = 0;
    rows[8].max_rooms_per_user = 0;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_presence *p = NULL;
        struct dc_error err = {0};
        if (dc_presence_create(&rows[i], NULL, NULL, &p, &err) != DC_INVALID || p != NULL ||
            err.status != DC_INVALID) {
            fail_msg("row %zu was accepted", i);
        }
    }
    dc_presence_destroy(NULL);
}

static void no_callbacks_are_needed(void **state)
{
    (void)state;
    struct dc_presence_opts opts = script_opts();
    struct dc_presence *p = NULL;
    assert_int_equal(dc_presence_create(&opts, NULL, NULL, &p, NULL), DC_OK);
    struct dc_presence_now now = script_now(0);
    assert_int_equal(dc_presence_room_add(p, DC_S("r"), DC_S("r"), now), DC_OK);
    assert_int_equal(
        dc_presence_session_beat(p, DC_S("s"), DC_S("u"), DC_S("n"), DC_PRESENCE_ONLINE, now),
        DC_OK);
    assert_int_equal(dc_presence_session_join(p, DC_S("s"), DC_S("r"), now), DC_OK);
    assert_int_equal(dc_presence_session_typing(p, DC_S("s"), DC_S("r"), true, now), DC_OK);
    struct dc_presence_room_state r;
    assert_true(dc_presence_room_get(p, DC_S("r"), &r));
    assert_int_equal(r.online_count, 1);
    assert_int_equal(r.typing_count, 1);
    assert_int_equal(dc_presence_tick(p, script_now(100000)), INT64_MAX);
    assert_true(dc_presence_room_get(p, DC_S("r"), &r));
    assert_int_equal(r.online_count, 0);
    assert_false(dc_presence_room_get(p, DC_S("s"), &r));
    dc_presence_destroy(p);
}

static void words_and_names_of_statuses(void **state)
{
    (void)state;
    static const struct {
        enum dc_presence_status status;
        const char *name, *word;
    } rows[] = {
        {DC_PRESENCE_OFFLINE, "offline", "offline"},
        {DC_PRESENCE_AWAY, "unavailable", "away"},
        {DC_PRESENCE_ONLINE, "online", "online"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        assert_string_equal(dc_presence_status_name(rows[i].status), rows[i].name);
        assert_string_equal(dc_presence_status_word(rows[i].status), rows[i].word);
    }
}

static void limits_refuse_the_next_one_and_nothing_else(void **state)
{
    (void)state;
    struct dc_presence_opts opts = script_opts();
    opts.max_users = 2;
    opts.max_rooms = 2;
    opts.max_sessions = 3;
    opts.max_rooms_per_user = 1;
    static const struct step steps[] = {
        {0, "room r1 one", NULL, 0},
        {0, "room r2 two", NULL, 0},
        {0, "room r3 three", NULL, DC_LIMIT},
        {0, "room r2 deux", NULL, 0}, /* known already */
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {10000, "beat s2 u2 online", "u2=online; city[2/0]", 0},
        {20000, "beat s3 u3 online", NULL, DC_LIMIT}, /* users */
        {20000, "mx u3 online", NULL, DC_LIMIT},
        {20000, "mx u3 offline", NULL, 0}, /* nothing to remember */
        {20000, "mxjoin u3 r1", NULL, DC_LIMIT},
        {20000, "mxleave u3 r1", NULL, 0},
        {20000, "mxtype r1 1000 u1 u3", "r1*u1; r1[0/0 typing u1]", DC_LIMIT}, /* u1 counts */
        {25000, "beat s3 u1 away", NULL, 0},
        {25000, "beat s4 u1 online", NULL, DC_LIMIT}, /* sessions */
        {25000, "join s1 r1", "r1+u1:online; r1[1/0 typing u1] u1", 0},
        {25000, "join s1 r2", NULL, DC_LIMIT}, /* rooms of a user */
        {25000, "mxjoin u1 r2", NULL, DC_LIMIT},
        {25000, "mxjoin u1 r1", NULL, 0},
        {30000, "end s2", "u2=offline; city[1/0]", 0},
        {40000, "beat s5 u3 online", "u3=online; city[2/0]", 0}, /* u2 has made room */
    };
    struct script s;
    script_open(&s, &opts);
    script_run(&s, steps, DC_ARRAY_LEN(steps));
    struct dc_presence_counts n = dc_presence_counts_get(s.core);
    assert_int_equal(n.users, 2);
    assert_int_equal(n.sessions, 3);
    assert_int_equal(n.rooms, 2);
    assert_int_equal(n.memberships, 1);
    script_close(&s);
}

static void a_user_refused_by_the_limit_of_rooms_is_not_remembered(void **state)
{
    (void)state;
    struct dc_presence_opts opts = script_opts();
    struct script s;
    script_open(&s, &opts);
    static const struct step steps[] = {
        {0, "mxjoin u1 r1", NULL, DC_NOT_FOUND},
        {0, "mxtype r1 1000 u1", NULL, DC_NOT_FOUND},
        {0, "room r1 one", NULL, 0},
        {0, "mxtype r1 1000", NULL, 0},
        {0, "type s1 r1 on", NULL, DC_NOT_FOUND},
    };
    script_run(&s, steps, DC_ARRAY_LEN(steps));
    assert_int_equal(dc_presence_counts_get(s.core).users, 0);
    script_close(&s);
}

static void users_are_forgotten_and_memory_comes_back(void **state)
{
    (void)state;
    struct dc_presence_opts opts = script_opts();
    opts.max_users = 1000;
    opts.max_sessions = 1000;
    struct dc_presence *p = NULL;
    assert_int_equal(dc_presence_create(&opts, NULL, NULL, &p, NULL), DC_OK);
    assert_int_equal(dc_presence_room_add(p, DC_S("r"), DC_S("r"), script_now(0)), DC_OK);
    size_t empty = dc_presence_memory_bytes(p);
    size_t full = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1000; i++) {
            char id[16];
            struct dc_slice s = {id, (size_t)snprintf(id, sizeof(id), "%d.%d", round, i)};
            int64_t at = round * 100000 + i;
            assert_int_equal(
                dc_presence_session_beat(p, s, s, s, DC_PRESENCE_ONLINE, script_now(at)), DC_OK);
            assert_int_equal(dc_presence_session_join(p, s, DC_S("r"), script_now(at)), DC_OK);
            assert_int_equal(dc_presence_session_typing(p, s, DC_S("r"), true, script_now(at)),
                             DC_OK);
        }
        size_t bytes = dc_presence_memory_bytes(p);
        assert_true(round == 0 || bytes <= full + full / 10);
        full = round == 0 ? bytes : full;
        assert_int_equal(dc_presence_tick(p, script_now(round * 100000 + 90000)), INT64_MAX);
        struct dc_presence_counts n = dc_presence_counts_get(p);
        assert_int_equal(n.users + n.sessions + n.memberships + n.typing, 0);
    }
    /* Tables and the heap keep some room; nothing of the 20,000 users is left. */
    assert_true(dc_presence_memory_bytes(p) < empty + full / 2);
    dc_presence_destroy(p);
}

static void monotonic_time_that_goes_back_counts_as_standing_still(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {100000, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "beat s2 u2 online", "u2=online", 0},
        {-5000, "tick", NULL, 0},
        {102999, "tick", NULL, 0},
        {103000, "tick", "city[2/0]", 0},
        {50000, "beat s1 u1 online", NULL, 0}, /* 103000 + 40000 */
        {139999, "tick", NULL, 0},
        {140000, "tick", "u2=offline; city[1/0]", 0},
        {142999, "tick", NULL, 0},
        {143000, "tick", "u1=offline; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void extreme_times_are_harmless(void **state)
{
    (void)state;
    static const int64_t times[] = {INT64_MIN, -1, 0, INT64_MAX - 1, INT64_MAX, 5};
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    for (size_t i = 0; i < DC_ARRAY_LEN(times); i++) {
        struct dc_presence_now now = {{times[i]}, {times[DC_ARRAY_LEN(times) - 1 - i]}};
        assert_int_equal(dc_presence_room_add(s.core, DC_S("r"), DC_S("r"), now), DC_OK);
        assert_int_equal(dc_presence_session_beat(s.core, DC_S("s"), DC_S("u"), DC_S(""),
                                                  DC_PRESENCE_ONLINE, now),
                         DC_OK);
        assert_int_equal(dc_presence_session_join(s.core, DC_S("s"), DC_S("r"), now), DC_OK);
        assert_int_equal(dc_presence_session_typing(s.core, DC_S("s"), DC_S("r"), true, now),
                         DC_OK);
        struct dc_slice u = DC_S("m");
        assert_int_equal(dc_presence_matrix_typing(s.core, DC_S("r"), &u, 1, UINT64_MAX, now),
                         DC_OK);
        assert_int_equal(
            dc_presence_matrix_status(s.core, u, DC_PRESENCE_AWAY, (struct dc_utc){INT64_MAX}, now),
            DC_OK);
        dc_presence_session_close(s.core, DC_S("s"), false, now);
        (void)dc_presence_tick(s.core, now);
    }
    script_close(&s);
}

static void wall_clock_jumps_change_only_stamps(void **state)
{
    (void)state;
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    struct dc_presence_room_state r;
    assert_int_equal(dc_presence_room_add(s.core, DC_S("r"), DC_S("r"), script_now(0)), DC_OK);
    assert_true(dc_presence_room_get(s.core, DC_S("r"), &r));
    assert_int_equal(r.last_event.ms, 0); /* nothing has happened yet */
    struct dc_presence_now future = {{0}, {4000000000000}};
    assert_int_equal(dc_presence_session_beat(s.core, DC_S("s"), DC_S("u"), DC_S(""),
                                              DC_PRESENCE_ONLINE, future),
                     DC_OK);
    assert_int_equal(dc_presence_session_join(s.core, DC_S("s"), DC_S("r"), future), DC_OK);
    assert_true(dc_presence_room_get(s.core, DC_S("r"), &r));
    assert_int_equal(r.last_event.ms, 4000000000000);
    struct dc_presence_now past = {{1000}, {5000}};
    dc_presence_session_leave(s.core, DC_S("s"), DC_S("r"), past);
    assert_true(dc_presence_room_get(s.core, DC_S("r"), &r));
    assert_int_equal(r.last_event.ms, 5000);
    assert_int_equal(dc_presence_user_get(s.core, DC_S("u")), DC_PRESENCE_ONLINE);
    script_close(&s);
}

static void totals_are_throttled_and_never_repeated(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {1000, "beat s2 u2 online", "u2=online", 0},
        {2000, "beat s3 u3 away", "u3=away", 0},
        {2999, "tick", NULL, 0},
        {3000, "tick", "city[3/1]", 0},
        {4000, "end s3", "u3=offline", 0},
        {5000, "beat s3 u3 away", "u3=away", 0}, /* as published */
        {6000, "tick", NULL, 0},
        {6001, "end s3", "u3=offline; city[2/0]", 0}, /* the window was over */
    };
    RUN_SCRIPT(steps);
}

static void ids_are_any_bytes(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room room.a/b*> слаг", NULL, 0},
        {0, "beat .s.*.> @олена:дім/> online", "@олена:дім/>=online; city[1/0]", 0},
        {0, "join .s.*.> room.a/b*>",
         "room.a/b*>+@олена:дім/>:online; room.a/b*>[1/0] @олена:дім/>", 0},
        {0, "join .s.*.> room.a/b*", NULL, DC_NOT_FOUND},
    };
    RUN_SCRIPT(steps);
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    struct dc_slice zero = {"\0\xff\0", 3};
    struct dc_slice shorter = {"\0\xff", 2};
    assert_int_equal(
        dc_presence_session_beat(s.core, zero, zero, zero, DC_PRESENCE_ONLINE, script_now(0)),
        DC_OK);
    assert_int_equal(dc_presence_user_get(s.core, zero), DC_PRESENCE_ONLINE);
    assert_int_equal(dc_presence_user_get(s.core, shorter), DC_PRESENCE_OFFLINE);
    assert_int_equal(dc_presence_user_get(s.core, DC_S("")), DC_PRESENCE_OFFLINE);
    script_close(&s);
}

struct visits {
    char text[256];
    size_t len;
};

static void visit(void *data, const struct dc_presence_user_state *u)
{
    struct visits *v = data;
    v->len += (size_t)snprintf(v->text + v->len, sizeof(v->text) - v->len, "%.*s ",
                               DC_SLICE_ARG(u->user_id));
}

static void online_users_come_longest_first_and_at_most_max(void **state)
{
    (void)state;
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    static const struct step steps[] = {
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {1, "beat s2 u2 away", "u2=away", 0},
        {2, "beat s3 u3 online", "u3=online", 0},
        {3, "end s1", "u1=offline", 0},
        {4, "beat s1 u1 online", "u1=online", 0},
    };
    script_run(&s, steps, DC_ARRAY_LEN(steps));
    static const struct {
        size_t max;
        const char *expected;
    } rows[] = {{0, ""}, {1, "u2 "}, {2, "u2 u3 "}, {9, "u2 u3 u1 "}};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct visits v = {{0}, 0};
        dc_presence_online_users(s.core, rows[i].max, visit, &v);
        assert_string_equal(v.text, rows[i].expected);
    }
    assert_int_equal(dc_presence_totals_get(s.core).online, 3);
    assert_int_equal(dc_presence_totals_get(s.core).away, 1);
    script_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(no_callbacks_are_needed),
        cmocka_unit_test(words_and_names_of_statuses),
        cmocka_unit_test(limits_refuse_the_next_one_and_nothing_else),
        cmocka_unit_test(a_user_refused_by_the_limit_of_rooms_is_not_remembered),
        cmocka_unit_test(users_are_forgotten_and_memory_comes_back),
        cmocka_unit_test(monotonic_time_that_goes_back_counts_as_standing_still),
        cmocka_unit_test(extreme_times_are_harmless),
        cmocka_unit_test(wall_clock_jumps_change_only_stamps),
        cmocka_unit_test(totals_are_throttled_and_never_repeated),
        cmocka_unit_test(ids_are_any_bytes),
        cmocka_unit_test(online_users_come_longest_first_and_at_most_max),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
