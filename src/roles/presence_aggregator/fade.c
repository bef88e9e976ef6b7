/* What is forgotten after a while. */
#include "roles/presence_aggregator/fade.h"

#include "base/mem.h"

struct faded {
    struct dc_list link;
    int64_t at_ms;
    size_t id_len, subject_len;
    char bytes[]; /* id, subject */
};

static struct dc_slice id_of(const struct faded *e)
{
    return dc_slice_make(e->bytes, e->id_len);
}

void dc_fade_init(struct dc_fade *f, int64_t length_ms, size_t max, const uint64_t seed[2])
{
    dc_map_init(&f->by_id, seed);
    dc_list_init(&f->order);
    f->length_ms = length_ms;
    f->max = max;
}

static void drop(struct dc_fade *f, struct faded *e)
{
    (void)dc_map_remove(&f->by_id, id_of(e));
    dc_list_remove(&e->link);
    dc_free(e);
}

void dc_fade_free(struct dc_fade *f)
{
    DC_LIST_FOREACH_SAFE (it, &f->order) {
        drop(f, DC_LIST_ENTRY(it, struct faded, link));
    }
    dc_map_free(&f->by_id);
}

bool dc_fade_put(struct dc_fade *f, struct dc_slice id, struct dc_slice subject, int64_t now_ms)
{
    dc_fade_cancel(f, id); /* its subject may be another now */
    if (f->by_id.count >= f->max) {
        return false;
    }
    struct faded *e = dc_calloc(1, sizeof(*e) + id.len + subject.len);
    e->at_ms = now_ms + f->length_ms;
    e->id_len = id.len;
    e->subject_len = subject.len;
    memcpy(e->bytes, id.ptr, id.len);
    memcpy(e->bytes + id.len, subject.ptr, subject.len);
    (void)dc_map_put(&f->by_id, id_of(e), e);
    dc_list_push_back(&f->order, &e->link);
    return true;
}

void dc_fade_cancel(struct dc_fade *f, struct dc_slice id)
{
    struct faded *e = dc_map_get(&f->by_id, id);
    if (e != NULL) {
        drop(f, e);
    }
}

int64_t dc_fade_next_ms(const struct dc_fade *f)
{
    return dc_list_is_empty(&f->order) ? INT64_MAX
                                       : DC_LIST_ENTRY(f->order.next, struct faded, link)->at_ms;
}

bool dc_fade_take(struct dc_fade *f, int64_t now_ms, struct dc_strbuf *id,
                  struct dc_strbuf *subject)
{
    if (dc_fade_next_ms(f) > now_ms) {
        return false;
    }
    struct faded *e = DC_LIST_ENTRY(f->order.next, struct faded, link);
    dc_strbuf_clear(id);
    dc_strbuf_clear(subject);
    dc_strbuf_add(id, id_of(e));
    dc_strbuf_add(subject, dc_slice_make(e->bytes + e->id_len, e->subject_len));
    drop(f, e);
    return dc_strbuf_ok(id) && dc_strbuf_ok(subject);
}
