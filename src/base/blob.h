/* Immutable counted bytes: encode a broadcast once, queue it a thousand times.  One loop only: the
 * count is not atomic. */
#ifndef DC_BASE_BLOB_H
#define DC_BASE_BLOB_H

#include "base/slice.h"
#include <stdint.h>

struct dc_blob {
    uint32_t refs;
    uint32_t len; /* payload of at most UINT32_MAX bytes */
    char data[];
};

/* One reference for the caller; content is to be written before it is shared.  NULL: no memory. */
DC_MUST_USE struct dc_blob *dc_blob_create(size_t len);
DC_MUST_USE struct dc_blob *dc_blob_copy(struct dc_slice s);
struct dc_blob *dc_blob_ref(struct dc_blob *b);
/* Frees with the last reference; NULL is allowed. */
void dc_blob_unref(struct dc_blob *b);

static inline struct dc_slice dc_blob_slice(const struct dc_blob *b)
{
    return (struct dc_slice){b->data, b->len};
}

#endif
