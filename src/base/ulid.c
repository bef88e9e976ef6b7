/* Within a millisecond (and while the clock is behind the last id) the random part counts up by
 * one; when it runs over, the time part goes one millisecond ahead. */
#include "base/ulid.h"
#include <string.h>

#define MAX_MS ((UINT64_C(1) << 48) - 1)

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* false when all bits were set and are zero now. */
static bool tail_increment(uint8_t tail[10])
{
    for (int i = 9; i >= 0; i--) {
        tail[i]++;
        if (tail[i] != 0) {
            return true;
        }
    }
    return false;
}

/* bytes*8 bits, big endian, as letters of 5 bits, filled with zero bits in front. */
static void write_base32(const uint8_t *in, size_t bytes, char *out, size_t letters)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = letters;
    for (size_t i = bytes; i-- > 0;) {
        bits |= (uint32_t)in[i] << held;
        held += 8;
        while (held >= 5) {
            out[--at] = alphabet[bits & 31];
            bits >>= 5;
            held -= 5;
        }
    }
    if (at > 0) {
        out[--at] = alphabet[bits & 31];
    }
    DC_ASSERT(at == 0);
}

void dc_ulid_next(struct dc_ulid_gen *g, struct dc_utc now, char out[DC_ULID_LEN + 1])
{
    uint64_t now_ms = now.ms < 0 ? 0 : (uint64_t)now.ms;
    if (now_ms > MAX_MS) {
        now_ms = MAX_MS;
    }
    if (now_ms > g->last_ms) {
        g->last_ms = now_ms;
        dc_random_fill(g->random, g->tail, sizeof(g->tail));
    } else if (!tail_increment(g->tail)) {
        DC_ASSERT(g->last_ms < MAX_MS);
        g->last_ms++;
        dc_random_fill(g->random, g->tail, sizeof(g->tail));
    }
    uint8_t time_part[6];
    for (int i = 0; i < 6; i++) {
        time_part[i] = (uint8_t)(g->last_ms >> (8 * (5 - i)));
    }
    write_base32(time_part, sizeof(time_part), out, 10);
    write_base32(g->tail, sizeof(g->tail), out + 10, 16);
    out[DC_ULID_LEN] = '\0';
}
