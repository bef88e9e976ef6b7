/* Does the homeserver reach us?  It is asked to ping us; when it does, it also pushes what it has
 * kept. */
#include "matrix/config_files.h"
#include "roles/matrix_gateway/gateway.h"

/* After a refusal the homeserver needs some 20 ms until it can be asked to try again; a ping that
 * comes too early costs two seconds. */
#define PUSH_AGAIN_MS 100

static void set_push(struct dc_gateway *g, enum dc_gateway_push push)
{
    if (push != g->push && push == DC_PUSH_OK) {
        DC_LOG_INFO_EVENT(g->ctx->log, "matrix.push_works", DC_LF_B("works", true));
    } else if (push != g->push && push == DC_PUSH_UNREACHED) {
        DC_LOG_WARN_EVENT(g->ctx->log, "matrix.push_unreached",
                          DC_LF_Z("detail", "the homeserver does not reach the gateway: look at "
                                            "url and hs_token in daarion-appservice.yaml"));
    }
    bool is_back = push != g->push && push == DC_PUSH_OK;
    g->push = push;
    dc_gateway_tell_health(g);
    if (is_back) {
        dc_gateway_pulse_doubt(g);
    }
}

static void on_pinged(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                      const struct dc_error *err)
{
    struct dc_gateway *g = data;
    (void)err;
    g->is_pinging = false;
    if (!g->is_stopping) {
        /* 502 and 504 are about us, not about what stands in front of the homeserver; 400: our
         * registration has no url.  What else it says, as one that knows no pings does, tells
         * nothing. */
        bool is_unreached =
            answer->http_status == 502 || answer->http_status == 504 || answer->http_status == 400;
        if (st == DC_OK || is_unreached) {
            set_push(g, st == DC_OK ? DC_PUSH_OK : DC_PUSH_UNREACHED);
        }
    }
    dc_gateway_end(g);
}

/* A homeserver that could not push waits up to 8.5 minutes before it tries again, but at once when
 * it finds that we are here.  Not while it pushes: it would begin to repeat what it is repeating
 * already.  Nor before we listen. */
static void ping(struct dc_gateway *g)
{
    struct dc_matrix_auth auth;
    if (g->pushing > 0 || g->ctx->internal_url[0] == '\0' || g->push == DC_PUSH_OFF ||
        g->is_pinging || g->is_stopping || g->server != DC_SERVER_CONNECTED ||
        dc_gateway_as_auth(g, &auth, NULL) != DC_OK) {
        return;
    }
    const struct dc_matrix_how how = {.auth = auth,
                                      .deadline_ms = g->timeout_ms,
                                      .is_impatient = true,
                                      .cb = on_pinged,
                                      .data = g};
    if (dc_matrix_as_ping(g->matrix, &how, DC_S(DC_MATRIX_SERVICE_ID), NULL) == DC_OK) {
        g->is_pinging = true;
        dc_gateway_begin(g);
    }
}

void dc_gateway_push_reached(struct dc_gateway *g)
{
    if (g->push != DC_PUSH_OK) {
        set_push(g, DC_PUSH_OK);
    }
    dc_gateway_pulse_reached(g);
}

void dc_gateway_push_lost(struct dc_gateway *g)
{
    if (g->push != DC_PUSH_OFF) {
        g->push = DC_PUSH_UNKNOWN;
    }
}

void dc_gateway_push_check(struct dc_gateway *g)
{
    bool is_quiet = !g->was_pushed;
    g->was_pushed = false;
    if (is_quiet) {
        ping(g);
    }
}

void dc_gateway_push_again(struct dc_gateway *g)
{
    if (!g->is_stopping) {
        dc_timer_start(&g->push_timer, PUSH_AGAIN_MS, 0);
    }
}

/* --- life --- */

static void on_push_timer(struct dc_timer *t)
{
    ping(DC_CONTAINER_OF(t, struct dc_gateway, push_timer));
}

static void on_push_timer_closed(struct dc_timer *t)
{
    dc_gateway_end(DC_CONTAINER_OF(t, struct dc_gateway, push_timer));
}

void dc_gateway_push_start(struct dc_gateway *g)
{
    dc_timer_init(g->ctx->loop, &g->push_timer, on_push_timer);
}

void dc_gateway_push_stop(struct dc_gateway *g)
{
    dc_gateway_begin(g);
    dc_timer_close(&g->push_timer, on_push_timer_closed);
}
