/* Walks in slices, saying again, and the reads that go with them. */
#include "presence_script.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct seen {
    struct script *script;
    char text[256];
    const char *then; /* a command that runs inside the walk, once */
};

static void note(struct seen *seen, struct dc_slice id)
{
    size_t len = strlen(seen->text);
    snprintf(seen->text + len, sizeof(seen->text) - len, "%.*s ", DC_SLICE_ARG(id));
    if (seen->then != NULL) {
        const struct step step = {1, seen->then, NULL, 0};
        seen->then = NULL;
        dc_strbuf_clear(&seen->script->log);
        script_do(seen->script, &step);
    }
}

static void note_user(void *data, const struct dc_presence_user_state *u)
{
    note(data, u->user_id);
}

static void note_room(void *data, struct dc_slice room_id, struct dc_slice slug)
{
    assert_true(slug.len > 0);
    note(data, room_id);
}

static void run(struct script *s, const char *command)
{
    const struct step step = {0, command, NULL, 0};
    script_do(s, &step);
}

static void open_city(struct script *s)
{
    static const char *const commands[] = {
        "room r1 one",       "room r2 two",       "room r3 three",     "beat s1 u1 online",
        "beat s2 u2 online", "beat s3 u3 online", "beat s4 u4 online", "join s1 r1",
        "join s2 r1",        "join s3 r1",        "join s4 r1",        "join s1 r2"};
    struct dc_presence_opts opts = script_opts();
    script_open(s, &opts);
    for (size_t i = 0; i < DC_ARRAY_LEN(commands); i++) {
        run(s, commands[i]);
    }
}

static size_t walk_users(struct script *s, struct seen *seen, bool restart, size_t max)
{
    return dc_presence_walk_users(s->core, restart, max, note_user, seen);
}

static size_t walk_members(struct script *s, struct seen *seen, const char *room, bool restart,
                           size_t max)
{
    return dc_presence_walk_members(s->core, dc_slice_z(room), restart, max, note_user, seen);
}

static void a_walk_goes_on_where_it_was_whatever_happens_meanwhile(void **state)
{
    (void)state;
    struct script s;
    open_city(&s);
    struct seen seen = {.script = &s};
    assert_int_equal(walk_users(&s, &seen, true, 2), 2);
    run(&s, "end s1");            /* visited */
    run(&s, "end s3");            /* the next one */
    run(&s, "beat s5 u5 online"); /* new, at the end */
    assert_int_equal(walk_users(&s, &seen, false, 9), 2);
    assert_string_equal(seen.text, "u1 u2 u4 u5 ");
    assert_int_equal(walk_users(&s, &seen, false, 9), 0); /* over */
    seen.text[0] = '\0';
    assert_int_equal(walk_users(&s, &seen, true, 9), 3);
    assert_string_equal(seen.text, "u2 u4 u5 ");
    script_close(&s);
}

static void a_walk_that_exactly_ends_says_so_in_the_next_slice(void **state)
{
    (void)state;
    struct script s;
    open_city(&s);
    struct seen seen = {.script = &s};
    assert_int_equal(walk_users(&s, &seen, true, 4), 4);
    assert_int_equal(walk_users(&s, &seen, false, 4), 0);
    assert_int_equal(walk_users(&s, &seen, true, 0), 0);
    assert_int_equal(walk_users(&s, &seen, false, 1), 1);
    script_close(&s);
}

static void what_is_visited_may_change_the_core(void **state)
{
    (void)state;
    struct script s;
    open_city(&s);
    struct seen seen = {.script = &s, .then = "end s2"};
    assert_int_equal(walk_users(&s, &seen, true, 9), 3);
    assert_string_equal(seen.text, "u1 u3 u4 ");
    script_close(&s);
}

static void rooms_are_walked_oldest_first_and_others_may_go(void **state)
{
    (void)state;
    struct script s;
    open_city(&s);
    struct seen seen = {.script = &s};
    assert_int_equal(dc_presence_walk_rooms(s.core, true, 1, note_room, &seen), 1);
    run(&s, "unroom r1");
    run(&s, "unroom r2");
    run(&s, "room r4 four");
    assert_int_equal(dc_presence_walk_rooms(s.core, false, 9, note_room, &seen), 2);
    assert_string_equal(seen.text, "r1 r3 r4 ");
    seen.text[0] = '\0';
    dc_presence_visit_rooms(s.core, 1, note_room, &seen);
    assert_string_equal(seen.text, "r3 ");
    script_close(&s);
}

static void members_are_walked_room_by_room(void **state)
{
    (void)state;
    struct script s;
    open_city(&s);
    struct seen seen = {.script = &s};
    struct dc_presence_room_state room;
    assert_int_equal(walk_members(&s, &seen, "r1", true, 2), 2);
    /* The mark in the list is nobody's business. */
    assert_true(dc_presence_room_get(s.core, DC_S("r1"), &room));
    assert_int_equal(room.n_online_users, 4);
    struct seen all = {.script = &s};
    dc_presence_room_members(s.core, DC_S("r1"), 3, note_user, &all);
    assert_string_equal(all.text, "u1 u2 u3 ");
    run(&s, "leave s3 r1");
    assert_int_equal(walk_members(&s, &seen, "r2", false, 9), 0); /* that is another walk */
    assert_int_equal(walk_members(&s, &seen, "r1", false, 9), 1);
    assert_string_equal(seen.text, "u1 u2 u4 ");
    assert_int_equal(walk_members(&s, &seen, "r1", false, 9), 0);
    assert_int_equal(walk_members(&s, &seen, "r3", true, 9), 0);
    assert_int_equal(walk_members(&s, &seen, "r9", true, 9), 0);
    script_close(&s);
}

static void a_room_that_goes_ends_the_walk_through_its_members(void **state)
{
    (void)state;
    struct script s;
    open_city(&s);
    struct seen seen = {.script = &s};
    assert_int_equal(walk_members(&s, &seen, "r1", true, 1), 1);
    run(&s, "unroom r1");
    assert_int_equal(walk_members(&s, &seen, "r1", false, 9), 0);
    run(&s, "room r1 one");
    run(&s, "join s2 r1");
    assert_int_equal(walk_members(&s, &seen, "r1", false, 9), 0);
    assert_int_equal(walk_members(&s, &seen, "r1", true, 9), 1);
    script_close(&s);
}

static void a_walk_may_be_left_alone_and_the_core_destroyed(void **state)
{
    (void)state;
    struct script s;
    open_city(&s);
    struct seen seen = {.script = &s};
    (void)walk_users(&s, &seen, true, 1);
    (void)walk_members(&s, &seen, "r1", true, 1);
    (void)dc_presence_walk_rooms(s.core, true, 1, note_room, &seen);
    script_close(&s);
}

static void saying_again_reports_what_is_and_begins_a_window(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, "room r1 plaza", NULL, 0},
        {0, "restate r1", "r1[0/0]", 0}, /* also of a room that was never published */
        {0, "restate r9", NULL, 0},
        {10000, "beat s1 u1 online", "u1=online; city[1/0]", 0},
        {10000, "join s1 r1", "r1+u1:online; r1[1/0] u1", 0},
        {11000, "beat s2 u2 online", "u2=online", 0},
        {11000, "join s2 r1", "r1+u2:online", 0}, /* waits for the window */
        {12000, "restate r1", "r1[2/0] u1,u2", 0},
        {12000, "restate city", "city[2/0]", 0},
        {13000, "tick", NULL, 0}, /* nothing is left of the old windows */
        {14000, "leave s2 r1", "r1-u2", 0},
        {14999, "tick", NULL, 0},
        {15000, "tick", "r1[1/0] u1", 0},
        {20000, "restate city", "city[2/0]", 0}, /* equal, and said all the same */
    };
    RUN_SCRIPT(steps);
}

static void small_questions_have_answers(void **state)
{
    (void)state;
    struct script s;
    open_city(&s);
    run(&s, "type s1 r1 on");
    struct dc_presence_user_state u = {.status = DC_PRESENCE_AWAY};
    assert_true(dc_presence_is_member(s.core, DC_S("u1"), DC_S("r2")));
    assert_false(dc_presence_is_member(s.core, DC_S("u2"), DC_S("r2")));
    assert_false(dc_presence_is_member(s.core, DC_S("u9"), DC_S("r2")));
    assert_false(dc_presence_is_member(s.core, DC_S("u1"), DC_S("r9")));
    assert_true(dc_presence_is_typing(s.core, DC_S("u1"), DC_S("r1")));
    assert_false(dc_presence_is_typing(s.core, DC_S("u1"), DC_S("r2")));
    assert_false(dc_presence_is_typing(s.core, DC_S("u9"), DC_S("r1")));
    assert_true(dc_presence_user_find_state(s.core, DC_S("u1"), &u));
    assert_int_equal(u.status, DC_PRESENCE_ONLINE);
    assert_false(dc_presence_user_find_state(s.core, DC_S("u9"), &u));
    assert_true(dc_presence_room_is_idle(s.core, DC_S("r3")));
    assert_false(dc_presence_room_is_idle(s.core, DC_S("r1")));
    assert_false(dc_presence_room_is_idle(s.core, DC_S("r9")));
    run(&s, "mxjoin u8 r3"); /* a member who is offline */
    assert_false(dc_presence_room_is_idle(s.core, DC_S("r3")));
    struct seen seen = {.script = &s};
    dc_presence_session_rooms(s.core, DC_S("s1"), note_room, &seen);
    dc_presence_session_rooms(s.core, DC_S("s9"), note_room, &seen);
    assert_string_equal(seen.text, "r1 r2 ");
    assert_int_equal(dc_presence_counts_get(s.core).throttled, 4); /* joins into open windows */
    script_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_walk_goes_on_where_it_was_whatever_happens_meanwhile),
        cmocka_unit_test(a_walk_that_exactly_ends_says_so_in_the_next_slice),
        cmocka_unit_test(what_is_visited_may_change_the_core),
        cmocka_unit_test(rooms_are_walked_oldest_first_and_others_may_go),
        cmocka_unit_test(members_are_walked_room_by_room),
        cmocka_unit_test(a_room_that_goes_ends_the_walk_through_its_members),
        cmocka_unit_test(a_walk_may_be_left_alone_and_the_core_destroyed),
        cmocka_unit_test(saying_again_reports_what_is_and_begins_a_window),
        cmocka_unit_test(small_questions_have_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
