/* See relay.h. */
#include "relay.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct pair {
    struct dc_list link;
    struct relay *relay;
    uv_tcp_t client, server;
    uv_connect_t connect;
    unsigned n_open;
    size_t left; /* bytes until the cut */
    bool is_closing;
    char room[65536];
};

struct write {
    uv_write_t req;
    char bytes[];
};

static void on_closed(uv_handle_t *handle)
{
    struct pair *p = handle->data;

    p->relay->n_handles--;
    if (--p->n_open == 0) {
        dc_free(p);
    }
}

static void pair_close(struct pair *p)
{
    if (!p->is_closing) {
        p->is_closing = true;
        dc_list_remove(&p->link);
        uv_close((uv_handle_t *)&p->client, on_closed);
        uv_close((uv_handle_t *)&p->server, on_closed);
    }
}

static void on_written(uv_write_t *req, int status)
{
    (void)status;
    dc_free(DC_CONTAINER_OF(req, struct write, req));
}

static void carry(uv_tcp_t *to, const char *bytes, size_t n)
{
    struct write *w = dc_alloc(sizeof(*w) + n);

    memcpy(w->bytes, bytes, n);
    uv_buf_t buf = uv_buf_init(w->bytes, (unsigned)n);
    if (uv_write(&w->req, (uv_stream_t *)to, &buf, 1, on_written) != 0) {
        dc_free(w);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pair *p = handle->data;
    size_t n = handle == (uv_handle_t *)&p->server && p->relay->piece < sizeof(p->room)
                   ? p->relay->piece
                   : sizeof(p->room);

    (void)suggested;
    *buf = uv_buf_init(p->room, (unsigned)n);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct pair *p = stream->data;

    if (n < 0) {
        pair_close(p);
    } else if (stream == (uv_stream_t *)&p->client) {
        carry(&p->server, buf->base, (size_t)n);
    } else {
        size_t take = (size_t)n < p->left ? (size_t)n : p->left;
        p->relay->carried += take;
        p->left -= p->left == SIZE_MAX ? 0 : take;
        if (take > 0) {
            carry(&p->client, buf->base, take);
        }
        if (p->left == 0) {
            pair_close(p);
        }
    }
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct pair *p = DC_CONTAINER_OF(connect, struct pair, connect);

    if (status != 0) {
        pair_close(p);
    } else if (!p->is_closing) {
        assert_int_equal(uv_read_start((uv_stream_t *)&p->client, on_alloc, on_read), 0);
        assert_int_equal(uv_read_start((uv_stream_t *)&p->server, on_alloc, on_read), 0);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct relay *r = DC_CONTAINER_OF(listener, struct relay, listener);
    struct pair *p = dc_calloc(1, sizeof(*p));
    struct sockaddr_in addr;

    assert_int_equal(status, 0);
    p->relay = r;
    p->left = r->cut_after;
    assert_int_equal(uv_tcp_init(dc_loop_uv(r->loop), &p->client), 0);
    assert_int_equal(uv_tcp_init(dc_loop_uv(r->loop), &p->server), 0);
    p->client.data = p;
    p->server.data = p;
    p->n_open = 2;
    r->n_handles += 2;
    r->n_accepted++;
    dc_list_push_back(&r->pairs, &p->link);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&p->client), 0);
    if (r->greeting != NULL) {
        carry(&p->client, r->greeting, strlen(r->greeting));
        return;
    }
    assert_int_equal(uv_ip4_addr("127.0.0.1", r->target, &addr), 0);
    assert_int_equal(
        uv_tcp_connect(&p->connect, &p->server, (const struct sockaddr *)&addr, on_connected), 0);
}

struct relay *relay_create(struct dc_loop *loop, uint16_t target)
{
    struct relay *r = dc_calloc(1, sizeof(*r));
    struct sockaddr_in addr;
    int len = sizeof(addr);

    r->loop = loop;
    r->target = target;
    r->cut_after = SIZE_MAX;
    r->piece = SIZE_MAX;
    dc_list_init(&r->pairs);
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &addr), 0);
    assert_int_equal(uv_tcp_init(dc_loop_uv(loop), &r->listener), 0);
    assert_int_equal(uv_tcp_bind(&r->listener, (const struct sockaddr *)&addr, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&r->listener, 16, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&r->listener, (struct sockaddr *)&addr, &len), 0);
    r->port = ntohs(addr.sin_port);
    r->n_handles = 1;
    return r;
}

static void on_listener_closed(uv_handle_t *handle)
{
    DC_CONTAINER_OF(handle, struct relay, listener)->n_handles--;
}

void relay_destroy(struct relay *r)
{
    while (!dc_list_is_empty(&r->pairs)) {
        pair_close(DC_LIST_ENTRY(r->pairs.next, struct pair, link));
    }
    uv_close((uv_handle_t *)&r->listener, on_listener_closed);
    while (r->n_handles > 0) {
        uv_run(dc_loop_uv(r->loop), UV_RUN_ONCE);
    }
    dc_free(r);
}
