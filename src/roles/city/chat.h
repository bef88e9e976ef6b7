/* What must reach others after a commit: messages, feed events, new rooms — published on the bus,
 * and brought from the bus to this process's sockets and directory. */
#ifndef DC_ROLES_CITY_CHAT_H
#define DC_ROLES_CITY_CHAT_H

#include "roles/city/repo.h"

/* Subscribes, before the directory is loaded: what a load does not see is heard. */
DC_MUST_USE enum dc_status dc_chat_start(struct dc_city *city, struct dc_error *err);
/* Harmless when it was not started. */
void dc_chat_stop(struct dc_city *city);

/* Subject city.chat.<room>, id = message id.  A failure is logged; the next message of the room
 * makes others read this one from the database. */
void dc_chat_announce_message(struct dc_city *city, const struct dc_message *m);
/* Subject city.event.feed. */
void dc_chat_announce_event(struct dc_city *city, const struct dc_feed_event *e);
/* Subject city.event.room: a room was created; others learn it, the aggregator too. */
void dc_chat_announce_room(struct dc_city *city, const struct dc_room_row *row);

/* Hands a message to the sockets and the directory, unless its position has been passed already. */
void dc_chat_deliver(struct dc_city_room *room, const struct dc_message *m);

/* A room's topics (chat, crowd) exist while sockets are in it: each calls enter once it is open,
 * and leave when it has closed. */
void dc_chat_enter_topics(struct dc_city *city, struct dc_city_room *room);
void dc_chat_leave_topics(struct dc_city_room *room);

#endif
