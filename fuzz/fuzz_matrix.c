/* What homeservers answer, and the ids and paths made of what people send: nothing is read past its
 * end, an id is of one of the allowed forms, an encoded part stays in its place.  The first byte
 * chooses the HTTP status. */
#include "base/encoding.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "matrix/matrix_error.h"
#include "matrix/matrix_id.h"
#include "matrix/matrix_path.h"
#include "matrix/matrix_push.h"
#include "matrix/matrix_read.h"
#include "matrix/matrix_sync.h"

#include <stdlib.h>

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* Everything that is handed out is read to its end. */
static void touch(size_t *sum, struct dc_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        *sum += (unsigned char)s.ptr[i];
    }
}

static void on_event(void *data, struct dc_slice room_id, const struct dc_matrix_event *event)
{
    touch(data, room_id);
    touch(data, event->type);
    touch(data, event->state_key);
    require(dc_matrix_room_id_is_valid(room_id) && event->event_id.len > 0 && event->type.len > 0);
}

static void on_typing(void *data, struct dc_slice room_id, const json_t *user_ids)
{
    struct dc_slice local, server;
    touch(data, room_id);
    for (size_t i = 0; i < json_array_size(user_ids); i++) {
        const json_t *user = json_array_get(user_ids, i);
        require(dc_matrix_id_split(dc_slice_make(json_string_value(user), json_string_length(user)),
                                   '@', &local, &server));
    }
}

static void on_room(void *data, struct dc_slice room_id)
{
    touch(data, room_id);
}

static void on_presence(void *data, const struct dc_matrix_presence *presence)
{
    touch(data, presence->status_msg);
    require(presence->user_id.len > 3 && presence->last_active_ago_ms >= -1);
}

static void read_answer(int http_status, struct dc_slice body)
{
    static const struct dc_matrix_sync_visitor visitor = {on_event, on_typing, on_room, on_room,
                                                          on_presence};
    struct dc_error err = {0};
    struct dc_slice a, b;
    size_t sum = 0, skipped = 0;
    json_t *json = NULL;
    if (dc_json_parse_deep(body, DC_JSON_DEEPEST, &json, NULL) != DC_OK) {
        require(dc_matrix_error_of_answer(http_status, NULL, &err) != DC_OK);
        return;
    }
    require(dc_matrix_error_of_answer(http_status, json, &err) == err.status &&
            err.status != DC_OK);
    require(dc_matrix_retry_after_ms(json) >= -1);
    if (dc_matrix_read_room_id(json, &a, &err) == DC_OK) {
        touch(&sum, a);
    }
    if (dc_matrix_read_user_id(json, DC_S("x"), &a, &err) == DC_OK) {
        touch(&sum, a);
    }
    if (dc_matrix_read_login(json, &a, &b, &err) == DC_OK) {
        touch(&sum, a);
        touch(&sum, b);
    }
    if (dc_matrix_read_nonce(json, &a, &err) == DC_OK) {
        touch(&sum, a);
    }
    if (dc_matrix_read_user(json, "sender", &a, &err) == DC_OK) {
        touch(&sum, a);
    }
    touch(&sum, dc_matrix_read_text(json, "name"));
    if (dc_matrix_sync_walk(json, &visitor, &sum, &a, &skipped, &err) == DC_OK) {
        touch(&sum, a);
    }
    json_decref(json);
}

/* A path keeps its number of segments whatever a part holds, and the part can be had back. */
static void make_path(struct dc_slice part)
{
    struct dc_strbuf path = {0};
    struct dc_strbuf back = {0};
    if (dc_matrix_path(&path, "/a/{}/b", &part, 1)) {
        size_t slashes = 0;
        for (size_t i = 0; i < path.len; i++) {
            slashes += path.ptr[i] == '/';
        }
        require(slashes == 3);
        struct dc_slice encoded = dc_slice_make(path.ptr + 3, path.len - 5);
        if (memchr(part.ptr, '\0', part.len) == NULL) {
            require(dc_percent_decode(&back, encoded, false));
            require(dc_slice_eq(dc_strbuf_slice(&back), part));
        }
    }
    dc_strbuf_free(&path);
    dc_strbuf_free(&back);
}

static void make_ids(struct dc_slice id)
{
    struct dc_strbuf out = {0};
    struct dc_slice local, server, slug;
    dc_matrix_user_id(id, DC_S("example.org"), &out);
    require(out.len <= DC_MATRIX_ID_MAX_BYTES);
    require(dc_matrix_id_split(dc_strbuf_slice(&out), '@', &local, &server));
    require(dc_slice_eq(server, DC_S("example.org")));
    struct dc_strbuf back = {0};
    enum dc_matrix_account_kind owner =
        dc_matrix_account_of(dc_strbuf_slice(&out), DC_S("example.org"), &back);
    require(owner != DC_MATRIX_RESIDENT || dc_slice_eq(dc_strbuf_slice(&back), id));
    require(id.len == 0 || owner != DC_MATRIX_STRANGER);
    dc_strbuf_free(&back);
    dc_strbuf_free(&out);
    /* The other way round: whoever is found has this account and no other. */
    if (dc_matrix_account_of(id, DC_S("example.org"), &back) == DC_MATRIX_RESIDENT) {
        dc_matrix_user_id(dc_strbuf_slice(&back), DC_S("example.org"), &out);
        require(dc_slice_eq(dc_strbuf_slice(&out), id));
        dc_strbuf_free(&out);
    }
    dc_strbuf_free(&back);
    if (dc_matrix_alias_is_city(id, DC_S("x"), &slug)) {
        dc_matrix_room_alias(slug, DC_S("x"), &out);
        require(dc_slice_eq(dc_strbuf_slice(&out), id));
        dc_strbuf_free(&out);
    }
}

/* What is pushed: events lie one behind the other in the text, and each can be read by itself. What
 * the JSON parser takes as a list of events has as many of them here. */
static void read_push(struct dc_slice body)
{
    struct dc_matrix_push push;
    struct dc_slice text, local, server;
    const char *at = body.ptr;
    size_t n = 0, sum = 0;
    json_t *json = NULL;
    bool is_object = dc_matrix_push_open(body, &push);
    while (is_object && dc_matrix_push_next(&push, &text)) {
        struct dc_matrix_pushed event;
        struct dc_strbuf said = {0};
        require(text.len > 0 && text.ptr > at && text.ptr + text.len <= body.ptr + body.len);
        at = text.ptr + text.len - 1;
        n++;
        if (dc_matrix_push_read(text, &event, NULL) != DC_OK) {
            continue;
        }
        touch(&sum, event.type);
        touch(&sum, event.state_key);
        require(dc_matrix_event_id_is_valid(event.event_id) &&
                dc_matrix_room_id_is_valid(event.room_id) &&
                dc_matrix_id_split(event.sender, '@', &local, &server));
        if (dc_matrix_message_text(event.content, &said)) {
            require(said.len > 0 && dc_utf8_is_valid(dc_strbuf_slice(&said)) &&
                    memchr(said.ptr, '\0', said.len) == NULL);
        }
        struct dc_slice name = dc_matrix_display_name(dc_json_text(event.content, "displayname"));
        require(name.ptr == NULL || (name.len > 0 && dc_utf8_count(name) <= 64));
        dc_strbuf_free(&said);
        json_decref(event.json);
    }
    if (dc_json_parse_deep(body, DC_JSON_DEEPEST, &json, NULL) == DC_OK && json_is_object(json)) {
        require(is_object && !push.is_broken);
        /* A key that is written with escapes is another one to the scanner. */
        require(n == 0 || n == json_array_size(json_object_get(json, "events")));
    }
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 400, 401, 403, 404, 429, 500, 502};
    if (size == 0) {
        return 0;
    }
    struct dc_slice text = dc_slice_make(data + 1, size - 1);
    read_answer(statuses[data[0] % DC_ARRAY_LEN(statuses)], text);
    read_push(text);
    make_path(text);
    make_ids(text);
    return 0;
}
