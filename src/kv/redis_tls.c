/* See redis_tls.h. */
#include "kv/redis_tls.h"
#include "base/mem.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES ((size_t)16 * 1024) /* a record */
/* A record of TLS begins with what it is. */
#define RECORD_FIRST 20
#define RECORD_LAST  24

enum { CA_FILE, CERT_FILE, KEY_FILE, FILES };
static const char *const settings[FILES] = {"REDIS_TLS_CA_FILE", "REDIS_TLS_CERT_FILE",
                                            "REDIS_TLS_KEY_FILE"};

/* What changes when a file is replaced. */
struct stamp {
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct dc_redis_tls_ctx {
    SSL_CTX *ssl;
    char *paths[FILES]; /* NULL: not set */
    struct stamp stamps[FILES];
};

struct dc_redis_tls {
    SSL *ssl;
    BIO *in, *out; /* the session's */
    char *host;
    bool has_ca_file, has_cert;
    bool is_ready, is_over, has_heard;
};

/* --- what connections share --- */

static enum dc_status unusable(struct dc_error *err, const char *setting)
{
    unsigned long code = ERR_peek_last_error();
    const char *why = ERR_reason_error_string(code);

    ERR_clear_error();
    return dc_fail(err, DC_CONFIG, (int)ERR_GET_REASON(code), "%s cannot be used: %.100s", setting,
                   why == NULL ? "it holds nothing of the kind" : why);
}

static enum dc_status check_files(const struct dc_redis_tls_ctx *ctx, struct dc_error *err)
{
    for (size_t i = 0; i < FILES; i++) {
        if (ctx->paths[i] != NULL && access(ctx->paths[i], R_OK) != 0) {
            return dc_fail(err, DC_CONFIG, errno, "%s=%.80s cannot be read: %s", settings[i],
                           ctx->paths[i], dc_errno_text(errno));
        }
    }
    if ((ctx->paths[CERT_FILE] == NULL) != (ctx->paths[KEY_FILE] == NULL)) {
        return dc_fail(err, DC_CONFIG, 0, "%s and %s go together", settings[CERT_FILE],
                       settings[KEY_FILE]);
    }
    return DC_OK;
}

/* OpenSSL would ask the terminal. */
static int no_passphrase(char *buf, int size, int is_writing, void *data)
{
    (void)is_writing;
    (void)data;
    if (size > 0) {
        buf[0] = '\0';
    }
    return 0;
}

static enum dc_status load_files(SSL_CTX *ssl, char *const paths[FILES], struct dc_error *err)
{
    if (paths[CA_FILE] == NULL) {
        if (SSL_CTX_set_default_verify_paths(ssl) != 1) {
            return unusable(err, "REDIS_TLS_CA_FILE is not set, and the system's authorities");
        }
    } else if (SSL_CTX_load_verify_locations(ssl, paths[CA_FILE], NULL) != 1) {
        return unusable(err, settings[CA_FILE]);
    }
    if (paths[CERT_FILE] == NULL) {
        return DC_OK;
    }
    if (SSL_CTX_use_certificate_chain_file(ssl, paths[CERT_FILE]) != 1) {
        return unusable(err, settings[CERT_FILE]);
    }
    /* Looks whether it belongs to the certificate, too. */
    if (SSL_CTX_use_PrivateKey_file(ssl, paths[KEY_FILE], SSL_FILETYPE_PEM) != 1) {
        return unusable(err, settings[KEY_FILE]);
    }
    return DC_OK;
}

static void take_stamps(const struct dc_redis_tls_ctx *ctx, struct stamp stamps[FILES])
{
    for (size_t i = 0; i < FILES; i++) {
        struct stat st;
        stamps[i] = (struct stamp){.inode = 0};
        if (ctx->paths[i] != NULL && stat(ctx->paths[i], &st) == 0) {
            stamps[i] = (struct stamp){st.st_ino, st.st_size, st.st_mtim};
        }
    }
}

/* Into ctx->ssl, in place of what is there. */
static enum dc_status load(struct dc_redis_tls_ctx *ctx, struct dc_error *err)
{
    struct stamp stamps[FILES];
    enum dc_status st = check_files(ctx, err);

    if (st != DC_OK) {
        return st;
    }
    take_stamps(ctx, stamps); /* before they are read: a change meanwhile is seen the next time */
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    if (ssl == NULL || SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(ssl);
        ERR_clear_error();
        return dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
    }
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    st = load_files(ssl, ctx->paths, err);
    if (st != DC_OK) {
        SSL_CTX_free(ssl);
        return st;
    }
    SSL_CTX_free(ctx->ssl);
    ctx->ssl = ssl;
    memcpy(ctx->stamps, stamps, sizeof(stamps));
    return DC_OK;
}

enum dc_status dc_redis_tls_ctx_create(const struct dc_redis_tls_opts *opts,
                                       struct dc_redis_tls_ctx **out, struct dc_error *err)
{
    const char *const paths[FILES] = {opts->ca_file, opts->cert_file, opts->key_file};
    struct dc_redis_tls_ctx *ctx = dc_calloc(1, sizeof(*ctx));

    for (size_t i = 0; i < FILES; i++) {
        ctx->paths[i] = paths[i] == NULL ? NULL : dc_strdup(paths[i]);
    }
    *out = NULL;
    enum dc_status st = load(ctx, err);
    if (st != DC_OK) {
        dc_redis_tls_ctx_free(ctx);
        return st;
    }
    *out = ctx;
    return DC_OK;
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
    return a->inode == b->inode && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

enum dc_status dc_redis_tls_ctx_refresh(struct dc_redis_tls_ctx *ctx, struct dc_error *err)
{
    struct stamp stamps[FILES];

    take_stamps(ctx, stamps);
    for (size_t i = 0; i < FILES; i++) {
        if (!is_same(&stamps[i], &ctx->stamps[i])) {
            return load(ctx, err);
        }
    }
    return DC_OK;
}

void dc_redis_tls_ctx_free(struct dc_redis_tls_ctx *ctx)
{
    if (ctx != NULL) {
        SSL_CTX_free(ctx->ssl);
        for (size_t i = 0; i < FILES; i++) {
            dc_free(ctx->paths[i]);
        }
        dc_free(ctx);
    }
}

/* --- a session --- */

/* A numeric address is looked for as one; a name is told to the server as well. */
static bool expect_host(SSL *ssl, char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    size_t len = strlen(host);

    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1) {
        return true;
    }
    ERR_clear_error();
    if (len > 1 && host[len - 1] == '.') {
        host[len - 1] = '\0'; /* certificates and SNI know no root */
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* Without the zone of fe80::1%eth0, which is no part of an address elsewhere. */
static char *copy_host(const char *host)
{
    struct dc_slice name = dc_slice_z(host);
    size_t zone = dc_slice_find(name, '%');

    return dc_slice_dup_z(zone == SIZE_MAX ? name : dc_slice_make(host, zone));
}

struct dc_redis_tls *dc_redis_tls_create(const struct dc_redis_tls_ctx *ctx, const char *host)
{
    struct dc_redis_tls *t = dc_calloc(1, sizeof(*t));

    ERR_clear_error();
    t->host = copy_host(host);
    t->has_ca_file = ctx->paths[CA_FILE] != NULL;
    t->has_cert = ctx->paths[CERT_FILE] != NULL;
    t->ssl = SSL_new(ctx->ssl);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (t->ssl == NULL || t->in == NULL || t->out == NULL) {
        BIO_free(t->in);
        BIO_free(t->out);
        dc_redis_tls_free(t);
        return NULL;
    }
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_connect_state(t->ssl);
    if (!expect_host(t->ssl, t->host) ||
        SSL_get_error(t->ssl, SSL_do_handshake(t->ssl)) != SSL_ERROR_WANT_READ) {
        dc_redis_tls_free(t);
        return NULL;
    }
    return t;
}

void dc_redis_tls_free(struct dc_redis_tls *t)
{
    if (t != NULL) {
        SSL_free(t->ssl);
        ERR_clear_error();
        dc_free(t->host);
        dc_free(t);
    }
}

bool dc_redis_tls_is_ready(const struct dc_redis_tls *t)
{
    return t->is_ready;
}

/* --- what goes wrong --- */

static enum dc_status refuse_certificate(const struct dc_redis_tls *t, long why,
                                         struct dc_error *err)
{
    switch (why) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return dc_fail(err, DC_CONFIG, (int)why,
                       "the certificate of the server is not for %.80s, where it was looked for",
                       t->host);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return dc_fail(err, DC_CONFIG, (int)why,
                       "a certificate of %.80s has expired, or the clock here is wrong", t->host);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return dc_fail(err, DC_CONFIG, (int)why,
                       "a certificate of %.80s is not valid yet, or the clock here is wrong",
                       t->host);
    default:
        return dc_fail(err, DC_CONFIG, (int)why, "%s the certificate of %.40s: %.60s",
                       t->has_ca_file ? "REDIS_TLS_CA_FILE does not vouch for"
                                      : "REDIS_TLS_CA_FILE is not set, and the system does not "
                                        "vouch for",
                       t->host, X509_verify_cert_error_string(why));
    }
}

/* reason: an alert of the server, or what our side found. */
static enum dc_status explain(const struct dc_redis_tls *t, int reason, const char *text,
                              struct dc_error *err)
{
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: /* before TLS 1.3 that is all it says */
        if (!t->has_cert && (reason != SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE || !t->is_ready)) {
            return dc_fail(err, DC_CONFIG, reason,
                           "REDIS_TLS_CERT_FILE is not set, and %.80s wants a certificate (%.40s)",
                           t->host, text);
        }
        break;
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR: /* another authority of the same name */
        if (t->has_cert) {
            return dc_fail(err, DC_CONFIG, reason, "REDIS_TLS_CERT_FILE is refused by %.60s: %.50s",
                           t->host, text);
        }
        break;
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
        return dc_fail(err, DC_CONFIG, reason, "%.80s does not speak TLS 1.2 or later", t->host);
    default:
        break;
    }
    return dc_fail(err, reason >= SSL_AD_REASON_OFFSET ? DC_UNAVAILABLE : DC_UPSTREAM, reason,
                   "TLS with %.60s: %.90s", t->host, text);
}

/* The session has ended itself. */
static enum dc_status failed(struct dc_redis_tls *t, struct dc_error *err)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    const char *text = ERR_reason_error_string(code);
    long verdict = SSL_get_verify_result(t->ssl);

    t->is_over = true;
    ERR_clear_error();
    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
        return dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
    }
    if (verdict != X509_V_OK && !t->is_ready) {
        return refuse_certificate(t, verdict, err);
    }
    return explain(t, reason, text == NULL ? "what came is wrong" : text, err);
}

/* --- bytes --- */

/* Says whether to go on. */
static enum dc_status shake_hands(struct dc_redis_tls *t, struct dc_error *err)
{
    int rc = SSL_do_handshake(t->ssl);

    if (rc == 1) {
        t->is_ready = true;
        return DC_OK;
    }
    return SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ ? DC_OK : failed(t, err);
}

static enum dc_status read_all(struct dc_redis_tls *t, struct dc_strbuf *plain,
                               struct dc_error *err)
{
    for (;;) {
        size_t n = 0;
        if (!dc_strbuf_reserve(plain, READ_BYTES)) {
            t->is_over = true;
            return dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
        }
        int rc = SSL_read_ex(t->ssl, plain->ptr + plain->len, READ_BYTES, &n);
        if (rc == 1) {
            plain->len += n;
            continue;
        }
        switch (SSL_get_error(t->ssl, rc)) {
        case SSL_ERROR_WANT_READ:
            return DC_OK;
        case SSL_ERROR_ZERO_RETURN:
            t->is_over = true;
            return dc_fail(err, DC_UNAVAILABLE, 0, "the server closed the connection");
        default:
            return failed(t, err);
        }
    }
}

enum dc_status dc_redis_tls_feed(struct dc_redis_tls *t, struct dc_slice wire,
                                 struct dc_strbuf *plain, struct dc_error *err)
{
    size_t n = 0;

    DC_ASSERT(!t->is_over);
    if (wire.len == 0) {
        return DC_OK;
    }
    if (!t->has_heard) {
        unsigned char first = (unsigned char)wire.ptr[0];
        t->has_heard = true;
        if (first < RECORD_FIRST || first > RECORD_LAST) {
            t->is_over = true;
            return dc_fail(err, DC_CONFIG, 0,
                           "%.80s speaks no TLS: REDIS_URL must say redis:// (redis+sentinel://)",
                           t->host);
        }
    }
    ERR_clear_error();
    if (BIO_write_ex(t->in, wire.ptr, wire.len, &n) != 1 || n != wire.len) {
        t->is_over = true;
        ERR_clear_error();
        return dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
    }
    enum dc_status st = t->is_ready ? DC_OK : shake_hands(t, err);
    return st == DC_OK && t->is_ready ? read_all(t, plain, err) : st;
}

enum dc_status dc_redis_tls_write(struct dc_redis_tls *t, struct dc_slice plain,
                                  struct dc_error *err)
{
    size_t n = 0;

    DC_ASSERT(t->is_ready && !t->is_over);
    ERR_clear_error();
    /* Memory takes all of it. */
    if (plain.len > 0 && (SSL_write_ex(t->ssl, plain.ptr, plain.len, &n) != 1 || n != plain.len)) {
        return failed(t, err);
    }
    return DC_OK;
}

void dc_redis_tls_say_goodbye(struct dc_redis_tls *t)
{
    if (t->is_ready && !t->is_over) {
        t->is_over = true;
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl); /* we do not wait for its own */
        ERR_clear_error();
    }
}

void dc_redis_tls_take(struct dc_redis_tls *t, struct dc_strbuf *wire)
{
    size_t n = 0, pending = BIO_ctrl_pending(t->out);

    if (pending > 0 && dc_strbuf_reserve(wire, pending) &&
        BIO_read_ex(t->out, wire->ptr + wire->len, pending, &n) == 1) {
        wire->len += n;
    }
}
