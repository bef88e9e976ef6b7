/* What only a file can do to us: be locked by others, be no database, be in no directory. */
#include "base/mem.h"
#include "db_fixture.h"
#include "db_suites.h"
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUP (DC_DB_WRITE | DC_DB_GROUP)

static void the_file_is_durable_and_only_its_owner_reads_it(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt synchronous = {"PRAGMA synchronous", NULL};
    static const struct dc_db_stmt journal = {"PRAGMA journal_mode", NULL};
    static const struct dc_db_stmt foreign_keys = {"PRAGMA foreign_keys", NULL};
    struct got g = {0};
    struct stat st;

    fixture_open(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_WRITE);
    dc_db_batch_add(b, &synchronous, NULL, 0);
    dc_db_batch_add(b, &journal, NULL, 0);
    dc_db_batch_add(b, &foreign_keys, NULL, 0);
    run(f, b, &g);
    assert_int_equal(g.status, DC_OK);
    assert_int_equal(g.num[0][0][0], 2); /* FULL: each commit waits for the disk */
    assert_string_equal(g.text[1][0][0], "wal");
    assert_int_equal(g.num[2][0][0], 1);
    got_free(&g);
    assert_int_equal(stat(f->place.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_read_cannot_write(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value values[] = {dc_db_text(DC_S("a")), dc_db_int(1)};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    run_one(f, DC_DB_READ, &insert_item, values, 2, &g, DC_UNAVAILABLE);
    assert_int_equal(count_rows(f), 0);
}

static void a_file_locked_by_another_process_costs_the_deadline(void **state)
{
    struct fixture *f = *state;
    sqlite3 *other = NULL;
    struct got late = {0}, patient = {0}, read = {0};

    fixture_open(f);
    create_items(f);
    assert_int_equal(sqlite3_open(f->place.path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct dc_db_batch *b = item_batch(f, GROUP, "late", 1);
    dc_db_batch_set_deadline(b, 100);
    submit(b, &late);
    fixture_turns(f, 2);
    submit(item_batch(f, GROUP, "patient", 1), &patient);
    fixture_until(f, &late.is_done);
    assert_true(late.status == DC_TIMEOUT || late.status == DC_UNAVAILABLE);
    b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &count_items, NULL, 0);
    run(f, b, &read); /* readers are not disturbed */
    assert_int_equal(read.status, DC_OK);
    got_free(&read);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    fixture_until(f, &patient.is_done);
    assert_int_equal(patient.status, DC_OK);
    assert_int_equal(count_rows(f), 1);
}

static void expect_config(struct fixture *f, const char *path)
{
    struct got g = {0};

    f->opts.path = path;
    fixture_open_any(f);
    fixture_until(f, &f->is_ready);
    assert_int_equal(f->ready.status, DC_CONFIG);
    assert_non_null(strstr(dc_error_text(&f->ready), path));
    assert_int_equal(dc_health_overall(f->health), DC_HEALTH_DOWN);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &count_items, NULL, 0);
    assert_int_equal(dc_db_submit(b, got_cb, &g, NULL, NULL), DC_UNAVAILABLE);
    fixture_close(f);
}

static void a_file_that_is_no_database_is_a_configuration_error(void **state)
{
    struct fixture *f = *state;
    FILE *file = fopen(f->place.path, "w");

    assert_non_null(file);
    for (size_t i = 0; i < 1000; i++) {
        assert_true(fputs("This is a text file. ", file) >= 0);
    }
    assert_int_equal(fclose(file), 0);
    expect_config(f, f->place.path);
}

static void a_missing_directory_is_a_configuration_error(void **state)
{
    expect_config(*state, "/no/such/directory/city.sqlite");
}

static void neither_a_url_nor_a_path_is_refused_at_once(void **state)
{
    struct fixture *f = *state;

    f->opts.path = NULL;
    assert_int_equal(dc_db_open(f->loop, &f->opts, &f->db, NULL), DC_CONFIG);
    f->opts.path = "";
    assert_int_equal(dc_db_open(f->loop, &f->opts, &f->db, NULL), DC_CONFIG);
}

static void a_batch_that_loses_the_whole_transaction_does_not_take_others_along(void **state)
{
    struct fixture *f = *state;
    /* ROLLBACK as a conflict's answer ends the transaction, the savepoints of others included. */
    static const struct dc_db_stmt harsh = {
        "INSERT OR ROLLBACK INTO item (slug, n) VALUES ($1, $2)", NULL};
    const struct dc_db_value again[] = {dc_db_text(DC_S("s0")), dc_db_int(1)};
    struct got got[5] = {{0}};

    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < 5; i++) {
        char slug[16];
        snprintf(slug, sizeof(slug), "s%zu", i);
        struct dc_db_batch *b = item_batch(f, GROUP, slug, 1);
        if (i == 2) {
            dc_db_batch_add(b, &harsh, again, 2);
        }
        submit(b, &got[i]);
    }
    for (size_t i = 0; i < 5; i++) {
        fixture_until(f, &got[i].is_done);
        assert_int_equal(got[i].status, i == 2 ? DC_CONFLICT : DC_OK);
    }
    assert_int_equal(count_rows(f), 4);
}

static void a_result_past_the_limit_of_a_batch_is_an_error_and_undoes_it(void **state)
{
    struct fixture *f = *state;
    /* A million characters a row. */
    static const struct dc_db_stmt large = {
        "WITH RECURSIVE row(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM row WHERE i < $1)"
        " SELECT hex(zeroblob(500000)) FROM row",
        NULL};
    const struct dc_db_value few[] = {dc_db_int(5)}, many[] = {dc_db_int(70)};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    struct dc_db_batch *b = item_batch(f, DC_DB_WRITE, "a", 1);
    dc_db_batch_add(b, &large, many, 1);
    run(f, b, &g);
    assert_int_equal(g.status, DC_INTERNAL);
    assert_non_null(strstr(dc_error_text(&g.err), "too large"));
    got_free(&g);
    assert_int_equal(count_rows(f), 0);
    run_one(f, DC_DB_READ, &large, few, 1, &g, DC_OK); /* the connection is none the worse */
    assert_int_equal(g.rows[0], 5);
    got_free(&g);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int db_sqlite_suite(void)
{
    const struct CMUnitTest cases[] = {
        CASE(the_file_is_durable_and_only_its_owner_reads_it),
        CASE(a_read_cannot_write),
        CASE(a_file_locked_by_another_process_costs_the_deadline),
        CASE(a_file_that_is_no_database_is_a_configuration_error),
        CASE(a_missing_directory_is_a_configuration_error),
        CASE(neither_a_url_nor_a_path_is_refused_at_once),
        CASE(a_batch_that_loses_the_whole_transaction_does_not_take_others_along),
        CASE(a_result_past_the_limit_of_a_batch_is_an_error_and_undoes_it),
    };
    return cmocka_run_group_tests_name("sqlite", cases, NULL, NULL);
}
