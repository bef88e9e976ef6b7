/* Answers of homeservers, good and bad. */
#include "matrix/matrix_read.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static json_t *parse(const char *text)
{
    json_t *json = NULL;
    assert_int_equal(dc_json_parse(dc_slice_z(text), &json, NULL), DC_OK);
    return json;
}

static void a_room_id_is_read_or_the_answer_is_bad(void **state)
{
    static const char *const bad[] = {"{}",
                                      "{\"room_id\":null}",
                                      "{\"room_id\":7}",
                                      "{\"room_id\":\"\"}",
                                      "{\"room_id\":\"abc:example.org\"}",
                                      "{\"room_id\":\"!a\\u0000b:example.org\"}",
                                      "{\"room_id\":\"!a b:example.org\"}"};
    struct dc_slice id;
    struct dc_error err = {0};
    json_t *json = parse("{\"room_id\":\"!abc:example.org\",\"servers\":[\"example.org\"]}");
    (void)state;
    assert_int_equal(dc_matrix_read_room_id(json, &id, &err), DC_OK);
    assert_true(dc_slice_eq(id, DC_S("!abc:example.org")));
    json_decref(json);
    for (size_t i = 0; i < DC_ARRAY_LEN(bad); i++) {
        json = parse(bad[i]);
        assert_int_equal(dc_matrix_read_room_id(json, &id, &err), DC_UPSTREAM);
        assert_string_equal(dc_error_code(&err), "matrix_bad_answer");
        json_decref(json);
    }
}

static void a_user_of_another_server_names_the_setting_that_is_wrong(void **state)
{
    struct dc_slice id;
    struct dc_error err = {0};
    json_t *json = parse("{\"user_id\":\"@daarion-city:example.org\",\"is_guest\":false}");
    (void)state;
    assert_int_equal(dc_matrix_read_user_id(json, DC_S("example.org"), &id, &err), DC_OK);
    assert_true(dc_slice_eq(id, DC_S("@daarion-city:example.org")));
    assert_int_equal(dc_matrix_read_user_id(json, DC_S("daarion.space"), &id, &err), DC_CONFIG);
    assert_string_equal(dc_error_code(&err), "matrix_misconfigured");
    assert_non_null(strstr(err.text, "MATRIX_SERVER_NAME"));
    assert_non_null(strstr(err.text, "example.org"));
    json_decref(json);
    json = parse("{\"user_id\":\"nobody\"}");
    assert_int_equal(dc_matrix_read_user_id(json, DC_S("example.org"), &id, &err), DC_UPSTREAM);
    assert_int_equal(dc_matrix_read_user(json, "user_id", &id, &err), DC_UPSTREAM);
    json_decref(json);
}

static void a_token_can_stand_in_a_header_or_is_refused(void **state)
{
    struct dc_slice token;
    struct dc_slice device;
    struct dc_error err = {0};
    json_t *json = parse("{\"access_token\":\"syt_x\",\"device_id\":\"ABC\"}");
    (void)state;
    assert_int_equal(dc_matrix_read_login(json, &token, &device, &err), DC_OK);
    assert_true(dc_slice_eq(token, DC_S("syt_x")));
    assert_true(dc_slice_eq(device, DC_S("ABC")));
    json_decref(json);
    json = parse("{\"access_token\":\"syt_x\"}"); /* an administrator's login has no device */
    assert_int_equal(dc_matrix_read_login(json, &token, &device, &err), DC_OK);
    assert_null(device.ptr);
    json_decref(json);
    json = parse("{\"access_token\":\"a\\r\\nX: y\",\"device_id\":\"ABC\"}");
    assert_int_equal(dc_matrix_read_login(json, &token, &device, &err), DC_UPSTREAM);
    json_decref(json);
    json = parse("{\"nonce\":\"abc\"}");
    assert_int_equal(dc_matrix_read_nonce(json, &token, &err), DC_OK);
    assert_int_equal(dc_matrix_read_login(json, &token, &device, &err), DC_UPSTREAM);
    json_decref(json);
    json = parse("{\"nonce\":[]}");
    assert_int_equal(dc_matrix_read_nonce(json, &token, &err), DC_UPSTREAM);
    json_decref(json);
}

static void texts_of_strangers_may_be_missing_or_odd(void **state)
{
    json_t *json = parse("{\"name\":\"DAARION City \\u2014 Energy\",\"topic\":null,\"n\":7,"
                         "\"nul\":\"a\\u0000b\"}");
    (void)state;
    assert_true(
        dc_slice_eq(dc_matrix_read_text(json, "name"), DC_S("DAARION City \xE2\x80\x94 Energy")));
    assert_null(dc_matrix_read_text(json, "topic").ptr);
    assert_null(dc_matrix_read_text(json, "n").ptr);
    assert_null(dc_matrix_read_text(json, "nul").ptr);
    assert_null(dc_matrix_read_text(json, "missing").ptr);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_room_id_is_read_or_the_answer_is_bad),
        cmocka_unit_test(a_user_of_another_server_names_the_setting_that_is_wrong),
        cmocka_unit_test(a_token_can_stand_in_a_header_or_is_refused),
        cmocka_unit_test(texts_of_strangers_may_be_missing_or_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
