/* Directories and secrets of a process. */
#include "base/encoding.h"
#include "base/mem.h"
#include "base/random.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_BYTES 32
#define SECRET_CHARS 43 /* base64url of SECRET_BYTES */

static const char *path_z(struct dc_strbuf *b)
{
    dc_strbuf_add_char(b, '\0');
    return dc_strbuf_ok(b) ? b->ptr : "";
}

enum dc_status dc_cli_ensure_data_dir(const struct dc_settings *settings, struct dc_error *err)
{
    if (mkdir(settings->data_dir, 0700) != 0 && errno != EEXIST) {
        return dc_fail(err, DC_CONFIG, errno, "DATA_DIR: cannot make \"%s\": %s",
                       settings->data_dir, strerror(errno));
    }
    if (access(settings->data_dir, W_OK | X_OK) != 0) {
        return dc_fail(err, DC_CONFIG, errno, "DATA_DIR: cannot write to \"%s\": %s",
                       settings->data_dir, strerror(errno));
    }
    return DC_OK;
}

void dc_cli_sqlite_path(const struct dc_settings *settings, struct dc_strbuf *out)
{
    dc_strbuf_add_z(out, settings->data_dir);
    dc_strbuf_add(out, DC_S("/daarion.sqlite"));
    (void)path_z(out);
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

void dc_cli_find_dir(const struct dc_cli *cli, const char *configured_z, const char *in_tree_z,
                     const char *installed_z, struct dc_strbuf *out)
{
    char self[PATH_MAX];
    const char *const relative[] = {in_tree_z, installed_z};
    if (configured_z != NULL) {
        dc_strbuf_add_z(out, configured_z);
        (void)path_z(out);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0) {
        n = snprintf(self, sizeof(self), "%s", cli->program_path);
    }
    struct dc_slice dir = dc_slice_make(self, (size_t)n < sizeof(self) ? (size_t)n : 0);
    while (dir.len > 0 && dir.ptr[dir.len - 1] != '/') {
        dir.len--;
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(relative); i++) {
        dc_strbuf_clear(out);
        dc_strbuf_add(out, dir);
        dc_strbuf_add_z(out, relative[i]);
        if (is_dir(path_z(out))) {
            return;
        }
    }
}

/* --- secrets --- */

static enum dc_status secret_read(const char *path, char out[SECRET_CHARS + 1],
                                  struct dc_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return dc_fail(err, errno == ENOENT ? DC_NOT_FOUND : DC_CONFIG, errno,
                       "cannot read \"%s\": %s", path, strerror(errno));
    }
    ssize_t n = read(fd, out, SECRET_CHARS);
    (void)close(fd);
    if (n != SECRET_CHARS) {
        return dc_fail(err, DC_CONFIG, 0, "\"%s\" is damaged: remove it to make a new secret",
                       path);
    }
    out[SECRET_CHARS] = '\0';
    return DC_OK;
}

/* Whole or not at all, and never over an existing one: written beside and linked into place. */
static enum dc_status secret_write(const char *path, struct dc_error *err)
{
    uint8_t bytes[SECRET_BYTES];
    struct dc_strbuf text = {0};
    struct dc_strbuf temp = {0};
    enum dc_status st = DC_OK;
    dc_random_fill(NULL, bytes, sizeof(bytes));
    dc_base64url_encode(&text, dc_slice_make(bytes, sizeof(bytes)));
    dc_wipe(bytes, sizeof(bytes));
    dc_strbuf_printf(&temp, "%s.%ld", path, (long)getpid());
    const char *temp_z = path_z(&temp);
    int fd = open(temp_z, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.ptr, text.len) != (ssize_t)text.len || fsync(fd) != 0) {
        st = dc_fail(err, DC_CONFIG, errno, "cannot write \"%s\": %s", temp_z, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (st == DC_OK && link(temp_z, path) != 0 && errno != EEXIST) {
        st = dc_fail(err, DC_CONFIG, errno, "cannot write \"%s\": %s", path, strerror(errno));
    }
    if (fd >= 0) {
        (void)unlink(temp_z);
    }
    dc_wipe(text.ptr, text.len);
    dc_strbuf_free(&text);
    dc_strbuf_free(&temp);
    return st;
}

static enum dc_status ensure_secret(struct dc_conf *conf, const char *name, const char *value,
                                    const char *file, struct dc_error *err)
{
    char text[SECRET_CHARS + 1];
    struct dc_strbuf path = {0};
    if (value != NULL) {
        return DC_OK;
    }
    dc_strbuf_printf(&path, "%s/%s", dc_conf_settings(conf)->data_dir, file);
    const char *file_z = path_z(&path);
    enum dc_status st = secret_read(file_z, text, err);
    if (st == DC_NOT_FOUND) {
        st = secret_write(file_z, err);
        if (st == DC_OK) {
            st = secret_read(file_z, text, err);
        }
    }
    if (st == DC_OK) {
        st = dc_conf_set(conf, name, text, file_z, err);
    }
    dc_wipe(text, sizeof(text));
    dc_strbuf_free(&path);
    return st;
}

enum dc_status dc_cli_ensure_secrets(struct dc_conf *conf, struct dc_error *err)
{
    const struct dc_settings *settings = dc_conf_settings(conf);
    enum dc_status st = ensure_secret(conf, "JWT_SECRET", settings->jwt_secret, "jwt_secret", err);
    if (st == DC_OK) {
        st = ensure_secret(conf, "INTERNAL_API_KEY", settings->internal_api_key, "internal_api_key",
                           err);
    }
    return st;
}
