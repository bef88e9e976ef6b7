/* libcurl's multi interface driven by the loop: its sockets are uv_poll handles, its one timer is a
 * dc_timer.  libcurl tells which calls have ended; their callbacks run after it has been left, so
 * they may start calls or close the client. */
#include "net/http_client.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include <curl/curl.h>
#include <limits.h>

#define DEFAULT_MAX_RESPONSE_BYTES ((size_t)1024 * 1024)
/* What a write callback returns to end the transfer: any length but the one given. */
#define WRITE_REFUSED ((size_t)-1)
/* Connections kept open for reuse. */
#define MAX_KEPT_CONNECTIONS 32L

struct dc_http_client {
    struct dc_loop *loop;
    CURLM *multi;
    struct dc_timer timer;
    struct dc_turn turn; /* ends calls from outside of libcurl, and closing */
    struct dc_list calls, ended;
    size_t n_calls;      /* in both lists */
    size_t open_handles; /* the timer and every watcher */
    bool is_closing;
};

struct call {
    struct dc_op op; /* first: what the caller holds */
    struct dc_list link;
    struct dc_http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    struct dc_strbuf body;
    size_t max_bytes;
    bool is_too_large, is_canceled;
    bool is_unwatched; /* its socket could not be watched */
    CURLcode result;
    dc_http_call_cb cb;
    void *data;
    char error[CURL_ERROR_SIZE];
};

struct watcher {
    uv_poll_t poll;
    struct dc_http_client *client;
    curl_socket_t fd;
};

/* --- endings --- */

static void client_free(struct dc_http_client *c)
{
    dc_free(c);
    curl_global_cleanup();
}

static void handle_closed(struct dc_http_client *c)
{
    if (--c->open_handles == 0) {
        client_free(c);
    }
}

static void call_free(struct call *call)
{
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    dc_strbuf_free(&call->body);
    dc_free(call);
}

static enum dc_status outcome_of(const struct call *call, struct dc_error *err)
{
    if (call->is_canceled) {
        return dc_fail(err, DC_CANCELED, 0, "canceled by the caller");
    }
    if (call->is_unwatched) {
        return dc_fail(err, DC_UPSTREAM, 0, "the connection cannot be watched");
    }
    if (call->is_too_large || call->result == CURLE_FILESIZE_EXCEEDED) {
        return dc_fail(err, DC_UPSTREAM, 0, "the answer is larger than %zu bytes", call->max_bytes);
    }
    const char *text = call->error[0] != '\0' ? call->error : curl_easy_strerror(call->result);
    switch (call->result) {
    case CURLE_OK:
        return DC_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return dc_fail(err, DC_TIMEOUT, (int)call->result, "%s", text);
    case CURLE_OUT_OF_MEMORY:
        return dc_fail(err, DC_NO_MEMORY, (int)call->result, "%s", text);
    default: /* CURLcode is libcurl's open list: everything else is the other side's */
        return dc_fail(err, DC_UPSTREAM, (int)call->result, "%s", text);
    }
}

static void deliver(struct call *call)
{
    struct dc_error err = {0};
    enum dc_status st = outcome_of(call, &err);
    call->client->n_calls--; /* before the callback: it may start another */
    if (st != DC_OK) {
        call->cb(call->data, st, NULL, &err);
        call_free(call);
        return;
    }
    long http = 0;
    char *type = NULL;
    curl_off_t retry_after_s = 0;
    struct dc_http_answer answer = {
        .retry_after_ms = -1, .body = dc_strbuf_slice(&call->body), .bytes = &call->body};
    if (curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &http) == CURLE_OK) {
        answer.http_status = (int)http;
    }
    if (curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK) {
        answer.content_type = dc_slice_z(type);
    }
    if (curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s) == CURLE_OK &&
        retry_after_s > 0 && retry_after_s < INT64_MAX / 1000) {
        answer.retry_after_ms = (int64_t)retry_after_s * 1000;
    }
    call->cb(call->data, DC_OK, &answer, NULL);
    call_free(call);
}

/* Takes the call out of libcurl; its callback runs with the next deliver_ended(). */
static void end_call(struct call *call)
{
    CURLMcode rc = curl_multi_remove_handle(call->client->multi, call->easy);
    DC_ASSERT(rc == CURLM_OK);
    dc_list_remove(&call->link);
    dc_list_push_back(&call->client->ended, &call->link);
}

static void deliver_ended(struct dc_http_client *c)
{
    while (!dc_list_is_empty(&c->ended)) {
        struct call *call = DC_LIST_ENTRY(c->ended.next, struct call, link);
        dc_list_remove(&call->link);
        deliver(call);
    }
}

static void collect(struct dc_http_client *c)
{
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(c->multi, &left)) != NULL) {
        if (msg->msg != CURLMSG_DONE) {
            continue;
        }
        char *private = NULL;
        CURLcode result = msg->data.result; /* *msg does not outlive the removal */
        CURLcode rc = curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
        DC_ASSERT(rc == CURLE_OK);
        struct call *call = (struct call *)(void *)private;
        call->result = result;
        end_call(call);
    }
    deliver_ended(c);
}

/* --- libcurl's sockets and timer --- */

static void act(struct dc_http_client *c, curl_socket_t fd, int flags)
{
    int running;
    CURLMcode rc = curl_multi_socket_action(c->multi, fd, flags, &running);
    DC_ASSERT(rc == CURLM_OK || rc == CURLM_OUT_OF_MEMORY || rc == CURLM_BAD_SOCKET ||
              rc == CURLM_INTERNAL_ERROR);
    collect(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watcher *w = poll->data;
    int flags = 0;
    if (status < 0) {
        flags = CURL_CSELECT_ERR;
    }
    if ((events & UV_READABLE) != 0) {
        flags |= CURL_CSELECT_IN;
    }
    if ((events & UV_WRITABLE) != 0) {
        flags |= CURL_CSELECT_OUT;
    }
    act(w->client, w->fd, flags);
}

static void on_watcher_closed(uv_handle_t *handle)
{
    struct watcher *w = handle->data;
    struct dc_http_client *c = w->client;
    dc_free(w);
    handle_closed(c);
}

static struct watcher *watcher_create(struct dc_http_client *c, curl_socket_t fd)
{
    struct watcher *w = dc_calloc(1, sizeof *w);
    if (uv_poll_init_socket(dc_loop_uv(c->loop), &w->poll, fd) != 0) {
        dc_free(w);
        return NULL;
    }
    w->poll.data = w;
    w->client = c;
    w->fd = fd;
    c->open_handles++;
    if (curl_multi_assign(c->multi, fd, w) != CURLM_OK) {
        uv_close((uv_handle_t *)&w->poll, on_watcher_closed);
        return NULL;
    }
    return w;
}

/* Nothing will ever happen on its socket: the call ends with this turn. */
static void give_up(struct dc_http_client *c, CURL *easy)
{
    char *private = NULL;
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private) == CURLE_OK && private != NULL) {
        ((struct call *)(void *)private)->is_unwatched = true;
        dc_turn_schedule(c->loop, &c->turn);
    }
}

/* Never fails, as that would end every other call of the multi handle too. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *client, void *socket)
{
    struct dc_http_client *c = client;
    struct watcher *w = socket;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) {
            uv_poll_stop(&w->poll);
            uv_close((uv_handle_t *)&w->poll, on_watcher_closed);
            (void)curl_multi_assign(c->multi, fd, NULL); /* it forgets the socket anyway */
        }
        return 0;
    }
    if (w == NULL) {
        w = watcher_create(c, fd);
        if (w == NULL) {
            give_up(c, easy);
            return 0;
        }
    }
    int events = 0;
    if ((what & CURL_POLL_IN) != 0) {
        events |= UV_READABLE;
    }
    if ((what & CURL_POLL_OUT) != 0) {
        events |= UV_WRITABLE;
    }
    if (uv_poll_start(&w->poll, events, on_poll) != 0) {
        give_up(c, easy);
    }
    return 0;
}

static void on_timer(struct dc_timer *t)
{
    act(DC_CONTAINER_OF(t, struct dc_http_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wanted(CURLM *multi, long after_ms, void *client)
{
    struct dc_http_client *c = client;
    (void)multi;
    if (after_ms < 0) {
        dc_timer_stop(&c->timer);
    } else {
        dc_timer_start(&c->timer, (uint64_t)after_ms, 0);
    }
    return 0;
}

/* --- client --- */

static void on_timer_closed(struct dc_timer *t)
{
    handle_closed(DC_CONTAINER_OF(t, struct dc_http_client, timer));
}

static void on_turn(struct dc_turn *turn)
{
    struct dc_http_client *c = DC_CONTAINER_OF(turn, struct dc_http_client, turn);
    bool is_last = c->is_closing; /* a callback below may close: then the next turn is the last */
    DC_LIST_FOREACH_SAFE (it, &c->calls) {
        struct call *call = DC_LIST_ENTRY(it, struct call, link);
        call->is_canceled = call->is_canceled || is_last;
        if (call->is_canceled || call->is_unwatched) {
            end_call(call);
        }
    }
    deliver_ended(c);
    if (is_last && c->multi != NULL) {
        dc_turn_cancel(&c->turn); /* a callback may have cancelled what has ended anyway */
        CURLMcode rc = curl_multi_cleanup(c->multi);
        DC_ASSERT(rc == CURLM_OK);
        c->multi = NULL;
        dc_timer_close(&c->timer, on_timer_closed);
    }
}

enum dc_status dc_http_client_create(struct dc_loop *loop, struct dc_http_client **out,
                                     struct dc_error *err)
{
    *out = NULL;
    CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (rc != CURLE_OK) {
        return dc_fail(err, DC_INTERNAL, (int)rc, "libcurl: %s", curl_easy_strerror(rc));
    }
    CURLM *multi = curl_multi_init();
    if (multi == NULL) {
        curl_global_cleanup();
        return dc_fail(err, DC_NO_MEMORY, 0, "libcurl: no memory");
    }
    struct dc_http_client *c = dc_calloc(1, sizeof *c);
    c->loop = loop;
    c->multi = multi;
    dc_list_init(&c->calls);
    dc_list_init(&c->ended);
    dc_turn_init(&c->turn, on_turn);
    if (curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
        curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, c) != CURLM_OK ||
        curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) != CURLM_OK ||
        curl_multi_setopt(multi, CURLMOPT_TIMERDATA, c) != CURLM_OK ||
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, MAX_KEPT_CONNECTIONS) != CURLM_OK) {
        (void)curl_multi_cleanup(multi); /* nothing is running in it */
        client_free(c);
        return dc_fail(err, DC_INTERNAL, 0, "libcurl lacks the socket interface");
    }
    dc_timer_init(loop, &c->timer, on_timer);
    c->open_handles = 1;
    *out = c;
    return DC_OK;
}

void dc_http_client_close(struct dc_http_client *c)
{
    if (c == NULL || c->is_closing) {
        return;
    }
    c->is_closing = true;
    dc_turn_schedule(c->loop, &c->turn);
}

/* --- calls --- */

static size_t on_body(char *bytes, size_t size, size_t n, void *data)
{
    struct call *call = data;
    size_t len = size * n; /* size is 1 (CURLOPT_WRITEFUNCTION) */
    if (len > call->max_bytes - call->body.len) {
        call->is_too_large = true;
        return WRITE_REFUSED;
    }
    dc_strbuf_add(&call->body, dc_slice_make(bytes, len));
    return dc_strbuf_ok(&call->body) ? len : WRITE_REFUSED;
}

static void on_cancel(struct dc_op *op)
{
    struct call *call = DC_CONTAINER_OF(op, struct call, op);
    call->is_canceled = true;
    dc_turn_schedule(call->client->loop, &call->client->turn);
}

static bool add_headers(struct call *call, const struct dc_http_call *spec)
{
    /* No waiting for 100 Continue before a body. */
    call->headers = curl_slist_append(NULL, "Expect:");
    bool ok = call->headers != NULL;
    for (size_t i = 0; ok && i < spec->n_headers; i++) {
        DC_ASSERT(strpbrk(spec->headers[i], "\r\n") == NULL);
        struct curl_slist *longer = curl_slist_append(call->headers, spec->headers[i]);
        ok = longer != NULL;
        call->headers = ok ? longer : call->headers;
    }
    return ok;
}

static CURLcode set_method(CURL *easy, const struct dc_http_call *spec)
{
    if (strcmp(spec->method_z, "HEAD") == 0) {
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    }
    bool is_get = strcmp(spec->method_z, "GET") == 0;
    CURLcode rc = CURLE_OK;
    if (spec->body.len > 0 || strcmp(spec->method_z, "POST") == 0) {
        rc = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body.len);
        if (rc == CURLE_OK) {
            rc = curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS,
                                  spec->body.len > 0 ? spec->body.ptr : "");
        }
    } else if (is_get) {
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, spec->method_z);
    }
    return rc;
}

static CURLcode set_protocols(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

static CURLcode set_options(struct call *call, const struct dc_http_call *spec)
{
    CURL *easy = call->easy;
    long deadline_ms = spec->deadline_ms > LONG_MAX ? LONG_MAX : (long)spec->deadline_ms;
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_URL, spec->url_z);
#define SET(option, value)                                                                         \
    if (rc == CURLE_OK) {                                                                          \
        rc = curl_easy_setopt(easy, (option), (value));                                            \
    }
    SET(CURLOPT_PRIVATE, call)
    SET(CURLOPT_NOSIGNAL, 1L)
    SET(CURLOPT_FOLLOWLOCATION, 0L)
    /* Neither http_proxy nor the like: these calls carry keys to addresses that were configured. */
    SET(CURLOPT_PROXY, "")
    SET(CURLOPT_TIMEOUT_MS, deadline_ms)
    SET(CURLOPT_CONNECTTIMEOUT_MS, deadline_ms)
    SET(CURLOPT_HTTPHEADER, call->headers)
    SET(CURLOPT_WRITEFUNCTION, on_body)
    SET(CURLOPT_WRITEDATA, call)
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)call->max_bytes)
    SET(CURLOPT_ERRORBUFFER, call->error)
    SET(CURLOPT_USERAGENT, "daarion/" DC_VERSION)
#if LIBCURL_VERSION_NUM >= 0x075700
    /* A name server that hangs must not hold up the loop when the call has ended. */
    SET(CURLOPT_QUICK_EXIT, 1L)
#endif
#undef SET
    if (rc == CURLE_OK) {
        rc = set_protocols(easy);
    }
    return rc == CURLE_OK ? set_method(easy, spec) : rc;
}

enum dc_status dc_http_client_call(struct dc_http_client *c, const struct dc_http_call *spec,
                                   dc_http_call_cb cb, void *data, struct dc_op **op,
                                   struct dc_error *err)
{
    if (op != NULL) {
        *op = NULL;
    }
    DC_ASSERT(spec->deadline_ms > 0);
    if (c->is_closing) {
        return dc_fail(err, DC_CLOSED, 0, "the HTTP client is closed");
    }
    if (c->n_calls >= DC_HTTP_CLIENT_MAX_CALLS) {
        return dc_fail(err, DC_LIMIT, 0, "too many calls under way");
    }
    CURL *easy = curl_easy_init();
    if (easy == NULL) {
        return dc_fail(err, DC_NO_MEMORY, 0, "libcurl: no memory");
    }
    struct call *call = dc_calloc(1, sizeof *call);
    call->op.cancel = on_cancel;
    dc_list_init(&call->link);
    call->client = c;
    call->easy = easy;
    call->cb = cb;
    call->data = data;
    call->max_bytes =
        spec->max_response_bytes == 0 ? DEFAULT_MAX_RESPONSE_BYTES : spec->max_response_bytes;
    CURLcode rc = add_headers(call, spec) ? set_options(call, spec) : CURLE_OUT_OF_MEMORY;
    if (rc != CURLE_OK) {
        call_free(call);
        return dc_fail(err, rc == CURLE_OUT_OF_MEMORY ? DC_NO_MEMORY : DC_MALFORMED, (int)rc,
                       "libcurl: %s", curl_easy_strerror(rc));
    }
    CURLMcode mrc = curl_multi_add_handle(c->multi, easy);
    if (mrc != CURLM_OK) {
        call_free(call);
        return dc_fail(err, DC_INTERNAL, (int)mrc, "libcurl: %s", curl_multi_strerror(mrc));
    }
    dc_list_push_back(&c->calls, &call->link);
    c->n_calls++;
    if (op != NULL) {
        *op = &call->op;
    }
    return DC_OK;
}
