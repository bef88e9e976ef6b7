/* city-service: start, loading, stop. */
#include "base/input.h"
#include "base/mem.h"
#include "roles/city/catch_up.h"
#include "roles/city/chat.h"
#include "roles/city/feed.h"
#include "roles/city/lookup.h"
#include "roles/city/matrix_link.h"
#include "roles/city/matrix_moves.h"
#include "roles/city/matrix_outgoing.h"
#include "roles/city/owed.h"
#include "roles/city/pages.h"
#include "roles/city/people.h"
#include "roles/city/sessions.h"

#define RATE_LIMIT_KEYS 100000
#define FEED_LOG_BYTES  ((size_t)256 * 1024)
#define DEFAULT_ROOMS   "general,welcome,builders"
/* For the bus to acknowledge what is under way at the end; the rest is safe in the table. */
#define RELAY_PATIENCE_MS 2000

/* --- shared by the files of this role --- */

void dc_city_new_id(struct dc_city *city, const char *prefix_z, char out[DC_CITY_ID_MAX])
{
    char ulid[DC_ULID_LEN + 1];
    dc_ulid_next(&city->ids, dc_utc_now(), ulid);
    int n = snprintf(out, DC_CITY_ID_MAX, "%s%s", prefix_z, ulid);
    DC_ASSERT(n > 0 && n < DC_CITY_ID_MAX);
}

static void finish_stop(struct dc_city *city);

void dc_city_pending_begin(struct dc_city *city)
{
    city->pending++;
}

void dc_city_pending_end(struct dc_city *city)
{
    DC_ASSERT(city->pending > 0);
    city->pending--;
    if (city->is_stopping && city->pending == 0) {
        finish_stop(city);
    }
}

void dc_city_submit(struct dc_city *city, struct dc_http_request *r, struct dc_db_batch *b,
                    dc_db_cb cb, void *data)
{
    struct dc_error err = {0};
    if (dc_db_submit(b, cb, data, NULL, &err) == DC_OK) {
        dc_city_pending_begin(city);
    } else {
        dc_http_reply_error(r, &err);
    }
}

bool dc_city_is_ready(struct dc_city *city, struct dc_http_request *r)
{
    if (city->is_loaded) {
        return true;
    }
    struct dc_error err = {0};
    (void)dc_fail(&err, DC_UNAVAILABLE, 0, "the city is starting");
    dc_http_reply_error(r, &err);
    return false;
}

bool dc_city_may_read(struct dc_city *city, struct dc_http_request *r)
{
    return dc_city_is_ready(city, r) && dc_allow_public(&city->ctx->auth, r);
}

void dc_city_add_routes(struct dc_city *city, const struct dc_route *routes, size_t n)
{
    dc_router_add(city->ctx->public_router, "/api", routes, n, city);
    if (!city->ctx->is_combined) {
        dc_router_add(city->ctx->public_router, "", routes, n, city);
    }
}

/* --- loading: default rooms, then everything --- */

static void load_later(struct dc_city *city, const struct dc_error *err)
{
    DC_LOG_WARN_EVENT(city->ctx->log, "city.load_failed", DC_LF_ERR(err));
    dc_timer_start(&city->retry, dc_backoff_next_ms(&city->retry_backoff), 0);
}

static void forget_lane(void *data, struct dc_slice key)
{
    struct dc_city *city = data;
    struct dc_city_room *room = dc_city_rooms_find(city->rooms, key);
    if (room != NULL) {
        dc_relay_lane_init(&room->lane);
    }
}

static void forget_lanes(struct dc_city *city, const struct dc_db_result *owed)
{
    if (dc_outbox_read_keys(owed, forget_lane, city)) {
        return;
    }
    for (struct dc_city_room *room = dc_city_rooms_next(city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(city->rooms, room)) {
        dc_relay_lane_init(&room->lane);
    }
}

/* Everything that was stored by then is on the bus, except in rooms that still owe something. */
static void take_lanes(struct dc_city *city, const struct dc_db_result *owed)
{
    for (struct dc_city_room *room = dc_city_rooms_next(city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(city->rooms, room)) {
        dc_relay_lane_known(&room->lane, room->last_position);
    }
    forget_lanes(city, owed);
}

/* What the load brought; on failure nothing has changed that a second load would not put right. */
static enum dc_status take_load(struct dc_city *city, const struct dc_db_result *const *results,
                                struct dc_error *err)
{
    struct dc_slice epoch = dc_repo_read_epoch(results[0]);
    /* It goes into frames and query strings as it is. */
    if (!dc_slug_is_valid(epoch) ||
        !dc_slice_copy_z(epoch, city->epoch_text, sizeof(city->epoch_text))) {
        return dc_fail(err, DC_INTERNAL, 0, "city_meta has no usable epoch");
    }
    city->epoch = dc_slice_z(city->epoch_text);
    size_t unusable = dc_repo_read_rooms(results[1], city->rooms);
    if (unusable > 0) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.rooms_left_out", DC_LF_I("rooms", unusable));
    }
    take_lanes(city, results[2]);
    return dc_people_start(city->people, err);
}

static void on_people_read(void *data)
{
    struct dc_city *city = data;
    DC_LOG_INFO_EVENT(city->ctx->log, "city.ready",
                      DC_LF_I("rooms", dc_city_rooms_count(city->rooms)));
    city->ready(city->ready_data);
}

static void on_loaded(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct dc_city *city = data;
    struct dc_error bad = {0};
    (void)n;
    if (!city->is_stopping) {
        if (st == DC_OK) {
            st = take_load(city, results, &bad);
            err = &bad;
        }
        if (st != DC_OK) {
            load_later(city, err);
        } else {
            city->is_loaded = true;
            city->catch_up = dc_catch_up_create(city);
            dc_matrix_outgoing_start(city);
            dc_matrix_moves_start(city);
            dc_people_on_read(city->people, on_people_read, city);
        }
    }
    dc_city_pending_end(city);
}

static void load_rooms(struct dc_city *city)
{
    struct dc_error err = {0};
    dc_relay_doubt(city->relay); /* default rooms that are new */
    if (dc_db_submit(dc_repo_load(city->ctx->db), on_loaded, city, NULL, &err) != DC_OK) {
        load_later(city, &err);
        return;
    }
    dc_city_pending_begin(city);
}

/* The last of the default rooms that is there lets loading go on. */
static void on_ensured(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    struct dc_city *city = data;
    (void)results;
    (void)n;
    city->ensuring--;
    if (st != DC_OK) {
        city->ensure_has_failed = true;
        DC_LOG_WARN_EVENT(city->ctx->log, "city.default_room_failed", DC_LF_ERR(err));
    }
    if (city->ensuring == 0 && !city->is_stopping) {
        if (city->ensure_has_failed) {
            struct dc_error some = {0};
            (void)dc_fail(&some, DC_UNAVAILABLE, 0, "not every default room could be stored");
            load_later(city, &some);
        } else {
            load_rooms(city);
        }
    }
    dc_city_pending_end(city);
}

static void ensure_room(void *data, const struct dc_room_row *row)
{
    struct dc_city *city = data;
    struct dc_room_row dated = *row;
    struct dc_owed_room owed;
    struct dc_arena arena;
    struct dc_error err = {0};
    dc_arena_init(&arena, 1024, 0);
    /* A millisecond apart, so that they are listed in the order of the setting. */
    dated.created_at.ms = dc_utc_now().ms + (int64_t)city->ensuring;
    enum dc_status st = dc_owed_room_make(&arena, &dated, NULL, &owed)
                            ? dc_db_submit(dc_repo_room_ensure(city->ctx->db, &dated, &owed),
                                           on_ensured, city, NULL, &err)
                            : dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
    if (st == DC_OK) {
        city->ensuring++;
        dc_city_pending_begin(city);
    } else {
        city->ensure_has_failed = true;
        DC_LOG_WARN_EVENT(city->ctx->log, "city.default_room_failed", DC_LF_ERR(&err));
    }
    dc_arena_free(&arena);
}

static struct dc_slice default_rooms(const struct dc_city *city)
{
    struct dc_slice list = dc_slice_trim(dc_slice_z(city->ctx->settings->city_default_rooms));
    return list.len > 0 ? list : DC_S(DEFAULT_ROOMS);
}

static void load(struct dc_city *city)
{
    struct dc_error err = {0};
    city->ensure_has_failed = false;
    enum dc_status st = dc_city_default_rooms(default_rooms(city), ensure_room, city, &err);
    DC_ASSERT(st == DC_OK); /* start() has checked the list */
    if (city->ensuring == 0) {
        if (city->ensure_has_failed) {
            (void)dc_fail(&err, DC_UNAVAILABLE, 0, "the database is away");
            load_later(city, &err);
        } else {
            load_rooms(city);
        }
    }
}

static void on_retry(struct dc_timer *t)
{
    load(DC_CONTAINER_OF(t, struct dc_city, retry));
}

/* --- role --- */

/* Only the list itself is of interest. */
static void ignore_room(void *data, const struct dc_room_row *row)
{
    (void)data;
    (void)row;
}

static void free_city(struct dc_city *city)
{
    dc_catch_up_destroy(city->catch_up);
    dc_matrix_outgoing_destroy(city);
    dc_matrix_moves_destroy(city);
    dc_chat_stop(city);
    dc_matrix_link_close(city);
    dc_pages_destroy(city->pages);
    dc_sessions_destroy(city->sessions);
    dc_people_destroy(city->people);
    dc_topic_destroy(city->feed);
    dc_feed_destroy(city->feed_seen);
    dc_city_rooms_destroy(city->rooms);
    dc_rate_limit_destroy(city->message_limit);
    dc_rate_limit_destroy(city->room_limit);
    dc_rate_limit_destroy(city->presence_limit);
    dc_places_destroy(city->sockets);
    dc_rate_limit_destroy(city->lookup_limit);
}

static enum dc_status start(struct dc_ctx *ctx, void (*ready)(void *data), void *ready_data,
                            void **state, struct dc_error *err)
{
    const struct dc_settings *settings = ctx->settings;
    struct dc_city *city = dc_calloc(1, sizeof(*city));
    city->ctx = ctx;
    city->ready = ready;
    city->ready_data = ready_data;
    city->retry_backoff = (struct dc_backoff){.base_ms = 200, .max_ms = 5000};
    dc_ulid_next(&city->ids, dc_utc_now(), city->gateway_id);
    enum dc_status st = dc_city_default_rooms(default_rooms(city), ignore_room, NULL, err);
    if (st != DC_OK) {
        goto fail;
    }
    city->rooms = dc_city_rooms_create();
    char epoch[DC_ULID_LEN + 3];
    int n = snprintf(epoch, sizeof(epoch), "f-%s", city->gateway_id);
    const struct dc_topic_opts feed = {.kind = DC_TOPIC_LOG,
                                       .epoch = dc_slice_make(epoch, (size_t)n),
                                       .max_log_bytes = FEED_LOG_BYTES};
    city->feed = dc_topic_create(ctx->hub, &feed);
    city->message_limit =
        dc_rate_limit_create((uint32_t)settings->limit_messages_per_s,
                             (uint32_t)settings->limit_messages_burst, RATE_LIMIT_KEYS);
    city->room_limit = dc_rate_limit_create((uint32_t)settings->limit_rooms_per_s,
                                            (uint32_t)settings->limit_rooms_burst, RATE_LIMIT_KEYS);
    city->presence_limit =
        dc_rate_limit_create((uint32_t)settings->limit_presence_per_s,
                             (uint32_t)settings->limit_presence_burst, RATE_LIMIT_KEYS);
    city->sockets = dc_places_create((uint32_t)settings->limit_sockets_per_user);
    city->lookup_limit =
        dc_rate_limit_create(DC_LOOKUPS_PER_S, DC_LOOKUPS_BURST, DC_LOOKUPS_ASKERS);
    city->feed_seen = dc_feed_create(city);
    city->people = dc_people_create(city);
    st = dc_sessions_create(city, &city->sessions, err);
    if (st != DC_OK) {
        goto fail;
    }
    st = dc_pages_create(city, &city->pages, err);
    if (st != DC_OK) {
        goto fail;
    }
    st = dc_matrix_link_open(city, err);
    if (st != DC_OK) {
        goto fail;
    }
    st = dc_chat_start(city, err);
    if (st != DC_OK) {
        goto fail;
    }
    const struct dc_relay_opts relay = {
        .db = ctx->db, .bus = ctx->bus, .log = ctx->log, .metrics = ctx->metrics};
    city->relay = dc_relay_open(ctx->loop, &relay);
    dc_timer_init(ctx->loop, &city->retry, on_retry);
    dc_city_routes_rooms(city);
    dc_city_routes_archive(city);
    dc_city_routes_backfill(city);
    dc_city_routes_chat(city);
    dc_city_routes_matrix(city);
    dc_city_routes_moves(city);
    dc_city_routes_messages(city);
    dc_city_routes_feed(city);
    dc_city_routes_pages(city);
    dc_city_routes_presence(city);
    dc_city_stream_room_routes(city);
    dc_city_stream_presence_routes(city);
    load(city);
    *state = city;
    return DC_OK;
fail:
    free_city(city);
    dc_free(city);
    return st;
}

static void on_retry_closed(struct dc_timer *t)
{
    struct dc_city *city = DC_CONTAINER_OF(t, struct dc_city, retry);
    void (*stopped)(void *) = city->stopped;
    void *data = city->stopped_data;
    dc_free(city);
    stopped(data);
}

static void end_city(struct dc_city *city)
{
    free_city(city);
    dc_timer_close(&city->retry, on_retry_closed);
}

static void on_relay_closed(void *data)
{
    struct dc_city *city = data;
    city->is_relay_closed = true;
    if (city->pending == 0) {
        end_city(city);
    }
}

/* Nothing is pending any more: what has been committed is on its way or safe in the table. */
static void finish_stop(struct dc_city *city)
{
    uint64_t patience_ms = (uint64_t)city->ctx->settings->shutdown_timeout_ms;
    if (city->is_ending) {
        if (city->is_relay_closed) {
            end_city(city);
        }
        return;
    }
    city->is_ending = true;
    dc_chat_stop(city); /* what is heard could begin something new */
    dc_relay_close(city->relay, patience_ms < RELAY_PATIENCE_MS ? patience_ms : RELAY_PATIENCE_MS,
                   on_relay_closed, city);
}

static void stop(void *state, void (*stopped)(void *data), void *data)
{
    struct dc_city *city = state;
    city->stopped = stopped;
    city->stopped_data = data;
    city->is_stopping = true;
    dc_timer_stop(&city->retry);
    dc_matrix_outgoing_stop(city);
    dc_matrix_moves_stop(city);
    dc_matrix_link_close(city); /* what waits for the homeserver ends */
    if (city->pending == 0) {
        finish_stop(city);
    }
}

const struct dc_role dc_role_city = {
    .name = "city-service",
    .summary = "rooms, messages, feed, sockets for rooms and presence",
    .port = 7001,
    .needs = DC_NEEDS_DB | DC_NEEDS_KV | DC_NEEDS_BUS | DC_NEEDS_TOKENS,
    .start = start,
    .stop = stop,
};
