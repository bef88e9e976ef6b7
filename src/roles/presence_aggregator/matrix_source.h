/* A homeserver's /sync as a source of the presence aggregator; between its files.
 *
 *   matrix_source.c   settings, life, and what is known of the homeserver
 *   matrix_sync.c     the start, the long poll, the look at the whole
 *   matrix_apply.c    one answer of /sync
 *   matrix_turns.c    what may be much, a slice in each turn of the loop
 *   matrix_rooms.c    the city's rooms that are Matrix rooms: the mapping from city-service
 *   matrix_joins.c    being in them
 *   matrix_members.c  who is in them
 *   matrix_people.c   whose Matrix id that is; presence of a person -> the core
 *   matrix_probe.c    whether the homeserver has presence at all
 *   matrix_owners.c   the same where the id does not say it: matrix-gateway is asked
 *
 * The start (matrix/FACTS §6): the mapping, whoami, an initial /sync that names no member, which
 * rooms we are in, the members of each of them; then increments from the token of that /sync.
 * What has changed between the token and a list of members comes again, and converges.
 *
 * The look at the whole is the same beside the running poll, every 15 minutes: it finds what a
 * homeserver has lost without a word (a restored database answers an old token as if nothing had
 * happened).  What has been heard since a question was asked is newer than its answer.  Nobody is
 * taken away before the new picture is complete.
 *
 * Unknown is not offline: a room that we are thrown out of keeps its members for as long as that
 * look is apart, and people keep their last status while the homeserver is away. */
#ifndef DC_ROLES_PRESENCE_AGGREGATOR_MATRIX_SOURCE_H
#define DC_ROLES_PRESENCE_AGGREGATOR_MATRIX_SOURCE_H

#include "matrix/matrix_calls.h"
#include "matrix/matrix_id.h"
#include "matrix/matrix_read.h"
#include "matrix/matrix_sync.h"
#include "roles/peer.h"
#include "roles/presence_aggregator/aggregator.h"

/* Work that is done in slices (matrix_turns.c); first member of what it works on. */
struct dc_ms_job;
struct dc_ms_job_kind {
    /* Up to max steps, a change of the core each; returns how many: fewer than max at its end. */
    size_t (*step)(struct dc_ms *ms, struct dc_ms_job *job, size_t max);
    /* Frees it, and goes on; is_complete false: we are stopping, and it has not been done. */
    void (*end)(struct dc_ms *ms, struct dc_ms_job *job, bool is_complete);
};
struct dc_ms_job {
    struct dc_list link;
    const struct dc_ms_job_kind *kind;
    json_t *json; /* kept until after end; or NULL */
    size_t turns;
};

/* Somebody whom the homeserver has put into a room, or has called other than offline. */
struct dc_ms_person {
    struct dc_list link;  /* dc_ms.all_people */
    uint64_t walk;        /* the last walk over all of them that he was in */
    struct dc_slice mxid; /* in text */
    struct dc_slice id; /* how the core knows him; empty: not known yet, and the core knows nothing
                           of him */
    struct dc_slice name;      /* what he calls himself, of its own memory; may be empty */
    struct dc_ms_owner *owner; /* NULL: his Matrix id says who he is */
    enum dc_presence_status status;
    struct dc_utc last_active; /* as told with the status */
    uint64_t heard; /* the clock of dc_ms.heard when his status was told last; 0: never */
    struct dc_list memberships;
    uint32_t n_rooms;
    char text[]; /* mxid, NUL, and his DAARION id if it stands in there */
};

/* A person in a room. */
struct dc_ms_member {
    struct dc_list of_person, of_room;
    struct dc_ms_person *person;
    struct dc_ms_room *room;
    uint64_t named; /* the whole list that named him last: dc_ms_room.whole */
};

enum dc_ms_room_step { DC_MS_ROOM_IDLE, DC_MS_ROOM_WAITS, DC_MS_ROOM_BUSY };

struct dc_ms_room {
    struct dc_list link;      /* dc_ms.all_rooms */
    struct dc_list work_link; /* dc_ms.work while WAITS */
    struct dc_ms *ms;
    struct dc_slice mxid, alias, room_id, slug; /* in text; alias may be NULL */
    char *text;
    struct dc_map members;      /* Matrix id -> member */
    struct dc_list all_members; /* the same */
    uint64_t whole;             /* counts whole lists */
    enum dc_ms_room_step step;
    bool is_joined;     /* by us */
    bool wants_members; /* the whole list is to be asked for */
    bool is_settled;    /* in this start: known, or known to be out of reach */
    bool is_gone;       /* from the mapping, while BUSY */
    bool was_joined;    /* since it was last logged that we are not */
    bool is_said;       /* that it is out of reach */
    bool is_replaced;   /* by another (m.room.tombstone), and the city does not know it yet */
    unsigned told;      /* how often the city has been told */
    uint64_t mapping;   /* the last one that named it */
    uint64_t version;   /* changes of membership */
    uint64_t asked_version;
    unsigned asked; /* times that the list was overtaken by changes */
    struct dc_backoff pause;
    int64_t due_ms;           /* not before */
    int64_t unknown_since_ms; /* 0: we are in it */
};

enum dc_ms_phase {
    DC_MS_MAPPING, /* waiting for the city's first answer */
    DC_MS_WHOAMI,
    DC_MS_INITIAL,
    DC_MS_JOINED, /* which rooms we are in */
    DC_MS_ROOMS,  /* joining, and reading who is there */
    DC_MS_POLLING,
};

/* Whose accounts are those that do not say it. */
struct dc_ms_owners {
    struct dc_map by_mxid;
    struct dc_list wanted, asked; /* to be asked for, and being asked for */
    struct dc_list strangers;     /* present and nobody's: asked for again, the first one first */
    struct dc_list idle;          /* of nobody present: remembered, the oldest first */
    size_t n_idle, n_unknown;     /* unknown: people who are here */
    int64_t due_ms;
    struct dc_backoff pause;
    bool is_failing; /* said in the log */
};

/* Whether the homeserver has presence. */
struct dc_ms_probe {
    bool is_off; /* it has been found out that it has none */
    bool is_wanted, is_asking;
    unsigned rounds; /* in which nothing came back */
    int64_t due_ms;
    int64_t from_ms; /* UTC: marks from then on are of these days */
};

enum dc_ms_mode { DC_MS_MODE_UNKNOWN, DC_MS_MODE_ROOMS, DC_MS_MODE_ROUTER };

struct dc_ms {
    struct dc_aggregator *a;
    struct dc_matrix *matrix;
    struct dc_peer *city;
    struct dc_peer *gateway; /* NULL: there is none */
    struct dc_slice user_id, server_name, token;
    uint64_t poll_ms; /* how long a poll may be held: not the same after each start */
    uint64_t held_ms; /* how long the one under way may be */
    struct dc_timer clock;
    struct dc_bus_sub *room_sub, *room_changed_sub;
    struct dc_health_check *health;
    size_t pending; /* callbacks that have not run, and jobs that have not ended */
    bool is_stopping;

    /* matrix_turns.c */
    struct dc_list jobs;
    struct dc_turn work_turn;
    bool is_working;

    /* matrix_sync.c */
    enum dc_ms_phase phase;
    struct dc_strbuf since;
    bool is_asking;   /* the step of this phase is under way */
    bool is_applying; /* its answer is; nothing more is asked for until all of it is known */
    bool is_refused;  /* our token, or who it belongs to */
    bool has_picture;
    bool is_starting;     /* every room has been read, and the start is about to be over */
    unsigned bad_answers; /* one after the other */
    struct dc_backoff pause;
    int64_t step_due_ms, asked_ms, took_ms, heard_ms, failing_since_ms, late_ms;
    int64_t whole_due_ms;    /* the next look at the whole */
    bool is_looking;         /* it is under way */
    uint64_t whole_since;    /* value of heard when it was asked for */
    struct dc_strbuf reason; /* why nothing is heard */

    /* matrix_rooms.c, matrix_members.c */
    struct dc_map rooms, city_rooms; /* by Matrix id; by the city's id */
    struct dc_list all_rooms, work;
    struct dc_turn rooms_turn; /* some of work may be begun */
    bool has_mapping, is_mapping_asked;
    bool is_mapping_moving; /* a room has just changed: to be looked at once more */
    uint64_t mapping;
    int64_t mapping_due_ms, mapping_asked_ms;
    struct dc_backoff mapping_pause;
    size_t n_busy, n_unsettled, n_unknown, n_strange; /* strange: ours, and not the city's */
    int64_t join_after_ms;                            /* the homeserver's limit */

    /* matrix_people.c */
    struct dc_map people;
    struct dc_list all_people;
    uint64_t walk;
    uint64_t heard;
    enum dc_ms_mode mode;

    /* matrix_owners.c */
    struct dc_ms_owners owners;

    /* matrix_probe.c */
    struct dc_ms_probe probe;

    struct dc_counter *events_in, *applied, *left_out, *resyncs, *joins;
    struct dc_gauge *rooms_known, *rooms_unknown;
};

static inline int64_t dc_ms_now_ms(const struct dc_ms *ms)
{
    return dc_agg_now_ms(ms->a);
}

/* A poll that lasts so much longer than it should is as bad as one that failed. */
#define DC_MS_OVERDUE_MS 5000

/* --- matrix_source.c --- */

void dc_ms_pending_end(struct dc_ms *ms);
void dc_ms_set_health(struct dc_ms *ms);
/* Why nothing is heard, logged once for each reason; NULL: it is. */
void dc_ms_set_reason(struct dc_ms *ms, const struct dc_error *err);
/* The homeserver has answered, whatever. */
void dc_ms_answered(struct dc_ms *ms);
/* A call of ours failed: true if that was about all calls (nobody there, token refused). */
bool dc_ms_note_failure(struct dc_ms *ms, enum dc_status st, const struct dc_error *err);

/* --- matrix_sync.c --- */

/* There may be something to do earlier than the clock has been set for. */
void dc_ms_arm(struct dc_ms *ms);
void dc_ms_on_clock(struct dc_timer *t);
/* Another length of the poll than in the last start. */
void dc_ms_vary(struct dc_ms *ms);
/* How to ask; count it in pending once it has been asked. */
struct dc_matrix_how dc_ms_how(struct dc_ms *ms, uint64_t deadline_ms, dc_matrix_cb cb, void *data);
/* Every room of the start has been read, or cannot be. */
void dc_ms_rooms_settled(struct dc_ms *ms);
/* The city's rooms are known for the first time. */
void dc_ms_mapping_known(struct dc_ms *ms);

/* --- matrix_apply.c --- */

/* Applies an answer of /sync in turns; applied runs once all of it is, or not at all when we are
 * stopping.  json is kept; next_batch is borrowed.  is_whole: it names everybody who is not
 * offline. DC_UPSTREAM: it is no answer, and nothing will be applied. */
typedef void (*dc_ms_applied_cb)(struct dc_ms *ms, struct dc_slice next_batch);
DC_MUST_USE enum dc_status dc_ms_apply(struct dc_ms *ms, const struct dc_matrix_answer *answer,
                                       bool is_whole, dc_ms_applied_cb applied,
                                       struct dc_error *err);
/* Only who is not offline, for the look at the whole: whose presence has not been heard since. */
DC_MUST_USE enum dc_status dc_ms_apply_whole(struct dc_ms *ms,
                                             const struct dc_matrix_answer *answer,
                                             dc_ms_applied_cb applied, struct dc_error *err);

/* --- matrix_turns.c --- */

void dc_ms_turns_init(struct dc_ms *ms);
/* Ends all jobs. */
void dc_ms_turns_stop(struct dc_ms *ms);
/* job: owned by its kind; json: our own reference, or NULL.  May do all of it at once. */
void dc_ms_job_start(struct dc_ms *ms, struct dc_ms_job *job, const struct dc_ms_job_kind *kind,
                     json_t *json);
/* One turn; true: there is more. */
bool dc_ms_work(struct dc_ms *ms);

/* --- matrix_rooms.c --- */

void dc_ms_rooms_init(struct dc_ms *ms);
void dc_ms_rooms_free(struct dc_ms *ms);
/* As soon as the last one is long enough ago. */
void dc_ms_mapping_want(struct dc_ms *ms);
void dc_ms_mapping_clock(struct dc_ms *ms);
/* rooms: what GET /internal/city/rooms answers.  False: it is no list. */
bool dc_ms_mapping_take(struct dc_ms *ms, const json_t *rooms);
/* The room has a tombstone: the city is told until it has another one in its place, a few times. */
void dc_ms_room_replaced(struct dc_ms_room *room);
struct dc_ms_room *dc_ms_room_find(const struct dc_ms *ms, struct dc_slice mxid);

/* --- matrix_joins.c --- */

void dc_ms_joins_init(struct dc_ms *ms);
void dc_ms_joins_stop(struct dc_ms *ms);

/* The room is to be joined, or its members are to be read. */
void dc_ms_room_want(struct dc_ms_room *room, bool wants_members);
/* Has it be neither. */
void dc_ms_room_unwant(struct dc_ms_room *room);
/* Starts what may be done now. */
void dc_ms_rooms_work(struct dc_ms *ms);
int64_t dc_ms_rooms_due_ms(const struct dc_ms *ms);
/* Every room's list is to be read; settled once it is. */
void dc_ms_rooms_begin(struct dc_ms *ms);
void dc_ms_room_settle(struct dc_ms_room *room);
/* answer: of joined_rooms. DC_UPSTREAM: it is none. */
DC_MUST_USE enum dc_status dc_ms_rooms_joined(struct dc_ms *ms, const json_t *answer,
                                              struct dc_error *err);
/* We are in it, or no longer. */
void dc_ms_room_self(struct dc_ms_room *room, bool is_joined);

/* --- matrix_members.c --- */

/* One person of it, as told now. name: what he calls himself there; may be empty. */
void dc_ms_member_set(struct dc_ms_room *room, struct dc_slice mxid, bool is_member,
                      struct dc_slice name);
/* Nobody is in it as far as we know. */
void dc_ms_members_clear(struct dc_ms_room *room);
/* The same without a word to the core. */
void dc_ms_members_free(struct dc_ms_room *room);
/* The list of joined_members, in turns.  done runs once: is_known false when the list is of another
 * time: the room has moved or gone, or its members have changed since they were asked for; or we
 * are stopping.  The room must stay until then. DC_UPSTREAM: it is no such list. */
typedef void (*dc_ms_members_cb)(struct dc_ms_room *room, bool is_known);
DC_MUST_USE enum dc_status dc_ms_members_whole(struct dc_ms_room *room,
                                               const struct dc_matrix_answer *answer,
                                               dc_ms_members_cb done, struct dc_error *err);
/* Tells the core, of somebody whom it knows. */
enum dc_status dc_ms_member_tell(struct dc_ms_room *room, const struct dc_ms_person *p,
                                 bool is_member);

/* --- matrix_people.c --- */

void dc_ms_people_init(struct dc_ms *ms);
void dc_ms_people_free(struct dc_ms *ms);
/* The daemon, the application service, its administrator. */
bool dc_ms_is_nobody(const struct dc_ms *ms, struct dc_slice mxid);
struct dc_ms_person *dc_ms_person_find(const struct dc_ms *ms, struct dc_slice mxid);
/* NULL: he cannot be counted. */
struct dc_ms_person *dc_ms_person_need(struct dc_ms *ms, struct dc_slice mxid);
/* What he calls himself, as the homeserver has it. */
void dc_ms_person_call(struct dc_ms_person *p, struct dc_slice displayname);
/* He is in one room more, or less. */
void dc_ms_person_rooms(struct dc_ms *ms, struct dc_ms_person *p, bool is_more);
/* The core is to know him by this id, which stays where it is. */
void dc_ms_person_identify(struct dc_ms *ms, struct dc_ms_person *p, struct dc_slice id);
/* Forgets somebody of whom nothing is known any more. */
void dc_ms_person_release(struct dc_ms *ms, struct dc_ms_person *p);
void dc_ms_presence(struct dc_ms *ms, const struct dc_matrix_presence *presence);
/* The core's ids of those of a typing list who count; at most max. */
size_t dc_ms_typing_ids(struct dc_ms *ms, const json_t *user_ids, struct dc_slice *ids, size_t max,
                        struct dc_strbuf *texts);
/* Who is not offline and has not been named by the new picture is offline now, unless he is in a
 * room that we do not hear.  In turns; done runs then, but not when we are stopping. */
void dc_ms_people_whole(struct dc_ms *ms, void (*done)(struct dc_ms *ms));
/* unknown, rooms, router. */
const char *dc_ms_mode_word(enum dc_ms_mode mode);

/* --- matrix_owners.c --- */

void dc_ms_owners_init(struct dc_ms *ms);
void dc_ms_owners_free(struct dc_ms *ms);
/* p's account is named by a hash: gives him his id if it is known, or has it asked for. */
void dc_ms_owner_join(struct dc_ms *ms, struct dc_ms_person *p);
/* p is being forgotten. */
void dc_ms_owner_leave(struct dc_ms *ms, struct dc_ms_person *p);
void dc_ms_owners_clock(struct dc_ms *ms);
/* Who has been found to be nobody's long enough ago, by this time, is to be asked for again. */
void dc_ms_owners_doubt(struct dc_ms *ms, int64_t now_ms);
int64_t dc_ms_owners_due_ms(const struct dc_ms *ms);

/* --- matrix_probe.c --- */

/* Nobody's presence has been told where somebody's could have been: it is to be found out why,
 * unless somebody's is told within after_ms. */
void dc_ms_probe_want(struct dc_ms *ms, int64_t after_ms);
/* Somebody has been called other than offline. */
void dc_ms_probe_heard(struct dc_ms *ms);
void dc_ms_probe_clock(struct dc_ms *ms);
int64_t dc_ms_probe_due_ms(const struct dc_ms *ms);

#endif
