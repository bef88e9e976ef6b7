/* Matching, for the HTTP server. */
#ifndef DC_NET_ROUTER_PRIV_H
#define DC_NET_ROUTER_PRIV_H

#include "net/router.h"

/* Parameters of one pattern. */
#define DC_ROUTER_MAX_PARAMS 8

struct dc_router_match {
    const struct dc_route *route; /* NULL: no route of this method */
    void *ctx;
    unsigned allowed; /* methods of all routes of this path, with HEAD and OPTIONS; 0: unknown */
    size_t n_params;
    struct dc_slice params[DC_ROUTER_MAX_PARAMS];
};

/* segments: decoded, lying behind each other in one path with '/' between them. */
void dc_router_find(const struct dc_router *rt, enum dc_http_method method,
                    const struct dc_slice *segments, size_t n, struct dc_router_match *match);
/* NULL: this handler has none of its own. */
dc_body_limit_cb dc_router_body_limit(const struct dc_router *rt, dc_http_handler handler);
/* NULL: none. */
dc_http_handler dc_router_fallback(const struct dc_router *rt, void **ctx);

#endif
