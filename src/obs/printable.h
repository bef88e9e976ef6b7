/* Text from anywhere made fit to be shown: valid UTF-8 without characters that control a terminal,
 * and never longer than asked for.  For log values and health details; not for data. */
#ifndef DC_OBS_PRINTABLE_H
#define DC_OBS_PRINTABLE_H

#include "base/slice.h"

/* Writes at most cap bytes (cap >= 3), no NUL, and returns their number.  Every byte that is not
 * part of valid UTF-8, DEL and the control characters U+0080..U+009F become U+FFFD; the control
 * characters below U+0020 stay, for the caller to escape.  What does not fit is cut between two
 * characters and ends in U+2026 (...). */
size_t dc_printable_copy(struct dc_slice in, char *out, size_t cap);

#endif
