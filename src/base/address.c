/* IP addresses as text. */
#include "base/address.h"

#include <arpa/inet.h>
#include <string.h>

/* IPv4 is kept as ::ffff:a.b.c.d, so that one comparison serves both. */
struct address {
    uint8_t bytes[16];
    bool is_v4;
};

static bool parse_address(struct dc_slice text, struct address *out)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    char text_z[DC_ADDRESS_MAX];
    if (!dc_slice_copy_z(text, text_z, sizeof(text_z))) {
        return false;
    }
    if (inet_pton(AF_INET, text_z, out->bytes + 12) == 1) {
        memcpy(out->bytes, mapped, sizeof(mapped));
        out->is_v4 = true;
        return true;
    }
    out->is_v4 = inet_pton(AF_INET6, text_z, out->bytes) == 1 &&
                 memcmp(out->bytes, mapped, sizeof(mapped)) == 0;
    return out->is_v4 || inet_pton(AF_INET6, text_z, out->bytes) == 1;
}

/* "a" or "a/n"; bits counts in 128. */
static bool parse_prefix(struct dc_slice text, struct address *out, uint64_t *bits)
{
    struct dc_slice rest = text;
    struct dc_slice addr;
    if (!dc_slice_take_token(&rest, '/', &addr) || !parse_address(addr, out)) {
        return false;
    }
    uint64_t most = out->is_v4 ? 32 : 128;
    *bits = most;
    if (addr.len < text.len && (!dc_slice_to_u64(rest, bits) || *bits > most)) {
        return false;
    }
    *bits += out->is_v4 ? 96 : 0;
    return true;
}

static bool has_prefix(const struct address *a, const struct address *prefix, uint64_t bits)
{
    size_t whole = (size_t)bits / 8;
    unsigned rest = (unsigned)bits % 8;
    if (memcmp(a->bytes, prefix->bytes, whole) != 0) {
        return false;
    }
    return rest == 0 || (a->bytes[whole] ^ prefix->bytes[whole]) >> (8 - rest) == 0;
}

bool dc_address_list_is_valid(struct dc_slice list)
{
    struct dc_slice word;
    while (dc_slice_take_token(&list, ',', &word)) {
        struct address prefix;
        uint64_t bits = 0;
        if (!parse_prefix(dc_slice_trim(word), &prefix, &bits)) {
            return false;
        }
    }
    return true;
}

static bool is_trusted(const struct address *a, struct dc_slice trusted)
{
    struct dc_slice word;
    while (dc_slice_take_token(&trusted, ',', &word)) {
        struct address prefix;
        uint64_t bits = 0;
        if (parse_prefix(dc_slice_trim(word), &prefix, &bits) && has_prefix(a, &prefix, bits)) {
            return true;
        }
    }
    return false;
}

bool dc_address_is_listed(struct dc_slice address, struct dc_slice list)
{
    struct address a;
    return parse_address(address, &a) && is_trusted(&a, list);
}

/* Takes the last word of a comma-separated list. */
static bool take_last(struct dc_slice *list, struct dc_slice *word)
{
    if (list->ptr == NULL || list->len == 0) {
        return false;
    }
    size_t start = list->len;
    while (start > 0 && list->ptr[start - 1] != ',') {
        start--;
    }
    *word = dc_slice_trim(dc_slice_make(list->ptr + start, list->len - start));
    list->len = start > 0 ? start - 1 : 0;
    return true;
}

size_t dc_address_of_client(struct dc_slice peer, struct dc_slice forwarded_for,
                            struct dc_slice trusted, char out[DC_ADDRESS_MAX])
{
    struct address client;
    struct address next;
    struct dc_slice word;
    if (!parse_address(peer, &client)) {
        return 0;
    }
    while (is_trusted(&client, trusted) && take_last(&forwarded_for, &word) &&
           parse_address(word, &next)) {
        client = next;
    }
    const char *text = client.is_v4 ? inet_ntop(AF_INET, client.bytes + 12, out, DC_ADDRESS_MAX)
                                    : inet_ntop(AF_INET6, client.bytes, out, DC_ADDRESS_MAX);
    return text != NULL ? strlen(text) : 0;
}
