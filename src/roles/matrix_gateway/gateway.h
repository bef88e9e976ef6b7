/* matrix-gateway: the one process that holds the homeserver's credentials (DESIGN §2,
 * specs/matrix-rooms-bridge).  Between the files of this role.
 *
 * Whom it acts as: the application service when MATRIX_AS_TOKEN is set and known to the homeserver;
 * else an administrator (SYNAPSE_ADMIN_TOKEN, or an account that it makes for itself with
 * SYNAPSE_REGISTRATION_SECRET).
 *
 * Tokens and secrets stay in struct dc_gateway: they are handed to src/matrix for a call and to
 * nothing else.  What the homeserver says in words goes into no answer and no log. */
#ifndef DC_ROLES_MATRIX_GATEWAY_GATEWAY_H
#define DC_ROLES_MATRIX_GATEWAY_GATEWAY_H

#include "base/ulid.h"
#include "matrix/matrix_calls.h"
#include "matrix/matrix_order.h"
#include "roles/role.h"

#define DC_GATEWAY_MISCONFIGURED "matrix_misconfigured"

enum dc_gateway_server {
    DC_SERVER_UNKNOWN, /* not asked yet */
    DC_SERVER_CONNECTED,
    DC_SERVER_ERROR,      /* somebody answers, but not as a homeserver does */
    DC_SERVER_UNAVAILABLE /* nobody answers, or too late */
};

enum dc_gateway_credential_state {
    DC_CREDENTIAL_NONE,    /* not configured */
    DC_CREDENTIAL_UNKNOWN, /* not tried yet */
    DC_CREDENTIAL_OK,
    DC_CREDENTIAL_REFUSED
};

struct dc_gateway_credential {
    enum dc_gateway_credential_state state;
    struct dc_strbuf token;
    struct dc_strbuf user_id; /* whose token it is, once known */
    char why[160];            /* REFUSED: what an operator should do */
};

/* Can the homeserver reach us at the URL of our registration? */
enum dc_gateway_push {
    DC_PUSH_OFF,     /* MATRIX_HS_TOKEN is not set: nobody may push */
    DC_PUSH_UNKNOWN, /* not asked yet, or it does not say */
    DC_PUSH_OK,
    DC_PUSH_UNREACHED
};

struct dc_gateway_names; /* names.h */
struct dc_matrix_pushed; /* matrix/matrix_push.h */
struct dc_peer;          /* roles/peer.h */

struct dc_gateway {
    struct dc_ctx *ctx;
    struct dc_matrix *matrix; /* NULL: SYNAPSE_URL is not set */
    struct dc_slice server_name;
    uint64_t timeout_ms;
    struct dc_gateway_credential as, admin;
    bool is_admin_from_secret; /* the admin token is made with SYNAPSE_REGISTRATION_SECRET */
    /* session.c */
    enum dc_gateway_server server;
    struct dc_error server_error; /* why it is not connected */
    struct dc_health_check *health;
    struct dc_timer check_timer;
    int64_t check_deadline_ms;
    bool is_checking, wants_admin;
    struct dc_list waiters;
    struct dc_strbuf password; /* of the administrator that is being made */
    /* push.c */
    struct dc_timer push_timer;
    enum dc_gateway_push push;
    bool is_pinging;
    size_t pushing;  /* transactions under way */
    bool was_pushed; /* one has come since the last check */
    /* pulse.c */
    struct dc_timer pulse_timer;
    bool is_reached;                /* the homeserver has come to this process */
    bool is_heard;                  /* and again since the last pulse */
    bool is_failing;                /* what was pushed last could not be taken */
    bool is_pulsing;                /* the room is being found, or one is being sent */
    bool is_pulse_due;              /* as soon as one can be sent */
    uint64_t pulse_wait_ms;         /* without a push, until the next one */
    struct dc_strbuf pulse_room_id; /* empty: not known */
    struct dc_ulid_gen pulse_ids;
    char pulse_id[DC_ULID_LEN + 1]; /* of the one that was sent last */
    struct dc_counter *pulses_sent, *pulses_failed;
    struct dc_gauge *push_in_doubt;
    /* rooms.c: flows that look again in a moment */
    struct dc_timeouts *recheck;
    /* accounts.c */
    struct dc_list provisioning;
    struct dc_timeouts *renewals; /* of claims */
    /* transactions.c */
    struct dc_peer *city; /* NULL: nobody may push, or the gateway is stopping */
    struct dc_gateway_names *names;
    struct dc_matrix_order order; /* of what is pushed */
    struct dc_counter *events_messages, *events_empty, *events_encrypted, *events_odd;
    struct dc_counter *transactions, *transactions_failed, *transactions_ahead;
    struct dc_counter *rooms_created, *rooms_found, *accounts_created, *tokens_issued;
    struct dc_counter *messages_sent;
    /* role.c */
    size_t pending; /* what must end before the state may go */
    bool is_stopping;
    void (*stopped)(void *data);
    void *stopped_data;
};

/* role.c: counts what is under way. */
void dc_gateway_begin(struct dc_gateway *g);
void dc_gateway_end(struct dc_gateway *g);

/* One request that asks the homeserver something: memory of the request, one deadline for all of
 * its steps.  First member of what the handlers keep. */
struct dc_gateway_flow {
    struct dc_gateway *g;
    struct dc_http_request *r;
    int64_t deadline_ms;   /* monotonic */
    bool is_callers_token; /* the homeserver is asked with a token that the caller gave */
    struct dc_list wait_link;
    void (*resume)(struct dc_gateway_flow *flow);
};
/* Checks the internal key and the configuration and makes room for the handler's state (size bytes,
 * the flow first).  NULL: the request has been answered. */
DC_MUST_USE struct dc_gateway_flow *dc_gateway_flow_begin(struct dc_gateway *g,
                                                          struct dc_http_request *r, size_t size);
/* Each of these answers and ends the flow, whose memory is then gone. */
void dc_gateway_reply(struct dc_gateway_flow *flow, struct dc_strbuf *json);
/* retry_after_ms: for 429, -1 when unknown.  When a token of ours was refused the session looks
 * again, and the caller, who cannot help it, gets matrix_misconfigured. */
void dc_gateway_fail(struct dc_gateway_flow *flow, const struct dc_error *err,
                     int64_t retry_after_ms);
/* A flow that a client's own mistake ended: problems as in dc_request_fail_field(). */
void dc_gateway_fail_field(struct dc_gateway_flow *flow, const char *field_z, const char *code_z,
                           const char *detail_z);
/* After a step: one that could not be asked (st is not DC_OK) ends the flow. */
void dc_gateway_ask(struct dc_gateway_flow *flow, enum dc_status st, const struct dc_error *err);
/* The room's id in the path, borrowed from the request.  false: it is none, and the flow has ended.
 */
DC_MUST_USE bool dc_gateway_take_room_id(struct dc_gateway_flow *flow, struct dc_slice *room_id);
/* How to call for this flow, with what is left of its time. */
struct dc_matrix_how dc_gateway_how(struct dc_gateway_flow *flow, struct dc_matrix_auth auth,
                                    dc_matrix_cb cb);

/* session.c */
void dc_gateway_session_start(struct dc_gateway *g);
/* Ends timers; a check under way ends by itself. */
void dc_gateway_session_stop(struct dc_gateway *g);
/* Frees and wipes; nothing is under way any more. */
void dc_gateway_session_free(struct dc_gateway *g);
/* Runs flow->resume once somebody can be acted as, or once a check has shown that nobody can; at
 * once when that is known.  needs_admin: as an administrator. */
void dc_gateway_when_known(struct dc_gateway_flow *flow, bool needs_admin,
                           void (*resume)(struct dc_gateway_flow *flow));
/* Something went wrong with the homeserver: look now, not at the next turn. */
void dc_gateway_check_now(struct dc_gateway *g);
/* Says on /healthz what is known. */
void dc_gateway_tell_health(struct dc_gateway *g);

/* push.c */
void dc_gateway_push_start(struct dc_gateway *g);
/* Ends the timer. */
void dc_gateway_push_stop(struct dc_gateway *g);
/* A transaction or a ping has come, so the homeserver reaches us. */
void dc_gateway_push_reached(struct dc_gateway *g);
/* The homeserver is away: nobody knows whether it reaches us. */
void dc_gateway_push_lost(struct dc_gateway *g);
/* With each check: asks for a ping if nothing was pushed since the last one. */
void dc_gateway_push_check(struct dc_gateway *g);
/* Has the homeserver push again, in a moment, what it has just been refused. */
void dc_gateway_push_again(struct dc_gateway *g);

/* pulse.c */
void dc_gateway_pulse_start(struct dc_gateway *g);
/* Ends the timer; a pulse under way ends by itself. */
void dc_gateway_pulse_stop(struct dc_gateway *g);
void dc_gateway_pulse_free(struct dc_gateway *g);
/* Something has come: if there is doubt, a pulse is sent when it has been quiet for a while. */
void dc_gateway_pulse_look(struct dc_gateway *g);
/* The same, once what has come has been taken, or could not be. */
void dc_gateway_pulse_after(struct dc_gateway *g, bool is_taken);
/* The homeserver, or the way to it or back, was away: there is doubt. */
void dc_gateway_pulse_doubt(struct dc_gateway *g);
/* The homeserver has come to this process, by a transaction or a ping. */
void dc_gateway_pulse_reached(struct dc_gateway *g);
/* Is the event the pulse that was sent last? */
bool dc_gateway_pulse_is_in(const struct dc_gateway *g, const struct dc_matrix_pushed *event);

/* session.c */
/* Who to act as. DC_UNAVAILABLE (matrix_unavailable, matrix_misconfigured) when there is nobody. */
DC_MUST_USE enum dc_status dc_gateway_auth(const struct dc_gateway *g, struct dc_matrix_auth *auth,
                                           struct dc_error *err);
DC_MUST_USE enum dc_status dc_gateway_admin_auth(const struct dc_gateway *g,
                                                 struct dc_matrix_auth *auth, struct dc_error *err);
bool dc_gateway_has_as(const struct dc_gateway *g);
/* To act as the application service and nobody else: chat_not_bridged when there is none. */
DC_MUST_USE enum dc_status dc_gateway_as_auth(const struct dc_gateway *g,
                                              struct dc_matrix_auth *auth, struct dc_error *err);
/* The application service, our administrator, or one of MATRIX_ROOM_CREATORS. */
bool dc_gateway_is_ours(const struct dc_gateway *g, struct dc_slice matrix_user_id);
/* DC_OK, or DC_CONFIG naming the setting that is missing or wrong. */
DC_MUST_USE enum dc_status dc_gateway_read_settings(struct dc_gateway *g, struct dc_error *err);

/* rooms.c: for dc_timeouts_create(). */
void dc_gateway_recheck_room(void *data, struct dc_timeout *t);

/* rooms.c, room_show.c, tokens.c, owners.c, presence.c, send.c: handlers of the routes in role.c.
 */
void dc_gateway_create_room(void *ctx, struct dc_http_request *r);
void dc_gateway_find_room(void *ctx, struct dc_http_request *r);
void dc_gateway_show_room(void *ctx, struct dc_http_request *r);
void dc_gateway_issue_token(void *ctx, struct dc_http_request *r);
void dc_gateway_find_owners(void *ctx, struct dc_http_request *r);
void dc_gateway_set_presence(void *ctx, struct dc_http_request *r);
void dc_gateway_send_message(void *ctx, struct dc_http_request *r);

#endif
