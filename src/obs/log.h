/* Logs: one event a line on stderr, JSON or readable (C-STYLE §3.7).  An event has a constant
 * dotted name and typed fields; values are escaped and cut at 512 bytes.  Tokens, secrets and
 * message bodies are never logged. error: somebody must act. warn: we coped. info: life cycle.
 * debug: off by default. */
#ifndef DC_OBS_LOG_H
#define DC_OBS_LOG_H

#include "base/slice.h"
#include "base/status.h"
#include "base/time.h"

enum dc_log_level { DC_LOG_DEBUG, DC_LOG_INFO, DC_LOG_WARN, DC_LOG_ERROR };

struct dc_log_opts {
    enum dc_log_level level;
    bool is_json; /* else readable text, coloured when fd is a terminal */
    int fd;       /* 2 in production; tests give a pipe.  Borrowed, its flags are not changed */
    /* NULL: dc_utc_now.  Tests give their own. */
    struct dc_utc (*now)(void *data);
    void *now_data;
};
/* Events of one name and level above this many in a second are summed up: the next line of that
 * name and level, or a line of its own once the second is over and anything is logged, carries
 * "suppressed":n.  Errors are not: each is written. */
#define DC_LOG_BURST 20
/* A value longer than this is cut and ends in U+2026; what is not UTF-8 in it becomes U+FFFD. */
#define DC_LOG_VALUE_MAX_BYTES 512
/* A line is one write(2) that a pipe takes whole; fields past this are left out ("cut":true).
 * Nothing is written to an fd that would block: such lines are counted, and the first line that
 * goes out again is preceded by the event log.dropped with "lines":n. */
#define DC_LOG_LINE_MAX_BYTES 4096

/* Belongs to the loop's thread. */
struct dc_log;
struct dc_log *dc_log_create(const struct dc_log_opts *opts);
/* Writes what was suppressed; NULL is allowed. */
void dc_log_destroy(struct dc_log *log);

enum dc_log_field_type { DC_LF_END, DC_LF_TEXT, DC_LF_INT, DC_LF_BOOL };
struct dc_log_field {
    enum dc_log_field_type type;
    const char *key;
    struct dc_slice text;
    int64_t num;
};
#define DC_LF_T(k, slice_) ((struct dc_log_field){DC_LF_TEXT, (k), (slice_), 0})
#define DC_LF_Z(k, text_z) ((struct dc_log_field){DC_LF_TEXT, (k), dc_slice_z(text_z), 0})
#define DC_LF_I(k, num_)   ((struct dc_log_field){DC_LF_INT, (k), DC_SLICE_NULL, (int64_t)(num_)})
#define DC_LF_B(k, bool_)  ((struct dc_log_field){DC_LF_BOOL, (k), DC_SLICE_NULL, (bool_) ? 1 : 0})

/* log may be NULL (nothing is written). fields: n of them, or fewer when one is DC_LF_END; NULL
 * when n is 0.  event_z must be a literal, keys too.  A text without ptr is written as null. */
void dc_log_event(struct dc_log *log, enum dc_log_level level, const char *event_z,
                  const struct dc_log_field *fields, size_t n);
/* false: not one of debug, info, warn, error. */
DC_MUST_USE bool dc_log_level_parse(struct dc_slice text, enum dc_log_level *out);
bool dc_log_enabled(const struct dc_log *log, enum dc_log_level level);

#define DC_LOG(log, level, event, ...)                                                             \
    do {                                                                                           \
        if (dc_log_enabled((log), (level))) {                                                      \
            const struct dc_log_field dc_log_fields_[] = {__VA_ARGS__};                            \
            dc_log_event((log), (level), (event), dc_log_fields_, DC_ARRAY_LEN(dc_log_fields_));   \
        }                                                                                          \
    } while (0)
#define DC_LOG_DEBUG_EVENT(log, event, ...) DC_LOG(log, DC_LOG_DEBUG, event, __VA_ARGS__)
#define DC_LOG_INFO_EVENT(log, event, ...)  DC_LOG(log, DC_LOG_INFO, event, __VA_ARGS__)
#define DC_LOG_WARN_EVENT(log, event, ...)  DC_LOG(log, DC_LOG_WARN, event, __VA_ARGS__)
#define DC_LOG_ERROR_EVENT(log, event, ...) DC_LOG(log, DC_LOG_ERROR, event, __VA_ARGS__)
/* The fields of a struct dc_error: code, detail, cause. */
#define DC_LF_ERR(err)                                                                             \
    DC_LF_Z("code", dc_error_code(err)), DC_LF_Z("detail", dc_error_text(err)),                    \
        DC_LF_I("cause", (err)->cause)

#endif
