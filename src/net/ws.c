/* WebSocket connections (see ws.h).  A quiet socket costs its dc_conn, a dc_ws and its hub
 * memberships: the decoder exists only while a frame or message is half-way, output only within a
 * turn, and its one timeout moves between three lists:
 *
 *   heard of it -> [ping_interval] -> ping -> [the rest of idle_timeout] -> close 4409
 *   close frame sent -> [CLOSE_WAIT_MS] -> cut
 */
#include "net/ws.h"

#include "base/mem.h"
#include "net/http_inside.h"
#include "net/hub.h"
#include "net/stream_priv.h"
#include "net/ws_priv.h"

#define CLOSE_WAIT_MS 2000u

enum ws_state {
    WS_OPEN,
    WS_CLOSE_SENT, /* by us first; the answer is awaited */
    WS_ENDED       /* nothing that arrives is looked at */
};

struct dc_ws {
    struct dc_stream stream; /* first: the hub finds it in dc_conn.state */
    const struct dc_ws_class *cls;
    void *data;
    struct dc_ws_decoder *decoder; /* NULL: nothing is half-way */
    char *address;                 /* of the client behind a proxy; NULL: the connection's */
    uint16_t close_code;           /* 0: no close frame was seen or sent */
    uint8_t state;
    bool is_complained_of; /* how it ended is in the log: the rest of it is no news */
};

_Static_assert(sizeof(struct dc_ws) <= 88, "see conn.c: the next size is 104");

struct dc_ws_hub {
    struct dc_streams streams; /* first: the set of a stream is its hub */
    struct dc_ws_opts opts;
    char *allowed_origins;
    size_t n_sockets;
    struct dc_log *log;
    struct dc_timeouts *quiet;  /* then pinged; NULL: no pings */
    struct dc_timeouts *idle;   /* then closed; NULL: never */
    struct dc_timeouts *ending; /* then cut */
    bool is_shut_down;
    struct dc_gauge *socket_count;
    struct dc_counter *accepted, *refused, *frames_in, *frames_out, *pings, *violations, *idles;
};

static struct dc_ws_hub *hub_of(const struct dc_ws *ws)
{
    return DC_CONTAINER_OF(ws->stream.set, struct dc_ws_hub, streams);
}

static struct dc_ws *ws_of_timeout(struct dc_timeout *t)
{
    return DC_CONTAINER_OF(t, struct dc_conn, timeout)->state;
}

/* A connection that is ending has its timeout in a list of the server. */
static bool is_ending(const struct dc_conn *c)
{
    return c->is_closing || c->close_when_flushed;
}

static void touch(struct dc_ws *ws, struct dc_timeouts *list)
{
    if (list != NULL && !is_ending(ws->stream.conn)) {
        dc_timeout_touch(list, &ws->stream.conn->timeout);
    }
}

static void heard(struct dc_ws *ws)
{
    struct dc_ws_hub *h = hub_of(ws);
    touch(ws, h->quiet != NULL ? h->quiet : h->idle);
    if (ws->cls->on_alive != NULL) {
        ws->cls->on_alive(ws, ws->data);
    }
}

/* --- sending --- */

static void append_frame(struct dc_ws *ws, enum dc_ws_opcode opcode, struct dc_slice payload)
{
    uint8_t head[DC_WS_HEADER_MAX];
    size_t head_len = dc_ws_encode_header(head, opcode, payload.len);
    size_t total;
    char *out = NULL;
    if (dc_add_size(head_len, payload.len, &total)) {
        out = dc_stream_append(&ws->stream, total);
    }
    if (out == NULL) {
        return; /* no memory: the connection is being closed */
    }
    memcpy(out, head, head_len);
    if (payload.len > 0) {
        memcpy(out + head_len, payload.ptr, payload.len);
    }
    hub_of(ws)->frames_out->value++;
}

void dc_ws_send(struct dc_ws *ws, struct dc_slice text)
{
    if (ws->state == WS_OPEN) {
        append_frame(ws, DC_WS_TEXT, text);
    }
}

void dc_ws_send_framed(struct dc_ws *ws, struct dc_blob *framed)
{
    if (ws->state == WS_OPEN) {
        dc_stream_append_blob(&ws->stream, framed);
        hub_of(ws)->frames_out->value++;
    }
}

/* --- closing --- */

/* Nothing may be sent behind this frame; the topics are left at once. */
static void send_close(struct dc_ws *ws, uint16_t code, struct dc_slice reason)
{
    struct dc_blob *frame = dc_ws_close_frame(code, reason);
    ws->close_code = code;
    ws->stream.is_ended = true;
    dc_hub_conn_closed(ws->stream.conn);
    if (frame == NULL) {
        dc_conn_close(ws->stream.conn); /* no memory */
        return;
    }
    dc_stream_append_blob(&ws->stream, frame);
    dc_blob_unref(frame);
    hub_of(ws)->frames_out->value++;
    dc_stream_flush(&ws->stream);
}

static void start_close(struct dc_ws *ws, uint16_t code, struct dc_slice reason)
{
    ws->state = WS_CLOSE_SENT;
    send_close(ws, code, reason);
    touch(ws, hub_of(ws)->ending);
}

void dc_ws_close(struct dc_ws *ws, uint16_t code, struct dc_slice reason)
{
    if (ws->state != WS_OPEN) {
        return;
    }
    dc_stream_serve(&ws->stream); /* what was published before goes before; may find it too slow */
    if (ws->state == WS_OPEN) {
        start_close(ws, code, reason);
    }
}

static const char *reason_of(uint16_t code)
{
    switch (code) {
    case DC_WS_UNSUPPORTED:
        return "text_only";
    case DC_WS_BAD_DATA:
        return "invalid_utf8";
    case DC_WS_TOO_BIG:
        return "message_too_big";
    case DC_WS_INTERNAL:
        return "out_of_memory";
    default:
        return "protocol_error";
    }
}

static void complain(struct dc_ws *ws, uint16_t code, const char *reason_z)
{
    char buf[DC_ADDRESS_MAX];
    if (!ws->is_complained_of) {
        ws->is_complained_of = true;
        DC_LOG_INFO_EVENT(hub_of(ws)->log, "ws.violation", DC_LF_I("close_code", code),
                          DC_LF_Z("reason", reason_z), DC_LF_T("address", dc_ws_address(ws, buf)));
    }
}

/* What the peer sends from here on has no meaning (RFC 6455 §7.1.7). */
static void fail(struct dc_ws *ws, uint16_t code)
{
    hub_of(ws)->violations->value++;
    complain(ws, code, reason_of(code));
    if (ws->state == WS_OPEN) {
        send_close(ws, code, dc_slice_z(reason_of(code)));
    }
    ws->state = WS_ENDED;
    dc_conn_close_flushed(ws->stream.conn);
}

static void close_slow(struct dc_stream *s, uint64_t offset)
{
    struct dc_ws *ws = DC_CONTAINER_OF(s, struct dc_ws, stream);
    struct dc_strbuf reason = {0};
    dc_strbuf_add(&reason, DC_S("slow_consumer offset="));
    dc_strbuf_add_u64(&reason, offset);
    start_close(ws, DC_WS_SLOW_CONSUMER, dc_strbuf_slice(&reason));
    DC_LOG_INFO_EVENT(hub_of(ws)->log, "ws.slow_consumer", DC_LF_I("offset", offset));
    dc_strbuf_free(&reason);
}

/* --- receiving --- */

static void on_peer_close(struct dc_ws *ws, const struct dc_ws_event *event)
{
    if (ws->state == WS_OPEN) {
        send_close(ws, event->close_code, DC_SLICE_NULL);
    }
    ws->state = WS_ENDED;
    dc_conn_close_flushed(ws->stream.conn);
}

static void on_control(struct dc_ws *ws, const struct dc_ws_event *event)
{
    if (ws->cls->on_control != NULL) {
        ws->cls->on_control(ws, ws->data);
    }
    if (event->opcode == DC_WS_PING && ws->state == WS_OPEN) {
        append_frame(ws, DC_WS_PONG, event->payload);
    }
}

static void on_event(struct dc_ws *ws, const struct dc_ws_event *event)
{
    hub_of(ws)->frames_in->value++;
    if (event->opcode == DC_WS_CLOSE) {
        on_peer_close(ws, event);
        return;
    }
    if (ws->state != WS_OPEN) {
        return;
    }
    switch (event->opcode) {
    case DC_WS_TEXT:
        ws->cls->on_text(ws, ws->data, event->payload);
        break;
    case DC_WS_BINARY:
        if (ws->cls->on_binary == NULL) {
            fail(ws, DC_WS_UNSUPPORTED);
        } else {
            ws->cls->on_binary(ws, ws->data, event->payload);
        }
        break;
    case DC_WS_PING:
    case DC_WS_PONG: /* a sign of life, no more */
        on_control(ws, event);
        break;
    case DC_WS_CLOSE:
    case DC_WS_CONT:
        break;
    }
}

static void free_decoder(struct dc_ws *ws)
{
    if (ws->decoder != NULL) {
        dc_ws_decoder_free(ws->decoder);
        dc_free(ws->decoder);
        ws->decoder = NULL;
    }
}

static void decode_all(struct dc_ws *ws, struct dc_ws_decoder *d, struct dc_slice bytes)
{
    struct dc_ws_event event;
    uint16_t code;
    while (ws->state != WS_ENDED && !ws->stream.conn->is_closing) {
        switch (dc_ws_decode(d, &bytes, hub_of(ws)->opts.max_frame_bytes, &event, &code)) {
        case DC_WS_NEED_MORE:
            return;
        case DC_WS_EVENT:
            on_event(ws, &event);
            break;
        case DC_WS_VIOLATION:
            fail(ws, code);
            return;
        }
    }
    if (ws->state == WS_ENDED && bytes.len > 0) {
        complain(ws, ws->close_code, "data_after_close");
    }
}

static void on_data(struct dc_conn *c, struct dc_slice bytes)
{
    struct dc_ws *ws = c->state;
    if (ws->state == WS_OPEN) {
        heard(ws);
    }
    if (ws->decoder != NULL) {
        decode_all(ws, ws->decoder, bytes);
        if (ws->state == WS_ENDED || dc_ws_decoder_is_idle(ws->decoder)) {
            free_decoder(ws);
        }
        return;
    }
    struct dc_ws_decoder d;
    dc_ws_decoder_init(&d, true);
    decode_all(ws, &d, bytes);
    if (ws->state == WS_ENDED || c->is_closing || dc_ws_decoder_is_idle(&d)) {
        dc_ws_decoder_free(&d);
        return;
    }
    ws->decoder = dc_try_alloc(sizeof(d));
    if (ws->decoder == NULL) {
        dc_ws_decoder_free(&d);
        fail(ws, DC_WS_INTERNAL);
        return;
    }
    *ws->decoder = d;
}

/* Behind the peer's own close frame, or behind a violation. */
static void on_late(struct dc_conn *c)
{
    struct dc_ws *ws = c->state;
    complain(ws, ws->close_code, "data_after_close");
}

static void on_drain(struct dc_conn *c)
{
    dc_hub_conn_drained(c);
}

static void on_close(struct dc_conn *c)
{
    struct dc_ws *ws = c->state;
    ws->stream.is_ended = true;
    ws->state = WS_ENDED;
    dc_hub_conn_closed(c);
    dc_stream_deinit(&ws->stream);
    hub_of(ws)->n_sockets--;
    hub_of(ws)->socket_count->value--;
    ws->cls->on_close(ws, ws->data, ws->close_code == 0 ? DC_WS_ABNORMAL : ws->close_code);
    free_decoder(ws);
    dc_free(ws->address);
    dc_free(ws);
}

static const struct dc_conn_class ws_conn_class = {
    .mode = DC_CONN_WS,
    .on_data = on_data,
    .on_drain = on_drain,
    .on_late = on_late,
    .on_close = on_close,
};

/* --- timeouts --- */

static void on_quiet(void *data, struct dc_timeout *t)
{
    struct dc_ws_hub *h = data;
    struct dc_ws *ws = ws_of_timeout(t);
    if (dc_conn_is_writable(ws->stream.conn)) { /* else a ping would only wait in the queue */
        append_frame(ws, DC_WS_PING, DC_SLICE_NULL);
        h->pings->value++;
    }
    touch(ws, h->idle != NULL ? h->idle : h->quiet);
}

static void on_idle(void *data, struct dc_timeout *t)
{
    struct dc_ws_hub *h = data;
    struct dc_ws *ws = ws_of_timeout(t);
    char buf[DC_ADDRESS_MAX];
    h->idles->value++;
    DC_LOG_INFO_EVENT(h->log, "ws.idle", DC_LF_I("close_code", DC_WS_IDLE),
                      DC_LF_T("address", dc_ws_address(ws, buf)));
    dc_ws_close(ws, DC_WS_IDLE, DC_S("idle_timeout"));
}

static void on_ending(void *data, struct dc_timeout *t)
{
    struct dc_ws_hub *h = data;
    DC_LOG_DEBUG_EVENT(h->log, "ws.close_unanswered",
                       DC_LF_I("close_code", ws_of_timeout(t)->close_code));
    dc_conn_close(ws_of_timeout(t)->stream.conn);
}

/* --- hub --- */

enum dc_status dc_ws_hub_create(struct dc_loop *loop, const struct dc_ws_opts *opts,
                                struct dc_log *log, struct dc_metrics *metrics,
                                struct dc_ws_hub **out, struct dc_error *err)
{
    *out = NULL;
    if (opts->max_frame_bytes == 0) {
        return dc_fail(err, DC_CONFIG, 0, "the limit of WebSocket messages must not be 0");
    }
    struct dc_ws_hub *h = dc_calloc(1, sizeof(*h));
    h->opts = *opts;
    h->allowed_origins = opts->allowed_origins == NULL ? NULL : dc_strdup(opts->allowed_origins);
    h->opts.allowed_origins = h->allowed_origins;
    h->log = log;
    dc_streams_init(&h->streams, loop, DC_STREAM_WS, close_slow);
    uint64_t ping_ms = opts->ping_interval_ms;
    uint64_t idle_ms = opts->idle_timeout_ms;
    if (ping_ms > 0 && (idle_ms == 0 || ping_ms < idle_ms)) {
        h->quiet = dc_timeouts_create(loop, ping_ms, on_quiet, h);
        idle_ms -= idle_ms == 0 ? 0 : ping_ms;
    }
    if (idle_ms > 0) {
        h->idle = dc_timeouts_create(loop, idle_ms, on_idle, h);
    }
    h->ending = dc_timeouts_create(loop, CLOSE_WAIT_MS, on_ending, h);
    h->socket_count =
        dc_metrics_gauge(metrics, "daarion_ws_sockets", NULL, "Open WebSocket connections");
    h->accepted = dc_metrics_counter(metrics, "daarion_ws_accepted_total", NULL,
                                     "WebSocket handshakes answered with 101");
    h->refused = dc_metrics_counter(metrics, "daarion_ws_refused_total", NULL,
                                    "WebSocket handshakes refused");
    h->frames_in = dc_metrics_counter(metrics, "daarion_ws_frames_in_total", NULL,
                                      "Messages and control frames received");
    h->frames_out = dc_metrics_counter(metrics, "daarion_ws_frames_out_total", NULL,
                                       "Frames sent to one socket (topics are counted by the hub)");
    h->pings = dc_metrics_counter(metrics, "daarion_ws_pings_total", NULL, "Pings sent");
    h->violations = dc_metrics_counter(metrics, "daarion_ws_violations_total", NULL,
                                       "Sockets closed for breaking the protocol or a limit");
    h->idles = dc_metrics_counter(metrics, "daarion_ws_idle_closes_total", NULL,
                                  "Sockets closed because nothing was heard of them");
    *out = h;
    return DC_OK;
}

void dc_ws_hub_shutdown(struct dc_ws_hub *h, struct dc_server *s)
{
    h->is_shut_down = true;
    if (s == NULL) {
        return;
    }
    /* A list of our own would cost each socket 16 bytes.  Closing never removes a connection under
     * the caller, so the server's stays as it is. */
    DC_LIST_FOREACH (node, &s->host.conns) {
        struct dc_conn *c = DC_LIST_ENTRY(node, struct dc_conn, link);
        if (c->cls == &ws_conn_class && hub_of(c->state) == h) {
            dc_ws_close(c->state, DC_WS_GOING_AWAY, DC_S("the server stops"));
        }
    }
}

void dc_ws_hub_destroy(struct dc_ws_hub *h)
{
    if (h == NULL) {
        return;
    }
    DC_ASSERT(h->n_sockets == 0);
    dc_streams_deinit(&h->streams);
    dc_timeouts_close(h->quiet);
    dc_timeouts_close(h->idle);
    dc_timeouts_close(h->ending);
    dc_free(h->allowed_origins);
    dc_free(h);
}

/* --- accepting --- */

static struct dc_ws *refuse(struct dc_ws_hub *h, struct dc_http_request *r,
                            const struct dc_error *err)
{
    h->refused->value++;
    if (err->status == DC_UPGRADE) {
        dc_http_set_header(r, "Upgrade", DC_S("websocket"));
        dc_http_set_header(r, "Sec-WebSocket-Version", DC_S("13"));
    }
    dc_http_reply_error(r, err);
    return NULL;
}

static char *copy_address(struct dc_slice address)
{
    char text[DC_ADDRESS_MAX];
    return dc_slice_copy_z(address, text, sizeof(text)) ? dc_strdup(text) : NULL;
}

struct dc_ws *dc_ws_accept(struct dc_ws_hub *h, struct dc_http_request *r,
                           const struct dc_ws_class *cls, void *data, const char *subprotocol_z)
{
    struct dc_error err = {.status = DC_OK};
    struct dc_strbuf head = {0};
    if (h->is_shut_down) {
        dc_fail(&err, DC_UNAVAILABLE, 0, "the server stops");
        return refuse(h, r, &err);
    }
    if (dc_ws_handshake_check(r, h->opts.allowed_origins, &err) != DC_OK) {
        return refuse(h, r, &err);
    }
    dc_http_head_begin(r, 101, &head);
    dc_ws_handshake_answer(r, subprotocol_z, &head);
    struct dc_ws *ws = dc_try_alloc(sizeof(*ws));
    if (ws == NULL || !dc_strbuf_ok(&head)) {
        dc_free(ws);
        dc_strbuf_free(&head);
        err.status = DC_NO_MEMORY;
        return refuse(h, r, &err);
    }
    memset(ws, 0, sizeof(*ws));
    dc_stream_init(&ws->stream, &h->streams);
    ws->cls = cls;
    ws->data = data;
    ws->address = dc_http_is_forwarded(r) ? copy_address(dc_http_peer(r)) : NULL;
    struct dc_conn *c = dc_http_detach(r, dc_strbuf_slice(&head), &ws_conn_class, ws);
    dc_strbuf_free(&head);
    if (c == NULL) {
        dc_free(ws->address);
        dc_free(ws);
        return NULL;
    }
    ws->stream.conn = c;
    h->n_sockets++;
    h->socket_count->value++;
    h->accepted->value++;
    touch(ws, h->quiet != NULL ? h->quiet : h->idle);
    return ws;
}

void dc_ws_pause(struct dc_ws *ws, bool is_paused)
{
    dc_conn_pause(ws->stream.conn, is_paused);
}

struct dc_conn *dc_ws_conn(struct dc_ws *ws)
{
    return ws->stream.conn;
}

struct dc_slice dc_ws_address(const struct dc_ws *ws, char buf[DC_ADDRESS_MAX])
{
    return ws->address != NULL
               ? dc_slice_z(ws->address)
               : dc_slice_make(buf, dc_conn_peer(ws->stream.conn, buf, DC_ADDRESS_MAX));
}
