/* See redis_stream.h. */
#include "kv/redis_stream.h"
#include "base/mem.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES ((size_t)16 * 1024)
/* Of one turn; others have theirs. */
#define READS_MAX 4
/* Room at once, so that a greeting leaves no copy of a password behind. */
#define OUT_MIN_BYTES ((size_t)8 * 1024)
/* Seconds; a server that vanished is noticed after half a minute. */
#define KEEPALIVE_IDLE_S     15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES     3
/* A record of TLS: an alert.  No answer of Redis begins so. */
#define TLS_ALERT 0x15

/* Bytes that leave from the front. */
struct queue {
    struct dc_strbuf bytes;
    size_t sent;
};

struct dc_redis_stream {
    uv_poll_t poll;
    int fd;
    int events; /* watched */
    struct dc_redis_tls *tls;
    const struct dc_redis_stream_cbs *cbs;
    void *owner;
    struct queue out;  /* what is to be said */
    struct queue wire; /* records of TLS */
    struct dc_strbuf said;
    bool is_connected, is_broken, has_heard;
    int write_errno; /* 0: none */
    char room[READ_BYTES];
};

static void on_poll(uv_poll_t *uv, int status, int events);

/* --- the end --- */

static void break_with(struct dc_redis_stream *s, const struct dc_error *err)
{
    if (!s->is_broken) {
        s->is_broken = true;
        (void)uv_poll_stop(&s->poll);
        s->cbs->broken(s->owner, err);
    }
}

static void break_off(struct dc_redis_stream *s, int cause, const char *text)
{
    struct dc_error err;

    (void)dc_fail(&err, DC_UNAVAILABLE, cause, "%s", text);
    break_with(s, &err);
}

/* --- out --- */

static size_t waiting(const struct queue *q)
{
    return q->bytes.len - q->sent;
}

static void queue_clear(struct queue *q)
{
    dc_strbuf_clear(&q->bytes);
    q->sent = 0;
}

static void queue_free(struct queue *q)
{
    if (q->bytes.ptr != NULL) {
        dc_wipe(q->bytes.ptr, q->bytes.cap);
    }
    dc_strbuf_free(&q->bytes);
}

size_t dc_redis_stream_unsent(const struct dc_redis_stream *s)
{
    return waiting(&s->out) + waiting(&s->wire);
}

/* What the socket takes now.  That it is broken is for the reader to tell: it knows the last words
 * of the server. */
static void send_some(struct dc_redis_stream *s, struct queue *q)
{
    ssize_t n;

    if (waiting(q) == 0 || s->write_errno != 0) {
        return;
    }
    do {
        n = send(s->fd, q->bytes.ptr + q->sent, waiting(q), MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n == -1 && errno == EINTR);
    if (n >= 0) {
        q->sent += (size_t)n;
    } else if (errno != EAGAIN && errno != ENOBUFS) {
        s->write_errno = errno;
    }
    if (waiting(q) == 0) {
        queue_clear(q);
    }
}

static void encipher(struct dc_redis_stream *s)
{
    struct dc_error err;
    enum dc_status st = DC_OK;

    if (dc_redis_tls_is_ready(s->tls) && waiting(&s->out) > 0) {
        st = dc_redis_tls_write(s->tls, dc_strbuf_slice(&s->out.bytes), &err);
        queue_clear(&s->out);
    }
    dc_redis_tls_take(s->tls, &s->wire.bytes);
    if (st == DC_OK && !dc_strbuf_ok(&s->wire.bytes)) {
        st = dc_fail(&err, DC_NO_MEMORY, 0, "out of memory");
    }
    if (st != DC_OK) {
        break_with(s, &err);
    }
}

static void watch(struct dc_redis_stream *s)
{
    bool wants_room =
        !s->is_connected || s->write_errno != 0 || waiting(s->tls == NULL ? &s->out : &s->wire) > 0;
    int events = (s->is_connected ? UV_READABLE : 0) | (wants_room ? UV_WRITABLE : 0);

    if (s->is_broken || events == s->events) {
        return;
    }
    s->events = events;
    int rc = uv_poll_start(&s->poll, events, on_poll);
    DC_ASSERT(rc == 0); /* fails for closing handles only */
}

void dc_redis_stream_flush(struct dc_redis_stream *s)
{
    if (!s->is_connected || s->is_broken) {
        return;
    }
    if (s->tls != NULL) {
        encipher(s);
    }
    if (!s->is_broken) {
        send_some(s, s->tls == NULL ? &s->out : &s->wire);
        watch(s);
    }
}

struct dc_strbuf *dc_redis_stream_out(struct dc_redis_stream *s)
{
    return &s->out.bytes;
}

/* --- in --- */

static void take_plain(struct dc_redis_stream *s, struct dc_slice bytes)
{
    if (!s->has_heard && bytes.ptr[0] == TLS_ALERT) {
        struct dc_error err;
        (void)dc_fail(&err, DC_CONFIG, 0,
                      "the server speaks TLS: REDIS_URL must say rediss:// (rediss+sentinel://)");
        break_with(s, &err);
        return;
    }
    s->has_heard = true;
    s->cbs->bytes(s->owner, bytes);
}

static void take_records(struct dc_redis_stream *s, struct dc_slice bytes)
{
    struct dc_error err;
    enum dc_status st = dc_redis_tls_feed(s->tls, bytes, &s->said, &err);

    /* Its hello, its confirmation, our alert: whatever it has to say to that. */
    dc_redis_tls_take(s->tls, &s->wire.bytes);
    send_some(s, &s->wire);
    if (s->said.len > 0) {
        s->cbs->bytes(s->owner, dc_strbuf_slice(&s->said));
        dc_strbuf_clear(&s->said);
    }
    if (st != DC_OK) {
        break_with(s, &err);
    }
}

/* cause 0: in order. */
static void hung_up(struct dc_redis_stream *s, int cause)
{
    if (dc_redis_stream_is_shaking_hands(s)) {
        break_off(s, cause, "the server hung up in the middle of the TLS handshake");
    } else if (s->tls == NULL && !s->has_heard) {
        /* As Redis does with TLS, when what it reads is none. */
        break_off(s, cause,
                  "the server hung up without a word: if it speaks TLS, REDIS_URL must say "
                  "rediss:// (rediss+sentinel://)");
    } else if (cause != 0) {
        break_off(s, cause, dc_errno_text(cause));
    } else {
        break_off(s, 0,
                  s->tls == NULL ? "the server closed the connection" : "the connection was cut");
    }
}

/* is_last: all that is there, as nothing will come any more. */
static void read_some(struct dc_redis_stream *s, bool is_last)
{
    for (int i = 0; (i < READS_MAX || is_last) && !s->is_broken; i++) {
        ssize_t n;
        do {
            n = recv(s->fd, s->room, sizeof(s->room), MSG_DONTWAIT);
        } while (n == -1 && errno == EINTR);
        if (n == 0) {
            hung_up(s, 0);
        } else if (n > 0 && s->tls == NULL) {
            take_plain(s, dc_slice_make(s->room, (size_t)n));
        } else if (n > 0) {
            take_records(s, dc_slice_make(s->room, (size_t)n));
        } else if (errno == ECONNRESET) {
            hung_up(s, errno);
        } else if (errno != EAGAIN) {
            break_off(s, errno, dc_errno_text(errno));
        } else {
            return;
        }
        if (n < (ssize_t)sizeof(s->room) && !is_last) {
            return;
        }
    }
}

/* --- the socket --- */

/* false: the address is no use. */
static bool finish_connecting(struct dc_redis_stream *s)
{
    int cause = 0;
    socklen_t len = sizeof(cause);

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &cause, &len) != 0) {
        cause = errno;
    }
    if (cause != 0) {
        break_off(s, cause, dc_errno_text(cause));
        return false;
    }
    s->is_connected = true;
    return true;
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
    struct dc_redis_stream *s = DC_CONTAINER_OF(uv, struct dc_redis_stream, poll);
    bool is_last = status < 0 || s->write_errno != 0;
    bool had_unsent = dc_redis_stream_unsent(s) > 0;

    if (status < 0) {
        s->events = 0; /* libuv has stopped watching; the socket knows why */
    }
    if (!s->is_connected && !finish_connecting(s)) {
        return;
    }
    if (is_last || (events & UV_READABLE) != 0) {
        read_some(s, is_last);
    }
    if (is_last && !s->is_broken) {
        break_off(s, s->write_errno,
                  s->write_errno != 0 ? dc_errno_text(s->write_errno) : uv_strerror(status));
    }
    if (s->is_broken) {
        return;
    }
    dc_redis_stream_flush(s);
    if (had_unsent && !s->is_broken && dc_redis_stream_unsent(s) == 0) {
        s->cbs->drained(s->owner);
    }
}

/* What goes wrong here costs nothing but time. */
static void set_options(int fd)
{
    const struct {
        int level, name, value;
    } rows[] = {{IPPROTO_TCP, TCP_NODELAY, 1},
                {SOL_SOCKET, SO_KEEPALIVE, 1},
                {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
                {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
                {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES}};

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        (void)setsockopt(fd, rows[i].level, rows[i].name, &rows[i].value, sizeof(rows[i].value));
    }
}

static int connect_to(const struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }
    set_options(fd);
    if (connect(fd, address, len) != 0 && errno != EINPROGRESS) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

struct dc_redis_stream *dc_redis_stream_open(struct dc_loop *loop, const struct sockaddr *address,
                                             socklen_t len, struct dc_redis_tls *tls,
                                             const struct dc_redis_stream_cbs *cbs, void *owner,
                                             struct dc_error *err)
{
    int fd = connect_to(address, len);

    if (fd == -1) {
        (void)dc_fail(err, DC_UNAVAILABLE, errno, "%s", dc_errno_text(errno));
        dc_redis_tls_free(tls);
        return NULL;
    }
    struct dc_redis_stream *s = dc_alloc(sizeof(*s));
    *s = (struct dc_redis_stream){.fd = fd, .tls = tls, .cbs = cbs, .owner = owner};
    /* A handle that is open is not freed but closed: it comes last. */
    int rc = dc_strbuf_reserve(&s->out.bytes, OUT_MIN_BYTES)
                 ? uv_poll_init(dc_loop_uv(loop), &s->poll, fd)
                 : UV_ENOMEM;
    if (rc != 0) {
        (void)dc_fail(err, DC_UNAVAILABLE, rc, "%s", uv_strerror(rc));
        close(fd);
        queue_free(&s->out);
        dc_redis_tls_free(tls);
        dc_free(s);
        return NULL;
    }
    watch(s);
    return s;
}

bool dc_redis_stream_was_connected(const struct dc_redis_stream *s)
{
    return s->is_connected;
}

bool dc_redis_stream_is_shaking_hands(const struct dc_redis_stream *s)
{
    return s->is_connected && s->tls != NULL && !dc_redis_tls_is_ready(s->tls);
}

static void on_closed(uv_handle_t *handle)
{
    struct dc_redis_stream *s = DC_CONTAINER_OF(handle, struct dc_redis_stream, poll);
    void (*closed)(void *owner) = s->cbs->closed;
    void *owner = s->owner;

    queue_free(&s->out);
    queue_free(&s->wire);
    dc_strbuf_free(&s->said);
    dc_free(s);
    closed(owner);
}

void dc_redis_stream_close(struct dc_redis_stream *s)
{
    s->is_broken = true;
    if (s->tls != NULL) {
        dc_redis_tls_say_goodbye(s->tls);
        dc_redis_tls_take(s->tls, &s->wire.bytes);
        send_some(s, &s->wire);
        dc_redis_tls_free(s->tls);
        s->tls = NULL;
    }
    uv_close((uv_handle_t *)&s->poll, on_closed); /* stops watching at once */
    close(s->fd);
}
