#include "http_fixture.h"
#include "net/http_client.h"
#include <stdlib.h>

/* The other side is our own server. */

/* The linker sends the client's calls here: watching a socket can be made to fail. */
int __real_uv_poll_init_socket(uv_loop_t *loop, uv_poll_t *handle, uv_os_sock_t socket);
int __wrap_uv_poll_init_socket(uv_loop_t *loop, uv_poll_t *handle, uv_os_sock_t socket);
static bool is_watching_refused;

int __wrap_uv_poll_init_socket(uv_loop_t *loop, uv_poll_t *handle, uv_os_sock_t socket)
{
    return is_watching_refused ? UV_ENOMEM : __real_uv_poll_init_socket(loop, handle, socket);
}

static void echo(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    struct dc_strbuf out = {0};
    dc_strbuf_printf(&out, "%d|%.*s|%.*s|", (int)dc_http_method(r), DC_SLICE_ARG(dc_http_query(r)),
                     DC_SLICE_ARG(dc_http_header(r, DC_S("x-test"))));
    dc_strbuf_add(&out, dc_http_body(r));
    dc_http_set_header(r, "Retry-After", DC_S("3"));
    dc_http_reply(r, 202, "text/x", dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
}

static void redirect(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_set_header(r, "Location", DC_S("/echo"));
    dc_http_reply(r, 302, NULL, DC_SLICE_NULL);
}

static void large(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    char body[5000];
    memset(body, 'x', sizeof body);
    dc_http_reply(r, 200, NULL, dc_slice_make(body, sizeof body));
}

static void large_in_pieces(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_stream_begin(r, 200, NULL);
    for (int i = 0; i < 50; i++) {
        dc_http_stream_write(r, DC_S("0123456789012345678901234567890123456789012345678901234567"));
    }
    dc_http_stream_end(r);
}

struct held {
    struct dc_http_request *r;
    bool is_gone;
};

static void on_gone(void *data)
{
    ((struct held *)data)->is_gone = true;
}

static void hold(void *ctx, struct dc_http_request *r)
{
    struct held *held = ctx;
    held->r = r;
    dc_http_on_gone(r, on_gone, held);
}

static const struct dc_route routes[] = {
    {DC_GET | DC_POST | DC_PUT | DC_DELETE, "/echo", echo},
    {DC_GET, "/redirect", redirect},
    {DC_GET, "/large", large},
    {DC_GET, "/pieces", large_in_pieces},
};
static const struct dc_route held_routes[] = {{DC_GET, "/hold", hold}};

struct result {
    size_t n;
    enum dc_status st;
    int http;
    int64_t retry_after_ms;
    struct dc_strbuf body, type;
    struct dc_http_client *close_in_callback;
    struct dc_op *cancel_in_callback;
};

static void on_answer(void *data, enum dc_status st, const struct dc_http_answer *answer,
                      const struct dc_error *err)
{
    struct result *res = data;
    res->n++;
    res->st = st;
    assert_int_equal(st == DC_OK, answer != NULL);
    assert_int_equal(st == DC_OK, err == NULL);
    dc_strbuf_clear(&res->body);
    dc_strbuf_clear(&res->type);
    if (answer != NULL) {
        res->http = answer->http_status;
        res->retry_after_ms = answer->retry_after_ms;
        dc_strbuf_add(&res->body, answer->body);
        dc_strbuf_add(&res->type, answer->content_type);
    } else {
        assert_int_equal(err->status, st);
        assert_true(strlen(dc_error_text(err)) > 0);
    }
    if (res->close_in_callback != NULL) {
        dc_http_client_close(res->close_in_callback);
    }
    dc_op_cancel(res->cancel_in_callback);
}

struct setup {
    struct fixture f;
    struct dc_http_client *client;
    struct held held;
    struct result res;
    char url[200];
};

static void setup_open(struct setup *s)
{
    struct dc_error err = {0};
    *s = (struct setup){0};
    fixture_open(&s->f);
    dc_router_add(s->f.router, "", routes, DC_ARRAY_LEN(routes), NULL);
    dc_router_add(s->f.router, "", held_routes, 1, &s->held);
    fixture_listen(&s->f, NULL);
    assert_int_equal(dc_http_client_create(s->f.loop, &s->client, &err), DC_OK);
}

static void setup_close(struct setup *s)
{
    dc_http_client_close(s->client);
    fixture_close(&s->f);
    dc_strbuf_free(&s->res.body);
    dc_strbuf_free(&s->res.type);
}

static const char *url(struct setup *s, const char *path_z)
{
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u%s", (unsigned)dc_server_port(s->f.server),
             path_z);
    return s->url;
}

static struct dc_op *start(struct setup *s, struct dc_http_call call, struct result *res)
{
    struct dc_op *op = NULL;
    struct dc_error err = {0};
    if (call.deadline_ms == 0) {
        call.deadline_ms = 15000;
    }
    enum dc_status st = dc_http_client_call(s->client, &call, on_answer, res, &op, &err);
    if (st != DC_OK) {
        fail_msg("cannot start: %s", dc_error_text(&err));
    }
    assert_non_null(op);
    assert_int_equal(res->n, 0); /* never before the call has returned */
    return op;
}

static void get(struct setup *s, const char *path_z)
{
    s->res.n = 0;
    start(s, (struct dc_http_call){.method_z = "GET", .url_z = url(s, path_z)}, &s->res);
    RUN_UNTIL(&s->f, s->res.n == 1);
}

static void calls_carry_method_headers_and_body_both_ways(void **state)
{
    (void)state;
    struct setup s;
    setup_open(&s);
    get(&s, "/echo?a=b");
    assert_int_equal(s.res.st, DC_OK);
    assert_int_equal(s.res.http, 202);
    assert_int_equal(s.res.retry_after_ms, 3000);
    assert_slice(dc_strbuf_slice(&s.res.body), "1|a=b||");
    assert_slice(dc_strbuf_slice(&s.res.type), "text/x");
    static const struct {
        const char *method_z, *body_z, *want_z;
    } rows[] = {
        {"POST", "hello", "4||y|hello"}, {"POST", "", "4||y|"}, {"PUT", "hello", "8||y|hello"},
        {"DELETE", "", "32||y|"},        {"GET", "", "1||y|"},  {"HEAD", "", ""}};
    const char *const headers[] = {"X-Test: y", "Content-Type: text/plain"};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_http_call call = {.method_z = rows[i].method_z,
                                    .url_z = url(&s, "/echo"),
                                    .headers = headers,
                                    .n_headers = 2,
                                    .body = dc_slice_z(rows[i].body_z)};
        s.res.n = 0;
        start(&s, call, &s.res);
        RUN_UNTIL(&s.f, s.res.n == 1);
        assert_int_equal(s.res.st, DC_OK);
        assert_slice(dc_strbuf_slice(&s.res.body), rows[i].want_z);
    }
    setup_close(&s);
}

static void connections_are_used_again(void **state)
{
    (void)state;
    struct setup s;
    setup_open(&s);
    for (int i = 0; i < 5; i++) {
        get(&s, "/echo");
        assert_int_equal(s.res.st, DC_OK);
    }
    struct dc_counter *accepted =
        dc_metrics_counter(s.f.metrics, "daarion_http_accepted_total", "server=\"test\"",
                           "Connections accepted, refused ones included");
    assert_int_equal(accepted->value, 1);
    setup_close(&s);
}

static void a_proxy_in_the_environment_is_not_told_anything(void **state)
{
    static const char *const names[] = {"http_proxy", "all_proxy", "ALL_PROXY"};
    struct setup s;
    (void)state;
    setup_open(&s);
    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        assert_int_equal(setenv(names[i], "http://127.0.0.1:1", 1), 0);
    }
    get(&s, "/echo");
    assert_int_equal(s.res.st, DC_OK);
    assert_int_equal(s.res.http, 202);
    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        assert_int_equal(unsetenv(names[i]), 0);
    }
    setup_close(&s);
}

static void redirects_are_not_followed_and_statuses_are_not_errors(void **state)
{
    (void)state;
    struct setup s;
    setup_open(&s);
    get(&s, "/redirect");
    assert_int_equal(s.res.st, DC_OK);
    assert_int_equal(s.res.http, 302);
    assert_int_equal(s.res.retry_after_ms, -1);
    get(&s, "/unknown");
    assert_int_equal(s.res.st, DC_OK);
    assert_int_equal(s.res.http, 404);
    setup_close(&s);
}

static void the_deadline_ends_a_call_and_the_server_notices(void **state)
{
    (void)state;
    struct setup s;
    setup_open(&s);
    struct dc_http_call call = {.method_z = "GET", .url_z = url(&s, "/hold"), .deadline_ms = 100};
    start(&s, call, &s.res);
    RUN_UNTIL(&s.f, s.res.n == 1);
    assert_int_equal(s.res.st, DC_TIMEOUT);
    if (s.held.r == NULL) { /* a very slow machine: it was over before it had begun */
        setup_close(&s);
        return;
    }
    RUN_UNTIL(&s.f, s.held.is_gone);
    dc_http_reply(s.held.r, 200, NULL, DC_SLICE_NULL);
    setup_close(&s);
}

static void cancelling_ends_a_call_once_and_later(void **state)
{
    (void)state;
    struct setup s;
    setup_open(&s);
    struct dc_op *op =
        start(&s, (struct dc_http_call){.method_z = "GET", .url_z = url(&s, "/hold")}, &s.res);
    RUN_UNTIL(&s.f, s.held.r != NULL);
    dc_op_cancel(op);
    dc_op_cancel(op);
    assert_int_equal(s.res.n, 0);
    RUN_UNTIL(&s.f, s.res.n == 1);
    assert_int_equal(s.res.st, DC_CANCELED);
    RUN_UNTIL(&s.f, s.held.is_gone);
    dc_http_reply(s.held.r, 200, NULL, DC_SLICE_NULL);
    /* Before anything has been sent. */
    s.res.n = 0;
    op = start(&s, (struct dc_http_call){.method_z = "GET", .url_z = url(&s, "/echo")}, &s.res);
    dc_op_cancel(op);
    RUN_UNTIL(&s.f, s.res.n == 1);
    assert_int_equal(s.res.st, DC_CANCELED);
    get(&s, "/echo");
    assert_int_equal(s.res.st, DC_OK);
    setup_close(&s);
}

static void answers_larger_than_allowed_are_refused(void **state)
{
    (void)state;
    struct setup s;
    setup_open(&s);
    static const char *const paths[] = {"/large", "/pieces"}; /* declared and not */
    for (size_t i = 0; i < DC_ARRAY_LEN(paths); i++) {
        struct dc_http_call call = {
            .method_z = "GET", .url_z = url(&s, paths[i]), .max_response_bytes = 1000};
        s.res.n = 0;
        start(&s, call, &s.res);
        RUN_UNTIL(&s.f, s.res.n == 1);
        assert_int_equal(s.res.st, DC_UPSTREAM);
    }
    get(&s, "/large");
    assert_int_equal(s.res.body.len, 5000);
    setup_close(&s);
}

static void what_cannot_be_reached_or_spoken_is_an_upstream_error(void **state)
{
    (void)state;
    struct setup s;
    setup_open(&s);
    static const char *const urls[] = {"ftp://127.0.0.1/x", "file:///etc/passwd", "nonsense://",
                                       "http://"};
    for (size_t i = 0; i < DC_ARRAY_LEN(urls); i++) {
        s.res.n = 0;
        start(&s, (struct dc_http_call){.method_z = "GET", .url_z = urls[i]}, &s.res);
        RUN_UNTIL(&s.f, s.res.n == 1);
        assert_int_equal(s.res.st, DC_UPSTREAM);
    }
    /* A port on which nobody listens: that of a server that has stopped. */
    struct dc_http_call call = {.method_z = "GET", .url_z = url(&s, "/echo")};
    fixture_stop(&s.f);
    s.res.n = 0;
    start(&s, call, &s.res);
    RUN_UNTIL(&s.f, s.res.n == 1);
    assert_int_equal(s.res.st, DC_UPSTREAM);
    setup_close(&s);
}

static void closing_cancels_what_runs_and_refuses_what_comes(void **state)
{
    (void)state;
    struct setup s;
    struct result second = {0};
    struct dc_error err = {0};
    setup_open(&s);
    start(&s, (struct dc_http_call){.method_z = "GET", .url_z = url(&s, "/hold")}, &s.res);
    start(&s, (struct dc_http_call){.method_z = "GET", .url_z = url(&s, "/echo")}, &second);
    RUN_UNTIL(&s.f, s.held.r != NULL);
    dc_http_client_close(s.client);
    struct dc_http_call call = {.method_z = "GET", .url_z = url(&s, "/echo"), .deadline_ms = 1000};
    struct dc_op *op = NULL;
    assert_int_equal(dc_http_client_call(s.client, &call, on_answer, &s.res, &op, &err), DC_CLOSED);
    assert_null(op);
    RUN_UNTIL(&s.f, s.res.n == 1 && second.n == 1);
    assert_int_equal(s.res.st, DC_CANCELED);
    s.client = NULL;
    RUN_UNTIL(&s.f, s.held.is_gone);
    dc_http_reply(s.held.r, 200, NULL, DC_SLICE_NULL);
    dc_strbuf_free(&second.body);
    dc_strbuf_free(&second.type);
    setup_close(&s);
}

static void more_calls_than_allowed_are_refused_until_one_has_ended(void **state)
{
    (void)state;
    struct setup s;
    struct dc_error err = {0};
    struct dc_op *ops[DC_HTTP_CLIENT_MAX_CALLS];
    struct dc_op *op = NULL;
    setup_open(&s);
    struct dc_http_call call = {.method_z = "GET", .url_z = url(&s, "/echo"), .deadline_ms = 60000};
    for (size_t i = 0; i < DC_ARRAY_LEN(ops); i++) {
        assert_int_equal(dc_http_client_call(s.client, &call, on_answer, &s.res, &ops[i], &err),
                         DC_OK);
    }
    assert_int_equal(dc_http_client_call(s.client, &call, on_answer, &s.res, &op, &err), DC_LIMIT);
    assert_null(op);
    for (size_t i = 0; i < DC_ARRAY_LEN(ops); i++) {
        dc_op_cancel(ops[i]);
    }
    RUN_UNTIL(&s.f, s.res.n == DC_HTTP_CLIENT_MAX_CALLS);
    get(&s, "/echo");
    assert_int_equal(s.res.st, DC_OK);
    setup_close(&s);
}

static void a_callback_may_close_the_client_or_cancel_another_call(void **state)
{
    (void)state;
    struct setup s;
    struct result other = {0};
    setup_open(&s);
    struct dc_op *op =
        start(&s, (struct dc_http_call){.method_z = "GET", .url_z = url(&s, "/hold")}, &other);
    RUN_UNTIL(&s.f, s.held.r != NULL);
    s.res.cancel_in_callback = op;
    get(&s, "/echo");
    s.res.cancel_in_callback = NULL;
    RUN_UNTIL(&s.f, other.n == 1);
    assert_int_equal(other.st, DC_CANCELED);
    RUN_UNTIL(&s.f, s.held.is_gone);
    dc_http_reply(s.held.r, 200, NULL, DC_SLICE_NULL);

    s.held = (struct held){0};
    other.n = 0;
    start(&s, (struct dc_http_call){.method_z = "GET", .url_z = url(&s, "/hold")}, &other);
    RUN_UNTIL(&s.f, s.held.r != NULL);
    s.res.close_in_callback = s.client;
    get(&s, "/echo");
    s.client = NULL;
    RUN_UNTIL(&s.f, other.n == 1);
    assert_int_equal(other.st, DC_CANCELED);
    RUN_UNTIL(&s.f, s.held.is_gone);
    dc_http_reply(s.held.r, 200, NULL, DC_SLICE_NULL);
    dc_strbuf_free(&other.body);
    dc_strbuf_free(&other.type);
    setup_close(&s);
}

static void a_socket_that_cannot_be_watched_ends_its_call_and_no_other(void **state)
{
    (void)state;
    struct setup s;
    struct result other = {0};
    struct dc_error err = {0};
    struct dc_http_call call = {.method_z = "GET", .deadline_ms = 10000};
    setup_open(&s);
    call.url_z = url(&s, "/hold");
    assert_int_equal(dc_http_client_call(s.client, &call, on_answer, &other, NULL, &err), DC_OK);
    RUN_UNTIL(&s.f, s.held.r != NULL);
    is_watching_refused = true;
    call.url_z = url(&s, "/echo");
    assert_int_equal(dc_http_client_call(s.client, &call, on_answer, &s.res, NULL, &err), DC_OK);
    RUN_UNTIL(&s.f, s.res.n == 1);
    is_watching_refused = false;
    assert_int_equal(s.res.st, DC_UPSTREAM);
    assert_int_equal(other.n, 0);
    dc_http_reply(s.held.r, 200, "text/plain", DC_S("late"));
    RUN_UNTIL(&s.f, other.n == 1);
    assert_int_equal(other.st, DC_OK);
    assert_slice(dc_strbuf_slice(&other.body), "late");
    assert_int_equal(dc_http_client_call(s.client, &call, on_answer, &s.res, NULL, &err), DC_OK);
    RUN_UNTIL(&s.f, s.res.n == 2);
    assert_int_equal(s.res.st, DC_OK);
    dc_strbuf_free(&other.body);
    dc_strbuf_free(&other.type);
    setup_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_carry_method_headers_and_body_both_ways),
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(a_proxy_in_the_environment_is_not_told_anything),
        cmocka_unit_test(redirects_are_not_followed_and_statuses_are_not_errors),
        cmocka_unit_test(the_deadline_ends_a_call_and_the_server_notices),
        cmocka_unit_test(cancelling_ends_a_call_once_and_later),
        cmocka_unit_test(answers_larger_than_allowed_are_refused),
        cmocka_unit_test(what_cannot_be_reached_or_spoken_is_an_upstream_error),
        cmocka_unit_test(closing_cancels_what_runs_and_refuses_what_comes),
        cmocka_unit_test(more_calls_than_allowed_are_refused_until_one_has_ended),
        cmocka_unit_test(a_callback_may_close_the_client_or_cancel_another_call),
        cmocka_unit_test(a_socket_that_cannot_be_watched_ends_its_call_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
