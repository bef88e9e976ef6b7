/* Whose request it is behind proxies, against a plain model: addresses as 128 bits, prefixes
 * compared bit by bit, the list walked from its end.  The input is three lines: the socket's
 * address, X-Forwarded-For, the trusted proxies. */
#include "base/address.h"
#include "fuzz.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 64
#define MAX_TEXT  1000

struct bits {
    uint8_t bytes[16];
    bool is_v4;
};

/* s without blanks around it, ended by NUL; false: NUL in it. */
static bool to_text(struct dc_slice s, char out[MAX_TEXT])
{
    s = dc_slice_trim(s);
    if (s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL) {
        return false;
    }
    if (s.len > 0) {
        memcpy(out, s.ptr, s.len);
    }
    out[s.len] = '\0';
    return true;
}

static bool read_address(const char *text, struct bits *out)
{
    struct in_addr v4;
    struct in6_addr v6;
    memset(out->bytes, 0, sizeof(out->bytes));
    if (strlen(text) < DC_ADDRESS_MAX && inet_pton(AF_INET, text, &v4) == 1) {
        out->bytes[10] = out->bytes[11] = 0xFF;
        memcpy(out->bytes + 12, &v4, 4);
        out->is_v4 = true;
        return true;
    }
    if (strlen(text) >= DC_ADDRESS_MAX || inet_pton(AF_INET6, text, &v6) != 1) {
        return false;
    }
    memcpy(out->bytes, &v6, 16);
    out->is_v4 = IN6_IS_ADDR_V4MAPPED(&v6);
    return true;
}

/* "a" or "a/n"; n of an IPv4 address counts behind the 96 bits that map it. */
static bool read_prefix(struct dc_slice word, struct bits *out, size_t *n)
{
    char text[MAX_TEXT];
    if (!to_text(word, text)) {
        return false;
    }
    char *slash = strchr(text, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    if (!read_address(text, out)) {
        return false;
    }
    size_t most = out->is_v4 ? 32 : 128;
    *n = most;
    if (slash != NULL) {
        size_t digits = strspn(slash + 1, "0123456789");
        if (digits == 0 || slash[1 + digits] != '\0' || strtod(slash + 1, NULL) > (double)most) {
            return false;
        }
        *n = strtoul(slash + 1, NULL, 10);
    }
    *n += out->is_v4 ? 96 : 0;
    return true;
}

/* At every comma; one at the end begins no word. */
static size_t split(struct dc_slice list, struct dc_slice out[MAX_WORDS])
{
    size_t n = 0;
    struct dc_slice word;
    while (n < MAX_WORDS && dc_slice_take_token(&list, ',', &word)) {
        out[n++] = word;
    }
    return n;
}

static bool is_trusted(const struct bits *a, struct dc_slice list)
{
    struct dc_slice words[MAX_WORDS];
    size_t count = split(list, words);
    for (size_t i = 0; i < count; i++) {
        struct bits prefix;
        size_t n;
        if (!read_prefix(words[i], &prefix, &n)) {
            continue;
        }
        bool same = true;
        for (size_t bit = 0; bit < n; bit++) {
            uint8_t mask = (uint8_t)(0x80u >> (bit % 8));
            same = same && ((a->bytes[bit / 8] ^ prefix.bytes[bit / 8]) & mask) == 0;
        }
        if (same) {
            return true;
        }
    }
    return false;
}

static bool list_is_valid(struct dc_slice list)
{
    struct dc_slice words[MAX_WORDS];
    size_t count = split(list, words);
    for (size_t i = 0; i < count; i++) {
        struct bits prefix;
        size_t n;
        if (!read_prefix(words[i], &prefix, &n)) {
            return false;
        }
    }
    return true;
}

static void check_client(struct dc_slice peer, struct dc_slice forwarded, struct dc_slice trusted)
{
    char out[DC_ADDRESS_MAX];
    char text[MAX_TEXT];
    struct bits want, got, next;
    struct dc_slice words[MAX_WORDS];
    size_t len = dc_address_of_client(peer, forwarded, trusted, out);
    bool is_address =
        dc_slice_eq(peer, dc_slice_trim(peer)) && to_text(peer, text) && read_address(text, &want);
    DC_ASSERT((len > 0) == is_address);
    if (!is_address) {
        return;
    }
    size_t n = split(forwarded, words);
    bool has_end = forwarded.len > 0 && forwarded.ptr[forwarded.len - 1] == ',';
    /* A comma at the end is an empty word behind it, which is no address. */
    while (!has_end && n > 0 && is_trusted(&want, trusted) && to_text(words[n - 1], text) &&
           read_address(text, &next)) {
        want = next;
        n--;
    }
    DC_ASSERT(len < sizeof(out) && out[len] == '\0' && strlen(out) == len);
    DC_ASSERT(read_address(out, &got) && memcmp(got.bytes, want.bytes, 16) == 0);
    DC_ASSERT(got.is_v4 == (strchr(out, ':') == NULL)); /* IPv4 is written as such */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dc_slice rest = dc_slice_make(data, size);
    struct dc_slice lines[3] = {DC_SLICE_NULL, DC_SLICE_NULL, DC_SLICE_NULL};
    for (size_t i = 0; i < DC_ARRAY_LEN(lines); i++) {
        (void)dc_slice_take_token(&rest, '\n', &lines[i]);
        struct dc_slice words[MAX_WORDS];
        if (lines[i].len >= MAX_TEXT || split(lines[i], words) == MAX_WORDS) {
            return 0; /* more than the model keeps */
        }
    }
    DC_ASSERT(dc_address_list_is_valid(lines[2]) == list_is_valid(lines[2]));
    check_client(lines[0], lines[1], lines[2]);
    return 0;
}
