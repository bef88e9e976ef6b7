/* See certificates.h. */
#include "certificates.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

struct certificate certificate_make(const struct certificate_opts *opts)
{
    struct certificate c = {X509_new(), EVP_EC_gen("P-256")};
    const struct certificate *issuer = opts->issuer == NULL ? &c : opts->issuer;
    bool has_dates = opts->from_s != 0 || opts->to_s != 0;
    uint32_t serial = 0;
    char name[32]; /* each has its own */

    assert_true(c.x509 != NULL && c.key != NULL);
    assert_int_equal(RAND_bytes((unsigned char *)&serial, sizeof(serial)), 1);
    X509_set_version(c.x509, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(c.x509), serial);
    X509_gmtime_adj(X509_getm_notBefore(c.x509), has_dates ? opts->from_s : -3600);
    X509_gmtime_adj(X509_getm_notAfter(c.x509), has_dates ? opts->to_s : 3600);
    snprintf(name, sizeof(name), "test %u", (unsigned)serial);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x509), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(c.x509, X509_get_subject_name(issuer->x509));
    X509_set_pubkey(c.x509, c.key);
    if (opts->names == NULL) {
        add_extension(c.x509, issuer->x509, NID_basic_constraints, "critical,CA:TRUE");
    } else {
        add_extension(c.x509, issuer->x509, NID_subject_alt_name, opts->names);
    }
    assert_true(X509_sign(c.x509, issuer->key, EVP_sha256()) > 0);
    return c;
}

void certificate_free(struct certificate *c)
{
    X509_free(c->x509);
    EVP_PKEY_free(c->key);
    *c = (struct certificate){NULL, NULL};
}

static FILE *create(const char *dir, const char *name, const char *suffix)
{
    char path[256];
    assert_true(snprintf(path, sizeof(path), "%s/%s.%s", dir, name, suffix) < (int)sizeof(path));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    return f;
}

void certificate_write(const struct certificate *c, const char *dir, const char *name)
{
    FILE *f = create(dir, name, "pem");
    assert_int_equal(PEM_write_X509(f, c->x509), 1);
    assert_int_equal(fclose(f), 0);
    f = create(dir, name, "key");
    assert_int_equal(PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
}
