/* The front of the database port with a driver that does what the test says. */
#include "base/mem.h"
#include "db/db_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fake {
    struct dc_db base;
    unsigned n_dispatched;
};

/* The first attempt meets a connection that breaks while it is written to. */
static void fake_dispatch(struct dc_db *db)
{
    struct fake *f = DC_CONTAINER_OF(db, struct fake, base);
    struct dc_db_batch *b = dc_db_take(db, DC_DB_Q_SHARED);
    if (b == NULL) {
        return;
    }
    f->n_dispatched++;
    if (f->n_dispatched == 1) {
        dc_db_requeue(b);
    } else {
        dc_db_finish(b, DC_OK, NULL);
    }
}

static void fake_abandoned(struct dc_db *db, struct dc_db_batch *b)
{
    assert_ptr_equal(db, b->db);
}

static void fake_close(struct dc_db *db)
{
    dc_db_driver_closed(db);
}

static void fake_destroy(struct dc_db *db)
{
    dc_free(DC_CONTAINER_OF(db, struct fake, base));
}

static const struct dc_db_driver fake_driver = {
    .dispatch = fake_dispatch,
    .abandoned = fake_abandoned,
    .close = fake_close,
    .destroy = fake_destroy,
};

struct outcome {
    unsigned n_calls;
    enum dc_status status;
};

static void on_ended(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *err)
{
    (void)results;
    (void)n;
    (void)err;
    struct outcome *o = data;
    o->n_calls++;
    o->status = st;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void what_is_put_back_while_dispatching_is_dispatched_again_without_other_news(void **state)
{
    (void)state;
    static const struct dc_db_stmt stmt = {"SELECT 1", NULL};
    struct dc_metrics *metrics = dc_metrics_create();
    const struct dc_db_opts opts = {.deadline_ms = 3600000, .metrics = metrics};
    struct dc_loop *loop = NULL;
    struct outcome o = {0};
    bool is_closed = false;
    assert_int_equal(dc_loop_create(&loop, NULL), DC_OK);
    struct fake *f = dc_calloc(1, sizeof(*f));
    dc_db_init(&f->base, &fake_driver, loop, &opts);
    struct dc_db_batch *b = dc_db_batch_create(&f->base, DC_DB_READ);
    dc_db_batch_add(b, &stmt, NULL, 0);
    assert_int_equal(dc_db_submit(b, on_ended, &o, NULL, NULL), DC_OK);
    for (int turn = 0; turn < 10 && o.n_calls == 0; turn++) {
        (void)dc_loop_step(loop);
    }
    assert_int_equal(o.n_calls, 1);
    assert_int_equal(o.status, DC_OK);
    assert_int_equal(f->n_dispatched, 2);
    dc_db_close(&f->base, on_closed, &is_closed);
    dc_loop_run(loop);
    assert_true(is_closed);
    assert_int_equal(o.n_calls, 1);
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
    dc_metrics_destroy(metrics);
}

static void values_past_the_limit_of_a_batch_are_refused_when_it_is_submitted(void **state)
{
    (void)state;
    static const struct dc_db_stmt stmt = {"SELECT $1", NULL};
    const size_t half = DC_DB_MAX_BATCH_BYTES / 2;
    const struct {
        size_t first, second;
        enum dc_status want;
    } rows[] = {{half, half - 65536, DC_OK},
                {half, half, DC_INVALID}, /* with what a batch needs for itself */
                {DC_DB_MAX_BATCH_BYTES + 1, 1, DC_INVALID}};
    struct dc_metrics *metrics = dc_metrics_create();
    const struct dc_db_opts opts = {.deadline_ms = 3600000, .metrics = metrics};
    struct dc_loop *loop = NULL;
    bool is_closed = false;
    char *text = dc_alloc(DC_DB_MAX_BATCH_BYTES + 1);
    memset(text, 'x', DC_DB_MAX_BATCH_BYTES + 1);
    assert_int_equal(dc_loop_create(&loop, NULL), DC_OK);
    struct fake *f = dc_calloc(1, sizeof(*f));
    f->n_dispatched = 1; /* no connection breaks */
    dc_db_init(&f->base, &fake_driver, loop, &opts);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct outcome o = {0};
        struct dc_error err = {.status = DC_OK};
        const struct dc_db_value first[] = {dc_db_text(dc_slice_make(text, rows[i].first))};
        const struct dc_db_value second[] = {dc_db_text(dc_slice_make(text, rows[i].second))};
        struct dc_db_batch *b = dc_db_batch_create(&f->base, DC_DB_READ);
        dc_db_batch_add(b, &stmt, first, 1);
        dc_db_batch_add(b, &stmt, second, 1);
        if (dc_db_submit(b, on_ended, &o, NULL, &err) != rows[i].want) {
            fail_msg("row %zu: %s", i, dc_error_text(&err));
        }
        for (int turn = 0; turn < 10; turn++) {
            (void)dc_loop_step(loop);
        }
        assert_int_equal(o.n_calls, rows[i].want == DC_OK ? 1 : 0);
    }
    dc_free(text);
    dc_db_close(&f->base, on_closed, &is_closed);
    dc_loop_run(loop);
    assert_true(is_closed);
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
    dc_metrics_destroy(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_back_while_dispatching_is_dispatched_again_without_other_news),
        cmocka_unit_test(values_past_the_limit_of_a_batch_are_refused_when_it_is_submitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
