/* What the transactions of this role owe to the bus. */
#include "roles/city/owed.h"

/* Takes the text out of *from, which is freed; .ptr NULL: out of memory. */
static struct dc_slice keep(struct dc_arena *arena, struct dc_strbuf *from)
{
    struct dc_slice text =
        dc_strbuf_ok(from) ? dc_arena_dup(arena, dc_strbuf_slice(from)) : DC_SLICE_NULL;
    dc_strbuf_free(from);
    return text;
}

static struct dc_slice event_text(struct dc_arena *arena, const struct dc_feed_event *e)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_feed_event_write(e, &w);
    return keep(arena, &out);
}

/* --- messages --- */

bool dc_owed_message_make(struct dc_arena *arena, const struct dc_message *m,
                          const struct dc_feed_event *e, struct dc_owed_message *out)
{
    struct dc_strbuf subject = {0};
    struct dc_strbuf text = {0};
    dc_strbuf_add(&subject, DC_S("city.chat."));
    dc_bus_token(&subject, m->room_id);
    size_t at = dc_message_write_open(m, &text);
    out->subject = keep(arena, &subject);
    struct dc_slice whole = keep(arena, &text);
    out->event = event_text(arena, e);
    if (out->subject.ptr == NULL || whole.ptr == NULL || out->event.ptr == NULL) {
        return false;
    }
    out->head = dc_slice_make(whole.ptr, at);
    out->tail = dc_slice_make(whole.ptr + at, whole.len - at);
    return true;
}

void dc_owed_message_publish(struct dc_city *city, struct dc_city_room *room,
                             const struct dc_message *m, const struct dc_feed_event *e,
                             const struct dc_owed_message *owed,
                             const int64_t ids[DC_OWED_OF_MESSAGE])
{
    struct dc_strbuf payload = {0};
    dc_strbuf_add(&payload, owed->head);
    dc_strbuf_add_u64(&payload, m->position);
    dc_strbuf_add(&payload, owed->tail);
    const struct dc_relay_item items[DC_OWED_OF_MESSAGE] = {
        {ids[0], owed->subject, m->id,
         dc_strbuf_ok(&payload) ? dc_strbuf_slice(&payload) : DC_SLICE_NULL},
        {ids[1], DC_S(DC_FEED_SUBJECT), e->id, owed->event}};
    dc_relay_publish(city->relay, &room->lane, m->position, items, DC_ARRAY_LEN(items));
    dc_strbuf_free(&payload);
}

/* --- rooms --- */

bool dc_owed_room_make(struct dc_arena *arena, const struct dc_room_row *row,
                       const struct dc_feed_event *e, struct dc_owed_room *out)
{
    struct dc_strbuf id = {0};
    struct dc_strbuf text = {0};
    struct dc_jsonw w;
    dc_strbuf_add(&id, DC_S("created:"));
    dc_strbuf_add(&id, row->id);
    dc_jsonw_init(&w, &text);
    dc_room_row_write(row, &w);
    out->message_id = keep(arena, &id);
    out->room = keep(arena, &text);
    out->event = e != NULL ? event_text(arena, e) : DC_SLICE_NULL;
    return out->message_id.ptr != NULL && out->room.ptr != NULL &&
           (e == NULL || out->event.ptr != NULL);
}

void dc_owed_room_publish(struct dc_city *city, const struct dc_feed_event *e,
                          const struct dc_owed_room *owed, const int64_t ids[DC_OWED_OF_ROOM])
{
    const struct dc_relay_item items[DC_OWED_OF_ROOM] = {
        {ids[0], DC_S(DC_ROOM_SUBJECT), owed->message_id, owed->room},
        {ids[1], DC_S(DC_FEED_SUBJECT), e->id, owed->event}};
    dc_relay_publish(city->relay, NULL, 0, items, DC_ARRAY_LEN(items));
}

/* --- changes of rooms --- */

bool dc_owed_change_make(struct dc_arena *arena, struct dc_slice room_id, struct dc_slice id,
                         const struct dc_feed_event *e, struct dc_room_change *out)
{
    struct dc_strbuf text = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &text);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("room.changed"));
    dc_jsonw_key_text(&w, "room_id", room_id);
    dc_jsonw_end(&w);
    *out = (struct dc_room_change){.room_id = dc_arena_dup(arena, room_id),
                                   .id = dc_arena_dup(arena, id),
                                   .payload = keep(arena, &text),
                                   .event = e,
                                   .event_text = e != NULL ? event_text(arena, e) : DC_SLICE_NULL};
    return out->room_id.ptr != NULL && out->id.ptr != NULL && out->payload.ptr != NULL &&
           (e == NULL || out->event_text.ptr != NULL);
}

void dc_owed_change_publish(struct dc_city *city, const struct dc_room_change *c,
                            const int64_t ids[DC_OWED_OF_CHANGE])
{
    const struct dc_relay_item items[DC_OWED_OF_CHANGE] = {
        {ids[0], DC_S(DC_ROOM_CHANGED_SUBJECT), c->id, c->payload},
        {ids[1], DC_S(DC_FEED_SUBJECT), c->event != NULL ? c->event->id : DC_SLICE_NULL,
         c->event_text}};
    dc_relay_publish(city->relay, NULL, 0, items, c->event != NULL ? 2 : 1);
}
