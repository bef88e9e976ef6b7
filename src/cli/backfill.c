/* `daarion backfill`: asks a running city, page by page, for the Matrix rooms of the rooms that
 * have none, and tells how far it is.  The work is the city's (roles/city/backfill.c): whoever
 * interrupts this, or the city, begins again. */
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "matrix/matrix_path.h"
#include "net/http_client.h"
#include "rt/timer.h"

#include <stdio.h>
#include <unistd.h>

#define PAGE "40"
/* Each room of a page may take the city MATRIX_TIMEOUT_MS twice; it works on several at a time. */
#define CALL_MS (UINT64_C(10) * 60 * 1000)

struct backfill {
    const struct dc_settings *settings;
    struct dc_http_client *client;
    struct dc_timer wait;
    struct dc_strbuf after;
    int64_t processed, created, found, failed;
    int exit_code;
};

static void ask(struct backfill *b);

static void end(struct backfill *b)
{
    dc_timer_close(&b->wait, NULL);
    dc_http_client_close(b->client);
}

static void fail(struct backfill *b, const struct dc_error *err)
{
    dc_cli_complain(err);
    end(b);
}

static int64_t number(const json_t *json, const char *key_z)
{
    return json_integer_value(json_object_get(json, key_z));
}

/* On a terminal the line is written over, elsewhere there is one a page. */
static void show(const struct backfill *b, int64_t remaining, int64_t wait_ms)
{
    bool is_terminal = isatty(STDOUT_FILENO) == 1;
    int64_t all = b->processed + remaining;
    (void)printf("%sbackfill: %lld of %lld rooms, %lld made, %lld found, %lld failed",
                 is_terminal ? "\r\x1b[K" : "", (long long)b->processed, (long long)all,
                 (long long)b->created, (long long)b->found, (long long)b->failed);
    if (wait_ms > 0) {
        (void)printf("; waits %lld s, as the homeserver limits how many rooms an account makes "
                     "(MATRIX_AS_TOKEN lifts that)",
                     (long long)((wait_ms + 999) / 1000));
    }
    (void)printf("%s", is_terminal && remaining > 0 ? "" : "\n");
    (void)fflush(stdout);
}

static void complain_of_rooms(const json_t *details)
{
    size_t i;
    const json_t *item;
    json_array_foreach(details, i, item)
    {
        struct dc_slice error = dc_json_text(item, "error");
        struct dc_slice slug = dc_json_text(item, "slug");
        if (error.ptr != NULL) {
            (void)fprintf(stderr, "daarion: %.*s: %.*s\n", DC_SLICE_ARG(slug), DC_SLICE_ARG(error));
        }
    }
}

/* true: there are more, to be asked for after *wait_ms. */
static bool take_page(struct backfill *b, const json_t *json, int64_t *wait_ms)
{
    struct dc_slice next = dc_json_text(json, "next");
    *wait_ms = number(json, "retry_after_ms");
    b->processed += number(json, "processed");
    b->created += number(json, "created");
    b->found += number(json, "found");
    b->failed += number(json, "failed");
    show(b, number(json, "remaining"), *wait_ms);
    complain_of_rooms(json_object_get(json, "details"));
    dc_strbuf_clear(&b->after);
    dc_strbuf_add(&b->after, next);
    return next.ptr != NULL || *wait_ms > 0;
}

static void on_waited(struct dc_timer *t)
{
    ask(DC_CONTAINER_OF(t, struct backfill, wait));
}

static void on_answer(void *data, enum dc_status st, const struct dc_http_answer *answer,
                      const struct dc_error *cause)
{
    struct backfill *b = data;
    struct dc_error err = {0};
    json_t *json = NULL;
    int64_t wait_ms = 0;
    if (st != DC_OK) {
        fail(b, cause);
        return;
    }
    if (dc_json_parse(answer->body, &json, &err) != DC_OK || !json_is_object(json)) {
        (void)dc_fail(&err, DC_UPSTREAM, 0, "no city listens at INTERNAL_HOST:INTERNAL_PORT");
        fail(b, &err);
    } else if (answer->http_status != 200) {
        struct dc_slice detail = dc_json_text(json, "detail");
        (void)dc_fail(&err, DC_UPSTREAM, 0, "the city answers %d: %.*s", answer->http_status,
                      DC_SLICE_ARG(detail));
        fail(b, &err);
    } else if (take_page(b, json, &wait_ms)) {
        dc_timer_start(&b->wait, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
    } else {
        b->exit_code = b->failed > 0 ? DC_EXIT_FAILED : DC_EXIT_OK;
        end(b);
    }
    json_decref(json);
}

static void ask(struct backfill *b)
{
    const struct dc_settings *s = b->settings;
    struct dc_error err = {0};
    struct dc_strbuf url = {0};
    struct dc_strbuf key = {0};
    dc_cli_internal_url(s, "/internal/city/matrix/backfill?limit=" PAGE, &url);
    if (b->after.len > 0) {
        dc_matrix_query(&url, "after", dc_strbuf_slice(&b->after));
    }
    dc_strbuf_add_char(&url, '\0');
    dc_strbuf_printf(&key, "X-Internal-API-Key: %s", s->internal_api_key);
    dc_strbuf_add_char(&key, '\0');
    const char *const headers[] = {key.ptr};
    const struct dc_http_call call = {.method_z = "POST",
                                      .url_z = url.ptr,
                                      .headers = headers,
                                      .n_headers = DC_ARRAY_LEN(headers),
                                      .deadline_ms = CALL_MS};
    enum dc_status st = dc_strbuf_ok(&url) && dc_strbuf_ok(&key)
                            ? dc_http_client_call(b->client, &call, on_answer, b, NULL, &err)
                            : dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    if (key.ptr != NULL) {
        dc_wipe(key.ptr, key.len);
    }
    dc_strbuf_free(&key);
    dc_strbuf_free(&url);
    if (st != DC_OK) {
        fail(b, &err);
    }
}

int dc_cli_backfill(struct dc_conf *conf)
{
    struct backfill b = {.settings = dc_conf_settings(conf), .exit_code = DC_EXIT_FAILED};
    struct dc_error err = {0};
    struct dc_loop *loop = NULL;
    enum dc_status st = DC_OK;
    if (b.settings->internal_api_key == NULL) {
        st = dc_cli_ensure_data_dir(b.settings, &err);
        if (st == DC_OK) {
            st = dc_cli_ensure_secrets(conf, &err);
        }
    }
    if (st == DC_OK) {
        st = dc_loop_create(&loop, &err);
    }
    if (st == DC_OK) {
        st = dc_http_client_create(loop, &b.client, &err);
    }
    if (st == DC_OK) {
        dc_timer_init(loop, &b.wait, on_waited);
        ask(&b);
    } else {
        dc_cli_complain(&err);
    }
    if (loop != NULL) {
        dc_loop_run(loop);
        if (dc_loop_destroy(loop) != DC_OK) {
            b.exit_code = DC_EXIT_FAILED;
        }
    }
    dc_strbuf_free(&b.after);
    return st == DC_CONFIG ? DC_EXIT_CONFIG : b.exit_code;
}
