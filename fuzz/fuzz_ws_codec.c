/* WebSocket frames from a client: ours means by them what wslay means, and the same however they
 * are cut.  The first byte seeds the cuts, the rest is the wire.
 *
 * Where we differ on purpose:
 *   - we decide at the first byte that allows it, wslay when the head of a frame is complete: after
 *     a violation of ours wslay is given zeros until it decides, too;
 *   - the content of a close frame is judged when it is complete, wslay does so as it arrives: a
 *     violation that wslay alone has seen is looked for again behind zeros;
 *   - a close frame whose code and reason are both wrong is 1002 here, 1007 there;
 *   - a close frame with half a status code is 1002, wslay takes it for one without a code;
 *   - close codes 1012 to 1014 have been registered since wslay was written: not compared. */
#include "base/mem.h"
#include "fuzz.h"
#include "net/ws_codec.h"

#include <wslay/wslay.h>

#define MAX_MESSAGE 2000u
#define ZEROS       (MAX_MESSAGE + 64u)

/* --- transcripts: one line for each event --- */

static void note(struct dc_strbuf *log, uint8_t opcode, uint16_t close_code, struct dc_slice text)
{
    dc_strbuf_printf(log, "%u %u %zu ", (unsigned)opcode, (unsigned)close_code, text.len);
    dc_strbuf_add(log, text);
    dc_strbuf_add_char(log, '\n');
}

struct outcome {
    struct dc_strbuf log;
    uint16_t violation; /* 0: none */
    bool has_new_code;  /* a close code that wslay does not know */
};

static void outcome_free(struct outcome *o)
{
    dc_strbuf_free(&o->log);
}

static bool outcome_eq(const struct outcome *a, const struct outcome *b)
{
    return a->violation == b->violation &&
           dc_slice_eq(dc_strbuf_slice(&a->log), dc_strbuf_slice(&b->log));
}

/* --- ours --- */

static void decode_piece(struct dc_ws_decoder *d, struct dc_slice piece, struct outcome *o)
{
    char *copy = dc_alloc(piece.len > 0 ? piece.len : 1);
    if (piece.len > 0) {
        memcpy(copy, piece.ptr, piece.len);
    }
    struct dc_slice in = dc_slice_make(copy, piece.len);
    struct dc_ws_event e;
    uint16_t code = 0;
    enum dc_ws_result r;
    while ((r = dc_ws_decode(d, &in, MAX_MESSAGE, &e, &code)) != DC_WS_NEED_MORE) {
        if (r == DC_WS_VIOLATION) {
            DC_ASSERT(o->violation == 0);
            o->violation = code;
            continue;
        }
        DC_ASSERT(o->violation == 0 && e.payload.len <= MAX_MESSAGE);
        if (e.opcode == DC_WS_CLOSE) {
            o->has_new_code = e.close_code >= 1012 && e.close_code <= 1014;
        }
        note(&o->log, (uint8_t)e.opcode, e.close_code, e.payload);
    }
    DC_ASSERT(in.len == 0);
    dc_free(copy);
}

/* step 0: pieces of any size by seed; else of `step` bytes. */
static void decode(struct dc_slice wire, size_t step, uint32_t seed, struct outcome *o)
{
    struct dc_ws_decoder d;
    dc_ws_decoder_init(&d, true);
    while (wire.len > 0) {
        seed = seed * 1664525 + 1013904223;
        size_t n = step > 0 ? step : (seed >> 16) % 40;
        struct dc_slice piece;
        DC_ASSERT(dc_slice_take(&wire, n < wire.len ? n : wire.len, &piece));
        decode_piece(&d, piece, o);
    }
    dc_ws_decoder_free(&d);
}

/* --- wslay --- */

struct peer {
    struct dc_slice in;
    size_t zeros; /* after *in */
    struct outcome *outcome;
    bool got_close;
    struct dc_strbuf out;
};

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *data)
{
    struct peer *p = data;
    DC_ASSERT(flags == 0);
    if (p->in.len > 0) {
        size_t n = p->in.len < len ? p->in.len : len;
        memcpy(buf, p->in.ptr, n);
        p->in.ptr += n;
        p->in.len -= n;
        return (ssize_t)n;
    }
    if (p->zeros > 0) {
        size_t n = p->zeros < len ? p->zeros : len;
        memset(buf, 0, n);
        p->zeros -= n;
        return (ssize_t)n;
    }
    wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
    return -1;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *buf, size_t len, int flags,
                       void *data)
{
    struct peer *p = data;
    DC_ASSERT(ctx != NULL && (flags == 0 || flags == WSLAY_MSG_MORE));
    dc_strbuf_add(&p->out, dc_slice_make(buf, len));
    return (ssize_t)len;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg,
                       void *data)
{
    struct peer *p = data;
    struct dc_slice text = dc_slice_make(arg->msg, arg->msg_length);
    uint16_t code = 0;
    DC_ASSERT(ctx != NULL);
    if (arg->opcode == WSLAY_CONNECTION_CLOSE) {
        p->got_close = true;
        if (text.len == 1) {
            p->outcome->violation = DC_WS_PROTOCOL;
            return;
        }
        code = arg->status_code == 0 ? (uint16_t)DC_WS_NO_STATUS : arg->status_code;
        if (text.len >= 2) {
            text = dc_slice_make(text.ptr + 2, text.len - 2);
        }
    }
    note(&p->outcome->log, arg->opcode, code, text);
}

/* The code of the close frame that wslay has sent. */
static uint16_t sent_close_code(struct dc_slice out)
{
    struct dc_ws_decoder d;
    struct dc_ws_event e;
    uint16_t code = 0;
    uint16_t found = 0;
    dc_ws_decoder_init(&d, false);
    enum dc_ws_result r;
    while ((r = dc_ws_decode(&d, &out, SIZE_MAX / 4, &e, &code)) == DC_WS_EVENT) {
        if (e.opcode == DC_WS_CLOSE) {
            found = e.close_code;
        }
    }
    DC_ASSERT(r == DC_WS_NEED_MORE);
    dc_ws_decoder_free(&d);
    return found;
}

static void ask_wslay(struct dc_slice wire, size_t zeros, struct outcome *o)
{
    const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv, .send_callback = on_send, .on_msg_recv_callback = on_message};
    struct peer p = {.in = wire, .zeros = zeros, .outcome = o};
    wslay_event_context_ptr ctx;
    DC_ASSERT(wslay_event_context_server_init(&ctx, &callbacks, &p) == 0);
    wslay_event_config_set_max_recv_msg_length(ctx, MAX_MESSAGE);
    int rc;
    do { /* it returns early when a read gives less than it has asked for */
        rc = wslay_event_recv(ctx);
    } while (rc == 0 && wslay_event_get_read_enabled(ctx) && p.in.len + p.zeros > 0);
    if (rc != 0) { /* what its lower layer refuses has no code */
        o->violation = DC_WS_PROTOCOL;
    } else if (!p.got_close && !wslay_event_get_read_enabled(ctx)) {
        DC_ASSERT(wslay_event_send(ctx) == 0);
        o->violation = sent_close_code(dc_strbuf_slice(&p.out));
        DC_ASSERT(o->violation != 0);
    }
    wslay_event_context_free(ctx);
    dc_strbuf_free(&p.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct dc_slice wire = dc_slice_make(data + 1, size - 1);
    struct outcome whole = {0};
    struct outcome bytes = {0};
    struct outcome pieces = {0};
    decode(wire, SIZE_MAX, 0, &whole);
    decode(wire, 1, 0, &bytes);
    decode(wire, 0, data[0], &pieces);
    DC_ASSERT(outcome_eq(&whole, &bytes) && outcome_eq(&whole, &pieces));
    struct outcome other = {0};
    ask_wslay(wire, whole.violation == 0 ? 0 : ZEROS, &other);
    if (whole.violation == 0 && other.violation != 0) {
        struct dc_strbuf longer = {0};
        char zeros[128] = {0};
        dc_strbuf_add(&longer, wire);
        dc_strbuf_add(&longer, dc_slice_make(zeros, sizeof(zeros)));
        outcome_free(&whole);
        whole = (struct outcome){0};
        decode(dc_strbuf_slice(&longer), SIZE_MAX, 0, &whole);
        dc_strbuf_free(&longer);
    }
    if (whole.violation == DC_WS_PROTOCOL && other.violation == DC_WS_BAD_DATA) {
        other.violation = DC_WS_PROTOCOL;
    }
    DC_ASSERT(whole.has_new_code || outcome_eq(&whole, &other));
    outcome_free(&other);
    outcome_free(&whole);
    outcome_free(&bytes);
    outcome_free(&pieces);
    return 0;
}
