/* What every fuzz target defines.  Called by libFuzzer, or by replay_main.c over kept files. */
#ifndef DC_FUZZ_FUZZ_H
#define DC_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
