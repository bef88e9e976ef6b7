/* The opening handshake: what is accepted, what is refused and how. */
#include "net/ws_priv.h"

#include "ws_fixture.h"

struct refusal {
    const char *what;
    const char *request;
    int status;
    const char *contains; /* in the answer */
};

#define HEAD      "GET /ws HTTP/1.1\r\nHost: city.example\r\n"
#define UPGRADE   "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION   "Sec-WebSocket-Version: 13\r\n"
#define KEY       "Sec-WebSocket-Key: " FX_KEY "\r\n"
#define ORIGIN(o) "Origin: " o "\r\n"
#define END       "\r\n"
#define WELL      HEAD UPGRADE VERSION KEY

static void wrong_handshakes_are_refused_with_the_reason(void **state)
{
    static const struct refusal cases[] = {
        {"plain GET", HEAD END, 426, "\"upgrade_required\""},
        {"plain GET names the protocol", HEAD END, 426, "Upgrade: websocket\r\n"},
        {"no Connection", HEAD "Upgrade: websocket\r\n" VERSION KEY END, 426, "upgrade_required"},
        {"Connection without the token",
         HEAD "Upgrade: websocket\r\nConnection: keep-alive\r\n" VERSION KEY END, 426, ""},
        {"another protocol", HEAD "Upgrade: h2c\r\nConnection: Upgrade\r\n" VERSION KEY END, 426,
         ""},
        {"version missing", HEAD UPGRADE KEY END, 426, "Sec-WebSocket-Version: 13\r\n"},
        {"version 8", HEAD UPGRADE "Sec-WebSocket-Version: 8\r\n" KEY END, 426,
         "Sec-WebSocket-Version: 13\r\n"},
        {"key missing", HEAD UPGRADE VERSION END, 400, "\"bad_request\""},
        {"key empty", HEAD UPGRADE VERSION "Sec-WebSocket-Key: \r\n" END, 400, "bad_request"},
        {"key of 15 bytes", HEAD UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n" END,
         400, ""},
        {"key of 17 bytes",
         HEAD UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n" END, 400, ""},
        {"key of 30 bytes",
         HEAD UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n" END,
         400, ""},
        {"key that is no base64",
         HEAD UPGRADE VERSION "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n" END, 400, ""},
        {"key twice", HEAD UPGRADE VERSION KEY KEY END, 400, "bad_request"},
        {"version twice", HEAD UPGRADE VERSION "Sec-WebSocket-Version: 8\r\n" KEY END, 426, ""},
        {"origin twice", WELL ORIGIN("https://city.example") ORIGIN("https://evil.example") END,
         400, "bad_request"},
        {"HTTP/1.0", "GET /ws HTTP/1.0\r\nHost: city.example\r\n" UPGRADE VERSION KEY END, 400,
         "bad_request"},
        {"POST",
         "POST /ws HTTP/1.1\r\nHost: city.example\r\nContent-Length: 0\r\n" UPGRADE VERSION KEY END,
         400, "bad_request"},
        {"foreign origin", WELL ORIGIN("https://evil.example") END, 403, "\"origin_forbidden\""},
        {"origin null", WELL ORIGIN("null") END, 403, "origin_forbidden"},
        {"origin with our name in front", WELL ORIGIN("https://city.example.evil") END, 403, ""},
        {"origin with our name behind", WELL ORIGIN("https://evilcity.example") END, 403, ""},
        {"origin on another port", WELL ORIGIN("https://city.example:8443") END, 403, ""},
        {"origin without a scheme", WELL ORIGIN("city.example") END, 403, ""},
        {"origin of another scheme", WELL ORIGIN("ftp://city.example") END, 403, ""},
        {"allowed host, wrong scheme", WELL ORIGIN("http://friend.example") END, 403, ""},
    };
    (void)state;
    const struct dc_ws_opts opts = {
        .max_frame_bytes = 1000, .allowed_origins = "https://friend.example,https://b.example:99"};
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        struct fixture fx;
        fx_open_with(&fx, &opts, 30000, 65536);
        struct client *c = client_open(&fx, 0);
        client_send(&fx, c, dc_slice_z(cases[i].request));
        PUMP_UNTIL(&fx, c->has_head);
        settle(&fx);
        dc_strbuf_add_char(&c->head, '\0');
        if (c->status != cases[i].status || strstr(c->head.ptr, cases[i].contains) == NULL) {
            fail_msg("%s: got %s", cases[i].what, c->head.ptr);
        }
        assert_int_equal(fx.n_peers, 0);
        assert_int_equal(counter(&fx, "daarion_ws_refused_total"), 1);
        fx_close(&fx);
    }
}

static void right_handshakes_are_accepted(void **state)
{
    static const struct refusal cases[] = {
        {"no origin", WELL END, 101, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"},
        {"any case",
         "GET /ws HTTP/1.1\r\nhost: city.example\r\nUPGRADE: WebSocket\r\n"
         "connection: keep-alive, upgrade\r\n" VERSION KEY END,
         101, "Upgrade: websocket\r\n"},
        {"Connection in two headers", HEAD "Connection: keep-alive\r\n" UPGRADE VERSION KEY END,
         101, ""},
        {"Upgrade in two headers", HEAD "Upgrade: h2c\r\n" UPGRADE VERSION KEY END, 101, ""},
        {"same host", WELL ORIGIN("https://city.example") END, 101, "Connection: Upgrade\r\n"},
        {"same host over http", WELL ORIGIN("http://City.Example") END, 101, ""},
        {"same host with the default port", WELL ORIGIN("https://city.example:443") END, 101, ""},
        {"allowed", WELL ORIGIN("https://friend.example") END, 101, ""},
        {"allowed with a port", WELL ORIGIN("https://b.example:99") END, 101, ""},
    };
    (void)state;
    const struct dc_ws_opts opts = {
        .max_frame_bytes = 1000, .allowed_origins = "https://friend.example,https://b.example:99"};
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        struct fixture fx;
        fx_open_with(&fx, &opts, 30000, 65536);
        struct client *c = client_open(&fx, 0);
        client_send(&fx, c, dc_slice_z(cases[i].request));
        PUMP_UNTIL(&fx, c->has_head);
        dc_strbuf_add_char(&c->head, '\0');
        if (c->status != 101 || strstr(c->head.ptr, cases[i].contains) == NULL ||
            strstr(c->head.ptr, "Sec-WebSocket-Protocol") != NULL) {
            fail_msg("%s: got %s", cases[i].what, c->head.ptr);
        }
        assert_int_equal(fx.n_peers, 1);
        fx_close(&fx);
    }
}

static void the_subprotocol_of_the_endpoint_is_named(void **state)
{
    struct fixture *fx = *state;
    fx->subprotocol = "bearer";
    struct client *c = client_connect(fx, NULL);
    dc_strbuf_add_char(&c->head, '\0');
    assert_non_null(strstr(c->head.ptr, "\r\nSec-WebSocket-Protocol: bearer\r\n"));
}

static void frames_that_come_with_the_handshake_are_not_lost(void **state)
{
    struct fixture *fx = *state;
    struct dc_strbuf wire = {0};
    dc_strbuf_add(&wire, DC_S(FX_UPGRADE));
    ws_test_frame(&wire, true, DC_WS_TEXT, DC_S("early"));
    struct client *c = client_open(fx, 0);
    client_send(fx, c, dc_strbuf_slice(&wire));
    PUMP_UNTIL(fx, fx->n_peers == 1 && fx->peers[0]->texts == 1);
    assert_true(dc_slice_eq(dc_strbuf_slice(&fx->peers[0]->last_text), DC_S("early")));
    dc_strbuf_free(&wire);
}

static void a_server_that_stops_accepts_no_socket(void **state)
{
    struct fixture *fx = *state;
    dc_ws_hub_shutdown(fx->ws_hub, fx->server);
    struct client *c = client_open(fx, 0);
    client_send(fx, c, DC_S(FX_UPGRADE));
    PUMP_UNTIL(fx, c->has_head);
    assert_int_equal(c->status, 503);
}

static void origins_are_compared_with_the_host(void **state)
{
    static const struct {
        const char *origin, *host;
        bool want;
    } cases[] = {
        {"https://a", "a", true},
        {"https://a:443", "a", true},
        {"https://a", "a:443", true},
        {"http://a:80", "a", true},
        {"http://a:443", "a", false},
        {"https://a:80", "a", false},
        {"https://a:8080", "a:8080", true},
        {"https://[::1]:8080", "[::1]:8080", true},
        {"https://A.b", "a.B", true},
        {"https://", "", false},
        {"https://a/", "a", false},
        {"https://x@a", "a", false},
        {"", "a", false},
        {"null", "null", false},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        if (dc_ws_origin_is_host(dc_slice_z(cases[i].origin), dc_slice_z(cases[i].host)) !=
            cases[i].want) {
            fail_msg("%s against %s", cases[i].origin, cases[i].host);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_handshakes_are_refused_with_the_reason),
        cmocka_unit_test(right_handshakes_are_accepted),
        FX_TEST(the_subprotocol_of_the_endpoint_is_named),
        FX_TEST(frames_that_come_with_the_handshake_are_not_lost),
        FX_TEST(a_server_that_stops_accepts_no_socket),
        cmocka_unit_test(origins_are_compared_with_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
