/* The aggregator as a candidate: its lease in the key-value store, its signs of life on the bus,
 * and the phases from standby to leading.  Who may publish is decided in domain/presence_leader. */
#include "base/mem.h"
#include "roles/presence_aggregator/aggregator.h"

#define LEASE_NAME "presence:leader"

/* --- out --- */

static void give_sign(struct dc_aggregator *a, const char *state_z)
{
    enum dc_source_state source = dc_agg_source_state(a);
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_i64(&w, "term", a->term);
    dc_jsonw_key_i64(&w, "gen", a->gen);
    dc_jsonw_key_i64(&w, "member_gen", a->member_gen);
    dc_jsonw_key_text(&w, "holder", dc_slice_z(a->holder));
    dc_jsonw_key_text(&w, "state", dc_slice_z(state_z));
    dc_jsonw_key_text(&w, "source", dc_slice_z(dc_agg_source_word(source)));
    dc_jsonw_key_i64(&w, "every_ms", dc_presence_leader_every_ms(&a->leader));
    dc_jsonw_key_i64(&w, "sent_ms", dc_mono_now().ms);
    dc_jsonw_end(&w);
    dc_agg_say(a, DC_S(DC_PRESENCE_LEADER), &out);
    a->sign_due_ms = dc_agg_now_ms(a) + dc_presence_leader_every_ms(&a->leader);
}

/* To itself: whoever does not hear it is deaf. */
static void write_call_subject(const struct dc_aggregator *a, struct dc_strbuf *out)
{
    dc_strbuf_add(out, DC_S("city.presence.call."));
    dc_strbuf_add_z(out, a->holder);
}

static void call(struct dc_aggregator *a)
{
    struct dc_strbuf subject = {0};
    struct dc_strbuf payload = {0};
    write_call_subject(a, &subject);
    dc_strbuf_add(&payload, DC_S("{}"));
    dc_agg_say(a, dc_strbuf_slice(&subject), &payload);
    dc_strbuf_free(&subject);
    a->call_due_ms = dc_agg_now_ms(a) + dc_agg_call_every_ms(a);
}

static bool leads_openly(const struct dc_aggregator *a)
{
    return a->phase == DC_AGG_WAITING || a->phase == DC_AGG_LEADING;
}

/* --- phases --- */

/* Nothing is published from here on; what belongs to leading is cleared away by the clock, as this
 * may run in the middle of it. */
static void step_down(struct dc_aggregator *a, const char *why_z)
{
    if (a->phase == DC_AGG_STANDBY) {
        return;
    }
    a->phase = DC_AGG_STANDBY;
    a->is_leader->value = 0;
    a->losses->value++;
    DC_LOG_WARN_EVENT(a->ctx->log, "presence.standby", DC_LF_I("term", a->term),
                      DC_LF_Z("why", why_z));
    dc_agg_arm_clock(a);
}

static void clear_away(struct dc_aggregator *a)
{
    dc_sweep_cancel(a);
    dc_mirror_close(a);
    dc_mirror_stop_stream(a);
}

static void gained(struct dc_aggregator *a)
{
    struct dc_error err = {0};
    clear_away(a);
    a->phase = DC_AGG_READING;
    a->is_leader->value = 1;
    a->announced_ms = dc_agg_now_ms(a);
    DC_LOG_INFO_EVENT(a->ctx->log, "presence.lease_held", DC_LF_I("token", a->leader.token));
    if (dc_mirror_open(a, &err) != DC_OK) {
        DC_LOG_ERROR_EVENT(a->ctx->log, "presence.stream_unread", DC_LF_ERR(&err));
        (void)dc_presence_leader_resign(&a->leader);
        step_down(a, "the stream cannot be read");
        return;
    }
    dc_agg_refresh_sources(a);
}

void dc_agg_mirror_read(struct dc_aggregator *a)
{
    const struct dc_mirror *m = a->mirror;
    if (a->phase != DC_AGG_READING) {
        return;
    }
    /* Above whatever the stream has, should the store have lost its count. */
    a->term = a->leader.token > m->term ? a->leader.token : m->term + 1;
    a->phase = DC_AGG_WAITING;
    a->wait_until_ms =
        m->has_somebody ? a->announced_ms + dc_agg_announce_wait_ms(a) : dc_agg_now_ms(a);
    give_sign(a, DC_LEADER_STARTING);
    dc_agg_arm_clock(a);
}

static void lead(struct dc_aggregator *a)
{
    a->phase = DC_AGG_LEADING;
    a->takeovers->value++;
    DC_LOG_INFO_EVENT(a->ctx->log, "presence.leading", DC_LF_I("term", a->term),
                      DC_LF_I("after_ms", dc_agg_now_ms(a) - a->announced_ms));
    give_sign(a, DC_LEADER_LEADING);
    dc_sweep_take_over(a);
}

static void changed(struct dc_aggregator *a, enum dc_leader_change change, const char *why_z)
{
    switch (change) {
    case DC_LEADER_GAINED:
        gained(a);
        break;
    case DC_LEADER_RENEWED:
        /* The store has lost its memory and nobody else has come in between. */
        DC_LOG_WARN_EVENT(a->ctx->log, "presence.lease_anew", DC_LF_I("token", a->leader.token));
        if (leads_openly(a) && a->leader.token > a->term) {
            a->term = a->leader.token;
            give_sign(a, a->phase == DC_AGG_LEADING ? DC_LEADER_LEADING : DC_LEADER_STARTING);
            dc_sweep_want(a, true); /* and markers of this term, for the mirror and for others */
        }
        break;
    case DC_LEADER_LOST:
        step_down(a, why_z);
        break;
    case DC_LEADER_SAME:
        break;
    }
}

bool dc_agg_may_publish(struct dc_aggregator *a)
{
    if (a->phase != DC_AGG_LEADING) {
        return false;
    }
    struct dc_mono now = dc_mono_now(); /* the loop's own idea may be older than a long stop */
    if (dc_presence_leader_may_publish(&a->leader, now)) {
        return true;
    }
    changed(a, dc_presence_leader_tick(&a->leader, now), "the lease is over");
    return false;
}

/* --- the store --- */

static void note_store(struct dc_aggregator *a, enum dc_status st, const struct dc_error *err)
{
    bool is_failing = st != DC_OK && st != DC_CONFLICT;
    if (is_failing && !a->is_store_failing) {
        DC_LOG_WARN_EVENT(a->ctx->log, "presence.store_away",
                          DC_LF_Z("code", err == NULL ? dc_status_code(st) : dc_error_code(err)),
                          DC_LF_Z("phase", a->phase == DC_AGG_STANDBY
                                               ? "standby: nobody can take over now"
                                               : "leading: going on while the bus carries us"));
    } else if (!is_failing && a->is_store_failing) {
        DC_LOG_INFO_EVENT(a->ctx->log, "presence.store_back", DC_LF_B("again", true));
    }
    a->is_store_failing = is_failing;
}

static void on_lease(void *data, enum dc_status st, struct dc_slice value, int64_t token,
                     const struct dc_error *err)
{
    struct dc_aggregator *a = data;
    (void)value;
    a->lease_op = NULL;
    if (!a->is_stopping) {
        note_store(a, st, err);
        enum dc_leader_change change =
            dc_presence_leader_answered(&a->leader, st, token, dc_mono_now());
        changed(a, change, st == DC_CONFLICT ? "another holds the lease" : "the lease is over");
        dc_agg_arm_clock(a);
    }
    dc_agg_pending_end(a);
}

static void ask(struct dc_aggregator *a)
{
    dc_presence_leader_asked(&a->leader, dc_mono_now());
    enum dc_status st =
        dc_kv_lease_acquire(a->ctx->kv, DC_S(LEASE_NAME), dc_slice_z(a->holder),
                            (uint64_t)dc_agg_leader_lease_ms(a), on_lease, a, &a->lease_op);
    if (st == DC_OK) {
        a->pending++;
        return;
    }
    a->lease_op = NULL;
    note_store(a, st, NULL);
    changed(a, dc_presence_leader_answered(&a->leader, st, 0, dc_mono_now()), "the lease is over");
}

/* --- in --- */

static json_t *parse(const struct dc_bus_message *m)
{
    json_t *object = NULL;
    if (dc_json_parse(m->payload, &object, NULL) != DC_OK || !json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static void rise(int64_t *number, int64_t to)
{
    *number = to > *number ? to : *number;
}

static void hear_other(struct dc_aggregator *a, const json_t *object, struct dc_slice holder)
{
    int64_t term = dc_presence_number(object, "term");
    if (leads_openly(a) && term > a->term) {
        changed(a, dc_presence_leader_resign(&a->leader), "another leads with a higher term");
    }
    if (leads_openly(a)) {
        return; /* somebody who has not noticed yet that he leads no longer */
    }
    /* For the day we lead: generations only grow. */
    rise(&a->gen, dc_presence_number(object, "gen"));
    rise(&a->member_gen, dc_presence_number(object, "member_gen"));
    a->other.is_known = dc_slice_copy_z(holder, a->other.holder, sizeof(a->other.holder));
    a->other.term = term;
    a->other.heard_ms = dc_agg_now_ms(a);
    if (dc_slice_eq(dc_json_text(object, "state"), DC_S(DC_LEADER_LEAVING))) {
        a->other.is_known = false;
        dc_presence_leader_hurry(&a->leader, dc_mono_now());
        dc_agg_arm_clock(a);
    }
}

static void on_leader(void *data, const struct dc_bus_message *m)
{
    struct dc_aggregator *a = data;
    json_t *object = parse(m);
    struct dc_slice holder = dc_json_text(object, "holder");
    if (object != NULL && dc_slice_eq(holder, dc_slice_z(a->holder))) {
        struct dc_mono sent_at = {dc_presence_number(object, "sent_ms")};
        a->lag_ms = dc_mono_now().ms - sent_at.ms;
        dc_presence_leader_echoed(&a->leader, sent_at);
        dc_agg_arm_clock(a);
    } else if (object != NULL) {
        hear_other(a, object, holder);
    }
    json_decref(object);
}

static void on_call(void *data, const struct dc_bus_message *m)
{
    (void)m;
    dc_agg_heard(data);
}

/* A gateway has missed something, or knows of numbers above ours. */
static void on_resync(void *data, const struct dc_bus_message *m)
{
    struct dc_aggregator *a = data;
    json_t *object = parse(m);
    if (object != NULL && a->phase == DC_AGG_LEADING) {
        int64_t term = dc_presence_number(object, "term");
        struct dc_slice room_id = dc_json_text(object, "room_id");
        int64_t gen = dc_presence_number(object, "gen");
        int64_t member_gen = dc_presence_number(object, "member_gen");
        bool is_full = json_is_true(json_object_get(object, "full")) || gen > a->gen;
        bool is_room = room_id.len > 0 && room_id.len <= DC_PRESENCE_ID_MAX && !is_full &&
                       member_gen <= a->member_gen;
        rise(&a->gen, gen); /* a sweep goes above it */
        rise(&a->member_gen, member_gen);
        if (term > a->term && !dc_presence_leader_is_confirmed(&a->leader, dc_mono_now())) {
            changed(a, dc_presence_leader_resign(&a->leader), "gateways follow a higher term");
        } else if (term > a->term) {
            a->term = term + 1; /* the lease is ours: whatever that was, it is over */
            is_full = true;
        }
        if (is_room && !is_full) {
            dc_sweep_room(a, room_id);
        } else {
            dc_sweep_want(a, is_full);
        }
        a->sign_due_ms = 0; /* who asks may not have heard of us */
        dc_agg_arm_clock(a);
    }
    json_decref(object);
}

static void on_announce(void *data, const struct dc_bus_message *m)
{
    struct dc_aggregator *a = data;
    json_t *object = parse(m);
    if (!dc_slice_eq(dc_json_text(object, "from"), dc_slice_z(a->holder)) &&
        dc_agg_may_publish(a)) {
        dc_native_announce_http(a->sources[0]);
    }
    json_decref(object);
}

/* The bus was away: what was said meanwhile may be lost. */
static void on_interrupted(void *data)
{
    dc_sweep_want(data, true);
}

/* When to lead at the latest.  The stream shows people, and the homeserver has not been read yet:
 * leading now would say that they are gone. */
#define MATRIX_WAIT_MS 8000
static int64_t wait_until_ms(const struct dc_aggregator *a)
{
    int64_t matrix_ms = a->announced_ms + MATRIX_WAIT_MS;
    bool is_awaited = a->mirror != NULL && a->mirror->has_somebody && !dc_agg_matrix_is_known(a);
    return is_awaited && matrix_ms > a->wait_until_ms ? matrix_ms : a->wait_until_ms;
}

/* --- life --- */

void dc_agg_leader_clock(struct dc_aggregator *a, struct dc_mono now)
{
    changed(a, dc_presence_leader_tick(&a->leader, now), "the lease is over");
    if (a->phase == DC_AGG_STANDBY) {
        clear_away(a);
    }
    if (dc_presence_leader_should_ask(&a->leader, now)) {
        ask(a);
    }
    if (a->phase == DC_AGG_WAITING && dc_agg_now_ms(a) >= wait_until_ms(a)) {
        lead(a);
    }
    if (leads_openly(a) && dc_agg_now_ms(a) >= a->sign_due_ms) {
        give_sign(a, a->phase == DC_AGG_LEADING ? DC_LEADER_LEADING : DC_LEADER_STARTING);
    }
    if (dc_agg_now_ms(a) >= a->call_due_ms) {
        call(a);
    }
}

int64_t dc_agg_leader_due_ms(const struct dc_aggregator *a)
{
    int64_t due = dc_presence_leader_next_due_ms(&a->leader);
    due = a->call_due_ms < due ? a->call_due_ms : due;
    if (leads_openly(a) && a->sign_due_ms < due) {
        due = a->sign_due_ms;
    }
    if (a->phase == DC_AGG_WAITING && wait_until_ms(a) < due) {
        due = wait_until_ms(a);
    }
    if (a->phase == DC_AGG_STANDBY && (a->mirror != NULL || a->stream_sub != NULL)) {
        due = 0; /* to be cleared away */
    }
    return due;
}

static enum dc_status subscribe(struct dc_aggregator *a, struct dc_slice subject, dc_bus_cb cb,
                                void (*interrupted)(void *data), struct dc_bus_sub **out,
                                struct dc_error *err)
{
    const struct dc_bus_sub_opts opts = {
        .pattern = subject, .start = DC_BUS_NEW, .interrupted = interrupted};
    return dc_bus_subscribe(a->ctx->bus, &opts, cb, a, out, err);
}

static void unsubscribe(struct dc_aggregator *a)
{
    struct dc_bus_sub **subs[] = {&a->leader_sub, &a->resync_sub, &a->announce_sub, &a->call_sub};
    for (size_t i = 0; i < DC_ARRAY_LEN(subs); i++) {
        dc_bus_unsubscribe(*subs[i]);
        *subs[i] = NULL;
    }
}

enum dc_status dc_agg_leader_start(struct dc_aggregator *a, struct dc_error *err)
{
    struct dc_ulid_gen ids = {0};
    dc_ulid_next(&ids, dc_utc_now(), a->holder);
    dc_presence_leader_init(&a->leader, dc_agg_leader_lease_ms(a), dc_mono_now());
    enum dc_status st =
        subscribe(a, DC_S(DC_PRESENCE_LEADER), on_leader, NULL, &a->leader_sub, err);
    if (st == DC_OK) {
        st = subscribe(a, DC_S(DC_PRESENCE_RESYNC), on_resync, on_interrupted, &a->resync_sub, err);
    }
    if (st == DC_OK) {
        st = subscribe(a, DC_S(DC_PRESENCE_ANNOUNCE), on_announce, NULL, &a->announce_sub, err);
    }
    if (st == DC_OK) {
        struct dc_strbuf subject = {0};
        write_call_subject(a, &subject);
        st = subscribe(a, dc_strbuf_slice(&subject), on_call, NULL, &a->call_sub, err);
        dc_strbuf_free(&subject);
    }
    if (st != DC_OK) {
        unsubscribe(a);
    }
    return st;
}

static void on_released(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                        const struct dc_error *err)
{
    struct dc_aggregator *a = data;
    (void)value;
    (void)number;
    (void)err;
    if (st != DC_OK) {
        DC_LOG_DEBUG_EVENT(a->ctx->log, "presence.lease_kept", DC_LF_Z("code", dc_status_code(st)));
    }
    give_sign(a, DC_LEADER_LEAVING); /* whoever hears it finds the lease free */
    dc_agg_pending_end(a);
}

void dc_agg_leader_stop(struct dc_aggregator *a)
{
    bool was_leading = a->leader.is_leading;
    dc_op_cancel(a->lease_op);
    if (was_leading && dc_kv_lease_release(a->ctx->kv, DC_S(LEASE_NAME), dc_slice_z(a->holder),
                                           on_released, a, NULL) == DC_OK) {
        a->pending++;
    }
    (void)dc_presence_leader_resign(&a->leader);
    a->phase = DC_AGG_STANDBY;
    a->is_leader->value = 0;
    clear_away(a);
    unsubscribe(a);
}
