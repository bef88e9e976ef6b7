/* What migrate.c (files and rules) and its two engines share. */
#ifndef DC_DB_MIGRATE_PRIV_H
#define DC_DB_MIGRATE_PRIV_H

#include "base/slice.h"
#include "db/migrate.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DC_MIGRATE_MAX       999
#define DC_MIGRATE_MAX_BYTES ((off_t)4 * 1024 * 1024)
#define DC_SHA256_HEX        64
/* Several processes that start at once wait for each other, but not for ever. */
#define DC_MIGRATE_WAIT_MS 120000

struct dc_migration {
    int number;
    char name[80]; /* "001_city_core" */
    char checksum[DC_SHA256_HEX + 1];
    char *sql;
};
struct dc_migrations {
    struct dc_migration *items; /* 1, 2, 3, … */
    size_t n;
};

/* An open database; every call blocks. */
struct dc_migrate_engine {
    const char *folder; /* of the files */
    /* is_check: nothing may be changed. *out may be NULL with DC_OK: there is no database yet. */
    enum dc_status (*open)(const struct dc_migrate_opts *opts, void **out, struct dc_error *err);
    void (*close)(void *conn);
    /* Begins a transaction that keeps other migrating processes out, and makes the table. */
    enum dc_status (*begin)(void *conn, struct dc_error *err);
    enum dc_status (*commit)(void *conn, struct dc_error *err);
    void (*roll_back)(void *conn);
    /* Calls row for every applied migration, by number; none when there is no table. */
    enum dc_status (*applied)(void *conn,
                              enum dc_status (*row)(void *data, int number,
                                                    struct dc_slice checksum, struct dc_error *err),
                              void *data, struct dc_error *err);
    enum dc_status (*apply)(void *conn, const struct dc_migration *m, struct dc_error *err);
};
extern const struct dc_migrate_engine dc_migrate_postgres, dc_migrate_sqlite;

#endif
