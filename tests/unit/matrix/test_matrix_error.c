/* What becomes of a homeserver's refusals.  Bodies are those of a real Synapse. */
#include "matrix/matrix_error.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    int http;
    const char *body; /* NULL: no JSON object */
    enum dc_status st;
    const char *code;
} rows[] = {
    {401, "{\"errcode\":\"M_UNKNOWN_TOKEN\",\"error\":\"Invalid access token passed.\"}",
     DC_UNAUTHORIZED, "matrix_token_refused"},
    {401, "{\"errcode\":\"M_MISSING_TOKEN\",\"error\":\"Missing access token\"}", DC_UNAUTHORIZED,
     "matrix_token_refused"},
    {401, "{\"errcode\":\"M_USER_LOCKED\",\"soft_logout\":true}", DC_FORBIDDEN,
     "matrix_user_deactivated"},
    {403, "{\"errcode\":\"M_USER_DEACTIVATED\"}", DC_FORBIDDEN, "matrix_user_deactivated"},
    {403, "{\"errcode\":\"M_FORBIDDEN\"}", DC_FORBIDDEN, "matrix_forbidden"},
    {403, "{\"errcode\":\"M_UNKNOWN\",\"error\":\"HMAC incorrect\"}", DC_FORBIDDEN,
     "matrix_forbidden"},
    {404, "{\"errcode\":\"M_NOT_FOUND\"}", DC_NOT_FOUND, "not_found"},
    {404, "{\"errcode\":\"M_UNKNOWN\",\"error\":\"User not found\"}", DC_NOT_FOUND, "not_found"},
    {404, "{\"errcode\":\"M_UNRECOGNIZED\"}", DC_UPSTREAM, "matrix_bad_answer"},
    {400, "{\"errcode\":\"M_ROOM_IN_USE\"}", DC_CONFLICT, "matrix_in_use"},
    {400, "{\"errcode\":\"M_USER_IN_USE\"}", DC_CONFLICT, "matrix_in_use"},
    {409, "{\"errcode\":\"M_UNKNOWN\",\"error\":\"Room alias #a:b already exists\"}", DC_CONFLICT,
     "matrix_in_use"},
    {400, "{\"errcode\":\"M_EXCLUSIVE\"}", DC_CONFLICT, "matrix_exclusive"},
    {400, "{\"errcode\":\"M_UNKNOWN\"}", DC_UPSTREAM, "matrix_bad_answer"},
    {403, "{\"errcode\":\"M_RESOURCE_LIMIT_EXCEEDED\"}", DC_UNAVAILABLE, "matrix_unavailable"},
    {429, "{\"errcode\":\"M_LIMIT_EXCEEDED\",\"retry_after_ms\":5}", DC_LIMIT, "rate_limited"},
    {429, NULL, DC_LIMIT, "rate_limited"},
    {500, "{\"errcode\":\"M_UNKNOWN\",\"error\":\"Internal server error\"}", DC_UPSTREAM,
     "matrix_bad_answer"},
    /* A code means nothing when the server has failed. */
    {500, "{\"errcode\":\"M_NOT_FOUND\"}", DC_UPSTREAM, "matrix_bad_answer"},
    {502, NULL, DC_UNAVAILABLE, "matrix_unavailable"},
    {503, NULL, DC_UNAVAILABLE, "matrix_unavailable"},
    {504, "{}", DC_UNAVAILABLE, "matrix_unavailable"},
    /* Somebody else answers. */
    {404, NULL, DC_UPSTREAM, "matrix_bad_answer"},
    {403, "{}", DC_UPSTREAM, "matrix_bad_answer"},
    {302, NULL, DC_UPSTREAM, "matrix_bad_answer"},
    {418, "{\"errcode\":7}", DC_UPSTREAM, "matrix_bad_answer"},
};

static void every_refusal_has_its_status_and_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_error err = {0};
        json_t *json = NULL;
        if (rows[i].body != NULL) {
            assert_int_equal(dc_json_parse(dc_slice_z(rows[i].body), &json, NULL), DC_OK);
        }
        enum dc_status st = dc_matrix_error_of_answer(rows[i].http, json, &err);
        if (st != rows[i].st || strcmp(dc_error_code(&err), rows[i].code) != 0) {
            fail_msg("%d %s: %d %s", rows[i].http, rows[i].body, (int)st, dc_error_code(&err));
        }
        assert_int_equal(err.status, st);
        json_decref(json);
    }
}

static void the_homeservers_words_do_not_go_on(void **state)
{
    struct dc_error err = {0};
    json_t *json = json_pack("{s:s,s:s}", "errcode", "ORG.EXAMPLE_X\x1b[31m syt_secret", "error",
                             "token syt_secret is bad");
    (void)state;
    assert_int_equal(dc_matrix_error_of_answer(400, json, &err), DC_UPSTREAM);
    assert_null(strstr(err.text, "secret"));
    assert_null(strchr(err.text, '\x1b'));
    assert_non_null(strstr(err.text, "ORG.EXAMPLE_X"));
    json_decref(json);
}

static void a_connection_that_fails_is_unavailable_or_late(void **state)
{
    struct dc_error err = {0};
    struct dc_error cause = {.status = DC_UPSTREAM, .cause = 7, .text = "Connection refused"};
    (void)state;
    assert_int_equal(dc_matrix_error_of_connection(DC_UPSTREAM, &cause, &err), DC_UNAVAILABLE);
    assert_string_equal(dc_error_code(&err), "matrix_unavailable");
    assert_non_null(strstr(err.text, "Connection refused"));
    assert_int_equal(dc_matrix_error_of_connection(DC_TIMEOUT, &cause, &err), DC_TIMEOUT);
    assert_string_equal(dc_error_code(&err), "matrix_timeout");
    assert_int_equal(dc_matrix_error_of_connection(DC_CANCELED, NULL, &err), DC_CANCELED);
    assert_int_equal(dc_matrix_error_of_connection(DC_NO_MEMORY, NULL, &err), DC_NO_MEMORY);
    assert_int_equal(dc_matrix_error_of_connection(DC_LIMIT, NULL, &err), DC_UNAVAILABLE);
}

static void only_a_sensible_pause_is_believed(void **state)
{
    static const struct {
        const char *body;
        int64_t ms;
    } pauses[] = {
        {"{\"retry_after_ms\":1234}", 1234},
        {"{\"retry_after_ms\":0}", 0},
        {"{\"retry_after_ms\":-5}", -1},
        {"{\"retry_after_ms\":\"5\"}", -1},
        {"{\"retry_after_ms\":1.5}", -1},
        {"{}", -1},
        {"{\"retry_after_ms\":9223372036854775807}", INT64_C(24) * 3600 * 1000},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(pauses); i++) {
        json_t *json = NULL;
        assert_int_equal(dc_json_parse(dc_slice_z(pauses[i].body), &json, NULL), DC_OK);
        assert_int_equal(dc_matrix_retry_after_ms(json), pauses[i].ms);
        json_decref(json);
    }
    assert_int_equal(dc_matrix_retry_after_ms(NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refusal_has_its_status_and_code),
        cmocka_unit_test(the_homeservers_words_do_not_go_on),
        cmocka_unit_test(a_connection_that_fails_is_unavailable_or_late),
        cmocka_unit_test(only_a_sensible_pause_is_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
