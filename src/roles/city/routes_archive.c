/* POST /internal/city/rooms/{room}/archive and /unarchive (specs/matrix-rooms-bridge §4.3): the
 * room stays, with all that was said in it, and its Matrix room too; nothing more can be said in
 * it. */
#include "roles/city/catch_up.h"
#include "roles/city/chat.h"
#include "roles/city/owed.h"
#include "roles/request.h"

/* Lives in the request's arena. */
struct archiving {
    struct dc_city *city;
    struct dc_http_request *r;
    struct dc_city_room *room;
    bool is_archiving;
    struct dc_feed_event event;
    struct dc_room_change change;
};

static void reply(const struct archiving *a)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_city_room_write(a->room, &w);
    dc_jsonw_end(&w);
    dc_http_reply_json(a->r, 200, &out);
}

/* Here at once, for who asks next; the bus finds it done. */
static void take_over(const struct archiving *a, uint64_t revision)
{
    struct dc_city_room *room = a->room;
    if (revision == room->row.revision + 1) {
        bool was_archived = room->row.is_archived;
        room->row.is_archived = a->is_archiving;
        room->row.revision = revision;
        room->last_event = a->event.created_at;
        dc_chat_room_changed(a->city, room, was_archived);
    } else if (revision > room->row.revision) {
        dc_catch_up_doubt(a->city); /* others have changed it too: read it */
    }
}

static void on_stored(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct archiving *a = data;
    struct dc_city *city = a->city;
    int64_t owed_ids[DC_OWED_OF_CHANGE];
    uint64_t revision = 0;
    if (st != DC_OK) {
        if (strcmp(dc_error_code(err), "outcome_unknown") == 0) {
            dc_city_doubt(city); /* it may have been committed */
        }
        dc_http_reply_error(a->r, err);
    } else {
        if (dc_repo_room_changed(results, n, &revision, owed_ids)) {
            dc_owed_change_publish(city, &a->change, owed_ids);
            take_over(a, revision);
        }
        reply(a); /* a is gone afterwards */
    }
    dc_city_pending_end(city);
}

static bool make_event(struct archiving *a)
{
    struct dc_arena *arena = dc_http_arena(a->r);
    const struct dc_room_row *row = &a->room->row;
    char event_id[DC_CITY_ID_MAX];
    char change_id[DC_CITY_ID_MAX];
    struct dc_strbuf payload = {0};
    struct dc_jsonw w;
    dc_city_new_id(a->city, "evt_city_", event_id);
    dc_city_new_id(a->city, "change:", change_id);
    dc_jsonw_init(&w, &payload);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "action", a->is_archiving ? DC_S("room_archived") : DC_S("room_opened"));
    dc_jsonw_key_text(&w, "room_name", row->name);
    dc_jsonw_key_text(&w, "room_slug", row->slug);
    dc_jsonw_end(&w);
    a->event = (struct dc_feed_event){
        .id = dc_arena_dup(arena, dc_slice_z(event_id)),
        .kind = DC_S("system"),
        .room_id = dc_arena_dup(arena, row->id),
        .room_slug = dc_arena_dup(arena, row->slug),
        .room_name = dc_arena_dup(arena, row->name),
        .payload =
            dc_strbuf_ok(&payload) ? dc_arena_dup(arena, dc_strbuf_slice(&payload)) : DC_SLICE_NULL,
        .created_at = dc_utc_now()};
    dc_strbuf_free(&payload);
    return a->event.id.ptr != NULL && a->event.room_id.ptr != NULL &&
           a->event.room_slug.ptr != NULL && a->event.room_name.ptr != NULL &&
           a->event.payload.ptr != NULL &&
           dc_owed_change_make(arena, a->event.room_id, dc_slice_z(change_id), &a->event,
                               &a->change);
}

static void archive(struct dc_city *city, struct dc_http_request *r, bool is_archiving,
                    void (*again)(void *city, struct dc_http_request *r))
{
    struct dc_city_room *room =
        dc_require_internal_key(&city->ctx->auth, r) ? dc_city_room_of(city, r, again) : NULL;
    struct archiving *a = room == NULL ? NULL : dc_request_alloc(r, sizeof(*a));
    if (a == NULL) {
        return;
    }
    a->city = city;
    a->r = r;
    a->room = room;
    a->is_archiving = is_archiving;
    if (!make_event(a)) {
        dc_request_fail_memory(r);
        return;
    }
    dc_city_submit(
        city, r,
        dc_repo_room_set_archived(city->ctx->db, &a->change, is_archiving, a->event.created_at),
        on_stored, a);
}

static void archive_room(void *ctx, struct dc_http_request *r)
{
    archive(ctx, r, true, archive_room);
}

static void unarchive_room(void *ctx, struct dc_http_request *r)
{
    archive(ctx, r, false, unarchive_room);
}

static const struct dc_route routes[] = {
    {DC_POST, "/internal/city/rooms/{room}/archive", archive_room},
    {DC_POST, "/internal/city/rooms/{room}/unarchive", unarchive_room},
};

void dc_city_routes_archive(struct dc_city *city)
{
    dc_router_add(city->ctx->internal_router, "", routes, DC_ARRAY_LEN(routes), city);
}
