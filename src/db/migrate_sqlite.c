/* Migrations on SQLite. BEGIN EXCLUSIVE lets one process at a time look and apply.  Foreign keys
 * are not enforced while tables are being rebuilt, and checked as a whole before each commit. */
#include "base/mem.h"
#include "db/migrate_priv.h"
#include "db/sqlite_file.h"
#include <stdio.h>
#include <unistd.h>

static enum dc_status fail(struct dc_error *err, sqlite3 *db, int rc, const char *what)
{
    enum dc_status st = (rc & 0xff) == SQLITE_BUSY ? DC_UNAVAILABLE : DC_CONFIG;

    return dc_fail(err, st, rc, "%.60s: %.120s", what, sqlite3_errmsg(db));
}

static enum dc_status exec(sqlite3 *db, const char *sql, const char *what, struct dc_error *err)
{
    int rc = dc_sqlite_exec(db, sql);

    return rc == SQLITE_OK ? DC_OK : fail(err, db, rc, what);
}

static void lite_close(void *data)
{
    sqlite3_close_v2(data); /* NULL is allowed */
}

static enum dc_status lite_open(const struct dc_migrate_opts *opts, void **out,
                                struct dc_error *err)
{
    sqlite3 *db = NULL;

    if (opts->path == NULL || opts->path[0] == '\0') {
        return dc_fail(err, DC_CONFIG, 0, "neither a database URL nor a database file is given");
    }
    if (opts->check_only && access(opts->path, F_OK) != 0) {
        return DC_OK; /* nothing has been applied to a file that does not exist */
    }
    enum dc_status st = dc_sqlite_open(
        opts->path, opts->check_only ? DC_SQLITE_READER : DC_SQLITE_WRITER, &db, err);
    if (st != DC_OK) {
        return st;
    }
    int rc = sqlite3_busy_timeout(db, DC_MIGRATE_WAIT_MS);
    if (rc != SQLITE_OK) {
        st = fail(err, db, rc, "cannot wait");
    } else {
        st = exec(db, "PRAGMA foreign_keys=OFF", "cannot begin", err);
    }
    if (st != DC_OK) {
        sqlite3_close_v2(db);
        return st;
    }
    *out = db;
    return DC_OK;
}

static void lite_roll_back(void *data)
{
    sqlite3 *db = data;

    if (sqlite3_get_autocommit(db) == 0 && dc_sqlite_exec(db, "ROLLBACK") != SQLITE_OK) {
        return; /* the connection is closed next, which rolls back too */
    }
}

static enum dc_status lite_begin(void *data, struct dc_error *err)
{
    enum dc_status st = exec(data, "BEGIN EXCLUSIVE", "another process is migrating", err);

    if (st == DC_OK) {
        st = exec(data,
                  "CREATE TABLE IF NOT EXISTS schema_migrations ("
                  " number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL,"
                  " applied_at INTEGER NOT NULL DEFAULT"
                  " (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)))",
                  "cannot make schema_migrations", err);
        if (st != DC_OK) {
            lite_roll_back(data);
        }
    }
    return st;
}

/* DC_OK with *out NULL: no row. */
static enum dc_status first_text(sqlite3 *db, const char *sql, char out[80], struct dc_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    out[0] = '\0';
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW) {
            const unsigned char *text = sqlite3_column_text(stmt, 0);
            int len = snprintf(out, 80, "%s", text == NULL ? "?" : (const char *)text);
            DC_ASSERT(len >= 0); /* cutting is fine */
            rc = SQLITE_OK;
        } else if (rc == SQLITE_DONE) {
            rc = SQLITE_OK;
        }
    }
    enum dc_status st = rc == SQLITE_OK ? DC_OK : fail(err, db, rc, "cannot look");
    sqlite3_finalize(stmt);
    return st;
}

static enum dc_status lite_commit(void *data, struct dc_error *err)
{
    char table[80];
    enum dc_status st =
        first_text(data, "SELECT \"table\" FROM pragma_foreign_key_check", table, err);

    if (st != DC_OK) {
        return st;
    }
    if (table[0] != '\0') {
        return dc_fail(err, DC_CONFIG, 0, "rows of %s would refer to rows that do not exist",
                       table);
    }
    return exec(data, "COMMIT", "cannot commit", err);
}

static enum dc_status lite_applied(void *data,
                                   enum dc_status (*row)(void *data, int number,
                                                         struct dc_slice checksum,
                                                         struct dc_error *err),
                                   void *row_data, struct dc_error *err)
{
    sqlite3 *db = data;
    sqlite3_stmt *stmt = NULL;
    char table[80];
    enum dc_status st = first_text(
        db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'",
        table, err);

    if (st != DC_OK || table[0] == '\0') {
        return st;
    }
    int rc = sqlite3_prepare_v2(
        db, "SELECT number, checksum FROM schema_migrations ORDER BY number", -1, &stmt, NULL);
    while (rc == SQLITE_OK && st == DC_OK) {
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW) {
            const unsigned char *sum = sqlite3_column_text(stmt, 1);
            sqlite3_int64 number = sqlite3_column_int64(stmt, 0);
            st = row(row_data, number < 0 || number > INT32_MAX ? 0 : (int)number,
                     dc_slice_z((const char *)sum), err);
            rc = SQLITE_OK;
        }
    }
    if (st == DC_OK && rc != SQLITE_DONE) {
        st = fail(err, db, rc, "schema_migrations");
    }
    sqlite3_finalize(stmt);
    return st;
}

static enum dc_status lite_apply(void *data, const struct dc_migration *m, struct dc_error *err)
{
    sqlite3 *db = data;
    sqlite3_stmt *stmt = NULL;
    enum dc_status st = exec(db, m->sql, m->name, err);

    if (st != DC_OK) {
        return st;
    }
    if (sqlite3_get_autocommit(db) != 0) {
        return dc_fail(err, DC_CONFIG, 0, "%s ends the transaction by itself", m->name);
    }
    int rc = sqlite3_prepare_v2(
        db, "INSERT INTO schema_migrations (number, name, checksum) VALUES (?1, ?2, ?3)", -1, &stmt,
        NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int(stmt, 1, m->number);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(stmt, 2, m->name, -1, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(stmt, 3, m->checksum, -1, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
    }
    if (rc != SQLITE_DONE) {
        st = fail(err, db, rc, m->name);
    }
    sqlite3_finalize(stmt);
    return st;
}

const struct dc_migrate_engine dc_migrate_sqlite = {
    .folder = "sqlite",
    .open = lite_open,
    .close = lite_close,
    .begin = lite_begin,
    .commit = lite_commit,
    .roll_back = lite_roll_back,
    .applied = lite_applied,
    .apply = lite_apply,
};
