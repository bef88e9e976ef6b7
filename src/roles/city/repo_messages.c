/* SQL of city-service: messages and the feed.  Rooms: repo.c. */
#include "roles/city/repo.h"

/* --- messages --- */

/* The head's row lock orders the messages of a room over all processes; the later statements see
 * what the previous holder committed.  Who archives a room touches its head too, so nothing is
 * stored in it afterwards, whatever the process knows. SQLite has one writer anyway. */
static const struct dc_db_stmt lock_head = {
    .sql = "select last_position from city_room_heads where room_id = $1 for update",
    .sqlite = "select last_position from city_room_heads where room_id = $1"};
static const struct dc_db_stmt insert_message = {
    .sql = "insert into city_room_messages (id, room_id, author_user_id, author_agent_id,"
           " author_name, body, created_at, idempotency_key, position)"
           " select $1, $2, $3, $4, $5, $6, $7, $8, h.last_position + 1"
           " from city_room_heads h join city_rooms r on r.id = h.room_id"
           " where h.room_id = $2 and r.archived_at is null"
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
           " from city_room_heads h join city_rooms r on r.id = h.room_id"
           " where h.room_id = $2 and r.archived_at is null and (cast($8 as text) is null or exists"
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
