/* Demands on texts that the table makes (struct dc_opt, check): NULL when text is good, else what
 * is wrong, to stand behind the name: "is not ...".  None repeats the text. */
#ifndef DC_CONF_CONF_CHECK_H
#define DC_CONF_CONF_CHECK_H

#include "base/slice.h"

/* A numeric IPv4 or IPv6 address. */
const char *dc_check_address(struct dc_slice text);
/* Comma-separated addresses and prefixes, as base/address.h takes them. */
const char *dc_check_address_list(struct dc_slice text);
const char *dc_check_postgres_url(struct dc_slice text);
/* redis:// or redis+sentinel://, rediss:// or rediss+sentinel://; the rest is told by kv/kv.h. */
const char *dc_check_redis_url(struct dc_slice text);
/* A comma-separated list; only the first needs nats:// or tls://. */
const char *dc_check_nats_url(struct dc_slice text);
/* 16 bytes or more, as auth/token.h demands. */
const char *dc_check_jwt_secret(struct dc_slice text);
/* Printable ASCII without blanks: it has to arrive unchanged in a header. */
const char *dc_check_header_value(struct dc_slice text);
/* http(s)://host[:port][/path], without a user, a query or a fragment. */
const char *dc_check_http_url(struct dc_slice text);
/* host, host:port or an address, short enough for every Matrix id that is built with it. */
const char *dc_check_server_name(struct dc_slice text);
/* Comma-separated @name:server. */
const char *dc_check_matrix_users(struct dc_slice text);
/* One @name:server. */
const char *dc_check_matrix_user(struct dc_slice text);
/* "*", or http(s)://host[:port] without a path, comma-separated. */
const char *dc_check_origins(struct dc_slice text);
/* Comma-separated slugs, each once. */
const char *dc_check_slugs(struct dc_slice text);

#endif
