/* Presence core: memberships (user x room) and the counters of rooms that follow from them. */
#include "domain/presence_priv.h"

/* Looks through the rooms of the user, whose number is limited, not through the room. */
struct dc_presence_membership *dc_presence_member_find(const struct dc_presence_user *u,
                                                       const struct dc_presence_room *r)
{
    DC_LIST_FOREACH (it, &u->memberships) {
        struct dc_presence_membership *m =
            DC_LIST_ENTRY(it, struct dc_presence_membership, user_link);
        if (m->room == r) {
            return m;
        }
    }
    return NULL;
}

static void report(struct dc_presence *p, const struct dc_presence_membership *m,
                   enum dc_presence_member_change change)
{
    if (p->cbs.member != NULL) {
        struct dc_presence_user_state state = dc_presence_user_state(m->user);
        p->cbs.member(p->data, dc_presence_room_id(m->room), &state, change);
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
    if (u->n_memberships >= p->opts.max_rooms_per_user) {
        return NULL;
    }
    m = dc_presence_new(p, sizeof(*m));
    m->user = u;
    m->room = r;
    dc_list_push_back(&u->memberships, &m->user_link);
    u->n_memberships++;
    p->n_memberships++;
    if (u->status == DC_PRESENCE_OFFLINE) {
        dc_list_push_back(&r->absent, &m->room_link);
    } else {
        dc_list_push_back(&r->present, &m->room_link);
        r->online_count++;
        r->away_count += u->status == DC_PRESENCE_AWAY;
        dc_presence_room_dirty(p, r);
    }
    report(p, m, DC_MEMBER_JOINED);
    return m;
}

/* Links and memory only; counters, lists of sessions and reports are the caller's business. */
void dc_presence_member_free(struct dc_presence *p, struct dc_presence_membership *m)
{
    dc_list_remove(&m->user_link);
    dc_list_remove(&m->room_link);
    m->user->n_memberships--;
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
    report(p, m, DC_MEMBER_LEFT);
    if (u->status != DC_PRESENCE_OFFLINE) {
        r->online_count--;
        r->away_count -= u->status == DC_PRESENCE_AWAY;
        dc_presence_room_dirty(p, r);
    }
    dc_presence_member_free(p, m);
    dc_presence_user_dirty(p, u);
}

void dc_presence_members_restate(struct dc_presence *p, struct dc_presence_user *u,
                                 enum dc_presence_status from, enum dc_presence_status to)
{
    bool was_present = from != DC_PRESENCE_OFFLINE;
    bool is_present = to != DC_PRESENCE_OFFLINE;
    DC_LIST_FOREACH (it, &u->memberships) {
        struct dc_presence_membership *m =
            DC_LIST_ENTRY(it, struct dc_presence_membership, user_link);
        /* The next membership of the user lies anywhere in memory: ask for it early. */
        __builtin_prefetch(m->user_link.next);
        struct dc_presence_room *r = m->room;
        if (was_present != is_present) {
            dc_list_remove(&m->room_link);
            dc_list_push_back(is_present ? &r->present : &r->absent, &m->room_link);
            r->online_count = is_present ? r->online_count + 1 : r->online_count - 1;
        }
        r->away_count -= from == DC_PRESENCE_AWAY;
        r->away_count += to == DC_PRESENCE_AWAY;
        report(p, m, DC_MEMBER_STATUS);
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
