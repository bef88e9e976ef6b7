/* The loop of a process over libuv.
 *
 * Turn items run in a prepare handle, that is after timers and just before the poll, so everything
 * that the last poll's callbacks and the timers produced is sent together.  An item must neither be
 * forgotten because nothing else keeps the loop alive, nor wait behind a blocking poll: an idle
 * handle is started with the first item and stopped when the items run.  While it is stopped the
 * loop sleeps for as long as libuv likes. */
#include "rt/loop.h"
#include "base/mem.h"
#include "rt/loop_priv.h"
#include <stdio.h>

/* Turns that dc_loop_destroy() gives to close callbacks which close further handles. */
#define DRAIN_TURNS 64

static void on_idle(uv_idle_t *idle)
{
    /* Its being started is all that matters. */
    DC_ASSERT(idle->data != NULL);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct dc_loop *loop = prepare->data;

    if (dc_list_is_empty(&loop->scheduled)) {
        /* Everything was cancelled, or there was nothing. */
        uv_idle_stop(&loop->idle);
        return;
    }
    /* Items scheduled from here on belong to the next turn and start the idle handle again. */
    dc_list_move_all(&loop->running, &loop->scheduled);
    uv_idle_stop(&loop->idle);
    while (!dc_list_is_empty(&loop->running)) {
        struct dc_turn *turn = DC_LIST_ENTRY(loop->running.next, struct dc_turn, link);
        dc_list_remove(&turn->link);
        turn->fn(turn); /* may free the item, cancel others or stop the loop */
    }
}

enum dc_status dc_loop_create(struct dc_loop **out, struct dc_error *err)
{
    struct dc_loop *loop = dc_calloc(1, sizeof(*loop));
    int rc;

    *out = NULL;
    rc = uv_loop_init(&loop->uv);
    if (rc != 0) {
        dc_free(loop);
        return dc_fail(err, DC_UNAVAILABLE, rc, "cannot make an event loop: %s", uv_strerror(rc));
    }
    dc_list_init(&loop->scheduled);
    dc_list_init(&loop->running);

    /* None of these three can fail on an open loop. */
    rc = uv_prepare_init(&loop->uv, &loop->prepare);
    DC_ASSERT(rc == 0);
    rc = uv_idle_init(&loop->uv, &loop->idle);
    DC_ASSERT(rc == 0);
    rc = uv_prepare_start(&loop->prepare, on_prepare);
    DC_ASSERT(rc == 0);
    loop->prepare.data = loop;
    loop->idle.data = loop;
    uv_unref((uv_handle_t *)&loop->prepare);
    *out = loop;
    return DC_OK;
}

void dc_loop_run(struct dc_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

bool dc_loop_step(struct dc_loop *loop)
{
    return uv_run(&loop->uv, UV_RUN_NOWAIT) != 0;
}

void dc_loop_stop(struct dc_loop *loop)
{
    uv_stop(&loop->uv);
}

struct walk {
    struct dc_loop *loop;
    size_t left_open;
};

static void close_left_open(uv_handle_t *handle, void *arg)
{
    struct walk *w = arg;

    if (uv_is_closing(handle)) {
        return;
    }
    if (handle != (uv_handle_t *)&w->loop->prepare && handle != (uv_handle_t *)&w->loop->idle) {
        const char *name = uv_handle_type_name(uv_handle_get_type(handle));
        (void)fprintf(stderr, "dc_loop_destroy: handle left open: %s (%s)\n",
                      name == NULL ? "unknown" : name,
                      uv_is_active(handle) ? "active" : "inactive");
        w->left_open++;
    }
    uv_close(handle, NULL);
}

/* Gives work in flight and chains of close callbacks the chance to end by themselves. */
static void drain(struct dc_loop *loop)
{
    int turns = 0;

    while (turns < DRAIN_TURNS) {
        bool is_waiting = loop->work_count > 0;
        if (uv_run(&loop->uv, is_waiting ? UV_RUN_ONCE : UV_RUN_NOWAIT) == 0 && turns > 0) {
            return;
        }
        turns = is_waiting ? 1 : turns + 1;
    }
}

enum dc_status dc_loop_destroy(struct dc_loop *loop)
{
    struct walk w = {.loop = loop, .left_open = 0};
    int rc;

    drain(loop);
    while (!dc_list_is_empty(&loop->scheduled)) {
        dc_list_remove(loop->scheduled.next);
    }
    loop->is_closing = true;
    /* A callback that still runs may open handles, so this is repeated.  What remains besides
     * closing handles is work on the pool, which always ends: no turn blocks for ever. */
    do {
        uv_walk(&loop->uv, close_left_open, &w);
        uv_run(&loop->uv, UV_RUN_ONCE);
        rc = uv_loop_close(&loop->uv);
    } while (rc == UV_EBUSY);
    dc_free(loop);
    return rc == 0 && w.left_open == 0 ? DC_OK : DC_INTERNAL;
}

uv_loop_t *dc_loop_uv(struct dc_loop *loop)
{
    return &loop->uv;
}

struct dc_mono dc_loop_now(const struct dc_loop *loop)
{
    return (struct dc_mono){(int64_t)uv_now(&loop->uv)};
}

void dc_loop_update_time(struct dc_loop *loop)
{
    uv_update_time(&loop->uv);
}

void dc_turn_init(struct dc_turn *turn, void (*fn)(struct dc_turn *turn))
{
    dc_list_init(&turn->link);
    turn->fn = fn;
}

void dc_turn_schedule(struct dc_loop *loop, struct dc_turn *turn)
{
    if (!dc_list_is_empty(&turn->link) || loop->is_closing) {
        return;
    }
    if (dc_list_is_empty(&loop->scheduled)) {
        int rc = uv_idle_start(&loop->idle, on_idle);
        DC_ASSERT(rc == 0);
    }
    dc_list_push_back(&loop->scheduled, &turn->link);
}

void dc_turn_cancel(struct dc_turn *turn)
{
    /* The idle handle, if this was the last item, is stopped by the next turn. */
    dc_list_remove(&turn->link);
}
