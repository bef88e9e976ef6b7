#include "base/siphash.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

/* Key 00 01 .. 0f, input 00 01 .. len-1; checked against CPython's hash of bytes. */
static const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};

static const struct {
    size_t len;
    uint64_t sip13;
} rows[] = {
    {0, UINT64_C(0xabac0158050fc4dc)},  {1, UINT64_C(0xc9f49bf37d57ca93)},
    {7, UINT64_C(0xd3927d989bb11140)},  {8, UINT64_C(0x369095118d299a8e)},
    {9, UINT64_C(0x25a48eb36c063de4)},  {15, UINT64_C(0xd320d86d2a519956)},
    {16, UINT64_C(0xcc4fdd1a7d908b66)}, {63, UINT64_C(0x9d199062b7bbb3a8)},
};

static void hashes_are_those_of_another_implementation(void **state)
{
    (void)state;
    char in[64 + 1];
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        /* at an odd address too */
        for (size_t shift = 0; shift < 2; shift++) {
            for (size_t k = 0; k < rows[i].len; k++) {
                in[shift + k] = (char)k;
            }
            struct dc_slice s = dc_slice_make(in + shift, rows[i].len);
            assert_int_equal(dc_siphash13(key, s), rows[i].sip13);
        }
    }
    assert_int_equal(dc_siphash13(key, DC_SLICE_NULL), rows[0].sip13);
}

static void the_key_changes_the_hash(void **state)
{
    (void)state;
    const uint64_t other[2] = {key[0], key[1] + 1};
    assert_true(dc_siphash13(key, DC_S("plaza")) != dc_siphash13(other, DC_S("plaza")));
    static const uint64_t zero[2];
    assert_int_equal(dc_siphash13(zero, DC_S("\0")), UINT64_C(0x68a914128e01e473));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_another_implementation),
        cmocka_unit_test(the_key_changes_the_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
