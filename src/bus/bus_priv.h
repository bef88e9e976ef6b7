/* Inside of the bus port: what a backend offers.  bus.c has checked the arguments. */
#ifndef DC_BUS_BUS_PRIV_H
#define DC_BUS_BUS_PRIV_H

#include "bus/bus.h"
#include "bus/subjects.h"

struct dc_bus_backend {
    void (*close)(struct dc_bus *bus, void (*closed)(void *data), void *data);
    enum dc_status (*publish)(struct dc_bus *bus, struct dc_slice subject, struct dc_slice id,
                              struct dc_slice payload, dc_bus_publish_cb cb, void *data,
                              struct dc_op **op);
    /* subject is plain. */
    enum dc_status (*say)(struct dc_bus *bus, struct dc_slice subject, struct dc_slice payload);
    /* stream NULL: plain subjects. */
    enum dc_status (*subscribe)(struct dc_bus *bus, const struct dc_bus_sub_opts *opts,
                                const struct dc_bus_stream *stream, dc_bus_cb cb, void *data,
                                struct dc_bus_sub **out, struct dc_error *err);
    void (*unsubscribe)(struct dc_bus_sub *sub);
    void (*ack)(struct dc_bus_ack *ack, bool done);
    /* subject belongs to stream. */
    enum dc_status (*forget)(struct dc_bus *bus, const struct dc_bus_stream *stream,
                             struct dc_slice subject);
    void (*on_ready)(struct dc_bus *bus, void (*ready)(void *data, const struct dc_error *err),
                     void *data);
};

/* First members of every backend's own structs. */
struct dc_bus {
    const struct dc_bus_backend *backend;
    const struct dc_bus_stream *streams;
    size_t n_streams;
    struct dc_counter *published, *failed;
    struct dc_counter *delivered, *redelivered, *duplicates;
    struct dc_gauge *outgoing;
};
struct dc_bus_sub {
    const struct dc_bus_backend *backend;
};
struct dc_bus_ack {
    const struct dc_bus_backend *backend;
};

/* What all backends have in common. */
void dc_bus_init(struct dc_bus *bus, const struct dc_bus_backend *backend,
                 const struct dc_bus_opts *opts);
enum dc_status dc_bus_memory_open(struct dc_loop *loop, const struct dc_bus_opts *opts,
                                  struct dc_bus **out, struct dc_error *err);
enum dc_status dc_bus_nats_open(struct dc_loop *loop, const struct dc_bus_opts *opts,
                                struct dc_bus **out, struct dc_error *err);

#endif
