/* The gateway's view of presence: its life, and the people of the city. */
#include "roles/city/people_priv.h"

#include "base/mem.h"

/* --- people of the city --- */

static void user_set_away(struct dc_city_people *p, struct dc_city_user *u, bool is_away)
{
    if (u->is_away != is_away) {
        u->is_away = is_away;
        p->users_away = is_away ? p->users_away + 1 : p->users_away - 1;
    }
}

static void user_forget(struct dc_city_people *p, struct dc_city_user *u)
{
    user_set_away(p, u, false);
    (void)dc_map_remove(&p->users, u->user_id);
    dc_list_remove(&u->link);
    dc_free(u);
}

static struct dc_city_user *user_new(struct dc_city_people *p, struct dc_slice user_id)
{
    struct dc_city_user *u = dc_calloc(1, sizeof(*u) + user_id.len);
    memcpy(u->text, user_id.ptr, user_id.len);
    u->user_id = dc_slice_make(u->text, user_id.len);
    (void)dc_map_put(&p->users, u->user_id, u);
    dc_list_push_back(&p->user_order, &u->link);
    return u;
}

static void user_gone(struct dc_city_people *p, struct dc_city_user *u)
{
    dc_people_send_user(p, u->user_id, DC_S("offline"));
    user_forget(p, u);
    dc_people_totals_changed(p, false);
    dc_people_summary_changed(p);
}

void dc_people_set_user(struct dc_city_people *p, struct dc_slice user_id,
                        enum dc_presence_status status, int64_t gen)
{
    struct dc_city_user *u = dc_map_get(&p->users, user_id);
    if (status == DC_PRESENCE_OFFLINE) {
        if (u != NULL) {
            user_gone(p, u);
        }
        return;
    }
    bool is_away = status == DC_PRESENCE_AWAY;
    bool is_news = u == NULL || u->is_away != is_away;
    if (u == NULL) {
        u = user_new(p, user_id);
    } else if (gen > u->gen) {
        dc_list_remove(&u->link); /* keeps the list sorted: generations only grow */
        dc_list_push_back(&p->user_order, &u->link);
    }
    u->gen = gen > u->gen ? gen : u->gen;
    user_set_away(p, u, is_away);
    if (is_news) {
        dc_people_send_user(p, user_id, dc_people_status_word(is_away));
        dc_people_totals_changed(p, false);
        dc_people_summary_changed(p);
    }
}

void dc_people_prune_users(struct dc_city_people *p, int64_t gen)
{
    while (!dc_list_is_empty(&p->user_order)) {
        struct dc_city_user *u = DC_LIST_ENTRY(p->user_order.next, struct dc_city_user, link);
        if (u->gen >= gen) {
            break;
        }
        user_gone(p, u);
    }
}

void dc_people_repeat(struct dc_city_people *p, struct dc_slice user_id)
{
    const struct dc_city_user *u = dc_map_get(&p->users, user_id);
    if (u != NULL) {
        dc_people_send_user(p, u->user_id, dc_people_status_word(u->is_away));
    }
}

/* --- life --- */

static struct dc_topic *make_topic(struct dc_city *city, char letter)
{
    /* Each topic has its own epoch: a cursor of one can never be taken for another's. */
    char epoch[DC_ULID_LEN + 3];
    int n = snprintf(epoch, sizeof(epoch), "%c-%s", letter, city->gateway_id);
    const struct dc_topic_opts opts = {.kind = DC_TOPIC_STATE,
                                       .epoch = dc_slice_make(epoch, (size_t)n)};
    return dc_topic_create(city->ctx->hub, &opts);
}

struct dc_city_people *dc_people_create(struct dc_city *city)
{
    struct dc_city_people *p = dc_calloc(1, sizeof(*p));
    uint64_t seed[2];
    p->city = city;
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&p->users, seed);
    dc_map_init(&p->pending, seed);
    dc_list_init(&p->user_order);
    dc_list_init(&p->pending_order);
    p->rooms_topic = make_topic(city, 'r');
    p->users_topic = make_topic(city, 'u');
    p->summary_topic = make_topic(city, 's');
    dc_timer_init(city->ctx->loop, &p->summary_timer, dc_people_on_summary_timer);
    dc_timer_init(city->ctx->loop, &p->totals_timer, dc_people_on_totals_timer);
    dc_timer_init(city->ctx->loop, &p->watch, dc_people_on_watch);
    dc_people_sync_init(p);
    return p;
}

enum dc_status dc_people_start(struct dc_city_people *p, struct dc_error *err)
{
    enum dc_status st = dc_people_subscribe(p, err);
    if (st == DC_OK) {
        dc_people_sync_start(p);
    }
    return st;
}

/* The last of the three timers takes everything with it. */
static void timer_closed(struct dc_city_people *p)
{
    if (--p->open_timers == 0) {
        dc_free(p);
    }
}

static void on_summary_timer_closed(struct dc_timer *t)
{
    timer_closed(DC_CONTAINER_OF(t, struct dc_city_people, summary_timer));
}

static void on_totals_timer_closed(struct dc_timer *t)
{
    timer_closed(DC_CONTAINER_OF(t, struct dc_city_people, totals_timer));
}

static void on_watch_closed(struct dc_timer *t)
{
    timer_closed(DC_CONTAINER_OF(t, struct dc_city_people, watch));
}

void dc_people_destroy(struct dc_city_people *p)
{
    if (p == NULL) {
        return;
    }
    dc_people_unsubscribe(p);
    DC_LIST_FOREACH_SAFE (it, &p->user_order) {
        user_forget(p, DC_LIST_ENTRY(it, struct dc_city_user, link));
    }
    for (struct dc_city_room *room = dc_city_rooms_next(p->city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(p->city->rooms, room)) {
        dc_people_forget_room(room);
    }
    dc_people_sync_free(p);
    dc_map_free(&p->users);
    dc_map_free(&p->pending);
    dc_blob_unref(p->snapshot.blob);
    dc_blob_unref(p->bulk.blob);
    dc_strbuf_free(&p->summary);
    dc_topic_destroy(p->rooms_topic);
    dc_topic_destroy(p->users_topic);
    dc_topic_destroy(p->summary_topic);
    p->open_timers = 3;
    dc_timer_close(&p->summary_timer, on_summary_timer_closed);
    dc_timer_close(&p->totals_timer, on_totals_timer_closed);
    dc_timer_close(&p->watch, on_watch_closed);
}

struct dc_topic *dc_people_rooms_topic(struct dc_city_people *p)
{
    return p->rooms_topic;
}

struct dc_topic *dc_people_users_topic(struct dc_city_people *p)
{
    return p->users_topic;
}

struct dc_topic *dc_people_summary_topic(struct dc_city_people *p)
{
    return p->summary_topic;
}
