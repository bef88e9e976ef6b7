/* Fan-out, measured against the least that can be done.
 *
 *   bench_fanout [SECTION...]     sections: fanout rss handshake latency (default: all of these),
 *                                 null (the bare server against itself: the error of the method)
 *
 * Two servers run as child processes: a bare epoll loop that send()s one pre-framed buffer to each
 * client, and our server with its hub.  The parent is all the clients: it reads and counts, and
 * starts the next tick when the last byte of the previous one has arrived.  Costs are the CPU time
 * of the server process (user and system) per delivered frame, and what matters is the ratio within
 * one run: both servers are measured in turns, the median of several turns is printed.
 *
 * The clients wait for the last socket of a tick and then read all of them.  Clients that read at
 * the same time would fight with the server for the same two cores: each wake-up that they cause is
 * paid by the server, the more often the closer their speeds are, and over a network nobody pays
 * it. */
#include "base/mem.h"
#include "net/hub.h"
#include "net/router.h"
#include "net/ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAME_BYTES      120u
#define MAX_FDS          19000
#define MAX_TURNS        31
#define TURN_FRAMES      30000 /* of a bare turn; short turns share what disturbs them */
#define TICK_DEADLINE_MS 20000
#define FIRST_OFFSET     1000000u /* seven digits all along */
#define KEY_HEADER       "Sec-WebSocket-Key: "

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #cond, strerror(errno));        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* --- what parent and children say to each other --- */

enum op { OP_CPU_US, OP_RSS_BYTES, OP_TICK, OP_QUIT };

struct command {
    enum op op;
    uint32_t frames;
};

static uint64_t cpu_us(void)
{
    struct rusage u;
    CHECK(getrusage(RUSAGE_SELF, &u) == 0);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static uint64_t rss_bytes(void)
{
    unsigned long size;
    unsigned long resident;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f != NULL && fscanf(f, "%lu %lu", &size, &resident) == 2);
    CHECK(fclose(f) == 0);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Answers the questions that need no server; false: it is for the server. */
static bool answer(int ctl, const struct command *cmd)
{
    uint64_t value;
    if (cmd->op == OP_CPU_US) {
        value = cpu_us();
    } else if (cmd->op == OP_RSS_BYTES) {
        value = rss_bytes();
    } else {
        return false;
    }
    CHECK(write(ctl, &value, sizeof(value)) == (ssize_t)sizeof(value));
    return true;
}

static void report_port(int ctl, uint16_t port)
{
    uint64_t value = port;
    CHECK(write(ctl, &value, sizeof(value)) == (ssize_t)sizeof(value));
}

/* --- the bare server --- */

struct bare {
    int epoll, listener, ctl;
    int clients[MAX_FDS];
    size_t n_clients;
    char frame[FRAME_BYTES];
};

static void bare_add(const struct bare *b, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    CHECK(epoll_ctl(b->epoll, EPOLL_CTL_ADD, fd, &ev) == 0);
}

static void bare_accept(struct bare *b)
{
    int fd;
    while ((fd = accept4(b->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int one = 1;
        CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
        bare_add(b, fd);
    }
}

static void bare_read(struct bare *b, int fd)
{
    char buf[4096];
    char out[256];
    char accept[29];
    ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
    if (n <= 0) {
        close(fd);
        return;
    }
    buf[n] = '\0';
    const char *key = strstr(buf, KEY_HEADER);
    CHECK(key != NULL);
    dc_ws_accept_key(dc_slice_make(key + sizeof(KEY_HEADER) - 1, 24), accept);
    int len = snprintf(out, sizeof(out),
                       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                       accept);
    CHECK(send(fd, out, (size_t)len, MSG_NOSIGNAL) == len);
    if (b->n_clients < MAX_FDS) {
        b->clients[b->n_clients++] = fd; /* those of the handshake section close again */
    }
}

static void bare_tick(const struct bare *b, uint32_t frames)
{
    for (uint32_t k = 0; k < frames; k++) {
        for (size_t i = 0; i < b->n_clients; i++) {
            CHECK(send(b->clients[i], b->frame, sizeof(b->frame), MSG_NOSIGNAL) ==
                  (ssize_t)sizeof(b->frame));
        }
    }
}

static void bare_serve(int ctl)
{
    struct bare *b = dc_calloc(1, sizeof(*b));
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    b->epoll = epoll_create1(EPOLL_CLOEXEC);
    b->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    b->ctl = ctl;
    CHECK(b->epoll >= 0 && b->listener >= 0);
    CHECK(bind(b->listener, (const struct sockaddr *)(const void *)&addr, len) == 0);
    CHECK(listen(b->listener, 1024) == 0);
    CHECK(getsockname(b->listener, (struct sockaddr *)(void *)&addr, &len) == 0);
    memset(b->frame, 'x', sizeof(b->frame));
    b->frame[0] = (char)0x81;
    b->frame[1] = (char)(FRAME_BYTES - 2);
    bare_add(b, b->listener);
    bare_add(b, ctl);
    report_port(ctl, ntohs(addr.sin_port));
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(b->epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            struct command cmd;
            if (fd == b->listener) {
                bare_accept(b);
            } else if (fd != ctl) {
                bare_read(b, fd);
            } else if (read(ctl, &cmd, sizeof(cmd)) != (ssize_t)sizeof(cmd) || cmd.op == OP_QUIT) {
                _exit(0);
            } else if (!answer(ctl, &cmd)) {
                bare_tick(b, cmd.frames);
            }
        }
    }
}

/* --- our server --- */

struct ours {
    struct dc_loop *loop;
    struct dc_ws_hub *ws_hub;
    struct dc_topic *topic;
    uv_poll_t poll;
    int ctl;
};

static void on_text(struct dc_ws *ws, void *data, struct dc_slice text)
{
    struct ours *o = data;
    CHECK(ws != NULL && o->topic != NULL && text.ptr != NULL);
}

static void on_close(struct dc_ws *ws, void *data, uint16_t code)
{
    struct ours *o = data;
    CHECK(ws != NULL && o->topic != NULL && code >= 1000);
}

static const struct dc_ws_class ws_class = {.on_text = on_text, .on_close = on_close};

static void handle_ws(void *ctx, struct dc_http_request *r)
{
    struct ours *o = ctx;
    struct dc_ws *ws = dc_ws_accept(o->ws_hub, r, &ws_class, o, NULL);
    if (ws != NULL) {
        dc_topic_join(o->topic, dc_ws_conn(ws), dc_topic_offset(o->topic));
    }
}

static void handle_ping(void *ctx, struct dc_http_request *r)
{
    CHECK(ctx != NULL);
    dc_http_reply(r, 200, "application/json", DC_S("{\"status\":\"ok\"}"));
}

static const struct dc_route routes[] = {{DC_GET, "/ws", handle_ws},
                                         {DC_GET, "/ping", handle_ping}};

/* Frames of exactly FRAME_BYTES with the ending that the hub appends. */
static void publish(struct dc_topic *t)
{
    char json[FRAME_BYTES];
    struct dc_strbuf ending = {0};
    uint64_t offset = dc_topic_offset(t) + 1;
    dc_strbuf_add(&ending, DC_S("x"));
    dc_topic_write_cursor(t, offset, &ending);
    size_t len = FRAME_BYTES - 2 - (ending.len - 1);
    memset(json, 'x', sizeof(json));
    memcpy(json, "{\"pad\":\"", 8);
    json[len - 1] = '"';
    dc_topic_publish(t, offset, dc_slice_make(json, len));
    dc_strbuf_free(&ending);
}

static void on_command(uv_poll_t *handle, int status, int events)
{
    struct ours *o = handle->data;
    struct command cmd;
    CHECK(status == 0 && events == UV_READABLE);
    if (read(o->ctl, &cmd, sizeof(cmd)) != (ssize_t)sizeof(cmd) || cmd.op == OP_QUIT) {
        _exit(0);
    }
    if (!answer(o->ctl, &cmd)) {
        for (uint32_t k = 0; k < cmd.frames; k++) {
            publish(o->topic);
        }
    }
}

static void ours_serve(int ctl)
{
    struct ours o = {.ctl = ctl};
    struct dc_error err = {.status = DC_OK};
    struct dc_server *server = NULL;
    const struct dc_server_opts opts = {
        .name = "bench",
        .host = "127.0.0.1",
        .max_connections = MAX_FDS,
        .max_head_bytes = 16384,
        .max_body_bytes = 65536,
        .max_output_bytes = 1024 * 1024,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 10000,
        .keepalive_timeout_ms = 60000,
    };
    const struct dc_ws_opts ws_opts = {.max_frame_bytes = 65536, .idle_timeout_ms = 86400000};
    const struct dc_topic_opts topic_opts = {
        .kind = DC_TOPIC_LOG, .epoch = DC_S("bench"), .first_offset = FIRST_OFFSET};
    struct dc_metrics *metrics = dc_metrics_create();
    struct dc_router *router = dc_router_create();
    CHECK(dc_loop_create(&o.loop, &err) == DC_OK);
    dc_router_add(router, "", routes, DC_ARRAY_LEN(routes), &o);
    CHECK(dc_server_create(o.loop, &opts, router, NULL, metrics, &server, &err) == DC_OK);
    CHECK(dc_ws_hub_create(o.loop, &ws_opts, NULL, metrics, &o.ws_hub, &err) == DC_OK);
    o.topic = dc_topic_create(dc_hub_create(o.loop, metrics), &topic_opts);
    CHECK(uv_poll_init(dc_loop_uv(o.loop), &o.poll, ctl) == 0);
    o.poll.data = &o;
    CHECK(uv_poll_start(&o.poll, UV_READABLE, on_command) == 0);
    report_port(ctl, dc_server_port(server));
    dc_loop_run(o.loop);
}

/* --- the parent: clients --- */

struct target {
    const char *name;
    pid_t pid;
    int ctl;
    uint16_t port;
    int epoll;
    int fds[MAX_FDS];
    size_t n;
};

static uint64_t read_value(const struct target *t)
{
    uint64_t value;
    CHECK(read(t->ctl, &value, sizeof(value)) == (ssize_t)sizeof(value));
    return value;
}

static void command(const struct target *t, enum op op, uint32_t frames)
{
    struct command cmd = {.op = op, .frames = frames};
    CHECK(write(t->ctl, &cmd, sizeof(cmd)) == (ssize_t)sizeof(cmd));
}

static uint64_t ask(const struct target *t, enum op op)
{
    command(t, op, 0);
    return read_value(t);
}

/* Servers and clients have a processor each, where there are two: else the scheduler decides, by
 * chance and for a whole run, who shares a cache with whom. */
static void pin_to(size_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static struct target *start(const char *name, void (*serve)(int ctl))
{
    struct target *t = dc_calloc(1, sizeof(*t));
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    t->name = name;
    t->pid = fork();
    CHECK(t->pid >= 0);
    if (t->pid == 0) {
        close(pair[0]);
        if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
            pin_to(1);
        }
        serve(pair[1]);
        _exit(0);
    }
    close(pair[1]);
    t->ctl = pair[0];
    t->port = (uint16_t)read_value(t);
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(t->epoll >= 0);
    return t;
}

static void stop(struct target *t)
{
    command(t, OP_QUIT, 0);
    CHECK(waitpid(t->pid, NULL, 0) == t->pid);
    for (size_t i = 0; i < t->n; i++) {
        close(t->fds[i]);
    }
    close(t->epoll);
    close(t->ctl);
    dc_free(t);
}

static int connect_to(const struct target *t)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(t->port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *)(const void *)&addr, sizeof(addr)) == 0);
    return fd;
}

static const char upgrade[] = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" KEY_HEADER
                              "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static void send_upgrade(int fd)
{
    CHECK(send(fd, upgrade, sizeof(upgrade) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(upgrade) - 1);
}

static void expect_upgraded(int fd)
{
    char buf[2048];
    ssize_t n = recv(fd, buf, sizeof(buf), 0);
    CHECK(n > 16 && memcmp(buf, "HTTP/1.1 101", 12) == 0 &&
          memcmp(buf + n - 4, "\r\n\r\n", 4) == 0);
}

/* Brings the target to n open WebSockets. */
static void connect_up_to(struct target *t, size_t n)
{
    while (t->n < n) {
        int fd = connect_to(t);
        send_upgrade(fd);
        expect_upgraded(fd);
        CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
        CHECK(epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &ev) == 0);
        t->fds[t->n++] = fd;
    }
}

/* One tick: every client gets `frames` frames. */
static void tick(const struct target *t, uint32_t frames)
{
    static char buf[64 * 1024];
    size_t want = t->n * frames * FRAME_BYTES;
    size_t got = 0;
    struct pollfd last = {.fd = t->fds[t->n - 1], .events = POLLIN};
    command(t, OP_TICK, frames);
    CHECK(poll(&last, 1, TICK_DEADLINE_MS) == 1);
    while (got < want) {
        struct epoll_event events[512];
        int n = epoll_wait(t->epoll, events, 512, TICK_DEADLINE_MS);
        CHECK(n > 0);
        for (int i = 0; i < n; i++) {
            ssize_t r = recv(events[i].data.fd, buf, sizeof(buf), 0);
            CHECK(r > 0);
            got += (size_t)r;
        }
    }
    CHECK(got == want);
}

/* Nanoseconds of the server's CPU per delivered frame. */
static double cost_ns(const struct target *t, uint32_t frames, uint32_t ticks)
{
    uint64_t before = ask(t, OP_CPU_US);
    for (uint32_t i = 0; i < ticks; i++) {
        tick(t, frames);
    }
    double us = (double)(ask(t, OP_CPU_US) - before);
    return us * 1000.0 / ((double)t->n * frames * ticks);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof(*v), compare_doubles);
    return v[n / 2];
}

/* other: what is compared with the bare server (another bare one: what the method itself adds). */
static void bench_fanout(size_t sockets, const char *name, void (*serve)(int ctl), size_t n_batches)
{
    static const uint32_t batches[] = {1, 10, 32};
    CHECK(n_batches <= DC_ARRAY_LEN(batches));
    struct target *bare = start("bare", bare_serve);
    struct target *other = start(name, serve);
    connect_up_to(bare, sockets);
    connect_up_to(other, sockets);
    uint32_t ticks = (uint32_t)(TURN_FRAMES / sockets);
    cost_ns(bare, 1, 5);
    cost_ns(other, 1, 5);
    for (size_t k = 0; k < n_batches; k++) {
        double base[MAX_TURNS];
        double cost[MAX_TURNS];
        double ratio[MAX_TURNS];
        for (size_t i = 0; i < MAX_TURNS; i++) {
            /* In this order each is as often the one that finds its sockets and caches cold. */
            base[i] = cost_ns(bare, 1, ticks);
            cost[i] = cost_ns(other, batches[k], ticks);
            cost[i] = (cost[i] + cost_ns(other, batches[k], ticks)) / 2;
            base[i] = (base[i] + cost_ns(bare, 1, ticks)) / 2;
            ratio[i] = cost[i] / base[i];
        }
        double middle = median(ratio, MAX_TURNS);
        printf("fanout     %5zu sockets, %2u a tick: bare send() %5.0f ns, %s %5.0f ns a frame, "
               "ratio %.3f (quartiles %.3f %.3f)\n",
               sockets, (unsigned)batches[k], median(base, MAX_TURNS), name,
               median(cost, MAX_TURNS), middle, ratio[MAX_TURNS / 4], ratio[MAX_TURNS * 3 / 4]);
        fflush(stdout);
    }
    stop(bare);
    stop(other);
}

static void bench_rss(const char *name, void (*serve)(int ctl))
{
    struct target *t = start(name, serve);
    connect_up_to(t, 500); /* what is paid once */
    uint64_t before = ask(t, OP_RSS_BYTES);
    size_t had = t->n;
    connect_up_to(t, had + 10000);
    uint64_t after = ask(t, OP_RSS_BYTES);
    printf("rss        %s: %.0f bytes an idle socket (10000 sockets)\n", name,
           (double)(after - before) / 10000.0);
    fflush(stdout);
    stop(t);
}

static double handshakes_per_cpu_s(struct target *t, size_t total)
{
    enum { AT_ONCE = 32 };
    uint64_t before = ask(t, OP_CPU_US);
    for (size_t done = 0; done < total; done += AT_ONCE) {
        int fds[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++) {
            fds[i] = connect_to(t);
            send_upgrade(fds[i]);
        }
        for (size_t i = 0; i < AT_ONCE; i++) {
            const struct linger reset = {.l_onoff = 1, .l_linger = 0};
            expect_upgraded(fds[i]);
            CHECK(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
            close(fds[i]);
        }
    }
    return (double)total * 1e6 / (double)(ask(t, OP_CPU_US) - before);
}

static void bench_handshake(void)
{
    struct target *bare = start("bare", bare_serve);
    struct target *ours = start("ours", ours_serve);
    double b[MAX_TURNS];
    double o[MAX_TURNS];
    handshakes_per_cpu_s(bare, 1024);
    handshakes_per_cpu_s(ours, 1024);
    for (size_t i = 0; i < MAX_TURNS; i++) {
        b[i] = handshakes_per_cpu_s(bare, 1024);
        o[i] = handshakes_per_cpu_s(ours, 1024);
    }
    printf("handshake  accepted, upgraded and closed per CPU second: bare %.0f, ours %.0f\n",
           median(b, MAX_TURNS), median(o, MAX_TURNS));
    fflush(stdout);
    stop(bare);
    stop(ours);
}

/* GETs on one keep-alive connection, one each millisecond, until the pipe closes. */
static void measure_latency(const struct target *t, int until_fd, int out_fd)
{
    static const char get[] = "GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    static double us[200000];
    size_t n = 0;
    int fd = connect_to(t);
    /* It must not wait for the counting clients; where that is not allowed it does. */
    if (setpriority(PRIO_PROCESS, 0, -15) != 0) {
        fprintf(stderr, "latency: measured without priority\n");
    }
    struct pollfd until = {.fd = until_fd, .events = POLLIN};
    while (n < DC_ARRAY_LEN(us) && poll(&until, 1, 1) == 0) {
        char buf[1024];
        uint64_t sent = dc_mono_now_us();
        CHECK(send(fd, get, sizeof(get) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(get) - 1);
        ssize_t r = recv(fd, buf, sizeof(buf), 0);
        CHECK(r > 15 && memcmp(buf, "HTTP/1.1 200", 12) == 0 && buf[r - 1] == '}');
        us[n++] = (double)(dc_mono_now_us() - sent);
    }
    CHECK(n > 0);
    qsort(us, n, sizeof(us[0]), compare_doubles);
    double result[] = {(double)n, us[n / 2], us[n * 99 / 100], us[n - 1]};
    CHECK(write(out_fd, result, sizeof(result)) == (ssize_t)sizeof(result));
    _exit(0);
}

static void bench_latency(uint32_t frames)
{
    struct target *ours = start("ours", ours_serve);
    int until[2];
    int out[2];
    double result[4];
    connect_up_to(ours, 5000);
    tick(ours, 1);
    CHECK(pipe2(until, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(until[1]);
        measure_latency(ours, until[0], out[1]);
    }
    close(until[0]);
    uint64_t end_us = dc_mono_now_us() + 5000000;
    while (dc_mono_now_us() < end_us) {
        tick(ours, frames);
    }
    close(until[1]);
    CHECK(read(out[0], result, sizeof(result)) == (ssize_t)sizeof(result));
    CHECK(waitpid(pid, NULL, 0) == pid);
    close(out[0]);
    close(out[1]);
    printf("latency    GET during back-to-back fan-outs of %u to 5000 sockets: %.0f requests, "
           "p50 %.2f ms, p99 %.2f ms, max %.2f ms\n",
           (unsigned)frames, result[0], result[1] / 1000, result[2] / 1000, result[3] / 1000);
    fflush(stdout);
    stop(ours);
}

static bool is_wanted(int argc, char **argv, const char *section)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], section) == 0) {
            return true;
        }
    }
    return argc < 2;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(limit.rlim_cur >= 11000);
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    pin_to(0);
    if (is_wanted(argc, argv, "fanout")) {
        bench_fanout(1000, "ours", ours_serve, 3);
        bench_fanout(5000, "ours", ours_serve, 3);
    }
    if (argc > 1 && is_wanted(argc, argv, "null")) {
        bench_fanout(1000, "bare", bare_serve, 1);
        bench_fanout(5000, "bare", bare_serve, 1);
    }
    if (is_wanted(argc, argv, "rss")) {
        bench_rss("bare", bare_serve);
        bench_rss("ours", ours_serve);
    }
    if (is_wanted(argc, argv, "handshake")) {
        bench_handshake();
    }
    if (is_wanted(argc, argv, "latency")) {
        bench_latency(1);
        bench_latency(10);
    }
    return 0;
}
