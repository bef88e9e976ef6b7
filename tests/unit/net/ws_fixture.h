/* A real server on a free port and plain non-blocking clients, all in one thread: pump() lets both
 * sides make progress, so a test waits for what must happen and never for time to pass. */
#ifndef DC_TEST_WS_FIXTURE_H
#define DC_TEST_WS_FIXTURE_H

#include "base/mem.h"
#include "net/conn.h"
#include "net/hub.h"
#include "net/router.h"
#include "net/sse.h"
#include "net/ws.h"
#include "ws_frames.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define FX_MAX_CLIENTS 256
#define FX_DEADLINE_MS 20000
#define FX_KEY         "dGhlIHNhbXBsZSBub25jZQ=="

/* The server's side of one WebSocket. */
struct peer {
    struct fixture *fx;
    struct dc_ws *ws; /* NULL after on_close */
    size_t texts, binaries, alive, closed;
    struct dc_strbuf last_text;
    uint16_t close_code;
};

struct client {
    int fd;
    bool is_open, is_eof, is_stalled, is_sse;
    bool has_head;
    int status;
    struct dc_strbuf head; /* of the answer; its body too if it was not 101 */
    struct dc_ws_decoder decoder;
    char **texts; /* frames, or bytes of an event stream in texts[0] */
    size_t n_texts, cap_texts;
    size_t pings, pongs;
    uint16_t close_code; /* 0: no close frame seen */
    char close_reason[124];
    struct dc_strbuf stream;
};

struct fixture {
    struct dc_loop *loop;
    struct dc_metrics *metrics;
    struct dc_router *router;
    struct dc_server *server;
    struct dc_ws_hub *ws_hub;
    struct dc_sse_hub *sse_hub;
    struct dc_hub *hub;
    bool is_stopped;
    struct peer *peers[FX_MAX_CLIENTS]; /* in the order of accepting */
    size_t n_peers;
    struct dc_conn *streams[FX_MAX_CLIENTS];
    size_t n_streams, n_streams_closed;
    struct client clients[FX_MAX_CLIENTS];
    size_t n_clients;
    const char *subprotocol;
    bool refuses_binary;
    void (*on_accept)(struct fixture *fx, struct peer *p);
    void (*on_text)(struct fixture *fx, struct peer *p, struct dc_slice text);
    void (*on_closed)(struct fixture *fx, struct peer *p);
};

/* --- server side --- */

static inline void fx_on_text(struct dc_ws *ws, void *data, struct dc_slice text)
{
    struct peer *p = data;
    assert_ptr_equal(p->ws, ws);
    p->texts++;
    dc_strbuf_clear(&p->last_text);
    dc_strbuf_add(&p->last_text, text);
    if (p->fx->on_text != NULL) {
        p->fx->on_text(p->fx, p, text);
    }
}

static inline void fx_on_binary(struct dc_ws *ws, void *data, struct dc_slice bytes)
{
    struct peer *p = data;
    assert_ptr_equal(p->ws, ws);
    assert_non_null(bytes.ptr);
    p->binaries++;
}

static inline void fx_on_alive(struct dc_ws *ws, void *data)
{
    struct peer *p = data;
    assert_true(p->ws == NULL || p->ws == ws);
    p->alive++;
}

static inline void fx_on_close(struct dc_ws *ws, void *data, uint16_t code)
{
    struct peer *p = data;
    assert_ptr_equal(p->ws, ws);
    if (p->fx->on_closed != NULL) {
        p->fx->on_closed(p->fx, p);
    }
    p->ws = NULL;
    p->closed++;
    p->close_code = code;
}

static const struct dc_ws_class fx_class = {
    .on_text = fx_on_text,
    .on_binary = fx_on_binary,
    .on_alive = fx_on_alive,
    .on_close = fx_on_close,
};
static const struct dc_ws_class fx_class_no_binary = {
    .on_text = fx_on_text, .on_alive = fx_on_alive, .on_close = fx_on_close};

static inline void fx_handle_ws(void *ctx, struct dc_http_request *r)
{
    struct fixture *fx = ctx;
    struct peer *p = dc_calloc(1, sizeof(*p));
    p->fx = fx;
    p->ws = dc_ws_accept(fx->ws_hub, r, fx->refuses_binary ? &fx_class_no_binary : &fx_class, p,
                         fx->subprotocol);
    if (p->ws == NULL) {
        dc_free(p);
        return;
    }
    assert_true(fx->n_peers < FX_MAX_CLIENTS);
    fx->peers[fx->n_peers++] = p;
    if (fx->on_accept != NULL) {
        fx->on_accept(fx, p);
    }
}

static inline void fx_on_stream_closed(void *data)
{
    struct fixture *fx = data;
    fx->n_streams_closed++;
}

static inline void fx_handle_sse(void *ctx, struct dc_http_request *r)
{
    struct fixture *fx = ctx;
    struct dc_conn *c = dc_sse_accept(fx->sse_hub, r, fx_on_stream_closed, fx);
    if (c != NULL) {
        fx->streams[fx->n_streams++] = c;
    }
}

static const struct dc_route fx_routes[] = {
    {DC_GET | DC_POST, "/ws", fx_handle_ws},
    {DC_GET, "/sse", fx_handle_sse},
};

static inline void fx_open_with(struct fixture *fx, const struct dc_ws_opts *ws_opts,
                                uint64_t sse_keepalive_ms, size_t max_output_bytes)
{
    const struct dc_server_opts opts = {
        .name = "test",
        .host = "127.0.0.1",
        .max_connections = 1000,
        .max_head_bytes = 16384,
        .max_body_bytes = 65536,
        .max_output_bytes = max_output_bytes,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 10000,
        .keepalive_timeout_ms = 10000,
    };
    struct dc_error err = {.status = DC_OK};
    memset(fx, 0, sizeof(*fx));
    /* As main does: libuv writes with write(2). */
    assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    assert_int_equal(dc_loop_create(&fx->loop, &err), DC_OK);
    fx->metrics = dc_metrics_create();
    fx->router = dc_router_create();
    dc_router_add(fx->router, "", fx_routes, DC_ARRAY_LEN(fx_routes), fx);
    assert_int_equal(
        dc_server_create(fx->loop, &opts, fx->router, NULL, fx->metrics, &fx->server, &err), DC_OK);
    assert_int_equal(dc_ws_hub_create(fx->loop, ws_opts, NULL, fx->metrics, &fx->ws_hub, &err),
                     DC_OK);
    assert_int_equal(dc_sse_hub_create(fx->loop, sse_keepalive_ms, NULL, &fx->sse_hub, &err),
                     DC_OK);
    fx->hub = dc_hub_create(fx->loop, fx->metrics);
}

static inline void fx_open(struct fixture *fx)
{
    const struct dc_ws_opts ws_opts = {
        .max_frame_bytes = 65536, .ping_interval_ms = 30000, .idle_timeout_ms = 90000};
    fx_open_with(fx, &ws_opts, 30000, 1024 * 1024);
}

/* --- clients --- */

static inline void client_keep_text(struct client *c, struct dc_slice text)
{
    if (c->n_texts == c->cap_texts) {
        c->cap_texts = c->cap_texts == 0 ? 16 : c->cap_texts * 2;
        c->texts = dc_realloc(c->texts, c->cap_texts * sizeof(c->texts[0]));
    }
    c->texts[c->n_texts++] = dc_slice_dup_z(text);
}

static inline void client_forget_texts(struct client *c)
{
    for (size_t i = 0; i < c->n_texts; i++) {
        dc_free(c->texts[i]);
    }
    c->n_texts = 0;
}

static inline void client_decode(struct client *c, struct dc_slice bytes)
{
    struct dc_ws_event e;
    uint16_t code;
    for (;;) {
        switch (dc_ws_decode(&c->decoder, &bytes, SIZE_MAX / 4, &e, &code)) {
        case DC_WS_NEED_MORE:
            return;
        case DC_WS_VIOLATION:
            fail_msg("the server broke the protocol: %u", (unsigned)code);
            return;
        case DC_WS_EVENT:
            if (e.opcode == DC_WS_TEXT) {
                client_keep_text(c, e.payload);
            } else if (e.opcode == DC_WS_CLOSE) {
                c->close_code = e.close_code;
                assert_true(dc_slice_copy_z(e.payload, c->close_reason, sizeof(c->close_reason)));
            } else if (e.opcode == DC_WS_PING) {
                c->pings++;
            } else if (e.opcode == DC_WS_PONG) {
                c->pongs++;
            }
            break;
        }
    }
}

static inline void client_take(struct client *c, struct dc_slice bytes)
{
    if (!c->has_head) {
        dc_strbuf_add(&c->head, bytes);
        const char *end = memmem(c->head.ptr, c->head.len, "\r\n\r\n", 4);
        if (end == NULL) {
            return;
        }
        c->has_head = true;
        c->status =
            (c->head.ptr[9] - '0') * 100 + (c->head.ptr[10] - '0') * 10 + (c->head.ptr[11] - '0');
        size_t head_len = (size_t)(end - c->head.ptr) + 4;
        bytes = dc_slice_make(c->head.ptr + head_len, c->head.len - head_len);
        struct dc_strbuf rest = {0};
        dc_strbuf_add(&rest, bytes);
        if (c->status == 101) {
            client_decode(c, dc_strbuf_slice(&rest));
        } else if (c->is_sse) {
            dc_strbuf_add(&c->stream, dc_strbuf_slice(&rest));
        }
        dc_strbuf_free(&rest);
        return;
    }
    if (c->status == 101) {
        client_decode(c, bytes);
    } else if (c->is_sse) {
        dc_strbuf_add(&c->stream, bytes);
    } else {
        dc_strbuf_add(&c->head, bytes);
    }
}

/* At most max bytes; 0: all there is. */
static inline void client_read(struct client *c, size_t max)
{
    char buf[16384];
    size_t got = 0;
    while (c->is_open && !c->is_eof && (max == 0 || got < max)) {
        size_t want = max == 0 || max - got > sizeof(buf) ? sizeof(buf) : max - got;
        ssize_t n = recv(c->fd, buf, want, MSG_DONTWAIT);
        if (n > 0) {
            client_take(c, dc_slice_make(buf, (size_t)n));
            got += (size_t)n;
        } else if (n == 0 || errno == ECONNRESET) {
            c->is_eof = true;
        } else {
            assert_true(errno == EAGAIN || errno == EWOULDBLOCK);
            return;
        }
    }
}

static inline void pump(struct fixture *fx)
{
    dc_loop_step(fx->loop);
    for (size_t i = 0; i < fx->n_clients; i++) {
        if (!fx->clients[i].is_stalled) {
            client_read(&fx->clients[i], 0);
        }
    }
}

#define PUMP_UNTIL(fx, cond)                                                                       \
    do {                                                                                           \
        int64_t until_ms_ = dc_mono_now().ms + FX_DEADLINE_MS;                                     \
        while (!(cond)) {                                                                          \
            pump(fx);                                                                              \
            if (dc_mono_now().ms > until_ms_) {                                                    \
                fail_msg("never happened: %s", #cond);                                             \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* Everything that is on its way arrives. */
static inline void settle(struct fixture *fx)
{
    for (int i = 0; i < 20; i++) {
        pump(fx);
    }
}

static inline void client_send(struct fixture *fx, struct client *c, struct dc_slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(c->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            assert_true(errno == EAGAIN || errno == EWOULDBLOCK);
            pump(fx);
            continue;
        }
        bytes.ptr += n;
        bytes.len -= (size_t)n;
    }
}

static inline void client_send_frame(struct fixture *fx, struct client *c, bool fin,
                                     enum dc_ws_opcode opcode, struct dc_slice payload)
{
    struct dc_strbuf wire = {0};
    ws_test_frame(&wire, fin, opcode, payload);
    client_send(fx, c, dc_strbuf_slice(&wire));
    dc_strbuf_free(&wire);
}

/* rcvbuf_bytes 0: the system's default. */
static inline struct client *client_open(struct fixture *fx, int rcvbuf_bytes)
{
    assert_true(fx->n_clients < FX_MAX_CLIENTS);
    struct client *c = &fx->clients[fx->n_clients++];
    memset(c, 0, sizeof(*c));
    dc_ws_decoder_init(&c->decoder, false);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    if (rcvbuf_bytes > 0) {
        assert_int_equal(
            setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf_bytes, sizeof(rcvbuf_bytes)), 0);
    }
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(dc_server_port(fx->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(c->fd, (const struct sockaddr *)(const void *)&to, sizeof(to)), 0);
    int one = 1;
    assert_int_equal(setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    c->is_open = true;
    return c;
}

#define FX_UPGRADE                                                                                 \
    "GET /ws HTTP/1.1\r\nHost: city.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"      \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " FX_KEY "\r\n\r\n"

/* A WebSocket that has been accepted; *p is its other side. */
static inline struct client *client_connect_with(struct fixture *fx, int rcvbuf_bytes,
                                                 struct peer **p)
{
    struct client *c = client_open(fx, rcvbuf_bytes);
    size_t had = fx->n_peers;
    client_send(fx, c, DC_S(FX_UPGRADE));
    PUMP_UNTIL(fx, c->has_head && fx->n_peers > had);
    assert_int_equal(c->status, 101);
    if (p != NULL) {
        *p = fx->peers[had];
    }
    return c;
}

static inline struct client *client_connect(struct fixture *fx, struct peer **p)
{
    return client_connect_with(fx, 0, p);
}

static inline void client_close(struct client *c)
{
    if (c->is_open) {
        close(c->fd);
        c->is_open = false;
    }
    client_forget_texts(c);
    dc_free(c->texts);
    c->texts = NULL;
    c->cap_texts = 0;
    dc_strbuf_free(&c->head);
    dc_strbuf_free(&c->stream);
    memset(&c->head, 0, sizeof(c->head));
    memset(&c->stream, 0, sizeof(c->stream));
    dc_ws_decoder_free(&c->decoder);
}

/* Makes the kernel keep little for this socket, so that it is full soon. */
static inline void shrink_send_buffer(struct dc_conn *c, int bytes)
{
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
}

static inline void fx_on_stopped(void *data)
{
    struct fixture *fx = data;
    fx->is_stopped = true;
}

/* Stops everything in the order a process does; the loop must be empty at the end. */
static inline void fx_close(struct fixture *fx)
{
    for (size_t i = 0; i < fx->n_clients; i++) {
        client_close(&fx->clients[i]);
    }
    dc_ws_hub_shutdown(fx->ws_hub, fx->server);
    dc_sse_hub_shutdown(fx->sse_hub);
    dc_server_stop(fx->server, 5000, fx_on_stopped, fx);
    PUMP_UNTIL(fx, fx->is_stopped);
    dc_ws_hub_destroy(fx->ws_hub);
    dc_sse_hub_destroy(fx->sse_hub);
    dc_hub_destroy(fx->hub);
    dc_router_destroy(fx->router);
    for (size_t i = 0; i < fx->n_peers; i++) {
        assert_int_equal(fx->peers[i]->closed, 1);
        dc_strbuf_free(&fx->peers[i]->last_text);
        dc_free(fx->peers[i]);
    }
    assert_int_equal(fx->n_streams, fx->n_streams_closed);
    assert_int_equal(dc_loop_destroy(fx->loop), DC_OK);
    dc_metrics_destroy(fx->metrics);
}

/* A fixture of its own for each test, as *state. */
static inline int fx_set_up(void **state)
{
    struct fixture *fx = dc_alloc(sizeof(*fx));
    fx_open(fx);
    *state = fx;
    return 0;
}

static inline int fx_tear_down(void **state)
{
    fx_close(*state);
    dc_free(*state);
    return 0;
}

#define FX_TEST(fn) cmocka_unit_test_setup_teardown(fn, fx_set_up, fx_tear_down)

/* --- metrics --- */

static inline uint64_t counter(const struct fixture *fx, const char *name)
{
    return dc_metrics_counter(fx->metrics, name, NULL, "")->value;
}

#endif
