/* Many batches: groups, order, deadlines, cancelling, limits, closing. */
#include "base/mem.h"
#include "base/strbuf.h"
#include "db_fixture.h"
#include "db_suites.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUP (DC_DB_WRITE | DC_DB_GROUP)

static const struct dc_db_stmt insert_in_room = {
    "INSERT INTO item (slug, n, room) SELECT $1, coalesce(max(n), 0) + 1, $2 FROM item"
    " WHERE room = $2",
    NULL};

/* Adds the next item of a room; its number says where it came. */
static struct dc_db_batch *room_batch(struct fixture *f, const char *slug, const char *room)
{
    const struct dc_db_value values[] = {dc_db_text(dc_slice_z(slug)),
                                         dc_db_text(dc_slice_z(room))};
    struct dc_db_batch *b = dc_db_batch_create(f->db, GROUP);

    dc_db_batch_add(b, &insert_in_room, values, 2);
    dc_db_batch_set_lock_key(b, dc_slice_z(room));
    return b;
}

static void five_hundred_grouped_batches_arrive_in_order(void **state)
{
    struct fixture *f = *state;
    enum { N = 500, ROOMS = 7 };
    struct got *got = dc_calloc(N, sizeof(*got));
    unsigned clock = 0, last[ROOMS] = {0};

    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < N; i++) {
        char slug[32], room[32];
        snprintf(slug, sizeof(slug), "s%03zu", i);
        snprintf(room, sizeof(room), "room%zu", i * 5 % ROOMS);
        got[i].clock = &clock;
        submit(room_batch(f, slug, room), &got[i]);
        if (i % 97 == 0) {
            fixture_turns(f, 1); /* several groups */
        }
    }
    for (size_t i = 0; i < N; i++) {
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].status, DC_OK);
        assert_int_equal(got[i].calls, 1);
        assert_int_equal(got[i].affected[0], 1);
        /* Callbacks of one key run in the order of submission. */
        assert_true(got[i].at > last[i * 5 % ROOMS]);
        last[i * 5 % ROOMS] = got[i].at;
    }
    assert_int_equal(count_rows(f), N);
    char *wrong = place_query(
        &f->place, "SELECT count(*) FROM item a JOIN item b ON a.room = b.room AND a.n < b.n"
                   " WHERE a.slug > b.slug");
    assert_string_equal(wrong, "0");
    dc_free(wrong);
    dc_free(got);
}

static void poisoned_batches_of_a_group_fail_alone(void **state)
{
    struct fixture *f = *state;
    enum { N = 100 };
    struct got got[N] = {{0}};

    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < N; i++) {
        char slug[32];
        bool is_poison = i == 0 || i == 41 || i == 42 || i == N - 1;
        snprintf(slug, sizeof(slug), "s%03zu", i);
        struct dc_db_batch *b = item_batch(f, GROUP, slug, is_poison ? -1 : (int64_t)i);
        dc_db_batch_set_lock_key(b, i % 2 == 0 ? DC_S("even") : DC_S("odd"));
        submit(b, &got[i]);
    }
    for (size_t i = 0; i < N; i++) {
        bool is_poison = i == 0 || i == 41 || i == 42 || i == N - 1;
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].status, is_poison ? DC_INVALID : DC_OK);
        assert_int_equal(got[i].n, is_poison ? 0 : 1);
    }
    assert_int_equal(count_rows(f), N - 4);
}

static void a_poisoned_group_keeps_the_order_within_a_key(void **state)
{
    struct fixture *f = *state;
    enum { N = 60 };
    struct got got[N] = {{0}};

    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < N; i++) {
        char slug[32];
        snprintf(slug, sizeof(slug), "s%03zu", i);
        struct dc_db_batch *b = room_batch(f, slug, i % 2 == 0 ? "even" : "odd");
        if (i % 10 == 3) {
            const struct dc_db_value again[] = {dc_db_text(dc_slice_z(slug)), dc_db_int(1)};
            dc_db_batch_add(b, &insert_item, again, 2); /* the slug for the second time */
        }
        submit(b, &got[i]);
    }
    for (size_t i = 0; i < N; i++) {
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].status, i % 10 == 3 ? DC_CONFLICT : DC_OK);
    }
    char *wrong = place_query(
        &f->place, "SELECT count(*) FROM item a JOIN item b ON a.room = b.room AND a.n < b.n"
                   " WHERE a.slug > b.slug");
    assert_string_equal(wrong, "0");
    dc_free(wrong);
    assert_int_equal(count_rows(f), N - 6);
}

static void batches_larger_than_a_group_all_arrive(void **state)
{
    struct fixture *f = *state;
    enum { N = 5, BYTES = 400 * 1024 };
    struct got got[N] = {{0}};
    char *text = dc_alloc(BYTES + 1);

    memset(text, 'x', BYTES);
    text[BYTES] = '\0';
    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < N; i++) {
        char slug[32];
        snprintf(slug, sizeof(slug), "s%zu", i);
        const struct dc_db_value values[] = {dc_db_text(dc_slice_z(slug)),
                                             dc_db_text(dc_slice_make(text, BYTES))};
        struct dc_db_batch *b = dc_db_batch_create(f->db, GROUP);
        dc_db_batch_add(b, &insert_in_room, values, 2);
        submit(b, &got[i]);
    }
    for (size_t i = 0; i < N; i++) {
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].status, DC_OK);
    }
    assert_int_equal(count_rows(f), N);
    dc_free(text);
}

static void a_statement_that_takes_too_long_ends_by_its_deadline(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value minutes[] = {dc_db_int(600000)};
    struct got read = {0}, write = {0};

    fixture_open(f);
    create_items(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &slow_read, minutes, 1);
    dc_db_batch_set_deadline(b, 100);
    run(f, b, &read);
    assert_int_equal(read.status, DC_TIMEOUT);
    assert_int_equal(read.n, 0);
    b = dc_db_batch_create(f->db, GROUP);
    dc_db_batch_add(b, &slow_write, minutes, 1);
    dc_db_batch_set_deadline(b, 100);
    run(f, b, &write);
    assert_int_equal(write.status, DC_TIMEOUT);
    if (f->place.is_postgres) {
        assert_string_equal(write.code, "outcome_unknown");
    } /* SQLite's worker may have rolled it back before the loop looked at the clock */
    /* Others go on. */
    got_free(&write);
    run(f, item_batch(f, GROUP, "a", 1), &write);
    assert_int_equal(write.status, DC_OK);
    assert_int_equal(count_rows(f), 1);
    got_free(&write);
}

static void a_batch_that_waits_too_long_ends_by_its_deadline(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value ms[] = {dc_db_int(300)};
    struct got first = {0}, late = {0};

    fixture_open(f);
    create_items(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, GROUP);
    dc_db_batch_add(b, &slow_write, ms, 1);
    submit(b, &first);
    fixture_turns(f, 2); /* its group is under way */
    b = item_batch(f, GROUP, "late", 1);
    dc_db_batch_set_deadline(b, 20);
    run(f, b, &late);
    assert_int_equal(late.status, DC_TIMEOUT);
    assert_string_equal(late.code, "timeout"); /* it certainly was not executed */
    assert_false(first.is_done);
    fixture_until(f, &first.is_done);
    assert_int_equal(first.status, DC_OK);
    assert_int_equal(count_rows(f), 1);
}

static void a_long_deadline_is_longer_than_the_usual_one(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value ms[] = {dc_db_int(500)};
    struct got g = {0};

    f->opts.deadline_ms = 200;
    fixture_open(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &slow_read, ms, 1);
    dc_db_batch_set_deadline(b, 30000);
    run(f, b, &g);
    assert_int_equal(g.status, DC_OK);
    got_free(&g);
}

static void a_batch_cancelled_before_it_starts_does_nothing(void **state)
{
    struct fixture *f = *state;
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    struct dc_op *op = submit(item_batch(f, GROUP, "a", 1), &g);
    dc_op_cancel(op);
    dc_op_cancel(op); /* harmless */
    assert_false(g.is_done);
    fixture_until(f, &g.is_done);
    assert_int_equal(g.status, DC_CANCELED);
    assert_int_equal(g.calls, 1);
    assert_int_equal(count_rows(f), 0);
}

static void a_running_read_can_be_cancelled(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value minutes[] = {dc_db_int(2000)};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &slow_read, minutes, 1);
    struct dc_op *op = submit(b, &g);
    fixture_turns(f, 3);
    assert_false(g.is_done);
    dc_op_cancel(op);
    fixture_until(f, &g.is_done);
    assert_int_equal(g.status, DC_CANCELED);
    assert_int_equal(count_rows(f), 0);
    assert_int_equal(g.calls, 1);
}

static void a_running_write_cannot_be_cancelled_and_tells_the_truth(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value ms[] = {dc_db_int(100)};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, GROUP);
    dc_db_batch_add(b, &slow_write, ms, 1);
    struct dc_op *op = submit(b, &g);
    fixture_turns(f, 3);
    dc_op_cancel(op);
    fixture_until(f, &g.is_done);
    assert_int_equal(g.status, DC_OK);
    assert_int_equal(count_rows(f), 1);
}

static void more_than_may_wait_is_refused(void **state)
{
    struct fixture *f = *state;
    struct got got[3] = {{0}};
    struct dc_error err;

    f->opts.max_waiting = 2;
    fixture_open(f);
    create_items(f);
    submit(item_batch(f, GROUP, "a", 1), &got[0]);
    submit(item_batch(f, DC_DB_WRITE, "b", 1), &got[1]);
    assert_int_equal(dc_db_submit(item_batch(f, GROUP, "c", 1), got_cb, &got[2], NULL, &err),
                     DC_UNAVAILABLE);
    assert_string_equal(dc_error_code(&err), "queue_full");
    fixture_until(f, &got[0].is_done);
    fixture_until(f, &got[1].is_done);
    assert_int_equal(got[0].status, DC_OK);
    assert_int_equal(got[1].status, DC_OK);
    assert_false(got[2].is_done);
    assert_int_equal(count_rows(f), 2);
}

static void closing_ends_what_waits_and_awaits_what_runs(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value ms[] = {dc_db_int(100)};
    struct got running = {0}, waiting[3] = {{0}};

    fixture_open(f);
    create_items(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, GROUP);
    dc_db_batch_add(b, &slow_write, ms, 1);
    submit(b, &running);
    fixture_turns(f, 3);
    for (size_t i = 0; i < 3; i++) {
        char slug[8];
        snprintf(slug, sizeof(slug), "w%zu", i);
        submit(item_batch(f, GROUP, slug, 1), &waiting[i]);
    }
    fixture_close(f); /* all callbacks have run when this returns */
    assert_int_equal(running.status, DC_OK);
    assert_int_equal(running.calls, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(waiting[i].status, DC_CANCELED);
        assert_int_equal(waiting[i].calls, 1);
    }
    char *n = place_query(&f->place, "SELECT count(*) FROM item");
    assert_string_equal(n, "1");
    dc_free(n);
}

static void closing_at_once_is_fine(void **state)
{
    struct fixture *f = *state;
    struct got g = {0};

    fixture_open_any(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &count_items, NULL, 0);
    submit(b, &g);
    fixture_close(f);
    assert_int_equal(g.status, DC_CANCELED);
}

static void closing_while_a_poisoned_group_is_split_ends_every_batch(void **state)
{
    struct fixture *f = *state;
    enum { N = 40 };
    struct got got[N] = {{0}};

    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < N; i++) {
        char slug[32];
        snprintf(slug, sizeof(slug), "s%03zu", i);
        submit(item_batch(f, GROUP, slug, i % 3 == 0 ? -1 : 1), &got[i]);
    }
    fixture_turns(f, 2);
    fixture_close(f);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(got[i].calls, 1);
        assert_true(got[i].status == (i % 3 == 0 ? DC_INVALID : DC_OK) ||
                    got[i].status == DC_CANCELED);
    }
}

struct chain {
    struct fixture *f;
    unsigned left;
    bool is_done, close_at_end;
};

static void on_chain(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *err)
{
    struct chain *c = data;

    assert_int_equal(st, DC_OK);
    assert_int_equal(n, 1);
    assert_non_null(results[0]);
    assert_int_equal(err->status, DC_OK);
    if (c->left == 0) {
        c->is_done = true;
        return;
    }
    char slug[16];
    snprintf(slug, sizeof(slug), "c%u", c->left--);
    assert_int_equal(dc_db_submit(item_batch(c->f, GROUP, slug, 1), on_chain, c, NULL, NULL),
                     DC_OK);
}

static void a_callback_may_submit_the_next_batch(void **state)
{
    struct fixture *f = *state;
    struct chain c = {.f = f, .left = 20};

    fixture_open(f);
    create_items(f);
    assert_int_equal(dc_db_submit(item_batch(f, GROUP, "c", 1), on_chain, &c, NULL, NULL), DC_OK);
    fixture_until(f, &c.is_done);
    assert_int_equal(count_rows(f), 21);
}

struct closer {
    struct fixture *f;
    struct dc_op *other;
    bool is_called, is_closed;
};

static void on_closed_inside(void *data)
{
    struct closer *c = data;
    c->is_closed = true;
}

static void close_inside(void *data, enum dc_status st, const struct dc_db_result *const *results,
                         size_t n, const struct dc_error *err)
{
    struct closer *c = data;

    assert_int_equal(st, DC_OK);
    assert_true(n == 1 && results[0] != NULL && err != NULL);
    c->is_called = true;
    dc_op_cancel(c->other);
    dc_db_close(c->f->db, on_closed_inside, c);
    c->f->db = NULL;
}

static void a_callback_may_cancel_others_and_close(void **state)
{
    struct fixture *f = *state;
    struct closer c = {.f = f};
    struct got other = {0};
    static const struct dc_db_stmt one = {"SELECT 1", NULL};
    const struct dc_db_value ms[] = {dc_db_int(500)};

    fixture_open(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &one, NULL, 0);
    assert_int_equal(dc_db_submit(b, close_inside, &c, NULL, NULL), DC_OK);
    b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &slow_read, ms, 1);
    c.other = submit(b, &other);
    fixture_until(f, &c.is_closed);
    assert_true(c.is_called);
    assert_int_equal(other.status, DC_CANCELED);
    assert_int_equal(other.calls, 1);
}

static void a_batch_that_is_never_submitted_is_freed(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    dc_db_batch_free(item_batch(f, GROUP, "a", 1));
    dc_db_batch_free(NULL);
}

static void on_late_ready(void *data, const struct dc_error *err)
{
    bool *is_told = data;
    assert_int_equal(err->status, DC_OK);
    *is_told = true;
}

static void whoever_asks_late_is_told_that_it_is_ready(void **state)
{
    struct fixture *f = *state;
    bool is_told = false, is_up = false;
    static const struct dc_db_stmt one = {"SELECT 1", NULL};
    struct got g = {0};

    f->is_ready = false;
    assert_int_equal(dc_db_open(f->loop, &f->opts, &f->db, NULL), DC_OK);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &one, NULL, 0);
    run(f, b, &g); /* submitted before the first connection: it waits for it */
    assert_int_equal(g.status, DC_OK);
    got_free(&g);
    dc_db_on_ready(f->db, on_late_ready, &is_told);
    assert_false(is_told);
    fixture_until(f, &is_told);
    is_up = dc_health_overall(f->health) == DC_HEALTH_OK;
    assert_true(is_up);
}

static void metrics_count_batches_errors_and_groups(void **state)
{
    struct fixture *f = *state;
    struct dc_strbuf page = {0};
    struct got a = {0}, b = {0};

    fixture_open(f);
    create_items(f);
    submit(item_batch(f, GROUP, "a", 1), &a);
    submit(item_batch(f, GROUP, "b", -1), &b);
    fixture_until(f, &a.is_done);
    fixture_until(f, &b.is_done);
    dc_metrics_render(f->metrics, &page);
    dc_strbuf_add_char(&page, '\0');
    assert_true(dc_strbuf_ok(&page));
    assert_non_null(strstr(page.ptr, "daarion_db_batches_total{kind=\"group\"} 2\n"));
    assert_non_null(strstr(page.ptr, "daarion_db_errors_total{code=\"invalid_input\"} 1\n"));
    assert_non_null(strstr(page.ptr, "daarion_db_grouped_batches_total "));
    assert_non_null(strstr(page.ptr, "daarion_db_waiting 0\n"));
    assert_non_null(strstr(page.ptr, "daarion_db_running 0\n"));
    dc_strbuf_free(&page);
}

/* --- the death of a process --- */

struct forever {
    struct dc_db *db;
    unsigned n;
};

static void write_next(struct forever *w);

static void on_forever(void *data, enum dc_status st, const struct dc_db_result *const *results,
                       size_t n, const struct dc_error *err)
{
    if (st != DC_OK || n != 1 || results[0] == NULL) {
        fprintf(stderr, "%s\n", dc_error_text(err));
        _exit(1);
    }
    if (write(STDOUT_FILENO, ".", 1) != 1) {
        _exit(1);
    }
    write_next(data);
}

static void write_next(struct forever *w)
{
    struct dc_db_batch *b = dc_db_batch_create(w->db, GROUP);
    char slug[24];
    int len = snprintf(slug, sizeof(slug), "forever%u", w->n++);
    const struct dc_db_value values[] = {dc_db_text(dc_slice_make(slug, (size_t)len)),
                                         dc_db_int(1)};

    dc_db_batch_add(b, &insert_item, values, 2);
    if (dc_db_submit(b, on_forever, w, NULL, NULL) != DC_OK) {
        _exit(1);
    }
}

int db_write_for_ever(const char *url, const char *path)
{
    const struct dc_db_opts opts = {
        .url = url, .path = path, .pool_size = 2, .metrics = dc_metrics_create()};
    struct forever w = {0};
    struct dc_loop *loop = NULL;

    alarm(60);
    if (dc_loop_create(&loop, NULL) != DC_OK || dc_db_open(loop, &opts, &w.db, NULL) != DC_OK) {
        return 1;
    }
    for (unsigned i = 0; i < 8; i++) {
        write_next(&w);
    }
    dc_loop_run(loop);
    return 1;
}

static void acknowledged_writes_survive_the_death_of_the_process(void **state)
{
    struct fixture *f = *state;
    char bytes[256];
    size_t acknowledged = 0;
    ssize_t len;
    int fds[2], status = 0;

    fixture_open(f);
    create_items(f);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl("/proc/self/exe", "test_db", "write", f->opts.url == NULL ? "" : f->opts.url,
              f->opts.path == NULL ? "" : f->opts.path, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    while (acknowledged < 100 && (len = read(fds[0], bytes, sizeof(bytes))) > 0) {
        acknowledged += (size_t)len;
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    while ((len = read(fds[0], bytes, sizeof(bytes))) > 0) {
        acknowledged += (size_t)len;
    }
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(acknowledged >= 100);
    assert_true(count_rows(f) >= (int64_t)acknowledged);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int db_queue_suite(void)
{
    const struct CMUnitTest cases[] = {
        CASE(five_hundred_grouped_batches_arrive_in_order),
        CASE(poisoned_batches_of_a_group_fail_alone),
        CASE(a_poisoned_group_keeps_the_order_within_a_key),
        CASE(batches_larger_than_a_group_all_arrive),
        CASE(a_statement_that_takes_too_long_ends_by_its_deadline),
        CASE(a_batch_that_waits_too_long_ends_by_its_deadline),
        CASE(a_long_deadline_is_longer_than_the_usual_one),
        CASE(a_batch_cancelled_before_it_starts_does_nothing),
        CASE(a_running_read_can_be_cancelled),
        CASE(a_running_write_cannot_be_cancelled_and_tells_the_truth),
        CASE(more_than_may_wait_is_refused),
        CASE(closing_ends_what_waits_and_awaits_what_runs),
        CASE(closing_at_once_is_fine),
        CASE(closing_while_a_poisoned_group_is_split_ends_every_batch),
        CASE(a_callback_may_submit_the_next_batch),
        CASE(a_callback_may_cancel_others_and_close),
        CASE(a_batch_that_is_never_submitted_is_freed),
        CASE(whoever_asks_late_is_told_that_it_is_ready),
        CASE(metrics_count_batches_errors_and_groups),
        CASE(acknowledged_writes_survive_the_death_of_the_process),
    };
    return cmocka_run_group_tests_name("queue", cases, NULL, NULL);
}
