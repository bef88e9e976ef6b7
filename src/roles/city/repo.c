/* SQL of city-service. */
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

/* --- messages --- */

/* The head's row lock orders the messages of a room over all processes; the later statements see
 * what the previous holder committed. SQLite has one writer anyway. */
static const struct dc_db_stmt lock_head = {
    .sql = "select last_position from city_room_heads where room_id = $1 for update",
    .sqlite = "select last_position from city_room_heads where room_id = $1"};
static const struct dc_db_stmt insert_message = {
    .sql = "insert into city_room_messages (id, room_id, author_user_id, author_agent_id,"
           " author_name, body, created_at, idempotency_key, position)"
           " select $1, $2, $3, $4, $5, $6, $7, $8, h.last_position + 1"
           " from city_room_heads h where h.room_id = $2"
           " on conflict (room_id, author_user_id, idempotency_key)"
           " where idempotency_key is not null do nothing returning position"};
static const struct dc_db_stmt advance_head = {
    .sql = "update city_room_heads set last_position = last_position + 1, last_message_id = $1,"
           " last_event_at = $3"
           " where room_id = $2 and exists (select 1 from city_room_messages where id = $1)"};
static const struct dc_db_stmt insert_message_event = {
    .sql = "insert into city_feed_events (id, kind, room_id, user_id, user_name, agent_id,"
           " payload, created_at)"
           " select $1, $2, $3, $4, $5, $6, $7, $8 from city_room_messages where id = $9"};
/* Nothing for a message that is not stored, because it was before. */
static const struct dc_db_stmt insert_message_owed = {
    .sql = DC_OUTBOX_INSERT
    "select m.room_id, m.position, $2, m.id,"
    " cast($3 as text) || cast(m.position as text) || cast($4 as text), m.created_at"
    " from city_room_messages m where m.id = $1"
    " union all select m.room_id, cast(null as bigint), '" DC_FEED_SUBJECT "', $5, $6, m.created_at"
    " from city_room_messages m where m.id = $1" DC_OUTBOX_RETURNING};
static const struct dc_db_stmt select_by_key = {
    .sql = "select id, author_user_id, author_agent_id, author_name, body, created_at, position"
           " from city_room_messages"
           " where room_id = $1 and author_user_id = $2 and idempotency_key = $3"};

static const struct dc_db_stmt insert_for_matrix = {
    .sql = "insert into matrix_outgoing (message_id, room_id, position)"
           " select m.id, m.room_id, m.position from city_room_messages m"
           " join city_rooms r on r.id = m.room_id"
           " where m.id = $1 and r.matrix_room_id is not null"};

/* Then, if asked for, insert_for_matrix, and at the end select_by_key. */
enum { AT_LOCK, AT_INSERT, AT_ADVANCE, AT_EVENT, AT_OWED };

/* What follows the message that the batch has inserted, if it has. */
static void add_rest(struct dc_db_batch *b, const struct dc_message *m,
                     const struct dc_feed_event *e, const struct dc_owed_message *owed)
{
    const struct dc_db_value head[] = {dc_db_text(m->id), dc_db_text(m->room_id),
                                       dc_db_utc(m->created_at)};
    const struct dc_db_value event[] = {
        dc_db_text(e->id),      dc_db_text(e->kind),      dc_db_text(e->room_id),
        dc_db_text(e->user_id), dc_db_text(e->username),  dc_db_text(e->agent_id),
        dc_db_json(e->payload), dc_db_utc(e->created_at), dc_db_text(m->id)};
    const struct dc_db_value debt[] = {dc_db_text(m->id),      dc_db_text(owed->subject),
                                       dc_db_text(owed->head), dc_db_text(owed->tail),
                                       dc_db_text(e->id),      dc_db_text(owed->event)};
    dc_db_batch_add(b, &advance_head, head, DC_ARRAY_LEN(head));
    dc_db_batch_add(b, &insert_message_event, event, DC_ARRAY_LEN(event));
    dc_db_batch_add(b, &insert_message_owed, debt, DC_ARRAY_LEN(debt));
}

struct dc_db_batch *dc_repo_message_insert(struct dc_db *db, const struct dc_message *m,
                                           const struct dc_feed_event *e,
                                           const struct dc_owed_message *owed)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE | DC_DB_GROUP);
    const struct dc_db_value lock[] = {dc_db_text(m->room_id)};
    const struct dc_db_value message[] = {dc_db_text(m->id),
                                          dc_db_text(m->room_id),
                                          dc_db_text(m->author_user_id),
                                          dc_db_text(m->author_agent_id),
                                          dc_db_text(m->username),
                                          dc_db_text(m->body),
                                          dc_db_utc(m->created_at),
                                          dc_db_text(m->idempotency_key)};
    dc_db_batch_set_lock_key(b, m->room_id);
    dc_db_batch_add(b, &lock_head, lock, DC_ARRAY_LEN(lock));
    dc_db_batch_add(b, &insert_message, message, DC_ARRAY_LEN(message));
    add_rest(b, m, e, owed);
    if (m->is_for_matrix) {
        dc_db_batch_add(b, &insert_for_matrix, message, 1);
    }
    if (m->idempotency_key.ptr != NULL) {
        const struct dc_db_value key[] = {dc_db_text(m->room_id), dc_db_text(m->author_user_id),
                                          dc_db_text(m->idempotency_key)};
        dc_db_batch_add(b, &select_by_key, key, DC_ARRAY_LEN(key));
    }
    return b;
}

bool dc_repo_message_stored(const struct dc_db_result *const *results, size_t n,
                            struct dc_message *m, bool *is_new,
                            int64_t owed_ids[DC_OWED_OF_MESSAGE])
{
    *is_new = dc_db_rows(results[AT_INSERT]) == 1;
    if (*is_new) {
        m->position = (uint64_t)dc_db_get_int(results[AT_INSERT], 0, 0);
        for (size_t i = 0; i < DC_OWED_OF_MESSAGE; i++) {
            owed_ids[i] = dc_outbox_id(results[AT_OWED], i);
        }
        return true;
    }
    if (m->idempotency_key.ptr != NULL && dc_db_rows(results[n - 1]) == 1) {
        dc_repo_read_message(results[n - 1], 0, m->room_id, m);
        return true;
    }
    return false;
}

/* --- messages that were said in Matrix rooms --- */

static const struct dc_db_stmt take_echo = {
    .sql = "update city_room_messages set matrix_event_id = $1"
           " where id = $2 and room_id = $3 and (author_user_id = $4 or author_agent_id = $4)"
           " and (matrix_event_id is null or matrix_event_id = $1) and not exists"
           " (select 1 from city_room_messages o where o.matrix_event_id = $1 and o.id <> $2)"};
static const struct dc_db_stmt end_echo = {
    .sql = "delete from matrix_outgoing where message_id = $2 and exists"
           " (select 1 from city_room_messages where id = $2 and matrix_event_id = $1)"};
static const struct dc_db_stmt insert_matrix_message = {
    .sql = "insert into city_room_messages (id, room_id, author_user_id, author_name, body,"
           " created_at, position, matrix_event_id)"
           " select $1, $2, $3, $4, $5, $6, h.last_position + 1, $7"
           " from city_room_heads h where h.room_id = $2 and (cast($8 as text) is null or exists"
           " (select 1 from city_room_messages b where b.matrix_event_id = $8))"
           " on conflict (matrix_event_id) where matrix_event_id is not null do nothing"
           " returning position"};
static const struct dc_db_stmt select_of_event = {
    .sql = "select id from city_room_messages where matrix_event_id = $1"};

/* Behind lock_head, and take_echo and end_echo if the event says that it is one. */
enum { M_INSERT, M_ADVANCE, M_EVENT, M_OWED, M_KNOWN, M_COUNT };

struct dc_db_batch *dc_repo_matrix_message_insert(struct dc_db *db, const struct dc_message *m,
                                                  const struct dc_message_origin *origin,
                                                  const struct dc_feed_event *e,
                                                  const struct dc_owed_message *owed)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE | DC_DB_GROUP);
    const struct dc_db_value lock[] = {dc_db_text(m->room_id)};
    const struct dc_db_value echo[] = {dc_db_text(origin->event_id), dc_db_text(origin->echo_of),
                                       dc_db_text(m->room_id), dc_db_text(m->author_user_id)};
    const struct dc_db_value message[] = {dc_db_text(m->id),
                                          dc_db_text(m->room_id),
                                          dc_db_text(m->author_user_id),
                                          dc_db_text(m->username),
                                          dc_db_text(m->body),
                                          dc_db_utc(m->created_at),
                                          dc_db_text(origin->event_id),
                                          dc_db_text(origin->behind)};
    dc_db_batch_set_lock_key(b, m->room_id);
    dc_db_batch_add(b, &lock_head, lock, DC_ARRAY_LEN(lock));
    if (origin->echo_of.ptr != NULL) {
        dc_db_batch_add(b, &take_echo, echo, 4);
        dc_db_batch_add(b, &end_echo, echo, 2);
    }
    dc_db_batch_add(b, &insert_matrix_message, message, DC_ARRAY_LEN(message));
    add_rest(b, m, e, owed);
    dc_db_batch_add(b, &select_of_event, echo, 1);
    return b;
}

enum dc_message_outcome dc_repo_matrix_message_stored(const struct dc_db_result *const *results,
                                                      size_t n, struct dc_message *m,
                                                      int64_t owed_ids[DC_OWED_OF_MESSAGE])
{
    const struct dc_db_result *const *r = results + (n - M_COUNT);
    if (dc_db_rows(r[M_INSERT]) == 0) {
        return dc_db_rows(r[M_KNOWN]) == 0 ? DC_MESSAGE_HELD : DC_MESSAGE_KNOWN;
    }
    m->position = (uint64_t)dc_db_get_int(r[M_INSERT], 0, 0);
    for (size_t i = 0; i < DC_OWED_OF_MESSAGE; i++) {
        owed_ids[i] = dc_outbox_id(r[M_OWED], i);
    }
    return DC_MESSAGE_NEW;
}

static const struct dc_db_stmt select_position = {
    .sql = "select position from city_room_messages where room_id = $1 and id = $2"};
static const struct dc_db_stmt select_head = {
    .sql = "select last_position from city_room_heads where room_id = $1"};
static const struct dc_db_stmt select_last = {
    .sql = "select id, author_user_id, author_agent_id, author_name, body, created_at, position"
           " from city_room_messages where room_id = $1 order by position desc limit $2"};
static const struct dc_db_stmt select_before = {
    .sql = "select id, author_user_id, author_agent_id, author_name, body, created_at, position"
           " from city_room_messages where room_id = $1 and position <"
           " (select position from city_room_messages where room_id = $1 and id = $2)"
           " order by position desc limit $3"};
static const struct dc_db_stmt select_after = {
    .sql = "select id, author_user_id, author_agent_id, author_name, body, created_at, position"
           " from city_room_messages where room_id = $1 and position >"
           " (select position from city_room_messages where room_id = $1 and id = $2)"
           " order by position limit $3"};
static const struct dc_db_stmt select_after_position = {
    .sql = "select id, author_user_id, author_agent_id, author_name, body, created_at, position"
           " from city_room_messages where room_id = $1 and position > $2"
           " order by position limit $3"};

struct dc_db_batch *dc_repo_messages(struct dc_db *db, struct dc_slice room_id,
                                     enum dc_page_kind kind, struct dc_slice cursor,
                                     uint64_t position, int64_t limit)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value at[] = {dc_db_text(room_id), dc_db_text(cursor)};
    const struct dc_db_value by_cursor[] = {dc_db_text(room_id), dc_db_text(cursor),
                                            dc_db_int(limit + 1)};
    const struct dc_db_value by_position[] = {dc_db_text(room_id), dc_db_int((int64_t)position),
                                              dc_db_int(limit + 1)};
    const struct dc_db_value newest[] = {dc_db_text(room_id), dc_db_int(limit + 1)};
    if (kind == DC_PAGE_AFTER_POSITION) {
        dc_db_batch_add(b, &select_head, at, 1);
    } else {
        dc_db_batch_add(b, &select_position, at, DC_ARRAY_LEN(at));
    }
    switch (kind) {
    case DC_PAGE_LAST:
        dc_db_batch_add(b, &select_last, newest, DC_ARRAY_LEN(newest));
        break;
    case DC_PAGE_BEFORE:
        dc_db_batch_add(b, &select_before, by_cursor, DC_ARRAY_LEN(by_cursor));
        break;
    case DC_PAGE_AFTER:
        dc_db_batch_add(b, &select_after, by_cursor, DC_ARRAY_LEN(by_cursor));
        break;
    case DC_PAGE_AFTER_POSITION:
        dc_db_batch_add(b, &select_after_position, by_position, DC_ARRAY_LEN(by_position));
        break;
    }
    return b;
}

void dc_repo_read_message(const struct dc_db_result *r, size_t row, struct dc_slice room_id,
                          struct dc_message *m)
{
    *m = (struct dc_message){.id = dc_db_get_text(r, row, 0),
                             .room_id = room_id,
                             .author_user_id = dc_db_get_text(r, row, 1),
                             .author_agent_id = dc_db_get_text(r, row, 2),
                             .username = dc_db_get_text(r, row, 3),
                             .body = dc_db_get_text(r, row, 4),
                             .created_at = dc_db_get_utc(r, row, 5),
                             .position = (uint64_t)dc_db_get_int(r, row, 6)};
}

/* --- feed --- */

#define FEED_COLUMNS                                                                               \
    "select f.id, f.kind, f.room_id, r.slug, r.name, f.user_id, f.user_name, f.agent_id,"          \
    " f.payload, f.created_at from city_feed_events f left join city_rooms r on r.id = f.room_id"

static const struct dc_db_stmt select_event = {.sql =
                                                   "select id from city_feed_events where id = $1"};
static const struct dc_db_stmt select_feed = {
    .sql = FEED_COLUMNS " order by f.created_at desc, f.id desc limit $1 offset $2"};
static const struct dc_db_stmt select_feed_before = {
    .sql = FEED_COLUMNS " where (f.created_at, f.id) <"
                        " (select e.created_at, e.id from city_feed_events e where e.id = $3)"
                        " order by f.created_at desc, f.id desc limit $1 offset $2"};
static const struct dc_db_stmt select_feed_since = {
    .sql = FEED_COLUMNS " where f.created_at >= $1 order by f.created_at, f.id limit $2"};

struct dc_db_batch *dc_repo_feed(struct dc_db *db, struct dc_slice before, int64_t offset,
                                 int64_t limit)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value id[] = {dc_db_text(before)};
    const struct dc_db_value values[] = {dc_db_int(limit), dc_db_int(offset), dc_db_text(before)};
    dc_db_batch_add(b, &select_event, id, DC_ARRAY_LEN(id));
    if (before.ptr == NULL) {
        dc_db_batch_add(b, &select_feed, values, 2);
    } else {
        dc_db_batch_add(b, &select_feed_before, values, 3);
    }
    return b;
}

struct dc_db_batch *dc_repo_feed_since(struct dc_db *db, struct dc_utc since, int64_t limit)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value values[] = {dc_db_utc(since), dc_db_int(limit)};
    dc_db_batch_add(b, &select_feed_since, values, DC_ARRAY_LEN(values));
    return b;
}

void dc_repo_read_feed(const struct dc_db_result *r, size_t row, struct dc_feed_event *e)
{
    *e = (struct dc_feed_event){.id = dc_db_get_text(r, row, 0),
                                .kind = dc_db_get_text(r, row, 1),
                                .room_id = dc_db_get_text(r, row, 2),
                                .room_slug = dc_db_get_text(r, row, 3),
                                .room_name = dc_db_get_text(r, row, 4),
                                .user_id = dc_db_get_text(r, row, 5),
                                .username = dc_db_get_text(r, row, 6),
                                .agent_id = dc_db_get_text(r, row, 7),
                                .payload = dc_db_get_text(r, row, 8),
                                .created_at = dc_db_get_utc(r, row, 9)};
}
