/* Between a client and a server: carries bytes, and cuts the line where a test wants.  On the
 * test's own loop, a free loopback port. */
#ifndef DC_TESTS_CONTRACT_RELAY_H
#define DC_TESTS_CONTRACT_RELAY_H

#include "rt/loop.h"

struct relay {
    struct dc_loop *loop;
    uv_tcp_t listener;
    struct dc_list pairs;
    unsigned n_handles;
    uint16_t port, target; /* both on 127.0.0.1 */
    /* Set by tests, for connections to come. */
    size_t cut_after;     /* bytes of the server, then the end; SIZE_MAX: never */
    size_t piece;         /* at most so many bytes of the server at a time */
    const char *greeting; /* not NULL: what the client is told, without a server */
    unsigned n_accepted;
    size_t carried; /* bytes of servers, of all connections */
};

struct relay *relay_create(struct dc_loop *loop, uint16_t target);
/* Runs the loop until its handles are closed. */
void relay_destroy(struct relay *r);

#endif
