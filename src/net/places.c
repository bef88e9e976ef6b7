/* Open addressing with linear probing; an entry that goes is filled from behind, so that there are
 * no tombs. */
#include "net/places.h"

#include "base/mem.h"
#include "base/random.h"
#include "base/siphash.h"

#define MIN_SLOTS 64

struct slot {
    uint64_t hash; /* 0: free */
    uint32_t held;
};

struct dc_places {
    struct slot *slots;
    size_t cap, count; /* cap is 0 or a power of two, at most three quarters of it are in use */
    uint64_t seed[2];
    uint32_t max_each;
};

struct dc_places *dc_places_create(uint32_t max_each)
{
    struct dc_places *p = dc_calloc(1, sizeof(*p));
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

/* The slot of hash, or the free one where it would stand; cap is not 0. */
static size_t find(const struct dc_places *p, uint64_t hash)
{
    size_t at = (size_t)hash & (p->cap - 1);
    while (p->slots[at].hash != 0 && p->slots[at].hash != hash) {
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
    struct slot *slots = dc_mul_size(cap, sizeof(*slots), &size) ? dc_try_alloc(size) : NULL;
    if (slots == NULL) {
        return false;
    }
    memset(slots, 0, size);
    struct dc_places old = *p;
    p->slots = slots;
    p->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].hash != 0) {
            p->slots[find(p, old.slots[i].hash)] = old.slots[i];
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
    uint64_t hash = dc_siphash13(p->seed, key);
    hash += hash == 0; /* 0 is no place */
    if (!reserve(p)) {
        return false;
    }
    struct slot *slot = &p->slots[find(p, hash)];
    if (slot->held >= p->max_each) {
        return false;
    }
    p->count += slot->hash == 0;
    slot->hash = hash;
    slot->held++;
    *out = hash;
    return true;
}

/* Entries behind a gap that would not be found across it move into it. */
static void fill_gap(struct dc_places *p, size_t gap)
{
    size_t mask = p->cap - 1;
    for (size_t at = (gap + 1) & mask; p->slots[at].hash != 0; at = (at + 1) & mask) {
        size_t home = (size_t)p->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            p->slots[gap] = p->slots[at];
            gap = at;
        }
    }
    p->slots[gap] = (struct slot){0};
}

void dc_places_leave(struct dc_places *p, dc_place *place)
{
    if (*place == 0) {
        return;
    }
    size_t at = find(p, *place);
    DC_ASSERT(p->slots[at].hash == *place && p->slots[at].held > 0);
    *place = 0;
    if (--p->slots[at].held == 0) {
        p->count--;
        fill_gap(p, at);
    }
}
