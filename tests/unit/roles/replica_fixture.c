/* See replica_fixture.h. */
#include "replica_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEY "internal-key"

static void set_flag(void *data)
{
    *(bool *)data = true;
}

/* --- recorder --- */

static void on_record(void *data, const struct dc_bus_message *m)
{
    struct rig *r = data;
    json_t *object = NULL;
    assert_int_equal(dc_json_parse(m->payload, &object, NULL), DC_OK);
    if (dc_slice_starts(m->subject, DC_S("city.chat."))) {
        assert_true(r->n_records < MAX_RECORDS);
        assert_true(dc_slice_copy_z(dc_json_text(object, "room_id"), r->records[r->n_records].room,
                                    sizeof(r->records[0].room)));
        r->records[r->n_records++].position =
            (uint64_t)json_integer_value(json_object_get(object, "offset"));
    } else if (dc_slice_eq(m->subject, DC_S(DC_FEED_SUBJECT))) {
        assert_true(r->n_events < MAX_RECORDS);
        assert_true(dc_slice_copy_z(dc_json_text(object, "id"), r->events[r->n_events++],
                                    sizeof(r->events[0])));
    }
    json_decref(object);
}

/* --- replicas --- */

static void open_backends(struct rig *r, struct replica *p)
{
    struct dc_error err = {0};
    struct dc_db_opts db = r->f->opts;
    const struct dc_kv_opts kv = {.deadline_ms = 1000, .metrics = p->ctx.metrics};
    db.log = p->ctx.log;
    db.metrics = p->ctx.metrics;
    db.health = NULL;
    assert_int_equal(dc_db_open(r->f->loop, &db, &p->ctx.db, &err), DC_OK);
    assert_int_equal(dc_kv_open(r->f->loop, &kv, &p->ctx.kv, &err), DC_OK);
}

/* The feed without the presence socket around it. */
static void on_feed_closed(void *data)
{
    (void)data;
}

static void open_feed(void *ctx, struct dc_http_request *r)
{
    struct replica *p = ctx;
    struct dc_conn *c = dc_sse_accept(p->ctx.sse, r, on_feed_closed, p);
    assert_non_null(c);
    dc_topic_join(p->city->feed, c, dc_topic_offset(p->city->feed));
}

static const struct dc_route feed_routes[] = {{DC_GET, "/test/feed", open_feed}};

static void on_ready(void *data)
{
    ((struct replica *)data)->is_ready = true;
}

void replica_start(struct rig *r, size_t i)
{
    struct replica *p = &r->replicas[i];
    struct dc_error err = {0};
    void *city = NULL;
    struct dc_server_opts opts = {.name = "public",
                                  .host = "127.0.0.1",
                                  .max_connections = 100,
                                  .max_head_bytes = 16384,
                                  .max_body_bytes = 65536,
                                  .max_output_bytes = 1048576,
                                  .head_timeout_ms = 60000,
                                  .body_timeout_ms = 60000,
                                  .keepalive_timeout_ms = 60000};
    p->is_ready = false;
    p->ctx.health = dc_health_create();
    p->ctx.public_router = dc_router_create();
    p->ctx.internal_router = dc_router_create();
    assert_int_equal(dc_sse_hub_create(r->f->loop, 60000, NULL, &p->ctx.sse, &err), DC_OK);
    assert_int_equal(dc_role_city.start(&p->ctx, on_ready, p, &city, &err), DC_OK);
    p->city = city;
    RUN_UNTIL(r, p->is_ready);
    dc_router_add(p->ctx.public_router, "", feed_routes, DC_ARRAY_LEN(feed_routes), p);
    assert_int_equal(dc_server_create(r->f->loop, &opts, p->ctx.public_router, NULL, p->ctx.metrics,
                                      &p->server, &err),
                     DC_OK);
    opts.name = "internal";
    assert_int_equal(dc_server_create(r->f->loop, &opts, p->ctx.internal_router, NULL,
                                      p->ctx.metrics, &p->internal, &err),
                     DC_OK);
}

void replica_stop(struct rig *r, size_t i)
{
    struct replica *p = &r->replicas[i];
    if (p->feed_fd != 0) {
        close(p->feed_fd);
        p->feed_fd = 0;
        dc_strbuf_free(&p->feed_got);
    }
    dc_sse_hub_shutdown(p->ctx.sse);
    p->is_server_stopped = false;
    p->is_internal_stopped = false;
    dc_server_stop(p->server, 1000, set_flag, &p->is_server_stopped);
    dc_server_stop(p->internal, 1000, set_flag, &p->is_internal_stopped);
    RUN_UNTIL(r, p->is_server_stopped && p->is_internal_stopped);
    p->is_stopped = false;
    dc_role_city.stop(p->city, set_flag, &p->is_stopped);
    RUN_UNTIL(r, p->is_stopped);
    p->city = NULL;
    dc_sse_hub_destroy(p->ctx.sse);
    dc_health_destroy(p->ctx.health);
    dc_router_destroy(p->ctx.public_router);
    dc_router_destroy(p->ctx.internal_router);
}

int rig_setup(void **state)
{
    struct rig *r = dc_calloc(1, sizeof(*r));
    struct dc_strbuf report = {0};
    struct dc_error err = {0};
    void *f = NULL;
    assert_int_equal(fixture_setup(&f), 0);
    r->f = f;
    const struct dc_migrate_opts opts = {
        .url = r->f->opts.url, .path = r->f->opts.path, .dir = TEST_MIGRATIONS_DIR};
    if (dc_migrate(&opts, &report, &err) != DC_OK) {
        fail_msg("migrations: %s", dc_error_text(&err));
    }
    dc_strbuf_free(&report);
    fixture_open(r->f);
    r->settings = (struct dc_settings){.city_default_rooms = "general,plaza",
                                       .presence_lease_ms = 60000,
                                       .presence_close_grace_ms = 30,
                                       .typing_lease_ms = 10000,
                                       .room_presence_throttle_ms = 20,
                                       .presence_summary_interval_ms = 10,
                                       .max_message_chars = 1000,
                                       .shutdown_timeout_ms = 100,
                                       .stream_queue_bytes = 4194304,
                                       .limit_messages_burst = 1,
                                       .limit_rooms_burst = 1};
    assert_int_equal(dc_tokens_create(DC_S("0123456789abcdef"), &r->tokens, &err), DC_OK);
    r->bus = faulty_open(r->f->loop, r->f->metrics);
    const struct dc_bus_sub_opts chat = {.pattern = DC_S("city.chat.*"), .start = DC_BUS_ALL};
    const struct dc_bus_sub_opts events = {.pattern = DC_S("city.event.*"), .start = DC_BUS_ALL};
    assert_int_equal(dc_bus_subscribe(&r->bus->bus, &chat, on_record, r, &r->chat_recorder, &err),
                     DC_OK);
    assert_int_equal(
        dc_bus_subscribe(&r->bus->bus, &events, on_record, r, &r->event_recorder, &err), DC_OK);
    for (size_t i = 0; i < N_REPLICAS; i++) {
        struct replica *p = &r->replicas[i];
        p->ctx.loop = r->f->loop;
        p->ctx.settings = &r->settings;
        p->ctx.bus = &r->bus->bus;
        p->ctx.metrics = dc_metrics_create();
        p->ctx.hub = dc_hub_create(r->f->loop, p->ctx.metrics);
        p->ctx.auth =
            (struct dc_auth){.tokens = r->tokens, .is_open = true, .internal_key = DC_S(KEY)};
        open_backends(r, p);
        replica_start(r, i);
    }
    *state = r;
    return 0;
}

int rig_teardown(void **state)
{
    struct rig *r = *state;
    void *f = r->f;
    for (size_t i = 0; i < N_REPLICAS; i++) {
        struct replica *p = &r->replicas[i];
        if (p->city != NULL) {
            replica_stop(r, i);
        }
        dc_db_close(p->ctx.db, set_flag, &p->is_db_closed);
        dc_kv_close(p->ctx.kv, set_flag, &p->is_kv_closed);
        RUN_UNTIL(r, p->is_db_closed && p->is_kv_closed);
        dc_hub_destroy(p->ctx.hub);
        dc_metrics_destroy(p->ctx.metrics);
    }
    dc_bus_unsubscribe(r->chat_recorder);
    dc_bus_unsubscribe(r->event_recorder);
    faulty_close(r->bus, set_flag, &r->is_bus_closed);
    RUN_UNTIL(r, r->is_bus_closed);
    dc_tokens_destroy(r->tokens);
    assert_int_equal(fixture_teardown(&f), 0);
    dc_free(r);
    return 0;
}

struct dc_city_room *replica_room(struct rig *r, size_t i, const char *slug)
{
    return dc_city_rooms_find(r->replicas[i].city->rooms, dc_slice_z(slug));
}

int64_t replica_metric(struct rig *r, size_t i, const char *line_start)
{
    struct dc_strbuf page = {0};
    int64_t value = -1;
    dc_metrics_render(r->replicas[i].ctx.metrics, &page);
    struct dc_slice left = dc_strbuf_slice(&page);
    struct dc_slice line;
    while (dc_slice_take_token(&left, '\n', &line)) {
        if (dc_slice_take_prefix(&line, dc_slice_z(line_start))) {
            assert_true(dc_slice_to_i64(dc_slice_trim(line), &value));
        }
    }
    dc_strbuf_free(&page);
    assert_true(value >= 0);
    return value;
}

/* --- HTTP --- */

static int send_request(const struct dc_server *server, const char *method, const char *path,
                        const char *body)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(dc_server_port(server)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char text[2048];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd > 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    int len = snprintf(text, sizeof(text),
                       "%s %s HTTP/1.1\r\nHost: a\r\nX-Internal-API-Key: " KEY
                       "\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                       method, path, strlen(body), body);
    assert_true(len > 0 && (size_t)len < sizeof(text));
    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
    return fd;
}

static int status_of(struct rig *r, int fd)
{
    char text[64];
    size_t got = 0;
    while (got < 12) { /* "HTTP/1.1 200" */
        ssize_t n = recv(fd, text + got, sizeof(text) - 1 - got, MSG_DONTWAIT);
        if (n > 0) {
            got += (size_t)n;
        } else {
            assert_true(n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
            uv_run(dc_loop_uv(r->f->loop), UV_RUN_ONCE);
        }
    }
    text[got] = '\0';
    close(fd);
    return (int)strtol(text + 9, NULL, 10);
}

int ask(struct rig *r, size_t i, const char *method, const char *path)
{
    return status_of(r, send_request(r->replicas[i].server, method, path, ""));
}

int ask_internal(struct rig *r, size_t i, const char *path, const char *json)
{
    return status_of(r, send_request(r->replicas[i].internal, "POST", path, json));
}

void listen_to_feed(struct rig *r, size_t i)
{
    struct replica *p = &r->replicas[i];
    p->feed_fd = send_request(p->server, "GET", "/test/feed", "");
    RUN_UNTIL(r, dc_topic_member_count(p->city->feed) == 1);
}

size_t count_heard(struct rig *r, size_t i, const char *text)
{
    struct replica *p = &r->replicas[i];
    char buf[4096];
    ssize_t n;
    while ((n = recv(p->feed_fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        dc_strbuf_add(&p->feed_got, dc_slice_make(buf, (size_t)n));
    }
    dc_strbuf_add_char(&p->feed_got, '\0');
    p->feed_got.len--;
    size_t count = 0;
    for (const char *at = p->feed_got.ptr; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

/* --- the table --- */

int64_t query_number(struct rig *r, const char *sql)
{
    char *text = place_query(&r->f->place, sql);
    int64_t n = 0;
    assert_true(dc_slice_to_i64(dc_slice_z(text), &n));
    dc_free(text);
    return n;
}

void until_nothing_is_owed(struct rig *r)
{
    while (query_number(r, "select count(*) from outbox") > 0) {
        uv_run(dc_loop_uv(r->f->loop), UV_RUN_ONCE);
    }
}
