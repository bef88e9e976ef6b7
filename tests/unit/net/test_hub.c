/* The hub over real sockets: who gets what, once, in order; slow ones conflate or are closed;
 * changes of membership at any moment. */
#include "net/hub.h"

#include "dies.h"
#include "ws_fixture.h"

static struct dc_topic *log_topic(struct fixture *fx, uint64_t first_offset)
{
    const struct dc_topic_opts opts = {
        .kind = DC_TOPIC_LOG, .epoch = DC_S("e1"), .first_offset = first_offset};
    return dc_topic_create(fx->hub, &opts);
}

static struct dc_topic *state_topic(struct fixture *fx)
{
    const struct dc_topic_opts opts = {.kind = DC_TOPIC_STATE, .epoch = DC_S("e1")};
    return dc_topic_create(fx->hub, &opts);
}

static void join(struct dc_topic *t, const struct peer *p)
{
    dc_topic_join(t, dc_ws_conn(p->ws), dc_topic_offset(t));
}

/* Publishes {"n":offset}. */
static void publish_n(struct dc_topic *t, uint64_t offset)
{
    char json[64];
    int n = snprintf(json, sizeof(json), "{\"n\":%llu", (unsigned long long)offset);
    dc_topic_publish(t, offset, dc_slice_make(json, (size_t)n));
}

static void set_key(struct dc_topic *t, const char *key, const char *json_open)
{
    dc_topic_set(t, dc_slice_z(key), dc_slice_z(json_open));
}

/* A frame of about 2 KB, so that sockets are full soon. */
static void set_large(struct dc_topic *t, const char *key, int value)
{
    char json[2100];
    int n = snprintf(json, sizeof(json), "{\"key\":\"%s\",\"value\":%d,\"pad\":\"", key, value);
    memset(json + n, 'x', 2000);
    json[n + 2000] = '"';
    dc_topic_set(t, dc_slice_z(key), dc_slice_make(json, (size_t)n + 2001));
}

static uint64_t offset_of(const char *text)
{
    const char *at = strstr(text, "\"offset\":");
    assert_non_null(at);
    return strtoull(at + 9, NULL, 10);
}

static void a_broadcast_reaches_everybody_once_in_order_and_identical(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_topic *t = log_topic(fx, 41);
    for (int i = 0; i < 200; i++) {
        assert_non_null(client_connect(fx, &p));
        join(t, p);
    }
    assert_int_equal(dc_topic_member_count(t), 200);
    for (uint64_t round = 0; round < 3; round++) {
        publish_n(t, 42 + round * 10);
        publish_n(t, 45 + round * 10); /* offsets need not be dense */
        settle(fx);
    }
    for (size_t i = 0; i < fx->n_clients; i++) {
        PUMP_UNTIL(fx, fx->clients[i].n_texts == 6);
        assert_string_equal(fx->clients[i].texts[0], "{\"n\":42,\"epoch\":\"e1\",\"offset\":42}");
        for (size_t k = 0; k < 6; k++) {
            assert_string_equal(fx->clients[i].texts[k], fx->clients[0].texts[k]);
            assert_true(k == 0 || offset_of(fx->clients[i].texts[k]) >
                                      offset_of(fx->clients[i].texts[k - 1]));
        }
    }
    settle(fx);
    assert_int_equal(fx->clients[0].n_texts, 6);
    assert_int_equal(counter(fx, "daarion_hub_frames_total"), 1200);
    assert_int_equal(counter(fx, "daarion_hub_slow_closes_total"), 0);
    dc_topic_destroy(t);
}

/* Segments with data that have arrived; a write to a quiet loopback socket makes one.  The header
 * with this field of struct tcp_info, linux/tcp.h, collides with netinet/tcp.h. */
#define DATA_SEGS_IN_AT 152u

static uint32_t data_segments_in(const struct client *c)
{
    char info[DATA_SEGS_IN_AT + sizeof(uint32_t)];
    socklen_t len = sizeof(info);
    uint32_t n;
    assert_int_equal(getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, info, &len), 0);
    assert_int_equal(len, sizeof(info));
    memcpy(&n, info + DATA_SEGS_IN_AT, sizeof(n));
    return n;
}

static void one_turn_is_one_write_for_each_socket(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_topic *t = log_topic(fx, 0);
    struct dc_topic *s = state_topic(fx);
    struct client *c = client_connect(fx, &p);
    /* A snapshot before joining, then two topics and an answer: all of one turn. */
    dc_ws_send(p->ws, DC_S("snapshot"));
    join(t, p);
    join(s, p);
    publish_n(t, 1);
    set_key(s, "a", "{\"a\":1");
    dc_ws_send(p->ws, DC_S("answer"));
    publish_n(t, 2);
    settle(fx);
    assert_int_equal(c->n_texts, 5);
    assert_string_equal(c->texts[0], "snapshot");
    assert_string_equal(c->texts[1], "answer");
    /* Within a topic the order is that of production. */
    uint64_t last = 0;
    for (size_t i = 2; i < 5; i++) {
        if (strncmp(c->texts[i], "{\"n\":", 5) == 0) {
            assert_true(offset_of(c->texts[i]) > last);
            last = offset_of(c->texts[i]);
        }
    }
    assert_int_equal(last, 2);
    /* The 101 answer was one segment, everything else another. */
    assert_int_equal(data_segments_in(c), 2);
    dc_topic_destroy(t);
    dc_topic_destroy(s);
}

static void an_empty_object_gets_no_comma(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_topic *t = state_topic(fx);
    struct client *c = client_connect(fx, &p);
    join(t, p);
    set_key(t, "", "{");
    set_key(t, "k", "{\"a\":\n1");
    PUMP_UNTIL(fx, c->n_texts == 2);
    assert_string_equal(c->texts[0], "{\"epoch\":\"e1\",\"offset\":1}");
    assert_string_equal(c->texts[1], "{\"a\": 1,\"epoch\":\"e1\",\"offset\":2}");
    struct dc_strbuf json = {0};
    dc_strbuf_add(&json, DC_S("{\"type\":\"snapshot\""));
    dc_topic_write_cursor(t, 18446744073709551615u, &json);
    assert_true(dc_slice_eq(
        dc_strbuf_slice(&json),
        DC_S("{\"type\":\"snapshot\",\"epoch\":\"e1\",\"offset\":18446744073709551615}")));
    dc_strbuf_free(&json);
    dc_topic_destroy(t);
}

static void whole_frames_are_sent_as_they_are(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    const struct dc_topic_opts opts = {
        .kind = DC_TOPIC_STATE, .epoch = DC_S("e1"), .frames_are_whole = true};
    struct dc_topic *t = dc_topic_create(fx->hub, &opts);
    struct client *c = client_connect(fx, &p);
    join(t, p);
    set_key(t, "k", "{\"offset\":77}");
    PUMP_UNTIL(fx, c->n_texts == 1);
    assert_string_equal(c->texts[0], "{\"offset\":77}");
    assert_int_equal(dc_topic_offset(t), 1);
    dc_topic_destroy(t);
}

struct key_bytes {
    struct dc_topic *topic;
    char bytes[DC_TOPIC_KEY_MAX + 1];
};

static void set_too_long_key(void *data)
{
    struct key_bytes *k = data;
    dc_topic_set(k->topic, dc_slice_make(k->bytes, DC_TOPIC_KEY_MAX + 1), DC_S("{\"a\":1"));
}

static void a_key_has_200_bytes_at_most(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct key_bytes k;
    k.topic = state_topic(fx);
    memset(k.bytes, 0xFF, sizeof(k.bytes)); /* any bytes */
    struct client *c = client_connect(fx, &p);
    join(k.topic, p);
    struct dc_slice longest = dc_slice_make(k.bytes, DC_TOPIC_KEY_MAX);
    struct dc_slice shorter = dc_slice_make(k.bytes, DC_TOPIC_KEY_MAX - 1);
    dc_topic_set(k.topic, longest, DC_S("{\"n\":1"));
    dc_topic_set(k.topic, shorter, DC_S("{\"n\":2")); /* another key, to the last byte */
    dc_topic_set(k.topic, longest, DC_S("{\"n\":3"));
    settle(fx);
    assert_int_equal(c->n_texts, 2);
    assert_string_equal(c->texts[0], "{\"n\":2,\"epoch\":\"e1\",\"offset\":2}");
    assert_string_equal(c->texts[1], "{\"n\":3,\"epoch\":\"e1\",\"offset\":3}");
    assert_true(dies_with("key.len <= DC_TOPIC_KEY_MAX", set_too_long_key, &k));
    dc_topic_destroy(k.topic);
}

static void joining_twice_changes_nothing_and_leaving_ends_it(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_topic *t = log_topic(fx, 0);
    struct client *c = client_connect(fx, &p);
    dc_topic_leave(t, dc_ws_conn(p->ws)); /* was never in */
    join(t, p);
    join(t, p);
    assert_int_equal(dc_topic_member_count(t), 1);
    publish_n(t, 1);
    settle(fx);
    dc_topic_leave(t, dc_ws_conn(p->ws));
    assert_int_equal(dc_topic_member_count(t), 0);
    publish_n(t, 2);
    settle(fx);
    assert_int_equal(c->n_texts, 1);
    publish_n(t, 2); /* not new: ignored and counted */
    publish_n(t, 1);
    assert_int_equal(dc_topic_offset(t), 2);
    assert_int_equal(counter(fx, "daarion_hub_stale_publications_total"), 2);
    dc_topic_destroy(t);
}

static void a_cursor_resumes_exactly_what_was_missed(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    const struct dc_topic_opts opts = {.kind = DC_TOPIC_LOG,
                                       .epoch = DC_S("e1"),
                                       .first_offset = 10,
                                       .max_log_frames = 8,
                                       .max_frames_per_write = 3};
    struct dc_topic *t = dc_topic_create(fx->hub, &opts);
    assert_true(dc_topic_can_resume(t, DC_S("e1"), 10));
    assert_false(dc_topic_can_resume(t, DC_S("e1"), 9));
    assert_false(dc_topic_can_resume(t, DC_S("e1"), 11));
    for (uint64_t i = 11; i <= 30; i++) {
        publish_n(t, i);
    }
    /* The last eight are kept: 23 to 30. */
    assert_true(dc_topic_can_resume(t, DC_S("e1"), 22));
    assert_false(dc_topic_can_resume(t, DC_S("e1"), 21));
    assert_false(dc_topic_can_resume(t, DC_S("e2"), 25));
    assert_false(dc_topic_can_resume(t, DC_S(""), 25));
    struct client *c = client_connect(fx, &p);
    dc_ws_send(p->ws, DC_S("resumed"));
    dc_topic_join(t, dc_ws_conn(p->ws), 22);
    publish_n(t, 31);
    PUMP_UNTIL(fx, c->n_texts == 10);
    assert_string_equal(c->texts[0], "resumed");
    for (size_t i = 1; i < 10; i++) {
        assert_int_equal(offset_of(c->texts[i]), 22 + i);
    }
    settle(fx);
    assert_int_equal(c->n_texts, 10);
    dc_topic_destroy(t);
}

static void a_held_member_waits_for_its_release(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_topic *t = log_topic(fx, 0);
    struct client *c = client_connect(fx, &p);
    dc_topic_hold(t, dc_ws_conn(p->ws)); /* no member yet: harmless */
    dc_topic_release(t, dc_ws_conn(p->ws), 0);
    join(t, p);
    assert_int_equal(dc_topic_member_offset(t, dc_ws_conn(p->ws)), 0);
    dc_topic_hold(t, dc_ws_conn(p->ws));
    for (uint64_t i = 1; i <= 5; i++) {
        publish_n(t, i);
        settle(fx);
    }
    assert_int_equal(c->n_texts, 0);
    dc_ws_send(p->ws, DC_S("replay"));
    dc_topic_release(t, dc_ws_conn(p->ws), 3); /* the replay went up to 3 */
    PUMP_UNTIL(fx, c->n_texts == 3);
    assert_string_equal(c->texts[0], "replay");
    assert_int_equal(offset_of(c->texts[1]), 4);
    assert_int_equal(offset_of(c->texts[2]), 5);
    assert_int_equal(dc_topic_member_offset(t, dc_ws_conn(p->ws)), 5);
    dc_topic_destroy(t);
}

static void a_cursor_that_is_held_no_longer_closes_the_socket(void **state)
{
    struct fixture *fx = *state;
    struct peer *joins;
    struct peer *released;
    const struct dc_topic_opts opts = {
        .kind = DC_TOPIC_LOG, .epoch = DC_S("e1"), .max_log_frames = 3};
    struct dc_topic *t = dc_topic_create(fx->hub, &opts);
    struct client *a = client_connect(fx, &joins);
    struct client *b = client_connect(fx, &released);
    join(t, released);
    dc_topic_hold(t, dc_ws_conn(released->ws));
    for (uint64_t i = 1; i <= 10; i++) {
        publish_n(t, i);
        settle(fx);
    }
    dc_topic_join(t, dc_ws_conn(joins->ws), 2);
    dc_topic_release(t, dc_ws_conn(released->ws), 4);
    PUMP_UNTIL(fx, a->close_code != 0 && b->close_code != 0);
    assert_string_equal(a->close_reason, "slow_consumer offset=2");
    assert_string_equal(b->close_reason, "slow_consumer offset=4");
    assert_int_equal(a->n_texts + b->n_texts, 0);
    dc_topic_join(t, dc_ws_conn(joins->ws), 10); /* too late for this connection */
    assert_int_equal(dc_topic_member_count(t), 0);
    dc_topic_destroy(t);
}

static void a_member_ahead_of_the_topic_gets_only_what_it_has_not_seen(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_topic *t = log_topic(fx, 5);
    struct client *c = client_connect(fx, &p);
    dc_topic_join(t, dc_ws_conn(p->ws), 7); /* the database was ahead of the relay */
    for (uint64_t i = 6; i <= 9; i++) {
        publish_n(t, i);
        settle(fx);
    }
    assert_int_equal(c->n_texts, 2);
    assert_int_equal(offset_of(c->texts[0]), 8);
    dc_topic_destroy(t);
}

static struct client *stalled_client(struct fixture *fx, struct peer **p)
{
    struct client *c = client_connect_with(fx, 4096, p);
    shrink_send_buffer(dc_ws_conn((*p)->ws), 4096);
    c->is_stalled = true;
    return c;
}

static void the_offset_of_a_member_is_what_its_socket_has_been_given(void **state)
{
    struct fixture *fx = *state;
    struct peer *slow_peer;
    struct peer *stranger;
    struct dc_topic *t = state_topic(fx);
    struct client *slow = stalled_client(fx, &slow_peer);
    struct dc_conn *conn = dc_ws_conn(slow_peer->ws);
    assert_non_null(client_connect(fx, &stranger));
    set_large(t, "a", 0);
    assert_int_equal(dc_topic_member_offset(t, conn), 1); /* no member: the topic's */
    dc_topic_join(t, conn, 0);
    assert_int_equal(dc_topic_member_offset(t, conn), 0);
    settle(fx);
    assert_int_equal(dc_topic_member_offset(t, conn), 1);
    set_large(t, "a", 1);
    assert_int_equal(dc_topic_member_offset(t, conn), 1); /* served at the end of the turn */
    dc_topic_hold(t, conn);
    assert_int_equal(dc_topic_member_offset(t, conn), 2); /* held: the topic's */
    dc_topic_release(t, conn, 1);
    assert_int_equal(dc_topic_member_offset(t, conn), 1);
    while (dc_conn_is_writable(conn)) {
        set_large(t, "a", 2);
        settle(fx);
    }
    uint64_t stuck = dc_topic_member_offset(t, conn);
    for (int i = 0; i < 10; i++) {
        set_large(t, "a", 3);
        settle(fx);
    }
    assert_int_equal(dc_topic_member_offset(t, conn), stuck); /* its socket is full */
    assert_int_equal(dc_topic_offset(t), stuck + 10);
    assert_int_equal(dc_topic_member_offset(t, dc_ws_conn(stranger->ws)), stuck + 10);
    slow->is_stalled = false;
    PUMP_UNTIL(fx, dc_topic_member_offset(t, conn) == stuck + 10);
    PUMP_UNTIL(fx, offset_of(slow->texts[slow->n_texts - 1]) == stuck + 10);
    dc_topic_leave(t, conn);
    set_large(t, "a", 4);
    assert_int_equal(dc_topic_member_offset(t, conn), stuck + 11);
    dc_topic_destroy(t);
}

static void a_slow_member_of_a_state_topic_gets_only_the_newest_of_each_key(void **state)
{
    static const char *const keys[] = {"a", "b", "c"};
    struct fixture *fx = *state;
    struct peer *slow_peer;
    struct peer *fast_peer;
    struct dc_topic *t = state_topic(fx);
    struct client *slow = stalled_client(fx, &slow_peer);
    struct client *fast = client_connect(fx, &fast_peer);
    join(t, slow_peer);
    join(t, fast_peer);
    for (int i = 0; i < 300; i++) {
        set_large(t, keys[i % 3], i);
        settle(fx);
        assert_int_equal(fast->n_texts, i + 1); /* never delayed by the slow one */
    }
    assert_false(dc_conn_is_writable(dc_ws_conn(slow_peer->ws)));
    size_t before = slow->n_texts;
    slow->is_stalled = false;
    PUMP_UNTIL(fx, slow->n_texts > before && offset_of(slow->texts[slow->n_texts - 1]) == 300);
    assert_true(slow->n_texts < 100);
    for (size_t i = 1; i < slow->n_texts; i++) {
        assert_true(offset_of(slow->texts[i]) > offset_of(slow->texts[i - 1]));
    }
    for (size_t i = 0; i < 3; i++) { /* the newest of each key, in the order of their offsets */
        assert_int_equal(offset_of(slow->texts[slow->n_texts - 3 + i]), 298 + i);
    }
    assert_int_equal(counter(fx, "daarion_hub_conflated_total"), 300 - slow->n_texts);
    assert_int_equal(slow->close_code, 0);
    dc_topic_destroy(t);
}

static void a_slow_member_of_a_log_is_closed_with_its_cursor(void **state)
{
    struct fixture *fx = *state;
    struct peer *slow_peer;
    struct peer *fast_peer;
    const struct dc_topic_opts opts = {
        .kind = DC_TOPIC_LOG, .epoch = DC_S("e1"), .max_log_frames = 20};
    struct dc_topic *t = dc_topic_create(fx->hub, &opts);
    struct client *slow = stalled_client(fx, &slow_peer);
    struct client *fast = client_connect(fx, &fast_peer);
    join(t, slow_peer);
    join(t, fast_peer);
    char json[2100];
    uint64_t n = 0;
    while (dc_topic_member_count(t) == 2) {
        n++;
        int len = snprintf(json, sizeof(json), "{\"pad\":\"%2000d\"", 7);
        dc_topic_publish(t, n, dc_slice_make(json, (size_t)len));
        settle(fx);
        assert_int_equal(fast->n_texts, n);
        assert_true(n < 1000);
    }
    assert_int_equal(counter(fx, "daarion_hub_slow_closes_total"), 1);
    slow->is_stalled = false;
    PUMP_UNTIL(fx, slow->close_code != 0);
    assert_int_equal(slow->close_code, DC_WS_SLOW_CONSUMER);
    char want[64];
    uint64_t last = offset_of(slow->texts[slow->n_texts - 1]);
    snprintf(want, sizeof(want), "slow_consumer offset=%llu", (unsigned long long)last);
    assert_string_equal(slow->close_reason, want);
    for (size_t i = 0; i < slow->n_texts; i++) {
        assert_int_equal(offset_of(slow->texts[i]), i + 1); /* no gap up to the close */
    }
    client_close(slow);
    PUMP_UNTIL(fx, slow_peer->closed == 1);
    assert_int_equal(slow_peer->close_code, DC_WS_SLOW_CONSUMER);
    publish_n(t, n + 1);
    PUMP_UNTIL(fx, fast->n_texts == n + 1);
    dc_topic_destroy(t);
}

static void a_slow_member_that_never_reads_is_cut(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    const struct dc_topic_opts opts = {
        .kind = DC_TOPIC_LOG, .epoch = DC_S("e1"), .max_log_bytes = 10000};
    struct dc_topic *t = dc_topic_create(fx->hub, &opts);
    struct client *c = stalled_client(fx, &p);
    join(t, p);
    char json[2100];
    for (uint64_t n = 1; dc_topic_member_count(t) == 1; n++) {
        int len = snprintf(json, sizeof(json), "{\"pad\":\"%2000d\"", 7);
        dc_topic_publish(t, n, dc_slice_make(json, (size_t)len));
        settle(fx);
        assert_true(n < 1000);
    }
    PUMP_UNTIL(fx, p->closed == 1);
    assert_int_equal(p->close_code, DC_WS_SLOW_CONSUMER);
    assert_int_equal(c->close_code, 0);
    dc_topic_destroy(t);
}

static void many_frames_in_one_turn_do_not_make_a_reading_member_slow(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    const struct dc_topic_opts opts = {.kind = DC_TOPIC_LOG,
                                       .epoch = DC_S("e1"),
                                       .max_log_frames = 100,
                                       .max_frames_per_write = 7};
    struct dc_topic *t = dc_topic_create(fx->hub, &opts);
    struct client *c = client_connect(fx, &p);
    join(t, p);
    for (uint64_t n = 1; n <= 199; n++) { /* up to twice what is kept */
        publish_n(t, n);
    }
    PUMP_UNTIL(fx, c->n_texts == 199);
    for (size_t i = 0; i < 199; i++) {
        assert_int_equal(offset_of(c->texts[i]), i + 1);
    }
    /* What everybody has is forgotten with the next flush. */
    assert_true(dc_topic_can_resume(t, DC_S("e1"), 7)); /* the first write */
    publish_n(t, 200);
    settle(fx);
    assert_false(dc_topic_can_resume(t, DC_S("e1"), 99));
    assert_true(dc_topic_can_resume(t, DC_S("e1"), 100));
    dc_topic_destroy(t);
}

static void endings_are_remembered_within_bounds(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_topic *t = state_topic(fx);
    char key[32];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "user%d", i);
        set_key(t, key, "{\"s\":\"online\"");
    }
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "user%d", i);
        dc_topic_end(t, dc_slice_z(key), DC_S("{\"s\":\"offline\""));
    }
    set_key(t, "user7", "{\"s\":\"back\""); /* no ending any more */
    assert_true(dc_topic_can_resume(t, DC_S("e1"), 0));
    struct client *c = client_connect(fx, &p);
    dc_topic_join(t, dc_ws_conn(p->ws), 0);
    PUMP_UNTIL(fx, c->n_texts == 100);
    assert_int_equal(offset_of(c->texts[0]), 101);
    assert_int_equal(offset_of(c->texts[99]), 201);
    assert_non_null(strstr(c->texts[99], "back"));
    for (int i = 0; i < 1024 - 99; i++) {
        snprintf(key, sizeof(key), "other%d", i);
        dc_topic_end(t, dc_slice_z(key), DC_S("{\"s\":\"offline\""));
    }
    assert_true(dc_topic_can_resume(t, DC_S("e1"), 0)); /* 1024 are held */
    dc_topic_end(t, DC_S("last"), DC_S("{\"s\":\"offline\""));
    assert_false(dc_topic_can_resume(t, DC_S("e1"), 100)); /* 101 has been forgotten */
    assert_true(dc_topic_can_resume(t, DC_S("e1"), 101));
    dc_topic_destroy(t);
}

static void a_member_that_missed_a_forgotten_ending_is_closed(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_topic *t = state_topic(fx);
    struct client *c = stalled_client(fx, &p);
    join(t, p);
    for (int i = 0; i < 60; i++) {
        set_large(t, i % 2 == 0 ? "a" : "b", i);
        settle(fx);
    }
    assert_false(dc_conn_is_writable(dc_ws_conn(p->ws)));
    char key[32];
    for (int i = 0; i < 1500; i++) {
        snprintf(key, sizeof(key), "gone%d", i);
        dc_topic_end(t, dc_slice_z(key), DC_S("{\"s\":\"offline\""));
    }
    PUMP_UNTIL(fx, dc_topic_member_count(t) == 0);
    c->is_stalled = false;
    PUMP_UNTIL(fx, c->close_code == DC_WS_SLOW_CONSUMER);
    dc_topic_destroy(t);
}

/* --- changes while a flush is under way --- */

#define CROWD 200

static void crowd_open(struct fixture *fx, struct dc_topic *t)
{
    struct peer *p;
    for (int i = 0; i < CROWD; i++) {
        client_connect(fx, &p);
        join(t, p);
    }
}

/* Closes every third socket while others are being written to: by the server, by the client, by
 * leaving; the others get everything exactly once. */
static void members_may_leave_and_join_during_a_flush(void **state)
{
    struct fixture *fx = *state;
    struct dc_topic *t = log_topic(fx, 0);
    crowd_open(fx, t);
    bool is_out[CROWD] = {false};
    uint64_t n = 0;
    for (size_t round = 0; round < 40; round++) {
        publish_n(t, ++n);
        dc_loop_step(fx->loop); /* a slice or all of the flush */
        size_t victim = (round * 37) % CROWD;
        if (is_out[victim] || fx->peers[victim]->ws == NULL) {
            continue;
        }
        is_out[victim] = true;
        if (round % 3 == 0) {
            dc_topic_leave(t, dc_ws_conn(fx->peers[victim]->ws));
        } else if (round % 3 == 1) {
            dc_ws_close(fx->peers[victim]->ws, DC_WS_NORMAL, DC_SLICE_NULL);
        } else {
            client_close(&fx->clients[victim]);
        }
        publish_n(t, ++n);
    }
    settle(fx);
    for (size_t i = 0; i < CROWD; i++) {
        if (is_out[i]) {
            continue;
        }
        PUMP_UNTIL(fx, fx->clients[i].n_texts == n);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(offset_of(fx->clients[i].texts[k]), k + 1);
        }
    }
    dc_topic_destroy(t);
}

static void a_topic_may_be_destroyed_during_its_flush(void **state)
{
    struct fixture *fx = *state;
    struct dc_topic *t = log_topic(fx, 0);
    struct dc_topic *other = state_topic(fx);
    crowd_open(fx, t);
    for (size_t i = 0; i < CROWD; i++) {
        join(other, fx->peers[i]);
    }
    publish_n(t, 1);
    set_key(other, "k", "{\"x\":1");
    dc_loop_step(fx->loop);
    publish_n(t, 2);
    dc_topic_destroy(t);
    set_key(other, "k", "{\"x\":2");
    for (size_t i = 0; i < CROWD; i++) {
        PUMP_UNTIL(fx, fx->clients[i].n_texts > 0 &&
                           strstr(fx->clients[i].texts[fx->clients[i].n_texts - 1], "\"x\":2"));
    }
    dc_topic_destroy(other);
}

static struct dc_topic *topic_to_leave;

static void leave_on_close(struct fixture *fx, struct peer *p)
{
    assert_ptr_equal(p->fx, fx);
    dc_topic_leave(topic_to_leave, dc_ws_conn(p->ws)); /* harmless: it is out already */
    publish_n(topic_to_leave, dc_topic_offset(topic_to_leave) + 1);
}

static void a_close_callback_may_leave_and_publish(void **state)
{
    struct fixture *fx = *state;
    topic_to_leave = log_topic(fx, 0);
    fx->on_closed = leave_on_close;
    struct peer *p;
    struct client *stays = client_connect(fx, &p);
    join(topic_to_leave, p);
    for (int i = 0; i < 5; i++) {
        struct client *c = client_connect(fx, &p);
        join(topic_to_leave, p);
        client_close(c);
    }
    PUMP_UNTIL(fx, stays->n_texts == 5);
    assert_int_equal(dc_topic_member_count(topic_to_leave), 1);
    fx->on_closed = NULL;
    dc_topic_destroy(topic_to_leave);
}

static void a_socket_in_many_topics_gets_all_of_them(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    struct dc_topic *topics[40];
    struct client *c = client_connect(fx, &p);
    for (size_t i = 0; i < 40; i++) {
        topics[i] = state_topic(fx);
        join(topics[i], p);
    }
    for (size_t i = 0; i < 40; i++) {
        set_key(topics[i], "k", "{\"x\":1");
    }
    PUMP_UNTIL(fx, c->n_texts == 40);
    settle(fx);
    assert_int_equal(c->n_texts, 40);
    client_close(c);
    PUMP_UNTIL(fx, p->closed == 1);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(dc_topic_member_count(topics[i]), 0);
        dc_topic_destroy(topics[i]);
    }
}

static void a_long_backlog_of_a_log_comes_before_what_was_joined_earlier(void **state)
{
    struct fixture *fx = *state;
    struct peer *p;
    const struct dc_topic_opts opts = {
        .kind = DC_TOPIC_LOG, .epoch = DC_S("e1"), .max_frames_per_write = 3};
    struct dc_topic *crowd = state_topic(fx);
    struct dc_topic *log = dc_topic_create(fx->hub, &opts);
    struct client *c = client_connect(fx, &p);
    join(crowd, p);
    join(log, p);
    for (uint64_t n = 1; n <= 10; n++) { /* four writes */
        publish_n(log, n);
    }
    set_key(crowd, "k", "{\"joined_at\":10");
    PUMP_UNTIL(fx, c->n_texts == 11);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(offset_of(c->texts[i]), i + 1);
    }
    assert_non_null(strstr(c->texts[10], "joined_at"));
    dc_topic_destroy(crowd);
    dc_topic_destroy(log);
}

static void a_topic_without_members_frames_nothing(void **state)
{
    struct fixture *fx = *state;
    struct dc_topic *t = state_topic(fx);
    struct dc_topic *l = log_topic(fx, 0);
    for (uint64_t i = 1; i <= 100; i++) {
        set_key(t, "k", "{\"x\":1");
        publish_n(l, i);
    }
    settle(fx);
    assert_int_equal(counter(fx, "daarion_hub_frames_total"), 0);
    assert_int_equal(counter(fx, "daarion_hub_published_total"), 200);
    assert_true(dc_topic_can_resume(t, DC_S("e1"), 0));
    dc_topic_destroy(t);
    dc_topic_destroy(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FX_TEST(a_broadcast_reaches_everybody_once_in_order_and_identical),
        FX_TEST(one_turn_is_one_write_for_each_socket),
        FX_TEST(an_empty_object_gets_no_comma),
        FX_TEST(whole_frames_are_sent_as_they_are),
        FX_TEST(a_key_has_200_bytes_at_most),
        FX_TEST(joining_twice_changes_nothing_and_leaving_ends_it),
        FX_TEST(a_cursor_resumes_exactly_what_was_missed),
        FX_TEST(a_held_member_waits_for_its_release),
        FX_TEST(a_cursor_that_is_held_no_longer_closes_the_socket),
        FX_TEST(a_member_ahead_of_the_topic_gets_only_what_it_has_not_seen),
        FX_TEST(the_offset_of_a_member_is_what_its_socket_has_been_given),
        FX_TEST(a_slow_member_of_a_state_topic_gets_only_the_newest_of_each_key),
        FX_TEST(a_slow_member_of_a_log_is_closed_with_its_cursor),
        FX_TEST(a_slow_member_that_never_reads_is_cut),
        FX_TEST(many_frames_in_one_turn_do_not_make_a_reading_member_slow),
        FX_TEST(endings_are_remembered_within_bounds),
        FX_TEST(a_member_that_missed_a_forgotten_ending_is_closed),
        FX_TEST(members_may_leave_and_join_during_a_flush),
        FX_TEST(a_topic_may_be_destroyed_during_its_flush),
        FX_TEST(a_close_callback_may_leave_and_publish),
        FX_TEST(a_socket_in_many_topics_gets_all_of_them),
        FX_TEST(a_long_backlog_of_a_log_comes_before_what_was_joined_earlier),
        FX_TEST(a_topic_without_members_frames_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
