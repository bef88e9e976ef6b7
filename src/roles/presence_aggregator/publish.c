/* What the aggregator says, and the one door through which it is said. */
#include "base/encoding.h"
#include "base/mem.h"
#include "roles/presence_aggregator/aggregator.h"

#include <openssl/evp.h>

/* --- subjects --- */

/* The id as one token.  A subject has 255 bytes and every unusual byte of an id becomes three: what
 * is too long then is named by its hash, and the payload says whose it is. */
#define TOKEN_MAX_BYTES 200
static void write_token(struct dc_strbuf *subject, struct dc_slice id)
{
    struct dc_strbuf token = {0};
    uint8_t digest[32];
    dc_bus_token(&token, id);
    if (token.len > TOKEN_MAX_BYTES &&
        EVP_Digest(id.ptr, id.len, digest, NULL, EVP_sha256(), NULL) == 1) {
        dc_strbuf_clear(&token);
        dc_strbuf_add(&token, DC_S("sha256-"));
        dc_hex_encode(&token, dc_slice_make(digest, sizeof(digest)));
    }
    dc_strbuf_add(subject, dc_strbuf_slice(&token));
    dc_strbuf_free(&token);
}

/* The local part of a Matrix user of our own homeserver (specs/global-presence §4.2), else the id.
 * Whose it is the payload says: a resident may have an id that is somebody's local part. */
void dc_agg_user_subject(const struct dc_aggregator *a, struct dc_slice user_id,
                         struct dc_strbuf *out)
{
    struct dc_slice localpart = dc_agg_matrix_localpart(a, user_id);
    dc_strbuf_add(out, DC_S("city.presence.user."));
    write_token(out, localpart.len > 0 ? localpart : user_id);
}

void dc_agg_room_subject(struct dc_slice slug, struct dc_strbuf *out)
{
    dc_strbuf_add(out, DC_S("city.presence.room."));
    write_token(out, slug);
}

/* --- the door --- */

/* Once for each change; what was lost is said again in full as soon as it goes. */
static void note_bus(struct dc_aggregator *a, enum dc_status st, struct dc_slice subject)
{
    bool is_failing = st != DC_OK;
    if (is_failing && !a->is_bus_failing) {
        DC_LOG_WARN_EVENT(a->ctx->log, "presence.unpublished", DC_LF_T("subject", subject),
                          DC_LF_Z("code", dc_status_code(st)),
                          DC_LF_Z("detail", "the bus takes nothing; all is said again later"));
    } else if (!is_failing && a->is_bus_failing) {
        DC_LOG_INFO_EVENT(a->ctx->log, "presence.published", DC_LF_B("again", true));
    }
    a->is_bus_failing = is_failing;
}

static enum dc_status hand_over(struct dc_aggregator *a, const struct dc_strbuf *subject,
                                const struct dc_strbuf *payload)
{
    if (!dc_strbuf_ok(subject) || !dc_strbuf_ok(payload)) {
        return DC_NO_MEMORY;
    }
    return dc_bus_publish(a->ctx->bus, dc_strbuf_slice(subject), DC_SLICE_NULL,
                          dc_strbuf_slice(payload), NULL, NULL, NULL);
}

/* A leader's word; frees both. */
static void publish(struct dc_aggregator *a, struct dc_strbuf *subject, struct dc_strbuf *payload)
{
    if (dc_agg_may_publish(a)) {
        enum dc_status st = hand_over(a, subject, payload);
        note_bus(a, st, dc_strbuf_slice(subject));
        if (st == DC_OK) {
            a->published->value++;
        } else {
            a->unpublished->value++;
            dc_sweep_want(a, true);
        }
    }
    dc_strbuf_free(subject);
    dc_strbuf_free(payload);
}

void dc_agg_say(struct dc_aggregator *a, struct dc_slice subject, struct dc_strbuf *payload)
{
    struct dc_strbuf to = {0};
    dc_strbuf_add(&to, subject);
    note_bus(a, hand_over(a, &to, payload), subject);
    dc_strbuf_free(&to);
    dc_strbuf_free(payload);
}

void dc_agg_forget(struct dc_aggregator *a, struct dc_slice subject)
{
    if (dc_agg_may_publish(a)) {
        enum dc_status st = dc_bus_forget(a->ctx->bus, subject);
        note_bus(a, st, subject);
        a->forgotten->value += st == DC_OK;
    }
}

/* --- payloads --- */

/* Whose word it is; ends the object. */
static void finish(const struct dc_aggregator *a, int64_t gen, struct dc_jsonw *w)
{
    dc_jsonw_key_i64(w, "term", a->term);
    dc_jsonw_key_i64(w, "gen", gen);
    dc_jsonw_end(w);
}

/* When the homeserver's change was heard, and when it happened, for those who measure. */
static void write_cause(const struct dc_aggregator *a, struct dc_jsonw *w)
{
    if (a->cause.heard_ms > 0) {
        dc_jsonw_key_i64(w, "heard_ts", a->cause.heard_ms);
    }
    if (a->cause.changed_ms > 0) {
        dc_jsonw_key_i64(w, "changed_ts", a->cause.changed_ms);
    }
}

static void write_person(const struct dc_aggregator *a, struct dc_jsonw *w,
                         const struct dc_presence_user_state *u)
{
    dc_jsonw_key_text(w, "user_id", u->user_id);
    dc_jsonw_key_text(w, "username", dc_agg_name(a, u));
    dc_jsonw_key_text(w, "status", dc_slice_z(dc_presence_status_name(u->status)));
}

void dc_agg_publish_user(struct dc_aggregator *a, const struct dc_presence_user_state *u)
{
    struct dc_strbuf subject = {0};
    struct dc_strbuf mxid = {0};
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    if (a->mirror != NULL && !dc_mirror_user_said(a->mirror, u) && !a->sweep.is_full) {
        return;
    }
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("user.presence"));
    dc_jsonw_key_text(&w, "matrix_user_id",
                      dc_agg_matrix_user(a, u->user_id, &mxid) ? dc_strbuf_slice(&mxid)
                                                               : DC_SLICE_NULL);
    write_person(a, &w, u);
    dc_jsonw_key_i64(&w, "last_active_ts", u->last_active.ms);
    write_cause(a, &w);
    finish(a, a->gen, &w);
    dc_strbuf_free(&mxid);
    dc_agg_user_subject(a, u->user_id, &subject);
    publish(a, &subject, &out);
}

/* Until the stream forgets him; a standby's list is for the day it leads. */
static void on_user(void *data, const struct dc_presence_user_state *u)
{
    struct dc_aggregator *a = data;
    if (u->status == DC_PRESENCE_OFFLINE) {
        struct dc_strbuf subject = {0};
        dc_agg_user_subject(a, u->user_id, &subject);
        if (dc_strbuf_ok(&subject)) {
            (void)dc_fade_put(&a->user_fade, u->user_id, dc_strbuf_slice(&subject),
                              dc_agg_now_ms(a)); /* full: kept until the next leader reads */
        }
        dc_strbuf_free(&subject);
    } else {
        dc_fade_cancel(&a->user_fade, u->user_id);
    }
    if (a->phase == DC_AGG_LEADING) {
        dc_agg_publish_user(a, u);
    }
}

static void member_event(struct dc_aggregator *a, struct dc_slice prefix, struct dc_slice room_id,
                         struct dc_strbuf *payload)
{
    struct dc_strbuf subject = {0};
    dc_strbuf_add(&subject, prefix);
    write_token(&subject, room_id);
    publish(a, &subject, payload);
}

static void on_member(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      enum dc_presence_member_change change)
{
    static const char *const words[] = {
        [DC_MEMBER_JOINED] = "joined", [DC_MEMBER_LEFT] = "left", [DC_MEMBER_STATUS] = "status"};
    struct dc_aggregator *a = data;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    if (a->phase != DC_AGG_LEADING) {
        return;
    }
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "change", dc_slice_z(words[change]));
    dc_jsonw_key_text(&w, "room_id", room_id);
    write_person(a, &w, u);
    finish(a, a->member_gen, &w);
    member_event(a, DC_S("city.member."), room_id, &out);
}

static void on_typing(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      bool is_typing)
{
    struct dc_aggregator *a = data;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    if (a->phase != DC_AGG_LEADING) {
        return;
    }
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_bool(&w, "typing", is_typing);
    dc_jsonw_key_text(&w, "room_id", room_id);
    write_person(a, &w, u);
    finish(a, a->member_gen, &w);
    member_event(a, DC_S("city.typing."), room_id, &out);
}

void dc_agg_write_member(const struct dc_aggregator *a, struct dc_slice room_id,
                         const struct dc_presence_user_state *u, struct dc_jsonw *w)
{
    dc_jsonw_object(w);
    write_person(a, w, u);
    if (dc_presence_is_typing(a->core, u->user_id, room_id)) {
        dc_jsonw_key_bool(w, "typing", true);
    }
    dc_jsonw_end(w);
}

void dc_agg_publish_members(struct dc_aggregator *a, struct dc_slice room_id, struct dc_slice slug,
                            struct dc_slice members, bool is_last, int64_t member_gen)
{
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "change", DC_S("set"));
    dc_jsonw_key_text(&w, "room_id", room_id);
    dc_jsonw_key_text(&w, "room_slug", slug);
    dc_jsonw_key_raw(&w, "members", members);
    dc_jsonw_key_bool(&w, "last", is_last);
    finish(a, member_gen, &w);
    member_event(a, DC_S("city.member."), room_id, &out);
}

/* --- rooms --- */

static void write_ids(struct dc_jsonw *w, const char *key_z, const struct dc_slice *ids, size_t n)
{
    dc_jsonw_key(w, key_z);
    dc_jsonw_array(w);
    for (size_t i = 0; i < n; i++) {
        dc_jsonw_text(w, ids[i]);
    }
    dc_jsonw_end(w);
}

struct sample {
    const struct dc_aggregator *a;
    struct dc_jsonw *w;
};

static void write_online_user(void *data, const struct dc_presence_user_state *u)
{
    const struct sample *sample = data;
    dc_jsonw_object(sample->w);
    write_person(sample->a, sample->w, u);
    dc_jsonw_end(sample->w);
}

/* Behind it stands what changes all the time: see dc_agg_room_state(). */
#define ROOM_STATE_END "],\"last_event_ts\":"

struct dc_slice dc_agg_room_state(struct dc_slice payload)
{
    const struct dc_slice end = DC_S(ROOM_STATE_END);
    size_t from = payload.len;
    while (from >= end.len) { /* near the end of the payload */
        if (memcmp(payload.ptr + from - end.len, end.ptr, end.len) == 0) {
            return dc_slice_make(payload.ptr, from - end.len);
        }
        from--;
    }
    return payload;
}

static void publish_room(struct dc_aggregator *a, const struct dc_presence_room_state *r)
{
    struct dc_strbuf subject = {0};
    struct dc_strbuf out = {0};
    struct dc_slice matrix_room_id;
    struct dc_slice matrix_room_alias;
    struct dc_jsonw w;
    struct sample sample = {a, &w};
    (void)dc_agg_matrix_room(a, r->room_id, &matrix_room_id, &matrix_room_alias);
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("room.presence"));
    dc_jsonw_key_text(&w, "room_slug", r->slug);
    dc_jsonw_key_text(&w, "room_id", r->room_id);
    dc_jsonw_key_text(&w, "matrix_room_id", matrix_room_id);
    dc_jsonw_key_text(&w, "matrix_room_alias", matrix_room_alias);
    dc_jsonw_key_i64(&w, "online_count", r->online_count);
    dc_jsonw_key_i64(&w, "away_count", r->away_count);
    dc_jsonw_key_i64(&w, "typing_count", r->typing_count);
    write_ids(&w, "typing_users", r->typing_users, r->n_typing_users);
    dc_jsonw_key(&w, "online_users");
    dc_jsonw_array(&w);
    dc_presence_room_members(a->core, r->room_id, DC_PRESENCE_SAMPLE, write_online_user, &sample);
    dc_jsonw_end(&w);
    dc_jsonw_key_i64(&w, "last_event_ts", r->last_event.ms);
    write_cause(a, &w);
    finish(a, a->gen, &w);
    if (a->mirror != NULL && dc_strbuf_ok(&out) &&
        !dc_mirror_room_said(a->mirror, r->slug, dc_strbuf_slice(&out),
                             r->online_count == 0 && r->typing_count == 0) &&
        !a->sweep.is_full) {
        dc_strbuf_free(&out);
        return;
    }
    dc_agg_room_subject(r->slug, &subject);
    publish(a, &subject, &out);
}

static void on_room(void *data, const struct dc_presence_room_state *r)
{
    struct dc_aggregator *a = data;
    bool is_empty = r->online_count == 0 && r->typing_count == 0;
    if (is_empty) {
        struct dc_strbuf subject = {0};
        dc_agg_room_subject(r->slug, &subject);
        if (dc_strbuf_ok(&subject)) {
            (void)dc_fade_put(&a->room_fade, r->room_id, dc_strbuf_slice(&subject),
                              dc_agg_now_ms(a)); /* full: as for users */
        }
        dc_strbuf_free(&subject);
    } else {
        dc_fade_cancel(&a->room_fade, r->room_id);
    }
    if (a->phase == DC_AGG_LEADING) {
        publish_room(a, r);
    }
}

void dc_agg_publish_nobody(struct dc_aggregator *a, struct dc_slice room_id, struct dc_slice slug)
{
    const struct dc_presence_room_state nobody = {
        .room_id = room_id, .slug = slug, .last_event = dc_utc_now()};
    on_room(a, &nobody);
}

static void on_totals(void *data, const struct dc_presence_totals *t)
{
    struct dc_aggregator *a = data;
    struct dc_strbuf subject = {0};
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    a->online->value = t->online;
    if (a->phase != DC_AGG_LEADING) {
        return;
    }
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S("city.presence"));
    dc_jsonw_key_i64(&w, "online_total", t->online);
    dc_jsonw_key_i64(&w, "away_total", t->away);
    finish(a, a->gen, &w);
    dc_strbuf_add(&subject, DC_S("city.presence.city"));
    publish(a, &subject, &out);
}

static void on_native(void *data, const struct dc_presence_user_state *u)
{
    dc_agg_heartbeat_native(data, u);
}

const struct dc_presence_callbacks dc_agg_callbacks = {.user = on_user,
                                                       .member = on_member,
                                                       .typing = on_typing,
                                                       .room = on_room,
                                                       .totals = on_totals,
                                                       .native = on_native};

/* --- markers --- */

static void publish_marker(struct dc_aggregator *a, struct dc_slice prefix, int64_t gen)
{
    struct dc_strbuf subject = {0};
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "type", DC_S(DC_PRESENCE_SYNCED));
    finish(a, gen, &w);
    dc_strbuf_add(&subject, prefix);
    dc_strbuf_add(&subject, DC_S(DC_PRESENCE_MARKER));
    publish(a, &subject, &out);
}

void dc_agg_publish_markers(struct dc_aggregator *a, bool rooms_and_users, int64_t member_gen)
{
    if (rooms_and_users) {
        publish_marker(a, DC_S("city.presence.user."), a->gen);
        publish_marker(a, DC_S("city.presence.room."), a->gen);
    }
    publish_marker(a, DC_S("city.member."), member_gen);
}
