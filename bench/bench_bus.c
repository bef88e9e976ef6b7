/* Throughput and latency of the bus: one publisher, one ordered subscription, one durable consumer,
 * on one loop.
 *
 *   bench_bus [messages]
 *
 * TEST_NATS_URL set (script/with-nats): NATS JetStream, else memory. Prints messages a second from
 * the first publish until the last has been acknowledged and delivered to both, this process's CPU
 * for each, and the time from publishing to delivery when only one is under way. */
#include "base/mem.h"
#include "bus/bus.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define MESSAGES_DEFAULT 200000
#define ROUND_TRIPS      500
#define PAYLOAD_BYTES    200

static const char *const subjects[] = {"bench.>", NULL};
static const struct dc_bus_stream streams[] = {{.name = "BENCH",
                                                .subjects = subjects,
                                                .max_bytes = 512ULL * 1024 * 1024,
                                                .dedup_window_ms = 60000}};

struct bench {
    struct dc_loop *loop;
    struct dc_bus *bus;
    unsigned long acked, failed, ordered, durable;
    uint64_t began_us, latency_us[ROUND_TRIPS];
    bool is_ready, is_closed;
};

static void on_ready(void *data, const struct dc_error *err)
{
    struct bench *b = data;
    if (err->status != DC_OK) {
        (void)fprintf(stderr, "%s\n", dc_error_text(err));
        exit(1);
    }
    b->is_ready = true;
}

static void on_acked(void *data, enum dc_status st, uint64_t sequence, const struct dc_error *err)
{
    struct bench *b = data;
    (void)sequence;
    (void)err;
    b->acked++;
    b->failed += st != DC_OK;
}

static void on_ordered(void *data, const struct dc_bus_message *m)
{
    struct bench *b = data;
    (void)m;
    b->ordered++;
}

static void on_durable(void *data, const struct dc_bus_message *m)
{
    struct bench *b = data;
    b->durable++;
    dc_bus_ack(m->ack, true);
}

static void on_closed(void *data)
{
    struct bench *b = data;
    b->is_closed = true;
}

static void turn(struct bench *b)
{
    (void)uv_run(dc_loop_uv(b->loop), UV_RUN_ONCE);
}

static void subscribe(struct bench *b, dc_bus_cb cb, const char *durable)
{
    struct dc_bus_sub *sub = NULL;
    struct dc_error err = {0};
    const struct dc_bus_sub_opts opts = {
        .pattern = DC_S("bench.>"), .start = DC_BUS_NEW, .durable = durable};
    if (dc_bus_subscribe(b->bus, &opts, cb, b, &sub, &err) != DC_OK) {
        (void)fprintf(stderr, "%s\n", dc_error_text(&err));
        exit(1);
    }
}

static bool publish(struct bench *b, const char *payload)
{
    return dc_bus_publish(b->bus, DC_S("bench.a"), DC_SLICE_NULL,
                          dc_slice_make(payload, PAYLOAD_BYTES), on_acked, b, NULL) == DC_OK;
}

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void throughput(struct bench *b, const char *payload, unsigned long n)
{
    unsigned long sent = 0;
    double cpu = cpu_seconds();
    b->began_us = dc_mono_now_us();
    while (b->acked < n || b->ordered < n || b->durable < n) {
        while (sent < n && publish(b, payload)) {
            sent++;
        }
        turn(b);
    }
    double seconds = (double)(dc_mono_now_us() - b->began_us) / 1e6;
    cpu = cpu_seconds() - cpu;
    printf(
        "%lu messages of %d bytes in %.2f s: %.0f/s published, acknowledged and delivered twice; "
        "%.1f us of our CPU each; %lu failed\n",
        n, PAYLOAD_BYTES, seconds, (double)n / seconds, cpu * 1e6 / (double)n, b->failed);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void latency(struct bench *b, const char *payload)
{
    for (int i = 0; i < ROUND_TRIPS; i++) {
        unsigned long n = b->ordered;
        b->began_us = dc_mono_now_us();
        if (!publish(b, payload)) {
            exit(1);
        }
        while (b->ordered == n) {
            turn(b);
        }
        b->latency_us[i] = dc_mono_now_us() - b->began_us;
    }
    qsort(b->latency_us, ROUND_TRIPS, sizeof(b->latency_us[0]), compare);
    printf("one at a time: %llu us median, %llu us p99 from publishing to delivery\n",
           (unsigned long long)b->latency_us[ROUND_TRIPS / 2],
           (unsigned long long)b->latency_us[ROUND_TRIPS * 99 / 100]);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    static char payload[PAYLOAD_BYTES];
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : MESSAGES_DEFAULT;
    struct dc_metrics *metrics = dc_metrics_create();
    struct dc_error err = {0};
    const struct dc_bus_opts opts = {.url = getenv("TEST_NATS_URL"),
                                     .streams = streams,
                                     .n_streams = DC_ARRAY_LEN(streams),
                                     .metrics = metrics};
    if (dc_loop_create(&b.loop, &err) != DC_OK ||
        dc_bus_open(b.loop, &opts, &b.bus, &err) != DC_OK) {
        (void)fprintf(stderr, "%s\n", dc_error_text(&err));
        return 1;
    }
    dc_bus_on_ready(b.bus, on_ready, &b);
    while (!b.is_ready) {
        turn(&b);
    }
    subscribe(&b, on_ordered, NULL);
    subscribe(&b, on_durable, "bench");
    latency(&b, payload);
    while (b.acked < ROUND_TRIPS || b.durable < ROUND_TRIPS) {
        turn(&b);
    }
    b.acked = b.ordered = b.durable = 0;
    throughput(&b, payload, n);
    dc_bus_close(b.bus, on_closed, &b);
    while (!b.is_closed) {
        turn(&b);
    }
    dc_metrics_destroy(metrics);
    return dc_loop_destroy(b.loop) == DC_OK ? 0 : 1;
}
