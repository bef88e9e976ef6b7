/* UTF-8 in pieces: the answer is the same however the text is cut, and that of a plain decoder
 * written after RFC 3629.  The first byte of the input seeds the cuts, the rest is the text. */
#include "base/utf8.h"
#include "fuzz.h"

/* One code point of n > 0 bytes; its length, or 0 if there is none. */
static size_t decode(const uint8_t *p, size_t n, uint32_t *cp)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80             ? 1
                 : (p[0] & 0xE0) == 0xC0 ? 2
                 : (p[0] & 0xF0) == 0xE0 ? 3
                 : (p[0] & 0xF8) == 0xF0 ? 4
                                         : 0;
    if (len == 0 || len > n) {
        return 0;
    }
    uint32_t v = len == 1 ? p[0] : p[0] & (0x7FU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
        v = v << 6 | (p[i] & 0x3FU);
    }
    if (v < smallest[len] || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF)) {
        return 0;
    }
    *cp = v;
    return len;
}

static bool is_valid_in_pieces(struct dc_slice s, uint32_t seed)
{
    struct dc_utf8 u = {0};
    bool is_accepted = true;
    while (s.len > 0) {
        seed = seed * 1664525 + 1013904223;
        struct dc_slice piece;
        size_t n = (seed >> 16) % 20;
        if (!dc_slice_take(&s, n < s.len ? n : s.len, &piece)) {
            return false;
        }
        bool was_accepted = is_accepted;
        is_accepted = dc_utf8_feed(&u, piece);
        DC_ASSERT(was_accepted || !is_accepted); /* wrong stays wrong */
    }
    return is_accepted && dc_utf8_is_complete(&u);
}

static bool is_valid_by_bytes(struct dc_slice s)
{
    struct dc_utf8 u = {0};
    for (size_t i = 0; i < s.len; i++) {
        if (!dc_utf8_feed(&u, dc_slice_make(s.ptr + i, 1))) {
            return false;
        }
    }
    return dc_utf8_is_complete(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint32_t seed = data[0];
    struct dc_slice s = dc_slice_make(data + 1, size - 1);
    size_t at = 0, count = 0;
    bool is_valid = true;
    while (is_valid && at < s.len) {
        uint32_t cp;
        size_t len = decode(data + 1 + at, s.len - at, &cp);
        is_valid = len > 0;
        at += len;
        count++;
    }
    DC_ASSERT(dc_utf8_is_valid(s) == is_valid);
    DC_ASSERT(is_valid_in_pieces(s, seed) == is_valid);
    DC_ASSERT(is_valid_by_bytes(s) == is_valid);
    if (!is_valid) {
        return 0;
    }
    DC_ASSERT(dc_utf8_count(s) == count);
    struct dc_slice half = dc_utf8_prefix(s, count / 2);
    DC_ASSERT(dc_utf8_is_valid(half) && dc_utf8_count(half) == count / 2);
    struct dc_slice rest = s;
    uint32_t cp;
    at = 0;
    while (dc_utf8_next(&rest, &cp)) {
        uint32_t expected = 0;
        char bytes[4];
        size_t len = decode(data + 1 + at, s.len - at, &expected);
        DC_ASSERT(cp == expected && dc_utf8_encode(cp, bytes) == len);
        DC_ASSERT(memcmp(bytes, data + 1 + at, len) == 0);
        at += len;
    }
    DC_ASSERT(at == s.len);
    return 0;
}
