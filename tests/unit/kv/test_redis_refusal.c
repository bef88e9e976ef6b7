/* Error answers of Redis. */
#include "kv/redis_refusal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void every_answer_has_one_meaning(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum dc_status status;
        enum dc_redis_remedy remedy;
        const char *code;
    } rows[] = {
        {"NOSCRIPT No matching script. Please use EVAL.", DC_UNAVAILABLE, DC_REDIS_EVAL,
         "unavailable"},
        {"LOADING Redis is loading the dataset in memory", DC_UNAVAILABLE, DC_REDIS_PASSES,
         "unavailable"},
        {"BUSY Redis is busy running a script.", DC_UNAVAILABLE, DC_REDIS_PASSES, "unavailable"},
        {"TRYAGAIN Multiple keys request", DC_UNAVAILABLE, DC_REDIS_PASSES, "unavailable"},
        {"ERR max number of clients reached", DC_UNAVAILABLE, DC_REDIS_PASSES, "unavailable"},
        {"READONLY You can't write against a read only replica.", DC_UNAVAILABLE,
         DC_REDIS_RECONNECT, "unavailable"},
        {"MASTERDOWN Link with MASTER is down", DC_UNAVAILABLE, DC_REDIS_RECONNECT, "unavailable"},
        {"NOAUTH Authentication required.", DC_CONFIG, DC_REDIS_RECONNECT, "refused"},
        {"WRONGPASS invalid username-password pair", DC_CONFIG, DC_REDIS_RECONNECT, "refused"},
        {"NOPERM User x has no permissions", DC_CONFIG, DC_REDIS_STANDING, "refused"},
        {"OOM command not allowed when used memory > 'maxmemory'.", DC_LIMIT, DC_REDIS_STANDING,
         "store_full"},
        {"MISCONF Redis is configured to save RDB snapshots", DC_UNAVAILABLE, DC_REDIS_STANDING,
         "unavailable"},
        {"NOREPLICAS Not enough good replicas to write.", DC_UNAVAILABLE, DC_REDIS_STANDING,
         "unavailable"},
        {"MOVED 3999 127.0.0.1:6381", DC_CONFIG, DC_REDIS_STANDING, "refused"},
        {"CLUSTERDOWN The cluster is down", DC_CONFIG, DC_REDIS_STANDING, "refused"},
        {"WRONGTYPE Operation against a key", DC_INTERNAL, DC_REDIS_THIS_CALL, "internal"},
        {"ERR unknown command 'X', with args beginning with: 'hunter2'", DC_INTERNAL,
         DC_REDIS_THIS_CALL, "internal"},
        /* As version 6 wraps what a script met. */
        {"ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command "
         "not allowed",
         DC_LIMIT, DC_REDIS_STANDING, "store_full"},
        {"ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write",
         DC_UNAVAILABLE, DC_REDIS_RECONNECT, "unavailable"},
        {"ERR Error running script: -", DC_INTERNAL, DC_REDIS_THIS_CALL, "internal"},
        {"ERR Error ", DC_INTERNAL, DC_REDIS_THIS_CALL, "internal"},
        /* Words that only begin like one. */
        {"LOADINGX", DC_INTERNAL, DC_REDIS_THIS_CALL, "internal"},
        {"OOM", DC_LIMIT, DC_REDIS_STANDING, "store_full"},
        {"", DC_INTERNAL, DC_REDIS_THIS_CALL, "internal"},
        {"\xff\xfe", DC_INTERNAL, DC_REDIS_THIS_CALL, "internal"},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const struct dc_redis_refusal *r = dc_redis_refusal_find(dc_slice_z(rows[i].answer));
        struct dc_error err;
        if (r->status != rows[i].status || r->remedy != rows[i].remedy) {
            fail_msg("%s: %s", rows[i].answer, r->word);
        }
        assert_int_equal(dc_redis_refusal_fail(r, &err), rows[i].status);
        assert_string_equal(dc_error_code(&err), rows[i].code);
        assert_null(strstr(err.text, "hunter2"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_answer_has_one_meaning)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
