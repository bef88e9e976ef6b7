/* HTTP requests in pieces: whatever the cut, the parser reports the same heads, bodies, ends and
 * refusals, keeps its limits and never loses or invents a byte.  The first byte of the input seeds
 * the cuts, the rest is what a client sends.  Whole heads take another way through the parser than
 * heads in pieces, so this also holds our scanner against the packaged parser. */
#include "base/strbuf.h"
#include "fuzz.h"
#include "net/http_parse.h"
#include "net/http_target.h"

#define MAX_HEAD_BYTES 600
#define MAX_BODY_BYTES 300

static void record_head(const struct dc_http_parse *p, struct dc_strbuf *out)
{
    dc_strbuf_printf(out, "HEAD %u %d %d %d %llu ", p->minor, p->keep_alive, p->has_body,
                     p->is_chunked, (unsigned long long)p->content_length);
    dc_strbuf_add(out, p->method);
    dc_strbuf_add_char(out, ' ');
    dc_strbuf_add(out, p->target);
    for (size_t i = 0; i < p->n_fields; i++) {
        dc_strbuf_add_char(out, '\n');
        dc_strbuf_add(out, dc_http_field_name(p, i));
        dc_strbuf_add_char(out, '=');
        dc_strbuf_add(out, dc_http_field_value(p, i));
    }
    for (int k = 0; k < DC_HTTP_KNOWN_COUNT; k++) {
        dc_strbuf_printf(out, "\n%u", p->known[k]);
    }
    dc_strbuf_add_char(out, '\n');
}

/* Decoded paths are absolute and free of dot segments. */
static void check_target(const struct dc_http_parse *p)
{
    struct dc_arena arena;
    struct dc_http_target t;
    dc_arena_init(&arena, 1024, 0);
    if (dc_http_target_parse(p->target, &arena, &t) == DC_OK && !t.is_asterisk) {
        DC_ASSERT(t.path.len > 0 && t.path.ptr[0] == '/' && t.path.len <= p->target.len + 1);
        DC_ASSERT(memchr(t.path.ptr, '\0', t.path.len) == NULL);
        struct dc_slice rest = t.path, segment;
        size_t n = 0;
        while (!t.has_encoded_slash && dc_slice_take_token(&rest, '/', &segment)) {
            DC_ASSERT(!dc_slice_eq(segment, DC_S(".")) && !dc_slice_eq(segment, DC_S("..")));
            n++;
        }
        DC_ASSERT(t.is_too_deep || t.n_segments + 2 > n);
    }
    dc_arena_free(&arena);
}

struct run {
    struct dc_http_parse parse;
    struct dc_strbuf log;
    size_t body_bytes;
    bool is_refused;
};

/* One piece of the stream. */
static void feed(struct run *run, struct dc_slice in)
{
    struct dc_http_parse *p = &run->parse;
    struct dc_slice piece;
    while (!run->is_refused) {
        switch (dc_http_parse_next(p, &in, &piece)) {
        case DC_HTTP_MORE:
            DC_ASSERT(in.len == 0);
            return;
        case DC_HTTP_HEAD:
            DC_ASSERT(p->head_len <= MAX_HEAD_BYTES && p->n_fields <= DC_HTTP_MAX_HEADERS);
            record_head(p, &run->log);
            check_target(p);
            run->body_bytes = 0;
            break;
        case DC_HTTP_BODY:
            DC_ASSERT(piece.len > 0);
            run->body_bytes += piece.len;
            DC_ASSERT(run->body_bytes <= MAX_BODY_BYTES);
            dc_strbuf_add(&run->log, piece);
            break;
        case DC_HTTP_DONE:
            DC_ASSERT(p->is_chunked || run->body_bytes == p->content_length);
            dc_strbuf_add(&run->log, DC_S("\nDONE\n"));
            dc_http_parse_reset(p);
            break;
        case DC_HTTP_REFUSE:
            DC_ASSERT(p->reason != NULL);
            dc_strbuf_printf(&run->log, "\nREFUSE %d", (int)p->status);
            run->is_refused = true;
            break;
        }
    }
}

static void run_init(struct run *run)
{
    struct dc_http_limits limits = {MAX_HEAD_BYTES, MAX_BODY_BYTES};
    dc_http_parse_init(&run->parse, &limits);
    run->log = (struct dc_strbuf){0};
    run->is_refused = false;
    run->body_bytes = 0;
}

static void run_free(struct run *run)
{
    dc_http_parse_free(&run->parse);
    dc_strbuf_free(&run->log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run whole, pieces, bytes; /* large: not on the stack; set up anew each time */
    if (size == 0) {
        return 0;
    }
    uint32_t seed = data[0];
    struct dc_slice s = dc_slice_make(data + 1, size - 1);
    run_init(&whole);
    run_init(&pieces);
    run_init(&bytes);
    feed(&whole, s);
    for (struct dc_slice rest = s, piece; rest.len > 0; feed(&pieces, piece)) {
        seed = seed * 1664525 + 1013904223;
        size_t n = 1 + (seed >> 16) % 60;
        DC_ASSERT(dc_slice_take(&rest, n < rest.len ? n : rest.len, &piece));
    }
    for (size_t i = 0; i < s.len; i++) {
        feed(&bytes, dc_slice_make(s.ptr + i, 1));
    }
    DC_ASSERT(dc_slice_eq(dc_strbuf_slice(&whole.log), dc_strbuf_slice(&pieces.log)));
    DC_ASSERT(dc_slice_eq(dc_strbuf_slice(&whole.log), dc_strbuf_slice(&bytes.log)));
    run_free(&whole);
    run_free(&pieces);
    run_free(&bytes);
    return 0;
}
