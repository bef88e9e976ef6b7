/* Where Redis is, from REDIS_URL:
 *
 *   redis://[user:password@]host[:6379][/db][?db=0]
 *   redis+sentinel://[user:password@]host[:26379],host,.../master-name[?db=0&sentinel_password=...]
 *
 * rediss:// and rediss+sentinel:// are the same with TLS, to the sentinels too.
 *
 * The user (":password@" without one: the default user) is that of the server; sentinels have a
 * password of their own, if any.  Percent signs escape; IPv6 addresses stand in brackets. */
#ifndef DC_KV_REDIS_URL_H
#define DC_KV_REDIS_URL_H

#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

#define DC_REDIS_HOSTS_MAX 16
/* Longer hosts, names and passwords are refused. */
#define DC_REDIS_TEXT_MAX_BYTES 512

struct dc_redis_host {
    char *name; /* or a numeric address */
    uint16_t port;
};

struct dc_redis_url {
    struct dc_redis_host hosts[DC_REDIS_HOSTS_MAX]; /* the server; or the sentinels */
    size_t n_hosts;
    bool is_tls;
    char *master;            /* the name that sentinels know the server by; NULL: no sentinels */
    char *user, *password;   /* NULL: none */
    char *sentinel_password; /* NULL: none */
    uint32_t db;
};

/* password: used when the URL has none; NULL allowed.  DC_CONFIG, with a text that begins with
 * REDIS_URL and repeats nothing of it that may be secret. */
DC_MUST_USE enum dc_status dc_redis_url_parse(const char *url, const char *password,
                                              struct dc_redis_url *out, struct dc_error *err);
/* Wipes the passwords. */
void dc_redis_url_free(struct dc_redis_url *u);

#endif
