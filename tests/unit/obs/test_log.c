/* The log: both forms, escaping and cutting, bursts, a reader that does not read. */
#include "base/mem.h"
#include "base/utf8.h"
#include "obs/log.h"
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define START_MS 1795169700123 /* 2026-11-20T10:15:00.123Z */

/* A log that writes to a pipe, and a clock that stands still unless moved. */
struct rig {
    struct dc_log *log;
    int fds[2];
    struct dc_utc now;
    char text[1 << 17];
};

static struct dc_utc rig_now(void *data)
{
    return ((struct rig *)data)->now;
}

static struct rig *open_rig(enum dc_log_level level, bool is_json)
{
    struct rig *r = dc_calloc(1, sizeof(*r));

    assert_int_equal(pipe2(r->fds, O_CLOEXEC | O_NONBLOCK), 0);
    r->now.ms = START_MS;
    const struct dc_log_opts opts = {
        .level = level, .is_json = is_json, .fd = r->fds[1], .now = rig_now, .now_data = r};
    r->log = dc_log_create(&opts);
    return r;
}

/* Everything in the pipe. */
static const char *read_all(struct rig *r)
{
    size_t len = 0;

    for (;;) {
        ssize_t n = read(r->fds[0], r->text + len, sizeof(r->text) - 1 - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    r->text[len] = '\0';
    return r->text;
}

static void close_rig(struct rig *r)
{
    dc_log_destroy(r->log);
    close(r->fds[0]);
    close(r->fds[1]);
    dc_free(r);
}

static size_t count_lines(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        n += *text == '\n';
    }
    return n;
}

/* The line number i as JSON; fails the test when it is none. */
static json_t *line_json(const char *text, size_t i)
{
    for (; i > 0; i--) {
        text = strchr(text, '\n');
        assert_non_null(text);
        text++;
    }
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    json_t *line = json_loadb(text, (size_t)(end - text), 0, NULL);
    assert_non_null(line);
    return line;
}

static const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));

    assert_non_null(text);
    return text;
}

static void json_line_has_time_level_event_and_typed_fields(void **state)
{
    struct rig *r = open_rig(DC_LOG_DEBUG, true);

    (void)state;
    DC_LOG_INFO_EVENT(r->log, "ws.closed", DC_LF_Z("room", "plaza"), DC_LF_I("bytes", -1048576),
                      DC_LF_B("slow", true), DC_LF_B("clean", 0), DC_LF_Z("cursor", NULL),
                      DC_LF_T("peer", DC_S("10.0.0.7")));
    assert_string_equal(read_all(r),
                        "{\"ts\":\"2026-11-20T10:15:00.123Z\",\"level\":\"info\","
                        "\"event\":\"ws.closed\",\"room\":\"plaza\",\"bytes\":-1048576,"
                        "\"slow\":true,\"clean\":false,\"cursor\":null,\"peer\":\"10.0.0.7\"}\n");
    close_rig(r);
}

static void readable_line_quotes_only_what_could_mislead(void **state)
{
    struct rig *r = open_rig(DC_LOG_DEBUG, false);

    (void)state;
    DC_LOG_WARN_EVENT(r->log, "db.slow", DC_LF_Z("plain", "a/b:c"), DC_LF_Z("blank", "a b"),
                      DC_LF_Z("quote", "say \"hi\""), DC_LF_Z("pair", "x=y"), DC_LF_Z("none", ""),
                      DC_LF_Z("line", "one\ntwo"), DC_LF_I("ms", 12), DC_LF_B("ok", false),
                      DC_LF_Z("gone", NULL));
    assert_string_equal(read_all(r),
                        "2026-11-20T10:15:00.123Z WARN  db.slow plain=a/b:c blank=\"a b\" "
                        "quote=\"say \\\"hi\\\"\" pair=\"x=y\" none=\"\" line=\"one\\ntwo\" ms=12 "
                        "ok=false gone=null\n");
    close_rig(r);
}

static void readable_lines_are_coloured_on_a_terminal_only(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    char text[256];
    ssize_t n;

    (void)state;
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0);
    struct dc_log *log = dc_log_create(&(struct dc_log_opts){.level = DC_LOG_INFO, .fd = terminal});
    dc_log_event(log, DC_LOG_ERROR, "disk.full", NULL, 0);
    n = read(master, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "\x1b[31mERROR\x1b[0m disk.full"));
    dc_log_destroy(log);

    log =
        dc_log_create(&(struct dc_log_opts){.level = DC_LOG_INFO, .is_json = true, .fd = terminal});
    dc_log_event(log, DC_LOG_ERROR, "disk.full", NULL, 0);
    n = read(master, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_null(strchr(text, '\x1b'));
    dc_log_destroy(log);
    close(terminal);
    close(master);
}

static void events_below_the_level_are_not_written(void **state)
{
    struct rig *r = open_rig(DC_LOG_WARN, true);

    (void)state;
    assert_false(dc_log_enabled(r->log, DC_LOG_DEBUG));
    assert_false(dc_log_enabled(r->log, DC_LOG_INFO));
    assert_true(dc_log_enabled(r->log, DC_LOG_WARN));
    assert_true(dc_log_enabled(r->log, DC_LOG_ERROR));
    dc_log_event(r->log, DC_LOG_INFO, "a", NULL, 0);
    DC_LOG_DEBUG_EVENT(r->log, "b", DC_LF_I("n", 1));
    assert_string_equal(read_all(r), "");
    DC_LOG_ERROR_EVENT(r->log, "c", DC_LF_I("n", 1));
    assert_int_equal(count_lines(read_all(r)), 1);
    close_rig(r);
}

static void missing_log_writes_nothing(void **state)
{
    (void)state;
    assert_false(dc_log_enabled(NULL, DC_LOG_ERROR));
    DC_LOG_ERROR_EVENT(NULL, "a", DC_LF_I("n", 1));
    dc_log_event(NULL, DC_LOG_ERROR, "a", NULL, 0);
    dc_log_destroy(NULL);
}

static void error_is_logged_with_code_detail_and_cause(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);
    struct dc_error err = {0};

    (void)state;
    assert_int_equal(dc_fail(&err, DC_UNAVAILABLE, 111, "redis %s", "refused"), DC_UNAVAILABLE);
    DC_LOG_ERROR_EVENT(r->log, "kv.down", DC_LF_ERR(&err));
    json_t *line = line_json(read_all(r), 0);
    assert_string_equal(text_of(line, "code"), "unavailable");
    assert_string_equal(text_of(line, "detail"), "redis refused");
    assert_int_equal(json_integer_value(json_object_get(line, "cause")), 111);
    json_decref(line);
    close_rig(r);
}

static void values_are_valid_text_whatever_was_given(void **state)
{
    const struct {
        const char *what;
        struct dc_slice given;
        const char *shown;
    } rows[] = {
        {"plain", DC_S("abc"), "abc"},
        {"ukrainian", DC_S("Привіт, місто"), "Привіт, місто"},
        {"four bytes", DC_S("\xF0\x9F\x8F\x99"), "\xF0\x9F\x8F\x99"},
        {"control characters", DC_S("a\x01\x1b[31m\r\n\t"), "a\x01\x1b[31m\r\n\t"},
        {"delete", DC_S("a\x7F"), "a\xEF\xBF\xBD"},
        {"C1 control",
         DC_S("a\xC2\x9B"
              "31m"),
         "a\xEF\xBF\xBD"
         "31m"},
        {"first behind C1", DC_S("a\xC2\xA0"), "a\xC2\xA0"},
        {"lone continuation",
         DC_S("a\x80"
              "b"),
         "a\xEF\xBF\xBD"
         "b"},
        {"never in UTF-8", DC_S("\xFF\xFE"), "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"overlong slash", DC_S("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"surrogate", DC_S("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"cut sequence", DC_S("a\xE2\x82"), "a\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"cut before a letter",
         DC_S("\xE2\x82"
              "b"),
         "\xEF\xBF\xBD\xEF\xBF\xBD"
         "b"},
        {"too high", DC_S("\xF4\x90\x80\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"empty", DC_S(""), ""},
    };
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        DC_LOG_INFO_EVENT(r->log, "test.value", DC_LF_T("v", rows[i].given));
        json_t *line = line_json(read_all(r), 0);
        if (strcmp(text_of(line, "v"), rows[i].shown) != 0) {
            fail_msg("%s: %s", rows[i].what, text_of(line, "v"));
        }
        json_decref(line);
    }
    close_rig(r);
}

static void long_values_are_cut_between_two_characters(void **state)
{
    /* one character repeated; its bytes; how much of 512 is left with the ellipsis of 3 */
    const struct {
        const char *ch;
        size_t count, expected_len;
        bool is_cut;
    } rows[] = {
        {"x", 512, 512, false},    {"x", 513, 512, true},     {"x", 100000, 512, true},
        {"є", 256, 512, false},    {"є", 257, 508 + 3, true}, {"€", 170, 510, false},
        {"€", 171, 507 + 3, true}, {"🏙", 128, 512, false}, {"🏙", 129, 508 + 3, true},
        {"\xFF", 170, 510, false}, {"\xFF", 171, 510, true},
    };
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        size_t ch_len = strlen(rows[i].ch);
        char *given = dc_alloc(ch_len * rows[i].count);
        for (size_t k = 0; k < rows[i].count; k++) {
            memcpy(given + k * ch_len, rows[i].ch, ch_len);
        }
        DC_LOG_INFO_EVENT(r->log, "test.cut",
                          DC_LF_T("v", dc_slice_make(given, ch_len * rows[i].count)));
        json_t *line = line_json(read_all(r), 0); /* jansson refuses half a character */
        struct dc_slice shown = dc_slice_z(text_of(line, "v"));
        if (shown.len != rows[i].expected_len ||
            dc_slice_ends(shown, DC_S("…")) != rows[i].is_cut) {
            fail_msg("row %zu: %zu bytes", i, shown.len);
        }
        json_decref(line);
        dc_free(given);
    }
    close_rig(r);
}

static void line_never_exceeds_what_a_pipe_takes_whole(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);
    char value[DC_LOG_VALUE_MAX_BYTES];
    struct dc_log_field fields[40];

    (void)state;
    memset(value, 1, sizeof(value)); /* six bytes each when escaped */
    for (size_t i = 0; i < DC_ARRAY_LEN(fields); i++) {
        fields[i] = DC_LF_T("v", dc_slice_make(value, i % 2 == 0 ? 30 : sizeof(value)));
    }
    dc_log_event(r->log, DC_LOG_INFO, "test.long", fields, DC_ARRAY_LEN(fields));
    const char *text = read_all(r);
    assert_true(strlen(text) <= DC_LOG_LINE_MAX_BYTES);
    assert_int_equal(count_lines(text), 1);
    json_t *line = line_json(text, 0);
    assert_true(json_is_true(json_object_get(line, "cut")));
    json_decref(line);
    close_rig(r);
}

static void fields_end_at_the_end_mark(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);
    const struct dc_log_field fields[] = {
        DC_LF_I("a", 1), {DC_LF_END, NULL, DC_SLICE_NULL, 0}, DC_LF_I("b", 2)};

    (void)state;
    dc_log_event(r->log, DC_LOG_INFO, "test.end", fields, DC_ARRAY_LEN(fields));
    json_t *line = line_json(read_all(r), 0);
    assert_non_null(json_object_get(line, "a"));
    assert_null(json_object_get(line, "b"));
    json_decref(line);
    close_rig(r);
}

static void burst(struct rig *r, const char *event, int n)
{
    for (int i = 0; i < n; i++) {
        dc_log_event(r->log, DC_LOG_WARN, event, NULL, 0);
    }
}

static json_int_t suppressed_in(const json_t *line)
{
    return json_integer_value(json_object_get(line, "suppressed"));
}

static void burst_is_summed_up_by_the_next_event_of_that_name(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    burst(r, "ws.refused", DC_LOG_BURST + 7);
    assert_int_equal(count_lines(read_all(r)), DC_LOG_BURST);
    r->now.ms += 999;
    burst(r, "ws.refused", 1);
    assert_int_equal(count_lines(read_all(r)), 0);
    r->now.ms += 1;
    burst(r, "ws.refused", 2);
    const char *text = read_all(r);
    assert_int_equal(count_lines(text), 2);
    json_t *first = line_json(text, 0);
    json_t *second = line_json(text, 1);
    assert_int_equal(suppressed_in(first), 8);
    assert_null(json_object_get(second, "suppressed"));
    json_decref(first);
    json_decref(second);
    close_rig(r);
}

static void burst_of_one_name_does_not_hide_others(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    burst(r, "a.noisy", 1000);
    burst(r, "b.rare", 1);
    assert_int_equal(count_lines(read_all(r)), DC_LOG_BURST + 1);
    close_rig(r);
}

static void burst_of_one_level_does_not_hide_another_of_the_same_name(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    burst(r, "http.request", 1000);
    (void)read_all(r);
    DC_LOG_ERROR_EVENT(r->log, "http.request", DC_LF_I("status", 500));
    DC_LOG_INFO_EVENT(r->log, "http.request", DC_LF_I("status", 200));
    const char *text = read_all(r);
    assert_int_equal(count_lines(text), 2);
    json_t *error = line_json(text, 0);
    json_t *info = line_json(text, 1);
    assert_string_equal(text_of(error, "level"), "error");
    assert_string_equal(text_of(info, "level"), "info");
    assert_null(json_object_get(error, "suppressed"));
    assert_null(json_object_get(info, "suppressed"));
    json_decref(error);
    json_decref(info);
    /* The sum is told with the level that it is of. */
    r->now.ms += 1000;
    burst(r, "b.rare", 1);
    text = read_all(r);
    assert_int_equal(count_lines(text), 2);
    json_t *sum = line_json(text, 1);
    assert_string_equal(text_of(sum, "level"), "warn");
    assert_int_equal(suppressed_in(sum), 1000 - DC_LOG_BURST);
    json_decref(sum);
    close_rig(r);
}

static void errors_are_never_suppressed(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    for (int i = 0; i < 3 * DC_LOG_BURST; i++) {
        DC_LOG_ERROR_EVENT(r->log, "http.request", DC_LF_I("status", 500));
    }
    assert_int_equal(count_lines(read_all(r)), 3 * DC_LOG_BURST);
    close_rig(r);
}

static void burst_without_a_successor_is_summed_up_when_anything_is_logged(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    burst(r, "a.noisy", DC_LOG_BURST + 5);
    assert_int_equal(count_lines(read_all(r)), DC_LOG_BURST);
    r->now.ms += 5000;
    burst(r, "b.rare", 1);
    const char *text = read_all(r);
    assert_int_equal(count_lines(text), 2);
    json_t *line = line_json(text, 1);
    assert_string_equal(text_of(line, "event"), "a.noisy");
    assert_string_equal(text_of(line, "level"), "warn");
    assert_int_equal(suppressed_in(line), 5);
    json_decref(line);
    close_rig(r);
}

static void clock_set_back_does_not_silence_the_log(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    burst(r, "a.noisy", DC_LOG_BURST + 5);
    burst(r, "b.rare", 1);
    assert_int_equal(count_lines(read_all(r)), DC_LOG_BURST + 1);
    r->now.ms -= 3600 * 1000;
    burst(r, "b.rare", 1); /* also sums up a.noisy */
    assert_int_equal(count_lines(read_all(r)), 2);
    burst(r, "a.noisy", 1);
    assert_int_equal(count_lines(read_all(r)), 1);
    close_rig(r);
}

static void destroy_says_what_was_suppressed(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    burst(r, "a.noisy", DC_LOG_BURST + 3);
    read_all(r);
    dc_log_destroy(r->log);
    r->log = NULL;
    json_t *line = line_json(read_all(r), 0);
    assert_string_equal(text_of(line, "event"), "a.noisy");
    assert_int_equal(suppressed_in(line), 3);
    json_decref(line);
    close_rig(r);
}

/* Logs more than the pipe holds and says how many lines that were. */
static size_t overfill(struct rig *r)
{
    /* Many names, or the bursts would be suppressed. */
    static const char *const names[] = {"fa", "fb", "fc", "fd", "fe", "ff", "fg", "fh", "fi", "fj"};
    char value[DC_LOG_VALUE_MAX_BYTES];
    size_t n = 0;

    memset(value, 'x', sizeof(value));
    for (; n < DC_ARRAY_LEN(names) * DC_LOG_BURST; n++) {
        DC_LOG_INFO_EVENT(r->log, names[n % DC_ARRAY_LEN(names)],
                          DC_LF_T("v", dc_slice_make(value, sizeof(value))));
    }
    return n;
}

static void lines_for_a_reader_that_does_not_read_are_dropped_and_counted(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    /* A blocking descriptor: the log must not rely on the flag. */
    assert_int_equal(fcntl(r->fds[1], F_SETFL, 0), 0);
    size_t given = overfill(r);
    const char *text = read_all(r);
    size_t written = count_lines(text);
    assert_true(written > 0 && written < given);
    for (size_t i = 0; i < written; i += 16) {
        json_decref(line_json(text, i)); /* whole lines only */
    }
    dc_log_event(r->log, DC_LOG_INFO, "after", NULL, 0);
    text = read_all(r);
    assert_int_equal(count_lines(text), 2);
    json_t *dropped = line_json(text, 0);
    json_t *after = line_json(text, 1);
    assert_string_equal(text_of(dropped, "event"), "log.dropped");
    assert_int_equal(json_integer_value(json_object_get(dropped, "lines")), given - written);
    assert_string_equal(text_of(after, "event"), "after");
    json_decref(dropped);
    json_decref(after);
    close_rig(r);
}

static void line_taken_in_part_is_finished_before_the_next(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);
    char value[DC_LOG_VALUE_MAX_BYTES];
    struct dc_log_field fields[7];
    int send_bytes = 1;
    char part[8192];

    (void)state;
    /* A stream socket with the smallest send buffer takes a long line in pieces. */
    close(r->fds[0]);
    close(r->fds[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, r->fds), 0);
    assert_int_equal(setsockopt(r->fds[1], SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes)),
                     0);
    memset(value, 'x', sizeof(value));
    for (size_t i = 0; i < DC_ARRAY_LEN(fields); i++) {
        fields[i] = DC_LF_T("v", dc_slice_make(value, sizeof(value)));
    }
    assert_int_equal(write(r->fds[1], "\n", 1), 1); /* takes some of the room */
    dc_log_event(r->log, DC_LOG_INFO, "part.one", fields, DC_ARRAY_LEN(fields));
    dc_log_event(r->log, DC_LOG_INFO, "part.lost", fields, 1); /* no room for its predecessor */
    strcpy(part, read_all(r));
    size_t len = strlen(part);
    if (part[len - 1] == '\n') {
        close_rig(r);
        skip(); /* this system took the line at once */
    }
    /* Each round the reader takes what there is; a short line may still find no room. */
    int given = 0;
    while (strstr(part, "part.two") == NULL) {
        assert_true(++given <= 10);
        dc_log_event(r->log, DC_LOG_INFO, "part.two", NULL, 0);
        strcpy(part + strlen(part), read_all(r));
    }
    json_t *one = line_json(part, 1);
    json_t *dropped = line_json(part, 2);
    json_t *two = line_json(part, 3);
    assert_string_equal(text_of(one, "event"), "part.one");
    assert_string_equal(text_of(dropped, "event"), "log.dropped");
    assert_int_equal(json_integer_value(json_object_get(dropped, "lines")), given);
    assert_string_equal(text_of(two, "event"), "part.two");
    json_decref(one);
    json_decref(dropped);
    json_decref(two);
    close_rig(r);
}

static void broken_pipe_is_survived(void **state)
{
    struct rig *r = open_rig(DC_LOG_INFO, true);

    (void)state;
    close(r->fds[0]);
    r->fds[0] = -1;
    dc_log_event(r->log, DC_LOG_INFO, "into.nothing", NULL, 0);
    dc_log_event(r->log, DC_LOG_INFO, "into.nothing", NULL, 0);
    close_rig(r);
}

static void level_names_are_parsed_strictly(void **state)
{
    const struct {
        const char *text;
        bool is_ok;
        enum dc_log_level level;
    } rows[] = {
        {"debug", true, DC_LOG_DEBUG}, {"info", true, DC_LOG_INFO},   {"warn", true, DC_LOG_WARN},
        {"error", true, DC_LOG_ERROR}, {"", false, DC_LOG_INFO},      {"INFO", false, DC_LOG_INFO},
        {"infos", false, DC_LOG_INFO}, {"trace", false, DC_LOG_INFO},
    };

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        enum dc_log_level level = DC_LOG_INFO;
        bool is_ok = dc_log_level_parse(dc_slice_z(rows[i].text), &level);
        if (is_ok != rows[i].is_ok || level != rows[i].level) {
            fail_msg("%s", rows[i].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_line_has_time_level_event_and_typed_fields),
        cmocka_unit_test(readable_line_quotes_only_what_could_mislead),
        cmocka_unit_test(readable_lines_are_coloured_on_a_terminal_only),
        cmocka_unit_test(events_below_the_level_are_not_written),
        cmocka_unit_test(missing_log_writes_nothing),
        cmocka_unit_test(error_is_logged_with_code_detail_and_cause),
        cmocka_unit_test(values_are_valid_text_whatever_was_given),
        cmocka_unit_test(long_values_are_cut_between_two_characters),
        cmocka_unit_test(line_never_exceeds_what_a_pipe_takes_whole),
        cmocka_unit_test(fields_end_at_the_end_mark),
        cmocka_unit_test(burst_is_summed_up_by_the_next_event_of_that_name),
        cmocka_unit_test(burst_of_one_name_does_not_hide_others),
        cmocka_unit_test(burst_of_one_level_does_not_hide_another_of_the_same_name),
        cmocka_unit_test(errors_are_never_suppressed),
        cmocka_unit_test(burst_without_a_successor_is_summed_up_when_anything_is_logged),
        cmocka_unit_test(clock_set_back_does_not_silence_the_log),
        cmocka_unit_test(destroy_says_what_was_suppressed),
        cmocka_unit_test(lines_for_a_reader_that_does_not_read_are_dropped_and_counted),
        cmocka_unit_test(line_taken_in_part_is_finished_before_the_next),
        cmocka_unit_test(broken_pipe_is_survived),
        cmocka_unit_test(level_names_are_parsed_strictly),
    };
    signal(SIGPIPE, SIG_IGN); /* main's business in the program */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
