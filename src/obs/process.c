/* Process figures from getrusage(2) and /proc.  Reading /proc does not wait for a disk. */
#include "obs/process.h"
#include "base/slice.h"
#include "base/time.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t timeval_us(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

bool dc_process_cpu_us(uint64_t *out)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) == -1) {
        return false;
    }
    *out = timeval_us(u.ru_utime) + timeval_us(u.ru_stime);
    return true;
}

/* The start of a small file; false when it cannot be read. */
static bool read_start(const char *path, char *buf, size_t size, struct dc_slice *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd == -1) {
        return false;
    }
    ssize_t n = read(fd, buf, size);
    close(fd);
    if (n <= 0) {
        return false;
    }
    *out = dc_slice_make(buf, (size_t)n);
    return true;
}

/* The field with this number, counted from 0, of a text separated by blanks. */
static bool field_u64(struct dc_slice text, size_t number, uint64_t *out)
{
    struct dc_slice field;

    for (size_t i = 0; dc_slice_take_token(&text, ' ', &field); i++) {
        if (i == number) {
            return dc_slice_to_u64(field, out);
        }
    }
    return false;
}

bool dc_process_resident_bytes(uint64_t *out)
{
    char buf[256];
    struct dc_slice text;
    uint64_t pages = 0;
    long page_bytes = sysconf(_SC_PAGESIZE);

    /* size resident shared text lib data dt */
    if (page_bytes <= 0 || !read_start("/proc/self/statm", buf, sizeof(buf), &text) ||
        !field_u64(text, 1, &pages)) {
        return false;
    }
    *out = pages * (uint64_t)page_bytes;
    return true;
}

bool dc_process_open_fds(uint64_t *out)
{
    struct stat st;

    /* Since Linux 6.2 the directory's size is the answer; counting twenty thousand names takes
     * milliseconds. */
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
        *out = (uint64_t)st.st_size;
        return true;
    }
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return false;
    }
    uint64_t n = 0;
    for (;;) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): safe on a stream that nobody shares */
        const struct dirent *e = readdir(dir);
        if (e == NULL) {
            break;
        }
        n += e->d_name[0] != '.';
    }
    closedir(dir);
    *out = n > 0 ? n - 1 : 0; /* not the one of dir itself */
    return true;
}

bool dc_process_start_utc_ms(int64_t *out)
{
    char buf[1024];
    struct dc_slice text;
    struct timespec boot;
    uint64_t start_ticks = 0;
    long ticks_per_s = sysconf(_SC_CLK_TCK);
    const char *end;

    if (ticks_per_s <= 0 || clock_gettime(CLOCK_BOOTTIME, &boot) == -1 ||
        !read_start("/proc/self/stat", buf, sizeof(buf), &text)) {
        return false;
    }
    /* The second field is the program's name in brackets and may hold blanks and brackets. */
    end = memrchr(text.ptr, ')', text.len);
    if (end == NULL) {
        return false;
    }
    /* From ')' on: ") S ppid ...": starttime, field 22 of the manual, is the 20th behind it. */
    text = dc_slice_make(end, text.len - (size_t)(end - text.ptr));
    if (!field_u64(text, 20, &start_ticks)) {
        return false;
    }
    int64_t boot_ms = (int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000;
    int64_t start_ms = (int64_t)(start_ticks * 1000 / (uint64_t)ticks_per_s);
    *out = dc_utc_now().ms - (boot_ms - start_ms);
    return true;
}
