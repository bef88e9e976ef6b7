/* JetStream's texts and numbers. */
#include "bus/nats_wire.h"
#include "bus/subjects.h"
#include <inttypes.h>
#include <stdlib.h>

#define NS_PER_MS             INT64_C(1000000)
#define INACTIVE_THRESHOLD_MS 30000
#define META_TOKENS_MAX       16

/* --- deliveries --- */

bool dc_nats_meta_parse(struct dc_slice reply, struct dc_nats_meta *out)
{
    struct dc_slice tokens[META_TOKENS_MAX];
    size_t n = 0;
    while (n < META_TOKENS_MAX && dc_slice_take_token(&reply, '.', &tokens[n])) {
        n++;
    }
    if (reply.len > 0 || !(n == 9 || n >= 11) || !dc_slice_eq(tokens[0], DC_S("$JS")) ||
        !dc_slice_eq(tokens[1], DC_S("ACK"))) {
        return false;
    }
    const struct dc_slice *t = &tokens[n == 9 ? 4 : 6];
    return dc_slice_to_u64(t[0], &out->deliveries) &&
           dc_slice_to_u64(t[1], &out->stream_sequence) &&
           dc_slice_to_u64(t[2], &out->consumer_sequence) && dc_slice_to_u64(t[4], &out->pending);
}

/* --- streams --- */

static uint64_t window_ms(const struct dc_bus_stream *row)
{
    if (row->dedup_window_ms > 0) {
        return row->dedup_window_ms;
    }
    return row->max_age_ms > 0 && row->max_age_ms < DC_NATS_RESEND_WINDOW_MS
               ? row->max_age_ms
               : DC_NATS_RESEND_WINDOW_MS;
}

/* One of the subjects that the server has takes everything that this one does. */
static bool is_covered(const json_t *subjects, const char *subject)
{
    for (size_t i = 0; i < json_array_size(subjects); i++) {
        const char *have = json_string_value(json_array_get(subjects, i));
        if (have != NULL && dc_bus_pattern_contains(dc_slice_z(have), dc_slice_z(subject))) {
            return true;
        }
    }
    return false;
}

struct limit {
    const char *name;
    int64_t wanted;
    int64_t unit;   /* the server's number for one of ours */
    const char *of; /* what it is counted in, for people */
};
#define N_LIMITS 7
/* -1: no limit. */
static void limits_of(const struct dc_bus_stream *row, uint64_t replicas,
                      struct limit out[N_LIMITS])
{
    const struct limit limits[N_LIMITS] = {
        {"max_age", (int64_t)row->max_age_ms, NS_PER_MS, " ms"},
        {"max_bytes", row->max_bytes == 0 ? -1 : (int64_t)row->max_bytes, 1, ""},
        {"max_msgs", -1, 1, ""},
        {"max_msgs_per_subject", row->last_per_subject ? 1 : -1, 1, ""},
        {"max_msg_size", -1, 1, ""},
        {"duplicate_window", (int64_t)window_ms(row), NS_PER_MS, " ms"},
        {"num_replicas", (int64_t)replicas, 1, ""},
    };
    memcpy(out, limits, sizeof(limits));
}

void dc_nats_stream_write(struct dc_strbuf *out, const struct dc_bus_stream *row, uint64_t replicas)
{
    struct limit limits[N_LIMITS];
    struct dc_jsonw w;
    dc_jsonw_init(&w, out);
    dc_jsonw_object(&w);
    dc_jsonw_key_text(&w, "name", dc_slice_z(row->name));
    dc_jsonw_key(&w, "subjects");
    dc_jsonw_array(&w);
    for (const char *const *s = row->subjects; *s != NULL; s++) {
        dc_jsonw_text(&w, dc_slice_z(*s));
    }
    dc_jsonw_end(&w);
    dc_jsonw_key_text(&w, "retention", DC_S("limits"));
    dc_jsonw_key_text(&w, "storage", DC_S("file"));
    dc_jsonw_key_text(&w, "discard", DC_S("old"));
    limits_of(row, replicas, limits);
    for (size_t i = 0; i < N_LIMITS; i++) {
        dc_jsonw_key_i64(&w, limits[i].name, limits[i].wanted * limits[i].unit);
    }
    dc_jsonw_end(&w);
}

void dc_nats_stream_extend(struct dc_strbuf *out, const struct dc_bus_stream *row,
                           const json_t *config)
{
    json_t *wider = json_deep_copy(config);
    json_t *subjects = json_object_get(wider, "subjects");
    for (const char *const *s = row->subjects; *s != NULL; s++) {
        if (is_covered(subjects, *s)) {
            continue;
        }
        /* Those of one stream may not overlap: what the new one takes as well goes. */
        for (size_t i = json_array_size(subjects); i > 0; i--) {
            const char *have = json_string_value(json_array_get(subjects, i - 1));
            if (have != NULL && dc_bus_pattern_contains(dc_slice_z(*s), dc_slice_z(have))) {
                int rc = json_array_remove(subjects, i - 1);
                DC_ASSERT(rc == 0);
            }
        }
        int rc = json_array_append_new(subjects, json_string(*s));
        DC_ASSERT(rc == 0); /* an array: dc_nats_stream_check() has read it */
    }
    char *text = json_dumps(wider, JSON_COMPACT);
    DC_ASSERT(text != NULL);
    dc_strbuf_add_z(out, text);
    free(text);
    json_decref(wider);
}

static enum dc_status differs(const char *stream, const char *name, const char *has,
                              const char *wanted, struct dc_error *err)
{
    const char *setting = strcmp(name, "num_replicas") == 0 ? " (NATS_REPLICAS)" : "";
    return dc_fail(err, DC_CONFIG, 0,
                   "stream %s at NATS_URL has %s %s, this program needs %s%s: change or delete it "
                   "with `nats stream`",
                   stream, name, has, wanted, setting);
}

enum dc_status dc_nats_stream_check(const struct dc_bus_stream *row, uint64_t replicas,
                                    const json_t *config, bool *has_subjects, struct dc_error *err)
{
    static const char *const words[][2] = {
        {"retention", "limits"}, {"storage", "file"}, {"discard", "old"}};
    for (size_t i = 0; i < DC_ARRAY_LEN(words); i++) {
        const char *has = json_string_value(json_object_get(config, words[i][0]));
        if (has == NULL || strcmp(has, words[i][1]) != 0) {
            return differs(row->name, words[i][0], has == NULL ? "nothing" : has, words[i][1], err);
        }
    }
    struct limit limits[N_LIMITS];
    limits_of(row, replicas, limits);
    for (size_t i = 0; i < N_LIMITS; i++) {
        int64_t has = json_integer_value(json_object_get(config, limits[i].name));
        int64_t wanted = limits[i].wanted * limits[i].unit;
        if (has != wanted && !(wanted == -1 && has == 0)) {
            char texts[2][32];
            (void)snprintf(texts[0], sizeof(texts[0]), "%" PRId64 "%s", has / limits[i].unit,
                           limits[i].of);
            (void)snprintf(texts[1], sizeof(texts[1]), "%" PRId64 "%s", limits[i].wanted,
                           limits[i].of);
            return differs(row->name, limits[i].name, texts[0], texts[1], err);
        }
    }
    const json_t *subjects = json_object_get(config, "subjects");
    if (!json_is_array(subjects)) {
        return differs(row->name, "subjects", "none", row->subjects[0], err);
    }
    *has_subjects = true;
    for (const char *const *s = row->subjects; *s != NULL; s++) {
        *has_subjects = *has_subjects && is_covered(subjects, *s);
    }
    return DC_OK;
}

/* --- consumers --- */

static void start_write(struct dc_jsonw *w, struct dc_nats_start start)
{
    switch (start.policy) {
    case DC_NATS_FROM_SEQUENCE:
        dc_jsonw_key_text(w, "deliver_policy", DC_S("by_start_sequence"));
        dc_jsonw_key_i64(w, "opt_start_seq", (int64_t)start.sequence);
        break;
    case DC_NATS_LAST_PER_SUBJECT:
        dc_jsonw_key_text(w, "deliver_policy", DC_S("last_per_subject"));
        break;
    }
    dc_jsonw_key_text(w, "replay_policy", DC_S("instant"));
}

static void consumer_open(struct dc_jsonw *w, struct dc_strbuf *out, const char *stream,
                          struct dc_slice pattern, struct dc_nats_start start)
{
    dc_jsonw_init(w, out);
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "stream_name", dc_slice_z(stream));
    dc_jsonw_key(w, "config");
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "filter_subject", pattern);
    start_write(w, start);
}

void dc_nats_ordered_write(struct dc_strbuf *out, const char *stream, struct dc_slice pattern,
                           struct dc_slice deliver_to, struct dc_nats_start start)
{
    struct dc_jsonw w;
    consumer_open(&w, out, stream, pattern, start);
    dc_jsonw_key_text(&w, "deliver_subject", deliver_to);
    dc_jsonw_key_text(&w, "ack_policy", DC_S("none"));
    dc_jsonw_key_i64(&w, "max_deliver", 1);
    dc_jsonw_key_bool(&w, "flow_control", true);
    dc_jsonw_key_i64(&w, "idle_heartbeat", DC_NATS_HEARTBEAT_MS * NS_PER_MS);
    dc_jsonw_key_i64(&w, "inactive_threshold", INACTIVE_THRESHOLD_MS * NS_PER_MS);
    dc_jsonw_key_bool(&w, "mem_storage", true);
    dc_jsonw_key_i64(&w, "num_replicas", 1);
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
}

void dc_nats_durable_write(struct dc_strbuf *out, const char *stream, struct dc_slice name,
                           struct dc_slice pattern, struct dc_nats_start start,
                           uint64_t ack_wait_ms, uint64_t max_in_flight)
{
    struct dc_jsonw w;
    consumer_open(&w, out, stream, pattern, start);
    dc_jsonw_key_text(&w, "durable_name", name);
    dc_jsonw_key_text(&w, "ack_policy", DC_S("explicit"));
    dc_jsonw_key_i64(&w, "ack_wait", (int64_t)ack_wait_ms * NS_PER_MS);
    dc_jsonw_key_i64(&w, "max_deliver", -1);
    dc_jsonw_key_i64(&w, "max_ack_pending", (int64_t)max_in_flight);
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
}

void dc_nats_pull_write(struct dc_strbuf *out, uint64_t batch)
{
    struct dc_jsonw w;
    dc_jsonw_init(&w, out);
    dc_jsonw_object(&w);
    dc_jsonw_key_i64(&w, "batch", (int64_t)batch);
    dc_jsonw_key_i64(&w, "expires", DC_NATS_PULL_EXPIRES_MS * NS_PER_MS);
    dc_jsonw_key_i64(&w, "idle_heartbeat", DC_NATS_PULL_HEARTBEAT_MS * NS_PER_MS);
    dc_jsonw_end(&w);
}

/* --- answers --- */

uint64_t dc_nats_number(const json_t *object, const char *key_z)
{
    json_int_t n = json_integer_value(json_object_get(object, key_z));
    return n > 0 ? (uint64_t)n : 0;
}

enum dc_status dc_nats_answer_check(const json_t *answer, struct dc_error *err)
{
    const json_t *error = json_object_get(answer, "error");
    if (error == NULL) {
        return DC_OK;
    }
    int code = (int)json_integer_value(json_object_get(error, "code"));
    int cause = (int)json_integer_value(json_object_get(error, "err_code"));
    const char *text = json_string_value(json_object_get(error, "description"));
    enum dc_status st = code >= 500 ? DC_UNAVAILABLE : code == 404 ? DC_NOT_FOUND : DC_INVALID;
    if (cause == 10054 || cause == 10097) {
        st = DC_TOO_LARGE; /* message, header */
    }
    return dc_fail(err, st, cause, "JetStream: %.150s", text == NULL ? "error" : text);
}
