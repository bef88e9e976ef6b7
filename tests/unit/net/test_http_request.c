#include "http_fixture.h"
#include "net/http_priv.h"

/* --- handlers --- */

/* What the server understood, in one line. */
static void echo(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    struct dc_strbuf out = {0};
    dc_strbuf_printf(&out, "%d|%.*s|%.*s|%.*s|", (int)dc_http_method(r),
                     DC_SLICE_ARG(dc_http_path(r)), DC_SLICE_ARG(dc_http_query(r)),
                     DC_SLICE_ARG(dc_http_header(r, DC_S("x-test"))));
    dc_strbuf_add(&out, dc_http_body(r));
    dc_http_reply(r, 200, "text/plain", dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
}

static void param(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_reply(r, 200, "text/plain", dc_http_param(r, 0));
}

static void peer(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_reply(r, 200, "text/plain", dc_http_peer(r));
}

/* Keeps requests until the test answers them. */
struct shelf {
    struct dc_http_request *held[8];
    size_t n, n_gone;
};

static void on_gone(void *data)
{
    ((struct shelf *)data)->n_gone++;
}

static void hold(void *ctx, struct dc_http_request *r)
{
    struct shelf *shelf = ctx;
    assert_true(shelf->n < DC_ARRAY_LEN(shelf->held));
    dc_http_on_gone(r, on_gone, shelf);
    shelf->held[shelf->n++] = r;
}

/* What an upgraded connection has heard. */
struct mode {
    struct dc_strbuf got;
    bool is_closed;
};

static void mode_data(struct dc_conn *c, struct dc_slice bytes)
{
    dc_strbuf_add(&((struct mode *)c->state)->got, bytes);
    dc_conn_send_bytes(c, bytes, NULL, 0);
}

static void mode_close(struct dc_conn *c)
{
    ((struct mode *)c->state)->is_closed = true;
}

static const struct dc_conn_class echo_class = {
    .mode = DC_CONN_WS, .on_data = mode_data, .on_close = mode_close};
#define UPGRADED "HTTP/1.1 101 Switching Protocols\r\n\r\n"

static void upgrade_now(void *ctx, struct dc_http_request *r)
{
    assert_non_null(dc_http_detach(r, DC_S(UPGRADED), &echo_class, ctx));
}

static const struct dc_route routes[] = {
    {DC_GET | DC_POST | DC_PUT | DC_DELETE | DC_PATCH, "/echo", echo},
    {DC_GET, "/", echo},
    {DC_GET, "/rooms/{room}", param},
    {DC_GET, "/rest/{path...}", param},
    {DC_GET, "/peer", peer},
};
/* A route of its own handler, for which the bodies of some may be larger. */
static void measure(void *ctx, struct dc_http_request *r)
{
    struct dc_strbuf out = {0};
    (void)ctx;
    dc_strbuf_add_u64(&out, dc_http_body(r).len);
    dc_http_reply(r, 200, "text/plain", dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
}

static size_t limit_of_friends(void *ctx, const struct dc_http_request *r)
{
    (void)ctx;
    return dc_slice_eq(dc_http_header(r, DC_S("x-test")), DC_S("friend")) ? 100000 : 0;
}

static const struct dc_route large_routes[] = {{DC_PUT, "/large/{id}", measure}};
static const struct dc_route held_routes[] = {{DC_GET | DC_POST, "/hold", hold}};

static const struct dc_route upgrade_routes[] = {{DC_GET, "/now", upgrade_now}};

/* Of each test: a server with all of these routes. */
struct rig {
    struct fixture f;
    struct shelf shelf;
    struct mode mode;
};

static int set_up(void **state)
{
    struct rig *rig = dc_calloc(1, sizeof *rig);
    fixture_open(&rig->f);
    dc_router_add(rig->f.router, "", routes, DC_ARRAY_LEN(routes), NULL);
    dc_router_add(rig->f.router, "", large_routes, DC_ARRAY_LEN(large_routes), NULL);
    dc_router_set_body_limit(rig->f.router, measure, limit_of_friends);
    dc_router_add(rig->f.router, "", held_routes, DC_ARRAY_LEN(held_routes), &rig->shelf);
    dc_router_add(rig->f.router, "", upgrade_routes, DC_ARRAY_LEN(upgrade_routes), &rig->mode);
    fixture_listen(&rig->f, NULL);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    fixture_close(&rig->f);
    dc_strbuf_free(&rig->mode.got);
    dc_free(rig);
    return 0;
}

/* A client that has sent these bytes, of which one request has come to lie on the shelf. */
static struct client *open_held(struct rig *rig, struct dc_slice bytes)
{
    struct client *c = client_open(&rig->f);
    size_t had = rig->shelf.n;
    client_send(c, bytes);
    RUN_UNTIL(&rig->f, rig->shelf.n == had + 1);
    return c;
}

/* --- rows: bytes in, status out, is the connection usable afterwards --- */

struct row {
    const char *name;
    struct dc_slice bytes;
    int status;
    bool is_usable;
    const char *in_body; /* part of the answer's body; NULL: not looked at */
};
#define H "Host: a\r\n"
#define ROW(name, text, status, usable, in_body)                                                   \
    {                                                                                              \
        (name), {"" text, sizeof(text) - 1}, (status), (usable), (in_body)                         \
    }

static const struct row rows[] = {
    ROW("get", "GET /echo?a=b HTTP/1.1\r\n" H "\r\n", 200, true, "1|/echo|a=b||"),
    ROW("length body", "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", 200, true,
        "4|/echo|||hello"),
    ROW("chunked body",
        "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
        "5;x=\"y\"\r\nhello\r\n06\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
        200, true, "4|/echo|||hello world"),
    ROW("get with a body", "GET /echo HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi", 200, true,
        "|hi"),
    ROW("header blanks", "GET /echo HTTP/1.1\r\n" H "X-Test: \t a b \t\r\n\r\n", 200, true,
        "|a b|"),
    ROW("empty header", "GET /echo HTTP/1.1\r\n" H "X-Test:\r\n\r\n", 200, true, "|||"),
    ROW("empty lines first", "\r\n\r\nGET /echo HTTP/1.1\r\n" H "\r\n", 200, true, NULL),
    ROW("absolute target", "GET http://b:80/echo?q HTTP/1.1\r\n" H "\r\n", 200, true, "|q|"),
    ROW("absolute target without path", "GET http://b HTTP/1.1\r\n" H "\r\n", 200, true, "1|/|"),
    ROW("options star", "OPTIONS * HTTP/1.1\r\n" H "\r\n", 204, true, NULL),
    ROW("dots", "GET /x/../%2e%2e/./echo HTTP/1.1\r\n" H "\r\n", 200, true, "|/echo|"),
    ROW("dots above the root", "GET /../../echo HTTP/1.1\r\n" H "\r\n", 200, true, "|/echo|"),
    ROW("parameter", "GET /rooms/a%20b HTTP/1.1\r\n" H "\r\n", 404, true, "not_found"),
    ROW("utf-8 parameter", "GET /rooms/%D0%BA HTTP/1.1\r\n" H "\r\n", 200, true, "\xd0\xba"),
    ROW("slash in parameter", "GET /rooms/a%2fb HTTP/1.1\r\n" H "\r\n", 404, true, NULL),
    ROW("hidden dots", "GET /rooms/..%2f..%2fecho HTTP/1.1\r\n" H "\r\n", 404, true, NULL),
    ROW("rest", "GET /rest/a/%62/c HTTP/1.1\r\n" H "\r\n", 200, true, "a/b/c"),
    ROW("too deep", "GET /a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a HTTP/1.1\r\n" H "\r\n", 404, true,
        NULL),
    ROW("unknown path", "GET /nothing?token=secret HTTP/1.1\r\n" H "\r\n", 404, true, "not_found"),
    ROW("wrong method", "DELETE /rooms/a HTTP/1.1\r\n" H "\r\n", 405, true, "method_not_allowed"),
    ROW("peer", "GET /peer HTTP/1.1\r\n" H "\r\n", 200, true, "127.0.0.1"),
    ROW("1.0", "GET /echo HTTP/1.0\r\n\r\n", 200, false, NULL),
    ROW("1.0 keep-alive", "GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 200, true, NULL),
    ROW("close", "GET /echo HTTP/1.1\r\n" H "Connection: x, close\r\n\r\n", 200, false, NULL),
    ROW("same header twice", "GET /echo HTTP/1.1\r\n" H "X-Test: 1\r\nX-Test: 2\r\n\r\n", 200, true,
        "|1|"),

    ROW("garbage", "\x16\x03\x01\x02", 400, false, "bad_request"),
    ROW("http/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, false, NULL),
    ROW("http/1.2", "GET / HTTP/1.2\r\n" H "\r\n", 400, false, NULL),
    ROW("http/2.0", "GET / HTTP/2.0\r\n" H "\r\n", 400, false, NULL),
    ROW("http/0.9", "GET /\r\n\r\n", 400, false, NULL),
    ROW("no host", "GET / HTTP/1.1\r\n\r\n", 400, false, "Host"),
    ROW("two hosts", "GET / HTTP/1.1\r\n" H H "\r\n", 400, false, NULL),
    ROW("host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, false, NULL),
    ROW("host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, false, NULL),
    ROW("unknown method", "FROB / HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("lower-case method", "get / HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("trace", "TRACE / HTTP/1.1\r\n" H "\r\n", 501, false, "unsupported"),
    ROW("connect", "CONNECT a:1 HTTP/1.1\r\n" H "\r\n", 501, false, NULL),
    ROW("two blanks", "GET  / HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("blank at the end", "GET / HTTP/1.1 \r\n" H "\r\n", 400, false, NULL),
    ROW("star", "GET * HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("fragment", "GET /#a HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("raw utf-8", "GET /\xd0\xba HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("bad escape", "GET /%zz HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("short escape", "GET /%a HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("escaped nul", "GET /a%00b HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("escaped bad utf-8", "GET /%c3%28 HTTP/1.1\r\n" H "\r\n", 400, false, NULL),
    ROW("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", 400, false, NULL),
    ROW("bare line feed", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, false, NULL),
    ROW("bare cr", "GET / HTTP/1.1\r\n" H "X: a\rY: b\r\n\r\n", 400, false, NULL),
    ROW("bare cr at the end", "GET / HTTP/1.1\r\n" H "\rX\r\n\r\n", 400, false, NULL),
    ROW("nul in a value", "GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n", 400, false, NULL),
    ROW("nul in a name", "GET / HTTP/1.1\r\n" H "X\0Y: a\r\n\r\n", 400, false, NULL),
    ROW("delete in a value", "GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n", 400, false, NULL),
    ROW("folded", "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 400, false, NULL),
    ROW("folded empty", "GET / HTTP/1.1\r\n" H "X:\r\n b\r\n\r\n", 400, false, NULL),
    ROW("folded first", "GET / HTTP/1.1\r\n X: a\r\n" H "\r\n", 400, false, NULL),
    ROW("blank before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, false, NULL),
    ROW("no colon", "GET / HTTP/1.1\r\n" H "X\r\n\r\n", 400, false, NULL),
    ROW("no name", "GET / HTTP/1.1\r\n" H ": x\r\n\r\n", 400, false, NULL),
    ROW("length and coding",
        "POST /echo HTTP/1.1\r\n" H
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400, false, NULL),
    ROW("coding and length",
        "POST /echo HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400, false, NULL),
    ROW("two lengths",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400,
        false, NULL),
    ROW("list of lengths", "POST /echo HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\nhello", 400,
        false, NULL),
    ROW("signed length", "POST /echo HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\nhello", 400, false,
        NULL),
    ROW("negative length", "POST /echo HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\nhello", 400,
        false, NULL),
    ROW("hex length", "POST /echo HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\nhello", 400, false,
        NULL),
    ROW("empty length", "POST /echo HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400, false, NULL),
    ROW("endless length",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999\r\n\r\n", 400, false,
        NULL),
    ROW("gzip coding", "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", 400, false,
        NULL),
    ROW("two codings", "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 400,
        false, NULL),
    ROW("coding twice",
        "POST /echo HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        400, false, NULL),
    ROW("odd coding", "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 400, false,
        NULL),
    ROW("coding in 1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
        false, NULL),
#define CHUNKED "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
    ROW("chunk size of letters", CHUNKED "xyz\r\n", 400, false, NULL),
    ROW("no chunk size", CHUNKED "\r\n", 400, false, NULL),
    ROW("signed chunk size", CHUNKED "-1\r\n", 400, false, NULL),
    ROW("chunk size with 0x", CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 400, false, NULL),
    ROW("blank behind chunk size", CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400, false, NULL),
    ROW("chunk size that overflows", CHUNKED "10000000000000005\r\nhello", 400, false, NULL),
    ROW("chunk without CRLF", CHUNKED "5\r\nhelloXX0\r\n\r\n", 400, false, NULL),
    ROW("chunk size with bare LF", CHUNKED "5\nhello\r\n0\r\n\r\n", 400, false, NULL),
    ROW("chunk extension with LF", CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", 400, false, NULL),
    ROW("folded trailer", CHUNKED "0\r\nX: a\r\n b\r\n\r\n", 400, false, NULL),
    ROW("huge chunk", CHUNKED "fffffff\r\n", 413, false, "payload_too_large"),
    ROW("declared too large", "POST /echo HTTP/1.1\r\n" H "Content-Length: 65537\r\n\r\n", 413,
        false, "payload_too_large"),
    ROW("strange expectation",
        "POST /echo HTTP/1.1\r\n" H "Expect: 200-ok\r\nContent-Length: 1\r\n\r\na", 417, false,
        "expectation_failed"),
};

static void check_row(struct fixture *f, const struct row *row, size_t cut, bool by_bytes)
{
    struct client *c = client_open(f);
    if (by_bytes) {
        for (size_t i = 0; i < row->bytes.len; i++) {
            client_send(c, dc_slice_make(row->bytes.ptr + i, 1));
            run_once(f);
        }
    } else {
        client_send(c, dc_slice_make(row->bytes.ptr, cut));
        if (cut < row->bytes.len) {
            /* Until the server has read the first part. */
            RUN_UNTIL(f, c->n_writing == 0);
            dc_loop_step(f->loop);
            client_send(c, dc_slice_make(row->bytes.ptr + cut, row->bytes.len - cut));
        }
    }
    struct response got = wait_response(c);
    if (got.status != row->status || (row->in_body != NULL && !contains(got.body, row->in_body))) {
        fail_msg("row \"%s\", cut at %zu: status %d, want %d; body %.*s", row->name, cut,
                 got.status, row->status, DC_SLICE_ARG(got.body));
    }
    assert_true(head_value(got.head, "x-request-id").len == 26);
    assert_true(head_value(got.head, "date").len == 29);
    struct dc_slice connection = head_value(got.head, "connection");
    if (row->is_usable) {
        assert_false(dc_slice_eq(connection, DC_S("close")));
        client_send(c, DC_S("GET /echo HTTP/1.1\r\n" H "X-Test: again\r\n\r\n"));
        got = wait_response(c);
        assert_int_equal(got.status, 200);
        assert_slice(got.body, "1|/echo||again|");
    } else {
        assert_slice(connection, "close");
        wait_end(c);
    }
    assert_int_equal(c->seen, c->in.len);
    client_close(c);
}

static void every_row_gets_its_answer_and_leaves_the_connection_as_told(void **state)
{
    struct fixture *f = &((struct rig *)*state)->f;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        check_row(f, &rows[i], rows[i].bytes.len, false);
    }
}

static void every_row_gets_the_same_answer_byte_by_byte(void **state)
{
    struct fixture *f = &((struct rig *)*state)->f;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        check_row(f, &rows[i], 0, true);
    }
}

static void some_rows_get_the_same_answer_in_any_two_parts(void **state)
{
    struct fixture *f = &((struct rig *)*state)->f;
    static const size_t chosen[] = {0, 1, 2, 4, 5, 6};
    for (size_t i = 0; i < DC_ARRAY_LEN(chosen); i++) {
        const struct row *row = &rows[chosen[i]];
        for (size_t cut = 1; cut < row->bytes.len; cut++) {
            check_row(f, row, cut, false);
        }
    }
}

/* --- sizes --- */

static void send_padded(struct client *c, const char *before_z, size_t n, const char *after_z)
{
    struct dc_strbuf out = {0};
    dc_strbuf_add_z(&out, before_z);
    for (size_t i = 0; i < n; i++) {
        dc_strbuf_add_char(&out, 'a');
    }
    dc_strbuf_add_z(&out, after_z);
    client_send(c, dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
}

static void check_padded(struct fixture *f, const char *before_z, size_t n, const char *after_z,
                         int status)
{
    struct client *c = client_open(f);
    send_padded(c, before_z, n, after_z);
    struct response got = wait_response(c);
    assert_int_equal(got.status, status);
    client_close(c);
}

static void heads_targets_and_bodies_at_their_limits(void **state)
{
    struct fixture *f = &((struct rig *)*state)->f;
    const char *before = "GET /echo HTTP/1.1\r\n" H "X: ";
    size_t rest = strlen(before) + 4;
    check_padded(f, before, 16 * 1024 - rest, "\r\n\r\n", 200);
    check_padded(f, before, 16 * 1024 - rest + 1, "\r\n\r\n", 431);
    check_padded(f, before, 200000, "\r\n\r\n", 431);
    check_padded(f, "GET /echo?", 8192 - 6, " HTTP/1.1\r\n" H "\r\n", 200);
    check_padded(f, "GET /echo?", 8192 - 5, " HTTP/1.1\r\n" H "\r\n", 431);
    check_padded(f, "POST /echo HTTP/1.1\r\n" H "Content-Length: 65536\r\n\r\n", 65536, "", 200);
    check_padded(f, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n10000\r\n",
                 65536, "\r\n0\r\n\r\n", 200);
    check_padded(f, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n10000\r\n",
                 65536, "\r\n1\r\na\r\n0\r\n\r\n", 413);
    check_padded(f, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1;", 9000,
                 "\r\na\r\n0\r\n\r\n", 400);
}

static void the_hundred_and_first_header_is_refused(void **state)
{
    struct fixture *f = &((struct rig *)*state)->f;
    for (int n = 99; n <= 100; n++) {
        struct client *c = client_open(f);
        struct dc_strbuf out = {0};
        dc_strbuf_add_z(&out, "GET /echo HTTP/1.1\r\n" H);
        for (int i = 0; i < n; i++) {
            dc_strbuf_add_z(&out, "X: y\r\n");
        }
        dc_strbuf_add_z(&out, "\r\n");
        client_send(c, dc_strbuf_slice(&out));
        assert_int_equal(wait_response(c).status, n == 99 ? 200 : 431);
        dc_strbuf_free(&out);
        client_close(c);
    }
}

/* --- pipelining --- */

static void pipelined_requests_are_answered_in_order_also_many(void **state)
{
    struct fixture *f = &((struct rig *)*state)->f;
    static const size_t counts[] = {50, 1000}; /* the second takes several turns */
    for (size_t k = 0; k < DC_ARRAY_LEN(counts); k++) {
        struct client *c = client_open(f);
        struct dc_strbuf out = {0};
        for (size_t i = 0; i < counts[k]; i++) {
            dc_strbuf_printf(&out, "GET /echo?%zu HTTP/1.1\r\n" H "\r\n", i);
        }
        client_send(c, dc_strbuf_slice(&out));
        for (size_t i = 0; i < counts[k]; i++) {
            char want[64];
            struct response got = wait_response(c);
            snprintf(want, sizeof want, "1|/echo|%zu||", i);
            assert_slice(got.body, want);
        }
        dc_strbuf_free(&out);
        client_close(c);
    }
}

static void a_request_behind_a_pending_one_waits_for_it(void **state)
{
    struct rig *rig = *state;
    struct fixture *f = &rig->f;
    struct shelf *shelf = &rig->shelf;
    struct client *c = open_held(
        rig, DC_S("GET /hold HTTP/1.1\r\n" H "\r\nGET /echo?2 HTTP/1.1\r\n" H "\r\nGET /ho"));
    client_send(c, DC_S("ld HTTP/1.1\r\n" H "\r\n"));
    RUN_UNTIL(f, c->n_writing == 0);
    dc_loop_step(f->loop);
    assert_int_equal(shelf->n, 1);
    assert_int_equal(c->in.len, 0);
    dc_http_reply(shelf->held[0], 200, "text/plain", DC_S("one"));
    assert_slice(wait_response(c).body, "one");
    assert_slice(wait_response(c).body, "1|/echo|2||");
    RUN_UNTIL(f, shelf->n == 2);
    dc_http_reply(shelf->held[1], 200, "text/plain", DC_S("three"));
    assert_slice(wait_response(c).body, "three");
    client_close(c);
    assert_int_equal(shelf->n_gone, 0);
}

static void bytes_behind_a_pending_request_are_bounded(void **state)
{
    struct rig *rig = *state;
    struct fixture *f = &rig->f;
    struct shelf *shelf = &rig->shelf;
    struct client *c = open_held(rig, DC_S("GET /hold HTTP/1.1\r\n" H "\r\n"));
    struct dc_strbuf out = {0};
    const size_t n = 400000; /* of 34 bytes: more than socket buffers and the bound take */
    for (size_t i = 0; i < n; i++) {
        dc_strbuf_add_z(&out, "GET /echo HTTP/1.1\r\n" H "\r\n\r\n\r\n");
    }
    client_send(c, dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
    struct dc_counter *in = dc_metrics_counter(f->metrics, "daarion_http_received_bytes",
                                               "server=\"test\"", "Bytes read from sockets");
    uint64_t before;
    do { /* until the server reads no more */
        before = in->value;
        for (int i = 0; i < 50; i++) {
            dc_loop_step(f->loop);
        }
    } while (in->value != before);
    assert_in_range(in->value, 80 * 1024, 3 * 64 * 1024 + 80 * 1024);
    assert_int_equal(c->n_writing, 1);
    dc_http_reply(shelf->held[0], 200, "text/plain", DC_S("one"));
    assert_slice(wait_response(c).body, "one");
    for (size_t i = 0; i < n; i++) {
        struct response got = wait_response(c);
        assert_int_equal(got.status, 200);
        if (c->seen > 1024 * 1024) { /* do not keep it all */
            memmove(c->in.ptr, c->in.ptr + c->seen, c->in.len - c->seen);
            c->in.len -= c->seen;
            c->seen = 0;
        }
    }
    client_close(c);
}

/* --- expectations --- */

static void a_body_is_asked_for_by_100_continue(void **state)
{
    struct fixture *f = &((struct rig *)*state)->f;
    struct client *c = client_open(f);
    client_send(
        c, DC_S("POST /echo HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n"));
    struct response got = wait_response(c);
    assert_int_equal(got.status, 100);
    assert_slice(got.head, "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(c, DC_S("ok"));
    got = wait_response(c);
    assert_int_equal(got.status, 200);
    assert_slice(got.body, "4|/echo|||ok");
    /* Not for a body that is too large anyway. */
    client_send(c, DC_S("POST /echo HTTP/1.1\r\n" H
                        "Expect: 100-continue\r\nContent-Length: 99999\r\n\r\n"));
    assert_int_equal(wait_response(c).status, 413);
    wait_end(c);
    client_close(c);
}

static void some_bodies_may_be_larger_than_others(void **state)
{
    static const struct {
        const char *head;
        size_t bytes;
        bool is_chunked;
        int status;
    } cases[] = {
        {"PUT /large/1 HTTP/1.1\r\n" H "X-Test: friend\r\n", 100000, false, 200},
        {"PUT /large/1 HTTP/1.1\r\n" H "X-Test: friend\r\n", 100000, true, 200},
        {"PUT /large/1 HTTP/1.1\r\n" H "X-Test: friend\r\n", 100001, false, 413},
        {"PUT /large/1 HTTP/1.1\r\n" H "X-Test: friend\r\n", 100001, true, 413},
        {"PUT /large/1 HTTP/1.1\r\n" H "X-Test: stranger\r\n", 65537, false, 413},
        {"PUT /large/1 HTTP/1.1\r\n" H "X-Test: stranger\r\n", 65537, true, 413},
        {"PUT /large/1 HTTP/1.1\r\n" H "X-Test: stranger\r\n", 65536, true, 200},
        {"PUT /echo HTTP/1.1\r\n" H "X-Test: friend\r\n", 65537, false, 413},
        {"PUT /nowhere HTTP/1.1\r\n" H "X-Test: friend\r\n", 65537, false, 413},
    };
    struct fixture *f = &((struct rig *)*state)->f;
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        struct client *c = client_open(f);
        struct dc_strbuf bytes = {0};
        dc_strbuf_add_z(&bytes, cases[i].head);
        if (cases[i].is_chunked) {
            dc_strbuf_printf(&bytes, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", cases[i].bytes);
        } else {
            dc_strbuf_printf(&bytes, "Content-Length: %zu\r\n\r\n", cases[i].bytes);
        }
        /* What is refused is refused before it comes. */
        for (size_t n = 0; cases[i].status == 200 && n < cases[i].bytes; n++) {
            dc_strbuf_add_char(&bytes, 'x');
        }
        if (cases[i].status == 200 && cases[i].is_chunked) {
            dc_strbuf_add(&bytes, DC_S("\r\n0\r\n\r\n"));
        }
        client_send(c, dc_strbuf_slice(&bytes));
        struct response got = wait_response(c);
        if (got.status != cases[i].status) {
            fail_msg("case %zu: %d", i, got.status);
        }
        if (got.status == 200) {
            /* The next request of the connection has the ordinary limit again. */
            client_send(c, DC_S("PUT /large/1 HTTP/1.1\r\n" H "Content-Length: 65537\r\n\r\n"));
            assert_int_equal(wait_response(c).status, 413);
        }
        wait_end(c);
        client_close(c);
        dc_strbuf_free(&bytes);
    }
}

/* --- clients that go, servers that stop --- */

static void a_client_that_goes_is_reported_once_and_its_answer_dropped(void **state)
{
    struct rig *rig = *state;
    struct fixture *f = &rig->f;
    struct shelf *shelf = &rig->shelf;
    struct client *c =
        open_held(rig, DC_S("GET /hold HTTP/1.1\r\n" H "\r\nGET /hold HTTP/1.1\r\n" H "\r\n"));
    client_close(c);
    RUN_UNTIL(f, shelf->n_gone == 1);
    RUN_UNTIL(f, open_connections(f) == 0);
    assert_true(dc_http_peer(shelf->held[0]).len == 0);
    dc_http_set_header(shelf->held[0], "X-A", DC_S("b"));
    dc_http_reply(shelf->held[0], 200, "text/plain", DC_S("too late"));
    dc_loop_step(f->loop);
    assert_int_equal(shelf->n_gone, 1);
    assert_int_equal(shelf->n, 1); /* the one behind it was never begun */
}

static struct dc_http_request *answered_in_gone;
static void answer_when_gone(void *data)
{
    (void)data;
    dc_http_reply(answered_in_gone, 200, NULL, DC_SLICE_NULL);
    answered_in_gone = NULL;
}

static void answering_from_the_gone_callback_is_allowed(void **state)
{
    struct rig *rig = *state;
    struct fixture *f = &rig->f;
    struct shelf *shelf = &rig->shelf;
    struct client *c = open_held(rig, DC_S("GET /hold HTTP/1.1\r\n" H "\r\n"));
    answered_in_gone = shelf->held[0];
    dc_http_on_gone(shelf->held[0], answer_when_gone, NULL);
    client_close(c);
    RUN_UNTIL(f, answered_in_gone == NULL);
}

static void pieces_can_be_written_later_and_to_the_dead(void **state)
{
    struct rig *rig = *state;
    struct fixture *f = &rig->f;
    struct shelf *shelf = &rig->shelf;
    struct client *c = open_held(rig, DC_S("GET /hold HTTP/1.1\r\n" H "\r\n"));
    dc_http_stream_begin(shelf->held[0], 200, "text/plain");
    dc_http_stream_write(shelf->held[0], DC_S("hello"));
    dc_http_stream_write(shelf->held[0], DC_SLICE_NULL);
    dc_http_stream_write(shelf->held[0], DC_S(" you"));
    dc_http_stream_end(shelf->held[0]);
    assert_slice(wait_response(c).body, "5\r\nhello\r\n4\r\n you\r\n0\r\n\r\n");
    client_send(c, DC_S("GET /hold HTTP/1.1\r\n" H "\r\n"));
    RUN_UNTIL(f, shelf->n == 2);
    dc_http_stream_begin(shelf->held[1], 200, "text/plain");
    client_close(c);
    RUN_UNTIL(f, shelf->n_gone == 1);
    dc_http_stream_write(shelf->held[1], DC_S("hello"));
    dc_http_stream_end(shelf->held[1]);
}

/* --- upgrades --- */

static void an_upgraded_connection_gets_the_bytes_behind_its_request(void **state)
{
    struct rig *rig = *state;
    struct fixture *f = &rig->f;
    struct shelf *shelf = &rig->shelf;
    struct client *c = client_open(f);
    client_send(c, DC_S("GET /echo HTTP/1.1\r\n" H "\r\nGET /now HTTP/1.1\r\n" H "\r\nframes"));
    assert_int_equal(wait_response(c).status, 200);
    assert_int_equal(wait_response(c).status, 101);
    RUN_UNTIL(f, c->in.len - c->seen == 6);
    assert_slice(dc_strbuf_slice(&rig->mode.got), "frames");
    client_close(c);
    RUN_UNTIL(f, rig->mode.is_closed);

    /* The same, decided later: bytes of before and after the decision keep their order. */
    dc_strbuf_clear(&rig->mode.got);
    rig->mode.is_closed = false;
    c = open_held(rig, DC_S("GET /hold HTTP/1.1\r\n" H "\r\nfirst"));
    assert_non_null(dc_http_detach(shelf->held[0], DC_S(UPGRADED), &echo_class, &rig->mode));
    assert_int_equal(rig->mode.got.len, 0); /* never under the call */
    client_send(c, DC_S(" second"));
    RUN_UNTIL(f, rig->mode.got.len == 12);
    assert_slice(dc_strbuf_slice(&rig->mode.got), "first second");
    assert_int_equal(wait_response(c).status, 101);
    client_close(c);
    RUN_UNTIL(f, rig->mode.is_closed);

    /* And for a client that has gone. */
    c = open_held(rig, DC_S("GET /hold HTTP/1.1\r\n" H "\r\n"));
    client_close(c);
    RUN_UNTIL(f, shelf->n_gone == 1);
    assert_null(dc_http_detach(shelf->held[1], DC_S(UPGRADED), &echo_class, &rig->mode));
}

static void an_upgraded_connection_may_close_before_it_got_its_bytes(void **state)
{
    struct rig *rig = *state;
    struct fixture *f = &rig->f;
    struct shelf *shelf = &rig->shelf;
    struct client *c = open_held(rig, DC_S("GET /hold HTTP/1.1\r\n" H "\r\nfirst"));
    struct dc_conn *conn = dc_http_detach(shelf->held[0], DC_S(UPGRADED), &echo_class, &rig->mode);
    assert_non_null(conn);
    dc_conn_close(conn);
    RUN_UNTIL(f, rig->mode.is_closed);
    assert_int_equal(rig->mode.got.len, 0);
    client_close(c);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_row_gets_its_answer_and_leaves_the_connection_as_told),
        TEST(every_row_gets_the_same_answer_byte_by_byte),
        TEST(some_rows_get_the_same_answer_in_any_two_parts),
        TEST(heads_targets_and_bodies_at_their_limits),
        TEST(the_hundred_and_first_header_is_refused),
        TEST(pipelined_requests_are_answered_in_order_also_many),
        TEST(a_request_behind_a_pending_one_waits_for_it),
        TEST(bytes_behind_a_pending_request_are_bounded),
        TEST(a_body_is_asked_for_by_100_continue),
        TEST(some_bodies_may_be_larger_than_others),
        TEST(a_client_that_goes_is_reported_once_and_its_answer_dropped),
        TEST(answering_from_the_gone_callback_is_allowed),
        TEST(pieces_can_be_written_later_and_to_the_dead),
        TEST(an_upgraded_connection_gets_the_bytes_behind_its_request),
        TEST(an_upgraded_connection_may_close_before_it_got_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
