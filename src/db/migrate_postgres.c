/* Migrations on PostgreSQL. An advisory lock, held to the end of each transaction, lets one process
 * at a time look and apply; files are sent whole. */
#include "db/migrate_priv.h"
#include "db/postgres_connect.h"
#include <stdio.h>

#define CONNECT_TIMEOUT_MS 10000
/* Any number that nobody else uses in this database: "daarion" in ASCII. */
#define LOCK_SQL "SELECT pg_advisory_xact_lock(28254585839579502)"

static enum dc_status fail_result(struct dc_error *err, enum dc_status st, const char *what,
                                  const char *message)
{
    char line[140];

    dc_pg_first_line(message, line, sizeof(line));
    return dc_fail(err, st, 0, "%.40s: %s", what, line);
}

static enum dc_status exec(PGconn *conn, const char *sql, const char *what, struct dc_error *err)
{
    PGresult *res = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(res);
    enum dc_status st = DC_OK;

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
        bool is_lost = PQstatus(conn) == CONNECTION_BAD;
        st = fail_result(err, is_lost ? DC_UNAVAILABLE : DC_CONFIG, what, PQerrorMessage(conn));
    }
    PQclear(res);
    return st;
}

static void pg_close(void *data)
{
    if (data != NULL) {
        PQfinish(data);
    }
}

static void ignore_notice(void *data, const PGresult *res)
{
    /* "relation already exists, skipping" and its like. */
    (void)data;
    (void)res;
}

static enum dc_status pg_open(const struct dc_migrate_opts *opts, void **out, struct dc_error *err)
{
    struct dc_pg_url url;
    enum dc_status st = dc_pg_url_parse(opts->url, &url, err);
    PGconn *conn = NULL;

    if (st != DC_OK) {
        return st;
    }
    dc_pg_url_set(&url, "client_encoding", "UTF8");
    dc_pg_url_default(&url, "application_name", "daarion-migrate");
    dc_pg_url_default(&url, "gssencmode", "disable");
    dc_pg_url_add_option(&url, "TimeZone", "UTC");
    st = dc_pg_connect(&url, CONNECT_TIMEOUT_MS, NULL, &conn, err);
    dc_pg_url_free(&url);
    if (st != DC_OK) {
        return st;
    }
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    *out = conn;
    return DC_OK;
}

static enum dc_status pg_begin(void *data, struct dc_error *err)
{
    PGconn *conn = data;
    char timeout[64];
    int len =
        snprintf(timeout, sizeof(timeout), "SET LOCAL statement_timeout = %d", DC_MIGRATE_WAIT_MS);
    enum dc_status st = exec(conn, "BEGIN", "cannot begin", err);

    DC_ASSERT(len > 0 && (size_t)len < sizeof(timeout));
    if (st == DC_OK) {
        st = exec(conn, timeout, "cannot begin", err);
    }
    if (st == DC_OK && exec(conn, LOCK_SQL, "another process is migrating", err) != DC_OK) {
        st = err == NULL ? DC_UNAVAILABLE : (err->status = DC_UNAVAILABLE);
    }
    if (st == DC_OK) {
        /* A migration may take as long as it needs. */
        st = exec(conn,
                  "SET LOCAL statement_timeout = 0;"
                  "CREATE TABLE IF NOT EXISTS schema_migrations ("
                  " number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
                  " applied_at timestamptz NOT NULL DEFAULT now())",
                  "cannot make schema_migrations", err);
    }
    if (st != DC_OK) {
        PQclear(PQexec(conn, "ROLLBACK"));
    }
    return st;
}

static enum dc_status pg_commit(void *data, struct dc_error *err)
{
    return exec(data, "COMMIT", "cannot commit", err);
}

static void pg_roll_back(void *data)
{
    /* Whatever it answers, the connection is closed next. */
    PQclear(PQexec(data, "ROLLBACK"));
}

static enum dc_status has_table(PGconn *conn, bool *out, struct dc_error *err)
{
    PGresult *res = PQexec(conn, "SELECT to_regclass('schema_migrations') IS NOT NULL");
    enum dc_status st = DC_OK;

    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        st = fail_result(err, DC_UNAVAILABLE, "cannot look", PQerrorMessage(conn));
    } else {
        *out = strcmp(PQgetvalue(res, 0, 0), "t") == 0;
    }
    PQclear(res);
    return st;
}

static enum dc_status pg_applied(void *data,
                                 enum dc_status (*row)(void *data, int number,
                                                       struct dc_slice checksum,
                                                       struct dc_error *err),
                                 void *row_data, struct dc_error *err)
{
    PGconn *conn = data;
    bool is_there = false;
    enum dc_status st = has_table(conn, &is_there, err);

    if (st != DC_OK || !is_there) {
        return st;
    }
    PGresult *res = PQexec(conn, "SELECT number, checksum FROM schema_migrations ORDER BY number");
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        st = fail_result(err, DC_CONFIG, "schema_migrations", PQerrorMessage(conn));
    }
    for (int i = 0; st == DC_OK && i < PQntuples(res); i++) {
        int64_t number = 0;
        if (!dc_slice_to_i64(dc_slice_z(PQgetvalue(res, i, 0)), &number) || number < 0 ||
            number > INT32_MAX) {
            number = 0;
        }
        st = row(row_data, (int)number, dc_slice_z(PQgetvalue(res, i, 1)), err);
    }
    PQclear(res);
    return st;
}

static enum dc_status pg_apply(void *data, const struct dc_migration *m, struct dc_error *err)
{
    PGconn *conn = data;
    char number[16];
    int len = snprintf(number, sizeof(number), "%d", m->number);
    const char *values[] = {number, m->name, m->checksum};
    enum dc_status st = exec(conn, m->sql, m->name, err);

    DC_ASSERT(len > 0 && (size_t)len < sizeof(number));
    if (st != DC_OK) {
        return st;
    }
    if (PQtransactionStatus(conn) != PQTRANS_INTRANS) {
        return dc_fail(err, DC_CONFIG, 0, "%s ends the transaction by itself", m->name);
    }
    PGresult *res = PQexecParams(conn,
                                 "INSERT INTO schema_migrations (number, name, checksum)"
                                 " VALUES ($1, $2, $3)",
                                 (int)DC_ARRAY_LEN(values), NULL, values, NULL, NULL, 0);
    if (PQresultStatus(res) != PGRES_COMMAND_OK) {
        st = fail_result(err, DC_CONFIG, m->name, PQerrorMessage(conn));
    }
    PQclear(res);
    return st;
}

const struct dc_migrate_engine dc_migrate_postgres = {
    .folder = "postgres",
    .open = pg_open,
    .close = pg_close,
    .begin = pg_begin,
    .commit = pg_commit,
    .roll_back = pg_roll_back,
    .applied = pg_applied,
    .apply = pg_apply,
};
