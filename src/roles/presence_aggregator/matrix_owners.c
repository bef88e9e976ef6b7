/* Whose account that is, where its name does not say it: a resident whose id is too long to stand
 * in a Matrix id has an account named by a hash (matrix/matrix_id.h), and matrix-gateway knows
 * whose.
 *
 * Until it has said so he is in nobody's counts: under his Matrix id he would be a second person
 * beside his own sessions.  Names that are nobody's account of ours are people of their own, known
 * by their Matrix id, and are asked for again after a while.  Many are asked for in one call, one
 * call at a time; nothing waits for it. */
#include "auth/token.h"
#include "base/mem.h"
#include "roles/presence_aggregator/matrix_source.h"

#define ASK_MS       5000
#define AT_ONCE      20 /* who becomes known does so in all of his rooms, in one turn */
#define PAUSE_MS     250
#define PAUSE_MAX_MS 30000
#define STRANGER_MS  (5 * INT64_C(60000))
#define IDLE_MAX     10000

enum step { NEW, WANTED, ASKED, KNOWN, STRANGER };

struct dc_ms_owner {
    struct dc_list link; /* where its step and person say */
    struct dc_ms_person *person;
    enum step step;
    bool is_named;            /* by the answer that is being read */
    int64_t until_ms;         /* of a stranger: asked for again then */
    struct dc_slice mxid, id; /* mxid in text; id of its own memory */
    char text[];
};

/* --- entries --- */

static void owner_free(struct dc_ms *ms, struct dc_ms_owner *o)
{
    dc_list_remove(&o->link);
    (void)dc_map_remove(&ms->owners.by_mxid, o->mxid);
    dc_free((char *)(uintptr_t)o->id.ptr);
    dc_free(o);
}

static void want(struct dc_ms *ms, struct dc_ms_owner *o)
{
    bool is_first = dc_list_is_empty(&ms->owners.wanted);
    o->step = WANTED;
    dc_list_remove(&o->link);
    dc_list_push_back(&ms->owners.wanted, &o->link);
    if (is_first) {
        dc_ms_arm(ms);
    }
}

static void rest(struct dc_ms *ms, struct dc_ms_owner *o)
{
    dc_list_remove(&o->link);
    dc_list_push_back(&ms->owners.idle, &o->link);
    ms->owners.n_idle++;
    if (ms->owners.n_idle > IDLE_MAX) {
        ms->owners.n_idle--;
        owner_free(ms, DC_LIST_ENTRY(ms->owners.idle.next, struct dc_ms_owner, link));
    }
}

static struct dc_ms_owner *need(struct dc_ms *ms, struct dc_slice mxid)
{
    struct dc_ms_owner *o = dc_map_get(&ms->owners.by_mxid, mxid);
    if (o != NULL) {
        return o;
    }
    o = dc_calloc(1, sizeof(*o) + mxid.len);
    memcpy(o->text, mxid.ptr, mxid.len);
    o->mxid = dc_slice_make(o->text, mxid.len);
    dc_list_init(&o->link);
    (void)dc_map_put(&ms->owners.by_mxid, o->mxid, o);
    return o;
}

void dc_ms_owner_join(struct dc_ms *ms, struct dc_ms_person *p)
{
    if (ms->gateway == NULL) { /* nobody to ask: he is whom the homeserver calls him */
        p->id = p->mxid;
        return;
    }
    struct dc_ms_owner *o = need(ms, p->mxid);
    o->person = p;
    p->owner = o;
    if (o->step == KNOWN || o->step == STRANGER) { /* it has been idle */
        ms->owners.n_idle--;
        dc_list_remove(&o->link);
    }
    if (o->step == KNOWN) {
        p->id = o->id;
    } else if (o->step == STRANGER && o->until_ms > dc_ms_now_ms(ms)) {
        p->id = p->mxid;
        dc_list_push_back(&ms->owners.strangers, &o->link);
        dc_ms_arm(ms);
    } else {
        ms->owners.n_unknown++;
        if (o->step == NEW || o->step == STRANGER) {
            want(ms, o);
        }
    }
}

void dc_ms_owner_leave(struct dc_ms *ms, struct dc_ms_person *p)
{
    struct dc_ms_owner *o = p->owner;
    if (o == NULL) {
        return;
    }
    ms->owners.n_unknown -= p->id.len == 0;
    p->owner = NULL;
    o->person = NULL;
    if (o->step == KNOWN || o->step == STRANGER) {
        rest(ms, o);
    }
}

/* --- answers --- */

static void settle(struct dc_ms *ms, struct dc_ms_owner *o)
{
    struct dc_ms_person *p = o->person;
    o->step = o->is_named ? KNOWN : STRANGER;
    o->until_ms = dc_ms_now_ms(ms) + STRANGER_MS;
    dc_list_remove(&o->link);
    if (p == NULL) {
        rest(ms, o);
        return;
    }
    if (!o->is_named) {
        dc_list_push_back(&ms->owners.strangers, &o->link);
    }
    ms->owners.n_unknown -= p->id.len == 0;
    dc_ms_person_identify(ms, p, o->is_named ? o->id : p->mxid);
}

/* The hash is of this very id. */
static bool is_account_of(const struct dc_ms *ms, struct dc_slice mxid, struct dc_slice user_id)
{
    struct dc_strbuf his = {0};
    dc_matrix_user_id(user_id, ms->server_name, &his);
    bool is_his = dc_user_id_is_valid(user_id) && dc_strbuf_ok(&his) &&
                  dc_slice_eq(dc_strbuf_slice(&his), mxid);
    dc_strbuf_free(&his);
    return is_his;
}

static void take_owner(struct dc_ms *ms, const json_t *owner)
{
    struct dc_slice user_id = dc_matrix_read_text(owner, "user_id");
    struct dc_ms_owner *o =
        dc_map_get(&ms->owners.by_mxid, dc_matrix_read_text(owner, "matrix_user_id"));
    if (o == NULL || o->step != ASKED || o->is_named || !is_account_of(ms, o->mxid, user_id)) {
        ms->left_out->value++;
        return;
    }
    char *id = dc_alloc(user_id.len);
    memcpy(id, user_id.ptr, user_id.len);
    o->id = dc_slice_make(id, user_id.len);
    o->is_named = true;
}

static void take_owners(struct dc_ms *ms, const json_t *owners)
{
    for (size_t i = 0; i < json_array_size(owners); i++) {
        take_owner(ms, json_array_get(owners, i));
    }
    while (!dc_list_is_empty(&ms->owners.asked)) {
        settle(ms, DC_LIST_ENTRY(ms->owners.asked.next, struct dc_ms_owner, link));
    }
    dc_backoff_reset(&ms->owners.pause);
    ms->owners.due_ms = 0;
    dc_agg_fed(ms->a);
}

/* Once for each change. */
static void note_failing(struct dc_ms *ms, bool is_failing, const struct dc_error *err)
{
    if (is_failing && !ms->owners.is_failing) {
        DC_LOG_WARN_EVENT(ms->a->ctx->log, "presence.matrix_owners_unread", DC_LF_ERR(err),
                          DC_LF_I("people", (int64_t)ms->owners.n_unknown),
                          DC_LF_Z("effect", "residents with Matrix clients whose accounts do not "
                                            "say who they are are not counted until it answers"));
    } else if (!is_failing && ms->owners.is_failing) {
        DC_LOG_INFO_EVENT(ms->a->ctx->log, "presence.matrix_owners_read", DC_LF_B("again", true));
    }
    ms->owners.is_failing = is_failing;
}

static void again_later(struct dc_ms *ms, const struct dc_error *err)
{
    while (!dc_list_is_empty(&ms->owners.asked)) {
        want(ms, DC_LIST_ENTRY(ms->owners.asked.next, struct dc_ms_owner, link));
    }
    ms->owners.due_ms = dc_ms_now_ms(ms) + (int64_t)dc_backoff_next_ms(&ms->owners.pause);
    note_failing(ms, true, err);
}

static void on_owners(void *data, enum dc_status st, const json_t *json, int64_t retry_after_ms,
                      const struct dc_error *err)
{
    struct dc_ms *ms = data;
    struct dc_error wrong = {0};
    const json_t *owners = json_object_get(json, "owners");
    (void)retry_after_ms;
    if (!ms->is_stopping) {
        if (st == DC_OK && json_is_array(owners)) {
            take_owners(ms, owners);
            note_failing(ms, false, NULL);
        } else {
            if (st == DC_OK) {
                (void)dc_fail(&wrong, DC_UPSTREAM, 0, "matrix-gateway did not give a list");
                err = &wrong;
            }
            again_later(ms, err);
        }
        dc_ms_arm(ms);
    }
    dc_ms_pending_end(ms);
}

/* --- asking --- */

static void write_question(struct dc_ms *ms, struct dc_strbuf *out)
{
    struct dc_jsonw w;
    dc_jsonw_init(&w, out);
    dc_jsonw_object(&w);
    dc_jsonw_key(&w, "matrix_user_ids");
    dc_jsonw_array(&w);
    for (size_t n = 0; n < AT_ONCE && !dc_list_is_empty(&ms->owners.wanted); n++) {
        struct dc_ms_owner *o = DC_LIST_ENTRY(ms->owners.wanted.next, struct dc_ms_owner, link);
        o->step = ASKED;
        dc_list_remove(&o->link);
        dc_list_push_back(&ms->owners.asked, &o->link);
        dc_jsonw_text(&w, o->mxid);
    }
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
}

static void ask(struct dc_ms *ms)
{
    struct dc_error err = {0};
    struct dc_strbuf body = {0};
    write_question(ms, &body);
    const struct dc_peer_call call = {.method_z = "POST",
                                      .path = DC_S("/internal/matrix/users/owners"),
                                      .body = dc_strbuf_slice(&body),
                                      .deadline_ms = ASK_MS,
                                      .cb = on_owners,
                                      .data = ms};
    enum dc_status st = dc_strbuf_ok(&body)
                            ? dc_peer_call(ms->gateway, &call, &err)
                            : dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    dc_strbuf_free(&body);
    if (st == DC_OK) {
        ms->pending++;
    } else {
        again_later(ms, &err);
    }
}

void dc_ms_owners_doubt(struct dc_ms *ms, int64_t now_ms)
{
    while (!dc_list_is_empty(&ms->owners.strangers)) {
        struct dc_ms_owner *o = DC_LIST_ENTRY(ms->owners.strangers.next, struct dc_ms_owner, link);
        if (o->until_ms > now_ms) {
            break;
        }
        want(ms, o);
    }
}

void dc_ms_owners_clock(struct dc_ms *ms)
{
    dc_ms_owners_doubt(ms, dc_ms_now_ms(ms));
    if (dc_list_is_empty(&ms->owners.asked) && !dc_list_is_empty(&ms->owners.wanted) &&
        ms->owners.due_ms <= dc_ms_now_ms(ms)) {
        ask(ms);
    }
}

int64_t dc_ms_owners_due_ms(const struct dc_ms *ms)
{
    const struct dc_ms_owners *all = &ms->owners;
    int64_t due_ms = INT64_MAX;
    if (!dc_list_is_empty(&all->wanted) && dc_list_is_empty(&all->asked)) {
        due_ms = all->due_ms;
    }
    if (!dc_list_is_empty(&all->strangers)) {
        int64_t until_ms = DC_LIST_ENTRY(all->strangers.next, struct dc_ms_owner, link)->until_ms;
        due_ms = until_ms < due_ms ? until_ms : due_ms;
    }
    return due_ms;
}

/* --- life --- */

void dc_ms_owners_init(struct dc_ms *ms)
{
    uint64_t seed[2];
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&ms->owners.by_mxid, seed);
    dc_list_init(&ms->owners.wanted);
    dc_list_init(&ms->owners.asked);
    dc_list_init(&ms->owners.strangers);
    dc_list_init(&ms->owners.idle);
    ms->owners.pause = (struct dc_backoff){.base_ms = PAUSE_MS, .max_ms = PAUSE_MAX_MS};
}

void dc_ms_owners_free(struct dc_ms *ms)
{
    struct dc_map_iter it = {0};
    void *value;
    while (dc_map_next(&ms->owners.by_mxid, &it, NULL, &value)) {
        struct dc_ms_owner *o = value;
        dc_free((char *)(uintptr_t)o->id.ptr);
        dc_free(o);
    }
    dc_map_free(&ms->owners.by_mxid);
}
