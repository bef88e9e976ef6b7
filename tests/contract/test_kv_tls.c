/* The key-value port over TLS: what only TLS can get wrong.
 *
 *   test_kv_tls --tls=script/with-redis     starts itself again under the script
 * Without TEST_REDIS_URL there is no server to start either: skipped (77), except where CI is true.
 */
#include "../unit/kv/certificates.h"
#include "base/mem.h"
#include "kv_fixture.h"
#include "relay.h"
#include <string.h>
#include <unistd.h>

/* As the server has them; or somebody else's. */
static char dir[64];

static int make_rig(void **state)
{
    struct rig *g = rig_create();

    admin("FLUSHALL");
    g->opts.url = getenv("TEST_REDIS_URL");
    g->opts.tls_ca_file = getenv("TEST_REDIS_CA");
    *state = g;
    return 0;
}

static int drop_rig(void **state)
{
    rig_destroy(*state);
    return 0;
}

/* TEST_REDIS_URL with another scheme, host and port. */
static const char *url_with(char *out, const char *scheme, const char *host, uint16_t port)
{
    const char *url = getenv("TEST_REDIS_URL");
    const char *login = strstr(url, "://") + 3, *at = strrchr(url, '@');

    assert_true(snprintf(out, 256, "%s://%.*s@%s:%u/0", scheme, (int)(at - login), login, host,
                         port) < 256);
    return out;
}

static uint16_t port_of(const char *url)
{
    return (uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10);
}

static uint16_t tls_port(void)
{
    return port_of(getenv("TEST_REDIS_URL"));
}

/* Starts as an operator would, and hears that it cannot be: once, in one line. */
static void expect_config(struct rig *g, const char *reason)
{
    char text[8192];

    rig_open_any(g);
    rig_until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_CONFIG);
    if (strstr(dc_error_text(&g->ready), reason) == NULL) {
        fail_msg("\"%s\" instead of \"%s\"", dc_error_text(&g->ready), reason);
    }
    assert_null(strchr(dc_error_text(&g->ready), '\n'));
    assert_int_equal(dc_health_overall(g->health), DC_HEALTH_DEGRADED);
    assert_int_equal(try_set(g, "k", "v"), DC_UNAVAILABLE);
    rig_log(g, text, sizeof(text));
    assert_non_null(strstr(text, "kv.connect_failed"));
    assert_non_null(strstr(text, reason));
    rig_close(g);
}

/* --- a good server --- */

static void a_trusted_server_is_used_and_after_a_restart_again(void **state)
{
    struct rig *g = *state;

    rig_open(g);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    assert_string_equal(get(g, "k"), "v");
    control("restart");
    dc_loop_update_time(g->loop);
    while (dc_health_overall(g->health) == DC_HEALTH_OK) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    until_it_works(g);
    assert_null(get(g, "k"));
    assert_int_equal(rig_metric(g, "daarion_kv_losses_total"), 1);
}

static void a_server_may_be_called_by_its_name(void **state)
{
    struct rig *g = *state;
    char url[256];

    g->opts.url = url_with(url, "rediss", "localhost", tls_port());
    rig_open(g);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
}

static void large_answers_and_long_pipelines_pass(void **state)
{
    struct rig *g = *state;
    static char value[DC_KV_VALUE_MAX_BYTES];
    char member[DC_KV_KEY_MAX_BYTES];

    rig_open(g);
    memset(value, 'x', sizeof(value));
    for (int i = 0; i < 40; i++) { /* 2.5 MiB there, and back */
        assert_int_equal(dc_kv_set(g->kv, DC_S("big"), dc_slice_make(value, sizeof(value)), 0,
                                   on_answer, g, NULL),
                         DC_OK);
        assert_int_equal(dc_kv_get(g->kv, DC_S("big"), on_answer, g, NULL), DC_OK);
        g->waiting += 2;
    }
    assert_int_equal(wait_all(g), DC_OK);
    /* One answer of 250 KiB. */
    memset(member, 'm', sizeof(member));
    for (int i = 0; i < DC_KV_TAKE_MAX; i++) {
        snprintf(member, 8, "%04d", i);
        assert_int_equal(dc_kv_expiry_add(g->kv, DC_S("s"), dc_slice_make(member, sizeof(member)),
                                          0, on_answer, g, NULL),
                         DC_OK);
        g->waiting++;
    }
    assert_int_equal(wait_all(g), DC_OK);
    (void)take(g, "s", DC_KV_TAKE_MAX);
    assert_int_equal(g->n_members, DC_KV_TAKE_MAX);
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(dc_kv_set(g->kv, DC_S("k"), DC_S("v"), 60000, on_answer, g, NULL), DC_OK);
        g->waiting++;
    }
    assert_int_equal(wait_all(g), DC_OK);
    assert_int_equal(rig_metric(g, "daarion_kv_failed_total"), 0);
    assert_int_equal(rig_metric(g, "daarion_kv_losses_total"), 0);
}

static void bytes_that_come_one_by_one_are_understood(void **state)
{
    struct rig *g = *state;
    struct relay *relay = relay_create(g->loop, tls_port());
    char url[256];

    relay->piece = 1;
    g->opts.url = url_with(url, "rediss", "127.0.0.1", relay->port);
    rig_open(g);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(set(g, "k", "v", 0), DC_OK);
        assert_string_equal(get(g, "k"), "v");
    }
    rig_close(g);
    relay_destroy(relay);
}

/* --- one that is not trusted --- */

static void a_server_of_an_unknown_authority_is_refused(void **state)
{
    struct rig *g = *state;
    char path[96];

    g->opts.tls_ca_file = NULL; /* the system's */
    expect_config(g, "REDIS_TLS_CA_FILE is not set");
    snprintf(path, sizeof(path), "%s/other.pem", dir);
    g->opts.tls_ca_file = path;
    expect_config(g, "REDIS_TLS_CA_FILE does not vouch for the certificate of 127.0.0.1");
}

static void a_server_of_another_name_is_refused(void **state)
{
    struct rig *g = *state;
    char url[256];

    /* The same address in another spelling; the certificate is for localhost and 127.0.0.1. */
    g->opts.url = url_with(url, "rediss", "127.1", tls_port());
    expect_config(g, "the certificate of the server is not for 127.1");
}

static void a_certificate_that_has_expired_is_refused_until_it_is_renewed(void **state)
{
    struct rig *g = *state;
    char ca[96];

    snprintf(ca, sizeof(ca), "%s/authority.pem", dir);
    g->opts.tls_ca_file = ca;
    admin("CONFIG SET tls-cert-file %s/expired.pem tls-key-file %s/expired.key", dir, dir);
    expect_config(g, "a certificate of 127.0.0.1 has expired");
    rig_open_any(g);
    rig_until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_CONFIG);
    admin("CONFIG SET tls-cert-file %s/server.pem tls-key-file %s/server.key", dir, dir);
    until_it_works(g);
    control("restart"); /* with its own certificate again */
}

static void an_authority_that_is_replaced_is_trusted_without_a_restart(void **state)
{
    struct rig *g = *state;
    char ca[96], link[96];

    snprintf(link, sizeof(link), "%s/current", dir);
    snprintf(ca, sizeof(ca), "%s/other.pem", dir);
    assert_int_equal(symlink(ca, link), 0);
    g->opts.tls_ca_file = link;
    rig_open_any(g);
    rig_until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(getenv("TEST_REDIS_CA"), link), 0);
    until_it_works(g);
}

static void files_that_cannot_be_used_are_named(void **state)
{
    struct rig *g = *state;
    const char *ca = getenv("TEST_REDIS_CA"), *plain = getenv("TEST_REDIS_PLAIN_URL");
    const struct {
        struct dc_kv_opts opts;
        const char *setting;
    } rows[] = {
        {{.tls_ca_file = "/nonexistent/ca.pem"}, "REDIS_TLS_CA_FILE"},
        {{.tls_ca_file = "/dev/null"}, "REDIS_TLS_CA_FILE"},
        {{.tls_cert_file = ca}, "REDIS_TLS_KEY_FILE"},
        {{.tls_key_file = ca}, "REDIS_TLS_CERT_FILE"},
        {{.tls_cert_file = ca, .tls_key_file = ca}, "REDIS_TLS_KEY_FILE"}, /* no key in it */
        {{.tls_cert_file = ca, .tls_key_file = getenv("TEST_REDIS_KEY")}, "REDIS_TLS_KEY_FILE"},
        /* Without TLS they would be passed over. */
        {{.url = plain, .tls_ca_file = ca}, "REDIS_TLS_CA_FILE"},
        {{.url = plain, .tls_cert_file = ca}, "REDIS_TLS_CERT_FILE"},
        {{.url = plain, .tls_key_file = ca}, "REDIS_TLS_KEY_FILE"},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_kv_opts opts = rows[i].opts;
        struct dc_error err = {0};
        struct dc_kv *kv = NULL;
        opts.url = opts.url == NULL ? g->opts.url : opts.url;
        opts.metrics = g->metrics;
        assert_int_equal(dc_kv_open(g->loop, &opts, &kv, &err), DC_CONFIG);
        assert_null(kv);
        if (strstr(err.text, rows[i].setting) == NULL) {
            fail_msg("row %zu: %s", i, err.text);
        }
    }
}

static void a_server_that_wants_a_certificate_gets_ours(void **state)
{
    struct rig *g = *state;
    char cert[96], key[96];

    admin("CONFIG SET tls-auth-clients yes");
    expect_config(g, "REDIS_TLS_CERT_FILE is not set, and 127.0.0.1 wants a certificate");
    snprintf(cert, sizeof(cert), "%s/server.pem", dir);
    snprintf(key, sizeof(key), "%s/server.key", dir);
    g->opts.tls_cert_file = cert;
    g->opts.tls_key_file = key;
    expect_config(g, "REDIS_TLS_CERT_FILE is refused by 127.0.0.1");
    g->opts.tls_cert_file = getenv("TEST_REDIS_CERT");
    g->opts.tls_key_file = getenv("TEST_REDIS_KEY");
    rig_open(g);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    admin("CONFIG SET tls-auth-clients no");
}

/* --- TLS on one side only --- */

/* One that cannot be used, and what the log says then. */
static void expect_unavailable(struct rig *g, const char *reason)
{
    char text[8192];

    rig_open_any(g);
    enum dc_status st = try_set(g, "k", "v");
    assert_true(st == DC_UNAVAILABLE || st == DC_TIMEOUT);
    assert_string_not_equal(g->code, "outcome_unknown"); /* nothing has left */
    rig_log(g, text, sizeof(text));
    while (strstr(text, "kv.connect_failed") == NULL) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
        rig_log(g, text, sizeof(text));
    }
    assert_false(g->is_ready);
    if (strstr(text, reason) == NULL) {
        fail_msg("%s", text);
    }
}

/* Redis hangs up, as a server does that is just being stopped. */
static void a_server_with_tls_behind_a_plain_url_is_told(void **state)
{
    struct rig *g = *state;
    char url[256];

    g->opts.url = url_with(url, "redis", "127.0.0.1", tls_port());
    g->opts.tls_ca_file = NULL;
    expect_unavailable(g, "if it speaks TLS, REDIS_URL must say rediss://");
}

/* Others give their reason. */
static void a_server_that_answers_in_tls_is_told(void **state)
{
    struct rig *g = *state;
    struct relay *relay = relay_create(g->loop, 0);
    char url[256];

    relay->greeting = "\x15\x03\x01\x00\x02\x02\x46";
    g->opts.url = url_with(url, "redis", "127.0.0.1", relay->port);
    g->opts.tls_ca_file = NULL;
    expect_config(g, "the server speaks TLS: REDIS_URL must say rediss://");
    relay_destroy(relay);
}

static void a_server_without_tls_that_answers_is_told(void **state)
{
    struct rig *g = *state;
    struct relay *relay = relay_create(g->loop, 0);
    char url[256];

    relay->greeting = "-ERR Protocol error\r\n";
    g->opts.url = url_with(url, "rediss", "127.0.0.1", relay->port);
    expect_config(g, "127.0.0.1 speaks no TLS: REDIS_URL must say redis://");
    relay_destroy(relay);
}

/* Redis itself takes our hello for half a line and waits for the rest.  So does one that hangs:
 * that is no error of configuration. */
static void a_server_without_tls_that_waits_is_told_when_the_time_is_over(void **state)
{
    struct rig *g = *state;
    char url[256];

    g->opts.url = url_with(url, "rediss", "127.0.0.1", port_of(getenv("TEST_REDIS_PLAIN_URL")));
    g->opts.deadline_ms = 200;
    expect_unavailable(g, "no TLS handshake in time: if the server speaks no TLS, REDIS_URL must "
                          "say redis://");
}

/* --- one that breaks off --- */

static void a_line_that_is_cut_anywhere_is_the_network_and_nothing_else(void **state)
{
    struct rig *g = *state;
    struct relay *relay = relay_create(g->loop, tls_port());
    char url[256];
    bool works = false;
    unsigned n_cut = 0;

    g->opts.url = url_with(url, "rediss", "127.0.0.1", relay->port);
    /* Through the handshake, the greeting, and into what comes then. */
    for (size_t cut = 0; !works; cut += cut < 40 ? 1 : 61) {
        relay->cut_after = cut;
        rig_open_any(g);
        enum dc_status st = set(g, "k", "v", 0);
        works = st == DC_OK;
        if (!works) {
            assert_int_equal(st, DC_UNAVAILABLE);
            assert_true(!g->is_ready || g->ready.status == DC_OK);
            n_cut++;
        }
        rig_close(g);
    }
    assert_true(n_cut > 60);
    relay_destroy(relay);
}

static void half_of_an_answer_is_none(void **state)
{
    struct rig *g = *state;
    struct relay *relay = relay_create(g->loop, tls_port());
    static char value[DC_KV_VALUE_MAX_BYTES];
    char url[256];

    memset(value, 'x', sizeof(value));
    g->opts.url = url_with(url, "rediss", "127.0.0.1", relay->port);
    rig_open(g);
    size_t greeting = relay->carried;
    assert_int_equal(CALL(g, dc_kv_set(g->kv, DC_S("big"), dc_slice_make(value, sizeof(value)), 0,
                                       on_answer, g, NULL)),
                     DC_OK);
    rig_close(g);
    for (size_t more = 100; more < sizeof(value); more += 9001) {
        relay->cut_after = greeting + more;
        rig_open(g);
        assert_int_equal(dc_kv_get(g->kv, DC_S("big"), on_answer, g, NULL), DC_OK);
        g->waiting++;
        assert_int_equal(wait_all(g), DC_UNAVAILABLE);
        assert_string_equal(g->code, "outcome_unknown");
        assert_false(g->has_value);
        rig_close(g);
    }
    relay->cut_after = SIZE_MAX;
    rig_open(g);
    assert_int_equal(CALL(g, dc_kv_get(g->kv, DC_S("big"), on_answer, g, NULL)), DC_OK);
    assert_true(g->has_value);
    rig_close(g);
    relay_destroy(relay);
}

static void closing_is_possible_at_every_step(void **state)
{
    struct rig *g = *state;

    for (unsigned turns = 0; turns < 60; turns++) {
        rig_open_any(g);
        assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
        g->waiting++;
        for (unsigned i = 0; i < turns; i++) {
            uv_run(dc_loop_uv(g->loop), UV_RUN_NOWAIT);
        }
        rig_close(g);
        assert_int_equal(g->waiting, 0);
        assert_true(g->status == DC_CANCELED || g->status == DC_OK);
    }
}

/* --- certificates beside those of with-redis --- */

static void write_certificates(void)
{
    const struct certificate_opts authority = {.names = NULL};
    struct certificate ours = certificate_make(&authority), other = certificate_make(&authority);
    const struct certificate_opts server = {.names = "DNS:localhost,IP:127.0.0.1", .issuer = &ours};
    const struct certificate_opts expired = {
        .names = "DNS:localhost,IP:127.0.0.1", .issuer = &ours, .from_s = -7200, .to_s = -3600};
    struct certificate good = certificate_make(&server), old = certificate_make(&expired);

    certificate_write(&ours, dir, "authority");
    certificate_write(&other, dir, "other");
    certificate_write(&good, dir, "server");
    certificate_write(&old, dir, "expired");
    certificate_free(&ours);
    certificate_free(&other);
    certificate_free(&good);
    certificate_free(&old);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/dc-test-kv-tls.XXXXXX");
    assert_non_null(mkdtemp(dir));
    write_certificates();
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"authority.pem", "authority.key", "other.pem",
                                        "other.key",     "server.pem",    "server.key",
                                        "expired.pem",   "expired.key",   "current"};
    char path[96];

    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_rig, drop_rig)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_trusted_server_is_used_and_after_a_restart_again),
        TEST(a_server_may_be_called_by_its_name),
        TEST(large_answers_and_long_pipelines_pass),
        TEST(bytes_that_come_one_by_one_are_understood),
        TEST(a_server_of_an_unknown_authority_is_refused),
        TEST(a_server_of_another_name_is_refused),
        TEST(a_certificate_that_has_expired_is_refused_until_it_is_renewed),
        TEST(an_authority_that_is_replaced_is_trusted_without_a_restart),
        TEST(files_that_cannot_be_used_are_named),
        TEST(a_server_that_wants_a_certificate_gets_ours),
        TEST(a_server_with_tls_behind_a_plain_url_is_told),
        TEST(a_server_that_answers_in_tls_is_told),
        TEST(a_server_without_tls_that_answers_is_told),
        TEST(a_server_without_tls_that_waits_is_told_when_the_time_is_over),
        TEST(a_line_that_is_cut_anywhere_is_the_network_and_nothing_else),
        TEST(half_of_an_answer_is_none),
        TEST(closing_is_possible_at_every_step),
    };

    kv_over_tls(&argc, argv);
    int rc = kv_need_server();
    if (rc == 0 && getenv("TEST_REDIS_CA") == NULL) {
        fprintf(stderr, "usage: test_kv_tls --tls=script/with-redis\n");
        rc = 2;
    }
    return rc != 0 ? rc : cmocka_run_group_tests(tests, make_dir, remove_dir);
}
