/* Names that people from the homeserver bear in rooms: a bounded memory. */
#include "base/attr.h"
#include "roles/matrix_gateway/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(struct dc_gateway_names *names, const char *room, const char *user,
                   const char *name)
{
    struct dc_slice got = dc_gateway_names_get(names, dc_slice_z(room), dc_slice_z(user));
    if (name == NULL ? got.ptr != NULL : !dc_slice_eq(got, dc_slice_z(name))) {
        fail_msg("%s in %s is %.*s", user, room, DC_SLICE_ARG(got));
    }
}

static void put(struct dc_gateway_names *names, const char *room, const char *user,
                const char *name)
{
    dc_gateway_names_put(names, dc_slice_z(room), dc_slice_z(user), dc_slice_z(name));
}

static void a_name_belongs_to_a_room_and_the_newest_counts(void **state)
{
    struct dc_gateway_names *names = dc_gateway_names_create(10);
    (void)state;
    expect(names, "!a", "@x", NULL);
    put(names, "!a", "@x", "X in a");
    put(names, "!b", "@x", "X in b");
    expect(names, "!a", "@x", "X in a");
    expect(names, "!b", "@x", "X in b");
    expect(names, "!a", "@y", NULL);
    put(names, "!a", "@x", "Another");
    expect(names, "!a", "@x", "Another");
    dc_gateway_names_destroy(names);
    dc_gateway_names_destroy(NULL);
}

static void past_the_bound_the_longest_quiet_is_forgotten(void **state)
{
    struct dc_gateway_names *names = dc_gateway_names_create(3);
    char user[16];
    (void)state;
    put(names, "!a", "@1", "1");
    put(names, "!a", "@2", "2");
    put(names, "!a", "@3", "3");
    expect(names, "!a", "@1", "1"); /* heard of again */
    put(names, "!a", "@4", "4");
    expect(names, "!a", "@2", NULL);
    expect(names, "!a", "@1", "1");
    expect(names, "!a", "@3", "3");
    expect(names, "!a", "@4", "4");
    for (int i = 0; i < 1000; i++) {
        snprintf(user, sizeof(user), "@u%d", i);
        put(names, "!a", user, user);
    }
    expect(names, "!a", "@u996", NULL);
    expect(names, "!a", "@u997", "@u997");
    expect(names, "!a", "@u999", "@u999");
    dc_gateway_names_destroy(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_belongs_to_a_room_and_the_newest_counts),
        cmocka_unit_test(past_the_bound_the_longest_quiet_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
