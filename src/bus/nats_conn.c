/* The link's half that calls the library, and that the library calls. */
#include "bus/nats_link_priv.h"
#include <errno.h>
#include <unistd.h>

/* --- the queue, on any thread --- */

void dc_nats_event_free(struct dc_nats_event *e)
{
    natsMsg_Destroy(e->msg);
    dc_free(e->text);
    dc_free(e);
}

static void push_locked(struct dc_nats_queue *q, const struct dc_nats_event *event)
{
    struct dc_nats_event *e = dc_alloc(sizeof(*e));
    bool was_empty = q->first == NULL;
    *e = *event;
    e->next = NULL;
    *q->end = e;
    q->end = &e->next;
    if (was_empty) {
        int rc = uv_async_send(&q->wake);
        DC_ASSERT(rc == 0);
    }
}

void dc_nats_queue_push(struct dc_nats_link *l, struct dc_nats_event event)
{
    uv_mutex_lock(&l->queue.lock);
    push_locked(&l->queue, &event);
    uv_mutex_unlock(&l->queue.lock);
}

/* --- called by the library's threads --- */

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    struct dc_nats_slot *slot = closure;
    struct dc_nats_queue *q = &slot->conn->link->queue;
    const struct dc_nats_event message = {.kind = DC_NATS_MESSAGE, .slot = slot, .msg = msg};
    const struct dc_nats_event gap = {.kind = DC_NATS_GAP, .slot = slot};
    size_t bytes = (size_t)natsMsg_GetDataLength(msg);
    bool is_bounded = slot->kind == DC_NATS_SLOT_BOUNDED, is_dropped = false;
    (void)nc;
    (void)sub;
    uv_mutex_lock(&q->lock);
    if (is_bounded && (q->n_bounded >= DC_NATS_INBOUND_MAX_MESSAGES ||
                       q->bounded_bytes + bytes > DC_NATS_INBOUND_MAX_BYTES)) {
        is_dropped = true;
        if (!slot->has_gap) {
            slot->has_gap = true;
            push_locked(q, &gap);
        }
    } else {
        if (is_bounded) {
            q->n_bounded++;
            q->bounded_bytes += bytes;
        }
        push_locked(q, &message);
    }
    uv_mutex_unlock(&q->lock);
    if (is_dropped) {
        natsMsg_Destroy(msg);
    }
}

static void on_complete(void *closure)
{
    struct dc_nats_slot *slot = closure;
    dc_nats_queue_push(slot->conn->link,
                       (struct dc_nats_event){.kind = DC_NATS_COMPLETE, .slot = slot});
}

static char *last_error(natsConnection *nc, natsStatus s)
{
    const char *text = NULL;
    natsStatus last = natsConnection_GetLastError(nc, &text);
    if (text == NULL || text[0] == '\0') {
        text = natsStatus_GetText(s == NATS_OK ? last : s);
    }
    return dc_strdup(text);
}

static void on_closed(natsConnection *nc, void *closure)
{
    struct dc_nats_conn *c = closure;
    dc_nats_queue_push(
        c->link,
        (struct dc_nats_event){.kind = DC_NATS_CLOSED, .conn = c, .text = last_error(nc, NATS_OK)});
}

static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus s, void *closure)
{
    struct dc_nats_conn *c = closure;
    (void)sub;
    dc_nats_queue_push(c->link, (struct dc_nats_event){
                                    .kind = DC_NATS_ERROR, .conn = c, .text = last_error(nc, s)});
}

/* --- options --- */

struct options {
    natsOptions *nats;
    const char *setting; /* the one that could not be set */
    natsStatus status;
};

static void set(struct options *o, natsStatus s, const char *setting)
{
    if (o->status == NATS_OK && s != NATS_OK) {
        o->status = s;
        o->setting = setting;
    }
}

/* The library writes user, password and token into JSON as they are. */
static char *escape(const char *text)
{
    struct dc_strbuf out = {0};
    dc_json_quote(&out, dc_slice_z(text));
    DC_ASSERT(dc_strbuf_ok(&out) && out.len >= 2);
    char *escaped = dc_slice_dup_z(dc_slice_make(out.ptr + 1, out.len - 2));
    dc_wipe(out.ptr, out.len);
    dc_strbuf_free(&out);
    return escaped;
}

static void forget(char *secret)
{
    dc_wipe(secret, strlen(secret));
    dc_free(secret);
}

static void set_login(struct options *o, const struct dc_nats_link *l,
                      const struct dc_nats_server *server)
{
    if (server->token != NULL) {
        char *token = escape(server->token);
        set(o, natsOptions_SetToken(o->nats, token), "NATS_URL");
        forget(token);
    } else if (server->user != NULL) {
        char *user = escape(server->user), *password = escape(server->password);
        set(o, natsOptions_SetUserInfo(o->nats, user, password), "NATS_URL");
        forget(user);
        forget(password);
    }
    if (l->credentials_file != NULL) {
        set(o, natsOptions_SetUserCredentialsFromFiles(o->nats, l->credentials_file, NULL),
            "NATS_CREDENTIALS_FILE");
    }
}

static void set_tls(struct options *o, const struct dc_nats_link *l,
                    const struct dc_nats_server *server)
{
    if (!server->is_tls && l->tls_ca_file == NULL && l->tls_cert_file == NULL) {
        return; /* a server that insists is still met by TLS, with the system's authorities */
    }
    set(o, natsOptions_SetExpectedHostname(o->nats, server->host), "NATS_URL");
    if (server->is_tls) {
        set(o, natsOptions_SetSecure(o->nats, true), "NATS_URL");
    }
    if (l->tls_ca_file != NULL) {
        set(o, natsOptions_LoadCATrustedCertificates(o->nats, l->tls_ca_file), "NATS_TLS_CA_FILE");
    }
    if (l->tls_cert_file != NULL) {
        set(o, natsOptions_LoadCertificatesChain(o->nats, l->tls_cert_file, l->tls_key_file),
            "NATS_TLS_CERT_FILE or NATS_TLS_KEY_FILE");
    }
}

static struct options options_make(const struct dc_nats_link *l,
                                   const struct dc_nats_server *server, struct dc_nats_conn *conn)
{
    struct options o = {.nats = NULL, .status = NATS_OK};
    set(&o, natsOptions_Create(&o.nats), "memory");
    if (o.status != NATS_OK) {
        return o;
    }
    natsOptions *n = o.nats;
    set(&o, natsOptions_SetURL(n, server->address), "NATS_URL");
    set(&o, natsOptions_SetName(n, "daarion"), "the name");
    set(&o, natsOptions_SetAllowReconnect(n, false), "reconnecting");
    set(&o, natsOptions_SetIgnoreDiscoveredServers(n, true), "discovery");
    set(&o, natsOptions_SetTimeout(n, CONNECT_TIMEOUT_MS), "the timeout");
    set(&o, natsOptions_SetWriteDeadline(n, WRITE_DEADLINE_MS), "the write deadline");
    set(&o, natsOptions_SetPingInterval(n, PING_INTERVAL_MS), "the ping interval");
    set(&o, natsOptions_SetMaxPingsOut(n, PINGS_OUT_MAX), "pings");
    /* One thread for all subscriptions: they stay in the order in which they arrived. */
    set(&o, natsOptions_UseGlobalMessageDelivery(n, true), "delivery");
    set(&o, natsOptions_SetClosedCB(n, on_closed, conn), "a callback");
    set(&o, natsOptions_SetErrorHandler(n, on_error, conn), "a callback");
    set_login(&o, l, server);
    set_tls(&o, l, server);
    return o;
}

/* "(conn.c:123): what happened" without the place; for logs. */
static const char *reason(natsStatus s)
{
    const char *text = nats_GetLastError(NULL);
    if (text == NULL || text[0] == '\0') {
        return natsStatus_GetText(s);
    }
    const char *after = strstr(text, "): ");
    return text[0] == '(' && after != NULL ? after + 3 : text;
}

static enum dc_status options_fail(const struct options *o, struct dc_error *err)
{
    return dc_fail(err, DC_CONFIG, (int)o->status, "%s cannot be used: %.120s", o->setting,
                   reason(o->status));
}

enum dc_status dc_nats_files_check(const struct dc_nats_link *l, struct dc_error *err)
{
    const struct {
        const char *name, *path;
    } files[] = {{"NATS_CREDENTIALS_FILE", l->credentials_file},
                 {"NATS_TLS_CA_FILE", l->tls_ca_file},
                 {"NATS_TLS_CERT_FILE", l->tls_cert_file},
                 {"NATS_TLS_KEY_FILE", l->tls_key_file}};
    for (size_t i = 0; i < DC_ARRAY_LEN(files); i++) {
        if (files[i].path != NULL && access(files[i].path, R_OK) != 0) {
            return dc_fail(err, DC_CONFIG, errno, "%s=%.80s cannot be read: %s", files[i].name,
                           files[i].path, dc_errno_text(errno));
        }
    }
    if ((l->tls_cert_file == NULL) != (l->tls_key_file == NULL)) {
        return dc_fail(err, DC_CONFIG, 0, "NATS_TLS_CERT_FILE and NATS_TLS_KEY_FILE go together");
    }
    struct options o = options_make(l, &l->url.servers[0], NULL);
    enum dc_status st = o.status == NATS_OK ? DC_OK : options_fail(&o, err);
    natsOptions_Destroy(o.nats);
    return st;
}

/* --- connecting, on the pool --- */

/* OpenSSL's word ("certificate verify failed", "bad certificate"), or the library's own account of
 * a refused one, which names what it expected and what it got: "62:hostname
 * mismatch:expected=…:cert=…". Which of them comes depends on the library's build. */
static bool is_about_certificate(const char *why)
{
    return strstr(why, "certificate") != NULL || strstr(why, ":cert=") != NULL;
}

static enum dc_status explain(const struct dc_nats_attempt *a, natsStatus s, struct dc_error *err)
{
    const char *at = a->server->address, *why = reason(s);
    const char *login = a->link->credentials_file != NULL ? "NATS_CREDENTIALS_FILE"
                        : a->server->token != NULL        ? "the token in NATS_URL"
                        : a->server->user != NULL         ? "user and password in NATS_URL"
                                                          : "NATS_URL, which names no user";
    int cause = (int)s;
    if (s == NATS_CONNECTION_AUTH_FAILED) {
        return dc_fail(err, DC_CONFIG, cause, "%.80s refuses the login: check %s", at, login);
    }
    if (s == NATS_SECURE_CONNECTION_WANTED) {
        return dc_fail(err, DC_CONFIG, cause,
                       "NATS_URL says tls:// but %.80s speaks no TLS: use nats://", at);
    }
    if (s == NATS_SECURE_CONNECTION_REQUIRED) {
        return dc_fail(err, DC_CONFIG, cause, "%.80s wants TLS: NATS_URL must say tls://", at);
    }
    if (is_about_certificate(why)) {
        return dc_fail(err, DC_CONFIG, cause,
                       "TLS with %.50s: a certificate is refused, check NATS_TLS_CA_FILE, "
                       "NATS_TLS_CERT_FILE and the host in NATS_URL: %.50s",
                       at, why);
    }
    if (strstr(why, "credentials") != NULL || s == NATS_NOT_FOUND) {
        return dc_fail(err, DC_CONFIG, cause, "NATS_CREDENTIALS_FILE cannot be used: %.100s", why);
    }
    return dc_fail(err, DC_UNAVAILABLE, cause, "cannot connect to %.60s: %.100s", at, why);
}

void dc_nats_attempt_run(void *attempt)
{
    struct dc_nats_attempt *a = attempt;
    struct options o = options_make(a->link, a->server, a->conn);
    a->err = (struct dc_error){.status = DC_OK};
    if (o.status != NATS_OK) {
        (void)options_fail(&o, &a->err);
    } else {
        natsStatus s = natsConnection_Connect(&a->conn->nc, o.nats);
        if (s != NATS_OK) {
            a->conn->nc = NULL;
            (void)explain(a, s, &a->err);
        }
    }
    natsOptions_Destroy(o.nats);
}

/* --- sending, on the pool --- */

static void send_message(natsConnection *nc, const struct dc_nats_command *c)
{
    const char *data = c->payload == NULL ? NULL : c->payload->data;
    int len = c->payload == NULL ? 0 : (int)c->payload->len;
    natsMsg *msg = NULL;
    /* Failures are those of the connection: its end is told by on_closed(). */
    if (c->id == NULL && c->reply == NULL) {
        (void)natsConnection_Publish(nc, c->subject, data, len);
        return;
    }
    if (c->id == NULL) {
        (void)natsConnection_PublishRequest(nc, c->subject, c->reply, data, len);
        return;
    }
    if (natsMsg_Create(&msg, c->subject, c->reply, data, len) == NATS_OK &&
        natsMsgHeader_Set(msg, "Nats-Msg-Id", c->id) == NATS_OK) {
        (void)natsConnection_PublishMsg(nc, msg);
    }
    natsMsg_Destroy(msg);
}

static void subscribe(natsConnection *nc, struct dc_nats_slot *slot)
{
    if (natsConnection_Subscribe(&slot->sub, nc, slot->subject, on_message, slot) != NATS_OK) {
        slot->sub = NULL;
        on_complete(slot);
        return;
    }
    /* The queue has its own bounds, which know whom they hurt. */
    if (natsSubscription_SetPendingLimits(slot->sub, -1, -1) != NATS_OK ||
        natsSubscription_SetOnCompleteCB(slot->sub, on_complete, slot) != NATS_OK) {
        /* Closed in between, and nobody will tell when a callback that may be running has ended:
         * it has when the slot is given back, in a later job. */
        slot->is_unsure = true;
    }
}

void dc_nats_job_run(void *job)
{
    struct dc_nats_job *j = job;
    struct dc_nats_conn *conn = j->conn;
    DC_LIST_FOREACH (it, &j->commands) {
        const struct dc_nats_command *c = DC_LIST_ENTRY(it, struct dc_nats_command, link);
        switch (c->kind) {
        case DC_NATS_PUBLISH:
            send_message(conn->nc, c);
            break;
        case DC_NATS_SUBSCRIBE:
            subscribe(conn->nc, c->slot);
            break;
        case DC_NATS_UNSUBSCRIBE:
            natsSubscription_Destroy(c->slot->sub);
            c->slot->sub = NULL;
            if (c->slot->is_unsure) {
                on_complete(c->slot);
            }
            break;
        }
    }
    if (j->is_last) {
        (void)natsConnection_FlushTimeout(conn->nc, LAST_FLUSH_MS);
        natsConnection_Destroy(conn->nc);
        conn->nc = NULL;
    }
}
