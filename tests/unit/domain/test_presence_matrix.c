/* Matrix sources: any order, repeated, paired with native sessions. */
#include "presence_script.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void status_before_membership_and_the_other_way_round_end_the_same(void **state)
{
    (void)state;
    static const struct step status_first[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "mx a online", "a=online; city[1/0]", 0},
        {0, "mxjoin a r1", "r1+a:online; r1[1/0] a", 0},
    };
    RUN_SCRIPT(status_first);
    static const struct step member_first[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "mxjoin a r1", "r1+a:offline", 0}, /* nothing to count yet */
        {0, "mx a online", "a=online; r1~a:online; r1[1/0] a; city[1/0]", 0},
    };
    RUN_SCRIPT(member_first);
}

static void repeating_changes_nothing(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},   {0, "mx a offline", NULL, 0},
        {0, "mxleave a r1", NULL, 0},    {0, "mx a away", "a=away; city[1/1]", 0},
        {0, "mx a away", NULL, 0},       {0, "mxjoin a r1", "r1+a:away; r1[1/1] a", 0},
        {0, "mxjoin a r1", NULL, 0},     {5000, "mxleave a r1", "r1-a; r1[0/0]", 0},
        {5000, "mxleave a r1", NULL, 0}, {5000, "mx a offline", "a=offline; city[0/0]", 0},
        {5000, "mx a offline", NULL, 0},
    };
    RUN_SCRIPT(steps);
}

static void native_and_matrix_count_as_one_person(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "mx a away", "a=away; city[1/1]", 0},
        {0, "mxjoin a r1", "r1+a:away; r1[1/1] a", 0},
        {5000, "beat s1 a online", "a=online; r1~a:online; r1[1/0] a; city[1/0]", 0},
        {5000, "join s1 r1", NULL, 0},
        {10000, "mxleave a r1", NULL, 0}, /* the session is still there */
        {10000, "mxjoin a r1", NULL, 0},
        {15000, "mx a offline", NULL, 0},
        {20000, "mx a online", NULL, 0},
        {25000, "end s1", NULL, 0}, /* Matrix keeps him, online */
        {30000, "mx a offline", "a=offline; r1~a:offline; r1[0/0]; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void what_sessions_say_is_reported_whatever_matrix_says(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "mx a online", "a=online; city[1/0]", 0},
        {5000, "beat s1 a away", "a!away", 0}, /* online all the same */
        {5000, "beat s2 a passive", NULL, 0},
        {6000, "beat s1 a online", "a!online", 0},
        {7000, "end s1", NULL, 0}, /* somebody is there still: s2 */
        {8000, "beat s2 a away", "a!away", 0},
        {9000, "mx a offline", "a=away; city[1/1]", 0},
        {9500, "end s2", "a!offline; a=offline", 0},
    };
    struct script s;
    const struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    s.wants_native = true;
    script_run(&s, steps, DC_ARRAY_LEN(steps));
    assert_int_equal(dc_presence_matrix_get(s.core, DC_S("a")), DC_PRESENCE_OFFLINE);
    script_do(&s, &(struct step){20000, "mx a away", NULL, 0});
    assert_int_equal(dc_presence_matrix_get(s.core, DC_S("a")), DC_PRESENCE_AWAY);
    script_close(&s);
}

static void matrix_status_has_no_lease(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "mx a online", "a=online; city[1/0]", 0},
        {100000000, "tick", NULL, 0},
        {100000000, "mx a offline", "a=offline; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void who_comes_back_online_stands_at_the_end_of_the_sample(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "mxjoin a r1", "r1+a:offline", 0},
        {0, "mxjoin b r1", "r1+b:offline", 0},
        {0, "mx a online", "a=online; r1~a:online; r1[1/0] a; city[1/0]", 0},
        {1000, "mx b online", "b=online; r1~b:online", 0},
        {3000, "tick", "r1[2/0] a,b; city[2/0]", 0},
        {7000, "mx a away", "a=away; r1~a:away; r1[2/1] a,b; city[2/1]", 0}, /* still here */
        {11000, "mx a offline", "a=offline; r1~a:offline; r1[1/0] b; city[1/0]", 0},
        {15000, "mx a online", "a=online; r1~a:online; r1[2/0] b,a; city[2/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void take_user(void *data, const struct dc_presence_user_state *u)
{
    *(struct dc_presence_user_state *)data = *u;
}

static void last_active_is_the_newest_known_and_never_in_the_future(void **state)
{
    (void)state;
    static const struct {
        int64_t utc_ms, given_ms, expected_ms;
    } rows[] = {
        {1000, 0, 0},                         /* unknown */
        {2000, 500, 500}, {3000, 400, 500},   /* older: no news */
        {4000, 0, 500},   {5000, 9000, 5000}, /* from a clock that is ahead */
        {3000, 1, 3000},                      /* our clock was set back */
    };
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        assert_int_equal(dc_presence_matrix_status(s.core, DC_S("a"), DC_PRESENCE_ONLINE,
                                                   (struct dc_utc){rows[i].given_ms},
                                                   (struct dc_presence_now){{0}, {rows[i].utc_ms}}),
                         DC_OK);
        struct dc_presence_user_state u = {0};
        dc_presence_online_users(s.core, 1, take_user, &u);
        if (u.last_active.ms != rows[i].expected_ms) {
            fail_msg("row %zu: %lld", i, (long long)u.last_active.ms);
        }
    }
    script_close(&s);
}

static void bad_input_changes_nothing(void **state)
{
    (void)state;
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    struct dc_presence_now now = script_now(0);
    struct dc_utc never = {0};
    enum dc_presence_status unknown = (enum dc_presence_status)7;
    assert_int_equal(dc_presence_matrix_status(s.core, DC_S(""), DC_PRESENCE_ONLINE, never, now),
                     DC_INVALID);
    assert_int_equal(dc_presence_matrix_status(s.core, DC_S("a"), unknown, never, now), DC_INVALID);
    assert_int_equal(dc_presence_matrix_member(s.core, DC_S(""), DC_S("r"), true, now), DC_INVALID);
    assert_int_equal(dc_presence_matrix_member(s.core, DC_S("a"), DC_S("r"), false, now),
                     DC_NOT_FOUND);
    assert_int_equal(dc_presence_room_add(s.core, DC_S(""), DC_S("x"), now), DC_INVALID);
    assert_int_equal(dc_presence_counts_get(s.core).users, 0);
    assert_int_equal(dc_presence_counts_get(s.core).rooms, 0);
    script_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_before_membership_and_the_other_way_round_end_the_same),
        cmocka_unit_test(repeating_changes_nothing),
        cmocka_unit_test(native_and_matrix_count_as_one_person),
        cmocka_unit_test(what_sessions_say_is_reported_whatever_matrix_says),
        cmocka_unit_test(matrix_status_has_no_lease),
        cmocka_unit_test(who_comes_back_online_stands_at_the_end_of_the_sample),
        cmocka_unit_test(last_active_is_the_newest_known_and_never_in_the_future),
        cmocka_unit_test(bad_input_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
