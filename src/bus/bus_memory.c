/* Bus in this process: publishing, subscriptions, the turn that hands everything out, the end.  See
 * bus_memory_priv.h for how messages travel. */
#include "base/mem.h"
#include "base/random.h"
#include "bus/bus_memory_priv.h"

/* Steps of one turn (a message looked at, or handed to one subscriber); then others have their
 * turn. A subscriber may need some tens of microseconds for a message, and a turn should not take 5
 * ms. */
#define TURN_BUDGET 128

static struct dc_bus_memory *memory_of(struct dc_bus *bus)
{
    return DC_CONTAINER_OF(bus, struct dc_bus_memory, bus);
}

static int64_t now_ms(const struct dc_bus_memory *b)
{
    return dc_loop_now(b->loop).ms;
}

/* NULL: plain.  def is an element of bus.streams. */
static struct dc_bus_mstream *stream_at(struct dc_bus_memory *b, const struct dc_bus_stream *def)
{
    return def == NULL ? NULL : &b->streams[def - b->bus.streams];
}

/* --- publishing --- */

static void give_up(struct dc_op *op)
{
    (void)op; /* the message is in the stream already: the real result has won */
}

static struct dc_bus_delivery *delivery_new(struct dc_bus_memory *b, dc_bus_publish_cb cb,
                                            void *data)
{
    struct dc_bus_delivery *d = dc_calloc(1, sizeof(*d));
    d->op.cancel = give_up;
    d->cb = cb;
    d->data = data;
    dc_list_push_back(&b->outgoing, &d->link);
    b->n_outgoing++;
    b->bus.outgoing->value = (int64_t)b->n_outgoing;
    dc_turn_schedule(b->loop, &b->turn);
    return d;
}

static enum dc_status memory_publish(struct dc_bus *bus, struct dc_slice subject,
                                     struct dc_slice id, struct dc_slice payload,
                                     dc_bus_publish_cb cb, void *data, struct dc_op **op)
{
    struct dc_bus_memory *b = memory_of(bus);
    if (b->is_closing) {
        return DC_CLOSED;
    }
    if (b->n_outgoing >= DC_BUS_OUTGOING_MAX_MESSAGES ||
        b->outgoing_bytes + payload.len > DC_BUS_OUTGOING_MAX_BYTES) {
        return DC_LIMIT;
    }
    struct dc_bus_mstream *s =
        stream_at(b, dc_bus_stream_of_subject(bus->streams, bus->n_streams, subject));
    uint64_t seen = s == NULL ? 0 : dc_bus_mstream_seen(s, id, now_ms(b));
    struct dc_bus_delivery *d = NULL;
    if (seen != 0) {
        b->bus.duplicates->value++;
        d = delivery_new(b, cb, data);
        d->sequence = seen;
    } else {
        struct dc_bus_mmsg *m = dc_bus_mmsg_new(subject, payload);
        if (m == NULL) {
            return DC_NO_MEMORY;
        }
        m->order = b->next_order++;
        if (s != NULL) {
            b->evicted->value += dc_bus_mstream_store(s, m, id, now_ms(b));
            DC_LIST_FOREACH (it, &s->consumers) {
                dc_bus_mconsumer_wake(DC_LIST_ENTRY(it, struct dc_bus_mconsumer, link));
            }
        }
        d = delivery_new(b, cb, data);
        d->msg = m;
        d->sequence = m->sequence;
        b->outgoing_bytes += payload.len;
    }
    *op = cb == NULL ? NULL : &d->op;
    return DC_OK;
}

/* --- subscriptions --- */

static struct dc_slice pattern_of(const struct dc_bus_msub *s)
{
    return dc_slice_make(s->pattern, s->pattern_len);
}

void dc_bus_msub_hold(struct dc_bus_msub *s)
{
    s->holds++;
}

static void sub_free(struct dc_bus_msub *s)
{
    dc_list_remove(&s->link);
    dc_free(s);
}

void dc_bus_msub_release(struct dc_bus_msub *s)
{
    if (--s->holds == 0 && s->is_dead) {
        sub_free(s);
    }
}

/* Out of everything that could call it. */
static void sub_detach(struct dc_bus_msub *s)
{
    s->is_dead = true;
    dc_bus_index_remove(&s->memory->index, &s->entry);
    dc_list_remove(&s->replay_link);
    dc_bus_cursor_close(&s->cursor);
    dc_bus_mmsg_unref(s->first);
    s->first = NULL;
    if (s->consumer != NULL) {
        dc_bus_mconsumer_leave(s);
    }
}

static void memory_unsubscribe(struct dc_bus_sub *sub)
{
    struct dc_bus_msub *s = DC_CONTAINER_OF(sub, struct dc_bus_msub, base);
    sub_detach(s);
    if (s->holds == 0) {
        sub_free(s);
    }
}

static void begin_replay(struct dc_bus_msub *s, const struct dc_bus_sub_opts *opts)
{
    struct dc_bus_memory *b = s->memory;
    if (s->stream != NULL) {
        dc_bus_cursor_open(s->stream, &s->cursor, opts);
        if (opts->start == DC_BUS_LAST && dc_bus_pattern_is_exact(opts->pattern)) {
            s->first = dc_map_get(&s->stream->subjects, opts->pattern);
            if (s->first != NULL) {
                s->first->refs++;
            }
            s->cursor.pos = s->stream->last_sequence;
        }
        s->is_replaying = true;
    }
    dc_list_push_back(&b->replaying, &s->replay_link);
    dc_bus_index_add(&b->index, &s->entry, opts->pattern);
    dc_turn_schedule(b->loop, &b->turn);
}

static enum dc_status memory_subscribe(struct dc_bus *bus, const struct dc_bus_sub_opts *opts,
                                       const struct dc_bus_stream *stream, dc_bus_cb cb, void *data,
                                       struct dc_bus_sub **out, struct dc_error *err)
{
    struct dc_bus_memory *b = memory_of(bus);
    if (b->is_closing) {
        return dc_fail(err, DC_CLOSED, 0, "bus: closing");
    }
    struct dc_bus_msub *s = dc_calloc(1, sizeof(*s) + opts->pattern.len);
    s->base.backend = bus->backend;
    s->memory = b;
    s->stream = stream_at(b, stream);
    s->cb = cb;
    s->data = data;
    s->caught_up = opts->caught_up;
    s->ended = opts->ended;
    s->since_order = b->next_order;
    s->pattern_len = opts->pattern.len;
    memcpy(s->pattern, opts->pattern.ptr, opts->pattern.len);
    dc_list_init(&s->replay_link);
    dc_list_init(&s->consumer_link);
    if (s->stream != NULL) {
        b->evicted->value += dc_bus_mstream_expire(s->stream, now_ms(b));
        s->snapshot_end = s->stream->last_sequence;
    }
    if (opts->durable != NULL) {
        enum dc_status st = dc_bus_mconsumer_join(b, s, opts, err);
        if (st != DC_OK) {
            dc_free(s);
            return st;
        }
    } else {
        begin_replay(s, opts);
    }
    dc_list_push_back(&b->subs, &s->link);
    *out = &s->base;
    return DC_OK;
}

/* --- handing out --- */

static void deliver(struct dc_bus_msub *s, const struct dc_bus_mmsg *m)
{
    const struct dc_bus_message message = {
        .subject = dc_bus_mmsg_subject(m),
        .payload = dc_bus_mmsg_payload(m),
        .sequence = m->sequence,
        .deliveries = 1,
        .is_replay = m->sequence != 0 && m->sequence <= s->snapshot_end,
    };
    s->memory->bus.delivered->value++;
    s->cb(s->data, &message);
}

void dc_bus_msub_check_caught_up(struct dc_bus_msub *s, bool is_at_end, uint64_t pos)
{
    if (s->is_dead || s->is_caught_up || !(is_at_end || pos >= s->snapshot_end)) {
        return;
    }
    s->is_caught_up = true;
    if (s->consumer != NULL) {
        s->consumer->n_behind--;
    }
    if (s->caught_up != NULL) {
        s->caught_up(s->data);
    }
}

/* The next steps of one new subscription; true when it has reached the end. */
static bool replay(struct dc_bus_msub *s, size_t *budget)
{
    struct dc_bus_memory *b = s->memory;
    if (s->first != NULL && !s->is_dead) {
        struct dc_bus_mmsg *m = s->first;
        s->first = NULL;
        deliver(s, m);
        dc_bus_mmsg_unref(m);
    }
    while (!s->is_dead && !b->is_closing && s->stream != NULL && *budget > 0) {
        struct dc_bus_mmsg *m = dc_bus_cursor_next(s->stream, &s->cursor, pattern_of(s), budget);
        if (m == NULL) {
            break;
        }
        if (m->sequence > s->snapshot_end && !s->is_caught_up) {
            dc_bus_msub_check_caught_up(s, true, 0); /* before the first new one */
            continue;                                /* the callback may have changed the stream */
        }
        m->refs++;
        dc_bus_cursor_pass(s->stream, &s->cursor);
        deliver(s, m);
        dc_bus_mmsg_unref(m);
    }
    if (s->is_dead || b->is_closing) {
        return true;
    }
    bool is_at_end = s->stream == NULL || *budget > 0;
    if (is_at_end) {
        /* Outgoing messages reach it from here on; what the cursor has passed does not come again:
         * pos is the last sequence of the stream now. */
        s->is_replaying = false;
        s->cursor.pos = s->stream == NULL ? 0 : s->stream->last_sequence;
        dc_bus_cursor_close(&s->cursor);
    }
    dc_bus_msub_check_caught_up(s, is_at_end, s->cursor.pos);
    return is_at_end;
}

static void pump_replaying(struct dc_bus_memory *b, size_t *budget)
{
    while (*budget > 0 && !dc_list_is_empty(&b->replaying) && !b->is_closing) {
        struct dc_bus_msub *s = DC_LIST_ENTRY(b->replaying.next, struct dc_bus_msub, replay_link);
        dc_list_remove(&s->replay_link);
        /* A slice each, so that a long history does not keep the others waiting. */
        size_t slice = *budget < TURN_BUDGET / 8 ? *budget : TURN_BUDGET / 8;
        size_t left = slice;
        dc_bus_msub_hold(s);
        bool is_done = replay(s, &left);
        *budget -= slice - left < *budget ? slice - left : *budget;
        *budget -= *budget > 0; /* one for the subscription itself */
        if (!is_done && !s->is_dead) {
            dc_list_push_back(&b->replaying, &s->replay_link);
        }
        dc_bus_msub_release(s);
    }
}

static void collect(void *data, struct dc_bus_entry *e)
{
    struct dc_bus_memory *b = data;
    if (b->n_matched == b->cap_matched) {
        b->cap_matched = b->cap_matched == 0 ? 16 : 2 * b->cap_matched;
        size_t size = 0;
        bool is_possible = dc_mul_size(b->cap_matched, sizeof(*b->matched), &size);
        DC_ASSERT(is_possible);
        b->matched = dc_realloc(b->matched, size);
    }
    struct dc_bus_msub *s = DC_CONTAINER_OF(e, struct dc_bus_msub, entry);
    dc_bus_msub_hold(s);
    b->matched[b->n_matched++] = s;
}

static bool wants(const struct dc_bus_msub *s, const struct dc_bus_mmsg *m)
{
    if (s->is_dead || s->is_replaying) {
        return false;
    }
    return m->sequence != 0 ? m->sequence > s->cursor.pos : m->order >= s->since_order;
}

/* To everybody who wanted it when its turn came; callbacks may change the subscriptions.  Returns
 * how many they were. */
static size_t hand_out(struct dc_bus_memory *b, const struct dc_bus_mmsg *m)
{
    size_t n = 0;
    b->n_matched = 0;
    dc_bus_index_match(&b->index, dc_bus_mmsg_subject(m), collect, b);
    for (size_t i = 0; i < b->n_matched; i++) {
        struct dc_bus_msub *s = b->matched[i];
        if (!b->is_closing && wants(s, m)) {
            deliver(s, m);
            n++;
        }
        dc_bus_msub_release(s);
    }
    return n;
}

/* Returns the steps that it took. */
static size_t finish_first(struct dc_bus_memory *b, enum dc_status st)
{
    size_t steps = 1;
    struct dc_bus_delivery *d = DC_LIST_ENTRY(b->outgoing.next, struct dc_bus_delivery, link);
    dc_list_remove(&d->link);
    b->n_outgoing--;
    b->bus.outgoing->value = (int64_t)b->n_outgoing;
    if (d->msg != NULL) {
        b->outgoing_bytes -= d->msg->payload_len;
        if (st == DC_OK) {
            steps += hand_out(b, d->msg);
        }
        dc_bus_mmsg_unref(d->msg);
    }
    if (d->cb != NULL) {
        struct dc_error err = {0};
        if (st != DC_OK) {
            (void)dc_fail(&err, st, 0, "bus: closed before the message was handed on");
        }
        d->cb(d->data, st, d->sequence, st == DC_OK ? NULL : &err);
    }
    dc_free(d);
    return steps;
}

static void pump_consumers(struct dc_bus_memory *b, size_t *budget)
{
    while (*budget > 0 && !dc_list_is_empty(&b->active) && !b->is_closing) {
        struct dc_bus_mconsumer *c =
            DC_LIST_ENTRY(b->active.next, struct dc_bus_mconsumer, active_link);
        dc_list_remove(&c->active_link);
        if (!dc_bus_mconsumer_pump(c, budget)) {
            dc_bus_mconsumer_wake(c);
        }
    }
}

/* --- the end --- */

static void on_timer_closed(struct dc_timer *t)
{
    struct dc_bus_memory *b = DC_CONTAINER_OF(t, struct dc_bus_memory, timer);
    while (!dc_list_is_empty(&b->subs)) {
        struct dc_bus_msub *s = DC_LIST_ENTRY(b->subs.next, struct dc_bus_msub, link);
        sub_detach(s);
        sub_free(s);
    }
    for (size_t i = 0; i < b->n_streams; i++) {
        struct dc_bus_mstream *s = &b->streams[i];
        while (!dc_list_is_empty(&s->consumers)) {
            dc_bus_mconsumer_free(DC_LIST_ENTRY(s->consumers.next, struct dc_bus_mconsumer, link));
        }
        dc_bus_mstream_free(s);
    }
    dc_bus_macks_free(b);
    dc_bus_index_free(&b->index);
    dc_heap_free(&b->waits);
    dc_free(b->matched);
    dc_free(b->streams);
    void (*closed)(void *data) = b->closed;
    void *data = b->closed_data;
    dc_free(b);
    if (closed != NULL) {
        closed(data);
    }
}

static void end(struct dc_bus_memory *b)
{
    struct dc_list ending;
    dc_list_init(&ending);
    dc_list_move_all(&ending, &b->subs);
    while (!dc_list_is_empty(&ending)) {
        struct dc_bus_msub *s = DC_LIST_ENTRY(ending.next, struct dc_bus_msub, link);
        dc_list_remove(&s->link);
        dc_list_push_back(&b->subs, &s->link);
        dc_bus_msub_hold(s);
        if (s->ended != NULL) {
            s->ended(s->data);
        }
        dc_bus_msub_release(s);
    }
    while (!dc_list_is_empty(&b->outgoing)) {
        (void)finish_first(b, DC_CANCELED);
    }
    dc_turn_cancel(&b->turn);
    dc_timer_close(&b->timer, on_timer_closed);
}

static void tell_ready(struct dc_bus_memory *b)
{
    void (*ready)(void *data, const struct dc_error *err) = b->ready;
    const struct dc_error ok = {.status = DC_OK};
    b->ready = NULL;
    if (ready != NULL) {
        ready(b->ready_data, &ok);
    }
}

static void on_turn(struct dc_turn *turn)
{
    struct dc_bus_memory *b = DC_CONTAINER_OF(turn, struct dc_bus_memory, turn);
    if (b->is_closing) {
        end(b);
        return;
    }
    size_t budget = TURN_BUDGET / 2; /* a long history does not keep what is new waiting */
    tell_ready(b);
    pump_replaying(b, &budget);
    budget += TURN_BUDGET / 2;
    /* What callbacks publish waits for the next turn. */
    for (size_t n = b->n_outgoing; n > 0 && budget > 0 && !b->is_closing; n--) {
        size_t steps = finish_first(b, DC_OK);
        budget -= steps < budget ? steps : budget;
    }
    budget += TURN_BUDGET / 4; /* a storm of publishing does not stop the consumers */
    pump_consumers(b, &budget);
    if (b->is_closing || b->n_outgoing > 0 || !dc_list_is_empty(&b->replaying) ||
        !dc_list_is_empty(&b->active)) {
        dc_turn_schedule(b->loop, &b->turn);
    }
}

static void on_timer(struct dc_timer *t)
{
    dc_bus_mconsumers_expire(DC_CONTAINER_OF(t, struct dc_bus_memory, timer));
}

static enum dc_status memory_forget(struct dc_bus *bus, const struct dc_bus_stream *stream,
                                    struct dc_slice subject)
{
    struct dc_bus_memory *b = memory_of(bus);
    if (b->is_closing) {
        return DC_CLOSED;
    }
    dc_bus_mstream_forget(stream_at(b, stream), subject);
    return DC_OK;
}

static void memory_on_ready(struct dc_bus *bus,
                            void (*ready)(void *data, const struct dc_error *err), void *data)
{
    struct dc_bus_memory *b = memory_of(bus);
    b->ready = ready;
    b->ready_data = data;
    dc_turn_schedule(b->loop, &b->turn);
}

static void memory_close(struct dc_bus *bus, void (*closed)(void *data), void *data)
{
    struct dc_bus_memory *b = memory_of(bus);
    DC_ASSERT(!b->is_closing);
    b->is_closing = true;
    b->closed = closed;
    b->closed_data = data;
    dc_turn_schedule(b->loop, &b->turn);
}

/* Nothing waits for anything here. */
static enum dc_status memory_say(struct dc_bus *bus, struct dc_slice subject,
                                 struct dc_slice payload)
{
    struct dc_op *none = NULL;
    return memory_publish(bus, subject, DC_SLICE_NULL, payload, NULL, NULL, &none);
}

static const struct dc_bus_backend memory_backend = {
    memory_close,       memory_publish,       memory_say,    memory_subscribe,
    memory_unsubscribe, dc_bus_mconsumer_ack, memory_forget, memory_on_ready,
};

enum dc_status dc_bus_memory_open(struct dc_loop *loop, const struct dc_bus_opts *opts,
                                  struct dc_bus **out, struct dc_error *err)
{
    (void)err; /* cannot fail; other backends can */
    struct dc_bus_memory *b = dc_calloc(1, sizeof(*b));
    dc_bus_init(&b->bus, &memory_backend, opts);
    b->loop = loop;
    dc_random_fill(NULL, b->seed, sizeof(b->seed));
    b->n_streams = b->bus.n_streams;
    b->streams = dc_calloc(b->n_streams, sizeof(*b->streams));
    for (size_t i = 0; i < b->n_streams; i++) {
        dc_bus_mstream_init(&b->streams[i], &b->bus.streams[i], b->seed);
    }
    dc_bus_index_init(&b->index, b->seed);
    dc_list_init(&b->subs);
    dc_list_init(&b->replaying);
    dc_list_init(&b->active);
    dc_list_init(&b->acks);
    dc_list_init(&b->outgoing);
    dc_turn_init(&b->turn, on_turn);
    dc_timer_init(loop, &b->timer, on_timer);
    struct dc_metrics *m = opts->metrics;
    b->evicted = dc_metrics_counter(m, "daarion_bus_evicted_total", NULL,
                                    "Messages dropped by the age or size limit of a stream");
    dc_health_set(opts->health, DC_HEALTH_OK, "memory");
    *out = &b->bus;
    return DC_OK;
}
