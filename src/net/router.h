/* Router: a table of patterns, matched segment by segment.  "/city/rooms/{room}/messages" has one
 * typed parameter: {x} is an id or slug (DC_FIELD_ID rules, else 404), {x:int} an integer, {x...}
 * the rest of the path.  Literal segments win over parameters.  A known path with another method is
 * 405 with Allow; HEAD goes to GET; OPTIONS is answered for every known path. */
#ifndef DC_NET_ROUTER_H
#define DC_NET_ROUTER_H

#include "net/http.h"

typedef void (*dc_http_handler)(void *ctx, struct dc_http_request *r);

struct dc_route {
    unsigned methods; /* enum dc_http_method, or-ed */
    const char *pattern;
    dc_http_handler handler;
};

struct dc_router;
struct dc_router *dc_router_create(void);
void dc_router_destroy(struct dc_router *rt);
/* Adds routes below prefix ("" or "/api"); ctx goes to their handlers. Tables are borrowed and
 * static. Two routes of one method and pattern are our own mistake (assertion). */
void dc_router_add(struct dc_router *rt, const char *prefix, const struct dc_route *routes,
                   size_t n, void *ctx);
/* Bodies of this handler's requests may be larger than the server's limit: as soon as the head of
 * one that is larger has been read, limit says how many bytes may follow (0: as ever).  Headers can
 * be asked for in it, so that only who may send much is let.  handler must have been added. */
typedef size_t (*dc_body_limit_cb)(void *ctx, const struct dc_http_request *r);
void dc_router_set_body_limit(struct dc_router *rt, dc_http_handler handler,
                              dc_body_limit_cb limit);
/* What answers paths that no route knows (static files); default 404. */
void dc_router_set_fallback(struct dc_router *rt, dc_http_handler handler, void *ctx);

#endif
