/* NATS_URL taken apart: where the servers are, who we are to them. */
#ifndef DC_BUS_NATS_URL_H
#define DC_BUS_NATS_URL_H

#include "base/slice.h"
#include "base/status.h"

#define DC_NATS_MAX_SERVERS  16
#define DC_NATS_DEFAULT_PORT 4222

/* All texts are owned; a user has a password, and a token comes alone. NULL: there is none. */
struct dc_nats_server {
    char *host;    /* IPv6 without brackets */
    char *address; /* nats://host:port, for the library and for logs: no secrets in it */
    char *user, *password, *token;
    bool is_tls;
};
struct dc_nats_url {
    struct dc_nats_server servers[DC_NATS_MAX_SERVERS];
    size_t n; /* at least 1 */
};

/* nats://[user:password@|token@]host[:port][/][,…], or tls://.  A server that does not say inherits
 * scheme and user from the first.  Anything else is DC_CONFIG with a text that names NATS_URL and
 * repeats nothing of it, as it holds secrets; *out is then empty. */
DC_MUST_USE enum dc_status dc_nats_url_parse(const char *url, struct dc_nats_url *out,
                                             struct dc_error *err);
/* Wipes the secrets.  Harmless on an empty one. */
void dc_nats_url_free(struct dc_nats_url *u);

#endif
