/* What a process needs before its roles can start: settings that fit together, a database of this
 * version, the backends. */
#include "base/mem.h"
#include "cli/process.h"
#include "db/migrate.h"

#define MAX_WAITING    20000
#define KV_MAX_KEYS    2000000
#define KV_DEADLINE_MS 2000

/* --- checks --- */

static bool host_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

struct shared_setting {
    unsigned need;
    const char *name;
    const char *value;
};

/* The first setting without which this process would be on an island of its own. */
static const char *missing_setting(const struct dc_settings *s, unsigned needs)
{
    const struct shared_setting shared[] = {{DC_NEEDS_DB, "DATABASE_URL", s->database_url},
                                            {DC_NEEDS_KV, "REDIS_URL", s->redis_url},
                                            {DC_NEEDS_BUS, "NATS_URL", s->nats_url},
                                            {DC_NEEDS_TOKENS, "JWT_SECRET", s->jwt_secret}};
    for (size_t i = 0; i < DC_ARRAY_LEN(shared); i++) {
        if ((needs & shared[i].need) != 0 && shared[i].value == NULL) {
            return shared[i].name;
        }
    }
    return NULL;
}

enum dc_status dc_process_check(const struct dc_process *p, struct dc_error *err)
{
    const struct dc_settings *s = p->settings;
    for (size_t r = 0; r < p->n_roles && !p->ctx.is_combined; r++) {
        const char *missing = missing_setting(s, p->roles[r]->needs);
        if (missing != NULL) {
            return dc_fail(err, DC_CONFIG, 0,
                           "%s run alone needs %s: on its own island it would lose what others say "
                           "(or run `daarion up`)",
                           p->roles[r]->name, missing);
        }
    }
    /* Workers of one machine share the secrets of DATA_DIR. */
    const char *missing = missing_setting(s, p->needs & ~(unsigned)DC_NEEDS_TOKENS);
    if ((s->workers > 1 || s->worker > 0) && missing != NULL) {
        return dc_fail(err, DC_CONFIG, 0,
                       "WORKERS=%lld needs %s: processes with a backend of their own would not "
                       "hear each other",
                       (long long)s->workers, missing);
    }
    /* The lease of the presence aggregator must be where the bus is: else each process that shares
     * the bus would lead. */
    if (s->nats_url != NULL && s->redis_url == NULL && (p->needs & DC_NEEDS_KV) != 0) {
        return dc_fail(
            err, DC_CONFIG, 0,
            "NATS_URL needs REDIS_URL: processes that share a bus must agree on who leads");
    }
    if (s->internal_port != 0 && s->internal_port + s->workers - 1 > UINT16_MAX) {
        return dc_fail(err, DC_CONFIG, 0,
                       "INTERNAL_PORT=%lld leaves no ports for %lld workers: each takes the next "
                       "one",
                       (long long)s->internal_port, (long long)s->workers);
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

/* --- migrations --- */

/* The pool's thread sees opts, report, st and err, while is_working. */
struct dc_migration {
    struct dc_process *p;
    void (*done)(struct dc_process *p);
    struct dc_strbuf path, dir, report;
    struct dc_migrate_opts opts;
    enum dc_status st;
    struct dc_error err;
    bool is_working;
    struct dc_timer again; /* the database was away */
    struct dc_backoff backoff;
};

static void on_closed(struct dc_timer *t)
{
    struct dc_migration *m = DC_CONTAINER_OF(t, struct dc_migration, again);
    dc_strbuf_free(&m->path);
    dc_strbuf_free(&m->dir);
    dc_strbuf_free(&m->report);
    dc_free(m);
}

static void migration_end(struct dc_migration *m)
{
    m->p->migration = NULL;
    dc_timer_close(&m->again, on_closed);
}

static void log_report(struct dc_migration *m)
{
    struct dc_slice left = dc_strbuf_slice(&m->report);
    struct dc_slice line;
    while (dc_slice_take_token(&left, '\n', &line)) {
        if (line.len > 0) {
            DC_LOG_INFO_EVENT(m->p->ctx.log, "db.migration", DC_LF_T("what", line));
        }
    }
    dc_strbuf_clear(&m->report);
}

static void work(void *data)
{
    struct dc_migration *m = data;
    m->st = dc_migrate(&m->opts, &m->report, &m->err);
}

static void on_worked(void *data)
{
    struct dc_migration *m = data;
    struct dc_process *p = m->p;
    m->is_working = false;
    log_report(m);
    if (p->is_stopping) {
        migration_end(m);
        dc_process_step_done(p);
    } else if (m->st == DC_OK) {
        void (*done)(struct dc_process * p) = m->done;
        migration_end(m); /* first: what follows may fail and stop the process */
        done(p);
    } else if (m->st == DC_UNAVAILABLE) {
        uint64_t pause_ms = dc_backoff_next_ms(&m->backoff);
        DC_LOG_WARN_EVENT(p->ctx.log, "db.migrate_later", DC_LF_Z("setting", "DATABASE_URL"),
                          DC_LF_ERR(&m->err), DC_LF_I("again_in_ms", pause_ms));
        dc_health_set(p->db_health, DC_HEALTH_DOWN, "away; migrations wait for it");
        dc_timer_start(&m->again, pause_ms, 0);
    } else {
        if (m->st == DC_CONFLICT) {
            (void)dc_fail(&m->err, DC_CONFIG, 0,
                          "the database needs migrations: run `daarion migrate`");
        }
        migration_end(m);
        dc_process_fail(p, &m->err);
    }
}

static void attempt(struct dc_migration *m)
{
    m->err = (struct dc_error){0};
    m->is_working = true;
    if (dc_work_submit(m->p->ctx.loop, work, on_worked, m) != DC_OK) {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_INTERNAL, 0, "cannot start the migrations");
        m->is_working = false;
        migration_end(m);
        dc_process_fail(m->p, &err);
    }
}

static void on_again(struct dc_timer *t)
{
    attempt(DC_CONTAINER_OF(t, struct dc_migration, again));
}

void dc_process_migrate(struct dc_process *p, void (*done)(struct dc_process *p))
{
    if ((p->needs & DC_NEEDS_DB) == 0) {
        done(p);
        return;
    }
    struct dc_migration *m = dc_calloc(1, sizeof(*m));
    m->p = p;
    m->done = done;
    m->backoff = (struct dc_backoff){.base_ms = 200, .max_ms = 5000};
    dc_cli_sqlite_path(p->settings, &m->path);
    dc_cli_find_dir(p->cli, p->settings->migrations_dir, DC_MIGRATIONS_DIRS, &m->dir);
    m->opts = (struct dc_migrate_opts){.url = p->settings->database_url,
                                       .path = m->path.ptr,
                                       .dir = m->dir.ptr,
                                       .check_only = !p->settings->migrate_at_start};
    dc_timer_init(p->ctx.loop, &m->again, on_again);
    p->migration = m;
    attempt(m);
}

void dc_process_migrate_stop(struct dc_process *p)
{
    if (p->migration == NULL) {
        return;
    }
    if (p->migration->is_working) {
        p->awaited++; /* on_worked counts it down */
    } else {
        migration_end(p->migration);
    }
}

/* --- backends --- */

static void on_backend_ready(void *data, const struct dc_error *err)
{
    if (err != NULL && err->status == DC_CONFIG) {
        dc_process_fail(data, err);
    }
}

enum dc_status dc_process_open_backends(struct dc_process *p, struct dc_error *err)
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
                                  .password = s->redis_password,
                                  .tls_ca_file = s->redis_tls_ca_file,
                                  .tls_cert_file = s->redis_tls_cert_file,
                                  .tls_key_file = s->redis_tls_key_file,
                                  .deadline_ms = KV_DEADLINE_MS,
                                  .max_keys = KV_MAX_KEYS,
                                  .log = ctx->log,
                                  .metrics = ctx->metrics,
                                  .health = p->kv_health};
    const struct dc_bus_opts bus = {.url = s->nats_url,
                                    .credentials_file = s->nats_credentials_file,
                                    .tls_ca_file = s->nats_tls_ca_file,
                                    .tls_cert_file = s->nats_tls_cert_file,
                                    .tls_key_file = s->nats_tls_key_file,
                                    .replicas = (uint64_t)s->nats_replicas,
                                    .log = ctx->log,
                                    .metrics = ctx->metrics,
                                    .health = p->bus_health};
    if ((p->needs & DC_NEEDS_DB) != 0) {
        st = dc_db_open(ctx->loop, &db, &ctx->db, err);
    }
    if (st == DC_OK && ctx->db != NULL) {
        dc_db_on_ready(ctx->db, on_backend_ready, p);
    }
    if (st == DC_OK && (p->needs & DC_NEEDS_KV) != 0) {
        st = dc_kv_open(ctx->loop, &kv, &ctx->kv, err);
    }
    if (st == DC_OK && ctx->kv != NULL) {
        dc_kv_on_ready(ctx->kv, on_backend_ready, p);
    }
    if (st == DC_OK && (p->needs & DC_NEEDS_BUS) != 0) {
        st = dc_bus_open(ctx->loop, &bus, &ctx->bus, err);
    }
    if (st == DC_OK && ctx->bus != NULL) {
        dc_bus_on_ready(ctx->bus, on_backend_ready, p);
    }
    dc_strbuf_free(&path);
    return st;
}

void dc_process_close_backends(struct dc_process *p)
{
    if (p->ctx.bus != NULL) {
        p->awaited++;
        dc_bus_close(p->ctx.bus, dc_process_step_done, p);
    }
    if (p->ctx.kv != NULL) {
        p->awaited++;
        dc_kv_close(p->ctx.kv, dc_process_step_done, p);
    }
    if (p->ctx.db != NULL) {
        p->awaited++;
        dc_db_close(p->ctx.db, dc_process_step_done, p);
    }
}
