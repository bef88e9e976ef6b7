/* What the room socket and the presence socket have in common: who is behind it, pings, the frame
 * budget, error frames, expiry of the token. Embedded in the sockets of stream_*.c. */
#ifndef DC_ROLES_CITY_SOCKET_H
#define DC_ROLES_CITY_SOCKET_H

#include "roles/city/sessions.h"

/* More frames in a second get an error each; twice as many close the socket with 4429. */
#define DC_SOCKET_FRAMES_PER_S 100

struct dc_socket {
    struct dc_city *city;
    struct dc_ws *ws;
    struct dc_session session;
    struct dc_identity who;     /* texts in the arena */
    struct dc_arena arena;      /* identity only; small */
    struct dc_topic *cursor_of; /* error and pong frames carry its cursor; NULL: none */
    struct dc_mono window;
    uint32_t window_frames;
};

/* Copies the identity; nothing is told to anybody yet. */
DC_MUST_USE bool dc_socket_init(struct dc_socket *s, struct dc_city *city,
                                const struct dc_identity *who);
/* Tells that the session's socket is gone and frees what init made. */
void dc_socket_deinit(struct dc_socket *s);

/* A text frame as it came: answers pings, checks the budget, the token's age and the JSON.  The
 * object (json_decref it) or NULL when the frame has been dealt with. */
json_t *dc_socket_read(struct dc_socket *s, struct dc_slice text);
/* Decodes by a field table; sends an error frame and returns false when the input is wrong. */
DC_MUST_USE bool dc_socket_input(struct dc_socket *s, const struct dc_field *fields, size_t n,
                                 const json_t *object, void *target);
/* Binds the identity to a claimed user_id (or none); sends the error frame and returns false on a
 * mismatch. In open mode an anonymous socket takes the claim once. */
DC_MUST_USE bool dc_socket_claim(struct dc_socket *s, struct dc_slice claimed);

/* One error frame. key: the idempotency key it is about, or DC_SLICE_NULL; retry_after_ms 0: none.
 */
void dc_socket_error(struct dc_socket *s, const struct dc_error *err, struct dc_slice key,
                     uint64_t retry_after_ms);
/* Ends the object in w with the socket's cursor and sends it. */
void dc_socket_send(struct dc_socket *s, struct dc_jsonw *w);

/* Opens and closes at once, so that browsers can read the code (they cannot read a refused
 * handshake). Answers malformed handshakes as dc_ws_accept does. */
void dc_socket_refuse(struct dc_city *city, struct dc_http_request *r, uint16_t code,
                      struct dc_slice reason);
/* First half of every socket route: 426 without an upgrade; identifies; accepts; closes with 4401
 * what may not enter. NULL: the request has been answered, or the socket is closing already. size:
 * of the caller's struct, which begins with a struct dc_socket and is freed by its on_close. */
struct dc_socket *dc_socket_accept(struct dc_city *city, struct dc_http_request *r,
                                   const struct dc_ws_class *cls, size_t size);

#endif
