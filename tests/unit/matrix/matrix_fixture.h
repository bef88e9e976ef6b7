/* A homeserver that says what a test tells it to, and a client that asks it; one loop. */
#ifndef DC_TESTS_MATRIX_MATRIX_FIXTURE_H
#define DC_TESTS_MATRIX_MATRIX_FIXTURE_H

#include "../net/http_fixture.h"
#include "matrix/matrix_client.h"
#include "net/http_client.h"

struct said {
    int http;
    const char *type, *body;
    const char *retry_after; /* header; NULL: none */
};

struct outcome {
    size_t n;
    enum dc_status st;
    int http;
    int64_t retry_after_ms;
    bool has_json;
    char code[64];
};

struct rig {
    struct fixture f;
    struct dc_matrix *m;
    const struct said *script; /* answers in turn; the last one again and again */
    size_t n_script, n_asked;
    struct dc_http_request *held;
    bool holds;             /* instead of an answer */
    struct dc_strbuf asked; /* "METHOD path?query|authorization|body\n" of each request */
    struct outcome out;
};

static inline void on_held_gone(void *data)
{
    struct rig *rig = data;
    dc_http_reply(rig->held, 200, NULL, DC_SLICE_NULL);
    rig->held = NULL;
}

static inline void homeserver(void *ctx, struct dc_http_request *r)
{
    struct rig *rig = ctx;
    static const char *const methods[] = {[DC_GET] = "GET", [DC_POST] = "POST", [DC_PUT] = "PUT"};
    dc_strbuf_printf(&rig->asked, "%s %.*s?%.*s|%.*s|%.*s\n", methods[dc_http_method(r)],
                     DC_SLICE_ARG(dc_http_path(r)), DC_SLICE_ARG(dc_http_query(r)),
                     DC_SLICE_ARG(dc_http_header(r, DC_S("authorization"))),
                     DC_SLICE_ARG(dc_http_body(r)));
    if (rig->holds) {
        rig->n_asked++;
        rig->held = r;
        dc_http_on_gone(r, on_held_gone, rig);
        return;
    }
    size_t i = rig->n_asked < rig->n_script ? rig->n_asked : rig->n_script - 1;
    rig->n_asked++;
    if (rig->script[i].retry_after != NULL) {
        dc_http_set_header(r, "Retry-After", dc_slice_z(rig->script[i].retry_after));
    }
    dc_http_reply(r, rig->script[i].http, rig->script[i].type, dc_slice_z(rig->script[i].body));
}

static const struct dc_route homeserver_routes[] = {
    {DC_GET | DC_POST | DC_PUT, "/{path...}", homeserver},
};

static inline void rig_open(struct rig *rig)
{
    struct dc_error err = {0};
    char url[64];
    *rig = (struct rig){0};
    fixture_open(&rig->f);
    dc_router_add(rig->f.router, "", homeserver_routes, 1, rig);
    struct dc_server_opts server = default_opts();
    server.max_output_bytes = 8 * 1024 * 1024;
    fixture_listen(&rig->f, &server);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u///", (unsigned)dc_server_port(rig->f.server));
    const struct dc_matrix_opts opts = {.base_url_z = url, .metrics = rig->f.metrics};
    assert_int_equal(dc_matrix_create(rig->f.loop, &opts, &rig->m, &err), DC_OK);
}

/* {"joined":{"@member…":{}, …}} of about so many bytes, with a NUL. */
static inline void write_large(struct dc_strbuf *out, size_t bytes)
{
    dc_strbuf_add(out, DC_S("{\"joined\":{"));
    for (int i = 0; out->len < bytes; i++) {
        dc_strbuf_printf(out, "%s\"@member_%d:a.test\":{\"display_name\":\"Member %d\"}",
                         i > 0 ? "," : "", i, i);
    }
    dc_strbuf_add(out, DC_S("}}"));
    dc_strbuf_add_char(out, '\0');
}

/* The loop must be empty. */
static inline void rig_close(struct rig *rig)
{
    dc_matrix_close(rig->m);
    fixture_close(&rig->f);
    dc_strbuf_free(&rig->asked);
}

static inline void rig_script(struct rig *rig, const struct said *script, size_t n)
{
    rig->script = script;
    rig->n_script = n;
    rig->n_asked = 0;
    dc_strbuf_clear(&rig->asked);
}
#define SCRIPT(rig, ...)                                                                           \
    static const struct said script_[] = {__VA_ARGS__};                                            \
    rig_script((rig), script_, DC_ARRAY_LEN(script_))

static inline void on_outcome(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                              const struct dc_error *err)
{
    struct outcome *out = data;
    out->n++;
    out->st = st;
    out->http = answer->http_status;
    out->retry_after_ms = answer->retry_after_ms;
    out->has_json = answer->json != NULL;
    assert_int_equal(st == DC_OK, err == NULL);
    if (err != NULL) {
        assert_int_equal(err->status, st);
        snprintf(out->code, sizeof(out->code), "%s", dc_error_code(err));
    } else {
        out->code[0] = '\0';
    }
}

static inline const char *rig_asked(struct rig *rig)
{
    dc_strbuf_add_char(&rig->asked, '\0');
    rig->asked.len--;
    return rig->asked.ptr;
}

#endif
