#include "bus/subjects.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void subjects_find_their_stream(void **state)
{
    (void)state;
    static const struct {
        const char *subject, *stream; /* NULL: plain */
    } rows[] = {
        {"city.presence.room.plaza", "CITY_PRESENCE"},
        {"city.presence.user.u_1", "CITY_PRESENCE"},
        {"city.presence.room.a.b", NULL},
        {"city.presence.city", "CITY_PRESENCE"},
        {"city.presence.session", NULL},
        {"city.chat.room_city_general", "CITY_CHAT"},
        {"city.chat", NULL},
        {"city.event.created", "CITY_EVENTS"},
        {"city.event.room.created", "CITY_EVENTS"},
        {"agent.event.status", "CITY_EVENTS"},
        {"agent.reply.sent", "CITY_EVENTS"},
        {"agent.error", "CITY_EVENTS"},
        {"dao.event.vote_cast", "CITY_EVENTS"},
        {"microdao.event.created", "CITY_EVENTS"},
        {"node.metrics.update", "CITY_EVENTS"},
        {"usage.llm", "CITY_EVENTS"},
        {"usage.llm.increment", "CITY_EVENTS"},
        {"usage.tool", "CITY_EVENTS"},
        {"usage.agent.x", "CITY_EVENTS"},
        {"messaging.message.created", "CITY_EVENTS"},
        {"agents.invoke", NULL},
        {"agents.reply", NULL},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_slice subject = dc_slice_z(rows[i].subject);
        const struct dc_bus_stream *s =
            dc_bus_stream_of_subject(dc_bus_streams, dc_bus_stream_count, subject);
        const struct dc_bus_stream *same = NULL;
        assert_true(dc_bus_stream_of_pattern(dc_bus_streams, dc_bus_stream_count, subject, &same));
        if (s != same ||
            !dc_slice_eq(dc_slice_z(s == NULL ? NULL : s->name), dc_slice_z(rows[i].stream))) {
            fail_msg("row %zu: %s is in %s", i, rows[i].subject, s == NULL ? "none" : s->name);
        }
    }
}

static void patterns_lie_in_one_stream_or_touch_none(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *stream;
        bool is_good;
    } rows[] = {
        {"city.presence.room.*", "CITY_PRESENCE", true},
        {"city.presence.*.x", NULL, false},
        {"city.presence.>", NULL, false},
        {"city.chat.*", "CITY_CHAT", true},
        {"city.chat.>", NULL, false},
        {"city.event.>", "CITY_EVENTS", true},
        {"city.event.*", "CITY_EVENTS", true},
        {"city.event.room.*", "CITY_EVENTS", true},
        {"city.*", NULL, true},
        {"city.>", NULL, false},
        {">", NULL, false},
        {"agents.*", NULL, true},
        {"usage.llm", "CITY_EVENTS", true},
        {"usage.llm.*", "CITY_EVENTS", true},
        {"usage.*", NULL, false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        const struct dc_bus_stream *s = NULL;
        bool is_good = dc_bus_stream_of_pattern(dc_bus_streams, dc_bus_stream_count,
                                                dc_slice_z(rows[i].pattern), &s);
        if (is_good != rows[i].is_good ||
            !dc_slice_eq(dc_slice_z(s == NULL ? NULL : s->name), dc_slice_z(rows[i].stream))) {
            fail_msg("row %zu: %s", i, rows[i].pattern);
        }
    }
}

static void the_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < dc_bus_stream_count; i++) {
        const struct dc_bus_stream *s = &dc_bus_streams[i];
        assert_true(s->max_bytes > 0); /* memory is bounded */
        for (const char *const *a = s->subjects; *a != NULL; a++) {
            assert_true(dc_bus_pattern_is_valid(dc_slice_z(*a)));
            for (size_t k = 0; k < dc_bus_stream_count; k++) {
                for (const char *const *b = dc_bus_streams[k].subjects; *b != NULL; b++) {
                    /* JetStream refuses overlapping subjects, within a stream as well. */
                    if (a != b && dc_bus_pattern_overlaps(dc_slice_z(*a), dc_slice_z(*b))) {
                        fail_msg("%s and %s overlap", *a, *b);
                    }
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects_find_their_stream),
        cmocka_unit_test(patterns_lie_in_one_stream_or_touch_none),
        cmocka_unit_test(the_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
