/* GET /city/chat/bootstrap: what a page needs to talk in a room as a Matrix client (CONTRACT §2.8).
 * Each call without device_id is a session of its own: the token belongs to a new device. */
#include "roles/city/matrix_link.h"
#include "roles/city/messages.h"
#include "roles/request.h"

struct bootstrap_query {
    struct dc_slice room_slug, device_id;
};
static const struct dc_field fields[] = {
    {"room_slug", DC_FIELD_ID, DC_FIELD_REQUIRED, 0, 0,
     offsetof(struct bootstrap_query, room_slug)},
    {"device_id", DC_FIELD_KEY, DC_FIELD_NULLABLE, 0, 0,
     offsetof(struct bootstrap_query, device_id)},
};

/* Lives in the request's arena. */
struct bootstrap {
    struct dc_city *city;
    struct dc_http_request *r;
    struct dc_city_room *room;
};

static void write_url(const struct dc_city *city, struct dc_slice server_name, struct dc_jsonw *w)
{
    const struct dc_settings *s = city->ctx->settings;
    const char *url_z = s->matrix_public_url != NULL ? s->matrix_public_url : s->synapse_url;
    struct dc_strbuf url = {0};
    if (url_z != NULL) {
        dc_strbuf_add_z(&url, url_z);
    } else { /* where clients look by themselves */
        dc_strbuf_add(&url, DC_S("https://"));
        dc_strbuf_add(&url, server_name);
    }
    dc_jsonw_key(w, "matrix_hs_url");
    if (dc_strbuf_ok(&url)) {
        dc_jsonw_text(w, dc_strbuf_slice(&url));
    } else {
        w->out->failed = true;
    }
    dc_strbuf_free(&url);
}

static void on_session(void *data, enum dc_status st, const struct dc_matrix_session *session,
                       int64_t retry_after_ms, const struct dc_error *err)
{
    const struct bootstrap *b = data;
    const struct dc_room_row *row = &b->room->row;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    if (st == DC_LIMIT) {
        dc_request_fail_limit(b->r, retry_after_ms > 0 ? (uint64_t)retry_after_ms : 1000,
                              dc_error_text(err));
        return;
    }
    if (st != DC_OK) {
        dc_http_reply_error(b->r, err);
        return;
    }
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    write_url(b->city, session->server_name, &w);
    dc_jsonw_key_text(&w, "matrix_user_id", session->user_id);
    dc_jsonw_key_text(&w, "matrix_access_token", session->access_token);
    dc_jsonw_key_text(&w, "matrix_device_id", session->device_id);
    dc_jsonw_key_text(&w, "matrix_room_id", row->matrix_room_id);
    dc_jsonw_key_text(&w, "matrix_room_alias", row->matrix_room_alias);
    dc_jsonw_key(&w, "room");
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "id", row->id);
    dc_jsonw_key_text(&w, "slug", row->slug);
    dc_jsonw_key_text(&w, "name", row->name);
    dc_jsonw_key_text(&w, "description", row->description);
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
    dc_http_set_header(b->r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(b->r, 200, &out);
}

static void fail(struct dc_http_request *r, enum dc_status st, const char *code_z,
                 const char *text_z)
{
    struct dc_error err = {0};
    (void)dc_fail_code(&err, st, code_z, "%s", text_z);
    dc_http_reply_error(r, &err);
}

static void get_bootstrap(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct bootstrap_query q = {0};
    struct dc_identity who;
    struct dc_error err = {0};
    if (!dc_require_token(&city->ctx->auth, r) || !dc_city_is_ready(city, r) ||
        !dc_http_read_query(r, fields, DC_ARRAY_LEN(fields), &q) ||
        !dc_require_identity(&city->ctx->auth, r, DC_SLICE_NULL, &who)) {
        return;
    }
    if (!who.is_verified) { /* an open city too gives no accounts to nobody */
        fail(r, DC_UNAUTHORIZED, NULL, "a valid token is needed");
        return;
    }
    struct dc_city_room *room = dc_city_room_named(city, r, q.room_slug, get_bootstrap);
    if (room == NULL) {
        return;
    }
    bool is_on = dc_matrix_link_is_on(city);
    if (!is_on || room->row.matrix_room_id.ptr == NULL) {
        if (!is_on || dc_city_room_is_fresh(city, r, room, get_bootstrap)) {
            fail(r, DC_MALFORMED, "room_without_matrix", "the room has no Matrix room");
        }
        return;
    }
    uint64_t wait_ms = dc_city_message_wait_ms(city, who.user_id);
    if (wait_ms > 0) {
        dc_request_fail_limit(r, wait_ms, "too many sessions, try again a little later");
        return;
    }
    struct bootstrap *b = dc_request_alloc(r, sizeof(*b));
    if (b == NULL) {
        return;
    }
    *b = (struct bootstrap){city, r, room};
    if (dc_matrix_link_session(city, who.user_id, who.username, q.device_id, on_session, b, &err) !=
        DC_OK) {
        dc_http_reply_error(r, &err);
    }
}

static const struct dc_route routes[] = {{DC_GET, "/city/chat/bootstrap", get_bootstrap}};

void dc_city_routes_chat(struct dc_city *city)
{
    dc_city_add_routes(city, routes, DC_ARRAY_LEN(routes));
}
