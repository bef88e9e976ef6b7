#include "http_fixture.h"
#include "net/static_files.h"
#include <sys/stat.h>
#include <unistd.h>

#define H "Host: a\r\n"

static void put(const char *dir_z, const char *name_z, const char *text_z)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir_z, name_z);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text_z, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void make_dir(const char *dir_z, const char *name_z)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir_z, name_z);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void remove_all(const char *dir_z)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir_z);
    assert_int_equal(system(command), 0);
}

struct site {
    char dir[64];
    struct dc_static_files *files;
    struct fixture f;
    struct client *c;
};

static void api(void *ctx, struct dc_http_request *r)
{
    (void)ctx;
    dc_http_reply(r, 200, "text/plain", DC_S("api"));
}
static const struct dc_route routes[] = {{DC_GET, "/api/known", api}};

static void site_open(struct site *s)
{
    struct dc_error err = {0};
    strcpy(s->dir, "/tmp/dc-static-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    make_dir(s->dir, "assets");
    make_dir(s->dir, "deep");
    make_dir(s->dir, "deep/er");
    put(s->dir, "index.html", "<p>city</p>");
    put(s->dir, "favicon.svg", "<svg/>");
    put(s->dir, "assets/index-Ab_d-f12.js", "let a;");
    put(s->dir, "assets/index-Ab_d-f12.js.br", "BROTLI");
    put(s->dir, "assets/index-Ab_d-f12.js.gz", "GZIP!");
    put(s->dir, "assets/plain.css", "a{}");
    put(s->dir, "assets/only.css.gz", "no original");
    put(s->dir, "deep/er/x.json", "{}");
    put(s->dir, ".hidden", "secret");
    put(s->dir, "unknown.bin", "?");
    char from[100];
    snprintf(from, sizeof from, "%s/passwd.txt", s->dir);
    assert_int_equal(symlink("/etc/passwd", from), 0);
    if (dc_static_files_load(s->dir, &s->files, &err) != DC_OK) {
        fail_msg("cannot load: %s", dc_error_text(&err));
    }
    fixture_open(&s->f);
    dc_router_add(s->f.router, "", routes, 1, NULL);
    dc_router_set_fallback(s->f.router, dc_static_files_serve, s->files);
    fixture_listen(&s->f, NULL);
    s->c = client_open(&s->f);
}

static void site_close(struct site *s)
{
    client_close(s->c);
    fixture_close(&s->f);
    dc_static_files_destroy(s->files);
    remove_all(s->dir);
}

static struct response ask(struct site *s, const char *text_z)
{
    client_send(s->c, dc_slice_z(text_z));
    return wait_response(s->c);
}

static void files_come_with_their_type_cache_rules_and_security_headers(void **state)
{
    (void)state;
    static const struct {
        const char *path, *type, *cache, *body;
    } rows[] = {
        {"/", "text/html; charset=utf-8", "no-cache", "<p>city</p>"},
        {"/index.html", "text/html; charset=utf-8", "no-cache", "<p>city</p>"},
        {"/?a=b", "text/html; charset=utf-8", "no-cache", "<p>city</p>"},
        {"/favicon.svg", "image/svg+xml", "no-cache", "<svg/>"},
        {"/assets/index-Ab_d-f12.js", "text/javascript; charset=utf-8",
         "public, max-age=31536000, immutable", "let a;"},
        {"/assets/plain.css", "text/css; charset=utf-8", "no-cache", "a{}"},
        {"/deep/./er/../er/x.json", "application/json", "no-cache", "{}"},
        {"/unknown.bin", "application/octet-stream", "no-cache", "?"},
    };
    struct site s;
    site_open(&s);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char request[200];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" H "\r\n", rows[i].path);
        struct response got = ask(&s, request);
        assert_int_equal(got.status, 200);
        assert_slice(got.body, rows[i].body);
        assert_slice(head_value(got.head, "content-type"), rows[i].type);
        assert_slice(head_value(got.head, "cache-control"), rows[i].cache);
        assert_slice(head_value(got.head, "vary"), "Accept-Encoding");
        assert_slice(head_value(got.head, "x-content-type-options"), "nosniff");
        assert_slice(head_value(got.head, "referrer-policy"), "same-origin");
        assert_slice(head_value(got.head, "content-security-policy"),
                     "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
                     "frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
        assert_int_equal(head_value(got.head, "etag").len, 26);
    }
    site_close(&s);
}

static void what_depends_on_accept_says_so_and_pages_answer_options(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        const char *vary, *allow;
    } rows[] = {
        {"GET /city/plaza HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 200,
         "Accept, Accept-Encoding", NULL},
        {"GET /city/plaza HTTP/1.1\r\n" H "Accept: application/json\r\n\r\n", 404, "Accept", NULL},
        {"GET / HTTP/1.1\r\n" H "\r\n", 200, "Accept-Encoding", NULL},
        {"GET /missing.js HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 404, NULL, NULL},
        {"OPTIONS / HTTP/1.1\r\n" H "\r\n", 204, NULL, "GET, HEAD, OPTIONS"},
        {"OPTIONS /city/plaza HTTP/1.1\r\n" H "\r\n", 204, NULL, "GET, HEAD, OPTIONS"},
        {"OPTIONS /api/other HTTP/1.1\r\n" H "\r\n", 404, NULL, NULL},
        {"POST / HTTP/1.1\r\n" H "\r\n", 405, NULL, "GET, HEAD, OPTIONS"},
    };
    struct site s;
    site_open(&s);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct response got = ask(&s, rows[i].request);
        print_message("%s", rows[i].request);
        assert_int_equal(got.status, rows[i].status);
        struct dc_slice vary = head_value(got.head, "vary");
        struct dc_slice allow = head_value(got.head, "allow");
        assert_true(dc_slice_eq(vary, dc_slice_z(rows[i].vary)));
        assert_true(dc_slice_eq(allow, dc_slice_z(rows[i].allow)));
    }
    site_close(&s);
}

static void what_is_not_there_stays_404_but_pages_get_the_application(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"GET /city/plaza HTTP/1.1\r\n" H "Accept: text/html,*/*\r\n\r\n", 200},
        {"GET /city/plaza HTTP/1.1\r\n" H "Accept: application/json\r\n\r\n", 404},
        {"GET /city/plaza HTTP/1.1\r\n" H "Accept: text/html;q=0\r\n\r\n", 404},
        {"GET /city/plaza HTTP/1.1\r\n" H "\r\n", 404},
        {"GET /missing.js HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 404},
        {"GET /api/known HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 200},
        {"GET /api/other HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 404},
        {"GET /api HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 404},
        {"GET /ws/x HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 404},
        {"GET /presence/x HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 404},
        {"GET /internal/x HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 404},
        {"GET /living-map/x HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 404},
        {"GET /apiary HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 200},
        {"POST / HTTP/1.1\r\n" H "\r\n", 405},
        {"POST /nothing HTTP/1.1\r\n" H "\r\n", 404},
        {"GET /.hidden HTTP/1.1\r\n" H "\r\n", 404},
        {"GET /passwd.txt HTTP/1.1\r\n" H "\r\n", 404},
        {"GET /assets/only.css HTTP/1.1\r\n" H "Accept-Encoding: gzip\r\n\r\n", 404},
        {"GET /assets/only.css.gz HTTP/1.1\r\n" H "\r\n", 404},
        {"GET /../../etc/passwd HTTP/1.1\r\n" H "\r\n", 404},
        {"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" H "\r\n", 404},
        {"GET /..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" H "Accept: text/html\r\n\r\n", 404},
        {"GET /assets HTTP/1.1\r\n" H "\r\n", 404},
    };
    struct site s;
    site_open(&s);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct response got = ask(&s, rows[i].request);
        if (got.status != rows[i].status) {
            fail_msg("%s: %d", rows[i].request, got.status);
        }
        if (got.status == 404) {
            assert_slice(head_value(got.head, "content-type"), "application/json");
        }
    }
    site_close(&s);
}

static void compressed_twins_are_chosen_by_accept_encoding(void **state)
{
    (void)state;
    static const struct {
        const char *accept, *encoding, *body;
    } rows[] = {
        {"gzip, deflate, br", "br", "BROTLI"},
        {"gzip", "gzip", "GZIP!"},
        {"br;q=0, gzip;q=0.5", "gzip", "GZIP!"},
        {"BR ;q=1", "br", "BROTLI"},
        {"br;q=0.0,gzip;q=0", NULL, "let a;"},
        {"zstd", NULL, "let a;"},
        {"bread", NULL, "let a;"},
    };
    struct site s;
    site_open(&s);
    struct dc_strbuf tags = {0};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char request[200];
        snprintf(request, sizeof request,
                 "GET /assets/index-Ab_d-f12.js HTTP/1.1\r\n" H "Accept-Encoding: %s\r\n\r\n",
                 rows[i].accept);
        struct response got = ask(&s, request);
        assert_slice(got.body, rows[i].body);
        struct dc_slice encoding = head_value(got.head, "content-encoding");
        assert_slice(encoding, rows[i].encoding == NULL ? "" : rows[i].encoding);
        if (i < 2) { /* a strong tag names bytes: another for each coding */
            assert_false(contains(dc_strbuf_slice(&tags), "none"));
            struct dc_slice tag = head_value(got.head, "etag");
            assert_true(tags.len == 0 || !dc_slice_eq(tag, dc_strbuf_slice(&tags)));
            dc_strbuf_clear(&tags);
            dc_strbuf_add(&tags, tag);
        }
    }
    dc_strbuf_free(&tags);
    site_close(&s);
}

static void a_copy_that_is_still_good_is_not_sent_again(void **state)
{
    (void)state;
    struct site s;
    site_open(&s);
    struct response got = ask(&s, "GET /favicon.svg HTTP/1.1\r\n" H "\r\n");
    struct dc_slice tag = head_value(got.head, "etag");
    char etag[64];
    assert_true(dc_slice_copy_z(tag, etag, sizeof etag));
    static const struct {
        const char *form;
        int status;
    } rows[] = {
        {"%s", 304}, {"W/%s", 304}, {"\"x\", %s", 304}, {"\"x\", \"y\"", 200}, {"\"\"", 200}};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf request = {0};
        const char *mark = strstr(rows[i].form, "%s");
        dc_strbuf_add_z(&request, "GET /favicon.svg HTTP/1.1\r\n" H "If-None-Match: ");
        if (mark == NULL) {
            dc_strbuf_add_z(&request, rows[i].form);
        } else {
            dc_strbuf_add(&request, dc_slice_make(rows[i].form, (size_t)(mark - rows[i].form)));
            dc_strbuf_add_z(&request, etag);
        }
        dc_strbuf_add_z(&request, "\r\n\r\n");
        client_send(s.c, dc_strbuf_slice(&request));
        dc_strbuf_free(&request);
        got = wait_response(s.c);
        assert_int_equal(got.status, rows[i].status);
        assert_slice(head_value(got.head, "etag"), etag);
        assert_slice(head_value(got.head, "cache-control"), "no-cache");
    }
    got = ask(&s, "GET /favicon.svg HTTP/1.1\r\n" H "If-None-Match: *\r\n\r\n");
    assert_int_equal(got.status, 304);
    site_close(&s);
}

static void a_folder_without_index_is_refused(void **state)
{
    (void)state;
    char dir[] = "/tmp/dc-static-XXXXXX";
    struct dc_static_files *files = NULL;
    struct dc_error err = {0};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(dc_static_files_load(dir, &files, &err), DC_NOT_FOUND);
    put(dir, "index.html.gz", "x");
    assert_int_equal(dc_static_files_load(dir, &files, &err), DC_NOT_FOUND);
    assert_null(files);
    remove_all(dir);
    assert_int_equal(dc_static_files_load(dir, &files, &err), DC_NOT_FOUND);
    assert_int_equal(dc_static_files_load("/dev/null", &files, &err), DC_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_come_with_their_type_cache_rules_and_security_headers),
        cmocka_unit_test(what_depends_on_accept_says_so_and_pages_answer_options),
        cmocka_unit_test(what_is_not_there_stays_404_but_pages_get_the_application),
        cmocka_unit_test(compressed_twins_are_chosen_by_accept_encoding),
        cmocka_unit_test(a_copy_that_is_still_good_is_not_sent_again),
        cmocka_unit_test(a_folder_without_index_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
