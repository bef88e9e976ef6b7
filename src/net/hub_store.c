/* What a topic remembers for those who are behind: the last frames of a LOG, the newest frame per
 * key of a STATE.  Frames are stored as finished JSON; they are framed when somebody is there to
 * receive them (hub_flush.c). */
#include "net/hub_priv.h"

#include "base/mem.h"

#define LOG_DEFAULT_FRAMES 1024u
#define LOG_DEFAULT_BYTES  ((size_t)1024 * 1024)
#define LOG_FIRST_CAP      16u
#define ENDINGS_MIN        1024u

void dc_store_init(struct dc_topic *t, const struct dc_topic_opts *opts)
{
    if (t->kind == DC_TOPIC_LOG) {
        struct dc_log_store *log = &t->store.log;
        log->max_count = opts->max_log_frames > 0 ? opts->max_log_frames : LOG_DEFAULT_FRAMES;
        log->max_bytes = opts->max_log_bytes > 0 ? opts->max_log_bytes : LOG_DEFAULT_BYTES;
        return;
    }
    dc_map_init(&t->store.state.by_key, t->hub->map_seed);
    dc_list_init(&t->store.state.entries);
    dc_list_init(&t->store.state.endings);
}

static struct dc_log_frame *log_at(const struct dc_log_store *log, size_t i)
{
    return &log->frames[(log->first + i) & (log->cap - 1)];
}

void dc_store_deinit(struct dc_topic *t)
{
    if (t->kind == DC_TOPIC_LOG) {
        struct dc_log_store *log = &t->store.log;
        for (size_t i = 0; i < log->count; i++) {
            dc_free(log_at(log, i)->json);
        }
        dc_free(log->frames);
        return;
    }
    DC_LIST_FOREACH_SAFE (node, &t->store.state.entries) {
        dc_free(DC_LIST_ENTRY(node, struct dc_state_entry, link));
    }
    dc_map_free(&t->store.state.by_key);
}

size_t dc_topic_ending(const struct dc_topic *t, uint64_t offset, struct dc_slice json_open,
                       char out[DC_ENDING_MAX])
{
    bool is_first_member = json_open.len > 0 && json_open.ptr[json_open.len - 1] == '{';
    size_t skip = is_first_member ? 1 : 0; /* the comma */
    size_t len = t->tail_len - skip;
    memcpy(out, t->tail + skip, len);
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + offset % 10);
        offset /= 10;
    } while (offset > 0);
    while (n > 0) {
        out[len++] = digits[--n];
    }
    out[len++] = '}';
    return len;
}

/* A line break in valid JSON is white space; an event stream would take it for the end of a field.
 */
static void make_one_line(char *json, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (json[i] == '\n' || json[i] == '\r') {
            json[i] = ' ';
        }
    }
}

/* Writes the finished frame of json_open to out. */
static void write_frame(char *out, struct dc_slice json_open, const char *ending, size_t ending_len)
{
    memcpy(out, json_open.ptr, json_open.len);
    if (memchr(out, '\n', json_open.len) != NULL || memchr(out, '\r', json_open.len) != NULL) {
        make_one_line(out, json_open.len);
    }
    memcpy(out + json_open.len, ending, ending_len);
}

static bool log_grow(struct dc_log_store *log)
{
    size_t cap = log->cap == 0 ? LOG_FIRST_CAP : log->cap * 2;
    size_t bytes;
    if (!dc_mul_size(cap, sizeof(log->frames[0]), &bytes)) {
        return false;
    }
    struct dc_log_frame *frames = dc_try_alloc(bytes);
    if (frames == NULL) {
        return false;
    }
    for (size_t i = 0; i < log->count; i++) {
        frames[i] = *log_at(log, i);
    }
    dc_free(log->frames);
    log->frames = frames;
    log->first = 0;
    log->cap = cap;
    return true;
}

bool dc_store_log(struct dc_topic *t, uint64_t offset, struct dc_slice json_open)
{
    struct dc_log_store *log = &t->store.log;
    char ending[DC_ENDING_MAX];
    size_t ending_len = t->frames_are_whole ? 0 : dc_topic_ending(t, offset, json_open, ending);
    size_t len;
    if (log->count == log->cap && !log_grow(log)) {
        return false;
    }
    char *json =
        dc_add_size(json_open.len, ending_len, &len) && len < UINT32_MAX ? dc_try_alloc(len) : NULL;
    if (json == NULL) {
        return false;
    }
    write_frame(json, json_open, ending, ending_len);
    *log_at(log, log->count++) = (struct dc_log_frame){offset, json, len};
    log->bytes += len;
    return true;
}

void dc_store_log_trim(struct dc_topic *t)
{
    struct dc_log_store *log = &t->store.log;
    /* The newest frame stays. Frames that sockets which keep up have not been offered yet may take
     * as much again: only a publisher that outruns the loop gets past that. */
    while (log->count > 1) {
        struct dc_log_frame *oldest = log_at(log, 0);
        bool is_over = log->count > log->max_count || log->bytes > log->max_bytes;
        bool is_far_over = log->count / 2 >= log->max_count || log->bytes / 2 >= log->max_bytes;
        if (!is_far_over && !(is_over && oldest->offset <= t->settled)) {
            return;
        }
        t->floor = oldest->offset;
        log->bytes -= oldest->len;
        dc_free(oldest->json);
        log->first = (log->first + 1) & (log->cap - 1);
        log->count--;
    }
}

static void state_remove(struct dc_state_store *st, struct dc_state_entry *e)
{
    if (!dc_list_is_empty(&e->ending)) {
        dc_list_remove(&e->ending);
        st->ending_count--;
    }
    dc_list_remove(&e->link);
}

static void forget_endings(struct dc_topic *t)
{
    struct dc_state_store *st = &t->store.state;
    size_t live = st->by_key.count - st->ending_count;
    size_t max = live > ENDINGS_MIN ? live : ENDINGS_MIN;
    while (st->ending_count > max) {
        struct dc_state_entry *e = DC_LIST_ENTRY(st->endings.next, struct dc_state_entry, ending);
        t->floor = e->offset;
        state_remove(st, e);
        dc_map_remove(&st->by_key, dc_slice_make(e->bytes, e->key_len));
        dc_free(e);
    }
}

bool dc_store_state(struct dc_topic *t, uint64_t offset, struct dc_slice key,
                    struct dc_slice json_open, bool is_ending)
{
    struct dc_state_store *st = &t->store.state;
    DC_ASSERT(key.len <= DC_TOPIC_KEY_MAX);
    char ending[DC_ENDING_MAX];
    size_t ending_len = t->frames_are_whole ? 0 : dc_topic_ending(t, offset, json_open, ending);
    size_t len;
    if (!dc_add_size(json_open.len, ending_len, &len) || len > UINT32_MAX / 2) {
        return false;
    }
    struct dc_state_entry *e = dc_map_get(&st->by_key, key);
    if (e == NULL || e->json_cap < len) {
        struct dc_state_entry *old = e;
        size_t cap = old == NULL ? len : len + len / 4;
        e = dc_try_alloc(sizeof(*e) + key.len + cap);
        if (e == NULL) {
            return false;
        }
        dc_list_init(&e->link);
        dc_list_init(&e->ending);
        e->key_len = (uint32_t)key.len;
        e->json_cap = (uint32_t)cap;
        if (key.len > 0) {
            memcpy(e->bytes, key.ptr, key.len);
        }
        dc_map_put(&st->by_key, dc_slice_make(e->bytes, e->key_len), e);
        if (old != NULL) {
            state_remove(st, old);
            dc_free(old);
        }
    } else {
        state_remove(st, e);
    }
    write_frame(e->bytes + e->key_len, json_open, ending, ending_len);
    e->json_len = (uint32_t)len;
    e->offset = offset;
    dc_list_push_back(&st->entries, &e->link);
    if (is_ending) {
        dc_list_push_back(&st->endings, &e->ending);
        st->ending_count++;
        forget_endings(t);
    }
    return true;
}

void dc_store_seek(const struct dc_topic *t, uint64_t after, struct dc_store_iter *it)
{
    if (t->kind == DC_TOPIC_LOG) {
        const struct dc_log_store *log = &t->store.log;
        size_t low = 0;
        size_t high = log->count;
        while (low < high) {
            size_t mid = low + (high - low) / 2;
            if (log_at(log, mid)->offset <= after) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        it->index = low;
        it->node = NULL;
        return;
    }
    /* From the newest back: the cost is that of what will be sent. */
    const struct dc_list *head = &t->store.state.entries;
    struct dc_list *node = head->prev;
    while (node != head && DC_LIST_ENTRY(node, struct dc_state_entry, link)->offset > after) {
        node = node->prev;
    }
    it->index = 0;
    it->node = node->next;
}

bool dc_store_next(const struct dc_topic *t, struct dc_store_iter *it, uint64_t *offset,
                   struct dc_slice *json)
{
    if (t->kind == DC_TOPIC_LOG) {
        const struct dc_log_store *log = &t->store.log;
        if (it->index == log->count) {
            return false;
        }
        const struct dc_log_frame *f = log_at(log, it->index++);
        *offset = f->offset;
        *json = dc_slice_make(f->json, f->len);
        return true;
    }
    if (it->node == &t->store.state.entries) {
        return false;
    }
    const struct dc_state_entry *e = DC_LIST_ENTRY(it->node, struct dc_state_entry, link);
    it->node = it->node->next;
    *offset = e->offset;
    *json = dc_slice_make(e->bytes + e->key_len, e->json_len);
    return true;
}
