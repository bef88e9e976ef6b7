/* What a room is called, for those who ask. */
#include "matrix/matrix_read.h"
#include "roles/matrix_gateway/gateway.h"

struct show_flow {
    struct dc_gateway_flow flow;
    struct dc_matrix_auth auth;
    struct dc_slice room_id, name;
};

static void reply_shown(struct show_flow *f, struct dc_slice topic)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "room_id", f->room_id);
    dc_jsonw_key_text(&w, "name", f->name);
    dc_jsonw_key_text(&w, "topic", topic);
    dc_jsonw_end(&w);
    dc_gateway_reply(&f->flow, &out);
}

/* To the homeserver a room that does not exist and one that we are not in are the same. */
static void fail_show(struct show_flow *f, enum dc_status st, const struct dc_matrix_answer *answer,
                      const struct dc_error *cause)
{
    struct dc_error err = *cause;
    if (st == DC_FORBIDDEN || st == DC_NOT_FOUND) {
        (void)dc_fail_code(&err, DC_NOT_FOUND, "room_not_found",
                           "the homeserver has no such room, or it is not the city's");
    }
    dc_gateway_fail(&f->flow, &err, answer->retry_after_ms);
}

static void on_admin_shown(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                           const struct dc_error *cause)
{
    struct show_flow *f = data;
    if (st != DC_OK) {
        fail_show(f, st, answer, cause);
        return;
    }
    f->name = dc_matrix_read_text(answer->json, "name");
    reply_shown(f, dc_matrix_read_text(answer->json, "topic"));
}

static void show_as_administrator(struct dc_gateway_flow *flow)
{
    struct show_flow *f = (struct show_flow *)flow;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_admin_auth(flow->g, &f->auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(flow, f->auth, on_admin_shown);
        st = dc_matrix_admin_room(flow->g->matrix, &how, f->room_id, &err);
    }
    dc_gateway_ask(flow, st, &err);
}

static void on_topic(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                     const struct dc_error *cause)
{
    struct show_flow *f = data;
    if (st != DC_OK && st != DC_NOT_FOUND) { /* not found: a room without a topic */
        fail_show(f, st, answer, cause);
        return;
    }
    reply_shown(f, st == DC_OK ? dc_matrix_read_text(answer->json, "topic") : DC_SLICE_NULL);
}

static void on_name(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                    const struct dc_error *cause)
{
    struct show_flow *f = data;
    struct dc_error err = {0};
    if (st == DC_FORBIDDEN && f->flow.g->admin.state != DC_CREDENTIAL_NONE) {
        dc_gateway_when_known(&f->flow, true, show_as_administrator);
        return;
    }
    if (st != DC_OK && st != DC_NOT_FOUND) {
        fail_show(f, st, answer, cause);
        return;
    }
    struct dc_slice name = st == DC_OK ? dc_matrix_read_text(answer->json, "name") : DC_SLICE_NULL;
    if (name.ptr != NULL) {
        f->name = dc_arena_dup(dc_http_arena(f->flow.r), name);
        if (f->name.ptr == NULL) {
            (void)dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
            dc_gateway_fail(&f->flow, &err, -1);
            return;
        }
    }
    const struct dc_matrix_how how = dc_gateway_how(&f->flow, f->auth, on_topic);
    dc_gateway_ask(&f->flow,
                   dc_matrix_room_state(f->flow.g->matrix, &how, f->room_id, DC_S("m.room.topic"),
                                        false, &err),
                   &err);
}

/* The room's own state first: what the admin interface tells is statistics, which lag behind. */
static void show(struct dc_gateway_flow *flow)
{
    struct show_flow *f = (struct show_flow *)flow;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_auth(flow->g, &f->auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(flow, f->auth, on_name);
        st = dc_matrix_room_state(flow->g->matrix, &how, f->room_id, DC_S("m.room.name"), false,
                                  &err);
    }
    dc_gateway_ask(flow, st, &err);
}

void dc_gateway_show_room(void *ctx, struct dc_http_request *r)
{
    struct dc_gateway *g = ctx;
    struct show_flow *f = (struct show_flow *)dc_gateway_flow_begin(g, r, sizeof(*f));
    if (f == NULL) {
        return;
    }
    if (!dc_gateway_take_room_id(&f->flow, &f->room_id)) {
        return;
    }
    dc_gateway_when_known(&f->flow, false, show);
}
