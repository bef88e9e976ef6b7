/* auth-service (CONTRACT §9): guests and who-am-I.  POST /api/auth/guest gives a newcomer an
 * identity at once; it lives in the token alone. */
#include "roles/role.h"
#include "base/mem.h"
#include "base/ulid.h"
#include "net/rate_limit.h"
#include "roles/request.h"

#define DISPLAY_NAME_MAX 64
#define RATE_LIMIT_KEYS  100000

struct auth {
    struct dc_ctx *ctx;
    struct dc_ulid_gen ids;
    struct dc_rate_limit *guest_limit;
};

struct guest_body {
    struct dc_slice display_name;
};
static const struct dc_field guest_fields[] = {
    {"display_name", DC_FIELD_TEXT, DC_FIELD_REQUIRED | DC_FIELD_TRIM | DC_FIELD_SINGLE_LINE, 1,
     DISPLAY_NAME_MAX, offsetof(struct guest_body, display_name)},
};

/* The members of wire type User that both answers share, into an open object. */
static void write_user(struct dc_jsonw *w, const struct dc_claims *claims)
{
    struct dc_slice roles = claims->roles;
    struct dc_slice role;
    dc_jsonw_key_text(w, "id", claims->sub);
    dc_jsonw_key_text(w, "display_name", claims->name);
    dc_jsonw_key(w, "roles");
    dc_jsonw_array(w);
    while (dc_slice_take_token(&roles, ',', &role)) {
        dc_jsonw_text(w, role);
    }
    dc_jsonw_end(w);
}

static void post_guest(void *ctx, struct dc_http_request *r)
{
    struct auth *auth = ctx;
    struct guest_body body = {0};
    struct dc_error err = {0};
    if (!dc_http_read_json(r, guest_fields, DC_ARRAY_LEN(guest_fields), &body)) {
        return;
    }
    uint64_t wait_ms =
        dc_rate_limit_take(auth->guest_limit, dc_http_peer(r), dc_loop_now(auth->ctx->loop));
    if (wait_ms > 0) {
        dc_request_fail_limit(r, wait_ms, "too many new guests from this address");
        return;
    }
    char id[2 + DC_ULID_LEN + 1] = "u_";
    struct dc_utc now = dc_utc_now();
    dc_ulid_next(&auth->ids, now, id + 2);
    int64_t ttl_ms = auth->ctx->settings->guest_token_ttl_ms;
    const struct dc_claims claims = {.sub = dc_slice_z(id),
                                     .name = body.display_name,
                                     .roles = DC_S("guest"),
                                     .issued_at = now,
                                     .expires_at = {now.ms + ttl_ms}};
    struct dc_strbuf token = {0};
    if (dc_tokens_sign(auth->ctx->auth.tokens, &claims, &token, &err) != DC_OK) {
        dc_http_reply_error(r, &err);
        dc_strbuf_free(&token);
        return;
    }
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "access_token", dc_strbuf_slice(&token));
    dc_jsonw_key_text(&w, "token_type", DC_S("Bearer"));
    dc_jsonw_key_i64(&w, "expires_in", ttl_ms / 1000);
    dc_jsonw_key(&w, "user");
    dc_jsonw_object(&w);
    write_user(&w, &claims);
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
    dc_http_set_header(r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(r, 200, &out);
    dc_wipe(token.ptr, token.len);
    dc_strbuf_free(&token);
}

static void get_me(void *ctx, struct dc_http_request *r)
{
    struct auth *auth = ctx;
    struct dc_identity who;
    struct dc_error err = {0};
    if (dc_identify(&auth->ctx->auth, r, &who, &err) != DC_OK || !who.is_verified) {
        if (err.status == DC_OK) {
            (void)dc_fail(&err, DC_UNAUTHORIZED, 0, "a token is needed");
        }
        dc_http_reply_error(r, &err);
        return;
    }
    const struct dc_claims claims = {.sub = who.user_id, .name = who.username, .roles = who.roles};
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    write_user(&w, &claims);
    dc_jsonw_key_utc(&w, "expires_at", who.expires_at);
    dc_jsonw_end(&w);
    dc_http_set_header(r, "Cache-Control", DC_S("no-store"));
    dc_http_reply_json(r, 200, &out);
}

static const struct dc_route routes[] = {
    {DC_POST, "/api/auth/guest", post_guest},
    {DC_GET, "/api/auth/me", get_me},
};

static enum dc_status start(struct dc_ctx *ctx, void (*ready)(void *data), void *ready_data,
                            void **state, struct dc_error *err)
{
    (void)err; /* cannot fail */
    struct auth *auth = dc_calloc(1, sizeof(*auth));
    auth->ctx = ctx;
    auth->guest_limit =
        dc_rate_limit_create((uint32_t)ctx->settings->limit_guests_per_s,
                             (uint32_t)ctx->settings->limit_guests_burst, RATE_LIMIT_KEYS);
    dc_router_add(ctx->public_router, "", routes, DC_ARRAY_LEN(routes), auth);
    *state = auth;
    ready(ready_data);
    return DC_OK;
}

static void stop(void *state, void (*stopped)(void *data), void *data)
{
    struct auth *auth = state;
    dc_rate_limit_destroy(auth->guest_limit);
    dc_free(auth);
    stopped(data);
}

const struct dc_role dc_role_auth = {
    .name = "auth-service",
    .summary = "guests and their tokens",
    .port = 7020,
    .needs = DC_NEEDS_TOKENS,
    .start = start,
    .stop = stop,
};
