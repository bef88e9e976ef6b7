/* Calls to a homeserver. */
#include "matrix/matrix_client.h"
#include "base/mem.h"
#include "matrix/matrix_error.h"
#include "matrix/matrix_path.h"
#include "net/http_client.h"

/* When the homeserver asks to wait and does not say how long. */
#define PAUSE_BASE_MS 500
#define PAUSE_MAX_MS  10000
/* Reading so much JSON takes a millisecond or two. */
#define LARGE_BYTES ((size_t)64 * 1024)

struct dc_matrix {
    struct dc_loop *loop;
    struct dc_http_client *http;
    struct dc_log *log;
    char *base_url;
    struct dc_list calls;
    bool is_closing;
    struct dc_counter *ok, *refused, *limited, *failed, *waits;
    struct dc_histogram *duration;
};

struct call {
    struct dc_op op; /* first: what the caller holds */
    struct dc_list link;
    struct dc_matrix *m;
    const char *name, *limit_hint, *method;
    struct dc_strbuf url, auth, body;
    size_t max_bytes;
    int64_t deadline_at_ms;
    uint64_t started_us;
    struct dc_backoff pause;
    struct dc_timer wait;
    struct dc_op *http_op; /* NULL: waiting */
    /* a large answer, which the pool reads */
    struct dc_strbuf answer_bytes;
    json_t *json;
    int http_status;
    int64_t retry_after_ms;
    bool is_reading;
    bool is_impatient, is_canceled;
    dc_matrix_cb cb;
    void *data;
};

/* --- endings --- */

static void matrix_free_if_done(struct dc_matrix *m)
{
    if (m->is_closing && dc_list_is_empty(&m->calls)) {
        dc_free(m->base_url);
        dc_free(m);
    }
}

static void wipe(struct dc_strbuf *b)
{
    if (b->ptr != NULL) {
        dc_wipe(b->ptr, b->cap);
    }
    dc_strbuf_free(b);
}

static void call_free(struct call *call)
{
    wipe(&call->auth);
    wipe(&call->body); /* may hold a password */
    dc_strbuf_free(&call->url);
    dc_free(call);
}

static void on_wait_closed(struct dc_timer *t)
{
    struct call *call = DC_CONTAINER_OF(t, struct call, wait);
    struct dc_matrix *m = call->m;
    dc_list_remove(&call->link);
    call_free(call);
    matrix_free_if_done(m);
}

static void finish(struct call *call, enum dc_status st, const struct dc_matrix_answer *answer,
                   const struct dc_error *err)
{
    struct dc_matrix *m = call->m;
    if (st == DC_OK) {
        m->ok->value++;
    } else if (st == DC_LIMIT) {
        m->limited->value++;
    } else if (answer->http_status > 0) {
        m->refused->value++;
    } else {
        m->failed->value++;
    }
    dc_histogram_observe_us(m->duration, dc_mono_now_us() - call->started_us);
    dc_timer_close(&call->wait, on_wait_closed);
    call->cb(call->data, st, answer, st == DC_OK ? NULL : err);
}

static void fail(struct call *call, enum dc_status st, const struct dc_error *cause)
{
    const struct dc_matrix_answer none = {.retry_after_ms = -1};
    struct dc_error err = {0};
    st = dc_matrix_error_of_connection(st, cause, &err);
    finish(call, st, &none, &err);
}

/* --- one attempt --- */

static enum dc_status attempt(struct call *call, struct dc_error *err);

static int64_t left_ms(const struct call *call)
{
    return call->deadline_at_ms - dc_loop_now(call->m->loop).ms;
}

static void on_wait_over(struct dc_timer *t)
{
    struct call *call = DC_CONTAINER_OF(t, struct call, wait);
    struct dc_error err = {0};
    if (call->is_canceled) {
        fail(call, DC_CANCELED, NULL);
        return;
    }
    enum dc_status st = attempt(call, &err);
    if (st != DC_OK) {
        fail(call, st, &err);
    }
}

/* 429: true when the call will be made again. */
static bool wait_and_repeat(struct call *call, int64_t retry_after_ms)
{
    int64_t pause_ms = retry_after_ms;
    if (pause_ms <= 0) {
        pause_ms = (int64_t)dc_backoff_next_ms(&call->pause);
    }
    if (call->is_impatient || pause_ms >= left_ms(call)) {
        return false;
    }
    call->m->waits->value++;
    DC_LOG_INFO_EVENT(call->m->log, "matrix.waiting", DC_LF_Z("call", call->name),
                      DC_LF_I("wait_ms", pause_ms),
                      DC_LF_Z("why", "the homeserver limits the rate of this call"),
                      DC_LF_Z("hint", call->limit_hint));
    dc_timer_start(&call->wait, (uint64_t)pause_ms, 0);
    return true;
}

/* What a homeserver sends may be nested deeper than what we take from clients: anybody may put
 * anything into an event, and one odd event must not make an answer unreadable.  Synapse is written
 * in Python, whose own parser stops before this depth. */
static json_t *parse_object(struct dc_slice body)
{
    json_t *json = NULL;
    if (dc_json_parse_deep(body, DC_JSON_DEEPEST, &json, NULL) != DC_OK) {
        return NULL;
    }
    if (!json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *dc_matrix_keep(const struct dc_matrix_answer *answer)
{
    return json_incref((json_t *)(uintptr_t)answer->json);
}

static void free_json(void *data)
{
    json_decref(data);
}

static void freed_json(void *data)
{
    (void)data;
}

void dc_matrix_release(struct dc_loop *loop, json_t *json, bool is_large)
{
    if (json != NULL && (!is_large || dc_work_submit(loop, free_json, freed_json, json) != DC_OK)) {
        json_decref(json);
    }
}

/* The answer has come and been read; the call's json ends with this. */
static void conclude(struct call *call, bool is_large)
{
    struct dc_loop *loop = call->m->loop;
    struct dc_error err = {0};
    enum dc_status st = DC_OK;
    json_t *json = call->json;
    struct dc_matrix_answer answer = {
        .http_status = call->http_status, .json = json, .retry_after_ms = -1};
    bool is_good = answer.http_status >= 200 && answer.http_status <= 299;
    if (!is_good) {
        st = dc_matrix_error_of_answer(answer.http_status, json, &err);
    } else if (json == NULL) {
        st = dc_matrix_bad_answer(&err, "the form of a JSON object");
    }
    if (st == DC_LIMIT) {
        answer.retry_after_ms = dc_matrix_retry_after_ms(json);
        if (answer.retry_after_ms < 0) {
            answer.retry_after_ms = call->retry_after_ms;
        }
    }
    call->json = NULL;
    if (st != DC_LIMIT || !wait_and_repeat(call, answer.retry_after_ms)) {
        finish(call, st, &answer, &err);
    }
    dc_matrix_release(loop, json, is_large);
}

static void read_large(void *data)
{
    struct call *call = data;
    call->json = parse_object(dc_strbuf_slice(&call->answer_bytes));
    dc_strbuf_free(&call->answer_bytes);
}

static void on_large_read(void *data)
{
    struct call *call = data;
    call->is_reading = false;
    if (call->is_canceled) {
        dc_matrix_release(call->m->loop, call->json, true);
        call->json = NULL;
        fail(call, DC_CANCELED, NULL);
        return;
    }
    conclude(call, true);
}

static void on_http(void *data, enum dc_status st, const struct dc_http_answer *http,
                    const struct dc_error *cause)
{
    struct call *call = data;
    call->http_op = NULL;
    if (st == DC_OK && call->is_canceled) {
        st = DC_CANCELED;
    }
    if (st != DC_OK) {
        fail(call, st, cause);
        return;
    }
    call->http_status = http->http_status;
    call->retry_after_ms = http->retry_after_ms;
    if (http->body.len >= LARGE_BYTES) {
        call->answer_bytes = *http->bytes;
        *http->bytes = (struct dc_strbuf){0};
        if (dc_work_submit(call->m->loop, read_large, on_large_read, call) == DC_OK) {
            call->is_reading = true;
            return;
        }
        read_large(call);
    } else {
        call->json = parse_object(http->body);
    }
    conclude(call, false);
}

static enum dc_status attempt(struct call *call, struct dc_error *err)
{
    int64_t left = left_ms(call);
    const char *headers[2] = {"Content-Type: application/json", NULL};
    size_t n = 0;
    bool has_body = call->body.len > 0;
    if (left <= 0) {
        return dc_fail(err, DC_TIMEOUT, 0, "%s", dc_status_text(DC_TIMEOUT));
    }
    if (has_body) {
        n++;
    }
    if (call->auth.len > 0) {
        headers[n++] = call->auth.ptr;
    }
    const struct dc_http_call http = {.method_z = call->method,
                                      .url_z = call->url.ptr,
                                      .headers = headers,
                                      .n_headers = n,
                                      .body = dc_strbuf_slice(&call->body),
                                      .deadline_ms = (uint64_t)left,
                                      .max_response_bytes = call->max_bytes};
    return dc_http_client_call(call->m->http, &http, on_http, call, &call->http_op, err);
}

/* --- calls --- */

static void on_cancel(struct dc_op *op)
{
    struct call *call = DC_CONTAINER_OF(op, struct call, op);
    call->is_canceled = true;
    if (call->http_op != NULL) {
        dc_op_cancel(call->http_op);
    } else if (!call->is_reading) { /* else it ends when it has been read */
        dc_timer_start(&call->wait, 0, 0);
    }
}

static bool can_stand_in_header(struct dc_slice token)
{
    for (size_t i = 0; i < token.len; i++) {
        if (token.ptr[i] <= ' ' || token.ptr[i] > '~') {
            return false;
        }
    }
    return true;
}

static bool fill(struct call *call, const struct dc_matrix_request *request)
{
    bool sends = strcmp(request->method, "POST") == 0 || strcmp(request->method, "PUT") == 0;
    dc_strbuf_add_z(&call->url, call->m->base_url);
    dc_strbuf_add(&call->url, request->path);
    if (request->auth.as_user_id.len > 0) {
        dc_matrix_query(&call->url, "user_id", request->auth.as_user_id);
    }
    dc_strbuf_add_char(&call->url, '\0');
    /* Reserved whole: growing would leave copies of the token behind. */
    if (request->auth.token.len > 0 &&
        dc_strbuf_reserve(&call->auth, request->auth.token.len + 32)) {
        dc_strbuf_add(&call->auth, DC_S("Authorization: Bearer "));
        dc_strbuf_add(&call->auth, request->auth.token);
        dc_strbuf_add_char(&call->auth, '\0');
    }
    dc_strbuf_add(&call->body, request->body.len == 0 && sends ? DC_S("{}") : request->body);
    return dc_strbuf_ok(&call->url) && dc_strbuf_ok(&call->auth) && dc_strbuf_ok(&call->body);
}

enum dc_status dc_matrix_call(struct dc_matrix *m, const struct dc_matrix_request *request,
                              dc_matrix_cb cb, void *data, struct dc_op **op, struct dc_error *err)
{
    struct dc_error cause = {0};
    if (op != NULL) {
        *op = NULL;
    }
    DC_ASSERT(request->deadline_ms > 0);
    if (m->is_closing) {
        return dc_fail(err, DC_CLOSED, 0, "the Matrix client is closed");
    }
    if (!can_stand_in_header(request->auth.token)) {
        return dc_fail(err, DC_INVALID, 0, "the access token has characters that no token has");
    }
    struct call *call = dc_calloc(1, sizeof(*call));
    call->op.cancel = on_cancel;
    call->m = m;
    call->name = request->name;
    call->limit_hint = request->limit_hint;
    call->method = request->method;
    call->max_bytes = request->max_response_bytes;
    call->is_impatient = request->is_impatient;
    call->deadline_at_ms = dc_loop_now(m->loop).ms + (int64_t)request->deadline_ms;
    call->started_us = dc_mono_now_us();
    call->pause = (struct dc_backoff){.base_ms = PAUSE_BASE_MS, .max_ms = PAUSE_MAX_MS};
    call->cb = cb;
    call->data = data;
    enum dc_status st = DC_NO_MEMORY;
    if (fill(call, request)) {
        st = attempt(call, &cause);
    }
    if (st != DC_OK) {
        call_free(call);
        return dc_matrix_error_of_connection(st, &cause, err);
    }
    dc_timer_init(m->loop, &call->wait, on_wait_over);
    dc_list_push_back(&m->calls, &call->link);
    if (op != NULL) {
        *op = &call->op;
    }
    return DC_OK;
}

/* --- client --- */

enum dc_status dc_matrix_create(struct dc_loop *loop, const struct dc_matrix_opts *opts,
                                struct dc_matrix **out, struct dc_error *err)
{
    static const char calls[] = "daarion_matrix_calls_total";
    static const char calls_help[] = "Calls to the homeserver by how they ended.";
    struct dc_metrics *metrics = opts->metrics;
    struct dc_http_client *http = NULL;
    *out = NULL;
    enum dc_status st = dc_http_client_create(loop, &http, err);
    if (st != DC_OK) {
        return st;
    }
    struct dc_matrix *m = dc_calloc(1, sizeof(*m));
    m->loop = loop;
    m->http = http;
    m->log = opts->log;
    m->base_url = dc_strdup(opts->base_url_z);
    for (size_t n = strlen(m->base_url); n > 0 && m->base_url[n - 1] == '/'; n--) {
        m->base_url[n - 1] = '\0';
    }
    dc_list_init(&m->calls);
    m->ok = dc_metrics_counter(metrics, calls, "outcome=\"ok\"", calls_help);
    m->refused = dc_metrics_counter(metrics, calls, "outcome=\"refused\"", calls_help);
    m->limited = dc_metrics_counter(metrics, calls, "outcome=\"limited\"", calls_help);
    m->failed = dc_metrics_counter(metrics, calls, "outcome=\"failed\"", calls_help);
    m->waits = dc_metrics_counter(metrics, "daarion_matrix_waits_total", NULL,
                                  "Pauses that the homeserver asked for (429).");
    m->duration = dc_metrics_histogram(metrics, "daarion_matrix_call_seconds", NULL,
                                       "Time of a call to the homeserver, waiting included.");
    *out = m;
    return DC_OK;
}

void dc_matrix_close(struct dc_matrix *m)
{
    if (m == NULL || m->is_closing) {
        return;
    }
    m->is_closing = true;
    dc_http_client_close(m->http);
    DC_LIST_FOREACH (it, &m->calls) {
        struct call *call = DC_LIST_ENTRY(it, struct call, link);
        if (call->http_op == NULL) {
            dc_op_cancel(&call->op);
        }
    }
    matrix_free_if_done(m);
}
