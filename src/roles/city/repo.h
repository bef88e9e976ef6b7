/* The SQL of city-service: every statement of this role is in repo.c, as batches for db.h and
 * readers of their rows. */
#ifndef DC_ROLES_CITY_REPO_H
#define DC_ROLES_CITY_REPO_H

#include "roles/city/rooms.h"

/* One message as it is stored. Slices are borrowed from a database result or a request. */
struct dc_message {
    struct dc_slice id, room_id;
    struct dc_slice author_user_id, author_agent_id; /* one of them is NULL */
    struct dc_slice username, body;
    struct dc_slice idempotency_key; /* may be NULL */
    uint64_t position;
    struct dc_utc created_at;
};

/* Wire type Message as one JSON object. */
void dc_message_write(const struct dc_message *m, struct dc_jsonw *w);
/* The frame room.message, left open for the cursor; the message is the next value. */
void dc_message_frame_begin(struct dc_slice room_id, struct dc_strbuf *out, struct dc_jsonw *w);
void dc_message_write_frame(const struct dc_message *m, struct dc_strbuf *out);

/* A feed event as it is stored; payload is a JSON object. */
struct dc_feed_event {
    struct dc_slice id, kind;
    struct dc_slice room_id, room_slug, room_name; /* may be NULL */
    struct dc_slice user_id, username, agent_id;   /* may be NULL */
    struct dc_slice payload;
    struct dc_utc created_at;
};
void dc_feed_event_write(const struct dc_feed_event *e, struct dc_jsonw *w);

/* Results of dc_repo_load: [0] epoch, [1] rooms with their last words. */
struct dc_db_batch *dc_repo_load(struct dc_db *db);
struct dc_slice dc_repo_read_epoch(const struct dc_db_result *r);
/* Puts each row into the directory; returns how many it cannot hold (an id or slug that nothing
 * could be addressed by). */
DC_MUST_USE size_t dc_repo_read_rooms(const struct dc_db_result *r, struct dc_city_rooms *rooms);

/* Results: [0] room id and newest position of every room. */
struct dc_db_batch *dc_repo_heads(struct dc_db *db);

/* Inserts a room unless its slug exists (default rooms; several processes may do it at once). */
struct dc_db_batch *dc_repo_room_ensure(struct dc_db *db, const struct dc_room_row *row);
/* Inserts a room, its head and its feed event; DC_CONFLICT when id or slug exists. */
struct dc_db_batch *dc_repo_room_create(struct dc_db *db, const struct dc_room_row *row,
                                        const struct dc_feed_event *event);

/* Stores a message and its feed event at the room's next position, once for each idempotency key.
 * dc_repo_message_stored reads the outcome: *position and *is_new; with a key seen before *m
 * becomes the message stored then (borrowed from the results). false: the room does not exist. */
struct dc_db_batch *dc_repo_message_insert(struct dc_db *db, const struct dc_message *m,
                                           const struct dc_feed_event *event);
bool dc_repo_message_stored(const struct dc_db_result *const *results, size_t n,
                            struct dc_message *m, bool *is_new);

/* Pages: newest first in the rows of LAST and BEFORE, oldest first in the others. */
enum dc_page_kind { DC_PAGE_LAST, DC_PAGE_BEFORE, DC_PAGE_AFTER, DC_PAGE_AFTER_POSITION };
/* cursor: message id (BEFORE, AFTER); position: AFTER_POSITION. Asks for limit + 1 rows, so that
 * has_more is known. Results: [0] the cursor's position (AFTER_POSITION: the room's newest one),
 * [1] rows. */
struct dc_db_batch *dc_repo_messages(struct dc_db *db, struct dc_slice room_id,
                                     enum dc_page_kind kind, struct dc_slice cursor,
                                     uint64_t position, int64_t limit);
void dc_repo_read_message(const struct dc_db_result *r, size_t row, struct dc_slice room_id,
                          struct dc_message *m);

/* Newest first, after skipping offset. before: an event's id, from behind which it goes on, or
 * NULL: from the newest. Results: [0] the cursor, [1] rows. */
struct dc_db_batch *dc_repo_feed(struct dc_db *db, struct dc_slice before, int64_t offset,
                                 int64_t limit);
void dc_repo_read_feed(const struct dc_db_result *r, size_t row, struct dc_feed_event *e);

#endif
