/* Finding and greeting a server, with servers and sentinels that say what real ones seldom do. */
#include "base/mem.h"
#include "kv/kv.h"
#include "redis_fake.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define RULES(g, ...)                                                                              \
    do {                                                                                           \
        const struct fake_rule rules_[] = {__VA_ARGS__};                                           \
        fake_set_rules((g)->fake, rules_, DC_ARRAY_LEN(rules_));                                   \
    } while (0)

struct rig {
    struct dc_loop *loop;
    struct fake *fake;
    struct dc_kv *kv;
    struct dc_health *health;
    struct dc_metrics *metrics;
    struct dc_kv_opts opts;
    struct dc_log *log;
    int log_fd;
    char url[256];
    bool is_ready, is_closed, is_answered;
    struct dc_error ready;
    enum dc_status status;
};

static void on_ready(void *data, const struct dc_error *err)
{
    struct rig *g = data;
    assert_false(g->is_ready);
    g->is_ready = true;
    g->ready = *err;
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
    (void)number;
    (void)err;
    g->status = st;
    g->is_answered = true;
}

static void until(struct rig *g, const bool *flag)
{
    while (!*flag) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
}

static int make_rig(void **state)
{
    struct rig *g = dc_calloc(1, sizeof(*g));
    int fds[2];
    alarm(60);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(dc_loop_create(&g->loop, NULL), DC_OK);
    g->fake = fake_create(g->loop);
    g->health = dc_health_create();
    g->metrics = dc_metrics_create();
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    g->log_fd = fds[0];
    const struct dc_log_opts log_opts = {.level = DC_LOG_INFO, .is_json = false, .fd = fds[1]};
    g->log = dc_log_create(&log_opts);
    snprintf(g->url, sizeof(g->url), "redis://127.0.0.1:%u", g->fake->port);
    g->opts = (struct dc_kv_opts){.url = g->url,
                                  .deadline_ms = 10000,
                                  .log = g->log,
                                  .metrics = g->metrics,
                                  .health = dc_health_add(g->health, "kv", false)};
    *state = g;
    return 0;
}

static void close_kv(struct rig *g)
{
    if (g->kv != NULL) {
        g->is_closed = false;
        dc_kv_close(g->kv, on_closed, g);
        until(g, &g->is_closed);
        g->kv = NULL;
    }
}

static int drop_rig(void **state)
{
    struct rig *g = *state;
    close_kv(g);
    fake_destroy(g->fake);
    assert_int_equal(dc_loop_destroy(g->loop), DC_OK);
    dc_health_destroy(g->health);
    dc_metrics_destroy(g->metrics);
    dc_log_destroy(g->log);
    close(g->log_fd);
    dc_free(g);
    alarm(0);
    return 0;
}

static void open_kv(struct rig *g)
{
    struct dc_error err = {0};
    g->is_ready = false;
    dc_strbuf_clear(&g->fake->seen);
    assert_int_equal(dc_kv_open(g->loop, &g->opts, &g->kv, &err), DC_OK);
    dc_kv_on_ready(g->kv, on_ready, g);
}

/* Words of the commands that the server has seen. */
static void assert_seen(struct rig *g, const char *want)
{
    dc_strbuf_add_char(&g->fake->seen, '\0');
    assert_string_equal(g->fake->seen.ptr, want);
    g->fake->seen.len--;
}

static enum dc_status set(struct rig *g)
{
    g->is_answered = false;
    enum dc_status st = dc_kv_set(g->kv, DC_S("k"), DC_S("v"), 0, on_answer, g, NULL);
    if (st == DC_OK) {
        until(g, &g->is_answered);
        st = g->status;
    }
    return st;
}

static void the_greeting_is_as_short_as_the_url_allows(void **state)
{
    struct rig *g = *state;
    open_kv(g);
    until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_OK);
    assert_seen(g, "PING SCRIPT ");
    close_kv(g);
    snprintf(g->url, sizeof(g->url), "redis://u:p@127.0.0.1:%u/3", g->fake->port);
    open_kv(g);
    until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_OK);
    assert_seen(g, "AUTH SELECT PING SCRIPT ");
}

static void a_server_that_is_not_ready_yet_is_asked_again(void **state)
{
    struct rig *g = *state;
    static const char *const answers[] = {
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down\r\n",
        "-BUSY Redis is busy running a script\r\n",
        "-ERR max number of clients reached\r\n",
        "-ERR something new\r\n",
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(answers); i++) {
        RULES(g, {"PING", dc_slice_z(answers[i]), 2});
        unsigned accepted = g->fake->n_accepted;
        open_kv(g);
        assert_int_equal(set(g), DC_UNAVAILABLE);
        assert_false(g->is_ready);
        assert_int_equal(dc_health_overall(g->health), DC_HEALTH_DEGRADED);
        until(g, &g->is_ready);
        assert_int_equal(g->ready.status, DC_OK);
        assert_int_equal(g->fake->n_accepted - accepted, 3);
        assert_int_equal(set(g), DC_OK);
        assert_int_equal(dc_health_overall(g->health), DC_HEALTH_OK);
        close_kv(g);
    }
}

static void a_server_that_refuses_writes_is_good_enough(void **state)
{
    struct rig *g = *state;
    RULES(g, {"PING", DC_S("-MISCONF cannot save\r\n"), 0},
          {"SET", DC_S("-MISCONF cannot save\r\n"), 1});
    open_kv(g);
    until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_OK);
    assert_int_equal(set(g), DC_UNAVAILABLE);
    assert_int_equal(dc_health_overall(g->health), DC_HEALTH_DEGRADED);
    assert_int_equal(set(g), DC_OK);
    assert_int_equal(dc_health_overall(g->health), DC_HEALTH_OK);
}

static void expect_config(struct rig *g, const char *reason)
{
    char text[4096];
    open_kv(g);
    until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_non_null(strstr(g->ready.text, "REDIS_URL"));
    if (strstr(g->ready.text, reason) == NULL) {
        fail_msg("%s", g->ready.text);
    }
    close_kv(g);
    ssize_t len = read(g->log_fd, text, sizeof(text) - 1);
    assert_true(len > 0);
    text[len] = '\0';
    assert_non_null(strstr(text, reason));
    assert_null(strstr(text, "hunter2"));
    assert_null(strstr(g->ready.text, "hunter2"));
}

static void refusals_at_the_door_are_configuration_and_repeat_no_secret(void **state)
{
    struct rig *g = *state;
    snprintf(g->url, sizeof(g->url), "redis://u:hunter2@127.0.0.1:%u/3", g->fake->port);
    static const struct {
        const char *word, *answer, *reason;
    } rows[] = {
        {"AUTH", "-WRONGPASS invalid username-password pair\r\n", "the user or the password"},
        {"AUTH", "-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n",
         "the user or the password"},
        {"AUTH", "-ERR AUTH <password> called without any password configured\r\n", "wants none"},
        {"SELECT", "-ERR DB index is out of range\r\n", "no database 3"},
        {"SELECT", "-NOPERM no permission\r\n", "does not allow"},
        {"SELECT", "-NOAUTH Authentication required.\r\n", "wants a password"},
        {"PING", "-NOAUTH Authentication required.\r\n", "wants a password"},
        {"PING", "-ERR operation not permitted\r\n", "wants a password"},
        {"PING", "-NOPERM no permission\r\n", "does not allow"},
        {"PING", "-MOVED 1 127.0.0.1:1\r\n", "cluster"},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        RULES(g, {rows[i].word, dc_slice_z(rows[i].answer), 0});
        expect_config(g, rows[i].reason);
    }
}

static void scripts_that_may_not_be_loaded_are_sent_as_a_whole(void **state)
{
    struct rig *g = *state;
    RULES(g, {"SCRIPT", DC_S("-NOPERM no permission\r\n"), 0}, {"EVAL", DC_S(":5\r\n"), 0});
    open_kv(g);
    until(g, &g->is_ready);
    dc_strbuf_clear(&g->fake->seen);
    assert_int_equal(dc_kv_lease_acquire(g->kv, DC_S("l"), DC_S("h"), 1000, on_answer, g, NULL),
                     DC_OK);
    until(g, &g->is_answered);
    assert_int_equal(g->status, DC_OK);
    assert_seen(g, "EVAL ");
}

static void answers_that_do_not_fit_the_greeting_end_the_attempt(void **state)
{
    struct rig *g = *state;
    snprintf(g->url, sizeof(g->url), "redis://u:p@127.0.0.1:%u/3", g->fake->port);
    static const char *const words[] = {"AUTH", "SELECT", "PING", "SCRIPT"};
    static const char *const answers[] = {":1\r\n", "$-1\r\n", "*0\r\n", "$3\r\nabc\r\n",
                                          "*-1\r\n"};

    for (size_t i = 0; i < DC_ARRAY_LEN(words); i++) {
        for (size_t k = 0; k < DC_ARRAY_LEN(answers); k++) {
            RULES(g, {words[i], dc_slice_z(answers[k]), 1});
            unsigned accepted = g->fake->n_accepted;
            open_kv(g);
            until(g, &g->is_ready);
            assert_int_equal(g->ready.status, DC_OK);
            assert_int_equal(g->fake->n_accepted - accepted, 2);
            close_kv(g);
        }
    }
}

static void a_server_that_says_nothing_is_given_up(void **state)
{
    struct rig *g = *state;
    g->opts.deadline_ms = 50;
    g->fake->is_deaf = true;
    open_kv(g);
    enum dc_status st = set(g);
    assert_true(st == DC_UNAVAILABLE || st == DC_TIMEOUT);
    while (g->fake->n_accepted < 2) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    assert_int_equal(set(g), DC_UNAVAILABLE);
    assert_false(g->is_ready);
    g->fake->is_deaf = false;
    until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_OK);
}

static void a_server_that_accepts_and_hangs_up_does_not_make_us_spin(void **state)
{
    struct rig *g = *state;
    unsigned turns = 0;
    open_kv(g);
    until(g, &g->is_ready);
    while (g->fake->n_accepted < 8) {
        fake_hang_up(g->fake);
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
        turns++;
    }
    /* Some ten events an attempt, and pauses in which the loop sleeps. */
    assert_in_range(turns, 1, 1000);
}

/* --- sentinels: the fake is the sentinel and the server at once --- */

static void use_sentinels(struct rig *g, const char *more)
{
    snprintf(g->url, sizeof(g->url), "redis+sentinel://:hunter2@127.0.0.1:%u%s", g->fake->port,
             more);
}

static struct dc_slice address_of(const struct fake *f, char *out, size_t size)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", f->port);
    int len = snprintf(out, size, "*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n", strlen(port), port);
    return dc_slice_make(out, (size_t)len);
}

static void the_master_that_a_sentinel_names_is_used_when_it_is_one(void **state)
{
    struct rig *g = *state;
    char address[64];
    use_sentinels(g, "/main?db=2&sentinel_password=s");
    RULES(g, {"SENTINEL", address_of(g->fake, address, sizeof(address)), 0},
          {"ROLE", DC_S("*2\r\n$5\r\nslave\r\n$1\r\nx\r\n"), 1});
    open_kv(g);
    until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_OK);
    assert_seen(g, "AUTH SENTINEL AUTH SELECT ROLE PING SCRIPT "
                   "AUTH SENTINEL AUTH SELECT ROLE PING SCRIPT ");
    assert_int_equal(set(g), DC_OK);
    /* It turns into a replica: the sentinels are asked again. */
    dc_strbuf_clear(&g->fake->seen);
    RULES(g, {"SET", DC_S("-READONLY You can't write against a read only replica.\r\n"), 1},
          {"SENTINEL", address_of(g->fake, address, sizeof(address)), 0});
    assert_int_equal(set(g), DC_UNAVAILABLE);
    while (set(g) != DC_OK) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    assert_seen(g, "SET AUTH SENTINEL AUTH SELECT ROLE PING SCRIPT SET ");
}

static void a_user_without_the_right_to_ask_for_the_role_is_let_in(void **state)
{
    struct rig *g = *state;
    char address[64];
    use_sentinels(g, "/main");
    RULES(g, {"SENTINEL", address_of(g->fake, address, sizeof(address)), 0},
          {"ROLE", DC_S("-NOPERM no permission\r\n"), 0});
    open_kv(g);
    until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_OK);
}

static void sentinels_that_fail_are_passed_over(void **state)
{
    struct rig *g = *state;
    char address[64], more[64];
    struct fake *bad = fake_create(g->loop);
    const struct fake_rule nonsense[] = {{"SENTINEL", DC_S("$3\r\nabc\r\n"), 0}};
    fake_set_rules(bad, nonsense, 1);
    snprintf(g->url, sizeof(g->url),
             "redis+sentinel://no-such-host.invalid,127.0.0.1:%u,127.0.0.1:%u/main", bad->port,
             g->fake->port);
    RULES(g, {"SENTINEL", address_of(g->fake, address, sizeof(address)), 0});
    open_kv(g);
    until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_OK);
    assert_int_equal(bad->n_accepted, 1);
    close_kv(g);
    /* One that knows nothing is not enough for a verdict, when others cannot be asked. */
    snprintf(more, sizeof(more), ",no-such-host.invalid/main");
    use_sentinels(g, more);
    RULES(g, {"SENTINEL", DC_S("*-1\r\n"), 0});
    open_kv(g);
    assert_int_equal(set(g), DC_UNAVAILABLE);
    assert_false(g->is_ready);
    close_kv(g);
    fake_destroy(bad);
}

static void sentinels_that_know_no_such_name_are_a_configuration_error(void **state)
{
    struct rig *g = *state;
    char more[64];
    static const struct {
        const char *answer, *reason;
    } rows[] = {
        {"*-1\r\n", "no master of the name"},
        {"$-1\r\n", "no master of the name"},
        {"-NOAUTH Authentication required.\r\n", "sentinel_password"},
        {"-ERR unknown command 'SENTINEL', with args beginning with: 'hunter2'\r\n",
         "not a sentinel"},
    };

    snprintf(more, sizeof(more), ",127.0.0.1:%u/main", g->fake->port);
    use_sentinels(g, more);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        RULES(g, {"SENTINEL", dc_slice_z(rows[i].answer), 0});
        expect_config(g, rows[i].reason);
    }
}

static void addresses_that_are_none_are_not_used(void **state)
{
    struct rig *g = *state;
    char address[64];
    static const struct dc_slice rows[] = {
        {"+OK\r\n", 5},
        {":1\r\n", 4},
        {"*0\r\n", 4},
        {"*2\r\n:1\r\n:2\r\n", 12},
        {"*2\r\n$0\r\n\r\n$1\r\n1\r\n", 17},
        {"*2\r\n$1\r\na\r\n$1\r\n0\r\n", 18},
        {"*2\r\n$1\r\na\r\n$5\r\n65536\r\n", 22},
        {"*2\r\n$1\r\na\r\n$2\r\n-1\r\n", 19},
        {"*2\r\n$3\r\na\0b\r\n$1\r\n1\r\n", 20},
        {"*3\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\n1\r\n", 25},
        {"-LOADING\r\n", 10},
    };

    use_sentinels(g, "/main");
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        RULES(g, {"SENTINEL", rows[i], 1},
              {"SENTINEL", address_of(g->fake, address, sizeof(address)), 0});
        unsigned accepted = g->fake->n_accepted;
        open_kv(g);
        until(g, &g->is_ready);
        assert_int_equal(g->ready.status, DC_OK);
        assert_int_equal(g->fake->n_accepted - accepted, 3);
        close_kv(g);
    }
}

static void roles_that_are_none_are_not_used(void **state)
{
    struct rig *g = *state;
    char address[64];
    static const char *const rows[] = {"+master\r\n", "*0\r\n", "*1\r\n:1\r\n", "*-1\r\n",
                                       "*1\r\n$8\r\nsentinel\r\n"};

    use_sentinels(g, "/main");
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        RULES(g, {"ROLE", dc_slice_z(rows[i]), 1},
              {"SENTINEL", address_of(g->fake, address, sizeof(address)), 0});
        unsigned accepted = g->fake->n_accepted;
        open_kv(g);
        until(g, &g->is_ready);
        assert_int_equal(g->ready.status, DC_OK);
        assert_int_equal(g->fake->n_accepted - accepted, 4);
        close_kv(g);
    }
}

static void closing_is_possible_at_every_step(void **state)
{
    struct rig *g = *state;
    char address[64];
    use_sentinels(g, "/main");
    RULES(g, {"SENTINEL", address_of(g->fake, address, sizeof(address)), 0});
    for (unsigned turns = 0; turns < 40; turns++) {
        open_kv(g);
        g->is_answered = false;
        assert_int_equal(dc_kv_set(g->kv, DC_S("k"), DC_S("v"), 0, on_answer, g, NULL), DC_OK);
        for (unsigned i = 0; i < turns; i++) {
            uv_run(dc_loop_uv(g->loop), UV_RUN_NOWAIT);
        }
        close_kv(g);
        assert_true(g->is_answered);
        assert_true(g->status == DC_CANCELED || g->status == DC_OK);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_rig, drop_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_greeting_is_as_short_as_the_url_allows),
        TEST(a_server_that_is_not_ready_yet_is_asked_again),
        TEST(a_server_that_refuses_writes_is_good_enough),
        TEST(refusals_at_the_door_are_configuration_and_repeat_no_secret),
        TEST(scripts_that_may_not_be_loaded_are_sent_as_a_whole),
        TEST(answers_that_do_not_fit_the_greeting_end_the_attempt),
        TEST(a_server_that_says_nothing_is_given_up),
        TEST(a_server_that_accepts_and_hangs_up_does_not_make_us_spin),
        TEST(the_master_that_a_sentinel_names_is_used_when_it_is_one),
        TEST(a_user_without_the_right_to_ask_for_the_role_is_let_in),
        TEST(sentinels_that_fail_are_passed_over),
        TEST(sentinels_that_know_no_such_name_are_a_configuration_error),
        TEST(addresses_that_are_none_are_not_used),
        TEST(roles_that_are_none_are_not_used),
        TEST(closing_is_possible_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
