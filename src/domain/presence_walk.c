/* Presence core: walks in slices.  A walk is a mark in the list that it goes through: what stands
 * behind the mark is still to be visited.  Objects leave and enter the list as ever, so nothing has
 * to be copied and nothing can dangle. */
#include "domain/presence_priv.h"

/* Moves the mark over the next node; NULL: the walk is at its end, and the mark is gone. */
static struct dc_list *step(struct dc_list *head, struct dc_list *mark)
{
    struct dc_list *node = mark->next;
    dc_list_remove(mark);
    if (node == head) {
        return NULL;
    }
    dc_list_push_back(node->next, mark); /* behind the node */
    return node;
}

static void begin(struct dc_list *head, struct dc_list *mark)
{
    dc_list_remove(mark);
    dc_list_push_back(head->next, mark); /* in front of the first */
}

/* A mark that is alone has no walk to go on with. */
static bool has_begun(struct dc_list *head, struct dc_list *mark, bool restart)
{
    if (restart) {
        begin(head, mark);
    }
    return !dc_list_is_empty(mark);
}

size_t dc_presence_walk_users(struct dc_presence *p, bool restart, size_t max,
                              dc_presence_visit_cb cb, void *data)
{
    size_t n = 0;
    if (!has_begun(&p->online, &p->user_mark, restart)) {
        return 0;
    }
    while (n < max) {
        struct dc_list *node = step(&p->online, &p->user_mark);
        if (node == NULL) {
            break;
        }
        struct dc_presence_user_state state =
            dc_presence_user_state(DC_LIST_ENTRY(node, struct dc_presence_user, online_link));
        n++;
        cb(data, &state);
    }
    return n;
}

size_t dc_presence_walk_rooms(struct dc_presence *p, bool restart, size_t max,
                              dc_presence_room_cb cb, void *data)
{
    size_t n = 0;
    if (!has_begun(&p->room_order, &p->room_mark, restart)) {
        return 0;
    }
    while (n < max) {
        struct dc_list *node = step(&p->room_order, &p->room_mark);
        if (node == NULL) {
            break;
        }
        const struct dc_presence_room *r = DC_LIST_ENTRY(node, struct dc_presence_room, order_link);
        n++;
        cb(data, dc_presence_room_id(r), dc_slice_make(r->slug, r->slug_len));
    }
    return n;
}

void dc_presence_visit_rooms(const struct dc_presence *p, size_t max, dc_presence_room_cb cb,
                             void *data)
{
    size_t n = 0;
    DC_LIST_FOREACH (it, &p->room_order) {
        if (it == &p->room_mark) {
            continue;
        }
        if (n++ == max) {
            break;
        }
        const struct dc_presence_room *r = DC_LIST_ENTRY(it, struct dc_presence_room, order_link);
        cb(data, dc_presence_room_id(r), dc_slice_make(r->slug, r->slug_len));
    }
}

void dc_presence_walk_forget(struct dc_presence *p, const struct dc_presence_room *r)
{
    if (p->walked_room == r) {
        dc_list_remove(&p->member_mark);
        p->walked_room = NULL;
    }
}

size_t dc_presence_walk_members(struct dc_presence *p, struct dc_slice room_id, bool restart,
                                size_t max, dc_presence_visit_cb cb, void *data)
{
    struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    size_t n = 0;
    if (r == NULL || (!restart && p->walked_room != r)) {
        return 0;
    }
    p->walked_room = r;
    if (!has_begun(&r->present, &p->member_mark, restart)) {
        return 0;
    }
    while (n < max) {
        struct dc_list *node = step(&r->present, &p->member_mark);
        if (node == NULL) {
            p->walked_room = NULL;
            break;
        }
        struct dc_presence_user_state state = dc_presence_user_state(
            DC_LIST_ENTRY(node, struct dc_presence_membership, room_link)->user);
        n++;
        cb(data, &state);
    }
    return n;
}
