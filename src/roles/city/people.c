/* The gateway's view of presence: who is where, from the bus. */
#include "roles/city/people_priv.h"

#include "base/mem.h"
#include "domain/presence.h"

/* --- members of a room --- */

static void member_set_away(struct dc_city_room *room, struct dc_city_member *m, bool is_away)
{
    if (m->is_away != is_away) {
        m->is_away = is_away;
        room->people.away_by_name =
            is_away ? room->people.away_by_name + 1 : room->people.away_by_name - 1;
    }
}

static void member_forget(struct dc_city_room *room, struct dc_city_member *m)
{
    member_set_away(room, m, false);
    (void)dc_map_remove(&room->people.by_user, m->user_id);
    dc_list_remove(&m->link);
    dc_list_remove(&m->typing_link);
    dc_free(m);
}

/* username NULL or empty: unknown. */
static void member_put(struct dc_city_room *room, struct dc_slice user_id, struct dc_slice username,
                       bool is_away)
{
    struct dc_city_member *m = dc_map_get(&room->people.by_user, user_id);
    if (m == NULL) {
        m = dc_calloc(1, sizeof(*m) + user_id.len + username.len);
        memcpy(m->text, user_id.ptr, user_id.len);
        if (username.len > 0) {
            memcpy(m->text + user_id.len, username.ptr, username.len);
        }
        m->user_id = dc_slice_make(m->text, user_id.len);
        m->username = dc_slice_make(m->text + user_id.len, username.len);
        dc_list_init(&m->typing_link);
        (void)dc_map_put(&room->people.by_user, m->user_id, m);
        dc_list_push_back(&room->people.present, &m->link);
    }
    member_set_away(room, m, is_away);
}

static void member_set_typing(struct dc_city_room *room, struct dc_city_member *m, bool is_typing)
{
    dc_list_remove(&m->typing_link);
    if (is_typing) {
        dc_list_push_back(&room->people.typing, &m->typing_link);
    }
}

static void show(const struct dc_city_member *m, dc_person_cb cb, void *data)
{
    const struct dc_person person = {m->user_id, m->username, dc_people_status_word(m->is_away)};
    cb(data, &person);
}

void dc_people_visit_room(const struct dc_city_room *room, size_t max, dc_person_cb cb, void *data)
{
    size_t n = 0;
    DC_LIST_FOREACH (it, &room->people.present) {
        if (n++ == max) {
            break;
        }
        show(DC_LIST_ENTRY(it, struct dc_city_member, link), cb, data);
    }
}

void dc_people_visit_typing(const struct dc_city_room *room, size_t max, dc_person_cb cb,
                            void *data)
{
    size_t n = 0;
    DC_LIST_FOREACH (it, &room->people.typing) {
        if (n++ == max) {
            break;
        }
        show(DC_LIST_ENTRY(it, struct dc_city_member, typing_link), cb, data);
    }
}

void dc_people_count_room(const struct dc_city_room *room, uint32_t *online, uint32_t *away)
{
    const struct dc_room_people *people = &room->people;
    *online = people->is_sample ? people->online_count : (uint32_t)people->by_user.count;
    *away = people->is_sample ? people->away_count : people->away_by_name;
}

bool dc_people_is_member(const struct dc_city_room *room, struct dc_slice user_id)
{
    return dc_map_get(&room->people.by_user, user_id) != NULL;
}

/* --- from the bus --- */

static json_t *parse(struct dc_city_people *p, const struct dc_bus_message *m)
{
    json_t *object = NULL;
    struct dc_error err = {0};
    if (dc_json_parse(m->payload, &object, &err) == DC_OK && !json_is_object(object)) {
        (void)dc_fail(&err, DC_MALFORMED, 0, "the payload is no object");
    }
    if (err.status != DC_OK) {
        DC_LOG_WARN_EVENT(p->city->ctx->log, "city.bad_event", DC_LF_T("subject", m->subject),
                          DC_LF_ERR(&err));
        json_decref(object);
        return NULL;
    }
    return object;
}

/* Ids become keys of topics, whose length is bounded. */
static bool user_of(const json_t *object, struct dc_slice *user_id)
{
    *user_id = dc_json_text(object, "user_id");
    return dc_user_id_is_valid(*user_id);
}

/* The word that the aggregator wrote (dc_presence_status_name); false: it is none of them. */
static bool status_of(const json_t *object, enum dc_presence_status *status)
{
    static const enum dc_presence_status all[] = {DC_PRESENCE_OFFLINE, DC_PRESENCE_AWAY,
                                                  DC_PRESENCE_ONLINE};
    struct dc_slice word = dc_json_text(object, "status");
    for (size_t i = 0; i < DC_ARRAY_LEN(all); i++) {
        if (dc_slice_eq(word, dc_slice_z(dc_presence_status_name(all[i])))) {
            *status = all[i];
            return true;
        }
    }
    return false;
}

static uint32_t count_of(const json_t *object, const char *key_z)
{
    json_int_t v = json_integer_value(json_object_get(object, key_z));
    return v > 0 && v <= UINT32_MAX ? (uint32_t)v : 0;
}

static void take_typing_users(struct dc_room_people *people, const json_t *ids)
{
    struct dc_jsonw w;
    size_t i;
    json_t *id;
    dc_strbuf_clear(&people->typing_users);
    dc_jsonw_init(&w, &people->typing_users);
    dc_jsonw_array(&w);
    json_array_foreach(ids, i, id)
    {
        if (json_is_string(id)) {
            dc_jsonw_text(&w, dc_slice_make(json_string_value(id), json_string_length(id)));
        }
    }
    dc_jsonw_end(&w);
    if (!dc_strbuf_ok(&people->typing_users)) {
        dc_strbuf_free(&people->typing_users);
        people->typing_users = (struct dc_strbuf){0};
    }
}

/* A gateway that starts late knows nobody by name yet: the sample is a beginning. */
static void take_sample(struct dc_city_room *room, const json_t *people)
{
    size_t i;
    json_t *person;
    json_array_foreach(people, i, person)
    {
        struct dc_slice user_id;
        enum dc_presence_status status;
        if (user_of(person, &user_id) && status_of(person, &status) &&
            status != DC_PRESENCE_OFFLINE) {
            member_put(room, user_id, dc_json_text(person, "username"), status == DC_PRESENCE_AWAY);
        }
    }
}

/* The newest published state of a room. */
static void on_room(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    json_t *object = parse(p, m);
    if (object == NULL) {
        return;
    }
    /* A room made by another process that has not been announced yet is skipped: it is new, and its
     * next change is published again. */
    struct dc_city_room *room = dc_city_rooms_find(p->city->rooms, dc_json_text(object, "room_id"));
    if (room != NULL) {
        room->people.online_count = count_of(object, "online_count");
        room->people.away_count = count_of(object, "away_count");
        room->people.typing_count = count_of(object, "typing_count");
        room->people.last_event_ts = json_integer_value(json_object_get(object, "last_event_ts"));
        take_typing_users(&room->people, json_object_get(object, "typing_users"));
        if (m->is_replay && dc_list_is_empty(&room->people.present)) {
            take_sample(room, json_object_get(object, "online_users"));
            room->people.is_sample = true;
        }
        /* Until all of them have come or gone. */
        room->people.is_sample =
            room->people.is_sample && room->people.by_user.count != room->people.online_count;
        dc_people_send_room(p, room);
        dc_people_summary_changed(p);
    }
    json_decref(object);
}

static void on_totals(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    json_t *object = parse(p, m);
    if (object == NULL) {
        return;
    }
    p->online_total = count_of(object, "online_total");
    p->away_total = count_of(object, "away_total");
    json_decref(object);
    dc_people_send_totals(p);
    dc_people_summary_changed(p);
}

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

static struct dc_city_user *user_need(struct dc_city_people *p, struct dc_slice user_id)
{
    struct dc_city_user *u = dc_map_get(&p->users, user_id);
    if (u == NULL) {
        u = dc_calloc(1, sizeof(*u) + user_id.len);
        memcpy(u->text, user_id.ptr, user_id.len);
        u->user_id = dc_slice_make(u->text, user_id.len);
        (void)dc_map_put(&p->users, u->user_id, u);
        dc_list_push_back(&p->user_order, &u->link);
    }
    return u;
}

static void user_changed(struct dc_city_people *p, struct dc_slice user_id,
                         enum dc_presence_status status)
{
    if (status != DC_PRESENCE_OFFLINE) {
        struct dc_city_user *u = user_need(p, user_id);
        user_set_away(p, u, status == DC_PRESENCE_AWAY);
        dc_people_send_user(p, user_id, dc_people_status_word(u->is_away));
        dc_people_summary_changed(p);
        return;
    }
    struct dc_city_user *u = dc_map_get(&p->users, user_id);
    if (u != NULL) {
        dc_people_send_user(p, user_id, DC_S("offline"));
        user_forget(p, u);
        dc_people_summary_changed(p);
    }
}

static void on_user(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    struct dc_slice user_id;
    enum dc_presence_status status;
    json_t *object = parse(p, m);
    if (object != NULL && user_of(object, &user_id) && status_of(object, &status)) {
        user_changed(p, user_id, status);
    }
    json_decref(object);
}

void dc_people_repeat(struct dc_city_people *p, struct dc_slice user_id)
{
    const struct dc_city_user *u = dc_map_get(&p->users, user_id);
    if (u != NULL) {
        dc_people_send_user(p, u->user_id, dc_people_status_word(u->is_away));
    }
}

/* Also called when a member goes whose typing has not been ended in words. */
static void typing_changed(struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username, bool is_typing)
{
    struct dc_city_member *m = dc_map_get(&room->people.by_user, user_id);
    if (m != NULL) {
        member_set_typing(room, m, is_typing);
    }
    dc_people_send_typing(room, user_id, username, is_typing);
}

static void member_left(struct dc_city_room *room, struct dc_slice user_id,
                        struct dc_slice username)
{
    struct dc_city_member *m = dc_map_get(&room->people.by_user, user_id);
    if (m != NULL && !dc_list_is_empty(&m->typing_link)) {
        typing_changed(room, user_id, username, false);
    }
    dc_people_send_left(room, user_id, username);
    if (m != NULL) {
        member_forget(room, m);
    }
}

static void member_changed(struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username, enum dc_presence_status status, bool is_new)
{
    struct dc_city_member *m = dc_map_get(&room->people.by_user, user_id);
    if (status != DC_PRESENCE_OFFLINE) {
        member_put(room, user_id, username, status == DC_PRESENCE_AWAY);
    } else if (m != NULL) {
        member_forget(room, m);
    }
    if (is_new) {
        dc_people_send_joined(room, user_id, username);
    } else {
        dc_people_send_status(room, user_id, username, dc_slice_z(dc_presence_status_word(status)));
    }
}

static void on_member(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    struct dc_slice user_id;
    enum dc_presence_status status;
    json_t *object = parse(p, m);
    struct dc_slice change = dc_json_text(object, "change");
    struct dc_slice username = dc_json_text(object, "username");
    struct dc_city_room *room = dc_city_rooms_find(p->city->rooms, dc_json_text(object, "room_id"));
    bool is_new = dc_slice_eq(change, DC_S("joined"));
    if (room == NULL || !user_of(object, &user_id)) {
        json_decref(object);
        return;
    }
    if (dc_slice_eq(change, DC_S("left"))) {
        member_left(room, user_id, username);
    } else if ((is_new || dc_slice_eq(change, DC_S("status"))) && status_of(object, &status)) {
        member_changed(room, user_id, username, status, is_new);
    }
    json_decref(object);
}

static void on_typing(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    struct dc_slice user_id;
    json_t *object = parse(p, m);
    if (object == NULL) {
        return;
    }
    struct dc_city_room *room = dc_city_rooms_find(p->city->rooms, dc_json_text(object, "room_id"));
    if (room != NULL && user_of(object, &user_id)) {
        typing_changed(room, user_id, dc_json_text(object, "username"),
                       json_is_true(json_object_get(object, "typing")));
    }
    json_decref(object);
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
    dc_list_init(&p->user_order);
    p->rooms_topic = make_topic(city, 'r');
    p->users_topic = make_topic(city, 'u');
    p->summary_topic = make_topic(city, 's');
    dc_timer_init(city->ctx->loop, &p->summary_timer, dc_people_on_summary_timer);
    return p;
}

static void unsubscribe(struct dc_city_people *p)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(p->subs); i++) {
        dc_bus_unsubscribe(p->subs[i]);
        p->subs[i] = NULL;
    }
}

enum dc_status dc_people_start(struct dc_city_people *p, struct dc_error *err)
{
    static const struct {
        const char *pattern;
        enum dc_bus_start start;
        dc_bus_cb cb;
    } subs[] = {{"city.presence.room.*", DC_BUS_LAST, on_room},
                {"city.presence.user.*", DC_BUS_LAST, on_user},
                {"city.presence.city", DC_BUS_LAST, on_totals},
                {"city.member.*", DC_BUS_NEW, on_member},
                {"city.typing.*", DC_BUS_NEW, on_typing}};
    _Static_assert(DC_ARRAY_LEN(subs) == DC_ARRAY_LEN(p->subs), "one handle a subscription");
    for (size_t i = 0; i < DC_ARRAY_LEN(subs); i++) {
        const struct dc_bus_sub_opts opts = {.pattern = dc_slice_z(subs[i].pattern),
                                             .start = subs[i].start};
        enum dc_status st =
            dc_bus_subscribe(p->city->ctx->bus, &opts, subs[i].cb, p, &p->subs[i], err);
        if (st != DC_OK) {
            unsubscribe(p);
            return st;
        }
    }
    return DC_OK;
}

static void on_timer_closed(struct dc_timer *t)
{
    dc_free(DC_CONTAINER_OF(t, struct dc_city_people, summary_timer));
}

void dc_people_destroy(struct dc_city_people *p)
{
    if (p == NULL) {
        return;
    }
    unsubscribe(p);
    DC_LIST_FOREACH_SAFE (it, &p->user_order) {
        user_forget(p, DC_LIST_ENTRY(it, struct dc_city_user, link));
    }
    for (struct dc_city_room *room = dc_city_rooms_next(p->city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(p->city->rooms, room)) {
        DC_LIST_FOREACH_SAFE (it, &room->people.present) {
            member_forget(room, DC_LIST_ENTRY(it, struct dc_city_member, link));
        }
    }
    dc_map_free(&p->users);
    dc_blob_unref(p->snapshot);
    dc_blob_unref(p->bulk);
    dc_topic_destroy(p->rooms_topic);
    dc_topic_destroy(p->users_topic);
    dc_topic_destroy(p->summary_topic);
    dc_timer_close(&p->summary_timer, on_timer_closed); /* frees p, and touches nothing else */
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
