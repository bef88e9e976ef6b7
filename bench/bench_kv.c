/* Cost of the key-value port: pipelines of calls, many pipelines one after the other, and one call
 * at a time.
 *
 *   bench_kv [calls]
 *
 * TEST_REDIS_URL set (script/with-redis; REDIS_TLS=1 for TLS): Redis, else memory.  Prints calls a
 * second, this process's CPU for each call, and the time of a single one. */
#include "base/mem.h"
#include "kv/kv.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define CALLS_DEFAULT 1000000
#define PIPELINE      64
#define ROUND_TRIPS   5000
#define VALUE_BYTES   100

struct bench {
    struct dc_loop *loop;
    struct dc_kv *kv;
    unsigned long waiting, failed;
    uint64_t latency_us[ROUND_TRIPS];
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

static void on_answer(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                      const struct dc_error *err)
{
    struct bench *b = data;
    (void)value;
    (void)number;
    (void)err;
    b->waiting--;
    b->failed += st != DC_OK;
}

static void on_closed(void *data)
{
    struct bench *b = data;
    b->is_closed = true;
}

static void until_answered(struct bench *b)
{
    while (b->waiting > 0) {
        (void)uv_run(dc_loop_uv(b->loop), UV_RUN_ONCE);
    }
}

static const char value[VALUE_BYTES];

static enum dc_status call_get(struct bench *b)
{
    return dc_kv_get(b->kv, DC_S("bench:key"), on_answer, b, NULL);
}

static enum dc_status call_set(struct bench *b)
{
    return dc_kv_set(b->kv, DC_S("bench:key"), dc_slice_make(value, sizeof(value)), 60000,
                     on_answer, b, NULL);
}

static enum dc_status call_lease(struct bench *b)
{
    return dc_kv_lease_acquire(b->kv, DC_S("bench"), DC_S("me"), 60000, on_answer, b, NULL);
}

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void make(struct bench *b, enum dc_status (*call)(struct bench *b))
{
    b->waiting++;
    if (call(b) != DC_OK) {
        (void)fprintf(stderr, "a call is refused\n");
        exit(1);
    }
}

static void pipelines(struct bench *b, const char *name, enum dc_status (*call)(struct bench *b),
                      unsigned long n)
{
    double cpu = cpu_seconds();
    uint64_t began_us = dc_mono_now_us();
    for (unsigned long i = 0; i < n; i += PIPELINE) {
        for (unsigned k = 0; k < PIPELINE; k++) {
            make(b, call);
        }
        until_answered(b);
    }
    double seconds = (double)(dc_mono_now_us() - began_us) / 1e6;
    cpu = cpu_seconds() - cpu;
    printf("%-6s %lu in pipelines of %d: %.0f/s, %.2f us of our CPU each, %lu failed\n", name, n,
           PIPELINE, (double)n / seconds, cpu * 1e6 / (double)n, b->failed);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void latency(struct bench *b)
{
    for (int i = 0; i < ROUND_TRIPS; i++) {
        uint64_t began_us = dc_mono_now_us();
        make(b, call_get);
        until_answered(b);
        b->latency_us[i] = dc_mono_now_us() - began_us;
    }
    qsort(b->latency_us, ROUND_TRIPS, sizeof(b->latency_us[0]), compare);
    printf("one at a time: %llu us median, %llu us p99\n",
           (unsigned long long)b->latency_us[ROUND_TRIPS / 2],
           (unsigned long long)b->latency_us[ROUND_TRIPS * 99 / 100]);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : CALLS_DEFAULT;
    struct dc_metrics *metrics = dc_metrics_create();
    struct dc_error err = {0};
    const struct dc_kv_opts opts = {.url = getenv("TEST_REDIS_URL"),
                                    .tls_ca_file = getenv("TEST_REDIS_CA"),
                                    .metrics = metrics};
    if (dc_loop_create(&b.loop, &err) != DC_OK || dc_kv_open(b.loop, &opts, &b.kv, &err) != DC_OK) {
        (void)fprintf(stderr, "%s\n", dc_error_text(&err));
        return 1;
    }
    dc_kv_on_ready(b.kv, on_ready, &b);
    while (!b.is_ready) {
        (void)uv_run(dc_loop_uv(b.loop), UV_RUN_ONCE);
    }
    make(&b, call_set);
    until_answered(&b);
    pipelines(&b, "GET", call_get, n);
    pipelines(&b, "SET", call_set, n);
    pipelines(&b, "lease", call_lease, n / 4);
    latency(&b);
    dc_kv_close(b.kv, on_closed, &b);
    while (!b.is_closed) {
        (void)uv_run(dc_loop_uv(b.loop), UV_RUN_ONCE);
    }
    dc_metrics_destroy(metrics);
    return dc_loop_destroy(b.loop) == DC_OK ? 0 : 1;
}
