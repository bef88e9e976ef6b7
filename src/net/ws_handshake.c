/* The opening handshake of WebSockets, server side (RFC 6455 §4.2). */
#include "net/ws_priv.h"

#include "base/encoding.h"
#include "net/http_parse.h"
#include "net/ws_codec.h"

#define KEY_BYTES    16u
#define ACCEPT_CHARS 28u

bool dc_ws_origin_is_host(struct dc_slice origin, struct dc_slice host)
{
    struct dc_slice default_port;
    if (dc_slice_take_prefix(&origin, DC_S("https://"))) {
        default_port = DC_S(":443");
    } else if (dc_slice_take_prefix(&origin, DC_S("http://"))) {
        default_port = DC_S(":80");
    } else {
        return false;
    }
    if (dc_slice_ends(origin, default_port)) {
        origin.len -= default_port.len;
    }
    if (dc_slice_ends(host, default_port)) {
        host.len -= default_port.len;
    }
    return origin.len > 0 && dc_slice_ieq(origin, host);
}

static bool key_is_valid(struct dc_slice key)
{
    uint8_t bytes[KEY_BYTES + 2]; /* room to see that it is longer */
    size_t len;
    return dc_base64_decode(key, bytes, sizeof(bytes), &len) && len == KEY_BYTES;
}

bool dc_ws_is_upgrade(const struct dc_http_request *r)
{
    return dc_http_header_lists(r, DC_S("upgrade"), DC_S("websocket")) &&
           dc_http_header_lists(r, DC_S("connection"), DC_S("upgrade"));
}

/* Of a header that must not come twice (RFC 6455 §11.3): two readers could choose differently. */
static bool is_repeated(const struct dc_http_request *r, struct dc_slice name)
{
    return dc_http_header_count(r, name) > 1;
}

enum dc_status dc_ws_handshake_check(const struct dc_http_request *r, const char *allowed_origins,
                                     struct dc_error *err)
{
    struct dc_slice version = DC_S("sec-websocket-version");
    struct dc_slice key = DC_S("sec-websocket-key");
    if (!dc_ws_is_upgrade(r)) {
        return dc_fail(err, DC_UPGRADE, 0, "this address speaks WebSocket");
    }
    if (dc_http_method(r) != DC_GET || !dc_http_is_11(r)) {
        return dc_fail(err, DC_MALFORMED, 0, "a WebSocket starts with GET over HTTP/1.1");
    }
    if (is_repeated(r, version) || !dc_slice_eq(dc_http_header(r, version), DC_S("13"))) {
        return dc_fail(err, DC_UPGRADE, 0, "only WebSocket version 13 is spoken here");
    }
    if (is_repeated(r, key) || !key_is_valid(dc_http_header(r, key))) {
        return dc_fail(err, DC_MALFORMED, 0, "Sec-WebSocket-Key must be 16 bytes in base64");
    }
    if (is_repeated(r, DC_S("origin"))) {
        return dc_fail(err, DC_MALFORMED, 0, "Origin must not be repeated");
    }
    struct dc_slice origin = dc_http_header(r, DC_S("origin"));
    if (origin.ptr != NULL && !dc_ws_origin_is_host(origin, dc_http_host(r)) &&
        !dc_http_origin_allowed(allowed_origins, origin)) {
        return dc_fail_code(err, DC_FORBIDDEN, "origin_forbidden",
                            "pages of this origin may not connect");
    }
    return DC_OK;
}

void dc_ws_handshake_answer(const struct dc_http_request *r, const char *subprotocol_z,
                            struct dc_strbuf *head)
{
    char accept[ACCEPT_CHARS + 1];
    dc_ws_accept_key(dc_http_header(r, DC_S("sec-websocket-key")), accept);
    dc_strbuf_add(head, DC_S("Upgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: "));
    dc_strbuf_add(head, dc_slice_make(accept, ACCEPT_CHARS));
    if (subprotocol_z != NULL) {
        dc_strbuf_add(head, DC_S("\r\nSec-WebSocket-Protocol: "));
        dc_strbuf_add_z(head, subprotocol_z);
    }
    dc_strbuf_add(head, DC_S("\r\n\r\n"));
}
