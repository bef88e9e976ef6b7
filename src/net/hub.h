/* The hub: topics and their audiences (DESIGN §3 rules 4-6, §5).
 *
 * A topic numbers what it publishes (epoch, offset) and remembers it for those who are behind:
 *   - a LOG topic (chat) keeps the last frames in order, bounded in bytes and count; offsets are
 * the publisher's (message position in the room), strictly increasing;
 *   - a STATE topic (presence, map, typing) keeps the newest frame per key; a newer frame of a key
 *     replaces the older and moves to the end; offsets count changes.
 * A member (WebSocket or SSE connection) holds a cursor into each of its topics, nothing else: no
 * per-member queue exists.  At the end of a turn what a topic published is framed once per encoding
 * into one shared buffer and written once to each member that is up to date and writable; members
 * of several changed topics get one writev.  A member whose socket is full is skipped; when it
 * drains, it is served from its cursor: a LOG in order, a STATE with the newest frame of each key
 * changed since (this is the conflating lane).  If a LOG no longer holds its cursor: closed with
 * 4408 and reason "slow_consumer offset=<last sent>" (the lossless lane's limit). Large audiences
 * are written in slices of at most 1 ms so that HTTP keeps its latency.
 *
 * Frames: payload is one JSON object without its closing brace handled by the caller: the hub
 * appends
 * `,"epoch":"…","offset":N}` itself, so every frame carries the pair (wire: additional fields).
 * Everything on one loop; nothing here calls back. Metrics: frames, bytes, conflated, slow closes.
 */
#ifndef DC_NET_HUB_H
#define DC_NET_HUB_H

#include "base/status.h"
#include "base/strbuf.h"
#include "obs/metrics.h"
#include "rt/loop.h"

struct dc_hub;
struct dc_topic;
struct dc_conn;

struct dc_hub *dc_hub_create(struct dc_loop *loop, struct dc_metrics *metrics);
/* All topics must have been released. */
void dc_hub_destroy(struct dc_hub *h);

enum dc_topic_kind { DC_TOPIC_LOG, DC_TOPIC_STATE };

struct dc_topic_opts {
    enum dc_topic_kind kind;
    struct dc_slice epoch;       /* <= 40 characters; copied; for a LOG that of the database */
    uint64_t first_offset;       /* offset before the first publication */
    size_t max_log_bytes;        /* LOG: kept for slow members; 0: 1 MiB */
    size_t max_log_frames;       /* LOG: likewise; 0: 1024.  Twice both while members that keep up
                                  * have not been served yet */
    size_t max_frames_per_write; /* 0: 512, and 128 KiB; larger backlogs go in several turns */
    bool frames_are_whole; /* json_open is a whole object that carries a cursor of its own: the hub
                            * appends nothing */
};
struct dc_topic *dc_topic_create(struct dc_hub *h, const struct dc_topic_opts *opts);
/* Members are detached, not closed. */
void dc_topic_destroy(struct dc_topic *t);

struct dc_slice dc_topic_epoch(const struct dc_topic *t);
/* Offset of the newest publication. */
uint64_t dc_topic_offset(const struct dc_topic *t);
size_t dc_topic_member_count(const struct dc_topic *t);

/* LOG: json_open is the object up to but without its last '}'.  An offset that does not exceed the
 * last one is ignored (and counted): it has been published before. Copied; line breaks, which JSON
 * allows between its tokens, become blanks. */
void dc_topic_publish(struct dc_topic *t, uint64_t offset, struct dc_slice json_open);
#define DC_TOPIC_KEY_MAX 300u
/* STATE: the newest frame of key. key is copied; it may be empty.  More than DC_TOPIC_KEY_MAX bytes
 * is our own mistake: what comes from outside is bounded before. */
void dc_topic_set(struct dc_topic *t, struct dc_slice key, struct dc_slice json_open);
/* STATE: this key is no part of resumption any more (its last frame has been an ending such as
 * offline or leave and everybody up to date has it): sent like set, then forgotten by and by.
 * Members that resume from before get it as long as it is remembered: the last 1024 endings are, or
 * as many as there are live keys. A cursor from before the newest forgotten ending cannot be
 * resumed (dc_topic_can_resume), and a member so far behind is closed like a slow member of a LOG.
 */
void dc_topic_end(struct dc_topic *t, struct dc_slice key, struct dc_slice json_open);

/* Adds c, starting after offset `from` (dc_topic_offset() for "only what is new").  What lies
 * between is delivered at the end of the turn, behind what has been sent to c alone so far. A
 * `from` ahead of the topic is right, too (the database knows more than the relay): c gets what
 * follows it. A `from` that is held no longer (dc_topic_can_resume): c is closed with 4408. Joining
 * twice changes nothing, joining with a connection that is being closed neither.
 *
 * Of the topics of one connection those that it has joined last are written first; what a LOG has
 * for it is written to the end, over several turns if need be, before those joined earlier: so
 * frames of a topic joined before a LOG may speak of the LOG's offset when they were published. */
void dc_topic_join(struct dc_topic *t, struct dc_conn *c, uint64_t from);
void dc_topic_leave(struct dc_topic *t, struct dc_conn *c);
/* A cursor from outside: same epoch, not ahead of us, and everything after it is still held. */
bool dc_topic_can_resume(const struct dc_topic *t, struct dc_slice epoch, uint64_t offset);
/* While held, a member gets nothing from this topic (its replay is being read from the database);
 * its cursor moves to `from` on release. `from` may be ahead of the topic, when the database knew
 * more than this process has heard: frames up to it are left out. */
void dc_topic_hold(struct dc_topic *t, struct dc_conn *c);
void dc_topic_release(struct dc_topic *t, struct dc_conn *c, uint64_t from);

/* How far c has been served: its cursor; the topic's offset when it is no member or held. For the
 * cursor of unicast frames, which must not be ahead of what their receiver has. */
uint64_t dc_topic_member_offset(const struct dc_topic *t, const struct dc_conn *c);

/* Writes the ending with epoch and offset that topic frames carry: for unicast frames (snapshots).
 */
void dc_topic_write_cursor(const struct dc_topic *t, uint64_t offset, struct dc_strbuf *json_open);

/* Called by net when a connection drains or closes. */
void dc_hub_conn_drained(struct dc_conn *c);
void dc_hub_conn_closed(struct dc_conn *c);

#endif
