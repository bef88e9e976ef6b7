/* The paper's algorithm with one round for a word and three at the end. */
#include "base/siphash.h"
#include <endian.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void sip_rounds(struct sip *s, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        s->v0 += s->v1;
        s->v1 = rotl(s->v1, 13) ^ s->v0;
        s->v0 = rotl(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotl(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotl(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotl(s->v1, 17) ^ s->v2;
        s->v2 = rotl(s->v2, 32);
    }
}

uint64_t dc_siphash13(const uint64_t key[2], struct dc_slice in)
{
    struct sip s = {
        key[0] ^ UINT64_C(0x736f6d6570736575),
        key[1] ^ UINT64_C(0x646f72616e646f6d),
        key[0] ^ UINT64_C(0x6c7967656e657261),
        key[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t whole = in.len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t m;
        memcpy(&m, in.ptr + i, 8);
        m = le64toh(m);
        s.v3 ^= m;
        sip_rounds(&s, 1);
        s.v0 ^= m;
    }
    uint64_t last = (uint64_t)in.len << 56;
    for (size_t i = whole; i < in.len; i++) {
        last |= (uint64_t)(unsigned char)in.ptr[i] << (8 * (i - whole));
    }
    s.v3 ^= last;
    sip_rounds(&s, 1);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    sip_rounds(&s, 3);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
