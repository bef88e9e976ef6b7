/* Commands that end by themselves: refusals, and processes that cannot listen.  What a running
 * server is needed for is in tests/e2e/cli.test.mjs. */
#include "conf_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define MAX_ARGS 8

static const struct dc_role *const all_roles[] = {&dc_role_city, &dc_role_presence_aggregator,
                                                  &dc_role_auth, NULL};

/* Runs the command with its output in a file; *out is to be freed. */
static int run(struct place *p, const char *const *args, const char *const *env, char **err_out)
{
    char *argv[MAX_ARGS + 2] = {dc_strdup("daarion")};
    char *environment[MAX_ARGS + 2] = {dc_strdup(p->data_env)};
    int argc = 1;
    for (; args[argc - 1] != NULL; argc++) {
        assert_true(argc <= MAX_ARGS);
        argv[argc] = dc_strdup(args[argc - 1]);
    }
    for (int i = 0; env != NULL && env[i] != NULL; i++) {
        environment[i + 1] = dc_strdup(env[i]);
    }
    char path[96];
    snprintf(path, sizeof(path), "%s/stderr", p->dir);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    int kept_err = dup(STDERR_FILENO);
    int kept_out = dup(STDOUT_FILENO);
    assert_true(file >= 0 && kept_err >= 0 && kept_out >= 0);
    fflush(stdout);
    fflush(stderr);
    assert_int_equal(dup2(file, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(dup2(file, STDOUT_FILENO), STDOUT_FILENO);
    const struct dc_cli cli = {.roles = all_roles, .program_path = "daarion"};
    int exit_code = dc_cli_run(&cli, argc, argv, environment);
    fflush(stdout);
    fflush(stderr);
    assert_int_equal(dup2(kept_err, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(dup2(kept_out, STDOUT_FILENO), STDOUT_FILENO);
    close(kept_err);
    close(kept_out);
    *err_out = dc_calloc(1, 16384);
    assert_true(pread(file, *err_out, 16383, 0) >= 0);
    close(file);
    for (int i = 0; i < MAX_ARGS + 2; i++) {
        dc_free(argv[i]);
        dc_free(environment[i]);
    }
    return exit_code;
}

struct refusal {
    const char *args[MAX_ARGS];
    const char *env[3];
    int exit_code;
    const char *says;
};

static void what_cannot_be_done_is_refused_with_a_word_about_it(void **state)
{
    static const struct refusal refusals[] = {
        {{"city-service", "city-service"}, {NULL}, DC_EXIT_USAGE, "named twice"},
        {{"city-service", "nothing"}, {NULL}, DC_EXIT_USAGE, "nothing"},
        {{"config", "more"}, {NULL}, DC_EXIT_USAGE, "more"},
        {{"config", "up", "more"}, {NULL}, DC_EXIT_USAGE, "more"},
        {{"up"}, {"WEB_DIR=/no/such/directory"}, DC_EXIT_CONFIG, "WEB_DIR"},
        {{"up"}, {"NATS_URL=nats://127.0.0.1:1"}, DC_EXIT_CONFIG, "REDIS_URL"},
        {{"city-service"}, {NULL}, DC_EXIT_CONFIG, "DATABASE_URL"},
        {{"city-service"}, {"DATABASE_URL=postgresql://u@h/d"}, DC_EXIT_CONFIG, "REDIS_URL"},
        {{"matrix-presence-aggregator"}, {NULL}, DC_EXIT_CONFIG, "REDIS_URL"},
        {{"matrix-presence-aggregator"}, {"REDIS_URL=redis://h"}, DC_EXIT_CONFIG, "NATS_URL"},
        {{"auth-service"}, {NULL}, DC_EXIT_CONFIG, "JWT_SECRET"},
        {{"up"}, {"WORKERS=2"}, DC_EXIT_CONFIG, "WORKERS"},
        {{"up"}, {"AUTH_MODE=open", "HOST=0.0.0.0"}, DC_EXIT_CONFIG, "AUTH_OPEN_ON_PUBLIC"},
        {{"token"}, {NULL}, DC_EXIT_USAGE, "--sub"},
        {{"token", "--sub=a b"}, {NULL}, DC_EXIT_USAGE, "--sub"},
        {{"token", "--sub="}, {NULL}, DC_EXIT_USAGE, "--sub"},
        {{"token", "--sub=u", "--name=\xff"}, {NULL}, DC_EXIT_USAGE, "--name"},
        {{"token", "--sub=u", "--ttl=0"}, {NULL}, DC_EXIT_USAGE, "--ttl"},
        {{"token", "--sub=u", "--ttl=-1"}, {NULL}, DC_EXIT_USAGE, "--ttl"},
        {{"token", "--sub=u", "--ttl=1w"}, {NULL}, DC_EXIT_USAGE, "--ttl"},
        {{"token", "--sub=u", "--ttl=h"}, {NULL}, DC_EXIT_USAGE, "--ttl"},
        {{"token", "--sub=u", "--ttl="}, {NULL}, DC_EXIT_USAGE, "--ttl"},
        {{"token", "--sub=u", "--ttl=99999999999999999999d"}, {NULL}, DC_EXIT_USAGE, "--ttl"},
        {{"token", "--sub=u", "--ttl=4000d"}, {NULL}, DC_EXIT_USAGE, "--ttl"},
        {{"migrate"}, {"MIGRATIONS_DIR=/no/such/directory"}, DC_EXIT_CONFIG, "/no/such/directory"},
    };
    struct place *p = *state;
    for (size_t i = 0; i < DC_ARRAY_LEN(refusals); i++) {
        char *err;
        int exit_code = run(p, refusals[i].args, refusals[i].env, &err);
        if (exit_code != refusals[i].exit_code || strstr(err, refusals[i].says) == NULL) {
            fail_msg("refusal %zu: exit code %d, \"%s\"", i, exit_code, err);
        }
        dc_free(err);
    }
}

static void a_token_is_printed_alone_on_its_line(void **state)
{
    static const char *const secret[] = {"JWT_SECRET=0123456789abcdef0123", NULL};
    static const char *const ttls[] = {"--ttl=90", "--ttl=30m", "--ttl=12h", "--ttl=7d"};
    struct place *p = *state;
    for (size_t i = 0; i < DC_ARRAY_LEN(ttls); i++) {
        char *out;
        const char *const args[] = {"token", "--sub=u_1", "--name=Оленка", ttls[i], NULL};
        assert_int_equal(run(p, args, secret, &out), DC_EXIT_OK);
        size_t len = strlen(out);
        assert_true(len > 100 && strchr(out, '\n') == out + len - 1);
        dc_free(out);
    }
}

static void a_secret_that_a_token_needed_to_be_made_is_spoken_of_once(void **state)
{
    struct place *p = *state;
    const char *const args[] = {"token", "--sub=u_1", NULL};
    char *first, *second;
    assert_int_equal(run(p, args, NULL, &first), DC_EXIT_OK);
    assert_non_null(strstr(first, "made a new secret"));
    assert_non_null(strstr(first, p->data_dir));
    assert_int_equal(run(p, args, NULL, &second), DC_EXIT_OK);
    assert_null(strstr(second, "secret"));
    dc_free(first);
    dc_free(second);
}

static void the_configuration_of_up_is_what_up_uses(void **state)
{
    struct place *p = *state;
    const char *const args[] = {"config", NULL};
    const char *const token[] = {"token", "--sub=u_1", NULL};
    char *text;
    assert_int_equal(run(p, args, NULL, &text), DC_EXIT_OK);
    assert_non_null(strstr(text, "JWT_SECRET=(unset)"));
    assert_int_equal(access(p->data_dir, F_OK), -1); /* looking makes nothing */
    dc_free(text);
    assert_int_equal(run(p, token, NULL, &text), DC_EXIT_OK);
    dc_free(text);
    assert_int_equal(run(p, args, NULL, &text), DC_EXIT_OK);
    assert_non_null(strstr(text, "JWT_SECRET=(set)"));
    assert_non_null(strstr(text, "INTERNAL_API_KEY=(set)"));
    assert_non_null(strstr(text, "/internal_api_key\n"));
    assert_non_null(strstr(text, "\nPORT=8080 "));
    assert_null(strstr(text, "WORKER="));
    dc_free(text);
    const char *const role[] = {"config", "auth-service", NULL};
    assert_int_equal(run(p, role, NULL, &text), DC_EXIT_OK);
    assert_non_null(strstr(text, "\nPORT=7020 "));
    assert_non_null(strstr(text, "JWT_SECRET=(unset)")); /* alone, it takes none from there */
    assert_null(strstr(text, "WEB_DIR"));
    dc_free(text);
}

/* A listener that holds a port of its own. */
static int hold_port(unsigned *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof(addr);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

/* auth-service is ready as soon as it is started and needs no database: nothing may be left running
 * or unfreed when its listeners then fail, whichever of the two it is. */
static void a_role_that_is_ready_at_once_goes_down_in_order_when_a_port_is_taken(void **state)
{
    static const char *const names[] = {"PORT", "INTERNAL_PORT"};
    struct place *p = *state;
    unsigned port;
    int fd = hold_port(&port);
    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        char taken[32], free_one[32], *err;
        snprintf(taken, sizeof(taken), "%s=%u", names[i], port);
        snprintf(free_one, sizeof(free_one), "%s=0", names[1 - i]);
        const char *const env[] = {taken, free_one, "JWT_SECRET=0123456789abcdef0123", NULL};
        const char *const args[] = {"auth-service", NULL};
        assert_int_not_equal(run(p, args, env, &err), DC_EXIT_OK);
        char number[16];
        snprintf(number, sizeof(number), "%u", port);
        assert_non_null(strstr(err, number));
        assert_non_null(strstr(err, "daarion.stopped"));
        assert_null(strstr(err, "loop"));
        dc_free(err);
    }
    close(fd);
    assert_int_equal(access(p->data_dir, F_OK), -1); /* a role without data makes no place for it */
}

static void a_city_that_cannot_listen_goes_down_in_order(void **state)
{
    struct place *p = *state;
    unsigned port;
    char taken[32], *err;
    int fd = hold_port(&port);
    snprintf(taken, sizeof(taken), "PORT=%u", port);
    const char *const env[] = {taken, "INTERNAL_PORT=0", "MIGRATIONS_DIR=" TEST_MIGRATIONS_DIR,
                               NULL};
    const char *const args[] = {"up", NULL};
    assert_int_not_equal(run(p, args, env, &err), DC_EXIT_OK);
    assert_non_null(strstr(err, "daarion.stopped"));
    dc_free(err);
    close(fd);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_cannot_be_done_is_refused_with_a_word_about_it),
        CASE(a_token_is_printed_alone_on_its_line),
        CASE(a_secret_that_a_token_needed_to_be_made_is_spoken_of_once),
        CASE(the_configuration_of_up_is_what_up_uses),
        CASE(a_role_that_is_ready_at_once_goes_down_in_order_when_a_port_is_taken),
        CASE(a_city_that_cannot_listen_goes_down_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
