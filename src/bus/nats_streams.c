/* The streams of the table: made where they are missing, checked where they are there, after every
 * connection and whenever something looks wrong.  One after the other; the round begins anew after
 * a failure, with back-off. */
#include "base/mem.h"
#include "bus/nats_priv.h"
#include <stdio.h>

#define BACKOFF_BASE_MS 100
#define BACKOFF_MAX_MS  5000

static void check_next(struct dc_bus_nats *b);

void dc_nats_stream_seen(struct dc_nats_stream *s, const json_t *info)
{
    const json_t *state = json_object_get(info, "state");
    const char *created = json_string_value(json_object_get(info, "created"));
    s->first_sequence = dc_nats_number(state, "first_seq");
    s->last_sequence = dc_nats_number(state, "last_seq");
    if (created != NULL && strcmp(created, s->created) != 0) {
        (void)snprintf(s->created, sizeof(s->created), "%s", created);
        s->epoch++;
    }
}

static struct dc_nats_stream *current(struct dc_bus_nats *b)
{
    return &b->streams[b->n_checked];
}

/* Trying again does not help: the configuration, ours or the server's, has to change. */
static bool is_hopeless(enum dc_status st, const struct dc_error *err)
{
    bool is_refused = st == DC_INVALID && err->cause != 10005; /* no suitable peers: may come */
    return st == DC_CONFIG || is_refused || err->cause == 10052 || err->cause == 10074;
}

/* One line a problem, however often it is tried. */
static void complain(struct dc_bus_nats *b, enum dc_log_level level, const struct dc_error *err)
{
    if (strcmp(b->last_complaint, dc_error_text(err)) != 0) {
        (void)snprintf(b->last_complaint, sizeof(b->last_complaint), "%s", dc_error_text(err));
        DC_LOG(b->log, level, "bus.not_ready", DC_LF_Z("stream", current(b)->row->name),
               DC_LF_ERR(err));
    }
}

static void fail(struct dc_bus_nats *b, enum dc_status st, const struct dc_error *err)
{
    if (st == DC_CLOSED) {
        return; /* the next connection begins anew */
    }
    struct dc_error told = *err;
    if (is_hopeless(st, err)) {
        if (st != DC_CONFIG) {
            const char *hint = err->cause == 10074 ? " (NATS_REPLICAS)" : "";
            (void)dc_fail(&told, DC_CONFIG, err->cause, "stream %s at NATS_URL: %.120s%s",
                          current(b)->row->name, dc_error_text(err), hint);
        }
        complain(b, DC_LOG_ERROR, &told);
        dc_health_set(b->health, DC_HEALTH_DOWN, dc_error_text(&told));
        dc_nats_wake_set(b, &b->check_again, BACKOFF_MAX_MS);
        dc_nats_tell_outcome(b, &told);
        return;
    }
    complain(b, DC_LOG_WARN, &told);
    dc_health_set(b->health, DC_HEALTH_DOWN, dc_error_text(&told));
    dc_nats_wake_set(b, &b->check_again, dc_backoff_next_ms(&b->check_backoff));
}

static void passed(struct dc_bus_nats *b)
{
    b->n_checked++;
    check_next(b);
}

static void on_changed(void *data, enum dc_status st, const json_t *answer,
                       const struct dc_error *err)
{
    struct dc_bus_nats *b = data;
    b->check = NULL;
    if (st == DC_OK) {
        dc_nats_stream_seen(current(b), answer);
        passed(b);
    } else if (err->cause == DC_NATS_ERR_STREAM_EXISTS) {
        check_next(b); /* another process was faster: look at what it has made */
    } else {
        fail(b, st, err);
    }
}

static void change(struct dc_bus_nats *b, const char *verb, const json_t *config)
{
    const struct dc_bus_stream *row = current(b)->row;
    struct dc_strbuf body = {0};
    if (config == NULL) {
        dc_nats_stream_write(&body, row, b->replicas);
    } else {
        dc_nats_stream_extend(&body, row, config);
    }
    DC_LOG_INFO_EVENT(b->log, config == NULL ? "bus.stream_create" : "bus.stream_extend",
                      DC_LF_Z("stream", row->name));
    b->check =
        dc_nats_call(b, verb, row->name, DC_SLICE_NULL, dc_strbuf_slice(&body), on_changed, b);
    dc_strbuf_free(&body);
}

static void on_info(void *data, enum dc_status st, const json_t *answer, const struct dc_error *err)
{
    struct dc_bus_nats *b = data;
    struct dc_error problem = {0};
    bool has_subjects = false;
    b->check = NULL;
    if (err->cause == DC_NATS_ERR_STREAM_NOT_FOUND) {
        change(b, "STREAM.CREATE", NULL);
        return;
    }
    if (st != DC_OK) {
        fail(b, st, err);
        return;
    }
    const json_t *config = json_object_get(answer, "config");
    st = dc_nats_stream_check(current(b)->row, b->replicas, config, &has_subjects, &problem);
    if (st != DC_OK) {
        fail(b, st, &problem);
    } else if (!has_subjects) {
        change(b, "STREAM.UPDATE", config);
    } else {
        dc_nats_stream_seen(current(b), answer);
        passed(b);
    }
}

static void check_next(struct dc_bus_nats *b)
{
    if (b->n_checked < b->n_streams) {
        b->check = dc_nats_call(b, "STREAM.INFO", current(b)->row->name, DC_SLICE_NULL,
                                DC_SLICE_NULL, on_info, b);
        return;
    }
    b->n_checked = 0;
    b->last_complaint[0] = '\0';
    dc_backoff_reset(&b->check_backoff);
    dc_nats_become_ready(b);
}

static void begin_round(struct dc_bus_nats *b)
{
    b->check_round++;
    b->n_checked = 0;
    check_next(b);
}

static void on_again(struct dc_nats_wake *w)
{
    struct dc_bus_nats *b = DC_CONTAINER_OF(w, struct dc_bus_nats, check_again);
    if (b->is_up && b->check == NULL) {
        begin_round(b);
    }
}

void dc_nats_streams_check(struct dc_bus_nats *b)
{
    b->check_again.fn = on_again;
    b->check_backoff = (struct dc_backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
    begin_round(b);
}

void dc_nats_streams_doubt(struct dc_bus_nats *b)
{
    b->is_ready = false;
    if (b->is_up && b->check == NULL && !dc_heap_contains(&b->check_again.node)) {
        dc_nats_wake_set(b, &b->check_again, dc_backoff_next_ms(&b->check_backoff));
    }
}

void dc_nats_streams_down(struct dc_bus_nats *b)
{
    dc_nats_wake_clear(b, &b->check_again);
    b->check = NULL;
    b->n_checked = 0;
}
