/* What only a server can do to the key-value port: refuse, hang, die, come back, forget.  Needs
 * script/with-redis; without it the cases are skipped (77), except where CI is true. */
#include "base/mem.h"
#include "kv_fixture.h"
#include <string.h>

static int make_rig(void **state)
{
    admin("FLUSHALL");
    *state = rig_create();
    ((struct rig *)*state)->opts.url = getenv("TEST_REDIS_URL");
    ((struct rig *)*state)->opts.tls_ca_file = getenv("TEST_REDIS_CA");
    return 0;
}

static int drop_rig(void **state)
{
    rig_destroy(*state);
    return 0;
}

/* TEST_REDIS_URL with other parts; NULL: as it is, "": without. */
static char *url_with(const char *login, const char *db)
{
    const char *all = getenv("TEST_REDIS_URL"), *url = strstr(all, "://") + strlen("://");
    const char *at = strrchr(url, '@'), *slash = strrchr(url, '/');
    char *out = dc_alloc(512);
    assert_true(at != NULL && slash > at);
    int len = snprintf(out, 512, "%.*s%.*s%s%.*s/%s", (int)(url - all), all,
                       login == NULL ? (int)(at - url) : (int)strlen(login),
                       login == NULL ? url : login, login != NULL && login[0] == '\0' ? "" : "@",
                       (int)(slash - at - 1), at + 1, db == NULL ? "0" : db);
    assert_true(len > 0 && len < 512);
    return out;
}

static bool is_degraded(const struct rig *g)
{
    return dc_health_overall(g->health) == DC_HEALTH_DEGRADED;
}

static void until_degraded(struct rig *g)
{
    while (!is_degraded(g)) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
}

/* The server has got what was sent when it has been written; nothing has to be answered. */
static void turns(struct rig *g, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_NOWAIT);
    }
}

/* As control(), and sets the loop's clock, which stands still meanwhile. */
static void server(struct rig *g, const char *action)
{
    control(action);
    dc_loop_update_time(g->loop);
}

/* --- refused at the door --- */

static void expect_config(struct rig *g, const char *url, const char *reason)
{
    char text[2048];

    g->opts.url = url;
    rig_open_any(g);
    rig_until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_non_null(strstr(dc_error_text(&g->ready), "REDIS_URL"));
    assert_non_null(strstr(dc_error_text(&g->ready), reason));
    assert_true(is_degraded(g));
    assert_int_equal(try_set(g, "k", "v"), DC_UNAVAILABLE);
    rig_log(g, text, sizeof(text));
    assert_non_null(strstr(text, "kv.connect_failed"));
    assert_non_null(strstr(text, "REDIS_URL"));
    assert_non_null(strstr(text, reason));
    assert_null(strstr(text, "hunter2"));
    assert_null(strstr(dc_error_text(&g->ready), "hunter2"));
}

static void a_wrong_password_is_a_configuration_error(void **state)
{
    char *url = url_with("default:hunter2", NULL);
    expect_config(*state, url, "refuses the user or the password");
    dc_free(url);
}

static void an_unknown_user_is_a_configuration_error(void **state)
{
    char *url = url_with("nobody:hunter2", NULL);
    expect_config(*state, url, "refuses the user or the password");
    dc_free(url);
}

static void a_missing_password_is_a_configuration_error(void **state)
{
    char *url = url_with("", NULL);
    expect_config(*state, url, "wants a password");
    dc_free(url);
}

static void an_unknown_database_is_a_configuration_error(void **state)
{
    char *url = url_with(NULL, "4321");
    expect_config(*state, url, "no database 4321");
    dc_free(url);
}

static void a_password_may_come_apart_from_the_url_and_the_database_is_used(void **state)
{
    struct rig *g = *state;
    char *url = url_with("", "3"), password[64];
    const char *colon = strrchr(getenv("TEST_REDIS_URL"), ':'), *start = colon;
    while (start[-1] != ':') {
        start--; /* from the port back to the password */
    }
    snprintf(password, sizeof(password), "%.*s", (int)strcspn(start, "@"), start);
    g->opts.url = url;
    g->opts.password = password;
    rig_open(g);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    redisContext *c = admin_connect(admin_url());
    redisReply *r = admin_ask(c, "EXISTS k");
    assert_int_equal(r->integer, 0);
    freeReplyObject(r);
    freeReplyObject(admin_ask(c, "SELECT 3"));
    r = admin_ask(c, "GET k");
    assert_string_equal(r->str, "v");
    freeReplyObject(r);
    redisFree(c);
    dc_free(url);
}

static void a_login_that_is_put_right_later_is_used_without_a_restart(void **state)
{
    struct rig *g = *state;
    char *url = url_with("later:hunter2", NULL);
    expect_config(g, url, "refuses the user or the password");
    admin("ACL SETUSER later on >hunter2 ~* &* +@all");
    until_it_works(g);
    admin("ACL DELUSER later");
    dc_free(url);
}

static void a_right_that_is_missing_is_told_as_configuration(void **state)
{
    struct rig *g = *state;
    char *url = url_with("reader:hunter2", NULL), text[2048];

    admin("ACL SETUSER reader on >hunter2 ~* &* +get +ping");
    g->opts.url = url;
    rig_open(g); /* without the right to load scripts */
    assert_null(get(g, "k"));
    assert_int_equal(set(g, "k", "v", 0), DC_CONFIG);
    assert_string_equal(g->code, "refused");
    assert_true(is_degraded(g));
    assert_int_equal(acquire(g, "l", "h", 1000), DC_CONFIG);
    admin("ACL SETUSER reader +set +eval +evalsha +time +pexpire +zadd");
    assert_int_equal(acquire(g, "l", "h", 1000), DC_OK); /* with the whole script */
    assert_true(is_degraded(g));                         /* that was another right */
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    assert_int_equal(dc_health_overall(g->health), DC_HEALTH_OK);
    assert_int_equal(add(g, "s", "m", 1000), DC_OK);
    rig_log(g, text, sizeof(text));
    assert_non_null(strstr(text, "kv.refused"));
    assert_non_null(strstr(text, "NOPERM"));
    admin("ACL DELUSER reader");
    dc_free(url);
}

/* Those that docs/decisions/0007-redis-client.md asks for. */
static void a_user_needs_no_more_rights_than_are_documented(void **state)
{
    struct rig *g = *state;
    char *url = url_with("city:hunter2", "1");

    admin("ACL SETUSER city on >hunter2 ~presence:* ~daarion:kv:* +ping +select +role +script|load "
          "+get +set +del +eval +evalsha +time +pexpire +zadd +zrem +zrangebyscore "
          "+zremrangebyrank");
    g->opts.url = url;
    rig_open(g);
    assert_int_equal(set(g, "presence:user:u", "online", 40000), DC_OK);
    assert_string_equal(get(g, "presence:user:u"), "online");
    assert_int_equal(delete_key(g, "presence:user:u"), 1);
    assert_int_equal(acquire(g, "l", "h", 1000), DC_OK);
    assert_int_equal(acquire(g, "l", "h", 1000), DC_OK);
    assert_int_equal(release(g, "l", "h"), DC_OK);
    assert_int_equal(add(g, "s", "m", 0), DC_OK);
    assert_int_equal(add(g, "s", "n", 0), DC_OK);
    enum dc_status st =
        CALL(g, dc_kv_expiry_remove(g->kv, DC_S("s"), DC_S("m"), on_answer, g, NULL));
    assert_int_equal(st, DC_OK);
    assert_string_equal(take(g, "s", 10), "n ");
    redisContext *c = admin_connect(admin_url());
    redisReply *r = admin_ask(c, "ACL LOG");
    for (size_t i = 0; i < r->elements; i++) {
        for (size_t k = 0; k + 1 < r->element[i]->elements; k += 2) {
            const char *name = r->element[i]->element[k]->str;
            const char *value = r->element[i]->element[k + 1]->str;
            assert_false(strcmp(name, "username") == 0 && strcmp(value, "city") == 0);
        }
    }
    freeReplyObject(r);
    redisFree(c);
    admin("ACL DELUSER city");
    dc_free(url);
}

/* --- dying and coming back --- */

static void a_server_that_dies_and_comes_back_is_used_again(void **state)
{
    struct rig *g = *state;
    char text[4096];

    rig_open(g);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    server(g, "pause");
    for (int i = 0; i < 10; i++) {
        assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
        g->waiting++;
    }
    turns(g, 3);
    assert_int_equal(g->waiting, 10);
    server(g, "stop");
    assert_int_equal(wait_all(g), DC_UNAVAILABLE);
    assert_string_equal(g->code, "outcome_unknown");
    assert_true(is_degraded(g));
    assert_int_equal(try_set(g, "k", "v"), DC_UNAVAILABLE); /* at once */
    server(g, "start");
    until_it_works(g);
    assert_null(get(g, "k")); /* nothing was kept */
    assert_int_equal(rig_metric(g, "daarion_kv_connects_total"), 2);
    assert_int_equal(rig_metric(g, "daarion_kv_losses_total"), 1);
    assert_int_equal(rig_metric(g, "daarion_kv_connected"), 1);
    rig_log(g, text, sizeof(text));
    assert_non_null(strstr(text, "kv.connection_lost"));
}

static void calls_made_before_the_first_connection_are_answered(void **state)
{
    struct rig *g = *state;
    /* There is a server: they wait for it. */
    rig_open_any(g);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    rig_close(g);
    /* There is none: they fail with the first attempt, and the next ones at once. */
    server(g, "stop");
    rig_open_any(g);
    assert_int_equal(set(g, "k", "v", 0), DC_UNAVAILABLE);
    assert_string_equal(g->code, "unavailable"); /* certainly without effect */
    assert_int_equal(try_set(g, "k", "v"), DC_UNAVAILABLE);
    assert_true(is_degraded(g));
    assert_false(g->is_ready);
    server(g, "start");
    rig_until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_OK);
    assert_null(get(g, "k"));
}

static void a_name_that_does_not_exist_is_tried_for_ever(void **state)
{
    struct rig *g = *state;
    g->opts.url = "redis://no-such-host.invalid";
    g->opts.tls_ca_file = NULL;
    rig_open_any(g);
    assert_int_equal(set(g, "k", "v", 0), DC_UNAVAILABLE);
    assert_true(is_degraded(g));
    assert_false(g->is_ready);
}

static void a_killed_connection_is_made_again(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    for (int i = 0; i < 3; i++) {
        admin("CLIENT KILL TYPE normal SKIPME yes");
        until_degraded(g);
        until_it_works(g);
    }
    assert_int_equal(rig_metric(g, "daarion_kv_losses_total"), 3);
}

static void a_lease_that_was_lost_goes_to_another_with_a_greater_token(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    assert_int_equal(acquire(g, "leader", "a", 3600000), DC_OK);
    int64_t token = g->number;
    assert_int_equal(acquire(g, "leader", "b", 3600000), DC_CONFLICT);
    server(g, "flush");
    assert_int_equal(acquire(g, "leader", "b", 3600000), DC_OK);
    assert_true(g->number > token);
    token = g->number;
    assert_int_equal(acquire(g, "leader", "a", 3600000), DC_CONFLICT);
    assert_int_equal(release(g, "leader", "a"), DC_CONFLICT);
    server(g, "restart");
    until_degraded(g);
    until_it_works(g);
    assert_int_equal(acquire(g, "leader", "a", 3600000), DC_OK);
    assert_true(g->number > token);
}

static void tokens_never_go_back_when_the_counter_is_ahead_or_spoilt(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    admin("SET daarion:kv:token 9000000000000"); /* far ahead of the clock */
    assert_int_equal(acquire(g, "l", "a", 3600000), DC_OK);
    assert_int_equal(g->number, 9000000000001);
    admin("SET daarion:kv:token rubbish");
    assert_int_equal(acquire(g, "l2", "a", 3600000), DC_OK);
    assert_true(g->number > 1700000000000);
    admin("SET daarion:kv:lease:l3 rubbish"); /* nobody's */
    assert_int_equal(acquire(g, "l3", "a", 3600000), DC_CONFLICT);
    assert_int_equal(release(g, "l3", "a"), DC_CONFLICT);
}

/* --- hanging --- */

static void a_server_that_hangs_costs_the_deadline_and_then_nothing(void **state)
{
    struct rig *g = *state;
    char text[4096];

    g->opts.deadline_ms = 200;
    rig_open(g);
    server(g, "pause");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(dc_kv_set(g->kv, DC_S("k"), DC_S("v"), 0, on_answer, g, NULL), DC_OK);
        g->waiting++;
    }
    uint64_t start_us = dc_mono_now_us();
    assert_int_equal(wait_all(g), DC_TIMEOUT);
    assert_string_equal(g->code, "outcome_unknown");
    assert_true(dc_mono_now_us() - start_us >= 199 * 1000);
    until_degraded(g);
    assert_int_equal(try_set(g, "k", "v"), DC_UNAVAILABLE); /* at once */
    rig_log(g, text, sizeof(text));
    assert_non_null(strstr(text, "the server does not answer"));
    server(g, "resume");
    until_it_works(g);
}

static void a_canceled_call_ends_at_once_although_the_server_hangs(void **state)
{
    struct rig *g = *state;
    struct dc_op *op = NULL;

    rig_open(g);
    assert_int_equal(set(g, "k", "old", 0), DC_OK);
    server(g, "pause");
    assert_int_equal(dc_kv_set(g->kv, DC_S("k"), DC_S("new"), 0, on_answer, g, &op), DC_OK);
    g->waiting++;
    turns(g, 3);
    dc_op_cancel(op);
    dc_op_cancel(op);
    assert_int_equal(g->waiting, 1); /* never inside */
    assert_int_equal(wait_all(g), DC_CANCELED);
    assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
    g->waiting++;
    server(g, "resume");
    assert_int_equal(wait_all(g), DC_OK); /* each has its own answer */
    assert_string_equal(g->value, "new"); /* it had been sent */
}

static void closing_waits_for_nobody(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    server(g, "pause");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
        g->waiting++;
        turns(g, 1);
    }
    rig_close(g);
    assert_int_equal(g->status, DC_CANCELED);
    /* Neither while a connection is being made that nobody answers. */
    rig_open_any(g);
    assert_int_equal(dc_kv_get(g->kv, DC_S("k"), on_answer, g, NULL), DC_OK);
    g->waiting++;
    turns(g, 20);
    assert_int_equal(g->waiting, 1);
    rig_close(g);
    assert_int_equal(g->status, DC_CANCELED);
    assert_false(g->is_ready);
    /* Nor between the open and its first turn. */
    rig_open_any(g);
    rig_close(g);
    server(g, "resume");
}

/* --- refusing and forgetting --- */

static void scripts_that_the_server_forgot_are_sent_again(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    assert_int_equal(acquire(g, "l", "a", 3600000), DC_OK);
    admin("SCRIPT FLUSH");
    assert_int_equal(acquire(g, "l", "a", 3600000), DC_OK);
    admin("SCRIPT FLUSH");
    /* A whole pipeline of them keeps its order. */
    for (int i = 0; i < 50; i++) {
        assert_int_equal(dc_kv_lease_release(g->kv, DC_S("l"), DC_S("a"), on_answer, g, NULL),
                         DC_OK);
        assert_int_equal(
            dc_kv_lease_acquire(g->kv, DC_S("l"), DC_S("a"), 3600000, on_answer, g, NULL), DC_OK);
        assert_int_equal(dc_kv_expiry_add(g->kv, DC_S("s"), DC_S("m"), 0, on_answer, g, NULL),
                         DC_OK);
        assert_int_equal(dc_kv_expiry_take_due(g->kv, DC_S("s"), 10, on_due, g, NULL), DC_OK);
        g->waiting += 4;
    }
    assert_int_equal(wait_all(g), DC_OK);
    assert_int_equal(rig_metric(g, "daarion_kv_failed_total"), 0);
    assert_int_equal(rig_metric(g, "daarion_kv_losses_total"), 0);
}

static void a_full_server_refuses_writes_and_still_reads(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    admin("CONFIG SET maxmemory 1");
    assert_int_equal(set(g, "k", "w", 0), DC_LIMIT);
    assert_string_equal(g->code, "store_full");
    assert_int_equal(acquire(g, "l", "a", 1000), DC_LIMIT);
    assert_int_equal(add(g, "s", "m", 1000), DC_LIMIT);
    assert_string_equal(get(g, "k"), "v");
    assert_true(is_degraded(g));
    admin("CONFIG SET maxmemory 0");
    assert_int_equal(set(g, "k", "w", 0), DC_OK);
    assert_int_equal(dc_health_overall(g->health), DC_HEALTH_OK);
    assert_int_equal(rig_metric(g, "daarion_kv_losses_total"), 0);
}

static void a_server_that_became_a_replica_is_left_until_it_is_master_again(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    admin("CONFIG SET replica-serve-stale-data yes");
    admin("REPLICAOF 127.0.0.1 1");
    assert_int_equal(try_set(g, "k", "v"), DC_UNAVAILABLE);
    until_degraded(g);
    admin("REPLICAOF NO ONE");
    until_it_works(g);
    assert_true(rig_metric(g, "daarion_kv_losses_total") >= 1);
}

static void a_script_of_somebody_else_that_runs_too_long_is_unavailable(void **state)
{
    struct rig *g = *state;
    redisContext *c = admin_connect(admin_url());
    int is_done = 0;

    rig_open(g);
    admin("CONFIG SET busy-reply-threshold 20");
    assert_int_equal(redisAppendCommand(c, "EVAL %s 0", "while true do end"), REDIS_OK);
    while (is_done == 0) {
        assert_int_equal(redisBufferWrite(c, &is_done), REDIS_OK);
    }
    enum dc_status st = try_set(g, "k", "v");
    while (st == DC_OK) {
        st = try_set(g, "k", "v"); /* it had not begun */
    }
    assert_int_equal(st, DC_UNAVAILABLE);
    admin("SCRIPT KILL");
    until_it_works(g);
    assert_int_equal(rig_metric(g, "daarion_kv_losses_total"), 0);
    redisFree(c);
}

static void what_others_keep_under_our_keys_is_no_answer(void **state)
{
    struct rig *g = *state;
    static char big[DC_KV_VALUE_MAX_BYTES + 2];

    rig_open(g);
    memset(big, 'x', sizeof(big) - 1);
    admin("SET big %s", big);
    enum dc_status st = CALL(g, dc_kv_get(g->kv, DC_S("big"), on_answer, g, NULL));
    assert_int_equal(st, DC_TOO_LARGE);
    admin("RPUSH list 1");
    st = CALL(g, dc_kv_get(g->kv, DC_S("list"), on_answer, g, NULL));
    assert_int_equal(st, DC_INTERNAL);
    admin("SET daarion:kv:due:s 1");
    assert_int_equal(add(g, "s", "m", 0), DC_INTERNAL);
    st = CALL(g, dc_kv_expiry_take_due(g->kv, DC_S("s"), 1, on_due, g, NULL));
    assert_int_equal(st, DC_INTERNAL);
    admin("RPUSH daarion:kv:lease:l 1");
    assert_int_equal(acquire(g, "l", "a", 1000), DC_INTERNAL);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    assert_int_equal(rig_metric(g, "daarion_kv_losses_total"), 0);
    assert_int_equal(rig_metric(g, "daarion_kv_failed_total"), 5);
}

/* --- sharing, cost --- */

static void processes_share_leases_and_members(void **state)
{
    struct rig *g = *state, *other = rig_create();
    other->opts.url = g->opts.url;
    other->opts.tls_ca_file = g->opts.tls_ca_file;
    rig_open(g);
    rig_open(other);
    assert_int_equal(acquire(g, "l", "a", 3600000), DC_OK);
    int64_t token = g->number;
    assert_int_equal(acquire(other, "l", "b", 3600000), DC_CONFLICT);
    assert_int_equal(release(g, "l", "a"), DC_OK);
    assert_int_equal(acquire(other, "l", "b", 3600000), DC_OK);
    assert_true(other->number > token);
    assert_int_equal(add(g, "s", "m1", 0), DC_OK);
    assert_int_equal(add(other, "s", "m2", 0), DC_OK);
    assert_string_equal(take(g, "s", 1), "m1 ");
    assert_string_equal(take(other, "s", 10), "m2 ");
    assert_string_equal(take(g, "s", 10), "");
    rig_destroy(other);
}

static long long server_info(const char *field)
{
    redisContext *c = admin_connect(admin_url());
    redisReply *r = admin_ask(c, "INFO stats");
    const char *at = strstr(r->str, field);
    assert_non_null(at);
    long long n = strtoll(at + strlen(field) + 1, NULL, 10);
    freeReplyObject(r);
    redisFree(c);
    return n;
}

static void calls_of_a_turn_are_one_write(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    /* What asking costs by itself: connecting, logging in. */
    long long before = server_info("total_reads_processed");
    long long cost = server_info("total_reads_processed") - before;
    before = server_info("total_reads_processed");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(dc_kv_set(g->kv, DC_S("k"), DC_S("v"), 1000, on_answer, g, NULL), DC_OK);
        g->waiting++;
    }
    assert_int_equal(wait_all(g), DC_OK);
    assert_int_equal(server_info("total_reads_processed") - before, cost + 1);
}

static void far_times_are_possible(void **state)
{
    struct rig *g = *state;
    rig_open(g);
    assert_int_equal(set(g, "k", "v", UINT64_MAX), DC_OK);
    assert_string_equal(get(g, "k"), "v");
    assert_int_equal(acquire(g, "l", "a", UINT64_MAX), DC_OK);
    assert_int_equal(acquire(g, "l", "a", UINT64_MAX), DC_OK);
    assert_int_equal(add(g, "s", "m", UINT64_MAX), DC_OK);
    assert_string_equal(take(g, "s", 1), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_rig, drop_rig)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_wrong_password_is_a_configuration_error),
        TEST(an_unknown_user_is_a_configuration_error),
        TEST(a_missing_password_is_a_configuration_error),
        TEST(an_unknown_database_is_a_configuration_error),
        TEST(a_password_may_come_apart_from_the_url_and_the_database_is_used),
        TEST(a_login_that_is_put_right_later_is_used_without_a_restart),
        TEST(a_right_that_is_missing_is_told_as_configuration),
        TEST(a_user_needs_no_more_rights_than_are_documented),
        TEST(a_server_that_dies_and_comes_back_is_used_again),
        TEST(calls_made_before_the_first_connection_are_answered),
        TEST(a_name_that_does_not_exist_is_tried_for_ever),
        TEST(a_killed_connection_is_made_again),
        TEST(a_lease_that_was_lost_goes_to_another_with_a_greater_token),
        TEST(tokens_never_go_back_when_the_counter_is_ahead_or_spoilt),
        TEST(a_server_that_hangs_costs_the_deadline_and_then_nothing),
        TEST(a_canceled_call_ends_at_once_although_the_server_hangs),
        TEST(closing_waits_for_nobody),
        TEST(scripts_that_the_server_forgot_are_sent_again),
        TEST(a_full_server_refuses_writes_and_still_reads),
        TEST(a_server_that_became_a_replica_is_left_until_it_is_master_again),
        TEST(a_script_of_somebody_else_that_runs_too_long_is_unavailable),
        TEST(what_others_keep_under_our_keys_is_no_answer),
        TEST(processes_share_leases_and_members),
        TEST(calls_of_a_turn_are_one_write),
        TEST(far_times_are_possible),
    };
    kv_over_tls(&argc, argv);
    int rc = kv_need_server();

    return rc != 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
