/* GET/POST /city/rooms, GET /city/rooms/{room}, join and leave (specs/city-backend §4, CONTRACT
 * §2.1-2.3, 2.5), GET /internal/city/rooms (global-presence §3.2). */
#include "base/random.h"
#include "domain/slug.h"
#include "roles/city/catch_up.h"
#include "roles/city/matrix_link.h"
#include "roles/city/owed.h"
#include "roles/city/people.h"
#include "roles/city/sessions.h"
#include "roles/request.h"

#define DETAIL_MESSAGES 50
#define DETAIL_MEMBERS  20
/* Tries for a derived slug: the numbers 2, 3, 4 … first, as far as people read them, then some that
 * hardly anybody has. */
#define SLUG_TRIES         60
#define SLUG_TRIES_COUNTED 50

/* --- list --- */

struct page_query {
    int64_t limit, offset;
};
static const struct dc_field page_fields[] = {
    {"limit", DC_FIELD_INT, DC_FIELD_CLAMP, 1, 500, offsetof(struct page_query, limit)},
    {"offset", DC_FIELD_INT, 0, 0, INT32_MAX, offsetof(struct page_query, offset)},
};

static void list_rooms(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct page_query q = {.limit = 100, .offset = 0};
    if (!dc_city_may_read(city, r) ||
        !dc_http_read_query(r, page_fields, DC_ARRAY_LEN(page_fields), &q)) {
        return;
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    int64_t at = 0;
    dc_jsonw_init(&w, &out);
    dc_jsonw_array(&w);
    for (struct dc_city_room *room = dc_city_rooms_next(city->rooms, NULL);
         room != NULL && at < q.offset + q.limit; room = dc_city_rooms_next(city->rooms, room)) {
        if (at++ >= q.offset) {
            dc_jsonw_object(&w);
            dc_city_room_write(room, &w);
            dc_jsonw_end(&w);
        }
    }
    dc_jsonw_end(&w);
    dc_http_reply_json(r, 200, &out);
}

/* --- detail --- */

struct detail {
    struct dc_city *city;
    struct dc_city_room *room;
    struct dc_http_request *r;
};

static void write_member(void *data, const struct dc_person *p)
{
    dc_jsonw_text(data, p->user_id);
}

static void write_detail(const struct detail *d, const struct dc_db_result *rows,
                         struct dc_jsonw *w)
{
    size_t count = dc_db_rows(rows) > DETAIL_MESSAGES ? DETAIL_MESSAGES : dc_db_rows(rows);
    uint64_t position = 0;
    dc_jsonw_object(w);
    dc_city_room_write(d->room, w);
    dc_jsonw_key(w, "room");
    dc_jsonw_object(w);
    dc_city_room_write(d->room, w);
    dc_jsonw_end(w);
    dc_jsonw_key(w, "messages");
    dc_jsonw_array(w);
    for (size_t i = count; i > 0; i--) {
        struct dc_message m;
        dc_repo_read_message(rows, i - 1, d->room->row.id, &m);
        dc_message_write(&m, w);
        position = m.position;
    }
    dc_jsonw_end(w);
    dc_jsonw_key(w, "online_members");
    dc_jsonw_array(w);
    dc_people_visit_room(d->room, DETAIL_MEMBERS, write_member, w);
    dc_jsonw_end(w);
    dc_jsonw_key_text(w, "epoch", d->city->epoch);
    dc_jsonw_key_i64(w, "offset", (int64_t)position);
    dc_jsonw_end(w);
}

static void on_detail(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct detail *d = data;
    struct dc_city *city = d->city;
    (void)n;
    if (st != DC_OK) {
        dc_http_reply_error(d->r, err);
    } else {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        dc_jsonw_init(&w, &out);
        write_detail(d, results[1], &w);
        dc_http_reply_json(d->r, 200, &out);
    }
    dc_city_pending_end(city);
}

static void get_room(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct dc_city_room *room =
        dc_city_may_read(city, r) ? dc_city_room_of(city, r, get_room) : NULL;
    struct detail *d = room == NULL ? NULL : dc_request_alloc(r, sizeof(*d));
    if (d == NULL) {
        return;
    }
    *d = (struct detail){city, room, r};
    dc_city_submit(city, r,
                   dc_repo_messages(city->ctx->db, room->row.id, DC_PAGE_LAST, DC_SLICE_NULL, 0,
                                    DETAIL_MESSAGES),
                   on_detail, d);
}

/* --- create --- */

struct room_body {
    struct dc_slice name, slug, description, user_id, created_by;
};
static const struct dc_field room_fields[] = {
    {"name", DC_FIELD_TEXT, DC_FIELD_REQUIRED | DC_FIELD_TRIM | DC_FIELD_SINGLE_LINE, 1,
     DC_ROOM_NAME_MAX, offsetof(struct room_body, name)},
    {"slug", DC_FIELD_SLUG, DC_FIELD_NULLABLE, 0, 0, offsetof(struct room_body, slug)},
    {"description", DC_FIELD_TEXT, DC_FIELD_NULLABLE | DC_FIELD_TRIM, 0, DC_ROOM_DESCRIPTION_MAX,
     offsetof(struct room_body, description)},
    {"user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct room_body, user_id)},
    {"created_by", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct room_body, created_by)},
};

/* A creation on its way; lives in the request's arena. */
struct creation {
    struct dc_city *city;
    struct dc_http_request *r;
    struct dc_room_row row;
    struct dc_feed_event event;
    struct dc_owed_room owed;
    struct dc_slice base_slug; /* a derived slug may get a suffix; NULL ptr: the slug was given */
    char event_id[DC_CITY_ID_MAX];
    uint32_t tries;
};

/* c is gone with its request afterwards. */
static void creation_fail(struct creation *c, const struct dc_error *err)
{
    struct dc_city *city = c->city;
    dc_http_reply_error(c->r, err);
    dc_city_pending_end(city);
}

/* The slug of the try-th attempt, and what depends on it; false: out of memory. */
static bool creation_set_slug(struct creation *c, struct dc_slice base, uint32_t try)
{
    struct dc_arena *arena = dc_http_arena(c->r);
    char numbered[DC_SLUG_MAX];
    uint32_t number =
        try > SLUG_TRIES_COUNTED ? (uint32_t)(1000 + dc_random_below(NULL, 1000000000)) : try;
    struct dc_slice slug = try > 1 ? dc_slug_numbered(base, number, numbered) : base;
    struct dc_strbuf id = {0};
    struct dc_strbuf payload = {0};
    struct dc_jsonw w;
    dc_strbuf_add(&id, DC_S("room_city_"));
    dc_strbuf_add(&id, slug);
    c->row.slug = dc_arena_dup(arena, slug);
    c->row.id = dc_arena_dup(arena, dc_strbuf_slice(&id));
    dc_jsonw_init(&w, &payload);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "action", DC_S("room_created"));
    dc_jsonw_key_text(&w, "room_name", c->row.name);
    dc_jsonw_key_text(&w, "room_slug", c->row.slug);
    dc_jsonw_end(&w);
    c->event.payload = dc_arena_dup(arena, dc_strbuf_slice(&payload));
    c->event.room_id = c->row.id;
    c->event.room_slug = c->row.slug;
    c->event.room_name = c->row.name;
    bool ok = dc_strbuf_ok(&id) && dc_strbuf_ok(&payload) && c->row.slug.ptr != NULL &&
              c->row.id.ptr != NULL && c->event.payload.ptr != NULL;
    dc_strbuf_free(&id);
    dc_strbuf_free(&payload);
    return ok;
}

static void creation_submit(struct creation *c);

static enum dc_status fail_taken(struct dc_error *err)
{
    return dc_fail_code(err, DC_CONFLICT, "slug_taken", "Room with this slug already exists");
}

/* Whether another slug is worth a try; else the creation has failed. */
static void creation_next(struct creation *c, const struct dc_error *taken)
{
    if (c->base_slug.ptr != NULL && c->tries < SLUG_TRIES) {
        creation_submit(c);
    } else {
        creation_fail(c, taken);
    }
}

static void on_created(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    struct creation *c = data;
    struct dc_city *city = c->city;
    if (st == DC_CONFLICT) {
        struct dc_error taken = {0};
        (void)fail_taken(&taken);
        creation_next(c, &taken);
        return;
    }
    if (st != DC_OK) {
        if (dc_slice_eq(dc_slice_z(dc_error_code(err)), DC_S("outcome_unknown"))) {
            dc_city_doubt(city); /* it may have been committed */
        }
        creation_fail(c, err);
        return;
    }
    int64_t owed_ids[DC_OWED_OF_ROOM];
    dc_repo_room_created(results, n, owed_ids);
    /* In the directory at once: the author may enter before the bus has told it. */
    struct dc_city_room *room = dc_city_rooms_find(city->rooms, c->row.id);
    if (room == NULL) {
        room = dc_city_rooms_put(city->rooms, &c->row);
        room->last_event = c->row.created_at;
        dc_relay_lane_known(&room->lane, 0);
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_sessions_announce_room(city, room);
    dc_owed_room_publish(city, &c->event, &c->owed, owed_ids);
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_city_room_write(room, &w);
    dc_jsonw_end(&w);
    dc_http_reply_json(c->r, 200, &out);
    dc_city_pending_end(city);
}

static void creation_store(struct creation *c)
{
    struct dc_error err = {0};
    if (!dc_owed_room_make(dc_http_arena(c->r), &c->row, &c->event, &c->owed)) {
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
        creation_fail(c, &err);
        return;
    }
    struct dc_db_batch *b = dc_repo_room_create(c->city->ctx->db, &c->row, &c->event, &c->owed);
    if (dc_db_submit(b, on_created, c, NULL, &err) != DC_OK) {
        creation_fail(c, &err);
    }
}

/* Whoever makes a room cannot help it: to him the homeserver is not to be had. */
static void creation_fail_matrix(struct creation *c, int64_t retry_after_ms,
                                 const struct dc_error *cause)
{
    struct dc_error err = *cause;
    if (cause->status == DC_LIMIT) {
        dc_request_set_retry_after(c->r, retry_after_ms > 0 ? (uint64_t)retry_after_ms : 1000);
        (void)dc_fail_code(&err, DC_UNAVAILABLE, "matrix_unavailable",
                           "the homeserver limits how many rooms are made: try again later");
    } else if (cause->status == DC_INVALID) {
        (void)dc_fail_code(&err, DC_UNAVAILABLE, "matrix_unavailable", "%s", dc_error_text(cause));
    }
    creation_fail(c, &err);
}

static void on_matrix_room(void *data, enum dc_status st, const struct dc_matrix_room_ids *room,
                           int64_t retry_after_ms, const struct dc_error *cause)
{
    struct creation *c = data;
    struct dc_arena *arena = dc_http_arena(c->r);
    struct dc_error err = {0};
    if (st == DC_CONFLICT) {
        creation_next(c, cause); /* a stranger's room has this alias */
        return;
    }
    if (st != DC_OK) {
        creation_fail_matrix(c, retry_after_ms, cause);
        return;
    }
    c->row.matrix_room_id = dc_arena_dup(arena, room->room_id);
    c->row.matrix_room_alias = dc_arena_dup(arena, room->alias);
    if (c->row.matrix_room_id.ptr == NULL || c->row.matrix_room_alias.ptr == NULL) {
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
        creation_fail(c, &err);
        return;
    }
    creation_store(c);
}

/* The Matrix room comes first, so that no city room is without one (specs/matrix-rooms-bridge
 * §4.1).  If this ends between the two, the next attempt with this slug finds it by its alias. */
static void creation_make(struct creation *c)
{
    struct dc_error err = {0};
    if (!dc_matrix_link_is_on(c->city)) {
        creation_store(c);
        return;
    }
    /* The database has the last word, but for this one no room need be made. */
    if (dc_city_rooms_find(c->city->rooms, c->row.slug) != NULL) {
        (void)fail_taken(&err);
        creation_fail(c, &err);
        return;
    }
    if (dc_matrix_link_create(c->city, c->row.slug, c->row.name, on_matrix_room, c, &err) !=
        DC_OK) {
        creation_fail(c, &err);
    }
}

/* The next slug that this process does not know to be taken; others are found out by the database.
 */
static void creation_submit(struct creation *c)
{
    struct dc_error err = {0};
    for (;;) {
        c->tries++;
        struct dc_slice base = c->base_slug.ptr != NULL ? c->base_slug : c->row.slug;
        if (!creation_set_slug(c, base, c->tries)) {
            (void)dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
            creation_fail(c, &err);
            return;
        }
        if (c->base_slug.ptr == NULL || c->tries >= SLUG_TRIES ||
            dc_city_rooms_find(c->city->rooms, c->row.slug) == NULL) {
            break;
        }
    }
    creation_make(c);
}

static struct dc_slice derive_slug(struct dc_http_request *r, struct dc_slice name)
{
    char text[DC_SLUG_MAX];
    struct dc_slice slug = dc_slug_from_name(name, text);
    return slug.len > 0 ? dc_arena_dup(dc_http_arena(r), slug) : DC_S("room");
}

static void create_room(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct room_body body = {0};
    struct dc_identity who;
    if (!dc_require_token(&city->ctx->auth, r) || !dc_city_is_ready(city, r) ||
        !dc_http_read_json(r, room_fields, DC_ARRAY_LEN(room_fields), &body) ||
        !dc_require_identity(&city->ctx->auth, r, body.user_id, &who) ||
        !dc_require_author(r, &who, body.created_by)) {
        return;
    }
    uint64_t wait_ms =
        dc_rate_limit_take(city->room_limit, who.user_id, dc_loop_now(city->ctx->loop));
    if (wait_ms > 0) {
        dc_request_fail_limit(r, wait_ms, "too many new rooms, try again a little later");
        return;
    }
    struct creation *c = dc_request_alloc(r, sizeof(*c));
    if (c == NULL) {
        return;
    }
    dc_city_new_id(city, "evt_city_", c->event_id);
    struct dc_slice base = body.slug.ptr != NULL ? body.slug : derive_slug(r, body.name);
    if (base.ptr == NULL) {
        dc_request_fail_memory(r);
        return;
    }
    struct dc_utc now = dc_utc_now();
    c->city = city;
    c->r = r;
    c->row = (struct dc_room_row){.slug = base,
                                  .name = body.name,
                                  .description =
                                      body.description.len > 0 ? body.description : DC_SLICE_NULL,
                                  .created_at = now,
                                  .created_by = who.user_id};
    c->event = (struct dc_feed_event){.id = dc_slice_z(c->event_id),
                                      .kind = DC_S("system"),
                                      .user_id = who.user_id,
                                      .username = who.username,
                                      .created_at = now};
    c->base_slug = body.slug.ptr != NULL ? DC_SLICE_NULL : base;
    dc_city_pending_begin(city);
    creation_submit(c);
}

/* --- join and leave --- */

struct who_body {
    struct dc_slice user_id;
};
static const struct dc_field who_fields[] = {
    {"user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct who_body, user_id)},
};

static void join_or_leave(struct dc_city *city, struct dc_http_request *r, bool joins,
                          void (*again)(void *city, struct dc_http_request *r))
{
    const struct dc_auth *auth = &city->ctx->auth;
    struct dc_city_room *room = dc_require_token(auth, r) ? dc_city_room_of(city, r, again) : NULL;
    struct who_body body = {0};
    struct dc_identity who;
    if (room == NULL || !dc_http_read_json(r, who_fields, DC_ARRAY_LEN(who_fields), &body) ||
        !dc_require_identity(auth, r, body.user_id, &who)) {
        return;
    }
    uint64_t wait_ms = dc_city_presence_wait_ms(city, who.user_id);
    if (wait_ms > 0) {
        dc_request_fail_limit(r, wait_ms, "too much coming and going, try again a little later");
        return;
    }
    if (dc_sessions_http_member(city, who.user_id, who.username, room, joins) != DC_OK) {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_UNAVAILABLE, 0, "presence cannot be told, try again");
        dc_http_reply_error(r, &err);
        return;
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "status", joins ? DC_S("joined") : DC_S("left"));
    dc_jsonw_key_text(&w, "room_id", room->row.id);
    dc_jsonw_end(&w);
    dc_http_reply_json(r, 200, &out);
}

static void join_room(void *ctx, struct dc_http_request *r)
{
    join_or_leave(ctx, r, true, join_room);
}

static void leave_room(void *ctx, struct dc_http_request *r)
{
    join_or_leave(ctx, r, false, leave_room);
}

/* --- internal --- */

static void internal_rooms(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    if (!dc_require_internal_key(&city->ctx->auth, r) || !dc_city_is_ready(city, r)) {
        return;
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_array(&w);
    for (struct dc_city_room *room = dc_city_rooms_next(city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(city->rooms, room)) {
        dc_jsonw_object(&w);
        dc_jsonw_key_text(&w, "id", room->row.id);
        dc_jsonw_key_text(&w, "slug", room->row.slug);
        dc_jsonw_key_text(&w, "name", room->row.name);
        dc_jsonw_key_text(&w, "matrix_room_id", room->row.matrix_room_id);
        dc_jsonw_key_text(&w, "matrix_room_alias", room->row.matrix_room_alias);
        dc_jsonw_end(&w);
    }
    dc_jsonw_end(&w);
    dc_http_reply_json(r, 200, &out);
}

static const struct dc_route routes[] = {
    {DC_GET, "/city/rooms", list_rooms},
    {DC_POST, "/city/rooms", create_room},
    {DC_GET, "/city/rooms/{room}", get_room},
    {DC_POST, "/city/rooms/{room}/join", join_room},
    {DC_POST, "/city/rooms/{room}/leave", leave_room},
};
static const struct dc_route internal_routes[] = {
    {DC_GET, "/internal/city/rooms", internal_rooms},
};

void dc_city_routes_rooms(struct dc_city *city)
{
    dc_city_add_routes(city, routes, DC_ARRAY_LEN(routes));
    dc_router_add(city->ctx->internal_router, "", internal_routes, DC_ARRAY_LEN(internal_routes),
                  city);
}
