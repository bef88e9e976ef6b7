/* Answers of a Redis server: the same however the bytes are cut, never more than were asked for,
 * and none beyond its bounds.  The first byte seeds the cuts, the second says how many answers are
 * expected, the rest is the wire. */
#include "base/mem.h"
#include "base/strbuf.h"
#include "fuzz.h"
#include "kv/redis_reader.h"

struct outcome {
    struct dc_strbuf log;
    enum dc_status status;
    size_t n_answers;
};

struct tally {
    size_t parts, bytes;
};

/* A line for each part. */
static void note(struct dc_strbuf *log, const redisReply *answer, struct tally *t)
{
    t->parts++;
    dc_strbuf_printf(log, "%d ", answer->type);
    switch (answer->type) {
    case REDIS_REPLY_INTEGER:
        dc_strbuf_printf(log, "%lld\n", answer->integer);
        return;
    case REDIS_REPLY_ARRAY:
        dc_strbuf_printf(log, "%zu\n", answer->elements);
        for (size_t i = 0; i < answer->elements; i++) {
            note(log, answer->element[i], t);
        }
        return;
    case REDIS_REPLY_NIL:
        dc_strbuf_add_char(log, '\n');
        return;
    default:
        /* What follows is relied upon when errors are read. */
        DC_ASSERT(answer->str[answer->len] == '\0');
        t->bytes += answer->len;
        dc_strbuf_add(log, dc_slice_make(answer->str, answer->len));
        dc_strbuf_add_char(log, '\n');
        return;
    }
}

static void feed_piece(struct dc_redis_reader *r, struct dc_slice piece, struct outcome *o)
{
    struct dc_error err = {0};
    redisReply *answer = NULL;
    /* A copy of just this size: the sanitizer sees who reads on. */
    char *copy = dc_alloc(piece.len > 0 ? piece.len : 1);

    if (piece.len > 0) {
        memcpy(copy, piece.ptr, piece.len);
    }
    o->status = dc_redis_reader_feed(r, dc_slice_make(copy, piece.len), &err);
    dc_free(copy);
    while (o->status == DC_OK) {
        o->status = dc_redis_reader_next(r, &answer, &err);
        if (answer == NULL) {
            break;
        }
        struct tally t = {0};
        note(&o->log, answer, &t);
        DC_ASSERT(t.parts <= DC_REDIS_ANSWER_MAX_PARTS && t.bytes <= DC_REDIS_ANSWER_MAX_BYTES);
        freeReplyObject(answer);
        o->n_answers++;
    }
    DC_ASSERT(o->status == DC_OK || err.text[0] != '\0' || o->status == DC_UNAVAILABLE);
}

/* seed 0: in one piece. */
static struct outcome read_all(struct dc_slice wire, size_t n_expected, unsigned seed)
{
    struct outcome o = {.status = DC_OK};
    struct dc_redis_reader *r = dc_redis_reader_create();

    DC_ASSERT(r != NULL);
    for (size_t i = 0; i < n_expected; i++) {
        dc_redis_reader_expect(r);
    }
    while (wire.len > 0 && o.status == DC_OK) {
        size_t n = seed == 0 ? wire.len : 1 + (seed >> 3) % 23;
        struct dc_slice piece;
        n = n < wire.len ? n : wire.len;
        DC_ASSERT(dc_slice_take(&wire, n, &piece));
        feed_piece(r, piece, &o);
        seed = seed == 0 ? 0 : seed * 1103515245u + 12345u;
    }
    dc_redis_reader_free(r);
    DC_ASSERT(o.n_answers <= n_expected);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct dc_slice wire = dc_slice_make((const char *)data + 2, size - 2);
    struct outcome whole = read_all(wire, data[1], 0);
    struct outcome cut = read_all(wire, data[1], 1u + data[0]);

    DC_ASSERT(whole.status == cut.status && whole.n_answers == cut.n_answers);
    DC_ASSERT(dc_slice_eq(dc_strbuf_slice(&whole.log), dc_strbuf_slice(&cut.log)));
    dc_strbuf_free(&whole.log);
    dc_strbuf_free(&cut.log);
    return 0;
}
