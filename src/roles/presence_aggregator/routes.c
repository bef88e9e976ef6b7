/* GET /status and /health of the aggregator (CONTRACT §6.1), on the internal listener alone: as
 * /internal/presence/… always, by their own names when the role runs alone. */
#include "roles/presence_aggregator/aggregator.h"

#define ROOMS_MAX 500

static const char *role_word(const struct dc_aggregator *a)
{
    static const char *const words[] = {[DC_AGG_STANDBY] = "standby",
                                        [DC_AGG_READING] = "starting",
                                        [DC_AGG_WAITING] = "starting",
                                        [DC_AGG_LEADING] = "leader"};
    return words[a->phase];
}

struct rooms {
    const struct dc_aggregator *a;
    struct dc_jsonw *w;
};

static void write_room(void *data, struct dc_slice room_id, struct dc_slice slug)
{
    const struct rooms *rooms = data;
    struct dc_presence_room_state state;
    if (dc_presence_room_get(rooms->a->core, room_id, &state)) {
        struct dc_jsonw *w = rooms->w;
        dc_jsonw_object(w);
        dc_jsonw_key_text(w, "slug", slug);
        dc_jsonw_key_text(w, "room_id", room_id);
        dc_jsonw_key_i64(w, "online_count", state.online_count);
        dc_jsonw_key_i64(w, "away_count", state.away_count);
        dc_jsonw_key_i64(w, "typing_count", state.typing_count);
        dc_jsonw_end(w);
    }
}

static void write_sources(const struct dc_aggregator *a, struct dc_jsonw *w)
{
    dc_jsonw_key(w, "sources");
    dc_jsonw_array(w);
    for (size_t i = 0; i < DC_AGG_SOURCES; i++) {
        int64_t age_ms = 0;
        if (a->sources[i] == NULL) {
            continue;
        }
        enum dc_source_state state = dc_agg_sources[i]->state(a->sources[i], &age_ms);
        dc_jsonw_object(w);
        dc_jsonw_key_text(w, "name", dc_slice_z(dc_agg_sources[i]->name));
        dc_jsonw_key_text(w, "state", dc_slice_z(dc_agg_source_word(state)));
        dc_jsonw_key_i64(w, "age_ms", age_ms);
        if (dc_agg_sources[i] == &dc_source_matrix) {
            dc_agg_matrix_write_status(a, w);
        }
        dc_jsonw_end(w);
    }
    dc_jsonw_end(w);
}

static void write_leader(const struct dc_aggregator *a, struct dc_jsonw *w)
{
    dc_jsonw_key_text(w, "role", dc_slice_z(role_word(a)));
    dc_jsonw_key_text(w, "holder", dc_slice_z(a->holder));
    dc_jsonw_key_i64(w, "term", a->phase >= DC_AGG_WAITING ? a->term : a->other.term);
    dc_jsonw_key_i64(w, "gen", a->gen);
    dc_jsonw_key(w, "leader");
    if (a->phase == DC_AGG_STANDBY && a->other.is_known) {
        dc_jsonw_object(w);
        dc_jsonw_key_text(w, "holder", dc_slice_z(a->other.holder));
        dc_jsonw_key_i64(w, "heard_ms_ago", dc_agg_now_ms(a) - a->other.heard_ms);
        dc_jsonw_end(w);
    } else {
        dc_jsonw_null(w);
    }
}

static void get_status(void *ctx, struct dc_http_request *r)
{
    const struct dc_aggregator *a = ctx;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    if (!dc_require_internal_key(&a->ctx->auth, r)) {
        return;
    }
    struct dc_presence_counts counts = dc_presence_counts_get(a->core);
    struct dc_presence_totals totals = dc_presence_totals_get(a->core);
    struct rooms rooms = {a, &w};
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    write_leader(a, &w);
    dc_jsonw_key_bool(&w, "nats_connected", !a->is_bus_failing);
    dc_jsonw_key_bool(&w, "sync_running", dc_agg_matrix_is_running(a));
    dc_jsonw_key_i64(&w, "lag_ms", a->lag_ms);
    dc_jsonw_key_i64(&w, "total_users_tracked", (int64_t)counts.users);
    dc_jsonw_key_i64(&w, "rooms_tracked", (int64_t)counts.rooms);
    dc_jsonw_key_i64(&w, "sessions", (int64_t)counts.sessions);
    dc_jsonw_key_i64(&w, "online_total", totals.online);
    dc_jsonw_key_i64(&w, "away_total", totals.away);
    write_sources(a, &w);
    dc_jsonw_key(&w, "rooms");
    dc_jsonw_array(&w);
    dc_presence_visit_rooms(a->core, ROOMS_MAX, write_room, &rooms);
    dc_jsonw_end(&w);
    dc_jsonw_key_bool(&w, "truncated", counts.rooms > ROOMS_MAX);
    dc_jsonw_end(&w);
    dc_http_set_header(r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(r, 200, &out);
}

static void get_health(void *ctx, struct dc_http_request *r)
{
    const struct dc_aggregator *a = ctx;
    struct dc_presence_counts counts = dc_presence_counts_get(a->core);
    int64_t age_ms = 0;
    /* Native sessions come over the bus, and so does all that is said: without it nothing works.
     * Without the homeserver what it has said so far still counts. */
    bool is_up = dc_source_native.state(a->sources[0], &age_ms) != DC_SOURCE_DOWN;
    bool is_whole = dc_agg_source_state(a) != DC_SOURCE_DOWN;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "status",
                      is_up ? (is_whole ? DC_S("healthy") : DC_S("degraded")) : DC_S("unhealthy"));
    dc_jsonw_key_text(&w, "service", DC_S("matrix-presence-aggregator"));
    dc_jsonw_key_text(&w, "role", dc_slice_z(role_word(a)));
    dc_jsonw_key_bool(&w, "nats_connected", !a->is_bus_failing);
    dc_jsonw_key_i64(&w, "rooms_tracked", (int64_t)counts.rooms);
    dc_jsonw_key_i64(&w, "users_tracked", (int64_t)counts.users);
    write_sources(a, &w);
    dc_jsonw_end(&w);
    dc_http_set_header(r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(r, is_up ? 200 : 503, &out);
}

void dc_agg_routes(struct dc_aggregator *a)
{
    static const struct dc_route routes[] = {{DC_GET, "/status", get_status},
                                             {DC_GET, "/health", get_health}};
    dc_router_add(a->ctx->internal_router, "/internal/presence", routes, DC_ARRAY_LEN(routes), a);
    if (!a->ctx->is_combined) {
        dc_router_add(a->ctx->internal_router, "", routes, DC_ARRAY_LEN(routes), a);
    }
}
