/* Typing: leases, sources, order, ends. */
#include "presence_script.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TWO_IN_A_ROOM                                                                              \
    {0, "room r1 plaza", NULL, 0}, {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},            \
        {0, "beat s2 u2 online", "u2=online", 0},                                                  \
        {0, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0}, {0, "join s2 r1", "r1+u2:online", 0},    \
    {                                                                                              \
        3000, "tick", "r1[2/0] u1,u2; city[2/0]", 0                                                \
    }

static void typing_ends_by_itself_after_its_lease(void **state)
{
    (void)state;
    static const struct step steps[] = {
        TWO_IN_A_ROOM,
        {10000, "type s1 r1 on", "r1*u1; r1[2/0 typing u1] u1,u2", 0},
        {15999, "tick", NULL, 0},
        {16000, "tick", "r1.u1; r1[2/0] u1,u2", 0},
        {16001, "tick", NULL, 0},
    };
    RUN_SCRIPT(steps);
}

static void typing_again_renews_without_a_word(void **state)
{
    (void)state;
    static const struct step steps[] = {
        TWO_IN_A_ROOM,
        {10000, "type s1 r1 on", "r1*u1; r1[2/0 typing u1] u1,u2", 0},
        {14000, "type s1 r1 on", NULL, 0},
        {19999, "tick", NULL, 0},
        {20000, "tick", "r1.u1; r1[2/0] u1,u2", 0},
    };
    RUN_SCRIPT(steps);
}

static void stopping_is_told_at_once_and_once(void **state)
{
    (void)state;
    static const struct step steps[] = {
        TWO_IN_A_ROOM,
        {10000, "type s1 r1 off", NULL, 0},
        {10000, "type s1 r1 on", "r1*u1; r1[2/0 typing u1] u1,u2", 0},
        {11000, "type s1 r1 off", "r1.u1", 0},
        {11000, "type s1 r1 off", NULL, 0},
        {13000, "tick", "r1[2/0] u1,u2", 0},
    };
    RUN_SCRIPT(steps);
}

static void typing_users_are_in_order_of_start(void **state)
{
    (void)state;
    static const struct step steps[] = {
        TWO_IN_A_ROOM,
        {10000, "type s2 r1 on", "r1*u2; r1[2/0 typing u2] u1,u2", 0},
        {11000, "type s1 r1 on", "r1*u1", 0},
        {12000, "type s2 r1 on", NULL, 0}, /* does not move */
        {13000, "tick", "r1[2/0 typing u2,u1] u1,u2", 0},
        {17000, "tick", "r1.u1; r1[2/0 typing u2] u1,u2", 0},
    };
    RUN_SCRIPT(steps);
}

static void typing_needs_membership(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "type s1 r1 on", NULL, DC_NOT_FOUND},
        {0, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {0, "type s1 r1 on", NULL, DC_NOT_FOUND},
        {0, "type s1 r1 off", NULL, DC_NOT_FOUND},
        {0, "type s1 r9 on", NULL, DC_NOT_FOUND},
        {0, "mxjoin u1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {0, "type s1 r1 on", "r1*u1", 0}, /* a member by Matrix is one */
    };
    RUN_SCRIPT(steps);
}

static void leaving_ends_typing_but_not_while_another_session_is_there(void **state)
{
    (void)state;
    static const struct step steps[] = {
        TWO_IN_A_ROOM,
        {10000, "beat s3 u1 online", NULL, 0},
        {10000, "beat s2 u2 online", NULL, 0},
        {10000, "join s3 r1", NULL, 0},
        {10000, "type s1 r1 on", "r1*u1; r1[2/0 typing u1] u1,u2", 0},
        {11000, "leave s1 r1", NULL, 0},
        {13000, "leave s3 r1", "r1.u1; r1-u1; r1[1/0] u2", 0},
        {20000, "type s2 r1 on", "r1*u2; r1[1/0 typing u2] u2", 0},
        {23000, "end s2", "r1.u2; r1-u2; u2=offline; r1[0/0]; city[1/0]", 0},
    };
    RUN_SCRIPT(steps);
}

static void native_typing_ends_with_the_last_session_although_matrix_keeps_the_member(void **state)
{
    (void)state;
    static const struct step steps[] = {
        TWO_IN_A_ROOM,
        {5000, "mxjoin u1 r1", NULL, 0},
        {10000, "type s1 r1 on", "r1*u1; r1[2/0 typing u1] u1,u2", 0},
        {13000, "leave s1 r1", "r1.u1; r1[2/0] u1,u2", 0},
    };
    RUN_SCRIPT(steps);
}

static void both_sources_count_once_and_the_later_end_counts(void **state)
{
    (void)state;
    static const struct step steps[] = {
        TWO_IN_A_ROOM,
        {10000, "type s1 r1 on", "r1*u1; r1[2/0 typing u1] u1,u2", 0},
        {10000, "mxtype r1 20000 u1", NULL, 0},
        {16000, "tick", NULL, 0}, /* the native lease */
        {30000, "tick", "r1.u1; r1[2/0] u1,u2", 0},
        {35000, "mxtype r1 3000 u1", "r1*u1; r1[2/0 typing u1] u1,u2", 0},
        {36000, "type s1 r1 on", NULL, 0},
        {37000, "mxtype r1 3000", NULL, 0}, /* Matrix says nobody; the native one stays */
        {37000, "type s1 r1 off", "r1.u1", 0},
    };
    RUN_SCRIPT(steps);
}

static void a_matrix_set_replaces_the_one_before(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "mxtype r1 30000 a b a", "r1*a; r1*b; r1[0/0 typing a,b]", 0},
        {5000, "mxtype r1 30000 c b", "r1*c; r1.a; r1[0/0 typing b,c]", 0},
        {10000, "mxtype r1 30000 b c", NULL, 0},
        {39999, "tick", NULL, 0},
        {40000, "tick", "r1.b; r1.c; r1[0/0]", 0},
        {50000, "mxtype r1 30000 a b", "r1*a; r1*b; r1[0/0 typing a,b]", 0},
        {60000, "mxtype r1 30000", "r1.a; r1.b; r1[0/0]", 0},
    };
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    script_run(&s, steps, DC_ARRAY_LEN(steps));
    assert_int_equal(dc_presence_counts_get(s.core).users, 0);
    script_close(&s);
}

static void leaving_the_matrix_room_ends_matrix_typing(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "mxjoin a r1", "r1+a:offline", 0},
        {0, "mxtype r1 30000 a", "r1*a; r1[0/0 typing a]", 0},
        {5000, "mxleave a r1", "r1.a; r1-a; r1[0/0]", 0},
        {9000, "mxtype r1 30000 b", "r1*b; r1[0/0 typing b]", 0},
        {15000, "mxleave b r1", "r1.b; r1[0/0]", 0}, /* was never seen to join */
    };
    RUN_SCRIPT(steps);
}

static void an_invalid_id_in_a_matrix_set_is_left_out(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "mxtype r1 30000 a - b", "r1*a; r1*b; r1[0/0 typing a,b]", DC_INVALID},
    };
    RUN_SCRIPT(steps);
}

static void the_sample_of_typing_users_is_cut_and_the_count_is_not(void **state)
{
    (void)state;
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    assert_int_equal(dc_presence_room_add(s.core, DC_S("r"), DC_S("r"), script_now(0)), DC_OK);
    char text[50][4];
    struct dc_slice ids[50];
    for (size_t i = 0; i < 50; i++) {
        ids[i] = dc_slice_make(text[i], (size_t)snprintf(text[i], sizeof(text[i]), "%zu", i));
    }
    assert_int_equal(dc_presence_matrix_typing(s.core, DC_S("r"), ids, 50, 1000, script_now(0)),
                     DC_OK);
    struct dc_presence_room_state r;
    assert_true(dc_presence_room_get(s.core, DC_S("r"), &r));
    assert_int_equal(r.typing_count, 50);
    assert_int_equal(r.n_typing_users, DC_PRESENCE_SAMPLE);
    assert_true(dc_slice_eq(r.typing_users[19], DC_S("19")));
    script_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typing_ends_by_itself_after_its_lease),
        cmocka_unit_test(typing_again_renews_without_a_word),
        cmocka_unit_test(stopping_is_told_at_once_and_once),
        cmocka_unit_test(typing_users_are_in_order_of_start),
        cmocka_unit_test(typing_needs_membership),
        cmocka_unit_test(leaving_ends_typing_but_not_while_another_session_is_there),
        cmocka_unit_test(native_typing_ends_with_the_last_session_although_matrix_keeps_the_member),
        cmocka_unit_test(both_sources_count_once_and_the_later_end_counts),
        cmocka_unit_test(a_matrix_set_replaces_the_one_before),
        cmocka_unit_test(leaving_the_matrix_room_ends_matrix_typing),
        cmocka_unit_test(an_invalid_id_in_a_matrix_set_is_left_out),
        cmocka_unit_test(the_sample_of_typing_users_is_cut_and_the_count_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
