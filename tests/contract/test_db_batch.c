/* One batch at a time: atomicity, results, values, and what becomes of errors. */
#include "base/mem.h"
#include "base/strbuf.h"
#include "db_fixture.h"
#include "db_suites.h"
#include <string.h>
#include <unistd.h>

#define T(lit) dc_db_text(DC_S(lit))

static void a_failing_statement_undoes_its_whole_batch(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt bad = {"INSERT INTO item (slug, n) VALUES ($1, -1)", NULL};
    const struct dc_db_value slug[] = {T("b")};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    struct dc_db_batch *b = item_batch(f, DC_DB_WRITE, "a", 1);
    dc_db_batch_add(b, &bad, slug, 1);
    dc_db_batch_add(b, &count_items, NULL, 0);
    run(f, b, &g);
    assert_int_equal(g.status, DC_INVALID);
    assert_int_equal(g.n, 0);
    assert_int_equal(count_rows(f), 0);
}

static void results_come_in_the_order_of_the_statements(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt returning = {
        "INSERT INTO item (slug, n) VALUES ($1, $2), ($3, $4) RETURNING slug, n", NULL};
    static const struct dc_db_stmt update = {"UPDATE item SET n = n + $1", NULL};
    static const struct dc_db_stmt update_none = {"UPDATE item SET n = 0 WHERE slug = $1", NULL};
    static const struct dc_db_stmt sum = {"SELECT sum(n), count(*) FROM item", NULL};
    const struct dc_db_value rows[] = {T("a"), dc_db_int(1), T("b"), dc_db_int(2)};
    const struct dc_db_value ten[] = {dc_db_int(10)};
    const struct dc_db_value nobody[] = {T("nobody")};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_WRITE);
    dc_db_batch_add(b, &returning, rows, 4);
    dc_db_batch_add(b, &update, ten, 1);
    dc_db_batch_add(b, &update_none, nobody, 1);
    dc_db_batch_add(b, &sum, NULL, 0);
    run(f, b, &g);
    assert_int_equal(g.status, DC_OK);
    assert_int_equal(g.n, 4);
    assert_int_equal(g.rows[0], 2);
    assert_string_equal(g.text[0][0][0], "a");
    assert_int_equal(g.num[0][1][1], 2);
    assert_int_equal(g.rows[1], 0);
    assert_int_equal(g.affected[1], 2);
    assert_int_equal(g.affected[2], 0);
    assert_int_equal(g.num[3][0][0], 23);
    assert_int_equal(g.num[3][0][1], 2);
    got_free(&g);
}

static const struct dc_db_stmt insert_all = {
    "INSERT INTO item (slug, n, room, is_open, at, doc) VALUES ($1, $2, $3, $4, $5, $6)", NULL};
static const struct dc_db_stmt select_all = {
    "SELECT slug, n, room, is_open, at, doc FROM item WHERE slug = $1", NULL};

/* Stores and reads one row. */
static void store(struct fixture *f, const struct dc_db_value values[6], struct got *g)
{
    struct got ignored = {0};

    run_one(f, DC_DB_WRITE, &insert_all, values, 6, &ignored, DC_OK);
    got_free(&ignored);
    run_one(f, DC_DB_READ, &select_all, values, 1, g, DC_OK);
    assert_int_equal(g->rows[0], 1);
}

static void values_of_every_type_come_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *slug, *room;
        int64_t n, utc_ms;
        bool is_open;
    } rows[] = {
        {"zero", "", 0, 0, false},
        {"max", "Площа Свободи 🏙", INT64_MAX, 1795169712345, true},
        {"first", "a\tb\nc\\d'e\"", 1, -62135596800000, true},
        {"last", "\x7f\xc2\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf", 2, 253402300799999, true},
        {"before 1970", "%s $1 ?", 3, -1, false},
    };

    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const struct dc_db_value values[6] = {dc_db_text(dc_slice_z(rows[i].slug)),
                                              dc_db_int(rows[i].n),
                                              dc_db_text(dc_slice_z(rows[i].room)),
                                              dc_db_bool(rows[i].is_open),
                                              dc_db_utc((struct dc_utc){rows[i].utc_ms}),
                                              dc_db_json(DC_S("{\"k\": [1, \"\xd1\x97\"]}"))};
        struct got g = {0};
        store(f, values, &g);
        assert_string_equal(g.text[0][0][0], rows[i].slug);
        assert_true(g.num[0][0][1] == rows[i].n);
        assert_string_equal(g.text[0][0][2], rows[i].room);
        assert_int_equal(g.flag[0][0][3], rows[i].is_open);
        assert_true(g.utc_ms[0][0][4] == rows[i].utc_ms);
        assert_string_equal(g.text[0][0][5], "{\"k\": [1, \"\xd1\x97\"]}");
        got_free(&g);
    }
}

static void the_smallest_integer_comes_back(void **state)
{
    struct fixture *f = *state;
    /* The column has a check, so it is only passed through. */
    static const struct dc_db_stmt echo = {"SELECT $1, $2 + 1", NULL};
    const struct dc_db_value values[] = {dc_db_int(INT64_MIN), dc_db_int(INT64_C(1) << 40)};
    struct got g = {0};

    fixture_open(f);
    run_one(f, DC_DB_READ, &echo, values, 2, &g, DC_OK);
    assert_true(g.num[0][0][0] == INT64_MIN);
    assert_true(g.num[0][0][1] == (INT64_C(1) << 40) + 1);
    got_free(&g);
}

static void null_comes_back_as_null_in_every_column(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value values[6] = {T("nothing"), dc_db_null(), dc_db_text(DC_SLICE_NULL),
                                          dc_db_null(), dc_db_null(), dc_db_null()};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    store(f, values, &g);
    for (size_t col = 1; col < 6; col++) {
        assert_null(g.text[0][0][col]);
        assert_true(g.num[0][0][col] == 0);
        assert_false(g.flag[0][0][col]);
        assert_true(g.utc_ms[0][0][col] == 0);
    }
    got_free(&g);
}

static void one_statement_takes_values_and_nulls_in_turn(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt coalesce = {
        "SELECT CASE WHEN CAST($1 AS text) IS NULL THEN 'none' ELSE 'some' END", NULL};
    const struct dc_db_value one[] = {dc_db_int(1)}, none[] = {dc_db_null()}, text[] = {T("x")};
    const struct dc_db_value *const turns[] = {one, none, text, none, one};

    fixture_open(f);
    for (size_t i = 0; i < DC_ARRAY_LEN(turns); i++) {
        struct got g = {0};
        run_one(f, DC_DB_READ, &coalesce, turns[i], 1, &g, DC_OK);
        assert_string_equal(g.text[0][0][0], turns[i] == none ? "none" : "some");
        got_free(&g);
    }
}

static void a_megabyte_of_text_comes_back(void **state)
{
    struct fixture *f = *state;
    size_t len = 1024 * 1024;
    char *big = dc_alloc(len);
    struct got g = {0};

    for (size_t i = 0; i < len; i++) {
        big[i] = (char)('a' + i % 26);
    }
    const struct dc_db_value values[6] = {
        T("big"),     dc_db_int(1), dc_db_text(dc_slice_make(big, len)),
        dc_db_null(), dc_db_null(), dc_db_null()};
    fixture_open(f);
    create_items(f);
    store(f, values, &g);
    assert_int_equal(strlen(g.text[0][0][2]), len);
    assert_memory_equal(g.text[0][0][2], big, len);
    got_free(&g);
    dc_free(big);
}

static void ten_thousand_rows_come_back(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt many = {
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 10000)"
        " SELECT x, 'row' FROM c",
        NULL};
    struct got g = {0};

    fixture_open(f);
    run_one(f, DC_DB_READ, &many, NULL, 0, &g, DC_OK);
    assert_int_equal(g.rows[0], 10000);
    assert_int_equal(g.num[0][7][0], 8);
    got_free(&g);
}

static void bad_values_are_refused_before_they_are_sent(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value bad[] = {
        dc_db_text(dc_slice_make("a\0b", 3)),         dc_db_text(dc_slice_make("\xff", 1)),
        dc_db_text(dc_slice_make("\xed\xa0\x80", 3)), /* a surrogate */
        dc_db_text(dc_slice_make("\xc0\x80", 2)),     /* NUL in two bytes */
        dc_db_text(dc_slice_make("\xd0", 1)),         /* cut */
        dc_db_json(dc_slice_make("\"\xfe\"", 3)),     dc_db_utc((struct dc_utc){253402300800000}),
        dc_db_utc((struct dc_utc){INT64_MIN}),
    };

    fixture_open(f);
    create_items(f);
    for (size_t i = 0; i < DC_ARRAY_LEN(bad); i++) {
        struct got g = {0};
        struct dc_op *op = NULL;
        struct dc_error err;
        const struct dc_db_value values[] = {bad[i], dc_db_int(1)};
        struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_WRITE);
        dc_db_batch_add(b, &insert_item, values, 2);
        assert_int_equal(dc_db_submit(b, got_cb, &g, &op, &err), DC_INVALID);
        assert_null(op);
        fixture_turns(f, 3);
        assert_false(g.is_done);
    }
    assert_int_equal(count_rows(f), 0);
}

static void a_unique_violation_is_a_conflict_that_names_the_constraint(void **state)
{
    struct fixture *f = *state;
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    run(f, item_batch(f, DC_DB_WRITE, "a", 1), &g);
    assert_int_equal(g.status, DC_OK);
    got_free(&g);
    run(f, item_batch(f, DC_DB_WRITE, "a", 2), &g);
    assert_int_equal(g.status, DC_CONFLICT);
    assert_string_equal(dc_error_text(&g.err),
                        f->place.is_postgres ? "item_slug_key" : "item.slug");
    assert_int_equal(count_rows(f), 1);
}

static void another_constraint_is_invalid_and_named(void **state)
{
    struct fixture *f = *state;
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    run(f, item_batch(f, DC_DB_WRITE, "a", -1), &g);
    assert_int_equal(g.status, DC_INVALID);
    assert_string_equal(dc_error_text(&g.err), "item_n_check");
}

static void a_missing_parent_is_invalid(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt create = {
        "CREATE TABLE child (slug text NOT NULL REFERENCES item (slug))", NULL};
    static const struct dc_db_stmt insert = {"INSERT INTO child VALUES ($1)", NULL};
    const struct dc_db_value slug[] = {T("nobody")}, none[] = {dc_db_null()};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    run_one(f, DC_DB_WRITE, &create, NULL, 0, &g, DC_OK);
    got_free(&g);
    run_one(f, DC_DB_WRITE, &insert, slug, 1, &g, DC_INVALID);
    got_free(&g);
    run_one(f, DC_DB_WRITE, &insert, none, 1, &g, DC_INVALID);
    got_free(&g);
}

static void on_conflict_do_nothing_returns_no_row(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt insert = {
        "INSERT INTO item (slug, n) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING n", NULL};
    const struct dc_db_value values[] = {T("a"), dc_db_int(5)};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    run_one(f, DC_DB_WRITE, &insert, values, 2, &g, DC_OK);
    assert_int_equal(g.rows[0], 1);
    assert_int_equal(g.num[0][0][0], 5);
    got_free(&g);
    run_one(f, DC_DB_WRITE, &insert, values, 2, &g, DC_OK);
    assert_int_equal(g.rows[0], 0);
    assert_int_equal(g.affected[0], 0);
    got_free(&g);
}

static void our_own_mistakes_are_internal_and_the_next_batch_is_fine(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt no_table = {"SELECT * FROM no_such_table", NULL};
    static const struct dc_db_stmt no_sql = {"SELEKT $1", NULL};
    static const struct dc_db_stmt two_params = {"SELECT $1, $2", NULL};
    static const struct dc_db_stmt two_statements = {"SELECT 1; SELECT 2", NULL};
    const struct dc_db_value one[] = {dc_db_int(1)};
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    for (unsigned i = 0; i < 3; i++) { /* a statement that cannot be prepared fails each time */
        run_one(f, DC_DB_READ, &no_table, NULL, 0, &g, DC_INTERNAL);
        got_free(&g);
        run_one(f, DC_DB_WRITE, &no_sql, one, 1, &g, DC_INTERNAL);
        got_free(&g);
        run_one(f, DC_DB_READ, &two_params, one, 1, &g, DC_INTERNAL);
        got_free(&g);
        run_one(f, DC_DB_READ, &two_statements, NULL, 0, &g, DC_INTERNAL);
        got_free(&g);
        assert_int_equal(count_rows(f), 0);
    }
}

static void a_statement_that_failed_works_once_its_table_is_there(void **state)
{
    struct fixture *f = *state;
    struct got g = {0};

    fixture_open(f);
    run_one(f, DC_DB_READ, &count_items, NULL, 0, &g, DC_INTERNAL);
    got_free(&g);
    create_items(f);
    assert_int_equal(count_rows(f), 0);
}

static void every_second_reader_of_a_missing_table_gets_its_own_error(void **state)
{
    struct fixture *f = *state;
    struct got good[8] = {{0}}, bad[8] = {{0}};
    static const struct dc_db_stmt ok = {"SELECT 7", NULL};

    /* All are in flight together; the bad ones share a statement that cannot be prepared. */
    fixture_open(f);
    for (size_t i = 0; i < 8; i++) {
        struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
        dc_db_batch_add(b, &ok, NULL, 0);
        submit(b, &good[i]);
        b = dc_db_batch_create(f->db, DC_DB_READ);
        dc_db_batch_add(b, &ok, NULL, 0);
        dc_db_batch_add(b, &count_items, NULL, 0);
        submit(b, &bad[i]);
    }
    for (size_t i = 0; i < 8; i++) {
        fixture_until(f, &good[i].is_done);
        fixture_until(f, &bad[i].is_done);
        assert_int_equal(good[i].status, DC_OK);
        assert_int_equal(good[i].num[0][0][0], 7);
        assert_int_equal(bad[i].status, DC_INTERNAL);
        got_free(&good[i]);
        got_free(&bad[i]);
    }
}

static void the_statements_of_one_read_see_one_moment(void **state)
{
    struct fixture *f = *state;
    const struct dc_db_value ms[] = {dc_db_int(300)};
    struct got read = {0}, write = {0};

    fixture_open(f);
    create_items(f);
    struct dc_db_batch *b = dc_db_batch_create(f->db, DC_DB_READ);
    dc_db_batch_add(b, &count_items, NULL, 0);
    dc_db_batch_add(b, &slow_read, ms, 1);
    dc_db_batch_add(b, &count_items, NULL, 0);
    submit(b, &read);
    fixture_turns(f, 5);
    run(f, item_batch(f, DC_DB_WRITE, "meanwhile", 1), &write);
    assert_int_equal(write.status, DC_OK);
    fixture_until(f, &read.is_done);
    assert_int_equal(read.status, DC_OK);
    assert_true(read.num[0][0][0] == read.num[2][0][0]);
    assert_int_equal(count_rows(f), 1);
    got_free(&read);
    got_free(&write);
}

static void a_cast_that_sqlite_would_swallow_is_an_error(void **state)
{
    struct fixture *f = *state;
    /* SQLite reads "$1::text" as a parameter of that name and would bind nothing to it. */
    static const struct dc_db_stmt cast = {"SELECT $1::text", NULL};
    const struct dc_db_value one[] = {T("x")};
    struct got g = {0};

    fixture_open(f);
    run_one(f, DC_DB_READ, &cast, one, 1, &g, f->place.is_postgres ? DC_OK : DC_INTERNAL);
    got_free(&g);
}

static void logs_name_the_statement_and_never_a_value(void **state)
{
    struct fixture *f = *state;
    static const struct dc_db_stmt bad = {"SELECT no_such_column FROM item WHERE slug = $1", NULL};
    const struct dc_db_value secret[] = {T("hunter2")};
    char text[4096];
    struct got g = {0};

    fixture_open(f);
    create_items(f);
    run_one(f, DC_DB_READ, &bad, secret, 1, &g, DC_INTERNAL);
    got_free(&g);
    run(f, item_batch(f, DC_DB_WRITE, "hunter2", 1), &g);
    got_free(&g);
    run(f, item_batch(f, DC_DB_WRITE, "hunter2", 1), &g);
    assert_int_equal(g.status, DC_CONFLICT);
    got_free(&g);
    run(f, item_batch(f, DC_DB_WRITE, "hunter2", -1), &g);
    assert_int_equal(g.status, DC_INVALID);
    ssize_t len = read(f->log_fd, text, sizeof(text) - 1);
    assert_true(len > 0);
    text[len] = '\0';
    assert_non_null(strstr(text, "db.statement_failed"));
    assert_non_null(strstr(text, "no_such_column"));
    assert_null(strstr(text, "hunter2"));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int db_batch_suite(void)
{
    const struct CMUnitTest cases[] = {
        CASE(a_failing_statement_undoes_its_whole_batch),
        CASE(results_come_in_the_order_of_the_statements),
        CASE(values_of_every_type_come_back_as_they_were),
        CASE(the_smallest_integer_comes_back),
        CASE(null_comes_back_as_null_in_every_column),
        CASE(one_statement_takes_values_and_nulls_in_turn),
        CASE(a_megabyte_of_text_comes_back),
        CASE(ten_thousand_rows_come_back),
        CASE(bad_values_are_refused_before_they_are_sent),
        CASE(a_unique_violation_is_a_conflict_that_names_the_constraint),
        CASE(another_constraint_is_invalid_and_named),
        CASE(a_missing_parent_is_invalid),
        CASE(on_conflict_do_nothing_returns_no_row),
        CASE(our_own_mistakes_are_internal_and_the_next_batch_is_fine),
        CASE(a_statement_that_failed_works_once_its_table_is_there),
        CASE(every_second_reader_of_a_missing_table_gets_its_own_error),
        CASE(the_statements_of_one_read_see_one_moment),
        CASE(a_cast_that_sqlite_would_swallow_is_an_error),
        CASE(logs_name_the_statement_and_never_a_value),
    };
    return cmocka_run_group_tests_name("batch", cases, NULL, NULL);
}
