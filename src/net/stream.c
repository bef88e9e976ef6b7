/* Output of WebSocket and SSE connections, collected over a turn.  Small unicast frames share one
 * growing blob, so that an answer and an acknowledgement cost one allocation and one iovec. */
#include "net/stream_priv.h"

#include "base/mem.h"
#include "net/hub_priv.h"

#define TAIL_MIN_BYTES 512u
#define TAIL_MAX_BYTES ((size_t)16 * 1024)
#define TOPIC_BLOBS    16u /* of one writev; more topics follow in the next turn */

struct dc_pending {
    uint32_t n, cap;
    /* Capacity of the last blob's data while it is still ours to append to; 0: it is shared. */
    uint32_t tail_cap;
    struct dc_blob **blobs;
};

static void streams_turn(struct dc_turn *turn)
{
    struct dc_streams *set = DC_CONTAINER_OF(turn, struct dc_streams, turn);
    uint64_t until_us = dc_mono_now_us() + DC_SLICE_US;
    struct dc_list work;
    dc_list_init(&work);
    dc_list_move_all(&work, &set->dirty);
    for (unsigned n = 1; !dc_list_is_empty(&work); n++) {
        dc_stream_serve(DC_LIST_ENTRY(work.next, struct dc_stream, dirty));
        if (n % DC_SLICE_MEMBERS == 0 && dc_mono_now_us() >= until_us) {
            dc_loop_update_time(set->loop);
            break;
        }
    }
    /* The rest goes before those that have become dirty meanwhile. */
    dc_list_move_all(&work, &set->dirty);
    dc_list_move_all(&set->dirty, &work);
    if (!dc_list_is_empty(&set->dirty)) {
        dc_turn_schedule(set->loop, &set->turn);
    }
}

void dc_streams_init(struct dc_streams *set, struct dc_loop *loop, enum dc_stream_encoding encoding,
                     void (*close_slow)(struct dc_stream *s, uint64_t offset))
{
    set->loop = loop;
    set->encoding = encoding;
    set->close_slow = close_slow;
    dc_turn_init(&set->turn, streams_turn);
    dc_list_init(&set->dirty);
}

void dc_streams_deinit(struct dc_streams *set)
{
    DC_ASSERT(dc_list_is_empty(&set->dirty));
    dc_turn_cancel(&set->turn);
}

void dc_stream_init(struct dc_stream *s, struct dc_streams *set)
{
    memset(s, 0, sizeof(*s));
    s->set = set;
    dc_list_init(&s->dirty);
}

static void drop_pending(struct dc_stream *s)
{
    struct dc_pending *p = s->pending;
    if (p == NULL) {
        return;
    }
    s->pending = NULL;
    s->conn->has_pending = false;
    for (uint32_t i = 0; i < p->n; i++) {
        dc_blob_unref(p->blobs[i]);
    }
    dc_free(p->blobs);
    dc_free(p);
}

void dc_stream_deinit(struct dc_stream *s)
{
    drop_pending(s);
    dc_list_remove(&s->dirty);
}

void dc_stream_mark(struct dc_stream *s)
{
    if (dc_list_is_empty(&s->dirty)) {
        dc_list_push_back(&s->set->dirty, &s->dirty);
        dc_turn_schedule(s->set->loop, &s->set->turn);
    }
}

/* Takes over the caller's reference. */
static void push(struct dc_stream *s, struct dc_blob *b, uint32_t tail_cap)
{
    struct dc_pending *p = s->pending;
    if (p == NULL) {
        p = s->pending = dc_calloc(1, sizeof(*p));
        s->conn->has_pending = true;
    }
    if (p->n == p->cap) {
        p->cap = p->cap == 0 ? 4 : p->cap * 2;
        p->blobs = dc_realloc(p->blobs, p->cap * sizeof(p->blobs[0]));
    }
    p->blobs[p->n++] = b;
    p->tail_cap = tail_cap;
}

char *dc_stream_append(struct dc_stream *s, size_t n)
{
    struct dc_pending *p = s->pending;
    size_t want = TAIL_MIN_BYTES;
    if (p != NULL && p->tail_cap > 0) {
        struct dc_blob *tail = p->blobs[p->n - 1];
        if (n <= p->tail_cap - tail->len) {
            char *at = tail->data + tail->len;
            tail->len += (uint32_t)n;
            return at;
        }
        want = p->tail_cap < TAIL_MAX_BYTES ? (size_t)p->tail_cap * 2 : TAIL_MAX_BYTES;
    }
    struct dc_blob *b = n > UINT32_MAX ? NULL : dc_blob_create(n > want ? n : want);
    if (b == NULL) {
        dc_conn_close(s->conn);
        return NULL;
    }
    push(s, b, b->len);
    b->len = (uint32_t)n;
    dc_stream_mark(s);
    return b->data;
}

void dc_stream_append_blob(struct dc_stream *s, struct dc_blob *b)
{
    push(s, dc_blob_ref(b), 0);
    dc_stream_mark(s);
}

void dc_stream_flush(struct dc_stream *s)
{
    struct dc_pending *p = s->pending;
    if (p != NULL) {
        dc_conn_send(s->conn, p->blobs, p->n);
        s->conn->has_sent = true;
        drop_pending(s);
    }
}

void dc_stream_serve(struct dc_stream *s)
{
    struct dc_blob *blobs[TOPIC_BLOBS];
    size_t n = 0;
    bool has_more = false;
    dc_list_remove(&s->dirty);
    if (s->conn->members != NULL && dc_conn_is_writable(s->conn)) {
        n = dc_hub_collect(s, blobs, TOPIC_BLOBS, &has_more);
    }
    if (s->pending != NULL) {
        for (size_t i = 0; i < n; i++) {
            push(s, blobs[i], 0);
        }
        dc_stream_flush(s);
    } else if (n > 0) {
        dc_conn_send(s->conn, blobs, n);
        s->conn->has_sent = true;
        for (size_t i = 0; i < n; i++) {
            dc_blob_unref(blobs[i]);
        }
    }
    /* If the socket is full now, its drain marks the stream again (dc_hub_conn_drained). */
    if (has_more && dc_conn_is_writable(s->conn)) {
        dc_stream_mark(s);
    }
}
