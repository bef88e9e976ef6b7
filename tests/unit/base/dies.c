#include "dies.h"
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

bool dies_with(const char *expected, void (*fn)(void *data), void *data)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    pid_t pid = fork();
    if (pid == -1) {
        return false;
    }
    if (pid == 0) {
        /* No core file, no handler of the test framework. */
        struct rlimit none = {0, 0};
        if (setrlimit(RLIMIT_CORE, &none) != 0 || signal(SIGABRT, SIG_DFL) == SIG_ERR ||
            dup2(ends[1], STDERR_FILENO) == -1) {
            _exit(2);
        }
        fn(data);
        _exit(0);
    }
    close(ends[1]);
    char text[4096];
    size_t len = 0;
    for (;;) {
        ssize_t n = read(ends[0], text + len, sizeof(text) - 1 - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    text[len] = '\0';
    close(ends[0]);
    int status = 0;
    if (waitpid(pid, &status, 0) != pid) {
        return false;
    }
    bool is_expected =
        WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(text, expected) != NULL;
    if (!is_expected) {
        fprintf(stderr, "expected to die with '%s', got status %d and: %s\n", expected, status,
                text);
    }
    return is_expected;
}
