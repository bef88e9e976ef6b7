/* REDIS_URL: what is understood, and that nothing secret is repeated. */
#include "base/slice.h"
#include "kv/redis_url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void assert_text(const char *got, const char *want)
{
    if (want == NULL) {
        assert_null(got);
    } else {
        assert_non_null(got);
        assert_string_equal(got, want);
    }
}

static void good_urls_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *url, *extra; /* REDIS_PASSWORD */
        const char *hosts, *master, *user, *password, *sentinel_password;
        unsigned db;
        bool is_tls;
    } rows[] = {
        {"redis://h", NULL, "h:6379 ", NULL, NULL, NULL, NULL, 0, false},
        {"redis://h/", NULL, "h:6379 ", NULL, NULL, NULL, NULL, 0, false},
        {"redis://h:1/15", NULL, "h:1 ", NULL, NULL, NULL, NULL, 15, false},
        {"redis://h?db=7", NULL, "h:6379 ", NULL, NULL, NULL, NULL, 7, false},
        {"redis://:pw@h/0", NULL, "h:6379 ", NULL, NULL, "pw", NULL, 0, false},
        {"redis://u:pw@h", "other", "h:6379 ", NULL, "u", "pw", NULL, 0, false},
        {"redis://u@h", "other", "h:6379 ", NULL, "u", "other", NULL, 0, false},
        {"redis://h", "other", "h:6379 ", NULL, NULL, "other", NULL, 0, false},
        {"redis://h", "", "h:6379 ", NULL, NULL, NULL, NULL, 0, false},
        {"redis://u%40x:p%2Fw%25@h", NULL, "h:6379 ", NULL, "u@x", "p/w%", NULL, 0, false},
        {"redis://u:p@w@h", NULL, "h:6379 ", NULL, "u", "p@w", NULL, 0, false},
        {"redis://u:p:w@h", NULL, "h:6379 ", NULL, "u", "p:w", NULL, 0, false},
        {"redis://[::1]", NULL, "::1:6379 ", NULL, NULL, NULL, NULL, 0, false},
        {"redis://:pw@[fe80::1%eth0]:7/2", NULL, "fe80::1%eth0:7 ", NULL, NULL, "pw", NULL, 2,
         false},
        {"redis+sentinel://a/m", NULL, "a:26379 ", "m", NULL, NULL, NULL, 0, false},
        {"rediss://u:pw@h", NULL, "h:6379 ", NULL, "u", "pw", NULL, 0, true},
        {"rediss://[::1]:7/2", NULL, "::1:7 ", NULL, NULL, NULL, NULL, 2, true},
        {"rediss+sentinel://a,b:1/m", NULL, "a:26379 b:1 ", "m", NULL, NULL, NULL, 0, true},
        {"redis+sentinel://u:pw@a,b:1,[::2]:3/main?db=4&sentinel_password=s%26p", NULL,
         "a:26379 b:1 ::2:3 ", "main", "u", "pw", "s&p", 4, false},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_redis_url u;
        struct dc_error err = {0};
        char hosts[256] = "";
        if (dc_redis_url_parse(rows[i].url, rows[i].extra, &u, &err) != DC_OK) {
            fail_msg("%s: %s", rows[i].url, dc_error_text(&err));
        }
        for (size_t k = 0; k < u.n_hosts; k++) {
            size_t len = strlen(hosts);
            snprintf(hosts + len, sizeof(hosts) - len, "%s:%u ", u.hosts[k].name, u.hosts[k].port);
        }
        assert_string_equal(hosts, rows[i].hosts);
        assert_text(u.master, rows[i].master);
        assert_text(u.user, rows[i].user);
        assert_text(u.password, rows[i].password);
        assert_text(u.sentinel_password, rows[i].sentinel_password);
        assert_int_equal(u.db, rows[i].db);
        assert_int_equal(u.is_tls, rows[i].is_tls);
        dc_redis_url_free(&u);
    }
}

static void bad_urls_are_refused_without_repeating_them(void **state)
{
    (void)state;
    static const struct {
        const char *url, *reason;
    } rows[] = {
        {"", "does not start"},
        {"hunter2", "does not start"},
        {"http://hunter2@h", "does not start"},
        {"redis:/hunter2", "does not start"},
        {"REDIS://hunter2", "does not start"},
        {"redis://", "host"},
        {"redis:///0", "host"},
        {"redis://hunter2@h", "a user without a password"},
        {"redis://hunter2:@h", "malformed user"},
        {"redis://:hunter2@", "host"},
        {"redis://:hunter2%@h", "malformed user"},
        {"redis://:hunter2%0@h", "malformed user"},
        {"redis://:hunter2%00@h", "malformed user"},
        {"redis://:hunter2%zz@h", "malformed user"},
        {"redis://:hunter2@h:", "host"},
        {"redis://:hunter2@h:0", "host"},
        {"redis://:hunter2@h:65536", "host"},
        {"redis://:hunter2@h:6379x", "host"},
        {"redis://:hunter2@h h", "host"},
        {"redis://:hunter2@::1", "host"},
        {"redis://:hunter2@[::1", "host"},
        {"redis://:hunter2@[::1]x", "host"},
        {"redis://:hunter2@a,b", "host"},
        {"redis://:hunter2@h/x", "database"},
        {"redis://:hunter2@h/-1", "database"},
        {"redis://:hunter2@h/0/1", "database"},
        {"redis://:hunter2@h/1000001", "database"},
        {"redis://:hunter2@h?db=x", "db"},
        {"redis://:hunter2@h?db=1&timeout=3", "settings besides db"},
        {"redis://h?password=hunter2", "settings besides db"},
        {"redis://h?sentinel_password=hunter2", "settings besides db"},
        {"redisss://:hunter2@h", "does not start"},
        {"rediss:/:hunter2@h", "does not start"},
        {"rediss://:hunter2@", "host"},
        {"rediss://:hunter2@a,b", "host"},
        {"rediss+sentinel://:hunter2@h", "master-name"},
        {"redis+sentinel://", "master-name"},
        {"redis+sentinel://a,b", "master-name"},
        {"redis+sentinel://a,b/", "master-name"},
        {"redis+sentinel:///m", "master-name"},
        {"redis+sentinel://a,,b/m", "list of sentinels"},
        {"redis+sentinel://a,b:0/m", "list of sentinels"},
        {"redis+sentinel://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17/m", "list of sentinels"},
        {"redis+sentinel://a/m%0", "master-name"},
        {"redis+sentinel://a/m?sentinel_password=", "sentinel_password"},
        {"redis+sentinel://a/m?sentinel_password=hunter2%", "sentinel_password"},
        {"redis+sentinel://a/m?sentinel_password=a&sentinel_password=hunter2", "settings besides"},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_redis_url u;
        struct dc_error err = {0};
        assert_int_equal(dc_redis_url_parse(rows[i].url, NULL, &u, &err), DC_CONFIG);
        if (strncmp(err.text, "REDIS_URL ", 10) != 0 || strstr(err.text, rows[i].reason) == NULL ||
            strstr(err.text, "hunter2") != NULL) {
            fail_msg("%s: %s", rows[i].url, err.text);
        }
        assert_null(u.password); /* nothing is left to be freed */
        assert_int_equal(u.n_hosts, 0);
    }
}

static void endless_parts_are_refused(void **state)
{
    (void)state;
    char url[4096];
    struct dc_redis_url u;

    memset(url, 'a', sizeof(url));
    memcpy(url, "redis://:", 9);
    memcpy(url + sizeof(url) - 3, "@h", 3);
    assert_int_equal(dc_redis_url_parse(url, NULL, &u, NULL), DC_CONFIG);
    url[sizeof(url) - 3] = 'a';
    url[8] = 'a';
    assert_int_equal(dc_redis_url_parse(url, NULL, &u, NULL), DC_CONFIG);
    memcpy(url, "redis+sentinel://h/", 19);
    assert_int_equal(dc_redis_url_parse(url, NULL, &u, NULL), DC_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls_are_understood),
        cmocka_unit_test(bad_urls_are_refused_without_repeating_them),
        cmocka_unit_test(endless_parts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
