/* Secrets from files: Docker and Kubernetes mount them, systemd hands them out. */
#include "base/mem.h"
#include "conf/conf_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES 65536

static enum dc_status fail_file(struct dc_error *err, const char *name, const char *path, int cause,
                                const char *what)
{
    return dc_fail(err, DC_CONFIG, cause, "%s=%.80s: %s", name, path, what);
}

/* All of it into buf; the number of bytes, SIZE_MAX with errno on failure. */
static size_t read_fd(int fd, char *buf, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, buf + len, size - len);
        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n == -1) {
            return SIZE_MAX;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    return len;
}

static enum dc_status take_contents(struct dc_conf *c, const char *name, const char *path, int fd,
                                    char *buf, char **out, struct dc_error *err)
{
    struct stat st;
    size_t len;

    if (fstat(fd, &st) == -1) {
        return fail_file(err, name, path, errno, dc_errno_text(errno));
    }
    if (S_ISDIR(st.st_mode)) {
        return fail_file(err, name, path, EISDIR, dc_errno_text(EISDIR));
    }
    if (!S_ISREG(st.st_mode)) {
        return fail_file(err, name, path, 0, "is no regular file (nobody waits for a pipe here)");
    }
    len = read_fd(fd, buf, FILE_MAX_BYTES + 1);
    if (len == SIZE_MAX) {
        return fail_file(err, name, path, errno, dc_errno_text(errno));
    }
    if (len > FILE_MAX_BYTES) {
        return fail_file(err, name, path, 0, "is larger than 64 KiB");
    }
    while (len > 0 && (buf[len - 1] == '\n' || buf[len - 1] == '\r')) {
        len--;
    }
    if (len == 0) {
        return fail_file(err, name, path, 0, "the file is empty");
    }
    if (memchr(buf, '\0', len) != NULL) {
        return fail_file(err, name, path, 0, "the file has NUL bytes");
    }
    if ((st.st_mode & S_IRWXO) != 0) {
        dc_conf_warn(c, "%s=%s can be read by every user of this machine (mode %04o); chmod o= it",
                     name, path, (unsigned)st.st_mode & 07777);
    }
    *out = dc_slice_dup_z(dc_slice_make(buf, len));
    return DC_OK;
}

enum dc_status dc_conf_file_read(struct dc_conf *c, const char *name, const char *path, char **out,
                                 struct dc_error *err)
{
    /* Not blocking: a pipe that nobody writes to must not hold up the start. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    enum dc_status st;
    char *buf;

    *out = NULL;
    if (fd == -1) {
        return fail_file(err, name, path, errno, dc_errno_text(errno));
    }
    buf = dc_alloc(FILE_MAX_BYTES + 1);
    st = take_contents(c, name, path, fd, buf, out, err);
    dc_wipe(buf, FILE_MAX_BYTES + 1);
    dc_free(buf);
    close(fd);
    return st;
}
