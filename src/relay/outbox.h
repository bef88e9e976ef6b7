/* The outbox: what committed transactions owe to the bus (DESIGN §3 rule 2).  A transaction that
 * others must hear of inserts a row for each message that it owes; whoever has published it deletes
 * the row (relay.h).  SQL and readers of its rows; nothing here publishes.
 *
 * Ids ascend in the order of insertion.  Of one ordering key they ascend in the order of commits,
 * if the insert stands behind a lock that orders the transactions of that key (for a room: the row
 * of its head). */
#ifndef DC_RELAY_OUTBOX_H
#define DC_RELAY_OUTBOX_H

#include "db/db.h"

/* One row.  Slices are borrowed: batches copy them. */
struct dc_owed {
    struct dc_slice key; /* what has an order among its own, e.g. a room's id */
    uint64_t position;   /* place in the key's order, 1, 2, 3 …; 0: none */
    struct dc_slice subject, message_id, payload; /* as for dc_bus_publish() */
};
/* Adds the insert to a write batch; its result has one row with the id, dc_outbox_id(). */
void dc_outbox_add(struct dc_db_batch *b, const struct dc_owed *owed, struct dc_utc now);
/* For inserts that depend on what SQL knows alone (`… select …`): between the two stands a query
 * with the columns of the first.  Payloads are text, so that SQL can put a number into one. */
#define DC_OUTBOX_INSERT                                                                           \
    "insert into outbox (key, position, subject, message_id, payload, created_at) "
#define DC_OUTBOX_RETURNING " returning id"
/* The id of a row of such a result; 0: there is no such row. */
int64_t dc_outbox_id(const struct dc_db_result *r, size_t row);

/* Reads which keys have rows with a position: in one READ with a role's own state it tells what of
 * that state has been published for sure.  Looks at so many rows at most. */
#define DC_OUTBOX_KEYS_MAX_ROWS 10000
void dc_outbox_add_keys(struct dc_db_batch *b);
/* false: there are more rows than it looked at, so any key may have some. Else each key once. */
DC_MUST_USE bool dc_outbox_read_keys(const struct dc_db_result *r,
                                     void (*cb)(void *data, struct dc_slice key), void *data);

/* --- for the relay --- */

/* The oldest rows with id <= mark, by id. */
void dc_outbox_add_page(struct dc_db_batch *b, int64_t mark, size_t limit);
struct dc_outbox_row {
    int64_t id;
    struct dc_slice subject, message_id, payload; /* borrowed from the result */
};
void dc_outbox_read_row(const struct dc_db_result *r, size_t i, struct dc_outbox_row *row);
/* The newest id, dc_outbox_id(); 0: the table is empty. */
void dc_outbox_add_newest(struct dc_db_batch *b);
/* Rows that somebody else is deleting at this moment are passed over, so that nobody waits for
 * anybody: the affected count may be smaller than n.  n <= DC_OUTBOX_DELETE_MAX. */
#define DC_OUTBOX_DELETE_MAX 2048
void dc_outbox_add_delete(struct dc_db_batch *b, const int64_t *ids, size_t n);

#endif
