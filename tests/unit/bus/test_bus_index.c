#include "base/mem.h"
#include "bus/bus.h"
#include "bus/bus_index.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { ENTRIES = 400 };

struct item {
    struct dc_bus_entry entry;
    char pattern[32];
    unsigned hits;
};

static void hit(void *data, struct dc_bus_entry *e)
{
    DC_CONTAINER_OF(e, struct item, entry)->hits++;
    (*(size_t *)data)++;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Up to four tokens of a small alphabet, wildcards in patterns. */
static void random_subject(uint64_t *state, bool is_pattern, char out[32])
{
    static const char *const tokens[] = {"a", "b", "cc", "*"};
    size_t n = 1 + next_random(state) % 4;
    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        bool is_rest = is_pattern && i + 1 == n && next_random(state) % 4 == 0;
        const char *t = is_rest ? ">" : tokens[next_random(state) % (is_pattern ? 4 : 3)];
        size_t len = strlen(out);
        snprintf(out + len, 32 - len, "%s%s", i == 0 ? "" : ".", t);
    }
}

static void the_index_agrees_with_matching_one_by_one(void **state)
{
    (void)state;
    static const uint64_t seed[2] = {1, 2};
    struct dc_bus_index ix;
    dc_bus_index_init(&ix, seed);
    struct item *items = dc_calloc(ENTRIES, sizeof(*items));
    uint64_t random = 42;
    for (int step = 0; step < 20000; step++) {
        struct item *it = &items[next_random(&random) % ENTRIES];
        if (it->entry.node != NULL) {
            dc_bus_index_remove(&ix, &it->entry);
            dc_bus_index_remove(&ix, &it->entry); /* harmless */
        } else {
            random_subject(&random, true, it->pattern);
            dc_bus_index_add(&ix, &it->entry, dc_slice_z(it->pattern));
        }
        char subject[32];
        random_subject(&random, false, subject);
        size_t n = 0, expected = 0;
        dc_bus_index_match(&ix, dc_slice_z(subject), hit, &n);
        for (size_t i = 0; i < ENTRIES; i++) {
            bool wanted = items[i].entry.node != NULL &&
                          dc_bus_subject_matches(dc_slice_z(items[i].pattern), dc_slice_z(subject));
            expected += wanted;
            if (items[i].hits != wanted) {
                fail_msg("step %d: %s for %s: %u hits", step, items[i].pattern, subject,
                         items[i].hits);
            }
            items[i].hits = 0;
        }
        assert_int_equal(n, expected);
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        dc_bus_index_remove(&ix, &items[i].entry);
    }
    dc_bus_index_free(&ix); /* asserts that nothing is left */
    dc_free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_agrees_with_matching_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
