/* Transactions of a homeserver, taken apart. */
#include "base/mem.h"
#include "matrix/matrix_push.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void the_list_of_events_is_found_and_taken_apart(void **state)
{
    static const struct {
        const char *body;
        const char *events; /* joined by ~; NULL: no JSON object */
        bool is_broken;
    } rows[] = {
        {"{}", "", false},
        {" { } ", "", false},
        {"{\"events\":[]}", "", false},
        {"{\"events\":7}", "", false},
        {"{\"events\":null,\"a\":1}", "", false},
        {"{\"events\":[1]}", "1", false},
        {" {\n\"a\" : [ {\"events\":[9]} , \"]}\" ] , \"events\" : [ {\"x\":[]} , \"]\" ,\ttrue ] "
         "}",
         "{\"x\":[]}~\"]\"~true", false},
        {"{\"e\\\"}\":{},\"events\":[\"\\\"]\",{\"a\":\"\\\\\"}]}", "\"\\\"]\"~{\"a\":\"\\\\\"}",
         false},
        {"{\"events\":[[[[]]]]}", "[[[]]]", false},
        {"", NULL, false},
        {"[]", NULL, false},
        {"{", NULL, false},
        {"{\"a\"", NULL, false},
        {"{\"a\":", NULL, false},
        {"{\"a\":1", NULL, false},
        {"{\"a\":\"1", NULL, false},
        {"{a:1}", NULL, false},
        {"{\"events\":[", "", true},
        {"{\"events\":[1", "1", true},
        {"{\"events\":[1 2]}", "1", true},
        {"{\"events\":[}", "", true},
        {"{\"events\":[{\"a\":1]", "{\"a\":1]", true},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_matrix_push push;
        struct dc_slice event;
        struct dc_strbuf got = {0};
        /* On the heap, without a NUL: nothing may be read behind it. */
        size_t len = strlen(rows[i].body);
        char *copy = dc_alloc(len > 0 ? len : 1);
        memcpy(copy, rows[i].body, len);
        bool is_object = dc_matrix_push_open(dc_slice_make(copy, len), &push);
        if (is_object != (rows[i].events != NULL)) {
            fail_msg("row %zu", i);
        }
        while (is_object && dc_matrix_push_next(&push, &event)) {
            if (got.len > 0) {
                dc_strbuf_add_char(&got, '~');
            }
            dc_strbuf_add(&got, event);
        }
        /* An element that is cut off is not one. */
        if (is_object && (push.is_broken != rows[i].is_broken ||
                          (!rows[i].is_broken &&
                           !dc_slice_eq(dc_strbuf_slice(&got), dc_slice_z(rows[i].events))))) {
            fail_msg("row %zu: %.*s", i, DC_SLICE_ARG(dc_strbuf_slice(&got)));
        }
        dc_strbuf_free(&got);
        dc_free(copy);
    }
}

#define EVENT                                                                                      \
    "{\"event_id\":\"$e\",\"room_id\":\"!r:s\",\"type\":\"m.room.message\",\"sender\":\"@a:s\","   \
    "\"content\":{\"msgtype\":\"m.text\",\"body\":\"hi\"}}"

static void an_event_has_what_an_event_has(void **state)
{
    static const char *const bad[] = {
        "7",
        "[]",
        "{}",
        "{\"event_id\":\"$e\"}",
        "{\"event_id\":\"e\",\"room_id\":\"!r:s\",\"type\":\"t\",\"sender\":\"@a:s\",\"content\":{}"
        "}",
        "{\"event_id\":\"$\",\"room_id\":\"!r:s\",\"type\":\"t\",\"sender\":\"@a:s\",\"content\":{}"
        "}",
        "{\"event_id\":\"$e\",\"room_id\":\"r:s\",\"type\":\"t\",\"sender\":\"@a:s\",\"content\":{}"
        "}",
        "{\"event_id\":\"$e\",\"room_id\":\"!r:s\",\"type\":\"\",\"sender\":\"@a:s\",\"content\":{}"
        "}",
        "{\"event_id\":\"$e\",\"room_id\":\"!r:s\",\"type\":\"t\",\"sender\":\"a:s\",\"content\":{}"
        "}",
        "{\"event_id\":\"$e\",\"room_id\":\"!r:s\",\"type\":\"t\",\"sender\":\"@a:s\",\"content\":["
        "]}",
        "{\"event_id\":\"$e "
        "f\",\"room_id\":\"!r:s\",\"type\":\"t\",\"sender\":\"@a:s\",\"content\":{}}",
    };
    struct dc_matrix_pushed event;
    struct dc_error err = {0};
    (void)state;
    assert_int_equal(dc_matrix_push_read(DC_S(EVENT), &event, &err), DC_OK);
    assert_true(dc_slice_eq(event.event_id, DC_S("$e")));
    assert_true(dc_slice_eq(event.room_id, DC_S("!r:s")));
    assert_true(dc_slice_eq(event.sender, DC_S("@a:s")));
    assert_true(dc_slice_eq(event.type, DC_S("m.room.message")));
    assert_null(event.state_key.ptr);
    json_decref(event.json);
    for (size_t i = 0; i < DC_ARRAY_LEN(bad); i++) {
        if (dc_matrix_push_read(dc_slice_z(bad[i]), &event, &err) != DC_MALFORMED) {
            fail_msg("row %zu", i);
        }
    }
}

static void a_message_says_what_it_says(void **state)
{
#define IN_REPLY "\"m.relates_to\":{\"m.in_reply_to\":{\"event_id\":\"$x\"}}}"
    static const struct {
        const char *content;
        const char *text; /* NULL: nothing */
    } rows[] = {
        {"{\"msgtype\":\"m.text\",\"body\":\"hi\"}", "hi"},
        {"{\"msgtype\":\"m.notice\",\"body\":\" hi\\n\"}", " hi\n"},
        {"{\"msgtype\":\"m.emote\",\"body\":\"waves\"}", "* waves"},
        {"{\"msgtype\":\"m.video\",\"body\":\"a.mp4\"}", "[video] a.mp4"},
        {"{\"msgtype\":\"org.example\",\"body\":\"x\"}", "x"},
        {"{}", NULL},
        {"{\"msgtype\":\"m.text\"}", NULL},
        {"{\"msgtype\":\"m.text\",\"body\":\"\"}", NULL},
        {"{\"msgtype\":\"m.text\",\"body\":1}", NULL},
        {"{\"msgtype\":\"m.text\",\"body\":\"a\\u0000b\"}", NULL},
        {"{\"body\":\"hi\"}", NULL},
        {"{\"msgtype\":\"m.text\",\"body\":\" \\n\\u2003\"}", NULL},
        {"{\"msgtype\":\"m.text\",\"body\":\"> <@a:b> hi\\n> there\\n\\nyes\\n> no\"," IN_REPLY,
         "yes\n> no"},
        {"{\"msgtype\":\"m.text\",\"body\":\"yes\"," IN_REPLY, "yes"},
        {"{\"msgtype\":\"m.text\",\"body\":\"> a\\nb\"," IN_REPLY, "> a\nb"},
        {"{\"msgtype\":\"m.text\",\"body\":\"> a\"," IN_REPLY, "> a"},
        {"{\"msgtype\":\"m.text\",\"body\":\"> a\\n\\nb\"}", "> a\n\nb"},
        {"{\"msgtype\":\"m.text\",\"body\":\"> a\\n\\n\"," IN_REPLY, NULL},
    };
#undef IN_REPLY
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf out = {0};
        json_t *json = NULL;
        assert_int_equal(dc_json_parse(dc_slice_z(rows[i].content), &json, NULL), DC_OK);
        bool has_text = dc_matrix_message_text(json, &out);
        if (has_text != (rows[i].text != NULL) ||
            (has_text && !dc_slice_eq(dc_strbuf_slice(&out), dc_slice_z(rows[i].text)))) {
            fail_msg("row %zu", i);
        }
        dc_strbuf_free(&out);
        json_decref(json);
    }
}

static void a_display_name_is_one_line(void **state)
{
    static const struct {
        const char *name, *shown;
    } rows[] = {
        {"Ada", "Ada"},
        {"  Ada  ", "Ada"},
        {"", NULL},
        {"   ", NULL},
        {"A\nB", NULL},
        {"A\x07", NULL},
        {"A\xC2\x85 Z", NULL},
        {"A\xE2\x80\xA8 Z", NULL},
        /* What the city refuses in names: it would refuse all that such a person says. */
        {"A\xE2\x80\xAE", NULL},
        {"\xE2\x81\xA8"
         "A\xE2\x81\xA9",
         NULL},
        {"\xE2\x80\x83\xC2\xA0", NULL},
        {"\xC2\xA0"
         "A\xE3\x80\x80",
         "A"},
        {"A\xFF", NULL},
        {"\xD0\x90\xD0\xB4\xD0\xB0", "\xD0\x90\xD0\xB4\xD0\xB0"},
    };
    char longer[201];
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_slice shown = dc_matrix_display_name(dc_slice_z(rows[i].name));
        if ((shown.ptr == NULL) != (rows[i].shown == NULL) ||
            (shown.ptr != NULL && !dc_slice_eq(shown, dc_slice_z(rows[i].shown)))) {
            fail_msg("row %zu", i);
        }
    }
    memset(longer, 'x', 200);
    longer[200] = '\0';
    assert_int_equal(dc_matrix_display_name(dc_slice_z(longer)).len,
                     DC_MATRIX_DISPLAY_NAME_MAX_CHARS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_of_events_is_found_and_taken_apart),
        cmocka_unit_test(an_event_has_what_an_event_has),
        cmocka_unit_test(a_message_says_what_it_says),
        cmocka_unit_test(a_display_name_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
