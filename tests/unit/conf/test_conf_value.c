/* One value: words, numbers, units, bounds, and how it is shown. */
#include "conf/conf_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define AT(f) .offset = offsetof(struct dc_settings, f)

static void numbers_take_units_and_keep_their_bounds(void **state)
{
    const struct {
        enum dc_opt_type type;
        const char *text;
        int64_t expected; /* -1: refused */
    } rows[] = {
        {DC_OPT_INT, "0", 0},
        {DC_OPT_INT, "42", 42},
        {DC_OPT_INT, "007", 7},
        {DC_OPT_INT, "1000000000000", INT64_C(1000000000000)},
        {DC_OPT_INT, "1000000000001", -1},
        {DC_OPT_INT, "-1", -1},
        {DC_OPT_INT, "", -1},
        {DC_OPT_INT, " 1", -1},
        {DC_OPT_INT, "1 ", -1},
        {DC_OPT_INT, "1.5", -1},
        {DC_OPT_INT, "0x10", -1},
        {DC_OPT_INT, "1e3", -1},
        {DC_OPT_INT, "8080x", -1},
        {DC_OPT_INT, "5s", -1},
        {DC_OPT_INT, "9999999999999999999999", -1},
        {DC_OPT_INT, "９", -1},
        {DC_OPT_MS, "250", 250},
        {DC_OPT_MS, "250ms", 250},
        {DC_OPT_MS, "5s", 5000},
        {DC_OPT_MS, "10m", 600000},
        {DC_OPT_MS, "2h", 7200000},
        {DC_OPT_MS, "30d", INT64_C(2592000000)},
        {DC_OPT_MS, "0d", 0},
        {DC_OPT_MS, "5 s", -1},
        {DC_OPT_MS, "5S", -1},
        {DC_OPT_MS, "1.5s", -1},
        {DC_OPT_MS, "s", -1},
        {DC_OPT_MS, "-5s", -1},
        {DC_OPT_MS, "5w", -1},
        {DC_OPT_MS, "5sm", -1},
        {DC_OPT_MS, "9223372036854775807d", -1},
        {DC_OPT_MS, "106751991168d", -1}, /* past int64_t */
        {DC_OPT_BYTES, "512", 512},
        {DC_OPT_BYTES, "64k", 65536},
        {DC_OPT_BYTES, "64K", 65536},
        {DC_OPT_BYTES, "16M", 16777216},
        {DC_OPT_BYTES, "16m", 16777216},
        {DC_OPT_BYTES, "2G", INT64_C(2147483648)},
        {DC_OPT_BYTES, "2g", INT64_C(2147483648)},
        {DC_OPT_BYTES, "64kB", -1},
        {DC_OPT_BYTES, "64T", -1},
        {DC_OPT_BYTES, "k", -1},
        {DC_OPT_BYTES, "99999999999G", -1},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const struct dc_opt o = {
            .name = "X", .type = rows[i].type, AT(port), .min = 0, .max = INT64_C(1000000000000)};
        struct dc_settings s = {.port = -1};
        char why[CONF_WHY_SIZE] = "";
        bool is_ok = dc_conf_value_parse(&o, rows[i].text, &s, why);
        if (s.port != rows[i].expected || is_ok != (rows[i].expected != -1) ||
            is_ok != (why[0] == '\0')) {
            fail_msg("\"%s\": %lld %s", rows[i].text, (long long)s.port, why);
        }
    }
}

static void bounds_include_their_ends_and_are_named(void **state)
{
    const struct dc_opt o = {.name = "X", .type = DC_OPT_MS, AT(port), .min = 50, .max = 5000};
    const struct {
        const char *text;
        bool is_ok;
    } rows[] = {{"49", false}, {"50", true}, {"5s", true}, {"5001", false}};

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_settings s = {0};
        char why[CONF_WHY_SIZE] = "";
        assert_int_equal(dc_conf_value_parse(&o, rows[i].text, &s, why), rows[i].is_ok);
        assert_string_equal(why, rows[i].is_ok ? "" : "is not between 50 and 5000 ms");
    }
}

static void words_for_yes_and_no(void **state)
{
    const struct {
        const char *text;
        int expected; /* -1: refused */
    } rows[] = {
        {"yes", 1}, {"true", 1},  {"on", 1},  {"1", 1},     {"YES", 1},      {"True", 1},
        {"no", 0},  {"false", 0}, {"off", 0}, {"0", 0},     {"No", 0},       {"OFF", 0},
        {"", -1},   {"y", -1},    {"2", -1},  {"yes ", -1}, {"perhaps", -1}, {"00", -1},
    };
    const struct dc_opt o = {.name = "X", .type = DC_OPT_BOOL, AT(migrate_at_start)};

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        for (int before = 0; before < 2; before++) {
            struct dc_settings s = {.migrate_at_start = before != 0};
            char why[CONF_WHY_SIZE] = "";
            bool is_ok = dc_conf_value_parse(&o, rows[i].text, &s, why);
            int now = s.migrate_at_start;
            if (is_ok != (rows[i].expected != -1) || now != (is_ok ? rows[i].expected : before)) {
                fail_msg("\"%s\"", rows[i].text);
            }
        }
    }
}

static void enum_takes_its_words_exactly(void **state)
{
    const struct dc_opt o = {
        .name = "X", .type = DC_OPT_ENUM, AT(log_format), .values = "auto|json|text"};
    const struct {
        const char *text;
        bool is_ok;
    } rows[] = {
        {"auto", true},  {"json", true}, {"text", true},       {"", false},
        {"JSON", false}, {"jso", false}, {"auto|json", false}, {"xml", false},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_settings s = {.log_format = "before"};
        char why[CONF_WHY_SIZE] = "";
        bool is_ok = dc_conf_value_parse(&o, rows[i].text, &s, why);
        if (is_ok != rows[i].is_ok) {
            fail_msg("\"%s\"", rows[i].text);
        }
        assert_string_equal(s.log_format, is_ok ? rows[i].text : "before");
        assert_string_equal(why, is_ok ? "" : "is none of auto|json|text");
    }
}

static const char *refuse_x(struct dc_slice text)
{
    return dc_slice_eq(text, DC_S("x")) ? "is x" : NULL;
}

static void texts_pass_their_check_and_have_no_control_characters(void **state)
{
    struct dc_opt o = {.name = "X", .type = DC_OPT_TEXT, AT(data_dir), .check = refuse_x};
    struct dc_settings s = {0};
    char why[CONF_WHY_SIZE] = "";

    (void)state;
    assert_true(dc_conf_value_parse(&o, "y", &s, why));
    assert_string_equal(s.data_dir, "y");
    assert_false(dc_conf_value_parse(&o, "x", &s, why));
    assert_string_equal(why, "is x");
    assert_false(dc_conf_value_parse(&o, "a\nb", &s, why));
    assert_string_equal(why, "has control characters");
    assert_string_equal(s.data_dir, "y");
    o.flags = DC_OPT_SECRET; /* may be any bytes */
    assert_true(dc_conf_value_parse(&o, "a\nb", &s, why));
}

static void values_are_shown_without_secrets_and_terminal_codes(void **state)
{
    const struct {
        unsigned flags;
        const char *text, *shown;
    } rows[] = {
        {0, "plain", "plain"},
        {0, "Київ", "Київ"},
        {0, "a\x1b[31mb\x7F", "a?[31mb?"},
        {0, NULL, "(unset)"},
        {DC_OPT_SECRET, "hunter2", "(set)"},
        {DC_OPT_SECRET, NULL, "(unset)"},
        {DC_OPT_URL, "redis://:hunter2@h", "redis://***@h"},
        {DC_OPT_URL, NULL, "(unset)"},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const struct dc_opt o = {.name = "X", .type = DC_OPT_TEXT, .flags = rows[i].flags};
        struct dc_strbuf out = {0};
        dc_conf_value_show(&o, rows[i].text, &out);
        dc_strbuf_add_char(&out, '\0');
        assert_string_equal(out.ptr, rows[i].shown);
        dc_strbuf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_take_units_and_keep_their_bounds),
        cmocka_unit_test(bounds_include_their_ends_and_are_named),
        cmocka_unit_test(words_for_yes_and_no),
        cmocka_unit_test(enum_takes_its_words_exactly),
        cmocka_unit_test(texts_pass_their_check_and_have_no_control_characters),
        cmocka_unit_test(values_are_shown_without_secrets_and_terminal_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
