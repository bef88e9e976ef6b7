/* Growth doubles, so that many small appends cost O(total).  One failed allocation makes the buffer
 * "failed" until it is cleared or freed: a text with a hole in it is never sent. */
#include "base/strbuf.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>

#define MIN_CAP 64

void dc_strbuf_free(struct dc_strbuf *b)
{
    dc_free(b->ptr);
    *b = (struct dc_strbuf){0};
}

void dc_strbuf_clear(struct dc_strbuf *b)
{
    b->len = 0;
    b->failed = false;
}

static bool fail(struct dc_strbuf *b)
{
    b->failed = true;
    return false;
}

static DC_COLD bool grow(struct dc_strbuf *b, size_t n)
{
    size_t need;
    if (!dc_add_size(b->len, n, &need)) {
        return fail(b);
    }
    size_t cap = b->cap < MIN_CAP ? MIN_CAP : b->cap;
    while (cap < need) {
        if (!dc_mul_size(cap, 2, &cap)) {
            cap = need;
        }
    }
    char *ptr = dc_try_realloc(b->ptr, cap);
    if (ptr == NULL) {
        return fail(b);
    }
    b->ptr = ptr;
    b->cap = cap;
    return true;
}

bool dc_strbuf_reserve(struct dc_strbuf *b, size_t n)
{
    if (DC_UNLIKELY(b->failed)) {
        return false;
    }
    return DC_LIKELY(n <= b->cap - b->len) || grow(b, n);
}

void dc_strbuf_add(struct dc_strbuf *b, struct dc_slice s)
{
    if (s.len > 0 && dc_strbuf_reserve(b, s.len)) {
        memcpy(b->ptr + b->len, s.ptr, s.len);
        b->len += s.len;
    }
}

void dc_strbuf_add_z(struct dc_strbuf *b, const char *text_z)
{
    dc_strbuf_add(b, dc_slice_z(text_z));
}

void dc_strbuf_add_char(struct dc_strbuf *b, char c)
{
    if (dc_strbuf_reserve(b, 1)) {
        b->ptr[b->len++] = c;
    }
}

void dc_strbuf_add_u64(struct dc_strbuf *b, uint64_t v)
{
    char digits[20]; /* UINT64_MAX has 20 */
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    dc_strbuf_add(b, dc_slice_make(digits + at, sizeof(digits) - at));
}

void dc_strbuf_add_i64(struct dc_strbuf *b, int64_t v)
{
    /* Room for all of it first: a lone '-' would be a hole. */
    if (!dc_strbuf_reserve(b, 20)) {
        return;
    }
    if (v < 0) {
        dc_strbuf_add_char(b, '-');
        dc_strbuf_add_u64(b, UINT64_C(0) - (uint64_t)v);
    } else {
        dc_strbuf_add_u64(b, (uint64_t)v);
    }
}

void dc_strbuf_printf(struct dc_strbuf *b, const char *fmt, ...)
{
    if (b->failed) {
        return;
    }
    size_t room = b->cap - b->len;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(room == 0 ? NULL : b->ptr + b->len, room, fmt, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
        return;
    }
    /* vsnprintf needs one byte more than it yields. */
    if ((size_t)n >= room) {
        if (!dc_strbuf_reserve(b, (size_t)n + 1)) {
            return;
        }
        va_start(args, fmt);
        n = vsnprintf(b->ptr + b->len, b->cap - b->len, fmt, args);
        va_end(args);
        if (n < 0) {
            b->failed = true;
            return;
        }
    }
    b->len += (size_t)n;
}
