/* What is said to JetStream and what it says: texts and numbers only, no connection.  Source:
 * JetStream API of nats-server 2.9 ($JS.API.…, ADR-1, ADR-15). */
#ifndef DC_BUS_NATS_WIRE_H
#define DC_BUS_NATS_WIRE_H

#include "base/json.h"
#include "bus/bus.h"

/* Ids within this window make sending again harmless; for streams whose row wants none. */
#define DC_NATS_RESEND_WINDOW_MS (UINT64_C(120) * 1000)

/* Where a delivered message stands: its reply subject. */
struct dc_nats_meta {
    uint64_t deliveries, stream_sequence, consumer_sequence;
    uint64_t pending; /* stored, matching, and not delivered yet */
};
/* $JS.ACK.<stream>.<consumer>.<deliveries>.<stream sequence>.<consumer sequence>.<time>.<pending>,
 * or the longer form with domain and account in front. */
DC_MUST_USE bool dc_nats_meta_parse(struct dc_slice reply, struct dc_nats_meta *out);

/* Body of STREAM.CREATE: the stream as its row wants it. */
void dc_nats_stream_write(struct dc_strbuf *out, const struct dc_bus_stream *row,
                          uint64_t replicas);
/* Body of STREAM.UPDATE: config, which is what the server has, with the row's subjects besides its
 * own (or instead of those that they contain). */
void dc_nats_stream_extend(struct dc_strbuf *out, const struct dc_bus_stream *row,
                           const json_t *config);
/* config is what the server has.  DC_CONFIG names the stream, the setting and both values;
 * *has_subjects: nothing is missing. */
DC_MUST_USE enum dc_status dc_nats_stream_check(const struct dc_bus_stream *row, uint64_t replicas,
                                                const json_t *config, bool *has_subjects,
                                                struct dc_error *err);

enum dc_nats_policy { DC_NATS_FROM_SEQUENCE, DC_NATS_LAST_PER_SUBJECT };
struct dc_nats_start {
    enum dc_nats_policy policy;
    uint64_t sequence; /* FROM_SEQUENCE: at least 1 */
};
/* Body of CONSUMER.CREATE: pushed to deliver_to, in order, not acknowledged, with flow control;
 * gone with its listener. */
void dc_nats_ordered_write(struct dc_strbuf *out, const char *stream, struct dc_slice pattern,
                           struct dc_slice deliver_to, struct dc_nats_start start);
#define DC_NATS_HEARTBEAT_MS 2000
/* Body of CONSUMER.DURABLE.CREATE: pulled, acknowledged one by one. */
void dc_nats_durable_write(struct dc_strbuf *out, const char *stream, struct dc_slice name,
                           struct dc_slice pattern, struct dc_nats_start start,
                           uint64_t ack_wait_ms, uint64_t max_in_flight);
/* Body of CONSUMER.MSG.NEXT. */
void dc_nats_pull_write(struct dc_strbuf *out, uint64_t batch);
#define DC_NATS_PULL_EXPIRES_MS   30000
#define DC_NATS_PULL_HEARTBEAT_MS 2000

/* A whole number in an object; 0 when it is missing or negative. */
uint64_t dc_nats_number(const json_t *object, const char *key_z);

/* What an answer of the API or an acknowledgement of publishing means: DC_OK, or the error in it,
 * with the server's error code as cause.  DC_UNAVAILABLE may pass by itself. */
DC_MUST_USE enum dc_status dc_nats_answer_check(const json_t *answer, struct dc_error *err);
#define DC_NATS_ERR_CONSUMER_NOT_FOUND 10014
#define DC_NATS_ERR_STREAM_EXISTS      10058
#define DC_NATS_ERR_STREAM_NOT_FOUND   10059

#endif
