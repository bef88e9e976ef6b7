/* Connecting to PostgreSQL and asking it something on a thread that may block: migrations, and the
 * lock of a process (postgres_lock.c).  The pool (db_postgres_conn.c) does it on the loop. */
#ifndef DC_DB_POSTGRES_CONNECT_H
#define DC_DB_POSTGRES_CONNECT_H

#include "db/postgres_url.h"
#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdint.h>

/* The caller's *out, PQfinish() it.  should_stop (NULL: nobody) is looked at several times a
 * second. DC_CONFIG: trying again cannot help. DC_UNAVAILABLE: it may. DC_CANCELED: should_stop. */
DC_MUST_USE enum dc_status dc_pg_connect(const struct dc_pg_url *url, uint64_t timeout_ms,
                                         const atomic_bool *should_stop, PGconn **out,
                                         struct dc_error *err);
/* The first cell of the last of the statements in sql, in out; DC_UNAVAILABLE when there is none or
 * it does not fit. */
DC_MUST_USE enum dc_status dc_pg_ask(PGconn *conn, const char *sql, uint64_t timeout_ms,
                                     const atomic_bool *should_stop, char *out, size_t size,
                                     struct dc_error *err);

#endif
