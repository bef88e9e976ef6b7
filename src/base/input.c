/* Checks of single values, and the reader for JSON objects.  Details are for people and name no
 * value that came in. */
#include "base/input_priv.h"
#include "base/utf8.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define ID_MAX   128
#define SLUG_MAX 63

void dc_problem_add(struct dc_problems *p, const char *field, const char *code, const char *fmt,
                    ...)
{
    if (p->count >= DC_PROBLEMS_MAX) {
        return;
    }
    struct dc_problem *problem = &p->items[p->count++];
    problem->field = field;
    problem->code = code;
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(problem->detail, sizeof(problem->detail), fmt, args) < 0) {
        problem->detail[0] = '\0';
    }
    va_end(args);
}

/* C0 and C1 controls, DEL, the two separators that break lines, and what turns the direction of the
 * text behind it (embeddings, overrides, isolates): a name would rearrange the line it stands in.
 * The marks that only order what is beside them stay: names in Arabic and Hebrew need them. */
static bool is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp <= 0x9F) || cp == 0x2028 || cp == 0x2029 ||
           (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069);
}

/* White_Space of Unicode. */
static bool is_blank(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0D) || cp == 0x20 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

bool dc_text_is_valid(struct dc_slice s)
{
    return dc_slice_find(s, '\0') == SIZE_MAX && dc_utf8_is_valid(s);
}

bool dc_slug_is_valid(struct dc_slice s)
{
    if (s.len < 1 || s.len > SLUG_MAX) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!is_alnum && (i == 0 || (c != '_' && c != '-'))) {
            return false;
        }
    }
    return true;
}

/* One word, of valid UTF-8. */
static bool is_word(struct dc_slice s)
{
    uint32_t cp;
    while (dc_utf8_next(&s, &cp)) {
        if (is_control(cp) || is_blank(cp)) {
            return false;
        }
    }
    return true;
}

bool dc_id_is_valid(struct dc_slice s)
{
    return s.len >= 1 && dc_text_is_valid(s) && dc_utf8_count(s) <= ID_MAX && is_word(s);
}

bool dc_author_id_is_valid(struct dc_slice s)
{
    return s.len >= 1 && s.len <= DC_AUTHOR_ID_MAX_BYTES && dc_text_is_valid(s) && is_word(s);
}

bool dc_key_is_valid(struct dc_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7E) {
            return false;
        }
    }
    return s.len >= 1 && s.len <= ID_MAX;
}

static bool has_control(struct dc_slice s)
{
    uint32_t cp;
    while (dc_utf8_next(&s, &cp)) {
        if (is_control(cp)) {
            return true;
        }
    }
    return false;
}

bool dc_line_is_valid(struct dc_slice s)
{
    return dc_text_is_valid(s) && !has_control(s);
}

struct dc_slice dc_text_trim(struct dc_slice s)
{
    uint32_t cp;
    struct dc_slice rest = s;
    while (dc_utf8_next(&rest, &cp) && is_blank(cp)) {
        s = rest;
    }
    while (s.len > 0) {
        size_t last = s.len - 1;
        while (last > 0 && ((unsigned char)s.ptr[last] & 0xC0) == 0x80) {
            last--;
        }
        struct dc_slice tail = dc_slice_make(s.ptr + last, s.len - last);
        if (!dc_utf8_next(&tail, &cp) || !is_blank(cp)) {
            break;
        }
        s.len = last;
    }
    return s;
}

static void *slot_of(const struct dc_field *f, void *target)
{
    return (char *)target + f->offset;
}

bool dc_input_wrong_type(const struct dc_field *f, struct dc_problems *problems)
{
    switch (f->type) {
    case DC_FIELD_INT:
        dc_problem_add(problems, f->name, "wrong_type", "must be an integer");
        break;
    case DC_FIELD_BOOL:
        dc_problem_add(problems, f->name, "wrong_type", "must be true or false");
        break;
    case DC_FIELD_TEXT:
    case DC_FIELD_SLUG:
    case DC_FIELD_ID:
    case DC_FIELD_KEY:
        dc_problem_add(problems, f->name, "wrong_type", "must be text");
        break;
    }
    return false;
}

bool dc_input_missing(const struct dc_field *f, struct dc_problems *problems)
{
    if ((f->flags & DC_FIELD_REQUIRED) == 0) {
        return true;
    }
    dc_problem_add(problems, f->name, "missing", "is required");
    return false;
}

bool dc_input_out_of_range(const struct dc_field *f, struct dc_problems *problems)
{
    if (f->min == 0 && f->max == 0) {
        dc_problem_add(problems, f->name, "out_of_range", "must fit into 64 bits");
    } else if (f->max == INT64_MAX) {
        dc_problem_add(problems, f->name, "out_of_range", "must be at least %" PRId64, f->min);
    } else if (f->min == INT64_MIN) {
        dc_problem_add(problems, f->name, "out_of_range", "must be at most %" PRId64, f->max);
    } else {
        dc_problem_add(problems, f->name, "out_of_range",
                       "must be between %" PRId64 " and %" PRId64, f->min, f->max);
    }
    return false;
}

bool dc_input_put_int(const struct dc_field *f, int64_t v, void *target,
                      struct dc_problems *problems)
{
    if (f->min != 0 || f->max != 0) {
        if (v > f->max && (f->flags & DC_FIELD_CLAMP) != 0) {
            v = f->max;
        }
        if (v < f->min || v > f->max) {
            return dc_input_out_of_range(f, problems);
        }
    }
    memcpy(slot_of(f, target), &v, sizeof(v));
    return true;
}

bool dc_input_put_bool(const struct dc_field *f, bool v, void *target)
{
    memcpy(slot_of(f, target), &v, sizeof(v));
    return true;
}

static bool check_length(const struct dc_field *f, struct dc_slice text,
                         struct dc_problems *problems)
{
    if (f->min <= 0 && f->max <= 0) {
        return true;
    }
    /* A slice is never longer than PTRDIFF_MAX. */
    int64_t length = (int64_t)dc_utf8_count(text);
    if (length < f->min) {
        if (f->min == 1) {
            dc_problem_add(problems, f->name, "too_short", "must not be empty");
        } else {
            dc_problem_add(problems, f->name, "too_short",
                           "must be at least %" PRId64 " characters", f->min);
        }
        return false;
    }
    if ((f->flags & DC_FIELD_NOT_BLANK) != 0 && length > 0 && dc_text_trim(text).len == 0) {
        dc_problem_add(problems, f->name, "too_short", "must not be blank");
        return false;
    }
    if (f->max > 0 && length > f->max) {
        dc_problem_add(problems, f->name, "too_long", "must be at most %" PRId64 " characters",
                       f->max);
        return false;
    }
    return true;
}

static bool check_format(const struct dc_field *f, struct dc_slice text,
                         struct dc_problems *problems)
{
    switch (f->type) {
    case DC_FIELD_SLUG:
        if (!dc_slug_is_valid(text)) {
            dc_problem_add(problems, f->name, "invalid_format",
                           "must be 1 to %d of a-z, 0-9, - and _, starting with a letter or digit",
                           SLUG_MAX);
            return false;
        }
        return true;
    case DC_FIELD_ID:
        if (!dc_id_is_valid(text)) {
            dc_problem_add(problems, f->name, "invalid_format",
                           "must be 1 to %d characters without blanks", ID_MAX);
            return false;
        }
        return true;
    case DC_FIELD_KEY:
        if (!dc_key_is_valid(text)) {
            dc_problem_add(problems, f->name, "invalid_format",
                           "must be 1 to %d printable ASCII characters", ID_MAX);
            return false;
        }
        return true;
    case DC_FIELD_TEXT:
        return check_length(f, text, problems);
    case DC_FIELD_INT:
    case DC_FIELD_BOOL:
        break;
    }
    return dc_input_wrong_type(f, problems);
}

bool dc_input_put_text(const struct dc_field *f, struct dc_slice text, void *target,
                       struct dc_problems *problems)
{
    if (!dc_text_is_valid(text)) {
        dc_problem_add(problems, f->name, "invalid_text", "must be valid UTF-8 without NUL");
        return false;
    }
    if ((f->flags & DC_FIELD_TRIM) != 0) {
        text = dc_text_trim(text);
    }
    if ((f->flags & DC_FIELD_SINGLE_LINE) != 0 && has_control(text)) {
        dc_problem_add(problems, f->name, "invalid_text",
                       "must be one line without control characters");
        return false;
    }
    if (!check_format(f, text, problems)) {
        return false;
    }
    memcpy(slot_of(f, target), &text, sizeof(text));
    return true;
}

static bool read_json_field(const struct dc_field *f, const json_t *object, void *target,
                            struct dc_problems *problems)
{
    const json_t *value = json_object_get(object, f->name);
    if (value == NULL || (json_is_null(value) && (f->flags & DC_FIELD_NULLABLE) != 0)) {
        return dc_input_missing(f, problems);
    }
    switch (f->type) {
    case DC_FIELD_INT:
        /* 5.0 is refused as well: what it means beyond 2^53 depends on the sender. */
        return json_is_integer(value)
                   ? dc_input_put_int(f, (int64_t)json_integer_value(value), target, problems)
                   : dc_input_wrong_type(f, problems);
    case DC_FIELD_BOOL:
        return json_is_boolean(value) ? dc_input_put_bool(f, json_is_true(value), target)
                                      : dc_input_wrong_type(f, problems);
    case DC_FIELD_TEXT:
    case DC_FIELD_SLUG:
    case DC_FIELD_ID:
    case DC_FIELD_KEY:
        break;
    }
    if (!json_is_string(value)) {
        return dc_input_wrong_type(f, problems);
    }
    return dc_input_put_text(f, dc_slice_make(json_string_value(value), json_string_length(value)),
                             target, problems);
}

enum dc_status dc_input_json(const struct dc_field *fields, size_t n, const json_t *object,
                             void *target, struct dc_problems *problems)
{
    if (!json_is_object(object)) {
        dc_problem_add(problems, "body", "wrong_type", "must be a JSON object");
        return DC_INVALID;
    }
    bool is_valid = true;
    for (size_t i = 0; i < n; i++) {
        is_valid = read_json_field(&fields[i], object, target, problems) && is_valid;
    }
    return is_valid ? DC_OK : DC_INVALID;
}
