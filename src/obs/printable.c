/* Making text fit to be shown. */
#include "obs/printable.h"
#include "base/utf8.h"

#define REPLACEMENT DC_S("\xEF\xBF\xBD") /* U+FFFD */
#define ELLIPSIS    DC_S("\xE2\x80\xA6") /* U+2026 */

/* Bytes of the sequence that starts with this byte; 0: none can. */
static size_t sequence_len(uint8_t lead)
{
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return 2;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        return 3;
    }
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/* Consumes one character of *in (not empty) and gives what is shown for it. */
static struct dc_slice take_printable(struct dc_slice *in)
{
    uint8_t lead = (uint8_t)in->ptr[0];
    size_t len = sequence_len(lead);
    struct dc_slice ch;

    if (len == 0 || len > in->len || !dc_utf8_is_valid(dc_slice_make(in->ptr, len))) {
        ch = REPLACEMENT;
        len = 1;
    } else if (lead == 0x7F || (lead == 0xC2 && (uint8_t)in->ptr[1] < 0xA0)) {
        ch = REPLACEMENT;
    } else {
        ch = dc_slice_make(in->ptr, len);
    }
    in->ptr += len;
    in->len -= len;
    return ch;
}

size_t dc_printable_copy(struct dc_slice in, char *out, size_t cap)
{
    size_t len = 0;
    size_t cut = 0; /* the longest prefix that leaves room for the ellipsis */

    DC_ASSERT(cap >= ELLIPSIS.len);
    while (in.len > 0) {
        struct dc_slice ch = take_printable(&in);
        if (ch.len > cap - len) {
            memcpy(out + cut, ELLIPSIS.ptr, ELLIPSIS.len);
            return cut + ELLIPSIS.len;
        }
        memcpy(out + len, ch.ptr, ch.len);
        len += ch.len;
        if (len <= cap - ELLIPSIS.len) {
            cut = len;
        }
    }
    return len;
}
