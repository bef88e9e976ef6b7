/* POST /internal/city/matrix/events: what was said in Matrix rooms, from matrix-gateway, stored and
 * told like what is said here.
 *
 * Answered 200 when each event of the list has been dealt with for good: stored, known already, or
 * left out because it never can be.  Otherwise 503, and all of them come again, in order; what has
 * been stored is known by its event's id.  So that nothing of a room is stored before what was said
 * in it earlier, each event of a room names the one before it (dc_message_origin.behind). */
#include "base/input.h"
#include "matrix/matrix_id.h"
#include "roles/city/catch_up.h"
#include "roles/city/lookup.h"
#include "roles/city/messages.h"
#include "roles/request.h"

#define MAX_EVENTS     1000
#define MAX_BODY_BYTES ((size_t)4 * 1024 * 1024)
/* In bytes and so in characters: the event has 64 KiB at most. */
#define TEXT_MAX_CHARS 65536
#define NAME_MAX_CHARS 64
#define ARCHIVED       "the room is archived"

enum state { PENDING, STORED, KNOWN, LEFT_OUT };

struct event_body {
    struct dc_slice event_id, matrix_room_id, user_id, username, body, message_id;
};
static const struct dc_field fields[] = {
    {"event_id", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 2, DC_MATRIX_ID_MAX_BYTES,
     offsetof(struct event_body, event_id)},
    {"matrix_room_id", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 2, DC_MATRIX_ID_MAX_BYTES,
     offsetof(struct event_body, matrix_room_id)},
    {"user_id", DC_FIELD_TEXT, DC_FIELD_REQUIRED | DC_FIELD_SINGLE_LINE, 1, DC_MATRIX_ID_MAX_BYTES,
     offsetof(struct event_body, user_id)},
    {"username", DC_FIELD_TEXT, DC_FIELD_REQUIRED | DC_FIELD_SINGLE_LINE, 1, NAME_MAX_CHARS,
     offsetof(struct event_body, username)},
    {"body", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 1, TEXT_MAX_CHARS,
     offsetof(struct event_body, body)},
    {"message_id", DC_FIELD_KEY, DC_FIELD_NULLABLE, 0, 0, offsetof(struct event_body, message_id)},
};

struct taking;

struct event {
    struct taking *t;
    struct event_body in;
    struct dc_city_room *room;
    enum state state;
    bool has_room_before; /* something pending of the same room goes before it in this round */
};

/* Lives in the request's arena. */
struct taking {
    struct dc_city *city;
    struct dc_http_request *r;
    json_t *json; /* texts are borrowed from it */
    struct event *events;
    size_t n, under_way;
    bool is_submitting, has_refused, has_failed;
    struct dc_error why; /* of the first failure that may pass */
};

/* --- the answer --- */

static size_t count(const struct taking *t, enum state state)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        n += t->events[i].state == state ? 1 : 0;
    }
    return n;
}

static void finish(struct taking *t)
{
    struct dc_city *city = t->city;
    struct dc_http_request *r = t->r;
    json_t *json = t->json;
    if (t->has_failed) {
        dc_http_reply_error(r, &t->why);
    } else {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        dc_jsonw_init(&w, &out);
        dc_jsonw_object(&w);
        dc_jsonw_key_i64(&w, "stored", (int64_t)count(t, STORED));
        dc_jsonw_key_i64(&w, "known", (int64_t)count(t, KNOWN));
        dc_jsonw_key_i64(&w, "left_out", (int64_t)count(t, LEFT_OUT));
        dc_jsonw_end(&w);
        dc_http_reply_json(r, 200, &out);
    }
    json_decref(json); /* t is gone */
    dc_city_pending_end(city);
}

/* --- one event --- */

/* Said once for each: it does not come again. */
static void leave_out(struct event *e, const char *why_z)
{
    struct dc_city *city = e->t->city;
    e->state = LEFT_OUT;
    city->matrix_left_out->value++;
    DC_LOG_WARN_EVENT(city->ctx->log, "city.matrix_event_left_out", DC_LF_Z("why", why_z),
                      DC_LF_T("event_id", e->in.event_id),
                      DC_LF_T("matrix_room_id", e->in.matrix_room_id));
}

static void run_round(struct taking *t);

static void fail_for_now(struct taking *t, const struct dc_error *err)
{
    if (!t->has_failed) {
        t->has_failed = true;
        t->why = *err;
    }
}

static void round_ended(struct taking *t)
{
    /* What stood behind an event that has been left out goes on without it. */
    if (!t->has_failed && t->has_refused && count(t, PENDING) > 0) {
        run_round(t);
        return;
    }
    if (!t->has_failed && count(t, PENDING) > 0) {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_UNAVAILABLE, 0,
                      "an event could not be stored behind the one before");
        fail_for_now(t, &err);
    }
    finish(t);
}

static void on_taken(void *data, enum dc_status st, enum dc_message_outcome outcome,
                     const struct dc_error *err)
{
    struct event *e = data;
    struct taking *t = e->t;
    struct dc_city *city = t->city;
    if (st == DC_OK && outcome == DC_MESSAGE_NEW) {
        e->state = STORED;
        city->matrix_stored->value++;
    } else if (st == DC_OK && outcome == DC_MESSAGE_KNOWN) {
        e->state = KNOWN;
        city->matrix_known->value++;
    } else if (st == DC_OK && !e->has_room_before) {
        leave_out(e,
                  e->room->row.is_archived ? ARCHIVED : "the room is not in the database any more");
        t->has_refused = true;
    } else if (st == DC_INVALID || st == DC_TOO_LARGE) {
        leave_out(e, dc_error_text(err)); /* the database will never take it */
        t->has_refused = true;
    } else if (st != DC_OK) {
        fail_for_now(t, err);
    }
    t->under_way--;
    if (t->under_way == 0 && !t->is_submitting) {
        round_ended(t);
    }
}

/* The newest event before this one that has to be stored first. */
static struct dc_slice event_before(const struct taking *t, size_t at)
{
    for (size_t i = at; i-- > 0;) {
        if (t->events[i].room == t->events[at].room && t->events[i].state != LEFT_OUT) {
            return t->events[i].in.event_id;
        }
    }
    return DC_SLICE_NULL;
}

static void submit(struct taking *t, size_t at)
{
    struct event *e = &t->events[at];
    struct dc_error err = {0};
    const struct dc_message_draft draft = {
        .room = e->room, .user_id = e->in.user_id, .username = e->in.username, .body = e->in.body};
    const struct dc_message_origin origin = {
        .event_id = e->in.event_id, .behind = event_before(t, at), .echo_of = e->in.message_id};
    e->has_room_before = origin.behind.ptr != NULL;
    enum dc_status st = dc_city_message_take(t->city, &draft, &origin, on_taken, e, &err);
    if (st == DC_OK) {
        t->under_way++;
    } else if (st == DC_INVALID) {
        leave_out(e, dc_error_text(&err));
        t->has_refused = true;
    } else {
        fail_for_now(t, &err);
    }
}

/* All at once, in order: they share commits. */
static void run_round(struct taking *t)
{
    t->has_refused = false;
    t->is_submitting = true;
    for (size_t i = 0; i < t->n && !t->has_failed; i++) {
        struct event *e = &t->events[i];
        if (e->state == PENDING && e->room->row.is_archived) {
            leave_out(e, ARCHIVED); /* known since the last round, perhaps */
        } else if (e->state == PENDING) {
            submit(t, i);
        }
    }
    t->is_submitting = false;
    if (t->under_way == 0) {
        round_ended(t);
    }
}

/* --- rooms --- */

/* What is not for the city's rooms is not looked at any further, nor spoken of: residents also talk
 * elsewhere. */
static void begin(struct taking *t)
{
    size_t max_chars = (size_t)t->city->ctx->settings->max_message_chars;
    for (size_t i = 0; i < t->n; i++) {
        struct event *e = &t->events[i];
        if (e->state == LEFT_OUT) {
            continue;
        }
        e->room = dc_city_rooms_find_matrix(t->city->rooms, e->in.matrix_room_id);
        if (e->room == NULL) {
            e->state = LEFT_OUT;
            t->city->matrix_elsewhere->value++;
        } else if (dc_utf8_count(e->in.body) > max_chars) {
            leave_out(e, "the message is longer than MAX_MESSAGE_CHARS");
        }
    }
    run_round(t);
}

static void on_rooms(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *err)
{
    struct taking *t = data;
    (void)n;
    if (st == DC_OK && !t->city->is_stopping) {
        dc_lookup_take(t->city, results[0], NULL, NULL);
        begin(t);
        return;
    }
    struct dc_error stopping = {0};
    (void)dc_fail(&stopping, DC_UNAVAILABLE, 0, "the city is stopping");
    fail_for_now(t, st == DC_OK ? &stopping : err);
    finish(t);
}

/* Another process may have made a room, or given it its Matrix room, a moment ago. */
static void find_rooms(struct taking *t)
{
    struct dc_strbuf ids = {0};
    struct dc_jsonw w;
    struct dc_error err = {0};
    enum dc_status st = DC_OK;
    size_t n = 0;
    dc_jsonw_init(&w, &ids);
    dc_jsonw_array(&w);
    for (size_t i = 0; i < t->n; i++) {
        if (t->events[i].state != LEFT_OUT &&
            dc_city_rooms_find_matrix(t->city->rooms, t->events[i].in.matrix_room_id) == NULL) {
            dc_jsonw_text(&w, t->events[i].in.matrix_room_id);
            n++;
        }
    }
    dc_jsonw_end(&w);
    if (!dc_strbuf_ok(&ids)) {
        st = dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
    } else if (n > 0) {
        st = dc_db_submit(dc_repo_rooms_of_matrix(t->city->ctx->db, dc_strbuf_slice(&ids)),
                          on_rooms, t, NULL, &err);
    }
    dc_strbuf_free(&ids);
    if (st != DC_OK) {
        fail_for_now(t, &err);
        finish(t);
    } else if (n == 0) {
        begin(t);
    }
}

/* --- the request --- */

/* What cannot be read today cannot be read tomorrow: it must not keep the others. */
static void read_events(struct taking *t, const json_t *list)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        struct event *e = &t->events[t->n];
        struct dc_problems problems = {0};
        e->t = t;
        t->n++;
        if (!json_is_object(item) ||
            dc_input_json(fields, DC_ARRAY_LEN(fields), item, &e->in, &problems) != DC_OK ||
            !dc_author_id_is_valid(e->in.user_id)) {
            leave_out(e, "it is not as it should be");
        }
    }
}

static void post_events(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct dc_error err = {0};
    json_t *json = NULL;
    if (!dc_require_internal_key(&city->ctx->auth, r) || !dc_city_is_ready(city, r)) {
        return;
    }
    if (dc_json_parse(dc_http_body(r), &json, &err) != DC_OK) {
        dc_http_reply_error(r, &err);
        return;
    }
    const json_t *list = json_object_get(json, "events");
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > MAX_EVENTS) {
        dc_request_fail_field(r, "events", n > MAX_EVENTS ? "too_long" : "wrong_type",
                              "must be a list of at most 1000 events");
        json_decref(json);
        return;
    }
    struct taking *t = dc_request_alloc(r, sizeof(*t));
    if (t != NULL) {
        t->events = dc_request_alloc(r, (n > 0 ? n : 1) * sizeof(*t->events));
    }
    if (t == NULL || t->events == NULL) {
        json_decref(json);
        return;
    }
    t->city = city;
    t->r = r;
    t->json = json;
    read_events(t, list);
    dc_city_pending_begin(city);
    find_rooms(t);
}

/* The gateway sends pieces of about 256 KiB; one of a hundred events can be larger. */
static size_t limit_events(void *ctx, const struct dc_http_request *r)
{
    (void)ctx;
    (void)r;
    return MAX_BODY_BYTES;
}

static const struct dc_route routes[] = {
    {DC_POST, "/internal/city/matrix/events", post_events},
};

void dc_city_routes_matrix(struct dc_city *city)
{
    static const char name[] = "daarion_city_matrix_events_total";
    static const char help[] = "Messages from Matrix rooms, by what has become of them.";
    struct dc_metrics *m = city->ctx->metrics;
    city->matrix_stored = dc_metrics_counter(m, name, "outcome=\"stored\"", help);
    city->matrix_known = dc_metrics_counter(m, name, "outcome=\"known\"", help);
    city->matrix_left_out = dc_metrics_counter(m, name, "outcome=\"left_out\"", help);
    city->matrix_elsewhere = dc_metrics_counter(m, name, "outcome=\"elsewhere\"", help);
    dc_router_add(city->ctx->internal_router, "", routes, DC_ARRAY_LEN(routes), city);
    dc_router_set_body_limit(city->ctx->internal_router, post_events, limit_events);
}
