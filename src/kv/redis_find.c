/* Which server to talk to.  An attempt is: ask a sentinel (if there are any; the next one when it
 * fails), connect, greet.  Greeting is one pipeline: login, database, role, a question that only a
 * working server answers, the script.  A failed attempt and a lost connection lead to a pause and
 * the next attempt, for ever: only the operator can know that a server will not come back. */
#include "base/mem.h"
#include "kv/redis_priv.h"
#include <stdio.h>

#define BACKOFF_BASE_MS 50
#define BACKOFF_MAX_MS  2000
/* A connection that lived for this long was a good one. */
#define STABLE_MS 1000

static void ask_sentinel(struct redis *r);

/* --- pauses --- */

static void wait_a_while(struct redis *r)
{
    r->state = DC_REDIS_WAITING;
    dc_timer_start(&r->timer, dc_backoff_next_ms(&r->backoff), 0);
}

/* What has to be put right: the text begins with it, unless it is the URL. */
static const char *setting_of(const struct dc_error *err)
{
    static const char *const settings[] = {"REDIS_TLS_CA_FILE", "REDIS_TLS_CERT_FILE"};

    for (size_t i = 0; i < DC_ARRAY_LEN(settings); i++) {
        if (dc_slice_starts(dc_slice_z(err->text), dc_slice_z(settings[i]))) {
            return settings[i];
        }
    }
    return "REDIS_URL";
}

static void attempt_failed(struct redis *r, const struct dc_error *err)
{
    const char *setting = setting_of(err);
    bool is_wrong = err->status == DC_CONFIG;
    struct dc_error away;

    DC_LOG(r->kv.log, is_wrong ? DC_LOG_ERROR : DC_LOG_WARN, "kv.connect_failed",
           DC_LF_Z("setting", setting), DC_LF_Z("detail", dc_error_text(err)),
           DC_LF_Z("host", r->host == NULL ? r->url.hosts[r->sentinel].name : r->host),
           DC_LF_I("port", r->host == NULL ? r->url.hosts[r->sentinel].port : r->port));
    r->is_down = true;
    wait_a_while(r);
    dc_health_set(r->kv.health, DC_HEALTH_DEGRADED, dc_error_text(err));
    if (is_wrong) {
        struct dc_error named = *err;
        if (!dc_slice_starts(dc_slice_z(err->text), dc_slice_z(setting))) {
            (void)dc_fail(&named, DC_CONFIG, 0, "%s: %.160s", setting, dc_error_text(err));
        }
        dc_kv_tell_ready(&r->kv, &named);
    }
    (void)dc_fail(&away, DC_UNAVAILABLE, 0, "Redis cannot be reached: %.120s", dc_error_text(err));
    redis_calls_fail(r, &away);
}

static void connection_lost(struct redis *r, const struct dc_error *err)
{
    struct dc_error away;

    DC_LOG_WARN_EVENT(r->kv.log, "kv.connection_lost", DC_LF_Z("reason", dc_error_text(err)),
                      DC_LF_I("calls", r->kv.n_calls));
    r->losses->value++;
    r->connected->value = 0;
    r->is_down = true;
    r->should_reconnect = false;
    r->is_holding = false;
    r->standing = NULL;
    if (dc_loop_now(r->kv.loop).ms - r->ready_at_ms >= STABLE_MS) {
        dc_backoff_reset(&r->backoff);
    }
    wait_a_while(r);
    dc_health_set(r->kv.health, DC_HEALTH_DEGRADED, "connection lost");
    (void)dc_fail(&away, DC_UNAVAILABLE, 0, "Redis: %.160s", dc_error_text(err));
    redis_calls_fail(r, &away);
}

/* --- the link --- */

static void send_words(struct redis *r, enum redis_step step, const char **words, size_t n)
{
    size_t lens[4];

    DC_ASSERT(n <= DC_ARRAY_LEN(lens) && r->n_steps < DC_REDIS_STEPS_MAX);
    for (size_t i = 0; i < n; i++) {
        lens[i] = strlen(words[i]);
    }
    r->steps[r->n_steps++] = step;
    /* If it cannot be sent the link is lost, which we shall hear. */
    (void)dc_redis_link_send(r->link, NULL, n, words, lens);
}

static void greet_sentinel(struct redis *r)
{
    if (r->url.sentinel_password != NULL) {
        const char *auth[] = {"AUTH", r->url.sentinel_password};
        send_words(r, DC_REDIS_STEP_AUTH, auth, DC_ARRAY_LEN(auth));
    }
    const char *ask[] = {"SENTINEL", "get-master-addr-by-name", r->url.master};
    send_words(r, DC_REDIS_STEP_MASTER, ask, DC_ARRAY_LEN(ask));
}

static void greet_server(struct redis *r)
{
    char db[16];
    int len = snprintf(db, sizeof(db), "%u", (unsigned)r->url.db);

    DC_ASSERT(len > 0 && (size_t)len < sizeof(db));
    if (r->url.user != NULL) {
        const char *auth[] = {"AUTH", r->url.user, r->url.password};
        send_words(r, DC_REDIS_STEP_AUTH, auth, DC_ARRAY_LEN(auth));
    } else if (r->url.password != NULL) {
        const char *auth[] = {"AUTH", r->url.password};
        send_words(r, DC_REDIS_STEP_AUTH, auth, DC_ARRAY_LEN(auth));
    }
    if (r->url.db != 0) {
        const char *select[] = {"SELECT", db};
        send_words(r, DC_REDIS_STEP_SELECT, select, DC_ARRAY_LEN(select));
    }
    if (r->url.master != NULL) {
        const char *role[] = {"ROLE"};
        send_words(r, DC_REDIS_STEP_ROLE, role, DC_ARRAY_LEN(role));
    }
    const char *ping[] = {"PING"};
    send_words(r, DC_REDIS_STEP_PING, ping, DC_ARRAY_LEN(ping));
    const char *load[] = {"SCRIPT", "LOAD", redis_script_z()};
    send_words(r, DC_REDIS_STEP_SCRIPT, load, DC_ARRAY_LEN(load));
}

static void on_greet(void *owner)
{
    struct redis *r = owner;

    r->n_steps = 0;
    r->step = 0;
    dc_timer_start(&r->timer, r->deadline_ms, 0);
    if (r->state == DC_REDIS_ASKING) {
        greet_sentinel(r);
    } else {
        greet_server(r);
    }
}

static void on_drained(void *owner)
{
    struct redis *r = owner;

    dc_turn_schedule(r->kv.loop, &r->turn);
}

static void on_freed(void *owner)
{
    struct redis *r = owner;

    r->n_links--;
    redis_check_closed(r);
}

static void sentinel_failed(struct redis *r, const struct dc_error *err)
{
    struct dc_error all;

    r->n_asked++;
    r->n_wrong += err->status == DC_CONFIG;
    if (r->n_asked < r->url.n_hosts) {
        r->sentinel = (r->sentinel + 1) % r->url.n_hosts;
        ask_sentinel(r);
        return;
    }
    (void)dc_fail(&all, r->n_wrong == r->n_asked ? DC_CONFIG : DC_UNAVAILABLE, 0,
                  "no sentinel tells the address of the server; the last: %.140s",
                  dc_error_text(err));
    attempt_failed(r, &all);
}

static void on_lost(void *owner, const struct dc_error *err)
{
    struct redis *r = owner;

    r->link = NULL;
    dc_timer_stop(&r->timer);
    switch (r->state) {
    case DC_REDIS_ASKING:
        sentinel_failed(r, err);
        break;
    case DC_REDIS_GREETING:
        attempt_failed(r, err);
        break;
    case DC_REDIS_READY:
        connection_lost(r, err);
        break;
    case DC_REDIS_WAITING:
    case DC_REDIS_STOPPED:
        break;
    }
}

static void on_answer(void *owner, void *data, const redisReply *answer);

static const struct dc_redis_link_cbs link_cbs = {on_greet, on_answer, on_drained, on_lost,
                                                  on_freed};

static void open_link(struct redis *r, enum redis_state state, const char *host, uint16_t port)
{
    r->state = state;
    r->link = dc_redis_link_open(r->kv.loop, host, port, r->tls, &link_cbs, r);
    r->n_links++;
    dc_timer_start(&r->timer, r->deadline_ms, 0); /* for looking the name up */
}

static void ask_sentinel(struct redis *r)
{
    const struct dc_redis_host *host = &r->url.hosts[r->sentinel];

    open_link(r, DC_REDIS_ASKING, host->name, host->port);
}

static void set_server(struct redis *r, struct dc_slice host, uint16_t port)
{
    dc_free(r->host);
    r->host = dc_slice_dup_z(host);
    r->port = port;
}

/* --- answers to a greeting: DC_OK to go on --- */

static enum dc_status refused(const struct dc_redis_refusal *refusal, enum redis_step step,
                              const struct redis *r, struct dc_error *err)
{
    /* The text of the server is not repeated: some repeat what they were sent, a password. */
    if (refusal->status == DC_CONFIG && r->state == DC_REDIS_ASKING) {
        return dc_fail(err, DC_CONFIG, 0,
                       "the sentinel refuses the password, or wants one (sentinel_password)");
    }
    if (refusal->status != DC_UNAVAILABLE && refusal->status != DC_CONFIG) {
        switch (step) {
        case DC_REDIS_STEP_AUTH:
            return dc_fail(err, DC_CONFIG, 0,
                           "the server refuses the user or the password, or wants none");
        case DC_REDIS_STEP_SELECT:
            return dc_fail(err, DC_CONFIG, 0, "the server has no database %u", (unsigned)r->url.db);
        case DC_REDIS_STEP_MASTER:
            return dc_fail(err, DC_CONFIG, 0, "what answers is not a sentinel");
        case DC_REDIS_STEP_ROLE:
        case DC_REDIS_STEP_PING:
        case DC_REDIS_STEP_SCRIPT:
            break;
        }
    }
    return dc_fail(err, refusal->status, 0, "the server %s", refusal->text);
}

static enum dc_status read_master(struct redis *r, const redisReply *answer, struct dc_error *err)
{
    uint64_t port = 0;

    if (answer->type == REDIS_REPLY_NIL) {
        return dc_fail(err, DC_CONFIG, 0, "the sentinel knows no master of the name in REDIS_URL");
    }
    if (answer->type != REDIS_REPLY_ARRAY || answer->elements != 2 ||
        answer->element[0]->type != REDIS_REPLY_STRING ||
        answer->element[1]->type != REDIS_REPLY_STRING || answer->element[0]->len == 0 ||
        !dc_slice_to_u64(dc_slice_make(answer->element[1]->str, answer->element[1]->len), &port) ||
        port < 1 || port > 65535 ||
        memchr(answer->element[0]->str, '\0', answer->element[0]->len) != NULL) {
        return dc_fail(err, DC_UPSTREAM, 0, "the sentinel's answer is no address");
    }
    set_server(r, dc_slice_make(answer->element[0]->str, answer->element[0]->len), (uint16_t)port);
    return DC_OK;
}

static enum dc_status read_role(const redisReply *answer, struct dc_error *err)
{
    if (answer->type != REDIS_REPLY_ARRAY || answer->elements == 0 ||
        answer->element[0]->type != REDIS_REPLY_STRING) {
        return dc_fail(err, DC_UPSTREAM, 0, "the server does not say what it is");
    }
    if (!dc_slice_eq(dc_slice_make(answer->element[0]->str, answer->element[0]->len),
                     DC_S("master"))) {
        return dc_fail(err, DC_UNAVAILABLE, 0, "the sentinels name a server that is no master");
    }
    return DC_OK;
}

/* Without a checksum the script is sent as a whole each time. */
static enum dc_status read_script(struct redis *r, const redisReply *answer, struct dc_error *err)
{
    r->sha[0] = '\0';
    if (answer->type == REDIS_REPLY_STRING && answer->len == DC_REDIS_SHA_LEN) {
        memcpy(r->sha, answer->str, DC_REDIS_SHA_LEN);
        r->sha[DC_REDIS_SHA_LEN] = '\0';
    } else if (answer->type != REDIS_REPLY_ERROR) {
        return dc_fail(err, DC_UPSTREAM, 0, "the server's answer does not fit the question");
    }
    return DC_OK;
}

static enum dc_status read_step(struct redis *r, enum redis_step step, const redisReply *answer,
                                struct dc_error *err)
{
    if (answer->type == REDIS_REPLY_ERROR && step != DC_REDIS_STEP_SCRIPT) {
        const struct dc_redis_refusal *refusal =
            dc_redis_refusal_find(dc_slice_make(answer->str, answer->len));
        /* A server that refuses writes for the time being answers PING so, and still reads.  A
         * user may lack the right to ask for the role: a replica says so when it is written to. */
        bool is_fine = (step == DC_REDIS_STEP_PING && refusal->remedy == DC_REDIS_STANDING &&
                        refusal->status != DC_CONFIG) ||
                       (step == DC_REDIS_STEP_ROLE && refusal->remedy == DC_REDIS_STANDING);
        return is_fine ? DC_OK : refused(refusal, step, r, err);
    }
    switch (step) {
    case DC_REDIS_STEP_MASTER:
        return read_master(r, answer, err);
    case DC_REDIS_STEP_ROLE:
        return read_role(answer, err);
    case DC_REDIS_STEP_SCRIPT:
        return read_script(r, answer, err);
    case DC_REDIS_STEP_AUTH:
    case DC_REDIS_STEP_SELECT:
    case DC_REDIS_STEP_PING:
        break;
    }
    return answer->type == REDIS_REPLY_STATUS
               ? DC_OK
               : dc_fail(err, DC_UPSTREAM, 0, "the server's answer does not fit the question");
}

static void become_ready(struct redis *r)
{
    const struct dc_error ok = {.status = DC_OK};

    dc_timer_stop(&r->timer);
    r->state = DC_REDIS_READY;
    r->is_down = false;
    r->ready_at_ms = dc_loop_now(r->kv.loop).ms;
    r->connects->value++;
    r->connected->value = 1;
    DC_LOG_INFO_EVENT(r->kv.log, "kv.connected", DC_LF_Z("backend", "redis"),
                      DC_LF_Z("host", r->host), DC_LF_I("port", r->port));
    dc_health_set(r->kv.health, DC_HEALTH_OK, "redis");
    dc_kv_tell_ready(&r->kv, &ok);
    redis_calls_ready(r);
}

static void on_answer(void *owner, void *data, const redisReply *answer)
{
    struct redis *r = owner;
    struct dc_error err;

    if (r->state == DC_REDIS_READY) {
        redis_call_answered(r, data, answer);
        return;
    }
    DC_ASSERT(r->step < r->n_steps);
    enum redis_step step = r->steps[r->step++];
    if (read_step(r, step, answer, &err) != DC_OK) {
        dc_redis_link_fail(r->link, &err);
    } else if (step == DC_REDIS_STEP_MASTER) {
        dc_redis_link_close(r->link);
        open_link(r, DC_REDIS_GREETING, r->host, r->port);
    } else if (r->step == r->n_steps) {
        become_ready(r);
    }
}

/* --- life --- */

static void on_timer(struct dc_timer *timer)
{
    struct redis *r = DC_CONTAINER_OF(timer, struct redis, timer);
    struct dc_error err;

    if (r->state == DC_REDIS_WAITING) {
        redis_find_start(r);
    } else if (r->link != NULL) {
        /* A server without TLS waits for the end of a line. */
        (void)dc_fail(&err, DC_UNAVAILABLE, 0, "%s",
                      dc_redis_link_is_shaking_hands(r->link)
                          ? "no TLS handshake in time: if the server speaks no TLS, REDIS_URL must "
                            "say redis:// (redis+sentinel://)"
                          : "the server did not answer in time");
        dc_redis_link_fail(r->link, &err);
    }
}

void redis_find_init(struct redis *r)
{
    r->state = DC_REDIS_WAITING;
    r->backoff = (struct dc_backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
    dc_timer_init(r->kv.loop, &r->timer, on_timer);
}

/* Certificates do not live for ever, and are replaced while we run. */
static void refresh_tls(struct redis *r)
{
    struct dc_error err;

    if (r->tls != NULL && dc_redis_tls_ctx_refresh(r->tls, &err) != DC_OK) {
        DC_LOG_WARN_EVENT(r->kv.log, "kv.tls_files_not_read", DC_LF_Z("detail", err.text));
    }
}

void redis_find_start(struct redis *r)
{
    refresh_tls(r);
    if (r->url.master == NULL) {
        set_server(r, dc_slice_z(r->url.hosts[0].name), r->url.hosts[0].port);
        open_link(r, DC_REDIS_GREETING, r->host, r->port);
        return;
    }
    /* Another one each time: a sentinel may live on the losing side of a split network. */
    if (r->host != NULL) {
        r->sentinel = (r->sentinel + 1) % r->url.n_hosts;
    }
    dc_free(r->host);
    r->host = NULL;
    r->n_asked = 0;
    r->n_wrong = 0;
    ask_sentinel(r);
}

static void on_timer_closed(struct dc_timer *timer)
{
    struct redis *r = DC_CONTAINER_OF(timer, struct redis, timer);

    r->is_timer_closed = true;
    redis_check_closed(r);
}

void redis_find_stop(struct redis *r)
{
    r->state = DC_REDIS_STOPPED;
    if (r->link != NULL) {
        dc_redis_link_close(r->link);
        r->link = NULL;
    }
    dc_timer_close(&r->timer, on_timer_closed);
}
