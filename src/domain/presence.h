/* Presence core (DESIGN §6; specs/global-presence-aggregator.md §3-5; city-backend §3): users,
 * rooms, members, typing, leases and the throttle.  Pure: fed with events and the time (monotonic
 * ms for leases, UTC ms for stamps), reports through callbacks, does no I/O.  Cost of a change is
 * O(rooms of that user); nothing ever scans.
 *
 * A user is one person, known by one id here (the pairing of DAARION and Matrix ids happens
 * before). Sources of a status:
 *   - native sessions: (session id, user) with a lease; online or away;
 *   - Matrix: m.presence of the user.
 * Any source online -> online; else any away -> away; else any passive session -> online; else
 * offline.
 * Members of a room for counting: sessions that joined it and Matrix members; each user once.
 * online_count counts members that are not offline, away_count those that are away.
 *
 * Rooms publish: at once if the window since the last publication is over, else once when it ends,
 * with the final state; never a state equal to the last one published (what counts as published
 * before the first time: nobody here, nobody typing). Equal means: the counts, the typing users and
 * the sample; last_event does not count.
 *
 * All ids are bytes: 1 to DC_PRESENCE_ID_MAX of them, whatever they are; usernames and slugs are
 * at most as long (empty allowed). Anything else is DC_INVALID and changes nothing.
 *
 * A user is forgotten when he is offline, without session, membership and typing; the rest of the
 * memory is bounded by the max_ options.  A membership is one object for a user and a room,
 * whatever its sources. */
#ifndef DC_DOMAIN_PRESENCE_H
#define DC_DOMAIN_PRESENCE_H

#include "base/slice.h"
#include "base/status.h"
#include "base/time.h"

enum dc_presence_status { DC_PRESENCE_OFFLINE, DC_PRESENCE_AWAY, DC_PRESENCE_ONLINE };
/* "offline", "unavailable", "online": Matrix and NATS words. */
const char *dc_presence_status_name(enum dc_presence_status s);
/* "offline", "away", "online": the words of the browser's frames. */
const char *dc_presence_status_word(enum dc_presence_status s);

enum dc_presence_member_change { DC_MEMBER_JOINED, DC_MEMBER_LEFT, DC_MEMBER_STATUS };

struct dc_presence;

struct dc_presence_room_state {
    struct dc_slice room_id; /* city room id */
    struct dc_slice slug;
    uint32_t online_count; /* away included */
    uint32_t away_count;
    uint32_t typing_count;
    const struct dc_slice *typing_users; /* up to DC_PRESENCE_SAMPLE, in order of start */
    size_t n_typing_users;
    const struct dc_slice
        *online_users; /* a sample of up to DC_PRESENCE_SAMPLE, longest present first */
    size_t n_online_users;
    struct dc_utc last_event;
};
#define DC_PRESENCE_SAMPLE 20
#define DC_PRESENCE_ID_MAX 255

struct dc_presence_user_state {
    struct dc_slice user_id;
    struct dc_slice username; /* the newest known; may be empty */
    enum dc_presence_status status;
    struct dc_utc last_active;
};

struct dc_presence_totals {
    uint32_t online, away; /* users; away is counted in online too */
};

/* All run inside the call that caused them (or inside dc_presence_tick) and must not call back into
 * the core, except for reads. Everything is borrowed. NULL callbacks are allowed.
 * A call reports its net effect: a user whose two sessions end in one tick goes offline once; a
 * room is published once, after everything else. Within a call the order is: memberships and
 * typing that begin or end, then users and their status in rooms, then rooms, then totals. */
struct dc_presence_callbacks {
    /* A user's status has changed. Never throttled. */
    void (*user)(void *data, const struct dc_presence_user_state *u);
    /* A user counts or no longer counts as a member of a room (first session in, last session out),
     * or his status changed while he is one. Never throttled: room sockets show people. */
    void (*member)(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                   enum dc_presence_member_change change);
    /* Somebody starts or stops typing in a room. Never throttled. */
    void (*typing)(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                   bool is_typing);
    /* A room's state is to be published (throttled). */
    void (*room)(void *data, const struct dc_presence_room_state *r);
    /* City totals changed (throttled by the same window). */
    void (*totals)(void *data, const struct dc_presence_totals *t);
    /* What a user's own sessions say has changed, whatever Matrix says (u->status is theirs alone):
     * what a homeserver is to be told.  Comes before `user`. */
    void (*native)(void *data, const struct dc_presence_user_state *u);
};

struct dc_presence_opts {
    uint64_t lease_ms;       /* session, 40,000 */
    uint64_t close_grace_ms; /* a closed session's membership and status last so long, 5,000 */
    uint64_t typing_ms;      /* 6,000 */
    uint64_t throttle_ms;    /* 3,000 */
    /* Further ones: DC_LIMIT. None of them may be 0. */
    size_t max_users, max_rooms, max_sessions, max_rooms_per_user;
    /* About so many reports at most are caused by a tick for each kind of what ends (sessions,
     * typing, windows); the rest is due at once. 0: all of it, however much. */
    size_t tick_steps;
    uint64_t hash_seed[2];
};

/* DC_INVALID when a length is above a year, lease_ms or typing_ms is 0, or a limit is 0. */
DC_MUST_USE enum dc_status dc_presence_create(const struct dc_presence_opts *opts,
                                              const struct dc_presence_callbacks *cbs, void *data,
                                              struct dc_presence **out, struct dc_error *err);
/* Reports nothing. NULL is allowed. */
void dc_presence_destroy(struct dc_presence *p);

/* Now, for every call: mono for leases and windows, utc for stamps. Mono never goes back: an
 * earlier one than in a previous call counts as that of the previous call. utc may jump anywhere.
 */
struct dc_presence_now {
    struct dc_mono mono;
    struct dc_utc utc;
};

/* Rooms must be known before members count in them. Adding again changes the slug (a room that has
 * been published is published again under the new one). A removed room publishes nothing more: its
 * members and typing users go without a word. */
DC_MUST_USE enum dc_status dc_presence_room_add(struct dc_presence *p, struct dc_slice room_id,
                                                struct dc_slice slug, struct dc_presence_now now);
void dc_presence_room_remove(struct dc_presence *p, struct dc_slice room_id);
/* Nobody is a member (not even somebody offline) and nobody types. False for an unknown room. */
bool dc_presence_room_is_idle(const struct dc_presence *p, struct dc_slice room_id);

/* Reports the true state through the callback as if it were published for the first time, equal or
 * not: a window begins.  For owners whose audience has lost what it knew.  An unknown room:
 * nothing. */
void dc_presence_room_restate(struct dc_presence *p, struct dc_slice room_id,
                              struct dc_presence_now now);
void dc_presence_totals_restate(struct dc_presence *p, struct dc_presence_now now);

/* Native sessions.  beat starts or renews (username may be empty: unchanged).  Status ONLINE or
 * AWAY is what the person does; OFFLINE makes the session passive: somebody is there (a room's
 * socket, a join over HTTP) but it does not know what he does, so it counts as online only while no
 * other source says anything. A beat during the grace of a close revives the session. A session of
 * another user answers DC_CONFLICT. Only dc_presence_tick ends leases: until then a late beat still
 * renews. Joining needs a live session (one in its grace still is) and a known room (DC_NOT_FOUND
 * otherwise); idempotent. */
DC_MUST_USE enum dc_status
dc_presence_session_beat(struct dc_presence *p, struct dc_slice session_id, struct dc_slice user_id,
                         struct dc_slice username, enum dc_presence_status status,
                         struct dc_presence_now now);
DC_MUST_USE enum dc_status dc_presence_session_join(struct dc_presence *p,
                                                    struct dc_slice session_id,
                                                    struct dc_slice room_id,
                                                    struct dc_presence_now now);
void dc_presence_session_leave(struct dc_presence *p, struct dc_slice session_id,
                               struct dc_slice room_id, struct dc_presence_now now);
/* It has beaten and has not ended yet (one in its grace has not). */
bool dc_presence_session_is_known(const struct dc_presence *p, struct dc_slice session_id);
/* The socket is gone: the session ends after the grace unless it beats again (closing again does
 * not prolong the grace). With is_final: at once. */
void dc_presence_session_close(struct dc_presence *p, struct dc_slice session_id, bool is_final,
                               struct dc_presence_now now);
/* Typing by a member; is_typing renews the typing lease. DC_NOT_FOUND when he is no member. It ends
 * too when the last of his sessions leaves the room. One lease for a user and a room, whichever
 * session renews it; a user typing natively and by Matrix counts once. */
DC_MUST_USE enum dc_status dc_presence_session_typing(struct dc_presence *p,
                                                      struct dc_slice session_id,
                                                      struct dc_slice room_id, bool is_typing,
                                                      struct dc_presence_now now);

/* While held no lease of a session ends, however late its beat is: for an owner who knows that
 * beats may be lost on their way to him.  What has not been renewed when the hold is over ends with
 * the next tick.  Graces, typing and windows go on. */
void dc_presence_hold_leases(struct dc_presence *p, bool is_held);

/* Matrix.  Idempotent, any order: a status may come before the first membership.  last_active 0:
 * unknown; an older one than is known changes nothing. Membership in an unknown room is
 * DC_NOT_FOUND. */
DC_MUST_USE enum dc_status dc_presence_matrix_status(struct dc_presence *p, struct dc_slice user_id,
                                                     enum dc_presence_status status,
                                                     struct dc_utc last_active,
                                                     struct dc_presence_now now);
DC_MUST_USE enum dc_status dc_presence_matrix_member(struct dc_presence *p, struct dc_slice user_id,
                                                     struct dc_slice room_id, bool is_member,
                                                     struct dc_presence_now now);
/* The whole current set of a room, as m.typing gives it; expires after ttl_ms (at most a day) by
 * itself, since a homeserver that restarts never says that typing has ended. Members or not, as
 * typing may come before the membership; the end of a user's Matrix membership ends it. An invalid
 * id or a user past max_users is left out and reported by DC_INVALID or DC_LIMIT, the others
 * count. */
DC_MUST_USE enum dc_status dc_presence_matrix_typing(struct dc_presence *p, struct dc_slice room_id,
                                                     const struct dc_slice *user_ids, size_t n,
                                                     uint64_t ttl_ms, struct dc_presence_now now);

/* Ends leases and windows that are over (tick_steps: some of them); returns the monotonic time of
 * the next one, which may have passed already, INT64_MAX: none. The owner calls it then (and may
 * call it any time). */
int64_t dc_presence_tick(struct dc_presence *p, struct dc_presence_now now);
/* When the next tick is due, without doing anything. */
int64_t dc_presence_next_due_ms(const struct dc_presence *p);

/* Reads: the true state now (not the last published). Lists are borrowed until the next change or
 * the next dc_presence_room_get. */
DC_MUST_USE bool dc_presence_room_get(const struct dc_presence *p, struct dc_slice room_id,
                                      struct dc_presence_room_state *out);
struct dc_presence_totals dc_presence_totals_get(const struct dc_presence *p);
enum dc_presence_status dc_presence_user_get(const struct dc_presence *p, struct dc_slice user_id);
/* What Matrix has said last of him, as dc_presence_matrix_status() was given it. */
enum dc_presence_status dc_presence_matrix_get(const struct dc_presence *p,
                                               struct dc_slice user_id);
typedef void (*dc_presence_visit_cb)(void *data, const struct dc_presence_user_state *u);
/* Members of a room that are not offline, longest present first, at most max. */
void dc_presence_room_members(const struct dc_presence *p, struct dc_slice room_id, size_t max,
                              dc_presence_visit_cb cb, void *data);
/* Users that are not offline, at most max. */
void dc_presence_online_users(const struct dc_presence *p, size_t max, dc_presence_visit_cb cb,
                              void *data);
bool dc_presence_is_member(const struct dc_presence *p, struct dc_slice user_id,
                           struct dc_slice room_id);
bool dc_presence_is_typing(const struct dc_presence *p, struct dc_slice user_id,
                           struct dc_slice room_id);
/* False, and *out untouched, when nothing is known of the user. */
DC_MUST_USE bool dc_presence_user_find_state(const struct dc_presence *p, struct dc_slice user_id,
                                             struct dc_presence_user_state *out);
/* Rooms that a session has joined; nothing for an unknown session. */
typedef void (*dc_presence_room_cb)(void *data, struct dc_slice room_id, struct dc_slice slug);
void dc_presence_session_rooms(const struct dc_presence *p, struct dc_slice session_id,
                               dc_presence_room_cb cb, void *data);

/* Rooms, oldest first, at most max. */
void dc_presence_visit_rooms(const struct dc_presence *p, size_t max, dc_presence_room_cb cb,
                             void *data);

/* Walks in slices, so that nobody waits for a large city: everybody who is not offline; all rooms;
 * the members of one room who are not offline.  restart begins anew, else the walk goes on where
 * the last slice ended; returns how many were visited, fewer than max at the end.  Between slices
 * (and in cb) anything may change: who is there all the time is visited exactly once, who comes
 * meanwhile maybe, who goes or comes back maybe not or twice.  cb must not remove the room that it
 * is called for.  One walk of each kind at a time; walking the members of a room that is gone, or
 * of another one than last time without restart, visits nobody. */
size_t dc_presence_walk_users(struct dc_presence *p, bool restart, size_t max,
                              dc_presence_visit_cb cb, void *data);
size_t dc_presence_walk_rooms(struct dc_presence *p, bool restart, size_t max,
                              dc_presence_room_cb cb, void *data);
size_t dc_presence_walk_members(struct dc_presence *p, struct dc_slice room_id, bool restart,
                                size_t max, dc_presence_visit_cb cb, void *data);

/* What the core knows now, and what it has held back so far; for metrics. */
struct dc_presence_counts {
    size_t users, sessions, rooms, memberships, typing;
    uint64_t throttled; /* changes of a room that fell into its window */
};
struct dc_presence_counts dc_presence_counts_get(const struct dc_presence *p);
/* Bytes held (with the allocator's share, estimated), for the stated bounds. */
size_t dc_presence_memory_bytes(const struct dc_presence *p);

#endif
