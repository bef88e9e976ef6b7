/* Presence of a large city from its homeserver, turn by turn: the CPU time of the longest turns of
 * the loop while the source of the aggregator (roles/presence_aggregator/matrix_*.c) starts, hears
 * one answer in which everybody's presence changes, and looks at the whole (budget: 5 ms).  The
 * homeserver is another process.  Everybody is in one room and in four of the others.
 *
 * bench_matrix [people [rooms]] */
#include "base/mem.h"
#include "net/http.h"
#include "net/router.h"
#include "roles/presence_aggregator/matrix_source.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BUDGET_MS 5.0
#define DAEMON    "@presence_daemon:bench.test"
#define ALSO_IN   4

struct city {
    int n_people, n_rooms;
};

static void must(bool is_good, const char *what)
{
    if (!is_good) {
        fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

/* --- the homeserver, and the city's list of rooms --- */

struct server {
    struct city city;
    struct dc_strbuf rooms, joined, online, away;
    struct dc_strbuf *members;
};

static void add_presence(struct dc_strbuf *out, const struct city *city, const char *next_z,
                         const char *presence_z)
{
    dc_strbuf_printf(out, "{\"next_batch\":\"%s\",\"presence\":{\"events\":[", next_z);
    for (int i = 0; i < city->n_people; i++) {
        dc_strbuf_printf(out,
                         "%s{\"type\":\"m.presence\",\"sender\":\"@person_%07d:bench.test\","
                         "\"content\":{\"presence\":\"%s\",\"last_active_ago\":%d}}",
                         i > 0 ? "," : "", i, presence_z, i % 60000);
    }
    dc_strbuf_add(out, DC_S("]}}"));
}

static void add_member(struct dc_strbuf *out, int person)
{
    dc_strbuf_printf(out,
                     "%s\"@person_%07d:bench.test\":{\"display_name\":\"Person %d\",\"avatar_url\":"
                     "null}",
                     out->len > 0 ? "," : "{\"joined\":{", person, person);
}

static void write_answers(struct server *s)
{
    const struct city *city = &s->city;
    s->members = dc_calloc((size_t)city->n_rooms, sizeof(*s->members));
    for (int i = 0; i < city->n_people; i++) {
        add_member(&s->members[0], i);
        for (int k = 0; k < ALSO_IN; k++) {
            add_member(&s->members[1 + (i * ALSO_IN + k) % (city->n_rooms - 1)], i);
        }
    }
    dc_strbuf_add(&s->rooms, DC_S("["));
    dc_strbuf_add(&s->joined, DC_S("{\"joined_rooms\":["));
    for (int i = 0; i < city->n_rooms; i++) {
        const char *comma = i > 0 ? "," : "";
        dc_strbuf_add(&s->members[i], s->members[i].len > 0 ? DC_S("}}") : DC_S("{\"joined\":{}}"));
        dc_strbuf_printf(&s->joined, "%s\"!r%d:bench.test\"", comma, i);
        dc_strbuf_printf(&s->rooms,
                         "%s{\"id\":\"room_%d\",\"slug\":\"room-%d\",\"matrix_room_id\":"
                         "\"!r%d:bench.test\"}",
                         comma, i, i, i);
    }
    dc_strbuf_add(&s->rooms, DC_S("]"));
    dc_strbuf_add(&s->joined, DC_S("]}"));
    add_presence(&s->online, city, "s0", "online");
    add_presence(&s->away, city, "s1", "unavailable");
}

static void reply(struct dc_http_request *r, struct dc_slice json)
{
    dc_http_reply(r, 200, "application/json", json);
}

static int number_in(struct dc_slice path)
{
    const char *at = memchr(path.ptr, 'r', path.len);
    for (; at != NULL && (at[1] < '0' || at[1] > '9');) {
        at = memchr(at + 1, 'r', path.len - (size_t)(at + 1 - path.ptr));
    }
    return at == NULL ? 0 : atoi(at + 1);
}

static void asked(void *ctx, struct dc_http_request *r)
{
    struct server *s = ctx;
    struct dc_slice path = dc_http_path(r);
    struct dc_strbuf query = {0};
    dc_strbuf_add(&query, dc_http_query(r));
    dc_strbuf_add_char(&query, '\0');
    if (dc_slice_ends(path, DC_S("/internal/city/rooms"))) {
        reply(r, dc_strbuf_slice(&s->rooms));
    } else if (dc_slice_ends(path, DC_S("/whoami"))) {
        reply(r, DC_S("{\"user_id\":\"" DAEMON "\"}"));
    } else if (dc_slice_ends(path, DC_S("/joined_rooms"))) {
        reply(r, dc_strbuf_slice(&s->joined));
    } else if (dc_slice_ends(path, DC_S("/joined_members"))) {
        reply(r, dc_strbuf_slice(&s->members[number_in(path)]));
    } else if (strstr(query.ptr, "since=s0") != NULL) {
        reply(r, dc_strbuf_slice(&s->away));
    } else if (strstr(query.ptr, "since=") == NULL) {
        reply(r, dc_strbuf_slice(&s->online));
    } /* else the poll is held */
    dc_strbuf_free(&query);
}

/* The child's life; its port goes through the pipe. */
static void serve(struct city city, int pipe_fd)
{
    static const struct dc_route routes[] = {{DC_GET | DC_POST, "/{path...}", asked}};
    struct server s = {.city = city};
    struct dc_loop *loop = NULL;
    struct dc_server *server = NULL;
    struct dc_router *router = dc_router_create();
    const struct dc_server_opts opts = {.name = "bench",
                                        .host = "127.0.0.1",
                                        .max_connections = 100,
                                        .max_head_bytes = 16 * 1024,
                                        .max_body_bytes = 64 * 1024,
                                        .max_output_bytes = (size_t)1 << 30,
                                        .head_timeout_ms = 600000,
                                        .body_timeout_ms = 600000,
                                        .keepalive_timeout_ms = 600000};
    struct dc_error err = {0};
    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl"); /* no longer than the other */
    write_answers(&s);
    dc_router_add(router, "", routes, DC_ARRAY_LEN(routes), &s);
    must(dc_loop_create(&loop, &err) == DC_OK, "a loop");
    must(dc_server_create(loop, &opts, router, NULL, dc_metrics_create(), &server, &err) == DC_OK,
         "a server");
    uint16_t port = dc_server_port(server);
    must(write(pipe_fd, &port, sizeof(port)) == (ssize_t)sizeof(port), "the pipe");
    dc_loop_run(loop);
    exit(0);
}

/* --- the aggregator's side --- */

struct bench {
    struct dc_ctx ctx;
    struct dc_settings settings;
    struct dc_aggregator a;
    struct dc_ms *ms;
    uint64_t n_turns, n_long;
    double longest_ms, total_ms;
    bool is_closed;
};

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void turn(struct bench *b)
{
    double from = cpu_ms();
    (void)uv_run(dc_loop_uv(b->ctx.loop), UV_RUN_ONCE);
    double took = cpu_ms() - from;
    b->n_turns++;
    b->n_long += took > BUDGET_MS;
    b->total_ms += took;
    b->longest_ms = took > b->longest_ms ? took : b->longest_ms;
}

static void report(struct bench *b, const char *what)
{
    printf("%-34s %6" PRIu64 " turns, %8.1f ms, longest %7.2f ms, %" PRIu64 " above %.0f ms\n",
           what, b->n_turns, b->total_ms, b->longest_ms, b->n_long, BUDGET_MS);
    b->n_turns = b->n_long = 0;
    b->total_ms = b->longest_ms = 0;
}

static void set_closed(void *data)
{
    ((struct bench *)data)->is_closed = true;
}

static void start(struct bench *b, const char *url_z)
{
    struct dc_error err = {0};
    const struct dc_presence_opts core = {.lease_ms = 40000,
                                          .close_grace_ms = 5000,
                                          .typing_ms = 6000,
                                          .throttle_ms = 3000,
                                          .max_users = DC_AGG_MAX_USERS,
                                          .max_rooms = DC_AGG_MAX_ROOMS,
                                          .max_sessions = DC_AGG_MAX_SESSIONS,
                                          .max_rooms_per_user = DC_AGG_MAX_ROOMS_PER_USER};
    void *self = NULL;
    b->settings = (struct dc_settings){.synapse_url = url_z,
                                       .city_service_url = url_z,
                                       .matrix_user_id = DAEMON,
                                       .matrix_access_token = "token",
                                       .sync_timeout_ms = 600000,
                                       .matrix_resync_interval_ms = 900000};
    b->ctx.settings = &b->settings;
    b->ctx.metrics = dc_metrics_create();
    b->ctx.auth.internal_key = DC_S("internal-key");
    const struct dc_bus_opts bus = {.metrics = b->ctx.metrics};
    must(dc_loop_create(&b->ctx.loop, &err) == DC_OK, "a loop");
    must(dc_bus_open(b->ctx.loop, &bus, &b->ctx.bus, &err) == DC_OK, "a bus");
    b->a.ctx = &b->ctx;
    b->a.is_stopping = true; /* no timers of its own */
    must(dc_presence_create(&core, NULL, NULL, &b->a.core, &err) == DC_OK, "a core");
    must(dc_source_matrix.start(&b->a, &self, &err) == DC_OK, dc_error_text(&err));
    b->ms = self;
}

static void run(struct bench *b, const struct city *city)
{
    while (b->ms->phase != DC_MS_POLLING) {
        turn(b);
    }
    must(dc_presence_totals_get(b->a.core).online == (uint32_t)city->n_people, "not all are here");
    must(dc_presence_counts_get(b->a.core).memberships == (size_t)city->n_people * (1 + ALSO_IN),
         "not all are in their rooms");
    report(b, "start");
    while (dc_presence_totals_get(b->a.core).away < (uint32_t)city->n_people) {
        turn(b);
    }
    report(b, "everybody changes in one answer");
    uint64_t looks = b->ms->resyncs->value;
    b->ms->whole_due_ms = 0;
    dc_ms_arm(b->ms);
    while (b->ms->resyncs->value == looks) {
        turn(b);
    }
    must(dc_presence_totals_get(b->a.core).away == 0, "the look has not told");
    report(b, "look at the whole");
}

int main(int argc, char **argv)
{
    struct city city = {.n_people = argc > 1 ? atoi(argv[1]) : 10000,
                        .n_rooms = argc > 2 ? atoi(argv[2]) : 1000};
    struct bench b = {.n_turns = 0};
    int fds[2];
    uint16_t port = 0;
    char url[64];
    int code = 0;
    must(city.n_people > 0 && city.n_rooms > 1 && pipe(fds) == 0, "bench_matrix [people [rooms]]");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        serve(city, fds[1]);
    }
    must(read(fds[0], &port, sizeof(port)) == (ssize_t)sizeof(port), "the homeserver");
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", (unsigned)port);
    printf("%d people in %d rooms\n", city.n_people, city.n_rooms);
    start(&b, url);
    run(&b, &city);
    dc_source_matrix.stop(b.ms);
    dc_bus_close(b.ctx.bus, set_closed, &b);
    dc_loop_run(b.ctx.loop);
    must(b.is_closed, "the bus did not close");
    dc_presence_destroy(b.a.core);
    must(dc_loop_destroy(b.ctx.loop) == DC_OK, "something is left open");
    dc_metrics_destroy(b.ctx.metrics);
    must(kill(child, SIGTERM) == 0 && waitpid(child, &code, 0) == child, "the homeserver's end");
    return 0;
}
