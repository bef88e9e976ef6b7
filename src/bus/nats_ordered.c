/* Ordered subscriptions.  The server pushes from a consumer that is ours alone, lives in its memory
 * and numbers what it delivers, so a gap shows at once; its flow control keeps it from sending more
 * than we have answered for, its heartbeat tells that silence means nothing to say.  When anything
 * is missing, the consumer is given up and another one begins behind the last message seen. */
#include "base/mem.h"
#include "bus/nats_priv.h"
#include <stdio.h>

#define SILENCE_MAX_MS  (INT64_C(3) * DC_NATS_HEARTBEAT_MS)
#define BACKOFF_BASE_MS 50
#define BACKOFF_MAX_MS  5000

static void create(struct dc_nats_sub *s);
static void later(struct dc_nats_sub *s);
static bool finish_start(struct dc_nats_sub *s);
static void on_pushed(void *owner, const struct dc_nats_in *in);

/* --- making the consumer --- */

static void drop_consumer(struct dc_nats_sub *s)
{
    dc_nats_link_unsubscribe(s->slot); /* the server sees that nobody listens and forgets it */
    s->slot = NULL;
    s->lost_in_round = s->nats->check_round;
    if (s->consumer_name[0] != '\0') {
        dc_nats_tell(s->nats, "CONSUMER.DELETE", s->stream->row->name,
                     dc_slice_z(s->consumer_name));
        s->consumer_name[0] = '\0';
    }
}

static void on_retry(struct dc_nats_wake *w)
{
    struct dc_nats_sub *s = DC_CONTAINER_OF(w, struct dc_nats_sub, retry);
    if (s->call != NULL || s->slot != NULL) {
        return; /* resumed with everybody else */
    }
    if (!s->nats->is_ready) {
        later(s);
    } else if (!s->is_placed) {
        dc_nats_ordered_begin(s);
    } else {
        create(s);
    }
}

static void later(struct dc_nats_sub *s)
{
    s->retry.fn = on_retry;
    dc_nats_wake_set(s->nats, &s->retry, dc_backoff_next_ms(&s->backoff));
}

/* Something is missing: first see what the stream looks like. */
static void doubt(struct dc_nats_sub *s)
{
    drop_consumer(s);
    dc_nats_streams_doubt(s->nats);
}

static void failed(struct dc_nats_sub *s, const struct dc_error *err)
{
    if (err->status == DC_CLOSED) {
        return; /* resumed on the next connection */
    }
    dc_nats_sub_complain(s, err);
    drop_consumer(s);
    if (err->cause == DC_NATS_ERR_STREAM_NOT_FOUND) {
        dc_nats_streams_doubt(s->nats);
    }
    later(s);
}

static void on_created(void *data, enum dc_status st, const json_t *answer,
                       const struct dc_error *err)
{
    struct dc_nats_sub *s = data;
    s->call = NULL;
    if (st != DC_OK) {
        if (st != DC_CLOSED) {
            dc_nats_outgoing_pass(s); /* its place is known: nobody need wait for it */
        }
        failed(s, err);
        return;
    }
    const char *name = json_string_value(json_object_get(answer, "name"));
    (void)snprintf(s->consumer_name, sizeof(s->consumer_name), "%s", name == NULL ? "" : name);
    s->heard_ms = dc_nats_now_ms(s->nats);
    s->has_complained = false;
    dc_backoff_reset(&s->backoff);
    dc_nats_outgoing_pass(s);
    if (dc_nats_number(answer, "num_pending") == 0 && !s->is_caught_up) {
        dc_nats_sub_hold(s);
        (void)finish_start(s);
        dc_nats_sub_release(s);
    }
}

static void create(struct dc_nats_sub *s)
{
    struct dc_bus_nats *b = s->nats;
    struct dc_strbuf inbox = {0}, body = {0};
    const struct dc_nats_start start = {
        .policy = s->is_last ? DC_NATS_LAST_PER_SUBJECT : DC_NATS_FROM_SEQUENCE,
        .sequence = s->next,
    };
    DC_ASSERT(s->slot == NULL && s->call == NULL);
    dc_nats_wake_clear(b, &s->retry);
    s->consumer_sequence = 0;
    s->heard_ms = dc_nats_now_ms(b);
    dc_nats_inbox_new(b, 'o', &inbox);
    s->slot =
        dc_nats_link_subscribe(b->link, dc_strbuf_slice(&inbox), DC_NATS_SLOT_OWN, on_pushed, s);
    dc_nats_ordered_write(&body, s->stream->row->name, dc_nats_sub_pattern(s),
                          dc_strbuf_slice(&inbox), start);
    s->call = dc_nats_call(b, "CONSUMER.CREATE", s->stream->row->name, DC_SLICE_NULL,
                           dc_strbuf_slice(&body), on_created, s);
    dc_strbuf_free(&inbox);
    dc_strbuf_free(&body);
}

/* --- beginning --- */

static void place(struct dc_nats_sub *s)
{
    uint64_t end = s->stream->last_sequence;
    s->is_placed = true;
    s->epoch = s->stream->epoch;
    s->end = end;
    s->next = 1;
    switch (s->start) {
    case DC_BUS_LIVE: /* has no place in the stream */
    case DC_BUS_NEW:
        s->next = end + 1;
        break;
    case DC_BUS_LAST:
        /* Where only the last is kept, everything is the last. */
        s->is_last = !s->stream->row->last_per_subject;
        s->is_from_first = true;
        break;
    case DC_BUS_ALL:
        s->is_from_first = true;
        break;
    case DC_BUS_AFTER_SEQ:
        s->next = (s->after_sequence < end ? s->after_sequence : end) + 1;
        break;
    }
}

/* Messages that it wanted are gone.  Where only the last is kept that means nothing. */
static bool has_missed(const struct dc_nats_sub *s)
{
    return !s->is_from_first && !s->stream->row->last_per_subject &&
           s->stream->first_sequence > s->next;
}

static void on_stream(void *data, enum dc_status st, const json_t *answer,
                      const struct dc_error *err)
{
    struct dc_nats_sub *s = data;
    s->call = NULL;
    if (st != DC_OK) {
        failed(s, err);
        return;
    }
    dc_nats_stream_seen(s->stream, answer);
    place(s);
    dc_nats_sub_hold(s);
    if (!has_missed(s) || dc_nats_sub_tell_interrupted(s)) {
        create(s);
    }
    dc_nats_sub_release(s);
}

void dc_nats_ordered_begin(struct dc_nats_sub *s)
{
    dc_nats_wake_clear(s->nats, &s->retry);
    s->is_placed = false;
    if (s->backoff.max_ms == 0) {
        s->backoff = (struct dc_backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
    }
    s->call = dc_nats_call(s->nats, "STREAM.INFO", s->stream->row->name, DC_SLICE_NULL,
                           DC_SLICE_NULL, on_stream, s);
}

void dc_nats_ordered_stop(struct dc_nats_sub *s)
{
    drop_consumer(s);
}

/* --- hearing --- */

/* All that was stored at the start has been seen; what is new may need another consumer. */
static bool finish_start(struct dc_nats_sub *s)
{
    bool needs_another = s->is_last_again;
    s->is_last = false;
    s->is_last_again = false;
    if (needs_another) {
        s->next = s->next > s->end ? s->next : s->end + 1;
        drop_consumer(s);
    }
    if (!dc_nats_sub_tell_caught_up(s)) {
        return false;
    }
    if (needs_another && s->nats->is_ready && s->slot == NULL && s->call == NULL) {
        create(s);
    }
    return !needs_another;
}

static void answer_flow_control(struct dc_nats_sub *s, struct dc_slice reply)
{
    if (s->nats->is_up) {
        dc_nats_link_publish(s->nats->link, reply, DC_SLICE_NULL, DC_SLICE_NULL, NULL);
    }
}

static void on_status(struct dc_nats_sub *s, const struct dc_nats_in *in)
{
    if (in->status != 100) {
        doubt(s); /* deleted, or its server shuts down */
        return;
    }
    if (in->reply.len > 0) {
        answer_flow_control(s, in->reply);
        return;
    }
    struct dc_slice stalled = dc_nats_in_text(in, "Nats-Consumer-Stalled");
    if (stalled.len > 0) {
        answer_flow_control(s, stalled);
    }
    if (dc_nats_in_number(in, "Nats-Last-Consumer") != s->consumer_sequence) {
        doubt(s);
    } else if (stalled.len == 0 && !s->is_caught_up) {
        (void)finish_start(s); /* nothing more to say, so that was all */
    }
}

static void on_data(struct dc_nats_sub *s, const struct dc_nats_in *in)
{
    struct dc_nats_meta meta;
    if (!dc_nats_meta_parse(in->reply, &meta)) {
        return; /* somebody guessed the inbox */
    }
    if (meta.consumer_sequence != s->consumer_sequence + 1) {
        doubt(s);
        return;
    }
    s->consumer_sequence++;
    if (meta.stream_sequence > s->end && !s->is_caught_up && !finish_start(s)) {
        return;
    }
    if (meta.stream_sequence >= s->next) {
        s->next = meta.stream_sequence + 1;
        s->is_from_first = false;
        if (!dc_nats_sub_deliver(s, in, &meta, NULL)) {
            return;
        }
    }
    if (!s->is_caught_up && (meta.stream_sequence >= s->end || meta.pending == 0)) {
        (void)finish_start(s);
    }
}

static void on_pushed(void *owner, const struct dc_nats_in *in)
{
    struct dc_nats_sub *s = owner;
    s->heard_ms = dc_nats_now_ms(s->nats);
    dc_nats_sub_hold(s);
    if (in->status != 0) {
        on_status(s, in);
    } else {
        on_data(s, in);
    }
    dc_nats_sub_release(s);
}

/* --- losing and going on --- */

void dc_nats_ordered_down(struct dc_nats_sub *s)
{
    s->slot = NULL;
    s->consumer_name[0] = '\0';
    s->lost_in_round = s->nats->check_round;
}

/* The stream has begun anew, and so does the subscription. */
static void begin_anew(struct dc_nats_sub *s)
{
    s->epoch = s->stream->epoch;
    s->next = 1;
    s->end = s->is_caught_up ? 0 : s->stream->last_sequence;
    s->is_last = false;
    s->is_last_again = false;
    s->is_from_first = true;
}

/* Another stream of that name, or this one has lost its end (a disk that had not written it).  Only
 * what was looked at after the last message had arrived tells. */
static bool is_begun_anew(const struct dc_nats_sub *s)
{
    return s->epoch != s->stream->epoch ||
           (s->slot == NULL && s->call == NULL && s->lost_in_round != s->nats->check_round &&
            s->next > s->stream->last_sequence + 1);
}

void dc_nats_ordered_resume(struct dc_nats_sub *s)
{
    if (!s->is_placed) {
        if (s->call == NULL) {
            dc_nats_ordered_begin(s); /* the order of publishing did not wait for it any longer */
        }
        return;
    }
    bool is_anew = is_begun_anew(s);
    bool is_interrupted = is_anew || (s->slot == NULL && has_missed(s));
    if (!is_anew && (s->slot != NULL || s->call != NULL)) {
        return; /* it has not lost anything */
    }
    dc_nats_call_cancel(s->call);
    s->call = NULL;
    drop_consumer(s);
    if (is_anew) {
        begin_anew(s);
    }
    if (is_interrupted && !dc_nats_sub_tell_interrupted(s)) {
        return;
    }
    s->is_last_again = s->is_last;
    if (s->nats->is_ready && s->slot == NULL && s->call == NULL) {
        create(s);
    }
}

void dc_nats_ordered_tick(struct dc_nats_sub *s)
{
    if (s->slot != NULL && s->call == NULL &&
        dc_nats_now_ms(s->nats) - s->heard_ms > SILENCE_MAX_MS) {
        DC_LOG_WARN_EVENT(s->nats->log, "bus.consumer_silent",
                          DC_LF_T("pattern", dc_nats_sub_pattern(s)));
        doubt(s);
    }
}
