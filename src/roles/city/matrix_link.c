/* What city-service asks matrix-gateway for. */
#include "roles/city/matrix_link.h"

#include "base/mem.h"
#include "matrix/matrix_path.h"
#include "matrix/matrix_push.h"
#include "roles/peer.h"

/* The gateway's own time for the homeserver, and some for the way there. */
#define WAY_MS 1000

enum dc_status dc_matrix_link_open(struct dc_city *city, struct dc_error *err)
{
    return dc_peer_open_gateway(city->ctx, &city->gateway, err);
}

void dc_matrix_link_close(struct dc_city *city)
{
    dc_peer_close(city->gateway);
    city->gateway = NULL;
}

bool dc_matrix_link_is_on(const struct dc_city *city)
{
    return city->gateway != NULL;
}

/* --- calls --- */

struct asking {
    struct dc_city *city;
    dc_matrix_room_cb room_cb;
    dc_matrix_session_cb session_cb;
    dc_matrix_said_cb said_cb;
    void *data;
};

static enum dc_status unavailable(const struct dc_error *cause, struct dc_error *err)
{
    bool is_misconfigured = strcmp(dc_error_code(cause), "matrix_misconfigured") == 0;
    return dc_fail_code(err, DC_UNAVAILABLE,
                        is_misconfigured ? "matrix_misconfigured" : "matrix_unavailable", "%s",
                        dc_error_text(cause));
}

/* body is freed. */
static enum dc_status ask(struct dc_city *city, const char *method_z, struct dc_slice path,
                          struct dc_strbuf *body, dc_peer_cb cb, const struct asking *like,
                          struct dc_error *err)
{
    struct dc_error cause = {0};
    enum dc_status st = DC_OK;
    if (city->gateway == NULL) {
        st = dc_fail_code(&cause, DC_UNAVAILABLE, "matrix_unavailable", "the city is stopping");
    } else if (!dc_strbuf_ok(body)) {
        st = dc_fail(&cause, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    } else {
        struct asking *a = dc_calloc(1, sizeof(*a));
        *a = *like;
        const struct dc_peer_call call = {
            .method_z = method_z,
            .path = path,
            .body = dc_strbuf_slice(body),
            .deadline_ms = (uint64_t)city->ctx->settings->matrix_timeout_ms + WAY_MS,
            .cb = cb,
            .data = a};
        st = dc_peer_call(city->gateway, &call, &cause);
        if (st == DC_OK) {
            dc_city_pending_begin(city);
        } else {
            dc_free(a);
        }
    }
    dc_strbuf_free(body);
    return st == DC_OK ? DC_OK : unavailable(&cause, err);
}

/* --- rooms --- */

static void on_room(void *data, enum dc_status st, const json_t *json, int64_t retry_after_ms,
                    const struct dc_error *cause)
{
    struct asking *a = data;
    struct dc_city *city = a->city;
    struct dc_error err = {0};
    struct dc_matrix_room_ids room = {dc_json_text(json, "matrix_room_id"),
                                      dc_json_text(json, "matrix_room_alias")};
    if (st == DC_OK && (room.room_id.ptr == NULL || room.alias.ptr == NULL)) {
        st = dc_fail_code(&err, DC_UNAVAILABLE, "matrix_unavailable",
                          "matrix-gateway names no room");
    } else if (st == DC_LIMIT || st == DC_INVALID ||
               (st != DC_OK && (strcmp(dc_error_code(cause), "alias_taken") == 0 ||
                                strcmp(dc_error_code(cause), "not_found") == 0))) {
        err = *cause;
    } else if (st != DC_OK) {
        st = unavailable(cause, &err);
    }
    a->room_cb(a->data, st, st == DC_OK ? &room : NULL, retry_after_ms, &err);
    dc_free(a);
    dc_city_pending_end(city);
}

enum dc_status dc_matrix_link_create(struct dc_city *city, struct dc_slice slug,
                                     struct dc_slice name, dc_matrix_room_cb cb, void *data,
                                     struct dc_error *err)
{
    const struct asking like = {.city = city, .room_cb = cb, .data = data};
    struct dc_strbuf body = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &body);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "slug", slug);
    dc_jsonw_key_text(&w, "name", name);
    dc_jsonw_key_text(&w, "visibility", DC_S("public"));
    dc_jsonw_end(&w);
    return ask(city, "POST", DC_S("/internal/matrix/rooms/create"), &body, on_room, &like, err);
}

enum dc_status dc_matrix_link_find(struct dc_city *city, struct dc_slice slug, dc_matrix_room_cb cb,
                                   void *data, struct dc_error *err)
{
    const struct asking like = {.city = city, .room_cb = cb, .data = data};
    struct dc_strbuf body = {0};
    struct dc_strbuf path = {0};
    dc_strbuf_add(&path, DC_S("/internal/matrix/rooms/find-by-alias"));
    dc_matrix_query(&path, "slug", slug);
    if (!dc_strbuf_ok(&path)) {
        body.failed = true;
    }
    enum dc_status st = ask(city, "GET", dc_strbuf_slice(&path), &body, on_room, &like, err);
    dc_strbuf_free(&path);
    return st;
}

/* --- sessions --- */

static bool passes_on(const struct dc_error *cause)
{
    static const char *const codes[] = {"account_taken", "matrix_user_deactivated", "rate_limited",
                                        "matrix_timeout"};
    for (size_t i = 0; i < DC_ARRAY_LEN(codes); i++) {
        if (strcmp(dc_error_code(cause), codes[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void on_session(void *data, enum dc_status st, const json_t *json, int64_t retry_after_ms,
                       const struct dc_error *cause)
{
    struct asking *a = data;
    struct dc_city *city = a->city;
    struct dc_error err = {0};
    struct dc_matrix_session session = {.user_id = dc_json_text(json, "matrix_user_id"),
                                        .access_token = dc_json_text(json, "access_token"),
                                        .device_id = dc_json_text(json, "device_id"),
                                        .server_name = dc_json_text(json, "home_server")};
    if (st == DC_OK && (session.user_id.ptr == NULL || session.access_token.ptr == NULL)) {
        st = dc_fail_code(&err, DC_UNAVAILABLE, "matrix_unavailable",
                          "matrix-gateway gives no token");
    } else if (st != DC_OK && passes_on(cause)) {
        err = *cause;
    } else if (st != DC_OK) {
        st = unavailable(cause, &err);
    }
    a->session_cb(a->data, st, st == DC_OK ? &session : NULL, retry_after_ms, &err);
    dc_free(a);
    dc_city_pending_end(city);
}

enum dc_status dc_matrix_link_session(struct dc_city *city, struct dc_slice user_id,
                                      struct dc_slice username, struct dc_slice device_id,
                                      dc_matrix_session_cb cb, void *data, struct dc_error *err)
{
    const struct asking like = {.city = city, .session_cb = cb, .data = data};
    struct dc_strbuf body = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &body);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "user_id", user_id);
    dc_jsonw_key_text(&w, "display_name", dc_matrix_display_name(username));
    dc_jsonw_key_text(&w, "device_id", device_id);
    dc_jsonw_end(&w);
    return ask(city, "POST", DC_S("/internal/matrix/users/token"), &body, on_session, &like, err);
}

/* --- saying --- */

static void on_said(void *data, enum dc_status st, const json_t *json, int64_t retry_after_ms,
                    const struct dc_error *cause)
{
    struct asking *a = data;
    struct dc_city *city = a->city;
    struct dc_error err = {0};
    struct dc_slice event_id = dc_json_text(json, "event_id");
    if (st == DC_OK && event_id.len == 0) {
        st = dc_fail_code(&err, DC_UNAVAILABLE, "matrix_unavailable",
                          "matrix-gateway names no event");
    } else if (st != DC_OK) {
        err = *cause;
    }
    a->said_cb(a->data, st, event_id, retry_after_ms, &err);
    dc_free(a);
    dc_city_pending_end(city);
}

enum dc_status dc_matrix_link_say(struct dc_city *city, const struct dc_matrix_saying *saying,
                                  dc_matrix_said_cb cb, void *data, struct dc_error *err)
{
    const struct asking like = {.city = city, .said_cb = cb, .data = data};
    struct dc_strbuf body = {0};
    struct dc_strbuf path = {0};
    struct dc_jsonw w;
    bool is_path =
        dc_matrix_path(&path, "/internal/matrix/rooms/{}/send", &saying->matrix_room_id, 1);
    dc_jsonw_init(&w, &body);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "user_id", saying->user_id);
    dc_jsonw_key_text(&w, "username", dc_matrix_display_name(saying->username));
    dc_jsonw_key_text(&w, "body", saying->body);
    dc_jsonw_key_text(&w, "txn_id", saying->message_id);
    dc_jsonw_key_bool(&w, "is_unsure", saying->is_unsure);
    dc_jsonw_end(&w);
    if (!is_path || !dc_strbuf_ok(&path)) {
        body.failed = true;
    }
    enum dc_status st = ask(city, "POST", dc_strbuf_slice(&path), &body, on_said, &like, err);
    dc_strbuf_free(&path);
    return st;
}
