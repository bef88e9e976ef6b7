/* A tree of segments.  A path may match several patterns ("/rooms/new" and "/rooms/{room}"): they
 * are visited literal first, the first one with the method answers, and the methods of all of them
 * make up Allow. */
#include "base/input.h"
#include "base/mem.h"
#include "net/router_priv.h"

/* Up to here a plain text is an id whatever the limit of dc_id_is_valid() is counted in. */
#define PLAIN_ID_MAX 64

struct target {
    const struct dc_route *route;
    void *ctx;
};

enum kind { KIND_ID, KIND_INT, KIND_REST, KIND_COUNT };

struct node {
    struct dc_slice literal; /* borrowed from the prefix copy or the static pattern */
    struct node **literals;
    size_t n_literals;
    struct node *params[KIND_COUNT];
    struct target *targets;
    size_t n_targets;
};

struct body_limit {
    dc_http_handler handler;
    dc_body_limit_cb limit;
};

struct dc_router {
    struct node root;
    struct body_limit *body_limits;
    size_t n_body_limits;
    char **prefixes;
    size_t n_prefixes;
    dc_http_handler fallback;
    void *fallback_ctx;
};

struct dc_router *dc_router_create(void)
{
    return dc_calloc(1, sizeof(struct dc_router));
}

static void node_free(struct node *n)
{
    for (size_t i = 0; i < n->n_literals; i++) {
        node_free(n->literals[i]);
        dc_free(n->literals[i]);
    }
    for (size_t k = 0; k < KIND_COUNT; k++) {
        if (n->params[k] != NULL) {
            node_free(n->params[k]);
            dc_free(n->params[k]);
        }
    }
    dc_free(n->literals);
    dc_free(n->targets);
}

void dc_router_destroy(struct dc_router *rt)
{
    if (rt == NULL) {
        return;
    }
    node_free(&rt->root);
    for (size_t i = 0; i < rt->n_prefixes; i++) {
        dc_free(rt->prefixes[i]);
    }
    dc_free(rt->prefixes);
    dc_free(rt->body_limits);
    dc_free(rt);
}

static struct node *literal_child(struct node *n, struct dc_slice text)
{
    for (size_t i = 0; i < n->n_literals; i++) {
        if (dc_slice_eq(n->literals[i]->literal, text)) {
            return n->literals[i];
        }
    }
    struct node *child = dc_calloc(1, sizeof *child);
    child->literal = text;
    n->literals = dc_realloc(n->literals, (n->n_literals + 1) * sizeof(struct node *));
    n->literals[n->n_literals++] = child;
    return child;
}

static struct node *param_child(struct node *n, struct dc_slice segment)
{
    DC_ASSERT(segment.len >= 3 && segment.ptr[segment.len - 1] == '}');
    struct dc_slice inside = dc_slice_make(segment.ptr + 1, segment.len - 2);
    enum kind kind = KIND_ID;
    if (dc_slice_ends(inside, DC_S("..."))) {
        kind = KIND_REST;
    } else if (dc_slice_ends(inside, DC_S(":int"))) {
        kind = KIND_INT;
    } else {
        DC_ASSERT(dc_slice_find(inside, ':') == SIZE_MAX);
    }
    if (n->params[kind] == NULL) {
        n->params[kind] = dc_calloc(1, sizeof(struct node));
    }
    return n->params[kind];
}

/* Walks (and makes) the nodes of a pattern, "/a/{b}"; "" stays where it is. */
static struct node *descend(struct node *n, struct dc_slice pattern, size_t *n_params)
{
    while (pattern.len > 0) {
        DC_ASSERT(pattern.ptr[0] == '/');
        pattern = dc_slice_make(pattern.ptr + 1, pattern.len - 1);
        size_t end = dc_slice_find(pattern, '/');
        struct dc_slice segment = pattern;
        if (end != SIZE_MAX) {
            segment.len = end;
        }
        pattern = dc_slice_make(pattern.ptr + segment.len, pattern.len - segment.len);
        if (segment.len > 0 && segment.ptr[0] == '{') {
            (*n_params)++;
            DC_ASSERT(*n_params <= DC_ROUTER_MAX_PARAMS);
            n = param_child(n, segment);
        } else {
            n = literal_child(n, segment);
        }
    }
    return n;
}

void dc_router_add(struct dc_router *rt, const char *prefix, const struct dc_route *routes,
                   size_t n, void *ctx)
{
    char *copy = dc_strdup(prefix);
    rt->prefixes = dc_realloc(rt->prefixes, (rt->n_prefixes + 1) * sizeof(char *));
    rt->prefixes[rt->n_prefixes++] = copy;
    size_t prefix_params = 0;
    struct node *base = descend(&rt->root, dc_slice_z(copy), &prefix_params);
    for (size_t i = 0; i < n; i++) {
        size_t n_params = prefix_params;
        DC_ASSERT(routes[i].pattern[0] == '/' && routes[i].methods != 0);
        struct node *at = descend(base, dc_slice_z(routes[i].pattern), &n_params);
        for (size_t k = 0; k < at->n_targets; k++) {
            /* Two routes of one method and pattern. */
            DC_ASSERT((at->targets[k].route->methods & routes[i].methods) == 0);
        }
        at->targets = dc_realloc(at->targets, (at->n_targets + 1) * sizeof *at->targets);
        at->targets[at->n_targets++] = (struct target){&routes[i], ctx};
    }
}

void dc_router_set_fallback(struct dc_router *rt, dc_http_handler handler, void *ctx)
{
    rt->fallback = handler;
    rt->fallback_ctx = ctx;
}

dc_http_handler dc_router_fallback(const struct dc_router *rt, void **ctx)
{
    *ctx = rt->fallback_ctx;
    return rt->fallback;
}

struct search {
    unsigned method;
    const struct dc_slice *segments;
    size_t n;
    struct dc_router_match *match;
    struct dc_slice params[DC_ROUTER_MAX_PARAMS];
};

static void visit_targets(struct search *s, const struct node *n, size_t n_params)
{
    for (size_t i = 0; i < n->n_targets; i++) {
        unsigned methods = n->targets[i].route->methods;
        if ((methods & DC_GET) != 0) {
            methods |= DC_HEAD;
        }
        s->match->allowed |= methods | DC_OPTIONS;
        if (s->match->route == NULL && (methods & s->method) != 0) {
            s->match->route = n->targets[i].route;
            s->match->ctx = n->targets[i].ctx;
            s->match->n_params = n_params;
            memcpy(s->match->params, s->params, n_params * sizeof s->params[0]);
        }
    }
}

static bool is_int(struct dc_slice text)
{
    int64_t ignored;
    return dc_slice_to_i64(text, &ignored);
}

static bool is_id(struct dc_slice text)
{
    /* Nearly every id is of these characters, and then there is nothing to decode. */
    size_t i = 0;
    while (i < text.len && ((text.ptr[i] >= 'a' && text.ptr[i] <= 'z') ||
                            (text.ptr[i] >= '0' && text.ptr[i] <= '9') ||
                            (text.ptr[i] >= 'A' && text.ptr[i] <= 'Z') || text.ptr[i] == '-' ||
                            text.ptr[i] == '_')) {
        i++;
    }
    if (i == text.len && i > 0 && i <= PLAIN_ID_MAX) {
        return true;
    }
    return dc_id_is_valid(text) && dc_slice_find(text, '/') == SIZE_MAX;
}

static void visit(struct search *s, const struct node *n, size_t depth, size_t n_params)
{
    if (depth == s->n) {
        visit_targets(s, n, n_params);
        return;
    }
    struct dc_slice segment = s->segments[depth];
    for (size_t i = 0; i < n->n_literals; i++) {
        struct dc_slice literal = n->literals[i]->literal;
        if (literal.len == segment.len && (literal.len == 0 || literal.ptr[0] == segment.ptr[0]) &&
            dc_slice_eq(literal, segment)) {
            visit(s, n->literals[i], depth + 1, n_params);
            break;
        }
    }
    if (n->params[KIND_INT] != NULL && is_int(segment)) {
        s->params[n_params] = segment;
        visit(s, n->params[KIND_INT], depth + 1, n_params + 1);
    }
    if (n->params[KIND_ID] != NULL && is_id(segment)) {
        s->params[n_params] = segment;
        visit(s, n->params[KIND_ID], depth + 1, n_params + 1);
    }
    if (n->params[KIND_REST] != NULL) {
        const struct dc_slice *last = &s->segments[s->n - 1];
        s->params[n_params] =
            dc_slice_make(segment.ptr, (size_t)(last->ptr + last->len - segment.ptr));
        visit_targets(s, n->params[KIND_REST], n_params + 1);
    }
}

void dc_router_find(const struct dc_router *rt, enum dc_http_method method,
                    const struct dc_slice *segments, size_t n, struct dc_router_match *match)
{
    struct search s; /* params are written before they are read */
    s.method = (unsigned)method;
    s.segments = segments;
    s.n = n;
    s.match = match;
    match->route = NULL;
    match->ctx = NULL;
    match->allowed = 0;
    match->n_params = 0;
    visit(&s, &rt->root, 0, 0);
}

void dc_router_set_body_limit(struct dc_router *rt, dc_http_handler handler, dc_body_limit_cb limit)
{
    rt->body_limits =
        dc_realloc(rt->body_limits, (rt->n_body_limits + 1) * sizeof(struct body_limit));
    rt->body_limits[rt->n_body_limits++] = (struct body_limit){handler, limit};
}

dc_body_limit_cb dc_router_body_limit(const struct dc_router *rt, dc_http_handler handler)
{
    for (size_t i = 0; i < rt->n_body_limits; i++) {
        if (rt->body_limits[i].handler == handler) {
            return rt->body_limits[i].limit;
        }
    }
    return NULL;
}
