/* See redis_link.h.
 *
 * Life: LOOKING_UP -> OPEN (perhaps several times, an address each) -> ENDING -> freed.  Whatever
 * ends a connection only notes the reason; the rest is done by the link's turn, so that nobody is
 * ever called back into while at work. */
#include "kv/redis_link.h"
#include "base/mem.h"
#include "kv/redis_stream.h"
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

/* Around each word: $, a length, CRLF twice. */
#define WORD_OVERHEAD 32

/* What belongs to commands without an answer: a ring. */
struct waiting {
    void **items;
    size_t cap, first, n; /* cap: a power of two */
};

struct dc_redis_link {
    struct dc_loop *loop;
    const struct dc_redis_link_cbs *cbs;
    void *owner;
    const struct dc_redis_tls_ctx *tls;
    struct dc_turn turn;
    char *host;
    uint16_t port;
    uv_getaddrinfo_t lookup;
    struct addrinfo *addresses, *next;
    bool is_looking_up;
    size_t n_streams; /* that are not closed */
    /* The connection. */
    struct dc_redis_stream *stream; /* NULL: none */
    struct dc_redis_reader *reader;
    struct waiting waiting;
    /* The end. */
    bool was_connected, is_failing, is_closed, is_told;
    struct dc_error err;
};

static void fail_with(struct dc_redis_link *l, enum dc_status st, const char *text)
{
    struct dc_error err;

    (void)dc_fail(&err, st, 0, "%s", text);
    dc_redis_link_fail(l, &err);
}

/* --- commands that wait for an answer --- */

static void waiting_push(struct waiting *w, void *data)
{
    if (w->n == w->cap) {
        size_t cap = w->cap == 0 ? 64 : w->cap * 2;
        void **items = dc_calloc(cap, sizeof(*items));
        for (size_t i = 0; i < w->n; i++) {
            items[i] = w->items[(w->first + i) & (w->cap - 1)];
        }
        dc_free(w->items);
        *w = (struct waiting){.items = items, .cap = cap, .n = w->n};
    }
    w->items[(w->first + w->n++) & (w->cap - 1)] = data;
}

static void *waiting_pop(struct waiting *w)
{
    DC_ASSERT(w->n > 0); /* the reader counts too */
    void *data = w->items[w->first];
    w->first = (w->first + 1) & (w->cap - 1);
    w->n--;
    return data;
}

/* --- what the stream says --- */

static void on_bytes(void *owner, struct dc_slice bytes)
{
    struct dc_redis_link *l = owner;
    redisReply *answer = NULL;
    struct dc_error err;

    if (l->is_failing || l->is_closed) {
        return;
    }
    enum dc_status st = dc_redis_reader_feed(l->reader, bytes, &err);
    while (st == DC_OK && !l->is_failing && !l->is_closed) {
        st = dc_redis_reader_next(l->reader, &answer, &err);
        if (answer == NULL) {
            break;
        }
        l->cbs->answer(l->owner, waiting_pop(&l->waiting), answer);
        freeReplyObject(answer);
    }
    if (st != DC_OK) {
        dc_redis_link_fail(l, &err);
    }
}

static void on_drained(void *owner)
{
    struct dc_redis_link *l = owner;

    if (!l->is_failing && !l->is_closed) {
        l->cbs->drained(l->owner);
    }
}

static void on_broken(void *owner, const struct dc_error *err)
{
    dc_redis_link_fail(owner, err);
}

static void on_stream_closed(void *owner)
{
    struct dc_redis_link *l = owner;

    l->n_streams--;
    dc_turn_schedule(l->loop, &l->turn);
}

static const struct dc_redis_stream_cbs stream_cbs = {on_bytes, on_drained, on_broken,
                                                      on_stream_closed};

/* --- connecting --- */

static struct dc_redis_stream *connect_to(struct dc_redis_link *l, const struct addrinfo *address)
{
    struct dc_redis_tls *tls = l->tls == NULL ? NULL : dc_redis_tls_create(l->tls, l->host);

    if (l->tls != NULL && tls == NULL) {
        (void)dc_fail(&l->err, DC_NO_MEMORY, 0, "out of memory");
        return NULL;
    }
    if (address->ai_family == AF_INET) {
        ((struct sockaddr_in *)address->ai_addr)->sin_port = htons(l->port);
    } else {
        ((struct sockaddr_in6 *)address->ai_addr)->sin6_port = htons(l->port);
    }
    return dc_redis_stream_open(l->loop, address->ai_addr, address->ai_addrlen, tls, &stream_cbs, l,
                                &l->err);
}

/* The next address that is of any use; false: none is left, and the last reason is in l->err. */
static bool try_next(struct dc_redis_link *l)
{
    while (l->next != NULL) {
        const struct addrinfo *address = l->next;
        l->next = address->ai_next;
        if (address->ai_family != AF_INET && address->ai_family != AF_INET6) {
            continue;
        }
        l->reader = dc_redis_reader_create();
        l->stream = l->reader == NULL ? NULL : connect_to(l, address);
        if (l->stream != NULL) {
            l->n_streams++;
            l->is_failing = false;
            l->cbs->greet(l->owner);
            return true;
        }
        dc_redis_reader_free(l->reader);
        l->reader = NULL;
    }
    return false;
}

static void disconnect(struct dc_redis_link *l)
{
    l->was_connected = dc_redis_stream_was_connected(l->stream);
    dc_redis_stream_close(l->stream);
    l->stream = NULL;
    dc_redis_reader_free(l->reader);
    l->reader = NULL;
    l->waiting.first = 0;
    l->waiting.n = 0;
}

static void on_lookup(uv_getaddrinfo_t *lookup, int status, struct addrinfo *addresses)
{
    struct dc_redis_link *l = DC_CONTAINER_OF(lookup, struct dc_redis_link, lookup);

    l->is_looking_up = false;
    l->addresses = addresses;
    l->next = addresses;
    if (status != 0) {
        fail_with(l, DC_UNAVAILABLE, uv_strerror(status));
    }
    dc_turn_schedule(l->loop, &l->turn);
}

/* --- the end --- */

static void free_link(struct dc_redis_link *l)
{
    void (*freed)(void *owner) = l->cbs->freed;
    void *owner = l->owner;

    dc_turn_cancel(&l->turn);
    if (l->addresses != NULL) {
        uv_freeaddrinfo(l->addresses);
    }
    dc_free(l->waiting.items);
    dc_free(l->host);
    dc_free(l);
    freed(owner);
}

static void on_turn(struct dc_turn *turn)
{
    struct dc_redis_link *l = DC_CONTAINER_OF(turn, struct dc_redis_link, turn);

    if (l->stream != NULL && (l->is_failing || l->is_closed)) {
        disconnect(l);
    }
    if (l->is_looking_up && l->is_failing && !l->is_closed && !l->is_told) {
        l->is_told = true;
        (void)uv_cancel((uv_req_t *)&l->lookup); /* UV_EBUSY: it runs, and ends by itself */
        l->cbs->lost(l->owner, &l->err);
    }
    if (l->is_looking_up || l->stream != NULL) {
        return;
    }
    if (!l->is_closed && !l->is_told && (l->was_connected || !try_next(l))) {
        l->is_told = true;
        l->cbs->lost(l->owner, &l->err);
    }
    if (l->stream == NULL && l->n_streams == 0 && (l->is_told || l->is_closed)) {
        free_link(l);
    }
}

struct dc_redis_link *dc_redis_link_open(struct dc_loop *loop, const char *host, uint16_t port,
                                         const struct dc_redis_tls_ctx *tls,
                                         const struct dc_redis_link_cbs *cbs, void *owner)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct dc_redis_link *l = dc_calloc(1, sizeof(*l));

    l->loop = loop;
    l->host = dc_strdup(host);
    l->port = port;
    l->tls = tls;
    l->cbs = cbs;
    l->owner = owner;
    (void)dc_fail(&l->err, DC_UNAVAILABLE, 0, "the name has no address");
    dc_turn_init(&l->turn, on_turn);
    int rc = uv_getaddrinfo(dc_loop_uv(loop), &l->lookup, on_lookup, host, NULL, &hints);
    if (rc == 0) {
        l->is_looking_up = true;
    } else {
        fail_with(l, DC_UNAVAILABLE, uv_strerror(rc));
    }
    return l;
}

void dc_redis_link_fail(struct dc_redis_link *l, const struct dc_error *err)
{
    if (!l->is_failing && !l->is_closed) {
        l->is_failing = true;
        l->err = *err;
        dc_turn_schedule(l->loop, &l->turn);
    }
}

void dc_redis_link_close(struct dc_redis_link *l)
{
    l->is_closed = true;
    if (l->is_looking_up) {
        (void)uv_cancel((uv_req_t *)&l->lookup); /* UV_EBUSY: it runs, and ends by itself */
    }
    dc_turn_schedule(l->loop, &l->turn);
}

/* --- commands --- */

/* "$12\r\n".  Returns where to go on. */
static char *put_head(char *at, char mark, size_t number)
{
    char digits[24];
    size_t n = 0;

    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    *at++ = mark;
    while (n > 0) {
        *at++ = digits[--n];
    }
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

/* A command as Redis reads it: an array of strings.  false: no memory. */
static bool add_command(struct dc_strbuf *out, size_t argc, const char **argv, const size_t *lens)
{
    size_t size = WORD_OVERHEAD;

    for (size_t i = 0; i < argc; i++) {
        if (!dc_add_size(size, lens[i], &size) || !dc_add_size(size, WORD_OVERHEAD, &size)) {
            return false;
        }
    }
    if (!dc_strbuf_reserve(out, size)) {
        return false;
    }
    char *at = put_head(out->ptr + out->len, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        at = put_head(at, '$', lens[i]);
        memcpy(at, argv[i], lens[i]);
        at += lens[i];
        *at++ = '\r';
        *at++ = '\n';
    }
    out->len = (size_t)(at - out->ptr);
    return true;
}

bool dc_redis_link_send(struct dc_redis_link *l, void *data, size_t argc, const char **argv,
                        const size_t *lens)
{
    if (l->stream == NULL || l->is_failing || l->is_closed) {
        return false;
    }
    if (!add_command(dc_redis_stream_out(l->stream), argc, argv, lens)) {
        fail_with(l, DC_NO_MEMORY, "out of memory");
        return false;
    }
    waiting_push(&l->waiting, data);
    dc_redis_reader_expect(l->reader);
    return true;
}

size_t dc_redis_link_unsent(const struct dc_redis_link *l)
{
    return l->stream == NULL ? 0 : dc_redis_stream_unsent(l->stream);
}

void dc_redis_link_flush(struct dc_redis_link *l)
{
    if (l->stream != NULL && !l->is_failing && !l->is_closed) {
        dc_redis_stream_flush(l->stream);
    }
}

bool dc_redis_link_is_shaking_hands(const struct dc_redis_link *l)
{
    return l->stream != NULL && dc_redis_stream_is_shaking_hands(l->stream);
}
