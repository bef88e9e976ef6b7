/* Index of subscriptions: see bus_index.h. */
#include "bus/bus_index.h"
#include "base/mem.h"

/* One token of patterns, or a whole exact subject.  Lives while it has entries or children. */
struct dc_bus_node {
    struct dc_bus_node *parent; /* NULL: the root, or an exact subject */
    struct dc_map children;     /* token -> node; `*` and `>` are tokens like others */
    struct dc_list entries;     /* patterns that end here */
    bool is_exact;
    size_t len;
    char text[];
};

static struct dc_bus_node *node_new(const struct dc_bus_index *ix, struct dc_bus_node *parent,
                                    struct dc_slice text)
{
    struct dc_bus_node *n = dc_calloc(1, sizeof(*n) + text.len);
    n->parent = parent;
    n->len = text.len;
    if (text.len > 0) {
        memcpy(n->text, text.ptr, text.len);
    }
    dc_list_init(&n->entries);
    dc_map_init(&n->children, ix->seed);
    return n;
}

static struct dc_slice node_text(const struct dc_bus_node *n)
{
    return dc_slice_make(n->text, n->len);
}

static void node_free(struct dc_bus_node *n)
{
    DC_ASSERT(n->children.count == 0 && dc_list_is_empty(&n->entries));
    dc_map_free(&n->children);
    dc_free(n);
}

void dc_bus_index_init(struct dc_bus_index *ix, const uint64_t seed[2])
{
    memcpy(ix->seed, seed, sizeof(ix->seed));
    dc_map_init(&ix->exact, seed);
    ix->root = node_new(ix, NULL, DC_SLICE_NULL);
}

void dc_bus_index_free(struct dc_bus_index *ix)
{
    DC_ASSERT(ix->exact.count == 0);
    dc_map_free(&ix->exact);
    node_free(ix->root);
}

static struct dc_bus_node *node_need(const struct dc_bus_index *ix, struct dc_map *map,
                                     struct dc_bus_node *parent, struct dc_slice text)
{
    struct dc_bus_node *n = dc_map_get(map, text);
    if (n == NULL) {
        n = node_new(ix, parent, text);
        dc_map_put(map, node_text(n), n);
    }
    return n;
}

static bool has_wildcard(struct dc_slice pattern)
{
    return dc_slice_find(pattern, '*') != SIZE_MAX || dc_slice_find(pattern, '>') != SIZE_MAX;
}

void dc_bus_index_add(struct dc_bus_index *ix, struct dc_bus_entry *e, struct dc_slice pattern)
{
    struct dc_bus_node *n = ix->root;
    if (has_wildcard(pattern)) {
        struct dc_slice token;
        while (dc_slice_take_token(&pattern, '.', &token)) {
            n = node_need(ix, &n->children, n, token);
        }
    } else {
        n = node_need(ix, &ix->exact, NULL, pattern);
        n->is_exact = true;
    }
    e->node = n;
    dc_list_push_back(&n->entries, &e->link);
}

void dc_bus_index_remove(struct dc_bus_index *ix, struct dc_bus_entry *e)
{
    struct dc_bus_node *n = e->node;
    if (n == NULL) {
        return;
    }
    e->node = NULL;
    dc_list_remove(&e->link);
    while (n != ix->root && dc_list_is_empty(&n->entries) && n->children.count == 0) {
        struct dc_bus_node *parent = n->parent;
        dc_map_remove(n->is_exact ? &ix->exact : &parent->children, node_text(n));
        bool is_exact = n->is_exact;
        node_free(n);
        if (is_exact) {
            return;
        }
        n = parent;
    }
}

static void visit(const struct dc_bus_node *n, void (*fn)(void *data, struct dc_bus_entry *e),
                  void *data)
{
    if (n != NULL) {
        DC_LIST_FOREACH (it, &n->entries) {
            fn(data, DC_LIST_ENTRY(it, struct dc_bus_entry, link));
        }
    }
}

/* Depth: the tokens of a subject, at most 128. */
static void match(const struct dc_bus_node *n, struct dc_slice rest,
                  void (*fn)(void *data, struct dc_bus_entry *e), void *data)
{
    if (n == NULL) {
        return;
    }
    struct dc_slice token;
    if (!dc_slice_take_token(&rest, '.', &token)) {
        visit(n, fn, data);
        return;
    }
    if (n->children.count == 0) {
        return;
    }
    visit(dc_map_get(&n->children, DC_S(">")), fn, data);
    match(dc_map_get(&n->children, DC_S("*")), rest, fn, data);
    match(dc_map_get(&n->children, token), rest, fn, data);
}

void dc_bus_index_match(const struct dc_bus_index *ix, struct dc_slice subject,
                        void (*fn)(void *data, struct dc_bus_entry *e), void *data)
{
    visit(dc_map_get(&ix->exact, subject), fn, data);
    match(ix->root, subject, fn, data);
}
