/* Answers of /sync, in the shapes of a real Synapse. */
#include "base/strbuf.h"
#include "matrix/matrix_sync.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void on_event(void *data, struct dc_slice room_id, const struct dc_matrix_event *e)
{
    struct dc_slice membership = dc_json_text(e->content, "membership");
    dc_strbuf_printf(data, "%.*s %s %.*s %.*s %.*s\n", DC_SLICE_ARG(room_id),
                     e->is_state ? "state" : "event", DC_SLICE_ARG(e->type),
                     DC_SLICE_ARG(e->state_key), DC_SLICE_ARG(membership));
}

static void on_typing(void *data, struct dc_slice room_id, const json_t *user_ids)
{
    dc_strbuf_printf(data, "%.*s typing %zu\n", DC_SLICE_ARG(room_id), json_array_size(user_ids));
}

static void on_left(void *data, struct dc_slice room_id)
{
    dc_strbuf_printf(data, "%.*s left\n", DC_SLICE_ARG(room_id));
}

static void on_invited(void *data, struct dc_slice room_id)
{
    dc_strbuf_printf(data, "%.*s invited\n", DC_SLICE_ARG(room_id));
}

static void on_presence(void *data, const struct dc_matrix_presence *p)
{
    dc_strbuf_printf(data, "%.*s %.*s %lld %.*s\n", DC_SLICE_ARG(p->user_id),
                     DC_SLICE_ARG(p->presence), (long long)p->last_active_ago_ms,
                     DC_SLICE_ARG(p->status_msg));
}

static const struct dc_matrix_sync_visitor visitor = {.event = on_event,
                                                      .typing = on_typing,
                                                      .left = on_left,
                                                      .invited = on_invited,
                                                      .presence = on_presence};

static void walk(const char *text, const char *expected, size_t expected_skipped)
{
    struct dc_strbuf seen = {0};
    struct dc_slice next;
    struct dc_error err = {0};
    size_t skipped = 0;
    json_t *json = NULL;
    assert_int_equal(dc_json_parse(dc_slice_z(text), &json, &err), DC_OK);
    assert_int_equal(dc_matrix_sync_walk(json, &visitor, &seen, &next, &skipped, &err), DC_OK);
    assert_true(dc_slice_eq(next, DC_S("s1_2")));
    dc_strbuf_add_char(&seen, '\0');
    assert_string_equal(seen.ptr, expected);
    assert_int_equal(skipped, expected_skipped);
    /* Nobody has to look at everything. */
    assert_int_equal(
        dc_matrix_sync_walk(json, &(struct dc_matrix_sync_visitor){0}, NULL, &next, &skipped, &err),
        DC_OK);
    dc_strbuf_free(&seen);
    json_decref(json);
}

static void an_empty_poll_has_nothing_but_the_place_to_go_on_from(void **state)
{
    (void)state;
    walk("{\"next_batch\":\"s1_2\",\"device_one_time_keys_count\":{\"signed_curve25519\":0}}", "",
         0);
}

static void state_comes_before_timeline_and_presence_last(void **state)
{
    (void)state;
    walk("{\"presence\":{\"events\":[{\"type\":\"m.presence\",\"sender\":\"@a:x\",\"content\":"
         "{\"presence\":\"online\",\"last_active_ago\":208,\"currently_active\":true}},"
         "{\"type\":\"m.presence\",\"sender\":\"@b:x\",\"content\":{\"presence\":\"unavailable\","
         "\"status_msg\":\"tea\"}}]},\"next_batch\":\"s1_2\",\"rooms\":{\"join\":{\"!r:x\":{"
         "\"ephemeral\":{\"events\":[{\"type\":\"m.typing\",\"content\":{\"user_ids\":[\"@a:x\","
         "\"@b:x\"]}},{\"type\":\"m.receipt\",\"content\":{}}]},"
         "\"timeline\":{\"limited\":true,\"events\":[{\"type\":\"m.room.member\",\"event_id\":\"$"
         "2\","
         "\"sender\":\"@b:x\",\"state_key\":\"@b:x\",\"origin_server_ts\":5,\"content\":"
         "{\"membership\":\"leave\"}},{\"type\":\"m.room.message\",\"event_id\":\"$3\",\"sender\":"
         "\"@a:x\",\"content\":{\"body\":\"hi\"}}]},"
         "\"state\":{\"events\":[{\"type\":\"m.room.member\",\"event_id\":\"$1\",\"sender\":\"@b:"
         "x\","
         "\"state_key\":\"@b:x\",\"content\":{\"membership\":\"join\"}}]}}},"
         "\"leave\":{\"!s:x\":{\"timeline\":{\"events\":[]}}},\"invite\":{\"!t:x\":{}}}}",
         "!r:x state m.room.member @b:x join\n"
         "!r:x event m.room.member @b:x leave\n"
         "!r:x event m.room.message  \n"
         "!r:x typing 2\n"
         "!s:x left\n"
         "!t:x invited\n"
         "@a:x online 208 \n"
         "@b:x unavailable -1 tea\n",
         0);
}

static void an_empty_typing_list_means_nobody(void **state)
{
    (void)state;
    walk("{\"next_batch\":\"s1_2\",\"rooms\":{\"join\":{\"!r:x\":{\"ephemeral\":{\"events\":[{"
         "\"type\":\"m.typing\",\"content\":{\"user_ids\":[]}}]}}}}}",
         "!r:x typing 0\n", 0);
}

static void what_is_odd_is_left_out_and_the_rest_is_heard(void **state)
{
    (void)state;
    walk(
        "{\"next_batch\":\"s1_2\",\"rooms\":{\"join\":{\"r:x\":{},\"!r:x\":7,\"!q:x\":{"
        "\"ephemeral\":{\"events\":[{\"type\":\"m.typing\",\"content\":{\"user_ids\":[\"@a:x\",7]}}"
        ","
        "{\"type\":\"m.typing\"},7]},"
        "\"timeline\":{\"events\":[7,{},{\"type\":\"m.room.member\",\"event_id\":\"$1\",\"sender\":"
        "\"nobody\",\"state_key\":\"\",\"content\":{}},{\"type\":\"m.room.member\",\"event_id\":"
        "\"$1\",\"sender\":\"@a:x\",\"state_key\":7,\"content\":{}},{\"type\":\"m.room.member\","
        "\"event_id\":\"$1\",\"sender\":\"@a:x\",\"state_key\":\"a\\u0000b\",\"content\":{}},"
        "{\"type\":\"m.room.name\",\"event_id\":\"$2\",\"sender\":\"@a:x\",\"state_key\":\"\","
        "\"content\":{\"name\":\"n\"}}]}}},\"leave\":[],\"invite\":null},"
        "\"presence\":{\"events\":[{\"type\":\"m.presence\",\"sender\":\"@a:x\",\"content\":"
        "{\"presence\":\"busy\"}},{\"type\":\"m.presence\",\"content\":{\"presence\":\"online\"}},"
        "{\"type\":\"org.other\"},{\"type\":\"m.presence\",\"sender\":\"@c:x\",\"content\":"
        "{\"presence\":\"offline\",\"last_active_ago\":-4,\"status_msg\":7}}]}}",
        "!q:x event m.room.name  \n"
        "@c:x offline -1 \n",
        11);
}

static void an_answer_without_a_place_to_go_on_from_is_bad(void **state)
{
    static const char *const bad[] = {"{}", "{\"next_batch\":7}", "{\"next_batch\":\"\"}",
                                      "{\"rooms\":{\"join\":{\"!r:x\":{}}}}"};
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(bad); i++) {
        struct dc_strbuf seen = {0};
        struct dc_slice next;
        struct dc_error err = {0};
        size_t skipped;
        json_t *json = NULL;
        assert_int_equal(dc_json_parse(dc_slice_z(bad[i]), &json, &err), DC_OK);
        assert_int_equal(dc_matrix_sync_walk(json, &visitor, &seen, &next, &skipped, &err),
                         DC_UPSTREAM);
        assert_string_equal(dc_error_code(&err), "matrix_bad_answer");
        assert_int_equal(seen.len, 0);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_poll_has_nothing_but_the_place_to_go_on_from),
        cmocka_unit_test(state_comes_before_timeline_and_presence_last),
        cmocka_unit_test(an_empty_typing_list_means_nobody),
        cmocka_unit_test(what_is_odd_is_left_out_and_the_rest_is_heard),
        cmocka_unit_test(an_answer_without_a_place_to_go_on_from_is_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
