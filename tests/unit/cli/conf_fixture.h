/* A configuration over a directory of its own. */
#ifndef DC_TESTS_CLI_CONF_FIXTURE_H
#define DC_TESTS_CLI_CONF_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char dir[64];      /* removed with what is in it */
    char data_dir[80]; /* not made yet */
    char data_env[96]; /* DATA_DIR=… */
};

static inline int place_setup(void **state)
{
    struct place *p = dc_calloc(1, sizeof(*p));
    snprintf(p->dir, sizeof(p->dir), "/tmp/dc-test-cli.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->data_dir, sizeof(p->data_dir), "%s/var", p->dir);
    snprintf(p->data_env, sizeof(p->data_env), "DATA_DIR=%s", p->data_dir);
    *state = p;
    return 0;
}

static inline void remove_tree(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0) {
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            char below[512];
            int n = snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
            assert_in_range(n, 1, sizeof(below) - 1);
            remove_tree(below);
        }
    }
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

static inline int place_teardown(void **state)
{
    struct place *p = *state;
    remove_tree(p->dir);
    dc_free(p);
    return 0;
}

/* more: one further NAME=value, or NULL. */
static inline struct dc_conf *conf_of(struct place *p, char *more)
{
    char name[] = "daarion";
    char *argv[] = {name, NULL};
    char *env[] = {p->data_env, more, NULL};
    struct dc_conf *conf = NULL;
    struct dc_error err = {0};
    if (dc_conf_load(env, 1, argv, NULL, 0, &conf, &err) != DC_OK) {
        fail_msg("%s", dc_error_text(&err));
    }
    return conf;
}

static inline size_t count_files(const char *path)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n - 2; /* . and .. */
}

#endif
