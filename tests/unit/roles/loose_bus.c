#include "loose_bus.h"

#include "base/list.h"
#include "base/mem.h"
#include "bus/bus_priv.h"

struct loose_bus {
    struct dc_bus bus; /* first */
    struct dc_bus *inner;
    struct dc_list subs;
    bool is_cut;
};

struct loose_sub {
    struct dc_bus_sub sub; /* first */
    struct dc_list link;
    struct loose_bus *bus;
    struct dc_bus_sub *inner;
    struct dc_bus_sub_opts opts;
    dc_bus_cb cb;
    void *data;
    bool is_interrupted; /* to be told when it is mended */
    char pattern[DC_BUS_SUBJECT_MAX_BYTES + 1];
};

static enum dc_status loose_publish(struct dc_bus *bus, struct dc_slice subject, struct dc_slice id,
                                    struct dc_slice payload, dc_bus_publish_cb cb, void *data,
                                    struct dc_op **op)
{
    struct loose_bus *b = (struct loose_bus *)bus;
    DC_ASSERT(cb == NULL); /* presence publishes fire and forget */
    return b->is_cut ? DC_OK : dc_bus_publish(b->inner, subject, id, payload, cb, data, op);
}

static enum dc_status loose_forget(struct dc_bus *bus, const struct dc_bus_stream *stream,
                                   struct dc_slice subject)
{
    struct loose_bus *b = (struct loose_bus *)bus;
    (void)stream;
    return b->is_cut ? DC_OK : dc_bus_forget(b->inner, subject);
}

static void on_message(void *data, const struct dc_bus_message *m)
{
    const struct loose_sub *s = data;
    if (!s->bus->is_cut) {
        s->cb(s->data, m);
    }
}

static void on_caught_up(void *data)
{
    const struct loose_sub *s = data;
    if (s->opts.caught_up != NULL) {
        s->opts.caught_up(s->data);
    }
}

static enum dc_status loose_subscribe(struct dc_bus *bus, const struct dc_bus_sub_opts *opts,
                                      const struct dc_bus_stream *stream, dc_bus_cb cb, void *data,
                                      struct dc_bus_sub **out, struct dc_error *err)
{
    struct loose_bus *b = (struct loose_bus *)bus;
    struct loose_sub *s = dc_calloc(1, sizeof(*s));
    struct dc_bus_sub_opts inner = *opts;
    (void)stream;
    s->sub.backend = bus->backend;
    s->bus = b;
    s->opts = *opts;
    s->cb = cb;
    s->data = data;
    memcpy(s->pattern, opts->pattern.ptr, opts->pattern.len);
    inner.caught_up = on_caught_up;
    inner.interrupted = NULL;
    inner.ended = NULL;
    enum dc_status st = dc_bus_subscribe(b->inner, &inner, on_message, s, &s->inner, err);
    if (st != DC_OK) {
        dc_free(s);
        return st;
    }
    dc_list_push_back(&b->subs, &s->link);
    *out = &s->sub;
    return DC_OK;
}

static void loose_unsubscribe(struct dc_bus_sub *sub)
{
    struct loose_sub *s = (struct loose_sub *)sub;
    dc_bus_unsubscribe(s->inner);
    dc_list_remove(&s->link);
    dc_free(s);
}

static enum dc_status loose_say(struct dc_bus *bus, struct dc_slice subject,
                                struct dc_slice payload)
{
    struct dc_op *none = NULL;
    return loose_publish(bus, subject, DC_SLICE_NULL, payload, NULL, NULL, &none);
}

static const struct dc_bus_backend backend = {
    .publish = loose_publish,
    .say = loose_say,
    .subscribe = loose_subscribe,
    .unsubscribe = loose_unsubscribe,
    .forget = loose_forget,
};

struct dc_bus *loose_bus_open(struct dc_bus *inner, struct dc_metrics *metrics)
{
    struct loose_bus *b = dc_calloc(1, sizeof(*b));
    const struct dc_bus_opts opts = {.metrics = metrics};
    dc_bus_init(&b->bus, &backend, &opts);
    b->inner = inner;
    dc_list_init(&b->subs);
    return &b->bus;
}

void loose_bus_free(struct dc_bus *bus)
{
    DC_ASSERT(dc_list_is_empty(&((struct loose_bus *)bus)->subs));
    dc_free(bus);
}

void loose_bus_cut(struct dc_bus *bus)
{
    ((struct loose_bus *)bus)->is_cut = true;
}

void loose_bus_mend(struct dc_bus *bus)
{
    ((struct loose_bus *)bus)->is_cut = false;
    loose_bus_interrupt(bus, "");
}

void loose_bus_interrupt(struct dc_bus *bus, const char *pattern_prefix)
{
    struct loose_bus *b = (struct loose_bus *)bus;
    DC_LIST_FOREACH (it, &b->subs) {
        struct loose_sub *s = DC_LIST_ENTRY(it, struct loose_sub, link);
        s->is_interrupted = strncmp(s->pattern, pattern_prefix, strlen(pattern_prefix)) == 0;
    }
    /* One after the other from the beginning: what is told may change the subscriptions. */
    for (bool is_done = false; !is_done;) {
        is_done = true;
        DC_LIST_FOREACH (it, &b->subs) {
            struct loose_sub *s = DC_LIST_ENTRY(it, struct loose_sub, link);
            if (s->is_interrupted) {
                s->is_interrupted = false;
                is_done = false;
                if (s->opts.interrupted != NULL) {
                    s->opts.interrupted(s->data);
                }
                break;
            }
        }
    }
}
