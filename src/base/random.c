/* getrandom(2) without flags: waits only before the pool of a booting machine is ready.  No answer
 * from the kernel is fatal, as ids, seeds and secrets depend on it. */
#include "base/random.h"
#include <errno.h>
#include <sys/random.h>

static void fill_from_system(unsigned char *out, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);
        if (n == -1 && errno == EINTR) {
            continue;
        }
        DC_ASSERT(n > 0 && (size_t)n <= len);
        out += n;
        len -= (size_t)n;
    }
}

void dc_random_fill(const struct dc_random *r, void *out, size_t len)
{
    if (r == NULL || r->fill == NULL) {
        fill_from_system(out, len);
    } else {
        r->fill(r->data, out, len);
    }
}

uint64_t dc_random_u64(const struct dc_random *r)
{
    uint64_t v;
    dc_random_fill(r, &v, sizeof(v));
    return v;
}

uint64_t dc_random_below(const struct dc_random *r, uint64_t bound)
{
    DC_ASSERT(bound > 0);
    /* The first 2^64 % bound values would make small results more likely. */
    uint64_t skipped = (UINT64_C(0) - bound) % bound;
    uint64_t v;
    do {
        v = dc_random_u64(r);
    } while (v < skipped);
    return v % bound;
}
