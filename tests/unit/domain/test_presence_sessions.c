/* Native sessions: leases, grace, revival, away, several sessions of one person. */
#include "presence_script.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* How most of them begin: s1 of u1 beats, and has joined r1. */
#define U1_IS_ONLINE                                                                               \
    {                                                                                              \
        0, "beat s1 u1 online", "u1=online; city[1/0]", 0                                          \
    }
#define U1_IS_IN_PLAZA                                                                             \
    {0, "room r1 plaza", NULL, 0}, U1_IS_ONLINE,                                                   \
    {                                                                                              \
        0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0                                             \
    }

static void a_user_goes_offline_once_when_the_lease_ends(void **state)
{
    (void)state;
    static const struct step steps[] = {
        U1_IS_ONLINE,
        {39999, "tick", NULL, 0},
        {40000, "tick", "u1=offline; city[0/0]", 0},
        {40001, "tick", NULL, 0},
        {90000, "tick", NULL, 0},
    };
    RUN_SCRIPT(steps);
}

static void a_beat_renews_the_lease_without_a_word(void **state)
{
    (void)state;
    static const struct step steps[] = {
        U1_IS_ONLINE,
        {20000, "beat s1 u1 online", NULL, 0},
        {40000, "beat s1 u1 online", NULL, 0},
        {79999, "tick", NULL, 0},
        {80000, "tick", "u1=offline; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_late_beat_before_the_tick_still_renews(void **state)
{
    (void)state;
    static const struct step steps[] = {
        U1_IS_ONLINE,
        {41000, "beat s1 u1 online", NULL, 0},
        {41000, "tick", NULL, 0},
        {81000, "tick", "u1=offline; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_closed_session_lasts_for_the_grace(void **state)
{
    (void)state;
    static const struct step steps[] = {
        U1_IS_IN_PLAZA,
        {10000, "close s1", NULL, 0},
        {12000, "close s1", NULL, 0}, /* does not prolong it */
        {14999, "tick", NULL, 0},
        {15000, "tick", "r1-u1; u1=offline; r1[0/0]; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_beat_during_the_grace_revives_the_session_with_its_rooms(void **state)
{
    (void)state;
    static const struct step steps[] = {
        U1_IS_IN_PLAZA,
        {10000, "close s1", NULL, 0},
        {14000, "beat s1 u1 online", NULL, 0},
        {53999, "tick", NULL, 0},
        {54000, "tick", "r1-u1; u1=offline; r1[0/0]; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_page_reload_with_a_new_session_does_not_flicker(void **state)
{
    (void)state;
    static const struct step steps[] = {
        U1_IS_IN_PLAZA,
        {10000, "close s1", NULL, 0},
        {11000, "beat s2 u1 online", NULL, 0},
        {11000, "join s2 r1", NULL, 0},
        {15000, "tick", NULL, 0},
        {16000, "end s2", "r1-u1; u1=offline; r1[0/0]; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_final_close_ends_at_once(void **state)
{
    (void)state;
    static const struct step steps[] = {
        U1_IS_ONLINE,
        {5000, "end s1", "u1=offline; city[0/0]", 0},
        {5000, "end s1", NULL, 0},
        {5000, "close s1", NULL, 0},
        {5000, "tick", NULL, 0},
    };
    RUN_SCRIPT(steps);
}

static void away_counts_as_present_and_is_told_apart(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "beat s1 u1 away", "u1=away; city[1/1]", 0},
        {0, "join s1 r1", "r1+u1:away; r1[1/1] u1", 0},
        {10000, "beat s1 u1 online", "u1=online; r1~u1:online; r1[1/0] u1; city[1/0]", 0},
        {20000, "beat s1 u1 away", "u1=away; r1~u1:away; r1[1/1] u1; city[1/1]", 0},
    };
    RUN_SCRIPT(steps);
}

static void two_sessions_give_the_better_status_and_one_member(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "beat s1 u1 away", "u1=away; city[1/1]", 0},
        {0, "join s1 r1", "r1+u1:away; r1[1/1] u1", 0},
        {10000, "beat s2 u1 online", "u1=online; r1~u1:online; r1[1/0] u1; city[1/0]", 0},
        {10000, "join s2 r1", NULL, 0},
        {20000, "leave s1 r1", NULL, 0},
        {20000, "leave s1 r1", NULL, 0},
        {20000, "end s2", "r1-u1; u1=away; r1[0/0]; city[1/1]", 0},
        {40000, "tick", "u1=offline; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void two_sessions_that_end_in_one_tick_make_one_change(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        U1_IS_ONLINE,
        {0, "beat s2 u1 away", NULL, 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {0, "join s2 r1", NULL, 0},
        {50000, "tick", "r1-u1; u1=offline; r1[0/0]; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_passive_session_counts_only_while_nothing_else_speaks(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "beat s1 u1 passive", "u1=online; city[1/0]", 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {4000, "beat s2 u1 away", "u1=away; r1~u1:away; r1[1/1] u1; city[1/1]", 0},
        {8000, "beat s1 u1 passive", NULL, 0},
        {9000, "beat s2 u1 online", "u1=online; r1~u1:online; r1[1/0] u1; city[1/0]", 0},
        {12000, "beat s2 u1 away", "u1=away; r1~u1:away; r1[1/1] u1; city[1/1]", 0},
        {13000, "end s2", "u1=online; r1~u1:online", 0},
        {15000, "tick", "r1[1/0] u1; city[1/0]", 0},
        {48000, "tick", "r1-u1; u1=offline; r1[0/0]; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void joining_needs_a_session_and_a_room_and_is_idempotent(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "join s1 r1", NULL, DC_NOT_FOUND},
        U1_IS_ONLINE,
        {0, "join s1 r2", NULL, DC_NOT_FOUND},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {0, "join s1 r1", NULL, 0},
        {10000, "leave s1 r1", "r1-u1; r1[0/0]", 0},
        {10000, "leave s1 r1", NULL, 0},
        {10000, "leave s1 r2", NULL, 0},
        {10000, "leave s9 r1", NULL, 0},
    };
    RUN_SCRIPT(steps);
}

static void a_session_of_somebody_else_is_a_conflict(void **state)
{
    (void)state;
    static const struct step steps[] = {
        U1_IS_ONLINE,
        {1000, "beat s1 u2 online", NULL, DC_CONFLICT},
        {40000, "tick", "u1=offline; city[0/0]", 0},
        {40000, "beat s1 u2 online", "u2=online", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_session_is_known_from_its_first_beat_to_its_end(void **state)
{
    (void)state;
    static const struct {
        struct step step;
        bool is_known;
    } rows[] = {
        {{0, "room r1 plaza", NULL, 0}, false},
        {{0, "beat s2 u1 online", NULL, 0}, false}, /* that is another one */
        {{0, "beat s1 u1 online", NULL, 0}, true},
        {{0, "join s1 r1", NULL, 0}, true},
        {{10000, "leave s1 r1", NULL, 0}, true},
        {{10000, "close s1", NULL, 0}, true}, /* in its grace */
        {{14999, "tick", NULL, 0}, true},
        {{15000, "tick", NULL, 0}, false},
        {{20000, "beat s1 u1 away", NULL, 0}, true},
        {{20001, "end s1", NULL, 0}, false},
        {{30000, "beat s1 u1 online", NULL, 0}, true},
        {{69999, "tick", NULL, 0}, true},
        {{70000, "tick", NULL, 0}, false},
    };
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        script_do(&s, &rows[i].step);
        if (dc_presence_session_is_known(s.core, DC_S("s1")) != rows[i].is_known) {
            fail_msg("row %zu: %s", i, rows[i].step.command);
        }
    }
    assert_false(dc_presence_session_is_known(s.core, DC_S("")));
    script_close(&s);
}

static void while_leases_are_held_none_ends_and_everything_else_goes_on(void **state)
{
    (void)state;
    static const struct step steps[] = {
        U1_IS_IN_PLAZA,
        {0, "beat s2 u2 online", "u2=online", 0},
        {3000, "tick", "city[2/0]", 0},
        {10000, "hold on", NULL, 0},
        {39000, "type s1 r1 on", "r1*u1; r1[1/0 typing u1] u1", 0},
        {40000, "tick", NULL, 0},
        {45000, "tick", "r1.u1; r1[1/0] u1", 0}, /* typing has its own lease */
        {60000, "beat s2 u2 online", NULL, 0},   /* late, and renewed */
        {70000, "beat s3 u3 online", "u3=online; city[3/0]", 0},
        {70000, "close s3", NULL, 0},
        {75000, "tick", "u3=offline; city[2/0]", 0}, /* it has said that it goes */
        {80000, "hold off", NULL, 0},
        {80000, "tick", "r1-u1; u1=offline; r1[0/0]; city[1/0]", 0},
        {100000, "tick", "u2=offline; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void bad_input_changes_nothing(void **state)
{
    (void)state;
    char id[DC_PRESENCE_ID_MAX + 1];
    memset(id, 'x', sizeof(id));
    struct dc_slice longest = {id, DC_PRESENCE_ID_MAX};
    struct dc_slice too_long = {id, DC_PRESENCE_ID_MAX + 1};
    const struct {
        struct dc_slice session, user, name;
        enum dc_presence_status status;
        enum dc_status expected;
    } rows[] = {
        {DC_S(""), DC_S("u"), DC_S(""), DC_PRESENCE_ONLINE, DC_INVALID},
        {DC_S("s"), DC_S(""), DC_S(""), DC_PRESENCE_ONLINE, DC_INVALID},
        {too_long, DC_S("u"), DC_S(""), DC_PRESENCE_ONLINE, DC_INVALID},
        {DC_S("s"), too_long, DC_S(""), DC_PRESENCE_ONLINE, DC_INVALID},
        {DC_S("s"), DC_S("u"), too_long, DC_PRESENCE_ONLINE, DC_INVALID},
        {DC_S("s"), DC_S("u"), DC_S(""), (enum dc_presence_status)3, DC_INVALID},
        {longest, longest, longest, DC_PRESENCE_AWAY, DC_OK},
    };
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        enum dc_status st = dc_presence_session_beat(s.core, rows[i].session, rows[i].user,
                                                     rows[i].name, rows[i].status, script_now(0));
        if (st != rows[i].expected) {
            fail_msg("row %zu: %s", i, dc_status_code(st));
        }
        assert_int_equal(dc_presence_counts_get(s.core).sessions, st == DC_OK ? 1 : 0);
        assert_int_equal(dc_presence_counts_get(s.core).users, st == DC_OK ? 1 : 0);
    }
    script_close(&s);
}

static void take_user(void *data, const struct dc_presence_user_state *u)
{
    *(struct dc_presence_user_state *)data = *u;
}

static void the_newest_username_and_activity_are_kept(void **state)
{
    (void)state;
    static const struct {
        int64_t at_ms;
        const char *given, *expected;
        enum dc_presence_status status;
        int64_t active_ms; /* an away beat is no activity */
    } rows[] = {
        {0, "", "", DC_PRESENCE_AWAY, 1000000},
        {10, "Olena", "Olena", DC_PRESENCE_ONLINE, 1000010},
        {20, "", "Olena", DC_PRESENCE_AWAY, 1000010},
        {30, "Оленка", "Оленка", DC_PRESENCE_ONLINE, 1000030},
        {40, "X", "X", DC_PRESENCE_ONLINE, 1000040},
    };
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        assert_int_equal(dc_presence_session_beat(s.core, DC_S("s1"), DC_S("u1"),
                                                  dc_slice_z(rows[i].given), rows[i].status,
                                                  script_now(rows[i].at_ms)),
                         DC_OK);
        struct dc_presence_user_state u = {0};
        dc_presence_online_users(s.core, 10, take_user, &u);
        if (!dc_slice_eq(u.username, dc_slice_z(rows[i].expected)) ||
            u.last_active.ms != rows[i].active_ms) {
            fail_msg("row %zu: %.*s, %lld", i, DC_SLICE_ARG(u.username),
                     (long long)u.last_active.ms);
        }
    }
    script_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_goes_offline_once_when_the_lease_ends),
        cmocka_unit_test(a_beat_renews_the_lease_without_a_word),
        cmocka_unit_test(a_late_beat_before_the_tick_still_renews),
        cmocka_unit_test(a_closed_session_lasts_for_the_grace),
        cmocka_unit_test(a_beat_during_the_grace_revives_the_session_with_its_rooms),
        cmocka_unit_test(a_page_reload_with_a_new_session_does_not_flicker),
        cmocka_unit_test(a_final_close_ends_at_once),
        cmocka_unit_test(away_counts_as_present_and_is_told_apart),
        cmocka_unit_test(two_sessions_give_the_better_status_and_one_member),
        cmocka_unit_test(two_sessions_that_end_in_one_tick_make_one_change),
        cmocka_unit_test(a_passive_session_counts_only_while_nothing_else_speaks),
        cmocka_unit_test(joining_needs_a_session_and_a_room_and_is_idempotent),
        cmocka_unit_test(a_session_of_somebody_else_is_a_conflict),
        cmocka_unit_test(a_session_is_known_from_its_first_beat_to_its_end),
        cmocka_unit_test(while_leases_are_held_none_ends_and_everything_else_goes_on),
        cmocka_unit_test(bad_input_changes_nothing),
        cmocka_unit_test(the_newest_username_and_activity_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
