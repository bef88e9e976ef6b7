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

/* --- and back --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that stands at the front, taken off *text; false: nothing that add_byte() writes. */
static bool take_byte(struct dc_slice *text, char *out)
{
    const char *p = text->ptr;
    size_t n = 1;
    *out = p[0];
    if (p[0] == '_' && text->len >= 2) {
        n = 2;
        if (p[1] != '_' && (p[1] < 'a' || p[1] > 'z')) {
            return false;
        }
        if (p[1] != '_') {
            *out = (char)(p[1] - 'a' + 'A');
        }
    } else if (p[0] == '=' && text->len >= 3) {
        int high = hex_digit(p[1]);
        int low = hex_digit(p[2]);
        n = 3;
        if (high < 0 || low < 0) {
            return false;
        }
        *out = (char)(high * 16 + low);
    } else if (p[0] == '_' || p[0] == '=') {
        return false; /* cut off */
    }
    *text = dc_slice_make(p + n, text->len - n);
    return true;
}

static bool is_hash(struct dc_slice encoded)
{
    if (!dc_slice_take_prefix(&encoded, DC_S("=_")) || encoded.len != (size_t)SHA256_BYTES * 2) {
        return false;
    }
    for (size_t i = 0; i < encoded.len; i++) {
        if (hex_digit(encoded.ptr[i]) < 0) {
            return false;
        }
    }
    return true;
}

/* Many texts could be taken for one id; the one that we write is its account. */
static bool is_ours(struct dc_slice daarion_user_id, struct dc_slice server_name,
                    struct dc_slice localpart)
{
    struct dc_strbuf ours = {0};
    dc_matrix_localpart(daarion_user_id, server_name, &ours);
    bool is_same = dc_strbuf_ok(&ours) && dc_slice_eq(dc_strbuf_slice(&ours), localpart);
    dc_strbuf_free(&ours);
    return is_same;
}

enum dc_matrix_account_kind dc_matrix_account_of(struct dc_slice matrix_user_id,
                                                 struct dc_slice server_name,
                                                 struct dc_strbuf *daarion_user_id)
{
    struct dc_slice localpart;
    struct dc_slice server;
    size_t start = daarion_user_id->len;
    if (!dc_matrix_id_split(matrix_user_id, '@', &localpart, &server) ||
        !dc_slice_eq(server, server_name)) {
        return DC_MATRIX_STRANGER;
    }
    struct dc_slice rest = localpart;
    if (!dc_slice_take_prefix(&rest, DC_S(DC_MATRIX_USER_PREFIX)) || rest.len == 0) {
        return DC_MATRIX_STRANGER;
    }
    if (is_hash(rest)) {
        return DC_MATRIX_HASHED;
    }
    bool is_good = true;
    while (is_good && rest.len > 0) {
        char c = 0;
        is_good = take_byte(&rest, &c);
        dc_strbuf_add_char(daarion_user_id, c);
    }
    if (is_good && dc_strbuf_ok(daarion_user_id) &&
        is_ours(dc_slice_make(daarion_user_id->ptr + start, daarion_user_id->len - start),
                server_name, localpart)) {
        return DC_MATRIX_RESIDENT;
    }
    daarion_user_id->len = start;
    return DC_MATRIX_STRANGER;
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

bool dc_matrix_event_id_is_valid(struct dc_slice id)
{
    return id.len > 1 && id.ptr[0] == '$' && is_plain(id);
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
