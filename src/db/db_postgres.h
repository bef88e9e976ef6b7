/* Inside of the PostgreSQL driver.
 *
 * db_postgres.c        pool: which connection gets which batch; opening and closing
 * db_postgres_conn.c   one connection: connecting, reading, writing, losing it
 * db_postgres_run.c    runs: sending statements, taking results apart
 * db_postgres_group.c  group commit
 * db_postgres_error.c  SQLSTATE to status
 *
 * A *run* is everything between two Syncs of the pipeline. The server executes it as one implicit
 * transaction: it commits at the Sync, an error skips the rest and rolls back, and the next run on
 * the same connection starts clean.  So BEGIN, COMMIT and ROLLBACK are never sent, a run costs one
 * round trip whether it succeeds or fails, and runs can follow each other without waiting. */
#ifndef DC_DB_DB_POSTGRES_H
#define DC_DB_DB_POSTGRES_H

#include "base/map.h"
#include "db/db_priv.h"
#include "db/postgres_url.h"
#include <libpq-fe.h>

#define DC_PG_MAX_POOL           64
#define DC_PG_PIPELINE_DEPTH     16 /* runs in flight on one connection */
#define DC_PG_CONNECT_TIMEOUT_MS 5000

struct pg_db;
struct pg_conn;

/* A statement on one connection, for one combination of parameter types. */
struct pg_stmt_key {
    const struct dc_db_stmt *stmt;
    Oid types[DC_DB_MAX_PARAMS];
};
struct pg_stmt {
    struct pg_stmt_key key;
    enum { PG_STMT_NONE, PG_STMT_SENT, PG_STMT_READY } state;
    uint32_t number; /* its name on the server; a new one for each attempt to prepare */
};

/* One result to be expected. */
struct pg_step {
    struct pg_stmt *stmt;
    uint32_t number;
    uint16_t batch; /* index in the run */
    uint16_t call;  /* PG_CALL_… or the index of the statement */
};
#define PG_CALL_PREPARE 0xffff
#define PG_CALL_SETTING 0xfffe

struct pg_failure {
    char sqlstate[6]; /* "": libpq had none */
    bool has_batch;
    size_t batch;      /* index in the run */
    bool is_transient; /* serialization failure or deadlock: the same again may succeed */
    bool is_stale;     /* the server has forgotten the statement, or its plan no longer fits */
    enum dc_status status;
    struct dc_error err;
};

struct pg_run {
    struct dc_list link; /* in flight on conn */
    struct pg_conn *conn;
    bool is_group;
    struct dc_db_batch **batches;
    size_t n_batches;
    struct dc_db_batch *single; /* batches points here unless is_group */
    struct pg_step *steps;
    size_t n_steps, steps_cap, at;
    bool has_failed;
    struct pg_failure failure;
};

enum pg_state {
    PG_PARKED,     /* waits for another connection to find the server */
    PG_STARTING,   /* on the pool: looking up names */
    PG_CONNECTING, /* on the loop */
    PG_BACKOFF,
    PG_READY,
    PG_CLOSED,
};

/* A watched socket; outlives its connection until libuv has closed it. */
struct pg_poll {
    uv_poll_t uv;
    struct pg_conn *conn; /* NULL: closing */
    struct pg_db *pg;
    int fd, events;
};

struct pg_conn {
    struct pg_db *pg;
    enum pg_state state;
    PGconn *pq;
    struct pg_poll *poll;
    struct dc_timer timer; /* BACKOFF: the next attempt; CONNECTING: its end */
    bool is_timer_closed;
    struct dc_backoff backoff;
    struct dc_map stmts;
    uint32_t last_number;
    struct dc_list runs;
    size_t n_runs;
    size_t n_live;   /* batches in flight that somebody waits for */
    bool is_suspect; /* a deadline passed here: nothing new until it has answered */
    bool has_result; /* of the current step */
    bool needs_flush;
};

#define PG_MAX_SEGMENTS (DC_DB_MAX_GROUP + 1)
/* Part of a group: [from, to) of its batches. */
struct pg_segment {
    size_t from, to;
};
struct pg_group {
    struct dc_db_batch *batches[DC_DB_MAX_GROUP]; /* by lock key, then age */
    size_t n;
    struct pg_segment segments[PG_MAX_SEGMENTS]; /* still to be run, the next one last */
    size_t n_segments;
    unsigned retries;          /* of the next segment */
    struct pg_run *run;        /* in flight, or NULL */
    struct dc_backoff backoff; /* between retries */
    struct dc_timer timer;
    bool is_timer_running, is_timer_closed;
};

struct pg_db {
    struct dc_db base;
    struct dc_pg_url url;
    struct pg_conn *conns;
    size_t n_conns;
    size_t writer; /* the connection of groups; changes when it is not usable */
    struct pg_group group;
    size_t n_polls; /* open or closing */
    bool is_closing, has_told_closed;
};

/* db_postgres.c */
void pg_check_closed(struct pg_db *pg);
size_t pg_count_ready(const struct pg_db *pg);

/* db_postgres_conn.c */
void pg_conn_init(struct pg_db *pg, struct pg_conn *c);
/* Connects, or parks while another connection tries. */
void pg_conn_want(struct pg_conn *c);
/* Ends what is in flight (requeues what may be repeated) and connects anew unless closing. */
void pg_conn_drop(struct pg_conn *c, const char *reason);
/* For closing: any state to PG_CLOSED; pg_check_closed() follows when its handles are gone. */
void pg_conn_close(struct pg_conn *c);
/* Sends what libpq has buffered, once a turn. */
void pg_conn_flush(struct pg_conn *c);
bool pg_conn_is_usable(const struct pg_conn *c);

/* db_postgres_run.c */
/* Sends and appends to c->runs. Takes the batches (all running). false: the connection is broken
 * and must be dropped; the run is in c->runs all the same. */
bool pg_run_start(struct pg_conn *c, struct dc_db_batch **batches, size_t n, bool is_group);
/* Takes in what has arrived. false: drop the connection. */
bool pg_conn_read(struct pg_conn *c);
/* The connection is gone. */
void pg_run_lost(struct pg_run *run);
void pg_run_free(struct pg_run *run);
void pg_stmts_forget(struct pg_conn *c);

/* db_postgres_group.c */
void pg_group_dispatch(struct pg_db *pg);
void pg_group_init(struct pg_db *pg);
/* Puts back what has not been sent. */
void pg_group_give_up(struct pg_db *pg);
/* A run of the group has ended, well or not. */
void pg_group_run_ended(struct pg_db *pg, struct pg_run *run);
void pg_group_run_lost(struct pg_db *pg, struct pg_run *run);

/* db_postgres_error.c */
void pg_failure_of_result(struct pg_db *pg, const PGresult *res, const struct dc_db_stmt *stmt,
                          struct pg_failure *out);

#endif
