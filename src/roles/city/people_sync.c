/* The gateway's view of presence: whether it is whole, and what is done when it is not.  See
 * roles/presence_event.h for terms, generations and resynchronisation. */
#include "roles/city/people_priv.h"

#include "base/mem.h"

/* The clock is looked at so often in a lease of leadership (a quarter of a second). */
#define LOOKS_IN_A_LEASE 20
/* Rooms that others speak of before this process has been told of them: how many and for how long
 * they are remembered.  The list of rooms comes through the outbox, which takes its time. */
#define PENDING_MAX         1024
#define PENDING_PATIENCE_MS 60000
/* Before clients are let in without knowing anything: less than the process waits for its roles. */
#define READ_PATIENCE_MS 2000

static int64_t leader_lease_ms(const struct dc_city_people *p)
{
    return dc_presence_leader_lease_ms(p->city->ctx->settings);
}

static int64_t watch_every_ms(const struct dc_city_people *p)
{
    int64_t every_ms = leader_lease_ms(p) / LOOKS_IN_A_LEASE;
    return every_ms > 5 ? every_ms : 5;
}

/* --- freshness --- */

static bool is_whole(const struct dc_city_people *p)
{
    return p->domains[DC_PEOPLE_USERS].is_synced && p->domains[DC_PEOPLE_ROOMS].is_synced &&
           p->domains[DC_PEOPLE_MEMBERS].is_synced;
}

static void set_health(struct dc_city_people *p)
{
    int64_t patience_ms = DC_PRESENCE_SILENT_LEASES * leader_lease_ms(p);
    if (p->is_fresh) {
        dc_health_set(p->health, DC_HEALTH_OK, "fresh");
    } else if (dc_people_now_ms(p) - p->stale_since_ms >= patience_ms) {
        dc_health_set(p->health, DC_HEALTH_DEGRADED,
                      p->has_leader ? "stale: not everything has been heard"
                                    : "stale: no presence aggregator leads");
    }
}

/* Compares what is with what was said of it last. */
static void look(struct dc_city_people *p)
{
    bool is_fresh = p->has_leader && p->is_source_fresh && is_whole(p);
    if (is_fresh != p->is_fresh) {
        p->is_fresh = is_fresh;
        p->fresh->value = is_fresh;
        p->stale_since_ms = dc_people_now_ms(p);
        DC_LOG_INFO_EVENT(p->city->ctx->log, "city.presence_state",
                          DC_LF_Z("state", is_fresh ? "fresh" : "stale"));
        dc_people_totals_changed(p, true);
        dc_people_summary_changed(p);
    }
    set_health(p);
}

struct dc_slice dc_people_state_word(const struct dc_city_people *p)
{
    return p->is_fresh ? DC_S("fresh") : DC_S("stale");
}

/* --- the beginning --- */

static void tell_read(struct dc_city_people *p)
{
    void (*read)(void *data) = p->read;
    p->read = NULL;
    if (read != NULL) {
        read(p->read_data);
    }
}

void dc_people_caught_up(struct dc_city_people *p, enum dc_people_domain_id id)
{
    p->domains[id].is_caught_up = true;
    if (p->domains[DC_PEOPLE_USERS].is_caught_up && p->domains[DC_PEOPLE_ROOMS].is_caught_up) {
        tell_read(p);
    }
}

void dc_people_on_read(struct dc_city_people *p, void (*read)(void *data), void *data)
{
    p->read = read;
    p->read_data = data;
}

/* --- asking --- */

static void publish_ask(struct dc_city_people *p, struct dc_slice room_id, bool is_full)
{
    const struct dc_people_domain *d = p->domains;
    int64_t term = 0;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    for (size_t i = 0; i < DC_ARRAY_LEN(p->domains); i++) {
        term = d[i].term > term ? d[i].term : term;
    }
    int64_t gen = d[DC_PEOPLE_USERS].gen > d[DC_PEOPLE_ROOMS].gen ? d[DC_PEOPLE_USERS].gen
                                                                  : d[DC_PEOPLE_ROOMS].gen;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "from", dc_slice_z(p->city->gateway_id));
    dc_jsonw_key_i64(&w, "term", term);
    dc_jsonw_key_i64(&w, "gen", gen);
    dc_jsonw_key_i64(&w, "member_gen", d[DC_PEOPLE_MEMBERS].gen);
    dc_jsonw_key_bool(&w, "full", is_full);
    if (room_id.ptr != NULL) {
        dc_jsonw_key_text(&w, "room_id", room_id);
    }
    dc_jsonw_end(&w);
    p->asks->value++;
    if (!dc_strbuf_ok(&out) ||
        dc_bus_say(p->city->ctx->bus, DC_S(DC_PRESENCE_RESYNC), dc_strbuf_slice(&out)) != DC_OK) {
        DC_LOG_DEBUG_EVENT(p->city->ctx->log, "city.resync_unasked",
                           DC_LF_Z("detail", "the bus takes nothing; it is asked again"));
    }
    dc_strbuf_free(&out);
}

/* What the stream has is read before it is missed. */
static bool misses(const struct dc_people_domain *d)
{
    return !d->is_synced && d->is_caught_up;
}

/* Again and again until the answer is there: there may be no leader to hear it. */
static void ask(struct dc_city_people *p)
{
    bool is_full = misses(&p->domains[DC_PEOPLE_USERS]) || misses(&p->domains[DC_PEOPLE_ROOMS]);
    int64_t now_ms = dc_people_now_ms(p);
    if ((!is_full && p->domains[DC_PEOPLE_MEMBERS].is_synced) ||
        (p->asked_ms != INT64_MIN && now_ms - p->asked_ms < leader_lease_ms(p))) {
        return;
    }
    p->asked_ms = now_ms;
    publish_ask(p, DC_SLICE_NULL, is_full);
}

/* --- terms and generations --- */

static void lose(struct dc_city_people *p, struct dc_people_domain *d)
{
    d->is_synced = false;
    p->asked_ms = INT64_MIN; /* at the next look, with whatever else is missed by then */
}

bool dc_people_accept(struct dc_city_people *p, enum dc_people_domain_id id, const json_t *object,
                      int64_t *gen)
{
    struct dc_people_domain *d = &p->domains[id];
    int64_t term = dc_presence_number(object, "term");
    if (term == 0) {
        return false;
    }
    if (term < d->term) {
        p->ignored->value++;
        DC_LOG_WARN_EVENT(p->city->ctx->log, "city.former_leader", DC_LF_I("term", term),
                          DC_LF_I("newer", d->term));
        /* It may be the last word of its subject now: the leader is to repeat his. */
        d = &p->domains[id == DC_PEOPLE_TYPING ? DC_PEOPLE_MEMBERS : id];
        if (d->is_synced) {
            lose(p, d);
        }
        return false;
    }
    d->term = term;
    *gen = dc_presence_number(object, "gen");
    d->gen = *gen > d->gen ? *gen : d->gen;
    return true;
}

bool dc_people_synced(struct dc_city_people *p, enum dc_people_domain_id id, int64_t gen)
{
    struct dc_people_domain *d = &p->domains[id];
    /* Something has been heard of a later generation: these are the words of a leader who has lost
     * count, and he is to be told. */
    if (gen <= d->broken_gen || gen < d->gen) {
        return false;
    }
    d->is_synced = true;
    look(p);
    return true;
}

void dc_people_interrupted(struct dc_city_people *p, enum dc_people_domain_id id)
{
    struct dc_people_domain *d = &p->domains[id];
    d->broken_gen = d->gen;
    lose(p, d);
    look(p);
}

void dc_people_hear_leader(struct dc_city_people *p, const json_t *object)
{
    int64_t term = dc_presence_number(object, "term");
    if (term == 0) {
        return;
    }
    if (!p->has_leader) {
        p->asked_ms = INT64_MIN; /* somebody hears us now */
    }
    /* One who goes is followed by another soon: only silence tells that nobody leads.  One who
     * starts is still finding out what he has missed. */
    p->has_leader = true;
    if (dc_slice_eq(dc_json_text(object, "state"), DC_S(DC_LEADER_LEADING))) {
        p->is_source_fresh = dc_slice_eq(dc_json_text(object, "source"), DC_S("fresh"));
    }
    p->leader_heard_ms = dc_people_now_ms(p);
    /* We know of a higher term, and it is not the leader's: he must go above it. */
    for (size_t i = 0; i <= DC_PEOPLE_MEMBERS; i++) {
        if (term < p->domains[i].term && p->domains[i].is_synced) {
            lose(p, &p->domains[i]);
        }
    }
    look(p);
}

/* --- rooms that are not known yet --- */

static void pending_drop(struct dc_city_people *p, struct dc_pending_room *r)
{
    (void)dc_map_remove(&p->pending, dc_slice_make(r->id, r->id_len));
    dc_list_remove(&r->link);
    json_decref(r->counts);
    dc_free(r);
}

void dc_people_keep_for_later(struct dc_city_people *p, struct dc_slice room_id, json_t *counts,
                              bool wants_members)
{
    if (!dc_room_id_is_valid(room_id)) {
        return;
    }
    struct dc_pending_room *r = dc_map_get(&p->pending, room_id);
    if (r == NULL) {
        if (p->pending.count >= PENDING_MAX) {
            pending_drop(p, DC_LIST_ENTRY(p->pending_order.next, struct dc_pending_room, link));
        }
        r = dc_calloc(1, sizeof(*r) + room_id.len);
        r->until_ms = dc_people_now_ms(p) + PENDING_PATIENCE_MS;
        r->id_len = room_id.len;
        memcpy(r->id, room_id.ptr, room_id.len);
        (void)dc_map_put(&p->pending, dc_slice_make(r->id, r->id_len), r);
        dc_list_push_back(&p->pending_order, &r->link);
    }
    if (counts != NULL) {
        json_decref(r->counts);
        r->counts = json_incref(counts);
    }
    r->wants_members = r->wants_members || wants_members;
}

static void try_pending(struct dc_city_people *p)
{
    DC_LIST_FOREACH_SAFE (it, &p->pending_order) {
        struct dc_pending_room *r = DC_LIST_ENTRY(it, struct dc_pending_room, link);
        struct dc_slice id = dc_slice_make(r->id, r->id_len);
        struct dc_city_room *room = dc_city_rooms_find(p->city->rooms, id);
        if (room != NULL) {
            if (r->counts != NULL) {
                dc_people_take_counts(p, room, r->counts, false,
                                      dc_presence_number(r->counts, "gen"));
            }
            if (r->wants_members || room->people.online_count > 0) {
                publish_ask(p, id, false);
            }
        }
        if (room != NULL || dc_people_now_ms(p) >= r->until_ms) {
            pending_drop(p, r);
        }
    }
}

/* --- the watch --- */

void dc_people_on_watch(struct dc_timer *t)
{
    struct dc_city_people *p = DC_CONTAINER_OF(t, struct dc_city_people, watch);
    int64_t silence_ms = dc_people_now_ms(p) - p->leader_heard_ms;
    if (p->has_leader && silence_ms >= DC_PRESENCE_SILENT_LEASES * leader_lease_ms(p)) {
        p->has_leader = false;
        DC_LOG_WARN_EVENT(p->city->ctx->log, "city.no_leader", DC_LF_I("silence_ms", silence_ms));
    }
    look(p);
    try_pending(p);
    ask(p);
    if (dc_people_now_ms(p) - p->started_ms >= READ_PATIENCE_MS) {
        tell_read(p);
    }
}

void dc_people_sync_init(struct dc_city_people *p)
{
    const struct dc_ctx *ctx = p->city->ctx;
    p->asked_ms = INT64_MIN;
    p->domains[DC_PEOPLE_MEMBERS].is_caught_up = true; /* nothing is kept of them */
    p->ignored = dc_metrics_counter(ctx->metrics, "daarion_city_presence_ignored_total", NULL,
                                    "Words of former presence leaders that were ignored.");
    p->asks = dc_metrics_counter(ctx->metrics, "daarion_city_presence_asks_total", NULL,
                                 "Resynchronisations of presence asked for.");
    p->fresh = dc_metrics_gauge(ctx->metrics, "daarion_city_presence_fresh", NULL,
                                "1 while presence is known to be whole and up to date.");
    p->heard_to_frame = dc_metrics_histogram(
        ctx->metrics, "daarion_presence_heard_to_frame_seconds", NULL,
        "From the homeserver's answer to the frame, for what the throttle has not held back.");
    p->change_to_frame =
        dc_metrics_histogram(ctx->metrics, "daarion_presence_change_to_frame_seconds", NULL,
                             "From somebody's coming online on the homeserver to the frame.");
    if (ctx->health != NULL) {
        p->health = dc_health_add(ctx->health, "presence", false);
        dc_health_set(p->health, DC_HEALTH_OK, "starting");
    }
}

void dc_people_sync_start(struct dc_city_people *p)
{
    uint64_t every_ms = (uint64_t)watch_every_ms(p);
    p->started_ms = dc_people_now_ms(p);
    p->stale_since_ms = p->started_ms;
    dc_timer_start(&p->watch, every_ms, every_ms);
    ask(p);
}

void dc_people_sync_free(struct dc_city_people *p)
{
    DC_LIST_FOREACH_SAFE (it, &p->pending_order) {
        pending_drop(p, DC_LIST_ENTRY(it, struct dc_pending_room, link));
    }
}
