/* Hash map from byte strings to pointers, open addressing, SipHash with a seed per map (keys come
 * from strangers).  Keys are borrowed: they must live inside the value's object (usual) or outlive
 * the entry.  Any insert or remove invalidates iteration, except dc_map_remove of the current entry
 * through the iterator.  No call does much work: a large table that has to change its size is left
 * a few slots at a time, by the inserts and removes that follow. */
#ifndef DC_BASE_MAP_H
#define DC_BASE_MAP_H

#include "base/slice.h"

struct dc_map_slot;

struct dc_map {
    struct dc_map_slot *slots;
    size_t count, tombs, cap; /* cap is 0 or a power of two */
    uint64_t seed[2];
    struct dc_map_slot *old; /* the table before, of which the slots from old_pos on still count */
    size_t old_cap, old_pos;
};

/* No allocation. seed: any 16 random bytes (dc_random); tests may fix it. */
void dc_map_init(struct dc_map *m, const uint64_t seed[2]);
/* Frees the table, not the values. */
void dc_map_free(struct dc_map *m);
void *dc_map_get(const struct dc_map *m, struct dc_slice key);
/* Adds or replaces (the stored key becomes the new one); returns the value replaced or NULL.
 * value is not NULL. */
void *dc_map_put(struct dc_map *m, struct dc_slice key, void *value);
/* Returns the value removed or NULL. */
void *dc_map_remove(struct dc_map *m, struct dc_slice key);

/* Of the tables. */
size_t dc_map_bytes(const struct dc_map *m);

struct dc_map_iter {
    size_t pos;
};
/* Start with {0}; false at the end. key may be NULL. */
bool dc_map_next(const struct dc_map *m, struct dc_map_iter *it, struct dc_slice *key,
                 void **value);
/* Removes the entry that dc_map_next returned last; iteration goes on. */
void dc_map_remove_at(struct dc_map *m, struct dc_map_iter *it);

#endif
