/* What WebSocket and SSE connections have in common: output of one turn is collected and leaves in
 * one writev at its end (DESIGN §3 rule 4).  First come the bytes meant for this socket alone, in
 * the order they were produced, then the frames of its topics; so a snapshot that was sent before
 * joining a topic precedes the topic's frames.
 *
 * A stream is the first member of the mode's state (dc_conn.state).  Internal to net. */
#ifndef DC_NET_STREAM_PRIV_H
#define DC_NET_STREAM_PRIV_H

#include "net/conn.h"

/* A turn gives way to other I/O after this long. */
#define DC_SLICE_US      1000u
#define DC_SLICE_MEMBERS 64u /* between two looks at the clock */

enum dc_stream_encoding { DC_STREAM_WS, DC_STREAM_SSE, DC_STREAM_ENCODINGS };

struct dc_stream;
struct dc_pending;

/* What all streams of one kind on one loop share; part of struct dc_ws_hub and dc_sse_hub. */
struct dc_streams {
    struct dc_loop *loop;
    struct dc_turn turn;
    struct dc_list dirty; /* of dc_stream.dirty: has pending bytes or is behind a topic */
    enum dc_stream_encoding encoding;
    /* A topic has lost frames that s has not got; offset: the last one it got.  Must take s out of
     * its topics (dc_hub_conn_closed) before it returns. */
    void (*close_slow)(struct dc_stream *s, uint64_t offset);
};

struct dc_stream {
    struct dc_conn *conn;
    struct dc_streams *set;
    /* Bytes of this turn for this stream alone; NULL: none (conn->has_pending says so, too). */
    struct dc_pending *pending;
    struct dc_list dirty;
    bool is_ended; /* nothing may follow what has been produced so far */
};

void dc_streams_init(struct dc_streams *set, struct dc_loop *loop, enum dc_stream_encoding encoding,
                     void (*close_slow)(struct dc_stream *s, uint64_t offset));
/* All streams must have gone. */
void dc_streams_deinit(struct dc_streams *set);

void dc_stream_init(struct dc_stream *s, struct dc_streams *set);
/* Drops what is pending. */
void dc_stream_deinit(struct dc_stream *s);
/* Sees to it that dc_stream_serve() runs at the end of the turn. */
void dc_stream_mark(struct dc_stream *s);
/* Room for n bytes behind what is pending; to be filled by the caller at once.  NULL: no memory,
 * the connection is closed. */
char *dc_stream_append(struct dc_stream *s, size_t n);
/* A shared blob behind what is pending; takes its own reference. */
void dc_stream_append_blob(struct dc_stream *s, struct dc_blob *b);
/* Writes now what is pending and what the topics have for it. */
void dc_stream_serve(struct dc_stream *s);
/* Writes now what is pending, without the topics. */
void dc_stream_flush(struct dc_stream *s);

#endif
