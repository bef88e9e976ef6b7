/* Demands on texts. */
#include "conf/conf_check.h"

#include "base/address.h"
#include "base/input.h"
#include <arpa/inet.h>

#define JWT_SECRET_MIN_BYTES 16

const char *dc_check_address(struct dc_slice text)
{
    char text_z[INET6_ADDRSTRLEN];
    struct in6_addr addr; /* large enough for both */

    if (dc_slice_copy_z(text, text_z, sizeof(text_z)) &&
        (inet_pton(AF_INET, text_z, &addr) == 1 || inet_pton(AF_INET6, text_z, &addr) == 1)) {
        return NULL;
    }
    return "is not a numeric IPv4 or IPv6 address";
}

const char *dc_check_address_list(struct dc_slice text)
{
    return dc_address_list_is_valid(text)
               ? NULL
               : "is not a comma-separated list of addresses or prefixes like 10.0.0.0/8";
}

/* No blanks, no control characters: nothing that a URL can hold unescaped. */
static bool is_unbroken(struct dc_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= ' ' || c == 0x7F) {
            return false;
        }
    }
    return text.len > 0;
}

/* Consumes one of the two schemes; something must follow. */
static bool take_scheme(struct dc_slice *text, struct dc_slice a, struct dc_slice b)
{
    return (dc_slice_take_prefix(text, a) || dc_slice_take_prefix(text, b)) && is_unbroken(*text);
}

const char *dc_check_postgres_url(struct dc_slice text)
{
    return take_scheme(&text, DC_S("postgresql://"), DC_S("postgres://"))
               ? NULL
               : "does not start with postgresql://";
}

const char *dc_check_redis_url(struct dc_slice text)
{
    return take_scheme(&text, DC_S("redis://"), DC_S("redis+sentinel://")) ||
                   take_scheme(&text, DC_S("rediss://"), DC_S("rediss+sentinel://"))
               ? NULL
               : "does not start with redis(s):// or redis(s)+sentinel://";
}

const char *dc_check_nats_url(struct dc_slice text)
{
    return take_scheme(&text, DC_S("nats://"), DC_S("tls://")) ? NULL
                                                               : "does not start with nats://";
}

const char *dc_check_jwt_secret(struct dc_slice text)
{
    return text.len >= JWT_SECRET_MIN_BYTES ? NULL : "has less than 16 bytes";
}

const char *dc_check_header_value(struct dc_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~') {
            return "has characters that are not printable ASCII";
        }
    }
    return NULL;
}

const char *dc_check_http_url(struct dc_slice text)
{
    bool has_scheme = take_scheme(&text, DC_S("http://"), DC_S("https://"));
    bool is_plain = dc_slice_find(text, '@') == SIZE_MAX && dc_slice_find(text, '?') == SIZE_MAX &&
                    dc_slice_find(text, '#') == SIZE_MAX;

    return has_scheme && is_plain && text.ptr[0] != '/' ? NULL : "is not http(s)://host[:port]";
}

/* 179: as in matrix/matrix_id.h. */
#define SERVER_NAME_MAX_BYTES 179

const char *dc_check_server_name(struct dc_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
        if (!is_good) {
            return "is not a server name such as example.org or example.org:8448";
        }
    }
    return text.len <= SERVER_NAME_MAX_BYTES ? NULL : "has more than 179 characters";
}

static bool is_matrix_user(struct dc_slice user)
{
    size_t colon = dc_slice_find(user, ':');
    return is_unbroken(user) && user.ptr[0] == '@' && colon != SIZE_MAX && colon >= 2 &&
           colon + 1 < user.len;
}

/* The longest that a homeserver takes. */
#define MATRIX_USER_MAX_BYTES 255

const char *dc_check_matrix_user(struct dc_slice text)
{
    return is_matrix_user(text) && text.len <= MATRIX_USER_MAX_BYTES
               ? NULL
               : "is not a user such as @name:example.org";
}

const char *dc_check_matrix_users(struct dc_slice text)
{
    struct dc_slice item;

    while (dc_slice_take_token(&text, ',', &item)) {
        if (!is_matrix_user(dc_slice_trim(item))) {
            return "is not a list of users such as @name:example.org";
        }
    }
    return NULL;
}

static bool is_origin(struct dc_slice origin)
{
    return take_scheme(&origin, DC_S("http://"), DC_S("https://")) &&
           dc_slice_find(origin, '/') == SIZE_MAX && dc_slice_find(origin, '*') == SIZE_MAX;
}

const char *dc_check_origins(struct dc_slice text)
{
    struct dc_slice item;

    if (dc_slice_eq(dc_slice_trim(text), DC_S("*"))) {
        return NULL;
    }
    while (dc_slice_take_token(&text, ',', &item)) {
        if (!is_origin(dc_slice_trim(item))) {
            return "is not a list of origins such as https://city.example";
        }
    }
    return NULL;
}

static bool contains(struct dc_slice list, struct dc_slice slug)
{
    struct dc_slice item;

    while (dc_slice_take_token(&list, ',', &item)) {
        if (dc_slice_eq(dc_slice_trim(item), slug)) {
            return true;
        }
    }
    return false;
}

const char *dc_check_slugs(struct dc_slice text)
{
    struct dc_slice rest = text;
    struct dc_slice item;

    while (dc_slice_take_token(&rest, ',', &item)) {
        struct dc_slice slug = dc_slice_trim(item);
        if (!dc_slug_is_valid(slug)) {
            return "is not a list of slugs (a-z, 0-9, _ and -, 63 characters at most)";
        }
        if (contains(rest, slug)) {
            return "names a room twice";
        }
    }
    return NULL;
}
