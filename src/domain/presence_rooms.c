/* Presence core: rooms and their publications.  A room is published at most once in a window; what
 * went out last is kept as bytes, so that "nothing has changed" is exact and not a guess by hash.
 */
#include "domain/presence_priv.h"

static size_t room_size(const struct dc_presence_room *r)
{
    return sizeof(*r) + r->id_len;
}

struct dc_presence_room *dc_presence_room_find(const struct dc_presence *p, struct dc_slice id)
{
    return dc_map_get(&p->rooms, id);
}

static void set_slug(struct dc_presence *p, struct dc_presence_room *r, struct dc_slice slug)
{
    dc_presence_drop(p, r->slug, r->slug_len);
    r->slug = NULL;
    r->slug_len = (uint8_t)slug.len;
    if (slug.len > 0) {
        r->slug = dc_presence_new(p, slug.len);
        memcpy(r->slug, slug.ptr, slug.len);
    }
}

static struct dc_presence_room *room_new(struct dc_presence *p, struct dc_slice id)
{
    struct dc_presence_room *r = dc_presence_new(p, sizeof(*r) + id.len);
    dc_list_init(&r->present);
    dc_list_init(&r->absent);
    dc_list_init(&r->typing);
    dc_list_init(&r->dirty_link);
    dc_list_push_back(&p->room_order, &r->order_link);
    r->window_end_ms = INT64_MIN;
    r->id_len = (uint8_t)id.len;
    memcpy(r->id, id.ptr, id.len);
    dc_map_put(&p->rooms, dc_presence_room_id(r), r);
    return r;
}

enum dc_status dc_presence_room_add(struct dc_presence *p, struct dc_slice room_id,
                                    struct dc_slice slug, struct dc_presence_now now)
{
    if (!dc_presence_id_ok(room_id) || slug.len > DC_PRESENCE_ID_MAX) {
        return DC_INVALID;
    }
    dc_presence_begin(p, now);
    enum dc_status st = DC_OK;
    struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    if (r != NULL) {
        if (!dc_slice_eq(slug, dc_slice_make(r->slug, r->slug_len))) {
            set_slug(p, r, slug);
            if (dc_list_is_empty(&r->dirty_link)) {
                dc_list_push_back(&p->dirty_rooms, &r->dirty_link); /* no event: nobody moved */
            }
        }
    } else if (p->rooms.count >= p->opts.max_rooms) {
        st = DC_LIMIT;
    } else {
        set_slug(p, room_new(p, room_id), slug);
    }
    dc_presence_settle(p);
    return st;
}

static void free_members(struct dc_presence *p, struct dc_list *members)
{
    while (!dc_list_is_empty(members)) {
        struct dc_presence_membership *m =
            DC_LIST_ENTRY(members->next, struct dc_presence_membership, room_link);
        struct dc_presence_user *u = m->user;
        if (m->n_sessions > 0) {
            DC_LIST_FOREACH (it, &u->sessions) {
                dc_presence_session_forget_join(
                    DC_LIST_ENTRY(it, struct dc_presence_session, user_link), m);
            }
        }
        dc_presence_member_free(p, m);
        dc_presence_user_dirty(p, u);
    }
}

void dc_presence_room_free(struct dc_presence *p, struct dc_presence_room *r)
{
    dc_presence_walk_forget(p, r);
    free_members(p, &r->present);
    free_members(p, &r->absent);
    while (!dc_list_is_empty(&r->typing)) {
        struct dc_presence_typing *t =
            DC_LIST_ENTRY(r->typing.next, struct dc_presence_typing, room_link);
        dc_presence_user_dirty(p, t->user);
        dc_presence_typing_free(p, t);
    }
    dc_heap_remove(&p->windows, &r->window);
    dc_list_remove(&r->dirty_link);
    dc_list_remove(&r->order_link);
    dc_presence_drop(p, r->published, r->published_cap);
    dc_presence_drop(p, r->slug, r->slug_len);
    dc_presence_drop(p, r, room_size(r));
}

void dc_presence_room_remove(struct dc_presence *p, struct dc_slice room_id)
{
    dc_presence_begin(p, p->now);
    struct dc_presence_room *r = dc_map_remove(&p->rooms, room_id);
    if (r != NULL) {
        dc_presence_room_free(p, r);
    }
    dc_presence_settle(p); /* forgets users who had nothing else */
}

void dc_presence_room_dirty(struct dc_presence *p, struct dc_presence_room *r)
{
    r->last_event = p->now.utc;
    if (dc_list_is_empty(&r->dirty_link)) {
        dc_list_push_back(&p->dirty_rooms, &r->dirty_link);
    }
}

static void room_state(const struct dc_presence *p, const struct dc_presence_room *r,
                       struct dc_presence_scratch *s, struct dc_presence_room_state *out)
{
    *out = (struct dc_presence_room_state){
        .room_id = dc_presence_room_id(r),
        .slug = dc_slice_make(r->slug, r->slug_len),
        .online_count = r->online_count,
        .away_count = r->away_count,
        .typing_count = r->typing_count,
        .typing_users = s->typing,
        .online_users = s->online,
        .last_event = r->last_event,
    };
    DC_LIST_FOREACH (it, &r->typing) {
        if (out->n_typing_users == DC_PRESENCE_SAMPLE) {
            break;
        }
        s->typing[out->n_typing_users++] =
            dc_presence_user_id(DC_LIST_ENTRY(it, struct dc_presence_typing, room_link)->user);
    }
    DC_LIST_FOREACH (it, &r->present) {
        if (it == &p->member_mark) {
            continue;
        }
        if (out->n_online_users == DC_PRESENCE_SAMPLE) {
            break;
        }
        s->online[out->n_online_users++] =
            dc_presence_user_id(DC_LIST_ENTRY(it, struct dc_presence_membership, room_link)->user);
    }
}

static size_t pack_ids(char *out, const struct dc_slice *ids, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        out[len] = (char)ids[i].len;
        if (ids[i].len > 0) {
            memcpy(out + len + 1, ids[i].ptr, ids[i].len);
        }
        len += 1 + ids[i].len;
    }
    return len;
}

/* Remembers the state as published; false when it was the last published one already.  Counts say
 * where the typing users end and the sample begins, so the bytes need no separator. */
static bool remember(struct dc_presence *p, struct dc_presence_room *r,
                     const struct dc_presence_room_state *state)
{
    if (r->window_end_ms == INT64_MIN && state->online_count == 0 && state->typing_count == 0) {
        return false; /* an empty room is what everybody assumes */
    }
    char *packed = p->publish.packed;
    size_t len = pack_ids(packed, &state->slug, 1);
    len += pack_ids(packed + len, state->typing_users, state->n_typing_users);
    len += pack_ids(packed + len, state->online_users, state->n_online_users);
    if (r->published_online == state->online_count && r->published_away == state->away_count &&
        r->published_typing == state->typing_count &&
        dc_slice_eq(dc_slice_make(r->published, r->published_len), dc_slice_make(packed, len))) {
        return false;
    }
    if (len > r->published_cap) {
        dc_presence_drop(p, r->published, r->published_cap);
        r->published = dc_presence_new(p, len);
        r->published_cap = (uint32_t)len;
    }
    memcpy(r->published, packed, len);
    r->published_len = (uint32_t)len;
    r->published_online = state->online_count;
    r->published_away = state->away_count;
    r->published_typing = state->typing_count;
    return true;
}

static void publish(struct dc_presence *p, struct dc_presence_room *r)
{
    struct dc_presence_room_state state;
    room_state(p, r, &p->publish, &state);
    if (!remember(p, r, &state)) {
        return;
    }
    r->window_end_ms = dc_presence_after(p, p->opts.throttle_ms);
    if (p->cbs.room != NULL) {
        p->cbs.room(p->data, &state);
    }
}

void dc_presence_room_restate(struct dc_presence *p, struct dc_slice room_id,
                              struct dc_presence_now now)
{
    dc_presence_begin(p, now);
    struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    if (r != NULL) {
        dc_heap_remove(&p->windows, &r->window);
        r->published_online = UINT32_MAX;  /* equal to no state */
        r->window_end_ms = p->now.mono.ms; /* over, and not "never published" */
        publish(p, r);
    }
    dc_presence_settle(p);
}

bool dc_presence_room_is_idle(const struct dc_presence *p, struct dc_slice room_id)
{
    const struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    return r != NULL && r->typing_count == 0 && r->online_count == 0 &&
           dc_list_is_empty(&r->absent);
}

void dc_presence_room_settle(struct dc_presence *p, struct dc_presence_room *r)
{
    if (p->now.mono.ms >= r->window_end_ms) {
        dc_heap_remove(&p->windows, &r->window);
        publish(p, r);
        return;
    }
    p->n_throttled++;
    if (!dc_heap_contains(&r->window)) {
        dc_heap_set(&p->windows, &r->window, r->window_end_ms);
    }
}

/* A publication with its sample is worth some reports. */
#define STEPS_A_WINDOW 8

/* Windows that are over make their rooms dirty; settling publishes them with the final state. */
void dc_presence_windows_expire(struct dc_presence *p)
{
    struct dc_heap_node *n = NULL;
    size_t steps = dc_presence_tick_steps(p);
    while (steps > 0 && (n = dc_heap_peek(&p->windows)) != NULL && n->at_ms <= p->now.mono.ms) {
        steps -= STEPS_A_WINDOW < steps ? STEPS_A_WINDOW : steps;
        struct dc_presence_room *r = DC_CONTAINER_OF(n, struct dc_presence_room, window);
        dc_heap_remove(&p->windows, n);
        if (dc_list_is_empty(&r->dirty_link)) {
            dc_list_push_back(&p->dirty_rooms, &r->dirty_link);
        }
    }
}

bool dc_presence_room_get(const struct dc_presence *p, struct dc_slice room_id,
                          struct dc_presence_room_state *out)
{
    const struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    if (r == NULL) {
        return false;
    }
    room_state(p, r, p->read, out);
    return true;
}
