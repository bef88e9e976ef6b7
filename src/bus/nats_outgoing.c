/* The order of publishing.
 *
 * One list holds everything that has to happen in order: messages, forgetting, and the beginnings
 * of subscriptions.  Messages are sent ahead of their acknowledgements, as many as the window
 * takes; the other two wait until everything before them has been acknowledged, and everything
 * behind waits for them.  An entry leaves the list when it is done and everything before it has
 * left, so what is needed to send again is there as long as it may be needed. */
#include "base/mem.h"
#include "bus/nats_priv.h"
#include <stdio.h>

#define PATIENCE_MS 3000 /* without an acknowledgement it is sent again */
#define SUB_PATIENCE_MS                                                                            \
    10000 /* a subscription that cannot begin does not hold up others for ever */
#define BACKOFF_BASE_MS 100
#define BACKOFF_MAX_MS  2000

enum entry_state { WAITING, SENT, DONE };

struct dc_nats_entry {
    struct dc_op op;
    struct dc_list link; /* nats.outgoing */
    struct dc_bus_nats *nats;
    enum dc_nats_entry_kind kind;
    enum entry_state state;
    bool is_plain;    /* message, subscription: of no stream */
    bool is_said;     /* plain: waits for the connection alone (dc_bus_say) */
    bool has_own_id;  /* message: its id is the caller's, and means something to the stream */
    bool was_sent;    /* at least once */
    bool is_refused;  /* the last time it was sent the server would not have it now */
    bool is_canceled; /* nobody waits any more */
    bool has_number;  /* message: stands in nats.sent */
    int64_t deadline_ms, sent_ms;
    uint64_t number;
    uint64_t made_id; /* message without its own id */
    dc_bus_publish_cb cb;
    void *data;
    struct dc_error err; /* when it is done */
    uint64_t sequence;
    struct dc_blob *payload;
    struct dc_nats_sub *sub;
    struct dc_nats_call *call; /* forget */
    const struct dc_bus_stream *stream;
    size_t subject_len, id_len;
    char bytes[]; /* subject, then id */
};

static struct dc_nats_entry *entry_of(struct dc_list *link)
{
    return DC_LIST_ENTRY(link, struct dc_nats_entry, link);
}

static struct dc_slice subject_of(const struct dc_nats_entry *e)
{
    return dc_slice_make(e->bytes, e->subject_len);
}

static size_t bytes_of(const struct dc_nats_entry *e)
{
    return (e->payload == NULL ? 0 : e->payload->len) + e->subject_len + e->id_len;
}

static bool is_limited(const struct dc_nats_entry *e)
{
    return e->kind != DC_NATS_ENTRY_SUB;
}

/* --- entries --- */

static void on_cancel(struct dc_op *op)
{
    struct dc_nats_entry *e = DC_CONTAINER_OF(op, struct dc_nats_entry, op);
    e->is_canceled = true;
    e->nats->has_canceled = true;
    dc_turn_schedule(e->nats->loop, &e->nats->turn);
}

static struct dc_nats_entry *entry_push(struct dc_bus_nats *b, enum dc_nats_entry_kind kind,
                                        struct dc_slice subject, struct dc_slice id)
{
    struct dc_nats_entry *e = dc_calloc(1, sizeof(*e) + subject.len + id.len);
    e->op.cancel = on_cancel;
    e->nats = b;
    e->kind = kind;
    e->deadline_ms = dc_nats_now_ms(b) + (int64_t)b->publish_deadline_ms;
    e->subject_len = subject.len;
    e->id_len = id.len;
    if (subject.len > 0) {
        memcpy(e->bytes, subject.ptr, subject.len);
    }
    if (id.len > 0) {
        memcpy(e->bytes + subject.len, id.ptr, id.len);
    }
    dc_list_push_back(&b->outgoing, &e->link);
    if (b->unsent == &b->outgoing) {
        b->unsent = &e->link;
    }
    if (is_limited(e)) {
        b->n_outgoing++;
        b->bus.outgoing->value = (int64_t)b->n_outgoing;
    }
    dc_turn_schedule(b->loop, &b->turn);
    return e;
}

/* No longer on its way. */
static void unsend(struct dc_nats_entry *e)
{
    struct dc_bus_nats *b = e->nats;
    if (e->state == SENT) {
        b->n_in_flight[e->kind]--;
        e->state = WAITING;
    }
    if (e->has_number) {
        e->has_number = false;
        b->sent[e->number % DC_NATS_WINDOW_MESSAGES] = NULL;
        b->in_flight_bytes -= bytes_of(e);
    }
    dc_nats_call_cancel(e->call);
    e->call = NULL;
}

static void entry_free(struct dc_nats_entry *e)
{
    struct dc_bus_nats *b = e->nats;
    unsend(e);
    b->n_said -= e->is_said && e->state != DONE;
    b->n_plain_subs -= e->kind == DC_NATS_ENTRY_SUB && e->is_plain;
    if (b->unsent == &e->link) {
        b->unsent = e->link.next;
    }
    dc_list_remove(&e->link);
    if (is_limited(e)) {
        b->n_outgoing--;
        b->outgoing_bytes -= e->payload == NULL ? 0 : e->payload->len;
        b->bus.outgoing->value = (int64_t)b->n_outgoing;
    }
    if (e->sub != NULL) {
        e->sub->entry = NULL;
    }
    dc_blob_unref(e->payload);
    dc_free(e);
}

/* Done, well or not; its callback waits for those before it. */
static void settle(struct dc_nats_entry *e, const struct dc_error *err, uint64_t sequence)
{
    if (e->state == SENT) {
        e->nats->n_in_flight[e->kind]--;
    }
    e->nats->n_said -= e->is_said && e->state != DONE;
    e->state = DONE;
    e->err = *err;
    e->sequence = sequence;
    if (err->status != DC_OK) {
        e->nats->bus.failed->value++;
    }
    dc_turn_schedule(e->nats->loop, &e->nats->turn);
}

static void tell(dc_bus_publish_cb cb, void *data, const struct dc_error *err, uint64_t sequence)
{
    if (cb != NULL) {
        cb(data, err->status, sequence, err->status == DC_OK ? NULL : err);
    }
}

/* Those at the front that are done leave; false: there were none. */
static bool finish(struct dc_bus_nats *b)
{
    bool has_finished = false;
    while (!b->is_closing && !dc_list_is_empty(&b->outgoing) &&
           entry_of(b->outgoing.next)->state == DONE) {
        struct dc_nats_entry *e = entry_of(b->outgoing.next);
        dc_bus_publish_cb cb = e->cb;
        void *data = e->data;
        struct dc_error err = e->err;
        uint64_t sequence = e->sequence;
        entry_free(e);
        has_finished = true;
        tell(cb, data, &err, sequence);
    }
    return has_finished;
}

/* --- sending --- */

static void add_id(const struct dc_nats_entry *e, struct dc_strbuf *out)
{
    if (e->has_own_id) {
        dc_strbuf_add(out, dc_slice_make(e->bytes + e->subject_len, e->id_len));
    } else {
        dc_strbuf_printf(out, "%s.%llu", e->nats->nonce, (unsigned long long)e->made_id);
    }
}

static void send_message(struct dc_nats_entry *e)
{
    struct dc_bus_nats *b = e->nats;
    struct dc_strbuf reply = {0}, id = {0};
    e->was_sent = true;
    e->is_refused = false;
    if (e->is_plain) {
        const struct dc_error ok = {.status = DC_OK};
        dc_nats_link_publish(b->link, subject_of(e), DC_SLICE_NULL, DC_SLICE_NULL, e->payload);
        settle(e, &ok, 0);
        return;
    }
    e->number = b->next_publish++;
    e->has_number = true;
    e->state = SENT;
    e->sent_ms = dc_nats_now_ms(b);
    b->sent[e->number % DC_NATS_WINDOW_MESSAGES] = e;
    b->n_in_flight[e->kind]++;
    b->in_flight_bytes += bytes_of(e);
    dc_strbuf_printf(&reply, "%s.r.p%llu", b->inbox, (unsigned long long)e->number);
    add_id(e, &id);
    dc_nats_link_publish(b->link, subject_of(e), dc_strbuf_slice(&reply), dc_strbuf_slice(&id),
                         e->payload);
    dc_strbuf_free(&reply);
    dc_strbuf_free(&id);
}

static void on_forgotten(void *data, enum dc_status st, const json_t *answer,
                         const struct dc_error *err)
{
    struct dc_nats_entry *e = data;
    (void)answer;
    e->call = NULL;
    if (st == DC_CLOSED) {
        return; /* asked again on the next connection */
    }
    if (st != DC_OK) {
        DC_LOG_WARN_EVENT(e->nats->log, "bus.forget_failed", DC_LF_Z("stream", e->stream->name),
                          DC_LF_ERR(err));
    }
    const struct dc_error outcome = {.status = st};
    settle(e, &outcome, 0);
}

static void send_forget(struct dc_nats_entry *e)
{
    struct dc_bus_nats *b = e->nats;
    struct dc_strbuf body = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &body);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "filter", subject_of(e));
    dc_jsonw_end(&w);
    e->state = SENT;
    e->was_sent = true;
    b->n_in_flight[e->kind]++;
    e->call = dc_nats_call(b, "STREAM.PURGE", e->stream->name, DC_SLICE_NULL,
                           dc_strbuf_slice(&body), on_forgotten, e);
    dc_strbuf_free(&body);
}

static bool may_send(const struct dc_nats_entry *e)
{
    const struct dc_bus_nats *b = e->nats;
    for (size_t kind = 0; kind < DC_ARRAY_LEN(b->n_in_flight); kind++) {
        if (kind != e->kind && b->n_in_flight[kind] > 0) {
            return false;
        }
    }
    if (!b->is_ready || dc_nats_now_ms(b) < b->hold_until_ms || dc_nats_link_is_full(b->link)) {
        return false;
    }
    switch (e->kind) {
    case DC_NATS_ENTRY_MESSAGE:
        return e->is_plain || (b->sent[b->next_publish % DC_NATS_WINDOW_MESSAGES] == NULL &&
                               (b->in_flight_bytes == 0 ||
                                b->in_flight_bytes + bytes_of(e) <= DC_NATS_WINDOW_BYTES));
    case DC_NATS_ENTRY_FORGET:
        return b->n_in_flight[e->kind] < DC_NATS_FORGETS_MAX;
    case DC_NATS_ENTRY_SUB:
        return true;
    }
    return false;
}

static void send_one(struct dc_nats_entry *e)
{
    switch (e->kind) {
    case DC_NATS_ENTRY_MESSAGE:
        send_message(e);
        break;
    case DC_NATS_ENTRY_FORGET:
        send_forget(e);
        break;
    case DC_NATS_ENTRY_SUB:
        e->state = SENT;
        e->sent_ms = dc_nats_now_ms(e->nats);
        e->nats->n_in_flight[e->kind]++;
        dc_nats_sub_begin(e->sub); /* may pass at once, and call out */
        break;
    }
}

/* What is said may go now.  A plain subscription that has not begun is not passed: it may be there
 * to hear the answer. */
static bool may_say(const struct dc_bus_nats *b)
{
    return b->n_plain_subs == 0 && dc_nats_link_is_up(b->link) && !dc_nats_link_is_full(b->link);
}

/* Those that wait for the connection alone.  They are there only after it was down or full. */
static void send_said(struct dc_bus_nats *b)
{
    DC_LIST_FOREACH (it, &b->outgoing) {
        struct dc_nats_entry *e = entry_of(it);
        if (b->n_said == 0 || !may_say(b)) {
            return;
        }
        if (e->is_said && e->state == WAITING) {
            send_message(e);
        }
    }
}

/* Their callbacks; the messages stay. */
static void tell_canceled(struct dc_bus_nats *b)
{
    struct dc_list *it = b->outgoing.next;
    b->has_canceled = false;
    while (it != &b->outgoing) {
        struct dc_nats_entry *e = entry_of(it);
        it = it->next;
        if (e->is_canceled && e->cb != NULL && e->state != DONE) {
            dc_bus_publish_cb cb = e->cb;
            struct dc_error err = {0};
            e->cb = NULL;
            (void)dc_fail(&err, DC_CANCELED, 0, "bus: canceled by the caller");
            tell(cb, e->data, &err, 0);
            it = b->outgoing.next; /* anything may have changed */
        }
    }
}

void dc_nats_outgoing_pump(struct dc_bus_nats *b)
{
    if (b->has_canceled) {
        tell_canceled(b);
    }
    send_said(b);
    (void)finish(b); /* makes room in the window */
    while (!b->is_closing && b->unsent != &b->outgoing) {
        struct dc_nats_entry *e = entry_of(b->unsent);
        if (e->state == WAITING && !may_send(e)) {
            break;
        }
        b->unsent = e->link.next;
        if (e->state == WAITING) {
            send_one(e);
        }
    }
    if (finish(b)) {
        dc_nats_stir(b); /* what stands behind them may go now */
    }
}

/* --- trouble --- */

/* Everything that has not been acknowledged is to be sent again, in order.  A message without an id
 * of its own that was stored although one before it was not is repeated under a new one: the last
 * value of a subject must not be an older one. */
static void rewind_all(struct dc_bus_nats *b)
{
    bool is_behind = false;
    DC_LIST_FOREACH (it, &b->outgoing) {
        struct dc_nats_entry *e = entry_of(it);
        bool is_message = e->kind == DC_NATS_ENTRY_MESSAGE && !e->is_plain;
        if (e->state == SENT) {
            unsend(e);
            is_behind = is_behind || is_message;
        } else if (e->state == DONE && is_message && is_behind && !e->has_own_id &&
                   e->err.status == DC_OK) {
            unsend(e);
            e->state = WAITING;
            e->made_id = ++b->next_id;
        }
    }
    b->unsent = b->outgoing.next;
}

static void on_held(struct dc_nats_wake *w)
{
    dc_nats_stir(DC_CONTAINER_OF(w, struct dc_bus_nats, outgoing_wake));
}

static void try_again(struct dc_bus_nats *b)
{
    uint64_t pause_ms = dc_backoff_next_ms(&b->outgoing_backoff);
    rewind_all(b);
    b->hold_until_ms = dc_nats_now_ms(b) + (int64_t)pause_ms;
    dc_nats_wake_set(b, &b->outgoing_wake, pause_ms);
}

void dc_nats_outgoing_answer(struct dc_bus_nats *b, uint64_t number, const struct dc_nats_in *in)
{
    struct dc_nats_entry *e = b->sent[number % DC_NATS_WINDOW_MESSAGES];
    json_t *answer = NULL;
    struct dc_error err = {0};
    if (e == NULL || e->number != number || e->state != SENT) {
        return;
    }
    if (in->status != 0) { /* no stream listens there */
        e->is_refused = true;
        try_again(b);
        dc_nats_streams_doubt(b);
        return;
    }
    if (dc_json_parse(in->payload, &answer, &err) != DC_OK ||
        dc_nats_answer_check(answer, &err) == DC_UNAVAILABLE) {
        e->is_refused = true;
        DC_LOG_WARN_EVENT(b->log, "bus.publish_later", DC_LF_T("subject", subject_of(e)),
                          DC_LF_ERR(&err));
        try_again(b);
    } else {
        if (json_is_true(json_object_get(answer, "duplicate"))) {
            b->bus.duplicates->value++;
        }
        dc_backoff_reset(&b->outgoing_backoff);
        settle(e, &err, dc_nats_number(answer, "seq"));
    }
    json_decref(answer);
}

static void give_up(struct dc_nats_entry *e)
{
    struct dc_error err = {0};
    bool is_unknown = e->was_sent && !e->is_refused;
    enum dc_status st = is_unknown ? DC_TIMEOUT : DC_UNAVAILABLE;
    (void)dc_fail(&err, st, 0, "%s",
                  is_unknown ? "bus: NATS has not acknowledged the message in time"
                             : "bus: NATS could not take the message in time");
    unsend(e);
    settle(e, &err, 0);
}

/* They stand at the front when they have been sent. */
static void pass_stuck(struct dc_bus_nats *b)
{
    struct dc_list *it = b->outgoing.next;
    while (it != &b->outgoing && entry_of(it)->kind == DC_NATS_ENTRY_SUB) {
        struct dc_nats_entry *e = entry_of(it);
        it = it->next;
        if (e->state == SENT && dc_nats_now_ms(b) - e->sent_ms > SUB_PATIENCE_MS) {
            dc_nats_outgoing_pass(e->sub);
        }
    }
}

void dc_nats_outgoing_tick(struct dc_bus_nats *b)
{
    int64_t now_ms = dc_nats_now_ms(b);
    bool is_late = false;
    pass_stuck(b);
    DC_LIST_FOREACH (it, &b->outgoing) {
        struct dc_nats_entry *e = entry_of(it);
        if (e->deadline_ms > now_ms && e->state != DONE) {
            is_late = e->state == SENT && e->kind == DC_NATS_ENTRY_MESSAGE &&
                      now_ms - e->sent_ms >= PATIENCE_MS;
            break; /* what follows is younger */
        }
        if (e->deadline_ms <= now_ms && is_limited(e) && e->state != DONE) {
            give_up(e);
        }
    }
    if (is_late && b->is_ready && dc_nats_link_is_idle(b->link)) {
        try_again(b);
        dc_nats_streams_doubt(b);
    }
}

void dc_nats_outgoing_down(struct dc_bus_nats *b)
{
    rewind_all(b);
    b->hold_until_ms = 0;
    dc_nats_wake_clear(b, &b->outgoing_wake);
}

/* --- from the port --- */

enum dc_status dc_nats_outgoing_publish(struct dc_bus_nats *b, const struct dc_bus_stream *stream,
                                        struct dc_slice subject, struct dc_slice id,
                                        struct dc_slice payload, dc_bus_publish_cb cb, void *data,
                                        struct dc_op **op)
{
    if (b->n_outgoing >= DC_BUS_OUTGOING_MAX_MESSAGES ||
        b->outgoing_bytes + payload.len > DC_BUS_OUTGOING_MAX_BYTES) {
        return DC_LIMIT;
    }
    struct dc_blob *copy = payload.len == 0 ? NULL : dc_blob_copy(payload);
    if (copy == NULL && payload.len > 0) {
        return DC_NO_MEMORY;
    }
    bool has_own_id = stream != NULL && stream->dedup_window_ms > 0 && id.len > 0;
    struct dc_nats_entry *e =
        entry_push(b, DC_NATS_ENTRY_MESSAGE, subject, has_own_id ? id : DC_SLICE_NULL);
    e->is_plain = stream == NULL;
    e->has_own_id = has_own_id;
    e->made_id = ++b->next_id;
    e->payload = copy;
    e->stream = stream;
    e->cb = cb;
    e->data = data;
    b->outgoing_bytes += payload.len;
    *op = cb == NULL ? NULL : &e->op;
    return DC_OK;
}

enum dc_status dc_nats_outgoing_say(struct dc_bus_nats *b, struct dc_slice subject,
                                    struct dc_slice payload)
{
    struct dc_op *none = NULL;
    if (b->n_said == 0 && may_say(b)) {
        struct dc_blob *copy = payload.len == 0 ? NULL : dc_blob_copy(payload);
        if (copy == NULL && payload.len > 0) {
            return DC_NO_MEMORY;
        }
        dc_nats_link_publish(b->link, subject, DC_SLICE_NULL, DC_SLICE_NULL, copy);
        dc_blob_unref(copy);
        return DC_OK;
    }
    enum dc_status st =
        dc_nats_outgoing_publish(b, NULL, subject, DC_SLICE_NULL, payload, NULL, NULL, &none);
    if (st == DC_OK) {
        entry_of(b->outgoing.prev)->is_said = true;
        b->n_said++;
    }
    return st;
}

enum dc_status dc_nats_outgoing_forget(struct dc_bus_nats *b, const struct dc_bus_stream *stream,
                                       struct dc_slice subject)
{
    if (b->n_outgoing >= DC_BUS_OUTGOING_MAX_MESSAGES) {
        return DC_LIMIT;
    }
    entry_push(b, DC_NATS_ENTRY_FORGET, subject, DC_SLICE_NULL)->stream = stream;
    return DC_OK;
}

void dc_nats_outgoing_sub(struct dc_bus_nats *b, struct dc_nats_sub *s)
{
    struct dc_nats_entry *e = entry_push(b, DC_NATS_ENTRY_SUB, DC_SLICE_NULL, DC_SLICE_NULL);
    e->sub = s;
    e->is_plain = s->stream == NULL;
    b->n_plain_subs += e->is_plain;
    s->entry = e;
}

void dc_nats_outgoing_pass(struct dc_nats_sub *s)
{
    if (s->entry != NULL) {
        dc_nats_stir(s->nats);
        entry_free(s->entry);
    }
}

/* --- life --- */

void dc_nats_outgoing_init(struct dc_bus_nats *b)
{
    dc_list_init(&b->outgoing);
    b->unsent = &b->outgoing;
    b->sent = dc_calloc(DC_NATS_WINDOW_MESSAGES, sizeof(struct dc_nats_entry *));
    b->outgoing_backoff = (struct dc_backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
    b->outgoing_wake.fn = on_held;
}

void dc_nats_outgoing_end(struct dc_bus_nats *b)
{
    for (struct dc_list *it = b->unsent; it != &b->outgoing && b->is_ready; it = it->next) {
        struct dc_nats_entry *e = entry_of(it);
        if (e->kind == DC_NATS_ENTRY_FORGET || dc_nats_link_is_full(b->link)) {
            break;
        }
        if (e->kind == DC_NATS_ENTRY_MESSAGE && e->state == WAITING) {
            struct dc_strbuf id = {0};
            add_id(e, &id);
            dc_nats_link_publish(b->link, subject_of(e), DC_SLICE_NULL,
                                 e->is_plain ? DC_SLICE_NULL : dc_strbuf_slice(&id), e->payload);
            dc_strbuf_free(&id);
        }
    }
    while (!dc_list_is_empty(&b->outgoing)) {
        struct dc_nats_entry *e = entry_of(b->outgoing.next);
        dc_bus_publish_cb cb = e->cb;
        void *data = e->data;
        struct dc_error err = e->err;
        uint64_t sequence = e->sequence;
        if (e->state != DONE) {
            (void)dc_fail(&err, DC_CANCELED, 0, "bus: closed before the message was acknowledged");
        }
        entry_free(e);
        tell(cb, data, &err, sequence);
    }
}

void dc_nats_outgoing_free(struct dc_bus_nats *b)
{
    dc_free(b->sent);
}
