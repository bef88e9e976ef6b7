/* A database with the real migrations, a bus that can fail, and nodes: relays as of several
 * processes, each hearing the bus as a role does.  A recorder writes down what the stream gets. */
#ifndef DC_TESTS_RELAY_FIXTURE_H
#define DC_TESTS_RELAY_FIXTURE_H

#include "../../contract/db_fixture.h"
#include "base/mem.h"
#include "base/random.h"
#include "db/migrate.h"
#include "faulty_bus.h"
#include "relay/relay.h"

#define N_LANES     3
#define MAX_RECORDS 4096

struct node {
    struct rig *rig;
    struct dc_relay *relay;
    struct dc_metrics *metrics;
    struct dc_relay_lane lanes[N_LANES];
    struct dc_bus_sub *sub;
    bool is_closed;
};

struct rig {
    struct fixture *f;
    struct faulty_bus *bus;
    struct dc_bus_sub *recorder;
    size_t n_records;
    struct {
        int lane;
        uint64_t position; /* 0: an event */
    } records[MAX_RECORDS];
    uint64_t next[N_LANES]; /* positions committed so far */
    struct node nodes[2];
    bool is_bus_closed;
    char log[65536]; /* what the port has logged, as far as read */
    size_t log_len;
};

#define RUN_UNTIL(r, cond)                                                                         \
    do {                                                                                           \
        while (!(cond)) {                                                                          \
            uv_run(dc_loop_uv((r)->f->loop), UV_RUN_ONCE);                                         \
        }                                                                                          \
    } while (0)

int rig_setup(void **state);
int rig_teardown(void **state);
/* Reads asked for and deletes come after 1 and 5 ms; a bus that is silent for 50 ms is away. */
void node_open(struct rig *r, size_t i, uint64_t sweep_ms, uint64_t hold_ms);
/* Until the relay has nothing to read: its first look at the table is over. */
void node_settle(struct rig *r, size_t i);
void node_close(struct rig *r, size_t i, uint64_t timeout_ms);
/* All lanes of the node: everything up to what is committed is on the bus. */
void node_knows_all(struct rig *r, size_t i);
int64_t node_metric(struct rig *r, size_t i, const char *line_start);

/* Commits the next position of a lane: a message and an event; handed to the node's relay in the
 * callback, unless node is NULL: a process that dies there. Returns when committed. */
void commit(struct rig *r, struct node *node, int lane);
/* The same in two steps: what has been committed, to hand over later. */
struct committed {
    int lane;
    uint64_t position;
    int64_t ids[2];
};
struct committed commit_only(struct rig *r, int lane);
void hand_over(struct node *node, const struct committed *c);

int64_t rows_left(struct rig *r);
/* Turns until the table is empty. */
void until_empty(struct rig *r);
/* Every committed position of every lane is in the records once, in order; each with its event
 * behind it. */
void assert_exact(const struct rig *r);
/* How often a line with this event has been logged. */
size_t count_logged(struct rig *r, const char *event);

#endif
