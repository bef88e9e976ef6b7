/* Routers, listeners, and the routes that every process has. */
#include "cli/process.h"
#include "net/static_files.h"

#include <stdio.h>

#define MAX_OUTPUT_BYTES ((size_t)8 * 1024 * 1024)
#define SSE_KEEPALIVE_MS 15000

/* --- routes of every process --- */

static void reply_health(struct dc_process *p, struct dc_http_request *r, bool with_details)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_health_write(p->ctx.health, &w);
    if (with_details) {
        dc_health_write_facts(p->ctx.health, &w);
        dc_jsonw_key_text(&w, "version", DC_S(DC_VERSION));
        dc_jsonw_key_i64(&w, "uptime_s", (dc_loop_now(p->ctx.loop).ms - p->started_at.ms) / 1000);
    }
    dc_jsonw_end(&w);
    bool is_down = dc_health_overall(p->ctx.health) == DC_HEALTH_DOWN;
    dc_http_set_header(r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(r, is_down ? 503 : 200, &out);
}

static void get_livez(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_reply(r, 200, "application/json", DC_S("{\"status\":\"ok\"}"));
}

static void get_readyz(void *ctx, struct dc_http_request *r)
{
    reply_health(ctx, r, false);
}

static void get_healthz(void *ctx, struct dc_http_request *r)
{
    reply_health(ctx, r, true);
}

static void get_metrics(void *ctx, struct dc_http_request *r)
{
    struct dc_process *p = ctx;
    struct dc_strbuf out = {0};
    dc_metrics_render(p->ctx.metrics, &out);
    if (dc_strbuf_ok(&out)) {
        dc_http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", dc_strbuf_slice(&out));
    } else {
        struct dc_error err = {0};
        (void)dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
        dc_http_reply_error(r, &err);
    }
    dc_strbuf_free(&out);
}

static const struct dc_route health_routes[] = {
    {DC_GET, "/livez", get_livez},
    {DC_GET, "/readyz", get_readyz},
    {DC_GET, "/healthz", get_healthz},
};
static const struct dc_route metrics_routes[] = {{DC_GET, "/metrics", get_metrics}};

/* --- hubs and routers --- */

static uint64_t ping_interval_ms(const struct dc_settings *s)
{
    /* Room sockets keep their lease alive by answering pings. */
    int64_t half = s->presence_lease_ms / 2;
    int64_t ping = s->ws_ping_interval_ms < half ? s->ws_ping_interval_ms : half;
    return ping > 0 ? (uint64_t)ping : 1;
}

/* One that was not asked for may be missing: builders run the city without its pages. */
static enum dc_status load_web(struct dc_process *p, struct dc_error *err)
{
    struct dc_error why = {0};
    struct dc_strbuf dir = {0};
    dc_cli_find_dir(p->cli, p->settings->web_dir, DC_WEB_DIRS, &dir);
    enum dc_status st = dc_static_files_load(dir.ptr, &p->web, &why);
    if (st == DC_OK) {
        dc_router_set_fallback(p->ctx.public_router, dc_static_files_serve, p->web);
    } else if (p->settings->web_dir != NULL) {
        st = dc_fail(err, DC_CONFIG, why.cause, "WEB_DIR: %.160s", dc_error_text(&why));
    } else {
        DC_LOG_WARN_EVENT(p->ctx.log, "web.missing", DC_LF_ERR(&why));
        st = DC_OK;
    }
    dc_strbuf_free(&dir);
    return st;
}

enum dc_status dc_process_open_net(struct dc_process *p, struct dc_error *err)
{
    struct dc_ctx *ctx = &p->ctx;
    const struct dc_settings *s = p->settings;
    const struct dc_ws_opts ws = {.max_frame_bytes = (size_t)s->max_frame_bytes,
                                  .ping_interval_ms = ping_interval_ms(s),
                                  .idle_timeout_ms = (uint64_t)s->ws_idle_timeout_ms,
                                  .allowed_origins = s->cors_origins};
    ctx->hub = dc_hub_create(ctx->loop, ctx->metrics);
    ctx->public_router = dc_router_create();
    ctx->internal_router = dc_router_create();
    enum dc_status st = dc_ws_hub_create(ctx->loop, &ws, ctx->log, ctx->metrics, &ctx->ws, err);
    if (st == DC_OK) {
        st = dc_sse_hub_create(ctx->loop, SSE_KEEPALIVE_MS, ctx->log, &ctx->sse, err);
    }
    if (st == DC_OK && s->jwt_secret != NULL) {
        st = dc_tokens_create(dc_slice_z(s->jwt_secret), &ctx->auth.tokens, err);
    }
    ctx->auth.is_open = strcmp(s->auth_mode, "open") == 0;
    ctx->auth.internal_key = dc_slice_z(s->internal_api_key);
    dc_router_add(ctx->public_router, "", health_routes, DC_ARRAY_LEN(health_routes), p);
    dc_router_add(ctx->internal_router, "", health_routes, DC_ARRAY_LEN(health_routes), p);
    dc_router_add(ctx->internal_router, "", metrics_routes, DC_ARRAY_LEN(metrics_routes), p);
    if (st == DC_OK && ctx->is_combined) {
        st = load_web(p, err);
    }
    return st;
}

void dc_process_close_net(struct dc_process *p)
{
    dc_ws_hub_destroy(p->ctx.ws);
    dc_sse_hub_destroy(p->ctx.sse);
    dc_hub_destroy(p->ctx.hub);
}

/* --- listening --- */

static enum dc_status listen_on(struct dc_process *p, const char *name, const char *host,
                                int64_t port, bool is_shared, const struct dc_router *router,
                                struct dc_server **out, struct dc_error *err)
{
    const struct dc_settings *s = p->settings;
    /* Who reaches the internal listener is ours. */
    uint32_t per_address =
        router == p->ctx.public_router ? (uint32_t)s->limit_connections_per_address : 0;
    const struct dc_server_opts opts = {.name = name,
                                        .host = host,
                                        .port = (uint16_t)port,
                                        .reuse_port = is_shared,
                                        .max_connections = (size_t)s->max_connections,
                                        .max_connections_per_address = per_address,
                                        .max_head_bytes = (size_t)s->max_head_bytes,
                                        .max_body_bytes = (size_t)s->max_body_bytes,
                                        .max_output_bytes = MAX_OUTPUT_BYTES,
                                        .head_timeout_ms = (uint64_t)s->head_timeout_ms,
                                        .body_timeout_ms = (uint64_t)s->body_timeout_ms,
                                        .keepalive_timeout_ms = (uint64_t)s->keepalive_timeout_ms,
                                        .cors_origins = s->cors_origins,
                                        .trusted_proxies = s->trusted_proxies};
    enum dc_status st =
        dc_server_create(p->ctx.loop, &opts, router, p->ctx.log, p->ctx.metrics, out, err);
    if (st == DC_OK) {
        DC_LOG_INFO_EVENT(p->ctx.log, "server.listening", DC_LF_Z("listener", name),
                          DC_LF_Z("address", host), DC_LF_I("port", dc_server_port(*out)));
    }
    return st;
}

/* Who listens everywhere is reached at home. */
static void set_internal_url(struct dc_process *p)
{
    const char *host = p->settings->internal_host;
    bool is_v6 = strchr(host, ':') != NULL;
    if (strcmp(host, "0.0.0.0") == 0) {
        host = "127.0.0.1";
    } else if (strcmp(host, "::") == 0) {
        host = "::1";
    }
    int n = snprintf(p->ctx.internal_url, sizeof(p->ctx.internal_url), "http://%s%s%s:%u",
                     is_v6 ? "[" : "", host, is_v6 ? "]" : "",
                     (unsigned)dc_server_port(p->internal_server));
    DC_ASSERT(n > 0 && (size_t)n < sizeof(p->ctx.internal_url)); /* the host is an address */
}

void dc_process_listen_internal(struct dc_process *p)
{
    const struct dc_settings *s = p->settings;
    struct dc_error err = {0};
    if (p->internal_server != NULL || p->is_stopping) {
        return;
    }
    /* Each worker answers for itself, on a port of its own. */
    int64_t shift = s->internal_port != 0 && s->worker > 0 ? s->worker - 1 : 0;
    if (listen_on(p, "internal", s->internal_host, s->internal_port + shift, false,
                  p->ctx.internal_router, &p->internal_server, &err) != DC_OK) {
        dc_process_fail(p, &err);
        return;
    }
    set_internal_url(p);
}

void dc_process_listen_public(struct dc_process *p)
{
    const struct dc_settings *s = p->settings;
    struct dc_error err = {0};
    if (p->public_server != NULL || p->is_stopping) {
        return;
    }
    bool is_worker = s->worker > 0;
    if (listen_on(p, "public", s->host, is_worker ? s->worker_port : s->port, is_worker,
                  p->ctx.public_router, &p->public_server, &err) != DC_OK) {
        dc_process_fail(p, &err);
        return;
    }
    if (p->ctx.is_combined && s->worker <= 1) {
        bool is_v6 = strchr(s->host, ':') != NULL;
        (void)printf("DAARION City is open: http://%s%s%s:%u/\n", is_v6 ? "[" : "", s->host,
                     is_v6 ? "]" : "", (unsigned)dc_server_port(p->public_server));
        (void)fflush(stdout);
    }
}
