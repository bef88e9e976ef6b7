/* Writing: the state is one bit a level, so that a value in the wrong place is an assertion and
 * never a malformed broadcast.  Text is copied in runs; only what JSON demands is escaped. */
#include "base/json.h"
#include <endian.h>

#define MAX_LEVELS 64
#define ONES       UINT64_C(0x0101010101010101)
#define HIGH_BITS  UINT64_C(0x8080808080808080)

/* The high bit of every byte that is zero is set; bits above the first one may be wrong. */
static inline uint64_t zero_bytes(uint64_t v)
{
    return (v - ONES) & ~v & HIGH_BITS;
}

/* Copies in front of the first byte that needs an escape, or everything; returns how many bytes.
 * out has room for len. */
static size_t copy_plain(char *out, const char *p, size_t len)
{
    size_t i = 0;
    for (; len - i >= 8; i += 8) {
        uint64_t raw;
        memcpy(&raw, p + i, sizeof(raw));
        memcpy(out + i, &raw, sizeof(raw));
        uint64_t v = le64toh(raw);
        uint64_t hits = ((v - ONES * 0x20) & ~v & HIGH_BITS) | zero_bytes(v ^ (ONES * '"')) |
                        zero_bytes(v ^ (ONES * '\\'));
        if (hits != 0) {
            return i + (unsigned)__builtin_ctzll(hits) / 8;
        }
    }
    for (; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c == '"' || c == '\\') {
            break;
        }
        out[i] = p[i];
    }
    return i;
}

static void add_escape(struct dc_strbuf *out, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char letter = (char)c;
    if (c < sizeof(letters)) {
        letter = letters[c];
    }
    if (letter != 0) {
        dc_strbuf_add(out, dc_slice_make((char[]){'\\', letter}, 2));
    } else {
        dc_strbuf_add(
            out, dc_slice_make((char[]){'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]}, 6));
    }
}

void dc_json_quote(struct dc_strbuf *out, struct dc_slice text)
{
    dc_strbuf_add_char(out, '"');
    /* Each round has room for all that is left and the last quote: text without escapes, which is
     * nearly all of it, takes one. */
    while (dc_strbuf_reserve(out, text.len + 1)) {
        size_t n = text.len == 0 ? 0 : copy_plain(out->ptr + out->len, text.ptr, text.len);
        out->len += n;
        if (n == text.len) {
            out->ptr[out->len++] = '"';
            return;
        }
        add_escape(out, (unsigned char)text.ptr[n]);
        text = dc_slice_make(text.ptr + n + 1, text.len - n - 1);
    }
}

void dc_jsonw_init(struct dc_jsonw *w, struct dc_strbuf *out)
{
    *w = (struct dc_jsonw){.out = out};
}

static bool is_in_array(const struct dc_jsonw *w)
{
    return (w->is_array >> (w->depth - 1) & 1) != 0;
}

/* Before each value: its comma, unless a key has just been written. */
static void begin_value(struct dc_jsonw *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0) {
        DC_ASSERT(!w->need_comma); /* one value at the top */
    } else {
        DC_ASSERT(is_in_array(w));
    }
    if (w->need_comma) {
        dc_strbuf_add_char(w->out, ',');
    }
}

static void begin_level(struct dc_jsonw *w, bool is_array)
{
    begin_value(w);
    DC_ASSERT(w->depth < MAX_LEVELS);
    uint64_t bit = UINT64_C(1) << w->depth;
    w->is_array = is_array ? w->is_array | bit : w->is_array & ~bit;
    w->depth++;
    w->need_comma = false;
    dc_strbuf_add_char(w->out, is_array ? '[' : '{');
}

void dc_jsonw_object(struct dc_jsonw *w)
{
    begin_level(w, false);
}

void dc_jsonw_array(struct dc_jsonw *w)
{
    begin_level(w, true);
}

void dc_jsonw_end(struct dc_jsonw *w)
{
    DC_ASSERT(w->depth > 0 && !w->after_key);
    dc_strbuf_add_char(w->out, is_in_array(w) ? ']' : '}');
    w->depth--;
    w->need_comma = true;
}

void dc_jsonw_key(struct dc_jsonw *w, const char *key_z)
{
    DC_ASSERT(w->depth > 0 && !is_in_array(w) && !w->after_key);
    if (w->need_comma) {
        dc_strbuf_add_char(w->out, ',');
    }
    dc_json_quote(w->out, dc_slice_z(key_z));
    dc_strbuf_add_char(w->out, ':');
    w->after_key = true;
}

void dc_jsonw_raw(struct dc_jsonw *w, struct dc_slice json)
{
    begin_value(w);
    /* Nothing is no value: an empty column of the database must not break the frame. */
    dc_strbuf_add(w->out, json.len == 0 ? DC_S("null") : json);
    w->need_comma = true;
}

void dc_jsonw_text(struct dc_jsonw *w, struct dc_slice text)
{
    begin_value(w);
    if (text.ptr == NULL) {
        dc_strbuf_add(w->out, DC_S("null"));
    } else {
        dc_json_quote(w->out, text);
    }
    w->need_comma = true;
}

void dc_jsonw_i64(struct dc_jsonw *w, int64_t v)
{
    begin_value(w);
    dc_strbuf_add_i64(w->out, v);
    w->need_comma = true;
}

void dc_jsonw_bool(struct dc_jsonw *w, bool v)
{
    dc_jsonw_raw(w, v ? DC_S("true") : DC_S("false"));
}

void dc_jsonw_null(struct dc_jsonw *w)
{
    dc_jsonw_raw(w, DC_S("null"));
}

void dc_jsonw_utc(struct dc_jsonw *w, struct dc_utc t)
{
    char text[1 + DC_ISO_LEN + 1];
    text[0] = '"';
    dc_utc_format(t, text + 1);
    text[1 + DC_ISO_LEN] = '"'; /* in place of the NUL */
    dc_jsonw_raw(w, dc_slice_make(text, sizeof(text)));
}

void dc_jsonw_key_text(struct dc_jsonw *w, const char *key_z, struct dc_slice text)
{
    dc_jsonw_key(w, key_z);
    dc_jsonw_text(w, text);
}

void dc_jsonw_key_i64(struct dc_jsonw *w, const char *key_z, int64_t v)
{
    dc_jsonw_key(w, key_z);
    dc_jsonw_i64(w, v);
}

void dc_jsonw_key_bool(struct dc_jsonw *w, const char *key_z, bool v)
{
    dc_jsonw_key(w, key_z);
    dc_jsonw_bool(w, v);
}

void dc_jsonw_key_null(struct dc_jsonw *w, const char *key_z)
{
    dc_jsonw_key(w, key_z);
    dc_jsonw_null(w);
}

void dc_jsonw_key_utc(struct dc_jsonw *w, const char *key_z, struct dc_utc t)
{
    dc_jsonw_key(w, key_z);
    dc_jsonw_utc(w, t);
}

void dc_jsonw_key_raw(struct dc_jsonw *w, const char *key_z, struct dc_slice json)
{
    dc_jsonw_key(w, key_z);
    dc_jsonw_raw(w, json);
}
