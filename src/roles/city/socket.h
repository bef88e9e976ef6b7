/* What the room socket and the presence socket have in common: who is behind it, pings, the frame
 * budget, error frames, cursors, expiry of the token. Embedded in the sockets of stream_*.c. */
#ifndef DC_ROLES_CITY_SOCKET_H
#define DC_ROLES_CITY_SOCKET_H

#include "roles/city/sessions.h"

/* More frames in a second get an error each; twice as many close the socket with 4429. */
#define DC_SOCKET_FRAMES_PER_S 100

struct dc_page;

struct dc_socket {
    struct dc_city *city;
    struct dc_ws *ws;
    struct dc_session session;
    struct dc_page *page; /* pages.h; NULL: none */
    struct dc_list page_link;
    struct dc_topic *cursor_of; /* error and pong frames carry its cursor; NULL: none */
    uint64_t replayed_to;       /* while is_replaying: the client's own place in cursor_of */
    struct dc_utc expires_at;
    dc_place place;     /* among the sockets of its user, when that is verified */
    uint32_t window_ms; /* when the second began in which frames are counted; wraps */
    uint16_t n_frames;  /* in it */
    bool is_replaying : 1;
    bool is_bound : 1;    /* without a token: it has said who it is, for good */
    bool is_verified : 1; /* by a token, valid until expires_at */
    bool has_beaten : 1;  /* by a frame of the presence stream */
};

/* First half of every socket route: 426 without an upgrade; identifies; reads ?page=; accepts;
 * closes with 4401 who may not enter, with 4429 who has LIMIT_SOCKETS_PER_USER of them in this
 * process already.  *s is zeroed memory, the first member of the caller's struct, which is handed
 * to the callbacks of cls.  False: the request has been answered, nothing of *s remains, no
 * callback will run.  Callbacks never run inside this call or inside dc_ws_close(): net/conn.h. */
DC_MUST_USE bool dc_socket_open(struct dc_socket *s, struct dc_city *city,
                                struct dc_http_request *r, const struct dc_ws_class *cls);
/* Opens and closes at once, so that browsers can read the code (they cannot read a refused
 * handshake). Answers malformed handshakes as dc_ws_accept does. */
void dc_socket_refuse(struct dc_city *city, struct dc_http_request *r, uint16_t code,
                      struct dc_slice reason);
/* For on_close: tells that the session's socket is gone and frees what open made. */
void dc_socket_deinit(struct dc_socket *s);
/* The token is still valid; else the socket has been closed with 4401. */
bool dc_socket_is_entitled(struct dc_socket *s);
/* For on_control: pings and pongs are frames of the budget. */
void dc_socket_control(struct dc_socket *s);
/* Takes a token for joining, leaving or a typing mark; sends the error frame and returns false when
 * there is none. */
DC_MUST_USE bool dc_socket_may_tell(struct dc_socket *s);
/* For on_alive: renews the session of an entitled socket. */
void dc_socket_alive(struct dc_socket *s);

/* The cursor that a client resumes with.  Rows of a query table, for .epoch and .offset at the
 * given offsets of the caller's struct: whatever is no cursor is answered with reset, not refused.
 */
#define DC_CURSOR_TEXT_MAX 64
struct dc_cursor_query {
    struct dc_slice epoch, offset;
};
#define DC_CURSOR_FIELDS(base)                                                                     \
    {"epoch", DC_FIELD_TEXT, 0, 0, 0, (base) + offsetof(struct dc_cursor_query, epoch)},           \
    {                                                                                              \
        "offset", DC_FIELD_TEXT, 0, 0, 0, (base) + offsetof(struct dc_cursor_query, offset)        \
    }
struct dc_cursor {
    bool is_given;   /* an epoch was: the client wants to resume */
    bool has_offset; /* and a number with it */
    uint64_t offset;
    size_t epoch_len;
    char epoch[DC_CURSOR_TEXT_MAX]; /* empty when it is too long to be one of ours */
};
/* A copy: the query ends with the request, and that with dc_socket_open(). */
struct dc_cursor dc_cursor_take(const struct dc_cursor_query *q);
static inline struct dc_slice dc_cursor_epoch(const struct dc_cursor *c)
{
    return dc_slice_make(c->epoch, c->epoch_len);
}

/* A text frame as it came: answers pings, checks the budget, the token's age and the JSON.  The
 * object (json_decref it) or NULL when the frame has been dealt with. */
json_t *dc_socket_read(struct dc_socket *s, struct dc_slice text);
/* Decodes by a field table; sends an error frame and returns false when the input is wrong. key:
 * the idempotency key that the error frame shall name, or DC_SLICE_NULL. */
DC_MUST_USE bool dc_socket_input(struct dc_socket *s, const struct dc_field *fields, size_t n,
                                 const json_t *object, void *target, struct dc_slice key);
/* Binds the identity to a claimed user_id (or none); sends the error frame, which names key, and
 * returns false on a mismatch.  In open mode a socket without a token takes the first claim for
 * good; it is anonymous until then, and stays so once it has beaten. */
DC_MUST_USE bool dc_socket_claim(struct dc_socket *s, struct dc_slice claimed, struct dc_slice key);
/* The same for an author named in other words: nobody but the socket's own person. */
DC_MUST_USE bool dc_socket_is_author(struct dc_socket *s, struct dc_slice author,
                                     struct dc_slice key);

/* One error frame. key: the idempotency key it is about, or DC_SLICE_NULL; retry_after_ms 0: none.
 */
void dc_socket_error(struct dc_socket *s, const struct dc_error *err, struct dc_slice key,
                     uint64_t retry_after_ms);
void dc_socket_unknown_event(struct dc_socket *s);
/* Ends the object in w with the socket's cursor, which is what this client has been given so far
 * and not where the topic stands: it may resume from the pair of any frame. Then sends it. */
void dc_socket_send(struct dc_socket *s, struct dc_jsonw *w);

#endif
