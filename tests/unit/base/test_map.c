#include "alloc_fail.h"
#include "base/map.h"
#include "dies.h"
#include "seeded_random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka needs the four above */
#include <cmocka.h>

static const uint64_t seed[2] = {1, 2};

static void an_empty_map_has_nothing(void **state)
{
    (void)state;
    struct dc_map m;
    dc_map_init(&m, seed);
    struct dc_map_iter it = {0};
    void *value;
    assert_null(dc_map_get(&m, DC_S("a")));
    assert_null(dc_map_remove(&m, DC_S("a")));
    assert_false(dc_map_next(&m, &it, NULL, &value));
    assert_int_equal(m.cap, 0);
    dc_map_free(&m);
    dc_map_free(&m);
}

static void any_bytes_may_be_a_key(void **state)
{
    (void)state;
    static const struct dc_slice keys[] = {
        {"", 0}, {"\0", 1}, {"\0\0", 2}, {"a", 1}, {"a\0", 2}, {"\xff", 1},
    };
    int values[DC_ARRAY_LEN(keys)];
    struct dc_map m;
    dc_map_init(&m, seed);
    for (size_t i = 0; i < DC_ARRAY_LEN(keys); i++) {
        assert_null(dc_map_put(&m, keys[i], &values[i]));
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(keys); i++) {
        assert_ptr_equal(dc_map_get(&m, keys[i]), &values[i]);
    }
    assert_ptr_equal(dc_map_get(&m, DC_SLICE_NULL), &values[0]);
    assert_ptr_equal(dc_map_remove(&m, DC_SLICE_NULL), &values[0]);
    assert_null(dc_map_get(&m, DC_S("")));
    dc_map_free(&m);
}

static void replacing_returns_the_old_value_and_takes_the_new_key(void **state)
{
    (void)state;
    struct dc_map m;
    dc_map_init(&m, seed);
    int one, two;
    char old_key[] = "plaza";
    assert_null(dc_map_put(&m, dc_slice_make(old_key, 5), &one));
    assert_ptr_equal(dc_map_put(&m, DC_S("plaza"), &two), &one);
    /* the map no longer looks at the first key */
    memset(old_key, 'x', 5);
    assert_ptr_equal(dc_map_get(&m, DC_S("plaza")), &two);
    assert_int_equal(m.count, 1);
    dc_map_free(&m);
}

#define KEYS 400

/* A map and its model: what must be in it, by number of the key. */
struct pair {
    struct dc_map m;
    char keys[KEYS][8];
    uintptr_t model[KEYS]; /* 0: absent */
    size_t count;
};

static struct dc_slice key_of(const struct pair *p, size_t i)
{
    return dc_slice_z(p->keys[i]);
}

static void pair_init(struct pair *p)
{
    *p = (struct pair){0};
    dc_map_init(&p->m, seed);
    for (size_t i = 0; i < KEYS; i++) {
        snprintf(p->keys[i], sizeof(p->keys[i]), "k%zu", i);
    }
}

static void check_shape(const struct dc_map *m)
{
    assert_true(m->cap == 0 || (m->cap >= 16 && (m->cap & (m->cap - 1)) == 0));
    assert_true(m->count + m->tombs <= m->cap / 4 * 3);
    /* the last entry of a run takes the tombstones before it along */
    assert_true(m->count > 0 || m->tombs == 0);
}

static void check_pair(const struct pair *p)
{
    assert_int_equal(p->m.count, p->count);
    for (size_t i = 0; i < KEYS; i++) {
        assert_int_equal((uintptr_t)dc_map_get(&p->m, key_of(p, i)), p->model[i]);
    }
    struct dc_map_iter it = {0};
    struct dc_slice key;
    void *value;
    size_t seen = 0;
    while (dc_map_next(&p->m, &it, &key, &value)) {
        size_t i = 0;
        for (size_t k = 1; k < key.len; k++) {
            i = i * 10 + (size_t)(key.ptr[k] - '0');
        }
        assert_int_equal((uintptr_t)value, p->model[i]);
        seen++;
    }
    assert_int_equal(seen, p->count);
}

/* Removes what `chosen` picks while walking; every entry is seen exactly once. */
static void remove_while_walking(struct pair *p, struct seeded_random *r, uint64_t one_in)
{
    struct dc_map_iter it = {0};
    struct dc_slice key;
    void *value;
    size_t seen = 0;
    size_t before = p->count;
    while (dc_map_next(&p->m, &it, &key, &value)) {
        seen++;
        if (seeded_below(r, one_in) != 0) {
            continue;
        }
        for (size_t i = 0; i < KEYS; i++) {
            if (p->model[i] == (uintptr_t)value) {
                p->model[i] = 0;
                p->count--;
            }
        }
        dc_map_remove_at(&p->m, &it);
        check_shape(&p->m);
    }
    assert_int_equal(seen, before);
}

static void random_operations_agree_with_a_simple_model(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < 30; run++) {
        struct seeded_random r = {run};
        struct pair *p = test_malloc(sizeof(*p));
        pair_init(p);
        uintptr_t next_value = 0;
        for (int step = 0; step < 4000; step++) {
            /* the map breathes: phases of growth and of shrinking */
            bool is_growing = step / 500 % 2 == 0;
            size_t i = seeded_below(&r, KEYS);
            uint64_t dice = seeded_below(&r, 100);
            if (dice < (is_growing ? 60U : 20U)) {
                uintptr_t v = ++next_value;
                void *old = dc_map_put(&p->m, key_of(p, i), (void *)v);
                assert_int_equal((uintptr_t)old, p->model[i]);
                p->count += p->model[i] == 0 ? 1 : 0;
                p->model[i] = v;
            } else if (dice < 99) {
                void *old = dc_map_remove(&p->m, key_of(p, i));
                assert_int_equal((uintptr_t)old, p->model[i]);
                p->count -= p->model[i] != 0 ? 1 : 0;
                p->model[i] = 0;
            } else {
                remove_while_walking(p, &r, 1 + seeded_below(&r, 8));
            }
            check_shape(&p->m);
            if (step % 97 == 0) {
                check_pair(p);
            }
        }
        check_pair(p);
        remove_while_walking(p, &r, 1);
        assert_int_equal(p->m.count, 0);
        check_shape(&p->m);
        check_pair(p);
        dc_map_free(&p->m);
        test_free(p);
    }
}

static void a_table_shrinks_when_its_entries_go(void **state)
{
    (void)state;
    struct pair *p = test_malloc(sizeof(*p));
    pair_init(p);
    for (size_t i = 0; i < KEYS; i++) {
        p->model[i] = i + 1;
        dc_map_put(&p->m, key_of(p, i), (void *)(i + 1));
    }
    p->count = KEYS;
    check_pair(p);
    assert_int_equal(p->m.cap, 1024);
    for (size_t i = 0; i < KEYS - 3; i++) {
        assert_int_equal((uintptr_t)dc_map_remove(&p->m, key_of(p, i)), i + 1);
        p->model[i] = 0;
        p->count--;
        check_shape(&p->m);
        check_pair(p);
    }
    assert_int_equal(p->m.cap, 16);
    dc_map_free(&p->m);
    test_free(p);
}

static void adding_and_removing_at_one_size_keeps_the_table_small(void **state)
{
    (void)state;
    struct pair *p = test_malloc(sizeof(*p));
    pair_init(p);
    for (size_t step = 0; step < 20000; step++) {
        dc_map_put(&p->m, key_of(p, step % KEYS), p);
        if (step >= 10) {
            assert_non_null(dc_map_remove(&p->m, key_of(p, (step - 10) % KEYS)));
        }
        assert_true(p->m.cap <= 32);
    }
    dc_map_free(&p->m);
    test_free(p);
}

static void without_memory_to_shrink_the_old_table_goes_on(void **state)
{
    (void)state;
    struct pair *p = test_malloc(sizeof(*p));
    pair_init(p);
    for (size_t i = 0; i < KEYS; i++) {
        p->model[i] = i + 1;
        dc_map_put(&p->m, key_of(p, i), (void *)(i + 1));
    }
    p->count = KEYS;
    alloc_fail_after(0);
    for (size_t i = 0; i < KEYS - 5; i++) {
        dc_map_remove(&p->m, key_of(p, i));
        p->model[i] = 0;
        p->count--;
    }
    assert_true(alloc_fail_stop());
    assert_int_equal(p->m.cap, 1024);
    check_pair(p);
    dc_map_free(&p->m);
    test_free(p);
}

/* A map that is large enough to leave its tables slowly, and what must be in it. */
#define MANY 40000
struct crowd {
    struct dc_map m;
    char keys[MANY][8];
    bool is_in[MANY];
    size_t count;
};

static struct dc_slice crowd_key(const struct crowd *c, size_t i)
{
    return dc_slice_z(c->keys[i]);
}

static struct crowd *crowd_new(void)
{
    struct crowd *c = test_calloc(1, sizeof(*c));
    dc_map_init(&c->m, seed);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(c->keys[i], sizeof(c->keys[i]), "k%zu", i);
    }
    return c;
}

static void crowd_free(struct crowd *c)
{
    dc_map_free(&c->m);
    test_free(c);
}

/* Both ways of asking see the same. */
static void check_crowd(const struct crowd *c)
{
    struct dc_map_iter it = {0};
    struct dc_slice key;
    void *value;
    size_t seen = 0;
    for (size_t i = 0; i < MANY; i++) {
        assert_ptr_equal(dc_map_get(&c->m, crowd_key(c, i)), c->is_in[i] ? c->keys[i] : NULL);
    }
    while (dc_map_next(&c->m, &it, &key, &value)) {
        assert_ptr_equal(key.ptr, value);
        seen++;
    }
    assert_int_equal(seen, c->count);
    assert_int_equal(c->m.count, c->count);
}

/* One insert or remove, which must not do much beside it: a table of some size is left slot by
 * slot, and never before the one before it is empty. */
static void crowd_change(struct crowd *c, size_t i, bool is_in)
{
    const struct dc_map before = c->m;
    void *was = is_in ? dc_map_put(&c->m, crowd_key(c, i), c->keys[i])
                      : dc_map_remove(&c->m, crowd_key(c, i));
    assert_ptr_equal(was, c->is_in[i] ? c->keys[i] : NULL);
    c->count += (size_t)is_in - (size_t)c->is_in[i];
    c->is_in[i] = is_in;
    if (c->m.slots != before.slots && before.cap > 4096) {
        assert_ptr_equal(c->m.old, before.slots);
        assert_int_equal(c->m.old_pos, 0);
    } else if (before.old != NULL) {
        size_t end = c->m.old == NULL ? before.old_cap : c->m.old_pos;
        assert_true(end - before.old_pos <= 128);
    }
    assert_true(c->m.old == NULL || c->m.old_cap > 4096);
    check_shape(&c->m);
}

static void a_large_table_changes_its_size_in_small_steps(void **state)
{
    (void)state;
    struct crowd *c = crowd_new();
    struct seeded_random r = {7};
    size_t n_moves = 0;
    for (size_t i = 0; i < MANY; i++) {
        bool was_moving = c->m.old != NULL;
        crowd_change(c, i, true);
        if (!was_moving && c->m.old != NULL) {
            n_moves++;
            check_crowd(c); /* nothing has moved yet */
        } else if (was_moving && seeded_below(&r, 32) == 0) {
            check_crowd(c); /* some */
            size_t gone = seeded_below(&r, i);
            crowd_change(c, gone, false); /* out of either table, and back */
            crowd_change(c, gone, true);
            crowd_change(c, gone, true);
        }
    }
    assert_int_equal(n_moves, 3); /* out of 8192, 16384 and 32768 slots */
    check_crowd(c);
    for (size_t i = 0; i < MANY; i++) {
        bool was_moving = c->m.old != NULL;
        crowd_change(c, i, false);
        if (was_moving != (c->m.old != NULL)) {
            check_crowd(c);
        }
    }
    assert_null(c->m.old);
    assert_int_equal(c->m.count, 0);
    crowd_free(c);
}

static void while_a_table_is_left_its_entries_can_be_removed_by_walking(void **state)
{
    (void)state;
    struct crowd *c = crowd_new();
    struct dc_map_iter it = {0};
    struct dc_slice key;
    void *value;
    size_t i = 0;
    while (c->m.old == NULL || c->m.old_pos < c->m.old_cap / 2) {
        crowd_change(c, i++, true);
    }
    size_t seen = 0;
    while (dc_map_next(&c->m, &it, &key, &value)) {
        if (seen++ % 3 != 0) {
            dc_map_remove_at(&c->m, &it);
            c->is_in[((char *)value - c->keys[0]) / (ptrdiff_t)sizeof(c->keys[0])] = false;
            c->count--;
        }
    }
    assert_int_equal(seen, i);
    check_crowd(c);
    for (; i < MANY; i++) {
        crowd_change(c, i, true);
    }
    check_crowd(c);
    crowd_free(c);
}

static void grow_without_memory(void *data)
{
    alloc_fail_after(0);
    dc_map_put(data, DC_S("a"), data);
}

static void put_null(void *data)
{
    dc_map_put(data, DC_S("a"), NULL);
}

static void remove_at_the_start(void *data)
{
    struct dc_map_iter it = {0};
    dc_map_remove_at(data, &it);
}

static void misuse_and_growth_without_memory_abort(void **state)
{
    (void)state;
    struct dc_map m;
    dc_map_init(&m, seed);
    assert_true(dies_with("out of memory", grow_without_memory, &m));
    assert_true(dies_with("assertion failed", put_null, &m));
    assert_true(dies_with("assertion failed", remove_at_the_start, &m));
    dc_map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(any_bytes_may_be_a_key),
        cmocka_unit_test(replacing_returns_the_old_value_and_takes_the_new_key),
        cmocka_unit_test(random_operations_agree_with_a_simple_model),
        cmocka_unit_test(a_table_shrinks_when_its_entries_go),
        cmocka_unit_test(adding_and_removing_at_one_size_keeps_the_table_small),
        cmocka_unit_test(without_memory_to_shrink_the_old_table_goes_on),
        cmocka_unit_test(a_large_table_changes_its_size_in_small_steps),
        cmocka_unit_test(while_a_table_is_left_its_entries_can_be_removed_by_walking),
        cmocka_unit_test(misuse_and_growth_without_memory_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
