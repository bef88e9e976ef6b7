#include "bus/nats_url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *text(const char *t)
{
    return t == NULL ? "-" : t;
}

/* host address user password token tls, for each server. */
static void describe(const struct dc_nats_url *u, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < u->n; i++) {
        const struct dc_nats_server *s = &u->servers[i];
        size_t len = strlen(out);
        snprintf(out + len, size - len, "%s%s %s %s %s %s %d", i == 0 ? "" : "|", s->host,
                 s->address, text(s->user), text(s->password), text(s->token), s->is_tls);
    }
}

static void servers_users_and_schemes_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *url, *expected;
    } rows[] = {
        {"nats://a", "a nats://a:4222 - - - 0"},
        {"nats://a:1/", "a nats://a:1 - - - 0"},
        {"tls://a.example:65535", "a.example nats://a.example:65535 - - - 1"},
        {"nats://u:p@a", "a nats://a:4222 u p - 0"},
        {"nats://t@a", "a nats://a:4222 - - t 0"},
        {"nats://u:@a", "a nats://a:4222 u  - 0"},
        {"nats://u:p%40%3A%2F@a", "a nats://a:4222 u p@:/ - 0"},
        {"nats://u:p@ss:w@a", "a nats://a:4222 u p@ss:w - 0"},
        {"nats://a,b:2", "a nats://a:4222 - - - 0|b nats://b:2 - - - 0"},
        {"tls://u:p@a, b", "a nats://a:4222 u p - 1|b nats://b:4222 u p - 1"},
        {"nats://u:p@a,nats://t@b", "a nats://a:4222 u p - 0|b nats://b:4222 - - t 0"},
        {"nats://a,tls://b,c",
         "a nats://a:4222 - - - 0|b nats://b:4222 - - - 1|c nats://c:4222 - - - 0"},
        {"nats://[::1]:7", "::1 nats://[::1]:7 - - - 0"},
        {"nats://[fe80::1%25eth0]", "fe80::1%25eth0 nats://[fe80::1%25eth0]:4222 - - - 0"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_nats_url u;
        struct dc_error err = {0};
        char found[256] = "";
        if (dc_nats_url_parse(rows[i].url, &u, &err) == DC_OK) {
            describe(&u, found, sizeof(found));
        }
        if (strcmp(found, rows[i].expected) != 0) {
            fail_msg("%s: %s %s", rows[i].url, found, err.text);
        }
        dc_nats_url_free(&u);
    }
}

static void anything_else_is_refused_without_being_repeated(void **state)
{
    (void)state;
    static const char *const rows[] = {"",
                                       "a",
                                       "http://hush",
                                       "nats://",
                                       "nats://hush:0@",
                                       "nats://@a",
                                       "nats://:hush@a",
                                       "nats://hush%zz@a",
                                       "nats://u:hush%00@a",
                                       "nats://u:hush%@a",
                                       "nats://hush:70000",
                                       "nats://hush:0",
                                       "nats://hush:1x",
                                       "nats://hush:",
                                       "nats://a/hush",
                                       "nats://a?hush=1",
                                       "nats://[::1",
                                       "nats://[]",
                                       "nats://[hush!]",
                                       "nats://a,,hush",
                                       "nats://a b hush",
                                       "nats://hush\x01",
                                       "nats://a,http://hush",
                                       "nats://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,hush"};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_nats_url u;
        struct dc_error err = {0};
        if (dc_nats_url_parse(rows[i], &u, &err) != DC_CONFIG || u.n != 0 ||
            strstr(err.text, "NATS_URL") == NULL || strstr(err.text, "hush") != NULL) {
            fail_msg("row %zu: %s: %s", i, rows[i], err.text);
        }
        dc_nats_url_free(&u); /* harmless */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_users_and_schemes_are_found),
        cmocka_unit_test(anything_else_is_refused_without_being_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
