/* Bringing this process up to what the database has.  A message may be committed without this
 * process having heard of it: its predecessor was killed between commit and announcement, a
 * connection died during a commit, an announcement was lost on the way.  Nobody may notice a hole:
 * live sockets get what is missing, in order, before anything newer (DESIGN §3 rule 6). */
#ifndef DC_ROLES_CITY_CATCH_UP_H
#define DC_ROLES_CITY_CATCH_UP_H

#include "roles/city/repo.h"

struct dc_catch_up;
/* Starts in doubt (see below): what came before this process may still be committing. */
struct dc_catch_up *dc_catch_up_create(struct dc_city *city);
/* No operation may be pending any more (dc_city_pending_end). Freed when its timer has closed. */
void dc_catch_up_destroy(struct dc_catch_up *cu);

/* Reads what the room has after its last known position and delivers it (dc_chat_deliver). */
void dc_catch_up_room(struct dc_city *city, struct dc_city_room *room);
/* Something may have been committed unheard: for some seconds the positions of all rooms are
 * compared with the database, rooms that other processes have made are found, and sockets that
 * resume are served from it. */
void dc_catch_up_doubt(struct dc_city *city);
bool dc_catch_up_is_in_doubt(const struct dc_city *city);
/* The same, and rows of the outbox may have been committed that nobody publishes: after a commit
 * without a known outcome, and when the bus was interrupted. */
void dc_city_doubt(struct dc_city *city);
/* A message of a room that this process does not know (yet): reads the room. */
void dc_catch_up_unknown(struct dc_city *city, struct dc_slice room_id);

#endif
