/* Bus in this process: streams, what they keep, and cursors into them. */
#include "base/mem.h"
#include "bus/bus_memory_priv.h"

/* What a stream that keeps every message keeps once all its readers have passed it.  The table's
 * limits are for a server that outlives its clients; what is kept here ends with the process, and
 * only somebody in it could still come for it. */
#define READ_MAX_BYTES ((size_t)16 * 1024 * 1024)
/* Ids remembered by a stream, whatever its window: the oldest go first. */
#define SEEN_IDS_MAX 65536

struct seen_id {
    struct dc_list link;
    int64_t at_ms;
    uint64_t sequence;
    size_t len;
    char id[];
};

struct dc_bus_mmsg *dc_bus_mmsg_new(struct dc_slice subject, struct dc_slice payload)
{
    struct dc_bus_mmsg *m = dc_try_alloc(sizeof(*m) + subject.len + payload.len);
    if (m == NULL) {
        return NULL;
    }
    *m = (struct dc_bus_mmsg){.refs = 1, .subject_len = subject.len, .payload_len = payload.len};
    dc_list_init(&m->link);
    memcpy(m->bytes, subject.ptr, subject.len);
    if (payload.len > 0) {
        memcpy(m->bytes + subject.len, payload.ptr, payload.len);
    }
    return m;
}

void dc_bus_mmsg_unref(struct dc_bus_mmsg *m)
{
    if (m != NULL && --m->refs == 0) {
        dc_free(m);
    }
}

size_t dc_bus_mmsg_bytes(const struct dc_bus_mmsg *m)
{
    return sizeof(*m) + m->subject_len + m->payload_len;
}

void dc_bus_mstream_init(struct dc_bus_mstream *s, const struct dc_bus_stream *def,
                         const uint64_t seed[2])
{
    s->def = def;
    dc_list_init(&s->messages);
    dc_list_init(&s->ids_by_age);
    dc_list_init(&s->cursors);
    dc_list_init(&s->consumers);
    dc_map_init(&s->subjects, seed);
    dc_map_init(&s->ids, seed);
}

static struct dc_bus_mmsg *message_of(struct dc_list *link)
{
    return DC_LIST_ENTRY(link, struct dc_bus_mmsg, link);
}

static void drop(struct dc_bus_mstream *s, struct dc_bus_mmsg *m)
{
    DC_LIST_FOREACH (it, &s->cursors) {
        struct dc_bus_cursor *c = DC_LIST_ENTRY(it, struct dc_bus_cursor, link);
        if (c->next == m) {
            dc_bus_cursor_pass(s, c);
        }
    }
    if (m->is_last) {
        m->is_last = false;
        dc_map_remove(&s->subjects, dc_bus_mmsg_subject(m));
    }
    dc_list_remove(&m->link);
    s->bytes -= dc_bus_mmsg_bytes(m);
    dc_bus_mmsg_unref(m);
}

static void forget_id(struct dc_bus_mstream *s, struct seen_id *seen)
{
    dc_map_remove(&s->ids, dc_slice_make(seen->id, seen->len));
    dc_list_remove(&seen->link);
    dc_free(seen);
}

void dc_bus_mstream_free(struct dc_bus_mstream *s)
{
    while (!dc_list_is_empty(&s->messages)) {
        drop(s, message_of(s->messages.next));
    }
    while (!dc_list_is_empty(&s->ids_by_age)) {
        forget_id(s, DC_LIST_ENTRY(s->ids_by_age.next, struct seen_id, link));
    }
    dc_map_free(&s->subjects);
    dc_map_free(&s->ids);
}

static bool is_over(int64_t at_ms, uint64_t length_ms, int64_t now_ms)
{
    return now_ms >= at_ms && (uint64_t)(now_ms - at_ms) >= length_ms;
}

uint64_t dc_bus_mstream_seen(struct dc_bus_mstream *s, struct dc_slice id, int64_t now_ms)
{
    while (!dc_list_is_empty(&s->ids_by_age)) {
        struct seen_id *oldest = DC_LIST_ENTRY(s->ids_by_age.next, struct seen_id, link);
        if (!is_over(oldest->at_ms, s->def->dedup_window_ms, now_ms)) {
            break;
        }
        forget_id(s, oldest);
    }
    const struct seen_id *seen = id.len == 0 ? NULL : dc_map_get(&s->ids, id);
    return seen == NULL ? 0 : seen->sequence;
}

static void remember_id(struct dc_bus_mstream *s, struct dc_slice id, uint64_t sequence,
                        int64_t now_ms)
{
    if (id.len == 0 || s->def->dedup_window_ms == 0) {
        return;
    }
    if (s->ids.count >= SEEN_IDS_MAX) {
        forget_id(s, DC_LIST_ENTRY(s->ids_by_age.next, struct seen_id, link));
    }
    struct seen_id *seen = dc_calloc(1, sizeof(*seen) + id.len);
    seen->at_ms = now_ms;
    seen->sequence = sequence;
    seen->len = id.len;
    memcpy(seen->id, id.ptr, id.len);
    dc_list_push_back(&s->ids_by_age, &seen->link);
    dc_map_put(&s->ids, dc_slice_make(seen->id, seen->len), seen);
}

size_t dc_bus_mstream_expire(struct dc_bus_mstream *s, int64_t now_ms)
{
    size_t n = 0;
    while (s->def->max_age_ms > 0 && !dc_list_is_empty(&s->messages) &&
           is_over(message_of(s->messages.next)->at_ms, s->def->max_age_ms, now_ms)) {
        drop(s, message_of(s->messages.next));
        n++;
    }
    return n;
}

void dc_bus_mstream_forget(struct dc_bus_mstream *s, struct dc_slice subject)
{
    struct dc_bus_mmsg *newest = dc_map_get(&s->subjects, subject);
    if (newest == NULL) {
        return; /* older ones go before newer ones: there is nothing of it */
    }
    if (!s->def->last_per_subject) {
        DC_LIST_FOREACH_SAFE (it, &s->messages) {
            struct dc_bus_mmsg *m = message_of(it);
            if (m != newest && dc_slice_eq(dc_bus_mmsg_subject(m), subject)) {
                drop(s, m);
            }
        }
    }
    drop(s, newest);
}

/* Everybody who reads the stream (replays and durable consumers) is behind m. */
static bool is_read(const struct dc_bus_mstream *s, const struct dc_bus_mmsg *m)
{
    DC_LIST_FOREACH (it, &s->cursors) {
        if (DC_LIST_ENTRY(it, const struct dc_bus_cursor, link)->pos < m->sequence) {
            return false;
        }
    }
    return true;
}

/* The oldest message has to go. */
static bool is_full(const struct dc_bus_mstream *s)
{
    if (s->def->max_bytes > 0 && s->bytes > s->def->max_bytes) {
        return true;
    }
    return !s->def->last_per_subject && s->bytes > READ_MAX_BYTES &&
           is_read(s, message_of(s->messages.next));
}

size_t dc_bus_mstream_store(struct dc_bus_mstream *s, struct dc_bus_mmsg *m, struct dc_slice id,
                            int64_t now_ms)
{
    size_t n_dropped = dc_bus_mstream_expire(s, now_ms);
    m->sequence = ++s->last_sequence;
    m->at_ms = now_ms;
    m->is_last = true;
    struct dc_bus_mmsg *before = dc_map_put(&s->subjects, dc_bus_mmsg_subject(m), m);
    if (before != NULL) {
        before->is_last = false;
        if (s->def->last_per_subject) {
            drop(s, before); /* replaced, not lost: not counted */
        }
    }
    m->refs++;
    dc_list_push_back(&s->messages, &m->link);
    s->bytes += dc_bus_mmsg_bytes(m);
    while (s->messages.next != &m->link && is_full(s)) {
        drop(s, message_of(s->messages.next));
        n_dropped++;
    }
    remember_id(s, id, m->sequence, now_ms);
    return n_dropped;
}

void dc_bus_cursor_open(struct dc_bus_mstream *s, struct dc_bus_cursor *c,
                        const struct dc_bus_sub_opts *opts)
{
    *c = (struct dc_bus_cursor){0};
    switch (opts->start) {
    case DC_BUS_NEW:
    case DC_BUS_LIVE: /* published and stored is the same here */
        c->pos = s->last_sequence;
        break;
    case DC_BUS_LAST:
        c->last_only_until = s->last_sequence;
        break;
    case DC_BUS_ALL:
        break;
    case DC_BUS_AFTER_SEQ:
        c->pos = opts->after_sequence < s->last_sequence ? opts->after_sequence : s->last_sequence;
        break;
    }
    dc_list_push_back(&s->cursors, &c->link);
}

void dc_bus_cursor_close(struct dc_bus_cursor *c)
{
    if (c->link.next != NULL) {
        dc_list_remove(&c->link);
    }
    c->next = NULL;
}

/* The first message behind pos.  Looks from both ends: cursors stand at the start or near the end.
 */
static struct dc_bus_mmsg *find_behind(struct dc_bus_mstream *s, uint64_t pos)
{
    if (dc_list_is_empty(&s->messages) || message_of(s->messages.prev)->sequence <= pos) {
        return NULL;
    }
    if (message_of(s->messages.next)->sequence > pos) {
        return message_of(s->messages.next);
    }
    struct dc_list *at = s->messages.prev;
    while (message_of(at->prev)->sequence > pos) {
        at = at->prev; /* ends: the first message is not behind pos */
    }
    return message_of(at);
}

void dc_bus_cursor_pass(struct dc_bus_mstream *s, struct dc_bus_cursor *c)
{
    c->pos = c->next->sequence;
    struct dc_list *after = c->next->link.next;
    c->next = after == &s->messages ? NULL : message_of(after);
}

struct dc_bus_mmsg *dc_bus_cursor_next(struct dc_bus_mstream *s, struct dc_bus_cursor *c,
                                       struct dc_slice pattern, size_t *budget)
{
    if (c->next == NULL) {
        c->next = find_behind(s, c->pos);
    }
    while (c->next != NULL && *budget > 0) {
        (*budget)--;
        bool counts = c->next->is_last || c->next->sequence > c->last_only_until;
        if (counts && dc_bus_subject_matches(pattern, dc_bus_mmsg_subject(c->next))) {
            return c->next;
        }
        dc_bus_cursor_pass(s, c);
    }
    return NULL;
}
