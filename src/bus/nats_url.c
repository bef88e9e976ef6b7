/* NATS_URL. */
#include "bus/nats_url.h"
#include "base/encoding.h"
#include "base/mem.h"

static void wipe(char *text)
{
    if (text != NULL) {
        dc_wipe(text, strlen(text));
        dc_free(text);
    }
}

static char *copy(const char *text)
{
    return text == NULL ? NULL : dc_strdup(text);
}

void dc_nats_url_free(struct dc_nats_url *u)
{
    for (size_t i = 0; i < u->n; i++) {
        struct dc_nats_server *s = &u->servers[i];
        dc_free(s->host);
        dc_free(s->address);
        wipe(s->user);
        wipe(s->password);
        wipe(s->token);
    }
    *u = (struct dc_nats_url){.n = 0};
}

/* NULL: a bad escape. */
static char *decode(struct dc_slice text)
{
    struct dc_strbuf out = {0};
    char *result = NULL;
    if (dc_percent_decode(&out, text, false)) {
        result = dc_slice_dup_z(dc_strbuf_slice(&out));
    }
    if (out.ptr != NULL) {
        dc_wipe(out.ptr, out.len);
    }
    dc_strbuf_free(&out);
    return result;
}

/* The last one: passwords may hold an unescaped '@'. */
static size_t find_at(struct dc_slice s)
{
    for (size_t i = s.len; i > 0; i--) {
        if (s.ptr[i - 1] == '@') {
            return i - 1;
        }
    }
    return SIZE_MAX;
}

/* NULL, or what is wrong. */
static const char *parse_user(struct dc_nats_server *s, struct dc_slice info)
{
    size_t colon = dc_slice_find(info, ':');
    if (colon == SIZE_MAX) {
        s->token = info.len == 0 ? NULL : decode(info);
        return s->token == NULL ? "has an empty or badly escaped token" : NULL;
    }
    s->user = decode(dc_slice_make(info.ptr, colon));
    s->password = decode(dc_slice_make(info.ptr + colon + 1, info.len - colon - 1));
    bool is_good = s->user != NULL && s->password != NULL && s->user[0] != '\0';
    return is_good ? NULL : "has an empty user or a bad escape in user or password";
}

static bool is_host(struct dc_slice host, bool is_ipv6)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
        if (!is_plain && !(is_ipv6 && (c == ':' || c == '%'))) {
            return false;
        }
    }
    return host.len > 0 && host.len <= 253;
}

static const char *parse_place(struct dc_nats_server *s, struct dc_slice place)
{
    struct dc_slice host, port;
    uint64_t number = DC_NATS_DEFAULT_PORT;
    bool is_ipv6 = place.len > 0 && place.ptr[0] == '[';
    if (place.len > 0 && place.ptr[place.len - 1] == '/') {
        place.len--;
    }
    size_t end = is_ipv6 ? dc_slice_find(place, ']') : dc_slice_find(place, ':');
    if (is_ipv6 && end == SIZE_MAX) {
        return "has a [ without ]";
    }
    host = is_ipv6 ? dc_slice_make(place.ptr + 1, end - 1)
                   : dc_slice_make(place.ptr, end == SIZE_MAX ? place.len : end);
    size_t eaten = is_ipv6 ? end + 1 : host.len;
    port = dc_slice_make(place.ptr + eaten, place.len - eaten);
    if (port.len > 0 && !(dc_slice_take_prefix(&port, DC_S(":")) && port.len <= 5 &&
                          dc_slice_to_u64(port, &number) && number >= 1 && number <= 65535)) {
        return "has something else than a port behind a host";
    }
    if (!is_host(host, is_ipv6)) {
        return "has a host that is no host";
    }
    struct dc_strbuf address = {0};
    dc_strbuf_printf(&address, "nats://%s%.*s%s:%u", is_ipv6 ? "[" : "", DC_SLICE_ARG(host),
                     is_ipv6 ? "]" : "", (unsigned)number);
    s->host = dc_slice_dup_z(host);
    s->address = dc_slice_dup_z(dc_strbuf_slice(&address));
    dc_strbuf_free(&address);
    return NULL;
}

static const char *parse_server(struct dc_nats_url *u, struct dc_slice text)
{
    struct dc_nats_server *s = &u->servers[u->n++];
    const struct dc_nats_server *first = &u->servers[0];
    *s = (struct dc_nats_server){.is_tls = first->is_tls};
    if (dc_slice_take_prefix(&text, DC_S("tls://"))) {
        s->is_tls = true;
    } else if (dc_slice_take_prefix(&text, DC_S("nats://"))) {
        s->is_tls = false;
    } else if (s == first) {
        return "does not start with nats:// or tls://";
    }
    size_t at = find_at(text);
    if (at != SIZE_MAX) {
        const char *problem = parse_user(s, dc_slice_make(text.ptr, at));
        if (problem != NULL) {
            return problem;
        }
        text = dc_slice_make(text.ptr + at + 1, text.len - at - 1);
    } else if (s != first) {
        s->user = copy(first->user);
        s->password = copy(first->password);
        s->token = copy(first->token);
    }
    return parse_place(s, text);
}

enum dc_status dc_nats_url_parse(const char *url, struct dc_nats_url *out, struct dc_error *err)
{
    struct dc_slice rest = dc_slice_z(url), item;
    const char *problem = NULL;
    *out = (struct dc_nats_url){.n = 0};
    while (problem == NULL && dc_slice_take_token(&rest, ',', &item)) {
        problem = out->n == DC_NATS_MAX_SERVERS ? "names more than 16 servers"
                                                : parse_server(out, dc_slice_trim(item));
    }
    if (problem == NULL && out->n == 0) {
        problem = "is empty";
    }
    if (problem == NULL) {
        return DC_OK;
    }
    dc_nats_url_free(out);
    return dc_fail(err, DC_CONFIG, 0, "NATS_URL %s", problem);
}
