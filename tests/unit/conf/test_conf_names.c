/* Misspelt and unknown names. */
#include "conf/conf_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void distance_counts_edits(void **state)
{
    const struct {
        const char *a, *b;
        size_t limit, expected;
    } rows[] = {
        {"", "", 2, 0},          {"ABC", "ABC", 2, 0},        {"ABC", "AB", 2, 1},
        {"ABC", "ABCD", 2, 1},   {"ABC", "AXC", 2, 1},        {"ABC", "ACB", 2, 1},
        {"ABCD", "BADC", 2, 2},  {"ABC", "XYZ", 2, 3},        {"", "AB", 2, 2},
        {"", "ABC", 2, 3},       {"KITTEN", "SITTING", 5, 3}, {"KITTEN", "SITTING", 2, 3},
        {"ABCDEFGH", "A", 2, 3}, {"CA", "ABC", 3, 3},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_slice a = dc_slice_z(rows[i].a);
        struct dc_slice b = dc_slice_z(rows[i].b);
        size_t there = dc_conf_names_distance(a, b, rows[i].limit);
        size_t back = dc_conf_names_distance(b, a, rows[i].limit);
        if (there != rows[i].expected || back != there) {
            fail_msg("%s %s: %zu, %zu", rows[i].a, rows[i].b, there, back);
        }
    }
}

static void very_long_names_are_far_from_everything(void **state)
{
    char long_name[4096];

    (void)state;
    memset(long_name, 'A', sizeof(long_name));
    for (size_t len = DC_OPT_NAME_MAX - 2; len <= sizeof(long_name); len += 997) {
        struct dc_slice s = dc_slice_make(long_name, len);
        assert_int_equal(dc_conf_names_distance(s, DC_S("PORT"), 2), 3);
    }
    struct dc_slice max = dc_slice_make(long_name, DC_OPT_NAME_MAX);
    assert_int_equal(dc_conf_names_distance(max, max, 2), 0);
    max.len++;
    assert_int_equal(dc_conf_names_distance(max, max, 2), 3);
}

/* One variable in the environment and the warning for it; NULL: none. */
static const struct {
    const char *variable, *warning;
} rows[] = {
    {"JWT_SECRTE=x", "JWT_SECRTE is not an option; did you mean JWT_SECRET?"},
    {"JWT_SECRETS=x", "JWT_SECRETS is not an option; did you mean JWT_SECRET?"},
    {"JWT_SECRE=x", "JWT_SECRE is not an option; did you mean JWT_SECRET?"},
    {"JWT_SECRET_FIEL=x", "JWT_SECRET_FIEL is not an option; did you mean JWT_SECRET_FILE?"},
    {"LOGLEVEL=debug", "LOGLEVEL is not an option; did you mean LOG_LEVEL?"},
    {"DATABSE_URL=x", "DATABSE_URL is not an option; did you mean DATABASE_URL?"},
    {"WORKRES=2", "WORKRES is not an option; did you mean WORKERS?"},
    {"ROOM_PRESENCE_THROTTLE=5",
     "ROOM_PRESENCE_THROTTLE is not an option; did you mean ROOM_PRESENCE_THROTTLE_MS?"},
    {"MAX_BODY=5", "MAX_BODY is not an option; did you mean MAX_BODY_BYTES?"},
    {"DAARION_PORT=1", "DAARION_PORT is not an option; did you mean PORT?"},
    {"DAARION_PROT=1", "DAARION_PROT is not an option; did you mean PORT?"},
    {"DAARION_JWT_SECRET_FILE=x",
     "DAARION_JWT_SECRET_FILE is not an option; did you mean JWT_SECRET_FILE?"},
    {"DAARION_NONSENSE=1", "DAARION_NONSENSE is not an option; see --help"},
    {"DAARION_=1", "DAARION_ is not an option; see --help"},
    /* nobody's misspelling */
    {"PROT=1", NULL},
    {"HOSTS=x", NULL},
    {"LIB_DIR=/usr/lib", NULL},
    {"PATH=/bin", NULL},
    {"HOME=/root", NULL},
    {"PORT_FILE=/x", NULL},
    {"jwt_secrte=x", NULL},
    {"MATRIX_HS_URL=https://hs", NULL},
    {"AGENTS_SERVICE_URL=http://a", NULL},
    {"CITY_SERVICE_URL=http://a", NULL},
    {"POLL_INTERVAL_SECONDS=1", NULL},
    {"AUTH_JWT_SECRET=0123456789abcdef", NULL},
    {"JWT_SECRTE=", NULL}, /* empty is unset */
    {"JWT_SECRTE", NULL},
    {"=x", NULL},
    {"", NULL},
    {"JWT_\x1b[31mSECRET=x", NULL},
};

static void environment_is_searched_for_names_that_look_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char variable[128];
        char *environ_z[] = {variable, NULL};
        struct dc_conf *c = NULL;
        strcpy(variable, rows[i].variable);
        assert_int_equal(dc_conf_load(environ_z, 0, NULL, NULL, 0, &c, NULL), DC_OK);
        const char *warning = dc_conf_warning(c, 0);
        if (dc_conf_warning_count(c) != (rows[i].warning != NULL) ||
            (warning != NULL && strcmp(warning, rows[i].warning) != 0)) {
            fail_msg("%s: %s", rows[i].variable, warning == NULL ? "nothing" : warning);
        }
        assert_null(dc_conf_warning(c, 1));
        dc_conf_destroy(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(very_long_names_are_far_from_everything),
        cmocka_unit_test(environment_is_searched_for_names_that_look_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
