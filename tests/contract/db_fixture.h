/* What the cases of the database's contract suite share: a loop, a fresh place (a SQLite file, or a
 * schema of its own in PostgreSQL), and a way to run a batch and look at what came of it. */
#ifndef DC_TESTS_CONTRACT_DB_FIXTURE_H
#define DC_TESTS_CONTRACT_DB_FIXTURE_H

#include "db/db.h"
#include "rt/loop.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct place {
    bool is_postgres;
    char dir[64];    /* SQLite: a directory of its own */
    char path[96];   /* SQLite: the file */
    char url[512];   /* PostgreSQL: TEST_DATABASE_URL with the schema */
    char schema[64]; /* PostgreSQL */
};
/* Which half of the suite runs; set once by main. */
void place_use_postgres(bool is_postgres);
bool place_is_postgres(void);
void place_create(struct place *p);
void place_remove(struct place *p);
/* Runs SQL beside the port, on a connection of its own. */
void place_exec(const struct place *p, const char *sql);
/* The first cell of a query, dc_free() it; NULL for no row. */
char *place_query(const struct place *p, const char *sql);
/* TEST_DATABASE_URL with some part replaced; the password or the database. */
void place_url_with(const char *password, const char *database, char *out, size_t size);
/* false: the server is not ours to stop. */
bool place_can_restart(void);
/* Runs $TEST_POSTGRES_RESTART with one argument. */
void place_server(const char *what);

struct fixture {
    struct place place;
    struct dc_loop *loop;
    struct dc_metrics *metrics;
    struct dc_health *health;
    struct dc_health_check *check;
    struct dc_db *db;
    struct dc_db_opts opts; /* change before fixture_open() */
    bool is_ready, is_closed;
    struct dc_error ready;
    int log_fd; /* the read end of what the port logs */
    struct dc_log *log;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Opens and waits until it is ready. */
void fixture_open(struct fixture *f);
void fixture_open_any(struct fixture *f);
void fixture_close(struct fixture *f);
/* Turns the loop until *flag; the process is killed by an alarm if that never happens. */
void fixture_until(struct fixture *f, const bool *flag);
void fixture_turns(struct fixture *f, unsigned n);
/* As place_server(), and sets the loop's clock, which stands still meanwhile. */
void fixture_server(struct fixture *f, const char *what);

#define GOT_ROWS 8
#define GOT_COLS 8
struct got {
    bool is_done;
    unsigned calls;
    enum dc_status status;
    struct dc_error err;
    char code[64];
    size_t n; /* results */
    size_t rows[DC_DB_MAX_STATEMENTS], affected[DC_DB_MAX_STATEMENTS];
    char *text[DC_DB_MAX_STATEMENTS][GOT_ROWS][GOT_COLS]; /* the first cells; NULL for null */
    int64_t num[DC_DB_MAX_STATEMENTS][GOT_ROWS][GOT_COLS];
    bool flag[DC_DB_MAX_STATEMENTS][GOT_ROWS][GOT_COLS];
    int64_t utc_ms[DC_DB_MAX_STATEMENTS][GOT_ROWS][GOT_COLS];
    /* order of callbacks */
    unsigned *clock, at;
};
void got_cb(void *data, enum dc_status st, const struct dc_db_result *const *results, size_t n,
            const struct dc_error *err);
void got_free(struct got *g);
/* Submits, which must succeed. */
struct dc_op *submit(struct dc_db_batch *b, struct got *g);
/* Submits and waits. */
void run(struct fixture *f, struct dc_db_batch *b, struct got *g);
/* A batch of one statement, run; its status must be want. */
void run_one(struct fixture *f, unsigned flags, const struct dc_db_stmt *stmt,
             const struct dc_db_value *values, size_t n, struct got *g, enum dc_status want);
int64_t count_rows(struct fixture *f);

/* CREATE TABLE item: id, room, slug unique, n with a check, several types. */
void create_items(struct fixture *f);
extern const struct dc_db_stmt insert_item, count_items, slow_read, slow_write;
struct dc_db_batch *item_batch(struct fixture *f, unsigned flags, const char *slug, int64_t n);

#endif
