/* WebSocket connections over a real server: messages, control frames, closing from both sides,
 * signs of life. */
#include "net/ws.h"

#include "ws_fixture.h"

static void echo(struct fixture *fx, struct peer *p, struct dc_slice text)
{
    assert_ptr_equal(p->fx, fx);
    dc_ws_send(p->ws, text);
}

static void texts_go_both_ways_however_they_are_cut(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_strbuf wire = {0};
    fx->on_text = echo;
    struct client *c = client_connect(fx, &p);
    ws_test_frame(&wire, false, DC_WS_TEXT, DC_S("При"));
    ws_test_frame(&wire, true, DC_WS_PING, DC_S("now"));
    ws_test_frame(&wire, true, DC_WS_CONT, DC_S("віт"));
    ws_test_frame(&wire, true, DC_WS_TEXT, DC_S(""));
    struct dc_slice all = dc_strbuf_slice(&wire);
    for (size_t cut = 1; cut < all.len; cut++) {
        client_forget_texts(c);
        client_send(fx, c, dc_slice_make(all.ptr, cut));
        settle(fx);
        client_send(fx, c, dc_slice_make(all.ptr + cut, all.len - cut));
        PUMP_UNTIL(fx, c->n_texts == 2 && c->pongs == cut);
        assert_string_equal(c->texts[0], "Привіт");
        assert_string_equal(c->texts[1], "");
    }
    dc_strbuf_free(&wire);
}

static void every_frame_is_a_sign_of_life(void **state)
{
    static const enum dc_ws_opcode opcodes[] = {DC_WS_TEXT, DC_WS_BINARY, DC_WS_PING, DC_WS_PONG};
    struct fixture *fx = *state;
    struct peer *p;
    struct client *c = client_connect(fx, &p);
    for (size_t i = 0; i < DC_ARRAY_LEN(opcodes); i++) {
        size_t before = p->alive;
        client_send_frame(fx, c, true, opcodes[i], DC_S("x"));
        PUMP_UNTIL(fx, p->alive > before);
    }
    PUMP_UNTIL(fx, c->pongs == 1);
    assert_int_equal(p->texts, 1);
    assert_int_equal(p->binaries, 1);
}

struct violation {
    const char *what;
    struct dc_slice wire;
    uint16_t code;
};

static void a_client_that_breaks_the_protocol_is_told_and_closed(void **state)
{
    static const struct violation cases[] = {
        {"unmasked", {"\x81\x01x", 3}, DC_WS_PROTOCOL},
        {"reserved bit", {"\xc1\x80\0\0\0\0", 6}, DC_WS_PROTOCOL},
        {"unknown opcode", {"\x83\x80\0\0\0\0", 6}, DC_WS_PROTOCOL},
        {"broken text", {"\x81\x81\0\0\0\0\xff", 7}, DC_WS_BAD_DATA},
        {"broken text in the first of two fragments", {"\x01\x81\0\0\0\0\xff", 7}, DC_WS_BAD_DATA},
        {"too long", {"\x81\xff\0\0\0\0\0\x01\0\x01\0\0\0\0", 14}, DC_WS_TOO_BIG},
        {"binary", {"\x82\x81\0\0\0\0x", 7}, DC_WS_UNSUPPORTED},
        {"text inside a text", {"\x01\x81\0\0\0\0x\x81\x81\0\0\0\0x", 14}, DC_WS_PROTOCOL},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        struct fixture fx;
        struct peer *p;
        fx_open(&fx);
        fx.refuses_binary = true;
        struct client *c = client_connect(&fx, &p);
        client_send(&fx, c, cases[i].wire);
        client_send_frame(&fx, c, true, DC_WS_TEXT, DC_S("is not heard"));
        PUMP_UNTIL(&fx, c->is_eof); /* the end comes without waiting for the client */
        if (c->close_code != cases[i].code) {
            fail_msg("%s: closed with %u", cases[i].what, (unsigned)c->close_code);
        }
        assert_string_not_equal(c->close_reason, ""); /* for whoever looks for the mistake */
        client_close(c);
        PUMP_UNTIL(&fx, p->closed == 1);
        assert_int_equal(p->close_code, cases[i].code);
        assert_int_equal(p->texts, 0);
        fx_close(&fx);
    }
}

static void a_close_of_the_client_is_answered_with_its_code(void **state)
{
    static const struct violation cases[] = {
        {"normal", {"\x03\xe8", 2}, 1000},
        {"with a reason",
         {"\x0f\xa1"
          "bye",
          5},
         4001},
        {"without a code", {"", 0}, DC_WS_NO_STATUS},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        struct fixture fx;
        struct peer *p;
        fx_open(&fx);
        struct client *c = client_connect(&fx, &p);
        client_send_frame(&fx, c, true, DC_WS_CLOSE, cases[i].wire);
        client_send_frame(&fx, c, true, DC_WS_TEXT, DC_S("too late"));
        PUMP_UNTIL(&fx, c->is_eof);
        assert_int_equal(c->close_code, cases[i].code);
        client_close(c);
        PUMP_UNTIL(&fx, p->closed == 1);
        assert_int_equal(p->close_code, cases[i].code);
        assert_int_equal(p->texts, 0);
        fx_close(&fx);
    }
}

static void a_close_of_the_server_ends_with_the_answer_of_the_client(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct client *c = client_connect(fx, &p);
    dc_ws_send(p->ws, DC_S("last words"));
    dc_ws_close(p->ws, 4404, DC_S("room_not_found"));
    dc_ws_send(p->ws, DC_S("never sent"));
    dc_ws_close(p->ws, 4429, DC_S("twice"));
    PUMP_UNTIL(fx, c->close_code != 0);
    assert_int_equal(c->close_code, 4404);
    assert_string_equal(c->close_reason, "room_not_found");
    assert_int_equal(c->n_texts, 1);
    assert_string_equal(c->texts[0], "last words");
    settle(fx);
    assert_false(c->is_eof); /* it waits for the answer */
    assert_int_equal(p->closed, 0);
    client_send_frame(fx, c, true, DC_WS_TEXT, DC_S("not heard any more"));
    client_send_frame(fx, c, true, DC_WS_CLOSE, DC_S("\x11\x34"));
    PUMP_UNTIL(fx, c->is_eof);
    client_close(c);
    PUMP_UNTIL(fx, p->closed == 1);
    assert_int_equal(p->close_code, 4404);
    assert_int_equal(p->texts, 0);
}

static void a_close_without_an_answer_is_cut(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct client *c = client_connect(fx, &p);
    dc_ws_close(p->ws, DC_WS_POLICY, DC_SLICE_NULL);
    PUMP_UNTIL(fx, p->closed == 1);
    assert_int_equal(p->close_code, DC_WS_POLICY);
    PUMP_UNTIL(fx, c->is_eof);
    assert_int_equal(c->close_code, DC_WS_POLICY);
}

static void a_client_that_vanishes_is_reported_as_1006(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct client *c = client_connect(fx, &p);
    client_send(fx, c, DC_S("\x81\x85\x01\x02")); /* and half a frame, too */
    settle(fx);
    client_close(c);
    PUMP_UNTIL(fx, p->closed == 1);
    assert_int_equal(p->close_code, DC_WS_ABNORMAL);
}

static void a_handler_may_close_while_more_messages_wait_in_the_same_read(struct fixture *fx,
                                                                          struct peer *p,
                                                                          struct dc_slice text)
{
    assert_ptr_equal(p->fx, fx);
    assert_true(dc_slice_eq(text, DC_S("one")));
    dc_ws_close(p->ws, DC_WS_NORMAL, DC_SLICE_NULL);
}

static void nothing_is_heard_after_the_handler_has_closed(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_strbuf wire = {0};
    fx->on_text = a_handler_may_close_while_more_messages_wait_in_the_same_read;
    struct client *c = client_connect(fx, &p);
    ws_test_frame(&wire, true, DC_WS_TEXT, DC_S("one"));
    ws_test_frame(&wire, true, DC_WS_TEXT, DC_S("two"));
    ws_test_frame(&wire, true, DC_WS_PING, DC_S(""));
    ws_test_frame(&wire, true, DC_WS_CLOSE, DC_S("\x03\xe8"));
    client_send(fx, c, dc_strbuf_slice(&wire));
    PUMP_UNTIL(fx, c->is_eof);
    assert_int_equal(p->texts, 1);
    assert_int_equal(c->pongs, 0);
    assert_int_equal(c->close_code, DC_WS_NORMAL);
    dc_strbuf_free(&wire);
}

static void a_silent_client_is_pinged_then_closed_as_idle(void **state)
{
    (void)state;
    struct fixture fx;
    struct peer *p;
    const struct dc_ws_opts opts = {
        .max_frame_bytes = 1000, .ping_interval_ms = 20, .idle_timeout_ms = 60};
    fx_open_with(&fx, &opts, 30000, 65536);
    struct client *c = client_connect(&fx, &p);
    PUMP_UNTIL(&fx, c->close_code != 0);
    assert_int_equal(c->pings, 1);
    assert_int_equal(c->close_code, DC_WS_IDLE);
    assert_string_equal(c->close_reason, "idle_timeout");
    client_close(c);
    PUMP_UNTIL(&fx, p->closed == 1);
    assert_int_equal(p->close_code, DC_WS_IDLE);
    fx_close(&fx);
}

static void a_client_that_answers_pings_stays(void **state)
{
    (void)state;
    struct fixture fx;
    struct peer *p;
    const struct dc_ws_opts opts = {
        .max_frame_bytes = 1000, .ping_interval_ms = 20, .idle_timeout_ms = 10000};
    fx_open_with(&fx, &opts, 30000, 65536);
    struct client *c = client_connect(&fx, &p);
    for (size_t i = 1; i <= 5; i++) {
        PUMP_UNTIL(&fx, c->pings == i);
        client_send_frame(&fx, c, true, DC_WS_PONG, DC_SLICE_NULL);
        PUMP_UNTIL(&fx, p->alive == i);
    }
    assert_int_equal(c->close_code, 0);
    fx_close(&fx);
}

static void without_pings_the_idle_timeout_still_closes(void **state)
{
    (void)state;
    struct fixture fx;
    struct peer *p;
    const struct dc_ws_opts opts = {.max_frame_bytes = 1000, .idle_timeout_ms = 30};
    fx_open_with(&fx, &opts, 30000, 65536);
    struct client *c = client_connect(&fx, &p);
    PUMP_UNTIL(&fx, c->close_code == DC_WS_IDLE);
    assert_int_equal(c->pings, 0);
    fx_close(&fx);
}

static void shutdown_closes_every_socket_with_1001(void **state)
{
    struct fixture *fx = *state;
    struct peer *p[3];
    struct client *c[3];
    for (size_t i = 0; i < 3; i++) {
        c[i] = client_connect(fx, &p[i]);
    }
    dc_ws_hub_shutdown(fx->ws_hub, fx->server);
    for (size_t i = 0; i < 3; i++) {
        PUMP_UNTIL(fx, c[i]->close_code == DC_WS_GOING_AWAY);
        client_send_frame(fx, c[i], true, DC_WS_CLOSE, DC_S("\x03\xe9"));
        PUMP_UNTIL(fx, c[i]->is_eof);
        client_close(c[i]);
        PUMP_UNTIL(fx, p[i]->closed == 1);
        assert_int_equal(p[i]->close_code, DC_WS_GOING_AWAY);
    }
}

static void framed_blobs_and_texts_keep_their_order(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct client *c = client_connect(fx, &p);
    struct dc_blob *shared = dc_ws_frame(DC_WS_TEXT, DC_S("shared"));
    assert_non_null(shared);
    char large[40000];
    memset(large, 'x', sizeof(large));
    dc_ws_send(p->ws, DC_S("1"));
    dc_ws_send_framed(p->ws, shared);
    dc_ws_send(p->ws, DC_S("2"));
    dc_ws_send(p->ws, dc_slice_make(large, sizeof(large)));
    dc_ws_send(p->ws, DC_S("3"));
    dc_ws_send_framed(p->ws, shared);
    dc_blob_unref(shared);
    PUMP_UNTIL(fx, c->n_texts == 6);
    assert_string_equal(c->texts[0], "1");
    assert_string_equal(c->texts[1], "shared");
    assert_string_equal(c->texts[2], "2");
    assert_int_equal(strlen(c->texts[3]), sizeof(large));
    assert_string_equal(c->texts[4], "3");
    assert_string_equal(c->texts[5], "shared");
}

static void pause_after_the_first(struct fixture *fx, struct peer *p, struct dc_slice text)
{
    assert_ptr_equal(p->fx, fx);
    if (dc_slice_eq(text, DC_S("one"))) {
        dc_ws_pause(p->ws, true);
    }
}

static void a_paused_socket_hears_what_had_been_read_and_nothing_else_until_it_goes_on(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_strbuf wire = {0};
    fx->on_text = pause_after_the_first;
    struct client *c = client_connect(fx, &p);
    ws_test_frame(&wire, true, DC_WS_TEXT, DC_S("one"));
    ws_test_frame(&wire, true, DC_WS_TEXT, DC_S("two"));
    client_send(fx, c, dc_strbuf_slice(&wire)); /* one segment, one read */
    PUMP_UNTIL(fx, p->texts == 2);
    dc_ws_pause(p->ws, true); /* twice changes nothing */
    client_send_frame(fx, c, true, DC_WS_TEXT, DC_S("three"));
    client_send_frame(fx, c, true, DC_WS_PING, DC_S("?"));
    settle(fx);
    assert_int_equal(p->texts, 2);
    assert_int_equal(c->pongs, 0);
    dc_ws_send(p->ws, DC_S("answer")); /* the other direction goes on */
    PUMP_UNTIL(fx, c->n_texts == 1);
    dc_ws_pause(p->ws, false);
    PUMP_UNTIL(fx, p->texts == 3 && c->pongs == 1);
    assert_true(dc_slice_eq(dc_strbuf_slice(&p->last_text), DC_S("three")));
    dc_strbuf_free(&wire);
}

static void the_end_of_the_peer_is_noticed_when_a_paused_socket_goes_on(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct client *c = client_connect(fx, &p);
    dc_ws_pause(p->ws, true);
    client_close(c);
    settle(fx);
    assert_int_equal(p->closed, 0);
    dc_ws_pause(p->ws, false);
    PUMP_UNTIL(fx, p->closed == 1);
    assert_int_equal(p->close_code, DC_WS_ABNORMAL);
}

static void a_paused_socket_can_be_closed(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct client *c = client_connect(fx, &p);
    dc_ws_pause(p->ws, true);
    client_send_frame(fx, c, true, DC_WS_TEXT, DC_S("never heard"));
    dc_ws_close(p->ws, DC_WS_POLICY, DC_S("enough"));
    PUMP_UNTIL(fx, p->closed == 1); /* an answer is not read, so it is cut in the end */
    PUMP_UNTIL(fx, c->is_eof);
    assert_int_equal(c->close_code, DC_WS_POLICY);
    assert_int_equal(p->close_code, DC_WS_POLICY);
    assert_int_equal(p->texts, 0);
}

static void output_past_the_limit_of_the_server_ends_the_connection(void **state)
{
    (void)state;
    struct fixture fx;
    struct peer *p;
    const struct dc_ws_opts opts = {.max_frame_bytes = 1000};
    fx_open_with(&fx, &opts, 30000, 32768);
    struct client *c = client_connect_with(&fx, 4096, &p);
    shrink_send_buffer(dc_ws_conn(p->ws), 4096);
    c->is_stalled = true;
    char text[10000];
    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 50 && p->closed == 0; i++) {
        dc_ws_send(p->ws, dc_slice_make(text, sizeof(text)));
        settle(&fx);
    }
    assert_int_equal(p->closed, 1);
    assert_int_equal(p->close_code, DC_WS_ABNORMAL);
    fx_close(&fx);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct dc_loop *loop;
    struct dc_ws_hub *h;
    struct dc_error err;
    const struct dc_ws_opts opts = {.max_frame_bytes = 0};
    assert_int_equal(dc_loop_create(&loop, &err), DC_OK);
    assert_int_equal(dc_ws_hub_create(loop, &opts, NULL, NULL, &h, &err), DC_CONFIG);
    assert_null(h);
    dc_ws_hub_destroy(NULL);
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FX_TEST(texts_go_both_ways_however_they_are_cut),
        FX_TEST(every_frame_is_a_sign_of_life),
        cmocka_unit_test(a_client_that_breaks_the_protocol_is_told_and_closed),
        cmocka_unit_test(a_close_of_the_client_is_answered_with_its_code),
        FX_TEST(a_close_of_the_server_ends_with_the_answer_of_the_client),
        FX_TEST(a_close_without_an_answer_is_cut),
        FX_TEST(a_client_that_vanishes_is_reported_as_1006),
        FX_TEST(nothing_is_heard_after_the_handler_has_closed),
        cmocka_unit_test(a_silent_client_is_pinged_then_closed_as_idle),
        cmocka_unit_test(a_client_that_answers_pings_stays),
        cmocka_unit_test(without_pings_the_idle_timeout_still_closes),
        FX_TEST(shutdown_closes_every_socket_with_1001),
        FX_TEST(framed_blobs_and_texts_keep_their_order),
        FX_TEST(a_paused_socket_hears_what_had_been_read_and_nothing_else_until_it_goes_on),
        FX_TEST(the_end_of_the_peer_is_noticed_when_a_paused_socket_goes_on),
        FX_TEST(a_paused_socket_can_be_closed),
        cmocka_unit_test(output_past_the_limit_of_the_server_ends_the_connection),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
