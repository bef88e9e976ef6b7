/* What only a bus with a server behind it has: that server stops, hangs, forgets, refuses.
 *
 *   test_bus_nats nats   one server (script/with-nats)
 * Cases that need other servers are in test_bus_cluster.c and test_bus_tls.c. */
#include "bus_fixture.h"
#include <nats/nats.h>
#include <stdlib.h>

/* --- restarts --- */

static void everything_goes_on_after_a_restart(void **state)
{
    struct rig *g = *state;
    struct listener plain = {.g = g}, all = {.g = g, .with_sequence = true}, last = {.g = g},
                    work = {.g = g, .acking = ACK_DONE};
    store(g, "all.a", "1");
    store(g, "last.a", "1");
    listen_to(&plain, "plain.*", DC_BUS_NEW);
    listen_to(&all, "all.>", DC_BUS_ALL);
    listen_to(&last, "last.*", DC_BUS_LAST);
    assert_int_equal(listen_with(&work, durable("d", 0, 0)), DC_OK);
    expect(&plain, "| ");
    expect(&all, "all.a=1#1r | ");
    expect(&last, "last.a=1r | ");
    expect(&work, "all.a=1r | ");
    server("stop", 0);
    publish(g, "all.a", "2"); /* the loss is not known yet */
    while (dc_health_overall(g->health) == DC_HEALTH_OK) {
        turn(g);
    }
    publish(g, "plain.a", "3");
    publish(g, "last.a", "4");
    publish(g, "all.b", "5");
    server("start", 0);
    until(g, &g->n_published, 6);
    assert_int_equal(g->status, DC_OK);
    expect(&plain, "! plain.a=3 ");
    expect(&all, "all.a=2#2 all.b=5#3 ");
    expect(&last, "last.a=4 ");
    expect(&work, "all.a=2 all.b=5 ");
    assert_int_equal(dc_health_overall(g->health), DC_HEALTH_OK);
    assert_int_equal(
        dc_metrics_counter(g->metrics, "daarion_bus_reconnects_total", NULL, "")->value, 1);
    assert_true(log_has(g, "bus.disconnected"));
    stop(&plain);
    stop(&all);
    stop(&last);
    stop(&work);
}

/* Numbers that must arrive one after the other; those of a durable consumer at least once. */
struct counting {
    struct rig *g;
    struct dc_bus_sub *sub;
    unsigned next, n_interrupted;
    bool *seen; /* durable */
};

static void on_number(void *data, const struct dc_bus_message *m)
{
    struct counting *c = data;
    uint64_t number = 0;
    assert_true(dc_slice_to_u64(m->payload, &number));
    if (m->ack != NULL) {
        dc_bus_ack(m->ack, true);
        c->next += !c->seen[number];
        c->seen[number] = true;
        return;
    }
    if (number != c->next) {
        fail_msg("%u instead of %u", (unsigned)number, c->next);
    }
    c->next++;
}

static void on_count_interrupted(void *data)
{
    struct counting *c = data;
    c->n_interrupted++;
}

static void count_from(struct counting *c, enum dc_bus_start start, const char *name)
{
    const struct dc_bus_sub_opts opts = {.pattern = DC_S("all.>"),
                                         .start = start,
                                         .durable = name,
                                         .ack_wait_ms = 1000,
                                         .interrupted = on_count_interrupted};
    assert_int_equal(dc_bus_subscribe(c->g->bus, &opts, on_number, c, &c->sub, NULL), DC_OK);
}

struct acks {
    struct rig *g;
    unsigned n;
    uint64_t last;
};

static void on_acked_in_order(void *data, enum dc_status st, uint64_t sequence,
                              const struct dc_error *err)
{
    struct acks *a = data;
    if (st != DC_OK) {
        fail_msg("%u: %s", a->n, dc_error_text(err));
    }
    assert_true(sequence > a->last);
    a->last = sequence;
    a->n++;
}

static enum dc_status publish_number(struct rig *g, unsigned i, dc_bus_publish_cb cb, void *data)
{
    char payload[16], id[24];
    snprintf(payload, sizeof(payload), "%u", i);
    snprintf(id, sizeof(id), "id%u", i);
    /* Every other one has an id of its own. */
    return dc_bus_publish(g->bus, i % 3 == 0 ? DC_S("all.x") : DC_S("all.y.z"),
                          i % 2 == 0 ? DC_SLICE_NULL : dc_slice_z(id), dc_slice_z(payload), cb,
                          data, NULL);
}

/* Publishes numbers as fast as the bus takes them, with an incident every now and then. */
static void publish_numbers(struct rig *g, unsigned n, const char *const *incidents,
                            unsigned n_incidents, struct acks *acks)
{
    unsigned i = 0, done = 0;
    while (i < n) {
        if (done < n_incidents && i >= n / (n_incidents + 1) * (done + 1)) {
            server(incidents[done], 0);
            done++;
        }
        /* A few hundred are always on their way when it happens. */
        while (i < n && i - acks->n < 5000 &&
               publish_number(g, i, on_acked_in_order, acks) == DC_OK) {
            i++;
        }
        turn(g);
    }
    until(g, &acks->n, n);
}

static void a_flood_arrives_in_order(void **state)
{
    struct rig *g = *state;
    enum { N = 100000 };
    static bool seen[N];
    struct counting live = {.g = g}, work = {.g = g, .seen = seen}, late = {.g = g};
    struct acks acks = {.g = g};
    count_from(&live, DC_BUS_NEW, NULL);
    count_from(&work, DC_BUS_ALL, "flood");
    publish_numbers(g, N, NULL, 0, &acks);
    count_from(&late, DC_BUS_ALL, NULL);
    until(g, &live.next, N);
    until(g, &work.next, N);
    until(g, &late.next, N);
    settle(g);
    assert_int_equal(acks.last, N); /* nothing was stored twice */
    assert_int_equal(live.next, N);
    assert_int_equal(late.next, N);
    assert_int_equal(live.n_interrupted + late.n_interrupted + work.n_interrupted, 0);
    dc_bus_unsubscribe(live.sub);
    dc_bus_unsubscribe(work.sub);
    dc_bus_unsubscribe(late.sub);
}

static void restarts_in_the_middle_of_a_flood_cost_nothing(void **state)
{
    struct rig *g = *state;
    enum { N = 20000 };
    static const char *const incidents[] = {"restart", "restart", "restart", "restart"};
    static bool seen[N];
    struct counting live = {.g = g}, work = {.g = g, .seen = seen};
    struct acks acks = {.g = g};
    count_from(&live, DC_BUS_NEW, NULL);
    count_from(&work, DC_BUS_ALL, "flood");
    publish_numbers(g, N, incidents, DC_ARRAY_LEN(incidents), &acks);
    until(g, &live.next, N);
    until(g, &work.next, N);
    settle(g);
    assert_int_equal(live.next, N);
    assert_int_equal(live.n_interrupted + work.n_interrupted, 0);
    assert_int_equal(acks.last, N);
    dc_bus_unsubscribe(live.sub);
    dc_bus_unsubscribe(work.sub);
}

/* --- what is gone --- */

static void a_wiped_server_interrupts_and_begins_anew(void **state)
{
    struct rig *g = *state;
    struct listener all = {.g = g, .with_sequence = true}, fresh = {.g = g, .with_sequence = true},
                    work = {.g = g, .acking = ACK_DONE};
    for (int i = 0; i < 3; i++) {
        store(g, "all.a", "old");
    }
    listen_to(&all, "all.>", DC_BUS_NEW);
    listen_to(&fresh, "last.*", DC_BUS_LAST);
    assert_int_equal(listen_with(&work, durable("d", 0, 0)), DC_OK);
    until(g, &work.n, 3);
    expect(&all, "| ");
    expect(&fresh, "| ");
    expect(&work, "all.a=oldr all.a=oldr all.a=oldr | ");
    server("stop", 0);
    server("wipe", 0);
    server("start", 0);
    assert_int_equal(store(g, "all.a", "new"), 1);
    store(g, "last.a", "new");
    expect(&all, "! all.a=new#1 ");
    expect(&fresh, "! last.a=new#1 ");
    expect(&work, "! all.a=new ");
    stop(&all);
    stop(&fresh);
    stop(&work);
}

static void a_stream_deleted_under_us_is_made_again(void **state)
{
    struct rig *g = *state;
    struct listener all = {.g = g, .with_sequence = true}, work = {.g = g, .acking = ACK_DONE};
    store(g, "all.a", "1");
    store(g, "all.a", "2");
    listen_to(&all, "all.>", DC_BUS_NEW);
    assert_int_equal(listen_with(&work, durable("d", 0, 0)), DC_OK);
    expect(&all, "| ");
    expect(&work, "all.a=1r all.a=2r | ");
    dc_free(ask_server("$JS.API.STREAM.DELETE.T_ALL", NULL));
    assert_int_equal(store(g, "all.a", "3"), 1);
    expect(&all, "! all.a=3#1 ");
    expect(&work, "! all.a=3 ");
    stop(&all);
    stop(&work);
}

static void an_acknowledgement_from_before_the_wipe_settles_nothing_new(void **state)
{
    struct rig *g = *state;
    struct listener work = {.g = g, .with_deliveries = true};
    store(g, "all.a", "old");
    assert_int_equal(listen_with(&work, durable("d", 1, 500)), DC_OK);
    until(g, &work.n, 1);
    dc_free(ask_server("$JS.API.STREAM.DELETE.T_ALL", NULL));
    store(g, "all.a", "new");
    until(g, &work.n, 2);
    dc_bus_ack(work.acks[0], true); /* sequence 1, as the new one */
    until(g, &work.n, 3);
    expect(&work, "all.a=oldx1r | ! all.a=newx1 all.a=newx2 ");
    dc_bus_ack(work.acks[1], true);
    dc_bus_ack(work.acks[2], true);
    stop(&work);
}

static void what_was_deleted_while_we_were_away_interrupts(void **state)
{
    struct rig *g = *state;
    struct listener all = {.g = g, .with_sequence = true};
    store(g, "all.a", "1");
    const struct dc_bus_sub_opts opts = {.pattern = DC_S("all.>"), .start = DC_BUS_AFTER_SEQ};
    store(g, "all.a", "2");
    store(g, "all.a", "3");
    dc_free(ask_server("$JS.API.STREAM.PURGE.T_ALL", "{\"seq\":3}"));
    assert_int_equal(listen_with(&all, opts), DC_OK); /* after 0: 1 and 2 are gone */
    expect(&all, "! all.a=3#3r | ");
    stop(&all);
}

/* --- a server that hangs --- */

static void a_pause_longer_than_the_wait_for_acknowledgement_loses_nothing(void **state)
{
    struct rig *g = *state;
    struct listener work = {.g = g, .with_deliveries = true}, all = {.g = g};
    store(g, "all.a", "1");
    listen_to(&all, "all.>", DC_BUS_NEW);
    assert_int_equal(listen_with(&work, durable("d", 0, 100)), DC_OK);
    until(g, &work.n, 1);
    expect(&all, "| ");
    server("pause", 0);
    for (unsigned i = 0; i < work.n_acks; i++) {
        dc_bus_ack(work.acks[i], true); /* does not arrive in time */
    }
    work.acking = ACK_DONE;
    publish(g, "all.a", "2");
    /* Time passes: longer than the wait. */
    int64_t until_ms = dc_mono_now().ms + 400;
    while (dc_mono_now().ms < until_ms) {
        turn(g);
    }
    assert_int_equal(g->n_published, 1);
    server("resume", 0);
    until(g, &g->n_published, 2);
    assert_int_equal(g->status, DC_OK);
    expect(&all, "all.a=2 ");
    until(g, &work.n, 2);
    settle(g);
    /* What we had acknowledged does not come to us again. */
    dc_strbuf_add_char(&work.log, '\0');
    assert_string_equal(work.log.ptr + work.log.len - 1 - strlen("all.a=2x1 "), "all.a=2x1 ");
    stop(&work);
    stop(&all);
}

static void a_server_that_hangs_is_left(void **state)
{
    struct rig *g = *state;
    static char payload[DC_BUS_PAYLOAD_MAX_BYTES];
    memset(payload, 'x', sizeof(payload));
    server("pause", 0);
    /* More than any socket holds. */
    for (int i = 0; i < 64; i++) {
        assert_int_equal(dc_bus_publish(g->bus, DC_S("plain.a"), DC_SLICE_NULL,
                                        dc_slice_make(payload, sizeof(payload)), NULL, NULL, NULL),
                         DC_OK);
    }
    int64_t longest_ms = 0;
    while (dc_health_overall(g->health) == DC_HEALTH_OK) {
        int64_t before_ms = dc_mono_now().ms;
        (void)dc_loop_step(g->loop); /* must not wait for anything */
        int64_t took_ms = dc_mono_now().ms - before_ms;
        longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
    }
    print_message("longest turn of the loop: %d ms\n", (int)longest_ms);
    assert_true(longest_ms < 1000); /* the write deadline is 2 s */
    server("resume", 0);
    store(g, "all.a", "1");
}

/* --- deadlines --- */

struct outcome {
    struct rig *g;
    unsigned n, number[8];
    enum dc_status status[8];
};

struct numbered {
    struct outcome *o;
    unsigned number;
};

static void on_outcome(void *data, enum dc_status st, uint64_t sequence, const struct dc_error *err)
{
    struct numbered *m = data;
    assert_int_equal(st != DC_OK, err != NULL);
    assert_true(sequence == 0 || st == DC_OK);
    m->o->number[m->o->n] = m->number;
    m->o->status[m->o->n++] = st;
}

static void what_cannot_be_sent_in_time_is_given_up_in_order(void **state)
{
    struct rig *g = *state;
    struct outcome o = {.g = g};
    struct numbered m[4];
    static const char *const subjects[] = {"all.a", "plain.a", "last.a", "all.b"};
    server("stop", 0);
    g->opts.publish_deadline_ms = 300;
    rig_open(g);
    for (unsigned i = 0; i < 4; i++) {
        m[i] = (struct numbered){&o, i};
        assert_int_equal(dc_bus_publish(g->bus, dc_slice_z(subjects[i]), DC_SLICE_NULL, DC_S("x"),
                                        on_outcome, &m[i], NULL),
                         DC_OK);
    }
    struct dc_op *op = NULL;
    publish(g, "all.c", "canceled");
    assert_int_equal(
        dc_bus_publish(g->bus, DC_S("all.c"), DC_SLICE_NULL, DC_SLICE_NULL, on_published, g, &op),
        DC_OK);
    dc_op_cancel(op);
    until(g, &g->n_published, 1);
    assert_int_equal(g->status, DC_CANCELED);
    until(g, &o.n, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(o.number[i], i);
        assert_int_equal(o.status[i], DC_UNAVAILABLE);
    }
    until(g, &g->n_published, 2);
    assert_false(g->is_ready);
    server("start", 0);
    rig_await_ready(g); /* somebody started it later */
    assert_int_equal(g->ready.status, DC_OK);
    struct listener all = {.g = g};
    listen_to(&all, "all.>", DC_BUS_ALL);
    expect(&all, "| "); /* nothing came of them */
    stop(&all);
}

static void what_may_have_been_stored_is_a_timeout(void **state)
{
    struct rig *g = *state;
    g->opts.publish_deadline_ms = 300;
    rig_open(g);
    rig_await_ready(g);
    server("pause", 0);
    publish(g, "all.a", "1");
    until(g, &g->n_published, 1);
    assert_int_equal(g->status, DC_TIMEOUT);
    server("resume", 0);
    store(g, "all.b", "2");
}

/* --- several processes --- */

static void open_second(struct rig *g, struct dc_bus **second)
{
    struct dc_bus_opts opts = g->opts;
    opts.metrics = dc_metrics_create();
    opts.health = NULL;
    assert_int_equal(dc_bus_open(g->loop, &opts, second, NULL), DC_OK);
    dc_metrics_destroy(g->second_metrics);
    g->second_metrics = opts.metrics;
}

static void close_second(struct rig *g, struct dc_bus *second)
{
    dc_bus_close(second, on_closed, g);
    await_closed(g);
    g->is_closed = false;
}

static void processes_share_durable_consumers_and_hear_each_other(void **state)
{
    struct rig *g = *state;
    struct dc_bus *first = g->bus, *second = NULL;
    struct listener a = {.g = g, .acking = ACK_DONE}, b = {.g = g, .acking = ACK_DONE},
                    plain = {.g = g};
    assert_int_equal(listen_with(&a, durable("d", 2, 0)), DC_OK);
    until(g, &a.n_caught_up, 1);
    open_second(g, &second);
    g->bus = second;
    assert_int_equal(listen_with(&b, durable("d", 2, 0)), DC_OK);
    listen_to(&plain, "plain.*", DC_BUS_NEW);
    until(g, &b.n_caught_up, 1);
    until(g, &plain.n_caught_up, 1);
    settle(g);
    dc_bus_unsubscribe(g->fence);
    g->fence = NULL;
    g->bus = first;
    for (int i = 0; i < 200; i++) {
        publish(g, "all.a", "x");
    }
    publish(g, "plain.a", "hello");
    while (a.n + b.n < 200) {
        turn(g);
    }
    until(g, &plain.n, 1);
    settle(g);
    assert_int_equal(a.n + b.n, 200);
    assert_in_range(a.n, 1, 199);
    stop(&b);
    stop(&plain);
    close_second(g, second);
    stop(&a);
}

static void another_process_with_another_pattern_is_refused(void **state)
{
    struct rig *g = *state;
    struct dc_bus *first = g->bus, *second = NULL;
    struct listener a = {.g = g}, b = {.g = g};
    assert_int_equal(listen_with(&a, durable("d", 0, 0)), DC_OK);
    until(g, &a.n_caught_up, 1);
    open_second(g, &second);
    g->bus = second;
    struct dc_bus_sub_opts opts = durable("d", 0, 0);
    opts.pattern = DC_S("all.a");
    assert_int_equal(listen_with(&b, opts), DC_OK); /* nobody here knows better */
    until(g, &b.n_refused, 1);
    assert_int_equal(b.refused, DC_CONFLICT);
    store(g, "all.a", "1"); /* the order of publishing goes on */
    assert_int_equal(b.n, 0);
    stop(&b);
    g->bus = first;
    until(g, &a.n, 1);
    close_second(g, second);
    dc_bus_ack(a.acks[0], true);
    stop(&a);
}

/* --- too much --- */

static void notice_end(struct listener *l, const struct dc_bus_message *m)
{
    l->n_acks += dc_slice_eq(m->payload, DC_S("end"));
    dc_strbuf_clear(&l->log);
}

static void more_plain_messages_than_fit_interrupt_and_the_rest_arrives(void **state)
{
    struct rig *g = *state;
    enum { N = 100000 };
    struct listener plain = {.g = g, .then = notice_end};
    natsConnection *nc = NULL;
    unsigned told = 0, sent = 0;
    listen_to(&plain, "plain.*", DC_BUS_NEW);
    expect(&plain, "| ");
    assert_int_equal(natsConnection_ConnectTo(&nc, g->opts.url), NATS_OK);
    /* Far more than one turn of our loop takes. */
    while (plain.n_interrupted == 0) {
        for (int i = 0; i < N; i++) {
            assert_int_equal(natsConnection_PublishString(nc, "plain.a", "x"), NATS_OK);
        }
        assert_int_equal(natsConnection_Flush(nc), NATS_OK);
        sent += N;
        turn(g);
    }
    while (plain.n_acks == 0) {
        if (told < plain.n_interrupted) { /* each time, as this one may not fit either */
            told = plain.n_interrupted;
            assert_int_equal(natsConnection_PublishString(nc, "plain.b", "end"), NATS_OK);
            assert_int_equal(natsConnection_Flush(nc), NATS_OK);
        }
        turn(g);
    }
    assert_in_range(plain.n, 65536, sent);
    natsConnection_Destroy(nc);
    stop(&plain);
}

/* --- what cannot work --- */

static void a_refused_login_is_a_matter_of_configuration(void **state)
{
    struct rig *g = *state;
    char url[256];
    const char *at = strrchr(g->opts.url, '@');
    assert_non_null(at);
    snprintf(url, sizeof(url), "nats://test:wrong%%21secret%s", at);
    g->opts.url = url;
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_non_null(strstr(g->ready.text, "NATS_URL"));
    assert_null(strstr(g->ready.text, "secret"));
    assert_true(log_has(g, "bus.connect_failed"));
    assert_true(log_has(g, "NATS_URL"));
    assert_false(log_has(g, "secret"));
    assert_int_equal(dc_health_overall(g->health), DC_HEALTH_DOWN);
    publish(g, "all.a", "1"); /* waits, and is canceled at the end */
    rig_close(g);
    assert_int_equal(g->status, DC_CANCELED);
    g->opts.url = getenv("TEST_NATS_URL");
}

static void a_token_is_no_password(void **state)
{
    struct rig *g = *state;
    char url[256];
    snprintf(url, sizeof(url), "nats://hushhush%s", strrchr(g->opts.url, '@'));
    g->opts.url = url;
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_non_null(strstr(g->ready.text, "token"));
    assert_false(log_has(g, "hush"));
    rig_close(g);
    g->opts.url = getenv("TEST_NATS_URL");
}

static void a_server_without_tls_is_told_apart(void **state)
{
    struct rig *g = *state;
    char url[256];
    snprintf(url, sizeof(url), "tls%s", strstr(g->opts.url, "://"));
    g->opts.url = url;
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_non_null(strstr(g->ready.text, "tls://"));
    rig_close(g);
    g->opts.url = getenv("TEST_NATS_URL");
}

static void a_stream_with_other_limits_is_not_touched(void **state)
{
    struct rig *g = *state;
    dc_free(ask_server("$JS.API.STREAM.CREATE.T_SMALL",
                       "{\"name\":\"T_SMALL\",\"subjects\":[\"small.*\"],\"storage\":\"file\","
                       "\"retention\":\"limits\",\"max_bytes\":70000,\"num_replicas\":1}"));
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_CONFIG);
    static const char *const words[] = {"NATS_URL", "T_SMALL", "max_bytes", "70000", "20000"};
    for (size_t i = 0; i < DC_ARRAY_LEN(words); i++) {
        if (strstr(g->ready.text, words[i]) == NULL || !log_has(g, words[i])) {
            fail_msg("%s not in: %s", words[i], g->ready.text);
        }
    }
    char *info = ask_server("$JS.API.STREAM.INFO.T_SMALL", NULL);
    assert_non_null(strstr(info, "70000"));
    dc_free(info);
    rig_close(g);
    /* More copies than there are servers. */
    dc_free(ask_server("$JS.API.STREAM.DELETE.T_SMALL", NULL));
    g->opts.replicas = 3;
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_non_null(strstr(g->ready.text, "NATS_REPLICAS"));
}

/* As after the loss of a server, while a cluster has no leader for a stream. */
static void what_is_said_waits_for_no_stream(void **state)
{
    struct rig *g = *state;
    struct listener l = {.g = g};
    rig_open(g);
    rig_await_ready(g);
    listen_to(&l, "plain.*", DC_BUS_NEW);
    publish(g, "plain.a", "0");
    until(g, &l.n, 1);
    dc_free(ask_server("$JS.API.STREAM.DELETE.T_SMALL", NULL));
    dc_free(ask_server("$JS.API.STREAM.CREATE.T_SMALL",
                       "{\"name\":\"T_SMALL\",\"subjects\":[\"small.*\"],\"storage\":\"file\","
                       "\"retention\":\"limits\",\"max_bytes\":70000,\"num_replicas\":1}"));
    server("restart", 0);
    until(g, &l.n_interrupted, 1); /* it listens again, before the streams are as they should be */
    publish(g, "plain.a", "in order");
    assert_int_equal(dc_bus_say(g->bus, DC_S("plain.a"), DC_S("1")), DC_OK);
    assert_int_equal(dc_bus_say(g->bus, DC_S("plain.a"), DC_S("2")), DC_OK);
    until(g, &l.n, 3);
    assert_int_equal(l.n, 3);
    dc_free(ask_server("$JS.API.STREAM.DELETE.T_SMALL", NULL));
    until(g, &l.n, 4);
    assert_true(
        dc_slice_ends(dc_strbuf_slice(&l.log), DC_S("plain.a=1 plain.a=2 plain.a=in order ")));
    stop(&l);
}

static void a_stream_gains_the_subjects_that_are_new(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    rig_await_ready(g);
    rig_close(g);
    static const char *const fewer[] = {"all.a", NULL};
    static const char *const more[] = {"all.>", "more.*", NULL};
    static const struct dc_bus_stream before = {
        .name = "T_ALL", .subjects = fewer, .dedup_window_ms = 3600000};
    static const struct dc_bus_stream after = {
        .name = "T_ALL", .subjects = more, .dedup_window_ms = 3600000};
    dc_free(ask_server("$JS.API.STREAM.DELETE.T_ALL", NULL));
    const struct dc_bus_stream *const rows[] = {&before, &after, &before};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        g->opts.streams = rows[i];
        g->opts.n_streams = 1;
        rig_open(g);
        rig_await_ready(g);
        assert_int_equal(g->ready.status, DC_OK);
        assert_int_equal(store(g, "all.a", "x"), i + 1);
        rig_close(g);
    }
    char *info = ask_server("$JS.API.STREAM.INFO.T_ALL", NULL);
    assert_non_null(strstr(info, "more.*")); /* older processes take nothing away */
    dc_free(info);
}

static void a_consumer_that_cannot_be_made_holds_nobody_up(void **state)
{
    struct rig *g = *state;
    struct listener first = {.g = g}, ordered = {.g = g}, work = {.g = g, .acking = ACK_DONE};
    dc_free(ask_server("$JS.API.STREAM.CREATE.T_ALL",
                       "{\"name\":\"T_ALL\",\"subjects\":[\"all.>\"],\"storage\":\"file\","
                       "\"retention\":\"limits\",\"duplicate_window\":3600000000000,"
                       "\"num_replicas\":1,\"max_consumers\":1}"));
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_OK);
    listen_to(&first, "all.>", DC_BUS_ALL);
    listen_to(&ordered, "all.>", DC_BUS_NEW);
    assert_int_equal(listen_with(&work, durable("d", 0, 0)), DC_OK);
    store(g, "all.a", "1");
    store(g, "all.a", "2");
    expect(&first, "| all.a=1 all.a=2 ");
    assert_true(log_has(g, "bus.subscribe_later"));
    assert_true(log_has(g, "bus.consumer_later"));
    stop(&first); /* makes room for one; whoever comes first */
    while (ordered.n + work.n < 2) {
        turn(g);
    }
    store(g, "all.a", "3");
    /* Its place is where it stood, and it has missed nothing. */
    expect(ordered.n > 0 ? &ordered : &work, "| all.a=1 all.a=2 all.a=3 ");
    stop(&ordered);
    stop(&work);
}

/* --- the end --- */

static void closing_is_possible_at_any_moment(void **state)
{
    struct rig *g = *state;
    static const char *const incidents[] = {"", "pause", "stop"};
    for (size_t i = 0; i < DC_ARRAY_LEN(incidents); i++) {
        for (int turns = 0; turns < 12; turns++) {
            struct listener l[3] = {{.g = g}, {.g = g}, {.g = g}};
            rig_open(g);
            if (turns >= 4) {
                rig_await_ready(g);
            }
            if (i > 0 && turns >= 4) {
                server(incidents[i], 0);
            }
            listen_to(&l[0], "plain.*", DC_BUS_NEW);
            listen_to(&l[1], "all.>", DC_BUS_ALL);
            assert_int_equal(listen_with(&l[2], durable("d", 0, 0)), DC_OK);
            publish(g, "all.a", "1");
            assert_int_equal(dc_bus_forget(g->bus, DC_S("all.b")), DC_OK);
            publish(g, "plain.a", "2");
            for (int k = 0; k < turns % 4 * 3; k++) {
                (void)dc_loop_step(g->loop);
            }
            rig_close(g);
            assert_int_equal(l[0].n_ended + l[1].n_ended + l[2].n_ended, 3);
            for (int k = 0; k < 3; k++) {
                dc_strbuf_free(&l[k].log);
            }
            if (i > 0 && turns >= 4) {
                server(i == 1 ? "resume" : "start", 0);
            }
        }
    }
}

static void what_is_published_just_before_the_end_is_still_sent(void **state)
{
    struct rig *g = *state;
    struct listener all = {.g = g};
    assert_int_equal(
        dc_bus_publish(g->bus, DC_S("all.a"), DC_SLICE_NULL, DC_S("bye"), NULL, NULL, NULL), DC_OK);
    rig_close(g);
    rig_open(g);
    listen_to(&all, "all.>", DC_BUS_ALL);
    expect(&all, "all.a=byer | ");
    stop(&all);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_goes_on_after_a_restart),
        TEST(a_flood_arrives_in_order),
        TEST(restarts_in_the_middle_of_a_flood_cost_nothing),
        TEST(a_wiped_server_interrupts_and_begins_anew),
        TEST(a_stream_deleted_under_us_is_made_again),
        TEST(an_acknowledgement_from_before_the_wipe_settles_nothing_new),
        TEST(what_was_deleted_while_we_were_away_interrupts),
        TEST(a_pause_longer_than_the_wait_for_acknowledgement_loses_nothing),
        TEST(a_server_that_hangs_is_left),
        BARE(what_cannot_be_sent_in_time_is_given_up_in_order),
        BARE(what_may_have_been_stored_is_a_timeout),
        TEST(processes_share_durable_consumers_and_hear_each_other),
        TEST(another_process_with_another_pattern_is_refused),
        TEST(more_plain_messages_than_fit_interrupt_and_the_rest_arrives),
        BARE(a_refused_login_is_a_matter_of_configuration),
        BARE(a_token_is_no_password),
        BARE(a_server_without_tls_is_told_apart),
        BARE(a_stream_with_other_limits_is_not_touched),
        BARE(what_is_said_waits_for_no_stream),
        BARE(a_stream_gains_the_subjects_that_are_new),
        BARE(a_consumer_that_cannot_be_made_holds_nobody_up),
        BARE(closing_is_possible_at_any_moment),
        TEST(what_is_published_just_before_the_end_is_still_sent),
    };
    return run_over_backend(argc, argv, tests, DC_ARRAY_LEN(tests));
}
