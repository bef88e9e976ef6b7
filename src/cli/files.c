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
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_BYTES 32
#define SECRET_CHARS 43 /* base64url of SECRET_BYTES */

/* Paths are small and made at start: without memory for them the process may as well end. */
static const char *path_z(struct dc_strbuf *b)
{
    dc_strbuf_add_char(b, '\0');
    DC_ASSERT(dc_strbuf_ok(b));
    return b->ptr;
}

bool dc_cli_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

enum dc_status dc_cli_ensure_data_dir(const struct dc_settings *settings, struct dc_error *err)
{
    const char *dir = settings->data_dir;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return dc_fail(err, DC_CONFIG, errno, "DATA_DIR: cannot make \"%s\": %s", dir,
                       dc_errno_text(errno));
    }
    if (!dc_cli_is_dir(dir)) {
        return dc_fail(err, DC_CONFIG, ENOTDIR, "DATA_DIR: \"%s\" is no directory", dir);
    }
    if (access(dir, W_OK | X_OK) != 0) {
        return dc_fail(err, DC_CONFIG, errno, "DATA_DIR: cannot write to \"%s\": %s", dir,
                       dc_errno_text(errno));
    }
    return DC_OK;
}

enum dc_status dc_cli_lock_data_dir(const struct dc_settings *settings, int *fd,
                                    struct dc_error *err)
{
    struct dc_strbuf path = {0};
    dc_strbuf_printf(&path, "%s/lock", settings->data_dir);
    const char *path_name = path_z(&path);
    enum dc_status st = DC_OK;
    *fd = open(path_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0) {
        st = dc_fail(err, DC_CONFIG, errno, "DATA_DIR: cannot open \"%s\": %s", path_name,
                     dc_errno_text(errno));
    } else if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        st = errno == EWOULDBLOCK
                 ? dc_fail(err, DC_CONFIG, errno,
                           "DATA_DIR: another process has \"%s\": several need DATABASE_URL, "
                           "REDIS_URL and NATS_URL",
                           settings->data_dir)
                 : dc_fail(err, DC_CONFIG, errno, "DATA_DIR: cannot lock \"%s\": %s", path_name,
                           dc_errno_text(errno));
        (void)close(*fd);
        *fd = -1;
    }
    dc_strbuf_free(&path);
    return st;
}

void dc_cli_sqlite_path(const struct dc_settings *settings, struct dc_strbuf *out)
{
    dc_strbuf_add_z(out, settings->data_dir);
    dc_strbuf_add(out, DC_S("/daarion.sqlite"));
    (void)path_z(out);
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
        if (dc_cli_is_dir(path_z(out))) {
            return;
        }
    }
}

/* --- secrets --- */

/* One secret and perhaps the line break that an editor leaves. */
static bool secret_is_whole(const char *text, size_t len)
{
    uint8_t bytes[SECRET_BYTES];
    size_t n = 0;
    if (len == SECRET_CHARS + 1 && text[SECRET_CHARS] == '\n') {
        len--;
    }
    bool is_whole = len == SECRET_CHARS &&
                    dc_base64url_decode(dc_slice_make(text, len), bytes, sizeof(bytes), &n) &&
                    n == SECRET_BYTES;
    dc_wipe(bytes, sizeof(bytes));
    return is_whole;
}

/* DC_NOT_FOUND: there is no such file. */
static enum dc_status secret_read(const char *path, char out[SECRET_CHARS + 1],
                                  struct dc_error *err)
{
    char text[SECRET_CHARS + 2]; /* one more than a good file has */
    struct stat st;
    /* O_NONBLOCK: opening a pipe must not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return dc_fail(err, errno == ENOENT ? DC_NOT_FOUND : DC_CONFIG, errno,
                       "cannot read \"%s\": %s", path, dc_errno_text(errno));
    }
    ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, text, sizeof(text)) : -1;
    (void)close(fd);
    bool is_whole = n > 0 && secret_is_whole(text, (size_t)n);
    if (is_whole) {
        memcpy(out, text, SECRET_CHARS);
        out[SECRET_CHARS] = '\0';
    }
    dc_wipe(text, sizeof(text));
    return is_whole ? DC_OK
                    : dc_fail(err, DC_CONFIG, 0,
                              "\"%s\" is damaged: remove it to make a new secret", path);
}

/* Creates temp_z with the text in it, on the disk. */
static enum dc_status secret_put(const char *temp_z, struct dc_slice text, struct dc_error *err)
{
    int fd = open(temp_z, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int cause = fd < 0 ? errno : 0;
    if (fd >= 0) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n != (ssize_t)text.len) {
            cause = n < 0 ? errno : ENOSPC;
        } else if (fsync(fd) != 0) {
            cause = errno;
        }
        if (close(fd) != 0 && cause == 0) {
            cause = errno;
        }
    }
    return cause == 0 ? DC_OK
                      : dc_fail(err, DC_CONFIG, cause, "cannot write \"%s\": %s", temp_z,
                                dc_errno_text(cause));
}

/* Whole or not at all, and never over an existing one: written beside and linked into place.  The
 * name beside is random: a leftover of a process that was killed is in nobody's way. */
static enum dc_status secret_write(const char *path, struct dc_error *err)
{
    uint8_t bytes[SECRET_BYTES];
    struct dc_strbuf text = {0};
    struct dc_strbuf temp = {0};
    dc_random_fill(NULL, bytes, sizeof(bytes));
    dc_base64url_encode(&text, dc_slice_make(bytes, sizeof(bytes)));
    dc_wipe(bytes, sizeof(bytes));
    DC_ASSERT(dc_strbuf_ok(&text) && text.len == SECRET_CHARS);
    dc_strbuf_printf(&temp, "%s.%016llx", path, (unsigned long long)dc_random_u64(NULL));
    const char *temp_z = path_z(&temp);
    enum dc_status st = secret_put(temp_z, dc_strbuf_slice(&text), err);
    if (st == DC_OK && link(temp_z, path) != 0 && errno != EEXIST) {
        st = dc_fail(err, DC_CONFIG, errno, "cannot write \"%s\": %s", path, dc_errno_text(errno));
    }
    (void)unlink(temp_z); /* may not be there; left behind it harms nobody */
    dc_wipe(text.ptr, text.len);
    dc_strbuf_free(&text);
    dc_strbuf_free(&temp);
    return st;
}

/* is_made: one that is missing is made, else left out. */
static enum dc_status take_secret(struct dc_conf *conf, const char *name, const char *value,
                                  const char *file, bool is_made, struct dc_error *err)
{
    char text[SECRET_CHARS + 1] = "";
    struct dc_strbuf path = {0};
    if (value != NULL) {
        return DC_OK;
    }
    dc_strbuf_printf(&path, "%s/%s", dc_conf_settings(conf)->data_dir, file);
    const char *file_z = path_z(&path);
    enum dc_status st = secret_read(file_z, text, err);
    if (st == DC_NOT_FOUND && is_made) {
        st = secret_write(file_z, err);
        if (st == DC_OK) {
            st = secret_read(file_z, text, err);
        }
    }
    if (st == DC_OK) {
        st = dc_conf_set(conf, name, text, file_z, err);
    } else if (st == DC_NOT_FOUND && !is_made) {
        st = DC_OK;
    }
    dc_wipe(text, sizeof(text));
    dc_strbuf_free(&path);
    return st;
}

static enum dc_status take_secrets(struct dc_conf *conf, bool is_made, struct dc_error *err)
{
    const struct dc_settings *settings = dc_conf_settings(conf);
    enum dc_status st =
        take_secret(conf, "JWT_SECRET", settings->jwt_secret, "jwt_secret", is_made, err);
    if (st == DC_OK) {
        st = take_secret(conf, "INTERNAL_API_KEY", settings->internal_api_key, "internal_api_key",
                         is_made, err);
    }
    return st;
}

enum dc_status dc_cli_ensure_secrets(struct dc_conf *conf, struct dc_error *err)
{
    return take_secrets(conf, true, err);
}

enum dc_status dc_cli_read_secrets(struct dc_conf *conf, struct dc_error *err)
{
    return take_secrets(conf, false, err);
}
