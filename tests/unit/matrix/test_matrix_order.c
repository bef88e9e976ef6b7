/* What a homeserver leaves behind when it has recovered, told by the numbers of its transactions.
 */
#include "matrix/matrix_order.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* "5" is taken, "!7" is refused, "~" is a failure; between blanks. */
static void run(struct dc_matrix_order *order, const char *story_z)
{
    struct dc_slice rest = dc_slice_z(story_z);
    struct dc_slice step;
    while (dc_slice_take_token(&rest, ' ', &step)) {
        if (dc_slice_eq(step, DC_S("~"))) {
            dc_matrix_order_failed(order);
            continue;
        }
        bool is_refused = dc_slice_starts(step, DC_S("!"));
        struct dc_slice id = is_refused ? dc_slice_make(step.ptr + 1, step.len - 1) : step;
        if (dc_matrix_order_is_next(order, id) == is_refused) {
            fail_msg("%s: %.*s", story_z, (int)step.len, step.ptr);
        }
        if (!is_refused) {
            dc_matrix_order_taken(order, id);
        }
    }
}

static void run_all(const char *const stories[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct dc_matrix_order order;
        dc_matrix_order_init(&order);
        run(&order, stories[i]);
    }
}

static void what_comes_behind_a_missing_one_is_refused_until_that_has_come(void **state)
{
    static const char *const stories[] = {
        "1 2 3 !5 4 5 6",
        "10 !12 11 12 !14 13 14 !16 15 16 !18 17 18", /* again and again: each was right */
        "1 !4 2 3 4",
        "1 !5 3 4 5",       /* 2 never was */
        "1 !3 2 !4 3 4",    /* one more while it recovers */
        "1 2 2 3 !5 4 5 6", /* an answer was lost */
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void a_number_that_never_was_costs_one_refusal(void **state)
{
    static const char *const stories[] = {
        "1 !3 3 4 5", "1 !3 3 !5 5 !7 7 9 11 14", /* somebody else has them: three attempts */
        "1 !3 3 !5 5 !7 7 9 ~ !12 12 !14 13 14",
        "1 !3 3 !5 5 !7 7 9 9 !12 11 12", /* 10 never was; repeated: it recovers */
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void the_first_one_and_numbers_that_begin_anew_are_believed(void **state)
{
    static const char *const stories[] = {
        "17 18",
        "500 501 1 2 3 !5 4 5",
        "18446744073709551614 18446744073709551615 1 2 !18446744073709551615",
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void names_that_are_no_numbers_are_not_judged(void **state)
{
    static const char *const stories[] = {"a b 99999999999999999999999 -1 1 c !3 d 2 3"};
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_behind_a_missing_one_is_refused_until_that_has_come),
        cmocka_unit_test(a_number_that_never_was_costs_one_refusal),
        cmocka_unit_test(the_first_one_and_numbers_that_begin_anew_are_believed),
        cmocka_unit_test(names_that_are_no_numbers_are_not_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
