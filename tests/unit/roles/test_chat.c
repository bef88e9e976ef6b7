/* Messages from commit to the room's topic: order, what the bus did not bring, the end of the role.
 */
#include "city_fixture.h"

#include "roles/city/catch_up.h"

struct sent {
    bool is_done;
    enum dc_status status;
    uint64_t position;
    struct rig *rig;
};

static void on_sent(void *data, enum dc_status st, const struct dc_message *m,
                    const struct dc_error *err)
{
    struct sent *s = data;
    assert_false(s->is_done);
    s->is_done = true;
    s->status = st;
    s->position = st == DC_OK ? m->position : 0;
    assert_true((st == DC_OK) == (err == NULL));
}

static void send_message(struct rig *r, struct sent *s, struct dc_city_room *room, const char *body,
                         const char *key)
{
    struct dc_error err = {0};
    const struct dc_message_draft draft = {.room = room,
                                           .user_id = DC_S("u_1"),
                                           .username = DC_S("Name"),
                                           .body = dc_slice_z(body),
                                           .idempotency_key = dc_slice_z(key)};
    *s = (struct sent){.rig = r};
    assert_int_equal(dc_city_message_send(r->city, &draft, on_sent, s, &err), DC_OK);
    assert_false(s->is_done);
}

struct stored {
    bool is_done;
    enum dc_status status;
};

static void on_stored(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct stored *s = data;
    (void)results;
    (void)n;
    (void)err;
    s->is_done = true;
    s->status = st;
}

/* Commits a message that nobody hands over, as another process does that is killed then. */
static void store_unheard(struct rig *r, const struct dc_city_room *room, const char *id)
{
    struct stored s = {0};
    char event_id[40];
    snprintf(event_id, sizeof(event_id), "evt_%s", id);
    const struct dc_message m = {.id = dc_slice_z(id),
                                 .room_id = room->row.id,
                                 .author_user_id = DC_S("u_2"),
                                 .username = DC_S("Other"),
                                 .body = DC_S("unheard"),
                                 .created_at = dc_utc_now()};
    const struct dc_feed_event event = {.id = dc_slice_z(event_id),
                                        .kind = DC_S("room_message"),
                                        .room_id = room->row.id,
                                        .payload = DC_S("{}"),
                                        .created_at = m.created_at};
    const struct dc_owed_message owed = {.subject = DC_S("city.chat.somewhere"),
                                         .head = DC_S("{\"offset\":"),
                                         .tail = DC_S("}"),
                                         .event = DC_S("{}")};
    assert_int_equal(dc_db_submit(dc_repo_message_insert(r->ctx.db, &m, &event, &owed), on_stored,
                                  &s, NULL, NULL),
                     DC_OK);
    RUN_UNTIL(r, s.is_done);
    assert_int_equal(s.status, DC_OK);
}

static void messages_reach_the_topic_in_the_order_of_their_positions(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    static struct sent sent[50];
    dc_chat_enter_topics(r->city, room);
    for (size_t i = 0; i < DC_ARRAY_LEN(sent); i++) {
        send_message(r, &sent[i], room, "hello", NULL);
    }
    RUN_UNTIL(r, dc_topic_offset(room->chat) == DC_ARRAY_LEN(sent));
    for (size_t i = 0; i < DC_ARRAY_LEN(sent); i++) {
        assert_int_equal(sent[i].status, DC_OK);
        assert_int_equal(sent[i].position, i + 1);
    }
    /* The log has them all: nobody was skipped. */
    assert_true(dc_topic_can_resume(room->chat, r->city->epoch, 0));
    assert_true(dc_slice_eq(room->last.snippet, DC_S("hello")));
    dc_chat_leave_topics(room);
    assert_null(room->chat);
}

static void a_retry_is_not_sent_out_twice(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct sent first, again, other;
    dc_chat_enter_topics(r->city, room);
    send_message(r, &first, room, "once", "key");
    send_message(r, &again, room, "once", "key");
    send_message(r, &other, room, "   ", "key 2"); /* nothing but blanks */
    RUN_UNTIL(r, first.is_done && again.is_done && other.is_done);
    assert_int_equal(first.position, 1);
    assert_int_equal(again.position, 1);
    assert_int_equal(other.position, 2);
    RUN_UNTIL(r, dc_topic_offset(room->chat) == 2);
    assert_non_null(room->last.snippet.ptr);
    assert_int_equal(room->last.snippet.len, 0);
    dc_chat_leave_topics(room);
}

static void what_the_bus_did_not_bring_is_read_from_the_database_before_what_follows(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct sent sent;
    dc_chat_enter_topics(r->city, room);
    store_unheard(r, room, "m_lost_1");
    store_unheard(r, room, "m_lost_2");
    send_message(r, &sent, room, "heard", NULL);
    RUN_UNTIL(r, dc_topic_offset(room->chat) == 3);
    assert_int_equal(sent.position, 3);
    assert_true(dc_topic_can_resume(room->chat, r->city->epoch, 0));
    assert_true(dc_slice_eq(room->last.snippet, DC_S("heard")));
    dc_chat_leave_topics(room);
}

/* As without memory: linked with --wrap. */
static int fail_frames_from = -1, fail_frames_to = -1, n_frames;
static uint64_t framed[8];

void __real_dc_message_write_frame(const struct dc_message *m, struct dc_strbuf *out);
void __wrap_dc_message_write_frame(const struct dc_message *m, struct dc_strbuf *out);
void __wrap_dc_message_write_frame(const struct dc_message *m, struct dc_strbuf *out)
{
    __real_dc_message_write_frame(m, out);
    if (n_frames >= fail_frames_from && n_frames < fail_frames_to) {
        out->failed = true;
    } else if (n_frames < (int)DC_ARRAY_LEN(framed)) {
        framed[n_frames] = m->position;
    }
    n_frames++;
}

static void no_message_is_given_before_one_that_there_was_no_memory_for(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    dc_chat_enter_topics(r->city, room);
    store_unheard(r, room, "m_1");
    store_unheard(r, room, "m_2");
    store_unheard(r, room, "m_3");
    n_frames = 0;
    fail_frames_from = 1; /* the second of the three */
    fail_frames_to = 2;
    dc_catch_up_room(r->city, room);
    RUN_UNTIL(r, dc_topic_offset(room->chat) == 3);
    fail_frames_from = fail_frames_to = -1;
    assert_int_equal(n_frames, 4); /* 1, the failure, 2, 3 */
    assert_int_equal(framed[0], 1);
    assert_int_equal(framed[2], 2);
    assert_int_equal(framed[3], 3);
    dc_chat_leave_topics(room);
}

static void positions_that_come_again_or_late_are_ignored(void **state)
{
    struct rig *r = *state;
    struct dc_city_room *room = rig_room(r, "plaza");
    struct sent sent;
    dc_chat_enter_topics(r->city, room);
    send_message(r, &sent, room, "one", NULL);
    RUN_UNTIL(r, dc_topic_offset(room->chat) == 1);
    rig_publish(r, "city.chat.plaza",
                "{\"id\":\"m_x\",\"room_id\":\"room_city_plaza\",\"offset\":1,\"username\":\"N\","
                "\"body\":\"again\",\"created_at\":\"2026-11-20T10:15:00.123Z\"}");
    send_message(r, &sent, room, "two", NULL);
    RUN_UNTIL(r, dc_topic_offset(room->chat) == 2);
    assert_true(dc_slice_eq(room->last.snippet, DC_S("two")));
    dc_chat_leave_topics(room);
}

static void the_role_stops_when_what_is_on_its_way_has_ended(void **state)
{
    struct rig *r = *state;
    static struct sent sent[20];
    for (size_t i = 0; i < DC_ARRAY_LEN(sent); i++) {
        send_message(r, &sent[i], rig_room(r, "plaza"), "last words", NULL);
    }
    rig_stop_city(r);
    for (size_t i = 0; i < DC_ARRAY_LEN(sent); i++) {
        assert_true(sent[i].is_done);
        assert_int_equal(sent[i].status, DC_OK);
    }
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        CASE(messages_reach_the_topic_in_the_order_of_their_positions),
        CASE(a_retry_is_not_sent_out_twice),
        CASE(what_the_bus_did_not_bring_is_read_from_the_database_before_what_follows),
        CASE(no_message_is_given_before_one_that_there_was_no_memory_for),
        CASE(positions_that_come_again_or_late_are_ignored),
        CASE(the_role_stops_when_what_is_on_its_way_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
