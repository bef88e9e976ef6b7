/* The city's side of its Matrix rooms: what city-service asks matrix-gateway for.  The gateway is
 * at MATRIX_GATEWAY_URL, or in this process (`up` with SYNAPSE_URL); with neither the city is for
 * itself, and its rooms have no Matrix rooms. */
#ifndef DC_ROLES_CITY_MATRIX_LINK_H
#define DC_ROLES_CITY_MATRIX_LINK_H

#include "base/json.h"
#include "roles/city/city.h"

/* DC_CONFIG when something is missing. */
DC_MUST_USE enum dc_status dc_matrix_link_open(struct dc_city *city, struct dc_error *err);
/* Calls under way end with DC_CANCELED. */
void dc_matrix_link_close(struct dc_city *city);
bool dc_matrix_link_is_on(const struct dc_city *city);

/* room is borrowed; NULL unless st is DC_OK. */
struct dc_matrix_room_ids {
    struct dc_slice room_id, alias;
};
typedef void (*dc_matrix_room_cb)(void *data, enum dc_status st,
                                  const struct dc_matrix_room_ids *room, int64_t retry_after_ms,
                                  const struct dc_error *err);
/* The room of a slug: made, or found when it is there already.  See rt/op.h; slug and name are
 * copied.  Failures: alias_taken (DC_CONFLICT); rate_limited (DC_LIMIT): the homeserver limits how
 * many rooms are made, and wants retry_after_ms; DC_INVALID: the gateway takes no such room.  All
 * others are DC_UNAVAILABLE: matrix_unavailable, or matrix_misconfigured when only an operator can
 * help. */
DC_MUST_USE enum dc_status dc_matrix_link_create(struct dc_city *city, struct dc_slice slug,
                                                 struct dc_slice name, dc_matrix_room_cb cb,
                                                 void *data, struct dc_error *err);
/* The same without making it: DC_NOT_FOUND when there is none. */
DC_MUST_USE enum dc_status dc_matrix_link_find(struct dc_city *city, struct dc_slice slug,
                                               dc_matrix_room_cb cb, void *data,
                                               struct dc_error *err);

/* Borrowed; NULL unless st is DC_OK.  retry_after_ms: with DC_LIMIT; -1: unknown. */
struct dc_matrix_session {
    struct dc_slice user_id, access_token, device_id, server_name;
};
typedef void (*dc_matrix_session_cb)(void *data, enum dc_status st,
                                     const struct dc_matrix_session *session,
                                     int64_t retry_after_ms, const struct dc_error *err);
/* A token of a resident's own account.  device_id ptr NULL: a device of its own.  Failures:
 * account_taken, matrix_user_deactivated, rate_limited, matrix_timeout as they come from the
 * gateway, else DC_UNAVAILABLE as above. */
DC_MUST_USE enum dc_status dc_matrix_link_session(struct dc_city *city, struct dc_slice user_id,
                                                  struct dc_slice username,
                                                  struct dc_slice device_id,
                                                  dc_matrix_session_cb cb, void *data,
                                                  struct dc_error *err);

/* Says in a Matrix room what was said here, as its author.  is_unsure: it may have been said
 * before.  Texts are copied. */
struct dc_matrix_saying {
    struct dc_slice matrix_room_id, user_id, username, body, message_id;
    bool is_unsure;
};
/* event_id is borrowed.  Failures as they come from the gateway: rt "final" ones are DC_FORBIDDEN,
 * DC_CONFLICT, DC_TOO_LARGE and DC_INVALID; chat_not_bridged; all others may pass, and what was
 * asked may have been done. */
typedef void (*dc_matrix_said_cb)(void *data, enum dc_status st, struct dc_slice event_id,
                                  int64_t retry_after_ms, const struct dc_error *err);
DC_MUST_USE enum dc_status dc_matrix_link_say(struct dc_city *city,
                                              const struct dc_matrix_saying *saying,
                                              dc_matrix_said_cb cb, void *data,
                                              struct dc_error *err);

#endif
