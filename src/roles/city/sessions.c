/* Native sessions of this gateway. */
#include "roles/city/sessions.h"

#include "base/mem.h"

struct dc_city_sessions {
    struct dc_city *city;
    struct dc_list live;
    struct dc_bus_sub *announce_sub;
    char subject[64];
};

static const char *activity_name(enum dc_session_activity activity)
{
    static const char *const names[] = {[DC_SESSION_PASSIVE] = "passive",
                                        [DC_SESSION_ONLINE] = "online",
                                        [DC_SESSION_AWAY] = "away"};
    return names[activity];
}

/* --- telling --- */

/* One event for the aggregator: op, session, and what the op needs. room may be NULL. */
static void tell(struct dc_city *city, const char *op_z, struct dc_slice session_id,
                 struct dc_slice user_id, struct dc_slice username, const char *status_z,
                 const struct dc_city_room *room)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "op", dc_slice_z(op_z));
    dc_jsonw_key_text(&w, "session_id", session_id);
    dc_jsonw_key_text(&w, "user_id", user_id);
    if (username.len > 0) {
        dc_jsonw_key_text(&w, "username", username);
    }
    if (status_z != NULL) {
        dc_jsonw_key_text(&w, "status", dc_slice_z(status_z));
    }
    if (room != NULL) {
        dc_jsonw_key_text(&w, "room_id", room->row.id);
        dc_jsonw_key_text(&w, "room_slug", room->row.slug);
    }
    dc_jsonw_end(&w);
    enum dc_status st = DC_NO_MEMORY;
    if (dc_strbuf_ok(&out)) {
        st = dc_bus_publish(city->ctx->bus, dc_slice_z(city->sessions->subject), DC_SLICE_NULL,
                            dc_strbuf_slice(&out), NULL, NULL, NULL);
    }
    if (st != DC_OK) {
        /* The next beat tells it again. */
        DC_LOG_WARN_EVENT(city->ctx->log, "city.session_untold", DC_LF_Z("op", op_z),
                          DC_LF_Z("code", dc_status_code(st)));
    }
    dc_strbuf_free(&out);
}

static void tell_session(struct dc_city *city, const struct dc_session *s, const char *op_z,
                         const struct dc_city_room *room)
{
    tell(city, op_z, dc_slice_z(s->id), s->user_id, s->username, activity_name(s->activity), room);
}

void dc_sessions_announce_room(struct dc_city *city, const struct dc_city_room *room)
{
    const struct dc_city_room *at = room != NULL ? room : dc_city_rooms_next(city->rooms, NULL);
    while (at != NULL) {
        tell(city, "room", DC_S("-"), DC_S("-"), DC_SLICE_NULL, NULL, at);
        at = room != NULL ? NULL : dc_city_rooms_next(city->rooms, at);
    }
}

static void on_announce(void *data, const struct dc_bus_message *m)
{
    struct dc_city_sessions *ss = data;
    (void)m;
    dc_sessions_announce_room(ss->city, NULL);
    DC_LIST_FOREACH (it, &ss->live) {
        const struct dc_session *s = DC_LIST_ENTRY(it, struct dc_session, link);
        tell_session(ss->city, s, "beat", NULL);
        if (s->room != NULL) {
            tell_session(ss->city, s, "join", s->room);
        }
    }
}

enum dc_status dc_sessions_create(struct dc_city *city, struct dc_city_sessions **out,
                                  struct dc_error *err)
{
    struct dc_city_sessions *ss = dc_calloc(1, sizeof(*ss));
    const struct dc_bus_sub_opts opts = {.pattern = DC_S("city.presence.announce"),
                                         .start = DC_BUS_NEW};
    ss->city = city;
    dc_list_init(&ss->live);
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
    DC_ASSERT(dc_list_is_empty(&ss->live));
    dc_bus_unsubscribe(ss->announce_sub);
    dc_free(ss);
}

/* --- one session --- */

void dc_session_init(struct dc_city *city, struct dc_session *s)
{
    dc_list_init(&s->link);
    int n = snprintf(s->id, sizeof(s->id), "%s-%llu", city->gateway_id,
                     (unsigned long long)++city->next_session);
    DC_ASSERT(n > 0 && (size_t)n < sizeof(s->id));
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

void dc_session_beat(struct dc_city *city, struct dc_session *s, enum dc_session_activity activity)
{
    s->activity = activity;
    s->last_beat = dc_loop_now(city->ctx->loop);
    if (!s->is_live) {
        s->is_live = true;
        dc_list_push_back(&city->sessions->live, &s->link);
    }
    tell_session(city, s, "beat", NULL);
    keep_lease_key(city, s->user_id);
}

void dc_session_alive(struct dc_city *city, struct dc_session *s)
{
    int64_t quarter_ms = city->ctx->settings->presence_lease_ms / 4;
    if (s->is_live && dc_loop_now(city->ctx->loop).ms - s->last_beat.ms >= quarter_ms) {
        dc_session_beat(city, s, s->activity);
    }
}

void dc_session_join(struct dc_city *city, struct dc_session *s, struct dc_city_room *room)
{
    dc_session_beat(city, s, s->activity);
    s->room = room;
    tell_session(city, s, "join", room);
}

void dc_session_leave(struct dc_city *city, struct dc_session *s)
{
    if (s->room != NULL) {
        tell_session(city, s, "leave", s->room);
        s->room = NULL;
    }
}

void dc_session_typing(struct dc_city *city, struct dc_session *s, bool is_typing)
{
    if (s->room != NULL) {
        tell_session(city, s, is_typing ? "typing" : "typing_stop", s->room);
    }
}

void dc_session_close(struct dc_city *city, struct dc_session *s)
{
    if (s->is_live) {
        tell_session(city, s, "close", NULL);
        dc_list_remove(&s->link);
        s->is_live = false;
    }
}

void dc_sessions_http_member(struct dc_city *city, struct dc_slice user_id,
                             struct dc_slice username, struct dc_city_room *room, bool joins)
{
    struct dc_strbuf id = {0};
    dc_strbuf_add(&id, DC_S("http-"));
    dc_strbuf_add(&id, user_id);
    if (dc_strbuf_ok(&id)) {
        if (joins) {
            tell(city, "beat", dc_strbuf_slice(&id), user_id, username,
                 activity_name(DC_SESSION_PASSIVE), NULL);
        }
        tell(city, joins ? "join" : "leave", dc_strbuf_slice(&id), user_id, username, NULL, room);
    }
    dc_strbuf_free(&id);
}
