#include "bus_fixture.h"
#include <nats/nats.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALARM_S 120

static const char *url; /* NULL: memory */
static natsConnection *beside;

static const char *const last_subjects[] = {"last.*", NULL};
static const char *const all_subjects[] = {"all.>", NULL};
static const char *const short_subjects[] = {"short.*", NULL};
static const char *const small_subjects[] = {"small.*", NULL};
static const char *const now_subjects[] = {"now.*", NULL};
static const char *const fence_subjects[] = {"fence.*", NULL};
static const struct dc_bus_stream streams[] = {
    {.name = "T_LAST", .subjects = last_subjects, .last_per_subject = true},
    {.name = "T_ALL", .subjects = all_subjects, .dedup_window_ms = 3600000},
    {.name = "T_SHORT", .subjects = short_subjects, .max_age_ms = 100, .dedup_window_ms = 100},
    {.name = "T_SMALL", .subjects = small_subjects, .max_bytes = 20000},
    {.name = "T_NOW", .subjects = now_subjects, .dedup_window_ms = 3600000, .has_live = true},
    {.name = "T_FENCE", .subjects = fence_subjects, .last_per_subject = true},
};

bool is_over_nats(void)
{
    return url != NULL;
}

/* --- the server --- */

static void connect_beside(void)
{
    natsOptions *opts = NULL;
    const char *urls[] = {url};
    assert_int_equal(natsOptions_Create(&opts), NATS_OK);
    char *copy = dc_strdup(url);
    char *comma = strchr(copy, ',');
    if (comma != NULL) {
        *comma = '\0';
    }
    urls[0] = copy;
    assert_int_equal(natsOptions_SetServers(opts, urls, 1), NATS_OK);
    const char *ca = getenv("TEST_NATS_CA");
    if (ca != NULL) {
        assert_int_equal(natsOptions_LoadCATrustedCertificates(opts, ca), NATS_OK);
    }
    while (natsConnection_Connect(&beside, opts) != NATS_OK) {
        beside = NULL; /* it is just starting; the alarm ends this */
    }
    natsOptions_Destroy(opts);
    dc_free(copy);
}

/* A connection for each request: the server may have been restarted in between. */
char *ask_server(const char *subject, const char *body)
{
    natsMsg *answer = NULL;
    natsStatus s = NATS_NO_RESPONDERS;
    connect_beside();
    /* JetStream of a server that has just started, of a cluster without a leader yet */
    while (s == NATS_NO_RESPONDERS || s == NATS_TIMEOUT) {
        s = natsConnection_RequestString(&answer, beside, subject, body == NULL ? "" : body, 1000);
    }
    assert_int_equal(s, NATS_OK);
    char *text = dc_slice_dup_z(
        dc_slice_make(natsMsg_GetData(answer), (size_t)natsMsg_GetDataLength(answer)));
    natsMsg_Destroy(answer);
    natsConnection_Destroy(beside);
    beside = NULL;
    return text;
}

void server(const char *verb, int number)
{
    char text[16];
    int status = 0;
    snprintf(text, sizeof(text), "%d", number);
    pid_t pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        execl(getenv("TEST_NATS_CONTROL"), "control", verb, number == 0 ? NULL : text,
              (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Every case begins with streams of its own. */
static void delete_streams(void)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(streams); i++) {
        char subject[64];
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.DELETE.%s", streams[i].name);
        dc_free(ask_server(subject, NULL));
    }
}

/* --- the rig --- */

int make_rig(void **state)
{
    struct rig *g = dc_calloc(1, sizeof(*g));
    alarm(ALARM_S);
    if (is_over_nats()) {
        delete_streams();
    }
    assert_int_equal(dc_loop_create(&g->loop, NULL), DC_OK);
    g->metrics = dc_metrics_create();
    g->health = dc_health_create();
    g->check = dc_health_add(g->health, "bus", true);
    g->log_fd = memfd_create("log", 0);
    assert_int_not_equal(g->log_fd, -1);
    const struct dc_log_opts log_opts = {.level = DC_LOG_INFO, .fd = g->log_fd};
    g->log = dc_log_create(&log_opts);
    g->opts = (struct dc_bus_opts){.url = url,
                                   .tls_ca_file = getenv("TEST_NATS_CA"),
                                   .streams = streams,
                                   .n_streams = DC_ARRAY_LEN(streams),
                                   .log = g->log,
                                   .metrics = g->metrics,
                                   .health = g->check};
    *state = g;
    return 0;
}

static void on_ready(void *data, const struct dc_error *err)
{
    struct rig *g = data;
    assert_false(g->is_inside);
    assert_false(g->is_ready);
    g->is_ready = true;
    g->ready = *err;
}

void rig_open(struct rig *g)
{
    struct dc_error err = {0};
    enum dc_status st = dc_bus_open(g->loop, &g->opts, &g->bus, &err);
    if (st != DC_OK) {
        print_error("%s\n", dc_error_text(&err));
    }
    assert_int_equal(st, DC_OK);
    g->is_ready = false;
    g->is_closed = false;
    g->is_inside = true;
    dc_bus_on_ready(g->bus, on_ready, g);
    g->is_inside = false;
}

void turn(struct rig *g)
{
    (void)uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
}

void rig_await_ready(struct rig *g)
{
    while (!g->is_ready) {
        turn(g);
    }
}

int open_rig(void **state)
{
    (void)make_rig(state);
    struct rig *g = *state;
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_OK);
    assert_int_equal(dc_health_overall(g->health), DC_HEALTH_OK);
    return 0;
}

bool log_has(struct rig *g, const char *text)
{
    off_t size = lseek(g->log_fd, 0, SEEK_CUR);
    char *all = dc_calloc(1, (size_t)size + 1);
    assert_int_equal(pread(g->log_fd, all, (size_t)size, 0), size);
    bool has = strstr(all, text) != NULL;
    dc_free(all);
    return has;
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

void rig_close(struct rig *g)
{
    dc_bus_unsubscribe(g->fence);
    g->fence = NULL;
    if (g->bus != NULL && !g->is_closed) {
        dc_bus_close(g->bus, on_closed, g);
        await_closed(g);
    }
    g->bus = NULL;
}

int close_rig(void **state)
{
    struct rig *g = *state;
    rig_close(g);
    assert_int_equal(dc_loop_destroy(g->loop), DC_OK);
    dc_metrics_destroy(g->metrics);
    dc_metrics_destroy(g->second_metrics);
    dc_health_destroy(g->health);
    dc_log_destroy(g->log);
    close(g->log_fd);
    dc_free(g);
    alarm(0);
    return 0;
}

static void on_fence(void *data, const struct dc_bus_message *m)
{
    struct rig *g = data;
    (void)m;
    g->n_fences++;
}

static void fence(struct rig *g)
{
    enum { ROUND_TRIPS = 3 };
    for (int i = 0; i < ROUND_TRIPS; i++) {
        unsigned n = g->n_fences;
        struct dc_bus_sub *plain = NULL;
        const struct dc_bus_sub_opts opts = {.pattern = DC_S("behind.fence")};
        assert_int_equal(dc_bus_subscribe(g->bus, &opts, on_fence, g, &plain, NULL), DC_OK);
        assert_int_equal(
            dc_bus_publish(g->bus, opts.pattern, DC_SLICE_NULL, DC_SLICE_NULL, NULL, NULL, NULL),
            DC_OK);
        assert_int_equal(
            dc_bus_publish(g->bus, DC_S("fence.a"), DC_SLICE_NULL, DC_SLICE_NULL, NULL, NULL, NULL),
            DC_OK);
        while (g->n_fences < n + 2) {
            turn(g);
        }
        dc_bus_unsubscribe(plain);
    }
}

void settle(struct rig *g)
{
    if (is_over_nats()) {
        if (g->fence == NULL) {
            const struct dc_bus_sub_opts opts = {.pattern = DC_S("fence.a")};
            assert_int_equal(dc_bus_subscribe(g->bus, &opts, on_fence, g, &g->fence, NULL), DC_OK);
        }
        fence(g);
        return;
    }
    for (int i = 0; i < 50; i++) {
        (void)dc_loop_step(g->loop);
    }
}

void until(struct rig *g, const unsigned *counter, unsigned n)
{
    while (*counter < n) {
        turn(g);
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

static void on_interrupted(void *data)
{
    struct listener *l = data;
    assert_false(l->g->is_inside);
    dc_strbuf_add_z(&l->log, "! ");
    l->n_interrupted++;
}

static void on_refused(void *data, const struct dc_error *err)
{
    struct listener *l = data;
    assert_false(l->g->is_inside);
    l->refused = err->status;
    l->n_refused++;
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
    opts.interrupted = on_interrupted;
    opts.refused = on_refused;
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
    while (is_over_nats() && l->log.len < strlen(log)) {
        turn(l->g);
    }
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

int run_over_backend(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
    const char *name = argc == 2 ? argv[1] : "";
    const char *ci = getenv("CI");
    if (strcmp(name, "nats") == 0) {
        url = getenv("TEST_NATS_URL");
        if (url == NULL) {
            fprintf(stderr, "TEST_NATS_URL is not set: no NATS to test with (script/with-nats "
                            "starts one)\n");
            return ci != NULL && strcmp(ci, "true") == 0 ? 1 : 77;
        }
    } else if (strcmp(name, "memory") != 0) {
        fprintf(stderr, "usage: %s memory|nats\n", argv[0]);
        return 2;
    }
    /* The function behind cmocka_run_group_tests_name(), which wants an array. */
    return _cmocka_run_group_tests(name, tests, n, NULL, NULL) == 0 ? 0 : 1;
}
