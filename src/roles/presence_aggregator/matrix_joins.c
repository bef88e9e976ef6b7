/* Being in the city's Matrix rooms.  A room is joined when the city says that it is one of its own;
 * its members come from joined_members and then from /sync.  Few calls at a time: the homeserver
 * has residents to serve. */
#include "base/mem.h"
#include "matrix/matrix_error.h"
#include "roles/presence_aggregator/matrix_source.h"

#define PARALLEL      4
#define CALL_MS       30000
#define LIMITED_MS    5000 /* when the homeserver does not say for how long */
#define OVERTAKEN_MAX 3

/* --- being in it --- */

void dc_ms_room_self(struct dc_ms_room *room, bool is_joined)
{
    struct dc_ms *ms = room->ms;
    if (is_joined == room->is_joined) {
        return;
    }
    room->is_joined = is_joined;
    if (is_joined) {
        room->was_joined = true;
        room->unknown_since_ms = 0;
        room->due_ms = 0;
        ms->n_unknown--;
        return;
    }
    room->unknown_since_ms = dc_ms_now_ms(ms);
    room->due_ms = dc_ms_now_ms(ms) + (int64_t)dc_backoff_next_ms(&room->pause);
    ms->n_unknown++;
    dc_ms_room_want(room, true);
}

/* --- what is to be done --- */

void dc_ms_room_want(struct dc_ms_room *room, bool wants_members)
{
    room->wants_members = room->wants_members || wants_members;
    if (room->step == DC_MS_ROOM_IDLE && !room->is_gone) {
        room->step = DC_MS_ROOM_WAITS;
        dc_list_push_back(&room->ms->work, &room->work_link);
        dc_ms_arm(room->ms);
    }
}

void dc_ms_room_unwant(struct dc_ms_room *room)
{
    dc_list_remove(&room->work_link);
    if (room->step == DC_MS_ROOM_WAITS) {
        room->step = DC_MS_ROOM_IDLE;
    }
}

void dc_ms_room_settle(struct dc_ms_room *room)
{
    struct dc_ms *ms = room->ms;
    if (room->is_settled) {
        return;
    }
    room->is_settled = true;
    ms->n_unsettled--;
    if (ms->n_unsettled == 0) {
        dc_ms_rooms_settled(ms);
    }
}

void dc_ms_rooms_begin(struct dc_ms *ms)
{
    DC_LIST_FOREACH (it, &ms->all_rooms) {
        struct dc_ms_room *room = DC_LIST_ENTRY(it, struct dc_ms_room, link);
        ms->n_unsettled += room->is_settled;
        room->is_settled = false;
        room->asked = 0;
        dc_ms_room_want(room, true);
    }
    if (ms->n_unsettled == 0) {
        dc_ms_rooms_settled(ms);
    }
    dc_ms_rooms_work(ms);
}

/* --- the calls --- */

/* The room that an answer belongs to, or NULL: nobody waits for it any more. */
static struct dc_ms_room *answered(void *data, enum dc_status st)
{
    struct dc_ms_room *room = data;
    struct dc_ms *ms = room->ms;
    ms->n_busy--;
    room->step = DC_MS_ROOM_IDLE;
    if (room->is_gone || ms->is_stopping) {
        if (room->is_gone) {
            dc_ms_members_free(room);
            dc_free(room->text);
            dc_free(room);
        }
        return NULL;
    }
    if (st == DC_OK) {
        dc_ms_answered(ms);
    }
    return room;
}

/* Not at once: many small rooms, answered as fast as they are asked for, would be one long turn. */
static void work_soon(struct dc_ms *ms)
{
    if (!ms->is_stopping) {
        dc_turn_schedule(ms->a->ctx->loop, &ms->rooms_turn);
    }
}

static void on_turn(struct dc_turn *turn)
{
    struct dc_ms *ms = DC_CONTAINER_OF(turn, struct dc_ms, rooms_turn);
    dc_ms_rooms_work(ms);
    dc_ms_arm(ms);
}

void dc_ms_joins_init(struct dc_ms *ms)
{
    dc_turn_init(&ms->rooms_turn, on_turn);
}

void dc_ms_joins_stop(struct dc_ms *ms)
{
    dc_turn_cancel(&ms->rooms_turn);
}

static void go_on(struct dc_ms *ms)
{
    work_soon(ms);
    dc_ms_pending_end(ms);
}

static void try_later(struct dc_ms_room *room)
{
    room->due_ms = dc_ms_now_ms(room->ms) + (int64_t)dc_backoff_next_ms(&room->pause);
    dc_ms_room_want(room, true);
    dc_ms_room_settle(room);
}

/* Once, until we are in it. */
static void say_unreachable(struct dc_ms_room *room, const struct dc_error *err)
{
    if (!room->is_said) {
        room->is_said = true;
        DC_LOG_WARN_EVENT(room->ms->a->ctx->log, "presence.matrix_room_unknown",
                          DC_LF_T("room", room->slug), DC_LF_T("matrix_room_id", room->mxid),
                          DC_LF_ERR(err),
                          DC_LF_Z("hint", "who is there is unknown until MATRIX_USER_ID may join"));
    }
}

/* The homeserver limits joins: nobody else needs to try before. */
static void hold_joins(struct dc_ms *ms, int64_t retry_after_ms)
{
    ms->join_after_ms = dc_ms_now_ms(ms) + (retry_after_ms > 0 ? retry_after_ms : LIMITED_MS);
    DC_LIST_FOREACH (it, &ms->work) {
        struct dc_ms_room *room = DC_LIST_ENTRY(it, struct dc_ms_room, work_link);
        if (!room->is_joined && !room->is_settled && ms->n_unsettled > 1) {
            room->is_settled = true; /* not the last: that one ends the start */
            ms->n_unsettled--;
        }
    }
}

static void on_joined(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                      const struct dc_error *err)
{
    struct dc_ms *ms = ((struct dc_ms_room *)data)->ms;
    struct dc_ms_room *room = answered(data, st);
    if (room != NULL && st == DC_OK) {
        ms->joins->value++;
        room->is_said = false;
        dc_ms_room_self(room, true);
        dc_ms_room_want(room, true);
    } else if (room != NULL && st == DC_LIMIT) {
        hold_joins(ms, answer->retry_after_ms);
        dc_ms_room_want(room, true);
        dc_ms_room_settle(room);
    } else if (room != NULL) {
        if (!dc_ms_note_failure(ms, st, err)) {
            say_unreachable(room, err);
        }
        try_later(room);
    }
    go_on(ms);
}

/* BUSY until here. */
static void on_members_taken(struct dc_ms_room *room, bool is_known)
{
    struct dc_ms *ms = room->ms;
    room = answered(room, DC_OK);
    if (room == NULL) {
        /* nobody waits for it */
    } else if (!is_known && room->asked < OVERTAKEN_MAX) {
        room->asked++;
        dc_ms_room_want(room, true);
    } else { /* if it is not known, the next look at the whole finds it quiet */
        room->wants_members = false;
        room->asked = 0;
        dc_ms_room_settle(room);
    }
    work_soon(ms);
}

static void on_members(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *err)
{
    struct dc_ms_room *room = data;
    struct dc_ms *ms = room->ms;
    struct dc_error wrong = {0};
    if (st == DC_OK && !ms->is_stopping && !room->is_gone) {
        st = dc_ms_members_whole(room, answer, on_members_taken, &wrong);
        if (st == DC_OK) {
            dc_ms_pending_end(ms);
            return;
        }
        say_unreachable(room, &wrong);
        err = &wrong;
    }
    room = answered(room, st);
    if (room != NULL && st == DC_FORBIDDEN) {
        dc_ms_room_self(room, false); /* not in it, whatever we have heard */
        dc_ms_room_want(room, true);
    } else if (room != NULL) {
        (void)dc_ms_note_failure(ms, st, err);
        try_later(room);
    }
    go_on(ms);
}

static void begin(struct dc_ms_room *room)
{
    struct dc_ms *ms = room->ms;
    struct dc_error err = {0};
    enum dc_status st;
    struct dc_matrix_how how =
        dc_ms_how(ms, CALL_MS, room->is_joined ? on_members : on_joined, room);
    dc_list_remove(&room->work_link);
    room->step = DC_MS_ROOM_IDLE;
    if (room->is_joined && !room->wants_members) {
        dc_ms_room_settle(room);
        return;
    }
    if (!room->is_joined && room->was_joined) {
        room->was_joined = false; /* history that a timeline brings does not get here */
        DC_LOG_WARN_EVENT(ms->a->ctx->log, "presence.matrix_room_left", DC_LF_T("room", room->slug),
                          DC_LF_T("matrix_room_id", room->mxid),
                          DC_LF_Z("detail", "thrown out; joining again"));
    }
    room->asked_version = room->version;
    st = room->is_joined ? dc_matrix_joined_members(ms->matrix, &how, room->mxid, &err)
                         : dc_matrix_join(ms->matrix, &how, room->mxid, &err);
    if (st != DC_OK) {
        say_unreachable(room, &err);
        try_later(room);
        return;
    }
    room->step = DC_MS_ROOM_BUSY;
    ms->n_busy++;
    ms->pending++;
}

static int64_t due_ms(const struct dc_ms_room *room)
{
    int64_t join_ms = room->is_joined ? 0 : room->ms->join_after_ms;
    return room->due_ms > join_ms ? room->due_ms : join_ms;
}

static bool may_work(const struct dc_ms *ms)
{
    return ms->phase >= DC_MS_ROOMS && !ms->is_refused && ms->n_busy < PARALLEL;
}

void dc_ms_rooms_work(struct dc_ms *ms)
{
    /* What begins may end at once and wait again, at the end of the list: each is looked at once.
     */
    struct dc_list todo;
    dc_list_init(&todo);
    dc_list_move_all(&todo, &ms->work);
    while (!dc_list_is_empty(&todo)) {
        struct dc_ms_room *room = DC_LIST_ENTRY(todo.next, struct dc_ms_room, work_link);
        dc_list_remove(&room->work_link);
        dc_list_push_back(&ms->work, &room->work_link);
        if (may_work(ms) && due_ms(room) <= dc_ms_now_ms(ms)) {
            begin(room);
        } else if (!may_work(ms)) {
            dc_list_move_all(&todo, &ms->work); /* in their order */
            dc_list_move_all(&ms->work, &todo);
            break;
        }
    }
}

int64_t dc_ms_rooms_due_ms(const struct dc_ms *ms)
{
    int64_t due = INT64_MAX;
    if (!may_work(ms)) {
        return INT64_MAX; /* a call that ends goes on */
    }
    DC_LIST_FOREACH (it, &ms->work) {
        int64_t at_ms = due_ms(DC_LIST_ENTRY(it, struct dc_ms_room, work_link));
        due = at_ms < due ? at_ms : due;
    }
    return due;
}

/* --- the homeserver's list of our rooms --- */

static void too_long_unknown(struct dc_ms_room *room)
{
    DC_LOG_WARN_EVENT(room->ms->a->ctx->log, "presence.matrix_room_lost",
                      DC_LF_T("room", room->slug), DC_LF_I("members", (int64_t)room->members.count),
                      DC_LF_Z("detail", "out of reach for too long: its members are not counted"));
    dc_ms_members_clear(room);
}

enum dc_status dc_ms_rooms_joined(struct dc_ms *ms, const json_t *answer, struct dc_error *err)
{
    json_t *list = json_object_get(answer, "joined_rooms");
    struct dc_map named;
    if (!json_is_array(list)) {
        return dc_matrix_bad_answer(err, "a list of rooms");
    }
    dc_map_init(&named, ms->rooms.seed);
    ms->n_strange = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *id = json_array_get(list, i);
        struct dc_slice mxid = dc_slice_make(json_string_value(id), json_string_length(id));
        if (dc_ms_room_find(ms, mxid) == NULL) {
            ms->n_strange++;
        } else {
            (void)dc_map_put(&named, mxid, id);
        }
    }
    DC_LIST_FOREACH (it, &ms->all_rooms) {
        struct dc_ms_room *room = DC_LIST_ENTRY(it, struct dc_ms_room, link);
        bool is_in = dc_map_get(&named, room->mxid) != NULL;
        if (is_in && room->is_joined) {
            dc_backoff_reset(&room->pause);
        }
        if (room->step != DC_MS_ROOM_BUSY) { /* else its own answer is to come */
            dc_ms_room_self(room, is_in);
        }
        if (!room->is_joined && room->members.count > 0 &&
            dc_ms_now_ms(ms) - room->unknown_since_ms >
                ms->a->ctx->settings->matrix_resync_interval_ms) {
            too_long_unknown(room);
        }
    }
    dc_map_free(&named);
    dc_agg_fed(ms->a);
    return DC_OK;
}
