/* What is forgotten after a while. */
#include "base/mem.h"
#include "roles/presence_aggregator/fade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const uint64_t seed[2] = {1, 2};

static void assert_takes(struct dc_fade *f, int64_t now_ms, const char *id, const char *subject)
{
    struct dc_strbuf got_id = {0};
    struct dc_strbuf got_subject = {0};
    assert_true(dc_fade_take(f, now_ms, &got_id, &got_subject));
    assert_true(dc_slice_eq(dc_strbuf_slice(&got_id), dc_slice_z(id)));
    assert_true(dc_slice_eq(dc_strbuf_slice(&got_subject), dc_slice_z(subject)));
    dc_strbuf_free(&got_id);
    dc_strbuf_free(&got_subject);
}

static void assert_takes_nothing(struct dc_fade *f, int64_t now_ms)
{
    struct dc_strbuf id = {0};
    struct dc_strbuf subject = {0};
    assert_false(dc_fade_take(f, now_ms, &id, &subject));
    dc_strbuf_free(&id);
    dc_strbuf_free(&subject);
}

static void things_fade_in_their_order_and_not_early(void **state)
{
    (void)state;
    struct dc_fade f;
    dc_fade_init(&f, 100, 10, seed);
    assert_int_equal(dc_fade_next_ms(&f), INT64_MAX);
    assert_true(dc_fade_put(&f, DC_S("a"), DC_S("s.a"), 1000));
    assert_true(dc_fade_put(&f, DC_S("b"), DC_S("s.b"), 1010));
    assert_int_equal(dc_fade_next_ms(&f), 1100);
    assert_takes_nothing(&f, 1099);
    assert_takes(&f, 1100, "a", "s.a");
    assert_takes_nothing(&f, 1109);
    assert_takes(&f, 2000, "b", "s.b");
    assert_takes_nothing(&f, 9999);
    dc_fade_free(&f);
}

static void who_comes_back_does_not_fade_and_who_goes_again_begins_anew(void **state)
{
    (void)state;
    struct dc_fade f;
    dc_fade_init(&f, 100, 10, seed);
    assert_true(dc_fade_put(&f, DC_S("a"), DC_S("s.a"), 0));
    assert_true(dc_fade_put(&f, DC_S("b"), DC_S("s.b"), 0));
    dc_fade_cancel(&f, DC_S("a"));
    dc_fade_cancel(&f, DC_S("nobody"));
    assert_true(dc_fade_put(&f, DC_S("b"), DC_S("s.b2"), 50));
    assert_takes_nothing(&f, 149);
    assert_takes(&f, 150, "b", "s.b2");
    assert_takes_nothing(&f, 9999);
    dc_fade_free(&f);
}

static void there_is_a_limit_and_the_rest_is_freed_at_the_end(void **state)
{
    (void)state;
    struct dc_fade f;
    dc_fade_init(&f, 100, 2, seed);
    assert_true(dc_fade_put(&f, DC_S("a"), DC_S("s"), 0));
    assert_true(dc_fade_put(&f, DC_S("b"), DC_S("s"), 0));
    assert_false(dc_fade_put(&f, DC_S("c"), DC_S("s"), 0));
    assert_true(dc_fade_put(&f, DC_S("b"), DC_S("s"), 1)); /* one of them, again */
    dc_fade_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(things_fade_in_their_order_and_not_early),
        cmocka_unit_test(who_comes_back_does_not_fade_and_who_goes_again_begins_anew),
        cmocka_unit_test(there_is_a_limit_and_the_rest_is_freed_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
