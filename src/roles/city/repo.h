/* The SQL of city-service: every statement of this role is in repo.c (rooms), repo_messages.c
 * (messages, feed) and matrix_repo.c, as batches for db.h and readers of their rows. */
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
    bool is_for_matrix; /* to be said in the Matrix room too, if the room has one */
};

/* Wire type Message as one JSON object. */
void dc_message_write(const struct dc_message *m, struct dc_jsonw *w);
/* The frame room.message, left open for the cursor; the message is the next value. */
void dc_message_frame_begin(struct dc_slice room_id, struct dc_strbuf *out, struct dc_jsonw *w);
void dc_message_write_frame(const struct dc_message *m, struct dc_strbuf *out);
/* dc_message_write() without the number of the position, which only the database knows yet; returns
 * the place where it belongs. */
size_t dc_message_write_open(const struct dc_message *m, struct dc_strbuf *out);

/* A feed event as it is stored; payload is a JSON object. */
struct dc_feed_event {
    struct dc_slice id, kind;
    struct dc_slice room_id, room_slug, room_name; /* may be NULL */
    struct dc_slice user_id, username, agent_id;   /* may be NULL */
    struct dc_slice payload;
    struct dc_utc created_at;
};
void dc_feed_event_write(const struct dc_feed_event *e, struct dc_jsonw *w);
#define DC_ROOM_CHANGED_SUBJECT "city.event.room_changed"
/* The payload of DC_ROOM_SUBJECT. */
void dc_room_row_write(const struct dc_room_row *row, struct dc_jsonw *w);

#define DC_FEED_SUBJECT "city.event.feed"
#define DC_ROOM_SUBJECT "city.event.room"
/* What a stored message owes to the bus (owed.h): first the message, to its room's subject, the
 * number of its position between head and tail; then the feed event. */
#define DC_OWED_OF_MESSAGE 2
struct dc_owed_message {
    struct dc_slice subject, head, tail;
    struct dc_slice event;
};
/* What a new room owes: first the room, with an id for the bus; then the feed event, if any. */
#define DC_OWED_OF_ROOM 2
struct dc_owed_room {
    struct dc_slice message_id, room;
    struct dc_slice event;
};

/* Results of dc_repo_load: [0] epoch, [1] rooms with their last words, [2] what was not on the bus
 * for sure at that moment (dc_outbox_read_keys). */
struct dc_db_batch *dc_repo_load(struct dc_db *db);
struct dc_slice dc_repo_read_epoch(const struct dc_db_result *r);
/* Puts each row into the directory; returns how many it cannot hold (an id or slug that nothing
 * could be addressed by). */
DC_MUST_USE size_t dc_repo_read_rooms(const struct dc_db_result *r, struct dc_city_rooms *rooms);
/* One room by id or slug; the rooms of some ids (a JSON array). Result: [0] as [1] of load. */
struct dc_db_batch *dc_repo_room(struct dc_db *db, struct dc_slice id_or_slug);
struct dc_db_batch *dc_repo_rooms(struct dc_db *db, struct dc_slice ids_json);
/* The rooms that have some Matrix rooms (a JSON array of their ids). */
struct dc_db_batch *dc_repo_rooms_of_matrix(struct dc_db *db, struct dc_slice matrix_ids_json);
/* Puts those that the directory does not know yet, and no others. */
void dc_repo_read_unknown_rooms(const struct dc_db_result *r, struct dc_city_rooms *rooms,
                                void (*added)(void *data, struct dc_city_room *room), void *data);

/* Takes over the rows of rooms that the directory knows with an older revision. */
void dc_repo_read_changed_rooms(const struct dc_db_result *r, struct dc_city_rooms *rooms,
                                void (*changed)(void *data, struct dc_city_room *room,
                                                bool was_archived),
                                void *data);

/* Results: [0] room id, newest position and revision of every room. */
struct dc_db_batch *dc_repo_heads(struct dc_db *db);

/* Inserts a room unless its slug exists (default rooms; several processes may do it at once). */
struct dc_db_batch *dc_repo_room_ensure(struct dc_db *db, const struct dc_room_row *row,
                                        const struct dc_owed_room *owed);
/* Inserts a room, its head and its feed event; DC_CONFLICT when id or slug exists. */
struct dc_db_batch *dc_repo_room_create(struct dc_db *db, const struct dc_room_row *row,
                                        const struct dc_feed_event *event,
                                        const struct dc_owed_room *owed);
void dc_repo_room_created(const struct dc_db_result *const *results, size_t n,
                          int64_t owed_ids[DC_OWED_OF_ROOM]);

/* Changes of a room's row.  What such a transaction owes to the bus: that the room has changed (who
 * hears it reads the row), and a feed event, if any. */
#define DC_OWED_OF_CHANGE 2
struct dc_room_change {
    struct dc_slice room_id;
    struct dc_slice id; /* of this change, unlike all others: a message id for the bus */
    struct dc_slice payload;
    const struct dc_feed_event *event; /* NULL: none */
    struct dc_slice event_text;
};
struct dc_db_batch *dc_repo_room_set_archived(struct dc_db *db, const struct dc_room_change *c,
                                              bool is_archived, struct dc_utc now);
/* Only of a room that has none; DC_CONFLICT when another city room has it. */
struct dc_db_batch *dc_repo_room_set_matrix(struct dc_db *db, const struct dc_room_change *c,
                                            struct dc_slice matrix_room_id,
                                            struct dc_slice matrix_room_alias, struct dc_utc now);
/* Its Matrix room has been replaced; nothing happens when it has another than `was`.  DC_CONFLICT
 * as above. */
struct dc_db_batch *dc_repo_room_move_matrix(struct dc_db *db, const struct dc_room_change *c,
                                             struct dc_slice was, struct dc_slice matrix_room_id,
                                             struct dc_slice matrix_room_alias, struct dc_utc now);
/* false: there was nothing to change.  An id of 0: nothing is owed. */
bool dc_repo_room_changed(const struct dc_db_result *const *results, size_t n, uint64_t *revision,
                          int64_t owed_ids[DC_OWED_OF_CHANGE]);
/* Rooms without a Matrix room: id, slug and name in the order of ids, after an id ("": from the
 * beginning).  Results: [0] rows, [1] how many there are after that id. */
struct dc_db_batch *dc_repo_rooms_without_matrix(struct dc_db *db, struct dc_slice after,
                                                 int64_t limit);

/* Stores a message and its feed event at the room's next position, once for each idempotency key.
 * dc_repo_message_stored reads the outcome: *position, *is_new, and of a new one the ids of the
 * outbox rows; with a key seen before *m becomes the message stored then (borrowed from the
 * results).  false: the room does not exist. */
struct dc_db_batch *dc_repo_message_insert(struct dc_db *db, const struct dc_message *m,
                                           const struct dc_feed_event *event,
                                           const struct dc_owed_message *owed);
bool dc_repo_message_stored(const struct dc_db_result *const *results, size_t n,
                            struct dc_message *m, bool *is_new,
                            int64_t owed_ids[DC_OWED_OF_MESSAGE]);

/* Where a message comes from that was said in a Matrix room. */
struct dc_message_origin {
    struct dc_slice event_id;
    /* The event before it, of the same room, that has to be stored first; ptr NULL: none. */
    struct dc_slice behind;
    /* The message of ours that the event says it is: then the message gets the event's id, if it is
     * in that room and by that author, and nothing is stored.  ptr NULL: it says nothing. */
    struct dc_slice echo_of;
};
/* Stores such a message as dc_repo_message_insert() does, once for each event.  NEW: as above.
 * KNOWN: it was stored before, or it is what this city has said itself.  HELD: the one before it is
 * not stored, or the room is archived or gone. */
enum dc_message_outcome { DC_MESSAGE_NEW, DC_MESSAGE_KNOWN, DC_MESSAGE_HELD };
struct dc_db_batch *dc_repo_matrix_message_insert(struct dc_db *db, const struct dc_message *m,
                                                  const struct dc_message_origin *origin,
                                                  const struct dc_feed_event *event,
                                                  const struct dc_owed_message *owed);
enum dc_message_outcome dc_repo_matrix_message_stored(const struct dc_db_result *const *results,
                                                      size_t n, struct dc_message *m,
                                                      int64_t owed_ids[DC_OWED_OF_MESSAGE]);

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
/* Oldest first. Results: [0] rows. */
struct dc_db_batch *dc_repo_feed_since(struct dc_db *db, struct dc_utc since, int64_t limit);
void dc_repo_read_feed(const struct dc_db_result *r, size_t row, struct dc_feed_event *e);

#endif
