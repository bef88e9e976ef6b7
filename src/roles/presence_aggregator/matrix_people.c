/* People as a homeserver knows them.  A resident's account is named by his DAARION id
 * (matrix/matrix_id.h), or is known to be his (matrix_owners.c), so he is one person here however
 * he comes; everybody else is known by his full Matrix id. */
#include "base/input.h"
#include "base/mem.h"
#include "matrix/config_files.h"
#include "matrix/matrix_push.h"
#include "roles/presence_aggregator/matrix_source.h"

#define ADMINISTRATOR_PREFIX "daarion-gateway-"

enum dc_status dc_agg_matrix_presence(struct dc_aggregator *a, struct dc_slice user_id,
                                      enum dc_presence_status status, struct dc_utc last_active)
{
    status = dc_agg_heartbeat_said(a, user_id, status, last_active);
    return dc_presence_matrix_status(a->core, user_id, status, last_active, dc_agg_now(a));
}

/* --- who is it --- */

bool dc_ms_is_nobody(const struct dc_ms *ms, struct dc_slice mxid)
{
    struct dc_slice localpart;
    struct dc_slice server;
    return dc_slice_eq(mxid, ms->user_id) ||
           (dc_matrix_id_split(mxid, '@', &localpart, &server) &&
            dc_slice_eq(server, ms->server_name) &&
            (dc_slice_eq(localpart, DC_S(DC_MATRIX_SENDER_LOCALPART)) ||
             dc_slice_starts(localpart, DC_S(ADMINISTRATOR_PREFIX))));
}

/* Whose account that is, and in *out how the core knows him: nothing for DC_MATRIX_HASHED. */
static enum dc_matrix_account_kind kind_of(const struct dc_ms *ms, struct dc_slice mxid,
                                           struct dc_strbuf *out)
{
    enum dc_matrix_account_kind kind = dc_matrix_account_of(mxid, ms->server_name, out);
    if (kind == DC_MATRIX_STRANGER ||
        (kind == DC_MATRIX_RESIDENT && !dc_user_id_is_valid(dc_strbuf_slice(out)))) {
        kind = DC_MATRIX_STRANGER;
        dc_strbuf_clear(out);
        dc_strbuf_add(out, mxid);
    }
    return kind;
}

struct dc_ms_person *dc_ms_person_find(const struct dc_ms *ms, struct dc_slice mxid)
{
    return dc_map_get(&ms->people, mxid);
}

static struct dc_ms_person *make(struct dc_ms *ms, struct dc_slice mxid)
{
    struct dc_ms_person *p = NULL;
    struct dc_strbuf id = {0};
    enum dc_matrix_account_kind kind = kind_of(ms, mxid, &id);
    /* Who could not be named must not be counted either. */
    if (kind == DC_MATRIX_HASHED ||
        (dc_strbuf_ok(&id) && dc_author_id_is_valid(dc_strbuf_slice(&id)))) {
        p = dc_calloc(1, sizeof(*p) + mxid.len + 1 + id.len);
        memcpy(p->text, mxid.ptr, mxid.len);
        p->mxid = dc_slice_make(p->text, mxid.len);
        if (id.len > 0) {
            memcpy(p->text + mxid.len + 1, id.ptr, id.len);
            p->id = dc_slice_make(p->text + mxid.len + 1, id.len);
        }
        dc_list_init(&p->memberships);
        dc_list_push_back(&ms->all_people, &p->link);
        p->walk = ms->walk; /* he has just been heard of */
        (void)dc_map_put(&ms->people, p->mxid, p);
        if (kind == DC_MATRIX_HASHED) {
            dc_ms_owner_join(ms, p);
        }
    }
    dc_strbuf_free(&id);
    return p;
}

struct dc_ms_person *dc_ms_person_need(struct dc_ms *ms, struct dc_slice mxid)
{
    struct dc_ms_person *p = dc_ms_person_find(ms, mxid);
    return p == NULL && mxid.len > 0 && ms->people.count < DC_AGG_MAX_USERS ? make(ms, mxid) : p;
}

static void person_free(struct dc_ms_person *p)
{
    dc_list_remove(&p->link);
    dc_ms_person_call(p, DC_SLICE_NULL);
    dc_free(p);
}

void dc_ms_person_call(struct dc_ms_person *p, struct dc_slice displayname)
{
    char *old = (char *)(uintptr_t)p->name.ptr;
    struct dc_slice name = dc_matrix_display_name(displayname); /* as in what he says */
    if (dc_slice_eq(name, p->name)) {
        return;
    }
    p->name = DC_SLICE_NULL;
    if (name.len > 0) {
        char *text = dc_alloc(name.len);
        memcpy(text, name.ptr, name.len);
        p->name = dc_slice_make(text, name.len);
    }
    dc_free(old);
}

void dc_ms_person_release(struct dc_ms *ms, struct dc_ms_person *p)
{
    if (p->n_rooms == 0 && p->status == DC_PRESENCE_OFFLINE) {
        (void)dc_map_remove(&ms->people, p->mxid);
        dc_ms_owner_leave(ms, p);
        person_free(p);
    }
}

/* --- presence --- */

static void tell(struct dc_ms *ms, struct dc_ms_person *p, enum dc_presence_status status,
                 struct dc_utc last_active)
{
    struct dc_aggregator *a = ms->a;
    p->last_active = last_active;
    if (p->id.len == 0) { /* the core hears it as soon as he is known */
        p->status = status;
        return;
    }
    bool comes_online = status == DC_PRESENCE_ONLINE && p->status != DC_PRESENCE_ONLINE;
    a->cause.heard_ms = dc_utc_now().ms;
    a->cause.changed_ms = comes_online ? last_active.ms : 0;
    if (dc_agg_matrix_presence(a, p->id, status, last_active) == DC_OK) {
        ms->applied->value++;
        p->status = status;
    } else {
        ms->left_out->value++;
    }
    a->cause.heard_ms = 0;
    a->cause.changed_ms = 0;
}

/* Nobody will tell of somebody who is in none of our rooms, unless the homeserver tells of
 * everybody. */
void dc_ms_person_rooms(struct dc_ms *ms, struct dc_ms_person *p, bool is_more)
{
    p->n_rooms = is_more ? p->n_rooms + 1 : p->n_rooms - 1;
    if (p->n_rooms == 0 && p->status != DC_PRESENCE_OFFLINE && ms->has_picture &&
        ms->mode != DC_MS_MODE_ROUTER && ms->n_strange == 0) {
        tell(ms, p, DC_PRESENCE_OFFLINE, (struct dc_utc){0});
    }
}

void dc_ms_person_identify(struct dc_ms *ms, struct dc_ms_person *p, struct dc_slice id)
{
    if (dc_slice_eq(p->id, id)) {
        return;
    }
    bool was_known = p->id.len > 0;
    DC_LIST_FOREACH (it, &p->memberships) {
        const struct dc_ms_member *m = DC_LIST_ENTRY(it, struct dc_ms_member, of_person);
        if (was_known) {
            (void)dc_ms_member_tell(m->room, p, false);
        }
    }
    if (was_known && p->status != DC_PRESENCE_OFFLINE) {
        (void)dc_agg_matrix_presence(ms->a, p->id, DC_PRESENCE_OFFLINE, (struct dc_utc){0});
    }
    p->id = id;
    DC_LIST_FOREACH (it, &p->memberships) {
        const struct dc_ms_member *m = DC_LIST_ENTRY(it, struct dc_ms_member, of_person);
        ms->left_out->value += dc_ms_member_tell(m->room, p, true) != DC_OK;
    }
    if (p->status != DC_PRESENCE_OFFLINE) {
        tell(ms, p, p->status, p->last_active);
    }
}

/* Hearing of somebody with whom no room is shared is what a presence router does. */
static void learn_mode(struct dc_ms *ms, const struct dc_ms_person *p)
{
    if (ms->mode == DC_MS_MODE_UNKNOWN) {
        ms->mode = DC_MS_MODE_ROOMS;
    }
    if (ms->mode == DC_MS_MODE_ROOMS && ms->has_picture && ms->n_strange == 0 &&
        ms->n_unknown == 0 && p != NULL && p->n_rooms == 0) {
        ms->mode = DC_MS_MODE_ROUTER;
        DC_LOG_INFO_EVENT(ms->a->ctx->log, "presence.matrix_mode",
                          DC_LF_Z("mode", dc_ms_mode_word(ms->mode)));
    }
}

static enum dc_presence_status status_of(struct dc_slice word)
{
    if (dc_slice_eq(word, DC_S("online"))) {
        return DC_PRESENCE_ONLINE;
    }
    return dc_slice_eq(word, DC_S("unavailable")) ? DC_PRESENCE_AWAY : DC_PRESENCE_OFFLINE;
}

static struct dc_utc moment(int64_t ago_ms)
{
    struct dc_utc now = dc_utc_now();
    return (struct dc_utc){ago_ms >= 0 && ago_ms < now.ms ? now.ms - ago_ms : 0};
}

void dc_ms_presence(struct dc_ms *ms, const struct dc_matrix_presence *presence)
{
    enum dc_presence_status status = status_of(presence->presence);
    if (dc_ms_is_nobody(ms, presence->user_id)) {
        return;
    }
    struct dc_ms_person *p = status == DC_PRESENCE_OFFLINE
                                 ? dc_ms_person_find(ms, presence->user_id)
                                 : dc_ms_person_need(ms, presence->user_id);
    learn_mode(ms, p);
    if (p == NULL) {
        ms->left_out->value += status != DC_PRESENCE_OFFLINE; /* else he has never been here */
        return;
    }
    p->heard = ms->heard;
    tell(ms, p, status, moment(presence->last_active_ago_ms));
    dc_ms_person_release(ms, p);
}

static bool is_shielded(const struct dc_ms_person *p)
{
    DC_LIST_FOREACH (it, &p->memberships) {
        if (!DC_LIST_ENTRY(it, struct dc_ms_member, of_person)->room->is_joined) {
            return true;
        }
    }
    return false;
}

struct walk {
    struct dc_ms_job job;
    bool has_begun;
    void (*done)(struct dc_ms *ms);
};

/* Who has been looked at goes to the end of the list, and so do those who come meanwhile. */
static size_t walk_step(struct dc_ms *ms, struct dc_ms_job *job, size_t max)
{
    struct walk *w = (struct walk *)job;
    size_t n = 0;
    ms->walk += !w->has_begun;
    w->has_begun = true;
    for (; n < max && !dc_list_is_empty(&ms->all_people); n++) {
        struct dc_ms_person *p = DC_LIST_ENTRY(ms->all_people.next, struct dc_ms_person, link);
        if (p->walk == ms->walk) {
            break;
        }
        p->walk = ms->walk;
        dc_list_remove(&p->link);
        dc_list_push_back(&ms->all_people, &p->link);
        if (p->status != DC_PRESENCE_OFFLINE && p->heard < ms->whole_since && !is_shielded(p)) {
            tell(ms, p, DC_PRESENCE_OFFLINE, (struct dc_utc){0});
        }
        dc_ms_person_release(ms, p);
    }
    return n;
}

static void walk_end(struct dc_ms *ms, struct dc_ms_job *job, bool is_complete)
{
    struct walk *w = (struct walk *)job;
    if (is_complete) {
        w->done(ms);
    }
    dc_free(w);
}

void dc_ms_people_whole(struct dc_ms *ms, void (*done)(struct dc_ms *ms))
{
    static const struct dc_ms_job_kind kind = {.step = walk_step, .end = walk_end};
    struct walk *w = dc_calloc(1, sizeof(*w));
    w->done = done;
    dc_ms_job_start(ms, &w->job, &kind, NULL);
}

/* --- typing --- */

/* As the core knows him; false: he cannot be counted, or not yet. */
static bool write_id(const struct dc_ms *ms, struct dc_slice mxid, struct dc_strbuf *out)
{
    const struct dc_ms_person *p = dc_ms_person_find(ms, mxid);
    dc_strbuf_clear(out);
    if (p != NULL) {
        dc_strbuf_add(out, p->id);
    } else {
        (void)kind_of(ms, mxid, out);
    }
    return dc_strbuf_ok(out) && dc_author_id_is_valid(dc_strbuf_slice(out));
}

size_t dc_ms_typing_ids(struct dc_ms *ms, const json_t *user_ids, struct dc_slice *ids, size_t max,
                        struct dc_strbuf *texts)
{
    size_t ends[64];
    size_t n = 0;
    struct dc_strbuf id = {0};
    max = max < DC_ARRAY_LEN(ends) ? max : DC_ARRAY_LEN(ends);
    for (size_t i = 0; i < json_array_size(user_ids); i++) {
        const json_t *user = json_array_get(user_ids, i);
        struct dc_slice mxid = dc_slice_make(json_string_value(user), json_string_length(user));
        if (dc_ms_is_nobody(ms, mxid)) {
            continue;
        }
        if (n == max || !write_id(ms, mxid, &id)) {
            ms->left_out->value++;
            continue;
        }
        dc_strbuf_add(texts, dc_strbuf_slice(&id));
        ends[n++] = texts->len;
    }
    dc_strbuf_free(&id);
    if (!dc_strbuf_ok(texts)) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) { /* now that the text stands still */
        size_t from = i == 0 ? 0 : ends[i - 1];
        ids[i] = dc_slice_make(texts->ptr + from, ends[i] - from);
    }
    return n;
}

/* --- for publishing --- */

const char *dc_ms_mode_word(enum dc_ms_mode mode)
{
    static const char *const words[] = {[DC_MS_MODE_UNKNOWN] = "unknown",
                                        [DC_MS_MODE_ROOMS] = "rooms",
                                        [DC_MS_MODE_ROUTER] = "router"};
    return words[mode];
}

bool dc_agg_matrix_user(const struct dc_aggregator *a, struct dc_slice user_id,
                        struct dc_strbuf *out)
{
    const struct dc_ms *ms = a->matrix;
    if (user_id.len > 0 && user_id.ptr[0] == '@') {
        dc_strbuf_add(out, user_id);
        return dc_strbuf_ok(out);
    }
    if (ms == NULL) {
        return false;
    }
    dc_matrix_user_id(user_id, ms->server_name, out);
    return dc_strbuf_ok(out) && dc_ms_person_find(ms, dc_strbuf_slice(out)) != NULL;
}

struct dc_slice dc_agg_name(const struct dc_aggregator *a, const struct dc_presence_user_state *u)
{
    struct dc_slice localpart;
    struct dc_slice server;
    if (u->username.len > 0 || !dc_matrix_id_split(u->user_id, '@', &localpart, &server)) {
        return u->username;
    }
    const struct dc_ms_person *p =
        a->matrix == NULL ? NULL : dc_ms_person_find(a->matrix, u->user_id);
    return p != NULL && p->name.len > 0 ? p->name : localpart;
}

struct dc_slice dc_agg_matrix_localpart(const struct dc_aggregator *a, struct dc_slice user_id)
{
    struct dc_slice localpart;
    struct dc_slice server;
    return a->matrix != NULL && dc_matrix_id_split(user_id, '@', &localpart, &server) &&
                   dc_slice_eq(server, a->matrix->server_name)
               ? localpart
               : DC_SLICE_NULL;
}

/* --- life --- */

void dc_ms_people_init(struct dc_ms *ms)
{
    uint64_t seed[2];
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&ms->people, seed);
    dc_list_init(&ms->all_people);
}

void dc_ms_people_free(struct dc_ms *ms)
{
    struct dc_map_iter it = {0};
    void *value;
    while (dc_map_next(&ms->people, &it, NULL, &value)) {
        person_free(value);
    }
    dc_map_free(&ms->people);
}
