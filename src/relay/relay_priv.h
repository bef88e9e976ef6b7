/* Inside of the relay: relay.c (beginning, end, deleting), relay_lane.c (the short way),
 * relay_run.c (the long way). */
#ifndef DC_RELAY_RELAY_PRIV_H
#define DC_RELAY_RELAY_PRIV_H

#include "base/arena.h"
#include "relay/relay.h"

#define DC_RELAY_PAGE         128 /* rows of the long way at a time */
#define DC_RELAY_CAREFUL_PAGE 16  /* after a failure; published one by one */
/* Acknowledged rows whose delete is due.  What does not fit is published and deleted again. */
#define DC_RELAY_MAX_DONE 8192

/* A message that the bus has not acknowledged yet. */
struct dc_relay_flight {
    struct dc_list link;
    struct dc_relay *relay;
    struct dc_op *op;
    int64_t row_id;
    int64_t begun_ms;
    struct dc_relay_lane *lane; /* NULL, or the lane of the position */
    uint64_t position;
};

enum dc_relay_run_state { DC_RUN_IDLE, DC_RUN_READING, DC_RUN_PUBLISHING };

struct dc_relay_run {
    enum dc_relay_run_state state;
    struct dc_timer timer; /* the next read */
    bool is_waiting;       /* for the timer */
    int64_t last_read_ms;
    struct dc_op *op;  /* of the read */
    int64_t mark;      /* rows up to this id are to be published; 0: none */
    int64_t read_mark; /* of the read under way */
    bool wants_all;    /* whatever is there: the mark moves to the newest row */
    bool is_asking;    /* the read under way tells which one that is, for wants_all … */
    bool is_sweep;     /* … for the next sweep */
    int64_t swept;     /* newest row of the last sweep */
    /* The page. */
    struct dc_arena arena;
    struct dc_outbox_row rows[DC_RELAY_PAGE];
    size_t n, next, outstanding, window;
    bool has_failed;
    int64_t acked[DC_RELAY_PAGE];
    size_t n_acked;
    struct dc_backoff backoff;
};

struct dc_relay {
    struct dc_relay_opts opts;
    struct dc_loop *loop;
    struct dc_list flights; /* oldest first */
    size_t n_flights;
    struct dc_list lanes; /* that hold something */
    struct dc_timeouts *holds;
    size_t held_bytes;
    bool is_in_trouble; /* the bus has refused something: only the long way tries, with back-off */
    bool is_trouble_told;
    uint64_t relayed_in_trouble;
    struct dc_relay_run run;
    struct dc_timer sweep;
    /* Acknowledged, waiting for their delete. */
    int64_t done[DC_RELAY_MAX_DONE];
    size_t n_done, n_deleting; /* the first n_deleting are being deleted */
    struct dc_timer flush;
    bool is_flush_due; /* the timer runs */
    struct dc_backoff flush_backoff;
    /* The end. */
    bool is_closing, has_given_up;
    size_t n_timers;
    void (*closed)(void *data);
    void *closed_data;
    struct {
        struct dc_counter *direct, *relayed, *held, *left, *failed, *unpublishable;
        struct dc_gauge *waiting, *under_way;
    } m;
};

/* --- relay.c --- */

/* The bus has the message of this row. */
void dc_relay_done(struct dc_relay *r, int64_t row_id);
/* The message stays in the table, for the long way. */
void dc_relay_leave(struct dc_relay *r, int64_t row_id);
/* The bus has refused or lost something. */
void dc_relay_trouble(struct dc_relay *r, enum dc_status st, const struct dc_error *err);
/* true: no bus will ever take it. Logged and counted; the row is to be deleted. */
bool dc_relay_is_unpublishable(struct dc_relay *r, enum dc_status st, struct dc_slice subject,
                               int64_t row_id);
struct dc_relay_flight *dc_relay_flight_begin(struct dc_relay *r, int64_t row_id);
/* Frees it. */
void dc_relay_flight_end(struct dc_relay_flight *f);
/* Ends a relay that is closing, once nothing is under way. The last thing that a callback does. */
void dc_relay_maybe_close(struct dc_relay *r);

/* --- relay_lane.c --- */

/* Leaves to the table what is held. */
void dc_relay_leave_held(struct dc_relay *r, struct dc_relay_lane *lane);

/* --- relay_run.c --- */

void dc_relay_run_init(struct dc_relay *r);
/* The mark has moved, or trouble has begun: there is something to read, soon. */
void dc_relay_run_wake(struct dc_relay *r);
void dc_relay_run_sweep(struct dc_relay *r);
/* The relay is closing: the last read at once, or none. */
void dc_relay_run_finish(struct dc_relay *r);
/* No time is left. */
void dc_relay_run_give_up(struct dc_relay *r);
void dc_relay_run_deinit(struct dc_relay *r);

#endif
