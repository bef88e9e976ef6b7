/* See postgres_connect.h. */
#include "db/postgres_connect.h"
#include "base/time.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#define SLICE_MS 100 /* how often should_stop is looked at */

/* What it waits for, and until when. */
struct wait {
    uint64_t end_us;
    const atomic_bool *should_stop;
};

static struct wait wait_begin(uint64_t timeout_ms, const atomic_bool *should_stop)
{
    return (struct wait){dc_mono_now_us() + timeout_ms * 1000, should_stop};
}

static bool is_stopped(const struct wait *w)
{
    return w->should_stop != NULL && atomic_load(w->should_stop);
}

/* false: no use in waiting any longer. */
static bool wait_for(const struct wait *w, int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    while (fd >= 0 && !is_stopped(w) && dc_mono_now_us() < w->end_us) {
        int n = poll(&p, 1, SLICE_MS);
        if (n > 0) {
            return true;
        }
        if (n == -1 && errno != EINTR) {
            return false;
        }
    }
    return false;
}

static enum dc_status fail_connect(PGconn *conn, struct dc_error *err)
{
    const char *message = PQerrorMessage(conn);
    char sqlstate[6], line[140];

    dc_pg_sqlstate_of_message(message, sqlstate);
    dc_pg_first_line(message[0] == '\0' ? "the server did not answer in time" : message, line,
                     sizeof(line));
    bool is_config = dc_pg_is_config_problem(sqlstate) || PQconnectionNeedsPassword(conn) != 0;
    return dc_fail(err, is_config ? DC_CONFIG : DC_UNAVAILABLE, 0, "cannot connect: %s", line);
}

static void ignore_notice(void *data, const PGresult *res)
{
    /* "relation already exists, skipping" and its like. */
    (void)data;
    (void)res;
}

enum dc_status dc_pg_connect(const struct dc_pg_url *url, uint64_t timeout_ms,
                             const atomic_bool *should_stop, PGconn **out, struct dc_error *err)
{
    const struct wait w = wait_begin(timeout_ms, should_stop);
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    PGconn *conn = PQconnectStartParams((const char *const *)url->keywords,
                                        (const char *const *)url->values, 0);

    *out = NULL;
    if (conn == NULL) {
        return dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
    }
    if (PQstatus(conn) == CONNECTION_BAD) {
        want = PGRES_POLLING_FAILED;
    }
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE); /* so that messages carry their SQLSTATE */
    while (want == PGRES_POLLING_WRITING || want == PGRES_POLLING_READING) {
        if (!wait_for(&w, PQsocket(conn), want == PGRES_POLLING_WRITING ? POLLOUT : POLLIN)) {
            break;
        }
        want = PQconnectPoll(conn);
    }
    PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
    if (want != PGRES_POLLING_OK) {
        enum dc_status st =
            is_stopped(&w) ? dc_fail(err, DC_CANCELED, 0, "stopped") : fail_connect(conn, err);
        PQfinish(conn);
        return st;
    }
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    *out = conn;
    return DC_OK;
}

/* true: a result, or NULL behind the last, can be had without blocking. */
static bool await_result(PGconn *conn, const struct wait *w)
{
    while (PQisBusy(conn) == 1) {
        if (!wait_for(w, PQsocket(conn), POLLIN) || PQconsumeInput(conn) != 1) {
            return false;
        }
    }
    return true;
}

enum dc_status dc_pg_ask(PGconn *conn, const char *sql, uint64_t timeout_ms,
                         const atomic_bool *should_stop, char *out, size_t size,
                         struct dc_error *err)
{
    const struct wait w = wait_begin(timeout_ms, should_stop);
    char line[140];
    bool has_answer = false;
    bool is_whole = PQsendQuery(conn, sql) == 1;

    DC_ASSERT(size > 0);
    out[0] = '\0';
    for (;;) {
        is_whole = is_whole && await_result(conn, &w);
        PGresult *res = is_whole ? PQgetResult(conn) : NULL;
        if (res == NULL) {
            break;
        }
        is_whole = PQresultStatus(res) == PGRES_TUPLES_OK;
        has_answer = is_whole && PQntuples(res) > 0 && PQnfields(res) > 0 &&
                     (size_t)PQgetlength(res, 0, 0) < size;
        if (has_answer) {
            memcpy(out, PQgetvalue(res, 0, 0), (size_t)PQgetlength(res, 0, 0) + 1);
        }
        PQclear(res);
    }
    if (is_stopped(&w)) {
        return dc_fail(err, DC_CANCELED, 0, "stopped");
    }
    if (is_whole && has_answer) {
        return DC_OK;
    }
    const char *message = PQerrorMessage(conn);
    dc_pg_first_line(message[0] == '\0' ? "no answer in time" : message, line, sizeof(line));
    return dc_fail(err, DC_UNAVAILABLE, 0, "cannot ask: %s", line);
}
