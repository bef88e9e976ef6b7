/* One answer of /sync: for each room its state, then its timeline, then who types; presence last,
 * when everybody's rooms are known (matrix/matrix_sync.h walks in that order).  All of it may come
 * again, and changes nothing then; so an answer of which a part has been applied when we stop, or
 * another leads, has done no harm: the place to go on from moves when all of it has been. */
#include "base/mem.h"
#include "roles/presence_aggregator/matrix_source.h"

/* A homeserver that restarts forgets who was typing and never says so (matrix/FACTS §6); while it
 * runs it does not repeat itself for somebody who goes on. */
#define TYPING_MS 60000

#define TYPING_MAX 64

struct answer {
    struct dc_ms_job job;
    struct dc_ms *ms;
    const struct dc_matrix_sync_visitor *visitor;
    struct dc_matrix_sync_cursor cursor;
    struct dc_slice next_batch;
    dc_ms_applied_cb applied;
    bool is_whole;
    bool has_begun;
    bool wants_mapping;
    bool has_presence; /* somebody is not offline */
};

/* --- rooms --- */

static void on_own_membership(struct dc_ms_room *room, const struct dc_matrix_event *event)
{
    struct dc_slice membership = dc_json_text(event->content, "membership");
    dc_ms_room_self(room, dc_slice_eq(membership, DC_S("join")));
}

static void on_membership(struct dc_ms *ms, struct dc_ms_room *room,
                          const struct dc_matrix_event *event)
{
    struct dc_slice localpart;
    struct dc_slice server;
    struct dc_slice membership = dc_json_text(event->content, "membership");
    if (dc_slice_eq(event->state_key, ms->user_id)) {
        on_own_membership(room, event);
    } else if (membership.ptr == NULL ||
               !dc_matrix_id_split(event->state_key, '@', &localpart, &server)) {
        ms->left_out->value++;
    } else if (!dc_ms_is_nobody(ms, event->state_key)) {
        dc_ms_member_set(room, event->state_key, dc_slice_eq(membership, DC_S("join")),
                         dc_matrix_read_text(event->content, "displayname"));
    }
}

static bool is_tombstone(const struct dc_matrix_event *event)
{
    return dc_slice_eq(event->type, DC_S("m.room.tombstone"));
}

/* A room that has been replaced, or named anew, may be another one in the city's eyes. */
static bool may_move_room(const struct dc_matrix_event *event)
{
    return is_tombstone(event) || dc_slice_eq(event->type, DC_S("m.room.canonical_alias"));
}

static void on_event(void *data, struct dc_slice room_id, const struct dc_matrix_event *event)
{
    struct answer *answer = data;
    struct dc_ms_room *room = dc_ms_room_find(answer->ms, room_id);
    if (event->state_key.ptr == NULL) {
        return;
    }
    answer->ms->events_in->value++;
    if (may_move_room(event)) {
        answer->wants_mapping = true;
        if (room != NULL && is_tombstone(event)) {
            dc_ms_room_replaced(room);
        }
    } else if (room != NULL && dc_slice_eq(event->type, DC_S("m.room.member"))) {
        on_membership(answer->ms, room, event);
    }
}

static void on_typing(void *data, struct dc_slice room_id, const json_t *user_ids)
{
    struct answer *answer = data;
    struct dc_ms *ms = answer->ms;
    struct dc_ms_room *room = dc_ms_room_find(ms, room_id);
    struct dc_slice ids[TYPING_MAX];
    struct dc_strbuf texts = {0};
    if (room == NULL) {
        return;
    }
    ms->events_in->value++;
    size_t n = dc_ms_typing_ids(ms, user_ids, ids, DC_ARRAY_LEN(ids), &texts);
    struct dc_presence_now now = dc_agg_now(ms->a);
    enum dc_status st =
        dc_presence_matrix_typing(ms->a->core, room->room_id, ids, n, TYPING_MS, now);
    if (st == DC_NOT_FOUND && n > 0) { /* idle so far */
        st = dc_presence_room_add(ms->a->core, room->room_id, room->slug, now);
        if (st == DC_OK) {
            st = dc_presence_matrix_typing(ms->a->core, room->room_id, ids, n, TYPING_MS, now);
        }
    }
    ms->applied->value += st == DC_OK;
    ms->left_out->value += st != DC_OK && n > 0;
    dc_strbuf_free(&texts);
}

static void on_left(void *data, struct dc_slice room_id)
{
    struct answer *answer = data;
    struct dc_ms_room *room = dc_ms_room_find(answer->ms, room_id);
    if (room != NULL) {
        dc_ms_room_self(room, false);
    }
}

/* Whoever invites us to a room of the city spares us the wait. */
static void on_invited(void *data, struct dc_slice room_id)
{
    struct answer *answer = data;
    struct dc_ms_room *room = dc_ms_room_find(answer->ms, room_id);
    if (room != NULL && !room->is_joined) {
        room->due_ms = 0;
        dc_backoff_reset(&room->pause);
        dc_ms_room_want(room, true);
    }
}

/* --- presence --- */

/* A homeserver without presence calls people offline who join. */
static void note_presence(struct answer *answer, const struct dc_matrix_presence *presence)
{
    answer->has_presence =
        answer->has_presence || !dc_slice_eq(presence->presence, DC_S("offline"));
}

static void on_presence(void *data, const struct dc_matrix_presence *presence)
{
    struct answer *answer = data;
    note_presence(answer, presence);
    answer->ms->events_in->value++;
    dc_ms_presence(answer->ms, presence);
}

/* What has been heard since the question is newer than this. */
static void on_whole_presence(void *data, const struct dc_matrix_presence *presence)
{
    struct answer *answer = data;
    const struct dc_ms_person *p = dc_ms_person_find(answer->ms, presence->user_id);
    note_presence(answer, presence);
    if (p == NULL || p->heard < answer->ms->whole_since) {
        dc_ms_presence(answer->ms, presence);
    }
}

/* --- in turns --- */

static size_t step(struct dc_ms *ms, struct dc_ms_job *job, size_t max)
{
    struct answer *answer = (struct answer *)job;
    size_t n = 0;
    if (!answer->has_begun) {
        answer->has_begun = true;
        ms->heard++;
    }
    while (n < max && dc_matrix_sync_next(&answer->cursor, answer->visitor, answer)) {
        n++;
    }
    return n;
}

static void conclude(struct dc_ms *ms, const struct answer *answer)
{
    size_t skipped = answer->cursor.skipped;
    if (skipped > 0) {
        ms->left_out->value += skipped;
        DC_LOG_DEBUG_EVENT(ms->a->ctx->log, "presence.matrix_left_out",
                           DC_LF_I("entries", (int64_t)skipped));
    }
    if (answer->wants_mapping) {
        dc_ms_mapping_want(ms);
    }
    if (answer->has_presence) {
        dc_ms_probe_heard(ms);
    } else if (answer->is_whole) {
        dc_ms_probe_want(ms, 0);
    }
}

static void end(struct dc_ms *ms, struct dc_ms_job *job, bool is_complete)
{
    struct answer *answer = (struct answer *)job;
    if (is_complete) {
        conclude(ms, answer);
        answer->applied(ms, answer->next_batch);
    }
    dc_free(answer);
}

static enum dc_status begin(struct dc_ms *ms, const struct dc_matrix_answer *from,
                            const struct answer *how, struct dc_error *err)
{
    static const struct dc_ms_job_kind kind = {.step = step, .end = end};
    struct answer *answer = dc_calloc(1, sizeof(*answer));
    *answer = *how;
    answer->ms = ms;
    enum dc_status st = dc_matrix_sync_open(from->json, &answer->cursor, &answer->next_batch, err);
    if (st != DC_OK) {
        dc_free(answer);
        return st;
    }
    dc_ms_job_start(ms, &answer->job, &kind, dc_matrix_keep(from));
    return DC_OK;
}

enum dc_status dc_ms_apply(struct dc_ms *ms, const struct dc_matrix_answer *answer, bool is_whole,
                           dc_ms_applied_cb applied, struct dc_error *err)
{
    static const struct dc_matrix_sync_visitor visitor = {.event = on_event,
                                                          .typing = on_typing,
                                                          .left = on_left,
                                                          .invited = on_invited,
                                                          .presence = on_presence};
    const struct answer how = {.visitor = &visitor, .applied = applied, .is_whole = is_whole};
    return begin(ms, answer, &how, err);
}

enum dc_status dc_ms_apply_whole(struct dc_ms *ms, const struct dc_matrix_answer *answer,
                                 dc_ms_applied_cb applied, struct dc_error *err)
{
    static const struct dc_matrix_sync_visitor visitor = {.presence = on_whole_presence};
    const struct answer how = {.visitor = &visitor, .applied = applied, .is_whole = true};
    return begin(ms, answer, &how, err);
}
