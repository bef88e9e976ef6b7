/* Calls as commands, answers as results: what the words are, and answers that do not fit. */
#include "base/mem.h"
#include "kv/kv.h"
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
    struct dc_kv *kv;
    struct dc_metrics *metrics;
    uint64_t deadline_ms;
    bool is_ready, is_closed, is_answered;
    enum dc_status status;
    char code[32];
    size_t n_members;
    int64_t number;
};

static void on_ready(void *data, const struct dc_error *err)
{
    (void)err;
    ((struct rig *)data)->is_ready = true;
}

static void on_closed(void *data)
{
    ((struct rig *)data)->is_closed = true;
}

static void on_answer(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                      const struct dc_error *err)
{
    struct rig *g = data;
    (void)value;
    assert_false(g->is_answered);
    g->is_answered = true;
    g->status = st;
    g->number = number;
    snprintf(g->code, sizeof(g->code), "%s", err == NULL ? "" : dc_error_code(err));
}

static void on_due(void *data, enum dc_status st, const struct dc_slice *members, size_t n,
                   const struct dc_error *err)
{
    struct rig *g = data;
    (void)members;
    g->n_members = n;
    on_answer(g, st, DC_SLICE_NULL, 0, err);
}

static void until(struct rig *g, const bool *flag)
{
    while (!*flag) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
}

/* What was written on the loopback can be read at once. */
static void turns(struct rig *g, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_NOWAIT);
    }
}

static void open_kv(struct rig *g)
{
    char url[64];
    snprintf(url, sizeof(url), "redis://127.0.0.1:%u", g->fake->port);
    const struct dc_kv_opts opts = {
        .url = url, .deadline_ms = g->deadline_ms, .metrics = g->metrics};
    fake_set_rules(g->fake, NULL, 0);
    g->is_ready = false;
    assert_int_equal(dc_kv_open(g->loop, &opts, &g->kv, NULL), DC_OK);
    dc_kv_on_ready(g->kv, on_ready, g);
    until(g, &g->is_ready);
}

static void close_kv(struct rig *g)
{
    g->is_closed = false;
    dc_kv_close(g->kv, on_closed, g);
    until(g, &g->is_closed);
}

static int make_rig(void **state)
{
    struct rig *g = dc_calloc(1, sizeof(*g));
    alarm(60);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(dc_loop_create(&g->loop, NULL), DC_OK);
    g->fake = fake_create(g->loop);
    g->metrics = dc_metrics_create();
    g->deadline_ms = 10000;
    open_kv(g);
    *state = g;
    return 0;
}

static int drop_rig(void **state)
{
    struct rig *g = *state;
    close_kv(g);
    fake_destroy(g->fake);
    assert_int_equal(dc_loop_destroy(g->loop), DC_OK);
    dc_metrics_destroy(g->metrics);
    dc_free(g);
    alarm(0);
    return 0;
}

enum verb { SET, GET, DELETE, ACQUIRE, RELEASE, ADD, REMOVE, TAKE, VERBS };

static enum dc_status try_call(struct rig *g, enum verb verb)
{
    const struct dc_slice k = DC_S("k"), v = DC_S("v");
    g->is_answered = false;
    switch (verb) {
    case SET:
        return dc_kv_set(g->kv, k, v, 0, on_answer, g, NULL);
    case GET:
        return dc_kv_get(g->kv, k, on_answer, g, NULL);
    case DELETE:
        return dc_kv_delete(g->kv, k, on_answer, g, NULL);
    case ACQUIRE:
        return dc_kv_lease_acquire(g->kv, k, v, 1000, on_answer, g, NULL);
    case RELEASE:
        return dc_kv_lease_release(g->kv, k, v, on_answer, g, NULL);
    case ADD:
        return dc_kv_expiry_add(g->kv, k, v, 1000, on_answer, g, NULL);
    case REMOVE:
        return dc_kv_expiry_remove(g->kv, k, v, on_answer, g, NULL);
    case TAKE:
    case VERBS:
        break;
    }
    return dc_kv_expiry_take_due(g->kv, k, 2, on_due, g, NULL);
}

/* Waits for a connection first, if there is none. */
static enum dc_status call(struct rig *g, enum verb verb)
{
    while (try_call(g, verb) != DC_OK) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    until(g, &g->is_answered);
    return g->status;
}

static void assert_seen(struct rig *g, const char *want)
{
    dc_strbuf_add_char(&g->fake->seen, '\0');
    assert_string_equal(g->fake->seen.ptr, want);
    g->fake->seen.len--;
}

static void every_verb_takes_its_own_answers_and_no_others(void **state)
{
    struct rig *g = *state;
    static const struct {
        struct dc_slice bytes;
        enum dc_status status[VERBS];
    } rows[] = {
#define U DC_UPSTREAM
#define C DC_CONFLICT
        {{"+OK\r\n", 5}, {DC_OK, U, U, U, U, U, U, U}},
        {{":0\r\n", 4}, {U, U, DC_OK, C, C, DC_OK, DC_OK, U}},
        {{":1\r\n", 4}, {U, U, DC_OK, DC_OK, DC_OK, DC_OK, DC_OK, U}},
        {{":2\r\n", 4}, {U, U, U, DC_OK, DC_OK, DC_OK, U, U}},
        {{":-1\r\n", 5}, {U, U, U, U, U, U, U, U}},
        {{"$-1\r\n", 5}, {U, DC_OK, U, U, U, U, U, U}},
        {{"$1\r\nx\r\n", 7}, {U, DC_OK, U, U, U, U, U, U}},
        {{"*-1\r\n", 5}, {U, DC_OK, U, U, U, U, U, U}},
        {{"*0\r\n", 4}, {U, U, U, U, U, U, U, DC_OK}},
        {{"*2\r\n$1\r\na\r\n$1\r\nb\r\n", 18}, {U, U, U, U, U, U, U, DC_OK}},
        {{"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", 25}, {U, U, U, U, U, U, U, U}},
        {{"*1\r\n:1\r\n", 8}, {U, U, U, U, U, U, U, U}},
        {{"*1\r\n$-1\r\n", 9}, {U, U, U, U, U, U, U, U}},
        {{"*1\r\n*1\r\n$1\r\na\r\n", 15}, {U, U, U, U, U, U, U, U}},
        {{"*1\r\n-ERR x\r\n", 12}, {U, U, U, U, U, U, U, U}},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        for (enum verb v = SET; v < VERBS; v++) {
            const struct fake_rule rule = {"k", rows[i].bytes, 0},
                                   own[] = {{"daarion:kv:lease:k", rows[i].bytes, 0},
                                            {"daarion:kv:due:k", rows[i].bytes, 0},
                                            rule};
            /* A connection that has just been lost is made again after a pause only. */
            close_kv(g);
            open_kv(g);
            fake_set_rules(g->fake, own, DC_ARRAY_LEN(own));
            enum dc_status st = call(g, v);
            if (st != rows[i].status[v]) {
                fail_msg("row %zu, verb %d: %s", i, (int)v, dc_status_code(st));
            }
        }
    }
}

static void refusals_are_told_as_the_table_says_and_later_calls_work(void **state)
{
    struct rig *g = *state;
    static const struct {
        const char *answer;
        enum dc_status status;
        bool reconnects;
    } rows[] = {
        {"-LOADING x\r\n", DC_UNAVAILABLE, false}, {"-BUSY x\r\n", DC_UNAVAILABLE, false},
        {"-READONLY x\r\n", DC_UNAVAILABLE, true}, {"-MASTERDOWN x\r\n", DC_UNAVAILABLE, true},
        {"-NOAUTH x\r\n", DC_CONFIG, true},        {"-WRONGPASS x\r\n", DC_CONFIG, true},
        {"-NOPERM x\r\n", DC_CONFIG, false},       {"-OOM x\r\n", DC_LIMIT, false},
        {"-MISCONF x\r\n", DC_UNAVAILABLE, false}, {"-NOREPLICAS x\r\n", DC_UNAVAILABLE, false},
        {"-MOVED 1 a:1\r\n", DC_CONFIG, false},    {"-ERR x\r\n", DC_INTERNAL, false},
        {"-WRONGTYPE x\r\n", DC_INTERNAL, false},  {"-\r\n", DC_INTERNAL, false},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        for (enum verb v = SET; v < VERBS; v++) {
            const struct fake_rule own[] = {{"daarion:kv:lease:k", dc_slice_z(rows[i].answer), 1},
                                            {"daarion:kv:due:k", dc_slice_z(rows[i].answer), 1},
                                            {"k", dc_slice_z(rows[i].answer), 1}};
            close_kv(g);
            open_kv(g);
            fake_set_rules(g->fake, own, DC_ARRAY_LEN(own));
            unsigned accepted = g->fake->n_accepted;
            assert_int_equal(call(g, v), rows[i].status);
            fake_set_rules(g->fake, NULL, 0);
            /* What ends the connection does so in a later turn. */
            while (rows[i].reconnects && g->fake->n_accepted == accepted) {
                uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
            }
            assert_int_equal(call(g, SET), DC_OK);
            assert_int_equal(g->fake->n_accepted - accepted, rows[i].reconnects ? 1 : 0);
        }
    }
}

static void a_script_that_is_never_known_is_not_sent_for_ever(void **state)
{
    struct rig *g = *state;
    const struct fake_rule rule = {"daarion:kv:lease:k", DC_S("-NOSCRIPT x\r\n"), 0};
    fake_set_rules(g->fake, &rule, 1);
    dc_strbuf_clear(&g->fake->seen);
    assert_int_equal(call(g, ACQUIRE), DC_UNAVAILABLE);
    assert_seen(g, "EVALSHA EVAL ");
    /* What is no script cannot be sent so: */
    const struct fake_rule plain = {"k", DC_S("-NOSCRIPT x\r\n"), 0};
    fake_set_rules(g->fake, &plain, 1);
    assert_int_equal(call(g, GET), DC_UNAVAILABLE);
}

static void what_follows_a_forgotten_script_waits_for_its_turn(void **state)
{
    struct rig *g = *state;
    struct rig second = {.kv = g->kv}, third = {.kv = g->kv};
    const struct fake_rule rule = {"daarion:kv:due:k", DC_S(""), 2};

    fake_set_rules(g->fake, &rule, 1);
    dc_strbuf_clear(&g->fake->seen);
    assert_int_equal(try_call(g, ADD), DC_OK);
    assert_int_equal(try_call(&second, REMOVE), DC_OK);
    while (g->fake->seen.len < strlen("EVALSHA EVALSHA ")) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    /* Only the first is known to be forgotten: the second may have taken effect or not. */
    fake_say(g->fake, DC_S("-NOSCRIPT x\r\n"));
    turns(g, 20);
    assert_int_equal(try_call(&third, DELETE), DC_OK);
    turns(g, 20);
    assert_seen(g, "EVALSHA EVALSHA ");
    const struct fake_rule good = {"", DC_S(":1\r\n"), 0};
    fake_set_rules(g->fake, &good, 1);
    fake_say(g->fake, DC_S("-NOSCRIPT x\r\n"));
    until(g, &third.is_answered);
    assert_true(g->is_answered && second.is_answered);
    assert_int_equal(g->status, DC_OK);
    assert_int_equal(second.number, 1);
    assert_seen(g, "EVALSHA EVALSHA EVAL EVAL DEL ");
}

static void a_call_that_waits_to_be_sent_again_is_ended_with_the_others(void **state)
{
    struct rig *g = *state;
    struct dc_op *op = NULL;
    const struct fake_rule rules[] = {{"daarion:kv:lease:k", DC_S("-NOSCRIPT x\r\n"), 1},
                                      {"daarion:kv:lease:k", DC_S(""), 0}};
    fake_set_rules(g->fake, rules, DC_ARRAY_LEN(rules));
    g->is_answered = false;
    assert_int_equal(dc_kv_lease_acquire(g->kv, DC_S("k"), DC_S("v"), 1000, on_answer, g, &op),
                     DC_OK);
    dc_strbuf_clear(&g->fake->seen);
    while (g->fake->seen.len < strlen("EVALSHA EVAL ")) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    fake_hang_up(g->fake);
    until(g, &g->is_answered);
    assert_int_equal(g->status, DC_UNAVAILABLE);
    assert_string_equal(g->code, "outcome_unknown");
}

/* In place of the rig's own. */
static void open_impatient(struct rig *g)
{
    close_kv(g);
    g->deadline_ms = 100;
    open_kv(g);
}

static void a_deadline_without_a_word_ends_the_connection(void **state)
{
    struct rig *g = *state;
    const struct fake_rule rule = {"k", DC_S(""), 1};
    open_impatient(g);
    fake_set_rules(g->fake, &rule, 1);
    unsigned accepted = g->fake->n_accepted;
    assert_int_equal(call(g, GET), DC_TIMEOUT);
    assert_string_equal(g->code, "outcome_unknown");
    while (g->fake->n_accepted == accepted) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    assert_int_equal(call(g, SET), DC_OK);
    assert_int_equal(g->fake->n_accepted - accepted, 1);
}

static void a_late_answer_of_a_server_that_is_alive_is_passed_over(void **state)
{
    struct rig *g = *state;
    struct rig second = {.is_answered = false};
    const struct fake_rule rule = {"GET", DC_S(""), 2};
    open_impatient(g);
    fake_set_rules(g->fake, &rule, 1);
    unsigned accepted = g->fake->n_accepted, commands = g->fake->n_commands;
    assert_int_equal(try_call(g, GET), DC_OK);
    assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, &second, NULL), DC_OK);
    while (g->fake->n_commands < commands + 2) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    /* A millisecond later at least: an answer of the same one may be from before. */
    int64_t sent_ms = dc_loop_now(g->loop).ms;
    while (dc_loop_now(g->loop).ms == sent_ms) {
        dc_loop_update_time(g->loop);
    }
    fake_say(g->fake, DC_S("$1\r\na\r\n"));
    until(g, &g->is_answered);
    until(g, &second.is_answered);
    assert_int_equal(g->status, DC_OK);
    assert_int_equal(second.status, DC_TIMEOUT);
    fake_say(g->fake, DC_S("$1\r\nb\r\n"));
    assert_int_equal(call(g, SET), DC_OK); /* not taken for its answer */
    assert_int_equal(g->fake->n_accepted, accepted);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_rig, drop_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_verb_takes_its_own_answers_and_no_others),
        TEST(refusals_are_told_as_the_table_says_and_later_calls_work),
        TEST(a_script_that_is_never_known_is_not_sent_for_ever),
        TEST(what_follows_a_forgotten_script_waits_for_its_turn),
        TEST(a_call_that_waits_to_be_sent_again_is_ended_with_the_others),
        TEST(a_deadline_without_a_word_ends_the_connection),
        TEST(a_late_answer_of_a_server_that_is_alive_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
