/* Linear probing over slots that keep the whole hash, so growing never touches a key.  A removed
 * entry becomes a tombstone (iteration stays valid while entries are removed through it), or an
 * empty slot at once when nothing can be probing past it.  Slots in use, tombstones included, stay
 * below 3/4; a table that is mostly empty shrinks on dc_map_remove.
 *
 * Moving a hundred thousand entries takes milliseconds, in which nobody else is served.  So a large
 * table becomes the old one and its slots move a few with each insert or remove; until it is empty
 * keys are looked for in both. */
#include "base/map.h"
#include "base/mem.h"
#include "base/siphash.h"

#define MIN_CAP 16
/* A table of so many slots moves at once. */
#define SMALL_CAP 4096
/* Slots looked at in one step.  A new table has room for a quarter of its slots before it is full,
 * and the old one has at most eight times as many (when shrinking): 32 would be just enough. */
#define SLOTS_A_STEP 128

/* In a slot without a value the hash says why: never used, or a tombstone. */
#define HASH_EMPTY 0
#define HASH_TOMB  1

struct dc_map_slot {
    uint64_t hash;
    struct dc_slice key;
    void *value;
};

static bool is_empty(const struct dc_map_slot *slot)
{
    return slot->value == NULL && slot->hash == HASH_EMPTY;
}

void dc_map_init(struct dc_map *m, const uint64_t seed[2])
{
    *m = (struct dc_map){.seed = {seed[0], seed[1]}};
}

static void forget_old(struct dc_map *m)
{
    dc_free(m->old);
    m->old = NULL;
    m->old_cap = 0;
    m->old_pos = 0;
}

void dc_map_free(struct dc_map *m)
{
    forget_old(m);
    dc_free(m->slots);
    m->slots = NULL;
    m->count = 0;
    m->tombs = 0;
    m->cap = 0;
}

size_t dc_map_bytes(const struct dc_map *m)
{
    return (m->cap + m->old_cap) * sizeof(*m->slots);
}

/* Ends because there is always an empty slot. */
static struct dc_map_slot *find_in(struct dc_map_slot *slots, size_t cap, struct dc_slice key,
                                   uint64_t hash)
{
    size_t mask = cap - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct dc_map_slot *slot = &slots[i];
        if (is_empty(slot)) {
            return NULL;
        }
        if (slot->hash == hash && slot->value != NULL && dc_slice_eq(slot->key, key)) {
            return slot;
        }
    }
}

/* The slot of key, or NULL. */
static struct dc_map_slot *find(const struct dc_map *m, struct dc_slice key, uint64_t hash)
{
    if (m->count == 0) {
        return NULL;
    }
    struct dc_map_slot *slot = find_in(m->slots, m->cap, key, hash);
    return slot == NULL && m->old != NULL ? find_in(m->old, m->old_cap, key, hash) : slot;
}

static struct dc_map_slot *first_free(struct dc_map_slot *slots, size_t cap, uint64_t hash)
{
    size_t mask = cap - 1;
    size_t i = (size_t)hash & mask;
    while (slots[i].value != NULL) {
        i = (i + 1) & mask;
    }
    return &slots[i];
}

/* At most half full, so that the next change of size is far away. */
static size_t cap_for(size_t count)
{
    size_t cap = MIN_CAP;
    while (cap / 2 < count) {
        bool is_possible = dc_mul_size(cap, 2, &cap);
        DC_ASSERT(is_possible);
    }
    return cap;
}

static void fill(struct dc_map *m, uint64_t hash, struct dc_slice key, void *value)
{
    struct dc_map_slot *slot = first_free(m->slots, m->cap, hash);
    m->tombs -= slot->hash == HASH_TOMB;
    *slot = (struct dc_map_slot){hash, key, value};
}

/* Some slots of the old table, if there is one. */
static void move_some(struct dc_map *m, size_t max)
{
    for (size_t n = 0; n < max && m->old_pos < m->old_cap; n++) {
        struct dc_map_slot *slot = &m->old[m->old_pos++];
        if (slot->value != NULL) {
            fill(m, slot->hash, slot->key, slot->value);
            *slot = (struct dc_map_slot){.hash = HASH_TOMB}; /* others may be behind it */
        }
    }
    if (m->old_pos == m->old_cap) {
        forget_old(m);
    }
}

/* Takes over a new, zeroed table; there is no old one. */
static void move_to(struct dc_map *m, struct dc_map_slot *slots, size_t cap)
{
    m->old = m->slots;
    m->old_cap = m->cap;
    m->old_pos = 0;
    m->slots = slots;
    m->cap = cap;
    m->tombs = 0;
    if (m->old_cap <= SMALL_CAP) {
        move_some(m, SMALL_CAP);
    }
}

static void shrink(struct dc_map *m)
{
    if (m->cap <= MIN_CAP || m->count >= m->cap / 8 || m->old != NULL) {
        return;
    }
    size_t cap = cap_for(m->count);
    /* Only an economy: without memory for it the old table goes on. */
    struct dc_map_slot *slots = dc_try_alloc(cap * sizeof(*slots));
    if (slots != NULL) {
        memset(slots, 0, cap * sizeof(*slots));
        move_to(m, slots, cap);
    }
}

void *dc_map_get(const struct dc_map *m, struct dc_slice key)
{
    if (m->count == 0) {
        return NULL;
    }
    const struct dc_map_slot *slot = find(m, key, dc_siphash13(m->seed, key));
    return slot == NULL ? NULL : slot->value;
}

void *dc_map_put(struct dc_map *m, struct dc_slice key, void *value)
{
    DC_ASSERT(value != NULL);
    uint64_t hash = dc_siphash13(m->seed, key);
    struct dc_map_slot *slot = find(m, key, hash);
    if (slot != NULL) {
        void *replaced = slot->value;
        slot->key = key;
        slot->value = value;
        return replaced;
    }
    move_some(m, SLOTS_A_STEP);
    if (m->cap == 0 || m->count + m->tombs + 1 > m->cap / 4 * 3) {
        size_t cap = cap_for(m->count + 1);
        struct dc_map_slot *slots = dc_calloc(cap, sizeof(*slots));
        move_some(m, SIZE_MAX);
        move_to(m, slots, cap);
    }
    fill(m, hash, key, value);
    m->count++;
    return NULL;
}

static void remove_slot(struct dc_map *m, struct dc_map_slot *slot)
{
    bool is_old = m->old != NULL && slot >= m->old && slot < m->old + m->old_cap;
    *slot = (struct dc_map_slot){.hash = HASH_TOMB};
    m->count--;
    if (is_old) {
        return;
    }
    size_t mask = m->cap - 1;
    size_t i = (size_t)(slot - m->slots);
    m->tombs++;
    if (!is_empty(&m->slots[(i + 1) & mask])) {
        return;
    }
    /* The end of its run: this tombstone and those just before it lead nowhere. */
    while (m->slots[i].value == NULL && m->slots[i].hash == HASH_TOMB) {
        m->slots[i].hash = HASH_EMPTY;
        m->tombs--;
        i = (i - 1) & mask;
    }
}

void *dc_map_remove(struct dc_map *m, struct dc_slice key)
{
    struct dc_map_slot *slot = find(m, key, dc_siphash13(m->seed, key));
    if (slot == NULL) {
        return NULL;
    }
    void *value = slot->value;
    remove_slot(m, slot);
    move_some(m, SLOTS_A_STEP);
    shrink(m);
    return value;
}

/* The slots of both tables in one row. */
static struct dc_map_slot *slot_at(const struct dc_map *m, size_t pos)
{
    return pos < m->cap ? &m->slots[pos] : &m->old[pos - m->cap];
}

bool dc_map_next(const struct dc_map *m, struct dc_map_iter *it, struct dc_slice *key, void **value)
{
    while (it->pos < m->cap + m->old_cap) {
        const struct dc_map_slot *slot = slot_at(m, it->pos++);
        if (slot->value != NULL) {
            if (key != NULL) {
                *key = slot->key;
            }
            *value = slot->value;
            return true;
        }
    }
    return false;
}

void dc_map_remove_at(struct dc_map *m, struct dc_map_iter *it)
{
    DC_ASSERT(it->pos > 0 && it->pos <= m->cap + m->old_cap &&
              slot_at(m, it->pos - 1)->value != NULL);
    remove_slot(m, slot_at(m, it->pos - 1));
}
