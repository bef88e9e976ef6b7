/* Identity of requests through a real server: where a token may stand, what is refused, open mode,
 * claims, the internal key. */
#include "../net/http_fixture.h"

#include "auth/identity.h"
#include "net/ws.h"

#define SECRET "0123456789abcdef0123456789abcdef"

struct city {
    struct fixture f;
    struct dc_auth auth;
    char token[512]; /* of u_1, Оленка, guest */
    char expired[512];
    char nameless[512];
};

static void sign(struct dc_tokens *tokens, const char *sub, const char *name, int64_t ttl_ms,
                 char out[512])
{
    struct dc_strbuf text = {0};
    struct dc_utc now = dc_utc_now();
    const struct dc_claims claims = {.sub = dc_slice_z(sub),
                                     .name = dc_slice_z(name),
                                     .roles = DC_S("guest"),
                                     .issued_at = {now.ms - 20000},
                                     .expires_at = {now.ms + ttl_ms}};
    assert_int_equal(dc_tokens_sign(tokens, &claims, &text, NULL), DC_OK);
    assert_true(dc_slice_copy_z(dc_strbuf_slice(&text), out, 512));
    dc_strbuf_free(&text);
}

/* --- handlers: the answer is "user_id|username|roles|verified|offers bearer" --- */

static void reply_identity(struct dc_http_request *r, const struct dc_identity *who)
{
    struct dc_strbuf out = {0};
    dc_strbuf_printf(&out, "%.*s|%.*s|%.*s|%s|%s", DC_SLICE_ARG(who->user_id),
                     DC_SLICE_ARG(who->username), DC_SLICE_ARG(who->roles),
                     who->is_verified ? "verified" : "", dc_offers_bearer(r) ? "bearer" : "");
    dc_http_reply(r, 200, "text/plain", dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
}

static void get_who(void *ctx, struct dc_http_request *r)
{
    const struct city *c = ctx;
    struct dc_identity who;
    struct dc_error err = {0};
    if (dc_identify(&c->auth, r, &who, &err) == DC_OK) {
        reply_identity(r, &who);
    } else {
        dc_http_reply_error(r, &err);
    }
}

static void get_public(void *ctx, struct dc_http_request *r)
{
    const struct city *c = ctx;
    if (dc_allow_public(&c->auth, r)) {
        dc_http_reply(r, 200, "text/plain", DC_S("public"));
    }
}

/* The claim is the body. */
static void post_claim(void *ctx, struct dc_http_request *r)
{
    const struct city *c = ctx;
    struct dc_identity who;
    if (dc_require_identity(&c->auth, r, dc_http_body(r), &who)) {
        reply_identity(r, &who);
    }
}

static void get_internal(void *ctx, struct dc_http_request *r)
{
    const struct city *c = ctx;
    if (dc_require_internal_key(&c->auth, r)) {
        dc_http_reply(r, 200, "text/plain", DC_S("internal"));
    }
}

static const struct dc_route routes[] = {
    {DC_GET, "/who", get_who},
    {DC_GET, "/public", get_public},
    {DC_POST, "/claim", post_claim},
    {DC_GET, "/internal", get_internal},
};

static int setup(void **state)
{
    struct city *c = dc_calloc(1, sizeof(*c));
    fixture_open(&c->f);
    dc_router_add(c->f.router, "", routes, DC_ARRAY_LEN(routes), c);
    fixture_listen(&c->f, NULL);
    assert_int_equal(dc_tokens_create(DC_S(SECRET), &c->auth.tokens, NULL), DC_OK);
    sign(c->auth.tokens, "u_1", "Оленка", 60000, c->token);
    sign(c->auth.tokens, "u_1", "Оленка", -10000, c->expired);
    sign(c->auth.tokens, "u_nameless", NULL, 60000, c->nameless);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct city *c = *state;
    struct dc_tokens *tokens = c->auth.tokens;
    fixture_close(&c->f);
    dc_tokens_destroy(tokens);
    dc_free(c);
    return 0;
}

/* Sends a request; the answer must have want_status and contain want. body NULL: none. */
static void ask(struct city *c, const char *request_line, const char *headers, const char *body,
                int want_status, const char *want)
{
    struct client *client = client_open(&c->f);
    struct dc_strbuf out = {0};
    dc_strbuf_printf(&out, "%s HTTP/1.1\r\nHost: h\r\n%s", request_line, headers);
    if (body != NULL) {
        dc_strbuf_printf(&out, "Content-Length: %zu\r\n", strlen(body));
    }
    dc_strbuf_printf(&out, "\r\n%s", body == NULL ? "" : body);
    client_send(client, dc_strbuf_slice(&out));
    struct response got = wait_response(client);
    if (got.status != want_status || !contains(got.body, want)) {
        fail_msg("%s: %d %.*s, want %d %s", request_line, got.status, DC_SLICE_ARG(got.body),
                 want_status, want);
    }
    dc_strbuf_free(&out);
    client_close(client);
}

/* The three texts one behind the other; valid until the fourth call from here. */
static const char *with(const char *before, const char *token, const char *after)
{
    static char text[4][1200];
    static size_t next;
    char *out = text[next++ % DC_ARRAY_LEN(text)];
    int n = snprintf(out, sizeof(text[0]), "%s%s%s", before, token, after);
    assert_true(n > 0 && (size_t)n < sizeof(text[0]));
    return out;
}

#define ME "u_1|Оленка|guest|verified|"

static void a_token_is_found_wherever_it_may_stand(void **state)
{
    struct city *c = *state;
    ask(c, "GET /who", with("Authorization: Bearer ", c->token, "\r\n"), NULL, 200, ME);
    ask(c, "GET /who", with("authorization:  bEARER   ", c->token, " \r\n"), NULL, 200, ME);
    ask(c, with("GET /who?token=", c->token, ""), "", NULL, 200, ME);
    ask(c, with("GET /who?access_token=", c->token, ""), "", NULL, 200, ME);
    ask(c, "GET /who", with("Sec-WebSocket-Protocol: bearer, ", c->token, "\r\n"), NULL, 200,
        ME "bearer");
    ask(c, "GET /who", with("Sec-WebSocket-Protocol: chat,bearer,", c->token, ",x\r\n"), NULL, 200,
        ME "bearer");
    /* Found in the query, and the handshake still wants its subprotocol answered. */
    ask(c, with("GET /who?token=", c->token, ""), "Sec-WebSocket-Protocol: bearer\r\n", NULL, 200,
        ME "bearer");
    ask(c, "GET /who", with("Authorization: Bearer ", c->nameless, "\r\n"), NULL, 200,
        "u_nameless|User-less|guest|verified|");
}

static void without_a_token_nobody_asks(void **state)
{
    struct city *c = *state;
    ask(c, "GET /who", "", NULL, 200, "||||");
    ask(c, "GET /who?tokens=x&a=token", "", NULL, 200, "||||");
    ask(c, "GET /who", "Sec-WebSocket-Protocol: chat, soap\r\n", NULL, 200, "||||");
    ask(c, "GET /who", "Sec-WebSocket-Protocol: bearer\r\n", NULL, 200, "||||bearer");
    ask(c, "GET /public", "", NULL, 200, "public");
}

static void a_token_that_does_not_hold_is_refused_wherever_it_stands(void **state)
{
    struct city *c = *state;
    static const char *const targets[] = {"/who", "/public"};
    for (size_t i = 0; i < DC_ARRAY_LEN(targets); i++) {
        char line[32];
        snprintf(line, sizeof(line), "GET %s", targets[i]);
        ask(c, line, with("Authorization: Bearer ", c->expired, "\r\n"), NULL, 401,
            "token_expired");
        ask(c, line, "Authorization: Bearer hello\r\n", NULL, 401, "unauthorized");
        ask(c, line, "Authorization: Bearer\r\n", NULL, 401, "unauthorized");
        ask(c, line, "Authorization: Basic dXNlcjpwYXNz\r\n", NULL, 401, "unauthorized");
        ask(c, line, with("Authorization: ", c->token, "\r\n"), NULL, 401, "unauthorized");
        ask(c, with(line, "?token=", ""), "", NULL, 401, "unauthorized");
        ask(c, line, "Sec-WebSocket-Protocol: bearer, x\r\n", NULL, 401, "unauthorized");
        ask(c, line, "Sec-WebSocket-Protocol: bearer,\r\n", NULL, 200, "");
        /* The header decides, whatever the query has. */
        ask(c, with(line, "?token=", c->token), "Authorization: Bearer x\r\n", NULL, 401,
            "unauthorized");
    }
}

static void two_tokens_that_differ_are_refused_though_one_of_them_holds(void **state)
{
    struct city *c = *state;
    char query[1200];
    static const char *const others[] = {"/who?token=", "/public?access_token="};
    for (size_t i = 0; i < DC_ARRAY_LEN(others); i++) {
        const char *line = with("GET ", others[i], c->token);
        ask(c, line, with("Authorization: Bearer ", c->nameless, "\r\n"), NULL, 401,
            "two different");
        ask(c, line, with("Sec-WebSocket-Protocol: bearer, ", c->nameless, "\r\n"), NULL, 401,
            "two different");
        ask(c, line, with("Authorization: Bearer ", c->token, "\r\n"), NULL, 200,
            ""); /* the same */
    }
    snprintf(query, sizeof(query), "GET /who?token=%s&access_token=bad", c->token);
    ask(c, query, "", NULL, 401, "two different");
    snprintf(query, sizeof(query), "GET /who?access_token=bad&token=%s", c->token);
    ask(c, query, "", NULL, 401, "two different");
    snprintf(query, sizeof(query), "GET /who?token=%s&access_token=%s", c->token, c->token);
    ask(c, query, "", NULL, 200, ME);
}

static void an_author_in_other_words_must_be_who_asks(void **state)
{
    (void)state;
    const struct dc_identity who = {.user_id = DC_S("u_1")};
    const struct dc_identity nobody = {0};
    struct dc_error err = {0};
    assert_true(dc_identity_is(&who, DC_SLICE_NULL, &err));
    assert_true(dc_identity_is(&who, DC_S("u_1"), &err));
    assert_false(dc_identity_is(&who, DC_S("u_2"), &err));
    assert_int_equal(err.status, DC_FORBIDDEN);
    assert_string_equal(dc_error_code(&err), "user_mismatch");
    assert_false(dc_identity_is(&nobody, DC_S("u_2"), &err));
}

static void a_claim_must_be_the_token_s_own(void **state)
{
    struct city *c = *state;
    const char *bearer = with("Authorization: Bearer ", c->token, "\r\n");
    ask(c, "POST /claim", bearer, "", 200, ME);
    ask(c, "POST /claim", bearer, "u_1", 200, ME);
    ask(c, "POST /claim", bearer, "u_2", 403, "user_mismatch");
    ask(c, "POST /claim", bearer, "U_1", 403, "user_mismatch");
    ask(c, "POST /claim", "", "", 401, "unauthorized");
    ask(c, "POST /claim", "", "u_1", 401, "unauthorized");
}

static void in_open_mode_a_claim_is_taken_unless_a_token_speaks(void **state)
{
    struct city *c = *state;
    char long_id[DC_USER_ID_MAX_BYTES + 2];
    c->auth.is_open = true;
    ask(c, "POST /claim", "", "", 200, "anonymous|Anonymous|||");
    ask(c, "POST /claim", "", "u_12345", 200, "u_12345|User-2345|||");
    ask(c, "POST /claim", "", "її", 200, "її|User-її|||");
    ask(c, "POST /claim", "", "xїї", 200, "xїї|User-її|||");
    ask(c, "POST /claim", "", "aa😀b", 200, "aa😀b|User-b|||"); /* never half a character */
    const char *bearer = with("Authorization: Bearer ", c->token, "\r\n");
    ask(c, "POST /claim", bearer, "u_2", 403, "user_mismatch");
    ask(c, "POST /claim", "Authorization: Bearer x\r\n", "u_2", 401, "unauthorized");
    ask(c, "POST /claim", "", "a b", 422, "\"field\":\"user_id\"");
    memset(long_id, 'u', sizeof(long_id));
    long_id[DC_USER_ID_MAX_BYTES + 1] = '\0';
    ask(c, "POST /claim", "", long_id, 422, "\"field\":\"user_id\"");
    long_id[DC_USER_ID_MAX_BYTES] = '\0';
    ask(c, "POST /claim", "", long_id, 200, long_id);
}

static void a_refused_claim_leaves_the_identity_as_it_was(void **state)
{
    struct city *c = *state;
    struct dc_arena tiny;
    struct dc_error err = {0};
    struct dc_identity who = {.user_id = DC_S("u_before"), .username = DC_S("Before")};
    c->auth.is_open = true;
    dc_arena_init(&tiny, 16, 16); /* room for one of the two copies */
    assert_false(dc_identity_claim(&c->auth, &tiny, DC_S("u_after"), &who, &err));
    assert_int_equal(err.status, DC_NO_MEMORY);
    assert_true(dc_slice_eq(who.user_id, DC_S("u_before")));
    assert_true(dc_slice_eq(who.username, DC_S("Before")));
    dc_arena_free(&tiny);
}

static void without_a_secret_every_token_is_refused(void **state)
{
    struct city *c = *state;
    struct dc_tokens *tokens = c->auth.tokens;
    c->auth.tokens = NULL;
    ask(c, "GET /who", with("Authorization: Bearer ", c->token, "\r\n"), NULL, 401, "unauthorized");
    ask(c, "GET /who", "", NULL, 200, "||||");
    c->auth.tokens = tokens;
}

static void the_internal_key_opens_the_internal_routes_and_nothing_else_does(void **state)
{
    struct city *c = *state;
    ask(c, "GET /internal", "X-Internal-API-Key: \r\n", NULL, 401,
        "unauthorized"); /* none is set */
    c->auth.internal_key = DC_S("the key");
    ask(c, "GET /internal", "X-Internal-API-Key: the key\r\n", NULL, 200, "internal");
    ask(c, "GET /internal", "X-Internal-Service-Token: the key\r\n", NULL, 200, "internal");
    ask(c, "GET /internal", "", NULL, 401, "unauthorized");
    ask(c, "GET /internal", "X-Internal-API-Key: the kez\r\n", NULL, 401, "unauthorized");
    ask(c, "GET /internal", "X-Internal-API-Key: the ke\r\n", NULL, 401, "unauthorized");
    ask(c, "GET /internal", "X-Internal-API-Key: the key2\r\n", NULL, 401, "unauthorized");
    ask(c, "GET /internal", with("Authorization: Bearer ", c->token, "\r\n"), NULL, 401,
        "unauthorized");
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_token_is_found_wherever_it_may_stand),
        CASE(without_a_token_nobody_asks),
        CASE(a_token_that_does_not_hold_is_refused_wherever_it_stands),
        CASE(two_tokens_that_differ_are_refused_though_one_of_them_holds),
        cmocka_unit_test(an_author_in_other_words_must_be_who_asks),
        CASE(a_claim_must_be_the_token_s_own),
        CASE(in_open_mode_a_claim_is_taken_unless_a_token_speaks),
        CASE(a_refused_claim_leaves_the_identity_as_it_was),
        CASE(without_a_secret_every_token_is_refused),
        CASE(the_internal_key_opens_the_internal_routes_and_nothing_else_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
