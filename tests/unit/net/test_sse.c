/* Event streams over a real server. */
#include "net/sse.h"

#include "ws_fixture.h"

static struct client *open_stream(struct fixture *fx, struct dc_conn **conn)
{
    struct client *c = client_open(fx, 0);
    size_t had = fx->n_streams;
    c->is_sse = true;
    client_send(fx, c, DC_S("GET /sse HTTP/1.1\r\nHost: city.example\r\n\r\n"));
    PUMP_UNTIL(fx, c->has_head && fx->n_streams > had);
    *conn = fx->streams[had];
    return c;
}

static bool has_received(const struct client *c, const char *want)
{
    return dc_slice_eq(dc_strbuf_slice(&c->stream), dc_slice_z(want));
}

static void a_stream_has_the_right_head_and_stays_open(void **state)
{
    struct fixture *fx = *state;
    struct dc_conn *conn;
    struct client *c = open_stream(fx, &conn);
    assert_int_equal(c->status, 200);
    dc_strbuf_add_char(&c->head, '\0');
    assert_non_null(strstr(c->head.ptr, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(c->head.ptr, "Cache-Control: no-cache\r\n"));
    assert_non_null(strstr(c->head.ptr, "X-Accel-Buffering: no\r\n"));
    assert_null(strstr(c->head.ptr, "Content-Length"));
    client_send(fx, c, DC_S("whatever the client says now is not looked at"));
    settle(fx);
    assert_false(c->is_eof);
    client_close(c);
    PUMP_UNTIL(fx, fx->n_streams_closed == 1);
}

static void head_gets_no_stream(void **state)
{
    struct fixture *fx = *state;
    struct client *c = client_open(fx, 0);
    client_send(fx, c, DC_S("HEAD /sse HTTP/1.1\r\nHost: city.example\r\n\r\n"));
    PUMP_UNTIL(fx, c->has_head);
    assert_int_equal(c->status, 200);
    assert_int_equal(fx->n_streams, 0);
}

static void events_to_one_stream_are_fields_and_lines(void **state)
{
    struct fixture *fx = *state;
    struct dc_conn *conn;
    struct client *c = open_stream(fx, &conn);
    dc_sse_send(conn, DC_S("e1:7"), DC_S("{\"a\":1}"));
    dc_sse_send(conn, DC_SLICE_NULL, DC_S("two\nlines"));
    dc_sse_send(conn, DC_S("e1:8"), DC_S(""));
    PUMP_UNTIL(fx, has_received(c, "id: e1:7\ndata: {\"a\":1}\n\n"
                                   "data: two\ndata: lines\n\n"
                                   "id: e1:8\ndata: \n\n"));
}

static void topics_reach_streams_and_sockets_alike(void **state)
{
    struct fixture *fx = *state;
    struct dc_conn *conn;
    struct peer *p;
    const struct dc_topic_opts opts = {
        .kind = DC_TOPIC_STATE, .epoch = DC_S("e1"), .first_offset = 8};
    struct dc_topic *t = dc_topic_create(fx->hub, &opts);
    struct client *stream = open_stream(fx, &conn);
    struct client *socket = client_connect(fx, &p);
    dc_sse_send(conn, DC_S("e1:8"), DC_S("{\"snapshot\":true}"));
    dc_topic_join(t, conn, 8);
    dc_topic_join(t, dc_ws_conn(p->ws), 8);
    dc_topic_set(t, DC_S("k"), DC_S("{\"x\":\n1"));
    dc_topic_set(t, DC_S("l"), DC_S("{\"x\":2"));
    PUMP_UNTIL(fx, socket->n_texts == 2);
    PUMP_UNTIL(fx, has_received(stream, "id: e1:8\ndata: {\"snapshot\":true}\n\n"
                                        "id: e1:9\n"
                                        "data: {\"x\": 1,\"epoch\":\"e1\",\"offset\":9}\n\n"
                                        "id: e1:10\n"
                                        "data: {\"x\":2,\"epoch\":\"e1\",\"offset\":10}\n\n"));
    assert_string_equal(socket->texts[0], "{\"x\": 1,\"epoch\":\"e1\",\"offset\":9}");
    assert_string_equal(socket->texts[1], "{\"x\":2,\"epoch\":\"e1\",\"offset\":10}");
    dc_topic_destroy(t);
}

static void silence_is_broken_by_comments(void **state)
{
    (void)state;
    struct fixture fx;
    struct dc_conn *conn;
    const struct dc_ws_opts ws_opts = {.max_frame_bytes = 1000};
    fx_open_with(&fx, &ws_opts, 40, 65536);
    struct client *c = open_stream(&fx, &conn);
    PUMP_UNTIL(&fx, has_received(c, ": keep-alive\n\n: keep-alive\n\n"));
    fx_close(&fx);
}

static void a_slow_stream_of_a_log_is_ended(void **state)
{
    struct fixture *fx = *state;
    struct dc_conn *conn;
    const struct dc_topic_opts opts = {
        .kind = DC_TOPIC_LOG, .epoch = DC_S("e1"), .max_log_frames = 5};
    struct dc_topic *t = dc_topic_create(fx->hub, &opts);
    struct client *c = client_open(fx, 4096);
    c->is_sse = true;
    client_send(fx, c, DC_S("GET /sse HTTP/1.1\r\nHost: city.example\r\n\r\n"));
    PUMP_UNTIL(fx, c->has_head && fx->n_streams == 1);
    conn = fx->streams[0];
    shrink_send_buffer(conn, 4096);
    c->is_stalled = true;
    dc_topic_join(t, conn, 0);
    char json[2100];
    for (uint64_t n = 1; dc_topic_member_count(t) == 1; n++) {
        int len = snprintf(json, sizeof(json), "{\"pad\":\"%2000d\"", 7);
        dc_topic_publish(t, n, dc_slice_make(json, (size_t)len));
        settle(fx);
        assert_true(n < 1000);
    }
    PUMP_UNTIL(fx, fx->n_streams_closed == 1);
    dc_topic_destroy(t);
}

/* It never reads: what the kernel takes ends, and then nothing moves any more. */
static void a_stream_that_takes_nothing_for_the_keepalive_time_is_ended(void **state)
{
    (void)state;
    struct fixture fx;
    const struct dc_ws_opts ws_opts = {.max_frame_bytes = 1000};
    fx_open_with(&fx, &ws_opts, 60, 8 * 1024 * 1024);
    struct client *c = client_open(&fx, 4096);
    c->is_sse = true;
    client_send(&fx, c, DC_S("GET /sse HTTP/1.1\r\nHost: city.example\r\n\r\n"));
    PUMP_UNTIL(&fx, c->has_head && fx.n_streams == 1);
    struct dc_conn *conn = fx.streams[0];
    struct client *reader = open_stream(&fx, &(struct dc_conn *){NULL});
    shrink_send_buffer(conn, 4096);
    c->is_stalled = true;
    char line[4000];
    memset(line, 'x', sizeof(line));
    while (dc_conn_queued_bytes(conn) == 0) {
        dc_sse_send(conn, DC_SLICE_NULL, dc_slice_make(line, sizeof(line)));
        settle(&fx);
    }
    PUMP_UNTIL(&fx, fx.n_streams_closed == 1);
    assert_false(reader->is_eof); /* who reads stays, however little there is to read */
    fx_close(&fx);
}

static void shutdown_ends_streams_after_what_was_published(void **state)
{
    struct fixture *fx = *state;
    struct dc_conn *conn;
    const struct dc_topic_opts opts = {.kind = DC_TOPIC_STATE, .epoch = DC_S("e1")};
    struct dc_topic *t = dc_topic_create(fx->hub, &opts);
    struct client *c = open_stream(fx, &conn);
    dc_topic_join(t, conn, 0);
    dc_topic_set(t, DC_S("k"), DC_S("{\"x\":1"));
    dc_sse_hub_shutdown(fx->sse_hub);
    dc_sse_send(conn, DC_SLICE_NULL, DC_S("too late"));
    PUMP_UNTIL(fx, c->is_eof);
    assert_true(has_received(c, "id: e1:1\ndata: {\"x\":1,\"epoch\":\"e1\",\"offset\":1}\n\n"));
    client_close(c);
    PUMP_UNTIL(fx, fx->n_streams_closed == 1);
    struct client *late = client_open(fx, 0);
    client_send(fx, late, DC_S("GET /sse HTTP/1.1\r\nHost: city.example\r\n\r\n"));
    PUMP_UNTIL(fx, late->has_head);
    assert_int_equal(late->status, 503);
    dc_topic_destroy(t);
}

static void a_keepalive_time_of_zero_is_refused(void **state)
{
    (void)state;
    struct dc_loop *loop;
    struct dc_sse_hub *h;
    struct dc_error err;
    assert_int_equal(dc_loop_create(&loop, &err), DC_OK);
    assert_int_equal(dc_sse_hub_create(loop, 0, NULL, &h, &err), DC_CONFIG);
    assert_null(h);
    dc_sse_hub_destroy(NULL);
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FX_TEST(a_stream_has_the_right_head_and_stays_open),
        FX_TEST(head_gets_no_stream),
        FX_TEST(events_to_one_stream_are_fields_and_lines),
        FX_TEST(topics_reach_streams_and_sockets_alike),
        cmocka_unit_test(silence_is_broken_by_comments),
        FX_TEST(a_slow_stream_of_a_log_is_ended),
        cmocka_unit_test(a_stream_that_takes_nothing_for_the_keepalive_time_is_ended),
        FX_TEST(shutdown_ends_streams_after_what_was_published),
        cmocka_unit_test(a_keepalive_time_of_zero_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
