/* Transactions of a homeserver. */
#include "matrix/matrix_push.h"
#include "base/input.h"
#include "base/utf8.h"
#include "matrix/matrix_id.h"

/* --- taking the list apart --- */

static void skip_blanks(struct dc_slice *in)
{
    while (in->len > 0 &&
           (*in->ptr == ' ' || *in->ptr == '\t' || *in->ptr == '\n' || *in->ptr == '\r')) {
        in->ptr++;
        in->len--;
    }
}

static bool take_char(struct dc_slice *in, char c)
{
    skip_blanks(in);
    if (in->len == 0 || *in->ptr != c) {
        return false;
    }
    in->ptr++;
    in->len--;
    return true;
}

/* Behind the quote that ends a string; in stands behind the one that begins it. */
static bool skip_string(struct dc_slice *in)
{
    for (size_t i = 0; i < in->len; i++) {
        if (in->ptr[i] == '\\') {
            i++;
        } else if (in->ptr[i] == '"') {
            *in = dc_slice_make(in->ptr + i + 1, in->len - i - 1);
            return true;
        }
    }
    return false;
}

static bool is_end_of_word(char c)
{
    return c == ',' || c == ']' || c == '}' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A number, true, null: up to what cannot be part of it. */
static bool skip_word(struct dc_slice *in)
{
    size_t n = 0;
    while (n < in->len && !is_end_of_word(in->ptr[n])) {
        n++;
    }
    *in = dc_slice_make(in->ptr + n, in->len - n);
    return n > 0;
}

/* One value, however deep: brackets are counted, whether they match is the parser's business. */
static bool skip_value(struct dc_slice *in)
{
    size_t depth = 0;
    skip_blanks(in);
    do {
        if (in->len == 0) {
            return false;
        }
        char c = *in->ptr;
        if (depth == 0 && c != '"' && c != '{' && c != '[') {
            return skip_word(in);
        }
        in->ptr++;
        in->len--;
        if (c == '"') {
            if (!skip_string(in)) {
                return false;
            }
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    } while (depth > 0);
    return true;
}

bool dc_matrix_push_open(struct dc_slice body, struct dc_matrix_push *push)
{
    struct dc_slice in = body;
    *push = (struct dc_matrix_push){.rest = DC_SLICE_NULL};
    if (!take_char(&in, '{')) {
        return false;
    }
    if (take_char(&in, '}')) {
        return true;
    }
    do {
        if (!take_char(&in, '"')) {
            return false;
        }
        struct dc_slice key = in;
        if (!skip_string(&in)) {
            return false;
        }
        key.len = (size_t)(in.ptr - key.ptr) - 1;
        if (!take_char(&in, ':')) {
            return false;
        }
        if (dc_slice_eq(key, DC_S("events")) && take_char(&in, '[')) {
            push->rest = in;
            return true;
        }
        if (!skip_value(&in)) {
            return false;
        }
    } while (take_char(&in, ','));
    return take_char(&in, '}');
}

bool dc_matrix_push_next(struct dc_matrix_push *push, struct dc_slice *event)
{
    struct dc_slice *in = &push->rest;
    if (in->ptr == NULL || take_char(in, ']')) {
        push->rest = DC_SLICE_NULL;
        return false;
    }
    skip_blanks(in);
    struct dc_slice start = *in;
    if (!skip_value(in)) {
        push->is_broken = true;
        push->rest = DC_SLICE_NULL;
        return false;
    }
    *event = dc_slice_make(start.ptr, start.len - in->len);
    skip_blanks(in);
    if (!take_char(in, ',') && (in->len == 0 || *in->ptr != ']')) {
        push->is_broken = true;
        push->rest = DC_SLICE_NULL;
        return false;
    }
    return true;
}

/* --- one event --- */

enum dc_status dc_matrix_push_read(struct dc_slice event, struct dc_matrix_pushed *out,
                                   struct dc_error *err)
{
    struct dc_slice localpart;
    struct dc_slice server;
    json_t *json = NULL;
    enum dc_status st = dc_json_parse_deep(event, DC_JSON_DEEPEST, &json, err);
    if (st != DC_OK) {
        return st;
    }
    *out = (struct dc_matrix_pushed){.json = json,
                                     .event_id = dc_json_text(json, "event_id"),
                                     .room_id = dc_json_text(json, "room_id"),
                                     .type = dc_json_text(json, "type"),
                                     .sender = dc_json_text(json, "sender"),
                                     .state_key = dc_json_text(json, "state_key"),
                                     .content = json_object_get(json, "content")};
    if (!dc_matrix_event_id_is_valid(out->event_id) || !dc_matrix_room_id_is_valid(out->room_id) ||
        out->type.len == 0 || !dc_matrix_id_split(out->sender, '@', &localpart, &server) ||
        !json_is_object(out->content)) {
        json_decref(json);
        *out = (struct dc_matrix_pushed){.json = NULL};
        return dc_fail(err, DC_MALFORMED, 0, "no event");
    }
    return DC_OK;
}

/* --- what it says --- */

/* How a message that is no text begins; an empty one: as it is. */
static struct dc_slice prefix_of(struct dc_slice msgtype)
{
    static const struct {
        const char *msgtype, *prefix;
    } known[] = {{"m.emote", "* "},       {"m.image", "[image] "}, {"m.file", "[file] "},
                 {"m.audio", "[audio] "}, {"m.video", "[video] "}, {"m.location", "[location] "}};
    for (size_t i = 0; i < DC_ARRAY_LEN(known); i++) {
        if (dc_slice_eq(dc_slice_z(known[i].msgtype), msgtype)) {
            return dc_slice_z(known[i].prefix);
        }
    }
    return DC_S("");
}

/* An answer to something may repeat it above, line by line behind "> ", for clients that cannot
 * show what it answers; who sees the room reads the same twice, with Matrix ids for names. */
static struct dc_slice without_quotation(const json_t *content, struct dc_slice body)
{
    const json_t *relation = json_object_get(content, "m.relates_to");
    struct dc_slice rest = body;
    if (!json_is_object(json_object_get(relation, "m.in_reply_to"))) {
        return body;
    }
    while (dc_slice_starts(rest, DC_S("> "))) {
        size_t end = dc_slice_find(rest, '\n');
        if (end == SIZE_MAX) {
            return body; /* nothing but a quotation: he has said that */
        }
        rest = dc_slice_make(rest.ptr + end + 1, rest.len - end - 1);
    }
    bool is_quotation = rest.ptr != body.ptr && dc_slice_starts(rest, DC_S("\n"));
    return is_quotation ? dc_slice_make(rest.ptr + 1, rest.len - 1) : body;
}

bool dc_matrix_message_text(const json_t *content, struct dc_strbuf *out)
{
    struct dc_slice body = dc_json_text(content, "body");
    struct dc_slice msgtype = dc_json_text(content, "msgtype");
    if (msgtype.len == 0 || !dc_text_is_valid(body)) {
        return false;
    }
    body = without_quotation(content, body);
    if (dc_text_trim(body).len == 0) {
        return false;
    }
    dc_strbuf_add(out, prefix_of(msgtype));
    dc_strbuf_add(out, body);
    return true;
}

struct dc_slice dc_matrix_display_name(struct dc_slice name)
{
    if (name.len == 0 || !dc_text_is_valid(name)) {
        return DC_SLICE_NULL;
    }
    struct dc_slice line = dc_text_trim(dc_utf8_prefix(name, DC_MATRIX_DISPLAY_NAME_MAX_CHARS));
    return line.len > 0 && dc_line_is_valid(line) ? line : DC_SLICE_NULL;
}
