/* The reader for query strings (application/x-www-form-urlencoded).  Names are compared as they
 * are decoded, values are decoded into the arena.  A query has no null, so an empty value plays
 * its part: it counts as missing where the field is nullable. */
#include "base/encoding.h"
#include "base/input_priv.h"

enum lookup {
    LOOKUP_FOUND,
    LOOKUP_MISSING,
    LOOKUP_MALFORMED,
    LOOKUP_NO_MEMORY,
};

/* Room of its own for the decoded text, so that nothing is allocated: decoding never makes text
 * longer, hence the buffer never grows (and must not be freed). */
static struct dc_strbuf fixed_buffer(char *mem, size_t size)
{
    return (struct dc_strbuf){.ptr = mem, .cap = size};
}

static bool name_is(struct dc_slice raw, struct dc_slice name)
{
    if (dc_slice_find(raw, '%') == SIZE_MAX && dc_slice_find(raw, '+') == SIZE_MAX) {
        return dc_slice_eq(raw, name);
    }
    /* Each byte takes at most three; names of fields are short. */
    char mem[3 * 64];
    if (raw.len > sizeof(mem)) {
        return false;
    }
    struct dc_strbuf decoded = fixed_buffer(mem, sizeof(mem));
    return dc_percent_decode(&decoded, raw, true) && dc_slice_eq(dc_strbuf_slice(&decoded), name);
}

static enum lookup look_up(struct dc_slice query, struct dc_slice name, struct dc_arena *arena,
                           struct dc_slice *out)
{
    struct dc_slice pair;
    while (dc_slice_take_token(&query, '&', &pair)) {
        struct dc_slice raw_name;
        if (!dc_slice_take_token(&pair, '=', &raw_name) || !name_is(raw_name, name)) {
            continue;
        }
        /* what is left of the pair is the value; none without '=' */
        char *mem = dc_arena_alloc(arena, pair.len + 1);
        if (mem == NULL) {
            return LOOKUP_NO_MEMORY;
        }
        struct dc_strbuf decoded = fixed_buffer(mem, pair.len + 1);
        if (!dc_percent_decode(&decoded, pair, true)) {
            return LOOKUP_MALFORMED;
        }
        mem[decoded.len] = '\0';
        *out = dc_strbuf_slice(&decoded);
        return LOOKUP_FOUND;
    }
    return LOOKUP_MISSING;
}

bool dc_query_get(struct dc_slice query, struct dc_slice name, struct dc_arena *arena,
                  struct dc_slice *out)
{
    return look_up(query, name, arena, out) == LOOKUP_FOUND;
}

/* An integer that is one, but does not fit into int64_t. */
static bool is_huge_integer(struct dc_slice text)
{
    dc_slice_take_prefix(&text, DC_S("-"));
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
    }
    return text.len > 0;
}

static bool put_int_text(const struct dc_field *f, struct dc_slice text, void *target,
                         struct dc_problems *problems)
{
    int64_t v;
    if (dc_slice_to_i64(text, &v)) {
        return dc_input_put_int(f, v, target, problems);
    }
    if (!is_huge_integer(text)) {
        return dc_input_wrong_type(f, problems);
    }
    bool is_clamped = (f->flags & DC_FIELD_CLAMP) != 0 && (f->min != 0 || f->max != 0) &&
                      !dc_slice_starts(text, DC_S("-"));
    return is_clamped ? dc_input_put_int(f, f->max, target, problems)
                      : dc_input_out_of_range(f, problems);
}

static bool put_bool_text(const struct dc_field *f, struct dc_slice text, void *target,
                          struct dc_problems *problems)
{
    if (dc_slice_eq(text, DC_S("true")) || dc_slice_eq(text, DC_S("1"))) {
        return dc_input_put_bool(f, true, target);
    }
    if (dc_slice_eq(text, DC_S("false")) || dc_slice_eq(text, DC_S("0"))) {
        return dc_input_put_bool(f, false, target);
    }
    return dc_input_wrong_type(f, problems);
}

static bool put_query_value(const struct dc_field *f, struct dc_slice text, void *target,
                            struct dc_problems *problems)
{
    if (text.len == 0 && (f->flags & DC_FIELD_NULLABLE) != 0) {
        return dc_input_missing(f, problems);
    }
    switch (f->type) {
    case DC_FIELD_INT:
        return put_int_text(f, text, target, problems);
    case DC_FIELD_BOOL:
        return put_bool_text(f, text, target, problems);
    case DC_FIELD_TEXT:
    case DC_FIELD_SLUG:
    case DC_FIELD_ID:
    case DC_FIELD_KEY:
        break;
    }
    return dc_input_put_text(f, text, target, problems);
}

enum dc_status dc_input_query(const struct dc_field *fields, size_t n, struct dc_slice query,
                              struct dc_arena *arena, void *target, struct dc_problems *problems)
{
    bool is_valid = true;
    for (size_t i = 0; i < n; i++) {
        const struct dc_field *f = &fields[i];
        struct dc_slice text = DC_SLICE_NULL;
        switch (look_up(query, dc_slice_z(f->name), arena, &text)) {
        case LOOKUP_FOUND:
            is_valid = put_query_value(f, text, target, problems) && is_valid;
            break;
        case LOOKUP_MISSING:
            is_valid = dc_input_missing(f, problems) && is_valid;
            break;
        case LOOKUP_MALFORMED:
            dc_problem_add(problems, f->name, "invalid_text", "is not well percent-encoded");
            is_valid = false;
            break;
        case LOOKUP_NO_MEMORY:
            return DC_NO_MEMORY;
        }
    }
    return is_valid ? DC_OK : DC_INVALID;
}
