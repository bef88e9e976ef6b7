/* Client-side WebSocket frames for tests: right ones and wrong ones. */
#ifndef DC_TEST_WS_FRAMES_H
#define DC_TEST_WS_FRAMES_H

#include "base/strbuf.h"
#include "net/ws_codec.h"

struct ws_test_frame {
    uint8_t first;  /* FIN, RSV and opcode as on the wire */
    bool is_masked; /* with mask */
    uint8_t mask[4];
    struct dc_slice payload;
    uint8_t width; /* bytes of the extended length; 0xff: the shortest form */
};

static inline void ws_test_put(struct dc_strbuf *out, const struct ws_test_frame *f)
{
    uint64_t len = f->payload.len;
    uint8_t width = f->width;
    if (width == 0xff) {
        width = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    }
    dc_strbuf_add_char(out, (char)f->first);
    uint8_t len7 = width == 0 ? (uint8_t)len : width == 2 ? 126 : 127;
    dc_strbuf_add_char(out, (char)(len7 | (f->is_masked ? 0x80u : 0u)));
    for (uint8_t i = width; i > 0; i--) {
        dc_strbuf_add_char(out, (char)(uint8_t)(len >> (8u * (i - 1u))));
    }
    if (f->is_masked) {
        dc_strbuf_add(out, dc_slice_make(f->mask, 4));
    }
    for (size_t i = 0; i < f->payload.len; i++) {
        uint8_t b = (uint8_t)f->payload.ptr[i];
        dc_strbuf_add_char(out, (char)(f->is_masked ? b ^ f->mask[i & 3u] : b));
    }
}

/* A well-formed masked frame. */
static inline void ws_test_frame(struct dc_strbuf *out, bool fin, enum dc_ws_opcode opcode,
                                 struct dc_slice payload)
{
    struct ws_test_frame f = {
        .first = (uint8_t)((fin ? 0x80u : 0u) | (unsigned)opcode),
        .is_masked = true,
        .mask = {0x37, 0xfa, 0x21, 0x3d},
        .payload = payload,
        .width = 0xff,
    };
    ws_test_put(out, &f);
}

#endif
