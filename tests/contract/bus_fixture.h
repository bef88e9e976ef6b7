/* What the cases of the bus suite share: a bus with streams of the tests' own (so that windows can
 * be short), and listeners that write down what they hear.
 *
 *   PROGRAM memory
 *   PROGRAM nats      needs TEST_NATS_URL (script/with-nats), a server that nobody else uses;
 * without it the cases are skipped (77), except where CI is true */
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
    struct dc_metrics *metrics, *second_metrics;
    struct dc_health *health;
    struct dc_health_check *check;
    struct dc_log *log;
    int log_fd;              /* what the bus has logged */
    struct dc_bus_opts opts; /* change before rig_open() */
    struct dc_bus *bus;
    struct dc_error ready;
    bool is_ready, is_closed;
    struct dc_bus_sub *fence;
    unsigned n_fences;
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
    unsigned n, n_caught_up, n_ended, n_interrupted, n_refused;
    enum dc_status refused;
    bool with_sequence, with_deliveries;
    enum { ACK_NOT, ACK_DONE, ACK_REFUSE_FIRST } acking;
    struct dc_bus_ack *acks[LISTENER_ACKS];
    unsigned n_acks;
    void (*then)(struct listener *l, const struct dc_bus_message *m);
    struct listener *other;
};

/* A rig without its bus: for cases that open it in their own way. */
int make_rig(void **state);
/* Opens the bus; with rig_await_ready() waits until it is ready or cannot become so. */
void rig_open(struct rig *g);
void rig_await_ready(struct rig *g);
/* make_rig() and both. */
int open_rig(void **state);
/* Closes the bus and waits for it; another may be opened. */
void rig_close(struct rig *g);
/* One turn of the loop, which waits for something to happen. */
void turn(struct rig *g);
bool is_over_nats(void);
/* Runs $TEST_NATS_CONTROL; number 0: none. */
void server(const char *verb, int number);
/* Something in what the bus has logged so far. */
bool log_has(struct rig *g, const char *text);
/* Asks JetStream beside the port; body NULL: nothing. dc_free() the answer. */
char *ask_server(const char *subject, const char *body);
void on_closed(void *data);
/* After dc_bus_close(bus, on_closed, g). */
void await_closed(struct rig *g);
int close_rig(void **state);
/* Enough turns for everything that is ready; over NATS everything published before has been stored,
 * and what would have arrived by mistake has had the time of a few round trips to do so. */
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
/* Waits until as much has been heard, settles, compares, and forgets it. */
void expect(struct listener *l, const char *log);
void stop(struct listener *l);
/* A durable consumer of all.> from the beginning. */
struct dc_bus_sub_opts durable(const char *name, size_t max_in_flight, uint64_t wait_ms);

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
#define BARE(name) cmocka_unit_test_setup_teardown(name, make_rig, close_rig)
/* The program's exit code. */
int run_over_backend(int argc, char **argv, const struct CMUnitTest *tests, size_t n);

#endif
