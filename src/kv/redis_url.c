/* See redis_url.h. */
#include "kv/redis_url.h"
#include "base/encoding.h"
#include "base/mem.h"
#include "base/slice.h"

#define REDIS_PORT    6379
#define SENTINEL_PORT 26379
/* Redis can be configured for any number of databases; this is beyond all of them. */
#define DB_MAX 1000000

static enum dc_status wrong(struct dc_error *err, const char *what)
{
    return dc_fail(err, DC_CONFIG, 0, "REDIS_URL %s", what);
}

static size_t find_last(struct dc_slice s, char c)
{
    size_t i = s.len;

    while (i > 0 && s.ptr[i - 1] != c) {
        i--;
    }
    return i == 0 ? SIZE_MAX : i - 1;
}

static struct dc_slice before(struct dc_slice s, size_t at)
{
    return dc_slice_make(s.ptr, at);
}

static struct dc_slice after(struct dc_slice s, size_t at)
{
    return dc_slice_make(s.ptr + at + 1, s.len - at - 1);
}

/* A copy without percent signs; NULL when it is malformed, too long or holds a NUL. */
static char *decode(struct dc_slice s)
{
    struct dc_strbuf out = {0};

    /* Room at once, so that no copy of a secret stays behind. */
    if (s.len > DC_REDIS_TEXT_MAX_BYTES || !dc_strbuf_reserve(&out, s.len + 1)) {
        return NULL;
    }
    bool is_good = dc_percent_decode(&out, s, false);
    dc_strbuf_add_char(&out, '\0');
    if (!is_good) {
        dc_wipe(out.ptr, out.len);
        dc_strbuf_free(&out);
        return NULL;
    }
    return out.ptr;
}

static bool parse_login(struct dc_slice login, struct dc_redis_url *u)
{
    size_t colon = dc_slice_find(login, ':');
    struct dc_slice user = colon == SIZE_MAX ? login : before(login, colon);

    if (user.len > 0) {
        u->user = decode(user);
        if (u->user == NULL) {
            return false;
        }
    }
    if (colon != SIZE_MAX) {
        u->password = decode(after(login, colon));
        if (u->password == NULL || u->password[0] == '\0') {
            return false;
        }
    }
    return true;
}

/* Letters, digits and what names and addresses have besides. */
static bool is_host_name(struct dc_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_alnum && c != '.' && c != '-' && c != '_' && c != ':' && c != '%') {
            return false;
        }
    }
    return s.len > 0 && s.len < 254;
}

static bool parse_host(struct dc_slice text, uint16_t port, struct dc_redis_url *u)
{
    struct dc_slice name = text;
    struct dc_slice rest = DC_SLICE_NULL;
    uint64_t number = port;

    if (dc_slice_take_prefix(&text, DC_S("["))) {
        size_t end = dc_slice_find(text, ']');
        if (end == SIZE_MAX) {
            return false;
        }
        name = before(text, end);
        rest = after(text, end);
        if (rest.len > 0 && !dc_slice_take_prefix(&rest, DC_S(":"))) {
            return false;
        }
    } else if (dc_slice_find(text, ':') != SIZE_MAX) {
        size_t colon = dc_slice_find(text, ':');
        name = before(text, colon);
        rest = after(text, colon);
        if (rest.len == 0) {
            return false;
        }
    }
    if (rest.len > 0 && (!dc_slice_to_u64(rest, &number) || number < 1 || number > 65535)) {
        return false;
    }
    if (u->n_hosts == DC_REDIS_HOSTS_MAX || !is_host_name(name)) {
        return false;
    }
    u->hosts[u->n_hosts].name = dc_slice_dup_z(name);
    u->hosts[u->n_hosts++].port = (uint16_t)number;
    return true;
}

static bool parse_db(struct dc_slice text, struct dc_redis_url *u)
{
    uint64_t number = 0;

    if (!dc_slice_to_u64(text, &number) || number > DB_MAX) {
        return false;
    }
    u->db = (uint32_t)number;
    return true;
}

/* NULL, or what is wrong. */
static const char *parse_query(struct dc_slice query, bool is_sentinel, struct dc_redis_url *u)
{
    struct dc_slice item;

    while (dc_slice_take_token(&query, '&', &item)) {
        if (dc_slice_take_prefix(&item, DC_S("db="))) {
            if (!parse_db(item, u)) {
                return "has a db that is no number";
            }
        } else if (is_sentinel && u->sentinel_password == NULL &&
                   dc_slice_take_prefix(&item, DC_S("sentinel_password="))) {
            u->sentinel_password = decode(item);
            if (u->sentinel_password == NULL || u->sentinel_password[0] == '\0') {
                return "has a malformed sentinel_password";
            }
        } else {
            return is_sentinel ? "has settings besides db and sentinel_password"
                               : "has settings besides db";
        }
    }
    return NULL;
}

/* NULL, or what is wrong.  rest: everything behind the scheme. */
static const char *parse(struct dc_slice rest, bool is_sentinel, struct dc_redis_url *u)
{
    size_t mark = dc_slice_find(rest, '?');
    struct dc_slice query = DC_SLICE_NULL;
    struct dc_slice path = DC_SLICE_NULL;
    struct dc_slice host;

    if (mark != SIZE_MAX) {
        query = after(rest, mark);
        rest = before(rest, mark);
    }
    /* The login may hold a slash by mistake, a host cannot. */
    size_t at = find_last(rest, '@');
    if (at != SIZE_MAX) {
        if (!parse_login(before(rest, at), u)) {
            return "has a malformed user or password (user:password@host, special characters as "
                   "%XX)";
        }
        rest = after(rest, at);
    }
    size_t slash = dc_slice_find(rest, '/');
    if (slash != SIZE_MAX) {
        path = after(rest, slash);
        rest = before(rest, slash);
    }
    while (is_sentinel && dc_slice_take_token(&rest, ',', &host)) {
        if (!parse_host(host, SENTINEL_PORT, u)) {
            return "has no valid list of sentinels (host[:port],host[:port],... at most 16)";
        }
    }
    if (is_sentinel) {
        u->master = path.len == 0 || path.len > DC_REDIS_TEXT_MAX_BYTES ? NULL : decode(path);
        if (u->n_hosts == 0 || u->master == NULL) {
            return "is not redis+sentinel://host,host,.../master-name";
        }
    } else {
        if (!parse_host(rest, REDIS_PORT, u)) {
            return "has no valid host and port";
        }
        if (path.len > 0 && !parse_db(path, u)) {
            return "has a path that is no database number";
        }
    }
    return parse_query(query, is_sentinel, u);
}

enum dc_status dc_redis_url_parse(const char *url, const char *password, struct dc_redis_url *out,
                                  struct dc_error *err)
{
    static const struct {
        const char *scheme;
        bool is_tls, is_sentinel;
    } kinds[] = {{"redis://", false, false},
                 {"rediss://", true, false},
                 {"redis+sentinel://", false, true},
                 {"rediss+sentinel://", true, true}};
    struct dc_slice rest = dc_slice_z(url);
    size_t kind = 0;

    *out = (struct dc_redis_url){.db = 0};
    while (kind < DC_ARRAY_LEN(kinds) &&
           !dc_slice_take_prefix(&rest, dc_slice_z(kinds[kind].scheme))) {
        kind++;
    }
    if (kind == DC_ARRAY_LEN(kinds)) {
        return wrong(err, "does not start with redis(s):// or redis(s)+sentinel://");
    }
    out->is_tls = kinds[kind].is_tls;
    const char *what = parse(rest, kinds[kind].is_sentinel, out);
    if (what == NULL && out->password == NULL && password != NULL && password[0] != '\0') {
        out->password = dc_strdup(password);
    }
    if (what == NULL && out->user != NULL && out->password == NULL) {
        what = "has a user without a password (user:password@host, or REDIS_PASSWORD)";
    }
    if (what != NULL) {
        dc_redis_url_free(out);
        return wrong(err, what);
    }
    return DC_OK;
}

static void free_secret(char *text)
{
    if (text != NULL) {
        dc_wipe(text, strlen(text));
        dc_free(text);
    }
}

void dc_redis_url_free(struct dc_redis_url *u)
{
    for (size_t i = 0; i < u->n_hosts; i++) {
        dc_free(u->hosts[i].name);
    }
    dc_free(u->master);
    free_secret(u->user);
    free_secret(u->password);
    free_secret(u->sentinel_password);
    *u = (struct dc_redis_url){.db = 0};
}
