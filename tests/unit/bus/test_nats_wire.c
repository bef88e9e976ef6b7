#include "bus/nats_wire.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void where_a_message_stands_is_read_from_its_reply_subject(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        bool is_good;
        struct dc_nats_meta meta; /* deliveries, stream, consumer, pending */
    } rows[] = {
        {"$JS.ACK.CITY_CHAT.abc.1.22.3.1700000000000000000.4", true, {1, 22, 3, 4}},
        {"$JS.ACK.hub.ACC.CITY_CHAT.abc.2.22.3.1700000000000000000.0", true, {2, 22, 3, 0}},
        {"$JS.ACK._.ACC.CITY_CHAT.abc.2.22.3.1700000000000000000.0.rnd", true, {2, 22, 3, 0}},
        {"$JS.ACK.S.c.18446744073709551615.1.1.1.1", true, {UINT64_MAX, 1, 1, 1}},
        {"", false, {0}},
        {"$JS.ACK.S.c.1.2.3.4", false, {0}},
        {"$JS.ACK.S.c.1.2.3.4.5.6", false, {0}},
        {"$JS.ACK.S.c.1.x.3.4.5", false, {0}},
        {"$JS.ACK.S.c.1.-2.3.4.5", false, {0}},
        {"$JS.ACK.S.c.1.2.3.4.", false, {0}},
        {"$JS.ACK.S.c.18446744073709551616.1.1.1.1", false, {0}},
        {"_INBOX.S.c.x.1.2.3.4.5", false, {0}},
        {"$JS.NAK.S.c.1.2.3.4.5", false, {0}},
        {"$JS.ACK.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r", false, {0}},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_nats_meta meta = {0};
        bool is_good = dc_nats_meta_parse(dc_slice_z(rows[i].reply), &meta);
        if (is_good != rows[i].is_good ||
            (is_good && memcmp(&meta, &rows[i].meta, sizeof(meta)) != 0)) {
            fail_msg("%s", rows[i].reply);
        }
    }
}

static const char *const subjects[] = {"a.>", "b.*", NULL};
static const struct dc_bus_stream keeping = {.name = "KEEP",
                                             .subjects = subjects,
                                             .max_age_ms = 60000,
                                             .max_bytes = 4096,
                                             .dedup_window_ms = 2000};
static const struct dc_bus_stream last = {
    .name = "LAST", .subjects = subjects, .last_per_subject = true};

static json_t *parse(struct dc_strbuf *text)
{
    json_t *json = NULL;
    assert_int_equal(dc_json_parse(dc_strbuf_slice(text), &json, NULL), DC_OK);
    dc_strbuf_free(text);
    return json;
}

static json_t *written(const struct dc_bus_stream *row, uint64_t replicas)
{
    struct dc_strbuf text = {0};
    dc_nats_stream_write(&text, row, replicas);
    return parse(&text);
}

static void what_is_written_passes_the_check(void **state)
{
    (void)state;
    const struct dc_bus_stream *const rows[] = {&keeping, &last};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        json_t *config = written(rows[i], 3);
        bool has_subjects = false;
        assert_int_equal(dc_nats_stream_check(rows[i], 3, config, &has_subjects, NULL), DC_OK);
        assert_true(has_subjects);
        json_decref(config);
    }
    json_t *config = written(&last, 1);
    assert_int_equal(json_integer_value(json_object_get(config, "max_msgs_per_subject")), 1);
    assert_int_equal(json_integer_value(json_object_get(config, "max_bytes")), -1);
    /* So that sending again is harmless although the row wants no window. */
    assert_int_equal(dc_nats_number(config, "duplicate_window"),
                     DC_NATS_RESEND_WINDOW_MS * 1000000);
    json_decref(config);
}

static void every_other_limit_is_told_with_both_values(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *text; /* instead of a number */
        json_int_t value;
        const char *expected;
    } rows[] = {
        {"max_age", NULL, 1000000000, "max_age 1000 ms, this program needs 60000 ms"},
        {"max_bytes", NULL, -1, "max_bytes -1, this program needs 4096"},
        {"max_msgs", NULL, 10, "max_msgs 10, this program needs -1"},
        {"max_msgs_per_subject", NULL, 1, "max_msgs_per_subject 1, this program needs -1"},
        {"max_msg_size", NULL, 100, "max_msg_size 100, this program needs -1"},
        {"duplicate_window", NULL, 0, "duplicate_window 0 ms, this program needs 2000 ms"},
        {"num_replicas", NULL, 3, "num_replicas 3, this program needs 1 (NATS_REPLICAS)"},
        {"storage", "memory", 0, "storage memory, this program needs file"},
        {"retention", "workqueue", 0, "retention workqueue, this program needs limits"},
        {"discard", "new", 0, "discard new, this program needs old"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        json_t *config = written(&keeping, 1);
        struct dc_error err = {0};
        bool has_subjects = false;
        json_t *value =
            rows[i].text != NULL ? json_string(rows[i].text) : json_integer(rows[i].value);
        assert_int_equal(json_object_set_new(config, rows[i].name, value), 0);
        assert_int_equal(dc_nats_stream_check(&keeping, 1, config, &has_subjects, &err), DC_CONFIG);
        if (strstr(err.text, rows[i].expected) == NULL || strstr(err.text, "KEEP") == NULL ||
            strstr(err.text, "NATS_URL") == NULL) {
            fail_msg("%s", err.text);
        }
        json_decref(config);
    }
}

static void nonsense_instead_of_a_configuration_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{}",
        "{\"retention\":1}",
        "{\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"old\"}",
        "{\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"old\",\"max_age\":"
        "60000000000,\"max_bytes\":4096,\"max_msgs\":-1,\"max_msgs_per_subject\":-1,"
        "\"max_msg_size\":-1,\"duplicate_window\":2000000000,\"num_replicas\":1,\"subjects\":7}",
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        json_t *config = NULL;
        bool has_subjects = false;
        assert_int_equal(dc_json_parse(dc_slice_z(rows[i]), &config, NULL), DC_OK);
        assert_int_equal(dc_nats_stream_check(&keeping, 1, config, &has_subjects, NULL), DC_CONFIG);
        json_decref(config);
    }
}

static void missing_subjects_are_added_and_nothing_else_changes(void **state)
{
    (void)state;
    static const struct {
        const char *has, *becomes;
        bool is_enough;
    } rows[] = {
        {"[\"a.>\",\"b.*\"]", "[\"a.>\",\"b.*\"]", true},
        {"[\"a.>\"]", "[\"a.>\",\"b.*\"]", false},
        {"[]", "[\"a.>\",\"b.*\"]", false},
        {"[\"a.*\",\"a.b.c\",\"z\"]", "[\"z\",\"a.>\",\"b.*\"]", false}, /* contained in a.> */
        {"[\"b.>\",\"a.>\",\"z\"]", "[\"b.>\",\"a.>\",\"z\"]", true},    /* wider is enough */
        {"[\"a.>\",7]", "[\"a.>\",7,\"b.*\"]", false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        json_t *config = written(&keeping, 1), *has = NULL, *becomes = NULL;
        struct dc_strbuf text = {0};
        bool is_enough = false;
        assert_int_equal(dc_json_parse(dc_slice_z(rows[i].has), &has, NULL), DC_OK);
        assert_int_equal(dc_json_parse(dc_slice_z(rows[i].becomes), &becomes, NULL), DC_OK);
        assert_int_equal(json_object_set_new(config, "subjects", has), 0);
        assert_int_equal(json_object_set_new(config, "description", json_string("theirs")), 0);
        assert_int_equal(dc_nats_stream_check(&keeping, 1, config, &is_enough, NULL), DC_OK);
        assert_int_equal(is_enough, rows[i].is_enough);
        dc_nats_stream_extend(&text, &keeping, config);
        json_t *wider = parse(&text);
        if (!json_equal(json_object_get(wider, "subjects"), becomes)) {
            fail_msg("row %zu", i);
        }
        assert_int_equal(json_object_set(config, "subjects", becomes), 0);
        assert_true(json_equal(config, wider));
        json_decref(config);
        json_decref(wider);
        json_decref(becomes);
    }
}

static void answers_say_what_may_pass_and_what_may_not(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum dc_status expected;
        int cause;
    } rows[] = {
        {"{\"stream\":\"S\",\"seq\":7}", DC_OK, 0},
        {"{\"error\":{\"code\":503,\"err_code\":10008,\"description\":\"later\"}}", DC_UNAVAILABLE,
         10008},
        {"{\"error\":{\"code\":500,\"err_code\":10047}}", DC_UNAVAILABLE, 10047},
        {"{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"}}",
         DC_NOT_FOUND, DC_NATS_ERR_STREAM_NOT_FOUND},
        {"{\"error\":{\"code\":400,\"err_code\":10054}}", DC_TOO_LARGE, 10054},
        {"{\"error\":{\"code\":400,\"err_code\":10003}}", DC_INVALID, 10003},
        {"{\"error\":7}", DC_INVALID, 0},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        json_t *answer = NULL;
        struct dc_error err = {0};
        assert_int_equal(dc_json_parse(dc_slice_z(rows[i].answer), &answer, NULL), DC_OK);
        enum dc_status st = dc_nats_answer_check(answer, &err);
        if (st != rows[i].expected || err.cause != rows[i].cause) {
            fail_msg("%s: %s %d", rows[i].answer, dc_status_code(st), err.cause);
        }
        json_decref(answer);
    }
}

static void numbers_that_are_none_are_zero(void **state)
{
    (void)state;
    json_t *object = NULL;
    assert_int_equal(
        dc_json_parse(DC_S("{\"a\":5,\"b\":-5,\"c\":\"5\",\"d\":null}"), &object, NULL), DC_OK);
    assert_int_equal(dc_nats_number(object, "a"), 5);
    assert_int_equal(dc_nats_number(object, "b"), 0);
    assert_int_equal(dc_nats_number(object, "c"), 0);
    assert_int_equal(dc_nats_number(object, "d"), 0);
    assert_int_equal(dc_nats_number(object, "e"), 0);
    assert_int_equal(dc_nats_number(NULL, "e"), 0);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_a_message_stands_is_read_from_its_reply_subject),
        cmocka_unit_test(what_is_written_passes_the_check),
        cmocka_unit_test(every_other_limit_is_told_with_both_values),
        cmocka_unit_test(nonsense_instead_of_a_configuration_is_refused),
        cmocka_unit_test(missing_subjects_are_added_and_nothing_else_changes),
        cmocka_unit_test(answers_say_what_may_pass_and_what_may_not),
        cmocka_unit_test(numbers_that_are_none_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
