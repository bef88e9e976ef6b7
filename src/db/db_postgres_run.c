/* Runs: what is sent between two Syncs, and taking the answers apart.
 *
 * Parameters go as text. Their types are given to the server where a value has one (bigint,
 * boolean, timestamptz, jsonb), so that `$1 + 1` or `CASE … THEN $1` never depend on guesses; text
 * and null are left to inference, as any type has a text form.  A statement is prepared once for
 * each connection and combination of types, in the run that needs it first.
 *
 * Statements of one read batch see one snapshot, as they do in SQLite. */
#include "base/mem.h"
#include "db/db_postgres.h"

#define OID_BOOL        16
#define OID_INT8        20
#define OID_JSONB       3802
#define OID_TIMESTAMPTZ 1184

#define NUMBER_SIZE 32
/* How often a run meets a statement that the server has forgotten before it is an error. */
#define MAX_STALE 3

/* Both count for the current (implicit) transaction alone. */
static const struct dc_db_stmt snapshot_stmt = {"SET transaction_isolation = 'repeatable read'",
                                                NULL};
static const struct dc_db_stmt timeout_stmt = {
    "SELECT set_config('statement_timeout', CAST($1 AS text), true)", NULL};

/* --- results --- */

struct pg_result {
    struct dc_db_result base;
    PGresult *res;
};

static struct dc_slice result_cell(const struct dc_db_result *r, size_t row, size_t col)
{
    const struct pg_result *pr =
        DC_CONTAINER_OF((struct dc_db_result *)(uintptr_t)r, struct pg_result, base);

    if (PQgetisnull(pr->res, (int)row, (int)col) != 0) {
        return DC_SLICE_NULL;
    }
    return dc_slice_make(PQgetvalue(pr->res, (int)row, (int)col),
                         (size_t)PQgetlength(pr->res, (int)row, (int)col));
}

static void result_free(struct dc_db_result *r)
{
    struct pg_result *pr = DC_CONTAINER_OF(r, struct pg_result, base);

    PQclear(pr->res);
    dc_free(pr);
}

static struct dc_db_result *result_wrap(PGresult *res)
{
    struct pg_result *pr = dc_calloc(1, sizeof(*pr));
    uint64_t affected = 0;

    pr->base.rows = (size_t)PQntuples(res);
    pr->base.cols = (size_t)PQnfields(res);
    if (dc_slice_to_u64(dc_slice_z(PQcmdTuples(res)), &affected)) {
        pr->base.affected = (size_t)affected;
    }
    pr->base.cell = result_cell;
    pr->base.free = result_free;
    pr->res = res;
    return &pr->base;
}

/* --- statements --- */

static Oid type_of(const struct dc_db_value *v)
{
    switch (v->type) {
    case DC_DB_NULL:
    case DC_DB_TEXT:
        return 0;
    case DC_DB_INT:
        return OID_INT8;
    case DC_DB_BOOL:
        return OID_BOOL;
    case DC_DB_UTC:
        return OID_TIMESTAMPTZ;
    case DC_DB_JSON:
        return OID_JSONB;
    }
    return 0;
}

static struct pg_stmt *find_stmt(struct pg_conn *c, const struct dc_db_stmt *stmt,
                                 const struct dc_db_value *values, size_t n)
{
    struct pg_stmt_key key;
    size_t key_bytes = offsetof(struct pg_stmt_key, types) + n * sizeof(key.types[0]);

    memset(&key, 0, sizeof(key));
    key.stmt = stmt;
    for (size_t i = 0; i < n; i++) {
        key.types[i] = type_of(&values[i]);
    }
    struct pg_stmt *s = dc_map_get(&c->stmts, dc_slice_make(&key, key_bytes));
    if (s == NULL) {
        s = dc_calloc(1, sizeof(*s));
        s->key = key;
        dc_map_put(&c->stmts, dc_slice_make(&s->key, key_bytes), s);
    }
    return s;
}

void pg_stmts_forget(struct pg_conn *c)
{
    struct dc_map_iter it = {0};
    void *value;

    while (dc_map_next(&c->stmts, &it, NULL, &value)) {
        dc_map_remove_at(&c->stmts, &it);
        dc_free(value);
    }
    dc_map_free(&c->stmts);
}

static void name_of(uint32_t number, char out[16])
{
    int len = snprintf(out, 16, "s%u", (unsigned)number);
    DC_ASSERT(len > 0 && len < 16);
}

static const char *value_text(const struct dc_db_value *v, char scratch[NUMBER_SIZE])
{
    int len = 0;

    switch (v->type) {
    case DC_DB_NULL:
        return NULL;
    case DC_DB_TEXT:
    case DC_DB_JSON:
        return v->text.ptr; /* ends in NUL, see dc_db_batch_add */
    case DC_DB_BOOL:
        return v->num != 0 ? "t" : "f";
    case DC_DB_INT:
        len = snprintf(scratch, NUMBER_SIZE, "%lld", (long long)v->num);
        DC_ASSERT(len > 0 && len < NUMBER_SIZE);
        return scratch;
    case DC_DB_UTC:
        dc_utc_format((struct dc_utc){v->num}, scratch);
        return scratch;
    }
    return NULL;
}

/* --- sending --- */

static void add_step(struct pg_run *run, struct pg_stmt *stmt, size_t batch, uint16_t call)
{
    if (run->n_steps == run->steps_cap) {
        size_t cap = run->steps_cap == 0 ? 16 : run->steps_cap * 2;
        run->steps = dc_realloc(run->steps, cap * sizeof(*run->steps));
        run->steps_cap = cap;
    }
    run->steps[run->n_steps++] = (struct pg_step){
        .stmt = stmt, .number = stmt->number, .batch = (uint16_t)batch, .call = call};
}

static bool send_call(struct pg_run *run, size_t batch, uint16_t call,
                      const struct dc_db_call *what)
{
    struct pg_conn *c = run->conn;
    struct pg_stmt *s = find_stmt(c, what->stmt, what->values, what->n);
    const char *texts[DC_DB_MAX_PARAMS];
    char scratch[DC_DB_MAX_PARAMS][NUMBER_SIZE];
    char name[16];

    if (s->state == PG_STMT_NONE) {
        s->number = ++c->last_number;
        name_of(s->number, name);
        if (PQsendPrepare(c->pq, name, what->stmt->sql, (int)what->n, s->key.types) != 1) {
            return false;
        }
        s->state = PG_STMT_SENT;
        add_step(run, s, batch, PG_CALL_PREPARE);
    } else {
        name_of(s->number, name);
    }
    for (size_t i = 0; i < what->n; i++) {
        texts[i] = value_text(&what->values[i], scratch[i]);
    }
    if (PQsendQueryPrepared(c->pq, name, (int)what->n, texts, NULL, NULL, 0) != 1) {
        return false;
    }
    add_step(run, s, batch, call);
    return true;
}

static bool send_batch(struct pg_run *run, size_t index)
{
    const struct dc_db_batch *b = run->batches[index];

    if (!dc_db_is_write(b) && b->n_calls > 1) {
        const struct dc_db_call snapshot = {.stmt = &snapshot_stmt};
        if (!send_call(run, index, PG_CALL_SETTING, &snapshot)) {
            return false;
        }
    }
    if (b->deadline_ms > b->db->deadline_ms) {
        /* The session's statement_timeout is the usual deadline. */
        char text[NUMBER_SIZE];
        int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)b->deadline_ms);
        DC_ASSERT(len > 0);
        struct dc_db_value value = dc_db_text(dc_slice_make(text, (size_t)len));
        const struct dc_db_call timeout = {.stmt = &timeout_stmt, .values = &value, .n = 1};
        if (!send_call(run, index, PG_CALL_SETTING, &timeout)) {
            return false;
        }
    }
    for (size_t i = 0; i < b->n_calls; i++) {
        if (!send_call(run, index, (uint16_t)i, &b->calls[i])) {
            return false;
        }
    }
    return true;
}

bool pg_run_start(struct pg_conn *c, struct dc_db_batch **batches, size_t n, bool is_group)
{
    struct pg_run *run = dc_calloc(1, sizeof(*run));
    bool is_sent = true;

    DC_ASSERT(c->state == PG_READY && n > 0 && n <= DC_DB_MAX_GROUP);
    run->conn = c;
    run->is_group = is_group;
    run->n_batches = n;
    if (is_group) {
        run->batches = batches; /* live in the group */
        c->pg->group.run = run;
    } else {
        DC_ASSERT(n == 1);
        run->single = batches[0];
        run->batches = &run->single;
    }
    for (size_t i = 0; i < n; i++) {
        run->batches[i]->carrier = run;
        c->n_live++;
    }
    dc_list_push_back(&c->runs, &run->link);
    c->n_runs++;
    for (size_t i = 0; i < n && is_sent; i++) {
        is_sent = send_batch(run, i);
    }
    c->needs_flush = true;
    return is_sent && PQpipelineSync(c->pq) == 1;
}

/* --- receiving --- */

void pg_run_free(struct pg_run *run)
{
    dc_free(run->steps);
    dc_free(run);
}

static void note_failure(struct pg_run *run, const PGresult *res)
{
    struct pg_failure *f = &run->failure;
    const struct dc_db_stmt *stmt = NULL;

    if (run->has_failed) {
        return; /* the first one is the cause */
    }
    run->has_failed = true;
    if (run->at < run->n_steps) {
        f->has_batch = true;
        f->batch = run->steps[run->at].batch;
        stmt = run->steps[run->at].stmt->key.stmt;
    } /* else the commit failed: a deferred constraint, or a serialization failure */
    pg_failure_of_result(run->conn->pg, res, stmt, f);
    if (f->is_stale && run->at < run->n_steps) {
        struct pg_step *step = &run->steps[run->at];
        if (step->stmt->number == step->number) {
            step->stmt->state = PG_STMT_NONE;
        }
    }
}

/* Takes res. */
static void take_result(struct pg_run *run, PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    bool is_good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;

    if (!is_good && status != PGRES_PIPELINE_ABORTED) {
        note_failure(run, res);
    }
    if (run->at < run->n_steps) {
        struct pg_step *step = &run->steps[run->at];
        if (step->call == PG_CALL_PREPARE) {
            if (step->stmt->number == step->number) {
                step->stmt->state = is_good ? PG_STMT_READY : PG_STMT_NONE;
            }
        } else if (is_good && step->call != PG_CALL_SETTING) {
            struct dc_db_batch *b = run->batches[step->batch];
            DC_ASSERT(b->results[step->call] == NULL);
            b->results[step->call] = result_wrap(res);
            return;
        }
    }
    PQclear(res);
}

static void drop_results(struct pg_run *run)
{
    for (size_t i = 0; i < run->n_batches; i++) {
        dc_db_drop_results(run->batches[i]);
    }
}

static void end_single(struct pg_run *run)
{
    struct dc_db_batch *b = run->single;
    const struct pg_failure *f = &run->failure;

    if (!run->has_failed) {
        dc_db_finish(b, DC_OK, NULL);
    } else if (f->is_stale && b->requeues < MAX_STALE) {
        b->requeues++;
        dc_db_requeue(b);
    } else if (f->is_transient && b->retries < DC_DB_MAX_RETRIES) {
        struct dc_backoff backoff = {.base_ms = 10, .max_ms = 200, .attempt = b->retries};
        b->retries++;
        dc_db_retry_after(b, dc_backoff_next_ms(&backoff));
    } else {
        dc_db_finish(b, f->status, &f->err);
    }
}

/* The Sync has been answered. */
static void end_run(struct pg_conn *c, struct pg_run *run)
{
    struct pg_db *pg = c->pg;

    DC_ASSERT(run->at == run->n_steps);
    dc_list_remove(&run->link);
    c->n_runs--;
    for (size_t i = 0; i < run->n_batches; i++) {
        run->batches[i]->carrier = NULL;
        if (!run->batches[i]->is_abandoned) {
            c->n_live--;
        }
    }
    if (run->has_failed) {
        drop_results(run);
    }
    dc_backoff_reset(&c->backoff);
    if (c->n_runs == 0) {
        c->is_suspect = false;
    }
    if (run->is_group) {
        pg_group_run_ended(pg, run);
    } else {
        end_single(run);
    }
    pg_run_free(run);
    dc_db_wake(&pg->base); /* there is room again */
}

bool pg_conn_read(struct pg_conn *c)
{
    while (PQisBusy(c->pq) == 0) {
        PGresult *res = PQgetResult(c->pq);
        struct pg_run *run =
            dc_list_is_empty(&c->runs) ? NULL : DC_LIST_ENTRY(c->runs.next, struct pg_run, link);
        if (res == NULL) {
            if (run == NULL || !c->has_result) {
                return true; /* nothing more for now */
            }
            c->has_result = false;
            if (run->at < run->n_steps) {
                run->at++;
            }
            continue;
        }
        if (run == NULL) {
            PQclear(res);
            return false; /* an answer that nobody asked for */
        }
        if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
            PQclear(res);
            c->has_result = false;
            if (run->at != run->n_steps) {
                return false;
            }
            end_run(c, run);
            continue;
        }
        if (PQresultStatus(res) == PGRES_FATAL_ERROR &&
            PQresultErrorField(res, PG_DIAG_SQLSTATE) == NULL) {
            /* libpq's own: the connection broke. That says nothing about the outcome. */
            PQclear(res);
            return false;
        }
        c->has_result = true;
        take_result(run, res);
    }
    return true;
}

/* --- losing --- */

static void lose_single(struct pg_run *run)
{
    struct dc_db_batch *b = run->single;
    struct dc_error err;

    /* When a server dies its connections do so one by one: a read may meet each of them. */
    if (!dc_db_is_write(b) && b->requeues <= run->conn->pg->n_conns && !b->db->is_down) {
        b->requeues++;
        dc_db_requeue(b);
    } else if (run->has_failed && run->failure.has_batch) {
        /* The server said so before it went: nothing has happened. */
        dc_db_finish(b, run->failure.status, &run->failure.err);
    } else if (!dc_db_is_write(b)) {
        dc_db_finish(b, dc_fail(&err, DC_UNAVAILABLE, 0, "the connection was lost"), &err);
    } else {
        dc_fail_code(&err, DC_UNAVAILABLE, "outcome_unknown",
                     "the connection was lost while the write was being committed");
        dc_db_finish(b, DC_UNAVAILABLE, &err);
    }
}

void pg_run_lost(struct pg_run *run)
{
    drop_results(run);
    for (size_t i = 0; i < run->n_batches; i++) {
        run->batches[i]->carrier = NULL;
    }
    if (run->is_group) {
        pg_group_run_lost(run->conn->pg, run);
    } else {
        lose_single(run);
    }
    pg_run_free(run);
}
