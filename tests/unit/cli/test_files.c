/* The data directory and the secrets that are kept in it. */
#include "conf_fixture.h"

#include <sys/wait.h>

#define CHILDREN 12

static void ensure_all(struct place *p, struct dc_conf *conf)
{
    struct dc_error err = {0};
    (void)p;
    assert_int_equal(dc_cli_ensure_data_dir(dc_conf_settings(conf), &err), DC_OK);
    if (dc_cli_ensure_secrets(conf, &err) != DC_OK) {
        fail_msg("%s", dc_error_text(&err));
    }
}

static void path_in(const struct place *p, const char *name, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/%s", p->data_dir, name);
    assert_true(n > 0 && (size_t)n < size);
}

static void write_file(const struct place *p, const char *name, const char *bytes, size_t len)
{
    char path[160];
    path_in(p, name, path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static void secrets_are_made_once_and_only_for_their_owner(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"jwt_secret", "internal_api_key"};
    struct dc_conf *first = conf_of(p, NULL);
    ensure_all(p, first);
    const struct dc_settings *s = dc_conf_settings(first);
    assert_int_equal(strlen(s->jwt_secret), 43);
    assert_int_equal(strlen(s->internal_api_key), 43);
    assert_string_not_equal(s->jwt_secret, s->internal_api_key);
    for (size_t i = 0; i < DC_ARRAY_LEN(names); i++) {
        char path[160];
        struct stat st;
        path_in(p, names[i], path, sizeof(path));
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_size, 43);
    }
    assert_int_equal(count_files(p->data_dir), 2); /* nothing is left beside them */
    struct dc_conf *again = conf_of(p, NULL);
    ensure_all(p, again);
    assert_string_equal(dc_conf_settings(again)->jwt_secret, s->jwt_secret);
    assert_string_equal(dc_conf_settings(again)->internal_api_key, s->internal_api_key);
    dc_conf_destroy(first);
    dc_conf_destroy(again);
}

static void a_secret_that_is_configured_is_neither_read_nor_written(void **state)
{
    struct place *p = *state;
    char given[] = "JWT_SECRET=0123456789abcdef0123";
    struct dc_conf *conf = conf_of(p, given);
    ensure_all(p, conf);
    assert_string_equal(dc_conf_settings(conf)->jwt_secret, "0123456789abcdef0123");
    assert_int_equal(count_files(p->data_dir), 1); /* the internal key */
    dc_conf_destroy(conf);
}

static void a_damaged_file_is_refused_and_left_as_it_is(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } files[] = {
        {"", 0},
        {"short", 5},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 42},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 44},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\n", 45},
        {"AAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAA", 43},
        {"AAAAAAAAAAAAAAAAAAAAA\0AAAAAAAAAAAAAAAAAAAAA", 43},
        {"AAAAAAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAAAAA", 43},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB", 43}, /* unused bits that are not 0 */
    };
    struct place *p = *state;
    struct dc_conf *conf = conf_of(p, NULL);
    struct dc_error err = {0};
    assert_int_equal(dc_cli_ensure_data_dir(dc_conf_settings(conf), &err), DC_OK);
    for (size_t i = 0; i < DC_ARRAY_LEN(files); i++) {
        char path[160];
        struct stat st;
        path_in(p, "jwt_secret", path, sizeof(path));
        write_file(p, "jwt_secret", files[i].bytes, files[i].len);
        if (dc_cli_ensure_secrets(conf, &err) != DC_CONFIG) {
            fail_msg("file %zu was taken", i);
        }
        assert_non_null(strstr(err.text, path));
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, files[i].len);
        assert_null(dc_conf_settings(conf)->jwt_secret);
    }
    dc_conf_destroy(conf);
}

static void what_is_no_plain_file_is_refused(void **state)
{
    struct place *p = *state;
    struct dc_conf *conf = conf_of(p, NULL);
    struct dc_error err = {0};
    char path[160], target[160];
    assert_int_equal(dc_cli_ensure_data_dir(dc_conf_settings(conf), &err), DC_OK);
    path_in(p, "jwt_secret", path, sizeof(path));
    path_in(p, "elsewhere", target, sizeof(target));

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(dc_cli_ensure_secrets(conf, &err), DC_CONFIG);
    assert_int_equal(rmdir(path), 0);

    assert_int_equal(mkfifo(path, 0600), 0); /* without a writer: opening must not wait */
    assert_int_equal(dc_cli_ensure_secrets(conf, &err), DC_CONFIG);
    assert_int_equal(unlink(path), 0);

    write_file(p, "elsewhere", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 43);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(dc_cli_ensure_secrets(conf, &err), DC_CONFIG);
    assert_int_equal(unlink(path), 0);
    dc_conf_destroy(conf);
}

static void a_line_break_behind_the_secret_does_no_harm(void **state)
{
    struct place *p = *state;
    struct dc_conf *conf = conf_of(p, NULL);
    struct dc_error err = {0};
    assert_int_equal(dc_cli_ensure_data_dir(dc_conf_settings(conf), &err), DC_OK);
    write_file(p, "jwt_secret", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", 44);
    assert_int_equal(dc_cli_ensure_secrets(conf, &err), DC_OK);
    assert_string_equal(dc_conf_settings(conf)->jwt_secret,
                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    dc_conf_destroy(conf);
}

static void what_a_killed_process_left_behind_is_in_nobodys_way(void **state)
{
    struct place *p = *state;
    struct dc_conf *conf = conf_of(p, NULL);
    struct dc_error err = {0};
    char name[64];
    assert_int_equal(dc_cli_ensure_data_dir(dc_conf_settings(conf), &err), DC_OK);
    snprintf(name, sizeof(name), "jwt_secret.%ld", (long)getpid());
    write_file(p, name, "half", 4);
    assert_int_equal(dc_cli_ensure_secrets(conf, &err), DC_OK);
    dc_conf_destroy(conf);
}

static void processes_that_start_at_once_agree_on_one_secret(void **state)
{
    struct place *p = *state;
    int go[2], said[2];
    pid_t children[CHILDREN];
    char first[44] = "";
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(said), 0);
    for (size_t i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            char byte;
            close(go[1]);
            if (read(go[0], &byte, 1) != 0) { /* until the parent closes it */
                _exit(1);
            }
            struct dc_conf *conf = conf_of(p, NULL);
            bool ok = dc_cli_ensure_data_dir(dc_conf_settings(conf), NULL) == DC_OK &&
                      dc_cli_ensure_secrets(conf, NULL) == DC_OK &&
                      write(said[1], dc_conf_settings(conf)->jwt_secret, 43) == 43;
            _exit(ok ? 0 : 1);
        }
    }
    close(go[0]);
    close(go[1]);
    for (size_t i = 0; i < CHILDREN; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    for (size_t i = 0; i < CHILDREN; i++) {
        char secret[44] = "";
        assert_int_equal(read(said[0], secret, 43), 43); /* writes of 43 bytes are never mixed */
        if (i == 0) {
            memcpy(first, secret, sizeof(first));
        }
        assert_string_equal(secret, first);
    }
    close(said[0]);
    close(said[1]);
    assert_int_equal(count_files(p->data_dir), 2);
}

static void the_data_directory_is_made_for_its_owner_alone(void **state)
{
    struct place *p = *state;
    struct dc_conf *conf = conf_of(p, NULL);
    struct stat st;
    assert_int_equal(dc_cli_ensure_data_dir(dc_conf_settings(conf), NULL), DC_OK);
    assert_int_equal(stat(p->data_dir, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(chmod(p->data_dir, 0750), 0);
    assert_int_equal(dc_cli_ensure_data_dir(dc_conf_settings(conf), NULL), DC_OK);
    assert_int_equal(stat(p->data_dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750); /* what is there is not changed */
    dc_conf_destroy(conf);
}

static void a_data_directory_that_cannot_be_is_named(void **state)
{
    struct place *p = *state;
    struct dc_error err = {0};
    char file[80], below[96], deep[96];
    struct dc_settings settings = {0};
    snprintf(file, sizeof(file), "%s/file", p->dir);
    snprintf(below, sizeof(below), "%s/below", file);
    snprintf(deep, sizeof(deep), "%s/not/there", p->dir);
    int fd = open(file, O_WRONLY | O_CREAT, 0777);
    assert_true(fd >= 0);
    close(fd);
    const char *const dirs[] = {file, below, deep};
    for (size_t i = 0; i < DC_ARRAY_LEN(dirs); i++) {
        settings.data_dir = dirs[i];
        assert_int_equal(dc_cli_ensure_data_dir(&settings, &err), DC_CONFIG);
        assert_non_null(strstr(err.text, "DATA_DIR"));
        assert_non_null(strstr(err.text, dirs[i]));
    }
    if (geteuid() != 0) { /* root may write everywhere */
        settings.data_dir = p->dir;
        assert_int_equal(chmod(p->dir, 0500), 0);
        assert_int_equal(dc_cli_ensure_data_dir(&settings, &err), DC_CONFIG);
        assert_int_equal(chmod(p->dir, 0700), 0);
    }
}

static void a_data_directory_is_locked_by_one_at_a_time(void **state)
{
    struct place *p = *state;
    const struct dc_settings settings = {.data_dir = p->data_dir};
    struct dc_error err = {0};
    int first, second;
    assert_int_equal(dc_cli_lock_data_dir(&settings, &first, &err), DC_CONFIG); /* there is none */
    assert_int_equal(first, -1);
    assert_int_equal(dc_cli_ensure_data_dir(&settings, NULL), DC_OK);
    assert_int_equal(dc_cli_lock_data_dir(&settings, &first, &err), DC_OK);
    assert_int_equal(dc_cli_lock_data_dir(&settings, &second, &err), DC_CONFIG);
    assert_int_equal(second, -1);
    assert_non_null(strstr(dc_error_text(&err), "DATA_DIR"));
    assert_non_null(strstr(dc_error_text(&err), "NATS_URL"));
    close(first);
    assert_int_equal(dc_cli_lock_data_dir(&settings, &second, &err), DC_OK);
    close(second);
}

static void directories_are_found_by_setting_or_beside_the_program(void **state)
{
    const struct dc_cli cli = {.program_path = "daarion"};
    struct dc_strbuf out = {0};
    (void)state;
    dc_cli_find_dir(&cli, "/some/where", "x", "y", &out);
    assert_string_equal(out.ptr, "/some/where"); /* taken as it is, there or not */
    dc_strbuf_clear(&out);
    dc_cli_find_dir(&cli, NULL, "no such directory", ".", &out);
    assert_true(out.ptr[0] == '/');
    assert_true(out.len > 2 && strcmp(out.ptr + out.len - 3, "/.") == 0);
    dc_strbuf_clear(&out);
    dc_cli_find_dir(&cli, NULL, "no such directory", "nor this", &out);
    assert_non_null(strstr(out.ptr, "nor this")); /* for the complaint that follows */
    dc_strbuf_free(&out);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        CASE(secrets_are_made_once_and_only_for_their_owner),
        CASE(a_secret_that_is_configured_is_neither_read_nor_written),
        CASE(a_damaged_file_is_refused_and_left_as_it_is),
        CASE(what_is_no_plain_file_is_refused),
        CASE(a_line_break_behind_the_secret_does_no_harm),
        CASE(what_a_killed_process_left_behind_is_in_nobodys_way),
        CASE(processes_that_start_at_once_agree_on_one_secret),
        CASE(the_data_directory_is_made_for_its_owner_alone),
        CASE(a_data_directory_that_cannot_be_is_named),
        CASE(a_data_directory_is_locked_by_one_at_a_time),
        CASE(directories_are_found_by_setting_or_beside_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
