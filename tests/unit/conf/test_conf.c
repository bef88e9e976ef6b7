/* Sources and their order, values made at start. */
#include "base/mem.h"
#include "conf/conf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ENV_MAX 8
/* Copies, as the environment is not made of constants. */
struct env {
    char text[ENV_MAX][256];
    char *list[ENV_MAX + 1];
};

static char *const *make_env(struct env *e, const char *const *variables, size_t n)
{
    assert_true(n <= ENV_MAX);
    for (size_t i = 0; i < n; i++) {
        assert_true(strlen(variables[i]) < sizeof(e->text[i]));
        strcpy(e->text[i], variables[i]);
        e->list[i] = e->text[i];
    }
    e->list[n] = NULL;
    return e->list;
}

#define ENV(e, ...)                                                                                \
    make_env((e), (const char *const[]){__VA_ARGS__},                                              \
             DC_ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static void command_line_beats_environment_beats_default(void **state)
{
    char name[] = "daarion";
    char option[] = "--port=3";
    char *argv[] = {name, option, NULL};
    struct env e;
    struct dc_conf *c = NULL;

    (void)state;
    assert_int_equal(dc_conf_load(ENV(&e, "PORT=2", "INTERNAL_PORT=4"), 2, argv, NULL, 0, &c, NULL),
                     DC_OK);
    assert_int_equal(dc_conf_settings(c)->port, 3);
    assert_int_equal(dc_conf_settings(c)->internal_port, 4);
    assert_int_equal(dc_conf_settings(c)->workers, 1);
    assert_true(dc_conf_is_given(c, "PORT"));
    assert_true(dc_conf_is_given(c, "INTERNAL_PORT"));
    assert_false(dc_conf_is_given(c, "WORKERS"));
    assert_false(dc_conf_is_given(c, "NOTHING"));
    dc_conf_destroy(c);
}

static void command_line_can_go_back_to_the_default(void **state)
{
    char name[] = "daarion";
    char option[] = "--port=";
    char *argv[] = {name, option, NULL};
    struct env e;
    struct dc_conf *c = NULL;

    (void)state;
    assert_int_equal(dc_conf_load(ENV(&e, "PORT=2"), 2, argv, NULL, 0, &c, NULL), DC_OK);
    assert_int_equal(dc_conf_settings(c)->port, 8080);
    assert_false(dc_conf_is_given(c, "PORT"));
    dc_conf_destroy(c);
}

static void empty_variable_is_unset_and_the_first_of_two_counts(void **state)
{
    struct env e;
    struct dc_conf *c = NULL;

    (void)state;
    assert_int_equal(dc_conf_load(ENV(&e, "PORT=", "CITY_DEFAULT_ROOMS=", "JWT_SECRET=",
                                      "WORKERS=2", "WORKERS=3", "POR=9", "PORTS=9", "NATS_URL="),
                                  0, NULL, NULL, 0, &c, NULL),
                     DC_OK);
    const struct dc_settings *s = dc_conf_settings(c);
    assert_int_equal(s->port, 8080);
    assert_string_equal(s->city_default_rooms, "general,welcome,builders");
    assert_null(s->jwt_secret);
    assert_null(s->nats_url);
    assert_int_equal(s->workers, 2);
    assert_false(dc_conf_is_given(c, "PORT"));
    dc_conf_destroy(c);
}

static void name_beats_its_alias(void **state)
{
    struct env e;
    struct dc_conf *c = NULL;

    (void)state;
    assert_int_equal(
        dc_conf_load(ENV(&e, "AUTH_JWT_SECRET=aaaaaaaaaaaaaaaa"), 0, NULL, NULL, 0, &c, NULL),
        DC_OK);
    assert_string_equal(dc_conf_settings(c)->jwt_secret, "aaaaaaaaaaaaaaaa");
    dc_conf_destroy(c);
    assert_int_equal(
        dc_conf_load(ENV(&e, "AUTH_JWT_SECRET=aaaaaaaaaaaaaaaa", "JWT_SECRET=bbbbbbbbbbbbbbbb"), 0,
                     NULL, NULL, 0, &c, NULL),
        DC_OK);
    assert_string_equal(dc_conf_settings(c)->jwt_secret, "bbbbbbbbbbbbbbbb");
    dc_conf_destroy(c);
}

static void wrong_value_is_refused_with_name_value_and_source(void **state)
{
    const struct {
        const char *variable, *text;
    } rows[] = {
        {"PORT=eighty", "PORT=eighty is not a whole number (environment)"},
        {"PORT=-1", "PORT=-1 is not between 0 and 65535 (environment)"},
        {"PORT=65536", "PORT=65536 is not between 0 and 65535 (environment)"},
        {"DB_POOL_SIZE=65", "DB_POOL_SIZE=65 is not between 1 and 64 (environment)"},
        {"MAX_MESSAGE_CHARS=40001",
         "MAX_MESSAGE_CHARS=40001 is not between 1 and 40000 (environment)"},
        {"PORT=8080x", "PORT=8080x is not a whole number (environment)"},
        {"HOST=not an address",
         "HOST=not an address is not a numeric IPv4 or IPv6 address (environment)"},
        {"LOG_FORMAT=xml", "LOG_FORMAT=xml is none of auto|json|text (environment)"},
        {"LOG_LEVEL=loud", "LOG_LEVEL=loud is none of debug|info|warn|error (environment)"},
        {"AUTH_MODE=maybe", "AUTH_MODE=maybe is none of required|open (environment)"},
        {"AUTH_OPEN_ON_PUBLIC=perhaps",
         "AUTH_OPEN_ON_PUBLIC=perhaps is neither yes nor no (environment)"},
        {"ROOM_PRESENCE_THROTTLE_MS=soon", "ROOM_PRESENCE_THROTTLE_MS=soon is not a time such as "
                                           "500, 500ms, 5s, 10m, 2h or 30d (environment)"},
        {"ROOM_PRESENCE_THROTTLE_MS=61s",
         "ROOM_PRESENCE_THROTTLE_MS=61s is not between 0 and 60000 ms (environment)"},
        {"MAX_BODY_BYTES=9999999999999999999999",
         "MAX_BODY_BYTES=9999999999999999999999 is not a size such as 65536, 64k, 16M or 1G "
         "(environment)"},
        {"JWT_SECRET=short", "JWT_SECRET has less than 16 bytes (environment)"},
        {"AUTH_JWT_SECRET=short",
         "JWT_SECRET has less than 16 bytes (environment AUTH_JWT_SECRET)"},
        {"CITY_DEFAULT_ROOMS=general,Not A Slug",
         "CITY_DEFAULT_ROOMS=general,Not A Slug is not a list of slugs (a-z, 0-9, _ and -, 63 "
         "characters at most) (environment)"},
        {"DATABASE_URL=mysql://localhost/x",
         "DATABASE_URL=mysql://localhost/x does not start with postgresql:// (environment)"},
        {"DATABASE_URL=mysql://u:hunter2@h",
         "DATABASE_URL=mysql://***@h does not start with postgresql:// (environment)"},
        {"REDIS_URL=hunter2",
         "REDIS_URL=(set) does not start with redis(s):// or redis(s)+sentinel:// (environment)"},
        {"DATA_DIR=a\x1b[31mb", "DATA_DIR=a?[31mb has control characters (environment)"},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct env e;
        struct dc_conf *c = NULL;
        struct dc_error err = {0};
        enum dc_status st = dc_conf_load(ENV(&e, rows[i].variable), 0, NULL, NULL, 0, &c, &err);
        if (st != DC_CONFIG || c != NULL || strcmp(err.text, rows[i].text) != 0) {
            fail_msg("%s: %s", rows[i].variable, err.text);
        }
    }
}

static void value_made_at_start_is_set_and_checked(void **state)
{
    struct dc_conf *c = NULL;
    struct dc_error err = {0};
    struct dc_strbuf out = {0};

    (void)state;
    assert_int_equal(dc_conf_load(NULL, 0, NULL, NULL, 0, &c, NULL), DC_OK);
    const struct dc_settings *s = dc_conf_settings(c);
    assert_int_equal(dc_conf_set(c, "JWT_SECRET", "0123456789abcdef", "made at start", &err),
                     DC_OK);
    assert_int_equal(dc_conf_set(c, "PORT", "7001", "default of city-service", &err), DC_OK);
    assert_string_equal(s->jwt_secret, "0123456789abcdef");
    assert_int_equal(s->port, 7001);
    assert_true(dc_conf_is_given(c, "JWT_SECRET"));

    assert_int_equal(dc_conf_set(c, "JWT_SECRET", "short", "made at start", &err), DC_CONFIG);
    assert_string_equal(err.text, "JWT_SECRET has less than 16 bytes (made at start)");
    assert_int_equal(dc_conf_set(c, "PORT", "x", "made at start", &err), DC_CONFIG);
    assert_int_equal(dc_conf_set(c, "NOTHING", "x", "made at start", &err), DC_CONFIG);
    assert_string_equal(err.text, "NOTHING is not an option");
    assert_string_equal(s->jwt_secret, "0123456789abcdef"); /* nothing has changed */
    assert_int_equal(s->port, 7001);

    dc_conf_print(c, NULL, &out);
    dc_strbuf_add_char(&out, '\0');
    assert_non_null(strstr(out.ptr, "# made at start\n"));
    assert_non_null(strstr(out.ptr, "# default of city-service\n"));
    assert_null(strstr(out.ptr, "0123456789abcdef"));
    dc_strbuf_free(&out);

    assert_int_equal(dc_conf_set(c, "JWT_SECRET", NULL, "made at start", &err), DC_OK);
    assert_null(s->jwt_secret);
    assert_int_equal(dc_conf_set(c, "PORT", "", "made at start", &err), DC_OK);
    assert_int_equal(s->port, 8080);
    dc_conf_destroy(c);
}

static void settings_that_contradict_each_other_are_warned_about(void **state)
{
    struct env e;
    struct dc_conf *c = NULL;

    (void)state;
    assert_int_equal(dc_conf_load(ENV(&e, "WS_IDLE_TIMEOUT_MS=10s"), 0, NULL, NULL, 0, &c, NULL),
                     DC_OK);
    assert_int_equal(dc_conf_warning_count(c), 1);
    assert_non_null(strstr(dc_conf_warning(c, 0), "WS_PING_INTERVAL_MS"));
    dc_conf_destroy(c);
    dc_conf_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_line_beats_environment_beats_default),
        cmocka_unit_test(command_line_can_go_back_to_the_default),
        cmocka_unit_test(empty_variable_is_unset_and_the_first_of_two_counts),
        cmocka_unit_test(name_beats_its_alias),
        cmocka_unit_test(wrong_value_is_refused_with_name_value_and_source),
        cmocka_unit_test(value_made_at_start_is_set_and_checked),
        cmocka_unit_test(settings_that_contradict_each_other_are_warned_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
