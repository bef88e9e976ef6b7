/* The opening handshake of WebSockets (RFC 6455 §4.2), apart from the sockets themselves. */
#ifndef DC_NET_WS_PRIV_H
#define DC_NET_WS_PRIV_H

#include "net/http_priv.h"
#include "net/ws.h"

/* Checks the request; DC_OK, or what to answer: bad_request, origin_forbidden, upgrade_required. A
 * request without Origin comes from no browser and is let through. */
DC_MUST_USE enum dc_status dc_ws_handshake_check(const struct dc_http_request *r,
                                                 const char *allowed_origins, struct dc_error *err);
/* Appends the lines of the 101 answer behind dc_http_head_begin(). */
void dc_ws_handshake_answer(const struct dc_http_request *r, const char *subprotocol_z,
                            struct dc_strbuf *head);
/* "https://city.example:8443" names the host "city.example:8443" (default ports may be left out).
 */
bool dc_ws_origin_is_host(struct dc_slice origin, struct dc_slice host);

#endif
