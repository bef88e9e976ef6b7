/* Paths with encoded parts. */
#include "matrix/matrix_path.h"
#include "base/encoding.h"

/* "." and ".." keep their meaning even when encoded: %2E is a dot to every server. */
static bool is_safe(struct dc_slice part)
{
    for (size_t i = 0; i < part.len; i++) {
        if (part.ptr[i] != '.') {
            return true;
        }
    }
    return false;
}

bool dc_matrix_path(struct dc_strbuf *out, const char *pattern_z, const struct dc_slice *parts,
                    size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_safe(parts[i])) {
            return false;
        }
    }
    for (const char *p = pattern_z; *p != '\0'; p++) {
        if (p[0] == '{' && p[1] == '}') {
            DC_ASSERT(used < n);
            dc_percent_encode(out, parts[used++]);
            p++;
        } else {
            dc_strbuf_add_char(out, *p);
        }
    }
    DC_ASSERT(used == n);
    return true;
}

void dc_matrix_query(struct dc_strbuf *out, const char *name_z, struct dc_slice value)
{
    bool is_first = out->len == 0 || memchr(out->ptr, '?', out->len) == NULL;
    dc_strbuf_add_char(out, is_first ? '?' : '&');
    dc_strbuf_add_z(out, name_z);
    dc_strbuf_add_char(out, '=');
    dc_percent_encode(out, value);
}
