/* Health: how single checks make up the answer. */
#include "base/mem.h"
#include "obs/health.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The members as a whole JSON object; dc_free() it. */
static char *write_text(const struct dc_health *h)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;

    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_health_write(h, &w);
    dc_jsonw_end(&w);
    assert_true(dc_strbuf_ok(&out));
    char *text = dc_slice_dup_z(dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
    return text;
}

static void assert_written(const struct dc_health *h, const char *expected)
{
    char *text = write_text(h);

    assert_string_equal(text, expected);
    dc_free(text);
}

static void nothing_to_check_is_ok(void **state)
{
    struct dc_health *h = dc_health_create();

    (void)state;
    assert_int_equal(dc_health_overall(h), DC_HEALTH_OK);
    assert_written(h, "{\"status\":\"ok\",\"checks\":{}}");
    dc_health_destroy(h);
    dc_health_destroy(NULL);
}

static void new_check_is_down_until_its_owner_speaks(void **state)
{
    struct dc_health *h = dc_health_create();
    struct dc_health_check *db = dc_health_add(h, "db", true);

    (void)state;
    assert_int_equal(dc_health_overall(h), DC_HEALTH_DOWN);
    assert_written(h, "{\"status\":\"unavailable\",\"checks\":{\"db\":"
                      "{\"status\":\"unavailable\",\"detail\":\"starting\"}}}");
    dc_health_set(db, DC_HEALTH_OK, NULL);
    assert_written(h, "{\"status\":\"ok\",\"checks\":{\"db\":{\"status\":\"ok\"}}}");
    dc_health_destroy(h);
}

static void overall_state_follows_required_and_optional_checks(void **state)
{
    const struct {
        enum dc_health_state required, optional, overall;
    } rows[] = {
        {DC_HEALTH_OK, DC_HEALTH_OK, DC_HEALTH_OK},
        {DC_HEALTH_OK, DC_HEALTH_DEGRADED, DC_HEALTH_DEGRADED},
        {DC_HEALTH_OK, DC_HEALTH_DOWN, DC_HEALTH_DEGRADED},
        {DC_HEALTH_DEGRADED, DC_HEALTH_OK, DC_HEALTH_DEGRADED},
        {DC_HEALTH_DEGRADED, DC_HEALTH_DOWN, DC_HEALTH_DEGRADED},
        {DC_HEALTH_DOWN, DC_HEALTH_OK, DC_HEALTH_DOWN},
        {DC_HEALTH_DOWN, DC_HEALTH_DEGRADED, DC_HEALTH_DOWN},
        {DC_HEALTH_DOWN, DC_HEALTH_DOWN, DC_HEALTH_DOWN},
    };
    struct dc_health *h = dc_health_create();
    struct dc_health_check *required = dc_health_add(h, "db", true);
    struct dc_health_check *optional = dc_health_add(h, "redis", false);

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        dc_health_set(required, rows[i].required, NULL);
        dc_health_set(optional, rows[i].optional, NULL);
        if (dc_health_overall(h) != rows[i].overall) {
            fail_msg("row %zu: %d", i, (int)dc_health_overall(h));
        }
    }
    dc_health_destroy(h);
}

static void detail_is_copied_cleaned_and_bounded(void **state)
{
    struct dc_health *h = dc_health_create();
    struct dc_health_check *c = dc_health_add(h, "bus", false);
    char detail[1000];

    (void)state;
    strcpy(detail, "cannot reach \"nats\"\n\xFF");
    dc_health_set(c, DC_HEALTH_DEGRADED, detail);
    memset(detail, 'x', sizeof(detail));
    assert_written(h, "{\"status\":\"degraded\",\"checks\":{\"bus\":{\"status\":\"degraded\","
                      "\"detail\":\"cannot reach \\\"nats\\\"\\n\xEF\xBF\xBD\"}}}");
    detail[sizeof(detail) - 1] = '\0';
    dc_health_set(c, DC_HEALTH_DOWN, detail);
    char *text = write_text(h);
    assert_true(strlen(text) < 300);
    assert_non_null(strstr(text, "xxx…\""));
    dc_free(text);
    dc_health_set(NULL, DC_HEALTH_OK, "nobody asked"); /* components may run without health */
    dc_health_destroy(h);
}

static void checks_are_written_in_the_order_they_were_added(void **state)
{
    struct dc_health *h = dc_health_create();

    (void)state;
    dc_health_set(dc_health_add(h, "zeta", true), DC_HEALTH_OK, NULL);
    dc_health_set(dc_health_add(h, "alpha", false), DC_HEALTH_OK, "42 rooms");
    assert_written(h, "{\"status\":\"ok\",\"checks\":{\"zeta\":{\"status\":\"ok\"},"
                      "\"alpha\":{\"status\":\"ok\",\"detail\":\"42 rooms\"}}}");
    dc_health_destroy(h);
}

static void facts_are_kept_in_order_and_replaced(void **state)
{
    struct dc_health *h = dc_health_create();
    struct dc_strbuf out = {0};
    struct dc_jsonw w;

    (void)state;
    dc_health_set_fact(h, "synapse", "unavailable");
    dc_health_set_fact(h, "server_name", "example.org");
    dc_health_set_fact(h, "admin", NULL);
    dc_health_set_fact(h, "synapse", "connected");
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_health_write_facts(h, &w);
    dc_jsonw_end(&w);
    assert_true(dc_slice_eq(dc_strbuf_slice(&out),
                            DC_S("{\"synapse\":\"connected\",\"server_name\":\"example.org\","
                                 "\"admin\":null}")));
    dc_strbuf_free(&out);
    dc_health_destroy(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_check_is_ok),
        cmocka_unit_test(new_check_is_down_until_its_owner_speaks),
        cmocka_unit_test(overall_state_follows_required_and_optional_checks),
        cmocka_unit_test(detail_is_copied_cleaned_and_bounded),
        cmocka_unit_test(checks_are_written_in_the_order_they_were_added),
        cmocka_unit_test(facts_are_kept_in_order_and_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
