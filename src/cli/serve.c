/* A serving process: opens backends, starts roles, listens, and goes down in order.
 *
 * Order of start: data directory, secrets, routers, claim, migrations, backends, roles; listeners
 * when every role is ready, at the latest after READY_PATIENCE_MS (a database that is away must not
 * keep an operator from reading /readyz; the public one opens only when its routes are there).
 * Order of stop: sockets (1001), listeners drained, roles, backends, loop; the loop must end empty.
 */
#include "base/mem.h"
#include "cli/process.h"
#include "net/static_files.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define READY_PATIENCE_MS 3000

/* --- stop, step by step --- */

void dc_process_step_done(void *data)
{
    struct dc_process *p = data;
    DC_ASSERT(p->awaited > 0);
    p->awaited--;
    if (p->awaited == 0) {
        p->next_step(p);
    }
}

static void close_rest(struct dc_process *p)
{
    dc_process_release(p);
    dc_signals_close(&p->signals);
    if (p->have_patience) {
        dc_timer_close(&p->patience, NULL);
        p->have_patience = false;
    }
}

static void close_backends(struct dc_process *p)
{
    p->next_step = close_rest;
    p->awaited = 1;
    dc_process_close_backends(p);
    dc_process_step_done(p);
}

static void stop_roles(struct dc_process *p)
{
    p->next_step = close_backends;
    p->awaited = 1;
    while (p->n_started > 0) {
        p->n_started--;
        p->awaited++;
        p->roles[p->n_started]->stop(p->states[p->n_started], dc_process_step_done, p);
    }
    dc_process_step_done(p);
}

static void stop_process(struct dc_process *p, int exit_code)
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
    dc_process_migrate_stop(p);
    if (p->ctx.ws != NULL) {
        dc_ws_hub_shutdown(p->ctx.ws, p->public_server);
    }
    if (p->ctx.sse != NULL) {
        dc_sse_hub_shutdown(p->ctx.sse);
    }
    uint64_t timeout_ms = (uint64_t)p->settings->shutdown_timeout_ms;
    if (p->public_server != NULL) {
        p->awaited++;
        dc_server_stop(p->public_server, timeout_ms, dc_process_step_done, p);
    }
    if (p->internal_server != NULL) {
        p->awaited++;
        dc_server_stop(p->internal_server, timeout_ms, dc_process_step_done, p);
    }
    dc_process_step_done(p);
}

void dc_process_fail(struct dc_process *p, const struct dc_error *err)
{
    if (!p->is_stopping) {
        dc_cli_complain(err);
        stop_process(p, err->status == DC_CONFIG ? DC_EXIT_CONFIG : DC_EXIT_FAILED);
    }
}

static void on_signal(void *data, int signum)
{
    struct dc_process *p = data;
    DC_LOG_INFO_EVENT(p->ctx.log, "daarion.signal", DC_LF_I("signal", signum));
    stop_process(p, DC_EXIT_OK);
}

/* --- start --- */

static void on_patience(struct dc_timer *t)
{
    struct dc_process *p = DC_CONTAINER_OF(t, struct dc_process, patience);
    DC_LOG_WARN_EVENT(p->ctx.log, "daarion.not_ready",
                      DC_LF_I("roles_waiting", p->n_roles - p->n_ready));
    dc_process_listen_internal(p);
    if (p->are_roles_started) {
        dc_process_listen_public(p);
    }
}

/* Roles that are ready inside their start() wait for the others to be started: a listener that
 * fails stops the process, which must then know all of them. */
static void open_when_ready(struct dc_process *p)
{
    if (!p->are_roles_started || p->n_ready < p->n_roles || p->is_stopping) {
        return;
    }
    dc_health_set(p->roles_health, DC_HEALTH_OK, NULL);
    dc_timer_stop(&p->patience);
    dc_process_listen_internal(p);
    dc_process_listen_public(p);
    if (!p->is_stopping) {
        DC_LOG_INFO_EVENT(p->ctx.log, "daarion.ready",
                          DC_LF_I("after_ms", dc_mono_now().ms - p->started_at.ms));
    }
}

static void on_role_ready(void *data)
{
    struct dc_process *p = data;
    p->n_ready++;
    open_when_ready(p);
}

static enum dc_status start_roles(struct dc_process *p, struct dc_error *err)
{
    for (size_t i = 0; i < p->n_roles; i++) {
        enum dc_status st = p->roles[i]->start(&p->ctx, on_role_ready, p, &p->states[i], err);
        if (st != DC_OK) {
            return st;
        }
        p->n_started++;
    }
    return DC_OK;
}

static void on_migrated(struct dc_process *p)
{
    struct dc_error err = {0};
    enum dc_status st = dc_process_open_backends(p, &err);
    if (st == DC_OK) {
        st = start_roles(p, &err);
    }
    if (st != DC_OK) {
        dc_process_fail(p, &err);
        return;
    }
    p->are_roles_started = true;
    /* Counted anew: the database may have been away for long. */
    dc_timer_start(&p->patience, READY_PATIENCE_MS, 0);
    open_when_ready(p);
}

static void on_claimed(struct dc_process *p)
{
    dc_process_migrate(p, on_migrated);
}

static enum dc_status start(struct dc_process *p, struct dc_error *err)
{
    enum dc_status st = DC_OK;
    if (p->ctx.is_combined) {
        st = dc_cli_ensure_data_dir(p->settings, err);
    }
    if (st == DC_OK && p->ctx.is_combined) {
        st = dc_cli_ensure_secrets(p->conf, err);
    }
    if (st == DC_OK) {
        st = dc_process_open_net(p, err);
    }
    if (st == DC_OK) {
        dc_timer_start(&p->patience, READY_PATIENCE_MS, 0);
        dc_process_claim(p, on_claimed);
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

struct dc_log *dc_cli_open_log(const struct dc_settings *s)
{
    struct dc_log_opts opts = {.level = DC_LOG_INFO, .fd = STDERR_FILENO};
    opts.is_json = strcmp(s->log_format, "json") == 0 ||
                   (strcmp(s->log_format, "auto") == 0 && isatty(STDERR_FILENO) == 0);
    bool is_known = dc_log_level_parse(dc_slice_z(s->log_level), &opts.level);
    DC_ASSERT(is_known); /* one of the words of the option table */
    return dc_log_create(&opts);
}

static void run(struct dc_process *p)
{
    struct dc_error err = {0};
    dc_timer_init(p->ctx.loop, &p->patience, on_patience);
    p->have_patience = true;
    enum dc_status st = dc_signals_open(p->ctx.loop, &p->signals, on_signal, p, &err);
    if (st == DC_OK) {
        st = start(p, &err);
    }
    if (st != DC_OK) {
        dc_process_fail(p, &err);
    }
    dc_loop_run(p->ctx.loop);
    dc_process_close_net(p);
    if (dc_loop_destroy(p->ctx.loop) != DC_OK && p->exit_code == DC_EXIT_OK) {
        p->exit_code = DC_EXIT_FAILED;
    }
}

static void open_checks(struct dc_process *p)
{
    struct dc_health *h = p->ctx.health;
    p->roles_health = dc_health_add(h, "roles", true);
    p->db_health = (p->needs & DC_NEEDS_DB) != 0 ? dc_health_add(h, "db", true) : NULL;
    p->kv_health = (p->needs & DC_NEEDS_KV) != 0 ? dc_health_add(h, "kv", false) : NULL;
    p->bus_health = (p->needs & DC_NEEDS_BUS) != 0 ? dc_health_add(h, "bus", false) : NULL;
}

static int serve(struct dc_process *p)
{
    struct dc_error err = {0};
    p->started_at = dc_mono_now();
    p->ctx.settings = p->settings;
    p->ctx.log = dc_cli_open_log(p->settings);
    for (size_t i = 0; i < dc_conf_warning_count(p->conf); i++) {
        DC_LOG_WARN_EVENT(p->ctx.log, "conf.warning",
                          DC_LF_Z("detail", dc_conf_warning(p->conf, i)));
    }
    p->ctx.metrics = dc_metrics_create();
    p->ctx.health = dc_health_create();
    open_checks(p);
    (void)signal(SIGPIPE, SIG_IGN);
    if (p->settings->worker > 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* a worker does not outlive its parent */
    }
    raise_file_limit();
    if (dc_loop_create(&p->ctx.loop, &err) == DC_OK) {
        run(p);
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
    DC_LOG_INFO_EVENT(p->ctx.log, "daarion.stopped", DC_LF_I("exit_code", p->exit_code));
    dc_log_destroy(p->ctx.log);
    if (p->data_dir_lock >= 0) {
        (void)close(p->data_dir_lock);
    }
    return p->exit_code;
}

int dc_cli_serve(const struct dc_cli *cli, struct dc_conf *conf, const struct dc_role *const *roles,
                 size_t n_roles, bool is_combined)
{
    struct dc_error err = {0};
    struct dc_process *p = dc_calloc(1, sizeof(*p));
    int exit_code = DC_EXIT_CONFIG;
    DC_ASSERT(n_roles <= DC_MAX_ROLES);
    p->cli = cli;
    p->conf = conf;
    p->settings = dc_conf_settings(conf);
    p->data_dir_lock = -1;
    p->roles = roles;
    p->n_roles = n_roles;
    p->ctx.is_combined = is_combined;
    for (size_t i = 0; i < n_roles; i++) {
        p->needs |= roles[i]->needs;
    }
    if (dc_process_check(p, &err) != DC_OK) {
        dc_cli_complain(&err);
    } else if (p->settings->workers > 1 && p->settings->worker == 0) {
        exit_code = dc_cli_supervise(cli, p->settings);
    } else {
        exit_code = serve(p);
    }
    dc_free(p);
    return exit_code;
}
