/* Several presence aggregators and several gateways in one loop, over one memory bus and one memory
 * key-value store, each with a connection of its own that can be cut.  Gateways are the parts of
 * city-service that have to do with presence: sessions, people, rooms; no database, no network.
 *
 * Times are short and real; tests wait for what must happen, and an alarm ends a hang. */
#ifndef TESTS_UNIT_ROLES_PRESENCE_CLUSTER_H
#define TESTS_UNIT_ROLES_PRESENCE_CLUSTER_H

#include "base/mem.h"
#include "bus/bus_priv.h"
#include "kv/kv_priv.h"
#include "roles/city/people_priv.h"
#include "roles/city/sessions.h"
#include "roles/presence_aggregator/aggregator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "loose_bus.h"

#define LEASE_MS        1500 /* of a session */
#define LEADER_LEASE_MS 300
#define FORGET_MS       300

enum { AGGREGATORS = 3, GATEWAYS = 2, PEOPLE = 8 };

struct gateway {
    struct dc_ctx ctx;
    struct dc_city city;
    bool is_open;
};

struct aggregator {
    struct dc_ctx ctx;
    struct dc_aggregator *role; /* NULL: not running */
};

/* Somebody at a gateway, whose browser beats as long as is_beating. */
struct visitor {
    struct dc_session session;
    struct gateway *gateway;
    char id[16];
    bool is_beating;
};

/* What anybody on the bus could have heard about one user ("u_..."), former leaders' words
 * included.
 */
struct observed {
    char id[16];
    size_t n_online, n_offline, n_left;
};

struct cluster {
    struct dc_loop *loop;
    struct dc_settings settings;
    struct dc_metrics *metrics;
    struct dc_bus *bus; /* the inner one */
    struct dc_kv *kv;
    struct dc_kv dead_kv;
    struct gateway gateways[GATEWAYS];
    struct aggregator aggregators[AGGREGATORS];
    struct visitor visitors[PEOPLE];
    size_t n_visitors;
    struct dc_timer beats;
    struct dc_bus_sub *user_sub, *member_sub;
    struct observed observed[PEOPLE];
    size_t n_observed;
    size_t n_online, n_offline, n_left; /* about everybody */
    size_t n_ready;
    bool is_flag;
};

#define RUN_UNTIL(c, cond)                                                                         \
    do {                                                                                           \
        while (!(cond)) {                                                                          \
            uv_run(dc_loop_uv((c)->loop), UV_RUN_ONCE);                                            \
        }                                                                                          \
    } while (0)
/* For a lower bound only: what must not happen has had this time to happen. */
void cluster_let_pass(struct cluster *c, int64_t length_ms);
/* What has been published has been heard, and what that caused too. */
void cluster_barrier(struct cluster *c);

int cluster_setup(void **state);
int cluster_teardown(void **state);

void gateway_open(struct cluster *c, size_t i);
/* Without a word, as by kill -9; its visitors are gone. */
void gateway_kill(struct cluster *c, size_t i);
void aggregator_start(struct cluster *c, size_t i);
void aggregator_stop(struct cluster *c, size_t i);
/* Neither store nor bus: for the others it is dead. */
void aggregator_cut(struct cluster *c, size_t i);
void aggregator_mend(struct cluster *c, size_t i);
void cluster_store_down(struct cluster *c);
void cluster_store_up(struct cluster *c);
/* A store that knows nothing, not even its last token. */
void cluster_store_wipe(struct cluster *c);
bool store_has(struct cluster *c, const char *key);
/* Every subject of CITY_PRESENCE is gone. */
void cluster_stream_wipe(struct cluster *c);
void cluster_interrupt_all(struct cluster *c, const char *pattern_prefix);

/* The one that leads openly; NULL: none, or more than one thinks so. */
struct dc_aggregator *cluster_leader(struct cluster *c);
size_t cluster_leader_index(struct cluster *c);
/* Waits until one leads and has said everything. */
struct dc_aggregator *cluster_settle(struct cluster *c);
bool gateways_are_fresh(struct cluster *c);

struct dc_city_room *room_at(struct cluster *c, size_t gateway, const char *slug);
/* Beats at once, in a room if slug is not NULL. */
struct visitor *visit(struct cluster *c, size_t gateway, const char *user_id, const char *slug);
/* Closes his socket. */
void leave(struct visitor *v);
bool sees_online(struct cluster *c, size_t gateway, const char *user_id);
bool sees_member(struct cluster *c, size_t gateway, const char *slug, const char *user_id);
bool sees_typing(struct cluster *c, size_t gateway, const char *slug, const char *user_id);
uint32_t sees_count(struct cluster *c, size_t gateway, const char *slug);
struct observed *observed_of(struct cluster *c, const char *user_id);
/* Subjects that the stream has, markers not counted. */
size_t stream_subjects(struct cluster *c, const char *pattern);

#endif
