/* The link's half that belongs to the loop: when to connect, what to send next, handing out what
 * has arrived, the end. */
#include "base/random.h"
#include "bus/nats_link_priv.h"
#include <stdio.h>

#define BACKOFF_BASE_MS  50
#define BACKOFF_MAX_MS   5000
#define FAILURE_AGAIN_MS 60000 /* the same failure is logged again after this time */
#define TURN_BUDGET      128   /* messages handed out in one turn, of less than 5 ms */
#define COMMAND_OVERHEAD 128
#define JOB_MAX_BYTES    ((size_t)512 * 1024)

static void connect_next(struct dc_nats_link *l);
static void conn_work(struct dc_nats_conn *c);
static void check_closed(struct dc_nats_link *l);

/* --- messages --- */

struct dc_slice dc_nats_in_text(const struct dc_nats_in *in, const char *header)
{
    const char *value = NULL;
    if (natsMsgHeader_Get(in->msg, header, &value) != NATS_OK || value == NULL) {
        return DC_SLICE_NULL;
    }
    return dc_slice_z(value);
}

uint64_t dc_nats_in_number(const struct dc_nats_in *in, const char *header)
{
    uint64_t number = 0;
    return dc_slice_to_u64(dc_slice_trim(dc_nats_in_text(in, header)), &number) ? number : 0;
}

/* --- slots --- */

static void slot_check_free(struct dc_nats_slot *slot)
{
    if (!slot->is_released || !slot->is_complete) {
        return;
    }
    dc_list_remove(&slot->link);
    dc_free(slot);
}

/* --- commands --- */

static void command_free(struct dc_nats_link *l, struct dc_nats_command *c)
{
    dc_list_remove(&c->link);
    l->sending_bytes -= c->bytes;
    dc_blob_unref(c->payload);
    dc_free(c);
}

static char *put(char *at, struct dc_slice text)
{
    memcpy(at, text.ptr, text.len);
    at[text.len] = '\0';
    return at + text.len + 1;
}

static struct dc_nats_command *command_push(struct dc_nats_conn *conn,
                                            enum dc_nats_command_kind kind, struct dc_slice subject,
                                            struct dc_slice reply, struct dc_slice id)
{
    struct dc_nats_link *l = conn->link;
    size_t texts = subject.len + reply.len + id.len + 3;
    struct dc_nats_command *c = dc_calloc(1, sizeof(*c) + texts);
    char *at = c->texts;
    c->kind = kind;
    c->bytes = texts + COMMAND_OVERHEAD;
    if (subject.len > 0) {
        c->subject = at;
        at = put(at, subject);
    }
    if (reply.len > 0) {
        c->reply = at;
        at = put(at, reply);
    }
    if (id.len > 0) {
        c->id = at;
        (void)put(at, id);
    }
    l->sending_bytes += c->bytes;
    dc_list_push_back(&conn->commands, &c->link);
    dc_turn_schedule(l->loop, &l->turn);
    return c;
}

void dc_nats_link_publish(struct dc_nats_link *l, struct dc_slice subject, struct dc_slice reply,
                          struct dc_slice id, struct dc_blob *payload)
{
    DC_ASSERT(l->conn != NULL);
    struct dc_nats_command *c = command_push(l->conn, DC_NATS_PUBLISH, subject, reply, id);
    if (payload != NULL) {
        c->payload = dc_blob_ref(payload);
        c->bytes += payload->len;
        l->sending_bytes += payload->len;
    }
}

struct dc_nats_slot *dc_nats_link_subscribe(struct dc_nats_link *l, struct dc_slice subject,
                                            enum dc_nats_slot_kind kind, dc_nats_in_cb cb,
                                            void *owner)
{
    DC_ASSERT(l->conn != NULL);
    struct dc_nats_slot *slot = dc_calloc(1, sizeof(*slot) + subject.len + 1);
    slot->conn = l->conn;
    slot->kind = kind;
    slot->cb = cb;
    slot->owner = owner;
    slot->subject_len = subject.len;
    (void)put(slot->subject, subject);
    dc_list_push_back(&l->conn->slots, &slot->link);
    command_push(l->conn, DC_NATS_SUBSCRIBE, DC_SLICE_NULL, DC_SLICE_NULL, DC_SLICE_NULL)->slot =
        slot;
    return slot;
}

static void give_back(struct dc_nats_slot *slot)
{
    slot->cb = NULL;
    if (!slot->is_given_back) {
        slot->is_given_back = true;
        command_push(slot->conn, DC_NATS_UNSUBSCRIBE, DC_SLICE_NULL, DC_SLICE_NULL, DC_SLICE_NULL)
            ->slot = slot;
    }
}

void dc_nats_link_unsubscribe(struct dc_nats_slot *slot)
{
    if (slot != NULL) {
        give_back(slot);
    }
}

bool dc_nats_link_is_up(const struct dc_nats_link *l)
{
    return l->conn != NULL;
}

bool dc_nats_link_is_full(const struct dc_nats_link *l)
{
    return l->sending_bytes >= DC_NATS_SENDING_MAX_BYTES;
}

bool dc_nats_link_is_idle(const struct dc_nats_link *l)
{
    return l->sending_bytes == 0;
}

/* --- jobs --- */

static void conn_check_free(struct dc_nats_conn *c)
{
    struct dc_nats_link *l = c->link;
    if (!c->is_let_go || !c->is_closed || !dc_list_is_empty(&c->slots)) {
        return;
    }
    l->n_conns--;
    dc_free(c);
    check_closed(l);
}

static void job_done(void *data)
{
    struct dc_nats_job *j = data;
    struct dc_nats_conn *c = j->conn;
    struct dc_nats_link *l = c->link;
    while (!dc_list_is_empty(&j->commands)) {
        struct dc_nats_command *command =
            DC_LIST_ENTRY(j->commands.next, struct dc_nats_command, link);
        struct dc_nats_slot *slot = command->kind == DC_NATS_UNSUBSCRIBE ? command->slot : NULL;
        command_free(l, command);
        if (slot != NULL) {
            slot->is_released = true;
            slot_check_free(slot);
        }
    }
    c->is_busy = false;
    if (j->is_last) {
        c->is_let_go = true;
        dc_free(j);
        conn_check_free(c);
        return;
    }
    dc_free(j);
    conn_work(c);
    if (l->conn == c) {
        l->events->room(l->data);
    }
}

/* The next lot, unless one is on its way. */
static void conn_work(struct dc_nats_conn *c)
{
    struct dc_nats_link *l = c->link;
    if (c->is_busy || c->is_let_go || (dc_list_is_empty(&c->commands) && !c->is_ending)) {
        return;
    }
    struct dc_nats_job *j = dc_calloc(1, sizeof(*j));
    j->conn = c;
    dc_list_init(&j->commands);
    size_t bytes = 0;
    while (!dc_list_is_empty(&c->commands) && bytes < JOB_MAX_BYTES) {
        struct dc_list *first = c->commands.next;
        bytes += DC_LIST_ENTRY(first, struct dc_nats_command, link)->bytes;
        dc_list_remove(first);
        dc_list_push_back(&j->commands, first);
    }
    j->is_last = c->is_ending && dc_list_is_empty(&c->commands);
    c->is_busy = true;
    if (dc_work_submit(l->loop, dc_nats_job_run, job_done, j) != DC_OK) {
        DC_ASSERT(false); /* libuv refuses only what has no work function */
    }
}

/* --- connecting --- */

static bool is_news(struct dc_nats_link *l, const struct dc_error *err)
{
    int64_t now_ms = dc_loop_now(l->loop).ms;
    const char *text = dc_error_text(err);
    if (strncmp(text, l->last_failure, sizeof(l->last_failure) - 1) == 0 &&
        now_ms - l->last_failure_ms < FAILURE_AGAIN_MS) {
        return false;
    }
    (void)snprintf(l->last_failure, sizeof(l->last_failure), "%s", text);
    l->last_failure_ms = now_ms;
    return true;
}

static void pause_or_next(struct dc_nats_link *l)
{
    l->state = LINK_WAITING;
    if (l->n_tried > 0 && l->n_tried < l->url.n) {
        dc_timer_start(&l->timer, 1, 0);
        return;
    }
    l->n_tried = 0;
    dc_timer_start(&l->timer, dc_backoff_next_ms(&l->backoff), 0);
}

static void attempt_done(void *data)
{
    struct dc_nats_attempt *a = data;
    struct dc_nats_link *l = a->link;
    struct dc_nats_conn *c = a->conn;
    struct dc_error err = a->err;
    const char *address = a->server->address;
    dc_free(a);
    l->state = LINK_WAITING;
    if (err.status != DC_OK) {
        l->n_conns--;
        dc_free(c);
        if (l->is_closing) {
            check_closed(l);
            return;
        }
        if (is_news(l, &err)) {
            DC_LOG(l->log, err.status == DC_CONFIG ? DC_LOG_ERROR : DC_LOG_WARN,
                   "bus.connect_failed", DC_LF_ERR(&err));
        }
        pause_or_next(l);
        l->events->failed(l->data, &err);
        return;
    }
    if (l->is_closing || c->is_closed) {
        c->is_ending = true;
        conn_work(c);
        if (!l->is_closing) {
            pause_or_next(l);
        }
        return;
    }
    l->state = LINK_UP;
    l->conn = c;
    l->n_tried = 0;
    l->last_failure[0] = '\0';
    DC_LOG_INFO_EVENT(l->log, "bus.connected", DC_LF_Z("server", address));
    l->events->up(l->data, address);
}

static void connect_next(struct dc_nats_link *l)
{
    struct dc_nats_attempt *a = dc_calloc(1, sizeof(*a));
    struct dc_nats_conn *c = dc_calloc(1, sizeof(*c));
    c->link = l;
    dc_list_init(&c->commands);
    dc_list_init(&c->slots);
    l->n_conns++;
    a->link = l;
    a->conn = c;
    a->server = &l->url.servers[l->server];
    l->server = (l->server + 1) % l->url.n;
    l->n_tried++;
    l->state = LINK_CONNECTING;
    if (dc_work_submit(l->loop, dc_nats_attempt_run, attempt_done, a) != DC_OK) {
        DC_ASSERT(false); /* as above */
    }
}

static void on_timer(struct dc_timer *t)
{
    struct dc_nats_link *l = DC_CONTAINER_OF(t, struct dc_nats_link, timer);
    if (l->state == LINK_WAITING && !l->is_closing) {
        connect_next(l);
    }
}

/* What was to be published is gone; subscriptions are given back in order. */
static void end_conn(struct dc_nats_conn *c, bool is_lost)
{
    DC_LIST_FOREACH_SAFE (it, &c->commands) {
        struct dc_nats_command *command = DC_LIST_ENTRY(it, struct dc_nats_command, link);
        if (is_lost && command->kind == DC_NATS_PUBLISH) {
            command_free(c->link, command);
        }
    }
    DC_LIST_FOREACH (it, &c->slots) {
        give_back(DC_LIST_ENTRY(it, struct dc_nats_slot, link));
    }
    c->is_ending = true;
    conn_work(c);
}

static void lose(struct dc_nats_link *l, struct dc_nats_conn *c, const char *reason)
{
    c->is_closed = true;
    if (l->conn != c) {
        conn_check_free(c); /* it was ending, or its attempt has not been told yet */
        return;
    }
    l->conn = NULL;
    DC_LOG_WARN_EVENT(l->log, "bus.disconnected", DC_LF_Z("reason", reason));
    end_conn(c, true);
    pause_or_next(l);
    l->events->down(l->data, reason);
}

void dc_nats_link_settled(struct dc_nats_link *l)
{
    dc_backoff_reset(&l->backoff);
}

/* --- handing out --- */

/* Nobody has it any more: others need not wait until its time is over. */
static void hand_back(struct dc_nats_link *l, const struct dc_nats_event *e)
{
    struct dc_slice reply = dc_slice_z(natsMsg_GetReply(e->msg));
    if (e->slot->kind == DC_NATS_SLOT_WORK && l->conn == e->slot->conn &&
        dc_slice_starts(reply, DC_S("$JS.ACK."))) {
        struct dc_blob *no = dc_blob_copy(DC_S("-NAK"));
        dc_nats_link_publish(l, reply, DC_SLICE_NULL, DC_SLICE_NULL, no);
        dc_blob_unref(no);
    }
}

static void hand_out(struct dc_nats_link *l, const struct dc_nats_event *e)
{
    struct dc_nats_slot *slot = e->slot;
    if (slot->cb == NULL) {
        hand_back(l, e);
        return;
    }
    size_t len = (size_t)natsMsg_GetDataLength(e->msg);
    struct dc_nats_in in = {.subject = dc_slice_z(natsMsg_GetSubject(e->msg)),
                            .reply = dc_slice_z(natsMsg_GetReply(e->msg)),
                            .payload = dc_slice_make(natsMsg_GetData(e->msg), len),
                            .msg = e->msg};
    if (len == 0) { /* whoever has a status has no payload */
        in.status = (int)dc_nats_in_number(&in, "Status");
    }
    slot->cb(slot->owner, &in);
}

static void handle(struct dc_nats_link *l, struct dc_nats_event *e)
{
    switch (e->kind) {
    case DC_NATS_MESSAGE:
        hand_out(l, e);
        break;
    case DC_NATS_GAP:
        uv_mutex_lock(&l->queue.lock);
        e->slot->has_gap = false;
        uv_mutex_unlock(&l->queue.lock);
        if (e->slot->cb != NULL) {
            e->slot->cb(e->slot->owner, NULL);
        }
        break;
    case DC_NATS_COMPLETE: {
        struct dc_nats_conn *c = e->slot->conn;
        e->slot->is_complete = true;
        slot_check_free(e->slot);
        conn_check_free(c);
        break;
    }
    case DC_NATS_ERROR:
        DC_LOG_ERROR_EVENT(l->log, "bus.server_error", DC_LF_Z("detail", e->text));
        break;
    case DC_NATS_CLOSED:
        lose(l, e->conn, e->text);
        break;
    }
}

static void take(struct dc_nats_link *l, size_t n_bounded, size_t bounded_bytes)
{
    struct dc_nats_queue *q = &l->queue;
    uv_mutex_lock(&q->lock);
    q->n_bounded -= n_bounded;
    q->bounded_bytes -= bounded_bytes;
    if (l->taken == NULL) {
        l->taken = q->first;
        q->first = NULL;
        q->end = &q->first;
    }
    uv_mutex_unlock(&q->lock);
}

static void drain(struct dc_nats_link *l)
{
    size_t n_bounded = 0, bounded_bytes = 0;
    take(l, 0, 0);
    for (int n = 0; n < TURN_BUDGET && l->taken != NULL; n++) {
        struct dc_nats_event *e = l->taken;
        l->taken = e->next;
        if (e->kind == DC_NATS_MESSAGE && e->slot->kind == DC_NATS_SLOT_BOUNDED) {
            n_bounded++;
            bounded_bytes += (size_t)natsMsg_GetDataLength(e->msg);
        }
        handle(l, e);
        dc_nats_event_free(e);
    }
    take(l, n_bounded, bounded_bytes);
    if (l->taken != NULL) {
        dc_turn_schedule(l->loop, &l->turn);
    }
    check_closed(l);
}

static void on_wake(uv_async_t *wake)
{
    /* At the end of the turn: what it brings is sent on together. */
    struct dc_nats_link *l = wake->data;
    dc_turn_schedule(l->loop, &l->turn);
}

static void on_turn(struct dc_turn *turn)
{
    struct dc_nats_link *l = DC_CONTAINER_OF(turn, struct dc_nats_link, turn);
    drain(l);
    if (l->conn != NULL) {
        conn_work(l->conn);
    }
}

/* --- life --- */

static char *copy(const char *text)
{
    return text == NULL ? NULL : dc_strdup(text);
}

static void link_free(struct dc_nats_link *l)
{
    uv_mutex_destroy(&l->queue.lock);
    dc_nats_url_free(&l->url);
    dc_free(l->credentials_file);
    dc_free(l->tls_ca_file);
    dc_free(l->tls_cert_file);
    dc_free(l->tls_key_file);
    dc_free(l);
}

enum dc_status dc_nats_link_open(struct dc_loop *loop, const struct dc_bus_opts *opts,
                                 const struct dc_nats_link_events *events, void *data,
                                 struct dc_nats_link **out, struct dc_error *err)
{
    struct dc_nats_link *l = dc_calloc(1, sizeof(*l));
    *out = NULL;
    l->loop = loop;
    l->events = events;
    l->data = data;
    l->log = opts->log;
    l->credentials_file = copy(opts->credentials_file);
    l->tls_ca_file = copy(opts->tls_ca_file);
    l->tls_cert_file = copy(opts->tls_cert_file);
    l->tls_key_file = copy(opts->tls_key_file);
    l->queue.end = &l->queue.first;
    int rc = uv_mutex_init(&l->queue.lock);
    DC_ASSERT(rc == 0);
    enum dc_status st = dc_nats_url_parse(opts->url, &l->url, err);
    if (st == DC_OK) {
        st = dc_nats_files_check(l, err);
    }
    if (st != DC_OK) {
        link_free(l);
        return st;
    }
    rc = uv_async_init(dc_loop_uv(loop), &l->queue.wake, on_wake);
    DC_ASSERT(rc == 0);
    l->queue.wake.data = l;
    l->backoff = (struct dc_backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
    l->server = (size_t)dc_random_below(NULL, l->url.n); /* processes spread over the servers */
    dc_timer_init(loop, &l->timer, on_timer);
    dc_turn_init(&l->turn, on_turn);
    connect_next(l);
    *out = l;
    return DC_OK;
}

static void finish(struct dc_nats_link *l)
{
    if (!l->is_timer_closed || !l->is_wake_closed) {
        return;
    }
    void (*closed)(void *data) = l->events->closed;
    void *data = l->data;
    link_free(l);
    closed(data);
}

static void on_timer_closed(struct dc_timer *t)
{
    struct dc_nats_link *l = DC_CONTAINER_OF(t, struct dc_nats_link, timer);
    l->is_timer_closed = true;
    finish(l);
}

static void on_wake_closed(uv_handle_t *handle)
{
    struct dc_nats_link *l = handle->data;
    l->is_wake_closed = true;
    finish(l);
}

static void check_closed(struct dc_nats_link *l)
{
    if (!l->is_closing || l->state == LINK_CLOSED || l->n_conns > 0 || l->taken != NULL) {
        return;
    }
    l->state = LINK_CLOSED;
    dc_turn_cancel(&l->turn);
    dc_timer_close(&l->timer, on_timer_closed);
    uv_close((uv_handle_t *)&l->queue.wake, on_wake_closed);
}

void dc_nats_link_close(struct dc_nats_link *l)
{
    struct dc_nats_conn *c = l->conn;
    DC_ASSERT(!l->is_closing);
    l->is_closing = true;
    dc_timer_stop(&l->timer);
    l->conn = NULL;
    if (c != NULL) {
        end_conn(c, false);
    }
    check_closed(l);
}
