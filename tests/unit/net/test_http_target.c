#include "net/http_target.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct row {
    const char *raw;
    enum dc_status status;
    const char *path;
    size_t n_segments;
    const char *query; /* NULL: none */
};

static const struct row rows[] = {
    {"/", DC_OK, "/", 1, NULL},
    {"/a", DC_OK, "/a", 1, NULL},
    {"/a/", DC_OK, "/a/", 2, NULL},
    {"/a/b?c=d/../e", DC_OK, "/a/b", 2, "c=d/../e"},
    {"/?", DC_OK, "/", 1, ""},
    {"/a?b?c", DC_OK, "/a", 1, "b?c"},
    {"/a//b", DC_OK, "/a//b", 3, NULL},
    {"/.", DC_OK, "/", 1, NULL},
    {"/..", DC_OK, "/", 1, NULL},
    {"/../..", DC_OK, "/", 1, NULL},
    {"/a/.", DC_OK, "/a/", 2, NULL},
    {"/a/..", DC_OK, "/", 1, NULL},
    {"/a/../b", DC_OK, "/b", 1, NULL},
    {"/a/./b", DC_OK, "/a/b", 2, NULL},
    {"/a/b/../../../../c", DC_OK, "/c", 1, NULL},
    {"/a/%2e%2E/b", DC_OK, "/b", 1, NULL},
    {"/a/.%2e", DC_OK, "/", 1, NULL},
    {"/.well-known/x", DC_OK, "/.well-known/x", 2, NULL},
    {"/a/...", DC_OK, "/a/...", 2, NULL},
    {"/a..b/..c", DC_OK, "/a..b/..c", 2, NULL},
    {"/%D0%BA%D0%B8%D1%97%D0%B2", DC_OK, "/\xd0\xba\xd0\xb8\xd1\x97\xd0\xb2", 1, NULL},
    {"/a%3Fb?c", DC_OK, "/a?b", 1, "c"},
    {"/a%25b", DC_OK, "/a%b", 1, NULL},
    {"/a+b", DC_OK, "/a+b", 1, NULL},
    {"http://h", DC_OK, "/", 1, NULL},
    {"http://h?q", DC_OK, "/", 1, "q"},
    {"HTTP://h:1/a?q", DC_OK, "/a", 1, "q"},
    {"https://h/a/../b", DC_OK, "/b", 1, NULL},
    {"", DC_MALFORMED, NULL, 0, NULL},
    {"a", DC_MALFORMED, NULL, 0, NULL},
    {"?a", DC_MALFORMED, NULL, 0, NULL},
    {"http://", DC_MALFORMED, NULL, 0, NULL},
    {"http:///a", DC_MALFORMED, NULL, 0, NULL},
    {"ftp://h/a", DC_MALFORMED, NULL, 0, NULL},
    {"h:80", DC_MALFORMED, NULL, 0, NULL},
    {"/%", DC_MALFORMED, NULL, 0, NULL},
    {"/%4", DC_MALFORMED, NULL, 0, NULL},
    {"/%4g", DC_MALFORMED, NULL, 0, NULL},
    {"/a/%00", DC_MALFORMED, NULL, 0, NULL},
    {"/%ff", DC_MALFORMED, NULL, 0, NULL},
    {"/%c0%ae%c0%ae/", DC_MALFORMED, NULL, 0, NULL},
    {"/%ed%a0%80", DC_MALFORMED, NULL, 0, NULL},
};

static void targets_become_paths_and_queries(void **state)
{
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct dc_arena arena;
        struct dc_http_target t;
        dc_arena_init(&arena, 256, 0);
        enum dc_status st = dc_http_target_parse(dc_slice_z(row->raw), &arena, &t);
        if (st != row->status) {
            fail_msg("%s: status %d", row->raw, (int)st);
        }
        if (st == DC_OK &&
            (!dc_slice_eq(t.path, dc_slice_z(row->path)) || t.n_segments != row->n_segments ||
             !dc_slice_eq(t.query, dc_slice_z(row->query)) ||
             (t.query.ptr == NULL) != (row->query == NULL) || t.has_encoded_slash)) {
            fail_msg("%s: path %.*s, %zu segments, query %.*s", row->raw, DC_SLICE_ARG(t.path),
                     t.n_segments, DC_SLICE_ARG(t.query));
        }
        dc_arena_free(&arena);
    }
}

static void an_encoded_slash_is_told_apart(void **state)
{
    (void)state;
    struct dc_arena arena;
    struct dc_http_target t;
    dc_arena_init(&arena, 256, 0);
    assert_int_equal(dc_http_target_parse(DC_S("/a%2Fb"), &arena, &t), DC_OK);
    assert_true(t.has_encoded_slash);
    assert_int_equal(dc_http_target_parse(DC_S("/..%2f..%2fetc"), &arena, &t), DC_OK);
    assert_true(t.has_encoded_slash);
    dc_arena_free(&arena);
}

static void deep_paths_have_no_segments_to_offer(void **state)
{
    (void)state;
    struct dc_http_target t;
    assert_int_equal(dc_http_target_parse(DC_S("/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6"), NULL, &t),
                     DC_OK);
    assert_false(t.is_too_deep);
    assert_int_equal(t.n_segments, 16);
    assert_int_equal(dc_http_target_parse(DC_S("/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7"), NULL, &t),
                     DC_OK);
    assert_true(t.is_too_deep);
}

static void a_star_stands_for_the_server(void **state)
{
    (void)state;
    struct dc_http_target t;
    assert_int_equal(dc_http_target_parse(DC_S("*"), NULL, &t), DC_OK);
    assert_true(t.is_asterisk);
}

static void no_memory_is_said(void **state)
{
    (void)state;
    struct dc_arena arena;
    struct dc_http_target t;
    dc_arena_init(&arena, 16, 16);
    assert_int_equal(dc_http_target_parse(DC_S("/%41aaaaaaaaaaaaaaaaaaaaaaaaaaa"), &arena, &t),
                     DC_NO_MEMORY);
    dc_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_become_paths_and_queries),
        cmocka_unit_test(an_encoded_slash_is_told_apart),
        cmocka_unit_test(deep_paths_have_no_segments_to_offer),
        cmocka_unit_test(a_star_stands_for_the_server),
        cmocka_unit_test(no_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
