/* Files for Synapse and for the city. */
#include "base/mem.h"
#include "matrix/config_files.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const names[] = {"daarion-homeserver.yaml", "daarion-appservice.yaml",
                                    "matrix-gateway.env"};

struct place {
    char root[64], dir[96];
};

static int set_up(void **state)
{
    struct place *p = dc_calloc(1, sizeof(*p));
    snprintf(p->root, sizeof(p->root), "/tmp/dc-test-config.XXXXXX");
    assert_non_null(mkdtemp(p->root));
    snprintf(p->dir, sizeof(p->dir), "%s/matrix", p->root);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    char path[160];
    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        unlink(path); /* may not be there */
    }
    rmdir(p->dir);
    assert_int_equal(rmdir(p->root), 0);
    dc_free(p);
    return 0;
}

static char *read_file(const struct place *p, const char *name)
{
    char path[160];
    static char text[8192];
    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return NULL;
    }
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    return text;
}

/* 0, 1, 2 ...: another secret each time, the same in each run. */
static void count_up(void *data, void *out, size_t len)
{
    memset(out, (*(int *)data)++, len);
}

static enum dc_status write_files(const struct place *p, int first, struct dc_error *err)
{
    struct dc_strbuf report = {0};
    const struct dc_random random = {.fill = count_up, .data = &first};
    const struct dc_matrix_config config = {.dir_z = p->dir,
                                            .server_name = DC_S("daarion.space"),
                                            .synapse_url = DC_S("http://synapse:8008"),
                                            .gateway_url = DC_S("http://gateway:7025"),
                                            .random = &random};
    enum dc_status st = dc_matrix_config_write(&config, &report, err);
    assert_int_equal(st == DC_OK, report.len > 0);
    dc_strbuf_free(&report);
    return st;
}

static void the_files_name_each_other_and_share_their_secrets(void **state)
{
    const struct place *p = *state;
    struct dc_error err = {0};
    static const char as_token[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    static const char hs_token[] = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    char expected[256];
    assert_int_equal(write_files(p, 0, &err), DC_OK);
    const char *text = read_file(p, "daarion-appservice.yaml");
    snprintf(expected, sizeof(expected), "\nas_token: '%s'\n", as_token);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "\nrate_limited: false\n"));
    assert_non_null(strstr(text, "\nurl: 'http://gateway:7025'\nreceive_ephemeral: false\n"));
    snprintf(expected, sizeof(expected), "\nhs_token: '%s'\n", hs_token);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "regex: '@daarion\\..*:daarion\\.space$'"));
    assert_non_null(strstr(text, "regex: '#city_.*:daarion\\.space$'"));
    assert_non_null(strstr(text, "\nsender_localpart: daarion-city\n"));
    text = read_file(p, "matrix-gateway.env");
    snprintf(expected, sizeof(expected), "\nMATRIX_AS_TOKEN=%s\n", as_token);
    assert_non_null(strstr(text, expected));
    snprintf(expected, sizeof(expected), "\nMATRIX_HS_TOKEN=%s\n", hs_token);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "SYNAPSE_URL=http://synapse:8008\n"));
    assert_non_null(strstr(text, "\nMATRIX_SERVER_NAME=daarion.space\n"));
    text = read_file(p, "daarion-homeserver.yaml");
    snprintf(expected, sizeof(expected), "%s/daarion-appservice.yaml", p->dir);
    assert_non_null(strstr(text, expected));
    assert_null(strstr(text, as_token));
    assert_non_null(
        strstr(text, "\n  - user_id: '@daarion-city:daarion.space'\n    action: allow\n"));
}

static void only_their_owner_reads_them(void **state)
{
    const struct place *p = *state;
    struct dc_error err = {0};
    mode_t old = umask(0);
    enum dc_status st = write_files(p, 0, &err);
    umask(old);
    assert_int_equal(st, DC_OK);
    struct stat info;
    assert_int_equal(stat(p->dir, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        char path[160];
        snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
}

static void nothing_is_overwritten_and_nothing_is_left_half(void **state)
{
    const struct place *p = *state;
    struct dc_error err = {0};
    char path[160];
    assert_int_equal(write_files(p, 0, &err), DC_OK);
    char *before = dc_strdup(read_file(p, "matrix-gateway.env"));
    assert_int_equal(write_files(p, 10, &err), DC_CONFLICT);
    assert_non_null(strstr(err.text, p->dir));
    assert_string_equal(read_file(p, "matrix-gateway.env"), before);
    /* Only the last of the three is in the way: the first two are taken back. */
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(write_files(p, 20, &err), DC_CONFLICT);
    assert_null(read_file(p, names[0]));
    assert_null(read_file(p, names[1]));
    assert_string_equal(read_file(p, "matrix-gateway.env"), before);
    dc_free(before);
}

static void every_run_has_secrets_of_its_own(void **state)
{
    const struct place *p = *state;
    struct dc_error err = {0};
    struct dc_strbuf report = {0};
    char path[160];
    char *seen[2];
    const struct dc_matrix_config config = {.dir_z = p->dir, .server_name = DC_S("a.b")};
    for (size_t run = 0; run < 2; run++) {
        assert_int_equal(dc_matrix_config_write(&config, &report, &err), DC_OK);
        seen[run] = dc_strdup(read_file(p, "matrix-gateway.env"));
        for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
            snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
            assert_int_equal(unlink(path), 0);
        }
    }
    assert_string_not_equal(seen[0], seen[1]);
    dc_free(seen[0]);
    dc_free(seen[1]);
    dc_strbuf_free(&report);
}

static void a_directory_that_cannot_be_made_is_named(void **state)
{
    struct dc_error err = {0};
    struct dc_strbuf report = {0};
    const struct dc_matrix_config config = {.dir_z = "/nonexistent/a", .server_name = DC_S("a.b")};
    (void)state;
    assert_int_equal(dc_matrix_config_write(&config, &report, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "/nonexistent/a"));
    assert_int_equal(report.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_files_name_each_other_and_share_their_secrets, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(only_their_owner_reads_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_overwritten_and_nothing_is_left_half, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_run_has_secrets_of_its_own, set_up, tear_down),
        cmocka_unit_test(a_directory_that_cannot_be_made_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
