/* What is said here, said in the Matrix rooms too (docs/decisions/0011).  A row of matrix_outgoing
 * is committed with each message of a room that has a Matrix room; here the rows are sent to
 * matrix-gateway: of one room in the order of positions, one at a time; several rooms side by side;
 * all of them by one process, the holder of a lease.
 *
 * It is woken by commits: its own at once, those of other processes as the bus tells of them.  A
 * sweep finds what a dead process has left.  Whoever takes the lease, or got no clear answer, has
 * the gateway look whether the first message of a room has been said before.
 *
 * A homeserver that is away keeps the rows waiting.  One that refuses a message for good gets the
 * next one; the row stays, with the reason. */
#ifndef DC_ROLES_CITY_MATRIX_OUTGOING_H
#define DC_ROLES_CITY_MATRIX_OUTGOING_H

#include "roles/city/rooms.h"

/* Needs the rooms; without a gateway nothing is started. */
void dc_matrix_outgoing_start(struct dc_city *city);
/* Nothing is sent any more, the lease is given back. */
void dc_matrix_outgoing_stop(struct dc_city *city);
/* No operation may be pending any more.  Freed when its timers have closed. */
void dc_matrix_outgoing_destroy(struct dc_city *city);

/* Messages are to have rows. */
bool dc_matrix_outgoing_is_on(const struct dc_city *city);
/* A message has been committed by this process; has_row: it was to have one when it set out. */
void dc_matrix_outgoing_stored(struct dc_city *city, struct dc_city_room *room, uint64_t position,
                               bool has_row);
/* A message has been committed, here or elsewhere. */
void dc_matrix_outgoing_said(struct dc_city *city, struct dc_city_room *room, uint64_t position);
/* One that came from Matrix: nobody needs to look for it. */
void dc_matrix_outgoing_heard(struct dc_city_room *room, uint64_t position);

#endif
