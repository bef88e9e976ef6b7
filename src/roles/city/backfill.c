/* POST /internal/city/matrix/backfill: Matrix rooms for the rooms that have none
 * (specs/matrix-rooms-bridge §4.2, CONTRACT §2.7).  Each is looked for by its alias and made if it
 * is not there, so whoever was interrupted just begins again: nothing is made twice.  At most
 * PARALLEL rooms at a time; one that fails keeps no other from its room.
 *
 * A homeserver that limits how many rooms are made (an ordinary account makes one a minute) ends
 * the page: what it had to leave is not failed, and the answer says when to ask again. */
#include "roles/city/catch_up.h"
#include "roles/city/lookup.h"
#include "roles/city/matrix_link.h"
#include "roles/city/owed.h"
#include "roles/request.h"

#define PARALLEL    8
#define MAX_ROOMS   1000
#define DEFAULT_MAX 1000

struct backfill;

/* One of the PARALLEL that work on rooms. */
struct worker {
    struct backfill *b;
    size_t at; /* in b->items */
    struct dc_arena arena;
    struct dc_slice alias;
    bool was_there;
    struct dc_room_change change;
};

struct item {
    struct dc_slice id, slug, name, matrix_room_id;
    const char *outcome_z;
    const char *error_z; /* literal */
};

/* Lives in the request's arena. */
struct backfill {
    struct dc_city *city;
    struct dc_http_request *r;
    struct item *items;
    size_t n, next, running;
    int64_t remaining; /* behind these */
    struct dc_slice after;
    int64_t retry_after_ms; /* 0: no room had to be left */
    size_t found, created, failed;
    struct worker workers[PARALLEL];
};

/* --- the answer --- */

static void write_item(const struct item *item, struct dc_jsonw *w)
{
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "room_id", item->id);
    dc_jsonw_key_text(w, "slug", item->slug);
    dc_jsonw_key_text(w, "status", dc_slice_z(item->outcome_z));
    if (item->error_z != NULL) {
        dc_jsonw_key_text(w, "error", dc_slice_z(item->error_z));
    } else {
        dc_jsonw_key_text(w, "matrix_room_id", item->matrix_room_id);
    }
    dc_jsonw_end(w);
}

/* The first room that was left, or n.  What failed behind it comes again with it, so it has not
 * failed yet. */
static size_t leave_from(struct backfill *b)
{
    size_t first = 0;
    while (first < b->n && b->items[first].outcome_z != NULL) {
        first++;
    }
    for (size_t i = first; i < b->n; i++) {
        if (b->items[i].error_z != NULL) {
            b->items[i].outcome_z = NULL;
            b->failed--;
        }
    }
    return first;
}

static void finish(struct backfill *b)
{
    struct dc_city *city = b->city;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    size_t until = leave_from(b);
    size_t done = b->created + b->found + b->failed;
    for (size_t i = 0; i < PARALLEL; i++) {
        dc_arena_free(&b->workers[i].arena);
    }
    b->remaining += (int64_t)(b->n - done);
    DC_LOG_INFO_EVENT(city->ctx->log, "city.backfill", DC_LF_I("processed", done),
                      DC_LF_I("created", b->created), DC_LF_I("found", b->found),
                      DC_LF_I("failed", b->failed), DC_LF_I("remaining", b->remaining),
                      DC_LF_I("retry_after_ms", b->retry_after_ms));
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_i64(&w, "processed", (int64_t)done);
    dc_jsonw_key_i64(&w, "created", (int64_t)b->created);
    dc_jsonw_key_i64(&w, "found", (int64_t)b->found);
    dc_jsonw_key_i64(&w, "failed", (int64_t)b->failed);
    dc_jsonw_key_i64(&w, "remaining", b->remaining);
    dc_jsonw_key_text(&w, "next",
                      b->remaining == 0 ? DC_SLICE_NULL
                      : until > 0       ? b->items[until - 1].id
                                        : b->after);
    if (b->retry_after_ms > 0) {
        dc_jsonw_key_i64(&w, "retry_after_ms", b->retry_after_ms);
    }
    dc_jsonw_key(&w, "details");
    dc_jsonw_array(&w);
    for (size_t i = 0; i < b->n; i++) {
        if (b->items[i].outcome_z != NULL) {
            write_item(&b->items[i], &w);
        }
    }
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
    dc_http_reply_json(b->r, 200, &out); /* b is gone */
    dc_city_pending_end(city);
}

/* --- one room --- */

static void go_on(struct worker *k);

static void note_failure(struct worker *k, const struct dc_error *err)
{
    struct backfill *b = k->b;
    struct item *item = &b->items[k->at];
    item->outcome_z = "failed";
    item->error_z = dc_error_code(err);
    b->failed++;
    DC_LOG_WARN_EVENT(b->city->ctx->log, "city.backfill_failed", DC_LF_T("room", item->slug),
                      DC_LF_ERR(err));
}

static void room_failed(struct worker *k, const struct dc_error *err)
{
    note_failure(k, err);
    go_on(k);
}

/* --- here at once, for who asks next; the bus finds it done --- */

/* false: others have changed the room too. */
static bool take_over(const struct worker *k, uint64_t revision)
{
    struct dc_city *city = k->b->city;
    const struct item *item = &k->b->items[k->at];
    const struct dc_city_room *room = dc_city_rooms_find(city->rooms, item->id);
    if (room == NULL || room->row.revision + 1 != revision) {
        return false;
    }
    struct dc_room_row row = room->row;
    row.matrix_room_id = item->matrix_room_id;
    row.matrix_room_alias = k->alias;
    row.revision = revision;
    (void)dc_city_rooms_put(city->rooms, &row);
    return true;
}

static void not_read(struct worker *k, const struct dc_error *err)
{
    struct dc_city *city = k->b->city;
    DC_LOG_WARN_EVENT(city->ctx->log, "city.lookup_failed", DC_LF_ERR(err));
    dc_city_doubt(city);
    go_on(k);
}

static void on_read(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *err)
{
    struct worker *k = data;
    (void)n;
    if (st != DC_OK) {
        not_read(k, err);
        return;
    }
    dc_lookup_take(k->b->city, results[0], NULL, NULL);
    go_on(k);
}

static void read_again(struct worker *k)
{
    struct dc_city *city = k->b->city;
    struct dc_error err = {0};
    if (dc_db_submit(dc_repo_room(city->ctx->db, k->b->items[k->at].id), on_read, k, NULL, &err) !=
        DC_OK) {
        not_read(k, &err);
    }
}

static void on_stored(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct worker *k = data;
    struct backfill *b = k->b;
    struct item *item = &b->items[k->at];
    struct dc_error taken = {0};
    int64_t owed_ids[DC_OWED_OF_CHANGE];
    uint64_t revision = 0;
    if (st == DC_CONFLICT) {
        (void)dc_fail_code(&taken, DC_CONFLICT, "matrix_room_taken",
                           "another room of the city has this Matrix room");
        room_failed(k, &taken);
        return;
    }
    if (st != DC_OK) {
        if (strcmp(dc_error_code(err), "outcome_unknown") == 0) {
            dc_city_doubt(b->city);
        }
        room_failed(k, err);
        return;
    }
    bool is_changed = dc_repo_room_changed(results, n, &revision, owed_ids);
    if (is_changed) {
        dc_owed_change_publish(b->city, &k->change, owed_ids);
    } else {
        k->was_there = true; /* somebody else was faster */
    }
    item->outcome_z = k->was_there ? "found" : "created";
    b->found += k->was_there ? 1 : 0;
    b->created += k->was_there ? 0 : 1;
    if (is_changed && take_over(k, revision)) {
        go_on(k);
    } else {
        read_again(k);
    }
}

static void store(struct worker *k, const struct dc_matrix_room_ids *room)
{
    struct backfill *b = k->b;
    struct item *item = &b->items[k->at];
    char change_id[DC_CITY_ID_MAX];
    struct dc_error err = {0};
    dc_city_new_id(b->city, "change:", change_id);
    item->matrix_room_id = dc_arena_dup(dc_http_arena(b->r), room->room_id);
    k->alias = dc_arena_dup(&k->arena, room->alias);
    if (item->matrix_room_id.ptr == NULL || k->alias.ptr == NULL ||
        !dc_owed_change_make(&k->arena, item->id, dc_slice_z(change_id), NULL, &k->change)) {
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
    } else if (dc_db_submit(dc_repo_room_set_matrix(b->city->ctx->db, &k->change, room->room_id,
                                                    room->alias, dc_utc_now()),
                            on_stored, k, NULL, &err) == DC_OK) {
        return;
    }
    room_failed(k, &err);
}

/* Nothing has been made; nor is there any use in asking for the next one. */
static void room_left(struct worker *k, int64_t retry_after_ms)
{
    struct backfill *b = k->b;
    int64_t wait_ms = retry_after_ms > 0 ? retry_after_ms : 1000;
    b->retry_after_ms = wait_ms > b->retry_after_ms ? wait_ms : b->retry_after_ms;
    go_on(k);
}

static void on_created(void *data, enum dc_status st, const struct dc_matrix_room_ids *room,
                       int64_t retry_after_ms, const struct dc_error *err)
{
    struct worker *k = data;
    if (st == DC_OK) {
        store(k, room);
    } else if (st == DC_LIMIT) {
        room_left(k, retry_after_ms);
    } else {
        room_failed(k, err);
    }
}

static void on_found(void *data, enum dc_status st, const struct dc_matrix_room_ids *room,
                     int64_t retry_after_ms, const struct dc_error *cause)
{
    struct worker *k = data;
    struct backfill *b = k->b;
    const struct item *item = &b->items[k->at];
    struct dc_error err = {0};
    if (st == DC_OK) {
        k->was_there = true;
        store(k, room);
    } else if (st == DC_LIMIT) {
        room_left(k, retry_after_ms);
    } else if (st != DC_NOT_FOUND) {
        room_failed(k, cause);
    } else if (dc_matrix_link_create(b->city, item->slug, item->name, on_created, k, &err) !=
               DC_OK) {
        room_failed(k, &err);
    }
}

/* The next room for this worker, until there is none; the last worker answers. */
static void go_on(struct worker *k)
{
    struct backfill *b = k->b;
    while (b->next < b->n && b->retry_after_ms == 0) {
        struct dc_error err = {0};
        k->at = b->next++;
        k->was_there = false;
        dc_arena_free(&k->arena);
        dc_arena_init(&k->arena, 512, 0);
        if (dc_matrix_link_find(b->city, b->items[k->at].slug, on_found, k, &err) == DC_OK) {
            return;
        }
        note_failure(k, &err);
    }
    if (--b->running == 0) {
        finish(b);
    }
}

/* --- all of them --- */

static bool copy_items(struct backfill *b, const struct dc_db_result *rows)
{
    struct dc_arena *arena = dc_http_arena(b->r);
    b->n = dc_db_rows(rows);
    b->items = dc_arena_calloc(arena, b->n > 0 ? b->n : 1, sizeof(*b->items));
    for (size_t i = 0; b->items != NULL && i < b->n; i++) {
        struct item *item = &b->items[i];
        item->id = dc_arena_dup(arena, dc_db_get_text(rows, i, 0));
        item->slug = dc_arena_dup(arena, dc_db_get_text(rows, i, 1));
        item->name = dc_arena_dup(arena, dc_db_get_text(rows, i, 2));
        if (item->id.ptr == NULL || item->slug.ptr == NULL || item->name.ptr == NULL) {
            return false;
        }
    }
    return b->items != NULL;
}

static void on_rooms(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *err)
{
    struct backfill *b = data;
    struct dc_city *city = b->city;
    (void)n;
    if (st != DC_OK) {
        dc_http_reply_error(b->r, err);
        dc_city_pending_end(city);
        return;
    }
    if (!copy_items(b, results[0])) {
        dc_request_fail_memory(b->r);
        dc_city_pending_end(city);
        return;
    }
    b->remaining = dc_db_get_int(results[1], 0, 0) - (int64_t)b->n;
    b->running = PARALLEL;
    for (size_t i = 0; i < PARALLEL; i++) {
        dc_arena_init(&b->workers[i].arena, 512, 0);
        b->workers[i].b = b;
    }
    for (size_t i = 0; i < PARALLEL; i++) {
        go_on(&b->workers[i]); /* the last may answer, and b is gone */
    }
}

struct backfill_query {
    struct dc_slice after;
    int64_t limit;
};
static const struct dc_field fields[] = {
    {"after", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct backfill_query, after)},
    {"limit", DC_FIELD_INT, DC_FIELD_CLAMP, 1, MAX_ROOMS, offsetof(struct backfill_query, limit)},
};

static void post_backfill(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct backfill_query q = {.after = DC_S(""), .limit = DEFAULT_MAX};
    struct dc_error err = {0};
    if (!dc_require_internal_key(&city->ctx->auth, r) || !dc_city_is_ready(city, r) ||
        !dc_http_read_query(r, fields, DC_ARRAY_LEN(fields), &q)) {
        return;
    }
    if (!dc_matrix_link_is_on(city)) {
        (void)dc_fail_code(&err, DC_UNAVAILABLE, "matrix_not_configured",
                           "no homeserver is connected: neither MATRIX_GATEWAY_URL nor SYNAPSE_URL "
                           "is set");
        dc_http_reply_error(r, &err);
        return;
    }
    struct backfill *b = dc_request_alloc(r, sizeof(*b));
    if (b != NULL) {
        b->city = city;
        b->r = r;
        b->after = q.after.len > 0 ? q.after : DC_SLICE_NULL; /* lives as long as r */
        dc_city_submit(city, r, dc_repo_rooms_without_matrix(city->ctx->db, q.after, q.limit),
                       on_rooms, b);
    }
}

/* Both names of CONTRACT §2.7. */
static const struct dc_route routes[] = {
    {DC_POST, "/internal/city/matrix/backfill", post_backfill},
    {DC_POST, "/city/matrix/backfill", post_backfill},
};

void dc_city_routes_backfill(struct dc_city *city)
{
    dc_router_add(city->ctx->internal_router, "", routes, DC_ARRAY_LEN(routes), city);
}
