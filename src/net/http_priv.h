/* What the HTTP server offers to the rest of net: upgrades (ws.c, sse.c).  Not for roles. */
#ifndef DC_NET_HTTP_PRIV_H
#define DC_NET_HTTP_PRIV_H

#include "net/conn.h"
#include "net/http.h"

/* Starts the head of an upgrade's answer in out: status line, Date, X-Request-Id, CORS and what
 * dc_http_set_header has added; every line ends in CRLF.  The caller adds its own lines and the
 * empty line. */
void dc_http_head_begin(struct dc_http_request *r, int http_status, struct dc_strbuf *out);

/* Answers with a finished head and hands the connection over: the request is over (r is not to be
 * used after the caller has returned to the loop, its slices stay valid until then), cls and state
 * own the connection from here on, its timeout is free for their use.  Bytes that came behind the
 * request are given to cls->on_data after the caller has returned to the loop, never under this
 * call.  NULL: the client has gone, state was not taken (nothing of cls runs) and the request is
 * over. */
struct dc_conn *dc_http_detach(struct dc_http_request *r, struct dc_slice raw_head_bytes,
                               const struct dc_conn_class *cls, void *state);

/* How many headers have that name, any case. */
size_t dc_http_header_count(const struct dc_http_request *r, struct dc_slice name);
/* The headers of that name list this token; any case, over all of them. */
bool dc_http_header_lists(const struct dc_http_request *r, struct dc_slice name,
                          struct dc_slice token);
/* HTTP/1.1 (upgrades do not exist in 1.0). */
bool dc_http_is_11(const struct dc_http_request *r);
/* A trusted proxy may have said whose request it is: the address of the client (dc_http_peer) may
 * differ from that of the connection. */
bool dc_http_is_forwarded(const struct dc_http_request *r);
/* The Host header (or the authority of an absolute target): for same-origin checks. */
struct dc_slice dc_http_host(const struct dc_http_request *r);
/* True when origin is in list ("https://a,https://b", "*"; NULL: none). */
bool dc_http_origin_allowed(const char *list_z, struct dc_slice origin);

#endif
