/* Bus to sockets and back, for everything that is stored. */
#include "roles/city/chat.h"

#include "domain/snippet.h"
#include "roles/city/catch_up.h"

#define SNIPPET_CHARS 100

/* --- to the bus --- */

static void publish(struct dc_city *city, struct dc_slice subject, struct dc_slice id,
                    struct dc_strbuf *payload)
{
    enum dc_status st = DC_NO_MEMORY;
    if (dc_strbuf_ok(payload)) {
        st =
            dc_bus_publish(city->ctx->bus, subject, id, dc_strbuf_slice(payload), NULL, NULL, NULL);
    }
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.publish_failed", DC_LF_T("subject", subject),
                          DC_LF_Z("code", dc_status_code(st)));
        dc_catch_up_doubt(city); /* committed, and nobody has heard of it */
    }
    dc_strbuf_free(payload);
}

void dc_chat_announce_message(struct dc_city *city, const struct dc_message *m)
{
    struct dc_strbuf subject = {0};
    struct dc_strbuf payload = {0};
    struct dc_jsonw w;
    dc_strbuf_add(&subject, DC_S("city.chat."));
    dc_bus_token(&subject, m->room_id);
    dc_jsonw_init(&w, &payload);
    dc_message_write(m, &w);
    publish(city, dc_strbuf_slice(&subject), m->id, &payload);
    dc_strbuf_free(&subject);
}

void dc_chat_announce_event(struct dc_city *city, const struct dc_feed_event *e)
{
    struct dc_strbuf payload = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &payload);
    dc_feed_event_write(e, &w);
    publish(city, DC_S("city.event.feed"), e->id, &payload);
}

void dc_chat_announce_room(struct dc_city *city, const struct dc_room_row *row)
{
    struct dc_strbuf payload = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &payload);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "id", row->id);
    dc_jsonw_key_text(&w, "slug", row->slug);
    dc_jsonw_key_text(&w, "name", row->name);
    dc_jsonw_key_text(&w, "description", row->description);
    dc_jsonw_key_bool(&w, "is_default", row->is_default);
    dc_jsonw_key_utc(&w, "created_at", row->created_at);
    dc_jsonw_key_text(&w, "created_by", row->created_by);
    dc_jsonw_key_text(&w, "matrix_room_id", row->matrix_room_id);
    dc_jsonw_key_text(&w, "matrix_room_alias", row->matrix_room_alias);
    dc_jsonw_end(&w);
    publish(city, DC_S("city.event.room"), DC_SLICE_NULL, &payload);
}

/* --- from the bus --- */

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

void dc_chat_deliver(struct dc_city_room *room, const struct dc_message *m)
{
    if (m->position <= room->last_position) {
        return;
    }
    if (room->chat != NULL) {
        struct dc_strbuf frame = {0};
        dc_message_write_frame(m, &frame);
        if (!dc_strbuf_ok(&frame)) {
            dc_strbuf_free(&frame);
            return; /* the next message finds this one missing and brings it */
        }
        dc_topic_publish(room->chat, m->position, dc_strbuf_slice(&frame));
        dc_strbuf_free(&frame);
    }
    remember_last(room, m);
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

static void on_message(struct dc_city *city, const struct dc_bus_message *event,
                       const json_t *object)
{
    struct dc_message m;
    struct dc_city_room *room = dc_city_rooms_find(city->rooms, dc_json_text(object, "room_id"));
    if (room == NULL || !read_message(object, &m)) {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_MALFORMED, 0, "no message of a known room");
        complain(city, event, &err);
    } else if (m.position > room->last_position + 1) {
        dc_catch_up_room(city, room); /* brings this one too: it is committed */
    } else {
        dc_chat_deliver(room, &m);
    }
}

static void on_chat(void *data, const struct dc_bus_message *event)
{
    struct dc_city *city = data;
    json_t *object = NULL;
    struct dc_error err = {0};
    if (!city->is_loaded) {
        return; /* the load sees it, or the doubt that follows it */
    }
    if (dc_json_parse(event->payload, &object, &err) == DC_OK) {
        on_message(city, event, object);
    } else {
        complain(city, event, &err);
    }
    json_decref(object);
}

/* --- feed and rooms --- */

static void give_to_feed(struct dc_city *city, struct dc_strbuf *frame)
{
    if (dc_strbuf_ok(frame)) {
        dc_topic_publish(city->feed, dc_topic_offset(city->feed) + 1, dc_strbuf_slice(frame));
    }
    dc_strbuf_free(frame);
}

static void on_feed_event(struct dc_city *city, struct dc_slice payload)
{
    struct dc_strbuf frame = {0};
    struct dc_jsonw w;
    if (dc_topic_member_count(city->feed) == 0) {
        return;
    }
    dc_jsonw_init(&w, &frame);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("feed.event"));
    dc_jsonw_key_raw(&w, "event", payload);
    give_to_feed(city, &frame);
}

static void tell_of_room(struct dc_city *city, const struct dc_city_room *room)
{
    struct dc_strbuf frame = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &frame);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("room.created"));
    dc_jsonw_key(&w, "room");
    dc_jsonw_object(&w);
    dc_city_room_write(room, &w);
    dc_jsonw_end(&w);
    give_to_feed(city, &frame);
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
    }
    if (!room->is_announced) {
        room->is_announced = true;
        tell_of_room(city, room);
    }
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
    } else if (dc_slice_eq(m->subject, DC_S("city.event.feed"))) {
        on_feed_event(city, m->payload);
    }
    json_decref(event);
}

enum dc_status dc_chat_start(struct dc_city *city, struct dc_error *err)
{
    const struct dc_bus_sub_opts chat = {.pattern = DC_S("city.chat.*"), .start = DC_BUS_NEW};
    const struct dc_bus_sub_opts events = {.pattern = DC_S("city.event.*"), .start = DC_BUS_NEW};
    enum dc_status st =
        dc_bus_subscribe(city->ctx->bus, &chat, on_chat, city, &city->chat_sub, err);
    if (st != DC_OK) {
        return st;
    }
    st = dc_bus_subscribe(city->ctx->bus, &events, on_event, city, &city->event_sub, err);
    if (st != DC_OK) {
        dc_chat_stop(city);
    }
    return st;
}

void dc_chat_stop(struct dc_city *city)
{
    dc_bus_unsubscribe(city->chat_sub);
    dc_bus_unsubscribe(city->event_sub);
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
