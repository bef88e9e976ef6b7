/* The one place where what a homeserver says becomes our statuses and codes.  Pure.
 *
 * The homeserver's own text never goes on: it may quote what was sent.  Its errcode does, as far as
 * it is made of letters, digits, '_' and '.'.
 *
 *   code                     status  when
 *   matrix_unavailable       503     no connection; 502, 503, 504; the server's own limit of users
 *   matrix_timeout           504     no answer within the deadline (what was asked may be done)
 *   rate_limited             429     M_LIMIT_EXCEEDED, or any other 429
 *   matrix_token_refused     401     M_UNKNOWN_TOKEN, M_MISSING_TOKEN, any other 401
 *   matrix_user_deactivated  403     M_USER_DEACTIVATED, M_USER_LOCKED, M_USER_SUSPENDED
 *   matrix_forbidden         403     M_FORBIDDEN, any other 403 with an errcode
 *   not_found                404     M_NOT_FOUND, any other 404 with an errcode but M_UNRECOGNIZED
 *   matrix_in_use            409     M_ROOM_IN_USE, M_USER_IN_USE, any other 409 with an errcode
 *   matrix_exclusive         409     M_EXCLUSIVE
 *   matrix_too_large         413     M_TOO_LARGE
 *   matrix_bad_answer        502     everything else: no JSON, no such endpoint, 500, a redirect */
#ifndef DC_MATRIX_MATRIX_ERROR_H
#define DC_MATRIX_MATRIX_ERROR_H

#include "base/json.h"

/* What the connection made of a call that got no answer (st is not DC_OK): DC_CANCELED, DC_CLOSED
 * and DC_NO_MEMORY stay what they are. */
enum dc_status dc_matrix_error_of_connection(enum dc_status st, const struct dc_error *cause,
                                             struct dc_error *err);
/* An answer with a status outside 200..299.  json: its body, or NULL when that is no JSON object.
 * Never DC_OK. */
enum dc_status dc_matrix_error_of_answer(int http_status, const json_t *json, struct dc_error *err);
/* An answer with a good status that is not what was asked for. what_z: "a room id" … */
enum dc_status dc_matrix_bad_answer(struct dc_error *err, const char *what_z);

/* retry_after_ms of the body; -1: none, or no number that makes sense. */
int64_t dc_matrix_retry_after_ms(const json_t *json);

#endif
