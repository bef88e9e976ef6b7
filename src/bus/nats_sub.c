/* Subscriptions over NATS: what all kinds have in common, and plain ones. */
#include "base/mem.h"
#include "bus/nats_priv.h"

struct dc_slice dc_nats_sub_pattern(const struct dc_nats_sub *s)
{
    return dc_slice_make(s->pattern, s->pattern_len);
}

void dc_nats_sub_hold(struct dc_nats_sub *s)
{
    s->holds++;
}

void dc_nats_sub_free(struct dc_nats_sub *s)
{
    dc_list_remove(&s->link);
    dc_free(s);
}

void dc_nats_sub_release(struct dc_nats_sub *s)
{
    if (--s->holds == 0 && s->is_dead) {
        dc_nats_sub_free(s);
    }
}

static bool goes_on(const struct dc_nats_sub *s)
{
    return !s->is_dead && !s->nats->is_closing;
}

bool dc_nats_sub_tell_caught_up(struct dc_nats_sub *s)
{
    if (!s->is_caught_up && goes_on(s)) {
        s->is_caught_up = true;
        if (s->caught_up != NULL) {
            s->caught_up(s->data);
        }
    }
    return goes_on(s);
}

bool dc_nats_sub_tell_interrupted(struct dc_nats_sub *s)
{
    if (goes_on(s)) {
        s->nats->interruptions->value++;
        if (s->interrupted != NULL) {
            s->interrupted(s->data);
        }
    }
    return goes_on(s);
}

bool dc_nats_sub_deliver(struct dc_nats_sub *s, const struct dc_nats_in *in,
                         const struct dc_nats_meta *meta, struct dc_bus_ack *ack)
{
    struct dc_bus_nats *b = s->nats;
    struct dc_slice subject = in->subject;
    if (s->is_live) {
        (void)dc_slice_take_prefix(&subject, DC_S(DC_NATS_LIVE));
    }
    const struct dc_bus_message message = {
        .subject = subject,
        .payload = in->payload,
        .sequence = meta == NULL ? 0 : meta->stream_sequence,
        .deliveries = meta == NULL ? 1 : (uint32_t)meta->deliveries,
        .is_replay = meta != NULL && meta->stream_sequence <= s->end,
        .ack = ack,
    };
    (message.deliveries > 1 ? b->bus.redelivered : b->bus.delivered)->value++;
    s->cb(s->data, &message);
    return goes_on(s);
}

void dc_nats_sub_complain(struct dc_nats_sub *s, const struct dc_error *err)
{
    if (!s->has_complained) {
        s->has_complained = true;
        DC_LOG_WARN_EVENT(s->nats->log, "bus.subscribe_later",
                          DC_LF_T("pattern", dc_nats_sub_pattern(s)), DC_LF_ERR(err));
    }
}

/* --- plain --- */

static void on_plain(void *owner, const struct dc_nats_in *in)
{
    struct dc_nats_sub *s = owner;
    dc_nats_sub_hold(s);
    if (in == NULL) {
        (void)dc_nats_sub_tell_interrupted(s);
    } else if (goes_on(s)) {
        (void)dc_nats_sub_deliver(s, in, NULL, NULL);
    }
    dc_nats_sub_release(s);
}

static void plain_listen(struct dc_nats_sub *s)
{
    struct dc_strbuf subject = {0};
    if (s->is_live) {
        dc_strbuf_add(&subject, DC_S(DC_NATS_LIVE));
    }
    dc_strbuf_add(&subject, dc_nats_sub_pattern(s));
    DC_ASSERT(dc_strbuf_ok(&subject)); /* a few hundred bytes */
    s->slot = dc_nats_link_subscribe(s->nats->link, dc_strbuf_slice(&subject), DC_NATS_SLOT_BOUNDED,
                                     on_plain, s);
    dc_strbuf_free(&subject);
}

static void plain_begin(struct dc_nats_sub *s)
{
    plain_listen(s);
    dc_nats_outgoing_pass(s);
    (void)dc_nats_sub_tell_caught_up(s);
}

static void plain_resume(struct dc_nats_sub *s)
{
    if (s->slot == NULL) {
        plain_listen(s);
        (void)dc_nats_sub_tell_interrupted(s);
    }
}

/* --- all kinds --- */

struct dc_nats_sub *dc_nats_sub_create(struct dc_bus_nats *b, const struct dc_bus_sub_opts *opts,
                                       struct dc_nats_stream *stream, dc_bus_cb cb, void *data)
{
    struct dc_nats_sub *s = dc_calloc(1, sizeof(*s) + opts->pattern.len);
    s->base.backend = b->bus.backend;
    s->nats = b;
    s->stream = stream;
    s->cb = cb;
    s->data = data;
    s->caught_up = opts->caught_up;
    s->interrupted = opts->interrupted;
    s->refused = opts->refused;
    s->ended = opts->ended;
    s->start = opts->start;
    s->is_live = opts->start == DC_BUS_LIVE;
    s->after_sequence = opts->after_sequence;
    s->pattern_len = opts->pattern.len;
    memcpy(s->pattern, opts->pattern.ptr, opts->pattern.len);
    dc_list_init(&s->consumer_link);
    dc_list_push_back(&b->subs, &s->link);
    return s;
}

void dc_nats_sub_begin(struct dc_nats_sub *s)
{
    dc_nats_sub_hold(s);
    if (s->consumer != NULL) {
        dc_nats_durable_begin(s);
    } else if (s->stream != NULL) {
        dc_nats_ordered_begin(s);
    } else {
        plain_begin(s);
    }
    dc_nats_sub_release(s);
}

void dc_nats_sub_down(struct dc_nats_sub *s)
{
    s->slot = NULL;
    dc_nats_wake_clear(s->nats, &s->retry);
    if (s->stream != NULL && s->consumer == NULL) {
        dc_nats_ordered_down(s);
    }
}

void dc_nats_sub_resume(struct dc_nats_sub *s)
{
    if (s->entry != NULL || s->is_dead) {
        return; /* it has not begun: its turn comes in the order of publishing */
    }
    dc_nats_sub_hold(s);
    if (s->stream == NULL) {
        plain_resume(s);
    } else if (s->consumer == NULL) {
        dc_nats_ordered_resume(s);
    } else {
        dc_nats_durable_resume(s);
    }
    dc_nats_sub_release(s);
}

void dc_nats_sub_tick(struct dc_nats_sub *s)
{
    if (s->stream != NULL && s->consumer == NULL) {
        dc_nats_ordered_tick(s);
    }
}

void dc_nats_sub_unsubscribe(struct dc_bus_sub *sub)
{
    struct dc_nats_sub *s = DC_CONTAINER_OF(sub, struct dc_nats_sub, base);
    s->is_dead = true;
    dc_nats_outgoing_pass(s);
    dc_nats_call_cancel(s->call);
    s->call = NULL;
    dc_nats_wake_clear(s->nats, &s->retry);
    if (s->consumer != NULL) {
        dc_nats_durable_leave(s);
    } else if (s->stream != NULL) {
        dc_nats_ordered_stop(s);
    }
    dc_nats_link_unsubscribe(s->slot);
    s->slot = NULL;
    if (s->holds == 0) {
        dc_nats_sub_free(s);
    }
}
