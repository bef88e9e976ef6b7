/* The gateway's view of presence. */
#include "roles/city/people.h"

#include "base/map.h"
#include "base/mem.h"
#include "net/ws_codec.h"

#define BULK_USERS_MAX 1000

/* Somebody who is online or away. Texts follow the struct. */
struct user {
    struct dc_list link;
    struct dc_slice user_id;
    bool is_away;
    char text[];
};

/* Somebody in a room. */
struct member {
    struct dc_list link;
    struct dc_slice user_id, username;
    bool is_away, is_typing;
    char text[];
};

struct dc_city_people {
    struct dc_city *city;
    struct dc_map users;
    struct dc_list user_order;
    uint32_t online_total, away_total;
    struct dc_topic *rooms_topic, *users_topic, *summary_topic;
    struct dc_bus_sub *subs[5];
    struct dc_blob *snapshot, *bulk; /* valid while the topics stand at these offsets */
    uint64_t snapshot_offset, bulk_offset;
    size_t snapshot_rooms;
    struct dc_timer summary_timer;
    bool summary_is_dirty, summary_is_waiting;
};

static struct dc_slice status_word(bool is_away)
{
    return is_away ? DC_S("away") : DC_S("online");
}

/* --- members of a room --- */

static struct member *find_member(const struct dc_city_room *room, struct dc_slice user_id)
{
    DC_LIST_FOREACH (it, &room->people.members) {
        struct member *m = DC_LIST_ENTRY(it, struct member, link);
        if (dc_slice_eq(m->user_id, user_id)) {
            return m;
        }
    }
    return NULL;
}

static void member_free(struct dc_city_room *room, struct member *m)
{
    dc_list_remove(&m->link);
    room->people.n_members--;
    dc_free(m);
}

static struct member *member_put(struct dc_city_room *room, struct dc_slice user_id,
                                 struct dc_slice username, bool is_away)
{
    struct member *m = find_member(room, user_id);
    if (m == NULL) {
        if (room->people.n_members >= DC_PEOPLE_PER_ROOM) {
            return NULL;
        }
        m = dc_calloc(1, sizeof(*m) + user_id.len + username.len + 1);
        memcpy(m->text, user_id.ptr, user_id.len);
        if (username.len > 0) {
            memcpy(m->text + user_id.len, username.ptr, username.len);
        }
        m->user_id = dc_slice_make(m->text, user_id.len);
        m->username = dc_slice_make(m->text + user_id.len, username.len);
        dc_list_push_back(&room->people.members, &m->link);
        room->people.n_members++;
    }
    m->is_away = is_away;
    return m;
}

void dc_people_visit_room(struct dc_city_people *p, const struct dc_city_room *room, size_t max,
                          dc_person_cb cb, void *data)
{
    size_t n = 0;
    (void)p;
    DC_LIST_FOREACH (it, &room->people.members) {
        const struct member *m = DC_LIST_ENTRY(it, struct member, link);
        if (n++ >= max) {
            break;
        }
        const struct dc_person person = {m->user_id, m->username, status_word(m->is_away),
                                         m->is_typing};
        cb(data, &person);
    }
}

/* --- summary (SSE) --- */

void dc_people_write_summary(struct dc_city_people *p, struct dc_strbuf *out)
{
    struct dc_city *city = p->city;
    struct dc_jsonw w;
    int64_t rooms_online = 0;
    struct dc_city_room *room;
    for (room = dc_city_rooms_next(city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(city->rooms, room)) {
        rooms_online += room->people.online_count > 0 ? 1 : 0;
    }
    dc_jsonw_init(&w, out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("presence_update"));
    dc_jsonw_key_utc(&w, "timestamp", dc_utc_now());
    dc_jsonw_key(&w, "city");
    dc_jsonw_object(&w);
    dc_jsonw_key_i64(&w, "online_total", p->online_total);
    dc_jsonw_key_i64(&w, "away_total", p->away_total);
    dc_jsonw_key_i64(&w, "rooms_online", rooms_online);
    dc_jsonw_key_i64(&w, "agents_online", 0);
    dc_jsonw_end(&w);
    dc_jsonw_key(&w, "rooms");
    dc_jsonw_array(&w);
    for (room = dc_city_rooms_next(city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(city->rooms, room)) {
        dc_jsonw_object(&w);
        dc_jsonw_key_text(&w, "room_id", room->row.id);
        dc_jsonw_key_text(&w, "room_slug", room->row.slug);
        dc_jsonw_key_text(&w, "matrix_room_id", room->row.matrix_room_id);
        dc_jsonw_key_i64(&w, "online", room->people.online_count);
        dc_jsonw_key_i64(&w, "away", room->people.away_count);
        dc_jsonw_key_i64(&w, "typing", room->people.typing_count);
        dc_jsonw_key(&w, "agents");
        dc_jsonw_array(&w);
        dc_jsonw_end(&w);
        dc_jsonw_end(&w);
    }
    dc_jsonw_end(&w);
    dc_jsonw_key(&w, "agents");
    dc_jsonw_array(&w);
    dc_jsonw_end(&w);
}

static void publish_summary(struct dc_city_people *p)
{
    struct dc_strbuf out = {0};
    p->summary_is_dirty = false;
    dc_people_write_summary(p, &out);
    if (dc_strbuf_ok(&out)) {
        dc_topic_set(p->summary_topic, DC_S("city"), dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
    p->summary_is_waiting = true;
    dc_timer_start(&p->summary_timer,
                   (uint64_t)p->city->ctx->settings->presence_summary_interval_ms, 0);
}

static void on_summary_timer(struct dc_timer *t)
{
    struct dc_city_people *p = DC_CONTAINER_OF(t, struct dc_city_people, summary_timer);
    p->summary_is_waiting = false;
    if (p->summary_is_dirty) {
        publish_summary(p);
    }
}

/* At once when the last one is long enough ago, else when the interval ends. */
static void summary_changed(struct dc_city_people *p)
{
    p->summary_is_dirty = true;
    if (!p->summary_is_waiting) {
        publish_summary(p);
    }
}

/* --- first frames --- */

static void write_room_counts(const struct dc_city_room *room, struct dc_jsonw *w)
{
    dc_jsonw_key_text(w, "room_slug", room->row.slug);
    dc_jsonw_key_text(w, "room_id", room->row.id);
    dc_jsonw_key_i64(w, "online_count", room->people.online_count);
    dc_jsonw_key_i64(w, "away_count", room->people.away_count);
    dc_jsonw_key_i64(w, "typing_count", room->people.typing_count);
    dc_jsonw_key(w, "typing_users");
    dc_jsonw_array(w);
    DC_LIST_FOREACH (it, &room->people.members) {
        const struct member *m = DC_LIST_ENTRY(it, struct member, link);
        if (m->is_typing) {
            dc_jsonw_text(w, m->user_id);
        }
    }
    dc_jsonw_end(w);
}

struct dc_blob *dc_people_snapshot(struct dc_city_people *p)
{
    struct dc_city *city = p->city;
    uint64_t offset = dc_topic_offset(p->rooms_topic);
    if (p->snapshot != NULL && p->snapshot_offset == offset &&
        p->snapshot_rooms == dc_city_rooms_count(city->rooms)) {
        return p->snapshot;
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("snapshot"));
    dc_jsonw_key(&w, "rooms");
    dc_jsonw_array(&w);
    for (struct dc_city_room *room = dc_city_rooms_next(city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(city->rooms, room)) {
        dc_jsonw_object(&w);
        write_room_counts(room, &w);
        dc_jsonw_end(&w);
    }
    dc_jsonw_end(&w);
    dc_jsonw_key(&w, "city");
    dc_jsonw_object(&w);
    dc_jsonw_key_i64(&w, "online_total", p->online_total);
    dc_jsonw_key_i64(&w, "away_total", p->away_total);
    dc_jsonw_end(&w);
    dc_topic_write_cursor(p->rooms_topic, offset, &out);
    dc_blob_unref(p->snapshot);
    p->snapshot = dc_strbuf_ok(&out) ? dc_ws_frame(DC_WS_TEXT, dc_strbuf_slice(&out)) : NULL;
    p->snapshot_offset = offset;
    p->snapshot_rooms = dc_city_rooms_count(city->rooms);
    dc_strbuf_free(&out);
    return p->snapshot;
}

struct dc_blob *dc_people_bulk_update(struct dc_city_people *p)
{
    uint64_t offset = dc_topic_offset(p->users_topic);
    if (p->bulk != NULL && p->bulk_offset == offset) {
        return p->bulk;
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    size_t n = 0;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("presence.bulk_update"));
    dc_jsonw_key(&w, "users");
    dc_jsonw_array(&w);
    DC_LIST_FOREACH (it, &p->user_order) {
        const struct user *u = DC_LIST_ENTRY(it, struct user, link);
        if (n++ >= BULK_USERS_MAX) {
            break;
        }
        dc_jsonw_object(&w);
        dc_jsonw_key_text(&w, "user_id", u->user_id);
        dc_jsonw_key_text(&w, "status", status_word(u->is_away));
        dc_jsonw_end(&w);
    }
    dc_jsonw_end(&w);
    dc_jsonw_key_bool(&w, "truncated", n > BULK_USERS_MAX);
    dc_topic_write_cursor(p->users_topic, offset, &out);
    dc_blob_unref(p->bulk);
    p->bulk = dc_strbuf_ok(&out) ? dc_ws_frame(DC_WS_TEXT, dc_strbuf_slice(&out)) : NULL;
    p->bulk_offset = offset;
    dc_strbuf_free(&out);
    return p->bulk;
}

/* --- from the bus --- */

static json_t *parse(struct dc_city_people *p, const struct dc_bus_message *m)
{
    json_t *object = NULL;
    struct dc_error err = {0};
    if (dc_json_parse(m->payload, &object, &err) != DC_OK || !json_is_object(object)) {
        DC_LOG_WARN_EVENT(p->city->ctx->log, "city.bad_event", DC_LF_T("subject", m->subject),
                          DC_LF_ERR(&err));
        json_decref(object);
        return NULL;
    }
    return object;
}

static uint32_t count_of(const json_t *object, const char *key_z)
{
    json_int_t v = json_integer_value(json_object_get(object, key_z));
    return v > 0 && v <= UINT32_MAX ? (uint32_t)v : 0;
}

/* The newest published state of a room. */
static void on_room(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    json_t *object = parse(p, m);
    if (object == NULL) {
        return;
    }
    struct dc_city_room *room =
        dc_city_rooms_find(p->city->rooms, dc_json_text(object, "room_slug"));
    if (room == NULL) {
        json_decref(object); /* a room that this process will learn of with its counts */
        return;
    }
    room->people.online_count = count_of(object, "online_count");
    room->people.away_count = count_of(object, "away_count");
    room->people.typing_count = count_of(object, "typing_count");
    room->people.last_event_ts = json_integer_value(json_object_get(object, "last_event_ts"));
    if (m->is_replay && room->people.n_members == 0) {
        /* A gateway that starts late knows nobody by name yet. */
        size_t i;
        json_t *person;
        json_array_foreach(json_object_get(object, "online_users"), i, person)
        {
            struct dc_slice user_id = dc_json_text(person, "user_id");
            if (dc_id_is_valid(user_id)) {
                (void)member_put(room, user_id, dc_json_text(person, "username"), false);
            }
        }
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("room.presence"));
    dc_jsonw_key_text(&w, "room_slug", room->row.slug);
    dc_jsonw_key_text(&w, "room_id", room->row.id);
    dc_jsonw_key_i64(&w, "online_count", room->people.online_count);
    dc_jsonw_key_i64(&w, "away_count", room->people.away_count);
    dc_jsonw_key_i64(&w, "typing_count", room->people.typing_count);
    dc_jsonw_key(&w, "typing_users");
    dc_jsonw_array(&w);
    size_t i;
    json_t *typist;
    json_array_foreach(json_object_get(object, "typing_users"), i, typist)
    {
        dc_jsonw_text(&w, dc_slice_make(json_string_value(typist), json_string_length(typist)));
    }
    dc_jsonw_end(&w);
    dc_jsonw_key_i64(&w, "last_event_ts", room->people.last_event_ts);
    if (dc_strbuf_ok(&out)) {
        dc_topic_set(p->rooms_topic, room->row.id, dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
    json_decref(object);
    summary_changed(p);
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
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("city.presence"));
    dc_jsonw_key_i64(&w, "online_total", p->online_total);
    dc_jsonw_key_i64(&w, "away_total", p->away_total);
    if (dc_strbuf_ok(&out)) {
        dc_topic_set(p->rooms_topic, DC_S("#city"), dc_strbuf_slice(&out)); /* no room id has a # */
    }
    dc_strbuf_free(&out);
    summary_changed(p);
}

static void send_user(struct dc_city_people *p, struct dc_slice user_id, struct dc_slice status)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("presence.update"));
    dc_jsonw_key_text(&w, "user_id", user_id);
    dc_jsonw_key_text(&w, "status", status);
    if (dc_strbuf_ok(&out)) {
        if (dc_slice_eq(status, DC_S("offline"))) {
            dc_topic_end(p->users_topic, user_id, dc_strbuf_slice(&out));
        } else {
            dc_topic_set(p->users_topic, user_id, dc_strbuf_slice(&out));
        }
    }
    dc_strbuf_free(&out);
}

static void user_forget(struct dc_city_people *p, struct user *u)
{
    (void)dc_map_remove(&p->users, u->user_id);
    dc_list_remove(&u->link);
    dc_free(u);
}

static void on_user(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    json_t *object = parse(p, m);
    if (object == NULL) {
        return;
    }
    struct dc_slice user_id = dc_json_text(object, "user_id");
    struct dc_slice status = dc_json_text(object, "status");
    if (dc_id_is_valid(user_id)) {
        struct user *u = dc_map_get(&p->users, user_id);
        bool is_offline = dc_slice_eq(status, DC_S("offline"));
        if (is_offline && u != NULL) {
            send_user(p, user_id, DC_S("offline"));
            user_forget(p, u);
        } else if (!is_offline) {
            if (u == NULL) {
                u = dc_calloc(1, sizeof(*u) + user_id.len);
                memcpy(u->text, user_id.ptr, user_id.len);
                u->user_id = dc_slice_make(u->text, user_id.len);
                (void)dc_map_put(&p->users, u->user_id, u);
                dc_list_push_back(&p->user_order, &u->link);
            }
            u->is_away = dc_slice_eq(status, DC_S("unavailable"));
            send_user(p, u->user_id, status_word(u->is_away));
        }
    }
    json_decref(object);
}

void dc_people_repeat(struct dc_city_people *p, struct dc_slice user_id)
{
    struct user *u = dc_map_get(&p->users, user_id);
    if (u != NULL) {
        send_user(p, u->user_id, status_word(u->is_away));
    }
}

/* A frame for the sockets in a room; it carries the chat's cursor. */
static void send_crowd(struct dc_city_room *room, const char *event_z, struct dc_slice key,
                       struct dc_slice user_id, struct dc_slice username, struct dc_slice status,
                       const bool *is_typing, bool is_end)
{
    if (room->crowd == NULL) {
        return;
    }
    struct dc_strbuf out = {0};
    struct dc_strbuf name = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", dc_slice_z(event_z));
    dc_jsonw_key_text(&w, "room_id", room->row.id);
    dc_jsonw_key_text(&w, "user_id", user_id);
    dc_jsonw_key_text(&w, "username", username);
    if (status.ptr != NULL) {
        dc_jsonw_key_text(&w, "status", status);
    }
    if (is_typing != NULL) {
        dc_jsonw_key_bool(&w, "typing", *is_typing);
    }
    dc_topic_write_cursor(room->chat, dc_topic_offset(room->chat), &out);
    dc_strbuf_add(&name, key);
    dc_strbuf_add(&name, user_id);
    if (dc_strbuf_ok(&out) && dc_strbuf_ok(&name)) {
        if (is_end) {
            dc_topic_end(room->crowd, dc_strbuf_slice(&name), dc_strbuf_slice(&out));
        } else {
            dc_topic_set(room->crowd, dc_strbuf_slice(&name), dc_strbuf_slice(&out));
        }
    }
    dc_strbuf_free(&name);
    dc_strbuf_free(&out);
}

static void on_member(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    json_t *object = parse(p, m);
    if (object == NULL) {
        return;
    }
    struct dc_slice user_id = dc_json_text(object, "user_id");
    struct dc_slice username = dc_json_text(object, "username");
    struct dc_slice change = dc_json_text(object, "change");
    bool is_away = dc_slice_eq(dc_json_text(object, "status"), DC_S("unavailable"));
    struct dc_city_room *room = dc_city_rooms_find(p->city->rooms, dc_json_text(object, "room_id"));
    if (room == NULL || !dc_id_is_valid(user_id)) {
        json_decref(object);
        return;
    }
    if (username.ptr == NULL) {
        username = DC_S("");
    }
    if (dc_slice_eq(change, DC_S("left"))) {
        struct member *gone = find_member(room, user_id);
        send_crowd(room, "room.leave", DC_S("person:"), user_id, username, DC_SLICE_NULL, NULL,
                   true);
        if (gone != NULL) {
            member_free(room, gone);
        }
    } else {
        bool is_join = dc_slice_eq(change, DC_S("joined"));
        (void)member_put(room, user_id, username, is_away);
        send_crowd(room, is_join ? "room.join" : "room.presence",
                   is_join ? DC_S("person:") : DC_S("status:"), user_id, username,
                   is_join ? DC_SLICE_NULL : status_word(is_away), NULL, false);
    }
    json_decref(object);
}

static void on_typing(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    json_t *object = parse(p, m);
    if (object == NULL) {
        return;
    }
    struct dc_slice user_id = dc_json_text(object, "user_id");
    bool is_typing = json_is_true(json_object_get(object, "typing"));
    struct dc_city_room *room = dc_city_rooms_find(p->city->rooms, dc_json_text(object, "room_id"));
    if (room != NULL && dc_id_is_valid(user_id)) {
        struct member *who = find_member(room, user_id);
        struct dc_slice username = dc_json_text(object, "username");
        if (who != NULL) {
            who->is_typing = is_typing;
        }
        send_crowd(room, "room.typing", DC_S("typing:"), user_id,
                   username.ptr != NULL ? username : DC_S(""), DC_SLICE_NULL, &is_typing,
                   !is_typing);
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

enum dc_status dc_people_create(struct dc_city *city, struct dc_city_people **out,
                                struct dc_error *err)
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
    struct dc_city_people *p = dc_calloc(1, sizeof(*p));
    uint64_t seed[2];
    p->city = city;
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&p->users, seed);
    dc_list_init(&p->user_order);
    p->rooms_topic = make_topic(city, 'r');
    p->users_topic = make_topic(city, 'u');
    p->summary_topic = make_topic(city, 's');
    dc_timer_init(city->ctx->loop, &p->summary_timer, on_summary_timer);
    *out = p;
    for (size_t i = 0; i < DC_ARRAY_LEN(subs); i++) {
        const struct dc_bus_sub_opts opts = {.pattern = dc_slice_z(subs[i].pattern),
                                             .start = subs[i].start};
        enum dc_status st =
            dc_bus_subscribe(city->ctx->bus, &opts, subs[i].cb, p, &p->subs[i], err);
        if (st != DC_OK) {
            dc_people_destroy(p);
            *out = NULL;
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
    for (size_t i = 0; i < DC_ARRAY_LEN(p->subs); i++) {
        dc_bus_unsubscribe(p->subs[i]);
    }
    DC_LIST_FOREACH_SAFE (it, &p->user_order) {
        user_forget(p, DC_LIST_ENTRY(it, struct user, link));
    }
    for (struct dc_city_room *room = dc_city_rooms_next(p->city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(p->city->rooms, room)) {
        DC_LIST_FOREACH_SAFE (it, &room->people.members) {
            member_free(room, DC_LIST_ENTRY(it, struct member, link));
        }
    }
    dc_map_free(&p->users);
    dc_blob_unref(p->snapshot);
    dc_blob_unref(p->bulk);
    dc_topic_destroy(p->rooms_topic);
    dc_topic_destroy(p->users_topic);
    dc_topic_destroy(p->summary_topic);
    dc_timer_close(&p->summary_timer, on_timer_closed); /* frees p */
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
