/* Key-value port in this process: tables with deadlines.  Calls wait in one queue and take effect
 * at the end of the turn, in order; expired entries are invisible at once and freed by one timer.
 */
#include "base/heap.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "kv/kv_priv.h"
#include "rt/timer.h"

#define MAX_KEYS_DEFAULT 1000000
#define NEVER            INT64_MAX

/* A key with its value, or a lease with its holder. */
struct entry {
    struct dc_heap_node expiry; /* in memory.expiries unless it lasts for ever */
    struct dc_map *map;         /* memory.keys or memory.leases */
    int64_t token;
    size_t key_len, value_len;
    char bytes[]; /* key, then value */
};

struct set {
    struct dc_map members;
    struct dc_heap due;
    size_t name_len;
    char name[];
};

struct member {
    struct dc_heap_node due;
    size_t name_len;
    char name[];
};

struct memory {
    struct dc_kv kv;
    struct dc_turn turn;
    struct dc_timer timer;
    struct dc_list calls;
    struct dc_map keys, leases, sets;
    struct dc_heap expiries;
    size_t n_entries, max_entries; /* keys, leases and members */
    struct dc_gauge *entries;
    int64_t last_token;
    uint64_t seed[2];
};

struct call {
    struct dc_kv_call base;
    bool is_canceled;
};

static struct memory *of(struct dc_kv *kv)
{
    return DC_CONTAINER_OF(kv, struct memory, kv);
}

static int64_t deadline(const struct memory *m, uint64_t ttl_ms)
{
    int64_t now = dc_loop_now(m->kv.loop).ms;
    return ttl_ms >= (uint64_t)(NEVER - now) ? NEVER : now + (int64_t)ttl_ms;
}

static struct dc_slice entry_key(const struct entry *e)
{
    return dc_slice_make(e->bytes, e->key_len);
}

static struct dc_slice entry_value(const struct entry *e)
{
    return dc_slice_make(e->bytes + e->key_len, e->value_len);
}

static void entry_drop(struct memory *m, struct entry *e)
{
    dc_map_remove(e->map, entry_key(e));
    dc_heap_remove(&m->expiries, &e->expiry);
    m->n_entries--;
    dc_free(e);
}

/* The entry if it has not expired. */
static struct entry *entry_get(struct memory *m, struct dc_map *map, struct dc_slice key)
{
    struct entry *e = dc_map_get(map, key);
    if (e != NULL && dc_heap_contains(&e->expiry) &&
        e->expiry.at_ms <= dc_loop_now(m->kv.loop).ms) {
        entry_drop(m, e);
        return NULL;
    }
    return e;
}

static void entry_touch(struct memory *m, struct entry *e, uint64_t ttl_ms)
{
    int64_t at = ttl_ms == 0 ? NEVER : deadline(m, ttl_ms);
    if (at == NEVER) {
        dc_heap_remove(&m->expiries, &e->expiry);
    } else {
        dc_heap_set(&m->expiries, &e->expiry, at);
    }
}

/* NULL: the limit, or no memory. */
static struct entry *entry_new(struct memory *m, struct dc_map *map, struct dc_slice key,
                               struct dc_slice value)
{
    if (m->n_entries >= m->max_entries) {
        return NULL;
    }
    struct entry *e = dc_try_alloc(sizeof(*e) + key.len + value.len);
    if (e == NULL) {
        return NULL;
    }
    *e = (struct entry){.map = map, .key_len = key.len, .value_len = value.len};
    memcpy(e->bytes, key.ptr, key.len);
    if (value.len > 0) {
        memcpy(e->bytes + key.len, value.ptr, value.len);
    }
    m->n_entries++;
    dc_map_put(map, entry_key(e), e);
    return e;
}

static enum dc_status do_set(struct memory *m, const struct dc_kv_request *req)
{
    struct entry *old = entry_get(m, &m->keys, req->key);
    if (old != NULL && old->value_len == req->value.len) {
        if (req->value.len > 0) {
            memcpy(old->bytes + old->key_len, req->value.ptr, req->value.len);
        }
        entry_touch(m, old, req->ttl_ms);
        return DC_OK;
    }
    if (old != NULL) {
        entry_drop(m, old);
    }
    struct entry *e = entry_new(m, &m->keys, req->key, req->value);
    if (e == NULL) {
        return DC_LIMIT;
    }
    entry_touch(m, e, req->ttl_ms);
    return DC_OK;
}

static enum dc_status do_acquire(struct memory *m, const struct dc_kv_request *req, int64_t *token)
{
    struct entry *e = entry_get(m, &m->leases, req->key);
    if (e != NULL && !dc_slice_eq(entry_value(e), req->value)) {
        return DC_CONFLICT;
    }
    if (e == NULL) {
        e = entry_new(m, &m->leases, req->key, req->value);
        if (e == NULL) {
            return DC_LIMIT;
        }
        /* One counter for all names: a token survives the lease it belonged to. */
        e->token = ++m->last_token;
    }
    entry_touch(m, e, req->ttl_ms);
    *token = e->token;
    return DC_OK;
}

static enum dc_status do_release(struct memory *m, const struct dc_kv_request *req)
{
    struct entry *e = entry_get(m, &m->leases, req->key);
    if (e == NULL || !dc_slice_eq(entry_value(e), req->value)) {
        return DC_CONFLICT;
    }
    entry_drop(m, e);
    return DC_OK;
}

static struct set *set_need(struct memory *m, struct dc_slice name)
{
    struct set *s = dc_map_get(&m->sets, name);
    if (s == NULL) {
        s = dc_calloc(1, sizeof(*s) + name.len);
        dc_map_init(&s->members, m->seed);
        s->name_len = name.len;
        memcpy(s->name, name.ptr, name.len);
        dc_map_put(&m->sets, dc_slice_make(s->name, s->name_len), s);
    }
    return s;
}

static void set_free(struct set *s)
{
    dc_map_free(&s->members);
    dc_heap_free(&s->due);
    dc_free(s);
}

static void set_drop_if_empty(struct memory *m, struct set *s)
{
    if (s->members.count == 0) {
        dc_map_remove(&m->sets, dc_slice_make(s->name, s->name_len));
        set_free(s);
    }
}

/* Out of the set; the caller frees it. */
static void member_take(struct memory *m, struct set *s, struct member *mb)
{
    dc_map_remove(&s->members, dc_slice_make(mb->name, mb->name_len));
    dc_heap_remove(&s->due, &mb->due);
    m->n_entries--;
}

static enum dc_status do_expiry_add(struct memory *m, const struct dc_kv_request *req)
{
    struct set *s = dc_map_get(&m->sets, req->key);
    struct member *mb = s == NULL ? NULL : dc_map_get(&s->members, req->value);
    if (mb == NULL) {
        if (m->n_entries >= m->max_entries) {
            return DC_LIMIT;
        }
        s = set_need(m, req->key);
        mb = dc_calloc(1, sizeof(*mb) + req->value.len);
        mb->name_len = req->value.len;
        memcpy(mb->name, req->value.ptr, req->value.len);
        dc_map_put(&s->members, dc_slice_make(mb->name, mb->name_len), mb);
        m->n_entries++;
    }
    dc_heap_set(&s->due, &mb->due, deadline(m, req->ttl_ms));
    return DC_OK;
}

static int64_t do_expiry_remove(struct memory *m, const struct dc_kv_request *req)
{
    struct set *s = dc_map_get(&m->sets, req->key);
    struct member *mb = s == NULL ? NULL : dc_map_get(&s->members, req->value);
    if (mb == NULL) {
        return 0;
    }
    member_take(m, s, mb);
    dc_free(mb);
    set_drop_if_empty(m, s);
    return 1;
}

static void do_take_due(struct memory *m, const struct dc_kv_call *call)
{
    const struct dc_kv_request *req = &call->req;
    struct set *s = dc_map_get(&m->sets, req->key);
    struct member *taken[DC_KV_TAKE_MAX];
    struct dc_slice names[DC_KV_TAKE_MAX];
    struct dc_kv_answer answer = {.members = names};
    int64_t now = dc_loop_now(m->kv.loop).ms;
    struct dc_heap_node *node = NULL;
    size_t n = 0;

    while (s != NULL && n < req->max && (node = dc_heap_peek(&s->due)) != NULL &&
           node->at_ms <= now) {
        struct member *mb = DC_CONTAINER_OF(node, struct member, due);
        member_take(m, s, mb);
        taken[n] = mb;
        names[n++] = dc_slice_make(mb->name, mb->name_len);
    }
    if (s != NULL) {
        set_drop_if_empty(m, s);
    }
    answer.n_members = n;
    dc_kv_call_answer(&m->kv, call, DC_OK, &answer, NULL);
    for (size_t i = 0; i < n; i++) {
        dc_free(taken[i]);
    }
}

static void perform(struct memory *m, const struct dc_kv_call *call)
{
    const struct dc_kv_request *req = &call->req;
    struct dc_kv_answer answer = {.value = DC_SLICE_NULL};
    enum dc_status st = DC_OK;
    struct entry *e = NULL;

    switch (req->verb) {
    case DC_KV_SET:
        st = do_set(m, req);
        break;
    case DC_KV_GET:
        e = entry_get(m, &m->keys, req->key);
        answer.value = e == NULL ? DC_SLICE_NULL : entry_value(e);
        break;
    case DC_KV_DELETE:
        e = entry_get(m, &m->keys, req->key);
        if (e != NULL) {
            entry_drop(m, e);
            answer.number = 1;
        }
        break;
    case DC_KV_LEASE_ACQUIRE:
        st = do_acquire(m, req, &answer.number);
        break;
    case DC_KV_LEASE_RELEASE:
        st = do_release(m, req);
        break;
    case DC_KV_EXPIRY_ADD:
        st = do_expiry_add(m, req);
        break;
    case DC_KV_EXPIRY_REMOVE:
        answer.number = do_expiry_remove(m, req);
        break;
    case DC_KV_EXPIRY_TAKE_DUE:
        do_take_due(m, call);
        return;
    }
    dc_kv_call_answer(&m->kv, call, st, &answer, NULL);
}

/* Frees what has expired and arms the timer for what comes next. */
static void expire(struct memory *m)
{
    int64_t now = dc_loop_now(m->kv.loop).ms;
    struct dc_heap_node *node = NULL;
    while ((node = dc_heap_peek(&m->expiries)) != NULL && node->at_ms <= now) {
        entry_drop(m, DC_CONTAINER_OF(node, struct entry, expiry));
    }
    if (node == NULL) {
        dc_timer_stop(&m->timer);
    } else {
        dc_timer_start(&m->timer, (uint64_t)(node->at_ms - now), 0);
    }
    m->entries->value = (int64_t)m->n_entries;
}

static void on_timer(struct dc_timer *t)
{
    expire(DC_CONTAINER_OF(t, struct memory, timer));
}

static void free_map(struct dc_map *map)
{
    struct dc_map_iter it = {0};
    void *value = NULL;
    while (dc_map_next(map, &it, NULL, &value)) {
        dc_free(value);
    }
    dc_map_free(map);
}

static void on_timer_closed(struct dc_timer *t)
{
    struct memory *m = DC_CONTAINER_OF(t, struct memory, timer);
    struct dc_map_iter it = {0};
    void *value = NULL;
    while (dc_map_next(&m->sets, &it, NULL, &value)) {
        struct set *s = value;
        free_map(&s->members);
        dc_heap_free(&s->due);
        dc_free(s);
    }
    dc_map_free(&m->sets);
    free_map(&m->keys);
    free_map(&m->leases);
    dc_heap_free(&m->expiries);
    dc_kv_closed(&m->kv);
}

static void on_turn(struct dc_turn *turn)
{
    struct memory *m = DC_CONTAINER_OF(turn, struct memory, turn);
    /* Calls made by callbacks wait for the next turn, unless one of them closes. */
    size_t n = m->kv.n_calls;
    while (n > 0 || (m->kv.is_closing && m->kv.n_calls > 0)) {
        n -= n > 0;
        struct call *c = DC_LIST_ENTRY(m->calls.next, struct call, base.link);
        dc_list_remove(&c->base.link);
        if (c->is_canceled || m->kv.is_closing) {
            dc_kv_call_answer(&m->kv, &c->base, DC_CANCELED, NULL, NULL);
        } else {
            perform(m, &c->base);
        }
        dc_kv_call_free(&m->kv, &c->base);
    }
    if (m->kv.is_closing) {
        dc_turn_cancel(&m->turn);
        dc_timer_close(&m->timer, on_timer_closed);
    } else {
        expire(m);
    }
}

static void cancel(struct dc_op *op)
{
    DC_CONTAINER_OF(op, struct call, base.op)->is_canceled = true;
}

static enum dc_status memory_submit(struct dc_kv *kv, const struct dc_kv_request *req,
                                    struct dc_op **op)
{
    struct memory *m = of(kv);
    struct dc_kv_call *call = NULL;
    enum dc_status st = dc_kv_call_create(kv, req, sizeof(struct call), &call);
    if (st != DC_OK) {
        return st;
    }
    call->op.cancel = cancel;
    dc_list_push_back(&m->calls, &call->link);
    dc_turn_schedule(kv->loop, &m->turn);
    *op = &call->op;
    return DC_OK;
}

static void memory_close(struct dc_kv *kv)
{
    dc_turn_schedule(kv->loop, &of(kv)->turn);
}

static const struct dc_kv_backend memory_backend = {memory_submit, memory_close};

enum dc_status dc_kv_memory_open(struct dc_loop *loop, const struct dc_kv_opts *opts,
                                 struct dc_kv **out, struct dc_error *err)
{
    (void)err; /* cannot fail; other backends can */
    const struct dc_error ok = {.status = DC_OK};
    struct memory *m = dc_calloc(1, sizeof(*m));
    dc_kv_init(&m->kv, &memory_backend, loop, opts);
    m->entries = dc_metrics_gauge(opts->metrics, "daarion_kv_entries", NULL,
                                  "Keys, leases and members kept in this process");
    m->max_entries = opts->max_keys == 0 ? MAX_KEYS_DEFAULT : opts->max_keys;
    dc_random_fill(NULL, m->seed, sizeof(m->seed));
    dc_map_init(&m->keys, m->seed);
    dc_map_init(&m->leases, m->seed);
    dc_map_init(&m->sets, m->seed);
    dc_list_init(&m->calls);
    dc_turn_init(&m->turn, on_turn);
    dc_timer_init(loop, &m->timer, on_timer);
    dc_health_set(opts->health, DC_HEALTH_OK, "memory");
    dc_kv_tell_ready(&m->kv, &ok);
    *out = &m->kv;
    return DC_OK;
}
