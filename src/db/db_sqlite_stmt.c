/* One statement on SQLite: a cache by address, named parameters $1…$n, rows copied as text into the
 * batch's arena. Runs on the pool. */
#include "base/mem.h"
#include "db/db_sqlite.h"

#define FIRST_ROWS 16

struct lite_result {
    struct dc_db_result base;
    struct dc_slice **rows; /* each with base.cols cells */
    size_t cap;
};

static struct dc_slice result_cell(const struct dc_db_result *r, size_t row, size_t col)
{
    const struct lite_result *lr =
        DC_CONTAINER_OF((struct dc_db_result *)(uintptr_t)r, struct lite_result, base);

    return lr->rows[row][col];
}

/* --- statements --- */

/* Every parameter must be one of $1…$n, and all of them must occur: SQLite would silently bind
 * nothing to "$1::text" or "?", where PostgreSQL sees an error. */
static bool map_params(struct lite_stmt *s)
{
    int count = sqlite3_bind_parameter_count(s->lite);

    if (count < 0 || (size_t)count > DC_DB_MAX_PARAMS) {
        return false;
    }
    s->n_params = (size_t)count;
    for (int i = 1; i <= count; i++) {
        const char *name = sqlite3_bind_parameter_name(s->lite, i);
        uint64_t number = 0;
        if (name == NULL || name[0] != '$' || !dc_slice_to_u64(dc_slice_z(name + 1), &number) ||
            number < 1 || number > (uint64_t)count) {
            return false;
        }
        s->index[number - 1] = i;
    }
    return true;
}

/* Nothing but blanks and semicolons: PostgreSQL takes one statement at a time, too. */
static bool is_end(const char *tail)
{
    return tail[strspn(tail, " \t\r\n;")] == '\0';
}

static int find_stmt(struct lite_conn *c, const struct dc_db_stmt *stmt, struct lite_stmt **out)
{
    struct lite_stmt *s = dc_map_get(&c->stmts, dc_slice_make(&stmt, sizeof(const void *)));
    const char *tail = NULL;
    int rc;

    if (s == NULL) {
        s = dc_calloc(1, sizeof(*s));
        s->stmt = stmt;
        rc = sqlite3_prepare_v3(c->db, stmt->sqlite != NULL ? stmt->sqlite : stmt->sql, -1,
                                SQLITE_PREPARE_PERSISTENT, &s->lite, &tail);
        if (rc == SQLITE_OK && (s->lite == NULL || !is_end(tail) || !map_params(s))) {
            rc = LITE_USAGE; /* also: several statements, or none */
        }
        if (rc != SQLITE_OK) {
            sqlite3_finalize(s->lite);
            dc_free(s);
            return rc;
        }
        dc_map_put(&c->stmts, dc_slice_make(&s->stmt, sizeof(const void *)), s);
    }
    *out = s;
    return SQLITE_OK;
}

void lite_forget_stmts(struct lite_conn *c)
{
    struct dc_map_iter it = {0};
    void *value;

    while (dc_map_next(&c->stmts, &it, NULL, &value)) {
        struct lite_stmt *s = value;
        dc_map_remove_at(&c->stmts, &it);
        sqlite3_finalize(s->lite);
        dc_free(s);
    }
    dc_map_free(&c->stmts);
}

static int bind_value(sqlite3_stmt *stmt, int index, const struct dc_db_value *v)
{
    switch (v->type) {
    case DC_DB_NULL:
        return sqlite3_bind_null(stmt, index);
    case DC_DB_TEXT:
    case DC_DB_JSON:
        return sqlite3_bind_text64(stmt, index, v->text.ptr, v->text.len, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case DC_DB_INT:
    case DC_DB_UTC:
        return sqlite3_bind_int64(stmt, index, v->num);
    case DC_DB_BOOL:
        return sqlite3_bind_int(stmt, index, v->num != 0 ? 1 : 0);
    }
    return SQLITE_MISUSE;
}

/* --- rows --- */

static bool copy_cell(struct dc_db_batch *b, sqlite3_stmt *stmt, int col, struct dc_slice *out)
{
    if (sqlite3_column_type(stmt, col) == SQLITE_NULL) {
        *out = DC_SLICE_NULL;
        return true;
    }
    /* The text first: it may convert, and so change the length. */
    const unsigned char *text = sqlite3_column_text(stmt, col);
    int len = sqlite3_column_bytes(stmt, col);
    if (text == NULL || len < 0) {
        return false;
    }
    *out = dc_arena_dup(&b->arena, dc_slice_make(text, (size_t)len));
    return out->ptr != NULL;
}

static bool add_row(struct dc_db_batch *b, struct lite_result *r, sqlite3_stmt *stmt)
{
    if (r->base.rows == r->cap) {
        size_t cap = r->cap == 0 ? FIRST_ROWS : r->cap * 2;
        /* The old array stays in the arena: together they are at most twice the last one. */
        struct dc_slice **rows = dc_arena_alloc(&b->arena, cap * sizeof(struct dc_slice *));
        if (rows == NULL) {
            return false;
        }
        if (r->base.rows > 0) {
            memcpy(rows, r->rows, r->base.rows * sizeof(struct dc_slice *));
        }
        r->rows = rows;
        r->cap = cap;
    }
    struct dc_slice *cells = dc_arena_alloc(&b->arena, r->base.cols * sizeof(*cells));
    if (cells == NULL) {
        return false;
    }
    for (size_t col = 0; col < r->base.cols; col++) {
        if (!copy_cell(b, stmt, (int)col, &cells[col])) {
            return false;
        }
    }
    r->rows[r->base.rows++] = cells;
    return true;
}

static int step_all(struct lite_conn *c, struct dc_db_batch *b, size_t i, sqlite3_stmt *stmt)
{
    struct lite_result *r = dc_arena_calloc(&b->arena, 1, sizeof(*r));
    sqlite3_int64 before = sqlite3_total_changes64(c->db);
    int rc;

    if (r == NULL) {
        return LITE_TOO_LARGE;
    }
    r->base.cols = (size_t)sqlite3_column_count(stmt);
    r->base.utc_is_ms = true;
    r->base.cell = result_cell;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (!add_row(b, r, stmt)) {
            return LITE_TOO_LARGE;
        }
    }
    if (rc != SQLITE_DONE) {
        return rc;
    }
    if (sqlite3_stmt_readonly(stmt) != 0) {
        r->base.affected = r->base.rows;
    } else if (sqlite3_total_changes64(c->db) != before) {
        r->base.affected = (size_t)sqlite3_changes64(c->db);
    } /* else nothing changed, and sqlite3_changes64() speaks of an earlier statement */
    b->results[i] = &r->base;
    return SQLITE_OK;
}

int lite_run_call(struct lite_conn *c, struct dc_db_batch *b, size_t i)
{
    const struct dc_db_call *call = &b->calls[i];
    struct lite_stmt *s = NULL;
    int rc = find_stmt(c, call->stmt, &s);

    if (rc != SQLITE_OK || s == NULL) {
        return rc;
    }
    if (s->n_params != call->n) {
        return LITE_USAGE;
    }
    for (size_t p = 0; p < call->n && rc == SQLITE_OK; p++) {
        rc = bind_value(s->lite, s->index[p], &call->values[p]);
    }
    if (rc == SQLITE_OK) {
        rc = step_all(c, b, i, s->lite);
    }
    /* Reports the failure of the step once more. */
    int reset_rc = sqlite3_reset(s->lite);
    if (rc == SQLITE_OK) {
        rc = reset_rc;
    }
    int clear_rc = sqlite3_clear_bindings(s->lite); /* the values are not ours for longer */
    return rc == SQLITE_OK ? clear_rc : rc;
}
