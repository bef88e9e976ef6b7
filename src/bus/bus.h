/* Bus port: events between roles and processes.  Memory now, NATS JetStream by the same interface.
 * Transport, not truth (DESIGN §3 rule 2).
 *
 * Subjects are dot-separated tokens (letters, digits, '_', '-', '=', '%', ':' '@' '~'; at most 255
 * bytes); patterns know `*` (one token) and a final `>` (one or more).  Text that is no token goes
 * through dc_bus_token(). Streams are declared in one table (streams.c): which subjects are kept,
 * how long, last value per subject or all. Subjects outside every stream are plain: at most once,
 * only for who listens now. */
#ifndef DC_BUS_BUS_H
#define DC_BUS_BUS_H

#include "base/strbuf.h"
#include "obs/health.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "rt/op.h"

struct dc_bus;
struct dc_bus_sub;

#define DC_BUS_SUBJECT_MAX_BYTES 255
#define DC_BUS_ID_MAX_BYTES      255
#define DC_BUS_PAYLOAD_MAX_BYTES ((size_t)256 * 1024)
/* Published and not yet handed on; further publishing is DC_LIMIT. */
#define DC_BUS_OUTGOING_MAX_MESSAGES 65536
#define DC_BUS_OUTGOING_MAX_BYTES    ((size_t)64 * 1024 * 1024)

/* One row per stream; the table is dc_bus_streams[] in streams.c.  No subject belongs to two. */
struct dc_bus_stream {
    const char *name;            /* CITY_PRESENCE, CITY_CHAT, CITY_EVENTS */
    const char *const *subjects; /* patterns, NULL-terminated */
    bool last_per_subject;       /* keep only the newest message of each subject */
    uint64_t max_age_ms;         /* 0: no limit */
    uint64_t max_bytes;          /* 0: no limit; memory keeps 16 MiB of what all have read */
    uint64_t dedup_window_ms;    /* messages with an id seen within it are dropped */
};
extern const struct dc_bus_stream dc_bus_streams[];
extern const size_t dc_bus_stream_count;

struct dc_bus_opts {
    const char *url; /* NULL: memory; anything else is DC_UNSUPPORTED so far */
    /* NULL: dc_bus_streams.  Tests bring their own; must outlive the bus. */
    const struct dc_bus_stream *streams;
    size_t n_streams;
    struct dc_log *log;
    struct dc_metrics *metrics;
    struct dc_health_check *health;
};
DC_MUST_USE enum dc_status dc_bus_open(struct dc_loop *loop, const struct dc_bus_opts *opts,
                                       struct dc_bus **out, struct dc_error *err);
/* Subscriptions end (their `ended` runs), publishing that still waits is DC_CANCELED, then closed.
 * Handles of subscriptions and acknowledgements stay valid until closed has run: undoing them in
 * between is allowed, afterwards not.  Calls made after it are DC_CLOSED. */
void dc_bus_close(struct dc_bus *bus, void (*closed)(void *data), void *data);

/* subject and payload (<= 256 KiB, else DC_TOO_LARGE) are copied; an invalid subject or a too long
 * id is DC_INVALID.  id: for duplicates within the stream's window; empty: none.  A duplicate is
 * acknowledged with the sequence of the first and reaches nobody.  With cb: acknowledged by the
 * stream (plain subjects: handed to the transport, sequence 0), else fire and forget (failures are
 * counted, *op is NULL). DC_LIMIT when the outgoing queue is full.  Cancelling gives up waiting,
 * not the message. */
typedef void (*dc_bus_publish_cb)(void *data, enum dc_status st, uint64_t sequence,
                                  const struct dc_error *err);
DC_MUST_USE enum dc_status dc_bus_publish(struct dc_bus *bus, struct dc_slice subject,
                                          struct dc_slice id, struct dc_slice payload,
                                          dc_bus_publish_cb cb, void *data, struct dc_op **op);

/* Removes what a stream keeps of this one subject (no pattern), so that DC_BUS_LAST does not find it
 * any more; messages already on their way still arrive, and later ones are kept as ever.  Takes its
 * place in the order of publishing.  Fire and forget: failures are counted and logged.  A plain
 * subject is DC_INVALID. */
DC_MUST_USE enum dc_status dc_bus_forget(struct dc_bus *bus, struct dc_slice subject);

struct dc_bus_message {
    struct dc_slice subject, payload; /* borrowed for the callback */
    uint64_t sequence;                /* in its stream; 0 for plain subjects */
    uint32_t deliveries;              /* 1 for the first */
    bool is_replay;                   /* stored before the subscription began */
    struct dc_bus_ack *ack;           /* durable consumers only: one for each delivery; valid until
                                         acknowledged, also after unsubscribing */
};
/* Never runs inside dc_bus_publish or dc_bus_subscribe: messages arrive in a later turn, in order.
 * It may publish, subscribe, unsubscribe (itself too), acknowledge and close the bus. */
typedef void (*dc_bus_cb)(void *data, const struct dc_bus_message *m);

/* For plain subjects everything is DC_BUS_NEW. */
enum dc_bus_start {
    DC_BUS_NEW,       /* only what comes from now on */
    DC_BUS_LAST,      /* newest message of each matching subject first, then new ones */
    DC_BUS_ALL,       /* everything kept */
    DC_BUS_AFTER_SEQ, /* everything after .after_sequence (one not yet reached: NEW) */
};
struct dc_bus_sub_opts {
    struct dc_slice pattern;
    enum dc_bus_start start;
    uint64_t after_sequence;
    /* NULL: ordered, not acknowledged. Else a durable consumer of that name: its position survives,
     * several subscribers of one name share the work, messages come again after ack_wait_ms without
     * an acknowledgement (refused ones after a pause that doubles from 100 ms to 10 s), at most
     * max_in_flight at a time.  The first subscriber of a name sets start, ack_wait_ms (0: 30 s)
     * and max_in_flight (0: 256); a later one with another pattern is DC_CONFLICT. */
    const char *durable;
    uint64_t ack_wait_ms;
    size_t max_in_flight;
    /* Runs once, in a later turn, when everything that was stored at the start has been delivered
     * (of a durable consumer: to anybody); NULL allowed. */
    void (*caught_up)(void *data);
    /* The subscription goes on, but something may have been missed: the connection was lost
     * meanwhile (plain subjects), or messages were gone from the stream before they were read
     * (deleted, or past its limits).  Once for each interruption, before the first message after
     * it; never by the memory backend, which misses nothing.  NULL allowed. */
    void (*interrupted)(void *data);
    /* The bus is closing; nothing comes any more.  NULL allowed. */
    void (*ended)(void *data);
};
/* Pattern of one stream or of plain subjects: DC_INVALID when it is malformed or reaches into a
 * stream without lying in it.  A durable consumer of plain subjects is DC_UNSUPPORTED. */
DC_MUST_USE enum dc_status dc_bus_subscribe(struct dc_bus *bus, const struct dc_bus_sub_opts *opts,
                                            dc_bus_cb cb, void *data, struct dc_bus_sub **out,
                                            struct dc_error *err);
/* No callback runs after it. NULL is allowed. */
void dc_bus_unsubscribe(struct dc_bus_sub *sub);
/* Done (true) or deliver again later (false); each ack exactly once, on the loop. */
void dc_bus_ack(struct dc_bus_ack *ack, bool done);

bool dc_bus_subject_is_valid(struct dc_slice subject);
bool dc_bus_pattern_is_valid(struct dc_slice pattern);
/* pattern must be a valid one, subject a valid subject. */
bool dc_bus_subject_matches(struct dc_slice pattern, struct dc_slice subject);
/* Appends text as one token: bytes outside [A-Za-z0-9_=-] become %XX (upper case). Reversible; an
 * empty text is
 * "%". */
void dc_bus_token(struct dc_strbuf *out, struct dc_slice text);
/* Only what dc_bus_token() writes; else false and *out as it was. */
DC_MUST_USE bool dc_bus_token_decode(struct dc_strbuf *out, struct dc_slice token);

#endif
