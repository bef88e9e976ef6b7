/* The two backends against each other: the same random calls must get the same answers.  Calls of a
 * round are one pipeline; times are either over at once or far away, so that no clock decides.
 * Tokens are compared by what they promise: the same while a holder renews, greater with every new
 * one.
 *
 * Needs script/with-redis; without it the case is skipped (77), except where CI is true.
 *   KV_RANDOM_SEED    another sequence (printed when it fails)
 *   KV_RANDOM_ROUNDS  more of it */
#include "base/mem.h"
#include "kv_fixture.h"
#include <string.h>

#define ROUNDS    400
#define CALLS_MAX 24
#define FAR_MS    3600000

/* xorshift64* */
static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * UINT64_C(2685821657736338717) >> 33) % below;
}

struct outcome {
    struct rig *rig;
    enum dc_status status;
    bool has_value;
    char value[32];
    int64_t number;
    char members[512];
};

static void on_outcome(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                       const struct dc_error *err)
{
    struct outcome *o = data;
    assert_int_equal(st != DC_OK, err != NULL);
    o->status = st;
    o->has_value = value.ptr != NULL;
    snprintf(o->value, sizeof(o->value), "%.*s", DC_SLICE_ARG(value));
    o->number = number;
    o->rig->waiting--;
}

static void on_members(void *data, enum dc_status st, const struct dc_slice *members, size_t n,
                       const struct dc_error *err)
{
    struct outcome *o = data;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(o->members);
        snprintf(o->members + len, sizeof(o->members) - len, "%.*s ", DC_SLICE_ARG(members[i]));
    }
    on_outcome(o, st, DC_SLICE_NULL, (int64_t)n, err);
}

struct step {
    unsigned verb;
    char key[16], value[16];
    uint64_t ttl_ms;
    size_t max;
};

static void make_step(uint64_t *seed, struct step *s)
{
    s->verb = (unsigned)draw(seed, 8);
    snprintf(s->key, sizeof(s->key), "k%u", (unsigned)draw(seed, 4));
    snprintf(s->value, sizeof(s->value), "v%u", (unsigned)draw(seed, 6));
    s->ttl_ms = draw(seed, 2) == 0 ? 0 : FAR_MS;
    s->max = draw(seed, 5);
}

static void describe(const struct step *s, const struct outcome *o, char *out, size_t size)
{
    static const char *const verbs[] = {"set",     "get", "delete", "acquire",
                                        "release", "add", "remove", "take"};
    snprintf(out, size, "%s %s %s %llu %zu -> %s %s '%s' %lld '%s'", verbs[s->verb], s->key,
             s->value, (unsigned long long)s->ttl_ms, s->max, dc_status_code(o->status),
             o->has_value ? "value" : "-", o->value, (long long)o->number, o->members);
}

static void do_step(struct rig *g, const struct step *s, struct outcome *o)
{
    struct dc_slice key = dc_slice_z(s->key), value = dc_slice_z(s->value);
    enum dc_status st = DC_INTERNAL;

    *o = (struct outcome){.rig = g};
    switch (s->verb) {
    case 0:
        st = dc_kv_set(g->kv, key, value, s->ttl_ms, on_outcome, o, NULL);
        break;
    case 1:
        st = dc_kv_get(g->kv, key, on_outcome, o, NULL);
        break;
    case 2:
        st = dc_kv_delete(g->kv, key, on_outcome, o, NULL);
        break;
    case 3:
        st = dc_kv_lease_acquire(g->kv, key, value, FAR_MS, on_outcome, o, NULL);
        break;
    case 4:
        st = dc_kv_lease_release(g->kv, key, value, on_outcome, o, NULL);
        break;
    case 5:
        st = dc_kv_expiry_add(g->kv, key, value, s->ttl_ms, on_outcome, o, NULL);
        break;
    case 6:
        st = dc_kv_expiry_remove(g->kv, key, value, on_outcome, o, NULL);
        break;
    case 7:
        st = dc_kv_expiry_take_due(g->kv, key, s->max, on_members, o, NULL);
        break;
    default:
        fail();
    }
    assert_int_equal(st, DC_OK);
    g->waiting++;
}

/* What each backend has said of tokens. */
struct tokens {
    int64_t greatest;
    int64_t of_lease[4];
    char holder[4][16];
};

static void check_token(struct tokens *t, const struct step *s, const struct outcome *o)
{
    size_t lease = (size_t)(s->key[1] - '0');
    if (s->verb == 4 && o->status == DC_OK) {
        assert_string_equal(t->holder[lease], s->value);
        t->holder[lease][0] = '\0';
    }
    if (s->verb != 3 || o->status != DC_OK) {
        return;
    }
    if (strcmp(t->holder[lease], s->value) == 0) {
        assert_int_equal(o->number, t->of_lease[lease]);
        return;
    }
    assert_true(o->number > t->greatest);
    t->greatest = o->number;
    t->of_lease[lease] = o->number;
    snprintf(t->holder[lease], sizeof(t->holder[lease]), "%s", s->value);
}

static void memory_and_redis_answer_alike(void **state)
{
    (void)state;
    const char *seed_z = getenv("KV_RANDOM_SEED"), *rounds_z = getenv("KV_RANDOM_ROUNDS");
    uint64_t first = seed_z == NULL ? 20231120 : strtoull(seed_z, NULL, 10), seed = first | 1;
    unsigned long rounds = rounds_z == NULL ? ROUNDS : strtoul(rounds_z, NULL, 10);
    struct rig *memory = rig_create(), *redis = rig_create();
    static struct step steps[CALLS_MAX];
    static struct outcome a[CALLS_MAX], b[CALLS_MAX];
    struct tokens of_memory = {0}, of_redis = {0};
    unsigned long n_calls = 0;

    admin("FLUSHALL");
    redis->opts.url = getenv("TEST_REDIS_URL");
    redis->opts.tls_ca_file = getenv("TEST_REDIS_CA");
    rig_open(memory);
    rig_open(redis);
    for (unsigned long round = 0; round < rounds; round++) {
        size_t n = 1 + (size_t)draw(&seed, CALLS_MAX);
        size_t forgets_at = (size_t)draw(&seed, 10 * CALLS_MAX);
        for (size_t i = 0; i < n; i++) {
            if (i == forgets_at) {
                /* What was made so far is sent; then Redis loses its script, and nobody may notice.
                 */
                uv_run(dc_loop_uv(redis->loop), UV_RUN_NOWAIT);
                admin("SCRIPT FLUSH");
            }
            if (draw(&seed, 8) == 0) {
                uv_run(dc_loop_uv(redis->loop), UV_RUN_NOWAIT); /* not all in one pipeline */
            }
            make_step(&seed, &steps[i]);
            do_step(memory, &steps[i], &a[i]);
            do_step(redis, &steps[i], &b[i]);
        }
        (void)wait_all(memory);
        (void)wait_all(redis);
        n_calls += n;
        for (size_t i = 0; i < n; i++) {
            check_token(&of_memory, &steps[i], &a[i]);
            check_token(&of_redis, &steps[i], &b[i]);
            if (steps[i].verb == 3) {
                a[i].number = b[i].number = a[i].number > 0 && b[i].number > 0;
            }
            char left[1024], right[1024];
            describe(&steps[i], &a[i], left, sizeof(left));
            describe(&steps[i], &b[i], right, sizeof(right));
            if (strcmp(left, right) != 0) {
                fail_msg("KV_RANDOM_SEED=%llu, round %lu, call %zu\n  memory: %s\n  redis:  %s",
                         (unsigned long long)first, round, i, left, right);
            }
        }
    }
    assert_true(n_calls >= rounds);
    rig_destroy(memory);
    rig_destroy(redis);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_and_redis_answer_alike)};
    kv_over_tls(&argc, argv);
    int rc = kv_need_server();

    return rc != 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
