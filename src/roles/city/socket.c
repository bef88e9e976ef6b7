/* The common part of the city's sockets. */
#include "roles/city/socket.h"

#include "base/mem.h"

bool dc_socket_init(struct dc_socket *s, struct dc_city *city, const struct dc_identity *who)
{
    s->city = city;
    dc_arena_init(&s->arena, 160, 4096);
    s->who = *who;
    s->who.user_id = dc_arena_dup(&s->arena, who->user_id);
    s->who.username = dc_arena_dup(&s->arena, who->username);
    s->who.roles = DC_SLICE_NULL;
    dc_session_init(city, &s->session);
    s->session.user_id = s->who.user_id;
    s->session.username = s->who.username;
    return s->who.user_id.ptr != NULL && s->who.username.ptr != NULL;
}

void dc_socket_deinit(struct dc_socket *s)
{
    dc_session_close(s->city, &s->session);
    dc_arena_free(&s->arena);
}

/* --- sending --- */

void dc_socket_send(struct dc_socket *s, struct dc_jsonw *w)
{
    if (s->cursor_of != NULL) {
        dc_topic_write_cursor(s->cursor_of, dc_topic_offset(s->cursor_of), w->out);
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
    DC_LOG_DEBUG_EVENT(s->city->ctx->log, "city.frame_refused", DC_LF_ERR(err));
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
    struct dc_mono now = dc_loop_now(s->city->ctx->loop);
    if (now.ms - s->window.ms >= 1000) {
        s->window = now;
        s->window_frames = 0;
    }
    s->window_frames++;
    if (s->window_frames <= DC_SOCKET_FRAMES_PER_S) {
        return true;
    }
    if (s->window_frames > 2 * DC_SOCKET_FRAMES_PER_S) {
        DC_LOG_WARN_EVENT(s->city->ctx->log, "city.socket_flood",
                          DC_LF_T("user_id", s->who.user_id));
        dc_ws_close(s->ws, DC_WS_RATE_LIMITED, DC_S("rate_limited"));
        return false;
    }
    struct dc_error err = {0};
    (void)dc_fail(&err, DC_LIMIT, 0, "too many frames");
    dc_socket_error(s, &err, DC_SLICE_NULL, (uint64_t)(s->window.ms + 1000 - now.ms));
    return false;
}

json_t *dc_socket_read(struct dc_socket *s, struct dc_slice text)
{
    struct dc_error err = {0};
    json_t *object = NULL;
    if (!is_within_budget(s)) {
        return NULL;
    }
    if (s->who.is_verified && s->who.expires_at.ms <= dc_utc_now().ms) {
        dc_ws_close(s->ws, DC_WS_UNAUTHORIZED, DC_S("token_expired"));
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
                     const json_t *object, void *target)
{
    struct dc_problems problems = {0};
    if (dc_input_json(fields, n, object, target, &problems) == DC_OK) {
        return true;
    }
    struct dc_error err = {0};
    const struct dc_problem *first = &problems.items[0];
    struct dc_slice key = dc_json_text(object, "idempotency_key");
    (void)dc_fail(&err, DC_INVALID, 0, "%s: %s", first->field, first->detail);
    dc_socket_error(s, &err, key.len <= 128 && dc_text_is_valid(key) ? key : DC_SLICE_NULL, 0);
    return false;
}

bool dc_socket_claim(struct dc_socket *s, struct dc_slice claimed)
{
    struct dc_error err = {0};
    /* An anonymous socket may say once who it is; after that it is that person. */
    if (!s->who.is_verified && s->session.is_live && claimed.len > 0 &&
        !dc_slice_eq(claimed, s->who.user_id)) {
        (void)dc_fail_code(&err, DC_FORBIDDEN, "user_mismatch",
                           "this socket stands for another user_id already");
        dc_socket_error(s, &err, DC_SLICE_NULL, 0);
        return false;
    }
    if (!s->who.is_verified && s->session.is_live) {
        return true;
    }
    if (!dc_identity_claim(&s->city->ctx->auth, &s->arena, claimed, &s->who, &err)) {
        dc_socket_error(s, &err, DC_SLICE_NULL, 0);
        return false;
    }
    s->session.user_id = s->who.user_id;
    s->session.username = s->who.username;
    return true;
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

void dc_socket_refuse(struct dc_city *city, struct dc_http_request *r, uint16_t code,
                      struct dc_slice reason)
{
    struct dc_ws *ws = dc_ws_accept(city->ctx->ws, r, &refused_class, NULL, NULL);
    if (ws != NULL) {
        dc_ws_close(ws, code, reason);
    }
}

struct dc_socket *dc_socket_accept(struct dc_city *city, struct dc_http_request *r,
                                   const struct dc_ws_class *cls, size_t size)
{
    struct dc_error err = {0};
    struct dc_identity who;
    if (!dc_ws_is_upgrade(r)) {
        (void)dc_fail(&err, DC_UPGRADE, 0, "%s", dc_status_text(DC_UPGRADE));
        dc_http_set_header(r, "Upgrade", DC_S("websocket"));
        dc_http_reply_error(r, &err);
        return NULL;
    }
    if (dc_identify(&city->ctx->auth, r, &who, &err) != DC_OK ||
        (who.user_id.len == 0 && !city->ctx->auth.is_open)) {
        const char *code_z = err.status == DC_OK ? "unauthorized" : dc_error_code(&err);
        dc_socket_refuse(city, r, DC_WS_UNAUTHORIZED, dc_slice_z(code_z));
        return NULL;
    }
    struct dc_socket *s = dc_calloc(1, size);
    if (!dc_socket_init(s, city, &who)) {
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
        dc_http_reply_error(r, &err);
        dc_arena_free(&s->arena);
        dc_free(s);
        return NULL;
    }
    s->ws = dc_ws_accept(city->ctx->ws, r, cls, s, who.by_subprotocol ? "bearer" : NULL);
    if (s->ws == NULL) {
        dc_arena_free(&s->arena);
        dc_free(s);
        return NULL;
    }
    return s;
}
