#include "presence_cluster.h"

static void set_flag(void *data)
{
    *(bool *)data = true;
}

/* --- a store that is away --- */

static enum dc_status refuse(struct dc_kv *kv, const struct dc_kv_request *req, struct dc_op **op)
{
    (void)kv;
    (void)req;
    *op = NULL;
    return DC_UNAVAILABLE;
}

static void close_nothing(struct dc_kv *kv)
{
    (void)kv;
}

static const struct dc_kv_backend dead_backend = {.submit = refuse, .close = close_nothing};

static void give_store(struct cluster *c, struct dc_kv *kv)
{
    for (size_t i = 0; i < AGGREGATORS; i++) {
        c->aggregators[i].ctx.kv = kv;
    }
    for (size_t i = 0; i < GATEWAYS; i++) {
        c->gateways[i].ctx.kv = kv;
    }
}

static void open_store(struct cluster *c)
{
    const struct dc_kv_opts opts = {.deadline_ms = 1000, .metrics = c->metrics};
    assert_int_equal(dc_kv_open(c->loop, &opts, &c->kv, NULL), DC_OK);
    give_store(c, c->kv);
}

static void close_store(struct cluster *c)
{
    c->is_flag = false;
    dc_kv_close(c->kv, set_flag, &c->is_flag);
    RUN_UNTIL(c, c->is_flag);
}

void cluster_store_down(struct cluster *c)
{
    give_store(c, &c->dead_kv);
}

void cluster_store_up(struct cluster *c)
{
    give_store(c, c->kv);
}

void cluster_store_wipe(struct cluster *c)
{
    struct dc_kv *old = c->kv;
    open_store(c);
    c->is_flag = false;
    dc_kv_close(old, set_flag, &c->is_flag);
    RUN_UNTIL(c, c->is_flag);
}

struct lookup {
    bool is_done, is_found;
};

static void on_looked_up(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                         const struct dc_error *err)
{
    struct lookup *l = data;
    (void)number;
    (void)err;
    assert_int_equal(st, DC_OK);
    l->is_done = true;
    l->is_found = value.ptr != NULL;
}

bool store_has(struct cluster *c, const char *key)
{
    struct lookup l = {.is_done = false};
    assert_int_equal(dc_kv_get(c->kv, dc_slice_z(key), on_looked_up, &l, NULL), DC_OK);
    RUN_UNTIL(c, l.is_done);
    return l.is_found;
}

/* --- the bus, observed --- */

struct observed *observed_of(struct cluster *c, const char *user_id)
{
    for (size_t i = 0; i < c->n_observed; i++) {
        if (strcmp(c->observed[i].id, user_id) == 0) {
            return &c->observed[i];
        }
    }
    assert_true(c->n_observed < PEOPLE);
    struct observed *o = &c->observed[c->n_observed++];
    snprintf(o->id, sizeof(o->id), "%s", user_id);
    return o;
}

static struct observed *observed_in(struct cluster *c, const json_t *object)
{
    char id[16];
    struct dc_slice user_id = dc_json_text(object, "user_id");
    return dc_slice_starts(user_id, DC_S("u_")) && dc_slice_copy_z(user_id, id, sizeof(id))
               ? observed_of(c, id)
               : NULL;
}

static void on_user(void *data, const struct dc_bus_message *m)
{
    struct cluster *c = data;
    json_t *object = NULL;
    assert_int_equal(dc_json_parse(m->payload, &object, NULL), DC_OK);
    struct observed *o = observed_in(c, object);
    bool is_offline = dc_slice_eq(dc_json_text(object, "status"), DC_S("offline"));
    bool is_user = dc_json_text(object, "user_id").len > 0; /* else a marker */
    c->n_offline += is_user && is_offline;
    c->n_online += is_user && !is_offline;
    if (o != NULL) {
        o->n_offline += is_offline;
        o->n_online += !is_offline;
    }
    json_decref(object);
}

static void on_member(void *data, const struct dc_bus_message *m)
{
    struct cluster *c = data;
    json_t *object = NULL;
    assert_int_equal(dc_json_parse(m->payload, &object, NULL), DC_OK);
    if (dc_slice_eq(dc_json_text(object, "change"), DC_S("left"))) {
        struct observed *o = observed_in(c, object);
        c->n_left++;
        if (o != NULL) {
            o->n_left++;
        }
    }
    json_decref(object);
}

static void observe(struct cluster *c)
{
    const struct dc_bus_sub_opts users = {.pattern = DC_S("city.presence.user.*")};
    const struct dc_bus_sub_opts members = {.pattern = DC_S("city.member.*")};
    assert_int_equal(dc_bus_subscribe(c->bus, &users, on_user, c, &c->user_sub, NULL), DC_OK);
    assert_int_equal(dc_bus_subscribe(c->bus, &members, on_member, c, &c->member_sub, NULL), DC_OK);
}

struct listing {
    char subjects[64][DC_BUS_SUBJECT_MAX_BYTES + 1];
    size_t n, n_markers;
    bool is_done;
};

static void on_listed(void *data, const struct dc_bus_message *m)
{
    struct listing *l = data;
    assert_true(l->n < DC_ARRAY_LEN(l->subjects));
    snprintf(l->subjects[l->n++], sizeof(l->subjects[0]), "%.*s", DC_SLICE_ARG(m->subject));
    l->n_markers += dc_slice_ends(m->subject, DC_S("." DC_PRESENCE_MARKER));
}

static void on_listed_all(void *data)
{
    ((struct listing *)data)->is_done = true;
}

static void list_subjects(struct cluster *c, const char *pattern, struct listing *l)
{
    struct dc_bus_sub *sub = NULL;
    const struct dc_bus_sub_opts opts = {
        .pattern = dc_slice_z(pattern), .start = DC_BUS_LAST, .caught_up = on_listed_all};
    memset(l, 0, sizeof(*l));
    assert_int_equal(dc_bus_subscribe(c->bus, &opts, on_listed, l, &sub, NULL), DC_OK);
    RUN_UNTIL(c, l->is_done);
    dc_bus_unsubscribe(sub);
}

size_t stream_subjects(struct cluster *c, const char *pattern)
{
    struct listing *l = dc_alloc(sizeof(*l));
    list_subjects(c, pattern, l);
    size_t n = l->n - l->n_markers;
    dc_free(l);
    return n;
}

void cluster_stream_wipe(struct cluster *c)
{
    static const char *const patterns[] = {"city.presence.user.*", "city.presence.room.*",
                                           "city.presence.city"};
    struct listing *l = dc_alloc(sizeof(*l));
    for (size_t i = 0; i < DC_ARRAY_LEN(patterns); i++) {
        list_subjects(c, patterns[i], l);
        for (size_t k = 0; k < l->n; k++) {
            assert_int_equal(dc_bus_forget(c->bus, dc_slice_z(l->subjects[k])), DC_OK);
        }
    }
    dc_free(l);
}

void cluster_interrupt_all(struct cluster *c, const char *pattern_prefix)
{
    for (size_t i = 0; i < AGGREGATORS; i++) {
        if (c->aggregators[i].role != NULL) {
            loose_bus_interrupt(c->aggregators[i].ctx.bus, pattern_prefix);
        }
    }
    for (size_t i = 0; i < GATEWAYS; i++) {
        if (c->gateways[i].is_open) {
            loose_bus_interrupt(c->gateways[i].ctx.bus, pattern_prefix);
        }
    }
}

/* --- time --- */

struct pause {
    struct dc_timer timer;
    bool is_over, is_closed;
};

static void on_pause(struct dc_timer *t)
{
    DC_CONTAINER_OF(t, struct pause, timer)->is_over = true;
}

static void on_pause_closed(struct dc_timer *t)
{
    DC_CONTAINER_OF(t, struct pause, timer)->is_closed = true;
}

void cluster_let_pass(struct cluster *c, int64_t length_ms)
{
    struct pause pause = {.is_over = false};
    dc_timer_init(c->loop, &pause.timer, on_pause);
    dc_timer_start(&pause.timer, (uint64_t)length_ms, 0);
    RUN_UNTIL(c, pause.is_over);
    dc_timer_close(&pause.timer, on_pause_closed);
    RUN_UNTIL(c, pause.is_closed);
}

static void on_barrier(void *data, const struct dc_bus_message *m)
{
    (void)m;
    ++*(size_t *)data;
}

void cluster_barrier(struct cluster *c)
{
    size_t n = 0;
    struct dc_bus_sub *sub = NULL;
    const struct dc_bus_sub_opts opts = {.pattern = DC_S("test.barrier")};
    assert_int_equal(dc_bus_subscribe(c->bus, &opts, on_barrier, &n, &sub, NULL), DC_OK);
    for (size_t i = 1; i <= 4; i++) { /* what came caused more, and that more again */
        assert_int_equal(dc_bus_publish(c->bus, DC_S("test.barrier"), DC_SLICE_NULL, DC_S("{}"),
                                        NULL, NULL, NULL),
                         DC_OK);
        RUN_UNTIL(c, n >= i);
    }
    dc_bus_unsubscribe(sub);
}

/* --- gateways --- */

static void put_room(struct gateway *g, const char *slug)
{
    char id[64];
    snprintf(id, sizeof(id), "room_city_%s", slug);
    const struct dc_room_row row = {
        .id = dc_slice_z(id), .slug = dc_slice_z(slug), .name = dc_slice_z(slug)};
    assert_non_null(dc_city_rooms_put(g->city.rooms, &row));
}

void gateway_open(struct cluster *c, size_t i)
{
    struct gateway *g = &c->gateways[i];
    struct dc_error err = {0};
    struct dc_kv *kv = g->ctx.kv;
    memset(g, 0, sizeof(*g));
    g->ctx = (struct dc_ctx){.loop = c->loop,
                             .settings = &c->settings,
                             .kv = kv,
                             .metrics = dc_metrics_create(),
                             .bus = loose_bus_open(c->bus, c->metrics)};
    g->ctx.hub = dc_hub_create(c->loop, g->ctx.metrics);
    g->city.ctx = &g->ctx;
    g->city.epoch = DC_S("epoch");
    dc_ulid_next(&g->city.ids, dc_utc_now(), g->city.gateway_id);
    g->city.rooms = dc_city_rooms_create();
    put_room(g, "plaza");
    put_room(g, "general");
    g->city.people = dc_people_create(&g->city);
    assert_int_equal(dc_sessions_create(&g->city, &g->city.sessions, &err), DC_OK);
    assert_int_equal(dc_people_start(g->city.people, &err), DC_OK);
    g->is_open = true;
}

static void gateway_close(struct cluster *c, size_t i)
{
    struct gateway *g = &c->gateways[i];
    for (size_t k = 0; k < c->n_visitors; k++) {
        if (c->visitors[k].gateway == g) {
            leave(&c->visitors[k]);
        }
    }
    RUN_UNTIL(c, g->city.pending == 0);
    dc_sessions_destroy(g->city.sessions);
    dc_people_destroy(g->city.people);
    dc_city_rooms_destroy(g->city.rooms);
    dc_hub_destroy(g->ctx.hub);
    loose_bus_free(g->ctx.bus);
    dc_metrics_destroy(g->ctx.metrics);
    g->is_open = false;
}

void gateway_kill(struct cluster *c, size_t i)
{
    loose_bus_cut(c->gateways[i].ctx.bus);
    gateway_close(c, i);
}

struct dc_city_room *room_at(struct cluster *c, size_t gateway, const char *slug)
{
    struct dc_city_room *room =
        dc_city_rooms_find(c->gateways[gateway].city.rooms, dc_slice_z(slug));
    assert_non_null(room);
    return room;
}

bool sees_online(struct cluster *c, size_t gateway, const char *user_id)
{
    return dc_map_get(&c->gateways[gateway].city.people->users, dc_slice_z(user_id)) != NULL;
}

bool sees_member(struct cluster *c, size_t gateway, const char *slug, const char *user_id)
{
    return dc_people_is_member(room_at(c, gateway, slug), dc_slice_z(user_id));
}

struct search {
    const char *id;
    bool is_found;
};

static void look_for(void *data, const struct dc_person *p)
{
    struct search *s = data;
    s->is_found = s->is_found || dc_slice_eq(p->user_id, dc_slice_z(s->id));
}

bool sees_typing(struct cluster *c, size_t gateway, const char *slug, const char *user_id)
{
    struct search s = {user_id, false};
    dc_people_visit_typing(room_at(c, gateway, slug), SIZE_MAX, look_for, &s);
    return s.is_found;
}

uint32_t sees_count(struct cluster *c, size_t gateway, const char *slug)
{
    return room_at(c, gateway, slug)->people.online_count;
}

bool gateways_are_fresh(struct cluster *c)
{
    for (size_t i = 0; i < GATEWAYS; i++) {
        if (c->gateways[i].is_open && !c->gateways[i].city.people->is_fresh) {
            return false;
        }
    }
    return true;
}

/* --- visitors --- */

struct visitor *visit(struct cluster *c, size_t gateway, const char *user_id, const char *slug)
{
    assert_true(c->n_visitors < PEOPLE);
    struct visitor *v = &c->visitors[c->n_visitors++];
    snprintf(v->id, sizeof(v->id), "%s", user_id);
    v->gateway = &c->gateways[gateway];
    dc_session_init(&v->gateway->city, &v->session, dc_slice_z(v->id), DC_S("Somebody"));
    v->is_beating = true;
    dc_session_beat(&v->gateway->city, &v->session, DC_SESSION_ONLINE);
    if (slug != NULL) {
        dc_session_join(&v->gateway->city, &v->session, room_at(c, gateway, slug));
    }
    return v;
}

void leave(struct visitor *v)
{
    v->is_beating = false;
    dc_session_deinit(&v->gateway->city, &v->session);
}

static void on_beats(struct dc_timer *t)
{
    struct cluster *c = DC_CONTAINER_OF(t, struct cluster, beats);
    for (size_t i = 0; i < c->n_visitors; i++) {
        struct visitor *v = &c->visitors[i];
        if (v->is_beating) {
            dc_session_beat(&v->gateway->city, &v->session, DC_SESSION_ONLINE);
        }
    }
}

/* --- aggregators --- */

static void on_ready(void *data)
{
    ++*(size_t *)data;
}

void aggregator_start(struct cluster *c, size_t i)
{
    struct aggregator *a = &c->aggregators[i];
    struct dc_error err = {0};
    void *role = NULL;
    a->ctx.loop = c->loop;
    a->ctx.settings = &c->settings;
    a->ctx.metrics = dc_metrics_create(); /* its counters are its own */
    a->ctx.bus = loose_bus_open(c->bus, c->metrics);
    a->ctx.internal_router = dc_router_create();
    size_t n = c->n_ready;
    assert_int_equal(dc_role_presence_aggregator.start(&a->ctx, on_ready, &c->n_ready, &role, &err),
                     DC_OK);
    assert_int_equal(c->n_ready, n + 1);
    a->role = role;
}

void aggregator_stop(struct cluster *c, size_t i)
{
    struct aggregator *a = &c->aggregators[i];
    c->is_flag = false;
    dc_role_presence_aggregator.stop(a->role, set_flag, &c->is_flag);
    a->role = NULL;
    RUN_UNTIL(c, c->is_flag);
    loose_bus_free(a->ctx.bus);
    dc_metrics_destroy(a->ctx.metrics);
    dc_router_destroy(a->ctx.internal_router);
}

void aggregator_cut(struct cluster *c, size_t i)
{
    loose_bus_cut(c->aggregators[i].ctx.bus);
    c->aggregators[i].ctx.kv = &c->dead_kv;
}

void aggregator_mend(struct cluster *c, size_t i)
{
    c->aggregators[i].ctx.kv = c->kv;
    loose_bus_mend(c->aggregators[i].ctx.bus);
}

size_t cluster_leader_index(struct cluster *c)
{
    size_t found = AGGREGATORS;
    for (size_t i = 0; i < AGGREGATORS; i++) {
        const struct dc_aggregator *a = c->aggregators[i].role;
        if (a != NULL && a->phase == DC_AGG_LEADING) {
            found = found == AGGREGATORS ? i : AGGREGATORS + 1;
        }
    }
    return found;
}

struct dc_aggregator *cluster_leader(struct cluster *c)
{
    size_t i = cluster_leader_index(c);
    return i < AGGREGATORS ? c->aggregators[i].role : NULL;
}

static bool has_settled(struct cluster *c)
{
    const struct dc_aggregator *a = cluster_leader(c);
    return a != NULL && a->sweep.stage == DC_SWEEP_NONE && a->mirror == NULL &&
           gateways_are_fresh(c);
}

struct dc_aggregator *cluster_settle(struct cluster *c)
{
    RUN_UNTIL(c, has_settled(c));
    return cluster_leader(c);
}

/* --- life --- */

int cluster_setup(void **state)
{
    struct cluster *c = dc_calloc(1, sizeof(*c));
    c->metrics = dc_metrics_create();
    const struct dc_bus_opts bus = {.metrics = c->metrics};
    const struct dc_kv_opts dead = {.metrics = c->metrics};
    alarm(60);
    c->settings = (struct dc_settings){.presence_lease_ms = LEASE_MS,
                                       .presence_close_grace_ms = 50,
                                       .typing_lease_ms = 400,
                                       .room_presence_throttle_ms = 20,
                                       .presence_summary_interval_ms = 10,
                                       .presence_leader_lease_ms = LEADER_LEASE_MS,
                                       .presence_forget_ms = FORGET_MS};
    assert_int_equal(dc_loop_create(&c->loop, NULL), DC_OK);
    assert_int_equal(dc_bus_open(c->loop, &bus, &c->bus, NULL), DC_OK);
    dc_kv_init(&c->dead_kv, &dead_backend, c->loop, &dead);
    open_store(c);
    observe(c);
    dc_timer_init(c->loop, &c->beats, on_beats);
    dc_timer_start(&c->beats, LEASE_MS / 10, LEASE_MS / 10);
    for (size_t i = 0; i < GATEWAYS; i++) {
        gateway_open(c, i);
    }
    *state = c;
    return 0;
}

static void on_beats_closed(struct dc_timer *t)
{
    DC_CONTAINER_OF(t, struct cluster, beats)->is_flag = true;
}

int cluster_teardown(void **state)
{
    struct cluster *c = *state;
    for (size_t i = 0; i < GATEWAYS; i++) {
        if (c->gateways[i].is_open) {
            gateway_close(c, i);
        }
    }
    for (size_t i = 0; i < AGGREGATORS; i++) {
        if (c->aggregators[i].role != NULL) {
            aggregator_stop(c, i);
        }
    }
    dc_bus_unsubscribe(c->user_sub);
    dc_bus_unsubscribe(c->member_sub);
    c->is_flag = false;
    dc_timer_close(&c->beats, on_beats_closed);
    RUN_UNTIL(c, c->is_flag);
    close_store(c);
    c->is_flag = false;
    dc_bus_close(c->bus, set_flag, &c->is_flag);
    RUN_UNTIL(c, c->is_flag);
    dc_turn_cancel(&c->dead_kv.ready_turn);
    assert_int_equal(dc_loop_destroy(c->loop), DC_OK);
    dc_metrics_destroy(c->metrics);
    dc_free(c);
    alarm(0);
    return 0;
}
