#include "http_fixture.h"

#define H "Host: a\r\n"

struct input {
    struct dc_slice name;
    int64_t n;
};
static const struct dc_field fields[] = {
    {"name", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 1, 5, offsetof(struct input, name)},
    {"n", DC_FIELD_INT, 0, 1, 9, offsetof(struct input, n)},
};

static void answer(struct dc_http_request *r, const struct input *in)
{
    struct dc_strbuf out = {0};
    dc_strbuf_printf(&out, "%.*s %lld", DC_SLICE_ARG(in->name), (long long)in->n);
    dc_http_reply(r, 200, "text/plain", dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
}

static void from_body(void *ctx, struct dc_http_request *r)
{
    struct input in = {.n = 3};
    (void)ctx;
    if (dc_http_read_json(r, fields, DC_ARRAY_LEN(fields), &in)) {
        answer(r, &in);
    }
}

static void from_query(void *ctx, struct dc_http_request *r)
{
    struct input in = {.n = 3};
    (void)ctx;
    if (dc_http_read_query(r, fields, DC_ARRAY_LEN(fields), &in)) {
        answer(r, &in);
    }
}

static const struct dc_route routes[] = {{DC_POST, "/body", from_body},
                                         {DC_GET, "/query", from_query}};

struct row {
    const char *type, *body;
    int status;
    const char *in_answer;
};

static const struct row rows[] = {
    {"application/json", "{\"name\":\"ab\",\"n\":4}", 200, "ab 4"},
    {"application/json; charset=utf-8", "{\"name\":\"ab\",\"extra\":[]}", 200, "ab 3"},
    {"Application/JSON", "{\"name\":\"ab\"}", 200, "ab 3"},
    {"application/merge-patch+json", "{\"name\":\"ab\"}", 200, "ab 3"},
    {NULL, "{\"name\":\"ab\"}", 200, "ab 3"},
    {"text/plain", "{\"name\":\"ab\"}", 415, "unsupported_media_type"},
    {"application/x-www-form-urlencoded", "name=ab", 415, "unsupported_media_type"},
    {"application/json", "{\"name\":", 400, "invalid_json"},
    {"application/json", "{\"name\":\"ab\"} x", 400, "invalid_json"},
    {"application/json", "{\"name\":\"\xff\"}", 400, "invalid_json"},
    {"application/json", "[1]", 422, "wrong_type"},
    {"application/json", "{\"name\":\"abcdef\"}", 422, "too_long"},
    {"application/json", "{\"name\":7}", 422, "wrong_type"},
    {"application/json", "{\"name\":\"ab\",\"n\":10}", 422, "out_of_range"},
    /* An empty body counts as {}, whatever its type. */
    {NULL, "", 422, "missing"},
    {"text/plain", "", 422, "missing"},
};

static void bodies_are_checked_by_type_syntax_and_field(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    dc_router_add(f.router, "", routes, DC_ARRAY_LEN(routes), NULL);
    fixture_listen(&f, NULL);
    struct client *c = client_open(&f);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf out = {0};
        dc_strbuf_add_z(&out, "POST /body HTTP/1.1\r\n" H);
        if (rows[i].type != NULL) {
            dc_strbuf_printf(&out, "Content-Type: %s\r\n", rows[i].type);
        }
        dc_strbuf_printf(&out, "Content-Length: %zu\r\n\r\n%s", strlen(rows[i].body), rows[i].body);
        client_send(c, dc_strbuf_slice(&out));
        dc_strbuf_free(&out);
        struct response got = wait_response(c);
        if (got.status != rows[i].status || !contains(got.body, rows[i].in_answer)) {
            fail_msg("row %zu: %d %.*s", i, got.status, DC_SLICE_ARG(got.body));
        }
    }
    client_close(c);
    fixture_close(&f);
}

static void queries_are_checked_by_field(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    dc_router_add(f.router, "", routes, DC_ARRAY_LEN(routes), NULL);
    fixture_listen(&f, NULL);
    struct client *c = client_open(&f);
    client_send(c, DC_S("GET /query?name=a%20b&n=5 HTTP/1.1\r\n" H "\r\n"));
    assert_slice(wait_response(c).body, "a b 5");
    client_send(c, DC_S("GET /query?n=x HTTP/1.1\r\n" H "\r\n"));
    struct response got = wait_response(c);
    assert_int_equal(got.status, 422);
    assert_true(contains(got.body, "\"field\":\"name\""));
    assert_true(contains(got.body, "\"field\":\"n\""));
    client_send(c, DC_S("GET /query HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(wait_response(c).status, 422);
    client_close(c);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_checked_by_type_syntax_and_field),
        cmocka_unit_test(queries_are_checked_by_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
