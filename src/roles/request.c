/* Answers that are the same in every role. */
#include "roles/request.h"
#include <inttypes.h>

void dc_request_fail_memory(struct dc_http_request *r)
{
    struct dc_error err = {0};
    (void)dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    dc_http_reply_error(r, &err);
}

void *dc_request_alloc(struct dc_http_request *r, size_t size)
{
    void *state = dc_arena_calloc(dc_http_arena(r), 1, size);
    if (state == NULL) {
        dc_request_fail_memory(r);
    }
    return state;
}

void dc_request_set_retry_after(struct dc_http_request *r, uint64_t wait_ms)
{
    char seconds[24];
    int n = snprintf(seconds, sizeof(seconds), "%" PRIu64,
                     wait_ms / 1000 + (wait_ms % 1000 > 0 ? 1 : 0));
    DC_ASSERT(n > 0 && (size_t)n < sizeof(seconds));
    dc_http_set_header(r, "Retry-After", dc_slice_make(seconds, (size_t)n));
}

void dc_request_fail_limit(struct dc_http_request *r, uint64_t wait_ms, const char *detail_z)
{
    struct dc_error err = {0};
    dc_request_set_retry_after(r, wait_ms);
    (void)dc_fail(&err, DC_LIMIT, 0, "%s", detail_z);
    dc_http_reply_error(r, &err);
}

void dc_request_fail_field(struct dc_http_request *r, const char *field_z, const char *code_z,
                           const char *detail_z)
{
    struct dc_problems problems = {0};
    dc_problem_add(&problems, field_z, code_z, "%s", detail_z);
    dc_http_reply_problems(r, &problems);
}
