/* SQL about what is to be said in Matrix rooms (table matrix_outgoing; its rows are inserted with
 * their messages, repo.h). */
#ifndef DC_ROLES_CITY_MATRIX_REPO_H
#define DC_ROLES_CITY_MATRIX_REPO_H

#include "roles/city/repo.h"

/* Rooms with something to say.  Results: [0] a row for each, room id and how much. */
struct dc_db_batch *dc_matrix_repo_waiting(struct dc_db *db);
void dc_matrix_repo_read_waiting(const struct dc_db_result *r, size_t row, struct dc_slice *room_id,
                                 int64_t *n);
/* What a room has to say, in order.  Results: [0] rows. */
struct dc_db_batch *dc_matrix_repo_page(struct dc_db *db, struct dc_slice room_id, int64_t limit);
struct dc_matrix_owed {
    struct dc_slice message_id, user_id, username, body;
};
void dc_matrix_repo_read_owed(const struct dc_db_result *r, size_t row, struct dc_matrix_owed *o);
/* It has been said, and is that event.  DC_CONFLICT: another message is that event. */
struct dc_db_batch *dc_matrix_repo_said(struct dc_db *db, struct dc_slice room_id,
                                        struct dc_slice message_id, struct dc_slice event_id);
/* The homeserver will never take it. */
struct dc_db_batch *dc_matrix_repo_refused(struct dc_db *db, struct dc_slice room_id,
                                           struct dc_slice message_id, struct dc_slice code,
                                           struct dc_utc now);
/* Not to be said after all: one message, or all that wait. */
struct dc_db_batch *dc_matrix_repo_forget(struct dc_db *db, struct dc_slice room_id,
                                          struct dc_slice message_id);
struct dc_db_batch *dc_matrix_repo_forget_all(struct dc_db *db);

#endif
