/* Inside of the hub: topics, memberships, what a topic remembers.  hub.c is the interface,
 * hub_store.c the memory of a topic, hub_flush.c the writing. */
#ifndef DC_NET_HUB_PRIV_H
#define DC_NET_HUB_PRIV_H

#include "base/map.h"
#include "net/hub.h"
#include "net/stream_priv.h"

/* A batch for one socket is cut at this size (but holds at least one frame). */
#define DC_BATCH_MAX_BYTES ((size_t)128 * 1024)
/* Batches kept during a flush: the common cursor, and a few of those who were behind. */
#define DC_TOPIC_BATCHES 4u
#define DC_EPOCH_MAX     40u
#define DC_TAIL_MAX      (DC_EPOCH_MAX + 32u) /* ,"epoch":"…","offset": */

/* One socket in one topic.  What a flush needs lies in the topic's array of seats, one after the
 * other; the rest is here. */
struct dc_member {
    struct dc_topic *topic;
    struct dc_member *next; /* of the same connection */
    uint32_t index;         /* of its seat */
};

/* Cursor of a member that is held: it is never behind. */
#define DC_CURSOR_HELD UINT64_MAX

struct dc_seat {
    struct dc_conn *conn;
    uint64_t cursor; /* everything up to this offset has been handed to the socket */
    struct dc_member *member;
};

struct dc_log_frame {
    uint64_t offset;
    char *json;
    size_t len;
};

/* Ring of the last frames of a LOG; cap is a power of two. */
struct dc_log_store {
    struct dc_log_frame *frames;
    size_t first, count, cap, bytes;
    size_t max_count, max_bytes;
};

/* Newest frame of one key of a STATE; key, then JSON, lie behind it. */
struct dc_state_entry {
    struct dc_list link;   /* of dc_state_store.entries */
    struct dc_list ending; /* of dc_state_store.endings; alone: the key is live */
    uint64_t offset;
    uint32_t json_len, json_cap;
    uint32_t key_len;
    char bytes[];
};

struct dc_state_store {
    struct dc_map by_key;
    struct dc_list entries; /* ascending offsets */
    struct dc_list endings; /* likewise */
    size_t ending_count;
};

/* Frames after `from` up to `to`, encoded once. */
struct dc_batch {
    struct dc_blob *blob; /* NULL: unused */
    uint64_t from, to;
    uint64_t version;
    uint32_t frames;
    enum dc_stream_encoding encoding;
};

struct dc_topic {
    struct dc_hub *hub;
    struct dc_list link;   /* of dc_hub.topics */
    struct dc_list dirty;  /* of dc_hub.dirty: has published since the last flush */
    struct dc_list cached; /* of dc_hub.cached: holds batches */
    enum dc_topic_kind kind;
    uint64_t offset;  /* of the newest publication */
    uint64_t floor;   /* a cursor below it has lost something */
    uint64_t settled; /* no writable member is below it: what lies behind may be forgotten */
    uint64_t version; /* counts publications: batches of an older one are stale */

    struct dc_seat *seats; /* dense; order does not matter */
    uint32_t member_count, member_cap;

    /* The flush in progress, which may take several turns. */
    bool is_sweeping;
    uint32_t sweep_pos;    /* members before it have been served */
    uint64_t sweep_target; /* offset when it began */
    uint64_t sweep_min;    /* lowest cursor of a writable member so far */
    uint64_t sweep_started_us;

    union {
        struct dc_log_store log;
        struct dc_state_store state;
    } store;
    size_t max_frames_per_write;
    bool frames_are_whole; /* frames carry a cursor already */
    struct dc_batch batches[DC_TOPIC_BATCHES];
    uint32_t next_batch;
    uint8_t epoch_len;
    uint8_t tail_len;
    char epoch[DC_EPOCH_MAX];
    char tail[DC_TAIL_MAX];
};

struct dc_hub {
    struct dc_loop *loop;
    struct dc_turn turn;
    struct dc_list topics;
    struct dc_list dirty;
    struct dc_list cached;
    uint64_t map_seed[2];
    struct dc_gauge *member_count, *fanout_max_us;
    struct dc_counter *published, *stale, *frames, *bytes, *conflated, *slow_closes, *slices;
    struct dc_histogram *fanout;
};

static inline struct dc_seat *dc_member_seat(const struct dc_member *m)
{
    return &m->topic->seats[m->index];
}

/* --- hub_store.c --- */
void dc_store_init(struct dc_topic *t, const struct dc_topic_opts *opts);
void dc_store_deinit(struct dc_topic *t);
/* Appends a frame of a LOG; json_open is completed with epoch and offset. false: no memory. */
DC_MUST_USE bool dc_store_log(struct dc_topic *t, uint64_t offset, struct dc_slice json_open);
/* Forgets what the limits of a LOG do not allow to keep (raises t->floor). */
void dc_store_log_trim(struct dc_topic *t);
/* Sets the newest frame of a key of a STATE. false: no memory. */
DC_MUST_USE bool dc_store_state(struct dc_topic *t, uint64_t offset, struct dc_slice key,
                                struct dc_slice json_open, bool is_ending);

/* The frames after a cursor, in order. */
struct dc_store_iter {
    size_t index;         /* LOG */
    struct dc_list *node; /* STATE */
};
void dc_store_seek(const struct dc_topic *t, uint64_t after, struct dc_store_iter *it);
bool dc_store_next(const struct dc_topic *t, struct dc_store_iter *it, uint64_t *offset,
                   struct dc_slice *json);

/* Writes `,"epoch":"…","offset":N}` (the comma only if has_members); returns its length, at most
 * DC_ENDING_MAX. */
#define DC_ENDING_MAX (DC_TAIL_MAX + 21u)
size_t dc_topic_ending(const struct dc_topic *t, uint64_t offset, struct dc_slice json_open,
                       char out[DC_ENDING_MAX]);

/* --- hub_flush.c --- */
void dc_hub_flush(struct dc_turn *turn);
/* Has the topic flushed at the end of the turn. */
void dc_topic_mark(struct dc_topic *t);
void dc_topic_drop_batches(struct dc_topic *t);
/* What the topics of s have for it, one blob a topic with a reference each, and moves its cursors.
 * *has_more: there is more than a write should hold.  A stream that has lost something is closed
 * as slow and gets nothing. */
size_t dc_hub_collect(struct dc_stream *s, struct dc_blob **out, size_t cap, bool *has_more);

#endif
