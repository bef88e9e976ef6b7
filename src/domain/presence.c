/* Presence core: creation, the frame of every change, time, totals.  See presence_priv.h for the
 * objects and the two steps of a change. */
#include "domain/presence_priv.h"

#define LENGTH_MAX_MS (366ULL * 24 * 3600 * 1000)

const char *dc_presence_status_name(enum dc_presence_status s)
{
    switch (s) {
    case DC_PRESENCE_OFFLINE:
        return "offline";
    case DC_PRESENCE_AWAY:
        return "unavailable";
    case DC_PRESENCE_ONLINE:
        return "online";
    }
    return "offline";
}

const char *dc_presence_status_word(enum dc_presence_status s)
{
    return s == DC_PRESENCE_AWAY ? "away" : dc_presence_status_name(s);
}

bool dc_presence_id_ok(struct dc_slice id)
{
    return id.len > 0 && id.len <= DC_PRESENCE_ID_MAX && id.ptr != NULL;
}

/* What the allocator takes for a block: 8 bytes of its own, 16 bytes of alignment, 32 at least. */
static size_t block_bytes(size_t size)
{
    size_t n = (size + 8 + 15) & ~(size_t)15;
    return n < 32 ? 32 : n;
}

void *dc_presence_new(struct dc_presence *p, size_t size)
{
    p->bytes += block_bytes(size);
    return dc_calloc(1, size);
}

void dc_presence_drop(struct dc_presence *p, void *ptr, size_t size)
{
    if (ptr != NULL) {
        p->bytes -= block_bytes(size);
        dc_free(ptr);
    }
}

static enum dc_status check_opts(const struct dc_presence_opts *o, struct dc_error *err)
{
    if (o->lease_ms == 0 || o->typing_ms == 0 || o->lease_ms > LENGTH_MAX_MS ||
        o->typing_ms > LENGTH_MAX_MS || o->close_grace_ms > LENGTH_MAX_MS ||
        o->throttle_ms > LENGTH_MAX_MS) {
        return dc_fail(err, DC_INVALID, 0, "presence: a length of time is out of range");
    }
    if (o->max_users == 0 || o->max_rooms == 0 || o->max_sessions == 0 ||
        o->max_rooms_per_user == 0) {
        return dc_fail(err, DC_INVALID, 0, "presence: every limit must be above zero");
    }
    return DC_OK;
}

enum dc_status dc_presence_create(const struct dc_presence_opts *opts,
                                  const struct dc_presence_callbacks *cbs, void *data,
                                  struct dc_presence **out, struct dc_error *err)
{
    *out = NULL;
    enum dc_status st = check_opts(opts, err);
    if (st != DC_OK) {
        return st;
    }
    struct dc_presence *p = dc_calloc(1, sizeof(*p));
    p->opts = *opts;
    if (cbs != NULL) {
        p->cbs = *cbs;
    }
    p->data = data;
    p->now.mono.ms = INT64_MIN;
    dc_map_init(&p->users, opts->hash_seed);
    dc_map_init(&p->rooms, opts->hash_seed);
    dc_map_init(&p->sessions, opts->hash_seed);
    dc_list_init(&p->online);
    dc_list_init(&p->room_order);
    dc_list_init(&p->user_mark);
    dc_list_init(&p->room_mark);
    dc_list_init(&p->member_mark);
    dc_list_init(&p->leases);
    dc_list_init(&p->graces);
    dc_list_init(&p->dirty_users);
    dc_list_init(&p->dirty_rooms);
    p->totals_window_end_ms = INT64_MIN;
    p->totals_due_ms = DC_PRESENCE_NEVER;
    p->read = dc_calloc(1, sizeof(*p->read));
    *out = p;
    return DC_OK;
}

void dc_presence_destroy(struct dc_presence *p)
{
    if (p == NULL) {
        return;
    }
    struct dc_map_iter it = {0};
    void *value = NULL;
    while (dc_map_next(&p->sessions, &it, NULL, &value)) {
        dc_presence_session_free(p, value);
    }
    it = (struct dc_map_iter){0};
    while (dc_map_next(&p->rooms, &it, NULL, &value)) {
        dc_presence_room_free(p, value); /* with its memberships and typing */
    }
    it = (struct dc_map_iter){0};
    while (dc_map_next(&p->users, &it, NULL, &value)) {
        dc_presence_user_free(p, value);
    }
    DC_ASSERT(p->bytes == 0);
    dc_map_free(&p->sessions);
    dc_map_free(&p->rooms);
    dc_map_free(&p->users);
    dc_heap_free(&p->typing_leases);
    dc_heap_free(&p->windows);
    dc_free(p->read);
    dc_free(p);
}

void dc_presence_begin(struct dc_presence *p, struct dc_presence_now now)
{
    DC_ASSERT(!p->is_busy); /* a callback may read, not change */
    p->is_busy = true;
    if (now.mono.ms > p->now.mono.ms) {
        p->now.mono = now.mono;
    }
    p->now.utc = now.utc;
}

int64_t dc_presence_after(const struct dc_presence *p, uint64_t length_ms)
{
    int64_t at = 0;
    if (__builtin_add_overflow(p->now.mono.ms, (int64_t)length_ms, &at) ||
        at == DC_PRESENCE_NEVER) {
        return DC_PRESENCE_NEVER - 1;
    }
    return at;
}

static void publish_totals(struct dc_presence *p)
{
    p->totals_due_ms = DC_PRESENCE_NEVER;
    if (p->totals.online == p->published_totals.online &&
        p->totals.away == p->published_totals.away) {
        return;
    }
    p->published_totals = p->totals;
    p->totals_window_end_ms = dc_presence_after(p, p->opts.throttle_ms);
    if (p->cbs.totals != NULL) {
        p->cbs.totals(p->data, &p->published_totals);
    }
}

void dc_presence_totals_restate(struct dc_presence *p, struct dc_presence_now now)
{
    dc_presence_begin(p, now);
    /* Never equal to what there is: it is published once more. */
    p->published_totals = (struct dc_presence_totals){.online = UINT32_MAX, .away = UINT32_MAX};
    p->totals_window_end_ms = INT64_MIN;
    dc_presence_settle(p);
}

static void settle_totals(struct dc_presence *p)
{
    if (p->now.mono.ms >= p->totals_window_end_ms) {
        publish_totals(p);
    } else if (p->totals.online != p->published_totals.online ||
               p->totals.away != p->published_totals.away) {
        p->totals_due_ms = p->totals_window_end_ms;
    } else {
        p->totals_due_ms = DC_PRESENCE_NEVER;
    }
}

void dc_presence_settle(struct dc_presence *p)
{
    while (!dc_list_is_empty(&p->dirty_users)) {
        struct dc_presence_user *u =
            DC_LIST_ENTRY(p->dirty_users.next, struct dc_presence_user, dirty_link);
        dc_list_remove(&u->dirty_link);
        dc_presence_user_settle(p, u);
    }
    while (!dc_list_is_empty(&p->dirty_rooms)) {
        struct dc_presence_room *r =
            DC_LIST_ENTRY(p->dirty_rooms.next, struct dc_presence_room, dirty_link);
        dc_list_remove(&r->dirty_link);
        dc_presence_room_settle(p, r);
    }
    settle_totals(p);
    p->is_busy = false;
}

int64_t dc_presence_tick(struct dc_presence *p, struct dc_presence_now now)
{
    dc_presence_begin(p, now);
    dc_presence_sessions_expire(p);
    dc_presence_typing_expire(p);
    dc_presence_windows_expire(p);
    dc_presence_settle(p);
    return dc_presence_next_due_ms(p);
}

static int64_t earliest_end(const struct dc_list *list)
{
    if (dc_list_is_empty(list)) {
        return DC_PRESENCE_NEVER;
    }
    return DC_LIST_ENTRY(list->next, const struct dc_presence_session, lease_link)->ends_ms;
}

static int64_t earliest_node(const struct dc_heap *heap)
{
    const struct dc_heap_node *n = dc_heap_peek(heap);
    return n == NULL ? DC_PRESENCE_NEVER : n->at_ms;
}

int64_t dc_presence_next_due_ms(const struct dc_presence *p)
{
    const int64_t due[] = {p->are_leases_held ? DC_PRESENCE_NEVER : earliest_end(&p->leases),
                           earliest_end(&p->graces), earliest_node(&p->typing_leases),
                           earliest_node(&p->windows), p->totals_due_ms};
    int64_t at = DC_PRESENCE_NEVER;
    for (size_t i = 0; i < DC_ARRAY_LEN(due); i++) {
        at = due[i] < at ? due[i] : at;
    }
    return at;
}

struct dc_presence_totals dc_presence_totals_get(const struct dc_presence *p)
{
    return p->totals;
}

struct dc_presence_counts dc_presence_counts_get(const struct dc_presence *p)
{
    return (struct dc_presence_counts){p->users.count,   p->sessions.count, p->rooms.count,
                                       p->n_memberships, p->n_typing,       p->n_throttled};
}

size_t dc_presence_memory_bytes(const struct dc_presence *p)
{
    size_t tables = dc_map_bytes(&p->users) + dc_map_bytes(&p->rooms) + dc_map_bytes(&p->sessions);
    size_t nodes = p->typing_leases.cap + p->windows.cap;
    return sizeof(*p) + sizeof(*p->read) + p->bytes + tables + nodes * sizeof(void *);
}
