/* What homeservers answer, read with suspicion: a member that is missing, of another type, too long
 * or no plain text makes the answer a bad one (DC_UPSTREAM, matrix_bad_answer).  Pure; texts are
 * borrowed from the JSON. */
#ifndef DC_MATRIX_MATRIX_READ_H
#define DC_MATRIX_MATRIX_READ_H

#include "base/json.h"

/* createRoom, join, directory/room */
DC_MUST_USE enum dc_status dc_matrix_read_room_id(const json_t *json, struct dc_slice *room_id,
                                                  struct dc_error *err);
/* send, events */
DC_MUST_USE enum dc_status dc_matrix_read_event_id(const json_t *json, struct dc_slice *event_id,
                                                   struct dc_error *err);
/* whoami, register: "@local:server_name" of this very server. Of another one: DC_CONFIG, code
 * matrix_misconfigured, naming both. */
DC_MUST_USE enum dc_status dc_matrix_read_user_id(const json_t *json, struct dc_slice server_name,
                                                  struct dc_slice *user_id, struct dc_error *err);
/* login, register: a token that can stand in a header; device_id is DC_SLICE_NULL when the token
 * belongs to no device. */
DC_MUST_USE enum dc_status dc_matrix_read_login(const json_t *json, struct dc_slice *token,
                                                struct dc_slice *device_id, struct dc_error *err);
DC_MUST_USE enum dc_status dc_matrix_read_nonce(const json_t *json, struct dc_slice *nonce,
                                                struct dc_error *err);
/* A user id of any server: "sender" of an event, "creator" of a room in the admin interface.  Who
 * made a room is the sender of its m.room.create event; the content of that event is what somebody
 * wrote. */
DC_MUST_USE enum dc_status dc_matrix_read_user(const json_t *json, const char *key_z,
                                               struct dc_slice *user_id, struct dc_error *err);
/* A text that may be missing or null (then DC_SLICE_NULL), such as a room's name; what is no text,
 * or has NUL in it, is taken for missing: anybody may have written it. */
struct dc_slice dc_matrix_read_text(const json_t *json, const char *key_z);

#endif
