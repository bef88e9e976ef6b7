/* Saying everything, in slices: what a new leader finds different from the stream, or all of it
 * when gateways have missed something.  What changes meanwhile is published as ever, so nothing
 * that is said here can be older than what has been said. */
#include "base/mem.h"
#include "roles/presence_aggregator/aggregator.h"

/* Members in one message: with the longest of names it fits the bus (bus/bus.h), as the JSON of a
 * member has less than 2.2 KB. */
#define MEMBERS_A_PART 100
#define STEPS_A_PART   32
/* Reading a room's payload with its sample of people, and holding one of them in it. */
#define STEPS_A_PAYLOAD 4
#define STEPS_A_HELD    2
/* A room with more people is not answered for alone: everybody's members are said. */
#define ROOM_AT_ONCE_MAX 1000

/* --- people whom nobody has announced --- */

static struct dc_strbuf held_id(struct dc_slice user_id)
{
    struct dc_strbuf id = {0};
    dc_strbuf_add(&id, DC_S(DC_HELD_PREFIX));
    dc_strbuf_add(&id, user_id);
    return id;
}

static void note_unheld(const struct dc_aggregator *a, enum dc_status st)
{
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(a->ctx->log, "presence.not_held", DC_LF_Z("code", dc_status_code(st)));
    }
}

static enum dc_status hold(struct dc_aggregator *a, struct dc_slice user_id,
                           struct dc_slice username, enum dc_presence_status status)
{
    struct dc_strbuf id = held_id(user_id);
    enum dc_status st = dc_strbuf_ok(&id)
                            ? dc_presence_session_beat(a->core, dc_strbuf_slice(&id), user_id,
                                                       username, status, dc_agg_now(a))
                            : DC_NO_MEMORY;
    if (st == DC_OK && !dc_fade_put(&a->held, user_id, dc_strbuf_slice(&id), dc_agg_now_ms(a))) {
        st = DC_LIMIT; /* for a whole lease, then */
    }
    dc_strbuf_free(&id);
    note_unheld(a, st);
    return st;
}

/* Of him the homeserver alone tells, and it has: what the core knows of him is the truth, and the
 * stream has a former leader's older word. */
static bool is_told_by_homeserver(const struct dc_aggregator *a, struct dc_slice user_id)
{
    return user_id.len > 0 && user_id.ptr[0] == '@' && dc_agg_matrix_is_running(a) &&
           dc_agg_matrix_is_known(a);
}

static void hold_user(struct dc_aggregator *a, const struct dc_mirror_user *u)
{
    bool is_shown = u->status != DC_PRESENCE_OFFLINE && u->gen >= a->mirror->user_gen;
    if (is_shown && !is_told_by_homeserver(a, u->user_id) &&
        dc_presence_user_get(a->core, u->user_id) == DC_PRESENCE_OFFLINE) {
        (void)hold(a, u->user_id, u->username, u->status);
    }
}

/* Somebody whom a room's sample names. */
static size_t hold_member(struct dc_aggregator *a, struct dc_slice room_id, const json_t *person)
{
    struct dc_slice user_id = dc_json_text(person, "user_id");
    struct dc_slice username = dc_json_text(person, "username");
    struct dc_strbuf id = {0};
    if (user_id.len == 0 || user_id.len > DC_PRESENCE_ID_MAX || username.len > DC_PRESENCE_ID_MAX ||
        is_told_by_homeserver(a, user_id) || dc_presence_is_member(a->core, user_id, room_id)) {
        return 0;
    }
    /* Passive: what he does, others say. */
    id = held_id(user_id);
    if (dc_presence_session_is_known(a->core, dc_strbuf_slice(&id)) ||
        hold(a, user_id, username, DC_PRESENCE_OFFLINE) == DC_OK) {
        note_unheld(
            a, dc_presence_session_join(a->core, dc_strbuf_slice(&id), room_id, dc_agg_now(a)));
    }
    dc_strbuf_free(&id);
    return STEPS_A_HELD;
}

static size_t hold_room(struct dc_aggregator *a, const struct dc_mirror_room *r)
{
    json_t *object = NULL;
    size_t steps = STEPS_A_PAYLOAD;
    size_t i;
    json_t *person;
    if (r->gen < a->mirror->room_gen || dc_json_parse(r->payload, &object, NULL) != DC_OK) {
        return steps;
    }
    struct dc_slice room_id = dc_json_text(object, "room_id");
    const json_t *people = json_object_get(object, "online_users");
    if (json_array_size(people) > 0 && room_id.len > 0 && room_id.len <= DC_PRESENCE_ID_MAX) {
        enum dc_status st = dc_presence_room_add(a->core, room_id, r->slug, dc_agg_now(a));
        note_unheld(a, st);
        json_array_foreach(people, i, person)
        {
            steps += hold_member(a, room_id, person);
        }
    }
    json_decref(object);
    return steps;
}

/* --- one step of each stage: how much work it was; 0: the stage is over --- */

static size_t step_hold_users(struct dc_aggregator *a)
{
    struct dc_mirror_user *u = dc_mirror_next_user(a->mirror);
    if (u != NULL) {
        hold_user(a, u);
    }
    return u != NULL;
}

static size_t step_hold_rooms(struct dc_aggregator *a)
{
    const struct dc_mirror_room *r = dc_mirror_next_room(a->mirror);
    return r == NULL ? 0 : hold_room(a, r);
}

static void say_user(void *data, const struct dc_presence_user_state *u)
{
    dc_agg_publish_user(data, u);
}

static size_t step_users(struct dc_aggregator *a)
{
    bool restarts = a->sweep.restarts;
    a->sweep.restarts = false;
    return dc_presence_walk_users(a->core, restarts, 1, say_user, a);
}

struct part {
    const struct dc_aggregator *a;
    struct dc_slice room_id;
    struct dc_jsonw *w;
};

static void write_member(void *data, const struct dc_presence_user_state *u)
{
    const struct part *part = data;
    dc_agg_write_member(part->a, part->room_id, u, part->w);
}

/* The next part of a room's members. False: it was the last. */
static bool say_members(struct dc_aggregator *a, struct dc_slice room_id, struct dc_slice slug,
                        bool restarts, int64_t member_gen)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    struct part part = {a, room_id, &w};
    dc_jsonw_init(&w, &out);
    dc_jsonw_array(&w);
    size_t n =
        dc_presence_walk_members(a->core, room_id, restarts, MEMBERS_A_PART, write_member, &part);
    dc_jsonw_end(&w);
    if (dc_strbuf_ok(&out)) {
        dc_agg_publish_members(a, room_id, slug, dc_strbuf_slice(&out), n < MEMBERS_A_PART,
                               member_gen);
    } else {
        dc_sweep_want(a, false);
    }
    dc_strbuf_free(&out);
    return n == MEMBERS_A_PART;
}

static void enter_room(void *data, struct dc_slice room_id, struct dc_slice slug)
{
    struct dc_aggregator *a = data;
    struct dc_sweep *s = &a->sweep;
    memcpy(s->room_id, room_id.ptr, room_id.len);
    s->room_id_len = room_id.len;
    if (slug.len > 0) {
        memcpy(s->slug, slug.ptr, slug.len);
    }
    s->slug_len = slug.len;
    s->is_in_room = true;
}

static size_t step_rooms(struct dc_aggregator *a)
{
    struct dc_sweep *s = &a->sweep;
    bool is_first = !s->is_in_room;
    if (is_first) {
        bool restarts = s->restarts;
        s->restarts = false;
        if (dc_presence_walk_rooms(a->core, restarts, 1, enter_room, a) == 0) {
            return 0;
        }
        if (s->is_full || a->mirror != NULL) {
            dc_presence_room_restate(a->core, dc_slice_make(s->room_id, s->room_id_len),
                                     dc_agg_now(a));
        }
    }
    s->is_in_room = say_members(a, dc_slice_make(s->room_id, s->room_id_len),
                                dc_slice_make(s->slug, s->slug_len), is_first, s->member_gen);
    return STEPS_A_PART;
}

/* What the stream shows and the core does not: nobody has been held, or a former leader spoke. */
static size_t step_left_users(struct dc_aggregator *a)
{
    const struct dc_mirror_user *u = dc_mirror_next_user(a->mirror);
    struct dc_presence_user_state state;
    if (u == NULL) {
        return 0;
    }
    if (dc_presence_user_find_state(a->core, u->user_id, &state)) {
        dc_agg_publish_user(a, &state); /* if it differs */
        return 1;
    }
    /* The mirror replaces its text when something is said. */
    struct dc_strbuf id = {0};
    dc_strbuf_add(&id, u->user_id);
    if (dc_strbuf_ok(&id)) {
        state = (struct dc_presence_user_state){.user_id = dc_strbuf_slice(&id),
                                                .status = DC_PRESENCE_OFFLINE,
                                                .last_active = dc_utc_now()};
        dc_agg_callbacks.user(a, &state); /* also if the stream says so already: it is to fade */
    }
    dc_strbuf_free(&id);
    return 1;
}

static void left_room(struct dc_aggregator *a, struct dc_slice room_id, struct dc_slice slug)
{
    struct dc_presence_room_state state;
    if (!dc_presence_room_get(a->core, room_id, &state)) {
        dc_agg_publish_nobody(a, room_id, slug); /* if it differs; it is to fade in any case */
    } else if (!dc_slice_eq(state.slug, slug)) {
        struct dc_strbuf subject = {0}; /* of a room that has another slug now */
        dc_agg_room_subject(slug, &subject);
        if (dc_strbuf_ok(&subject)) {
            dc_agg_forget(a, dc_strbuf_slice(&subject));
        }
        dc_strbuf_free(&subject);
    }
}

static size_t step_left_rooms(struct dc_aggregator *a)
{
    const struct dc_mirror_room *r = dc_mirror_next_room(a->mirror);
    json_t *object = NULL;
    if (r == NULL) {
        return 0;
    }
    if (dc_json_parse(r->payload, &object, NULL) == DC_OK) {
        struct dc_slice room_id = dc_json_text(object, "room_id");
        if (room_id.len > 0 && room_id.len <= DC_PRESENCE_ID_MAX) {
            left_room(a, room_id, dc_json_text(object, "room_slug"));
        }
    }
    json_decref(object);
    return STEPS_A_PAYLOAD;
}

/* --- stages --- */

static void end(struct dc_aggregator *a)
{
    struct dc_sweep *s = &a->sweep;
    bool rooms_and_users = s->is_full || a->mirror != NULL;
    if (rooms_and_users) {
        dc_presence_totals_restate(a->core, dc_agg_now(a));
    }
    s->stage = DC_SWEEP_NONE;
    s->is_full = false;
    dc_agg_publish_markers(a, rooms_and_users, s->member_gen);
    a->swept_ms = dc_agg_now_ms(a);
    DC_LOG_INFO_EVENT(a->ctx->log, "presence.said", DC_LF_I("term", a->term),
                      DC_LF_I("gen", a->gen), DC_LF_B("rooms_and_users", rooms_and_users));
    dc_agg_arm_clock(a);
}

static void enter(struct dc_aggregator *a, enum dc_sweep_stage stage)
{
    struct dc_sweep *s = &a->sweep;
    s->restarts = true;
    s->is_in_room = false;
    bool needs_mirror = stage == DC_SWEEP_HOLD_USERS || stage == DC_SWEEP_HOLD_ROOMS ||
                        stage == DC_SWEEP_LEFT_USERS || stage == DC_SWEEP_LEFT_ROOMS;
    if (needs_mirror && a->mirror == NULL) {
        stage = stage < DC_SWEEP_USERS ? DC_SWEEP_USERS : DC_SWEEP_END;
    }
    if (stage == DC_SWEEP_USERS && !s->is_full && a->mirror == NULL) {
        stage = DC_SWEEP_ROOMS; /* only the members */
    }
    if (stage == DC_SWEEP_LEFT_USERS || stage == DC_SWEEP_HOLD_USERS) {
        dc_mirror_rewind(a->mirror);
    }
    s->stage = stage;
}

static size_t step(struct dc_aggregator *a)
{
    switch (a->sweep.stage) {
    case DC_SWEEP_HOLD_USERS:
        return step_hold_users(a);
    case DC_SWEEP_HOLD_ROOMS:
        return step_hold_rooms(a);
    case DC_SWEEP_USERS:
        return step_users(a);
    case DC_SWEEP_ROOMS:
        return step_rooms(a);
    case DC_SWEEP_LEFT_USERS:
        return step_left_users(a);
    case DC_SWEEP_LEFT_ROOMS:
        return step_left_rooms(a);
    case DC_SWEEP_NONE:
    case DC_SWEEP_END:
        break;
    }
    return 0;
}

static void on_turn(struct dc_turn *turn)
{
    struct dc_aggregator *a = DC_CONTAINER_OF(turn, struct dc_aggregator, sweep.turn);
    struct dc_sweep *s = &a->sweep;
    size_t done = 0;
    while (s->stage != DC_SWEEP_NONE && done < DC_AGG_TURN_STEPS && dc_agg_may_publish(a)) {
        if (s->stage == DC_SWEEP_END) {
            end(a);
            break;
        }
        size_t n = step(a);
        done += n > 0 ? n : 1;
        if (n == 0 && s->stage != DC_SWEEP_NONE) {
            enter(a, (enum dc_sweep_stage)((int)s->stage + 1));
        }
    }
    if (s->stage != DC_SWEEP_NONE) {
        dc_turn_schedule(a->ctx->loop, turn);
    }
    dc_agg_fed(a);
}

/* A generation above all that were heard of; by the term, so that it grows even when everybody has
 * forgotten the last one. */
static int64_t next_gen(const struct dc_aggregator *a, int64_t gen)
{
    return gen + 1 > a->term ? gen + 1 : a->term;
}

static void start(struct dc_aggregator *a, bool is_full, enum dc_sweep_stage stage)
{
    struct dc_sweep *s = &a->sweep;
    if (is_full) {
        a->gen = next_gen(a, a->gen);
    }
    a->member_gen = next_gen(a, a->member_gen);
    s->member_gen = a->member_gen;
    s->is_full = is_full;
    a->swept_ms = dc_agg_now_ms(a);
    enter(a, stage);
    dc_turn_schedule(a->ctx->loop, &s->turn);
}

/* --- for the others --- */

void dc_sweep_init(struct dc_aggregator *a)
{
    dc_turn_init(&a->sweep.turn, on_turn);
    a->swept_ms = INT64_MIN / 2;
}

void dc_sweep_cancel(struct dc_aggregator *a)
{
    dc_turn_cancel(&a->sweep.turn);
    a->sweep.stage = DC_SWEEP_NONE;
    a->sweep.is_full = false;
    a->wants_full = false;
    a->wants_members = false;
}

void dc_sweep_take_over(struct dc_aggregator *a)
{
    const struct dc_mirror *m = a->mirror;
    bool is_whole = m->user_gen > 0 && m->user_gen == m->room_gen && m->user_gen >= a->gen;
    a->gen = m->gen > a->gen ? m->gen : a->gen;
    if (is_whole) {
        a->gen = m->user_gen;
    }
    start(a, !is_whole, DC_SWEEP_HOLD_USERS);
}

void dc_sweep_want(struct dc_aggregator *a, bool is_full)
{
    a->wants_full = a->wants_full || is_full;
    a->wants_members = true;
    dc_agg_arm_clock(a);
}

/* One after the other, with a pause: those who ask at the same time get one answer. */
int64_t dc_sweep_due_ms(const struct dc_aggregator *a)
{
    bool is_wanted = a->wants_full || a->wants_members;
    if (a->phase != DC_AGG_LEADING || !is_wanted || a->sweep.stage != DC_SWEEP_NONE) {
        return INT64_MAX;
    }
    return a->swept_ms + dc_agg_leader_lease_ms(a) / 10;
}

void dc_sweep_clock(struct dc_aggregator *a)
{
    if (dc_sweep_due_ms(a) > dc_agg_now_ms(a)) {
        return;
    }
    bool is_full = a->wants_full;
    a->wants_full = false;
    a->wants_members = false;
    a->resyncs->value++;
    start(a, is_full, DC_SWEEP_USERS);
}

void dc_sweep_room(struct dc_aggregator *a, struct dc_slice room_id)
{
    struct dc_presence_room_state state;
    if (!dc_presence_room_get(a->core, room_id, &state)) {
        return; /* nobody is there */
    }
    if (state.online_count > ROOM_AT_ONCE_MAX || a->sweep.stage != DC_SWEEP_NONE) {
        dc_sweep_want(a, false); /* one walk, and one generation, at a time */
        return;
    }
    struct dc_strbuf slug = {0};
    dc_strbuf_add(&slug, state.slug);
    int64_t member_gen = ++a->member_gen;
    bool restarts = true;
    while (say_members(a, room_id, dc_strbuf_slice(&slug), restarts, member_gen)) {
        restarts = false;
    }
    dc_strbuf_free(&slug);
}

void dc_sweep_strangers(struct dc_aggregator *a)
{
    struct dc_mirror *m = a->mirror;
    if (a->sweep.stage != DC_SWEEP_NONE) {
        return; /* markers of a sweep before this one */
    }
    if (!m->has_stranger) {
        dc_mirror_close(a);
        return;
    }
    /* Compared and said once more; our next markers come behind it. */
    m->is_user_marker_back = false;
    m->is_room_marker_back = false;
    start(a, false, DC_SWEEP_USERS);
    m->has_stranger = false;
}
