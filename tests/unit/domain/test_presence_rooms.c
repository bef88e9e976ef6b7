/* Rooms: publication by window, samples, slugs, removal. */
#include "presence_script.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void
the_first_change_is_published_at_once_and_the_last_at_the_end_of_the_window(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "beat s2 u2 online", "u2=online", 0},
        {0, "beat s3 u3 online", "u3=online", 0},
        {10000, "join s1 r1", "r1+u1:online; r1[1/0] u1; city[3/0]", 0},
        {11000, "join s2 r1", "r1+u2:online", 0},
        {12000, "join s3 r1", "r1+u3:online", 0},
        {12999, "tick", NULL, 0},
        {13000, "tick", "r1[3/0] u1,u2,u3", 0},
        {15999, "leave s1 r1", "r1-u1", 0}, /* a new window began with the publication */
        {16000, "tick", "r1[2/0] u2,u3", 0},
        {19000, "leave s2 r1", "r1-u2; r1[1/0] u3", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_change_after_the_window_needs_no_tick(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "beat s2 u1 online", NULL, 0},
        {0, "beat s3 u3 online", "u3=online", 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {1000, "join s3 r1", "r1+u3:online", 0},
        /* Late tick: the next change takes what waits with it. */
        {5000, "leave s1 r1", "r1-u1; r1[1/0] u3; city[2/0]", 0},
        {5000, "tick", NULL, 0},
    };
    RUN_SCRIPT(steps);
}

static void a_state_equal_to_the_last_published_is_not_published(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {1000, "leave s1 r1", "r1-u1", 0},
        {2000, "join s1 r1", "r1+u1:online", 0},
        {3000, "tick", NULL, 0},
        /* Nothing went out, so no window is open. */
        {3001, "leave s1 r1", "r1-u1; r1[0/0]", 0},
        {4000, "join s1 r1", "r1+u1:online", 0},
        {4500, "leave s1 r1", "r1-u1", 0},
        {6001, "tick", NULL, 0},
        {9000, "tick", NULL, 0},
    };
    RUN_SCRIPT(steps);
}

static void a_user_who_was_forgotten_and_came_back_makes_an_equal_state(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {1000, "end s1", "r1-u1; u1=offline", 0},
        {2000, "beat s1 u1 online", "u1=online", 0},
        {2000, "join s1 r1", "r1+u1:online", 0},
        {3000, "tick", NULL, 0},
    };
    RUN_SCRIPT(steps);
}

static void equal_counts_of_other_people_are_published(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "beat s2 u2 online", "u2=online", 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {1000, "leave s1 r1", "r1-u1", 0},
        {1000, "join s2 r1", "r1+u2:online", 0},
        {3000, "tick", "r1[1/0] u2; city[2/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void without_a_window_everything_is_published_at_once(void **state)
{
    (void)state;
    struct dc_presence_opts opts = script_opts();
    opts.throttle_ms = 0;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {0, "leave s1 r1", "r1-u1; r1[0/0]", 0},
        {0, "end s1", "u1=offline; city[0/0]", 0},
    };
    struct script s;
    script_open(&s, &opts);
    script_run(&s, steps, DC_ARRAY_LEN(steps));
    script_close(&s);
}

static void a_change_of_status_reaches_every_room_of_the_user(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 one", NULL, 0},
        {0, "room r2 two", NULL, 0},
        {0, "room r3 three", NULL, 0},
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {0, "join s1 r2", "r2+u1:online; r2[1/0] u1", 0},
        {9000, "beat s1 u1 away",
         "u1=away; r1~u1:away; r2~u1:away; r1[1/1] u1; r2[1/1] u1; city[1/1]", 0},
        {20000, "end s1", "r1-u1; r2-u1; u1=offline; r1[0/0]; r2[0/0]; city[0/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_new_slug_is_published_once_the_room_was_published(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "room r1 square", NULL, 0}, /* nobody has seen it */
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {0, "room r1 square", NULL, 0},
        {1000, "room r1 market", NULL, 0},
        {3000, "tick", "r1[1/0] u1", 0},
        {9000, "room r1 market", NULL, 0},
        {9000, "room r1 -", "r1[1/0] u1", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_removed_room_says_nothing_more(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "room r2 other", NULL, 0},
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "beat s2 u1 online", NULL, 0},
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {0, "join s2 r1", NULL, 0},
        {0, "join s1 r2", "r2+u1:online; r2[1/0] u1", 0},
        {0, "mxjoin m r1", "r1+m:offline", 0},
        {1000, "type s1 r1 on", "r1*u1", 0},
        {1000, "mxtype r1 60000 x", "r1*x", 0},
        {1000, "unroom r1", NULL, 0},
        {1000, "unroom r1", NULL, 0},
        {10000, "tick", NULL, 0},
        {10000, "leave s1 r1", NULL, 0},
        {10000, "join s1 r1", NULL, DC_NOT_FOUND},
        {10000, "room r1 plaza", NULL, 0},
        {10000, "join s2 r1", "r1+u1:online; r1[1/0] u1", 0},
        {20000, "end s1", "r2-u1; r2[0/0]", 0},
        {30000, "end s2", "r1-u1; u1=offline; r1[0/0]; city[0/0]", 0},
    };
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    script_run(&s, steps, DC_ARRAY_LEN(steps));
    assert_int_equal(dc_presence_counts_get(s.core).users, 0); /* m and x too */
    script_close(&s);
}

struct reader {
    struct dc_presence *core;
    bool was_checked;
};

static void read_inside(void *data, const struct dc_presence_room_state *r)
{
    struct reader *rd = data;
    struct dc_presence_room_state other;
    assert_true(dc_presence_room_get(rd->core, DC_S("r2"), &other));
    if (dc_slice_eq(r->room_id, DC_S("r1")) && other.online_count == 1) {
        assert_true(dc_slice_eq(r->online_users[0], DC_S("u1")));
        assert_true(dc_slice_eq(other.online_users[0], DC_S("u2")));
        rd->was_checked = true;
    }
}

static void callbacks_may_read_other_rooms(void **state)
{
    (void)state;
    struct reader rd = {0};
    struct dc_presence_opts opts = script_opts();
    const struct dc_presence_callbacks cbs = {.room = read_inside};
    assert_int_equal(dc_presence_create(&opts, &cbs, &rd, &rd.core, NULL), DC_OK);
    struct dc_presence_now now = script_now(0);
    assert_int_equal(dc_presence_room_add(rd.core, DC_S("r1"), DC_S("a"), now), DC_OK);
    assert_int_equal(dc_presence_room_add(rd.core, DC_S("r2"), DC_S("b"), now), DC_OK);
    for (int i = 2; i >= 1; i--) {
        struct dc_slice u = i == 1 ? DC_S("u1") : DC_S("u2");
        struct dc_slice r = i == 1 ? DC_S("r1") : DC_S("r2");
        assert_int_equal(dc_presence_session_beat(rd.core, u, u, DC_S(""), DC_PRESENCE_ONLINE, now),
                         DC_OK);
        assert_int_equal(dc_presence_session_join(rd.core, u, r, now), DC_OK);
    }
    assert_true(rd.was_checked);
    dc_presence_destroy(rd.core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_first_change_is_published_at_once_and_the_last_at_the_end_of_the_window),
        cmocka_unit_test(a_change_after_the_window_needs_no_tick),
        cmocka_unit_test(a_state_equal_to_the_last_published_is_not_published),
        cmocka_unit_test(a_user_who_was_forgotten_and_came_back_makes_an_equal_state),
        cmocka_unit_test(equal_counts_of_other_people_are_published),
        cmocka_unit_test(without_a_window_everything_is_published_at_once),
        cmocka_unit_test(a_change_of_status_reaches_every_room_of_the_user),
        cmocka_unit_test(a_new_slug_is_published_once_the_room_was_published),
        cmocka_unit_test(a_removed_room_says_nothing_more),
        cmocka_unit_test(callbacks_may_read_other_rooms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
