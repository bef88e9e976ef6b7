/* Matrix rooms that have been replaced, or are gone.  When a room is upgraded (m.room.tombstone)
 * the homeserver moves its alias to the new room, and the row of the city follows: to where the
 * alias leads, if the gateway finds that room to be the city's.
 *
 * Two notice it: the presence aggregator, which sees the tombstone (POST
 * /internal/city/matrix/moved), and who is refused when he speaks for a resident in the old room.
 * Neither is believed: they only make us look.  A tombstone comes before the alias moves, so we
 * look again for about a minute.
 *
 * A room that the homeserver's administrator has deleted is gone with its alias: it is made again,
 * as one that never had any. */
#ifndef DC_ROLES_CITY_MATRIX_MOVES_H
#define DC_ROLES_CITY_MATRIX_MOVES_H

#include "roles/city/rooms.h"

void dc_matrix_moves_start(struct dc_city *city);
/* Nothing is looked at any more; what is under way ends with city->pending. */
void dc_matrix_moves_stop(struct dc_city *city);
/* Nothing may be under way.  Never started is allowed. */
void dc_matrix_moves_destroy(struct dc_city *city);
/* is_told: somebody has seen the tombstone; else it is a suspicion: one look, and not often. */
void dc_matrix_moves_look(struct dc_city *city, struct dc_city_room *room, bool is_told);
/* The homeserver knows nothing of the room's Matrix room. */
void dc_matrix_moves_gone(struct dc_city *city, struct dc_city_room *room);

#endif
