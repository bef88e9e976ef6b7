/* What must reach others after a commit: messages, feed events, new rooms — published on the bus,
 * and brought from the bus to this process's sockets and directory. */
#ifndef DC_ROLES_CITY_CHAT_H
#define DC_ROLES_CITY_CHAT_H

#include "roles/city/repo.h"

/* Subscribes; the directory must be loaded. */
DC_MUST_USE enum dc_status dc_chat_start(struct dc_city *city, struct dc_error *err);
void dc_chat_stop(struct dc_city *city);

/* Subject city.chat.<room>, id = message id. A failure is logged by the bus: those who are behind
 * read the database. */
void dc_chat_announce_message(struct dc_city *city, const struct dc_message *m);
/* Subject city.event.feed. */
void dc_chat_announce_event(struct dc_city *city, const struct dc_feed_event *e);
/* Subject city.event.room: a room was created; others learn it, the aggregator too. */
void dc_chat_announce_room(struct dc_city *city, const struct dc_room_row *row);

/* The room's topics exist while somebody needs them. */
void dc_chat_open_topics(struct dc_city *city, struct dc_city_room *room);
void dc_chat_close_topics(struct dc_city_room *room);

#endif
