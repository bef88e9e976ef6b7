/* Connections: see conn.h.  Writing tries the socket first and allocates only for what it does not
 * take; closing always ends in on_closed(), from libuv's closing phase.
 *
 * The socket is watched by uv_poll, not wrapped in uv_tcp: recv() and send() cost less than the
 * read() and write() of libuv's streams (5 % of a tiny request), and a connection is 80 bytes
 * smaller. */
#include "net/conn.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Blobs of one system call; larger sends go in several. */
#define IOV_MAX_BLOBS 64
/* Less than this between two looks is no progress. */
#define DRAINING_MIN_BYTES 1024

struct out_item {
    struct dc_blob *blob;
    size_t offset; /* sent already */
};

/* Items [first, count) wait for the socket to take more. */
struct dc_conn_out {
    struct out_item *items;
    size_t first, count, cap;
    size_t queued_bytes;
    size_t left_bytes; /* queued or unacknowledged at the last look at progress */
};

static void on_ready(uv_poll_t *poll, int status, int events);
static void finish_flushed(struct dc_conn *c);

static struct dc_conn *conn_of(void *handle)
{
    return DC_CONTAINER_OF(handle, struct dc_conn, poll);
}

static void out_destroy(struct dc_conn_out *out)
{
    if (out == NULL) {
        return;
    }
    for (size_t i = out->first; i < out->count; i++) {
        dc_blob_unref(out->items[i].blob);
    }
    dc_free(out->items);
    dc_free(out);
}

static void on_closed(uv_handle_t *handle)
{
    struct dc_conn *c = conn_of(handle);
    struct dc_conn_host *host = c->host;
    if (c->cls->on_close != NULL) {
        c->cls->on_close(c);
    }
    out_destroy(c->out);
    dc_list_remove(&c->link);
    host->conn_count--;
    if (host->closed != NULL) {
        host->closed(host, c);
    }
    dc_free(c);
}

/* What is to be waited for follows from the state; false: the connection is being closed. */
static bool watch(struct dc_conn *c)
{
    int events = (c->is_reading ? UV_READABLE : 0) | (c->out != NULL ? UV_WRITABLE : 0);
    int rc = events == 0 ? uv_poll_stop(&c->poll) : uv_poll_start(&c->poll, events, on_ready);
    if (rc != 0) {
        dc_conn_close(c);
    }
    return rc == 0;
}

/* glibc gives 264 bytes and then 280: what an idle socket costs is counted (DESIGN §5). */
_Static_assert(offsetof(struct dc_conn, peer) + sizeof(struct in_addr) <= 264,
               "an IPv4 connection has outgrown its piece of memory: see bench/idle_presence.py");

/* The bytes of its address; none when it is of another family. */
static struct dc_slice address_of(const struct sockaddr_storage *peer)
{
    const char *at = (const char *)peer;
    switch (peer->ss_family) {
    case AF_INET:
        return dc_slice_make(at + offsetof(struct sockaddr_in, sin_addr), sizeof(struct in_addr));
    case AF_INET6:
        return dc_slice_make(at + offsetof(struct sockaddr_in6, sin6_addr),
                             sizeof(struct in6_addr));
    default:
        return DC_SLICE_NULL;
    }
}

struct dc_conn *dc_conn_open(struct dc_conn_host *host, int fd, const struct sockaddr_storage *peer,
                             const struct dc_conn_class *cls)
{
    struct dc_slice address = address_of(peer);
    size_t behind = offsetof(struct dc_conn, peer) + address.len;
    size_t size = behind > sizeof(struct dc_conn) ? behind : sizeof(struct dc_conn);
    struct dc_conn *c = dc_try_alloc(size);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    memset(c, 0, size);
    c->cls = cls;
    c->host = host;
    c->fd = fd;
    if (address.len > 0) {
        c->peer_family = peer->ss_family;
        memcpy(c->peer, address.ptr, address.len);
    }
    dc_timeout_init(&c->timeout);
    dc_list_init(&c->link);
    if (uv_poll_init(dc_loop_uv(host->loop), &c->poll, fd) != 0) {
        close(fd);
        dc_free(c);
        return NULL;
    }
    dc_list_push_back(&host->conns, &c->link);
    host->conn_count++;
    c->is_reading = true;
    int rc = uv_poll_start(&c->poll, UV_READABLE, on_ready);
    DC_ASSERT(rc == 0); /* fails for closing handles only */
    return c;
}

/* --- input --- */

static void on_peer_ended(struct dc_conn *c)
{
    if (c->out == NULL) {
        dc_conn_close(c);
        return;
    }
    /* It may still be reading an answer that is on its way; there is nothing more to read. */
    dc_conn_close_flushed(c);
    dc_conn_pause(c, true);
}

static void read_some(struct dc_conn *c)
{
    char *buf = c->host->read_buffer;
    ssize_t n;
    do {
        n = recv(c->fd, buf, DC_CONN_READ_BYTES, MSG_DONTWAIT);
    } while (n == -1 && errno == EINTR);
    if (n > 0) {
        c->host->bytes_in->value += (uint64_t)n;
        if (!c->close_when_flushed) {
            c->cls->on_data(c, dc_slice_make(buf, (size_t)n));
        } else if (c->cls->on_late != NULL) {
            c->cls->on_late(c);
        }
    } else if (n == 0) {
        on_peer_ended(c);
    } else if (errno != EAGAIN) {
        dc_conn_close(c);
    }
}

/* --- output --- */

/* Takes over the reference; false: no memory, the reference is dropped. */
static bool out_push(struct dc_conn *c, struct dc_blob *blob, size_t offset)
{
    struct dc_conn_out *out = c->out;
    if (out == NULL) {
        out = dc_try_alloc(sizeof *out);
        if (out == NULL) {
            dc_blob_unref(blob);
            return false;
        }
        *out = (struct dc_conn_out){.left_bytes = SIZE_MAX};
        c->out = out;
    }
    if (out->count == out->cap) {
        size_t cap = out->cap == 0 ? 4 : out->cap * 2;
        size_t size = 0;
        struct out_item *items = NULL;
        if (dc_mul_size(cap, sizeof *items, &size)) {
            items = dc_try_realloc(out->items, size);
        }
        if (items == NULL) {
            dc_blob_unref(blob);
            return false;
        }
        out->items = items;
        out->cap = cap;
    }
    out->items[out->count++] = (struct out_item){blob, offset};
    out->queued_bytes += blob->len - offset;
    return true;
}

size_t dc_conn_queued_bytes(const struct dc_conn *c)
{
    return c->out == NULL ? 0 : c->out->queued_bytes;
}

/* What the socket takes now; 0 when it takes nothing, SIZE_MAX when it is broken. */
static size_t try_write(struct dc_conn *c, struct iovec *bufs, size_t n)
{
    ssize_t rc;
    do {
        if (n == 1) {
            rc = send(c->fd, bufs[0].iov_base, bufs[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        } else {
            struct msghdr msg = {.msg_iov = bufs, .msg_iovlen = n};
            rc = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    } while (rc == -1 && errno == EINTR);
    if (rc >= 0) {
        c->host->bytes_out->value += (uint64_t)rc;
        return (size_t)rc;
    }
    return errno == EAGAIN || errno == ENOBUFS ? 0 : SIZE_MAX;
}

/* Drops what has been sent. */
static void out_advance(struct dc_conn_out *out, size_t written)
{
    out->queued_bytes -= written;
    while (out->first < out->count) {
        struct out_item *it = &out->items[out->first];
        size_t left = it->blob->len - it->offset;
        if (written < left) {
            it->offset += written;
            break;
        }
        written -= left;
        dc_blob_unref(it->blob);
        out->first++;
    }
    if (out->first > out->cap / 2) {
        out->count -= out->first;
        memmove(out->items, out->items + out->first, out->count * sizeof *out->items);
        out->first = 0;
    }
}

/* The socket takes more: one system call, then others have their turn. */
static void write_some(struct dc_conn *c)
{
    struct dc_conn_out *out = c->out;
    struct iovec bufs[IOV_MAX_BLOBS];
    size_t n = 0;
    for (size_t i = out->first; i < out->count && n < IOV_MAX_BLOBS; i++) {
        struct out_item *it = &out->items[i];
        bufs[n++] = (struct iovec){it->blob->data + it->offset, it->blob->len - it->offset};
    }
    size_t written = try_write(c, bufs, n);
    if (written == SIZE_MAX) {
        dc_conn_close(c);
        return;
    }
    out_advance(out, written);
    if (out->first < out->count) {
        return;
    }
    c->out = NULL;
    out_destroy(out);
    if (!watch(c)) {
        return;
    }
    if (c->close_when_flushed) {
        finish_flushed(c);
    } else if (c->cls->on_drain != NULL) {
        c->cls->on_drain(c);
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct dc_conn *c = conn_of(poll);
    if (status != 0) {
        dc_conn_close(c);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && c->out != NULL) {
        write_some(c);
    }
    if ((events & UV_READABLE) != 0 && c->is_reading) {
        read_some(c);
    }
}

/* At most IOV_MAX_BLOBS - 1 blobs. */
static void send_some(struct dc_conn *c, struct dc_slice bytes, struct dc_blob *const *blobs,
                      size_t n)
{
    size_t written = 0;
    bool was_idle = c->out == NULL;
    if (was_idle) {
        struct iovec bufs[IOV_MAX_BLOBS];
        size_t n_bufs = 0;
        size_t total = bytes.len;
        if (bytes.len > 0) {
            /* The pointer of an iovec is not const, but sending only reads. */
            union {
                const char *in;
                char *out;
            } base = {bytes.ptr};
            bufs[n_bufs++] = (struct iovec){base.out, bytes.len};
        }
        for (size_t i = 0; i < n; i++) {
            bufs[n_bufs++] = (struct iovec){blobs[i]->data, blobs[i]->len};
            total += blobs[i]->len;
        }
        if (total == 0) {
            return;
        }
        written = try_write(c, bufs, n_bufs);
        if (written == total) {
            return;
        }
        if (written == SIZE_MAX) {
            dc_conn_close(c);
            return;
        }
    }
    bool ok = true;
    if (written < bytes.len) {
        struct dc_blob *rest =
            dc_blob_copy(dc_slice_make(bytes.ptr + written, bytes.len - written));
        ok = rest != NULL && out_push(c, rest, 0);
        written = 0;
    } else {
        written -= bytes.len;
    }
    for (size_t i = 0; ok && i < n; i++) {
        if (written >= blobs[i]->len) {
            written -= blobs[i]->len;
            continue;
        }
        ok = out_push(c, dc_blob_ref(blobs[i]), written);
        written = 0;
    }
    if (!ok) {
        dc_conn_close(c);
    } else if (was_idle && c->out != NULL) {
        (void)watch(c); /* it closes the connection if it cannot */
    }
}

void dc_conn_send_bytes(struct dc_conn *c, struct dc_slice bytes, struct dc_blob *const *blobs,
                        size_t n)
{
    if (c->is_closing || c->close_when_flushed) {
        return;
    }
    if (dc_conn_queued_bytes(c) > c->host->max_output_bytes) {
        dc_conn_close(c);
        return;
    }
    for (;;) { /* blobs may be NULL, which not even 0 may be added to */
        size_t some = n < IOV_MAX_BLOBS - 1 ? n : IOV_MAX_BLOBS - 1;
        send_some(c, bytes, blobs, some);
        if (some == n || c->is_closing) {
            return;
        }
        bytes = DC_SLICE_NULL;
        blobs += some;
        n -= some;
    }
}

void dc_conn_send(struct dc_conn *c, struct dc_blob *const *blobs, size_t n)
{
    dc_conn_send_bytes(c, DC_SLICE_NULL, blobs, n);
}

/* --- modes, pausing, closing --- */

void dc_conn_set_class(struct dc_conn *c, const struct dc_conn_class *cls, void *state)
{
    dc_timeout_remove(&c->timeout);
    c->cls = cls;
    c->state = state;
}

void dc_conn_timeout_fired(void *data, struct dc_timeout *t)
{
    (void)data;
    struct dc_conn *c = DC_CONTAINER_OF(t, struct dc_conn, timeout);
    if (c->close_when_flushed && dc_conn_is_draining(c)) {
        dc_timeout_touch(c->host->stalled, t);
    } else if (c->close_when_flushed) {
        dc_conn_close(c);
    } else if (!c->is_closing && c->cls->on_timeout != NULL) {
        c->cls->on_timeout(c);
    }
}

void dc_conn_pause(struct dc_conn *c, bool paused)
{
    if (!c->is_closing && c->is_reading == paused) {
        c->is_reading = !paused;
        (void)watch(c); /* it closes the connection if it cannot */
    }
}

void dc_conn_close(struct dc_conn *c)
{
    if (c->is_closing) {
        return;
    }
    c->is_closing = true;
    c->is_reading = false;
    dc_timeout_remove(&c->timeout);
    uv_close((uv_handle_t *)&c->poll, on_closed); /* stops watching at once */
    close(c->fd);
    c->fd = -1;
}

/* The queue is empty: end our side, then wait for the peer's end (read_some) or the linger time. */
static void finish_flushed(struct dc_conn *c)
{
    if (shutdown(c->fd, SHUT_WR) != 0) {
        dc_conn_close(c);
        return;
    }
    dc_timeout_touch(c->host->linger, &c->timeout);
    dc_conn_pause(c, false);
}

void dc_conn_close_flushed(struct dc_conn *c)
{
    if (c->is_closing || c->close_when_flushed) {
        return;
    }
    c->close_when_flushed = true;
    if (c->out == NULL) {
        finish_flushed(c);
    } else {
        dc_timeout_touch(c->host->stalled, &c->timeout);
    }
}

bool dc_conn_is_draining(struct dc_conn *c)
{
    int in_kernel = 0;
    if (c->out == NULL) {
        return false;
    }
    if (ioctl(c->fd, SIOCOUTQ, &in_kernel) != 0 || in_kernel < 0) {
        in_kernel = 0;
    }
    size_t before = c->out->left_bytes;
    c->out->left_bytes = c->out->queued_bytes + (size_t)in_kernel;
    return before > c->out->left_bytes && before - c->out->left_bytes >= DRAINING_MIN_BYTES;
}

size_t dc_conn_peer(const struct dc_conn *c, char *out, size_t size)
{
    return c->peer_family != AF_UNSPEC && size > 0 &&
                   inet_ntop(c->peer_family, c->peer, out, (socklen_t)size) != NULL
               ? strlen(out)
               : 0;
}
