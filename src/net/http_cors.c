/* Cross-origin requests (WHATWG Fetch §3.2) by an allow-list of exact origins.  "*" lets every
 * concrete origin in, echoed, because credentials forbid a literal star; the opaque origin "null"
 * is nobody's and never allowed. */
#include "net/http_inside.h"

bool dc_http_origin_allowed(const char *list_z, struct dc_slice origin)
{
    if (list_z == NULL || origin.len == 0 || dc_slice_eq(origin, DC_S("null"))) {
        return false;
    }
    struct dc_slice list = dc_slice_z(list_z);
    struct dc_slice item;
    while (dc_slice_take_token(&list, ',', &item)) {
        item = dc_slice_trim(item);
        if (dc_slice_eq(item, DC_S("*")) || dc_slice_ieq(item, origin)) {
            return true;
        }
    }
    return false;
}

void dc_http_cors_lines(const struct dc_http_request *r, struct dc_strbuf *out)
{
    const char *list = r->server->cors_origins;
    if (list == NULL) {
        return;
    }
    dc_strbuf_add(out, DC_S("Vary: Origin\r\n"));
    if (!r->has_head) {
        return;
    }
    struct dc_slice origin = dc_http_parse_known(&r->parse, DC_HTTP_KNOWN_ORIGIN);
    if (!dc_http_origin_allowed(list, origin)) {
        return;
    }
    dc_strbuf_add(out, DC_S("Access-Control-Allow-Origin: "));
    dc_strbuf_add(out, origin);
    dc_strbuf_add(out, DC_S("\r\nAccess-Control-Allow-Credentials: true\r\n"
                            "Access-Control-Expose-Headers: x-request-id, retry-after\r\n"));
}

void dc_http_write_methods(unsigned methods, struct dc_strbuf *out)
{
    static const struct {
        enum dc_http_method method;
        const char *name_z;
    } names[] = {{DC_GET, "GET"},        {DC_HEAD, "HEAD"},   {DC_POST, "POST"},
                 {DC_PUT, "PUT"},        {DC_PATCH, "PATCH"}, {DC_DELETE, "DELETE"},
                 {DC_OPTIONS, "OPTIONS"}};
    bool is_first = true;
    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        if ((methods & names[i].method) != 0) {
            dc_strbuf_add_z(out, is_first ? "" : ", ");
            dc_strbuf_add_z(out, names[i].name_z);
            is_first = false;
        }
    }
}

void dc_http_answer_options(struct dc_http_request *r, unsigned allowed)
{
    struct dc_strbuf methods = {0};
    dc_http_write_methods(allowed, &methods);
    dc_http_set_header(r, "Allow", dc_strbuf_slice(&methods));
    struct dc_slice origin = dc_http_parse_known(&r->parse, DC_HTTP_KNOWN_ORIGIN);
    bool is_preflight = dc_http_header(r, DC_S("access-control-request-method")).ptr != NULL;
    if (is_preflight && dc_http_origin_allowed(r->server->cors_origins, origin)) {
        dc_http_set_header(r, "Access-Control-Allow-Methods", dc_strbuf_slice(&methods));
        dc_http_set_header(r, "Access-Control-Allow-Headers",
                           DC_S("authorization, content-type, idempotency-key, x-request-id"));
        dc_http_set_header(r, "Access-Control-Max-Age", DC_S("600"));
    }
    dc_strbuf_free(&methods);
    dc_http_reply(r, 204, NULL, DC_SLICE_NULL);
}
