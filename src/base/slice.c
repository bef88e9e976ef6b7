/* Everything here is total: empty and NULL slices are ordinary arguments, and memcmp/memchr are
 * never called with NULL, which C forbids even for no bytes. */
#include "base/slice.h"
#include "base/mem.h"

static unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? (unsigned char)(u + ('a' - 'A')) : u;
}

bool dc_slice_ieq(struct dc_slice a, struct dc_slice b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.ptr[i]) != lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

int dc_slice_cmp(struct dc_slice a, struct dc_slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.ptr, b.ptr, common);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

bool dc_slice_starts(struct dc_slice s, struct dc_slice prefix)
{
    return prefix.len <= s.len && dc_slice_eq(dc_slice_make(s.ptr, prefix.len), prefix);
}

bool dc_slice_ends(struct dc_slice s, struct dc_slice suffix)
{
    if (suffix.len == 0) {
        return true;
    }
    return suffix.len <= s.len &&
           dc_slice_eq(dc_slice_make(s.ptr + (s.len - suffix.len), suffix.len), suffix);
}

size_t dc_slice_find(struct dc_slice s, char c)
{
    const char *hit = s.len == 0 ? NULL : memchr(s.ptr, c, s.len);
    return hit == NULL ? SIZE_MAX : (size_t)(hit - s.ptr);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct dc_slice dc_slice_trim(struct dc_slice s)
{
    while (s.len > 0 && is_blank(s.ptr[s.len - 1])) {
        s.len--;
    }
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    return s;
}

bool dc_slice_take(struct dc_slice *in, size_t n, struct dc_slice *out)
{
    if (n > in->len) {
        return false;
    }
    *out = dc_slice_make(in->ptr, n);
    if (n > 0) {
        in->ptr += n;
        in->len -= n;
    }
    return true;
}

bool dc_slice_take_prefix(struct dc_slice *in, struct dc_slice prefix)
{
    struct dc_slice taken;
    return dc_slice_starts(*in, prefix) && dc_slice_take(in, prefix.len, &taken);
}

bool dc_slice_take_token(struct dc_slice *in, char sep, struct dc_slice *out)
{
    if (in->len == 0) {
        return false;
    }
    size_t at = dc_slice_find(*in, sep);
    size_t token_len = at == SIZE_MAX ? in->len : at;
    size_t taken_len = at == SIZE_MAX ? in->len : at + 1;
    *out = dc_slice_make(in->ptr, token_len);
    in->ptr += taken_len;
    in->len -= taken_len;
    return true;
}

bool dc_slice_to_u64(struct dc_slice s, uint64_t *out)
{
    if (s.len == 0) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)digit, &v)) {
            return false;
        }
    }
    *out = v;
    return true;
}

bool dc_slice_to_i64(struct dc_slice s, int64_t *out)
{
    bool is_negative = dc_slice_take_prefix(&s, DC_S("-"));
    uint64_t v;
    if (!dc_slice_to_u64(s, &v)) {
        return false;
    }
    uint64_t limit = (uint64_t)INT64_MAX + (is_negative ? 1 : 0);
    if (v > limit) {
        return false;
    }
    /* INT64_MIN has no positive twin: go over -(v - 1) - 1. */
    *out = is_negative && v > 0 ? -(int64_t)(v - 1) - 1 : (int64_t)v;
    return true;
}

char *dc_slice_dup_z(struct dc_slice s)
{
    char *copy = dc_alloc(s.len + 1);
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    copy[s.len] = '\0';
    return copy;
}

bool dc_slice_copy_z(struct dc_slice s, char *buf, size_t size)
{
    if (s.len >= size || dc_slice_find(s, '\0') != SIZE_MAX) {
        return false;
    }
    if (s.len > 0) {
        memcpy(buf, s.ptr, s.len);
    }
    buf[s.len] = '\0';
    return true;
}
