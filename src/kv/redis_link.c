/* See redis_link.h.
 *
 * Life: LOOKING_UP -> OPEN (perhaps several times, an address each) -> ENDING -> freed.  Whatever
 * ends a connection only notes the reason; the rest is done by the link's turn, so that neither
 * hiredis nor the owner is ever called back into while it is at work. */
#include "kv/redis_link.h"
#include "base/mem.h"
#include <errno.h>
#include <hiredis/sds.h>
#include <netdb.h>
#include <stdio.h>

/* Belongs to its handle, which outlives the connection. */
struct link_poll {
    uv_poll_t uv;
    struct dc_redis_link *link;
    int events; /* watched */
};

struct dc_redis_link {
    struct dc_loop *loop;
    const struct dc_redis_link_cbs *cbs;
    void *owner;
    struct dc_turn turn;
    uint16_t port;
    uv_getaddrinfo_t lookup;
    struct addrinfo *addresses, *next;
    bool is_looking_up;
    size_t n_polls; /* handles that are open */
    /* The connection. */
    redisAsyncContext *ac; /* NULL: none */
    struct link_poll *poll;
    int events;                               /* that hiredis wants */
    redisReplyObjectFunctions plain, bounded; /* hiredis' own, and ours around them */
    size_t n_sent, n_begun;                   /* commands, and answers to them */
    size_t n_parts, n_bytes;                  /* of the answer that is being read */
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

/* --- what hiredis reads --- */

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

/* false: this answer, or part of one, must not be. */
static bool may_create(struct dc_redis_link *l, const redisReadTask *task, size_t bytes)
{
    if (task->parent == NULL) {
        /* An error that nobody asked for is taken well by hiredis: it ends the connection. */
        if (l->n_begun >= l->n_sent && task->type != REDIS_REPLY_ERROR) {
            fail_with(l, DC_UPSTREAM, "the server answers what nobody asked");
            return false;
        }
        l->n_begun++;
        l->n_parts = 0;
        l->n_bytes = 0;
    }
    l->n_parts++;
    l->n_bytes += bytes;
    if (l->n_parts > DC_REDIS_ANSWER_MAX_PARTS || l->n_bytes > DC_REDIS_ANSWER_MAX_BYTES) {
        fail_with(l, DC_UPSTREAM, "an answer of the server is too large");
        return false;
    }
    return true;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    struct dc_redis_link *l = task->privdata;

    return may_create(l, task, len) ? l->plain.createString(task, text, len) : NULL;
}

/* Room for the elements is made at once. */
static void *create_array(const redisReadTask *task, element_count n)
{
    struct dc_redis_link *l = task->privdata;

    if ((size_t)n > DC_REDIS_ANSWER_MAX_PARTS) {
        fail_with(l, DC_UPSTREAM, "an answer of the server is too large");
        return NULL;
    }
    return may_create(l, task, 0) ? l->plain.createArray(task, n) : NULL;
}

static void *create_integer(const redisReadTask *task, long long number)
{
    struct dc_redis_link *l = task->privdata;

    return may_create(l, task, 0) ? l->plain.createInteger(task, number) : NULL;
}

static void *create_nil(const redisReadTask *task)
{
    struct dc_redis_link *l = task->privdata;

    return may_create(l, task, 0) ? l->plain.createNil(task) : NULL;
}

static void read_bounded(struct dc_redis_link *l)
{
    redisReader *reader = l->ac->c.reader;

    l->plain = *reader->fn;
    l->bounded = *reader->fn;
    l->bounded.createString = create_string;
    l->bounded.createArray = create_array;
    l->bounded.createInteger = create_integer;
    l->bounded.createNil = create_nil;
    reader->fn = &l->bounded;
    reader->privdata = l;
}

/* NULL: the connection is gone, which lost() tells. */
static void on_reply(redisAsyncContext *ac, void *reply, void *data)
{
    struct dc_redis_link *l = ac->data;

    if (reply != NULL && !l->is_failing && !l->is_closed) {
        l->cbs->answer(l->owner, data, reply);
    }
}

/* --- the socket --- */

static void on_poll(uv_poll_t *uv, int status, int events);

static void on_poll_closed(uv_handle_t *handle)
{
    struct link_poll *poll = DC_CONTAINER_OF(handle, struct link_poll, uv);
    struct dc_redis_link *l = poll->link;

    dc_free(poll);
    l->n_polls--;
    dc_turn_schedule(l->loop, &l->turn);
}

static void add_read(void *data)
{
    ((struct dc_redis_link *)data)->events |= UV_READABLE;
}

static void del_read(void *data)
{
    ((struct dc_redis_link *)data)->events &= ~UV_READABLE;
}

static void add_write(void *data)
{
    ((struct dc_redis_link *)data)->events |= UV_WRITABLE;
}

static void del_write(void *data)
{
    ((struct dc_redis_link *)data)->events &= ~UV_WRITABLE;
}

/* hiredis frees the connection, for whatever reason; its socket is still open. */
static void cleanup(void *data)
{
    struct dc_redis_link *l = data;
    const redisContext *c = &l->ac->c;

    l->was_connected = (c->flags & REDIS_CONNECTED) != 0;
    if (c->err == REDIS_ERR_PROTOCOL) {
        fail_with(l, DC_UPSTREAM, "what came is not the protocol of Redis");
    } else if (c->err != 0) {
        fail_with(l, DC_UNAVAILABLE, c->errstr);
    } else {
        fail_with(l, DC_UNAVAILABLE, "the connection ended");
    }
    uv_close((uv_handle_t *)&l->poll->uv, on_poll_closed);
    l->poll = NULL;
    l->ac = NULL;
}

/* Watches for what hiredis wants. */
static void watch(struct dc_redis_link *l)
{
    if (l->ac == NULL || l->poll->events == l->events) {
        return;
    }
    l->poll->events = l->events;
    if (uv_poll_start(&l->poll->uv, l->events, on_poll) != 0) {
        fail_with(l, DC_UNAVAILABLE, "cannot watch the socket");
    }
}

static void check_size(struct dc_redis_link *l)
{
    if (l->ac != NULL && l->ac->c.reader->len - l->ac->c.reader->pos > DC_REDIS_ANSWER_MAX_BYTES) {
        fail_with(l, DC_UPSTREAM, "an answer of the server is too large");
    }
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
    struct link_poll *poll = DC_CONTAINER_OF(uv, struct link_poll, uv);
    struct dc_redis_link *l = poll->link;

    if (l->poll != poll || l->is_failing || l->is_closed) {
        return;
    }
    if (status < 0) {
        /* libuv has stopped watching.  hiredis finds the reason: it asks the socket. */
        poll->events = 0;
        events = UV_READABLE;
    }
    if ((events & UV_READABLE) != 0) {
        redisAsyncHandleRead(l->ac);
        check_size(l);
    }
    if (l->ac != NULL && !l->is_failing && (events & UV_WRITABLE) != 0) {
        redisAsyncHandleWrite(l->ac);
    }
    if (l->ac == NULL || l->is_failing) {
        return;
    }
    if (status < 0) {
        fail_with(l, DC_UNAVAILABLE, uv_strerror(status));
        return;
    }
    watch(l);
    if ((events & UV_WRITABLE) != 0 && dc_redis_link_unsent(l) == 0) {
        l->cbs->drained(l->owner);
    }
}

/* --- connecting --- */

/* NULL: this address is no use; the reason is in l->err. */
static redisAsyncContext *connect_to(struct dc_redis_link *l, const struct addrinfo *address)
{
    char host[NI_MAXHOST];
    int rc = getnameinfo(address->ai_addr, address->ai_addrlen, host, sizeof(host), NULL, 0,
                         NI_NUMERICHOST);

    if (rc != 0) {
        (void)dc_fail(&l->err, DC_UNAVAILABLE, rc, "%s", gai_strerror(rc));
        return NULL;
    }
    redisAsyncContext *ac = redisAsyncConnect(host, l->port);
    if (ac == NULL) {
        (void)dc_fail(&l->err, DC_NO_MEMORY, 0, "out of memory");
        return NULL;
    }
    if (ac->err == 0) {
        (void)redisEnableKeepAlive(&ac->c); /* what goes wrong is in c.err */
    }
    if (ac->err != 0 || ac->c.err != 0) {
        (void)dc_fail(&l->err, DC_UNAVAILABLE, ac->c.err, "%s", ac->c.errstr);
        redisAsyncFree(ac);
        return NULL;
    }
    return ac;
}

static bool attach(struct dc_redis_link *l, redisAsyncContext *ac)
{
    struct link_poll *poll = dc_calloc(1, sizeof(*poll));

    poll->link = l;
    int rc = uv_poll_init(dc_loop_uv(l->loop), &poll->uv, ac->c.fd);
    if (rc != 0) {
        (void)dc_fail(&l->err, DC_UNAVAILABLE, rc, "%s", uv_strerror(rc));
        dc_free(poll);
        redisAsyncFree(ac);
        return false;
    }
    l->n_polls++;
    l->poll = poll;
    l->ac = ac;
    l->events = UV_WRITABLE;
    l->n_sent = 0;
    l->n_begun = 0;
    ac->data = l;
    ac->ev.data = l;
    ac->ev.addRead = add_read;
    ac->ev.delRead = del_read;
    ac->ev.addWrite = add_write;
    ac->ev.delWrite = del_write;
    ac->ev.cleanup = cleanup;
    read_bounded(l);
    watch(l);
    return true;
}

/* The next address that is of any use; false: none is left. */
static bool try_next(struct dc_redis_link *l)
{
    while (l->next != NULL) {
        const struct addrinfo *address = l->next;
        l->next = address->ai_next;
        redisAsyncContext *ac = connect_to(l, address);
        if (ac != NULL && attach(l, ac)) {
            l->is_failing = false;
            l->cbs->greet(l->owner);
            return true;
        }
    }
    return false;
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

static void on_turn(struct dc_turn *turn)
{
    struct dc_redis_link *l = DC_CONTAINER_OF(turn, struct dc_redis_link, turn);

    if (l->ac != NULL && (l->is_failing || l->is_closed)) {
        redisAsyncFree(l->ac); /* calls cleanup() */
    }
    if (l->is_looking_up && l->is_failing && !l->is_closed && !l->is_told) {
        l->is_told = true;
        (void)uv_cancel((uv_req_t *)&l->lookup); /* UV_EBUSY: it runs, and ends by itself */
        l->cbs->lost(l->owner, &l->err);
    }
    if (l->is_looking_up || l->ac != NULL) {
        return;
    }
    if (!l->is_closed && !l->is_told && (l->was_connected || !try_next(l))) {
        l->is_told = true;
        l->cbs->lost(l->owner, &l->err);
    }
    if (l->ac == NULL && l->n_polls == 0 && (l->is_told || l->is_closed)) {
        void (*freed)(void *owner) = l->cbs->freed;
        void *owner = l->owner;
        dc_turn_cancel(&l->turn);
        if (l->addresses != NULL) {
            uv_freeaddrinfo(l->addresses);
        }
        dc_free(l);
        freed(owner);
    }
}

struct dc_redis_link *dc_redis_link_open(struct dc_loop *loop, const char *host, uint16_t port,
                                         const struct dc_redis_link_cbs *cbs, void *owner)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct dc_redis_link *l = dc_calloc(1, sizeof(*l));

    l->loop = loop;
    l->port = port;
    l->cbs = cbs;
    l->owner = owner;
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

bool dc_redis_link_send(struct dc_redis_link *l, void *data, size_t argc, const char **argv,
                        const size_t *lens)
{
    if (l->ac == NULL || l->is_failing || l->is_closed) {
        return false;
    }
    if (redisAsyncCommandArgv(l->ac, on_reply, data, (int)argc, argv, lens) != REDIS_OK ||
        l->ac->c.err != 0) {
        fail_with(l, DC_NO_MEMORY, "out of memory");
        return false;
    }
    l->n_sent++;
    return true;
}

size_t dc_redis_link_unsent(const struct dc_redis_link *l)
{
    return l->ac == NULL ? 0 : sdslen(l->ac->c.obuf);
}

void dc_redis_link_flush(struct dc_redis_link *l)
{
    if (l->ac == NULL || l->is_failing || l->is_closed || (l->ac->c.flags & REDIS_CONNECTED) == 0 ||
        dc_redis_link_unsent(l) == 0) {
        return;
    }
    redisAsyncHandleWrite(l->ac);
    watch(l);
}
