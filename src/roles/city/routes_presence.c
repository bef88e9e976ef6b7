/* GET /presence/summary, /presence/snapshot, /presence/stream (SSE) and GET /health (CONTRACT
 * §2.12, §6.2, §1.1). */
#include "net/conn.h"
#include "roles/city/people.h"

static void get_summary(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    if (!dc_city_may_read(city, r)) {
        return;
    }
    struct dc_topic *topic = dc_people_summary_topic(city->people);
    struct dc_strbuf out = {0};
    dc_people_write_summary(city->people, &out);
    dc_topic_write_cursor(topic, dc_topic_offset(topic), &out);
    dc_http_set_header(r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(r, 200, &out);
}

static void on_stream_closed(void *data)
{
    (void)data; /* the hub has let go of the connection already */
}

static void get_stream(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    if (!dc_city_may_read(city, r)) {
        return;
    }
    struct dc_conn *conn = dc_sse_accept(city->ctx->sse, r, on_stream_closed, NULL);
    if (conn == NULL) {
        return;
    }
    struct dc_topic *topic = dc_people_summary_topic(city->people);
    struct dc_strbuf id = {0};
    struct dc_strbuf out = {0};
    dc_strbuf_add(&id, dc_topic_epoch(topic));
    dc_strbuf_printf(&id, ":%llu", (unsigned long long)dc_topic_offset(topic));
    dc_people_write_summary(city->people, &out);
    dc_topic_write_cursor(topic, dc_topic_offset(topic), &out);
    if (dc_strbuf_ok(&id) && dc_strbuf_ok(&out)) {
        dc_sse_send(conn, dc_strbuf_slice(&id), dc_strbuf_slice(&out));
    }
    dc_topic_join(topic, conn, dc_topic_offset(topic));
    dc_strbuf_free(&id);
    dc_strbuf_free(&out);
}

static void get_health(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    bool is_up = dc_health_overall(city->ctx->health) != DC_HEALTH_DOWN;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "status", is_up ? DC_S("healthy") : DC_S("unhealthy"));
    dc_jsonw_key_text(&w, "service", DC_S("city-service"));
    dc_jsonw_end(&w);
    dc_http_reply_json(r, is_up ? 200 : 503, &out);
}

static const struct dc_route routes[] = {
    {DC_GET, "/presence/summary", get_summary},
    {DC_GET, "/presence/snapshot", get_summary},
    {DC_GET, "/presence/stream", get_stream},
};
static const struct dc_route health_routes[] = {{DC_GET, "/health", get_health}};

void dc_city_routes_presence(struct dc_city *city)
{
    struct dc_router *router = city->ctx->public_router;
    dc_router_add(router, "", routes, DC_ARRAY_LEN(routes), city);
    dc_router_add(router, "/api", routes, DC_ARRAY_LEN(routes), city);
    dc_router_add(router, "", health_routes, DC_ARRAY_LEN(health_routes), city);
}
