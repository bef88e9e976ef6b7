/* What the cases of the bus suite share: a bus with streams of the tests' own (so that windows can
 * be short), and listeners that write down what they hear. */
#ifndef DC_TESTS_CONTRACT_BUS_FIXTURE_H
#define DC_TESTS_CONTRACT_BUS_FIXTURE_H

#include "base/mem.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "rt/timer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct rig {
    struct dc_loop *loop;
    struct dc_bus *bus;
    bool is_closed;
    unsigned n_published; /* answers to publishing */
    enum dc_status status;
    uint64_t sequence;
    bool is_inside; /* a call of the port is running: no callback may */
};

#define LISTENER_ACKS 64
struct listener {
    struct rig *g;
    struct dc_bus_sub *sub;
    struct dc_strbuf log; /* "subject=payload " and marks */
    unsigned n, n_caught_up, n_ended;
    bool with_sequence, with_deliveries;
    enum { ACK_NOT, ACK_DONE, ACK_REFUSE_FIRST } acking;
    struct dc_bus_ack *acks[LISTENER_ACKS];
    unsigned n_acks;
    void (*then)(struct listener *l, const struct dc_bus_message *m);
    struct listener *other;
};

int open_rig(void **state);
void on_closed(void *data);
/* After dc_bus_close(bus, on_closed, g). */
void await_closed(struct rig *g);
int close_rig(void **state);
/* Enough turns for everything that is ready. */
void settle(struct rig *g);
/* Runs until the counter has reached n. */
void until(struct rig *g, const unsigned *counter, unsigned n);
void on_message(void *data, const struct dc_bus_message *m);
enum dc_status listen_with(struct listener *l, struct dc_bus_sub_opts opts);
void listen_to(struct listener *l, const char *pattern, enum dc_bus_start start);
void on_published(void *data, enum dc_status st, uint64_t sequence, const struct dc_error *err);
void publish_id(struct rig *g, const char *subject, const char *id, const char *payload);
/* Publishes with on_published as callback. */
void publish(struct rig *g, const char *subject, const char *payload);
/* Publishes and waits for the answer; gives the sequence. */
uint64_t store(struct rig *g, const char *subject, const char *payload);
/* Settles, compares what was heard, and forgets it. */
void expect(struct listener *l, const char *log);
void stop(struct listener *l);
/* A durable consumer of all.> from the beginning. */
struct dc_bus_sub_opts durable(const char *name, size_t max_in_flight, uint64_t wait_ms);

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
/* Runs the tests over every backend in the table (bus_fixture.c); the number that failed. */
int run_over_backends(const struct CMUnitTest *tests, size_t n);

#endif
