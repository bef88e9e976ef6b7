/* Saying something in a room. */
#include "roles/city/messages.h"

#include "base/mem.h"
#include "domain/snippet.h"
#include "roles/city/catch_up.h"
#include "roles/city/chat.h"
#include "roles/city/lookup.h"
#include "roles/city/matrix_outgoing.h"
#include "roles/city/owed.h"

#define FEED_BODY_CHARS    500
#define FEED_SNIPPET_CHARS 100

/* One send on its way to the database. Texts live in the arena. */
struct sending {
    struct dc_city *city;
    struct dc_arena arena;
    struct dc_city_room *room;
    struct dc_message message;
    struct dc_feed_event event;
    struct dc_owed_message owed;
    dc_message_cb cb;
    dc_message_taken_cb taken; /* instead of cb: it was said in a Matrix room */
    void *data;
    bool is_first; /* taken: it waits for no event before it */
    bool is_room_there;
};

uint64_t dc_city_message_wait_ms(struct dc_city *city, struct dc_slice user_id)
{
    return dc_rate_limit_take(city->message_limit, user_id, dc_loop_now(city->ctx->loop));
}

static void sending_free(struct sending *s)
{
    dc_arena_free(&s->arena);
    dc_free(s);
}

static struct dc_slice event_payload(struct sending *s)
{
    struct dc_strbuf out = {0};
    struct dc_strbuf snippet = {0};
    struct dc_jsonw w;
    dc_snippet(&snippet, s->message.body, FEED_SNIPPET_CHARS);
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "body", dc_utf8_prefix(s->message.body, FEED_BODY_CHARS));
    /* Nothing but blanks has an empty snippet, not none. */
    dc_jsonw_key_text(&w, "snippet", snippet.len > 0 ? dc_strbuf_slice(&snippet) : DC_S(""));
    dc_jsonw_key_text(&w, "message_id", s->message.id);
    dc_jsonw_end(&w);
    struct dc_slice copy = dc_strbuf_ok(&out) && dc_strbuf_ok(&snippet)
                               ? dc_arena_dup(&s->arena, dc_strbuf_slice(&out))
                               : DC_SLICE_NULL;
    dc_strbuf_free(&snippet);
    dc_strbuf_free(&out);
    return copy;
}

static struct sending *sending_create(struct dc_city *city, const struct dc_message_draft *draft)
{
    struct sending *s = dc_calloc(1, sizeof(*s));
    char id[DC_CITY_ID_MAX];
    char event_id[DC_CITY_ID_MAX];
    dc_arena_init(&s->arena, 1024, 0);
    s->city = city;
    s->room = draft->room;
    dc_city_new_id(city, "m_city_", id);
    dc_city_new_id(city, "evt_city_", event_id);
    struct dc_utc now = dc_utc_now();
    s->message = (struct dc_message){.id = dc_arena_dup(&s->arena, dc_slice_z(id)),
                                     .room_id = dc_arena_dup(&s->arena, draft->room->row.id),
                                     .author_user_id = dc_arena_dup(&s->arena, draft->user_id),
                                     .username = dc_arena_dup(&s->arena, draft->username),
                                     .body = dc_arena_dup(&s->arena, draft->body),
                                     .created_at = now};
    if (draft->idempotency_key.ptr != NULL) {
        s->message.idempotency_key = dc_arena_dup(&s->arena, draft->idempotency_key);
    }
    s->event = (struct dc_feed_event){.id = dc_arena_dup(&s->arena, dc_slice_z(event_id)),
                                      .kind = DC_S("room_message"),
                                      .room_id = s->message.room_id,
                                      .room_slug = dc_arena_dup(&s->arena, draft->room->row.slug),
                                      .room_name = dc_arena_dup(&s->arena, draft->room->row.name),
                                      .user_id = s->message.author_user_id,
                                      .username = s->message.username,
                                      .payload = event_payload(s),
                                      .created_at = now};
    return s;
}

static enum dc_status fail_archived(struct dc_error *err)
{
    return dc_fail_code(err, DC_CONFLICT, "room_archived",
                        "the room is archived: nothing can be said in it");
}

/* Any copy that failed leaves a NULL behind. */
static bool sending_is_whole(const struct sending *s, const struct dc_message_draft *draft)
{
    return s->message.id.ptr != NULL && s->message.room_id.ptr != NULL &&
           s->event.room_slug.ptr != NULL && s->event.room_name.ptr != NULL &&
           s->message.author_user_id.ptr != NULL && s->message.username.ptr != NULL &&
           s->message.body.ptr != NULL && s->event.id.ptr != NULL && s->event.payload.ptr != NULL &&
           (draft->idempotency_key.ptr == NULL || s->message.idempotency_key.ptr != NULL);
}

/* A new message: to the bus, to who waits for the answer, to the sockets. */
static void tell(struct sending *s, const struct dc_message *m, const int64_t *owed_ids)
{
    dc_owed_message_publish(s->city, s->room, m, &s->event, &s->owed, owed_ids);
    if (s->taken != NULL) {
        s->taken(s->data, DC_OK, DC_MESSAGE_NEW, NULL);
    } else {
        s->cb(s->data, DC_OK, m, NULL);
    }
    dc_chat_committed(s->room, m);
}

/* --- what the database has not taken --- */

static void refuse(struct sending *s, enum dc_status st, const struct dc_error *cause)
{
    struct dc_error err = {0};
    if (s->taken != NULL) {
        s->taken(s->data, st, DC_MESSAGE_HELD, cause);
    } else if (st != DC_OK) {
        s->cb(s->data, st, NULL, cause);
    } else if (s->is_room_there) {
        st = fail_archived(&err);
        s->cb(s->data, st, NULL, &err);
    } else {
        st = dc_fail_code(&err, DC_NOT_FOUND, "room_not_found", "the room does not exist");
        s->cb(s->data, st, NULL, &err);
    }
}

static void on_room(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *err)
{
    struct sending *s = data;
    struct dc_city *city = s->city;
    (void)n;
    if (st == DC_OK) {
        s->is_room_there = dc_db_rows(results[0]) == 1;
        if (!city->is_stopping) {
            dc_lookup_take(city, results[0], NULL, NULL);
        }
    }
    refuse(s, st, err);
    sending_free(s);
    dc_city_pending_end(city);
}

/* The room is archived, or gone, and this process has not heard of it: it hears now, before the
 * answer.  Ends s and what is pending. */
static void look_at_room(struct sending *s)
{
    struct dc_city *city = s->city;
    struct dc_error err = {0};
    enum dc_status st =
        dc_db_submit(dc_repo_room(city->ctx->db, s->message.room_id), on_room, s, NULL, &err);
    if (st != DC_OK) {
        refuse(s, st, &err);
        sending_free(s);
        dc_city_pending_end(city);
    }
}

static void on_stored(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct sending *s = data;
    struct dc_city *city = s->city;
    if (st != DC_OK) {
        if (dc_slice_eq(dc_slice_z(dc_error_code(err)), DC_S("outcome_unknown"))) {
            dc_city_doubt(city); /* it may have been committed */
        }
        s->cb(s->data, st, NULL, err);
    } else {
        struct dc_message m = s->message;
        bool is_new = false;
        int64_t owed_ids[DC_OWED_OF_MESSAGE];
        struct dc_error bad = {0};
        if (!dc_repo_message_stored(results, n, &m, &is_new, owed_ids)) {
            look_at_room(s);
            return;
        }
        if (is_new) {
            tell(s, &m, owed_ids);
            dc_matrix_outgoing_stored(city, s->room, m.position, s->message.is_for_matrix);
        } else if (!dc_slice_eq(m.body, s->message.body)) {
            st = dc_fail_code(&bad, DC_CONFLICT, "idempotency_conflict",
                              "this key has stored other words already");
            s->cb(s->data, st, NULL, &bad);
        } else {
            s->cb(s->data, DC_OK, &m, NULL);
        }
    }
    sending_free(s);
    dc_city_pending_end(city);
}

enum dc_status dc_city_message_send(struct dc_city *city, const struct dc_message_draft *draft,
                                    dc_message_cb cb, void *data, struct dc_error *err)
{
    if (draft->room->row.is_archived) {
        return fail_archived(err);
    }
    struct sending *s = sending_create(city, draft);
    s->cb = cb;
    s->data = data;
    if (!sending_is_whole(s, draft) ||
        !dc_owed_message_make(&s->arena, &s->message, &s->event, &s->owed)) {
        sending_free(s);
        return dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
    }
    s->message.is_for_matrix = dc_matrix_outgoing_is_on(city);
    struct dc_db_batch *b = dc_repo_message_insert(city->ctx->db, &s->message, &s->event, &s->owed);
    enum dc_status st = dc_db_submit(b, on_stored, s, NULL, err);
    if (st != DC_OK) {
        sending_free(s);
        return st;
    }
    dc_city_pending_begin(city);
    return DC_OK;
}

/* --- what was said in a Matrix room --- */

static void on_taken(void *data, enum dc_status st, const struct dc_db_result *const *results,
                     size_t n, const struct dc_error *err)
{
    struct sending *s = data;
    struct dc_city *city = s->city;
    int64_t owed_ids[DC_OWED_OF_MESSAGE];
    if (st != DC_OK) {
        if (strcmp(dc_error_code(err), "outcome_unknown") == 0) {
            dc_city_doubt(city);
        }
        s->taken(s->data, st, DC_MESSAGE_HELD, err);
    } else {
        struct dc_message m = s->message;
        enum dc_message_outcome outcome = dc_repo_matrix_message_stored(results, n, &m, owed_ids);
        if (outcome == DC_MESSAGE_NEW) {
            dc_matrix_outgoing_heard(s->room, m.position);
            tell(s, &m, owed_ids);
        } else if (outcome == DC_MESSAGE_HELD && s->is_first) {
            look_at_room(s);
            return;
        } else {
            s->taken(s->data, DC_OK, outcome, NULL);
        }
    }
    sending_free(s);
    dc_city_pending_end(city);
}

enum dc_status dc_city_message_take(struct dc_city *city, const struct dc_message_draft *draft,
                                    const struct dc_message_origin *origin, dc_message_taken_cb cb,
                                    void *data, struct dc_error *err)
{
    struct sending *s = sending_create(city, draft);
    s->taken = cb;
    s->data = data;
    s->is_first = origin->behind.ptr == NULL;
    if (!sending_is_whole(s, draft) ||
        !dc_owed_message_make(&s->arena, &s->message, &s->event, &s->owed)) {
        sending_free(s);
        return dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
    }
    struct dc_db_batch *b =
        dc_repo_matrix_message_insert(city->ctx->db, &s->message, origin, &s->event, &s->owed);
    enum dc_status st = dc_db_submit(b, on_taken, s, NULL, err);
    if (st != DC_OK) {
        sending_free(s);
        return st;
    }
    dc_city_pending_begin(city);
    return DC_OK;
}
