/* Is there a homeserver, and whom may we act as?  Asked at the start, then every
 * MATRIX_CHECK_INTERVAL_MS, and at once when a call fails; the answer is what /healthz says. */
#include "base/encoding.h"
#include "base/mem.h"
#include "matrix/matrix_error.h"
#include "matrix/matrix_id.h"
#include "matrix/matrix_read.h"
#include "roles/matrix_gateway/gateway.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define HMAC_BYTES 32
/* Letters of the secret's fingerprint in our administrator's name: a new secret, a new account. */
#define FINGERPRINT_CHARS 8

/* --- settings --- */

static void set_text(struct dc_strbuf *b, struct dc_slice text)
{
    if (b->ptr != NULL) {
        dc_wipe(b->ptr, b->len);
    }
    dc_strbuf_free(b);
    *b = (struct dc_strbuf){0};
    if (dc_strbuf_reserve(b, text.len + 1)) { /* whole: growing would leave copies behind */
        dc_strbuf_add(b, text);
    }
}

enum dc_status dc_gateway_read_settings(struct dc_gateway *g, struct dc_error *err)
{
    const struct dc_settings *s = g->ctx->settings;
    if (s->matrix_server_name == NULL) {
        return dc_fail(err, DC_CONFIG, 0,
                       "SYNAPSE_URL is set, so MATRIX_SERVER_NAME is needed: the server_name in "
                       "homeserver.yaml");
    }
    if (s->matrix_as_token == NULL && s->synapse_admin_token == NULL &&
        s->synapse_registration_secret == NULL) {
        return dc_fail(err, DC_CONFIG, 0,
                       "SYNAPSE_URL is set, so MATRIX_AS_TOKEN is needed (`daarion "
                       "matrix-config` makes one), or SYNAPSE_ADMIN_TOKEN, or "
                       "SYNAPSE_REGISTRATION_SECRET");
    }
    g->server_name = dc_slice_z(s->matrix_server_name);
    if (s->matrix_as_token != NULL) {
        g->as.state = DC_CREDENTIAL_UNKNOWN;
        set_text(&g->as.token, dc_slice_z(s->matrix_as_token));
    }
    g->push =
        s->matrix_as_token != NULL && s->matrix_hs_token != NULL ? DC_PUSH_UNKNOWN : DC_PUSH_OFF;
    if (s->synapse_admin_token != NULL) {
        g->admin.state = DC_CREDENTIAL_UNKNOWN;
        set_text(&g->admin.token, dc_slice_z(s->synapse_admin_token));
    } else if (s->synapse_registration_secret != NULL) {
        g->admin.state = DC_CREDENTIAL_UNKNOWN;
        g->is_admin_from_secret = true;
    }
    return DC_OK;
}

/* --- who to act as --- */

bool dc_gateway_has_as(const struct dc_gateway *g)
{
    return g->as.state == DC_CREDENTIAL_OK;
}

static enum dc_status fail_nobody(const struct dc_gateway *g, const struct dc_gateway_credential *c,
                                  struct dc_error *err)
{
    if (c->state == DC_CREDENTIAL_REFUSED) {
        return dc_fail_code(err, DC_UNAVAILABLE, DC_GATEWAY_MISCONFIGURED, "%s", c->why);
    }
    if (c->state == DC_CREDENTIAL_NONE) {
        return dc_fail_code(err, DC_UNAVAILABLE, DC_GATEWAY_MISCONFIGURED,
                            "this needs an administrator: set SYNAPSE_ADMIN_TOKEN");
    }
    if (g->server_error.status != DC_OK) {
        if (err != NULL) {
            *err = g->server_error;
        }
        return g->server_error.status;
    }
    return dc_fail_code(err, DC_UNAVAILABLE, "matrix_unavailable",
                        "the homeserver has not been reached yet");
}

static struct dc_matrix_auth auth_of(const struct dc_gateway_credential *c)
{
    return (struct dc_matrix_auth){.token = dc_strbuf_slice(&c->token)};
}

enum dc_status dc_gateway_auth(const struct dc_gateway *g, struct dc_matrix_auth *auth,
                               struct dc_error *err)
{
    const struct dc_gateway_credential *c = &g->admin;
    if (g->as.state == DC_CREDENTIAL_OK) {
        c = &g->as;
    } else if (g->admin.state != DC_CREDENTIAL_OK) {
        return fail_nobody(g, g->as.state != DC_CREDENTIAL_NONE ? &g->as : &g->admin, err);
    }
    *auth = auth_of(c);
    return DC_OK;
}

enum dc_status dc_gateway_as_auth(const struct dc_gateway *g, struct dc_matrix_auth *auth,
                                  struct dc_error *err)
{
    if (g->as.state == DC_CREDENTIAL_NONE) {
        return dc_fail_code(err, DC_UNAVAILABLE, "chat_not_bridged",
                            "the gateway has no application service to speak as: set "
                            "MATRIX_AS_TOKEN");
    }
    if (g->as.state != DC_CREDENTIAL_OK) {
        return fail_nobody(g, &g->as, err);
    }
    *auth = auth_of(&g->as);
    return DC_OK;
}

enum dc_status dc_gateway_admin_auth(const struct dc_gateway *g, struct dc_matrix_auth *auth,
                                     struct dc_error *err)
{
    if (g->admin.state != DC_CREDENTIAL_OK) {
        return fail_nobody(g, &g->admin, err);
    }
    *auth = auth_of(&g->admin);
    return DC_OK;
}

bool dc_gateway_is_ours(const struct dc_gateway *g, struct dc_slice matrix_user_id)
{
    struct dc_slice rest = dc_slice_z(g->ctx->settings->matrix_room_creators);
    struct dc_slice item;
    if (matrix_user_id.len == 0) {
        return false; /* nobody is known to have made it */
    }
    if (dc_slice_eq(matrix_user_id, dc_strbuf_slice(&g->as.user_id)) ||
        dc_slice_eq(matrix_user_id, dc_strbuf_slice(&g->admin.user_id))) {
        return true;
    }
    while (dc_slice_take_token(&rest, ',', &item)) {
        if (dc_slice_eq(dc_slice_trim(item), matrix_user_id)) {
            return true;
        }
    }
    return false;
}

/* --- telling --- */

static const char *server_word(enum dc_gateway_server server)
{
    switch (server) {
    case DC_SERVER_CONNECTED:
        return "connected";
    case DC_SERVER_ERROR:
        return "error";
    case DC_SERVER_UNKNOWN:
    case DC_SERVER_UNAVAILABLE:
        break;
    }
    return "unavailable";
}

static const char *credential_word(enum dc_gateway_credential_state state)
{
    switch (state) {
    case DC_CREDENTIAL_NONE:
        return "none";
    case DC_CREDENTIAL_UNKNOWN:
        return "unknown";
    case DC_CREDENTIAL_OK:
        return "ok";
    case DC_CREDENTIAL_REFUSED:
        return "refused";
    }
    return "unknown";
}

static const char *push_word(enum dc_gateway_push push)
{
    switch (push) {
    case DC_PUSH_OFF:
        return "off";
    case DC_PUSH_UNKNOWN:
        return "unknown";
    case DC_PUSH_OK:
        return "ok";
    case DC_PUSH_UNREACHED:
        return "unreached";
    }
    return "unknown";
}

/* As we could speak for a resident now. */
static const char *to_matrix_word(const struct dc_gateway *g)
{
    if (g->as.state == DC_CREDENTIAL_NONE) {
        return "off";
    }
    return g->as.state == DC_CREDENTIAL_REFUSED                                  ? "refused"
           : g->server == DC_SERVER_CONNECTED && g->as.state == DC_CREDENTIAL_OK ? "on"
                                                                                 : "unavailable";
}

void dc_gateway_tell_health(struct dc_gateway *g)
{
    struct dc_health *h = g->ctx->health;
    const char *refused = g->as.state == DC_CREDENTIAL_REFUSED      ? g->as.why
                          : g->admin.state == DC_CREDENTIAL_REFUSED ? g->admin.why
                                                                    : NULL;
    bool can_act = g->as.state == DC_CREDENTIAL_OK || g->admin.state == DC_CREDENTIAL_OK;
    dc_health_set_fact(h, "synapse", server_word(g->server));
    dc_health_set_fact(h, "server_name", g->ctx->settings->matrix_server_name);
    dc_health_set_fact(h, "application_service", credential_word(g->as.state));
    dc_health_set_fact(h, "synapse_admin", credential_word(g->admin.state));
    dc_health_set_fact(h, "chat_to_matrix", to_matrix_word(g));
    dc_health_set_fact(h, "chat_from_matrix", push_word(g->push));
    if (g->server != DC_SERVER_CONNECTED) {
        dc_health_set(g->health, DC_HEALTH_DOWN, dc_error_text(&g->server_error));
    } else if (refused != NULL) {
        dc_health_set(g->health, can_act ? DC_HEALTH_DEGRADED : DC_HEALTH_DOWN, refused);
    } else if (g->push == DC_PUSH_UNREACHED) {
        dc_health_set(g->health, DC_HEALTH_DEGRADED,
                      "the homeserver does not reach the gateway: look at url and hs_token in "
                      "daarion-appservice.yaml");
    } else {
        dc_health_set(g->health, can_act ? DC_HEALTH_OK : DC_HEALTH_DOWN,
                      can_act ? NULL : "the homeserver has not said yet whom we may act as");
    }
}

static void set_server(struct dc_gateway *g, enum dc_gateway_server server,
                       const struct dc_error *err)
{
    bool is_change = g->server != server;
    g->server = server;
    memset(&g->server_error, 0, sizeof(g->server_error));
    if (err != NULL) {
        g->server_error = *err;
    }
    if (is_change && server == DC_SERVER_CONNECTED) {
        DC_LOG_INFO_EVENT(g->ctx->log, "matrix.connected", DC_LF_T("server_name", g->server_name));
        dc_gateway_pulse_doubt(g);
    } else if (is_change) {
        DC_LOG_WARN_EVENT(g->ctx->log, "matrix.disconnected", DC_LF_ERR(err));
        dc_gateway_push_lost(g);
    }
}

static void set_credential(struct dc_gateway *g, struct dc_gateway_credential *c,
                           enum dc_gateway_credential_state state, const char *setting,
                           const char *why)
{
    bool is_change = c->state != state;
    c->state = state;
    c->why[0] = '\0';
    if (state == DC_CREDENTIAL_REFUSED) {
        int n = snprintf(c->why, sizeof(c->why), "%s: %s", setting, why);
        DC_ASSERT(n > 0);
    }
    if (is_change && state == DC_CREDENTIAL_REFUSED) {
        DC_LOG_ERROR_EVENT(g->ctx->log, "matrix.credential_refused", DC_LF_Z("setting", setting),
                           DC_LF_Z("detail", why));
    } else if (is_change && state == DC_CREDENTIAL_OK) {
        DC_LOG_INFO_EVENT(g->ctx->log, "matrix.credential_accepted", DC_LF_Z("setting", setting),
                          DC_LF_T("user_id", dc_strbuf_slice(&c->user_id)));
        dc_gateway_pulse_doubt(g);
    }
}

/* --- one check --- */

static const char as_setting[] = "MATRIX_AS_TOKEN";

static const char *admin_setting(const struct dc_gateway *g)
{
    return g->is_admin_from_secret ? "SYNAPSE_REGISTRATION_SECRET" : "SYNAPSE_ADMIN_TOKEN";
}

static void finish_check(struct dc_gateway *g)
{
    struct dc_list waiters;
    dc_list_init(&waiters);
    g->is_checking = false;
    g->wants_admin = false;
    set_text(&g->password, DC_SLICE_NULL);
    dc_gateway_tell_health(g);
    dc_gateway_push_check(g);
    if (!g->is_stopping) {
        dc_timer_start(&g->check_timer, (uint64_t)g->ctx->settings->matrix_check_interval_ms, 0);
    }
    dc_list_move_all(&waiters, &g->waiters);
    while (!dc_list_is_empty(&waiters)) {
        struct dc_gateway_flow *flow =
            DC_LIST_ENTRY(waiters.next, struct dc_gateway_flow, wait_link);
        dc_list_remove(&flow->wait_link);
        flow->resume(flow);
    }
    dc_gateway_end(g);
}

/* The homeserver itself failed in the middle of a check: nothing is known about credentials. */
static void lose_server(struct dc_gateway *g, const struct dc_error *err)
{
    bool is_away = err->status == DC_UNAVAILABLE || err->status == DC_TIMEOUT;
    set_server(g, is_away ? DC_SERVER_UNAVAILABLE : DC_SERVER_ERROR, err);
    finish_check(g);
}

static struct dc_matrix_how how_to(struct dc_gateway *g, struct dc_matrix_auth auth,
                                   dc_matrix_cb cb)
{
    int64_t left = g->check_deadline_ms - dc_loop_now(g->ctx->loop).ms;
    return (struct dc_matrix_how){
        .auth = auth, .deadline_ms = left > 0 ? (uint64_t)left : 1, .cb = cb, .data = g};
}

static void check_admin(struct dc_gateway *g);
static void make_admin(struct dc_gateway *g);

static bool is_refusal(enum dc_status st)
{
    return st == DC_UNAUTHORIZED || st == DC_FORBIDDEN;
}

/* Steps that cannot even be asked end the check too. */
static void ask(struct dc_gateway *g, enum dc_status st, const struct dc_error *err)
{
    if (st != DC_OK) {
        lose_server(g, err);
    }
}

static void on_admin_check(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                           const struct dc_error *err)
{
    struct dc_gateway *g = data;
    if (st == DC_OK && json_is_true(json_object_get(answer->json, "admin"))) {
        set_credential(g, &g->admin, DC_CREDENTIAL_OK, admin_setting(g), NULL);
    } else if (st == DC_OK || is_refusal(st)) {
        set_credential(g, &g->admin, DC_CREDENTIAL_REFUSED, admin_setting(g),
                       "the account is no administrator of the homeserver");
    } else if (answer->http_status == 404) {
        set_credential(g, &g->admin, DC_CREDENTIAL_REFUSED, admin_setting(g),
                       "the homeserver does not serve /_synapse/admin at SYNAPSE_URL");
    } else {
        lose_server(g, err);
        return;
    }
    finish_check(g);
}

static void on_admin_whoami(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                            const struct dc_error *cause)
{
    struct dc_gateway *g = data;
    struct dc_slice user_id;
    struct dc_error err = {0};
    if (is_refusal(st) && g->is_admin_from_secret) {
        g->admin.state = DC_CREDENTIAL_UNKNOWN; /* its token was ended: make another */
        set_text(&g->admin.token, DC_SLICE_NULL);
        make_admin(g);
        return;
    }
    if (is_refusal(st)) {
        set_credential(g, &g->admin, DC_CREDENTIAL_REFUSED, admin_setting(g),
                       "the homeserver does not know this token (any more)");
        finish_check(g);
        return;
    }
    if (st != DC_OK) {
        lose_server(g, cause);
        return;
    }
    st = dc_matrix_read_user_id(answer->json, g->server_name, &user_id, &err);
    if (st != DC_OK) {
        set_credential(g, &g->admin, DC_CREDENTIAL_REFUSED, "MATRIX_SERVER_NAME",
                       dc_error_text(&err));
        finish_check(g);
        return;
    }
    set_text(&g->admin.user_id, user_id);
    const struct dc_matrix_how how = how_to(g, auth_of(&g->admin), on_admin_check);
    ask(g, dc_matrix_admin_check(g->matrix, &how, dc_strbuf_slice(&g->admin.user_id), &err), &err);
}

/* An administrator is looked at when one is configured by a token, when one has been made already,
 * or when there is no other way to act. */
static void check_admin(struct dc_gateway *g)
{
    struct dc_error err = {0};
    if (g->admin.token.len > 0) {
        const struct dc_matrix_how how = how_to(g, auth_of(&g->admin), on_admin_whoami);
        ask(g, dc_matrix_whoami(g->matrix, &how, &err), &err);
    } else if (g->is_admin_from_secret && (g->wants_admin || g->as.state != DC_CREDENTIAL_OK)) {
        make_admin(g);
    } else {
        finish_check(g);
    }
}

static void on_as_whoami(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                         const struct dc_error *cause)
{
    struct dc_gateway *g = data;
    struct dc_slice user_id;
    struct dc_error err = {0};
    if (is_refusal(st)) {
        set_credential(g, &g->as, DC_CREDENTIAL_REFUSED, as_setting,
                       "the homeserver does not know it: is daarion-appservice.yaml in "
                       "app_service_config_files?");
    } else if (st != DC_OK) {
        lose_server(g, cause);
        return;
    } else if (dc_matrix_read_user_id(answer->json, g->server_name, &user_id, &err) != DC_OK) {
        set_credential(g, &g->as, DC_CREDENTIAL_REFUSED, "MATRIX_SERVER_NAME", dc_error_text(&err));
    } else {
        set_text(&g->as.user_id, user_id);
        set_credential(g, &g->as, DC_CREDENTIAL_OK, as_setting, NULL);
    }
    check_admin(g);
}

static void on_versions(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                        const struct dc_error *cause)
{
    struct dc_gateway *g = data;
    struct dc_error err = {0};
    if (st == DC_OK && !json_is_array(json_object_get(answer->json, "versions"))) {
        (void)dc_matrix_bad_answer(&err, "the versions of a homeserver (is SYNAPSE_URL right?)");
        lose_server(g, &err);
        return;
    }
    if (st != DC_OK) {
        lose_server(g, cause);
        return;
    }
    set_server(g, DC_SERVER_CONNECTED, NULL);
    if (g->as.state == DC_CREDENTIAL_NONE) {
        check_admin(g);
        return;
    }
    const struct dc_matrix_how how = how_to(g, auth_of(&g->as), on_as_whoami);
    ask(g, dc_matrix_whoami(g->matrix, &how, &err), &err);
}

static void start_check(struct dc_gateway *g)
{
    struct dc_error err = {0};
    if (g->is_checking || g->is_stopping) {
        return;
    }
    g->is_checking = true;
    g->check_deadline_ms = dc_loop_now(g->ctx->loop).ms + (int64_t)g->timeout_ms;
    dc_timer_stop(&g->check_timer);
    dc_gateway_begin(g);
    const struct dc_matrix_how how = how_to(g, (struct dc_matrix_auth){0}, on_versions);
    ask(g, dc_matrix_versions(g->matrix, &how, &err), &err);
}

/* --- an administrator of our own --- */

/* Two texts that only holders of the registration secret can compute.  The secret makes
 * administrators anyway: who has it gains nothing by this, and nothing has to be kept. */
static void derive(const struct dc_gateway *g, const char *purpose_z, struct dc_strbuf *out)
{
    const char *secret = g->ctx->settings->synapse_registration_secret;
    uint8_t mac[HMAC_BYTES];
    unsigned len = 0;
    const uint8_t *ok = HMAC(EVP_sha256(), secret, (int)strlen(secret), (const uint8_t *)purpose_z,
                             strlen(purpose_z), mac, &len);
    DC_ASSERT(ok != NULL && len == sizeof(mac));
    dc_hex_encode(out, dc_slice_make(mac, sizeof(mac)));
    dc_wipe(mac, sizeof(mac));
}

static void write_admin_name(const struct dc_gateway *g, struct dc_strbuf *out)
{
    struct dc_strbuf hex = {0};
    derive(g, "daarion matrix-gateway account", &hex);
    dc_strbuf_add(out, DC_S("daarion-gateway-"));
    dc_strbuf_add(out, dc_slice_make(hex.ptr, FINGERPRINT_CHARS));
    dc_strbuf_free(&hex);
}

static void refuse_secret(struct dc_gateway *g, const char *why)
{
    set_credential(g, &g->admin, DC_CREDENTIAL_REFUSED, admin_setting(g), why);
    finish_check(g);
}

/* Registered or logged in: both answers have the token. */
static void on_admin_made(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                          const struct dc_error *cause)
{
    struct dc_gateway *g = data;
    struct dc_slice token;
    struct dc_slice device_id;
    struct dc_error err = {0};
    if (is_refusal(st)) {
        refuse_secret(g, "the account that was made with it has another password by now");
        return;
    }
    if (st == DC_OK) {
        st = dc_matrix_read_login(answer->json, &token, &device_id, &err);
    } else {
        err = *cause;
    }
    if (st != DC_OK) {
        lose_server(g, &err);
        return;
    }
    set_text(&g->admin.token, token);
    const struct dc_matrix_how how = how_to(g, auth_of(&g->admin), on_admin_whoami);
    ask(g, dc_matrix_whoami(g->matrix, &how, &err), &err);
}

static void on_admin_registered(void *data, enum dc_status st,
                                const struct dc_matrix_answer *answer, const struct dc_error *cause)
{
    struct dc_gateway *g = data;
    struct dc_strbuf name = {0};
    struct dc_error err = {0};
    if (st == DC_FORBIDDEN) {
        refuse_secret(g, "the homeserver has another registration_shared_secret");
        return;
    }
    if (st != DC_CONFLICT) {
        on_admin_made(data, st, answer, cause);
        return;
    }
    write_admin_name(g, &name);
    const struct dc_matrix_how how = how_to(g, (struct dc_matrix_auth){0}, on_admin_made);
    ask(g,
        dc_matrix_password_login(g->matrix, &how, dc_strbuf_slice(&name),
                                 dc_strbuf_slice(&g->password), &err),
        &err);
    dc_strbuf_free(&name);
}

static void on_nonce(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                     const struct dc_error *cause)
{
    struct dc_gateway *g = data;
    struct dc_strbuf name = {0};
    struct dc_slice nonce;
    struct dc_error err = {0};
    if (st == DC_UPSTREAM && answer->http_status == 400) {
        refuse_secret(g, "the homeserver has no registration_shared_secret");
        return;
    }
    if (st == DC_OK) {
        st = dc_matrix_read_nonce(answer->json, &nonce, &err);
    } else {
        err = *cause;
    }
    if (st != DC_OK) {
        lose_server(g, &err);
        return;
    }
    write_admin_name(g, &name);
    const struct dc_matrix_secret_user user = {
        .secret = dc_slice_z(g->ctx->settings->synapse_registration_secret),
        .nonce = nonce,
        .localpart = dc_strbuf_slice(&name),
        .password = dc_strbuf_slice(&g->password),
        .is_admin = true};
    const struct dc_matrix_how how = how_to(g, (struct dc_matrix_auth){0}, on_admin_registered);
    ask(g, dc_matrix_secret_register(g->matrix, &how, &user, &err), &err);
    dc_strbuf_free(&name);
}

static void make_admin(struct dc_gateway *g)
{
    struct dc_error err = {0};
    set_text(&g->password, DC_SLICE_NULL);
    derive(g, "daarion matrix-gateway password", &g->password);
    const struct dc_matrix_how how = how_to(g, (struct dc_matrix_auth){0}, on_nonce);
    ask(g, dc_matrix_secret_nonce(g->matrix, &how, &err), &err);
}

/* --- life --- */

static void on_check_timer(struct dc_timer *t)
{
    start_check(DC_CONTAINER_OF(t, struct dc_gateway, check_timer));
}

static void on_check_timer_closed(struct dc_timer *t)
{
    dc_gateway_end(DC_CONTAINER_OF(t, struct dc_gateway, check_timer));
}

void dc_gateway_session_start(struct dc_gateway *g)
{
    dc_timer_init(g->ctx->loop, &g->check_timer, on_check_timer);
    dc_gateway_push_start(g);
    dc_gateway_pulse_start(g);
    g->health = dc_health_add(g->ctx->health, "matrix", false);
    (void)dc_fail_code(&g->server_error, DC_UNAVAILABLE, "matrix_unavailable",
                       "the homeserver has not been reached yet");
    dc_gateway_tell_health(g);
    if (g->as.state == DC_CREDENTIAL_NONE || g->push == DC_PUSH_OFF) {
        DC_LOG_WARN_EVENT(g->ctx->log, "matrix.chat_not_bridged",
                          DC_LF_B("to_matrix", g->as.state != DC_CREDENTIAL_NONE),
                          DC_LF_B("from_matrix", g->push != DC_PUSH_OFF),
                          DC_LF_Z("detail", "needs MATRIX_AS_TOKEN and MATRIX_HS_TOKEN (daarion "
                                            "matrix-config makes both)"));
    }
    start_check(g);
}

void dc_gateway_session_stop(struct dc_gateway *g)
{
    dc_gateway_begin(g);
    dc_timer_close(&g->check_timer, on_check_timer_closed);
    dc_gateway_push_stop(g);
    dc_gateway_pulse_stop(g);
}

void dc_gateway_session_free(struct dc_gateway *g)
{
    struct dc_strbuf *const texts[] = {&g->as.token, &g->as.user_id, &g->admin.token,
                                       &g->admin.user_id, &g->password};
    for (size_t i = 0; i < DC_ARRAY_LEN(texts); i++) {
        set_text(texts[i], DC_SLICE_NULL);
        dc_strbuf_free(texts[i]);
    }
}

void dc_gateway_check_now(struct dc_gateway *g)
{
    if (g->matrix != NULL) {
        start_check(g);
    }
}

void dc_gateway_when_known(struct dc_gateway_flow *flow, bool needs_admin,
                           void (*resume)(struct dc_gateway_flow *flow))
{
    struct dc_gateway *g = flow->g;
    bool is_known = needs_admin
                        ? g->admin.state == DC_CREDENTIAL_OK
                        : g->as.state == DC_CREDENTIAL_OK || g->admin.state == DC_CREDENTIAL_OK;
    flow->resume = resume;
    bool is_hopeless = needs_admin && g->admin.state == DC_CREDENTIAL_NONE;
    if (is_known || is_hopeless || g->is_stopping) {
        resume(flow);
        return;
    }
    dc_list_push_back(&g->waiters, &flow->wait_link);
    g->wants_admin = g->wants_admin || needs_admin;
    start_check(g);
}
