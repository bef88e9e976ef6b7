/* Who is in the city's Matrix rooms, as joined_members and /sync tell it.  A list that is being
 * taken over is of one moment: nobody else changes these members meanwhile, since /sync waits for
 * its turn (matrix_turns.c). */
#include "base/mem.h"
#include "matrix/matrix_error.h"
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

struct list {
    struct dc_ms_job job;
    struct dc_ms_room *room;
    json_t *joined;
    void *at; /* of joined */
    uint64_t version;
    size_t to_check;          /* members who may not have been named */
    bool has_begun, is_other; /* of another time */
    dc_ms_members_cb done;
};

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

/* Who has been looked at goes to the end of the list. */
static void check_one(struct dc_ms_room *room)
{
    struct dc_ms_member *m = DC_LIST_ENTRY(room->all_members.next, struct dc_ms_member, of_room);
    if (m->named != room->whole) {
        drop(m);
    } else {
        dc_list_remove(&m->of_room);
        dc_list_push_back(&room->all_members, &m->of_room);
    }
}

static size_t step(struct dc_ms *ms, struct dc_ms_job *job, size_t max)
{
    struct list *l = (struct list *)job;
    struct dc_ms_room *room = l->room;
    size_t n = 0;
    (void)ms;
    l->is_other = room->is_gone || room->version != l->version;
    if (!l->is_other && !l->has_begun) {
        l->has_begun = true;
        l->at = json_object_iter(l->joined);
        room->whole++;
        l->to_check = room->members.count;
    }
    for (; !l->is_other && n < max && l->at != NULL; n++) {
        take_named(room, dc_slice_z(json_object_iter_key(l->at)), json_object_iter_value(l->at));
        l->at = json_object_iter_next(l->joined, l->at);
    }
    for (; !l->is_other && n < max && l->to_check > 0 && room->members.count > 0; n++) {
        check_one(room);
        l->to_check--;
    }
    return n;
}

static void end(struct dc_ms *ms, struct dc_ms_job *job, bool is_complete)
{
    struct list *l = (struct list *)job;
    (void)ms;
    l->done(l->room, is_complete && !l->is_other);
    dc_free(l);
}

enum dc_status dc_ms_members_whole(struct dc_ms_room *room, const struct dc_matrix_answer *answer,
                                   dc_ms_members_cb done, struct dc_error *err)
{
    static const struct dc_ms_job_kind kind = {.step = step, .end = end};
    json_t *joined = json_object_get(answer->json, "joined");
    if (!json_is_object(joined)) {
        return dc_matrix_bad_answer(err, "the members of a room");
    }
    struct list *l = dc_calloc(1, sizeof(*l));
    l->room = room;
    l->joined = joined;
    l->version = room->asked_version;
    l->done = done;
    dc_ms_job_start(room->ms, &l->job, &kind, dc_matrix_keep(answer));
    return DC_OK;
}
