/* Secrets from files. */
#include "base/mem.h"
#include "conf/conf.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRET "0123456789abcdef"

/* A directory of its own for each test, removed with what is in it. */
struct place {
    char dir[64];
    char file[80];
    char variable[128]; /* JWT_SECRET_FILE=file */
};

static int make_place(void **state)
{
    struct place *p = dc_calloc(1, sizeof(*p));

    strcpy(p->dir, "/tmp/dc_conf_file.XXXXXX");
    if (mkdtemp(p->dir) == NULL) {
        return -1;
    }
    snprintf(p->file, sizeof(p->file), "%s/secret", p->dir);
    snprintf(p->variable, sizeof(p->variable), "JWT_SECRET_FILE=%s", p->file);
    *state = p;
    return 0;
}

static int remove_place(void **state)
{
    struct place *p = *state;

    if (unlink(p->file) == -1) {
        rmdir(p->file);
    }
    int rc = rmdir(p->dir);
    dc_free(p);
    return rc;
}

static void write_file(const struct place *p, const void *data, size_t len, mode_t mode)
{
    int fd = open(p->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_true(write(fd, data, len) == (ssize_t)len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static enum dc_status load(struct place *p, const char *also, struct dc_conf **c,
                           struct dc_error *err)
{
    char also_copy[256];
    char *environ_z[] = {p->variable, also == NULL ? NULL : also_copy, NULL};

    snprintf(also_copy, sizeof(also_copy), "%s", also == NULL ? "" : also);
    *err = (struct dc_error){0};
    return dc_conf_load(environ_z, 0, NULL, NULL, 0, c, err);
}

static void line_ends_behind_the_secret_are_dropped(void **state)
{
    const struct {
        const char *content, *secret;
    } rows[] = {
        {SECRET, SECRET},
        {SECRET "\n", SECRET},
        {SECRET "\r\n", SECRET},
        {SECRET "\n\n", SECRET},
        {SECRET " \n", SECRET " "},
        {"\n" SECRET, "\n" SECRET},
        {SECRET "\n" SECRET "\n", SECRET "\n" SECRET},
    };
    struct place *p = *state;

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_conf *c = NULL;
        struct dc_error err;
        write_file(p, rows[i].content, strlen(rows[i].content), 0600);
        assert_int_equal(load(p, NULL, &c, &err), DC_OK);
        assert_string_equal(dc_conf_settings(c)->jwt_secret, rows[i].secret);
        assert_int_equal(dc_conf_warning_count(c), 0);
        dc_conf_destroy(c);
    }
}

static void unusable_file_is_refused_and_named(void **state)
{
    struct place *p = *state;
    struct dc_conf *c = NULL;
    struct dc_error err;

    assert_int_equal(load(p, NULL, &c, &err), DC_CONFIG);
    assert_null(c);
    assert_non_null(strstr(err.text, "JWT_SECRET_FILE="));
    assert_non_null(strstr(err.text, "No such file"));

    write_file(p, "\r\n\n", 3, 0600);
    assert_int_equal(load(p, NULL, &c, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "empty"));

    write_file(p, SECRET "\0x", sizeof(SECRET) + 1, 0600);
    assert_int_equal(load(p, NULL, &c, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "NUL"));
    assert_null(strstr(err.text, SECRET));

    write_file(p, "short\n", 6, 0600);
    assert_int_equal(load(p, NULL, &c, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "JWT_SECRET has less than 16 bytes (file /tmp/"));
    assert_null(strstr(err.text, "short"));

    unlink(p->file);
    assert_int_equal(mkdir(p->file, 0700), 0);
    assert_int_equal(load(p, NULL, &c, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "directory"));
}

static void pipe_or_device_is_refused_without_waiting_for_it(void **state)
{
    struct place *p = *state;
    struct dc_conf *c = NULL;
    struct dc_error err;

    assert_int_equal(mkfifo(p->file, 0600), 0);
    assert_int_equal(load(p, NULL, &c, &err), DC_CONFIG); /* nobody writes: open(2) would wait */
    assert_null(c);
    assert_non_null(strstr(err.text, "JWT_SECRET_FILE="));
    assert_non_null(strstr(err.text, "regular file"));

    int fd = open(p->file, O_RDWR | O_CLOEXEC); /* somebody does, but never ends: read(2) would */
    assert_true(fd >= 0);
    assert_int_equal(write(fd, SECRET, sizeof(SECRET) - 1), sizeof(SECRET) - 1);
    assert_int_equal(load(p, NULL, &c, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "regular file"));
    assert_null(strstr(err.text, SECRET));
    close(fd);

    assert_int_equal(unlink(p->file), 0);
    assert_int_equal(symlink("/dev/zero", p->file), 0);
    assert_int_equal(load(p, NULL, &c, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "regular file"));
}

static void link_to_a_file_is_followed(void **state)
{
    struct place *p = *state; /* as Kubernetes mounts them */
    struct dc_conf *c = NULL;
    struct dc_error err;
    char target[96];

    snprintf(target, sizeof(target), "%s/..data", p->dir);
    write_file(p, SECRET "\n", sizeof(SECRET), 0600);
    assert_int_equal(rename(p->file, target), 0);
    assert_int_equal(symlink("..data", p->file), 0);
    assert_int_equal(load(p, NULL, &c, &err), DC_OK);
    assert_string_equal(dc_conf_settings(c)->jwt_secret, SECRET);
    dc_conf_destroy(c);
    assert_int_equal(unlink(target), 0);
}

static void file_may_have_64_kib_and_not_a_byte_more(void **state)
{
    struct place *p = *state;
    struct dc_conf *c = NULL;
    struct dc_error err;
    char *content = dc_alloc(65537);

    memset(content, 'x', 65537);
    write_file(p, content, 65536, 0600);
    assert_int_equal(load(p, NULL, &c, &err), DC_OK);
    assert_int_equal(strlen(dc_conf_settings(c)->jwt_secret), 65536);
    dc_conf_destroy(c);
    write_file(p, content, 65537, 0600);
    assert_int_equal(load(p, NULL, &c, &err), DC_CONFIG);
    assert_non_null(strstr(err.text, "64 KiB"));
    dc_free(content);
}

static void file_that_everybody_can_read_is_warned_about(void **state)
{
    const struct {
        mode_t mode;
        bool is_warned;
    } rows[] = {{0600, false}, {0400, false}, {0640, false}, {0644, true}, {0604, true}};
    struct place *p = *state;

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_conf *c = NULL;
        struct dc_error err;
        unlink(p->file);
        write_file(p, SECRET, sizeof(SECRET) - 1, rows[i].mode);
        assert_int_equal(load(p, NULL, &c, &err), DC_OK);
        if (dc_conf_warning_count(c) != rows[i].is_warned) {
            fail_msg("mode %o", (unsigned)rows[i].mode);
        }
        if (rows[i].is_warned) {
            assert_non_null(strstr(dc_conf_warning(c, 0), p->file));
            assert_non_null(strstr(dc_conf_warning(c, 0), "JWT_SECRET_FILE"));
        }
        dc_conf_destroy(c);
    }
}

static void value_in_the_environment_is_stronger_than_the_file(void **state)
{
    struct place *p = *state; /* without a file: it is not even opened */
    struct dc_conf *c = NULL;
    struct dc_error err;

    assert_int_equal(load(p, "JWT_SECRET=fedcba9876543210", &c, &err), DC_OK);
    assert_string_equal(dc_conf_settings(c)->jwt_secret, "fedcba9876543210");
    assert_int_equal(dc_conf_warning_count(c), 1);
    assert_string_equal(dc_conf_warning(c, 0),
                        "JWT_SECRET and JWT_SECRET_FILE are both set; the file is not read");
    dc_conf_destroy(c);
}

static void urls_and_aliases_have_files_too_and_the_command_line_can_name_one(void **state)
{
    struct place *p = *state;
    char variable[128];
    char option[128];
    char name[] = "daarion";
    char *environ_z[] = {variable, NULL};
    char *argv[] = {name, option, NULL};
    struct dc_conf *c = NULL;

    write_file(p, "postgresql://u:p@h/db\n", 22, 0600);
    snprintf(variable, sizeof(variable), "DATABASE_URL_FILE=%s", p->file);
    assert_int_equal(dc_conf_load(environ_z, 0, NULL, NULL, 0, &c, NULL), DC_OK);
    assert_string_equal(dc_conf_settings(c)->database_url, "postgresql://u:p@h/db");
    dc_conf_destroy(c);

    snprintf(variable, sizeof(variable), "DATABASE_URL=postgresql://weaker");
    snprintf(option, sizeof(option), "--database-url-file=%s", p->file);
    assert_int_equal(dc_conf_load(environ_z, 2, argv, NULL, 0, &c, NULL), DC_OK);
    assert_string_equal(dc_conf_settings(c)->database_url, "postgresql://u:p@h/db");
    dc_conf_destroy(c);

    write_file(p, SECRET "\n", sizeof(SECRET), 0600);
    snprintf(variable, sizeof(variable), "AUTH_JWT_SECRET_FILE=%s", p->file);
    assert_int_equal(dc_conf_load(environ_z, 0, NULL, NULL, 0, &c, NULL), DC_OK);
    assert_string_equal(dc_conf_settings(c)->jwt_secret, SECRET);
    dc_conf_destroy(c);
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(line_ends_behind_the_secret_are_dropped),
        IN_PLACE(unusable_file_is_refused_and_named),
        IN_PLACE(pipe_or_device_is_refused_without_waiting_for_it),
        IN_PLACE(link_to_a_file_is_followed),
        IN_PLACE(file_may_have_64_kib_and_not_a_byte_more),
        IN_PLACE(file_that_everybody_can_read_is_warned_about),
        IN_PLACE(value_in_the_environment_is_stronger_than_the_file),
        IN_PLACE(urls_and_aliases_have_files_too_and_the_command_line_can_name_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
