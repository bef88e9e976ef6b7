/* The view of presence as frames: first frames of a socket, increments, the summary, and what the
 * sockets in a room hear of each other.  Nothing here changes the view. */
#include "roles/city/people_priv.h"

#include "net/ws_codec.h"

#define BULK_USERS_MAX 1000
/* Entries of a first frame that are written in a millisecond at most, on average: a burst of
 * clients while the city changes costs a bounded share of the loop, whatever its size. */
#define ENTRIES_A_MS 100

/* Everywhere the same: people that this gateway knows to be online, not throttled by itself; only
 * the frames that tell of it are. */
static void write_totals(const struct dc_city_people *p, struct dc_jsonw *w)
{
    dc_jsonw_key_i64(w, "online_total", (int64_t)p->users.count);
    dc_jsonw_key_i64(w, "away_total", p->users_away);
}

/* What was made at made_ms with n entries may be made again. */
static bool is_due(const struct dc_city_people *p, int64_t made_ms, size_t n)
{
    return dc_people_now_ms(p) - made_ms >= (int64_t)(n / ENTRIES_A_MS);
}

/* --- summary (SSE) --- */

static void write_summary_room(const struct dc_city_room *room, struct dc_jsonw *w)
{
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "room_id", room->row.id);
    dc_jsonw_key_text(w, "room_slug", room->row.slug);
    dc_jsonw_key_text(w, "matrix_room_id", room->row.matrix_room_id);
    dc_jsonw_key_i64(w, "online", room->people.online_count);
    dc_jsonw_key_i64(w, "away", room->people.away_count);
    dc_jsonw_key_i64(w, "typing", room->people.typing_count);
    dc_jsonw_key(w, "agents");
    dc_jsonw_array(w);
    dc_jsonw_end(w);
    dc_jsonw_end(w);
}

/* From the member "city" to the last; the object stays open. */
static void write_summary_body(const struct dc_city_people *p, struct dc_jsonw *w)
{
    const struct dc_city_rooms *rooms = p->city->rooms;
    const struct dc_city_room *room;
    int64_t rooms_online = 0;
    for (room = dc_city_rooms_next(rooms, NULL); room != NULL;
         room = dc_city_rooms_next(rooms, room)) {
        rooms_online += room->people.online_count > 0 ? 1 : 0;
    }
    dc_jsonw_key_text(w, "state", dc_people_state_word(p));
    dc_jsonw_key(w, "city");
    dc_jsonw_object(w);
    write_totals(p, w);
    dc_jsonw_key_i64(w, "rooms_online", rooms_online);
    dc_jsonw_key_i64(w, "agents_online", 0);
    dc_jsonw_end(w);
    dc_jsonw_key(w, "rooms");
    dc_jsonw_array(w);
    for (room = dc_city_rooms_next(rooms, NULL); room != NULL;
         room = dc_city_rooms_next(rooms, room)) {
        write_summary_room(room, w);
    }
    dc_jsonw_end(w);
    dc_jsonw_key(w, "agents");
    dc_jsonw_array(w);
    dc_jsonw_end(w);
}

/* Makes the document anew if anything has changed and is_due; false: it is behind. */
static bool refresh_summary(struct dc_city_people *p, bool is_due)
{
    size_t n_rooms = dc_city_rooms_count(p->city->rooms);
    bool is_made = p->summary.len > 0 && dc_strbuf_ok(&p->summary);
    if (is_made && p->summary_version == p->version && p->summary_rooms == n_rooms) {
        return true;
    }
    if (is_made && !is_due) {
        return false;
    }
    struct dc_jsonw w;
    dc_strbuf_clear(&p->summary);
    dc_jsonw_init(&w, &p->summary);
    dc_jsonw_object(&w);
    write_summary_body(p, &w);
    p->summary_version = p->version;
    p->summary_rooms = n_rooms;
    p->summary_made_ms = dc_people_now_ms(p);
    return true;
}

static void write_summary(const struct dc_city_people *p, struct dc_strbuf *out)
{
    struct dc_jsonw w;
    struct dc_slice body = dc_strbuf_slice(&p->summary);
    dc_jsonw_init(&w, out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("presence_update"));
    dc_jsonw_key_utc(&w, "timestamp", dc_utc_now());
    dc_strbuf_add_char(out, ',');
    if (dc_strbuf_ok(&p->summary) && body.len > 0) {
        dc_strbuf_add(out, dc_slice_make(body.ptr + 1, body.len - 1)); /* without its brace */
    } else {
        out->failed = true; /* there was no memory for it */
    }
}

static void schedule_summary(struct dc_city_people *p)
{
    p->summary_is_waiting = true;
    dc_timer_start(&p->summary_timer,
                   (uint64_t)p->city->ctx->settings->presence_summary_interval_ms, 0);
}

void dc_people_write_summary(struct dc_city_people *p, struct dc_strbuf *out)
{
    if (!refresh_summary(p, is_due(p, p->summary_made_ms, dc_city_rooms_count(p->city->rooms)))) {
        p->summary_is_dirty = true; /* who follows the stream gets what is missing here */
        if (!p->summary_is_waiting) {
            schedule_summary(p);
        }
    }
    write_summary(p, out);
}

static void publish_summary(struct dc_city_people *p)
{
    struct dc_strbuf out = {0};
    p->summary_is_dirty = false;
    if (dc_topic_member_count(p->summary_topic) == 0) {
        return; /* whoever comes gets all of it at once */
    }
    (void)refresh_summary(p, true);
    write_summary(p, &out);
    if (dc_strbuf_ok(&out)) {
        dc_topic_set(p->summary_topic, DC_S("city"), dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
    schedule_summary(p);
}

void dc_people_on_summary_timer(struct dc_timer *t)
{
    struct dc_city_people *p = DC_CONTAINER_OF(t, struct dc_city_people, summary_timer);
    p->summary_is_waiting = false;
    if (p->summary_is_dirty) {
        publish_summary(p);
    }
}

void dc_people_summary_changed(struct dc_city_people *p)
{
    p->version++;
    p->summary_is_dirty = true;
    if (!p->summary_is_waiting) {
        publish_summary(p);
    }
}

/* --- counts --- */

static void write_counts(const struct dc_city_room *room, struct dc_jsonw *w)
{
    const struct dc_room_people *people = &room->people;
    dc_jsonw_key_text(w, "room_slug", room->row.slug);
    dc_jsonw_key_text(w, "room_id", room->row.id);
    dc_jsonw_key_i64(w, "online_count", people->online_count);
    dc_jsonw_key_i64(w, "away_count", people->away_count);
    dc_jsonw_key_i64(w, "typing_count", people->typing_count);
    dc_jsonw_key_raw(w, "typing_users",
                     people->typing_users.len > 0 ? dc_strbuf_slice(&people->typing_users)
                                                  : DC_S("[]"));
}

/* A first frame that stands at an earlier offset is as good as a new one: the topic gives what has
 * changed since.  So it is made again only when it is due, or when the topic has lost the way. */
static bool is_usable(const struct dc_city_people *p, const struct dc_people_first *f,
                      const struct dc_topic *topic, size_t n)
{
    if (f->blob == NULL || f->rooms != dc_city_rooms_count(p->city->rooms)) {
        return false;
    }
    bool is_current = f->offset == dc_topic_offset(topic) && f->online == p->users.count &&
                      f->away == p->users_away;
    return is_current || (!is_due(p, f->made_ms, n) &&
                          dc_topic_can_resume(topic, dc_topic_epoch(topic), f->offset));
}

/* Closes and frames what has been written for topic. */
static void keep_first(const struct dc_city_people *p, struct dc_people_first *f,
                       const struct dc_topic *topic, struct dc_strbuf *out)
{
    f->offset = dc_topic_offset(topic);
    f->rooms = dc_city_rooms_count(p->city->rooms);
    f->online = p->users.count;
    f->away = p->users_away;
    f->made_ms = dc_people_now_ms(p);
    dc_topic_write_cursor(topic, f->offset, out);
    dc_blob_unref(f->blob);
    f->blob = dc_strbuf_ok(out) ? dc_ws_frame(DC_WS_TEXT, dc_strbuf_slice(out)) : NULL;
    dc_strbuf_free(out);
}

struct dc_blob *dc_people_snapshot(struct dc_city_people *p, uint64_t *offset)
{
    const struct dc_city_rooms *rooms = p->city->rooms;
    if (!is_usable(p, &p->snapshot, p->rooms_topic, dc_city_rooms_count(rooms))) {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        dc_jsonw_init(&w, &out);
        dc_jsonw_object(&w);
        dc_jsonw_key_text(&w, "type", DC_S("snapshot"));
        dc_jsonw_key_text(&w, "state", dc_people_state_word(p));
        dc_jsonw_key(&w, "rooms");
        dc_jsonw_array(&w);
        for (const struct dc_city_room *room = dc_city_rooms_next(rooms, NULL); room != NULL;
             room = dc_city_rooms_next(rooms, room)) {
            dc_jsonw_object(&w);
            write_counts(room, &w);
            dc_jsonw_end(&w);
        }
        dc_jsonw_end(&w);
        dc_jsonw_key(&w, "city");
        dc_jsonw_object(&w);
        write_totals(p, &w);
        dc_jsonw_end(&w);
        keep_first(p, &p->snapshot, p->rooms_topic, &out);
    }
    *offset = p->snapshot.offset;
    return p->snapshot.blob;
}

void dc_people_send_room(struct dc_city_people *p, const struct dc_city_room *room)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("room.presence"));
    write_counts(room, &w);
    dc_jsonw_key_i64(&w, "last_event_ts", room->people.last_event_ts);
    if (dc_strbuf_ok(&out)) {
        dc_topic_set(p->rooms_topic, room->row.id, dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
}

static void send_totals(struct dc_city_people *p)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    p->sent_online = (uint32_t)p->users.count;
    p->sent_away = p->users_away;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("city.presence"));
    dc_jsonw_key_text(&w, "state", dc_people_state_word(p));
    write_totals(p, &w);
    if (dc_strbuf_ok(&out)) {
        dc_topic_set(p->rooms_topic, DC_S("#city #"),
                     dc_strbuf_slice(&out)); /* ids have no blank */
    }
    dc_strbuf_free(&out);
    p->totals_are_waiting = true;
    dc_timer_start(&p->totals_timer, (uint64_t)p->city->ctx->settings->room_presence_throttle_ms,
                   0);
}

static bool totals_differ(const struct dc_city_people *p)
{
    return p->sent_online != p->users.count || p->sent_away != p->users_away;
}

void dc_people_on_totals_timer(struct dc_timer *t)
{
    struct dc_city_people *p = DC_CONTAINER_OF(t, struct dc_city_people, totals_timer);
    p->totals_are_waiting = false;
    if (totals_differ(p)) {
        send_totals(p);
    }
}

void dc_people_totals_changed(struct dc_city_people *p, bool is_news)
{
    if (is_news || (!p->totals_are_waiting && totals_differ(p))) {
        send_totals(p);
    }
}

/* --- users --- */

struct dc_blob *dc_people_bulk_update(struct dc_city_people *p, uint64_t *offset)
{
    size_t max = p->users.count < BULK_USERS_MAX ? p->users.count : BULK_USERS_MAX;
    if (!is_usable(p, &p->bulk, p->users_topic, max)) {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        size_t n = 0;
        dc_jsonw_init(&w, &out);
        dc_jsonw_object(&w);
        dc_jsonw_key_text(&w, "event", DC_S("presence.bulk_update"));
        dc_jsonw_key(&w, "users");
        dc_jsonw_array(&w);
        DC_LIST_FOREACH (it, &p->user_order) {
            const struct dc_city_user *u = DC_LIST_ENTRY(it, struct dc_city_user, link);
            if (n++ == BULK_USERS_MAX) {
                break;
            }
            dc_jsonw_object(&w);
            dc_jsonw_key_text(&w, "user_id", u->user_id);
            dc_jsonw_key_text(&w, "status", dc_people_status_word(u->is_away));
            dc_jsonw_end(&w);
        }
        dc_jsonw_end(&w);
        dc_jsonw_key_bool(&w, "truncated", n > BULK_USERS_MAX);
        keep_first(p, &p->bulk, p->users_topic, &out);
    }
    *offset = p->bulk.offset;
    return p->bulk.blob;
}

void dc_people_send_user(struct dc_city_people *p, struct dc_slice user_id, struct dc_slice status)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("presence.update"));
    dc_jsonw_key_text(&w, "user_id", user_id);
    dc_jsonw_key_text(&w, "status", status);
    if (!dc_strbuf_ok(&out)) {
        dc_strbuf_free(&out);
        return;
    }
    if (dc_slice_eq(status, DC_S("offline"))) {
        dc_topic_end(p->users_topic, user_id, dc_strbuf_slice(&out));
    } else {
        dc_topic_set(p->users_topic, user_id, dc_strbuf_slice(&out));
    }
    dc_strbuf_free(&out);
}

/* --- the crowd of a room --- */

static void crowd_begin(const struct dc_city_room *room, const char *event_z,
                        struct dc_slice user_id, struct dc_slice username, struct dc_strbuf *out,
                        struct dc_jsonw *w)
{
    dc_jsonw_init(w, out);
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "event", dc_slice_z(event_z));
    dc_jsonw_key_text(w, "room_id", room->row.id);
    dc_jsonw_key_text(w, "user_id", user_id);
    dc_jsonw_key_text(w, "username", username.ptr != NULL ? username : DC_S(""));
}

/* Ends the frame with the chat's cursor and gives it to the crowd under kind_z and the user, then
 * frees it. Nobody resumes a crowd, so a key that is_ending is only there to conflate; what is not
 * ending is remembered for as long as the topic lives, so it must be ended one day. */
static void crowd_send(const struct dc_city_room *room, const char *kind_z, struct dc_slice user_id,
                       bool is_ending, struct dc_strbuf *out)
{
    struct dc_strbuf key = {0};
    dc_topic_write_cursor(room->chat, dc_topic_offset(room->chat), out);
    dc_strbuf_add_z(&key, kind_z);
    dc_strbuf_add(&key, user_id);
    if (dc_strbuf_ok(out) && dc_strbuf_ok(&key)) {
        if (is_ending) {
            dc_topic_end(room->crowd, dc_strbuf_slice(&key), dc_strbuf_slice(out));
        } else {
            dc_topic_set(room->crowd, dc_strbuf_slice(&key), dc_strbuf_slice(out));
        }
    }
    dc_strbuf_free(&key);
    dc_strbuf_free(out);
}

void dc_people_send_joined(const struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username)
{
    if (room->crowd != NULL) {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        crowd_begin(room, "room.join", user_id, username, &out, &w);
        crowd_send(room, "person:", user_id, false, &out);
    }
}

void dc_people_send_left(const struct dc_city_room *room, struct dc_slice user_id,
                         struct dc_slice username)
{
    if (room->crowd != NULL) {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        crowd_begin(room, "room.leave", user_id, username, &out, &w);
        crowd_send(room, "person:", user_id, true, &out);
    }
}

void dc_people_send_status(const struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username, struct dc_slice status)
{
    if (room->crowd != NULL) {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        crowd_begin(room, "room.presence", user_id, username, &out, &w);
        dc_jsonw_key_text(&w, "status", status);
        /* No frame ends a status but room.leave, which has the key of room.join. */
        crowd_send(room, "status:", user_id, true, &out);
    }
}

void dc_people_send_typing(const struct dc_city_room *room, struct dc_slice user_id,
                           struct dc_slice username, bool is_typing)
{
    if (room->crowd != NULL) {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        crowd_begin(room, "room.typing", user_id, username, &out, &w);
        dc_jsonw_key_bool(&w, "typing", is_typing);
        crowd_send(room, "typing:", user_id, !is_typing, &out);
    }
}
