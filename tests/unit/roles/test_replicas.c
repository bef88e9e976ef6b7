/* Two processes of city-service over one database: what one commits reaches both, in order, once,
 * whichever of them publishes it and whatever the bus loses. */
#include "replica_fixture.h"

/* --- saying --- */

struct sent {
    struct rig *rig;
    bool is_done;
    enum dc_status status;
    uint64_t position;
    char code[32]; /* of a failure */
};

static void on_sent(void *data, enum dc_status st, const struct dc_message *m,
                    const struct dc_error *err)
{
    struct sent *s = data;
    assert_false(s->is_done);
    s->is_done = true;
    s->status = st;
    assert_true(st == DC_OK ||
                dc_slice_copy_z(dc_slice_z(dc_error_code(err)), s->code, sizeof(s->code)));
    s->position = st == DC_OK ? m->position : 0;
}

static void say(struct rig *r, size_t i, const char *slug, struct sent *s)
{
    struct dc_error err = {0};
    const struct dc_message_draft draft = {.room = replica_room(r, i, slug),
                                           .user_id = i == 0 ? DC_S("u_0") : DC_S("u_1"),
                                           .username = DC_S("Name"),
                                           .body = DC_S("hello")};
    *s = (struct sent){.rig = r};
    assert_non_null(draft.room);
    assert_int_equal(dc_city_message_send(r->replicas[i].city, &draft, on_sent, s, &err), DC_OK);
}

static void say_and_wait(struct rig *r, size_t i, const char *slug)
{
    struct sent s;
    say(r, i, slug, &s);
    RUN_UNTIL(r, s.is_done);
    assert_int_equal(s.status, DC_OK);
}

static void on_stored(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    bool *is_done = data;
    (void)results;
    (void)n;
    (void)err;
    assert_int_equal(st, DC_OK);
    *is_done = true;
}

/* As a process does that is killed between commit and publication. */
static void store_and_die(struct rig *r, const char *room_id, int number)
{
    char id[40];
    char event_id[40];
    struct dc_arena arena;
    struct dc_owed_message owed;
    bool is_done = false;
    snprintf(id, sizeof(id), "m_dead_%s_%d", room_id, number);
    snprintf(event_id, sizeof(event_id), "evt_dead_%d", number);
    const struct dc_message m = {.id = dc_slice_z(id),
                                 .room_id = dc_slice_z(room_id),
                                 .author_user_id = DC_S("u_2"),
                                 .username = DC_S("Other"),
                                 .body = DC_S("last words"),
                                 .created_at = dc_utc_now()};
    const struct dc_feed_event e = {.id = dc_slice_z(event_id),
                                    .kind = DC_S("room_message"),
                                    .room_id = m.room_id,
                                    .user_id = m.author_user_id,
                                    .username = m.username,
                                    .payload = DC_S("{}"),
                                    .created_at = m.created_at};
    dc_arena_init(&arena, 1024, 0);
    assert_true(dc_owed_message_make(&arena, &m, &e, &owed));
    assert_int_equal(dc_db_submit(dc_repo_message_insert(r->f->db, &m, &e, &owed), on_stored,
                                  &is_done, NULL, NULL),
                     DC_OK);
    RUN_UNTIL(r, is_done);
    dc_arena_free(&arena);
}

/* A room made by a process that nobody hears of. */
static void make_room_and_die(struct rig *r, const char *slug)
{
    char id[40];
    char event_id[40];
    struct dc_arena arena;
    struct dc_owed_room owed;
    bool is_done = false;
    snprintf(id, sizeof(id), "room_city_%s", slug);
    snprintf(event_id, sizeof(event_id), "evt_room_%s", slug);
    const struct dc_room_row row = {.id = dc_slice_z(id),
                                    .slug = dc_slice_z(slug),
                                    .name = DC_S("A room"),
                                    .created_at = dc_utc_now()};
    const struct dc_feed_event e = {.id = dc_slice_z(event_id),
                                    .kind = DC_S("system"),
                                    .room_id = row.id,
                                    .payload = DC_S("{}"),
                                    .created_at = row.created_at};
    dc_arena_init(&arena, 1024, 0);
    assert_true(dc_owed_room_make(&arena, &row, &e, &owed));
    assert_int_equal(dc_db_submit(dc_repo_room_create(r->f->db, &row, &e, &owed), on_stored,
                                  &is_done, NULL, NULL),
                     DC_OK);
    RUN_UNTIL(r, is_done);
    dc_arena_free(&arena);
}

/* Archived by a process that nobody hears of. */
static void archive_and_die(struct rig *r, const char *room_id)
{
    struct dc_arena arena;
    struct dc_room_change change;
    bool is_done = false;
    const struct dc_feed_event e = {.id = DC_S("evt_archived"),
                                    .kind = DC_S("system"),
                                    .room_id = dc_slice_z(room_id),
                                    .payload = DC_S("{}"),
                                    .created_at = dc_utc_now()};
    dc_arena_init(&arena, 1024, 0);
    assert_true(dc_owed_change_make(&arena, e.room_id, DC_S("change:dead"), &e, &change));
    assert_int_equal(dc_db_submit(dc_repo_room_set_archived(r->f->db, &change, true, e.created_at),
                                  on_stored, &is_done, NULL, NULL),
                     DC_OK);
    RUN_UNTIL(r, is_done);
    dc_arena_free(&arena);
}

/* Between the two the bus takes nothing, and what is owed then goes nowhere. */
static void lose_from_here(struct rig *r)
{
    until_nothing_is_owed(r);
    faulty_set(r->bus, FAULT_REFUSE, 0, SIZE_MAX);
}

static void lose_to_here(struct rig *r)
{
    place_exec(&r->f->place, "delete from outbox");
    faulty_set(r->bus, FAULT_NONE, 0, 0);
}

/* The bus brings an event whose id its stream has forgotten. */
static void repeat_event(struct rig *r, const char *id)
{
    char text[128];
    int n = snprintf(text, sizeof(text),
                     "{\"id\":\"%s\",\"created_at\":\"2026-11-20T10:15:00.123Z\"}", id);
    assert_int_equal(dc_bus_publish(r->bus->inner, DC_S(DC_FEED_SUBJECT), DC_SLICE_NULL,
                                    dc_slice_make(text, (size_t)n), NULL, NULL, NULL),
                     DC_OK);
}

/* --- looking --- */

static void enter(struct rig *r, const char *slug)
{
    for (size_t i = 0; i < N_REPLICAS; i++) {
        dc_chat_enter_topics(r->replicas[i].city, replica_room(r, i, slug));
    }
}

static void leave(struct rig *r, const char *slug)
{
    for (size_t i = 0; i < N_REPLICAS; i++) {
        dc_chat_leave_topics(replica_room(r, i, slug));
    }
}

static uint64_t heard(struct rig *r, size_t i, const char *slug)
{
    return dc_topic_offset(replica_room(r, i, slug)->chat);
}

/* The streams have every message and every event once, the messages of each room in order. */
static void assert_streams(struct rig *r)
{
    static const char *const rooms[] = {"room_city_general", "room_city_plaza"};
    size_t n = 0;
    for (size_t room = 0; room < DC_ARRAY_LEN(rooms); room++) {
        uint64_t last = 0;
        for (size_t i = 0; i < r->n_records; i++) {
            if (strcmp(r->records[i].room, rooms[room]) == 0) {
                assert_int_equal(r->records[i].position, ++last);
                n++;
            }
        }
    }
    assert_int_equal(n, r->n_records);
    assert_int_equal(n, query_number(r, "select count(*) from city_room_messages"));
    for (size_t i = 0; i < r->n_events; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(r->events[i], r->events[k]);
        }
    }
    assert_int_equal(r->n_events, query_number(r, "select count(*) from city_feed_events"));
}

/* --- order --- */

#define MANY 400

static void say_at_random(struct rig *r, bool with_faults)
{
    static struct sent sent[MANY];
    static const char *const slugs[] = {"general", "plaza"};
    uint64_t counts[2] = {0};
    size_t n_done = 0;
    for (size_t n = 0; n < MANY;) {
        uint64_t dice = dc_random_below(NULL, 100);
        if (with_faults && dice < 3) {
            faulty_set(r->bus, dice == 0 ? FAULT_NO_ACK : FAULT_REFUSE,
                       (size_t)dc_random_below(NULL, 5), 1 + (size_t)dc_random_below(NULL, 10));
        } else if (dice < 40) {
            uv_run(dc_loop_uv(r->f->loop), UV_RUN_NOWAIT);
        } else {
            size_t room = dc_random_below(NULL, 3) == 0 ? 0 : 1; /* one is busier */
            say(r, (size_t)dc_random_below(NULL, N_REPLICAS), slugs[room], &sent[n++]);
            counts[room]++;
        }
    }
    faulty_set(r->bus, FAULT_NONE, 0, 0);
    while (n_done < MANY) {
        n_done += sent[n_done].is_done ? 1 : 0;
        uv_run(dc_loop_uv(r->f->loop), UV_RUN_NOWAIT);
    }
    until_nothing_is_owed(r);
    for (size_t i = 0; i < N_REPLICAS; i++) {
        for (size_t room = 0; room < 2; room++) {
            RUN_UNTIL(r, heard(r, i, slugs[room]) == counts[room]);
            /* The log has them all: nobody was skipped. */
            assert_true(dc_topic_can_resume(replica_room(r, i, slugs[room])->chat,
                                            r->replicas[i].city->epoch, 0));
        }
    }
}

static void what_both_say_reaches_both_in_one_order(void **state)
{
    struct rig *r = *state;
    enter(r, "general");
    enter(r, "plaza");
    say_at_random(r, false);
    assert_streams(r);
    /* The first ones of a room wait for nobody. */
    assert_true(replica_metric(r, 0, "daarion_relay_published_total{way=\"direct\"}") +
                    replica_metric(r, 1, "daarion_relay_published_total{way=\"direct\"}") >
                0);
    leave(r, "general");
    leave(r, "plaza");
}

static void so_it_does_while_the_bus_comes_and_goes(void **state)
{
    struct rig *r = *state;
    enter(r, "general");
    enter(r, "plaza");
    say_at_random(r, true);
    assert_streams(r);
    leave(r, "general");
    leave(r, "plaza");
}

/* --- deaths --- */

static void what_a_killed_process_has_committed_is_published_by_another(void **state)
{
    struct rig *r = *state;
    enter(r, "plaza");
    listen_to_feed(r, 1);
    say_and_wait(r, 0, "plaza");
    store_and_die(r, "room_city_plaza", 1);
    store_and_die(r, "room_city_plaza", 2);
    until_nothing_is_owed(r);
    RUN_UNTIL(r, heard(r, 0, "plaza") == 3 && heard(r, 1, "plaza") == 3);
    RUN_UNTIL(r, count_heard(r, 1, "evt_dead_2") == 1);
    assert_int_equal(count_heard(r, 1, "evt_dead_1"), 1);
    assert_streams(r);
    leave(r, "plaza");
}

static void who_speaks_next_brings_what_was_left_before_it(void **state)
{
    struct rig *r = *state;
    enter(r, "plaza");
    store_and_die(r, "room_city_plaza", 1);
    say_and_wait(r, 0, "plaza");
    RUN_UNTIL(r, heard(r, 1, "plaza") == 2);
    until_nothing_is_owed(r);
    assert_streams(r);
    leave(r, "plaza");
}

static void what_a_stopped_process_could_not_publish_is_published_at_the_next_start(void **state)
{
    struct rig *r = *state;
    replica_stop(r, 1);
    faulty_set(r->bus, FAULT_STALL, 0, SIZE_MAX);
    say_and_wait(r, 0, "plaza");
    say_and_wait(r, 0, "general");
    replica_stop(r, 0); /* the bus does not answer in time */
    assert_int_equal(query_number(r, "select count(*) from outbox where position = 1"), 2);
    faulty_set(r->bus, FAULT_NONE, 0, 0);
    replica_start(r, 0);
    until_nothing_is_owed(r);
    RUN_UNTIL(r, r->n_records == 2);
    assert_int_equal(replica_room(r, 0, "plaza")->last_position, 1);
    say_and_wait(r, 0, "plaza");
    until_nothing_is_owed(r);
    assert_streams(r);
}

static void writes_succeed_while_the_bus_is_away(void **state)
{
    struct rig *r = *state;
    enter(r, "plaza");
    faulty_set(r->bus, FAULT_REFUSE, 0, SIZE_MAX);
    for (int i = 0; i < 20; i++) {
        say_and_wait(r, (size_t)(i % N_REPLICAS), "plaza");
    }
    assert_int_equal(r->n_records, 0);
    faulty_set(r->bus, FAULT_NONE, 0, 0);
    until_nothing_is_owed(r);
    RUN_UNTIL(r, heard(r, 0, "plaza") == 20 && heard(r, 1, "plaza") == 20);
    assert_streams(r);
    leave(r, "plaza");
}

/* --- rooms of others --- */

static void a_room_made_by_another_process_is_found_by_who_asks_for_it(void **state)
{
    struct rig *r = *state;
    make_room_and_die(r, "late");
    assert_null(replica_room(r, 1, "late"));
    assert_int_equal(ask(r, 1, "GET", "/city/rooms/late"), 200);
    assert_non_null(replica_room(r, 1, "late"));
    assert_int_equal(ask(r, 0, "GET", "/city/rooms/late/messages"), 200);
    make_room_and_die(r, "later");
    assert_int_equal(ask(r, 1, "POST", "/city/rooms/later/join"), 200);
    assert_int_equal(ask(r, 1, "GET", "/city/rooms/never"), 404);
    assert_int_equal(ask(r, 1, "GET", "/city/rooms/no%20slug"), 404);
    /* Said in at once, by its id. */
    say_and_wait(r, 1, "room_city_late");
    until_nothing_is_owed(r);
}

static void questions_for_what_does_not_exist_are_limited(void **state)
{
    struct rig *r = *state;
    const char *const reads = "daarion_db_batches_total{kind=\"read\"}";
    int64_t before = replica_metric(r, 0, reads);
    int refused = 0;
    for (int i = 0; i < 300; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/city/rooms/nowhere-%d", i);
        int status = ask(r, 0, "GET", path);
        assert_true(status == 404 || status == 429);
        refused += status == 429 ? 1 : 0;
    }
    int64_t looked = replica_metric(r, 0, reads) - before; /* and a few for other things */
    assert_true(looked >= 300 - refused); /* who says that a room does not exist has looked */
    assert_true(looked < 300);
}

static void a_room_is_told_to_the_feed_once(void **state)
{
    struct rig *r = *state;
    listen_to_feed(r, 1);
    make_room_and_die(r, "late");
    assert_int_equal(ask(r, 1, "GET", "/city/rooms/late"), 200); /* before its event */
    until_nothing_is_owed(r);
    RUN_UNTIL(r, count_heard(r, 1, "evt_room_late") == 1);
    assert_int_equal(count_heard(r, 1, "room.created"), 1);
}

static void a_message_of_an_unknown_room_makes_it_known(void **state)
{
    struct rig *r = *state;
    make_room_and_die(r, "late");
    store_and_die(r, "room_city_late", 1);
    place_exec(&r->f->place, "delete from outbox where subject = 'city.event.room'");
    dc_relay_doubt(r->replicas[0].city->relay);
    RUN_UNTIL(r, replica_room(r, 0, "late") != NULL && replica_room(r, 1, "late") != NULL);
    RUN_UNTIL(r, replica_room(r, 0, "late")->last_position == 1);
    until_nothing_is_owed(r);
}

/* --- rooms that others archive --- */

static void nothing_is_stored_in_a_room_that_another_process_has_archived(void **state)
{
    struct rig *r = *state;
    struct sent s;
    say_and_wait(r, 1, "plaza");
    lose_from_here(r);
    archive_and_die(r, "room_city_plaza");
    assert_false(replica_room(r, 1, "plaza")->row.is_archived);
    say(r, 1, "plaza", &s);
    RUN_UNTIL(r, s.is_done);
    assert_int_equal(s.status, DC_CONFLICT);
    assert_string_equal(s.code, "room_archived");
    assert_true(replica_room(r, 1, "plaza")->row.is_archived); /* it knows now */
    assert_int_equal(query_number(r, "select count(*) from city_room_messages"), 1);
    assert_int_equal(query_number(r, "select last_position from city_room_heads"
                                     " where room_id = 'room_city_plaza'"),
                     1);
    assert_int_equal(
        query_number(r, "select count(*) from city_feed_events where kind = 'room_message'"), 1);
    assert_int_equal(query_number(r, "select count(*) from outbox where position is not null"), 0);
    say_and_wait(r, 1, "general"); /* the others go on */
    lose_to_here(r);
}

struct taken {
    bool is_done;
    enum dc_message_outcome outcome;
};

static void on_taken(void *data, enum dc_status st, enum dc_message_outcome outcome,
                     const struct dc_error *err)
{
    struct taken *t = data;
    (void)err;
    assert_int_equal(st, DC_OK);
    t->is_done = true;
    t->outcome = outcome;
}

static enum dc_message_outcome take(struct rig *r, size_t i, const char *event_id)
{
    struct taken t = {.is_done = false};
    struct dc_error err = {0};
    const struct dc_message_origin origin = {.event_id = dc_slice_z(event_id)};
    const struct dc_message_draft draft = {.room = replica_room(r, i, "plaza"),
                                           .user_id = DC_S("@ada:fake.test"),
                                           .username = DC_S("Ada"),
                                           .body = DC_S("hello")};
    assert_int_equal(dc_city_message_take(r->replicas[i].city, &draft, &origin, on_taken, &t, &err),
                     DC_OK);
    RUN_UNTIL(r, t.is_done);
    return t.outcome;
}

static void nor_what_was_said_in_its_matrix_room(void **state)
{
    struct rig *r = *state;
    assert_int_equal(take(r, 1, "$1"), DC_MESSAGE_NEW);
    lose_from_here(r);
    archive_and_die(r, "room_city_plaza");
    assert_int_equal(take(r, 1, "$1"), DC_MESSAGE_KNOWN);
    assert_int_equal(take(r, 1, "$2"), DC_MESSAGE_HELD);
    assert_true(replica_room(r, 1, "plaza")->row.is_archived);
    assert_int_equal(query_number(r, "select count(*) from city_room_messages"), 1);
    lose_to_here(r);
}

static void give_matrix_room(struct rig *r, const char *slug, const char *matrix_room_id)
{
    char sql[160];
    (void)snprintf(sql, sizeof(sql),
                   "update city_rooms set matrix_room_id = '%s', revision = revision + 1"
                   " where slug = '%s'",
                   matrix_room_id, slug);
    place_exec(&r->f->place, sql);
}

#define EVENT(id, room)                                                                            \
    "{\"event_id\":\"" id "\",\"matrix_room_id\":\"" room "\",\"user_id\":\"@ada:a\","             \
    "\"username\":\"Ada\",\"body\":\"hello\"}"

static void nor_anything_of_a_list_that_came_from_there(void **state)
{
    struct rig *r = *state;
    give_matrix_room(r, "plaza", "!p:a");
    give_matrix_room(r, "general", "!g:a");
    assert_int_equal(ask_internal(r, 1, "/internal/city/matrix/events",
                                  "{\"events\":[" EVENT("$0", "!p:a") "," EVENT("$1", "!g:a") "]}"),
                     200);
    until_nothing_is_owed(r);
    lose_from_here(r);
    archive_and_die(r, "room_city_plaza");
    assert_int_equal(
        ask_internal(r, 1, "/internal/city/matrix/events",
                     "{\"events\":[" EVENT("$2", "!p:a") "," EVENT("$3", "!g:a") "," EVENT(
                         "$4", "!p:a") "," EVENT("$5", "!p:a") "]}"),
        200); /* or all of them came again and again */
    assert_int_equal(query_number(r, "select count(*) from city_room_messages"), 3);
    assert_int_equal(replica_metric(r, 1, "daarion_city_matrix_events_total{outcome=\"left_out\"}"),
                     3);
    lose_to_here(r);
}

/* --- Matrix rooms that others have made --- */

/* A city that has a gateway, where nobody answers. */
static void restart_with_gateway(struct rig *r, size_t i)
{
    replica_stop(r, i);
    r->settings.matrix_gateway_url = "http://127.0.0.1:1";
    r->settings.matrix_timeout_ms = 1000;
    replica_start(r, i);
}

static int bootstrap(struct rig *r, size_t i, const char *slug)
{
    struct dc_strbuf path = {0};
    const struct dc_claims claims = {
        .sub = DC_S("u_1"), .issued_at = dc_utc_now(), .expires_at = {dc_utc_now().ms + 600000}};
    dc_strbuf_add_z(&path, "/city/chat/bootstrap?room_slug=");
    dc_strbuf_add_z(&path, slug);
    dc_strbuf_add_z(&path, "&token=");
    assert_int_equal(dc_tokens_sign(r->tokens, &claims, &path, NULL), DC_OK);
    dc_strbuf_add_char(&path, '\0');
    int status = ask(r, i, "GET", path.ptr);
    dc_strbuf_free(&path);
    return status;
}

static void who_wants_to_talk_in_a_room_is_not_refused_from_memory(void **state)
{
    struct rig *r = *state;
    restart_with_gateway(r, 1);
    lose_from_here(r);
    assert_int_equal(bootstrap(r, 1, "never"), 404);
    assert_int_equal(bootstrap(r, 1, "plaza"), 400);
    make_room_and_die(r, "late");
    assert_int_equal(bootstrap(r, 1, "late"), 400); /* it has none */
    give_matrix_room(r, "late", "!l:a");
    assert_int_equal(bootstrap(r, 1, "late"), 503); /* the gateway was asked */
    lose_to_here(r);
}

static void a_matrix_room_that_has_moved_is_looked_for_in_the_database(void **state)
{
    struct rig *r = *state;
    restart_with_gateway(r, 1);
    lose_from_here(r);
    make_room_and_die(r, "late");
    give_matrix_room(r, "late", "!l:a");
    assert_null(replica_room(r, 1, "late"));
    assert_int_equal(
        ask_internal(r, 1, "/internal/city/matrix/moved", "{\"matrix_room_id\":\"!x:a\"}"), 200);
    assert_null(replica_room(r, 1, "late"));
    assert_int_equal(
        ask_internal(r, 1, "/internal/city/matrix/moved", "{\"matrix_room_id\":\"!l:a\"}"), 200);
    assert_non_null(replica_room(r, 1, "late"));
    assert_true(replica_room(r, 1, "late")->outgoing.suspected_until_ms > 0); /* it is looking */
    lose_to_here(r);
}

/* --- a bus that was interrupted --- */

static void after_an_interruption_rooms_and_messages_are_read_from_the_database(void **state)
{
    struct rig *r = *state;
    enter(r, "plaza");
    listen_to_feed(r, 0);
    say_and_wait(r, 0, "plaza");
    RUN_UNTIL(r, heard(r, 0, "plaza") == 1);
    lose_from_here(r);
    store_and_die(r, "room_city_plaza", 1);
    make_room_and_die(r, "late");
    store_and_die(r, "room_city_late", 2);
    lose_to_here(r);
    faulty_interrupt(r->bus);
    RUN_UNTIL(r, heard(r, 0, "plaza") == 2 && heard(r, 1, "plaza") == 2);
    RUN_UNTIL(r, replica_room(r, 0, "late") != NULL && replica_room(r, 1, "late") != NULL);
    assert_int_equal(replica_room(r, 0, "late")->last_position, 1);
    RUN_UNTIL(r, count_heard(r, 0, "room.created") == 1);
    leave(r, "plaza");
}

struct passing {
    struct dc_timer timer;
    bool is_over;
};

static void on_passed(struct dc_timer *t)
{
    DC_CONTAINER_OF(t, struct passing, timer)->is_over = true;
}

/* Heads can be read and rows of rooms cannot, for longer than the comparisons after a doubt. */
static void a_room_that_could_not_be_read_is_looked_for_until_it_can(void **state)
{
    struct rig *r = *state;
    struct passing passing = {.is_over = false};
    lose_from_here(r);
    make_room_and_die(r, "late");
    lose_to_here(r);
    place_exec(&r->f->place, "alter table city_rooms rename column description to away");
    dc_catch_up_doubt(r->replicas[0].city);
    dc_timer_init(r->f->loop, &passing.timer, on_passed);
    dc_timer_start(&passing.timer, 5500, 0); /* the pauses of a doubt are 5 s together */
    RUN_UNTIL(r, passing.is_over);
    dc_timer_close(&passing.timer, NULL);
    assert_true(dc_catch_up_is_in_doubt(r->replicas[0].city));
    assert_null(replica_room(r, 0, "late"));
    place_exec(&r->f->place, "alter table city_rooms rename column away to description");
    RUN_UNTIL(r, replica_room(r, 0, "late") != NULL);
}

static void after_an_interruption_the_feed_goes_on_with_what_it_missed(void **state)
{
    struct rig *r = *state;
    listen_to_feed(r, 0);
    say_and_wait(r, 1, "plaza");
    RUN_UNTIL(r, count_heard(r, 0, "feed.event") == 1);
    lose_from_here(r);
    store_and_die(r, "room_city_plaza", 1);
    store_and_die(r, "room_city_plaza", 2);
    lose_to_here(r);
    faulty_interrupt(r->bus);
    RUN_UNTIL(r, count_heard(r, 0, "evt_dead_2") == 1);
    assert_int_equal(count_heard(r, 0, "evt_dead_1"), 1);
    assert_int_equal(count_heard(r, 0, "feed.event"), 3); /* the first one not again */
    assert_int_equal(count_heard(r, 0, "reset"), 0);
    /* It comes by the bus in the end: known. */
    repeat_event(r, "evt_dead_2");
    say_and_wait(r, 1, "plaza");
    RUN_UNTIL(r, count_heard(r, 0, "feed.event") == 4);
    assert_int_equal(count_heard(r, 0, "evt_dead_2"), 1);
    assert_int_equal(replica_metric(r, 0, "daarion_city_duplicates_total{what=\"event\"}"), 1);
}

static void a_feed_that_missed_too_much_says_so(void **state)
{
    struct rig *r = *state;
    listen_to_feed(r, 0);
    lose_from_here(r);
    for (int i = 0; i <= DC_FEED_MISSED_MAX; i++) {
        store_and_die(r, "room_city_plaza", i);
    }
    lose_to_here(r);
    faulty_interrupt(r->bus);
    RUN_UNTIL(r, count_heard(r, 0, "\"type\":\"reset\",\"reason\":\"too_far_behind\"") == 1);
    assert_int_equal(count_heard(r, 0, "feed.event"), 0);
}

int main(int argc, char **argv)
{
    bool is_postgres = argc == 2 && strcmp(argv[1], "postgres") == 0;
    if (!is_postgres && (argc != 2 || strcmp(argv[1], "sqlite") != 0)) {
        fprintf(stderr, "usage: test_replicas sqlite|postgres\n");
        return 2;
    }
    if (is_postgres && getenv("TEST_DATABASE_URL") == NULL) {
        fprintf(stderr, "skipped: TEST_DATABASE_URL is not set (script/with-postgres)\n");
        return 77;
    }
    place_use_postgres(is_postgres);
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_both_say_reaches_both_in_one_order),
        CASE(so_it_does_while_the_bus_comes_and_goes),
        CASE(what_a_killed_process_has_committed_is_published_by_another),
        CASE(who_speaks_next_brings_what_was_left_before_it),
        CASE(what_a_stopped_process_could_not_publish_is_published_at_the_next_start),
        CASE(writes_succeed_while_the_bus_is_away),
        CASE(a_room_made_by_another_process_is_found_by_who_asks_for_it),
        CASE(questions_for_what_does_not_exist_are_limited),
        CASE(a_room_is_told_to_the_feed_once),
        CASE(a_message_of_an_unknown_room_makes_it_known),
        CASE(nothing_is_stored_in_a_room_that_another_process_has_archived),
        CASE(nor_what_was_said_in_its_matrix_room),
        CASE(nor_anything_of_a_list_that_came_from_there),
        CASE(who_wants_to_talk_in_a_room_is_not_refused_from_memory),
        CASE(a_matrix_room_that_has_moved_is_looked_for_in_the_database),
        CASE(after_an_interruption_rooms_and_messages_are_read_from_the_database),
        CASE(a_room_that_could_not_be_read_is_looked_for_until_it_can),
        CASE(after_an_interruption_the_feed_goes_on_with_what_it_missed),
        CASE(a_feed_that_missed_too_much_says_so),
    };
    return cmocka_run_group_tests_name(is_postgres ? "replicas postgres" : "replicas sqlite", tests,
                                       NULL, NULL);
}
