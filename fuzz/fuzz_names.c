/* Text of people on its way into addresses and lists: a derived slug is valid or empty, also
 * numbered; a snippet is one line of at most as many code points as asked. The first byte chooses
 * the numbers. */
#include "base/input.h"
#include "base/utf8.h"
#include "domain/slug.h"
#include "domain/snippet.h"
#include "fuzz.h"

#include <stdlib.h>

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    char out[DC_SLUG_MAX];
    char numbered[DC_SLUG_MAX];
    struct dc_slice text = dc_slice_make(data + 1, size - 1);
    struct dc_slice slug = dc_slug_from_name(text, out);
    require(slug.len == 0 || dc_slug_is_valid(slug));
    if (slug.len > 0) {
        require(dc_slug_is_valid(dc_slug_numbered(slug, data[0] * 16843009U, numbered)));
    }
    struct dc_strbuf line = {0};
    size_t max_chars = data[0] % 128;
    dc_snippet(&line, text, max_chars);
    struct dc_slice got = dc_strbuf_slice(&line);
    require(dc_utf8_is_valid(got) && (got.len == 0 || dc_utf8_count(got) <= max_chars));
    for (size_t i = 0; i < got.len; i++) {
        require((unsigned char)got.ptr[i] >= 0x20);
    }
    require(got.len == 0 || dc_utf8_is_valid(text));
    dc_strbuf_free(&line);
    return 0;
}
