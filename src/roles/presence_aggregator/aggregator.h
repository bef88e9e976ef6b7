/* matrix-presence-aggregator: what its files share.
 *
 *   native.c, native_http.c   the source: sessions from the gateways -> the core (domain/presence)
 *   matrix_source.h           the source: what a homeserver's /sync says -> the core; matrix_*.c
 *   heartbeat.c               the other way: what sessions say -> matrix-gateway -> the homeserver
 *   role.c                    life, time, and what the core reports
 *   leader.c                  the lease, signs of life, the phases
 *   mirror.c                  what the stream has, while a new leader compares
 *   sweep.c                   saying everything (again), in slices
 *   publish.c                 payloads; the one door to the bus, which looks at the clock first
 *   fade.c                    what the stream is to forget
 *   routes.c                  /status, /health
 *
 * Several aggregators run side by side, one in each worker of `up` for example.  All hear the
 * sources and keep the whole state; one of them leads and publishes.  Phases:
 *
 *   STANDBY  -- lease got -->  READING   what the stream has; gateways are asked for their sessions
 *   READING  -- all read -->   WAITING   for their answers: two fifths of the leader's lease (2 s),
 *                                        or no time at all if the stream shows nobody
 *   WAITING  -- over -->       LEADING   first says what differs (sweep.c), then what changes
 *   any      -- lease lost --> STANDBY
 *
 * An aggregator that does not even hear its own calls is deaf: the bus is away, or it has been
 * stopped itself.  From then on, and until the gateways have had
 * time to tell their sessions again, no lease ends: unknown is not offline.
 *
 * Who is online in the stream and was announced by nobody is held (DC_HELD_PREFIX), in the rooms
 * that name him, for what can be left of a session's lease, and then goes offline as anybody whose
 * gateway has died.  So a change of leaders makes nobody offline who is not, and no ghost lasts. */
#ifndef DC_ROLES_PRESENCE_AGGREGATOR_AGGREGATOR_H
#define DC_ROLES_PRESENCE_AGGREGATOR_AGGREGATOR_H

#include "base/ulid.h"
#include "domain/presence.h"
#include "domain/presence_leader.h"
#include "roles/presence_aggregator/fade.h"
#include "roles/presence_aggregator/source.h"
#include "roles/presence_event.h"
#include "roles/role.h"
#include "roles/session_event.h"

#define DC_AGG_MAX_USERS          1000000
#define DC_AGG_MAX_ROOMS          100000
#define DC_AGG_MAX_SESSIONS       1000000
#define DC_AGG_MAX_ROOMS_PER_USER 1000
#define DC_AGG_SOURCES            2
/* Of --workers=N, so many have an aggregator: one leads, one stands by
 * (docs/decisions/0010-listening-to-the-homeserver.md). */
#define DC_AGG_WORKERS 2

#define DC_AGG_EVENTS_HELP  "What sources have told: events of sessions, entries of /sync."
#define DC_AGG_REFUSED_HELP "What sources have told and could not be applied."

/* Sessions of people whom the stream shows and nobody has announced: this and the user_id. */
#define DC_HELD_PREFIX "held-"

enum dc_agg_phase { DC_AGG_STANDBY, DC_AGG_READING, DC_AGG_WAITING, DC_AGG_LEADING };

/* How much one turn of the loop may do, so that it takes less than 5 ms of any processor: a step is
 * about a message or a change of the core, some microseconds. */
#define DC_AGG_TURN_STEPS ((size_t)128)

struct dc_mirror;
struct dc_ms;
struct dc_heartbeat;
struct dc_ms;

/* Saying everything. Stages in order; a resynchronisation has some of them. */
enum dc_sweep_stage {
    DC_SWEEP_NONE,
    DC_SWEEP_HOLD_USERS, /* of the mirror */
    DC_SWEEP_HOLD_ROOMS,
    DC_SWEEP_USERS, /* of the core */
    DC_SWEEP_ROOMS,
    DC_SWEEP_LEFT_USERS, /* of the mirror: what the core does not know */
    DC_SWEEP_LEFT_ROOMS,
    DC_SWEEP_END,
};
struct dc_sweep {
    struct dc_turn turn;
    enum dc_sweep_stage stage;
    bool is_full;    /* rooms and users too, not only members; equal or not */
    bool restarts;   /* the walk of this stage has not begun */
    bool is_in_room; /* its members are being said */
    int64_t member_gen;
    size_t room_id_len;
    char room_id[DC_PRESENCE_ID_MAX];
    char slug[DC_PRESENCE_ID_MAX];
    size_t slug_len;
};

struct dc_aggregator {
    struct dc_ctx *ctx;
    struct dc_presence *core;
    char holder[DC_ULID_LEN + 1];
    /* role.c */
    struct dc_timer tick, clock;
    bool are_leases_held; /* as long as a source may miss renewals */
    size_t pending;       /* callbacks of kv that have not run, and timers that have not closed */
    bool is_stopping;
    void (*stopped)(void *data);
    void *stopped_data;
    void *sources[DC_AGG_SOURCES]; /* NULL: not configured */
    struct dc_ms *matrix;          /* the source Matrix, or NULL */
    /* Of the homeserver's change that is being applied, UTC; 0: of none, or not known. */
    struct {
        int64_t heard_ms, changed_ms;
    } cause;
    struct dc_fade user_fade, room_fade;
    /* leader.c */
    struct dc_presence_leader leader;
    enum dc_agg_phase phase;
    int64_t term, gen, member_gen;
    int64_t announced_ms, wait_until_ms, sign_due_ms;
    int64_t lag_ms;   /* of our last sign of life: to the bus and back */
    int64_t heard_ms; /* anything at all on the bus */
    struct dc_bus_sub *leader_sub, *resync_sub, *announce_sub, *call_sub;
    int64_t call_due_ms;
    struct dc_op *lease_op;
    bool is_store_failing;
    struct {
        bool is_known;
        char holder[DC_ULID_LEN + 1];
        int64_t term, heard_ms;
    } other; /* the leader, when we are not */
    /* mirror.c; NULL: not needed */
    struct dc_mirror *mirror;
    struct dc_list dead_users, dead_rooms; /* entries of former mirrors, freed in slices */
    struct dc_turn bury;
    struct dc_bus_sub *stream_sub; /* while leading: hears when the stream is gone */
    /* sweep.c */
    struct dc_sweep sweep;
    bool wants_full, wants_members;
    int64_t swept_ms;
    struct dc_fade held; /* people, with the ids of their held sessions */
    /* heartbeat.c; NULL: no homeserver is told anything */
    struct dc_heartbeat *heartbeat;
    /* publish.c */
    bool is_bus_failing;
    struct dc_counter *events_in, *refused, *published, *unpublished, *forgotten, *takeovers,
        *losses, *resyncs, *throttled;
    struct dc_gauge *online, *is_leader;
};

static inline struct dc_presence_now dc_agg_now(const struct dc_aggregator *a)
{
    return (struct dc_presence_now){dc_loop_now(a->ctx->loop), dc_utc_now()};
}

static inline int64_t dc_agg_now_ms(const struct dc_aggregator *a)
{
    return dc_loop_now(a->ctx->loop).ms;
}

static inline int64_t dc_agg_leader_lease_ms(const struct dc_aggregator *a)
{
    return dc_presence_leader_lease_ms(a->ctx->settings);
}

/* Every aggregator calls to itself over the bus so often, and is deaf when it hears nothing at all
 * for so long (0.5 s and 1.5 s). */
#define DC_AGG_DEAF_MIN_MS 500
static inline int64_t dc_agg_call_every_ms(const struct dc_aggregator *a)
{
    return dc_agg_leader_lease_ms(a) / 10;
}
static inline int64_t dc_agg_deaf_after_ms(const struct dc_aggregator *a)
{
    int64_t ms = 3 * dc_agg_call_every_ms(a);
    return ms > DC_AGG_DEAF_MIN_MS ? ms : DC_AGG_DEAF_MIN_MS;
}

/* What can be left of the lease of a session that nobody announces.  The lease of leadership has
 * passed since the leader before us was last heard, so it is shorter by as much. */
static inline int64_t dc_agg_hold_ms(const struct dc_aggregator *a)
{
    int64_t left_ms = a->ctx->settings->presence_lease_ms - dc_agg_leader_lease_ms(a);
    int64_t least_ms = dc_agg_leader_lease_ms(a) / 2;
    return left_ms > least_ms ? left_ms : least_ms;
}

/* How long gateways have to announce their sessions. */
static inline int64_t dc_agg_announce_wait_ms(const struct dc_aggregator *a)
{
    return dc_agg_leader_lease_ms(a) * 2 / 5;
}

/* --- role.c --- */

extern const struct dc_source *const dc_agg_sources[DC_AGG_SOURCES];
/* The core has been changed: its next tick may be another one. */
void dc_agg_fed(struct dc_aggregator *a);
/* There may be something to do earlier than the clock has been set for. */
void dc_agg_arm_clock(struct dc_aggregator *a);
void dc_agg_pending_end(struct dc_aggregator *a);
/* The worst of all that are configured. */
enum dc_source_state dc_agg_source_state(const struct dc_aggregator *a);
void dc_agg_refresh_sources(struct dc_aggregator *a);
/* Something has come from the bus. */
void dc_agg_heard(struct dc_aggregator *a);
const char *dc_agg_source_word(enum dc_source_state state);

/* --- leader.c --- */

DC_MUST_USE enum dc_status dc_agg_leader_start(struct dc_aggregator *a, struct dc_error *err);
/* Signs off and gives the lease back; dc_agg_pending_end() runs once it is. */
void dc_agg_leader_stop(struct dc_aggregator *a);
void dc_agg_leader_clock(struct dc_aggregator *a, struct dc_mono now);
int64_t dc_agg_leader_due_ms(const struct dc_aggregator *a);
/* Leading, by a fresh look at the clock; else, if we thought so, no longer. */
bool dc_agg_may_publish(struct dc_aggregator *a);
/* The mirror has read everything. */
void dc_agg_mirror_read(struct dc_aggregator *a);

/* --- mirror.c --- */

struct dc_mirror_user {
    struct dc_list link;
    struct dc_slice user_id, username;
    enum dc_presence_status status;
    int64_t gen;
    char *text;
};
struct dc_mirror_room {
    struct dc_list link;
    struct dc_slice slug;
    struct dc_slice payload; /* as it is in the stream */
    struct dc_slice state;   /* the part of it that counts */
    int64_t gen;
    char *text;
};
struct dc_mirror {
    struct dc_aggregator *a;
    struct dc_map users, rooms;
    struct dc_list todo_users, todo_rooms, done_users, done_rooms;
    struct dc_bus_sub *user_sub, *room_sub;
    bool have_users, have_rooms, have_totals; /* read to the end */
    int64_t term, gen;                        /* the highest */
    int64_t user_gen, room_gen;               /* of the markers; 0: there are none */
    bool has_somebody;                        /* somebody is not offline, or some room not empty */
    bool is_user_marker_back, is_room_marker_back;
    bool has_stranger; /* a former leader's word after ours: to be looked at again */
};
void dc_mirror_init(struct dc_aggregator *a);
/* The end of the role: what is left of former mirrors goes at once. */
void dc_mirror_free(struct dc_aggregator *a);
DC_MUST_USE enum dc_status dc_mirror_open(struct dc_aggregator *a, struct dc_error *err);
/* NULL-safe: a->mirror may be none. */
void dc_mirror_close(struct dc_aggregator *a);
/* Also the subscription that stays while leading. */
void dc_mirror_stop_stream(struct dc_aggregator *a);
/* Everybody is to be looked at again. */
void dc_mirror_rewind(struct dc_mirror *m);
/* What we say of it now. False: the stream says the same already. */
bool dc_mirror_user_said(struct dc_mirror *m, const struct dc_presence_user_state *u);
bool dc_mirror_room_said(struct dc_mirror *m, struct dc_slice slug, struct dc_slice payload,
                         bool is_empty);
/* Next one to be looked at, which counts as looked at then; NULL: all have been. */
struct dc_mirror_user *dc_mirror_next_user(struct dc_mirror *m);
struct dc_mirror_room *dc_mirror_next_room(struct dc_mirror *m);

/* --- sweep.c --- */

void dc_sweep_init(struct dc_aggregator *a);
void dc_sweep_cancel(struct dc_aggregator *a);
/* The first one of a leader. */
void dc_sweep_take_over(struct dc_aggregator *a);
/* One is due, as soon as the last one is long enough ago. */
void dc_sweep_want(struct dc_aggregator *a, bool is_full);
void dc_sweep_clock(struct dc_aggregator *a);
int64_t dc_sweep_due_ms(const struct dc_aggregator *a);
/* The members of one room, at once if they are few. */
void dc_sweep_room(struct dc_aggregator *a, struct dc_slice room_id);
/* The stream shows people in a former leader's words that came after ours. */
void dc_sweep_strangers(struct dc_aggregator *a);

/* --- publish.c --- */

/* Callbacks of the core; they publish only while leading. */
extern const struct dc_presence_callbacks dc_agg_callbacks;
void dc_agg_publish_user(struct dc_aggregator *a, const struct dc_presence_user_state *u);
/* A room that the core does not know: empty. */
void dc_agg_publish_nobody(struct dc_aggregator *a, struct dc_slice room_id, struct dc_slice slug);
void dc_agg_publish_markers(struct dc_aggregator *a, bool rooms_and_users, int64_t member_gen);
/* A part of the members of a room, as dc_agg_write_member() has written them. */
void dc_agg_publish_members(struct dc_aggregator *a, struct dc_slice room_id, struct dc_slice slug,
                            struct dc_slice members, bool is_last, int64_t member_gen);
void dc_agg_write_member(const struct dc_aggregator *a, struct dc_slice room_id,
                         const struct dc_presence_user_state *u, struct dc_jsonw *w);
/* Plain words that need no leadership: signs of life, requests. Frees *payload. */
void dc_agg_say(struct dc_aggregator *a, struct dc_slice subject, struct dc_strbuf *payload);
void dc_agg_user_subject(const struct dc_aggregator *a, struct dc_slice user_id,
                         struct dc_strbuf *out);
void dc_agg_room_subject(struct dc_slice slug, struct dc_strbuf *out);
/* Lets the stream forget a subject. */
void dc_agg_forget(struct dc_aggregator *a, struct dc_slice subject);
/* A payload's part that counts: without what changes all the time, which stands at its end. */
struct dc_slice dc_agg_room_state(struct dc_slice payload);

/* --- native_http.c: sessions of people who joined over HTTP --- */

struct dc_http_sessions;
struct dc_http_sessions *dc_http_sessions_create(struct dc_aggregator *a);
void dc_http_sessions_destroy(struct dc_http_sessions *hs);
/* It has been renewed now. */
void dc_http_session_seen(struct dc_http_sessions *hs, struct dc_slice user_id,
                          struct dc_slice username);
/* Tells other aggregators of all of them, some in each turn. */
void dc_http_sessions_announce(struct dc_http_sessions *hs);

/* --- native.c --- */

/* Another aggregator has asked for sessions, and we lead. */
void dc_native_announce_http(void *self);

/* --- matrix_*.c --- */

/* What the homeserver says of one person (by the id that the core knows him by: a DAARION id, or
 * the full Matrix id of somebody who has none) reaches the core through here and nowhere else.
 * last_active.ms 0: unknown.  Tells the core's refusal. The caller calls dc_agg_fed() when all of
 * an answer has been said. */
enum dc_status dc_agg_matrix_presence(struct dc_aggregator *a, struct dc_slice user_id,
                                      enum dc_presence_status status, struct dc_utc last_active);
/* Appends his Matrix id; false: he is not known to have one. */
bool dc_agg_matrix_user(const struct dc_aggregator *a, struct dc_slice user_id,
                        struct dc_strbuf *out);
/* What he calls himself, or is called by his Matrix id; may be empty. Borrowed for the moment. */
struct dc_slice dc_agg_name(const struct dc_aggregator *a, const struct dc_presence_user_state *u);
/* "name" of "@name:server" of our own homeserver; DC_SLICE_NULL: he is none of it. */
struct dc_slice dc_agg_matrix_localpart(const struct dc_aggregator *a, struct dc_slice user_id);
/* False, and both NULL: the city's room is no Matrix room. */
bool dc_agg_matrix_room(const struct dc_aggregator *a, struct dc_slice room_id,
                        struct dc_slice *matrix_room_id, struct dc_slice *matrix_room_alias);
/* Nothing more is to come of a start: what the homeserver says is known, or there is none. */
bool dc_agg_matrix_is_known(const struct dc_aggregator *a);
/* The homeserver is listened to, and answers. */
bool dc_agg_matrix_is_running(const struct dc_aggregator *a);
/* Members of a JSON object about the source; nothing without one. */
void dc_agg_matrix_write_status(const struct dc_aggregator *a, struct dc_jsonw *w);

/* --- heartbeat.c: native presence for the homeserver, and what of its word is only our echo --- */

/* Nothing where no gateway is configured, or MATRIX_PRESENCE_PER_S is 0. */
DC_MUST_USE enum dc_status dc_agg_heartbeat_create(struct dc_aggregator *a, struct dc_error *err);
void dc_agg_heartbeat_run(struct dc_aggregator *a);
/* dc_agg_pending_end() runs once all of it has ended; before dc_agg_heartbeat_run() at once. */
void dc_agg_heartbeat_stop(struct dc_aggregator *a);
/* What a person's own sessions say has changed; the core's callback. */
void dc_agg_heartbeat_native(struct dc_aggregator *a, const struct dc_presence_user_state *u);
/* The phase may be another one. */
void dc_agg_heartbeat_clock(struct dc_aggregator *a);
/* The homeserver says it of somebody; returns what the core is to be told.  Later changes of that
 * reach the core by themselves.  Not from a callback of the core. */
enum dc_presence_status dc_agg_heartbeat_said(struct dc_aggregator *a, struct dc_slice user_id,
                                              enum dc_presence_status status,
                                              struct dc_utc last_active);

/* --- routes.c --- */

void dc_agg_routes(struct dc_aggregator *a);

#endif
