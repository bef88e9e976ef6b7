/* Answers of a real Synapse through the code that listens to it, and answers that no homeserver
 * should give. */
#include "matrix_rig.h"

#include <glob.h>

#define PLAZA "!qkUbSAHNcNDjLZxkpq:daarion.space"

static int setup(void **state)
{
    struct matrix_rig *rig = dc_calloc(1, sizeof(*rig));
    fixture_open(&rig->f);
    fixture_listen(&rig->f, NULL);
    /* Nobody listens there, and the loop does not run while answers are fed. */
    matrix_rig_start(rig, "http://127.0.0.1:1");
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

/* --- files --- */

static json_t *load(const char *name_z)
{
    char path[512];
    json_error_t err;
    snprintf(path, sizeof(path), "%s/%s.json", TEST_TRACES_DIR, name_z);
    json_t *json = json_load_file(path, 0, &err);
    if (json == NULL) {
        fail_msg("%s: %s", path, err.text);
    }
    return json;
}

static void apply(struct matrix_rig *rig, const json_t *answer)
{
    const struct dc_matrix_answer of = {.json = answer};
    struct dc_error err = {0};
    if (dc_ms_apply(rig->ms, &of, false, rig_applied, &err) != DC_OK) {
        fail_msg("%s", dc_error_text(&err));
    }
    (void)work_off(rig);
}

/* Every answer of /sync in there, in order; wanted_z: only below this key. */
static size_t apply_all(struct matrix_rig *rig, json_t *json, const char *wanted_z, bool is_wanted)
{
    const char *key;
    json_t *value;
    size_t i;
    size_t n = 0;
    if (is_wanted && json_is_string(json_object_get(json, "next_batch"))) {
        apply(rig, json);
        return 1;
    }
    json_object_foreach(json, key, value)
    {
        n += apply_all(rig, value, wanted_z,
                       is_wanted || (wanted_z != NULL && strcmp(key, wanted_z) == 0));
    }
    json_array_foreach(json, i, value)
    {
        n += apply_all(rig, value, wanted_z, is_wanted);
    }
    return n;
}

static size_t play(struct matrix_rig *rig, const char *name_z, const char *wanted_z)
{
    json_t *json = load(name_z);
    size_t n = apply_all(rig, json, wanted_z, wanted_z == NULL);
    json_decref(json);
    return n;
}

/* --- what Synapse has said --- */

/* In the order in which it happened, with the filter that names member events; the city has three
 * rooms.  What is expected holds after the file. */
static void a_recorded_day_ends_in_the_right_counts(void **state)
{
    static const struct {
        const char *trace;
        size_t members;
        uint32_t online, away, typing;
    } rows[] = {
        {"sync_initial_member_tl50", 4, 0, 0, 0}, /* admin, alice, bob, carol; not the daemon */
        {"sync_inc_presence_online", 4, 1, 0, 0},
        {"sync_inc_presence_online", 4, 1, 0, 0}, /* again: nothing changes */
        {"sync_inc_presence_unavailable", 4, 1, 1, 0},
        {"sync_inc_presence_offline", 4, 0, 0, 0},
        {"sync_inc_typing_start", 4, 0, 0, 1},
        {"sync_inc_typing_second_user", 4, 0, 0, 2},
        {"sync_inc_typing_stop_one", 4, 0, 0, 1},
        {"sync_inc_typing_stop_all", 4, 0, 0, 0},
        {"sync_inc_typing_expires_by_itself", 4, 0, 0, 0},
        {"sync_inc_member_join", 5, 1, 0, 0}, /* dave, who is online */
        {"sync_inc_receipt_m_read", 5, 1, 0, 0},
        {"sync_inc_receipt_m_read_private", 5, 1, 0, 0},
        {"sync_inc_member_leave", 4, 0, 0, 0},
        {"sync_inc_member_two_joins_burst", 6, 0, 0, 0},
        {"sync_inc_member_profile_change", 6, 0, 0, 0},
        {"sync_inc_member_ban", 5, 0, 0, 0},
        {"sync_longpoll_timeout_empty", 5, 0, 0, 0},
        {"sync_timeout0_nothing_new", 5, 0, 0, 0},
    };
    struct matrix_rig *rig = *state;
    map_rooms(rig, "room_plaza|plaza|" PLAZA);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        bool is_increment = strstr(rows[i].trace, "_inc_") != NULL;
        size_t n = play(rig, rows[i].trace, is_increment ? "member_tl50" : NULL);
        struct dc_presence_room_state room = room_state(rig, "room_plaza");
        if (n == 0 || members_of(rig, PLAZA) != rows[i].members ||
            room.online_count != rows[i].online || room.away_count != rows[i].away ||
            room.typing_count != rows[i].typing) {
            fail_msg("%s: %zu answers; %zu members, %u online, %u away, %u typing", rows[i].trace,
                     n, members_of(rig, PLAZA), room.online_count, room.away_count,
                     room.typing_count);
        }
    }
    assert_int_equal(rig->ms->left_out->value, 0);
}

#define NEWS  "!LnJuAyUUfKCLYnefOn:daarion.space"
#define NEWER "!fxISNsLzwqYUIAHtuA:daarion.space"

static void the_daemon_joins_is_kicked_and_comes_back(void **state)
{
    struct matrix_rig *rig = *state;
    map_rooms(rig, "room_news|news|" NEWS);
    const struct dc_ms_room *room = dc_ms_room_find(rig->ms, DC_S(NEWS));
    assert_int_equal(rig->ms->n_unknown, 1);
    assert_true(play(rig, "sync_inc_daemon_invited", "member_tl50") > 0);
    assert_false(room->is_joined);
    assert_true(play(rig, "sync_inc_daemon_joins_new_room", "member_tl50") > 0);
    assert_true(room->is_joined);
    assert_int_equal(room->members.count, 3);
    assert_int_equal(room_state(rig, "room_news").online_count, 1);
    assert_int_equal(rig->ms->n_unknown, 0);
    assert_true(play(rig, "sync_inc_daemon_kicked", "member_tl50") > 0);
    assert_false(room->is_joined);
    assert_int_equal(rig->ms->n_unknown, 1);
    assert_int_equal(room_state(rig, "room_news").online_count, 1); /* unknown is not offline */
    assert_true(play(rig, "sync_inc_daemon_force_joined_by_admin_api", "member_tl50") > 0);
    assert_true(room->is_joined);
    assert_int_equal(room->members.count, 3);
    /* The room is replaced: its city room follows when the city says so. */
    rig->ms->mapping_due_ms = INT64_MAX;
    assert_true(play(rig, "sync_inc_room_upgrade", "naive") > 0);
    assert_true(rig->ms->mapping_due_ms < INT64_MAX); /* the tombstone */
    map_rooms(rig, "room_news|news|" NEWER);
    room = dc_ms_room_find(rig->ms, DC_S(NEWER));
    assert_non_null(room);
    assert_null(dc_ms_room_find(rig->ms, DC_S(NEWS)));
    assert_false(room->is_joined);
    assert_int_equal(room_state(rig, "room_news").online_count, 1); /* until it is known */
    assert_true(play(rig, "sync_inc_daemon_joins_replacement", "member_tl50") > 0);
    assert_true(room->is_joined);
    take_members(rig, dc_ms_room_find(rig->ms, DC_S(NEWER)),
                 json_of("{\"@admin:daarion.space\":{},\"" DAEMON "\":{}}"));
    assert_true(rig->n_taken == 1 && rig->is_taken_known);
    assert_int_equal(members_of(rig, NEWER), 1);
    assert_int_equal(room_state(rig, "room_news").online_count, 0);
}

#define STEPS "!sFJDwemLhDXdIlxqyg:daarion.space"

/* The filter that we use, from the daemon's join to the tombstone; a kick and a rejoin in between,
 * whose history comes back in the timeline. */
static void every_step_of_the_filter_that_is_used(void **state)
{
    static const struct {
        const char *step;
        size_t members;
        uint32_t online, away, typing;
        bool is_joined;
    } rows[] = {
        {"daemon_joins", 3, 1, 0, 0, true},
        {"message_no_timeline_but_presence_bump_of_offline_sender", 3, 1, 0, 0, true},
        {"member_join", 4, 1, 0, 0, true},
        {"member_leave", 3, 1, 0, 0, true},
        {"room_renamed", 3, 1, 0, 0, true},
        {"canonical_alias", 3, 1, 0, 0, true},
        {"typing", 3, 1, 0, 1, true},
        {"daemon_kicked", 3, 1, 0, 1, false},
        {"presence_after_kick_still_delivered_because_of_another_shared_room", 3, 1, 1, 1, false},
        {"daemon_rejoins", 3, 1, 1, 1, true},
        {"room_upgrade", 3, 1, 1, 1, true},
    };
    struct matrix_rig *rig = *state;
    json_t *json = load("sync_recommended_filter_all_steps");
    map_rooms(rig, "room_rec|rec|" STEPS);
    const json_t *steps = json_object_get(json, "steps");
    assert_int_equal(json_array_size(steps), DC_ARRAY_LEN(rows));
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        json_t *step = json_array_get(steps, i);
        assert_string_equal(json_string_value(json_object_get(step, "step")), rows[i].step);
        (void)apply_all(rig, step, NULL, true);
        const struct dc_ms_room *room = dc_ms_room_find(rig->ms, DC_S(STEPS));
        struct dc_presence_room_state counts = room_state(rig, "room_rec");
        if (room->members.count != rows[i].members || room->is_joined != rows[i].is_joined ||
            counts.online_count != rows[i].online || counts.away_count != rows[i].away ||
            counts.typing_count != rows[i].typing) {
            fail_msg("%s: %zu members, %u online, %u away, %u typing", rows[i].step,
                     room->members.count, counts.online_count, counts.away_count,
                     counts.typing_count);
        }
    }
    json_decref(json);
}

#define TWO_STEP "!KhzugyDBbMYQLoHuYI:daarion.space"

/* Joins and leaves before and after the list of members come again behind it. */
static void a_list_of_members_and_the_changes_around_it_converge(void **state)
{
    static const char *const lists[] = {
        "{\"@admin:daarion.space\":{},\"@alice:daarion.space\":{},\"@bob:daarion.space\":{}}",
        "{\"@admin:daarion.space\":{},\"@dave:daarion.space\":{},\"@bob:daarion.space\":{}}",
        ("{\"@admin:daarion.space\":{},\"@alice:daarion.space\":{},\"@dave:daarion.space\":{},"
         "\"@erin:daarion.space\":{}}")};
    struct matrix_rig *rig = *state;
    map_rooms(rig, "room_two|two|" TWO_STEP);
    struct dc_ms_room *room = dc_ms_room_find(rig->ms, DC_S(TWO_STEP));
    for (size_t i = 0; i < DC_ARRAY_LEN(lists); i++) {
        take_members(rig, room, json_of(lists[i]));
        assert_true(play(rig, "sync_two_step_start", "increment") == 1);
        assert_int_equal(room->members.count, 4);
        assert_null(dc_map_get(&room->members, DC_S("@bob:daarion.space")));
        assert_non_null(dc_map_get(&room->members, DC_S("@erin:daarion.space")));
        assert_int_equal(room_state(rig, "room_two").online_count, 1); /* alice */
    }
}

/* What the cache gives is old; the same question with another timeout is answered anew. */
static void an_answer_from_the_cache_is_mended_by_the_next(void **state)
{
    struct matrix_rig *rig = *state;
    assert_int_equal(play(rig, "sync_response_cache", "initial_2_identical_after_alice_online"), 1);
    assert_int_equal(dc_presence_user_get(rig->a.core, DC_S("@alice:daarion.space")),
                     DC_PRESENCE_OFFLINE);
    assert_int_equal(
        play(rig, "sync_response_cache", "initial_3_timeout_changed_after_alice_online"), 1);
    assert_int_equal(dc_presence_user_get(rig->a.core, DC_S("@alice:daarion.space")),
                     DC_PRESENCE_ONLINE);
    assert_int_equal(
        play(rig, "sync_response_cache", "incremental_2_same_since_after_bob_unavailable"), 1);
    assert_int_equal(dc_presence_user_get(rig->a.core, DC_S("@bob:daarion.space")),
                     DC_PRESENCE_ONLINE);
    assert_int_equal(play(rig, "sync_response_cache", "incremental_3_same_since_other_timeout"), 1);
    assert_int_equal(dc_presence_user_get(rig->a.core, DC_S("@bob:daarion.space")),
                     DC_PRESENCE_AWAY);
    assert_int_equal(rig->ms->people.count, dc_presence_counts_get(rig->a.core).users);
}

/* Whoever typed when the homeserver ended types until our own patience ends. */
static void typing_that_nobody_ends_ends_by_itself(void **state)
{
    struct matrix_rig *rig = *state;
    map_rooms(rig, "room_plaza|plaza|" PLAZA);
    assert_true(play(rig, "sync_inc_typing_start", "member_tl50") > 0);
    assert_int_equal(room_state(rig, "room_plaza").typing_count, 1);
    struct dc_presence_now later = dc_agg_now(&rig->a);
    later.mono.ms += 59000;
    (void)dc_presence_tick(rig->a.core, later);
    assert_int_equal(room_state(rig, "room_plaza").typing_count, 1);
    later.mono.ms += 2000;
    (void)dc_presence_tick(rig->a.core, later);
    assert_int_equal(room_state(rig, "room_plaza").typing_count, 0);
}

static void every_recorded_answer_is_taken(void **state)
{
    struct matrix_rig *rig = *state;
    glob_t files;
    size_t n = 0;
    map_rooms(rig, "room_plaza|plaza|" PLAZA ";room_news|news|" NEWS ";room_rec|rec|" STEPS);
    assert_int_equal(glob(TEST_TRACES_DIR "/sync_*.json", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        json_t *json = json_load_file(files.gl_pathv[i], 0, NULL);
        assert_non_null(json);
        n += apply_all(rig, json, NULL, true);
        json_decref(json);
    }
    globfree(&files);
    assert_true(n > 100);
    /* Nobody is counted twice, and nobody is left behind when the rooms go. */
    map_rooms(rig, "room_x|x|!x:daarion.space");
    struct dc_presence_counts counts = dc_presence_counts_get(rig->a.core);
    assert_int_equal(counts.memberships, 0);
}

/* --- what nobody should say --- */

#define ROOM(inner)  "{\"next_batch\":\"s\",\"rooms\":{\"join\":{\"" PLAZA "\":{" inner "}}}}"
#define EVENT(inner) ROOM("\"timeline\":{\"events\":[" inner "]}")
#define MEMBER(key, content)                                                                       \
    EVENT("{\"type\":\"m.room.member\",\"event_id\":\"$e\",\"sender\":\"@m:daarion.space\","       \
          "\"state_key\":" key ",\"content\":" content "}")
#define PRESENCE(inner) "{\"next_batch\":\"s\",\"presence\":{\"events\":[" inner "]}}"
#define TYPING(inner)                                                                              \
    ROOM("\"ephemeral\":{\"events\":[{\"type\":\"m.typing\",\"content\":" inner "}]}")
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void odd_entries_are_left_out_and_counted(void **state)
{
    static const char *const answers[] = {
        MEMBER("\"\"", "{\"membership\":\"join\"}"),
        MEMBER("\"no id\"", "{\"membership\":\"join\"}"),
        MEMBER("\"@x\"", "{\"membership\":\"join\"}"),
        MEMBER("7", "{\"membership\":\"join\"}"),
        MEMBER("\"@x:daarion.space\"", "{\"membership\":7}"),
        MEMBER("\"@x:daarion.space\"", "{}"),
        MEMBER("\"@x:daarion.space\"", "[]"),
        MEMBER("\"@" A64 A64 A64 A64 ":daarion.space\"", "{\"membership\":\"join\"}"),
        EVENT("7"),
        EVENT("{\"type\":\"m.room.member\"}"),
        PRESENCE("{\"type\":\"m.presence\",\"content\":{\"presence\":\"online\"}}"),
        PRESENCE("{\"type\":\"m.presence\",\"sender\":\"bob\",\"content\":{\"presence\":"
                 "\"online\"}}"),
        PRESENCE("{\"type\":\"m.presence\",\"sender\":\"@b:x\",\"content\":{\"presence\":"
                 "\"busy\"}}"),
        PRESENCE("{\"type\":\"m.presence\",\"sender\":\"@b:x\",\"content\":{}}"),
        PRESENCE("{\"type\":\"m.presence\",\"sender\":\"@b:x\"}"),
        PRESENCE("{\"type\":\"m.presence\",\"sender\":\"@" A64 A64 A64 A64
                 ":x\",\"content\":{\"presence\":\"online\"}}"),
        TYPING("{\"user_ids\":\"@b:x\"}"),
        TYPING("{\"user_ids\":[7]}"),
        TYPING("{\"user_ids\":[\"b\"]}"),
        TYPING("{}"),
        "{\"next_batch\":\"s\",\"rooms\":{\"join\":{\"nonsense\":{}}}}",
        "{\"next_batch\":\"s\",\"rooms\":{\"join\":{\"" PLAZA "\":7}}}",
    };
    struct matrix_rig *rig = *state;
    map_rooms(rig, "room_plaza|plaza|" PLAZA);
    for (size_t i = 0; i < DC_ARRAY_LEN(answers); i++) {
        json_t *json = json_of(answers[i]);
        uint64_t before = rig->ms->left_out->value;
        apply(rig, json);
        json_decref(json);
        if (rig->ms->left_out->value != before + 1 || rig->ms->people.count != 0 ||
            members_of(rig, PLAZA) != 0) {
            fail_msg("%s: %llu left out", answers[i],
                     (unsigned long long)(rig->ms->left_out->value - before));
        }
    }
    assert_int_equal(dc_presence_totals_get(rig->a.core).online, 0);
}

static void what_is_none_of_our_business_changes_nothing(void **state)
{
    static const char *const answers[] = {
        "{\"next_batch\":\"s\"}",
        "{\"next_batch\":\"s\",\"rooms\":7,\"presence\":[]}",
        "{\"next_batch\":\"s\",\"rooms\":{\"join\":[],\"leave\":7,\"invite\":null}}",
        "{\"next_batch\":\"s\",\"rooms\":{\"leave\":{\"!else:x\":{}},\"invite\":{\"!else:x\":{}}}}",
        "{\"next_batch\":\"s\",\"rooms\":{\"join\":{\"!else:x\":{\"timeline\":{\"events\":[{"
        "\"type\":"
        "\"m.room.member\",\"event_id\":\"$e\",\"sender\":\"@m:x\",\"state_key\":\"@m:x\","
        "\"content\":{"
        "\"membership\":\"join\"}}]}}}}}",
        /* the daemon, the application service, its administrator */
        PRESENCE("{\"type\":\"m.presence\",\"sender\":\"" DAEMON
                 "\",\"content\":{\"presence\":\"online\"}}"),
        PRESENCE("{\"type\":\"m.presence\",\"sender\":\"@daarion-city:daarion.space\","
                 "\"content\":{\"presence\":\"online\"}}"),
        MEMBER("\"@daarion-city:daarion.space\"", "{\"membership\":\"join\"}"),
        MEMBER("\"@daarion-gateway-0a1b2c3d:daarion.space\"", "{\"membership\":\"join\"}"),
        TYPING("{\"user_ids\":[\"" DAEMON "\"]}"),
        /* somebody offline of whom nothing was known */
        PRESENCE("{\"type\":\"m.presence\",\"sender\":\"@b:x\",\"content\":{\"presence\":"
                 "\"offline\",\"last_active_ago\":5}}"),
    };
    struct matrix_rig *rig = *state;
    map_rooms(rig, "room_plaza|plaza|" PLAZA);
    for (size_t i = 0; i < DC_ARRAY_LEN(answers); i++) {
        json_t *json = json_of(answers[i]);
        apply(rig, json);
        json_decref(json);
        if (rig->ms->left_out->value != 0 || rig->ms->people.count != 0 ||
            dc_presence_counts_get(rig->a.core).users != 0) {
            fail_msg("%s", answers[i]);
        }
    }
}

static void an_answer_without_a_place_to_go_on_from_is_refused_whole(void **state)
{
    struct matrix_rig *rig = *state;
    struct dc_error err = {0};
    json_t *json =
        json_of("{\"presence\":{\"events\":[{\"type\":\"m.presence\",\"sender\":\"@b:x\","
                "\"content\":{\"presence\":\"online\"}}]}}");
    const struct dc_matrix_answer answer = {.json = json};
    assert_int_equal(dc_ms_apply(rig->ms, &answer, true, rig_applied, &err), DC_UPSTREAM);
    json_decref(json);
    assert_int_equal(rig->ms->people.count, 0);
}

static void say(struct matrix_rig *rig, const char *mxid_z, const char *presence_z)
{
    char text[600];
    snprintf(
        text, sizeof(text),
        PRESENCE("{\"type\":\"m.presence\",\"sender\":\"%s\",\"content\":{\"presence\":\"%s\"}}"),
        mxid_z, presence_z);
    json_t *json = json_of(text);
    apply(rig, json);
    json_decref(json);
}

/* --- one person --- */

static void a_residents_account_is_the_resident(void **state)
{
    static const struct {
        const char *mxid, *id;
    } rows[] = {
        {"@daarion.u__01_j_d:daarion.space", "u_01JD"},
        {"@daarion.=d1=97:daarion.space", "\xD1\x97"},
        {"@daarion.a.b:daarion.space", "a.b"},
        {"@daarion.a=2f=2a=3e:daarion.space", "a/*>"},
        /* none of ours */
        {"@daarion.u__01_j_d:else.where", "@daarion.u__01_j_d:else.where"},
        {"@daarion.=41:daarion.space", "@daarion.=41:daarion.space"}, /* 'A' is written "_a" */
        {"@daarion.=20:daarion.space", "@daarion.=20:daarion.space"}, /* nobody's id is blank */
        {"@daarion.:daarion.space", "@daarion.:daarion.space"},
        {"@daarion_0123abcd:daarion.space", "@daarion_0123abcd:daarion.space"},
        {"@a/b*c>d.e:daarion.space", "@a/b*c>d.e:daarion.space"},
        {"@\xD0\x86\xD0\xB2\xD0\xB0\xD0\xBD:daarion.space",
         "@\xD0\x86\xD0\xB2\xD0\xB0\xD0\xBD:daarion.space"},
    };
    struct matrix_rig *rig = *state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf mxid = {0};
        say(rig, rows[i].mxid, "online");
        if (dc_presence_user_get(rig->a.core, dc_slice_z(rows[i].id)) != DC_PRESENCE_ONLINE) {
            fail_msg("%s is not %s", rows[i].mxid, rows[i].id);
        }
        assert_true(dc_agg_matrix_user(&rig->a, dc_slice_z(rows[i].id), &mxid));
        assert_true(dc_slice_eq(dc_strbuf_slice(&mxid), dc_slice_z(rows[i].mxid)));
        dc_strbuf_free(&mxid);
        say(rig, rows[i].mxid, "offline");
        assert_int_equal(rig->ms->people.count, 0);
    }
    struct dc_strbuf mxid = {0};
    assert_false(dc_agg_matrix_user(&rig->a, DC_S("u_never_seen"), &mxid));
    dc_strbuf_free(&mxid);
}

/* --- the look at the whole --- */

static void no_more(struct dc_ms *ms)
{
    (void)ms;
}

static void whole(struct matrix_rig *rig, const char *text_z)
{
    struct dc_error err = {0};
    json_t *json = json_of(text_z);
    const struct dc_matrix_answer answer = {.json = json};
    assert_int_equal(dc_ms_apply_whole(rig->ms, &answer, rig_applied, &err), DC_OK);
    json_decref(json);
    dc_ms_people_whole(rig->ms, no_more);
    (void)work_off(rig);
}

static void who_is_not_named_any_more_is_offline_unless_heard_since(void **state)
{
    struct matrix_rig *rig = *state;
    struct dc_presence *core = rig->a.core;
    map_rooms(rig, "room_plaza|plaza|" PLAZA ";room_news|news|" NEWS);
    struct dc_ms_room *news = dc_ms_room_find(rig->ms, DC_S(NEWS));
    dc_ms_room_self(dc_ms_room_find(rig->ms, DC_S(PLAZA)), true);
    dc_ms_member_set(news, DC_S("@shielded:x"), true, DC_SLICE_NULL);
    say(rig, "@gone:x", "online");
    say(rig, "@stays:x", "online");
    say(rig, "@shielded:x", "online");
    rig->ms->whole_since = rig->ms->heard + 1;
    say(rig, "@late:x", "online");       /* after the question */
    say(rig, "@stays:x", "unavailable"); /* newer than the answer */
    whole(rig,
          PRESENCE("{\"type\":\"m.presence\",\"sender\":\"@stays:x\",\"content\":{\"presence\":"
                   "\"online\"}},{\"type\":\"m.presence\",\"sender\":\"@new:x\",\"content\":{"
                   "\"presence\":\"online\"}}"));
    assert_int_equal(dc_presence_user_get(core, DC_S("@gone:x")), DC_PRESENCE_OFFLINE);
    assert_int_equal(dc_presence_user_get(core, DC_S("@late:x")), DC_PRESENCE_ONLINE);
    assert_int_equal(dc_presence_user_get(core, DC_S("@stays:x")), DC_PRESENCE_AWAY);
    assert_int_equal(dc_presence_user_get(core, DC_S("@new:x")), DC_PRESENCE_ONLINE);
    /* In a room that is out of reach: nobody can tell. */
    assert_int_equal(dc_presence_user_get(core, DC_S("@shielded:x")), DC_PRESENCE_ONLINE);
}

static void somebody_is_called_as_he_calls_himself(void **state)
{
    struct matrix_rig *rig = *state;
    map_rooms(rig, "room_plaza|plaza|" PLAZA);
    const struct dc_presence_user_state resident = {.user_id = DC_S("u_1"), .username = DC_S("Її")};
    const struct dc_presence_user_state iva = {.user_id = DC_S("@iva:x")};
    assert_true(dc_slice_eq(dc_agg_name(&rig->a, &resident), DC_S("Її")));
    assert_true(dc_slice_eq(dc_agg_name(&rig->a, &iva), DC_S("iva")));
    static const char *const names[] = {"Іва", "Іва Друга", "Іва\xE2\x80\xAE", " Іва "};
    static const char *const called[] = {"Іва", "Іва Друга", "iva", "Іва"};
    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        char text[600];
        snprintf(text, sizeof(text),
                 MEMBER("\"@iva:x\"", "{\"membership\":\"join\",\"displayname\":\"%s\"}"),
                 names[i]);
        json_t *json = json_of(text);
        apply(rig, json);
        json_decref(json);
        assert_true(dc_slice_eq(dc_agg_name(&rig->a, &iva), dc_slice_z(called[i])));
    }
    json_t *json = json_of(MEMBER("\"@iva:x\"", "{\"membership\":\"join\",\"displayname\":7}"));
    apply(rig, json);
    json_decref(json);
    assert_true(dc_slice_eq(dc_agg_name(&rig->a, &iva), DC_S("iva")));
}

static void the_mode_is_learnt_from_evidence(void **state)
{
    struct matrix_rig *rig = *state;
    map_rooms(rig, "room_plaza|plaza|" PLAZA);
    struct dc_ms_room *plaza = dc_ms_room_find(rig->ms, DC_S(PLAZA));
    dc_ms_room_self(plaza, true);
    dc_ms_member_set(plaza, DC_S("@alice:x"), true, DC_SLICE_NULL);
    rig->ms->has_picture = true;
    assert_string_equal(dc_ms_mode_word(rig->ms->mode), "unknown");
    say(rig, "@alice:x", "online");
    assert_string_equal(dc_ms_mode_word(rig->ms->mode), "rooms");
    /* Nobody will tell of her any more. */
    dc_ms_member_set(plaza, DC_S("@alice:x"), false, DC_SLICE_NULL);
    assert_int_equal(dc_presence_totals_get(rig->a.core).online, 0);
    say(rig, "@nowhere:x", "online");
    assert_string_equal(dc_ms_mode_word(rig->ms->mode), "router");
    assert_int_equal(dc_presence_totals_get(rig->a.core).online, 1); /* in the city's total */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_recorded_day_ends_in_the_right_counts),
        TEST(the_daemon_joins_is_kicked_and_comes_back),
        TEST(every_step_of_the_filter_that_is_used),
        TEST(a_list_of_members_and_the_changes_around_it_converge),
        TEST(an_answer_from_the_cache_is_mended_by_the_next),
        TEST(typing_that_nobody_ends_ends_by_itself),
        TEST(every_recorded_answer_is_taken),
        TEST(odd_entries_are_left_out_and_counted),
        TEST(what_is_none_of_our_business_changes_nothing),
        TEST(an_answer_without_a_place_to_go_on_from_is_refused_whole),
        TEST(a_residents_account_is_the_resident),
        TEST(who_is_not_named_any_more_is_offline_unless_heard_since),
        TEST(somebody_is_called_as_he_calls_himself),
        TEST(the_mode_is_learnt_from_evidence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
