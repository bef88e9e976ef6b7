/* Durable consumers.  One object for each name in this process, with all its subscribers: it asks
 * the server for as many messages as may be in flight, and shares them out.  The position, what is
 * pending and when it comes again are the server's. */
#include "bus/nats_durable.h"
#include "base/mem.h"
#include <stdio.h>

#define ACK_WAIT_DEFAULT_MS   30000
#define MAX_IN_FLIGHT_DEFAULT 256
#define BATCH_MAX             256
#define LENGTH_MAX_MS         (366ULL * 24 * 3600 * 1000)
#define SILENCE_MAX_MS        (INT64_C(3) * DC_NATS_PULL_HEARTBEAT_MS)
#define BACKOFF_BASE_MS       50
#define BACKOFF_MAX_MS        5000
#define CREATED_SLACK_MS      100
#define NAME_MAX_BYTES        200 /* escaped: it is a file's name on the server */

static void ask(struct dc_nats_consumer *c);
static void on_work(void *owner, const struct dc_nats_in *in);

static struct dc_slice pattern_of(const struct dc_nats_consumer *c)
{
    return dc_slice_make(c->pattern, c->pattern_len);
}

static struct dc_nats_sub *sub_of(struct dc_list *link)
{
    return DC_LIST_ENTRY(link, struct dc_nats_sub, consumer_link);
}

/* --- the object --- */

static void listen_no_more(struct dc_nats_consumer *c)
{
    dc_nats_link_unsubscribe(c->slot);
    c->slot = NULL;
    c->wanted = 0;
}

static void consumer_hold(struct dc_nats_consumer *c)
{
    c->holds++;
}

static void consumer_free(struct dc_nats_consumer *c)
{
    dc_free(c->name);
    dc_free(c);
}

static void consumer_release(struct dc_nats_consumer *c)
{
    if (--c->holds == 0 && c->is_dead) {
        consumer_free(c);
    }
}

/* The last subscriber in this process has left; the server keeps the position. */
static void consumer_end(struct dc_nats_consumer *c)
{
    c->is_dead = true;
    listen_no_more(c);
    dc_nats_call_cancel(c->call);
    c->call = NULL;
    dc_nats_wake_clear(c->nats, &c->retry);
    dc_nats_acks_orphan(c);
    dc_list_remove(&c->link);
    if (c->holds == 0) {
        consumer_free(c);
    }
}

static void on_retry(struct dc_nats_wake *w)
{
    ask(DC_CONTAINER_OF(w, struct dc_nats_consumer, retry));
}

static struct dc_nats_consumer *consumer_new(struct dc_bus_nats *b, struct dc_nats_stream *stream,
                                             const struct dc_bus_sub_opts *opts, char *name)
{
    struct dc_nats_consumer *c = dc_calloc(1, sizeof(*c) + opts->pattern.len);
    c->nats = b;
    c->stream = stream;
    c->epoch = stream->epoch;
    c->name = name;
    c->start = opts->start;
    c->after_sequence = opts->after_sequence;
    c->ack_wait_ms = opts->ack_wait_ms == 0 ? ACK_WAIT_DEFAULT_MS : opts->ack_wait_ms;
    c->ack_wait_ms = c->ack_wait_ms < LENGTH_MAX_MS ? c->ack_wait_ms : LENGTH_MAX_MS;
    c->max_in_flight = opts->max_in_flight == 0 ? MAX_IN_FLIGHT_DEFAULT : opts->max_in_flight;
    c->backoff = (struct dc_backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
    c->retry.fn = on_retry;
    c->pattern_len = opts->pattern.len;
    memcpy(c->pattern, opts->pattern.ptr, opts->pattern.len);
    dc_list_init(&c->subs);
    dc_list_push_back(&b->consumers, &c->link);
    return c;
}

static struct dc_nats_consumer *consumer_find(struct dc_bus_nats *b, const char *name)
{
    DC_LIST_FOREACH (it, &b->consumers) {
        struct dc_nats_consumer *c = DC_LIST_ENTRY(it, struct dc_nats_consumer, link);
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

enum dc_status dc_nats_durable_join(struct dc_nats_sub *s, const struct dc_bus_sub_opts *opts,
                                    struct dc_error *err)
{
    struct dc_strbuf escaped = {0};
    dc_bus_token(&escaped, dc_slice_z(opts->durable));
    char *name = dc_slice_dup_z(dc_strbuf_slice(&escaped));
    dc_strbuf_free(&escaped);
    if (strlen(name) > NAME_MAX_BYTES) {
        dc_free(name);
        return dc_fail(err, DC_INVALID, 0, "bus: the name of the durable consumer is too long");
    }
    struct dc_nats_consumer *c = consumer_find(s->nats, name);
    if (c == NULL) {
        c = consumer_new(s->nats, s->stream, opts, name);
    } else {
        dc_free(name);
        if (!dc_slice_eq(pattern_of(c), opts->pattern)) {
            return dc_fail(err, DC_CONFLICT, 0, "bus: consumer %.100s has another pattern",
                           opts->durable);
        }
    }
    s->consumer = c;
    dc_list_push_back(&c->subs, &s->consumer_link);
    return DC_OK;
}

void dc_nats_durable_leave(struct dc_nats_sub *s)
{
    struct dc_nats_consumer *c = s->consumer;
    dc_list_remove(&s->consumer_link);
    s->consumer = NULL;
    if (dc_list_is_empty(&c->subs)) {
        consumer_end(c);
    }
}

/* --- telling subscribers, each of which may remove any, so every round begins anew --- */

static bool goes_on(const struct dc_nats_consumer *c)
{
    return !c->is_dead && !c->nats->is_closing;
}

static bool has_begun(const struct dc_nats_sub *s)
{
    return s->entry == NULL && s->is_placed && !s->is_refused;
}

static struct dc_nats_sub *find_behind(struct dc_nats_consumer *c, bool is_at_end, uint64_t pos)
{
    DC_LIST_FOREACH (it, &c->subs) {
        struct dc_nats_sub *s = sub_of(it);
        if (has_begun(s) && !s->is_caught_up && (is_at_end || pos >= s->end)) {
            return s;
        }
    }
    return NULL;
}

/* Everything up to pos has been delivered, or all there is. */
static void check_caught_up(struct dc_nats_consumer *c, bool is_at_end, uint64_t pos)
{
    struct dc_nats_sub *s = NULL;
    while (goes_on(c) && (s = find_behind(c, is_at_end, pos)) != NULL) {
        dc_nats_sub_hold(s);
        (void)dc_nats_sub_tell_caught_up(s);
        dc_nats_sub_release(s);
    }
}

static void tell_interrupted(struct dc_nats_consumer *c)
{
    size_t left = 0;
    DC_LIST_FOREACH (it, &c->subs) {
        left++;
    }
    while (goes_on(c) && left-- > 0) {
        struct dc_nats_sub *s = sub_of(c->subs.next);
        dc_list_remove(&s->consumer_link);
        dc_list_push_back(&c->subs, &s->consumer_link);
        if (has_begun(s)) {
            s->end = s->is_caught_up ? 0 : c->stream->last_sequence;
            dc_nats_sub_hold(s);
            (void)dc_nats_sub_tell_interrupted(s);
            dc_nats_sub_release(s);
        }
    }
}

static struct dc_nats_sub *find_unrefused(struct dc_nats_consumer *c)
{
    DC_LIST_FOREACH (it, &c->subs) {
        if (!sub_of(it)->is_refused) {
            return sub_of(it);
        }
    }
    return NULL;
}

static void refuse(struct dc_nats_consumer *c, const struct dc_error *err)
{
    struct dc_nats_sub *s = NULL;
    DC_LOG_ERROR_EVENT(c->nats->log, "bus.consumer_refused", DC_LF_Z("consumer", c->name),
                       DC_LF_ERR(err));
    while (goes_on(c) && (s = find_unrefused(c)) != NULL) {
        s->is_refused = true;
        dc_nats_outgoing_pass(s);
        if (s->refused != NULL) {
            dc_nats_sub_hold(s);
            s->refused(s->data, err);
            dc_nats_sub_release(s);
        }
    }
}

/* --- finding or making it --- */

static void later(struct dc_nats_consumer *c)
{
    dc_nats_wake_set(c->nats, &c->retry, dc_backoff_next_ms(&c->backoff));
}

static void pass_placed(struct dc_nats_consumer *c)
{
    DC_LIST_FOREACH (it, &c->subs) {
        if (sub_of(it)->is_placed) {
            dc_nats_outgoing_pass(sub_of(it));
        }
    }
}

static void failed(struct dc_nats_consumer *c, const struct dc_error *err)
{
    if (err->status == DC_CLOSED) {
        return; /* resumed on the next connection */
    }
    pass_placed(c); /* nobody need wait for it */
    if (!c->has_complained) {
        c->has_complained = true;
        DC_LOG_WARN_EVENT(c->nats->log, "bus.consumer_later", DC_LF_Z("consumer", c->name),
                          DC_LF_ERR(err));
    }
    if (err->cause == DC_NATS_ERR_STREAM_NOT_FOUND) {
        dc_nats_streams_doubt(c->nats);
    }
    later(c);
}

static void pull(struct dc_nats_consumer *c)
{
    struct dc_bus_nats *b = c->nats;
    if (c->slot == NULL || !b->is_up || c->wanted > c->batch / 2) {
        return;
    }
    struct dc_strbuf subject = {0}, reply = {0}, body = {0};
    uint64_t n = c->batch - c->wanted;
    dc_strbuf_printf(&subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", c->stream->row->name, c->name);
    dc_strbuf_printf(&reply, "%s.%llu", c->inbox, (unsigned long long)++b->next_number);
    dc_nats_pull_write(&body, n);
    struct dc_blob *payload = dc_blob_copy(dc_strbuf_slice(&body));
    dc_nats_link_publish(b->link, dc_strbuf_slice(&subject), dc_strbuf_slice(&reply), DC_SLICE_NULL,
                         payload);
    dc_blob_unref(payload);
    c->wanted += n;
    dc_strbuf_free(&subject);
    dc_strbuf_free(&reply);
    dc_strbuf_free(&body);
}

static void listen_to_work(struct dc_nats_consumer *c)
{
    struct dc_bus_nats *b = c->nats;
    struct dc_strbuf inbox = {0};
    dc_nats_inbox_new(b, 'd', &inbox);
    (void)snprintf(c->inbox, sizeof(c->inbox), "%.*s", DC_SLICE_ARG(dc_strbuf_slice(&inbox)));
    dc_strbuf_add_z(&inbox, ".*");
    c->slot =
        dc_nats_link_subscribe(b->link, dc_strbuf_slice(&inbox), DC_NATS_SLOT_WORK, on_work, c);
    c->wanted = 0;
    dc_strbuf_free(&inbox);
}

/* Not the one that we knew: sequences mean other messages, or all of them come again.  After a
 * restart the server gives the same one another time of creation, some microseconds off. */
static bool is_another(struct dc_nats_consumer *c, const json_t *info)
{
    struct dc_utc created = {0};
    bool is_another = c->is_stream_new;
    c->is_stream_new = false;
    if (dc_utc_parse(dc_json_text(info, "created"), &created)) {
        int64_t later_ms = created.ms - c->created_ms;
        is_another = is_another || later_ms > CREATED_SLACK_MS || later_ms < -CREATED_SLACK_MS;
        c->created_ms = created.ms;
    }
    return is_another && c->was_found;
}

/* It is there: info says where it stands. */
static void found(struct dc_nats_consumer *c, const json_t *info)
{
    uint64_t limit = dc_nats_number(json_object_get(info, "config"), "max_ack_pending");
    uint64_t pos = dc_nats_number(json_object_get(info, "delivered"), "stream_seq");
    if (is_another(c, info)) {
        c->n_settled = 0;
        tell_interrupted(c);
        if (!goes_on(c) || !c->nats->is_up) {
            return;
        }
    }
    c->batch = limit == 0 || limit > BATCH_MAX ? BATCH_MAX : limit;
    c->heard_ms = dc_nats_now_ms(c->nats);
    c->was_found = true;
    c->has_complained = false;
    dc_backoff_reset(&c->backoff);
    pass_placed(c);
    /* What the server has delivered may still be on its way to us: so it must say so twice, with a
     * tick and no message in between. */
    c->n_quiet++;
    if (c->slot == NULL || c->n_quiet > 1) {
        check_caught_up(c, dc_nats_number(info, "num_pending") == 0, pos);
    }
    if (!goes_on(c) || !c->nats->is_up) {
        return;
    }
    if (c->slot == NULL) {
        listen_to_work(c);
    }
    pull(c);
    if (c->is_asked) {
        ask(c);
    }
}

static void on_made(void *data, enum dc_status st, const json_t *answer, const struct dc_error *err)
{
    struct dc_nats_consumer *c = data;
    c->call = NULL;
    consumer_hold(c);
    if (st == DC_OK) {
        found(c, answer);
    } else {
        failed(c, err); /* another process may have been faster: look again */
    }
    consumer_release(c);
}

static struct dc_nats_start start_of(const struct dc_nats_consumer *c)
{
    struct dc_nats_start start = {.policy = DC_NATS_FROM_SEQUENCE, .sequence = 1};
    uint64_t after = c->after_sequence < c->end ? c->after_sequence : c->end;
    if (c->was_found) {
        return start; /* it was there and is gone */
    }
    switch (c->start) {
    case DC_BUS_LIVE: /* refused for durable consumers */
    case DC_BUS_NEW:
        start.sequence = c->end + 1;
        break;
    case DC_BUS_LAST:
        start.policy = DC_NATS_LAST_PER_SUBJECT;
        break;
    case DC_BUS_ALL:
        break;
    case DC_BUS_AFTER_SEQ:
        start.sequence = after + 1;
        break;
    }
    return start;
}

static void make(struct dc_nats_consumer *c)
{
    struct dc_strbuf body = {0};
    dc_nats_durable_write(&body, c->stream->row->name, dc_slice_z(c->name), pattern_of(c),
                          start_of(c), c->ack_wait_ms, c->max_in_flight);
    c->call = dc_nats_call(c->nats, "CONSUMER.DURABLE.CREATE", c->stream->row->name,
                           dc_slice_z(c->name), dc_strbuf_slice(&body), on_made, c);
    dc_strbuf_free(&body);
}

static void on_info(void *data, enum dc_status st, const json_t *answer, const struct dc_error *err)
{
    struct dc_nats_consumer *c = data;
    struct dc_error conflict = {0};
    struct dc_slice filter = dc_json_text(json_object_get(answer, "config"), "filter_subject");
    c->call = NULL;
    consumer_hold(c);
    if (err->cause == DC_NATS_ERR_CONSUMER_NOT_FOUND) {
        listen_no_more(c);
        make(c);
    } else if (st != DC_OK) {
        failed(c, err);
    } else if (!dc_slice_eq(filter, pattern_of(c))) {
        (void)dc_fail(&conflict, DC_CONFLICT, 0, "bus: consumer %.60s has the pattern %.*s",
                      c->name, filter.len > 60 ? 60 : (int)filter.len, filter.ptr);
        refuse(c, &conflict);
    } else {
        found(c, answer);
    }
    consumer_release(c);
}

static void ask(struct dc_nats_consumer *c)
{
    c->is_asked = c->call != NULL;
    if (c->call != NULL) {
        return; /* when that has been answered */
    }
    if (!c->nats->is_ready) {
        later(c);
        return;
    }
    dc_nats_wake_clear(c->nats, &c->retry);
    c->call = dc_nats_call(c->nats, "CONSUMER.INFO", c->stream->row->name, dc_slice_z(c->name),
                           DC_SLICE_NULL, on_info, c);
}

static void on_stream(void *data, enum dc_status st, const json_t *answer,
                      const struct dc_error *err)
{
    struct dc_nats_sub *s = data;
    s->call = NULL;
    if (st == DC_OK) {
        dc_nats_stream_seen(s->stream, answer);
        s->end = s->stream->last_sequence;
        s->is_placed = true;
        if (!s->consumer->has_end) {
            s->consumer->has_end = true;
            s->consumer->end = s->end;
        }
        ask(s->consumer);
    } else if (st != DC_CLOSED) {
        dc_nats_sub_complain(s, err);
        dc_nats_wake_set(s->nats, &s->retry, dc_backoff_next_ms(&s->backoff));
    }
}

static void on_begin_again(struct dc_nats_wake *w)
{
    struct dc_nats_sub *s = DC_CONTAINER_OF(w, struct dc_nats_sub, retry);
    if (s->call != NULL || s->is_placed) {
        return;
    }
    if (s->nats->is_ready) {
        dc_nats_durable_begin(s);
    } else {
        dc_nats_wake_set(s->nats, w, dc_backoff_next_ms(&s->backoff));
    }
}

void dc_nats_durable_begin(struct dc_nats_sub *s)
{
    s->is_placed = false;
    s->retry.fn = on_begin_again;
    if (s->backoff.max_ms == 0) {
        s->backoff = (struct dc_backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
    }
    s->call = dc_nats_call(s->nats, "STREAM.INFO", s->stream->row->name, DC_SLICE_NULL,
                           DC_SLICE_NULL, on_stream, s);
}

void dc_nats_durable_resume(struct dc_nats_sub *s)
{
    if (!s->is_placed && !s->is_refused && s->call == NULL) {
        dc_nats_durable_begin(s); /* the order of publishing did not wait for it any longer */
    }
}

/* --- work --- */

/* Its place in the line of subscribers. NULL: nobody takes it. */
static struct dc_nats_sub *next_sub(struct dc_nats_consumer *c)
{
    DC_LIST_FOREACH (it, &c->subs) {
        struct dc_nats_sub *s = sub_of(it);
        if (has_begun(s)) {
            dc_list_remove(&s->consumer_link);
            dc_list_push_back(&c->subs, &s->consumer_link);
            return s;
        }
    }
    return NULL;
}

/* The server will not serve what we wait for. */
static void lost(struct dc_nats_consumer *c)
{
    listen_no_more(c);
    later(c);
}

static void on_status(struct dc_nats_consumer *c, const struct dc_nats_in *in)
{
    if (in->status == 100) {
        return; /* nothing to say */
    }
    if (in->status != 408) {
        lost(c); /* deleted, another leader, nobody there */
        return;
    }
    struct dc_slice header = dc_nats_in_text(in, "Nats-Pending-Messages");
    uint64_t n = dc_nats_in_number(in, "Nats-Pending-Messages");
    c->wanted = header.ptr == NULL || n > c->wanted ? 0 : c->wanted - n;
    pull(c);
}

static void on_data(struct dc_nats_consumer *c, const struct dc_nats_in *in)
{
    struct dc_nats_meta meta;
    if (!dc_nats_meta_parse(in->reply, &meta)) {
        return; /* somebody guessed the inbox */
    }
    c->wanted -= c->wanted > 0;
    c->n_quiet = 0;
    if (meta.deliveries > 1 && dc_nats_is_settled(c, meta.stream_sequence)) {
        dc_nats_ack_send(c->nats, in->reply, true, 0); /* it had crossed, or was lost */
        pull(c);
        return;
    }
    if (meta.deliveries == 1) {
        check_caught_up(c, false, meta.stream_sequence - 1);
    }
    struct dc_nats_sub *s = goes_on(c) ? next_sub(c) : NULL;
    if (s == NULL) {
        dc_nats_ack_send(c->nats, in->reply, false, 0);
        return;
    }
    struct dc_bus_ack *ack = dc_nats_ack_create(c, in->reply, &meta);
    dc_nats_sub_hold(s);
    (void)dc_nats_sub_deliver(s, in, &meta, ack);
    dc_nats_sub_release(s);
    check_caught_up(c, meta.pending == 0, meta.deliveries == 1 ? meta.stream_sequence : 0);
    if (goes_on(c)) {
        pull(c);
    }
}

static void on_work(void *owner, const struct dc_nats_in *in)
{
    struct dc_nats_consumer *c = owner;
    c->heard_ms = dc_nats_now_ms(c->nats);
    consumer_hold(c);
    if (in->status != 0) {
        on_status(c, in);
    } else {
        on_data(c, in);
    }
    consumer_release(c);
}

/* --- losing and going on --- */

void dc_nats_consumers_down(struct dc_bus_nats *b)
{
    DC_LIST_FOREACH (it, &b->consumers) {
        struct dc_nats_consumer *c = DC_LIST_ENTRY(it, struct dc_nats_consumer, link);
        c->slot = NULL;
        c->wanted = 0;
        c->is_asked = false;
        dc_nats_wake_clear(b, &c->retry);
    }
}

void dc_nats_consumers_end(struct dc_bus_nats *b)
{
    dc_nats_consumers_down(b);
    DC_LIST_FOREACH (it, &b->consumers) {
        struct dc_nats_consumer *c = DC_LIST_ENTRY(it, struct dc_nats_consumer, link);
        dc_nats_call_cancel(c->call);
        c->call = NULL;
    }
}

static bool is_in_use(const struct dc_nats_consumer *c)
{
    DC_LIST_FOREACH (it, &c->subs) {
        if (has_begun(sub_of(it))) {
            return true;
        }
    }
    return false;
}

static void resume(struct dc_nats_consumer *c)
{
    if (c->epoch != c->stream->epoch) {
        c->epoch = c->stream->epoch;
        c->is_stream_new = true;
        listen_no_more(c); /* the server has another one of that name, or none */
    }
    if (goes_on(c) && c->slot == NULL && is_in_use(c)) {
        ask(c);
    }
}

static struct dc_nats_consumer *find_unresumed(struct dc_bus_nats *b)
{
    DC_LIST_FOREACH (it, &b->consumers) {
        struct dc_nats_consumer *c = DC_LIST_ENTRY(it, struct dc_nats_consumer, link);
        if (c->resumed_in_round != b->check_round) {
            return c;
        }
    }
    return NULL;
}

void dc_nats_consumers_resume(struct dc_bus_nats *b)
{
    struct dc_nats_consumer *c = NULL;
    while (!b->is_closing && (c = find_unresumed(b)) != NULL) {
        c->resumed_in_round = b->check_round;
        consumer_hold(c);
        resume(c);
        consumer_release(c);
    }
}

static bool has_behind(const struct dc_nats_consumer *c)
{
    DC_LIST_FOREACH (it, &c->subs) {
        if (has_begun(sub_of(it)) && !sub_of(it)->is_caught_up) {
            return true;
        }
    }
    return false;
}

void dc_nats_consumers_tick(struct dc_bus_nats *b)
{
    DC_LIST_FOREACH (it, &b->consumers) {
        struct dc_nats_consumer *c = DC_LIST_ENTRY(it, struct dc_nats_consumer, link);
        if (c->slot == NULL || c->call != NULL) {
            continue;
        }
        if (dc_nats_now_ms(b) - c->heard_ms > SILENCE_MAX_MS) {
            DC_LOG_WARN_EVENT(b->log, "bus.consumer_silent", DC_LF_Z("consumer", c->name));
            lost(c);
        } else if (has_behind(c)) {
            ask(c); /* other processes may have what it waits for */
        }
    }
}
