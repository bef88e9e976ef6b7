/* SQL about what is to be said in Matrix rooms. */
#include "roles/city/matrix_repo.h"

static const struct dc_db_stmt select_waiting = {
    .sql = "select room_id, count(*) from matrix_outgoing where refused_at is null"
           " group by room_id"};

struct dc_db_batch *dc_matrix_repo_waiting(struct dc_db *db)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    dc_db_batch_add(b, &select_waiting, NULL, 0);
    return b;
}

void dc_matrix_repo_read_waiting(const struct dc_db_result *r, size_t row, struct dc_slice *room_id,
                                 int64_t *n)
{
    *room_id = dc_db_get_text(r, row, 0);
    *n = dc_db_get_int(r, row, 1);
}

static const struct dc_db_stmt select_owed = {
    .sql = "select m.id, coalesce(m.author_user_id, m.author_agent_id), m.author_name, m.body"
           " from matrix_outgoing o join city_room_messages m on m.id = o.message_id"
           " where o.room_id = $1 and o.refused_at is null order by o.position limit $2"};

struct dc_db_batch *dc_matrix_repo_page(struct dc_db *db, struct dc_slice room_id, int64_t limit)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value values[] = {dc_db_text(room_id), dc_db_int(limit)};
    dc_db_batch_add(b, &select_owed, values, DC_ARRAY_LEN(values));
    return b;
}

void dc_matrix_repo_read_owed(const struct dc_db_result *r, size_t row, struct dc_matrix_owed *o)
{
    *o = (struct dc_matrix_owed){.message_id = dc_db_get_text(r, row, 0),
                                 .user_id = dc_db_get_text(r, row, 1),
                                 .username = dc_db_get_text(r, row, 2),
                                 .body = dc_db_get_text(r, row, 3)};
}

static const struct dc_db_stmt set_event = {.sql =
                                                "update city_room_messages set matrix_event_id = $2"
                                                " where id = $1 and matrix_event_id is null"};
static const struct dc_db_stmt delete_owed = {
    .sql = "delete from matrix_outgoing where message_id = $1"};
static const struct dc_db_stmt refuse_owed = {
    .sql = "update matrix_outgoing set refused_at = $2, refused_code = $3 where message_id = $1"};
static const struct dc_db_stmt delete_all = {
    .sql = "delete from matrix_outgoing where refused_at is null"};

/* In common commits, by room as the messages themselves. */
static struct dc_db_batch *begin(struct dc_db *db, struct dc_slice room_id)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE | DC_DB_GROUP);
    dc_db_batch_set_lock_key(b, room_id);
    return b;
}

struct dc_db_batch *dc_matrix_repo_said(struct dc_db *db, struct dc_slice room_id,
                                        struct dc_slice message_id, struct dc_slice event_id)
{
    struct dc_db_batch *b = begin(db, room_id);
    const struct dc_db_value values[] = {dc_db_text(message_id), dc_db_text(event_id)};
    dc_db_batch_add(b, &set_event, values, DC_ARRAY_LEN(values));
    dc_db_batch_add(b, &delete_owed, values, 1);
    return b;
}

struct dc_db_batch *dc_matrix_repo_refused(struct dc_db *db, struct dc_slice room_id,
                                           struct dc_slice message_id, struct dc_slice code,
                                           struct dc_utc now)
{
    struct dc_db_batch *b = begin(db, room_id);
    const struct dc_db_value values[] = {dc_db_text(message_id), dc_db_utc(now), dc_db_text(code)};
    dc_db_batch_add(b, &refuse_owed, values, DC_ARRAY_LEN(values));
    return b;
}

struct dc_db_batch *dc_matrix_repo_forget(struct dc_db *db, struct dc_slice room_id,
                                          struct dc_slice message_id)
{
    struct dc_db_batch *b = begin(db, room_id);
    const struct dc_db_value values[] = {dc_db_text(message_id)};
    dc_db_batch_add(b, &delete_owed, values, DC_ARRAY_LEN(values));
    return b;
}

struct dc_db_batch *dc_matrix_repo_forget_all(struct dc_db *db)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    dc_db_batch_add(b, &delete_all, NULL, 0);
    return b;
}
