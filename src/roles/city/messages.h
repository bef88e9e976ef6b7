/* Saying something in a room: the one path for HTTP and sockets. */
#ifndef DC_ROLES_CITY_MESSAGES_H
#define DC_ROLES_CITY_MESSAGES_H

#include "roles/city/repo.h"

struct dc_message_draft {
    struct dc_city_room *room;
    struct dc_slice user_id, username;
    struct dc_slice body;            /* checked: 1..MAX_MESSAGE_CHARS code points */
    struct dc_slice idempotency_key; /* may be NULL */
};

/* m is borrowed and NULL unless st is DC_OK: the message was committed (or had been, under the same
 * key).  DC_CONFLICT idempotency_conflict: the key has stored another body. */
typedef void (*dc_message_cb)(void *data, enum dc_status st, const struct dc_message *m,
                              const struct dc_error *err);

/* Takes a token of the author's rate limit; 0 or the milliseconds to wait. */
uint64_t dc_city_message_wait_ms(struct dc_city *city, struct dc_slice user_id);
/* Stores the draft (copied) with what it owes to the room and the feed, hands that to the relay,
 * and answers by cb exactly once, later.  On failure cb never runs.  DC_CONFLICT room_archived: at
 * once when this process knows it, by cb when only the database does; then it knows it too. */
DC_MUST_USE enum dc_status dc_city_message_send(struct dc_city *city,
                                                const struct dc_message_draft *draft,
                                                dc_message_cb cb, void *data, struct dc_error *err);

/* What was said in a Matrix room: the same, without a limit of rate (that is the homeserver's), and
 * answered with what has become of it.  HELD too when the room is archived, or gone; if nothing
 * else goes before the event (origin->behind), this process knows it by then. */
typedef void (*dc_message_taken_cb)(void *data, enum dc_status st, enum dc_message_outcome outcome,
                                    const struct dc_error *err);
DC_MUST_USE enum dc_status dc_city_message_take(struct dc_city *city,
                                                const struct dc_message_draft *draft,
                                                const struct dc_message_origin *origin,
                                                dc_message_taken_cb cb, void *data,
                                                struct dc_error *err);

#endif
