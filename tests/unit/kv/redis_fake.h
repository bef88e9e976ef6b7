/* A server that answers what a test wants, on the test's own loop and a free loopback port: what no
 * real Redis would send. */
#ifndef DC_TESTS_UNIT_KV_REDIS_FAKE_H
#define DC_TESTS_UNIT_KV_REDIS_FAKE_H

#include "base/strbuf.h"
#include "rt/loop.h"

struct fake_rule {
    const char *word;      /* a word of the command: its first one, or "SCRIPT", "k"; "": any */
    struct dc_slice bytes; /* the answer as it is sent; ptr NULL: none */
    unsigned times;        /* that this rule is used; 0: always */
};

#define FAKE_RULES_MAX 4

struct fake {
    struct dc_loop *loop;
    uv_tcp_t listener;
    struct dc_list conns;
    unsigned n_handles;
    bool is_closing;
    uint16_t port;
    struct fake_rule rules[FAKE_RULES_MAX]; /* copies */
    size_t n_rules;
    /* Set by tests. */
    bool hangs_up;     /* behind the first answer */
    bool resets;       /* the same, with RST */
    bool is_dribbling; /* one byte a turn */
    bool is_deaf;      /* accepts and reads nothing */
    unsigned n_accepted, n_commands;
    struct dc_strbuf seen; /* first words of all commands, blanks behind */
};

struct fake *fake_create(struct dc_loop *loop);
/* The first rule that fits a command counts; without one PING, SCRIPT and ROLE are answered as by a
 * good server, anything else by +OK.  Copies. */
void fake_set_rules(struct fake *f, const struct fake_rule *rules, size_t n);
/* Reads (again) on all connections. */
void fake_listen_to_all(struct fake *f);
/* Ends all connections. */
void fake_hang_up(struct fake *f);
/* Sends to all connections what nobody asked for. */
void fake_say(struct fake *f, struct dc_slice bytes);
/* Runs the loop until its handles are closed. */
void fake_destroy(struct fake *f);

#endif
