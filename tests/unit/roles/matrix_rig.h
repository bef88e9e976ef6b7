/* The Matrix source of an aggregator without the rest of it: no leader, nothing published; a core
 * that is asked what it knows.  The daemon is @presence_daemon:daarion.space. */
#ifndef TESTS_UNIT_ROLES_MATRIX_RIG_H
#define TESTS_UNIT_ROLES_MATRIX_RIG_H

#include "../net/http_fixture.h"
#include "roles/presence_aggregator/matrix_source.h"

#define DAEMON "@presence_daemon:daarion.space"

struct matrix_rig {
    struct fixture f;
    struct dc_settings settings;
    struct dc_ctx ctx;
    struct dc_aggregator a;
    struct dc_ms *ms;
    size_t n_taken; /* lists of members that have ended */
    bool is_taken_known;
    bool is_closed;
};

static inline void matrix_rig_closed(void *data)
{
    ((struct matrix_rig *)data)->is_closed = true;
}

/* The fixture is open; url_z: of homeserver and city. */
static inline void matrix_rig_start(struct matrix_rig *rig, const char *url_z)
{
    struct dc_error err = {0};
    const struct dc_bus_opts bus = {.metrics = rig->f.metrics};
    const struct dc_presence_opts core = {.lease_ms = 40000,
                                          .close_grace_ms = 5000,
                                          .typing_ms = 6000,
                                          .max_users = 10000,
                                          .max_rooms = 1000,
                                          .max_sessions = 1000,
                                          .max_rooms_per_user = 100};
    void *self = NULL;
    rig->settings.synapse_url = url_z;
    rig->settings.city_service_url = url_z;
    rig->settings.matrix_user_id = DAEMON;
    rig->settings.matrix_access_token = "daemon-token";
    if (rig->settings.sync_timeout_ms == 0) {
        rig->settings.sync_timeout_ms = 30000;
    }
    if (rig->settings.matrix_resync_interval_ms == 0) {
        rig->settings.matrix_resync_interval_ms = 900000;
    }
    rig->ctx =
        (struct dc_ctx){.loop = rig->f.loop, .settings = &rig->settings, .metrics = rig->f.metrics};
    rig->ctx.auth.internal_key = DC_S("internal-key");
    assert_int_equal(dc_bus_open(rig->f.loop, &bus, &rig->ctx.bus, &err), DC_OK);
    rig->a.ctx = &rig->ctx;
    rig->a.is_stopping = true; /* no timers of its own */
    assert_int_equal(dc_presence_create(&core, NULL, NULL, &rig->a.core, &err), DC_OK);
    assert_int_equal(dc_source_matrix.start(&rig->a, &self, &err), DC_OK);
    rig->ms = self;
    assert_non_null(rig->ms);
}

/* The fixture is still open. */
static inline void matrix_rig_stop(struct matrix_rig *rig)
{
    dc_source_matrix.stop(rig->ms);
    rig->is_closed = false;
    dc_bus_close(rig->ctx.bus, matrix_rig_closed, rig);
    RUN_UNTIL(&rig->f, rig->is_closed);
    dc_presence_destroy(rig->a.core);
}

static inline json_t *json_of(const char *text_z)
{
    json_t *json = NULL;
    struct dc_error err = {0};
    if (dc_json_parse_deep(dc_slice_z(text_z), DC_JSON_DEEPEST, &json, &err) != DC_OK) {
        fail_msg("%s: %s", dc_error_text(&err), text_z);
    }
    return json;
}

/* "id|slug|Matrix id;…" as the city gives its rooms. */
static inline void map_rooms(struct matrix_rig *rig, const char *rooms_z)
{
    struct dc_slice rest = dc_slice_z(rooms_z);
    struct dc_slice entry;
    json_t *rooms = json_array();
    while (dc_slice_take_token(&rest, ';', &entry)) {
        struct dc_slice id, slug, mxid;
        assert_true(dc_slice_take_token(&entry, '|', &id) &&
                    dc_slice_take_token(&entry, '|', &slug) &&
                    dc_slice_take_token(&entry, '|', &mxid));
        json_array_append_new(rooms, json_pack("{s:s%,s:s%,s:s%,s:s}", "id", id.ptr, id.len, "slug",
                                               slug.ptr, slug.len, "matrix_room_id", mxid.ptr,
                                               mxid.len, "matrix_room_alias", "#a:daarion.space"));
    }
    assert_true(dc_ms_mapping_take(rig->ms, rooms));
    json_decref(rooms);
}

static inline void rig_applied(struct dc_ms *ms, struct dc_slice next_batch)
{
    (void)ms;
    assert_true(next_batch.len > 0);
}

/* Turns until nothing is left; returns how many. */
static inline size_t work_off(struct matrix_rig *rig)
{
    size_t n = 1;
    while (dc_ms_work(rig->ms)) {
        n++;
    }
    return n;
}

static inline void rig_members_taken(struct dc_ms_room *room, bool is_known)
{
    struct matrix_rig *rig = DC_CONTAINER_OF(room->ms->a, struct matrix_rig, a);
    rig->n_taken++;
    rig->is_taken_known = is_known;
}

/* Begins with it. joined: the object of joined_members, which becomes ours. */
static inline void take_members(struct matrix_rig *rig, struct dc_ms_room *room, json_t *joined)
{
    json_t *json = json_object();
    struct dc_error err = {0};
    json_object_set_new(json, "joined", joined);
    const struct dc_matrix_answer answer = {.http_status = 200, .json = json};
    rig->n_taken = 0;
    room->asked_version = room->version;
    assert_int_equal(dc_ms_members_whole(room, &answer, rig_members_taken, &err), DC_OK);
    json_decref(json);
}

static inline struct dc_presence_room_state room_state(const struct matrix_rig *rig,
                                                       const char *room_id_z)
{
    struct dc_presence_room_state state = {.online_count = 0};
    (void)!dc_presence_room_get(rig->a.core, dc_slice_z(room_id_z), &state);
    return state;
}

static inline size_t members_of(const struct matrix_rig *rig, const char *mxid_z)
{
    const struct dc_ms_room *room = dc_ms_room_find(rig->ms, dc_slice_z(mxid_z));
    assert_non_null(room);
    return room->members.count;
}

#endif
