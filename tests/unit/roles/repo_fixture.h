/* A fresh database (SQLite, or a schema of its own in PostgreSQL) with the real migrations, and the
 * statements of repo.c run one after the other. */
#ifndef DC_TESTS_ROLES_REPO_FIXTURE_H
#define DC_TESTS_ROLES_REPO_FIXTURE_H

#include "../../contract/db_fixture.h"
#include "base/mem.h"
#include "base/random.h"
#include "db/migrate.h"
#include "roles/city/repo.h"

static inline int repo_setup(void **state)
{
    assert_int_equal(fixture_setup(state), 0);
    struct fixture *f = *state;
    struct dc_strbuf report = {0};
    struct dc_error err = {0};
    const struct dc_migrate_opts opts = {
        .url = f->opts.url, .path = f->opts.path, .dir = TEST_MIGRATIONS_DIR};
    if (dc_migrate(&opts, &report, &err) != DC_OK) {
        fail_msg("migrations: %s", dc_error_text(&err));
    }
    dc_strbuf_free(&report);
    fixture_open(f);
    return 0;
}

/* What came of a batch; cb of the batch, if given, sees the results. */
struct outcome {
    bool is_done;
    enum dc_status status;
    char code[32];
    void (*look)(void *data, const struct dc_db_result *const *results, size_t n);
    void *data;
};

static inline void on_outcome(void *data, enum dc_status st,
                              const struct dc_db_result *const *results, size_t n,
                              const struct dc_error *err)
{
    struct outcome *o = data;
    assert_false(o->is_done);
    o->is_done = true;
    o->status = st;
    if (st != DC_OK) {
        snprintf(o->code, sizeof(o->code), "%s", dc_error_code(err));
    } else if (o->look != NULL) {
        o->look(o->data, results, n);
    }
}

static inline void begin(struct dc_db_batch *b, struct outcome *o)
{
    struct dc_error err = {0};
    if (dc_db_submit(b, on_outcome, o, NULL, &err) != DC_OK) {
        fail_msg("submit: %s", dc_error_text(&err));
    }
}

static inline void await(struct fixture *f, struct outcome *o)
{
    fixture_until(f, &o->is_done);
}

/* Must succeed. */
static inline void
do_batch(struct fixture *f, struct dc_db_batch *b,
         void (*look)(void *data, const struct dc_db_result *const *results, size_t n), void *data)
{
    struct outcome o = {.look = look, .data = data};
    begin(b, &o);
    await(f, &o);
    assert_int_equal(o.status, DC_OK);
}

#endif
