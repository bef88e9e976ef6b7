/* Rooms: made once, found again by their alias.
 *
 * Creating is idempotent.  The alias is the name of the promise: a room that was made while the
 * answer was lost is found under it the next time, so nothing is half-made for longer than until
 * somebody asks again.  A room under a city alias that is not ours (made by neither the application
 * service, nor our administrator, nor one of MATRIX_ROOM_CREATORS) is nobody's to use: alias_taken.
 *
 * Synapse hands out the alias before the room's first event: for a moment a room that we are making
 * (another process, or the call that we have given up waiting for) looks like one that we are not
 * in.  So a room that cannot be looked into is looked at again, for a third of our time.
 *
 * It puts in who may join, and all that follows, after its maker has joined.  Killed in between, it
 * has a room under our alias that nobody else can ever enter.  Such a room is not found; whoever
 * makes it waits until it is whole, as far as his time goes, and gets another one when the first is
 * so old that nobody can be making it any more. */
#include "base/mem.h"
#include "matrix/matrix_error.h"
#include "matrix/matrix_id.h"
#include "matrix/matrix_read.h"
#include "roles/matrix_gateway/gateway.h"

/* No createRoom takes that long. */
#define HALF_MADE_MS 60000

#define NAME_MAX_CHARS  80
#define TOPIC_MAX_CHARS 500
/* "DAARION City" and the name of the room, with U+2014 between (specs/matrix-rooms-bridge §3). */
#define NAME_PREFIX "DAARION City \xE2\x80\x94 "

struct room_flow {
    struct dc_gateway_flow flow;
    struct dc_slice slug, name, topic;
    bool is_public;
    bool is_creating; /* else somebody looks for it */
    struct dc_slice alias, room_id;
    struct dc_timeout recheck;
    int64_t give_up_ms; /* monotonic; 0: not looked at yet */
    int64_t made_ms;    /* UTC by the homeserver's clock; 0: it does not say */
    bool is_renewed;    /* one that was half-made has been put aside */
};

/* A copy that lives as long as the request; frees the text.  ptr NULL: no memory. */
static struct dc_slice keep(struct dc_gateway_flow *flow, struct dc_strbuf *text)
{
    struct dc_slice kept = DC_SLICE_NULL;
    if (dc_strbuf_ok(text)) {
        kept = dc_arena_dup(dc_http_arena(flow->r), dc_strbuf_slice(text));
    }
    dc_strbuf_free(text);
    return kept;
}

static void fail_memory(struct dc_gateway_flow *flow)
{
    struct dc_error err = {0};
    (void)dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    dc_gateway_fail(flow, &err, -1);
}

static void reply_room(struct room_flow *f)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "matrix_room_id", f->room_id);
    dc_jsonw_key_text(&w, "matrix_room_alias", f->alias);
    dc_jsonw_end(&w);
    dc_gateway_reply(&f->flow, &out);
}

static void reply_found(struct room_flow *f)
{
    f->flow.g->rooms_found->value++;
    reply_room(f);
}

/* --- is it whole? --- */

static void create(struct dc_gateway_flow *flow);

/* In peace or not: what counts is that its alias is free. */
static void on_left(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                    const struct dc_error *err)
{
    (void)st;
    (void)answer;
    (void)err;
    create(data);
}

static void on_alias_free(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                          const struct dc_error *cause)
{
    struct room_flow *f = data;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    if (st != DC_OK && st != DC_NOT_FOUND) {
        dc_gateway_fail(&f->flow, cause, answer->retry_after_ms);
        return;
    }
    st = dc_gateway_auth(f->flow.g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_left);
        st = dc_matrix_leave(f->flow.g->matrix, &how, f->room_id, &err);
    }
    dc_gateway_ask(&f->flow, st, &err);
}

static void renew(struct room_flow *f)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_auth(g, &auth, &err);
    f->is_renewed = true;
    DC_LOG_WARN_EVENT(g->ctx->log, "matrix.room_half_made", DC_LF_T("alias", f->alias),
                      DC_LF_T("room_id", f->room_id));
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_alias_free);
        st = dc_matrix_delete_alias(g->matrix, &how, f->alias, &err);
    }
    dc_gateway_ask(&f->flow, st, &err);
}

static void take_half_made(struct room_flow *f)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_error err = {0};
    bool is_old = f->made_ms > 0 && dc_utc_now().ms - f->made_ms >= HALF_MADE_MS;
    int64_t give_up_ms = f->flow.deadline_ms - (int64_t)g->timeout_ms / 4;
    if (!f->is_creating) {
        (void)dc_fail(&err, DC_NOT_FOUND, 0, "the room with this alias is not made yet");
    } else if (is_old && !f->is_renewed) {
        renew(f);
        return;
    } else if (!is_old && dc_loop_now(g->ctx->loop).ms < give_up_ms) {
        dc_timeout_touch(g->recheck, &f->recheck);
        return;
    } else {
        (void)dc_fail_code(&err, DC_UNAVAILABLE, "matrix_unavailable",
                           "the homeserver is making this room: try again in a minute");
    }
    dc_gateway_fail(&f->flow, &err, -1);
}

static void on_join_rules(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                          const struct dc_error *cause)
{
    struct room_flow *f = data;
    if (st == DC_NOT_FOUND) {
        take_half_made(f);
    } else if (st == DC_OK || st == DC_FORBIDDEN) { /* who is not in it cannot tell */
        reply_found(f);
    } else {
        dc_gateway_fail(&f->flow, cause, answer->retry_after_ms);
    }
}

static void ask_join_rules(struct room_flow *f)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_auth(g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_join_rules);
        st = dc_matrix_room_state(g->matrix, &how, f->room_id, DC_S("m.room.join_rules"), false,
                                  &err);
    }
    dc_gateway_ask(&f->flow, st, &err);
}

/* --- whose room it is --- */

static void decide(struct room_flow *f, struct dc_slice creator)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_error err = {0};
    if (dc_gateway_is_ours(g, creator)) {
        reply_found(f);
        return;
    }
    DC_LOG_WARN_EVENT(g->ctx->log, "matrix.alias_taken", DC_LF_T("alias", f->alias),
                      DC_LF_T("room_id", f->room_id), DC_LF_T("creator", creator));
    (void)dc_fail_code(&err, DC_CONFLICT, "alias_taken",
                       "the alias leads to a room that the city has not made (if it is the city's "
                       "all the same, add its creator to MATRIX_ROOM_CREATORS)");
    dc_gateway_fail(&f->flow, &err, -1);
}

static void on_admin_room(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                          const struct dc_error *cause)
{
    struct room_flow *f = data;
    struct dc_slice creator;
    struct dc_error err = {0};
    if (st == DC_NOT_FOUND) { /* an alias without a room behind it */
        decide(f, DC_SLICE_NULL);
    } else if (st != DC_OK) {
        dc_gateway_fail(&f->flow, cause, answer->retry_after_ms);
    } else if (dc_matrix_read_user(answer->json, "creator", &creator, &err) != DC_OK) {
        dc_gateway_fail(&f->flow, &err, -1);
    } else {
        decide(f, creator);
    }
}

static void ask_administrator(struct dc_gateway_flow *flow)
{
    struct room_flow *f = (struct room_flow *)flow;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    if (dc_gateway_admin_auth(flow->g, &auth, &err) != DC_OK) {
        dc_gateway_fail(flow, &err, -1);
        return;
    }
    const struct dc_matrix_how how = dc_gateway_how(flow, auth, on_admin_room);
    dc_gateway_ask(flow, dc_matrix_admin_room(flow->g->matrix, &how, f->room_id, &err), &err);
}

/* We are not in the room, or not yet. */
static void look_again(struct room_flow *f)
{
    struct dc_gateway *g = f->flow.g;
    int64_t now_ms = dc_loop_now(g->ctx->loop).ms;
    if (g->admin.state != DC_CREDENTIAL_NONE) {
        dc_gateway_when_known(&f->flow, true, ask_administrator);
        return;
    }
    if (f->give_up_ms == 0) {
        f->give_up_ms = now_ms + (int64_t)g->timeout_ms / 3;
    }
    if (now_ms < f->give_up_ms) {
        dc_timeout_touch(g->recheck, &f->recheck);
    } else {
        decide(f, DC_SLICE_NULL);
    }
}

static void on_create_event(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                            const struct dc_error *cause)
{
    struct room_flow *f = data;
    struct dc_slice creator;
    struct dc_error err = {0};
    if (st == DC_FORBIDDEN || st == DC_NOT_FOUND) {
        look_again(f);
    } else if (st != DC_OK) {
        dc_gateway_fail(&f->flow, cause, answer->retry_after_ms);
    } else if (dc_matrix_read_user(answer->json, "sender", &creator, &err) != DC_OK) {
        dc_gateway_fail(&f->flow, &err, -1);
    } else if (dc_gateway_is_ours(f->flow.g, creator)) {
        f->made_ms = json_integer_value(json_object_get(answer->json, "origin_server_ts"));
        ask_join_rules(f);
    } else {
        decide(f, creator);
    }
}

static void ask_creator(struct room_flow *f)
{
    struct dc_gateway *g = f->flow.g;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_auth(g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(&f->flow, auth, on_create_event);
        st = dc_matrix_room_state(g->matrix, &how, f->room_id, DC_S("m.room.create"), true, &err);
    }
    dc_gateway_ask(&f->flow, st, &err);
}

void dc_gateway_recheck_room(void *data, struct dc_timeout *t)
{
    (void)data;
    ask_creator(DC_CONTAINER_OF(t, struct room_flow, recheck));
}

/* --- by alias --- */

static void fail_not_found(struct room_flow *f)
{
    struct dc_error err = {0};
    if (f->is_creating) {
        /* Taken a moment ago, free now: the next attempt makes it. */
        (void)dc_fail_code(&err, DC_UNAVAILABLE, "matrix_unavailable",
                           "the alias is changing hands: try again");
    } else {
        (void)dc_fail(&err, DC_NOT_FOUND, 0, "no room has this alias");
    }
    dc_gateway_fail(&f->flow, &err, -1);
}

static void on_resolved(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                        const struct dc_error *cause)
{
    struct room_flow *f = data;
    struct dc_gateway *g = f->flow.g;
    struct dc_slice room_id;
    struct dc_slice slug;
    struct dc_error err = {0};
    if (st == DC_NOT_FOUND) {
        fail_not_found(f);
        return;
    }
    if (st != DC_OK) {
        dc_gateway_fail(&f->flow, cause, answer->retry_after_ms);
        return;
    }
    if (dc_matrix_read_room_id(answer->json, &room_id, &err) != DC_OK) {
        dc_gateway_fail(&f->flow, &err, -1);
        return;
    }
    f->room_id = dc_arena_dup(dc_http_arena(f->flow.r), room_id);
    if (f->room_id.ptr == NULL) {
        fail_memory(&f->flow);
        return;
    }
    if (!dc_matrix_alias_is_city(f->alias, g->server_name, &slug)) {
        reply_room(f); /* the city claims nothing about it */
        return;
    }
    ask_creator(f);
}

static void resolve(struct dc_gateway_flow *flow)
{
    struct room_flow *f = (struct room_flow *)flow;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    enum dc_status st = dc_gateway_auth(flow->g, &auth, &err);
    if (st == DC_OK) {
        const struct dc_matrix_how how = dc_gateway_how(flow, auth, on_resolved);
        st = dc_matrix_resolve_alias(flow->g->matrix, &how, f->alias, &err);
    }
    dc_gateway_ask(flow, st, &err);
}

struct find_query {
    struct dc_slice alias, slug;
};
static const struct dc_field find_fields[] = {
    {"alias", DC_FIELD_TEXT, DC_FIELD_NULLABLE | DC_FIELD_SINGLE_LINE, 1, DC_MATRIX_ID_MAX_BYTES,
     offsetof(struct find_query, alias)},
    {"slug", DC_FIELD_SLUG, DC_FIELD_NULLABLE, 0, 0, offsetof(struct find_query, slug)},
};

void dc_gateway_find_room(void *ctx, struct dc_http_request *r)
{
    struct dc_gateway *g = ctx;
    struct find_query query = {0};
    struct dc_strbuf alias = {0};
    struct dc_slice localpart;
    struct dc_slice server;
    struct room_flow *f = (struct room_flow *)dc_gateway_flow_begin(g, r, sizeof(*f));
    if (f == NULL) {
        return;
    }
    if (!dc_http_read_query(r, find_fields, DC_ARRAY_LEN(find_fields), &query)) {
        dc_gateway_end(g);
        return;
    }
    if ((query.alias.ptr == NULL) == (query.slug.ptr == NULL)) {
        dc_gateway_fail_field(&f->flow, "alias", query.alias.ptr == NULL ? "missing" : "conflict",
                              "is required, or slug in its place");
        return;
    }
    if (query.slug.ptr != NULL) {
        dc_matrix_room_alias(query.slug, g->server_name, &alias);
        query.alias = keep(&f->flow, &alias);
        if (query.alias.ptr == NULL) {
            fail_memory(&f->flow);
            return;
        }
    }
    if (!dc_matrix_id_split(query.alias, '#', &localpart, &server)) {
        dc_gateway_fail_field(&f->flow, "alias", "invalid_format",
                              "is not a room alias such as #city_energy:example.org");
        return;
    }
    if (!dc_slice_eq(server, g->server_name)) {
        dc_gateway_fail_field(&f->flow, "alias", "wrong_server",
                              "is an alias of another homeserver");
        return;
    }
    f->alias = query.alias;
    dc_timeout_init(&f->recheck);
    dc_gateway_when_known(&f->flow, false, resolve);
}

/* --- making --- */

static void on_created(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *cause)
{
    struct room_flow *f = data;
    struct dc_gateway *g = f->flow.g;
    struct dc_error err = {0};
    if (st == DC_OK) {
        st = dc_matrix_read_room_id(answer->json, &f->room_id, &err);
        if (st != DC_OK) {
            dc_gateway_fail(&f->flow, &err, -1);
            return;
        }
        g->rooms_created->value++;
        DC_LOG_INFO_EVENT(g->ctx->log, "matrix.room_created", DC_LF_T("alias", f->alias),
                          DC_LF_T("room_id", f->room_id));
        reply_room(f);
        return;
    }
    err = *cause;
    if (st == DC_CONFLICT && strcmp(dc_error_code(cause), "matrix_in_use") == 0) {
        resolve(&f->flow);
        return;
    }
    if (st == DC_CONFLICT) {
        (void)dc_fail_code(&err, DC_UNAVAILABLE, DC_GATEWAY_MISCONFIGURED,
                           "the aliases #" DC_MATRIX_ALIAS_PREFIX
                           "* are reserved by an application service: set its MATRIX_AS_TOKEN");
    }
    dc_gateway_fail(&f->flow, &err, answer->retry_after_ms);
}

static void create(struct dc_gateway_flow *flow)
{
    struct room_flow *f = (struct room_flow *)flow;
    struct dc_matrix_auth auth;
    struct dc_error err = {0};
    struct dc_strbuf localpart = {0};
    struct dc_strbuf name = {0};
    struct dc_strbuf topic = {0};
    enum dc_status st = dc_gateway_auth(flow->g, &auth, &err);
    dc_strbuf_add(&localpart, DC_S(DC_MATRIX_ALIAS_PREFIX));
    dc_strbuf_add(&localpart, f->slug);
    dc_strbuf_add(&name, DC_S(NAME_PREFIX));
    dc_strbuf_add(&name, f->name);
    if (f->topic.len == 0) {
        dc_strbuf_add(&topic, DC_S("City room: "));
    }
    dc_strbuf_add(&topic, f->topic.len == 0 ? f->name : f->topic);
    if (st == DC_OK && !(dc_strbuf_ok(&localpart) && dc_strbuf_ok(&name) && dc_strbuf_ok(&topic))) {
        st = dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    }
    if (st == DC_OK) {
        const struct dc_matrix_room room = {.alias_localpart = dc_strbuf_slice(&localpart),
                                            .name = dc_strbuf_slice(&name),
                                            .topic = dc_strbuf_slice(&topic),
                                            .is_public = f->is_public};
        const struct dc_matrix_how how = dc_gateway_how(flow, auth, on_created);
        st = dc_matrix_create_room(flow->g->matrix, &how, &room, &err);
    }
    dc_strbuf_free(&localpart);
    dc_strbuf_free(&name);
    dc_strbuf_free(&topic);
    dc_gateway_ask(flow, st, &err);
}

struct create_body {
    struct dc_slice slug, name, topic, visibility;
};
static const struct dc_field create_fields[] = {
    {"slug", DC_FIELD_SLUG, DC_FIELD_REQUIRED, 0, 0, offsetof(struct create_body, slug)},
    {"name", DC_FIELD_TEXT, DC_FIELD_REQUIRED | DC_FIELD_TRIM | DC_FIELD_SINGLE_LINE, 1,
     NAME_MAX_CHARS, offsetof(struct create_body, name)},
    {"topic", DC_FIELD_TEXT, DC_FIELD_NULLABLE | DC_FIELD_TRIM, 0, TOPIC_MAX_CHARS,
     offsetof(struct create_body, topic)},
    {"visibility", DC_FIELD_TEXT, DC_FIELD_NULLABLE, 0, 0,
     offsetof(struct create_body, visibility)},
};

void dc_gateway_create_room(void *ctx, struct dc_http_request *r)
{
    struct dc_gateway *g = ctx;
    struct create_body body = {.visibility = DC_S("public")};
    struct dc_strbuf alias = {0};
    struct room_flow *f = (struct room_flow *)dc_gateway_flow_begin(g, r, sizeof(*f));
    if (f == NULL) {
        return;
    }
    if (!dc_http_read_json(r, create_fields, DC_ARRAY_LEN(create_fields), &body)) {
        dc_gateway_end(g);
        return;
    }
    f->is_public = dc_slice_eq(body.visibility, DC_S("public"));
    if (!f->is_public && !dc_slice_eq(body.visibility, DC_S("private"))) {
        dc_gateway_fail_field(&f->flow, "visibility", "invalid_format",
                              "is neither public nor private");
        return;
    }
    f->slug = body.slug;
    f->name = body.name;
    f->topic = body.topic;
    f->is_creating = true;
    dc_timeout_init(&f->recheck);
    dc_matrix_room_alias(body.slug, g->server_name, &alias);
    f->alias = keep(&f->flow, &alias);
    if (f->alias.ptr == NULL) {
        fail_memory(&f->flow);
        return;
    }
    dc_gateway_when_known(&f->flow, false, create);
}
