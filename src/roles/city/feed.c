/* The feed as sockets get it. */
#include "roles/city/feed.h"

#include "base/mem.h"
#include "base/random.h"

/* Events are dated by the process that wrote them, before their commit: so far behind the newest
 * one seen there may be some that came later. */
#define OVERLAP_MS 5000
#define READ_MAX   1000
#define ID_MAX     64

struct seen {
    size_t len;
    char id[ID_MAX];
};

struct dc_feed {
    struct dc_utc newest; /* of the events seen; at first: the start */
    struct dc_map by_id;
    size_t n_seen, next; /* in the ring; next: the oldest, once it is full */
    struct seen seen[DC_FEED_SEEN_MAX];
    bool is_reading, has_missed_more;
};

struct dc_feed *dc_feed_create(struct dc_city *city)
{
    struct dc_feed *f = dc_calloc(1, sizeof(*f));
    uint64_t seed[2];
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&f->by_id, seed);
    f->newest = dc_utc_now();
    city->duplicate_events =
        dc_metrics_counter(city->ctx->metrics, "daarion_city_duplicates_total", "what=\"event\"",
                           "Messages and events that the bus brought again");
    return f;
}

void dc_feed_destroy(struct dc_feed *f)
{
    if (f != NULL) {
        dc_map_free(&f->by_id);
        dc_free(f);
    }
}

/* false: it has been seen.  An id that is no id of ours is not remembered. */
static bool remember(struct dc_feed *f, struct dc_slice id, struct dc_utc at)
{
    if (id.len == 0 || id.len > ID_MAX) {
        return true;
    }
    if (dc_map_get(&f->by_id, id) != NULL) {
        return false;
    }
    struct seen *place = &f->seen[f->next];
    if (f->n_seen == DC_FEED_SEEN_MAX) {
        (void)dc_map_remove(&f->by_id, dc_slice_make(place->id, place->len));
    } else {
        f->n_seen++;
    }
    f->next = (f->next + 1) % DC_FEED_SEEN_MAX;
    memcpy(place->id, id.ptr, id.len);
    place->len = id.len;
    (void)dc_map_put(&f->by_id, dc_slice_make(place->id, place->len), place);
    if (f->newest.ms < at.ms) {
        f->newest = at;
    }
    return true;
}

/* --- frames --- */

static void give(struct dc_city *city, struct dc_strbuf *frame)
{
    if (dc_strbuf_ok(frame)) {
        dc_topic_publish(city->feed, dc_topic_offset(city->feed) + 1, dc_strbuf_slice(frame));
    }
    dc_strbuf_free(frame);
}

static void give_event(struct dc_city *city, struct dc_slice text)
{
    struct dc_strbuf frame = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &frame);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("feed.event"));
    dc_jsonw_key_raw(&w, "event", text);
    give(city, &frame);
}

static void give_reset(struct dc_city *city)
{
    struct dc_strbuf frame = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &frame);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("reset"));
    dc_jsonw_key_text(&w, "reason", DC_S("too_far_behind"));
    give(city, &frame);
}

void dc_feed_event(struct dc_city *city, const json_t *event, struct dc_slice text)
{
    struct dc_utc at = {0};
    if (!dc_utc_parse(dc_json_text(event, "created_at"), &at)) {
        at = dc_utc_now();
    }
    if (!remember(city->feed_seen, dc_json_text(event, "id"), at)) {
        city->duplicate_events->value++;
    } else if (dc_topic_member_count(city->feed) > 0) {
        give_event(city, text);
    }
}

void dc_feed_room(struct dc_city *city, const char *type_z, const struct dc_city_room *room)
{
    struct dc_strbuf frame = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &frame);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", dc_slice_z(type_z));
    dc_jsonw_key(&w, "room");
    dc_jsonw_object(&w);
    dc_city_room_write(room, &w);
    dc_jsonw_end(&w);
    give(city, &frame);
}

/* --- what the bus did not bring --- */

static size_t count_missed(const struct dc_feed *f, const struct dc_db_result *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < dc_db_rows(rows); i++) {
        struct dc_feed_event e;
        dc_repo_read_feed(rows, i, &e);
        n += dc_map_get(&f->by_id, e.id) == NULL ? 1 : 0;
    }
    return n;
}

static void give_missed(struct dc_city *city, const struct dc_db_result *rows)
{
    for (size_t i = 0; i < dc_db_rows(rows); i++) {
        struct dc_feed_event e;
        struct dc_strbuf text = {0};
        struct dc_jsonw w;
        dc_repo_read_feed(rows, i, &e);
        if (!remember(city->feed_seen, e.id, e.created_at)) {
            continue;
        }
        dc_jsonw_init(&w, &text);
        dc_feed_event_write(&e, &w);
        if (dc_strbuf_ok(&text)) {
            give_event(city, dc_strbuf_slice(&text));
        } else {
            give_reset(city);
        }
        dc_strbuf_free(&text);
    }
}

static void on_read(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *err)
{
    struct dc_city *city = data;
    struct dc_feed *f = city->feed_seen;
    bool is_again = f->has_missed_more;
    (void)n;
    f->is_reading = false;
    f->has_missed_more = false;
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.feed_catch_up_failed", DC_LF_ERR(err));
        give_reset(city);
    } else if (dc_db_rows(results[0]) >= READ_MAX ||
               count_missed(f, results[0]) > DC_FEED_MISSED_MAX) {
        give_reset(city);
        f->newest = dc_utc_now();
    } else {
        give_missed(city, results[0]);
    }
    if (is_again && !city->is_stopping) {
        dc_feed_catch_up(city);
    }
    dc_city_pending_end(city);
}

void dc_feed_catch_up(struct dc_city *city)
{
    struct dc_feed *f = city->feed_seen;
    struct dc_error err = {0};
    if (f->is_reading) {
        f->has_missed_more = true;
        return;
    }
    if (dc_topic_member_count(city->feed) == 0) {
        return; /* nobody has missed anything */
    }
    int64_t now_ms = dc_utc_now().ms; /* another process may live ahead of it */
    const struct dc_utc since = {(f->newest.ms < now_ms ? f->newest.ms : now_ms) - OVERLAP_MS};
    if (dc_db_submit(dc_repo_feed_since(city->ctx->db, since, READ_MAX), on_read, city, NULL,
                     &err) != DC_OK) {
        DC_LOG_WARN_EVENT(city->ctx->log, "city.feed_catch_up_failed", DC_LF_ERR(&err));
        give_reset(city);
        return;
    }
    f->is_reading = true;
    dc_city_pending_begin(city);
}
