/* Presence on its whole way but the network: sessions, the bus, the aggregator, the gateway's view.
 */
#include "city_fixture.h"

#include "net/ws_codec.h"
#include "roles/city/people_priv.h"
#include "roles/presence_aggregator/aggregator.h"

/* --- looking --- */

struct names {
    size_t n;
    char text[512]; /* "user_id:status;" for each */
};

static void add_name(void *data, const struct dc_person *p)
{
    struct names *names = data;
    size_t len = strlen(names->text);
    snprintf(names->text + len, sizeof(names->text) - len, "%.*s:%.*s;", DC_SLICE_ARG(p->user_id),
             DC_SLICE_ARG(p->status));
    names->n++;
}

static void assert_people(const struct dc_city_room *room, const char *want)
{
    struct names names = {0};
    dc_people_visit_room(room, SIZE_MAX, add_name, &names);
    assert_string_equal(names.text, want);
}

static void assert_typing(const struct dc_city_room *room, const char *want)
{
    struct names names = {0};
    dc_people_visit_typing(room, SIZE_MAX, add_name, &names);
    assert_string_equal(names.text, want);
}

static void assert_counts(const struct dc_city_room *room, uint32_t want_online, uint32_t want_away)
{
    uint32_t online, away;
    dc_people_count_room(room, &online, &away);
    assert_int_equal(online, want_online);
    assert_int_equal(away, want_away);
}

static const struct dc_blob *snapshot_of(struct rig *r)
{
    uint64_t offset = 0;
    return dc_people_snapshot(r->city->people, &offset);
}

static const struct dc_blob *bulk_of(struct rig *r)
{
    uint64_t offset = 0;
    return dc_people_bulk_update(r->city->people, &offset);
}

/* The JSON inside a framed blob. */
static json_t *frame_json(const struct dc_blob *blob)
{
    struct dc_ws_decoder d;
    struct dc_ws_event e;
    uint16_t code;
    json_t *object = NULL;
    assert_non_null(blob);
    char *bytes = dc_alloc(blob->len);
    memcpy(bytes, blob->data, blob->len);
    struct dc_slice in = dc_slice_make(bytes, blob->len);
    dc_ws_decoder_init(&d, false);
    assert_int_equal(dc_ws_decode(&d, &in, blob->len, &e, &code), DC_WS_EVENT);
    assert_int_equal(dc_json_parse(e.payload, &object, NULL), DC_OK);
    dc_ws_decoder_free(&d);
    dc_free(bytes);
    return object;
}

static json_t *summary_json(struct rig *r)
{
    struct dc_strbuf out = {0};
    json_t *object = NULL;
    struct dc_topic *topic = dc_people_summary_topic(r->city->people);
    dc_people_write_summary(r->city->people, &out);
    dc_topic_write_cursor(topic, dc_topic_offset(topic), &out);
    assert_int_equal(dc_json_parse(dc_strbuf_slice(&out), &object, NULL), DC_OK);
    dc_strbuf_free(&out);
    return object;
}

static json_int_t number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* --- what the bus says besides --- */

struct heard {
    struct dc_bus_sub *sub;
    size_t n;
    char last[512];
    const char *needle; /* counts only payloads with it */
};

static void on_heard(void *data, const struct dc_bus_message *m)
{
    struct heard *h = data;
    if (h->needle == NULL ||
        memmem(m->payload.ptr, m->payload.len, h->needle, strlen(h->needle)) != NULL) {
        snprintf(h->last, sizeof(h->last), "%.*s", DC_SLICE_ARG(m->payload));
        h->n++;
    }
}

static void hear(struct rig *r, struct heard *h, const char *pattern, const char *needle)
{
    *h = (struct heard){.needle = needle};
    const struct dc_bus_sub_opts opts = {.pattern = dc_slice_z(pattern), .start = DC_BUS_NEW};
    assert_int_equal(dc_bus_subscribe(r->ctx.bus, &opts, on_heard, h, &h->sub, NULL), DC_OK);
}

/* Everything published before has been dealt with when this has: order is kept. */
static void barrier(struct rig *r)
{
    struct heard h;
    hear(r, &h, "test.barrier", NULL);
    for (int i = 0; i < 3; i++) { /* what came caused more, and that more again */
        size_t n = h.n;
        rig_publish(r, "test.barrier", "{}");
        RUN_UNTIL(r, h.n > n);
    }
    dc_bus_unsubscribe(h.sub);
}

/* --- tests --- */

static void who_joins_is_listed_and_counted_until_he_leaves(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct dc_session a, b;
    open_session(r, &a, "u_a");
    open_session(r, &b, "u_b");
    dc_session_join(r->city, &a, room);
    RUN_UNTIL(r, dc_people_is_member(room, DC_S("u_a")));
    dc_session_join(r->city, &b, room);
    RUN_UNTIL(r, room->people.online_count == 2);
    assert_people(room, "u_a:online;u_b:online;");
    assert_counts(room, 2, 0);
    assert_counts(rig_room(r, "general"), 0, 0);
    struct names one = {0};
    dc_people_visit_room(room, 1, add_name, &one);
    assert_string_equal(one.text, "u_a:online;"); /* longest present first */

    dc_session_leave(r->city, &a);
    dc_session_leave(r->city, &a); /* again is harmless */
    RUN_UNTIL(r, room->people.online_count == 1);
    assert_people(room, "u_b:online;");
    dc_session_deinit(r->city, &b);
    RUN_UNTIL(r, room->people.online_count == 0); /* after the grace */
    assert_people(room, "");
    dc_session_deinit(r->city, &a);
}

static void two_sessions_of_a_person_are_one_member(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct dc_session first, second, other;
    struct heard left;
    hear(r, &left, "city.member.*", "\"left\"");
    open_session(r, &first, "u_twin");
    open_session(r, &second, "u_twin");
    open_session(r, &other, "u_other");
    dc_session_join(r->city, &first, room);
    dc_session_join(r->city, &second, room);
    RUN_UNTIL(r, dc_people_is_member(room, DC_S("u_twin")));
    dc_session_leave(r->city, &first);
    dc_session_join(r->city, &other, room);
    RUN_UNTIL(r, dc_people_is_member(room, DC_S("u_other")));
    assert_people(room, "u_twin:online;u_other:online;");
    assert_int_equal(left.n, 0);
    dc_session_leave(r->city, &second);
    RUN_UNTIL(r, left.n == 1);
    barrier(r);
    assert_people(room, "u_other:online;");
    dc_session_deinit(r->city, &first);
    dc_session_deinit(r->city, &second);
    dc_session_deinit(r->city, &other);
    dc_bus_unsubscribe(left.sub);
}

static void a_room_socket_does_not_hide_that_its_person_is_away(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct dc_session in_room, presence;
    open_session(r, &in_room, "u_a");
    open_session(r, &presence, "u_a");
    dc_session_join(r->city, &in_room, room);
    RUN_UNTIL(r, dc_people_is_member(room, DC_S("u_a")));
    assert_people(room, "u_a:online;");
    dc_session_beat(r->city, &presence, DC_SESSION_AWAY);
    RUN_UNTIL(r, room->people.away_count == 1);
    assert_people(room, "u_a:away;");
    assert_counts(room, 1, 1);
    json_t *summary = summary_json(r);
    assert_int_equal(number(json_object_get(summary, "city"), "online_total"), 1);
    assert_int_equal(number(json_object_get(summary, "city"), "away_total"), 1);
    json_decref(summary);
    dc_session_beat(r->city, &presence, DC_SESSION_ONLINE);
    RUN_UNTIL(r, room->people.away_count == 0);
    assert_counts(room, 1, 0);
    dc_session_deinit(r->city, &in_room);
    dc_session_deinit(r->city, &presence);
}

static void typing_shows_and_ends_with_the_membership(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct dc_session s;
    open_session(r, &s, "u_a");
    dc_session_typing(r->city, &s, true); /* nowhere: nothing */
    dc_session_join(r->city, &s, room);
    dc_session_typing(r->city, &s, true);
    RUN_UNTIL(r, room->people.typing_count == 1);
    assert_typing(room, "u_a:online;");
    json_t *snapshot = frame_json(snapshot_of(r));
    json_t *entry = json_array_get(json_object_get(snapshot, "rooms"), 1);
    assert_true(dc_slice_eq(dc_json_text(entry, "room_slug"), DC_S("plaza")));
    assert_int_equal(json_array_size(json_object_get(entry, "typing_users")), 1);
    json_decref(snapshot);
    dc_session_leave(r->city, &s);
    RUN_UNTIL(r, room->people.online_count == 0);
    assert_typing(room, "");
    assert_int_equal(room->people.typing_count, 0);
    dc_session_deinit(r->city, &s);
}

static void first_frames_are_made_once_for_each_state(void **state)
{
    struct rig *r = *state;
    struct dc_session s;
    struct dc_city_people *people = r->city->people;
    const struct dc_blob *bulk = bulk_of(r);
    assert_ptr_equal(bulk_of(r), bulk);
    assert_ptr_equal(snapshot_of(r), snapshot_of(r));
    open_session(r, &s, "u_a");
    uint64_t before = dc_topic_offset(dc_people_users_topic(people));
    dc_session_beat(r->city, &s, DC_SESSION_ONLINE);
    RUN_UNTIL(r, dc_topic_offset(dc_people_users_topic(people)) > before);
    json_t *object = frame_json(bulk_of(r));
    const json_t *users = json_object_get(object, "users");
    assert_int_equal(json_array_size(users), 1);
    assert_true(dc_slice_eq(dc_json_text(json_array_get(users, 0), "user_id"), DC_S("u_a")));
    assert_true(json_is_false(json_object_get(object, "truncated")));
    assert_int_equal(number(object, "offset"), dc_topic_offset(dc_people_users_topic(people)));
    json_decref(object);
    /* Shown once more, as one more change; nobody knows this other one. */
    before = dc_topic_offset(dc_people_users_topic(people));
    dc_people_repeat(people, DC_S("u_a"));
    dc_people_repeat(people, DC_S("u_nobody"));
    assert_int_equal(dc_topic_offset(dc_people_users_topic(people)), before + 1);
    dc_session_deinit(r->city, &s);
    RUN_UNTIL(r, dc_topic_offset(dc_people_users_topic(people)) > before + 1);
    object = frame_json(bulk_of(r));
    assert_int_equal(json_array_size(json_object_get(object, "users")), 0);
    json_decref(object);
}

/* So many that first frames are not made anew in the same millisecond. */
static void add_rooms(struct rig *r, int n)
{
    for (int i = 0; i < n; i++) {
        char text[32];
        snprintf(text, sizeof(text), "many-%d", i);
        const struct dc_room_row row = {
            .id = dc_slice_z(text), .slug = dc_slice_z(text), .name = dc_slice_z(text)};
        assert_non_null(dc_city_rooms_put(r->city->rooms, &row));
    }
}

/* As the aggregator would say it. */
static void say_user(struct rig *r, const char *user_id)
{
    dc_people_set_user(r->city->people, dc_slice_z(user_id), DC_PRESENCE_ONLINE, 1);
}

static void say_count(struct rig *r, struct dc_city_room *room, int n)
{
    json_t *object = json_pack("{s:i}", "online_count", n);
    dc_people_take_counts(r->city->people, room, object, false, 1);
    json_decref(object);
}

static void in_a_burst_of_changes_many_clients_share_one_snapshot(void **state)
{
    struct rig *r = *state;
    struct dc_city_people *people = r->city->people;
    struct dc_city_room *room = rig_room(r, "plaza");
    uint64_t first_offset = 0;
    uint64_t offset = 0;
    add_rooms(r, 20000); /* one in 200 ms */
    barrier(r);
    const struct dc_blob *first = dc_people_snapshot(people, &first_offset);
    for (int n = 1; n <= 100; n++) { /* in one turn of the loop: no time passes */
        say_count(r, room, n);
        assert_ptr_equal(dc_people_snapshot(people, &offset), first);
        assert_int_equal(offset, first_offset);
    }
    /* It stands where the topic can go on from: nothing is missing behind it. */
    struct dc_topic *topic = dc_people_rooms_topic(people);
    assert_int_equal(dc_topic_offset(topic), first_offset + 100);
    assert_true(dc_topic_can_resume(topic, dc_topic_epoch(topic), first_offset));
    /* Later it is made again. */
    RUN_UNTIL(r, dc_people_snapshot(people, &offset) != first);
    assert_int_equal(offset, dc_topic_offset(topic));
    json_t *object = frame_json(dc_people_snapshot(people, &offset));
    json_t *plaza = json_array_get(json_object_get(object, "rooms"), 1);
    assert_int_equal(number(plaza, "online_count"), 100);
    json_decref(object);
}

static void a_first_frame_that_the_topic_cannot_continue_is_made_again(void **state)
{
    struct rig *r = *state;
    struct dc_city_people *people = r->city->people;
    struct dc_topic *topic = dc_people_users_topic(people);
    uint64_t first_offset = 0;
    uint64_t offset = 0;
    char user_id[16];
    for (int i = 0; i < 3000; i++) {
        snprintf(user_id, sizeof(user_id), "u_%d", i);
        say_user(r, user_id);
    }
    const struct dc_blob *first = dc_people_bulk_update(people, &first_offset);
    say_user(r, "u_one_more");
    assert_ptr_equal(dc_people_bulk_update(people, &offset), first);
    /* So many endings that the topic has forgotten the first of them. */
    for (int i = 0; i < 3000; i++) {
        snprintf(user_id, sizeof(user_id), "u_%d", i);
        dc_people_set_user(people, dc_slice_z(user_id), DC_PRESENCE_OFFLINE, 1);
    }
    assert_false(dc_topic_can_resume(topic, dc_topic_epoch(topic), first_offset));
    json_t *object = frame_json(dc_people_bulk_update(people, &offset));
    assert_int_equal(offset, dc_topic_offset(topic));
    assert_int_equal(json_array_size(json_object_get(object, "users")), 1);
    json_decref(object);
}

static void the_summary_is_made_once_for_a_burst_of_requests(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    add_rooms(r, 20000);
    barrier(r);
    json_t *before = summary_json(r);
    assert_int_equal(number(json_object_get(before, "city"), "rooms_online"), 0);
    json_decref(before);
    say_count(r, room, 5);
    before = summary_json(r); /* made a moment ago: it is still good enough */
    assert_int_equal(number(json_object_get(before, "city"), "rooms_online"), 0);
    json_decref(before);
    int64_t online = 0;
    while (online == 0) { /* and soon it is made again */
        uv_run(dc_loop_uv(r->ctx.loop), UV_RUN_ONCE);
        json_t *after = summary_json(r);
        online = number(json_object_get(after, "city"), "rooms_online");
        json_decref(after);
    }
    assert_int_equal(online, 1);
}

/* As without memory, while it is set: linked with --wrap. */
static struct dc_city_people *without_memory;

struct dc_slice __real_dc_people_state_word(const struct dc_city_people *p);
struct dc_slice __wrap_dc_people_state_word(const struct dc_city_people *p);
struct dc_slice __wrap_dc_people_state_word(const struct dc_city_people *p)
{
    if (p == without_memory) {
        dc_strbuf_free(&without_memory->summary);
        without_memory->summary.failed = true;
    }
    return __real_dc_people_state_word(p);
}

static void a_summary_that_there_was_no_memory_for_fails_and_is_made_again(void **state)
{
    struct rig *r = *state;
    struct dc_strbuf out = {0};
    without_memory = r->city->people;
    without_memory->version++; /* the one it has is old */
    without_memory->summary_made_ms = 0;
    dc_people_write_summary(r->city->people, &out);
    assert_false(dc_strbuf_ok(&out));
    dc_strbuf_free(&out);
    without_memory = NULL;
    json_t *object = summary_json(r);
    assert_non_null(json_object_get(object, "city"));
    json_decref(object);
}

static void totals_are_the_same_in_every_document(void **state)
{
    struct rig *r = *state;
    struct dc_city_people *people = r->city->people;
    say_user(r, "u_a");
    say_user(r, "u_b"); /* in the same window: no frame yet, and yet counted */
    json_t *snapshot = frame_json(snapshot_of(r));
    json_t *summary = summary_json(r);
    assert_int_equal(number(json_object_get(snapshot, "city"), "online_total"), 2);
    assert_int_equal(number(json_object_get(summary, "city"), "online_total"), 2);
    json_decref(snapshot);
    json_decref(summary);
    assert_int_equal(people->sent_online, 1);
    RUN_UNTIL(r, people->sent_online == 2); /* the last numbers always arrive */
}

static void a_new_room_is_in_the_snapshot_at_once(void **state)
{
    struct rig *r = *state;
    json_t *before = frame_json(snapshot_of(r));
    assert_int_equal(json_array_size(json_object_get(before, "rooms")), 2);
    json_decref(before);
    rig_publish(r, "city.event.room",
                "{\"id\":\"room_city_new\",\"slug\":\"new\",\"name\":\"New\","
                "\"created_at\":\"2026-11-20T10:15:00.123Z\"}");
    RUN_UNTIL(r, dc_city_rooms_count(r->city->rooms) == 3);
    json_t *after = frame_json(snapshot_of(r));
    assert_int_equal(json_array_size(json_object_get(after, "rooms")), 3);
    json_decref(after);
}

struct beating {
    struct dc_timer timer;
    struct dc_city *city;
    struct dc_session *session;
    bool is_closed;
};

static void on_beat(struct dc_timer *t)
{
    const struct beating *b = DC_CONTAINER_OF(t, struct beating, timer);
    dc_session_beat(b->city, b->session, DC_SESSION_AWAY);
}

static void on_beating_closed(struct dc_timer *t)
{
    DC_CONTAINER_OF(t, struct beating, timer)->is_closed = true;
}

static void who_joined_over_http_stays_while_he_beats_anywhere(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct dc_session presence;
    struct beating beating = {.city = r->city, .session = &presence};
    struct heard marker_left, holder_left;
    hear(r, &marker_left, "city.member.*",
         "\"left\",\"room_id\":\"room_city_plaza\",\"user_id\":\"u_marker");
    hear(r, &holder_left, "city.member.*",
         "\"left\",\"room_id\":\"room_city_plaza\",\"user_id\":\"u_holder");
    open_session(r, &presence, "u_holder");
    dc_session_beat(r->city, &presence, DC_SESSION_AWAY);
    assert_int_equal(dc_sessions_http_member(r->city, DC_S("u_holder"), DC_S("Holder"), room, true),
                     DC_OK);
    dc_timer_init(r->ctx.loop, &beating.timer, on_beat);
    dc_timer_start(&beating.timer, LEASE_MS / 5, LEASE_MS / 5);
    /* The marker joins the same way and never beats; when it has gone twice, two leases are over.
     */
    for (size_t n = 1; n <= 2; n++) {
        assert_int_equal(
            dc_sessions_http_member(r->city, DC_S("u_marker"), DC_S("Marker"), room, true), DC_OK);
        RUN_UNTIL(r, marker_left.n == n);
    }
    assert_int_equal(holder_left.n, 0);
    assert_people(room, "u_holder:away;"); /* the membership does not make him busy */
    assert_int_equal(
        dc_sessions_http_member(r->city, DC_S("u_holder"), DC_S("Holder"), room, false), DC_OK);
    RUN_UNTIL(r, holder_left.n == 1);
    dc_session_deinit(r->city, &presence);
    dc_timer_close(&beating.timer, on_beating_closed);
    RUN_UNTIL(r, beating.is_closed);
    dc_bus_unsubscribe(marker_left.sub);
    dc_bus_unsubscribe(holder_left.sub);
}

static void a_new_aggregator_is_told_everything_again(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct dc_session s;
    struct heard announced;
    open_session(r, &s, "u_a");
    dc_session_join(r->city, &s, room);
    RUN_UNTIL(r, room->people.online_count == 1);
    rig_stop_aggregator(r);
    hear(r, &announced, "city.session.*", "\"op\":\"announce\"");
    rig_start_aggregator(r);
    RUN_UNTIL(r, announced.n >= 1);
    assert_people(room, "u_a:online;");
    dc_session_leave(r->city, &s); /* it knows of the membership, or nobody would leave */
    RUN_UNTIL(r, room->people.online_count == 0);
    assert_people(room, "");
    dc_session_deinit(r->city, &s);
    dc_bus_unsubscribe(announced.sub);
}

/* --- when a lease ends --- */

struct clock {
    struct dc_timer timer;
    bool has_struck;
};

static void on_strike(struct dc_timer *t)
{
    DC_CONTAINER_OF(t, struct clock, timer)->has_struck = true;
}

static void clock_start(struct rig *r, struct clock *clock, uint64_t after_ms)
{
    clock->has_struck = false;
    dc_timer_init(r->ctx.loop, &clock->timer, on_strike);
    dc_timer_start(&clock->timer, after_ms, 0);
}

/* Against timers that were started with the lease, on the same loop: whatever delays the one delays
 * the others. */
static void a_lease_that_ends_is_told_within_a_second_and_not_before(void **state)
{
    static struct clock before, second; /* closed while the role stops */
    struct rig *r = *state;
    struct dc_session s;
    struct heard gone;
    hear(r, &gone, "city.presence.user.*", "\"offline\"");
    open_session(r, &s, "u_1");
    clock_start(r, &before, LEASE_MS - 1);
    clock_start(r, &second, LEASE_MS + 1000);
    dc_session_beat(r->city, &s, DC_SESSION_ONLINE);
    RUN_UNTIL(r, before.has_struck || gone.n > 0);
    assert_int_equal(gone.n, 0);
    RUN_UNTIL(r, second.has_struck || gone.n > 0);
    assert_int_equal(gone.n, 1);
    assert_false(second.has_struck);
    dc_bus_unsubscribe(gone.sub);
    dc_timer_close(&before.timer, NULL);
    dc_timer_close(&second.timer, NULL);
    dc_session_deinit(r->city, &s);
}

static void a_beat_brings_back_a_membership_that_was_lost(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct dc_session s;
    struct heard left;
    hear(r, &left, "city.member.*", "\"left\"");
    open_session(r, &s, "u_a");
    dc_session_join(r->city, &s, room);
    RUN_UNTIL(r, room->people.online_count == 1);
    RUN_UNTIL(r, left.n == 1); /* no beat came, as from a phone that slept: the lease is over */
    RUN_UNTIL(r, room->people.online_count == 0);
    dc_session_alive(r->city, &s);
    RUN_UNTIL(r, room->people.online_count == 1);
    assert_people(room, "u_a:online;");
    dc_session_deinit(r->city, &s);
    dc_bus_unsubscribe(left.sub);
}

static void beats_without_news_are_told_seldom(void **state)
{
    struct rig *r = *state;
    struct dc_session s;
    struct heard beats;
    hear(r, &beats, "city.session.*", "\"op\":\"beat\"");
    open_session(r, &s, "u_a");
    for (int i = 0; i < 100; i++) { /* in one turn of the loop: no time passes */
        dc_session_beat(r->city, &s, DC_SESSION_ONLINE);
    }
    dc_session_alive(r->city, &s);
    barrier(r);
    assert_int_equal(beats.n, 1);
    dc_session_beat(r->city, &s, DC_SESSION_AWAY); /* news */
    barrier(r);
    assert_int_equal(beats.n, 2);
    dc_session_deinit(r->city, &s);
    dc_bus_unsubscribe(beats.sub);
}

static void a_user_id_that_no_subject_can_hold_is_published_all_the_same(void **state)
{
    struct rig *r = *state;
    struct dc_city_people *people = r->city->people;
    char user_id[DC_USER_ID_MAX_BYTES + 1];
    struct dc_session s;
    memset(user_id, '!', sizeof(user_id)); /* three bytes each as a token */
    user_id[DC_USER_ID_MAX_BYTES] = '\0';
    open_session(r, &s, user_id);
    uint64_t before = dc_topic_offset(dc_people_users_topic(people));
    dc_session_beat(r->city, &s, DC_SESSION_ONLINE);
    RUN_UNTIL(r, dc_topic_offset(dc_people_users_topic(people)) > before);
    json_t *object = frame_json(bulk_of(r));
    const json_t *user = json_array_get(json_object_get(object, "users"), 0);
    assert_true(dc_slice_eq(dc_json_text(user, "user_id"), dc_slice_z(user_id)));
    json_decref(object);
    dc_session_deinit(r->city, &s);
}

/* A thousand people come to one room in a moment: a browser on the presence stream gets a frame for
 * the room and one for the city at once, and one of each at the end of a window. */
static void in_a_storm_a_browser_gets_one_frame_for_a_room_and_window(void **state)
{
    struct rig *r = *state;
    enum { MANY = 1000, WINDOW_MS = 400 };
    struct dc_city_room *room = rig_room(r, "plaza");
    const struct dc_topic *topic = dc_people_rooms_topic(r->city->people);
    struct heard said;
    rig_stop_aggregator(r);
    r->settings.room_presence_throttle_ms = WINDOW_MS;
    r->settings.presence_lease_ms = 60000;
    r->settings.presence_leader_lease_ms = 5000; /* nobody is to take over meanwhile */
    rig_start_aggregator(r);
    RUN_UNTIL(r, ((const struct dc_aggregator *)r->aggregator)->phase == DC_AGG_LEADING &&
                     r->city->people->is_fresh);
    barrier(r);
    hear(r, &said, "city.presence.room.plaza", NULL);
    uint64_t offset = dc_topic_offset(topic);
    int64_t began_ms = dc_loop_now(r->ctx.loop).ms;
    for (int i = 0; i < MANY; i++) {
        char payload[256];
        snprintf(payload, sizeof(payload),
                 "{\"op\":\"beat\",\"session_id\":\"s-%d\",\"user_id\":\"many_%d\","
                 "\"username\":\"M\",\"status\":\"online\",\"room_id\":\"%.*s\","
                 "\"room_slug\":\"plaza\"}",
                 i, i, DC_SLICE_ARG(room->row.id));
        rig_publish(r, "city.session.many", payload);
    }
    RUN_UNTIL(r, room->people.online_count == MANY);
    barrier(r);
    /* Two, unless the machine was so slow that more windows have passed. */
    uint64_t windows = (uint64_t)(dc_loop_now(r->ctx.loop).ms - began_ms) / WINDOW_MS;
    assert_in_range(said.n, 2, 1 + windows);
    assert_in_range(dc_topic_offset(topic) - offset, 3, 2 * (1 + windows));
    assert_counts(room, MANY, 0);
    dc_bus_unsubscribe(said.sub);
}

/* A term and a generation as they are at the beginning of a city. */
#define LEADERS "{\"term\":1,\"gen\":1,"

static void what_makes_no_sense_on_the_bus_changes_nothing(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct dc_city_people *people = r->city->people;
    static const char *const subjects[] = {
        "city.presence.room.plaza", "city.presence.user.u_x", "city.member.plaza",
        "city.typing.plaza",        "city.chat.plaza",        "city.event.room",
        "city.session.x",           "city.presence.leader",   "city.presence.resync",
        "city.presence.announce",   "city.presence.city"};
    static const char wide[] = "{\"change\":\"joined\",\"room_id\":\"room_city_plaza\","
                               "\"status\":\"online\",\"typing\":true,\"user_id\":\""
                               "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀"
                               "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀\"}";
    static const char *const payloads[] = {
        "", "{", "[]", "null", "7", "\"x\"", "{}", wide,
        "{\"user_id\":5,\"room_id\":[],\"status\":{},\"change\":true,\"op\":null}",
        "{\"room_id\":\"room_city_nowhere\",\"user_id\":\"u_x\",\"change\":\"joined\"}",
        "{\"room_id\":\"room_city_plaza\",\"user_id\":\"u x\",\"change\":\"joined\"}",
        "{\"room_id\":\"room_city_plaza\",\"online_count\":-1,\"away_count\":\"many\","
        "\"typing_users\":[1,null,{}],\"online_users\":7}",
        "{\"op\":\"dance\",\"session_id\":\"s\",\"user_id\":\"u_x\"}",
        "{\"op\":\"join\",\"session_id\":\"s\",\"user_id\":\"u_x\"}",
        "{\"op\":\"typing\",\"session_id\":\"s\",\"user_id\":\"u_x\","
        "\"room_id\":\"room_city_plaza\",\"room_slug\":\"plaza\"}",
        "{\"id\":\"m\",\"room_id\":\"room_city_plaza\",\"offset\":0}",
        "{\"id\":\"a b\",\"slug\":\"ok\",\"name\":\"N\"}",
        "{\"id\":\"ok\",\"slug\":\"Not Ok\",\"name\":\"N\"}",
        /* By a leader, and nonsense all the same. */
        LEADERS "\"user_id\":5,\"room_id\":[],\"status\":{},\"change\":true}",
        LEADERS "\"room_id\":\"room_city_plaza\",\"change\":\"set\",\"members\":{},\"last\":1}",
        LEADERS "\"room_id\":\"room_city_plaza\",\"change\":\"set\",\"members\":[1,null,{},"
                "{\"user_id\":\"u_x\",\"status\":\"asleep\"}]}",
        LEADERS "\"room_id\":\"room_city_plaza\",\"user_id\":\"u x\",\"change\":\"joined\"}",
        LEADERS "\"room_id\":\"room_city_plaza\",\"online_count\":-1,\"away_count\":\"many\","
                "\"typing_users\":[1,null,{}],\"online_users\":7}",
        LEADERS "\"room_id\":\"\",\"change\":\"joined\"}",
        "{\"term\":9223372036854775807,\"gen\":9223372036854775807,\"user_id\":\"u_x\","
        "\"status\":\"online\",\"room_id\":\"room_city_plaza\",\"change\":\"joined\"}",
        "{\"term\":-1,\"gen\":\"x\",\"state\":7,\"holder\":{},\"from\":[],\"full\":\"yes\"}"};
    barrier(r);
    uint64_t users = dc_topic_offset(dc_people_users_topic(people));
    for (size_t i = 0; i < DC_ARRAY_LEN(subjects); i++) {
        for (size_t k = 0; k < DC_ARRAY_LEN(payloads); k++) {
            rig_publish(r, subjects[i], payloads[k]);
        }
    }
    barrier(r);
    assert_people(room, "");
    assert_typing(room, "");
    assert_int_equal(room->people.online_count, 0);
    assert_int_equal(room->last_position, 0);
    assert_int_equal(dc_city_rooms_count(r->city->rooms), 2);
    assert_int_equal(dc_topic_offset(dc_people_users_topic(people)), users);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        CASE(who_joins_is_listed_and_counted_until_he_leaves),
        CASE(two_sessions_of_a_person_are_one_member),
        CASE(a_room_socket_does_not_hide_that_its_person_is_away),
        CASE(typing_shows_and_ends_with_the_membership),
        CASE(first_frames_are_made_once_for_each_state),
        CASE(in_a_burst_of_changes_many_clients_share_one_snapshot),
        CASE(a_first_frame_that_the_topic_cannot_continue_is_made_again),
        CASE(the_summary_is_made_once_for_a_burst_of_requests),
        CASE(a_summary_that_there_was_no_memory_for_fails_and_is_made_again),
        CASE(totals_are_the_same_in_every_document),
        CASE(a_new_room_is_in_the_snapshot_at_once),
        CASE(who_joined_over_http_stays_while_he_beats_anywhere),
        CASE(a_new_aggregator_is_told_everything_again),
        CASE(a_lease_that_ends_is_told_within_a_second_and_not_before),
        CASE(a_beat_brings_back_a_membership_that_was_lost),
        CASE(beats_without_news_are_told_seldom),
        CASE(a_user_id_that_no_subject_can_hold_is_published_all_the_same),
        CASE(in_a_storm_a_browser_gets_one_frame_for_a_room_and_window),
        CASE(what_makes_no_sense_on_the_bus_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
