/* Thin over malloc: what is added is one answer to "no memory" and to sizes of zero, which always
 * give a pointer that can be freed (malloc(0) and realloc(p, 0) differ between C libraries). */
#include "base/mem.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DC_NORETURN DC_COLD static void out_of_memory(size_t size)
{
    (void)fprintf(stderr, "out of memory: %zu bytes\n", size);
    abort();
}

void *dc_try_alloc(size_t size)
{
    return malloc(size == 0 ? 1 : size);
}

void *dc_try_realloc(void *ptr, size_t size)
{
    return realloc(ptr, size == 0 ? 1 : size);
}

void *dc_alloc(size_t size)
{
    void *ptr = dc_try_alloc(size);
    if (DC_UNLIKELY(ptr == NULL)) {
        out_of_memory(size);
    }
    return ptr;
}

void *dc_calloc(size_t n, size_t size)
{
    size_t total;
    if (DC_UNLIKELY(!dc_mul_size(n, size, &total))) {
        out_of_memory(SIZE_MAX);
    }
    /* calloc itself, as fresh pages of the system need no clearing */
    void *ptr = total == 0 ? calloc(1, 1) : calloc(n, size);
    if (DC_UNLIKELY(ptr == NULL)) {
        out_of_memory(total);
    }
    return ptr;
}

void *dc_realloc(void *ptr, size_t size)
{
    void *moved = dc_try_realloc(ptr, size);
    if (DC_UNLIKELY(moved == NULL)) {
        out_of_memory(size);
    }
    return moved;
}

char *dc_strdup(const char *text_z)
{
    size_t size = strlen(text_z) + 1;
    char *copy = dc_alloc(size);
    memcpy(copy, text_z, size);
    return copy;
}

void dc_free(void *ptr)
{
    free(ptr);
}

void dc_wipe(void *ptr, size_t len)
{
    if (len > 0) {
        explicit_bzero(ptr, len);
    }
}
