/* /ws/city/rooms/{room}: chat, people and typing of one room (specs/city-backend §5.1, CONTRACT
 * §2.10, schema/asyncapi.yaml).
 *
 * Resuming: a socket that opens with the cursor (epoch, offset) of an earlier one gets the snapshot
 * with resumed:true and then exactly the messages after its offset: from the topic's log when that
 * still holds them, else from the database while the topic is held for this member. */
#include "base/mem.h"
#include "roles/city/chat.h"
#include "roles/city/messages.h"
#include "roles/city/people.h"
#include "roles/city/socket.h"

#define SNAPSHOT_PEOPLE 100
#define REPLAY_MAX      1000
#define REPLAY_PAGE     200

struct room_socket {
    struct dc_socket base; /* first: dc_socket_accept makes the whole */
    struct dc_city_room *room;
    uint64_t replay_from; /* while a replay is being read */
    size_t pending;       /* callbacks that will still look at this struct */
    bool is_replaying, is_closed;
};

static void maybe_free(struct room_socket *s)
{
    if (s->is_closed && s->pending == 0) {
        dc_free(s);
    }
}

/* --- first frames --- */

static void write_person(void *data, const struct dc_person *p)
{
    struct dc_jsonw *w = data;
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "user_id", p->user_id);
    dc_jsonw_key_text(w, "username", p->username);
    dc_jsonw_key_text(w, "status", p->status);
    dc_jsonw_end(w);
}

static void write_typist(void *data, const struct dc_person *p)
{
    struct dc_jsonw *w = data;
    if (p->is_typing) {
        dc_jsonw_object(w);
        dc_jsonw_key_text(w, "user_id", p->user_id);
        dc_jsonw_key_text(w, "username", p->username);
        dc_jsonw_end(w);
    }
}

static void send_snapshot(struct room_socket *s, bool resumed)
{
    struct dc_city_people *people = s->base.city->people;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("room.snapshot"));
    dc_jsonw_key_text(&w, "room_id", s->room->row.id);
    dc_jsonw_key_bool(&w, "resumed", resumed);
    dc_jsonw_key(&w, "online_users");
    dc_jsonw_array(&w);
    dc_people_visit_room(people, s->room, SNAPSHOT_PEOPLE, write_person, &w);
    dc_jsonw_end(&w);
    dc_jsonw_key_i64(&w, "members_online", s->room->people.online_count);
    dc_jsonw_key_i64(&w, "away_count", s->room->people.away_count);
    dc_jsonw_key(&w, "typing_users");
    dc_jsonw_array(&w);
    dc_people_visit_room(people, s->room, DC_PEOPLE_PER_ROOM, write_typist, &w);
    dc_jsonw_end(&w);
    /* A resuming client keeps its own place until the missed messages have moved it. */
    uint64_t offset = resumed ? s->replay_from : dc_topic_offset(s->room->chat);
    dc_topic_write_cursor(s->room->chat, offset, &out);
    if (dc_strbuf_ok(&out)) {
        dc_ws_send(s->base.ws, dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
}

static void send_reset(struct room_socket *s, const char *reason_z)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("reset"));
    dc_jsonw_key_text(&w, "reason", dc_slice_z(reason_z));
    dc_socket_send(&s->base, &w);
    dc_strbuf_free(&out);
}

/* --- replay from the database --- */

static void replay_read(struct room_socket *s);

static void send_stored(struct room_socket *s, const struct dc_message *m)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("room.message"));
    dc_jsonw_key_text(&w, "room_id", s->room->row.id);
    dc_jsonw_key(&w, "message");
    dc_message_write(m, &w);
    dc_topic_write_cursor(s->room->chat, m->position, &out);
    if (dc_strbuf_ok(&out)) {
        dc_ws_send(s->base.ws, dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
}

static void on_replay(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct room_socket *s = data;
    struct dc_city *city = s->base.city;
    (void)n;
    s->pending--;
    if (s->is_closed) {
        maybe_free(s);
    } else if (st != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.replay_failed", DC_LF_ERR(err));
        dc_ws_close(s->base.ws, DC_WS_INTERNAL, DC_S("unavailable"));
    } else {
        const struct dc_db_result *rows = results[1];
        size_t count = dc_db_rows(rows) > REPLAY_PAGE ? REPLAY_PAGE : dc_db_rows(rows);
        for (size_t i = 0; i < count; i++) {
            struct dc_message m;
            dc_repo_read_message(rows, i, s->room->row.id, &m);
            send_stored(s, &m);
            s->replay_from = m.position;
        }
        if (dc_db_rows(rows) <= REPLAY_PAGE &&
            dc_topic_can_resume(s->room->chat, city->epoch, s->replay_from)) {
            s->is_replaying = false;
            dc_topic_release(s->room->chat, dc_ws_conn(s->base.ws), s->replay_from);
        } else {
            replay_read(s);
        }
    }
    dc_city_pending_end(city);
}

static void replay_read(struct room_socket *s)
{
    struct dc_city *city = s->base.city;
    struct dc_error err = {0};
    struct dc_db_batch *b = dc_repo_messages(city->ctx->db, s->room->row.id, DC_PAGE_AFTER_POSITION,
                                             DC_SLICE_NULL, s->replay_from, REPLAY_PAGE);
    if (dc_db_submit(b, on_replay, s, NULL, &err) != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.replay_failed", DC_LF_ERR(&err));
        dc_ws_close(s->base.ws, DC_WS_INTERNAL, DC_S("unavailable"));
        return;
    }
    s->pending++;
    dc_city_pending_begin(city);
}

/* --- opening --- */

struct cursor_query {
    struct dc_slice epoch;
    int64_t offset;
};
static const struct dc_field cursor_fields[] = {
    {"epoch", DC_FIELD_ID, 0, 0, 0, offsetof(struct cursor_query, epoch)},
    {"offset", DC_FIELD_INT, 0, 0, INT64_MAX, offsetof(struct cursor_query, offset)},
};

/* Why a cursor cannot be honoured, or NULL. */
static const char *reset_reason(const struct room_socket *s, const struct cursor_query *q)
{
    if (!dc_slice_eq(q->epoch, s->base.city->epoch)) {
        return "epoch_changed";
    }
    uint64_t head = dc_topic_offset(s->room->chat);
    if (q->offset < 0 || (uint64_t)q->offset > head) {
        return "offset_unknown";
    }
    return head - (uint64_t)q->offset > REPLAY_MAX ? "too_far_behind" : NULL;
}

static void enter(struct room_socket *s, const struct cursor_query *q)
{
    struct dc_conn *conn = dc_ws_conn(s->base.ws);
    struct dc_topic *chat = s->room->chat;
    const char *reason = NULL;
    bool resumes = q->epoch.ptr != NULL;
    if (resumes) {
        reason = reset_reason(s, q);
    }
    if (reason != NULL) {
        send_reset(s, reason);
        resumes = false;
    }
    if (resumes) {
        s->replay_from = (uint64_t)q->offset;
    }
    send_snapshot(s, resumes);
    dc_topic_join(s->room->crowd, conn, dc_topic_offset(s->room->crowd));
    if (!resumes || dc_topic_can_resume(chat, s->base.city->epoch, s->replay_from)) {
        dc_topic_join(chat, conn, resumes ? s->replay_from : dc_topic_offset(chat));
        return;
    }
    dc_topic_join(chat, conn, dc_topic_offset(chat));
    dc_topic_hold(chat, conn);
    s->is_replaying = true;
    replay_read(s);
}

/* --- frames from the client --- */

struct room_frame {
    struct dc_slice room_id, user_id, body, idempotency_key;
    bool typing;
};
#define ROOM_FRAME_COMMON                                                                          \
    {"room_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct room_frame, room_id)},       \
    {                                                                                              \
        "user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct room_frame, user_id)      \
    }
static const struct dc_field common_fields[] = {ROOM_FRAME_COMMON};
static const struct dc_field typing_fields[] = {
    ROOM_FRAME_COMMON,
    {"typing", DC_FIELD_BOOL, DC_FIELD_REQUIRED, 0, 0, offsetof(struct room_frame, typing)}};
static const struct dc_field key_fields[] = {ROOM_FRAME_COMMON,
                                             {"idempotency_key", DC_FIELD_KEY, DC_FIELD_NULLABLE, 0,
                                              0, offsetof(struct room_frame, idempotency_key)}};

/* The frame's room and user are this socket's. */
static bool is_ours(struct room_socket *s, const struct room_frame *f)
{
    if (f->room_id.ptr != NULL && !dc_slice_eq(f->room_id, s->room->row.id) &&
        !dc_slice_eq(f->room_id, s->room->row.slug)) {
        struct dc_error err = {0};
        (void)dc_fail_code(&err, DC_INVALID, "room_mismatch",
                           "this socket belongs to another room");
        dc_socket_error(&s->base, &err, f->idempotency_key, 0);
        return false;
    }
    return dc_socket_claim(&s->base, f->user_id);
}

/* A send on its way: outlives the socket if need be. */
struct room_send {
    struct room_socket *socket;
    struct dc_slice key; /* own copy or NULL */
    char key_text[];
};

static void on_sent(void *data, enum dc_status st, const struct dc_message *m,
                    const struct dc_error *err)
{
    struct room_send *send = data;
    struct room_socket *s = send->socket;
    s->pending--;
    if (s->is_closed) {
        maybe_free(s);
    } else if (st != DC_OK) {
        dc_socket_error(&s->base, err, send->key, 0);
    } else {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        dc_jsonw_init(&w, &out);
        dc_jsonw_object(&w);
        dc_jsonw_key_text(&w, "event", DC_S("room.message.ack"));
        dc_jsonw_key_text(&w, "room_id", s->room->row.id);
        dc_jsonw_key_text(&w, "idempotency_key", send->key);
        dc_jsonw_key_text(&w, "message_id", m->id);
        dc_socket_send(&s->base, &w);
        dc_strbuf_free(&out);
    }
    dc_free(send);
}

static void message_send(struct room_socket *s, const json_t *object)
{
    struct dc_city *city = s->base.city;
    struct room_frame f = {0};
    struct dc_error err = {0};
    if (!dc_socket_input(&s->base, key_fields, DC_ARRAY_LEN(key_fields), object, &f) ||
        !is_ours(s, &f)) {
        return;
    }
    /* The newer front end nests the body: data:{body} (CONTRACT §2.10). */
    const json_t *data = json_object_get(object, "data");
    const json_t *holder = json_is_object(data) ? data : object;
    const struct dc_field body_fields[] = {{"body", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 1,
                                            city->ctx->settings->max_message_chars,
                                            offsetof(struct room_frame, body)}};
    struct dc_problems problems = {0};
    if (dc_input_json(body_fields, 1, holder, &f, &problems) != DC_OK) {
        (void)dc_fail(&err, DC_INVALID, 0, "body: %s", problems.items[0].detail);
        dc_socket_error(&s->base, &err, f.idempotency_key, 0);
        return;
    }
    uint64_t wait_ms = dc_city_message_wait_ms(city, s->base.who.user_id);
    if (wait_ms > 0) {
        (void)dc_fail(&err, DC_LIMIT, 0, "too many messages, try again a little later");
        dc_socket_error(&s->base, &err, f.idempotency_key, wait_ms);
        return;
    }
    struct room_send *send = dc_calloc(1, sizeof(*send) + f.idempotency_key.len + 1);
    send->socket = s;
    if (f.idempotency_key.ptr != NULL) {
        memcpy(send->key_text, f.idempotency_key.ptr, f.idempotency_key.len);
        send->key = dc_slice_make(send->key_text, f.idempotency_key.len);
    }
    const struct dc_message_draft draft = {.room = s->room,
                                           .user_id = s->base.who.user_id,
                                           .username = s->base.who.username,
                                           .body = f.body,
                                           .idempotency_key = f.idempotency_key};
    if (dc_city_message_send(city, &draft, on_sent, send, &err) != DC_OK) {
        dc_socket_error(&s->base, &err, f.idempotency_key, 0);
        dc_free(send);
        return;
    }
    s->pending++;
}

static void typing(struct room_socket *s, const json_t *object)
{
    struct room_frame f = {0};
    struct dc_error err = {0};
    if (!dc_socket_input(&s->base, typing_fields, DC_ARRAY_LEN(typing_fields), object, &f) ||
        !is_ours(s, &f)) {
        return;
    }
    if (s->base.session.room == NULL) {
        (void)dc_fail_code(&err, DC_FORBIDDEN, "forbidden", "join the room first (room.join)");
        dc_socket_error(&s->base, &err, DC_SLICE_NULL, 0);
        return;
    }
    dc_session_typing(s->base.city, &s->base.session, f.typing);
}

static void on_text(struct dc_ws *ws, void *data, struct dc_slice text)
{
    struct room_socket *s = data;
    struct room_frame f = {0};
    (void)ws;
    json_t *object = dc_socket_read(&s->base, text);
    if (object == NULL) {
        return;
    }
    struct dc_slice event = dc_json_text(object, "event");
    if (dc_slice_eq(event, DC_S("room.message.send"))) {
        message_send(s, object);
    } else if (dc_slice_eq(event, DC_S("room.typing"))) {
        typing(s, object);
    } else if (dc_slice_eq(event, DC_S("room.join")) || dc_slice_eq(event, DC_S("room.leave"))) {
        if (dc_socket_input(&s->base, common_fields, DC_ARRAY_LEN(common_fields), object, &f) &&
            is_ours(s, &f)) {
            if (dc_slice_eq(event, DC_S("room.join"))) {
                dc_session_join(s->base.city, &s->base.session, s->room);
            } else {
                dc_session_leave(s->base.city, &s->base.session);
            }
        }
    } else {
        struct dc_error err = {0};
        (void)dc_fail_code(&err, DC_INVALID, "unknown_event", "this event is not known here");
        dc_socket_error(&s->base, &err, DC_SLICE_NULL, 0);
    }
    json_decref(object);
}

static void on_alive(struct dc_ws *ws, void *data)
{
    struct room_socket *s = data;
    (void)ws;
    dc_session_alive(s->base.city, &s->base.session);
}

static void on_close(struct dc_ws *ws, void *data, uint16_t code)
{
    struct room_socket *s = data;
    struct dc_conn *conn = dc_ws_conn(ws);
    (void)code;
    dc_topic_leave(s->room->chat, conn);
    dc_topic_leave(s->room->crowd, conn);
    s->room->n_sockets--;
    dc_chat_close_topics(s->room);
    dc_socket_deinit(&s->base);
    s->is_closed = true;
    maybe_free(s);
}

static const struct dc_ws_class room_class = {
    .on_text = on_text, .on_alive = on_alive, .on_close = on_close};

static void open_room_socket(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct cursor_query q = {.offset = -1};
    if (!dc_city_is_ready(city, r) ||
        !dc_http_read_query(r, cursor_fields, DC_ARRAY_LEN(cursor_fields), &q)) {
        return;
    }
    struct dc_city_room *room = dc_city_rooms_find(city->rooms, dc_http_param(r, 0));
    if (room == NULL && dc_ws_is_upgrade(r)) {
        dc_socket_refuse(city, r, DC_WS_NOT_FOUND, DC_S("room_not_found"));
        return;
    }
    struct dc_socket *base = dc_socket_accept(city, r, &room_class, sizeof(struct room_socket));
    if (base == NULL) {
        return;
    }
    struct room_socket *s = DC_CONTAINER_OF(base, struct room_socket, base);
    s->room = room;
    room->n_sockets++;
    dc_chat_open_topics(city, room);
    base->cursor_of = room->chat;
    enter(s, &q);
}

static const struct dc_route routes[] = {{DC_GET, "/ws/city/rooms/{room}", open_room_socket}};

void dc_city_stream_room_routes(struct dc_city *city)
{
    dc_router_add(city->ctx->public_router, "", routes, DC_ARRAY_LEN(routes), city);
}
