/* Rooms that this process does not know although they exist; dc_city_room_of() of city.h. */
#include "roles/city/lookup.h"

#include "roles/city/socket.h"

#include "base/input.h"
#include "roles/city/catch_up.h"
#include "roles/city/chat.h"
#include "roles/request.h"

struct taking {
    void (*added)(void *data, struct dc_city_room *room);
    void *data;
};

static void on_added(void *data, struct dc_city_room *room)
{
    const struct taking *t = data;
    if (room->last_position == 0) {
        dc_relay_lane_known(&room->lane, 0);
    }
    if (t->added != NULL) {
        t->added(t->data, room);
    }
}

static void on_changed(void *data, struct dc_city_room *room, bool was_archived)
{
    dc_chat_room_changed(data, room, was_archived);
}

void dc_lookup_take(struct dc_city *city, const struct dc_db_result *r,
                    void (*added)(void *data, struct dc_city_room *room), void *data)
{
    struct taking t = {added, data};
    dc_repo_read_unknown_rooms(r, city->rooms, on_added, &t);
    dc_repo_read_changed_rooms(r, city->rooms, on_changed, city);
}

/* 0: the question may be asked. who: the bus, or the address of a client. */
static uint64_t wait_to_ask_ms(struct dc_city *city, struct dc_slice who)
{
    return dc_rate_limit_take(city->lookup_limit, who, dc_loop_now(city->ctx->loop));
}

/* --- for messages of the bus --- */

static void on_room(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *err)
{
    struct dc_city *city = data;
    (void)n;
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.lookup_failed", DC_LF_ERR(err));
    } else if (!city->is_stopping && dc_db_rows(results[0]) == 1) {
        dc_lookup_take(city, results[0], NULL, NULL);
        /* Messages that came while nobody knew the room. */
        struct dc_city_room *room =
            dc_city_rooms_find(city->rooms, dc_db_get_text(results[0], 0, 0));
        if (room != NULL) {
            dc_catch_up_room(city, room);
        }
    }
    dc_city_pending_end(city);
}

void dc_lookup_room(struct dc_city *city, struct dc_slice room_id)
{
    struct dc_error err = {0};
    if (wait_to_ask_ms(city, DC_S("bus")) > 0) {
        return; /* the next message of the room asks again */
    }
    if (dc_db_submit(dc_repo_room(city->ctx->db, room_id), on_room, city, NULL, &err) == DC_OK) {
        dc_city_pending_begin(city);
    } else {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.lookup_failed", DC_LF_ERR(&err));
    }
}

/* --- rooms that have changed --- */

static void on_changed_room(void *data, enum dc_status st,
                            const struct dc_db_result *const *results, size_t n,
                            const struct dc_error *err)
{
    struct dc_city *city = data;
    (void)n;
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.lookup_failed", DC_LF_ERR(err));
        if (!city->is_stopping) {
            dc_catch_up_doubt(city); /* compares revisions too */
        }
    } else if (!city->is_stopping) {
        dc_lookup_take(city, results[0], NULL, NULL);
    }
    dc_city_pending_end(city);
}

void dc_lookup_changed(struct dc_city *city, struct dc_slice room_id)
{
    struct dc_error err = {0};
    if (city->is_stopping) {
        return;
    }
    if (dc_db_submit(dc_repo_room(city->ctx->db, room_id), on_changed_room, city, NULL, &err) ==
        DC_OK) {
        dc_city_pending_begin(city);
    } else {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.lookup_failed", DC_LF_ERR(&err));
        dc_catch_up_doubt(city);
    }
}

/* --- for requests --- */

/* Lives in the request's arena. */
struct asking {
    struct dc_city *city;
    struct dc_http_request *r;
    void (*again)(void *city, struct dc_http_request *r);
};

static void fail_unknown(struct dc_city *city, struct dc_http_request *r)
{
    struct dc_error err = {0};
    if (dc_ws_is_upgrade(r)) {
        dc_socket_refuse(city, r, DC_WS_NOT_FOUND, DC_S("room_not_found"));
        return;
    }
    (void)dc_fail_code(&err, DC_NOT_FOUND, "room_not_found", "Room not found");
    dc_http_reply_error(r, &err);
}

/* Nobody has looked whether the room exists, so nobody says that it does not. */
static void fail_unasked(struct dc_city *city, struct dc_http_request *r, uint64_t wait_ms)
{
    if (dc_ws_is_upgrade(r)) {
        dc_socket_refuse(city, r, DC_WS_RATE_LIMITED, DC_S("rate_limited"));
    } else {
        dc_request_fail_limit(r, wait_ms, "too many questions for rooms that are not known here");
    }
}

static void on_answer(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    const struct asking *a = data;
    struct dc_city *city = a->city;
    (void)n;
    if (st != DC_OK) {
        dc_http_reply_error(a->r, err);
    } else {
        dc_lookup_take(city, results[0], NULL, NULL);
        city->looked_up = a->r;
        a->again(city, a->r); /* a is gone with the request, perhaps */
        city->looked_up = NULL;
    }
    dc_city_pending_end(city);
}

static void ask(struct dc_city *city, struct dc_http_request *r, struct dc_slice name,
                void (*again)(void *city, struct dc_http_request *r))
{
    uint64_t wait_ms = wait_to_ask_ms(city, dc_http_peer(r));
    if (wait_ms > 0) {
        fail_unasked(city, r, wait_ms);
        return;
    }
    struct asking *a = dc_request_alloc(r, sizeof(*a));
    if (a != NULL) {
        *a = (struct asking){city, r, again};
        dc_city_submit(city, r, dc_repo_room(city->ctx->db, name), on_answer, a);
    }
}

struct dc_city_room *dc_city_room_named(struct dc_city *city, struct dc_http_request *r,
                                        struct dc_slice name,
                                        void (*again)(void *city, struct dc_http_request *r))
{
    if (!dc_city_is_ready(city, r)) {
        return NULL;
    }
    struct dc_city_room *room = dc_city_rooms_find(city->rooms, name);
    if (room != NULL) {
        return room;
    }
    bool is_possible = dc_room_id_is_valid(name) || dc_slug_is_valid(name);
    if (city->looked_up == r || !is_possible) {
        fail_unknown(city, r);
    } else {
        ask(city, r, name, again);
    }
    return NULL;
}

struct dc_city_room *dc_city_room_of(struct dc_city *city, struct dc_http_request *r,
                                     void (*again)(void *city, struct dc_http_request *r))
{
    return dc_city_room_named(city, r, dc_http_param(r, 0), again);
}

bool dc_city_room_is_fresh(struct dc_city *city, struct dc_http_request *r,
                           const struct dc_city_room *room,
                           void (*again)(void *city, struct dc_http_request *r))
{
    if (city->looked_up == r) {
        return true;
    }
    ask(city, r, room->row.id, again);
    return false;
}
