/* See faulty_bus.h. */
#include "faulty_bus.h"

#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct accepted {
    struct dc_op op;
    struct dc_list link;
    struct faulty_bus *f;
    enum dc_status st;
    dc_bus_publish_cb cb;
    void *data;
    struct dc_slice subject, id, payload;
    char texts[];
};

static struct faulty_bus *faulty_of(struct dc_bus *bus)
{
    return DC_CONTAINER_OF(bus, struct faulty_bus, bus);
}

static void fail_later(struct accepted *a, enum dc_status st)
{
    a->st = st;
    dc_list_remove(&a->link);
    dc_list_push_back(&a->f->failing, &a->link);
    dc_turn_schedule(a->f->loop, &a->f->turn);
}

static void cancel(struct dc_op *op)
{
    struct accepted *a = DC_CONTAINER_OF(op, struct accepted, op);
    if (a->st == DC_OK) { /* stalled */
        a->f->n_stalled--;
        fail_later(a, DC_CANCELED);
    }
}

static void on_turn(struct dc_turn *turn)
{
    struct faulty_bus *f = DC_CONTAINER_OF(turn, struct faulty_bus, turn);
    struct dc_list now;
    dc_list_init(&now);
    dc_list_move_all(&now, &f->failing);
    while (!dc_list_is_empty(&now)) {
        struct accepted *a = DC_LIST_ENTRY(now.next, struct accepted, link);
        struct dc_error err = {0};
        dc_list_remove(&a->link);
        (void)dc_fail(&err, a->st, 0, "the bus has lost it");
        if (a->cb != NULL) {
            a->cb(a->data, a->st, 0, &err);
        }
        dc_free(a);
    }
}

static struct accepted *take_in(struct faulty_bus *f, struct dc_slice subject, struct dc_slice id,
                                struct dc_slice payload, dc_bus_publish_cb cb, void *data)
{
    struct accepted *a = dc_calloc(1, sizeof(*a) + subject.len + id.len + payload.len);
    const struct dc_slice from[] = {subject, id, payload};
    struct dc_slice *const to[] = {&a->subject, &a->id, &a->payload};
    char *at = a->texts;
    a->op.cancel = cancel;
    a->f = f;
    a->cb = cb;
    a->data = data;
    dc_list_init(&a->link);
    for (size_t i = 0; i < DC_ARRAY_LEN(from); i++) {
        if (from[i].len > 0) {
            memcpy(at, from[i].ptr, from[i].len);
        }
        *to[i] = dc_slice_make(at, from[i].len);
        at += from[i].len;
    }
    return a;
}

static bool meets_fault(struct faulty_bus *f)
{
    if (f->fault == FAULT_NONE || f->count == 0) {
        return false;
    }
    if (f->skip > 0) {
        f->skip--;
        return false;
    }
    f->count -= f->count == SIZE_MAX ? 0 : 1;
    return true;
}

static enum dc_status faulty_publish(struct dc_bus *bus, struct dc_slice subject,
                                     struct dc_slice id, struct dc_slice payload,
                                     dc_bus_publish_cb cb, void *data, struct dc_op **op)
{
    struct faulty_bus *f = faulty_of(bus);
    f->n_published++;
    if (!meets_fault(f)) {
        return dc_bus_publish(f->inner, subject, id, payload, cb, data, op);
    }
    if (f->fault == FAULT_REFUSE) {
        return DC_UNAVAILABLE;
    }
    if (f->fault == FAULT_INVALID) {
        return DC_TOO_LARGE;
    }
    struct accepted *a = take_in(f, subject, id, payload, cb, data);
    *op = cb != NULL ? &a->op : NULL;
    if (f->fault == FAULT_STALL) {
        dc_list_push_back(&f->stalled, &a->link);
        f->n_stalled++;
        return DC_OK;
    }
    if (f->fault == FAULT_NO_ACK) {
        assert_int_equal(dc_bus_publish(f->inner, subject, id, payload, NULL, NULL, NULL), DC_OK);
    }
    fail_later(a, f->fault == FAULT_NO_ACK ? DC_TIMEOUT : DC_UNAVAILABLE);
    return DC_OK;
}

struct faulty_sub {
    struct dc_bus_sub base;
    struct dc_list link;
    struct dc_bus_sub *inner;
    void (*interrupted)(void *data);
    void *data;
};

static enum dc_status faulty_subscribe(struct dc_bus *bus, const struct dc_bus_sub_opts *opts,
                                       const struct dc_bus_stream *stream, dc_bus_cb cb, void *data,
                                       struct dc_bus_sub **out, struct dc_error *err)
{
    struct faulty_bus *f = faulty_of(bus);
    struct faulty_sub *s = dc_calloc(1, sizeof(*s));
    (void)stream;
    s->base.backend = bus->backend;
    s->interrupted = opts->interrupted;
    s->data = data;
    enum dc_status st = dc_bus_subscribe(f->inner, opts, cb, data, &s->inner, err);
    if (st != DC_OK) {
        dc_free(s);
        return st;
    }
    dc_list_push_back(&f->subs, &s->link);
    *out = &s->base;
    return DC_OK;
}

static void faulty_unsubscribe(struct dc_bus_sub *sub)
{
    struct faulty_sub *s = DC_CONTAINER_OF(sub, struct faulty_sub, base);
    dc_bus_unsubscribe(s->inner);
    dc_list_remove(&s->link);
    dc_free(s);
}

static enum dc_status faulty_say(struct dc_bus *bus, struct dc_slice subject,
                                 struct dc_slice payload)
{
    struct dc_op *none = NULL;
    return faulty_publish(bus, subject, DC_SLICE_NULL, payload, NULL, NULL, &none);
}

static const struct dc_bus_backend faulty_backend = {.publish = faulty_publish,
                                                     .say = faulty_say,
                                                     .subscribe = faulty_subscribe,
                                                     .unsubscribe = faulty_unsubscribe};

struct faulty_bus *faulty_open(struct dc_loop *loop, struct dc_metrics *metrics)
{
    struct faulty_bus *f = dc_calloc(1, sizeof(*f));
    const struct dc_bus_opts opts = {.metrics = metrics};
    assert_int_equal(dc_bus_open(loop, &opts, &f->inner, NULL), DC_OK);
    dc_bus_init(&f->bus, &faulty_backend, &opts);
    f->loop = loop;
    dc_turn_init(&f->turn, on_turn);
    dc_list_init(&f->failing);
    dc_list_init(&f->stalled);
    dc_list_init(&f->subs);
    return f;
}

void faulty_close(struct faulty_bus *f, void (*closed)(void *data), void *data)
{
    assert_true(dc_list_is_empty(&f->failing) && dc_list_is_empty(&f->stalled) &&
                dc_list_is_empty(&f->subs));
    dc_turn_cancel(&f->turn);
    dc_bus_close(f->inner, closed, data);
    dc_free(f);
}

void faulty_set(struct faulty_bus *f, enum fault fault, size_t skip, size_t count)
{
    f->fault = fault;
    f->skip = skip;
    f->count = count;
}

void faulty_release(struct faulty_bus *f)
{
    f->fault = FAULT_NONE;
    while (!dc_list_is_empty(&f->stalled)) {
        struct accepted *a = DC_LIST_ENTRY(f->stalled.next, struct accepted, link);
        dc_list_remove(&a->link);
        f->n_stalled--;
        assert_int_equal(
            dc_bus_publish(f->inner, a->subject, a->id, a->payload, a->cb, a->data, NULL), DC_OK);
        dc_free(a);
    }
}

void faulty_interrupt(struct faulty_bus *f)
{
    DC_LIST_FOREACH_SAFE (it, &f->subs) {
        struct faulty_sub *s = DC_LIST_ENTRY(it, struct faulty_sub, link);
        if (s->interrupted != NULL) {
            s->interrupted(s->data);
        }
    }
}
