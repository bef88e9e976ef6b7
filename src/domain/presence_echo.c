/* What is only our echo.
 *
 * P is kept as two moments for each person: until when "at least away" and "at least online" count
 * as told.  Telling a status makes the levels up to it last for ever; its acknowledgement ends the
 * levels above it after settle_ms.  That is the rule, without a list of what was told.
 *
 * What happens to everybody (distrust, trust) begins an era and happens to each person before
 * anything else does: when he is found, or when the walk comes to him.  Only what has been decided
 * last matters, except that an era of trust forgets who was remembered before it. */
#include "domain/presence_echo.h"

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

enum { AWAY, ONLINE, LEVELS };
#define ALWAYS INT64_MAX
#define NEVER  INT64_MIN

struct person {
    struct dc_heap_node due;
    struct dc_list link; /* people of earlier eras first */
    uint64_t era;        /* up to which he is up to date */
    int64_t until_ms[LEVELS];
    int64_t before_ms[LEVELS]; /* as they were when the push under way began */
    struct dc_utc last_active;
    uint8_t said, counted, pushed; /* enum dc_presence_status */
    bool is_pushing;
    bool is_suspect;
    uint8_t id_len;
    char id[];
};

struct dc_presence_echo {
    struct dc_presence_echo_opts opts;
    struct dc_presence_echo_callbacks cbs;
    void *data;
    struct dc_map people;
    struct dc_heap due;
    struct dc_list order;
    uint64_t era, trusted_era; /* of now; the last of trust */
    int64_t trusted_from_ms;   /* who is not known is believed from then on */
};

static struct dc_slice id_of(const struct person *p)
{
    return dc_slice_make(p->id, p->id_len);
}

static struct person *make(struct dc_presence_echo *e, struct dc_slice user_id, int64_t until_ms)
{
    if (e->people.count >= e->opts.max_people || user_id.len == 0 ||
        user_id.len > DC_PRESENCE_ID_MAX) {
        return NULL;
    }
    struct person *p = dc_calloc(1, sizeof(*p) + user_id.len);
    p->until_ms[AWAY] = until_ms;
    p->until_ms[ONLINE] = until_ms;
    p->id_len = (uint8_t)user_id.len;
    memcpy(p->id, user_id.ptr, user_id.len);
    p->era = e->era;
    dc_list_push_back(&e->order, &p->link);
    (void)dc_map_put(&e->people, id_of(p), p);
    return p;
}

static void drop(struct dc_presence_echo *e, struct person *p)
{
    dc_heap_remove(&e->due, &p->due);
    dc_list_remove(&p->link);
    (void)dc_map_remove(&e->people, id_of(p));
    dc_free(p);
}

static enum dc_presence_status counts_now(const struct person *p, int64_t now_ms)
{
    enum dc_presence_status told = p->until_ms[ONLINE] > now_ms ? DC_PRESENCE_ONLINE
                                   : p->until_ms[AWAY] > now_ms ? DC_PRESENCE_AWAY
                                                                : DC_PRESENCE_OFFLINE;
    enum dc_presence_status said = (enum dc_presence_status)p->said;
    return said > told ? said : DC_PRESENCE_OFFLINE;
}

/* When something about him changes by itself. */
static int64_t due_of(const struct dc_presence_echo *e, const struct person *p, int64_t now_ms)
{
    int64_t due_ms = INT64_MAX;
    bool is_told = p->is_pushing;
    for (size_t i = 0; i < LEVELS; i++) {
        is_told = is_told || p->until_ms[i] > now_ms;
        if (p->until_ms[i] > now_ms && p->until_ms[i] < due_ms) {
            due_ms = p->until_ms[i];
        }
    }
    return is_told ? due_ms : e->trusted_from_ms;
}

/* What counts now; he may be gone afterwards. */
static void settle(struct dc_presence_echo *e, struct person *p, int64_t now_ms)
{
    enum dc_presence_status counts = counts_now(p, now_ms);
    if (counts != (enum dc_presence_status)p->counted) {
        p->counted = (uint8_t)counts;
        e->cbs.counts(e->data, id_of(p), counts, p->last_active);
    }
    int64_t due_ms = due_of(e, p, now_ms);
    if (due_ms <= now_ms) {
        drop(e, p); /* what he is said to be is what counts: the core knows it */
    } else if (due_ms == INT64_MAX) {
        dc_heap_remove(&e->due, &p->due);
    } else {
        dc_heap_set(&e->due, &p->due, due_ms);
    }
}

/* --- whom to believe --- */

struct dc_presence_echo *dc_presence_echo_create(const struct dc_presence_echo_opts *opts,
                                                 const struct dc_presence_echo_callbacks *cbs,
                                                 void *data)
{
    struct dc_presence_echo *e = dc_calloc(1, sizeof(*e));
    e->opts = *opts;
    e->cbs = *cbs;
    e->data = data;
    e->trusted_from_ms = ALWAYS;
    dc_list_init(&e->order);
    dc_map_init(&e->people, opts->hash_seed);
    return e;
}

void dc_presence_echo_destroy(struct dc_presence_echo *e)
{
    if (e == NULL) {
        return;
    }
    struct dc_map_iter it = {0};
    void *value = NULL;
    while (dc_map_next(&e->people, &it, NULL, &value)) {
        dc_free(value);
    }
    dc_map_free(&e->people);
    dc_heap_free(&e->due);
    dc_free(e);
}

static void report(struct dc_presence_echo *e, struct person *p, enum dc_presence_status counts)
{
    if (counts != (enum dc_presence_status)p->counted) {
        p->counted = (uint8_t)counts;
        e->cbs.counts(e->data, id_of(p), counts, p->last_active);
    }
}

static void suspect(struct dc_presence_echo *e, struct person *p)
{
    bool was_suspect = p->is_suspect && !p->is_pushing;
    for (size_t i = 0; i < LEVELS; i++) {
        p->until_ms[i] = ALWAYS;
    }
    p->is_pushing = false;
    p->is_suspect = true;
    dc_heap_remove(&e->due, &p->due);
    report(e, p, DC_PRESENCE_OFFLINE);
    if (!was_suspect && p->said != DC_PRESENCE_OFFLINE) {
        e->cbs.doubt(e->data, id_of(p));
    }
}

/* What has happened to everybody happens to him; NULL: he is forgotten. */
static struct person *catch_up(struct dc_presence_echo *e, struct person *p)
{
    bool is_believed = p->era < e->trusted_era;
    if (p->era == e->era) {
        return p;
    }
    p->era = e->era;
    dc_list_remove(&p->link);
    dc_list_push_back(&e->order, &p->link);
    if (is_believed) {
        report(e, p, (enum dc_presence_status)p->said);
    } else {
        suspect(e, p);
    }
    if (is_believed || p->said == DC_PRESENCE_OFFLINE) {
        drop(e, p);
        return NULL;
    }
    return p;
}

static struct person *find(struct dc_presence_echo *e, struct dc_slice user_id)
{
    struct person *p = dc_map_get(&e->people, user_id);
    return p == NULL ? NULL : catch_up(e, p);
}

bool dc_presence_echo_walk(struct dc_presence_echo *e, size_t max)
{
    while (!dc_list_is_empty(&e->order)) {
        struct person *p = DC_LIST_ENTRY(e->order.next, struct person, link);
        if (p->era == e->era) {
            return false;
        }
        if (max == 0) {
            return true;
        }
        (void)catch_up(e, p);
        max--;
    }
    return false;
}

void dc_presence_echo_distrust(struct dc_presence_echo *e)
{
    e->trusted_from_ms = ALWAYS;
    e->era++;
}

void dc_presence_echo_lead(struct dc_presence_echo *e, int64_t now_ms)
{
    e->trusted_from_ms = now_ms + e->opts.doubt_ms;
}

void dc_presence_echo_trust(struct dc_presence_echo *e)
{
    e->trusted_from_ms = NEVER;
    e->era++;
    e->trusted_era = e->era;
}

/* --- what is said --- */

enum dc_presence_status dc_presence_echo_said(struct dc_presence_echo *e, struct dc_slice user_id,
                                              enum dc_presence_status status,
                                              struct dc_utc last_active, int64_t now_ms)
{
    struct person *p = find(e, user_id);
    bool is_new = p == NULL && status != DC_PRESENCE_OFFLINE && now_ms < e->trusted_from_ms;
    if (is_new) {
        p = make(e, user_id, ALWAYS);
    }
    if (p == NULL) {
        return status;
    }
    p->said = (uint8_t)status;
    p->last_active = last_active;
    p->counted = (uint8_t)counts_now(p, now_ms);
    enum dc_presence_status counts = (enum dc_presence_status)p->counted;
    if (is_new) {
        p->is_suspect = true;
        e->cbs.doubt(e->data, id_of(p));
    } else if (p->is_suspect && status == DC_PRESENCE_OFFLINE && !p->is_pushing) {
        e->cbs.cleared(e->data, id_of(p));
        drop(e, p);
    }
    return counts;
}

/* --- what is told --- */

void dc_presence_echo_begin(struct dc_presence_echo *e, struct dc_slice user_id,
                            enum dc_presence_status status, enum dc_presence_status counted,
                            int64_t now_ms)
{
    bool is_trusting = now_ms >= e->trusted_from_ms;
    struct person *p = dc_map_get(&e->people, user_id);
    if (p != NULL && p->era != e->era) {
        counted = (enum dc_presence_status)p->said; /* if he is forgotten, that counts now */
        p = catch_up(e, p);
    }
    if (p == NULL) {
        p = make(e, user_id, is_trusting ? NEVER : ALWAYS);
        if (p == NULL) {
            return;
        }
        p->said = (uint8_t)counted;
        p->counted = (uint8_t)counted;
    }
    DC_ASSERT(!p->is_pushing);
    p->is_pushing = true;
    p->pushed = (uint8_t)status;
    memcpy(p->before_ms, p->until_ms, sizeof(p->before_ms));
    for (size_t i = 0; i < LEVELS && i < (size_t)status; i++) {
        p->until_ms[i] = ALWAYS;
    }
    settle(e, p, now_ms);
}

static void end_levels(struct person *p, size_t from, int64_t at_ms)
{
    for (size_t i = from; i < LEVELS; i++) {
        p->until_ms[i] = p->until_ms[i] < at_ms ? p->until_ms[i] : at_ms;
    }
}

void dc_presence_echo_end(struct dc_presence_echo *e, struct dc_slice user_id,
                          enum dc_presence_echo_end how, int64_t now_ms)
{
    struct person *p = find(e, user_id);
    if (p == NULL || !p->is_pushing) {
        return; /* begun in another time, or beyond max_people */
    }
    p->is_pushing = false;
    switch (how) {
    case DC_ECHO_DONE:
        end_levels(p, p->pushed, now_ms + e->opts.settle_ms);
        p->is_suspect = false;
        break;
    case DC_ECHO_CANNOT:
        memcpy(p->until_ms, p->before_ms, sizeof(p->until_ms));
        if (p->is_suspect) {
            end_levels(p, 0, now_ms);
            p->is_suspect = false;
        }
        break;
    case DC_ECHO_NOTHING:
        memcpy(p->until_ms, p->before_ms, sizeof(p->until_ms));
        break;
    case DC_ECHO_UNKNOWN:
        break;
    }
    settle(e, p, now_ms);
}

/* --- time --- */

void dc_presence_echo_tick(struct dc_presence_echo *e, bool is_heard, int64_t now_ms)
{
    struct dc_heap_node *n = dc_heap_peek(&e->due);
    while (n != NULL && n->at_ms <= now_ms) {
        struct person *p = catch_up(e, DC_CONTAINER_OF(n, struct person, due));
        if (p == NULL || dc_heap_peek(&e->due) != n) { /* it was of an earlier era */
            n = dc_heap_peek(&e->due);
            continue;
        }
        for (size_t i = 0; !is_heard && i < LEVELS; i++) {
            if (p->until_ms[i] >= n->at_ms && p->until_ms[i] <= now_ms) {
                p->until_ms[i] = now_ms + e->opts.settle_ms;
            }
        }
        settle(e, p, now_ms);
        n = dc_heap_peek(&e->due);
    }
}

int64_t dc_presence_echo_next_due_ms(const struct dc_presence_echo *e)
{
    const struct dc_heap_node *n = dc_heap_peek(&e->due);
    return n == NULL ? INT64_MAX : n->at_ms;
}

size_t dc_presence_echo_count(const struct dc_presence_echo *e)
{
    return e->people.count;
}
