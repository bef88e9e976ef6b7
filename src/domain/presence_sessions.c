/* Presence core: native sessions.  A session is a lease with a status and the rooms it has joined;
 * sockets and HTTP callers differ only in how they name theirs. */
#include "domain/presence_priv.h"

static size_t session_size(const struct dc_presence_session *s)
{
    return sizeof(*s) + s->id_len;
}

static struct dc_presence_session *session_find(const struct dc_presence *p, struct dc_slice id)
{
    return dc_map_get(&p->sessions, id);
}

/* Counts the session's status in its user; by: 1 or -1. */
static void count_status(struct dc_presence *p, struct dc_presence_session *s, int by)
{
    uint32_t *counter = &s->user->n_sessions_by_status[s->status];
    *counter = by > 0 ? *counter + 1 : *counter - 1;
    dc_presence_user_dirty(p, s->user);
}

static struct dc_presence_session *session_new(struct dc_presence *p, struct dc_presence_user *u,
                                               struct dc_slice id, enum dc_presence_status status)
{
    struct dc_presence_session *s = dc_presence_new(p, sizeof(*s) + id.len);
    s->user = u;
    s->status = (uint8_t)status;
    s->id_len = (uint8_t)id.len;
    memcpy(s->id, id.ptr, id.len);
    dc_list_init(&s->lease_link);
    dc_list_push_back(&u->sessions, &s->user_link);
    dc_map_put(&p->sessions, dc_slice_make(s->id, s->id_len), s);
    count_status(p, s, 1);
    return s;
}

/* Memory only: neither counters nor the map. */
void dc_presence_session_free(struct dc_presence *p, struct dc_presence_session *s)
{
    dc_list_remove(&s->user_link);
    dc_list_remove(&s->lease_link);
    dc_presence_drop(p, s->joined, s->cap_joined * sizeof(struct dc_presence_membership *));
    dc_presence_drop(p, s, session_size(s));
}

static void session_end(struct dc_presence *p, struct dc_presence_session *s)
{
    count_status(p, s, -1);
    for (uint32_t i = 0; i < s->n_joined; i++) {
        s->joined[i]->n_sessions--;
        dc_presence_member_release(p, s->joined[i]);
    }
    dc_map_remove(&p->sessions, dc_slice_make(s->id, s->id_len));
    dc_presence_session_free(p, s);
}

static void renew(struct dc_presence *p, struct dc_presence_session *s)
{
    s->is_closing = false;
    s->ends_ms = dc_presence_after(p, p->opts.lease_ms);
    dc_list_remove(&s->lease_link);
    dc_list_push_back(&p->leases, &s->lease_link);
}

static enum dc_status beat(struct dc_presence *p, struct dc_slice session_id,
                           struct dc_slice user_id, struct dc_slice username,
                           enum dc_presence_status status)
{
    struct dc_presence_session *s = session_find(p, session_id);
    if (s == NULL) {
        if (p->sessions.count >= p->opts.max_sessions) {
            return DC_LIMIT;
        }
        struct dc_presence_user *u = dc_presence_user_need(p, user_id);
        if (u == NULL) {
            return DC_LIMIT;
        }
        s = session_new(p, u, session_id, status);
        u->last_active = p->now.utc;
    } else if (!dc_slice_eq(dc_presence_user_id(s->user), user_id)) {
        return DC_CONFLICT;
    } else if (s->status != (uint8_t)status) {
        count_status(p, s, -1);
        s->status = (uint8_t)status;
        count_status(p, s, 1);
    }
    if (status == DC_PRESENCE_ONLINE) {
        s->user->last_active = p->now.utc;
    }
    dc_presence_user_rename(p, s->user, username);
    renew(p, s);
    return DC_OK;
}

enum dc_status dc_presence_session_beat(struct dc_presence *p, struct dc_slice session_id,
                                        struct dc_slice user_id, struct dc_slice username,
                                        enum dc_presence_status status, struct dc_presence_now now)
{
    if (!dc_presence_id_ok(session_id) || !dc_presence_id_ok(user_id) ||
        username.len > DC_PRESENCE_ID_MAX || status > DC_PRESENCE_ONLINE) {
        return DC_INVALID;
    }
    dc_presence_begin(p, now);
    enum dc_status st = beat(p, session_id, user_id, username, status);
    dc_presence_settle(p);
    return st;
}

static bool has_joined(const struct dc_presence_session *s, const struct dc_presence_membership *m)
{
    for (uint32_t i = 0; i < s->n_joined; i++) {
        if (s->joined[i] == m) {
            return true;
        }
    }
    return false;
}

static void remember_join(struct dc_presence *p, struct dc_presence_session *s,
                          struct dc_presence_membership *m)
{
    if (s->n_joined == s->cap_joined) {
        /* Bounded by max_rooms_per_user: a session joins only rooms of its user. */
        uint32_t cap = s->cap_joined == 0 ? 2 : 2 * s->cap_joined;
        struct dc_presence_membership **grown = dc_presence_new(p, cap * sizeof(m));
        if (s->n_joined > 0) {
            memcpy(grown, s->joined, s->n_joined * sizeof(m));
        }
        dc_presence_drop(p, s->joined, s->cap_joined * sizeof(m));
        s->joined = grown;
        s->cap_joined = cap;
    }
    s->joined[s->n_joined++] = m;
}

void dc_presence_session_forget_join(struct dc_presence_session *s,
                                     const struct dc_presence_membership *m)
{
    for (uint32_t i = 0; i < s->n_joined; i++) {
        if (s->joined[i] == m) {
            s->joined[i] = s->joined[--s->n_joined];
            return;
        }
    }
}

static enum dc_status join(struct dc_presence *p, struct dc_slice session_id,
                           struct dc_slice room_id)
{
    struct dc_presence_session *s = session_find(p, session_id);
    struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    if (s == NULL || r == NULL) {
        return DC_NOT_FOUND;
    }
    struct dc_presence_membership *m = dc_presence_member_need(p, s->user, r);
    if (m == NULL) {
        return DC_LIMIT;
    }
    if (!has_joined(s, m)) {
        remember_join(p, s, m);
        m->n_sessions++;
    }
    return DC_OK;
}

enum dc_status dc_presence_session_join(struct dc_presence *p, struct dc_slice session_id,
                                        struct dc_slice room_id, struct dc_presence_now now)
{
    dc_presence_begin(p, now);
    enum dc_status st = join(p, session_id, room_id);
    dc_presence_settle(p);
    return st;
}

void dc_presence_session_leave(struct dc_presence *p, struct dc_slice session_id,
                               struct dc_slice room_id, struct dc_presence_now now)
{
    dc_presence_begin(p, now);
    struct dc_presence_session *s = session_find(p, session_id);
    const struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    if (s != NULL && r != NULL) {
        struct dc_presence_membership *m = dc_presence_member_find(s->user, r);
        if (m != NULL && has_joined(s, m)) {
            dc_presence_session_forget_join(s, m);
            m->n_sessions--;
            dc_presence_member_release(p, m);
        }
    }
    dc_presence_settle(p);
}

void dc_presence_session_rooms(const struct dc_presence *p, struct dc_slice session_id,
                               dc_presence_room_cb cb, void *data)
{
    const struct dc_presence_session *s = session_find(p, session_id);
    for (uint32_t i = 0; s != NULL && i < s->n_joined; i++) {
        const struct dc_presence_room *r = s->joined[i]->room;
        cb(data, dc_presence_room_id(r), dc_slice_make(r->slug, r->slug_len));
    }
}

bool dc_presence_session_is_known(const struct dc_presence *p, struct dc_slice session_id)
{
    return session_find(p, session_id) != NULL;
}

void dc_presence_session_close(struct dc_presence *p, struct dc_slice session_id, bool is_final,
                               struct dc_presence_now now)
{
    dc_presence_begin(p, now);
    struct dc_presence_session *s = session_find(p, session_id);
    if (s != NULL && is_final) {
        session_end(p, s);
    } else if (s != NULL && !s->is_closing) {
        s->is_closing = true;
        s->ends_ms = dc_presence_after(p, p->opts.close_grace_ms);
        dc_list_remove(&s->lease_link);
        dc_list_push_back(&p->graces, &s->lease_link);
    }
    dc_presence_settle(p);
}

static void expire_list(struct dc_presence *p, struct dc_list *list, size_t steps)
{
    while (steps > 0 && !dc_list_is_empty(list)) {
        struct dc_presence_session *s =
            DC_LIST_ENTRY(list->next, struct dc_presence_session, lease_link);
        if (s->ends_ms > p->now.mono.ms) {
            break;
        }
        size_t n = 1 + (size_t)s->n_joined;
        steps -= n < steps ? n : steps;
        session_end(p, s);
    }
}

void dc_presence_sessions_expire(struct dc_presence *p)
{
    size_t steps = dc_presence_tick_steps(p);
    if (!p->are_leases_held) {
        expire_list(p, &p->leases, steps);
    }
    expire_list(p, &p->graces, steps);
}

void dc_presence_hold_leases(struct dc_presence *p, bool is_held)
{
    p->are_leases_held = is_held;
}
