/* Pages of a browser, and the request of one that is closed. */
#include "roles/city/pages.h"

#include "base/mem.h"
#include "roles/request.h"
#include "roles/session_event.h"

/* Keys are made up by clients: a socket is let go only by its own person's request. */
struct dc_page {
    struct dc_list sockets;
    size_t key_len;
    char key[];
};

struct dc_city_pages {
    struct dc_city *city;
    struct dc_map by_key;
    struct dc_bus_sub *sub;
};

static struct dc_slice key_of(const struct dc_page *page)
{
    return dc_slice_make(page->key, page->key_len);
}

void dc_page_enter(struct dc_city_pages *pages, struct dc_socket *s, struct dc_slice key)
{
    if (key.len == 0 || key.len > DC_PAGE_KEY_MAX) {
        return;
    }
    struct dc_page *page = dc_map_get(&pages->by_key, key);
    if (page == NULL) {
        page = dc_calloc(1, sizeof(*page) + key.len);
        dc_list_init(&page->sockets);
        page->key_len = key.len;
        memcpy(page->key, key.ptr, key.len);
        (void)dc_map_put(&pages->by_key, key_of(page), page);
    }
    s->page = page;
    dc_list_push_back(&page->sockets, &s->page_link);
}

void dc_page_leave(struct dc_city_pages *pages, struct dc_socket *s)
{
    struct dc_page *page = s->page;
    if (page == NULL) {
        return;
    }
    s->page = NULL;
    dc_list_remove(&s->page_link);
    if (dc_list_is_empty(&page->sockets)) {
        (void)dc_map_remove(&pages->by_key, key_of(page));
        dc_free(page);
    }
}

/* --- a page is closed --- */

static void let_go(struct dc_city_pages *pages, struct dc_slice user_id, struct dc_slice key)
{
    const struct dc_page *page = dc_map_get(&pages->by_key, key);
    if (page == NULL) {
        return;
    }
    DC_LIST_FOREACH (it, &page->sockets) {
        struct dc_socket *s = DC_LIST_ENTRY(it, struct dc_socket, page_link);
        if (dc_slice_eq(dc_session_user_id(&s->session), user_id)) {
            dc_session_close(pages->city, &s->session);
        }
    }
}

static enum dc_status tell_others(const struct dc_city *city, struct dc_slice user_id,
                                  struct dc_slice key)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "from", dc_slice_z(city->gateway_id));
    dc_jsonw_key_text(&w, "user_id", user_id);
    dc_jsonw_key_text(&w, "page", key);
    dc_jsonw_end(&w);
    enum dc_status st = dc_strbuf_ok(&out)
                            ? dc_bus_publish(city->ctx->bus, DC_S(DC_PRESENCE_LEFT), DC_SLICE_NULL,
                                             dc_strbuf_slice(&out), NULL, NULL, NULL)
                            : DC_NO_MEMORY;
    dc_strbuf_free(&out);
    return st;
}

static void on_left(void *data, const struct dc_bus_message *m)
{
    struct dc_city_pages *pages = data;
    json_t *object = NULL;
    if (dc_json_parse(m->payload, &object, NULL) == DC_OK &&
        !dc_slice_eq(dc_json_text(object, "from"), dc_slice_z(pages->city->gateway_id))) {
        struct dc_slice key = dc_json_text(object, "page");
        if (key.ptr != NULL) {
            let_go(pages, dc_json_text(object, "user_id"), key);
        }
    }
    json_decref(object);
}

struct leave_body {
    struct dc_slice user_id, page;
};
static const struct dc_field leave_fields[] = {
    {"user_id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, offsetof(struct leave_body, user_id)},
    {"page", DC_FIELD_TEXT, DC_FIELD_REQUIRED | DC_FIELD_SINGLE_LINE, 1, DC_PAGE_KEY_MAX,
     offsetof(struct leave_body, page)},
};

static void post_leave(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct leave_body body = {0};
    struct dc_identity who;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    if (!dc_require_token(&city->ctx->auth, r) ||
        !dc_http_read_json(r, leave_fields, DC_ARRAY_LEN(leave_fields), &body) ||
        !dc_require_identity(&city->ctx->auth, r, body.user_id, &who)) {
        return;
    }
    uint64_t wait_ms =
        dc_rate_limit_take(city->message_limit, who.user_id, dc_loop_now(city->ctx->loop));
    if (wait_ms > 0) {
        dc_request_fail_limit(r, wait_ms, "too many requests, try again a little later");
        return;
    }
    let_go(city->pages, who.user_id, body.page);
    enum dc_status st = tell_others(city, who.user_id, body.page);
    if (st != DC_OK) { /* there, the sockets' own end or their lease tells it */
        DC_LOG_DEBUG_EVENT(city->ctx->log, "city.left_untold", DC_LF_Z("code", dc_status_code(st)));
    }
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_bool(&w, "ok", true);
    dc_jsonw_end(&w);
    dc_http_reply_json(r, 200, &out);
}

static const struct dc_route routes[] = {{DC_POST, "/city/presence/leave", post_leave}};

void dc_city_routes_pages(struct dc_city *city)
{
    dc_city_add_routes(city, routes, DC_ARRAY_LEN(routes));
}

/* --- life --- */

enum dc_status dc_pages_create(struct dc_city *city, struct dc_city_pages **out,
                               struct dc_error *err)
{
    struct dc_city_pages *pages = dc_calloc(1, sizeof(*pages));
    const struct dc_bus_sub_opts opts = {.pattern = DC_S(DC_PRESENCE_LEFT), .start = DC_BUS_NEW};
    uint64_t seed[2];
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&pages->by_key, seed);
    pages->city = city;
    enum dc_status st = dc_bus_subscribe(city->ctx->bus, &opts, on_left, pages, &pages->sub, err);
    if (st != DC_OK) {
        dc_free(pages);
        return st;
    }
    *out = pages;
    return DC_OK;
}

void dc_pages_destroy(struct dc_city_pages *pages)
{
    if (pages != NULL) {
        DC_ASSERT(pages->by_key.count == 0);
        dc_bus_unsubscribe(pages->sub);
        dc_map_free(&pages->by_key);
        dc_free(pages);
    }
}
