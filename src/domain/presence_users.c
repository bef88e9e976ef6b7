/* Presence core: users, and how their status follows from its sources. */
#include "domain/presence_priv.h"

static size_t user_size(const struct dc_presence_user *u)
{
    return sizeof(*u) + u->id_len;
}

struct dc_presence_user *dc_presence_user_find(const struct dc_presence *p, struct dc_slice id)
{
    return dc_map_get(&p->users, id);
}

struct dc_presence_user *dc_presence_user_need(struct dc_presence *p, struct dc_slice id)
{
    struct dc_presence_user *u = dc_presence_user_find(p, id);
    if (u != NULL) {
        return u;
    }
    if (p->users.count >= p->opts.max_users) {
        return NULL;
    }
    u = dc_presence_new(p, sizeof(*u) + id.len);
    dc_list_init(&u->online_link);
    dc_list_init(&u->dirty_link);
    dc_list_init(&u->sessions);
    dc_list_init(&u->typing);
    u->id_len = (uint8_t)id.len;
    memcpy(u->id, id.ptr, id.len);
    dc_map_put(&p->users, dc_presence_user_id(u), u);
    return u;
}

void dc_presence_user_free(struct dc_presence *p, struct dc_presence_user *u)
{
    DC_ASSERT(u->n_places == 0 && dc_list_is_empty(&u->sessions) && dc_list_is_empty(&u->typing));
    dc_list_remove(&u->online_link);
    dc_list_remove(&u->dirty_link);
    dc_presence_drop(p, u->username, u->username_len);
    dc_presence_drop(p, u, user_size(u));
}

void dc_presence_user_rename(struct dc_presence *p, struct dc_presence_user *u,
                             struct dc_slice username)
{
    if (username.len == 0 || dc_slice_eq(username, dc_slice_make(u->username, u->username_len))) {
        return;
    }
    dc_presence_drop(p, u->username, u->username_len);
    u->username = dc_presence_new(p, username.len);
    u->username_len = (uint8_t)username.len;
    memcpy(u->username, username.ptr, username.len);
}

struct dc_presence_user_state dc_presence_user_state(const struct dc_presence_user *u)
{
    return (struct dc_presence_user_state){
        .user_id = dc_presence_user_id(u),
        .username = dc_slice_make(u->username, u->username_len),
        .status = (enum dc_presence_status)u->status,
        .last_active = u->last_active,
    };
}

void dc_presence_user_dirty(struct dc_presence *p, struct dc_presence_user *u)
{
    if (dc_list_is_empty(&u->dirty_link)) {
        dc_list_push_back(&p->dirty_users, &u->dirty_link);
    }
}

static enum dc_presence_status derive(const struct dc_presence_user *u,
                                      enum dc_presence_status matrix_status)
{
    const uint32_t *sessions = u->n_sessions_by_status;
    if (sessions[DC_PRESENCE_ONLINE] > 0 || matrix_status == DC_PRESENCE_ONLINE) {
        return DC_PRESENCE_ONLINE;
    }
    if (sessions[DC_PRESENCE_AWAY] > 0 || matrix_status == DC_PRESENCE_AWAY) {
        return DC_PRESENCE_AWAY;
    }
    /* Passive sessions alone: somebody is there. */
    return sessions[DC_PRESENCE_OFFLINE] > 0 ? DC_PRESENCE_ONLINE : DC_PRESENCE_OFFLINE;
}

static void count_totals(struct dc_presence *p, enum dc_presence_status from,
                         enum dc_presence_status to)
{
    p->totals.online -= from != DC_PRESENCE_OFFLINE;
    p->totals.online += to != DC_PRESENCE_OFFLINE;
    p->totals.away -= from == DC_PRESENCE_AWAY;
    p->totals.away += to == DC_PRESENCE_AWAY;
}

static void set_status(struct dc_presence *p, struct dc_presence_user *u,
                       enum dc_presence_status to)
{
    enum dc_presence_status from = (enum dc_presence_status)u->status;
    u->status = (uint8_t)to;
    count_totals(p, from, to);
    if (to == DC_PRESENCE_OFFLINE) {
        dc_list_remove(&u->online_link);
    } else if (from == DC_PRESENCE_OFFLINE) {
        dc_list_push_back(&p->online, &u->online_link);
    }
    if (p->cbs.user != NULL) {
        struct dc_presence_user_state state = dc_presence_user_state(u);
        p->cbs.user(p->data, &state);
    }
    dc_presence_members_restate(p, u, from, to);
}

static bool is_needed(const struct dc_presence_user *u)
{
    return u->status != DC_PRESENCE_OFFLINE || !dc_list_is_empty(&u->sessions) || u->n_places > 0 ||
           !dc_list_is_empty(&u->typing);
}

static void settle_native(struct dc_presence *p, struct dc_presence_user *u)
{
    enum dc_presence_status now = derive(u, DC_PRESENCE_OFFLINE);
    if (now == (enum dc_presence_status)u->native_status) {
        return;
    }
    u->native_status = (uint8_t)now;
    if (p->cbs.native != NULL) {
        struct dc_presence_user_state state = dc_presence_user_state(u);
        state.status = now;
        p->cbs.native(p->data, &state);
    }
}

void dc_presence_user_settle(struct dc_presence *p, struct dc_presence_user *u)
{
    enum dc_presence_status now = derive(u, (enum dc_presence_status)u->matrix_status);
    settle_native(p, u);
    if (now != (enum dc_presence_status)u->status) {
        set_status(p, u, now);
    }
    if (!is_needed(u)) {
        dc_map_remove(&p->users, dc_presence_user_id(u));
        dc_presence_user_free(p, u);
    }
}

enum dc_presence_status dc_presence_user_get(const struct dc_presence *p, struct dc_slice user_id)
{
    const struct dc_presence_user *u = dc_presence_user_find(p, user_id);
    return u == NULL ? DC_PRESENCE_OFFLINE : (enum dc_presence_status)u->status;
}

enum dc_presence_status dc_presence_matrix_get(const struct dc_presence *p, struct dc_slice user_id)
{
    const struct dc_presence_user *u = dc_presence_user_find(p, user_id);
    return u == NULL ? DC_PRESENCE_OFFLINE : (enum dc_presence_status)u->matrix_status;
}

bool dc_presence_user_find_state(const struct dc_presence *p, struct dc_slice user_id,
                                 struct dc_presence_user_state *out)
{
    const struct dc_presence_user *u = dc_presence_user_find(p, user_id);
    if (u != NULL) {
        *out = dc_presence_user_state(u);
    }
    return u != NULL;
}

void dc_presence_online_users(const struct dc_presence *p, size_t max, dc_presence_visit_cb cb,
                              void *data)
{
    size_t n = 0;
    DC_LIST_FOREACH (it, &p->online) {
        if (it == &p->user_mark) {
            continue;
        }
        if (n++ == max) {
            break;
        }
        struct dc_presence_user_state state =
            dc_presence_user_state(DC_LIST_ENTRY(it, struct dc_presence_user, online_link));
        cb(data, &state);
    }
}
