/* Authorities and certificates for tests of TLS, made on the spot. */
#ifndef DC_TESTS_UNIT_KV_CERTIFICATES_H
#define DC_TESTS_UNIT_KV_CERTIFICATES_H

#include <openssl/x509.h>
#include <stdbool.h>

struct certificate {
    X509 *x509;
    EVP_PKEY *key;
};

struct certificate_opts {
    const char *names;                /* "DNS:localhost,IP:127.0.0.1"; NULL: an authority */
    const struct certificate *issuer; /* NULL: itself */
    long from_s, to_s;                /* from now; 0, 0: an hour around now */
};

struct certificate certificate_make(const struct certificate_opts *opts);
void certificate_free(struct certificate *c);
/* Writes DIR/NAME.pem and DIR/NAME.key. */
void certificate_write(const struct certificate *c, const char *dir, const char *name);

#endif
