/* Who is in the city's Matrix rooms, as joined_members and /sync tell it. */
#include "base/mem.h"
#include "roles/presence_aggregator/matrix_source.h"

enum dc_status dc_ms_member_tell(struct dc_ms_room *room, const struct dc_ms_person *p,
                                 bool is_member)
{
    struct dc_presence *core = room->ms->a->core;
    struct dc_presence_now now = dc_agg_now(room->ms->a);
    enum dc_status st = dc_presence_matrix_member(core, p->id, room->room_id, is_member, now);
    if (st == DC_NOT_FOUND && is_member) { /* nobody has been there so far, or for long */
        st = dc_presence_room_add(core, room->room_id, room->slug, now);
        if (st == DC_OK) {
            st = dc_presence_matrix_member(core, p->id, room->room_id, is_member, now);
        }
    }
    return st;
}

/* --- one of them --- */

static void add(struct dc_ms_room *room, struct dc_slice mxid, struct dc_slice name)
{
    struct dc_ms *ms = room->ms;
    struct dc_ms_person *p = dc_ms_person_need(ms, mxid);
    if (p == NULL) {
        ms->left_out->value++;
        return;
    }
    dc_ms_person_call(p, name);
    if (p->id.len > 0 && dc_ms_member_tell(room, p, true) != DC_OK) {
        ms->left_out->value++;
        dc_ms_person_release(ms, p);
        return;
    }
    struct dc_ms_member *m = dc_calloc(1, sizeof(*m));
    ms->applied->value++;
    m->person = p;
    m->room = room;
    m->named = room->whole;
    dc_list_push_back(&room->all_members, &m->of_room);
    dc_list_push_back(&p->memberships, &m->of_person);
    (void)dc_map_put(&room->members, p->mxid, m);
    dc_ms_person_rooms(ms, p, true);
}

static void forget(struct dc_ms_member *m)
{
    dc_list_remove(&m->of_room);
    dc_list_remove(&m->of_person);
    dc_free(m);
}

static void drop(struct dc_ms_member *m)
{
    struct dc_ms_room *room = m->room;
    struct dc_ms_person *p = m->person;
    (void)dc_map_remove(&room->members, p->mxid);
    forget(m);
    if (p->id.len > 0) {
        (void)dc_ms_member_tell(room, p, false);
    }
    room->ms->applied->value++;
    dc_ms_person_rooms(room->ms, p, false);
    dc_ms_person_release(room->ms, p);
}

void dc_ms_member_set(struct dc_ms_room *room, struct dc_slice mxid, bool is_member,
                      struct dc_slice name)
{
    struct dc_ms_member *m = dc_map_get(&room->members, mxid);
    room->version++;
    if (is_member && m == NULL) {
        add(room, mxid, name);
    } else if (is_member) {
        dc_ms_person_call(m->person, name);
    } else if (m != NULL) {
        drop(m);
    }
}

/* --- all of them --- */

void dc_ms_members_clear(struct dc_ms_room *room)
{
    while (!dc_list_is_empty(&room->all_members)) {
        drop(DC_LIST_ENTRY(room->all_members.next, struct dc_ms_member, of_room));
    }
}

void dc_ms_members_free(struct dc_ms_room *room)
{
    while (!dc_list_is_empty(&room->all_members)) {
        forget(DC_LIST_ENTRY(room->all_members.next, struct dc_ms_member, of_room));
    }
    dc_map_free(&room->members);
}

static void take_named(struct dc_ms_room *room, struct dc_slice mxid, const json_t *profile)
{
    struct dc_slice localpart;
    struct dc_slice server;
    struct dc_ms_member *m = dc_map_get(&room->members, mxid);
    if (m != NULL) {
        m->named = room->whole;
    } else if (!dc_matrix_id_split(mxid, '@', &localpart, &server)) {
        room->ms->left_out->value++;
    } else if (!dc_ms_is_nobody(room->ms, mxid)) {
        add(room, mxid, dc_matrix_read_text(profile, "display_name"));
    }
}

void dc_ms_members_whole(struct dc_ms_room *room, json_t *joined)
{
    room->whole++;
    for (void *at = json_object_iter(joined); at != NULL; at = json_object_iter_next(joined, at)) {
        take_named(room, dc_slice_z(json_object_iter_key(at)), json_object_iter_value(at));
    }
    DC_LIST_FOREACH_SAFE (it, &room->all_members) {
        struct dc_ms_member *m = DC_LIST_ENTRY(it, struct dc_ms_member, of_room);
        if (m->named != room->whole) {
            drop(m);
        }
    }
    dc_agg_fed(room->ms->a);
}
