/* The parts of the database's contract suite; each returns the number of failed cases. */
#ifndef DC_TESTS_CONTRACT_DB_SUITES_H
#define DC_TESTS_CONTRACT_DB_SUITES_H

int db_batch_suite(void);    /* test_db_batch.c: one batch, its values and failures */
int db_queue_suite(void);    /* test_db_queue.c: groups, deadlines, cancelling, closing */
int db_migrate_suite(void);  /* test_db_migrate.c */
int db_sqlite_suite(void);   /* test_db_sqlite.c: what only a file can do */
int db_postgres_suite(void); /* test_db_postgres.c: what only a server can do */
int db_lock_suite(void);     /* test_db_lock.c: likewise */

/* The child of a case: inserts items for ever, writes one byte to stdout for each acknowledged one.
 */
int db_write_for_ever(const char *url, const char *path);

#endif
