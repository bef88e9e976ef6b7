/* Where DC_ASSERT ends: one line for the log of the supervisor, then a core dump. */
#include "base/attr.h"
#include <stdio.h>
#include <stdlib.h>

void dc_assert_failed(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "assertion failed: %s (%s:%d)\n", cond, file, line);
    abort();
}
