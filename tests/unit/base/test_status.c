#include "base/status.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the four above */
#include <cmocka.h>
#include <errno.h>
#include <limits.h>

static void every_status_has_a_number_a_code_and_a_text(void **state)
{
    (void)state;
    for (int i = 0; i < DC_STATUS_COUNT; i++) {
        enum dc_status st = (enum dc_status)i;
        int http = dc_status_http(st);
        assert_in_range(http, 200, 599);
        assert_true(strlen(dc_status_code(st)) > 0);
        assert_true(strlen(dc_status_text(st)) > 0);
        assert_int_equal(strspn(dc_status_code(st), "abcdefghijklmnopqrstuvwxyz_"),
                         strlen(dc_status_code(st)));
        /* only what may pass by itself is worth another try */
        if (dc_status_is_retryable(st)) {
            assert_true(http == 429 || http >= 502);
        }
    }
}

static void rows_belong_to_their_status(void **state)
{
    (void)state;
    static const struct {
        enum dc_status st;
        int http;
        const char *code;
        bool is_retryable;
    } rows[] = {
        {DC_OK, 200, "ok", false},
        {DC_MALFORMED, 400, "bad_request", false},
        {DC_INVALID, 422, "invalid_input", false},
        {DC_LIMIT, 429, "rate_limited", true},
        {DC_NO_MEMORY, 503, "out_of_memory", true},
        {DC_CONFIG, 500, "configuration", false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        assert_int_equal(dc_status_http(rows[i].st), rows[i].http);
        assert_string_equal(dc_status_code(rows[i].st), rows[i].code);
        assert_int_equal(dc_status_is_retryable(rows[i].st), rows[i].is_retryable);
    }
}

static void a_number_gives_the_first_status_that_has_it(void **state)
{
    (void)state;
    static const struct {
        int http;
        enum dc_status st;
    } rows[] = {
        {200, DC_OK},       {400, DC_MALFORMED},   {404, DC_NOT_FOUND},
        {500, DC_INTERNAL}, {503, DC_UNAVAILABLE}, {504, DC_TIMEOUT},
        {418, DC_INTERNAL}, {0, DC_INTERNAL},      {-1, DC_INTERNAL},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        assert_int_equal(dc_status_from_http(rows[i].http), rows[i].st);
    }
}

static void failing_fills_the_error_and_returns_the_status(void **state)
{
    (void)state;
    struct dc_error err = {.code = "old"};
    assert_int_equal(dc_fail(&err, DC_CLOSED, -104, "redis %s:%d", "local", 6379), DC_CLOSED);
    assert_int_equal(err.status, DC_CLOSED);
    assert_int_equal(err.cause, -104);
    assert_string_equal(dc_error_text(&err), "redis local:6379");
    assert_string_equal(dc_error_code(&err), "closed");
}

static void a_specific_code_replaces_the_code_of_the_status(void **state)
{
    (void)state;
    struct dc_error err = {.cause = 7};
    assert_int_equal(dc_fail_code(&err, DC_CONFLICT, "slug_taken", "%s", ""), DC_CONFLICT);
    assert_string_equal(dc_error_code(&err), "slug_taken");
    assert_int_equal(err.cause, 0);
    assert_string_equal(dc_error_text(&err), "already exists");
}

static void nobody_needs_to_ask_for_the_error(void **state)
{
    (void)state;
    assert_int_equal(dc_fail(NULL, DC_TIMEOUT, 0, "%d", 1), DC_TIMEOUT);
    assert_int_equal(dc_fail_code(NULL, DC_CONFLICT, "x", "%d", 1), DC_CONFLICT);
}

static void every_errno_value_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(dc_errno_text(ENOENT), "No such file or directory");
    assert_string_equal(dc_errno_text(EACCES), "Permission denied");
    assert_string_equal(dc_errno_text(-1), "unknown error");
    assert_string_equal(dc_errno_text(INT_MAX), "unknown error");
}

static void a_long_text_is_cut(void **state)
{
    (void)state;
    struct dc_error err;
    char text[400];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(dc_fail(&err, DC_INTERNAL, 0, "%s", text), DC_INTERNAL);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_number_a_code_and_a_text),
        cmocka_unit_test(rows_belong_to_their_status),
        cmocka_unit_test(a_number_gives_the_first_status_that_has_it),
        cmocka_unit_test(failing_fills_the_error_and_returns_the_status),
        cmocka_unit_test(a_specific_code_replaces_the_code_of_the_status),
        cmocka_unit_test(nobody_needs_to_ask_for_the_error),
        cmocka_unit_test(every_errno_value_has_a_text),
        cmocka_unit_test(a_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
