#include "base/address.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void lists_of_addresses_and_prefixes_are_checked_as_a_whole(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",     "127.0.0.1",         "::1",        "10.0.0.0/8, ::1/128", "0.0.0.0/0", "fd00::/8",
        "::/0", "1.2.3.4 , 5.6.7.8", "1.2.3.4/32", "::ffff:1.2.3.4/32"};
    static const char *const bad[] = {"localhost",  "10.0.0.0/33",  "::1/129",   "10.0.0.0/",
                                      "10.0.0",     "1.2.3.4,,::1", "1.2.3.4/x", "/8",
                                      "1.2.3.4/-1", "1.2.3.4/8/8"};
    for (size_t i = 0; i < DC_ARRAY_LEN(good); i++) {
        print_message("%s\n", good[i]);
        assert_true(dc_address_list_is_valid(dc_slice_z(good[i])));
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(bad); i++) {
        print_message("%s\n", bad[i]);
        assert_false(dc_address_list_is_valid(dc_slice_z(bad[i])));
    }
}

static void the_client_is_the_last_address_that_no_trusted_proxy_wrote_of_itself(void **state)
{
    (void)state;
    static const struct {
        const char *peer, *forwarded_for, *trusted, *client;
    } rows[] = {
        /* Nobody is trusted: whatever the header claims. */
        {"9.9.9.9", "1.1.1.1", NULL, "9.9.9.9"},
        {"9.9.9.9", "1.1.1.1", "127.0.0.1", "9.9.9.9"},
        {"127.0.0.1", NULL, "127.0.0.1", "127.0.0.1"},
        {"127.0.0.1", "", "127.0.0.1", "127.0.0.1"},
        {"127.0.0.1", "1.1.1.1", "127.0.0.1", "1.1.1.1"},
        /* What a client wrote itself stands before what the proxy added. */
        {"127.0.0.1", "6.6.6.6, 1.1.1.1", "127.0.0.1", "1.1.1.1"},
        /* Two proxies. */
        {"10.1.2.3", "6.6.6.6,1.1.1.1,10.9.9.9", "10.0.0.0/8", "1.1.1.1"},
        {"10.1.2.3", "10.5.5.5", "10.0.0.0/8", "10.5.5.5"},
        /* A word that is no address ends the walk. */
        {"10.1.2.3", "1.1.1.1, unknown", "10.0.0.0/8", "10.1.2.3"},
        {"10.1.2.3", "1.1.1.1,", "10.0.0.0/8", "10.1.2.3"},
        {"10.1.2.3", "1.1.1.1:80", "10.0.0.0/8", "10.1.2.3"},
        /* Prefixes that end inside a byte. */
        {"172.31.255.1", "1.1.1.1", "172.16.0.0/12", "1.1.1.1"},
        {"172.32.0.1", "1.1.1.1", "172.16.0.0/12", "172.32.0.1"},
        /* IPv6, in any of its forms. */
        {"fd00::1", "2001:DB8::1", "fd00::/8", "2001:db8::1"},
        {"::ffff:127.0.0.1", "::ffff:1.1.1.1", "127.0.0.1", "1.1.1.1"},
        {"::1", "1.1.1.1", "0.0.0.0/0", "::1"},
        {"1.2.3.4", "2.2.2.2", "::/0", "2.2.2.2"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char out[DC_ADDRESS_MAX];
        print_message("row %zu\n", i);
        size_t n = dc_address_of_client(dc_slice_z(rows[i].peer), dc_slice_z(rows[i].forwarded_for),
                                        dc_slice_z(rows[i].trusted), out);
        assert_true(dc_slice_eq(dc_slice_make(out, n), dc_slice_z(rows[i].client)));
    }
}

static void an_address_is_listed_as_itself_or_under_a_prefix(void **state)
{
    (void)state;
    assert_true(dc_address_is_listed(DC_S("10.1.2.3"), DC_S("127.0.0.1, 10.0.0.0/8")));
    assert_true(dc_address_is_listed(DC_S("::ffff:127.0.0.1"), DC_S("127.0.0.1")));
    assert_false(dc_address_is_listed(DC_S("11.1.2.3"), DC_S("127.0.0.1, 10.0.0.0/8")));
    assert_false(dc_address_is_listed(DC_S("127.0.0.1"), DC_SLICE_NULL));
    assert_false(dc_address_is_listed(DC_S("unix"), DC_S("0.0.0.0/0, ::/0")));
}

static void a_peer_that_is_no_address_has_no_client(void **state)
{
    char out[DC_ADDRESS_MAX];
    (void)state;
    assert_int_equal(dc_address_of_client(DC_S(""), DC_S("1.1.1.1"), DC_S("::/0"), out), 0);
    assert_int_equal(dc_address_of_client(DC_SLICE_NULL, DC_S("1.1.1.1"), DC_S("::/0"), out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_addresses_and_prefixes_are_checked_as_a_whole),
        cmocka_unit_test(the_client_is_the_last_address_that_no_trusted_proxy_wrote_of_itself),
        cmocka_unit_test(an_address_is_listed_as_itself_or_under_a_prefix),
        cmocka_unit_test(a_peer_that_is_no_address_has_no_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
