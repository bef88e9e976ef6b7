/* What every bus backend does: durable consumers. */
#include "bus_fixture.h"

static void a_durable_consumer_keeps_its_place(void **state)
{
    struct rig *g = *state;
    store(g, "all.a", "1");
    struct listener first = {.g = g, .acking = ACK_DONE}, second = {.g = g, .acking = ACK_DONE};
    struct listener other = {.g = g, .acking = ACK_DONE};
    assert_int_equal(listen_with(&first, durable("d", 0, 0)), DC_OK);
    store(g, "all.a", "2");
    expect(&first, "all.a=1r | all.a=2 ");
    stop(&first);
    store(g, "all.a", "3");
    assert_int_equal(listen_with(&second, durable("d", 0, 0)), DC_OK);
    assert_int_equal(listen_with(&other, durable("e", 0, 0)), DC_OK);
    store(g, "all.a", "4");
    expect(&second, "all.a=3r | all.a=4 ");
    expect(&other, "all.a=1r all.a=2r all.a=3r | all.a=4 ");
    stop(&second);
    stop(&other);
}

static void subscribers_of_one_name_share_the_work(void **state)
{
    struct rig *g = *state;
    struct listener a = {.g = g, .acking = ACK_DONE}, b = {.g = g, .acking = ACK_DONE};
    assert_int_equal(listen_with(&a, durable("d", 0, 0)), DC_OK);
    assert_int_equal(listen_with(&b, durable("d", 0, 0)), DC_OK);
    struct listener odd = {.g = g};
    struct dc_bus_sub_opts opts = durable("d", 0, 0);
    opts.pattern = DC_S("all.a");
    assert_int_equal(listen_with(&odd, opts), DC_CONFLICT);
    for (int i = 0; i < 10; i++) {
        store(g, "all.a", "x");
    }
    while (a.n + b.n < 10) {
        turn(g);
    }
    settle(g);
    assert_int_equal(a.n + b.n, 10);
    assert_int_equal(a.n, 5); /* in turn */
    stop(&a);
    stop(&b);
}

static void no_more_than_max_in_flight_wait_for_acknowledgement(void **state)
{
    struct rig *g = *state;
    struct listener l = {.g = g};
    for (int i = 0; i < 5; i++) {
        store(g, "all.a", "x");
    }
    assert_int_equal(listen_with(&l, durable("d", 2, 3600000)), DC_OK);
    until(g, &l.n, 2);
    settle(g);
    assert_int_equal(l.n, 2);
    dc_bus_ack(l.acks[1], true);
    until(g, &l.n, 3);
    settle(g);
    assert_int_equal(l.n, 3);
    dc_bus_ack(l.acks[0], true);
    dc_bus_ack(l.acks[2], true);
    until(g, &l.n, 5);
    settle(g);
    assert_int_equal(l.n, 5);
    assert_int_equal(l.n_caught_up, 1);
    dc_bus_ack(l.acks[3], true);
    stop(&l);
    dc_bus_ack(l.acks[4], true); /* after unsubscribing */
}

static void a_refused_message_comes_again(void **state)
{
    struct rig *g = *state;
    struct listener l = {.g = g, .acking = ACK_REFUSE_FIRST, .with_deliveries = true};
    store(g, "all.a", "1");
    assert_int_equal(listen_with(&l, durable("d", 0, 3600000)), DC_OK);
    until(g, &l.n, 2);
    expect(&l, "all.a=1x1r | all.a=1x2r ");
    stop(&l);
    assert_int_equal(listen_with(&l, durable("d", 0, 3600000)), DC_OK);
    expect(&l, "| "); /* done */
    stop(&l);
}

static void an_unacknowledged_message_comes_again_and_any_acknowledgement_settles_it(void **state)
{
    struct rig *g = *state;
    struct listener l = {.g = g, .with_deliveries = true};
    store(g, "all.a", "1");
    assert_int_equal(listen_with(&l, durable("d", 0, 20)), DC_OK);
    until(g, &l.n, 3);
    dc_bus_ack(l.acks[0], true);
    unsigned n = l.n;
    settle(g);
    assert_int_equal(l.n, n);
    dc_bus_ack(l.acks[1], false); /* settled already: says nothing */
    dc_bus_ack(l.acks[2], true);
    for (unsigned i = 3; i < l.n_acks; i++) {
        dc_bus_ack(l.acks[i], true);
    }
    /* Nothing comes again: the next message is the next event. */
    publish(g, "all.a", "2");
    until(g, &l.n, n + 1);
    dc_strbuf_add_char(&l.log, '\0');
    assert_non_null(strstr(l.log.ptr, "all.a=1x3r all.a=2x1 "));
    stop(&l);
}

static void a_lost_subscriber_leaves_its_work_to_others(void **state)
{
    struct rig *g = *state;
    struct listener lost = {.g = g}, other = {.g = g, .acking = ACK_DONE, .with_deliveries = true};
    store(g, "all.a", "1");
    assert_int_equal(listen_with(&lost, durable("d", 0, 20)), DC_OK);
    until(g, &lost.n, 1);
    stop(&lost);
    assert_int_equal(listen_with(&other, durable("d", 0, 20)), DC_OK);
    until(g, &other.n, 1);
    expect(&other, "| all.a=1x2r ");
    stop(&other);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_durable_consumer_keeps_its_place),
        TEST(subscribers_of_one_name_share_the_work),
        TEST(no_more_than_max_in_flight_wait_for_acknowledgement),
        TEST(a_refused_message_comes_again),
        TEST(an_unacknowledged_message_comes_again_and_any_acknowledgement_settles_it),
        TEST(a_lost_subscriber_leaves_its_work_to_others),
    };
    return run_over_backend(argc, argv, tests, DC_ARRAY_LEN(tests));
}
