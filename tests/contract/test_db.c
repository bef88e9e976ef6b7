/* Contract of the database port: the same cases over SQLite and PostgreSQL.
 *
 *   test_db sqlite
 *   test_db postgres    needs TEST_DATABASE_URL (script/with-postgres); without it the cases are
 *                       skipped (77), except where CI is true: there a skip must not hide
 *
 * "test_db write URL PATH" is a child that the suite starts and kills. */
#include "db_fixture.h"
#include "db_suites.h"
#include <string.h>

static int check_server(void)
{
    const char *ci = getenv("CI");

    if (getenv("TEST_DATABASE_URL") != NULL) {
        return 0;
    }
    fprintf(stderr, "TEST_DATABASE_URL is not set: no PostgreSQL to test with "
                    "(script/with-postgres starts one)\n");
    return ci != NULL && strcmp(ci, "true") == 0 ? 1 : 77;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "write") == 0) {
        return db_write_for_ever(argv[2][0] == '\0' ? NULL : argv[2], argv[3]);
    }
    bool is_postgres = argc == 2 && strcmp(argv[1], "postgres") == 0;
    int failed = 0;

    if (!is_postgres && (argc != 2 || strcmp(argv[1], "sqlite") != 0)) {
        fprintf(stderr, "usage: test_db sqlite|postgres\n");
        return 2;
    }
    if (is_postgres) {
        int rc = check_server();
        if (rc != 0) {
            return rc;
        }
    }
    place_use_postgres(is_postgres);
    failed += db_batch_suite();
    failed += db_queue_suite();
    failed += db_migrate_suite();
    failed += is_postgres ? db_postgres_suite() + db_lock_suite() : db_sqlite_suite();
    return failed == 0 ? 0 : 1;
}
