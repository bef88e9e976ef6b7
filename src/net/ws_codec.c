/* WebSocket framing (RFC 6455).  Every decision is a function of the bytes seen so far, never of
 * how they were cut: both the fast path (a whole frame lies in *in) and the slow path (bytes are
 * gathered in the decoder) ask parse_head() and finish_*().
 *
 * Masked bytes are unmasked where they lie; a whole frame costs no allocation and no copy. */
#include "net/ws_codec.h"

#include "base/mem.h"
#include <openssl/evp.h>
#include <openssl/sha.h>

#define WS_GUID             "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define WS_CONTROL_MAX      125u
#define WS_LEN_16           126u
#define WS_LEN_64           127u
#define WS_KEY_MAX_BYTES    64u
#define WS_CLOSE_REASON_MAX 123u

enum head_state { HEAD_MORE, HEAD_OK, HEAD_BAD };

struct frame_head {
    uint64_t payload_len;
    size_t len; /* bytes of the head itself */
    uint8_t mask[4];
    uint8_t opcode;
    bool fin;
};

void dc_ws_decoder_init(struct dc_ws_decoder *d, bool expect_mask)
{
    memset(d, 0, sizeof(*d));
    d->expect_mask = expect_mask;
}

void dc_ws_decoder_free(struct dc_ws_decoder *d)
{
    dc_strbuf_free(&d->message);
    memset(&d->message, 0, sizeof(d->message));
}

bool dc_ws_decoder_is_idle(const struct dc_ws_decoder *d)
{
    return d->head_len == 0 && !d->in_payload && d->message_opcode == 0 && !d->is_closed;
}

static bool is_control(uint8_t opcode)
{
    return (opcode & 8u) != 0;
}

/* The slice type is const because most readers must not write; the contract of dc_ws_decode() says
 * that these bytes may be changed. */
static uint8_t *writable(struct dc_slice s)
{
    return (uint8_t *)(uintptr_t)s.ptr;
}

/* pos: how many bytes of this frame have been unmasked before. */
static void unmask(uint8_t *p, size_t n, const uint8_t mask[4], uint32_t pos)
{
    uint8_t key[8];
    for (uint32_t i = 0; i < 8; i++) {
        key[i] = mask[(pos + i) & 3u];
    }
    uint64_t wide;
    memcpy(&wide, key, sizeof(wide));
    size_t i = 0;
    for (; n - i >= sizeof(wide); i += sizeof(wide)) {
        uint64_t w;
        memcpy(&w, p + i, sizeof(w));
        w ^= wide;
        memcpy(p + i, &w, sizeof(w));
    }
    for (; i < n; i++) {
        p[i] ^= key[i & 7u];
    }
}

/* An empty slice may be NULL, which not even 0 may be added to. */
static void take_all(struct dc_slice *in)
{
    if (in->len > 0) {
        in->ptr += in->len;
        in->len = 0;
    }
}

static uint64_t read_be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

static bool opcode_is_allowed(const struct dc_ws_decoder *d, uint8_t opcode)
{
    switch (opcode) {
    case DC_WS_CONT:
        return d->message_opcode != 0;
    case DC_WS_TEXT:
    case DC_WS_BINARY:
        return d->message_opcode == 0;
    case DC_WS_CLOSE:
    case DC_WS_PING:
    case DC_WS_PONG:
        return true;
    default:
        return false;
    }
}

/* Looks at the first n bytes of a frame and decides as early as they allow. */
static enum head_state parse_head(const struct dc_ws_decoder *d, const uint8_t *p, size_t n,
                                  size_t max_message_bytes, struct frame_head *head,
                                  uint16_t *close_code)
{
    *close_code = DC_WS_PROTOCOL;
    if (n < 1) {
        return HEAD_MORE;
    }
    head->fin = (p[0] & 0x80u) != 0;
    head->opcode = p[0] & 0x0fu;
    bool has_reserved_bits = (p[0] & 0x70u) != 0; /* no extension is negotiated */
    if (has_reserved_bits || !opcode_is_allowed(d, head->opcode) ||
        (is_control(head->opcode) && !head->fin)) {
        return HEAD_BAD;
    }
    if (n < 2) {
        return HEAD_MORE;
    }
    uint8_t len7 = p[1] & 0x7fu;
    if (((p[1] & 0x80u) != 0) != d->expect_mask) {
        return HEAD_BAD;
    }
    if (is_control(head->opcode) && len7 > WS_CONTROL_MAX) {
        return HEAD_BAD;
    }
    if (head->opcode == DC_WS_CLOSE && len7 == 1) {
        return HEAD_BAD; /* half a status code */
    }
    size_t pos = 2;
    head->payload_len = len7;
    if (len7 >= WS_LEN_16) {
        size_t width = len7 == WS_LEN_16 ? 2 : 8;
        if (n < pos + width) {
            return HEAD_MORE;
        }
        head->payload_len = read_be(p + pos, width);
        pos += width;
        bool is_minimal =
            len7 == WS_LEN_16 ? head->payload_len >= WS_LEN_16 : head->payload_len > UINT16_MAX;
        if (!is_minimal || head->payload_len >> 63 != 0) {
            return HEAD_BAD;
        }
    }
    if (!is_control(head->opcode) && (d->message.len > max_message_bytes ||
                                      head->payload_len > max_message_bytes - d->message.len)) {
        *close_code = DC_WS_TOO_BIG;
        return HEAD_BAD;
    }
    if (d->expect_mask) {
        if (n < pos + 4) {
            return HEAD_MORE;
        }
        memcpy(head->mask, p + pos, 4);
        pos += 4;
    }
    head->len = pos;
    return HEAD_OK;
}

static enum dc_ws_result violation(struct dc_ws_decoder *d, uint16_t *close_code, uint16_t code)
{
    d->is_closed = true;
    d->in_payload = false;
    dc_ws_decoder_free(d);
    *close_code = code;
    return DC_WS_VIOLATION;
}

static enum dc_ws_result finish_control(struct dc_ws_decoder *d, uint8_t opcode,
                                        struct dc_slice payload, struct dc_ws_event *event,
                                        uint16_t *close_code)
{
    event->opcode = (enum dc_ws_opcode)opcode;
    event->payload = payload;
    event->close_code = 0;
    if (opcode != DC_WS_CLOSE) {
        return DC_WS_EVENT;
    }
    event->close_code = DC_WS_NO_STATUS;
    if (payload.len >= 2) {
        const uint8_t *p = (const uint8_t *)payload.ptr;
        uint16_t code = (uint16_t)(p[0] << 8 | p[1]);
        event->payload = dc_slice_make(payload.ptr + 2, payload.len - 2);
        if (!dc_ws_close_code_is_valid(code)) {
            return violation(d, close_code, DC_WS_PROTOCOL);
        }
        if (!dc_utf8_is_valid(event->payload)) {
            return violation(d, close_code, DC_WS_BAD_DATA);
        }
        event->close_code = code;
    }
    d->is_closed = true;
    return DC_WS_EVENT;
}

/* The frame that has just ended was the last of its message. */
static enum dc_ws_result finish_message(struct dc_ws_decoder *d, uint8_t opcode,
                                        struct dc_slice payload, struct dc_ws_event *event,
                                        uint16_t *close_code)
{
    if (opcode == DC_WS_TEXT && !dc_utf8_is_complete(&d->utf8)) {
        return violation(d, close_code, DC_WS_BAD_DATA);
    }
    d->message_opcode = 0;
    event->opcode = (enum dc_ws_opcode)opcode;
    event->payload = payload;
    event->close_code = 0;
    return DC_WS_EVENT;
}

/* A whole frame lies at the start of *in and needs nothing that came before. */
static enum dc_ws_result take_whole_frame(struct dc_ws_decoder *d, const struct frame_head *head,
                                          struct dc_slice *in, struct dc_ws_event *event,
                                          uint16_t *close_code)
{
    struct dc_slice payload = dc_slice_make(in->ptr + head->len, (size_t)head->payload_len);
    in->ptr += head->len + payload.len;
    in->len -= head->len + payload.len;
    if (d->expect_mask) {
        unmask(writable(payload), payload.len, head->mask, 0);
    }
    if (is_control(head->opcode)) {
        return finish_control(d, head->opcode, payload, event, close_code);
    }
    if (head->opcode == DC_WS_TEXT) {
        memset(&d->utf8, 0, sizeof(d->utf8));
        if (!dc_utf8_feed(&d->utf8, payload)) {
            return violation(d, close_code, DC_WS_BAD_DATA);
        }
    }
    return finish_message(d, head->opcode, payload, event, close_code);
}

static void start_frame(struct dc_ws_decoder *d, const struct frame_head *head)
{
    d->head_len = 0;
    d->in_payload = true;
    d->fin = head->fin;
    d->opcode = head->opcode;
    d->left = head->payload_len;
    d->mask_pos = 0;
    memcpy(d->mask, head->mask, sizeof(d->mask));
    if (is_control(head->opcode)) {
        d->control_len = 0;
    } else if (head->opcode != DC_WS_CONT) {
        d->message_opcode = head->opcode;
        memset(&d->utf8, 0, sizeof(d->utf8));
    }
}

/* Consumes payload bytes of the current frame; DC_WS_NEED_MORE also when the frame has ended but
 * its message has not (d->in_payload is false then). */
static enum dc_ws_result take_payload(struct dc_ws_decoder *d, struct dc_slice *in,
                                      struct dc_ws_event *event, uint16_t *close_code)
{
    size_t n = d->left < in->len ? (size_t)d->left : in->len;
    struct dc_slice piece = DC_SLICE_NULL;
    bool is_taken = dc_slice_take(in, n, &piece);
    DC_ASSERT(is_taken);
    d->left -= n;
    if (d->expect_mask && n > 0) {
        unmask(writable(piece), n, d->mask, d->mask_pos);
        d->mask_pos = (uint32_t)((d->mask_pos + n) & 3u);
    }
    if (is_control(d->opcode)) {
        if (n > 0) {
            memcpy(d->control + d->control_len, piece.ptr, n);
            d->control_len = (uint8_t)(d->control_len + n);
        }
    } else if (n > 0) {
        if (d->message_opcode == DC_WS_TEXT && !dc_utf8_feed(&d->utf8, piece)) {
            return violation(d, close_code, DC_WS_BAD_DATA);
        }
        dc_strbuf_add(&d->message, piece);
        if (!dc_strbuf_ok(&d->message)) {
            return violation(d, close_code, DC_WS_INTERNAL);
        }
    }
    if (d->left > 0) {
        return DC_WS_NEED_MORE;
    }
    d->in_payload = false;
    if (is_control(d->opcode)) {
        return finish_control(d, d->opcode, dc_slice_make(d->control, d->control_len), event,
                              close_code);
    }
    if (!d->fin) {
        return DC_WS_NEED_MORE;
    }
    return finish_message(d, d->message_opcode, dc_strbuf_slice(&d->message), event, close_code);
}

enum dc_ws_result dc_ws_decode(struct dc_ws_decoder *d, struct dc_slice *in,
                               size_t max_message_bytes, struct dc_ws_event *event,
                               uint16_t *close_code)
{
    if (d->message_opcode == 0 && d->message.ptr != NULL) {
        dc_ws_decoder_free(d); /* the message handed out by the previous call */
    }
    while (!d->is_closed) {
        if (!d->in_payload) {
            struct frame_head head = {0};
            uint16_t code;
            bool is_gathering = d->head_len > 0;
            size_t had = d->head_len;
            size_t n = in->len;
            const uint8_t *p = (const uint8_t *)in->ptr;
            if (is_gathering) {
                size_t room = sizeof(d->head) - had;
                n = in->len < room ? in->len : room;
                if (n > 0) {
                    memcpy(d->head + had, in->ptr, n);
                }
                p = d->head;
                n += had;
            }
            switch (parse_head(d, p, n, max_message_bytes, &head, &code)) {
            case HEAD_BAD:
                take_all(in);
                return violation(d, close_code, code);
            case HEAD_MORE:
                if (!is_gathering && n > 0) {
                    memcpy(d->head, p, n);
                }
                d->head_len = (uint8_t)n;
                take_all(in);
                return DC_WS_NEED_MORE;
            case HEAD_OK:
                break;
            }
            bool stands_alone = is_control(head.opcode) || (head.fin && head.opcode != DC_WS_CONT);
            if (!is_gathering && stands_alone && head.payload_len <= in->len - head.len) {
                return take_whole_frame(d, &head, in, event, close_code);
            }
            start_frame(d, &head);
            in->ptr += head.len - had;
            in->len -= head.len - had;
        }
        enum dc_ws_result result = take_payload(d, in, event, close_code);
        if (result != DC_WS_NEED_MORE || d->in_payload) {
            return result;
        }
    }
    take_all(in);
    return DC_WS_NEED_MORE;
}

size_t dc_ws_encode_header(uint8_t out[DC_WS_HEADER_MAX], enum dc_ws_opcode opcode,
                           uint64_t payload_len)
{
    out[0] = (uint8_t)(0x80u | (unsigned)opcode);
    if (payload_len < WS_LEN_16) {
        out[1] = (uint8_t)payload_len;
        return 2;
    }
    size_t width = payload_len <= UINT16_MAX ? 2 : 8;
    out[1] = width == 2 ? WS_LEN_16 : WS_LEN_64;
    for (size_t i = 0; i < width; i++) {
        out[2 + i] = (uint8_t)(payload_len >> (8 * (width - 1 - i)));
    }
    return 2 + width;
}

struct dc_blob *dc_ws_frame(enum dc_ws_opcode opcode, struct dc_slice payload)
{
    uint8_t head[DC_WS_HEADER_MAX];
    size_t head_len = dc_ws_encode_header(head, opcode, payload.len);
    size_t total;
    if (!dc_add_size(head_len, payload.len, &total)) {
        return NULL;
    }
    struct dc_blob *b = dc_blob_create(total);
    if (b == NULL) {
        return NULL;
    }
    memcpy(b->data, head, head_len);
    if (payload.len > 0) {
        memcpy(b->data + head_len, payload.ptr, payload.len);
    }
    return b;
}

struct dc_blob *dc_ws_close_frame(uint16_t code, struct dc_slice reason)
{
    char payload[WS_CONTROL_MAX];
    if (code == DC_WS_NO_STATUS) {
        return dc_ws_frame(DC_WS_CLOSE, DC_SLICE_NULL);
    }
    DC_ASSERT(reason.len <= WS_CLOSE_REASON_MAX && dc_ws_close_code_is_valid(code));
    payload[0] = (char)(code >> 8);
    payload[1] = (char)(code & 0xffu);
    if (reason.len > 0) {
        memcpy(payload + 2, reason.ptr, reason.len);
    }
    return dc_ws_frame(DC_WS_CLOSE, dc_slice_make(payload, 2 + reason.len));
}

bool dc_ws_close_code_is_valid(uint16_t code)
{
    if (code >= 1000 && code <= 1014) { /* 1012 to 1014: the IANA registry */
        return code < 1004 || code > 1006;
    }
    return code >= 3000 && code <= 4999;
}

void dc_ws_accept_key(struct dc_slice key, char out[29])
{
    uint8_t text[WS_KEY_MAX_BYTES + sizeof(WS_GUID) - 1];
    uint8_t digest[SHA_DIGEST_LENGTH];
    DC_ASSERT(key.len <= WS_KEY_MAX_BYTES);
    if (key.len > 0) {
        memcpy(text, key.ptr, key.len);
    }
    memcpy(text + key.len, WS_GUID, sizeof(WS_GUID) - 1);
    SHA1(text, key.len + sizeof(WS_GUID) - 1, digest);
    EVP_EncodeBlock((unsigned char *)out, digest, (int)sizeof(digest));
}
