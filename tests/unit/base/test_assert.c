#include "base/attr.h"
#include "dies.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

static void assert_two_is_three(void *data)
{
    int two = *(int *)data;
    DC_ASSERT(two == 3);
}

static void a_broken_assertion_aborts_and_names_its_condition(void **state)
{
    (void)state;
    int two = 2;
    assert_true(dies_with("assertion failed: two == 3 (", assert_two_is_three, &two));
    assert_true(dies_with("test_assert.c:", assert_two_is_three, &two));
}

static void an_assertion_that_holds_evaluates_its_condition_once(void **state)
{
    (void)state;
    int n = 0;
    DC_ASSERT(++n == 1);
    assert_int_equal(n, 1);
}

struct owner {
    int before;
    char member[3];
};

static void container_of_finds_the_owner_of_a_member(void **state)
{
    (void)state;
    struct owner o = {0};
    assert_ptr_equal(DC_CONTAINER_OF(&o.member, struct owner, member), &o);
    assert_int_equal(DC_ARRAY_LEN(o.member), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broken_assertion_aborts_and_names_its_condition),
        cmocka_unit_test(an_assertion_that_holds_evaluates_its_condition_once),
        cmocka_unit_test(container_of_finds_the_owner_of_a_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
