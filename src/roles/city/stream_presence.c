/* /ws/city/presence and /ws/city/global-presence: both protocols of the specs on one socket
 * (city-backend §5.2 by `event`, global-presence §6 by `type`; CONTRACT §2.11). */
#include "base/mem.h"
#include "roles/city/people.h"
#include "roles/city/socket.h"

enum presence_mode { MODE_BOTH, MODE_HEARTBEAT, MODE_ROOMS };

struct presence_socket {
    struct dc_socket base; /* first: dc_socket_accept makes the whole */
    bool has_beaten;
};

struct presence_query {
    struct dc_slice mode, feed, epoch;
    int64_t offset;
};
static const struct dc_field query_fields[] = {
    {"mode", DC_FIELD_TEXT, 0, 0, 16, offsetof(struct presence_query, mode)},
    {"feed", DC_FIELD_TEXT, 0, 0, 8, offsetof(struct presence_query, feed)},
    {"epoch", DC_FIELD_ID, 0, 0, 0, offsetof(struct presence_query, epoch)},
    {"offset", DC_FIELD_INT, 0, 0, INT64_MAX, offsetof(struct presence_query, offset)},
};

/* --- first frames --- */

static void send_type(struct presence_socket *s, const char *type_z, const char *reason_z)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", dc_slice_z(type_z));
    if (reason_z != NULL) {
        dc_jsonw_key_text(&w, "reason", dc_slice_z(reason_z));
    }
    dc_socket_send(&s->base, &w);
    dc_strbuf_free(&out);
}

static void send_framed(struct presence_socket *s, struct dc_blob *framed)
{
    if (framed != NULL) {
        dc_ws_send_framed(s->base.ws, framed);
    }
}

static void enter_rooms(struct presence_socket *s, const struct presence_query *q)
{
    struct dc_city_people *people = s->base.city->people;
    struct dc_topic *topic = dc_people_rooms_topic(people);
    struct dc_conn *conn = dc_ws_conn(s->base.ws);
    uint64_t from = dc_topic_offset(topic);
    if (q->epoch.ptr != NULL && q->offset >= 0 &&
        dc_topic_can_resume(topic, q->epoch, (uint64_t)q->offset)) {
        from = (uint64_t)q->offset;
        send_type(s, "resumed", NULL);
    } else {
        if (q->epoch.ptr != NULL) {
            send_type(s, "reset",
                      dc_slice_eq(q->epoch, dc_topic_epoch(topic)) ? "offset_unknown"
                                                                   : "epoch_changed");
        }
        send_framed(s, dc_people_snapshot(people));
    }
    dc_topic_join(topic, conn, from);
}

static void enter_users(struct presence_socket *s)
{
    struct dc_city_people *people = s->base.city->people;
    struct dc_topic *topic = dc_people_users_topic(people);
    send_framed(s, dc_people_bulk_update(people));
    dc_topic_join(topic, dc_ws_conn(s->base.ws), dc_topic_offset(topic));
}

/* --- frames from the client --- */

struct heartbeat {
    struct dc_slice user_id, status;
};
static const struct dc_field heartbeat_fields[] = {
    {"user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct heartbeat, user_id)},
    {"status", DC_FIELD_TEXT, DC_FIELD_NULLABLE, 0, 16, offsetof(struct heartbeat, status)},
};

static void heartbeat(struct presence_socket *s, const json_t *object)
{
    struct dc_city *city = s->base.city;
    struct heartbeat beat = {0};
    if (!dc_socket_input(&s->base, heartbeat_fields, DC_ARRAY_LEN(heartbeat_fields), object,
                         &beat) ||
        !dc_socket_claim(&s->base, beat.user_id)) {
        return;
    }
    bool is_away =
        dc_slice_eq(beat.status, DC_S("away")) || dc_slice_eq(beat.status, DC_S("unavailable"));
    if (!is_away && beat.status.len > 0 && !dc_slice_eq(beat.status, DC_S("online"))) {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_INVALID, 0, "status: must be \"online\" or \"away\"");
        dc_socket_error(&s->base, &err, DC_SLICE_NULL, 0);
        return;
    }
    if (!s->has_beaten) {
        s->has_beaten = true;
        dc_people_repeat(city->people, s->base.who.user_id);
    }
    dc_session_beat(city, &s->base.session, is_away ? DC_SESSION_AWAY : DC_SESSION_ONLINE);
}

static void on_text(struct dc_ws *ws, void *data, struct dc_slice text)
{
    struct presence_socket *s = data;
    (void)ws;
    json_t *object = dc_socket_read(&s->base, text);
    if (object == NULL) {
        return;
    }
    if (dc_slice_eq(dc_json_text(object, "event"), DC_S("presence.heartbeat"))) {
        heartbeat(s, object);
    } else {
        struct dc_error err = {0};
        (void)dc_fail_code(&err, DC_INVALID, "unknown_event", "this event is not known here");
        dc_socket_error(&s->base, &err, DC_SLICE_NULL, 0);
    }
    json_decref(object);
}

static void on_close(struct dc_ws *ws, void *data, uint16_t code)
{
    struct presence_socket *s = data;
    struct dc_city *city = s->base.city;
    struct dc_conn *conn = dc_ws_conn(ws);
    (void)code;
    dc_topic_leave(dc_people_rooms_topic(city->people), conn);
    dc_topic_leave(dc_people_users_topic(city->people), conn);
    dc_topic_leave(city->feed, conn);
    dc_socket_deinit(&s->base);
    dc_free(s);
}

static const struct dc_ws_class presence_class = {.on_text = on_text, .on_close = on_close};

static void open_presence(struct dc_city *city, struct dc_http_request *r, enum presence_mode mode)
{
    struct presence_query q = {.offset = -1};
    if (!dc_city_is_ready(city, r) ||
        !dc_http_read_query(r, query_fields, DC_ARRAY_LEN(query_fields), &q)) {
        return;
    }
    if (dc_slice_eq(q.mode, DC_S("heartbeat"))) {
        mode = MODE_HEARTBEAT;
    } else if (dc_slice_eq(q.mode, DC_S("rooms"))) {
        mode = MODE_ROOMS;
    }
    struct dc_socket *base =
        dc_socket_accept(city, r, &presence_class, sizeof(struct presence_socket));
    if (base == NULL) {
        return;
    }
    struct presence_socket *s = DC_CONTAINER_OF(base, struct presence_socket, base);
    base->cursor_of = mode == MODE_HEARTBEAT ? dc_people_users_topic(city->people)
                                             : dc_people_rooms_topic(city->people);
    if (mode != MODE_HEARTBEAT) {
        enter_rooms(s, &q);
    }
    if (mode != MODE_ROOMS) {
        enter_users(s);
    }
    if (dc_slice_eq(q.feed, DC_S("1"))) {
        dc_topic_join(city->feed, dc_ws_conn(base->ws), dc_topic_offset(city->feed));
    }
}

static void open_both(void *ctx, struct dc_http_request *r)
{
    open_presence(ctx, r, MODE_BOTH);
}

static void open_rooms(void *ctx, struct dc_http_request *r)
{
    open_presence(ctx, r, MODE_ROOMS);
}

static const struct dc_route routes[] = {
    {DC_GET, "/ws/city/presence", open_both},
    {DC_GET, "/ws/city/global-presence", open_rooms},
};

void dc_city_stream_presence_routes(struct dc_city *city)
{
    dc_router_add(city->ctx->public_router, "", routes, DC_ARRAY_LEN(routes), city);
}
