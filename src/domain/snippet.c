/* Snippets: white space folded on the fly, cut by code points. */
#include "domain/snippet.h"
#include "base/utf8.h"

#define ELLIPSIS "\xe2\x80\xa6" /* U+2026 */

static bool is_blank(uint32_t cp)
{
    if (cp <= ' ' || (cp >= 0x7f && cp <= 0xa0)) { /* C0, DEL, C1, no-break space */
        return true;
    }
    return cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static void add(struct dc_strbuf *out, uint32_t cp)
{
    char bytes[4];
    size_t len = dc_utf8_encode(cp, bytes);
    dc_strbuf_add(out, dc_slice_make(bytes, len));
}

void dc_snippet(struct dc_strbuf *out, struct dc_slice text, size_t max_chars)
{
    if (max_chars == 0 || !dc_utf8_is_valid(text)) {
        return;
    }
    size_t n = 0;                  /* code points appended */
    size_t before_last = out->len; /* where to cut if one more does not fit */
    bool is_word_open = false;     /* a blank seen now would be inside */
    bool needs_blank = false;
    uint32_t cp = 0;
    while (dc_utf8_next(&text, &cp)) {
        if (is_blank(cp)) {
            needs_blank = is_word_open;
            continue;
        }
        size_t more = needs_blank ? 2 : 1;
        if (n + more > max_chars) {
            /* The ellipsis takes the place of the last character when all places are taken. */
            if (n == max_chars && out->ptr != NULL) {
                out->len = before_last;
            }
            dc_strbuf_add(out, DC_S(ELLIPSIS));
            return;
        }
        if (needs_blank) {
            /* A cut behind this blank drops it as well: no blank before the ellipsis. */
            before_last = out->len;
            dc_strbuf_add_char(out, ' ');
            needs_blank = false;
        } else {
            before_last = out->len;
        }
        add(out, cp);
        n += more;
        is_word_open = true;
    }
}
