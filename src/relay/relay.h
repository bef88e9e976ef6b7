/* The relay: brings to the bus what committed transactions owe (outbox.h), at least once, in the
 * order of each key.  docs/decisions/0008-outbox.md has the reasons.
 *
 * The short way.  Who has committed hands the messages over in the callback of the commit
 * (dc_relay_publish); they go to the bus in that turn, without reading the table, and their rows
 * are deleted in bunches once the bus has acknowledged them.  A position p of a lane goes to the
 * bus only behind p-1: when this process has handed p-1 to the bus itself, or has heard it from
 * there (dc_relay_heard).  Else p is held for hold_ms; then it is left to the table.
 *
 * The long way.  What was left to the table, by this process (refused by the bus, held too long,
 * too much under way) or by one that died, is read from it in the order of ids and published: at
 * the start, soon after something was left (at most every wake_ms), and in a sweep now and then,
 * which takes rows that the sweep before it has seen too.  A row goes to the bus only behind those
 * of its key with smaller ids, because these are in the same page before it, or have been deleted,
 * which is done when they are in the bus.  After a failure it tries little at a time, with
 * back-off.
 *
 * As nobody publishes p before p-1, and the bus drops ids that it has seen, any number of relays
 * may work on one table.  A message may reach the bus again after its stream has forgotten its id:
 * readers know a repetition by position or id.  If the bus loses one of several messages that are
 * under way at the same time and keeps a later one, that one message comes late. */
#ifndef DC_RELAY_RELAY_H
#define DC_RELAY_RELAY_H

#include "bus/bus.h"
#include "relay/outbox.h"
#include "rt/timer.h"

struct dc_relay;

struct dc_relay_opts {
    struct dc_db *db;
    struct dc_bus *bus;
    struct dc_log *log; /* NULL allowed */
    struct dc_metrics *metrics;
    uint64_t hold_ms;   /* 0: 200 */
    uint64_t sweep_ms;  /* pause between sweeps, up to twice as long; 0: 1000 */
    uint64_t wake_ms;   /* between two reads that somebody asked for; 0: 33 */
    uint64_t delete_ms; /* acknowledged rows wait so long for their delete; 0: 100 */
    uint64_t stall_ms;  /* a bus that acknowledges nothing for so long is away; 0: 1000 */
};
/* Starts at once with what the table has. db and bus must outlive it. */
struct dc_relay *dc_relay_open(struct dc_loop *loop, const struct dc_relay_opts *opts);
/* Finishes what is under way: the bus has timeout_ms to acknowledge it, the rest stays in the
 * table.  closed runs once, in a later turn; then the relay is gone.  Nothing may be handed over
 * any more; lanes must live until then. */
void dc_relay_close(struct dc_relay *r, uint64_t timeout_ms, void (*closed)(void *data),
                    void *data);

/* One ordering key, embedded in what it orders (a room).  Positions are 1, 2, 3 … in the order of
 * commits, and belong to the first of the messages of a transaction. */
struct dc_relay_lane {
    bool is_known;    /* sure says something */
    uint64_t sure;    /* all up to this one are in the bus: heard, acknowledged */
    uint64_t handed;  /* given to the bus by this process */
    uint64_t left_to; /* newest one that was left to the table */
    size_t n_held;
    struct dc_list held; /* wait for the one before them */
    struct dc_timeout hold;
    struct dc_list link; /* lanes that hold something */
};
/* Knows nothing: its first position goes the long way unless something is heard before. */
void dc_relay_lane_init(struct dc_relay_lane *lane);
/* All positions up to this one are in the bus (0: there are none yet). */
void dc_relay_lane_known(struct dc_relay_lane *lane, uint64_t position);
/* The bus has brought this position: what waited for it is published. */
void dc_relay_heard(struct dc_relay *r, struct dc_relay_lane *lane, uint64_t position);

#define DC_RELAY_MAX_ITEMS 4
/* A message of a committed transaction. Slices are borrowed. */
struct dc_relay_item {
    int64_t row_id; /* dc_outbox_id() */
    /* As in the row; payload.ptr NULL: there was no memory for it, the row is left to the table. */
    struct dc_slice subject, message_id, payload;
};
/* The messages that one commit owes (n of them, at most DC_RELAY_MAX_ITEMS), in their order.  Of
 * one lane in the order of positions.  lane NULL: they have no order.  Never fails: what cannot be
 * published now stays in the table and is published later. */
void dc_relay_publish(struct dc_relay *r, struct dc_relay_lane *lane, uint64_t position,
                      const struct dc_relay_item *items, size_t n);
/* Rows may have been committed that nobody handed over (outcome_unknown), or the bus is back:
 * everything that is in the table by now is published. */
void dc_relay_doubt(struct dc_relay *r);

/* Bounds of what is kept in memory; past them rows are left to the table. */
#define DC_RELAY_MAX_UNDER_WAY    4096
#define DC_RELAY_MAX_HELD_BYTES   ((size_t)8 * 1024 * 1024)
#define DC_RELAY_MAX_HELD_OF_LANE 256

#endif
