/* TLS to Redis without a socket: our session and one of OpenSSL's server, back to back. */
#include "base/mem.h"
#include "certificates.h"
#include "kv/redis_tls.h"
#include <dirent.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Files of every case, in its working directory: authority, other (another authority), good
 * (localhost, 127.0.0.1, ::1), client (of authority), stranger (of other). */
struct rig {
    char dir[64];
    struct certificate authority, other, good;
};

static int make_rig(void **state)
{
    struct rig *g = dc_calloc(1, sizeof(*g));
    const struct certificate_opts authority = {.names = NULL};
    const struct certificate_opts good = {.names = "DNS:localhost,IP:127.0.0.1,IP:::1",
                                          .issuer = &g->authority};
    const struct certificate_opts client = {.names = "DNS:client", .issuer = &g->authority};
    const struct certificate_opts stranger = {.names = "DNS:client", .issuer = &g->other};

    snprintf(g->dir, sizeof(g->dir), "/tmp/dc-test-tls.XXXXXX");
    assert_non_null(mkdtemp(g->dir));
    assert_int_equal(chdir(g->dir), 0);
    g->authority = certificate_make(&authority);
    g->other = certificate_make(&authority);
    g->good = certificate_make(&good);
    certificate_write(&g->authority, ".", "authority");
    certificate_write(&g->other, ".", "other");
    const struct {
        const struct certificate_opts *opts;
        const char *name;
    } rows[] = {{&client, "client"}, {&stranger, "stranger"}};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct certificate c = certificate_make(rows[i].opts);
        certificate_write(&c, ".", rows[i].name);
        certificate_free(&c);
    }
    *state = g;
    return 0;
}

static int drop_rig(void **state)
{
    struct rig *g = *state;
    DIR *dir = opendir(g->dir);

    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] != '.') {
            assert_int_equal(unlinkat(dirfd(dir), e->d_name, 0), 0);
        }
    }
    assert_int_equal(closedir(dir), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(g->dir), 0);
    certificate_free(&g->authority);
    certificate_free(&g->other);
    certificate_free(&g->good);
    dc_free(g);
    return 0;
}

/* --- a pair --- */

struct pair {
    struct dc_redis_tls_ctx *ctx;
    struct dc_redis_tls *client;
    SSL_CTX *server_ctx;
    SSL *server;
    size_t cut; /* bytes that travel at a time */
    struct dc_strbuf to_server, to_client;
    size_t at_server, at_client; /* delivered of them */
    struct dc_strbuf heard;      /* by us */
    struct dc_strbuf received;   /* by the server */
    enum dc_status status;       /* of the last feed */
    struct dc_error err;
};

static void pair_init(struct pair *p, const char *host, const struct certificate *server,
                      const char *ca_file, const char *cert_file, const char *key_file)
{
    const struct dc_redis_tls_opts opts = {ca_file, cert_file, key_file};

    *p = (struct pair){.cut = SIZE_MAX};
    assert_int_equal(dc_redis_tls_ctx_create(&opts, &p->ctx, &p->err), DC_OK);
    p->client = dc_redis_tls_create(p->ctx, host);
    assert_non_null(p->client);
    p->server_ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(p->server_ctx, server->x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(p->server_ctx, server->key), 1);
}

static void pair_start(struct pair *p)
{
    p->server = SSL_new(p->server_ctx);
    assert_non_null(p->server);
    SSL_set_bio(p->server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(p->server);
}

static void pair_free(struct pair *p)
{
    SSL_free(p->server);
    SSL_CTX_free(p->server_ctx);
    dc_redis_tls_free(p->client);
    dc_redis_tls_ctx_free(p->ctx);
    dc_strbuf_free(&p->to_server);
    dc_strbuf_free(&p->to_client);
    dc_strbuf_free(&p->heard);
    dc_strbuf_free(&p->received);
    ERR_clear_error();
}

static struct dc_slice next_piece(const struct dc_strbuf *b, size_t *at, size_t cut)
{
    size_t n = b->len - *at < cut ? b->len - *at : cut;
    struct dc_slice piece = dc_slice_make(b->ptr + *at, n);
    *at += n;
    return piece;
}

static void serve(struct pair *p, struct dc_slice piece)
{
    size_t n = 0;
    char room[4096];
    if (piece.len > 0) {
        assert_int_equal(BIO_write_ex(SSL_get_rbio(p->server), piece.ptr, piece.len, &n), 1);
    }
    while (SSL_read_ex(p->server, room, sizeof(room), &n) == 1) {
        dc_strbuf_add(&p->received, dc_slice_make(room, n));
    }
    while (BIO_read_ex(SSL_get_wbio(p->server), room, sizeof(room), &n) == 1) {
        dc_strbuf_add(&p->to_client, dc_slice_make(room, n));
    }
}

/* Carries what there is until nobody has anything to say, or our side fails. */
static void carry(struct pair *p)
{
    bool is_moving = true;
    p->status = DC_OK;
    while (is_moving && p->status == DC_OK) {
        dc_redis_tls_take(p->client, &p->to_server);
        is_moving = p->at_server < p->to_server.len;
        serve(p, next_piece(&p->to_server, &p->at_server, p->cut));
        if (p->at_client < p->to_client.len) {
            struct dc_slice piece = next_piece(&p->to_client, &p->at_client, p->cut);
            /* A copy of just this size: the sanitizer sees who reads on. */
            char *copy = dc_alloc(piece.len);
            memcpy(copy, piece.ptr, piece.len);
            p->status =
                dc_redis_tls_feed(p->client, dc_slice_make(copy, piece.len), &p->heard, &p->err);
            dc_free(copy);
            is_moving = true;
        }
    }
    /* Our last word, an alert perhaps. */
    dc_redis_tls_take(p->client, &p->to_server);
    serve(p, next_piece(&p->to_server, &p->at_server, SIZE_MAX));
}

static void server_says(struct pair *p, struct dc_slice text)
{
    size_t n = 0;
    assert_int_equal(SSL_write_ex(p->server, text.ptr, text.len, &n), 1);
    assert_int_equal(n, text.len);
}

/* --- cases --- */

static char *noise(size_t len)
{
    char *bytes = dc_alloc(len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(i * 31 + i / 251);
    }
    return bytes;
}

static void both_sides_understand_each_other_however_bytes_are_cut(void **state)
{
    struct rig *g = *state;
    static const size_t cuts[] = {1, 7, 1000, SIZE_MAX};
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    const size_t len = (size_t)300 * 1024;
    char *bytes = noise(len);

    for (size_t i = 0; i < DC_ARRAY_LEN(cuts) * DC_ARRAY_LEN(versions); i++) {
        struct pair p;
        int version = versions[i % 2];
        pair_init(&p, "localhost", &g->good, "authority.pem", NULL, NULL);
        p.cut = cuts[i / 2];
        assert_int_equal(SSL_CTX_set_max_proto_version(p.server_ctx, version), 1);
        pair_start(&p);
        assert_false(dc_redis_tls_is_ready(p.client));
        carry(&p);
        assert_int_equal(p.status, DC_OK);
        assert_true(dc_redis_tls_is_ready(p.client));
        assert_int_equal(SSL_version(p.server), version);
        assert_int_equal(p.heard.len, 0);
        assert_int_equal(dc_redis_tls_write(p.client, dc_slice_make(bytes, len), &p.err), DC_OK);
        assert_int_equal(dc_redis_tls_write(p.client, DC_SLICE_NULL, &p.err), DC_OK);
        server_says(&p, dc_slice_make(bytes, len / 2));
        if (version == TLS1_3_VERSION) {
            assert_int_equal(SSL_key_update(p.server, SSL_KEY_UPDATE_REQUESTED), 1);
        }
        server_says(&p, dc_slice_make(bytes + len / 2, len - len / 2));
        carry(&p);
        assert_int_equal(p.status, DC_OK);
        assert_int_equal(p.heard.len, len);
        assert_memory_equal(p.heard.ptr, bytes, len);
        assert_int_equal(p.received.len, len);
        assert_memory_equal(p.received.ptr, bytes, len);
        /* With the new keys, both ways. */
        assert_int_equal(dc_redis_tls_write(p.client, DC_S("ping"), &p.err), DC_OK);
        server_says(&p, DC_S("pong"));
        carry(&p);
        assert_int_equal(p.status, DC_OK);
        assert_memory_equal(p.heard.ptr + len, "pong", 4);
        assert_memory_equal(p.received.ptr + len, "ping", 4);
        pair_free(&p);
    }
    dc_free(bytes);
}

static void each_side_may_say_goodbye(void **state)
{
    struct rig *g = *state;
    struct pair p;

    pair_init(&p, "localhost", &g->good, "authority.pem", NULL, NULL);
    pair_start(&p);
    carry(&p);
    server_says(&p, DC_S("last words"));
    assert_true(SSL_shutdown(p.server) >= 0);
    carry(&p);
    assert_int_equal(p.status, DC_UNAVAILABLE);
    assert_string_equal(p.err.text, "the server closed the connection");
    assert_int_equal(p.heard.len, 10);  /* they count */
    dc_redis_tls_say_goodbye(p.client); /* nothing any more */
    pair_free(&p);

    pair_init(&p, "localhost", &g->good, "authority.pem", NULL, NULL);
    dc_redis_tls_say_goodbye(p.client); /* too early */
    pair_start(&p);
    carry(&p);
    assert_true(dc_redis_tls_is_ready(p.client));
    assert_int_equal(SSL_get_shutdown(p.server), 0);
    dc_redis_tls_say_goodbye(p.client);
    dc_redis_tls_say_goodbye(p.client);
    dc_redis_tls_take(p.client, &p.to_server);
    serve(&p, next_piece(&p.to_server, &p.at_server, SIZE_MAX));
    assert_int_equal(SSL_get_shutdown(p.server), SSL_RECEIVED_SHUTDOWN);
    pair_free(&p);
}

static void a_certificate_must_be_good_for_the_host(void **state)
{
    struct rig *g = *state;
    static const struct {
        const char *names, *host, *ca;
        long from_s, to_s;
        const char *reason; /* NULL: good */
    } rows[] = {
        {"DNS:localhost", "localhost", "authority.pem", 0, 0, NULL},
        {"DNS:localhost", "localhost.", "authority.pem", 0, 0, NULL},
        {"DNS:*.example.org", "redis.example.org", "authority.pem", 0, 0, NULL},
        {"IP:127.0.0.1", "127.0.0.1", "authority.pem", 0, 0, NULL},
        {"IP:::1", "::1", "authority.pem", 0, 0, NULL},
        {"IP:fe80::1", "fe80::1%eth0", "authority.pem", 0, 0, NULL},
        {"DNS:localhost", "redis.example.org", "authority.pem", 0, 0, "not for redis.example.org"},
        {"DNS:*.example.org", "example.org", "authority.pem", 0, 0, "not for example.org"},
        {"DNS:*.example.org", "a.b.example.org", "authority.pem", 0, 0, "not for a.b.example.org"},
        {"DNS:r*.example.org", "redis.example.org", "authority.pem", 0, 0, "not for redis"},
        {"DNS:127.0.0.1", "127.0.0.1", "authority.pem", 0, 0, "not for 127.0.0.1"},
        {"IP:127.0.0.1", "127.0.0.2", "authority.pem", 0, 0, "not for 127.0.0.2"},
        {"IP:127.0.0.1", "127.1", "authority.pem", 0, 0, "not for 127.1"},
        {"IP:127.0.0.1", "localhost", "authority.pem", 0, 0, "not for localhost"},
        {"DNS:localhost", "localhost", "other.pem", 0, 0, "REDIS_TLS_CA_FILE does not vouch for"},
        {"DNS:localhost", "localhost", NULL, 0, 0, "REDIS_TLS_CA_FILE is not set"},
        {"DNS:localhost", "localhost", "authority.pem", -7200, -3600, "has expired"},
        {"DNS:localhost", "localhost", "authority.pem", 3600, 7200, "not valid yet"},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            struct pair p;
            const struct certificate_opts opts = {.names = rows[i].names,
                                                  .issuer = &g->authority,
                                                  .from_s = rows[i].from_s,
                                                  .to_s = rows[i].to_s};
            struct certificate server = certificate_make(&opts);
            pair_init(&p, rows[i].host, &server, rows[i].ca, NULL, NULL);
            assert_int_equal(SSL_CTX_set_max_proto_version(p.server_ctx, version), 1);
            pair_start(&p);
            carry(&p);
            if (rows[i].reason == NULL) {
                assert_int_equal(p.status, DC_OK);
                assert_true(dc_redis_tls_is_ready(p.client));
            } else {
                assert_false(dc_redis_tls_is_ready(p.client));
                assert_int_equal(p.status, DC_CONFIG);
                if (strstr(p.err.text, rows[i].reason) == NULL) {
                    fail_msg("row %zu: %s", i, p.err.text);
                }
            }
            pair_free(&p);
            certificate_free(&server);
        }
    }
}

static int on_server_name(SSL *ssl, int *alert, void *out)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    snprintf(out, 64, "%s", name == NULL ? "-" : name);
    return SSL_TLSEXT_ERR_OK;
}

static void the_server_is_told_names_and_no_addresses(void **state)
{
    struct rig *g = *state;
    static const struct {
        const char *host, *told;
    } rows[] = {
        {"localhost", "localhost"}, {"localhost.", "localhost"}, {"127.0.0.1", "-"}, {"::1", "-"}};

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct pair p;
        char told[64] = "";
        pair_init(&p, rows[i].host, &g->good, "authority.pem", NULL, NULL);
        SSL_CTX_set_tlsext_servername_callback(p.server_ctx, on_server_name);
        SSL_CTX_set_tlsext_servername_arg(p.server_ctx, told);
        pair_start(&p);
        carry(&p);
        assert_true(dc_redis_tls_is_ready(p.client));
        assert_string_equal(told, rows[i].told);
        pair_free(&p);
    }
}

static void a_server_that_wants_a_certificate_gets_ours(void **state)
{
    struct rig *g = *state;
    static const struct {
        const char *cert, *key, *reason; /* NULL: good */
    } rows[] = {{"client.pem", "client.key", NULL},
                {NULL, NULL, "REDIS_TLS_CERT_FILE is not set"},
                {"stranger.pem", "stranger.key", "REDIS_TLS_CERT_FILE is refused"}};

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            struct pair p;
            pair_init(&p, "localhost", &g->good, "authority.pem", rows[i].cert, rows[i].key);
            assert_int_equal(SSL_CTX_set_max_proto_version(p.server_ctx, version), 1);
            assert_int_equal(SSL_CTX_load_verify_locations(p.server_ctx, "authority.pem", NULL), 1);
            SSL_CTX_set_verify(p.server_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                               NULL);
            pair_start(&p);
            carry(&p);
            if (rows[i].reason == NULL) {
                assert_int_equal(p.status, DC_OK);
                assert_true(dc_redis_tls_is_ready(p.client));
            } else {
                if (p.status != DC_CONFIG || strstr(p.err.text, rows[i].reason) == NULL) {
                    fail_msg("row %zu: %s", i, p.err.text);
                }
            }
            pair_free(&p);
        }
    }
}

static void a_server_without_modern_tls_is_refused(void **state)
{
    struct rig *g = *state;
    struct pair p;

    pair_init(&p, "localhost", &g->good, "authority.pem", NULL, NULL);
    SSL_CTX_set_security_level(p.server_ctx, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(p.server_ctx, TLS1_1_VERSION), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(p.server_ctx, TLS1_1_VERSION), 1);
    pair_start(&p);
    carry(&p);
    assert_int_equal(p.status, DC_CONFIG);
    assert_non_null(strstr(p.err.text, "does not speak TLS 1.2"));
    pair_free(&p);
}

static void a_wish_to_begin_again_is_not_granted(void **state)
{
    struct rig *g = *state;
    struct pair p;

    pair_init(&p, "localhost", &g->good, "authority.pem", NULL, NULL);
    assert_int_equal(SSL_CTX_set_max_proto_version(p.server_ctx, TLS1_2_VERSION), 1);
    pair_start(&p);
    carry(&p);
    assert_int_equal(SSL_renegotiate(p.server), 1);
    assert_int_equal(SSL_do_handshake(p.server), 1); /* the request */
    carry(&p);
    /* We say no, whereupon the server gives up. */
    assert_int_equal(p.status, DC_UNAVAILABLE);
    assert_int_equal(p.received.len, 0);
    pair_free(&p);
}

static void what_is_no_tls_is_told_by_its_first_byte(void **state)
{
    struct rig *g = *state;
    static const char *const rows[] = {"-ERR Protocol error\r\n", "+OK\r\n", "HTTP/1.1 400 Bad\r\n",
                                       "-"};

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct pair p;
        pair_init(&p, "localhost", &g->good, "authority.pem", NULL, NULL);
        assert_int_equal(dc_redis_tls_feed(p.client, dc_slice_z(rows[i]), &p.heard, &p.err),
                         DC_CONFIG);
        assert_non_null(strstr(p.err.text, "REDIS_URL must say redis://"));
        assert_int_equal(p.heard.len, 0);
        pair_free(&p);
    }
}

/* The version in the head of a record means nothing since TLS 1.3. */
static bool is_version(struct dc_slice records, size_t at)
{
    size_t start = 0;
    for (;;) {
        const unsigned char *head = (const unsigned char *)records.ptr + start;
        size_t size = 5 + ((size_t)head[3] << 8) + head[4];
        if (at < start + size) {
            return at == start + 1 || at == start + 2;
        }
        start += size;
    }
}

/* Every byte of the server's flight, and those of a record later on. */
static void spoilt_bytes_end_the_session(void **state)
{
    struct rig *g = *state;
    size_t at = 0, len = 1;

    for (; at < len; at += at < 200 ? 1 : 37) {
        struct pair p;
        pair_init(&p, "localhost", &g->good, "authority.pem", NULL, NULL);
        pair_start(&p);
        dc_redis_tls_take(p.client, &p.to_server);
        serve(&p, next_piece(&p.to_server, &p.at_server, SIZE_MAX));
        len = p.to_client.len;
        bool counts = !is_version(dc_strbuf_slice(&p.to_client), at);
        p.to_client.ptr[at] = (char)(p.to_client.ptr[at] ^ 0x41);
        carry(&p);
        /* A length that was spoilt may make it wait for the rest. */
        if (counts && p.status == DC_OK && dc_redis_tls_is_ready(p.client)) {
            fail_msg("byte %zu of %zu", at, len);
        }
        pair_free(&p);
    }
    for (at = 5; at < 30; at++) {
        struct pair p;
        pair_init(&p, "localhost", &g->good, "authority.pem", NULL, NULL);
        pair_start(&p);
        carry(&p);
        size_t before = p.to_client.len;
        server_says(&p, DC_S("hello"));
        serve(&p, DC_SLICE_NULL);
        assert_true(p.to_client.len - before > at - 5);
        p.to_client.ptr[p.to_client.len - 1 - (at - 5) % 16]++;
        carry(&p);
        assert_int_equal(p.status, DC_UPSTREAM);
        assert_int_equal(p.heard.len, 0);
        pair_free(&p);
    }
}

static void files_that_cannot_be_used_are_named(void **state)
{
    (void)state;
    const char *ca = "authority.pem", *cert = "client.pem", *key = "client.key",
               *rubbish = "rubbish.pem";
    FILE *f = fopen(rubbish, "w");
    assert_non_null(f);
    assert_true(fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", f) > 0);
    assert_int_equal(fclose(f), 0);
    const struct {
        struct dc_redis_tls_opts opts;
        const char *text;
    } rows[] = {
        {{.ca_file = "/nonexistent/ca.pem"}, "REDIS_TLS_CA_FILE=/nonexistent/ca.pem cannot be"},
        {{.ca_file = "/dev/null"}, "REDIS_TLS_CA_FILE cannot be used"},
        {{.ca_file = rubbish}, "REDIS_TLS_CA_FILE cannot be used"},
        {{.ca_file = key}, "REDIS_TLS_CA_FILE cannot be used"},
        {{.cert_file = cert}, "REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE go together"},
        {{.key_file = key}, "REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE go together"},
        {{.cert_file = "/nonexistent/c.pem", .key_file = key}, "REDIS_TLS_CERT_FILE=/nonex"},
        {{.cert_file = cert, .key_file = "/nonexistent/k"}, "REDIS_TLS_KEY_FILE=/nonexistent/k"},
        {{.cert_file = rubbish, .key_file = key}, "REDIS_TLS_CERT_FILE cannot be used"},
        {{.cert_file = cert, .key_file = cert}, "REDIS_TLS_KEY_FILE cannot be used"},
        {{.cert_file = cert, .key_file = "stranger.key"},
         "REDIS_TLS_KEY_FILE cannot be used: key values mismatch"},
        {{.ca_file = ca, .cert_file = cert, .key_file = key}, NULL},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_redis_tls_ctx *ctx = NULL;
        struct dc_error err = {0};
        enum dc_status st = dc_redis_tls_ctx_create(&rows[i].opts, &ctx, &err);
        assert_int_equal(st, rows[i].text == NULL ? DC_OK : DC_CONFIG);
        assert_int_equal(ctx == NULL, st != DC_OK);
        if (rows[i].text != NULL && strstr(err.text, rows[i].text) == NULL) {
            fail_msg("row %zu: %s", i, err.text);
        }
        dc_redis_tls_ctx_free(ctx);
    }
}

static void files_that_are_replaced_count_for_the_next_session(void **state)
{
    struct rig *g = *state;
    struct pair p;

    certificate_write(&g->other, ".", "ca");
    pair_init(&p, "localhost", &g->good, "ca.pem", NULL, NULL);
    pair_start(&p);
    /* Half of a change. */
    assert_int_equal(truncate("ca.pem", 10), 0);
    assert_int_equal(dc_redis_tls_ctx_refresh(p.ctx, &p.err), DC_CONFIG);
    assert_non_null(strstr(p.err.text, "REDIS_TLS_CA_FILE cannot be used"));
    carry(&p);
    assert_int_equal(p.status, DC_CONFIG);
    /* The rest of it. */
    certificate_write(&g->authority, ".", "new");
    assert_int_equal(rename("new.pem", "ca.pem"), 0);
    assert_int_equal(dc_redis_tls_ctx_refresh(p.ctx, &p.err), DC_OK);
    assert_int_equal(dc_redis_tls_ctx_refresh(p.ctx, &p.err), DC_OK);
    dc_redis_tls_free(p.client);
    SSL_free(p.server);
    p.client = dc_redis_tls_create(p.ctx, "localhost");
    dc_strbuf_clear(&p.to_client);
    dc_strbuf_clear(&p.to_server);
    p.at_client = p.at_server = 0;
    pair_start(&p);
    carry(&p);
    assert_int_equal(p.status, DC_OK);
    assert_true(dc_redis_tls_is_ready(p.client));
    /* A session outlives what it came from. */
    dc_redis_tls_ctx_free(p.ctx);
    p.ctx = NULL;
    server_says(&p, DC_S("still here"));
    carry(&p);
    assert_int_equal(p.heard.len, 10);
    pair_free(&p);
}

static void a_key_with_a_passphrase_is_refused_instead_of_asking_the_terminal(void **state)
{
    struct rig *g = *state;
    const char *key = "rubbish.pem";
    FILE *f = fopen(key, "w");
    struct dc_redis_tls_ctx *ctx = NULL;
    struct dc_error err = {0};
    const struct dc_redis_tls_opts opts = {.cert_file = "authority.pem", .key_file = key};

    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, g->authority.key, EVP_aes_128_cbc(),
                                          (const unsigned char *)"secret", 6, NULL, NULL),
                     1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(dc_redis_tls_ctx_create(&opts, &ctx, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "REDIS_TLS_KEY_FILE cannot be used"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_rig, drop_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_sides_understand_each_other_however_bytes_are_cut),
        TEST(each_side_may_say_goodbye),
        TEST(a_certificate_must_be_good_for_the_host),
        TEST(the_server_is_told_names_and_no_addresses),
        TEST(a_server_that_wants_a_certificate_gets_ours),
        TEST(a_server_without_modern_tls_is_refused),
        TEST(a_wish_to_begin_again_is_not_granted),
        TEST(what_is_no_tls_is_told_by_its_first_byte),
        TEST(spoilt_bytes_end_the_session),
        TEST(files_that_cannot_be_used_are_named),
        TEST(files_that_are_replaced_count_for_the_next_session),
        TEST(a_key_with_a_passphrase_is_refused_instead_of_asking_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
