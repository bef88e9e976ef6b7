/* Inside of the bus on NATS JetStream.
 *
 *   nats_bus.c       the port's verbs, connection up and down, the turn, the end
 *   nats_api.c       requests to JetStream and their answers
 *   nats_streams.c   the streams of the table: made or checked after each connection
 *   nats_outgoing.c  the order of publishing; also where subscriptions and forgetting stand in it
 *   nats_sub.c       what all subscriptions have in common; plain ones
 *   nats_ordered.c   ordered subscriptions: a pushed consumer, made again where it was
 *   nats_durable.c   durable consumers: pulled, acknowledged
 *
 * Whatever looks wrong (a stream that is not there, a gap, silence) leads to one place: the streams
 * are checked again, and when they are right everybody who has nothing to listen to any more goes
 * on from where it was. */
#ifndef DC_BUS_NATS_PRIV_H
#define DC_BUS_NATS_PRIV_H

#include "base/heap.h"
#include "base/json.h"
#include "base/list.h"
#include "bus/bus_priv.h"
#include "bus/nats_link.h"
#include "bus/nats_wire.h"
#include "rt/timer.h"

struct dc_bus_nats;
struct dc_nats_call;
struct dc_nats_consumer;
struct dc_nats_entry;

/* One of many timers behind the bus's own. */
struct dc_nats_wake {
    struct dc_heap_node node;
    void (*fn)(struct dc_nats_wake *w); /* may set it again */
};

struct dc_nats_stream {
    const struct dc_bus_stream *row;
    /* As of the last check. */
    char created[48]; /* the server's text; another one means another stream of that name */
    uint32_t epoch;   /* counts these */
    uint64_t first_sequence, last_sequence;
};

/* Before the subjects of messages that are sent beside the stream as well (DC_BUS_LIVE). */
#define DC_NATS_LIVE "live."

struct dc_nats_sub {
    struct dc_bus_sub base;
    struct dc_bus_nats *nats;
    struct dc_list link;           /* nats.subs */
    struct dc_nats_stream *stream; /* NULL: plain */
    dc_bus_cb cb;
    void *data;
    void (*caught_up)(void *data);
    void (*interrupted)(void *data);
    void (*refused)(void *data, const struct dc_error *err);
    void (*ended)(void *data);
    enum dc_bus_start start;
    uint64_t after_sequence;
    struct dc_nats_entry *entry; /* its place in the order of publishing; NULL: it has begun */
    uint64_t end;                /* last sequence stored when it began */
    uint32_t holds;              /* callbacks in progress */
    bool is_caught_up, is_dead, is_refused;
    bool is_live;        /* of a stream's messages, as they are published: plain, under a prefix */
    bool has_complained; /* one line for each time that it cannot begin or go on */

    struct dc_nats_slot *slot; /* plain, ordered */
    struct dc_nats_call *call; /* ordered and durable: the request it waits for */

    /* ordered */
    struct dc_nats_wake retry;
    struct dc_backoff backoff;
    bool is_placed;     /* next, end and epoch are known */
    bool is_last;       /* still on the newest of each subject */
    bool is_last_again; /* likewise, for the second time: what is new comes afterwards */
    bool is_from_first; /* began with everything kept: what is gone by then is no loss */
    uint64_t next;      /* the first sequence that it has not seen */
    uint32_t epoch;
    uint64_t consumer_sequence; /* the last one of this consumer */
    uint32_t lost_in_round;     /* of checking the streams: when it had no consumer any more */
    int64_t heard_ms;
    char consumer_name[64]; /* "": not known */

    /* durable */
    struct dc_nats_consumer *consumer;
    struct dc_list consumer_link;

    size_t pattern_len;
    char pattern[];
};

struct dc_bus_nats {
    struct dc_bus bus;
    struct dc_loop *loop;
    struct dc_log *log;
    struct dc_health_check *health;
    struct dc_nats_link *link;
    struct dc_turn turn;
    struct dc_timer timer;
    struct dc_heap wakes;
    struct dc_nats_wake tick; /* once a second while it is up */
    uint64_t replicas, publish_deadline_ms;
    char nonce[24]; /* of this bus, for the ids of messages without one */
    bool is_up;     /* connected */
    bool is_ready;  /* and the streams are right */
    bool was_up;    /* once */
    bool is_closing, has_ended;
    void (*closed)(void *data);
    void *closed_data;
    void (*ready)(void *data, const struct dc_error *err);
    void *ready_data;
    bool has_outcome, has_told_ready; /* of getting ready; told in a turn */
    struct dc_error outcome;

    /* nats_api.c */
    char inbox[64];               /* of this connection, without a dot at the end */
    struct dc_nats_slot *replies; /* to requests and publishing */
    struct dc_list calls;
    struct dc_timeouts *call_timeouts;
    uint64_t next_number; /* of requests, published messages, inboxes */

    /* nats_streams.c */
    struct dc_nats_stream *streams;
    size_t n_streams;
    size_t n_checked; /* in this round */
    uint32_t check_round;
    struct dc_nats_call *check;
    struct dc_nats_wake check_again;
    struct dc_backoff check_backoff;
    char last_complaint[192];
    char server[80];

    /* nats_outgoing.c */
    struct dc_list outgoing;     /* struct dc_nats_entry, in the order of publishing */
    struct dc_list *unsent;      /* the first one that may be waiting; &outgoing: none */
    struct dc_nats_entry **sent; /* DC_NATS_WINDOW_MESSAGES of them, by number */
    size_t n_plain_subs;         /* in outgoing: have not begun */
    size_t n_said;               /* of them, those that wait for the connection alone */
    size_t n_outgoing, outgoing_bytes;
    bool has_canceled;     /* somebody is to be told */
    size_t n_in_flight[3]; /* by enum dc_nats_entry_kind */
    size_t in_flight_bytes;
    uint64_t next_publish, next_id;
    int64_t hold_until_ms; /* a pause after trouble */
    struct dc_backoff outgoing_backoff;
    struct dc_nats_wake outgoing_wake;

    struct dc_list subs, consumers, acks;
    struct dc_counter *reconnects, *interruptions;
};

/* --- nats_bus.c --- */
int64_t dc_nats_now_ms(const struct dc_bus_nats *b);
void dc_nats_wake_set(struct dc_bus_nats *b, struct dc_nats_wake *w, uint64_t after_ms);
void dc_nats_wake_clear(struct dc_bus_nats *b, struct dc_nats_wake *w);
/* To be called when all streams are right, or when that can never be. */
void dc_nats_become_ready(struct dc_bus_nats *b);
void dc_nats_tell_outcome(struct dc_bus_nats *b, const struct dc_error *err);
/* Something may be sent. */
void dc_nats_stir(struct dc_bus_nats *b);

/* --- nats_api.c --- */
/* answer is borrowed; NULL unless st is DC_OK.  DC_CLOSED: the connection is gone. */
typedef void (*dc_nats_call_cb)(void *data, enum dc_status st, const json_t *answer,
                                const struct dc_error *err);
#define DC_NATS_CALL_TIMEOUT_MS 2000
/* Only while it is up.  Asks $JS.API.<verb>.<stream>[.<more>]; cb runs in a later turn, once, or
 * never after dc_nats_call_cancel(). */
struct dc_nats_call *dc_nats_call(struct dc_bus_nats *b, const char *verb, const char *stream,
                                  struct dc_slice more, struct dc_slice body, dc_nats_call_cb cb,
                                  void *data);
/* NULL is allowed. */
void dc_nats_call_cancel(struct dc_nats_call *call);
/* Likewise, without asking for an answer. */
void dc_nats_tell(struct dc_bus_nats *b, const char *verb, const char *stream,
                  struct dc_slice more);
void dc_nats_api_up(struct dc_bus_nats *b);
void dc_nats_api_down(struct dc_bus_nats *b);
/* <inbox>.<kind>.<number>: a new one. */
void dc_nats_inbox_new(struct dc_bus_nats *b, char kind, struct dc_strbuf *out);

/* --- nats_streams.c --- */
/* Begins (again): dc_nats_become_ready() when all is well. */
void dc_nats_streams_check(struct dc_bus_nats *b);
/* Something was not as it should be. */
void dc_nats_streams_doubt(struct dc_bus_nats *b);
void dc_nats_streams_down(struct dc_bus_nats *b);
/* The answer to STREAM.INFO. */
void dc_nats_stream_seen(struct dc_nats_stream *s, const json_t *info);

/* --- nats_outgoing.c --- */
#define DC_NATS_WINDOW_MESSAGES 2048
#define DC_NATS_WINDOW_BYTES    ((size_t)1024 * 1024)
#define DC_NATS_FORGETS_MAX     64
enum dc_nats_entry_kind { DC_NATS_ENTRY_MESSAGE, DC_NATS_ENTRY_FORGET, DC_NATS_ENTRY_SUB };
void dc_nats_outgoing_init(struct dc_bus_nats *b);
void dc_nats_outgoing_free(struct dc_bus_nats *b);
enum dc_status dc_nats_outgoing_say(struct dc_bus_nats *b, struct dc_slice subject,
                                    struct dc_slice payload);
enum dc_status dc_nats_outgoing_publish(struct dc_bus_nats *b, const struct dc_bus_stream *stream,
                                        struct dc_slice subject, struct dc_slice id,
                                        struct dc_slice payload, dc_bus_publish_cb cb, void *data,
                                        struct dc_op **op);
enum dc_status dc_nats_outgoing_forget(struct dc_bus_nats *b, const struct dc_bus_stream *stream,
                                       struct dc_slice subject);
/* dc_nats_sub_begin() when its turn has come; what follows waits until dc_nats_outgoing_pass(). */
void dc_nats_outgoing_sub(struct dc_bus_nats *b, struct dc_nats_sub *s);
/* Harmless when it has been passed already. */
void dc_nats_outgoing_pass(struct dc_nats_sub *s);
void dc_nats_outgoing_answer(struct dc_bus_nats *b, uint64_t number, const struct dc_nats_in *in);
void dc_nats_outgoing_pump(struct dc_bus_nats *b);
void dc_nats_outgoing_down(struct dc_bus_nats *b);
void dc_nats_outgoing_tick(struct dc_bus_nats *b);
/* What waits is given to send as far as it goes, and everybody is told DC_CANCELED. */
void dc_nats_outgoing_end(struct dc_bus_nats *b);

/* --- nats_sub.c --- */
struct dc_slice dc_nats_sub_pattern(const struct dc_nats_sub *s);
struct dc_nats_sub *dc_nats_sub_create(struct dc_bus_nats *b, const struct dc_bus_sub_opts *opts,
                                       struct dc_nats_stream *stream, dc_bus_cb cb, void *data);
void dc_nats_sub_unsubscribe(struct dc_bus_sub *sub);
void dc_nats_sub_free(struct dc_nats_sub *s);
void dc_nats_sub_hold(struct dc_nats_sub *s);
/* Frees it if it was unsubscribed meanwhile. */
void dc_nats_sub_release(struct dc_nats_sub *s);
/* Its place in the order of publishing has come, perhaps again after a lost connection. */
void dc_nats_sub_begin(struct dc_nats_sub *s);
/* The connection is lost; ready again. */
void dc_nats_sub_down(struct dc_nats_sub *s);
void dc_nats_sub_resume(struct dc_nats_sub *s);
void dc_nats_sub_tick(struct dc_nats_sub *s);
/* false: it is gone, or the bus is closing.  Hold it meanwhile. */
bool dc_nats_sub_tell_caught_up(struct dc_nats_sub *s);
bool dc_nats_sub_tell_interrupted(struct dc_nats_sub *s);
/* It cannot begin or go on now; later. */
void dc_nats_sub_complain(struct dc_nats_sub *s, const struct dc_error *err);
bool dc_nats_sub_deliver(struct dc_nats_sub *s, const struct dc_nats_in *in,
                         const struct dc_nats_meta *meta, struct dc_bus_ack *ack);

/* --- nats_ordered.c --- */
void dc_nats_ordered_begin(struct dc_nats_sub *s);
void dc_nats_ordered_stop(struct dc_nats_sub *s);
void dc_nats_ordered_down(struct dc_nats_sub *s);
void dc_nats_ordered_resume(struct dc_nats_sub *s);
void dc_nats_ordered_tick(struct dc_nats_sub *s);

/* --- nats_durable.c, nats_ack.c --- */
/* DC_CONFLICT: another pattern in this process. */
enum dc_status dc_nats_durable_join(struct dc_nats_sub *s, const struct dc_bus_sub_opts *opts,
                                    struct dc_error *err);
void dc_nats_durable_begin(struct dc_nats_sub *s);
void dc_nats_durable_resume(struct dc_nats_sub *s);
void dc_nats_durable_leave(struct dc_nats_sub *s);
void dc_nats_consumers_resume(struct dc_bus_nats *b);
void dc_nats_consumers_down(struct dc_bus_nats *b);
void dc_nats_consumers_tick(struct dc_bus_nats *b);
void dc_nats_consumers_end(struct dc_bus_nats *b);
void dc_nats_durable_ack(struct dc_bus_ack *ack, bool done);
void dc_nats_acks_free(struct dc_bus_nats *b);

#endif
