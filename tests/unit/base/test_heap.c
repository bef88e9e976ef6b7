#include "base/heap.h"
#include "dies.h"
#include "seeded_random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#define NODES 300

static void equal_deadlines_come_out_in_the_order_they_were_added(void **state)
{
    (void)state;
    struct dc_heap h = {0};
    struct dc_heap_node nodes[NODES] = {0};
    for (size_t i = 0; i < NODES; i++) {
        dc_heap_set(&h, &nodes[i], 5);
    }
    for (size_t i = 0; i < NODES; i++) {
        assert_ptr_equal(dc_heap_peek(&h), &nodes[i]);
        dc_heap_remove(&h, &nodes[i]);
    }
    assert_null(dc_heap_peek(&h));
    dc_heap_free(&h);
}

static void a_node_that_is_set_again_queues_behind_its_equals(void **state)
{
    (void)state;
    struct dc_heap h = {0};
    struct dc_heap_node a = {0}, b = {0};
    dc_heap_set(&h, &a, 5);
    dc_heap_set(&h, &b, 5);
    dc_heap_set(&h, &a, 5);
    assert_ptr_equal(dc_heap_peek(&h), &b);
    assert_int_equal(h.count, 2);
    dc_heap_set(&h, &a, INT64_MIN);
    assert_ptr_equal(dc_heap_peek(&h), &a);
    dc_heap_set(&h, &a, INT64_MAX);
    assert_ptr_equal(dc_heap_peek(&h), &b);
    dc_heap_free(&h);
}

static void removing_a_node_that_is_in_no_heap_is_harmless(void **state)
{
    (void)state;
    struct dc_heap h = {0};
    struct dc_heap_node n = {0};
    dc_heap_remove(&h, &n);
    dc_heap_set(&h, &n, 1);
    assert_true(dc_heap_contains(&n));
    dc_heap_remove(&h, &n);
    dc_heap_remove(&h, &n);
    assert_false(dc_heap_contains(&n));
    assert_int_equal(h.count, 0);
    dc_heap_free(&h);
    dc_heap_free(&h);
}

/* The earliest by looking at all. */
static struct dc_heap_node *earliest(struct dc_heap_node *nodes)
{
    struct dc_heap_node *best = NULL;
    for (size_t i = 0; i < NODES; i++) {
        if (dc_heap_contains(&nodes[i]) &&
            (best == NULL || nodes[i].at_ms < best->at_ms ||
             (nodes[i].at_ms == best->at_ms && nodes[i].order < best->order))) {
            best = &nodes[i];
        }
    }
    return best;
}

static void random_operations_agree_with_a_search_through_all(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < 10; run++) {
        struct seeded_random r = {run};
        struct dc_heap h = {0};
        struct dc_heap_node nodes[NODES] = {0};
        size_t count = 0;
        for (int step = 0; step < 3000; step++) {
            struct dc_heap_node *n = &nodes[seeded_below(&r, NODES)];
            if (seeded_below(&r, 100) < (step < 1500 ? 65U : 35U)) {
                count += dc_heap_contains(n) ? 0 : 1;
                dc_heap_set(&h, n, (int64_t)seeded_below(&r, 50) - 25);
            } else {
                count -= dc_heap_contains(n) ? 1 : 0;
                dc_heap_remove(&h, n);
            }
            assert_int_equal(h.count, count);
            assert_ptr_equal(dc_heap_peek(&h), earliest(nodes));
        }
        int64_t last = INT64_MIN;
        while (dc_heap_peek(&h) != NULL) {
            struct dc_heap_node *n = dc_heap_peek(&h);
            assert_true(n->at_ms >= last);
            last = n->at_ms;
            dc_heap_remove(&h, n);
            count--;
        }
        assert_int_equal(count, 0);
        dc_heap_free(&h);
    }
}

static void remove_foreign(void *data)
{
    struct dc_heap empty = {0};
    dc_heap_remove(&empty, data);
}

static void removing_a_node_of_another_heap_aborts(void **state)
{
    (void)state;
    struct dc_heap h = {0};
    struct dc_heap_node n = {0};
    dc_heap_set(&h, &n, 1);
    assert_true(dies_with("assertion failed", remove_foreign, &n));
    dc_heap_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_deadlines_come_out_in_the_order_they_were_added),
        cmocka_unit_test(a_node_that_is_set_again_queues_behind_its_equals),
        cmocka_unit_test(removing_a_node_that_is_in_no_heap_is_harmless),
        cmocka_unit_test(random_operations_agree_with_a_search_through_all),
        cmocka_unit_test(removing_a_node_of_another_heap_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
