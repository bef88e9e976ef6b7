/* What is much is done in slices: no turn of the loop changes more than DC_AGG_TURN_STEPS things,
 * nothing is asked for before all of an answer is known, and an end in the middle is an end. */
#include "matrix_rig.h"

#define PEOPLE 3000
#define PLAZA  "!plaza:daarion.space"
#define PERSON "@person_%05d:daarion.space"

static int setup(void **state)
{
    struct matrix_rig *rig = dc_calloc(1, sizeof(*rig));
    fixture_open(&rig->f);
    fixture_listen(&rig->f, NULL);
    /* Nobody listens there; turns are made by hand. */
    matrix_rig_start(rig, "http://127.0.0.1:1");
    map_rooms(rig, "room_plaza|plaza|" PLAZA);
    dc_ms_room_self(dc_ms_room_find(rig->ms, DC_S(PLAZA)), true);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct matrix_rig *rig = *state;
    matrix_rig_stop(rig);
    fixture_close(&rig->f);
    dc_free(rig);
    return 0;
}

/* {"next_batch":…, everybody has this presence and has just joined} */
static json_t *answer_of_all(const char *presence_z, bool with_rooms)
{
    struct dc_strbuf text = {0};
    dc_strbuf_add(&text, DC_S("{\"next_batch\":\"s1\",\"presence\":{\"events\":["));
    for (int i = 0; i < PEOPLE; i++) {
        dc_strbuf_printf(&text,
                         "%s{\"type\":\"m.presence\",\"sender\":\"" PERSON
                         "\",\"content\":{\"presence\":\"%s\"}}",
                         i > 0 ? "," : "", i, presence_z);
    }
    dc_strbuf_add(&text, DC_S("]}"));
    for (int i = 0; with_rooms && i < PEOPLE; i++) {
        dc_strbuf_printf(
            &text,
            "%s{\"event_id\":\"$e%d\",\"type\":\"m.room.member\",\"sender\":\"" PERSON
            "\",\"state_key\":\"" PERSON "\",\"content\":{\"membership\":\"join\"}}",
            i > 0 ? "," : ",\"rooms\":{\"join\":{\"" PLAZA "\":{\"state\":{\"events\":[", i, i, i);
    }
    dc_strbuf_add(&text, with_rooms ? DC_S("]}}}}}") : DC_S("}"));
    dc_strbuf_add_char(&text, '\0');
    assert_true(dc_strbuf_ok(&text));
    json_t *json = json_of(text.ptr);
    dc_strbuf_free(&text);
    return json;
}

/* Each turn within its bound, until nothing is left; returns how many. */
static size_t count_turns(struct matrix_rig *rig, uint64_t before)
{
    size_t n = 0;
    bool has_more = true;
    while (has_more) {
        uint64_t done = rig->ms->applied->value - before;
        if (done > DC_AGG_TURN_STEPS) {
            fail_msg("%llu changes in one turn", (unsigned long long)done);
        }
        before = rig->ms->applied->value;
        has_more = dc_ms_work(rig->ms);
        n++;
    }
    return n;
}

static void ends(struct dc_ms *ms, struct dc_slice next_batch)
{
    assert_true(dc_slice_eq(next_batch, DC_S("s1")));
    ms->is_applying = false; /* as every step does */
}

static void start_all(struct matrix_rig *rig, const char *presence_z, bool with_rooms)
{
    struct dc_error err = {0};
    json_t *json = answer_of_all(presence_z, with_rooms);
    const struct dc_matrix_answer answer = {.http_status = 200, .json = json};
    rig->ms->is_applying = true;
    assert_int_equal(dc_ms_apply(rig->ms, &answer, false, ends, &err), DC_OK);
    json_decref(json); /* it has kept it */
}

static void an_answer_of_everybody_is_many_turns_and_ends_once(void **state)
{
    struct matrix_rig *rig = *state;
    start_all(rig, "online", true);
    assert_true(rig->ms->is_applying);
    size_t n = count_turns(rig, 0);
    assert_true(n >= 2 * PEOPLE / DC_AGG_TURN_STEPS);
    assert_false(rig->ms->is_applying);
    assert_int_equal(room_state(rig, "room_plaza").online_count, PEOPLE);
    assert_int_equal(members_of(rig, PLAZA), PEOPLE);
    uint64_t before = rig->ms->applied->value;
    start_all(rig, "offline", false);
    assert_true(count_turns(rig, before) >= PEOPLE / DC_AGG_TURN_STEPS);
    assert_int_equal(room_state(rig, "room_plaza").online_count, 0);
}

static void a_small_answer_is_no_turn_later(void **state)
{
    struct matrix_rig *rig = *state;
    struct dc_error err = {0};
    json_t *json = json_of("{\"next_batch\":\"s1\",\"presence\":{\"events\":[{\"type\":"
                           "\"m.presence\",\"sender\":\"@a:x\",\"content\":{\"presence\":"
                           "\"online\"}}]}}");
    const struct dc_matrix_answer answer = {.http_status = 200, .json = json};
    rig->ms->is_applying = true;
    assert_int_equal(dc_ms_apply(rig->ms, &answer, false, ends, &err), DC_OK);
    assert_false(rig->ms->is_applying);
    assert_int_equal(dc_presence_user_get(rig->a.core, DC_S("@a:x")), DC_PRESENCE_ONLINE);
    json_decref(json);
}

static void the_next_answer_waits_until_the_one_before_is_known(void **state)
{
    struct matrix_rig *rig = *state;
    start_all(rig, "online", true);
    start_all(rig, "unavailable", false);
    assert_int_equal(dc_presence_totals_get(rig->a.core).away, 0);
    (void)work_off(rig);
    assert_int_equal(dc_presence_totals_get(rig->a.core).away, PEOPLE);
}

static void nothing_is_asked_for_before_all_is_known(void **state)
{
    struct matrix_rig *rig = *state;
    struct dc_ms *ms = rig->ms;
    ms->phase = DC_MS_POLLING;
    ms->step_due_ms = 0;
    start_all(rig, "online", false);
    size_t pending = ms->pending;
    dc_ms_on_clock(&ms->clock);
    assert_false(ms->is_asking);
    ms->whole_due_ms = INT64_MAX;
    (void)work_off(rig);
    dc_ms_on_clock(&ms->clock);
    assert_true(ms->is_asking);
    assert_true(ms->pending >= pending);
}

/* teardown stops it; the sanitizers see what is left. */
static void it_may_stop_in_the_middle(void **state)
{
    struct matrix_rig *rig = *state;
    start_all(rig, "online", true);
    assert_true(dc_ms_work(rig->ms));
    assert_int_equal(rig->ms->since.len, 0); /* nothing to go on from that is not known */
}

/* --- everybody --- */

static void set_flag(struct dc_ms *ms)
{
    ms->has_picture = true;
}

static void who_is_not_named_goes_offline_in_many_turns(void **state)
{
    struct matrix_rig *rig = *state;
    start_all(rig, "online", false);
    (void)work_off(rig);
    uint64_t before = rig->ms->applied->value;
    rig->ms->whole_since = rig->ms->heard + 1;
    dc_ms_people_whole(rig->ms, set_flag);
    assert_false(rig->ms->has_picture);
    /* Somebody comes in the middle, and somebody goes by himself. */
    const struct dc_matrix_presence comes = {
        .user_id = DC_S("@new:x"), .presence = DC_S("online"), .last_active_ago_ms = -1};
    const struct dc_matrix_presence goes = {.user_id = DC_S("@person_02999:daarion.space"),
                                            .presence = DC_S("offline"),
                                            .last_active_ago_ms = -1};
    rig->ms->heard++;
    dc_ms_presence(rig->ms, &comes);
    dc_ms_presence(rig->ms, &goes);
    assert_true(count_turns(rig, before + 2) >= (PEOPLE - 1) / DC_AGG_TURN_STEPS);
    assert_true(rig->ms->has_picture);
    assert_int_equal(dc_presence_totals_get(rig->a.core).online, 1);
    assert_int_equal(rig->ms->people.count, 1);
}

/* --- the members of a room --- */

static json_t *everybody_from(int from, int to)
{
    json_t *joined = json_object();
    for (int i = from; i < to; i++) {
        char mxid[64];
        snprintf(mxid, sizeof(mxid), PERSON, i);
        json_object_set_new(joined, mxid, json_object());
    }
    return joined;
}

static void a_large_list_of_members_is_many_turns(void **state)
{
    struct matrix_rig *rig = *state;
    struct dc_ms_room *room = dc_ms_room_find(rig->ms, DC_S(PLAZA));
    take_members(rig, room, everybody_from(0, PEOPLE));
    assert_int_equal(rig->n_taken, 0);
    assert_true(count_turns(rig, 0) >= PEOPLE / DC_AGG_TURN_STEPS);
    assert_true(rig->n_taken == 1 && rig->is_taken_known);
    assert_int_equal(room->members.count, PEOPLE);
    uint64_t before = rig->ms->applied->value;
    take_members(rig, room, everybody_from(PEOPLE / 2, PEOPLE + 10));
    (void)count_turns(rig, before);
    assert_true(rig->n_taken == 1 && rig->is_taken_known);
    assert_int_equal(room->members.count, PEOPLE / 2 + 10);
}

static void a_list_of_another_time_ends_where_it_is(void **state)
{
    struct matrix_rig *rig = *state;
    struct dc_ms_room *room = dc_ms_room_find(rig->ms, DC_S(PLAZA));
    take_members(rig, room, everybody_from(0, PEOPLE));
    assert_true(dc_ms_work(rig->ms));
    map_rooms(rig, "room_plaza|plaza|!another:daarion.space"); /* it moves */
    (void)work_off(rig);
    assert_true(rig->n_taken == 1 && !rig->is_taken_known);
    assert_true(room->members.count < PEOPLE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_answer_of_everybody_is_many_turns_and_ends_once),
        TEST(a_small_answer_is_no_turn_later),
        TEST(the_next_answer_waits_until_the_one_before_is_known),
        TEST(nothing_is_asked_for_before_all_is_known),
        TEST(it_may_stop_in_the_middle),
        TEST(who_is_not_named_goes_offline_in_many_turns),
        TEST(a_large_list_of_members_is_many_turns),
        TEST(a_list_of_another_time_ends_where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
