/* Growing byte buffer.  Owns its memory; grows by doubling; zero-initialise to start.
 * Appends never fail silently: after a failed allocation the buffer is "failed", further appends do
 * nothing, and dc_strbuf_ok() says so (sizes may come from peers). */
#ifndef DC_BASE_STRBUF_H
#define DC_BASE_STRBUF_H

#include "base/slice.h"

struct dc_strbuf {
    char *ptr;
    size_t len;
    size_t cap;
    bool failed;
};

void dc_strbuf_free(struct dc_strbuf *b);
/* Keeps the memory. */
void dc_strbuf_clear(struct dc_strbuf *b);
/* Room for n more bytes. */
bool dc_strbuf_reserve(struct dc_strbuf *b, size_t n);
void dc_strbuf_add(struct dc_strbuf *b, struct dc_slice s);
void dc_strbuf_add_z(struct dc_strbuf *b, const char *text_z);
void dc_strbuf_add_char(struct dc_strbuf *b, char c);
void dc_strbuf_add_u64(struct dc_strbuf *b, uint64_t v);
void dc_strbuf_add_i64(struct dc_strbuf *b, int64_t v);
void dc_strbuf_printf(struct dc_strbuf *b, const char *fmt, ...) DC_PRINTF(2, 3);

static inline bool dc_strbuf_ok(const struct dc_strbuf *b)
{
    return !b->failed;
}

/* Borrowed until the next append. */
static inline struct dc_slice dc_strbuf_slice(const struct dc_strbuf *b)
{
    return (struct dc_slice){b->ptr, b->len};
}

#endif
