/* SQLSTATE to status, once and for all. What is our own mistake is logged with the statement's
 * text, which holds no data; the server's message is logged only when it speaks about the statement
 * and not about values. */
#include "db/db_postgres.h"
#include <ctype.h>

struct rule {
    const char *prefix;
    enum dc_status status;
};

/* The first match counts. */
static const struct rule rules[] = {
    {"23505", DC_CONFLICT},    /* unique_violation */
    {"23P01", DC_CONFLICT},    /* exclusion_violation */
    {"23", DC_INVALID},        /* other constraints */
    {"22", DC_INVALID},        /* values that do not fit */
    {"40", DC_UNAVAILABLE},    /* serialization, deadlock: after all retries */
    {"57014", DC_TIMEOUT},     /* statement_timeout */
    {"57", DC_UNAVAILABLE},    /* operator intervention, shutdown, starting up */
    {"08P01", DC_INTERNAL},    /* protocol_violation: a wrong number of parameters */
    {"08", DC_UNAVAILABLE},    /* connection */
    {"53", DC_UNAVAILABLE},    /* disk full, out of memory, too many connections */
    {"55P03", DC_UNAVAILABLE}, /* lock_not_available */
    {"58", DC_UNAVAILABLE},    /* input/output errors */
    {"25006", DC_UNAVAILABLE}, /* read-only: a standby */
};

static enum dc_status status_of(const char *sqlstate)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(rules); i++) {
        if (strncmp(sqlstate, rules[i].prefix, strlen(rules[i].prefix)) == 0) {
            return rules[i].status;
        }
    }
    return DC_INTERNAL;
}

/* "23505" as a number for logs; 0 for states with letters. */
static int cause_of(const char *sqlstate)
{
    int n = 0;

    for (const char *p = sqlstate; *p != '\0'; p++) {
        if (!isdigit((unsigned char)*p)) {
            return 0;
        }
        n = n * 10 + (*p - '0');
    }
    return n;
}

static const char *or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static void log_failure(struct pg_db *pg, const PGresult *res, const struct dc_db_stmt *stmt,
                        const struct pg_failure *f)
{
    /* Classes 42 and 26 name columns, tables and statements; others may quote a value. */
    bool is_about_statement = strncmp(f->sqlstate, "42", 2) == 0;
    const char *message =
        is_about_statement ? or_empty(PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)) : "";

    DC_LOG_ERROR_EVENT(pg->base.log, "db.statement_failed", DC_LF_Z("sqlstate", f->sqlstate),
                       DC_LF_Z("sql", stmt == NULL ? "" : stmt->sql), DC_LF_Z("message", message));
}

/* After DEALLOCATE behind our back, or after a table changed its columns. */
static bool is_stale_statement(const char *sqlstate, const PGresult *res)
{
    if (strcmp(sqlstate, "26000") == 0) {
        return true;
    }
    /* "cached plan must not change result type" shares its state with everything unsupported. */
    return strcmp(sqlstate, "0A000") == 0 &&
           strcmp(or_empty(PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION)),
                  "RevalidateCachedQuery") == 0;
}

void pg_failure_of_result(struct pg_db *pg, const PGresult *res, const struct dc_db_stmt *stmt,
                          struct pg_failure *out)
{
    const char *state = or_empty(PQresultErrorField(res, PG_DIAG_SQLSTATE));
    const char *constraint = or_empty(PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME));
    int cause = cause_of(state);

    memset(out->sqlstate, 0, sizeof(out->sqlstate));
    memcpy(out->sqlstate, state, strnlen(state, sizeof(out->sqlstate) - 1));
    out->is_transient = strcmp(out->sqlstate, "40001") == 0 || strcmp(out->sqlstate, "40P01") == 0;
    out->is_stale = is_stale_statement(out->sqlstate, res);
    out->status = out->sqlstate[0] == '\0' ? DC_UNAVAILABLE : status_of(out->sqlstate);
    switch (out->status) {
    case DC_CONFLICT:
        dc_fail(&out->err, DC_CONFLICT, cause, "%s", constraint);
        break;
    case DC_INVALID:
        if (constraint[0] != '\0') {
            dc_fail(&out->err, DC_INVALID, cause, "%s", constraint);
        } else {
            dc_fail(&out->err, DC_INVALID, cause, "a value does not fit (%s)", out->sqlstate);
        }
        break;
    case DC_TIMEOUT:
        dc_fail(&out->err, DC_TIMEOUT, cause, "the statement took too long");
        break;
    case DC_UNAVAILABLE:
        dc_fail(&out->err, DC_UNAVAILABLE, cause, "the database cannot do this now (%s)",
                out->sqlstate);
        break;
    default:
        dc_fail(&out->err, DC_INTERNAL, cause, "a statement failed (%s)", out->sqlstate);
        break;
    }
    if (out->status == DC_INTERNAL && !out->is_stale) {
        log_failure(pg, res, stmt, out);
    }
}
