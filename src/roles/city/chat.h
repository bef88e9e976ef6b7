/* What reaches this process over the bus after commits, its own and those of others: messages, feed
 * events, new rooms — brought to its sockets and its directory. */
#ifndef DC_ROLES_CITY_CHAT_H
#define DC_ROLES_CITY_CHAT_H

#include "roles/city/repo.h"

/* Subscribes, before the directory is loaded: what a load does not see is heard. */
DC_MUST_USE enum dc_status dc_chat_start(struct dc_city *city, struct dc_error *err);
/* Harmless when it was not started. */
void dc_chat_stop(struct dc_city *city);

/* Tells the sockets that asked for the feed of a room that they have not been told of. */
void dc_chat_tell_of_room(struct dc_city *city, struct dc_city_room *room);
/* The directory has a new row of it: tells whom it concerns. */
void dc_chat_room_changed(struct dc_city *city, const struct dc_city_room *room, bool was_archived);
/* Hands a message to the sockets and the directory, unless its position has been passed already.
 * False: no memory for its frame.  It has not been passed then, and what follows it must not be
 * delivered: sockets would have a hole. */
bool dc_chat_deliver(struct dc_city_room *room, const struct dc_message *m);
/* This process has committed it.  When it is the next one its sockets need not wait for the bus,
 * and who reads here finds what he has just written; else the bus brings it in its turn. */
void dc_chat_committed(struct dc_city_room *room, const struct dc_message *m);

/* A room's topics (chat, crowd) exist while sockets are in it: each calls enter once it is open,
 * and leave when it has closed. */
void dc_chat_enter_topics(struct dc_city *city, struct dc_city_room *room);
void dc_chat_leave_topics(struct dc_city_room *room);

#endif
