/* Reading: jansson, with the limits that it does not have itself.  Its depth limit (2048) is a
 * constant of its build, so depth is counted before it sees the text.  Its messages quote the
 * input, so they are replaced by ours and a position. */
#include "base/json.h"

#define CODE_INVALID_JSON "invalid_json"

/* Counts brackets outside strings.  Whether they match is the parser's business; an unterminated
 * string hides the rest, which the parser refuses anyway. */
static bool is_too_deep(struct dc_slice text, size_t max_depth)
{
    size_t depth = 0;
    bool is_in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (is_in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                is_in_string = false;
            }
        } else if (c == '"') {
            is_in_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
            if (depth > max_depth) {
                return true;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static const char *reason_of(const json_error_t *jerr)
{
    switch ((int)json_error_code(jerr)) {
    case json_error_premature_end_of_input:
        return "the JSON ends too early";
    case json_error_end_of_input_expected:
        return "something follows the JSON value";
    case json_error_invalid_utf8:
        return "the JSON is not valid UTF-8";
    case json_error_duplicate_key:
        return "a key occurs twice in a JSON object";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "NUL is not allowed in the names of members";
    case json_error_numeric_overflow:
        return "a number in the JSON is too large";
    default:
        return "not valid JSON";
    }
}

enum dc_status dc_json_parse_deep(struct dc_slice text, size_t max_depth, json_t **out,
                                  struct dc_error *err)
{
    *out = NULL;
    if (text.len == 0) {
        return dc_fail_code(err, DC_MALFORMED, CODE_INVALID_JSON, "the JSON is empty");
    }
    if (is_too_deep(text, max_depth)) {
        return dc_fail_code(err, DC_MALFORMED, CODE_INVALID_JSON,
                            "the JSON is nested deeper than %zu levels", max_depth);
    }
    json_error_t jerr;
    json_t *root = json_loadb(text.ptr, text.len,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &jerr);
    if (root != NULL) {
        *out = root;
        return DC_OK;
    }
    /* The parser has a text for everything it refuses; none means that it ran out of memory. */
    if (jerr.text[0] == '\0' || json_error_code(&jerr) == json_error_out_of_memory) {
        return dc_fail(err, DC_NO_MEMORY, 0, "no memory for the JSON");
    }
    return dc_fail_code(err, DC_MALFORMED, CODE_INVALID_JSON, "%s (line %d, column %d)",
                        reason_of(&jerr), jerr.line, jerr.column);
}

enum dc_status dc_json_parse(struct dc_slice text, json_t **out, struct dc_error *err)
{
    return dc_json_parse_deep(text, DC_JSON_MAX_DEPTH, out, err);
}

struct dc_slice dc_json_text(const json_t *object, const char *key_z)
{
    const json_t *value = json_object_get(object, key_z);
    if (!json_is_string(value)) {
        return DC_SLICE_NULL;
    }
    return dc_slice_make(json_string_value(value), json_string_length(value));
}
