/* Bump allocation in a chain of chunks, the newest first.  The limit counts what was handed out
 * (rounded to 16 bytes), so whether a request fits does not depend on how the chunks fell.  Under
 * AddressSanitizer everything not handed out is poisoned, to the byte. */
#include "base/arena.h"
#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define DC_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DC_HAS_ASAN 1
#endif
#endif
#ifdef DC_HAS_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(ptr, len)   ASAN_POISON_MEMORY_REGION(ptr, len)
#define UNPOISON(ptr, len) ASAN_UNPOISON_MEMORY_REGION(ptr, len)
#else
#define POISON(ptr, len)   ((void)(ptr), (void)(len))
#define UNPOISON(ptr, len) ((void)(ptr), (void)(len))
#endif

#define ALIGN           16
#define MIN_CHUNK_BYTES 256
#define MAX_CHUNK_BYTES ((size_t)64 * 1024)

struct dc_arena_chunk {
    struct dc_arena_chunk *next;
    size_t size, used;
    _Alignas(ALIGN) char data[];
};

void dc_arena_init(struct dc_arena *a, size_t first_chunk_bytes, size_t limit_bytes)
{
    *a = (struct dc_arena){.limit_bytes = limit_bytes, .next_chunk_bytes = first_chunk_bytes};
    if (a->next_chunk_bytes < MIN_CHUNK_BYTES) {
        a->next_chunk_bytes = MIN_CHUNK_BYTES;
    }
    if (a->next_chunk_bytes > MAX_CHUNK_BYTES) {
        a->next_chunk_bytes = MAX_CHUNK_BYTES;
    }
}

void dc_arena_free(struct dc_arena *a)
{
    struct dc_arena_chunk *chunk = a->chunks;
    while (chunk != NULL) {
        struct dc_arena_chunk *next = chunk->next;
        UNPOISON(chunk->data, chunk->size);
        dc_free(chunk);
        chunk = next;
    }
    a->chunks = NULL;
    a->used_bytes = 0;
}

static struct dc_arena_chunk *chunk_create(size_t size)
{
    size_t total;
    if (!dc_add_size(sizeof(struct dc_arena_chunk), size, &total)) {
        return NULL;
    }
    struct dc_arena_chunk *chunk = dc_try_alloc(total);
    if (chunk == NULL) {
        return NULL;
    }
    *chunk = (struct dc_arena_chunk){.size = size};
    POISON(chunk->data, chunk->size);
    return chunk;
}

/* A chunk with room for size bytes, or NULL. */
static struct dc_arena_chunk *chunk_for(struct dc_arena *a, size_t size)
{
    struct dc_arena_chunk *top = a->chunks;
    if (top != NULL && size <= top->size - top->used) {
        return top;
    }
    bool is_own = size > a->next_chunk_bytes;
    struct dc_arena_chunk *chunk = chunk_create(is_own ? size : a->next_chunk_bytes);
    if (chunk == NULL) {
        return NULL;
    }
    if (is_own && top != NULL) {
        /* Full from the start: stays behind the chunk that still has room. */
        chunk->next = top->next;
        top->next = chunk;
        return chunk;
    }
    chunk->next = top;
    a->chunks = chunk;
    if (!is_own && a->next_chunk_bytes < MAX_CHUNK_BYTES) {
        size_t doubled = a->next_chunk_bytes * 2;
        a->next_chunk_bytes = doubled < MAX_CHUNK_BYTES ? doubled : MAX_CHUNK_BYTES;
    }
    return chunk;
}

void *dc_arena_alloc(struct dc_arena *a, size_t size)
{
    size_t rounded, used;
    /* No bytes still get a place of their own. */
    if (!dc_add_size(size == 0 ? 1 : size, ALIGN - 1, &rounded)) {
        return NULL;
    }
    rounded &= ~(size_t)(ALIGN - 1);
    if (!dc_add_size(a->used_bytes, rounded, &used) ||
        (a->limit_bytes != 0 && used > a->limit_bytes)) {
        return NULL;
    }
    struct dc_arena_chunk *chunk = chunk_for(a, rounded);
    if (chunk == NULL) {
        return NULL;
    }
    char *ptr = chunk->data + chunk->used;
    chunk->used += rounded;
    a->used_bytes = used;
    UNPOISON(ptr, size);
    return ptr;
}

void *dc_arena_calloc(struct dc_arena *a, size_t n, size_t size)
{
    size_t total;
    if (!dc_mul_size(n, size, &total)) {
        return NULL;
    }
    void *ptr = dc_arena_alloc(a, total);
    if (ptr != NULL) {
        memset(ptr, 0, total);
    }
    return ptr;
}

struct dc_slice dc_arena_dup(struct dc_arena *a, struct dc_slice s)
{
    size_t size;
    if (!dc_add_size(s.len, 1, &size)) {
        return DC_SLICE_NULL;
    }
    char *copy = dc_arena_alloc(a, size);
    if (copy == NULL) {
        return DC_SLICE_NULL;
    }
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    copy[s.len] = '\0';
    return dc_slice_make(copy, s.len);
}
