/* The inside of the HTTP server, shared by http_*.c only.
 *
 * A connection in HTTP mode has a request as its state while one is being read or answered, else
 * NULL: an idle connection owns nothing.  What a read produces is collected in server->batch and
 * written once at the end of that read ("corked").  Requests that end outside a read are put on
 * server->ready and dealt with at the end of the turn, so no handler is ever entered from inside
 * another handler's answer. */
#ifndef DC_NET_HTTP_INSIDE_H
#define DC_NET_HTTP_INSIDE_H

#include "base/address.h"
#include "base/ulid.h"
#include "net/http_parse.h"
#include "net/http_priv.h"
#include "net/http_target.h"
#include "net/router_priv.h"

enum dc_http_state {
    DC_HTTP_READING,   /* head or body are arriving */
    DC_HTTP_HANDED,    /* a handler has it */
    DC_HTTP_STREAMING, /* answered in pieces, not yet ended */
    DC_HTTP_STALLED,   /* not begun: the peer must first take what has been answered */
    DC_HTTP_OVER,      /* answered (or never begun): kept bytes go on as the next request */
    DC_HTTP_HANDOVER   /* detached: kept bytes go to the connection's new mode */
};

enum dc_http_phase { DC_HTTP_PHASE_NONE, DC_HTTP_PHASE_HEAD, DC_HTTP_PHASE_BODY };

#define DC_HTTP_ID_MAX 64

struct dc_http_request {
    struct dc_list link;          /* of server->ready or server->free_requests */
    struct dc_http_request *self; /* for what const accessors work out on first use */
    struct dc_server *server;
    struct dc_conn *conn; /* NULL: the client has gone */
    enum dc_http_state state;
    enum dc_http_phase phase; /* whose timeout is running */
    enum dc_http_method method;
    bool is_fed;     /* the read loop is working on it */
    bool has_head;   /* method, target and id are set */
    bool is_counted; /* in the in-flight gauge */
    bool is_answered;
    bool close_after;       /* the connection ends with this answer */
    bool has_retry_after;   /* set by the handler */
    bool is_stream_chunked; /* else the end of the connection ends the body */
    bool is_stream_mute;    /* HEAD */
    uint8_t id_len, peer_len;
    int answer_status;
    uint64_t start_us;
    void (*gone)(void *data);
    void *gone_data;
    const char *code;   /* of an error, for the log; static */
    const char *reason; /* of a refusal; static */
    json_t *json;       /* of dc_http_read_json */
    struct dc_http_parse parse;
    struct dc_http_target target;
    struct dc_router_match match;
    struct dc_arena arena;
    struct dc_strbuf body;
    struct dc_strbuf kept; /* bytes behind this request */
    struct dc_strbuf headers;
    char id[DC_HTTP_ID_MAX];
    char peer[DC_ADDRESS_MAX];
};

struct dc_server {
    struct dc_conn_host host; /* first: the connections' host is the server */
    const struct dc_router *router;
    struct dc_log *log;
    char *name;
    char *cors_origins;
    char *trusted_proxies; /* NULL: none */
    struct dc_http_limits limits;
    size_t max_connections;
    struct dc_places *places; /* of addresses */
    size_t n_refused;         /* connections of dc_http_refuse_class */
    struct dc_timeouts *head_timeouts, *body_timeouts, *idle_timeouts;

    uv_poll_t listener;
    int listen_fd, reserve_fd;
    uint16_t port;
    struct dc_timer accept_timer; /* accepting pauses while no descriptor can be had */
    struct dc_timer stop_timer;
    size_t open_handles; /* of the three above */
    bool is_stopping, is_cutting, is_closing, is_stopped;
    void (*stopped)(void *data);
    void *stopped_data;

    struct dc_turn turn;
    struct dc_list ready, free_requests;
    size_t n_free, n_taken;
    struct dc_conn *corked;
    struct dc_strbuf batch, scratch;

    struct dc_ulid_gen ulid;
    int64_t id_ms; /* of the last request id made */
    char id[DC_ULID_LEN + 1];
    int64_t utc_ms, utc_at_ms; /* wall clock, and the loop's time when it was read */
    int64_t date_s;
    char date[40]; /* "Date: ...\r\n" */
    size_t date_len;

    struct dc_counter *requests[5]; /* 1xx .. 5xx */
    struct dc_counter *accepted, *refused_connections;
    struct dc_gauge *connections, *in_flight;
    struct dc_histogram *duration;
};

extern const struct dc_conn_class dc_http_class;
/* For connections past the limit: reads are thrown away. */
extern const struct dc_conn_class dc_http_refuse_class;

static inline struct dc_server *dc_http_server_of(const struct dc_conn *c)
{
    return DC_CONTAINER_OF(c->host, struct dc_server, host);
}

/* --- http_server.c --- */
/* The server may be at its end: the last connection or request has gone. */
void dc_server_check_stopped(struct dc_server *s);
/* Wall-clock time to about a millisecond, without asking the system each time. */
struct dc_utc dc_server_now(struct dc_server *s);
/* The cached Date line of this second. */
struct dc_slice dc_server_date_line(struct dc_server *s);

/* --- http_request.c --- */
void dc_http_turn(struct dc_turn *turn);
void dc_http_free_requests(struct dc_server *s);
/* The answer is complete: counts and logs; the connection goes on or ends. */
void dc_http_finish(struct dc_http_request *r);

/* --- http_reply.c --- */
/* A protocol error: error answer, then the connection ends. */
void dc_http_refuse(struct dc_http_request *r, enum dc_status status, const char *reason);
void dc_http_make_id(struct dc_http_request *r);

/* --- http_cors.c --- */
/* Vary and Access-Control lines of any answer. */
void dc_http_cors_lines(const struct dc_http_request *r, struct dc_strbuf *out);
/* Answers OPTIONS for a path with these methods. */
void dc_http_answer_options(struct dc_http_request *r, unsigned allowed);
/* "GET, HEAD, POST" */
void dc_http_write_methods(unsigned methods, struct dc_strbuf *out);

#endif
