/* What every bus backend does, at random: no gap, no repetition, right order. */
#include "bus_fixture.h"

/* Many subscriptions at random moments; each must have seen exactly what was published for it. */
enum { R_LISTENERS = 40, R_MESSAGES = 4000 };
struct random_listener {
    struct rig *g;
    struct dc_bus_sub *sub;
    char pattern[16];
    enum dc_bus_start start;
    int begun_after; /* messages published before it began */
    int next;        /* the message that must come next, R_MESSAGES: none so far */
    unsigned n_caught_up;
};
static struct {
    int subject[R_MESSAGES];
    int n;
    struct random_listener listeners[R_LISTENERS];
} world;
static const char *const r_subjects[] = {"all.a", "all.b", "all.a.b", "all.c.d"};
static const char *const r_patterns[] = {"all.a", "all.*", "all.>", "all.*.b", "all.c.d"};

static bool r_wants(const struct random_listener *l, int i)
{
    if (i < l->begun_after && l->start == DC_BUS_LAST) {
        for (int k = i + 1; k < l->begun_after; k++) {
            if (world.subject[k] == world.subject[i]) {
                return false; /* a newer one was there */
            }
        }
    }
    return (l->start != DC_BUS_NEW || i >= l->begun_after) &&
           dc_bus_subject_matches(dc_slice_z(l->pattern), dc_slice_z(r_subjects[world.subject[i]]));
}

static void r_skip(struct random_listener *l)
{
    while (l->next < world.n && !r_wants(l, l->next)) {
        l->next++;
    }
}

static void r_message(void *data, const struct dc_bus_message *m)
{
    struct random_listener *l = data;
    uint64_t number = 0;
    assert_true(dc_slice_to_u64(m->payload, &number));
    r_skip(l);
    /* Of LAST, one that was the newest may be overtaken before it is handed out. */
    while (l->start == DC_BUS_LAST && l->next < l->begun_after && l->next < (int)number) {
        bool is_overtaken = false;
        for (int k = l->begun_after; k < world.n; k++) {
            is_overtaken = is_overtaken || world.subject[k] == world.subject[l->next];
        }
        assert_true(is_overtaken);
        l->next++;
        r_skip(l);
    }
    if ((int)number != l->next || m->sequence != number + 1 ||
        m->is_replay != ((int)number < l->begun_after)) {
        fail_msg("%s begun after %d: message %d instead of %d", l->pattern, l->begun_after,
                 (int)number, l->next);
    }
    assert_int_equal(l->n_caught_up, (int)number < l->begun_after ? 0 : 1);
    l->next++;
}

static void r_caught_up(void *data)
{
    struct random_listener *l = data;
    l->n_caught_up++;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool r_is_complete(struct random_listener *l)
{
    r_skip(l);
    return l->next == world.n && l->n_caught_up == 1;
}

static void random_subscriptions_see_exactly_what_is_theirs(void **state)
{
    struct rig *g = *state;
    uint64_t random = 99;
    memset(&world, 0, sizeof(world));
    while (world.n < R_MESSAGES) {
        uint64_t r = next_random(&random);
        struct random_listener *l = &world.listeners[(r >> 8) % R_LISTENERS];
        if (r % 10 < 7) {
            char payload[16];
            int i = world.n++;
            world.subject[i] = (int)((r >> 16) % DC_ARRAY_LEN(r_subjects));
            snprintf(payload, sizeof(payload), "%d", i);
            assert_int_equal(dc_bus_publish(g->bus, dc_slice_z(r_subjects[world.subject[i]]),
                                            DC_SLICE_NULL, dc_slice_z(payload), NULL, NULL, NULL),
                             DC_OK);
        } else if (r % 10 == 7) {
            (void)dc_loop_step(g->loop);
        } else if (l->sub != NULL) {
            dc_bus_unsubscribe(l->sub);
            l->sub = NULL;
        } else {
            memset(l, 0, sizeof(*l));
            l->g = g;
            l->start = (enum dc_bus_start)((r >> 20) % 3);
            l->begun_after = world.n;
            snprintf(l->pattern, sizeof(l->pattern), "%s",
                     r_patterns[(r >> 24) % DC_ARRAY_LEN(r_patterns)]);
            const struct dc_bus_sub_opts opts = {
                .pattern = dc_slice_z(l->pattern), .start = l->start, .caught_up = r_caught_up};
            assert_int_equal(dc_bus_subscribe(g->bus, &opts, r_message, l, &l->sub, NULL), DC_OK);
        }
    }
    for (int i = 0; i < R_LISTENERS; i++) {
        while (world.listeners[i].sub != NULL && !r_is_complete(&world.listeners[i])) {
            turn(g);
        }
    }
    settle(g);
    for (int i = 0; i < R_LISTENERS; i++) {
        if (world.listeners[i].sub != NULL) {
            assert_true(r_is_complete(&world.listeners[i]));
            dc_bus_unsubscribe(world.listeners[i].sub);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(random_subscriptions_see_exactly_what_is_theirs),
    };
    return run_over_backend(argc, argv, tests, DC_ARRAY_LEN(tests));
}
