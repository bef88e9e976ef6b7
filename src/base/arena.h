/* Arena: memory of one request or message, freed as a whole.  Never freed piece by piece.
 * Chunks start at first_chunk bytes and double up to 64 KiB; larger requests get their own chunk.
 * Total size is bounded by limit_bytes (0: none): past it allocations return NULL. */
#ifndef DC_BASE_ARENA_H
#define DC_BASE_ARENA_H

#include "base/slice.h"

struct dc_arena_chunk;

struct dc_arena {
    struct dc_arena_chunk *chunks;
    size_t used_bytes;
    size_t limit_bytes;
    size_t next_chunk_bytes;
};

void dc_arena_init(struct dc_arena *a, size_t first_chunk_bytes, size_t limit_bytes);
void dc_arena_free(struct dc_arena *a);
/* 16-byte aligned, not zeroed; NULL past the limit or out of memory. */
DC_MUST_USE void *dc_arena_alloc(struct dc_arena *a, size_t size);
DC_MUST_USE void *dc_arena_calloc(struct dc_arena *a, size_t n, size_t size);
/* Copies bytes and adds a NUL behind them; .ptr NULL on failure. */
struct dc_slice dc_arena_dup(struct dc_arena *a, struct dc_slice s);

#endif
