#include "net/http_target.h"
#include "base/utf8.h"

static bool starts_ignoring_case(struct dc_slice s, struct dc_slice prefix)
{
    return s.len >= prefix.len && dc_slice_ieq(dc_slice_make(s.ptr, prefix.len), prefix);
}

/* "http://host:port/path" -> authority and "/path". */
static bool take_authority(struct dc_slice *raw, struct dc_slice *authority)
{
    struct dc_slice rest = *raw;
    if (starts_ignoring_case(rest, DC_S("http://"))) {
        rest = dc_slice_make(rest.ptr + 7, rest.len - 7);
    } else if (starts_ignoring_case(rest, DC_S("https://"))) {
        rest = dc_slice_make(rest.ptr + 8, rest.len - 8);
    } else {
        return false;
    }
    size_t n = 0;
    while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?') {
        n++;
    }
    *authority = dc_slice_make(rest.ptr, n);
    *raw = dc_slice_make(rest.ptr + n, rest.len - n);
    return n > 0;
}

static int hex_value(char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    if (ch >= 'a' && ch <= 'f') {
        return ch - 'a' + 10;
    }
    return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

/* Appends the decoded segment at out; SIZE_MAX: malformed. */
static size_t decode_segment(struct dc_slice in, char *out, bool *has_slash)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        char ch = in.ptr[i];
        if (ch == '%') {
            if (in.len - i < 3) {
                return SIZE_MAX;
            }
            int high = hex_value(in.ptr[i + 1]);
            int low = hex_value(in.ptr[i + 2]);
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                return SIZE_MAX;
            }
            ch = (char)(high * 16 + low);
            *has_slash = *has_slash || ch == '/';
            i += 2;
        }
        out[n++] = ch;
    }
    return n;
}

/* Segments are split before they are decoded, dot segments are told after (%2e is '.'). */
static enum dc_status normalise(struct dc_slice raw, struct dc_arena *arena,
                                struct dc_http_target *out)
{
    char *buf = dc_arena_alloc(arena, raw.len + 1); /* decoding never lengthens */
    if (buf == NULL) {
        return DC_NO_MEMORY;
    }
    size_t len = 0; /* buf holds "/seg/seg", each segment led by its slash */
    struct dc_slice rest = dc_slice_make(raw.ptr + 1, raw.len - 1);
    for (bool is_last = false; !is_last;) {
        const char *slash = rest.len == 0 ? NULL : memchr(rest.ptr, '/', rest.len);
        is_last = slash == NULL;
        struct dc_slice seg = is_last ? rest : dc_slice_make(rest.ptr, (size_t)(slash - rest.ptr));
        if (!is_last) {
            rest = dc_slice_make(slash + 1, rest.len - seg.len - 1);
        }
        buf[len] = '/';
        size_t n = decode_segment(seg, buf + len + 1, &out->has_encoded_slash);
        if (n == SIZE_MAX) {
            return DC_MALFORMED;
        }
        struct dc_slice decoded = dc_slice_make(buf + len + 1, n);
        bool is_dot = dc_slice_eq(decoded, DC_S("."));
        bool is_up = dc_slice_eq(decoded, DC_S(".."));
        if (is_up) {
            while (len > 0 && buf[--len] != '/') {
            }
        }
        if (!is_dot && !is_up) {
            len += 1 + n;
        } else if (is_last) {
            buf[len++] = '/';
        }
    }
    out->path = dc_slice_make(buf, len);
    return dc_utf8_is_valid(out->path) ? DC_OK : DC_MALFORMED;
}

static void add_segment(struct dc_http_target *t, const char *from, const char *to)
{
    if (t->n_segments == DC_HTTP_MAX_SEGMENTS) {
        t->is_too_deep = true;
    } else {
        t->segments[t->n_segments++] = dc_slice_make(from, (size_t)(to - from));
    }
}

static void split(struct dc_http_target *t)
{
    const char *from = t->path.ptr + 1;
    const char *end = t->path.ptr + t->path.len;
    for (const char *at = from; at < end; at++) {
        if (*at == '/') {
            add_segment(t, from, at);
            from = at + 1;
        }
    }
    add_segment(t, from, end);
}

/* The usual path, without escapes and dot segments, in one pass; *n: its length. false: it needs
 * work, nothing has been decided. */
static bool scan_plain(struct dc_slice raw, struct dc_http_target *out, size_t *n)
{
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    if (raw.len == 0 || *at != '/') {
        return false;
    }
    const char *from = ++at;
    for (; at < end; at++) {
        char ch = *at;
        if (DC_LIKELY(ch > '?')) {
            continue; /* letters, most of all */
        }
        if (ch == '/') {
            add_segment(out, from, at);
            from = at + 1;
        } else if (ch == '?') {
            break;
        } else if (ch == '%' || (ch == '.' && at == from)) {
            out->n_segments = 0;
            out->is_too_deep = false;
            return false;
        }
    }
    add_segment(out, from, at);
    *n = (size_t)(at - raw.ptr);
    out->path = dc_slice_make(raw.ptr, *n);
    return true;
}

static void take_query(struct dc_slice raw, size_t n, struct dc_http_target *out)
{
    if (n < raw.len) {
        out->query = dc_slice_make(raw.ptr + n + 1, raw.len - n - 1);
    }
}

enum dc_status dc_http_target_parse(struct dc_slice raw, struct dc_arena *arena,
                                    struct dc_http_target *out)
{
    out->authority = DC_SLICE_NULL;
    out->query = DC_SLICE_NULL;
    out->n_segments = 0;
    out->is_asterisk = false;
    out->has_encoded_slash = false;
    out->is_too_deep = false;
    if (dc_slice_eq(raw, DC_S("*"))) {
        out->is_asterisk = true;
        out->path = raw;
        return DC_OK;
    }
    if (raw.len == 0) {
        return DC_MALFORMED;
    }
    bool is_absolute = raw.ptr[0] != '/';
    if (is_absolute && !take_authority(&raw, &out->authority)) {
        return DC_MALFORMED;
    }
    size_t n = 0;
    if (scan_plain(raw, out, &n)) {
        take_query(raw, n, out);
        return DC_OK;
    }
    while (n < raw.len && raw.ptr[n] != '?') {
        n++;
    }
    take_query(raw, n, out);
    out->path = dc_slice_make(raw.ptr, n);
    if (n == 0) {
        out->path = DC_S("/"); /* "http://host" and "http://host?x" */
    }
    enum dc_status st = normalise(out->path, arena, out);
    if (st == DC_OK) {
        split(out);
    }
    return st;
}
