/* A bucket is one number (the generic cell rate algorithm): the moment at which it will be full
 * again.  Every token moves it one interval ahead; a token is there while it lies less than a whole
 * burst ahead.  So the fullest bucket is the one with the earliest moment, which a heap knows. */
#include "net/rate_limit.h"
#include "base/heap.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

struct bucket {
    struct dc_heap_node node; /* at_ms: nanoseconds here; only the order matters to the heap */
    struct dc_slice key;
    char bytes[];
};

struct dc_rate_limit {
    int64_t interval_ns; /* 0: no limit */
    int64_t burst_ns;
    size_t max_keys;
    struct dc_map map;
    struct dc_heap heap;
};

struct dc_rate_limit *dc_rate_limit_create(uint32_t rate_per_s, uint32_t burst, size_t max_keys)
{
    struct dc_rate_limit *l = dc_calloc(1, sizeof *l);
    uint64_t seed[2] = {dc_random_u64(NULL), dc_random_u64(NULL)};
    dc_map_init(&l->map, seed);
    l->interval_ns = rate_per_s == 0 ? 0 : NS_PER_S / rate_per_s;
    l->burst_ns = l->interval_ns * (burst == 0 ? 1 : (int64_t)burst);
    l->max_keys = max_keys == 0 ? 1 : max_keys;
    return l;
}

static void forget(struct dc_rate_limit *l, struct bucket *b)
{
    dc_heap_remove(&l->heap, &b->node);
    dc_map_remove(&l->map, b->key);
    dc_free(b);
}

void dc_rate_limit_destroy(struct dc_rate_limit *l)
{
    if (l == NULL) {
        return;
    }
    for (;;) {
        struct dc_heap_node *first = dc_heap_peek(&l->heap);
        if (first == NULL) {
            break;
        }
        forget(l, DC_CONTAINER_OF(first, struct bucket, node));
    }
    dc_heap_free(&l->heap);
    dc_map_free(&l->map);
    dc_free(l);
}

static struct bucket *find_or_add(struct dc_rate_limit *l, struct dc_slice key, int64_t now_ns)
{
    struct bucket *b = dc_map_get(&l->map, key);
    if (b != NULL) {
        return b;
    }
    if (l->map.count >= l->max_keys) {
        forget(l, DC_CONTAINER_OF(dc_heap_peek(&l->heap), struct bucket, node));
    }
    size_t size;
    if (!dc_add_size(sizeof *b, key.len, &size)) {
        return NULL;
    }
    b = dc_try_alloc(size);
    if (b == NULL) {
        return NULL;
    }
    b->node = (struct dc_heap_node){0};
    if (key.len > 0) {
        memcpy(b->bytes, key.ptr, key.len);
    }
    b->key = dc_slice_make(b->bytes, key.len);
    dc_map_put(&l->map, b->key, b);
    dc_heap_set(&l->heap, &b->node, now_ns);
    return b;
}

uint64_t dc_rate_limit_take(struct dc_rate_limit *l, struct dc_slice key, struct dc_mono now)
{
    if (l->interval_ns == 0) {
        return 0;
    }
    int64_t now_ns = now.ms * NS_PER_MS;
    struct bucket *b = find_or_add(l, key, now_ns);
    if (b == NULL) {
        return 1000; /* no memory to count with: try again in a second */
    }
    int64_t full_ns = b->node.at_ms > now_ns ? b->node.at_ms : now_ns;
    int64_t over_ns = full_ns + l->interval_ns - now_ns - l->burst_ns;
    if (over_ns > 0) {
        return (uint64_t)((over_ns + NS_PER_MS - 1) / NS_PER_MS);
    }
    dc_heap_set(&l->heap, &b->node, full_ns + l->interval_ns);
    return 0;
}
