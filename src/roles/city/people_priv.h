/* Inside of the gateway's view of presence: people.c keeps it, people_frames.c writes it down. */
#ifndef DC_ROLES_CITY_PEOPLE_PRIV_H
#define DC_ROLES_CITY_PEOPLE_PRIV_H

#include "roles/city/people.h"

/* Somebody who is online or away. */
struct dc_city_user {
    struct dc_list link; /* dc_city_people.user_order */
    struct dc_slice user_id;
    bool is_away;
    char text[]; /* user_id */
};

/* Somebody in a room who is not offline. */
struct dc_city_member {
    struct dc_list link;        /* dc_room_people.present */
    struct dc_list typing_link; /* dc_room_people.typing */
    struct dc_slice user_id, username;
    bool is_away;
    char text[]; /* user_id, username */
};

struct dc_city_people {
    struct dc_city *city;
    struct dc_map users;
    struct dc_list user_order;         /* since when they are online */
    uint32_t users_away;               /* how many of them are away */
    uint32_t online_total, away_total; /* as published, behind by a window at most */
    struct dc_topic *rooms_topic, *users_topic, *summary_topic;
    struct dc_bus_sub *subs[5];
    struct dc_blob *snapshot, *bulk; /* valid while the topics stand at these offsets */
    uint64_t snapshot_offset, bulk_offset;
    size_t snapshot_rooms;
    struct dc_timer summary_timer;
    bool summary_is_dirty, summary_is_waiting;
};

static inline struct dc_slice dc_people_status_word(bool is_away)
{
    return is_away ? DC_S("away") : DC_S("online");
}

/* --- people_frames.c: frames of the topics; an allocation that fails loses the frame --- */

/* The room's published state has changed. */
void dc_people_send_room(struct dc_city_people *p, const struct dc_city_room *room);
void dc_people_send_totals(struct dc_city_people *p);
/* status: online, away, or offline, which ends what is remembered of the user. */
void dc_people_send_user(struct dc_city_people *p, struct dc_slice user_id, struct dc_slice status);
/* The summary is sent at once when the last one is long enough ago, else when the interval ends. */
void dc_people_summary_changed(struct dc_city_people *p);
/* Of people.summary_timer. */
void dc_people_on_summary_timer(struct dc_timer *t);

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
