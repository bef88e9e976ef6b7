#include "base/strbuf.h"
#include "net/http_parse.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* What is refused is told row by row in test_http_request.c, over a socket; any cut of any input
 * is the business of fuzz/fuzz_http.c.  Here: what the parser hands out and how it is reused. */

static const struct dc_http_limits limits = {1000, 100};

static void a_message_is_told_in_order(void **state)
{
    (void)state;
    struct dc_http_parse p;
    struct dc_slice piece;
    struct dc_slice in = DC_S("POST /a?b HTTP/1.1\r\nHost: h\r\nX-A:  1 \r\nOrigin: o\r\n"
                              "Content-Length: 5\r\nx-a: 2\r\n\r\nhelloGET");
    dc_http_parse_init(&p, &limits);
    assert_true(dc_http_parse_is_fresh(&p));
    assert_int_equal(dc_http_parse_next(&p, &in, &piece), DC_HTTP_HEAD);
    assert_false(dc_http_parse_is_fresh(&p));
    assert_true(dc_slice_eq(p.method, DC_S("POST")));
    assert_true(dc_slice_eq(p.target, DC_S("/a?b")));
    assert_int_equal(p.minor, 1);
    assert_true(p.keep_alive && p.has_body && !p.is_chunked);
    assert_int_equal(p.content_length, 5);
    assert_int_equal(p.n_fields, 5);
    assert_true(dc_slice_eq(dc_http_parse_header(&p, DC_S("X-a")), DC_S("1")));
    assert_true(dc_http_parse_header(&p, DC_S("X-b")).ptr == NULL);
    assert_true(dc_slice_eq(dc_http_parse_known(&p, DC_HTTP_KNOWN_HOST), DC_S("h")));
    assert_true(dc_slice_eq(dc_http_parse_known(&p, DC_HTTP_KNOWN_ORIGIN), DC_S("o")));
    assert_true(dc_http_parse_known(&p, DC_HTTP_KNOWN_EXPECT).ptr == NULL);
    assert_int_equal(dc_http_parse_next(&p, &in, &piece), DC_HTTP_BODY);
    assert_true(dc_slice_eq(piece, DC_S("hello")));
    assert_int_equal(dc_http_parse_next(&p, &in, &piece), DC_HTTP_DONE);
    assert_true(dc_slice_eq(in, DC_S("GET"))); /* not ours */
    dc_http_parse_reset(&p);
    assert_true(dc_http_parse_is_fresh(&p));
    assert_int_equal(dc_http_parse_next(&p, &in, &piece), DC_HTTP_MORE);
    assert_int_equal(in.len, 0);
    dc_http_parse_free(&p);
}

static void connection_tokens_decide_about_keeping_it(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool keep_alive;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade,CLOSE\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: a\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: enclose\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_http_parse p;
        struct dc_slice piece, in = dc_slice_z(rows[i].text);
        dc_http_parse_init(&p, &limits);
        assert_int_equal(dc_http_parse_next(&p, &in, &piece), DC_HTTP_HEAD);
        assert_int_equal(p.keep_alive, rows[i].keep_alive);
        dc_http_parse_free(&p);
    }
}

static void an_upgrade_does_not_hide_a_body(void **state)
{
    (void)state;
    struct dc_http_parse p;
    struct dc_slice piece;
    struct dc_slice in = DC_S("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
                              "Upgrade: websocket\r\nContent-Length: 2\r\n\r\nab");
    dc_http_parse_init(&p, &limits);
    for (int whole = 0; whole < 2; whole++) {
        struct dc_slice rest = in, first;
        if (whole == 0) {
            assert_true(dc_slice_take(&rest, 9, &first));
            assert_int_equal(dc_http_parse_next(&p, &first, &piece), DC_HTTP_MORE);
        }
        assert_int_equal(dc_http_parse_next(&p, &rest, &piece), DC_HTTP_HEAD);
        assert_int_equal(dc_http_parse_next(&p, &rest, &piece), DC_HTTP_BODY);
        assert_int_equal(dc_http_parse_next(&p, &rest, &piece), DC_HTTP_DONE);
        dc_http_parse_reset(&p);
    }
    dc_http_parse_free(&p);
}

static void a_refusal_says_why_and_stays(void **state)
{
    (void)state;
    struct dc_http_parse p;
    struct dc_slice piece, in = DC_S("GET / HTTP/1.1\r\n\r\n");
    dc_http_parse_init(&p, &limits);
    assert_int_equal(dc_http_parse_next(&p, &in, &piece), DC_HTTP_REFUSE);
    assert_int_equal(p.status, DC_MALFORMED);
    assert_non_null(p.reason);
    in = DC_S("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(dc_http_parse_next(&p, &in, &piece), DC_HTTP_REFUSE);
    dc_http_parse_reset(&p);
    assert_int_equal(dc_http_parse_next(&p, &in, &piece), DC_HTTP_HEAD);
    dc_http_parse_free(&p);
}

static void lists_are_searched_by_token_over_all_headers_of_a_name(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        size_t count;
        bool lists;
    } rows[] = {
        {"", 0, false},
        {"Connection: upgrade\r\n", 1, true},
        {"Connection: a, Upgrade ,b\r\n", 1, true},
        {"Connection: upgraded, up grade\r\n", 1, false},
        {"Connection: ,,\r\n", 1, false},
        {"Connection:\r\n", 1, false},
        {"Connections: upgrade\r\n", 0, false},
        {"Connection: keep-alive\r\nX: y\r\nCONNECTION: a,UPGRADE\r\n", 2, true},
        {"Connection: up\r\nConnection: grade\r\n", 2, false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_http_parse p;
        struct dc_slice piece;
        char head[200];
        int n = snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", rows[i].fields);
        struct dc_slice in = dc_slice_make(head, (size_t)n);
        dc_http_parse_init(&p, &limits);
        assert_int_equal(dc_http_parse_next(&p, &in, &piece), DC_HTTP_HEAD);
        if (dc_http_parse_count(&p, DC_S("connection")) != rows[i].count ||
            dc_http_parse_lists(&p, DC_S("connection"), DC_S("upgrade")) != rows[i].lists) {
            fail_msg("row %zu: %s", i, rows[i].fields);
        }
        dc_http_parse_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_told_in_order),
        cmocka_unit_test(connection_tokens_decide_about_keeping_it),
        cmocka_unit_test(an_upgrade_does_not_hide_a_body),
        cmocka_unit_test(a_refusal_says_why_and_stays),
        cmocka_unit_test(lists_are_searched_by_token_over_all_headers_of_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
