/* The gateway's view of presence: what the leader says on the bus (roles/presence_event.h). */
#include "roles/city/people_priv.h"

#include "base/input.h"
#include "base/mem.h"

static json_t *parse(const struct dc_city_people *p, const struct dc_bus_message *m)
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

/* The object of a message that the leader of today has sent; NULL: nothing to be heard.  Something
 * that says nothing of terms has not been sent by a leader. */
static json_t *hear(struct dc_city_people *p, enum dc_people_domain_id id,
                    const struct dc_bus_message *m, int64_t *gen)
{
    json_t *object = parse(p, m);
    if (object != NULL && !dc_people_accept(p, id, object, gen)) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

static bool is_marker(const struct dc_bus_message *m)
{
    return dc_slice_ends(m->subject, DC_S("." DC_PRESENCE_MARKER));
}

/* Somebody with a Matrix client alone has his Matrix id.  Ids become keys of topics, whose length
 * is bounded. */
static bool user_of(const json_t *object, struct dc_slice *user_id)
{
    *user_id = dc_json_text(object, "user_id");
    return dc_author_id_is_valid(*user_id);
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

/* How old a change on the homeserver is, now that its frame has been handed to the hub. Clocks of
 * two machines may differ: a change from the future has taken no time. */
static void note_age(struct dc_histogram *h, const json_t *object, const char *key_z)
{
    int64_t at_ms = dc_presence_number(object, key_z);
    int64_t now_ms = dc_utc_now().ms;
    if (at_ms > 0) {
        dc_histogram_observe_us(h, now_ms > at_ms ? (uint64_t)(now_ms - at_ms) * 1000 : 0);
    }
}

static void note_ages(const struct dc_city_people *p, const struct dc_bus_message *m,
                      const json_t *object)
{
    if (!m->is_replay) {
        note_age(p->heard_to_frame, object, "heard_ts");
        note_age(p->change_to_frame, object, "changed_ts");
    }
}

/* --- rooms --- */

/* As text; empty: none can be written. */
static void write_typing_users(const json_t *ids, struct dc_strbuf *out)
{
    struct dc_jsonw w;
    size_t i;
    json_t *id;
    dc_jsonw_init(&w, out);
    dc_jsonw_array(&w);
    json_array_foreach(ids, i, id)
    {
        if (json_is_string(id)) {
            dc_jsonw_text(&w, dc_slice_make(json_string_value(id), json_string_length(id)));
        }
    }
    dc_jsonw_end(&w);
    if (!dc_strbuf_ok(out)) {
        dc_strbuf_free(out);
        *out = (struct dc_strbuf){0};
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
            (void)dc_people_put_member(room, user_id, dc_json_text(person, "username"),
                                       status == DC_PRESENCE_AWAY, 0);
        }
    }
}

static struct dc_slice or_nobody(const struct dc_strbuf *ids)
{
    return ids->len > 0 ? dc_strbuf_slice(ids) : DC_S("[]");
}

/* Takes typing over. False: it was the state already. */
static bool set_counts(struct dc_room_people *people, uint32_t online, uint32_t away,
                       uint32_t n_typing, struct dc_strbuf *typing)
{
    bool is_news = people->online_count != online || people->away_count != away ||
                   people->typing_count != n_typing ||
                   !dc_slice_eq(or_nobody(&people->typing_users), or_nobody(typing));
    people->online_count = online;
    people->away_count = away;
    people->typing_count = n_typing;
    dc_strbuf_free(&people->typing_users);
    people->typing_users = *typing;
    *typing = (struct dc_strbuf){0};
    return is_news;
}

void dc_people_take_counts(struct dc_city_people *p, struct dc_city_room *room,
                           const json_t *object, bool is_replay, int64_t gen)
{
    struct dc_room_people *people = &room->people;
    struct dc_strbuf typing = {0};
    write_typing_users(json_object_get(object, "typing_users"), &typing);
    people->counts_gen = gen;
    people->last_event_ts = json_integer_value(json_object_get(object, "last_event_ts"));
    bool is_news =
        set_counts(people, count_of(object, "online_count"), count_of(object, "away_count"),
                   count_of(object, "typing_count"), &typing);
    if (is_replay && dc_list_is_empty(&people->present)) {
        take_sample(room, json_object_get(object, "online_users"));
        people->is_sample = true;
    }
    /* Until all of them have come or gone. */
    people->is_sample = people->is_sample && people->by_user.count != people->online_count;
    if (is_news) {
        dc_people_send_room(p, room);
        dc_people_summary_changed(p);
    }
}

/* Rooms that the leader has not said again are empty. */
static void rooms_synced(struct dc_city_people *p, int64_t gen)
{
    if (!dc_people_synced(p, DC_PEOPLE_ROOMS, gen)) {
        return;
    }
    for (struct dc_city_room *room = dc_city_rooms_next(p->city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(p->city->rooms, room)) {
        struct dc_strbuf nobody = {0};
        if (room->people.counts_gen < gen && set_counts(&room->people, 0, 0, 0, &nobody)) {
            dc_people_send_room(p, room);
            dc_people_summary_changed(p);
        }
    }
}

static void on_room(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    int64_t gen = 0;
    json_t *object = hear(p, DC_PEOPLE_ROOMS, m, &gen);
    if (object == NULL) {
        return;
    }
    struct dc_slice room_id = dc_json_text(object, "room_id");
    struct dc_city_room *room = dc_city_rooms_find(p->city->rooms, room_id);
    if (is_marker(m)) {
        rooms_synced(p, gen);
    } else if (room != NULL) {
        dc_people_take_counts(p, room, object, m->is_replay, gen);
        note_ages(p, m, object);
    } else {
        dc_people_keep_for_later(p, room_id, object, false);
    }
    json_decref(object);
}

/* --- users --- */

static void on_user(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    struct dc_slice user_id;
    enum dc_presence_status status;
    int64_t gen = 0;
    json_t *object = hear(p, DC_PEOPLE_USERS, m, &gen);
    if (object == NULL) {
        return;
    }
    if (is_marker(m)) {
        if (dc_people_synced(p, DC_PEOPLE_USERS, gen)) {
            dc_people_prune_users(p, gen);
        }
    } else if (user_of(object, &user_id) && status_of(object, &status)) {
        dc_people_set_user(p, user_id, status, gen);
        note_ages(p, m, object);
    }
    json_decref(object);
}

/* --- members --- */

static void members_synced(struct dc_city_people *p, int64_t gen)
{
    if (!dc_people_synced(p, DC_PEOPLE_MEMBERS, gen)) {
        return;
    }
    for (struct dc_city_room *room = dc_city_rooms_next(p->city->rooms, NULL); room != NULL;
         room = dc_city_rooms_next(p->city->rooms, room)) {
        if (room->people.members_gen < gen) {
            dc_people_members_whole(room, gen); /* nobody was named: nobody is there */
        }
    }
}

/* A part of a room's whole list. */
static void take_members(const struct dc_city_people *p, struct dc_city_room *room,
                         const json_t *object, int64_t gen)
{
    size_t i;
    json_t *person;
    json_array_foreach(json_object_get(object, "members"), i, person)
    {
        struct dc_slice user_id;
        enum dc_presence_status status;
        if (user_of(person, &user_id) && status_of(person, &status) &&
            status != DC_PRESENCE_OFFLINE) {
            dc_people_member_restated(room, user_id, dc_json_text(person, "username"),
                                      status == DC_PRESENCE_AWAY,
                                      json_is_true(json_object_get(person, "typing")), gen);
        }
    }
    if (json_is_true(json_object_get(object, "last")) &&
        gen > p->domains[DC_PEOPLE_MEMBERS].broken_gen) {
        dc_people_members_whole(room, gen);
    }
}

static void take_member(struct dc_city_people *p, struct dc_city_room *room, const json_t *object,
                        int64_t gen)
{
    struct dc_slice user_id;
    enum dc_presence_status status;
    struct dc_slice change = dc_json_text(object, "change");
    struct dc_slice username = dc_json_text(object, "username");
    bool is_new = dc_slice_eq(change, DC_S("joined"));
    if (dc_slice_eq(change, DC_S("set"))) {
        take_members(p, room, object, gen);
    } else if (!user_of(object, &user_id)) {
        return;
    } else if (dc_slice_eq(change, DC_S("left"))) {
        dc_people_member_left(room, user_id, username);
    } else if ((is_new || dc_slice_eq(change, DC_S("status"))) && status_of(object, &status)) {
        dc_people_member_changed(room, user_id, username, status, is_new, gen);
    }
}

static void on_member(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    int64_t gen = 0;
    json_t *object = hear(p, DC_PEOPLE_MEMBERS, m, &gen);
    if (object == NULL) {
        return;
    }
    struct dc_slice room_id = dc_json_text(object, "room_id");
    struct dc_city_room *room = dc_city_rooms_find(p->city->rooms, room_id);
    if (is_marker(m)) {
        members_synced(p, gen);
    } else if (room != NULL) {
        take_member(p, room, object, gen);
    } else {
        dc_people_keep_for_later(p, room_id, NULL, true);
    }
    json_decref(object);
}

static void on_typing(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    struct dc_slice user_id;
    int64_t gen = 0;
    json_t *object = hear(p, DC_PEOPLE_TYPING, m, &gen);
    if (object == NULL) {
        return;
    }
    struct dc_city_room *room = dc_city_rooms_find(p->city->rooms, dc_json_text(object, "room_id"));
    if (room != NULL && user_of(object, &user_id)) {
        dc_people_typing_changed(room, user_id, dc_json_text(object, "username"),
                                 json_is_true(json_object_get(object, "typing")));
    }
    json_decref(object);
}

static void on_leader(void *data, const struct dc_bus_message *m)
{
    struct dc_city_people *p = data;
    json_t *object = parse(p, m);
    if (object != NULL) {
        dc_people_hear_leader(p, object);
    }
    json_decref(object);
}

/* --- subscriptions --- */

static void users_caught_up(void *data)
{
    dc_people_caught_up(data, DC_PEOPLE_USERS);
}

static void rooms_caught_up(void *data)
{
    dc_people_caught_up(data, DC_PEOPLE_ROOMS);
}

static void users_interrupted(void *data)
{
    dc_people_interrupted(data, DC_PEOPLE_USERS);
}

static void rooms_interrupted(void *data)
{
    dc_people_interrupted(data, DC_PEOPLE_ROOMS);
}

/* Who types is in the lists of members too. */
static void members_interrupted(void *data)
{
    dc_people_interrupted(data, DC_PEOPLE_MEMBERS);
}

void dc_people_unsubscribe(struct dc_city_people *p)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(p->domains); i++) {
        dc_bus_unsubscribe(p->domains[i].sub);
        p->domains[i].sub = NULL;
    }
}

enum dc_status dc_people_subscribe(struct dc_city_people *p, struct dc_error *err)
{
    static const struct {
        const char *pattern;
        enum dc_bus_start start;
        dc_bus_cb cb;
        void (*caught_up)(void *data);
        void (*interrupted)(void *data);
    } subs[DC_PEOPLE_DOMAINS] = {
        [DC_PEOPLE_USERS] = {"city.presence.user.*", DC_BUS_LAST, on_user, users_caught_up,
                             users_interrupted},
        [DC_PEOPLE_ROOMS] = {"city.presence.room.*", DC_BUS_LAST, on_room, rooms_caught_up,
                             rooms_interrupted},
        [DC_PEOPLE_MEMBERS] = {"city.member.*", DC_BUS_NEW, on_member, NULL, members_interrupted},
        [DC_PEOPLE_TYPING] = {"city.typing.*", DC_BUS_NEW, on_typing, NULL, members_interrupted},
        [DC_PEOPLE_LEADER] = {DC_PRESENCE_LEADER, DC_BUS_NEW, on_leader, NULL, NULL}};
    for (size_t i = 0; i < DC_ARRAY_LEN(subs); i++) {
        const struct dc_bus_sub_opts opts = {.pattern = dc_slice_z(subs[i].pattern),
                                             .start = subs[i].start,
                                             .caught_up = subs[i].caught_up,
                                             .interrupted = subs[i].interrupted};
        enum dc_status st =
            dc_bus_subscribe(p->city->ctx->bus, &opts, subs[i].cb, p, &p->domains[i].sub, err);
        if (st != DC_OK) {
            dc_people_unsubscribe(p);
            return st;
        }
    }
    return DC_OK;
}
