/* matrix-presence-aggregator: the single centre of truth about presence (specs/global-presence,
 * DESIGN §6).  Hears its sources, feeds the pure core, and publishes what the core reports while it
 * leads (roles/presence_event.h).  See aggregator.h for its files and phases. */
#include "base/mem.h"
#include "roles/presence_aggregator/aggregator.h"

/* Of sessions that end together, as those of a gateway that has died; then others have their turn.
 */
#define TICK_STEPS (4 * DC_AGG_TURN_STEPS)
/* Rooms are remembered longer: they come back to life more often than people do. */
#define ROOM_FADES 10

const struct dc_source *const dc_agg_sources[DC_AGG_SOURCES] = {&dc_source_native,
                                                                &dc_source_matrix};

/* --- sources --- */

const char *dc_agg_source_word(enum dc_source_state state)
{
    static const char *const words[] = {
        [DC_SOURCE_FRESH] = "fresh", [DC_SOURCE_STALE] = "stale", [DC_SOURCE_DOWN] = "down"};
    return words[state];
}

enum dc_source_state dc_agg_source_state(const struct dc_aggregator *a)
{
    enum dc_source_state worst = DC_SOURCE_FRESH;
    for (size_t i = 0; i < DC_AGG_SOURCES; i++) {
        int64_t age_ms = 0;
        if (a->sources[i] != NULL) {
            enum dc_source_state state = dc_agg_sources[i]->state(a->sources[i], &age_ms);
            worst = state > worst ? state : worst;
        }
    }
    return worst;
}

void dc_agg_refresh_sources(struct dc_aggregator *a)
{
    for (size_t i = 0; i < DC_AGG_SOURCES; i++) {
        if (a->sources[i] != NULL) {
            dc_agg_sources[i]->refresh(a->sources[i]);
        }
    }
}

/* --- time --- */

/* Never nothing at all: libuv would run such a timer again in the same turn, and what is done in
 * slices would be done at once. */
static uint64_t wait_ms(const struct dc_aggregator *a, int64_t due_ms)
{
    int64_t now_ms = dc_agg_now_ms(a);
    return due_ms > now_ms ? (uint64_t)(due_ms - now_ms) : 1;
}

/* The core says when it is to be called next. */
void dc_agg_fed(struct dc_aggregator *a)
{
    int64_t due_ms = dc_presence_next_due_ms(a->core);
    if (a->is_stopping) {
        return;
    }
    if (due_ms == INT64_MAX) {
        dc_timer_stop(&a->tick);
    } else {
        dc_timer_start(&a->tick, wait_ms(a, due_ms), 0);
    }
}

static bool is_deaf(const struct dc_aggregator *a)
{
    return dc_agg_now_ms(a) - a->heard_ms > dc_agg_deaf_after_ms(a);
}

/* Before any lease ends: do we know enough to end it? */
static void look_at_sources(struct dc_aggregator *a)
{
    bool is_held = false;
    for (size_t i = 0; i < DC_AGG_SOURCES; i++) {
        is_held = is_held || (a->sources[i] != NULL && dc_agg_sources[i]->may_miss(a->sources[i]));
    }
    if (is_held != a->are_leases_held) {
        a->are_leases_held = is_held;
        dc_presence_hold_leases(a->core, is_held);
        dc_agg_fed(a);
    }
}

void dc_agg_heard(struct dc_aggregator *a)
{
    if (is_deaf(a)) {
        DC_LOG_WARN_EVENT(a->ctx->log, "presence.was_deaf",
                          DC_LF_I("ms", dc_agg_now_ms(a) - a->heard_ms));
        for (size_t i = 0; i < DC_AGG_SOURCES; i++) {
            if (a->sources[i] != NULL) {
                dc_agg_sources[i]->recover(a->sources[i]);
            }
        }
        look_at_sources(a);
    }
    a->heard_ms = dc_agg_now_ms(a);
}

static void on_tick(struct dc_timer *t)
{
    struct dc_aggregator *a = DC_CONTAINER_OF(t, struct dc_aggregator, tick);
    look_at_sources(a);
    (void)dc_presence_tick(a->core, dc_agg_now(a));
    dc_agg_fed(a);
    dc_agg_arm_clock(a); /* somebody may have begun to fade */
}

/* What has faded: the leader lets the stream forget it, and nobody keeps an idle room.  What a turn
 * does not reach is due at once. */
static void forget_faded(struct dc_aggregator *a)
{
    struct dc_strbuf id = {0};
    struct dc_strbuf subject = {0};
    size_t n = 0;
    for (; n < DC_AGG_TURN_STEPS && dc_fade_take(&a->user_fade, dc_agg_now_ms(a), &id, &subject);
         n++) {
        dc_agg_forget(a, dc_strbuf_slice(&subject));
    }
    for (; n < DC_AGG_TURN_STEPS && dc_fade_take(&a->room_fade, dc_agg_now_ms(a), &id, &subject);
         n++) {
        dc_agg_forget(a, dc_strbuf_slice(&subject));
        if (dc_presence_room_is_idle(a->core, dc_strbuf_slice(&id))) {
            dc_presence_room_remove(a->core, dc_strbuf_slice(&id));
        }
    }
    dc_strbuf_free(&id);
    dc_strbuf_free(&subject);
}

/* Somebody of whom only the homeserver can tell, and it has not yet. */
static bool is_hold_prolonged(struct dc_aggregator *a, const struct dc_strbuf *user_id,
                              const struct dc_strbuf *session_id)
{
    struct dc_slice id = dc_strbuf_slice(user_id);
    return id.len > 0 && id.ptr[0] == '@' && !dc_agg_matrix_is_known(a) &&
           dc_presence_session_beat(a->core, dc_strbuf_slice(session_id), id, DC_SLICE_NULL,
                                    dc_presence_user_get(a->core, id), dc_agg_now(a)) == DC_OK &&
           dc_fade_put(&a->held, id, dc_strbuf_slice(session_id), dc_agg_now_ms(a));
}

/* Each is closed, goes offline and leaves some rooms. */
#define HELD_A_TURN (DC_AGG_TURN_STEPS / 2)

/* Who was held and has not come back is gone. */
static void end_held(struct dc_aggregator *a)
{
    struct dc_strbuf user_id = {0};
    struct dc_strbuf session_id = {0};
    for (size_t n = 0; n < HELD_A_TURN && !a->are_leases_held &&
                       dc_fade_take(&a->held, dc_agg_now_ms(a), &user_id, &session_id);
         n++) {
        if (!is_hold_prolonged(a, &user_id, &session_id)) {
            dc_presence_session_close(a->core, dc_strbuf_slice(&session_id), true, dc_agg_now(a));
        }
    }
    dc_strbuf_free(&user_id);
    dc_strbuf_free(&session_id);
    dc_agg_fed(a);
}

static int64_t earlier(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

void dc_agg_arm_clock(struct dc_aggregator *a)
{
    if (a->is_stopping) {
        return;
    }
    int64_t due_ms = earlier(dc_agg_leader_due_ms(a), dc_sweep_due_ms(a));
    due_ms =
        earlier(due_ms, earlier(dc_fade_next_ms(&a->user_fade), dc_fade_next_ms(&a->room_fade)));
    if (!a->are_leases_held) {
        due_ms = earlier(due_ms, dc_fade_next_ms(&a->held));
    }
    dc_timer_start(&a->clock, wait_ms(a, due_ms), 0);
}

static void on_clock(struct dc_timer *t)
{
    struct dc_aggregator *a = DC_CONTAINER_OF(t, struct dc_aggregator, clock);
    look_at_sources(a);
    dc_agg_leader_clock(a, dc_mono_now());
    dc_sweep_clock(a);
    dc_agg_heartbeat_clock(a);
    forget_faded(a);
    end_held(a);
    a->throttled->value = dc_presence_counts_get(a->core).throttled;
    dc_agg_arm_clock(a);
}

/* --- role --- */

static void make_metrics(struct dc_aggregator *a)
{
    struct dc_metrics *m = a->ctx->metrics;
    a->events_in = dc_metrics_counter(m, "daarion_presence_events_total", "source=\"native\"",
                                      DC_AGG_EVENTS_HELP);
    a->published = dc_metrics_counter(m, "daarion_presence_published_total", NULL,
                                      "Presence events published on the bus.");
    a->unpublished = dc_metrics_counter(m, "daarion_presence_unpublished_total", NULL,
                                        "Presence events that the bus did not take.");
    a->refused = dc_metrics_counter(m, "daarion_presence_refused_total", "source=\"native\"",
                                    DC_AGG_REFUSED_HELP);
    a->forgotten = dc_metrics_counter(m, "daarion_presence_forgotten_total", NULL,
                                      "Subjects that the stream was let forget.");
    a->takeovers = dc_metrics_counter(m, "daarion_presence_takeovers_total", NULL,
                                      "Times that this process has begun to lead.");
    a->losses = dc_metrics_counter(m, "daarion_presence_losses_total", NULL,
                                   "Times that this process has had to stop leading.");
    a->resyncs = dc_metrics_counter(m, "daarion_presence_resyncs_total", NULL,
                                    "Times that everything was said again.");
    a->online = dc_metrics_gauge(m, "daarion_presence_online_users", NULL,
                                 "People who are online or away.");
    a->is_leader = dc_metrics_gauge(m, "daarion_presence_leader", NULL,
                                    "1 while this process holds the lease of the leader.");
    a->throttled = dc_metrics_counter(m, "daarion_presence_throttled_total", NULL,
                                      "Changes of rooms that fell into their windows.");
}

static enum dc_status make_core(struct dc_aggregator *a, struct dc_error *err)
{
    const struct dc_settings *settings = a->ctx->settings;
    struct dc_presence_opts opts = {.lease_ms = (uint64_t)settings->presence_lease_ms,
                                    .close_grace_ms = (uint64_t)settings->presence_close_grace_ms,
                                    .typing_ms = (uint64_t)settings->typing_lease_ms,
                                    .throttle_ms = (uint64_t)settings->room_presence_throttle_ms,
                                    .max_users = DC_AGG_MAX_USERS,
                                    .max_rooms = DC_AGG_MAX_ROOMS,
                                    .max_sessions = DC_AGG_MAX_SESSIONS,
                                    .max_rooms_per_user = DC_AGG_MAX_ROOMS_PER_USER,
                                    .tick_steps = TICK_STEPS};
    dc_random_fill(NULL, opts.hash_seed, sizeof(opts.hash_seed));
    int64_t fade_ms = settings->presence_forget_ms > 0 ? settings->presence_forget_ms : 60000;
    dc_fade_init(&a->user_fade, fade_ms, DC_AGG_MAX_USERS, opts.hash_seed);
    dc_fade_init(&a->room_fade, fade_ms * ROOM_FADES, DC_AGG_MAX_ROOMS, opts.hash_seed);
    dc_fade_init(&a->held, dc_agg_hold_ms(a), DC_AGG_MAX_USERS, opts.hash_seed);
    return dc_presence_create(&opts, &dc_agg_callbacks, a, &a->core, err);
}

static void free_core(struct dc_aggregator *a)
{
    dc_mirror_free(a);
    dc_presence_destroy(a->core);
    dc_fade_free(&a->user_fade);
    dc_fade_free(&a->room_fade);
    dc_fade_free(&a->held);
}

static void stop_sources(struct dc_aggregator *a)
{
    for (size_t i = 0; i < DC_AGG_SOURCES; i++) {
        if (a->sources[i] != NULL) {
            dc_agg_sources[i]->stop(a->sources[i]);
            a->sources[i] = NULL;
        }
    }
}

static enum dc_status start(struct dc_ctx *ctx, void (*ready)(void *data), void *ready_data,
                            void **state, struct dc_error *err)
{
    if (ctx->settings->worker > DC_AGG_WORKERS) {
        *state = NULL; /* the first two do it for everybody */
        ready(ready_data);
        return DC_OK;
    }
    struct dc_aggregator *a = dc_calloc(1, sizeof(*a));
    a->ctx = ctx;
    make_metrics(a);
    dc_sweep_init(a);
    dc_mirror_init(a);
    enum dc_status st = make_core(a, err);
    if (st == DC_OK) {
        st = dc_agg_heartbeat_create(a, err);
    }
    for (size_t i = 0; st == DC_OK && i < DC_AGG_SOURCES; i++) {
        st = dc_agg_sources[i]->start(a, &a->sources[i], err);
    }
    if (st == DC_OK) {
        st = dc_agg_leader_start(a, err);
    }
    if (st != DC_OK) {
        stop_sources(a);
        dc_agg_heartbeat_stop(a);
        free_core(a);
        dc_free(a);
        return st;
    }
    dc_timer_init(ctx->loop, &a->tick, on_tick);
    dc_timer_init(ctx->loop, &a->clock, on_clock);
    dc_agg_heartbeat_run(a);
    a->heard_ms = dc_agg_now_ms(a);
    dc_agg_routes(a);
    dc_agg_refresh_sources(a); /* a standby is to know everything too */
    dc_agg_arm_clock(a);
    *state = a;
    ready(ready_data);
    return DC_OK;
}

static void on_tick_closed(struct dc_timer *t)
{
    struct dc_aggregator *a = DC_CONTAINER_OF(t, struct dc_aggregator, tick);
    void (*stopped)(void *) = a->stopped;
    void *data = a->stopped_data;
    dc_free(a);
    stopped(data);
}

static void on_clock_closed(struct dc_timer *t)
{
    struct dc_aggregator *a = DC_CONTAINER_OF(t, struct dc_aggregator, clock);
    dc_timer_close(&a->tick, on_tick_closed);
}

void dc_agg_pending_end(struct dc_aggregator *a)
{
    DC_ASSERT(a->pending > 0);
    a->pending--;
    if (a->is_stopping && a->pending == 0) {
        stop_sources(a);
        free_core(a);
        dc_timer_close(&a->clock, on_clock_closed);
    }
}

static void stop(void *state, void (*stopped)(void *data), void *data)
{
    struct dc_aggregator *a = state;
    if (a == NULL) {
        stopped(data);
        return;
    }
    a->stopped = stopped;
    a->stopped_data = data;
    dc_timer_stop(&a->tick);
    dc_timer_stop(&a->clock);
    a->pending++; /* this call */
    dc_agg_leader_stop(a);
    a->is_stopping = true;
    dc_agg_heartbeat_stop(a);
    dc_agg_pending_end(a);
}

const struct dc_role dc_role_presence_aggregator = {
    .name = "matrix-presence-aggregator",
    .summary = "who is where: sessions in, presence of rooms and people out",
    .port = 7026,
    .needs = DC_NEEDS_KV | DC_NEEDS_BUS,
    .start = start,
    .stop = stop,
};
