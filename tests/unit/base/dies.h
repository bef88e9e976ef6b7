/* Runs a function in a child process that is expected to abort. */
#ifndef DC_TESTS_DIES_H
#define DC_TESTS_DIES_H

#include <stdbool.h>

/* true if fn(data) ended by SIGABRT and wrote a line with `expected` in it to stderr. */
bool dies_with(const char *expected, void (*fn)(void *data), void *data);

#endif
