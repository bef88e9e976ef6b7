/* Workers: this program again, several times, on one port (SO_REUSEPORT).  The parent serves
 * nothing and shares nothing with them but the port; they meet over PostgreSQL, Redis and NATS like
 * processes of different machines. */
#include "base/mem.h"
#include "cli/process.h"
#include "cli/signals.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* A worker that has run this long may fail quickly again. */
#define STEADY_MS 10000
/* Beyond SHUTDOWN_TIMEOUT_MS, before a worker is killed. */
#define KILL_PATIENCE_MS 5000

struct worker {
    struct supervisor *s;
    uv_process_t process;
    struct dc_timer again;
    struct dc_backoff backoff;
    struct dc_mono started_at;
    int number; /* from 1 */
    bool is_running;
};

struct supervisor {
    const struct dc_cli *cli;
    const struct dc_settings *settings;
    struct dc_log *log;
    struct dc_loop *loop;
    struct dc_signals signals;
    struct dc_timer patience; /* of a stop */
    struct worker *workers;
    size_t n_running;
    uint16_t port;
    int exit_code;
    bool is_stopping;
};

/* --- the port --- */

static bool make_address(const struct dc_settings *settings, struct sockaddr_storage *out,
                         socklen_t *len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, settings->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)settings->port);
        *len = sizeof(*v4);
        return true;
    }
    if (inet_pton(AF_INET6, settings->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)settings->port);
        *len = sizeof(*v6);
        return true;
    }
    return false;
}

/* Binds without listening: finds the port of PORT=0, and keeps it while workers come and go.  The
 * descriptor belongs to the caller; -1: *err says why. */
static int reserve_port(const struct dc_settings *settings, uint16_t *port, struct dc_error *err)
{
    struct sockaddr_storage addr;
    socklen_t len = 0;
    int on = 1;
    if (!make_address(settings, &addr, &len)) {
        (void)dc_fail(err, DC_CONFIG, 0, "HOST: %s is no address", settings->host);
        return -1;
    }
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)&addr, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        (void)dc_fail(err, DC_CONFIG, errno, "cannot listen on %s port %lld: %s", settings->host,
                      (long long)settings->port, dc_errno_text(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&addr;
    *port = ntohs(addr.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return fd;
}

/* --- stopping --- */

static void finish(struct supervisor *s)
{
    for (int64_t i = 0; i < s->settings->workers; i++) {
        dc_timer_close(&s->workers[i].again, NULL);
    }
    dc_timer_close(&s->patience, NULL);
    dc_signals_close(&s->signals);
}

static void signal_all(struct supervisor *s, int signum)
{
    for (int64_t i = 0; i < s->settings->workers; i++) {
        if (s->workers[i].is_running) {
            (void)uv_process_kill(&s->workers[i].process, signum);
        }
    }
}

static void stop(struct supervisor *s, int exit_code)
{
    if (s->is_stopping) {
        return;
    }
    s->is_stopping = true;
    s->exit_code = exit_code;
    DC_LOG_INFO_EVENT(s->log, "supervisor.stopping", DC_LF_I("exit_code", exit_code));
    signal_all(s, SIGTERM);
    if (s->n_running == 0) {
        finish(s);
    } else {
        dc_timer_start(&s->patience, (uint64_t)s->settings->shutdown_timeout_ms + KILL_PATIENCE_MS,
                       0);
    }
}

static void on_patience(struct dc_timer *t)
{
    struct supervisor *s = DC_CONTAINER_OF(t, struct supervisor, patience);
    DC_LOG_ERROR_EVENT(s->log, "supervisor.killing", DC_LF_I("workers", s->n_running));
    s->exit_code = DC_EXIT_FAILED;
    signal_all(s, SIGKILL);
}

static void on_signal(void *data, int signum)
{
    struct supervisor *s = data;
    DC_LOG_INFO_EVENT(s->log, "supervisor.signal", DC_LF_I("signal", signum));
    stop(s, DC_EXIT_OK);
}

/* --- workers --- */

static void start_later(struct worker *w)
{
    if (dc_mono_now().ms - w->started_at.ms >= STEADY_MS) {
        dc_backoff_reset(&w->backoff);
    }
    uint64_t pause_ms = dc_backoff_next_ms(&w->backoff);
    DC_LOG_WARN_EVENT(w->s->log, "supervisor.restarting", DC_LF_I("worker", w->number),
                      DC_LF_I("in_ms", pause_ms));
    dc_timer_start(&w->again, pause_ms, 0);
}

static void on_worker_exit(uv_process_t *process, int64_t status, int signum)
{
    struct worker *w = DC_CONTAINER_OF(process, struct worker, process);
    struct supervisor *s = w->s;
    uv_close((uv_handle_t *)process, NULL);
    w->is_running = false;
    s->n_running--;
    DC_LOG_INFO_EVENT(s->log, "supervisor.worker_ended", DC_LF_I("worker", w->number),
                      DC_LF_I("exit_code", status), DC_LF_I("signal", signum));
    if (s->is_stopping) {
        if (status != 0 && s->exit_code == DC_EXIT_OK) {
            s->exit_code = DC_EXIT_FAILED;
        }
        if (s->n_running == 0) {
            finish(s);
        }
    } else if (status == DC_EXIT_CONFIG) {
        stop(s, DC_EXIT_CONFIG); /* it said why; the next one would say the same */
    } else {
        start_later(w);
    }
}

static size_t count_args(char *const *argv)
{
    size_t n = 0;
    while (argv[n] != NULL) {
        n++;
    }
    return n;
}

static void start_worker(struct worker *w)
{
    struct supervisor *s = w->s;
    char self[PATH_MAX];
    char number[32];
    char port[32];
    size_t size = sizeof(self);
    size_t n = count_args(s->cli->argv);
    char **args = dc_calloc(n + 3, sizeof(*args));
    for (size_t i = 0; i < n; i++) {
        args[i] = s->cli->argv[i];
    }
    (void)snprintf(number, sizeof(number), "--worker=%d", w->number);
    (void)snprintf(port, sizeof(port), "--worker-port=%u", (unsigned)s->port);
    args[n] = number;
    args[n + 1] = port;
    uv_stdio_container_t stdio[] = {{.flags = UV_INHERIT_FD, .data.fd = STDIN_FILENO},
                                    {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
                                    {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO}};
    int rc = uv_exepath(self, &size);
    const uv_process_options_t opts = {.exit_cb = on_worker_exit,
                                       .file = self,
                                       .args = args,
                                       .stdio_count = (int)DC_ARRAY_LEN(stdio),
                                       .stdio = stdio};
    w->started_at = dc_mono_now();
    if (rc == 0) {
        rc = uv_spawn(dc_loop_uv(s->loop), &w->process, &opts);
        if (rc != 0) {
            uv_close((uv_handle_t *)&w->process, NULL); /* it was initialised all the same */
        }
    }
    dc_free(args);
    if (rc == 0) {
        w->is_running = true;
        s->n_running++;
        DC_LOG_INFO_EVENT(s->log, "supervisor.worker_started", DC_LF_I("worker", w->number),
                          DC_LF_I("pid", uv_process_get_pid(&w->process)));
    } else {
        DC_LOG_ERROR_EVENT(s->log, "supervisor.spawn_failed", DC_LF_I("worker", w->number),
                           DC_LF_Z("detail", uv_strerror(rc)));
        start_later(w);
    }
}

static void on_again(struct dc_timer *t)
{
    struct worker *w = DC_CONTAINER_OF(t, struct worker, again);
    if (!w->s->is_stopping) {
        start_worker(w);
    }
}

static enum dc_status start(struct supervisor *s, struct dc_error *err)
{
    s->workers = dc_calloc((size_t)s->settings->workers, sizeof(*s->workers));
    dc_timer_init(s->loop, &s->patience, on_patience);
    for (int64_t i = 0; i < s->settings->workers; i++) {
        struct worker *w = &s->workers[i];
        w->s = s;
        w->number = (int)i + 1;
        w->backoff = (struct dc_backoff){.base_ms = 200, .max_ms = 10000};
        dc_timer_init(s->loop, &w->again, on_again);
    }
    enum dc_status st = dc_signals_open(s->loop, &s->signals, on_signal, s, err);
    for (int64_t i = 0; i < s->settings->workers && st == DC_OK; i++) {
        start_worker(&s->workers[i]);
    }
    return st;
}

int dc_cli_supervise(const struct dc_cli *cli, const struct dc_settings *settings)
{
    struct dc_error err = {0};
    struct supervisor s = {.cli = cli, .settings = settings, .exit_code = DC_EXIT_OK};
    int fd = reserve_port(settings, &s.port, &err);
    if (fd < 0) {
        dc_cli_complain(&err);
        return DC_EXIT_CONFIG;
    }
    s.log = dc_cli_open_log(settings);
    enum dc_status st = dc_loop_create(&s.loop, &err);
    if (st == DC_OK) {
        st = start(&s, &err);
        if (st != DC_OK) {
            dc_cli_complain(&err);
            s.exit_code = DC_EXIT_FAILED;
            finish(&s);
        }
        dc_loop_run(s.loop);
        if (dc_loop_destroy(s.loop) != DC_OK && s.exit_code == DC_EXIT_OK) {
            s.exit_code = DC_EXIT_FAILED;
        }
    } else {
        dc_cli_complain(&err);
        s.exit_code = DC_EXIT_FAILED;
    }
    dc_free(s.workers);
    dc_log_destroy(s.log);
    (void)close(fd);
    return s.exit_code;
}
