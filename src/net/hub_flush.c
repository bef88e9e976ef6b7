/* Writing: what topics have published goes to their members, framed once and shared.
 *
 * A topic that has published is swept at the end of the turn: each member that is behind and
 * writable gets a batch, the frames from its cursor on.  All members that keep up have the same
 * cursor, so they share one batch: one blob, one write each.  A sweep looks at the clock every
 * DC_SLICE_MEMBERS members and gives way after DC_SLICE_US; what is published meanwhile is in the
 * batches of the members that are still to come, and the others get it in the next sweep. */
#include "net/hub_priv.h"

#include "net/ws_codec.h"

#define SSE_MIDDLE "\ndata: "
#define SSE_END    "\n\n"
#define SSE_ID_MAX (4u + DC_EPOCH_MAX + 1u + 20u)

/* How far ahead of the write connections are fetched. */
#define PREFETCH 4u

void dc_topic_drop_batches(struct dc_topic *t)
{
    for (size_t i = 0; i < DC_TOPIC_BATCHES; i++) {
        dc_blob_unref(t->batches[i].blob);
        t->batches[i].blob = NULL;
    }
    dc_list_remove(&t->cached);
}

void dc_topic_mark(struct dc_topic *t)
{
    if (dc_list_is_empty(&t->dirty)) {
        dc_list_push_back(&t->hub->dirty, &t->dirty);
        dc_turn_schedule(t->hub->loop, &t->hub->turn);
    }
}

/* --- batches --- */

static size_t write_ws(char *out, struct dc_slice json)
{
    uint8_t head[DC_WS_HEADER_MAX];
    size_t n = dc_ws_encode_header(head, DC_WS_TEXT, json.len);
    if (out != NULL) {
        memcpy(out, head, n);
        memcpy(out + n, json.ptr, json.len);
    }
    return n + json.len;
}

static size_t write_sse(const struct dc_topic *t, char *out, uint64_t offset, struct dc_slice json)
{
    char id[SSE_ID_MAX];
    size_t n = 0;
    memcpy(id, "id: ", 4);
    n += 4;
    memcpy(id + n, t->epoch, t->epoch_len);
    n += t->epoch_len;
    id[n++] = ':';
    char digits[20];
    size_t d = 0;
    do {
        digits[d++] = (char)('0' + offset % 10);
        offset /= 10;
    } while (offset > 0);
    while (d > 0) {
        id[n++] = digits[--d];
    }
    size_t total = n + sizeof(SSE_MIDDLE) - 1 + json.len + sizeof(SSE_END) - 1;
    if (out != NULL) {
        memcpy(out, id, n);
        out += n;
        memcpy(out, SSE_MIDDLE, sizeof(SSE_MIDDLE) - 1);
        out += sizeof(SSE_MIDDLE) - 1;
        memcpy(out, json.ptr, json.len);
        out += json.len;
        memcpy(out, SSE_END, sizeof(SSE_END) - 1);
    }
    return total;
}

/* Writes one frame, or only counts its bytes if out is NULL. */
static size_t write_frame(const struct dc_topic *t, enum dc_stream_encoding encoding, char *out,
                          uint64_t offset, struct dc_slice json)
{
    return encoding == DC_STREAM_WS ? write_ws(out, json) : write_sse(t, out, offset, json);
}

static bool batch_build(const struct dc_topic *t, struct dc_batch *b)
{
    struct dc_store_iter it;
    uint64_t offset;
    struct dc_slice json;
    size_t size = 0;
    uint32_t n = 0;
    dc_store_seek(t, b->from, &it);
    while (n < t->max_frames_per_write && dc_store_next(t, &it, &offset, &json)) {
        size_t more = write_frame(t, b->encoding, NULL, offset, json);
        if (n > 0 && more > DC_BATCH_MAX_BYTES - size) {
            break;
        }
        size += more;
        n++;
        if (size > DC_BATCH_MAX_BYTES) {
            break;
        }
    }
    b->blob = dc_blob_create(size);
    if (b->blob == NULL) {
        return false;
    }
    size_t pos = 0;
    b->frames = n;
    b->to = b->from;
    dc_store_seek(t, b->from, &it);
    while (n-- > 0 && dc_store_next(t, &it, &offset, &json)) {
        pos += write_frame(t, b->encoding, b->blob->data + pos, offset, json);
        b->to = offset;
    }
    return true;
}

/* The frames that follow a cursor below t->offset and not below t->floor.  Valid until the next
 * call for this topic; NULL: no memory. */
static const struct dc_batch *batch_get(struct dc_topic *t, uint64_t from,
                                        enum dc_stream_encoding encoding)
{
    for (size_t i = 0; i < DC_TOPIC_BATCHES; i++) {
        const struct dc_batch *b = &t->batches[i];
        if (b->blob != NULL && b->from == from && b->version == t->version &&
            b->encoding == encoding) {
            return b;
        }
    }
    struct dc_batch *b = &t->batches[t->next_batch];
    t->next_batch = (t->next_batch + 1) % DC_TOPIC_BATCHES;
    dc_blob_unref(b->blob);
    *b = (struct dc_batch){.from = from, .version = t->version, .encoding = encoding};
    if (!batch_build(t, b)) {
        return NULL;
    }
    if (dc_list_is_empty(&t->cached)) {
        /* Dropped at the end of this flush, or of the one that is asked for here. */
        dc_list_push_back(&t->hub->cached, &t->cached);
        dc_turn_schedule(t->hub->loop, &t->hub->turn);
    }
    return b;
}

/* A member that is held has lost nothing: its release says where it stands. */
static bool has_lost(const struct dc_topic *t, const struct dc_seat *seat)
{
    return seat->cursor < t->floor;
}

/* Ends the stream of a seat, and with it the seat. */
static void close_slow(const struct dc_topic *t, const struct dc_seat *seat)
{
    struct dc_stream *s = seat->conn->state;
    t->hub->slow_closes->value++;
    s->set->close_slow(s, seat->cursor);
}

/* Moves the cursor over a batch that is about to be sent. */
static void pass(const struct dc_topic *t, struct dc_seat *seat, const struct dc_batch *b)
{
    struct dc_hub *h = t->hub;
    h->frames->value += b->frames;
    h->bytes->value += b->blob->len;
    if (t->kind == DC_TOPIC_STATE) {
        h->conflated->value += b->to - b->from - b->frames;
    }
    seat->cursor = b->to;
}

size_t dc_hub_collect(struct dc_stream *s, struct dc_blob **out, size_t cap, bool *has_more)
{
    struct dc_conn *c = s->conn;
    size_t n = 0;
    size_t bytes = 0;
    for (const struct dc_member *m = c->members; m != NULL; m = m->next) {
        if (has_lost(m->topic, dc_member_seat(m))) {
            close_slow(m->topic, dc_member_seat(m));
            return 0;
        }
    }
    for (const struct dc_member *m = c->members; m != NULL; m = m->next) {
        struct dc_topic *t = m->topic;
        struct dc_seat *seat = dc_member_seat(m);
        if (seat->cursor >= t->offset) {
            continue;
        }
        if (n == cap || bytes >= DC_BATCH_MAX_BYTES) {
            *has_more = true;
            break;
        }
        const struct dc_batch *b = batch_get(t, seat->cursor, s->set->encoding);
        if (b == NULL) {
            *has_more = true; /* no memory now: again in the next turn */
            break;
        }
        pass(t, seat, b);
        bytes += b->blob->len;
        *has_more = *has_more || b->to < t->offset;
        out[n++] = dc_blob_ref(b->blob);
        if (t->kind == DC_TOPIC_LOG && b->to < t->offset) {
            break; /* what was joined before it may speak of what is still to come */
        }
    }
    return n;
}

/* --- sweeps --- */

static void prefetch(const struct dc_topic *t, uint32_t pos)
{
    if (t->member_count - pos > PREFETCH) {
        const struct dc_conn *c = t->seats[pos + PREFETCH].conn;
        __builtin_prefetch(&c->host);
        __builtin_prefetch(c->peer); /* beside the flags */
    }
}

/* The usual case: the socket is in one topic and has nothing else to send.  Only its seat and a few
 * fields of its connection are touched. */
static void send_batch(struct dc_topic *t, struct dc_seat *seat)
{
    struct dc_conn *c = seat->conn;
    const struct dc_batch *b =
        batch_get(t, seat->cursor, c->cls->mode == DC_CONN_WS ? DC_STREAM_WS : DC_STREAM_SSE);
    if (b == NULL) {
        dc_stream_mark(c->state); /* no memory now: again in the next turn */
        return;
    }
    struct dc_blob *blob = b->blob;
    pass(t, seat, b);
    c->has_sent = true;
    dc_conn_send(c, &blob, 1);
    if (seat->cursor < t->offset && dc_conn_is_writable(c)) {
        dc_stream_mark(c->state);
    }
}

static void sweep_seat(struct dc_topic *t, uint32_t pos)
{
    struct dc_seat *seat = &t->seats[pos];
    struct dc_conn *c = seat->conn;
    if (seat->cursor >= t->offset) {
        return;
    }
    if (has_lost(t, seat)) {
        close_slow(t, seat); /* ends the seat */
        return;
    }
    if (!dc_conn_is_writable(c)) {
        return; /* when it drains, it is served from its cursor */
    }
    if (c->member_count == 1 && !c->has_pending) {
        send_batch(t, seat);
    } else {
        dc_stream_serve(c->state); /* may find it lost in another topic, and end the seat */
        if (pos >= t->member_count || t->seats[pos].conn != c) {
            return;
        }
    }
    if (seat->cursor < t->sweep_min && dc_conn_is_writable(c)) {
        t->sweep_min = seat->cursor; /* it got only a part */
    }
}

/* What one call of dc_hub_flush() may use. */
struct slice {
    uint64_t until_us;
    uint32_t members; /* looked at so far */
};

/* false: time is up. */
static bool sweep(struct dc_topic *t, struct slice *slice)
{
    if (!t->is_sweeping) {
        t->is_sweeping = true;
        t->sweep_pos = 0;
        t->sweep_target = t->offset;
        t->sweep_min = t->offset;
        t->sweep_started_us = dc_mono_now_us();
    }
    while (t->sweep_pos < t->member_count) {
        if (++slice->members % DC_SLICE_MEMBERS == 0 && dc_mono_now_us() >= slice->until_us) {
            return false;
        }
        uint32_t pos = t->sweep_pos++;
        prefetch(t, pos);
        sweep_seat(t, pos);
    }
    t->is_sweeping = false;
    t->settled = t->sweep_min < t->sweep_target ? t->sweep_min : t->sweep_target;
    if (t->kind == DC_TOPIC_LOG) {
        dc_store_log_trim(t);
    }
    uint64_t took_us = dc_mono_now_us() - t->sweep_started_us;
    struct dc_hub *h = t->hub;
    dc_histogram_observe_us(h->fanout, took_us);
    if ((int64_t)took_us > h->fanout_max_us->value) {
        h->fanout_max_us->value = (int64_t)took_us;
    }
    return true;
}

void dc_hub_flush(struct dc_turn *turn)
{
    struct dc_hub *h = DC_CONTAINER_OF(turn, struct dc_hub, turn);
    struct slice slice = {.until_us = dc_mono_now_us() + DC_SLICE_US};
    while (!dc_list_is_empty(&h->dirty)) {
        struct dc_topic *t = DC_LIST_ENTRY(h->dirty.next, struct dc_topic, dirty);
        if (!sweep(t, &slice)) {
            h->slices->value++;
            dc_loop_update_time(h->loop);
            dc_turn_schedule(h->loop, turn);
            return;
        }
        dc_list_remove(&t->dirty);
        if (t->offset != t->sweep_target) {
            dc_list_push_back(&h->dirty, &t->dirty); /* published meanwhile */
        }
    }
    while (!dc_list_is_empty(&h->cached)) {
        dc_topic_drop_batches(DC_LIST_ENTRY(h->cached.next, struct dc_topic, cached));
    }
}
