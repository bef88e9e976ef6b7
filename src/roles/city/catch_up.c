/* Bringing this process up to what the database has. */
#include "roles/city/catch_up.h"

#include "base/mem.h"
#include "roles/city/chat.h"
#include "roles/city/lookup.h"

#define PAGE 200
/* Rooms found missing that are read at a time; the next comparison finds the others. */
#define ROOMS_PAGE 200

/* When the heads are compared after a doubt: an orphaned commit ends within milliseconds, a
 * database that restarts within seconds. */
static const uint64_t pauses_ms[] = {100, 400, 1500, 3000};

struct dc_catch_up {
    struct dc_city *city;
    struct dc_timer timer;
    size_t step; /* in pauses_ms; past the end: no doubt */
    bool is_comparing;
};

/* --- one room --- */

struct reading {
    struct dc_city *city;
    struct dc_city_room *room;
};

static void doubt_unless_stopping(struct dc_city *city)
{
    if (!city->is_stopping) {
        dc_catch_up_doubt(city);
    }
}

/* Stops at one that could not be given: what follows it would hide the hole. */
static bool deliver_all(struct dc_city_room *room, const struct dc_db_result *rows)
{
    for (size_t i = 0; i < dc_db_rows(rows); i++) {
        struct dc_message m;
        dc_repo_read_message(rows, i, room->row.id, &m);
        if (!dc_chat_deliver(room, &m)) {
            return false;
        }
    }
    return true;
}

static void on_read(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *err)
{
    struct reading *reading = data;
    struct dc_city *city = reading->city;
    struct dc_city_room *room = reading->room;
    bool is_again = room->has_missed_more;
    (void)n;
    dc_free(reading);
    room->is_catching_up = false;
    room->has_missed_more = false;
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.catch_up_failed", DC_LF_T("room", room->row.slug),
                          DC_LF_ERR(err));
        doubt_unless_stopping(city);
    } else {
        const struct dc_db_result *rows = results[1];
        bool is_whole = deliver_all(room, rows);
        if (!is_whole) {
            doubt_unless_stopping(city);
        } else if ((is_again || dc_db_rows(rows) > PAGE) && !city->is_stopping) {
            dc_catch_up_room(city, room);
        }
    }
    dc_city_pending_end(city);
}

void dc_catch_up_room(struct dc_city *city, struct dc_city_room *room)
{
    struct dc_error err = {0};
    if (room->is_catching_up) {
        room->has_missed_more = true; /* committed after the read under way began, perhaps */
        return;
    }
    struct reading *reading = dc_calloc(1, sizeof(*reading));
    reading->city = city;
    reading->room = room;
    struct dc_db_batch *b = dc_repo_messages(city->ctx->db, room->row.id, DC_PAGE_AFTER_POSITION,
                                             DC_SLICE_NULL, room->last_position, PAGE);
    if (dc_db_submit(b, on_read, reading, NULL, &err) != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.catch_up_failed", DC_LF_T("room", room->row.slug),
                          DC_LF_ERR(&err));
        dc_free(reading);
        dc_catch_up_doubt(city);
        return;
    }
    room->is_catching_up = true;
    dc_city_pending_begin(city);
}

/* --- all rooms --- */

static void schedule(struct dc_catch_up *cu)
{
    if (cu->step < DC_ARRAY_LEN(pauses_ms)) {
        dc_timer_start(&cu->timer, pauses_ms[cu->step], 0);
    }
}

static void on_room_found(void *data, struct dc_city_room *room)
{
    dc_chat_tell_of_room(data, room);
}

static void on_rooms(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *err)
{
    struct dc_city *city = data;
    (void)n;
    if (st == DC_OK) {
        dc_lookup_take(city, results[0], on_room_found, city);
    } else {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.catch_up_failed", DC_LF_ERR(err));
        doubt_unless_stopping(city); /* the last comparison may have been this one */
    }
    dc_city_pending_end(city);
}

/* ids: a JSON array, freed here. */
static void read_rooms(struct dc_city *city, struct dc_strbuf *ids)
{
    struct dc_error err = {0};
    if (!dc_strbuf_ok(ids)) {
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
    } else if (dc_db_submit(dc_repo_rooms(city->ctx->db, dc_strbuf_slice(ids)), on_rooms, city,
                            NULL, &err) == DC_OK) {
        dc_city_pending_begin(city);
    }
    if (err.status != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.catch_up_failed", DC_LF_ERR(&err));
        dc_catch_up_doubt(city);
    }
    dc_strbuf_free(ids);
}

/* Rooms in the rows of heads: those that are ahead are read up, those that nobody here knows are
 * read, or not as they are now. */
static void compare(struct dc_city *city, const struct dc_db_result *heads)
{
    struct dc_strbuf unknown = {0};
    struct dc_jsonw w;
    size_t n_unknown = 0;
    dc_jsonw_init(&w, &unknown);
    dc_jsonw_array(&w);
    for (size_t i = 0; i < dc_db_rows(heads); i++) {
        struct dc_slice id = dc_db_get_text(heads, i, 0);
        struct dc_city_room *room = dc_city_rooms_find(city->rooms, id);
        bool is_news = room == NULL ? dc_room_id_is_valid(id)
                                    : (uint64_t)dc_db_get_int(heads, i, 2) > room->row.revision;
        if (is_news && n_unknown < ROOMS_PAGE) {
            n_unknown++;
            dc_jsonw_text(&w, id);
        }
        if (room != NULL) {
            dc_chat_tell_of_room(city, room);
            if ((uint64_t)dc_db_get_int(heads, i, 1) > room->last_position) {
                dc_catch_up_room(city, room);
            }
        }
    }
    dc_jsonw_end(&w);
    if (n_unknown > 0) {
        read_rooms(city, &unknown);
    } else {
        dc_strbuf_free(&unknown);
    }
}

static void on_heads(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *err)
{
    struct dc_catch_up *cu = data;
    struct dc_city *city = cu->city;
    (void)n;
    cu->is_comparing = false;
    if (st == DC_OK) {
        cu->step++;
        if (!city->is_stopping) {
            compare(city, results[0]);
        }
    } else {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.catch_up_failed", DC_LF_ERR(err));
    }
    if (!city->is_stopping) {
        schedule(cu); /* the same step again after a failure */
    }
    dc_city_pending_end(city);
}

static void on_timer(struct dc_timer *t)
{
    struct dc_catch_up *cu = DC_CONTAINER_OF(t, struct dc_catch_up, timer);
    struct dc_city *city = cu->city;
    if (city->is_stopping || cu->is_comparing) {
        return;
    }
    if (dc_db_submit(dc_repo_heads(city->ctx->db), on_heads, cu, NULL, NULL) != DC_OK) {
        schedule(cu);
        return;
    }
    cu->is_comparing = true;
    dc_city_pending_begin(city);
}

void dc_catch_up_doubt(struct dc_city *city)
{
    struct dc_catch_up *cu = city->catch_up;
    if (cu == NULL) {
        return; /* nothing is loaded yet */
    }
    cu->step = 0;
    if (!cu->is_comparing) {
        schedule(cu);
    }
}

void dc_city_doubt(struct dc_city *city)
{
    if (!city->is_stopping) {
        dc_catch_up_doubt(city);
        dc_relay_doubt(city->relay);
    }
}

void dc_catch_up_unknown(struct dc_city *city, struct dc_slice room_id)
{
    if (!city->is_stopping) {
        dc_lookup_room(city, room_id);
    }
}

bool dc_catch_up_is_in_doubt(const struct dc_city *city)
{
    return city->catch_up != NULL && city->catch_up->step < DC_ARRAY_LEN(pauses_ms);
}

struct dc_catch_up *dc_catch_up_create(struct dc_city *city)
{
    struct dc_catch_up *cu = dc_calloc(1, sizeof(*cu));
    cu->city = city;
    dc_timer_init(city->ctx->loop, &cu->timer, on_timer);
    schedule(cu);
    return cu;
}

static void on_closed(struct dc_timer *t)
{
    dc_free(DC_CONTAINER_OF(t, struct dc_catch_up, timer));
}

void dc_catch_up_destroy(struct dc_catch_up *cu)
{
    if (cu != NULL) {
        dc_timer_close(&cu->timer, on_closed);
    }
}
