/* The feed as sockets get it: events from the bus into the city's feed topic, each once, and what
 * the bus did not bring from the database (DESIGN §3 rule 6). */
#ifndef DC_ROLES_CITY_FEED_H
#define DC_ROLES_CITY_FEED_H

#include "roles/city/repo.h"

struct dc_feed;
struct dc_feed *dc_feed_create(struct dc_city *city);
/* NULL is allowed. */
void dc_feed_destroy(struct dc_feed *f);

/* An event from the bus and its text; one that has been seen lately is left out. */
void dc_feed_event(struct dc_city *city, const json_t *event, struct dc_slice text);
/* type_z: room.created, room.changed. */
void dc_feed_room(struct dc_city *city, const char *type_z, const struct dc_city_room *room);
/* The bus may have brought less than there was: reads what is newer than the newest event seen, and
 * delivers what has not been; or says reset to the audience, when that is too much or cannot be
 * read: they ask GET /city/feed then. */
void dc_feed_catch_up(struct dc_city *city);

/* Ids of events seen last; kept to know repetitions. */
#define DC_FEED_SEEN_MAX 2048
/* Missed events that are delivered late. */
#define DC_FEED_MISSED_MAX 200

#endif
