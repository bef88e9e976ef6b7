/* Answers: heads, bodies, the one error shape, pieces. */
#include "base/mem.h"
#include "base/utf8.h"
#include "net/http_inside.h"

/* Shared bodies up to this size are copied behind the head: cheaper than a second buffer. */
#define SMALL_BODY_BYTES 4096
/* A batch of pipelined answers larger than this is sent before the read is over. */
#define BATCH_BYTES ((size_t)64 * 1024)

static struct dc_slice status_line(int http)
{
    switch (http) {
#define LINE(code, text)                                                                           \
    case code:                                                                                     \
        return DC_S("HTTP/1.1 " #code " " text "\r\n")
        LINE(101, "Switching Protocols");
        LINE(200, "OK");
        LINE(201, "Created");
        LINE(202, "Accepted");
        LINE(204, "No Content");
        LINE(301, "Moved Permanently");
        LINE(302, "Found");
        LINE(303, "See Other");
        LINE(304, "Not Modified");
        LINE(307, "Temporary Redirect");
        LINE(308, "Permanent Redirect");
        LINE(400, "Bad Request");
        LINE(401, "Unauthorized");
        LINE(403, "Forbidden");
        LINE(404, "Not Found");
        LINE(405, "Method Not Allowed");
        LINE(408, "Request Timeout");
        LINE(409, "Conflict");
        LINE(410, "Gone");
        LINE(412, "Precondition Failed");
        LINE(413, "Content Too Large");
        LINE(415, "Unsupported Media Type");
        LINE(417, "Expectation Failed");
        LINE(422, "Unprocessable Content");
        LINE(426, "Upgrade Required");
        LINE(429, "Too Many Requests");
        LINE(431, "Request Header Fields Too Large");
        LINE(500, "Internal Server Error");
        LINE(501, "Not Implemented");
        LINE(502, "Bad Gateway");
        LINE(503, "Service Unavailable");
        LINE(504, "Gateway Timeout");
#undef LINE
    default:
        return DC_SLICE_NULL;
    }
}

/* dc_strbuf_add for the many small pieces of a head, without a call while there is room. */
static inline void put(struct dc_strbuf *out, struct dc_slice s)
{
    if (DC_LIKELY(!out->failed && s.len <= out->cap - out->len && s.len > 0)) {
        memcpy(out->ptr + out->len, s.ptr, s.len);
        out->len += s.len;
    } else {
        dc_strbuf_add(out, s);
    }
}

static void add_status_line(struct dc_strbuf *out, int http)
{
    struct dc_slice line = status_line(http);
    if (line.len > 0) {
        put(out, line);
        return;
    }
    DC_ASSERT(http >= 100 && http <= 599);
    dc_strbuf_add(out, DC_S("HTTP/1.1 "));
    dc_strbuf_add_u64(out, (uint64_t)http);
    dc_strbuf_add(out, DC_S(" \r\n"));
}

/* The id after this one is one more in base 32: within a millisecond (and while the clock is
 * behind) the letters are counted up in place, as the generator would count the bits. */
static void next_id(struct dc_server *s)
{
    static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    int64_t now_ms = dc_server_now(s).ms;
    if (now_ms <= s->id_ms) {
        for (size_t i = DC_ULID_LEN; i-- > 10;) {
            if (s->id[i] != 'Z') {
                s->id[i] = *(strchr(letters, s->id[i]) + 1);
                return;
            }
            s->id[i] = '0';
        }
    }
    s->id_ms = now_ms;
    dc_ulid_next(&s->ulid, (struct dc_utc){now_ms}, s->id);
}

/* X-Request-Id of the client if it is sane, else a new one. */
void dc_http_make_id(struct dc_http_request *r)
{
    if (r->id_len > 0) {
        return;
    }
    struct dc_slice given =
        r->has_head ? dc_http_parse_known(&r->parse, DC_HTTP_KNOWN_REQUEST_ID) : DC_SLICE_NULL;
    bool is_sane = given.len > 0 && given.len <= DC_HTTP_ID_MAX;
    for (size_t i = 0; is_sane && i < given.len; i++) {
        char ch = given.ptr[i];
        is_sane = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
                  (ch >= 'A' && ch <= 'Z') || ch == '-' || ch == '_' || ch == '.' || ch == ':';
    }
    if (is_sane) {
        memcpy(r->id, given.ptr, given.len);
        r->id_len = (uint8_t)given.len;
        return;
    }
    next_id(r->server);
    memcpy(r->id, r->server->id, DC_ULID_LEN);
    r->id_len = DC_ULID_LEN;
}

static void common_lines(struct dc_http_request *r, struct dc_strbuf *out)
{
    put(out, dc_server_date_line(r->server));
    put(out, DC_S("X-Request-Id: "));
    put(out, dc_http_request_id(r));
    put(out, DC_S("\r\n"));
    dc_http_cors_lines(r, out);
    put(out, dc_strbuf_slice(&r->headers));
    out->failed = out->failed || !dc_strbuf_ok(&r->headers);
}

void dc_http_head_begin(struct dc_http_request *r, int http_status, struct dc_strbuf *out)
{
    add_status_line(out, http_status);
    common_lines(r, out);
}

enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_TO_END };

static void write_head(struct dc_http_request *r, int http_status, const char *content_type_z,
                       enum body_kind kind, size_t length, struct dc_strbuf *out)
{
    if (!dc_strbuf_reserve(out, 512)) {
        return;
    }
    add_status_line(out, http_status);
    if (content_type_z != NULL) {
        put(out, DC_S("Content-Type: "));
        put(out, dc_slice_z(content_type_z));
        put(out, DC_S("\r\n"));
    }
    if (kind == BODY_LENGTH) {
        put(out, DC_S("Content-Length: "));
        dc_strbuf_add_u64(out, length);
        put(out, DC_S("\r\n"));
    } else if (kind == BODY_CHUNKED) {
        put(out, DC_S("Transfer-Encoding: chunked\r\n"));
    }
    if (r->close_after) {
        put(out, DC_S("Connection: close\r\n"));
    } else if (r->parse.minor == 0) {
        put(out, DC_S("Connection: keep-alive\r\n"));
    }
    common_lines(r, out);
    put(out, DC_S("\r\n"));
}

/* --- where bytes go --- */

static bool is_corked(const struct dc_http_request *r)
{
    return r->conn != NULL && r->server->corked == r->conn;
}

/* The client cannot be reached any more: answers are dropped. */
static bool is_gone(const struct dc_http_request *r)
{
    return r->conn == NULL || r->conn->is_closing || r->conn->close_when_flushed;
}

static struct dc_strbuf *out_begin(struct dc_http_request *r)
{
    if (is_corked(r)) {
        return &r->server->batch;
    }
    dc_strbuf_clear(&r->server->scratch);
    return &r->server->scratch;
}

static void out_end(struct dc_http_request *r, struct dc_strbuf *out, struct dc_blob *blob)
{
    struct dc_conn *c = r->conn;
    if (is_corked(r) && blob == NULL && out->len < BATCH_BYTES) {
        return;
    }
    if (!dc_strbuf_ok(out)) {
        dc_conn_close(c);
    } else {
        dc_conn_send_bytes(c, dc_strbuf_slice(out), &blob, blob == NULL ? 0 : 1);
    }
    dc_strbuf_clear(out);
}

/* First step of every answer; false: nobody to answer to, the request is over. */
static bool begin(struct dc_http_request *r, int http_status)
{
    DC_ASSERT(!r->is_answered);
    r->is_answered = true;
    r->answer_status = http_status;
    if (!r->parse.keep_alive || r->server->is_stopping) {
        r->close_after = true;
    }
    if (is_gone(r)) {
        dc_http_finish(r);
        return false;
    }
    return true;
}

static bool has_no_body(int http_status)
{
    return http_status == 204 || http_status == 304;
}

/* blob or bytes, not both. */
static void reply(struct dc_http_request *r, int http_status, const char *content_type_z,
                  struct dc_slice bytes, struct dc_blob *blob)
{
    if (!begin(r, http_status)) {
        return;
    }
    if (blob != NULL && blob->len <= SMALL_BODY_BYTES) {
        bytes = dc_blob_slice(blob);
        blob = NULL;
    }
    size_t length = blob == NULL ? bytes.len : blob->len;
    bool is_bare = has_no_body(http_status);
    struct dc_strbuf *out = out_begin(r);
    write_head(r, http_status, content_type_z, is_bare ? BODY_NONE : BODY_LENGTH, length, out);
    if (is_bare || r->method == DC_HEAD) {
        blob = NULL;
    } else {
        dc_strbuf_add(out, bytes);
    }
    out_end(r, out, blob);
    dc_http_finish(r);
}

void dc_http_reply(struct dc_http_request *r, int http_status, const char *content_type_z,
                   struct dc_slice body)
{
    reply(r, http_status, content_type_z, body, NULL);
}

void dc_http_reply_blob(struct dc_http_request *r, int http_status, const char *content_type_z,
                        struct dc_blob *body)
{
    reply(r, http_status, content_type_z, DC_SLICE_NULL, body);
}

void dc_http_reply_json(struct dc_http_request *r, int http_status, struct dc_strbuf *body)
{
    if (dc_strbuf_ok(body)) {
        dc_http_reply(r, http_status, "application/json", dc_strbuf_slice(body));
    } else {
        struct dc_error err = {.status = DC_NO_MEMORY};
        dc_http_reply_error(r, &err);
    }
    dc_strbuf_free(body);
}

void dc_http_set_header(struct dc_http_request *r, const char *name_z, struct dc_slice value)
{
    DC_ASSERT(!r->is_answered);
    for (size_t i = 0; i < value.len; i++) {
        unsigned char ch = (unsigned char)value.ptr[i];
        DC_ASSERT(ch >= 0x20 && ch != 0x7f);
    }
    struct dc_slice name = dc_slice_z(name_z);
    r->has_retry_after = r->has_retry_after || dc_slice_ieq(name, DC_S("Retry-After"));
    dc_strbuf_add(&r->headers, name);
    dc_strbuf_add(&r->headers, DC_S(": "));
    dc_strbuf_add(&r->headers, value);
    dc_strbuf_add(&r->headers, DC_S("\r\n"));
}

/* --- errors --- */

/* Texts may quote input and are cut at a fixed length: never half a character. */
static struct dc_slice clean_text(const char *text_z)
{
    struct dc_slice text = dc_slice_z(text_z);
    for (int i = 0; i < 4 && !dc_utf8_is_valid(text) && text.len > 0; i++) {
        text.len--;
    }
    return dc_utf8_is_valid(text) ? text : DC_S("the request failed");
}

static void write_error(struct dc_jsonw *w, const char *code, struct dc_slice detail)
{
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "error", dc_slice_z(code));
    dc_jsonw_key_text(w, "detail", detail);
    dc_jsonw_key_text(w, "message", detail);
}

void dc_http_reply_error(struct dc_http_request *r, const struct dc_error *err)
{
    struct dc_strbuf body = {0};
    struct dc_jsonw w;
    /* 499 is our own word for "nobody waits any more"; on the wire it is an outage. */
    int http = err->status == DC_CANCELED ? 503 : dc_status_http(err->status);
    DC_ASSERT(http >= 400);
    if ((http == 429 || http == 503) && !r->has_retry_after) {
        dc_http_set_header(r, "Retry-After", DC_S("1"));
    }
    r->code = dc_error_code(err);
    dc_jsonw_init(&w, &body);
    write_error(&w, dc_error_code(err), clean_text(dc_error_text(err)));
    dc_jsonw_end(&w);
    if (!dc_strbuf_ok(&body)) {
        dc_strbuf_free(&body);
        dc_http_reply(r, 503, "application/json",
                      DC_S("{\"error\":\"out_of_memory\",\"detail\":\"out of memory\","
                           "\"message\":\"out of memory\"}"));
        return;
    }
    dc_http_reply_json(r, http, &body);
}

void dc_http_reply_problems(struct dc_http_request *r, const struct dc_problems *problems)
{
    struct dc_strbuf body = {0}, detail = {0};
    struct dc_jsonw w;
    if (problems->count > 0) {
        dc_strbuf_printf(&detail, "%s: %s", problems->items[0].field, problems->items[0].detail);
        dc_strbuf_add_char(&detail, '\0');
    }
    dc_jsonw_init(&w, &body);
    write_error(&w, dc_status_code(DC_INVALID),
                clean_text(problems->count > 0 && dc_strbuf_ok(&detail)
                               ? detail.ptr
                               : dc_status_text(DC_INVALID)));
    dc_jsonw_key(&w, "errors");
    dc_jsonw_array(&w);
    for (size_t i = 0; i < problems->count; i++) {
        const struct dc_problem *p = &problems->items[i];
        dc_jsonw_object(&w);
        dc_jsonw_key_text(&w, "field", dc_slice_z(p->field));
        dc_jsonw_key_text(&w, "code", dc_slice_z(p->code));
        dc_jsonw_key_text(&w, "detail", clean_text(p->detail));
        dc_jsonw_end(&w);
    }
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
    dc_strbuf_free(&detail);
    r->code = dc_status_code(DC_INVALID);
    r->reason = problems->count > 0 ? problems->items[0].code : NULL;
    dc_http_reply_json(r, dc_status_http(DC_INVALID), &body);
}

void dc_http_refuse(struct dc_http_request *r, enum dc_status status, const char *reason)
{
    struct dc_error err = {.status = status};
    dc_http_make_id(r);
    if (reason != NULL) {
        (void)dc_fail(&err, status, 0, "%s", reason);
    }
    r->reason = reason != NULL ? reason : dc_status_text(status);
    r->close_after = true;
    dc_http_reply_error(r, &err);
}

/* --- pieces --- */

void dc_http_stream_begin(struct dc_http_request *r, int http_status, const char *content_type_z)
{
    DC_ASSERT(!r->is_answered && !has_no_body(http_status));
    r->is_answered = true;
    r->answer_status = http_status;
    r->state = DC_HTTP_STREAMING;
    r->is_stream_chunked = r->parse.minor == 1;
    r->is_stream_mute = r->method == DC_HEAD;
    r->close_after = !r->parse.keep_alive || r->server->is_stopping ||
                     (!r->is_stream_chunked && !r->is_stream_mute);
    if (is_gone(r)) {
        return;
    }
    struct dc_strbuf *out = out_begin(r);
    write_head(r, http_status, content_type_z, r->is_stream_chunked ? BODY_CHUNKED : BODY_TO_END, 0,
               out);
    out_end(r, out, NULL);
}

void dc_http_stream_write(struct dc_http_request *r, struct dc_slice piece)
{
    DC_ASSERT(r->state == DC_HTTP_STREAMING);
    if (is_gone(r) || r->is_stream_mute || piece.len == 0) {
        return;
    }
    struct dc_strbuf *out = out_begin(r);
    if (r->is_stream_chunked) {
        dc_strbuf_printf(out, "%zx\r\n", piece.len);
    }
    dc_strbuf_add(out, piece);
    if (r->is_stream_chunked) {
        dc_strbuf_add(out, DC_S("\r\n"));
    }
    out_end(r, out, NULL);
}

void dc_http_stream_end(struct dc_http_request *r)
{
    DC_ASSERT(r->state == DC_HTTP_STREAMING);
    if (!is_gone(r) && r->is_stream_chunked && !r->is_stream_mute) {
        struct dc_strbuf *out = out_begin(r);
        dc_strbuf_add(out, DC_S("0\r\n\r\n"));
        out_end(r, out, NULL);
    }
    dc_http_finish(r);
}
