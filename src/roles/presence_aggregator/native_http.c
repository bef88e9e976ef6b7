/* Sessions of people who joined over HTTP.  Gateways do not keep them, so when an aggregator asks
 * for all sessions, the leader answers for these: what the core knows of them, told as a gateway
 * would tell it. */
#include "base/mem.h"
#include "roles/presence_aggregator/aggregator.h"

#define TOLD_A_TURN 128

struct http_session {
    struct dc_list link; /* dc_http_sessions.live or .telling, oldest first */
    int64_t seen_ms;
    size_t user_len, name_len;
    char text[]; /* user_id, username */
};

struct dc_http_sessions {
    struct dc_aggregator *a;
    struct dc_map by_user;
    struct dc_list live, telling;
    struct dc_turn turn;
};

static struct dc_slice user_of(const struct http_session *s)
{
    return dc_slice_make(s->text, s->user_len);
}

static struct dc_slice name_of(const struct http_session *s)
{
    return dc_slice_make(s->text + s->user_len, s->name_len);
}

static void drop(struct dc_http_sessions *hs, struct http_session *s)
{
    (void)dc_map_remove(&hs->by_user, user_of(s));
    dc_list_remove(&s->link);
    dc_free(s);
}

/* Those whose lease is over have ended in the core too, or will with its next tick. */
static void expire(struct dc_http_sessions *hs)
{
    int64_t ended_ms = dc_agg_now_ms(hs->a) - hs->a->ctx->settings->presence_lease_ms;
    while (!dc_list_is_empty(&hs->live)) {
        struct http_session *s = DC_LIST_ENTRY(hs->live.next, struct http_session, link);
        if (s->seen_ms > ended_ms) {
            break;
        }
        drop(hs, s);
    }
}

void dc_http_session_seen(struct dc_http_sessions *hs, struct dc_slice user_id,
                          struct dc_slice username)
{
    expire(hs);
    struct http_session *s = dc_map_get(&hs->by_user, user_id);
    if (s == NULL) {
        s = dc_calloc(1, sizeof(*s) + user_id.len + username.len);
        s->user_len = user_id.len;
        s->name_len = username.len;
        memcpy(s->text, user_id.ptr, user_id.len);
        if (username.len > 0) {
            memcpy(s->text + user_id.len, username.ptr, username.len);
        }
        dc_list_init(&s->link);
        (void)dc_map_put(&hs->by_user, user_of(s), s);
    }
    s->seen_ms = dc_agg_now_ms(hs->a);
    dc_list_remove(&s->link);
    dc_list_push_back(&hs->live, &s->link);
}

struct telling {
    struct dc_http_sessions *hs;
    const struct http_session *session;
    struct dc_slice session_id;
};

static void tell_room(void *data, struct dc_slice room_id, struct dc_slice slug)
{
    const struct telling *t = data;
    struct dc_strbuf out = {0};
    struct dc_strbuf subject = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "op", DC_S("announce"));
    dc_jsonw_key_text(&w, "session_id", t->session_id);
    dc_jsonw_key_text(&w, "user_id", user_of(t->session));
    dc_jsonw_key_text(&w, "username", name_of(t->session));
    dc_jsonw_key_text(&w, "status", DC_S(DC_SESSION_STATUS_PASSIVE));
    dc_jsonw_key_text(&w, "room_id", room_id);
    dc_jsonw_key_text(&w, "room_slug", slug);
    dc_jsonw_end(&w);
    dc_strbuf_add(&subject, DC_S("city.session."));
    dc_strbuf_add_z(&subject, t->hs->a->holder);
    dc_agg_say(t->hs->a, dc_strbuf_slice(&subject), &out);
    dc_strbuf_free(&subject);
}

static void tell(struct dc_http_sessions *hs, const struct http_session *s)
{
    struct dc_strbuf id = {0};
    dc_strbuf_add(&id, DC_S(DC_HTTP_SESSION_PREFIX));
    dc_strbuf_add(&id, user_of(s));
    struct telling t = {hs, s, dc_strbuf_slice(&id)};
    if (dc_strbuf_ok(&id)) {
        dc_presence_session_rooms(hs->a->core, t.session_id, tell_room, &t);
    }
    dc_strbuf_free(&id);
}

static void on_turn(struct dc_turn *turn)
{
    struct dc_http_sessions *hs = DC_CONTAINER_OF(turn, struct dc_http_sessions, turn);
    for (size_t n = 0; n < TOLD_A_TURN && !dc_list_is_empty(&hs->telling); n++) {
        struct http_session *s = DC_LIST_ENTRY(hs->telling.next, struct http_session, link);
        dc_list_remove(&s->link);
        dc_list_push_back(&hs->live, &s->link);
        tell(hs, s);
    }
    if (!dc_list_is_empty(&hs->telling)) {
        dc_turn_schedule(hs->a->ctx->loop, turn);
    }
}

void dc_http_sessions_announce(struct dc_http_sessions *hs)
{
    expire(hs);
    dc_list_move_all(&hs->telling, &hs->live);
    dc_turn_schedule(hs->a->ctx->loop, &hs->turn);
}

struct dc_http_sessions *dc_http_sessions_create(struct dc_aggregator *a)
{
    struct dc_http_sessions *hs = dc_calloc(1, sizeof(*hs));
    uint64_t seed[2];
    hs->a = a;
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&hs->by_user, seed);
    dc_list_init(&hs->live);
    dc_list_init(&hs->telling);
    dc_turn_init(&hs->turn, on_turn);
    return hs;
}

void dc_http_sessions_destroy(struct dc_http_sessions *hs)
{
    dc_turn_cancel(&hs->turn);
    dc_list_move_all(&hs->live, &hs->telling);
    DC_LIST_FOREACH_SAFE (it, &hs->live) {
        drop(hs, DC_LIST_ENTRY(it, struct http_session, link));
    }
    dc_map_free(&hs->by_user);
    dc_free(hs);
}
