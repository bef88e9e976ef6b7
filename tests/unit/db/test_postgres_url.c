/* Connection settings from URLs, and what libpq's messages say. */
#include "base/attr.h"
#include "db/postgres_url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *value_of(const struct dc_pg_url *u, const char *keyword)
{
    for (size_t i = 0; i < u->n; i++) {
        if (strcmp(u->keywords[i], keyword) == 0) {
            return u->values[i];
        }
    }
    return NULL;
}

static void a_url_is_taken_apart(void **state)
{
    struct dc_pg_url u;

    assert_null(*state);
    assert_int_equal(dc_pg_url_parse("postgresql://us%20er:p%40ss@db.example:5433/city"
                                     "?sslmode=require&application_name=x",
                                     &u, NULL),
                     DC_OK);
    assert_string_equal(value_of(&u, "user"), "us er");
    assert_string_equal(value_of(&u, "password"), "p@ss");
    assert_string_equal(value_of(&u, "host"), "db.example");
    assert_string_equal(value_of(&u, "port"), "5433");
    assert_string_equal(value_of(&u, "dbname"), "city");
    assert_null(u.keywords[u.n]);
    assert_null(u.values[u.n]);
    dc_pg_url_default(&u, "application_name", "daarion");
    dc_pg_url_default(&u, "gssencmode", "disable");
    assert_string_equal(value_of(&u, "application_name"), "x");
    assert_string_equal(value_of(&u, "gssencmode"), "disable");
    dc_pg_url_set(&u, "application_name", "y");
    assert_string_equal(value_of(&u, "application_name"), "y");
    dc_pg_url_free(&u);
    assert_int_equal(u.n, 0);
}

static void session_settings_follow_those_of_the_url(void **state)
{
    struct dc_pg_url u;

    assert_null(*state);
    assert_int_equal(dc_pg_url_parse("postgres://h/d?options=-csearch_path%3Dcity", &u, NULL),
                     DC_OK);
    dc_pg_url_add_option(&u, "TimeZone", "UTC");
    dc_pg_url_add_option(&u, "statement_timeout", "5000");
    assert_string_equal(value_of(&u, "options"),
                        "-csearch_path=city -c TimeZone=UTC -c statement_timeout=5000");
    dc_pg_url_free(&u);
}

static void malformed_urls_are_refused_without_repeating_them(void **state)
{
    static const char *const urls[] = {
        "",
        "postgresql",
        "postgresql:/",
        "http://secret@h/",
        "host=h password=secret",
        "postgresql://u:secret@h:0/d",
        "postgresql://u:secret@h:65536/d",
        "postgresql://u:secret@h:-1/d",
        "postgresql://u:secret@a:1,b:x/d",
        "postgresql://u:secret@h/d?sslmode=",
        "postgresql://u:secret@h/d?secret",
        "postgresql://u:secret%zz@h/d",
        "postgresql://u:secret@[::1/d",
    };

    assert_null(*state);
    for (size_t i = 0; i < DC_ARRAY_LEN(urls); i++) {
        struct dc_pg_url u;
        struct dc_error err = {0};
        if (dc_pg_url_parse(urls[i], &u, &err) != DC_CONFIG) {
            print_error("%s\n", urls[i]);
            fail();
        }
        assert_null(strstr(dc_error_text(&err), "secret"));
    }
}

static void the_code_is_found_in_messages(void **state)
{
    static const struct {
        const char *message, *want;
        bool is_config;
    } rows[] = {
        {"connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  28P01: password "
         "authentication failed for user \"x\"\nLOCATION:  auth_failed, auth.c:338\n",
         "28P01", true},
        {"FATAL:  3D000: database \"no\" does not exist", "3D000", true},
        {"\xd0\xa4\xd0\x90\xd0\xa2\xd0\x90\xd0\x9b:  57P03: starting up", "57P03", false},
        {"failed: Connection refused\n\tIs the server running?", "", false},
        {"FATAL:  28P0", "", false},
        {"FATAL:  28p01: lower case", "", false},
        {":  ", "", false},
        {"", "", false},
    };

    assert_null(*state);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char got[6];
        dc_pg_sqlstate_of_message(rows[i].message, got);
        assert_string_equal(got, rows[i].want);
        assert_int_equal(dc_pg_is_config_problem(got), rows[i].is_config);
    }
}

static void the_first_line_is_cut_to_size(void **state)
{
    char out[8];

    assert_null(*state);
    dc_pg_first_line("one\ntwo", out, sizeof(out));
    assert_string_equal(out, "one");
    dc_pg_first_line("0123456789", out, sizeof(out));
    assert_string_equal(out, "0123456");
    dc_pg_first_line("", out, sizeof(out));
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_url_is_taken_apart),
        cmocka_unit_test(session_settings_follow_those_of_the_url),
        cmocka_unit_test(malformed_urls_are_refused_without_repeating_them),
        cmocka_unit_test(the_code_is_found_in_messages),
        cmocka_unit_test(the_first_line_is_cut_to_size),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
