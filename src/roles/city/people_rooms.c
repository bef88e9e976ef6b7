/* The gateway's view of presence: the people of each room, by name. */
#include "roles/city/people_priv.h"

#include "base/mem.h"

static void set_away(struct dc_city_room *room, struct dc_city_member *m, bool is_away)
{
    if (m->is_away != is_away) {
        m->is_away = is_away;
        room->people.away_by_name =
            is_away ? room->people.away_by_name + 1 : room->people.away_by_name - 1;
    }
}

static void forget(struct dc_city_room *room, struct dc_city_member *m)
{
    set_away(room, m, false);
    (void)dc_map_remove(&room->people.by_user, m->user_id);
    dc_list_remove(&m->link);
    dc_list_remove(&m->typing_link);
    dc_free(m);
}

static struct dc_city_member *find(const struct dc_city_room *room, struct dc_slice user_id)
{
    return dc_map_get(&room->people.by_user, user_id);
}

struct dc_city_member *dc_people_put_member(struct dc_city_room *room, struct dc_slice user_id,
                                            struct dc_slice username, bool is_away, int64_t gen)
{
    struct dc_city_member *m = find(room, user_id);
    if (m == NULL) {
        m = dc_calloc(1, sizeof(*m) + user_id.len + username.len);
        memcpy(m->text, user_id.ptr, user_id.len);
        if (username.len > 0) {
            memcpy(m->text + user_id.len, username.ptr, username.len);
        }
        m->user_id = dc_slice_make(m->text, user_id.len);
        m->username = dc_slice_make(m->text + user_id.len, username.len);
        m->gen = gen;
        dc_list_init(&m->typing_link);
        (void)dc_map_put(&room->people.by_user, m->user_id, m);
        dc_list_push_back(&room->people.present, &m->link);
    } else if (gen > m->gen) {
        m->gen = gen; /* keeps the list sorted: generations only grow */
        dc_list_remove(&m->link);
        dc_list_push_back(&room->people.present, &m->link);
    }
    set_away(room, m, is_away);
    return m;
}

/* --- looking --- */

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
    return find(room, user_id) != NULL;
}

/* --- what the leader says --- */

static bool types(const struct dc_city_member *m)
{
    return !dc_list_is_empty(&m->typing_link);
}

void dc_people_typing_changed(struct dc_city_room *room, struct dc_slice user_id,
                              struct dc_slice username, bool is_typing)
{
    struct dc_city_member *m = find(room, user_id);
    if (m != NULL) {
        dc_list_remove(&m->typing_link);
        if (is_typing) {
            dc_list_push_back(&room->people.typing, &m->typing_link);
        }
    }
    dc_people_send_typing(room, user_id, username, is_typing);
}

void dc_people_member_left(struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username)
{
    struct dc_city_member *m = find(room, user_id);
    if (m != NULL && types(m)) {
        dc_people_typing_changed(room, user_id, username, false); /* not ended in words */
    }
    dc_people_send_left(room, user_id, username);
    if (m != NULL) {
        forget(room, m);
    }
}

void dc_people_member_changed(struct dc_city_room *room, struct dc_slice user_id,
                              struct dc_slice username, enum dc_presence_status status, bool is_new,
                              int64_t gen)
{
    struct dc_city_member *m = find(room, user_id);
    if (status != DC_PRESENCE_OFFLINE) {
        (void)dc_people_put_member(room, user_id, username, status == DC_PRESENCE_AWAY, gen);
    } else if (m != NULL) {
        forget(room, m);
    }
    if (is_new) {
        dc_people_send_joined(room, user_id, username);
    } else {
        dc_people_send_status(room, user_id, username, dc_slice_z(dc_presence_status_word(status)));
    }
}

void dc_people_member_restated(struct dc_city_room *room, struct dc_slice user_id,
                               struct dc_slice username, bool is_away, bool is_typing, int64_t gen)
{
    struct dc_city_member *m = find(room, user_id);
    bool is_new = m == NULL;
    bool is_news = is_new || m->is_away != is_away;
    m = dc_people_put_member(room, user_id, username, is_away, gen);
    if (is_new) {
        dc_people_send_joined(room, user_id, username);
    }
    if (is_news && !(is_new && !is_away)) {
        dc_people_send_status(room, user_id, username, dc_people_status_word(is_away));
    }
    if (types(m) != is_typing) {
        dc_people_typing_changed(room, user_id, username, is_typing);
    }
}

void dc_people_members_whole(struct dc_city_room *room, int64_t gen)
{
    struct dc_room_people *people = &room->people;
    while (!dc_list_is_empty(&people->present)) {
        struct dc_city_member *m = DC_LIST_ENTRY(people->present.next, struct dc_city_member, link);
        if (m->gen >= gen) {
            break;
        }
        /* Its texts are in use until it is forgotten, which comes last. */
        dc_people_member_left(room, m->user_id, m->username);
    }
    people->members_gen = gen;
    people->is_sample = false;
}

void dc_people_forget_room(struct dc_city_room *room)
{
    DC_LIST_FOREACH_SAFE (it, &room->people.present) {
        forget(room, DC_LIST_ENTRY(it, struct dc_city_member, link));
    }
}
