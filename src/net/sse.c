/* Server-sent events (see sse.h).  The answer has no length and ends with the connection. */
#include "net/sse.h"

#include "base/address.h"
#include "base/mem.h"
#include "net/http_priv.h"
#include "net/hub.h"
#include "net/stream_priv.h"

#define COMMENT ": keep-alive\n\n"
/* The first look after a queue has begun only takes its measure. */
#define STUCK_LOOKS 2

struct dc_sse {
    struct dc_stream stream; /* first: the hub finds it in dc_conn.state */
    void (*closed)(void *data);
    void *data;
    struct dc_list link; /* of dc_sse_hub.sockets */
    uint8_t stuck;       /* looks in a row at which it had taken nothing of its queue */
};

struct dc_sse_hub {
    struct dc_streams streams; /* first: the set of a stream is its hub */
    struct dc_list sockets;
    struct dc_timeouts *silence; /* half of the keep-alive time */
    struct dc_log *log;
    bool is_shut_down;
};

static void on_data(struct dc_conn *c, struct dc_slice bytes)
{
    /* A client has nothing more to say on this connection; what it says is not looked at. */
    DC_ASSERT(c->state != NULL && bytes.len > 0);
}

static void on_drain(struct dc_conn *c)
{
    dc_hub_conn_drained(c);
}

static void on_close(struct dc_conn *c)
{
    struct dc_sse *sse = c->state;
    sse->stream.is_ended = true;
    dc_hub_conn_closed(c);
    dc_stream_deinit(&sse->stream);
    dc_list_remove(&sse->link);
    if (sse->closed != NULL) {
        sse->closed(sse->data);
    }
    dc_free(sse);
}

static const struct dc_conn_class sse_conn_class = {
    .mode = DC_CONN_SSE,
    .on_data = on_data,
    .on_drain = on_drain,
    .on_close = on_close,
};

/* An event stream has no way to say why: the client reconnects with its Last-Event-ID. */
static void close_slow(struct dc_stream *s, uint64_t offset)
{
    (void)offset;
    s->is_ended = true;
    dc_hub_conn_closed(s->conn);
    dc_conn_close(s->conn);
}

/* A stream has no pong: one that does not read is known by its queue. */
static bool is_stuck(struct dc_sse *sse)
{
    struct dc_conn *c = sse->stream.conn;
    bool is_moving = dc_conn_queued_bytes(c) == 0 || dc_conn_is_draining(c);
    sse->stuck = is_moving ? 0 : (uint8_t)(sse->stuck + 1);
    return sse->stuck >= STUCK_LOOKS;
}

static void cut(struct dc_sse_hub *h, struct dc_conn *c)
{
    char address[DC_ADDRESS_MAX];
    size_t len = dc_conn_peer(c, address, sizeof(address));
    DC_LOG_INFO_EVENT(h->log, "sse.stuck", DC_LF_I("queued_bytes", dc_conn_queued_bytes(c)),
                      DC_LF_T("address", dc_slice_make(address, len)));
    dc_conn_close(c);
}

/* Twice in a keep-alive time: a comment goes out if nothing else did since the last time.  So no
 * broadcast has to touch a timeout. */
static void on_silence(void *data, struct dc_timeout *t)
{
    struct dc_sse_hub *h = data;
    struct dc_conn *c = DC_CONTAINER_OF(t, struct dc_conn, timeout);
    struct dc_sse *sse = c->state;
    if (is_stuck(sse)) {
        cut(h, c);
        return;
    }
    if (!c->has_sent && dc_conn_is_writable(c)) {
        char *out = dc_stream_append(&sse->stream, sizeof(COMMENT) - 1);
        if (out == NULL) {
            return; /* no memory: the connection is being closed */
        }
        memcpy(out, COMMENT, sizeof(COMMENT) - 1);
        dc_stream_flush(&sse->stream);
    }
    c->has_sent = false;
    if (!c->is_closing && !c->close_when_flushed) {
        dc_timeout_touch(h->silence, t);
    }
}

enum dc_status dc_sse_hub_create(struct dc_loop *loop, uint64_t keepalive_ms, struct dc_log *log,
                                 struct dc_sse_hub **out, struct dc_error *err)
{
    *out = NULL;
    if (keepalive_ms < 2) {
        return dc_fail(err, DC_CONFIG, 0, "the keep-alive time of event streams is too short");
    }
    struct dc_sse_hub *h = dc_calloc(1, sizeof(*h));
    dc_streams_init(&h->streams, loop, DC_STREAM_SSE, close_slow);
    dc_list_init(&h->sockets);
    h->log = log;
    h->silence = dc_timeouts_create(loop, keepalive_ms / 2, on_silence, h);
    *out = h;
    return DC_OK;
}

void dc_sse_hub_shutdown(struct dc_sse_hub *h)
{
    h->is_shut_down = true;
    /* Closing never removes a stream under the caller, so the list stays as it is. */
    DC_LIST_FOREACH (node, &h->sockets) {
        struct dc_sse *sse = DC_LIST_ENTRY(node, struct dc_sse, link);
        if (!sse->stream.is_ended) {
            dc_stream_serve(&sse->stream);
            sse->stream.is_ended = true;
            dc_hub_conn_closed(sse->stream.conn);
            dc_conn_close_flushed(sse->stream.conn);
        }
    }
}

void dc_sse_hub_destroy(struct dc_sse_hub *h)
{
    if (h == NULL) {
        return;
    }
    DC_ASSERT(dc_list_is_empty(&h->sockets));
    dc_streams_deinit(&h->streams);
    dc_timeouts_close(h->silence);
    dc_free(h);
}

struct dc_conn *dc_sse_accept(struct dc_sse_hub *h, struct dc_http_request *r,
                              void (*closed)(void *data), void *data)
{
    struct dc_error err = {.status = DC_OK};
    if (h->is_shut_down) {
        dc_fail(&err, DC_UNAVAILABLE, 0, "the server stops");
        dc_http_reply_error(r, &err);
        return NULL;
    }
    if (dc_http_method(r) != DC_GET) { /* HEAD: no stream follows */
        dc_http_set_header(r, "Cache-Control", DC_S("no-cache"));
        dc_http_reply(r, 200, "text/event-stream", DC_SLICE_NULL);
        return NULL;
    }
    struct dc_strbuf head = {0};
    dc_http_head_begin(r, 200, &head);
    dc_strbuf_add(&head, DC_S("Content-Type: text/event-stream\r\n"
                              "Cache-Control: no-cache\r\n"
                              "X-Accel-Buffering: no\r\n"
                              "Connection: close\r\n"
                              "\r\n"));
    struct dc_sse *sse = dc_try_alloc(sizeof(*sse));
    if (sse == NULL || !dc_strbuf_ok(&head)) {
        dc_free(sse);
        dc_strbuf_free(&head);
        dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
        dc_http_reply_error(r, &err);
        return NULL;
    }
    memset(sse, 0, sizeof(*sse));
    dc_stream_init(&sse->stream, &h->streams);
    sse->closed = closed;
    sse->data = data;
    struct dc_conn *c = dc_http_detach(r, dc_strbuf_slice(&head), &sse_conn_class, sse);
    dc_strbuf_free(&head);
    if (c == NULL) {
        dc_free(sse);
        return NULL;
    }
    sse->stream.conn = c;
    dc_list_push_back(&h->sockets, &sse->link);
    dc_timeout_touch(h->silence, &c->timeout);
    return c;
}

/* text may hold line breaks: each line becomes a field, the client joins them again. */
static size_t write_field(char *out, const char *name_z, struct dc_slice text)
{
    size_t name_len = strlen(name_z);
    size_t pos = 0;
    for (;;) {
        size_t line = dc_slice_find(text, '\n');
        size_t n = line == SIZE_MAX ? text.len : line;
        if (out != NULL) {
            memcpy(out + pos, name_z, name_len);
            if (n > 0) {
                memcpy(out + pos + name_len, text.ptr, n);
            }
            out[pos + name_len + n] = '\n';
        }
        pos += name_len + n + 1;
        if (line == SIZE_MAX) {
            return pos;
        }
        text = dc_slice_make(text.ptr + n + 1, text.len - n - 1);
    }
}

void dc_sse_send(struct dc_conn *c, struct dc_slice id, struct dc_slice data_line)
{
    struct dc_sse *sse = c->state;
    DC_ASSERT(c->cls == &sse_conn_class && dc_slice_find(id, '\n') == SIZE_MAX);
    if (sse->stream.is_ended) {
        return;
    }
    size_t size = write_field(NULL, "data: ", data_line) + 1;
    size += id.ptr == NULL ? 0 : write_field(NULL, "id: ", id);
    char *out = dc_stream_append(&sse->stream, size);
    if (out == NULL) {
        return; /* no memory: the connection is being closed */
    }
    size_t pos = id.ptr == NULL ? 0 : write_field(out, "id: ", id);
    pos += write_field(out + pos, "data: ", data_line);
    out[pos] = '\n';
}
