/* Which rooms of the city are Matrix rooms: GET /internal/city/rooms, at the start, every five
 * minutes, and as soon as something says that it may have changed.  While the city does not answer
 * the mapping of before stays. */
#include "base/mem.h"
#include "domain/slug.h"
#include "roles/presence_aggregator/matrix_source.h"

#define ASK_MS       10000
#define ANSWER_MAX   ((size_t)32 * 1024 * 1024)
#define PAUSE_MAX_MS 5000
/* However many rooms change: not more often. */
#define AT_MOST_EVERY_MS 250
#define ONCE_MORE_MS     2000
/* Of a room that cannot be joined. */
#define JOIN_PAUSE_MS     1000
#define JOIN_PAUSE_MAX_MS 300000
/* Of a room that has been replaced: who has moved no alias will not do it later. */
#define TELL_MAX 3

/* --- rooms --- */

struct dc_ms_room *dc_ms_room_find(const struct dc_ms *ms, struct dc_slice mxid)
{
    return dc_map_get(&ms->rooms, mxid);
}

static struct dc_slice keep(char **at, struct dc_slice text)
{
    char *from = *at;
    if (text.len > 0) {
        memcpy(from, text.ptr, text.len);
    }
    *at += text.len;
    return text.ptr == NULL ? DC_SLICE_NULL : dc_slice_make(from, text.len);
}

/* The slices become the room's own. */
static void set_names(struct dc_ms_room *room, struct dc_slice mxid, struct dc_slice alias,
                      struct dc_slice room_id, struct dc_slice slug)
{
    char *old = room->text;
    char *at = dc_alloc(mxid.len + alias.len + room_id.len + slug.len + 1);
    room->text = at;
    room->mxid = keep(&at, mxid);
    room->alias = keep(&at, alias);
    room->room_id = keep(&at, room_id);
    room->slug = keep(&at, slug);
    dc_free(old);
}

static void into_maps(struct dc_ms_room *room)
{
    (void)dc_map_put(&room->ms->rooms, room->mxid, room);
    (void)dc_map_put(&room->ms->city_rooms, room->room_id, room);
}

static void out_of_maps(struct dc_ms_room *room)
{
    (void)dc_map_remove(&room->ms->rooms, room->mxid);
    (void)dc_map_remove(&room->ms->city_rooms, room->room_id);
}

static void room_free(struct dc_ms_room *room)
{
    dc_list_remove(&room->link);
    dc_list_remove(&room->work_link);
    dc_ms_members_free(room);
    dc_free(room->text);
    dc_free(room);
}

static void room_new(struct dc_ms *ms, struct dc_slice mxid, struct dc_slice alias,
                     struct dc_slice room_id, struct dc_slice slug)
{
    struct dc_ms_room *room = dc_calloc(1, sizeof(*room));
    room->ms = ms;
    room->pause = (struct dc_backoff){.base_ms = JOIN_PAUSE_MS, .max_ms = JOIN_PAUSE_MAX_MS};
    room->is_settled = true;
    room->unknown_since_ms = dc_ms_now_ms(ms);
    room->mapping = ms->mapping;
    dc_list_init(&room->link);
    dc_list_init(&room->work_link);
    dc_map_init(&room->members, ms->rooms.seed);
    dc_list_init(&room->all_members);
    set_names(room, mxid, alias, room_id, slug);
    dc_list_push_back(&ms->all_rooms, &room->link);
    into_maps(room);
    ms->n_unknown++;
    dc_ms_room_want(room, true);
}

/* The city does not know it as a Matrix room any more. */
static void room_drop(struct dc_ms_room *room)
{
    struct dc_ms *ms = room->ms;
    DC_LOG_INFO_EVENT(ms->a->ctx->log, "presence.matrix_room_gone", DC_LF_T("room", room->slug));
    ms->n_strange += room->is_joined; /* we are still there */
    dc_ms_members_clear(room);
    dc_ms_room_settle(room);
    ms->n_unknown -= room->unknown_since_ms != 0;
    out_of_maps(room);
    dc_list_remove(&room->link);
    dc_ms_room_unwant(room);
    room->is_gone = true;
    if (room->step != DC_MS_ROOM_BUSY) {
        room_free(room);
    }
}

/* --- the mapping --- */

/* The same city room is another Matrix room now: its members of before stay until those of the new
 * one are known. */
static void room_moved(struct dc_ms_room *room)
{
    struct dc_ms *ms = room->ms;
    DC_LOG_INFO_EVENT(ms->a->ctx->log, "presence.matrix_room_moved", DC_LF_T("room", room->slug),
                      DC_LF_T("matrix_room_id", room->mxid));
    ms->n_strange += room->is_joined; /* the old one */
    dc_ms_room_self(room, false);
    room->was_joined = false;
    room->is_replaced = false;
    room->told = 0;
    room->version++;
    room->asked = 0;
    room->due_ms = 0;
    dc_backoff_reset(&room->pause);
    dc_ms_room_want(room, true);
}

static bool is_name(struct dc_slice text)
{
    return text.len > 0 && text.len <= DC_PRESENCE_ID_MAX;
}

static void take_room(struct dc_ms *ms, const json_t *json)
{
    struct dc_slice mxid = dc_matrix_read_text(json, "matrix_room_id");
    struct dc_slice alias = dc_matrix_read_text(json, "matrix_room_alias");
    struct dc_slice room_id = dc_matrix_read_text(json, "id");
    struct dc_slice slug = dc_matrix_read_text(json, "slug");
    if (mxid.len == 0) {
        return; /* a room of the city alone */
    }
    if (!dc_matrix_room_id_is_valid(mxid) || !is_name(room_id) || !dc_slug_is_valid(slug)) {
        ms->left_out->value++;
        return;
    }
    struct dc_ms_room *other = dc_ms_room_find(ms, mxid);
    struct dc_ms_room *room = dc_map_get(&ms->city_rooms, room_id);
    if (other != NULL && other != room) {
        if (other->mapping == ms->mapping) { /* two rooms of the city cannot be one */
            ms->left_out->value++;
            return;
        }
        room_drop(other);
    }
    if (room == NULL) {
        if (ms->rooms.count < DC_AGG_MAX_ROOMS) {
            room_new(ms, mxid, alias, room_id, slug);
        } else {
            ms->left_out->value++;
        }
        return;
    }
    bool is_moved = !dc_slice_eq(room->mxid, mxid);
    out_of_maps(room);
    set_names(room, mxid, alias, room_id, slug);
    into_maps(room);
    room->mapping = ms->mapping;
    if (is_moved) {
        room_moved(room);
    }
}

bool dc_ms_mapping_take(struct dc_ms *ms, const json_t *rooms)
{
    if (!json_is_array(rooms)) {
        return false;
    }
    ms->mapping++;
    for (size_t i = 0; i < json_array_size(rooms); i++) {
        take_room(ms, json_array_get(rooms, i));
    }
    DC_LIST_FOREACH_SAFE (it, &ms->all_rooms) {
        struct dc_ms_room *room = DC_LIST_ENTRY(it, struct dc_ms_room, link);
        if (room->mapping != ms->mapping) {
            room_drop(room);
        }
    }
    ms->has_mapping = true;
    dc_agg_fed(ms->a);
    return true;
}

/* --- rooms that have been replaced --- */

void dc_ms_room_replaced(struct dc_ms_room *room)
{
    room->is_replaced = true;
}

static void on_told(void *data, enum dc_status st, const json_t *json, int64_t retry_after_ms,
                    const struct dc_error *err)
{
    struct dc_ms *ms = data;
    (void)json;
    (void)retry_after_ms;
    if (st != DC_OK && !ms->is_stopping) { /* with the next mapping once more */
        DC_LOG_WARN_EVENT(ms->a->ctx->log, "presence.matrix_room_replaced_untold", DC_LF_ERR(err));
    }
    dc_ms_pending_end(ms);
}

/* The city looks where the alias leads, and tells everybody. */
static void tell_replaced(struct dc_ms *ms, struct dc_ms_room *room)
{
    struct dc_strbuf body = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &body);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "matrix_room_id", room->mxid);
    dc_jsonw_end(&w);
    const struct dc_peer_call call = {.method_z = "POST",
                                      .path = DC_S("/internal/city/matrix/moved"),
                                      .body = dc_strbuf_slice(&body),
                                      .deadline_ms = ASK_MS,
                                      .cb = on_told,
                                      .data = ms};
    if (dc_strbuf_ok(&body) && dc_peer_call(ms->city, &call, NULL) == DC_OK) {
        ms->pending++;
        room->told++;
    }
    dc_strbuf_free(&body);
}

static void tell_all_replaced(struct dc_ms *ms)
{
    DC_LIST_FOREACH (it, &ms->all_rooms) {
        struct dc_ms_room *room = DC_LIST_ENTRY(it, struct dc_ms_room, link);
        if (room->is_replaced && room->told < TELL_MAX) {
            tell_replaced(ms, room);
        }
    }
}

/* --- asking --- */

static int64_t refresh_ms(const struct dc_ms *ms)
{
    int64_t seconds = ms->a->ctx->settings->room_mapping_refresh_interval_s;
    return (seconds > 0 ? seconds : 300) * 1000;
}

static void on_mapping(void *data, enum dc_status st, const json_t *json, int64_t retry_after_ms,
                       const struct dc_error *err)
{
    struct dc_ms *ms = data;
    bool had_mapping = ms->has_mapping;
    (void)retry_after_ms;
    ms->is_mapping_asked = false;
    if (!ms->is_stopping) {
        if (st == DC_OK && dc_ms_mapping_take(ms, json)) {
            int64_t next_ms =
                ms->mapping_asked_ms + (ms->is_mapping_moving ? ONCE_MORE_MS : refresh_ms(ms));
            ms->is_mapping_moving = false;
            dc_backoff_reset(&ms->mapping_pause);
            tell_all_replaced(ms);
            ms->mapping_due_ms = ms->mapping_due_ms < next_ms ? ms->mapping_due_ms : next_ms;
        } else {
            ms->mapping_due_ms = dc_ms_now_ms(ms) + (int64_t)dc_backoff_next_ms(&ms->mapping_pause);
            DC_LOG_WARN_EVENT(ms->a->ctx->log, "presence.mapping_unread", DC_LF_ERR(err),
                              DC_LF_B("has_old", had_mapping));
        }
        if (!had_mapping && ms->has_mapping) {
            dc_ms_mapping_known(ms);
        }
        dc_ms_rooms_work(ms);
        dc_ms_arm(ms);
    }
    dc_ms_pending_end(ms);
}

void dc_ms_mapping_want(struct dc_ms *ms)
{
    int64_t due_ms = ms->mapping_asked_ms + AT_MOST_EVERY_MS;
    int64_t now_ms = dc_ms_now_ms(ms);
    due_ms = due_ms > now_ms ? due_ms : now_ms;
    if (due_ms < ms->mapping_due_ms) {
        ms->mapping_due_ms = due_ms;
        dc_ms_arm(ms);
    }
}

void dc_ms_mapping_clock(struct dc_ms *ms)
{
    struct dc_error err = {0};
    if (ms->is_mapping_asked || dc_ms_now_ms(ms) < ms->mapping_due_ms) {
        return;
    }
    const struct dc_peer_call call = {.method_z = "GET",
                                      .path = DC_S("/internal/city/rooms"),
                                      .deadline_ms = ASK_MS,
                                      .max_response_bytes = ANSWER_MAX,
                                      .takes_array = true,
                                      .cb = on_mapping,
                                      .data = ms};
    ms->mapping_asked_ms = dc_ms_now_ms(ms);
    ms->mapping_due_ms = INT64_MAX; /* whoever wants it meanwhile gets it again */
    enum dc_status st = dc_peer_call(ms->city, &call, &err);
    if (st == DC_OK) {
        ms->pending++;
        ms->is_mapping_asked = true;
        return;
    }
    /* In `up` our own listener opens in a moment. */
    DC_LOG_DEBUG_EVENT(ms->a->ctx->log, "presence.mapping_unread", DC_LF_ERR(&err));
    ms->mapping_due_ms = dc_ms_now_ms(ms) + (int64_t)dc_backoff_next_ms(&ms->mapping_pause);
}

/* --- for publishing --- */

bool dc_agg_matrix_room(const struct dc_aggregator *a, struct dc_slice room_id,
                        struct dc_slice *matrix_room_id, struct dc_slice *matrix_room_alias)
{
    const struct dc_ms_room *room =
        a->matrix == NULL ? NULL : dc_map_get(&a->matrix->city_rooms, room_id);
    *matrix_room_id = room == NULL ? DC_SLICE_NULL : room->mxid;
    *matrix_room_alias = room == NULL ? DC_SLICE_NULL : room->alias;
    return room != NULL;
}

/* --- life --- */

void dc_ms_rooms_init(struct dc_ms *ms)
{
    uint64_t seed[2];
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&ms->rooms, seed);
    dc_map_init(&ms->city_rooms, seed);
    dc_list_init(&ms->all_rooms);
    dc_list_init(&ms->work);
    ms->mapping_pause = (struct dc_backoff){.base_ms = 50, .max_ms = PAUSE_MAX_MS};
}

void dc_ms_rooms_free(struct dc_ms *ms)
{
    DC_LIST_FOREACH_SAFE (it, &ms->all_rooms) {
        room_free(DC_LIST_ENTRY(it, struct dc_ms_room, link));
    }
    dc_map_free(&ms->rooms);
    dc_map_free(&ms->city_rooms);
}
