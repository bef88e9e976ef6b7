#include "base/list.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

struct item {
    int value;
    struct dc_list link;
};

static void check(struct dc_list *head, const char *expected)
{
    struct dc_list *prev = head;
    for (struct dc_list *it = head->next; it != head; it = it->next) {
        const struct item *item = DC_LIST_ENTRY(it, struct item, link);
        assert_ptr_equal(it->prev, prev);
        assert_int_equal(item->value, *expected);
        expected++;
        prev = it;
    }
    assert_ptr_equal(head->prev, prev);
    assert_int_equal(*expected, '\0');
}

static void make(struct item *items, const char *values)
{
    for (size_t i = 0; values[i] != '\0'; i++) {
        items[i].value = values[i];
        dc_list_init(&items[i].link);
    }
}

static void nodes_are_pushed_at_both_ends(void **state)
{
    (void)state;
    struct item items[3];
    make(items, "abc");
    struct dc_list head;
    dc_list_init(&head);
    assert_true(dc_list_is_empty(&head));
    dc_list_push_back(&head, &items[1].link);
    dc_list_push_back(&head, &items[2].link);
    dc_list_push_front(&head, &items[0].link);
    check(&head, "abc");
    assert_false(dc_list_is_empty(&head));
}

static void removing_twice_is_harmless(void **state)
{
    (void)state;
    struct item items[3];
    make(items, "abc");
    struct dc_list head;
    dc_list_init(&head);
    for (int i = 0; i < 3; i++) {
        dc_list_push_back(&head, &items[i].link);
    }
    dc_list_remove(&items[1].link);
    check(&head, "ac");
    dc_list_remove(&items[1].link);
    check(&head, "ac");
    dc_list_remove(&items[0].link);
    dc_list_remove(&items[2].link);
    check(&head, "");
}

static void moving_all_appends_and_leaves_an_empty_list(void **state)
{
    (void)state;
    static const struct {
        const char *to, *from, *both;
    } rows[] = {{"ab", "cd", "abcd"}, {"", "c", "c"}, {"a", "", "a"}, {"", "", ""}};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct item a[4], b[4];
        make(a, rows[i].to);
        make(b, rows[i].from);
        struct dc_list to, from;
        dc_list_init(&to);
        dc_list_init(&from);
        for (size_t k = 0; rows[i].to[k] != '\0'; k++) {
            dc_list_push_back(&to, &a[k].link);
        }
        for (size_t k = 0; rows[i].from[k] != '\0'; k++) {
            dc_list_push_back(&from, &b[k].link);
        }
        dc_list_move_all(&to, &from);
        check(&to, rows[i].both);
        check(&from, "");
    }
}

static void the_current_node_may_be_removed_while_walking(void **state)
{
    (void)state;
    struct item items[5];
    make(items, "abcde");
    struct dc_list head;
    dc_list_init(&head);
    for (int i = 0; i < 5; i++) {
        dc_list_push_back(&head, &items[i].link);
    }
    int sum = 0;
    DC_LIST_FOREACH_SAFE (it, &head) {
        struct item *item = DC_LIST_ENTRY(it, struct item, link);
        sum += item->value;
        if (item->value % 2 == 1) {
            dc_list_remove(it);
        }
    }
    assert_int_equal(sum, 'a' + 'b' + 'c' + 'd' + 'e');
    check(&head, "bd");
    int seen = 0;
    DC_LIST_FOREACH (it, &head) {
        seen++;
    }
    assert_int_equal(seen, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_pushed_at_both_ends),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(moving_all_appends_and_leaves_an_empty_list),
        cmocka_unit_test(the_current_node_may_be_removed_while_walking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
