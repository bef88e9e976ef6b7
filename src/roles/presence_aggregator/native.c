/* Native sessions as a source: city.session.* from the gateways (roles/session_event.h). */
#include "base/mem.h"
#include "roles/presence_aggregator/aggregator.h"

struct native {
    struct dc_aggregator *a;
    struct dc_bus_sub *sub;
    struct dc_http_sessions *http;
    int64_t heard_ms;        /* last event, or the start */
    int64_t stale_until_ms;  /* sessions have been asked for, and are on their way */
    int64_t renews_until_ms; /* beats have been lost: what is announced counts as one */
};

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

/* --- sessions that hang on a person, not on a socket --- */

/* The user's own session of that kind; false: there is none, or this event is about it. */
static bool find_own(const struct native *n, const struct session_event *e, struct dc_slice prefix,
                     struct dc_strbuf *id)
{
    dc_strbuf_add(id, prefix);
    dc_strbuf_add(id, e->user_id);
    return dc_strbuf_ok(id) && !dc_slice_eq(e->session_id, dc_strbuf_slice(id)) &&
           dc_presence_session_is_known(n->a->core, dc_strbuf_slice(id));
}

/* Who joined over HTTP stays for as long as he shows up anywhere. */
static enum dc_status renew_http(const struct native *n, const struct session_event *e,
                                 struct dc_presence_now now)
{
    struct dc_strbuf id = {0};
    enum dc_status st = DC_OK;
    if (find_own(n, e, DC_S(DC_HTTP_SESSION_PREFIX), &id)) {
        st = dc_presence_session_beat(n->a->core, dc_strbuf_slice(&id), e->user_id, DC_SLICE_NULL,
                                      DC_PRESENCE_OFFLINE, now);
        dc_http_session_seen(n->http, e->user_id, e->username);
    }
    dc_strbuf_free(&id);
    return st;
}

/* Who was held because nobody had announced him is here by himself: after the grace, in which his
 * other sockets come back too, only that counts. */
static void end_held(const struct native *n, const struct session_event *e,
                     struct dc_presence_now now)
{
    struct dc_strbuf id = {0};
    if (n->a->held.by_id.count > 0 && find_own(n, e, DC_S(DC_HELD_PREFIX), &id)) {
        dc_presence_session_close(n->a->core, dc_strbuf_slice(&id), false, now);
        dc_fade_cancel(&n->a->held, e->user_id);
    }
    dc_strbuf_free(&id);
}

static bool is_http(const struct session_event *e)
{
    struct dc_slice rest = e->session_id;
    return dc_slice_take_prefix(&rest, DC_S(DC_HTTP_SESSION_PREFIX)) &&
           dc_slice_eq(rest, e->user_id);
}

/* --- events --- */

static enum dc_status beat(const struct native *n, const struct session_event *e, bool has_room,
                           bool renews, struct dc_presence_now now)
{
    struct dc_presence *core = n->a->core;
    enum dc_status st = DC_OK;
    if (renews || !dc_presence_session_is_known(core, e->session_id)) {
        st = dc_presence_session_beat(core, e->session_id, e->user_id, e->username,
                                      activity_of(e->status), now);
    }
    if (st == DC_OK && has_room) {
        st = dc_presence_session_join(core, e->session_id, e->room_id, now);
    }
    if (st != DC_OK) {
        return st;
    }
    end_held(n, e, now);
    if (is_http(e)) {
        dc_http_session_seen(n->http, e->user_id, e->username);
    }
    return renews ? renew_http(n, e, now) : DC_OK;
}

/* A room that nobody ever enters is forgotten like one that is empty. */
static enum dc_status need_room(const struct native *n, const struct session_event *e,
                                struct dc_presence_now now)
{
    bool was_idle = dc_presence_room_is_idle(n->a->core, e->room_id);
    enum dc_status st = dc_presence_room_add(n->a->core, e->room_id, e->room_slug, now);
    if (st == DC_OK && !was_idle && dc_presence_room_is_idle(n->a->core, e->room_id)) {
        struct dc_strbuf subject = {0};
        dc_agg_room_subject(e->room_slug, &subject);
        if (dc_strbuf_ok(&subject)) {
            (void)dc_fade_put(&n->a->room_fade, e->room_id, dc_strbuf_slice(&subject),
                              now.mono.ms); /* full: it stays until there is room */
        }
        dc_strbuf_free(&subject);
    }
    return st;
}

static enum dc_status apply(const struct native *n, const struct session_event *e)
{
    struct dc_presence *core = n->a->core;
    struct dc_presence_now now = dc_agg_now(n->a);
    bool has_room = e->room_id.ptr != NULL && e->room_slug.ptr != NULL;
    if (has_room) {
        enum dc_status st = need_room(n, e, now);
        if (st != DC_OK) {
            return st;
        }
    }
    bool is_announced = dc_slice_eq(e->op, DC_S("announce"));
    if (is_announced || dc_slice_eq(e->op, DC_S("beat"))) {
        return beat(n, e, has_room, !is_announced || now.mono.ms < n->renews_until_ms, now);
    }
    if (dc_slice_eq(e->op, DC_S("close"))) {
        dc_presence_session_close(core, e->session_id, false, now);
        return DC_OK;
    }
    if (!has_room) {
        return DC_INVALID;
    }
    if (dc_slice_eq(e->op, DC_S("room"))) {
        return DC_OK; /* known by now */
    }
    if (dc_slice_eq(e->op, DC_S("leave"))) {
        dc_presence_session_leave(core, e->session_id, e->room_id, now);
        return DC_OK;
    }
    bool is_typing = dc_slice_eq(e->op, DC_S("typing"));
    if (is_typing || dc_slice_eq(e->op, DC_S("typing_stop"))) {
        enum dc_status st =
            dc_presence_session_typing(core, e->session_id, e->room_id, is_typing, now);
        /* Typing may end on its own just before, with the membership or the lease. */
        return st == DC_NOT_FOUND && !is_typing ? DC_OK : st;
    }
    return DC_INVALID;
}

/* What we have told others ourselves. */
static bool is_ours(const struct native *n, struct dc_slice subject)
{
    struct dc_slice rest = subject;
    return dc_slice_take_prefix(&rest, DC_S("city.session.")) &&
           dc_slice_eq(rest, dc_slice_z(n->a->holder));
}

static void on_session(void *data, const struct dc_bus_message *m)
{
    struct native *n = data;
    struct dc_aggregator *a = n->a;
    struct session_event e = {0};
    struct dc_problems problems = {0};
    json_t *object = NULL;
    if (is_ours(n, m->subject)) {
        return;
    }
    dc_agg_heard(a);
    n->heard_ms = dc_agg_now_ms(a);
    a->events_in->value++;
    enum dc_status st = dc_json_parse(m->payload, &object, NULL);
    if (st == DC_OK) {
        st = dc_input_json(event_fields, DC_ARRAY_LEN(event_fields), object, &e, &problems);
    }
    if (st == DC_OK) {
        st = apply(n, &e);
    }
    if (st != DC_OK) {
        a->refused->value++;
        DC_LOG_WARN_EVENT(a->ctx->log, "presence.event_refused", DC_LF_T("subject", m->subject),
                          DC_LF_T("op", e.op), DC_LF_Z("code", dc_status_code(st)));
    }
    json_decref(object);
    dc_agg_fed(a);
}

/* --- the source --- */

static void ask(struct native *n, int64_t wait_ms)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "from", dc_slice_z(n->a->holder));
    dc_jsonw_end(&w);
    if (!dc_strbuf_ok(&out) ||
        dc_bus_say(n->a->ctx->bus, DC_S(DC_PRESENCE_ANNOUNCE), dc_strbuf_slice(&out)) != DC_OK) {
        DC_LOG_DEBUG_EVENT(n->a->ctx->log, "presence.unasked",
                           DC_LF_Z("detail", "gateways are asked again when the bus is back"));
    }
    dc_strbuf_free(&out);
    int64_t until_ms = dc_agg_now_ms(n->a) + wait_ms;
    n->stale_until_ms = until_ms > n->stale_until_ms ? until_ms : n->stale_until_ms;
}

static void refresh(void *self)
{
    struct native *n = self;
    ask(n, dc_agg_announce_wait_ms(n->a));
}

/* Gateways come back to the bus one after the other, and tell their sessions then: they get a whole
 * lease of leadership (5 s). */
static void recover(void *self)
{
    struct native *n = self;
    ask(n, dc_agg_leader_lease_ms(n->a));
    n->renews_until_ms = n->stale_until_ms;
    dc_agg_arm_clock(n->a);
}

static void on_ended(void *data)
{
    struct native *n = data;
    n->stale_until_ms = INT64_MAX;
}

static enum dc_status start(struct dc_aggregator *a, void **self, struct dc_error *err)
{
    struct native *n = dc_calloc(1, sizeof(*n));
    const struct dc_bus_sub_opts opts = {.pattern = DC_S("city.session.*"),
                                         .start = DC_BUS_NEW,
                                         .interrupted = recover,
                                         .ended = on_ended};
    n->a = a;
    n->heard_ms = dc_agg_now_ms(a);
    enum dc_status st = dc_bus_subscribe(a->ctx->bus, &opts, on_session, n, &n->sub, err);
    if (st != DC_OK) {
        dc_free(n);
        return st;
    }
    n->http = dc_http_sessions_create(a);
    *self = n;
    return DC_OK;
}

static void stop(void *self)
{
    struct native *n = self;
    dc_bus_unsubscribe(n->sub);
    dc_http_sessions_destroy(n->http);
    dc_free(n);
}

static bool is_deaf(const struct native *n)
{
    return dc_agg_now_ms(n->a) - n->a->heard_ms > dc_agg_deaf_after_ms(n->a);
}

static bool may_miss(const void *self)
{
    const struct native *n = self;
    return is_deaf(n) || dc_agg_now_ms(n->a) < n->renews_until_ms;
}

static enum dc_source_state state(const void *self, int64_t *age_ms)
{
    const struct native *n = self;
    int64_t now_ms = dc_agg_now_ms(n->a);
    *age_ms = now_ms - n->heard_ms;
    int64_t silence_ms = now_ms - n->a->heard_ms;
    if (n->stale_until_ms == INT64_MAX || silence_ms > 2 * dc_agg_leader_lease_ms(n->a)) {
        return DC_SOURCE_DOWN;
    }
    return now_ms < n->stale_until_ms || is_deaf(n) ? DC_SOURCE_STALE : DC_SOURCE_FRESH;
}

void dc_native_announce_http(void *self)
{
    const struct native *n = self;
    dc_http_sessions_announce(n->http);
}

const struct dc_source dc_source_native = {.name = "native",
                                           .start = start,
                                           .stop = stop,
                                           .refresh = refresh,
                                           .recover = recover,
                                           .may_miss = may_miss,
                                           .state = state};
