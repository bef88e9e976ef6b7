#include "http_fixture.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define H "Host: a\r\n"

static void ok(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_reply(r, 200, "text/plain", DC_S("ok"));
}

static void hold(void *ctx, struct dc_http_request *r)
{
    *(struct dc_http_request **)ctx = r;
}

static void break_down(void *ctx, struct dc_http_request *r)
{
    struct dc_error err = {0};
    (void)ctx;
    (void)dc_fail(&err, DC_INTERNAL, 0, "it broke");
    dc_http_reply_error(r, &err);
}

static const struct dc_route routes[] = {{DC_GET | DC_POST, "/", ok},
                                         {DC_GET, "/fail", break_down}};
static const struct dc_route held_routes[] = {{DC_GET, "/hold", hold}};

static void open_server(struct fixture *f, const struct dc_server_opts *opts,
                        struct dc_http_request **held)
{
    fixture_open(f);
    dc_router_add(f->router, "", routes, DC_ARRAY_LEN(routes), NULL);
    dc_router_add(f->router, "", held_routes, 1, held);
    fixture_listen(f, opts);
}

/* --- timeouts --- */

static void a_head_that_does_not_end_gets_408_however_slowly_it_drips(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    struct dc_server_opts opts = default_opts();
    opts.head_timeout_ms = 40;
    open_server(&f, &opts, &held);
    struct client *c = client_open(&f);
    client_send(c, DC_S("GET / HTTP/1.1\r\nX: "));
    while (c->in.len == 0) { /* bytes without end do not extend it */
        client_send(c, DC_S("a"));
        run_once(&f);
    }
    struct response got = wait_response(c);
    assert_int_equal(got.status, 408);
    assert_true(contains(got.body, "request_timeout"));
    wait_end(c);
    client_close(c);
    fixture_close(&f);
}

static void a_body_that_does_not_come_gets_408(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    struct dc_server_opts opts = default_opts();
    opts.body_timeout_ms = 20;
    open_server(&f, &opts, &held);
    struct client *c = client_open(&f);
    client_send(c, DC_S("POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nab"));
    assert_int_equal(wait_response(c).status, 408);
    wait_end(c);
    client_close(c);
    fixture_close(&f);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    struct dc_server_opts opts = default_opts();
    opts.keepalive_timeout_ms = 20;
    open_server(&f, &opts, &held);
    struct client *fresh = client_open(&f);
    struct client *used = client_open(&f);
    client_send(used, DC_S("GET / HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(wait_response(used).status, 200);
    wait_end(fresh);
    wait_end(used);
    assert_int_equal(fresh->in.len, 0);
    assert_int_equal(used->in.len, used->seen);
    client_close(fresh);
    client_close(used);
    fixture_close(&f);
}

/* An answer that no socket takes at once. */
#define LARGE_BYTES ((size_t)16 * 1024 * 1024)

static void large(void *ctx, struct dc_http_request *r)
{
    dc_http_reply_blob(r, 200, "text/plain", ctx);
}

static void open_large(struct fixture *f, const struct dc_server_opts *opts, struct dc_blob *blob)
{
    static const struct dc_route large_routes[] = {{DC_GET, "/", large}};
    fixture_open(f);
    dc_router_add(f->router, "", large_routes, DC_ARRAY_LEN(large_routes), blob);
    fixture_listen(f, opts);
}

/* Reads a part, then nothing until the loop has turned a few times, and so on; gives the bytes. */
static size_t read_slowly(struct fixture *f, int fd)
{
    static char buf[256 * 1024];
    size_t got = 0;
    for (;;) {
        unsigned until = f->ticks + 2; /* of TICK_MS */
        ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n == 0 || (n == -1 && errno == ECONNRESET)) {
            return got;
        }
        got += n > 0 ? (size_t)n : 0;
        if (got >= LARGE_BYTES && n == -1) {
            return got; /* and the connection stays */
        }
        while (f->ticks < until) {
            run_once(f);
        }
    }
}

static int connect_raw(const struct fixture *f, struct dc_slice request)
{
    struct sockaddr_in addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(uv_ip4_addr("127.0.0.1", dc_server_port(f->server), &addr), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)(const void *)&addr, sizeof addr), 0);
    assert_int_equal(send(fd, request.ptr, request.len, 0), request.len);
    return fd;
}

static void a_slow_reader_gets_its_whole_answer(void **state)
{
    static const struct {
        const char *request;
        bool is_closed;
    } rows[] = {
        {"GET / HTTP/1.1\r\n" H "\r\n", false},
        {"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", true},
    };
    (void)state;
    struct dc_blob *blob = dc_blob_create(LARGE_BYTES);
    memset(blob->data, 'x', LARGE_BYTES);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct dc_server_opts opts = default_opts();
        /* Far less than the whole answer takes; the first only begins behind it. */
        opts.keepalive_timeout_ms = 100;
        opts.stall_timeout_ms = 200;
        open_large(&f, &opts, blob);
        int fd = connect_raw(&f, dc_slice_z(rows[i].request));
        size_t got = read_slowly(&f, fd);
        if (got < LARGE_BYTES) {
            fail_msg("row %zu: %zu bytes", i, got);
        }
        /* Idle from here on, or over. */
        RUN_UNTIL(&f, recv(fd, (char[1]){0}, 1, MSG_DONTWAIT) == 0);
        close(fd);
        fixture_close(&f);
    }
    dc_blob_unref(blob);
}

static void a_reader_that_takes_nothing_is_let_go(void **state)
{
    static const char *const rows[] = {
        "GET / HTTP/1.1\r\n" H "\r\n", "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
        "GET / HTTP/1.1\r\n" H "\r\nGET / HTTP/1.1\r\n" H "\r\n", /* the second is not begun */
    };
    (void)state;
    struct dc_blob *blob = dc_blob_create(LARGE_BYTES);
    memset(blob->data, 'x', LARGE_BYTES);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct dc_server_opts opts = default_opts();
        opts.stall_timeout_ms = 20;
        open_large(&f, &opts, blob);
        int fd = connect_raw(&f, dc_slice_z(rows[i]));
        RUN_UNTIL(&f, open_connections(&f) == 1);
        RUN_UNTIL(&f, open_connections(&f) == 0);
        close(fd);
        fixture_close(&f);
    }
    dc_blob_unref(blob);
}

static void a_pending_handler_is_not_timed_by_the_server(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    struct dc_server_opts opts = default_opts();
    opts.keepalive_timeout_ms = opts.head_timeout_ms = opts.body_timeout_ms = 20;
    open_server(&f, &opts, &held);
    struct client *idle = client_open(&f);
    struct client *c = client_open(&f);
    client_send(c, DC_S("GET /ho"));
    RUN_UNTIL(&f, c->n_writing == 0);
    dc_loop_step(f.loop);
    client_send(c, DC_S("ld HTTP/1.1\r\n" H "\r\n"));
    RUN_UNTIL(&f, held != NULL);
    wait_end(idle); /* its timeout has passed meanwhile */
    struct client *later = client_open(&f);
    wait_end(later); /* and once more */
    assert_false(c->is_ended);
    dc_http_reply(held, 200, NULL, DC_S("x"));
    assert_int_equal(wait_response(c).status, 200);
    client_close(idle);
    client_close(later);
    client_close(c);
    fixture_close(&f);
}

/* --- limits of connections --- */

static void connections_past_the_limit_hear_503(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    struct dc_server_opts opts = default_opts();
    opts.max_connections = 2;
    open_server(&f, &opts, &held);
    struct client *a = client_open(&f), *b = client_open(&f), *c = client_open(&f);
    struct response got = wait_response(c);
    assert_int_equal(got.status, 503);
    assert_true(contains(got.body, "\"error\":\"unavailable\""));
    assert_true(head_value(got.head, "retry-after").len > 0);
    assert_int_equal(got.head.len + got.body.len, c->in.len);
    wait_end(c);
    client_close(c);
    client_close(b);
    RUN_UNTIL(&f, open_connections(&f) == 1);
    b = client_open(&f);
    client_send(b, DC_S("GET / HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(wait_response(b).status, 200);
    client_close(a);
    client_close(b);
    fixture_close(&f);
}

/* 127.0.0.1 is one address; as a trusted proxy it may have any number. */
static void connections_of_one_address_past_its_limit_get_429(void **state)
{
    (void)state;
    for (int is_proxy = 0; is_proxy <= 1; is_proxy++) {
        struct fixture f;
        struct dc_http_request *held = NULL;
        struct dc_server_opts opts = default_opts();
        opts.max_connections_per_address = 2;
        opts.trusted_proxies = is_proxy != 0 ? "127.0.0.0/8" : "10.0.0.0/8";
        open_server(&f, &opts, &held);
        struct client *a = client_open(&f), *b = client_open(&f), *c = client_open(&f);
        if (is_proxy != 0) {
            client_send(c, DC_S("GET / HTTP/1.1\r\n" H "\r\n"));
            assert_int_equal(wait_response(c).status, 200);
        } else {
            struct response got = wait_response(c);
            assert_int_equal(got.status, 429);
            assert_true(contains(got.body, "\"error\":\"rate_limited\""));
            assert_slice(head_value(got.head, "retry-after"), "5");
            assert_int_equal(got.head.len + got.body.len, c->in.len);
            wait_end(c);
        }
        client_close(c);
        client_close(b);
        RUN_UNTIL(&f, open_connections(&f) == 1);
        b = client_open(&f); /* the place has become free */
        client_send(b, DC_S("GET / HTTP/1.1\r\n" H "\r\n"));
        assert_int_equal(wait_response(b).status, 200);
        client_close(a);
        client_close(b);
        fixture_close(&f);
    }
}

static void running_out_of_descriptors_drops_connections_and_recovers(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    open_server(&f, NULL, &held);
    /* The client's socket first, then no descriptor is left for the server's end of it. */
    struct client *c = dc_calloc(1, sizeof *c);
    struct sockaddr_in addr;
    c->f = &f;
    assert_int_equal(uv_ip4_addr("127.0.0.1", dc_server_port(f.server), &addr), 0);
    assert_int_equal(uv_tcp_init_ex(dc_loop_uv(f.loop), &c->tcp, AF_INET), 0);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = open("/dev/null", O_RDONLY);
    assert_true(next >= 0);
    close(next);
    none = before;
    none.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(
        uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&addr, on_client_connected),
        0);
    RUN_UNTIL(&f, c->is_connected);
    wait_end(c); /* dropped, by means of the reserve */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    client_close(c);
    struct dc_counter *refused =
        dc_metrics_counter(f.metrics, "daarion_http_refused_connections_total", "server=\"test\"",
                           "Connections refused for want of room");
    assert_true(refused->value >= 1);
    c = client_open(&f);
    client_send(c, DC_S("GET / HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(wait_response(c).status, 200);
    client_close(c);
    fixture_close(&f);
}

/* --- listening --- */

static void a_wrong_address_or_a_taken_port_is_a_configuration_error(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    open_server(&f, NULL, &held);
    struct dc_server_opts opts = default_opts();
    struct dc_server *other = NULL;
    struct dc_error err = {0};
    opts.port = dc_server_port(f.server);
    assert_int_equal(dc_server_create(f.loop, &opts, f.router, NULL, f.metrics, &other, &err),
                     DC_CONFIG);
    assert_null(other);
    assert_non_null(strstr(dc_error_text(&err), "cannot listen"));
    opts.port = 0;
    opts.host = "localhost";
    assert_int_equal(dc_server_create(f.loop, &opts, f.router, NULL, f.metrics, &other, &err),
                     DC_CONFIG);
    opts.host = "192.0.2.1"; /* documentation address: not ours */
    assert_int_equal(dc_server_create(f.loop, &opts, f.router, NULL, f.metrics, &other, &err),
                     DC_CONFIG);
    fixture_close(&f);
}

static void tell_peer(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_reply(r, 200, "text/plain", dc_http_peer(r));
}

static bool has_ipv6(void)
{
    const struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)(const void *)&addr, sizeof addr) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static void ipv6_addresses_are_listened_on(void **state)
{
    static const struct {
        const char *host, *client, *peer;
    } rows[] = {{"::1", "::1", "::1"},
                {"::", "::1", "::1"},
                {"::", "127.0.0.1", "127.0.0.1"}}; /* every address serves IPv4, too */
    static const struct dc_route peer_routes[] = {{DC_GET, "/", tell_peer}};
    (void)state;
    if (!has_ipv6()) {
        print_message("this machine has no IPv6: nothing was tested\n");
        skip();
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct dc_server_opts opts = default_opts();
        opts.host = rows[i].host;
        fixture_open(&f);
        dc_router_add(f.router, "", peer_routes, DC_ARRAY_LEN(peer_routes), NULL);
        fixture_listen(&f, &opts);
        assert_true(dc_server_port(f.server) > 0);
        struct client *c = client_open_at(&f, rows[i].client);
        client_send(c, DC_S("GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n"));
        assert_slice(wait_response(c).body, rows[i].peer);
        client_close(c);
        fixture_close(&f);
    }
}

static void the_peer_is_whom_trusted_proxies_name_over_all_their_headers(void **state)
{
    static const struct {
        const char *trusted, *fields, *peer;
    } rows[] = {
        {NULL, "X-Forwarded-For: 203.0.113.1\r\n", "127.0.0.1"},
        {"127.0.0.1", "", "127.0.0.1"},
        {"127.0.0.1", "X-Forwarded-For: 203.0.113.1\r\n", "203.0.113.1"},
        {"127.0.0.1", "X-Forwarded-For: 198.51.100.9, 203.0.113.1\r\n", "203.0.113.1"},
        /* HAProxy adds a header of its own behind what the client has sent. */
        {"127.0.0.1",
         "X-Forwarded-For: 198.51.100.9\r\nHost: a\r\nx-forwarded-for: 203.0.113.1\r\n",
         "203.0.113.1"},
        {"127.0.0.1,10.0.0.0/8",
         "X-Forwarded-For: 198.51.100.9, 203.0.113.1\r\nX-Forwarded-For: 10.1.2.3\r\n",
         "203.0.113.1"},
        {"127.0.0.1", "X-Forwarded-For: 198.51.100.9\r\nX-Forwarded-For:\r\n", "127.0.0.1"},
    };
    static const struct dc_route peer_routes[] = {{DC_GET, "/", tell_peer}};
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct dc_server_opts opts = default_opts();
        char request[300];
        bool has_host = strstr(rows[i].fields, "Host") != NULL;
        int n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\n%s%s\r\n", has_host ? "" : H,
                         rows[i].fields);
        opts.trusted_proxies = rows[i].trusted;
        fixture_open(&f);
        dc_router_add(f.router, "", peer_routes, DC_ARRAY_LEN(peer_routes), NULL);
        fixture_listen(&f, &opts);
        struct client *c = client_open(&f);
        client_send(c, dc_slice_make(request, (size_t)n));
        struct response got = wait_response(c);
        if (!dc_slice_eq(got.body, dc_slice_z(rows[i].peer))) {
            fail_msg("row %zu: %.*s", i, DC_SLICE_ARG(got.body));
        }
        client_close(c);
        fixture_close(&f);
    }
}

static void two_servers_share_a_port_when_both_want_to(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_server_opts opts = default_opts();
    struct dc_server *other = NULL;
    struct dc_error err = {0};
    opts.reuse_port = true;
    struct dc_http_request *held = NULL;
    open_server(&f, &opts, &held);
    opts.port = dc_server_port(f.server);
    assert_int_equal(dc_server_create(f.loop, &opts, f.router, NULL, f.metrics, &other, &err),
                     DC_OK);
    assert_int_equal(dc_server_port(other), opts.port);
    struct fixture second = {.is_stopped = false};
    dc_server_stop(other, 1000, on_fixture_stopped, &second);
    RUN_UNTIL(&f, second.is_stopped);
    fixture_close(&f);
}

/* --- stopping --- */

static void stopping_closes_idle_connections_and_waits_for_answers(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    open_server(&f, NULL, &held);
    struct client *idle = client_open(&f), *busy = client_open(&f);
    uint16_t port = dc_server_port(f.server);
    client_send(busy, DC_S("GET /hold HTTP/1.1\r\n" H "\r\n"));
    RUN_UNTIL(&f, held != NULL);
    dc_server_stop(f.server, 10000, on_fixture_stopped, &f);
    f.server = NULL;
    wait_end(idle);
    assert_int_equal(idle->in.len, 0);
    assert_false(busy->is_ended);
    assert_false(f.is_stopped);
    /* Nobody listens any more. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr;
    assert_int_equal(uv_ip4_addr("127.0.0.1", port, &addr), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof addr), -1);
    close(fd);
    dc_http_reply(held, 200, "text/plain", DC_S("last"));
    struct response got = wait_response(busy);
    assert_int_equal(got.status, 200);
    assert_slice(head_value(got.head, "connection"), "close");
    wait_end(busy);
    client_close(busy);
    RUN_UNTIL(&f, f.is_stopped);
    client_close(idle);
    fixture_close(&f);
}

static void stopping_cuts_what_does_not_end_in_time(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    open_server(&f, NULL, &held);
    struct client *busy = client_open(&f), *slow = client_open(&f);
    client_send(busy, DC_S("GET /hold HTTP/1.1\r\n" H "\r\n"));
    client_send(slow, DC_S("GET /ho"));
    RUN_UNTIL(&f, held != NULL && slow->n_writing == 0);
    dc_server_stop(f.server, 10, on_fixture_stopped, &f);
    f.server = NULL;
    RUN_UNTIL(&f, f.is_stopped);
    wait_end(busy);
    wait_end(slow);
    assert_int_equal(busy->in.len, 0);
    /* The handler comes back to a server that is no more: allowed, and nothing is lost. */
    dc_http_reply(held, 200, "text/plain", DC_S("too late"));
    client_close(busy);
    client_close(slow);
    fixture_close(&f);
}

static void stopping_without_connections_is_immediate(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    open_server(&f, NULL, &held);
    dc_server_stop(f.server, 60000, on_fixture_stopped, &f);
    f.server = NULL;
    assert_false(f.is_stopped); /* never under the call */
    RUN_UNTIL(&f, f.is_stopped);
    fixture_close(&f);
}

/* --- what is told about it --- */

static void read_log(int fd, struct dc_strbuf *out)
{
    char buf[4096];
    ssize_t n;
    dc_strbuf_clear(out);
    while ((n = read(fd, buf, sizeof buf)) > 0) {
        dc_strbuf_add(out, dc_slice_make(buf, (size_t)n));
    }
}

static size_t count_lines(struct dc_slice text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += text.ptr[i] == '\n';
    }
    return n;
}

static void requests_are_logged_once_without_their_query_and_counted(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_http_request *held = NULL;
    int fds[2];
    struct dc_strbuf out = {0};
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    fixture_open(&f);
    f.log =
        dc_log_create(&(struct dc_log_opts){.level = DC_LOG_INFO, .is_json = true, .fd = fds[1]});
    dc_router_add(f.router, "", routes, DC_ARRAY_LEN(routes), NULL);
    dc_router_add(f.router, "", held_routes, 1, &held);
    fixture_listen(&f, NULL);

    struct client *c = client_open(&f);
    client_send(c, DC_S("GET /?token=secret HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(wait_response(c).status, 200);
    read_log(fds[0], &out);
    assert_int_equal(out.len, 0); /* access lines are for debugging */
    client_send(c, DC_S("GET /fail?token=secret HTTP/1.1\r\n" H "X-Request-Id: abc-1\r\n\r\n"));
    struct response got = wait_response(c);
    assert_int_equal(got.status, 500);
    assert_slice(head_value(got.head, "x-request-id"), "abc-1");
    read_log(fds[0], &out);
    assert_int_equal(count_lines(dc_strbuf_slice(&out)), 1);
    assert_true(contains(dc_strbuf_slice(&out), "\"http.request\""));
    assert_true(contains(dc_strbuf_slice(&out), "\"abc-1\""));
    assert_true(contains(dc_strbuf_slice(&out), "\"/fail\""));
    assert_true(contains(dc_strbuf_slice(&out), "\"level\":\"error\""));
    assert_false(contains(dc_strbuf_slice(&out), "secret"));
    client_send(c, DC_S("DELETE /nobody?token=secret HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(wait_response(c).status, 404);
    read_log(fds[0], &out);
    assert_int_equal(count_lines(dc_strbuf_slice(&out)), 1);
    static const char *const fields[] = {"\"level\":\"info\"",       "\"status\":404",
                                         "\"code\":\"not_found\"",   "\"method\":\"DELETE\"",
                                         "\"path\":\"/nobody\"",     "\"request_id\":\"0",
                                         "\"address\":\"127.0.0.1\""};
    for (size_t i = 0; i < DC_ARRAY_LEN(fields); i++) {
        assert_true(contains(dc_strbuf_slice(&out), fields[i]));
    }
    assert_false(contains(dc_strbuf_slice(&out), "secret"));
    client_send(c, DC_S("GET /?token=secret HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"));
    assert_int_equal(wait_response(c).status, 400);
    read_log(fds[0], &out);
    assert_int_equal(count_lines(dc_strbuf_slice(&out)), 1);
    assert_true(contains(dc_strbuf_slice(&out), "Host"));
    assert_false(contains(dc_strbuf_slice(&out), "secret"));
    wait_end(c);
    client_close(c);
    RUN_UNTIL(&f, open_connections(&f) == 0);

    struct dc_strbuf page = {0};
    dc_metrics_render(f.metrics, &page);
    struct dc_slice text = dc_strbuf_slice(&page);
    assert_true(contains(text, "daarion_http_requests_total{server=\"test\",code=\"2xx\"} 1\n"));
    assert_true(contains(text, "daarion_http_requests_total{server=\"test\",code=\"4xx\"} 2\n"));
    assert_true(contains(text, "daarion_http_requests_total{server=\"test\",code=\"5xx\"} 1\n"));
    assert_true(contains(text, "daarion_http_accepted_total{server=\"test\"} 1\n"));
    assert_true(contains(text, "daarion_http_connections{server=\"test\"} 0\n"));
    assert_true(contains(text, "daarion_http_in_flight{server=\"test\"} 0\n"));
    assert_true(contains(text, "daarion_http_request_seconds_count{server=\"test\"} 3\n"));
    dc_strbuf_free(&page);
    dc_strbuf_free(&out);
    fixture_close(&f);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_that_does_not_end_gets_408_however_slowly_it_drips),
        cmocka_unit_test(a_body_that_does_not_come_gets_408),
        cmocka_unit_test(an_idle_connection_is_closed_without_a_word),
        cmocka_unit_test(a_slow_reader_gets_its_whole_answer),
        cmocka_unit_test(a_reader_that_takes_nothing_is_let_go),
        cmocka_unit_test(a_pending_handler_is_not_timed_by_the_server),
        cmocka_unit_test(connections_past_the_limit_hear_503),
        cmocka_unit_test(connections_of_one_address_past_its_limit_get_429),
        cmocka_unit_test(running_out_of_descriptors_drops_connections_and_recovers),
        cmocka_unit_test(a_wrong_address_or_a_taken_port_is_a_configuration_error),
        cmocka_unit_test(ipv6_addresses_are_listened_on),
        cmocka_unit_test(the_peer_is_whom_trusted_proxies_name_over_all_their_headers),
        cmocka_unit_test(two_servers_share_a_port_when_both_want_to),
        cmocka_unit_test(stopping_closes_idle_connections_and_waits_for_answers),
        cmocka_unit_test(stopping_cuts_what_does_not_end_in_time),
        cmocka_unit_test(stopping_without_connections_is_immediate),
        cmocka_unit_test(requests_are_logged_once_without_their_query_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
