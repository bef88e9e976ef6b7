/* See http_parse.h.  The packaged parser finds where the head ends and where names are; what it
 * lets pass in its lenient build (it is packaged without strict mode) is checked here against the
 * copied bytes, once, when the head is complete. */
#include "net/http_parse.h"
#include "base/mem.h"
#include <http_parser.h>

enum state {
    IN_HEAD,
    IN_LENGTH_BODY,
    IN_CHUNK_SIZE,
    IN_CHUNK_EXT,
    IN_CHUNK_SIZE_LF,
    IN_CHUNK_DATA,
    IN_CHUNK_DATA_CR,
    IN_CHUNK_DATA_LF,
    IN_TRAILER_START,
    IN_TRAILER_NAME,
    IN_TRAILER_VALUE,
    IN_TRAILER_LF,
    IN_LAST_LF,
    AT_END,
    REFUSED
};

enum outcome { GOING_ON, IN_NAME, HEAD_DONE, TOO_MANY_FIELDS, TARGET_TOO_LONG };

/* A kept buffer of more than this is given back between messages. */
#define KEPT_HEAD_BYTES 4096
/* Chunk extensions and trailers are thrown away, so they need not be many. */
#define MAX_CHUNK_OVERHEAD 8192

_Static_assert(sizeof(struct http_parser) <= sizeof(((struct dc_http_parse *)0)->impl),
               "room for the packaged parser");
_Static_assert(DC_HTTP_MAX_HEAD_BYTES <= UINT16_MAX, "offsets of fields");

/* What a byte may be part of: 1 a token (tchar of RFC 9110 §5.6.2), 2 a field value, 4 a target
 * (printable, no blank, no '#'). */
enum { IS_TOKEN = 1, IS_TEXT = 2, IS_TARGET = 4 };
/* clang-format off */
static const unsigned char classes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 7, 6, 3, 7, 7, 7, 7, 6, 6, 7, 7, 6, 7, 7, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6,
    6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 7, 6, 7, 0,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
};
/* clang-format on */

static inline bool is_token_char(unsigned char ch)
{
    return (classes[ch] & IS_TOKEN) != 0;
}

static inline bool is_text_char(unsigned char ch)
{
    return (classes[ch] & IS_TEXT) != 0;
}

static struct http_parser *parser_of(struct dc_http_parse *p)
{
    return (struct http_parser *)(void *)p->impl.bytes;
}

static int on_url(http_parser *hp, const char *at, size_t len)
{
    struct dc_http_parse *p = hp->data;
    (void)at;
    if (len > (size_t)DC_HTTP_MAX_TARGET_BYTES - p->target_len) {
        p->last_call = TARGET_TOO_LONG;
        return 1;
    }
    p->target_len = (uint16_t)(p->target_len + len);
    return 0;
}

/* Counts names; a name that is cut in two comes in two pieces without a value between them. */
static int on_header_field(http_parser *hp, const char *at, size_t len)
{
    struct dc_http_parse *p = hp->data;
    (void)at;
    (void)len;
    if (p->last_call == IN_NAME) {
        return 0;
    }
    if (p->n_fields == DC_HTTP_MAX_HEADERS) {
        p->last_call = TOO_MANY_FIELDS;
        return 1;
    }
    p->last_call = IN_NAME;
    p->n_fields++;
    return 0;
}

static int on_header_value(http_parser *hp, const char *at, size_t len)
{
    struct dc_http_parse *p = hp->data;
    (void)at;
    (void)len;
    p->last_call = GOING_ON;
    return 0;
}

static int on_headers_complete(http_parser *hp)
{
    struct dc_http_parse *p = hp->data;
    p->last_call = HEAD_DONE;
    return -1; /* stop here: bodies are decoded below */
}

static const http_parser_settings parser_settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

void dc_http_parse_init(struct dc_http_parse *p, const struct dc_http_limits *limits)
{
    p->limits = *limits;
    if (p->limits.max_head_bytes > DC_HTTP_MAX_HEAD_BYTES) {
        p->limits.max_head_bytes = DC_HTTP_MAX_HEAD_BYTES;
    }
    p->head = NULL;
    p->head_cap = 0;
    dc_http_parse_reset(p);
}

void dc_http_parse_reset(struct dc_http_parse *p)
{
    if (p->head_cap > KEPT_HEAD_BYTES) {
        dc_free(p->head);
        p->head = NULL;
        p->head_cap = 0;
    }
    p->method = DC_SLICE_NULL;
    p->target = DC_SLICE_NULL;
    memset(p->known, 0, sizeof p->known);
    p->minor = 0;
    p->keep_alive = false;
    p->has_body = false;
    p->is_chunked = false;
    p->content_length = 0;
    p->n_fields = 0;
    p->status = DC_OK;
    p->reason = NULL;
    p->state = IN_HEAD;
    p->last_call = GOING_ON;
    p->head_len = 0;
    p->target_at = 0;
    p->target_len = 0;
    p->left = 0;
    p->body_bytes = 0;
    p->digits = 0;
    p->chunk_overhead = 0;
}

void dc_http_parse_free(struct dc_http_parse *p)
{
    dc_free(p->head);
    p->head = NULL;
    p->head_cap = 0;
}

bool dc_http_parse_is_fresh(const struct dc_http_parse *p)
{
    return p->state == IN_HEAD && p->head_len == 0;
}

static enum dc_http_event refuse(struct dc_http_parse *p, enum dc_status status, const char *reason)
{
    p->state = REFUSED;
    p->status = status;
    p->reason = reason;
    return DC_HTTP_REFUSE;
}

static bool list_has(struct dc_slice list, struct dc_slice token)
{
    struct dc_slice item;
    while (dc_slice_take_token(&list, ',', &item)) {
        if (dc_slice_ieq(dc_slice_trim(item), token)) {
            return true;
        }
    }
    return false;
}

static bool has_name(const struct dc_http_parse *p, size_t i, struct dc_slice name)
{
    return p->fields[i].name_len == name.len && dc_slice_ieq(dc_http_field_name(p, i), name);
}

struct dc_slice dc_http_parse_header(const struct dc_http_parse *p, struct dc_slice name)
{
    for (size_t i = 0; i < p->n_fields; i++) {
        if (has_name(p, i, name)) {
            return dc_http_field_value(p, i);
        }
    }
    return DC_SLICE_NULL;
}

size_t dc_http_parse_count(const struct dc_http_parse *p, struct dc_slice name)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_fields; i++) {
        n += has_name(p, i, name) ? 1 : 0;
    }
    return n;
}

bool dc_http_parse_lists(const struct dc_http_parse *p, struct dc_slice name, struct dc_slice token)
{
    for (size_t i = 0; i < p->n_fields; i++) {
        if (has_name(p, i, name) && list_has(dc_http_field_value(p, i), token)) {
            return true;
        }
    }
    return false;
}

/* --- head --- */

/* What the head says about the connection and the body, gathered in one pass. */
struct framing {
    size_t hosts, lengths, codings;
    struct dc_slice length, coding;
    bool close, keep_alive;
};

static void note_field(struct dc_http_parse *p, struct framing *fr, size_t i)
{
    struct dc_slice name = dc_http_field_name(p, i);
    struct dc_slice value = dc_http_field_value(p, i);
    enum dc_http_known known = DC_HTTP_KNOWN_COUNT;
    char first = (char)(name.ptr[0] | 0x20); /* names are not empty */
    switch (name.len) {
    case 4:
        if (first == 'h' && dc_slice_ieq(name, DC_S("host"))) {
            known = DC_HTTP_KNOWN_HOST;
            fr->hosts++;
        }
        break;
    case 6:
        if (first == 'o' && dc_slice_ieq(name, DC_S("origin"))) {
            known = DC_HTTP_KNOWN_ORIGIN;
        } else if (first == 'e' && dc_slice_ieq(name, DC_S("expect"))) {
            known = DC_HTTP_KNOWN_EXPECT;
        }
        break;
    case 10:
        if (dc_slice_ieq(name, DC_S("connection"))) {
            fr->close = fr->close || list_has(value, DC_S("close"));
            fr->keep_alive = fr->keep_alive || list_has(value, DC_S("keep-alive"));
        }
        break;
    case 12:
        if (dc_slice_ieq(name, DC_S("x-request-id"))) {
            known = DC_HTTP_KNOWN_REQUEST_ID;
        }
        break;
    case 14:
        if (dc_slice_ieq(name, DC_S("content-length"))) {
            fr->lengths++;
            fr->length = value;
        }
        break;
    case 17:
        if (dc_slice_ieq(name, DC_S("transfer-encoding"))) {
            fr->codings++;
            fr->coding = value;
        }
        break;
    default:
        break;
    }
    if (known != DC_HTTP_KNOWN_COUNT && p->known[known] == 0) {
        p->known[known] = (uint16_t)(i + 1);
    }
}

/* Host is a name, an address in brackets or empty, with an optional port: no byte in which a
 * user, a path or a second host could hide. */
static bool host_is_sane(struct dc_slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned char ch = (unsigned char)host.ptr[i];
        bool ok = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
                  (ch >= 'A' && ch <= 'Z') || strchr("-._~:[]%", ch) != NULL;
        if (!ok || ch == '\0') {
            return false;
        }
    }
    return true;
}

/* Reads the request line at the start of h; *end: where the fields begin. */
static const char *scan_request_line(struct dc_http_parse *p, const char *h, size_t len,
                                     size_t *end)
{
    const char *blank = memchr(h, ' ', len);
    if (blank == NULL) {
        return "the request line is malformed";
    }
    size_t at = (size_t)(blank - h) + 1;
    size_t pos = at;
    while (pos < len && (classes[(unsigned char)h[pos]] & IS_TARGET) != 0) {
        pos++;
    }
    if (pos < len && h[pos] != ' ') {
        return "the request target has characters that must be percent-encoded";
    }
    if (pos == at || pos - at > DC_HTTP_MAX_TARGET_BYTES || len - pos < 11 ||
        memcmp(h + pos, " HTTP/", 6) != 0 || h[pos + 9] != '\r' || h[pos + 10] != '\n') {
        return "the request line is malformed";
    }
    if (memcmp(h + pos + 6, "1.", 2) != 0 || (h[pos + 8] != '0' && h[pos + 8] != '1')) {
        return "only HTTP/1.0 and HTTP/1.1 are spoken here";
    }
    p->minor = (uint8_t)(h[pos + 8] - '0');
    p->target_at = (uint16_t)at;
    p->target_len = (uint16_t)(pos - at);
    *end = pos + 11;
    return NULL;
}

/* One field line at *at; moves it behind the line. */
static const char *scan_field(struct dc_http_field *f, const char *h, size_t len, size_t *at)
{
    size_t pos = *at;
    while (pos < len && is_token_char((unsigned char)h[pos])) {
        pos++;
    }
    if (pos == *at || pos == len || h[pos] != ':') {
        return "a header line must be a name, a colon and a value";
    }
    f->name_at = (uint16_t)*at;
    f->name_len = (uint16_t)(pos - *at);
    do {
        pos++;
    } while (pos < len && (h[pos] == ' ' || h[pos] == '\t'));
    size_t end = pos;
    while (end < len && is_text_char((unsigned char)h[end])) {
        end++;
    }
    if (len - end < 2 || h[end] != '\r' || h[end + 1] != '\n') {
        return "a header value has a control character or does not end in CRLF";
    }
    *at = end + 2;
    while (end > pos && (h[end - 1] == ' ' || h[end - 1] == '\t')) {
        end--;
    }
    f->value_at = (uint16_t)pos;
    f->value_len = (uint16_t)(end - pos);
    return NULL;
}

/* Reads a whole head, strictly: NULL when it is one, with *end behind its empty line. */
static const char *scan_head(struct dc_http_parse *p, const char *h, size_t len, size_t *end)
{
    size_t at = 0;
    const char *problem = scan_request_line(p, h, len, &at);
    p->n_fields = 0;
    while (problem == NULL && len - at >= 2 && !(h[at] == '\r' && h[at + 1] == '\n')) {
        if (p->n_fields == DC_HTTP_MAX_HEADERS) {
            return "too many headers";
        }
        problem = scan_field(&p->fields[p->n_fields], h, len, &at);
        p->n_fields++;
    }
    if (problem == NULL && len - at < 2) {
        return "the head does not end in an empty line";
    }
    *end = at + 2;
    return problem;
}

/* The packaged parser takes blanks behind the digits of a length, but no tab: the same is refused
 * here, however the head was cut. The scanner has seen to it that a CR follows. */
static bool has_tab_behind(struct dc_slice value)
{
    const char *at = value.ptr + value.len;
    while (*at == ' ') {
        at++;
    }
    return *at != '\r';
}

static const char *check_framing(struct dc_http_parse *p)
{
    struct framing fr = {0};
    for (size_t i = 0; i < p->n_fields; i++) {
        note_field(p, &fr, i);
    }
    if (fr.hosts > 1 || (fr.hosts == 0 && p->minor == 1)) {
        return "exactly one Host header is needed";
    }
    if (!host_is_sane(dc_http_parse_known(p, DC_HTTP_KNOWN_HOST))) {
        return "the Host header is malformed";
    }
    if (fr.codings > 0) {
        if (fr.lengths > 0) {
            return "Content-Length and Transfer-Encoding exclude each other";
        }
        if (fr.codings > 1 || p->minor == 0 || !dc_slice_ieq(fr.coding, DC_S("chunked"))) {
            return "chunked is the only transfer coding understood";
        }
        p->is_chunked = true;
        p->has_body = true;
    } else if (fr.lengths > 0) {
        /* 19 digits always fit; slice_to_u64 takes digits only. */
        if (fr.lengths > 1 || fr.length.len > 19 || has_tab_behind(fr.length) ||
            !dc_slice_to_u64(fr.length, &p->content_length)) {
            return "the Content-Length is malformed";
        }
        p->has_body = p->content_length > 0;
    }
    p->keep_alive = !fr.close && (p->minor == 1 || fr.keep_alive);
    return NULL;
}

static bool head_append(struct dc_http_parse *p, const char *bytes, size_t n)
{
    size_t need = p->head_len + n; /* both bounded by DC_HTTP_MAX_HEAD_BYTES */
    if (need > p->head_cap) {
        size_t cap = p->head_cap == 0 ? 512 : p->head_cap;
        while (cap < need) {
            cap *= 2;
        }
        char *head = dc_try_realloc(p->head, cap);
        if (head == NULL) {
            return false;
        }
        p->head = head;
        p->head_cap = cap;
    }
    memcpy(p->head + p->head_len, bytes, n);
    p->head_len = need;
    return true;
}

/* The head is copied and has been scanned. */
static enum dc_http_event finish_head(struct dc_http_parse *p)
{
    p->method = dc_slice_make(p->head, p->target_at - 1u);
    p->target = dc_slice_make(p->head + p->target_at, p->target_len);
    const char *problem = check_framing(p);
    if (problem != NULL) {
        p->keep_alive = false;
        return refuse(p, DC_MALFORMED, problem);
    }
    if (p->is_chunked) {
        p->state = IN_CHUNK_SIZE;
    } else if (p->has_body) {
        p->state = IN_LENGTH_BODY;
        p->left = p->content_length;
    } else {
        p->state = AT_END;
    }
    return DC_HTTP_HEAD;
}

static bool is_usual_method(const char *h, size_t len)
{
    return (len > 5 && (memcmp(h, "GET /", 5) == 0 || memcmp(h, "PUT /", 5) == 0)) ||
           (len > 6 && (memcmp(h, "POST /", 6) == 0 || memcmp(h, "HEAD /", 6) == 0)) ||
           (len > 8 && memcmp(h, "DELETE /", 8) == 0) || (len > 7 && memcmp(h, "PATCH /", 7) == 0);
}

/* Transfer codings are left to the packaged parser altogether: it also takes longer names that only
 * begin like this one for it, and then refuses a Content-Length beside them. */
static bool has_coding(const struct dc_http_parse *p, const char *h)
{
    struct dc_slice coding = DC_S("transfer-encoding");
    for (size_t i = 0; i < p->n_fields; i++) {
        if (p->fields[i].name_len >= coding.len &&
            dc_slice_ieq(dc_slice_make(h + p->fields[i].name_at, coding.len), coding)) {
            return true;
        }
    }
    return false;
}

/* Most heads arrive whole and are beyond doubt: reading them once, here, saves a third of a
 * microsecond.  Whatever this does not take, the packaged parser looks at from its first byte. */
static bool take_whole_head(struct dc_http_parse *p, struct dc_slice *in)
{
    size_t n = in->len < p->limits.max_head_bytes ? in->len : p->limits.max_head_bytes;
    size_t end = 0;
    if (!is_usual_method(in->ptr, n) || scan_head(p, in->ptr, n, &end) != NULL ||
        has_coding(p, in->ptr) || !head_append(p, in->ptr, end)) {
        p->n_fields = 0;
        p->target_len = 0;
        return false;
    }
    in->ptr += end;
    in->len -= end;
    return true;
}

static enum dc_http_event next_head(struct dc_http_parse *p, struct dc_slice *in)
{
    struct http_parser *hp = parser_of(p);
    if (p->head_len == 0) {
        while (in->len > 0 && (*in->ptr == '\r' || *in->ptr == '\n')) {
            in->ptr++;
            in->len--;
        }
        if (in->len == 0) {
            return DC_HTTP_MORE;
        }
        if (take_whole_head(p, in)) {
            return finish_head(p);
        }
        http_parser_init(hp, HTTP_REQUEST);
        hp->data = p;
    }
    if (in->len == 0) {
        return DC_HTTP_MORE;
    }
    size_t room = p->limits.max_head_bytes - p->head_len;
    size_t n = in->len < room ? in->len : room;
    size_t used = http_parser_execute(hp, &parser_settings, in->ptr, n);
    const char *problem;
    size_t end = 0;
    switch ((enum outcome)p->last_call) {
    case HEAD_DONE:
        used++; /* the parser stopped on the last line feed */
        if (used > n || !head_append(p, in->ptr, used)) {
            return refuse(p, DC_NO_MEMORY, "out of memory");
        }
        in->ptr += used;
        in->len -= used;
        problem = scan_head(p, p->head, p->head_len, &end);
        if (problem == NULL && end != p->head_len) {
            problem = "the head does not end in an empty line";
        }
        return problem == NULL ? finish_head(p) : refuse(p, DC_MALFORMED, problem);
    case TOO_MANY_FIELDS:
        return refuse(p, DC_HEAD_TOO_LARGE, "too many headers");
    case TARGET_TOO_LONG:
        return refuse(p, DC_HEAD_TOO_LARGE, "the request target is too long");
    case IN_NAME:
    case GOING_ON:
        break;
    }
    if (HTTP_PARSER_ERRNO(hp) != HPE_OK) {
        return refuse(p, DC_MALFORMED, http_errno_description(HTTP_PARSER_ERRNO(hp)));
    }
    if (hp->upgrade) {
        return refuse(p, DC_MALFORMED, "the request line is malformed");
    }
    if (!head_append(p, in->ptr, n)) {
        return refuse(p, DC_NO_MEMORY, "out of memory");
    }
    in->ptr += n;
    in->len -= n;
    if (p->head_len == p->limits.max_head_bytes) {
        return refuse(p, DC_HEAD_TOO_LARGE, "the request head is too large");
    }
    return DC_HTTP_MORE;
}

/* --- body --- */

static enum dc_http_event take_piece(struct dc_http_parse *p, struct dc_slice *in,
                                     struct dc_slice *piece, enum state next)
{
    size_t n = p->left < in->len ? (size_t)p->left : in->len;
    *piece = dc_slice_make(in->ptr, n);
    in->ptr += n;
    in->len -= n;
    p->left -= n;
    p->body_bytes += n;
    if (p->left == 0) {
        p->state = (uint8_t)next;
    }
    return DC_HTTP_BODY;
}

static int hex_value(unsigned char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    ch |= 0x20;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* One byte of the chunk size line; false: malformed, p->reason is set. */
static bool chunk_size_byte(struct dc_http_parse *p, unsigned char ch)
{
    int v = hex_value(ch);
    if (v >= 0) {
        if (p->digits == 15) { /* 60 bits: cannot overflow */
            p->reason = "the chunk size is malformed";
            return false;
        }
        p->digits++;
        p->left = p->left * 16 + (unsigned)v;
        return true;
    }
    if (p->digits == 0 || (ch != '\r' && ch != ';')) {
        p->reason = "the chunk size is malformed";
        return false;
    }
    p->state = ch == '\r' ? IN_CHUNK_SIZE_LF : IN_CHUNK_EXT;
    return true;
}

/* One byte of chunked framing that is not data; false: malformed, p->reason is set. */
static bool chunk_byte(struct dc_http_parse *p, unsigned char ch)
{
    enum state want = REFUSED;
    switch ((enum state)p->state) {
    case IN_CHUNK_SIZE:
        return chunk_size_byte(p, ch);
    case IN_CHUNK_EXT:
        p->chunk_overhead++;
        want = ch == '\r' ? IN_CHUNK_SIZE_LF : is_text_char(ch) ? IN_CHUNK_EXT : REFUSED;
        break;
    case IN_CHUNK_SIZE_LF:
        want = ch != '\n' ? REFUSED : p->left == 0 ? IN_TRAILER_START : IN_CHUNK_DATA;
        break;
    case IN_CHUNK_DATA_CR:
        want = ch == '\r' ? IN_CHUNK_DATA_LF : REFUSED;
        break;
    case IN_CHUNK_DATA_LF:
        want = ch == '\n' ? IN_CHUNK_SIZE : REFUSED;
        p->digits = 0;
        break;
    case IN_TRAILER_START:
        p->chunk_overhead++;
        want = ch == '\r' ? IN_LAST_LF : is_token_char(ch) ? IN_TRAILER_NAME : REFUSED;
        break;
    case IN_TRAILER_NAME:
        p->chunk_overhead++;
        want = ch == ':' ? IN_TRAILER_VALUE : is_token_char(ch) ? IN_TRAILER_NAME : REFUSED;
        break;
    case IN_TRAILER_VALUE:
        p->chunk_overhead++;
        want = ch == '\r' ? IN_TRAILER_LF : is_text_char(ch) ? IN_TRAILER_VALUE : REFUSED;
        break;
    case IN_TRAILER_LF:
        want = ch == '\n' ? IN_TRAILER_START : REFUSED;
        break;
    case IN_LAST_LF:
        want = ch == '\n' ? AT_END : REFUSED;
        break;
    case IN_HEAD:
    case IN_LENGTH_BODY:
    case IN_CHUNK_DATA:
    case AT_END:
    case REFUSED:
        break;
    }
    if (want == REFUSED || p->chunk_overhead > MAX_CHUNK_OVERHEAD) {
        p->reason = "the chunked body is malformed";
        return false;
    }
    p->state = (uint8_t)want;
    return true;
}

static enum dc_http_event next_chunked(struct dc_http_parse *p, struct dc_slice *in,
                                       struct dc_slice *piece)
{
    while (in->len > 0 && p->state != AT_END) {
        if (p->state == IN_CHUNK_DATA) {
            return take_piece(p, in, piece, IN_CHUNK_DATA_CR);
        }
        if (!chunk_byte(p, (unsigned char)*in->ptr)) {
            return refuse(p, DC_MALFORMED, p->reason);
        }
        in->ptr++;
        in->len--;
        if (p->state == IN_CHUNK_DATA && p->left > p->limits.max_body_bytes - p->body_bytes) {
            return refuse(p, DC_TOO_LARGE, "the body is too large");
        }
    }
    return p->state == AT_END ? DC_HTTP_DONE : DC_HTTP_MORE;
}

enum dc_http_event dc_http_parse_next(struct dc_http_parse *p, struct dc_slice *in,
                                      struct dc_slice *piece)
{
    switch ((enum state)p->state) {
    case IN_HEAD:
        return next_head(p, in);
    case IN_LENGTH_BODY:
        if (p->content_length > p->limits.max_body_bytes) {
            return refuse(p, DC_TOO_LARGE, "the body is too large");
        }
        return in->len == 0 ? DC_HTTP_MORE : take_piece(p, in, piece, AT_END);
    case AT_END:
        return DC_HTTP_DONE;
    case REFUSED:
        return DC_HTTP_REFUSE;
    case IN_CHUNK_SIZE:
    case IN_CHUNK_EXT:
    case IN_CHUNK_SIZE_LF:
    case IN_CHUNK_DATA:
    case IN_CHUNK_DATA_CR:
    case IN_CHUNK_DATA_LF:
    case IN_TRAILER_START:
    case IN_TRAILER_NAME:
    case IN_TRAILER_VALUE:
    case IN_TRAILER_LF:
    case IN_LAST_LF:
        break;
    }
    return next_chunked(p, in, piece);
}
