/* Subjects: validity, matching, escaping of tokens. */
#include "bus/subjects.h"

#define ANY  DC_S("*")
#define REST DC_S(">")

static bool is_plain_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '=';
}

static bool is_token(struct dc_slice t)
{
    for (size_t i = 0; i < t.len; i++) {
        char c = t.ptr[i];
        if (!is_plain_char(c) && c != '%' && c != ':' && c != '@' && c != '~') {
            return false;
        }
    }
    return t.len > 0;
}

/* Splits at dots by hand: an empty token at the end must be seen. */
static struct dc_slice next_token(struct dc_slice *in, bool *is_last)
{
    size_t dot = dc_slice_find(*in, '.');
    *is_last = dot == SIZE_MAX;
    size_t len = *is_last ? in->len : dot;
    struct dc_slice token = {in->ptr, len};
    size_t eaten = *is_last ? len : len + 1;
    *in = dc_slice_make(in->ptr + eaten, in->len - eaten);
    return token;
}

static bool is_valid(struct dc_slice s, bool is_pattern)
{
    if (s.ptr == NULL || s.len == 0 || s.len > DC_BUS_SUBJECT_MAX_BYTES) {
        return false;
    }
    bool is_last = false;
    while (!is_last) {
        struct dc_slice t = next_token(&s, &is_last);
        bool is_wild = is_pattern && (dc_slice_eq(t, ANY) || (is_last && dc_slice_eq(t, REST)));
        if (!is_wild && !is_token(t)) {
            return false;
        }
    }
    return true;
}

bool dc_bus_subject_is_valid(struct dc_slice subject)
{
    return is_valid(subject, false);
}

bool dc_bus_pattern_is_valid(struct dc_slice pattern)
{
    return is_valid(pattern, true);
}

bool dc_bus_pattern_is_exact(struct dc_slice pattern)
{
    return is_valid(pattern, false);
}

/* A subject is a pattern without wildcards, so this decides matching as well. */
bool dc_bus_pattern_contains(struct dc_slice outer, struct dc_slice inner)
{
    bool is_outer_last = false, is_inner_last = false;
    while (!is_outer_last && !is_inner_last) {
        struct dc_slice o = next_token(&outer, &is_outer_last);
        struct dc_slice i = next_token(&inner, &is_inner_last);
        if (dc_slice_eq(o, REST)) {
            return true; /* one or more tokens, and there is one: inner's, whatever it is */
        }
        if (dc_slice_eq(i, REST) || (!dc_slice_eq(o, ANY) && !dc_slice_eq(o, i))) {
            return false;
        }
    }
    return is_outer_last && is_inner_last;
}

bool dc_bus_subject_matches(struct dc_slice pattern, struct dc_slice subject)
{
    return dc_bus_pattern_contains(pattern, subject);
}

bool dc_bus_pattern_overlaps(struct dc_slice a, struct dc_slice b)
{
    bool is_a_last = false, is_b_last = false;
    while (!is_a_last && !is_b_last) {
        struct dc_slice x = next_token(&a, &is_a_last);
        struct dc_slice y = next_token(&b, &is_b_last);
        if (dc_slice_eq(x, REST) || dc_slice_eq(y, REST)) {
            return true;
        }
        if (!dc_slice_eq(x, ANY) && !dc_slice_eq(y, ANY) && !dc_slice_eq(x, y)) {
            return false;
        }
    }
    return is_a_last && is_b_last;
}

void dc_bus_token(struct dc_strbuf *out, struct dc_slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    if (text.len == 0) {
        dc_strbuf_add_char(out, '%');
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (is_plain_char((char)c)) {
            dc_strbuf_add_char(out, (char)c);
        } else {
            const char escaped[] = {'%', digits[c >> 4], digits[c & 15]};
            dc_strbuf_add(out, dc_slice_make(escaped, sizeof(escaped)));
        }
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool dc_bus_token_decode(struct dc_strbuf *out, struct dc_slice token)
{
    if (dc_slice_eq(token, DC_S("%"))) {
        return true;
    }
    size_t before = out->len;
    size_t i = 0;
    while (i < token.len) {
        char c = token.ptr[i++];
        if (c == '%') {
            int high = token.len - i >= 2 ? hex_value(token.ptr[i]) : -1;
            int low = token.len - i >= 2 ? hex_value(token.ptr[i + 1]) : -1;
            if (high < 0 || low < 0 || is_plain_char((char)(high * 16 + low))) {
                break; /* malformed, or an escape that is not needed: two texts for one token */
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if (!is_plain_char(c)) {
            break;
        }
        dc_strbuf_add_char(out, c);
        if (i == token.len) {
            return dc_strbuf_ok(out);
        }
    }
    if (dc_strbuf_ok(out)) {
        out->len = before;
    }
    return false;
}
