/* The gateway's view of presence: what the aggregator published, ready for browsers
 * (global-presence §6, CONTRACT §2.11-2.12).  Keeps counts in the rooms of the directory, people of
 * each room (bounded), people online in the city, and the topics of the presence sockets and SSE.
 */
#ifndef DC_ROLES_CITY_PEOPLE_H
#define DC_ROLES_CITY_PEOPLE_H

#include "roles/city/rooms.h"

/* People kept by name for each room; counts are exact beyond it. */
#define DC_PEOPLE_PER_ROOM 200

struct dc_person {
    struct dc_slice user_id, username;
    struct dc_slice status; /* "online" or "away" */
    bool is_typing;
};

struct dc_city_people;
DC_MUST_USE enum dc_status dc_people_create(struct dc_city *city, struct dc_city_people **out,
                                            struct dc_error *err);
void dc_people_destroy(struct dc_city_people *p);

struct dc_topic *dc_people_rooms_topic(struct dc_city_people *p);   /* frames with `type` */
struct dc_topic *dc_people_users_topic(struct dc_city_people *p);   /* frames with `event` */
struct dc_topic *dc_people_summary_topic(struct dc_city_people *p); /* SSE */

/* First frames of a presence socket, framed and counted: made once for each change of state and
 * shared. Borrowed; NULL: out of memory. */
struct dc_blob *dc_people_snapshot(struct dc_city_people *p);
struct dc_blob *dc_people_bulk_update(struct dc_city_people *p);
/* JSON of /presence/summary. */
void dc_people_write_summary(struct dc_city_people *p, struct dc_strbuf *out);

typedef void (*dc_person_cb)(void *data, const struct dc_person *person);
/* At most max people of a room, longest present first. */
void dc_people_visit_room(struct dc_city_people *p, const struct dc_city_room *room, size_t max,
                          dc_person_cb cb, void *data);
/* Sends presence.update of somebody who is online once more: the first heartbeat of each connection
 * is shown, even if nothing changed (CONTRACT §2.11). */
void dc_people_repeat(struct dc_city_people *p, struct dc_slice user_id);

#endif
