/* Inside of the gateway's view of presence: people.c keeps the people of the city, people_rooms.c
 * those of each room, people_hear.c hears the bus, people_sync.c knows whether the view is whole
 * (roles/presence_event.h), people_frames.c writes it down. */
#ifndef DC_ROLES_CITY_PEOPLE_PRIV_H
#define DC_ROLES_CITY_PEOPLE_PRIV_H

#include "domain/presence.h"
#include "roles/city/people.h"
#include "roles/presence_event.h"

/* Somebody who is online or away. */
struct dc_city_user {
    struct dc_list link; /* dc_city_people.user_order */
    struct dc_slice user_id;
    int64_t gen;
    bool is_away;
    char text[]; /* user_id */
};

/* Somebody in a room who is not offline. */
struct dc_city_member {
    struct dc_list link;        /* dc_room_people.present */
    struct dc_list typing_link; /* dc_room_people.typing */
    struct dc_slice user_id, username;
    int64_t gen;
    bool is_away;
    char text[]; /* user_id, username */
};

/* What arrives in one order of its own: one subscription each. */
enum dc_people_domain_id {
    DC_PEOPLE_USERS,
    DC_PEOPLE_ROOMS,
    DC_PEOPLE_MEMBERS,
    DC_PEOPLE_TYPING, /* never synced by itself: the members' lists say who types */
    DC_PEOPLE_LEADER,
    DC_PEOPLE_DOMAINS,
};

struct dc_people_domain {
    struct dc_bus_sub *sub;
    int64_t term, gen;  /* the highest heard */
    int64_t broken_gen; /* up to this one a resynchronisation may have lost something */
    bool is_synced;     /* everything that counts has been heard */
    bool is_caught_up;  /* what the stream had has been read */
};

/* A published state, or members, of a room that this process has not been told of yet. */
struct dc_pending_room {
    struct dc_list link; /* dc_city_people.pending_order */
    int64_t until_ms;
    json_t *counts; /* NULL: none */
    bool wants_members;
    size_t id_len;
    char id[];
};

struct dc_city_people {
    struct dc_city *city;
    struct dc_map users;
    struct dc_list user_order; /* by gen, and within one since when they are online */
    uint32_t users_away;       /* how many of them are away */
    struct dc_topic *rooms_topic, *users_topic, *summary_topic;
    struct dc_people_domain domains[DC_PEOPLE_DOMAINS];
    struct dc_map pending;
    struct dc_list pending_order;
    /* people_sync.c */
    struct dc_timer watch;
    int64_t started_ms, leader_heard_ms, asked_ms, stale_since_ms;
    void (*read)(void *data); /* until it has run */
    void *read_data;
    bool has_leader, is_source_fresh, is_fresh;
    struct dc_health_check *health;
    struct dc_counter *ignored, *asks;
    struct dc_gauge *fresh;
    struct dc_histogram *heard_to_frame, *change_to_frame; /* of a homeserver's changes */
    /* people_frames.c */
    struct dc_people_first { /* a first frame and the topic's offset at which it stands */
        struct dc_blob *blob;
        uint64_t offset;
        size_t rooms, online, away; /* of the city when it was made */
        int64_t made_ms;
    } snapshot, bulk;
    struct dc_strbuf summary; /* the document from "city" on */
    uint64_t summary_version, version;
    size_t summary_rooms;
    int64_t summary_made_ms;
    uint32_t sent_online, sent_away; /* in the last frame with totals */
    struct dc_timer summary_timer, totals_timer;
    bool summary_is_dirty, summary_is_waiting, totals_are_waiting;
    size_t open_timers;
};

static inline struct dc_slice dc_people_status_word(bool is_away)
{
    return is_away ? DC_S("away") : DC_S("online");
}

static inline int64_t dc_people_now_ms(const struct dc_city_people *p)
{
    return dc_loop_now(p->city->ctx->loop).ms;
}

/* --- people.c --- */

/* The leader has said it, with this generation. Sends a frame if it is news. */
void dc_people_set_user(struct dc_city_people *p, struct dc_slice user_id,
                        enum dc_presence_status status, int64_t gen);
/* Ends everybody who has not been said since the generation before gen. */
void dc_people_prune_users(struct dc_city_people *p, int64_t gen);

/* --- people_rooms.c --- */

/* username NULL or empty: unknown. Nothing is sent. */
struct dc_city_member *dc_people_put_member(struct dc_city_room *room, struct dc_slice user_id,
                                            struct dc_slice username, bool is_away, int64_t gen);
/* One event of a room; frames go to its sockets. */
void dc_people_member_left(struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username);
void dc_people_member_changed(struct dc_city_room *room, struct dc_slice user_id,
                              struct dc_slice username, enum dc_presence_status status, bool is_new,
                              int64_t gen);
void dc_people_typing_changed(struct dc_city_room *room, struct dc_slice user_id,
                              struct dc_slice username, bool is_typing);
/* One of a whole list: frames for what is news. */
void dc_people_member_restated(struct dc_city_room *room, struct dc_slice user_id,
                               struct dc_slice username, bool is_away, bool is_typing, int64_t gen);
/* The list of generation gen is complete: who is not in it has left. */
void dc_people_members_whole(struct dc_city_room *room, int64_t gen);
void dc_people_forget_room(struct dc_city_room *room);

/* --- people_hear.c --- */

DC_MUST_USE enum dc_status dc_people_subscribe(struct dc_city_people *p, struct dc_error *err);
void dc_people_unsubscribe(struct dc_city_people *p);
/* A published state of a room that is known. */
void dc_people_take_counts(struct dc_city_people *p, struct dc_city_room *room,
                           const json_t *object, bool is_replay, int64_t gen);

/* --- people_sync.c --- */

void dc_people_sync_init(struct dc_city_people *p);
void dc_people_sync_start(struct dc_city_people *p);
void dc_people_sync_free(struct dc_city_people *p);
/* "fresh" or "stale", for frames. */
struct dc_slice dc_people_state_word(const struct dc_city_people *p);
/* False: a former leader's word, which is to be ignored. */
bool dc_people_accept(struct dc_city_people *p, enum dc_people_domain_id id, const json_t *object,
                      int64_t *gen);
/* The domain has been said in full; false: it does not count. */
bool dc_people_synced(struct dc_city_people *p, enum dc_people_domain_id id, int64_t gen);
void dc_people_caught_up(struct dc_city_people *p, enum dc_people_domain_id id);
void dc_people_interrupted(struct dc_city_people *p, enum dc_people_domain_id id);
void dc_people_hear_leader(struct dc_city_people *p, const json_t *object);
/* Of a room that is not known yet: tried again when it is.  Takes a reference of counts. */
void dc_people_keep_for_later(struct dc_city_people *p, struct dc_slice room_id, json_t *counts,
                              bool wants_members);
void dc_people_on_watch(struct dc_timer *t);

/* --- people_frames.c: frames of the topics; an allocation that fails loses the frame --- */

/* The room's published state has changed. */
void dc_people_send_room(struct dc_city_people *p, const struct dc_city_room *room);
/* Sent at once when the last frame is a window ago, else when the window ends; is_news: also if the
 * numbers are the same. */
void dc_people_totals_changed(struct dc_city_people *p, bool is_news);
/* status: online, away, or offline, which ends what is remembered of the user. */
void dc_people_send_user(struct dc_city_people *p, struct dc_slice user_id, struct dc_slice status);
/* The summary is sent at once when the last one is long enough ago, else when the interval ends. */
void dc_people_summary_changed(struct dc_city_people *p);
/* Of people.summary_timer and people.totals_timer. */
void dc_people_on_summary_timer(struct dc_timer *t);
void dc_people_on_totals_timer(struct dc_timer *t);

/* For the sockets in a room; nothing when there are none. */
void dc_people_send_joined(const struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username);
void dc_people_send_left(const struct dc_city_room *room, struct dc_slice user_id,
                         struct dc_slice username);
void dc_people_send_status(const struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username, struct dc_slice status);
void dc_people_send_typing(const struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username, bool is_typing);

#endif
