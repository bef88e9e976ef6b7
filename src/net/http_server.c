/* Listening, accepting, stopping.  The listening socket is ours (not libuv's), so that one wakeup
 * accepts a bounded number of connections and so that running out of descriptors is noticed: a
 * reserve descriptor is given up to take the connection and drop it, which is better than a backlog
 * that never empties and a listener that spins. */
#include "base/mem.h"
#include "net/http_inside.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG            4096
#define ACCEPTS_PER_WAKEUP 256
/* Connections past the limit that may be around at once to hear 503; more are just dropped. */
#define MAX_REFUSED     64
#define LINGER_MS       2000
#define STALL_MS        10000
#define ACCEPT_PAUSE_MS 100

/* What a connection is told that finds no place. */
struct refusal {
    const char *reason_z;
    struct dc_slice answer;
};
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
static const struct refusal no_room = {
    "too many connections",
    TEXT("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
         "Content-Length: 88\r\nConnection: close\r\nRetry-After: 5\r\n\r\n"
         "{\"error\":\"unavailable\",\"detail\":\"too many connections\","
         "\"message\":\"too many connections\"}")};
static const struct refusal no_room_for_address = {
    "too many connections of this address",
    TEXT("HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
         "Content-Length: 121\r\nConnection: close\r\nRetry-After: 5\r\n\r\n"
         "{\"error\":\"rate_limited\",\"detail\":\"too many connections of this address\","
         "\"message\":\"too many connections of this address\"}")};

/* --- listening --- */

static enum dc_status set_option(int fd, int level, int name, int value, struct dc_error *err)
{
    if (setsockopt(fd, level, name, &value, sizeof value) != 0) {
        return dc_fail(err, DC_CONFIG, errno, "cannot set up the listening socket: %s",
                       dc_errno_text(errno));
    }
    return DC_OK;
}

static enum dc_status set_up(int fd, const struct dc_server_opts *opts,
                             const struct sockaddr_storage *addr, socklen_t addr_len,
                             struct dc_error *err)
{
    enum dc_status st = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, err);
    /* Accepted sockets inherit it: one system call less for each connection. */
    if (st == DC_OK) {
        st = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, err);
    }
    if (st == DC_OK && opts->reuse_port) {
        st = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, err);
    }
    /* "::" is every address, of IPv4 too, whatever this machine's default may be. */
    if (st == DC_OK && addr->ss_family == AF_INET6) {
        st = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0, err);
    }
    if (st != DC_OK) {
        return st;
    }
    if (bind(fd, (const struct sockaddr *)addr, addr_len) != 0 || listen(fd, BACKLOG) != 0) {
        return dc_fail(err, DC_CONFIG, errno, "cannot listen on %s port %u: %s", opts->host,
                       (unsigned)opts->port, dc_errno_text(errno));
    }
    return DC_OK;
}

static enum dc_status open_listener(const struct dc_server_opts *opts, int *out_fd,
                                    uint16_t *out_port, struct dc_error *err)
{
    struct sockaddr_storage addr = {0};
    socklen_t addr_len = sizeof(struct sockaddr_in);
    if (uv_ip4_addr(opts->host, opts->port, (struct sockaddr_in *)&addr) != 0) {
        addr_len = sizeof(struct sockaddr_in6);
        if (uv_ip6_addr(opts->host, opts->port, (struct sockaddr_in6 *)&addr) != 0) {
            return dc_fail(err, DC_CONFIG, 0, "%s is not an IPv4 or IPv6 address", opts->host);
        }
    }
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return dc_fail(err, DC_CONFIG, errno, "cannot make a socket: %s", dc_errno_text(errno));
    }
    enum dc_status st = set_up(fd, opts, &addr, addr_len, err);
    if (st != DC_OK) {
        close(fd);
        return st;
    }
    addr_len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &addr_len) != 0) {
        st = dc_fail(err, DC_CONFIG, errno, "cannot read the port: %s", dc_errno_text(errno));
        close(fd);
        return st;
    }
    *out_port = ntohs(addr.ss_family == AF_INET ? ((struct sockaddr_in *)&addr)->sin_port
                                                : ((struct sockaddr_in6 *)&addr)->sin6_port);
    *out_fd = fd;
    return DC_OK;
}

/* --- accepting --- */

/* What of an address counts as one client: all of IPv4, however it came, and the network of IPv6,
 * of which one host has every address. */
static struct dc_slice client_of(const struct sockaddr_storage *addr)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:a.b.c.d */
    if (addr->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)addr;
        return dc_slice_make(&v4->sin_addr, sizeof v4->sin_addr);
    }
    const char *v6 = (const char *)addr + offsetof(struct sockaddr_in6, sin6_addr);
    return memcmp(v6, mapped, sizeof mapped) == 0 ? dc_slice_make(v6 + sizeof mapped, 4)
                                                  : dc_slice_make(v6, 8);
}

/* Text of an accepted address, for logs and lists. */
static struct dc_slice address_text(const struct sockaddr_storage *addr, char text[DC_ADDRESS_MAX])
{
    const void *bytes =
        addr->ss_family == AF_INET
            ? (const void *)&((const struct sockaddr_in *)(const void *)addr)->sin_addr
            : &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    const char *done = inet_ntop(addr->ss_family, bytes, text, DC_ADDRESS_MAX);
    return done == NULL ? DC_SLICE_NULL : dc_slice_z(done);
}

static void refuse_connection(struct dc_server *s, int fd, const struct sockaddr_storage *addr,
                              const struct refusal *why)
{
    char text[DC_ADDRESS_MAX];
    s->refused_connections->value++;
    DC_LOG_WARN_EVENT(s->log, "http.connection_refused", DC_LF_Z("server", s->name),
                      DC_LF_Z("reason", why->reason_z),
                      DC_LF_T("address", address_text(addr, text)),
                      DC_LF_I("connections", s->host.conn_count));
    if (s->n_refused >= MAX_REFUSED) {
        close(fd);
        return;
    }
    struct dc_conn *c = dc_conn_open(&s->host, fd, addr, &dc_http_refuse_class);
    if (c != NULL) {
        s->n_refused++;
        s->connections->value++;
        dc_conn_send_bytes(c, why->answer, NULL, 0);
        dc_conn_close_flushed(c);
    }
}

static bool take_place(struct dc_server *s, const struct sockaddr_storage *addr, dc_place *place)
{
    char text[DC_ADDRESS_MAX];
    *place = 0;
    if (s->trusted_proxies != NULL &&
        dc_address_is_listed(address_text(addr, text), dc_slice_z(s->trusted_proxies))) {
        return true;
    }
    return dc_places_take(s->places, client_of(addr), place);
}

static void take_connection(struct dc_server *s, int fd, const struct sockaddr_storage *addr)
{
    dc_place place;
    s->accepted->value++;
    if (s->host.conn_count - s->n_refused >= s->max_connections) {
        refuse_connection(s, fd, addr, &no_room);
        return;
    }
    if (!take_place(s, addr, &place)) {
        refuse_connection(s, fd, addr, &no_room_for_address);
        return;
    }
    struct dc_conn *c = dc_conn_open(&s->host, fd, addr, &dc_http_class);
    if (c == NULL) {
        dc_places_leave(s->places, &place);
        return;
    }
    c->place = place;
    s->connections->value++;
    dc_timeout_touch(s->idle_timeouts, &c->timeout);
}

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* No descriptor left: drop the connections that wait, by means of the reserve.  What cannot even
 * be dropped waits a moment, without spinning. */
static void drop_waiting(struct dc_server *s, int error)
{
    size_t n_dropped = 0;
    if (s->reserve_fd != -1) {
        close(s->reserve_fd);
        for (; n_dropped < ACCEPTS_PER_WAKEUP; n_dropped++) {
            int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
            if (fd == -1) {
                break;
            }
            close(fd);
        }
        s->reserve_fd = open_reserve();
    }
    s->refused_connections->value += n_dropped;
    DC_LOG_WARN_EVENT(s->log, "http.connection_refused", DC_LF_Z("server", s->name),
                      DC_LF_Z("reason", dc_errno_text(error)), DC_LF_I("dropped", n_dropped));
    if (n_dropped == 0) {
        uv_poll_stop(&s->listener);
        dc_timer_start(&s->accept_timer, ACCEPT_PAUSE_MS, 0);
    }
}

static void on_connections(uv_poll_t *poll, int status, int events)
{
    struct dc_server *s = poll->data;
    (void)events;
    if (status != 0) {
        return; /* accept4 says what is wrong */
    }
    for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
        struct sockaddr_storage addr = {0};
        socklen_t addr_len = sizeof addr;
        int fd = accept4(s->listen_fd, (struct sockaddr *)&addr, &addr_len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd != -1) {
            take_connection(s, fd, &addr);
            continue;
        }
        int error = errno;
        if (error == EAGAIN) {
            return;
        }
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
            drop_waiting(s, error);
            return;
        }
        /* ECONNABORTED, EINTR and network errors of that one connection: the next one. */
    }
}

static void start_accepting(struct dc_server *s)
{
    int rc = uv_poll_start(&s->listener, UV_READABLE, on_connections);
    DC_ASSERT(rc == 0); /* fails for closing handles only */
}

static void on_accept_pause_over(struct dc_timer *t)
{
    struct dc_server *s = DC_CONTAINER_OF(t, struct dc_server, accept_timer);
    if (s->reserve_fd == -1) {
        s->reserve_fd = open_reserve();
    }
    start_accepting(s);
}

/* --- life --- */

static void on_conn_closed(struct dc_conn_host *host, struct dc_conn *c)
{
    struct dc_server *s = DC_CONTAINER_OF(host, struct dc_server, host);
    s->connections->value--;
    s->n_refused -= c->cls == &dc_http_refuse_class;
    dc_places_leave(s->places, &c->place);
    /* An upgraded connection can close before it got the bytes behind its handshake. */
    DC_LIST_FOREACH (it, &s->ready) {
        struct dc_http_request *r = DC_LIST_ENTRY(it, struct dc_http_request, link);
        if (r->conn == c) {
            r->conn = NULL;
        }
    }
    if (s->is_stopping) {
        dc_server_check_stopped(s);
    }
}

struct dc_utc dc_server_now(struct dc_server *s)
{
    int64_t loop_ms = dc_loop_now(s->host.loop).ms;
    if (loop_ms - s->utc_at_ms >= 1000 || s->utc_ms == 0) {
        s->utc_ms = dc_utc_now().ms;
        s->utc_at_ms = loop_ms;
    }
    return (struct dc_utc){s->utc_ms + (loop_ms - s->utc_at_ms)};
}

struct dc_slice dc_server_date_line(struct dc_server *s)
{
    int64_t now_s = dc_server_now(s).ms / 1000;
    if (now_s != s->date_s) {
        time_t t = (time_t)now_s;
        struct tm tm;
        /* In the C locale, which this program never leaves, names are the English ones. */
        if (gmtime_r(&t, &tm) != NULL) {
            s->date_len =
                strftime(s->date, sizeof s->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        }
        s->date_s = now_s;
    }
    return dc_slice_make(s->date, s->date_len);
}

static void register_metrics(struct dc_server *s, struct dc_metrics *m)
{
    char labels[128];
    int n = snprintf(labels, sizeof labels, "server=\"%s\"", s->name);
    DC_ASSERT(n > 0 && (size_t)n < sizeof labels);
    s->host.bytes_in =
        dc_metrics_counter(m, "daarion_http_received_bytes", labels, "Bytes read from sockets");
    s->host.bytes_out =
        dc_metrics_counter(m, "daarion_http_sent_bytes", labels, "Bytes written to sockets");
    s->accepted = dc_metrics_counter(m, "daarion_http_accepted_total", labels,
                                     "Connections accepted, refused ones included");
    s->refused_connections = dc_metrics_counter(m, "daarion_http_refused_connections_total", labels,
                                                "Connections refused for want of room");
    s->connections = dc_metrics_gauge(m, "daarion_http_connections", labels,
                                      "Open connections of any kind, upgraded ones included");
    s->in_flight =
        dc_metrics_gauge(m, "daarion_http_in_flight", labels, "Requests that handlers work on");
    s->duration = dc_metrics_histogram(m, "daarion_http_request_seconds", labels,
                                       "From a complete request to its complete answer");
    for (int i = 0; i < 5; i++) {
        n = snprintf(labels, sizeof labels, "server=\"%s\",code=\"%dxx\"", s->name, i + 1);
        DC_ASSERT(n > 0 && (size_t)n < sizeof labels);
        s->requests[i] = dc_metrics_counter(m, "daarion_http_requests_total", labels,
                                            "Requests answered, by class of status code");
    }
}

static void on_stop_timeout(struct dc_timer *t)
{
    struct dc_server *s = DC_CONTAINER_OF(t, struct dc_server, stop_timer);
    s->is_cutting = true;
    DC_LIST_FOREACH_SAFE (it, &s->host.conns) {
        dc_conn_close(DC_LIST_ENTRY(it, struct dc_conn, link));
    }
    dc_server_check_stopped(s);
}

enum dc_status dc_server_create(struct dc_loop *loop, const struct dc_server_opts *opts,
                                const struct dc_router *router, struct dc_log *log,
                                struct dc_metrics *metrics, struct dc_server **out,
                                struct dc_error *err)
{
    *out = NULL;
    DC_ASSERT(opts->max_head_bytes > 0 && strlen(opts->name) < 64);
    int fd = -1;
    uint16_t port = 0;
    enum dc_status st = open_listener(opts, &fd, &port, err);
    if (st != DC_OK) {
        return st;
    }
    struct dc_server *s = dc_calloc(1, sizeof *s);
    int rc = uv_poll_init(dc_loop_uv(loop), &s->listener, fd);
    if (rc != 0) {
        close(fd);
        dc_free(s);
        return dc_fail(err, DC_CONFIG, rc, "cannot watch the listening socket: %s",
                       uv_strerror(rc));
    }
    s->listener.data = s;
    s->listen_fd = fd;
    s->port = port;
    s->reserve_fd = open_reserve();
    s->router = router;
    s->log = log;
    s->name = dc_strdup(opts->name);
    s->cors_origins = opts->cors_origins == NULL || opts->cors_origins[0] == '\0'
                          ? NULL
                          : dc_strdup(opts->cors_origins);
    s->trusted_proxies = opts->trusted_proxies == NULL ? NULL : dc_strdup(opts->trusted_proxies);
    s->limits = (struct dc_http_limits){opts->max_head_bytes, opts->max_body_bytes};
    s->max_connections = opts->max_connections;
    s->places = dc_places_create(opts->max_connections_per_address);
    s->date_s = -1;
    dc_list_init(&s->ready);
    dc_list_init(&s->free_requests);
    dc_turn_init(&s->turn, dc_http_turn);
    s->host.loop = loop;
    s->host.read_buffer = dc_alloc(DC_CONN_READ_BYTES);
    s->host.max_output_bytes = opts->max_output_bytes;
    s->host.closed = on_conn_closed;
    dc_list_init(&s->host.conns);
    s->host.linger = dc_timeouts_create(loop, LINGER_MS, dc_conn_timeout_fired, NULL);
    s->host.stalled =
        dc_timeouts_create(loop, opts->stall_timeout_ms > 0 ? opts->stall_timeout_ms : STALL_MS,
                           dc_conn_timeout_fired, NULL);
    s->head_timeouts = dc_timeouts_create(loop, opts->head_timeout_ms, dc_conn_timeout_fired, NULL);
    s->body_timeouts = dc_timeouts_create(loop, opts->body_timeout_ms, dc_conn_timeout_fired, NULL);
    s->idle_timeouts =
        dc_timeouts_create(loop, opts->keepalive_timeout_ms, dc_conn_timeout_fired, NULL);
    dc_timer_init(loop, &s->accept_timer, on_accept_pause_over);
    dc_timer_init(loop, &s->stop_timer, on_stop_timeout);
    s->open_handles = 3;
    register_metrics(s, metrics);
    start_accepting(s);
    *out = s;
    return DC_OK;
}

uint16_t dc_server_port(const struct dc_server *s)
{
    return s->port;
}

/* --- stopping --- */

static void free_server(struct dc_server *s)
{
    dc_http_free_requests(s);
    dc_places_destroy(s->places);
    dc_strbuf_free(&s->batch);
    dc_strbuf_free(&s->scratch);
    dc_free(s->host.read_buffer);
    dc_free(s->name);
    dc_free(s->cors_origins);
    dc_free(s->trusted_proxies);
    dc_free(s);
}

static void on_handle_closed(struct dc_server *s)
{
    if (--s->open_handles > 0) {
        return;
    }
    void (*stopped)(void *data) = s->stopped;
    void *data = s->stopped_data;
    s->is_stopped = true;
    /* Requests whose handlers never came back keep the memory, and nothing else. */
    if (s->n_taken == 0) {
        free_server(s);
    }
    if (stopped != NULL) {
        stopped(data);
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    on_handle_closed(handle->data);
}

static void on_accept_timer_closed(struct dc_timer *t)
{
    on_handle_closed(DC_CONTAINER_OF(t, struct dc_server, accept_timer));
}

static void on_stop_timer_closed(struct dc_timer *t)
{
    on_handle_closed(DC_CONTAINER_OF(t, struct dc_server, stop_timer));
}

static void finish_stop(struct dc_server *s)
{
    s->is_closing = true;
    /* No connection is left, so this only lets go of requests that are over. */
    dc_turn_cancel(&s->turn);
    dc_http_turn(&s->turn);
    dc_timeouts_close(s->host.linger);
    dc_timeouts_close(s->host.stalled);
    dc_timeouts_close(s->head_timeouts);
    dc_timeouts_close(s->body_timeouts);
    dc_timeouts_close(s->idle_timeouts);
    dc_timer_close(&s->accept_timer, on_accept_timer_closed);
    dc_timer_close(&s->stop_timer, on_stop_timer_closed);
}

void dc_server_check_stopped(struct dc_server *s)
{
    if (s->is_stopped) {
        if (s->n_taken == 0) {
            free_server(s);
        }
        return;
    }
    if (!s->is_stopping || s->is_closing || s->host.conn_count > 0) {
        return;
    }
    if (s->n_taken == 0 || s->is_cutting) {
        finish_stop(s);
    }
}

void dc_server_stop(struct dc_server *s, uint64_t timeout_ms, void (*stopped)(void *data),
                    void *data)
{
    DC_ASSERT(!s->is_stopping);
    s->is_stopping = true;
    s->stopped = stopped;
    s->stopped_data = data;
    uv_poll_stop(&s->listener);
    uv_close((uv_handle_t *)&s->listener, on_listener_closed);
    close(s->listen_fd);
    if (s->reserve_fd != -1) {
        close(s->reserve_fd);
    }
    dc_timer_stop(&s->accept_timer);
    DC_LIST_FOREACH_SAFE (it, &s->host.conns) {
        struct dc_conn *c = DC_LIST_ENTRY(it, struct dc_conn, link);
        if (c->cls == &dc_http_class && c->state == NULL && c->out == NULL) {
            dc_conn_close(c);
        } else if (c->cls == &dc_http_class && c->state == NULL) {
            dc_conn_close_flushed(c);
        }
    }
    dc_timer_start(&s->stop_timer, timeout_ms, 0);
    dc_server_check_stopped(s);
}
