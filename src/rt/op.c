/* Retries and blocking work. */
#include "rt/op.h"
#include "base/mem.h"
#include "base/random.h"
#include "rt/loop_priv.h"

/* base * 2^attempt, at most max. */
static uint64_t backoff_limit_ms(const struct dc_backoff *b)
{
    uint64_t limit_ms = b->base_ms;

    for (uint32_t i = 0; i < b->attempt && limit_ms < b->max_ms; i++) {
        limit_ms *= 2;
    }
    return limit_ms < b->max_ms ? limit_ms : b->max_ms;
}

uint64_t dc_backoff_next_ms(struct dc_backoff *b)
{
    const struct dc_random os = {.fill = NULL};
    uint64_t limit_ms = backoff_limit_ms(b);

    if (b->attempt < UINT32_MAX) {
        b->attempt++;
    }
    /* Never 0: a retry in the same turn would find the same state. */
    return limit_ms == 0 ? 1 : 1 + dc_random_below(&os, limit_ms);
}

void dc_backoff_reset(struct dc_backoff *b)
{
    b->attempt = 0;
}

struct work {
    uv_work_t req;
    struct dc_loop *loop;
    void (*work)(void *data);
    void (*done)(void *data);
    void *data;
};

static void on_work(uv_work_t *req)
{
    struct work *w = DC_CONTAINER_OF(req, struct work, req);

    w->work(w->data);
}

static void on_work_done(uv_work_t *req, int status)
{
    struct work *w = DC_CONTAINER_OF(req, struct work, req);
    void (*done)(void *data) = w->done;
    void *data = w->data;

    DC_ASSERT(status == 0); /* nobody calls uv_cancel on it */
    w->loop->work_count--;
    dc_free(w);
    done(data);
}

enum dc_status dc_work_submit(struct dc_loop *loop, void (*work)(void *data),
                              void (*done)(void *data), void *data)
{
    struct work *w = dc_calloc(1, sizeof(*w));

    w->loop = loop;
    w->work = work;
    w->done = done;
    w->data = data;
    if (uv_queue_work(&loop->uv, &w->req, on_work, on_work_done) != 0) {
        dc_free(w);
        return DC_UNAVAILABLE;
    }
    loop->work_count++;
    return DC_OK;
}
