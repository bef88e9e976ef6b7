/* The bytes of one connection to a Redis server: a TCP socket on our loop, with or without TLS.
 *
 * Watched by uv_poll, as the connections of net/conn.c are: a write is one send(), and what a
 * server said before it reset the connection can still be read.
 *
 * Callbacks run on the loop, never inside a call of this header, except broken(). */
#ifndef DC_KV_REDIS_STREAM_H
#define DC_KV_REDIS_STREAM_H

#include "base/strbuf.h"
#include "kv/redis_tls.h"
#include "rt/loop.h"

struct dc_redis_stream;

struct dc_redis_stream_cbs {
    /* Borrowed. */
    void (*bytes)(void *owner, struct dc_slice bytes);
    /* What waited has left. */
    void (*drained)(void *owner);
    /* Once: nothing more will come or leave; close it.  May run inside of a flush.  DC_UNAVAILABLE:
     * the network, or the server hung up; what redis_tls.h says of TLS; DC_CONFIG also: the server
     * speaks TLS and we do not. */
    void (*broken)(void *owner, const struct dc_error *err);
    /* After dc_redis_stream_close(): it is gone. */
    void (*closed)(void *owner);
};

/* Connects.  tls NULL: plain; it is taken over, also by a failure.  NULL and *err: this address is
 * of no use. */
struct dc_redis_stream *dc_redis_stream_open(struct dc_loop *loop, const struct sockaddr *address,
                                             socklen_t len, struct dc_redis_tls *tls,
                                             const struct dc_redis_stream_cbs *cbs, void *owner,
                                             struct dc_error *err);
/* Where to append what the next flush sends; check dc_strbuf_ok(). */
struct dc_strbuf *dc_redis_stream_out(struct dc_redis_stream *s);
/* Bytes that wait to leave; during the handshake all of them do. */
size_t dc_redis_stream_unsent(const struct dc_redis_stream *s);
/* One write, once the connection stands; the rest when the socket takes it. */
void dc_redis_stream_flush(struct dc_redis_stream *s);
/* The server has accepted the connection. */
bool dc_redis_stream_was_connected(const struct dc_redis_stream *s);
/* ... and TLS is not settled. */
bool dc_redis_stream_is_shaking_hands(const struct dc_redis_stream *s);
/* Says goodbye where TLS wants that, and waits for nothing.  Wipes what was sent: there are
 * passwords in it. */
void dc_redis_stream_close(struct dc_redis_stream *s);

#endif
