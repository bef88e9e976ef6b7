/* A server on a free loopback port and raw TCP clients, all on one loop.  Nothing waits for time to
 * pass: the loop runs until something has happened; a guard timer turns a hang into a failure. */
#ifndef DC_TESTS_NET_HTTP_FIXTURE_H
#define DC_TESTS_NET_HTTP_FIXTURE_H

#include "base/mem.h"
#include "base/strbuf.h"
#include "net/http.h"
#include "net/router.h"
#include "rt/timer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TICK_MS     10
#define GUARD_TICKS 2000

struct fixture {
    struct dc_loop *loop;
    struct dc_router *router;
    struct dc_server *server;
    struct dc_log *log;
    struct dc_metrics *metrics;
    struct dc_timer guard;
    unsigned ticks;
    bool is_stopped;
};

struct client {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct fixture *f;
    struct dc_strbuf in;
    size_t seen; /* bytes of in that next_response has given out */
    size_t n_writing;
    bool is_connected, is_ended, is_closed;
    char buffer[16 * 1024];
};

struct response {
    int status;
    struct dc_slice head; /* with the empty line */
    struct dc_slice body;
};

static inline void on_guard(struct dc_timer *t)
{
    struct fixture *f = DC_CONTAINER_OF(t, struct fixture, guard);
    if (++f->ticks > GUARD_TICKS) {
        fprintf(stderr, "the awaited event never came\n");
        abort();
    }
}

static inline struct dc_server_opts default_opts(void)
{
    return (struct dc_server_opts){
        .name = "test",
        .host = "127.0.0.1",
        .max_connections = 100,
        .max_head_bytes = 16 * 1024,
        .max_body_bytes = 64 * 1024,
        .max_output_bytes = 1024 * 1024,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 10000,
        .keepalive_timeout_ms = 10000,
    };
}

/* Routes are to be added to f->router before fixture_listen. */
static inline void fixture_open(struct fixture *f)
{
    struct dc_error err = {0};
    *f = (struct fixture){0};
    assert_int_equal(dc_loop_create(&f->loop, &err), DC_OK);
    f->metrics = dc_metrics_create();
    f->router = dc_router_create();
    dc_timer_init(f->loop, &f->guard, on_guard);
    /* It also ends a poll that would block after the awaited event, a timer, has passed. */
    dc_timer_start(&f->guard, TICK_MS, TICK_MS);
}

static inline void fixture_listen(struct fixture *f, const struct dc_server_opts *opts)
{
    struct dc_error err = {0};
    struct dc_server_opts defaults = default_opts();
    enum dc_status st = dc_server_create(f->loop, opts == NULL ? &defaults : opts, f->router,
                                         f->log, f->metrics, &f->server, &err);
    if (st != DC_OK) {
        fail_msg("cannot listen: %s", dc_error_text(&err));
    }
}

static inline void run_once(struct fixture *f)
{
    uv_run(dc_loop_uv(f->loop), UV_RUN_ONCE);
}

#define RUN_UNTIL(f, cond)                                                                         \
    do {                                                                                           \
        while (!(cond)) {                                                                          \
            run_once(f);                                                                           \
        }                                                                                          \
    } while (0)

/* Connections that the server has, as its page of metrics tells. */
static inline int64_t open_connections(const struct fixture *f)
{
    return dc_metrics_gauge(f->metrics, "daarion_http_connections", "server=\"test\"", "")->value;
}

static inline void on_fixture_stopped(void *data)
{
    ((struct fixture *)data)->is_stopped = true;
}

static inline void fixture_stop(struct fixture *f)
{
    if (f->server != NULL) {
        dc_server_stop(f->server, 5000, on_fixture_stopped, f);
        f->server = NULL;
        RUN_UNTIL(f, f->is_stopped);
    }
}

/* The loop must be empty. */
static inline void fixture_close(struct fixture *f)
{
    fixture_stop(f);
    dc_timer_close(&f->guard, NULL);
    assert_int_equal(dc_loop_destroy(f->loop), DC_OK);
    dc_router_destroy(f->router);
    dc_metrics_destroy(f->metrics);
    dc_log_destroy(f->log);
}

/* --- clients --- */

static inline void on_client_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *c = DC_CONTAINER_OF(handle, struct client, tcp);
    (void)suggested;
    *buf = uv_buf_init(c->buffer, sizeof c->buffer);
}

static inline void on_client_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = DC_CONTAINER_OF(stream, struct client, tcp);
    if (n > 0) {
        dc_strbuf_add(&c->in, dc_slice_make(buf->base, (size_t)n));
    } else if (n < 0) {
        c->is_ended = true;
        uv_read_stop(stream);
    }
}

static inline void on_client_connected(uv_connect_t *req, int status)
{
    struct client *c = DC_CONTAINER_OF(req, struct client, connect);
    assert_int_equal(status, 0);
    c->is_connected = true;
    uv_read_start((uv_stream_t *)&c->tcp, on_client_alloc, on_client_read);
}

/* host_z: an IPv4 or IPv6 address that reaches the server. */
static inline struct client *client_open_at(struct fixture *f, const char *host_z)
{
    struct client *c = dc_calloc(1, sizeof *c);
    struct sockaddr_storage addr;
    uint16_t port = dc_server_port(f->server);
    c->f = f;
    assert_true(uv_ip4_addr(host_z, port, (struct sockaddr_in *)&addr) == 0 ||
                uv_ip6_addr(host_z, port, (struct sockaddr_in6 *)&addr) == 0);
    assert_int_equal(uv_tcp_init(dc_loop_uv(f->loop), &c->tcp), 0);
    assert_int_equal(
        uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&addr, on_client_connected),
        0);
    RUN_UNTIL(f, c->is_connected);
    uv_tcp_nodelay(&c->tcp, 1);
    return c;
}

static inline struct client *client_open(struct fixture *f)
{
    return client_open_at(f, "127.0.0.1");
}

struct client_write {
    uv_write_t req;
    struct client *c;
    char *bytes;
};

static inline void on_client_written(uv_write_t *req, int status)
{
    struct client_write *w = DC_CONTAINER_OF(req, struct client_write, req);
    (void)status; /* the server may have closed: that is what tests look at */
    w->c->n_writing--;
    dc_free(w->bytes);
    dc_free(w);
}

static inline void client_send(struct client *c, struct dc_slice bytes)
{
    if (bytes.len == 0) {
        return;
    }
    struct client_write *w = dc_calloc(1, sizeof *w);
    w->c = c;
    w->bytes = dc_alloc(bytes.len);
    memcpy(w->bytes, bytes.ptr, bytes.len);
    uv_buf_t buf = uv_buf_init(w->bytes, (unsigned)bytes.len);
    c->n_writing++;
    assert_int_equal(uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_client_written), 0);
}

static inline void on_client_closed(uv_handle_t *handle)
{
    DC_CONTAINER_OF(handle, struct client, tcp)->is_closed = true;
}

static inline void client_close(struct client *c)
{
    struct fixture *f = c->f;
    uv_close((uv_handle_t *)&c->tcp, on_client_closed);
    RUN_UNTIL(f, c->is_closed && c->n_writing == 0);
    dc_strbuf_free(&c->in);
    dc_free(c);
}

/* Value of a header in a head, any case; NULL slice if missing. */
static inline struct dc_slice head_value(struct dc_slice head, const char *name_z)
{
    struct dc_slice name = dc_slice_z(name_z), line;
    while (dc_slice_take_token(&head, '\n', &line)) {
        if (line.len > name.len && line.ptr[name.len] == ':' &&
            dc_slice_ieq(dc_slice_make(line.ptr, name.len), name)) {
            line = dc_slice_make(line.ptr + name.len + 1, line.len - name.len - 1);
            if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
                line.len--;
            }
            return dc_slice_trim(line);
        }
    }
    return DC_SLICE_NULL;
}

/* A whole answer behind c->seen, by its Content-Length; chunked ones must have ended and are given
 * undecoded; false: not there yet. */
static inline bool take_response(struct client *c, bool has_body, struct response *out)
{
    if (c->in.len == c->seen) {
        return false;
    }
    const char *start = c->in.ptr + c->seen;
    size_t len = c->in.len - c->seen;
    const char *end = memmem(start, len, "\r\n\r\n", 4);
    if (end == NULL) {
        return false;
    }
    *out = (struct response){0};
    out->head = dc_slice_make(start, (size_t)(end - start) + 4);
    assert_true(out->head.len > 12 && memcmp(start, "HTTP/1.1 ", 9) == 0);
    uint64_t status = 0;
    assert_true(dc_slice_to_u64(dc_slice_make(start + 9, 3), &status));
    out->status = (int)status;
    struct dc_slice length = head_value(out->head, "content-length");
    uint64_t n = 0;
    if (!has_body || out->status == 204 || out->status == 304 || out->status < 200) {
        n = 0;
    } else if (length.ptr != NULL) {
        assert_true(dc_slice_to_u64(length, &n));
    } else {
        const char *last = memmem(end, len - (size_t)(end - start), "\r\n0\r\n\r\n", 7);
        if (last == NULL) {
            return false;
        }
        n = (uint64_t)(last + 7 - (end + 4));
    }
    if (n > len - out->head.len) {
        return false;
    }
    out->body = dc_slice_make(end + 4, (size_t)n);
    c->seen += out->head.len + (size_t)n;
    return true;
}

/* Slices are valid until more arrives. */
static inline struct response wait_response(struct client *c)
{
    struct response out;
    while (!take_response(c, true, &out)) {
        if (c->is_ended) {
            fail_msg("the connection ended before an answer; got: %.*s", (int)(c->in.len - c->seen),
                     c->in.ptr + c->seen);
        }
        run_once(c->f);
    }
    return out;
}

static inline void wait_end(struct client *c)
{
    RUN_UNTIL(c->f, c->is_ended);
}

static inline void assert_slice(struct dc_slice got, const char *want_z)
{
    if (!dc_slice_eq(got, dc_slice_z(want_z))) {
        fail_msg("got \"%.*s\", want \"%s\"", DC_SLICE_ARG(got), want_z);
    }
}

static inline bool contains(struct dc_slice s, const char *text_z)
{
    return s.ptr != NULL && memmem(s.ptr, s.len, text_z, strlen(text_z)) != NULL;
}

#endif
