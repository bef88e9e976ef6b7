/* SIGTERM and SIGINT as callbacks on the loop. */
#ifndef DC_CLI_SIGNALS_H
#define DC_CLI_SIGNALS_H

#include "rt/loop.h"

typedef void (*dc_signal_cb)(void *data, int signum);

/* Member of its owner, which outlives the loop. */
struct dc_signals {
    uv_signal_t term, interrupt;
    dc_signal_cb fn;
    void *data;
    bool is_open;
};

/* fn runs on the loop for each signal until dc_signals_close(). */
DC_MUST_USE enum dc_status dc_signals_open(struct dc_loop *loop, struct dc_signals *s,
                                           dc_signal_cb fn, void *data, struct dc_error *err);
/* Harmless when not open. */
void dc_signals_close(struct dc_signals *s);

#endif
