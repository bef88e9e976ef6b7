/* The room directory: three tables for looking up, one list for listing. */
#include "roles/city/rooms.h"

#include "base/input.h"
#include "base/mem.h"

struct dc_city_rooms {
    struct dc_map by_id, by_slug, by_matrix_id;
    struct dc_list order;
    uint64_t seed[2];
};

struct dc_city_rooms *dc_city_rooms_create(void)
{
    struct dc_city_rooms *rooms = dc_calloc(1, sizeof(*rooms));
    dc_random_fill(NULL, rooms->seed, sizeof(rooms->seed));
    dc_map_init(&rooms->by_id, rooms->seed);
    dc_map_init(&rooms->by_slug, rooms->seed);
    dc_map_init(&rooms->by_matrix_id, rooms->seed);
    dc_list_init(&rooms->order);
    return rooms;
}

/* NULL stays NULL. */
static struct dc_slice own(struct dc_slice s)
{
    return s.ptr == NULL ? s : dc_slice_make(dc_slice_dup_z(s), s.len);
}

static void disown(struct dc_slice *s)
{
    char *text;
    memcpy(&text, &s->ptr, sizeof(text)); /* ours: own() made it */
    dc_free(text);
    *s = DC_SLICE_NULL;
}

static void row_free(struct dc_room_row *row)
{
    disown(&row->id);
    disown(&row->slug);
    disown(&row->name);
    disown(&row->description);
    disown(&row->created_by);
    disown(&row->matrix_room_id);
    disown(&row->matrix_room_alias);
}

static struct dc_room_row row_copy(const struct dc_room_row *row)
{
    struct dc_room_row out = *row;
    out.id = own(row->id);
    out.slug = own(row->slug);
    out.name = own(row->name);
    out.description = own(row->description);
    out.created_by = own(row->created_by);
    out.matrix_room_id = own(row->matrix_room_id);
    out.matrix_room_alias = own(row->matrix_room_alias);
    return out;
}

static void last_free(struct dc_last_message *last)
{
    disown(&last->id);
    disown(&last->username);
    disown(&last->snippet);
}

void dc_city_rooms_destroy(struct dc_city_rooms *rooms)
{
    if (rooms == NULL) {
        return;
    }
    DC_LIST_FOREACH_SAFE (it, &rooms->order) {
        struct dc_city_room *room = DC_LIST_ENTRY(it, struct dc_city_room, order);
        DC_ASSERT(dc_list_is_empty(&room->people.present)); /* dc_people_destroy came before */
        dc_map_free(&room->people.by_user);
        dc_strbuf_free(&room->people.typing_users);
        dc_topic_destroy(room->chat);
        dc_topic_destroy(room->crowd);
        row_free(&room->row);
        last_free(&room->last);
        dc_free(room);
    }
    dc_map_free(&rooms->by_id);
    dc_map_free(&rooms->by_slug);
    dc_map_free(&rooms->by_matrix_id);
    dc_free(rooms);
}

/* Default rooms first, then newest; equal ones by id so that the order is stable. */
static bool comes_before(const struct dc_city_room *a, const struct dc_city_room *b)
{
    if (a->row.is_default != b->row.is_default) {
        return a->row.is_default;
    }
    if (a->row.created_at.ms != b->row.created_at.ms) {
        return a->row.is_default ? a->row.created_at.ms < b->row.created_at.ms
                                 : a->row.created_at.ms > b->row.created_at.ms;
    }
    return dc_slice_cmp(a->row.id, b->row.id) < 0;
}

/* A room that is new stands right behind the default rooms, those of a load come in order: neither
 * looks through the list. */
static void insert_ordered(struct dc_city_rooms *rooms, struct dc_city_room *room)
{
    if (dc_list_is_empty(&rooms->order) ||
        comes_before(DC_LIST_ENTRY(rooms->order.prev, struct dc_city_room, order), room)) {
        dc_list_push_back(&rooms->order, &room->order);
        return;
    }
    DC_LIST_FOREACH (it, &rooms->order) {
        if (comes_before(room, DC_LIST_ENTRY(it, struct dc_city_room, order))) {
            dc_list_push_back(it, &room->order); /* before `it` */
            return;
        }
    }
}

bool dc_room_id_is_valid(struct dc_slice id)
{
    return id.len <= DC_ROOM_ID_MAX_BYTES && dc_id_is_valid(id);
}

struct dc_city_room *dc_city_rooms_put(struct dc_city_rooms *rooms, const struct dc_room_row *row)
{
    struct dc_city_room *room = dc_map_get(&rooms->by_id, row->id);
    DC_ASSERT(dc_room_id_is_valid(row->id));
    struct dc_room_row copy = row_copy(row);
    if (room == NULL) {
        room = dc_calloc(1, sizeof(*room));
        dc_list_init(&room->people.present);
        dc_list_init(&room->people.typing);
        dc_map_init(&room->people.by_user, rooms->seed);
        dc_relay_lane_init(&room->lane);
        dc_list_init(&room->outgoing.link);
    } else {
        if (room->row.matrix_room_id.ptr != NULL) {
            (void)dc_map_remove(&rooms->by_matrix_id, room->row.matrix_room_id);
        }
        (void)dc_map_remove(&rooms->by_slug, room->row.slug);
        (void)dc_map_remove(&rooms->by_id, room->row.id);
        dc_list_remove(&room->order);
        row_free(&room->row);
    }
    room->row = copy;
    (void)dc_map_put(&rooms->by_id, room->row.id, room);
    (void)dc_map_put(&rooms->by_slug, room->row.slug, room);
    if (room->row.matrix_room_id.ptr != NULL) {
        (void)dc_map_put(&rooms->by_matrix_id, room->row.matrix_room_id, room);
    }
    insert_ordered(rooms, room);
    return room;
}

struct dc_city_room *dc_city_rooms_find(const struct dc_city_rooms *rooms,
                                        struct dc_slice id_or_slug)
{
    struct dc_city_room *room = dc_map_get(&rooms->by_id, id_or_slug);
    return room != NULL ? room : dc_map_get(&rooms->by_slug, id_or_slug);
}

struct dc_city_room *dc_city_rooms_find_matrix(const struct dc_city_rooms *rooms,
                                               struct dc_slice matrix_room_id)
{
    return dc_map_get(&rooms->by_matrix_id, matrix_room_id);
}

size_t dc_city_rooms_count(const struct dc_city_rooms *rooms)
{
    return rooms->by_id.count;
}

struct dc_city_room *dc_city_rooms_next(const struct dc_city_rooms *rooms,
                                        const struct dc_city_room *after)
{
    struct dc_list *at = after == NULL ? rooms->order.next : after->order.next;
    return at == &rooms->order ? NULL : DC_LIST_ENTRY(at, struct dc_city_room, order);
}

void dc_city_room_set_last(struct dc_city_room *room, uint64_t position,
                           const struct dc_last_message *last)
{
    if (position < room->last_position) {
        return;
    }
    room->last_position = position;
    if (last->id.ptr == NULL) {
        return;
    }
    struct dc_last_message copy = {.id = own(last->id),
                                   .username = own(last->username),
                                   /* Nothing but blanks has an empty snippet, not none. */
                                   .snippet =
                                       own(last->snippet.ptr != NULL ? last->snippet : DC_S("")),
                                   .created_at = last->created_at};
    last_free(&room->last);
    room->last = copy;
    if (room->last_event.ms < last->created_at.ms) {
        room->last_event = last->created_at;
    }
}

void dc_city_room_write(const struct dc_city_room *room, struct dc_jsonw *w)
{
    const struct dc_room_row *row = &room->row;
    dc_jsonw_key_text(w, "id", row->id);
    dc_jsonw_key_text(w, "slug", row->slug);
    dc_jsonw_key_text(w, "name", row->name);
    dc_jsonw_key_text(w, "description", row->description);
    dc_jsonw_key_bool(w, "is_default", row->is_default);
    dc_jsonw_key_bool(w, "archived", row->is_archived);
    dc_jsonw_key_utc(w, "created_at", row->created_at);
    dc_jsonw_key_text(w, "created_by", row->created_by);
    dc_jsonw_key_i64(w, "members_online", room->people.online_count);
    dc_jsonw_key_i64(w, "away_count", room->people.away_count);
    dc_jsonw_key_i64(w, "typing_count", room->people.typing_count);
    if (room->last_event.ms == 0) {
        dc_jsonw_key_null(w, "last_event");
    } else {
        dc_jsonw_key_utc(w, "last_event", room->last_event);
    }
    dc_jsonw_key(w, "last_message");
    if (room->last.id.ptr == NULL) {
        dc_jsonw_null(w);
    } else {
        dc_jsonw_object(w);
        dc_jsonw_key_text(w, "id", room->last.id);
        dc_jsonw_key_text(w, "username", room->last.username);
        dc_jsonw_key_text(w, "snippet", room->last.snippet);
        dc_jsonw_key_utc(w, "created_at", room->last.created_at);
        dc_jsonw_end(w);
    }
    dc_jsonw_key_text(w, "matrix_room_id", row->matrix_room_id);
    dc_jsonw_key_text(w, "matrix_room_alias", row->matrix_room_alias);
}

/* --- CITY_DEFAULT_ROOMS --- */

/* What the rooms that every city starts with are for (specs/city-backend §4.1, §8). */
static const struct {
    const char *slug;
    const char *description;
} known_rooms[] = {
    {"general", "Головна кімната міста"},
    {"welcome", "Перші кроки: знайомства і запитання новоприбулих"},
    {"builders", "Майстерня тих, хто будує місто"},
    {"science", "Наукова кімната"},
    {"energy", "Енергія міста"},
};

static struct dc_slice known_description(struct dc_slice slug)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(known_rooms); i++) {
        if (dc_slice_eq(dc_slice_z(known_rooms[i].slug), slug)) {
            return dc_slice_z(known_rooms[i].description);
        }
    }
    return DC_SLICE_NULL;
}

/* "open-lab" -> "Open lab" */
static void write_name(struct dc_slice slug, struct dc_strbuf *out)
{
    for (size_t i = 0; i < slug.len; i++) {
        char c = slug.ptr[i];
        if (i == 0 && c >= 'a' && c <= 'z') {
            c = (char)(c - 'a' + 'A');
        } else if (c == '-' || c == '_') {
            c = ' ';
        }
        dc_strbuf_add_char(out, c);
    }
}

enum dc_status dc_city_default_rooms(struct dc_slice list, dc_default_room_cb cb, void *data,
                                     struct dc_error *err)
{
    struct dc_slice slug;
    while (dc_slice_take_token(&list, ',', &slug)) {
        slug = dc_slice_trim(slug);
        if (slug.len == 0) {
            continue;
        }
        if (!dc_slug_is_valid(slug)) {
            return dc_fail(err, DC_CONFIG, 0, "CITY_DEFAULT_ROOMS: \"%.*s\" is no valid slug",
                           DC_SLICE_ARG(slug));
        }
        struct dc_strbuf name = {0};
        struct dc_strbuf id = {0};
        write_name(slug, &name);
        dc_strbuf_add(&id, DC_S("room_city_"));
        dc_strbuf_add(&id, slug);
        struct dc_room_row row = {.id = dc_strbuf_slice(&id),
                                  .slug = slug,
                                  .name = dc_strbuf_slice(&name),
                                  .description = known_description(slug),
                                  .is_default = true};
        cb(data, &row);
        dc_strbuf_free(&name);
        dc_strbuf_free(&id);
    }
    return DC_OK;
}
