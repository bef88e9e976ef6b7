/* What only a server can do to us: refuse, hang, die, come back, deadlock, fail at the commit. */
#include "base/mem.h"
#include "db_fixture.h"
#include "db_suites.h"
#include <string.h>
#include <unistd.h>

#define GROUP  (DC_DB_WRITE | DC_DB_GROUP)
#define T(lit) dc_db_text(DC_S(lit))

static const struct dc_db_stmt select_one = {"SELECT 1", NULL};

static void a_malformed_url_is_refused_at_once_without_repeating_it(void **state)
{
    struct fixture *f = *state;
    static const char *const urls[] = {
        "",
        "mysql://u:hunter2@h/d",
        "host=127.0.0.1 password=hunter2",
        "postgresql://u:hunter2@h:99999/d",
        "postgresql://u:hunter2@h:port/d",
        "postgresql://u:hunter2@h/d?sslmode=perhaps",
        "postgresql://u:hunter2@h/d?no_such_setting=1",
        "postgresql://u:hunter2@[::1/d",
        "postgresql://u:hunter2@h/%zz",
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(urls); i++) {
        struct dc_error err = {0};
        f->opts.url = urls[i];
        assert_int_equal(dc_db_open(f->loop, &f->opts, &f->db, &err), DC_CONFIG);
        assert_null(f->db);
        assert_null(strstr(dc_error_text(&err), "hunter2"));
    }
}

static void expect_config(struct fixture *f, const char *url)
{
    char text[2048];

    f->opts.url = url;
    fixture_open_any(f);
    fixture_until(f, &f->is_ready);
    assert_int_equal(f->ready.status, DC_CONFIG);
    assert_int_equal(dc_health_overall(f->health), DC_HEALTH_DOWN);
    struct got g = {0};
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &select_one, NULL, 0);
    assert_int_equal(dc_db_submit(b, got_cb, &g, NULL, NULL), DC_UNAVAILABLE);
    fixture_close(f);
    ssize_t len = read(f->log_fd, text, sizeof(text) - 1);
    assert_true(len > 0);
    text[len] = '\0';
    assert_non_null(strstr(text, "db.connect_failed"));
    assert_null(strstr(text, "hunter2"));
}

static void a_wrong_password_is_a_configuration_error(void **state)
{
    char url[512];
    place_url_with("hunter2", NULL, url, sizeof(url));
    expect_config(*state, url);
}

static void an_unknown_database_is_a_configuration_error(void **state)
{
    char url[512];
    place_url_with(NULL, "no_such_database", url, sizeof(url));
    expect_config(*state, url);
}

static void a_setting_that_does_not_exist_is_a_configuration_error(void **state)
{
    struct fixture *f = *state;
    char url[600], base[512];
    place_url_with(NULL, NULL, base, sizeof(base));
    snprintf(url, sizeof(url), "%s?options=-cno_such_setting%%3D1", base);
    expect_config(f, url);
}

static bool is_down(const struct fixture *f)
{
    return dc_health_overall(f->health) == DC_HEALTH_DOWN;
}

static void a_refused_connection_fails_what_waits_and_then_at_once(void **state)
{
    struct fixture *f = *state;
    struct got g = {0};
    struct dc_error err;

    f->opts.url = "postgresql://127.0.0.1:1/nobody_listens";
    fixture_open_any(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &select_one, NULL, 0);
    run(f, b, &g); /* accepted while the first attempt was under way */
    assert_int_equal(g.status, DC_UNAVAILABLE);
    assert_true(is_down(f));
    b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &select_one, NULL, 0);
    assert_int_equal(dc_db_submit(b, got_cb, &g, NULL, &err), DC_UNAVAILABLE);
    assert_false(f->is_ready); /* it goes on trying */
}

/* Submits reads until one succeeds; the port says by itself when it is down. */
static void until_it_works(struct fixture *f)
{
    for (;;) {
        struct got g = {0};
        struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
        dc_db_batch_add(b, &select_one, NULL, 0);
        if (dc_db_submit(b, got_cb, &g, NULL, NULL) == DC_OK) {
            fixture_until(f, &g.is_done);
            if (g.status == DC_OK) {
                return;
            }
        }
        uv_run(dc_loop_uv(f->loop), UV_RUN_ONCE);
    }
}

/* Submits reads until one is refused at once; those before must fail too. */
static void until_it_is_down(struct fixture *f)
{
    for (;;) {
        struct got g = {0};
        struct dc_error err;
        struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
        dc_db_batch_add(b, &select_one, NULL, 0);
        enum dc_status st = dc_db_submit(b, got_cb, &g, NULL, &err);
        if (st != DC_OK) {
            assert_int_equal(st, DC_UNAVAILABLE);
            assert_true(is_down(f));
            return;
        }
        fixture_until(f, &g.is_done);
        assert_int_equal(g.status, DC_UNAVAILABLE);
    }
}

static void a_server_that_dies_and_comes_back_is_used_again(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value seconds[] = {dc_db_int(20000)};
    struct got running = {0}, read = {0}, g = {0};
    struct dc_error err;

    if (!place_can_restart()) {
        skip();
    }
    fixture_open(f);
    create_items(f);
    run(f, item_batch(f, GROUP, "before", 1), &g);
    assert_int_equal(g.status, DC_OK);
    got_free(&g);
    struct dc_db_batch *b = dc_db_batch_create(f->db, GROUP);
    dc_db_batch_add(b, &slow_write, seconds, 1);
    submit(b, &running);
    b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &slow_read, seconds, 1);
    submit(b, &read);
    fixture_turns(f, 20);
    fixture_server(f, "stop");
    fixture_until(f, &running.is_done);
    fixture_until(f, &read.is_done);
    assert_int_equal(running.status, DC_UNAVAILABLE);
    assert_string_equal(running.code, "outcome_unknown");
    assert_int_equal(read.status, DC_UNAVAILABLE);
    until_it_is_down(f);
    b = item_batch(f, GROUP, "meanwhile", 1);
    assert_int_equal(dc_db_submit(b, got_cb, &g, NULL, &err), DC_UNAVAILABLE);
    fixture_server(f, "start");
    until_it_works(f);
    assert_false(is_down(f));
    run(f, item_batch(f, GROUP, "after", 1), &g);
    assert_int_equal(g.status, DC_OK);
    assert_int_equal(count_rows(f), 2);
    got_free(&g);
}

static void a_server_that_hangs_costs_its_batches_their_deadline(void **state)
{
    struct fixture *f = *state;
    struct got read = {0}, write = {0}, waiting = {0}, g = {0};

    if (!place_can_restart()) {
        skip();
    }
    fixture_open(f);
    create_items(f);
    fixture_server(f, "pause");
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &select_one, NULL, 0);
    dc_db_batch_set_deadline(b, 150);
    submit(b, &read);
    b = item_batch(f, GROUP, "hung", 1);
    dc_db_batch_set_deadline(b, 150);
    submit(b, &write);
    fixture_turns(f, 2);
    b = item_batch(f, GROUP, "waiting", 1);
    dc_db_batch_set_deadline(b, 100);
    submit(b, &waiting);
    fixture_until(f, &read.is_done);
    fixture_until(f, &write.is_done);
    fixture_until(f, &waiting.is_done);
    assert_int_equal(read.status, DC_TIMEOUT);
    assert_int_equal(write.status, DC_TIMEOUT);
    assert_string_equal(write.code, "outcome_unknown");
    assert_int_equal(waiting.status, DC_TIMEOUT);
    assert_string_equal(waiting.code, "timeout");
    fixture_server(f, "resume");
    until_it_works(f);
    run(f, item_batch(f, GROUP, "after", 1), &g);
    assert_int_equal(g.status, DC_OK);
    char *n = place_query(&f->place, "SELECT count(*) FROM item WHERE slug = 'waiting'");
    assert_string_equal(n, "0");
    dc_free(n);
}

static void a_deadline_in_a_group_does_not_hurt_its_neighbours(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value ms[] = {dc_db_int(300)};
    struct got slow = {0}, quick = {0}, hasty = {0};

    fixture_open(f);
    create_items(f);
    submit(item_batch(f, GROUP, "quick", 1), &quick);
    struct dc_db_batch *b = dc_db_batch_create(f->db, GROUP);
    dc_db_batch_add(b, &slow_write, ms, 1);
    submit(b, &slow);
    b = item_batch(f, GROUP, "hasty", 1);
    dc_db_batch_set_deadline(b, 50);
    submit(b, &hasty);
    fixture_until(f, &hasty.is_done);
    assert_int_equal(hasty.status, DC_TIMEOUT);
    fixture_until(f, &slow.is_done);
    fixture_until(f, &quick.is_done);
    assert_int_equal(slow.status, DC_OK);
    assert_int_equal(quick.status, DC_OK);
    assert_int_equal(count_rows(f), 3); /* its outcome was unknown, and it was this */
}

static void a_deferred_constraint_fails_its_batch_at_the_commit(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt create = {
        "CREATE TABLE child (slug text CONSTRAINT child_parent REFERENCES item (slug)"
        " DEFERRABLE INITIALLY DEFERRED)",
        NULL};
    static const struct dc_db_stmt insert = {"INSERT INTO child VALUES ($1)", NULL};
    const struct dc_db_value orphan[] = {T("nobody")};
    struct got g = {0}, got[5] = {{0}}, pipelined = {0};

    fixture_open(f);
    create_items(f);
    run_one(f, DC_DB_WRITE, &create, NULL, 0, &g, DC_OK);
    got_free(&g);
    /* Alone, with a read behind it on the same connection. */
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_WRITE);
    dc_db_batch_add(b, &insert, orphan, 1);
    submit(b, &g);
    b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &select_one, NULL, 0);
    run(f, b, &pipelined);
    fixture_until(f, &g.is_done);
    assert_int_equal(g.status, DC_INVALID);
    assert_string_equal(dc_error_text(&g.err), "child_parent");
    assert_int_equal(pipelined.status, DC_OK);
    got_free(&pipelined);
    /* In a group. */
    for (size_t i = 0; i < 5; i++) {
        char slug[16];
        snprintf(slug, sizeof(slug), "s%zu", i);
        b = item_batch(f, GROUP, slug, 1);
        if (i == 2) {
            dc_db_batch_add(b, &insert, orphan, 1);
        }
        submit(b, &got[i]);
    }
    for (size_t i = 0; i < 5; i++) {
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].status, i == 2 ? DC_INVALID : DC_OK);
    }
    assert_int_equal(count_rows(f), 4);
}

static void batches_in_flight_on_one_connection_do_not_hurt_each_other(void **state)
{
    struct fixture *f = *state;
    enum { N = 30 };
    static const struct dc_db_stmt divide = {"SELECT 10 / $1", NULL};
    struct got got[N] = {{0}};

    f->opts.pool_size = 1; /* reads, writes and groups share it */
    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < N; i++) {
        const struct dc_db_value by[] = {dc_db_int((int64_t)(i % 3))};
        struct dc_db_batch *b;
        char slug[16];
        snprintf(slug, sizeof(slug), "s%zu", i);
        if (i % 2 == 0) {
            b = dc_db_batch_create(f->db, DC_DB_READ);
            dc_db_batch_add(b, &divide, by, 1);
        } else {
            b = item_batch(f, i % 4 == 1 ? GROUP : DC_DB_WRITE, slug, i % 3 == 0 ? -1 : 1);
        }
        submit(b, &got[i]);
    }
    for (size_t i = 0; i < N; i++) {
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].status, i % 3 == 0 ? DC_INVALID : DC_OK);
        got_free(&got[i]);
    }
    assert_int_equal(count_rows(f), N / 3);
}

static void deadlocked_batches_are_run_again(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt lock = {"UPDATE item SET n = n + 1 WHERE slug = $1", NULL};
    static const struct dc_db_stmt pause = {"SELECT pg_sleep(0.3)", NULL};
    const struct dc_db_value a[] = {T("a")}, b[] = {T("b")};
    const struct dc_db_value *const orders[2][2] = {{a, b}, {b, a}};
    struct got got[2] = {{0}}, g = {0};

    fixture_open(f);
    create_items(f);
    run(f, item_batch(f, DC_DB_WRITE, "a", 0), &g);
    got_free(&g);
    run(f, item_batch(f, DC_DB_WRITE, "b", 0), &g);
    got_free(&g);
    for (size_t i = 0; i < 2; i++) {
        /* One of them as a group: both ways recover. */
        struct dc_db_batch *batch = dc_db_batch_create(f->db, i == 0 ? GROUP : DC_DB_WRITE);
        dc_db_batch_add(batch, &lock, orders[i][0], 1);
        dc_db_batch_add(batch, &pause, NULL, 0);
        dc_db_batch_add(batch, &lock, orders[i][1], 1);
        submit(batch, &got[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].status, DC_OK);
        got_free(&got[i]);
    }
    char *sum = place_query(&f->place, "SELECT sum(n) FROM item");
    assert_string_equal(sum, "4");
    dc_free(sum);
}

static void a_batch_that_kills_its_connection_does_not_take_its_group_along(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt die = {"SELECT pg_terminate_backend(pg_backend_pid())", NULL};
    struct got got[5] = {{0}};

    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < 5; i++) {
        char slug[16];
        snprintf(slug, sizeof(slug), "s%zu", i);
        struct dc_db_batch *b = item_batch(f, GROUP, slug, 1);
        if (i == 2) {
            dc_db_batch_add(b, &die, NULL, 0);
        }
        submit(b, &got[i]);
    }
    for (size_t i = 0; i < 5; i++) {
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].status, i == 2 ? DC_UNAVAILABLE : DC_OK);
        got_free(&got[i]);
    }
    assert_int_equal(count_rows(f), 4);
}

static void an_idle_connection_that_is_cut_is_replaced(void **state)
{
    struct fixture *f = *state;
    char sql[256];

    fixture_open(f);
    until_it_works(f);
    snprintf(
        sql, sizeof(sql),
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name ="
        " 'daarion' AND pid <> pg_backend_pid()");
    place_exec(&f->place, sql);
    until_it_works(f);
    until_it_works(f);
}

static void every_outcome_is_true_while_connections_are_cut(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 12, PER_ROUND = 40, N = ROUNDS * PER_ROUND };
    struct got *got = dc_calloc(N, sizeof(*got));
    size_t acknowledged = 0, certainly_not = 0;

    f->opts.log = NULL;
    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < N; i++) {
        char slug[24];
        snprintf(slug, sizeof(slug), "s%zu", i);
        submit(item_batch(f, i % 5 == 0 ? DC_DB_WRITE : GROUP, slug, i % 17 == 3 ? -1 : 1),
               &got[i]);
        if (i % 7 == 0) {
            fixture_turns(f, 1 + (unsigned)(i % 3));
        }
        if (i % PER_ROUND == PER_ROUND - 1) {
            place_exec(&f->place, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                                  " WHERE application_name = 'daarion'");
        }
    }
    for (size_t i = 0; i < N; i++) {
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].calls, 1);
    }
    char *stored = place_query(&f->place, "SELECT string_agg(',' || slug || ',', '') FROM item");
    for (size_t i = 0; i < N; i++) {
        char slug[24];
        snprintf(slug, sizeof(slug), ",s%zu,", i);
        bool is_stored = strstr(stored, slug) != NULL;
        if (got[i].status == DC_OK) {
            assert_true(is_stored);
            acknowledged++;
        } else if (strcmp(got[i].code, "outcome_unknown") != 0) {
            assert_false(is_stored);
            certainly_not++;
        }
    }
    dc_free(stored);
    assert_true(acknowledged > 0);
    assert_true(certainly_not > 0);
    dc_free(got);
}

static void statements_that_the_server_has_forgotten_are_prepared_again(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt forget = {"DEALLOCATE ALL", NULL};
    static const struct dc_db_stmt star = {"SELECT * FROM item WHERE slug = $1", NULL};
    const struct dc_db_value slug[] = {T("a")};
    struct got g = {0};

    f->opts.pool_size = 1;
    fixture_open(f);
    create_items(f);
    assert_int_equal(count_rows(f), 0);
    run_one(f, DC_DB_READ, &forget, NULL, 0, &g, DC_OK);
    got_free(&g);
    assert_int_equal(count_rows(f), 0);
    run(f, item_batch(f, GROUP, "a", 1), &g);
    assert_int_equal(g.status, DC_OK);
    got_free(&g);
    run_one(f, DC_DB_READ, &star, slug, 1, &g, DC_OK);
    got_free(&g);
    /* A plan whose result has another column now. */
    place_exec(&f->place, "ALTER TABLE item ADD COLUMN more text");
    run_one(f, DC_DB_READ, &star, slug, 1, &g, DC_OK);
    got_free(&g);
}

static void the_session_speaks_utc_and_knows_the_deadline(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt settings = {
        "SELECT current_setting('TimeZone'), current_setting('statement_timeout'),"
        " current_setting('transaction_isolation')",
        NULL};
    static const struct dc_db_stmt times = {
        "SELECT timestamptz '2026-11-20 12:15:00.123456+02', timestamptz '2026-11-20 10:15:00Z',"
        " $1, timestamptz 'infinity'",
        NULL};
    const struct dc_db_value now[] = {dc_db_utc((struct dc_utc){1795169700001})};
    struct got g = {0};

    f->opts.deadline_ms = 7000;
    fixture_open(f);
    run_one(f, DC_DB_READ, &settings, NULL, 0, &g, DC_OK);
    assert_string_equal(g.text[0][0][0], "UTC");
    assert_string_equal(g.text[0][0][1], "7s");
    assert_string_equal(g.text[0][0][2], "read committed");
    got_free(&g);
    run_one(f, DC_DB_READ, &times, now, 1, &g, DC_OK);
    assert_int_equal(g.utc_ms[0][0][0], 1795169700123);
    assert_int_equal(g.utc_ms[0][0][1], 1795169700000);
    assert_int_equal(g.utc_ms[0][0][2], 1795169700001);
    assert_int_equal(g.utc_ms[0][0][3], 0);
    got_free(&g);
}

/* A case that failed half-way must not leave the server paused. */
static int resume_and_teardown(void **state)
{
    if (place_can_restart()) {
        place_server("resume");
    }
    return fixture_teardown(state);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int db_postgres_suite(void)
{
    const struct CMUnitTest cases[] = {
        CASE(a_malformed_url_is_refused_at_once_without_repeating_it),
        CASE(a_wrong_password_is_a_configuration_error),
        CASE(an_unknown_database_is_a_configuration_error),
        CASE(a_setting_that_does_not_exist_is_a_configuration_error),
        CASE(a_refused_connection_fails_what_waits_and_then_at_once),
        CASE(a_server_that_dies_and_comes_back_is_used_again),
        cmocka_unit_test_setup_teardown(a_server_that_hangs_costs_its_batches_their_deadline,
                                        fixture_setup, resume_and_teardown),
        CASE(a_deadline_in_a_group_does_not_hurt_its_neighbours),
        CASE(a_deferred_constraint_fails_its_batch_at_the_commit),
        CASE(batches_in_flight_on_one_connection_do_not_hurt_each_other),
        CASE(deadlocked_batches_are_run_again),
        CASE(a_batch_that_kills_its_connection_does_not_take_its_group_along),
        CASE(an_idle_connection_that_is_cut_is_replaced),
        CASE(every_outcome_is_true_while_connections_are_cut),
        CASE(statements_that_the_server_has_forgotten_are_prepared_again),
        CASE(the_session_speaks_utc_and_knows_the_deadline),
    };
    return cmocka_run_group_tests_name("postgres", cases, NULL, NULL);
}
