/* Names of rooms and accounts. */
#include "base/strbuf.h"
#include "matrix/matrix_id.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_text(struct dc_strbuf *got, const char *expected)
{
    dc_strbuf_add_char(got, '\0');
    assert_string_equal(got->ptr, expected);
    dc_strbuf_free(got);
    *got = (struct dc_strbuf){0};
}

static void an_account_is_named_by_the_mapping_of_the_matrix_specification(void **state)
{
    static const struct {
        const char *id, *account;
    } rows[] = {
        {"u_123", "@daarion.u__123:example.org"},
        {"u_01JD", "@daarion.u__01_j_d:example.org"},
        {"550e8400-e29b-41d4-a716-446655440000",
         "@daarion.550e8400-e29b-41d4-a716-446655440000:example.org"},
        {"user:93", "@daarion.user=3a93:example.org"},
        {"a=b/c+d", "@daarion.a=3db=2fc=2bd:example.org"},
        {"\xD1\x97", "@daarion.=d1=97:example.org"},
        {"..", "@daarion...:example.org"},
    };
    struct dc_strbuf out = {0};
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        dc_matrix_user_id(dc_slice_z(rows[i].id), DC_S("example.org"), &out);
        assert_text(&out, rows[i].account);
    }
}

/* The opposite of the encoding, from the specification alone; false: not what it writes. */
static bool decode(struct dc_slice in, struct dc_strbuf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '_' && i + 1 < in.len) {
            char next = in.ptr[++i];
            dc_strbuf_add_char(out, next == '_' ? '_' : (char)(next - 'a' + 'A'));
        } else if (c == '=' && i + 2 < in.len) {
            char hex[3] = {in.ptr[i + 1], in.ptr[i + 2], '\0'};
            dc_strbuf_add_char(out, (char)strtol(hex, NULL, 16));
            i += 2;
        } else if (c == '_' || c == '=') {
            return false;
        } else {
            dc_strbuf_add_char(out, c);
        }
    }
    return true;
}

static void two_users_never_share_an_account(void **state)
{
    /* Every id of one and two bytes, and what the first implementation cut to one name. */
    static const char *const alike[] = {
        "u_01JD3V5K0Z8QW2N7X4T6R9Y1AB", "u_01JD3V5K0Z8QW2N7X4T6R9Y1AC",
        "u_01jd3v5k0z8qw2n7x4t6r9y1ab", "u-01JD3V5K0Z8QW2N7X4T6R9Y1AB"};
    (void)state;
    for (unsigned n = 1; n < 65536 + DC_ARRAY_LEN(alike); n++) {
        const char bytes[] = {(char)(n & 0xFF), (char)(n >> 8)};
        struct dc_slice id =
            n < 65536 ? dc_slice_make(bytes, n < 256 ? 1 : 2) : dc_slice_z(alike[n - 65536]);
        struct dc_strbuf localpart = {0};
        struct dc_strbuf back = {0};
        dc_matrix_localpart(id, DC_S("example.org"), &localpart);
        struct dc_slice rest = dc_strbuf_slice(&localpart);
        assert_true(dc_slice_take_prefix(&rest, DC_S(DC_MATRIX_USER_PREFIX)));
        for (size_t i = 0; i < rest.len; i++) {
            assert_non_null(strchr("abcdefghijklmnopqrstuvwxyz0123456789._=-", rest.ptr[i]));
        }
        assert_true(decode(rest, &back));
        assert_true(dc_slice_eq(dc_strbuf_slice(&back), id));
        dc_strbuf_free(&localpart);
        dc_strbuf_free(&back);
    }
}

static void an_id_that_would_be_too_long_is_named_by_its_hash(void **state)
{
    char long_id[128];
    char server[DC_MATRIX_SERVER_NAME_MAX_BYTES + 1];
    struct dc_strbuf first = {0};
    struct dc_strbuf second = {0};
    (void)state;
    memset(long_id, '!', sizeof(long_id));
    memset(server, 's', sizeof(server) - 1);
    server[sizeof(server) - 1] = '\0';
    dc_matrix_user_id(dc_slice_make(long_id, 128), dc_slice_z(server), &first);
    dc_matrix_user_id(dc_slice_make(long_id, 127), dc_slice_z(server), &second);
    assert_true(first.len <= DC_MATRIX_ID_MAX_BYTES);
    assert_true(dc_slice_starts(dc_strbuf_slice(&first), DC_S("@daarion.=_")));
    assert_false(dc_slice_eq(dc_strbuf_slice(&first), dc_strbuf_slice(&second)));
    dc_strbuf_free(&first);
    dc_strbuf_free(&second);
    /* As long as it fits it is spelt out: 255 = '@' + "daarion." + 234 + ':' + 11. */
    static char fitting[235];
    memset(fitting, 'a', sizeof(fitting));
    dc_matrix_user_id(dc_slice_make(fitting, 234), DC_S("example.org"), &first);
    assert_int_equal(first.len, DC_MATRIX_ID_MAX_BYTES);
    assert_false(dc_slice_starts(dc_strbuf_slice(&first), DC_S("@daarion.=_")));
    dc_strbuf_clear(&first);
    dc_matrix_user_id(dc_slice_make(fitting, 235), DC_S("example.org"), &first);
    assert_true(dc_slice_starts(dc_strbuf_slice(&first), DC_S("@daarion.=_")));
    dc_strbuf_free(&first);
}

static void the_longest_alias_fits(void **state)
{
    char slug[63];
    char server[DC_MATRIX_SERVER_NAME_MAX_BYTES];
    struct dc_strbuf out = {0};
    struct dc_slice found;
    (void)state;
    memset(slug, 'a', sizeof(slug));
    memset(server, 's', sizeof(server));
    struct dc_slice server_name = dc_slice_make(server, sizeof(server));
    dc_matrix_room_alias(dc_slice_make(slug, sizeof(slug)), server_name, &out);
    assert_true(out.len <= DC_MATRIX_ID_MAX_BYTES);
    assert_true(dc_matrix_alias_is_city(dc_strbuf_slice(&out), server_name, &found));
    assert_true(dc_slice_eq(found, dc_slice_make(slug, sizeof(slug))));
    dc_strbuf_free(&out);
    dc_matrix_room_alias(DC_S("energy"), DC_S("daarion.space"), &out);
    assert_text(&out, "#city_energy:daarion.space");
}

static void only_aliases_of_city_rooms_on_this_server_are_the_citys(void **state)
{
    static const char *const others[] = {"#city_energy:other.org",
                                         "#energy:example.org",
                                         "#city_:example.org",
                                         "#city_Energy:example.org",
                                         "#city_../x:example.org",
                                         "#city_a%2fb:example.org",
                                         "city_energy:example.org",
                                         "#city_energy",
                                         "@city_energy:example.org",
                                         "#city_energy:example.org:8448",
                                         ""};
    struct dc_slice slug;
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(others); i++) {
        if (dc_matrix_alias_is_city(dc_slice_z(others[i]), DC_S("example.org"), &slug)) {
            fail_msg("%s", others[i]);
        }
    }
    assert_true(dc_matrix_alias_is_city(DC_S("#city_energy:example.org:8448"),
                                        DC_S("example.org:8448"), &slug));
    assert_true(dc_slice_eq(slug, DC_S("energy")));
}

static void ids_are_taken_apart_at_the_first_colon(void **state)
{
    static const struct {
        const char *id, *local, *server; /* local NULL: refused */
    } rows[] = {
        {"@a:b", "a", "b"},
        {"@a:b:8448", "a", "b:8448"},
        {"@a:[::1]:8448", "a", "[::1]:8448"},
        {"@:b", NULL, NULL},
        {"@a:", NULL, NULL},
        {"@a", NULL, NULL},
        {"#a:b", NULL, NULL},
        {"@a b:c", NULL, NULL},
        {"@a\n:c", NULL, NULL},
        {"@\xff:c", NULL, NULL},
        {"", NULL, NULL},
    };
    struct dc_slice local;
    struct dc_slice server;
    char long_id[DC_MATRIX_ID_MAX_BYTES + 1];
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        bool is_good = dc_matrix_id_split(dc_slice_z(rows[i].id), '@', &local, &server);
        if (is_good != (rows[i].local != NULL)) {
            fail_msg("%s", rows[i].id);
        }
        if (is_good) {
            assert_true(dc_slice_eq(local, dc_slice_z(rows[i].local)));
            assert_true(dc_slice_eq(server, dc_slice_z(rows[i].server)));
        }
    }
    memset(long_id, 'a', sizeof(long_id));
    long_id[0] = '@';
    long_id[2] = ':';
    assert_true(dc_matrix_id_split(dc_slice_make(long_id, 255), '@', &local, &server));
    assert_false(dc_matrix_id_split(dc_slice_make(long_id, 256), '@', &local, &server));
    assert_false(dc_matrix_id_split(dc_slice_make("@a\0:b", 5), '@', &local, &server));
}

static void a_room_id_has_something_behind_its_sigil(void **state)
{
    (void)state;
    assert_true(dc_matrix_room_id_is_valid(DC_S("!abc:example.org")));
    assert_true(dc_matrix_room_id_is_valid(DC_S("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM")));
    assert_false(dc_matrix_room_id_is_valid(DC_S("!")));
    assert_false(dc_matrix_room_id_is_valid(DC_S("abc:example.org")));
    assert_false(dc_matrix_room_id_is_valid(DC_S("!a b:example.org")));
    assert_false(dc_matrix_room_id_is_valid(DC_SLICE_NULL));
}

/* --- and back --- */

static void an_account_is_its_residents_and_nobody_elses(void **state)
{
    static const struct {
        const char *account;
        enum dc_matrix_account_kind owner;
        const char *id;
    } rows[] = {
        {"@daarion.u__123:example.org", DC_MATRIX_RESIDENT, "u_123"},
        {"@daarion.u__01_j_d:example.org", DC_MATRIX_RESIDENT, "u_01JD"},
        {"@daarion.user=3a93:example.org", DC_MATRIX_RESIDENT, "user:93"},
        {"@daarion.=d1=97:example.org", DC_MATRIX_RESIDENT, "\xD1\x97"},
        {"@daarion...:example.org", DC_MATRIX_RESIDENT, ".."},
        {"@daarion.=_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef:example.org",
         DC_MATRIX_HASHED, ""},
        /* a hash that is none */
        {"@daarion.=_0123456789abcdef:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.=_0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef:example.org",
         DC_MATRIX_STRANGER, ""},
        /* what the encoding never writes */
        {"@daarion.=41:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.=61:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.=5f:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.=D1=97:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.U:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.a/b:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion._1:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion._:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.a=:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.a=4:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.=4g:example.org", DC_MATRIX_STRANGER, ""},
        /* somebody else's */
        {"@daarion.:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion_123:example.org", DC_MATRIX_STRANGER, ""},
        {"@alice:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.u__123:example.com", DC_MATRIX_STRANGER, ""},
        {"@daarion.u__123:example.org:8448", DC_MATRIX_STRANGER, ""},
        {"#daarion.u__123:example.org", DC_MATRIX_STRANGER, ""},
        {"@daarion.u__123", DC_MATRIX_STRANGER, ""},
        {"", DC_MATRIX_STRANGER, ""},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf id = {0};
        dc_strbuf_add(&id, DC_S("kept "));
        enum dc_matrix_account_kind owner =
            dc_matrix_account_of(dc_slice_z(rows[i].account), DC_S("example.org"), &id);
        struct dc_slice got = dc_strbuf_slice(&id);
        assert_true(dc_slice_take_prefix(&got, DC_S("kept ")));
        if (owner != rows[i].owner || !dc_slice_eq(got, dc_slice_z(rows[i].id))) {
            fail_msg("%s: %d \"%.*s\"", rows[i].account, (int)owner, DC_SLICE_ARG(got));
        }
        dc_strbuf_free(&id);
    }
}

static void every_byte_of_an_id_comes_back(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        const char text[] = {'x', (char)c, 'y'};
        struct dc_slice id = dc_slice_make(text, sizeof(text));
        struct dc_strbuf account = {0};
        struct dc_strbuf back = {0};
        dc_matrix_user_id(id, DC_S("example.org"), &account);
        assert_int_equal(
            dc_matrix_account_of(dc_strbuf_slice(&account), DC_S("example.org"), &back),
            DC_MATRIX_RESIDENT);
        assert_true(dc_slice_eq(dc_strbuf_slice(&back), id));
        dc_strbuf_free(&account);
        dc_strbuf_free(&back);
    }
    char longest[300];
    struct dc_strbuf account = {0};
    struct dc_strbuf back = {0};
    memset(longest, 'x', sizeof(longest));
    dc_matrix_user_id(dc_slice_make(longest, sizeof(longest)), DC_S("example.org"), &account);
    assert_int_equal(dc_matrix_account_of(dc_strbuf_slice(&account), DC_S("example.org"), &back),
                     DC_MATRIX_HASHED);
    dc_strbuf_free(&account);
    dc_strbuf_free(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_is_its_residents_and_nobody_elses),
        cmocka_unit_test(every_byte_of_an_id_comes_back),
        cmocka_unit_test(an_account_is_named_by_the_mapping_of_the_matrix_specification),
        cmocka_unit_test(two_users_never_share_an_account),
        cmocka_unit_test(an_id_that_would_be_too_long_is_named_by_its_hash),
        cmocka_unit_test(the_longest_alias_fits),
        cmocka_unit_test(only_aliases_of_city_rooms_on_this_server_are_the_citys),
        cmocka_unit_test(ids_are_taken_apart_at_the_first_colon),
        cmocka_unit_test(a_room_id_has_something_behind_its_sigil),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
