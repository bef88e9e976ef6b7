/* What the operating system knows about this process, for the metrics page. */
#ifndef DC_OBS_PROCESS_H
#define DC_OBS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Each answers false when the system does not say; *out is then unchanged. */
bool dc_process_cpu_us(uint64_t *out);
bool dc_process_resident_bytes(uint64_t *out);
bool dc_process_open_fds(uint64_t *out);
/* Milliseconds since 1970; 10 ms fine.  Derived from the present UTC time, so ask once. */
bool dc_process_start_utc_ms(int64_t *out);

#endif
