/* Whom a homeserver is to be told of next (specs/presence-heartbeat, matrix/FACTS.md §4-5).  It
 * forgets a presence that is not renewed, refuses one person's renewals that come too close, and
 * takes only so many requests a second in all.  So:
 *
 *   - a token bucket of per_s requests a second, one second deep; at most max_flying at a time
 *   - changes before renewals, the oldest first; a person who changes while he waits is told once,
 *     with his newest status, at his old place; who changes back to what was told waits no more
 *   - who is here is renewed renew_ms after he was told last, or later when the budget is spent
 *   - 429: that person waits as long as the homeserver says; when it says so to several in a row,
 *     everybody does
 *   - it fails with one person: he alone is put off, for 1 s and each time longer, to 60 s, and
 *     takes his turn with the renewals then, so that he never keeps the others
 *   - it fails with five different people and nobody was told between them: it is broken for all.
 *     One at a time then, after 1 s and longer each time that it fails with one more, to 8 s, who
 *     has not failed first: so whoever can be told is asked soon, and everybody goes on
 *   - it cannot be reached: everybody waits, 1 s and longer each time, to 60 s, and one asks; who
 *     has asked waits for himself too, so the next time it is another
 *   - nobody knows an account of his: he is left alone for absent_ms, and it costs no budget
 *
 * Only one of several processes may tell (the leader); the others keep the same lists, so that each
 * can begin at once.  What a former leader has told is not known: everybody who is here is renewed
 * then.
 *
 * Pure; every call costs O(log n), dc_presence_push_next() as often as somebody has become due. Ids
 * as in domain/presence.h; times are monotonic milliseconds and never go back. */
#ifndef DC_DOMAIN_PRESENCE_PUSH_H
#define DC_DOMAIN_PRESENCE_PUSH_H

#include "domain/presence.h"

struct dc_presence_push;

struct dc_presence_push_opts {
    uint32_t per_s;
    uint32_t max_flying;
    int64_t renew_ms;  /* 20,000 */
    int64_t absent_ms; /* 300,000 */
    size_t max_people; /* further ones are not told, and counted */
    uint64_t hash_seed[2];
};

enum dc_presence_push_end {
    DC_PUSH_DONE,
    DC_PUSH_ABSENT,  /* he has no account */
    DC_PUSH_REFUSED, /* his account cannot be told: he is left alone as if he had none */
    DC_PUSH_LIMITED, /* 429 */
    DC_PUSH_FAILED,  /* with him, as it seems; perhaps done, perhaps not */
    DC_PUSH_CUT_OFF, /* nobody answers, or not in time: it is not about him; perhaps done too */
};

/* None of the numbers may be 0. */
struct dc_presence_push *dc_presence_push_create(const struct dc_presence_push_opts *opts);
/* NULL is allowed. */
void dc_presence_push_destroy(struct dc_presence_push *p);

/* Begins or ceases to tell.  What is under way when it ceases is still to be answered. */
void dc_presence_push_lead(struct dc_presence_push *p, bool is_leading, int64_t now_ms);
/* Nobody is told for so long: telling is of no use at all for the moment. */
void dc_presence_push_pause(struct dc_presence_push *p, int64_t until_ms);

/* His sessions say so now. */
void dc_presence_push_set(struct dc_presence_push *p, struct dc_slice user_id,
                          enum dc_presence_status status, int64_t now_ms);
/* He may have been told to be here by somebody who is gone: unless he is here, he is told to be
 * offline once.  undoubt: that is not necessary any more. */
void dc_presence_push_doubt(struct dc_presence_push *p, struct dc_slice user_id, int64_t now_ms);
void dc_presence_push_undoubt(struct dc_presence_push *p, struct dc_slice user_id);
/* He has an account after all. */
void dc_presence_push_found(struct dc_presence_push *p, struct dc_slice user_id, int64_t now_ms);

struct dc_presence_push_next {
    struct dc_slice user_id; /* borrowed until he has been answered */
    enum dc_presence_status status;
};
/* The next one to be told, which counts as under way then. False: nobody now. */
DC_MUST_USE bool dc_presence_push_next(struct dc_presence_push *p, int64_t now_ms,
                                       struct dc_presence_push_next *next);
/* Ends what dc_presence_push_next() has begun.  retry_after_ms: for LIMITED, -1 unknown. */
void dc_presence_push_answered(struct dc_presence_push *p, struct dc_slice user_id,
                               enum dc_presence_push_end how, int64_t retry_after_ms,
                               int64_t now_ms);
/* When next() may have somebody; INT64_MAX: not before something else happens. */
int64_t dc_presence_push_due_ms(const struct dc_presence_push *p);

/* What waits now for its turn. */
struct dc_presence_push_backlog {
    size_t changes, renewals; /* who has failed counts with the renewals */
    int64_t oldest_ms;        /* age; 0: nobody waits */
    enum dc_presence_push_why {
        DC_PUSH_BUDGET,
        DC_PUSH_SLOWED,
        DC_PUSH_FAILING, /* it answers, and fails with everybody */
        DC_PUSH_UNREACHABLE
    } why;
};
struct dc_presence_push_backlog dc_presence_push_backlog(const struct dc_presence_push *p,
                                                         int64_t now_ms);

struct dc_presence_push_counts {
    size_t people;
    uint64_t late;     /* told more than a second after their turn had come */
    uint64_t too_many; /* changes of people beyond max_people */
};
struct dc_presence_push_counts dc_presence_push_counts(const struct dc_presence_push *p);

#endif
