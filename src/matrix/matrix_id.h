/* Matrix identifiers of the city (specs/matrix-rooms-bridge §3).  Pure.
 *
 *   room alias   #city_<slug>:<server>
 *   account      @daarion.<encoded id>:<server>
 *
 * The account's encoding is the one of the Matrix specification (appendices, "Mapping from other
 * character sets"): A-Z become '_' and the small letter, '_' becomes "__", every other byte that
 * is not a-z, 0-9, '.' or '-' becomes '=' and two hexadecimal digits.  Two ids never give one
 * account.  An id that would be too long is named by its SHA-256 behind "=_", which the encoding
 * never writes.  The prefix differs from the "daarion_" of earlier installations on purpose: their
 * accounts are named by cut ids, and one of them is an administrator. */
#ifndef DC_MATRIX_MATRIX_ID_H
#define DC_MATRIX_MATRIX_ID_H

#include "base/strbuf.h"

#define DC_MATRIX_ID_MAX_BYTES 255
/* So that the longest alias and the longest account still fit. */
#define DC_MATRIX_SERVER_NAME_MAX_BYTES 179
#define DC_MATRIX_USER_PREFIX           "daarion."
#define DC_MATRIX_ALIAS_PREFIX          "city_"

/* Append to *out. */
void dc_matrix_localpart(struct dc_slice daarion_user_id, struct dc_slice server_name,
                         struct dc_strbuf *out);
void dc_matrix_user_id(struct dc_slice daarion_user_id, struct dc_slice server_name,
                       struct dc_strbuf *out);
void dc_matrix_room_alias(struct dc_slice slug, struct dc_slice server_name, struct dc_strbuf *out);

enum dc_matrix_account_kind {
    DC_MATRIX_STRANGER, /* nobody's whom the city has made an account for */
    DC_MATRIX_RESIDENT, /* *daarion_user_id is his id */
    DC_MATRIX_HASHED,   /* a resident's, whose id is too long to stand in it */
};
/* Whose account that is on this server: undoes dc_matrix_user_id(), and takes nothing else that
 * looks similar. Appends to *daarion_user_id; an account of an empty id is a stranger's. */
enum dc_matrix_account_kind dc_matrix_account_of(struct dc_slice matrix_user_id,
                                                 struct dc_slice server_name,
                                                 struct dc_strbuf *daarion_user_id);

/* Takes "@local:server" or "#local:server" apart at the first colon.  false: another sigil, an
 * empty part, too long, no valid UTF-8, control characters or blanks. */
DC_MUST_USE bool dc_matrix_id_split(struct dc_slice id, char sigil, struct dc_slice *localpart,
                                    struct dc_slice *server_name);
/* '!' and something behind it; whether a server name follows depends on the room's version. */
bool dc_matrix_room_id_is_valid(struct dc_slice id);
/* '$' and something behind it. */
bool dc_matrix_event_id_is_valid(struct dc_slice id);
/* An alias of a city room on this server; *slug is set when it is. */
bool dc_matrix_alias_is_city(struct dc_slice alias, struct dc_slice server_name,
                             struct dc_slice *slug);

#endif
