/* From the bus to sockets and directory, for everything that is stored. */
#include "roles/city/chat.h"

#include "domain/snippet.h"
#include "roles/city/catch_up.h"
#include "roles/city/feed.h"
#include "roles/city/lookup.h"
#include "roles/city/matrix_outgoing.h"

#define SNIPPET_CHARS 100

/* --- messages --- */

static void complain(struct dc_city *city, const struct dc_bus_message *m,
                     const struct dc_error *err)
{
    DC_LOG_WARN_EVENT(city->ctx->log, "city.bad_event", DC_LF_T("subject", m->subject),
                      DC_LF_ERR(err));
}

/* The card of the room, in lists. */
static void remember_last(struct dc_city_room *room, const struct dc_message *m)
{
    struct dc_strbuf snippet = {0};
    dc_snippet(&snippet, m->body, SNIPPET_CHARS);
    const struct dc_last_message last = {.id = m->id,
                                         .username = m->username,
                                         .snippet = dc_strbuf_slice(&snippet),
                                         .created_at = m->created_at};
    dc_city_room_set_last(room, m->position, &last);
    dc_strbuf_free(&snippet);
}

bool dc_chat_deliver(struct dc_city_room *room, const struct dc_message *m)
{
    if (m->position <= room->last_position) {
        return true;
    }
    if (room->chat != NULL) {
        struct dc_strbuf frame = {0};
        dc_message_write_frame(m, &frame);
        if (!dc_strbuf_ok(&frame)) {
            dc_strbuf_free(&frame);
            return false;
        }
        dc_topic_publish(room->chat, m->position, dc_strbuf_slice(&frame));
        dc_strbuf_free(&frame);
    }
    remember_last(room, m);
    return true;
}

void dc_chat_committed(struct dc_city_room *room, const struct dc_message *m)
{
    if (m->position == room->last_position + 1) {
        (void)dc_chat_deliver(room, m); /* the bus brings it again */
    }
}

/* Wire type Message, as dc_message_write made it; borrowed from the JSON. */
static bool read_message(const json_t *object, struct dc_message *m)
{
    const json_t *offset = json_object_get(object, "offset");
    *m = (struct dc_message){.id = dc_json_text(object, "id"),
                             .room_id = dc_json_text(object, "room_id"),
                             .author_user_id = dc_json_text(object, "author_user_id"),
                             .author_agent_id = dc_json_text(object, "author_agent_id"),
                             .username = dc_json_text(object, "username"),
                             .body = dc_json_text(object, "body")};
    if (m->id.ptr == NULL || m->username.ptr == NULL || m->body.ptr == NULL ||
        !json_is_integer(offset) || json_integer_value(offset) <= 0 ||
        !dc_utc_parse(dc_json_text(object, "created_at"), &m->created_at)) {
        return false;
    }
    m->position = (uint64_t)json_integer_value(offset);
    return true;
}

/* The bus is ahead of what made the room known here. */
static void on_unknown_room(struct dc_city *city, const struct dc_bus_message *event,
                            const json_t *object)
{
    struct dc_slice room_id = dc_json_text(object, "room_id");
    if (dc_room_id_is_valid(room_id)) {
        dc_catch_up_unknown(city, room_id); /* brings this message too: it is committed */
    } else {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_MALFORMED, 0, "no message of a room");
        complain(city, event, &err);
    }
}

static void on_message(struct dc_city *city, const struct dc_bus_message *event,
                       const json_t *object, bool is_live)
{
    struct dc_message m;
    struct dc_city_room *room = dc_city_rooms_find(city->rooms, dc_json_text(object, "room_id"));
    if (room == NULL) {
        on_unknown_room(city, event, object);
        return;
    }
    if (!read_message(object, &m)) {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_MALFORMED, 0, "no message");
        complain(city, event, &err);
        return;
    }
    if (!is_live) {
        dc_relay_heard(city->relay, &room->lane, m.position);
        city->duplicate_messages->value += m.position <= room->heard_position ? 1 : 0;
        room->heard_position =
            m.position > room->heard_position ? m.position : room->heard_position;
    }
    dc_matrix_outgoing_said(city, room, m.position);
    if (m.position > room->last_position + 1) {
        dc_catch_up_room(city, room); /* brings this one too: it is committed */
    } else if (!dc_chat_deliver(room, &m)) {
        dc_catch_up_doubt(city); /* nothing may follow that would find it missing */
    }
}

static void read_event(struct dc_city *city, const struct dc_bus_message *event, bool is_live)
{
    json_t *object = NULL;
    struct dc_error err = {0};
    if (!city->is_loaded) {
        return; /* the load sees it, or the doubt that follows it */
    }
    if (dc_json_parse(event->payload, &object, &err) == DC_OK) {
        on_message(city, event, object, is_live);
    } else {
        complain(city, event, &err);
    }
    json_decref(object);
}

/* For sockets: as soon as anybody says it, also while the stream has no leader. */
static void on_live_chat(void *data, const struct dc_bus_message *event)
{
    read_event(data, event, true);
}

/* For the relay: what the stream has, in its order; and what the live way has lost. */
static void on_chat(void *data, const struct dc_bus_message *event)
{
    read_event(data, event, false);
}

/* --- feed and rooms --- */

void dc_chat_tell_of_room(struct dc_city *city, struct dc_city_room *room)
{
    if (!room->is_announced) {
        room->is_announced = true;
        dc_feed_room(city, "room.created", room);
    }
}

void dc_chat_room_changed(struct dc_city *city, const struct dc_city_room *room, bool was_archived)
{
    if (room->row.is_archived == was_archived) {
        return; /* which Matrix room it has is nobody's concern at this moment */
    }
    dc_feed_room(city, "room.changed", room);
    if (room->crowd == NULL) {
        return;
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("room.archived"));
    dc_jsonw_key_text(&w, "room_id", room->row.id);
    dc_jsonw_key_bool(&w, "archived", room->row.is_archived);
    dc_topic_write_cursor(room->chat, dc_topic_offset(room->chat), &out);
    if (dc_strbuf_ok(&out)) {
        dc_topic_set(room->crowd, DC_S("archived"), dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
}

static void on_room_changed(struct dc_city *city, const struct dc_bus_message *m,
                            const json_t *event)
{
    struct dc_slice room_id = dc_json_text(event, "room_id");
    if (dc_room_id_is_valid(room_id)) {
        dc_lookup_changed(city, room_id);
    } else {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_MALFORMED, 0, "a change of no room");
        complain(city, m, &err);
    }
}

static void on_room_event(struct dc_city *city, const struct dc_bus_message *m,
                          const json_t *room_json)
{
    struct dc_room_row row = {.id = dc_json_text(room_json, "id"),
                              .slug = dc_json_text(room_json, "slug"),
                              .name = dc_json_text(room_json, "name"),
                              .description = dc_json_text(room_json, "description"),
                              .is_default = json_is_true(json_object_get(room_json, "is_default")),
                              .created_by = dc_json_text(room_json, "created_by"),
                              .matrix_room_id = dc_json_text(room_json, "matrix_room_id"),
                              .matrix_room_alias = dc_json_text(room_json, "matrix_room_alias")};
    if (!dc_room_id_is_valid(row.id) || !dc_slug_is_valid(row.slug) || row.name.ptr == NULL ||
        !dc_utc_parse(dc_json_text(room_json, "created_at"), &row.created_at)) {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_MALFORMED, 0, "a room without id, slug, name or time");
        complain(city, m, &err);
        return;
    }
    struct dc_city_room *room = dc_city_rooms_find(city->rooms, row.id);
    if (room == NULL) {
        room = dc_city_rooms_put(city->rooms, &row);
        room->last_event = row.created_at;
        dc_relay_lane_known(&room->lane, 0); /* what has been said in it since comes over the bus */
    }
    dc_chat_tell_of_room(city, room);
}

static void on_event(void *data, const struct dc_bus_message *m)
{
    struct dc_city *city = data;
    json_t *event = NULL;
    struct dc_error err = {0};
    if (dc_json_parse(m->payload, &event, &err) != DC_OK) {
        complain(city, m, &err);
        return;
    }
    if (dc_slice_eq(m->subject, DC_S("city.event.room"))) {
        on_room_event(city, m, event);
    } else if (dc_slice_eq(m->subject, DC_S(DC_ROOM_CHANGED_SUBJECT))) {
        if (city->is_loaded) { /* else the load reads the row, and the doubt behind it */
            on_room_changed(city, m, event);
        }
    } else if (dc_slice_eq(m->subject, DC_S("city.event.feed"))) {
        dc_feed_event(city, event, m->payload);
    }
    json_decref(event);
}

/* --- the bus as a whole --- */

static void on_chat_interrupted(void *data)
{
    struct dc_city *city = data;
    DC_LOG_WARN_EVENT(city->ctx->log, "city.bus_interrupted", DC_LF_Z("what", "chat"));
    dc_city_doubt(city);
}

/* Feed events and new rooms; rooms are compared with the positions. */
static void on_events_interrupted(void *data)
{
    struct dc_city *city = data;
    DC_LOG_WARN_EVENT(city->ctx->log, "city.bus_interrupted", DC_LF_Z("what", "events"));
    dc_city_doubt(city);
    if (!city->is_stopping) {
        dc_feed_catch_up(city);
    }
}

enum dc_status dc_chat_start(struct dc_city *city, struct dc_error *err)
{
    const struct dc_bus_sub_opts live = {
        .pattern = DC_S("city.chat.*"), .start = DC_BUS_LIVE, .interrupted = on_chat_interrupted};
    const struct dc_bus_sub_opts chat = {
        .pattern = DC_S("city.chat.*"), .start = DC_BUS_NEW, .interrupted = on_chat_interrupted};
    const struct dc_bus_sub_opts events = {
        .pattern = DC_S("city.event.*"), .start = DC_BUS_NEW, .interrupted = on_events_interrupted};
    city->duplicate_messages =
        dc_metrics_counter(city->ctx->metrics, "daarion_city_duplicates_total", "what=\"message\"",
                           "Messages and events that the bus brought again");
    enum dc_status st =
        dc_bus_subscribe(city->ctx->bus, &live, on_live_chat, city, &city->live_sub, err);
    if (st == DC_OK) {
        st = dc_bus_subscribe(city->ctx->bus, &chat, on_chat, city, &city->chat_sub, err);
    }
    if (st == DC_OK) {
        st = dc_bus_subscribe(city->ctx->bus, &events, on_event, city, &city->event_sub, err);
    }
    if (st != DC_OK) {
        dc_chat_stop(city);
    }
    return st;
}

void dc_chat_stop(struct dc_city *city)
{
    dc_bus_unsubscribe(city->live_sub);
    dc_bus_unsubscribe(city->chat_sub);
    dc_bus_unsubscribe(city->event_sub);
    city->live_sub = NULL;
    city->chat_sub = NULL;
    city->event_sub = NULL;
}

/* --- topics of a room --- */

void dc_chat_enter_topics(struct dc_city *city, struct dc_city_room *room)
{
    if (room->n_sockets++ > 0) {
        return;
    }
    const struct dc_topic_opts chat = {.kind = DC_TOPIC_LOG,
                                       .epoch = city->epoch,
                                       .first_offset = room->last_position,
                                       .max_log_bytes =
                                           (size_t)city->ctx->settings->stream_queue_bytes};
    /* People come and go beside the messages: their frames carry the chat's cursor. */
    const struct dc_topic_opts crowd = {
        .kind = DC_TOPIC_STATE, .epoch = city->epoch, .frames_are_whole = true};
    room->chat = dc_topic_create(city->ctx->hub, &chat);
    room->crowd = dc_topic_create(city->ctx->hub, &crowd);
}

void dc_chat_leave_topics(struct dc_city_room *room)
{
    DC_ASSERT(room->n_sockets > 0);
    if (--room->n_sockets == 0) {
        dc_topic_destroy(room->chat);
        dc_topic_destroy(room->crowd);
        room->chat = NULL;
        room->crowd = NULL;
    }
}
