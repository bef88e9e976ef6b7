/* The log: one event, one line, one write(2).
 *
 * It never blocks the loop: the fd is asked with poll(2) first, because switching stderr itself to
 * non-blocking would change it for every process that shares it.  A pipe that polls writable takes
 * a line of PIPE_BUF bytes at once.  What a terminal or socket takes only in part is finished
 * before the next line, so lines are never torn. */
#include "obs/log.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "obs/printable.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define BURST_WINDOW_MS 1000
/* Room that fields leave for "suppressed", "cut", the bracket and the end of the line. */
#define LINE_TAIL_BYTES 64

/* What is known of the events of one name and level. */
struct burst {
    int64_t window_start_ms;
    uint64_t in_window;
    uint64_t suppressed;
};

/* By level: a flood of warnings hides no other level of the same name.  Errors are never
 * suppressed. */
struct bursts {
    struct dc_slice event;
    struct burst of[DC_LOG_ERROR];
};

struct dc_log {
    struct dc_log_opts opts;
    bool has_colours;
    struct dc_strbuf line;
    struct dc_strbuf rest; /* of a line that was written in part */
    struct dc_map bursts;  /* by event name; as many as the program has names */
    size_t bursts_suppressed;
    int64_t next_sweep_ms;
    uint64_t dropped_lines;
};

static const char *const level_names[] = {[DC_LOG_DEBUG] = "debug",
                                          [DC_LOG_INFO] = "info",
                                          [DC_LOG_WARN] = "warn",
                                          [DC_LOG_ERROR] = "error"};
static const char *const level_labels[] = {[DC_LOG_DEBUG] = "DEBUG",
                                           [DC_LOG_INFO] = "INFO ",
                                           [DC_LOG_WARN] = "WARN ",
                                           [DC_LOG_ERROR] = "ERROR"};
/* Grey, green, yellow, red. */
static const char *const level_colours[] = {[DC_LOG_DEBUG] = "\x1b[90m",
                                            [DC_LOG_INFO] = "\x1b[32m",
                                            [DC_LOG_WARN] = "\x1b[33m",
                                            [DC_LOG_ERROR] = "\x1b[31m"};

static struct dc_utc system_now(void *data)
{
    DC_ASSERT(data == NULL);
    return dc_utc_now();
}

struct dc_log *dc_log_create(const struct dc_log_opts *opts)
{
    /* Event names are our own literals: the map needs no secret seed. */
    static const uint64_t seed[2] = {0, 0};
    struct dc_log *log = dc_calloc(1, sizeof(*log));

    log->opts = *opts;
    if (log->opts.now == NULL) {
        log->opts.now = system_now;
        log->opts.now_data = NULL;
    }
    log->has_colours = !opts->is_json && isatty(opts->fd) == 1;
    dc_map_init(&log->bursts, seed);
    return log;
}

bool dc_log_enabled(const struct dc_log *log, enum dc_log_level level)
{
    return log != NULL && level >= log->opts.level;
}

bool dc_log_level_parse(struct dc_slice text, enum dc_log_level *out)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(level_names); i++) {
        if (dc_slice_eq(text, dc_slice_z(level_names[i]))) {
            *out = (enum dc_log_level)i;
            return true;
        }
    }
    return false;
}

/* Writes without blocking: the number of bytes taken, 0 when the line is lost. */
static size_t write_some(struct dc_log *log, struct dc_slice s)
{
    struct pollfd p = {.fd = log->opts.fd, .events = POLLOUT};
    ssize_t n;

    if (poll(&p, 1, 0) != 1) {
        return 0;
    }
    do {
        n = write(log->opts.fd, s.ptr, s.len);
    } while (n == -1 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

/* Ends a line that was written in part.  false while that does not work. */
static bool flush_rest(struct dc_log *log)
{
    if (log->rest.len == 0) {
        return true;
    }
    size_t n = write_some(log, dc_strbuf_slice(&log->rest));
    if (n < log->rest.len) {
        memmove(log->rest.ptr, log->rest.ptr + n, log->rest.len - n);
        log->rest.len -= n;
        return false;
    }
    dc_strbuf_clear(&log->rest);
    return true;
}

/* Sends log->line; false when it was lost. */
static bool write_line(struct dc_log *log)
{
    if (!dc_strbuf_ok(&log->line)) {
        dc_strbuf_free(&log->line); /* start afresh with the next one */
        return false;
    }
    if (!flush_rest(log)) {
        return false;
    }
    struct dc_slice s = dc_strbuf_slice(&log->line);
    size_t n = write_some(log, s);
    if (n > 0 && n < s.len) {
        dc_strbuf_add(&log->rest, dc_slice_make(s.ptr + n, s.len - n));
    }
    return n > 0;
}

/* In readable text quotes are needed only where a reader could be misled. */
static bool needs_quotes(struct dc_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=') {
            return true;
        }
    }
    return s.len == 0;
}

static void add_text(struct dc_log *log, struct dc_slice text)
{
    char buf[DC_LOG_VALUE_MAX_BYTES];
    struct dc_slice s;

    if (text.ptr == NULL) {
        dc_strbuf_add(&log->line, DC_S("null"));
        return;
    }
    s = dc_slice_make(buf, dc_printable_copy(text, buf, sizeof(buf)));
    if (log->opts.is_json || needs_quotes(s)) {
        dc_json_quote(&log->line, s);
    } else {
        dc_strbuf_add(&log->line, s);
    }
}

static void add_key(struct dc_log *log, const char *key)
{
    if (log->opts.is_json) {
        dc_strbuf_add_char(&log->line, ',');
        dc_json_quote(&log->line, dc_slice_z(key));
        dc_strbuf_add_char(&log->line, ':');
    } else {
        dc_strbuf_add_char(&log->line, ' ');
        dc_strbuf_add_z(&log->line, key);
        dc_strbuf_add_char(&log->line, '=');
    }
}

static void add_field(struct dc_log *log, const struct dc_log_field *f)
{
    switch (f->type) {
    case DC_LF_TEXT:
        add_key(log, f->key);
        add_text(log, f->text);
        break;
    case DC_LF_INT:
        add_key(log, f->key);
        dc_strbuf_add_i64(&log->line, f->num);
        break;
    case DC_LF_BOOL:
        add_key(log, f->key);
        dc_strbuf_add_z(&log->line, f->num != 0 ? "true" : "false");
        break;
    case DC_LF_END:
        break;
    }
}

static void add_head(struct dc_log *log, struct dc_utc now, enum dc_log_level level,
                     struct dc_slice event)
{
    char ts[DC_ISO_LEN + 1];

    dc_utc_format(now, ts);
    if (log->opts.is_json) {
        dc_strbuf_add_z(&log->line, "{\"ts\":\"");
        dc_strbuf_add_z(&log->line, ts);
        dc_strbuf_add_z(&log->line, "\",\"level\":\"");
        dc_strbuf_add_z(&log->line, level_names[level]);
        dc_strbuf_add_z(&log->line, "\",\"event\":");
        dc_json_quote(&log->line, event);
        return;
    }
    dc_strbuf_add_z(&log->line, ts);
    dc_strbuf_add_char(&log->line, ' ');
    if (log->has_colours) {
        dc_strbuf_add_z(&log->line, level_colours[level]);
    }
    dc_strbuf_add_z(&log->line, level_labels[level]);
    if (log->has_colours) {
        dc_strbuf_add_z(&log->line, "\x1b[0m");
    }
    dc_strbuf_add_char(&log->line, ' ');
    dc_strbuf_add(&log->line, event);
}

/* One line; suppressed 0 is not mentioned.  false when it was lost. */
static bool emit(struct dc_log *log, struct dc_utc now, enum dc_log_level level,
                 struct dc_slice event, const struct dc_log_field *fields, size_t n,
                 uint64_t suppressed)
{
    dc_strbuf_clear(&log->line);
    add_head(log, now, level, event);
    for (size_t i = 0; i < n && fields[i].type != DC_LF_END; i++) {
        size_t len = log->line.len;
        add_field(log, &fields[i]);
        if (log->line.len > DC_LOG_LINE_MAX_BYTES - LINE_TAIL_BYTES) {
            log->line.len = len;
            add_field(log, &DC_LF_B("cut", true));
            break;
        }
    }
    if (suppressed > 0) {
        add_field(log, &DC_LF_I("suppressed", suppressed));
    }
    dc_strbuf_add_z(&log->line, log->opts.is_json ? "}\n" : "\n");
    return write_line(log);
}

/* A line, after a word about those that were lost before it. */
static void emit_counted(struct dc_log *log, struct dc_utc now, enum dc_log_level level,
                         struct dc_slice event, const struct dc_log_field *fields, size_t n,
                         uint64_t suppressed)
{
    if (log->dropped_lines > 0) {
        const struct dc_log_field lines[] = {DC_LF_I("lines", log->dropped_lines)};
        if (!emit(log, now, DC_LOG_WARN, DC_S("log.dropped"), lines, DC_ARRAY_LEN(lines), 0)) {
            log->dropped_lines++;
            return;
        }
        log->dropped_lines = 0;
    }
    if (!emit(log, now, level, event, fields, n, suppressed)) {
        log->dropped_lines++;
    }
}

static bool is_over(const struct burst *b, int64_t now_ms)
{
    /* A clock that was set back ends the window too. */
    return now_ms < b->window_start_ms || now_ms - b->window_start_ms >= BURST_WINDOW_MS;
}

static uint64_t take_suppressed(struct dc_log *log, struct burst *b)
{
    uint64_t n = b->suppressed;

    if (n > 0) {
        b->suppressed = 0;
        log->bursts_suppressed--;
    }
    return n;
}

/* Sums up the bursts that are over (all: every one) and were not followed by another event. */
static void sweep(struct dc_log *log, struct dc_utc now, bool all)
{
    struct dc_map_iter it = {0};
    void *value;

    /* The second comparison: after a clock was set back nothing waits for the old time. */
    bool is_early = now.ms < log->next_sweep_ms && log->next_sweep_ms - now.ms <= BURST_WINDOW_MS;

    if (log->bursts_suppressed == 0 || (is_early && !all)) {
        return;
    }
    log->next_sweep_ms = now.ms + BURST_WINDOW_MS;
    while (dc_map_next(&log->bursts, &it, NULL, &value)) {
        struct bursts *all_levels = value;
        for (size_t i = 0; i < DC_ARRAY_LEN(all_levels->of); i++) {
            struct burst *b = &all_levels->of[i];
            if (b->suppressed > 0 && (all || is_over(b, now.ms))) {
                uint64_t n = take_suppressed(log, b);
                emit_counted(log, now, (enum dc_log_level)i, all_levels->event, NULL, 0, n);
            }
        }
    }
}

static struct burst *burst_of(struct dc_log *log, struct dc_slice event, enum dc_log_level level,
                              int64_t now_ms)
{
    struct bursts *b = dc_map_get(&log->bursts, event);

    if (b == NULL) {
        b = dc_calloc(1, sizeof(*b));
        b->event = event;
        for (size_t i = 0; i < DC_ARRAY_LEN(b->of); i++) {
            b->of[i].window_start_ms = now_ms;
        }
        void *replaced = dc_map_put(&log->bursts, b->event, b);
        DC_ASSERT(replaced == NULL);
    }
    return &b->of[level];
}

/* false: one too many of its kind in this second. */
static bool may_pass(struct dc_log *log, struct burst *b, int64_t now_ms, uint64_t *suppressed)
{
    if (is_over(b, now_ms)) {
        b->window_start_ms = now_ms;
        b->in_window = 0;
        *suppressed = take_suppressed(log, b);
    }
    if (b->in_window >= DC_LOG_BURST) {
        if (b->suppressed++ == 0) {
            log->bursts_suppressed++;
        }
        return false;
    }
    b->in_window++;
    return true;
}

void dc_log_event(struct dc_log *log, enum dc_log_level level, const char *event_z,
                  const struct dc_log_field *fields, size_t n)
{
    struct dc_slice event = dc_slice_z(event_z);
    uint64_t suppressed = 0;

    if (!dc_log_enabled(log, level)) {
        return;
    }
    struct dc_utc now = log->opts.now(log->opts.now_data);
    if (level < DC_LOG_ERROR &&
        !may_pass(log, burst_of(log, event, level, now.ms), now.ms, &suppressed)) {
        return;
    }
    emit_counted(log, now, level, event, fields, n, suppressed);
    sweep(log, now, false);
}

void dc_log_destroy(struct dc_log *log)
{
    struct dc_map_iter it = {0};
    void *value;

    if (log == NULL) {
        return;
    }
    struct dc_utc now = log->opts.now(log->opts.now_data);
    sweep(log, now, true);
    if (log->dropped_lines > 0) {
        const struct dc_log_field lines[] = {DC_LF_I("lines", log->dropped_lines)};
        /* The last chance to say so; when it fails there is nobody left to tell. */
        bool was_written =
            emit(log, now, DC_LOG_WARN, DC_S("log.dropped"), lines, DC_ARRAY_LEN(lines), 0);
        log->dropped_lines = was_written ? 0 : log->dropped_lines;
    }
    while (dc_map_next(&log->bursts, &it, NULL, &value)) {
        dc_free(value);
    }
    dc_map_free(&log->bursts);
    dc_strbuf_free(&log->line);
    dc_strbuf_free(&log->rest);
    dc_free(log);
}
