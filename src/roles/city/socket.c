/* The common part of the city's sockets. */
#include "roles/city/socket.h"

#include "base/mem.h"
#include "roles/city/pages.h"

/* --- sending --- */

void dc_socket_send(struct dc_socket *s, struct dc_jsonw *w)
{
    if (s->cursor_of != NULL) {
        uint64_t offset = s->is_replaying ? s->replayed_to
                                          : dc_topic_member_offset(s->cursor_of, dc_ws_conn(s->ws));
        dc_topic_write_cursor(s->cursor_of, offset, w->out);
    } else {
        dc_jsonw_end(w);
    }
    if (dc_strbuf_ok(w->out)) {
        dc_ws_send(s->ws, dc_strbuf_slice(w->out));
    }
}

void dc_socket_error(struct dc_socket *s, const struct dc_error *err, struct dc_slice key,
                     uint64_t retry_after_ms)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    struct dc_slice text = dc_slice_z(dc_error_text(err));
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "event", DC_S("error"));
    dc_jsonw_key_text(&w, "error", dc_slice_z(dc_error_code(err)));
    dc_jsonw_key_text(&w, "detail", text);
    dc_jsonw_key_text(&w, "message", text);
    if (key.ptr != NULL) {
        dc_jsonw_key_text(&w, "idempotency_key", key);
    }
    if (retry_after_ms > 0) {
        dc_jsonw_key_i64(&w, "retry_after_ms", (int64_t)retry_after_ms);
    }
    dc_socket_send(s, &w);
    dc_strbuf_free(&out);
    char buf[DC_ADDRESS_MAX];
    DC_LOG_INFO_EVENT(s->city->ctx->log, "city.frame_refused",
                      DC_LF_T("user_id", dc_session_user_id(&s->session)),
                      DC_LF_T("address", dc_ws_address(s->ws, buf)), DC_LF_ERR(err));
}

void dc_socket_unknown_event(struct dc_socket *s)
{
    struct dc_error err = {0};
    (void)dc_fail_code(&err, DC_INVALID, "unknown_event", "this event is not known here");
    dc_socket_error(s, &err, DC_SLICE_NULL, 0);
}

static void send_pong(struct dc_socket *s, const char *key_z)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, key_z, DC_S("pong"));
    dc_socket_send(s, &w);
    dc_strbuf_free(&out);
}

/* --- reading --- */

static bool is_within_budget(struct dc_socket *s)
{
    uint32_t now_ms = (uint32_t)dc_loop_now(s->city->ctx->loop).ms;
    if (now_ms - s->window_ms >= 1000) {
        s->window_ms = now_ms;
        s->n_frames = 0;
    }
    s->n_frames++; /* closed long before it is full */
    if (s->n_frames <= DC_SOCKET_FRAMES_PER_S) {
        return true;
    }
    if (s->n_frames > 2 * DC_SOCKET_FRAMES_PER_S) {
        char buf[DC_ADDRESS_MAX];
        DC_LOG_WARN_EVENT(s->city->ctx->log, "city.socket_flood",
                          DC_LF_T("user_id", dc_session_user_id(&s->session)),
                          DC_LF_T("address", dc_ws_address(s->ws, buf)));
        dc_ws_close(s->ws, DC_WS_RATE_LIMITED, DC_S("rate_limited"));
        return false;
    }
    struct dc_error err = {0};
    (void)dc_fail(&err, DC_LIMIT, 0, "too many frames");
    dc_socket_error(s, &err, DC_SLICE_NULL, 1000 - (now_ms - s->window_ms));
    return false;
}

bool dc_socket_is_entitled(struct dc_socket *s)
{
    if (s->is_verified && s->expires_at.ms <= dc_utc_now().ms) {
        dc_ws_close(s->ws, DC_WS_UNAUTHORIZED, DC_S("token_expired"));
        return false;
    }
    return true;
}

void dc_socket_control(struct dc_socket *s)
{
    (void)is_within_budget(s);
}

bool dc_socket_may_tell(struct dc_socket *s)
{
    struct dc_error err = {0};
    uint64_t wait_ms = dc_city_presence_wait_ms(s->city, dc_session_user_id(&s->session));
    if (wait_ms > 0) {
        (void)dc_fail(&err, DC_LIMIT, 0, "too much coming and going, try again a little later");
        dc_socket_error(s, &err, DC_SLICE_NULL, wait_ms);
    }
    return wait_ms == 0;
}

void dc_socket_alive(struct dc_socket *s)
{
    if (dc_socket_is_entitled(s)) {
        dc_session_alive(s->city, &s->session);
    }
}

json_t *dc_socket_read(struct dc_socket *s, struct dc_slice text)
{
    struct dc_error err = {0};
    json_t *object = NULL;
    if (!is_within_budget(s) || !dc_socket_is_entitled(s)) {
        return NULL;
    }
    if (dc_slice_eq(text, DC_S("ping"))) {
        dc_ws_send(s->ws, DC_S("pong"));
        return NULL;
    }
    if (dc_json_parse(text, &object, &err) != DC_OK) {
        dc_socket_error(s, &err, DC_SLICE_NULL, 0);
        return NULL;
    }
    if (dc_slice_eq(dc_json_text(object, "event"), DC_S("ping"))) {
        send_pong(s, "event");
    } else if (dc_slice_eq(dc_json_text(object, "type"), DC_S("ping"))) {
        send_pong(s, "type");
    } else if (!json_is_object(object) || dc_json_text(object, "event").ptr == NULL) {
        (void)dc_fail_code(&err, DC_INVALID, "unknown_event",
                           "a frame is an object with the text member \"event\"");
        dc_socket_error(s, &err, DC_SLICE_NULL, 0);
    } else {
        return object;
    }
    json_decref(object);
    return NULL;
}

bool dc_socket_input(struct dc_socket *s, const struct dc_field *fields, size_t n,
                     const json_t *object, void *target, struct dc_slice key)
{
    struct dc_problems problems = {0};
    if (dc_input_json(fields, n, object, target, &problems) == DC_OK) {
        return true;
    }
    struct dc_error err = {0};
    const struct dc_problem *first = &problems.items[0];
    (void)dc_fail(&err, DC_INVALID, 0, "%s: %s", first->field, first->detail);
    dc_socket_error(s, &err, key, 0);
    return false;
}

/* The session's texts: a token's are bounded by its length, a claim's by the rules of ids. */
bool dc_socket_is_author(struct dc_socket *s, struct dc_slice author, struct dc_slice key)
{
    struct dc_error err = {0};
    const struct dc_identity who = {.user_id = dc_session_user_id(&s->session)};
    if (dc_identity_is(&who, author, &err)) {
        return true;
    }
    dc_socket_error(s, &err, key, 0);
    return false;
}

bool dc_socket_claim(struct dc_socket *s, struct dc_slice claimed, struct dc_slice key)
{
    struct dc_error err = {0};
    struct dc_arena arena;
    struct dc_identity who = {.user_id = dc_session_user_id(&s->session),
                              .username = dc_session_username(&s->session),
                              .expires_at = s->expires_at,
                              .is_verified = s->is_verified};
    bool is_settled = s->is_bound || s->session.is_live;
    if (!s->is_verified && is_settled) {
        if (claimed.len == 0 || dc_slice_eq(claimed, who.user_id)) {
            return true;
        }
        (void)dc_fail_code(&err, DC_FORBIDDEN, "user_mismatch",
                           "this socket stands for another user_id already");
        dc_socket_error(s, &err, key, 0);
        return false;
    }
    dc_arena_init(&arena, 512, 4096);
    bool is_his = dc_identity_claim(&s->city->ctx->auth, &arena, claimed, &who, &err);
    if (!is_his) {
        dc_socket_error(s, &err, key, 0);
    } else if (!s->is_verified) {
        dc_session_name(&s->session, who.user_id, who.username);
        s->is_bound = claimed.len > 0;
    }
    dc_arena_free(&arena);
    return is_his;
}

struct dc_cursor dc_cursor_take(const struct dc_cursor_query *q)
{
    struct dc_cursor c = {.is_given = q->epoch.ptr != NULL};
    if (c.is_given && q->epoch.len > 0 && q->epoch.len <= sizeof(c.epoch)) {
        memcpy(c.epoch, q->epoch.ptr, q->epoch.len);
        c.epoch_len = q->epoch.len;
    }
    c.has_offset = dc_slice_to_u64(q->offset, &c.offset);
    return c;
}

/* --- opening --- */

/* Behaviour of a socket that is only opened to be closed with a code that browsers can read. */
static void drop_text(struct dc_ws *ws, void *data, struct dc_slice text)
{
    (void)ws;
    (void)data;
    (void)text;
}
static void drop_close(struct dc_ws *ws, void *data, uint16_t code)
{
    (void)ws;
    (void)data;
    (void)code;
}
static const struct dc_ws_class refused_class = {.on_text = drop_text, .on_close = drop_close};

/* A browser that offers subprotocols gives up when none of them is chosen, wherever its token was
 * found, and then cannot read the close code. */
static const char *subprotocol_of(const struct dc_http_request *r)
{
    return dc_offers_bearer(r) ? "bearer" : NULL;
}

void dc_socket_refuse(struct dc_city *city, struct dc_http_request *r, uint16_t code,
                      struct dc_slice reason)
{
    struct dc_ws *ws = dc_ws_accept(city->ctx->ws, r, &refused_class, NULL, subprotocol_of(r));
    if (ws == NULL) {
        return; /* a handshake that is wrong in itself has been answered, and that is in the log */
    }
    /* Never the query: it may carry a token. */
    DC_LOG_INFO_EVENT(city->ctx->log, "city.socket_refused", DC_LF_I("close_code", code),
                      DC_LF_T("code", reason), DC_LF_T("path", dc_http_path(r)),
                      DC_LF_T("request_id", dc_http_request_id(r)),
                      DC_LF_T("address", dc_http_peer(r)));
    dc_ws_close(ws, code, reason);
}

/* Copies the identity out of the request. */
static void init(struct dc_socket *s, struct dc_city *city, const struct dc_identity *who)
{
    s->city = city;
    s->is_verified = who->is_verified;
    s->expires_at = who->expires_at;
    dc_session_init(city, &s->session, who->user_id, who->username);
}

/* What is no key is no page. */
struct page_query {
    struct dc_slice page;
};
static const struct dc_field page_fields[] = {
    {"page", DC_FIELD_TEXT, 0, 0, 0, offsetof(struct page_query, page)}};

bool dc_socket_open(struct dc_socket *s, struct dc_city *city, struct dc_http_request *r,
                    const struct dc_ws_class *cls)
{
    struct dc_error err = {0};
    struct dc_identity who;
    if (!dc_ws_is_upgrade(r)) {
        (void)dc_fail(&err, DC_UPGRADE, 0, "%s", dc_status_text(DC_UPGRADE));
        dc_http_set_header(r, "Upgrade", DC_S("websocket"));
        dc_http_reply_error(r, &err);
        return false;
    }
    enum dc_status st = dc_identify(&city->ctx->auth, r, &who, &err);
    if (st == DC_OK && who.user_id.len == 0 && !city->ctx->auth.is_open) {
        st = dc_fail(&err, DC_UNAUTHORIZED, 0, "a token is needed");
    }
    if (st == DC_UNAUTHORIZED) {
        dc_socket_refuse(city, r, DC_WS_UNAUTHORIZED, dc_slice_z(dc_error_code(&err)));
        return false;
    }
    if (st != DC_OK) {
        dc_http_reply_error(r, &err);
        return false;
    }
    struct page_query q = {0};
    if (!dc_http_read_query(r, page_fields, DC_ARRAY_LEN(page_fields), &q)) {
        return false;
    }
    if (who.is_verified && !dc_places_take(city->sockets, who.user_id, &s->place)) {
        dc_socket_refuse(city, r, DC_WS_RATE_LIMITED, DC_S("too_many_sockets"));
        return false;
    }
    init(s, city, &who);
    dc_page_enter(city->pages, s, q.page);
    s->ws = dc_ws_accept(city->ctx->ws, r, cls, s, subprotocol_of(r));
    if (s->ws == NULL) {
        dc_page_leave(city->pages, s);
        dc_places_leave(city->sockets, &s->place);
        dc_session_deinit(city, &s->session);
    }
    return s->ws != NULL;
}

void dc_socket_deinit(struct dc_socket *s)
{
    dc_session_deinit(s->city, &s->session);
    dc_page_leave(s->city->pages, s);
    dc_places_leave(s->city->sockets, &s->place);
}
