/* Inside of the Redis backend.
 *
 *   redis_backend.c   the port's door, the queue of calls, deadlines, cancelling, closing
 *   redis_verb.c      a call as a command, its answer as a result; the script
 *   redis_find.c      which server to talk to: back-off, sentinels, greeting, losing it
 *   redis_link.c      one connection: commands and answers
 *   redis_stream.c    its socket
 *   redis_tls.c       TLS between the two
 *   redis_reader.c    bytes as answers
 *   redis_refusal.c   what error answers mean
 *
 * Life of a call: queued -> sent -> ended and freed.  One whose caller was answered early
 * (deadline, cancelled) while it was under way stays, is_over, until its answer or the end of the
 * connection.
 */
#ifndef DC_KV_REDIS_PRIV_H
#define DC_KV_REDIS_PRIV_H

#include "kv/kv_priv.h"
#include "kv/redis_link.h"
#include "kv/redis_refusal.h"
#include "kv/redis_url.h"
#include "rt/timer.h"

#define DC_REDIS_SHA_LEN 40

enum redis_state {
    DC_REDIS_WAITING, /* for the next attempt */
    DC_REDIS_ASKING,  /* a sentinel */
    DC_REDIS_GREETING,
    DC_REDIS_READY,
    DC_REDIS_STOPPED,
};

enum redis_step {
    DC_REDIS_STEP_AUTH,
    DC_REDIS_STEP_SELECT,
    DC_REDIS_STEP_ROLE,
    DC_REDIS_STEP_PING,
    DC_REDIS_STEP_SCRIPT,
    DC_REDIS_STEP_MASTER, /* a sentinel's answer */
};
#define DC_REDIS_STEPS_MAX 5

struct redis;
struct redis_call {
    struct dc_kv_call base;
    struct redis *redis;
    struct dc_timeout deadline;
    struct dc_list canceled; /* redis.canceled */
    uint64_t made_us;
    int64_t sent_ms;
    bool is_sent, is_over;
    bool is_eval; /* sent with the whole script */
};

struct redis {
    struct dc_kv kv;
    struct dc_redis_url url;
    struct dc_redis_tls_ctx *tls; /* NULL: plain */
    uint64_t deadline_ms;
    struct dc_turn turn;

    /* Finding the server. */
    enum redis_state state;
    struct dc_timer timer; /* of the pause, or of an attempt */
    struct dc_backoff backoff;
    struct dc_redis_link *link; /* NULL while waiting */
    size_t n_links;             /* that are not freed */
    size_t sentinel;            /* the next one to ask */
    size_t n_asked, n_wrong;    /* in this attempt; those where the configuration is at fault */
    char *host;                 /* of the server */
    uint16_t port;
    enum redis_step steps[DC_REDIS_STEPS_MAX];
    size_t n_steps, step;           /* steps sent and answered */
    char sha[DC_REDIS_SHA_LEN + 1]; /* of the script; "": only as a whole */
    int64_t ready_at_ms;
    bool is_down; /* calls are refused at once */
    bool is_timer_closed;

    /* Calls. */
    struct dc_timeouts *deadlines;
    struct dc_list again, queued; /* to be sent, in this order */
    struct dc_list sent;
    bool is_holding;         /* sends nothing until all that was sent has been answered */
    struct dc_list canceled; /* by their callers, not answered */
    int64_t heard_ms;        /* the last answer */
    bool should_reconnect;
    struct dc_error reconnect_err;
    const struct dc_redis_refusal *standing; /* what the server refuses for the time being */
    enum dc_kv_verb standing_verb;
    struct dc_histogram *seconds;
    struct dc_counter *connects, *losses;
    struct dc_gauge *connected;
};

/* --- redis_find.c --- */
void redis_find_init(struct redis *r);
void redis_find_start(struct redis *r);
/* For good; redis_check_closed() when its handles are gone. */
void redis_find_stop(struct redis *r);

/* --- redis_backend.c --- */
/* There is a server: sends what waits. */
void redis_calls_ready(struct redis *r);
/* There is none (any more): ends all calls.  Callbacks run inside. */
void redis_calls_fail(struct redis *r, const struct dc_error *err);
void redis_call_answered(struct redis *r, struct redis_call *call, const redisReply *answer);
void redis_check_closed(struct redis *r);

/* --- redis_verb.c --- */
const char *redis_script_z(void);
bool redis_verb_has_script(enum dc_kv_verb verb);
/* false as dc_redis_link_send(). */
bool redis_verb_send(struct redis *r, struct redis_call *call);
/* members: room for DC_KV_TAKE_MAX.  DC_UPSTREAM: this is no answer to that. */
enum dc_status redis_verb_read(const struct redis_call *call, const redisReply *answer,
                               struct dc_slice *members, struct dc_kv_answer *out,
                               struct dc_error *err);

#endif
