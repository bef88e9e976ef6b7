/* Native sessions of this gateway. */
#include "roles/city/sessions.h"

#include "base/mem.h"
#include "roles/session_event.h"

/* Beats without news are told once in this part of a lease. */
#define BEATS_IN_A_LEASE 64
/* Told in one turn when everything is announced: the bus and the loop have others to serve. */
#define ANNOUNCED_A_TURN 256
/* The clock is looked at so often in a lease; later than that by a quarter of the lease, and by
 * this at least, is no busy loop any more: the process has been stopped. */
#define LOOKS_IN_A_LEASE 8
#define SLEPT_MIN_MS     1000

struct dc_city_sessions {
    struct dc_city *city;
    struct dc_list live;
    struct dc_list announcing; /* those of live that are still to be announced */
    bool is_renewing;          /* they are announced as beats */
    struct dc_turn turn;
    struct dc_bus_sub *announce_sub;
    struct dc_timer watch;
    struct dc_mono watched_at;
    int64_t slept_ms; /* in all */
    bool are_keys_failing, is_bus_failing;
    char subject[64];
};

uint64_t dc_city_presence_wait_ms(struct dc_city *city, struct dc_slice user_id)
{
    return dc_rate_limit_take(city->presence_limit, user_id, dc_loop_now(city->ctx->loop));
}

static int64_t lease_ms(const struct dc_city *city)
{
    return city->ctx->settings->presence_lease_ms;
}

/* The clock of sessions: it stands still while the process does. */
static int64_t now_ms(const struct dc_city *city)
{
    return dc_loop_now(city->ctx->loop).ms - city->sessions->slept_ms;
}

static bool has_beaten_within(const struct dc_city *city, const struct dc_session *s,
                              int64_t length_ms)
{
    return s->is_live && now_ms(city) - s->beaten_at_ms < length_ms;
}

/* --- telling --- */

struct event {
    const char *op, *status; /* status: NULL for what is no beat */
    struct dc_slice session_id, user_id, username;
    const struct dc_city_room *room; /* NULL: none */
};

/* Once for each change: while the bus is away, every beat of everybody fails. */
static void note_told(struct dc_city *city, enum dc_status st)
{
    struct dc_city_sessions *ss = city->sessions;
    bool is_failing = st != DC_OK;
    if (is_failing && !ss->is_bus_failing) {
        DC_LOG_WARN_EVENT(
            city->ctx->log, "city.sessions_untold", DC_LF_Z("code", dc_status_code(st)),
            DC_LF_Z("detail", "the bus takes nothing: beats tell it all again later"));
    } else if (!is_failing && ss->is_bus_failing) {
        DC_LOG_INFO_EVENT(city->ctx->log, "city.sessions_told", DC_LF_B("ok", true));
    }
    ss->is_bus_failing = is_failing;
}

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
        st = dc_bus_say(city->ctx->bus, dc_slice_z(city->sessions->subject), dc_strbuf_slice(&out));
    }
    note_told(city, st);
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
                            .status = activity_name((enum dc_session_activity)s->activity),
                            .session_id = dc_slice_z(id),
                            .user_id = dc_session_user_id(s),
                            .username = dc_session_username(s),
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
    const char *op_z = ss->is_renewing ? "beat" : "announce";
    size_t n = 0;
    while (!dc_list_is_empty(&ss->announcing) && n++ < ANNOUNCED_A_TURN) {
        struct dc_session *s = DC_LIST_ENTRY(ss->announcing.next, struct dc_session, link);
        dc_list_remove(&s->link);
        dc_list_push_back(&ss->live, &s->link);
        if (has_beaten_within(ss->city, s, lease_ms(ss->city))) {
            tell_session(ss->city, s, op_z);
        }
    }
    if (!dc_list_is_empty(&ss->announcing)) {
        dc_turn_schedule(ss->city->ctx->loop, &ss->turn);
    } else {
        ss->is_renewing = false;
    }
}

static void announce(struct dc_city_sessions *ss, bool renews)
{
    ss->is_renewing = ss->is_renewing || renews;
    dc_list_move_all(&ss->announcing, &ss->live);
    dc_turn_schedule(ss->city->ctx->loop, &ss->turn);
}

static void on_announce(void *data, const struct dc_bus_message *m)
{
    (void)m;
    announce(data, false);
}

/* What was told meanwhile may be lost, and leases with it. */
static void on_interrupted(void *data)
{
    announce(data, true);
}

void dc_sessions_have_slept(struct dc_city *city, int64_t slept_ms)
{
    DC_LOG_WARN_EVENT(city->ctx->log, "city.has_slept", DC_LF_I("ms", slept_ms));
    city->sessions->slept_ms += slept_ms;
    announce(city->sessions, true);
}

static int64_t watch_every_ms(const struct dc_city *city)
{
    int64_t every_ms = lease_ms(city) / LOOKS_IN_A_LEASE;
    return every_ms > 10 ? every_ms : 10;
}

static void on_watch(struct dc_timer *t)
{
    struct dc_city_sessions *ss = DC_CONTAINER_OF(t, struct dc_city_sessions, watch);
    int64_t late_ms =
        dc_loop_now(ss->city->ctx->loop).ms - ss->watched_at.ms - watch_every_ms(ss->city);
    int64_t quarter_ms = lease_ms(ss->city) / 4;
    ss->watched_at = dc_loop_now(ss->city->ctx->loop);
    if (late_ms > (quarter_ms > SLEPT_MIN_MS ? quarter_ms : SLEPT_MIN_MS)) {
        dc_sessions_have_slept(ss->city, late_ms);
    }
}

enum dc_status dc_sessions_create(struct dc_city *city, struct dc_city_sessions **out,
                                  struct dc_error *err)
{
    struct dc_city_sessions *ss = dc_calloc(1, sizeof(*ss));
    const struct dc_bus_sub_opts opts = {.pattern = DC_S("city.presence.announce"),
                                         .start = DC_BUS_NEW,
                                         .interrupted = on_interrupted};
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
    ss->watched_at = dc_loop_now(city->ctx->loop);
    dc_timer_init(city->ctx->loop, &ss->watch, on_watch);
    dc_timer_start(&ss->watch, (uint64_t)watch_every_ms(city), (uint64_t)watch_every_ms(city));
    *out = ss;
    return DC_OK;
}

static void on_watch_closed(struct dc_timer *t)
{
    dc_free(DC_CONTAINER_OF(t, struct dc_city_sessions, watch));
}

void dc_sessions_destroy(struct dc_city_sessions *ss)
{
    if (ss == NULL) {
        return;
    }
    DC_ASSERT(dc_list_is_empty(&ss->live) && dc_list_is_empty(&ss->announcing));
    dc_turn_cancel(&ss->turn);
    dc_bus_unsubscribe(ss->announce_sub);
    dc_timer_close(&ss->watch, on_watch_closed); /* frees ss, and touches nothing else */
}

/* --- one session --- */

void dc_session_init(struct dc_city *city, struct dc_session *s, struct dc_slice user_id,
                     struct dc_slice username)
{
    dc_list_init(&s->link);
    s->number = ++city->next_session;
    dc_session_name(s, user_id, username);
}

void dc_session_name(struct dc_session *s, struct dc_slice user_id, struct dc_slice username)
{
    DC_ASSERT(!s->is_live && user_id.len <= UINT16_MAX && username.len <= UINT16_MAX);
    char *names = dc_alloc(user_id.len + username.len + 1);
    if (user_id.len > 0) {
        memcpy(names, user_id.ptr, user_id.len);
    }
    if (username.len > 0) {
        memcpy(names + user_id.len, username.ptr, username.len);
    }
    dc_free(s->names); /* the slices may point into it */
    s->names = names;
    s->user_id_len = (uint16_t)user_id.len;
    s->username_len = (uint16_t)username.len;
}

/* Once for each change: the key is a service to others, and comes back with the next beat. */
static void note_key(struct dc_city *city, enum dc_status st)
{
    struct dc_city_sessions *ss = city->sessions;
    bool is_failing = st != DC_OK;
    if (st == DC_CANCELED || st == DC_CLOSED) {
        return; /* we are stopping */
    }
    if (is_failing && !ss->are_keys_failing) {
        DC_LOG_WARN_EVENT(
            city->ctx->log, "city.lease_keys_failing", DC_LF_Z("code", dc_status_code(st)),
            DC_LF_Z("detail", "the key-value store is away; presence goes on without"));
    } else if (!is_failing && ss->are_keys_failing) {
        DC_LOG_INFO_EVENT(city->ctx->log, "city.lease_keys_back", DC_LF_B("ok", true));
    }
    ss->are_keys_failing = is_failing;
}

static void on_key(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                   const struct dc_error *err)
{
    struct dc_city *city = data;
    (void)value;
    (void)number;
    (void)err; /* its status says it all */
    note_key(city, st);
    dc_city_pending_end(city);
}

static void keep_lease_key(struct dc_city *city, struct dc_slice user_id)
{
    struct dc_strbuf key = {0};
    enum dc_status st = DC_NO_MEMORY;
    dc_strbuf_add(&key, DC_S("presence:user:"));
    dc_strbuf_add(&key, user_id);
    if (dc_strbuf_ok(&key)) {
        st = dc_kv_set(city->ctx->kv, dc_strbuf_slice(&key), DC_S("online"),
                       (uint64_t)lease_ms(city), on_key, city, NULL);
    }
    if (st == DC_OK) {
        dc_city_pending_begin(city);
    } else {
        note_key(city, st);
    }
    dc_strbuf_free(&key);
}

static void renew(struct dc_city *city, struct dc_session *s)
{
    s->beaten_at_ms = now_ms(city);
    if (!s->is_live) {
        s->is_live = true;
        dc_list_push_back(&city->sessions->live, &s->link);
    }
    tell_session(city, s, "beat");
    keep_lease_key(city, dc_session_user_id(s));
}

void dc_session_beat(struct dc_city *city, struct dc_session *s, enum dc_session_activity activity)
{
    if (s->activity != (uint8_t)activity ||
        !has_beaten_within(city, s, lease_ms(city) / BEATS_IN_A_LEASE)) {
        s->activity = (uint8_t)activity;
        renew(city, s);
    }
}

void dc_session_alive(struct dc_city *city, struct dc_session *s)
{
    if (s->is_live && !has_beaten_within(city, s, lease_ms(city) / 4)) {
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

void dc_session_deinit(struct dc_city *city, struct dc_session *s)
{
    dc_session_close(city, s);
    dc_free(s->names);
    s->names = NULL;
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
