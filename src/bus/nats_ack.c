/* Acknowledgements of durable consumers.  They may come late: after the connection, the
 * subscription or even the stream of the message is gone. */
#include "base/mem.h"
#include "bus/nats_durable.h"

#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS   10000

struct ack {
    struct dc_bus_ack base;
    struct dc_list link; /* nats.acks */
    struct dc_bus_nats *nats;
    struct dc_nats_consumer *consumer; /* NULL: it has no subscribers in this process any more */
    const struct dc_nats_stream *stream;
    uint32_t epoch; /* of the stream: in another one the sequence means another message */
    uint64_t sequence, deliveries;
    size_t reply_len;
    char reply[];
};

struct dc_bus_ack *dc_nats_ack_create(struct dc_nats_consumer *c, struct dc_slice reply,
                                      const struct dc_nats_meta *meta)
{
    struct ack *a = dc_calloc(1, sizeof(*a) + reply.len);
    a->base.backend = c->nats->bus.backend;
    a->nats = c->nats;
    a->consumer = c;
    a->stream = c->stream;
    a->epoch = c->epoch;
    a->sequence = meta->stream_sequence;
    a->deliveries = meta->deliveries;
    a->reply_len = reply.len;
    memcpy(a->reply, reply.ptr, reply.len);
    dc_list_push_back(&c->nats->acks, &a->link);
    return &a->base;
}

static void ack_free(struct ack *a)
{
    dc_list_remove(&a->link);
    dc_free(a);
}

bool dc_nats_is_settled(const struct dc_nats_consumer *c, uint64_t sequence)
{
    size_t n = c->n_settled < DC_NATS_SETTLED_MAX ? c->n_settled : DC_NATS_SETTLED_MAX;
    for (size_t i = 0; i < n; i++) {
        if (c->settled[i] == sequence) {
            return true;
        }
    }
    return false;
}

void dc_nats_ack_send(struct dc_bus_nats *b, struct dc_slice reply, bool is_done, uint64_t pause_ms)
{
    if (!b->is_up) {
        return; /* it comes again after its time */
    }
    struct dc_strbuf text = {0};
    if (is_done) {
        dc_strbuf_add_z(&text, "+ACK");
    } else if (pause_ms == 0) {
        dc_strbuf_add_z(&text, "-NAK");
    } else {
        dc_strbuf_printf(&text, "-NAK {\"delay\":%llu}", (unsigned long long)pause_ms * 1000000);
    }
    struct dc_blob *payload = dc_blob_copy(dc_strbuf_slice(&text));
    dc_nats_link_publish(b->link, reply, DC_SLICE_NULL, DC_SLICE_NULL, payload);
    dc_blob_unref(payload);
    dc_strbuf_free(&text);
}

/* Another delivery of the same message is with somebody. */
static bool has_newer(const struct ack *a)
{
    DC_LIST_FOREACH (it, &a->nats->acks) {
        const struct ack *other = DC_LIST_ENTRY(it, struct ack, link);
        if (other->consumer == a->consumer && other->sequence == a->sequence &&
            other->deliveries > a->deliveries) {
            return true;
        }
    }
    return false;
}

void dc_nats_durable_ack(struct dc_bus_ack *ack, bool done)
{
    struct ack *a = DC_CONTAINER_OF(ack, struct ack, base);
    struct dc_nats_consumer *c = a->consumer;
    struct dc_slice reply = dc_slice_make(a->reply, a->reply_len);
    bool is_settled = c != NULL && dc_nats_is_settled(c, a->sequence);
    if (a->epoch == a->stream->epoch && !a->nats->is_closing && !is_settled) {
        if (done) {
            dc_nats_ack_send(a->nats, reply, true, 0);
            if (c != NULL) {
                c->settled[c->n_settled++ % DC_NATS_SETTLED_MAX] = a->sequence;
            }
        } else if (!has_newer(a)) { /* a refusal of an earlier delivery says nothing new */
            uint64_t shift = a->deliveries - 1 < 7 ? a->deliveries - 1 : 7;
            uint64_t pause_ms = (uint64_t)RETRY_FIRST_MS << shift;
            dc_nats_ack_send(a->nats, reply, false,
                             pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS);
        }
    }
    ack_free(a);
}

void dc_nats_acks_orphan(struct dc_nats_consumer *c)
{
    DC_LIST_FOREACH (it, &c->nats->acks) {
        struct ack *a = DC_LIST_ENTRY(it, struct ack, link);
        if (a->consumer == c) {
            a->consumer = NULL;
        }
    }
}

void dc_nats_acks_free(struct dc_bus_nats *b)
{
    while (!dc_list_is_empty(&b->acks)) {
        ack_free(DC_LIST_ENTRY(b->acks.next, struct ack, link));
    }
}
