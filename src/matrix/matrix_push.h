/* What a homeserver pushes to an application service: the events of one transaction, read one by
 * one.  Pure.
 *
 * A transaction is repeated until it has been taken, and nothing comes behind it before.  So one
 * odd event, which anybody can write, must not make it unreadable: the list is taken apart by a
 * scanner that looks at brackets and strings alone, and each event is parsed by itself. */
#ifndef DC_MATRIX_MATRIX_PUSH_H
#define DC_MATRIX_MATRIX_PUSH_H

#include "base/json.h"

/* Key of our own in the content of what the city says: the id of its message. */
#define DC_MATRIX_MESSAGE_ID_KEY "city.daarion.message_id"
/* An event that the gateway says to itself; the key in its content is its id. */
#define DC_MATRIX_PULSE_TYPE   "city.daarion.pulse"
#define DC_MATRIX_PULSE_ID_KEY "pulse_id"

struct dc_matrix_push {
    struct dc_slice rest; /* of the list; ptr NULL: there is none (any more) */
    bool is_broken;       /* the text ended too early, or is no JSON */
};
/* Finds the member "events" of a JSON object; without one there are no events.  body is borrowed.
 * false: no JSON object. */
DC_MUST_USE bool dc_matrix_push_open(struct dc_slice body, struct dc_matrix_push *push);
/* The text of the next event; false at the end, see is_broken. */
DC_MUST_USE bool dc_matrix_push_next(struct dc_matrix_push *push, struct dc_slice *event);

struct dc_matrix_pushed {
    json_t *json; /* json_decref() it; what follows is borrowed from it */
    struct dc_slice event_id, room_id, type, sender;
    struct dc_slice state_key; /* ptr NULL: no state event */
    const json_t *content;     /* an object */
};
/* DC_MALFORMED: no event that has ids, a type, a sender and a content; then there is nothing to
 * free. */
DC_MUST_USE enum dc_status dc_matrix_push_read(struct dc_slice event, struct dc_matrix_pushed *out,
                                               struct dc_error *err);

/* What a message says, as text: the body of a text or notice as it is, "* body" of an emote,
 * "[image] body" of what is no text; without the quotation above an answer.  false: it says nothing
 * (redacted, nothing but blanks), or has no text that can be stored (NUL). */
DC_MUST_USE bool dc_matrix_message_text(const json_t *content, struct dc_strbuf *out);
/* A display name as others may see it: one line of at most 64 characters, with nothing in it that
 * the city takes from nobody (dc_line_is_valid()); ptr NULL: it has nothing to show.  Borrowed from
 * name. */
struct dc_slice dc_matrix_display_name(struct dc_slice name);
#define DC_MATRIX_DISPLAY_NAME_MAX_CHARS 64

#endif
