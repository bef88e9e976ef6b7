/* WebSocket framing (RFC 6455), pure: bytes in, events out; no I/O, no allocation beyond the
 * message being assembled.  Server side (client frames must be masked); a client side exists for
 * tests and fuzzing against other implementations. */
#ifndef DC_NET_WS_CODEC_H
#define DC_NET_WS_CODEC_H

#include "base/blob.h"
#include "base/strbuf.h"
#include "base/utf8.h"

enum dc_ws_opcode {
    DC_WS_CONT = 0,
    DC_WS_TEXT = 1,
    DC_WS_BINARY = 2,
    DC_WS_CLOSE = 8,
    DC_WS_PING = 9,
    DC_WS_PONG = 10
};

/* Application codes 4xxx are the documented ones of schema/asyncapi.yaml. */
enum dc_ws_close_code {
    DC_WS_NORMAL = 1000,
    DC_WS_GOING_AWAY = 1001,
    DC_WS_PROTOCOL = 1002,
    DC_WS_UNSUPPORTED = 1003,
    DC_WS_NO_STATUS = 1005, /* never on the wire */
    DC_WS_ABNORMAL = 1006,  /* never on the wire */
    DC_WS_BAD_DATA = 1007,
    DC_WS_POLICY = 1008,
    DC_WS_TOO_BIG = 1009,
    DC_WS_INTERNAL = 1011,
    DC_WS_UNAUTHORIZED = 4401,
    DC_WS_NOT_FOUND = 4404,
    DC_WS_SLOW_CONSUMER = 4408,
    DC_WS_IDLE = 4409,
    DC_WS_RATE_LIMITED = 4429
};

/* Decoder of one connection: 0 bytes of heap while no message is half-way. */
struct dc_ws_decoder {
    struct dc_strbuf message; /* payload of the data message so far */
    struct dc_utf8 utf8;
    uint64_t left; /* payload bytes of the current frame still to come */
    uint32_t mask_pos;
    uint8_t mask[4];
    uint8_t head[14];
    uint8_t head_len;
    uint8_t opcode;         /* of the current frame */
    uint8_t message_opcode; /* 0: no message half-way */
    uint8_t control[125];
    uint8_t control_len;
    bool fin, in_payload, is_closed, expect_mask;
};

struct dc_ws_event {
    enum dc_ws_opcode opcode; /* TEXT, BINARY, PING, PONG or CLOSE */
    struct dc_slice payload;  /* CLOSE: the reason text; valid until the next call */
    uint16_t close_code;      /* CLOSE only; DC_WS_NO_STATUS if the frame was empty */
};

enum dc_ws_result {
    DC_WS_NEED_MORE, /* everything consumed, no event */
    DC_WS_EVENT,     /* *event is filled; call again with what is left of *in */
    DC_WS_VIOLATION  /* *close_code says why; the connection must be closed */
};

void dc_ws_decoder_init(struct dc_ws_decoder *d, bool expect_mask);
void dc_ws_decoder_free(struct dc_ws_decoder *d);
/* Between two messages, nothing kept: the decoder may be dropped and made anew (ask after
 * DC_WS_NEED_MORE). False once a close frame or a violation has ended the stream. */
bool dc_ws_decoder_is_idle(const struct dc_ws_decoder *d);
/* Consumes from *in.  max_message_bytes bounds a whole message (1009). The bytes of *in may be
 * unmasked in place; a payload that lies in *in as a whole is handed out as a slice of it.
 *
 * Each decision depends on the bytes so far, not on how they were cut, and is taken at the first
 * byte that allows it; a close frame is judged when it is complete (RFC 6455 §5.2 to §5.5, §7.4,
 * §8.1):
 *
 *   1002: reserved bits, unknown opcodes, fragmented control frames or ones above 125 bytes, a
 *   continuation without a beginning, a new message inside a message, a mask bit that is not the
 *   expected one, a length that is not in its shortest form or has the high bit, a close payload of
 *   1 byte, a close code that must not be on the wire
 *
 *   1007: text or a close reason that is not UTF-8
 *
 *   1009: a message above max_message_bytes, as soon as a header announces it
 *
 *   1011: no memory for the message
 *
 * After a close frame or a violation everything is consumed without an event. */
enum dc_ws_result dc_ws_decode(struct dc_ws_decoder *d, struct dc_slice *in,
                               size_t max_message_bytes, struct dc_ws_event *event,
                               uint16_t *close_code);

#define DC_WS_HEADER_MAX 14
/* Server frame header (unmasked, FIN) for payload_len; returns its length, 2..10. */
size_t dc_ws_encode_header(uint8_t out[DC_WS_HEADER_MAX], enum dc_ws_opcode opcode,
                           uint64_t payload_len);
/* One framed message, ready for dc_conn_send. NULL: no memory. */
struct dc_blob *dc_ws_frame(enum dc_ws_opcode opcode, struct dc_slice payload);
struct dc_blob *dc_ws_close_frame(uint16_t code, struct dc_slice reason);
/* Codes that may appear in a close frame from a peer. */
bool dc_ws_close_code_is_valid(uint16_t code);
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; out has room for 28 characters and a NUL. */
void dc_ws_accept_key(struct dc_slice key, char out[29]);

#endif
