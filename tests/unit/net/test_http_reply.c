#include "http_fixture.h"

#define H "Host: a\r\n"

static void ask_error(void *ctx, struct dc_http_request *r)
{
    struct dc_error err = {0};
    (void)ctx;
    struct dc_slice which = dc_http_param(r, 0);
    if (dc_slice_eq(which, DC_S("limit"))) {
        dc_http_set_header(r, "Retry-After", DC_S("7"));
        (void)dc_fail(&err, DC_LIMIT, 0, "slow down");
    } else if (dc_slice_eq(which, DC_S("code"))) {
        (void)dc_fail_code(&err, DC_CONFLICT, "slug_taken", "\"%s\" is taken", "plaza");
    } else if (dc_slice_eq(which, DC_S("cut"))) {
        err.status = DC_INVALID; /* a text that was cut within a character */
        memcpy(err.text, "caf\xc3", 5);
    } else if (dc_slice_eq(which, DC_S("canceled"))) {
        err.status = DC_CANCELED;
    } else {
        err.status = DC_UNAVAILABLE;
    }
    dc_http_reply_error(r, &err);
}

static void ask_problems(void *ctx, struct dc_http_request *r)
{
    struct dc_problems problems = {0};
    (void)ctx;
    dc_problem_add(&problems, "body", "too_long", "at most %d", 5);
    dc_problem_add(&problems, "name", "missing", "is \"needed\"");
    dc_http_reply_problems(r, &problems);
}

static void ask_blob(void *ctx, struct dc_http_request *r)
{
    dc_http_reply_blob(r, 200, "application/octet-stream", ctx);
}

static void ask_json(void *ctx, struct dc_http_request *r)
{
    struct dc_strbuf body = {0};
    (void)ctx;
    dc_http_set_header(r, "X-One", DC_S("1"));
    dc_http_set_header(r, "X-Two", DC_S("2"));
    dc_strbuf_add_z(&body, "{}");
    dc_http_reply_json(r, 201, &body);
}

static void ask_failed_json(void *ctx, struct dc_http_request *r)
{
    struct dc_strbuf body = {0};
    (void)ctx;
    dc_strbuf_add_z(&body, "{");
    body.failed = true;
    dc_http_reply_json(r, 200, &body);
}

static void ask_nothing(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_reply(r, 204, NULL, DC_SLICE_NULL);
}

static void ask_stream(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_stream_begin(r, 200, "text/plain");
    dc_http_stream_write(r, DC_S("one "));
    dc_http_stream_write(r, DC_S("two"));
    dc_http_stream_end(r);
}

static void ask_odd(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_reply(r, 299, "text/plain", DC_S("odd"));
}

static const struct dc_route routes[] = {
    {DC_GET, "/error/{which}", ask_error},
    {DC_GET, "/problems", ask_problems},
    {DC_GET | DC_POST, "/json", ask_json},
    {DC_GET, "/failed", ask_failed_json},
    {DC_DELETE, "/nothing", ask_nothing},
    {DC_GET, "/stream", ask_stream},
    {DC_GET, "/odd", ask_odd},
};
static const struct dc_route blob_routes[] = {{DC_GET, "/blob", ask_blob}};

static void open_server(struct fixture *f, struct dc_blob *blob, const char *origins)
{
    struct dc_server_opts opts = default_opts();
    opts.cors_origins = origins;
    fixture_open(f);
    dc_router_add(f->router, "", routes, DC_ARRAY_LEN(routes), NULL);
    dc_router_add(f->router, "", blob_routes, 1, blob);
    fixture_listen(f, &opts);
}

static struct response ask(struct client *c, const char *text_z)
{
    client_send(c, dc_slice_z(text_z));
    return wait_response(c);
}

static void errors_have_one_shape(void **state)
{
    (void)state;
    struct fixture f;
    open_server(&f, NULL, NULL);
    struct client *c = client_open(&f);
    struct response got = ask(c, "GET /error/limit HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 429);
    assert_slice(got.body, "{\"error\":\"rate_limited\",\"detail\":\"slow down\","
                           "\"message\":\"slow down\"}");
    assert_slice(head_value(got.head, "retry-after"), "7");
    assert_slice(head_value(got.head, "content-type"), "application/json");
    got = ask(c, "GET /error/code HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 409);
    assert_slice(got.body, "{\"error\":\"slug_taken\",\"detail\":\"\\\"plaza\\\" is taken\","
                           "\"message\":\"\\\"plaza\\\" is taken\"}");
    assert_true(head_value(got.head, "retry-after").ptr == NULL);
    got = ask(c, "GET /error/cut HTTP/1.1\r\n" H "\r\n");
    assert_slice(got.body, "{\"error\":\"invalid_input\",\"detail\":\"caf\",\"message\":\"caf\"}");
    got = ask(c, "GET /error/canceled HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 503);
    got = ask(c, "GET /error/other HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 503);
    assert_slice(head_value(got.head, "retry-after"), "1");
    got = ask(c, "GET /problems HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 422);
    assert_slice(got.body,
                 "{\"error\":\"invalid_input\",\"detail\":\"body: at most 5\","
                 "\"message\":\"body: at most 5\",\"errors\":["
                 "{\"field\":\"body\",\"code\":\"too_long\",\"detail\":\"at most 5\"},"
                 "{\"field\":\"name\",\"code\":\"missing\",\"detail\":\"is \\\"needed\\\"\"}]}");
    got = ask(c, "GET /failed HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 503);
    assert_true(contains(got.body, "out_of_memory"));
    got = ask(c, "POST /stream HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 405);
    assert_slice(head_value(got.head, "allow"), "GET, HEAD, OPTIONS");
    client_close(c);
    fixture_close(&f);
}

static void answers_carry_their_headers_and_a_request_id(void **state)
{
    (void)state;
    struct fixture f;
    open_server(&f, NULL, NULL);
    struct client *c = client_open(&f);
    struct response got = ask(c, "GET /json HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 201);
    assert_slice(got.body, "{}");
    assert_slice(head_value(got.head, "x-one"), "1");
    assert_slice(head_value(got.head, "x-two"), "2");
    assert_slice(head_value(got.head, "content-length"), "2");
    assert_true(head_value(got.head, "vary").ptr == NULL);
    assert_true(contains(head_value(got.head, "date"), " GMT"));
    got = ask(c, "GET /json HTTP/1.1\r\n" H "X-Request-Id: Abc.1:2_3-4\r\n\r\n");
    assert_slice(head_value(got.head, "x-request-id"), "Abc.1:2_3-4");
    got = ask(c, "GET /json HTTP/1.1\r\n" H "X-Request-Id: a b\r\n\r\n");
    assert_int_equal(head_value(got.head, "x-request-id").len, 26);
    got = ask(c, "GET /json HTTP/1.1\r\n" H "X-Request-Id: "
                 "0123456789012345678901234567890123456789012345678901234567890123x\r\n\r\n");
    assert_int_equal(head_value(got.head, "x-request-id").len, 26);
    got = ask(c, "GET /odd HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 299);
    got = ask(c, "DELETE /nothing HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 204);
    assert_true(head_value(got.head, "content-length").ptr == NULL);
    client_close(c);
    fixture_close(&f);
}

static void head_gets_the_length_without_the_body(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_blob *blob = dc_blob_create(100000);
    memset(blob->data, 'b', blob->len);
    open_server(&f, blob, NULL);
    struct client *c = client_open(&f);
    static const struct {
        const char *request, *length;
    } rows[] = {
        {"HEAD /json HTTP/1.1\r\n" H "\r\n", "2"},
        {"HEAD /blob HTTP/1.1\r\n" H "\r\n", "100000"},
        {"HEAD /stream HTTP/1.1\r\n" H "\r\n", NULL},
        {"HEAD /unknown HTTP/1.1\r\n" H "\r\n", "64"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct response got;
        client_send(c, dc_slice_z(rows[i].request));
        while (!take_response(c, false, &got)) {
            run_once(&f);
        }
        struct dc_slice length = head_value(got.head, "content-length");
        if (rows[i].length == NULL) {
            assert_slice(head_value(got.head, "transfer-encoding"), "chunked");
        } else {
            assert_slice(length, rows[i].length);
        }
    }
    /* Nothing but heads has come. */
    struct response got = ask(c, "GET /json HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 201);
    assert_int_equal(c->in.len, c->seen);
    client_close(c);
    fixture_close(&f);
    assert_int_equal(blob->refs, 1);
    dc_blob_unref(blob);
}

static void shared_bodies_of_any_size_arrive_whole_and_are_let_go(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, 4097, 3 * 1024 * 1024};
    for (size_t i = 0; i < DC_ARRAY_LEN(sizes); i++) {
        struct fixture f;
        struct dc_blob *blob = dc_blob_create(sizes[i]);
        for (size_t k = 0; k < blob->len; k++) {
            blob->data[k] = (char)('a' + k % 23);
        }
        open_server(&f, blob, NULL);
        struct client *c = client_open(&f);
        client_send(c, DC_S("GET /blob HTTP/1.1\r\n" H "\r\nGET /blob HTTP/1.1\r\n" H "\r\n"));
        for (int n = 0; n < 2; n++) {
            struct response got = wait_response(c);
            assert_int_equal(got.status, 200);
            assert_true(dc_slice_eq(got.body, dc_blob_slice(blob)));
        }
        client_close(c);
        fixture_close(&f);
        assert_int_equal(blob->refs, 1);
        dc_blob_unref(blob);
    }
}

static void a_client_that_does_not_read_holds_up_nobody_but_itself(void **state)
{
    (void)state;
    struct fixture f;
    struct dc_blob *blob = dc_blob_create(1024 * 1024);
    memset(blob->data, 'x', blob->len);
    open_server(&f, blob, NULL);
    struct client *lazy = client_open(&f);
    uv_read_stop((uv_stream_t *)&lazy->tcp);
    struct dc_strbuf many = {0};
    const int n = 40; /* 40 MiB: far beyond what sockets buffer */
    for (int i = 0; i < n; i++) {
        dc_strbuf_add_z(&many, "GET /blob HTTP/1.1\r\n" H "\r\n");
    }
    client_send(lazy, dc_strbuf_slice(&many));
    RUN_UNTIL(&f, lazy->n_writing == 0);
    struct client *c = client_open(&f);
    assert_int_equal(ask(c, "GET /json HTTP/1.1\r\n" H "\r\n").status, 201);
    /* At most what is being sent is held: the other requests have not been begun. */
    assert_in_range(blob->refs, 1, 4);
    uv_read_start((uv_stream_t *)&lazy->tcp, on_client_alloc, on_client_read);
    for (int i = 0; i < n; i++) {
        struct response got = wait_response(lazy);
        assert_int_equal(got.body.len, blob->len);
        memmove(lazy->in.ptr, lazy->in.ptr + lazy->seen, lazy->in.len - lazy->seen);
        lazy->in.len -= lazy->seen;
        lazy->seen = 0;
    }
    client_close(lazy);
    client_close(c);
    dc_strbuf_free(&many);
    fixture_close(&f);
    dc_blob_unref(blob);
}

static void streams_are_chunked_and_end_the_connection_for_1_0(void **state)
{
    (void)state;
    struct fixture f;
    open_server(&f, NULL, NULL);
    struct client *c = client_open(&f);
    struct response got = ask(c, "GET /stream HTTP/1.1\r\n" H "\r\n");
    assert_slice(head_value(got.head, "transfer-encoding"), "chunked");
    assert_slice(got.body, "4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n");
    assert_int_equal(ask(c, "GET /json HTTP/1.1\r\n" H "\r\n").status, 201);
    client_close(c);
    c = client_open(&f);
    client_send(c, DC_S("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    wait_end(c);
    assert_true(contains(dc_strbuf_slice(&c->in), "Connection: close\r\n"));
    assert_true(dc_slice_ends(dc_strbuf_slice(&c->in), DC_S("\r\n\r\none two")));
    client_close(c);
    fixture_close(&f);
}

/* --- CORS --- */

#define ORIGIN_A "Origin: https://a.example\r\n"
#define ORIGIN_X "Origin: https://x.example\r\n"

static void listed_origins_are_let_in_everywhere_also_on_errors(void **state)
{
    (void)state;
    struct fixture f;
    open_server(&f, NULL, "https://b.example, https://a.example");
    struct client *c = client_open(&f);
    static const char *const requests[] = {
        "GET /json HTTP/1.1\r\n" H ORIGIN_A "\r\n",
        "GET /unknown HTTP/1.1\r\n" H ORIGIN_A "\r\n",
        "DELETE /json HTTP/1.1\r\n" H ORIGIN_A "\r\n",
        "POST /json HTTP/1.1\r\n" H ORIGIN_A "Content-Length: 70000\r\n\r\n",
    };
    static const int statuses[] = {201, 404, 405, 413};
    for (size_t i = 0; i < DC_ARRAY_LEN(requests); i++) {
        struct response got = ask(c, requests[i]);
        assert_int_equal(got.status, statuses[i]);
        assert_slice(head_value(got.head, "access-control-allow-origin"), "https://a.example");
        assert_slice(head_value(got.head, "access-control-allow-credentials"), "true");
        assert_slice(head_value(got.head, "access-control-expose-headers"),
                     "x-request-id, retry-after");
        assert_slice(head_value(got.head, "vary"), "Origin");
    }
    client_close(c);
    c = client_open(&f);
    struct response got = ask(c, "GET /json HTTP/1.1\r\n" H ORIGIN_X "\r\n");
    assert_true(head_value(got.head, "access-control-allow-origin").ptr == NULL);
    assert_slice(head_value(got.head, "vary"), "Origin");
    got = ask(c, "GET /json HTTP/1.1\r\n" H "\r\n");
    assert_slice(head_value(got.head, "vary"), "Origin");
    client_close(c);
    fixture_close(&f);
}

static void preflights_are_answered_on_known_paths(void **state)
{
    (void)state;
    struct fixture f;
    open_server(&f, NULL, "https://a.example");
    struct client *c = client_open(&f);
    struct response got = ask(c, "OPTIONS /json HTTP/1.1\r\n" H ORIGIN_A
                                 "Access-Control-Request-Method: POST\r\n\r\n");
    assert_int_equal(got.status, 204);
    assert_slice(head_value(got.head, "access-control-allow-origin"), "https://a.example");
    assert_slice(head_value(got.head, "access-control-allow-methods"), "GET, HEAD, POST, OPTIONS");
    assert_slice(head_value(got.head, "access-control-allow-headers"),
                 "authorization, content-type, idempotency-key, x-request-id");
    assert_slice(head_value(got.head, "access-control-max-age"), "600");
    got = ask(c, "OPTIONS /json HTTP/1.1\r\n" H ORIGIN_X
                 "Access-Control-Request-Method: POST\r\n\r\n");
    assert_int_equal(got.status, 204);
    assert_true(head_value(got.head, "access-control-allow-origin").ptr == NULL);
    assert_true(head_value(got.head, "access-control-allow-methods").ptr == NULL);
    got = ask(c, "OPTIONS /json HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(got.status, 204);
    assert_slice(head_value(got.head, "allow"), "GET, HEAD, POST, OPTIONS");
    got = ask(c, "OPTIONS /unknown HTTP/1.1\r\n" H ORIGIN_A
                 "Access-Control-Request-Method: POST\r\n\r\n");
    assert_int_equal(got.status, 404);
    client_close(c);
    fixture_close(&f);
}

static void a_star_echoes_concrete_origins_and_none_means_none(void **state)
{
    (void)state;
    struct fixture f;
    open_server(&f, NULL, "*");
    struct client *c = client_open(&f);
    struct response got = ask(c, "GET /json HTTP/1.1\r\n" H ORIGIN_X "\r\n");
    assert_slice(head_value(got.head, "access-control-allow-origin"), "https://x.example");
    got = ask(c, "GET /json HTTP/1.1\r\n" H "Origin: null\r\n\r\n");
    assert_true(head_value(got.head, "access-control-allow-origin").ptr == NULL);
    client_close(c);
    fixture_close(&f);
    open_server(&f, NULL, NULL);
    c = client_open(&f);
    got = ask(c, "GET /json HTTP/1.1\r\n" H ORIGIN_A "\r\n");
    assert_true(head_value(got.head, "access-control-allow-origin").ptr == NULL);
    assert_true(head_value(got.head, "vary").ptr == NULL);
    client_close(c);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_one_shape),
        cmocka_unit_test(answers_carry_their_headers_and_a_request_id),
        cmocka_unit_test(head_gets_the_length_without_the_body),
        cmocka_unit_test(shared_bodies_of_any_size_arrive_whole_and_are_let_go),
        cmocka_unit_test(a_client_that_does_not_read_holds_up_nobody_but_itself),
        cmocka_unit_test(streams_are_chunked_and_end_the_connection_for_1_0),
        cmocka_unit_test(listed_origins_are_let_in_everywhere_also_on_errors),
        cmocka_unit_test(preflights_are_answered_on_known_paths),
        cmocka_unit_test(a_star_echoes_concrete_origins_and_none_means_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
