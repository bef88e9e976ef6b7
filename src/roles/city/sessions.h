/* Native sessions of this gateway (DESIGN §6): every socket that stands for a person is one; what
 * it does is told to the presence aggregators on the bus (roles/session_event.h) and kept here, so
 * that a new aggregator can ask for everything again (city.presence.announce).  Telling is fire and
 * forget: what is lost is mended by the next beat, at the latest by the end of the lease.
 *
 * A gateway that was stopped for a while (its loop finds that time has jumped) or cut off from the
 * bus tells all its sessions by itself.  Time in which it did not run does not count against them:
 * nobody could beat.  A session whose client has not beaten for a whole lease is not announced: it
 * has ended, whatever its socket says, until it beats again. */
#ifndef DC_ROLES_CITY_SESSIONS_H
#define DC_ROLES_CITY_SESSIONS_H

#include "roles/city/rooms.h"

/* What a session knows of its person. A room's socket knows nothing: it is passive, and counts as
 * online only while no heartbeat says otherwise. */
enum dc_session_activity { DC_SESSION_PASSIVE, DC_SESSION_ONLINE, DC_SESSION_AWAY };

/* Embedded in a socket, of which there are very many: the order of the members is that of their
 * sizes. */
struct dc_session {
    struct dc_list link;
    uint64_t number;           /* of this gateway; others see "<gateway>-<number>" */
    char *names;               /* user_id, and username behind it */
    struct dc_city_room *room; /* joined, or NULL */
    int64_t beaten_at_ms;      /* monotonic, less the time in which nothing ran */
    uint16_t user_id_len, username_len;
    uint8_t activity; /* enum dc_session_activity */
    bool is_live;     /* has beaten */
};
/* Borrowed until it is named otherwise or freed. */
static inline struct dc_slice dc_session_user_id(const struct dc_session *s)
{
    return dc_slice_make(s->names, s->user_id_len);
}
static inline struct dc_slice dc_session_username(const struct dc_session *s)
{
    return dc_slice_make(s->names + s->user_id_len, s->username_len);
}

/* Takes a token of the user's bucket for joining, leaving and typing marks, each of which everybody
 * hears: 0, or the milliseconds to wait. */
uint64_t dc_city_presence_wait_ms(struct dc_city *city, struct dc_slice user_id);

struct dc_city_sessions;
DC_MUST_USE enum dc_status dc_sessions_create(struct dc_city *city, struct dc_city_sessions **out,
                                              struct dc_error *err);
/* All sessions must have been closed. NULL is allowed. */
void dc_sessions_destroy(struct dc_city_sessions *ss);

/* Gives the session its number and its person; nothing is told yet. *s is zeroed memory. */
void dc_session_init(struct dc_city *city, struct dc_session *s, struct dc_slice user_id,
                     struct dc_slice username);
/* It is another person's, which only a session that has never beaten may become. */
void dc_session_name(struct dc_session *s, struct dc_slice user_id, struct dc_slice username);
/* Renews the lease, and the kv key presence:user:{id} for those who read it (city-backend §3):
 * nothing here depends on the key, so a store that is down is logged once and otherwise ignored.
 * Beats that say nothing new are told at most 64 times in a lease, however many a client sends: so
 * a lease may end a 64th early. */
void dc_session_beat(struct dc_city *city, struct dc_session *s, enum dc_session_activity activity);
/* A sign of life that need not be told each time: beats when a quarter of the lease has passed. */
void dc_session_alive(struct dc_city *city, struct dc_session *s);
void dc_session_join(struct dc_city *city, struct dc_session *s, struct dc_city_room *room);
void dc_session_leave(struct dc_city *city, struct dc_session *s);
/* Nothing without a room. */
void dc_session_typing(struct dc_city *city, struct dc_session *s, bool is_typing);
/* The page is gone; a later beat brings it back. Harmless for one that never beat. */
void dc_session_close(struct dc_city *city, struct dc_session *s);
/* The socket is gone: closes, and frees the names. */
void dc_session_deinit(struct dc_city *city, struct dc_session *s);

/* Joining or leaving over HTTP: a session of the user's own that lives as long as he shows up
 * anywhere.  Nobody repeats it, so it fails when it could not be told. */
DC_MUST_USE enum dc_status dc_sessions_http_member(struct dc_city *city, struct dc_slice user_id,
                                                   struct dc_slice username,
                                                   const struct dc_city_room *room, bool joins);
/* Tells the aggregators that there is a room. */
void dc_sessions_announce_room(struct dc_city *city, const struct dc_city_room *room);
/* For the watch on the clock, and for tests: nothing has run for this long.  Renews, some in each
 * turn, all sessions whose clients are alive. */
void dc_sessions_have_slept(struct dc_city *city, int64_t slept_ms);

#endif
