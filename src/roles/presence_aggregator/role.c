/* matrix-presence-aggregator: the single centre of truth about presence (specs/global-presence,
 * DESIGN §6).  Hears native sessions from the gateways on the bus (city.session.*), feeds the pure
 * core, and publishes what the core reports:
 *   city.presence.room.<slug>   throttled state of a room, last value kept
 *   city.presence.user.<id>     status of a person, last value kept
 *   city.presence.city          totals, last value kept
 *   city.member.<room>, city.typing.<room>   who comes, goes, types: for the sockets of the room
 * At its start it asks the gateways to announce what they have (city.presence.announce). */
#include "roles/role.h"
#include "base/encoding.h"
#include "base/mem.h"
#include "roles/session_event.h"

#include <openssl/evp.h>

#define MAX_USERS          1000000
#define MAX_ROOMS          100000
#define MAX_SESSIONS       1000000
#define MAX_ROOMS_PER_USER 1000

struct aggregator {
    struct dc_ctx *ctx;
    struct dc_presence *core;
    struct dc_timer tick;
    struct dc_bus_sub *sub;
    struct dc_counter *events_in, *published, *refused;
    struct dc_gauge *online;
    void (*stopped)(void *data);
    void *stopped_data;
};

static struct dc_presence_now now_of(const struct aggregator *a)
{
    return (struct dc_presence_now){dc_loop_now(a->ctx->loop), dc_utc_now()};
}

/* --- publishing --- */

/* The id as one token.  A subject has 255 bytes and every unusual byte of an id becomes three: what
 * is too long then is named by its hash, and the payload says whose it is. */
#define TOKEN_MAX_BYTES 200
static void write_token(struct dc_strbuf *subject, struct dc_slice id)
{
    struct dc_strbuf token = {0};
    uint8_t digest[32];
    dc_bus_token(&token, id);
    if (token.len > TOKEN_MAX_BYTES &&
        EVP_Digest(id.ptr, id.len, digest, NULL, EVP_sha256(), NULL) == 1) {
        dc_strbuf_clear(&token);
        dc_strbuf_add(&token, DC_S("sha256-"));
        dc_hex_encode(&token, dc_slice_make(digest, sizeof(digest)));
    }
    dc_strbuf_add(subject, dc_strbuf_slice(&token));
    dc_strbuf_free(&token);
}

/* Subject prefix + token; frees *payload. */
static void publish(struct aggregator *a, struct dc_slice prefix, struct dc_slice token,
                    struct dc_strbuf *payload)
{
    struct dc_strbuf subject = {0};
    enum dc_status st = DC_NO_MEMORY;
    dc_strbuf_add(&subject, prefix);
    if (token.ptr != NULL) {
        write_token(&subject, token);
    }
    if (dc_strbuf_ok(&subject) && dc_strbuf_ok(payload)) {
        st = dc_bus_publish(a->ctx->bus, dc_strbuf_slice(&subject), DC_SLICE_NULL,
                            dc_strbuf_slice(payload), NULL, NULL, NULL);
    }
    if (st == DC_OK) {
        a->published->value++;
    } else {
        DC_LOG_WARN_EVENT(a->ctx->log, "presence.publish_failed",
                          DC_LF_T("subject", dc_strbuf_slice(&subject)),
                          DC_LF_Z("code", dc_status_code(st)));
    }
    dc_strbuf_free(&subject);
    dc_strbuf_free(payload);
}

static void write_person(struct dc_jsonw *w, const struct dc_presence_user_state *u)
{
    dc_jsonw_key_text(w, "user_id", u->user_id);
    dc_jsonw_key_text(w, "username", u->username);
    dc_jsonw_key_text(w, "status", dc_slice_z(dc_presence_status_name(u->status)));
}

static void on_user(void *data, const struct dc_presence_user_state *u)
{
    struct aggregator *a = data;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("user.presence"));
    write_person(&w, u);
    dc_jsonw_key_i64(&w, "last_active_ts", u->last_active.ms);
    dc_jsonw_end(&w);
    publish(a, DC_S("city.presence.user."), u->user_id, &out);
}

static void on_member(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      enum dc_presence_member_change change)
{
    static const char *const words[] = {
        [DC_MEMBER_JOINED] = "joined", [DC_MEMBER_LEFT] = "left", [DC_MEMBER_STATUS] = "status"};
    struct aggregator *a = data;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "change", dc_slice_z(words[change]));
    dc_jsonw_key_text(&w, "room_id", room_id);
    write_person(&w, u);
    dc_jsonw_end(&w);
    publish(a, DC_S("city.member."), room_id, &out);
}

static void on_typing(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      bool is_typing)
{
    struct aggregator *a = data;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_bool(&w, "typing", is_typing);
    dc_jsonw_key_text(&w, "room_id", room_id);
    write_person(&w, u);
    dc_jsonw_end(&w);
    publish(a, DC_S("city.typing."), room_id, &out);
}

static void write_ids(struct dc_jsonw *w, const char *key_z, const struct dc_slice *ids, size_t n)
{
    dc_jsonw_key(w, key_z);
    dc_jsonw_array(w);
    for (size_t i = 0; i < n; i++) {
        dc_jsonw_text(w, ids[i]);
    }
    dc_jsonw_end(w);
}

static void write_online_user(void *data, const struct dc_presence_user_state *u)
{
    struct dc_jsonw *w = data;
    dc_jsonw_object(w);
    write_person(w, u);
    dc_jsonw_end(w);
}

static void on_room(void *data, const struct dc_presence_room_state *r)
{
    struct aggregator *a = data;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("room.presence"));
    dc_jsonw_key_text(&w, "room_slug", r->slug);
    dc_jsonw_key_text(&w, "room_id", r->room_id);
    dc_jsonw_key_null(&w, "matrix_room_id");
    dc_jsonw_key_null(&w, "matrix_room_alias");
    dc_jsonw_key_i64(&w, "online_count", r->online_count);
    dc_jsonw_key_i64(&w, "away_count", r->away_count);
    dc_jsonw_key_i64(&w, "typing_count", r->typing_count);
    write_ids(&w, "typing_users", r->typing_users, r->n_typing_users);
    dc_jsonw_key(&w, "online_users");
    dc_jsonw_array(&w);
    dc_presence_room_members(a->core, r->room_id, DC_PRESENCE_SAMPLE, write_online_user, &w);
    dc_jsonw_end(&w);
    dc_jsonw_key_i64(&w, "last_event_ts", r->last_event.ms);
    dc_jsonw_end(&w);
    publish(a, DC_S("city.presence.room."), r->slug, &out);
}

static void on_totals(void *data, const struct dc_presence_totals *t)
{
    struct aggregator *a = data;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    a->online->value = t->online;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("city.presence"));
    dc_jsonw_key_i64(&w, "online_total", t->online);
    dc_jsonw_key_i64(&w, "away_total", t->away);
    dc_jsonw_end(&w);
    publish(a, DC_S("city.presence.city"), DC_SLICE_NULL, &out);
}

/* --- hearing --- */

/* The core says when it is to be called next. */
static void arm(struct aggregator *a)
{
    int64_t due_ms = dc_presence_next_due_ms(a->core);
    if (due_ms == INT64_MAX) {
        dc_timer_stop(&a->tick);
        return;
    }
    int64_t wait_ms = due_ms - dc_loop_now(a->ctx->loop).ms;
    dc_timer_start(&a->tick, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

static void on_tick(struct dc_timer *t)
{
    struct aggregator *a = DC_CONTAINER_OF(t, struct aggregator, tick);
    (void)dc_presence_tick(a->core, now_of(a));
    arm(a);
}

struct session_event {
    struct dc_slice op, session_id, user_id, username, status, room_id, room_slug;
};
static const struct dc_field event_fields[] = {
    {"op", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 1, 16, offsetof(struct session_event, op)},
    {"session_id", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 1, DC_PRESENCE_ID_MAX,
     offsetof(struct session_event, session_id)},
    {"user_id", DC_FIELD_ID, DC_FIELD_REQUIRED, 0, 0, offsetof(struct session_event, user_id)},
    {"username", DC_FIELD_TEXT, DC_FIELD_NULLABLE, 0, DC_PRESENCE_ID_MAX,
     offsetof(struct session_event, username)},
    {"status", DC_FIELD_TEXT, DC_FIELD_NULLABLE, 0, 16, offsetof(struct session_event, status)},
    {"room_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct session_event, room_id)},
    {"room_slug", DC_FIELD_SLUG, DC_FIELD_NULLABLE, 0, 0,
     offsetof(struct session_event, room_slug)},
};

static enum dc_presence_status activity_of(struct dc_slice word)
{
    if (dc_slice_eq(word, DC_S(DC_SESSION_STATUS_PASSIVE))) {
        return DC_PRESENCE_OFFLINE; /* the core's name for it */
    }
    return dc_slice_eq(word, DC_S(DC_SESSION_STATUS_AWAY)) ? DC_PRESENCE_AWAY : DC_PRESENCE_ONLINE;
}

/* Who joined over HTTP stays for as long as he shows up anywhere. */
static enum dc_status renew_http(struct aggregator *a, const struct session_event *e,
                                 struct dc_presence_now now)
{
    struct dc_strbuf id = {0};
    enum dc_status st = DC_OK;
    dc_strbuf_add(&id, DC_S(DC_HTTP_SESSION_PREFIX));
    dc_strbuf_add(&id, e->user_id);
    if (!dc_strbuf_ok(&id)) {
        st = DC_NO_MEMORY;
    } else if (!dc_slice_eq(e->session_id, dc_strbuf_slice(&id)) &&
               dc_presence_session_is_known(a->core, dc_strbuf_slice(&id))) {
        st = dc_presence_session_beat(a->core, dc_strbuf_slice(&id), e->user_id, DC_SLICE_NULL,
                                      DC_PRESENCE_OFFLINE, now);
    }
    dc_strbuf_free(&id);
    return st;
}

static enum dc_status beat(struct aggregator *a, const struct session_event *e, bool has_room,
                           struct dc_presence_now now)
{
    enum dc_status st = dc_presence_session_beat(a->core, e->session_id, e->user_id, e->username,
                                                 activity_of(e->status), now);
    if (st == DC_OK && has_room) {
        st = dc_presence_session_join(a->core, e->session_id, e->room_id, now);
    }
    return st == DC_OK ? renew_http(a, e, now) : st;
}

static enum dc_status apply(struct aggregator *a, const struct session_event *e)
{
    struct dc_presence_now now = now_of(a);
    bool has_room = e->room_id.ptr != NULL && e->room_slug.ptr != NULL;
    if (has_room) {
        enum dc_status st = dc_presence_room_add(a->core, e->room_id, e->room_slug, now);
        if (st != DC_OK) {
            return st;
        }
    }
    if (dc_slice_eq(e->op, DC_S("beat"))) {
        return beat(a, e, has_room, now);
    }
    if (dc_slice_eq(e->op, DC_S("close"))) {
        dc_presence_session_close(a->core, e->session_id, false, now);
        return DC_OK;
    }
    if (!has_room) {
        return DC_INVALID;
    }
    if (dc_slice_eq(e->op, DC_S("room"))) {
        return DC_OK; /* known by now */
    }
    if (dc_slice_eq(e->op, DC_S("leave"))) {
        dc_presence_session_leave(a->core, e->session_id, e->room_id, now);
        return DC_OK;
    }
    bool is_typing = dc_slice_eq(e->op, DC_S("typing"));
    if (is_typing || dc_slice_eq(e->op, DC_S("typing_stop"))) {
        enum dc_status st =
            dc_presence_session_typing(a->core, e->session_id, e->room_id, is_typing, now);
        /* Typing may end on its own just before, with the membership or the lease. */
        return st == DC_NOT_FOUND && !is_typing ? DC_OK : st;
    }
    return DC_INVALID;
}

static void on_session(void *data, const struct dc_bus_message *m)
{
    struct aggregator *a = data;
    struct session_event e = {0};
    struct dc_problems problems = {0};
    json_t *object = NULL;
    a->events_in->value++;
    enum dc_status st = dc_json_parse(m->payload, &object, NULL);
    if (st == DC_OK) {
        st = dc_input_json(event_fields, DC_ARRAY_LEN(event_fields), object, &e, &problems);
    }
    if (st == DC_OK) {
        st = apply(a, &e);
    }
    if (st != DC_OK) {
        a->refused->value++;
        DC_LOG_WARN_EVENT(a->ctx->log, "presence.event_refused", DC_LF_T("subject", m->subject),
                          DC_LF_T("op", e.op), DC_LF_Z("code", dc_status_code(st)));
    }
    json_decref(object);
    arm(a);
}

/* --- role --- */

static enum dc_status start(struct dc_ctx *ctx, void (*ready)(void *data), void *ready_data,
                            void **state, struct dc_error *err)
{
    static const struct dc_presence_callbacks callbacks = {.user = on_user,
                                                           .member = on_member,
                                                           .typing = on_typing,
                                                           .room = on_room,
                                                           .totals = on_totals};
    const struct dc_settings *settings = ctx->settings;
    struct dc_presence_opts opts = {.lease_ms = (uint64_t)settings->presence_lease_ms,
                                    .close_grace_ms = (uint64_t)settings->presence_close_grace_ms,
                                    .typing_ms = (uint64_t)settings->typing_lease_ms,
                                    .throttle_ms = (uint64_t)settings->room_presence_throttle_ms,
                                    .max_users = MAX_USERS,
                                    .max_rooms = MAX_ROOMS,
                                    .max_sessions = MAX_SESSIONS,
                                    .max_rooms_per_user = MAX_ROOMS_PER_USER};
    struct aggregator *a = dc_calloc(1, sizeof(*a));
    dc_random_fill(NULL, opts.hash_seed, sizeof(opts.hash_seed));
    a->ctx = ctx;
    enum dc_status st = dc_presence_create(&opts, &callbacks, a, &a->core, err);
    if (st != DC_OK) {
        goto fail;
    }
    a->events_in = dc_metrics_counter(ctx->metrics, "daarion_presence_events_total", NULL,
                                      "Session events heard on the bus.");
    a->published = dc_metrics_counter(ctx->metrics, "daarion_presence_published_total", NULL,
                                      "Presence events published on the bus.");
    a->refused = dc_metrics_counter(ctx->metrics, "daarion_presence_refused_total", NULL,
                                    "Session events that could not be applied.");
    a->online = dc_metrics_gauge(ctx->metrics, "daarion_presence_online_users", NULL,
                                 "People who are online or away.");
    const struct dc_bus_sub_opts sub = {.pattern = DC_S("city.session.*"), .start = DC_BUS_NEW};
    st = dc_bus_subscribe(ctx->bus, &sub, on_session, a, &a->sub, err);
    if (st != DC_OK) {
        goto fail;
    }
    dc_timer_init(ctx->loop, &a->tick, on_tick);
    st = dc_bus_publish(ctx->bus, DC_S("city.presence.announce"), DC_SLICE_NULL, DC_S("{}"), NULL,
                        NULL, NULL);
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(ctx->log, "presence.announce_failed",
                          DC_LF_Z("code", dc_status_code(st)));
    }
    *state = a;
    ready(ready_data);
    return DC_OK;
fail:
    dc_presence_destroy(a->core);
    dc_free(a);
    return st;
}

static void on_tick_closed(struct dc_timer *t)
{
    struct aggregator *a = DC_CONTAINER_OF(t, struct aggregator, tick);
    void (*stopped)(void *) = a->stopped;
    void *data = a->stopped_data;
    dc_free(a);
    stopped(data);
}

static void stop(void *state, void (*stopped)(void *data), void *data)
{
    struct aggregator *a = state;
    a->stopped = stopped;
    a->stopped_data = data;
    dc_bus_unsubscribe(a->sub);
    dc_presence_destroy(a->core);
    dc_timer_close(&a->tick, on_tick_closed);
}

const struct dc_role dc_role_presence_aggregator = {
    .name = "matrix-presence-aggregator",
    .summary = "who is where: sessions in, presence of rooms and people out",
    .port = 7026,
    .needs = DC_NEEDS_BUS,
    .start = start,
    .stop = stop,
};
