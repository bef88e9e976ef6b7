/* The gateway's view of presence: what the aggregator published, ready for browsers
 * (global-presence §6, CONTRACT §2.11-2.12).  Keeps the published counts in the rooms of the
 * directory, the people of each room by name, the people online in the city, and the topics of the
 * presence sockets, of SSE and of the crowd of each open room.
 *
 * The view holds as much as the aggregator counts (its limits bound it) and nothing of its own: no
 * leases, nobody times out here.  It changes only by what the leader says; when something may have
 * been missed it stays as it is, is called stale, and the leader is asked to say all of it again
 * (roles/presence_event.h).  The word is in `state` of snapshot, city.presence and presence_update:
 * "fresh" while the leader is heard and everything it said has been, else "stale".
 *
 * online_total and away_total are the same everywhere: the people known here by name, as of the
 * moment of writing.  Frames of city.presence come at most once in ROOM_PRESENCE_THROTTLE_MS (and
 * when `state` changes); the last numbers always arrive. */
#ifndef DC_ROLES_CITY_PEOPLE_H
#define DC_ROLES_CITY_PEOPLE_H

#include "roles/city/rooms.h"

struct dc_person {
    struct dc_slice user_id, username;
    struct dc_slice status; /* "online" or "away" */
};

struct dc_city_people;
/* The topics are there at once, empty. */
struct dc_city_people *dc_people_create(struct dc_city *city);
/* Listens to the bus; rooms that the directory does not know by then are not heard of.  On failure
 * it can be tried again. */
DC_MUST_USE enum dc_status dc_people_start(struct dc_city_people *p, struct dc_error *err);
/* read runs once, in a later turn: when what the bus had at the start has been heard, so that the
 * first snapshot is no row of zeros; or after two seconds, when the bus is away. */
void dc_people_on_read(struct dc_city_people *p, void (*read)(void *data), void *data);
/* Also forgets the people of all rooms; before dc_city_rooms_destroy.  NULL is allowed. */
void dc_people_destroy(struct dc_city_people *p);

struct dc_topic *dc_people_rooms_topic(struct dc_city_people *p);   /* frames with `type` */
struct dc_topic *dc_people_users_topic(struct dc_city_people *p);   /* frames with `event` */
struct dc_topic *dc_people_summary_topic(struct dc_city_people *p); /* SSE */

/* First frames of a presence socket, framed and counted, and the offset of the topic at which they
 * stand: join it from there.  Made once for each change of state and shared; in a burst of changes
 * made once for each 100 entries and millisecond, and then some changes behind the topic, which
 * sends what is missing.  Borrowed; NULL: out of memory. */
struct dc_blob *dc_people_snapshot(struct dc_city_people *p, uint64_t *offset);
struct dc_blob *dc_people_bulk_update(struct dc_city_people *p, uint64_t *offset);
/* JSON of /presence/summary, left open for the cursor.  Made as seldom as the first frames; the
 * summary's topic gets what is missing when its interval is over. */
void dc_people_write_summary(struct dc_city_people *p, struct dc_strbuf *out);

typedef void (*dc_person_cb)(void *data, const struct dc_person *person);
/* At most max people of a room who are not offline, longest present first. */
void dc_people_visit_room(const struct dc_city_room *room, size_t max, dc_person_cb cb, void *data);
/* At most max of those who type. */
void dc_people_visit_typing(const struct dc_city_room *room, size_t max, dc_person_cb cb,
                            void *data);
/* Counts as they are now, by the people known by name; the published ones, which may be a
 * throttle's window behind, only where not all of them are. */
void dc_people_count_room(const struct dc_city_room *room, uint32_t *online, uint32_t *away);
/* This gateway has heard that the user is in the room. */
bool dc_people_is_member(const struct dc_city_room *room, struct dc_slice user_id);
/* Sends presence.update of somebody who is online once more: the first heartbeat of each connection
 * is shown, even if nothing changed (CONTRACT §2.11). */
void dc_people_repeat(struct dc_city_people *p, struct dc_slice user_id);

#endif
