/* One connection to a Redis server or a sentinel: hiredis' asynchronous client on our loop.
 *
 * hiredis brings an adapter to libuv, which is not used: it throws away the error that libuv gives
 * for a refused connection and would wait for ever, and its handle is closed behind the owner's
 * back.  Nor are these left to hiredis 0.14: looking up names (it blocks), the size of answers (no
 * bound), and answers that nobody asked for (an assertion in the library: one wrong byte of a
 * server would end this process).  See docs/decisions/0007.
 *
 * All callbacks run on the loop, never inside a call of this header. */
#ifndef DC_KV_REDIS_LINK_H
#define DC_KV_REDIS_LINK_H

#include "rt/loop.h"
#include <hiredis/async.h>

/* Of one answer; a larger one ends the connection. */
#define DC_REDIS_ANSWER_MAX_BYTES ((size_t)1024 * 1024)
#define DC_REDIS_ANSWER_MAX_PARTS 4096

struct dc_redis_link;

struct dc_redis_link_cbs {
    /* A connection is on its way: send the first commands.  Runs again when an address of the host
     * failed and the next one is tried. */
    void (*greet)(void *owner);
    /* To one command, in order.  answer is borrowed. */
    void (*answer)(void *owner, void *data, const redisReply *answer);
    /* Everything that was sent has left: there is room. */
    void (*drained)(void *owner);
    /* The end, unless by dc_redis_link_close(): commands without an answer will have none, and the
     * link must not be used any more.  DC_UNAVAILABLE: cannot connect, or closed by the server;
     * DC_UPSTREAM: what came is not the protocol; or what dc_redis_link_fail() said. */
    void (*lost)(void *owner, const struct dc_error *err);
    /* Its handles are closed.  Runs always. */
    void (*freed)(void *owner);
};

/* host is looked up on libuv's pool; every address is tried.  Never NULL. */
struct dc_redis_link *dc_redis_link_open(struct dc_loop *loop, const char *host, uint16_t port,
                                         const struct dc_redis_link_cbs *cbs, void *owner);
/* Appends a command to what is sent by the next flush; the arguments are copied.  false: not any
 * more, or no memory; lost() follows. */
bool dc_redis_link_send(struct dc_redis_link *l, void *data, size_t argc, const char **argv,
                        const size_t *lens);
/* Bytes that wait to leave. */
size_t dc_redis_link_unsent(const struct dc_redis_link *l);
/* One write, if the connection stands; the rest when the socket takes it. */
void dc_redis_link_flush(struct dc_redis_link *l);
/* Gives up: no more answers, lost() with *err in a later turn. The first reason counts. */
void dc_redis_link_fail(struct dc_redis_link *l, const struct dc_error *err);
/* The same without lost(). */
void dc_redis_link_close(struct dc_redis_link *l);

#endif
