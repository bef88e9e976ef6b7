/* One accepted TCP connection: reading, bounded output, closing.  HTTP, WebSocket and SSE are modes
 * of it; an upgrade swaps the mode's behaviour and state, the libuv handle stays where it is
 * (uSockets' behaviour groups).  Internal to net, except what hub.h and http.h re-export.
 *
 * Memory: an idle connection owns no buffers; reads go into one buffer shared by the server, output
 * is counted blobs.  Budget: 700 bytes RSS per idle WebSocket all told (DESIGN §5). Errors: a
 * failed write closes this one connection, later, in the closing phase of the turn: on_close never
 * runs under a caller of this file. */
#ifndef DC_NET_CONN_H
#define DC_NET_CONN_H

#include "base/blob.h"
#include "base/list.h"
#include "net/places.h"
#include "obs/metrics.h"
#include "rt/timer.h"
#include <sys/socket.h>

struct dc_conn;

enum dc_conn_mode { DC_CONN_HTTP, DC_CONN_WS, DC_CONN_SSE };

/* Behaviour of a mode; one const table each. All run on the loop; only on_data and on_close are
 * required. */
struct dc_conn_class {
    enum dc_conn_mode mode;
    /* Bytes as they arrived; borrowed, and the callee may change them in place (unmasking). May
     * close the connection or change its mode: the rest of the bytes is then given to the new mode
     * by the caller of dc_conn_set_class. */
    void (*on_data)(struct dc_conn *c, struct dc_slice bytes);
    /* The output queue has become empty after having been non-empty.  Not during a call to
     * dc_conn_send. */
    void (*on_drain)(struct dc_conn *c);
    /* The idle timeout of the mode has passed (see dc_conn_timeout_fired). */
    void (*on_timeout)(struct dc_conn *c);
    /* Bytes came behind dc_conn_close_flushed(), and are thrown away; NULL allowed. */
    void (*on_late)(struct dc_conn *c);
    /* The last call: free the mode's state.  Runs from libuv's closing phase. */
    void (*on_close)(struct dc_conn *c);
};

/* What the connections of one server share; first member of struct dc_server. */
struct dc_conn_host {
    struct dc_loop *loop;
    char *read_buffer; /* of DC_CONN_READ_BYTES, valid during on_data */
    size_t max_output_bytes;
    struct dc_timeouts *linger;  /* how long the end of a flushed connection is awaited */
    struct dc_timeouts *stalled; /* how often a full socket is asked for progress */
    struct dc_list conns;        /* of dc_conn.link */
    size_t conn_count;
    struct dc_counter *bytes_in, *bytes_out;
    /* The memory of c is about to be freed; on_close has run. */
    void (*closed)(struct dc_conn_host *host, struct dc_conn *c);
};
#define DC_CONN_READ_BYTES ((size_t)64 * 1024)

struct dc_conn {
    uv_poll_t poll; /* first: the handle is the connection */
    /* For the mode's use; removed when the mode changes and when the connection closes. */
    struct dc_timeout timeout;
    struct dc_list link; /* of the server's connections */
    /* What a fan-out reads of each connection lies together: it is bound by cache misses. */
    struct dc_conn_host *host;
    const struct dc_conn_class *cls;
    void *state;               /* of the mode */
    struct dc_conn_out *out;   /* queued blobs; NULL while the socket takes everything */
    struct dc_member *members; /* hub memberships; NULL: none (hub.c) */
    dc_place place;            /* of its address among the server's connections */
    int fd;                    /* -1 once it is closing */
    uint16_t member_count;
    uint16_t peer_family; /* AF_INET or AF_INET6; AF_UNSPEC: something else */
    /* One byte, so that an IPv4 connection fits into 264. */
    bool has_pending : 1;        /* the mode's stream has bytes for the end of this turn */
    bool has_sent : 1;           /* something was sent since the mode cleared it */
    bool is_closing : 1;         /* uv_close has been called */
    bool close_when_flushed : 1; /* nothing more is sent or given to on_data */
    bool is_reading : 1;
    unsigned char peer[]; /* its address, 4 or 16 bytes: the kernel forgets it with a reset */
};

/* Takes over the accepted non-blocking socket and starts reading; peer is what accept() has given.
 * NULL: it could not; fd is closed in any case. */
struct dc_conn *dc_conn_open(struct dc_conn_host *host, int fd, const struct sockaddr_storage *peer,
                             const struct dc_conn_class *cls);

/* Sends blobs in one writev; what the socket does not take is queued (a reference each).  A send
 * that finds more than the server's output limit queued closes the connection, so the queue is
 * bounded by the limit and one send (policy of the lossless lanes is the hub's and comes earlier).
 * Nothing happens on a connection that is closing or ending. */
void dc_conn_send(struct dc_conn *c, struct dc_blob *const *blobs, size_t n);
/* The same for borrowed bytes followed by blobs: what the socket does not take is copied. */
void dc_conn_send_bytes(struct dc_conn *c, struct dc_slice bytes, struct dc_blob *const *blobs,
                        size_t n);
/* The socket has taken everything so far. */
static inline bool dc_conn_is_writable(const struct dc_conn *c)
{
    return c->out == NULL && !c->is_closing && !c->close_when_flushed;
}
size_t dc_conn_queued_bytes(const struct dc_conn *c);

/* Swaps the mode; the timeout is removed, on_close of the old mode does not run. */
void dc_conn_set_class(struct dc_conn *c, const struct dc_conn_class *cls, void *state);
/* A dc_timeout_cb for any dc_timeouts that holds dc_conn.timeout: calls on_timeout of the mode. */
void dc_conn_timeout_fired(void *data, struct dc_timeout *t);
/* Stops reading (back-pressure for pipelined requests) and resumes.  The peer's end of stream is
 * not noticed while paused. */
void dc_conn_pause(struct dc_conn *c, bool paused);
/* Closes now; queued output is dropped. on_close runs later in this turn, exactly once, then the
 * memory is freed. Harmless on a closing connection. */
void dc_conn_close(struct dc_conn *c);
/* Writes the queue for as long as the peer takes of it, then ends our side and discards what still
 * arrives until the peer ends too (so that no reset overtakes the last answer), which is bounded by
 * the server's linger time; then closes. */
void dc_conn_close_flushed(struct dc_conn *c);
/* Something is queued, and since the last time this was asked the peer has taken at least 1 KiB of
 * what it is sent.  For timeouts, where nothing is added to the queue meanwhile: a slow reader may
 * go on, one that does not read is let go. */
bool dc_conn_is_draining(struct dc_conn *c);
/* Text form of the peer's address without port; returns its length, 0 if it is not known. */
size_t dc_conn_peer(const struct dc_conn *c, char *out, size_t size);

#endif
