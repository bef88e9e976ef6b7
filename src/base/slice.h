/* Borrowed bytes with a length, by value; never assumed to end in NUL.  Parsers consume slices. */
#ifndef DC_BASE_SLICE_H
#define DC_BASE_SLICE_H

#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct dc_slice {
    const char *ptr;
    size_t len;
};

/* A slice of a string literal. */
#define DC_S(lit)     ((struct dc_slice){"" lit, sizeof(lit) - 1})
#define DC_SLICE_NULL ((struct dc_slice){NULL, 0})
/* Arguments for "%.*s"; longer slices are cut at INT_MAX by the caller's limits. */
#define DC_SLICE_ARG(s) (int)(s).len, (s).ptr

static inline struct dc_slice dc_slice_make(const void *ptr, size_t len)
{
    return (struct dc_slice){(const char *)ptr, len};
}

static inline struct dc_slice dc_slice_z(const char *text_z)
{
    return (struct dc_slice){text_z, text_z == NULL ? 0 : strlen(text_z)};
}

static inline bool dc_slice_eq(struct dc_slice a, struct dc_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case is ignored. */
bool dc_slice_ieq(struct dc_slice a, struct dc_slice b);
/* memcmp order, then length. */
int dc_slice_cmp(struct dc_slice a, struct dc_slice b);
bool dc_slice_starts(struct dc_slice s, struct dc_slice prefix);
bool dc_slice_ends(struct dc_slice s, struct dc_slice suffix);
/* Index of c, or SIZE_MAX. */
size_t dc_slice_find(struct dc_slice s, char c);
/* Without spaces and tabs at both ends. */
struct dc_slice dc_slice_trim(struct dc_slice s);

/* Consumers: fail (false) without side effects. */
bool dc_slice_take(struct dc_slice *in, size_t n, struct dc_slice *out);
bool dc_slice_take_prefix(struct dc_slice *in, struct dc_slice prefix);
/* Up to sep, which is consumed too; the rest if sep is missing; false when *in is empty. */
bool dc_slice_take_token(struct dc_slice *in, char sep, struct dc_slice *out);

/* Decimal, whole slice, no sign for u64; false on anything else or on overflow. */
bool dc_slice_to_u64(struct dc_slice s, uint64_t *out);
bool dc_slice_to_i64(struct dc_slice s, int64_t *out);

/* NUL-terminated copy for C library calls; dc_free() it. */
char *dc_slice_dup_z(struct dc_slice s);
/* Copies with NUL into buf; false if it does not fit or contains NUL. */
DC_MUST_USE bool dc_slice_copy_z(struct dc_slice s, char *buf, size_t size);

#endif
