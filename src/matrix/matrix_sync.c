/* Answers of /sync. */
#include "matrix/matrix_sync.h"
#include "base/input.h"
#include "matrix/matrix_error.h"
#include "matrix/matrix_id.h"
#include "matrix/matrix_read.h"

#define TYPE_MAX_BYTES  255
#define TOKEN_MAX_BYTES 4096

struct walk {
    const struct dc_matrix_sync_visitor *visitor;
    void *data;
    size_t skipped;
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

static void walk_events(struct walk *w, struct dc_slice room_id, const json_t *block, bool is_state)
{
    const json_t *events = events_of(block);
    struct dc_matrix_event event;
    for (size_t i = 0; w->visitor->event != NULL && i < json_array_size(events); i++) {
        if (read_event(json_array_get(events, i), is_state, &event)) {
            w->visitor->event(w->data, room_id, &event);
        } else {
            w->skipped++;
        }
    }
}

static void walk_ephemeral(struct walk *w, struct dc_slice room_id, const json_t *block)
{
    const json_t *events = events_of(block);
    for (size_t i = 0; w->visitor->typing != NULL && i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        const json_t *users = json_object_get(json_object_get(event, "content"), "user_ids");
        if (!dc_slice_eq(dc_json_text(event, "type"), DC_S("m.typing"))) {
            continue;
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
            w->skipped++;
        }
    }
}

typedef void (*room_cb)(struct walk *w, struct dc_slice room_id, const json_t *room);

static void walk_joined(struct walk *w, struct dc_slice room_id, const json_t *room)
{
    walk_events(w, room_id, json_object_get(room, "state"), true);
    walk_events(w, room_id, json_object_get(room, "timeline"), false);
    walk_ephemeral(w, room_id, json_object_get(room, "ephemeral"));
}

static void walk_left(struct walk *w, struct dc_slice room_id, const json_t *room)
{
    (void)room;
    if (w->visitor->left != NULL) {
        w->visitor->left(w->data, room_id);
    }
}

static void walk_invited(struct walk *w, struct dc_slice room_id, const json_t *room)
{
    (void)room;
    if (w->visitor->invited != NULL) {
        w->visitor->invited(w->data, room_id);
    }
}

static void walk_rooms(struct walk *w, const json_t *rooms, const char *key_z, room_cb visit)
{
    const json_t *block = json_object_get(rooms, key_z);
    /* The iterator of jansson takes an object that it could change; it does not. */
    json_t *object = json_is_object(block) ? json_object_get(rooms, key_z) : NULL;
    for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it)) {
        struct dc_slice room_id = dc_slice_z(json_object_iter_key(it));
        const json_t *room = json_object_iter_value(it);
        if (dc_matrix_room_id_is_valid(room_id) && json_is_object(room)) {
            visit(w, room_id, room);
        } else {
            w->skipped++;
        }
    }
}

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

static void walk_presence(struct walk *w, const json_t *block)
{
    const json_t *events = events_of(block);
    struct dc_matrix_presence presence;
    for (size_t i = 0; w->visitor->presence != NULL && i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        if (!dc_slice_eq(dc_json_text(event, "type"), DC_S("m.presence"))) {
            continue;
        }
        if (read_presence(event, &presence)) {
            w->visitor->presence(w->data, &presence);
        } else {
            w->skipped++;
        }
    }
}

enum dc_status dc_matrix_sync_walk(const json_t *json, const struct dc_matrix_sync_visitor *visitor,
                                   void *data, struct dc_slice *next_batch, size_t *skipped,
                                   struct dc_error *err)
{
    struct walk w = {.visitor = visitor, .data = data};
    struct dc_slice token = dc_matrix_read_text(json, "next_batch");
    const json_t *rooms = json_object_get(json, "rooms");
    *skipped = 0;
    if (token.len == 0 || token.len > TOKEN_MAX_BYTES) {
        return dc_matrix_bad_answer(err, "a place to go on from (next_batch)");
    }
    walk_rooms(&w, rooms, "join", walk_joined);
    walk_rooms(&w, rooms, "leave", walk_left);
    walk_rooms(&w, rooms, "invite", walk_invited);
    walk_presence(&w, json_object_get(json, "presence"));
    *next_batch = token;
    *skipped = w.skipped;
    return DC_OK;
}
