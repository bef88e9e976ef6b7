/* What a homeserver says of a person whom we push to it (domain/presence_push.h) may be only our
 * own echo.  The rule that tells:
 *
 *   P  the highest status that the homeserver has been told of him and that has not been replaced,
 *      settle_ms ago or longer, by a later lower one that it has acknowledged; what is under way,
 *      or has ended nobody knows how, counts as told
 *   S  what the homeserver has said last
 *
 * S counts while it is higher than P (offline < away < online), else what counts is offline.  So an
 * echo never keeps anybody here, and who is there by another Matrix client counts again
 * settle_ms after we have said that he is not here.
 *
 * Who pushed before us is not known.  Until trusted (see dc_presence_echo_lead()) whoever is said
 * to be here and is not known is a suspect: perhaps told online by somebody else.  He is reported
 * by `doubt`; once the homeserver has been told that he is offline, the rule settles him too.
 *
 * Pure.  Remembers only who is pushed, or was lately, or is a suspect; everybody else's word counts
 * as it is said. Ids as in domain/presence.h; times are monotonic milliseconds. */
#ifndef DC_DOMAIN_PRESENCE_ECHO_H
#define DC_DOMAIN_PRESENCE_ECHO_H

#include "domain/presence.h"

struct dc_presence_echo;

struct dc_presence_echo_opts {
    int64_t settle_ms; /* from an acknowledgement until /sync has brought it for certain: 2,000 */
    int64_t doubt_ms;  /* what others have said is over so long after they have stopped: 70,000 */
    size_t max_people; /* further ones are believed */
    uint64_t hash_seed[2];
};

/* None may call back into the object.  user_id is borrowed. */
struct dc_presence_echo_callbacks {
    /* What counts of Matrix has changed for him otherwise than dc_presence_echo_said() answers. */
    void (*counts)(void *data, struct dc_slice user_id, enum dc_presence_status status,
                   struct dc_utc last_active);
    /* He has become a suspect: unless he is here natively, say once that he is offline. */
    void (*doubt)(void *data, struct dc_slice user_id);
    /* He is no suspect any more: the homeserver itself says that he is offline. */
    void (*cleared)(void *data, struct dc_slice user_id);
};

enum dc_presence_echo_end {
    DC_ECHO_DONE,    /* acknowledged */
    DC_ECHO_NOTHING, /* refused for now: the homeserver knows what it knew before */
    DC_ECHO_CANNOT,  /* nobody can push him: what is said of a suspect is no echo either */
    DC_ECHO_UNKNOWN, /* may have been heard or not */
};

/* In doubt of everybody, as after dc_presence_echo_distrust(). */
struct dc_presence_echo *dc_presence_echo_create(const struct dc_presence_echo_opts *opts,
                                                 const struct dc_presence_echo_callbacks *cbs,
                                                 void *data);
/* Reports nothing. NULL is allowed. */
void dc_presence_echo_destroy(struct dc_presence_echo *e);

/* Somebody else pushes, or nobody: whoever is remembered and said to be here becomes a suspect, the
 * others are forgotten.  Each of them when something happens to him, or by dc_presence_echo_walk().
 */
void dc_presence_echo_distrust(struct dc_presence_echo *e);
/* From now on only we push: in doubt_ms who is not known will be believed. */
void dc_presence_echo_lead(struct dc_presence_echo *e, int64_t now_ms);
/* Nobody pushes anybody: everything counts as it is said; each as above. */
void dc_presence_echo_trust(struct dc_presence_echo *e);
/* Brings up to max people up to date after dc_presence_echo_distrust() and
 * dc_presence_echo_trust(); true: there are more.  So that nobody waits for a large city. */
bool dc_presence_echo_walk(struct dc_presence_echo *e, size_t max);

/* The homeserver says it.  Returns what counts. */
enum dc_presence_status dc_presence_echo_said(struct dc_presence_echo *e, struct dc_slice user_id,
                                              enum dc_presence_status status,
                                              struct dc_utc last_active, int64_t now_ms);

/* A push of his begins, and ends; one at a time.  counted: what counts of Matrix for him now, which
 * is what the homeserver has said last of somebody who is not remembered. */
void dc_presence_echo_begin(struct dc_presence_echo *e, struct dc_slice user_id,
                            enum dc_presence_status status, enum dc_presence_status counted,
                            int64_t now_ms);
void dc_presence_echo_end(struct dc_presence_echo *e, struct dc_slice user_id,
                          enum dc_presence_echo_end how, int64_t now_ms);

/* Settles who is due; to be called before anything else once it is.  is_heard: what the homeserver
 * says arrives; while it does not nobody is settled, as its last word may be older than ours. */
void dc_presence_echo_tick(struct dc_presence_echo *e, bool is_heard, int64_t now_ms);
/* INT64_MAX: never. */
int64_t dc_presence_echo_next_due_ms(const struct dc_presence_echo *e);

size_t dc_presence_echo_count(const struct dc_presence_echo *e);

#endif
