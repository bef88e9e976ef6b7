/* /ws/city/rooms/{room}: chat, people and typing of one room (specs/city-backend §5.1, CONTRACT
 * §2.10, schema/asyncapi.yaml).
 *
 * Resuming: a socket that opens with the cursor (epoch, offset) of an earlier one gets the snapshot
 * with resumed:true and then exactly the messages after its offset: from the topic's log when that
 * still holds them, else from the database while the topics are held for this member.  A client may
 * resume from the pair of any frame, so no frame may be ahead of the messages it has been given:
 * the crowd is held with the chat, and joined first, because the topics that a socket joined last
 * are written first.  What the client asks meanwhile waits: it is answered after what it missed. */
#include "base/mem.h"
#include "net/conn.h"
#include "roles/city/catch_up.h"
#include "roles/city/chat.h"
#include "roles/city/messages.h"
#include "roles/city/people.h"
#include "roles/city/socket.h"

#define SNAPSHOT_PEOPLE 100
#define REPLAY_MAX      1000
#define REPLAY_PAGE     50
#define REPLAY_AHEAD                                                                               \
    ((size_t)1024 * 1024) /* bytes that a client may leave unread while it is served */

struct room_socket {
    struct dc_socket base; /* first: callbacks of net get it as the whole */
    struct dc_city_room *room;
    uint64_t crowd_from; /* where the crowd goes on after a replay */
    size_t pending;      /* callbacks that will still look at this struct */
    bool is_unsure; /* the cursor is ahead of what this process has heard: the database decides */
    bool is_closed;
};

/* The socket has closed and nobody will call back any more. */
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
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "user_id", p->user_id);
    dc_jsonw_key_text(w, "username", p->username);
    dc_jsonw_end(w);
}

/* offset: where the stream starts, the client's own place if it resumes. */
static void send_snapshot(struct room_socket *s, bool is_resumed, uint64_t offset)
{
    const struct dc_city_room *room = s->room;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    uint32_t online = 0;
    uint32_t away = 0;
    dc_people_count_room(room, &online, &away);
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("room.snapshot"));
    dc_jsonw_key_text(&w, "room_id", room->row.id);
    dc_jsonw_key_bool(&w, "resumed", is_resumed);
    dc_jsonw_key(&w, "online_users");
    dc_jsonw_array(&w);
    dc_people_visit_room(room, SNAPSHOT_PEOPLE, write_person, &w);
    dc_jsonw_end(&w);
    dc_jsonw_key_i64(&w, "members_online", online);
    dc_jsonw_key_i64(&w, "away_count", away);
    dc_jsonw_key(&w, "typing_users");
    dc_jsonw_array(&w);
    dc_people_visit_typing(room, SNAPSHOT_PEOPLE, write_typist, &w);
    dc_jsonw_end(&w);
    dc_topic_write_cursor(room->chat, offset, &out);
    if (dc_strbuf_ok(&out)) {
        dc_ws_send(s->base.ws, dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
}

/* The snapshot follows, and with it the client starts anew. */
static void send_reset(struct room_socket *s, const char *reason_z)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("reset"));
    dc_jsonw_key_text(&w, "reason", dc_slice_z(reason_z));
    dc_topic_write_cursor(s->room->chat, dc_topic_offset(s->room->chat), &out);
    if (dc_strbuf_ok(&out)) {
        dc_ws_send(s->base.ws, dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
}

/* --- replay from the database --- */

static void replay_read(struct room_socket *s);

static void replay_end(struct room_socket *s, uint64_t from)
{
    struct dc_conn *conn = dc_ws_conn(s->base.ws);
    s->base.is_replaying = false;
    dc_ws_pause(s->base.ws, false);
    dc_topic_release(s->room->chat, conn, from);
    dc_topic_release(s->room->crowd, conn, s->crowd_from);
}

/* The client comes back with its cursor: no silent hole. */
static void replay_fail(struct room_socket *s, const struct dc_error *err)
{
    DC_LOG_WARN_EVENT(s->base.city->ctx->log, "city.replay_failed", DC_LF_ERR(err));
    dc_ws_pause(s->base.ws, false);
    dc_ws_close(s->base.ws, DC_WS_INTERNAL, DC_S("unavailable"));
}

static void send_stored(struct room_socket *s, const struct dc_message *m)
{
    struct dc_strbuf out = {0};
    dc_message_write_frame(m, &out);
    dc_topic_write_cursor(s->room->chat, m->position, &out);
    if (dc_strbuf_ok(&out)) {
        dc_ws_send(s->base.ws, dc_strbuf_slice(&out));
    } else {
        const struct dc_error err = {.status = DC_NO_MEMORY};
        replay_fail(s, &err);
    }
    dc_strbuf_free(&out);
}

/* The client starts anew at the head of the chat. */
static void start_over(struct room_socket *s, const char *reason_z)
{
    uint64_t head = dc_topic_offset(s->room->chat);
    send_reset(s, reason_z);
    send_snapshot(s, false, head);
    replay_end(s, head);
}

/* The cursor was ahead of this process; false: it is ahead of the database too. */
static bool judge_cursor(struct room_socket *s, const struct dc_db_result *head)
{
    s->is_unsure = false;
    if (dc_db_rows(head) == 1 && (uint64_t)dc_db_get_int(head, 0, 0) >= s->base.replayed_to) {
        send_snapshot(s, true, s->base.replayed_to);
        return true;
    }
    start_over(s, "offset_unknown");
    return false;
}

/* What follows is in the topic's log, or the bus has yet to bring it. */
static bool chat_goes_on_after(const struct room_socket *s, uint64_t offset)
{
    const struct dc_topic *chat = s->room->chat;
    return offset > dc_topic_offset(chat) || dc_topic_can_resume(chat, s->base.city->epoch, offset);
}

static void replay_page(struct room_socket *s, const struct dc_db_result *rows)
{
    size_t count = dc_db_rows(rows) > REPLAY_PAGE ? REPLAY_PAGE : dc_db_rows(rows);
    for (size_t i = 0; i < count; i++) {
        struct dc_message m;
        dc_repo_read_message(rows, i, s->room->row.id, &m);
        send_stored(s, &m);
        s->base.replayed_to = m.position;
    }
    if (dc_db_rows(rows) <= REPLAY_PAGE && chat_goes_on_after(s, s->base.replayed_to)) {
        replay_end(s, s->base.replayed_to);
    } else if (count > 0) {
        replay_read(s); /* more rows, or the topic has lost frames meanwhile */
    } else {
        start_over(s, "offset_unknown"); /* the history that the topic has lost was cut */
    }
}

/* The pages pile up unread: the client goes, with the place to come back to. */
static void replay_too_slow(struct room_socket *s)
{
    char reason[64];
    int n = snprintf(reason, sizeof(reason), "slow_consumer offset=%llu",
                     (unsigned long long)s->base.replayed_to);
    DC_ASSERT(n > 0 && (size_t)n < sizeof(reason));
    dc_ws_pause(s->base.ws, false);
    dc_ws_close(s->base.ws, DC_WS_SLOW_CONSUMER, dc_slice_make(reason, (size_t)n));
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
        replay_fail(s, err);
    } else if (dc_conn_queued_bytes(dc_ws_conn(s->base.ws)) > REPLAY_AHEAD) {
        replay_too_slow(s);
    } else if (!s->is_unsure || judge_cursor(s, results[0])) {
        replay_page(s, results[1]);
    }
    dc_city_pending_end(city);
}

static void replay_read(struct room_socket *s)
{
    struct dc_city *city = s->base.city;
    struct dc_error err = {0};
    struct dc_db_batch *b = dc_repo_messages(city->ctx->db, s->room->row.id, DC_PAGE_AFTER_POSITION,
                                             DC_SLICE_NULL, s->base.replayed_to, REPLAY_PAGE);
    if (dc_db_submit(b, on_replay, s, NULL, &err) != DC_OK) {
        replay_fail(s, &err);
        return;
    }
    s->pending++;
    dc_city_pending_begin(city);
}

/* --- opening --- */

static const struct dc_field cursor_fields[] = {DC_CURSOR_FIELDS(0)};

/* Why a cursor cannot be honoured, or NULL: it can, or only the database knows. */
static const char *reset_reason(const struct room_socket *s, const struct dc_cursor *c)
{
    if (!dc_slice_eq(dc_cursor_epoch(c), s->base.city->epoch)) {
        return "epoch_changed";
    }
    if (!c->has_offset || c->offset > INT64_MAX) {
        return "offset_unknown"; /* no position at all */
    }
    uint64_t head = dc_topic_offset(s->room->chat);
    return c->offset < head && head - c->offset > REPLAY_MAX ? "too_far_behind" : NULL;
}

static void enter(struct room_socket *s, const struct dc_cursor *c)
{
    struct dc_conn *conn = dc_ws_conn(s->base.ws);
    struct dc_topic *chat = s->room->chat;
    struct dc_topic *crowd = s->room->crowd;
    const char *reason = c->is_given ? reset_reason(s, c) : NULL;
    bool resumes = c->is_given && reason == NULL;
    uint64_t from = resumes ? c->offset : dc_topic_offset(chat);
    if (reason != NULL) {
        send_reset(s, reason);
    }
    s->is_unsure = from > dc_topic_offset(chat);
    if (!s->is_unsure) {
        send_snapshot(s, resumes, from);
    }
    dc_topic_join(crowd, conn, dc_topic_offset(crowd));
    if (!(resumes && dc_catch_up_is_in_doubt(s->base.city)) &&
        dc_topic_can_resume(chat, s->base.city->epoch, from)) {
        dc_topic_join(chat, conn, from);
        return;
    }
    dc_topic_join(chat, conn, dc_topic_offset(chat));
    dc_topic_hold(chat, conn);
    dc_topic_hold(crowd, conn);
    s->crowd_from = dc_topic_offset(crowd);
    dc_ws_pause(s->base.ws, true);
    s->base.is_replaying = true;
    s->base.replayed_to = from;
    replay_read(s);
}

/* --- frames from the client --- */

struct room_frame {
    struct dc_slice room_id, user_id, author_user_id, body, idempotency_key;
    bool typing;
};
/* Who speaks is known: a frame may only say the same, in either word. */
#define AUTHOR_FIELDS                                                                              \
    {"user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct room_frame, user_id)},       \
    {                                                                                              \
        "author_user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0,                                    \
            offsetof(struct room_frame, author_user_id)                                            \
    }
#define ROOM_FRAME_COMMON                                                                          \
    {"room_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct room_frame, room_id)},       \
        AUTHOR_FIELDS
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
    return dc_socket_claim(&s->base, f->user_id, f->idempotency_key) &&
           dc_socket_is_author(&s->base, f->author_user_id, f->idempotency_key);
}

/* A send on its way: the socket's struct waits for it, its texts do not. */
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

/* The key that an answer to this frame shall name, as far as it can be repeated. */
static struct dc_slice key_of(const json_t *object)
{
    struct dc_slice key = dc_json_text(object, "idempotency_key");
    return key.len <= 128 && dc_text_is_valid(key) ? key : DC_SLICE_NULL;
}

static bool read_message(struct room_socket *s, const json_t *object, struct room_frame *f)
{
    struct dc_slice key = key_of(object);
    if (!dc_socket_input(&s->base, key_fields, DC_ARRAY_LEN(key_fields), object, f, key) ||
        !is_ours(s, f)) {
        return false;
    }
    /* The newer front end nests the body: data:{body} (CONTRACT §2.10). */
    const json_t *data = json_object_get(object, "data");
    const struct dc_field body_fields[] = {
        AUTHOR_FIELDS,
        {"body", DC_FIELD_TEXT, DC_FIELD_REQUIRED | DC_FIELD_NOT_BLANK, 1,
         s->base.city->ctx->settings->max_message_chars, offsetof(struct room_frame, body)}};
    return dc_socket_input(&s->base, body_fields, DC_ARRAY_LEN(body_fields),
                           json_is_object(data) ? data : object, f, key) &&
           dc_socket_is_author(&s->base, f->user_id, key) &&
           dc_socket_is_author(&s->base, f->author_user_id, key);
}

static void message_send(struct room_socket *s, const json_t *object)
{
    struct dc_city *city = s->base.city;
    struct room_frame f = {0};
    struct dc_error err = {0};
    if (!read_message(s, object, &f)) {
        return;
    }
    uint64_t wait_ms = dc_city_message_wait_ms(city, dc_session_user_id(&s->base.session));
    if (wait_ms > 0) {
        (void)dc_fail(&err, DC_LIMIT, 0, "too many messages, try again a little later");
        dc_socket_error(&s->base, &err, f.idempotency_key, wait_ms);
        return;
    }
    struct room_send *send = dc_calloc(1, sizeof(*send) + f.idempotency_key.len);
    send->socket = s;
    if (f.idempotency_key.ptr != NULL) {
        memcpy(send->key_text, f.idempotency_key.ptr, f.idempotency_key.len);
        send->key = dc_slice_make(send->key_text, f.idempotency_key.len);
    }
    const struct dc_message_draft draft = {.room = s->room,
                                           .user_id = dc_session_user_id(&s->base.session),
                                           .username = dc_session_username(&s->base.session),
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
    if (!dc_socket_input(&s->base, typing_fields, DC_ARRAY_LEN(typing_fields), object, &f,
                         DC_SLICE_NULL) ||
        !is_ours(s, &f)) {
        return;
    }
    if (s->base.session.room == NULL) {
        (void)dc_fail(&err, DC_FORBIDDEN, 0, "join the room first (room.join)");
        dc_socket_error(&s->base, &err, DC_SLICE_NULL, 0);
        return;
    }
    if (dc_socket_may_tell(&s->base)) {
        dc_session_typing(s->base.city, &s->base.session, f.typing);
    }
}

/* room.join comes back to the sender.  The aggregator reports only people who were not there:
 * whoever is a member already, by another socket or one that closed a moment ago, hears it from us.
 */
static void echo_join(struct room_socket *s)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("room.join"));
    dc_jsonw_key_text(&w, "room_id", s->room->row.id);
    dc_jsonw_key_text(&w, "user_id", dc_session_user_id(&s->base.session));
    dc_jsonw_key_text(&w, "username", dc_session_username(&s->base.session));
    dc_socket_send(&s->base, &w);
    dc_strbuf_free(&out);
}

static void join_or_leave(struct room_socket *s, const json_t *object, bool joins)
{
    struct room_frame f = {0};
    if (!dc_socket_input(&s->base, common_fields, DC_ARRAY_LEN(common_fields), object, &f,
                         DC_SLICE_NULL) ||
        !is_ours(s, &f) || !dc_socket_may_tell(&s->base)) {
        return;
    }
    if (!joins) {
        dc_session_leave(s->base.city, &s->base.session);
        return;
    }
    dc_session_join(s->base.city, &s->base.session, s->room);
    if (dc_people_is_member(s->room, dc_session_user_id(&s->base.session))) {
        echo_join(s);
    }
}

static void on_text(struct dc_ws *ws, void *data, struct dc_slice text)
{
    struct room_socket *s = data;
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
    } else if (dc_slice_eq(event, DC_S("room.join"))) {
        join_or_leave(s, object, true);
    } else if (dc_slice_eq(event, DC_S("room.leave"))) {
        join_or_leave(s, object, false);
    } else {
        dc_socket_unknown_event(&s->base);
    }
    json_decref(object);
}

static void on_alive(struct dc_ws *ws, void *data)
{
    struct room_socket *s = data;
    (void)ws;
    dc_socket_alive(&s->base);
}

static void on_control(struct dc_ws *ws, void *data)
{
    struct room_socket *s = data;
    (void)ws;
    dc_socket_control(&s->base);
}

/* The hub has taken the connection out of its topics already. */
static void on_close(struct dc_ws *ws, void *data, uint16_t code)
{
    struct room_socket *s = data;
    (void)ws;
    (void)code;
    dc_chat_leave_topics(s->room);
    dc_socket_deinit(&s->base);
    s->is_closed = true;
    maybe_free(s);
}

static const struct dc_ws_class room_class = {
    .on_text = on_text, .on_alive = on_alive, .on_control = on_control, .on_close = on_close};

static void open_room_socket(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct dc_cursor_query q = {0};
    if (!dc_city_is_ready(city, r) ||
        !dc_http_read_query(r, cursor_fields, DC_ARRAY_LEN(cursor_fields), &q)) {
        return;
    }
    struct dc_city_room *room = NULL;
    if (dc_ws_is_upgrade(r)) {
        room = dc_city_room_of(city, r, open_room_socket);
        if (room == NULL) {
            return;
        }
    }
    struct dc_cursor cursor = dc_cursor_take(&q);
    struct room_socket *s = dc_calloc(1, sizeof(*s));
    s->room = room;
    if (!dc_socket_open(&s->base, city, r, &room_class)) {
        dc_free(s);
        return;
    }
    DC_ASSERT(room != NULL); /* it is NULL without an upgrade, and that is not opened */
    dc_chat_enter_topics(city, room);
    s->base.cursor_of = room->chat;
    enter(s, &cursor);
}

static const struct dc_route routes[] = {{DC_GET, "/ws/city/rooms/{room}", open_room_socket}};

void dc_city_stream_room_routes(struct dc_city *city)
{
    dc_router_add(city->ctx->public_router, "", routes, DC_ARRAY_LEN(routes), city);
}
