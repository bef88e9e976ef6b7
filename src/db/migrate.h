/* Migrations: numbered files migrations/{postgres,sqlite}/NNN_name.sql, each applied in its own
 * transaction, recorded with a SHA-256 checksum in schema_migrations, under an advisory lock so
 * that several processes may start at once.  A file changed after it was applied, a gap, or a
 * database newer than the files is DC_CONFIG.  Synchronous: runs before the loop does. */
#ifndef DC_DB_MIGRATE_H
#define DC_DB_MIGRATE_H

#include "base/status.h"
#include "base/strbuf.h"

struct dc_migrate_opts {
    const char *url;  /* PostgreSQL, or NULL */
    const char *path; /* SQLite file */
    const char *dir;  /* "migrations" */
    bool check_only;  /* apply nothing: DC_CONFLICT when something is pending */
};
/* report: one line per migration for people ("applied 001_city_core", "pending 002_…"). */
DC_MUST_USE enum dc_status dc_migrate(const struct dc_migrate_opts *opts, struct dc_strbuf *report,
                                      struct dc_error *err);

#endif
