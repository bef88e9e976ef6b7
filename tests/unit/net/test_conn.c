#include "http_fixture.h"
#include "net/http_priv.h"

/* Connections are tested in a mode of their own, entered by an upgrade. */
struct mode {
    struct dc_conn *conn; /* NULL after on_close */
    size_t n_bytes, n_drained, n_timeouts;
};

static void mode_data(struct dc_conn *c, struct dc_slice bytes)
{
    ((struct mode *)c->state)->n_bytes += bytes.len;
}

static void mode_drain(struct dc_conn *c)
{
    ((struct mode *)c->state)->n_drained++;
}

static void mode_timeout(struct dc_conn *c)
{
    ((struct mode *)c->state)->n_timeouts++;
}

static void mode_close(struct dc_conn *c)
{
    assert_ptr_equal(((struct mode *)c->state)->conn, c); /* once */
    ((struct mode *)c->state)->conn = NULL;
}

static const struct dc_conn_class mode_class = {
    .mode = DC_CONN_WS,
    .on_data = mode_data,
    .on_drain = mode_drain,
    .on_timeout = mode_timeout,
    .on_close = mode_close,
};

static void upgrade(void *ctx, struct dc_http_request *r)
{
    struct mode *mode = ctx;
    mode->conn =
        dc_http_detach(r, DC_S("HTTP/1.1 101 Switching Protocols\r\n\r\n"), &mode_class, mode);
    assert_non_null(mode->conn);
}

static const struct dc_route routes[] = {{DC_GET, "/up", upgrade}};

struct pair {
    struct fixture f;
    struct mode mode;
    struct client *c;
};

static void pair_open(struct pair *p, size_t max_output_bytes)
{
    struct dc_server_opts opts = default_opts();
    *p = (struct pair){0};
    opts.max_output_bytes = max_output_bytes;
    fixture_open(&p->f);
    dc_router_add(p->f.router, "", routes, 1, &p->mode);
    fixture_listen(&p->f, &opts);
    p->c = client_open(&p->f);
    client_send(p->c, DC_S("GET /up HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_int_equal(wait_response(p->c).status, 101);
}

static void pair_close(struct pair *p)
{
    client_close(p->c);
    RUN_UNTIL(&p->f, p->mode.conn == NULL);
    fixture_close(&p->f);
}

static struct dc_blob *blob_of(size_t len, size_t seed)
{
    struct dc_blob *b = dc_blob_create(len);
    for (size_t i = 0; i < len; i++) {
        b->data[i] = (char)('a' + (i + seed) % 26);
    }
    return b;
}

static void a_connection_stays_small(void **state)
{
    (void)state;
    assert_in_range(sizeof(struct dc_conn), 1, 352);
}

static void many_blobs_arrive_in_order_and_are_let_go(void **state)
{
    (void)state;
    struct pair p;
    struct dc_blob *blobs[200];
    struct dc_strbuf want = {0};
    pair_open(&p, 64 * 1024 * 1024);
    for (size_t i = 0; i < DC_ARRAY_LEN(blobs); i++) {
        blobs[i] = blob_of(i % 7 == 0 ? 0 : i * 97, i);
    }
    /* More than the socket takes at once: the rest is queued by reference. */
    for (int round = 0; round < 10; round++) {
        dc_conn_send(p.mode.conn, blobs, DC_ARRAY_LEN(blobs));
        dc_conn_send_bytes(p.mode.conn, DC_S("<between>"), blobs, 3);
        for (size_t i = 0; i < DC_ARRAY_LEN(blobs); i++) {
            dc_strbuf_add(&want, dc_blob_slice(blobs[i]));
        }
        dc_strbuf_add_z(&want, "<between>");
        for (size_t i = 0; i < 3; i++) {
            dc_strbuf_add(&want, dc_blob_slice(blobs[i]));
        }
    }
    assert_false(dc_conn_is_writable(p.mode.conn));
    assert_in_range(dc_conn_queued_bytes(p.mode.conn), 1, want.len);
    RUN_UNTIL(&p.f, p.c->in.len - p.c->seen == want.len);
    assert_memory_equal(p.c->in.ptr + p.c->seen, want.ptr, want.len);
    RUN_UNTIL(&p.f, p.mode.n_drained > 0);
    assert_true(dc_conn_is_writable(p.mode.conn));
    assert_int_equal(dc_conn_queued_bytes(p.mode.conn), 0);
    pair_close(&p);
    for (size_t i = 0; i < DC_ARRAY_LEN(blobs); i++) {
        assert_int_equal(blobs[i]->refs, 1);
        dc_blob_unref(blobs[i]);
    }
    dc_strbuf_free(&want);
}

static void too_much_output_closes_the_connection_later(void **state)
{
    (void)state;
    struct pair p;
    struct dc_blob *blob = blob_of(256 * 1024, 0);
    pair_open(&p, 1024 * 1024);
    uv_read_stop((uv_stream_t *)&p.c->tcp);
    size_t n = 0;
    while (!p.mode.conn->is_closing) {
        dc_conn_send(p.mode.conn, &blob, 1);
        n++;
        assert_true(n < 1000);
        assert_non_null(p.mode.conn); /* on_close never runs under the call */
    }
    assert_true(n > 4);
    assert_in_range(blob->refs, 1, 1 + 6); /* the limit and one send */
    dc_conn_send(p.mode.conn, &blob, 1);   /* nothing happens any more */
    dc_conn_close(p.mode.conn);
    RUN_UNTIL(&p.f, p.mode.conn == NULL);
    assert_int_equal(blob->refs, 1);
    assert_int_equal(p.mode.n_drained, 0);
    dc_blob_unref(blob);
    pair_close(&p);
}

static void closing_flushed_delivers_everything_and_then_ends(void **state)
{
    (void)state;
    struct pair p;
    struct dc_blob *blob = blob_of(6 * 1024 * 1024, 0);
    pair_open(&p, 64 * 1024 * 1024);
    /* Unread bytes of the peer must not turn the end into a reset. */
    client_send(p.c, dc_slice_make(blob->data, 1024 * 1024));
    dc_conn_pause(p.mode.conn, true);
    dc_conn_send(p.mode.conn, &blob, 1);
    dc_conn_close_flushed(p.mode.conn);
    dc_conn_close_flushed(p.mode.conn);
    assert_false(dc_conn_is_writable(p.mode.conn));
    dc_conn_send_bytes(p.mode.conn, DC_S("not any more"), NULL, 0);
    wait_end(p.c);
    assert_int_equal(p.c->in.len - p.c->seen, blob->len);
    assert_memory_equal(p.c->in.ptr + p.c->seen, blob->data, blob->len);
    assert_int_equal(p.mode.n_bytes, 0); /* thrown away */
    dc_blob_unref(blob);
    pair_close(&p);
}

static void a_peer_that_never_ends_is_cut_after_the_linger_time(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 1024);
    dc_conn_close_flushed(p.mode.conn);
    wait_end(p.c); /* it reads our end but keeps its own side open */
    RUN_UNTIL(&p.f, p.mode.conn == NULL);
    pair_close(&p);
}

static void a_paused_connection_reads_nothing(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 1024);
    dc_conn_pause(p.mode.conn, true);
    dc_conn_pause(p.mode.conn, true);
    client_send(p.c, DC_S("hello"));
    RUN_UNTIL(&p.f, p.c->n_writing == 0);
    for (int i = 0; i < 20; i++) {
        dc_loop_step(p.f.loop);
    }
    assert_int_equal(p.mode.n_bytes, 0);
    dc_conn_pause(p.mode.conn, false);
    RUN_UNTIL(&p.f, p.mode.n_bytes == 5);
    pair_close(&p);
}

static void the_timeout_of_a_connection_calls_its_mode(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 1024);
    struct dc_timeouts *ts = dc_timeouts_create(p.f.loop, 10, dc_conn_timeout_fired, NULL);
    dc_timeout_touch(ts, &p.mode.conn->timeout);
    RUN_UNTIL(&p.f, p.mode.n_timeouts == 1);
    dc_timeout_touch(ts, &p.mode.conn->timeout);
    dc_conn_close(p.mode.conn); /* takes it out */
    dc_timeouts_close(ts);
    RUN_UNTIL(&p.f, p.mode.conn == NULL);
    assert_int_equal(p.mode.n_timeouts, 1);
    pair_close(&p);
}

static void the_peer_has_a_name(void **state)
{
    (void)state;
    struct pair p;
    char text[64];
    pair_open(&p, 1024);
    size_t n = dc_conn_peer(p.mode.conn, text, sizeof text);
    assert_slice(dc_slice_make(text, n), "127.0.0.1");
    assert_int_equal(dc_conn_peer(p.mode.conn, text, 0), 0);
    assert_int_equal(dc_conn_peer(p.mode.conn, text, 3), 0);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_stays_small),
        cmocka_unit_test(many_blobs_arrive_in_order_and_are_let_go),
        cmocka_unit_test(too_much_output_closes_the_connection_later),
        cmocka_unit_test(closing_flushed_delivers_everything_and_then_ends),
        cmocka_unit_test(a_peer_that_never_ends_is_cut_after_the_linger_time),
        cmocka_unit_test(a_paused_connection_reads_nothing),
        cmocka_unit_test(the_timeout_of_a_connection_calls_its_mode),
        cmocka_unit_test(the_peer_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
