/* The bus over a cluster of three servers, one of which is lost.
 *
 *   test_bus_cluster nats script/with-nats     starts itself again under the script
 * Without TEST_NATS_URL there is no server to start either: skipped (77), except where CI is true.
 */
#include "bus_fixture.h"
#include <stdlib.h>
#include <unistd.h>

struct counting {
    struct rig *g;
    unsigned next, n_interrupted;
};

static void on_number(void *data, const struct dc_bus_message *m)
{
    struct counting *c = data;
    uint64_t number = 0;
    assert_true(dc_slice_to_u64(m->payload, &number));
    if (number != c->next) {
        fail_msg("%u instead of %u", (unsigned)number, c->next);
    }
    c->next++;
}

static void on_interrupted(void *data)
{
    struct counting *c = data;
    c->n_interrupted++;
}

static void on_acked(void *data, enum dc_status st, uint64_t sequence, const struct dc_error *err)
{
    unsigned *n = data;
    if (st != DC_OK) {
        fail_msg("%u: %s", *n, dc_error_text(err));
    }
    assert_true(sequence > 0);
    (*n)++;
}

/* One after the other, so that no change of a leader can put any behind a later one. */
static void publish_numbers(struct rig *g, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char payload[16];
        unsigned acked = 0;
        snprintf(payload, sizeof(payload), "%u", i);
        assert_int_equal(dc_bus_publish(g->bus, DC_S("all.a"), DC_SLICE_NULL, dc_slice_z(payload),
                                        on_acked, &acked, NULL),
                         DC_OK);
        until(g, &acked, 1);
    }
}

static void losing_any_one_server_leaves_no_gap(void **state)
{
    struct rig *g = *state;
    enum { STEP = 200 };
    struct counting c = {.g = g};
    struct listener work = {.g = g, .acking = ACK_DONE};
    struct dc_bus_sub *sub = NULL;
    const struct dc_bus_sub_opts opts = {
        .pattern = DC_S("all.>"), .start = DC_BUS_ALL, .interrupted = on_interrupted};
    alarm(500); /* elections take their time */
    g->opts.replicas = 3;
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_OK);
    assert_int_equal(dc_bus_subscribe(g->bus, &opts, on_number, &c, &sub, NULL), DC_OK);
    struct dc_bus_sub_opts d = durable("d", 0, 1000);
    assert_int_equal(listen_with(&work, d), DC_OK);
    unsigned n = 0;
    for (int server_number = 1; server_number <= 3; server_number++) {
        publish_numbers(g, n, n + STEP);
        server("kill", server_number); /* ours, the leader of a stream, or neither */
        publish_numbers(g, n + STEP, n + 2 * STEP);
        server("start", server_number);
        n += 2 * STEP;
        publish_numbers(g, n, n + STEP);
        n += STEP;
    }
    until(g, &c.next, n);
    until(g, &work.n, n);
    settle(g);
    assert_int_equal(c.next, n);
    assert_int_equal(c.n_interrupted, 0);
    assert_int_equal(work.n_interrupted, 0);
    dc_bus_unsubscribe(sub);
    stop(&work);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {BARE(losing_any_one_server_leaves_no_gap)};
    if (argc == 3 && getenv("TEST_NATS_URL") != NULL) {
        assert_int_equal(setenv("NATS_CLUSTER", "3", 1), 0);
        execl(argv[2], argv[2], argv[0], "nats", (char *)NULL);
        perror(argv[2]);
        return 1;
    }
    return run_over_backend(argc == 3 ? 2 : argc, argv, tests, DC_ARRAY_LEN(tests));
}
