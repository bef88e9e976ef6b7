/* Refusals of a homeserver. */
#include "matrix/matrix_error.h"

#include <stdio.h>

#define BAD_ANSWER  "matrix_bad_answer"
#define UNAVAILABLE "matrix_unavailable"
#define ERRCODE_MAX 64
/* Longer waits are somebody's mistake; they are taken for "try again much later". */
#define RETRY_AFTER_MAX (INT64_C(24) * 3600 * 1000)

static const struct {
    const char *errcode;
    enum dc_status st;
    const char *code;
    const char *text;
} table[] = {
    {"M_LIMIT_EXCEEDED", DC_LIMIT, "rate_limited", "the homeserver asks to wait"},
    {"M_UNKNOWN_TOKEN", DC_UNAUTHORIZED, "matrix_token_refused",
     "the homeserver does not know this access token (any more)"},
    {"M_MISSING_TOKEN", DC_UNAUTHORIZED, "matrix_token_refused",
     "the homeserver wants an access token"},
    {"M_USER_DEACTIVATED", DC_FORBIDDEN, "matrix_user_deactivated",
     "the Matrix account has been deactivated"},
    {"M_USER_LOCKED", DC_FORBIDDEN, "matrix_user_deactivated",
     "the Matrix account has been locked"},
    {"M_USER_SUSPENDED", DC_FORBIDDEN, "matrix_user_deactivated",
     "the Matrix account has been suspended"},
    {"M_FORBIDDEN", DC_FORBIDDEN, "matrix_forbidden", "the homeserver does not allow it"},
    {"M_NOT_FOUND", DC_NOT_FOUND, "not_found", "the homeserver does not have it"},
    {"M_ROOM_IN_USE", DC_CONFLICT, "matrix_in_use", "the room alias is taken"},
    {"M_USER_IN_USE", DC_CONFLICT, "matrix_in_use", "the Matrix account exists"},
    {"M_TOO_LARGE", DC_TOO_LARGE, "matrix_too_large", "the homeserver takes nothing that large"},
    {"M_EXCLUSIVE", DC_CONFLICT, "matrix_exclusive",
     "the name is reserved by an application service"},
    {"M_RESOURCE_LIMIT_EXCEEDED", DC_UNAVAILABLE, UNAVAILABLE,
     "the homeserver has reached its own limit of users"},
};

static const struct {
    int http_status;
    enum dc_status st;
    const char *code;
    const char *text;
} by_status[] = {
    {401, DC_UNAUTHORIZED, "matrix_token_refused", "the homeserver refuses this access token"},
    {403, DC_FORBIDDEN, "matrix_forbidden", "the homeserver does not allow it"},
    {404, DC_NOT_FOUND, "not_found", "the homeserver does not have it"},
    /* Two at once: Synapse finds out late that the name is taken, and has no errcode for it. */
    {409, DC_CONFLICT, "matrix_in_use", "the name is taken"},
};

enum dc_status dc_matrix_error_of_connection(enum dc_status st, const struct dc_error *cause,
                                             struct dc_error *err)
{
    int number = cause == NULL ? 0 : cause->cause;
    /* Not a switch: these few are special, everything else is one case. */
    if (st == DC_CANCELED || st == DC_CLOSED || st == DC_NO_MEMORY) {
        return dc_fail(err, st, number, "%s", dc_status_text(st));
    }
    if (st == DC_TIMEOUT) {
        (void)dc_fail_code(err, DC_TIMEOUT, "matrix_timeout",
                           "the homeserver has not answered in time");
        return DC_TIMEOUT;
    }
    return dc_fail_code(err, DC_UNAVAILABLE, UNAVAILABLE, "the homeserver cannot be reached: %s",
                        cause == NULL ? dc_status_text(st) : dc_error_text(cause));
}

/* The errcode as text that can be shown. */
static const char *errcode_of(const json_t *json, char out[ERRCODE_MAX])
{
    struct dc_slice text = dc_json_text(json, "errcode");
    size_t n = 0;
    while (n < text.len && n < ERRCODE_MAX - 1) {
        char c = text.ptr[n];
        bool is_plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                        (c >= '0' && c <= '9') || c == '_' || c == '.';
        if (!is_plain) {
            break;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return out;
}

enum dc_status dc_matrix_error_of_answer(int http_status, const json_t *json, struct dc_error *err)
{
    char errcode[ERRCODE_MAX];
    struct dc_slice text = dc_json_text(json, "errcode");
    if (http_status == 502 || http_status == 503 || http_status == 504) {
        return dc_fail_code(err, DC_UNAVAILABLE, UNAVAILABLE,
                            "the homeserver is away: HTTP %d from what stands in front of it",
                            http_status);
    }
    if (http_status == 429) {
        return dc_fail_code(err, DC_LIMIT, "rate_limited", "the homeserver asks to wait");
    }
    /* A server that fails says M_UNKNOWN or nothing; its codes mean something below 500. */
    for (size_t i = 0; http_status < 500 && i < DC_ARRAY_LEN(table); i++) {
        if (dc_slice_eq(text, dc_slice_z(table[i].errcode))) {
            return dc_fail_code(err, table[i].st, table[i].code, "%s", table[i].text);
        }
    }
    if (text.ptr == NULL) {
        return dc_fail_code(err, DC_UPSTREAM, BAD_ANSWER,
                            "the homeserver answered HTTP %d without a Matrix error", http_status);
    }
    /* Synapse says M_UNKNOWN to much; its HTTP status then speaks.  An endpoint that is missing is
     * another matter than a thing that is. */
    if (!dc_slice_eq(text, DC_S("M_UNRECOGNIZED"))) {
        for (size_t i = 0; i < DC_ARRAY_LEN(by_status); i++) {
            if (by_status[i].http_status == http_status) {
                return dc_fail_code(err, by_status[i].st, by_status[i].code, "%s",
                                    by_status[i].text);
            }
        }
    }
    return dc_fail_code(err, DC_UPSTREAM, BAD_ANSWER, "the homeserver answered HTTP %d %s",
                        http_status, errcode_of(json, errcode));
}

enum dc_status dc_matrix_bad_answer(struct dc_error *err, const char *what_z)
{
    return dc_fail_code(err, DC_UPSTREAM, BAD_ANSWER, "the homeserver's answer has not %s", what_z);
}

int64_t dc_matrix_retry_after_ms(const json_t *json)
{
    const json_t *value = json_object_get(json, "retry_after_ms");
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return -1;
    }
    int64_t ms = json_integer_value(value);
    return ms > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : ms;
}
