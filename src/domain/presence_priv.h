/* Inside of the presence core: the objects, their links, and what its files offer each other.
 *
 *   user --< session          user.sessions
 *   user --< membership >-- room   user.places; room.present or room.absent
 *   user --< typing >-- room       user.typing, room.typing (in order of start)
 *
 * A membership is in room.present while its user is not offline, ordered by since when, so the
 * sample "longest present first" is the head of the list and offline members cost nothing.
 *
 * Every call works in two steps. First the sources change (sessions, Matrix, memberships, typing);
 * whoever is touched is marked dirty.  Then dc_presence_settle() derives the status of dirty users,
 * moves the counters of their rooms, and publishes dirty rooms. user.status changes there and
 * nowhere else, so the counters of a room always agree with it. */
#ifndef DC_DOMAIN_PRESENCE_PRIV_H
#define DC_DOMAIN_PRESENCE_PRIV_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "domain/presence.h"

/* "Never", for deadlines. */
#define DC_PRESENCE_NEVER INT64_MAX

struct dc_presence_user {
    struct dc_list online_link; /* dc_presence.online, while not offline */
    struct dc_list dirty_link;  /* dc_presence.dirty_users */
    struct dc_list sessions;
    struct dc_list typing;
    /* A status change goes through all of them, and rooms are fewer than memberships: with the room
     * beside the membership in one piece of memory, most of it is in the processor's cache. */
    struct dc_presence_place {
        struct dc_presence_room *room;
        struct dc_presence_membership *membership;
    } * places;
    uint32_t n_places, cap_places;
    struct dc_utc last_active;
    char *username;                   /* username_len bytes, no NUL; NULL when empty */
    uint32_t n_sessions_by_status[3]; /* by enum dc_presence_status; OFFLINE: passive ones */
    uint8_t status;                   /* enum dc_presence_status: as reported and counted */
    uint8_t matrix_status;            /* enum dc_presence_status */
    uint8_t native_status;            /* enum dc_presence_status: as reported */
    uint8_t username_len;
    uint8_t id_len;
    char id[];
};
_Static_assert(DC_PRESENCE_ID_MAX <= UINT8_MAX, "lengths of ids are kept in one byte");

/* What a change of a member's status touches comes first. */
struct dc_presence_room {
    struct dc_list dirty_link; /* dc_presence.dirty_rooms */
    int64_t window_end_ms;     /* INT64_MIN: never published */
    struct dc_utc last_event;
    uint32_t online_count, away_count, typing_count;
    uint8_t slug_len, id_len;
    struct dc_heap_node window;     /* in dc_presence.windows while a change waits for the end */
    struct dc_list present, absent; /* memberships by room_link; present may hold a mark */
    struct dc_list typing;
    struct dc_list order_link; /* dc_presence.room_order */
    char *slug;
    /* Last published: counts, and slug and ids of the lists as length byte and bytes. */
    uint32_t published_online, published_away, published_typing;
    uint32_t published_len, published_cap;
    char *published;
    char id[];
};

struct dc_presence_membership {
    struct dc_list room_link;
    struct dc_presence_user *user;
    struct dc_presence_room *room;
    uint32_t place;           /* in user.places */
    uint32_t n_sessions : 31; /* sessions that joined */
    uint32_t is_matrix : 1;
};

struct dc_presence_session {
    struct dc_list user_link;
    struct dc_list lease_link; /* dc_presence.leases or .graces */
    struct dc_presence_user *user;
    struct dc_presence_membership **joined;
    uint32_t n_joined, cap_joined;
    int64_t ends_ms;
    uint8_t status;
    bool is_closing;
    uint8_t id_len;
    char id[];
};

enum { DC_TYPING_NATIVE, DC_TYPING_MATRIX, DC_TYPING_SOURCES };
struct dc_presence_typing {
    struct dc_list user_link, room_link;
    struct dc_heap_node lease; /* at the earliest of until_ms */
    struct dc_presence_user *user;
    struct dc_presence_room *room;
    int64_t until_ms[DC_TYPING_SOURCES]; /* DC_PRESENCE_NEVER: this source says no */
    uint64_t generation;                 /* of the Matrix set that named it last */
};

/* Room for one published state. */
struct dc_presence_scratch {
    struct dc_slice typing[DC_PRESENCE_SAMPLE];
    struct dc_slice online[DC_PRESENCE_SAMPLE];
    char packed[(1 + 2 * DC_PRESENCE_SAMPLE) * (1 + DC_PRESENCE_ID_MAX)];
};

struct dc_presence {
    struct dc_presence_opts opts;
    struct dc_presence_callbacks cbs;
    void *data;
    struct dc_presence_now now;
    struct dc_map users, rooms, sessions;
    struct dc_list online;     /* users not offline, longest first; may hold a mark */
    struct dc_list room_order; /* all rooms, oldest first; may hold a mark */
    /* Where walks stand: a node of the list that is walked, alone when there is no walk.  Whoever
     * goes through these lists passes over it (presence_walk.c). */
    struct dc_list user_mark, room_mark, member_mark;
    const struct dc_presence_room *walked_room; /* member_mark is in its list */
    /* Both lists hold one length each and mono never goes back, so appending keeps them sorted by
     * ends_ms: renewing a lease is O(1). */
    struct dc_list leases, graces;
    struct dc_heap typing_leases, windows;
    struct dc_list dirty_users, dirty_rooms;
    struct dc_presence_totals totals, published_totals;
    int64_t totals_window_end_ms; /* INT64_MIN: never published */
    int64_t totals_due_ms;        /* DC_PRESENCE_NEVER: nothing waits */
    uint64_t typing_generation;
    size_t n_memberships, n_typing;
    uint64_t n_throttled;
    bool are_leases_held;
    size_t bytes;                     /* of objects; tables come on top */
    bool is_busy;                     /* inside a change: callbacks must not change anything */
    struct dc_presence_scratch *read; /* separate from publish: callbacks may read */
    struct dc_presence_scratch publish;
};

/* presence.c */
bool dc_presence_id_ok(struct dc_slice id);
void dc_presence_begin(struct dc_presence *p, struct dc_presence_now now);
/* Derives, reports and publishes everything that is dirty; the end of every change. */
void dc_presence_settle(struct dc_presence *p);
int64_t dc_presence_after(const struct dc_presence *p, uint64_t length_ms);
void *dc_presence_new(struct dc_presence *p, size_t size);
void dc_presence_drop(struct dc_presence *p, void *ptr, size_t size);

/* presence_users.c */
struct dc_presence_user *dc_presence_user_find(const struct dc_presence *p, struct dc_slice id);
/* Finds or makes; NULL at max_users. A new user must be given something to live for, or be marked
 * dirty: settling forgets him otherwise. */
struct dc_presence_user *dc_presence_user_need(struct dc_presence *p, struct dc_slice id);
void dc_presence_user_rename(struct dc_presence *p, struct dc_presence_user *u,
                             struct dc_slice username);
void dc_presence_user_dirty(struct dc_presence *p, struct dc_presence_user *u);
/* Derives the status, reports the change, forgets who is not needed any more. */
void dc_presence_user_settle(struct dc_presence *p, struct dc_presence_user *u);
void dc_presence_user_free(struct dc_presence *p, struct dc_presence_user *u);
struct dc_presence_user_state dc_presence_user_state(const struct dc_presence_user *u);

/* presence_sessions.c */
void dc_presence_session_free(struct dc_presence *p, struct dc_presence_session *s);
void dc_presence_session_forget_join(struct dc_presence_session *s,
                                     const struct dc_presence_membership *m);
void dc_presence_sessions_expire(struct dc_presence *p);

/* presence_members.c */
struct dc_presence_membership *dc_presence_member_find(const struct dc_presence_user *u,
                                                       const struct dc_presence_room *r);
/* Finds or makes (reported as joined); NULL at max_rooms_per_user. The caller adds its source. */
struct dc_presence_membership *dc_presence_member_need(struct dc_presence *p,
                                                       struct dc_presence_user *u,
                                                       struct dc_presence_room *r);
/* After a source has gone: ends the membership when it was the last one. */
void dc_presence_member_release(struct dc_presence *p, struct dc_presence_membership *m);
void dc_presence_member_free(struct dc_presence *p, struct dc_presence_membership *m);
/* Moves the counters and the lists of all rooms of u from one status to another. */
void dc_presence_members_restate(struct dc_presence *p, struct dc_presence_user *u,
                                 enum dc_presence_status from, enum dc_presence_status to);

/* presence_rooms.c */
struct dc_presence_room *dc_presence_room_find(const struct dc_presence *p, struct dc_slice id);
/* Something visible has changed: a publication is due. */
void dc_presence_room_dirty(struct dc_presence *p, struct dc_presence_room *r);
void dc_presence_room_settle(struct dc_presence *p, struct dc_presence_room *r);
void dc_presence_windows_expire(struct dc_presence *p);
void dc_presence_room_free(struct dc_presence *p, struct dc_presence_room *r);

/* presence_typing.c */
/* Ends what one source says, if it says anything. */
void dc_presence_typing_stop(struct dc_presence *p, struct dc_presence_user *u,
                             struct dc_presence_room *r, int source);
void dc_presence_typing_expire(struct dc_presence *p);
void dc_presence_typing_free(struct dc_presence *p, struct dc_presence_typing *t);

/* presence_walk.c */
/* Takes the mark out of a list that is about to be emptied. */
void dc_presence_walk_forget(struct dc_presence *p, const struct dc_presence_room *r);

static inline size_t dc_presence_tick_steps(const struct dc_presence *p)
{
    return p->opts.tick_steps == 0 ? SIZE_MAX : p->opts.tick_steps;
}

static inline struct dc_slice dc_presence_user_id(const struct dc_presence_user *u)
{
    return dc_slice_make(u->id, u->id_len);
}

static inline struct dc_slice dc_presence_room_id(const struct dc_presence_room *r)
{
    return dc_slice_make(r->id, r->id_len);
}

#endif
