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
const char *dc_check_redis_url(struct dc_slice text);
/* A comma-separated list; only the first needs nats:// or tls://. */
const char *dc_check_nats_url(struct dc_slice text);
/* 16 bytes or more, as auth/token.h demands. */
const char *dc_check_jwt_secret(struct dc_slice text);
/* Printable ASCII without blanks: it has to arrive unchanged in a header. */
const char *dc_check_header_value(struct dc_slice text);
/* "*", or http(s)://host[:port] without a path, comma-separated. */
const char *dc_check_origins(struct dc_slice text);
/* Comma-separated slugs, each once. */
const char *dc_check_slugs(struct dc_slice text);

#endif
