/* What a homeserver leaves behind when it has recovered, told by the numbers of its transactions.
 */
#include "matrix/matrix_order.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static bool take_mark(struct dc_slice *step, const char *mark_z)
{
    bool is_there = dc_slice_starts(*step, dc_slice_z(mark_z));
    if (is_there) {
        *step = dc_slice_make(step->ptr + 1, step->len - 1);
    }
    return is_there;
}

/* A step that is no transaction. */
static bool run_mark(struct dc_matrix_order *order, struct dc_slice step, const char *story_z)
{
    if (dc_slice_eq(step, DC_S("~"))) {
        dc_matrix_order_failed(order);
    } else if (dc_slice_eq(step, DC_S("away"))) {
        dc_matrix_order_doubt(order);
    } else if (dc_slice_eq(step, DC_S("pulse"))) {
        dc_matrix_order_pulse(order);
    } else if (dc_slice_eq(step, DC_S("sure")) || dc_slice_eq(step, DC_S("doubt"))) {
        if (order->is_sure != dc_slice_eq(step, DC_S("sure"))) {
            fail_msg("%s: no %.*s", story_z, (int)step.len, step.ptr);
        }
    } else {
        return false;
    }
    return true;
}

/* Between blanks: "5" is taken, "!7" is refused, "8p" has the pulse in it, "~" is a failure, "away"
 * is the homeserver, "pulse" is sent; "sure" and "doubt" are asked. */
static void run(struct dc_matrix_order *order, const char *story_z)
{
    struct dc_slice rest = dc_slice_z(story_z);
    struct dc_slice step;
    while (dc_slice_take_token(&rest, ' ', &step)) {
        if (run_mark(order, step, story_z)) {
            continue;
        }
        struct dc_slice id = step;
        bool is_refused = take_mark(&id, "!");
        bool has_pulse = id.ptr[id.len - 1] == 'p';
        id.len -= has_pulse;
        if (dc_matrix_order_is_next(order, id) == is_refused) {
            fail_msg("%s: %.*s", story_z, (int)step.len, step.ptr);
        }
        if (!is_refused) {
            dc_matrix_order_taken(order, id, has_pulse);
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
        "!1 1 2 3 !5 4 5 6",
        "!10 10 !12 11 12 !14 13 14 !16 15 16 !18 17 18", /* again and again: each was right */
        "!1 1 !4 2 3 4",
        "!1 1 !5 3 4 5",       /* 2 never was */
        "!1 1 !3 2 !4 3 4",    /* one more while it recovers */
        "!1 1 2 2 3 !5 4 5 6", /* an answer was lost */
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void a_number_that_never_was_costs_one_refusal(void **state)
{
    static const char *const stories[] = {
        "!1 1 !3 3 4 5", "!1 1 !3 3 !5 5 !7 7 9 11 14", /* somebody else has them: three attempts */
        "!1 1 !3 3 !5 5 !7 7 9 ~ !12 12 !14 13 14",
        "!1 1 !3 3 !5 5 !7 7 9 9 !12 11 12", /* 10 never was; repeated: it recovers */
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void what_comes_first_may_come_behind_a_missing_one(void **state)
{
    static const char *const stories[] = {
        "!17 17 18", "!17 9 17 18", /* it was left there before we were started */
        "!17 9 12 17 !19 18 19",
        "!17 19 20", /* no Synapse: it gives what was refused another number */
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void numbers_that_begin_anew_are_believed(void **state)
{
    static const char *const stories[] = {
        "!500 500 501 1 2 3 !5 4 5",
        "!18446744073709551614 18446744073709551614 18446744073709551615 1 2 "
        "!18446744073709551615",
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void names_that_are_no_numbers_are_not_judged(void **state)
{
    static const char *const stories[] = {
        "!1 1 a b 99999999999999999999999 -1 c !3 d 2 3",
        "a b doubt pulse c doubt pulse dp sure",
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void a_pulse_in_order_ends_the_doubt(void **state)
{
    static const char *const stories[] = {
        "doubt !1 1 2 doubt pulse 3p sure 4 5 sure",
        "pulse !1p doubt 1p doubt pulse 2p sure", /* what comes first */
        "!1 1 pulse 2p sure ~ doubt 3 doubt pulse 4p sure",
        "!1 1 pulse 2p sure away doubt pulse 3p sure",
        "!1 1 pulse 2p sure 2p doubt pulse 3p sure", /* the answer to it was lost */
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void a_pulse_brings_what_was_left_behind(void **state)
{
    static const char *const stories[] = {
        "!1 1 ~ 2 pulse !4p 3 4p doubt pulse 5p sure",
        "!1 1 ~ 2 pulse !4p 3 4p doubt pulse !6p 5 6p doubt pulse 7p sure", /* and once more */
        /* Somebody else has the numbers. */
        "!1 1 pulse !3p 3p doubt pulse !5p 5p doubt pulse !7p 7p doubt pulse 9p sure 11 sure",
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

static void a_pulse_that_may_have_waited_says_nothing(void **state)
{
    static const char *const stories[] = {
        "!1 1 pulse 2 3p doubt pulse 4p sure",    /* with others before it, so it was stored */
        "!1 1 pulse ~ 2p doubt pulse 3p sure",    /* there was a failure behind it */
        "!1 1 pulse away 2p doubt",               /* or the homeserver was away */
        "!1 1 2 pulse 2 3p doubt",                /* it repeats something */
        "!1 1 2p doubt",                          /* nobody has sent one */
        "!1 1 pulse 2p sure !4 3 doubt 4p doubt", /* an old one */
    };
    (void)state;
    run_all(stories, DC_ARRAY_LEN(stories));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_behind_a_missing_one_is_refused_until_that_has_come),
        cmocka_unit_test(a_number_that_never_was_costs_one_refusal),
        cmocka_unit_test(what_comes_first_may_come_behind_a_missing_one),
        cmocka_unit_test(numbers_that_begin_anew_are_believed),
        cmocka_unit_test(names_that_are_no_numbers_are_not_judged),
        cmocka_unit_test(a_pulse_in_order_ends_the_doubt),
        cmocka_unit_test(a_pulse_brings_what_was_left_behind),
        cmocka_unit_test(a_pulse_that_may_have_waited_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
