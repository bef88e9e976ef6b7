/* See sqlite_file.h. */
#include "db/sqlite_file.h"
#include "base/slice.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define OPEN_BUSY_MS 10000

int dc_sqlite_exec(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* The sidecar files (-wal, -shm) get the mode of the database file. */
static enum dc_status create_file(const char *path, struct dc_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd == -1) {
        int cause = errno;
        return dc_fail(err, DC_CONFIG, cause, "cannot open the database file %.100s: %s", path,
                       dc_errno_text(cause));
    }
    if (close(fd) != 0) {
        return dc_fail(err, DC_CONFIG, errno, "cannot create the database file %.100s", path);
    }
    return DC_OK;
}

static int set_up(sqlite3 *db, enum dc_sqlite_mode mode)
{
    int rc = sqlite3_busy_timeout(db, OPEN_BUSY_MS);

    if (rc == SQLITE_OK) {
        rc = sqlite3_extended_result_codes(db, 1);
    }
    if (rc == SQLITE_OK && mode == DC_SQLITE_WRITER) {
        rc = dc_sqlite_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                "PRAGMA foreign_keys=ON; PRAGMA journal_size_limit=67108864;"
                                "PRAGMA trusted_schema=OFF;");
    }
    if (rc == SQLITE_OK && mode == DC_SQLITE_READER) {
        rc = dc_sqlite_exec(db, "PRAGMA query_only=ON; PRAGMA trusted_schema=OFF;");
    }
    if (rc == SQLITE_OK) {
        /* Finds out whether it is a database at all. */
        rc = dc_sqlite_exec(db, "SELECT count(*) FROM sqlite_schema;");
    }
    return rc;
}

enum dc_status dc_sqlite_open(const char *path, enum dc_sqlite_mode mode, sqlite3 **out,
                              struct dc_error *err)
{
    sqlite3 *db = NULL;
    int rc;

    *out = NULL;
    if (mode == DC_SQLITE_WRITER) {
        enum dc_status st = create_file(path, err);
        if (st != DC_OK) {
            return st;
        }
    }
    /* One thread at a time uses a connection, so it needs no mutex. */
    rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        rc = set_up(db, mode);
    }
    if (rc != SQLITE_OK) {
        dc_fail(err, DC_CONFIG, rc, "cannot open the database file %.100s: %s", path,
                db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(db));
        sqlite3_close_v2(db);
        return DC_CONFIG;
    }
    *out = db;
    return DC_OK;
}

/* "UNIQUE constraint failed: rooms.slug" without the beginning. */
static const char *constraint_of(const char *message)
{
    const char *colon = strstr(message, ": ");

    return colon == NULL ? message : colon + 2;
}

enum dc_status dc_sqlite_fail(struct dc_error *err, sqlite3 *db, int rc)
{
    switch (rc) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        return dc_fail(err, DC_CONFLICT, rc, "%s", constraint_of(sqlite3_errmsg(db)));
    default:
        break;
    }
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
        return dc_fail(err, DC_INVALID, rc, "%s", constraint_of(sqlite3_errmsg(db)));
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        return dc_fail(err, DC_INVALID, rc, "a value does not fit (%s)", sqlite3_errstr(rc));
    case SQLITE_INTERRUPT:
        return dc_fail(err, DC_TIMEOUT, rc, "the statement took too long");
    case SQLITE_NOMEM:
        return dc_fail(err, DC_NO_MEMORY, rc, "out of memory");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return dc_fail(err, DC_UNAVAILABLE, rc, "another process keeps the database locked");
    case SQLITE_FULL:
        return dc_fail(err, DC_UNAVAILABLE, rc, "the disk is full");
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
        return dc_fail(err, DC_UNAVAILABLE, rc, "the database file cannot be used: %s",
                       sqlite3_errstr(rc));
    default:
        return dc_fail(err, DC_INTERNAL, rc, "a statement failed (%s)", sqlite3_errstr(rc));
    }
}
