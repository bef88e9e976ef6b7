/* What is said in Matrix, pushed by the homeserver to the application service, on its way to the
 * city.
 *
 * A transaction goes to city-service in pieces, one behind the other; each piece:
 *
 *   its events ─ who of the senders is a resident? ─ what are the others called? ─ to the city
 *
 * Only when the city has stored all of it the homeserver is answered 200.  With any other answer it
 * sends the same again, later, and holds back what comes behind.  The city knows what it has by the
 * ids of the events: ids of transactions begin anew when the homeserver does.  Those tell whether
 * one was left behind (matrix_order.h). */
#include "roles/matrix_gateway/transactions.h"
#include "base/input.h"
#include "base/mem.h"
#include "matrix/matrix_id.h"
#include "matrix/matrix_push.h"
#include "roles/matrix_gateway/names.h"
#include "roles/matrix_gateway/repo.h"
#include "roles/peer.h"

#include <openssl/crypto.h>

/* Synapse sends 100 events at most; as ASCII each may have three times its 64 KiB. */
#define TRANSACTION_MAX_BYTES ((size_t)32 * 1024 * 1024)
#define PIECE_MAX_EVENTS      100
#define PIECE_MAX_BYTES       ((size_t)256 * 1024)
/* Names asked for at a time, and how long one may take: without it the localpart serves. */
#define ASKED_AT_ONCE 8
#define NAME_WAIT_MS  2000
/* The way to the city, beyond our own time. */
#define WAY_MS    1000
#define MAX_NAMES 10000

struct item {
    struct push_flow *f;
    struct dc_matrix_pushed event;
    struct dc_strbuf text;
    struct dc_slice user_id, username; /* in f->arena; username ptr NULL: not known yet */
    bool is_resident;
    bool is_asked; /* this one, or one before it by the same sender in the same room */
};

struct push_flow {
    struct dc_gateway_flow flow;
    struct dc_slice txn_id;
    struct dc_matrix_push cursor;
    struct dc_arena arena; /* of one piece */
    struct item items[PIECE_MAX_EVENTS];
    size_t n_items, n_bytes;
    size_t asking;
    bool has_pulse; /* the one that was sent last */
};

/* --- answers --- */

static void reply(struct dc_http_request *r, int http_status, const char *errcode_z,
                  const char *text_z)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    if (errcode_z != NULL) {
        dc_jsonw_key_text(&w, "errcode", dc_slice_z(errcode_z));
        dc_jsonw_key_text(&w, "error", dc_slice_z(text_z));
    }
    dc_jsonw_end(&w);
    dc_http_set_header(r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(r, http_status, &out);
}

static bool has_hs_token(const struct dc_gateway *g, const struct dc_http_request *r)
{
    struct dc_slice token = dc_slice_trim(dc_http_header(r, DC_S("authorization")));
    struct dc_slice expected = dc_slice_z(g->ctx->settings->matrix_hs_token);
    struct dc_slice scheme;
    if (!dc_slice_take_token(&token, ' ', &scheme) || !dc_slice_ieq(scheme, DC_S("bearer"))) {
        return false;
    }
    token = dc_slice_trim(token);
    return expected.len > 0 && token.len == expected.len &&
           CRYPTO_memcmp(token.ptr, expected.ptr, expected.len) == 0;
}

static bool require_hs_token(const struct dc_gateway *g, struct dc_http_request *r)
{
    if (has_hs_token(g, r)) {
        return true;
    }
    reply(r, 403, "M_FORBIDDEN", "this is not the hs_token of the city's registration");
    return false;
}

static void clear_piece(struct push_flow *f)
{
    for (size_t i = 0; i < f->n_items; i++) {
        json_decref(f->items[i].event.json);
        dc_strbuf_free(&f->items[i].text);
    }
    f->n_items = 0;
    f->n_bytes = 0;
    dc_arena_free(&f->arena);
    dc_arena_init(&f->arena, 1024, 0);
}

static void end(struct push_flow *f, int http_status, const char *errcode_z, const char *text_z)
{
    struct dc_gateway *g = f->flow.g;
    clear_piece(f);
    dc_arena_free(&f->arena);
    g->pushing--;
    if (http_status == 200) {
        dc_matrix_order_taken(&g->order, f->txn_id, f->has_pulse);
    } else {
        dc_matrix_order_failed(&g->order);
    }
    dc_gateway_pulse_after(g, http_status == 200);
    reply(f->flow.r, http_status, errcode_z, text_z);
    dc_gateway_end(g);
}

/* The homeserver comes again: by itself, or when it is asked to (push.c). */
static void fail(struct push_flow *f, const struct dc_error *err)
{
    struct dc_gateway *g = f->flow.g;
    g->transactions_failed->value++;
    DC_LOG_WARN_EVENT(g->ctx->log, "matrix.transaction_waits", DC_LF_ERR(err));
    end(f, 503, "M_UNKNOWN", dc_error_text(err));
}

static void fail_memory(struct push_flow *f)
{
    struct dc_error err = {0};
    (void)dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    fail(f, &err);
}

/* --- to the city --- */

static void next_piece(struct push_flow *f);

static void on_city(void *data, enum dc_status st, const json_t *json, int64_t retry_after_ms,
                    const struct dc_error *err)
{
    struct push_flow *f = data;
    (void)json;
    (void)retry_after_ms;
    if (st == DC_OK) {
        next_piece(f);
    } else {
        fail(f, err);
    }
}

static void write_item(const struct item *item, struct dc_jsonw *w)
{
    struct dc_slice message_id = dc_json_text(item->event.content, DC_MATRIX_MESSAGE_ID_KEY);
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "event_id", item->event.event_id);
    dc_jsonw_key_text(w, "matrix_room_id", item->event.room_id);
    dc_jsonw_key_text(w, "user_id", item->user_id);
    dc_jsonw_key_text(w, "username", item->username);
    dc_jsonw_key_text(w, "body", dc_strbuf_slice(&item->text));
    if (item->is_resident && dc_key_is_valid(message_id)) {
        dc_jsonw_key_text(w, "message_id", message_id);
    }
    dc_jsonw_end(w);
}

static void tell_city(struct push_flow *f)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_strbuf body = {0};
    struct dc_jsonw w;
    struct dc_error err = {0};
    enum dc_status st;
    dc_jsonw_init(&w, &body);
    dc_jsonw_object(&w);
    dc_jsonw_key(&w, "events");
    dc_jsonw_array(&w);
    for (size_t i = 0; i < f->n_items; i++) {
        write_item(&f->items[i], &w);
    }
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
    if (g->city == NULL) {
        st = dc_fail(&err, DC_CLOSED, 0, "the gateway is stopping");
    } else if (!dc_strbuf_ok(&body)) {
        st = dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    } else {
        const struct dc_peer_call call = {.method_z = "POST",
                                          .path = DC_S("/internal/city/matrix/events"),
                                          .body = dc_strbuf_slice(&body),
                                          .deadline_ms = g->timeout_ms + WAY_MS,
                                          .cb = on_city,
                                          .data = f};
        st = dc_peer_call(g->city, &call, &err);
    }
    dc_strbuf_free(&body);
    if (st != DC_OK) {
        fail(f, &err);
    }
}

/* --- what the others are called --- */

static struct dc_slice localpart_of(struct dc_slice matrix_user_id)
{
    struct dc_slice localpart;
    struct dc_slice server;
    bool is_id = dc_matrix_id_split(matrix_user_id, '@', &localpart, &server);
    DC_ASSERT(is_id); /* of an event that has been read */
    localpart = dc_matrix_display_name(localpart);
    return localpart.ptr != NULL ? localpart : DC_S("Matrix");
}

/* Everybody is called something by now. */
static void take_names(struct push_flow *f)
{
    for (size_t i = 0; i < f->n_items; i++) {
        struct item *item = &f->items[i];
        if (item->username.ptr == NULL) {
            struct dc_slice name =
                dc_gateway_names_get(f->flow.g->names, item->event.room_id, item->event.sender);
            item->username =
                dc_arena_dup(&f->arena, name.ptr != NULL ? name : localpart_of(item->event.sender));
            if (item->username.ptr == NULL) {
                fail_memory(f);
                return;
            }
        }
    }
    tell_city(f);
}

static void ask_names(struct push_flow *f);

static void named(struct item *item, struct dc_slice name)
{
    struct push_flow *f = item->f;
    struct dc_slice shown = dc_matrix_display_name(name);
    dc_gateway_names_put(f->flow.g->names, item->event.room_id, item->event.sender,
                         shown.ptr != NULL ? shown : localpart_of(item->event.sender));
    f->asking--;
    ask_names(f);
}

static void not_named(struct item *item)
{
    item->f->asking--;
    ask_names(item->f); /* who is not known is asked for again with the next message */
}

static void on_profile(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *err)
{
    struct item *item = data;
    (void)err;
    if (st == DC_OK) {
        named(item, dc_json_text(answer->json, "displayname"));
    } else {
        not_named(item);
    }
}

static struct dc_matrix_how how_to(struct item *item, struct dc_matrix_auth auth, dc_matrix_cb cb)
{
    struct dc_matrix_how how = dc_gateway_how(&item->f->flow, auth, cb);
    how.data = item;
    how.deadline_ms = how.deadline_ms < NAME_WAIT_MS ? how.deadline_ms : NAME_WAIT_MS;
    how.is_impatient = true;
    return how;
}

/* As a member of the room, or, where we are none, as an account. */
static void on_member(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                      const struct dc_error *err)
{
    struct item *item = data;
    struct dc_gateway *g = item->f->flow.g;
    struct dc_matrix_auth auth;
    (void)err;
    if (st == DC_OK) {
        named(item, dc_json_text(answer->json, "displayname"));
        return;
    }
    if ((st == DC_FORBIDDEN || st == DC_NOT_FOUND) && dc_gateway_auth(g, &auth, NULL) == DC_OK) {
        const struct dc_matrix_how how = how_to(item, auth, on_profile);
        if (dc_matrix_profile(g->matrix, &how, item->event.sender, NULL) == DC_OK) {
            return;
        }
    }
    not_named(item);
}

static bool ask_name(struct item *item)
{
    struct dc_gateway *g = item->f->flow.g;
    struct dc_matrix_auth auth;
    if (dc_gateway_auth(g, &auth, NULL) != DC_OK) {
        return false;
    }
    const struct dc_matrix_how how = how_to(item, auth, on_member);
    return dc_matrix_member(g->matrix, &how, item->event.room_id, item->event.sender, NULL) ==
           DC_OK;
}

static bool is_asked_before(const struct push_flow *f, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (f->items[i].is_asked &&
            dc_slice_eq(f->items[i].event.sender, f->items[at].event.sender) &&
            dc_slice_eq(f->items[i].event.room_id, f->items[at].event.room_id)) {
            return true;
        }
    }
    return false;
}

/* Asks for those who are not known, some at a time; goes on when all have been heard of. */
static void ask_names(struct push_flow *f)
{
    for (size_t i = 0; i < f->n_items && f->asking < ASKED_AT_ONCE; i++) {
        struct item *item = &f->items[i];
        if (item->username.ptr == NULL && !item->is_asked &&
            dc_gateway_names_get(f->flow.g->names, item->event.room_id, item->event.sender).ptr ==
                NULL) {
            bool is_known_to_be_asked = is_asked_before(f, i);
            item->is_asked = true;
            if (!is_known_to_be_asked && ask_name(item)) {
                f->asking++;
            }
        }
    }
    if (f->asking == 0) {
        take_names(f);
    }
}

/* --- residents --- */

static bool may_be_resident(const struct dc_gateway *g, struct dc_slice matrix_user_id)
{
    struct dc_slice localpart;
    struct dc_slice server;
    return dc_matrix_id_split(matrix_user_id, '@', &localpart, &server) &&
           dc_slice_eq(server, g->server_name) &&
           dc_slice_starts(localpart, DC_S(DC_MATRIX_USER_PREFIX));
}

/* A resident without a name there is called as Matrix does. */
static bool take_owner(struct push_flow *f, const struct dc_matrix_owner *owner)
{
    for (size_t i = 0; i < f->n_items; i++) {
        struct item *item = &f->items[i];
        if (!dc_slice_eq(item->event.sender, owner->matrix_user_id)) {
            continue;
        }
        item->is_resident = true;
        item->user_id = dc_arena_dup(&f->arena, owner->user_id);
        if (owner->display_name.len > 0) {
            item->username = dc_arena_dup(&f->arena, owner->display_name);
        }
        if (item->user_id.ptr == NULL ||
            (owner->display_name.len > 0 && item->username.ptr == NULL)) {
            return false;
        }
    }
    return true;
}

static void on_owners(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct push_flow *f = data;
    (void)n;
    if (st != DC_OK) {
        fail(f, err);
        return;
    }
    for (size_t i = 0; i < dc_db_rows(results[0]); i++) {
        struct dc_matrix_owner owner;
        dc_gateway_repo_read_owner(results[0], i, &owner);
        if (!take_owner(f, &owner)) {
            fail_memory(f);
            return;
        }
    }
    ask_names(f);
}

static void find_owners(struct push_flow *f)
{
    struct dc_strbuf ids = {0};
    struct dc_jsonw w;
    struct dc_error err = {0};
    size_t n = 0;
    enum dc_status st = DC_OK;
    dc_jsonw_init(&w, &ids);
    dc_jsonw_array(&w);
    for (size_t i = 0; i < f->n_items; i++) {
        f->items[i].user_id = f->items[i].event.sender;
        if (may_be_resident(f->flow.g, f->items[i].event.sender)) {
            dc_jsonw_text(&w, f->items[i].event.sender);
            n++;
        }
    }
    dc_jsonw_end(&w);
    if (!dc_strbuf_ok(&ids)) {
        st = dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    } else if (n > 0) {
        st = dc_db_submit(dc_gateway_repo_owners(f->flow.g->ctx->db, dc_strbuf_slice(&ids)),
                          on_owners, f, NULL, &err);
    }
    dc_strbuf_free(&ids);
    if (st != DC_OK) {
        fail(f, &err);
    } else if (n == 0) {
        ask_names(f);
    }
}

/* --- reading --- */

/* As it was when the message was said: it may change in the same piece. */
static void take_known_name(struct push_flow *f, struct item *item)
{
    struct dc_slice name =
        dc_gateway_names_get(f->flow.g->names, item->event.room_id, item->event.sender);
    if (name.ptr != NULL) {
        item->username = dc_arena_dup(&f->arena, name); /* none: it is looked for once more */
    }
}

/* true: the event is kept. */
static bool take_message(struct push_flow *f, const struct dc_matrix_pushed *event)
{
    struct dc_gateway *g = f->flow.g;
    struct item *item = &f->items[f->n_items];
    *item = (struct item){.f = f, .event = *event};
    if (!dc_matrix_message_text(event->content, &item->text) || !dc_strbuf_ok(&item->text)) {
        g->events_empty->value++;
        dc_strbuf_free(&item->text);
        return false;
    }
    g->events_messages->value++;
    take_known_name(f, item);
    f->n_bytes += item->text.len;
    f->n_items++;
    return true;
}

static void take_member(struct push_flow *f, const struct dc_matrix_pushed *event)
{
    struct dc_slice localpart;
    struct dc_slice server;
    if (dc_slice_eq(dc_json_text(event->content, "membership"), DC_S("join")) &&
        dc_matrix_id_split(event->state_key, '@', &localpart, &server)) {
        struct dc_slice name = dc_matrix_display_name(dc_json_text(event->content, "displayname"));
        dc_gateway_names_put(f->flow.g->names, event->room_id, event->state_key,
                             name.ptr != NULL ? name : localpart_of(event->state_key));
    }
}

static void take_event(struct push_flow *f, struct dc_slice text)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_matrix_pushed event;
    struct dc_error err = {0};
    if (dc_matrix_push_read(text, &event, &err) != DC_OK) {
        g->events_odd->value++;
        DC_LOG_WARN_EVENT(g->ctx->log, "matrix.event_left_out", DC_LF_ERR(&err));
        return;
    }
    bool is_state = event.state_key.ptr != NULL;
    if (!is_state && dc_slice_eq(event.type, DC_S("m.room.message"))) {
        if (take_message(f, &event)) {
            return;
        }
    } else if (!is_state && dc_slice_eq(event.type, DC_S("m.room.encrypted"))) {
        g->events_encrypted->value++;
    } else if (!is_state && dc_gateway_pulse_is_in(g, &event)) {
        f->has_pulse = true;
    } else if (is_state && dc_slice_eq(event.type, DC_S("m.room.member"))) {
        take_member(f, &event);
    }
    json_decref(event.json);
}

static void next_piece(struct push_flow *f)
{
    struct dc_slice text;
    clear_piece(f);
    while (f->n_items < PIECE_MAX_EVENTS && f->n_bytes < PIECE_MAX_BYTES &&
           dc_matrix_push_next(&f->cursor, &text)) {
        take_event(f, text);
    }
    if (f->n_items > 0) {
        find_owners(f);
    } else if (f->cursor.is_broken) {
        end(f, 400, "M_NOT_JSON", "the list of events is no JSON");
    } else {
        f->flow.g->transactions->value++;
        end(f, 200, NULL, NULL);
    }
}

/* --- routes --- */

static void refuse_for_order(struct dc_gateway *g, struct dc_http_request *r)
{
    g->transactions_ahead->value++;
    if (g->order.has_last) {
        DC_LOG_INFO_EVENT(g->ctx->log, "matrix.transaction_missing",
                          DC_LF_I("after", g->order.last), DC_LF_I("before", g->order.refused));
    } else {
        DC_LOG_INFO_EVENT(g->ctx->log, "matrix.transaction_first", DC_LF_I("id", g->order.refused));
    }
    reply(r, 503, "M_UNKNOWN", "a transaction before this one may be missing: again, in order");
    dc_gateway_push_again(g);
    dc_gateway_pulse_look(g);
}

static void put_transaction(void *ctx, struct dc_http_request *r)
{
    struct dc_gateway *g = ctx;
    struct dc_slice txn_id = dc_http_param(r, 0);
    if (!require_hs_token(g, r)) {
        return;
    }
    g->was_pushed = true;
    dc_gateway_push_reached(g);
    if (!dc_matrix_order_is_next(&g->order, txn_id)) {
        refuse_for_order(g, r);
        return;
    }
    struct push_flow *f = dc_arena_calloc(dc_http_arena(r), 1, sizeof(*f));
    if (f == NULL) {
        reply(r, 503, "M_UNKNOWN", "out of memory");
        return;
    }
    f->flow.g = g;
    f->flow.r = r;
    f->txn_id = txn_id;
    f->flow.deadline_ms = dc_loop_now(g->ctx->loop).ms + (int64_t)g->timeout_ms;
    dc_arena_init(&f->arena, 1024, 0);
    dc_gateway_begin(g);
    g->pushing++;
    if (dc_matrix_push_open(dc_http_body(r), &f->cursor)) {
        next_piece(f);
    } else {
        end(f, 400, "M_NOT_JSON", "the body is no JSON object");
    }
}

/* Only to who may push. */
static size_t limit_transaction(void *ctx, const struct dc_http_request *r)
{
    return has_hs_token(ctx, r) ? TRANSACTION_MAX_BYTES : 0;
}

static void post_ping(void *ctx, struct dc_http_request *r)
{
    if (require_hs_token(ctx, r)) {
        dc_gateway_push_reached(ctx);
        reply(r, 200, NULL, NULL);
    }
}

/* Rooms and accounts are made when the city makes them, not when somebody asks. */
static void get_unknown(void *ctx, struct dc_http_request *r)
{
    if (require_hs_token(ctx, r)) {
        reply(r, 404, "M_NOT_FOUND", "the city makes nothing because it is asked for");
    }
}

static const struct dc_route routes[] = {
    {DC_PUT, "/_matrix/app/v1/transactions/{txn_id}", put_transaction},
    {DC_POST, "/_matrix/app/v1/ping", post_ping},
    {DC_GET, "/_matrix/app/v1/rooms/{alias...}", get_unknown},
    {DC_GET, "/_matrix/app/v1/users/{user_id...}", get_unknown},
};

void dc_gateway_routes_transactions(struct dc_gateway *g, struct dc_router *router)
{
    dc_router_add(router, "", routes, DC_ARRAY_LEN(routes), g);
    dc_router_set_body_limit(router, put_transaction, limit_transaction);
}

/* --- life --- */

enum dc_status dc_gateway_transactions_open(struct dc_gateway *g, struct dc_error *err)
{
    static const char events[] = "daarion_matrix_pushed_events_total";
    static const char events_help[] = "Events that the homeserver has pushed, by what they are.";
    static const char transactions[] = "daarion_matrix_transactions_total";
    static const char transactions_help[] = "Transactions of the homeserver by how they ended.";
    struct dc_metrics *m = g->ctx->metrics;
    const struct dc_settings *s = g->ctx->settings;
    g->events_messages = dc_metrics_counter(m, events, "what=\"message\"", events_help);
    g->events_empty = dc_metrics_counter(m, events, "what=\"empty\"", events_help);
    g->events_encrypted = dc_metrics_counter(m, events, "what=\"encrypted\"", events_help);
    g->events_odd = dc_metrics_counter(m, events, "what=\"odd\"", events_help);
    g->transactions = dc_metrics_counter(m, transactions, "outcome=\"taken\"", transactions_help);
    g->transactions_failed =
        dc_metrics_counter(m, transactions, "outcome=\"failed\"", transactions_help);
    g->transactions_ahead =
        dc_metrics_counter(m, transactions, "outcome=\"ahead\"", transactions_help);
    g->names = dc_gateway_names_create(MAX_NAMES);
    dc_matrix_order_init(&g->order);
    if (s->matrix_hs_token == NULL) {
        return DC_OK;
    }
    if (!g->ctx->is_combined && s->city_service_url == NULL) {
        return dc_fail(err, DC_CONFIG, 0,
                       "MATRIX_HS_TOKEN is set, so CITY_SERVICE_INTERNAL_URL is needed: where what "
                       "is said in Matrix goes");
    }
    if (g->ctx->auth.internal_key.len == 0) {
        return dc_fail(err, DC_CONFIG, 0,
                       "MATRIX_HS_TOKEN is set, so INTERNAL_API_KEY is needed: the same as "
                       "city-service's");
    }
    return dc_peer_create(g->ctx, "city-service", s->city_service_url, &g->city, err);
}

void dc_gateway_transactions_stop(struct dc_gateway *g)
{
    dc_peer_close(g->city);
    g->city = NULL;
}

void dc_gateway_transactions_free(struct dc_gateway *g)
{
    dc_gateway_names_destroy(g->names);
    g->names = NULL;
}
