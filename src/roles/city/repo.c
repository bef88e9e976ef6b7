/* SQL of city-service: rooms.  Messages and the feed: repo_messages.c. */
#include "roles/city/repo.h"

#include "base/input.h"
#include "domain/snippet.h"

#define SNIPPET_CHARS 100

/* --- loading --- */

static const struct dc_db_stmt select_epoch = {
    .sql = "select value from city_meta where key = 'epoch'"};
#define ROOM_COLUMNS                                                                               \
    "select r.id, r.slug, r.name, r.description, r.is_default, r.created_at, r.created_by,"        \
    " r.matrix_room_id, r.matrix_room_alias, r.archived_at, r.revision, h.last_position,"          \
    " h.last_event_at, m.id, m.author_name, m.body, m.created_at"                                  \
    " from city_rooms r join city_room_heads h on h.room_id = r.id"                                \
    " left join city_room_messages m on m.id = h.last_message_id"
static const struct dc_db_stmt select_rooms = {
    .sql = ROOM_COLUMNS
    /* List order, so that the directory appends. */
    " order by r.is_default desc, case when r.is_default then r.created_at end,"
    " r.created_at desc, r.id"};
static const struct dc_db_stmt select_room = {.sql =
                                                  ROOM_COLUMNS " where r.id = $1 or r.slug = $1"};
static const struct dc_db_stmt select_some_rooms = {
    .sql = ROOM_COLUMNS " where r.id in (select jsonb_array_elements_text($1))",
    .sqlite = ROOM_COLUMNS " where r.id in (select value from json_each($1))"};
static const struct dc_db_stmt select_rooms_of_matrix = {
    .sql = ROOM_COLUMNS " where r.matrix_room_id in (select jsonb_array_elements_text($1))",
    .sqlite = ROOM_COLUMNS " where r.matrix_room_id in (select value from json_each($1))"};

struct dc_db_batch *dc_repo_load(struct dc_db *db)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    dc_db_batch_add(b, &select_epoch, NULL, 0);
    dc_db_batch_add(b, &select_rooms, NULL, 0);
    dc_outbox_add_keys(b);
    return b;
}

struct dc_db_batch *dc_repo_room(struct dc_db *db, struct dc_slice id_or_slug)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value name[] = {dc_db_text(id_or_slug)};
    dc_db_batch_add(b, &select_room, name, DC_ARRAY_LEN(name));
    return b;
}

struct dc_db_batch *dc_repo_rooms(struct dc_db *db, struct dc_slice ids_json)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value ids[] = {dc_db_json(ids_json)};
    dc_db_batch_add(b, &select_some_rooms, ids, DC_ARRAY_LEN(ids));
    return b;
}

struct dc_db_batch *dc_repo_rooms_of_matrix(struct dc_db *db, struct dc_slice matrix_ids_json)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value ids[] = {dc_db_json(matrix_ids_json)};
    dc_db_batch_add(b, &select_rooms_of_matrix, ids, DC_ARRAY_LEN(ids));
    return b;
}

static const struct dc_db_stmt select_heads = {
    .sql = "select h.room_id, h.last_position, r.revision"
           " from city_room_heads h join city_rooms r on r.id = h.room_id"};

struct dc_db_batch *dc_repo_heads(struct dc_db *db)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    dc_db_batch_add(b, &select_heads, NULL, 0);
    return b;
}

struct dc_slice dc_repo_read_epoch(const struct dc_db_result *r)
{
    return dc_db_rows(r) == 1 ? dc_db_get_text(r, 0, 0) : DC_SLICE_NULL;
}

enum {
    ROOM_ID,
    ROOM_SLUG,
    ROOM_NAME,
    ROOM_DESCRIPTION,
    ROOM_IS_DEFAULT,
    ROOM_CREATED_AT,
    ROOM_CREATED_BY,
    ROOM_MATRIX_ID,
    ROOM_MATRIX_ALIAS,
    ROOM_ARCHIVED_AT,
    ROOM_REVISION,
    ROOM_LAST_POSITION,
    ROOM_LAST_EVENT_AT,
    LAST_ID,
    LAST_AUTHOR_NAME,
    LAST_BODY,
    LAST_CREATED_AT
};

static void read_last(const struct dc_db_result *r, size_t i, struct dc_city_room *room)
{
    struct dc_strbuf snippet = {0};
    struct dc_last_message last = {0};
    if (!dc_db_is_null(r, i, LAST_ID)) {
        dc_snippet(&snippet, dc_db_get_text(r, i, LAST_BODY), SNIPPET_CHARS);
        last.id = dc_db_get_text(r, i, LAST_ID);
        last.username = dc_db_get_text(r, i, LAST_AUTHOR_NAME);
        last.snippet = dc_strbuf_slice(&snippet);
        last.created_at = dc_db_get_utc(r, i, LAST_CREATED_AT);
    }
    dc_city_room_set_last(room, (uint64_t)dc_db_get_int(r, i, ROOM_LAST_POSITION), &last);
    dc_strbuf_free(&snippet);
}

static struct dc_room_row read_row(const struct dc_db_result *r, size_t i)
{
    return (struct dc_room_row){.id = dc_db_get_text(r, i, ROOM_ID),
                                .slug = dc_db_get_text(r, i, ROOM_SLUG),
                                .name = dc_db_get_text(r, i, ROOM_NAME),
                                .description = dc_db_get_text(r, i, ROOM_DESCRIPTION),
                                .is_default = dc_db_get_bool(r, i, ROOM_IS_DEFAULT),
                                .created_at = dc_db_get_utc(r, i, ROOM_CREATED_AT),
                                .created_by = dc_db_get_text(r, i, ROOM_CREATED_BY),
                                .matrix_room_id = dc_db_get_text(r, i, ROOM_MATRIX_ID),
                                .matrix_room_alias = dc_db_get_text(r, i, ROOM_MATRIX_ALIAS),
                                .is_archived = !dc_db_is_null(r, i, ROOM_ARCHIVED_AT),
                                .revision = (uint64_t)dc_db_get_int(r, i, ROOM_REVISION)};
}

static bool is_usable(const struct dc_room_row *row)
{
    return dc_room_id_is_valid(row->id) && dc_slug_is_valid(row->slug);
}

static struct dc_city_room *put_row(const struct dc_db_result *r, size_t i,
                                    const struct dc_room_row *row, struct dc_city_rooms *rooms)
{
    struct dc_city_room *room = dc_city_rooms_put(rooms, row);
    read_last(r, i, room);
    if (!dc_db_is_null(r, i, ROOM_LAST_EVENT_AT)) {
        room->last_event = dc_db_get_utc(r, i, ROOM_LAST_EVENT_AT);
    }
    return room;
}

size_t dc_repo_read_rooms(const struct dc_db_result *r, struct dc_city_rooms *rooms)
{
    size_t unusable = 0;
    for (size_t i = 0; i < dc_db_rows(r); i++) {
        const struct dc_room_row row = read_row(r, i);
        if (is_usable(&row)) {
            put_row(r, i, &row, rooms)->is_announced = true;
        } else {
            unusable++;
        }
    }
    return unusable;
}

void dc_repo_read_unknown_rooms(const struct dc_db_result *r, struct dc_city_rooms *rooms,
                                void (*added)(void *data, struct dc_city_room *room), void *data)
{
    for (size_t i = 0; i < dc_db_rows(r); i++) {
        const struct dc_room_row row = read_row(r, i);
        if (is_usable(&row) && dc_city_rooms_find(rooms, row.id) == NULL) {
            added(data, put_row(r, i, &row, rooms));
        }
    }
}

void dc_repo_read_changed_rooms(const struct dc_db_result *r, struct dc_city_rooms *rooms,
                                void (*changed)(void *data, struct dc_city_room *room,
                                                bool was_archived),
                                void *data)
{
    for (size_t i = 0; i < dc_db_rows(r); i++) {
        const struct dc_room_row row = read_row(r, i);
        struct dc_city_room *room = is_usable(&row) ? dc_city_rooms_find(rooms, row.id) : NULL;
        if (room != NULL && row.revision > room->row.revision) {
            bool was_archived = room->row.is_archived;
            (void)dc_city_rooms_put(rooms, &row); /* its messages come by their own way */
            changed(data, room, was_archived);
        }
    }
}

/* --- rooms --- */

static const struct dc_db_stmt ensure_room = {
    .sql = "insert into city_rooms (id, slug, name, description, is_default, created_at,"
           " created_by, matrix_room_id, matrix_room_alias)"
           " values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing"};
static const struct dc_db_stmt insert_room = {
    .sql = "insert into city_rooms (id, slug, name, description, is_default, created_at,"
           " created_by, matrix_room_id, matrix_room_alias)"
           " values ($1, $2, $3, $4, $5, $6, $7, $8, $9)"};
static const struct dc_db_stmt ensure_head = {
    .sql = "insert into city_room_heads (room_id) select id from city_rooms where id = $1"
           " on conflict do nothing"};
static const struct dc_db_stmt insert_head = {
    .sql = "insert into city_room_heads (room_id, last_event_at) values ($1, $2)"};
static const struct dc_db_stmt insert_event = {
    .sql = "insert into city_feed_events"
           " (id, kind, room_id, user_id, user_name, agent_id, payload, created_at)"
           " values ($1, $2, $3, $4, $5, $6, $7, $8)"};
/* Only for a room that this batch has inserted: the time tells. */
static const struct dc_db_stmt ensure_owed = {
    .sql = DC_OUTBOX_INSERT "select r.id, cast(null as bigint), '" DC_ROOM_SUBJECT
                            "', $2, $3, r.created_at from city_rooms r"
                            " where r.id = $1 and r.created_at = $4" DC_OUTBOX_RETURNING};

static void add_room(struct dc_db_batch *b, const struct dc_db_stmt *stmt,
                     const struct dc_room_row *row)
{
    const struct dc_db_value values[] = {dc_db_text(row->id),
                                         dc_db_text(row->slug),
                                         dc_db_text(row->name),
                                         dc_db_text(row->description),
                                         dc_db_bool(row->is_default),
                                         dc_db_utc(row->created_at),
                                         dc_db_text(row->created_by),
                                         dc_db_text(row->matrix_room_id),
                                         dc_db_text(row->matrix_room_alias)};
    dc_db_batch_add(b, stmt, values, DC_ARRAY_LEN(values));
}

struct dc_db_batch *dc_repo_room_ensure(struct dc_db *db, const struct dc_room_row *row,
                                        const struct dc_owed_room *owed)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value id[] = {dc_db_text(row->id)};
    const struct dc_db_value values[] = {dc_db_text(row->id), dc_db_text(owed->message_id),
                                         dc_db_text(owed->room), dc_db_utc(row->created_at)};
    add_room(b, &ensure_room, row);
    dc_db_batch_add(b, &ensure_head, id, DC_ARRAY_LEN(id));
    dc_db_batch_add(b, &ensure_owed, values, DC_ARRAY_LEN(values));
    return b;
}

enum { AT_ROOM, AT_HEAD, AT_ROOM_EVENT, AT_ROOM_OWED };

struct dc_db_batch *dc_repo_room_create(struct dc_db *db, const struct dc_room_row *row,
                                        const struct dc_feed_event *e,
                                        const struct dc_owed_room *owed)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value head[] = {dc_db_text(row->id), dc_db_utc(row->created_at)};
    const struct dc_db_value event[] = {dc_db_text(e->id),       dc_db_text(e->kind),
                                        dc_db_text(e->room_id),  dc_db_text(e->user_id),
                                        dc_db_text(e->username), dc_db_text(e->agent_id),
                                        dc_db_json(e->payload),  dc_db_utc(e->created_at)};
    const struct dc_owed rows[DC_OWED_OF_ROOM] = {
        {row->id, 0, DC_S(DC_ROOM_SUBJECT), owed->message_id, owed->room},
        {row->id, 0, DC_S(DC_FEED_SUBJECT), e->id, owed->event}};
    add_room(b, &insert_room, row);
    dc_db_batch_add(b, &insert_head, head, DC_ARRAY_LEN(head));
    dc_db_batch_add(b, &insert_event, event, DC_ARRAY_LEN(event));
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        dc_outbox_add(b, &rows[i], row->created_at);
    }
    return b;
}

void dc_repo_room_created(const struct dc_db_result *const *results, size_t n,
                          int64_t owed_ids[DC_OWED_OF_ROOM])
{
    DC_ASSERT(n == AT_ROOM_OWED + DC_OWED_OF_ROOM);
    for (size_t i = 0; i < DC_OWED_OF_ROOM; i++) {
        owed_ids[i] = dc_outbox_id(results[AT_ROOM_OWED + i], 0);
    }
}

/* --- changes of rooms --- */

static const struct dc_db_stmt archive_room = {
    .sql = "update city_rooms set archived_at = $2, revision = revision + 1, last_change = $3"
           " where id = $1 and archived_at is null returning revision"};
static const struct dc_db_stmt unarchive_room = {
    .sql = "update city_rooms set archived_at = null, revision = revision + 1, last_change = $2"
           " where id = $1 and archived_at is not null returning revision"};
static const struct dc_db_stmt set_matrix = {
    .sql = "update city_rooms set matrix_room_id = $2, matrix_room_alias = $3,"
           " revision = revision + 1, last_change = $4"
           " where id = $1 and matrix_room_id is null returning revision"};
static const struct dc_db_stmt move_matrix = {
    .sql = "update city_rooms set matrix_room_id = $2, matrix_room_alias = $3,"
           " revision = revision + 1, last_change = $4"
           " where id = $1 and matrix_room_id = $5 returning revision"};
/* The rest of the batch is done if the change was: its id tells. */
static const struct dc_db_stmt owe_change = {
    .sql = DC_OUTBOX_INSERT "select r.id, cast(null as bigint), '" DC_ROOM_CHANGED_SUBJECT
                            "', $2, $3, $4 from city_rooms r"
                            " where r.id = $1 and r.last_change = $2" DC_OUTBOX_RETURNING};
static const struct dc_db_stmt insert_change_event = {
    .sql = "insert into city_feed_events (id, kind, room_id, user_id, user_name, agent_id,"
           " payload, created_at) select $1, $2, r.id, $4, $5, $6, $7, $8 from city_rooms r"
           " where r.id = $3 and r.last_change = $9"};
static const struct dc_db_stmt owe_change_event = {
    .sql = DC_OUTBOX_INSERT "select r.id, cast(null as bigint), '" DC_FEED_SUBJECT
                            "', $2, $3, $4 from city_rooms r"
                            " where r.id = $1 and r.last_change = $5" DC_OUTBOX_RETURNING};
static const struct dc_db_stmt touch_head = {
    .sql = "update city_room_heads set last_event_at = $2 where room_id = $1"
           " and exists (select 1 from city_rooms where id = $1 and last_change = $3)"};

enum { AT_CHANGE, AT_CHANGE_OWED, AT_CHANGE_EVENT, AT_CHANGE_EVENT_OWED };

static void add_owed_change(struct dc_db_batch *b, const struct dc_room_change *c,
                            struct dc_utc now)
{
    const struct dc_db_value owed[] = {dc_db_text(c->room_id), dc_db_text(c->id),
                                       dc_db_text(c->payload), dc_db_utc(now)};
    dc_db_batch_add(b, &owe_change, owed, DC_ARRAY_LEN(owed));
    if (c->event == NULL) {
        return;
    }
    const struct dc_feed_event *e = c->event;
    const struct dc_db_value event[] = {
        dc_db_text(e->id),      dc_db_text(e->kind),      dc_db_text(c->room_id),
        dc_db_text(e->user_id), dc_db_text(e->username),  dc_db_text(e->agent_id),
        dc_db_json(e->payload), dc_db_utc(e->created_at), dc_db_text(c->id)};
    const struct dc_db_value event_owed[] = {dc_db_text(c->room_id), dc_db_text(e->id),
                                             dc_db_text(c->event_text), dc_db_utc(now),
                                             dc_db_text(c->id)};
    const struct dc_db_value head[] = {dc_db_text(c->room_id), dc_db_utc(now), dc_db_text(c->id)};
    dc_db_batch_add(b, &insert_change_event, event, DC_ARRAY_LEN(event));
    dc_db_batch_add(b, &owe_change_event, event_owed, DC_ARRAY_LEN(event_owed));
    dc_db_batch_add(b, &touch_head, head, DC_ARRAY_LEN(head));
}

struct dc_db_batch *dc_repo_room_set_archived(struct dc_db *db, const struct dc_room_change *c,
                                              bool is_archived, struct dc_utc now)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value set[] = {dc_db_text(c->room_id), dc_db_utc(now), dc_db_text(c->id)};
    const struct dc_db_value unset[] = {dc_db_text(c->room_id), dc_db_text(c->id)};
    if (is_archived) {
        dc_db_batch_add(b, &archive_room, set, DC_ARRAY_LEN(set));
    } else {
        dc_db_batch_add(b, &unarchive_room, unset, DC_ARRAY_LEN(unset));
    }
    add_owed_change(b, c, now);
    return b;
}

struct dc_db_batch *dc_repo_room_set_matrix(struct dc_db *db, const struct dc_room_change *c,
                                            struct dc_slice matrix_room_id,
                                            struct dc_slice matrix_room_alias, struct dc_utc now)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value set[] = {dc_db_text(c->room_id), dc_db_text(matrix_room_id),
                                      dc_db_text(matrix_room_alias), dc_db_text(c->id)};
    dc_db_batch_add(b, &set_matrix, set, DC_ARRAY_LEN(set));
    add_owed_change(b, c, now);
    return b;
}

struct dc_db_batch *dc_repo_room_move_matrix(struct dc_db *db, const struct dc_room_change *c,
                                             struct dc_slice was, struct dc_slice matrix_room_id,
                                             struct dc_slice matrix_room_alias, struct dc_utc now)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value set[] = {dc_db_text(c->room_id), dc_db_text(matrix_room_id),
                                      dc_db_text(matrix_room_alias), dc_db_text(c->id),
                                      dc_db_text(was)};
    dc_db_batch_add(b, &move_matrix, set, DC_ARRAY_LEN(set));
    add_owed_change(b, c, now);
    return b;
}

bool dc_repo_room_changed(const struct dc_db_result *const *results, size_t n, uint64_t *revision,
                          int64_t owed_ids[DC_OWED_OF_CHANGE])
{
    memset(owed_ids, 0, DC_OWED_OF_CHANGE * sizeof(*owed_ids));
    if (dc_db_rows(results[AT_CHANGE]) == 0) {
        return false;
    }
    *revision = (uint64_t)dc_db_get_int(results[AT_CHANGE], 0, 0);
    owed_ids[0] = dc_outbox_id(results[AT_CHANGE_OWED], 0);
    if (n > AT_CHANGE_EVENT_OWED) {
        owed_ids[1] = dc_outbox_id(results[AT_CHANGE_EVENT_OWED], 0);
    }
    return true;
}

static const struct dc_db_stmt select_without_matrix = {
    .sql = "select id, slug, name from city_rooms where matrix_room_id is null and id > $1"
           " order by id limit $2"};
static const struct dc_db_stmt count_without_matrix = {
    .sql = "select count(*) from city_rooms where matrix_room_id is null and id > $1"};

struct dc_db_batch *dc_repo_rooms_without_matrix(struct dc_db *db, struct dc_slice after,
                                                 int64_t limit)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value page[] = {dc_db_text(after), dc_db_int(limit)};
    dc_db_batch_add(b, &select_without_matrix, page, DC_ARRAY_LEN(page));
    dc_db_batch_add(b, &count_without_matrix, page, 1);
    return b;
}
