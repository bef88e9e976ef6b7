/* JSON of what is stored, as clients and the bus get it (declared in repo.h). */
#include "roles/city/repo.h"

static void write_rest(const struct dc_message *m, struct dc_jsonw *w)
{
    dc_jsonw_key_text(w, "author_user_id", m->author_user_id);
    dc_jsonw_key_text(w, "author_agent_id", m->author_agent_id);
    dc_jsonw_key_text(w, "user_id", m->author_user_id);
    dc_jsonw_key_text(w, "username", m->username);
    dc_jsonw_key_text(w, "body", m->body);
    dc_jsonw_key_text(w, "text", m->body);
    dc_jsonw_key_utc(w, "created_at", m->created_at);
    dc_jsonw_end(w);
}

void dc_message_write(const struct dc_message *m, struct dc_jsonw *w)
{
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "id", m->id);
    dc_jsonw_key_text(w, "room_id", m->room_id);
    dc_jsonw_key_i64(w, "offset", (int64_t)m->position);
    write_rest(m, w);
}

size_t dc_message_write_open(const struct dc_message *m, struct dc_strbuf *out)
{
    struct dc_jsonw w;
    dc_jsonw_init(&w, out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "id", m->id);
    dc_jsonw_key_text(&w, "room_id", m->room_id);
    dc_jsonw_key(&w, "offset");
    size_t at = out->len;
    dc_jsonw_i64(&w, 0);
    if (dc_strbuf_ok(out)) {
        out->len = at; /* the number comes later, the writer goes on behind it */
    }
    write_rest(m, &w);
    return at;
}

void dc_message_frame_begin(struct dc_slice room_id, struct dc_strbuf *out, struct dc_jsonw *w)
{
    dc_jsonw_init(w, out);
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "event", DC_S("room.message"));
    dc_jsonw_key_text(w, "room_id", room_id);
    dc_jsonw_key(w, "message");
}

void dc_message_write_frame(const struct dc_message *m, struct dc_strbuf *out)
{
    struct dc_jsonw w;
    dc_message_frame_begin(m->room_id, out, &w);
    dc_message_write(m, &w);
}

void dc_feed_event_write(const struct dc_feed_event *e, struct dc_jsonw *w)
{
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "id", e->id);
    dc_jsonw_key_text(w, "kind", e->kind);
    dc_jsonw_key_text(w, "room_id", e->room_id);
    dc_jsonw_key_text(w, "room_slug", e->room_slug);
    dc_jsonw_key_text(w, "room_name", e->room_name);
    dc_jsonw_key_text(w, "user_id", e->user_id);
    dc_jsonw_key_text(w, "username", e->username);
    dc_jsonw_key_text(w, "agent_id", e->agent_id);
    dc_jsonw_key_raw(w, "payload", e->payload);
    dc_jsonw_key_utc(w, "created_at", e->created_at);
    dc_jsonw_end(w);
}

void dc_room_row_write(const struct dc_room_row *row, struct dc_jsonw *w)
{
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "id", row->id);
    dc_jsonw_key_text(w, "slug", row->slug);
    dc_jsonw_key_text(w, "name", row->name);
    dc_jsonw_key_text(w, "description", row->description);
    dc_jsonw_key_bool(w, "is_default", row->is_default);
    dc_jsonw_key_utc(w, "created_at", row->created_at);
    dc_jsonw_key_text(w, "created_by", row->created_by);
    dc_jsonw_key_text(w, "matrix_room_id", row->matrix_room_id);
    dc_jsonw_key_text(w, "matrix_room_alias", row->matrix_room_alias);
    dc_jsonw_end(w);
}
