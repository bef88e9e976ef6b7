/* Who else is here: two processes over one database that do not share a bus would not hear each
 * other, and nobody would notice.
 *
 * SQLite belongs to one process: DATA_DIR is locked (cli/files.c).  PostgreSQL without NATS_URL
 * too: an exclusive lock; with NATS_URL a shared one, so that a process that lacks the setting is
 * told apart from its neighbours.  Both locks go with the process, however it ends. */
#include "cli/process.h"
#include "db/postgres_lock.h"

/* Of a process that was killed the server may notice late (db/postgres_lock.h). */
#define LOCK_PATIENCE_MS 5000

static void fail_taken(struct dc_process *p)
{
    struct dc_error err = {0};
    (void)(p->settings->nats_url == NULL
               ? dc_fail(&err, DC_CONFIG, 0,
                         "NATS_URL is missing: another process uses this database, and without a "
                         "shared bus they would not hear each other")
               : dc_fail(&err, DC_CONFIG, 0,
                         "a process without NATS_URL uses this database: they would not hear each "
                         "other"));
    dc_process_fail(p, &err);
}

static void on_lock(void *data, const struct dc_error *err)
{
    struct dc_process *p = data;
    if (p->is_stopping) {
        return;
    }
    if (err->status == DC_OK && !p->is_alone) {
        p->is_alone = true;
        p->claimed(p);
    } else if (err->status == DC_CONFLICT && p->is_alone && p->settings->nats_url != NULL) {
        /* Lost for a moment, and somebody without a bus came: the city goes on without them. */
        DC_LOG_ERROR_EVENT(p->ctx.log, "db.stranger", DC_LF_Z("setting", "NATS_URL"),
                           DC_LF_Z("detail", "a process without it uses this database"));
    } else if (err->status == DC_CONFLICT) {
        fail_taken(p);
    } else if (err->status == DC_CONFIG && !p->is_alone) {
        dc_process_fail(p,
                        err); /* later it is as any outage: what is wrong may be put right again */
    } else if (err->status != DC_OK && !p->is_alone) {
        dc_health_set(p->db_health, DC_HEALTH_DOWN, "away; the start waits for it");
    }
}

void dc_process_claim(struct dc_process *p, void (*claimed)(struct dc_process *p))
{
    const struct dc_settings *s = p->settings;
    struct dc_error err = {0};
    enum dc_status st = DC_OK;
    p->claimed = claimed;
    if ((p->needs & DC_NEEDS_DB) == 0) {
        claimed(p);
        return;
    }
    if (s->database_url == NULL) {
        st = dc_cli_lock_data_dir(s, &p->data_dir_lock, &err);
        if (st == DC_OK) {
            p->is_alone = true;
            claimed(p);
            return;
        }
    } else {
        const struct dc_pg_lock_opts opts = {.url = s->database_url,
                                             .is_shared = s->nats_url != NULL,
                                             .patience_ms = LOCK_PATIENCE_MS,
                                             .log = p->ctx.log};
        st = dc_pg_lock_open(p->ctx.loop, &opts, on_lock, p, &p->db_lock, &err);
    }
    if (st != DC_OK) {
        dc_process_fail(p, &err);
    }
}

void dc_process_release(struct dc_process *p)
{
    dc_pg_lock_close(p->db_lock);
    p->db_lock = NULL;
}
