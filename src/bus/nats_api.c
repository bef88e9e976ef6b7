/* Requests to JetStream: published with a reply subject of our inbox, answered by a message there.
 * Publishing is answered there too (nats_outgoing.c). */
#include "base/mem.h"
#include "base/random.h"
#include "bus/nats_priv.h"
#include <stdio.h>

struct dc_nats_call {
    struct dc_list link; /* nats.calls */
    struct dc_timeout timeout;
    uint64_t number;
    dc_nats_call_cb cb;
    void *data;
};

static void ask(struct dc_bus_nats *b, const char *verb, const char *stream, struct dc_slice more,
                struct dc_slice reply, struct dc_slice body)
{
    struct dc_strbuf subject = {0};
    struct dc_blob *payload = body.len == 0 ? NULL : dc_blob_copy(body);
    dc_strbuf_printf(&subject, "$JS.API.%s.%s", verb, stream);
    if (more.len > 0) {
        dc_strbuf_add_char(&subject, '.');
        dc_strbuf_add(&subject, more);
    }
    dc_nats_link_publish(b->link, dc_strbuf_slice(&subject), reply, DC_SLICE_NULL, payload);
    dc_blob_unref(payload);
    dc_strbuf_free(&subject);
}

void dc_nats_tell(struct dc_bus_nats *b, const char *verb, const char *stream, struct dc_slice more)
{
    if (b->is_up) {
        ask(b, verb, stream, more, DC_SLICE_NULL, DC_SLICE_NULL);
    }
}

struct dc_nats_call *dc_nats_call(struct dc_bus_nats *b, const char *verb, const char *stream,
                                  struct dc_slice more, struct dc_slice body, dc_nats_call_cb cb,
                                  void *data)
{
    DC_ASSERT(b->is_up);
    struct dc_nats_call *call = dc_calloc(1, sizeof(*call));
    struct dc_strbuf reply = {0};
    call->number = ++b->next_number;
    call->cb = cb;
    call->data = data;
    dc_timeout_init(&call->timeout);
    dc_timeout_touch(b->call_timeouts, &call->timeout);
    dc_list_push_back(&b->calls, &call->link);
    dc_strbuf_printf(&reply, "%s.r.a%llu", b->inbox, (unsigned long long)call->number);
    ask(b, verb, stream, more, dc_strbuf_slice(&reply), body);
    dc_strbuf_free(&reply);
    return call;
}

void dc_nats_call_cancel(struct dc_nats_call *call)
{
    if (call != NULL) {
        dc_list_remove(&call->link);
        dc_timeout_remove(&call->timeout);
        dc_free(call);
    }
}

static void end(struct dc_nats_call *call, enum dc_status st, const json_t *answer,
                const struct dc_error *err)
{
    dc_nats_call_cb cb = call->cb;
    void *data = call->data;
    dc_nats_call_cancel(call);
    cb(data, st, st == DC_OK ? answer : NULL, err);
}

static void on_timeout(void *data, struct dc_timeout *t)
{
    struct dc_error err = {0};
    (void)data;
    enum dc_status st = dc_fail(&err, DC_TIMEOUT, 0, "JetStream does not answer");
    end(DC_CONTAINER_OF(t, struct dc_nats_call, timeout), st, NULL, &err);
}

static void answered(struct dc_nats_call *call, const struct dc_nats_in *in)
{
    struct dc_error err = {0};
    json_t *answer = NULL;
    enum dc_status st = DC_OK;
    if (in->status != 0) {
        st = dc_fail(&err, DC_UNAVAILABLE, in->status,
                     "JetStream is not there (is it enabled? has its cluster a leader?)");
    } else if (dc_json_parse(in->payload, &answer, &err) != DC_OK || !json_is_object(answer)) {
        st = dc_fail(&err, DC_UPSTREAM, 0, "JetStream's answer makes no sense");
    } else {
        st = dc_nats_answer_check(answer, &err);
    }
    end(call, st, answer, &err);
    json_decref(answer);
}

static void on_reply(void *owner, const struct dc_nats_in *in)
{
    struct dc_bus_nats *b = owner;
    struct dc_slice token = in->subject;
    uint64_t number = 0;
    size_t prefix = strlen(b->inbox) + strlen(".r.");
    if (token.len < prefix + 2) {
        return;
    }
    char kind = token.ptr[prefix];
    token = dc_slice_make(token.ptr + prefix + 1, token.len - prefix - 1);
    if (!dc_slice_to_u64(token, &number)) {
        return;
    }
    if (kind == 'p') {
        dc_nats_outgoing_answer(b, number, in);
        return;
    }
    DC_LIST_FOREACH (it, &b->calls) {
        struct dc_nats_call *call = DC_LIST_ENTRY(it, struct dc_nats_call, link);
        if (call->number == number) {
            answered(call, in);
            return;
        }
    }
}

void dc_nats_inbox_new(struct dc_bus_nats *b, char kind, struct dc_strbuf *out)
{
    dc_strbuf_printf(out, "%s.%c.%llu", b->inbox, kind, (unsigned long long)++b->next_number);
}

void dc_nats_api_up(struct dc_bus_nats *b)
{
    struct dc_strbuf pattern = {0};
    if (b->call_timeouts == NULL) {
        b->call_timeouts = dc_timeouts_create(b->loop, DC_NATS_CALL_TIMEOUT_MS, on_timeout, b);
    }
    /* Another one for each connection: what was asked on the last one is not answered on this. */
    (void)snprintf(b->inbox, sizeof(b->inbox), "_INBOX.%s%016llx", b->nonce,
                   (unsigned long long)dc_random_u64(NULL));
    dc_strbuf_printf(&pattern, "%s.r.*", b->inbox);
    b->replies =
        dc_nats_link_subscribe(b->link, dc_strbuf_slice(&pattern), DC_NATS_SLOT_OWN, on_reply, b);
    dc_strbuf_free(&pattern);
}

void dc_nats_api_down(struct dc_bus_nats *b)
{
    struct dc_error err = {0};
    enum dc_status st = dc_fail(&err, DC_CLOSED, 0, "the connection to NATS is lost");
    struct dc_list lost;
    dc_list_init(&lost);
    dc_list_move_all(&lost, &b->calls);
    b->replies = NULL;
    while (!dc_list_is_empty(&lost)) {
        end(DC_LIST_ENTRY(lost.next, struct dc_nats_call, link), st, NULL, &err);
    }
}
