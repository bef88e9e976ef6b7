/* One connection to a server that does not behave. */
#include "base/mem.h"
#include "kv/redis_link.h"
#include "redis_fake.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct rig {
    struct dc_loop *loop;
    struct fake *fake;
    struct dc_redis_link *link;
    unsigned n_greets, n_answers, n_drained, n_lost, n_freed;
    struct dc_error err;
    char last[64];       /* a string, or the first element */
    unsigned n_commands; /* to send when greeted */
    unsigned n_in_order;
    int tags[8];
};

static void on_greet(void *owner)
{
    struct rig *g = owner;
    g->n_greets++;
    for (unsigned i = 0; i < g->n_commands; i++) {
        const char *words[] = {"ASK"};
        const size_t lens[] = {3};
        g->tags[i] = (int)i;
        assert_true(dc_redis_link_send(g->link, &g->tags[i], 1, words, lens));
    }
}

static void on_answer(void *owner, void *data, const redisReply *answer)
{
    struct rig *g = owner;
    assert_int_equal(g->n_lost + g->n_freed, 0);
    assert_int_equal(*(int *)data, (int)g->n_answers);
    g->n_answers++;
    const redisReply *text = answer->elements > 0 ? answer->element[0] : answer;
    if (text->str != NULL) {
        snprintf(g->last, sizeof(g->last), "%s", text->str);
    }
}

static void on_drained(void *owner)
{
    ((struct rig *)owner)->n_drained++;
}

static void on_lost(void *owner, const struct dc_error *err)
{
    struct rig *g = owner;
    g->n_lost++;
    g->err = *err;
}

static void on_freed(void *owner)
{
    struct rig *g = owner;
    g->n_freed++;
    g->link = NULL;
}

static const struct dc_redis_link_cbs cbs = {on_greet, on_answer, on_drained, on_lost, on_freed};

static int make_rig(void **state)
{
    struct rig *g = dc_calloc(1, sizeof(*g));
    alarm(60);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(dc_loop_create(&g->loop, NULL), DC_OK);
    g->fake = fake_create(g->loop);
    g->n_commands = 1;
    *state = g;
    return 0;
}

static int drop_rig(void **state)
{
    struct rig *g = *state;
    assert_null(g->link);
    fake_destroy(g->fake);
    assert_int_equal(dc_loop_destroy(g->loop), DC_OK);
    dc_free(g);
    alarm(0);
    return 0;
}

static void open_link(struct rig *g, const char *host, uint16_t port)
{
    g->n_greets = g->n_answers = g->n_drained = g->n_lost = g->n_freed = 0;
    g->last[0] = '\0';
    g->link = dc_redis_link_open(g->loop, host, port, NULL, &cbs, g);
    assert_int_equal(g->n_greets + g->n_lost, 0);
}

static void step(struct rig *g)
{
    uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
}

static void until_freed(struct rig *g)
{
    while (g->n_freed == 0) {
        step(g);
    }
    assert_int_equal(g->n_freed, 1);
}

static void close_link(struct rig *g)
{
    dc_redis_link_close(g->link);
    until_freed(g);
    assert_int_equal(g->n_lost, 0);
}

static void until_lost(struct rig *g)
{
    until_freed(g);
    assert_int_equal(g->n_lost, 1);
}

static void answers_arrive_in_order_however_they_are_cut(void **state)
{
    struct rig *g = *state;
    const struct fake_rule rule = {
        "ASK", DC_S("*4\r\n$5\r\nhe\r\no\r\n*2\r\n:-12\r\n$-1\r\n*-1\r\n$0\r\n\r\n"), 0};
    fake_set_rules(g->fake, &rule, 1);
    g->n_commands = 8;
    for (int is_dribbling = 0; is_dribbling < 2; is_dribbling++) {
        g->fake->is_dribbling = is_dribbling == 1;
        open_link(g, "localhost", g->fake->port); /* a name, perhaps with two addresses */
        while (g->n_answers < g->n_commands) {
            step(g);
        }
        assert_string_equal(g->last, "he\r\no");
        close_link(g);
    }
}

static void bytes_that_are_no_answer_end_the_connection(void **state)
{
    struct rig *g = *state;
    static const struct {
        struct dc_slice bytes;
        unsigned answers; /* good ones before it */
        enum dc_status status;
    } rows[] = {
        {{"HTTP/1.1 400 Bad Request\r\n\r\n", 28}, 0, DC_UPSTREAM},
        {{"\0\0\0\0", 4}, 0, DC_UPSTREAM},
        {{"\x15\x03\x01\x00\x02\x02\x46", 7}, 0, DC_CONFIG}, /* TLS */
        {{":12a\r\n", 6}, 0, DC_UPSTREAM},
        {{":99999999999999999999\r\n", 23}, 0, DC_UPSTREAM},
        {{"$-2\r\n", 5}, 0, DC_UPSTREAM},
        {{"$x\r\n", 4}, 0, DC_UPSTREAM},
        {{"$99999999999999999999\r\n", 23}, 0, DC_UPSTREAM},
        {{"*-2\r\n", 5}, 0, DC_UPSTREAM},
        {{"*x\r\n", 4}, 0, DC_UPSTREAM},
        {{"*2147483648\r\n", 13}, 0, DC_UPSTREAM},
        {{"*2147483647\r\n", 13}, 0, DC_UPSTREAM}, /* 16 GiB of pointers */
        {{"*4097\r\n", 7}, 0, DC_UPSTREAM},
        {{"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", 36}, 0, DC_UPSTREAM},
        {{"*2\r\n:1\r\n!\r\n", 11}, 0, DC_UPSTREAM},
        /* More than was asked for. */
        {{"+OK\r\n+OK\r\n", 10}, 1, DC_UPSTREAM},
        {{"+OK\r\n:1\r\n", 9}, 1, DC_UPSTREAM},
        {{"+OK\r\n$-1\r\n", 10}, 1, DC_UPSTREAM},
        {{"+OK\r\n$1\r\nx\r\n", 12}, 1, DC_UPSTREAM},
        {{"+OK\r\n*0\r\n", 9}, 1, DC_UPSTREAM},
        {{"+OK\r\n*-1\r\n", 10}, 1, DC_UPSTREAM},
        {{"+OK\r\n*1\r\n:1\r\n", 13}, 1, DC_UPSTREAM},
        {{"+OK\r\n-ERR goodbye\r\n", 19}, 1, DC_UNAVAILABLE},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const struct fake_rule rule = {"ASK", rows[i].bytes, 0};
        fake_set_rules(g->fake, &rule, 1);
        for (int is_dribbling = 0; is_dribbling < 2; is_dribbling++) {
            g->fake->is_dribbling = is_dribbling == 1;
            open_link(g, "127.0.0.1", g->fake->port);
            until_lost(g);
            if (g->err.status != rows[i].status || g->n_answers != rows[i].answers) {
                fail_msg("row %zu: %s, %u answers: %s", i, dc_status_code(g->err.status),
                         g->n_answers, dc_error_text(&g->err));
            }
        }
    }
}

static void what_nobody_asked_for_ends_an_idle_connection(void **state)
{
    struct rig *g = *state;
    static const struct dc_slice rows[] = {{"+OK\r\n", 5}, {":0\r\n", 4}, {"-ERR bye\r\n", 10}};

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        open_link(g, "127.0.0.1", g->fake->port);
        while (g->n_answers == 0) {
            step(g);
        }
        fake_say(g->fake, rows[i]);
        until_lost(g);
        assert_int_equal(g->err.status, i == 2 ? DC_UNAVAILABLE : DC_UPSTREAM);
    }
    assert_non_null(strstr(dc_error_text(&g->err), "bye"));
}

static void too_large_answers_end_the_connection_before_they_fill_the_memory(void **state)
{
    struct rig *g = *state;
    static const char *const heads[] = {
        "$536870912\r\n", "$9223372036854775807\r\n", "+", "-", ":", "$", "*"};
    struct dc_strbuf bytes = {0};

    for (size_t i = 0; i <= DC_ARRAY_LEN(heads); i++) {
        dc_strbuf_clear(&bytes);
        if (i < DC_ARRAY_LEN(heads)) {
            dc_strbuf_add_z(&bytes, heads[i]);
            while (bytes.len < 2 * DC_REDIS_ANSWER_MAX_BYTES) {
                dc_strbuf_add_z(&bytes, "1111111111111111111111111111111111111111111111111111111");
            }
        } else {
            /* Each part is small. */
            dc_strbuf_add_z(&bytes, "*4000\r\n");
            while (bytes.len < 2 * DC_REDIS_ANSWER_MAX_BYTES) {
                dc_strbuf_add_z(&bytes, "$1000\r\n");
                for (int k = 0; k < 100; k++) {
                    dc_strbuf_add_z(&bytes, "1234567890");
                }
                dc_strbuf_add_z(&bytes, "\r\n");
            }
        }
        assert_true(dc_strbuf_ok(&bytes));
        const struct fake_rule rule = {"ASK", dc_strbuf_slice(&bytes), 0};
        fake_set_rules(g->fake, &rule, 1);
        open_link(g, "127.0.0.1", g->fake->port);
        until_lost(g);
        assert_int_equal(g->err.status, DC_UPSTREAM);
        assert_non_null(strstr(dc_error_text(&g->err), "too large"));
        assert_int_equal(g->n_answers, 0);
    }
    dc_strbuf_free(&bytes);
}

static void too_many_nested_parts_end_the_connection(void **state)
{
    struct rig *g = *state;
    struct dc_strbuf bytes = {0};

    dc_strbuf_add_z(&bytes, "*4000\r\n");
    for (int i = 0; i < 4000; i++) {
        dc_strbuf_add_z(&bytes, "*2\r\n:1\r\n:2\r\n");
    }
    const struct fake_rule rule = {"ASK", dc_strbuf_slice(&bytes), 0};
    fake_set_rules(g->fake, &rule, 1);
    open_link(g, "127.0.0.1", g->fake->port);
    until_lost(g);
    assert_int_equal(g->err.status, DC_UPSTREAM);
    dc_strbuf_free(&bytes);
}

static void half_an_answer_and_the_end_is_the_end(void **state)
{
    struct rig *g = *state;
    static const struct dc_slice halves[] = {
        {"", 0}, {"+", 1}, {"+O", 2}, {"$10\r\nabc", 8}, {"*2\r\n:1\r\n", 8}, {"*2\r\n", 4}};

    for (size_t i = 0; i < DC_ARRAY_LEN(halves); i++) {
        const struct fake_rule rule = {"ASK", halves[i], 0};
        fake_set_rules(g->fake, &rule, 1);
        for (int resets = 0; resets < 2; resets++) {
            g->fake->hangs_up = resets == 0;
            g->fake->resets = resets == 1;
            open_link(g, "127.0.0.1", g->fake->port);
            until_lost(g);
            assert_int_equal(g->err.status, DC_UNAVAILABLE);
            assert_int_equal(g->n_answers, 0);
        }
    }
}

/* Nobody listens there any more. */
static uint16_t dead_port(struct rig *g)
{
    struct fake *gone = fake_create(g->loop);
    uint16_t port = gone->port;
    fake_destroy(gone);
    return port;
}

static void a_refused_connection_and_an_unknown_name_are_told(void **state)
{
    struct rig *g = *state;
    open_link(g, "127.0.0.1", dead_port(g));
    until_lost(g);
    assert_int_equal(g->err.status, DC_UNAVAILABLE);
    assert_non_null(strstr(dc_error_text(&g->err), "refused"));
    assert_true(g->n_greets >= 1);
    open_link(g, "no-such-host.invalid", 6379);
    until_lost(g);
    assert_int_equal(g->err.status, DC_UNAVAILABLE);
    assert_int_equal(g->n_greets, 0);
}

/* "two.test" has two addresses, 127.0.0.2 and then 127.0.0.1 (linked with --wrap). */
int __real_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints);
int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints);
static uv_getaddrinfo_cb two_cb;

static void on_two(uv_getaddrinfo_t *req, int status, struct addrinfo *first)
{
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    if (status == 0) {
        assert_int_equal(getaddrinfo("127.0.0.1", NULL, &hints, &first->ai_next), 0);
    }
    two_cb(req, status, first);
}

int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints)
{
    bool is_two = strcmp(node, "two.test") == 0;
    if (is_two) {
        two_cb = cb;
    }
    return __real_uv_getaddrinfo(loop, req, is_two ? on_two : cb, is_two ? "127.0.0.2" : node,
                                 service, hints);
}

static void every_address_of_a_name_is_tried(void **state)
{
    struct rig *g = *state;
    open_link(g, "two.test", g->fake->port); /* which listens on the second one */
    while (g->n_answers == 0) {
        step(g);
    }
    assert_int_equal(g->n_greets, 2);
    assert_int_equal(g->n_answers, 1);
    close_link(g);
    open_link(g, "two.test", dead_port(g));
    until_lost(g);
    assert_int_equal(g->n_greets, 2);
    assert_int_equal(g->err.status, DC_UNAVAILABLE);
    /* A server that answered and hung up is not passed over for another. */
    g->fake->hangs_up = true;
    open_link(g, "two.test", g->fake->port);
    until_lost(g);
    assert_int_equal(g->n_greets, 2);
    assert_int_equal(g->fake->n_accepted, 2);
}

static void it_can_be_closed_and_failed_at_any_time(void **state)
{
    struct rig *g = *state;
    const struct dc_error why = {.status = DC_CONFIG, .text = "because"};
    const struct dc_error other = {.status = DC_INTERNAL};

    for (unsigned turns = 0; turns < 30; turns++) {
        for (int fails = 0; fails < 2; fails++) {
            open_link(g, turns % 2 == 0 ? "127.0.0.1" : "two.test", g->fake->port);
            for (unsigned i = 0; i < turns; i++) {
                uv_run(dc_loop_uv(g->loop), UV_RUN_NOWAIT);
            }
            if (fails == 0) {
                close_link(g);
                continue;
            }
            dc_redis_link_fail(g->link, &why);
            dc_redis_link_fail(g->link, &other);
            assert_int_equal(g->n_lost, 0); /* never inside */
            /* A first address that was given up is followed by the second, if there is one. */
            while (g->n_lost == 0 && g->n_answers == 0) {
                step(g);
            }
            if (g->n_lost == 0) {
                dc_redis_link_fail(g->link, &why);
            }
            until_lost(g);
            assert_int_equal(g->err.status, DC_CONFIG);
        }
    }
}

static void what_the_socket_does_not_take_waits_and_leaves_later(void **state)
{
    struct rig *g = *state;
    size_t size = (size_t)1024 * 1024;
    char *big = dc_calloc(1, size);

    g->fake->is_deaf = true;
    open_link(g, "127.0.0.1", g->fake->port);
    while (g->n_drained == 0) {
        step(g); /* the greeting has left */
    }
    for (int i = 1; i <= 7; i++) {
        const char *words[] = {"ASK", big};
        const size_t lens[] = {3, size};
        g->tags[i] = i;
        assert_true(dc_redis_link_send(g->link, &g->tags[i], 2, words, lens));
    }
    dc_redis_link_flush(g->link);
    assert_true(dc_redis_link_unsent(g->link) > 0);
    assert_int_equal(g->n_answers, 0);
    fake_listen_to_all(g->fake);
    while (g->n_answers < 8) {
        step(g);
    }
    assert_int_equal(dc_redis_link_unsent(g->link), 0);
    assert_int_equal(g->n_drained, 2);
    close_link(g);
    dc_free(big);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_rig, drop_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_arrive_in_order_however_they_are_cut),
        TEST(bytes_that_are_no_answer_end_the_connection),
        TEST(what_nobody_asked_for_ends_an_idle_connection),
        TEST(too_large_answers_end_the_connection_before_they_fill_the_memory),
        TEST(too_many_nested_parts_end_the_connection),
        TEST(half_an_answer_and_the_end_is_the_end),
        TEST(a_refused_connection_and_an_unknown_name_are_told),
        TEST(every_address_of_a_name_is_tried),
        TEST(it_can_be_closed_and_failed_at_any_time),
        TEST(what_the_socket_does_not_take_waits_and_leaves_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
