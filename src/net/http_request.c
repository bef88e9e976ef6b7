/* Requests: from bytes to handlers and on to the next request.  See http_inside.h for the states.
 */
#include "base/mem.h"
#include "net/http_inside.h"

/* Requests answered in one go for one connection, then others have their turn. */
#define MAX_PIPELINED 128
/* Idle request objects kept for reuse, and how much memory each of their buffers may keep. */
#define MAX_FREE_REQUESTS 256
#define KEPT_BUFFER_BYTES 4096
#define ARENA_CHUNK_BYTES 2048
/* Everything one request may keep in its arena; bodies are bounded elsewhere. */
#define ARENA_LIMIT_BYTES ((size_t)4 * 1024 * 1024)

/* Under AddressSanitizer every request is new memory, so that use after the end is found. */
#if defined(__SANITIZE_ADDRESS__)
#define DC_REUSE_REQUESTS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DC_REUSE_REQUESTS 0
#endif
#endif
#ifndef DC_REUSE_REQUESTS
#define DC_REUSE_REQUESTS 1
#endif

static void feed(struct dc_server *s, struct dc_conn *c, struct dc_slice bytes);

/* --- life of a request object --- */

static struct dc_http_request *take(struct dc_server *s, struct dc_conn *c)
{
    struct dc_http_request *r;
    if (s->n_free > 0) {
        r = DC_LIST_ENTRY(s->free_requests.next, struct dc_http_request, link);
        dc_list_remove(&r->link);
        s->n_free--;
    } else {
        r = dc_alloc(sizeof *r);
        r->body = (struct dc_strbuf){0};
        r->kept = (struct dc_strbuf){0};
        r->headers = (struct dc_strbuf){0};
        dc_list_init(&r->link);
        dc_http_parse_init(&r->parse, &s->limits);
    }
    s->n_taken++;
    r->self = r;
    r->server = s;
    r->conn = c;
    r->state = DC_HTTP_READING;
    r->phase = DC_HTTP_PHASE_NONE;
    r->method = (enum dc_http_method)0;
    r->is_fed = false;
    r->has_head = false;
    r->is_counted = false;
    r->is_answered = false;
    r->close_after = false;
    r->has_retry_after = false;
    r->is_stream_chunked = false;
    r->is_stream_mute = false;
    r->id_len = 0;
    r->peer_len = 0;
    r->answer_status = 0;
    r->start_us = 0;
    r->gone = NULL;
    r->gone_data = NULL;
    r->reason = NULL;
    r->code = NULL;
    r->json = NULL;
    r->parse.limits.max_body_bytes = s->limits.max_body_bytes;
    r->match.route = NULL;
    r->match.n_params = 0;
    r->target.path = DC_SLICE_NULL;
    r->target.query = DC_SLICE_NULL;
    r->target.authority = DC_SLICE_NULL;
    dc_arena_init(&r->arena, ARENA_CHUNK_BYTES, ARENA_LIMIT_BYTES);
    c->state = r;
    return r;
}

static void recycle_buffer(struct dc_strbuf *b)
{
    if (b->cap > KEPT_BUFFER_BYTES) {
        dc_strbuf_free(b);
    } else {
        dc_strbuf_clear(b);
    }
}

static void request_free(struct dc_http_request *r)
{
    dc_http_parse_free(&r->parse);
    dc_strbuf_free(&r->body);
    dc_strbuf_free(&r->kept);
    dc_strbuf_free(&r->headers);
    dc_free(r);
}

/* The connection must not point to it any more. */
static void release(struct dc_http_request *r)
{
    struct dc_server *s = r->server;
    dc_list_remove(&r->link);
    json_decref(r->json);
    dc_arena_free(&r->arena);
    s->n_taken--;
    if (DC_REUSE_REQUESTS && s->n_free < MAX_FREE_REQUESTS && !s->is_stopped) {
        recycle_buffer(&r->body);
        recycle_buffer(&r->kept);
        recycle_buffer(&r->headers);
        dc_http_parse_reset(&r->parse);
        dc_list_push_front(&s->free_requests, &r->link);
        s->n_free++;
    } else {
        request_free(r);
    }
    if (s->n_taken == 0 && s->is_stopping) {
        dc_server_check_stopped(s);
    }
}

void dc_http_free_requests(struct dc_server *s)
{
    while (!dc_list_is_empty(&s->free_requests)) {
        struct dc_list *first = s->free_requests.next;
        dc_list_remove(first);
        request_free(DC_LIST_ENTRY(first, struct dc_http_request, link));
    }
    s->n_free = 0;
}

static void make_ready(struct dc_http_request *r)
{
    struct dc_server *s = r->server;
    dc_list_remove(&r->link);
    dc_list_push_back(&s->ready, &r->link);
    dc_turn_schedule(s->host.loop, &s->turn);
}

/* Keeps bytes behind a request that is being worked on; too many: reading waits. */
static void keep(struct dc_http_request *r, struct dc_slice bytes)
{
    struct dc_server *s = r->server;
    dc_strbuf_add(&r->kept, bytes);
    if (!dc_strbuf_ok(&r->kept)) {
        dc_conn_close(r->conn);
    } else if (r->kept.len > s->limits.max_head_bytes + s->limits.max_body_bytes) {
        dc_conn_pause(r->conn, true);
    }
}

/* --- the end of a request --- */

/* A refusal is the client's doing (501: a method that nobody has); the rest above is ours. */
static enum dc_log_level level_of(int status)
{
    if (status < 400) {
        return DC_LOG_DEBUG;
    }
    if (status < 500 || status == 501) {
        return DC_LOG_INFO;
    }
    return status == 500 ? DC_LOG_ERROR : DC_LOG_WARN;
}

static void log_answer(const struct dc_http_request *r, uint64_t took_us)
{
    enum dc_log_level level = level_of(r->answer_status);
    if (!dc_log_enabled(r->server->log, level)) {
        return;
    }
    /* Never the query: it may carry a token. */
    DC_LOG(r->server->log, level, "http.request", DC_LF_Z("server", r->server->name),
           DC_LF_T("method", r->parse.method), DC_LF_T("path", r->target.path),
           DC_LF_I("status", r->answer_status), DC_LF_Z("code", r->code == NULL ? "" : r->code),
           DC_LF_I("us", took_us), DC_LF_T("request_id", dc_slice_make(r->id, r->id_len)),
           DC_LF_T("address", dc_http_peer(r)),
           DC_LF_Z("reason", r->reason == NULL ? "" : r->reason), DC_LF_B("gone", r->conn == NULL));
}

static void count_end(struct dc_http_request *r)
{
    struct dc_server *s = r->server;
    uint64_t took_us = 0;
    if (r->is_counted) {
        r->is_counted = false;
        s->in_flight->value--;
        took_us = dc_mono_now_us() - r->start_us;
        dc_histogram_observe_us(s->duration, took_us);
    }
    if (r->answer_status >= 100 && r->answer_status < 600) {
        s->requests[r->answer_status / 100 - 1]->value++;
    }
    log_answer(r, took_us);
}

void dc_http_finish(struct dc_http_request *r)
{
    r->state = DC_HTTP_OVER;
    r->gone = NULL;
    if (r->server->is_stopped) {
        /* The server has been cut and only its memory is left: logs and metrics may be gone. */
        release(r);
        return;
    }
    count_end(r);
    if (r->is_fed) {
        return; /* the read loop goes on from here */
    }
    if (r->conn != NULL && r->close_after) {
        dc_conn_close_flushed(r->conn);
    }
    make_ready(r);
}

/* A connection without a request: waits for the next one, or ends when the server stops.  It is
 * idle when its answers have been taken. */
static void rest(struct dc_server *s, struct dc_conn *c)
{
    if (s->is_stopping) {
        dc_conn_close(c);
    } else {
        dc_timeout_touch(c->out == NULL ? s->idle_timeouts : s->host.stalled, &c->timeout);
    }
}

/* Deals with what has ended outside a read. */
static void resume(struct dc_server *s, struct dc_http_request *r)
{
    struct dc_conn *c = r->conn;
    bool is_handover = r->state == DC_HTTP_HANDOVER;
    struct dc_strbuf kept = r->kept;
    r->kept = (struct dc_strbuf){0};
    if (c != NULL && !is_handover) {
        c->state = NULL;
    }
    release(r);
    if (c != NULL && !c->is_closing && !c->close_when_flushed) {
        dc_conn_pause(c, false);
        if (is_handover) {
            if (kept.len > 0 && !c->is_closing) {
                c->cls->on_data(c, dc_strbuf_slice(&kept));
            }
        } else if (kept.len > 0) {
            feed(s, c, dc_strbuf_slice(&kept));
        } else {
            rest(s, c);
        }
    }
    dc_strbuf_free(&kept);
}

void dc_http_turn(struct dc_turn *turn)
{
    struct dc_server *s = DC_CONTAINER_OF(turn, struct dc_server, turn);
    struct dc_list now;
    dc_list_init(&now);
    dc_list_move_all(&now, &s->ready);
    while (!dc_list_is_empty(&now)) {
        struct dc_http_request *r = DC_LIST_ENTRY(now.next, struct dc_http_request, link);
        dc_list_remove(&r->link);
        resume(s, r);
    }
}

/* --- from head to handler --- */

static enum dc_http_method method_of(struct dc_slice name)
{
    static const struct {
        struct dc_slice name;
        enum dc_http_method method;
    } known[] = {{{"GET", 3}, DC_GET},        {{"POST", 4}, DC_POST},   {{"HEAD", 4}, DC_HEAD},
                 {{"PUT", 3}, DC_PUT},        {{"PATCH", 5}, DC_PATCH}, {{"DELETE", 6}, DC_DELETE},
                 {{"OPTIONS", 7}, DC_OPTIONS}};
    for (size_t i = 0; i < DC_ARRAY_LEN(known); i++) {
        if (dc_slice_eq(name, known[i].name)) {
            return known[i].method;
        }
    }
    return (enum dc_http_method)0;
}

/* A body that is, or may become, larger than bodies are: does this route take it? */
static void raise_body_limit(struct dc_http_request *r)
{
    const struct dc_router *router = r->server->router;
    if (!r->parse.has_body || r->target.is_asterisk || r->target.is_too_deep ||
        r->target.has_encoded_slash ||
        (!r->parse.is_chunked && r->parse.content_length <= r->parse.limits.max_body_bytes)) {
        return;
    }
    dc_router_find(router, r->method, r->target.segments, r->target.n_segments, &r->match);
    dc_body_limit_cb limit =
        r->match.route == NULL ? NULL : dc_router_body_limit(router, r->match.route->handler);
    size_t max_bytes = limit == NULL ? 0 : limit(r->match.ctx, r);
    if (max_bytes > r->parse.limits.max_body_bytes) {
        r->parse.limits.max_body_bytes = max_bytes;
    }
}

static void on_head(struct dc_http_request *r)
{
    r->has_head = true;
    dc_http_make_id(r);
    r->method = method_of(r->parse.method);
    if (r->method == 0) {
        dc_http_refuse(r, DC_UNSUPPORTED, "this method is not implemented");
        return;
    }
    enum dc_status st = dc_http_target_parse(r->parse.target, &r->arena, &r->target);
    if (st == DC_OK && r->target.is_asterisk && r->method != DC_OPTIONS) {
        st = DC_MALFORMED;
    }
    if (st != DC_OK) {
        r->target.path = DC_SLICE_NULL;
        dc_http_refuse(r, st, st == DC_MALFORMED ? "the request target is malformed" : NULL);
        return;
    }
    raise_body_limit(r);
    struct dc_slice expect = dc_http_parse_known(&r->parse, DC_HTTP_KNOWN_EXPECT);
    if (expect.ptr == NULL || r->parse.minor == 0) {
        return;
    }
    if (!dc_slice_ieq(expect, DC_S("100-continue"))) {
        dc_http_refuse(r, DC_EXPECTATION, NULL);
    } else if (r->parse.has_body &&
               (r->parse.is_chunked || r->parse.content_length <= r->parse.limits.max_body_bytes)) {
        dc_strbuf_add(&r->server->batch, DC_S("HTTP/1.1 100 Continue\r\n\r\n"));
    }
}

static void answer_unknown(struct dc_http_request *r)
{
    void *ctx = NULL;
    dc_http_handler fallback = dc_router_fallback(r->server->router, &ctx);
    if (fallback != NULL && !r->target.has_encoded_slash) {
        fallback(ctx, r);
        return;
    }
    struct dc_error err = {.status = DC_NOT_FOUND};
    dc_http_reply_error(r, &err);
}

static void answer_wrong_method(struct dc_http_request *r)
{
    struct dc_strbuf methods = {0};
    dc_http_write_methods(r->match.allowed, &methods);
    dc_http_set_header(r, "Allow", dc_strbuf_slice(&methods));
    dc_strbuf_free(&methods);
    struct dc_error err = {.status = DC_METHOD};
    dc_http_reply_error(r, &err);
}

static void dispatch(struct dc_http_request *r)
{
    struct dc_server *s = r->server;
    r->state = DC_HTTP_HANDED;
    r->is_counted = true;
    r->start_us = dc_mono_now_us();
    s->in_flight->value++;
    if (r->target.is_asterisk) {
        dc_http_answer_options(r, DC_GET | DC_HEAD | DC_POST | DC_PUT | DC_PATCH | DC_DELETE |
                                      DC_OPTIONS);
        return;
    }
    if (r->target.is_too_deep || r->target.has_encoded_slash) {
        answer_unknown(r);
        return;
    }
    dc_router_find(s->router, r->method, r->target.segments, r->target.n_segments, &r->match);
    if (r->match.route != NULL) {
        r->match.route->handler(r->match.ctx, r);
    } else if (r->match.allowed == 0) {
        answer_unknown(r);
    } else if (r->method == DC_OPTIONS) {
        dc_http_answer_options(r, r->match.allowed);
    } else {
        answer_wrong_method(r);
    }
}

/* --- reading --- */

/* Sends what the read has collected so far. */
static void flush(struct dc_server *s, struct dc_conn *c)
{
    if (!dc_strbuf_ok(&s->batch)) {
        dc_conn_close(c);
    } else if (s->batch.len > 0) {
        dc_conn_send_bytes(c, dc_strbuf_slice(&s->batch), NULL, 0);
    }
    dc_strbuf_clear(&s->batch);
}

/* Nothing more to parse for now: the timeout of what is still missing. Only the first byte of a
 * head and the first of a body start one; more bytes do not extend it. */
static void await_more(struct dc_http_request *r)
{
    struct dc_server *s = r->server;
    if (r->has_head && r->phase != DC_HTTP_PHASE_BODY) {
        r->phase = DC_HTTP_PHASE_BODY;
        dc_timeout_touch(s->body_timeouts, &r->conn->timeout);
    } else if (!r->has_head && r->phase != DC_HTTP_PHASE_HEAD) {
        r->phase = DC_HTTP_PHASE_HEAD;
        dc_timeout_touch(s->head_timeouts, &r->conn->timeout);
    }
}

/* One event of the parser; false: no more to be had from *bytes now. */
static bool advance(struct dc_http_request *r, struct dc_slice *bytes)
{
    struct dc_slice piece = DC_SLICE_NULL;
    switch (dc_http_parse_next(&r->parse, bytes, &piece)) {
    case DC_HTTP_MORE:
        await_more(r);
        return false;
    case DC_HTTP_HEAD:
        on_head(r);
        return true;
    case DC_HTTP_BODY:
        dc_strbuf_add(&r->body, piece);
        if (!dc_strbuf_ok(&r->body)) {
            dc_http_refuse(r, DC_NO_MEMORY, NULL);
        }
        return true;
    case DC_HTTP_DONE:
        dispatch(r);
        return true;
    case DC_HTTP_REFUSE:
        dc_http_refuse(r, r->parse.status, r->parse.reason);
        return true;
    }
    return false;
}

/* May another request be begun?  If not, *bytes are kept until it may. */
static bool may_begin(struct dc_server *s, struct dc_conn *c, struct dc_slice bytes,
                      unsigned answered)
{
    if (c->out == NULL && answered < MAX_PIPELINED) {
        return true;
    }
    struct dc_http_request *r = take(s, c);
    dc_timeout_remove(&c->timeout);
    keep(r, bytes);
    dc_conn_pause(c, true);
    if (c->out != NULL) {
        r->state = DC_HTTP_STALLED; /* on_drain goes on */
        dc_timeout_touch(s->host.stalled, &c->timeout);
    } else {
        r->state = DC_HTTP_OVER;
        make_ready(r);
    }
    return false;
}

/* Parses and answers until the bytes are used up, a handler takes its time or the connection ends.
 * The connection has a request that is being read, or none. */
static void feed(struct dc_server *s, struct dc_conn *c, struct dc_slice bytes)
{
    unsigned answered = 0;
    bool close_after = false;
    s->corked = c;
    dc_strbuf_clear(&s->batch);
    while (!c->is_closing) {
        struct dc_http_request *r = c->state;
        if (r == NULL) {
            /* Empty lines between messages are no reason to take a request object. */
            while (bytes.len > 0 && (*bytes.ptr == '\r' || *bytes.ptr == '\n')) {
                bytes.ptr++;
                bytes.len--;
            }
            if (bytes.len == 0 || !may_begin(s, c, bytes, answered)) {
                break;
            }
            r = take(s, c);
        }
        r->is_fed = true;
        bool goes_on = advance(r, &bytes);
        r->is_fed = false;
        if (!goes_on) {
            break;
        }
        if (r->state == DC_HTTP_READING) {
            continue;
        }
        if (r->state == DC_HTTP_HANDOVER) {
            s->corked = NULL;
            release(r);
            if (bytes.len > 0 && !c->is_closing) {
                c->cls->on_data(c, bytes);
            }
            return;
        }
        if (r->state != DC_HTTP_OVER) {
            dc_timeout_remove(&c->timeout); /* handlers have their own deadlines */
            if (bytes.len > 0) {
                keep(r, bytes);
            }
            break;
        }
        close_after = r->close_after;
        c->state = NULL;
        release(r);
        answered++;
        if (close_after) {
            break;
        }
    }
    flush(s, c);
    s->corked = NULL;
    if (close_after) {
        dc_conn_close_flushed(c);
    } else if (c->state == NULL && !c->is_closing && answered > 0) {
        rest(s, c);
    }
}

static void on_data(struct dc_conn *c, struct dc_slice bytes)
{
    struct dc_http_request *r = c->state;
    if (r != NULL && r->state != DC_HTTP_READING) {
        keep(r, bytes);
        return;
    }
    feed(dc_http_server_of(c), c, bytes);
}

static void on_drain(struct dc_conn *c)
{
    struct dc_http_request *r = c->state;
    if (r == NULL) {
        rest(dc_http_server_of(c), c);
    } else if (r->state == DC_HTTP_STALLED) {
        dc_timeout_remove(&c->timeout);
        r->state = DC_HTTP_OVER;
        make_ready(r);
    }
}

static void on_timeout(struct dc_conn *c)
{
    struct dc_http_request *r = c->state;
    if (r != NULL && r->state == DC_HTTP_READING) {
        dc_http_refuse(r, DC_REQUEST_TIMEOUT, NULL);
    } else if (r != NULL && r->state != DC_HTTP_STALLED) {
        return; /* a handler has it */
    } else if (dc_conn_is_draining(c)) {
        dc_timeout_touch(c->host->stalled, &c->timeout);
    } else {
        dc_conn_close(c); /* idle, or it does not take its answers */
    }
}

static void on_close(struct dc_conn *c)
{
    struct dc_http_request *r = c->state;
    c->state = NULL;
    if (r == NULL) {
        return;
    }
    r->conn = NULL;
    switch (r->state) {
    case DC_HTTP_READING:
    case DC_HTTP_STALLED:
        release(r);
        break;
    case DC_HTTP_OVER: /* on its way to dc_http_turn */
    case DC_HTTP_HANDOVER:
        break;
    case DC_HTTP_HANDED:
    case DC_HTTP_STREAMING:
        if (r->gone != NULL) {
            void (*gone)(void *data) = r->gone;
            r->gone = NULL;
            gone(r->gone_data);
        }
        break;
    }
}

const struct dc_conn_class dc_http_class = {
    .mode = DC_CONN_HTTP,
    .on_data = on_data,
    .on_drain = on_drain,
    .on_timeout = on_timeout,
    .on_close = on_close,
};

static void ignore_data(struct dc_conn *c, struct dc_slice bytes)
{
    (void)c;
    (void)bytes;
}

const struct dc_conn_class dc_http_refuse_class = {
    .mode = DC_CONN_HTTP,
    .on_data = ignore_data,
};

/* --- upgrades --- */

struct dc_conn *dc_http_detach(struct dc_http_request *r, struct dc_slice raw_head_bytes,
                               const struct dc_conn_class *cls, void *state)
{
    struct dc_server *s = r->server;
    struct dc_conn *c = r->conn;
    DC_ASSERT(!r->is_answered && raw_head_bytes.len > 12);
    r->is_answered = true;
    r->answer_status = (raw_head_bytes.ptr[9] - '0') * 100;
    r->answer_status += (raw_head_bytes.ptr[10] - '0') * 10 + (raw_head_bytes.ptr[11] - '0');
    if (c == NULL || c->is_closing || c->close_when_flushed) {
        dc_http_finish(r);
        return NULL;
    }
    count_end(r);
    r->state = DC_HTTP_HANDOVER;
    r->gone = NULL;
    dc_conn_set_class(c, cls, state);
    if (r->is_fed) {
        flush(s, c); /* earlier answers first */
        s->corked = NULL;
    } else {
        dc_conn_pause(c, true);
        make_ready(r);
    }
    dc_conn_send_bytes(c, raw_head_bytes, NULL, 0);
    return c;
}

bool dc_http_is_11(const struct dc_http_request *r)
{
    return r->parse.minor == 1;
}
