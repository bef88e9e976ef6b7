/* Heads of strangers that want a WebSocket, held against a plain reading of RFC 6455 §4.2.1 and
 * §4.2.2: the same ones are let in, the others get the same status, and the answer is that of
 * another implementation of SHA-1 and base64.  The input is a request head as a client sends it. */
#include "fuzz.h"
#include "net/http_inside.h"
#include "net/ws_priv.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <strings.h>

#define ALLOWED_ORIGINS "https://friend.example, http://b.example:99"
#define MAX_HEAD_BYTES  4000
#define MAX_NAME_BYTES  300

/* --- the model --- */

static bool has_name(const struct dc_http_parse *p, size_t i, const char *name_z)
{
    struct dc_slice name = dc_http_field_name(p, i);
    return name.len == strlen(name_z) && strncasecmp(name.ptr, name_z, name.len) == 0;
}

/* How many fields have that name; *value is the last one's. */
static size_t find(const struct dc_http_parse *p, const char *name_z, struct dc_slice *value)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_fields; i++) {
        if (has_name(p, i, name_z)) {
            *value = dc_http_field_value(p, i);
            n++;
        }
    }
    return n;
}

/* A list may be spread over several fields (RFC 9110 §5.3). */
static bool list_has(const struct dc_http_parse *p, const char *name_z, const char *token_z)
{
    size_t len = strlen(token_z);
    for (size_t i = 0; i < p->n_fields; i++) {
        if (!has_name(p, i, name_z)) {
            continue;
        }
        struct dc_slice value = dc_http_field_value(p, i);
        for (size_t at = 0; at + len <= value.len; at++) {
            size_t before = at, after = at + len;
            while (before > 0 && (value.ptr[before - 1] == ' ' || value.ptr[before - 1] == '\t')) {
                before--;
            }
            while (after < value.len && (value.ptr[after] == ' ' || value.ptr[after] == '\t')) {
                after++;
            }
            if (strncasecmp(value.ptr + at, token_z, len) == 0 &&
                (before == 0 || value.ptr[before - 1] == ',') &&
                (after == value.len || value.ptr[after] == ',')) {
                return true;
            }
        }
    }
    return false;
}

/* 16 bytes in base64: 22 letters, of which the last has four unused bits, and "==". */
static bool is_key(struct dc_slice key)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (key.len != 24 || memcmp(key.ptr + 22, "==", 2) != 0) {
        return false;
    }
    for (size_t i = 0; i < 22; i++) {
        if (memchr(letters, key.ptr[i], 64) == NULL) {
            return false;
        }
    }
    return memchr("AQgw", key.ptr[21], 4) != NULL;
}

/* Lower case, without the port that the scheme implies. */
static void write_host(char out[MAX_NAME_BYTES], struct dc_slice host, const char *port_z)
{
    size_t port_len = strlen(port_z);
    size_t n = host.len < MAX_NAME_BYTES ? host.len : MAX_NAME_BYTES - 1;
    for (size_t i = 0; i < n; i++) {
        char c = host.ptr[i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out[n] = '\0';
    if (n >= port_len && strcmp(out + n - port_len, port_z) == 0) {
        out[n - port_len] = '\0';
    }
}

static bool is_same_host(struct dc_slice origin, struct dc_slice host)
{
    static const struct {
        const char *scheme, *port;
    } schemes[] = {{"http://", ":80"}, {"https://", ":443"}};
    for (size_t i = 0; i < DC_ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i].scheme);
        if (origin.len > len && memcmp(origin.ptr, schemes[i].scheme, len) == 0) {
            char a[MAX_NAME_BYTES], b[MAX_NAME_BYTES];
            write_host(a, dc_slice_make(origin.ptr + len, origin.len - len), schemes[i].port);
            write_host(b, host, schemes[i].port);
            return a[0] != '\0' && strcmp(a, b) == 0;
        }
    }
    return false;
}

static bool is_friend(struct dc_slice origin)
{
    static const char *const friends[] = {"https://friend.example", "http://b.example:99"};
    for (size_t i = 0; i < DC_ARRAY_LEN(friends); i++) {
        if (origin.len == strlen(friends[i]) &&
            strncasecmp(origin.ptr, friends[i], origin.len) == 0) {
            return true;
        }
    }
    return false;
}

static enum dc_status judge(const struct dc_http_request *r)
{
    const struct dc_http_parse *p = &r->parse;
    struct dc_slice key = DC_SLICE_NULL, version = DC_SLICE_NULL, origin = DC_SLICE_NULL;
    struct dc_slice host = r->target.authority;
    if (!list_has(p, "upgrade", "websocket") || !list_has(p, "connection", "upgrade")) {
        return DC_UPGRADE;
    }
    if (!dc_slice_eq(p->method, DC_S("GET")) || p->minor != 1) {
        return DC_MALFORMED;
    }
    if (find(p, "sec-websocket-version", &version) != 1 || !dc_slice_eq(version, DC_S("13"))) {
        return DC_UPGRADE;
    }
    if (find(p, "sec-websocket-key", &key) != 1 || !is_key(key)) {
        return DC_MALFORMED;
    }
    if (host.ptr == NULL) {
        (void)find(p, "host", &host);
    }
    size_t n_origins = find(p, "origin", &origin);
    if (n_origins > 1) {
        return DC_MALFORMED;
    }
    return n_origins == 0 || is_same_host(origin, host) || is_friend(origin) ? DC_OK : DC_FORBIDDEN;
}

static void check_answer(struct dc_slice key, struct dc_slice answer)
{
    char text[24 + 37];
    uint8_t digest[SHA_DIGEST_LENGTH];
    unsigned char accept[29];
    char want[256];
    memcpy(text, key.ptr, 24);
    memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 37);
    DC_ASSERT(SHA1((const unsigned char *)text, sizeof(text) - 1, digest) == digest);
    DC_ASSERT(EVP_EncodeBlock(accept, digest, sizeof(digest)) == 28);
    int n = snprintf(want, sizeof(want),
                     "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
                     "Sec-WebSocket-Protocol: city.v1\r\n\r\n",
                     (const char *)accept);
    DC_ASSERT(n > 0 && (size_t)n < sizeof(want));
    DC_ASSERT(dc_slice_eq(answer, dc_slice_make(want, (size_t)n)));
}

static void check_head(struct dc_http_request *r)
{
    struct dc_error err = {.status = DC_OK};
    enum dc_status st = dc_ws_handshake_check(r, ALLOWED_ORIGINS, &err);
    DC_ASSERT(st == judge(r) && err.status == st);
    DC_ASSERT(st == DC_OK || dc_ws_is_upgrade(r) || st == DC_UPGRADE);
    if (st == DC_OK) {
        struct dc_strbuf answer = {0};
        dc_ws_handshake_answer(r, "city.v1", &answer);
        check_answer(dc_http_header(r, DC_S("sec-websocket-key")), dc_strbuf_slice(&answer));
        dc_strbuf_free(&answer);
    } else {
        DC_ASSERT(strlen(dc_error_text(&err)) > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dc_http_request r; /* large: not on the stack; set up anew each time */
    const struct dc_http_limits limits = {MAX_HEAD_BYTES, 0};
    struct dc_slice in = dc_slice_make(data, size);
    struct dc_slice piece;
    memset(&r, 0, sizeof(r));
    dc_http_parse_init(&r.parse, &limits);
    dc_arena_init(&r.arena, 1024, 0);
    if (dc_http_parse_next(&r.parse, &in, &piece) == DC_HTTP_HEAD &&
        dc_http_target_parse(r.parse.target, &r.arena, &r.target) == DC_OK) {
        r.method = dc_slice_eq(r.parse.method, DC_S("GET")) ? DC_GET : DC_POST;
        check_head(&r);
    }
    dc_arena_free(&r.arena);
    dc_http_parse_free(&r.parse);
    return 0;
}
