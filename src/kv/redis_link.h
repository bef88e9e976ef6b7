/* One connection to a Redis server or a sentinel: commands out, answers in, in order.
 *
 * The name is looked up on libuv's pool, every address is tried.  Bytes, and TLS, are the business
 * of redis_stream.h, answers that of redis_reader.h (hiredis' reader, bounded).  hiredis' own
 * asynchronous client is not used: see docs/decisions/0007.
 *
 * All callbacks run on the loop, never inside a call of this header. */
#ifndef DC_KV_REDIS_LINK_H
#define DC_KV_REDIS_LINK_H

#include "kv/redis_reader.h"
#include "kv/redis_tls.h"
#include "rt/loop.h"

struct dc_redis_link;

struct dc_redis_link_cbs {
    /* A connection is on its way: send the first commands.  Runs again when an address of the host
     * failed and the next one is tried. */
    void (*greet)(void *owner);
    /* To one command, in order.  answer is borrowed. */
    void (*answer)(void *owner, void *data, const redisReply *answer);
    /* What waited to leave has left: there is room. */
    void (*drained)(void *owner);
    /* The end, unless by dc_redis_link_close(): commands without an answer will have none, and the
     * link must not be used any more.  DC_UNAVAILABLE: cannot connect, or closed by the server;
     * DC_UPSTREAM: what came is not the protocol; DC_CONFIG: TLS on one side only, a certificate
     * that is refused; or what dc_redis_link_fail() said. */
    void (*lost)(void *owner, const struct dc_error *err);
    /* Its handles are closed.  Runs always. */
    void (*freed)(void *owner);
};

/* tls NULL: plain; it must stay until freed().  Never NULL. */
struct dc_redis_link *dc_redis_link_open(struct dc_loop *loop, const char *host, uint16_t port,
                                         const struct dc_redis_tls_ctx *tls,
                                         const struct dc_redis_link_cbs *cbs, void *owner);
/* Appends a command to what is sent by the next flush; the arguments are copied.  false: not any
 * more, or no memory; lost() follows. */
bool dc_redis_link_send(struct dc_redis_link *l, void *data, size_t argc, const char **argv,
                        const size_t *lens);
/* Bytes that wait to leave. */
size_t dc_redis_link_unsent(const struct dc_redis_link *l);
/* One write, if the connection stands; the rest when the socket takes it. */
void dc_redis_link_flush(struct dc_redis_link *l);
/* Connected, and TLS is not settled: nothing has been sent. */
bool dc_redis_link_is_shaking_hands(const struct dc_redis_link *l);
/* Gives up: no more answers, lost() with *err in a later turn. The first reason counts. */
void dc_redis_link_fail(struct dc_redis_link *l, const struct dc_error *err);
/* The same without lost(). */
void dc_redis_link_close(struct dc_redis_link *l);

#endif
