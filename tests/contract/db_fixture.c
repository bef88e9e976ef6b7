/* See db_fixture.h. */
#include "db_fixture.h"
#include "base/mem.h"
#include "base/random.h"
#include "db/db_priv.h" /* only for the number of columns */
#include <errno.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALARM_S 60

/* --- places --- */

static bool use_postgres;

void place_use_postgres(bool is_postgres)
{
    use_postgres = is_postgres;
}

bool place_is_postgres(void)
{
    return use_postgres;
}

static const char *base_url(void)
{
    const char *url = getenv("TEST_DATABASE_URL");
    assert_non_null(url);
    return url;
}

static PGconn *connect_pg(const char *url)
{
    PGconn *conn = PQconnectdb(url);
    if (PQstatus(conn) != CONNECTION_OK) {
        print_error("%s\n", PQerrorMessage(conn));
    }
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    return conn;
}

static void exec_pg(const char *url, const char *sql)
{
    PGconn *conn = connect_pg(url);
    PGresult *res = PQexec(conn, sql);
    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK) {
        print_error("%s: %s\n", sql, PQerrorMessage(conn));
        fail();
    }
    PQclear(res);
    PQfinish(conn);
}

void place_create(struct place *p)
{
    *p = (struct place){.is_postgres = use_postgres};
    if (!use_postgres) {
        snprintf(p->dir, sizeof(p->dir), "/tmp/dc-test-db.XXXXXX");
        assert_non_null(mkdtemp(p->dir));
        snprintf(p->path, sizeof(p->path), "%s/city.sqlite", p->dir);
        return;
    }
    const struct dc_random os = {.fill = NULL};
    char sql[128];
    snprintf(p->schema, sizeof(p->schema), "t_%d_%llu", (int)getpid(),
             (unsigned long long)dc_random_below(&os, 1000000000));
    snprintf(sql, sizeof(sql), "CREATE SCHEMA %s", p->schema);
    exec_pg(base_url(), sql);
    snprintf(p->url, sizeof(p->url), "%s%coptions=-csearch_path%%3D%s", base_url(),
             strchr(base_url(), '?') == NULL ? '?' : '&', p->schema);
}

void place_remove(struct place *p)
{
    if (p->is_postgres) {
        char sql[160];
        snprintf(sql, sizeof(sql),
                 "SET client_min_messages = warning; DROP SCHEMA IF EXISTS %s CASCADE", p->schema);
        exec_pg(base_url(), sql);
        return;
    }
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < DC_ARRAY_LEN(ends); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s%s", p->path, ends[i]);
        assert_true(unlink(path) == 0 || errno == ENOENT);
    }
    assert_int_equal(rmdir(p->dir), 0);
}

static sqlite3 *open_lite(const struct place *p)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 10000), SQLITE_OK);
    return db;
}

void place_exec(const struct place *p, const char *sql)
{
    if (p->is_postgres) {
        exec_pg(p->url, sql);
        return;
    }
    sqlite3 *db = open_lite(p);
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        print_error("%s: %s\n", sql, sqlite3_errmsg(db));
    }
    assert_int_equal(rc, SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

char *place_query(const struct place *p, const char *sql)
{
    char *out = NULL;
    if (p->is_postgres) {
        PGconn *conn = connect_pg(p->url);
        PGresult *res = PQexec(conn, sql);
        assert_int_equal(PQresultStatus(res), PGRES_TUPLES_OK);
        if (PQntuples(res) > 0) {
            out = dc_strdup(PQgetvalue(res, 0, 0));
        }
        PQclear(res);
        PQfinish(conn);
        return out;
    }
    sqlite3 *db = open_lite(p);
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        out = dc_strdup((const char *)sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return out;
}

void place_url_with(const char *password, const char *database, char *out, size_t size)
{
    char *message = NULL, host[128] = "", port[16] = "", user[64] = "", pass[128] = "",
         name[64] = "";
    PQconninfoOption *options = PQconninfoParse(base_url(), &message);
    assert_non_null(options);
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        const char *val = o->val == NULL ? "" : o->val;
        if (strcmp(o->keyword, "host") == 0) {
            snprintf(host, sizeof(host), "%s", val);
        } else if (strcmp(o->keyword, "port") == 0) {
            snprintf(port, sizeof(port), "%s", val);
        } else if (strcmp(o->keyword, "user") == 0) {
            snprintf(user, sizeof(user), "%s", val);
        } else if (strcmp(o->keyword, "password") == 0) {
            snprintf(pass, sizeof(pass), "%s", val);
        } else if (strcmp(o->keyword, "dbname") == 0) {
            snprintf(name, sizeof(name), "%s", val);
        }
    }
    PQconninfoFree(options);
    snprintf(out, size, "postgresql://%s:%s@%s:%s/%s", user, password == NULL ? pass : password,
             host, port, database == NULL ? name : database);
}

bool place_can_restart(void)
{
    return getenv("TEST_POSTGRES_RESTART") != NULL;
}

void place_server(const char *what)
{
    pid_t pid = fork();
    int status = 0;
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        execl(getenv("TEST_POSTGRES_RESTART"), "restart", what, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- fixture --- */

int fixture_setup(void **state)
{
    struct fixture *f = dc_calloc(1, sizeof(*f));
    int fds[2];

    alarm(ALARM_S);
    place_create(&f->place);
    assert_int_equal(dc_loop_create(&f->loop, NULL), DC_OK);
    f->metrics = dc_metrics_create();
    f->health = dc_health_create();
    f->check = dc_health_add(f->health, "db", true);
    assert_int_equal(pipe(fds), 0);
    f->log_fd = fds[0];
    const struct dc_log_opts log_opts = {.level = DC_LOG_INFO, .is_json = false, .fd = fds[1]};
    f->log = dc_log_create(&log_opts);
    f->opts = (struct dc_db_opts){
        .url = f->place.is_postgres ? f->place.url : NULL,
        .path = f->place.is_postgres ? NULL : f->place.path,
        .pool_size = 3,
        .deadline_ms = 20000,
        .max_waiting = 1000,
        .log = f->log,
        .metrics = f->metrics,
        .health = f->check,
    };
    *state = f;
    return 0;
}

static void on_ready(void *data, const struct dc_error *err)
{
    struct fixture *f = data;
    assert_false(f->is_ready);
    f->is_ready = true;
    f->ready = *err;
}

static void on_closed(void *data)
{
    struct fixture *f = data;
    f->is_closed = true;
}

void fixture_until(struct fixture *f, const bool *flag)
{
    while (!*flag) {
        uv_run(dc_loop_uv(f->loop), UV_RUN_ONCE);
    }
}

void fixture_turns(struct fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uv_run(dc_loop_uv(f->loop), UV_RUN_NOWAIT);
    }
}

void fixture_server(struct fixture *f, const char *what)
{
    place_server(what);
    dc_loop_update_time(f->loop);
}

void fixture_open_any(struct fixture *f)
{
    struct dc_error err;
    f->is_ready = false;
    f->is_closed = false;
    assert_int_equal(dc_db_open(f->loop, &f->opts, &f->db, &err), DC_OK);
    dc_db_on_ready(f->db, on_ready, f);
}

void fixture_open(struct fixture *f)
{
    fixture_open_any(f);
    fixture_until(f, &f->is_ready);
    assert_string_equal(dc_error_text(&f->ready), "ok");
    assert_int_equal(f->ready.status, DC_OK);
}

void fixture_close(struct fixture *f)
{
    if (f->db != NULL) {
        dc_db_close(f->db, on_closed, f);
        fixture_until(f, &f->is_closed);
        f->db = NULL;
    }
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    fixture_close(f);
    assert_int_equal(dc_loop_destroy(f->loop), DC_OK);
    dc_metrics_destroy(f->metrics);
    dc_health_destroy(f->health);
    dc_log_destroy(f->log);
    close(f->log_fd);
    place_remove(&f->place);
    dc_free(f);
    alarm(0);
    return 0;
}

/* --- batches --- */

void got_cb(void *data, enum dc_status st, const struct dc_db_result *const *results, size_t n,
            const struct dc_error *err)
{
    struct got *g = data;

    g->is_done = true;
    g->calls++;
    g->status = st;
    assert_non_null(err);
    assert_int_equal(err->status, st);
    g->err = *err;
    snprintf(g->code, sizeof(g->code), "%s", dc_error_code(err));
    g->n = n;
    if (g->clock != NULL) {
        g->at = ++*g->clock;
    }
    for (size_t i = 0; i < n; i++) {
        const struct dc_db_result *r = results[i];
        assert_non_null(r);
        g->rows[i] = dc_db_rows(r);
        g->affected[i] = dc_db_affected(r);
    }
}

/* As got_cb, and takes cells: cols says how many there are. */
static void take_cells(struct got *g, const struct dc_db_result *r, size_t i, size_t cols)
{
    for (size_t row = 0; row < dc_db_rows(r) && row < GOT_ROWS; row++) {
        for (size_t col = 0; col < cols; col++) {
            struct dc_slice text = dc_db_get_text(r, row, col);
            assert_int_equal(text.ptr == NULL, dc_db_is_null(r, row, col));
            g->text[i][row][col] = text.ptr == NULL ? NULL : dc_slice_dup_z(text);
            g->num[i][row][col] = dc_db_get_int(r, row, col);
            g->flag[i][row][col] = dc_db_get_bool(r, row, col);
            g->utc_ms[i][row][col] = dc_db_get_utc(r, row, col).ms;
        }
    }
}

static void cells_cb(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *err)
{
    struct got *g = data;

    got_cb(g, st, results, n, err);
    for (size_t i = 0; i < n; i++) {
        take_cells(g, results[i], i, g->rows[i] > 0 ? results[i]->cols : 0);
    }
}

void got_free(struct got *g)
{
    for (size_t i = 0; i < DC_DB_MAX_STATEMENTS; i++) {
        for (size_t row = 0; row < GOT_ROWS; row++) {
            for (size_t col = 0; col < GOT_COLS; col++) {
                dc_free(g->text[i][row][col]);
            }
        }
    }
    *g = (struct got){0};
}

struct dc_op *submit(struct dc_db_batch *b, struct got *g)
{
    struct dc_op *op = NULL;
    struct dc_error err = {0};
    enum dc_status st = dc_db_submit(b, cells_cb, g, &op, &err);

    assert_int_equal(st, DC_OK);
    assert_non_null(op);
    assert_false(g->is_done); /* never before the call has returned */
    return op;
}

void run(struct fixture *f, struct dc_db_batch *b, struct got *g)
{
    submit(b, g);
    fixture_until(f, &g->is_done);
}

void run_one(struct fixture *f, unsigned flags, const struct dc_db_stmt *stmt,
             const struct dc_db_value *values, size_t n, struct got *g, enum dc_status want)
{
    struct dc_db_batch *b = dc_db_batch_create(f->db, flags);

    dc_db_batch_add(b, stmt, values, n);
    run(f, b, g);
    if (g->status != want) {
        print_error("%s: %s %s\n", stmt->sql, g->code, dc_error_text(&g->err));
    }
    assert_int_equal(g->status, want);
    assert_int_equal(g->n, want == DC_OK ? 1 : 0);
}

const struct dc_db_stmt count_items = {"SELECT count(*) FROM item", NULL};
const struct dc_db_stmt insert_item = {"INSERT INTO item (slug, n) VALUES ($1, $2)", NULL};
/* About a third of a second in PostgreSQL; in SQLite a few times that, as it must be work. */
const struct dc_db_stmt slow_read = {
    "SELECT pg_sleep($1::double precision / 1000)",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < $1 * 2000)"
    " SELECT count(*) FROM c"};
const struct dc_db_stmt slow_write = {
    "INSERT INTO item (slug, n) SELECT 'slow', 1 FROM pg_sleep($1::double precision / 1000)",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < $1 * 2000)"
    " INSERT INTO item (slug, n) SELECT 'slow', count(*) FROM c"};

void create_items(struct fixture *f)
{
    static const struct dc_db_stmt create = {
        "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " slug text CONSTRAINT item_slug_key UNIQUE, n bigint CONSTRAINT item_n_check CHECK (n >= "
        "0),"
        " room text, is_open boolean, at timestamptz, doc jsonb)",
        "CREATE TABLE item (id INTEGER PRIMARY KEY,"
        " slug TEXT UNIQUE, n INTEGER CONSTRAINT item_n_check CHECK (n >= 0),"
        " room TEXT, is_open INTEGER, at INTEGER, doc TEXT)"};
    struct got g = {0};

    run_one(f, DC_DB_WRITE, &create, NULL, 0, &g, DC_OK);
    got_free(&g);
}

int64_t count_rows(struct fixture *f)
{
    struct got g = {0};

    run_one(f, DC_DB_READ, &count_items, NULL, 0, &g, DC_OK);
    int64_t n = g.num[0][0][0];
    got_free(&g);
    return n;
}

struct dc_db_batch *item_batch(struct fixture *f, unsigned flags, const char *slug, int64_t n)
{
    struct dc_db_batch *b = dc_db_batch_create(f->db, flags);
    const struct dc_db_value values[] = {dc_db_text(dc_slice_z(slug)), dc_db_int(n)};

    dc_db_batch_add(b, &insert_item, values, DC_ARRAY_LEN(values));
    return b;
}
