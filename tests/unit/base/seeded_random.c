#include "seeded_random.h"
#include <string.h>

uint64_t seeded_next(struct seeded_random *r)
{
    r->state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = r->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t seeded_below(struct seeded_random *r, uint64_t bound)
{
    return seeded_next(r) % bound;
}

static void fill(void *data, void *out, size_t len)
{
    struct seeded_random *r = data;
    unsigned char *p = out;
    while (len > 0) {
        uint64_t v = seeded_next(r);
        size_t n = len < sizeof(v) ? len : sizeof(v);
        memcpy(p, &v, n);
        p += n;
        len -= n;
    }
}

struct dc_random seeded_source(struct seeded_random *r)
{
    return (struct dc_random){.fill = fill, .data = r};
}
