/* Bus in this process: durable consumers.  A consumer outlives its subscribers (not the process);
 * every message is with one of them until it is acknowledged. */
#include "base/mem.h"
#include "bus/bus_memory_priv.h"

#define ACK_WAIT_DEFAULT_MS   30000
#define MAX_IN_FLIGHT_DEFAULT 256
#define RETRY_FIRST_MS        100
#define RETRY_MAX_MS          10000
#define LENGTH_MAX_MS         (366ULL * 24 * 3600 * 1000)

/* A message without an acknowledgement. */
struct pending {
    struct dc_list link;       /* consumer.pending */
    struct dc_list ready_link; /* consumer.ready while it waits for a subscriber */
    struct dc_heap_node wait;  /* memory.waits: when it is to be delivered again */
    struct dc_bus_mconsumer *consumer;
    struct dc_bus_mmsg *msg;
    struct dc_list acks;
    uint32_t deliveries;
};

struct ack {
    struct dc_bus_ack base;
    struct dc_list link;         /* memory.acks, for the end */
    struct dc_list pending_link; /* pending.acks */
    struct pending *pending;     /* NULL: settled by another delivery's acknowledgement */
    uint32_t delivery;
};

static struct dc_slice name_of(const struct dc_bus_mconsumer *c)
{
    return dc_slice_make(c->bytes, c->name_len);
}

static struct dc_slice pattern_of(const struct dc_bus_mconsumer *c)
{
    return dc_slice_make(c->bytes + c->name_len, c->pattern_len);
}

void dc_bus_mconsumer_wake(struct dc_bus_mconsumer *c)
{
    if (!dc_list_is_empty(&c->subs) && dc_list_is_empty(&c->active_link)) {
        dc_list_push_back(&c->memory->active, &c->active_link);
    }
    dc_turn_schedule(c->memory->loop, &c->memory->turn);
}

static struct dc_bus_mconsumer *consumer_new(struct dc_bus_memory *b, struct dc_bus_mstream *stream,
                                             const struct dc_bus_sub_opts *opts)
{
    size_t name_len = strlen(opts->durable);
    struct dc_bus_mconsumer *c = dc_calloc(1, sizeof(*c) + name_len + opts->pattern.len);
    c->memory = b;
    c->stream = stream;
    c->name_len = name_len;
    c->pattern_len = opts->pattern.len;
    memcpy(c->bytes, opts->durable, name_len);
    memcpy(c->bytes + name_len, opts->pattern.ptr, opts->pattern.len);
    c->ack_wait_ms = opts->ack_wait_ms == 0 ? ACK_WAIT_DEFAULT_MS : opts->ack_wait_ms;
    c->ack_wait_ms = c->ack_wait_ms < LENGTH_MAX_MS ? c->ack_wait_ms : LENGTH_MAX_MS;
    c->max_in_flight = opts->max_in_flight == 0 ? MAX_IN_FLIGHT_DEFAULT : opts->max_in_flight;
    dc_list_init(&c->active_link);
    dc_list_init(&c->subs);
    dc_list_init(&c->ready);
    dc_list_init(&c->pending);
    dc_bus_cursor_open(stream, &c->cursor, opts);
    dc_list_push_back(&stream->consumers, &c->link);
    return c;
}

static struct dc_bus_mconsumer *consumer_find(struct dc_bus_memory *b, struct dc_slice name)
{
    for (size_t i = 0; i < b->n_streams; i++) {
        DC_LIST_FOREACH (it, &b->streams[i].consumers) {
            struct dc_bus_mconsumer *c = DC_LIST_ENTRY(it, struct dc_bus_mconsumer, link);
            if (dc_slice_eq(name_of(c), name)) {
                return c;
            }
        }
    }
    return NULL;
}

enum dc_status dc_bus_mconsumer_join(struct dc_bus_memory *b, struct dc_bus_msub *s,
                                     const struct dc_bus_sub_opts *opts, struct dc_error *err)
{
    struct dc_bus_mconsumer *c = consumer_find(b, dc_slice_z(opts->durable));
    if (c == NULL) {
        c = consumer_new(b, s->stream, opts);
    } else if (!dc_slice_eq(pattern_of(c), opts->pattern)) {
        return dc_fail(err, DC_CONFLICT, 0, "bus: consumer %s has another pattern", opts->durable);
    }
    s->consumer = c;
    c->n_behind++;
    dc_list_push_back(&c->subs, &s->consumer_link);
    dc_bus_mconsumer_wake(c);
    return DC_OK;
}

void dc_bus_mconsumer_leave(struct dc_bus_msub *s)
{
    dc_list_remove(&s->consumer_link);
    s->consumer->n_behind -= !s->is_caught_up;
    s->consumer = NULL;
}

static void orphan_acks(struct pending *p)
{
    while (!dc_list_is_empty(&p->acks)) {
        struct ack *a = DC_LIST_ENTRY(p->acks.next, struct ack, pending_link);
        dc_list_remove(&a->pending_link);
        a->pending = NULL;
    }
}

static void pending_free(struct pending *p)
{
    orphan_acks(p);
    dc_list_remove(&p->link);
    dc_list_remove(&p->ready_link);
    dc_heap_remove(&p->consumer->memory->waits, &p->wait);
    p->consumer->in_flight--;
    dc_bus_mmsg_unref(p->msg);
    dc_free(p);
}

void dc_bus_mconsumer_free(struct dc_bus_mconsumer *c)
{
    while (!dc_list_is_empty(&c->pending)) {
        pending_free(DC_LIST_ENTRY(c->pending.next, struct pending, link));
    }
    dc_bus_cursor_close(&c->cursor);
    dc_list_remove(&c->link);
    dc_list_remove(&c->active_link);
    dc_free(c);
}

void dc_bus_macks_free(struct dc_bus_memory *b)
{
    while (!dc_list_is_empty(&b->acks)) {
        struct ack *a = DC_LIST_ENTRY(b->acks.next, struct ack, link);
        dc_list_remove(&a->link);
        dc_list_remove(&a->pending_link);
        dc_free(a);
    }
}

static void arm(struct dc_bus_memory *b)
{
    const struct dc_heap_node *n = dc_heap_peek(&b->waits);
    if (n == NULL) {
        dc_timer_stop(&b->timer);
        return;
    }
    int64_t left = n->at_ms - dc_loop_now(b->loop).ms;
    dc_timer_start(&b->timer, left > 0 ? (uint64_t)left : 0, 0);
}

static void wait_for(struct pending *p, uint64_t length_ms)
{
    struct dc_bus_memory *b = p->consumer->memory;
    dc_heap_set(&b->waits, &p->wait, dc_loop_now(b->loop).ms + (int64_t)length_ms);
}

void dc_bus_mconsumers_expire(struct dc_bus_memory *b)
{
    int64_t now = dc_loop_now(b->loop).ms;
    struct dc_heap_node *n = NULL;
    while ((n = dc_heap_peek(&b->waits)) != NULL && n->at_ms <= now) {
        struct pending *p = DC_CONTAINER_OF(n, struct pending, wait);
        dc_heap_remove(&b->waits, n);
        dc_list_push_back(&p->consumer->ready, &p->ready_link);
        dc_bus_mconsumer_wake(p->consumer);
    }
    arm(b);
}

void dc_bus_mconsumer_ack(struct dc_bus_ack *ack, bool done)
{
    struct ack *a = DC_CONTAINER_OF(ack, struct ack, base);
    struct pending *p = a->pending;
    if (p != NULL && done) {
        struct dc_bus_mconsumer *c = p->consumer;
        pending_free(p);
        dc_bus_mconsumer_wake(c);
    } else if (p != NULL && a->delivery == p->deliveries && dc_heap_contains(&p->wait)) {
        /* Refused: again after a pause.  A refusal of an earlier delivery says nothing new. */
        uint32_t shift = p->deliveries - 1 < 7 ? p->deliveries - 1 : 7;
        uint64_t pause_ms = (uint64_t)RETRY_FIRST_MS << shift;
        wait_for(p, pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS);
        arm(p->consumer->memory);
    }
    dc_list_remove(&a->link);
    dc_list_remove(&a->pending_link);
    dc_free(a);
}

static void deliver(struct dc_bus_mconsumer *c, struct pending *p)
{
    struct dc_bus_memory *b = c->memory;
    struct dc_bus_msub *s = DC_LIST_ENTRY(c->subs.next, struct dc_bus_msub, consumer_link);
    dc_list_remove(&s->consumer_link);
    dc_list_push_back(&c->subs, &s->consumer_link); /* each in turn */
    p->deliveries++;
    wait_for(p, c->ack_wait_ms);
    struct ack *a = dc_calloc(1, sizeof(*a));
    a->base.backend = b->bus.backend;
    a->pending = p;
    a->delivery = p->deliveries;
    dc_list_push_back(&p->acks, &a->pending_link);
    dc_list_push_back(&b->acks, &a->link);
    (p->deliveries > 1 ? b->bus.redelivered : b->bus.delivered)->value++;
    struct dc_bus_mmsg *m = p->msg;
    m->refs++; /* p may be settled inside the callback */
    const struct dc_bus_message message = {
        .subject = dc_bus_mmsg_subject(m),
        .payload = dc_bus_mmsg_payload(m),
        .sequence = m->sequence,
        .deliveries = p->deliveries,
        .is_replay = m->sequence <= s->snapshot_end,
        .ack = &a->base,
    };
    dc_bus_msub_hold(s);
    s->cb(s->data, &message);
    dc_bus_msub_release(s);
    dc_bus_mmsg_unref(m);
}

static struct pending *pending_new(struct dc_bus_mconsumer *c, struct dc_bus_mmsg *m)
{
    struct pending *p = dc_calloc(1, sizeof(*p));
    p->consumer = c;
    p->msg = m;
    m->refs++;
    dc_list_init(&p->ready_link);
    dc_list_init(&p->acks);
    dc_list_push_back(&c->pending, &p->link);
    c->in_flight++;
    return p;
}

static bool is_due_to_hear(const struct dc_bus_msub *s, bool is_at_end, uint64_t pos)
{
    return !s->is_caught_up && (is_at_end || pos >= s->snapshot_end);
}

/* Tells every subscriber for whom all that was stored when it began lies before pos.  Starts anew
 * after each callback, which may remove any subscriber; true when it called one. */
static bool check_caught_up(struct dc_bus_mconsumer *c, bool is_at_end, uint64_t pos)
{
    bool has_called = false;
    struct dc_list *it = c->subs.next;
    while (c->n_behind > 0 && it != &c->subs && !c->memory->is_closing) {
        struct dc_bus_msub *s = DC_LIST_ENTRY(it, struct dc_bus_msub, consumer_link);
        if (!is_due_to_hear(s, is_at_end, pos)) {
            it = it->next;
            continue;
        }
        dc_bus_msub_hold(s);
        dc_bus_msub_check_caught_up(s, is_at_end, pos);
        dc_bus_msub_release(s);
        has_called = true;
        it = c->subs.next;
    }
    return has_called;
}

bool dc_bus_mconsumer_pump(struct dc_bus_mconsumer *c, size_t *budget)
{
    bool is_at_end = false;
    while (*budget > 0 && !dc_list_is_empty(&c->subs) && !c->memory->is_closing) {
        if (!dc_list_is_empty(&c->ready)) {
            struct pending *p = DC_LIST_ENTRY(c->ready.next, struct pending, ready_link);
            dc_list_remove(&p->ready_link);
            (*budget)--;
            deliver(c, p);
            continue;
        }
        if (c->in_flight >= c->max_in_flight) {
            break;
        }
        struct dc_bus_mmsg *m = dc_bus_cursor_next(c->stream, &c->cursor, pattern_of(c), budget);
        if (m == NULL) {
            is_at_end = *budget > 0;
            break;
        }
        if (check_caught_up(c, false, m->sequence - 1)) {
            continue; /* the callback may have changed the stream */
        }
        struct pending *p = pending_new(c, m);
        dc_bus_cursor_pass(c->stream, &c->cursor);
        deliver(c, p);
    }
    (void)check_caught_up(c, is_at_end, c->cursor.pos);
    arm(c->memory);
    return *budget > 0;
}
