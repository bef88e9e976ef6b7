/* Compiler attributes and assertions used everywhere.
 * DC_ASSERT is for our own mistakes and stays on in release builds; outside input never reaches it.
 */
#ifndef DC_BASE_ATTR_H
#define DC_BASE_ATTR_H

#include <stddef.h>

#define DC_MUST_USE     __attribute__((warn_unused_result))
#define DC_PRINTF(n, m) __attribute__((format(printf, n, m)))
#define DC_NORETURN     __attribute__((noreturn))
#define DC_COLD         __attribute__((cold))
#define DC_LIKELY(x)    __builtin_expect(!!(x), 1)
#define DC_UNLIKELY(x)  __builtin_expect(!!(x), 0)

#define DC_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that embeds *member: how callbacks find the owner of a timer or a list link. */
#define DC_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define DC_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (DC_UNLIKELY(!(cond))) {                                                                \
            dc_assert_failed(#cond, __FILE__, __LINE__);                                           \
        }                                                                                          \
    } while (0)

/* Prints one line and aborts. */
DC_NORETURN DC_COLD void dc_assert_failed(const char *cond, const char *file, int line);

#endif
