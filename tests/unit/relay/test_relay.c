/* The relay over real databases and a bus that fails: everything committed reaches the stream, in
 * the order of its key, whoever dies and whatever the bus does. */
#include "relay_fixture.h"

#define LONG_MS 60000

/* --- the short way --- */

static void what_is_handed_over_is_published_and_deleted_without_reading_the_table(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    for (int i = 0; i < 50; i++) {
        commit(r, &r->nodes[0], i % N_LANES);
    }
    until_empty(r);
    assert_exact(r);
    assert_int_equal(node_metric(r, 0, "daarion_relay_published_total{way=\"direct\"}"), 100);
    assert_int_equal(node_metric(r, 0, "daarion_relay_published_total{way=\"table\"}"), 0);
    assert_int_equal(node_metric(r, 0, "daarion_relay_waiting"), 0);
}

static void a_position_waits_for_the_one_before_it(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_open(r, 1, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_settle(r, 1);
    node_knows_all(r, 0);
    node_knows_all(r, 1);
    struct committed first = commit_only(r, 0);
    struct committed second = commit_only(r, 0);
    struct committed third = commit_only(r, 0);
    hand_over(&r->nodes[1], &second);
    hand_over(&r->nodes[1], &third);
    fixture_turns(r->f, 10);
    assert_int_equal(r->n_records, 0);
    hand_over(&r->nodes[0], &first);
    until_empty(r);
    assert_exact(r);
    assert_int_equal(node_metric(r, 1, "daarion_relay_held_total"), 2);
    assert_int_equal(node_metric(r, 1, "daarion_relay_published_total{way=\"direct\"}"), 4);
}

static void what_is_held_too_long_goes_by_the_table_with_what_it_waited_for(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, 20);
    node_settle(r, 0);
    node_knows_all(r, 0);
    (void)commit_only(r, 0); /* its process dies */
    commit(r, &r->nodes[0], 0);
    commit(r, &r->nodes[0], 0);
    until_empty(r);
    assert_exact(r);
    assert_int_equal(node_metric(r, 0, "daarion_relay_published_total{way=\"table\"}"), 6);
    /* What was heard since opens the short way again. */
    commit(r, &r->nodes[0], 0);
    until_empty(r);
    assert_exact(r);
    assert_int_equal(node_metric(r, 0, "daarion_relay_published_total{way=\"direct\"}"), 2);
}

static void a_lane_that_knows_nothing_goes_by_the_table_at_once(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    (void)commit_only(r, 1);
    commit(r, &r->nodes[0], 1);
    until_empty(r);
    assert_exact(r);
    assert_int_equal(node_metric(r, 0, "daarion_relay_held_total"), 0);
}

static void what_has_no_order_is_published_at_once(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    struct committed c = commit_only(r, 0);
    const struct dc_relay_item item = {c.ids[0], DC_S("city.chat.lane0"), DC_S("m_0_1"),
                                       DC_S("chat:0:1")};
    dc_relay_publish(r->nodes[0].relay, NULL, 0, &item, 1);
    RUN_UNTIL(r, r->n_records >= 1);
    assert_int_equal(r->records[0].position, 1);
}

static void holding_is_bounded(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    (void)commit_only(r, 0);
    for (int i = 0; i < DC_RELAY_MAX_HELD_OF_LANE; i++) {
        commit(r, &r->nodes[0], 0);
    }
    assert_int_equal(node_metric(r, 0, "daarion_relay_left_total"), 0);
    assert_int_equal(r->n_records, 0);
    commit(r, &r->nodes[0], 0); /* one more: the table takes it, and all before it */
    until_empty(r);
    assert_exact(r);
    assert_int_equal(node_metric(r, 0, "daarion_relay_held_total"), DC_RELAY_MAX_HELD_OF_LANE);
}

/* --- left by others --- */

static void rows_of_a_dead_process_are_published_once_at_the_start(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 300; i++) { /* several pages */
        (void)commit_only(r, i % N_LANES);
    }
    node_open(r, 0, LONG_MS, LONG_MS);
    until_empty(r);
    assert_exact(r);
    assert_int_equal(r->bus->n_published, 600);
}

static void rows_that_appear_later_are_found_by_the_sweep(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, 20, LONG_MS);
    node_settle(r, 0);
    (void)commit_only(r, 0);
    (void)commit_only(r, 2);
    until_empty(r);
    assert_exact(r);
}

static void doubt_finds_them_at_once(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    (void)commit_only(r, 0);
    dc_relay_doubt(r->nodes[0].relay);
    until_empty(r);
    assert_exact(r);
}

static void two_relays_at_one_table_publish_everything_once(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 400; i++) {
        (void)commit_only(r, i % N_LANES);
    }
    node_open(r, 0, LONG_MS, LONG_MS);
    node_open(r, 1, LONG_MS, LONG_MS);
    until_empty(r);
    assert_exact(r);
}

/* --- a bus that fails --- */

static void a_bus_that_refuses_leaves_everything_in_the_table_until_it_is_back(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    faulty_set(r->bus, FAULT_REFUSE, 0, SIZE_MAX);
    for (int i = 0; i < 200; i++) {
        commit(r, &r->nodes[0], i % N_LANES);
    }
    assert_int_equal(rows_left(r), 400);
    assert_int_equal(r->n_records, 0);
    assert_int_equal(node_metric(r, 0, "daarion_relay_waiting"), 400);
    assert_int_equal(count_logged(r, "relay.behind"), 1);
    size_t tries = r->bus->n_published;
    assert_true(tries < 200); /* with pauses, not for each message */
    faulty_set(r->bus, FAULT_NONE, 0, 0);
    until_empty(r);
    assert_exact(r);
    RUN_UNTIL(r, count_logged(r, "relay.caught_up") == 1);
    assert_int_equal(node_metric(r, 0, "daarion_relay_waiting"), 0);
    assert_int_equal(count_logged(r, "relay.behind"), 1);
}

static void doubt_ends_the_pause_between_tries(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    faulty_set(r->bus, FAULT_REFUSE, 0, SIZE_MAX);
    commit(r, &r->nodes[0], 0);
    RUN_UNTIL(r, r->bus->n_published >= 8); /* the pauses have grown */
    faulty_set(r->bus, FAULT_NONE, 0, 0);
    dc_relay_doubt(r->nodes[0].relay);
    until_empty(r);
    assert_exact(r);
}

static void a_message_that_the_bus_loses_is_published_again(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    faulty_set(r->bus, FAULT_LOSE, 10, SIZE_MAX);
    for (int i = 0; i < 20; i++) {
        commit(r, &r->nodes[0], 0);
        fixture_turns(r->f, 3); /* one after the other */
    }
    faulty_set(r->bus, FAULT_NONE, 0, 0);
    until_empty(r);
    assert_exact(r);
}

static void a_message_stored_without_acknowledgement_is_not_heard_twice(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    faulty_set(r->bus, FAULT_NO_ACK, 7, 9);
    for (int i = 0; i < 20; i++) {
        commit(r, &r->nodes[0], i % N_LANES);
    }
    until_empty(r);
    assert_exact(r);
}

static void a_page_that_fails_in_its_middle_goes_on_from_there(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 100; i++) {
        (void)commit_only(r, i % N_LANES);
    }
    faulty_set(r->bus, FAULT_REFUSE, 55, 3);
    node_open(r, 0, LONG_MS, LONG_MS);
    until_empty(r);
    assert_exact(r);
}

static void what_no_bus_takes_blocks_nobody(void **state)
{
    struct rig *r = *state;
    struct dc_strbuf huge = {0};
    struct got g = {0};
    while (huge.len <= DC_BUS_PAYLOAD_MAX_BYTES) {
        dc_strbuf_add(&huge, DC_S("more than a bus takes, and more, "));
    }
    const struct dc_owed owed = {DC_S("lane0"), 0, DC_S("city.chat.lane0"), DC_S("huge"),
                                 dc_strbuf_slice(&huge)};
    struct dc_db_batch *b = dc_db_batch_create(r->f->db, DC_DB_WRITE);
    dc_outbox_add(b, &owed, dc_utc_now());
    run(r->f, b, &g);
    assert_int_equal(g.status, DC_OK);
    got_free(&g);
    dc_strbuf_free(&huge);
    (void)commit_only(r, 0);
    node_open(r, 0, LONG_MS, LONG_MS);
    until_empty(r);
    assert_exact(r);
    assert_int_equal(node_metric(r, 0, "daarion_relay_unpublishable_total"), 1);
    assert_int_equal(count_logged(r, "relay.unpublishable"), 1);
    /* The same on the short way. */
    node_settle(r, 0);
    faulty_set(r->bus, FAULT_INVALID, 0, 1);
    struct committed c = commit_only(r, 1);
    dc_relay_lane_known(&r->nodes[0].lanes[1], 0);
    hand_over(&r->nodes[0], &c);
    until_empty(r);
    assert_int_equal(node_metric(r, 0, "daarion_relay_unpublishable_total"), 2);
}

static void what_is_under_way_is_bounded(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    faulty_set(r->bus, FAULT_STALL, 0, SIZE_MAX);
    struct committed c = commit_only(r, 0);
    const struct dc_relay_item items[] = {
        {c.ids[0], DC_S("city.chat.lane0"), DC_S("m_0_1"), DC_S("chat:0:1")},
        {c.ids[1], DC_S("city.chat.lane0"), DC_S("e_0_1"), DC_S("event:0:1")}};
    for (size_t i = 0; i < DC_RELAY_MAX_UNDER_WAY; i++) {
        dc_relay_publish(r->nodes[0].relay, NULL, 0, items, 2);
    }
    assert_int_equal(r->bus->n_stalled, DC_RELAY_MAX_UNDER_WAY);
    assert_int_equal(node_metric(r, 0, "daarion_relay_under_way"), DC_RELAY_MAX_UNDER_WAY);
    assert_int_equal(node_metric(r, 0, "daarion_relay_left_total"), DC_RELAY_MAX_UNDER_WAY);
    faulty_release(r->bus);
    until_empty(r);
    assert_exact(r);
}

static void a_bus_that_falls_silent_is_not_given_more(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, 20, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    faulty_set(r->bus, FAULT_STALL, 0, SIZE_MAX);
    commit(r, &r->nodes[0], 0);
    RUN_UNTIL(r, count_logged(r, "relay.behind") == 1);
    for (int i = 0; i < 200; i++) {
        commit(r, &r->nodes[0], 0);
    }
    assert_true(r->bus->n_stalled < 20);
    faulty_release(r->bus);
    until_empty(r);
    assert_exact(r);
    RUN_UNTIL(r, count_logged(r, "relay.caught_up") == 1);
}

/* --- the end --- */

static void closing_waits_for_acknowledgements_and_deletes_what_was_published(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    for (int i = 0; i < 30; i++) {
        commit(r, &r->nodes[0], i % N_LANES);
    }
    node_close(r, 0, LONG_MS);
    assert_exact(r);
    assert_int_equal(rows_left(r), 0);
}

static void closing_publishes_what_was_held(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    (void)commit_only(r, 0);
    commit(r, &r->nodes[0], 0);
    node_close(r, 0, LONG_MS);
    assert_exact(r);
    assert_int_equal(rows_left(r), 0);
}

static void closing_gives_up_on_a_bus_that_is_silent_and_the_next_relay_goes_on(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    commit(r, &r->nodes[0], 0);
    until_empty(r);
    faulty_set(r->bus, FAULT_STALL, 0, SIZE_MAX);
    commit(r, &r->nodes[0], 0);
    commit(r, &r->nodes[0], 1);
    node_close(r, 0, 30);
    assert_int_equal(r->bus->n_stalled, 0); /* cancelled */
    assert_int_equal(rows_left(r), 4);
    faulty_set(r->bus, FAULT_NONE, 0, 0);
    node_open(r, 0, LONG_MS, LONG_MS);
    until_empty(r);
    assert_exact(r);
}

static void closing_in_trouble_leaves_the_rows(void **state)
{
    struct rig *r = *state;
    node_open(r, 0, LONG_MS, LONG_MS);
    node_settle(r, 0);
    node_knows_all(r, 0);
    faulty_set(r->bus, FAULT_REFUSE, 0, SIZE_MAX);
    commit(r, &r->nodes[0], 0);
    node_close(r, 0, LONG_MS);
    assert_int_equal(rows_left(r), 2);
    faulty_set(r->bus, FAULT_NONE, 0, 0);
}

static void closing_at_once_is_harmless(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 200; i++) {
        (void)commit_only(r, 0);
    }
    node_open(r, 0, LONG_MS, LONG_MS);
    node_close(r, 0, LONG_MS);
    node_open(r, 0, LONG_MS, LONG_MS);
    RUN_UNTIL(r, r->n_records > 0);
    node_close(r, 0, 0); /* in the middle of a page */
    node_open(r, 0, LONG_MS, LONG_MS);
    until_empty(r);
    assert_exact(r);
}

/* --- all of it at random --- */

struct random_source {
    uint64_t x;
};

static uint64_t below(struct random_source *s, uint64_t bound)
{
    s->x ^= s->x << 13;
    s->x ^= s->x >> 7;
    s->x ^= s->x << 17;
    return s->x % bound;
}

#define DELAYED 8

/* Commits of a process that it has not handed over yet. */
struct process {
    struct node *node;
    struct committed delayed[N_LANES][DELAYED];
    size_t n_delayed[N_LANES];
};

/* In its own order: what was delayed goes first. */
static void hand_over_all(struct process *p, int lane)
{
    for (size_t i = 0; i < p->n_delayed[lane]; i++) {
        hand_over(p->node, &p->delayed[lane][i]);
    }
    p->n_delayed[lane] = 0;
}

static void fault_at_random(struct rig *r, struct random_source *s)
{
    enum fault fault = below(s, 3) > 0 ? FAULT_REFUSE : FAULT_NO_ACK;
    faulty_set(r->bus, fault, (size_t)below(s, 5), 1 + (size_t)below(s, 10));
}

static void step(struct rig *r, struct random_source *s, struct process *p)
{
    int lane = (int)below(s, N_LANES);
    uint64_t what = below(s, 100);
    if (what < 75) {
        struct committed c = commit_only(r, lane);
        if (p->n_delayed[lane] == DELAYED) {
            hand_over_all(p, lane);
        }
        p->delayed[lane][p->n_delayed[lane]++] = c;
        if (what < 50) {
            hand_over_all(p, lane);
        }
    } else if (what < 77) {
        (void)commit_only(r, lane); /* nobody hands it over */
    } else {
        fixture_turns(r->f, (unsigned)below(s, 4));
    }
}

/* Two processes commit to the same lanes, hand over late, or die between commit and publication;
 * the bus comes and goes.  Faults that a bus reports in order keep the order. */
static void order_is_exact_whatever_happens(void **state)
{
    struct rig *r = *state;
    struct random_source s = {0};
    struct process processes[2] = {{.node = &r->nodes[0]}, {.node = &r->nodes[1]}};
    const char *seed = getenv("RELAY_SEED");
    dc_random_fill(NULL, &s.x, sizeof(s.x));
    if (seed != NULL) {
        s.x = strtoull(seed, NULL, 10);
    }
    s.x |= 1;
    print_message("RELAY_SEED=%llu\n", (unsigned long long)s.x);
    for (size_t n = 0; n < 2; n++) {
        node_open(r, n, 20, 20);
        node_settle(r, n);
        node_knows_all(r, n);
    }
    for (int i = 0; i < 300; i++) {
        step(r, &s, &processes[below(&s, 2)]);
    }
    for (size_t n = 0; n < 2; n++) {
        assert_true(node_metric(r, n, "daarion_relay_published_total{way=\"direct\"}") > 20);
        assert_true(node_metric(r, n, "daarion_relay_held_total") > 5);
    }
    for (int i = 0; i < 300; i++) {
        size_t n = (size_t)below(&s, 2);
        uint64_t what = below(&s, 100);
        step(r, &s, &processes[n]);
        if (what < 3) {
            fault_at_random(r, &s);
        } else if (what < 4) {
            node_close(r, n, 0);
            node_open(r, n, 20, 20);
            processes[n] = (struct process){.node = &r->nodes[n]}; /* dies with what it has */
        }
    }
    faulty_set(r->bus, FAULT_NONE, 0, 0);
    until_empty(r);
    assert_exact(r);
}

int main(int argc, char **argv)
{
    bool is_postgres = argc == 2 && strcmp(argv[1], "postgres") == 0;
    if (!is_postgres && (argc != 2 || strcmp(argv[1], "sqlite") != 0)) {
        fprintf(stderr, "usage: test_relay sqlite|postgres\n");
        return 2;
    }
    if (is_postgres && getenv("TEST_DATABASE_URL") == NULL) {
        fprintf(stderr, "skipped: TEST_DATABASE_URL is not set (script/with-postgres)\n");
        return 77;
    }
    place_use_postgres(is_postgres);
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_is_handed_over_is_published_and_deleted_without_reading_the_table),
        CASE(a_position_waits_for_the_one_before_it),
        CASE(what_is_held_too_long_goes_by_the_table_with_what_it_waited_for),
        CASE(a_lane_that_knows_nothing_goes_by_the_table_at_once),
        CASE(what_has_no_order_is_published_at_once),
        CASE(holding_is_bounded),
        CASE(rows_of_a_dead_process_are_published_once_at_the_start),
        CASE(rows_that_appear_later_are_found_by_the_sweep),
        CASE(doubt_finds_them_at_once),
        CASE(two_relays_at_one_table_publish_everything_once),
        CASE(a_bus_that_refuses_leaves_everything_in_the_table_until_it_is_back),
        CASE(doubt_ends_the_pause_between_tries),
        CASE(a_message_that_the_bus_loses_is_published_again),
        CASE(a_message_stored_without_acknowledgement_is_not_heard_twice),
        CASE(a_page_that_fails_in_its_middle_goes_on_from_there),
        CASE(what_no_bus_takes_blocks_nobody),
        CASE(what_is_under_way_is_bounded),
        CASE(a_bus_that_falls_silent_is_not_given_more),
        CASE(closing_waits_for_acknowledgements_and_deletes_what_was_published),
        CASE(closing_publishes_what_was_held),
        CASE(closing_gives_up_on_a_bus_that_is_silent_and_the_next_relay_goes_on),
        CASE(closing_in_trouble_leaves_the_rows),
        CASE(closing_at_once_is_harmless),
        CASE(order_is_exact_whatever_happens),
    };
    return cmocka_run_group_tests_name(is_postgres ? "relay postgres" : "relay sqlite", tests, NULL,
                                       NULL);
}
