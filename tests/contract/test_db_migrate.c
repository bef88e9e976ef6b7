/* Migrations, on both engines: files are written into a directory of the case. */
#include "base/mem.h"
#include "db/migrate.h"
#include "db_fixture.h"
#include "db_suites.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct migrating {
    struct place place;
    char dir[64], folder[96];
    struct dc_strbuf report;
    struct dc_error err;
};

static int setup(void **state)
{
    struct migrating *m = dc_calloc(1, sizeof(*m));

    alarm(60);
    place_create(&m->place);
    snprintf(m->dir, sizeof(m->dir), "/tmp/dc-test-migrations.XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    snprintf(m->folder, sizeof(m->folder), "%s/%s", m->dir,
             m->place.is_postgres ? "postgres" : "sqlite");
    assert_int_equal(mkdir(m->folder, 0700), 0);
    *state = m;
    return 0;
}

static void path_of(const struct migrating *m, const char *name, char out[192])
{
    snprintf(out, 192, "%s/%s", m->folder, name);
}

static void put(struct migrating *m, const char *name, const char *sql)
{
    char path[192];
    path_of(m, name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(sql, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void take_away(struct migrating *m, const char *name)
{
    char path[192];
    path_of(m, name, path);
    assert_true(unlink(path) == 0 || errno == ENOENT);
}

static const char *const names[] = {"001_first.sql",  "002_second.sql", "003_third.sql",
                                    "004_fourth.sql", "0005_odd.sql",   "001_other.sql"};

static int teardown(void **state)
{
    struct migrating *m = *state;

    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        take_away(m, names[i]);
    }
    assert_int_equal(rmdir(m->folder), 0);
    assert_int_equal(rmdir(m->dir), 0);
    place_remove(&m->place);
    dc_strbuf_free(&m->report);
    dc_free(m);
    alarm(0);
    return 0;
}

static enum dc_status migrate(struct migrating *m, bool check_only)
{
    const struct dc_migrate_opts opts = {
        .url = m->place.is_postgres ? m->place.url : NULL,
        .path = m->place.is_postgres ? NULL : m->place.path,
        .dir = m->dir,
        .check_only = check_only,
    };

    dc_strbuf_clear(&m->report);
    m->err = (struct dc_error){0};
    enum dc_status st = dc_migrate(&opts, &m->report, &m->err);
    dc_strbuf_add_char(&m->report, '\0');
    assert_true(dc_strbuf_ok(&m->report));
    if (st != DC_OK) {
        assert_int_equal(m->err.status, st);
        assert_string_not_equal(dc_error_text(&m->err), dc_status_text(st)); /* says what */
    }
    return st;
}

static void expect_text(const struct migrating *m, const char *part)
{
    if (strstr(dc_error_text(&m->err), part) == NULL) {
        print_error("\"%s\" is not in \"%s\"\n", part, dc_error_text(&m->err));
        fail();
    }
}

static void expect_count(const struct migrating *m, const char *table, const char *want)
{
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
    char *n = place_query(&m->place, sql);
    assert_string_equal(n, want);
    dc_free(n);
}

static void two_files(struct migrating *m)
{
    put(m, names[0],
        "CREATE TABLE room (id text PRIMARY KEY);\n-- a comment; with ';'\n"
        "INSERT INTO room VALUES ('plaza; central');");
    put(m, names[1], "CREATE TABLE message (id text PRIMARY KEY, room text REFERENCES room (id));");
}

static void files_are_applied_once_in_order(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    assert_int_equal(migrate(m, false), DC_OK);
    assert_string_equal(m->report.ptr, "applied 001_first\napplied 002_second\n");
    expect_count(m, "room", "1");
    expect_count(m, "message", "0");
    assert_int_equal(migrate(m, false), DC_OK);
    assert_string_equal(m->report.ptr, "");
    expect_count(m, "room", "1");
    put(m, names[2], "INSERT INTO room VALUES ('third');");
    assert_int_equal(migrate(m, false), DC_OK);
    assert_string_equal(m->report.ptr, "applied 003_third\n");
    expect_count(m, "schema_migrations", "3");
}

static void no_files_are_nothing_to_do(void **state)
{
    struct migrating *m = *state;

    assert_int_equal(migrate(m, false), DC_OK);
    assert_string_equal(m->report.ptr, "");
}

static void a_file_changed_after_it_was_applied_is_an_error(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    assert_int_equal(migrate(m, false), DC_OK);
    put(m, names[1], "CREATE TABLE other (id text);");
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_text(m, "002_second");
    expect_text(m, "changed");
    assert_int_equal(migrate(m, true), DC_CONFIG);
}

static void a_gap_in_the_files_is_an_error(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    put(m, names[3], "SELECT 1;");
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_text(m, "003");
    take_away(m, names[3]);
    take_away(m, names[0]);
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_text(m, "001");
}

static void two_files_of_one_number_are_an_error(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    put(m, "001_other.sql", "SELECT 1;");
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_text(m, "001");
}

static void a_file_with_an_odd_name_is_an_error(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    put(m, "0005_odd.sql", "SELECT 1;");
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_text(m, "0005_odd.sql");
}

static void a_gap_in_the_database_is_an_error(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    put(m, names[2], "SELECT 1;");
    assert_int_equal(migrate(m, false), DC_OK);
    place_exec(&m->place, "DELETE FROM schema_migrations WHERE number = 2");
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_text(m, "003");
}

static void a_database_newer_than_the_files_is_an_error(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    assert_int_equal(migrate(m, false), DC_OK);
    take_away(m, names[1]);
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_text(m, "newer");
    assert_int_equal(migrate(m, true), DC_CONFIG);
}

static void a_check_applies_nothing_and_tells_what_is_pending(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    assert_int_equal(migrate(m, true), DC_CONFLICT);
    assert_string_equal(m->report.ptr, "pending 001_first\npending 002_second\n");
    if (!m->place.is_postgres) {
        assert_int_equal(access(m->place.path, F_OK), -1); /* not even the file */
    }
    assert_int_equal(migrate(m, false), DC_OK);
    assert_int_equal(migrate(m, true), DC_OK);
    assert_string_equal(m->report.ptr, "");
    put(m, names[2], "CREATE TABLE third (id text);");
    assert_int_equal(migrate(m, true), DC_CONFLICT);
    assert_string_equal(m->report.ptr, "pending 003_third\n");
}

static void broken_sql_undoes_the_whole_file_and_keeps_those_before(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    put(m, names[2],
        "CREATE TABLE third (id text); INSERT INTO room VALUES ('x'); SELEKT nonsense;");
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_text(m, "003_third");
    assert_string_equal(m->report.ptr, "applied 001_first\napplied 002_second\n");
    expect_count(m, "room", "1");
    expect_count(m, "schema_migrations", "2");
    put(m, names[2], "CREATE TABLE third (id text);");
    assert_int_equal(migrate(m, false), DC_OK);
    expect_count(m, "third", "0");
}

static void a_file_that_commits_by_itself_is_an_error(void **state)
{
    struct migrating *m = *state;

    put(m, names[0], "CREATE TABLE room (id text); COMMIT;");
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_text(m, "001_first");
}

static void a_file_that_breaks_references_is_an_error(void **state)
{
    struct migrating *m = *state;

    two_files(m);
    put(m, names[2], "INSERT INTO message VALUES ('m', 'no such room');");
    assert_int_equal(migrate(m, false), DC_CONFIG);
    expect_count(m, "message", "0");
}

static void several_processes_at_once_apply_each_file_once(void **state)
{
    struct migrating *m = *state;
    enum { N = 4 };
    pid_t pids[N];

    two_files(m);
    put(m, names[2], "INSERT INTO room VALUES ('once');");
    for (size_t i = 0; i < N; i++) {
        pids[i] = fork();
        assert_int_not_equal(pids[i], -1);
        if (pids[i] == 0) {
            enum dc_status st = migrate(m, false);
            if (st != DC_OK) {
                fprintf(stderr, "%s\n", dc_error_text(&m->err));
            }
            _exit(st == DC_OK ? 0 : 1);
        }
    }
    for (size_t i = 0; i < N; i++) {
        int status = 0;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    expect_count(m, "room", "2");
    expect_count(m, "schema_migrations", "3");
}

static void a_place_that_cannot_be_opened_is_an_error(void **state)
{
    struct migrating *m = *state;
    char url[512];
    struct dc_migrate_opts opts = {.path = "/no/such/directory/city.sqlite", .dir = m->dir};

    if (m->place.is_postgres) {
        place_url_with("wrong", NULL, url, sizeof(url));
        opts = (struct dc_migrate_opts){.url = url, .dir = m->dir};
        assert_int_equal(dc_migrate(&opts, NULL, &m->err), DC_CONFIG);
        assert_null(strstr(dc_error_text(&m->err), "wrong@"));
        place_url_with(NULL, "no_such_database", url, sizeof(url));
        assert_int_equal(dc_migrate(&opts, NULL, &m->err), DC_CONFIG);
        snprintf(url, sizeof(url), "postgresql://127.0.0.1:1/x");
        assert_int_equal(dc_migrate(&opts, NULL, &m->err), DC_UNAVAILABLE);
        snprintf(url, sizeof(url), "mysql://127.0.0.1/x");
    }
    assert_int_equal(dc_migrate(&opts, NULL, &m->err), DC_CONFIG);
    opts.dir = "/no/such/directory";
    assert_int_equal(dc_migrate(&opts, NULL, &m->err), DC_CONFIG);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int db_migrate_suite(void)
{
    const struct CMUnitTest cases[] = {
        CASE(files_are_applied_once_in_order),
        CASE(no_files_are_nothing_to_do),
        CASE(a_file_changed_after_it_was_applied_is_an_error),
        CASE(a_gap_in_the_files_is_an_error),
        CASE(two_files_of_one_number_are_an_error),
        CASE(a_file_with_an_odd_name_is_an_error),
        CASE(a_gap_in_the_database_is_an_error),
        CASE(a_database_newer_than_the_files_is_an_error),
        CASE(a_check_applies_nothing_and_tells_what_is_pending),
        CASE(broken_sql_undoes_the_whole_file_and_keeps_those_before),
        CASE(a_file_that_commits_by_itself_is_an_error),
        CASE(a_file_that_breaks_references_is_an_error),
        CASE(several_processes_at_once_apply_each_file_once),
        CASE(a_place_that_cannot_be_opened_is_an_error),
    };
    return cmocka_run_group_tests_name("migrate", cases, NULL, NULL);
}
