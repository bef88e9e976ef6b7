/* Two processes of city-service, as far as one loop can hold them: each with its own connections to
 * one real database, its own hub, routers, directory and relay; one bus that can fail.  A recorder
 * writes down what the bus's streams get. */
#ifndef DC_TESTS_ROLES_REPLICA_FIXTURE_H
#define DC_TESTS_ROLES_REPLICA_FIXTURE_H

#include "../../contract/db_fixture.h"
#include "../relay/faulty_bus.h"
#include "base/mem.h"
#include "base/random.h"
#include "db/migrate.h"
#include "roles/city/catch_up.h"
#include "roles/city/chat.h"
#include "roles/city/feed.h"
#include "roles/city/lookup.h"
#include "roles/city/messages.h"
#include "roles/city/owed.h"

#define N_REPLICAS  2
#define MAX_RECORDS 8192

struct replica {
    struct dc_ctx ctx;
    struct dc_city *city; /* NULL: not running */
    struct dc_server *server, *internal;
    int feed_fd; /* an event stream of the feed, 0: none */
    struct dc_strbuf feed_got;
    bool is_ready, is_stopped, is_server_stopped, is_internal_stopped, is_db_closed, is_kv_closed;
};

struct rig {
    struct fixture *f;
    struct faulty_bus *bus;
    struct dc_settings settings;
    struct dc_tokens *tokens;
    struct replica replicas[N_REPLICAS];
    struct dc_bus_sub *chat_recorder, *event_recorder;
    size_t n_records, n_events;
    struct {
        char room[40];
        uint64_t position;
    } records[MAX_RECORDS];
    char events[MAX_RECORDS][48]; /* ids */
    bool is_bus_closed;
};

#define RUN_UNTIL(r, cond)                                                                         \
    do {                                                                                           \
        while (!(cond)) {                                                                          \
            uv_run(dc_loop_uv((r)->f->loop), UV_RUN_ONCE);                                         \
        }                                                                                          \
    } while (0)

int rig_setup(void **state);
int rig_teardown(void **state);
/* The role, once more after replica_stop(). */
void replica_start(struct rig *r, size_t i);
void replica_stop(struct rig *r, size_t i);
struct dc_city_room *replica_room(struct rig *r, size_t i, const char *slug);
int64_t replica_metric(struct rig *r, size_t i, const char *line_start);

/* Joins the replica's feed; once. */
void listen_to_feed(struct rig *r, size_t i);
/* How often the feed's frames so far have this text in them. */
size_t count_heard(struct rig *r, size_t i, const char *text);

/* An HTTP request to the replica; the number of its answer. */
int ask(struct rig *r, size_t i, const char *method, const char *path);
/* To its internal listener, with the key. */
int ask_internal(struct rig *r, size_t i, const char *path, const char *json);

/* Turns until nothing is owed any more. */
void until_nothing_is_owed(struct rig *r);
int64_t query_number(struct rig *r, const char *sql);

#endif
