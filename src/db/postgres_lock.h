/* A lock in PostgreSQL that a process holds while it lives: a session-level advisory lock on one
 * connection kept for it alone, so that the server releases it when the process is gone, however it
 * went.  It belongs to the schema that the URL leads to: two cities in one database are strangers.
 *
 * Exclusive: nobody else has it.  Shared: others may, but nobody exclusively.  When the connection
 * breaks it is got again. Needs a session of the server: a pooler that shares sessions between
 * transactions breaks it. */
#ifndef DC_DB_POSTGRES_LOCK_H
#define DC_DB_POSTGRES_LOCK_H

#include "obs/log.h"
#include "rt/loop.h"

struct dc_pg_lock;

struct dc_pg_lock_opts {
    const char *url; /* copied */
    bool is_shared;
    /* Another holder is put up with for so long: the server may need a moment to notice that one
     * has been killed, or that its machine has gone (4 s). */
    uint64_t patience_ms;
    struct dc_log *log;
};

/* Runs on the loop, never inside dc_pg_lock_open().
 * DC_OK: it is held; again after each loss.  DC_UNAVAILABLE: the server is away.  DC_CONFLICT:
 * somebody else has had it for patience_ms. DC_CONFIG: the server will never let us in; the text
 * names DATABASE_URL.  After all of them but DC_OK it goes on trying.  err is borrowed.
 * dc_pg_lock_close() may be called in it. */
typedef void (*dc_pg_lock_cb)(void *data, const struct dc_error *err);

/* Begins to get it.  A malformed URL is DC_CONFIG. */
DC_MUST_USE enum dc_status dc_pg_lock_open(struct dc_loop *loop, const struct dc_pg_lock_opts *opts,
                                           dc_pg_lock_cb heard, void *data, struct dc_pg_lock **out,
                                           struct dc_error *err);
/* Releases it and frees itself; heard does not run any more.  NULL is allowed. */
void dc_pg_lock_close(struct dc_pg_lock *l);

#endif
