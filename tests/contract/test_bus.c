/* What every bus backend does: publishing, streams, subscriptions, the end. */
#include "bus_fixture.h"

static void plain_messages_reach_who_listens_now_in_order(void **state)
{
    struct rig *g = *state;
    struct listener l = {.g = g, .with_sequence = true}, late = {.g = g};
    publish(g, "plain.a", "0"); /* nobody listens yet, although nothing was handed out */
    listen_to(&l, "plain.*", DC_BUS_ALL);
    publish(g, "plain.a", "1");
    publish(g, "plain.b", "2");
    publish(g, "other.a", "3");
    listen_to(&late, "plain.*", DC_BUS_NEW);
    publish(g, "plain.a", "4");
    expect(&l, "| plain.a=1#0 plain.b=2#0 plain.a=4#0 ");
    expect(&late, "| plain.a=4 ");
    until(g, &g->n_published, 5);
    assert_int_equal(g->n_published, 5);
    assert_int_equal(g->sequence, 0);
    dc_bus_unsubscribe(l.sub);
    l.sub = NULL;
    publish(g, "plain.a", "5");
    expect(&l, "");
    expect(&late, "plain.a=5 ");
    stop(&l);
    stop(&late);
    dc_bus_unsubscribe(NULL);
}

static void what_is_said_is_plain_and_in_order(void **state)
{
    struct rig *g = *state;
    struct listener l = {.g = g};
    char *large = dc_calloc(1, DC_BUS_PAYLOAD_MAX_BYTES + 1);
    listen_to(&l, "plain.*", DC_BUS_NEW);
    publish(g, "plain.a", "0");
    until(g, &l.n, 1);
    for (char number = '1'; number <= '9'; number++) {
        assert_int_equal(dc_bus_say(g->bus, DC_S("plain.a"), dc_slice_make(&number, 1)), DC_OK);
    }
    assert_int_equal(dc_bus_say(g->bus, DC_S("plain.b"), DC_SLICE_NULL), DC_OK);
    assert_int_equal(dc_bus_say(g->bus, DC_S("all.a"), DC_S("x")), DC_INVALID);
    assert_int_equal(dc_bus_say(g->bus, DC_S("plain.*"), DC_S("x")), DC_INVALID);
    assert_int_equal(
        dc_bus_say(g->bus, DC_S("plain.a"), dc_slice_make(large, DC_BUS_PAYLOAD_MAX_BYTES + 1)),
        DC_TOO_LARGE);
    dc_free(large);
    expect(&l, "| plain.a=0 plain.a=1 plain.a=2 plain.a=3 plain.a=4 plain.a=5 plain.a=6 "
               "plain.a=7 plain.a=8 plain.a=9 plain.b= ");
    stop(&l);
}

static void everybody_who_matches_gets_a_message_once(void **state)
{
    struct rig *g = *state;
    static const char *const patterns[] = {"plain.a.b", "plain.*.b", "plain.>", ">",
                                           "*.a.*",     "plain.a",   "plain.*", "x.>"};
    struct listener l[DC_ARRAY_LEN(patterns)] = {{0}};
    for (size_t i = 0; i < DC_ARRAY_LEN(patterns); i++) {
        l[i].g = g;
        const struct dc_bus_sub_opts opts = {.pattern = dc_slice_z(patterns[i])};
        /* `>` and `*.a.*` reach into streams. */
        bool is_good = i != 3 && i != 4;
        assert_int_equal(listen_with(&l[i], opts), is_good ? DC_OK : DC_INVALID);
    }
    publish(g, "plain.a.b", "1");
    for (size_t i = 0; i < DC_ARRAY_LEN(patterns); i++) {
        expect(&l[i], i < 3 ? "| plain.a.b=1 " : l[i].sub == NULL ? "" : "| ");
        stop(&l[i]);
    }
}

static void last_gives_the_newest_of_each_subject_then_what_is_new(void **state)
{
    struct rig *g = *state;
    static const char *const prefixes[] = {"last", "all"}; /* a stream of each kind */
    for (size_t i = 0; i < DC_ARRAY_LEN(prefixes); i++) {
        char a[16], b[16], c[16], pattern[16], expected[128];
        snprintf(a, sizeof(a), "%s.a", prefixes[i]);
        snprintf(b, sizeof(b), "%s.b", prefixes[i]);
        snprintf(c, sizeof(c), "%s.c", prefixes[i]);
        snprintf(pattern, sizeof(pattern), "%s.*", prefixes[i]);
        store(g, a, "1");
        store(g, b, "2");
        store(g, a, "3");
        struct listener l = {.g = g, .with_sequence = true};
        listen_to(&l, pattern, DC_BUS_LAST);
        publish(g, b, "4");
        publish(g, c, "5");
        snprintf(expected, sizeof(expected), "%s=3#3r | %s=4#4 %s=5#5 ", a, b, c);
        until(g, &l.n, 3);
        settle(g);
        dc_strbuf_add_char(&l.log, '\0');
        /* b=2 may come or be replaced by b=4 before it was handed out. */
        char with_b[256];
        snprintf(with_b, sizeof(with_b), "%s=2#2r %s", b, expected);
        assert_true(strcmp(l.log.ptr, expected) == 0 || strcmp(l.log.ptr, with_b) == 0);
        stop(&l);
    }
}

static void last_of_one_subject_is_one_message(void **state)
{
    struct rig *g = *state;
    store(g, "last.a", "1");
    store(g, "last.b", "2");
    store(g, "last.a", "3");
    struct listener l = {.g = g}, none = {.g = g};
    listen_to(&l, "last.a", DC_BUS_LAST);
    listen_to(&none, "last.nobody", DC_BUS_LAST);
    expect(&l, "last.a=3r | ");
    expect(&none, "| ");
    publish(g, "last.b", "4");
    publish(g, "last.a", "5");
    expect(&l, "last.a=5 ");
    expect(&none, "");
    stop(&l);
    stop(&none);
}

static void all_gives_what_is_kept_and_then_what_is_new(void **state)
{
    struct rig *g = *state;
    assert_int_equal(store(g, "all.a", "1"), 1);
    assert_int_equal(store(g, "all.b.c", "2"), 2);
    assert_int_equal(store(g, "all.a", "3"), 3);
    struct listener l = {.g = g, .with_sequence = true}, some = {.g = g};
    listen_to(&l, "all.>", DC_BUS_ALL);
    listen_to(&some, "all.a", DC_BUS_ALL);
    publish(g, "all.a", "4");
    expect(&l, "all.a=1#1r all.b.c=2#2r all.a=3#3r | all.a=4#4 ");
    expect(&some, "all.a=1r all.a=3r | all.a=4 ");
    stop(&l);
    stop(&some);
}

static void new_and_after_a_sequence_skip_the_past(void **state)
{
    struct rig *g = *state;
    static const struct {
        enum dc_bus_start start;
        uint64_t after;
        const char *expected;
    } rows[] = {
        {DC_BUS_NEW, 0, "| all.a=4#4 "},
        {DC_BUS_AFTER_SEQ, 0, "all.a=1#1r all.a=2#2r all.a=3#3r | all.a=4#4 "},
        {DC_BUS_AFTER_SEQ, 2, "all.a=3#3r | all.a=4#4 "},
        {DC_BUS_AFTER_SEQ, 3, "| all.a=4#4 "},
        {DC_BUS_AFTER_SEQ, 1000, "| all.a=4#4 "}, /* not reached yet: what is new */
    };
    for (int i = 1; i <= 3; i++) {
        char payload[16];
        snprintf(payload, sizeof(payload), "%d", i);
        store(g, "all.a", payload);
    }
    struct listener l[DC_ARRAY_LEN(rows)] = {{0}};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        l[i].g = g;
        l[i].with_sequence = true;
        const struct dc_bus_sub_opts opts = {
            .pattern = DC_S("all.>"), .start = rows[i].start, .after_sequence = rows[i].after};
        assert_int_equal(listen_with(&l[i], opts), DC_OK);
    }
    publish(g, "all.a", "4");
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        expect(&l[i], rows[i].expected);
        stop(&l[i]);
    }
}

static void publish_more(struct listener *l, const struct dc_bus_message *m)
{
    (void)m;
    if (l->n <= 500) {
        char payload[16];
        snprintf(payload, sizeof(payload), "n%u", l->n);
        publish(l->g, "all.x", payload);
    }
}

static void live_gives_what_is_published_from_now_on(void **state)
{
    struct rig *g = *state;
    struct listener live = {.g = g}, kept = {.g = g};
    struct dc_bus_sub_opts opts = {.pattern = DC_S("now.*"), .start = DC_BUS_LIVE};
    store(g, "now.a", "1");
    assert_int_equal(listen_with(&live, opts), DC_OK);
    expect(&live, "| ");
    publish(g, "now.a", "2");
    publish(g, "now.b", "3");
    expect(&live, "now.a=2 now.b=3 ");
    listen_to(&kept, "now.*", DC_BUS_ALL); /* the stream has them as well, once */
    expect(&kept, "now.a=1r now.a=2r now.b=3r | ");
    stop(&live);
    stop(&kept);
    opts.durable = "d";
    assert_int_equal(listen_with(&live, opts), DC_UNSUPPORTED);
    opts = (struct dc_bus_sub_opts){.pattern = DC_S("all.>"), .start = DC_BUS_LIVE};
    assert_int_equal(listen_with(&live, opts), DC_UNSUPPORTED); /* its row has none */
    opts.pattern = DC_S("plain.*");
    assert_int_equal(listen_with(&live, opts), DC_UNSUPPORTED);
}

static void a_long_replay_and_live_messages_leave_no_gap_and_repeat_nothing(void **state)
{
    struct rig *g = *state;
    enum { STORED = 10000, LIVE = 500 };
    for (int i = 0; i < STORED; i++) {
        publish(g, i % 2 == 0 ? "all.x" : "all.y", "s");
    }
    struct listener l = {.g = g, .then = publish_more}, quiet = {.g = g};
    listen_to(&l, "all.>", DC_BUS_ALL);
    listen_to(&quiet, "all.x", DC_BUS_ALL);
    until(g, &l.n, STORED + LIVE);
    until(g, &quiet.n, STORED / 2 + LIVE);
    settle(g);
    assert_int_equal(l.n, STORED + LIVE);
    assert_int_equal(quiet.n, STORED / 2 + LIVE);
    assert_int_equal(l.n_caught_up, 1);
    assert_int_equal(quiet.n_caught_up, 1);
    stop(&l);
    stop(&quiet);
}

static void a_known_id_is_acknowledged_and_reaches_nobody(void **state)
{
    struct rig *g = *state;
    struct listener l = {.g = g};
    listen_to(&l, "all.>", DC_BUS_NEW);
    publish_id(g, "all.a", "id1", "1");
    publish_id(g, "all.a", "id2", "2");
    publish_id(g, "all.b", "id1", "3");
    until(g, &g->n_published, 3);
    assert_int_equal(g->status, DC_OK);
    assert_int_equal(g->sequence, 1);    /* that of the first */
    publish_id(g, "last.a", "id1", "4"); /* another stream, without a window */
    publish_id(g, "last.a", "id1", "5");
    until(g, &g->n_published, 5);
    assert_int_equal(g->sequence, 2);
    expect(&l, "| all.a=1 all.a=2 ");
    stop(&l);
}

static void ids_and_messages_are_forgotten_after_their_time(void **state)
{
    struct rig *g = *state;
    unsigned n = 0;
    do {
        publish_id(g, "short.a", "id", "x");
        until(g, &g->n_published, ++n);
    } while (g->sequence == 1);
    assert_int_equal(g->sequence, 2);
    struct listener all = {.g = g, .with_sequence = true};
    listen_to(&all, "short.a", DC_BUS_ALL);
    until(g, &all.n_caught_up, 1);
    settle(g);
    dc_strbuf_add_char(&all.log, '\0');
    assert_null(strstr(all.log.ptr, "#1r")); /* the first is older than the limit */
    stop(&all);
}

static void a_full_stream_drops_the_oldest(void **state)
{
    struct rig *g = *state;
    char payload[1001];
    memset(payload, 'x', sizeof(payload));
    payload[sizeof(payload) - 1] = '\0';
    for (int i = 0; i < 100; i++) {
        store(g, "small.a", payload);
    }
    struct listener l = {.g = g};
    listen_to(&l, "small.a", DC_BUS_ALL);
    until(g, &l.n_caught_up, 1);
    settle(g);
    assert_in_range(l.n, 10, 20); /* 20,000 bytes, some of them for keeping */
    assert_int_equal(l.n_caught_up, 1);
    stop(&l);
}

static void what_is_forgotten_is_not_found_any_more(void **state)
{
    struct rig *g = *state;
    static const char *const prefixes[] = {"last", "all"}; /* a stream of each kind */
    for (size_t i = 0; i < DC_ARRAY_LEN(prefixes); i++) {
        char a[16], b[16], c[16], pattern[16], expected[64];
        snprintf(a, sizeof(a), "%s.a", prefixes[i]);
        snprintf(b, sizeof(b), "%s.b", prefixes[i]);
        snprintf(c, sizeof(c), "%s.c", prefixes[i]);
        snprintf(pattern, sizeof(pattern), "%s.*", prefixes[i]);
        publish(g, a, "1");
        publish(g, b, "2");
        publish(g, a, "3");
        publish(g, c, "4");
        assert_int_equal(dc_bus_forget(g->bus, dc_slice_z(a)), DC_OK); /* behind a=3 … */
        assert_int_equal(dc_bus_forget(g->bus, dc_slice_z(c)), DC_OK);
        publish(g, c, "5"); /* … and before this */
        assert_int_equal(dc_bus_forget(g->bus, DC_S("last.nobody")), DC_OK);
        struct listener l = {.g = g}, one = {.g = g};
        listen_to(&l, pattern, DC_BUS_LAST);
        listen_to(&one, a, DC_BUS_LAST);
        snprintf(expected, sizeof(expected), "%s=2r %s=5r | ", b, c);
        expect(&l, expected);
        expect(&one, "| ");
        publish(g, a, "6"); /* kept as ever */
        snprintf(expected, sizeof(expected), "%s=6 ", a);
        expect(&l, expected);
        expect(&one, expected);
        stop(&l);
        stop(&one);
    }
    assert_int_equal(dc_bus_forget(g->bus, DC_S("plain.a")), DC_INVALID);
    assert_int_equal(dc_bus_forget(g->bus, DC_S("last.*")), DC_INVALID);
    assert_int_equal(dc_bus_forget(g->bus, DC_S("last..")), DC_INVALID);
}

static void bad_arguments_are_refused(void **state)
{
    struct rig *g = *state;
    static char bytes[DC_BUS_PAYLOAD_MAX_BYTES + 1];
    memset(bytes, 'a', sizeof(bytes));
    struct dc_slice big = {bytes, sizeof(bytes)}, biggest = {bytes, sizeof(bytes) - 1};
    struct dc_slice long_id = {bytes, DC_BUS_ID_MAX_BYTES + 1};
    struct dc_slice long_subject = {bytes, DC_BUS_SUBJECT_MAX_BYTES + 1};
    struct dc_slice none = DC_SLICE_NULL, good = DC_S("all.a");
    const struct {
        struct dc_slice subject, id, payload;
        enum dc_status expected;
    } rows[] = {
        {none, none, none, DC_INVALID},
        {DC_S("all.*"), none, none, DC_INVALID},
        {DC_S("all..a"), none, none, DC_INVALID},
        {DC_S("all.кімната"), none, none, DC_INVALID},
        {long_subject, none, none, DC_INVALID},
        {good, long_id, none, DC_INVALID},
        {good, DC_S("a\nb"), none, DC_INVALID},
        {good, none, big, DC_TOO_LARGE},
        {good, none, biggest, DC_OK},
        {good, none, none, DC_OK},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_op unused;
        struct dc_op *op = &unused;
        enum dc_status st = dc_bus_publish(g->bus, rows[i].subject, rows[i].id, rows[i].payload,
                                           on_published, g, &op);
        if (st != rows[i].expected || (st == DC_OK) != (op != NULL)) {
            fail_msg("row %zu: %s", i, dc_status_code(st));
        }
    }
    until(g, &g->n_published, 2);
    settle(g);
    assert_int_equal(g->n_published, 2);
    char name[DC_BUS_SUBJECT_MAX_BYTES + 2];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    const struct {
        struct dc_bus_sub_opts opts;
        enum dc_status expected;
    } subs[] = {
        {{.pattern = none}, DC_INVALID},
        {{.pattern = DC_S("a.>.b")}, DC_INVALID},
        {{.pattern = DC_S("all")}, DC_OK}, /* plain: the stream has all.> */
        {{.pattern = DC_S("last.>")}, DC_INVALID},
        {{.pattern = DC_S("all.>"), .durable = ""}, DC_INVALID},
        {{.pattern = DC_S("all.>"), .durable = name}, DC_INVALID},
        {{.pattern = DC_S("plain.>"), .durable = "d"}, DC_UNSUPPORTED},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(subs); i++) {
        struct dc_bus_sub *sub = NULL;
        struct dc_error err = {0};
        enum dc_status st = dc_bus_subscribe(g->bus, &subs[i].opts, on_message, NULL, &sub, &err);
        if (st != subs[i].expected || err.status != st || (st == DC_OK) != (sub != NULL)) {
            fail_msg("subscription %zu: %s", i, dc_status_code(st));
        }
        dc_bus_unsubscribe(sub);
    }
}

static void unsubscribe_both(struct listener *l, const struct dc_bus_message *m)
{
    (void)m;
    dc_bus_unsubscribe(l->other->sub);
    dc_bus_unsubscribe(l->sub);
    l->other->sub = NULL;
    l->sub = NULL;
}

static void unsubscribing_inside_a_callback_is_safe(void **state)
{
    struct rig *g = *state;
    static const char *const subjects[] = {"plain.a", "all.a"};
    for (size_t i = 0; i < DC_ARRAY_LEN(subjects); i++) {
        for (int kind = 0; kind < 3; kind++) { /* live, replay, durable */
            struct listener a = {.g = g, .then = unsubscribe_both, .acking = ACK_DONE};
            struct listener b = {.g = g, .then = unsubscribe_both, .acking = ACK_DONE};
            a.other = &b;
            b.other = &a;
            if (i == 0 && kind == 2) {
                continue;
            }
            publish(g, subjects[i], "0");
            publish(g, subjects[i], "1");
            const struct dc_bus_sub_opts opts = {.pattern = dc_slice_z(subjects[i]),
                                                 .start = kind == 0 ? DC_BUS_NEW : DC_BUS_ALL,
                                                 .durable = kind == 2 ? "shared" : NULL};
            assert_int_equal(listen_with(&a, opts), DC_OK);
            assert_int_equal(listen_with(&b, opts), DC_OK);
            publish(g, subjects[i], "2");
            publish(g, subjects[i], "3");
            settle(g);
            assert_int_equal(a.n + b.n, 1);
            assert_null(a.sub);
            stop(&a);
            stop(&b);
        }
    }
}

static void subscribe_other(struct listener *l, const struct dc_bus_message *m)
{
    (void)m;
    if (l->other->sub == NULL) {
        listen_to(l->other, "plain.*", DC_BUS_NEW);
        publish(l->g, "plain.b", "inner");
    }
}

static void subscribing_and_publishing_inside_a_callback_is_safe(void **state)
{
    struct rig *g = *state;
    struct listener inner = {.g = g};
    struct listener outer = {.g = g, .then = subscribe_other, .other = &inner};
    listen_to(&outer, "plain.*", DC_BUS_NEW);
    publish(g, "plain.a", "1");
    expect(&outer, "| plain.a=1 plain.b=inner ");
    expect(&inner, "| plain.b=inner ");
    stop(&outer);
    stop(&inner);
}

static void closing_ends_everything_once(void **state)
{
    struct rig *g = *state;
    struct listener plain = {.g = g}, replaying = {.g = g}, consumer = {.g = g};
    store(g, "all.a", "1");
    listen_to(&plain, "plain.a", DC_BUS_NEW);
    assert_int_equal(listen_with(&consumer, durable("d", 0, 1000)), DC_OK);
    until(g, &consumer.n, 1);
    listen_to(&replaying, "all.>", DC_BUS_ALL);
    unsigned n = g->n_published;
    publish(g, "plain.a", "2");
    publish(g, "all.a", "3");
    dc_bus_close(g->bus, on_closed, g);
    struct dc_bus_sub *sub = NULL;
    const struct dc_bus_sub_opts opts = {.pattern = DC_S("plain.a")};
    assert_int_equal(dc_bus_subscribe(g->bus, &opts, on_message, NULL, &sub, NULL), DC_CLOSED);
    assert_int_equal(
        dc_bus_publish(g->bus, DC_S("plain.a"), DC_SLICE_NULL, DC_SLICE_NULL, NULL, NULL, NULL),
        DC_CLOSED);
    dc_bus_unsubscribe(plain.sub); /* in between */
    assert_false(g->is_closed);
    await_closed(g);
    assert_int_equal(g->n_published, n + 2);
    assert_int_equal(g->status, DC_CANCELED);
    assert_int_equal(plain.n, 0);
    assert_int_equal(plain.n_ended, 0);
    assert_int_equal(replaying.n, 0);
    assert_int_equal(replaying.n_ended, 1);
    assert_int_equal(consumer.n, 1);
    assert_int_equal(consumer.n_ended, 1);
    dc_strbuf_free(&plain.log);
    dc_strbuf_free(&replaying.log);
    dc_strbuf_free(&consumer.log);
}

static void close_now(struct listener *l, const struct dc_bus_message *m)
{
    (void)m;
    l->other->then = NULL;
    l->other->n_acks = l->other->n; /* heard before */
    dc_bus_close(l->g->bus, on_closed, l->g);
}

static void closing_inside_a_callback_is_safe(void **state)
{
    struct rig *g = *state;
    struct listener b = {.g = g}, a = {.g = g, .then = close_now, .other = &b};
    listen_to(&a, "plain.a", DC_BUS_NEW);
    listen_to(&b, "plain.a", DC_BUS_NEW);
    publish(g, "plain.a", "1");
    publish(g, "plain.a", "2");
    await_closed(g);
    assert_int_equal(a.n, 1);
    assert_int_equal(b.n, b.n_acks); /* nothing more */
    assert_int_equal(a.n_ended + b.n_ended, 2);
    assert_int_equal(g->n_published, 2);
    dc_strbuf_free(&a.log);
    dc_strbuf_free(&b.log);
}

static void a_full_outgoing_queue_refuses_and_recovers(void **state)
{
    struct rig *g = *state;
    static char payload[DC_BUS_PAYLOAD_MAX_BYTES];
    enum dc_status st = DC_OK;
    unsigned n = 0;
    while (st == DC_OK) {
        st = dc_bus_publish(g->bus, DC_S("plain.a"), DC_SLICE_NULL,
                            dc_slice_make(payload, sizeof(payload)), on_published, g, NULL);
        n += st == DC_OK;
    }
    assert_int_equal(st, DC_LIMIT);
    assert_in_range(n, 1, DC_BUS_OUTGOING_MAX_BYTES / DC_BUS_PAYLOAD_MAX_BYTES);
    until(g, &g->n_published, n);
    assert_int_equal(g->status, DC_OK);
    store(g, "plain.a", "x");
}

static void cancelling_a_publish_still_ends_it_once(void **state)
{
    struct rig *g = *state;
    struct dc_op *op = NULL;
    assert_int_equal(
        dc_bus_publish(g->bus, DC_S("all.a"), DC_SLICE_NULL, DC_S("1"), on_published, g, &op),
        DC_OK);
    dc_op_cancel(op);
    until(g, &g->n_published, 1);
    settle(g);
    assert_int_equal(g->n_published, 1);
    assert_true(g->status == DC_OK || g->status == DC_CANCELED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(plain_messages_reach_who_listens_now_in_order),
        TEST(what_is_said_is_plain_and_in_order),
        TEST(everybody_who_matches_gets_a_message_once),
        TEST(last_gives_the_newest_of_each_subject_then_what_is_new),
        TEST(last_of_one_subject_is_one_message),
        TEST(all_gives_what_is_kept_and_then_what_is_new),
        TEST(new_and_after_a_sequence_skip_the_past),
        TEST(live_gives_what_is_published_from_now_on),
        TEST(a_long_replay_and_live_messages_leave_no_gap_and_repeat_nothing),
        TEST(a_known_id_is_acknowledged_and_reaches_nobody),
        TEST(ids_and_messages_are_forgotten_after_their_time),
        TEST(a_full_stream_drops_the_oldest),
        TEST(what_is_forgotten_is_not_found_any_more),
        TEST(bad_arguments_are_refused),
        TEST(unsubscribing_inside_a_callback_is_safe),
        TEST(subscribing_and_publishing_inside_a_callback_is_safe),
        TEST(closing_ends_everything_once),
        TEST(closing_inside_a_callback_is_safe),
        TEST(a_full_outgoing_queue_refuses_and_recovers),
        TEST(cancelling_a_publish_still_ends_it_once),
    };
    return run_over_backend(argc, argv, tests, DC_ARRAY_LEN(tests));
}
