/* The bus over TLS.
 *
 *   test_bus_tls nats script/with-nats     starts itself again under the script
 * Without TEST_NATS_URL there is no server to start either: skipped (77), except where CI is true.
 */
#include "bus_fixture.h"
#include <stdlib.h>
#include <unistd.h>

static void a_trusted_server_is_used(void **state)
{
    struct rig *g = *state;
    struct listener all = {.g = g};
    listen_to(&all, "all.>", DC_BUS_NEW);
    publish(g, "all.a", "1");
    expect(&all, "| all.a=1 ");
    server("restart", 0);
    publish(g, "all.a", "2");
    expect(&all, "all.a=2 ");
    stop(&all);
}

static void a_server_of_an_unknown_authority_is_refused(void **state)
{
    struct rig *g = *state;
    g->opts.tls_ca_file = NULL;
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_non_null(strstr(g->ready.text, "NATS_TLS_CA_FILE"));
    assert_true(log_has(g, "NATS_TLS_CA_FILE"));
}

static void a_server_of_another_name_is_refused(void **state)
{
    struct rig *g = *state;
    char url[256];
    const char *original = g->opts.url, *port = strrchr(original, ':');
    size_t head = (size_t)(strrchr(original, '@') - original);
    /* The same address in another spelling; the certificate is for localhost and 127.0.0.1. */
    snprintf(url, sizeof(url), "%.*s@127.1%s", (int)head, original, port);
    g->opts.url = url;
    rig_open(g);
    rig_await_ready(g);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_non_null(strstr(g->ready.text, "certificate"));
    rig_close(g);
    g->opts.url = original;
}

static void files_that_cannot_be_used_are_named(void **state)
{
    struct rig *g = *state;
    char here[256];
    snprintf(here, sizeof(here), "%s", getenv("TEST_NATS_CA"));
    const struct {
        struct dc_bus_opts opts;
        const char *setting;
    } rows[] = {
        {{.tls_ca_file = "/nonexistent/ca.pem"}, "NATS_TLS_CA_FILE"},
        {{.tls_ca_file = "/dev/null"}, "NATS_TLS_CA_FILE"},
        {{.tls_cert_file = here}, "NATS_TLS_KEY_FILE"},
        {{.tls_key_file = here}, "NATS_TLS_CERT_FILE"},
        {{.tls_cert_file = here, .tls_key_file = here}, "NATS_TLS_KEY_FILE"}, /* no key in it */
        {{.credentials_file = "/nonexistent/user.creds"}, "NATS_CREDENTIALS_FILE"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_bus_opts opts = rows[i].opts;
        struct dc_error err = {0};
        struct dc_bus *bus = NULL;
        opts.url = g->opts.url;
        opts.metrics = g->metrics;
        assert_int_equal(dc_bus_open(g->loop, &opts, &bus, &err), DC_CONFIG);
        assert_null(bus);
        if (strstr(err.text, rows[i].setting) == NULL) {
            fail_msg("row %zu: %s", i, err.text);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_trusted_server_is_used),
        BARE(a_server_of_an_unknown_authority_is_refused),
        BARE(a_server_of_another_name_is_refused),
        BARE(files_that_cannot_be_used_are_named),
    };
    if (argc == 3 && getenv("TEST_NATS_URL") != NULL) {
        assert_int_equal(setenv("NATS_TLS", "1", 1), 0);
        execl(argv[2], argv[2], argv[0], "nats", (char *)NULL);
        perror(argv[2]);
        return 1;
    }
    return run_over_backend(argc == 3 ? 2 : argc, argv, tests, DC_ARRAY_LEN(tests));
}
