/* The key-value port over Redis: calls of a turn leave together at its end; answers end them in
 * order.  See redis_priv.h for the parts. */
#include "base/mem.h"
#include "kv/redis_priv.h"

#define DEADLINE_DEFAULT_MS 5000
/* What is handed to the connection at a time; the rest waits here, where it can be taken back. */
#define WINDOW_BYTES ((size_t)256 * 1024)

static struct redis *redis_of(struct dc_kv *kv)
{
    return DC_CONTAINER_OF(kv, struct redis, kv);
}

static struct redis_call *call_of(struct dc_list *link)
{
    return DC_LIST_ENTRY(link, struct redis_call, base.link);
}

/* --- ends of a call --- */

static void call_free(struct redis *r, struct redis_call *call)
{
    dc_list_remove(&call->base.link);
    dc_list_remove(&call->canceled);
    dc_timeout_remove(&call->deadline);
    dc_kv_call_free(&r->kv, &call->base);
}

static void call_end(struct redis *r, struct redis_call *call, enum dc_status st,
                     const struct dc_kv_answer *answer, const struct dc_error *err)
{
    dc_list_remove(&call->base.link);
    dc_list_remove(&call->canceled);
    dc_timeout_remove(&call->deadline);
    call->is_over = true;
    dc_histogram_observe_us(r->seconds, dc_mono_now_us() - call->made_us);
    dc_kv_call_answer(&r->kv, &call->base, st, answer, err);
    call_free(r, call);
}

/* Before its time.  The server may have it already: then the object stays until it is heard of. */
static void call_end_early(struct redis *r, struct redis_call *call, enum dc_status st,
                           const struct dc_error *err)
{
    if (!call->is_sent) {
        call_end(r, call, st, NULL, err);
        return;
    }
    dc_list_remove(&call->canceled);
    dc_timeout_remove(&call->deadline);
    call->is_over = true;
    dc_histogram_observe_us(r->seconds, dc_mono_now_us() - call->made_us);
    dc_kv_call_answer(&r->kv, &call->base, st, NULL, err);
}

/* All of a list, in order; the callbacks may do what they like. */
static void end_list(struct redis *r, struct dc_list *list, enum dc_status st,
                     const struct dc_error *err)
{
    struct dc_list ending;

    dc_list_init(&ending);
    dc_list_move_all(&ending, list);
    while (!dc_list_is_empty(&ending)) {
        struct redis_call *call = call_of(ending.next);
        if (call->is_over) {
            call_free(r, call);
        } else {
            call_end(r, call, st, NULL, err);
        }
    }
}

void redis_calls_fail(struct redis *r, const struct dc_error *err)
{
    struct dc_error unknown;

    (void)dc_fail_code(&unknown, DC_UNAVAILABLE, "outcome_unknown", "%s", dc_error_text(err));
    end_list(r, &r->sent, DC_UNAVAILABLE, &unknown);
    end_list(r, &r->again, DC_UNAVAILABLE, err);
    end_list(r, &r->queued, DC_UNAVAILABLE, err);
}

/* --- answers --- */

static void reconnect(struct redis *r, const struct dc_error *err)
{
    if (!r->should_reconnect) {
        r->should_reconnect = true;
        r->reconnect_err = *err;
        dc_turn_schedule(r->kv.loop, &r->turn);
    }
}

/* The connection is good, and the server refuses a part of the work all the same. */
static void note_refusal(struct redis *r, const struct dc_redis_refusal *refusal,
                         enum dc_kv_verb verb)
{
    if (r->standing == refusal) {
        return;
    }
    r->standing = refusal;
    r->standing_verb = verb;
    DC_LOG_ERROR_EVENT(r->kv.log, "kv.refused", DC_LF_Z("answer", refusal->word),
                       DC_LF_Z("detail", refusal->text));
    dc_health_set(r->kv.health, DC_HEALTH_DEGRADED, refusal->text);
}

/* The same verb works again; or any that writes, unless only that one was forbidden. */
static void note_success(struct redis *r, enum dc_kv_verb verb)
{
    bool is_write = verb == DC_KV_SET || verb == DC_KV_LEASE_ACQUIRE || verb == DC_KV_EXPIRY_ADD;

    if (r->standing != NULL &&
        (verb == r->standing_verb || (is_write && r->standing->status != DC_CONFIG))) {
        r->standing = NULL;
        DC_LOG_INFO_EVENT(r->kv.log, "kv.accepted_again", DC_LF_Z("backend", "redis"));
        dc_health_set(r->kv.health, DC_HEALTH_OK, "redis");
    }
}

static void call_refused(struct redis *r, struct redis_call *call, const redisReply *answer)
{
    const struct dc_redis_refusal *refusal =
        dc_redis_refusal_find(dc_slice_make(answer->str, answer->len));
    struct dc_error err;

    if (refusal->remedy == DC_REDIS_EVAL && !call->is_eval &&
        redis_verb_has_script(call->base.req.verb)) {
        /* It had no effect, so it may be sent again, before what waits; but not before it is known
         * which of those behind it must be sent again too: they take effect in their order. */
        call->is_eval = true;
        call->is_sent = false;
        dc_list_push_back(&r->again, &call->base.link);
        r->is_holding = true;
        return;
    }
    (void)dc_redis_refusal_fail(refusal, &err);
    if (refusal->remedy == DC_REDIS_RECONNECT) {
        reconnect(r, &err);
    } else if (refusal->remedy == DC_REDIS_STANDING) {
        note_refusal(r, refusal, call->base.req.verb);
    } else if (refusal->remedy == DC_REDIS_THIS_CALL) {
        DC_LOG_WARN_EVENT(r->kv.log, "kv.command_refused", DC_LF_Z("answer", refusal->word),
                          DC_LF_Z("detail", refusal->text));
    }
    call_end(r, call, refusal->status, NULL, &err);
}

static void read_answer(struct redis *r, struct redis_call *call, const redisReply *answer)
{
    struct dc_slice members[DC_KV_TAKE_MAX];
    struct dc_kv_answer out = {.value = DC_SLICE_NULL};
    struct dc_error err;
    enum dc_status st = redis_verb_read(call, answer, members, &out, &err);
    if (st == DC_UPSTREAM) {
        dc_redis_link_fail(r->link, &err); /* out of step, or no Redis at all */
    } else if (st == DC_OK) {
        note_success(r, call->base.req.verb);
    }
    call_end(r, call, st, &out, &err);
}

void redis_call_answered(struct redis *r, struct redis_call *call, const redisReply *answer)
{
    DC_ASSERT(r->sent.next == &call->base.link);
    r->heard_ms = dc_loop_now(r->kv.loop).ms;
    dc_list_remove(&call->base.link);
    if (call->is_over) {
        call_free(r, call);
    } else if (answer->type == REDIS_REPLY_ERROR) {
        call_refused(r, call, answer);
    } else {
        read_answer(r, call, answer);
    }
    if (r->is_holding && dc_list_is_empty(&r->sent)) {
        r->is_holding = false;
        dc_turn_schedule(r->kv.loop, &r->turn);
    }
}

/* --- sending --- */

static struct redis_call *next_to_send(struct redis *r)
{
    if (!dc_list_is_empty(&r->again)) {
        return call_of(r->again.next);
    }
    return dc_list_is_empty(&r->queued) ? NULL : call_of(r->queued.next);
}

static void send_calls(struct redis *r)
{
    struct redis_call *call = next_to_send(r);
    int64_t now_ms = dc_loop_now(r->kv.loop).ms;

    while (call != NULL && dc_redis_link_unsent(r->link) == 0) {
        while (call != NULL && dc_redis_link_unsent(r->link) < WINDOW_BYTES) {
            if (!redis_verb_send(r, call)) {
                return; /* the link is lost, which we shall hear */
            }
            call->is_sent = true;
            call->sent_ms = now_ms;
            dc_list_remove(&call->base.link);
            dc_list_push_back(&r->sent, &call->base.link);
            call = next_to_send(r);
        }
        dc_redis_link_flush(r->link);
    }
}

void redis_calls_ready(struct redis *r)
{
    dc_turn_schedule(r->kv.loop, &r->turn);
}

/* --- deadlines, cancelling --- */

static void on_deadline(void *data, struct dc_timeout *timeout)
{
    struct redis *r = data;
    struct redis_call *call = DC_CONTAINER_OF(timeout, struct redis_call, deadline);
    struct dc_error err;

    if (call->is_sent) {
        (void)dc_fail_code(&err, DC_TIMEOUT, "outcome_unknown", "Redis did not answer in time");
        if (r->heard_ms <= call->sent_ms) {
            struct dc_error mute;
            (void)dc_fail(&mute, DC_UNAVAILABLE, 0, "the server does not answer");
            reconnect(r, &mute);
        }
    } else {
        (void)dc_fail(&err, DC_TIMEOUT, 0, "Redis was not reached in time");
    }
    call_end_early(r, call, DC_TIMEOUT, &err);
}

static void cancel(struct dc_op *op)
{
    struct redis_call *call = DC_CONTAINER_OF(op, struct redis_call, base.op);
    struct redis *r = call->redis;

    if (!call->is_over && dc_list_is_empty(&call->canceled)) {
        dc_list_push_back(&r->canceled, &call->canceled);
        dc_turn_schedule(r->kv.loop, &r->turn);
    }
}

static void end_canceled(struct redis *r)
{
    struct dc_list ending;

    dc_list_init(&ending);
    dc_list_move_all(&ending, &r->canceled);
    while (!dc_list_is_empty(&ending)) {
        struct redis_call *call = DC_LIST_ENTRY(ending.next, struct redis_call, canceled);
        call_end_early(r, call, DC_CANCELED, NULL);
    }
}

/* --- the port's door --- */

static void stop(struct redis *r)
{
    if (r->state == DC_REDIS_STOPPED) {
        return;
    }
    redis_find_stop(r);
    end_list(r, &r->sent, DC_CANCELED, NULL);
    end_list(r, &r->again, DC_CANCELED, NULL);
    end_list(r, &r->queued, DC_CANCELED, NULL);
    dc_timeouts_close(r->deadlines);
    r->deadlines = NULL;
}

static void on_turn(struct dc_turn *turn)
{
    struct redis *r = DC_CONTAINER_OF(turn, struct redis, turn);

    if (r->kv.is_closing) {
        stop(r);
        return;
    }
    end_canceled(r);
    if (r->state != DC_REDIS_READY) {
        return;
    }
    if (r->should_reconnect) {
        dc_redis_link_fail(r->link, &r->reconnect_err);
        return;
    }
    if (!r->is_holding) {
        send_calls(r);
    }
}

static enum dc_status redis_submit(struct dc_kv *kv, const struct dc_kv_request *req,
                                   struct dc_op **op)
{
    struct redis *r = redis_of(kv);
    struct dc_kv_call *base = NULL;

    if (r->is_down) {
        return DC_UNAVAILABLE;
    }
    enum dc_status st = dc_kv_call_create(kv, req, sizeof(struct redis_call), &base);
    if (st != DC_OK) {
        return st;
    }
    struct redis_call *call = DC_CONTAINER_OF(base, struct redis_call, base);
    call->base.op.cancel = cancel;
    call->redis = r;
    call->made_us = dc_mono_now_us();
    dc_list_init(&call->canceled);
    dc_timeout_init(&call->deadline);
    dc_timeout_touch(r->deadlines, &call->deadline);
    dc_list_push_back(&r->queued, &call->base.link);
    dc_turn_schedule(kv->loop, &r->turn);
    *op = &call->base.op;
    return DC_OK;
}

static void redis_close(struct dc_kv *kv)
{
    dc_turn_schedule(kv->loop, &redis_of(kv)->turn);
}

void redis_check_closed(struct redis *r)
{
    if (r->state != DC_REDIS_STOPPED || !r->is_timer_closed || r->n_links > 0) {
        return;
    }
    dc_turn_cancel(&r->turn);
    dc_redis_url_free(&r->url);
    dc_redis_tls_ctx_free(r->tls);
    dc_free(r->host);
    dc_kv_closed(&r->kv);
}

static const struct dc_kv_backend redis_backend = {redis_submit, redis_close};

static enum dc_status open_tls(const struct dc_kv_opts *opts, bool is_tls,
                               struct dc_redis_tls_ctx **out, struct dc_error *err)
{
    const struct dc_redis_tls_opts files = {opts->tls_ca_file, opts->tls_cert_file,
                                            opts->tls_key_file};

    *out = NULL;
    if (is_tls) {
        return dc_redis_tls_ctx_create(&files, out, err);
    }
    /* Who set them thinks that nobody can listen. */
    if (files.ca_file != NULL || files.cert_file != NULL || files.key_file != NULL) {
        return dc_fail(err, DC_CONFIG, 0, "%s is set, but REDIS_URL does not say rediss://",
                       files.ca_file != NULL     ? "REDIS_TLS_CA_FILE"
                       : files.cert_file != NULL ? "REDIS_TLS_CERT_FILE"
                                                 : "REDIS_TLS_KEY_FILE");
    }
    return DC_OK;
}

enum dc_status dc_kv_redis_open(struct dc_loop *loop, const struct dc_kv_opts *opts,
                                struct dc_kv **out, struct dc_error *err)
{
    struct dc_redis_url url;
    enum dc_status st = dc_redis_url_parse(opts->url, opts->password, &url, err);

    if (st != DC_OK) {
        return st;
    }
    struct dc_redis_tls_ctx *tls = NULL;
    st = open_tls(opts, url.is_tls, &tls, err);
    if (st != DC_OK) {
        dc_redis_url_free(&url);
        return st;
    }
    struct redis *r = dc_calloc(1, sizeof(*r));
    dc_kv_init(&r->kv, &redis_backend, loop, opts);
    r->url = url;
    r->tls = tls;
    r->deadline_ms = opts->deadline_ms != 0 ? opts->deadline_ms : DEADLINE_DEFAULT_MS;
    r->seconds = dc_metrics_histogram(opts->metrics, "daarion_kv_call_seconds", NULL,
                                      "From the call to its answer");
    r->connects = dc_metrics_counter(opts->metrics, "daarion_kv_connects_total", NULL,
                                     "Connections made to Redis");
    r->losses = dc_metrics_counter(opts->metrics, "daarion_kv_losses_total", NULL,
                                   "Connections to Redis that broke");
    r->connected =
        dc_metrics_gauge(opts->metrics, "daarion_kv_connected", NULL, "1: connected to Redis");
    dc_list_init(&r->again);
    dc_list_init(&r->queued);
    dc_list_init(&r->sent);
    dc_list_init(&r->canceled);
    dc_turn_init(&r->turn, on_turn);
    r->deadlines = dc_timeouts_create(loop, r->deadline_ms, on_deadline, r);
    redis_find_init(r);
    redis_find_start(r);
    *out = &r->kv;
    return DC_OK;
}
