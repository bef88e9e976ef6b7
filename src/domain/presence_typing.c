/* Presence core: who is typing where.  One object for a user and a room with a deadline for each
 * source, so that somebody who types natively and by Matrix counts once. */
#include "domain/presence_priv.h"

#define MATRIX_TTL_MAX_MS (24ULL * 3600 * 1000)

/* Looks through the rooms the user types in. */
static struct dc_presence_typing *typing_find(const struct dc_presence_user *u,
                                              const struct dc_presence_room *r)
{
    DC_LIST_FOREACH (it, &u->typing) {
        struct dc_presence_typing *t = DC_LIST_ENTRY(it, struct dc_presence_typing, user_link);
        if (t->room == r) {
            return t;
        }
    }
    return NULL;
}

static void report(struct dc_presence *p, const struct dc_presence_typing *t, bool is_typing)
{
    dc_presence_room_dirty(p, t->room);
    if (p->cbs.typing != NULL) {
        struct dc_presence_user_state state = dc_presence_user_state(t->user);
        p->cbs.typing(p->data, dc_presence_room_id(t->room), &state, is_typing);
    }
}

/* Links, the room's counter and memory; no report. */
void dc_presence_typing_free(struct dc_presence *p, struct dc_presence_typing *t)
{
    dc_list_remove(&t->user_link);
    dc_list_remove(&t->room_link);
    dc_heap_remove(&p->typing_leases, &t->lease);
    t->room->typing_count--;
    p->n_typing--;
    dc_presence_drop(p, t, sizeof(*t));
}

/* After until_ms has changed: moves the deadline, or ends the typing when no source is left. */
static void refresh(struct dc_presence *p, struct dc_presence_typing *t)
{
    int64_t at = t->until_ms[DC_TYPING_NATIVE] < t->until_ms[DC_TYPING_MATRIX]
                     ? t->until_ms[DC_TYPING_NATIVE]
                     : t->until_ms[DC_TYPING_MATRIX];
    if (at != DC_PRESENCE_NEVER) {
        dc_heap_set(&p->typing_leases, &t->lease, at);
        return;
    }
    report(p, t, false);
    dc_presence_user_dirty(p, t->user);
    dc_presence_typing_free(p, t);
}

static struct dc_presence_typing *typing_start(struct dc_presence *p, struct dc_presence_user *u,
                                               struct dc_presence_room *r, int source,
                                               uint64_t ttl_ms)
{
    struct dc_presence_typing *t = typing_find(u, r);
    bool is_new = t == NULL;
    if (is_new) {
        t = dc_presence_new(p, sizeof(*t));
        t->user = u;
        t->room = r;
        t->until_ms[DC_TYPING_NATIVE] = DC_PRESENCE_NEVER;
        t->until_ms[DC_TYPING_MATRIX] = DC_PRESENCE_NEVER;
        dc_list_push_back(&u->typing, &t->user_link);
        dc_list_push_back(&r->typing, &t->room_link);
        r->typing_count++;
        p->n_typing++;
    }
    t->until_ms[source] = dc_presence_after(p, ttl_ms);
    refresh(p, t);
    if (is_new) {
        report(p, t, true);
    }
    return t;
}

void dc_presence_typing_stop(struct dc_presence *p, struct dc_presence_user *u,
                             struct dc_presence_room *r, int source)
{
    struct dc_presence_typing *t = typing_find(u, r);
    if (t != NULL && t->until_ms[source] != DC_PRESENCE_NEVER) {
        t->until_ms[source] = DC_PRESENCE_NEVER;
        refresh(p, t);
    }
}

static enum dc_status session_typing(struct dc_presence *p, struct dc_slice session_id,
                                     struct dc_slice room_id, bool is_typing)
{
    const struct dc_presence_session *s = dc_map_get(&p->sessions, session_id);
    struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    if (s == NULL || r == NULL || dc_presence_member_find(s->user, r) == NULL) {
        return DC_NOT_FOUND;
    }
    if (is_typing) {
        typing_start(p, s->user, r, DC_TYPING_NATIVE, p->opts.typing_ms);
    } else {
        dc_presence_typing_stop(p, s->user, r, DC_TYPING_NATIVE);
    }
    return DC_OK;
}

enum dc_status dc_presence_session_typing(struct dc_presence *p, struct dc_slice session_id,
                                          struct dc_slice room_id, bool is_typing,
                                          struct dc_presence_now now)
{
    dc_presence_begin(p, now);
    enum dc_status st = session_typing(p, session_id, room_id, is_typing);
    dc_presence_settle(p);
    return st;
}

bool dc_presence_is_typing(const struct dc_presence *p, struct dc_slice user_id,
                           struct dc_slice room_id)
{
    const struct dc_presence_user *u = dc_presence_user_find(p, user_id);
    const struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    return u != NULL && r != NULL && typing_find(u, r) != NULL;
}

static enum dc_status matrix_typing(struct dc_presence *p, struct dc_presence_room *r,
                                    const struct dc_slice *user_ids, size_t n, uint64_t ttl_ms)
{
    enum dc_status st = DC_OK;
    uint64_t generation = ++p->typing_generation;
    for (size_t i = 0; i < n; i++) {
        if (!dc_presence_id_ok(user_ids[i])) {
            st = DC_INVALID;
            continue;
        }
        struct dc_presence_user *u = dc_presence_user_need(p, user_ids[i]);
        if (u == NULL) {
            st = DC_LIMIT;
            continue;
        }
        typing_start(p, u, r, DC_TYPING_MATRIX, ttl_ms)->generation = generation;
    }
    DC_LIST_FOREACH_SAFE (it, &r->typing) {
        struct dc_presence_typing *t = DC_LIST_ENTRY(it, struct dc_presence_typing, room_link);
        if (t->until_ms[DC_TYPING_MATRIX] != DC_PRESENCE_NEVER && t->generation != generation) {
            t->until_ms[DC_TYPING_MATRIX] = DC_PRESENCE_NEVER;
            refresh(p, t);
        }
    }
    return st;
}

enum dc_status dc_presence_matrix_typing(struct dc_presence *p, struct dc_slice room_id,
                                         const struct dc_slice *user_ids, size_t n, uint64_t ttl_ms,
                                         struct dc_presence_now now)
{
    dc_presence_begin(p, now);
    struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    enum dc_status st = DC_NOT_FOUND;
    if (r != NULL) {
        st = matrix_typing(p, r, user_ids, n,
                           ttl_ms < MATRIX_TTL_MAX_MS ? ttl_ms : MATRIX_TTL_MAX_MS);
    }
    dc_presence_settle(p);
    return st;
}

void dc_presence_typing_expire(struct dc_presence *p)
{
    struct dc_heap_node *n = NULL;
    size_t steps = dc_presence_tick_steps(p);
    while (steps-- > 0 && (n = dc_heap_peek(&p->typing_leases)) != NULL &&
           n->at_ms <= p->now.mono.ms) {
        struct dc_presence_typing *t = DC_CONTAINER_OF(n, struct dc_presence_typing, lease);
        for (int source = 0; source < DC_TYPING_SOURCES; source++) {
            if (t->until_ms[source] <= p->now.mono.ms) {
                t->until_ms[source] = DC_PRESENCE_NEVER;
            }
        }
        refresh(p, t);
    }
}
