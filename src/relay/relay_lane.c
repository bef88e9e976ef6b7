/* The short way: from the callback of a commit straight to the bus. */
#include "relay/relay_priv.h"

#include "base/mem.h"

/* What one commit owes, waiting for the position before it. */
struct parcel {
    struct dc_list link;
    uint64_t position;
    size_t bytes, n;
    struct dc_relay_item items[DC_RELAY_MAX_ITEMS];
    char texts[];
};

void dc_relay_lane_init(struct dc_relay_lane *lane)
{
    *lane = (struct dc_relay_lane){0};
    dc_list_init(&lane->held);
    dc_list_init(&lane->link);
    dc_timeout_init(&lane->hold);
}

void dc_relay_lane_known(struct dc_relay_lane *lane, uint64_t position)
{
    lane->is_known = true;
    if (position > lane->sure) {
        lane->sure = position;
    }
}

/* The newest position that stands in the bus, as far as this process can tell. */
static uint64_t newest(const struct dc_relay_lane *lane)
{
    return lane->handed > lane->sure ? lane->handed : lane->sure;
}

/* --- leaving --- */

static void leave(struct dc_relay *r, struct dc_relay_lane *lane, uint64_t position,
                  const struct dc_relay_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dc_relay_leave(r, items[i].row_id);
    }
    if (lane != NULL && position > lane->left_to) {
        lane->left_to = position;
    }
    dc_relay_run_wake(r);
}

/* --- handing over --- */

static void on_acked(void *data, enum dc_status st, uint64_t sequence, const struct dc_error *err)
{
    struct dc_relay_flight *f = data;
    struct dc_relay *r = f->relay;
    struct dc_relay_lane *lane = f->lane;
    (void)sequence;
    if (st == DC_OK) {
        r->m.direct->value++;
        dc_relay_done(r, f->row_id);
        if (lane != NULL) {
            dc_relay_lane_known(lane, f->position);
        }
    } else if (dc_relay_is_unpublishable(r, st, DC_SLICE_NULL, f->row_id)) {
        dc_relay_done(r, f->row_id);
    } else {
        dc_relay_leave(r, f->row_id);
        if (lane != NULL) {
            lane->handed = lane->sure; /* what followed may be lost as well */
            if (f->position > lane->left_to) {
                lane->left_to = f->position;
            }
        }
        dc_relay_trouble(r, st, err);
    }
    dc_relay_flight_end(f);
    dc_relay_maybe_close(r);
}

static enum dc_status hand_one(struct dc_relay *r, struct dc_relay_lane *lane, uint64_t position,
                               const struct dc_relay_item *item)
{
    if (item->payload.ptr == NULL) {
        return DC_NO_MEMORY;
    }
    struct dc_relay_flight *f = dc_relay_flight_begin(r, item->row_id);
    f->lane = lane;
    f->position = position;
    enum dc_status st = dc_bus_publish(r->opts.bus, item->subject, item->message_id, item->payload,
                                       on_acked, f, &f->op);
    if (st != DC_OK) {
        dc_relay_flight_end(f);
    }
    return st;
}

/* The position belongs to the first message; what follows it may come later, but not earlier. */
static void hand(struct dc_relay *r, struct dc_relay_lane *lane, uint64_t position,
                 const struct dc_relay_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct dc_relay_lane *ordered = i == 0 ? lane : NULL;
        enum dc_status st = hand_one(r, ordered, position, &items[i]);
        if (st != DC_OK && !dc_relay_is_unpublishable(r, st, items[i].subject, items[i].row_id)) {
            leave(r, ordered, position, items + i, n - i);
            if (st != DC_NO_MEMORY) {
                dc_relay_trouble(r, st, NULL);
            }
            return;
        }
        if (st != DC_OK) {
            dc_relay_done(r, items[i].row_id);
        }
        if (ordered != NULL && position > lane->handed) {
            lane->handed = position;
        }
    }
}

/* --- holding --- */

static void drop_first(struct dc_relay *r, struct dc_relay_lane *lane, struct parcel *p)
{
    dc_list_remove(&p->link);
    r->held_bytes -= p->bytes;
    if (--lane->n_held == 0) {
        dc_list_remove(&lane->link);
        dc_timeout_remove(&lane->hold);
    }
    dc_free(p);
}

static struct parcel *first_held(const struct dc_relay_lane *lane)
{
    return DC_LIST_ENTRY(lane->held.next, struct parcel, link);
}

void dc_relay_leave_held(struct dc_relay *r, struct dc_relay_lane *lane)
{
    while (!dc_list_is_empty(&lane->held)) {
        struct parcel *p = first_held(lane);
        leave(r, lane, p->position, p->items, p->n);
        drop_first(r, lane, p);
    }
}

static struct dc_slice keep(char **at, struct dc_slice text)
{
    struct dc_slice copy = dc_slice_make(*at, text.len);
    if (text.len > 0) {
        memcpy(*at, text.ptr, text.len);
    }
    *at += text.len;
    return copy;
}

/* false: no room for it, or no memory. */
static bool hold(struct dc_relay *r, struct dc_relay_lane *lane, uint64_t position,
                 const struct dc_relay_item *items, size_t n)
{
    size_t bytes = sizeof(struct parcel);
    for (size_t i = 0; i < n; i++) {
        const size_t lens[] = {items[i].subject.len, items[i].message_id.len, items[i].payload.len};
        for (size_t j = 0; j < DC_ARRAY_LEN(lens); j++) {
            if (!dc_add_size(bytes, lens[j], &bytes)) {
                return false;
            }
        }
        if (items[i].payload.ptr == NULL) {
            return false;
        }
    }
    if (lane->n_held >= DC_RELAY_MAX_HELD_OF_LANE ||
        bytes > DC_RELAY_MAX_HELD_BYTES - r->held_bytes) {
        return false;
    }
    struct parcel *p = dc_try_alloc(bytes);
    if (p == NULL) {
        return false;
    }
    *p = (struct parcel){.position = position, .bytes = bytes, .n = n};
    char *at = p->texts;
    for (size_t i = 0; i < n; i++) {
        p->items[i] = (struct dc_relay_item){.row_id = items[i].row_id,
                                             .subject = keep(&at, items[i].subject),
                                             .message_id = keep(&at, items[i].message_id),
                                             .payload = keep(&at, items[i].payload)};
    }
    if (lane->n_held++ == 0) {
        dc_list_push_back(&r->lanes, &lane->link);
        dc_timeout_touch(r->holds, &lane->hold);
    }
    dc_list_push_back(&lane->held, &p->link);
    r->held_bytes += bytes;
    r->m.held->value++;
    return true;
}

/* What is held and has its turn now.  Ends early when the bus refuses. */
static void release(struct dc_relay *r, struct dc_relay_lane *lane)
{
    while (!dc_list_is_empty(&lane->held) && !r->is_in_trouble) {
        struct parcel *p = first_held(lane);
        if (p->position > newest(lane) + 1) {
            return;
        }
        hand(r, lane, p->position, p->items, p->n);
        drop_first(r, lane, p);
    }
    dc_relay_leave_held(r, lane);
}

void dc_relay_heard(struct dc_relay *r, struct dc_relay_lane *lane, uint64_t position)
{
    dc_relay_lane_known(lane, position);
    if (!dc_list_is_empty(&lane->held) && !r->is_closing) {
        release(r, lane);
    }
}

void dc_relay_publish(struct dc_relay *r, struct dc_relay_lane *lane, uint64_t position,
                      const struct dc_relay_item *items, size_t n)
{
    DC_ASSERT(n > 0 && n <= DC_RELAY_MAX_ITEMS);
    if (r->is_closing) {
        return;
    }
    bool must_leave = r->is_in_trouble || r->n_flights + n > DC_RELAY_MAX_UNDER_WAY;
    if (lane != NULL && !must_leave) {
        uint64_t last = newest(lane);
        /* What was left goes before it by the table. */
        must_leave = !lane->is_known || lane->left_to > last;
        if (!must_leave && position > last + 1 && hold(r, lane, position, items, n)) {
            return;
        }
        must_leave = must_leave || position > last + 1;
    }
    if (must_leave) {
        leave(r, lane, position, items, n);
    } else {
        hand(r, lane, position, items, n);
    }
}
