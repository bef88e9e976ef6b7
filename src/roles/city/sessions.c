/* Native sessions of this gateway. */
#include "roles/city/sessions.h"

#include "base/mem.h"
#include "roles/session_event.h"

/* Beats without news are told once in this part of a lease. */
#define BEATS_IN_A_LEASE 64
/* Told in one turn when everything is announced: the bus and the loop have others to serve. */
#define ANNOUNCED_A_TURN 256

struct dc_city_sessions {
    struct dc_city *city;
    struct dc_list live;
    struct dc_list announcing;            /* those of live that are still to be announced */
    const struct dc_city_room *next_room; /* likewise; NULL: all rooms have been */
    struct dc_turn turn;
    struct dc_bus_sub *announce_sub;
    char subject[64];
};

/* --- telling --- */

struct event {
    const char *op, *status; /* status: NULL for what is no beat */
    struct dc_slice session_id, user_id, username;
    const struct dc_city_room *room; /* NULL: none */
};

static enum dc_status tell(struct dc_city *city, const struct event *e)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "op", dc_slice_z(e->op));
    dc_jsonw_key_text(&w, "session_id", e->session_id);
    dc_jsonw_key_text(&w, "user_id", e->user_id);
    if (e->username.len > 0) {
        dc_jsonw_key_text(&w, "username", e->username);
    }
    if (e->status != NULL) {
        dc_jsonw_key_text(&w, "status", dc_slice_z(e->status));
    }
    if (e->room != NULL) {
        dc_jsonw_key_text(&w, "room_id", e->room->row.id);
        dc_jsonw_key_text(&w, "room_slug", e->room->row.slug);
    }
    dc_jsonw_end(&w);
    enum dc_status st = DC_NO_MEMORY;
    if (dc_strbuf_ok(&out)) {
        st = dc_bus_publish(city->ctx->bus, dc_slice_z(city->sessions->subject), DC_SLICE_NULL,
                            dc_strbuf_slice(&out), NULL, NULL, NULL);
    }
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.session_untold", DC_LF_Z("op", e->op),
                          DC_LF_Z("code", dc_status_code(st)));
    }
    dc_strbuf_free(&out);
    return st;
}

static const char *activity_name(enum dc_session_activity activity)
{
    static const char *const names[] = {[DC_SESSION_PASSIVE] = DC_SESSION_STATUS_PASSIVE,
                                        [DC_SESSION_ONLINE] = DC_SESSION_STATUS_ONLINE,
                                        [DC_SESSION_AWAY] = DC_SESSION_STATUS_AWAY};
    return names[activity];
}

static void tell_session(struct dc_city *city, const struct dc_session *s, const char *op_z)
{
    char id[64];
    int n = snprintf(id, sizeof(id), "%s-%llu", city->gateway_id, (unsigned long long)s->number);
    DC_ASSERT(n > 0 && (size_t)n < sizeof(id));
    const struct event e = {.op = op_z,
                            .status = activity_name(s->activity),
                            .session_id = dc_slice_z(id),
                            .user_id = s->user_id,
                            .username = s->username,
                            .room = s->room};
    (void)tell(city, &e); /* logged; the next beat carries all of it again */
}

void dc_sessions_announce_room(struct dc_city *city, const struct dc_city_room *room)
{
    const struct event e = {
        .op = "room", .session_id = DC_S("-"), .user_id = DC_S("-"), .room = room};
    (void)tell(city, &e); /* logged; whoever joins it names it again */
}

static void announce_some(struct dc_turn *turn)
{
    struct dc_city_sessions *ss = DC_CONTAINER_OF(turn, struct dc_city_sessions, turn);
    size_t n = 0;
    while (ss->next_room != NULL && n++ < ANNOUNCED_A_TURN) {
        dc_sessions_announce_room(ss->city, ss->next_room);
        ss->next_room = dc_city_rooms_next(ss->city->rooms, ss->next_room);
    }
    while (!dc_list_is_empty(&ss->announcing) && n++ < ANNOUNCED_A_TURN) {
        struct dc_session *s = DC_LIST_ENTRY(ss->announcing.next, struct dc_session, link);
        dc_list_remove(&s->link);
        dc_list_push_back(&ss->live, &s->link);
        tell_session(ss->city, s, "beat");
    }
    if (ss->next_room != NULL || !dc_list_is_empty(&ss->announcing)) {
        dc_turn_schedule(ss->city->ctx->loop, &ss->turn);
    }
}

void dc_sessions_announce_all(struct dc_city *city)
{
    struct dc_city_sessions *ss = city->sessions;
    ss->next_room = dc_city_rooms_next(city->rooms, NULL);
    dc_list_move_all(&ss->announcing, &ss->live);
    dc_turn_schedule(city->ctx->loop, &ss->turn);
}

static void on_announce(void *data, const struct dc_bus_message *m)
{
    struct dc_city_sessions *ss = data;
    (void)m;
    dc_sessions_announce_all(ss->city);
}

enum dc_status dc_sessions_create(struct dc_city *city, struct dc_city_sessions **out,
                                  struct dc_error *err)
{
    struct dc_city_sessions *ss = dc_calloc(1, sizeof(*ss));
    const struct dc_bus_sub_opts opts = {.pattern = DC_S("city.presence.announce"),
                                         .start = DC_BUS_NEW};
    *out = NULL;
    ss->city = city;
    dc_list_init(&ss->live);
    dc_list_init(&ss->announcing);
    dc_turn_init(&ss->turn, announce_some);
    int n = snprintf(ss->subject, sizeof(ss->subject), "city.session.%s", city->gateway_id);
    DC_ASSERT(n > 0 && (size_t)n < sizeof(ss->subject));
    enum dc_status st =
        dc_bus_subscribe(city->ctx->bus, &opts, on_announce, ss, &ss->announce_sub, err);
    if (st != DC_OK) {
        dc_free(ss);
        return st;
    }
    *out = ss;
    return DC_OK;
}

void dc_sessions_destroy(struct dc_city_sessions *ss)
{
    if (ss == NULL) {
        return;
    }
    DC_ASSERT(dc_list_is_empty(&ss->live) && dc_list_is_empty(&ss->announcing));
    dc_turn_cancel(&ss->turn);
    dc_bus_unsubscribe(ss->announce_sub);
    dc_free(ss);
}

/* --- one session --- */

void dc_session_init(struct dc_city *city, struct dc_session *s)
{
    dc_list_init(&s->link);
    s->number = ++city->next_session;
}

static void keep_lease_key(struct dc_city *city, struct dc_slice user_id)
{
    struct dc_strbuf key = {0};
    dc_strbuf_add(&key, DC_S("presence:user:"));
    dc_strbuf_add(&key, user_id);
    if (dc_strbuf_ok(&key)) {
        enum dc_status st =
            dc_kv_set(city->ctx->kv, dc_strbuf_slice(&key), DC_S("online"),
                      (uint64_t)city->ctx->settings->presence_lease_ms, NULL, NULL, NULL);
        if (st != DC_OK) {
            DC_LOG_WARN_EVENT(city->ctx->log, "city.lease_key_failed",
                              DC_LF_Z("code", dc_status_code(st)));
        }
    }
    dc_strbuf_free(&key);
}

static void renew(struct dc_city *city, struct dc_session *s)
{
    s->last_beat = dc_loop_now(city->ctx->loop);
    if (!s->is_live) {
        s->is_live = true;
        dc_list_push_back(&city->sessions->live, &s->link);
    }
    tell_session(city, s, "beat");
    keep_lease_key(city, s->user_id);
}

static bool has_beaten_within(const struct dc_city *city, const struct dc_session *s,
                              int64_t length_ms)
{
    return s->is_live && dc_loop_now(city->ctx->loop).ms - s->last_beat.ms < length_ms;
}

void dc_session_beat(struct dc_city *city, struct dc_session *s, enum dc_session_activity activity)
{
    int64_t lease_ms = city->ctx->settings->presence_lease_ms;
    if (s->activity != activity || !has_beaten_within(city, s, lease_ms / BEATS_IN_A_LEASE)) {
        s->activity = activity;
        renew(city, s);
    }
}

void dc_session_alive(struct dc_city *city, struct dc_session *s)
{
    if (s->is_live && !has_beaten_within(city, s, city->ctx->settings->presence_lease_ms / 4)) {
        renew(city, s);
    }
}

void dc_session_join(struct dc_city *city, struct dc_session *s, struct dc_city_room *room)
{
    s->room = room;
    renew(city, s);
}

void dc_session_leave(struct dc_city *city, struct dc_session *s)
{
    if (s->room != NULL) {
        tell_session(city, s, "leave");
        s->room = NULL;
    }
}

void dc_session_typing(struct dc_city *city, struct dc_session *s, bool is_typing)
{
    if (s->room != NULL) {
        tell_session(city, s, is_typing ? "typing" : "typing_stop");
    }
}

void dc_session_close(struct dc_city *city, struct dc_session *s)
{
    if (s->is_live) {
        tell_session(city, s, "close");
        dc_list_remove(&s->link);
        s->is_live = false;
    }
}

enum dc_status dc_sessions_http_member(struct dc_city *city, struct dc_slice user_id,
                                       struct dc_slice username, const struct dc_city_room *room,
                                       bool joins)
{
    struct dc_strbuf id = {0};
    dc_strbuf_add(&id, DC_S(DC_HTTP_SESSION_PREFIX));
    dc_strbuf_add(&id, user_id);
    enum dc_status st = DC_NO_MEMORY;
    if (dc_strbuf_ok(&id)) {
        const struct event e = {.op = joins ? "beat" : "leave",
                                .status = joins ? DC_SESSION_STATUS_PASSIVE : NULL,
                                .session_id = dc_strbuf_slice(&id),
                                .user_id = user_id,
                                .username = username,
                                .room = room};
        st = tell(city, &e);
    }
    if (st == DC_OK && joins) {
        keep_lease_key(city, user_id);
    }
    dc_strbuf_free(&id);
    return st;
}
