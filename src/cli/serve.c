/* A serving process: opens backends, starts roles, listens, and goes down in order.
 *
 * Order of start: data directory, secrets, migrations, backends, roles; listeners when every role
 * is ready, at the latest after READY_PATIENCE_MS (a database that is away must not keep an
 * operator from reading /readyz).  Order of stop: sockets (1001), listeners drained, roles,
 * backends, loop; the loop must end empty. */
#include "base/mem.h"
#include "cli/cli.h"
#include "db/migrate.h"
#include "net/static_files.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define READY_PATIENCE_MS 3000
#define MAX_ROLES         16
#define MAX_OUTPUT_BYTES  ((size_t)8 * 1024 * 1024)
#define MAX_WAITING       20000
#define KV_MAX_KEYS       2000000
#define SSE_KEEPALIVE_MS  15000

struct process {
    const struct dc_cli *cli;
    struct dc_conf *conf;
    const struct dc_settings *settings;
    struct dc_ctx ctx;
    const struct dc_role *const *roles;
    void *states[MAX_ROLES];
    size_t n_roles, n_started, n_ready;
    unsigned needs; /* enum dc_role_need of all roles */
    struct dc_static_files *web;
    struct dc_server *public_server, *internal_server;
    struct dc_health_check *db_health, *kv_health, *bus_health, *roles_health;
    struct dc_timer patience;
    uv_signal_t sigterm, sigint;
    struct dc_mono started_at;
    size_t awaited; /* closings under way */
    void (*next_step)(struct process *p);
    int exit_code;
    bool is_listening, is_stopping, have_signals, have_patience, are_roles_started;
};

/* --- stop, step by step --- */

static void step_done(void *data)
{
    struct process *p = data;
    DC_ASSERT(p->awaited > 0);
    p->awaited--;
    if (p->awaited == 0) {
        p->next_step(p);
    }
}

static void close_rest(struct process *p)
{
    if (p->have_signals) {
        uv_close((uv_handle_t *)&p->sigterm, NULL);
        uv_close((uv_handle_t *)&p->sigint, NULL);
        p->have_signals = false;
    }
    if (p->have_patience) {
        dc_timer_close(&p->patience, NULL);
        p->have_patience = false;
    }
}

static void close_backends(struct process *p)
{
    p->next_step = close_rest;
    p->awaited = 1;
    if (p->ctx.bus != NULL) {
        p->awaited++;
        dc_bus_close(p->ctx.bus, step_done, p);
    }
    if (p->ctx.kv != NULL) {
        p->awaited++;
        dc_kv_close(p->ctx.kv, step_done, p);
    }
    if (p->ctx.db != NULL) {
        p->awaited++;
        dc_db_close(p->ctx.db, step_done, p);
    }
    step_done(p);
}

static void stop_roles(struct process *p)
{
    p->next_step = close_backends;
    p->awaited = 1;
    while (p->n_started > 0) {
        p->n_started--;
        p->awaited++;
        p->roles[p->n_started]->stop(p->states[p->n_started], step_done, p);
    }
    step_done(p);
}

static void stop_process(struct process *p, int exit_code)
{
    if (p->is_stopping) {
        return;
    }
    p->is_stopping = true;
    p->exit_code = exit_code;
    DC_LOG_INFO_EVENT(p->ctx.log, "daarion.stopping", DC_LF_I("exit_code", exit_code));
    if (p->have_patience) {
        dc_timer_stop(&p->patience);
    }
    p->next_step = stop_roles;
    p->awaited = 1;
    if (p->ctx.ws != NULL) {
        dc_ws_hub_shutdown(p->ctx.ws);
    }
    if (p->ctx.sse != NULL) {
        dc_sse_hub_shutdown(p->ctx.sse);
    }
    uint64_t timeout_ms = (uint64_t)p->settings->shutdown_timeout_ms;
    if (p->public_server != NULL) {
        p->awaited++;
        dc_server_stop(p->public_server, timeout_ms, step_done, p);
    }
    if (p->internal_server != NULL) {
        p->awaited++;
        dc_server_stop(p->internal_server, timeout_ms, step_done, p);
    }
    step_done(p);
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct process *p = h->data;
    DC_LOG_INFO_EVENT(p->ctx.log, "daarion.signal", DC_LF_I("signal", signum));
    stop_process(p, DC_EXIT_OK);
}

/* --- routes of every process --- */

static void reply_health(struct process *p, struct dc_http_request *r, bool with_details)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_health_write(p->ctx.health, &w);
    if (with_details) {
        dc_jsonw_key_text(&w, "version", DC_S(DC_VERSION));
        dc_jsonw_key_i64(&w, "uptime_s", (dc_loop_now(p->ctx.loop).ms - p->started_at.ms) / 1000);
    }
    dc_jsonw_end(&w);
    bool is_down = dc_health_overall(p->ctx.health) == DC_HEALTH_DOWN;
    dc_http_set_header(r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(r, is_down ? 503 : 200, &out);
}

static void get_livez(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_reply(r, 200, "application/json", DC_S("{\"status\":\"ok\"}"));
}

static void get_readyz(void *ctx, struct dc_http_request *r)
{
    reply_health(ctx, r, false);
}

static void get_healthz(void *ctx, struct dc_http_request *r)
{
    reply_health(ctx, r, true);
}

static void get_metrics(void *ctx, struct dc_http_request *r)
{
    struct process *p = ctx;
    struct dc_strbuf out = {0};
    dc_metrics_render(p->ctx.metrics, &out);
    if (dc_strbuf_ok(&out)) {
        dc_http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", dc_strbuf_slice(&out));
    } else {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
        dc_http_reply_error(r, &err);
    }
    dc_strbuf_free(&out);
}

static const struct dc_route health_routes[] = {
    {DC_GET, "/livez", get_livez},
    {DC_GET, "/readyz", get_readyz},
    {DC_GET, "/healthz", get_healthz},
};
static const struct dc_route metrics_routes[] = {{DC_GET, "/metrics", get_metrics}};

/* --- listening --- */

static enum dc_status listen_on(struct process *p, const char *name, const char *host, int64_t port,
                                const struct dc_router *router, struct dc_server **out,
                                struct dc_error *err)
{
    const struct dc_settings *s = p->settings;
    const struct dc_server_opts opts = {.name = name,
                                        .host = host,
                                        .port = (uint16_t)port,
                                        .reuse_port = false,
                                        .max_connections = (size_t)s->max_connections,
                                        .max_head_bytes = (size_t)s->max_head_bytes,
                                        .max_body_bytes = (size_t)s->max_body_bytes,
                                        .max_output_bytes = MAX_OUTPUT_BYTES,
                                        .head_timeout_ms = (uint64_t)s->head_timeout_ms,
                                        .body_timeout_ms = (uint64_t)s->body_timeout_ms,
                                        .keepalive_timeout_ms = (uint64_t)s->keepalive_timeout_ms,
                                        .cors_origins = s->cors_origins};
    enum dc_status st =
        dc_server_create(p->ctx.loop, &opts, router, p->ctx.log, p->ctx.metrics, out, err);
    if (st == DC_OK) {
        DC_LOG_INFO_EVENT(p->ctx.log, "server.listening", DC_LF_Z("listener", name),
                          DC_LF_Z("address", host), DC_LF_I("port", dc_server_port(*out)));
    }
    return st;
}

static void listen_once(struct process *p)
{
    struct dc_error err = {0};
    if (p->is_listening || p->is_stopping) {
        return;
    }
    p->is_listening = true;
    const struct dc_settings *s = p->settings;
    if (listen_on(p, "internal", s->internal_host, s->internal_port, p->ctx.internal_router,
                  &p->internal_server, &err) != DC_OK ||
        listen_on(p, "public", s->host, s->port, p->ctx.public_router, &p->public_server, &err) !=
            DC_OK) {
        dc_cli_complain(&err);
        stop_process(p, err.status == DC_CONFIG ? DC_EXIT_CONFIG : DC_EXIT_FAILED);
        return;
    }
    if (p->ctx.is_combined) {
        bool is_v6 = strchr(s->host, ':') != NULL;
        (void)printf("DAARION City is open: http://%s%s%s:%u/\n", is_v6 ? "[" : "", s->host,
                     is_v6 ? "]" : "", (unsigned)dc_server_port(p->public_server));
        (void)fflush(stdout);
    }
}

static void on_patience(struct dc_timer *t)
{
    struct process *p = DC_CONTAINER_OF(t, struct process, patience);
    DC_LOG_WARN_EVENT(p->ctx.log, "daarion.not_ready",
                      DC_LF_I("roles_waiting", p->n_roles - p->n_ready));
    listen_once(p);
}

/* Roles that are ready inside their start() wait for the others to be started: a listener that
 * fails stops the process, which must then know all of them. */
static void open_when_ready(struct process *p)
{
    if (!p->are_roles_started || p->n_ready < p->n_roles || p->is_stopping) {
        return;
    }
    dc_health_set(p->roles_health, DC_HEALTH_OK, NULL);
    dc_timer_stop(&p->patience);
    listen_once(p);
    if (!p->is_stopping) {
        DC_LOG_INFO_EVENT(p->ctx.log, "daarion.ready",
                          DC_LF_I("after_ms", dc_mono_now().ms - p->started_at.ms));
    }
}

static void on_role_ready(void *data)
{
    struct process *p = data;
    p->n_ready++;
    open_when_ready(p);
}

static void on_db_ready(void *data, const struct dc_error *err)
{
    struct process *p = data;
    if (err != NULL && err->status == DC_CONFIG) {
        dc_cli_complain(err);
        stop_process(p, DC_EXIT_CONFIG);
    }
}

/* --- start --- */

static enum dc_status open_backends(struct process *p, struct dc_error *err)
{
    struct dc_ctx *ctx = &p->ctx;
    const struct dc_settings *s = p->settings;
    struct dc_strbuf path = {0};
    enum dc_status st = DC_OK;
    dc_cli_sqlite_path(s, &path);
    const struct dc_db_opts db = {.url = s->database_url,
                                  .path = path.ptr,
                                  .pool_size = (size_t)s->db_pool_size,
                                  .deadline_ms = (uint64_t)s->db_deadline_ms,
                                  .max_waiting = MAX_WAITING,
                                  .log = ctx->log,
                                  .metrics = ctx->metrics,
                                  .health = p->db_health};
    const struct dc_kv_opts kv = {.url = s->redis_url,
                                  .deadline_ms = 2000,
                                  .max_keys = KV_MAX_KEYS,
                                  .log = ctx->log,
                                  .metrics = ctx->metrics,
                                  .health = p->kv_health};
    const struct dc_bus_opts bus = {
        .url = s->nats_url, .log = ctx->log, .metrics = ctx->metrics, .health = p->bus_health};
    if ((p->needs & DC_NEEDS_DB) != 0) {
        st = dc_db_open(ctx->loop, &db, &ctx->db, err);
    }
    if (st == DC_OK && ctx->db != NULL) {
        dc_db_on_ready(ctx->db, on_db_ready, p);
    }
    if (st == DC_OK && (p->needs & DC_NEEDS_KV) != 0) {
        st = dc_kv_open(ctx->loop, &kv, &ctx->kv, err);
    }
    if (st == DC_OK && (p->needs & DC_NEEDS_BUS) != 0) {
        st = dc_bus_open(ctx->loop, &bus, &ctx->bus, err);
    }
    dc_strbuf_free(&path);
    return st;
}

static uint64_t ping_interval_ms(const struct dc_settings *s)
{
    /* Room sockets keep their lease alive by answering pings. */
    int64_t half = s->presence_lease_ms / 2;
    int64_t ping = s->ws_ping_interval_ms < half ? s->ws_ping_interval_ms : half;
    return ping > 0 ? (uint64_t)ping : 1;
}

static enum dc_status open_net(struct process *p, struct dc_error *err)
{
    struct dc_ctx *ctx = &p->ctx;
    const struct dc_settings *s = p->settings;
    const struct dc_ws_opts ws = {.max_frame_bytes = (size_t)s->max_frame_bytes,
                                  .ping_interval_ms = ping_interval_ms(s),
                                  .idle_timeout_ms = (uint64_t)s->ws_idle_timeout_ms,
                                  .allowed_origins = s->cors_origins};
    ctx->hub = dc_hub_create(ctx->loop, ctx->metrics);
    ctx->public_router = dc_router_create();
    ctx->internal_router = dc_router_create();
    enum dc_status st = dc_ws_hub_create(ctx->loop, &ws, ctx->log, ctx->metrics, &ctx->ws, err);
    if (st == DC_OK) {
        st = dc_sse_hub_create(ctx->loop, SSE_KEEPALIVE_MS, &ctx->sse, err);
    }
    if (st == DC_OK && s->jwt_secret != NULL) {
        st = dc_tokens_create(dc_slice_z(s->jwt_secret), &ctx->auth.tokens, err);
    }
    ctx->auth.is_open = strcmp(s->auth_mode, "open") == 0;
    ctx->auth.internal_key = dc_slice_z(s->internal_api_key);
    dc_router_add(ctx->public_router, "", health_routes, DC_ARRAY_LEN(health_routes), p);
    dc_router_add(ctx->internal_router, "", health_routes, DC_ARRAY_LEN(health_routes), p);
    dc_router_add(ctx->internal_router, "", metrics_routes, DC_ARRAY_LEN(metrics_routes), p);
    return st;
}

static void load_web(struct process *p)
{
    struct dc_error err = {0};
    struct dc_strbuf dir = {0};
    dc_cli_find_dir(p->cli, p->settings->web_dir, "../web/dist", "../share/daarion/web", &dir);
    if (dc_strbuf_ok(&dir) && dc_static_files_load(dir.ptr, &p->web, &err) == DC_OK) {
        dc_router_set_fallback(p->ctx.public_router, dc_static_files_serve, p->web);
    } else {
        DC_LOG_WARN_EVENT(p->ctx.log, "web.missing", DC_LF_ERR(&err));
    }
    dc_strbuf_free(&dir);
}

static enum dc_status start_roles(struct process *p, struct dc_error *err)
{
    for (size_t i = 0; i < p->n_roles; i++) {
        enum dc_status st = p->roles[i]->start(&p->ctx, on_role_ready, p, &p->states[i], err);
        if (st != DC_OK) {
            return st;
        }
        p->n_started++;
    }
    p->are_roles_started = true;
    open_when_ready(p);
    return DC_OK;
}

static bool host_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

/* What cannot work is refused before anything is opened. */
static enum dc_status check(const struct process *p, struct dc_error *err)
{
    const struct dc_settings *s = p->settings;
    if (!p->ctx.is_combined) {
        static const struct {
            unsigned need;
            const char *name;
        } shared[] = {{DC_NEEDS_DB, "DATABASE_URL"},
                      {DC_NEEDS_KV, "REDIS_URL"},
                      {DC_NEEDS_BUS, "NATS_URL"},
                      {DC_NEEDS_TOKENS, "JWT_SECRET"}};
        const char *const values[] = {s->database_url, s->redis_url, s->nats_url, s->jwt_secret};
        for (size_t r = 0; r < p->n_roles; r++) {
            for (size_t i = 0; i < DC_ARRAY_LEN(shared); i++) {
                if ((p->roles[r]->needs & shared[i].need) != 0 && values[i] == NULL) {
                    return dc_fail(err, DC_CONFIG, 0,
                                   "%s run alone needs %s: on its own island it would lose what "
                                   "others say (or run `daarion up`)",
                                   p->roles[r]->name, shared[i].name);
                }
            }
        }
    }
    if (s->workers > 1) {
        return dc_fail(err, DC_CONFIG, 0,
                       "WORKERS: several processes need DATABASE_URL, REDIS_URL and NATS_URL, and "
                       "this version speaks to the first alone");
    }
    if (strcmp(s->auth_mode, "open") == 0 && !host_is_loopback(s->host) &&
        !s->auth_open_on_public) {
        return dc_fail(err, DC_CONFIG, 0,
                       "AUTH_MODE=open on the public address %s: everybody could speak as anybody "
                       "(AUTH_OPEN_ON_PUBLIC=yes if you mean it)",
                       s->host);
    }
    return DC_OK;
}

static enum dc_status migrate(struct process *p, struct dc_error *err)
{
    struct dc_strbuf path = {0};
    struct dc_strbuf dir = {0};
    struct dc_strbuf report = {0};
    dc_cli_sqlite_path(p->settings, &path);
    dc_cli_find_dir(p->cli, p->settings->migrations_dir, "../migrations",
                    "../share/daarion/migrations", &dir);
    const struct dc_migrate_opts opts = {.url = p->settings->database_url,
                                         .path = path.ptr,
                                         .dir = dir.ptr,
                                         .check_only = !p->settings->migrate_at_start};
    enum dc_status st = dc_migrate(&opts, &report, err);
    if (st == DC_OK && report.len > 0) {
        struct dc_slice left = dc_strbuf_slice(&report);
        struct dc_slice line;
        while (dc_slice_take_token(&left, '\n', &line)) {
            if (line.len > 0) {
                DC_LOG_INFO_EVENT(p->ctx.log, "db.migration", DC_LF_T("what", line));
            }
        }
    } else if (st == DC_CONFLICT) {
        st = dc_fail(err, DC_CONFIG, 0, "the database needs migrations: run `daarion migrate`");
    }
    dc_strbuf_free(&path);
    dc_strbuf_free(&dir);
    dc_strbuf_free(&report);
    return st;
}

static enum dc_status start(struct process *p, struct dc_error *err)
{
    enum dc_status st = check(p, err);
    if (st == DC_OK && p->ctx.is_combined) {
        st = dc_cli_ensure_data_dir(p->settings, err);
    }
    if (st == DC_OK && p->ctx.is_combined) {
        st = dc_cli_ensure_secrets(p->conf, err);
    }
    if (st == DC_OK && (p->needs & DC_NEEDS_DB) != 0) {
        st = migrate(p, err);
    }
    if (st == DC_OK) {
        st = open_backends(p, err);
    }
    if (st == DC_OK) {
        st = open_net(p, err);
    }
    if (st == DC_OK) {
        if (p->ctx.is_combined) {
            load_web(p);
        }
        dc_timer_start(&p->patience, READY_PATIENCE_MS, 0);
        st = start_roles(p, err);
    }
    return st;
}

static void raise_file_limit(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
}

static struct dc_log *open_log(const struct dc_settings *s)
{
    struct dc_log_opts opts = {.level = DC_LOG_INFO, .fd = STDERR_FILENO};
    opts.is_json = strcmp(s->log_format, "json") == 0 ||
                   (strcmp(s->log_format, "auto") == 0 && isatty(STDERR_FILENO) == 0);
    bool is_known = dc_log_level_parse(dc_slice_z(s->log_level), &opts.level);
    DC_ASSERT(is_known); /* one of the words of the option table */
    return dc_log_create(&opts);
}

static int init_signals(struct process *p)
{
    uv_loop_t *loop = dc_loop_uv(p->ctx.loop);
    int rc = uv_signal_init(loop, &p->sigterm);
    if (rc != 0) {
        return rc;
    }
    rc = uv_signal_init(loop, &p->sigint);
    if (rc != 0) {
        uv_close((uv_handle_t *)&p->sigterm, NULL);
        return rc;
    }
    p->have_signals = true;
    p->sigterm.data = p;
    p->sigint.data = p;
    rc = uv_signal_start(&p->sigterm, on_signal, SIGTERM);
    return rc != 0 ? rc : uv_signal_start(&p->sigint, on_signal, SIGINT);
}

int dc_cli_serve(const struct dc_cli *cli, struct dc_conf *conf, const struct dc_role *const *roles,
                 size_t n_roles, bool is_combined)
{
    struct dc_error err = {0};
    struct process *p = dc_calloc(1, sizeof(*p));
    DC_ASSERT(n_roles <= MAX_ROLES);
    p->cli = cli;
    p->conf = conf;
    p->settings = dc_conf_settings(conf);
    p->roles = roles;
    p->n_roles = n_roles;
    p->started_at = dc_mono_now();
    p->ctx.is_combined = is_combined;
    p->ctx.settings = p->settings;
    p->ctx.log = open_log(p->settings);
    for (size_t i = 0; i < dc_conf_warning_count(conf); i++) {
        DC_LOG_WARN_EVENT(p->ctx.log, "conf.warning", DC_LF_Z("detail", dc_conf_warning(conf, i)));
    }
    p->ctx.metrics = dc_metrics_create();
    p->ctx.health = dc_health_create();
    p->roles_health = dc_health_add(p->ctx.health, "roles", true);
    for (size_t i = 0; i < n_roles; i++) {
        p->needs |= roles[i]->needs;
    }
    if ((p->needs & DC_NEEDS_DB) != 0) {
        p->db_health = dc_health_add(p->ctx.health, "db", true);
    }
    if ((p->needs & DC_NEEDS_KV) != 0) {
        p->kv_health = dc_health_add(p->ctx.health, "kv", false);
    }
    if ((p->needs & DC_NEEDS_BUS) != 0) {
        p->bus_health = dc_health_add(p->ctx.health, "bus", false);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    enum dc_status st = dc_loop_create(&p->ctx.loop, &err);
    if (st == DC_OK) {
        dc_timer_init(p->ctx.loop, &p->patience, on_patience);
        p->have_patience = true;
        int rc = init_signals(p);
        st = rc == 0 ? start(p, &err)
                     : dc_fail(&err, DC_INTERNAL, rc, "signals: %s", uv_strerror(rc));
        if (st != DC_OK) {
            dc_cli_complain(&err);
            stop_process(p, st == DC_CONFIG ? DC_EXIT_CONFIG : DC_EXIT_FAILED);
        }
        dc_loop_run(p->ctx.loop);
        dc_ws_hub_destroy(p->ctx.ws);
        dc_sse_hub_destroy(p->ctx.sse);
        dc_hub_destroy(p->ctx.hub);
        if (dc_loop_destroy(p->ctx.loop) != DC_OK && p->exit_code == DC_EXIT_OK) {
            p->exit_code = DC_EXIT_FAILED;
        }
    } else {
        dc_cli_complain(&err);
        p->exit_code = DC_EXIT_FAILED;
    }
    dc_router_destroy(p->ctx.public_router);
    dc_router_destroy(p->ctx.internal_router);
    dc_static_files_destroy(p->web);
    dc_tokens_destroy(p->ctx.auth.tokens);
    dc_metrics_destroy(p->ctx.metrics);
    dc_health_destroy(p->ctx.health);
    int exit_code = p->exit_code;
    DC_LOG_INFO_EVENT(p->ctx.log, "daarion.stopped", DC_LF_I("exit_code", exit_code));
    dc_log_destroy(p->ctx.log);
    dc_free(p);
    return exit_code;
}
