/* A new leader of a large city, turn by turn: the CPU time of the longest turns of the loop from
 * the day it gets the lease until everything is compared and said (budget: 5 ms), with the bus and
 * the store in the same process, as in `up`.
 *
 *   warm   the standby has heard all sessions itself; the stream says the same
 *   cold   it knows only what the stream shows: everybody is held, and goes when nobody comes back
 *
 * bench_leader [people [people in a room]] */
#include "../tests/unit/roles/loose_bus.h"
#include "base/mem.h"
#include "kv/kv_priv.h"
#include "roles/presence_aggregator/aggregator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BUDGET_MS 5.0
/* People are told in portions that the bus takes. */
#define PORTION 10000

struct city {
    struct dc_loop *loop;
    struct dc_settings settings;
    struct dc_metrics *metrics;
    struct dc_bus *bus;
    struct dc_kv *kv, dead_kv;
    int n_people, n_a_room;
    bool is_flag;
    size_t n_ready;
    /* the turns of one phase */
    uint64_t n_turns, n_long;
    double longest_ms, total_ms;
};

struct candidate {
    struct dc_ctx ctx;
    struct dc_aggregator *role;
};

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void set_flag(void *data)
{
    *(bool *)data = true;
}

static void on_ready(void *data)
{
    ++*(size_t *)data;
}

static void must(enum dc_status st, const char *what)
{
    if (st != DC_OK) {
        fprintf(stderr, "%s: %s\n", what, dc_status_code(st));
        exit(1);
    }
}

static void turn(struct city *c)
{
    double start = cpu_ms();
    uv_run(dc_loop_uv(c->loop), UV_RUN_ONCE);
    double ms = cpu_ms() - start;
    c->n_turns++;
    c->n_long += ms > BUDGET_MS;
    c->total_ms += ms;
    c->longest_ms = ms > c->longest_ms ? ms : c->longest_ms;
}

/* What has been measured since the last line. */
static void line(struct city *c, const char *what)
{
    printf("%-46s %6" PRIu64 " turns, %8.1f ms CPU, longest %6.2f ms, %" PRIu64 " above %.0f ms\n",
           what, c->n_turns, c->total_ms, c->longest_ms, c->n_long, BUDGET_MS);
    c->n_turns = 0;
    c->n_long = 0;
    c->longest_ms = 0;
    c->total_ms = 0;
}

/* --- candidates: one dies by losing the bus and the store, as another process would --- */

static enum dc_status refuse(struct dc_kv *kv, const struct dc_kv_request *req, struct dc_op **op)
{
    (void)kv;
    (void)req;
    *op = NULL;
    return DC_UNAVAILABLE;
}

static void close_nothing(struct dc_kv *kv)
{
    (void)kv;
}

static const struct dc_kv_backend dead_backend = {.submit = refuse, .close = close_nothing};

static void start(struct city *c, struct candidate *a)
{
    void *role = NULL;
    struct dc_metrics *metrics = dc_metrics_create();
    a->ctx = (struct dc_ctx){.loop = c->loop,
                             .settings = &c->settings,
                             .metrics = metrics,
                             .bus = loose_bus_open(c->bus, c->metrics),
                             .kv = c->kv,
                             .internal_router = dc_router_create()};
    must(dc_role_presence_aggregator.start(&a->ctx, on_ready, &c->n_ready, &role, NULL), "start");
    a->role = role;
}

static void die(struct city *c, struct candidate *a)
{
    loose_bus_cut(a->ctx.bus);
    a->ctx.kv = &c->dead_kv;
}

static void stop(struct city *c, struct candidate *a)
{
    c->is_flag = false;
    dc_role_presence_aggregator.stop(a->role, set_flag, &c->is_flag);
    while (!c->is_flag) {
        turn(c);
    }
    a->role = NULL;
    loose_bus_free(a->ctx.bus);
    dc_metrics_destroy(a->ctx.metrics);
    dc_router_destroy(a->ctx.internal_router);
}

/* --- phases --- */

static bool has_settled(const struct candidate *a)
{
    return a->role->phase == DC_AGG_LEADING && a->role->sweep.stage == DC_SWEEP_NONE &&
           a->role->mirror == NULL;
}

static void tell(struct city *c, int from, int to)
{
    for (int i = from; i < to; i++) {
        char payload[256];
        int room = i / c->n_a_room;
        int len = snprintf(payload, sizeof(payload),
                           "{\"op\":\"beat\",\"session_id\":\"s-%026d\",\"user_id\":\"u_%026d\","
                           "\"username\":\"Somebody\",\"status\":\"online\","
                           "\"room_id\":\"room_%d\",\"room_slug\":\"room-%d\"}",
                           i, i, room, room);
        must(dc_bus_publish(c->bus, DC_S("city.session.bench"), DC_SLICE_NULL,
                            dc_slice_make(payload, (size_t)len), NULL, NULL, NULL),
             "publish");
    }
}

static size_t online(const struct candidate *a)
{
    return dc_presence_totals_get(a->role->core).online;
}

/* Everybody is online and the leader has said so. */
static void fill(struct city *c, const struct candidate *leader, const struct candidate *standby)
{
    for (int from = 0; from < c->n_people; from += PORTION) {
        int to = from + PORTION < c->n_people ? from + PORTION : c->n_people;
        tell(c, from, to);
        while (online(leader) < (size_t)to || (standby != NULL && online(standby) < (size_t)to)) {
            turn(c);
        }
    }
}

static void settle(struct city *c, const struct candidate *a)
{
    while (!has_settled(a)) {
        turn(c);
    }
}

static void warm(struct city *c, struct candidate *first, struct candidate *second)
{
    start(c, first);
    settle(c, first);
    start(c, second);
    fill(c, first, second);
    for (int i = 0; i < 100; i++) {
        dc_free(
            dc_realloc(NULL, 4096)); /* the allocator sorts what the flood of messages has left */
    }
    line(c, "(people come)");
    die(c, first);
    settle(c, second);
    line(c, "warm: a standby that knows everybody leads");
    printf("  %zu people, %" PRIu64 " events said\n", online(second),
           second->role->published->value);
}

static void cold(struct city *c, struct candidate *before, struct candidate *next)
{
    die(c, before);
    start(c, next);
    settle(c, next);
    line(c, "cold: one that knows only the stream leads");
    printf("  %zu people held, %" PRIu64 " events said\n", online(next),
           next->role->published->value);
    while (online(next) > 0) {
        turn(c);
    }
    line(c, "cold: nobody comes back, everybody goes");
}

int main(int argc, char **argv)
{
    struct city c = {.n_people = 100000, .n_a_room = 100};
    struct candidate candidates[3] = {{.role = NULL}};
    struct dc_kv_opts kv = {.deadline_ms = 1000};
    int *targets[] = {&c.n_people, &c.n_a_room};
    for (int i = 1; i < argc && i <= 2; i++) {
        *targets[i - 1] = atoi(argv[i]);
        if (*targets[i - 1] <= 0) {
            fprintf(stderr, "usage: bench_leader [people [people in a room]]\n");
            return 2;
        }
    }
    c.settings = (struct dc_settings){.presence_lease_ms = 40000,
                                      .presence_close_grace_ms = 5000,
                                      .typing_lease_ms = 6000,
                                      .room_presence_throttle_ms = 3000,
                                      .presence_leader_lease_ms = 5000,
                                      .presence_forget_ms = 60000};
    c.metrics = dc_metrics_create();
    kv.metrics = c.metrics;
    must(dc_loop_create(&c.loop, NULL), "loop");
    must(dc_bus_open(c.loop, &(struct dc_bus_opts){.metrics = c.metrics}, &c.bus, NULL), "bus");
    must(dc_kv_open(c.loop, &kv, &c.kv, NULL), "store");
    dc_kv_init(&c.dead_kv, &dead_backend, c.loop, &kv);
    printf("%d people, %d in a room\n", c.n_people, c.n_a_room);
    warm(&c, &candidates[0], &candidates[1]);
    cold(&c, &candidates[1], &candidates[2]);
    for (size_t i = 0; i < DC_ARRAY_LEN(candidates); i++) {
        stop(&c, &candidates[i]);
    }
    dc_turn_cancel(&c.dead_kv.ready_turn);
    c.is_flag = false;
    dc_kv_close(c.kv, set_flag, &c.is_flag);
    while (!c.is_flag) {
        turn(&c);
    }
    c.is_flag = false;
    dc_bus_close(c.bus, set_flag, &c.is_flag);
    while (!c.is_flag) {
        turn(&c);
    }
    must(dc_loop_destroy(c.loop), "end");
    dc_metrics_destroy(c.metrics);
    return 0;
}
