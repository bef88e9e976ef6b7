/* The command line. */
#include "conf/conf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct dc_conf_flag flags[] = {
    {"check", "migrate", false}, {"sub", "token", true}, {"name", "token", true},
    {"ttl", "token", true},      {"ttl", "guest", true}, {"version", NULL, false},
};

#define ARGS_MAX 12
/* Splits words at blanks; '_' alone means an empty argument. */
struct args {
    char text[256];
    char *argv[ARGS_MAX + 2];
    int argc;
};

static void split(struct args *a, const char *words)
{
    char name[] = "daarion ";
    char *save = NULL;

    snprintf(a->text, sizeof(a->text), "%s%s", name, words);
    a->argc = 0;
    for (char *w = strtok_r(a->text, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        assert_true(a->argc < ARGS_MAX);
        if (strcmp(w, "_") == 0) {
            *w = '\0';
        }
        a->argv[a->argc++] = w;
    }
    a->argv[a->argc] = NULL;
}

static enum dc_status load(const char *words, struct dc_conf **c, struct dc_error *err)
{
    struct args a;

    split(&a, words);
    *c = NULL;
    *err = (struct dc_error){0};
    return dc_conf_load(NULL, a.argc, a.argv, flags, DC_ARRAY_LEN(flags), c, err);
}

static void settings_are_read_in_both_forms(void **state)
{
    const struct {
        const char *words;
        int64_t port;
        bool migrates;
        size_t positionals;
    } rows[] = {
        {"", 8080, true, 0},
        {"up", 8080, true, 1},
        {"--port=9000 up", 9000, true, 1},
        {"up --port 9000", 9000, true, 1},
        {"up --port=1 --port 2", 2, true, 1},
        {"up --port=7 --port=", 8080, true, 1},
        {"up --port _", 8080, true, 1},
        {"--no", -1, true, 0},
        {"--migrate-at-start=no up", 8080, false, 1},
        {"--migrate-at-start no up", 8080, false, 1},
        {"--migrate-at-start up", 8080, true, 1},
        {"--migrate-at-start=no --migrate-at-start", 8080, true, 0},
        {"up -- --port 1", 8080, true, 3},
        {"up -- --help -h --", 8080, true, 4},
        {"- _", 8080, true, 2},
        {"--auth-jwt-secret=0123456789abcdef up", 8080, true, 1}, /* an alias */
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_conf *c;
        struct dc_error err;
        enum dc_status st = load(rows[i].words, &c, &err);
        if (rows[i].port == -1) {
            assert_int_equal(st, DC_CONFIG);
            continue;
        }
        if (st != DC_OK) {
            fail_msg("%s: %s", rows[i].words, err.text);
        }
        const struct dc_settings *s = dc_conf_settings(c);
        if (s->port != rows[i].port || s->migrate_at_start != rows[i].migrates ||
            dc_conf_positional_count(c) != rows[i].positionals || dc_conf_wants_help(c)) {
            fail_msg("%s: %lld %d %zu", rows[i].words, (long long)s->port, s->migrate_at_start,
                     dc_conf_positional_count(c));
        }
        dc_conf_destroy(c);
    }
}

static void wrong_options_are_refused_by_name(void **state)
{
    const struct {
        const char *words, *text;
    } rows[] = {
        {"up --no-such-option", "unknown option --no-such-option"},
        {"--prot=1", "unknown option --prot; did you mean --port?"},
        {"--PORT=1", "unknown option --PORT"},
        {"--jwt-secret-fiel x",
         "unknown option --jwt-secret-fiel; did you mean --jwt-secret-file?"},
        {"--port-file=/x", "unknown option --port-file"},
        {"--=x", "unknown option --"},
        {"---port=1", "unknown option ---port; did you mean --port?"},
        {"-p 1", "unknown option -p"},
        {"--port", "--port needs a value"},
        {"up --port --host=127.0.0.1", "--port needs a value"},
        {"up --jwt-secret-file=", "--jwt-secret-file needs a value"},
        {"--port=eighty", "PORT=eighty is not a whole number (command line)"},
        {"--port=65536", "PORT=65536 is not between 0 and 65535 (command line)"},
        {"--workers -1", "WORKERS=-1 is not between 1 and 64 (command line)"},
        {"--auth-mode=maybe", "AUTH_MODE=maybe is none of required|open (command line)"},
        {"--migrate-at-start=perhaps",
         "MIGRATE_AT_START=perhaps is neither yes nor no (command line)"},
        {"--jwt-secret=short", "JWT_SECRET has less than 16 bytes (command line)"},
        {"token --sub", "--sub needs a value"},
        {"migrate --check=yes", "--check takes no value"},
        {"up --check", "--check belongs to the command migrate"},
        {"--sub u_1", "--sub belongs to the command token"},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_conf *c;
        struct dc_error err;
        enum dc_status st = load(rows[i].words, &c, &err);
        if (st != DC_CONFIG || c != NULL || strcmp(err.text, rows[i].text) != 0) {
            fail_msg("%s: %s", rows[i].words, err.text);
        }
    }
}

static void flags_of_commands_are_kept_for_main(void **state)
{
    struct dc_conf *c;
    struct dc_error err;

    (void)state;
    assert_int_equal(load("token --sub u_1 --name=Олена --ttl 1h --ttl 2h --version", &c, &err),
                     DC_OK);
    assert_string_equal(dc_conf_positional(c, 0), "token");
    assert_null(dc_conf_positional(c, 1));
    assert_string_equal(dc_conf_flag(c, "sub"), "u_1");
    assert_string_equal(dc_conf_flag(c, "name"), "Олена");
    assert_string_equal(dc_conf_flag(c, "ttl"), "2h");
    assert_string_equal(dc_conf_flag(c, "version"), "");
    assert_null(dc_conf_flag(c, "check"));
    assert_null(dc_conf_flag(c, "port"));
    dc_conf_destroy(c);

    assert_int_equal(load("guest --ttl=5m", &c, &err), DC_OK); /* one name, two commands */
    assert_string_equal(dc_conf_flag(c, "ttl"), "5m");
    dc_conf_destroy(c);
    assert_int_equal(load("--check migrate", &c, &err), DC_OK); /* in front of its command too */
    assert_string_equal(dc_conf_flag(c, "check"), "");
    dc_conf_destroy(c);
    assert_int_equal(load("token --sub=", &c, &err), DC_OK); /* main says what it thinks of that */
    assert_string_equal(dc_conf_flag(c, "sub"), "");
    dc_conf_destroy(c);
}

static void help_is_given_however_wrong_the_rest_is(void **state)
{
    const char *const rows[] = {
        "--help city-service",
        "-h city-service",
        "city-service --help",
        "city-service --port --help",
        "--prot=1 city-service --help",
        "--port=eighty city-service -h",
        "city-service --check -x --help",
        "--jwt-secret-file=/nothing/there city-service --help",
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_conf *c;
        struct dc_error err;
        enum dc_status st = load(rows[i], &c, &err);
        if (st != DC_OK || !dc_conf_wants_help(c) || dc_conf_positional_count(c) != 1) {
            fail_msg("%s", rows[i]);
        }
        assert_string_equal(dc_conf_positional(c, 0), "city-service");
        assert_int_equal(dc_conf_settings(c)->port, 8080);
        dc_conf_destroy(c);
    }
}

static void help_does_not_look_at_the_environment(void **state)
{
    char variable[] = "PORT=eighty";
    char *environ_z[] = {variable, NULL};
    struct dc_conf *c = NULL;
    struct args a;

    (void)state;
    split(&a, "--help");
    assert_int_equal(dc_conf_load(environ_z, a.argc, a.argv, NULL, 0, &c, NULL), DC_OK);
    assert_true(dc_conf_wants_help(c));
    dc_conf_destroy(c);
}

static void secret_on_the_command_line_is_warned_about(void **state)
{
    struct dc_conf *c;
    struct dc_error err;

    (void)state;
    assert_int_equal(load("up --jwt-secret=0123456789abcdef", &c, &err), DC_OK);
    assert_string_equal(dc_conf_settings(c)->jwt_secret, "0123456789abcdef");
    assert_int_equal(dc_conf_warning_count(c), 1);
    assert_non_null(strstr(dc_conf_warning(c, 0), "JWT_SECRET on the command line"));
    assert_null(strstr(dc_conf_warning(c, 0), "0123456789abcdef"));
    dc_conf_destroy(c);
}

static void long_and_strange_arguments_make_short_messages(void **state)
{
    char option[4096];
    char name[] = "daarion";
    char *argv[] = {name, option, NULL};
    struct dc_conf *c = NULL;

    (void)state;
    memset(option, '-', sizeof(option) - 1);
    option[sizeof(option) - 1] = '\0';
    for (int round = 0; round < 3; round++) {
        struct dc_error err = {0};
        assert_int_equal(dc_conf_load(NULL, 2, argv, NULL, 0, &c, &err), DC_CONFIG);
        assert_null(c);
        assert_true(strlen(err.text) < 100);
        memset(option + 2, round == 0 ? 'x' : 0xFF, sizeof(option) - 3);
    }
    memset(option, 'x', sizeof(option) - 1);
    memcpy(option, "--data-dir=", 11);
    assert_int_equal(dc_conf_load(NULL, 2, argv, NULL, 0, &c, NULL), DC_OK);
    assert_int_equal(strlen(dc_conf_settings(c)->data_dir), sizeof(option) - 12);
    dc_conf_destroy(c);
    memcpy(option, "--log-level=", 12);
    struct dc_error err = {0};
    assert_int_equal(dc_conf_load(NULL, 2, argv, NULL, 0, &c, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "xxx... is none of debug|info|warn|error (command line)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_read_in_both_forms),
        cmocka_unit_test(wrong_options_are_refused_by_name),
        cmocka_unit_test(flags_of_commands_are_kept_for_main),
        cmocka_unit_test(help_is_given_however_wrong_the_rest_is),
        cmocka_unit_test(help_does_not_look_at_the_environment),
        cmocka_unit_test(secret_on_the_command_line_is_warned_about),
        cmocka_unit_test(long_and_strange_arguments_make_short_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
