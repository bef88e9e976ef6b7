/* SIGTERM and SIGINT as callbacks on the loop. */
#include "cli/signals.h"

#include <signal.h>

static void on_signal(uv_signal_t *h, int signum)
{
    struct dc_signals *s = h->data;
    s->fn(s->data, signum);
}

enum dc_status dc_signals_open(struct dc_loop *loop, struct dc_signals *s, dc_signal_cb fn,
                               void *data, struct dc_error *err)
{
    uv_loop_t *uv = dc_loop_uv(loop);
    int rc = uv_signal_init(uv, &s->term);
    if (rc == 0) {
        rc = uv_signal_init(uv, &s->interrupt);
        if (rc != 0) {
            uv_close((uv_handle_t *)&s->term, NULL);
        }
    }
    if (rc == 0) {
        s->is_open = true;
        s->fn = fn;
        s->data = data;
        s->term.data = s;
        s->interrupt.data = s;
        rc = uv_signal_start(&s->term, on_signal, SIGTERM);
    }
    if (rc == 0) {
        rc = uv_signal_start(&s->interrupt, on_signal, SIGINT);
    }
    return rc == 0 ? DC_OK : dc_fail(err, DC_INTERNAL, rc, "signals: %s", uv_strerror(rc));
}

void dc_signals_close(struct dc_signals *s)
{
    if (s->is_open) {
        s->is_open = false;
        uv_close((uv_handle_t *)&s->term, NULL);
        uv_close((uv_handle_t *)&s->interrupt, NULL);
    }
}
