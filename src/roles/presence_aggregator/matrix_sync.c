/* The homeserver's /sync: the start, the long poll, the look at the whole. */
#include "base/mem.h"
#include "matrix/matrix_error.h"
#include "roles/presence_aggregator/matrix_source.h"

#define FOUR_EVENTS                                                                                \
    "[\"m.room.member\",\"m.room.tombstone\",\"m.room.canonical_alias\",\"m.room.name\"]"
#define ROOM_START "\"account_data\":{\"types\":[]},\"room\":{\"account_data\":{\"types\":[]},"
#define EPHEMERAL  "\"ephemeral\":{\"types\":[\"m.typing\",\"m.receipt\"]}}}"
/* Measured on Synapse (matrix/FACTS §6).  The one of the specification loses membership. */
static const char filter_increments[] =
    "{\"presence\":{\"types\":[\"m.presence\"]}," ROOM_START
    "\"timeline\":{\"limit\":50,\"types\":" FOUR_EVENTS "},"
    "\"state\":{\"types\":" FOUR_EVENTS ",\"lazy_load_members\":false}," EPHEMERAL;
/* A place to go on from, who is not offline, who types; no member of any room. */
static const char filter_start[] =
    "{\"presence\":{\"types\":[\"m.presence\"]}," ROOM_START
    "\"timeline\":{\"limit\":0,\"types\":[]},\"state\":{\"types\":[]}," EPHEMERAL;

#define CALL_MS          30000
#define START_MS         120000 /* the first /sync of a large city */
#define POLL_PATIENCE_MS 20000  /* beyond the time that we let it be held */
#define ANSWER_MAX       ((size_t)256 * 1024 * 1024)
/* Answers that cannot be read, one after the other: the place that we go on from may be the cause.
 */
#define BAD_ANSWERS_MAX 5
/* The homeserver keeps answers for two minutes and gives them again for the same question: no two
 * starts ask the same. */
#define VARIED_MS     1000
#define LOOK_AGAIN_MS 60000

/* --- steps --- */

struct dc_matrix_how dc_ms_how(struct dc_ms *ms, uint64_t deadline_ms, dc_matrix_cb cb, void *data)
{
    return (struct dc_matrix_how){.auth = {.token = ms->token},
                                  .deadline_ms = deadline_ms,
                                  .is_impatient = true,
                                  .cb = cb,
                                  .data = data};
}

static void enter(struct dc_ms *ms, enum dc_ms_phase phase)
{
    ms->phase = phase;
    ms->step_due_ms = 0;
    ms->bad_answers = 0;
    dc_backoff_reset(&ms->pause);
}

void dc_ms_vary(struct dc_ms *ms)
{
    ms->poll_ms =
        (uint64_t)ms->a->ctx->settings->sync_timeout_ms + dc_random_below(NULL, VARIED_MS);
}

/* From the beginning, with everything that is known staying until it is known better. */
static void start_over(struct dc_ms *ms)
{
    dc_strbuf_clear(&ms->since);
    dc_ms_vary(ms);
    enter(ms, DC_MS_INITIAL);
}

static void again_later(struct dc_ms *ms, int64_t at_least_ms)
{
    int64_t pause_ms = (int64_t)dc_backoff_next_ms(&ms->pause);
    ms->step_due_ms = dc_ms_now_ms(ms) + (pause_ms > at_least_ms ? pause_ms : at_least_ms);
}

/* An answer to a step; false: it is not to be looked at. */
static bool step_ended(struct dc_ms *ms, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *err)
{
    ms->is_asking = false;
    if (ms->is_stopping) {
        return false;
    }
    if (st == DC_OK) {
        dc_ms_answered(ms);
        return true;
    }
    if (!dc_ms_note_failure(ms, st, err)) {
        if (ms->failing_since_ms == 0) {
            ms->failing_since_ms = dc_ms_now_ms(ms);
        }
        dc_ms_set_reason(ms, err);
        ms->bad_answers += st == DC_UPSTREAM;
    }
    again_later(ms, st == DC_LIMIT ? answer->retry_after_ms : 0);
    return false;
}

static void look_around(struct dc_ms *ms)
{
    dc_ms_set_health(ms);
    dc_ms_arm(ms);
}

static void go_on(struct dc_ms *ms)
{
    if (!ms->is_stopping) {
        look_around(ms);
    }
    dc_ms_pending_end(ms);
}

/* An answer with a good status that makes no sense. */
static void refuse_answer(struct dc_ms *ms, const struct dc_error *err)
{
    struct dc_matrix_answer none = {.retry_after_ms = -1};
    (void)step_ended(ms, err->status, &none, err);
}

static void on_whoami(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                      const struct dc_error *err)
{
    struct dc_ms *ms = data;
    struct dc_slice user_id;
    struct dc_error wrong = {0};
    if (step_ended(ms, st, answer, err)) {
        st = dc_matrix_read_user_id(answer->json, ms->server_name, &user_id, &wrong);
        if (st == DC_OK && !dc_slice_eq(user_id, ms->user_id)) {
            st = dc_fail_code(&wrong, DC_CONFIG, "matrix_misconfigured",
                              "MATRIX_ACCESS_TOKEN belongs to \"%.*s\", not to MATRIX_USER_ID",
                              DC_SLICE_ARG(user_id));
        }
        if (st == DC_OK) {
            start_over(ms);
        } else {
            refuse_answer(ms, &wrong);
        }
    }
    go_on(ms);
}

static void keep_place(struct dc_ms *ms, struct dc_slice next_batch)
{
    dc_strbuf_clear(&ms->since);
    dc_strbuf_add(&ms->since, next_batch);
}

/* applied may run before this returns. */
static void apply_step(struct dc_ms *ms, const struct dc_matrix_answer *answer, bool is_whole,
                       dc_ms_applied_cb applied)
{
    struct dc_error wrong = {0};
    ms->is_applying = true;
    if (dc_ms_apply(ms, answer, is_whole, applied, &wrong) != DC_OK) {
        ms->is_applying = false;
        refuse_answer(ms, &wrong);
    }
}

static void initial_applied(struct dc_ms *ms, struct dc_slice next_batch)
{
    ms->is_applying = false;
    keep_place(ms, next_batch);
    enter(ms, DC_MS_JOINED);
    look_around(ms);
}

static void on_initial(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *err)
{
    struct dc_ms *ms = data;
    if (step_ended(ms, st, answer, err)) {
        apply_step(ms, answer, true, initial_applied);
    }
    go_on(ms);
}

static void on_joined_rooms(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                            const struct dc_error *err)
{
    struct dc_ms *ms = data;
    struct dc_error wrong = {0};
    if (step_ended(ms, st, answer, err)) {
        if (dc_ms_rooms_joined(ms, answer->json, &wrong) == DC_OK) {
            enter(ms, DC_MS_ROOMS);
            dc_ms_rooms_begin(ms);
        } else {
            refuse_answer(ms, &wrong);
        }
    }
    go_on(ms);
}

/* --- the long poll --- */

static void poll_applied(struct dc_ms *ms, struct dc_slice next_batch)
{
    int64_t held_ms = (int64_t)ms->held_ms;
    bool is_same = dc_slice_eq(next_batch, dc_strbuf_slice(&ms->since));
    ms->is_applying = false;
    keep_place(ms, next_batch);
    ms->bad_answers = 0;
    ms->step_due_ms = 0;
    /* A long poll that tells nothing at once, again and again, would be a race. */
    if (is_same && ms->held_ms == ms->poll_ms && ms->took_ms * 2 < held_ms) {
        again_later(ms, 0);
    } else {
        dc_backoff_reset(&ms->pause);
    }
    dc_ms_rooms_work(ms);
    look_around(ms);
}

static void take_poll(struct dc_ms *ms, const struct dc_matrix_answer *answer)
{
    int64_t held_ms = (int64_t)ms->held_ms;
    ms->took_ms = dc_ms_now_ms(ms) - ms->asked_ms;
    ms->late_ms = ms->took_ms > held_ms ? ms->took_ms - held_ms : 0;
    apply_step(ms, answer, false, poll_applied);
}

static void on_poll(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                    const struct dc_error *err)
{
    struct dc_ms *ms = data;
    if (step_ended(ms, st, answer, err)) {
        take_poll(ms, answer);
    } else if (!ms->is_stopping &&
               (answer->http_status == 400 || ms->bad_answers >= BAD_ANSWERS_MAX)) {
        /* It does not know the place any more: a database of before, or another one. */
        DC_LOG_WARN_EVENT(ms->a->ctx->log, "presence.matrix_start_over",
                          DC_LF_I("http_status", answer->http_status), DC_LF_ERR(err));
        start_over(ms);
    }
    go_on(ms);
}

static enum dc_status ask_sync(struct dc_ms *ms, const char *filter_z, bool is_poll,
                               dc_matrix_cb cb, struct dc_error *err)
{
    struct dc_matrix_how how = dc_ms_how(ms, START_MS, cb, ms);
    struct dc_matrix_sync_opts opts = {.filter = dc_slice_z(filter_z),
                                       .timeout_ms = 1 + dc_random_below(NULL, VARIED_MS),
                                       .max_response_bytes = ANSWER_MAX,
                                       .is_quiet = true};
    if (is_poll) {
        /* Whether it is there again is to be known at once, not when something happens. */
        ms->held_ms = ms->failing_since_ms != 0 ? opts.timeout_ms : ms->poll_ms;
        opts.since = dc_strbuf_slice(&ms->since);
        opts.timeout_ms = ms->held_ms;
        how.deadline_ms = ms->held_ms + POLL_PATIENCE_MS;
    }
    return dc_matrix_sync(ms->matrix, &how, &opts, err);
}

static void step(struct dc_ms *ms)
{
    struct dc_error err = {0};
    enum dc_status st = DC_OK;
    struct dc_matrix_how how;
    if (ms->phase == DC_MS_MAPPING || ms->phase == DC_MS_ROOMS || ms->is_asking ||
        ms->is_applying || dc_ms_now_ms(ms) < ms->step_due_ms) {
        return;
    }
    ms->asked_ms = dc_ms_now_ms(ms);
    if (ms->phase == DC_MS_WHOAMI) {
        how = dc_ms_how(ms, CALL_MS, on_whoami, ms);
        st = dc_matrix_whoami(ms->matrix, &how, &err);
    } else if (ms->phase == DC_MS_INITIAL) {
        ms->whole_since = ms->heard + 1;
        st = ask_sync(ms, filter_start, false, on_initial, &err);
    } else if (ms->phase == DC_MS_JOINED) {
        how = dc_ms_how(ms, CALL_MS, on_joined_rooms, ms);
        st = dc_matrix_joined_rooms(ms->matrix, &how, &err);
    } else {
        st = ask_sync(ms, filter_increments, true, on_poll, &err);
    }
    if (st == DC_OK) {
        ms->is_asking = true;
        ms->pending++;
    } else {
        refuse_answer(ms, &err);
    }
}

/* --- the look at the whole --- */

static void look_later(struct dc_ms *ms, int64_t after_ms)
{
    int64_t jitter_ms = (int64_t)dc_random_below(NULL, (uint64_t)after_ms / 5 + 1);
    ms->is_looking = false;
    ms->whole_due_ms = dc_ms_now_ms(ms) + after_ms - after_ms / 10 + jitter_ms;
}

static void look_failed(struct dc_ms *ms, const struct dc_error *err)
{
    DC_LOG_WARN_EVENT(ms->a->ctx->log, "presence.matrix_look_failed", DC_LF_ERR(err));
    look_later(ms, LOOK_AGAIN_MS);
}

static void whole_applied(struct dc_ms *ms, struct dc_slice next_batch)
{
    (void)next_batch; /* the poll has its own place */
    dc_ms_people_whole(ms, dc_ms_rooms_begin);
}

static void on_whole(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                     const struct dc_error *err)
{
    struct dc_ms *ms = data;
    struct dc_error wrong = {0};
    if (ms->is_stopping) {
        go_on(ms);
        return;
    }
    if (st == DC_OK) {
        st = dc_ms_apply_whole(ms, answer, whole_applied, &wrong);
        err = &wrong;
    }
    if (st != DC_OK) {
        look_failed(ms, err);
    }
    go_on(ms);
}

static void on_whole_rooms(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                           const struct dc_error *err)
{
    struct dc_ms *ms = data;
    struct dc_error wrong = {0};
    if (ms->is_stopping) {
        go_on(ms);
        return;
    }
    st = st == DC_OK ? dc_ms_rooms_joined(ms, answer->json, &wrong) : st;
    if (st == DC_OK) {
        ms->whole_since = ms->heard + 1;
        st = ask_sync(ms, filter_start, false, on_whole, &wrong);
        ms->pending += st == DC_OK;
        err = &wrong;
    } else if (err == NULL) {
        err = &wrong;
    }
    if (st != DC_OK) {
        look_failed(ms, err);
    }
    go_on(ms);
}

static void look_at_whole(struct dc_ms *ms)
{
    struct dc_error err = {0};
    struct dc_matrix_how how = dc_ms_how(ms, CALL_MS, on_whole_rooms, ms);
    if (ms->phase != DC_MS_POLLING || ms->is_looking || ms->failing_since_ms != 0 ||
        dc_ms_now_ms(ms) < ms->whole_due_ms) {
        return;
    }
    if (dc_matrix_joined_rooms(ms->matrix, &how, &err) == DC_OK) {
        ms->is_looking = true;
        ms->pending++;
    } else {
        look_failed(ms, &err);
    }
}

static void synced(struct dc_ms *ms, bool is_start)
{
    DC_LOG_INFO_EVENT(ms->a->ctx->log, "presence.matrix_synced", DC_LF_B("start", is_start),
                      DC_LF_I("rooms", (int64_t)ms->rooms.count),
                      DC_LF_I("rooms_unknown", (int64_t)ms->n_unknown),
                      DC_LF_I("people", (int64_t)ms->people.count));
    ms->resyncs->value++;
    look_later(ms, ms->a->ctx->settings->matrix_resync_interval_ms);
    look_around(ms);
}

static void started(struct dc_ms *ms)
{
    ms->has_picture = true;
    ms->is_starting = false;
    enter(ms, DC_MS_POLLING);
    dc_agg_arm_clock(ms->a); /* who waits for it may lead */
    synced(ms, true);
}

void dc_ms_rooms_settled(struct dc_ms *ms)
{
    if (ms->phase == DC_MS_ROOMS && !ms->is_starting) {
        ms->is_starting = true;
        dc_ms_people_whole(ms, started);
    } else if (ms->phase != DC_MS_ROOMS && ms->is_looking) {
        synced(ms, false);
    }
}

void dc_ms_mapping_known(struct dc_ms *ms)
{
    if (ms->phase == DC_MS_MAPPING) {
        enter(ms, DC_MS_WHOAMI);
        dc_ms_arm(ms);
    }
}

/* --- time --- */

static int64_t earlier(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

void dc_ms_arm(struct dc_ms *ms)
{
    int64_t due_ms = ms->is_mapping_asked ? INT64_MAX : ms->mapping_due_ms;
    if (!ms->is_asking && !ms->is_applying && ms->phase != DC_MS_MAPPING &&
        ms->phase != DC_MS_ROOMS) {
        due_ms = earlier(due_ms, ms->step_due_ms);
    }
    if (ms->phase == DC_MS_POLLING && !ms->is_looking && ms->failing_since_ms == 0) {
        due_ms = earlier(due_ms, ms->whole_due_ms);
    }
    due_ms = earlier(due_ms, dc_ms_rooms_due_ms(ms));
    due_ms = earlier(due_ms, dc_ms_owners_due_ms(ms));
    due_ms = earlier(due_ms, dc_ms_probe_due_ms(ms));
    /* The state may turn without anything happening. */
    due_ms = earlier(due_ms, dc_ms_now_ms(ms) + DC_MS_OVERDUE_MS);
    if (!ms->is_stopping) {
        int64_t wait_ms = due_ms - dc_ms_now_ms(ms);
        dc_timer_start(&ms->clock, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
    }
}

void dc_ms_on_clock(struct dc_timer *t)
{
    struct dc_ms *ms = DC_CONTAINER_OF(t, struct dc_ms, clock);
    dc_ms_mapping_clock(ms);
    dc_ms_owners_clock(ms);
    dc_ms_probe_clock(ms);
    step(ms);
    look_at_whole(ms);
    dc_ms_rooms_work(ms);
    dc_ms_set_health(ms);
    dc_ms_arm(ms);
}
