/* Validation walks ASCII eight bytes at a time and two-byte letters (Cyrillic) in pairs; all else,
 * and every sequence that is cut by the end of a piece, goes through the small state: how many
 * bytes are missing and what range the next one must be in (RFC 3629, section 4). */
#include "base/utf8.h"
#include <endian.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)
/* dc_utf8.need after an error: nothing makes the text valid again. */
#define BROKEN 0xFF

static inline uint64_t load8(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

/* The first byte that is not ASCII, or end. */
static inline const unsigned char *skip_ascii(const unsigned char *p, const unsigned char *end)
{
    while (end - p >= 16) {
        uint64_t high = (load8(p) | load8(p + 8)) & HIGH_BITS;
        if (high != 0) {
            break;
        }
        p += 16;
    }
    while (end - p >= 8) {
        uint64_t high = load8(p) & HIGH_BITS;
        if (high != 0) {
            return p + (unsigned)__builtin_ctzll(high) / 8;
        }
        p += 8;
    }
    while (p < end && *p < 0x80) {
        p++;
    }
    return p;
}

/* Opens the sequence that c, not ASCII, leads. */
static bool start_sequence(struct dc_utf8 *u, unsigned char c)
{
    u->seen = 1;
    u->lower = 0x80;
    u->upper = 0xBF;
    if (c >= 0xC2 && c <= 0xDF) {
        u->need = 1;
    } else if (c >= 0xE0 && c <= 0xEF) {
        u->need = 2;
        if (c == 0xE0) {
            u->lower = 0xA0; /* overlong below */
        } else if (c == 0xED) {
            u->upper = 0x9F; /* surrogates above */
        }
    } else if (c >= 0xF0 && c <= 0xF4) {
        u->need = 3;
        if (c == 0xF0) {
            u->lower = 0x90; /* overlong below */
        } else if (c == 0xF4) {
            u->upper = 0x8F; /* beyond U+10FFFF above */
        }
    } else {
        return false;
    }
    return true;
}

bool dc_utf8_feed(struct dc_utf8 *u, struct dc_slice s)
{
    if (u->need == BROKEN) {
        return false;
    }
    if (s.len == 0) {
        return true;
    }
    const unsigned char *p = (const unsigned char *)s.ptr;
    const unsigned char *end = p + s.len;
    while (p < end) {
        if (u->need > 0) {
            if (*p < u->lower || *p > u->upper) {
                u->need = BROKEN;
                return false;
            }
            u->lower = 0x80;
            u->upper = 0xBF;
            u->seen++;
            u->need--;
            p++;
            continue;
        }
        p = skip_ascii(p, end);
        while (end - p >= 2 && p[0] >= 0xC2 && p[0] <= 0xDF && (p[1] & 0xC0) == 0x80) {
            p += 2;
        }
        if (p < end && *p >= 0x80) {
            if (!start_sequence(u, *p)) {
                u->need = BROKEN;
                return false;
            }
            p++;
        }
    }
    return true;
}

bool dc_utf8_is_valid(struct dc_slice s)
{
    struct dc_utf8 u = {0};
    return dc_utf8_feed(&u, s) && dc_utf8_is_complete(&u);
}

static inline bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

size_t dc_utf8_count(struct dc_slice s)
{
    size_t continuations = 0;
    size_t i = 0;
    for (; s.len - i >= 8; i += 8) {
        uint64_t v = load8((const unsigned char *)s.ptr + i);
        /* high bit set and the next one clear */
        continuations += (unsigned)__builtin_popcountll((v & ~(v << 1)) & HIGH_BITS);
    }
    for (; i < s.len; i++) {
        continuations += is_continuation(s.ptr[i]) ? 1 : 0;
    }
    return s.len - continuations;
}

struct dc_slice dc_utf8_prefix(struct dc_slice s, size_t n)
{
    size_t i = 0;
    for (; i < s.len; i++) {
        if (!is_continuation(s.ptr[i])) {
            if (n == 0) {
                break;
            }
            n--;
        }
    }
    return dc_slice_make(s.ptr, i);
}

bool dc_utf8_next(struct dc_slice *in, uint32_t *cp)
{
    if (in->len == 0) {
        return false;
    }
    unsigned char c = (unsigned char)in->ptr[0];
    size_t more = 0;
    uint32_t v = c;
    if (c >= 0xF0) {
        more = 3;
        v = c & 0x07U;
    } else if (c >= 0xE0) {
        more = 2;
        v = c & 0x0FU;
    } else if (c >= 0xC0) {
        more = 1;
        v = c & 0x1FU;
    }
    in->ptr++;
    in->len--;
    /* The bound only matters for text that breaks the contract: never read past the slice. */
    for (; more > 0 && in->len > 0; more--) {
        v = (v << 6) | ((unsigned char)in->ptr[0] & 0x3FU);
        in->ptr++;
        in->len--;
    }
    *cp = v;
    return true;
}

size_t dc_utf8_encode(uint32_t cp, char out[4])
{
    DC_ASSERT(cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF));
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | (cp >> 6));
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | (cp >> 12));
        out[1] = (char)(0x80 | ((cp >> 6) & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (cp >> 18));
    out[1] = (char)(0x80 | ((cp >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((cp >> 6) & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}
