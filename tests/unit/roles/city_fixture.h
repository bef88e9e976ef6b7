/* city-service and the presence aggregator in one loop, over the memory bus, the memory kv and a
 * real SQLite file with the real migrations: everything but the network.  Tests wait for what must
 * happen; an alarm ends a hang. */
#ifndef DC_TESTS_ROLES_CITY_FIXTURE_H
#define DC_TESTS_ROLES_CITY_FIXTURE_H

#include "base/mem.h"
#include "db/migrate.h"
#include "roles/city/chat.h"
#include "roles/city/messages.h"
#include "roles/city/people.h"
#include "roles/city/sessions.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define LEASE_MS 300

struct rig {
    struct dc_settings settings;
    struct dc_ctx ctx, aggregator_ctx; /* that of the aggregator has a router of its own */
    struct dc_city *city;              /* the role's state */
    void *aggregator;
    struct dc_mono guard;
    char dir[64], path[96];
    size_t n_ready;
    bool is_city_stopped, is_aggregator_stopped, is_db_closed, is_kv_closed, is_bus_closed;
};

#define RUN_UNTIL(r, cond)                                                                         \
    do {                                                                                           \
        while (!(cond)) {                                                                          \
            uv_run(dc_loop_uv((r)->ctx.loop), UV_RUN_ONCE);                                        \
        }                                                                                          \
    } while (0)

static inline void rig_ready(void *data)
{
    ((struct rig *)data)->n_ready++;
}

static inline void rig_set(void *data)
{
    *(bool *)data = true;
}

static inline void rig_start_aggregator(struct rig *r)
{
    struct dc_error err = {0};
    r->aggregator_ctx = r->ctx;
    r->aggregator_ctx.internal_router = dc_router_create();
    assert_int_equal(
        dc_role_presence_aggregator.start(&r->aggregator_ctx, rig_ready, r, &r->aggregator, &err),
        DC_OK);
}

static inline void rig_stop_aggregator(struct rig *r)
{
    r->is_aggregator_stopped = false;
    dc_role_presence_aggregator.stop(r->aggregator, rig_set, &r->is_aggregator_stopped);
    RUN_UNTIL(r, r->is_aggregator_stopped);
    dc_router_destroy(r->aggregator_ctx.internal_router);
    r->aggregator = NULL;
}

static inline void rig_open_backends(struct rig *r)
{
    struct dc_error err = {0};
    struct dc_strbuf report = {0};
    const struct dc_migrate_opts migrate = {.path = r->path, .dir = TEST_MIGRATIONS_DIR};
    if (dc_migrate(&migrate, &report, &err) != DC_OK) {
        fail_msg("migrations: %s", dc_error_text(&err));
    }
    dc_strbuf_free(&report);
    const struct dc_db_opts db = {.path = r->path,
                                  .pool_size = 2,
                                  .deadline_ms = 10000,
                                  .max_waiting = 1000,
                                  .metrics = r->ctx.metrics};
    const struct dc_kv_opts kv = {.deadline_ms = 1000, .metrics = r->ctx.metrics};
    const struct dc_bus_opts bus = {.metrics = r->ctx.metrics};
    assert_int_equal(dc_db_open(r->ctx.loop, &db, &r->ctx.db, &err), DC_OK);
    assert_int_equal(dc_kv_open(r->ctx.loop, &kv, &r->ctx.kv, &err), DC_OK);
    assert_int_equal(dc_bus_open(r->ctx.loop, &bus, &r->ctx.bus, &err), DC_OK);
}

static inline int rig_setup(void **state)
{
    struct rig *r = dc_calloc(1, sizeof(*r));
    struct dc_error err = {0};
    void *city = NULL;
    alarm(60);
    snprintf(r->dir, sizeof(r->dir), "/tmp/dc-test-city.XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->path, sizeof(r->path), "%s/city.sqlite", r->dir);
    r->settings = (struct dc_settings){.city_default_rooms = "general,plaza",
                                       .presence_lease_ms = LEASE_MS,
                                       .presence_close_grace_ms = 30,
                                       .typing_lease_ms = 10000,
                                       .room_presence_throttle_ms = 20,
                                       .presence_summary_interval_ms = 10,
                                       .presence_leader_lease_ms = 200,
                                       .max_message_chars = 1000,
                                       .stream_queue_bytes = 65536,
                                       .limit_messages_burst = 1,
                                       .limit_rooms_burst = 1};
    assert_int_equal(dc_loop_create(&r->ctx.loop, &err), DC_OK);
    r->ctx.settings = &r->settings;
    r->ctx.metrics = dc_metrics_create();
    r->ctx.health = dc_health_create();
    r->ctx.hub = dc_hub_create(r->ctx.loop, r->ctx.metrics);
    r->ctx.public_router = dc_router_create();
    r->ctx.internal_router = dc_router_create();
    rig_open_backends(r);
    assert_int_equal(dc_role_city.start(&r->ctx, rig_ready, r, &city, &err), DC_OK);
    r->city = city;
    rig_start_aggregator(r);
    RUN_UNTIL(r, r->n_ready == 2);
    *state = r;
    return 0;
}

static inline void rig_stop_city(struct rig *r)
{
    dc_role_city.stop(r->city, rig_set, &r->is_city_stopped);
    r->city = NULL;
    RUN_UNTIL(r, r->is_city_stopped);
}

/* All sessions and topics of rooms must have been closed. */
static inline int rig_teardown(void **state)
{
    struct rig *r = *state;
    if (r->city != NULL) {
        rig_stop_city(r);
    }
    if (r->aggregator != NULL) {
        rig_stop_aggregator(r);
    }
    dc_bus_close(r->ctx.bus, rig_set, &r->is_bus_closed);
    dc_kv_close(r->ctx.kv, rig_set, &r->is_kv_closed);
    dc_db_close(r->ctx.db, rig_set, &r->is_db_closed);
    RUN_UNTIL(r, r->is_bus_closed && r->is_kv_closed && r->is_db_closed);
    dc_hub_destroy(r->ctx.hub);
    assert_int_equal(dc_loop_destroy(r->ctx.loop), DC_OK);
    dc_router_destroy(r->ctx.public_router);
    dc_router_destroy(r->ctx.internal_router);
    dc_metrics_destroy(r->ctx.metrics);
    dc_health_destroy(r->ctx.health);
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < DC_ARRAY_LEN(ends); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s%s", r->path, ends[i]);
        assert_true(unlink(path) == 0 || errno == ENOENT);
    }
    assert_int_equal(rmdir(r->dir), 0);
    dc_free(r);
    alarm(0);
    return 0;
}

static inline struct dc_city_room *rig_room(struct rig *r, const char *slug)
{
    struct dc_city_room *room = dc_city_rooms_find(r->city->rooms, dc_slice_z(slug));
    assert_non_null(room);
    return room;
}

static inline void rig_publish(struct rig *r, const char *subject, const char *payload)
{
    assert_int_equal(dc_bus_publish(r->ctx.bus, dc_slice_z(subject), DC_SLICE_NULL,
                                    dc_slice_z(payload), NULL, NULL, NULL),
                     DC_OK);
}

/* A session like that of a socket. */
static inline void open_session(struct rig *r, struct dc_session *s, const char *user_id)
{
    *s = (struct dc_session){0};
    dc_session_init(r->city, s, dc_slice_z(user_id), DC_S("Somebody"));
}

#endif
