/* What people see: `daarion config`, --help, masked URLs. */
#include "base/mem.h"
#include "conf/options.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void passwords_and_tokens_in_urls_are_masked(void **state)
{
    const struct {
        const char *url, *shown;
    } rows[] = {
        {"postgresql://db.example/daarion", "postgresql://db.example/daarion"},
        {"postgresql://user@db/daarion", "postgresql://user@db/daarion"},
        {"postgresql://user:pw@db:5432/daarion?sslmode=require",
         "postgresql://user:***@db:5432/daarion?sslmode=require"},
        {"postgresql://user:p@w:x/y?z@db/d", "postgresql://user:***@db/d"},
        {"postgresql://db/d?user=u&password=pw", "postgresql://db/d?user=u&password=***"},
        {"postgresql://db/d?PASSWORD=pw&sslmode=x", "postgresql://db/d?PASSWORD=***"},
        {"postgresql://u@db/d?sslpassword=pw", "postgresql://u@db/d?sslpassword=***"},
        {"postgresql://db/d?password=a@b", "postgresql://***"},
        {"postgresql://u:token=pw@db", "postgresql://***"},
        {"postgresql://u:x?token=pw@db", "postgresql://***"},
        {"postgresql:///d?host=/run/pg", "postgresql:///d?host=/run/pg"},
        {"redis://:pw@cache:6379/0", "redis://***@cache:6379/0"},
        {"redis://cache", "redis://cache"},
        {"redis+sentinel://:pw@a,b/main?db=1", "redis+sentinel://***@a,b/main?db=1"},
        {"redis+sentinel://a,b/m?sentinel_password=pw",
         "redis+sentinel://a,b/m?sentinel_password=***"},
        {"nats://a,b,c", "nats://a,b,c"},
        {"nats://token@a", "nats://***@a"},
        {"nats://u:p@a,nats://u2:p2@b", "nats://***@b"},
        {"nats://token@a:4222,token2@b", "nats://***@b"},
        {"nats://token@a,token2@b", "nats://***@b"},
        {"://", "://"},
        {"x://@", "x://***@"},
        {"host=db password=pw", "(set)"},
        {"pw", "(set)"},
        {"", "(set)"},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf out = {0};
        dc_conf_mask_url(dc_slice_z(rows[i].url), &out);
        dc_strbuf_add_char(&out, '\0');
        if (strcmp(out.ptr, rows[i].shown) != 0) {
            fail_msg("%s: %s", rows[i].url, out.ptr);
        }
        dc_strbuf_free(&out);
    }
}

static void password_never_shows_wherever_it_stands_and_whatever_it_is(void **state)
{
    const char *const patterns[] = {
        "nats://%s@a",           "redis://:%s@h/0",
        "postgresql://u:%s@h/d", "postgresql://h/d?password=%s",
        "nats://u:%s@a,b",       "nats://u:x@a,nats://u:%s@b",
        "nats://a,nats://%s@b",  "postgresql://h/d?sslpassword=%s&x=1",
    };
    const char *const signs[] = {"",  ":", "@", "/", "?", "#",  "&",   "=",       ",",
                                 ";", "%", " ", "[", "]", "//", "://", "?token=", "&password="};

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(patterns); i++) {
        for (size_t k = 0; k < DC_ARRAY_LEN(signs); k++) {
            char url[256];
            const char *at = strstr(patterns[i], "%s");
            snprintf(url, sizeof(url), "%.*sHUNTER%sHUNTER%s", (int)(at - patterns[i]), patterns[i],
                     signs[k], at + 2);
            struct dc_strbuf out = {0};
            dc_conf_mask_url(dc_slice_z(url), &out);
            dc_strbuf_add_char(&out, '\0');
            if (strstr(out.ptr, "HUNTER") != NULL) {
                fail_msg("%s: %s", url, out.ptr);
            }
            dc_strbuf_free(&out);
        }
    }
}

static char *print(char *const *environ_z, int argc, char *const *argv)
{
    struct dc_conf *c = NULL;
    struct dc_strbuf out = {0};

    assert_int_equal(dc_conf_load(environ_z, argc, argv, NULL, 0, &c, NULL), DC_OK);
    dc_conf_print(c, NULL, &out);
    assert_true(dc_strbuf_ok(&out));
    char *text = dc_slice_dup_z(dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
    dc_conf_destroy(c);
    return text;
}

static void configuration_shows_each_option_once_in_order_with_its_source(void **state)
{
    char secret[] = "JWT_SECRET=hunter2hunter2hunter2";
    char url[] = "DATABASE_URL=postgresql://u:hunter2@db/d";
    char rooms[] = "CITY_DEFAULT_ROOMS=plaza";
    char name[] = "daarion";
    char option[] = "--port=1234";
    char *environ_z[] = {secret, url, rooms, NULL};
    char *argv[] = {name, option, NULL};
    size_t count = 0;
    const struct dc_opt *options = dc_options(&count);

    (void)state;
    char *text = print(environ_z, 2, argv);
    const char *line = text;
    size_t column = 0;
    for (size_t i = 0; i < count; i++) {
        if ((options[i].flags & DC_OPT_INTERNAL) != 0) {
            continue;
        }
        assert_non_null(line);
        size_t len = strlen(options[i].name);
        assert_int_equal(strncmp(line, options[i].name, len), 0);
        assert_true(line[len] == '=');
        const char *source = strstr(line, "  # ");
        assert_non_null(source);
        column = i == 0 ? (size_t)(source - line) : column;
        line = strchr(line, '\n') + 1;
        assert_true(source < line);
    }
    assert_int_equal(*line, '\0');
    assert_null(strstr(text, "hunter2"));
    const struct {
        const char *start, *source;
    } rows[] = {
        {"PORT=1234 ", "# command line\n"},
        {"INTERNAL_PORT=8081 ", "# default\n"},
        {"JWT_SECRET=(set) ", "# environment\n"},
        {"INTERNAL_API_KEY=(unset) ", "# default\n"},
        {"DATABASE_URL=postgresql://u:***@db/d ", "# environment\n"},
        {"CITY_DEFAULT_ROOMS=plaza ", "# environment\n"},
        {"WEB_DIR=(unset) ", "# default\n"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char key[64];
        snprintf(key, sizeof(key), "\n%s", rows[i].start);
        const char *at = strstr(text, key);
        if (at == NULL) {
            fail_msg("%s", rows[i].start);
        }
        const char *source = strchr(at + 1, '#');
        assert_int_equal(strncmp(source, rows[i].source, strlen(rows[i].source)), 0);
        assert_int_equal(source - (at + 1), column + 2); /* aligned */
    }
    dc_free(text);
}

static void long_values_do_not_move_the_column(void **state)
{
    char variable[512] = "DATA_DIR=/";
    char *environ_z[] = {variable, NULL};
    char *plain = print(NULL, 0, NULL);

    (void)state;
    memset(variable + 10, 'x', 400);
    char *text = print(environ_z, 0, NULL);
    assert_int_equal(strchr(text, '#') - text, strchr(plain, '#') - plain);
    assert_non_null(strstr(text, "xxx  # environment\n"));
    dc_free(text);
    dc_free(plain);
}

static char *help(const char *role)
{
    struct dc_strbuf out = {0};

    dc_conf_help(role, 0, &out);
    char *text = dc_slice_dup_z(dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
    return text;
}

static void configuration_of_a_role_leaves_out_what_is_not_its_business(void **state)
{
    struct dc_conf *c = NULL;
    struct dc_strbuf out = {0};

    (void)state;
    assert_int_equal(dc_conf_load(NULL, 0, NULL, NULL, 0, &c, NULL), DC_OK);
    dc_conf_print(c, "auth-service", &out);
    dc_strbuf_add_char(&out, '\0');
    assert_true(dc_strbuf_ok(&out));
    assert_non_null(strstr(out.ptr, "GUEST_TOKEN_TTL="));
    assert_null(strstr(out.ptr, "CITY_DEFAULT_ROOMS="));
    assert_null(strstr(out.ptr, "WORKER="));
    dc_strbuf_free(&out);
    dc_conf_destroy(c);
}

static void help_shows_the_port_of_a_role(void **state)
{
    struct dc_strbuf out = {0};

    (void)state;
    dc_conf_help("city-service", 7001, &out);
    dc_strbuf_add_char(&out, '\0');
    assert_true(dc_strbuf_ok(&out));
    const char *row = strstr(out.ptr, "  PORT=");
    assert_non_null(row);
    assert_int_equal(strncmp(strchr(row, '['), "[7001]\n", 7), 0);
    assert_null(strstr(out.ptr, "[8080]"));
    assert_non_null(strstr(out.ptr, "[8081]")); /* of the internal one */
    dc_strbuf_free(&out);
}

static bool has_row(const char *text, const char *name)
{
    char key[80];

    snprintf(key, sizeof(key), "  %s=", name);
    return strstr(text, key) != NULL;
}

static void help_has_every_option_with_its_sentence_and_default(void **state)
{
    size_t count = 0;
    const struct dc_opt *options = dc_options(&count);
    char *text = help(NULL);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct dc_opt *o = &options[i];
        bool is_shown = (o->flags & DC_OPT_INTERNAL) == 0;
        if (has_row(text, o->name) != is_shown || (strstr(text, o->help) != NULL) != is_shown) {
            fail_msg("%s", o->name);
        }
        if (is_shown && o->def != NULL) {
            char def[80];
            snprintf(def, sizeof(def), "[%s]", o->def);
            assert_non_null(strstr(strstr(text, o->name), def));
        }
    }
    assert_non_null(strstr(text, "[or JWT_SECRET_FILE]"));
    assert_null(strstr(text, "PORT_FILE"));
    dc_free(text);
}

static void help_lines_fit_a_wide_terminal(void **state)
{
    char *text = help(NULL);

    (void)state;
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        size_t len = strcspn(line, "\n");
        if (len > 128) {
            fail_msg("%.*s", (int)len, line);
        }
    }
    dc_free(text);
}

static void help_of_a_role_leaves_out_what_is_not_its_business(void **state)
{
    const struct {
        const char *role, *option;
        bool is_shown;
    } rows[] = {
        {"up", "CITY_DEFAULT_ROOMS", true},
        {"up", "GUEST_TOKEN_TTL", true},
        {"up", "WEB_DIR", true},
        {"city-service", "CITY_DEFAULT_ROOMS", true},
        {"city-service", "PORT", true},
        {"city-service", "GUEST_TOKEN_TTL", false},
        {"city-service", "WEB_DIR", false},
        {"auth-service", "GUEST_TOKEN_TTL", true},
        {"auth-service", "CITY_DEFAULT_ROOMS", false},
        {"auth-service", "JWT_SECRET", true},
        {"service", "CITY_DEFAULT_ROOMS", false}, /* whole names only */
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char *text = help(rows[i].role);
        if (has_row(text, rows[i].option) != rows[i].is_shown) {
            fail_msg("%s %s", rows[i].role, rows[i].option);
        }
        dc_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_and_tokens_in_urls_are_masked),
        cmocka_unit_test(password_never_shows_wherever_it_stands_and_whatever_it_is),
        cmocka_unit_test(configuration_shows_each_option_once_in_order_with_its_source),
        cmocka_unit_test(configuration_of_a_role_leaves_out_what_is_not_its_business),
        cmocka_unit_test(help_shows_the_port_of_a_role),
        cmocka_unit_test(long_values_do_not_move_the_column),
        cmocka_unit_test(help_has_every_option_with_its_sentence_and_default),
        cmocka_unit_test(help_lines_fit_a_wide_terminal),
        cmocka_unit_test(help_of_a_role_leaves_out_what_is_not_its_business),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
