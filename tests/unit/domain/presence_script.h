/* Scenario tables for the presence core: each step is a time, a command, and everything that the
 * core reports because of it, in order.
 *
 * Commands ("-" stands for an empty text):
 *   room R SLUG | unroom R
 *   beat S U online|away|passive [NAME] | join S R | leave S R | close S | end S | type S R on|off
 *   mx U online|away|offline [LAST_ACTIVE] | mxjoin U R | mxleave U R | mxtype R TTL [U...]
 *   restate R|city | hold on|off | tick
 * Reports, separated by "; ":
 *   U=STATUS              user
 *   R+U:STATUS, R-U, R~U:STATUS   member joined, left, changed status
 *   R*U, R.U              starts, stops typing
 *   R[ONLINE/AWAY] or R[ONLINE/AWAY typing U,U] then " U,U" of the sample    room published
 *   city[ONLINE/AWAY]     totals published
 *   U!STATUS              native, in a script that asks for it */
#ifndef TESTS_UNIT_DOMAIN_PRESENCE_SCRIPT_H
#define TESTS_UNIT_DOMAIN_PRESENCE_SCRIPT_H

#include "base/strbuf.h"
#include "domain/presence.h"

struct step {
    int64_t at_ms;
    const char *command;
    const char *reports;   /* NULL: none */
    enum dc_status status; /* of the call; DC_OK when left out */
};

struct script {
    struct dc_presence *core;
    struct dc_strbuf log;
    bool wants_native;
};

/* lease 40 s, grace 5 s, typing 6 s, window 3 s, limits of 100. */
struct dc_presence_opts script_opts(void);
void script_open(struct script *s, const struct dc_presence_opts *opts);
void script_close(struct script *s);
/* One command, whatever it reports; it must succeed. */
void script_do(struct script *s, const struct step *step);
/* Fails the test with the number of the step. */
void script_run(struct script *s, const struct step *steps, size_t n);
/* The whole: default options, the steps, and the end without leaks. */
#define RUN_SCRIPT(steps) script_play((steps), DC_ARRAY_LEN(steps))
void script_play(const struct step *steps, size_t n);
/* monotonic ms, and UTC as ms after 1,000,000. */
struct dc_presence_now script_now(int64_t mono_ms);

#endif
