/* Makes allocations fail on demand, for programs linked with --wrap=malloc,realloc,calloc.  What
 * shared libraries allocate for themselves is not affected. */
#ifndef DC_TESTS_ALLOC_FAIL_H
#define DC_TESTS_ALLOC_FAIL_H

#include <stdbool.h>
#include <stddef.h>

/* The next `successes` allocations work, all later ones fail. */
void alloc_fail_after(size_t successes);
/* Back to normal; true if an allocation has failed since alloc_fail_after. */
bool alloc_fail_stop(void);

#endif
