/* Names of rooms and accounts. */
#include "matrix/matrix_id.h"
#include "base/encoding.h"
#include "base/input.h"

#include <openssl/evp.h>

#define SHA256_BYTES 32

static void add_byte(struct dc_strbuf *out, char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-') {
        dc_strbuf_add_char(out, c);
    } else if (c >= 'A' && c <= 'Z') {
        dc_strbuf_add_char(out, '_');
        dc_strbuf_add_char(out, (char)(c - 'A' + 'a'));
    } else if (c == '_') {
        dc_strbuf_add(out, DC_S("__"));
    } else {
        dc_strbuf_add_char(out, '=');
        dc_hex_encode(out, dc_slice_make(&c, 1));
    }
}

void dc_matrix_localpart(struct dc_slice daarion_user_id, struct dc_slice server_name,
                         struct dc_strbuf *out)
{
    size_t start = out->len;
    dc_strbuf_add(out, DC_S(DC_MATRIX_USER_PREFIX));
    size_t encoded = out->len;
    for (size_t i = 0; i < daarion_user_id.len; i++) {
        add_byte(out, daarion_user_id.ptr[i]);
    }
    /* '@' and ':' stand around it. */
    if (dc_strbuf_ok(out) && out->len - start + server_name.len + 2 > DC_MATRIX_ID_MAX_BYTES) {
        uint8_t digest[SHA256_BYTES];
        int rc =
            EVP_Digest(daarion_user_id.ptr, daarion_user_id.len, digest, NULL, EVP_sha256(), NULL);
        DC_ASSERT(rc == 1); /* no provider without SHA-256 */
        out->len = encoded;
        dc_strbuf_add(out, DC_S("=_"));
        dc_hex_encode(out, dc_slice_make(digest, sizeof(digest)));
    }
}

void dc_matrix_user_id(struct dc_slice daarion_user_id, struct dc_slice server_name,
                       struct dc_strbuf *out)
{
    dc_strbuf_add_char(out, '@');
    dc_matrix_localpart(daarion_user_id, server_name, out);
    dc_strbuf_add_char(out, ':');
    dc_strbuf_add(out, server_name);
}

void dc_matrix_room_alias(struct dc_slice slug, struct dc_slice server_name, struct dc_strbuf *out)
{
    dc_strbuf_add(out, DC_S("#" DC_MATRIX_ALIAS_PREFIX));
    dc_strbuf_add(out, slug);
    dc_strbuf_add_char(out, ':');
    dc_strbuf_add(out, server_name);
}

static bool is_plain(struct dc_slice id)
{
    if (id.len > DC_MATRIX_ID_MAX_BYTES || !dc_text_is_valid(id)) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        unsigned char c = (unsigned char)id.ptr[i];
        if (c <= ' ' || c == 0x7F) {
            return false;
        }
    }
    return true;
}

bool dc_matrix_id_split(struct dc_slice id, char sigil, struct dc_slice *localpart,
                        struct dc_slice *server_name)
{
    if (id.len == 0 || id.ptr[0] != sigil || !is_plain(id)) {
        return false;
    }
    struct dc_slice rest = dc_slice_make(id.ptr + 1, id.len - 1);
    size_t colon = dc_slice_find(rest, ':');
    if (colon == SIZE_MAX || colon == 0 || colon + 1 == rest.len) {
        return false;
    }
    *localpart = dc_slice_make(rest.ptr, colon);
    *server_name = dc_slice_make(rest.ptr + colon + 1, rest.len - colon - 1);
    return true;
}

bool dc_matrix_room_id_is_valid(struct dc_slice id)
{
    return id.len > 1 && id.ptr[0] == '!' && is_plain(id);
}

bool dc_matrix_alias_is_city(struct dc_slice alias, struct dc_slice server_name,
                             struct dc_slice *slug)
{
    struct dc_slice local;
    struct dc_slice server;
    if (dc_matrix_id_split(alias, '#', &local, &server) && dc_slice_eq(server, server_name) &&
        dc_slice_take_prefix(&local, DC_S(DC_MATRIX_ALIAS_PREFIX)) && dc_slug_is_valid(local)) {
        *slug = local;
        return true;
    }
    return false;
}
