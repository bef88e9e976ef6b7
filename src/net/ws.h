/* WebSocket connections (RFC 6455) on top of the HTTP server: handshake, callbacks, closing, pings,
 * idle timeout.  For fan-out see hub.h.  A socket that breaks the protocol is closed with a code, a
 * reason and one line in the log. */
#ifndef DC_NET_WS_H
#define DC_NET_WS_H

#include "base/address.h"
#include "net/http.h"
#include "net/ws_codec.h"

struct dc_conn;
struct dc_ws; /* one socket; belongs to net, valid until on_close has returned */

/* Behaviour of an endpoint; const and static.  All callbacks run on the loop; none after on_close.
 */
struct dc_ws_class {
    /* A whole text message, valid UTF-8; borrowed. */
    void (*on_text)(struct dc_ws *ws, void *data, struct dc_slice text);
    /* NULL: binary messages are refused with 1003. */
    void (*on_binary)(struct dc_ws *ws, void *data, struct dc_slice bytes);
    /* Any sign of life (also pong), once for each read; NULL allowed. Renews leases. */
    void (*on_alive)(struct dc_ws *ws, void *data);
    /* A ping or a pong, before it is answered; NULL allowed.  Here the socket may be closed. */
    void (*on_control)(struct dc_ws *ws, void *data);
    /* Last call; code is that of the first close frame, the peer's or ours, also when ours was
     * never answered; 1005: the peer's had none; 1006: the connection ended without one. Free data
     * here, and nothing of ws: it has left its topics. */
    void (*on_close)(struct dc_ws *ws, void *data, uint16_t code);
};

struct dc_ws_opts {
    size_t max_frame_bytes;    /* of a whole message */
    uint64_t ping_interval_ms; /* quiet peers are pinged; 0, or not below the idle timeout: never */
    uint64_t idle_timeout_ms;  /* quiet for this long: closed with 4409; 0: never */
    const char
        *allowed_origins; /* as cors_origins; same host is always allowed; NULL: same host only */
};

struct dc_ws_hub; /* timers and options shared by all sockets of a loop */
DC_MUST_USE enum dc_status dc_ws_hub_create(struct dc_loop *loop, const struct dc_ws_opts *opts,
                                            struct dc_log *log, struct dc_metrics *metrics,
                                            struct dc_ws_hub **out, struct dc_error *err);
/* Takes no more sockets and closes those of s with 1001 (NULL: there is none); free with destroy
 * after the servers have stopped. */
void dc_ws_hub_shutdown(struct dc_ws_hub *h, struct dc_server *s);
void dc_ws_hub_destroy(struct dc_ws_hub *h);

/* Checks handshake headers and Origin (400, 403, 426 answered; 503 after shutdown), answers 101 and
 * returns the socket; the request is over in any case.  subprotocol_z: what to select, or NULL. cls
 * is static; data is handed to callbacks. NULL: refused, or the client has gone: no callback will
 * run and data is still the caller's. */
struct dc_ws *dc_ws_accept(struct dc_ws_hub *h, struct dc_http_request *r,
                           const struct dc_ws_class *cls, void *data, const char *subprotocol_z);
/* True when the request asks for a WebSocket upgrade. */
bool dc_ws_is_upgrade(const struct dc_http_request *r);

/* One text message to this socket; copied, queued with the others of this turn.  Nothing is sent
 * once the socket is being closed. */
void dc_ws_send(struct dc_ws *ws, struct dc_slice text);
/* An already framed blob (dc_ws_frame); takes its own reference. */
void dc_ws_send_framed(struct dc_ws *ws, struct dc_blob *framed);
/* Writes what the socket and its topics have to send, then a close frame, and leaves its topics.
 * No message is heard from here on; on_close follows, never under this call, when the peer has
 * answered or after 2 s. reason: UTF-8, <= 123 bytes. Closing twice changes nothing. */
void dc_ws_close(struct dc_ws *ws, uint16_t code, struct dc_slice reason);
/* Stops taking in what the peer sends, or goes on; what has been read already is still handed out.
 * For as long as something short is awaited: the peer's end is not noticed meanwhile. */
void dc_ws_pause(struct dc_ws *ws, bool is_paused);
struct dc_conn *dc_ws_conn(struct dc_ws *ws);
/* The client's address as text: the connection's, or what a trusted proxy said; for logs.  It lies
 * in the socket or in buf. */
struct dc_slice dc_ws_address(const struct dc_ws *ws, char buf[DC_ADDRESS_MAX]);

#endif
