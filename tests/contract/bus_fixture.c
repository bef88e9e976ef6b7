#include "bus_fixture.h"

/* One row for each backend. */
struct backend {
    const char *name;
    const char *url;
};
static const struct backend backends[] = {{"memory", NULL}};
static const struct backend *current;

static const char *const last_subjects[] = {"last.*", NULL};
static const char *const all_subjects[] = {"all.>", NULL};
static const char *const short_subjects[] = {"short.*", NULL};
static const char *const small_subjects[] = {"small.*", NULL};
static const struct dc_bus_stream streams[] = {
    {.name = "T_LAST", .subjects = last_subjects, .last_per_subject = true},
    {.name = "T_ALL", .subjects = all_subjects, .dedup_window_ms = 3600000},
    {.name = "T_SHORT", .subjects = short_subjects, .max_age_ms = 30, .dedup_window_ms = 30},
    {.name = "T_SMALL", .subjects = small_subjects, .max_bytes = 20000},
};

int open_rig(void **state)
{
    struct rig *g = dc_calloc(1, sizeof(*g));
    assert_int_equal(dc_loop_create(&g->loop, NULL), DC_OK);
    const struct dc_bus_opts opts = {
        .url = current->url, .streams = streams, .n_streams = DC_ARRAY_LEN(streams)};
    assert_int_equal(dc_bus_open(g->loop, &opts, &g->bus, NULL), DC_OK);
    *state = g;
    return 0;
}

void on_closed(void *data)
{
    struct rig *g = data;
    g->is_closed = true;
    dc_loop_stop(g->loop);
}

void await_closed(struct rig *g)
{
    while (!g->is_closed) {
        dc_loop_run(g->loop);
    }
}

int close_rig(void **state)
{
    struct rig *g = *state;
    if (!g->is_closed) {
        dc_bus_close(g->bus, on_closed, g);
        await_closed(g);
    }
    assert_int_equal(dc_loop_destroy(g->loop), DC_OK);
    dc_free(g);
    return 0;
}

/* Enough turns for everything that is ready. */
void settle(struct rig *g)
{
    for (int i = 0; i < 50; i++) {
        (void)dc_loop_step(g->loop);
    }
}

void until(struct rig *g, const unsigned *counter, unsigned n)
{
    while (*counter < n) {
        dc_loop_run(g->loop);
    }
}

void on_message(void *data, const struct dc_bus_message *m)
{
    struct listener *l = data;
    assert_false(l->g->is_inside);
    dc_strbuf_add(&l->log, m->subject);
    dc_strbuf_add_char(&l->log, '=');
    dc_strbuf_add(&l->log, m->payload);
    if (l->with_sequence) {
        dc_strbuf_printf(&l->log, "#%u", (unsigned)m->sequence);
    }
    if (l->with_deliveries) {
        dc_strbuf_printf(&l->log, "x%u", m->deliveries);
    }
    dc_strbuf_add_z(&l->log, m->is_replay ? "r " : " ");
    l->n++;
    if (m->ack != NULL) {
        if (l->acking == ACK_NOT) {
            assert_true(l->n_acks < LISTENER_ACKS);
            l->acks[l->n_acks++] = m->ack;
        } else {
            dc_bus_ack(m->ack, l->acking == ACK_DONE || m->deliveries > 1);
        }
    }
    dc_loop_stop(l->g->loop);
    if (l->then != NULL) {
        l->then(l, m);
    }
}

static void on_caught_up(void *data)
{
    struct listener *l = data;
    assert_false(l->g->is_inside);
    dc_strbuf_add_z(&l->log, "| ");
    l->n_caught_up++;
    dc_loop_stop(l->g->loop);
}

static void on_ended(void *data)
{
    struct listener *l = data;
    assert_false(l->g->is_inside);
    l->n_ended++;
}

enum dc_status listen_with(struct listener *l, struct dc_bus_sub_opts opts)
{
    opts.caught_up = on_caught_up;
    opts.ended = on_ended;
    l->g->is_inside = true;
    enum dc_status st = dc_bus_subscribe(l->g->bus, &opts, on_message, l, &l->sub, NULL);
    l->g->is_inside = false;
    assert_true((st == DC_OK) == (l->sub != NULL));
    return st;
}

void listen_to(struct listener *l, const char *pattern, enum dc_bus_start start)
{
    const struct dc_bus_sub_opts opts = {.pattern = dc_slice_z(pattern), .start = start};
    assert_int_equal(listen_with(l, opts), DC_OK);
}

void on_published(void *data, enum dc_status st, uint64_t sequence, const struct dc_error *err)
{
    struct rig *g = data;
    assert_false(g->is_inside);
    assert_int_equal(st != DC_OK, err != NULL);
    g->n_published++;
    g->status = st;
    g->sequence = sequence;
    dc_loop_stop(g->loop);
}

void publish_id(struct rig *g, const char *subject, const char *id, const char *payload)
{
    struct dc_op *op = NULL;
    g->is_inside = true;
    assert_int_equal(dc_bus_publish(g->bus, dc_slice_z(subject), dc_slice_z(id),
                                    dc_slice_z(payload), on_published, g, &op),
                     DC_OK);
    g->is_inside = false;
    assert_non_null(op);
}

void publish(struct rig *g, const char *subject, const char *payload)
{
    publish_id(g, subject, "", payload);
}

/* Publishes and waits for the answer. */
uint64_t store(struct rig *g, const char *subject, const char *payload)
{
    unsigned n = g->n_published;
    publish(g, subject, payload);
    until(g, &g->n_published, n + 1);
    assert_int_equal(g->status, DC_OK);
    return g->sequence;
}

void expect(struct listener *l, const char *log)
{
    settle(l->g);
    dc_strbuf_add_char(&l->log, '\0');
    assert_string_equal(l->log.ptr, log);
    dc_strbuf_clear(&l->log);
}

void stop(struct listener *l)
{
    dc_bus_unsubscribe(l->sub);
    l->sub = NULL;
    dc_strbuf_free(&l->log);
}

struct dc_bus_sub_opts durable(const char *name, size_t max_in_flight, uint64_t wait_ms)
{
    return (struct dc_bus_sub_opts){.pattern = DC_S("all.>"),
                                    .start = DC_BUS_ALL,
                                    .durable = name,
                                    .max_in_flight = max_in_flight,
                                    .ack_wait_ms = wait_ms};
}

int run_over_backends(const struct CMUnitTest *tests, size_t n)
{
    int failed = 0;
    for (size_t i = 0; i < DC_ARRAY_LEN(backends); i++) {
        current = &backends[i];
        /* The function behind cmocka_run_group_tests_name(), which wants an array. */
        failed += _cmocka_run_group_tests(current->name, tests, n, NULL, NULL);
    }
    return failed;
}
