/* Header and payload in one allocation, as a fan-out queues the pointer a thousand times. */
#include "base/blob.h"
#include "base/mem.h"

struct dc_blob *dc_blob_create(size_t len)
{
    size_t size;
    if (len > UINT32_MAX || !dc_add_size(sizeof(struct dc_blob), len, &size)) {
        return NULL;
    }
    struct dc_blob *b = dc_try_alloc(size);
    if (b == NULL) {
        return NULL;
    }
    b->refs = 1;
    b->len = (uint32_t)len;
    return b;
}

struct dc_blob *dc_blob_copy(struct dc_slice s)
{
    struct dc_blob *b = dc_blob_create(s.len);
    if (b != NULL && s.len > 0) {
        memcpy(b->data, s.ptr, s.len);
    }
    return b;
}

struct dc_blob *dc_blob_ref(struct dc_blob *b)
{
    DC_ASSERT(b->refs > 0 && b->refs < UINT32_MAX);
    b->refs++;
    return b;
}

void dc_blob_unref(struct dc_blob *b)
{
    if (b == NULL) {
        return;
    }
    DC_ASSERT(b->refs > 0);
    b->refs--;
    if (b->refs == 0) {
        dc_free(b);
    }
}
