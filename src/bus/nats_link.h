/* The connection to NATS: one at a time, made anew after each loss, with back-off.
 *
 * The library (nats.c) is never called on the loop, because any of its calls may wait for the
 * network or for a lock that is held meanwhile.  What the loop wants sent is collected and given to
 * one job on libuv's pool, the next lot when that has ended, so the order stays; the library's
 * threads put what arrives into one queue and wake the loop once for all of it.  It does not
 * reconnect by itself: a new connection is a new object, and what has to be sent again is decided
 * above (docs/decisions/0006). */
#ifndef DC_BUS_NATS_LINK_H
#define DC_BUS_NATS_LINK_H

#include "base/blob.h"
#include "bus/bus.h"

struct dc_nats_link;
struct dc_nats_slot; /* a subscription of one connection */

/* A message, borrowed for the callback. */
struct dc_nats_in {
    struct dc_slice subject, reply, payload;
    int status; /* of its header: 100, 408, 503 …; 0: an ordinary message */
    void *msg;
};
/* As a number; 0 when the header is missing or no number. */
uint64_t dc_nats_in_number(const struct dc_nats_in *in, const char *header);
/* NULL ptr when the header is missing. */
struct dc_slice dc_nats_in_text(const struct dc_nats_in *in, const char *header);

/* in NULL: messages for this slot were dropped here, there were too many (bounded slots only). */
typedef void (*dc_nats_in_cb)(void *owner, const struct dc_nats_in *in);

struct dc_nats_link_events {
    void (*up)(void *data, const char *server);
    /* The connection is lost.  Its slots are gone, and so is all that was given to send. */
    void (*down)(void *data, const char *reason);
    /* An attempt has failed; DC_CONFIG: the next one will fail as well.  It is made all the same.
     */
    void (*failed)(void *data, const struct dc_error *err);
    void (*room)(void *data); /* some of what was given to send has been sent */
    void (*closed)(void *data);
};

/* Arrived and not handed out yet, of bounded slots (others are bounded by what was asked for). */
#define DC_NATS_INBOUND_MAX_MESSAGES 65536
#define DC_NATS_INBOUND_MAX_BYTES    ((size_t)16 * 1024 * 1024)
/* Given to send and not taken by the connection yet: dc_nats_link_is_full(). */
#define DC_NATS_SENDING_MAX_BYTES ((size_t)2 * 1024 * 1024)

/* Begins to connect.  opts as in dc_bus_opts, events and data until closed has run.  DC_CONFIG as
 * dc_bus_open() says. */
DC_MUST_USE enum dc_status dc_nats_link_open(struct dc_loop *loop, const struct dc_bus_opts *opts,
                                             const struct dc_nats_link_events *events, void *data,
                                             struct dc_nats_link **out, struct dc_error *err);
/* What was given to send is still sent if it takes no longer than a moment.  closed runs last, then
 * *l is gone. */
void dc_nats_link_close(struct dc_nats_link *l);
/* All went well above as well: the next loss begins with short pauses again. */
void dc_nats_link_settled(struct dc_nats_link *l);

bool dc_nats_link_is_up(const struct dc_nats_link *l);
bool dc_nats_link_is_full(const struct dc_nats_link *l);
/* Everything that was given to send has been taken by the connection. */
bool dc_nats_link_is_idle(const struct dc_nats_link *l);

enum dc_nats_slot_kind {
    DC_NATS_SLOT_OWN,     /* what we have asked for */
    DC_NATS_SLOT_WORK,    /* likewise; what nobody takes any more is handed back to the server */
    DC_NATS_SLOT_BOUNDED, /* as many messages as others like to send */
};
/* Only while it is up. cb runs on the loop, in a later turn. */
struct dc_nats_slot *dc_nats_link_subscribe(struct dc_nats_link *l, struct dc_slice subject,
                                            enum dc_nats_slot_kind kind, dc_nats_in_cb cb,
                                            void *owner);
/* cb does not run any more.  NULL is allowed; not for slots of a connection that is down. */
void dc_nats_link_unsubscribe(struct dc_nats_slot *slot);
/* Only while it is up. reply, id (the header Nats-Msg-Id) and payload may be empty; payload is
 * shared. */
void dc_nats_link_publish(struct dc_nats_link *l, struct dc_slice subject, struct dc_slice reply,
                          struct dc_slice id, struct dc_blob *payload);

#endif
