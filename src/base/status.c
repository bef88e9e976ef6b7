/* Tables made from the one list; the length of each is tied to the enum. */
#include "base/status.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct status_row {
    int http;
    bool is_retryable;
    const char *code;
    const char *text;
};

static const struct status_row rows[] = {
#define XX(name, http, code, retry, text) [DC_##name] = {http, retry, code, text},
    DC_STATUS_MAP(XX)
#undef XX
};
_Static_assert(DC_ARRAY_LEN(rows) == DC_STATUS_COUNT, "one row a status");

static const struct status_row *row_of(enum dc_status st)
{
    DC_ASSERT((unsigned)st < DC_STATUS_COUNT);
    return &rows[st];
}

int dc_status_http(enum dc_status st)
{
    return row_of(st)->http;
}

const char *dc_status_code(enum dc_status st)
{
    return row_of(st)->code;
}

const char *dc_status_text(enum dc_status st)
{
    return row_of(st)->text;
}

bool dc_status_is_retryable(enum dc_status st)
{
    return row_of(st)->is_retryable;
}

enum dc_status dc_status_from_http(int http)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        if (rows[i].http == http) {
            return (enum dc_status)i;
        }
    }
    return DC_INTERNAL;
}

DC_PRINTF(5, 0)
static void fill(struct dc_error *err, enum dc_status st, const char *code, int cause,
                 const char *fmt, va_list args)
{
    if (err == NULL) {
        return;
    }
    err->status = st;
    err->code = code;
    err->cause = cause;
    /* Cut, not refused: the text is for people.  A broken format would leave it empty. */
    if (vsnprintf(err->text, sizeof(err->text), fmt, args) < 0) {
        err->text[0] = '\0';
    }
}

enum dc_status dc_fail(struct dc_error *err, enum dc_status st, int cause, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fill(err, st, NULL, cause, fmt, args);
    va_end(args);
    return st;
}

enum dc_status dc_fail_code(struct dc_error *err, enum dc_status st, const char *code,
                            const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fill(err, st, code, 0, fmt, args);
    va_end(args);
    return st;
}

const char *dc_errno_text(int cause)
{
    const char *text = strerrordesc_np(cause);
    return text != NULL ? text : "unknown error";
}

const char *dc_error_code(const struct dc_error *err)
{
    return err->code != NULL ? err->code : dc_status_code(err->status);
}

const char *dc_error_text(const struct dc_error *err)
{
    return err->text[0] != '\0' ? err->text : dc_status_text(err->status);
}
