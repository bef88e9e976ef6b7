/* The hub: topics and memberships (see hub.h).  Everything is O(1) or O(memberships of one socket);
 * what costs per member is in hub_flush.c. */
#include "net/hub_priv.h"

#include "base/mem.h"
#include "base/random.h"

#define SEATS_FIRST_CAP 4u

struct dc_hub *dc_hub_create(struct dc_loop *loop, struct dc_metrics *metrics)
{
    struct dc_hub *h = dc_calloc(1, sizeof(*h));
    h->loop = loop;
    dc_turn_init(&h->turn, dc_hub_flush);
    dc_list_init(&h->topics);
    dc_list_init(&h->dirty);
    dc_list_init(&h->cached);
    dc_random_fill(NULL, h->map_seed, sizeof(h->map_seed));
    h->member_count =
        dc_metrics_gauge(metrics, "daarion_hub_members", NULL, "Memberships of sockets in topics");
    h->fanout_max_us =
        dc_metrics_gauge(metrics, "daarion_hub_fanout_max_microseconds", NULL,
                         "Longest time from the first to the last socket of one fan-out");
    h->published = dc_metrics_counter(metrics, "daarion_hub_published_total", NULL,
                                      "Frames published on topics");
    h->stale = dc_metrics_counter(metrics, "daarion_hub_stale_publications_total", NULL,
                                  "Publications ignored because their offset was not new");
    h->frames = dc_metrics_counter(metrics, "daarion_hub_frames_total", NULL,
                                   "Topic frames handed to sockets");
    h->bytes = dc_metrics_counter(metrics, "daarion_hub_bytes_total", NULL,
                                  "Bytes of topic frames handed to sockets");
    h->conflated = dc_metrics_counter(metrics, "daarion_hub_conflated_total", NULL,
                                      "Frames not sent because a newer one of their key was");
    h->slow_closes = dc_metrics_counter(metrics, "daarion_hub_slow_closes_total", NULL,
                                        "Sockets closed because a topic has lost their frames");
    h->slices = dc_metrics_counter(metrics, "daarion_hub_flush_slices_total", NULL,
                                   "Flushes that gave way to other work before their end");
    h->fanout = dc_metrics_histogram(metrics, "daarion_hub_fanout_seconds", NULL,
                                     "From the first to the last socket of one fan-out");
    return h;
}

void dc_hub_destroy(struct dc_hub *h)
{
    if (h == NULL) {
        return;
    }
    DC_ASSERT(dc_list_is_empty(&h->topics));
    dc_turn_cancel(&h->turn);
    dc_free(h);
}

static bool epoch_is_plain(struct dc_slice epoch)
{
    for (size_t i = 0; i < epoch.len; i++) {
        char c = epoch.ptr[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == ':') {
            return false;
        }
    }
    return true;
}

struct dc_topic *dc_topic_create(struct dc_hub *h, const struct dc_topic_opts *opts)
{
    DC_ASSERT(opts->epoch.len <= DC_EPOCH_MAX && epoch_is_plain(opts->epoch));
    struct dc_topic *t = dc_calloc(1, sizeof(*t));
    t->hub = h;
    t->kind = opts->kind;
    t->offset = t->floor = t->settled = opts->first_offset;
    t->max_frames_per_write = opts->max_frames_per_write > 0 ? opts->max_frames_per_write : 512;
    t->frames_are_whole = opts->frames_are_whole;
    dc_list_init(&t->dirty);
    dc_list_init(&t->cached);
    t->epoch_len = (uint8_t)opts->epoch.len;
    if (opts->epoch.len > 0) {
        memcpy(t->epoch, opts->epoch.ptr, opts->epoch.len);
    }
    struct dc_strbuf tail = {0};
    dc_strbuf_add_z(&tail, ",\"epoch\":\"");
    dc_strbuf_add(&tail, opts->epoch);
    dc_strbuf_add_z(&tail, "\",\"offset\":");
    DC_ASSERT(dc_strbuf_ok(&tail) && tail.len <= sizeof(t->tail));
    memcpy(t->tail, tail.ptr, tail.len);
    t->tail_len = (uint8_t)tail.len;
    dc_strbuf_free(&tail);
    dc_store_init(t, opts);
    dc_list_push_back(&h->topics, &t->link);
    return t;
}

/* --- memberships --- */

static struct dc_member *find_member(const struct dc_topic *t, const struct dc_conn *c)
{
    struct dc_member *m = c->members;
    while (m != NULL && m->topic != t) {
        m = m->next;
    }
    return m;
}

static void seats_resize(struct dc_topic *t, uint32_t cap)
{
    t->seats = dc_realloc(t->seats, cap * sizeof(t->seats[0]));
    t->member_cap = cap;
}

static void put_at(struct dc_topic *t, uint32_t index, struct dc_seat seat)
{
    t->seats[index] = seat;
    seat.member->index = index;
}

/* Takes m out of its topic's seats, which stay dense.  While a flush is under way the members it
 * has served stay in front of those it has not. */
static void take_seat(const struct dc_member *m)
{
    struct dc_topic *t = m->topic;
    uint32_t hole = m->index;
    t->seats[hole].conn->member_count--;
    if (t->is_sweeping && hole < t->sweep_pos) {
        t->sweep_pos--;
        put_at(t, hole, t->seats[t->sweep_pos]);
        hole = t->sweep_pos;
    }
    t->member_count--;
    if (hole != t->member_count) {
        put_at(t, hole, t->seats[t->member_count]);
    }
    if (t->member_count == 0) {
        dc_free(t->seats);
        t->seats = NULL;
        t->member_cap = 0;
        t->settled = t->offset;
    } else if (t->member_cap > SEATS_FIRST_CAP && t->member_count < t->member_cap / 4) {
        seats_resize(t, t->member_cap / 2);
    }
    t->hub->member_count->value--;
}

void dc_topic_join(struct dc_topic *t, struct dc_conn *c, uint64_t from)
{
    DC_ASSERT(c->cls->mode == DC_CONN_WS || c->cls->mode == DC_CONN_SSE);
    struct dc_stream *s = c->state;
    if (s->is_ended || c->member_count == UINT16_MAX || find_member(t, c) != NULL) {
        return;
    }
    struct dc_member *m = dc_calloc(1, sizeof(*m));
    m->topic = t;
    m->next = c->members;
    c->members = m;
    c->member_count++;
    if (t->member_count == t->member_cap) {
        /* By half: seats are most of what an idle membership costs. */
        seats_resize(t, t->member_cap == 0 ? SEATS_FIRST_CAP : t->member_cap + t->member_cap / 2);
    }
    put_at(t, t->member_count++, (struct dc_seat){c, from, m});
    t->hub->member_count->value++;
    if (from < t->offset) {
        /* What it misses must not be forgotten before it has been served. */
        t->settled = from < t->settled ? from : t->settled;
        dc_stream_mark(s);
    }
}

void dc_topic_leave(struct dc_topic *t, struct dc_conn *c)
{
    for (struct dc_member **at = &c->members; *at != NULL; at = &(*at)->next) {
        struct dc_member *m = *at;
        if (m->topic == t) {
            *at = m->next;
            take_seat(m);
            dc_free(m);
            return;
        }
    }
}

void dc_hub_conn_closed(struct dc_conn *c)
{
    while (c->members != NULL) {
        struct dc_member *m = c->members;
        c->members = m->next;
        take_seat(m);
        dc_free(m);
    }
}

void dc_hub_conn_drained(struct dc_conn *c)
{
    for (const struct dc_member *m = c->members; m != NULL; m = m->next) {
        if (dc_member_seat(m)->cursor < m->topic->offset) {
            dc_stream_mark(c->state);
            return;
        }
    }
}

void dc_topic_hold(struct dc_topic *t, struct dc_conn *c)
{
    const struct dc_member *m = find_member(t, c);
    if (m != NULL) {
        dc_member_seat(m)->cursor = DC_CURSOR_HELD;
    }
}

void dc_topic_release(struct dc_topic *t, struct dc_conn *c, uint64_t from)
{
    const struct dc_member *m = find_member(t, c);
    if (m == NULL) {
        return;
    }
    dc_member_seat(m)->cursor = from;
    if (from < t->offset) {
        t->settled = from < t->settled ? from : t->settled;
        dc_stream_mark(c->state);
    }
}

void dc_topic_destroy(struct dc_topic *t)
{
    if (t == NULL) {
        return;
    }
    while (t->member_count > 0) {
        dc_topic_leave(t, t->seats[t->member_count - 1].conn);
    }
    dc_topic_drop_batches(t);
    dc_store_deinit(t);
    dc_list_remove(&t->dirty);
    dc_list_remove(&t->link);
    dc_free(t);
}

/* --- cursors --- */

struct dc_slice dc_topic_epoch(const struct dc_topic *t)
{
    return dc_slice_make(t->epoch, t->epoch_len);
}

uint64_t dc_topic_offset(const struct dc_topic *t)
{
    return t->offset;
}

size_t dc_topic_member_count(const struct dc_topic *t)
{
    return t->member_count;
}

uint64_t dc_topic_member_offset(const struct dc_topic *t, const struct dc_conn *c)
{
    const struct dc_member *m = find_member(t, c);
    if (m == NULL) {
        return t->offset;
    }
    uint64_t cursor = dc_member_seat(m)->cursor;
    return cursor == DC_CURSOR_HELD ? t->offset : cursor;
}

bool dc_topic_can_resume(const struct dc_topic *t, struct dc_slice epoch, uint64_t offset)
{
    return dc_slice_eq(epoch, dc_topic_epoch(t)) && offset >= t->floor && offset <= t->offset;
}

void dc_topic_write_cursor(const struct dc_topic *t, uint64_t offset, struct dc_strbuf *json_open)
{
    char ending[DC_ENDING_MAX];
    size_t n = dc_topic_ending(t, offset, dc_strbuf_slice(json_open), ending);
    dc_strbuf_add(json_open, dc_slice_make(ending, n));
}

/* --- publishing --- */

static void published(struct dc_topic *t, uint64_t offset, bool is_stored)
{
    t->offset = offset;
    t->version++;
    t->hub->published->value++;
    if (!is_stored) {
        /* Nobody gets it, so nobody may go on as if there were no gap: everybody resumes. */
        t->floor = offset;
    }
    if (t->member_count == 0) {
        t->settled = offset;
    } else {
        dc_topic_mark(t);
    }
    if (t->kind == DC_TOPIC_LOG) {
        dc_store_log_trim(t);
    }
}

void dc_topic_publish(struct dc_topic *t, uint64_t offset, struct dc_slice json_open)
{
    DC_ASSERT(t->kind == DC_TOPIC_LOG && json_open.len > 0);
    if (offset <= t->offset) {
        t->hub->stale->value++;
        return;
    }
    published(t, offset, dc_store_log(t, offset, json_open));
}

void dc_topic_set(struct dc_topic *t, struct dc_slice key, struct dc_slice json_open)
{
    DC_ASSERT(t->kind == DC_TOPIC_STATE && json_open.len > 0);
    published(t, t->offset + 1, dc_store_state(t, t->offset + 1, key, json_open, false));
}

void dc_topic_end(struct dc_topic *t, struct dc_slice key, struct dc_slice json_open)
{
    DC_ASSERT(t->kind == DC_TOPIC_STATE && json_open.len > 0);
    published(t, t->offset + 1, dc_store_state(t, t->offset + 1, key, json_open, true));
}
