/* Memory.  Two kinds of allocation (style: process, connection, request, scratch):
 * - small things of our own size: dc_alloc/dc_calloc/dc_realloc/dc_strdup abort when memory is
 * gone;
 * - anything whose size a peer can influence: the dc_try_ twins, which return NULL.
 * Sizes are computed with dc_mul_size/dc_add_size, which refuse to overflow. */
#ifndef DC_BASE_MEM_H
#define DC_BASE_MEM_H

#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>

void *dc_alloc(size_t size);
void *dc_calloc(size_t n, size_t size);
void *dc_realloc(void *ptr, size_t size);
char *dc_strdup(const char *text_z);
/* NULL is allowed. */
void dc_free(void *ptr);

DC_MUST_USE void *dc_try_alloc(size_t size);
DC_MUST_USE void *dc_try_realloc(void *ptr, size_t size);

static inline bool dc_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool dc_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Overwrites secrets; the compiler may not remove it. */
void dc_wipe(void *ptr, size_t len);

#endif
