/* See kv_fixture.h. */
#include "kv_fixture.h"
#include "base/mem.h"
#include "kv/redis_url.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALARM_S 60

void kv_over_tls(int *argc, char **argv)
{
    static const char option[] = "--tls=";
    char *last = argv[*argc - 1];

    if (strncmp(last, option, sizeof(option) - 1) != 0) {
        return;
    }
    argv[--*argc] = NULL;
    if (getenv("TEST_REDIS_URL") == NULL) {
        return;
    }
    char *args[8] = {last + sizeof(option) - 1};
    assert_true(*argc + 1 < (int)DC_ARRAY_LEN(args));
    for (int i = 0; i < *argc; i++) {
        args[i + 1] = argv[i];
    }
    assert_int_equal(setenv("REDIS_TLS", "1", 1), 0);
    execv(args[0], args);
    perror(args[0]);
    exit(1);
}

int kv_need_server(void)
{
    const char *ci = getenv("CI");

    if (getenv("TEST_REDIS_URL") != NULL && getenv("TEST_REDIS_CONTROL") != NULL) {
        return 0;
    }
    fprintf(stderr, "TEST_REDIS_URL and TEST_REDIS_CONTROL are not set: no Redis to test with "
                    "(script/with-redis starts one)\n");
    return ci != NULL && strcmp(ci, "true") == 0 ? 1 : 77;
}

/* --- rig --- */

struct rig *rig_create(void)
{
    struct rig *g = dc_calloc(1, sizeof(*g));
    int fds[2];

    alarm(ALARM_S);
    (void)signal(SIGPIPE, SIG_IGN); /* as main does: a server may hang up */
    assert_int_equal(dc_loop_create(&g->loop, NULL), DC_OK);
    g->metrics = dc_metrics_create();
    g->health = dc_health_create();
    g->check = dc_health_add(g->health, "kv", false);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    g->log_fd = fds[0];
    const struct dc_log_opts log_opts = {.level = DC_LOG_INFO, .is_json = false, .fd = fds[1]};
    g->log = dc_log_create(&log_opts);
    g->opts = (struct dc_kv_opts){
        .deadline_ms = 10000, .log = g->log, .metrics = g->metrics, .health = g->check};
    return g;
}

static void on_ready(void *data, const struct dc_error *err)
{
    struct rig *g = data;
    assert_false(g->is_ready);
    g->is_ready = true;
    g->ready = *err;
}

void rig_open_any(struct rig *g)
{
    struct dc_error err = {0};
    g->is_ready = false;
    g->is_closed = false;
    enum dc_status st = dc_kv_open(g->loop, &g->opts, &g->kv, &err);
    if (st != DC_OK) {
        print_error("%s\n", dc_error_text(&err));
    }
    assert_int_equal(st, DC_OK);
    dc_kv_on_ready(g->kv, on_ready, g);
    assert_false(g->is_ready);
}

void rig_open(struct rig *g)
{
    rig_open_any(g);
    rig_until(g, &g->is_ready);
    assert_string_equal(dc_error_text(&g->ready), "ok");
}

static void on_closed(void *data)
{
    struct rig *g = data;
    assert_int_equal(g->waiting, 0); /* closed runs last */
    g->is_closed = true;
    g->kv = NULL;
}

void rig_close(struct rig *g)
{
    dc_kv_close(g->kv, on_closed, g);
    rig_until(g, &g->is_closed);
}

void rig_destroy(struct rig *g)
{
    if (g->kv != NULL) {
        rig_close(g);
    }
    assert_int_equal(dc_loop_destroy(g->loop), DC_OK);
    dc_metrics_destroy(g->metrics);
    dc_health_destroy(g->health);
    dc_log_destroy(g->log);
    close(g->log_fd);
    dc_free(g);
    alarm(0);
}

void rig_until(struct rig *g, const bool *flag)
{
    while (!*flag) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
}

void rig_log(struct rig *g, char *out, size_t size)
{
    ssize_t len = read(g->log_fd, out, size - 1);
    out[len > 0 ? len : 0] = '\0';
}

int64_t rig_metric(struct rig *g, const char *name)
{
    struct dc_strbuf page = {0};
    char line[128];

    dc_metrics_render(g->metrics, &page);
    dc_strbuf_add_char(&page, '\0');
    assert_true(dc_strbuf_ok(&page));
    assert_true(snprintf(line, sizeof(line), "\n%s ", name) < (int)sizeof(line));
    const char *at = strstr(page.ptr, line);
    assert_non_null(at);
    int64_t v = strtoll(at + strlen(line), NULL, 10);
    dc_strbuf_free(&page);
    return v;
}

/* --- calls --- */

void on_answer(void *data, enum dc_status st, struct dc_slice value, int64_t number,
               const struct dc_error *err)
{
    struct rig *g = data;
    assert_true(g->waiting > 0);
    g->waiting--;
    g->status = st;
    g->has_value = value.ptr != NULL;
    g->value[0] = '\0';
    assert_true(value.ptr == NULL || value.len >= sizeof(g->value) ||
                dc_slice_copy_z(value, g->value, sizeof(g->value)));
    g->number = number;
    assert_int_equal(st != DC_OK, err != NULL);
    snprintf(g->code, sizeof(g->code), "%s", err == NULL ? "" : dc_error_code(err));
}

void on_due(void *data, enum dc_status st, const struct dc_slice *members, size_t n,
            const struct dc_error *err)
{
    struct rig *g = data;
    g->n_members = n;
    g->members[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(g->members);
        snprintf(g->members + len, sizeof(g->members) - len, "%.*s ", DC_SLICE_ARG(members[i]));
    }
    on_answer(g, st, DC_SLICE_NULL, 0, err);
}

enum dc_status wait_all(struct rig *g)
{
    while (g->waiting > 0) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    return g->status;
}

enum dc_status set(struct rig *g, const char *key, const char *value, uint64_t ttl_ms)
{
    return CALL(g,
                dc_kv_set(g->kv, dc_slice_z(key), dc_slice_z(value), ttl_ms, on_answer, g, NULL));
}

enum dc_status try_set(struct rig *g, const char *key, const char *value)
{
    enum dc_status st = dc_kv_set(g->kv, dc_slice_z(key), dc_slice_z(value), 0, on_answer, g, NULL);
    if (st != DC_OK) {
        /* Nothing will come of it: let the loop go on. */
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
        return st;
    }
    g->waiting++;
    return wait_all(g);
}

const char *get(struct rig *g, const char *key)
{
    enum dc_status st = CALL(g, dc_kv_get(g->kv, dc_slice_z(key), on_answer, g, NULL));
    assert_int_equal(st, DC_OK);
    return g->has_value ? g->value : NULL;
}

int64_t delete_key(struct rig *g, const char *key)
{
    enum dc_status st = CALL(g, dc_kv_delete(g->kv, dc_slice_z(key), on_answer, g, NULL));
    assert_int_equal(st, DC_OK);
    return g->number;
}

enum dc_status acquire(struct rig *g, const char *name, const char *holder, uint64_t ttl_ms)
{
    return CALL(g, dc_kv_lease_acquire(g->kv, dc_slice_z(name), dc_slice_z(holder), ttl_ms,
                                       on_answer, g, NULL));
}

enum dc_status release(struct rig *g, const char *name, const char *holder)
{
    return CALL(
        g, dc_kv_lease_release(g->kv, dc_slice_z(name), dc_slice_z(holder), on_answer, g, NULL));
}

enum dc_status add(struct rig *g, const char *set_name, const char *member, uint64_t ttl_ms)
{
    return CALL(g, dc_kv_expiry_add(g->kv, dc_slice_z(set_name), dc_slice_z(member), ttl_ms,
                                    on_answer, g, NULL));
}

const char *take(struct rig *g, const char *set_name, size_t max)
{
    enum dc_status st =
        CALL(g, dc_kv_expiry_take_due(g->kv, dc_slice_z(set_name), max, on_due, g, NULL));
    assert_int_equal(st, DC_OK);
    return g->members;
}

/* --- beside the port --- */

const char *admin_url(void)
{
    const char *plain = getenv("TEST_REDIS_PLAIN_URL");
    return plain != NULL ? plain : getenv("TEST_REDIS_URL");
}

redisContext *admin_connect(const char *url)
{
    struct dc_redis_url u;
    struct dc_error err = {0};

    assert_int_equal(dc_redis_url_parse(url, NULL, &u, &err), DC_OK);
    redisContext *c = redisConnect(u.hosts[0].name, u.hosts[0].port);
    assert_non_null(c);
    if (c->err != 0) {
        print_error("%s\n", c->errstr);
    }
    assert_int_equal(c->err, 0);
    if (u.password != NULL) {
        freeReplyObject(admin_ask(c, "AUTH %s", u.password));
    }
    dc_redis_url_free(&u);
    return c;
}

static redisReply *ask(redisContext *c, const char *format, va_list args)
{
    redisReply *reply = redisvCommand(c, format, args);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        print_error("%s: %s\n", format, reply == NULL ? c->errstr : reply->str);
    }
    assert_non_null(reply);
    assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
    return reply;
}

redisReply *admin_ask(redisContext *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = ask(c, format, args);
    va_end(args);
    return reply;
}

void admin(const char *format, ...)
{
    redisContext *c = admin_connect(admin_url());
    va_list args;
    va_start(args, format);
    freeReplyObject(ask(c, format, args));
    va_end(args);
    redisFree(c);
}

void control(const char *action)
{
    pid_t pid = fork();
    int status = 0;
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        execl(getenv("TEST_REDIS_CONTROL"), "control", action, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void until_it_works(struct rig *g)
{
    enum dc_status st = try_set(g, "works", "yes");
    while (st != DC_OK) {
        assert_true(st == DC_UNAVAILABLE || st == DC_TIMEOUT);
        st = try_set(g, "works", "yes");
    }
    assert_int_equal(dc_health_overall(g->health), DC_HEALTH_OK);
}
