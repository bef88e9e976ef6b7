/* Building a batch: values are checked and copied at once, so that a driver (and SQLite's worker on
 * another thread) finds nothing borrowed in it. */
#include "base/mem.h"
#include "base/utf8.h"
#include "db/db_priv.h"

#define FIRST_CHUNK_BYTES 1024
/* The years 0001 to 9999: what both engines and ISO text agree on. */
#define MIN_UTC_MS (-62135596800000)
#define MAX_UTC_MS 253402300799999

struct dc_db_batch *dc_db_batch_create(struct dc_db *db, unsigned flags)
{
    bool is_read = (flags & DC_DB_READ) != 0, is_write = (flags & DC_DB_WRITE) != 0;
    DC_ASSERT(is_read != is_write);
    DC_ASSERT(is_write || (flags & DC_DB_GROUP) == 0);
    struct dc_db_batch *b = dc_calloc(1, sizeof(*b));

    dc_list_init(&b->link);
    dc_list_init(&b->done_link);
    b->db = db;
    b->flags = flags;
    b->state = DC_DB_NEW;
    b->deadline_ms = db->deadline_ms;
    atomic_init(&b->should_stop, false);
    dc_arena_init(&b->arena, FIRST_CHUNK_BYTES, DC_DB_MAX_BATCH_BYTES);
    return b;
}

void dc_db_drop_results(struct dc_db_batch *b)
{
    for (size_t i = 0; i < b->n_calls; i++) {
        if (b->results[i] != NULL && b->results[i]->free != NULL) {
            b->results[i]->free(b->results[i]);
        }
        b->results[i] = NULL;
    }
}

void dc_db_batch_free(struct dc_db_batch *b)
{
    if (b == NULL) {
        return;
    }
    DC_ASSERT(b->state == DC_DB_NEW || b->state == DC_DB_ENDED);
    dc_db_drop_results(b);
    dc_arena_free(&b->arena);
    dc_free(b);
}

/* Fills *out; false: the value is no good or there is no room. */
static bool copy_value(struct dc_db_batch *b, const struct dc_db_value *in, struct dc_db_value *out)
{
    *out = *in;
    switch (in->type) {
    case DC_DB_NULL:
    case DC_DB_INT:
    case DC_DB_BOOL:
        return true;
    case DC_DB_UTC:
        return in->num >= MIN_UTC_MS && in->num <= MAX_UTC_MS;
    case DC_DB_TEXT:
    case DC_DB_JSON:
        if (in->text.len > 0 &&
            (memchr(in->text.ptr, '\0', in->text.len) != NULL || !dc_utf8_is_valid(in->text))) {
            return false;
        }
        b->bytes += in->text.len;
        out->text = dc_arena_dup(&b->arena, in->text);
        return out->text.ptr != NULL;
    }
    return false;
}

void dc_db_batch_add(struct dc_db_batch *b, const struct dc_db_stmt *stmt,
                     const struct dc_db_value *values, size_t n)
{
    DC_ASSERT(b->state == DC_DB_NEW);
    DC_ASSERT(b->n_calls < DC_DB_MAX_STATEMENTS && n <= DC_DB_MAX_PARAMS);
    struct dc_db_value *copies = NULL;

    if (n > 0) {
        copies = dc_arena_alloc(&b->arena, n * sizeof(*copies));
        if (copies == NULL) {
            b->bad = DC_INVALID;
            n = 0;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!copy_value(b, &values[i], &copies[i])) {
            b->bad = DC_INVALID;
            copies[i] = dc_db_null();
        }
    }
    b->bytes += n * sizeof(*copies);
    b->calls[b->n_calls++] = (struct dc_db_call){.stmt = stmt, .values = copies, .n = n};
}

void dc_db_batch_set_lock_key(struct dc_db_batch *b, struct dc_slice key)
{
    DC_ASSERT(b->state == DC_DB_NEW && key.len <= DC_DB_MAX_LOCK_KEY);
    if (key.len > 0) {
        memcpy(b->lock_key, key.ptr, key.len);
    }
    b->lock_key_len = key.len;
}

void dc_db_batch_set_deadline(struct dc_db_batch *b, uint64_t deadline_ms)
{
    DC_ASSERT(b->state == DC_DB_NEW && deadline_ms > 0 && deadline_ms <= INT32_MAX);
    b->deadline_ms = deadline_ms;
}
