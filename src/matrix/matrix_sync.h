/* One answer of /sync, walked in the order in which it has to be applied: for each joined room its
 * state, its timeline, who types; then rooms left and invitations; presence last, when everybody's
 * rooms are known.  Pure; everything is borrowed for the callback.
 *
 * What is not as it should be is left out and counted: one odd event, which anybody can write, must
 * not stop the city from hearing the others. */
#ifndef DC_MATRIX_MATRIX_SYNC_H
#define DC_MATRIX_MATRIX_SYNC_H

#include "base/json.h"

struct dc_matrix_event {
    struct dc_slice event_id;
    struct dc_slice type;
    struct dc_slice sender;
    struct dc_slice state_key; /* ptr NULL: no state event */
    const json_t *content;     /* an object */
    int64_t origin_server_ts;  /* ms UTC as its server said; 0: it did not */
    bool is_state;             /* from the state block: how things are, not what just happened */
};

struct dc_matrix_presence {
    struct dc_slice user_id;
    struct dc_slice presence;   /* online, unavailable, offline */
    struct dc_slice status_msg; /* ptr NULL: none */
    int64_t last_active_ago_ms; /* when the answer was made; -1: never active */
};

/* Each may be NULL. */
struct dc_matrix_sync_visitor {
    void (*event)(void *data, struct dc_slice room_id, const struct dc_matrix_event *event);
    /* The whole list of those who type: an array whose texts are user ids. */
    void (*typing)(void *data, struct dc_slice room_id, const json_t *user_ids);
    void (*left)(void *data, struct dc_slice room_id);
    void (*invited)(void *data, struct dc_slice room_id);
    void (*presence)(void *data, const struct dc_matrix_presence *presence);
};

/* Where a walk stands: between two entries, so that a large answer can be walked in slices.  The
 * JSON must stay as it is. */
struct dc_matrix_sync_cursor {
    json_t *rooms[3]; /* joined, left, invited; NULL: none */
    const json_t *presence;
    unsigned section, part; /* of the answer, of a joined room */
    bool is_entered;        /* at is the place in the section */
    void *at;
    size_t index;   /* in the part, or in the list of presence */
    size_t skipped; /* entries that were left out */
};
/* DC_UPSTREAM (matrix_bad_answer) without a next_batch, which is borrowed. */
DC_MUST_USE enum dc_status dc_matrix_sync_open(const json_t *json, struct dc_matrix_sync_cursor *c,
                                               struct dc_slice *next_batch, struct dc_error *err);
/* One entry, for which the visitor is called once at most; false: there is none left. */
bool dc_matrix_sync_next(struct dc_matrix_sync_cursor *c,
                         const struct dc_matrix_sync_visitor *visitor, void *data);

/* All of it. *skipped: entries that were left out.  DC_UPSTREAM: nothing has been called. */
DC_MUST_USE enum dc_status dc_matrix_sync_walk(const json_t *json,
                                               const struct dc_matrix_sync_visitor *visitor,
                                               void *data, struct dc_slice *next_batch,
                                               size_t *skipped, struct dc_error *err);

#endif
