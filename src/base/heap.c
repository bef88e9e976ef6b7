/* Binary heap; every node knows its place, so moving and removing cost O(log n).  The array grows
 * by doubling and is never given back before dc_heap_free.  dc_heap_free does not touch the nodes,
 * as their owners may be gone by then. */
#include "base/heap.h"
#include "base/mem.h"

void dc_heap_free(struct dc_heap *h)
{
    dc_free(h->nodes);
    *h = (struct dc_heap){0};
}

static bool is_before(const struct dc_heap_node *a, const struct dc_heap_node *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void place(struct dc_heap *h, size_t i, struct dc_heap_node *n)
{
    h->nodes[i] = n;
    n->pos = i + 1;
}

/* Finds the place of n from the hole at i, towards the root or the leaves. */
static void settle(struct dc_heap *h, size_t i, struct dc_heap_node *n)
{
    while (i > 0 && is_before(n, h->nodes[(i - 1) / 2])) {
        place(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count) {
            break;
        }
        if (child + 1 < h->count && is_before(h->nodes[child + 1], h->nodes[child])) {
            child++;
        }
        if (!is_before(h->nodes[child], n)) {
            break;
        }
        place(h, i, h->nodes[child]);
        i = child;
    }
    place(h, i, n);
}

static size_t index_of(const struct dc_heap *h, const struct dc_heap_node *n)
{
    DC_ASSERT(n->pos <= h->count && h->nodes[n->pos - 1] == n);
    return n->pos - 1;
}

void dc_heap_set(struct dc_heap *h, struct dc_heap_node *n, int64_t at_ms)
{
    n->at_ms = at_ms;
    n->order = h->next_order++;
    if (n->pos != 0) {
        settle(h, index_of(h, n), n);
        return;
    }
    if (h->count == h->cap) {
        size_t cap = h->cap == 0 ? 16 : h->cap;
        size_t bytes = 0;
        bool is_possible = dc_mul_size(cap, 2, &cap) && dc_mul_size(cap, sizeof(*h->nodes), &bytes);
        DC_ASSERT(is_possible);
        h->nodes = dc_realloc(h->nodes, bytes);
        h->cap = cap;
    }
    h->count++;
    settle(h, h->count - 1, n);
}

void dc_heap_remove(struct dc_heap *h, struct dc_heap_node *n)
{
    if (n->pos == 0) {
        return;
    }
    size_t i = index_of(h, n);
    n->pos = 0;
    h->count--;
    if (i < h->count) {
        settle(h, i, h->nodes[h->count]);
    }
}

struct dc_heap_node *dc_heap_peek(const struct dc_heap *h)
{
    return h->count == 0 ? NULL : h->nodes[0];
}
