/* TLS of the connections to Redis: OpenSSL over memory.  Pure: bytes in, bytes out, no socket.
 *
 * TLS 1.2 or later.  The server must show a certificate of a trusted authority for the host it was
 * looked for by: a name, or a numeric address.  What an operator can put right is DC_CONFIG and
 * says which setting. */
#ifndef DC_KV_REDIS_TLS_H
#define DC_KV_REDIS_TLS_H

#include "base/slice.h"
#include "base/status.h"
#include "base/strbuf.h"

struct dc_redis_tls_opts {
    const char *ca_file;   /* whom to trust instead of the system's authorities; NULL: those */
    const char *cert_file; /* our certificate (and its chain), with key_file; NULL: none */
    const char *key_file;
};

/* What the connections of a process share. */
struct dc_redis_tls_ctx;
/* DC_CONFIG: a file that cannot be used, the text begins with its setting. */
DC_MUST_USE enum dc_status dc_redis_tls_ctx_create(const struct dc_redis_tls_opts *opts,
                                                   struct dc_redis_tls_ctx **out,
                                                   struct dc_error *err);
/* Reads the files again when one of them was replaced, for sessions to come.  As create; after an
 * error what was read before still counts.  The system's authorities are read once. */
DC_MUST_USE enum dc_status dc_redis_tls_ctx_refresh(struct dc_redis_tls_ctx *ctx,
                                                    struct dc_error *err);
/* NULL is allowed.  Sessions may outlive it. */
void dc_redis_tls_ctx_free(struct dc_redis_tls_ctx *ctx);

/* A session: the client's side of one connection. */
struct dc_redis_tls;

/* host: as in REDIS_URL, or as a sentinel says. The first bytes to send can be taken at once.
 * NULL: no memory. */
struct dc_redis_tls *dc_redis_tls_create(const struct dc_redis_tls_ctx *ctx, const char *host);
/* NULL is allowed. */
void dc_redis_tls_free(struct dc_redis_tls *t);

/* Both have shaken hands: the server is who it should be, and plain bytes can be sent.  Its refusal
 * of our certificate may still come. */
bool dc_redis_tls_is_ready(const struct dc_redis_tls *t);
/* Takes what came from the server and appends to *plain what it said; there may be more to send
 * afterwards.  What *plain has got counts also when this fails.  Nothing can be read any more
 * after: DC_CONFIG: a certificate that is not good, or no TLS at all; DC_UNAVAILABLE: the server
 * said goodbye, or refuses; DC_UPSTREAM: what came is wrong; DC_NO_MEMORY. */
DC_MUST_USE enum dc_status dc_redis_tls_feed(struct dc_redis_tls *t, struct dc_slice wire,
                                             struct dc_strbuf *plain, struct dc_error *err);
/* Only when it is ready.  All is taken. */
DC_MUST_USE enum dc_status dc_redis_tls_write(struct dc_redis_tls *t, struct dc_slice plain,
                                              struct dc_error *err);
/* Says goodbye, if the hands were shaken and nothing went wrong. */
void dc_redis_tls_say_goodbye(struct dc_redis_tls *t);
/* Appends what has to be sent. */
void dc_redis_tls_take(struct dc_redis_tls *t, struct dc_strbuf *wire);

#endif
