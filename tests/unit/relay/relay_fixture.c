/* See relay_fixture.h. */
#include "relay_fixture.h"

#include "relay/relay_priv.h" /* only for whether it is idle */
#include <fcntl.h>
#include <unistd.h>

static void set_flag(void *data)
{
    *(bool *)data = true;
}

/* "chat:<lane>:<position>" or "event:<lane>:<position>" */
static bool parse(struct dc_slice text, int *lane, uint64_t *position, bool *is_event)
{
    char buf[64];
    char kind[16];
    unsigned long long p = 0;
    if (!dc_slice_copy_z(text, buf, sizeof(buf)) ||
        sscanf(buf, "%15[a-z]:%d:%llu", kind, lane, &p) != 3) {
        return false;
    }
    *position = p;
    *is_event = strcmp(kind, "event") == 0;
    return *lane >= 0 && *lane < N_LANES;
}

static void on_record(void *data, const struct dc_bus_message *m)
{
    struct rig *r = data;
    bool is_event = false;
    int lane = 0;
    uint64_t position = 0;
    if (parse(m->payload, &lane, &position, &is_event)) {
        assert_true(r->n_records < MAX_RECORDS);
        r->records[r->n_records].lane = lane;
        r->records[r->n_records++].position = is_event ? 0 : position;
    }
}

static void on_heard(void *data, const struct dc_bus_message *m)
{
    struct node *node = data;
    bool is_event = false;
    int lane = 0;
    uint64_t position = 0;
    if (parse(m->payload, &lane, &position, &is_event) && !is_event) {
        dc_relay_heard(node->relay, &node->lanes[lane], position);
    }
}

int rig_setup(void **state)
{
    struct rig *r = dc_calloc(1, sizeof(*r));
    struct dc_strbuf report = {0};
    struct dc_error err = {0};
    void *f = NULL;
    assert_int_equal(fixture_setup(&f), 0);
    r->f = f;
    const struct dc_migrate_opts opts = {
        .url = r->f->opts.url, .path = r->f->opts.path, .dir = TEST_MIGRATIONS_DIR};
    if (dc_migrate(&opts, &report, &err) != DC_OK) {
        fail_msg("migrations: %s", dc_error_text(&err));
    }
    dc_strbuf_free(&report);
    fixture_open(r->f);
    assert_int_equal(fcntl(r->f->log_fd, F_SETFL, O_NONBLOCK), 0);
    r->bus = faulty_open(r->f->loop, r->f->metrics);
    const struct dc_bus_sub_opts chat = {.pattern = DC_S("city.chat.*"), .start = DC_BUS_ALL};
    assert_int_equal(dc_bus_subscribe(&r->bus->bus, &chat, on_record, r, &r->recorder, &err),
                     DC_OK);
    *state = r;
    return 0;
}

int rig_teardown(void **state)
{
    struct rig *r = *state;
    void *f = r->f;
    for (size_t i = 0; i < DC_ARRAY_LEN(r->nodes); i++) {
        if (r->nodes[i].relay != NULL) {
            node_close(r, i, 10000);
        }
    }
    dc_bus_unsubscribe(r->recorder);
    faulty_close(r->bus, set_flag, &r->is_bus_closed);
    RUN_UNTIL(r, r->is_bus_closed);
    assert_int_equal(fixture_teardown(&f), 0);
    dc_free(r);
    return 0;
}

void node_open(struct rig *r, size_t i, uint64_t sweep_ms, uint64_t hold_ms)
{
    struct node *node = &r->nodes[i];
    const struct dc_bus_sub_opts chat = {.pattern = DC_S("city.chat.*"), .start = DC_BUS_NEW};
    node->rig = r;
    node->is_closed = false;
    node->metrics = dc_metrics_create();
    for (size_t lane = 0; lane < N_LANES; lane++) {
        dc_relay_lane_init(&node->lanes[lane]);
    }
    const struct dc_relay_opts opts = {.db = r->f->db,
                                       .bus = &r->bus->bus,
                                       .log = r->f->log,
                                       .metrics = node->metrics,
                                       .hold_ms = hold_ms,
                                       .sweep_ms = sweep_ms,
                                       .wake_ms = 1,
                                       .delete_ms = 5,
                                       .stall_ms = 50};
    node->relay = dc_relay_open(r->f->loop, &opts);
    assert_int_equal(dc_bus_subscribe(&r->bus->bus, &chat, on_heard, node, &node->sub, NULL),
                     DC_OK);
}

void node_settle(struct rig *r, size_t i)
{
    const struct dc_relay_run *run = &r->nodes[i].relay->run;
    RUN_UNTIL(r, run->state == DC_RUN_IDLE && !run->is_waiting && !run->wants_all);
}

void node_close(struct rig *r, size_t i, uint64_t timeout_ms)
{
    struct node *node = &r->nodes[i];
    dc_relay_close(node->relay, timeout_ms, set_flag, &node->is_closed);
    assert_false(node->is_closed); /* in a later turn */
    RUN_UNTIL(r, node->is_closed);
    dc_bus_unsubscribe(node->sub);
    dc_metrics_destroy(node->metrics);
    node->relay = NULL;
}

void node_knows_all(struct rig *r, size_t i)
{
    for (size_t lane = 0; lane < N_LANES; lane++) {
        dc_relay_lane_known(&r->nodes[i].lanes[lane], r->next[lane]);
    }
}

int64_t node_metric(struct rig *r, size_t i, const char *line_start)
{
    struct dc_strbuf page = {0};
    int64_t value = -1;
    dc_metrics_render(r->nodes[i].metrics, &page);
    struct dc_slice left = dc_strbuf_slice(&page);
    struct dc_slice line;
    while (dc_slice_take_token(&left, '\n', &line)) {
        if (dc_slice_take_prefix(&line, dc_slice_z(line_start))) {
            assert_true(dc_slice_to_i64(dc_slice_trim(line), &value));
        }
    }
    dc_strbuf_free(&page);
    assert_true(value >= 0);
    return value;
}

/* --- commits --- */

struct texts {
    char key[16], subject[32], id[40], payload[40], event_id[40], event[40];
};

static void write_texts(struct texts *t, int lane, uint64_t position)
{
    unsigned long long p = position;
    snprintf(t->key, sizeof(t->key), "lane%d", lane);
    snprintf(t->subject, sizeof(t->subject), "city.chat.lane%d", lane);
    snprintf(t->id, sizeof(t->id), "m_%d_%llu", lane, p);
    snprintf(t->payload, sizeof(t->payload), "chat:%d:%llu", lane, p);
    snprintf(t->event_id, sizeof(t->event_id), "e_%d_%llu", lane, p);
    snprintf(t->event, sizeof(t->event), "event:%d:%llu", lane, p);
}

struct commit {
    struct node *node;
    struct committed c;
    bool is_done;
};

static void on_committed(void *data, enum dc_status st, const struct dc_db_result *const *results,
                         size_t n, const struct dc_error *err)
{
    struct commit *c = data;
    if (st != DC_OK) {
        fail_msg("commit: %s", dc_error_text(err));
    }
    assert_int_equal(n, 2);
    c->c.ids[0] = dc_outbox_id(results[0], 0);
    c->c.ids[1] = dc_outbox_id(results[1], 0);
    assert_true(0 < c->c.ids[0] && c->c.ids[0] < c->c.ids[1]);
    c->is_done = true;
    if (c->node != NULL) {
        hand_over(c->node, &c->c);
    }
}

static struct committed do_commit(struct rig *r, struct node *node, int lane)
{
    struct commit c = {.node = node, .c = {.lane = lane, .position = ++r->next[lane]}};
    struct texts t;
    write_texts(&t, lane, c.c.position);
    const struct dc_owed owed[] = {
        {dc_slice_z(t.key), c.c.position, dc_slice_z(t.subject), dc_slice_z(t.id),
         dc_slice_z(t.payload)},
        {dc_slice_z(t.key), 0, dc_slice_z(t.subject), dc_slice_z(t.event_id), dc_slice_z(t.event)}};
    struct dc_db_batch *b = dc_db_batch_create(r->f->db, DC_DB_WRITE | DC_DB_GROUP);
    dc_outbox_add(b, &owed[0], dc_utc_now());
    dc_outbox_add(b, &owed[1], dc_utc_now());
    assert_int_equal(dc_db_submit(b, on_committed, &c, NULL, NULL), DC_OK);
    RUN_UNTIL(r, c.is_done);
    return c.c;
}

void commit(struct rig *r, struct node *node, int lane)
{
    (void)do_commit(r, node, lane);
}

struct committed commit_only(struct rig *r, int lane)
{
    return do_commit(r, NULL, lane);
}

void hand_over(struct node *node, const struct committed *c)
{
    struct texts t;
    write_texts(&t, c->lane, c->position);
    const struct dc_relay_item items[] = {
        {c->ids[0], dc_slice_z(t.subject), dc_slice_z(t.id), dc_slice_z(t.payload)},
        {c->ids[1], dc_slice_z(t.subject), dc_slice_z(t.event_id), dc_slice_z(t.event)}};
    dc_relay_publish(node->relay, &node->lanes[c->lane], c->position, items, 2);
}

/* --- looking --- */

int64_t rows_left(struct rig *r)
{
    char *text = place_query(&r->f->place, "select count(*) from outbox");
    int64_t n = 0;
    assert_true(dc_slice_to_i64(dc_slice_z(text), &n));
    dc_free(text);
    return n;
}

void until_empty(struct rig *r)
{
    while (rows_left(r) > 0) {
        fixture_turns(r->f, 1);
    }
}

void assert_exact(const struct rig *r)
{
    uint64_t at[N_LANES] = {0};
    size_t events[N_LANES] = {0};
    for (size_t i = 0; i < r->n_records; i++) {
        int lane = r->records[i].lane;
        if (r->records[i].position == 0) {
            events[lane]++;
            assert_true(events[lane] <= at[lane]);
        } else {
            assert_int_equal(r->records[i].position, ++at[lane]);
        }
    }
    for (size_t lane = 0; lane < N_LANES; lane++) {
        assert_int_equal(at[lane], r->next[lane]);
        assert_int_equal(events[lane], r->next[lane]);
    }
}

size_t count_logged(struct rig *r, const char *event)
{
    for (;;) {
        ssize_t n = read(r->f->log_fd, r->log + r->log_len, sizeof(r->log) - 1 - r->log_len);
        if (n <= 0) {
            break;
        }
        r->log_len += (size_t)n;
    }
    r->log[r->log_len] = '\0';
    size_t count = 0;
    for (const char *at = r->log; (at = strstr(at, event)) != NULL; at++) {
        count++;
    }
    return count;
}
