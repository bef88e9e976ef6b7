#include "alloc_fail.h"
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool is_armed;
static bool has_failed;
static size_t left;

void alloc_fail_after(size_t successes)
{
    is_armed = true;
    has_failed = false;
    left = successes;
}

bool alloc_fail_stop(void)
{
    is_armed = false;
    return has_failed;
}

static bool must_fail(void)
{
    if (!is_armed) {
        return false;
    }
    if (left == 0) {
        has_failed = true;
        return true;
    }
    left--;
    return false;
}

void *__wrap_malloc(size_t size)
{
    return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    return must_fail() ? NULL : __real_realloc(ptr, size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return must_fail() ? NULL : __real_calloc(n, size);
}
