/* Throughput of small write transactions: WRITERS writers, each waiting for its own commit, as
 * rooms of a city do: lock the room's row, insert the message, insert into the outbox, update the
 * author.
 *
 *   bench_db [seconds] [writers] [pool]
 *
 * TEST_DATABASE_URL set: PostgreSQL, else a SQLite file in the current directory. Prints
 * transactions a second, latency, and this process's CPU per transaction.  Compare with pgbench on
 * the same server: bench/two_inserts.sql, -c 100. */
#include "base/mem.h"
#include "db/db.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROOMS 20

static const struct dc_db_stmt drop[] = {{"DROP TABLE IF EXISTS bench_message", NULL},
                                         {"DROP TABLE IF EXISTS bench_outbox", NULL},
                                         {"DROP TABLE IF EXISTS bench_room", NULL},
                                         {"DROP TABLE IF EXISTS bench_user", NULL}};
static const struct dc_db_stmt create[] = {
    {"CREATE TABLE bench_room (id text PRIMARY KEY, seq bigint NOT NULL)", NULL},
    {"CREATE TABLE bench_user (id text PRIMARY KEY, sent bigint NOT NULL, at timestamptz)",
     "CREATE TABLE bench_user (id TEXT PRIMARY KEY, sent INTEGER NOT NULL, at INTEGER)"},
    {"CREATE TABLE bench_message (id text PRIMARY KEY, room text NOT NULL, seq bigint NOT NULL,"
     " author text, body text, at timestamptz, UNIQUE (room, seq))",
     "CREATE TABLE bench_message (id TEXT PRIMARY KEY, room TEXT NOT NULL, seq INTEGER NOT NULL,"
     " author TEXT, body TEXT, at INTEGER, UNIQUE (room, seq))"},
    {"CREATE TABLE bench_outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, subject text,"
     " payload jsonb)",
     "CREATE TABLE bench_outbox (id INTEGER PRIMARY KEY, subject TEXT, payload TEXT)"},
};
static const struct dc_db_stmt add_room = {"INSERT INTO bench_room VALUES ($1, 0)", NULL};
static const struct dc_db_stmt add_user = {"INSERT INTO bench_user VALUES ($1, 0, NULL)", NULL};

static const struct dc_db_stmt lock_room = {
    "UPDATE bench_room SET seq = seq + 1 WHERE id = $1 RETURNING seq", NULL};
static const struct dc_db_stmt add_message = {
    "INSERT INTO bench_message (id, room, seq, author, body, at)"
    " SELECT $1, id, seq, $3, $4, $5 FROM bench_room WHERE id = $2",
    NULL};
static const struct dc_db_stmt add_outbox = {
    "INSERT INTO bench_outbox (subject, payload) SELECT $1, $2 FROM bench_room WHERE id = $3",
    NULL};
static const struct dc_db_stmt touch_user = {
    "UPDATE bench_user SET sent = sent + 1, at = $2 WHERE id = $1", NULL};

struct bench;
struct writer {
    struct bench *b;
    unsigned number, sent;
    uint64_t began_us;
};
struct bench {
    struct dc_loop *loop;
    struct dc_db *db;
    struct writer *writers;
    unsigned n_writers, running, setup_left;
    uint64_t began_us, end_us, ended_us, done, failed;
    uint64_t *latency_us;
    size_t n_latency, cap_latency;
    bool is_ready, is_closed;
};

static void send_one(struct writer *w);

static void on_written(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    struct writer *w = data;
    struct bench *b = w->b;
    uint64_t now_us = dc_mono_now_us();

    if (st != DC_OK || n != 4 || dc_db_affected(results[1]) != 1) {
        fprintf(stderr, "%s\n", dc_error_text(err));
        b->failed++;
    }
    b->done++;
    if (b->n_latency < b->cap_latency) {
        b->latency_us[b->n_latency++] = now_us - w->began_us;
    }
    if (now_us < b->end_us) {
        send_one(w);
        return;
    }
    b->ended_us = now_us;
    b->running--;
}

static void send_one(struct writer *w)
{
    char id[40], room[16], user[16], payload[160];
    struct dc_db_batch *batch = dc_db_batch_create(w->b->db, DC_DB_WRITE | DC_DB_GROUP);
    struct dc_utc now = dc_utc_now();
    int id_len = snprintf(id, sizeof(id), "m_%08u_%08u", w->number, w->sent++);
    int room_len = snprintf(room, sizeof(room), "room%u", w->number % ROOMS);
    int user_len = snprintf(user, sizeof(user), "user%u", w->number);
    int payload_len = snprintf(payload, sizeof(payload),
                               "{\"event\":\"room.message\",\"room_id\":\"%s\",\"message\":{\"id\":"
                               "\"%s\",\"author\":\"%s\"}}",
                               room, id, user);
    struct dc_slice id_s = {id, (size_t)id_len}, room_s = {room, (size_t)room_len};
    struct dc_slice user_s = {user, (size_t)user_len}, payload_s = {payload, (size_t)payload_len};
    const struct dc_db_value v_room[] = {dc_db_text(room_s)};
    const struct dc_db_value v_message[] = {
        dc_db_text(id_s), dc_db_text(room_s), dc_db_text(user_s),
        dc_db_text(DC_S("A message of the usual length, as people write them in rooms.")),
        dc_db_utc(now)};
    const struct dc_db_value v_outbox[] = {dc_db_text(DC_S("city.room.message")),
                                           dc_db_json(payload_s), dc_db_text(room_s)};
    const struct dc_db_value v_user[] = {dc_db_text(user_s), dc_db_utc(now)};
    struct dc_error err;

    dc_db_batch_set_lock_key(batch, room_s);
    dc_db_batch_add(batch, &lock_room, v_room, 1);
    dc_db_batch_add(batch, &add_message, v_message, 5);
    dc_db_batch_add(batch, &add_outbox, v_outbox, 3);
    dc_db_batch_add(batch, &touch_user, v_user, 2);
    w->began_us = dc_mono_now_us();
    if (dc_db_submit(batch, on_written, w, NULL, &err) != DC_OK) {
        fprintf(stderr, "%s\n", dc_error_text(&err));
        exit(1);
    }
}

static void on_setup(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *err)
{
    struct bench *b = data;

    if (st != DC_OK || n == 0 || results[0] == NULL) {
        fprintf(stderr, "%s\n", dc_error_text(err));
        exit(1);
    }
    b->setup_left--;
}

static void set_up(struct bench *b, const struct dc_db_stmt *stmt, const char *name)
{
    struct dc_db_batch *batch = dc_db_batch_create(b->db, DC_DB_WRITE | DC_DB_GROUP);
    const struct dc_db_value v[] = {dc_db_text(dc_slice_z(name))};

    dc_db_batch_add(batch, stmt, v, name == NULL ? 0 : 1);
    b->setup_left++;
    if (dc_db_submit(batch, on_setup, b, NULL, NULL) != DC_OK) {
        exit(1);
    }
    while (b->setup_left > 0) {
        uv_run(dc_loop_uv(b->loop), UV_RUN_ONCE);
    }
}

static void on_ready(void *data, const struct dc_error *err)
{
    struct bench *b = data;

    if (err->status != DC_OK) {
        fprintf(stderr, "%s\n", dc_error_text(err));
        exit(1);
    }
    b->is_ready = true;
}

static void on_closed(void *data)
{
    struct bench *b = data;
    b->is_closed = true;
}

static int by_size(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return *a < *b ? -1 : *a > *b;
}

static double cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10;
    struct bench b = {.n_writers = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 100,
                      .cap_latency = 4000000};
    struct dc_metrics *metrics = dc_metrics_create();
    const struct dc_db_opts opts = {.url = getenv("TEST_DATABASE_URL"),
                                    .path = "bench.sqlite",
                                    .pool_size = argc > 3 ? strtoul(argv[3], NULL, 10) : 4,
                                    .deadline_ms = 30000,
                                    .metrics = metrics};
    struct dc_error err;
    char name[32];

    if (dc_loop_create(&b.loop, &err) != DC_OK || dc_db_open(b.loop, &opts, &b.db, &err) != DC_OK) {
        fprintf(stderr, "%s\n", dc_error_text(&err));
        return 1;
    }
    dc_db_on_ready(b.db, on_ready, &b);
    while (!b.is_ready) {
        uv_run(dc_loop_uv(b.loop), UV_RUN_ONCE);
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(drop); i++) {
        set_up(&b, &drop[i], NULL);
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(create); i++) {
        set_up(&b, &create[i], NULL);
    }
    for (unsigned i = 0; i < ROOMS; i++) {
        snprintf(name, sizeof(name), "room%u", i);
        set_up(&b, &add_room, name);
    }
    for (unsigned i = 0; i < b.n_writers; i++) {
        snprintf(name, sizeof(name), "user%u", i);
        set_up(&b, &add_user, name);
    }
    b.writers = dc_calloc(b.n_writers, sizeof(*b.writers));
    b.latency_us = dc_calloc(b.cap_latency, sizeof(*b.latency_us));
    double cpu_before = cpu_us();
    b.began_us = dc_mono_now_us();
    b.end_us = b.began_us + seconds * UINT64_C(1000000);
    b.running = b.n_writers;
    for (unsigned i = 0; i < b.n_writers; i++) {
        b.writers[i] = (struct writer){.b = &b, .number = i};
        send_one(&b.writers[i]);
    }
    while (b.running > 0) {
        uv_run(dc_loop_uv(b.loop), UV_RUN_ONCE);
    }
    double cpu = cpu_us() - cpu_before, took = (double)(b.ended_us - b.began_us) / 1e6;
    qsort(b.latency_us, b.n_latency, sizeof(*b.latency_us), by_size);
    printf(
        "backend=%s writers=%u tps=%.0f failed=%llu p50_ms=%.1f p99_ms=%.1f cpu_us_per_tx=%.1f\n",
        dc_db_is_postgres(b.db) ? "postgresql" : "sqlite", b.n_writers, (double)b.done / took,
        (unsigned long long)b.failed, (double)b.latency_us[b.n_latency / 2] / 1e3,
        (double)b.latency_us[b.n_latency - 1 - b.n_latency / 100] / 1e3, cpu / (double)b.done);
    dc_db_close(b.db, on_closed, &b);
    while (!b.is_closed) {
        uv_run(dc_loop_uv(b.loop), UV_RUN_ONCE);
    }
    dc_free(b.latency_us);
    dc_free(b.writers);
    dc_metrics_destroy(metrics);
    return dc_loop_destroy(b.loop) == DC_OK && b.failed == 0 ? 0 : 1;
}
