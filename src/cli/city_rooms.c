/* The Matrix rooms of a running city, for `daarion matrix-config --size`: GET /internal/city/rooms
 * of the internal listener. */
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "net/http_client.h"

#define CALL_MS   UINT64_C(30000)
#define MAX_BYTES (64 * (size_t)1024 * 1024)

struct asking {
    const struct dc_settings *settings;
    struct dc_http_client *client;
    struct dc_cli_rooms *rooms;
    enum dc_status st;
    struct dc_error *err;
};

static enum dc_status take(struct dc_cli_rooms *rooms, const json_t *json, struct dc_error *err)
{
    size_t i;
    const json_t *room;
    rooms->ids = dc_arena_calloc(&rooms->arena, json_array_size(json) + 1, sizeof(*rooms->ids));
    json_array_foreach(json, i, room)
    {
        struct dc_slice id = dc_json_text(room, "matrix_room_id");
        struct dc_slice copy = id.ptr == NULL ? DC_SLICE_NULL : dc_arena_dup(&rooms->arena, id);
        if (rooms->ids == NULL || (id.ptr != NULL && copy.ptr == NULL)) {
            return dc_fail(err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
        }
        if (copy.ptr != NULL) {
            rooms->ids[rooms->n++] = copy;
        }
    }
    return DC_OK;
}

static void on_answer(void *data, enum dc_status st, const struct dc_http_answer *answer,
                      const struct dc_error *cause)
{
    struct asking *a = data;
    json_t *json = NULL;
    if (st != DC_OK) {
        a->st = dc_fail(a->err, st, 0, "%s", dc_error_text(cause));
    } else if (dc_json_parse(answer->body, &json, a->err) != DC_OK) {
        a->st = dc_fail(a->err, DC_UPSTREAM, 0, "no city listens at INTERNAL_HOST:INTERNAL_PORT");
    } else if (answer->http_status != 200 || !json_is_array(json)) {
        a->st = dc_fail(a->err, DC_UPSTREAM, 0, "the city answers %d: %.*s", answer->http_status,
                        DC_SLICE_ARG(dc_json_text(json, "detail")));
    } else {
        a->st = take(a->rooms, json, a->err);
    }
    json_decref(json);
    dc_http_client_close(a->client);
}

static void ask(struct asking *a)
{
    const struct dc_settings *s = a->settings;
    struct dc_strbuf url = {0};
    struct dc_strbuf key = {0};
    dc_cli_internal_url(s, "/internal/city/rooms", &url);
    dc_strbuf_add_char(&url, '\0');
    dc_strbuf_printf(&key, "X-Internal-API-Key: %s", s->internal_api_key);
    dc_strbuf_add_char(&key, '\0');
    const char *const headers[] = {key.ptr};
    const struct dc_http_call call = {.method_z = "GET",
                                      .url_z = url.ptr,
                                      .headers = headers,
                                      .n_headers = DC_ARRAY_LEN(headers),
                                      .deadline_ms = CALL_MS,
                                      .max_response_bytes = MAX_BYTES};
    a->st = dc_strbuf_ok(&url) && dc_strbuf_ok(&key)
                ? dc_http_client_call(a->client, &call, on_answer, a, NULL, a->err)
                : dc_fail(a->err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    if (a->st != DC_OK) {
        dc_http_client_close(a->client);
    }
    if (key.ptr != NULL) {
        dc_wipe(key.ptr, key.len);
    }
    dc_strbuf_free(&key);
    dc_strbuf_free(&url);
}

enum dc_status dc_cli_fetch_rooms(struct dc_conf *conf, struct dc_cli_rooms *rooms,
                                  struct dc_error *err)
{
    struct asking a = {.settings = dc_conf_settings(conf), .rooms = rooms, .err = err};
    struct dc_loop *loop = NULL;
    enum dc_status st = DC_OK;
    dc_arena_init(&rooms->arena, 4096, 0);
    if (a.settings->internal_api_key == NULL) {
        st = dc_cli_ensure_data_dir(a.settings, err);
        if (st == DC_OK) {
            st = dc_cli_ensure_secrets(conf, err);
        }
    }
    if (st == DC_OK) {
        st = dc_loop_create(&loop, err);
    }
    if (st != DC_OK) {
        return st;
    }
    st = dc_http_client_create(loop, &a.client, err);
    if (st == DC_OK) {
        ask(&a);
        dc_loop_run(loop);
        st = a.st;
    }
    if (dc_loop_destroy(loop) != DC_OK && st == DC_OK) {
        st = dc_fail(err, DC_INTERNAL, 0, "the loop did not end");
    }
    return st;
}

void dc_cli_rooms_free(struct dc_cli_rooms *rooms)
{
    dc_arena_free(&rooms->arena);
    *rooms = (struct dc_cli_rooms){0};
}
