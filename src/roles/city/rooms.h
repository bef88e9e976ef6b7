/* The room directory: every room of the city in memory, read at start and kept up to date by what
 * the bus tells (own writes come that way too).  Lists and details are answered from here, also
 * while the database is away.  Rooms are never removed while the process lives; pointers stay
 * valid. */
#ifndef DC_ROLES_CITY_ROOMS_H
#define DC_ROLES_CITY_ROOMS_H

#include "base/json.h"
#include "base/map.h"
#include "base/time.h"
#include "relay/relay.h"
#include "roles/city/city.h"

#define DC_ROOM_NAME_MAX        80
#define DC_ROOM_DESCRIPTION_MAX 500

struct dc_room_row {
    struct dc_slice id, slug, name, description; /* description may be NULL */
    bool is_default, is_archived;
    struct dc_utc created_at;
    struct dc_slice created_by, matrix_room_id, matrix_room_alias; /* may be NULL */
    uint64_t revision; /* grows with each change of the row */
};

/* The last words of a room, for cards. id NULL: none. */
struct dc_last_message {
    struct dc_slice id, username, snippet;
    struct dc_utc created_at;
};

/* Who is there; people.c keeps it.  The counts and typing_users are one published state of the
 * aggregator (throttled); the people by name follow each change at once, so for the length of a
 * window the two may differ. */
struct dc_room_people {
    uint32_t online_count, away_count, typing_count;
    int64_t last_event_ts;
    struct dc_strbuf typing_users; /* JSON array of ids that goes with the counts; empty: [] */
    struct dc_map by_user;         /* members of people.c, who are not offline */
    uint32_t away_by_name;         /* how many of them are away */
    bool is_sample;                /* there are more than this process knows by name */
    int64_t counts_gen;            /* people_sync.c: generation in which the counts were said */
    int64_t members_gen;           /* likewise of the newest whole list of members */
    struct dc_list present;        /* the same, longest present first */
    struct dc_list typing;         /* those of them who type */
};

/* What is to be said in its Matrix room; matrix_outgoing.c keeps it. */
struct dc_room_outgoing {
    struct dc_list link; /* of those that are ready, or that wait */
    enum { DC_OUTGOING_IDLE, DC_OUTGOING_READY, DC_OUTGOING_ACTIVE, DC_OUTGOING_WAITING } state;
    bool has_more;      /* something was said while it was active */
    uint64_t seen;      /* newest position that it was told of */
    uint64_t sure_term; /* in that term of ours: nobody has said half of anything */
    struct dc_backoff backoff;
    int64_t retry_at_ms;        /* WAITING: monotonic */
    int64_t suspected_until_ms; /* matrix_moves.c: no other suspicion before */
};

struct dc_city_room {
    struct dc_room_row row; /* texts owned by the room, replaced by the next put */
    uint64_t last_position;
    uint64_t heard_position;  /* newest one that the bus has brought */
    struct dc_utc last_event; /* ms 0: never */
    struct dc_last_message last;
    struct dc_room_people people;
    struct dc_topic *chat;  /* LOG; exists while sockets are in the room */
    struct dc_topic *crowd; /* STATE: join, leave, presence, typing */
    size_t n_sockets;
    bool is_catching_up, has_missed_more; /* catch_up.c */
    bool is_announced;                    /* this process's sockets have been told of it */
    struct dc_relay_lane lane;            /* order of its messages on the bus */
    struct dc_room_outgoing outgoing;
    struct dc_list order; /* default rooms first, then newest */
};

struct dc_city_rooms;
struct dc_city_rooms *dc_city_rooms_create(void);
/* With the rooms, their topics and what has been kept of their people. NULL is allowed. */
void dc_city_rooms_destroy(struct dc_city_rooms *rooms);
/* Ids of rooms and people go into keys of topics, subjects and kv: bounded in bytes too. */
#define DC_ROOM_ID_MAX_BYTES 128
bool dc_room_id_is_valid(struct dc_slice id);
/* Adds or updates; texts are copied.  The id must be valid, and the slug that of no other room.
 * Rooms that come in list order are appended in O(1). */
struct dc_city_room *dc_city_rooms_put(struct dc_city_rooms *rooms, const struct dc_room_row *row);
/* By id or slug; NULL if unknown. */
struct dc_city_room *dc_city_rooms_find(const struct dc_city_rooms *rooms,
                                        struct dc_slice id_or_slug);
/* By the id of its Matrix room; NULL if none has it. */
struct dc_city_room *dc_city_rooms_find_matrix(const struct dc_city_rooms *rooms,
                                               struct dc_slice matrix_room_id);
size_t dc_city_rooms_count(const struct dc_city_rooms *rooms);
/* In list order: start with NULL. */
struct dc_city_room *dc_city_rooms_next(const struct dc_city_rooms *rooms,
                                        const struct dc_city_room *after);
/* Copies; older positions are ignored. last->id NULL: only the position. */
void dc_city_room_set_last(struct dc_city_room *room, uint64_t position,
                           const struct dc_last_message *last);
/* The members of wire type Room, into an open object. */
void dc_city_room_write(const struct dc_city_room *room, struct dc_jsonw *w);
/* CITY_DEFAULT_ROOMS as rows: visits each slug of the list in its order, without created_at; stops
 * at the first invalid one with DC_CONFIG. *row is borrowed for the call. */
typedef void (*dc_default_room_cb)(void *data, const struct dc_room_row *row);
DC_MUST_USE enum dc_status dc_city_default_rooms(struct dc_slice list, dc_default_room_cb cb,
                                                 void *data, struct dc_error *err);

#endif
