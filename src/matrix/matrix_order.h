/* In what order a homeserver pushes transactions, and whether it has left one behind.  Pure.
 *
 * While it cannot reach us, Synapse stores transactions; once one has been taken again, it sends
 * what is stored, the oldest first, and goes on as before.  A transaction that is made in the
 * moment in which it finds nothing more to send is stored and not sent: it waits for the next
 * failure, and what is said later comes before it (docs/decisions/0011: one recovery in five, when
 * people speak all the time).  So does one that was made when Synapse was killed.  Their ids are
 * numbered one by one, so we see it: what comes behind a missing one is refused once.  That is a
 * failure, after which everything comes in order.  What comes first after our start is refused
 * once too: what it comes behind, nobody knows.
 *
 * A number can also be missing for good: Synapse numbers the transactions of all application
 * services together, and one may be lost in its database.  Then nothing turns up, and after some
 * attempts gaps are believed until there is a new reason for doubt.
 *
 * What was left behind last is shown by nothing, as long as nobody speaks.  So we say something
 * ourselves, a pulse, when it has been quiet for a while, until one comes back that has nothing
 * missing before it: while it is quiet the homeserver has nothing to catch up with, and sends
 * directly, in order. */
#ifndef DC_MATRIX_MATRIX_ORDER_H
#define DC_MATRIX_MATRIX_ORDER_H

#include "base/slice.h"

/* Refusals in a row that find nothing. */
#define DC_MATRIX_ORDER_PATIENCE 3

struct dc_matrix_order {
    bool has_last;
    uint64_t last;     /* the one that was taken last */
    uint64_t refused;  /* with what came to light after it; 0: none */
    unsigned patience; /* gaps that are still doubted */
    bool is_sure;      /* nothing has been left behind; else a pulse is wanted */
    bool is_pulse_out; /* one is on its way, and there was no doubt since */
    uint64_t come;     /* transactions so far */
    uint64_t come_before_pulse;
};

void dc_matrix_order_init(struct dc_matrix_order *order);
/* One has come.  May it be taken?  false: one before it is missing; refuse it, and it comes again.
 * Ids that are no numbers, which other homeservers have, are not judged. */
DC_MUST_USE bool dc_matrix_order_is_next(struct dc_matrix_order *order, struct dc_slice txn_id);
/* It has been taken.  has_pulse: the pulse that was sent last is in it. */
void dc_matrix_order_taken(struct dc_matrix_order *order, struct dc_slice txn_id, bool has_pulse);
/* One could not be taken: the homeserver stores what follows, so that the next one may be left. */
void dc_matrix_order_failed(struct dc_matrix_order *order);
/* The homeserver was away: what it was about to send may lie there. */
void dc_matrix_order_doubt(struct dc_matrix_order *order);
/* A pulse is being sent. */
void dc_matrix_order_pulse(struct dc_matrix_order *order);

#endif
