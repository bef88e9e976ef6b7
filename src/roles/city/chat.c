/* Bus to sockets and back, for everything that is stored. */
#include "roles/city/chat.h"

#include "domain/snippet.h"

#define SNIPPET_CHARS 100

/* --- to the bus --- */

static void publish(struct dc_city *city, struct dc_slice subject, struct dc_slice id,
                    struct dc_strbuf *payload)
{
    struct dc_error err = {0};
    enum dc_status st = DC_NO_MEMORY;
    if (dc_strbuf_ok(payload)) {
        st =
            dc_bus_publish(city->ctx->bus, subject, id, dc_strbuf_slice(payload), NULL, NULL, NULL);
    }
    if (st != DC_OK) {
        (void)dc_fail(&err, st, 0, "%s", dc_status_text(st));
        DC_LOG_WARN_EVENT(city->ctx->log, "city.publish_failed", DC_LF_T("subject", subject),
                          DC_LF_ERR(&err));
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

/* The frame of a message: the stored JSON inside the envelope, ending open for the hub's cursor. */
static void publish_to_sockets(struct dc_city_room *room, uint64_t position, const json_t *message)
{
    char *text = json_dumps(message, JSON_COMPACT);
    if (text == NULL) {
        return; /* out of memory: sockets see the gap in offsets and resume */
    }
    struct dc_strbuf frame = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &frame);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("room.message"));
    dc_jsonw_key_text(&w, "room_id", room->row.id);
    dc_jsonw_key_raw(&w, "message", dc_slice_z(text));
    if (dc_strbuf_ok(&frame)) {
        dc_topic_publish(room->chat, position, dc_strbuf_slice(&frame));
    }
    dc_strbuf_free(&frame);
    free(text);
}

static void on_chat(void *data, const struct dc_bus_message *m)
{
    struct dc_city *city = data;
    json_t *message = NULL;
    struct dc_error err = {0};
    if (dc_json_parse(m->payload, &message, &err) != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.bad_event", DC_LF_T("subject", m->subject),
                          DC_LF_ERR(&err));
        return;
    }
    struct dc_city_room *room = dc_city_rooms_find(city->rooms, dc_json_text(message, "room_id"));
    const json_t *offset = json_object_get(message, "offset");
    struct dc_utc created_at = {0};
    if (room == NULL || !json_is_integer(offset) || json_integer_value(offset) <= 0 ||
        !dc_utc_parse(dc_json_text(message, "created_at"), &created_at)) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.bad_event", DC_LF_T("subject", m->subject),
                          DC_LF_Z("detail", "a message without a known room, offset or time"));
        json_decref(message);
        return;
    }
    uint64_t position = (uint64_t)json_integer_value(offset);
    if (position > room->last_position) {
        struct dc_strbuf snippet = {0};
        dc_snippet(&snippet, dc_json_text(message, "body"), SNIPPET_CHARS);
        struct dc_last_message last = {.id = dc_json_text(message, "id"),
                                       .username = dc_json_text(message, "username"),
                                       .snippet = dc_strbuf_slice(&snippet),
                                       .created_at = created_at};
        dc_city_room_set_last(room, position, &last);
        dc_strbuf_free(&snippet);
    }
    if (room->chat != NULL && position > dc_topic_offset(room->chat)) {
        publish_to_sockets(room, position, message);
    }
    json_decref(message);
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
    if (dc_strbuf_ok(&frame)) {
        dc_topic_publish(city->feed, dc_topic_offset(city->feed) + 1, dc_strbuf_slice(&frame));
    }
    dc_strbuf_free(&frame);
}

static void on_room_event(struct dc_city *city, const json_t *room_json)
{
    struct dc_room_row row = {.id = dc_json_text(room_json, "id"),
                              .slug = dc_json_text(room_json, "slug"),
                              .name = dc_json_text(room_json, "name"),
                              .description = dc_json_text(room_json, "description"),
                              .is_default = json_is_true(json_object_get(room_json, "is_default")),
                              .created_by = dc_json_text(room_json, "created_by"),
                              .matrix_room_id = dc_json_text(room_json, "matrix_room_id"),
                              .matrix_room_alias = dc_json_text(room_json, "matrix_room_alias")};
    if (!dc_id_is_valid(row.id) || !dc_slug_is_valid(row.slug) || row.name.ptr == NULL ||
        !dc_utc_parse(dc_json_text(room_json, "created_at"), &row.created_at)) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.bad_event", DC_LF_Z("subject", "city.event.room"));
        return;
    }
    struct dc_city_room *room = dc_city_rooms_find(city->rooms, row.id);
    if (room == NULL) {
        room = dc_city_rooms_put(city->rooms, &row);
        room->last_event = row.created_at;
    }
    if (room->is_announced) {
        return;
    }
    room->is_announced = true;

    struct dc_strbuf frame = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &frame);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("room.created"));
    dc_jsonw_key(&w, "room");
    dc_jsonw_object(&w);
    dc_city_room_write(room, &w);
    dc_jsonw_end(&w);
    if (dc_strbuf_ok(&frame)) {
        dc_topic_publish(city->feed, dc_topic_offset(city->feed) + 1, dc_strbuf_slice(&frame));
    }
    dc_strbuf_free(&frame);
}

static void on_event(void *data, const struct dc_bus_message *m)
{
    struct dc_city *city = data;
    json_t *event = NULL;
    struct dc_error err = {0};
    if (dc_json_parse(m->payload, &event, &err) != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.bad_event", DC_LF_T("subject", m->subject),
                          DC_LF_ERR(&err));
        return;
    }
    if (dc_slice_eq(m->subject, DC_S("city.event.room"))) {
        on_room_event(city, event);
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

void dc_chat_open_topics(struct dc_city *city, struct dc_city_room *room)
{
    if (room->chat != NULL) {
        return;
    }
    const struct dc_topic_opts chat = {.kind = DC_TOPIC_LOG,
                                       .epoch = city->epoch,
                                       .first_offset = room->last_position,
                                       .max_log_bytes =
                                           (size_t)city->ctx->settings->stream_queue_bytes};
    /* People come and go beside the messages: their frames carry the chat's cursor. */
    const struct dc_topic_opts crowd = {
        .kind = DC_TOPIC_STATE, .epoch = city->epoch, .first_offset = 0, .frames_are_whole = true};
    room->chat = dc_topic_create(city->ctx->hub, &chat);
    room->crowd = dc_topic_create(city->ctx->hub, &crowd);
}

void dc_chat_close_topics(struct dc_city_room *room)
{
    if (room->chat == NULL || room->n_sockets > 0) {
        return;
    }
    dc_topic_destroy(room->chat);
    dc_topic_destroy(room->crowd);
    room->chat = NULL;
    room->crowd = NULL;
}
