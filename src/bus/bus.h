/* Bus port: events between roles and processes, in this process or over NATS JetStream.  Transport,
 * not truth (DESIGN §3 rule 2): what must not be lost is sent again by whoever has it from the
 * database.
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
    uint64_t max_age_ms;         /* 0: no limit; JetStream takes 100 ms or more */
    uint64_t max_bytes;          /* 0: no limit; memory keeps 16 MiB of what all have read.  Large
                                    enough for several of the largest messages */
    uint64_t dedup_window_ms;    /* messages with an id seen within it are dropped; 0: ids mean
                                    nothing.  At most max_age_ms; JetStream takes 100 ms or more */
    bool has_live;               /* has readers of DC_BUS_LIVE */
};
extern const struct dc_bus_stream dc_bus_streams[];
extern const size_t dc_bus_stream_count;

struct dc_bus_opts {
    /* NULL: memory.  Else NATS: nats://[user:password@|token@]host[:port][,…] or tls://…; what the
     * first server of the list says about user and scheme holds for those that say nothing.
     * Percent-escapes in user, password and token are decoded. */
    const char *url;
    /* NATS only, NULL: none; borrowed for dc_bus_open().  Read again at every connection. */
    const char *credentials_file; /* user JWT and nkey seed, as `nsc` writes them */
    const char *tls_ca_file;      /* whom to trust instead of the system's authorities */
    const char *tls_cert_file;    /* our certificate, with tls_key_file */
    const char *tls_key_file;
    uint64_t replicas;            /* copies of each stream in a cluster; 0: 1 */
    uint64_t publish_deadline_ms; /* then an unacknowledged message is given up; 0: 30 s */
    /* NULL: dc_bus_streams.  Tests bring their own; must outlive the bus. */
    const struct dc_bus_stream *streams;
    size_t n_streams;
    struct dc_log *log;
    struct dc_metrics *metrics;
    struct dc_health_check *health;
};
/* NATS: connects in the background, again and again with back-off, and tells by health and
 * dc_bus_on_ready(); meanwhile publishing waits, and subscriptions begin when they can.  DC_CONFIG:
 * a malformed URL or an unreadable file, naming the setting and no secret. */
DC_MUST_USE enum dc_status dc_bus_open(struct dc_loop *loop, const struct dc_bus_opts *opts,
                                       struct dc_bus **out, struct dc_error *err);
/* ready runs once, in a later turn: with DC_OK when the streams are there as the table has them,
 * with DC_CONFIG when that can never be (login refused, no TLS on one side, a stream with other
 * limits).  After DC_CONFIG the bus keeps trying, as somebody may mend it.  One caller. */
void dc_bus_on_ready(struct dc_bus *bus, void (*ready)(void *data, const struct dc_error *err),
                     void *data);
/* Subscriptions end (their `ended` runs), publishing that still waits is DC_CANCELED, then closed.
 * Handles of subscriptions and acknowledgements stay valid until closed has run: undoing them in
 * between is allowed, afterwards not.  Calls made after it are DC_CLOSED. */
void dc_bus_close(struct dc_bus *bus, void (*closed)(void *data), void *data);

/* subject and payload (<= 256 KiB, else DC_TOO_LARGE) are copied; an invalid subject or a too long
 * id (or one with control characters) is DC_INVALID.  id: for duplicates within the stream's
 * window; empty: none.  A duplicate is acknowledged with the sequence of the first and reaches
 * nobody.  With cb: acknowledged by the stream (plain subjects: handed to the transport, sequence
 * 0), else fire and forget (failures are counted, *op is NULL). DC_LIMIT when the outgoing queue is
 * full.  Cancelling gives up waiting, not the message.
 *
 * Over NATS the messages of a process are stored in the order of publishing, and callbacks of
 * stream messages run in that order.  What was not acknowledged when the connection broke is sent
 * again, and falls away if it had been stored (every message of a stream travels with an id, its
 * own or one made for it); plain ones are not sent again.  Only where a stream of a cluster loses
 * messages in the middle of a batch (its leader changes) may others have been stored before them;
 * then messages without an id are repeated behind, so that the last value of a subject is right.
 * Given up at the deadline: DC_UNAVAILABLE if it was never sent, DC_TIMEOUT if it may yet have been
 * stored.  DC_TOO_LARGE or DC_INVALID when the server refuses it for good. */
typedef void (*dc_bus_publish_cb)(void *data, enum dc_status st, uint64_t sequence,
                                  const struct dc_error *err);
DC_MUST_USE enum dc_status dc_bus_publish(struct dc_bus *bus, struct dc_slice subject,
                                          struct dc_slice id, struct dc_slice payload,
                                          dc_bus_publish_cb cb, void *data, struct dc_op **op);

/* A plain subject, fire and forget, past everything of this process that waits for a stream: one of
 * a cluster may be without a leader for some seconds, and leases end meanwhile.  In order among
 * themselves; it waits only for a connection, and for plain subscriptions of this process that have
 * not begun (they may be there to hear the answer).  A stream's subject is DC_INVALID; the rest as
 * above. */
DC_MUST_USE enum dc_status dc_bus_say(struct dc_bus *bus, struct dc_slice subject,
                                      struct dc_slice payload);

/* Removes what a stream keeps of this one subject (no pattern), so that DC_BUS_LAST does not find
 * it any more; messages already on their way still arrive, and later ones are kept as ever.  Takes
 * its place in the order of publishing.  Fire and forget: failures are counted and logged.  A plain
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
    /* What is published from now on, at that moment and whatever becomes of it in the stream: goes
     * on while a cluster looks for a new leader of the stream.  At most once and in the order of
     * each publisher, as plain subjects are (NATS: under "live." and the subject).  For readers who
     * mend what they miss from elsewhere.  The stream's row must have it, else, and for durable
     * consumers, it is DC_UNSUPPORTED. */
    DC_BUS_LIVE,
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
     * (of a durable consumer: to anybody); for plain subjects when it listens.  NULL allowed. */
    void (*caught_up)(void *data);
    /* The subscription goes on, but something may have been missed: the connection was lost
     * meanwhile (plain subjects), or messages were gone from the stream before they were read
     * (deleted, or past its limits).  Once for each interruption, before the first message after
     * it; never by the memory backend, which misses nothing.  NULL allowed. */
    void (*interrupted)(void *data);
    /* The subscription can never work, nothing comes any more, and it waits to be unsubscribed:
     * DC_CONFLICT when another process turns out to use the durable name with another pattern.
     * NULL allowed. */
    void (*refused)(void *data, const struct dc_error *err);
    /* The bus is closing; nothing comes any more.  NULL allowed. */
    void (*ended)(void *data);
};
/* Pattern of one stream or of plain subjects: DC_INVALID when it is malformed or reaches into a
 * stream without lying in it.  A durable consumer of plain subjects is DC_UNSUPPORTED.
 *
 * It begins where it stands in the order of publishing: what this process published before is
 * stored when it begins, what it publishes afterwards is new.  An ordered subscription that is
 * behind a lost connection goes on where it was and repeats nothing; when its stream has been wiped
 * it goes on with the first message of the new one.  A durable consumer that is gone is made again
 * and begins with the first message. */
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
