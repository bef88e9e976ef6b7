/* The streams of the city, and which one a subject belongs to.  JetStream is set up from this table
 * as well: a row may gain subjects, but no subject may move (CONTRACT §1.8, §7). */
#include "bus/subjects.h"

#define MINUTE_MS (60ULL * 1000)
#define DAY_MS    (MINUTE_MS * 60 * 24)
#define MIB       (1024ULL * 1024)

/* The last state of every room and user, and the totals: who starts late has the whole city at
 * once. */
static const char *const presence_subjects[] = {"city.presence.room.*", "city.presence.user.*",
                                                "city.presence.city", NULL};
static const char *const chat_subjects[] = {"city.chat.*", NULL};
/* What the Living Map hears, in all the forms in which it is published. */
static const char *const event_subjects[] = {"city.event.>",
                                             "agent.event.>",
                                             "agent.reply.sent",
                                             "agent.error",
                                             "dao.event.>",
                                             "microdao.event.>",
                                             "node.metrics.>",
                                             "usage.llm",
                                             "usage.llm.>",
                                             "usage.tool",
                                             "usage.tool.>",
                                             "usage.agent",
                                             "usage.agent.>",
                                             "messaging.message.created",
                                             NULL};

const struct dc_bus_stream dc_bus_streams[] = {
    {.name = "CITY_PRESENCE",
     .subjects = presence_subjects,
     .last_per_subject = true,
     .max_bytes = 256 * MIB},
    {.name = "CITY_CHAT",
     .subjects = chat_subjects,
     .max_age_ms = 7 * DAY_MS,
     .max_bytes = 256 * MIB,
     .dedup_window_ms = 2 * MINUTE_MS,
     .has_live = true},
    {.name = "CITY_EVENTS",
     .subjects = event_subjects,
     .max_age_ms = 30 * DAY_MS,
     .max_bytes = 256 * MIB,
     .dedup_window_ms = 2 * MINUTE_MS},
};
const size_t dc_bus_stream_count = DC_ARRAY_LEN(dc_bus_streams);

const struct dc_bus_stream *dc_bus_stream_of_subject(const struct dc_bus_stream *streams, size_t n,
                                                     struct dc_slice subject)
{
    for (size_t i = 0; i < n; i++) {
        for (const char *const *s = streams[i].subjects; *s != NULL; s++) {
            if (dc_bus_subject_matches(dc_slice_z(*s), subject)) {
                return &streams[i];
            }
        }
    }
    return NULL;
}

bool dc_bus_stream_of_pattern(const struct dc_bus_stream *streams, size_t n,
                              struct dc_slice pattern, const struct dc_bus_stream **out)
{
    *out = NULL;
    bool is_touching = false;
    for (size_t i = 0; i < n; i++) {
        for (const char *const *s = streams[i].subjects; *s != NULL; s++) {
            if (dc_bus_pattern_contains(dc_slice_z(*s), pattern)) {
                *out = &streams[i];
                return true;
            }
            is_touching = is_touching || dc_bus_pattern_overlaps(dc_slice_z(*s), pattern);
        }
    }
    return !is_touching;
}
