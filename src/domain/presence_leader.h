/* Who may publish presence: the side of one candidate, without I/O.  All candidates ask for one
 * lease of the key-value store, again and again; whoever holds it leads.
 *
 * The rule is one line: a leader may publish until a moment on its own monotonic clock, and that
 * moment is moved only by proof.  Proof is
 *   - an answer of the store that the lease is ours, valid from when we asked;
 *   - while the store does not answer at all (so that nobody else can get the lease): our own
 *     sign of life come back over the bus, valid from when we sent it.  So a leader goes on when
 *     the store is down, and ends when it is itself that is cut off.
 * A process that was stopped, or cut off from both, finds the moment passed before it publishes
 * anything.  Somebody else's lease, or a sign of life with a higher term, ends it at once.
 *
 * A lease counts for nine tenths of its length, so that clocks may differ a little. */
#ifndef DC_DOMAIN_PRESENCE_LEADER_H
#define DC_DOMAIN_PRESENCE_LEADER_H

#include "base/status.h"
#include "base/time.h"

struct dc_presence_leader {
    int64_t lease_ms;
    int64_t valid_until_ms; /* by the store */
    int64_t echo_until_ms;  /* by the bus */
    int64_t asked_at_ms, next_ask_ms;
    int64_t token; /* of the lease while leading */
    bool is_asking, is_leading;
    bool is_store_failing; /* the last answer was none */
};

enum dc_leader_change {
    DC_LEADER_SAME,
    DC_LEADER_GAINED,
    DC_LEADER_RENEWED, /* still leading, with another token: the store had lost the lease */
    DC_LEADER_LOST,
};

/* lease_ms >= 10. */
void dc_presence_leader_init(struct dc_presence_leader *l, int64_t lease_ms, struct dc_mono now);
/* How often the store is asked: 3/10 of the lease. */
int64_t dc_presence_leader_every_ms(const struct dc_presence_leader *l);

/* It is time to ask for the lease; one question at a time. */
bool dc_presence_leader_should_ask(const struct dc_presence_leader *l, struct dc_mono now);
void dc_presence_leader_asked(struct dc_presence_leader *l, struct dc_mono now);
/* st: DC_OK with the fencing token; DC_CONFLICT: another holds it; else the store is away. */
enum dc_leader_change dc_presence_leader_answered(struct dc_presence_leader *l, enum dc_status st,
                                                  int64_t token, struct dc_mono now);
/* Our own sign of life has come back. */
void dc_presence_leader_echoed(struct dc_presence_leader *l, struct dc_mono sent_at);
/* Another leads, beyond doubt, or we resign. */
enum dc_leader_change dc_presence_leader_resign(struct dc_presence_leader *l);
/* The other leader has said that it goes. */
void dc_presence_leader_hurry(struct dc_presence_leader *l, struct dc_mono now);

/* Before anything is published, with a fresh reading of the clock. */
bool dc_presence_leader_may_publish(const struct dc_presence_leader *l, struct dc_mono now);
/* By the store itself, not only by the bus. */
bool dc_presence_leader_is_confirmed(const struct dc_presence_leader *l, struct dc_mono now);
/* Ends a leadership whose time is over. */
enum dc_leader_change dc_presence_leader_tick(struct dc_presence_leader *l, struct dc_mono now);
/* When there is something to do next: a question or an end. INT64_MAX: an answer is awaited. */
int64_t dc_presence_leader_next_due_ms(const struct dc_presence_leader *l);

#endif
