/* Matrix rooms that have been replaced, or are gone. */
#include "roles/city/matrix_moves.h"

#include "base/input.h"
#include "base/mem.h"
#include "matrix/matrix_id.h"
#include "roles/city/catch_up.h"
#include "roles/city/lookup.h"
#include "roles/city/matrix_link.h"
#include "roles/city/owed.h"
#include "roles/request.h"

/* Rooms at a time. */
#define PARALLEL 4
/* With these pauses: about a minute. */
#define LOOKS         8
#define PAUSE_BASE_MS 250
#define PAUSE_MAX_MS  30000
/* Refusals have other causes too: a resident who is banned goes on speaking. */
#define SUSPICION_MS 300000

struct look {
    struct dc_list link;
    struct dc_matrix_moves *moves;
    struct dc_city_room *room;
    unsigned left; /* times that the alias may still lead where it did */
    struct dc_backoff pause;
    int64_t due_ms;
    bool is_busy;
    bool is_gone;          /* an alias that leads nowhere is not waited for: the room is made */
    struct dc_arena arena; /* while it is busy: */
    struct dc_slice was;   /* the Matrix room of our row when the gateway was asked */
    struct dc_slice now;
    struct dc_room_change change;
};

struct dc_matrix_moves {
    struct dc_city *city;
    struct dc_timer clock;
    struct dc_list looks;
    size_t busy;
};

static void work(struct dc_matrix_moves *m);

static int64_t now_ms(const struct dc_matrix_moves *m)
{
    return dc_loop_now(m->city->ctx->loop).ms;
}

static void look_free(struct look *l)
{
    dc_list_remove(&l->link);
    dc_arena_free(&l->arena);
    dc_free(l);
}

static void arm(struct dc_matrix_moves *m)
{
    int64_t due_ms = INT64_MAX;
    DC_LIST_FOREACH (it, &m->looks) {
        const struct look *l = DC_LIST_ENTRY(it, struct look, link);
        if (!l->is_busy && l->due_ms < due_ms) {
            due_ms = l->due_ms;
        }
    }
    if (due_ms == INT64_MAX || m->busy >= PARALLEL || m->city->is_stopping) {
        dc_timer_stop(&m->clock); /* who ends goes on */
    } else {
        int64_t wait_ms = due_ms - now_ms(m);
        dc_timer_start(&m->clock, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
    }
}

static void look_begins(struct look *l)
{
    l->is_busy = true;
    l->moves->busy++;
    dc_arena_init(&l->arena, 512, 0);
}

/* Over, or to be begun again after a pause. */
static void look_ends(struct look *l, bool is_over)
{
    struct dc_matrix_moves *m = l->moves;
    m->busy--;
    l->is_busy = false;
    dc_arena_free(&l->arena);
    if (is_over) {
        look_free(l);
    } else {
        l->due_ms = now_ms(m) + (int64_t)dc_backoff_next_ms(&l->pause);
    }
    work(m);
}

/* --- the row --- */

static void on_stored(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct look *l = data;
    struct dc_city *city = l->moves->city;
    int64_t owed_ids[DC_OWED_OF_CHANGE];
    uint64_t revision = 0;
    if (st == DC_OK && dc_repo_room_changed(results, n, &revision, owed_ids)) {
        DC_LOG_INFO_EVENT(city->ctx->log, "city.matrix_room_moved",
                          DC_LF_T("room", l->room->row.slug), DC_LF_T("from", l->was),
                          DC_LF_T("matrix_room_id", l->now));
        dc_owed_change_publish(city, &l->change, owed_ids);
        dc_lookup_changed(city, l->room->row.id);
    } else if (st != DC_OK) {
        if (strcmp(dc_error_code(err), "outcome_unknown") == 0) {
            dc_city_doubt(city);
        }
        DC_LOG_WARN_EVENT(city->ctx->log, "city.matrix_room_not_moved",
                          DC_LF_T("room", l->room->row.slug), DC_LF_ERR(err));
    }
    /* Another room of the city has it: that does not pass.  No row: somebody else was faster. */
    look_ends(l, st == DC_OK || st == DC_CONFLICT);
    dc_city_pending_end(city);
}

static enum dc_status store(struct look *l, const struct dc_matrix_room_ids *room,
                            struct dc_error *err)
{
    struct dc_city *city = l->moves->city;
    char change_id[DC_CITY_ID_MAX];
    dc_city_new_id(city, "change:", change_id);
    l->now = dc_arena_dup(&l->arena, room->room_id);
    if (l->now.ptr == NULL ||
        !dc_owed_change_make(&l->arena, l->room->row.id, dc_slice_z(change_id), NULL, &l->change)) {
        return dc_fail(err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    }
    enum dc_status st = dc_db_submit(dc_repo_room_move_matrix(city->ctx->db, &l->change, l->was,
                                                              l->now, room->alias, dc_utc_now()),
                                     on_stored, l, NULL, err);
    if (st == DC_OK) {
        dc_city_pending_begin(city);
    }
    return st;
}

/* --- the alias --- */

static void on_found(void *data, enum dc_status st, const struct dc_matrix_room_ids *room,
                     int64_t retry_after_ms, const struct dc_error *cause);

/* Once: if that is not found either, it is no matter of this room. */
static bool make(struct look *l)
{
    const struct dc_room_row *row = &l->room->row;
    l->is_gone = false;
    return dc_matrix_link_create(l->moves->city, row->slug, row->name, on_found, l, NULL) == DC_OK;
}

/* Found, or made. */
static void on_found(void *data, enum dc_status st, const struct dc_matrix_room_ids *room,
                     int64_t retry_after_ms, const struct dc_error *cause)
{
    struct look *l = data;
    struct dc_matrix_moves *m = l->moves;
    struct dc_error err = {0};
    (void)retry_after_ms; /* a look that fails waits longer each time */
    bool is_settled = st == DC_NOT_FOUND || (st == DC_OK && dc_slice_eq(room->room_id, l->was));
    if (m->city->is_stopping) {
        look_ends(l, true);
    } else if (st == DC_NOT_FOUND && l->is_gone) {
        if (!make(l)) {
            look_ends(l, false);
        }
    } else if (is_settled) { /* not yet, or not at all */
        l->left--;
        look_ends(l, l->left == 0);
    } else if (st == DC_OK) {
        st = store(l, room, &err);
        if (st != DC_OK) {
            DC_LOG_WARN_EVENT(m->city->ctx->log, "city.matrix_room_not_moved",
                              DC_LF_T("room", l->room->row.slug), DC_LF_ERR(&err));
            look_ends(l, false);
        }
    } else if (st == DC_CONFLICT) { /* a stranger's room */
        DC_LOG_WARN_EVENT(m->city->ctx->log, "city.matrix_room_not_moved",
                          DC_LF_T("room", l->room->row.slug), DC_LF_ERR(cause));
        look_ends(l, true);
    } else {
        look_ends(l, false); /* the homeserver is away: it was told of, so it stays to be done */
    }
}

static void begin(struct look *l)
{
    struct dc_city *city = l->moves->city;
    look_begins(l);
    l->was = dc_arena_dup(&l->arena, l->room->row.matrix_room_id);
    if (l->was.ptr == NULL ||
        dc_matrix_link_find(city, l->room->row.slug, on_found, l, NULL) != DC_OK) {
        l->moves->busy--; /* not look_ends(): that would come here again */
        l->is_busy = false;
        dc_arena_free(&l->arena);
        l->due_ms = now_ms(l->moves) + (int64_t)dc_backoff_next_ms(&l->pause);
    }
}

/* Those whose time has come, as far as there is room. */
static void work(struct dc_matrix_moves *m)
{
    int64_t now = now_ms(m);
    DC_LIST_FOREACH (it, &m->looks) {
        struct look *l = DC_LIST_ENTRY(it, struct look, link);
        if (m->busy < PARALLEL && !l->is_busy && l->due_ms <= now && !m->city->is_stopping) {
            begin(l);
        }
    }
    arm(m);
}

static void on_clock(struct dc_timer *t)
{
    work(DC_CONTAINER_OF(t, struct dc_matrix_moves, clock));
}

/* --- from outside --- */

static bool may_look(const struct dc_city *city, const struct dc_city_room *room)
{
    return city->moves != NULL && !city->is_stopping && room->row.matrix_room_id.ptr != NULL;
}

/* The one of the room, which is begun if there is none. */
static struct look *look_of(struct dc_matrix_moves *m, struct dc_city_room *room)
{
    struct look *l = NULL;
    DC_LIST_FOREACH (it, &m->looks) {
        struct look *other = DC_LIST_ENTRY(it, struct look, link);
        l = other->room == room ? other : l;
    }
    if (l == NULL) {
        l = dc_calloc(1, sizeof(*l));
        l->moves = m;
        l->room = room;
        l->pause = (struct dc_backoff){.base_ms = PAUSE_BASE_MS, .max_ms = PAUSE_MAX_MS};
        l->due_ms = now_ms(m);
        dc_list_init(&l->link);
        dc_list_push_back(&m->looks, &l->link);
    }
    return l;
}

void dc_matrix_moves_look(struct dc_city *city, struct dc_city_room *room, bool is_told)
{
    struct dc_matrix_moves *m = city->moves;
    if (!may_look(city, room) || (!is_told && room->outgoing.suspected_until_ms > now_ms(m))) {
        return;
    }
    room->outgoing.suspected_until_ms = now_ms(m) + SUSPICION_MS;
    struct look *l = look_of(m, room);
    if (is_told || l->left == 0) {
        l->left = is_told ? LOOKS : 1;
    }
    arm(m); /* not at once: the caller is in the middle of something */
}

void dc_matrix_moves_gone(struct dc_city *city, struct dc_city_room *room)
{
    if (may_look(city, room)) {
        struct look *l = look_of(city->moves, room);
        l->is_gone = true;
        l->left = l->left == 0 ? 1 : l->left;
        arm(city->moves);
    }
}

struct moved_body {
    struct dc_slice matrix_room_id;
};
static const struct dc_field moved_fields[] = {
    {"matrix_room_id", DC_FIELD_TEXT, DC_FIELD_REQUIRED | DC_FIELD_SINGLE_LINE, 2,
     DC_MATRIX_ID_MAX_BYTES, offsetof(struct moved_body, matrix_room_id)},
};

/* Lives in the request's arena. */
struct moved {
    struct dc_city *city;
    struct dc_http_request *r;
    struct dc_slice matrix_room_id;
};

static void reply_moved(struct dc_city *city, struct dc_http_request *r, struct dc_city_room *room)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    if (room != NULL) {
        dc_matrix_moves_look(city, room, true);
    }
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_bool(&w, "is_looking", room != NULL && city->moves != NULL);
    dc_jsonw_end(&w);
    dc_http_reply_json(r, 200, &out);
}

static void on_room(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *err)
{
    const struct moved *q = data;
    struct dc_city *city = q->city;
    (void)n;
    if (st != DC_OK) {
        dc_http_reply_error(q->r, err);
    } else {
        dc_lookup_take(city, results[0], NULL, NULL);
        reply_moved(city, q->r, dc_city_rooms_find_matrix(city->rooms, q->matrix_room_id));
    }
    dc_city_pending_end(city);
}

/* Another process may have made the room, or given it its Matrix room, a moment ago. */
static void find_moved(struct dc_city *city, struct dc_http_request *r, struct dc_slice id)
{
    struct dc_strbuf ids = {0};
    struct dc_jsonw w;
    struct moved *q = dc_request_alloc(r, sizeof(*q));
    if (q == NULL) {
        return;
    }
    *q = (struct moved){city, r, id};
    dc_jsonw_init(&w, &ids);
    dc_jsonw_array(&w);
    dc_jsonw_text(&w, id);
    dc_jsonw_end(&w);
    if (dc_strbuf_ok(&ids)) {
        dc_city_submit(city, r, dc_repo_rooms_of_matrix(city->ctx->db, dc_strbuf_slice(&ids)),
                       on_room, q);
    } else {
        dc_request_fail_memory(r);
    }
    dc_strbuf_free(&ids);
}

static void post_moved(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct moved_body body = {0};
    if (!dc_require_internal_key(&city->ctx->auth, r) || !dc_city_is_ready(city, r) ||
        !dc_http_read_json(r, moved_fields, DC_ARRAY_LEN(moved_fields), &body)) {
        return;
    }
    struct dc_city_room *room = dc_city_rooms_find_matrix(city->rooms, body.matrix_room_id);
    if (room != NULL || city->moves == NULL) {
        reply_moved(city, r, room);
    } else {
        find_moved(city, r, body.matrix_room_id);
    }
}

static const struct dc_route routes[] = {
    {DC_POST, "/internal/city/matrix/moved", post_moved},
};

void dc_city_routes_moves(struct dc_city *city)
{
    dc_router_add(city->ctx->internal_router, "", routes, DC_ARRAY_LEN(routes), city);
}

/* --- life --- */

void dc_matrix_moves_start(struct dc_city *city)
{
    if (!dc_matrix_link_is_on(city)) {
        return;
    }
    city->moves = dc_calloc(1, sizeof(*city->moves));
    city->moves->city = city;
    dc_list_init(&city->moves->looks);
    dc_timer_init(city->ctx->loop, &city->moves->clock, on_clock);
}

void dc_matrix_moves_stop(struct dc_city *city)
{
    if (city->moves != NULL) {
        dc_timer_stop(&city->moves->clock);
    }
}

static void on_closed(struct dc_timer *t)
{
    dc_free(DC_CONTAINER_OF(t, struct dc_matrix_moves, clock));
}

void dc_matrix_moves_destroy(struct dc_city *city)
{
    struct dc_matrix_moves *m = city->moves;
    city->moves = NULL;
    if (m == NULL) {
        return;
    }
    DC_ASSERT(m->busy == 0);
    DC_LIST_FOREACH_SAFE (it, &m->looks) {
        look_free(DC_LIST_ENTRY(it, struct look, link));
    }
    dc_timer_close(&m->clock, on_closed);
}
