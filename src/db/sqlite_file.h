/* Opening SQLite files, for the driver and for migrations. */
#ifndef DC_DB_SQLITE_FILE_H
#define DC_DB_SQLITE_FILE_H

#include "base/status.h"
#include <sqlite3.h>

enum dc_sqlite_mode { DC_SQLITE_WRITER, DC_SQLITE_READER };

/* Blocking. A writer creates the file (readable by its owner alone) and turns WAL on; a reader
 * cannot change anything.  synchronous=FULL: what has been committed survives a power cut, as each
 * commit waits for the disk. */
DC_MUST_USE enum dc_status dc_sqlite_open(const char *path, enum dc_sqlite_mode mode, sqlite3 **out,
                                          struct dc_error *err);
/* Runs statements without results. */
DC_MUST_USE int dc_sqlite_exec(sqlite3 *db, const char *sql);
/* Extended result code to status and text; names the columns of a unique constraint. */
enum dc_status dc_sqlite_fail(struct dc_error *err, sqlite3 *db, int rc);

#endif
