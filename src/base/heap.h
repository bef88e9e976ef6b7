/* Intrusive binary min-heap of deadlines: leases, throttle windows, retries.  Equal deadlines come
 * out in the order they were added.  Nodes belong to the caller; the heap owns one array. */
#ifndef DC_BASE_HEAP_H
#define DC_BASE_HEAP_H

#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dc_heap_node {
    int64_t at_ms;
    uint64_t order;
    size_t pos; /* index + 1; 0: not in a heap */
};

struct dc_heap {
    struct dc_heap_node **nodes;
    size_t count, cap;
    uint64_t next_order;
};

/* Zero-initialise heap and nodes to start.  Frees the array; nodes are not looked at. */
void dc_heap_free(struct dc_heap *h);
/* Adds, or moves a node that is in the heap already. */
void dc_heap_set(struct dc_heap *h, struct dc_heap_node *n, int64_t at_ms);
/* Harmless when the node is in no heap. */
void dc_heap_remove(struct dc_heap *h, struct dc_heap_node *n);
/* The earliest node or NULL. */
struct dc_heap_node *dc_heap_peek(const struct dc_heap *h);

static inline bool dc_heap_contains(const struct dc_heap_node *n)
{
    return n->pos != 0;
}

#endif
