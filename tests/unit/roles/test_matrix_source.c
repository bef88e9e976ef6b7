/* The Matrix source against a homeserver, and a city, that do what a test tells them to. */
#include "matrix_rig.h"

#define ALICE "@alice:daarion.space"
#define BOB   "@bob:daarion.space"
#define PLAZA "!plaza:daarion.space"
#define NEWS  "!news:daarion.space"

#define ONLINE(who)                                                                                \
    "{\"type\":\"m.presence\",\"sender\":\"" who "\",\"content\":{\"presence\":\"online\"}}"
#define OFFLINE(who)                                                                               \
    "{\"type\":\"m.presence\",\"sender\":\"" who "\",\"content\":{\"presence\":\"offline\"}}"
#define PRESENCE(inner) "\"presence\":{\"events\":[" inner "]}"
#define BOTH_ROOMS                                                                                 \
    "[{\"id\":\"room_plaza\",\"slug\":\"plaza\",\"matrix_room_id\":\"" PLAZA "\"},"                \
    "{\"id\":\"room_news\",\"slug\":\"news\",\"matrix_room_id\":\"" NEWS "\"},"                    \
    "{\"id\":\"room_own\",\"slug\":\"own\",\"matrix_room_id\":null}]"

struct say {
    int http; /* 0: the next of its kind is held */
    const char *body;
};

struct world {
    struct matrix_rig rig;
    struct say city, whoami, initial, joined_rooms, join, plaza, news, owners;
    struct say polls[8]; /* in turn; then they are held */
    size_t n_polls, polled;
    size_t n_initial, n_joins, n_members, n_city, n_owners;
    struct dc_http_request *held; /* a poll */
    struct dc_strbuf asked;       /* "path?query\n" of all but held polls */
    struct dc_strbuf question;    /* whose accounts it wants to know */
    struct dc_strbuf status_msg;
    bool has_presence;
    size_t n_written;
    char mxid[DC_MATRIX_ID_MAX_BYTES + 1];
    char text[5][1024]; /* answers that are written by a test */
    char url[64];
};

static const char not_yours[] = "{\"errcode\":\"M_FORBIDDEN\",\"error\":\"no\"}";

static void on_gone(void *data)
{
    struct world *w = data;
    dc_http_reply(w->held, 200, NULL, DC_SLICE_NULL);
    w->held = NULL;
}

static void answer(struct dc_http_request *r, const struct say *say)
{
    dc_http_reply(r, say->http, "application/json", dc_slice_z(say->body));
}

static void poll_asked(struct world *w, struct dc_http_request *r)
{
    if (w->polled < w->n_polls) {
        answer(r, &w->polls[w->polled++]);
    } else {
        assert_null(w->held);
        w->held = r;
        dc_http_on_gone(r, on_gone, w);
    }
}

static void sync_asked(struct world *w, struct dc_http_request *r)
{
    if (strstr(w->asked.ptr + w->asked.len - dc_http_query(r).len - 1, "since=") != NULL) {
        poll_asked(w, r);
    } else {
        w->n_initial++;
        answer(r, &w->initial);
    }
}

/* The daemon's own, as a homeserver with presence keeps it, and one without does not. */
static void presence_asked(struct world *w, struct dc_http_request *r)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw jw;
    if (dc_http_method(r) == DC_PUT) {
        json_t *json = NULL;
        struct dc_slice body = dc_http_body(r);
        assert_int_equal(dc_json_parse(body, &json, NULL), DC_OK);
        assert_true(dc_slice_eq(dc_json_text(json, "presence"), DC_S("offline")));
        w->n_written++;
        if (w->has_presence) {
            dc_strbuf_clear(&w->status_msg);
            dc_strbuf_add(&w->status_msg, dc_json_text(json, "status_msg"));
        }
        json_decref(json);
    }
    dc_jsonw_init(&jw, &out);
    dc_jsonw_object(&jw);
    dc_jsonw_key_text(&jw, "presence", DC_S("offline"));
    if (w->status_msg.len > 0) {
        dc_jsonw_key_text(&jw, "status_msg", dc_strbuf_slice(&w->status_msg));
    }
    dc_jsonw_end(&jw);
    dc_http_reply_json(r, 200, &out);
}

static void asked(void *ctx, struct dc_http_request *r)
{
    struct world *w = ctx;
    struct dc_slice path = dc_http_path(r);
    size_t from = w->asked.len;
    dc_strbuf_printf(&w->asked, "%.*s?%.*s", DC_SLICE_ARG(path), DC_SLICE_ARG(dc_http_query(r)));
    dc_strbuf_add_char(&w->asked, '\n');
    dc_strbuf_add_char(&w->asked, '\0');
    w->asked.len--;
    if (dc_slice_ends(path, DC_S("/internal/city/rooms"))) {
        w->n_city++;
        answer(r, &w->city);
        return;
    }
    if (dc_slice_ends(path, DC_S("/internal/matrix/users/owners"))) {
        w->n_owners++;
        dc_strbuf_clear(&w->question);
        dc_strbuf_add(&w->question, dc_http_body(r));
        dc_strbuf_add_char(&w->question, '\0');
        answer(r, &w->owners);
        return;
    }
    assert_true(dc_slice_eq(dc_http_header(r, DC_S("authorization")), DC_S("Bearer daemon-token")));
    if (dc_slice_ends(path, DC_S("/whoami"))) {
        answer(r, &w->whoami);
    } else if (dc_slice_ends(path, DC_S("/sync"))) {
        sync_asked(w, r);
    } else if (dc_slice_ends(path, DC_S("/status"))) {
        presence_asked(w, r);
    } else if (dc_slice_ends(path, DC_S("/joined_rooms"))) {
        answer(r, &w->joined_rooms);
    } else if (dc_slice_ends(path, DC_S("/joined_members"))) {
        w->n_members++;
        answer(r, strstr(w->asked.ptr + from, "plaza") != NULL ? &w->plaza : &w->news);
    } else {
        w->n_joins++;
        answer(r, &w->join);
    }
}

/* What a held poll gets. */
static void tell(struct world *w, int http, const char *body)
{
    RUN_UNTIL(&w->rig.f, w->held != NULL);
    struct dc_http_request *r = w->held;
    w->held = NULL;
    dc_http_reply(r, http, "application/json", dc_slice_z(body));
}

static int setup(void **state)
{
    static const struct dc_route routes[] = {{DC_GET | DC_POST | DC_PUT, "/{path...}", asked}};
    struct world *w = dc_calloc(1, sizeof(*w));
    fixture_open(&w->rig.f);
    dc_router_add(w->rig.f.router, "", routes, 1, w);
    fixture_listen(&w->rig.f, NULL);
    snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u",
             (unsigned)dc_server_port(w->rig.f.server));
    w->city = (struct say){200, BOTH_ROOMS};
    w->whoami = (struct say){200, "{\"user_id\":\"" DAEMON "\"}"};
    w->initial = (struct say){200, "{\"next_batch\":\"s0\"," PRESENCE(ONLINE(ALICE)) "}"};
    w->joined_rooms = (struct say){200, "{\"joined_rooms\":[\"" PLAZA "\"]}"};
    w->join = (struct say){200, "{\"room_id\":\"" NEWS "\"}"};
    w->plaza =
        (struct say){200, "{\"joined\":{\"" ALICE "\":{},\"" BOB "\":{},\"" DAEMON "\":{}}}"};
    w->news = (struct say){200, "{\"joined\":{\"" BOB "\":{},\"nonsense\":{}}}"};
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    matrix_rig_stop(&w->rig);
    fixture_close(&w->rig.f);
    dc_strbuf_free(&w->asked);
    dc_strbuf_free(&w->question);
    dc_strbuf_free(&w->status_msg);
    dc_free(w);
    return 0;
}

static enum dc_source_state state_of(const struct world *w)
{
    int64_t age_ms = -1;
    enum dc_source_state state = dc_source_matrix.state(w->rig.ms, &age_ms);
    assert_true(age_ms >= 0);
    return state;
}

static void settle(struct world *w)
{
    RUN_UNTIL(&w->rig.f, w->held != NULL && state_of(w) == DC_SOURCE_FRESH);
}

/* In this order; the rest may stand in between. */
static void assert_asked(const struct world *w, const char *const *wanted, size_t n)
{
    const char *at = w->asked.ptr;
    for (size_t i = 0; i < n; i++) {
        at = strstr(at, wanted[i]);
        if (at == NULL) {
            fail_msg("not asked (in this order): %s\n%s", wanted[i], w->asked.ptr);
        }
    }
}

static uint32_t online_in(const struct world *w, const char *room_id_z)
{
    return room_state(&w->rig, room_id_z).online_count;
}

/* --- the start --- */

static void it_starts_with_a_light_answer_the_members_and_the_same_place(void **state)
{
    static const char *const wanted[] = {
        "/internal/city/rooms?", "/account/whoami?", "/sync?timeout=",  "/joined_rooms?",
        "/sync?timeout=30",      "since=s0",         "m.room.tombstone"};
    struct world *w = *state;
    matrix_rig_start(&w->rig, w->url);
    assert_int_equal(state_of(w), DC_SOURCE_STALE);
    settle(w);
    assert_asked(w, wanted, DC_ARRAY_LEN(wanted));
    assert_int_equal(w->n_joins, 1); /* news; it was in the other */
    assert_int_equal(w->n_members, 2);
    assert_int_equal(online_in(w, "room_plaza"), 1);
    assert_int_equal(members_of(&w->rig, PLAZA), 2);
    assert_int_equal(members_of(&w->rig, NEWS), 1);
    assert_int_equal(w->rig.ms->n_unknown, 0);
    assert_int_equal(w->rig.ms->left_out->value, 1); /* nonsense */
    for (const char *at = w->asked.ptr; (at = strstr(at, "/sync?")) != NULL; at++) {
        assert_non_null(strstr(at, "set_presence=offline"));
    }
    tell(w, 200, "{\"next_batch\":\"s1\"," PRESENCE(ONLINE(BOB)) "}");
    RUN_UNTIL(&w->rig.f, online_in(w, "room_news") == 1);
    assert_int_equal(online_in(w, "room_plaza"), 2);
}

static void without_the_city_it_waits_and_later_keeps_the_mapping_of_before(void **state)
{
    struct world *w = *state;
    w->city = (struct say){503, "{\"error\":\"unavailable\",\"detail\":\"starting\"}"};
    matrix_rig_start(&w->rig, w->url);
    RUN_UNTIL(&w->rig.f, w->n_city >= 2);
    assert_int_equal(w->n_initial, 0);
    w->city = (struct say){200, BOTH_ROOMS};
    settle(w);
    w->city = (struct say){200, "{\"no\":\"list\"}"};
    size_t before = w->n_city;
    dc_ms_mapping_want(w->rig.ms);
    RUN_UNTIL(&w->rig.f, w->n_city > before + 1);
    assert_int_equal(w->rig.ms->rooms.count, 2);
    assert_int_equal(online_in(w, "room_plaza"), 1);
    w->city =
        (struct say){200, "[{\"id\":\"room_plaza\",\"slug\":\"plaza\",\"matrix_room_id\":\"" PLAZA
                          "\"},{\"id\":7},{\"id\":\"x\",\"slug\":\"!\",\"matrix_room_id\":\"!x\"},"
                          "{\"id\":\"y\",\"slug\":\"y\",\"matrix_room_id\":\"no id\"},"
                          "{\"id\":\"z\",\"slug\":\"z\",\"matrix_room_id\":\"" PLAZA "\"},7]"};
    dc_ms_mapping_want(w->rig.ms);
    RUN_UNTIL(&w->rig.f, w->rig.ms->rooms.count == 1);
    assert_int_equal(online_in(w, "room_plaza"), 1);
}

static void rooms_that_cannot_be_joined_hold_up_nobody(void **state)
{
    struct world *w = *state;
    w->join = (struct say){403, not_yours};
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    assert_int_equal(w->rig.ms->n_unknown, 1);
    assert_int_equal(online_in(w, "room_plaza"), 1);
    size_t before = w->n_joins;
    w->join = (struct say){200, "{\"room_id\":\"" NEWS "\"}"};
    RUN_UNTIL(&w->rig.f, w->n_joins > before && w->rig.ms->n_unknown == 0);
    RUN_UNTIL(&w->rig.f, members_of(&w->rig, NEWS) == 1);
}

static void a_limit_of_joins_is_kept_to(void **state)
{
    struct world *w = *state;
    w->join = (struct say){429, "{\"errcode\":\"M_LIMIT_EXCEEDED\",\"retry_after_ms\":300}"};
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    assert_int_equal(w->n_joins, 1);
    assert_int_equal(w->rig.ms->n_unknown, 1);
    int64_t from_ms = dc_ms_now_ms(w->rig.ms);
    w->join = (struct say){200, "{\"room_id\":\"" NEWS "\"}"};
    RUN_UNTIL(&w->rig.f, w->rig.ms->n_unknown == 0);
    assert_true(dc_ms_now_ms(w->rig.ms) - from_ms >= 200);
    assert_int_equal(w->n_joins, 2);
}

/* --- accounts that do not say whose they are --- */

/* 64 letters of two bytes each: encoded three times as long. */
#define LETTERS8 "\xd0\xb6\xd0\xb6\xd0\xb6\xd0\xb6\xd0\xb6\xd0\xb6\xd0\xb6\xd0\xb6"
#define LONG_ID  LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8

/* Somebody of that id is in the plaza and online; returns his Matrix id. */
static const char *let_in_the_long_one(struct world *w)
{
    struct dc_strbuf mxid = {0};
    dc_matrix_user_id(DC_S(LONG_ID), DC_S("daarion.space"), &mxid);
    assert_true(dc_strbuf_ok(&mxid));
    snprintf(w->mxid, sizeof(w->mxid), "%.*s", DC_SLICE_ARG(dc_strbuf_slice(&mxid)));
    dc_strbuf_free(&mxid);
    snprintf(w->text[1], sizeof(w->text[1]), "{\"joined\":{\"" ALICE "\":{},\"%s\":{}}}", w->mxid);
    snprintf(w->text[2], sizeof(w->text[2]),
             "{\"next_batch\":\"s0\"," PRESENCE(ONLINE(ALICE) "," ONLINE("%s")) "}", w->mxid);
    snprintf(w->text[3], sizeof(w->text[3]),
             "{\"owners\":[{\"matrix_user_id\":\"%s\",\"user_id\":\"" LONG_ID "\"}]}", w->mxid);
    w->plaza = (struct say){200, w->text[1]};
    w->initial = (struct say){200, w->text[2]};
    w->rig.settings.matrix_gateway_url = w->url;
    return w->mxid;
}

static enum dc_presence_status status_of(const struct world *w, const char *user_id_z)
{
    return dc_presence_user_get(w->rig.a.core, dc_slice_z(user_id_z));
}

static void nobody_is_counted_under_a_name_that_may_not_be_his(void **state)
{
    struct world *w = *state;
    struct dc_presence_now now = {dc_loop_now(w->rig.f.loop), dc_utc_now()};
    const char *mxid = let_in_the_long_one(w);
    w->owners = (struct say){503, "{\"error\":\"unavailable\",\"detail\":\"starting\"}"};
    matrix_rig_start(&w->rig, w->url);
    settle(w); /* it holds up nothing */
    RUN_UNTIL(&w->rig.f, w->n_owners >= 2);
    assert_non_null(strstr(w->question.ptr, mxid));
    assert_int_equal(members_of(&w->rig, PLAZA), 2);
    assert_int_equal(online_in(w, "room_plaza"), 1); /* Alice */
    assert_int_equal(status_of(w, mxid), DC_PRESENCE_OFFLINE);
    assert_int_equal(w->rig.ms->owners.n_unknown, 1);
    /* He is here in the browser all the time. */
    assert_int_equal(dc_presence_session_beat(w->rig.a.core, DC_S("s"), DC_S(LONG_ID),
                                              DC_SLICE_NULL, DC_PRESENCE_ONLINE, now),
                     DC_OK);
    assert_int_equal(dc_presence_session_join(w->rig.a.core, DC_S("s"), DC_S("room_plaza"), now),
                     DC_OK);
    assert_int_equal(online_in(w, "room_plaza"), 2);
    w->owners = (struct say){200, w->text[3]};
    RUN_UNTIL(&w->rig.f, w->rig.ms->owners.n_unknown == 0);
    assert_int_equal(online_in(w, "room_plaza"), 2);
    assert_int_equal(status_of(w, mxid), DC_PRESENCE_OFFLINE);
    assert_int_equal(dc_presence_totals_get(w->rig.a.core).online, 2);
    /* The browser goes: the other client is his too. */
    dc_presence_session_close(w->rig.a.core, DC_S("s"), true, now);
    assert_int_equal(online_in(w, "room_plaza"), 2);
    assert_int_equal(status_of(w, LONG_ID), DC_PRESENCE_ONLINE);
    snprintf(w->text[4], sizeof(w->text[4]),
             "{\"next_batch\":\"s1\",\"rooms\":{\"join\":{\"" PLAZA "\":{\"ephemeral\":{"
             "\"events\":[{\"type\":\"m.typing\",\"content\":{\"user_ids\":[\"%s\"]}}]}}}}}",
             mxid);
    tell(w, 200, w->text[4]);
    RUN_UNTIL(&w->rig.f, dc_presence_is_typing(w->rig.a.core, DC_S(LONG_ID), DC_S("room_plaza")));
    /* He goes and comes back: nobody is asked twice. */
    size_t asked_before = w->n_owners;
    struct dc_ms_room *plaza = dc_ms_room_find(w->rig.ms, DC_S(PLAZA));
    const struct dc_matrix_presence gone = {
        .user_id = dc_slice_z(mxid), .presence = DC_S("offline"), .last_active_ago_ms = -1};
    dc_ms_presence(w->rig.ms, &gone);
    dc_ms_member_set(plaza, dc_slice_z(mxid), false, DC_SLICE_NULL);
    assert_null(dc_ms_person_find(w->rig.ms, dc_slice_z(mxid)));
    dc_ms_member_set(plaza, dc_slice_z(mxid), true, DC_SLICE_NULL);
    assert_true(dc_presence_is_member(w->rig.a.core, DC_S(LONG_ID), DC_S("room_plaza")));
    assert_int_equal(w->n_owners, asked_before);
}

static void a_name_that_is_nobodys_is_a_person_of_its_own_until_it_is_somebodys(void **state)
{
    struct world *w = *state;
    const char *mxid = let_in_the_long_one(w);
    w->owners =
        (struct say){200, "{\"owners\":[{\"matrix_user_id\":\"@x:y\",\"user_id\":\"x\"},7]}"};
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    RUN_UNTIL(&w->rig.f, w->n_owners == 1 && w->rig.ms->owners.n_unknown == 0);
    assert_int_equal(status_of(w, mxid), DC_PRESENCE_ONLINE);
    assert_int_equal(online_in(w, "room_plaza"), 2);
    /* Whose hash it is not cannot be his. */
    snprintf(w->text[4], sizeof(w->text[4]),
             "{\"owners\":[{\"matrix_user_id\":\"%s\",\"user_id\":\"somebody\"}]}", mxid);
    for (size_t i = 0; i < 2; i++) {
        w->owners = (struct say){200, i == 0 ? w->text[4] : w->text[3]};
        dc_ms_owners_doubt(w->rig.ms, INT64_MAX);
        RUN_UNTIL(&w->rig.f, w->n_owners == i + 2 && dc_list_is_empty(&w->rig.ms->owners.asked));
        assert_int_equal(status_of(w, mxid), i == 0 ? DC_PRESENCE_ONLINE : DC_PRESENCE_OFFLINE);
        assert_int_equal(status_of(w, LONG_ID), i == 0 ? DC_PRESENCE_OFFLINE : DC_PRESENCE_ONLINE);
        assert_int_equal(online_in(w, "room_plaza"), 2);
        assert_int_equal(dc_presence_totals_get(w->rig.a.core).online, 2);
    }
    assert_false(dc_presence_is_member(w->rig.a.core, dc_slice_z(mxid), DC_S("room_plaza")));
    assert_true(dc_presence_is_member(w->rig.a.core, DC_S(LONG_ID), DC_S("room_plaza")));
}

static void without_a_gateway_he_is_whom_the_homeserver_calls_him(void **state)
{
    struct world *w = *state;
    const char *mxid = let_in_the_long_one(w);
    w->rig.settings.matrix_gateway_url = NULL;
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    assert_int_equal(online_in(w, "room_plaza"), 2);
    assert_int_equal(status_of(w, mxid), DC_PRESENCE_ONLINE);
    assert_int_equal(w->n_owners, 0);
}

/* --- a homeserver without presence --- */

static const char *mode_of(const struct world *w)
{
    static char mode[32];
    struct dc_strbuf out = {0};
    struct dc_jsonw jw;
    json_t *json = NULL;
    dc_jsonw_init(&jw, &out);
    dc_jsonw_object(&jw);
    dc_agg_matrix_write_status(&w->rig.a, &jw);
    dc_jsonw_end(&jw);
    assert_int_equal(dc_json_parse(dc_strbuf_slice(&out), &json, NULL), DC_OK);
    snprintf(mode, sizeof(mode), "%s", json_string_value(json_object_get(json, "presence_mode")));
    json_decref(json);
    dc_strbuf_free(&out);
    return mode;
}

/* All that is left of a probe, without its pauses. */
static void finish_probe(struct world *w)
{
    const struct dc_ms_probe *probe = &w->rig.ms->probe;
    while (probe->is_wanted || probe->is_asking) {
        w->rig.ms->probe.due_ms = 0;
        dc_ms_arm(w->rig.ms);
        RUN_UNTIL(&w->rig.f, probe->is_asking || !probe->is_wanted);
        RUN_UNTIL(&w->rig.f, !probe->is_asking);
    }
}

static void that_presence_is_off_is_found_out_and_that_it_is_on_again(void **state)
{
    struct world *w = *state;
    w->initial = (struct say){200, "{\"next_batch\":\"s0\"}"};
    dc_strbuf_add(&w->status_msg, DC_S("listening to the city, 1000")); /* from better days */
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    assert_string_equal(mode_of(w), "unknown");
    finish_probe(w);
    assert_string_equal(mode_of(w), "off");
    assert_int_equal(w->n_written, 3);
    assert_int_equal(state_of(w), DC_SOURCE_FRESH); /* memberships are heard */
    /* It is looked at again with the whole, and somebody's presence is proof. */
    w->rig.ms->whole_due_ms = 0;
    dc_ms_arm(w->rig.ms);
    RUN_UNTIL(&w->rig.f, w->rig.ms->probe.is_wanted);
    finish_probe(w);
    assert_string_equal(mode_of(w), "off");
    tell(w, 200, "{\"next_batch\":\"s01\"," PRESENCE(OFFLINE(BOB)) "}"); /* as when he joins */
    RUN_UNTIL(&w->rig.f, w->held != NULL);
    assert_string_equal(mode_of(w), "off");
    tell(w, 200, "{\"next_batch\":\"s1\"," PRESENCE(ONLINE(BOB)) "}");
    RUN_UNTIL(&w->rig.f, online_in(w, "room_news") == 1);
    assert_string_equal(mode_of(w), "rooms");
}

static void in_a_city_where_nobody_is_presence_is_not_called_off(void **state)
{
    struct world *w = *state;
    w->initial = (struct say){200, "{\"next_batch\":\"s0\"}"};
    w->has_presence = true;
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    finish_probe(w);
    assert_string_equal(mode_of(w), "unknown");
    assert_int_equal(w->n_written, 2);
    assert_int_equal(w->status_msg.len, 0); /* the line is gone again */
}

static void whoever_hears_of_people_asks_nothing(void **state)
{
    struct world *w = *state;
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    assert_string_equal(mode_of(w), "rooms");
    assert_false(w->rig.ms->probe.is_wanted);
    assert_int_equal(w->n_written, 0);
}

/* --- what goes wrong --- */

static void a_refused_token_and_a_strangers_are_down_until_they_are_right(void **state)
{
    struct world *w = *state;
    w->whoami = (struct say){401, "{\"errcode\":\"M_UNKNOWN_TOKEN\",\"error\":\"x\"}"};
    matrix_rig_start(&w->rig, w->url);
    RUN_UNTIL(&w->rig.f, state_of(w) == DC_SOURCE_DOWN);
    assert_true(w->rig.ms->reason.len > 0);
    w->whoami = (struct say){200, "{\"user_id\":\"@mallory:daarion.space\"}"};
    RUN_UNTIL(&w->rig.f, w->rig.ms->reason.ptr != NULL &&
                             strstr(w->rig.ms->reason.ptr, "MATRIX_USER_ID") != NULL);
    assert_int_equal(state_of(w), DC_SOURCE_DOWN);
    assert_int_equal(w->n_initial, 0);
    w->whoami = (struct say){200, "{\"user_id\":\"" DAEMON "\"}"};
    settle(w);
    /* And once it runs. */
    tell(w, 401, "{\"errcode\":\"M_UNKNOWN_TOKEN\",\"error\":\"x\"}");
    RUN_UNTIL(&w->rig.f, state_of(w) == DC_SOURCE_DOWN);
    assert_int_equal(online_in(w, "room_plaza"), 1);
    tell(w, 200, "{\"next_batch\":\"s1\"}");
    settle(w);
}

static void a_place_that_is_not_known_any_more_is_a_new_start_and_nobody_goes(void **state)
{
    struct world *w = *state;
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    uint64_t poll_ms = w->rig.ms->poll_ms;
    w->initial = (struct say){200, "{\"next_batch\":\"t0\"," PRESENCE(ONLINE(BOB)) "}"};
    w->joined_rooms = (struct say){200, "{\"joined_rooms\":[\"" PLAZA "\",\"" NEWS "\"]}"};
    w->plaza = (struct say){200, "{\"joined\":{\"" BOB "\":{}}}"};
    tell(w, 400, "{\"errcode\":\"M_UNKNOWN\",\"error\":\"Invalid stream token\"}");
    RUN_UNTIL(&w->rig.f, w->n_initial == 2);
    assert_true(online_in(w, "room_plaza") >= 1); /* not emptied for it */
    RUN_UNTIL(&w->rig.f, w->held != NULL);
    assert_non_null(strstr(w->asked.ptr, "since=t0"));
    assert_int_equal(members_of(&w->rig, PLAZA), 1);
    assert_int_equal(online_in(w, "room_plaza"), 1); /* bob */
    assert_int_equal(dc_presence_user_get(w->rig.a.core, DC_S(ALICE)), DC_PRESENCE_OFFLINE);
    assert_true(poll_ms >= 30000 && w->rig.ms->poll_ms >= 30000);
}

static void answers_that_make_no_sense_are_asked_for_again_from_the_same_place(void **state)
{
    static const struct say odd[] = {{500, "{\"errcode\":\"M_UNKNOWN\"}"},
                                     {200, "<html>"},
                                     {200, "{\"presence\":{}}"},
                                     {502, "bad gateway"}};
    struct world *w = *state;
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    for (size_t i = 0; i < DC_ARRAY_LEN(odd); i++) {
        tell(w, odd[i].http, odd[i].body);
        RUN_UNTIL(&w->rig.f, state_of(w) != DC_SOURCE_FRESH);
        assert_int_equal(online_in(w, "room_plaza"), 1);
        tell(w, 200, "{\"next_batch\":\"s0\"}");
        settle(w);
    }
    assert_int_equal(w->n_initial, 1);
}

static void a_homeserver_that_does_not_hold_polls_is_not_asked_in_a_race(void **state)
{
    struct world *w = *state;
    w->n_polls = DC_ARRAY_LEN(w->polls);
    for (size_t i = 0; i < w->n_polls; i++) {
        w->polls[i] = (struct say){200, "{\"next_batch\":\"s0\"}"};
    }
    matrix_rig_start(&w->rig, w->url);
    RUN_UNTIL(&w->rig.f, w->polled == 4);
    assert_true(w->rig.ms->pause.attempt >= 3);
    /* It is only slower, not failing; and what is new resets it. */
    w->n_polls = 4;
    tell(w, 200, "{\"next_batch\":\"s1\"}");
    settle(w);
    assert_int_equal(w->rig.ms->pause.attempt, 0);
}

/* A place that gives an answer that cannot be read gives it again. */
static void after_some_unreadable_answers_it_starts_over(void **state)
{
    struct world *w = *state;
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    while (w->n_initial == 1) {
        tell(w, 200, "[]");
        RUN_UNTIL(&w->rig.f, w->held != NULL || w->n_initial == 2);
    }
    settle(w);
    assert_int_equal(online_in(w, "room_plaza"), 1);
}

/* --- the look at the whole --- */

static void what_was_lost_without_a_word_is_found(void **state)
{
    struct world *w = *state;
    w->rig.settings.matrix_resync_interval_ms = 1000;
    matrix_rig_start(&w->rig, w->url);
    settle(w);
    w->joined_rooms = (struct say){200, "{\"joined_rooms\":[\"" PLAZA "\",\"" NEWS "\"]}"};
    w->initial = (struct say){200, "{\"next_batch\":\"other\"," PRESENCE(ONLINE(BOB)) "}"};
    w->plaza = (struct say){200, "{\"joined\":{\"" ALICE "\":{}}}"};
    size_t before = w->n_members;
    RUN_UNTIL(&w->rig.f, w->n_initial >= 2 && w->n_members >= before + 2 && !w->rig.ms->is_looking);
    assert_int_equal(dc_presence_user_get(w->rig.a.core, DC_S(ALICE)), DC_PRESENCE_OFFLINE);
    assert_int_equal(dc_presence_user_get(w->rig.a.core, DC_S(BOB)), DC_PRESENCE_ONLINE);
    assert_int_equal(members_of(&w->rig, PLAZA), 1);
    assert_int_equal(online_in(w, "room_plaza"), 0);
    assert_int_equal(online_in(w, "room_news"), 1);
    /* The poll has gone on from its own place. */
    assert_null(strstr(w->asked.ptr, "since=other"));
    assert_int_equal(state_of(w), DC_SOURCE_FRESH);
}

/* --- settings --- */

static void settings_without_their_partners_are_named(void **state)
{
    static const struct {
        struct dc_settings settings;
        const char *named; /* NULL: fine */
        bool is_combined;
    } rows[] = {
        {{.city_service_url = "x"}, NULL, false},
        {{.synapse_url = "http://x"}, NULL, true}, /* `up`, for its rooms */
        {{.synapse_url = "http://x"}, "MATRIX_ACCESS_TOKEN", false},
        {{.matrix_access_token = "t"}, "SYNAPSE_URL", true},
        {{.matrix_user_id = "@d:x"}, "SYNAPSE_URL", true},
        {{.synapse_url = "http://x", .matrix_access_token = "t"}, "MATRIX_USER_ID", true},
        {{.synapse_url = "http://x", .matrix_access_token = "t", .matrix_user_id = "@d:x"},
         "CITY_SERVICE_INTERNAL_URL",
         false},
        {{.synapse_url = "http://x",
          .matrix_access_token = "t",
          .matrix_user_id = "@d:x",
          .matrix_server_name = "y"},
         "MATRIX_SERVER_NAME",
         true},
    };
    struct world *w = *state;
    matrix_rig_start(&w->rig, w->url);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_ctx ctx = w->rig.ctx;
        struct dc_aggregator a = {.ctx = &ctx, .is_stopping = true};
        struct dc_error err = {0};
        void *self = &a;
        ctx.settings = &rows[i].settings;
        ctx.is_combined = rows[i].is_combined;
        enum dc_status st = dc_source_matrix.start(&a, &self, &err);
        assert_null(self);
        if (rows[i].named == NULL
                ? st != DC_OK
                : st != DC_CONFIG || strstr(dc_error_text(&err), rows[i].named) == NULL) {
            fail_msg("row %zu: %s", i, dc_error_text(&err));
        }
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_starts_with_a_light_answer_the_members_and_the_same_place),
        TEST(without_the_city_it_waits_and_later_keeps_the_mapping_of_before),
        TEST(rooms_that_cannot_be_joined_hold_up_nobody),
        TEST(a_limit_of_joins_is_kept_to),
        TEST(a_refused_token_and_a_strangers_are_down_until_they_are_right),
        TEST(a_place_that_is_not_known_any_more_is_a_new_start_and_nobody_goes),
        TEST(answers_that_make_no_sense_are_asked_for_again_from_the_same_place),
        TEST(a_homeserver_that_does_not_hold_polls_is_not_asked_in_a_race),
        TEST(after_some_unreadable_answers_it_starts_over),
        TEST(what_was_lost_without_a_word_is_found),
        TEST(settings_without_their_partners_are_named),
        TEST(nobody_is_counted_under_a_name_that_may_not_be_his),
        TEST(a_name_that_is_nobodys_is_a_person_of_its_own_until_it_is_somebodys),
        TEST(without_a_gateway_he_is_whom_the_homeserver_calls_him),
        TEST(that_presence_is_off_is_found_out_and_that_it_is_on_again),
        TEST(in_a_city_where_nobody_is_presence_is_not_called_off),
        TEST(whoever_hears_of_people_asks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
