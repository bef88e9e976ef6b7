/* The table of options: complete, consistent, and every row works. */
#include "base/mem.h"
#include "conf/conf_check.h"
#include "conf/conf_priv.h"
#include "conf/options.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static size_t size_of(enum dc_opt_type type)
{
    switch (type) {
    case DC_OPT_TEXT:
    case DC_OPT_ENUM:
        return sizeof(const char *);
    case DC_OPT_INT:
    case DC_OPT_MS:
    case DC_OPT_BYTES:
        return sizeof(int64_t);
    case DC_OPT_BOOL:
        return sizeof(bool);
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    size_t x = (*(const struct dc_opt *const *)a)->offset;
    size_t y = (*(const struct dc_opt *const *)b)->offset;
    return x < y ? -1 : x > y;
}

static void every_field_of_the_settings_has_exactly_one_row(void **state)
{
    size_t count = 0;
    const struct dc_opt *options = dc_options(&count);
    const struct dc_opt **sorted = dc_calloc(count, sizeof(*sorted));
    size_t end = 0;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &options[i];
    }
    qsort(sorted, count, sizeof(*sorted), by_offset);
    for (size_t i = 0; i < count; i++) {
        size_t size = size_of(sorted[i]->type);
        size_t expected = (end + size - 1) / size * size; /* with the padding of C */
        if (sorted[i]->offset != expected) {
            fail_msg("a field in front of %s has no row, or two", sorted[i]->name);
        }
        end = expected + size;
    }
    assert_int_equal((end + 7) / 8 * 8, sizeof(struct dc_settings));
    dc_free(sorted);
}

static void every_default_parses_and_names_are_unique_and_plain(void **state)
{
    size_t count = 0;
    const struct dc_opt *options = dc_options(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct dc_opt *o = &options[i];
        struct dc_settings s = {0};
        char why[CONF_WHY_SIZE] = "";
        if (o->def != NULL && !dc_conf_value_parse(o, o->def, &s, why)) {
            fail_msg("%s=%s %s", o->name, o->def, why);
        }
        /* Only a text can be unset. */
        assert_true(o->def != NULL || o->type == DC_OPT_TEXT);
        assert_true(strlen(o->name) + strlen("_FILE") < DC_OPT_NAME_MAX);
        assert_true(strspn(o->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(o->name));
        assert_ptr_equal(dc_option_find(dc_slice_z(o->name)), o);
        assert_false(dc_option_is_reserved(dc_slice_z(o->name)));
        assert_true(o->help[strlen(o->help) - 1] == '.');
    }
}

static void defaults_are_those_of_the_design(void **state)
{
    struct dc_conf *c = NULL;

    (void)state;
    assert_int_equal(dc_conf_load(NULL, 0, NULL, NULL, 0, &c, NULL), DC_OK);
    const struct dc_settings *s = dc_conf_settings(c);
    const struct {
        const char *what;
        int64_t is, expected;
    } numbers[] = {
        {"port", s->port, 8080},
        {"internal_port", s->internal_port, 8081},
        {"workers", s->workers, 1},
        {"db_pool_size", s->db_pool_size, 8},
        {"db_deadline_ms", s->db_deadline_ms, 5000},
        {"migrate_at_start", s->migrate_at_start, 1},
        {"auth_open_on_public", s->auth_open_on_public, 0},
        {"guest_token_ttl_ms", s->guest_token_ttl_ms, INT64_C(30) * 24 * 3600 * 1000},
        {"room_presence_throttle_ms", s->room_presence_throttle_ms, 3000},
        {"presence_lease_ms", s->presence_lease_ms, 40000},
        {"presence_close_grace_ms", s->presence_close_grace_ms, 5000},
        {"typing_lease_ms", s->typing_lease_ms, 6000},
        {"presence_summary_interval_ms", s->presence_summary_interval_ms, 1000},
        {"matrix_presence_per_s", s->matrix_presence_per_s, 50},
        {"max_connections", s->max_connections, 20000},
        {"max_body_bytes", s->max_body_bytes, 65536},
        {"max_frame_bytes", s->max_frame_bytes, 65536},
        {"max_head_bytes", s->max_head_bytes, 16384},
        {"max_message_chars", s->max_message_chars, 10000},
        {"head_timeout_ms", s->head_timeout_ms, 10000},
        {"body_timeout_ms", s->body_timeout_ms, 30000},
        {"keepalive_timeout_ms", s->keepalive_timeout_ms, 75000},
        {"ws_idle_timeout_ms", s->ws_idle_timeout_ms, 60000},
        {"ws_ping_interval_ms", s->ws_ping_interval_ms, 20000},
        {"stream_queue_bytes", s->stream_queue_bytes, 1048576},
        {"shutdown_timeout_ms", s->shutdown_timeout_ms, 10000},
        {"limit_messages_per_s", s->limit_messages_per_s, 10},
        {"limit_messages_burst", s->limit_messages_burst, 20},
        {"limit_guests_per_s", s->limit_guests_per_s, 1},
        {"limit_guests_burst", s->limit_guests_burst, 20},
        {"limit_rooms_per_s", s->limit_rooms_per_s, 1},
        {"limit_rooms_burst", s->limit_rooms_burst, 10},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(numbers); i++) {
        if (numbers[i].is != numbers[i].expected) {
            fail_msg("%s is %lld", numbers[i].what, (long long)numbers[i].is);
        }
    }
    assert_string_equal(s->host, "127.0.0.1");
    assert_string_equal(s->internal_host, "127.0.0.1");
    assert_string_equal(s->data_dir, "var");
    assert_string_equal(s->auth_mode, "required");
    assert_string_equal(s->log_format, "auto");
    assert_string_equal(s->log_level, "info");
    assert_string_equal(s->city_default_rooms, "general,welcome,builders");
    const char *const unset[] = {s->web_dir,          s->migrations_dir, s->database_url,
                                 s->redis_url,        s->nats_url,       s->jwt_secret,
                                 s->internal_api_key, s->cors_origins};
    for (size_t i = 0; i < DC_ARRAY_LEN(unset); i++) {
        assert_null(unset[i]);
    }
    assert_int_equal(dc_conf_warning_count(c), 0);
    dc_conf_destroy(c);
}

static void options_are_found_by_name_and_alias_only(void **state)
{
    const struct {
        const char *name, *option;
    } rows[] = {
        {"PORT", "PORT"},
        {"AUTH_JWT_SECRET", "JWT_SECRET"},
        {"INTERNAL_SECRET", "INTERNAL_API_KEY"},
        {"port", NULL},
        {"PORT ", NULL},
        {"", NULL},
        {"POR", NULL},
        {"JWT_SECRET_FILE", NULL},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const struct dc_opt *o = dc_option_find(dc_slice_z(rows[i].name));
        const char *found = o == NULL ? "none" : o->name;
        if (strcmp(found, rows[i].option == NULL ? "none" : rows[i].option) != 0) {
            fail_msg("\"%s\": %s", rows[i].name, found);
        }
    }
}

static void names_of_other_roles_are_reserved(void **state)
{
    const struct {
        const char *name;
        bool is_reserved;
    } rows[] = {
        {"MATRIX_ACCESS_TOKEN", false}, /* options of ours */
        {"MATRIX_USER_ID", false},
        {"CITY_SERVICE_INTERNAL_URL", false},
        {"CITY_SERVICE_URL", false},
        {"SYNC_TIMEOUT_MS", false},
        {"ROOM_MAPPING_REFRESH_INTERVAL_S", false},
        {"SECONDME_AGENT_ID", true},
        {"AGENTS_SERVICE_URL", true},
        {"LLM_BASE_URL", true},
        {"ACCESS_TOKEN_TTL", true},
        {"POLL_INTERVAL_SECONDS", true},
        {"SECONDME", false},
        {"XSECONDME_AGENT_ID", false},
        {"SYNC_TIMEOUT_MS2", false},
        {"SERVICE_URL_X", false},
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        if (dc_option_is_reserved(dc_slice_z(rows[i].name)) != rows[i].is_reserved) {
            fail_msg("%s", rows[i].name);
        }
    }
}

static void checks_tell_good_texts_from_bad_ones(void **state)
{
    const struct {
        const char *(*check)(struct dc_slice text);
        const char *text;
        bool is_good;
    } rows[] = {
        {dc_check_address, "127.0.0.1", true},
        {dc_check_address, "0.0.0.0", true},
        {dc_check_address, "::", true},
        {dc_check_address, "fe80::1", true},
        {dc_check_address, "not an address", false},
        {dc_check_address, "localhost", false},
        {dc_check_address, "127.0.0.1:80", false},
        {dc_check_address, "127.0.0.256", false},
        {dc_check_address, "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", false},
        {dc_check_postgres_url, "postgresql://u:p@h/db", true},
        {dc_check_postgres_url, "postgres://h", true},
        {dc_check_postgres_url, "mysql://localhost/x", false},
        {dc_check_postgres_url, "postgresql://", false},
        {dc_check_postgres_url, "postgresql://a b", false},
        {dc_check_postgres_url, " postgresql://a", false},
        {dc_check_postgres_url, "host=x password=y", false},
        {dc_check_redis_url, "redis://localhost:6379/0", true},
        {dc_check_redis_url, "rediss://h", true},
        {dc_check_redis_url, "rediss+sentinel://h/m", true},
        {dc_check_redis_url, "rediss://", false},
        {dc_check_redis_url, "redisss://h", false},
        {dc_check_redis_url, "redis+sentinel://a,b:26380/main?db=1", true},
        {dc_check_redis_url, "redis+sentinel://", false},
        {dc_check_redis_url, "http://h", false},
        {dc_check_nats_url, "nats://a,b,c", true},
        {dc_check_nats_url, "tls://a", true},
        {dc_check_nats_url, "a,b", false},
        {dc_check_jwt_secret, "0123456789abcdef", true},
        {dc_check_jwt_secret, "0123456789abcde", false},
        {dc_check_header_value, "a-Z~!0", true},
        {dc_check_header_value, "two words", false},
        {dc_check_header_value, "tab\t", false},
        {dc_check_header_value, "ключ", false},
        {dc_check_origins, "*", true},
        {dc_check_origins, "https://a.example", true},
        {dc_check_origins, "http://localhost:5173, https://a.example", true},
        {dc_check_origins, "https://a.example/", false},
        {dc_check_origins, "https://a.example,", true},
        {dc_check_origins, "https://a.example,,http://b", false},
        {dc_check_origins, "https://*.example", false},
        {dc_check_origins, "a.example", false},
        {dc_check_origins, "https://a.example,*", false},
        {dc_check_slugs, "general", true},
        {dc_check_slugs, "general, welcome ,b-2", true},
        {dc_check_slugs, "general,Not A Slug", false},
        {dc_check_slugs, "general,,welcome", false},
        {dc_check_slugs, "a,b,a", false},
        {dc_check_slugs, "ratusha,площа", false},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const char *wrong = rows[i].check(dc_slice_z(rows[i].text));
        if ((wrong == NULL) != rows[i].is_good) {
            fail_msg("row %zu, \"%s\": %s", i, rows[i].text, wrong == NULL ? "good" : wrong);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_the_settings_has_exactly_one_row),
        cmocka_unit_test(every_default_parses_and_names_are_unique_and_plain),
        cmocka_unit_test(defaults_are_those_of_the_design),
        cmocka_unit_test(options_are_found_by_name_and_alias_only),
        cmocka_unit_test(names_of_other_roles_are_reserved),
        cmocka_unit_test(checks_tell_good_texts_from_bad_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
