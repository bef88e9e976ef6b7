/* Pulses: events of our own that show whether the homeserver has left something behind, when nobody
 * says anything that would show it (matrix_order.h).  They are said in a room in which nobody is
 * but the application service, found by its alias and made when there is none.
 *
 * After a second without a push one is said.  When it comes back with nothing missing before it,
 * there is no doubt any more.  When something is, it is refused, all of it comes, and after twice
 * as long another one is said. */
#include "base/time.h"
#include "matrix/matrix_error.h"
#include "matrix/matrix_id.h"
#include "matrix/matrix_push.h"
#include "matrix/matrix_read.h"
#include "roles/matrix_gateway/gateway.h"

/* Without a push for so long the homeserver has nothing to catch up with: it needs some
 * milliseconds from one transaction to the next. */
#define QUIET_MS 1000
/* Between pulses of which none has been of use. */
#define WAIT_MAX_MS 300000
/* No slug of a room can have a dot, so no city room has this alias. */
#define ROOM_SLUG ".pulse"

static void set_room(struct dc_gateway *g, struct dc_slice room_id)
{
    dc_strbuf_clear(&g->pulse_room_id);
    dc_strbuf_add(&g->pulse_room_id, room_id);
}

/* --- one pulse --- */

static void end_pulse(struct dc_gateway *g, const struct dc_error *err)
{
    g->is_pulsing = false;
    if (err == NULL) {
        g->pulses_sent->value++;
    } else if (!g->is_stopping) {
        g->pulses_failed->value++;
        DC_LOG_WARN_EVENT(g->ctx->log, "matrix.pulse_failed", DC_LF_ERR(err));
    }
    dc_gateway_pulse_look(g);
    dc_gateway_end(g);
}

/* A step that could not be asked ends it. */
static void ask(struct dc_gateway *g, enum dc_status st, const struct dc_error *err)
{
    if (st != DC_OK) {
        end_pulse(g, err);
    }
}

/* As the service itself. */
static enum dc_status how_to(struct dc_gateway *g, dc_matrix_cb cb, struct dc_matrix_how *how,
                             struct dc_error *err)
{
    struct dc_matrix_auth auth;
    enum dc_status st = dc_gateway_as_auth(g, &auth, err);
    if (st == DC_OK) {
        *how = (struct dc_matrix_how){
            .auth = auth, .deadline_ms = g->timeout_ms, .is_impatient = true, .cb = cb, .data = g};
    }
    return st;
}

static void on_sent(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                    const struct dc_error *cause)
{
    struct dc_gateway *g = data;
    (void)answer;
    if (st == DC_FORBIDDEN || st == DC_NOT_FOUND) {
        set_room(g, DC_SLICE_NULL); /* somebody has removed it, or us from it */
    }
    end_pulse(g, st == DC_OK ? NULL : cause);
}

/* It may come back before the answer does. */
static void send_pulse(struct dc_gateway *g)
{
    struct dc_matrix_how how;
    struct dc_error err = {0};
    enum dc_status st = how_to(g, on_sent, &how, &err);
    if (st == DC_OK) {
        dc_ulid_next(&g->pulse_ids, dc_utc_now(), g->pulse_id);
        dc_matrix_order_pulse(&g->order);
        st = dc_matrix_send_pulse(g->matrix, &how, dc_strbuf_slice(&g->pulse_room_id),
                                  dc_slice_z(g->pulse_id), &err);
    }
    ask(g, st, &err);
}

static void take_room(struct dc_gateway *g, const struct dc_matrix_answer *answer)
{
    struct dc_slice room_id;
    struct dc_error err = {0};
    if (dc_matrix_read_room_id(answer->json, &room_id, &err) != DC_OK) {
        end_pulse(g, &err);
        return;
    }
    set_room(g, room_id);
    send_pulse(g);
}

static void on_created(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *cause)
{
    if (st == DC_OK) {
        take_room(data, answer);
    } else {
        end_pulse(data, cause);
    }
}

static void create_room(struct dc_gateway *g)
{
    struct dc_matrix_how how;
    struct dc_error err = {0};
    enum dc_status st = how_to(g, on_created, &how, &err);
    if (st == DC_OK) {
        const struct dc_matrix_room room = {
            .alias_localpart = DC_S(DC_MATRIX_ALIAS_PREFIX ROOM_SLUG),
            .name = DC_S("DAARION City: pulse"),
            .topic = DC_S("Nobody is here. The city says something to itself, to see whether "
                          "everything that is said in its rooms reaches it.")};
        st = dc_matrix_create_room(g->matrix, &how, &room, &err);
    }
    ask(g, st, &err);
}

static void on_found(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                     const struct dc_error *cause)
{
    if (st == DC_OK) {
        take_room(data, answer);
    } else if (st == DC_NOT_FOUND) {
        create_room(data);
    } else {
        end_pulse(data, cause);
    }
}

static void find_room(struct dc_gateway *g)
{
    struct dc_strbuf alias = {0};
    struct dc_matrix_how how;
    struct dc_error err = {0};
    enum dc_status st = how_to(g, on_found, &how, &err);
    dc_matrix_room_alias(DC_S(ROOM_SLUG), g->server_name, &alias);
    if (st == DC_OK && !dc_strbuf_ok(&alias)) {
        st = dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    }
    if (st == DC_OK) {
        st = dc_matrix_resolve_alias(g->matrix, &how, dc_strbuf_slice(&alias), &err);
    }
    dc_strbuf_free(&alias);
    ask(g, st, &err);
}

/* --- when --- */

/* Of several gateways only the one that the homeserver comes to; and not again before it has come
 * once more, be it by the ping that it is asked for when it is quiet.  Nor while what it has
 * brought waits for the city. */
static bool can_pulse(const struct dc_gateway *g)
{
    return g->push == DC_PUSH_OK && g->server == DC_SERVER_CONNECTED && dc_gateway_has_as(g) &&
           g->is_heard && !g->is_failing;
}

static void pulse(struct dc_gateway *g)
{
    g->is_pulse_due = !can_pulse(g);
    if (g->is_pulse_due) {
        return;
    }
    g->is_pulsing = true;
    g->is_heard = false;
    g->pulse_wait_ms = g->pulse_wait_ms < WAIT_MAX_MS / 2 ? g->pulse_wait_ms * 2 : WAIT_MAX_MS;
    dc_gateway_begin(g);
    if (g->pulse_room_id.len > 0) {
        send_pulse(g);
    } else {
        find_room(g);
    }
}

static void on_timer(struct dc_timer *t)
{
    struct dc_gateway *g = DC_CONTAINER_OF(t, struct dc_gateway, pulse_timer);
    if (g->is_stopping || g->order.is_sure || g->is_pulsing) {
        return; /* when one has been sent it is looked at again */
    }
    if (g->pushing > 0) {
        dc_gateway_pulse_look(g);
    } else {
        pulse(g);
    }
}

void dc_gateway_pulse_look(struct dc_gateway *g)
{
    g->push_in_doubt->value = !g->order.is_sure && g->is_reached;
    g->is_pulse_due = false;
    if (g->order.is_sure) {
        g->pulse_wait_ms = QUIET_MS;
        dc_timer_stop(&g->pulse_timer);
    } else {
        dc_timer_start(&g->pulse_timer, g->pulse_wait_ms, 0);
    }
}

void dc_gateway_pulse_doubt(struct dc_gateway *g)
{
    dc_matrix_order_doubt(&g->order);
    g->pulse_wait_ms = QUIET_MS;
    dc_gateway_pulse_look(g);
}

void dc_gateway_pulse_after(struct dc_gateway *g, bool is_taken)
{
    bool is_over = is_taken && g->is_failing;
    g->is_failing = !is_taken;
    if (is_over) {
        dc_gateway_pulse_doubt(g);
    } else {
        dc_gateway_pulse_look(g);
    }
}

void dc_gateway_pulse_reached(struct dc_gateway *g)
{
    g->is_reached = true;
    g->is_heard = true;
    g->push_in_doubt->value = !g->order.is_sure;
    if (g->is_pulse_due) {
        dc_gateway_pulse_look(g);
    }
}

bool dc_gateway_pulse_is_in(const struct dc_gateway *g, const struct dc_matrix_pushed *event)
{
    return dc_slice_eq(event->type, DC_S(DC_MATRIX_PULSE_TYPE)) &&
           dc_slice_eq(event->sender, dc_strbuf_slice(&g->as.user_id)) &&
           dc_slice_eq(dc_json_text(event->content, DC_MATRIX_PULSE_ID_KEY),
                       dc_slice_z(g->pulse_id));
}

/* --- life --- */

static void on_timer_closed(struct dc_timer *t)
{
    dc_gateway_end(DC_CONTAINER_OF(t, struct dc_gateway, pulse_timer));
}

void dc_gateway_pulse_start(struct dc_gateway *g)
{
    static const char name[] = "daarion_matrix_pulses_total";
    static const char help[] = "Events of our own that ask whether the homeserver has left "
                               "something behind, by what became of them.";
    struct dc_metrics *m = g->ctx->metrics;
    g->pulses_sent = dc_metrics_counter(m, name, "outcome=\"sent\"", help);
    g->pulses_failed = dc_metrics_counter(m, name, "outcome=\"failed\"", help);
    g->push_in_doubt = dc_metrics_gauge(m, "daarion_matrix_push_in_doubt", NULL,
                                        "1 while the homeserver may have left something behind.");
    g->pulse_wait_ms = QUIET_MS;
    dc_timer_init(g->ctx->loop, &g->pulse_timer, on_timer);
    dc_gateway_pulse_look(g);
}

void dc_gateway_pulse_stop(struct dc_gateway *g)
{
    dc_gateway_begin(g);
    dc_timer_close(&g->pulse_timer, on_timer_closed);
}

void dc_gateway_pulse_free(struct dc_gateway *g)
{
    dc_strbuf_free(&g->pulse_room_id);
}
