/* Answers of /sync. */
#include "matrix/matrix_sync.h"
#include "base/input.h"
#include "matrix/matrix_error.h"
#include "matrix/matrix_id.h"
#include "matrix/matrix_read.h"

#define TYPE_MAX_BYTES  255
#define TOKEN_MAX_BYTES 4096

enum { JOINED, LEFT, INVITED, PRESENCE, END };
enum { STATE, TIMELINE, EPHEMERAL, PARTS };

struct walk {
    const struct dc_matrix_sync_visitor *visitor;
    void *data;
    struct dc_matrix_sync_cursor *c;
};

static bool is_user_id(struct dc_slice id)
{
    struct dc_slice localpart;
    struct dc_slice server;
    return dc_matrix_id_split(id, '@', &localpart, &server);
}

/* Members of what is no object are none. */
static const json_t *events_of(const json_t *block)
{
    return json_object_get(block, "events");
}

static bool read_event(const json_t *json, bool is_state, struct dc_matrix_event *event)
{
    const json_t *ts = json_object_get(json, "origin_server_ts");
    const json_t *key = json_object_get(json, "state_key");
    *event = (struct dc_matrix_event){.event_id = dc_matrix_read_text(json, "event_id"),
                                      .type = dc_matrix_read_text(json, "type"),
                                      .sender = dc_json_text(json, "sender"),
                                      .state_key = dc_matrix_read_text(json, "state_key"),
                                      .content = json_object_get(json, "content"),
                                      .is_state = is_state};
    if (json_is_integer(ts) && json_integer_value(ts) > 0) {
        event->origin_server_ts = json_integer_value(ts);
    }
    return event->event_id.len > 0 && event->event_id.len <= DC_MATRIX_ID_MAX_BYTES &&
           event->type.len > 0 && event->type.len <= TYPE_MAX_BYTES && is_user_id(event->sender) &&
           (key == NULL || event->state_key.ptr != NULL) && json_is_object(event->content);
}

static void take_event(struct walk *w, struct dc_slice room_id, const json_t *json, bool is_state)
{
    struct dc_matrix_event event;
    if (w->visitor->event == NULL) {
        return;
    }
    if (read_event(json, is_state, &event)) {
        w->visitor->event(w->data, room_id, &event);
    } else {
        w->c->skipped++;
    }
}

static void take_ephemeral(struct walk *w, struct dc_slice room_id, const json_t *event)
{
    const json_t *users = json_object_get(json_object_get(event, "content"), "user_ids");
    if (w->visitor->typing == NULL || !dc_slice_eq(dc_json_text(event, "type"), DC_S("m.typing"))) {
        return;
    }
    bool is_good = json_is_array(users);
    for (size_t k = 0; is_good && k < json_array_size(users); k++) {
        const json_t *user = json_array_get(users, k);
        is_good = json_is_string(user) &&
                  is_user_id(dc_slice_make(json_string_value(user), json_string_length(user)));
    }
    if (is_good) {
        w->visitor->typing(w->data, room_id, users);
    } else {
        w->c->skipped++;
    }
}

/* --- rooms --- */

/* The next entry of a joined room; false: it has no more. */
static bool next_in_room(struct walk *w, struct dc_slice room_id, const json_t *room)
{
    static const char *const keys[PARTS] = {"state", "timeline", "ephemeral"};
    struct dc_matrix_sync_cursor *c = w->c;
    for (; c->part < PARTS; c->part++, c->index = 0) {
        const json_t *events = events_of(json_object_get(room, keys[c->part]));
        if (c->index < json_array_size(events)) {
            const json_t *event = json_array_get(events, c->index++);
            if (c->part == EPHEMERAL) {
                take_ephemeral(w, room_id, event);
            } else {
                take_event(w, room_id, event, c->part == STATE);
            }
            return true;
        }
    }
    return false;
}

/* true: that was an entry, and there may be more of this room. */
static bool walk_room(struct walk *w, struct dc_slice room_id, const json_t *room)
{
    struct dc_matrix_sync_cursor *c = w->c;
    const struct dc_matrix_sync_visitor *v = w->visitor;
    if (!dc_matrix_room_id_is_valid(room_id) || !json_is_object(room)) {
        c->skipped++;
    } else if (c->section == JOINED) {
        return next_in_room(w, room_id, room);
    } else if (c->section == LEFT && v->left != NULL) {
        v->left(w->data, room_id);
    } else if (c->section == INVITED && v->invited != NULL) {
        v->invited(w->data, room_id);
    }
    return false;
}

/* A room without anything new is an entry too, so that there is an end to what one call does. */
static bool next_of_rooms(struct walk *w)
{
    struct dc_matrix_sync_cursor *c = w->c;
    json_t *rooms = c->rooms[c->section];
    if (!c->is_entered) {
        c->is_entered = true;
        c->at = json_object_iter(rooms);
    }
    if (c->at == NULL) {
        return false;
    }
    if (!walk_room(w, dc_slice_z(json_object_iter_key(c->at)), json_object_iter_value(c->at))) {
        c->at = json_object_iter_next(rooms, c->at);
        c->part = STATE;
        c->index = 0;
    }
    return true;
}

/* --- presence --- */

static bool read_presence(const json_t *event, struct dc_matrix_presence *p)
{
    const json_t *content = json_object_get(event, "content");
    const json_t *ago = json_object_get(content, "last_active_ago");
    *p = (struct dc_matrix_presence){.user_id = dc_json_text(event, "sender"),
                                     .presence = dc_json_text(content, "presence"),
                                     .status_msg = dc_matrix_read_text(content, "status_msg"),
                                     .last_active_ago_ms = -1};
    if (json_is_integer(ago) && json_integer_value(ago) >= 0) {
        p->last_active_ago_ms = json_integer_value(ago);
    }
    return is_user_id(p->user_id) && (dc_slice_eq(p->presence, DC_S("online")) ||
                                      dc_slice_eq(p->presence, DC_S("unavailable")) ||
                                      dc_slice_eq(p->presence, DC_S("offline")));
}

static bool next_of_presence(struct walk *w)
{
    struct dc_matrix_presence presence;
    struct dc_matrix_sync_cursor *c = w->c;
    if (w->visitor->presence == NULL || c->index >= json_array_size(c->presence)) {
        return false;
    }
    const json_t *event = json_array_get(c->presence, c->index++);
    if (!dc_slice_eq(dc_json_text(event, "type"), DC_S("m.presence"))) {
        return true;
    }
    if (read_presence(event, &presence)) {
        w->visitor->presence(w->data, &presence);
    } else {
        c->skipped++;
    }
    return true;
}

/* --- the whole --- */

static json_t *object_of(const json_t *json, const char *key_z)
{
    json_t *object = json_object_get(json, key_z);
    return json_is_object(object) ? object : NULL;
}

enum dc_status dc_matrix_sync_open(const json_t *json, struct dc_matrix_sync_cursor *c,
                                   struct dc_slice *next_batch, struct dc_error *err)
{
    const json_t *rooms = json_object_get(json, "rooms");
    *next_batch = dc_matrix_read_text(json, "next_batch");
    *c = (struct dc_matrix_sync_cursor){.rooms = {[JOINED] = object_of(rooms, "join"),
                                                  [LEFT] = object_of(rooms, "leave"),
                                                  [INVITED] = object_of(rooms, "invite")},
                                        .presence = events_of(json_object_get(json, "presence"))};
    return next_batch->len > 0 && next_batch->len <= TOKEN_MAX_BYTES
               ? DC_OK
               : dc_matrix_bad_answer(err, "a place to go on from (next_batch)");
}

bool dc_matrix_sync_next(struct dc_matrix_sync_cursor *c,
                         const struct dc_matrix_sync_visitor *visitor, void *data)
{
    struct walk w = {.visitor = visitor, .data = data, .c = c};
    while (c->section < END) {
        if (c->section == PRESENCE ? next_of_presence(&w) : next_of_rooms(&w)) {
            return true;
        }
        c->section++;
        c->is_entered = false;
        c->part = STATE;
        c->index = 0;
    }
    return false;
}

enum dc_status dc_matrix_sync_walk(const json_t *json, const struct dc_matrix_sync_visitor *visitor,
                                   void *data, struct dc_slice *next_batch, size_t *skipped,
                                   struct dc_error *err)
{
    struct dc_matrix_sync_cursor c;
    enum dc_status st = dc_matrix_sync_open(json, &c, next_batch, err);
    while (st == DC_OK && dc_matrix_sync_next(&c, visitor, data)) {
        /* one after the other */
    }
    *skipped = c.skipped;
    return st;
}
