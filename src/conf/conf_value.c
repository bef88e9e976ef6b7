/* One value: from text to its field, and how it is shown. */
#include "base/mem.h"
#include "conf/conf_priv.h"
#include <inttypes.h>
#include <stdio.h>

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit ms_units[] = {{"", 1},      {"ms", 1},      {"s", 1000},
                                       {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
static const struct unit byte_units[] = {{"", 1},        {"k", 1 << 10}, {"K", 1 << 10},
                                         {"m", 1 << 20}, {"M", 1 << 20}, {"g", 1 << 30},
                                         {"G", 1 << 30}};

bool dc_conf_bool_parse(struct dc_slice text, bool *out)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};

    for (size_t i = 0; i < DC_ARRAY_LEN(yes); i++) {
        if (dc_slice_ieq(text, dc_slice_z(yes[i]))) {
            *out = true;
            return true;
        }
        if (dc_slice_ieq(text, dc_slice_z(no[i]))) {
            *out = false;
            return true;
        }
    }
    return false;
}

/* A whole number and one of the units. */
static bool parse_with_unit(struct dc_slice text, const struct unit *units, size_t n, int64_t *out)
{
    size_t digits = 0;
    int64_t number = 0;

    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
        digits++;
    }
    if (!dc_slice_to_i64(dc_slice_make(text.ptr, digits), &number)) {
        return false;
    }
    struct dc_slice unit = dc_slice_make(text.ptr + digits, text.len - digits);
    for (size_t i = 0; i < n; i++) {
        if (dc_slice_eq(unit, dc_slice_z(units[i].name))) {
            return !__builtin_mul_overflow(number, units[i].factor, out);
        }
    }
    return false;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7F) {
            return true;
        }
    }
    return false;
}

static bool is_word(const char *values, struct dc_slice text)
{
    struct dc_slice rest = dc_slice_z(values);
    struct dc_slice word;

    while (dc_slice_take_token(&rest, '|', &word)) {
        if (dc_slice_eq(word, text)) {
            return true;
        }
    }
    return false;
}

/* The value's field; the table has checked the types. */
static void *field(const struct dc_opt *o, struct dc_settings *s)
{
    return (char *)s + o->offset;
}

static bool store_text(const struct dc_opt *o, const char *text, struct dc_settings *s,
                       char why[CONF_WHY_SIZE])
{
    const char *wrong = NULL;

    if (o->check != NULL) {
        wrong = o->check(dc_slice_z(text));
    }
    if (wrong == NULL && (o->flags & DC_OPT_SECRET) == 0 && has_control(text)) {
        wrong = "has control characters";
    }
    if (wrong != NULL) {
        (void)snprintf(why, CONF_WHY_SIZE, "%s", wrong);
        return false;
    }
    *(const char **)field(o, s) = text;
    return true;
}

static bool store_number(const struct dc_opt *o, const char *text, struct dc_settings *s,
                         char why[CONF_WHY_SIZE])
{
    struct dc_slice slice = dc_slice_z(text);
    const char *expected = "is not a whole number";
    const char *unit = "";
    int64_t v = 0;
    bool is_ok = false;

    if (o->type == DC_OPT_MS) {
        is_ok = parse_with_unit(slice, ms_units, DC_ARRAY_LEN(ms_units), &v);
        expected = "is not a time such as 500, 500ms, 5s, 10m, 2h or 30d";
        unit = " ms";
    } else if (o->type == DC_OPT_BYTES) {
        is_ok = parse_with_unit(slice, byte_units, DC_ARRAY_LEN(byte_units), &v);
        expected = "is not a size such as 65536, 64k, 16M or 1G";
        unit = " bytes";
    } else {
        is_ok = dc_slice_to_i64(slice, &v);
    }
    if (!is_ok) {
        (void)snprintf(why, CONF_WHY_SIZE, "%s", expected);
        return false;
    }
    if (v < o->min || v > o->max) {
        (void)snprintf(why, CONF_WHY_SIZE, "is not between %" PRId64 " and %" PRId64 "%s", o->min,
                       o->max, unit);
        return false;
    }
    *(int64_t *)field(o, s) = v;
    return true;
}

bool dc_conf_value_parse(const struct dc_opt *o, const char *text, struct dc_settings *s,
                         char why[CONF_WHY_SIZE])
{
    switch (o->type) {
    case DC_OPT_TEXT:
        return store_text(o, text, s, why);
    case DC_OPT_INT:
    case DC_OPT_MS:
    case DC_OPT_BYTES:
        return store_number(o, text, s, why);
    case DC_OPT_BOOL:
        if (!dc_conf_bool_parse(dc_slice_z(text), field(o, s))) {
            (void)snprintf(why, CONF_WHY_SIZE, "is neither yes nor no");
            return false;
        }
        return true;
    case DC_OPT_ENUM:
        if (!is_word(o->values, dc_slice_z(text))) {
            (void)snprintf(why, CONF_WHY_SIZE, "is none of %s", o->values);
            return false;
        }
        *(const char **)field(o, s) = text;
        return true;
    }
    return false;
}

void dc_conf_value_show(const struct dc_opt *o, const char *text, struct dc_strbuf *out)
{
    if (text == NULL) {
        dc_strbuf_add(out, DC_S("(unset)"));
    } else if ((o->flags & DC_OPT_SECRET) != 0) {
        dc_strbuf_add(out, DC_S("(set)"));
    } else {
        size_t from = out->len;
        if ((o->flags & DC_OPT_URL) != 0) {
            dc_conf_mask_url(dc_slice_z(text), out);
        } else {
            dc_strbuf_add_z(out, text);
        }
        for (size_t i = from; i < out->len; i++) {
            if ((unsigned char)out->ptr[i] < ' ' || out->ptr[i] == 0x7F) {
                out->ptr[i] = '?';
            }
        }
    }
}
