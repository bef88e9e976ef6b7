/* Whom a homeserver is to be told of next.
 *
 * Where a person is:
 *   CHANGES    heap by the moment of his oldest untold change
 *   READY      heap: renewals whose time has come, by that time
 *   RENEWALS   heap by the moment of his next renewal
 *   RETRIES    heap: it failed with him before; by the moment when his own wait was over
 *   PUT_OFF    heap by the moment until which he is left alone
 *   FLYING     under way */
#include "domain/presence_push.h"

#include "base/heap.h"
#include "base/map.h"
#include "base/mem.h"

#define LATE_MS         1000
#define LIMITED_MIN_MS  1000 /* when the homeserver says 429 and not how long */
#define LIMITED_MANY    3    /* different answers in a row: it means everybody */
#define FAILED_FIRST_MS 1000
#define FAILED_MAX_MS   60000
#define FAILED_MANY     5    /* different people in a row: it means everybody */
#define SLOW_MAX_MS     8000 /* then; short, because whoever can be told ends it */
#define TOKEN           1000 /* thousandths: per_s of them come in a millisecond */

enum place { NOWHERE, CHANGES, READY, RETRIES, RENEWALS, PUT_OFF, FLYING };
enum { TOLD_UNKNOWN = DC_PRESENCE_ONLINE + 1 };

struct person {
    struct dc_heap_node node;
    int64_t changed_ms, sent_changed_ms;
    int64_t told_ms; /* the last push began */
    int64_t due_ms;  /* when his turn came, for what is late */
    int64_t retry_ms;
    uint32_t term;    /* in which told is known */
    uint32_t row;     /* of failures, in which he is counted */
    uint8_t failures; /* his own, since he was told */
    uint8_t want;     /* enum dc_presence_status */
    uint8_t told;     /* the same, or TOLD_UNKNOWN */
    uint8_t sent;     /* FLYING: what */
    uint8_t place;    /* enum place */
    bool has_change;  /* want is news to the homeserver since changed_ms */
    bool is_sent_change;
    bool is_absent; /* PUT_OFF: he cannot be told */
    uint8_t id_len;
    char id[];
};

struct dc_presence_push {
    struct dc_presence_push_opts opts;
    struct dc_map people;
    struct dc_heap changes, ready, retries, renewals, put_off;
    size_t flying;
    bool is_leading;
    uint32_t term;
    int64_t tokens, filled_ms;
    int64_t paused_until_ms;
    uint32_t limited_in_a_row, cut_off_in_a_row;
    uint32_t row, failed_in_a_row; /* different people, since somebody was told */
    uint64_t late, too_many;
};

static struct dc_slice id_of(const struct person *m)
{
    return dc_slice_make(m->id, m->id_len);
}

static int64_t bucket_size(const struct dc_presence_push *p)
{
    return (int64_t)p->opts.per_s * TOKEN;
}

struct dc_presence_push *dc_presence_push_create(const struct dc_presence_push_opts *opts)
{
    struct dc_presence_push *p = dc_calloc(1, sizeof(*p));
    DC_ASSERT(opts->per_s > 0 && opts->max_flying > 0 && opts->renew_ms > 0 &&
              opts->absent_ms > 0 && opts->max_people > 0);
    p->opts = *opts;
    dc_map_init(&p->people, opts->hash_seed);
    p->tokens = bucket_size(p);
    p->paused_until_ms = INT64_MIN;
    p->filled_ms = INT64_MIN;
    p->row = 1;
    return p;
}

void dc_presence_push_destroy(struct dc_presence_push *p)
{
    if (p == NULL) {
        return;
    }
    struct dc_map_iter it = {0};
    void *value = NULL;
    while (dc_map_next(&p->people, &it, NULL, &value)) {
        dc_free(value);
    }
    dc_map_free(&p->people);
    dc_heap_free(&p->changes);
    dc_heap_free(&p->ready);
    dc_heap_free(&p->retries);
    dc_heap_free(&p->renewals);
    dc_heap_free(&p->put_off);
    dc_free(p);
}

/* --- where a person is --- */

static void take_out(struct dc_presence_push *p, struct person *m)
{
    switch ((enum place)m->place) {
    case CHANGES:
        dc_heap_remove(&p->changes, &m->node);
        break;
    case RENEWALS:
        dc_heap_remove(&p->renewals, &m->node);
        break;
    case PUT_OFF:
        dc_heap_remove(&p->put_off, &m->node);
        break;
    case READY:
        dc_heap_remove(&p->ready, &m->node);
        break;
    case RETRIES:
        dc_heap_remove(&p->retries, &m->node);
        break;
    case FLYING:
        p->flying--;
        break;
    case NOWHERE:
        break;
    }
    m->place = NOWHERE;
}

static void forget(struct dc_presence_push *p, struct person *m)
{
    take_out(p, m);
    (void)dc_map_remove(&p->people, id_of(m));
    dc_free(m);
}

static void put_in_heap(struct person *m, struct dc_heap *heap, enum place place, int64_t at_ms)
{
    dc_heap_set(heap, &m->node, at_ms);
    m->place = (uint8_t)place;
}

static void make_ready(struct dc_presence_push *p, struct person *m, int64_t due_ms)
{
    m->due_ms = due_ms;
    put_in_heap(m, &p->ready, READY, due_ms);
}

/* What the homeserver has been told of him, as far as we know. */
static unsigned told_of(const struct dc_presence_push *p, const struct person *m)
{
    return m->term == p->term ? m->told : TOLD_UNKNOWN;
}

/* To where he belongs, unless he is put off or under way; he may be gone afterwards. */
static void place(struct dc_presence_push *p, struct person *m, int64_t now_ms)
{
    unsigned told = told_of(p, m);
    take_out(p, m);
    if (m->want == DC_PRESENCE_OFFLINE && (told == DC_PRESENCE_OFFLINE || !m->has_change)) {
        forget(p, m);
    } else if (m->failures > 0) { /* a change too: else he would be asked before all renewals */
        m->due_ms = m->retry_ms;
        put_in_heap(m, &p->retries, RETRIES, m->retry_ms);
    } else if (m->has_change && told != m->want) {
        put_in_heap(m, &p->changes, CHANGES, m->changed_ms);
        m->due_ms = m->changed_ms;
    } else if (told == TOLD_UNKNOWN) {
        make_ready(p, m, now_ms);
    } else {
        m->has_change = false;
        put_in_heap(m, &p->renewals, RENEWALS, m->told_ms + p->opts.renew_ms);
    }
}

static struct person *find(const struct dc_presence_push *p, struct dc_slice user_id)
{
    return dc_map_get(&p->people, user_id);
}

static struct person *need(struct dc_presence_push *p, struct dc_slice user_id)
{
    struct person *m = find(p, user_id);
    if (m != NULL) {
        return m;
    }
    if (p->people.count >= p->opts.max_people || user_id.len == 0 ||
        user_id.len > DC_PRESENCE_ID_MAX) {
        p->too_many++;
        return NULL;
    }
    m = dc_calloc(1, sizeof(*m) + user_id.len);
    m->id_len = (uint8_t)user_id.len;
    memcpy(m->id, user_id.ptr, user_id.len);
    (void)dc_map_put(&p->people, id_of(m), m);
    return m;
}

/* --- what happens --- */

/* Changes are the next leader's business. */
static void drop_changes(struct dc_presence_push *p, struct dc_heap *heap, int64_t now_ms)
{
    struct dc_heap_node *n = dc_heap_peek(heap);
    while (n != NULL) {
        struct person *m = DC_CONTAINER_OF(n, struct person, node);
        m->has_change = false;
        m->failures = 0;
        take_out(p, m);
        if (m->want == DC_PRESENCE_OFFLINE) {
            forget(p, m);
        } else {
            make_ready(p, m, now_ms);
        }
        n = dc_heap_peek(heap);
    }
}

static void begin_row(struct dc_presence_push *p)
{
    p->row++;
    p->failed_in_a_row = 0;
}

void dc_presence_push_lead(struct dc_presence_push *p, bool is_leading, int64_t now_ms)
{
    if (is_leading == p->is_leading) {
        return;
    }
    if (!is_leading) {
        drop_changes(p, &p->changes, now_ms);
        drop_changes(p, &p->retries, now_ms);
    }
    p->is_leading = is_leading;
    p->term++; /* others have told, or will have */
    p->filled_ms = now_ms;
    p->paused_until_ms = INT64_MIN;
    p->limited_in_a_row = 0;
    p->cut_off_in_a_row = 0;
    begin_row(p);
}

void dc_presence_push_pause(struct dc_presence_push *p, int64_t until_ms)
{
    p->paused_until_ms = until_ms > p->paused_until_ms ? until_ms : p->paused_until_ms;
}

static void note_change(struct person *m, int64_t now_ms)
{
    if (!m->has_change) {
        m->has_change = true;
        m->changed_ms = now_ms;
    }
}

void dc_presence_push_set(struct dc_presence_push *p, struct dc_slice user_id,
                          enum dc_presence_status status, int64_t now_ms)
{
    struct person *m = find(p, user_id);
    bool is_new = m == NULL;
    if (is_new) {
        m = status == DC_PRESENCE_OFFLINE ? NULL : need(p, user_id);
    }
    if (m == NULL) {
        return;
    }
    if (is_new && p->is_leading) {
        m->term = p->term; /* told nothing, which is as good as offline */
    } else if (is_new) {
        m->term = p->term - 1;
    }
    if (p->is_leading && m->want != (uint8_t)status) {
        note_change(m, now_ms);
    } else if (!p->is_leading) {
        m->has_change = false; /* the leader's business */
    }
    m->want = (uint8_t)status;
    if (m->place != FLYING && m->place != PUT_OFF) {
        place(p, m, now_ms);
    }
}

void dc_presence_push_doubt(struct dc_presence_push *p, struct dc_slice user_id, int64_t now_ms)
{
    if (find(p, user_id) != NULL) {
        return; /* he is here, or is being told that he is not */
    }
    struct person *m = need(p, user_id);
    if (m != NULL) {
        m->term = p->term - 1;
        m->want = DC_PRESENCE_OFFLINE;
        note_change(m, now_ms);
        place(p, m, now_ms);
    }
}

void dc_presence_push_undoubt(struct dc_presence_push *p, struct dc_slice user_id)
{
    struct person *m = find(p, user_id);
    if (m != NULL && m->want == DC_PRESENCE_OFFLINE &&
        (m->place == CHANGES || m->place == RETRIES) && told_of(p, m) == TOLD_UNKNOWN) {
        forget(p, m);
    }
}

void dc_presence_push_found(struct dc_presence_push *p, struct dc_slice user_id, int64_t now_ms)
{
    struct person *m = find(p, user_id);
    if (m != NULL && m->place == PUT_OFF && m->is_absent) {
        m->is_absent = false;
        m->changed_ms = now_ms;
        place(p, m, now_ms);
    }
}

/* --- whose turn it is --- */

static void fill(struct dc_presence_push *p, int64_t now_ms)
{
    int64_t size = bucket_size(p);
    int64_t passed_ms = p->filled_ms == INT64_MIN ? 1000 : now_ms - p->filled_ms;
    if (passed_ms > 0) {
        int64_t more = passed_ms >= 1000 ? size : passed_ms * (int64_t)p->opts.per_s;
        p->tokens = p->tokens + more < size ? p->tokens + more : size;
        p->filled_ms = now_ms;
    }
}

/* Whose time has come. */
static void advance(struct dc_presence_push *p, int64_t now_ms)
{
    struct dc_heap_node *n = dc_heap_peek(&p->put_off);
    while (n != NULL && n->at_ms <= now_ms) {
        struct person *m = DC_CONTAINER_OF(n, struct person, node);
        m->is_absent = false;
        place(p, m, now_ms);
        n = dc_heap_peek(&p->put_off);
    }
    n = dc_heap_peek(&p->renewals);
    while (n != NULL && n->at_ms <= now_ms) {
        struct person *m = DC_CONTAINER_OF(n, struct person, node);
        int64_t due_ms = n->at_ms;
        take_out(p, m);
        make_ready(p, m, due_ms);
        n = dc_heap_peek(&p->renewals);
    }
}

/* Nobody could be told of late: one asks whether it is over. */
static bool is_asking(const struct dc_presence_push *p)
{
    return p->cut_off_in_a_row > 0 || p->failed_in_a_row >= FAILED_MANY;
}

static uint32_t max_flying(const struct dc_presence_push *p)
{
    return is_asking(p) ? 1 : p->opts.max_flying;
}

/* Who asks is, if possible, somebody with whom it has not failed: perhaps it is about the others
 * alone. */
static struct dc_heap_node *first(const struct dc_presence_push *p)
{
    struct dc_heap_node *ready = dc_heap_peek(&p->ready);
    struct dc_heap_node *retry = dc_heap_peek(&p->retries);
    if (p->changes.count > 0) {
        return dc_heap_peek(&p->changes);
    }
    if (ready == NULL || retry == NULL) {
        return ready == NULL ? retry : ready;
    }
    return is_asking(p) || ready->at_ms <= retry->at_ms ? ready : retry;
}

bool dc_presence_push_next(struct dc_presence_push *p, int64_t now_ms,
                           struct dc_presence_push_next *next)
{
    fill(p, now_ms);
    advance(p, now_ms);
    if (!p->is_leading || now_ms < p->paused_until_ms || p->tokens < TOKEN ||
        p->flying >= max_flying(p)) {
        return false;
    }
    struct dc_heap_node *n = first(p);
    if (n == NULL) {
        return false;
    }
    struct person *m = DC_CONTAINER_OF(n, struct person, node);
    take_out(p, m);
    p->late += now_ms - m->due_ms > LATE_MS;
    p->tokens -= TOKEN;
    p->flying++;
    m->place = FLYING;
    m->sent = m->want;
    m->is_sent_change = m->has_change;
    m->sent_changed_ms = m->changed_ms;
    m->has_change = false;
    m->told = TOLD_UNKNOWN;
    m->term = p->term;
    m->told_ms = now_ms;
    *next = (struct dc_presence_push_next){id_of(m), (enum dc_presence_status)m->want};
    return true;
}

/* It was not said: what was a change is one still, at its old place. */
static void take_back(struct person *m)
{
    if (m->is_sent_change) {
        m->has_change = true;
        m->changed_ms = m->sent_changed_ms;
    }
}

static void put_off(struct dc_presence_push *p, struct person *m, bool is_absent, int64_t until_ms)
{
    take_out(p, m);
    m->is_absent = is_absent;
    m->retry_ms = until_ms;
    put_in_heap(m, &p->put_off, PUT_OFF, until_ms);
}

/* Nobody can tell him anything: as if he had been told. */
static void leave_alone(struct dc_presence_push *p, struct person *m, int64_t now_ms)
{
    m->told = DC_PRESENCE_OFFLINE;
    m->term = p->term;
    m->failures = 0;
    m->has_change = m->want != DC_PRESENCE_OFFLINE;
    m->changed_ms = now_ms + p->opts.absent_ms;
    put_off(p, m, true, now_ms + p->opts.absent_ms);
}

static void limited(struct dc_presence_push *p, struct person *m, int64_t retry_after_ms,
                    int64_t now_ms)
{
    int64_t wait_ms = retry_after_ms > LIMITED_MIN_MS ? retry_after_ms : LIMITED_MIN_MS;
    wait_ms = wait_ms < FAILED_MAX_MS ? wait_ms : FAILED_MAX_MS;
    take_back(m);
    put_off(p, m, false, now_ms + wait_ms);
    if (++p->limited_in_a_row >= LIMITED_MANY) {
        dc_presence_push_pause(p, now_ms + wait_ms);
    }
}

static int64_t wait_ms_after(uint32_t failures, int64_t max_ms)
{
    int64_t wait_ms = (int64_t)FAILED_FIRST_MS << (failures < 6 ? failures : 6);
    return wait_ms < max_ms ? wait_ms : max_ms;
}

static void retry_later(struct dc_presence_push *p, struct person *m, int64_t now_ms)
{
    int64_t wait_ms = wait_ms_after(m->failures, FAILED_MAX_MS);
    m->failures = m->failures < UINT8_MAX ? m->failures + 1 : UINT8_MAX;
    take_back(m);
    put_off(p, m, false, now_ms + wait_ms);
}

/* Perhaps because of him: the others go on, unless it fails with one after the other. */
static void failed(struct dc_presence_push *p, struct person *m, int64_t now_ms)
{
    retry_later(p, m, now_ms);
    if (m->row != p->row) {
        m->row = p->row;
        p->failed_in_a_row++;
    }
    if (p->failed_in_a_row >= FAILED_MANY) {
        dc_presence_push_pause(p, now_ms +
                                      wait_ms_after(p->failed_in_a_row - FAILED_MANY, SLOW_MAX_MS));
    }
}

/* He waits for himself too: that it takes too long may be about him. */
static void cut_off(struct dc_presence_push *p, struct person *m, int64_t now_ms)
{
    dc_presence_push_pause(p, now_ms + wait_ms_after(p->cut_off_in_a_row, FAILED_MAX_MS));
    p->cut_off_in_a_row++;
    retry_later(p, m, now_ms);
}

void dc_presence_push_answered(struct dc_presence_push *p, struct dc_slice user_id,
                               enum dc_presence_push_end how, int64_t retry_after_ms,
                               int64_t now_ms)
{
    struct person *m = find(p, user_id);
    DC_ASSERT(m != NULL && m->place == FLYING);
    if (how != DC_PUSH_LIMITED) {
        p->limited_in_a_row = 0;
    }
    if (how != DC_PUSH_CUT_OFF) {
        p->cut_off_in_a_row = 0;
    }
    switch (how) {
    case DC_PUSH_DONE:
        m->told = m->sent; /* in the term in which it was sent */
        m->failures = 0;
        begin_row(p);
        place(p, m, now_ms);
        break;
    case DC_PUSH_ABSENT:
        p->tokens += p->tokens + TOKEN <= bucket_size(p) ? TOKEN : 0; /* nobody was asked */
        leave_alone(p, m, now_ms);
        break;
    case DC_PUSH_REFUSED:
        leave_alone(p, m, now_ms);
        break;
    case DC_PUSH_LIMITED:
        limited(p, m, retry_after_ms, now_ms);
        break;
    case DC_PUSH_FAILED:
        failed(p, m, now_ms);
        break;
    case DC_PUSH_CUT_OFF:
        cut_off(p, m, now_ms);
        break;
    }
}

/* --- looking --- */

static int64_t peek_ms(const struct dc_heap *heap)
{
    const struct dc_heap_node *n = dc_heap_peek(heap);
    return n == NULL ? INT64_MAX : n->at_ms;
}

static int64_t earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

int64_t dc_presence_push_due_ms(const struct dc_presence_push *p)
{
    int64_t due_ms = INT64_MAX;
    if (!p->is_leading || p->flying >= max_flying(p)) {
        return due_ms; /* an answer changes it */
    }
    if (first(p) != NULL) {
        int64_t lacks = TOKEN - p->tokens;
        due_ms = lacks <= 0
                     ? 0
                     : p->filled_ms + (lacks + (int64_t)p->opts.per_s - 1) / (int64_t)p->opts.per_s;
        due_ms = due_ms > p->paused_until_ms ? due_ms : p->paused_until_ms;
    }
    return earlier(due_ms, earlier(peek_ms(&p->renewals), peek_ms(&p->put_off)));
}

struct dc_presence_push_backlog dc_presence_push_backlog(const struct dc_presence_push *p,
                                                         int64_t now_ms)
{
    struct dc_presence_push_backlog b = {.changes = p->changes.count,
                                         .renewals = p->ready.count + p->retries.count};
    int64_t oldest_ms = earlier(peek_ms(&p->changes), peek_ms(&p->ready));
    oldest_ms = earlier(oldest_ms, peek_ms(&p->retries));
    b.oldest_ms = oldest_ms < now_ms ? now_ms - oldest_ms : 0;
    b.why = p->cut_off_in_a_row > 0             ? DC_PUSH_UNREACHABLE
            : p->failed_in_a_row >= FAILED_MANY ? DC_PUSH_FAILING
            : now_ms < p->paused_until_ms       ? DC_PUSH_SLOWED
                                                : DC_PUSH_BUDGET;
    return b;
}

struct dc_presence_push_counts dc_presence_push_counts(const struct dc_presence_push *p)
{
    return (struct dc_presence_push_counts){p->people.count, p->late, p->too_many};
}
