/* What the handlers of every role do with a request besides their own work: memory for its state,
 * and the answers that are the same everywhere.  A request may be gone as soon as it has been
 * answered, and with it its arena: what is needed afterwards is read before. */
#ifndef DC_ROLES_REQUEST_H
#define DC_ROLES_REQUEST_H

#include "net/http.h"

/* Zeroed memory that lives as long as the request; NULL: 503 has been answered. */
DC_MUST_USE void *dc_request_alloc(struct dc_http_request *r, size_t size);
/* 503 out_of_memory. */
void dc_request_fail_memory(struct dc_http_request *r);
/* Retry-After of the answer to come: wait_ms rounded up to whole seconds. */
void dc_request_set_retry_after(struct dc_http_request *r, uint64_t wait_ms);
/* 429 with Retry-After: wait_ms rounded up to whole seconds. */
void dc_request_fail_limit(struct dc_http_request *r, uint64_t wait_ms, const char *detail_z);
/* 422 about one field. */
void dc_request_fail_field(struct dc_http_request *r, const char *field_z, const char *code_z,
                           const char *detail_z);

#endif
