#include "net/http_target.h"
#include "net/router_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void handler(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    (void)r;
}

static const struct dc_route routes[] = {
    {DC_GET | DC_POST, "/rooms", handler},
    {DC_GET, "/rooms/{room}", handler},
    {DC_POST, "/rooms/new", handler},
    {DC_DELETE, "/rooms/{n:int}", handler},
    {DC_GET, "/rooms/{room}/messages/{id}", handler},
    {DC_GET, "/files/{path...}", handler},
    {DC_GET, "/", handler},
};

struct row {
    const char *path;
    enum dc_http_method method;
    const char *pattern; /* NULL: none */
    unsigned allowed;
    const char *params; /* joined by '|' */
};

#define GET_HEAD (DC_GET | DC_HEAD)
static const struct row rows[] = {
    {"/", DC_GET, "/", GET_HEAD | DC_OPTIONS, ""},
    {"/rooms", DC_HEAD, "/rooms", GET_HEAD | DC_POST | DC_OPTIONS, ""},
    {"/rooms", DC_PUT, NULL, GET_HEAD | DC_POST | DC_OPTIONS, ""},
    {"/rooms/", DC_GET, NULL, 0, ""},
    {"//rooms", DC_GET, NULL, 0, ""},
    {"/rooms/central", DC_GET, "/rooms/{room}", GET_HEAD | DC_OPTIONS, "central"},
    /* Literals win; the methods of every matching pattern count. */
    {"/rooms/new", DC_POST, "/rooms/new", GET_HEAD | DC_POST | DC_OPTIONS, ""},
    {"/rooms/new", DC_GET, "/rooms/{room}", GET_HEAD | DC_POST | DC_OPTIONS, "new"},
    {"/rooms/17", DC_DELETE, "/rooms/{n:int}", GET_HEAD | DC_DELETE | DC_OPTIONS, "17"},
    {"/rooms/x17", DC_DELETE, NULL, GET_HEAD | DC_OPTIONS, ""},
    {"/rooms/new/messages/m1", DC_GET, "/rooms/{room}/messages/{id}", GET_HEAD | DC_OPTIONS,
     "new|m1"},
    {"/rooms/new/messages", DC_GET, NULL, 0, ""},
    {"/files/a/b/c.txt", DC_GET, "/files/{path...}", GET_HEAD | DC_OPTIONS, "a/b/c.txt"},
    {"/files/", DC_GET, "/files/{path...}", GET_HEAD | DC_OPTIONS, ""},
    {"/files", DC_GET, NULL, 0, ""},
    {"/api/rooms/a", DC_GET, "/rooms/{room}", GET_HEAD | DC_OPTIONS, "a"},
    {"/apirooms/a", DC_GET, NULL, 0, ""},
    /* Parameters are ids: no blanks, no control characters, at most 128 characters. */
    {"/rooms/a%20b", DC_GET, NULL, 0, ""},
    {"/rooms/a%0ab", DC_GET, NULL, 0, ""},
};

static void paths_find_their_routes(void **state)
{
    (void)state;
    struct dc_router *rt = dc_router_create();
    int one, two;
    dc_router_add(rt, "", routes, DC_ARRAY_LEN(routes), &one);
    dc_router_add(rt, "/api", routes, DC_ARRAY_LEN(routes), &two);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct dc_arena arena;
        struct dc_http_target t;
        struct dc_router_match m;
        char params[200] = "";
        dc_arena_init(&arena, 256, 0);
        assert_int_equal(dc_http_target_parse(dc_slice_z(row->path), &arena, &t), DC_OK);
        dc_router_find(rt, row->method, t.segments, t.n_segments, &m);
        for (size_t k = 0; k < m.n_params; k++) {
            size_t n = strlen(params);
            snprintf(params + n, sizeof params - n, "%s%.*s", k == 0 ? "" : "|",
                     DC_SLICE_ARG(m.params[k]));
        }
        const char *pattern = m.route == NULL ? "none" : m.route->pattern;
        if (strcmp(pattern, row->pattern == NULL ? "none" : row->pattern) != 0 ||
            m.allowed != row->allowed || strcmp(params, row->params) != 0) {
            fail_msg("%s: found %s, methods %u, params %s", row->path, pattern, m.allowed, params);
        }
        if (m.route != NULL) {
            assert_ptr_equal(m.ctx, strncmp(row->path, "/api/", 5) == 0 ? &two : &one);
        }
        dc_arena_free(&arena);
    }
    dc_router_destroy(rt);
    dc_router_destroy(NULL);
}

static void a_long_parameter_is_no_id(void **state)
{
    (void)state;
    struct dc_router *rt = dc_router_create();
    dc_router_add(rt, "", routes, DC_ARRAY_LEN(routes), NULL);
    char path[200] = "/rooms/";
    memset(path + 7, 'a', 129);
    for (size_t len = 128; len <= 129; len++) {
        struct dc_http_target t;
        struct dc_router_match m;
        assert_int_equal(dc_http_target_parse(dc_slice_make(path, 7 + len), NULL, &t), DC_OK);
        dc_router_find(rt, DC_GET, t.segments, t.n_segments, &m);
        assert_int_equal(m.route != NULL, len == 128);
    }
    dc_router_destroy(rt);
}

static void an_empty_router_knows_nothing(void **state)
{
    (void)state;
    struct dc_router *rt = dc_router_create();
    struct dc_slice segment = DC_S("");
    struct dc_router_match m;
    void *ctx = &m;
    dc_router_find(rt, DC_GET, &segment, 1, &m);
    assert_null(m.route);
    assert_int_equal(m.allowed, 0);
    assert_true(dc_router_fallback(rt, &ctx) == NULL);
    assert_null(ctx);
    dc_router_set_fallback(rt, handler, &m);
    assert_true(dc_router_fallback(rt, &ctx) == handler);
    assert_ptr_equal(ctx, &m);
    dc_router_destroy(rt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_find_their_routes),
        cmocka_unit_test(a_long_parameter_is_no_id),
        cmocka_unit_test(an_empty_router_knows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
