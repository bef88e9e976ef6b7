/* What the cases of the key-value port share: a loop with a store on it, calls that wait for their
 * answer, and a way to the server beside the port.
 *
 * The server is that of script/with-redis: TEST_REDIS_URL and TEST_REDIS_CONTROL. */
#ifndef DC_TESTS_CONTRACT_KV_FIXTURE_H
#define DC_TESTS_CONTRACT_KV_FIXTURE_H

#include "kv/kv.h"
#include "rt/loop.h"
#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct rig {
    struct dc_loop *loop;
    struct dc_kv *kv;
    struct dc_metrics *metrics;
    struct dc_health *health;
    struct dc_health_check *check;
    struct dc_log *log;
    int log_fd;             /* the read end of what the port logs */
    struct dc_kv_opts opts; /* change before rig_open() */
    int waiting;            /* calls without an answer */
    bool is_ready, is_closed;
    struct dc_error ready;
    /* Of the last answer. */
    enum dc_status status;
    char code[64];
    bool has_value;
    char value[64];
    int64_t number;
    size_t n_members;
    char members[256]; /* joined by blanks */
};

/* Takes "--tls=script/with-redis" off the end of the arguments: the program starts itself again
 * under that script, with REDIS_TLS, where there is a server already. */
void kv_over_tls(int *argc, char **argv);
/* 0, or what main returns when there is no server: 77 (skipped), 1 where CI is true. */
int kv_need_server(void);

/* Everything but the store. */
struct rig *rig_create(void);
/* Opens, does not wait. */
void rig_open_any(struct rig *g);
/* Opens and waits until it is ready. */
void rig_open(struct rig *g);
void rig_close(struct rig *g);
/* Closes what is open; the loop must end empty. */
void rig_destroy(struct rig *g);
/* Turns the loop until *flag; an alarm kills the process if that never happens. */
void rig_until(struct rig *g, const bool *flag);
/* What has been logged since the last time. */
void rig_log(struct rig *g, char *out, size_t size);
int64_t rig_metric(struct rig *g, const char *name);

void on_answer(void *data, enum dc_status st, struct dc_slice value, int64_t number,
               const struct dc_error *err);
void on_due(void *data, enum dc_status st, const struct dc_slice *members, size_t n,
            const struct dc_error *err);
/* Waits for every answer and returns the status of the last one. */
enum dc_status wait_all(struct rig *g);
#define CALL(g, call)                                                                              \
    (assert_int_equal((call), DC_OK), (g)->waiting++, assert_int_equal((g)->waiting, 1),           \
     wait_all(g))

enum dc_status set(struct rig *g, const char *key, const char *value, uint64_t ttl_ms);
/* Without waiting or asserting. */
enum dc_status try_set(struct rig *g, const char *key, const char *value);
/* Turns the loop until a call succeeds; all before it must be refused as by a server that is away.
 */
void until_it_works(struct rig *g);
const char *get(struct rig *g, const char *key);
int64_t delete_key(struct rig *g, const char *key);
enum dc_status acquire(struct rig *g, const char *name, const char *holder, uint64_t ttl_ms);
enum dc_status release(struct rig *g, const char *name, const char *holder);
enum dc_status add(struct rig *g, const char *set_name, const char *member, uint64_t ttl_ms);
const char *take(struct rig *g, const char *set_name, size_t max);

/* --- beside the port --- */
/* Where the server of TEST_REDIS_URL can be asked without TLS. */
const char *admin_url(void);
/* An admin's connection; redisFree() it. */
redisContext *admin_connect(const char *url);
/* One command that must succeed; freeReplyObject() it. */
redisReply *admin_ask(redisContext *c, const char *format, ...);
/* The same on a connection of its own to admin_url(), its answer thrown away. */
void admin(const char *format, ...);
/* $TEST_REDIS_CONTROL with one argument. */
void control(const char *action);

#endif
