/* Open addressing with linear probing; an entry that goes is filled from behind, so that there are
 * no tombs. */
#include "net/places.h"

#include "base/mem.h"
#include "base/random.h"
#include "base/siphash.h"

#define MIN_SLOTS 64

/* A slot: the hash of its key, and below it how many places that holds; 0: free. */
#define HELD_MASK (((uint64_t)1 << 24) - 1)
_Static_assert(DC_PLACES_MAX <= HELD_MASK, "a slot counts so far");

struct dc_places {
    uint64_t *slots;
    size_t cap, count; /* cap is 0 or a power of two, at most three quarters of it are in use */
    uint64_t seed[2];
    uint32_t max_each;
};

struct dc_places *dc_places_create(uint32_t max_each)
{
    struct dc_places *p = dc_calloc(1, sizeof(*p));
    DC_ASSERT(max_each <= DC_PLACES_MAX);
    p->max_each = max_each;
    dc_random_fill(NULL, p->seed, sizeof(p->seed));
    return p;
}

void dc_places_destroy(struct dc_places *p)
{
    if (p != NULL) {
        dc_free(p->slots);
        dc_free(p);
    }
}

size_t dc_places_count(const struct dc_places *p)
{
    return p->count;
}

static uint64_t hash_of(uint64_t slot)
{
    return slot & ~HELD_MASK;
}

static size_t home_of(const struct dc_places *p, uint64_t hash)
{
    return (size_t)(hash >> 24) & (p->cap - 1);
}

/* The slot of hash, or the free one where it would stand; cap is not 0. */
static size_t find(const struct dc_places *p, uint64_t hash)
{
    size_t at = home_of(p, hash);
    while (p->slots[at] != 0 && hash_of(p->slots[at]) != hash) {
        at = (at + 1) & (p->cap - 1);
    }
    return at;
}

/* Room for one more key; false: no memory. */
static bool reserve(struct dc_places *p)
{
    if (p->cap > 0 && p->count < p->cap - p->cap / 4) {
        return true;
    }
    size_t cap = p->cap == 0 ? MIN_SLOTS : p->cap * 2;
    size_t size;
    uint64_t *slots = dc_mul_size(cap, sizeof(*slots), &size) ? dc_try_alloc(size) : NULL;
    if (slots == NULL) {
        return false;
    }
    memset(slots, 0, size);
    struct dc_places old = *p;
    p->slots = slots;
    p->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i] != 0) {
            p->slots[find(p, hash_of(old.slots[i]))] = old.slots[i];
        }
    }
    dc_free(old.slots);
    return true;
}

bool dc_places_take(struct dc_places *p, struct dc_slice key, dc_place *out)
{
    *out = 0;
    if (p->max_each == 0) {
        return true;
    }
    uint64_t hash = hash_of(dc_siphash13(p->seed, key));
    hash = hash != 0 ? hash : HELD_MASK + 1; /* 0 is no place */
    if (!reserve(p)) {
        return false;
    }
    uint64_t *slot = &p->slots[find(p, hash)];
    if ((*slot & HELD_MASK) >= p->max_each) {
        return false;
    }
    p->count += *slot == 0;
    *slot = (*slot == 0 ? hash : *slot) + 1;
    *out = hash;
    return true;
}

/* Entries behind a gap that would not be found across it move into it. */
static void fill_gap(struct dc_places *p, size_t gap)
{
    size_t mask = p->cap - 1;
    for (size_t at = (gap + 1) & mask; p->slots[at] != 0; at = (at + 1) & mask) {
        size_t home = home_of(p, p->slots[at]);
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            p->slots[gap] = p->slots[at];
            gap = at;
        }
    }
    p->slots[gap] = 0;
}

void dc_places_leave(struct dc_places *p, dc_place *place)
{
    if (*place == 0) {
        return;
    }
    size_t at = find(p, *place);
    DC_ASSERT(hash_of(p->slots[at]) == *place && (p->slots[at] & HELD_MASK) > 0);
    *place = 0;
    if ((--p->slots[at] & HELD_MASK) == 0) {
        p->count--;
        fill_gap(p, at);
    }
}
