/* Inside of the link.  nats_link.c belongs to the loop, nats_conn.c to the library's and the pool's
 * threads; what both touch is said here. */
#ifndef DC_BUS_NATS_LINK_PRIV_H
#define DC_BUS_NATS_LINK_PRIV_H

#include "base/list.h"
#include "base/mem.h"
#include "bus/nats_link.h"
#include "bus/nats_url.h"
#include "rt/timer.h"
#include <nats/nats.h>

#define CONNECT_TIMEOUT_MS 2000
#define WRITE_DEADLINE_MS  2000
#define PING_INTERVAL_MS   5000
#define PINGS_OUT_MAX      2
#define LAST_FLUSH_MS      500

/* One connection, from its first attempt until the library has let go of it. */
struct dc_nats_conn {
    struct dc_nats_link *link; /* constant */
    natsConnection *nc;        /* jobs only, one at a time */
    struct dc_list commands;   /* loop: not given to a job yet */
    struct dc_list slots;      /* loop */
    bool is_busy;              /* loop: a job has it */
    bool is_ending;            /* loop: the next job is the last one */
    bool is_let_go;            /* loop: the last job has ended */
    bool is_closed;            /* loop: the library has said its last word */
};

struct dc_nats_slot {
    struct dc_list link;         /* conn.slots */
    struct dc_nats_conn *conn;   /* constant */
    enum dc_nats_slot_kind kind; /* constant */
    dc_nats_in_cb cb;            /* loop; NULL: nobody wants it any more */
    void *owner;
    natsSubscription *sub; /* jobs */
    bool is_unsure;        /* jobs: the library will not say that it is complete */
    bool is_given_back;    /* loop: nobody wants it; the command is on its way */
    bool has_gap;          /* under the queue's lock: dropped, and the loop does not know yet */
    bool is_released;      /* loop: the job that gives sub back has ended */
    bool is_complete;      /* loop: no callback of the library runs any more */
    size_t subject_len;
    char subject[]; /* with NUL */
};

enum dc_nats_command_kind { DC_NATS_PUBLISH, DC_NATS_SUBSCRIBE, DC_NATS_UNSUBSCRIBE };
struct dc_nats_command {
    struct dc_list link;
    enum dc_nats_command_kind kind;
    struct dc_nats_slot *slot; /* SUBSCRIBE, UNSUBSCRIBE */
    struct dc_blob *payload;   /* PUBLISH; NULL: none */
    size_t bytes;              /* what it counts for */
    const char *subject;       /* these three in texts, NUL-terminated; */
    const char *reply, *id;    /* NULL: none */
    char texts[];
};

/* What the library's threads say. */
enum dc_nats_event_kind {
    DC_NATS_MESSAGE,
    DC_NATS_GAP,      /* messages were dropped here */
    DC_NATS_COMPLETE, /* the last event of a slot */
    DC_NATS_ERROR,    /* text: what the server does not like */
    DC_NATS_CLOSED,   /* text: why.  The last event of a connection besides those of its slots */
};
struct dc_nats_event {
    struct dc_nats_event *next;
    enum dc_nats_event_kind kind;
    struct dc_nats_conn *conn;
    struct dc_nats_slot *slot;
    natsMsg *msg;
    char *text;
};
struct dc_nats_queue {
    uv_mutex_t lock;
    struct dc_nats_event *first, **end;
    size_t n_bounded, bounded_bytes; /* in the queue or taken and not handed out */
    uv_async_t wake;
};

enum dc_nats_link_state { LINK_WAITING, LINK_CONNECTING, LINK_UP, LINK_CLOSED };

struct dc_nats_link {
    struct dc_loop *loop;
    const struct dc_nats_link_events *events;
    void *data;
    struct dc_log *log;
    struct dc_nats_url url; /* constant, as are the files */
    char *credentials_file, *tls_ca_file, *tls_cert_file, *tls_key_file;
    struct dc_nats_queue queue;
    /* The rest belongs to the loop. */
    enum dc_nats_link_state state;
    struct dc_nats_conn *conn; /* NULL unless it is up */
    size_t n_conns;            /* this one and those that end */
    size_t server, n_tried;    /* the next one; attempts since the last pause */
    struct dc_backoff backoff;
    struct dc_timer timer;
    struct dc_turn turn;
    struct dc_nats_event *taken; /* out of the queue, not handed out */
    size_t sending_bytes;
    bool is_closing, is_timer_closed, is_wake_closed;
    char last_failure[160]; /* so that a long outage is no flood of lines */
    int64_t last_failure_ms;
};

/* nats_conn.c, on any thread */
void dc_nats_queue_push(struct dc_nats_link *l, struct dc_nats_event event);
void dc_nats_event_free(struct dc_nats_event *e);

/* An attempt to connect: on the pool. */
struct dc_nats_attempt {
    struct dc_nats_link *link;
    struct dc_nats_conn *conn;
    const struct dc_nats_server *server;
    struct dc_error err;
};
void dc_nats_attempt_run(void *attempt);
/* The files exist and hold what they should; on the loop, once, before the first attempt. */
DC_MUST_USE enum dc_status dc_nats_files_check(const struct dc_nats_link *l, struct dc_error *err);

/* A lot of commands: on the pool. */
struct dc_nats_job {
    struct dc_nats_conn *conn;
    struct dc_list commands;
    bool is_last; /* the connection is given back too */
};
void dc_nats_job_run(void *job);

#endif
