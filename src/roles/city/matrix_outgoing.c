/* From the table to Matrix rooms. */
#include "roles/city/matrix_outgoing.h"

#include "base/mem.h"
#include "roles/city/matrix_link.h"
#include "roles/city/matrix_moves.h"
#include "roles/city/matrix_repo.h"

/* Rooms at a time; while the homeserver does not answer, one. */
#define PARALLEL 8
/* Messages of a room read at once. */
#define PAGE 20

#define LEASE_NAME     "matrix-outgoing"
#define LEASE_MS       10000
#define TICK_MS        3000 /* renews, or asks again */
#define TICKS_OF_SWEEP 10

#define RETRY_BASE_MS 250
#define RETRY_MAX_MS  30000
/* Who is away is asked at least so often by each room: one that is back is found. */
#define RETRY_AWAY_MAX_MS 5000

struct lane {
    struct dc_matrix_outgoing *o;
    struct dc_city_room *room; /* NULL: free */
    struct dc_arena arena;     /* of one page */
    struct dc_matrix_owed rows[PAGE];
    size_t n, at;
};

struct dc_matrix_outgoing {
    struct dc_city *city;
    struct dc_timer tick, retry;
    size_t open_timers;
    /* the lease */
    bool is_holder, is_asking;
    uint64_t term;                       /* grows each time that we get it */
    int64_t asked_at_ms, valid_until_ms; /* monotonic */
    unsigned ticks_to_sweep;
    bool is_sweeping;
    /* rooms */
    struct dc_list ready, waiting;
    struct lane lanes[PARALLEL];
    size_t n_active;
    bool is_in_trouble; /* the homeserver, or the gateway, does not take what is sent */
    bool is_off;        /* the gateway cannot speak as residents: nothing is to be sent */
    bool is_off_told;
    struct dc_health_check *health;
    struct dc_gauge *backlog;
    struct dc_counter *sent, *refused, *failed;
};

static void pump(struct dc_matrix_outgoing *o);

/* --- may we? --- */

static int64_t now_ms(const struct dc_matrix_outgoing *o)
{
    return dc_loop_now(o->city->ctx->loop).ms;
}

/* Looked at before each message: a process that was stopped finds that its time has passed. */
static bool may_send(struct dc_matrix_outgoing *o)
{
    if (o->is_holder && now_ms(o) >= o->valid_until_ms) {
        o->is_holder = false;
    }
    return o->is_holder && !o->is_off && !o->city->is_stopping;
}

/* --- rooms that wait --- */

static void make_ready(struct dc_matrix_outgoing *o, struct dc_city_room *room)
{
    room->outgoing.state = DC_OUTGOING_READY;
    dc_list_remove(&room->outgoing.link);
    dc_list_push_back(&o->ready, &room->outgoing.link);
}

static void arm_retry(struct dc_matrix_outgoing *o)
{
    int64_t earliest = INT64_MAX;
    DC_LIST_FOREACH (it, &o->waiting) {
        const struct dc_city_room *room = DC_LIST_ENTRY(it, struct dc_city_room, outgoing.link);
        earliest = room->outgoing.retry_at_ms < earliest ? room->outgoing.retry_at_ms : earliest;
    }
    if (earliest < INT64_MAX && !o->city->is_stopping) {
        int64_t left = earliest - now_ms(o);
        dc_timer_start(&o->retry, left > 0 ? (uint64_t)left : 0, 0);
    }
}

static void on_retry(struct dc_timer *t)
{
    struct dc_matrix_outgoing *o = DC_CONTAINER_OF(t, struct dc_matrix_outgoing, retry);
    DC_LIST_FOREACH_SAFE (it, &o->waiting) {
        struct dc_city_room *room = DC_LIST_ENTRY(it, struct dc_city_room, outgoing.link);
        if (room->outgoing.retry_at_ms <= now_ms(o)) {
            make_ready(o, room);
        }
    }
    arm_retry(o);
    pump(o);
}

/* --- trouble --- */

static void begin_trouble(struct dc_matrix_outgoing *o, const struct dc_error *err)
{
    o->failed->value++;
    dc_health_set(o->health, DC_HEALTH_DEGRADED, dc_error_text(err));
    if (!o->is_in_trouble) {
        o->is_in_trouble = true;
        DC_LOG_WARN_EVENT(o->city->ctx->log, "city.matrix_outgoing_waits", DC_LF_ERR(err));
    }
}

/* Everybody may try again at once. */
static void end_trouble(struct dc_matrix_outgoing *o)
{
    if (!o->is_in_trouble) {
        return;
    }
    o->is_in_trouble = false;
    dc_health_set(o->health, DC_HEALTH_OK, NULL);
    DC_LOG_INFO_EVENT(o->city->ctx->log, "city.matrix_outgoing_goes_on", DC_LF_B("goes_on", true));
    DC_LIST_FOREACH_SAFE (it, &o->waiting) {
        make_ready(o, DC_LIST_ENTRY(it, struct dc_city_room, outgoing.link));
    }
    pump(o);
}

/* --- one room --- */

static void lane_free(struct lane *l)
{
    struct dc_matrix_outgoing *o = l->o;
    dc_arena_free(&l->arena);
    l->room = NULL;
    o->n_active--;
}

/* Nothing more to say, or not by us. */
static void lane_end(struct lane *l)
{
    struct dc_matrix_outgoing *o = l->o;
    struct dc_city_room *room = l->room;
    lane_free(l);
    room->outgoing.state = DC_OUTGOING_IDLE;
    if (room->outgoing.has_more && may_send(o)) {
        make_ready(o, room);
    }
    pump(o);
}

/* Tries again later, without knowing how far it got. */
static void lane_wait(struct lane *l, int64_t pause_ms)
{
    struct dc_matrix_outgoing *o = l->o;
    struct dc_room_outgoing *out = &l->room->outgoing;
    out->sure_term = 0;
    out->retry_at_ms = now_ms(o) + pause_ms;
    out->state = DC_OUTGOING_WAITING;
    dc_list_push_back(&o->waiting, &out->link);
    lane_free(l);
    arm_retry(o);
    pump(o);
}

static void lane_fail(struct lane *l, const struct dc_error *err, int64_t retry_after_ms)
{
    struct dc_matrix_outgoing *o = l->o;
    if (o->city->is_stopping) {
        lane_end(l);
        return;
    }
    /* Who says for how long to wait, and is there, is taken at his word. */
    bool is_told = err->status == DC_LIMIT && retry_after_ms > 0;
    int64_t pause_ms = is_told ? 0 : (int64_t)dc_backoff_next_ms(&l->room->outgoing.backoff);
    if (pause_ms > RETRY_AWAY_MAX_MS) {
        pause_ms = RETRY_AWAY_MAX_MS;
    }
    begin_trouble(o, err);
    lane_wait(l, retry_after_ms > pause_ms ? retry_after_ms : pause_ms);
}

/* The Matrix room is not there: this room's trouble alone.  What is said waits for another one. */
static void lane_gone(struct lane *l)
{
    struct dc_matrix_outgoing *o = l->o;
    if (o->city->is_stopping) {
        lane_end(l);
        return;
    }
    o->failed->value++;
    DC_LOG_WARN_EVENT(o->city->ctx->log, "city.matrix_room_gone",
                      DC_LF_T("room", l->room->row.slug),
                      DC_LF_T("matrix_room_id", l->room->row.matrix_room_id));
    dc_matrix_moves_gone(o->city, l->room);
    lane_wait(l, (int64_t)dc_backoff_next_ms(&l->room->outgoing.backoff));
}

static void say_next(struct lane *l);
static void read_page(struct lane *l);

static void submit(struct lane *l, struct dc_db_batch *batch, dc_db_cb cb)
{
    struct dc_error err = {0};
    if (dc_db_submit(batch, cb, l, NULL, &err) == DC_OK) {
        dc_city_pending_begin(l->o->city);
    } else {
        lane_fail(l, &err, -1);
    }
}

/* The row is gone, or has its reason. */
static void on_settled(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    struct lane *l = data;
    struct dc_city *city = l->o->city;
    (void)results;
    (void)n;
    if (st == DC_CONFLICT) {
        /* A message that came from Matrix is that event: there is nothing to be put right. */
        DC_LOG_WARN_EVENT(city->ctx->log, "city.matrix_event_twice",
                          DC_LF_T("message_id", l->rows[l->at].message_id));
        submit(l, dc_matrix_repo_forget(city->ctx->db, l->room->row.id, l->rows[l->at].message_id),
               on_settled);
    } else if (st != DC_OK) {
        lane_fail(l, err, -1);
    } else {
        l->at++;
        say_next(l);
    }
    dc_city_pending_end(city);
}

static bool is_final(enum dc_status st)
{
    return st == DC_FORBIDDEN || st == DC_CONFLICT || st == DC_TOO_LARGE || st == DC_INVALID;
}

static void turn_off(struct lane *l, const struct dc_error *err);

static void on_said(void *data, enum dc_status st, struct dc_slice event_id, int64_t retry_after_ms,
                    const struct dc_error *err)
{
    struct lane *l = data;
    struct dc_matrix_outgoing *o = l->o;
    struct dc_room_outgoing *out = &l->room->outgoing;
    struct dc_db *db = o->city->ctx->db;
    const struct dc_matrix_owed *row = &l->rows[l->at];
    if (st == DC_OK || is_final(st)) {
        out->sure_term = o->term;
        dc_backoff_reset(&out->backoff);
        end_trouble(o);
        o->is_off_told = false;
    }
    if (st == DC_OK) {
        o->sent->value++;
        submit(l, dc_matrix_repo_said(db, l->room->row.id, row->message_id, event_id), on_settled);
    } else if (strcmp(dc_error_code(err), "chat_not_bridged") == 0) {
        turn_off(l, err);
    } else if (strcmp(dc_error_code(err), "matrix_room_gone") == 0) {
        lane_gone(l);
    } else if (is_final(st)) {
        o->refused->value++;
        DC_LOG_WARN_EVENT(o->city->ctx->log, "city.matrix_message_refused",
                          DC_LF_T("message_id", row->message_id), DC_LF_ERR(err));
        if (st == DC_FORBIDDEN) {
            dc_matrix_moves_look(o->city, l->room, false); /* nobody may speak in a replaced room */
        }
        submit(l,
               dc_matrix_repo_refused(db, l->room->row.id, row->message_id,
                                      dc_slice_z(dc_error_code(err)), dc_utc_now()),
               on_settled);
    } else {
        lane_fail(l, err, retry_after_ms);
    }
}

static void say_next(struct lane *l)
{
    struct dc_matrix_outgoing *o = l->o;
    struct dc_room_outgoing *out = &l->room->outgoing;
    struct dc_error err = {0};
    if (!may_send(o)) {
        out->has_more = false; /* who has the lease finds the rows */
        lane_end(l);
        return;
    }
    if (l->at == l->n) {
        if (l->n == PAGE || out->has_more) {
            read_page(l);
        } else {
            out->sure_term = o->term;
            lane_end(l);
        }
        return;
    }
    const struct dc_matrix_owed *row = &l->rows[l->at];
    const struct dc_matrix_saying saying = {.matrix_room_id = l->room->row.matrix_room_id,
                                            .user_id = row->user_id,
                                            .username = row->username,
                                            .body = row->body,
                                            .message_id = row->message_id,
                                            .is_unsure = out->sure_term != o->term};
    if (dc_matrix_link_say(o->city, &saying, on_said, l, &err) != DC_OK) {
        lane_fail(l, &err, -1);
    }
}

static bool keep_rows(struct lane *l, const struct dc_db_result *rows)
{
    dc_arena_free(&l->arena);
    dc_arena_init(&l->arena, 4096, 0);
    l->n = 0;
    l->at = 0;
    for (size_t i = 0; i < dc_db_rows(rows) && i < PAGE; i++) {
        struct dc_matrix_owed *o = &l->rows[i];
        dc_matrix_repo_read_owed(rows, i, o);
        o->message_id = dc_arena_dup(&l->arena, o->message_id);
        o->user_id = dc_arena_dup(&l->arena, o->user_id);
        o->username = dc_arena_dup(&l->arena, o->username);
        o->body = dc_arena_dup(&l->arena, o->body);
        if (o->message_id.ptr == NULL || o->user_id.ptr == NULL || o->username.ptr == NULL ||
            o->body.ptr == NULL) {
            return false;
        }
        l->n++;
    }
    return true;
}

static void on_page(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *cause)
{
    struct lane *l = data;
    struct dc_city *city = l->o->city;
    struct dc_error err = {0};
    (void)n;
    if (st != DC_OK) {
        lane_fail(l, cause, -1);
    } else if (!keep_rows(l, results[0])) {
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
        lane_fail(l, &err, -1);
    } else {
        say_next(l);
    }
    dc_city_pending_end(city);
}

static void read_page(struct lane *l)
{
    l->room->outgoing.has_more = false; /* the page has what has been committed by now */
    submit(l, dc_matrix_repo_page(l->o->city->ctx->db, l->room->row.id, PAGE), on_page);
}

/* Rooms that are ready, as far as there are lanes. */
static void pump(struct dc_matrix_outgoing *o)
{
    while (!dc_list_is_empty(&o->ready) && o->n_active < (o->is_in_trouble ? 1 : PARALLEL) &&
           may_send(o)) {
        struct dc_city_room *room =
            DC_LIST_ENTRY(o->ready.next, struct dc_city_room, outgoing.link);
        size_t i = 0;
        while (o->lanes[i].room != NULL) {
            i++;
        }
        DC_ASSERT(i < PARALLEL);
        dc_list_remove(&room->outgoing.link);
        room->outgoing.state = DC_OUTGOING_ACTIVE;
        room->outgoing.backoff.base_ms = RETRY_BASE_MS;
        room->outgoing.backoff.max_ms = RETRY_MAX_MS;
        o->lanes[i].room = room;
        o->n_active++;
        dc_arena_init(&o->lanes[i].arena, 4096, 0);
        read_page(&o->lanes[i]);
    }
}

/* --- no application service --- */

static void on_forgotten(void *data, enum dc_status st, const struct dc_db_result *const *results,
                         size_t n, const struct dc_error *err)
{
    struct dc_city *city = data;
    (void)results;
    (void)n;
    if (st != DC_OK) { /* the next message tries it again */
        DC_LOG_WARN_EVENT(city->ctx->log, "city.matrix_outgoing_kept", DC_LF_ERR(err));
    }
    dc_city_pending_end(city);
}

static void forget_all(struct dc_city *city)
{
    if (dc_db_submit(dc_matrix_repo_forget_all(city->ctx->db), on_forgotten, city, NULL, NULL) ==
        DC_OK) {
        dc_city_pending_begin(city);
    }
}

/* What is said while chat is not bridged is not said later, when it is: it would come out of
 * nowhere.  Until the next sweep no message gets a row. */
static void turn_off(struct lane *l, const struct dc_error *err)
{
    struct dc_matrix_outgoing *o = l->o;
    o->is_off = true;
    dc_health_set(o->health, DC_HEALTH_OK, NULL);
    if (!o->is_off_told) {
        o->is_off_told = true;
        DC_LOG_WARN_EVENT(o->city->ctx->log, "city.chat_not_bridged", DC_LF_ERR(err));
    }
    o->backlog->value = 0;
    forget_all(o->city);
    lane_end(l);
}

/* --- sweep --- */

static void on_waiting(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    struct dc_matrix_outgoing *o = data;
    struct dc_city *city = o->city;
    int64_t total = 0;
    (void)n;
    o->is_sweeping = false;
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.matrix_sweep_failed", DC_LF_ERR(err));
        o->ticks_to_sweep = 0; /* with the next tick */
    }
    for (size_t i = 0; st == DC_OK && i < dc_db_rows(results[0]); i++) {
        struct dc_slice room_id;
        int64_t count;
        dc_matrix_repo_read_waiting(results[0], i, &room_id, &count);
        total += count;
        struct dc_city_room *room = dc_city_rooms_find(city->rooms, room_id);
        if (room != NULL && room->outgoing.state == DC_OUTGOING_IDLE &&
            room->row.matrix_room_id.ptr != NULL) {
            make_ready(o, room);
        }
    }
    if (st == DC_OK) {
        o->backlog->value = total;
    }
    pump(o);
    dc_city_pending_end(city);
}

static void sweep(struct dc_matrix_outgoing *o)
{
    struct dc_error err = {0};
    if (o->is_sweeping || !o->is_holder || o->city->is_stopping) {
        return;
    }
    o->is_off = false; /* the gateway may have got what it lacked */
    o->ticks_to_sweep = o->is_in_trouble ? 1 : TICKS_OF_SWEEP;
    if (dc_db_submit(dc_matrix_repo_waiting(o->city->ctx->db), on_waiting, o, NULL, &err) ==
        DC_OK) {
        o->is_sweeping = true;
        dc_city_pending_begin(o->city);
    }
}

/* --- the lease --- */

static struct dc_slice holder_of(const struct dc_city *city)
{
    return dc_slice_z(city->gateway_id);
}

static void on_lease(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                     const struct dc_error *err)
{
    struct dc_matrix_outgoing *o = data;
    struct dc_city *city = o->city;
    (void)value;
    (void)number;
    (void)err; /* the store tells of its own troubles */
    o->is_asking = false;
    if (st == DC_OK && !city->is_stopping) {
        bool is_new = !o->is_holder || now_ms(o) >= o->valid_until_ms;
        o->valid_until_ms = o->asked_at_ms + LEASE_MS;
        o->is_holder = true;
        if (is_new) {
            o->term++;
            DC_LOG_INFO_EVENT(city->ctx->log, "city.matrix_outgoing_leads",
                              DC_LF_I("term", o->term));
            sweep(o);
        }
    } else if (st == DC_CONFLICT) {
        o->is_holder = false;
        o->backlog->value = 0; /* the holder counts */
    }
    dc_city_pending_end(city);
}

static void ask_for_lease(struct dc_matrix_outgoing *o)
{
    struct dc_city *city = o->city;
    if (o->is_asking) {
        return;
    }
    o->asked_at_ms = now_ms(o);
    if (dc_kv_lease_acquire(city->ctx->kv, DC_S(LEASE_NAME), holder_of(city), LEASE_MS, on_lease, o,
                            NULL) == DC_OK) {
        o->is_asking = true;
        dc_city_pending_begin(city);
    }
}

static void on_tick(struct dc_timer *t)
{
    struct dc_matrix_outgoing *o = DC_CONTAINER_OF(t, struct dc_matrix_outgoing, tick);
    ask_for_lease(o);
    if (o->ticks_to_sweep > 0) {
        o->ticks_to_sweep--;
    }
    if (o->ticks_to_sweep == 0) {
        sweep(o);
    }
}

/* --- from outside --- */

bool dc_matrix_outgoing_is_on(const struct dc_city *city)
{
    return city->outgoing != NULL && !city->outgoing->is_off;
}

void dc_matrix_outgoing_stored(struct dc_city *city, struct dc_city_room *room, uint64_t position,
                               bool has_row)
{
    if (has_row && city->outgoing != NULL && city->outgoing->is_off) {
        forget_all(city); /* it was on its way when the others were forgotten */
        return;
    }
    dc_matrix_outgoing_said(city, room, position);
}

void dc_matrix_outgoing_said(struct dc_city *city, struct dc_city_room *room, uint64_t position)
{
    struct dc_matrix_outgoing *o = city->outgoing;
    struct dc_room_outgoing *out = &room->outgoing;
    if (o == NULL || room->row.matrix_room_id.ptr == NULL || position <= out->seen ||
        !may_send(o)) {
        return;
    }
    out->seen = position;
    if (out->state == DC_OUTGOING_ACTIVE) {
        out->has_more = true;
    } else if (out->state == DC_OUTGOING_IDLE) {
        make_ready(o, room);
        pump(o);
    }
}

/* Only if nothing before it is left to be looked for: others' commits are told later, perhaps. */
void dc_matrix_outgoing_heard(struct dc_city_room *room, uint64_t position)
{
    if (room->outgoing.seen + 1 == position) {
        room->outgoing.seen = position;
    }
}

void dc_matrix_outgoing_start(struct dc_city *city)
{
    struct dc_metrics *m = city->ctx->metrics;
    static const char name[] = "daarion_city_matrix_outgoing_total";
    static const char help[] = "Messages for Matrix rooms, by what has become of them.";
    if (!dc_matrix_link_is_on(city)) {
        return;
    }
    struct dc_matrix_outgoing *o = dc_calloc(1, sizeof(*o));
    o->city = city;
    dc_list_init(&o->ready);
    dc_list_init(&o->waiting);
    for (size_t i = 0; i < PARALLEL; i++) {
        o->lanes[i].o = o;
    }
    o->health = dc_health_add(city->ctx->health, "matrix_chat", false);
    dc_health_set(o->health, DC_HEALTH_OK, NULL);
    o->backlog = dc_metrics_gauge(m, "daarion_city_matrix_waiting", NULL,
                                  "Messages that wait for the homeserver (of the process that "
                                  "sends them).");
    o->sent = dc_metrics_counter(m, name, "outcome=\"sent\"", help);
    o->refused = dc_metrics_counter(m, name, "outcome=\"refused\"", help);
    o->failed = dc_metrics_counter(m, name, "outcome=\"failed\"", help);
    dc_timer_init(city->ctx->loop, &o->tick, on_tick);
    dc_timer_init(city->ctx->loop, &o->retry, on_retry);
    o->open_timers = 2;
    dc_timer_start(&o->tick, TICK_MS, TICK_MS);
    city->outgoing = o;
    ask_for_lease(o);
}

static void on_released(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                        const struct dc_error *err)
{
    (void)st; /* else it runs out */
    (void)value;
    (void)number;
    (void)err;
    dc_city_pending_end(data);
}

void dc_matrix_outgoing_stop(struct dc_city *city)
{
    struct dc_matrix_outgoing *o = city->outgoing;
    if (o == NULL) {
        return;
    }
    dc_timer_stop(&o->tick);
    dc_timer_stop(&o->retry);
    if (o->is_holder && dc_kv_lease_release(city->ctx->kv, DC_S(LEASE_NAME), holder_of(city),
                                            on_released, city, NULL) == DC_OK) {
        dc_city_pending_begin(city);
    }
}

static void on_timer_closed(struct dc_matrix_outgoing *o)
{
    if (--o->open_timers == 0) {
        dc_free(o);
    }
}

static void on_tick_closed(struct dc_timer *t)
{
    on_timer_closed(DC_CONTAINER_OF(t, struct dc_matrix_outgoing, tick));
}

static void on_retry_closed(struct dc_timer *t)
{
    on_timer_closed(DC_CONTAINER_OF(t, struct dc_matrix_outgoing, retry));
}

void dc_matrix_outgoing_destroy(struct dc_city *city)
{
    struct dc_matrix_outgoing *o = city->outgoing;
    city->outgoing = NULL;
    if (o != NULL) {
        DC_ASSERT(o->n_active == 0);
        dc_timer_close(&o->tick, on_tick_closed);
        dc_timer_close(&o->retry, on_retry_closed);
    }
}
