/* GET/POST /city/rooms/{room}/messages (specs/city-backend §4, CONTRACT §2.4). */
#include "roles/city/messages.h"
#include "roles/request.h"

/* A request on its way; lives in its arena. */
struct asking {
    struct dc_city *city;
    struct dc_city_room *room;
    struct dc_http_request *r;
    enum dc_page_kind kind;
    int64_t limit;
};

/* NULL: answered. */
static struct asking *asking_create(struct dc_city *city, struct dc_city_room *room,
                                    struct dc_http_request *r)
{
    struct asking *a = dc_request_alloc(r, sizeof(*a));
    if (a != NULL) {
        a->city = city;
        a->room = room;
        a->r = r;
    }
    return a;
}

/* --- reading --- */

struct page_query {
    struct dc_slice before, after;
    int64_t limit;
};
static const struct dc_field page_fields[] = {
    {"before", DC_FIELD_ID, 0, 0, 0, offsetof(struct page_query, before)},
    {"after", DC_FIELD_ID, 0, 0, 0, offsetof(struct page_query, after)},
    {"limit", DC_FIELD_INT, DC_FIELD_CLAMP, 1, 100, offsetof(struct page_query, limit)},
};

/* offset is the place of the newest item (of the cursor when there is none): a socket that opens
 * there misses nothing that the page does not have. */
static void write_page(const struct asking *a, const struct dc_db_result *cursor,
                       const struct dc_db_result *rows, struct dc_jsonw *w)
{
    uint64_t newest = dc_db_rows(cursor) == 1 ? (uint64_t)dc_db_get_int(cursor, 0, 0) : 0;
    size_t limit = (size_t)a->limit;
    size_t count = dc_db_rows(rows) > limit ? limit : dc_db_rows(rows);
    dc_jsonw_object(w);
    dc_jsonw_key(w, "items");
    dc_jsonw_array(w);
    for (size_t i = 0; i < count; i++) {
        struct dc_message m;
        dc_repo_read_message(rows, a->kind == DC_PAGE_AFTER ? i : count - 1 - i, a->room->row.id,
                             &m);
        dc_message_write(&m, w);
        newest = m.position;
    }
    dc_jsonw_end(w);
    dc_jsonw_key_bool(w, "has_more", dc_db_rows(rows) > limit);
    dc_jsonw_key_text(w, "epoch", a->city->epoch);
    dc_jsonw_key_i64(w, "offset", (int64_t)newest);
    dc_jsonw_end(w);
}

static void on_page(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *err)
{
    struct asking *a = data;
    struct dc_city *city = a->city;
    (void)n;
    if (st != DC_OK) {
        dc_http_reply_error(a->r, err);
    } else if (a->kind != DC_PAGE_LAST && dc_db_rows(results[0]) == 0) {
        dc_request_fail_field(a->r, a->kind == DC_PAGE_BEFORE ? "before" : "after",
                              "unknown_cursor", "names no message of this room");
    } else {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        dc_jsonw_init(&w, &out);
        write_page(a, results[0], results[1], &w);
        dc_http_reply_json(a->r, 200, &out);
    }
    dc_city_pending_end(city);
}

static void list_messages(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct page_query q = {.limit = 50};
    struct dc_city_room *room =
        dc_city_may_read(city, r) ? dc_city_room_of(city, r, list_messages) : NULL;
    if (room == NULL || !dc_http_read_query(r, page_fields, DC_ARRAY_LEN(page_fields), &q)) {
        return;
    }
    if (q.before.ptr != NULL && q.after.ptr != NULL) {
        dc_request_fail_field(r, "after", "conflict", "give before or after, not both");
        return;
    }
    struct asking *a = asking_create(city, room, r);
    if (a == NULL) {
        return;
    }
    a->limit = q.limit;
    a->kind = q.before.ptr != NULL  ? DC_PAGE_BEFORE
              : q.after.ptr != NULL ? DC_PAGE_AFTER
                                    : DC_PAGE_LAST;
    dc_city_submit(city, r,
                   dc_repo_messages(city->ctx->db, room->row.id, a->kind,
                                    q.before.ptr != NULL ? q.before : q.after, 0, q.limit),
                   on_page, a);
}

/* --- saying --- */

struct message_body {
    struct dc_slice body, text, idempotency_key, user_id, author_user_id;
};

static void on_sent(void *data, enum dc_status st, const struct dc_message *m,
                    const struct dc_error *err)
{
    struct asking *a = data;
    if (st != DC_OK) {
        dc_http_reply_error(a->r, err);
        return;
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_message_write(m, &w);
    dc_http_reply_json(a->r, 200, &out);
}

/* The body's fields and the Idempotency-Key header, which wins; answers 4xx itself. */
static bool read_message(struct dc_city *city, struct dc_http_request *r, struct message_body *body)
{
    int64_t max = city->ctx->settings->max_message_chars;
    const unsigned words = DC_FIELD_NULLABLE | DC_FIELD_NOT_BLANK;
    const struct dc_field fields[] = {
        {"body", DC_FIELD_TEXT, words, 1, max, offsetof(struct message_body, body)},
        {"text", DC_FIELD_TEXT, words, 1, max, offsetof(struct message_body, text)},
        {"idempotency_key", DC_FIELD_KEY, DC_FIELD_NULLABLE, 0, 0,
         offsetof(struct message_body, idempotency_key)},
        {"user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct message_body, user_id)},
        {"author_user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0,
         offsetof(struct message_body, author_user_id)}};
    if (!dc_http_read_json(r, fields, DC_ARRAY_LEN(fields), body)) {
        return false;
    }
    struct dc_problems problems = {0};
    struct dc_slice key = dc_http_header(r, DC_S("idempotency-key"));
    if (body->body.ptr == NULL) {
        body->body = body->text;
    }
    if (body->body.ptr == NULL) {
        dc_problem_add(&problems, "body", "missing", "is required");
    }
    if (key.ptr != NULL) {
        if (!dc_key_is_valid(key)) {
            dc_problem_add(&problems, "Idempotency-Key", "invalid_format",
                           "must be 1 to 128 printable ASCII characters");
        }
        body->idempotency_key = key;
    }
    if (problems.count > 0) {
        dc_http_reply_problems(r, &problems);
        return false;
    }
    return true;
}

static void post_message(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    const struct dc_auth *auth = &city->ctx->auth;
    struct dc_city_room *room =
        dc_require_token(auth, r) ? dc_city_room_of(city, r, post_message) : NULL;
    struct message_body body = {0};
    struct dc_identity who;
    struct dc_error err = {0};
    if (room == NULL || !read_message(city, r, &body) ||
        !dc_require_identity(auth, r, body.user_id, &who) ||
        !dc_require_author(r, &who, body.author_user_id)) {
        return;
    }
    uint64_t wait_ms = dc_city_message_wait_ms(city, who.user_id);
    if (wait_ms > 0) {
        dc_request_fail_limit(r, wait_ms, "too many messages, try again a little later");
        return;
    }
    struct asking *a = asking_create(city, room, r);
    if (a == NULL) {
        return;
    }
    const struct dc_message_draft draft = {.room = room,
                                           .user_id = who.user_id,
                                           .username = who.username,
                                           .body = body.body,
                                           .idempotency_key = body.idempotency_key};
    if (dc_city_message_send(city, &draft, on_sent, a, &err) != DC_OK) {
        dc_http_reply_error(r, &err);
    }
}

static const struct dc_route routes[] = {
    {DC_GET, "/city/rooms/{room}/messages", list_messages},
    {DC_POST, "/city/rooms/{room}/messages", post_message},
};

void dc_city_routes_messages(struct dc_city *city)
{
    dc_city_add_routes(city, routes, DC_ARRAY_LEN(routes));
}
