/* SQL of the outbox. */
#include "relay/outbox.h"

static const struct dc_db_stmt insert_owed = {
    .sql = DC_OUTBOX_INSERT "values ($1, $2, $3, $4, $5, $6)" DC_OUTBOX_RETURNING};
static const struct dc_db_stmt select_keys = {
    .sql = "select o.key, count(*), count(o.position) from"
           " (select key, position from outbox order by id limit $1) o group by o.key"};
static const struct dc_db_stmt select_page = {
    .sql = "select id, subject, message_id, payload from outbox where id <= $1"
           " order by id limit $2"};
static const struct dc_db_stmt select_newest = {.sql = "select max(id) from outbox"};
/* Two relays may delete the same rows, in transactions that hold other locks (grouped commits):
 * none of them may wait, or they could wait for each other. */
static const struct dc_db_stmt delete_rows = {
    .sql = "delete from outbox where id in (select id from outbox where id = any"
           " (cast(string_to_array(cast($1 as text), ',') as bigint[])) for update skip locked)",
    .sqlite = "delete from outbox where id in (select value from json_each('[' || $1 || ']'))"};

void dc_outbox_add(struct dc_db_batch *b, const struct dc_owed *owed, struct dc_utc now)
{
    const struct dc_db_value values[] = {
        dc_db_text(owed->key),
        owed->position == 0 ? dc_db_null() : dc_db_int((int64_t)owed->position),
        dc_db_text(owed->subject),
        dc_db_text(owed->message_id),
        dc_db_text(owed->payload),
        dc_db_utc(now)};
    dc_db_batch_add(b, &insert_owed, values, DC_ARRAY_LEN(values));
}

int64_t dc_outbox_id(const struct dc_db_result *r, size_t row)
{
    return row < dc_db_rows(r) && !dc_db_is_null(r, row, 0) ? dc_db_get_int(r, row, 0) : 0;
}

void dc_outbox_add_keys(struct dc_db_batch *b)
{
    const struct dc_db_value limit[] = {dc_db_int(DC_OUTBOX_KEYS_MAX_ROWS)};
    dc_db_batch_add(b, &select_keys, limit, DC_ARRAY_LEN(limit));
}

bool dc_outbox_read_keys(const struct dc_db_result *r, void (*cb)(void *data, struct dc_slice key),
                         void *data)
{
    int64_t rows = 0;
    for (size_t i = 0; i < dc_db_rows(r); i++) {
        rows += dc_db_get_int(r, i, 1);
    }
    if (rows >= DC_OUTBOX_KEYS_MAX_ROWS) {
        return false;
    }
    for (size_t i = 0; i < dc_db_rows(r); i++) {
        if (dc_db_get_int(r, i, 2) > 0) {
            cb(data, dc_db_get_text(r, i, 0));
        }
    }
    return true;
}

void dc_outbox_add_page(struct dc_db_batch *b, int64_t mark, size_t limit)
{
    const struct dc_db_value values[] = {dc_db_int(mark), dc_db_int((int64_t)limit)};
    dc_db_batch_add(b, &select_page, values, DC_ARRAY_LEN(values));
}

void dc_outbox_read_row(const struct dc_db_result *r, size_t i, struct dc_outbox_row *row)
{
    *row = (struct dc_outbox_row){.id = dc_db_get_int(r, i, 0),
                                  .subject = dc_db_get_text(r, i, 1),
                                  .message_id = dc_db_get_text(r, i, 2),
                                  .payload = dc_db_get_text(r, i, 3)};
}

void dc_outbox_add_newest(struct dc_db_batch *b)
{
    dc_db_batch_add(b, &select_newest, NULL, 0);
}

void dc_outbox_add_delete(struct dc_db_batch *b, const int64_t *ids, size_t n)
{
    struct dc_strbuf list = {0};
    DC_ASSERT(n > 0 && n <= DC_OUTBOX_DELETE_MAX);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            dc_strbuf_add_char(&list, ',');
        }
        dc_strbuf_add_i64(&list, ids[i]);
    }
    /* Without memory for the list nothing is deleted; the rows are published once more later. */
    const struct dc_db_value values[] = {
        dc_db_text(dc_strbuf_ok(&list) ? dc_strbuf_slice(&list) : DC_S(""))};
    dc_db_batch_add(b, &delete_rows, values, DC_ARRAY_LEN(values));
    dc_strbuf_free(&list);
}
