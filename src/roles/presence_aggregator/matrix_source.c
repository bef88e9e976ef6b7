/* The Matrix source itself: its settings, its life, and what is known of the homeserver. */
#include "roles/presence_aggregator/matrix_source.h"
#include "base/mem.h"

#define DOWN_AFTER_MS 5000
#define PAUSE_BASE_MS 250
#define PAUSE_MAX_MS  10000
#define LISTEN_MS     30000

/* --- what is known of the homeserver --- */

static enum dc_source_state state(const void *self, int64_t *age_ms)
{
    const struct dc_ms *ms = self;
    int64_t now_ms = dc_ms_now_ms(ms);
    bool is_failing = ms->failing_since_ms != 0;
    bool is_overdue = ms->is_asking && ms->phase == DC_MS_POLLING &&
                      now_ms - ms->asked_ms > (int64_t)ms->held_ms + DC_MS_OVERDUE_MS;
    *age_ms = now_ms - ms->heard_ms;
    if (ms->is_refused || (is_failing && now_ms - ms->failing_since_ms >= DOWN_AFTER_MS)) {
        return DC_SOURCE_DOWN;
    }
    return is_failing || is_overdue || ms->phase != DC_MS_POLLING ? DC_SOURCE_STALE
                                                                  : DC_SOURCE_FRESH;
}

void dc_ms_set_health(struct dc_ms *ms)
{
    static const enum dc_health_state states[] = {[DC_SOURCE_FRESH] = DC_HEALTH_OK,
                                                  [DC_SOURCE_STALE] = DC_HEALTH_DEGRADED,
                                                  [DC_SOURCE_DOWN] = DC_HEALTH_DOWN};
    int64_t age_ms;
    enum dc_source_state now = state(ms, &age_ms);
    dc_strbuf_add_char(&ms->reason, '\0');
    ms->reason.len -= dc_strbuf_ok(&ms->reason);
    dc_health_set(ms->health, states[now], ms->reason.len > 0 ? ms->reason.ptr : NULL);
    ms->rooms_unknown->value = (int64_t)ms->n_unknown;
    ms->rooms_known->value = (int64_t)(ms->rooms.count - ms->n_unknown);
}

/* Once for each reason. */
void dc_ms_set_reason(struct dc_ms *ms, const struct dc_error *err)
{
    struct dc_slice text = err == NULL ? DC_SLICE_NULL : dc_slice_z(dc_error_text(err));
    if (dc_slice_eq(dc_strbuf_slice(&ms->reason), text)) {
        return;
    }
    dc_strbuf_clear(&ms->reason);
    dc_strbuf_add(&ms->reason, text);
    if (ms->is_refused && err != NULL) {
        DC_LOG_ERROR_EVENT(
            ms->a->ctx->log, "presence.matrix_refused", DC_LF_ERR(err),
            DC_LF_Z("hint", "MATRIX_ACCESS_TOKEN is to be a token of MATRIX_USER_ID"));
    } else if (err != NULL) {
        DC_LOG_WARN_EVENT(ms->a->ctx->log, "presence.matrix_unheard", DC_LF_ERR(err));
    } else {
        DC_LOG_INFO_EVENT(ms->a->ctx->log, "presence.matrix_heard", DC_LF_B("again", true));
    }
}

/* Rooms that have been waiting because nobody was there. */
static void hurry_rooms(struct dc_ms *ms)
{
    DC_LIST_FOREACH (it, &ms->work) {
        struct dc_ms_room *room = DC_LIST_ENTRY(it, struct dc_ms_room, work_link);
        room->due_ms = room->is_said ? room->due_ms : 0;
    }
}

void dc_ms_answered(struct dc_ms *ms)
{
    ms->heard_ms = dc_ms_now_ms(ms);
    ms->is_refused = false;
    if (ms->failing_since_ms != 0) {
        ms->failing_since_ms = 0;
        hurry_rooms(ms);
        dc_ms_probe_want(ms, LISTEN_MS); /* it may have been set up anew */
    }
    dc_ms_set_reason(ms, NULL);
}

bool dc_ms_note_failure(struct dc_ms *ms, enum dc_status st, const struct dc_error *err)
{
    bool is_refused = st == DC_UNAUTHORIZED || st == DC_CONFIG ||
                      dc_slice_eq(dc_slice_z(dc_error_code(err)), DC_S("matrix_user_deactivated"));
    if (!is_refused && st != DC_UNAVAILABLE && st != DC_TIMEOUT) {
        return false;
    }
    ms->is_refused = is_refused;
    if (ms->failing_since_ms == 0) {
        ms->failing_since_ms = dc_ms_now_ms(ms);
    }
    dc_ms_set_reason(ms, err);
    return true;
}

bool dc_agg_matrix_is_known(const struct dc_aggregator *a)
{
    return a->matrix == NULL || a->matrix->has_picture;
}

bool dc_agg_matrix_is_running(const struct dc_aggregator *a)
{
    return a->matrix != NULL && a->matrix->phase == DC_MS_POLLING &&
           a->matrix->failing_since_ms == 0;
}

void dc_agg_matrix_write_status(const struct dc_aggregator *a, struct dc_jsonw *w)
{
    static const char *const steps[] = {[DC_MS_MAPPING] = "rooms of the city",
                                        [DC_MS_WHOAMI] = "token",
                                        [DC_MS_INITIAL] = "first answer",
                                        [DC_MS_JOINED] = "rooms joined",
                                        [DC_MS_ROOMS] = "members",
                                        [DC_MS_POLLING] = "polling"};
    const struct dc_ms *ms = a->matrix;
    if (ms == NULL) {
        return;
    }
    dc_jsonw_key_i64(w, "late_ms", ms->late_ms);
    dc_jsonw_key_text(w, "step", dc_slice_z(steps[ms->phase]));
    dc_jsonw_key_text(w, "reason",
                      ms->reason.len > 0 ? dc_strbuf_slice(&ms->reason) : DC_SLICE_NULL);
    dc_jsonw_key_text(w, "presence_mode",
                      ms->probe.is_off ? DC_S("off") : dc_slice_z(dc_ms_mode_word(ms->mode)));
    dc_jsonw_key_i64(w, "rooms", (int64_t)ms->rooms.count);
    dc_jsonw_key_i64(w, "rooms_unknown", (int64_t)ms->n_unknown);
    dc_jsonw_key_i64(w, "people", (int64_t)ms->people.count);
    dc_jsonw_key_i64(w, "people_unknown", (int64_t)ms->owners.n_unknown);
}

/* --- life --- */

/* A replica of the city that answers us may hear of it a moment later than we do. */
static void on_room_event(void *data, const struct dc_bus_message *m)
{
    struct dc_ms *ms = data;
    (void)m;
    ms->is_mapping_moving = true;
    dc_ms_mapping_want(ms);
}

static void want_mapping(void *data)
{
    dc_ms_mapping_want(data);
}

static enum dc_status check_settings(struct dc_ctx *ctx, bool *is_on, struct dc_error *err)
{
    const struct dc_settings *s = ctx->settings;
    struct dc_slice localpart;
    struct dc_slice server;
    /* In `up` a homeserver may be there for its rooms alone. */
    *is_on = s->matrix_access_token != NULL || s->matrix_user_id != NULL ||
             (s->synapse_url != NULL && !ctx->is_combined);
    if (!*is_on) {
        return DC_OK;
    }
    const struct {
        const void *value;
        const char *what_z;
    } needs[] = {
        {s->synapse_url, "SYNAPSE_URL (or MATRIX_HS_URL): the homeserver to listen to"},
        {s->matrix_access_token, "MATRIX_ACCESS_TOKEN: of the user who listens"},
        {s->matrix_user_id, "MATRIX_USER_ID: the user whom MATRIX_ACCESS_TOKEN belongs to"},
        {ctx->is_combined ? "" : s->city_service_url,
         "CITY_SERVICE_INTERNAL_URL: which rooms are the city's"}};
    for (size_t i = 0; i < DC_ARRAY_LEN(needs); i++) {
        if (needs[i].value == NULL) {
            return dc_fail(err, DC_CONFIG, 0, "presence from Matrix needs %s", needs[i].what_z);
        }
    }
    if (!dc_matrix_id_split(dc_slice_z(s->matrix_user_id), '@', &localpart, &server)) {
        return dc_fail(err, DC_CONFIG, 0, "MATRIX_USER_ID is not a user such as @name:example.org");
    }
    if (s->matrix_server_name != NULL && !dc_slice_eq(server, dc_slice_z(s->matrix_server_name))) {
        return dc_fail(err, DC_CONFIG, 0,
                       "MATRIX_USER_ID is a user of \"%.*s\", but MATRIX_SERVER_NAME is \"%s\"",
                       DC_SLICE_ARG(server), s->matrix_server_name);
    }
    return DC_OK;
}

static void read_settings(struct dc_ms *ms)
{
    const struct dc_settings *s = ms->a->ctx->settings;
    struct dc_slice localpart;
    ms->user_id = dc_slice_z(s->matrix_user_id);
    ms->token = dc_slice_z(s->matrix_access_token);
    bool is_good = dc_matrix_id_split(ms->user_id, '@', &localpart, &ms->server_name);
    DC_ASSERT(is_good);
    dc_ms_vary(ms);
}

static void make_metrics(struct dc_ms *ms)
{
    struct dc_metrics *m = ms->a->ctx->metrics;
    ms->events_in = dc_metrics_counter(m, "daarion_presence_events_total", "source=\"matrix\"",
                                       DC_AGG_EVENTS_HELP);
    ms->left_out = dc_metrics_counter(m, "daarion_presence_refused_total", "source=\"matrix\"",
                                      DC_AGG_REFUSED_HELP);
    ms->applied = dc_metrics_counter(m, "daarion_presence_matrix_applied_total", NULL,
                                     "Memberships, statuses and lists of who types taken over.");
    ms->resyncs = dc_metrics_counter(m, "daarion_presence_matrix_resyncs_total", NULL,
                                     "Times that all of the homeserver's rooms were read.");
    ms->joins = dc_metrics_counter(m, "daarion_presence_matrix_joins_total", NULL,
                                   "Rooms that the presence daemon has joined.");
    ms->rooms_known = dc_metrics_gauge(m, "daarion_presence_matrix_rooms", "state=\"joined\"",
                                       "Matrix rooms of the city.");
    ms->rooms_unknown = dc_metrics_gauge(m, "daarion_presence_matrix_rooms", "state=\"unknown\"",
                                         "Matrix rooms of the city.");
}

static void free_all(struct dc_ms *ms)
{
    dc_ms_rooms_free(ms);
    dc_ms_people_free(ms);
    dc_ms_owners_free(ms);
    dc_strbuf_free(&ms->since);
    dc_strbuf_free(&ms->reason);
    dc_free(ms);
}

void dc_ms_pending_end(struct dc_ms *ms)
{
    DC_ASSERT(ms->pending > 0);
    ms->pending--;
    if (ms->is_stopping && ms->pending == 0) {
        free_all(ms);
    }
}

static void close_connections(struct dc_ms *ms)
{
    dc_bus_unsubscribe(ms->room_sub);
    dc_bus_unsubscribe(ms->room_changed_sub);
    dc_matrix_close(ms->matrix);
    dc_peer_close(ms->city);
    dc_peer_close(ms->gateway);
}

static enum dc_status open_connections(struct dc_ms *ms, struct dc_error *err)
{
    struct dc_ctx *ctx = ms->a->ctx;
    const struct dc_matrix_opts opts = {
        .base_url_z = ctx->settings->synapse_url, .log = ctx->log, .metrics = ctx->metrics};
    struct dc_bus_sub_opts sub = {.pattern = DC_S("city.event.room"), .interrupted = want_mapping};
    enum dc_status st = dc_matrix_create(ctx->loop, &opts, &ms->matrix, err);
    if (st == DC_OK) {
        st = dc_peer_create(ctx, "city-service", ctx->settings->city_service_url, &ms->city, err);
    }
    if (st == DC_OK) {
        st = dc_peer_open_gateway(ctx, &ms->gateway, err);
    }
    if (st == DC_OK) {
        st = dc_bus_subscribe(ctx->bus, &sub, on_room_event, ms, &ms->room_sub, err);
    }
    if (st == DC_OK) {
        sub.pattern = DC_S("city.event.room_changed");
        st = dc_bus_subscribe(ctx->bus, &sub, on_room_event, ms, &ms->room_changed_sub, err);
    }
    if (st != DC_OK) {
        close_connections(ms);
    }
    return st;
}

static enum dc_status start(struct dc_aggregator *a, void **self, struct dc_error *err)
{
    bool is_on = false;
    enum dc_status st = check_settings(a->ctx, &is_on, err);
    *self = NULL;
    if (st != DC_OK || !is_on) {
        return st;
    }
    struct dc_ms *ms = dc_calloc(1, sizeof(*ms));
    ms->a = a;
    ms->pause = (struct dc_backoff){.base_ms = PAUSE_BASE_MS, .max_ms = PAUSE_MAX_MS};
    ms->heard_ms = dc_agg_now_ms(a);
    read_settings(ms);
    dc_ms_rooms_init(ms);
    dc_ms_people_init(ms);
    dc_ms_owners_init(ms);
    dc_ms_turns_init(ms);
    dc_ms_joins_init(ms);
    st = open_connections(ms, err);
    if (st != DC_OK) {
        free_all(ms);
        return st;
    }
    make_metrics(ms);
    if (a->ctx->health != NULL) {
        ms->health = dc_health_add(a->ctx->health, "matrix_presence", false);
    }
    dc_timer_init(a->ctx->loop, &ms->clock, dc_ms_on_clock);
    dc_timer_start(&ms->clock, 0, 0);
    a->matrix = ms;
    *self = ms;
    return DC_OK;
}

static void on_clock_closed(struct dc_timer *t)
{
    dc_ms_pending_end(DC_CONTAINER_OF(t, struct dc_ms, clock));
}

/* Answers that are still to come find it stopping, and the last one frees it. */
static void stop(void *self)
{
    struct dc_ms *ms = self;
    ms->is_stopping = true;
    ms->a->matrix = NULL;
    ms->pending++;
    dc_ms_turns_stop(ms);
    dc_ms_joins_stop(ms);
    close_connections(ms);
    dc_timer_close(&ms->clock, on_clock_closed);
}

static void refresh(void *self)
{
    (void)self; /* the poll says what there is to be said */
}

/* What has not been heard is about native sessions, and which rooms there are. */
static bool may_miss(const void *self)
{
    (void)self;
    return false;
}

const struct dc_source dc_source_matrix = {.name = "matrix",
                                           .start = start,
                                           .stop = stop,
                                           .refresh = refresh,
                                           .recover = want_mapping,
                                           .may_miss = may_miss,
                                           .state = state};
