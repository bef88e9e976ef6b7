/* What the stream CITY_PRESENCE has, while a new leader compares: read from its beginning, followed
 * until our own markers have come back, so that a former leader's last words are not missed. */
#include "base/mem.h"
#include "roles/presence_aggregator/aggregator.h"

/* --- entries --- */

static void user_free(struct dc_mirror_user *u)
{
    dc_list_remove(&u->link);
    dc_free(u->text);
    dc_free(u);
}

static void room_free(struct dc_mirror_room *r)
{
    dc_list_remove(&r->link);
    dc_free(r->text);
    dc_free(r);
}

/* a and b in one piece of memory; the slices are moved there. */
static char *keep(struct dc_slice *a, struct dc_slice *b)
{
    char *text = dc_alloc(a->len + b->len + 1);
    if (a->len > 0) {
        memcpy(text, a->ptr, a->len);
    }
    if (b->len > 0) {
        memcpy(text + a->len, b->ptr, b->len);
    }
    *a = dc_slice_make(text, a->len);
    *b = dc_slice_make(text + a->len, b->len);
    return text;
}

static struct dc_mirror_user *user_put(struct dc_mirror *m, struct dc_slice user_id,
                                       struct dc_slice username, enum dc_presence_status status,
                                       int64_t gen)
{
    struct dc_mirror_user *u = dc_map_get(&m->users, user_id);
    if (u == NULL) {
        u = dc_calloc(1, sizeof(*u));
        dc_list_init(&u->link);
    } else {
        (void)dc_map_remove(&m->users, user_id);
    }
    char *old = u->text;
    u->user_id = user_id;
    u->username = username;
    u->text = keep(&u->user_id, &u->username);
    u->status = status;
    u->gen = gen;
    (void)dc_map_put(&m->users, u->user_id, u);
    dc_free(old); /* user_id may have pointed into it */
    return u;
}

static struct dc_mirror_room *room_put(struct dc_mirror *m, struct dc_slice slug,
                                       struct dc_slice payload, int64_t gen)
{
    struct dc_mirror_room *r = dc_map_get(&m->rooms, slug);
    if (r == NULL) {
        r = dc_calloc(1, sizeof(*r));
        dc_list_init(&r->link);
    } else {
        (void)dc_map_remove(&m->rooms, slug);
    }
    char *old = r->text;
    r->slug = slug;
    r->payload = payload;
    r->text = keep(&r->slug, &r->payload);
    r->state = dc_agg_room_state(r->payload);
    r->gen = gen;
    (void)dc_map_put(&m->rooms, r->slug, r);
    dc_free(old);
    return r;
}

static void move_to(struct dc_list *list, struct dc_list *link)
{
    dc_list_remove(link);
    dc_list_push_back(list, link);
}

/* --- what we say --- */

bool dc_mirror_user_said(struct dc_mirror *m, const struct dc_presence_user_state *u)
{
    struct dc_mirror_user *old = dc_map_get(&m->users, u->user_id);
    struct dc_slice name = dc_agg_name(m->a, u);
    bool is_same = false;
    if (u->status == DC_PRESENCE_OFFLINE) {
        is_same = old == NULL || old->status == DC_PRESENCE_OFFLINE;
    } else if (old != NULL) {
        is_same =
            old->status == u->status && old->gen >= m->user_gen && dc_slice_eq(old->username, name);
    }
    if (!is_same) {
        old = user_put(m, u->user_id, name, u->status, m->a->gen);
    }
    if (old != NULL) {
        move_to(&m->done_users, &old->link);
    }
    return !is_same;
}

bool dc_mirror_room_said(struct dc_mirror *m, struct dc_slice slug, struct dc_slice payload,
                         bool is_empty)
{
    struct dc_mirror_room *old = dc_map_get(&m->rooms, slug);
    if (old == NULL && is_empty) {
        return false; /* an empty room is what everybody assumes */
    }
    bool is_same = old != NULL && old->gen >= m->room_gen &&
                   dc_slice_eq(old->state, dc_agg_room_state(payload));
    if (!is_same) {
        old = room_put(m, slug, payload, m->a->gen);
    }
    move_to(&m->done_rooms, &old->link);
    return !is_same;
}

struct dc_mirror_user *dc_mirror_next_user(struct dc_mirror *m)
{
    if (dc_list_is_empty(&m->todo_users)) {
        return NULL;
    }
    struct dc_mirror_user *u = DC_LIST_ENTRY(m->todo_users.next, struct dc_mirror_user, link);
    move_to(&m->done_users, &u->link);
    return u;
}

struct dc_mirror_room *dc_mirror_next_room(struct dc_mirror *m)
{
    if (dc_list_is_empty(&m->todo_rooms)) {
        return NULL;
    }
    struct dc_mirror_room *r = DC_LIST_ENTRY(m->todo_rooms.next, struct dc_mirror_room, link);
    move_to(&m->done_rooms, &r->link);
    return r;
}

void dc_mirror_rewind(struct dc_mirror *m)
{
    dc_list_move_all(&m->todo_users, &m->done_users);
    dc_list_move_all(&m->todo_rooms, &m->done_rooms);
}

/* --- what the stream says --- */

static bool status_of(const json_t *object, enum dc_presence_status *status)
{
    struct dc_slice word = dc_json_text(object, "status");
    for (int s = DC_PRESENCE_OFFLINE; s <= DC_PRESENCE_ONLINE; s++) {
        if (dc_slice_eq(word, dc_slice_z(dc_presence_status_name((enum dc_presence_status)s)))) {
            *status = (enum dc_presence_status)s;
            return true;
        }
    }
    return false;
}

/* An object that is no word of ours; NULL: it is one (*is_ours), or nonsense, which no gateway
 * takes seriously either. */
static json_t *read_word(struct dc_mirror *m, const struct dc_bus_message *message, bool *is_ours)
{
    json_t *object = NULL;
    *is_ours = false;
    if (dc_json_parse(message->payload, &object, NULL) != DC_OK || !json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    int64_t term = dc_presence_number(object, "term");
    *is_ours = m->a->phase >= DC_AGG_WAITING && term == m->a->term;
    if (*is_ours) {
        json_decref(object);
        return NULL;
    }
    int64_t gen = dc_presence_number(object, "gen");
    m->term = term > m->term ? term : m->term;
    m->gen = gen > m->gen ? gen : m->gen;
    m->has_stranger = m->has_stranger || m->a->phase == DC_AGG_LEADING;
    return object;
}

static bool is_marker(const struct dc_bus_message *message)
{
    return dc_slice_ends(message->subject, DC_S("." DC_PRESENCE_MARKER));
}

/* Both markers have come back: everything of before has been heard. */
static void check_end(struct dc_mirror *m)
{
    if (m->is_user_marker_back && m->is_room_marker_back) {
        dc_sweep_strangers(m->a);
    }
}

static void on_user(void *data, const struct dc_bus_message *message)
{
    struct dc_mirror *m = data;
    bool is_ours = false;
    enum dc_presence_status status = DC_PRESENCE_OFFLINE;
    json_t *object = read_word(m, message, &is_ours);
    if (is_marker(message)) {
        int64_t gen = object == NULL ? 0 : dc_presence_number(object, "gen");
        m->user_gen = gen > m->user_gen ? gen : m->user_gen;
        m->is_user_marker_back = m->is_user_marker_back || is_ours;
    } else if (object != NULL && status_of(object, &status) &&
               dc_json_text(object, "user_id").len > 0 &&
               dc_json_text(object, "user_id").len <= DC_PRESENCE_ID_MAX &&
               dc_json_text(object, "username").len <= DC_PRESENCE_ID_MAX) {
        struct dc_mirror_user *u =
            user_put(m, dc_json_text(object, "user_id"), dc_json_text(object, "username"), status,
                     dc_presence_number(object, "gen"));
        move_to(&m->todo_users, &u->link);
        m->has_somebody = m->has_somebody || status != DC_PRESENCE_OFFLINE;
    }
    json_decref(object);
    if (is_ours && is_marker(message)) {
        check_end(m); /* may close the mirror */
    }
}

static void on_room(void *data, const struct dc_bus_message *message)
{
    struct dc_mirror *m = data;
    bool is_ours = false;
    json_t *object = read_word(m, message, &is_ours);
    struct dc_slice slug = object == NULL ? DC_SLICE_NULL : dc_json_text(object, "room_slug");
    if (is_marker(message)) {
        int64_t gen = object == NULL ? 0 : dc_presence_number(object, "gen");
        m->room_gen = gen > m->room_gen ? gen : m->room_gen;
        m->is_room_marker_back = m->is_room_marker_back || is_ours;
    } else if (slug.len > 0 && slug.len <= DC_PRESENCE_ID_MAX) {
        struct dc_mirror_room *r =
            room_put(m, slug, message->payload, dc_presence_number(object, "gen"));
        move_to(&m->todo_rooms, &r->link);
        m->has_somebody = m->has_somebody || dc_presence_number(object, "online_count") > 0;
    }
    json_decref(object);
    if (is_ours && is_marker(message)) {
        check_end(m);
    }
}

/* The totals: their term; and while leading whether the stream is still there. */
static void on_totals(void *data, const struct dc_bus_message *message)
{
    struct dc_aggregator *a = data;
    bool is_ours = false;
    if (a->mirror != NULL) {
        json_decref(read_word(a->mirror, message, &is_ours));
    }
}

static void on_stream_interrupted(void *data)
{
    dc_sweep_want(data, true);
}

/* --- entries of former mirrors --- */

/* Freeing one costs about a microsecond. */
#define BURIED_A_TURN (4 * DC_AGG_TURN_STEPS)

static size_t bury(struct dc_aggregator *a, size_t max)
{
    size_t n = 0;
    for (; n < max && !dc_list_is_empty(&a->dead_users); n++) {
        user_free(DC_LIST_ENTRY(a->dead_users.next, struct dc_mirror_user, link));
    }
    for (; n < max && !dc_list_is_empty(&a->dead_rooms); n++) {
        room_free(DC_LIST_ENTRY(a->dead_rooms.next, struct dc_mirror_room, link));
    }
    /* A large request makes the allocator sort what has been freed: these few now, and not a
     * hundred thousand of them (13 ms) when somebody asks for some kilobytes later. */
    dc_free(dc_realloc(NULL, 4096));
    return n;
}

static void on_bury(struct dc_turn *turn)
{
    struct dc_aggregator *a = DC_CONTAINER_OF(turn, struct dc_aggregator, bury);
    if (bury(a, BURIED_A_TURN) == BURIED_A_TURN) {
        dc_turn_schedule(a->ctx->loop, turn);
    }
}

void dc_mirror_init(struct dc_aggregator *a)
{
    dc_list_init(&a->dead_users);
    dc_list_init(&a->dead_rooms);
    dc_turn_init(&a->bury, on_bury);
}

void dc_mirror_free(struct dc_aggregator *a)
{
    dc_turn_cancel(&a->bury);
    (void)bury(a, SIZE_MAX);
}

/* --- life --- */

static void check_read(struct dc_mirror *m)
{
    if (m->have_users && m->have_rooms && m->have_totals) {
        dc_agg_mirror_read(m->a);
    }
}

static void users_read(void *data)
{
    ((struct dc_mirror *)data)->have_users = true;
    check_read(data);
}

static void rooms_read(void *data)
{
    ((struct dc_mirror *)data)->have_rooms = true;
    check_read(data);
}

static void totals_read(void *data)
{
    const struct dc_aggregator *a = data;
    if (a->mirror != NULL) {
        a->mirror->have_totals = true;
        check_read(a->mirror);
    }
}

/* What was read may be incomplete now: read it all again. */
static void on_interrupted(void *data)
{
    dc_sweep_want(((struct dc_mirror *)data)->a, true);
}

enum dc_status dc_mirror_open(struct dc_aggregator *a, struct dc_error *err)
{
    struct dc_mirror *m = dc_calloc(1, sizeof(*m));
    uint64_t seed[2];
    m->a = a;
    a->mirror = m;
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&m->users, seed);
    dc_map_init(&m->rooms, seed);
    dc_list_init(&m->todo_users);
    dc_list_init(&m->todo_rooms);
    dc_list_init(&m->done_users);
    dc_list_init(&m->done_rooms);
    const struct dc_bus_sub_opts users = {.pattern = DC_S("city.presence.user.*"),
                                          .start = DC_BUS_LAST,
                                          .caught_up = users_read,
                                          .interrupted = on_interrupted};
    const struct dc_bus_sub_opts rooms = {.pattern = DC_S("city.presence.room.*"),
                                          .start = DC_BUS_LAST,
                                          .caught_up = rooms_read,
                                          .interrupted = on_interrupted};
    const struct dc_bus_sub_opts totals = {.pattern = DC_S("city.presence.city"),
                                           .start = DC_BUS_LAST,
                                           .caught_up = totals_read,
                                           .interrupted = on_stream_interrupted};
    enum dc_status st = dc_bus_subscribe(a->ctx->bus, &users, on_user, m, &m->user_sub, err);
    if (st == DC_OK) {
        st = dc_bus_subscribe(a->ctx->bus, &rooms, on_room, m, &m->room_sub, err);
    }
    if (st == DC_OK) {
        st = dc_bus_subscribe(a->ctx->bus, &totals, on_totals, a, &a->stream_sub, err);
    }
    if (st != DC_OK) {
        dc_mirror_close(a);
        dc_mirror_stop_stream(a);
    }
    return st;
}

void dc_mirror_close(struct dc_aggregator *a)
{
    struct dc_mirror *m = a->mirror;
    if (m == NULL) {
        return;
    }
    a->mirror = NULL;
    dc_bus_unsubscribe(m->user_sub);
    dc_bus_unsubscribe(m->room_sub);
    dc_mirror_rewind(m);
    dc_list_move_all(&a->dead_users, &m->todo_users);
    dc_list_move_all(&a->dead_rooms, &m->todo_rooms);
    dc_turn_schedule(a->ctx->loop, &a->bury);
    dc_map_free(&m->users);
    dc_map_free(&m->rooms);
    dc_free(m);
}

void dc_mirror_stop_stream(struct dc_aggregator *a)
{
    dc_bus_unsubscribe(a->stream_sub);
    a->stream_sub = NULL;
}
