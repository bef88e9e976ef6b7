/* What handlers see of a request. */
#include "net/http_inside.h"

struct dc_slice dc_http_host(const struct dc_http_request *r)
{
    return r->target.authority.ptr != NULL ? r->target.authority
                                           : dc_http_parse_known(&r->parse, DC_HTTP_KNOWN_HOST);
}

enum dc_http_method dc_http_method(const struct dc_http_request *r)
{
    return r->method;
}

struct dc_slice dc_http_path(const struct dc_http_request *r)
{
    return r->target.path;
}

struct dc_slice dc_http_query(const struct dc_http_request *r)
{
    return r->target.query;
}

struct dc_slice dc_http_header(const struct dc_http_request *r, struct dc_slice name)
{
    return dc_http_parse_header(&r->parse, name);
}

size_t dc_http_header_count(const struct dc_http_request *r, struct dc_slice name)
{
    return dc_http_parse_count(&r->parse, name);
}

bool dc_http_header_lists(const struct dc_http_request *r, struct dc_slice name,
                          struct dc_slice token)
{
    return dc_http_parse_lists(&r->parse, name, token);
}

struct dc_slice dc_http_body(const struct dc_http_request *r)
{
    return dc_strbuf_slice(&r->body);
}

struct dc_slice dc_http_param(const struct dc_http_request *r, size_t i)
{
    DC_ASSERT(i < r->match.n_params);
    return r->match.params[i];
}

/* A list may come in several headers, and some proxies add one of their own behind what the client
 * has sent: all of them count, in their order (RFC 9110 §5.3). NULL when there is no memory. */
static struct dc_slice forwarded_for(struct dc_http_request *r)
{
    struct dc_slice name = DC_S("X-Forwarded-For");
    struct dc_strbuf all = {0};
    size_t count = dc_http_header_count(r, name);
    if (count < 2) {
        return dc_http_header(r, name);
    }
    for (size_t i = 0; i < r->parse.n_fields; i++) {
        if (dc_slice_ieq(dc_http_field_name(&r->parse, i), name)) {
            dc_strbuf_add_z(&all, all.len > 0 ? "," : "");
            dc_strbuf_add(&all, dc_http_field_value(&r->parse, i));
        }
    }
    struct dc_slice joined =
        dc_strbuf_ok(&all) ? dc_arena_dup(&r->arena, dc_strbuf_slice(&all)) : DC_SLICE_NULL;
    dc_strbuf_free(&all);
    return joined;
}

bool dc_http_is_forwarded(const struct dc_http_request *r)
{
    return r->server->trusted_proxies != NULL &&
           dc_http_header(r, DC_S("X-Forwarded-For")).ptr != NULL;
}

struct dc_slice dc_http_peer(const struct dc_http_request *r)
{
    struct dc_http_request *own = r->self;
    if (own->peer_len == 0 && own->conn != NULL) {
        char peer[DC_ADDRESS_MAX];
        size_t len = dc_conn_peer(own->conn, peer, sizeof(peer));
        own->peer_len =
            (uint8_t)dc_address_of_client(dc_slice_make(peer, len), forwarded_for(own),
                                          dc_slice_z(r->server->trusted_proxies), own->peer);
    }
    return dc_slice_make(r->peer, r->peer_len);
}

struct dc_slice dc_http_request_id(const struct dc_http_request *r)
{
    return dc_slice_make(r->id, r->id_len);
}

struct dc_arena *dc_http_arena(struct dc_http_request *r)
{
    return &r->arena;
}

void dc_http_on_gone(struct dc_http_request *r, void (*gone)(void *data), void *data)
{
    if (r->state == DC_HTTP_OVER || r->conn == NULL) {
        return; /* nobody is there to go */
    }
    r->gone = gone;
    r->gone_data = data;
}
