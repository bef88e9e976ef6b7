/* Presence core: memberships (user x room) and the counters of rooms that follow from them. */
#include "domain/presence_priv.h"

/* Looks through the rooms of the user, whose number is limited, not through the room. */
struct dc_presence_membership *dc_presence_member_find(const struct dc_presence_user *u,
                                                       const struct dc_presence_room *r)
{
    for (uint32_t i = 0; i < u->n_places; i++) {
        if (u->places[i].room == r) {
            return u->places[i].membership;
        }
    }
    return NULL;
}

/* Little at a time: most people keep the rooms that they have. */
static void grow_places(struct dc_presence *p, struct dc_presence_user *u)
{
    uint32_t cap = u->cap_places + (u->cap_places < 16 ? 4 : u->cap_places / 4);
    struct dc_presence_place *grown = dc_presence_new(p, cap * sizeof(*grown));
    if (u->n_places > 0) {
        memcpy(grown, u->places, u->n_places * sizeof(*grown));
    }
    dc_presence_drop(p, u->places, u->cap_places * sizeof(*grown));
    u->places = grown;
    u->cap_places = cap;
}

static void add_place(struct dc_presence *p, struct dc_presence_membership *m)
{
    struct dc_presence_user *u = m->user;
    if (u->n_places == u->cap_places) {
        grow_places(p, u);
    }
    m->place = u->n_places++;
    u->places[m->place] = (struct dc_presence_place){m->room, m};
}

/* The last one takes the place. */
static void remove_place(struct dc_presence *p, const struct dc_presence_membership *m)
{
    struct dc_presence_user *u = m->user;
    u->places[m->place] = u->places[--u->n_places];
    u->places[m->place].membership->place = m->place;
    if (u->n_places == 0) {
        dc_presence_drop(p, u->places, u->cap_places * sizeof(*u->places));
        u->places = NULL;
        u->cap_places = 0;
    }
}

static void report(struct dc_presence *p, const struct dc_presence_user *u,
                   const struct dc_presence_room *r, enum dc_presence_member_change change)
{
    if (p->cbs.member != NULL) {
        struct dc_presence_user_state state = dc_presence_user_state(u);
        p->cbs.member(p->data, dc_presence_room_id(r), &state, change);
    }
}

struct dc_presence_membership *dc_presence_member_need(struct dc_presence *p,
                                                       struct dc_presence_user *u,
                                                       struct dc_presence_room *r)
{
    struct dc_presence_membership *m = dc_presence_member_find(u, r);
    if (m != NULL) {
        return m;
    }
    if (u->n_places >= p->opts.max_rooms_per_user) {
        return NULL;
    }
    m = dc_presence_new(p, sizeof(*m));
    m->user = u;
    m->room = r;
    add_place(p, m);
    p->n_memberships++;
    if (u->status == DC_PRESENCE_OFFLINE) {
        dc_list_push_back(&r->absent, &m->room_link);
    } else {
        dc_list_push_back(&r->present, &m->room_link);
        r->online_count++;
        r->away_count += u->status == DC_PRESENCE_AWAY;
        dc_presence_room_dirty(p, r);
    }
    report(p, u, r, DC_MEMBER_JOINED);
    return m;
}

/* Links and memory only; counters, lists of sessions and reports are the caller's business. */
void dc_presence_member_free(struct dc_presence *p, struct dc_presence_membership *m)
{
    remove_place(p, m);
    dc_list_remove(&m->room_link);
    p->n_memberships--;
    dc_presence_drop(p, m, sizeof(*m));
}

void dc_presence_member_release(struct dc_presence *p, struct dc_presence_membership *m)
{
    struct dc_presence_user *u = m->user;
    struct dc_presence_room *r = m->room;
    if (m->n_sessions == 0) {
        dc_presence_typing_stop(p, u, r, DC_TYPING_NATIVE);
    }
    if (m->n_sessions > 0 || m->is_matrix) {
        return;
    }
    report(p, u, r, DC_MEMBER_LEFT);
    if (u->status != DC_PRESENCE_OFFLINE) {
        r->online_count--;
        r->away_count -= u->status == DC_PRESENCE_AWAY;
        dc_presence_room_dirty(p, r);
    }
    dc_presence_member_free(p, m);
    dc_presence_user_dirty(p, u);
}

/* The next ones lie anywhere in memory: they are asked for before they are needed, and with those
 * that change their list its neighbours too. */
#define EARLY 4
static void ask_early(const struct dc_presence_user *u, uint32_t i, bool moves)
{
    if (i + EARLY < u->n_places) {
        __builtin_prefetch(u->places[i + EARLY].room);
        if (moves) {
            __builtin_prefetch(u->places[i + EARLY].membership);
        }
    }
    if (moves && i + EARLY / 2 < u->n_places) {
        const struct dc_presence_membership *m = u->places[i + EARLY / 2].membership;
        __builtin_prefetch(m->room_link.prev);
        __builtin_prefetch(m->room_link.next);
    }
}

void dc_presence_members_restate(struct dc_presence *p, struct dc_presence_user *u,
                                 enum dc_presence_status from, enum dc_presence_status to)
{
    bool was_present = from != DC_PRESENCE_OFFLINE;
    bool is_present = to != DC_PRESENCE_OFFLINE;
    bool moves = was_present != is_present;
    for (uint32_t i = 0; i < u->n_places; i++) {
        struct dc_presence_membership *m = u->places[i].membership;
        struct dc_presence_room *r = u->places[i].room;
        ask_early(u, i, moves);
        if (moves) {
            dc_list_remove(&m->room_link);
            dc_list_push_back(is_present ? &r->present : &r->absent, &m->room_link);
            r->online_count = is_present ? r->online_count + 1 : r->online_count - 1;
        }
        r->away_count -= from == DC_PRESENCE_AWAY;
        r->away_count += to == DC_PRESENCE_AWAY;
        report(p, u, r, DC_MEMBER_STATUS);
        dc_presence_room_dirty(p, r);
    }
}

bool dc_presence_is_member(const struct dc_presence *p, struct dc_slice user_id,
                           struct dc_slice room_id)
{
    const struct dc_presence_user *u = dc_presence_user_find(p, user_id);
    const struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    return u != NULL && r != NULL && dc_presence_member_find(u, r) != NULL;
}

void dc_presence_room_members(const struct dc_presence *p, struct dc_slice room_id, size_t max,
                              dc_presence_visit_cb cb, void *data)
{
    const struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    if (r == NULL) {
        return;
    }
    size_t n = 0;
    DC_LIST_FOREACH (it, &r->present) {
        if (it == &p->member_mark) {
            continue;
        }
        if (n++ == max) {
            break;
        }
        struct dc_presence_user_state state = dc_presence_user_state(
            DC_LIST_ENTRY(it, struct dc_presence_membership, room_link)->user);
        cb(data, &state);
    }
}
