/* Presence core: what a homeserver says about people.  It repeats itself, arrives in any order and
 * tells nothing when it restarts (matrix/FACTS §5-6), so every call is idempotent. */
#include "domain/presence_priv.h"

/* The newest known, and never in the future: the wall clock may have been set back meanwhile. */
static void note_active(const struct dc_presence *p, struct dc_presence_user *u, struct dc_utc at)
{
    if (at.ms > u->last_active.ms) {
        u->last_active = at;
    }
    if (u->last_active.ms > p->now.utc.ms) {
        u->last_active = p->now.utc;
    }
}

enum dc_status dc_presence_matrix_status(struct dc_presence *p, struct dc_slice user_id,
                                         enum dc_presence_status status, struct dc_utc last_active,
                                         struct dc_presence_now now)
{
    if (!dc_presence_id_ok(user_id) || (unsigned)status > DC_PRESENCE_ONLINE) {
        return DC_INVALID;
    }
    dc_presence_begin(p, now);
    enum dc_status st = DC_OK;
    /* Nobody is remembered for being offline. */
    struct dc_presence_user *u = status == DC_PRESENCE_OFFLINE ? dc_presence_user_find(p, user_id)
                                                               : dc_presence_user_need(p, user_id);
    if (u != NULL) {
        if (last_active.ms > 0) {
            note_active(p, u, last_active);
        }
        u->matrix_status = (uint8_t)status;
        dc_presence_user_dirty(p, u);
    } else if (status != DC_PRESENCE_OFFLINE) {
        st = DC_LIMIT;
    }
    dc_presence_settle(p);
    return st;
}

static enum dc_status matrix_join(struct dc_presence *p, struct dc_slice user_id,
                                  struct dc_presence_room *r)
{
    struct dc_presence_user *u = dc_presence_user_need(p, user_id);
    if (u == NULL) {
        return DC_LIMIT;
    }
    struct dc_presence_membership *m = dc_presence_member_need(p, u, r);
    if (m == NULL) {
        dc_presence_user_dirty(p, u);
        return DC_LIMIT;
    }
    m->is_matrix = true;
    return DC_OK;
}

static void matrix_leave(struct dc_presence *p, struct dc_slice user_id, struct dc_presence_room *r)
{
    struct dc_presence_user *u = dc_presence_user_find(p, user_id);
    if (u == NULL) {
        return;
    }
    dc_presence_typing_stop(p, u, r, DC_TYPING_MATRIX);
    struct dc_presence_membership *m = dc_presence_member_find(u, r);
    if (m != NULL && m->is_matrix) {
        m->is_matrix = false;
        dc_presence_member_release(p, m);
    }
}

enum dc_status dc_presence_matrix_member(struct dc_presence *p, struct dc_slice user_id,
                                         struct dc_slice room_id, bool is_member,
                                         struct dc_presence_now now)
{
    if (!dc_presence_id_ok(user_id)) {
        return DC_INVALID;
    }
    dc_presence_begin(p, now);
    enum dc_status st = DC_OK;
    struct dc_presence_room *r = dc_presence_room_find(p, room_id);
    if (r == NULL) {
        st = DC_NOT_FOUND;
    } else if (is_member) {
        st = matrix_join(p, user_id, r);
    } else {
        matrix_leave(p, user_id, r);
    }
    dc_presence_settle(p);
    return st;
}
