/* Durable consumers and their acknowledgements: shared by nats_durable.c and nats_ack.c. */
#ifndef DC_BUS_NATS_DURABLE_H
#define DC_BUS_NATS_DURABLE_H

#include "bus/nats_priv.h"

#define DC_NATS_SETTLED_MAX 1024

struct dc_nats_consumer {
    struct dc_list link; /* nats.consumers */
    struct dc_bus_nats *nats;
    struct dc_nats_stream *stream;
    struct dc_list subs; /* the next one in turn first */
    uint32_t holds;
    bool is_dead;
    struct dc_nats_slot *slot; /* NULL: not asking for messages */
    struct dc_nats_call *call;
    struct dc_nats_wake retry;
    struct dc_backoff backoff;
    char inbox[96];     /* of the slot, without the last token */
    int64_t created_ms; /* by the server */
    bool is_stream_new; /* since it was found: it cannot be the same */
    uint32_t epoch;     /* of its stream */
    bool is_asked;      /* to be looked at once more */
    bool was_found;     /* once: if it is gone it is made from the beginning */
    bool has_complained;
    uint32_t resumed_in_round;
    uint32_t n_quiet; /* looked at without a message in between */
    uint64_t wanted;  /* asked for and not delivered yet */
    uint64_t batch;
    bool has_end;
    uint64_t end; /* last sequence stored when the first subscriber began */
    int64_t heard_ms;
    enum dc_bus_start start;
    uint64_t after_sequence, ack_wait_ms, max_in_flight;
    uint64_t settled[DC_NATS_SETTLED_MAX]; /* acknowledged last: a ring */
    size_t n_settled;                      /* ever */
    char *name;                            /* escaped */
    size_t pattern_len;
    char pattern[];
};

/* --- nats_ack.c --- */
struct dc_bus_ack *dc_nats_ack_create(struct dc_nats_consumer *c, struct dc_slice reply,
                                      const struct dc_nats_meta *meta);
/* Acknowledged by us not long ago: if it comes again, that has crossed or was lost. */
bool dc_nats_is_settled(const struct dc_nats_consumer *c, uint64_t sequence);
/* pause_ms 0: again at once.  Nothing happens while the connection is down. */
void dc_nats_ack_send(struct dc_bus_nats *b, struct dc_slice reply, bool is_done,
                      uint64_t pause_ms);
/* The consumer goes. */
void dc_nats_acks_orphan(struct dc_nats_consumer *c);

#endif
