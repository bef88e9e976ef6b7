/* Runs a fuzz target over every file of the given directories: `replay_json corpus/json
 * regression/json`.  A missing directory counts as empty (nothing has crashed yet), but no file at
 * all is a failure, and so is a file that cannot be read.  Prints each name first, so that the last
 * line tells which input crashed. */
#include "fuzz.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int replay_file(const char *path)
{
    printf("%s\n", path);
    fflush(stdout);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int rc = -1;
    uint8_t *data = NULL;
    long size = -1;
    if (fseek(file, 0, SEEK_END) == 0) {
        size = ftell(file);
    }
    if (size >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        /* exactly as large as the file, so that a sanitizer sees a read past its end */
        data = malloc(size == 0 ? 1 : (size_t)size);
    }
    if (data != NULL && fread(data, 1, (size_t)size, file) == (size_t)size) {
        rc = LLVMFuzzerTestOneInput(data, (size_t)size);
    } else {
        fprintf(stderr, "%s: cannot be read\n", path);
    }
    free(data);
    fclose(file);
    return rc;
}

/* The number of files, or -1. */
static int replay_directory(const char *dir_path)
{
    DIR *dir = opendir(dir_path);
    if (dir == NULL) {
        if (errno == ENOENT) {
            return 0;
        }
        fprintf(stderr, "%s: %s\n", dir_path, strerror(errno));
        return -1;
    }
    int count = 0;
    const struct dirent *entry;
    while (count >= 0 && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];
        if (entry->d_name[0] == '.') {
            continue;
        }
        int n = snprintf(path, sizeof(path), "%s/%s", dir_path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(path) || replay_file(path) != 0) {
            count = -1;
        } else {
            count++;
        }
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int count = replay_directory(argv[i]);
        if (count < 0) {
            return 1;
        }
        total += count;
    }
    printf("%d inputs\n", total);
    return total > 0 ? 0 : 1;
}
