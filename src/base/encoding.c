/* Decoders accept one spelling of each value: no blanks, no missing or surplus padding, and the
 * unused bits of the last base64 letter must be zero (two texts never mean the same bytes). */
#include "base/encoding.h"

static const char standard_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void base64_encode(struct dc_strbuf *out, struct dc_slice in, const char *letters,
                          bool is_padded)
{
    /* A length that overflows here could not be in memory. */
    if (!dc_strbuf_reserve(out, in.len / 3 * 4 + 4)) {
        return;
    }
    char *p = out->ptr + out->len;
    size_t i = 0;
    for (; in.len - i >= 3; i += 3) {
        uint32_t v = (uint32_t)(unsigned char)in.ptr[i] << 16 |
                     (uint32_t)(unsigned char)in.ptr[i + 1] << 8 | (unsigned char)in.ptr[i + 2];
        *p++ = letters[v >> 18];
        *p++ = letters[(v >> 12) & 63];
        *p++ = letters[(v >> 6) & 63];
        *p++ = letters[v & 63];
    }
    size_t left = in.len - i;
    if (left > 0) {
        uint32_t v = (uint32_t)(unsigned char)in.ptr[i] << 16;
        if (left == 2) {
            v |= (uint32_t)(unsigned char)in.ptr[i + 1] << 8;
        }
        *p++ = letters[v >> 18];
        *p++ = letters[(v >> 12) & 63];
        if (left == 2) {
            *p++ = letters[(v >> 6) & 63];
        }
        for (size_t pad = left; is_padded && pad < 3; pad++) {
            *p++ = '=';
        }
    }
    out->len = (size_t)(p - out->ptr);
}

/* 0..63, or 64. */
static uint32_t letter_value(char c, const char *letters)
{
    if (c >= 'A' && c <= 'Z') {
        return (uint32_t)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (uint32_t)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0') + 52;
    }
    return c == letters[62] ? 62 : c == letters[63] ? 63 : 64;
}

/* in is without padding. */
static bool base64_decode(struct dc_slice in, const char *letters, uint8_t *out, size_t cap,
                          size_t *len)
{
    size_t tail = in.len % 4;
    size_t need = in.len / 4 * 3 + (tail == 0 ? 0 : tail - 1);
    if (tail == 1 || need > cap) {
        return false;
    }
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        uint32_t v = letter_value(in.ptr[i], letters);
        if (v == 64) {
            return false;
        }
        bits = (bits << 6 | v) & 0xFFFF;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (uint8_t)(bits >> held);
        }
    }
    if ((bits & ((1U << held) - 1)) != 0) {
        return false;
    }
    *len = n;
    return true;
}

void dc_base64_encode(struct dc_strbuf *out, struct dc_slice in)
{
    base64_encode(out, in, standard_letters, true);
}

bool dc_base64_decode(struct dc_slice in, uint8_t *out, size_t cap, size_t *len)
{
    if (in.len % 4 != 0) {
        return false;
    }
    /* At most two; a third '=' is then an unknown letter. */
    for (int i = 0; i < 2 && in.len > 0 && in.ptr[in.len - 1] == '='; i++) {
        in.len--;
    }
    return base64_decode(in, standard_letters, out, cap, len);
}

void dc_base64url_encode(struct dc_strbuf *out, struct dc_slice in)
{
    base64_encode(out, in, url_letters, false);
}

bool dc_base64url_decode(struct dc_slice in, uint8_t *out, size_t cap, size_t *len)
{
    return base64_decode(in, url_letters, out, cap, len);
}

void dc_hex_encode(struct dc_strbuf *out, struct dc_slice in)
{
    static const char digits[] = "0123456789abcdef";
    if (!dc_strbuf_reserve(out, in.len * 2)) {
        return;
    }
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.ptr[i];
        out->ptr[out->len++] = digits[c >> 4];
        out->ptr[out->len++] = digits[c & 15];
    }
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void dc_percent_encode(struct dc_strbuf *out, struct dc_slice in)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < in.len; i++) {
        if (is_unreserved(in.ptr[i])) {
            dc_strbuf_add_char(out, in.ptr[i]);
        } else {
            unsigned char c = (unsigned char)in.ptr[i];
            dc_strbuf_add(out, dc_slice_make((char[]){'%', digits[c >> 4], digits[c & 15]}, 3));
        }
    }
}

/* 0..15, or 16. */
static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return (unsigned)(c - 'a') + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return (unsigned)(c - 'A') + 10;
    }
    return 16;
}

bool dc_percent_decode(struct dc_strbuf *out, struct dc_slice in, bool plus_is_blank)
{
    size_t before = out->len;
    /* Decoding never makes text longer. */
    if (!dc_strbuf_reserve(out, in.len)) {
        return false;
    }
    size_t i = 0;
    while (i < in.len) {
        char c = in.ptr[i];
        if (c == '%') {
            unsigned high = in.len - i > 2 ? hex_value(in.ptr[i + 1]) : 16;
            unsigned low = in.len - i > 2 ? hex_value(in.ptr[i + 2]) : 16;
            c = '\0';
            if (high < 16 && low < 16) {
                c = (char)(high << 4 | low);
            }
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        /* A bad escape arrives here as NUL too. */
        if (c == '\0') {
            out->len = before;
            return false;
        }
        out->ptr[out->len++] = c;
        i++;
    }
    return true;
}
