/* The bus on NATS JetStream: the port's verbs, what happens when the connection comes and goes, the
 * turn, the end.  nats_priv.h says who does the rest. */
#include "base/mem.h"
#include "base/random.h"
#include "bus/nats_priv.h"
#include <stdio.h>

#define PUBLISH_DEADLINE_DEFAULT_MS 30000
#define TICK_MS                     500

static struct dc_bus_nats *nats_of(struct dc_bus *bus)
{
    return DC_CONTAINER_OF(bus, struct dc_bus_nats, bus);
}

static struct dc_nats_sub *sub_of(struct dc_list *link)
{
    return DC_LIST_ENTRY(link, struct dc_nats_sub, link);
}

/* --- time --- */

int64_t dc_nats_now_ms(const struct dc_bus_nats *b)
{
    return dc_loop_now(b->loop).ms;
}

static void arm(struct dc_bus_nats *b)
{
    const struct dc_heap_node *n = dc_heap_peek(&b->wakes);
    if (n != NULL && !b->is_closing) {
        int64_t left = n->at_ms - dc_nats_now_ms(b);
        dc_timer_start(&b->timer, left > 0 ? (uint64_t)left : 0, 0);
    }
}

void dc_nats_wake_set(struct dc_bus_nats *b, struct dc_nats_wake *w, uint64_t after_ms)
{
    dc_heap_set(&b->wakes, &w->node, dc_nats_now_ms(b) + (int64_t)after_ms);
    arm(b);
}

void dc_nats_wake_clear(struct dc_bus_nats *b, struct dc_nats_wake *w)
{
    dc_heap_remove(&b->wakes, &w->node);
}

static void on_timer(struct dc_timer *t)
{
    struct dc_bus_nats *b = DC_CONTAINER_OF(t, struct dc_bus_nats, timer);
    struct dc_heap_node *n = NULL;
    int64_t now_ms = dc_nats_now_ms(b);
    while (!b->is_closing && (n = dc_heap_peek(&b->wakes)) != NULL && n->at_ms <= now_ms) {
        struct dc_nats_wake *w = DC_CONTAINER_OF(n, struct dc_nats_wake, node);
        dc_heap_remove(&b->wakes, n);
        w->fn(w);
    }
    arm(b);
}

static void on_tick(struct dc_nats_wake *w)
{
    struct dc_bus_nats *b = DC_CONTAINER_OF(w, struct dc_bus_nats, tick);
    dc_nats_wake_set(b, w, TICK_MS);
    dc_nats_outgoing_tick(b);
    if (b->is_ready) {
        dc_nats_consumers_tick(b);
        DC_LIST_FOREACH (it, &b->subs) {
            dc_nats_sub_tick(sub_of(it));
        }
    }
}

/* --- ready --- */

void dc_nats_stir(struct dc_bus_nats *b)
{
    dc_turn_schedule(b->loop, &b->turn);
}

void dc_nats_tell_outcome(struct dc_bus_nats *b, const struct dc_error *err)
{
    if (!b->has_told_ready) {
        b->outcome = *err;
        b->has_outcome = true;
        dc_nats_stir(b);
    }
}

static void tell_ready(struct dc_bus_nats *b)
{
    if (b->ready != NULL && b->has_outcome && !b->has_told_ready) {
        b->has_told_ready = true;
        b->ready(b->ready_data, &b->outcome);
    }
}

/* Plain and live ones need no streams. */
static void subs_resume(struct dc_bus_nats *b, bool only_plain)
{
    struct dc_list all;
    dc_list_init(&all);
    dc_list_move_all(&all, &b->subs);
    while (!b->is_closing && !dc_list_is_empty(&all)) {
        struct dc_nats_sub *s = sub_of(all.next);
        dc_list_remove(&s->link);
        dc_list_push_back(&b->subs, &s->link);
        if (s->stream == NULL || !only_plain) {
            dc_nats_sub_resume(s);
        }
    }
    dc_list_move_all(&b->subs, &all);
}

void dc_nats_become_ready(struct dc_bus_nats *b)
{
    const struct dc_error ok = {.status = DC_OK};
    b->is_ready = true;
    dc_health_set(b->health, DC_HEALTH_OK, b->server);
    dc_nats_link_settled(b->link);
    dc_nats_tell_outcome(b, &ok);
    dc_nats_consumers_resume(b);
    subs_resume(b, false);
    dc_nats_stir(b);
}

/* --- the connection --- */

static void on_up(void *data, const char *server)
{
    struct dc_bus_nats *b = data;
    b->reconnects->value += b->was_up;
    b->was_up = true;
    b->is_up = true;
    (void)snprintf(b->server, sizeof(b->server), "%s", server);
    dc_health_set(b->health, DC_HEALTH_DOWN, "connected, checking the streams");
    dc_nats_api_up(b);
    dc_nats_streams_check(b);
    subs_resume(b, true);
    dc_nats_stir(b); /* what waits for the connection alone */
}

static void on_down(void *data, const char *reason)
{
    struct dc_bus_nats *b = data;
    char detail[128];
    b->is_up = false;
    b->is_ready = false;
    dc_nats_api_down(b); /* whoever waits for an answer hears that there is none */
    dc_nats_streams_down(b);
    DC_LIST_FOREACH (it, &b->subs) {
        dc_nats_sub_down(sub_of(it));
    }
    dc_nats_consumers_down(b);
    dc_nats_outgoing_down(b);
    (void)snprintf(detail, sizeof(detail), "connection lost: %s", reason);
    dc_health_set(b->health, DC_HEALTH_DOWN, detail);
}

static void on_failed(void *data, const struct dc_error *err)
{
    struct dc_bus_nats *b = data;
    dc_health_set(b->health, DC_HEALTH_DOWN, dc_error_text(err));
    if (err->status == DC_CONFIG) {
        dc_nats_tell_outcome(b, err);
    }
}

static void on_room(void *data)
{
    dc_nats_stir(data);
}

/* --- the end --- */

static void bus_free(struct dc_bus_nats *b)
{
    void (*closed)(void *data) = b->closed;
    void *data = b->closed_data;
    dc_turn_cancel(&b->turn);
    dc_nats_acks_free(b);
    while (!dc_list_is_empty(&b->subs)) {
        struct dc_nats_sub *s = sub_of(b->subs.next);
        if (s->consumer != NULL) {
            dc_nats_durable_leave(s);
        }
        dc_nats_sub_free(s);
    }
    dc_nats_outgoing_free(b);
    dc_timeouts_close(b->call_timeouts);
    dc_heap_free(&b->wakes);
    dc_free(b->streams);
    dc_free(b);
    if (closed != NULL) {
        closed(data);
    }
}

static void on_timer_closed(struct dc_timer *t)
{
    bus_free(DC_CONTAINER_OF(t, struct dc_bus_nats, timer));
}

static void on_link_closed(void *data)
{
    struct dc_bus_nats *b = data;
    dc_timer_close(&b->timer, on_timer_closed);
}

static const struct dc_nats_link_events link_events = {on_up, on_down, on_failed, on_room,
                                                       on_link_closed};

static void tell_ended(struct dc_bus_nats *b)
{
    struct dc_list ending;
    dc_list_init(&ending);
    dc_list_move_all(&ending, &b->subs);
    while (!dc_list_is_empty(&ending)) {
        struct dc_nats_sub *s = sub_of(ending.next);
        dc_list_remove(&s->link);
        dc_list_push_back(&b->subs, &s->link);
        dc_nats_sub_hold(s);
        if (s->ended != NULL) {
            s->ended(s->data);
        }
        dc_nats_sub_release(s);
    }
}

static void end(struct dc_bus_nats *b)
{
    tell_ended(b);
    dc_nats_outgoing_end(b);
    dc_nats_call_cancel(b->check);
    DC_LIST_FOREACH (it, &b->subs) {
        struct dc_nats_sub *s = sub_of(it);
        dc_nats_call_cancel(s->call);
        s->call = NULL;
        dc_nats_sub_down(s);
    }
    dc_nats_consumers_end(b);
    dc_nats_streams_down(b);
    b->is_up = false;
    b->is_ready = false;
    DC_ASSERT(dc_list_is_empty(&b->calls));
    dc_turn_cancel(&b->turn);
    dc_timer_stop(&b->timer);
    dc_nats_link_close(b->link);
}

static void on_turn(struct dc_turn *turn)
{
    struct dc_bus_nats *b = DC_CONTAINER_OF(turn, struct dc_bus_nats, turn);
    if (!b->is_closing) {
        tell_ready(b);
    }
    if (!b->is_closing) {
        dc_nats_outgoing_pump(b);
    }
    if (b->is_closing && !b->has_ended) {
        b->has_ended = true;
        end(b);
    }
}

/* --- verbs --- */

static void nats_close(struct dc_bus *bus, void (*closed)(void *data), void *data)
{
    struct dc_bus_nats *b = nats_of(bus);
    DC_ASSERT(!b->is_closing);
    b->is_closing = true;
    b->closed = closed;
    b->closed_data = data;
    dc_nats_stir(b);
}

static struct dc_nats_stream *stream_at(struct dc_bus_nats *b, const struct dc_bus_stream *row)
{
    return row == NULL ? NULL : &b->streams[row - b->bus.streams];
}

/* At once, past everything that waits for the streams; when it cannot be, nobody hears it live. */
static void publish_live(struct dc_bus_nats *b, struct dc_slice subject, struct dc_slice payload)
{
    struct dc_strbuf name = {0};
    if (!dc_nats_link_is_up(b->link) || dc_nats_link_is_full(b->link)) {
        return;
    }
    struct dc_blob *copy = payload.len == 0 ? NULL : dc_blob_copy(payload);
    dc_strbuf_add(&name, DC_S(DC_NATS_LIVE));
    dc_strbuf_add(&name, subject);
    if (dc_strbuf_ok(&name) && (copy != NULL || payload.len == 0)) {
        dc_nats_link_publish(b->link, dc_strbuf_slice(&name), DC_SLICE_NULL, DC_SLICE_NULL, copy);
    }
    dc_blob_unref(copy);
    dc_strbuf_free(&name);
}

static enum dc_status nats_publish(struct dc_bus *bus, struct dc_slice subject, struct dc_slice id,
                                   struct dc_slice payload, dc_bus_publish_cb cb, void *data,
                                   struct dc_op **op)
{
    struct dc_bus_nats *b = nats_of(bus);
    if (b->is_closing) {
        return DC_CLOSED;
    }
    const struct dc_bus_stream *row =
        dc_bus_stream_of_subject(bus->streams, bus->n_streams, subject);
    enum dc_status st = dc_nats_outgoing_publish(b, row, subject, id, payload, cb, data, op);
    if (st == DC_OK && row != NULL && row->has_live) {
        publish_live(b, subject, payload);
    }
    return st;
}

static enum dc_status nats_say(struct dc_bus *bus, struct dc_slice subject, struct dc_slice payload)
{
    struct dc_bus_nats *b = nats_of(bus);
    return b->is_closing ? DC_CLOSED : dc_nats_outgoing_say(b, subject, payload);
}

static enum dc_status nats_forget(struct dc_bus *bus, const struct dc_bus_stream *stream,
                                  struct dc_slice subject)
{
    struct dc_bus_nats *b = nats_of(bus);
    return b->is_closing ? DC_CLOSED : dc_nats_outgoing_forget(b, stream, subject);
}

static enum dc_status nats_subscribe(struct dc_bus *bus, const struct dc_bus_sub_opts *opts,
                                     const struct dc_bus_stream *stream, dc_bus_cb cb, void *data,
                                     struct dc_bus_sub **out, struct dc_error *err)
{
    struct dc_bus_nats *b = nats_of(bus);
    if (b->is_closing) {
        return dc_fail(err, DC_CLOSED, 0, "bus: closing");
    }
    struct dc_nats_stream *home = opts->start == DC_BUS_LIVE ? NULL : stream_at(b, stream);
    struct dc_nats_sub *s = dc_nats_sub_create(b, opts, home, cb, data);
    if (opts->durable != NULL) {
        enum dc_status st = dc_nats_durable_join(s, opts, err);
        if (st != DC_OK) {
            dc_nats_sub_free(s);
            return st;
        }
    }
    dc_nats_outgoing_sub(b, s);
    *out = &s->base;
    return DC_OK;
}

static void nats_on_ready(struct dc_bus *bus, void (*ready)(void *data, const struct dc_error *err),
                          void *data)
{
    struct dc_bus_nats *b = nats_of(bus);
    b->ready = ready;
    b->ready_data = data;
    dc_nats_stir(b);
}

static const struct dc_bus_backend nats_backend = {
    nats_close,          nats_publish, nats_say,      nats_subscribe, dc_nats_sub_unsubscribe,
    dc_nats_durable_ack, nats_forget,  nats_on_ready,
};

enum dc_status dc_bus_nats_open(struct dc_loop *loop, const struct dc_bus_opts *opts,
                                struct dc_bus **out, struct dc_error *err)
{
    struct dc_bus_nats *b = dc_calloc(1, sizeof(*b));
    dc_bus_init(&b->bus, &nats_backend, opts);
    b->loop = loop;
    b->log = opts->log;
    b->health = opts->health;
    b->replicas = opts->replicas == 0 ? 1 : opts->replicas;
    b->publish_deadline_ms =
        opts->publish_deadline_ms == 0 ? PUBLISH_DEADLINE_DEFAULT_MS : opts->publish_deadline_ms;
    enum dc_status st = dc_nats_link_open(loop, opts, &link_events, b, &b->link, err);
    if (st != DC_OK) {
        dc_free(b);
        return st;
    }
    (void)snprintf(b->nonce, sizeof(b->nonce), "%016llx", (unsigned long long)dc_random_u64(NULL));
    b->n_streams = b->bus.n_streams;
    b->streams = dc_calloc(b->n_streams, sizeof(*b->streams));
    for (size_t i = 0; i < b->n_streams; i++) {
        b->streams[i].row = &b->bus.streams[i];
    }
    dc_list_init(&b->calls);
    dc_list_init(&b->subs);
    dc_list_init(&b->consumers);
    dc_list_init(&b->acks);
    dc_turn_init(&b->turn, on_turn);
    dc_timer_init(loop, &b->timer, on_timer);
    dc_nats_outgoing_init(b);
    b->reconnects = dc_metrics_counter(opts->metrics, "daarion_bus_reconnects_total", NULL,
                                       "Connections to NATS after the first");
    b->interruptions = dc_metrics_counter(opts->metrics, "daarion_bus_interruptions_total", NULL,
                                          "Subscriptions that may have missed something");
    dc_health_set(b->health, DC_HEALTH_DOWN, "connecting");
    b->tick.fn = on_tick;
    dc_nats_wake_set(b, &b->tick, TICK_MS);
    *out = &b->bus;
    return DC_OK;
}
