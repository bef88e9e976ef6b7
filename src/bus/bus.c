/* Bus port: checks arguments, finds the stream, and hands over to the backend. */
#include "bus/bus_priv.h"

enum dc_status dc_bus_open(struct dc_loop *loop, const struct dc_bus_opts *opts,
                           struct dc_bus **out, struct dc_error *err)
{
    *out = NULL;
    return opts->url == NULL ? dc_bus_memory_open(loop, opts, out, err)
                             : dc_bus_nats_open(loop, opts, out, err);
}

void dc_bus_init(struct dc_bus *bus, const struct dc_bus_backend *backend,
                 const struct dc_bus_opts *opts)
{
    bus->backend = backend;
    bus->streams = opts->streams == NULL ? dc_bus_streams : opts->streams;
    bus->n_streams = opts->streams == NULL ? dc_bus_stream_count : opts->n_streams;
    bus->published = dc_metrics_counter(opts->metrics, "daarion_bus_published_total", NULL,
                                        "Messages accepted for publishing");
    bus->failed = dc_metrics_counter(opts->metrics, "daarion_bus_publish_failed_total", NULL,
                                     "Messages refused or given up");
    bus->delivered = dc_metrics_counter(opts->metrics, "daarion_bus_delivered_total", NULL,
                                        "Messages handed to subscribers");
    bus->redelivered = dc_metrics_counter(opts->metrics, "daarion_bus_redelivered_total", NULL,
                                          "Messages handed to a durable consumer again");
    bus->duplicates = dc_metrics_counter(opts->metrics, "daarion_bus_duplicates_total", NULL,
                                         "Messages dropped because their id was known");
    bus->outgoing = dc_metrics_gauge(opts->metrics, "daarion_bus_outgoing", NULL,
                                     "Messages published and not yet handed on");
}

void dc_bus_on_ready(struct dc_bus *bus, void (*ready)(void *data, const struct dc_error *err),
                     void *data)
{
    bus->backend->on_ready(bus, ready, data);
}

void dc_bus_close(struct dc_bus *bus, void (*closed)(void *data), void *data)
{
    bus->backend->close(bus, closed, data);
}

/* It travels in a header. */
static bool is_good_id(struct dc_slice id)
{
    for (size_t i = 0; i < id.len; i++) {
        if ((unsigned char)id.ptr[i] < ' ' || id.ptr[i] == 0x7f) {
            return false;
        }
    }
    return id.len <= DC_BUS_ID_MAX_BYTES;
}

enum dc_status dc_bus_publish(struct dc_bus *bus, struct dc_slice subject, struct dc_slice id,
                              struct dc_slice payload, dc_bus_publish_cb cb, void *data,
                              struct dc_op **op)
{
    struct dc_op *unused = NULL;
    struct dc_op **out = op == NULL ? &unused : op;
    *out = NULL;
    enum dc_status st = DC_OK;
    if (!dc_bus_subject_is_valid(subject) || !is_good_id(id)) {
        st = DC_INVALID;
    } else if (payload.len > DC_BUS_PAYLOAD_MAX_BYTES) {
        st = DC_TOO_LARGE;
    } else {
        st = bus->backend->publish(bus, subject, id, payload, cb, data, out);
    }
    (st == DC_OK ? bus->published : bus->failed)->value++;
    return st;
}

enum dc_status dc_bus_say(struct dc_bus *bus, struct dc_slice subject, struct dc_slice payload)
{
    enum dc_status st = DC_OK;
    if (!dc_bus_subject_is_valid(subject) ||
        dc_bus_stream_of_subject(bus->streams, bus->n_streams, subject) != NULL) {
        st = DC_INVALID;
    } else if (payload.len > DC_BUS_PAYLOAD_MAX_BYTES) {
        st = DC_TOO_LARGE;
    } else {
        st = bus->backend->say(bus, subject, payload);
    }
    (st == DC_OK ? bus->published : bus->failed)->value++;
    return st;
}

enum dc_status dc_bus_forget(struct dc_bus *bus, struct dc_slice subject)
{
    const struct dc_bus_stream *stream = NULL;
    if (dc_bus_subject_is_valid(subject)) {
        stream = dc_bus_stream_of_subject(bus->streams, bus->n_streams, subject);
    }
    return stream == NULL ? DC_INVALID : bus->backend->forget(bus, stream, subject);
}

enum dc_status dc_bus_subscribe(struct dc_bus *bus, const struct dc_bus_sub_opts *opts,
                                dc_bus_cb cb, void *data, struct dc_bus_sub **out,
                                struct dc_error *err)
{
    *out = NULL;
    if (!dc_bus_pattern_is_valid(opts->pattern)) {
        return dc_fail(err, DC_INVALID, 0, "bus: the pattern is malformed");
    }
    const struct dc_bus_stream *stream = NULL;
    if (!dc_bus_stream_of_pattern(bus->streams, bus->n_streams, opts->pattern, &stream)) {
        return dc_fail(err, DC_INVALID, 0, "bus: the pattern reaches into a stream but not only");
    }
    if (opts->start == DC_BUS_LIVE && (stream == NULL || !stream->has_live)) {
        return dc_fail(err, DC_UNSUPPORTED, 0, "bus: nothing is live there");
    }
    if (opts->durable != NULL) {
        size_t len = strlen(opts->durable);
        if (len == 0 || len > DC_BUS_SUBJECT_MAX_BYTES) {
            return dc_fail(err, DC_INVALID, 0, "bus: the name of a durable consumer is invalid");
        }
        if (stream == NULL || opts->start == DC_BUS_LIVE) {
            return dc_fail(err, DC_UNSUPPORTED, 0,
                           "bus: durable consumers need a stream, from a place in it");
        }
    }
    return bus->backend->subscribe(bus, opts, stream, cb, data, out, err);
}

void dc_bus_unsubscribe(struct dc_bus_sub *sub)
{
    if (sub != NULL) {
        sub->backend->unsubscribe(sub);
    }
}

void dc_bus_ack(struct dc_bus_ack *ack, bool done)
{
    ack->backend->ack(ack, done);
}
