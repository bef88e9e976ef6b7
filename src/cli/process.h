/* Inside of a serving process: what the files of src/cli that make one share (serve.c: the order of
 * starting and stopping; serve_backends.c: checks, migrations, backends; serve_claim.c: who else is
 * here; serve_listen.c: routers, listeners, health). */
#ifndef DC_CLI_PROCESS_H
#define DC_CLI_PROCESS_H

#include "cli/cli.h"
#include "cli/signals.h"

#define DC_MAX_ROLES 16

struct dc_process {
    const struct dc_cli *cli;
    struct dc_conf *conf;
    const struct dc_settings *settings;
    struct dc_ctx ctx;
    const struct dc_role *const *roles;
    void *states[DC_MAX_ROLES];
    size_t n_roles, n_started, n_ready;
    unsigned needs; /* enum dc_role_need of all roles */
    struct dc_static_files *web;
    struct dc_server *public_server, *internal_server;
    struct dc_health_check *db_health, *kv_health, *bus_health, *roles_health;
    struct dc_timer patience;   /* until somebody should be able to read /readyz */
    int data_dir_lock;          /* over an embedded database; -1 */
    struct dc_pg_lock *db_lock; /* over PostgreSQL */
    void (*claimed)(struct dc_process *p);
    struct dc_migration *migration; /* under way, or waiting for the database */
    struct dc_signals signals;
    struct dc_mono started_at;
    size_t awaited; /* closings under way */
    void (*next_step)(struct dc_process *p);
    int exit_code;
    bool is_stopping, have_patience, are_roles_started;
    bool is_alone; /* no stranger uses the database: claimed has run */
};

/* --- serve.c --- */

/* Says why in one line, and stops with the exit code of the status. */
void dc_process_fail(struct dc_process *p, const struct dc_error *err);
/* One of the closings that this step of stopping waits for has ended; data is the process. */
void dc_process_step_done(void *data);

/* --- serve_backends.c --- */

/* What cannot work is refused before anything is opened (DC_CONFIG). */
DC_MUST_USE enum dc_status dc_process_check(const struct dc_process *p, struct dc_error *err);
/* Brings the database to this version, off the loop, again with back-off while it is away; then
 * done runs. A failure that stays stops the process.  done never runs once the process stops. */
void dc_process_migrate(struct dc_process *p, void (*done)(struct dc_process *p));
/* A migration under way is awaited as one of the closings. */
void dc_process_migrate_stop(struct dc_process *p);
DC_MUST_USE enum dc_status dc_process_open_backends(struct dc_process *p, struct dc_error *err);
void dc_process_close_backends(struct dc_process *p);

/* --- serve_claim.c --- */

/* Makes sure that no process uses the same database without sharing its bus; then claimed runs,
 * once. Waits while the database is away; a stranger stops the process (DC_CONFIG). */
void dc_process_claim(struct dc_process *p, void (*claimed)(struct dc_process *p));
/* Nothing uses the database any more.  DATA_DIR stays locked until the process ends. */
void dc_process_release(struct dc_process *p);

/* --- serve_listen.c --- */

DC_MUST_USE enum dc_status dc_process_open_net(struct dc_process *p, struct dc_error *err);
/* What dc_process_open_net() made; the loop has ended. */
void dc_process_close_net(struct dc_process *p);
/* Each opens once; a failure stops the process. */
void dc_process_listen_internal(struct dc_process *p);
void dc_process_listen_public(struct dc_process *p);

/* --- supervise.c --- */

/* WORKERS > 1: runs this program again that many times, on one port, until a signal stops all. A
 * worker that dies is started again with back-off; one that refuses its configuration ends all. */
int dc_cli_supervise(const struct dc_cli *cli, const struct dc_settings *settings);

/* The log of the process, as LOG_FORMAT and LOG_LEVEL ask for. */
struct dc_log *dc_cli_open_log(const struct dc_settings *s);

#endif
