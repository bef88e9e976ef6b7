/* Inside of the bus in this process.
 *
 * A message is stored in its stream inside dc_bus_publish() and gets its sequence there; handing it
 * out waits for the end of the turn.  Three ways lead to a subscriber:
 *   - a new subscription reads its stream from a cursor ("replaying") until it has reached the end;
 *   - from then on, and for plain subjects at once, outgoing messages find it through the index;
 *   - a durable consumer always reads from its cursor and shares the messages out.
 * A subscription that replays is passed over by outgoing messages: its cursor meets them in the
 * stream.  Afterwards it takes only sequences above the last one it has seen, so nothing comes
 * twice and nothing is missed. */
#ifndef DC_BUS_BUS_MEMORY_PRIV_H
#define DC_BUS_BUS_MEMORY_PRIV_H

#include "base/heap.h"
#include "bus/bus_index.h"
#include "bus/bus_priv.h"
#include "rt/timer.h"

struct dc_bus_memory;
struct dc_bus_mstream;

/* Immutable; shared by the stream, the outgoing queue and consumers. */
struct dc_bus_mmsg {
    uint32_t refs;
    uint64_t sequence; /* 0: plain */
    uint64_t order;    /* of publishing, over all subjects */
    int64_t at_ms;
    struct dc_list link; /* in its stream, by sequence */
    bool is_last;        /* the newest of its subject */
    size_t subject_len, payload_len;
    char bytes[]; /* subject, then payload */
};

/* A place in a stream that stays right when messages are dropped. */
struct dc_bus_cursor {
    struct dc_list link;      /* mstream.cursors */
    struct dc_bus_mmsg *next; /* NULL: look for it behind pos */
    uint64_t pos;             /* the last sequence passed */
    uint64_t last_only_until; /* up to here only the newest of each subject counts */
};

struct dc_bus_mstream {
    const struct dc_bus_stream *def;
    struct dc_list messages;
    uint64_t last_sequence;
    size_t bytes;
    struct dc_map subjects; /* -> struct dc_bus_mmsg, the newest; key inside of it */
    struct dc_map ids;      /* -> struct seen_id (bus_memory_stream.c) */
    struct dc_list ids_by_age;
    struct dc_list cursors;
    struct dc_list consumers; /* struct dc_bus_mconsumer.link */
};

struct dc_bus_msub {
    struct dc_bus_sub base;
    struct dc_bus_memory *memory;
    struct dc_bus_mstream *stream; /* NULL: plain */
    dc_bus_cb cb;
    void *data;
    void (*caught_up)(void *data);
    void (*ended)(void *data);
    struct dc_list link;        /* memory.subs */
    struct dc_list replay_link; /* memory.replaying */
    struct dc_list consumer_link;
    struct dc_bus_mconsumer *consumer; /* durable only */
    struct dc_bus_entry entry;
    struct dc_bus_cursor cursor;
    struct dc_bus_mmsg *first; /* DC_BUS_LAST of one subject: no need to read the stream */
    uint64_t since_order;      /* plain: messages published before do not count */
    uint64_t snapshot_end;     /* last sequence stored when it began */
    bool is_replaying, is_caught_up, is_dead;
    uint32_t holds; /* callbacks in progress */
    size_t pattern_len;
    char pattern[];
};

struct dc_bus_mconsumer {
    struct dc_list link;        /* mstream.consumers */
    struct dc_list active_link; /* memory.active: has something to do */
    struct dc_bus_memory *memory;
    struct dc_bus_mstream *stream;
    struct dc_bus_cursor cursor;
    struct dc_list subs;    /* the next one in turn first */
    struct dc_list ready;   /* to be delivered again */
    struct dc_list pending; /* everything without an acknowledgement */
    size_t n_behind;        /* subscribers that have not caught up */
    size_t in_flight, max_in_flight;
    uint64_t ack_wait_ms;
    size_t name_len, pattern_len;
    char bytes[]; /* name, then pattern */
};

struct dc_bus_delivery {
    struct dc_op op;
    struct dc_list link;
    struct dc_bus_mmsg *msg; /* NULL: a duplicate, only to be acknowledged */
    uint64_t sequence;
    dc_bus_publish_cb cb;
    void *data;
};

struct dc_bus_memory {
    struct dc_bus bus;
    struct dc_loop *loop;
    struct dc_turn turn;
    struct dc_timer timer; /* for waits */
    struct dc_bus_mstream *streams;
    size_t n_streams;
    struct dc_bus_index index;
    struct dc_list subs, replaying, active, acks;
    struct dc_list outgoing;
    size_t n_outgoing, outgoing_bytes;
    struct dc_heap waits;         /* acknowledgements and retries that are due some time */
    struct dc_bus_msub **matched; /* scratch of one delivery */
    size_t n_matched, cap_matched;
    uint64_t next_order;
    uint64_t seed[2];
    bool is_closing;
    void (*closed)(void *data);
    void *closed_data;
    void (*ready)(void *data, const struct dc_error *err);
    void *ready_data;
    struct dc_counter *evicted;
};

static inline struct dc_slice dc_bus_mmsg_subject(const struct dc_bus_mmsg *m)
{
    return dc_slice_make(m->bytes, m->subject_len);
}

static inline struct dc_slice dc_bus_mmsg_payload(const struct dc_bus_mmsg *m)
{
    return dc_slice_make(m->bytes + m->subject_len, m->payload_len);
}

/* bus_memory_stream.c */
/* NULL: no memory. One reference. */
struct dc_bus_mmsg *dc_bus_mmsg_new(struct dc_slice subject, struct dc_slice payload);
void dc_bus_mmsg_unref(struct dc_bus_mmsg *m);
size_t dc_bus_mmsg_bytes(const struct dc_bus_mmsg *m);
void dc_bus_mstream_init(struct dc_bus_mstream *s, const struct dc_bus_stream *def,
                         const uint64_t seed[2]);
void dc_bus_mstream_free(struct dc_bus_mstream *s);
/* The sequence of an earlier message with this id within the window; 0: there is none. */
uint64_t dc_bus_mstream_seen(struct dc_bus_mstream *s, struct dc_slice id, int64_t now_ms);
/* Takes its own reference, gives the sequence; returns the number of messages dropped for it. */
size_t dc_bus_mstream_store(struct dc_bus_mstream *s, struct dc_bus_mmsg *m, struct dc_slice id,
                            int64_t now_ms);
/* Everything of this subject. */
void dc_bus_mstream_forget(struct dc_bus_mstream *s, struct dc_slice subject);
size_t dc_bus_mstream_expire(struct dc_bus_mstream *s, int64_t now_ms);
void dc_bus_cursor_open(struct dc_bus_mstream *s, struct dc_bus_cursor *c,
                        const struct dc_bus_sub_opts *opts);
/* Harmless for a cursor that is not open (zero). */
void dc_bus_cursor_close(struct dc_bus_cursor *c);
/* The next message that counts and matches, not passed yet; steps are taken from *budget, and NULL
 * with *budget 0 means: ask again. */
struct dc_bus_mmsg *dc_bus_cursor_next(struct dc_bus_mstream *s, struct dc_bus_cursor *c,
                                       struct dc_slice pattern, size_t *budget);
void dc_bus_cursor_pass(struct dc_bus_mstream *s, struct dc_bus_cursor *c);

/* bus_memory.c */
void dc_bus_msub_hold(struct dc_bus_msub *s);
/* Frees it if it was unsubscribed meanwhile. */
void dc_bus_msub_release(struct dc_bus_msub *s);
/* Once, when pos has reached what was stored at the start. */
void dc_bus_msub_check_caught_up(struct dc_bus_msub *s, bool is_at_end, uint64_t pos);

/* bus_memory_consumer.c */
enum dc_status dc_bus_mconsumer_join(struct dc_bus_memory *b, struct dc_bus_msub *s,
                                     const struct dc_bus_sub_opts *opts, struct dc_error *err);
void dc_bus_mconsumer_leave(struct dc_bus_msub *s);
/* There may be something to deliver. */
void dc_bus_mconsumer_wake(struct dc_bus_mconsumer *c);
/* Delivers; false when the budget ended before the work. */
bool dc_bus_mconsumer_pump(struct dc_bus_mconsumer *c, size_t *budget);
void dc_bus_mconsumer_ack(struct dc_bus_ack *ack, bool done);
/* Waits that are over; arms the timer for the next one. */
void dc_bus_mconsumers_expire(struct dc_bus_memory *b);
/* Frees a consumer, its pending messages, and orphans its acknowledgements. */
void dc_bus_mconsumer_free(struct dc_bus_mconsumer *c);
void dc_bus_macks_free(struct dc_bus_memory *b);

#endif
