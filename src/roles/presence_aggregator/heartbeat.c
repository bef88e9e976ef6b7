/* Native presence as the homeserver hears it (specs/presence-heartbeat): the leading aggregator,
 * which alone knows what everybody's sessions say, tells matrix-gateway, which tells the
 * homeserver.  Whom and when is domain/presence_push.h's to say, what of the homeserver's word is
 * our echo domain/presence_echo.h's; here they meet the loop.
 *
 * The city's own presence waits for none of this.  Everything happens at the end of a turn
 * (pump()): the core's callbacks may not change the core, and an echo that has died away does. */
#include "base/mem.h"
#include "roles/peer.h"
#include "roles/presence_aggregator/aggregator.h"

#include "domain/presence_echo.h"
#include "domain/presence_push.h"

#define MAX_FLYING   8
#define RENEW_MS     20000
#define ABSENT_MS    (5 * INT64_C(60000))
#define SETTLE_MS    2000
#define DOUBT_MS     70000
#define OFF_MS       (5 * INT64_C(60000)) /* the gateway cannot speak for residents: look again */
#define HELD_BACK_MS 1000                 /* what waits for longer is worth a word */
#define SAY_EVERY_MS 10000
/* The gateway's own time for the homeserver, and some for the way there. */
#define WAY_MS 1000

struct dc_heartbeat {
    struct dc_aggregator *a;
    struct dc_peer *gateway;
    struct dc_presence_push *push;
    struct dc_presence_echo *echo;
    struct dc_turn turn;
    struct dc_timer timer;
    bool is_running; /* the timer is there */
    bool is_leading;
    bool is_off;     /* nobody can be told: everything counts as the homeserver says it */
    bool is_failing; /* said in the log */
    bool is_behind;  /* the same */
    int64_t say_at_ms, say_failed_at_ms;
    struct dc_counter *done, *absent, *refused, *limited, *failed, *late;
    struct dc_gauge *waiting_changes, *waiting_renewals;
};

/* One push under way. */
struct flight {
    struct dc_aggregator *a; /* lives until it has landed; the heartbeat may not */
    size_t id_len;
    char id[];
};

static void schedule(struct dc_heartbeat *hb)
{
    if (hb->is_running && !hb->a->is_stopping) {
        dc_turn_schedule(hb->a->ctx->loop, &hb->turn);
    }
}

/* --- what counts of the homeserver's word --- */

/* Everything that it has said arrives: nothing older than our last push is still to come.  A source
 * that has not been started says nothing. */
static bool is_heard(const struct dc_heartbeat *hb)
{
    int64_t age_ms = 0;
    bool is_fresh = true;
    for (size_t i = 0; i < DC_AGG_SOURCES; i++) {
        void *self = hb->a->sources[i];
        is_fresh = is_fresh && (self == NULL || dc_agg_sources[i] == &dc_source_native ||
                                dc_agg_sources[i]->state(self, &age_ms) == DC_SOURCE_FRESH);
    }
    return is_fresh;
}

static void on_counts(void *data, struct dc_slice user_id, enum dc_presence_status status,
                      struct dc_utc last_active)
{
    struct dc_heartbeat *hb = data;
    struct dc_aggregator *a = hb->a;
    enum dc_status st =
        dc_presence_matrix_status(a->core, user_id, status, last_active, dc_agg_now(a));
    if (st != DC_OK) {
        a->refused->value++;
    }
    dc_agg_fed(a);
}

static void on_doubt(void *data, struct dc_slice user_id)
{
    struct dc_heartbeat *hb = data;
    dc_presence_push_doubt(hb->push, user_id, dc_agg_now_ms(hb->a));
}

static void on_cleared(void *data, struct dc_slice user_id)
{
    struct dc_heartbeat *hb = data;
    dc_presence_push_undoubt(hb->push, user_id);
}

/* Only people of the city are pushed; a Matrix id begins with '@'. */
static bool is_of_the_city(struct dc_slice user_id)
{
    return user_id.len > 0 && user_id.ptr[0] != '@';
}

enum dc_presence_status dc_agg_heartbeat_said(struct dc_aggregator *a, struct dc_slice user_id,
                                              enum dc_presence_status status,
                                              struct dc_utc last_active)
{
    struct dc_heartbeat *hb = a->heartbeat;
    if (hb == NULL || !is_of_the_city(user_id)) {
        return status;
    }
    int64_t now_ms = dc_agg_now_ms(a);
    dc_presence_echo_tick(hb->echo, is_heard(hb), now_ms);
    dc_presence_push_found(hb->push, user_id, now_ms);
    schedule(hb);
    return dc_presence_echo_said(hb->echo, user_id, status, last_active, now_ms);
}

/* --- what is told --- */

void dc_agg_heartbeat_native(struct dc_aggregator *a, const struct dc_presence_user_state *u)
{
    struct dc_heartbeat *hb = a->heartbeat;
    if (hb != NULL && is_of_the_city(u->user_id)) {
        dc_presence_push_set(hb->push, u->user_id, u->status, dc_agg_now_ms(a));
        schedule(hb);
    }
}

/* Once for each change. */
static void note_failing(struct dc_heartbeat *hb, bool is_failing, const struct dc_error *err)
{
    struct dc_log *log = hb->a->ctx->log;
    if (is_failing && !hb->is_failing) {
        DC_LOG_WARN_EVENT(log, "presence.push_failing", DC_LF_ERR(err),
                          DC_LF_Z("effect", "the homeserver is not told who is here; the city's "
                                            "own presence is not concerned"));
    } else if (!is_failing && hb->is_failing) {
        DC_LOG_INFO_EVENT(log, "presence.push_works", DC_LF_B("again", true));
    }
    hb->is_failing = is_failing;
}

/* Which person, now and then: it may be many. */
static void note_failed(struct dc_heartbeat *hb, struct dc_slice user_id,
                        const struct dc_error *err)
{
    int64_t now_ms = dc_agg_now_ms(hb->a);
    if (now_ms >= hb->say_failed_at_ms) {
        hb->say_failed_at_ms = now_ms + SAY_EVERY_MS;
        DC_LOG_WARN_EVENT(hb->a->ctx->log, "presence.push_failed", DC_LF_T("user_id", user_id),
                          DC_LF_ERR(err));
    }
}

static void note_off(struct dc_heartbeat *hb, bool is_off)
{
    if (is_off && !hb->is_off) {
        DC_LOG_INFO_EVENT(hb->a->ctx->log, "presence.push_off",
                          DC_LF_Z("why", "matrix-gateway is no application service of the "
                                         "homeserver (MATRIX_AS_TOKEN)"));
        dc_presence_echo_trust(hb->echo);
    }
    hb->is_off = is_off;
}

static bool has_code(const struct dc_error *err, const char *code_z)
{
    return strcmp(dc_error_code(err), code_z) == 0;
}

struct ending {
    enum dc_presence_push_end push;
    enum dc_presence_echo_end echo;
    struct dc_counter *counter;
};

/* Neither the gateway nor the homeserver has said anything that could be about this person. */
static bool concerns_all(enum dc_status st)
{
    return st == DC_UNAVAILABLE || st == DC_TIMEOUT || st == DC_UNAUTHORIZED || st == DC_CANCELED ||
           st == DC_CLOSED || st == DC_NO_MEMORY;
}

/* is_sent: the gateway may have got it. */
static struct ending ending_of(const struct dc_heartbeat *hb, enum dc_status st,
                               const struct dc_error *err, bool is_sent)
{
    if (st == DC_OK) {
        return (struct ending){DC_PUSH_DONE, DC_ECHO_DONE, hb->done};
    }
    if (has_code(err, "not_provisioned")) {
        return (struct ending){DC_PUSH_ABSENT, DC_ECHO_CANNOT, hb->absent};
    }
    if (st == DC_LIMIT && is_sent) {
        return (struct ending){DC_PUSH_LIMITED, DC_ECHO_NOTHING, hb->limited};
    }
    if (st == DC_FORBIDDEN || st == DC_CONFLICT || st == DC_INVALID) {
        return (struct ending){DC_PUSH_REFUSED, DC_ECHO_CANNOT, hb->refused};
    }
    return (struct ending){is_sent && !concerns_all(st) ? DC_PUSH_FAILED : DC_PUSH_CUT_OFF,
                           is_sent ? DC_ECHO_UNKNOWN : DC_ECHO_NOTHING, hb->failed};
}

static void land(struct flight *f, enum dc_status st, int64_t retry_after_ms,
                 const struct dc_error *err, bool is_sent)
{
    struct dc_heartbeat *hb = f->a->heartbeat;
    int64_t now_ms = dc_agg_now_ms(hb->a);
    struct dc_slice id = dc_slice_make(f->id, f->id_len);
    struct ending how = ending_of(hb, st, err, is_sent);
    bool is_off = st == DC_CONFLICT && has_code(err, "no_application_service");
    how.counter->value++;
    if (how.push == DC_PUSH_FAILED) {
        note_failed(hb, id, err);
    } else {
        note_failing(hb, how.push == DC_PUSH_CUT_OFF, err);
    }
    dc_presence_echo_tick(hb->echo, is_heard(hb), now_ms);
    dc_presence_echo_end(hb->echo, id, how.echo, now_ms);
    dc_presence_push_answered(hb->push, id, how.push, retry_after_ms, now_ms);
    if (is_off) {
        note_off(hb, true);
        dc_presence_push_pause(hb->push, now_ms + OFF_MS);
    } else if (how.push == DC_PUSH_DONE) {
        note_off(hb, false);
    }
    dc_free(f);
    schedule(hb);
}

static void on_answer(void *data, enum dc_status st, const json_t *json, int64_t retry_after_ms,
                      const struct dc_error *err)
{
    struct flight *f = data;
    struct dc_aggregator *a = f->a;
    (void)json;
    if (a->is_stopping) {
        dc_free(f);
    } else {
        land(f, st, retry_after_ms, err, true);
    }
    dc_agg_pending_end(a);
}

static void write_body(const struct dc_presence_push_next *next, struct dc_strbuf *out)
{
    struct dc_jsonw w;
    dc_jsonw_init(&w, out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "user_id", next->user_id);
    dc_jsonw_key_text(&w, "status", dc_slice_z(dc_presence_status_name(next->status)));
    dc_jsonw_end(&w);
}

static void take_off(struct dc_heartbeat *hb, const struct dc_presence_push_next *next)
{
    struct dc_aggregator *a = hb->a;
    struct dc_error err = {0};
    struct dc_strbuf body = {0};
    struct flight *f = dc_calloc(1, sizeof(*f) + next->user_id.len);
    f->a = a;
    f->id_len = next->user_id.len;
    memcpy(f->id, next->user_id.ptr, next->user_id.len);
    dc_presence_echo_begin(hb->echo, next->user_id, next->status,
                           dc_presence_matrix_get(a->core, next->user_id), dc_agg_now_ms(a));
    write_body(next, &body);
    const struct dc_peer_call call = {.method_z = "POST",
                                      .path = DC_S("/internal/matrix/presence/online"),
                                      .body = dc_strbuf_slice(&body),
                                      .deadline_ms =
                                          (uint64_t)a->ctx->settings->matrix_timeout_ms + WAY_MS,
                                      .cb = on_answer,
                                      .data = f};
    enum dc_status st = dc_strbuf_ok(&body)
                            ? dc_peer_call(hb->gateway, &call, &err)
                            : dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    dc_strbuf_free(&body);
    if (st == DC_OK) {
        a->pending++;
    } else {
        land(f, st, -1, &err, false);
    }
}

/* --- what is held back --- */

static const char *why_word(enum dc_presence_push_why why)
{
    static const char *const words[] = {
        [DC_PUSH_BUDGET] = "the budget of requests a second is spent (MATRIX_PRESENCE_PER_S)",
        [DC_PUSH_SLOWED] = "the homeserver asks to wait",
        [DC_PUSH_FAILING] = "the homeserver fails with everybody",
        [DC_PUSH_UNREACHABLE] = "the homeserver cannot be told"};
    return words[why];
}

static void note_backlog(struct dc_heartbeat *hb)
{
    int64_t now_ms = dc_agg_now_ms(hb->a);
    struct dc_log *log = hb->a->ctx->log;
    struct dc_presence_push_backlog b = dc_presence_push_backlog(hb->push, now_ms);
    bool is_behind = hb->is_leading && !hb->is_off && b.oldest_ms >= HELD_BACK_MS;
    hb->waiting_changes->value = hb->is_leading ? (int64_t)b.changes : 0;
    hb->waiting_renewals->value = hb->is_leading ? (int64_t)b.renewals : 0;
    hb->late->value = dc_presence_push_counts(hb->push).late;
    if (is_behind && now_ms >= hb->say_at_ms) {
        hb->say_at_ms = now_ms + SAY_EVERY_MS;
        hb->is_behind = true;
        DC_LOG_WARN_EVENT(log, "presence.push_held_back", DC_LF_I("changes", b.changes),
                          DC_LF_I("renewals", b.renewals), DC_LF_I("oldest_ms", b.oldest_ms),
                          DC_LF_Z("why", why_word(b.why)));
    } else if (hb->is_behind && b.changes == 0 && b.renewals == 0) {
        hb->is_behind = false;
        DC_LOG_INFO_EVENT(log, "presence.push_caught_up", DC_LF_I("late", hb->late->value));
    }
}

/* --- the end of a turn --- */

static void follow_phase(struct dc_heartbeat *hb)
{
    int64_t now_ms = dc_agg_now_ms(hb->a);
    bool is_leading = dc_agg_may_publish(hb->a);
    if (is_leading == hb->is_leading) {
        return;
    }
    hb->is_leading = is_leading;
    hb->is_off = false;
    dc_presence_push_lead(hb->push, is_leading, now_ms);
    if (is_leading) {
        dc_presence_echo_lead(hb->echo, now_ms);
    } else {
        dc_presence_echo_distrust(hb->echo);
    }
}

static void arm(struct dc_heartbeat *hb)
{
    int64_t now_ms = dc_agg_now_ms(hb->a);
    int64_t due_ms = dc_presence_push_due_ms(hb->push);
    int64_t echo_ms = dc_presence_echo_next_due_ms(hb->echo);
    due_ms = echo_ms < due_ms ? echo_ms : due_ms;
    if (due_ms == INT64_MAX) {
        dc_timer_stop(&hb->timer);
    } else {
        dc_timer_start(&hb->timer, due_ms > now_ms ? (uint64_t)(due_ms - now_ms) : 0, 0);
    }
}

static void pump(struct dc_turn *turn)
{
    struct dc_heartbeat *hb = DC_CONTAINER_OF(turn, struct dc_heartbeat, turn);
    struct dc_presence_push_next next;
    follow_phase(hb);
    dc_presence_echo_tick(hb->echo, is_heard(hb), dc_agg_now_ms(hb->a));
    while (hb->is_leading && dc_presence_push_next(hb->push, dc_agg_now_ms(hb->a), &next)) {
        take_off(hb, &next);
    }
    if (dc_presence_echo_walk(hb->echo, DC_AGG_TURN_STEPS)) {
        schedule(hb);
    }
    note_backlog(hb);
    arm(hb);
}

static void on_timer(struct dc_timer *t)
{
    schedule(DC_CONTAINER_OF(t, struct dc_heartbeat, timer));
}

void dc_agg_heartbeat_clock(struct dc_aggregator *a)
{
    struct dc_heartbeat *hb = a->heartbeat;
    if (hb != NULL && hb->is_leading != (a->phase == DC_AGG_LEADING)) {
        schedule(hb);
    }
}

/* --- life --- */

static struct dc_counter *pushed(struct dc_heartbeat *hb, const char *labels)
{
    return dc_metrics_counter(hb->a->ctx->metrics, "daarion_matrix_presence_pushed_total", labels,
                              "Presence told to the homeserver, by how it ended.");
}

static struct dc_gauge *waiting(struct dc_heartbeat *hb, const char *labels)
{
    return dc_metrics_gauge(hb->a->ctx->metrics, "daarion_matrix_presence_waiting", labels,
                            "People whose presence waits to be told to the homeserver.");
}

static void make_metrics(struct dc_heartbeat *hb)
{
    hb->done = pushed(hb, "outcome=\"ok\"");
    hb->absent = pushed(hb, "outcome=\"no_account\"");
    hb->refused = pushed(hb, "outcome=\"refused\"");
    hb->limited = pushed(hb, "outcome=\"limited\"");
    hb->failed = pushed(hb, "outcome=\"failed\"");
    hb->late =
        dc_metrics_counter(hb->a->ctx->metrics, "daarion_matrix_presence_held_back_total", NULL,
                           "Presence told more than a second after its turn had come.");
    hb->waiting_changes = waiting(hb, "kind=\"change\"");
    hb->waiting_renewals = waiting(hb, "kind=\"renewal\"");
}

enum dc_status dc_agg_heartbeat_create(struct dc_aggregator *a, struct dc_error *err)
{
    static const struct dc_presence_echo_callbacks cbs = {on_counts, on_doubt, on_cleared};
    const struct dc_settings *s = a->ctx->settings;
    struct dc_peer *gateway = NULL;
    enum dc_status st =
        s->matrix_presence_per_s > 0 ? dc_peer_open_gateway(a->ctx, &gateway, err) : DC_OK;
    if (st != DC_OK || gateway == NULL) {
        return st;
    }
    struct dc_heartbeat *hb = dc_calloc(1, sizeof(*hb));
    struct dc_presence_push_opts push = {.per_s = (uint32_t)s->matrix_presence_per_s,
                                         .max_flying = MAX_FLYING,
                                         .renew_ms = RENEW_MS,
                                         .absent_ms = ABSENT_MS,
                                         .max_people = DC_AGG_MAX_USERS};
    struct dc_presence_echo_opts echo = {
        .settle_ms = SETTLE_MS, .doubt_ms = DOUBT_MS, .max_people = DC_AGG_MAX_USERS};
    dc_random_fill(NULL, push.hash_seed, sizeof(push.hash_seed));
    dc_random_fill(NULL, echo.hash_seed, sizeof(echo.hash_seed));
    hb->a = a;
    hb->gateway = gateway;
    hb->push = dc_presence_push_create(&push);
    hb->echo = dc_presence_echo_create(&echo, &cbs, hb);
    make_metrics(hb);
    dc_turn_init(&hb->turn, pump);
    a->heartbeat = hb;
    return DC_OK;
}

void dc_agg_heartbeat_run(struct dc_aggregator *a)
{
    struct dc_heartbeat *hb = a->heartbeat;
    if (hb != NULL) {
        dc_timer_init(a->ctx->loop, &hb->timer, on_timer);
        hb->is_running = true;
        schedule(hb);
    }
}

static void heartbeat_free(struct dc_heartbeat *hb)
{
    hb->a->heartbeat = NULL;
    dc_presence_push_destroy(hb->push);
    dc_presence_echo_destroy(hb->echo);
    dc_free(hb);
}

static void on_timer_closed(struct dc_timer *t)
{
    struct dc_heartbeat *hb = DC_CONTAINER_OF(t, struct dc_heartbeat, timer);
    struct dc_aggregator *a = hb->a;
    heartbeat_free(hb);
    dc_agg_pending_end(a);
}

void dc_agg_heartbeat_stop(struct dc_aggregator *a)
{
    struct dc_heartbeat *hb = a->heartbeat;
    if (hb == NULL) {
        return;
    }
    dc_turn_cancel(&hb->turn);
    dc_peer_close(hb->gateway); /* what is under way ends with DC_CANCELED */
    if (hb->is_running) {
        a->pending++;
        dc_timer_close(&hb->timer, on_timer_closed);
    } else {
        heartbeat_free(hb);
    }
}
