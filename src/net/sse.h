/* Server-sent events: an HTTP answer that stays open (WHATWG HTML §9.2).  Frames come from the hub,
 * which encodes each broadcast once for all SSE members as `id: epoch:offset\ndata: ...\n\n`. */
#ifndef DC_NET_SSE_H
#define DC_NET_SSE_H

#include "net/http.h"

struct dc_conn;
struct dc_sse_hub; /* keep-alive comments of all SSE connections of a loop */

/* keepalive_ms: at most this long nothing is sent to a quiet stream; from 2 on (DC_CONFIG).  A
 * stream that has taken nothing of its queue for so long is cut, with a line in the log (NULL
 * allowed). */
DC_MUST_USE enum dc_status dc_sse_hub_create(struct dc_loop *loop, uint64_t keepalive_ms,
                                             struct dc_log *log, struct dc_sse_hub **out,
                                             struct dc_error *err);
/* Ends every stream after what has been published so far. */
void dc_sse_hub_shutdown(struct dc_sse_hub *h);
void dc_sse_hub_destroy(struct dc_sse_hub *h);

/* Answers 200 text/event-stream (no-cache, X-Accel-Buffering: no) and turns the connection into a
 * stream; the request is over.  closed runs once when it ends, never under another call. Attach it
 * to topics by hub.h. A slow member of a LOG is cut: event streams have no close code. NULL (HEAD,
 * after shutdown, or the client has gone): answered, no callback will run. */
struct dc_conn *dc_sse_accept(struct dc_sse_hub *h, struct dc_http_request *r,
                              void (*closed)(void *data), void *data);
/* One event to this stream only; id may be DC_SLICE_NULL. Queued with the others of this turn. */
void dc_sse_send(struct dc_conn *c, struct dc_slice id, struct dc_slice data_line);

#endif
