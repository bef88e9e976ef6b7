/* What a role is, and what a process gives its roles (DESIGN §2).  A role is a const struct in the
 * array of main.c; its state hangs off what start() hands out.  Everything runs on the one loop. */
#ifndef DC_ROLES_ROLE_H
#define DC_ROLES_ROLE_H

#include "auth/identity.h"
#include "base/random.h"
#include "bus/bus.h"
#include "conf/conf.h"
#include "db/db.h"
#include "kv/kv.h"
#include "net/hub.h"
#include "net/router.h"
#include "net/sse.h"
#include "net/ws.h"
#include "obs/health.h"
#include "obs/log.h"
#include "obs/metrics.h"

/* Everything is owned by main and outlives the roles. What a role does not need may be NULL. */
struct dc_ctx {
    struct dc_loop *loop;
    const struct dc_settings *settings;
    struct dc_log *log;
    struct dc_metrics *metrics;
    struct dc_health *health;
    struct dc_db *db;
    struct dc_kv *kv;
    struct dc_bus *bus;
    struct dc_hub *hub;
    struct dc_ws_hub *ws;
    struct dc_sse_hub *sse;
    struct dc_auth auth;
    struct dc_router *public_router;
    struct dc_router *internal_router;
    /* "http://127.0.0.1:8081": how this process reaches its own internal listener; empty until that
     * is open. */
    char internal_url[80];
    bool is_combined; /* `up`: native paths belong to pages, services live under /api */
};

enum dc_role_need { DC_NEEDS_DB = 1, DC_NEEDS_KV = 2, DC_NEEDS_BUS = 4, DC_NEEDS_TOKENS = 8 };

struct dc_role {
    const char *name;
    const char *summary; /* one line for --help */
    uint16_t port;       /* when run alone */
    unsigned needs;      /* enum dc_role_need; alone, each must be a shared backend */
    /* Registers routes and starts work; `ready` runs once, in start() or later, when the role can
     * serve.  Failure means that nothing has been started and ready never runs. */
    enum dc_status (*start)(struct dc_ctx *ctx, void (*ready)(void *data), void *ready_data,
                            void **state, struct dc_error *err);
    /* Servers have stopped already. stopped runs once, also when nothing had to be awaited; then
     * the state is gone. */
    void (*stop)(void *state, void (*stopped)(void *data), void *data);
};

extern const struct dc_role dc_role_city;
extern const struct dc_role dc_role_auth;
extern const struct dc_role dc_role_matrix_gateway;
extern const struct dc_role dc_role_presence_aggregator;

#endif
