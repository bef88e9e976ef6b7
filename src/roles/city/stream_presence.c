/* /ws/city/presence and /ws/city/global-presence: both protocols of the specs on one socket
 * (city-backend §5.2 by `event`, global-presence §6 by `type`; CONTRACT §2.11). */
#include "base/mem.h"
#include "roles/city/people.h"
#include "roles/city/socket.h"

/* As in net/conn.c: the next piece of memory has 152 bytes. */
_Static_assert(sizeof(struct dc_socket) <= 136, "an idle presence socket costs more");

enum presence_mode { MODE_BOTH, MODE_HEARTBEAT, MODE_ROOMS };

struct presence_query {
    struct dc_slice mode, feed; /* what is not known is the default */
    struct dc_cursor_query cursor;
};
static const struct dc_field query_fields[] = {
    {"mode", DC_FIELD_TEXT, 0, 0, 0, offsetof(struct presence_query, mode)},
    {"feed", DC_FIELD_TEXT, 0, 0, 0, offsetof(struct presence_query, feed)},
    DC_CURSOR_FIELDS(offsetof(struct presence_query, cursor)),
};

/* --- first frames --- */

static void send_type(struct dc_socket *s, const char *type_z, const char *reason_z,
                      uint64_t offset)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", dc_slice_z(type_z));
    if (reason_z != NULL) {
        dc_jsonw_key_text(&w, "reason", dc_slice_z(reason_z));
    }
    dc_topic_write_cursor(dc_people_rooms_topic(s->city->people), offset, &out);
    if (dc_strbuf_ok(&out)) {
        dc_ws_send(s->ws, dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
}

/* NULL: out of memory; without its first frames a socket is of no use. */
static void send_framed(struct dc_socket *s, struct dc_blob *framed)
{
    if (framed != NULL) {
        dc_ws_send_framed(s->ws, framed);
    } else {
        dc_ws_close(s->ws, DC_WS_INTERNAL, DC_S("unavailable"));
    }
}

static void enter_rooms(struct dc_socket *s, const struct dc_cursor *c)
{
    struct dc_city_people *people = s->city->people;
    struct dc_topic *topic = dc_people_rooms_topic(people);
    uint64_t from = c->offset;
    if (c->is_given && c->has_offset && dc_topic_can_resume(topic, dc_cursor_epoch(c), from)) {
        send_type(s, "resumed", NULL, from);
    } else {
        struct dc_blob *snapshot = dc_people_snapshot(people, &from);
        if (c->is_given) {
            bool is_ours = dc_slice_eq(dc_cursor_epoch(c), dc_topic_epoch(topic));
            send_type(s, "reset", is_ours ? "offset_unknown" : "epoch_changed", from);
        }
        send_framed(s, snapshot);
    }
    dc_topic_join(topic, dc_ws_conn(s->ws), from);
}

static void enter_users(struct dc_socket *s)
{
    struct dc_city_people *people = s->city->people;
    struct dc_topic *topic = dc_people_users_topic(people);
    uint64_t from = 0;
    send_framed(s, dc_people_bulk_update(people, &from));
    dc_topic_join(topic, dc_ws_conn(s->ws), from);
}

/* --- frames from the client --- */

struct heartbeat {
    struct dc_slice user_id, status;
};
static const struct dc_field heartbeat_fields[] = {
    {"user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct heartbeat, user_id)},
    {"status", DC_FIELD_TEXT, DC_FIELD_NULLABLE, 0, 16, offsetof(struct heartbeat, status)},
};

static void heartbeat(struct dc_socket *s, const json_t *object)
{
    struct dc_city *city = s->city;
    struct heartbeat beat = {0};
    if (!dc_socket_input(s, heartbeat_fields, DC_ARRAY_LEN(heartbeat_fields), object, &beat,
                         DC_SLICE_NULL) ||
        !dc_socket_claim(s, beat.user_id, DC_SLICE_NULL)) {
        return;
    }
    bool is_away =
        dc_slice_eq(beat.status, DC_S("away")) || dc_slice_eq(beat.status, DC_S("unavailable"));
    if (!is_away && beat.status.len > 0 && !dc_slice_eq(beat.status, DC_S("online"))) {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_INVALID, 0, "status: must be \"online\" or \"away\"");
        dc_socket_error(s, &err, DC_SLICE_NULL, 0);
        return;
    }
    if (!s->has_beaten) {
        s->has_beaten = true;
        dc_people_repeat(city->people, dc_session_user_id(&s->session));
    }
    dc_session_beat(city, &s->session, is_away ? DC_SESSION_AWAY : DC_SESSION_ONLINE);
}

static void on_text(struct dc_ws *ws, void *data, struct dc_slice text)
{
    struct dc_socket *s = data;
    (void)ws;
    json_t *object = dc_socket_read(s, text);
    if (object == NULL) {
        return;
    }
    if (dc_slice_eq(dc_json_text(object, "event"), DC_S("presence.heartbeat"))) {
        heartbeat(s, object);
    } else {
        dc_socket_unknown_event(s);
    }
    json_decref(object);
}

/* The lease is the heartbeats' business here; only the token is looked at. */
static void on_alive(struct dc_ws *ws, void *data)
{
    struct dc_socket *s = data;
    (void)ws;
    (void)dc_socket_is_entitled(s);
}

static void on_control(struct dc_ws *ws, void *data)
{
    struct dc_socket *s = data;
    (void)ws;
    dc_socket_control(s);
}

/* The hub has taken the connection out of its topics already. */
static void on_close(struct dc_ws *ws, void *data, uint16_t code)
{
    struct dc_socket *s = data;
    (void)ws;
    (void)code;
    dc_socket_deinit(s);
    dc_free(s);
}

static const struct dc_ws_class presence_class = {
    .on_text = on_text, .on_alive = on_alive, .on_control = on_control, .on_close = on_close};

static enum presence_mode mode_of(struct dc_slice word)
{
    if (dc_slice_eq(word, DC_S("heartbeat"))) {
        return MODE_HEARTBEAT;
    }
    return dc_slice_eq(word, DC_S("rooms")) ? MODE_ROOMS : MODE_BOTH;
}

static void open_presence(struct dc_city *city, struct dc_http_request *r, bool is_global)
{
    struct presence_query q = {0};
    if (!dc_city_is_ready(city, r) ||
        !dc_http_read_query(r, query_fields, DC_ARRAY_LEN(query_fields), &q)) {
        return;
    }
    enum presence_mode mode = is_global && q.mode.ptr == NULL ? MODE_ROOMS : mode_of(q.mode);
    bool wants_feed = dc_slice_eq(q.feed, DC_S("1"));
    struct dc_cursor cursor = dc_cursor_take(&q.cursor);
    struct dc_socket *s = dc_calloc(1, sizeof(*s));
    if (!dc_socket_open(s, city, r, &presence_class)) {
        dc_free(s);
        return;
    }
    s->cursor_of = mode == MODE_HEARTBEAT ? dc_people_users_topic(city->people)
                                          : dc_people_rooms_topic(city->people);
    if (mode != MODE_HEARTBEAT) {
        enter_rooms(s, &cursor);
    }
    if (mode != MODE_ROOMS) {
        enter_users(s);
    }
    if (wants_feed) {
        dc_topic_join(city->feed, dc_ws_conn(s->ws), dc_topic_offset(city->feed));
    }
}

static void open_city(void *ctx, struct dc_http_request *r)
{
    open_presence(ctx, r, false);
}

static void open_global(void *ctx, struct dc_http_request *r)
{
    open_presence(ctx, r, true);
}

static const struct dc_route routes[] = {
    {DC_GET, "/ws/city/presence", open_city},
    {DC_GET, "/ws/city/global-presence", open_global},
};

void dc_city_stream_presence_routes(struct dc_city *city)
{
    dc_router_add(city->ctx->public_router, "", routes, DC_ARRAY_LEN(routes), city);
}
