/* Presence with several aggregators and several gateways: leaders that die, stall and come back,
 * a store or a stream that is lost, connections that are cut; nobody is ever said to be offline who
 * is not, and no ghost lasts. */
#include "presence_cluster.h"

#include "roles/city/chat.h"

static void start_all(struct cluster *c)
{
    for (size_t i = 0; i < AGGREGATORS; i++) {
        aggregator_start(c, i);
    }
    (void)cluster_settle(c);
}

static void assert_never_offline(struct cluster *c, const char *user_id)
{
    cluster_barrier(c);
    assert_int_equal(observed_of(c, user_id)->n_offline, 0);
    assert_int_equal(observed_of(c, user_id)->n_left, 0);
    for (size_t i = 0; i < GATEWAYS; i++) {
        assert_true(!c->gateways[i].is_open || sees_online(c, i, user_id));
    }
}

/* Both gateways see all of it. */
static bool all_see(struct cluster *c, const char *slug, const char *user_id)
{
    return sees_online(c, 0, user_id) && sees_online(c, 1, user_id) &&
           sees_member(c, 0, slug, user_id) && sees_member(c, 1, slug, user_id);
}

static bool nobody_sees(struct cluster *c, const char *slug, const char *user_id)
{
    for (size_t i = 0; i < GATEWAYS; i++) {
        if (c->gateways[i].is_open &&
            (sees_online(c, i, user_id) || sees_member(c, i, slug, user_id))) {
            return false;
        }
    }
    return true;
}

/* --- leaders --- */

static void of_three_aggregators_one_publishes(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    struct visitor *a = visit(c, 0, "u_a", "plaza");
    (void)visit(c, 1, "u_b", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a") && all_see(c, "plaza", "u_b"));
    RUN_UNTIL(c, sees_count(c, 0, "plaza") == 2 && sees_count(c, 1, "plaza") == 2);
    leave(a);
    RUN_UNTIL(c, nobody_sees(c, "plaza", "u_a"));
    cluster_barrier(c);
    assert_int_equal(observed_of(c, "u_a")->n_online, 1);
    assert_int_equal(observed_of(c, "u_a")->n_offline, 1);
    assert_int_equal(observed_of(c, "u_b")->n_online, 1);
    for (size_t i = 0; i < AGGREGATORS; i++) {
        struct dc_aggregator *role = c->aggregators[i].role;
        assert_int_equal(role->phase, role == cluster_leader(c) ? DC_AGG_LEADING : DC_AGG_STANDBY);
        assert_int_equal(dc_presence_totals_get(role->core).online, 1); /* all of them know */
    }
}

static void a_leader_that_stops_hands_over_at_once(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    struct visitor *a = visit(c, 0, "u_a", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a"));
    for (int n = 0; n < 2; n++) { /* down to the last one */
        int64_t term = cluster_leader(c)->term;
        aggregator_stop(c, cluster_leader_index(c));
        assert_true(cluster_settle(c)->term > term);
        assert_never_offline(c, "u_a");
    }
    (void)visit(c, 1, "u_b", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_b"));
    leave(a);
    RUN_UNTIL(c, nobody_sees(c, "plaza", "u_a"));
    assert_int_equal(observed_of(c, "u_a")->n_online, 1); /* nothing was said twice */
}

static void a_leader_that_is_cut_off_ends_by_itself_and_another_takes_over(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    (void)visit(c, 0, "u_a", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a"));
    size_t first = cluster_leader_index(c);
    struct dc_aggregator *old = c->aggregators[first].role;
    aggregator_cut(c, first);
    RUN_UNTIL(c, old->phase == DC_AGG_STANDBY); /* nobody told it */
    RUN_UNTIL(c, cluster_leader(c) != NULL);
    assert_true(cluster_leader(c) != old);
    (void)cluster_settle(c);
    (void)visit(c, 1, "u_b", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_b"));
    aggregator_mend(c, first);
    cluster_let_pass(c, LEADER_LEASE_MS);
    assert_int_equal(old->phase, DC_AGG_STANDBY);
    /* It has asked for what it missed: it could lead again. */
    RUN_UNTIL(c, dc_presence_user_get(old->core, DC_S("u_b")) == DC_PRESENCE_ONLINE);
    assert_never_offline(c, "u_a");
    assert_never_offline(c, "u_b");
}

static void a_leader_that_was_stopped_publishes_nothing_before_it_has_the_lease_again(void **state)
{
    struct cluster *c = *state;
    aggregator_start(c, 0);
    (void)cluster_settle(c);
    struct dc_aggregator *a = c->aggregators[0].role;
    (void)visit(c, 0, "u_a", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a"));
    /* The whole process sleeps for longer than the lease; then its first deed would be to publish.
     */
    uint64_t published = a->published->value;
    usleep(LEADER_LEASE_MS * 1000);
    const struct dc_presence_user_state lie = {.user_id = DC_S("u_a"),
                                               .status = DC_PRESENCE_OFFLINE};
    dc_agg_publish_user(a, &lie);
    assert_int_equal(a->published->value, published);
    assert_int_equal(a->phase, DC_AGG_STANDBY);
    (void)cluster_settle(c);
    assert_int_equal(a->losses->value, 1);
    assert_int_equal(a->takeovers->value, 2);
    assert_never_offline(c, "u_a");
}

/* --- the store --- */

static void while_the_store_is_down_the_leader_goes_on_and_nobody_takes_over(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    const struct dc_aggregator *leader = cluster_leader(c);
    (void)visit(c, 0, "u_a", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a"));
    cluster_store_down(c);
    cluster_let_pass(c, 3 * LEADER_LEASE_MS);
    (void)visit(c, 1, "u_b", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_b"));
    assert_ptr_equal(cluster_leader(c), leader);
    assert_int_equal(leader->losses->value, 0);
    cluster_store_up(c);
    cluster_let_pass(c, LEADER_LEASE_MS);
    (void)cluster_settle(c); /* the same, or one that was faster */
    assert_never_offline(c, "u_a");
    assert_never_offline(c, "u_b");
}

static void when_the_store_has_forgotten_everything_nobody_is_locked_out(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    (void)visit(c, 0, "u_a", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a"));
    for (size_t n = 0; n < 2; n++) {
        aggregator_stop(c, cluster_leader_index(c)); /* so that tokens have grown */
        (void)cluster_settle(c);
    }
    aggregator_start(c, 0 == cluster_leader_index(c) ? 1 : 0);
    int64_t term = cluster_leader(c)->term;
    cluster_store_wipe(c); /* its tokens begin with 1 again */
    cluster_let_pass(c, LEADER_LEASE_MS);
    assert_true(cluster_settle(c)->term >= term);
    (void)visit(c, 1, "u_b", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_b"));
    assert_never_offline(c, "u_a");
}

/* --- the stream --- */

static void a_stream_that_was_deleted_is_filled_again(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    (void)visit(c, 0, "u_a", "plaza");
    (void)visit(c, 1, "u_b", "general");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a") && all_see(c, "general", "u_b"));
    RUN_UNTIL(c, sees_count(c, 1, "plaza") == 1 && sees_count(c, 0, "general") == 1);
    cluster_stream_wipe(c);
    assert_int_equal(stream_subjects(c, "city.presence.user.*"), 0);
    cluster_interrupt_all(c, "city.presence.");
    assert_false(gateways_are_fresh(c)); /* stale, and as it was */
    assert_true(all_see(c, "plaza", "u_a"));
    assert_int_equal(sees_count(c, 1, "plaza"), 1);
    (void)cluster_settle(c);
    assert_int_equal(stream_subjects(c, "city.presence.user.*"), 2);
    assert_int_equal(stream_subjects(c, "city.presence.room.*"), 2);
    assert_int_equal(stream_subjects(c, "city.presence.city"), 1);
    assert_never_offline(c, "u_a");
    assert_never_offline(c, "u_b");
    /* Who starts now has it all. */
    gateway_kill(c, 1);
    gateway_open(c, 1);
    (void)cluster_settle(c);
    assert_true(sees_online(c, 1, "u_a"));
    assert_int_equal(sees_count(c, 1, "plaza"), 1);
    assert_true(sees_member(c, 1, "plaza", "u_a"));
}

static void what_a_gateway_missed_while_it_was_cut_off_is_no_ghost_afterwards(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    struct visitor *gone = visit(c, 0, "u_gone", "plaza");
    struct visitor *typist = visit(c, 0, "u_typist", "plaza");
    (void)visit(c, 0, "u_stays", "plaza");
    dc_session_typing(&typist->gateway->city, &typist->session, true);
    RUN_UNTIL(c, all_see(c, "plaza", "u_gone") && all_see(c, "plaza", "u_stays"));
    RUN_UNTIL(c, sees_typing(c, 1, "plaza", "u_typist") && sees_count(c, 1, "plaza") == 3);
    loose_bus_cut(c->gateways[1].ctx.bus);
    leave(gone);
    RUN_UNTIL(c, !sees_online(c, 0, "u_gone"));
    RUN_UNTIL(c, !sees_typing(c, 0, "plaza", "u_typist"));
    (void)visit(c, 0, "u_new", "plaza");
    RUN_UNTIL(c, sees_member(c, 0, "plaza", "u_new") && sees_count(c, 0, "plaza") == 3);
    assert_true(sees_online(c, 1, "u_gone")); /* unknown is not offline */
    assert_true(sees_typing(c, 1, "plaza", "u_typist"));
    loose_bus_mend(c->gateways[1].ctx.bus);
    assert_false(c->gateways[1].city.people->is_fresh);
    (void)cluster_settle(c);
    assert_true(nobody_sees(c, "plaza", "u_gone"));
    assert_false(sees_typing(c, 1, "plaza", "u_typist"));
    assert_true(all_see(c, "plaza", "u_new") && all_see(c, "plaza", "u_stays"));
    assert_int_equal(sees_count(c, 1, "plaza"), 3);
    assert_never_offline(c, "u_stays");
}

static void while_the_bus_is_away_for_longer_than_a_lease_nobody_goes(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    (void)visit(c, 0, "u_a", "plaza");
    struct visitor *gone = visit(c, 1, "u_gone", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a") && all_see(c, "plaza", "u_gone"));
    for (size_t i = 0; i < AGGREGATORS; i++) {
        loose_bus_cut(c->aggregators[i].ctx.bus); /* the store is there: the leader stays it */
    }
    for (size_t i = 0; i < GATEWAYS; i++) {
        loose_bus_cut(c->gateways[i].ctx.bus);
    }
    gone->is_beating = false;
    cluster_let_pass(c, 2 * LEASE_MS);
    /* They come back one after the other. */
    for (size_t i = 0; i < AGGREGATORS; i++) {
        loose_bus_mend(c->aggregators[i].ctx.bus);
        cluster_let_pass(c, LEADER_LEASE_MS / 20);
    }
    for (size_t i = 0; i < GATEWAYS; i++) {
        loose_bus_mend(c->gateways[i].ctx.bus);
        cluster_let_pass(c, LEADER_LEASE_MS / 20);
    }
    RUN_UNTIL(c, nobody_sees(c, "plaza", "u_gone"));
    (void)cluster_settle(c);
    assert_never_offline(c, "u_a");
}

static void former_leaders_words_are_ignored_and_repaired(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    (void)visit(c, 0, "u_a", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a"));
    struct observed *o = observed_of(c, "u_a");
    size_t n_online = o->n_online;
    struct dc_aggregator *leader = cluster_leader(c);
    int64_t term = leader->term;
    aggregator_stop(c, cluster_leader_index(c));
    leader = cluster_settle(c);
    char payload[256];
    int n = snprintf(payload, sizeof(payload),
                     "{\"type\":\"user.presence\",\"user_id\":\"u_a\",\"username\":\"\","
                     "\"status\":\"offline\",\"last_active_ts\":1,\"term\":%lld,\"gen\":%lld}",
                     (long long)term, (long long)leader->gen);
    assert_true(leader->term > term);
    assert_int_equal(dc_bus_publish(c->bus, DC_S("city.presence.user.u_a"), DC_SLICE_NULL,
                                    dc_slice_make(payload, (size_t)n), NULL, NULL, NULL),
                     DC_OK);
    RUN_UNTIL(c, !gateways_are_fresh(c)); /* it is the last word in the stream: to be repaired */
    assert_true(all_see(c, "plaza", "u_a"));
    (void)cluster_settle(c);
    assert_true(all_see(c, "plaza", "u_a"));
    assert_true(o->n_online > n_online);
    /* The stream is right again for those who come late. */
    gateway_kill(c, 1);
    gateway_open(c, 1);
    (void)cluster_settle(c);
    assert_true(sees_online(c, 1, "u_a"));
}

static void the_stream_forgets_who_has_been_offline_for_a_while(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    struct visitor *a = visit(c, 0, "u_a", "plaza");
    struct visitor *b = visit(c, 0, "u_b", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a") && all_see(c, "plaza", "u_b"));
    leave(a);
    RUN_UNTIL(c, nobody_sees(c, "plaza", "u_a"));
    assert_int_equal(stream_subjects(c, "city.presence.user.*"), 2); /* its end can be heard */
    while (stream_subjects(c, "city.presence.user.*") != 1) {
        cluster_let_pass(c, FORGET_MS / 10);
    }
    assert_int_equal(stream_subjects(c, "city.presence.user.u_b"), 1);
    leave(b);
    /* Rooms last longer; a new leader goes on with what it finds. */
    RUN_UNTIL(c, nobody_sees(c, "plaza", "u_b"));
    aggregator_stop(c, cluster_leader_index(c));
    struct dc_aggregator *leader = cluster_settle(c);
    while (stream_subjects(c, "city.presence.room.*") + stream_subjects(c, "city.presence.user.*") >
           0) {
        cluster_let_pass(c, FORGET_MS / 10);
    }
    RUN_UNTIL(c, dc_presence_counts_get(leader->core).rooms == 0);
    assert_true(leader->forgotten->value >= 2);
}

/* Sessions as if many gateways had told of them. */
static void tell_many(struct cluster *c, int n)
{
    for (int i = 0; i < n; i++) {
        char payload[256];
        int len = snprintf(payload, sizeof(payload),
                           "{\"op\":\"beat\",\"session_id\":\"s-%d\",\"user_id\":\"many_%d\","
                           "\"username\":\"M\",\"status\":\"online\","
                           "\"room_id\":\"room_city_plaza\",\"room_slug\":\"plaza\"}",
                           i, i);
        assert_int_equal(dc_bus_publish(c->bus, DC_S("city.session.many"), DC_SLICE_NULL,
                                        dc_slice_make(payload, (size_t)len), NULL, NULL, NULL),
                         DC_OK);
    }
}

static void a_large_city_is_said_in_slices_and_whole(void **state)
{
    struct cluster *c = *state;
    enum { MANY = 1234 }; /* several turns, several parts */
    c->settings.presence_lease_ms = 60000;
    start_all(c);
    tell_many(c, MANY);
    RUN_UNTIL(c, sees_count(c, 0, "plaza") == MANY && sees_count(c, 1, "plaza") == MANY);
    loose_bus_cut(c->gateways[1].ctx.bus);
    (void)visit(c, 0, "u_new", "plaza");
    RUN_UNTIL(c, sees_member(c, 0, "plaza", "u_new"));
    aggregator_stop(c, cluster_leader_index(c));
    RUN_UNTIL(c, cluster_leader(c) != NULL && cluster_leader(c)->takeovers->value == 1 &&
                     cluster_leader(c)->mirror == NULL);
    cluster_barrier(c);
    assert_int_equal(c->n_online, MANY + 1); /* the new leader had nothing to add */
    loose_bus_mend(c->gateways[1].ctx.bus);
    (void)cluster_settle(c);
    for (size_t i = 0; i < GATEWAYS; i++) {
        struct dc_room_people *people = &room_at(c, i, "plaza")->people;
        assert_int_equal(people->by_user.count, MANY + 1);
        assert_int_equal(c->gateways[i].city.people->users.count, MANY + 1);
        assert_false(people->is_sample);
    }
    RUN_UNTIL(c, sees_count(c, 1, "plaza") == MANY + 1);
    assert_int_equal(c->n_offline + c->n_left, 0);
    assert_true(c->n_online >= 2 * (MANY + 1)); /* it was asked to say it again */
}

/* What one leader has done so far, and a measure of how much lies between two looks: messages heard
 * and said, people and memberships of the core that have come or gone, entries of the mirror. */
struct work {
    size_t n_heard, n_said, n_users, n_memberships, n_mirrored;
};

static struct work work_of(const struct dc_aggregator *a)
{
    const struct dc_presence_counts n = dc_presence_counts_get(a->core);
    const struct dc_mirror *m = a->mirror;
    return (struct work){(size_t)a->events_in->value,
                         (size_t)(a->published->value + a->forgotten->value), n.users,
                         n.memberships, m == NULL ? 0 : m->users.count + m->rooms.count};
}

static size_t apart(size_t x, size_t y)
{
    return x > y ? x - y : y - x;
}

static size_t work_between(const struct work *x, const struct work *y)
{
    size_t n_mirrored = y->n_mirrored == 0 ? 0 : apart(x->n_mirrored, y->n_mirrored);
    return apart(x->n_heard, y->n_heard) + apart(x->n_said, y->n_said) +
           apart(x->n_users, y->n_users) + apart(x->n_memberships, y->n_memberships) + n_mirrored;
}

/* Turns of the loop until so many are online; the most work that one of them did. */
static size_t most_work_until(struct cluster *c, const struct dc_aggregator *a, uint32_t online)
{
    size_t most = 0;
    while (a->phase != DC_AGG_LEADING || a->sweep.stage != DC_SWEEP_NONE || a->mirror != NULL ||
           dc_presence_totals_get(a->core).online != online) {
        const struct work before = work_of(a);
        uv_run(dc_loop_uv(c->loop), UV_RUN_ONCE);
        const struct work after = work_of(a);
        size_t n = work_between(&before, &after);
        most = n > most ? n : most;
    }
    return most;
}

static void no_turn_of_a_new_leader_does_much_however_many_people_there_are(void **state)
{
    struct cluster *c = *state;
    /* A step brings one into the core, says two or three things of him, and is heard by some. */
    enum { MANY = 3000, A_ROOM = 20, MOST = 8 * DC_AGG_TURN_STEPS };
    c->settings.presence_lease_ms = 6000; /* a busy machine must have taken in MANY by then */
    aggregator_start(c, 0);
    const struct dc_aggregator *first = cluster_settle(c);
    for (int i = 0; i < MANY; i++) {
        char payload[256];
        int len = snprintf(payload, sizeof(payload),
                           "{\"op\":\"beat\",\"session_id\":\"s-%d\",\"user_id\":\"many_%d\","
                           "\"username\":\"M\",\"status\":\"online\","
                           "\"room_id\":\"room_city_%d\",\"room_slug\":\"many-%d\"}",
                           i, i, i / A_ROOM, i / A_ROOM);
        assert_int_equal(dc_bus_publish(c->bus, DC_S("city.session.many"), DC_SLICE_NULL,
                                        dc_slice_make(payload, (size_t)len), NULL, NULL, NULL),
                         DC_OK);
    }
    assert_true(most_work_until(c, first, MANY) <= MOST);
    aggregator_cut(c, 0);
    /* This one knows nothing but what the stream shows. */
    aggregator_start(c, 1);
    const struct dc_aggregator *next = c->aggregators[1].role;
    assert_true(most_work_until(c, next, MANY) <= MOST);
    assert_int_equal(next->held.by_id.count, MANY);
    assert_true(most_work_until(c, next, 0) <= MOST);
    RUN_UNTIL(c, dc_list_is_empty(&next->dead_users) && dc_list_is_empty(&next->dead_rooms));
}

/* --- gateways --- */

static void the_people_of_a_gateway_that_dies_go_with_their_leases(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    struct visitor *typist = visit(c, 0, "u_typist", "plaza");
    (void)visit(c, 0, "u_a", "plaza");
    (void)visit(c, 1, "u_stays", "plaza");
    (void)visit(c, 0, "u_both", "plaza");
    (void)visit(c, 1, "u_both", NULL);
    dc_session_typing(&typist->gateway->city, &typist->session, true);
    RUN_UNTIL(c, all_see(c, "plaza", "u_a") && all_see(c, "plaza", "u_stays"));
    RUN_UNTIL(c, sees_typing(c, 1, "plaza", "u_typist"));
    int64_t killed_ms = dc_loop_now(c->loop).ms;
    gateway_kill(c, 0);
    assert_true(sees_online(c, 1, "u_a"));
    /* Typing ends by its own, shorter lease. */
    RUN_UNTIL(c, !sees_typing(c, 1, "plaza", "u_typist"));
    assert_true(sees_online(c, 1, "u_typist"));
    RUN_UNTIL(c, !sees_online(c, 1, "u_a") && !sees_online(c, 1, "u_typist"));
    assert_true(dc_loop_now(c->loop).ms - killed_ms >= LEASE_MS - LEASE_MS / 10);
    RUN_UNTIL(c, sees_count(c, 1, "plaza") == 1);
    assert_true(sees_member(c, 1, "plaza", "u_stays"));
    cluster_barrier(c);
    assert_int_equal(observed_of(c, "u_a")->n_offline, 1);
    assert_int_equal(observed_of(c, "u_both")->n_offline, 0); /* his other socket beats */
    assert_int_equal(observed_of(c, "u_stays")->n_offline, 0);
}

static void a_gateway_that_slept_tells_its_sessions_by_itself(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    struct visitor *a = visit(c, 0, "u_a", "plaza");
    struct visitor *phone = visit(c, 0, "u_phone", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a") && all_see(c, "plaza", "u_phone"));
    /* Both are silent until their leases are over; only one of them because nothing ran. */
    phone->is_beating = false;
    RUN_UNTIL(c, nobody_sees(c, "plaza", "u_phone"));
    a->is_beating = false;
    RUN_UNTIL(c, nobody_sees(c, "plaza", "u_a"));
    dc_sessions_have_slept(&c->gateways[0].city, LEASE_MS * 2 / 3);
    RUN_UNTIL(c, all_see(c, "plaza", "u_a"));
    cluster_barrier(c);
    assert_true(nobody_sees(c, "plaza", "u_phone"));
}

static void announcing_neither_renews_nor_revives(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    struct visitor *phone = visit(c, 0, "u_phone", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_phone"));
    phone->is_beating = false;
    int64_t silent_ms = dc_loop_now(c->loop).ms;
    /* Aggregators ask again and again, as when all of them are restarted one by one. */
    while (!nobody_sees(c, "plaza", "u_phone")) {
        dc_agg_refresh_sources(cluster_leader(c));
        cluster_let_pass(c, LEASE_MS / 20);
        assert_true(dc_loop_now(c->loop).ms - silent_ms < 10 * LEASE_MS); /* far beyond */
    }
    dc_agg_refresh_sources(cluster_leader(c));
    cluster_barrier(c);
    assert_true(nobody_sees(c, "plaza", "u_phone"));
    assert_int_equal(observed_of(c, "u_phone")->n_online, 1);
}

static void
a_leader_without_memory_holds_who_is_in_the_stream_for_what_is_left_of_a_lease(void **state)
{
    struct cluster *c = *state;
    aggregator_start(c, 0);
    (void)cluster_settle(c);
    (void)visit(c, 0, "u_dead", "plaza");
    (void)visit(c, 1, "u_alive", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_dead") && all_see(c, "plaza", "u_alive"));
    RUN_UNTIL(c, sees_count(c, 1, "plaza") == 2);
    aggregator_stop(c, 0);
    gateway_kill(c, 0);
    int64_t begun_ms = dc_loop_now(c->loop).ms;
    aggregator_start(c, 1); /* has heard nothing so far */
    RUN_UNTIL(c, cluster_leader(c) != NULL);
    (void)cluster_settle(c);
    assert_true(sees_online(c, 1, "u_dead") && sees_member(c, 1, "plaza", "u_dead"));
    assert_int_equal(sees_count(c, 1, "plaza"), 2);
    RUN_UNTIL(c, !sees_online(c, 1, "u_dead"));
    assert_true(dc_loop_now(c->loop).ms - begun_ms >= LEASE_MS - LEADER_LEASE_MS);
    RUN_UNTIL(c, sees_count(c, 1, "plaza") == 1);
    assert_false(sees_member(c, 1, "plaza", "u_dead"));
    assert_int_equal(observed_of(c, "u_dead")->n_offline, 1);
    assert_never_offline(c, "u_alive");
}

static void who_was_held_and_comes_back_counts_by_himself(void **state)
{
    struct cluster *c = *state;
    aggregator_start(c, 0);
    (void)cluster_settle(c);
    (void)visit(c, 0, "u_a", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a") && sees_count(c, 1, "plaza") == 1);
    aggregator_stop(c, 0);
    gateway_kill(c, 0);
    aggregator_start(c, 1);
    (void)cluster_settle(c);
    struct dc_aggregator *leader = cluster_leader(c);
    assert_true(dc_presence_session_is_known(leader->core, DC_S("held-u_a")));
    /* His browser finds the other gateway, and later he goes for good. */
    struct visitor *again = visit(c, 1, "u_a", "plaza");
    RUN_UNTIL(c, !dc_presence_session_is_known(leader->core, DC_S("held-u_a")));
    assert_true(sees_online(c, 1, "u_a") && sees_member(c, 1, "plaza", "u_a"));
    assert_int_equal(observed_of(c, "u_a")->n_offline, 0);
    leave(again);
    RUN_UNTIL(c, !sees_online(c, 1, "u_a"));
}

static void joining_over_one_gateway_and_leaving_over_another_is_one_membership(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    struct dc_city *first = &c->gateways[0].city;
    struct dc_city *second = &c->gateways[1].city;
    (void)visit(c, 0, "u_a", NULL);
    RUN_UNTIL(c, sees_online(c, 1, "u_a"));
    assert_int_equal(
        dc_sessions_http_member(first, DC_S("u_a"), DC_S("A"), room_at(c, 0, "plaza"), true),
        DC_OK);
    RUN_UNTIL(c, all_see(c, "plaza", "u_a"));
    /* Every aggregator is replaced by one that has not heard the join: the leader tells it. */
    for (size_t n = 0; n < AGGREGATORS; n++) {
        size_t old = cluster_leader_index(c);
        for (size_t i = 0; i < AGGREGATORS; i++) {
            if (i != old && n == 0) {
                aggregator_stop(c, i);
                aggregator_start(c, i);
            }
        }
        if (n == 0) {
            for (size_t i = 0; i < AGGREGATORS; i++) {
                RUN_UNTIL(c, dc_presence_is_member(c->aggregators[i].role->core, DC_S("u_a"),
                                                   DC_S("room_city_plaza")));
            }
            aggregator_stop(c, old);
            (void)cluster_settle(c);
        }
    }
    assert_never_offline(c, "u_a");
    assert_true(all_see(c, "plaza", "u_a"));
    assert_int_equal(
        dc_sessions_http_member(second, DC_S("u_a"), DC_S("A"), room_at(c, 1, "plaza"), false),
        DC_OK);
    RUN_UNTIL(c, !sees_member(c, 0, "plaza", "u_a") && !sees_member(c, 1, "plaza", "u_a"));
    assert_true(sees_online(c, 0, "u_a"));
}

static void people_of_a_room_that_a_gateway_learns_of_late_are_there_then(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    const struct dc_room_row row = {
        .id = DC_S("room_city_new"), .slug = DC_S("new"), .name = DC_S("New")};
    assert_non_null(dc_city_rooms_put(c->gateways[0].city.rooms, &row));
    (void)visit(c, 0, "u_a", "new");
    RUN_UNTIL(c, sees_member(c, 0, "new", "u_a") && sees_count(c, 0, "new") == 1);
    cluster_barrier(c);
    assert_non_null(dc_city_rooms_put(c->gateways[1].city.rooms, &row));
    RUN_UNTIL(c, sees_member(c, 1, "new", "u_a") && sees_count(c, 1, "new") == 1);
}

static void a_store_that_is_down_changes_no_count_and_its_keys_come_back(void **state)
{
    struct cluster *c = *state;
    start_all(c);
    (void)visit(c, 0, "u_a", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a") && sees_count(c, 0, "plaza") == 1);
    cluster_store_down(c);
    cluster_let_pass(c, LEASE_MS);
    assert_int_equal(sees_count(c, 0, "plaza"), 1);
    assert_int_equal(sees_count(c, 1, "plaza"), 1);
    cluster_store_wipe(c);
    (void)cluster_settle(c);
    RUN_UNTIL(c, store_has(c, "presence:user:u_a"));
    assert_never_offline(c, "u_a");
}

static void a_gateway_says_that_it_is_stale_while_nobody_leads(void **state)
{
    struct cluster *c = *state;
    struct dc_city_people *people = c->gateways[0].city.people;
    assert_false(people->is_fresh); /* nobody has ever led */
    aggregator_start(c, 0);
    (void)cluster_settle(c);
    (void)visit(c, 0, "u_a", "plaza");
    RUN_UNTIL(c, all_see(c, "plaza", "u_a"));
    aggregator_stop(c, 0);
    RUN_UNTIL(c, !people->is_fresh);
    assert_true(all_see(c, "plaza", "u_a")); /* unknown is not offline */
    struct dc_strbuf out = {0};
    dc_people_write_summary(people, &out);
    assert_non_null(memmem(out.ptr, out.len, "\"state\":\"stale\"", 15));
    dc_strbuf_free(&out);
    aggregator_start(c, 0);
    (void)cluster_settle(c);
    assert_true(people->is_fresh);
    assert_never_offline(c, "u_a");
}

/* --- what a change costs --- */

struct told {
    struct dc_bus_sub *sub;
    const char *needle;
    size_t n;
};

static void on_told(void *data, const struct dc_bus_message *m)
{
    struct told *t = data;
    t->n += memmem(m->payload.ptr, m->payload.len, t->needle, strlen(t->needle)) != NULL;
}

static void hear_of(struct cluster *c, struct told *t, const char *pattern, const char *needle)
{
    const struct dc_bus_sub_opts opts = {.pattern = dc_slice_z(pattern)};
    *t = (struct told){.needle = needle};
    assert_int_equal(dc_bus_subscribe(c->bus, &opts, on_told, t, &t->sub, NULL), DC_OK);
}

static bool sees_away(struct cluster *c, size_t gateway, const char *user_id)
{
    const struct dc_city_user *u =
        dc_map_get(&c->gateways[gateway].city.people->users, dc_slice_z(user_id));
    return u != NULL && u->is_away;
}

static bool counts_away(struct cluster *c, size_t gateway, const char *slug, uint32_t want)
{
    return room_at(c, gateway, slug)->people.away_count == want &&
           c->gateways[gateway].city.people->sent_away == want;
}

static uint64_t frames_of_users(struct cluster *c, size_t gateway)
{
    return dc_topic_offset(dc_people_users_topic(c->gateways[gateway].city.people));
}

static uint64_t frames_of_rooms(struct cluster *c, size_t gateway)
{
    return dc_topic_offset(dc_people_rooms_topic(c->gateways[gateway].city.people));
}

static void set_away(struct cluster *c, struct visitor *v, bool is_away)
{
    dc_session_beat(&v->gateway->city, &v->session, is_away ? DC_SESSION_AWAY : DC_SESSION_ONLINE);
    RUN_UNTIL(c, sees_away(c, 0, v->id) == is_away && sees_away(c, 1, v->id) == is_away);
    RUN_UNTIL(c, counts_away(c, 0, "plaza", is_away) && counts_away(c, 1, "plaza", is_away));
    cluster_barrier(c);
}

/* One word about the user and one about the room on the bus; in each process one frame for all who
 * follow users, one for all in the room, and two for all who follow rooms: the room, the totals. */
static void assert_a_change_costs_its_share(struct cluster *c, struct visitor *v)
{
    struct told user, room;
    uint64_t users[GATEWAYS], rooms[GATEWAYS], crowd[GATEWAYS];
    hear_of(c, &user, "city.presence.user.*", "\"user_id\":\"u_a\"");
    hear_of(c, &room, "city.presence.room.*", "\"room_slug\":\"plaza\"");
    for (size_t i = 0; i < GATEWAYS; i++) {
        users[i] = frames_of_users(c, i);
        rooms[i] = frames_of_rooms(c, i);
        crowd[i] = dc_topic_offset(room_at(c, i, "plaza")->crowd);
    }
    set_away(c, v, true);
    assert_int_equal(user.n, 1);
    assert_int_equal(room.n, 1);
    for (size_t i = 0; i < GATEWAYS; i++) {
        assert_int_equal(frames_of_users(c, i) - users[i], 1);
        assert_int_equal(frames_of_rooms(c, i) - rooms[i], 2);
        assert_int_equal(dc_topic_offset(room_at(c, i, "plaza")->crowd) - crowd[i], 1);
    }
    dc_bus_unsubscribe(user.sub);
    dc_bus_unsubscribe(room.sub);
    set_away(c, v, false);
}

static void
a_change_costs_the_same_however_many_people_sockets_and_processes_there_are(void **state)
{
    struct cluster *c = *state;
    size_t n_sockets = 0;
    start_all(c);
    struct visitor *a = visit(c, 0, "u_a", "plaza");
    for (size_t n_people = 1;; n_people++) {
        for (; n_sockets < n_people * 200; n_sockets++) {
            for (size_t i = 0; i < GATEWAYS; i++) {
                dc_chat_enter_topics(&c->gateways[i].city, room_at(c, i, "plaza"));
            }
        }
        RUN_UNTIL(c,
                  sees_count(c, 0, "plaza") == n_people && sees_count(c, 1, "plaza") == n_people);
        cluster_let_pass(c, 100); /* what is throttled has been said */
        cluster_barrier(c);
        assert_a_change_costs_its_share(c, a);
        if (n_people == PEOPLE) {
            break;
        }
        char id[16];
        snprintf(id, sizeof(id), "u_%zu", n_people);
        (void)visit(c, n_people % GATEWAYS, id, "plaza");
    }
    for (; n_sockets > 0; n_sockets--) {
        for (size_t i = 0; i < GATEWAYS; i++) {
            dc_chat_leave_topics(room_at(c, i, "plaza"));
        }
    }
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, cluster_setup, cluster_teardown)
    const struct CMUnitTest tests[] = {
        CASE(of_three_aggregators_one_publishes),
        CASE(a_leader_that_stops_hands_over_at_once),
        CASE(a_leader_that_is_cut_off_ends_by_itself_and_another_takes_over),
        CASE(a_leader_that_was_stopped_publishes_nothing_before_it_has_the_lease_again),
        CASE(while_the_store_is_down_the_leader_goes_on_and_nobody_takes_over),
        CASE(when_the_store_has_forgotten_everything_nobody_is_locked_out),
        CASE(a_stream_that_was_deleted_is_filled_again),
        CASE(what_a_gateway_missed_while_it_was_cut_off_is_no_ghost_afterwards),
        CASE(while_the_bus_is_away_for_longer_than_a_lease_nobody_goes),
        CASE(former_leaders_words_are_ignored_and_repaired),
        CASE(the_stream_forgets_who_has_been_offline_for_a_while),
        CASE(a_large_city_is_said_in_slices_and_whole),
        CASE(no_turn_of_a_new_leader_does_much_however_many_people_there_are),
        CASE(the_people_of_a_gateway_that_dies_go_with_their_leases),
        CASE(a_gateway_that_slept_tells_its_sessions_by_itself),
        CASE(announcing_neither_renews_nor_revives),
        CASE(a_leader_without_memory_holds_who_is_in_the_stream_for_what_is_left_of_a_lease),
        CASE(who_was_held_and_comes_back_counts_by_himself),
        CASE(joining_over_one_gateway_and_leaving_over_another_is_one_membership),
        CASE(people_of_a_room_that_a_gateway_learns_of_late_are_there_then),
        CASE(a_store_that_is_down_changes_no_count_and_its_keys_come_back),
        CASE(a_gateway_says_that_it_is_stale_while_nobody_leads),
        CASE(a_change_costs_the_same_however_many_people_sockets_and_processes_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
