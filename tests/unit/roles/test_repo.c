/* The SQL of city-service over real databases: rooms, positions of messages, retries, pages, feed.
 */
#include "repo_fixture.h"

#define MANY 30

static const struct dc_utc noon = {1795000000000};

/* --- helpers --- */

static struct dc_room_row room_row(const char *slug)
{
    static char id[80]; /* of the newest row; batches copy their values */
    int n = snprintf(id, sizeof(id), "room_city_%s", slug);
    return (struct dc_room_row){.id = dc_slice_make(id, (size_t)n),
                                .slug = dc_slice_z(slug),
                                .name = DC_S("A room"),
                                .created_at = noon,
                                .created_by = DC_S("u_founder")};
}

static struct dc_feed_event feed_event(const char *id, struct dc_slice room_id)
{
    return (struct dc_feed_event){.id = dc_slice_z(id),
                                  .kind = DC_S("system"),
                                  .room_id = room_id,
                                  .user_id = DC_S("u_founder"),
                                  .username = DC_S("Founder"),
                                  .payload = DC_S("{\"action\":\"room_created\"}"),
                                  .created_at = noon};
}

static struct dc_owed_room owed_room(void)
{
    return (struct dc_owed_room){.message_id = DC_S("created:room"),
                                 .room = DC_S("{\"id\":\"room\"}"),
                                 .event = DC_S("{\"id\":\"evt\"}")};
}

static void look_created(void *data, const struct dc_db_result *const *results, size_t n)
{
    dc_repo_room_created(results, n, data);
}

static void make_room(struct fixture *f, const char *slug)
{
    const struct dc_room_row row = room_row(slug);
    char event_id[80];
    int64_t ids[DC_OWED_OF_ROOM];
    snprintf(event_id, sizeof(event_id), "evt_%s", slug);
    const struct dc_feed_event event = feed_event(event_id, row.id);
    const struct dc_owed_room owed = owed_room();
    do_batch(f, dc_repo_room_create(f->db, &row, &event, &owed), look_created, ids);
    assert_true(0 < ids[0] && ids[0] < ids[1]);
}

struct said {
    struct outcome outcome;
    struct dc_message message; /* slices point to literals and to the buffers below */
    bool is_stored, is_new;
    uint64_t position;
    int64_t owed_ids[DC_OWED_OF_MESSAGE];
    char id[40], event_id[40], stored_id[40], body[40];
};

static void look_said(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct said *s = data;
    struct dc_message m = s->message;
    s->is_stored = dc_repo_message_stored(results, n, &m, &s->is_new, s->owed_ids);
    if (s->is_stored) {
        s->position = m.position;
        assert_true(dc_slice_copy_z(m.id, s->stored_id, sizeof(s->stored_id)));
        assert_true(dc_slice_eq(m.room_id, s->message.room_id));
    }
}

/* Begins to store message `number` of a room. key NULL: none. */
static void say(struct fixture *f, struct said *s, struct dc_slice room_id, const char *author,
                int number, const char *key)
{
    *s = (struct said){.outcome = {.look = look_said, .data = s}};
    snprintf(s->id, sizeof(s->id), "m_city_%s_%d", author, number);
    snprintf(s->event_id, sizeof(s->event_id), "evt_city_%s_%d", author, number);
    snprintf(s->body, sizeof(s->body), "message %d", number);
    s->message = (struct dc_message){.id = dc_slice_z(s->id),
                                     .room_id = room_id,
                                     .author_user_id = dc_slice_z(author),
                                     .username = DC_S("Name"),
                                     .body = dc_slice_z(s->body),
                                     .idempotency_key = dc_slice_z(key),
                                     .created_at = {noon.ms + number}};
    const struct dc_feed_event event = {.id = dc_slice_z(s->event_id),
                                        .kind = DC_S("room_message"),
                                        .room_id = room_id,
                                        .user_id = s->message.author_user_id,
                                        .username = s->message.username,
                                        .payload = DC_S("{}"),
                                        .created_at = s->message.created_at};
    const struct dc_owed_message owed = {.subject = DC_S("city.chat.room"),
                                         .head = DC_S("{\"offset\":"),
                                         .tail = DC_S(",\"body\":\"x\"}"),
                                         .event = DC_S("{\"kind\":\"room_message\"}")};
    begin(dc_repo_message_insert(f->db, &s->message, &event, &owed), &s->outcome);
}

static void say_and_wait(struct fixture *f, struct said *s, struct dc_slice room_id,
                         const char *author, int number, const char *key)
{
    say(f, s, room_id, author, number, key);
    await(f, &s->outcome);
    assert_int_equal(s->outcome.status, DC_OK);
}

static void say_many(struct fixture *f, struct dc_slice room_id, int count)
{
    struct said *said = dc_calloc((size_t)count, sizeof(*said));
    for (int i = 0; i < count; i++) {
        say(f, &said[i], room_id, "u_1", i + 1, NULL);
    }
    for (int i = 0; i < count; i++) {
        await(f, &said[i].outcome);
        assert_int_equal(said[i].position, i + 1);
    }
    dc_free(said);
}

static int64_t count_of(struct fixture *f, const char *sql)
{
    char *text = place_query(&f->place, sql);
    int64_t n = 0;
    assert_non_null(text);
    assert_true(dc_slice_to_i64(dc_slice_z(text), &n));
    dc_free(text);
    return n;
}

/* --- rooms --- */

struct loaded {
    struct dc_city_rooms *rooms;
    char epoch[64];
    size_t unusable;
};

static void look_loaded(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct loaded *l = data;
    assert_int_equal(n, 3);
    assert_true(dc_slice_copy_z(dc_repo_read_epoch(results[0]), l->epoch, sizeof(l->epoch)));
    l->unusable = dc_repo_read_rooms(results[1], l->rooms);
}

static void load(struct fixture *f, struct loaded *l)
{
    *l = (struct loaded){.rooms = dc_city_rooms_create()};
    do_batch(f, dc_repo_load(f->db), look_loaded, l);
}

static void a_new_database_has_an_epoch_and_no_rooms(void **state)
{
    struct loaded first, second;
    load(*state, &first);
    load(*state, &second);
    assert_int_equal(strlen(first.epoch), 32);
    assert_string_equal(first.epoch, second.epoch);
    assert_int_equal(dc_city_rooms_count(first.rooms), 0);
    dc_city_rooms_destroy(first.rooms);
    dc_city_rooms_destroy(second.rooms);
}

static void a_created_room_is_loaded_with_its_last_words(void **state)
{
    struct fixture *f = *state;
    struct loaded l;
    struct said said;
    make_room(f, "plaza");
    say_and_wait(f, &said, DC_S("room_city_plaza"), "u_1", 1, NULL);
    say_and_wait(f, &said, DC_S("room_city_plaza"), "u_2", 2, NULL);
    load(f, &l);
    const struct dc_city_room *room = dc_city_rooms_find(l.rooms, DC_S("plaza"));
    assert_non_null(room);
    assert_true(dc_slice_eq(room->row.id, DC_S("room_city_plaza")));
    assert_true(dc_slice_eq(room->row.name, DC_S("A room")));
    assert_true(dc_slice_eq(room->row.created_by, DC_S("u_founder")));
    assert_null(room->row.description.ptr);
    assert_null(room->row.matrix_room_id.ptr);
    assert_int_equal(room->row.created_at.ms, noon.ms);
    assert_false(room->row.is_default);
    assert_false(room->row.is_archived);
    assert_int_equal(room->last_position, 2);
    assert_int_equal(room->last_event.ms, noon.ms + 2);
    assert_true(dc_slice_eq(room->last.snippet, DC_S("message 2")));
    assert_int_equal(count_of(f, "select count(*) from city_feed_events"), 3);
    dc_city_rooms_destroy(l.rooms);
}

static void an_ensured_room_is_made_once_and_never_changed(void **state)
{
    struct fixture *f = *state;
    struct loaded l;
    struct said said;
    struct dc_room_row row = room_row("general");
    const struct dc_owed_room owed = owed_room();
    row.is_default = true;
    do_batch(f, dc_repo_room_ensure(f->db, &row, &owed), NULL, NULL);
    say_and_wait(f, &said, row.id, "u_1", 1, NULL);
    row.name = DC_S("Another name");
    row.created_at.ms++; /* another process, a moment later */
    do_batch(f, dc_repo_room_ensure(f->db, &row, &owed), NULL, NULL);
    load(f, &l);
    assert_int_equal(dc_city_rooms_count(l.rooms), 1);
    const struct dc_city_room *room = dc_city_rooms_find(l.rooms, row.id);
    assert_true(dc_slice_eq(room->row.name, DC_S("A room")));
    assert_true(room->row.is_default);
    assert_int_equal(room->last_position, 1);
    dc_city_rooms_destroy(l.rooms);
    /* Owed once, by who made it. */
    assert_int_equal(
        count_of(f, "select count(*) from outbox where subject = '" DC_ROOM_SUBJECT "'"), 1);
}

static void a_taken_slug_or_id_is_a_conflict_and_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    make_room(f, "plaza");
    struct dc_room_row same_slug = room_row("plaza");
    struct dc_room_row same_id = room_row("plaza");
    same_slug.id = DC_S("room_other");
    same_id.slug = DC_S("other");
    const struct dc_room_row rows[] = {same_slug, same_id};
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct outcome o = {0};
        const struct dc_feed_event event = feed_event("evt_late", rows[i].id);
        const struct dc_owed_room owed = owed_room();
        begin(dc_repo_room_create(f->db, &rows[i], &event, &owed), &o);
        await(f, &o);
        assert_int_equal(o.status, DC_CONFLICT);
    }
    assert_int_equal(count_of(f, "select count(*) from city_rooms"), 1);
    assert_int_equal(count_of(f, "select count(*) from city_room_heads"), 1);
    assert_int_equal(count_of(f, "select count(*) from city_feed_events where id = 'evt_late'"), 0);
    assert_int_equal(count_of(f, "select count(*) from outbox"), DC_OWED_OF_ROOM);
}

static void rooms_are_read_in_list_order_and_unusable_ones_are_left_out(void **state)
{
    struct fixture *f = *state;
    struct loaded l;
    static const struct {
        const char *slug;
        bool is_default;
        int64_t ms;
    } made[] = {{"old", false, 100},
                {"welcome", true, 20},
                {"new", false, 300},
                {"general", true, 10},
                {"middle", false, 200}};
    for (size_t i = 0; i < DC_ARRAY_LEN(made); i++) {
        struct dc_room_row row = room_row(made[i].slug);
        row.is_default = made[i].is_default;
        row.created_at.ms = made[i].ms;
        const struct dc_owed_room owed = owed_room();
        do_batch(f, dc_repo_room_ensure(f->db, &row, &owed), NULL, NULL);
    }
    place_exec(&f->place, "insert into city_rooms (id, slug, name, created_at)"
                          " select 'a b', 'Bad Slug', 'x', created_at from city_rooms limit 1;"
                          "insert into city_room_heads (room_id) values ('a b')");
    load(f, &l);
    assert_int_equal(l.unusable, 1);
    static const char *const want[] = {"general", "welcome", "new", "middle", "old"};
    const struct dc_city_room *room = NULL;
    for (size_t i = 0; i < DC_ARRAY_LEN(want); i++) {
        room = dc_city_rooms_next(l.rooms, room);
        assert_non_null(room);
        assert_true(dc_slice_eq(room->row.slug, dc_slice_z(want[i])));
    }
    assert_null(dc_city_rooms_next(l.rooms, room));
    dc_city_rooms_destroy(l.rooms);
}

/* --- messages --- */

static void messages_submitted_at_once_get_positions_without_gaps(void **state)
{
    struct fixture *f = *state;
    static struct said said[2][MANY];
    make_room(f, "a");
    make_room(f, "b");
    for (int i = 0; i < MANY; i++) {
        say(f, &said[0][i], DC_S("room_city_a"), "u_a", i, NULL);
        say(f, &said[1][i], DC_S("room_city_b"), "u_b", i, NULL);
    }
    for (int i = 0; i < MANY; i++) {
        for (int room = 0; room < 2; room++) {
            await(f, &said[room][i].outcome);
            assert_int_equal(said[room][i].outcome.status, DC_OK);
            assert_true(said[room][i].is_stored && said[room][i].is_new);
            assert_int_equal(said[room][i].position, i + 1);
        }
    }
    assert_int_equal(count_of(f, "select count(distinct position) from city_room_messages"
                                 " where room_id = 'room_city_a' and position between 1 and 30"),
                     MANY);
    assert_int_equal(
        count_of(f, "select last_position from city_room_heads where room_id = 'room_city_b'"),
        MANY);
}

static void a_retry_gives_the_first_message_and_leaves_no_gap(void **state)
{
    struct fixture *f = *state;
    struct said first, again, next;
    make_room(f, "a");
    say_and_wait(f, &first, DC_S("room_city_a"), "u_1", 1, "key");
    say_and_wait(f, &again, DC_S("room_city_a"), "u_1", 2, "key");
    assert_true(first.is_new);
    assert_true(again.is_stored);
    assert_false(again.is_new);
    assert_string_equal(again.stored_id, first.id);
    assert_int_equal(again.position, 1);
    say_and_wait(f, &next, DC_S("room_city_a"), "u_1", 3, "another key");
    assert_int_equal(next.position, 2);
    assert_int_equal(count_of(f, "select count(*) from city_feed_events"
                                 " where kind = 'room_message'"),
                     2);
    char *last = place_query(&f->place, "select last_message_id from city_room_heads");
    assert_string_equal(last, next.id);
    dc_free(last);
}

static void retries_that_share_a_commit_store_one_message(void **state)
{
    struct fixture *f = *state;
    static struct said said[MANY];
    make_room(f, "a");
    for (int i = 0; i < MANY; i++) {
        say(f, &said[i], DC_S("room_city_a"), "u_1", i, i % 3 == 0 ? "same" : NULL);
    }
    size_t n_new = 0;
    for (int i = 0; i < MANY; i++) {
        await(f, &said[i].outcome);
        assert_true(said[i].is_stored);
        n_new += said[i].is_new ? 1 : 0;
        if (i % 3 == 0) {
            assert_string_equal(said[i].stored_id, said[0].id);
            assert_int_equal(said[i].position, 1);
        }
    }
    assert_int_equal(n_new, 1 + MANY - MANY / 3);
    assert_int_equal(count_of(f, "select count(*) from city_room_messages"), n_new);
    assert_int_equal(count_of(f, "select max(position) from city_room_messages"), n_new);
}

static void a_key_is_the_author_s_own_in_one_room(void **state)
{
    struct fixture *f = *state;
    struct said said;
    make_room(f, "a");
    make_room(f, "b");
    say_and_wait(f, &said, DC_S("room_city_a"), "u_1", 1, "key");
    assert_true(said.is_new);
    say_and_wait(f, &said, DC_S("room_city_a"), "u_2", 2, "key");
    assert_true(said.is_new);
    assert_int_equal(said.position, 2);
    say_and_wait(f, &said, DC_S("room_city_b"), "u_1", 3, "key");
    assert_true(said.is_new);
    assert_int_equal(said.position, 1);
}

static void a_message_to_an_unknown_room_is_not_stored_and_hurts_no_neighbour(void **state)
{
    struct fixture *f = *state;
    struct said before, lost, after;
    make_room(f, "a");
    say(f, &before, DC_S("room_city_a"), "u_1", 1, NULL);
    say(f, &lost, DC_S("room_city_nowhere"), "u_1", 2, "key");
    say(f, &after, DC_S("room_city_a"), "u_1", 3, NULL);
    await(f, &before.outcome);
    await(f, &lost.outcome);
    await(f, &after.outcome);
    assert_int_equal(lost.outcome.status, DC_OK);
    assert_false(lost.is_stored);
    assert_int_equal(before.position, 1);
    assert_int_equal(after.position, 2);
    assert_int_equal(count_of(f, "select count(*) from city_feed_events"
                                 " where id = 'evt_city_u_1_2'"),
                     0);
}

/* --- what a message owes --- */

static void assert_text(struct fixture *f, const char *sql, const char *want)
{
    char *text = place_query(&f->place, sql);
    assert_non_null(text);
    assert_string_equal(text, want);
    dc_free(text);
}

static void a_message_owes_itself_with_its_position_and_then_its_event(void **state)
{
    struct fixture *f = *state;
    struct said first, second;
    make_room(f, "a");
    say_and_wait(f, &first, DC_S("room_city_a"), "u_1", 1, NULL);
    say_and_wait(f, &second, DC_S("room_city_a"), "u_1", 2, NULL);
    assert_true(first.owed_ids[0] < first.owed_ids[1]);
    assert_true(first.owed_ids[1] < second.owed_ids[0]);
    assert_int_equal(count_of(f, "select count(*) from outbox where key = 'room_city_a'"),
                     DC_OWED_OF_ROOM + 2 * DC_OWED_OF_MESSAGE);
    assert_text(f, "select payload from outbox where message_id = 'm_city_u_1_2'",
                "{\"offset\":2,\"body\":\"x\"}");
    assert_text(f, "select subject from outbox where message_id = 'm_city_u_1_2'",
                "city.chat.room");
    assert_text(f, "select payload from outbox where message_id = 'evt_city_u_1_2'",
                "{\"kind\":\"room_message\"}");
    assert_int_equal(count_of(f, "select position from outbox where message_id = 'm_city_u_1_2'"),
                     2);
    assert_int_equal(count_of(f, "select count(*) from outbox where message_id = 'evt_city_u_1_2'"
                                 " and position is null and subject = '" DC_FEED_SUBJECT "'"),
                     1);
}

static void what_is_not_stored_owes_nothing(void **state)
{
    struct fixture *f = *state;
    struct said said;
    make_room(f, "a");
    say_and_wait(f, &said, DC_S("room_city_a"), "u_1", 1, "key");
    int64_t owed = count_of(f, "select count(*) from outbox");
    say_and_wait(f, &said, DC_S("room_city_a"), "u_1", 2, "key"); /* a retry */
    assert_false(said.is_new);
    say_and_wait(f, &said, DC_S("room_city_nowhere"), "u_1", 3, NULL);
    assert_false(said.is_stored);
    assert_int_equal(count_of(f, "select count(*) from outbox"), owed);
}

static void the_text_of_a_message_is_whole_once_its_number_is_in_place(void **state)
{
    const struct dc_message m = {.id = DC_S("m_1"),
                                 .room_id = DC_S("room_city_a"),
                                 .author_user_id = DC_S("u_1"),
                                 .username = DC_S("N\"ame"),
                                 .body = DC_S("two\nlines"),
                                 .position = 1234567,
                                 .created_at = noon};
    struct dc_strbuf open = {0};
    struct dc_strbuf whole = {0};
    struct dc_strbuf built = {0};
    struct dc_jsonw w;
    (void)state;
    size_t at = dc_message_write_open(&m, &open);
    dc_strbuf_add(&built, dc_slice_make(open.ptr, at));
    dc_strbuf_add_u64(&built, m.position);
    dc_strbuf_add(&built, dc_slice_make(open.ptr + at, open.len - at));
    dc_jsonw_init(&w, &whole);
    dc_message_write(&m, &w);
    assert_true(dc_slice_eq(dc_strbuf_slice(&built), dc_strbuf_slice(&whole)));
    dc_strbuf_free(&open);
    dc_strbuf_free(&whole);
    dc_strbuf_free(&built);
}

static void count_key(void *data, struct dc_slice key)
{
    size_t *sum = data;
    *sum += dc_slice_eq(key, DC_S("room_city_b")) ? 100 : 1;
}

static void look_keys(void *data, const struct dc_db_result *const *results, size_t n)
{
    assert_int_equal(n, 3);
    assert_true(dc_outbox_read_keys(results[2], count_key, data));
}

static void a_load_tells_which_rooms_owe_messages(void **state)
{
    struct fixture *f = *state;
    struct said said;
    size_t sum = 0;
    make_room(f, "a");
    make_room(f, "b");
    say_and_wait(f, &said, DC_S("room_city_b"), "u_1", 1, NULL);
    do_batch(f, dc_repo_load(f->db), look_keys, &sum);
    assert_int_equal(sum, 100);
}

/* --- rooms of other processes --- */

struct found {
    struct dc_city_rooms *rooms;
    size_t n_added;
};

static void on_added(void *data, struct dc_city_room *room)
{
    struct found *found = data;
    found->n_added++;
    assert_false(room->is_announced);
}

static void look_found(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct found *found = data;
    assert_int_equal(n, 1);
    dc_repo_read_unknown_rooms(results[0], found->rooms, on_added, found);
}

static void a_room_is_found_by_id_or_slug_and_added_once(void **state)
{
    struct fixture *f = *state;
    struct found found = {.rooms = dc_city_rooms_create()};
    struct said said;
    make_room(f, "a");
    make_room(f, "b");
    say_and_wait(f, &said, DC_S("room_city_b"), "u_1", 1, NULL);
    do_batch(f, dc_repo_room(f->db, DC_S("a")), look_found, &found);
    assert_int_equal(found.n_added, 1);
    do_batch(f, dc_repo_room(f->db, DC_S("room_city_b")), look_found, &found);
    assert_int_equal(found.n_added, 2);
    assert_int_equal(dc_city_rooms_find(found.rooms, DC_S("b"))->last_position, 1);
    /* Known: its position is not moved behind the back of its sockets. */
    say_and_wait(f, &said, DC_S("room_city_b"), "u_1", 2, NULL);
    do_batch(f, dc_repo_room(f->db, DC_S("b")), look_found, &found);
    do_batch(f, dc_repo_room(f->db, DC_S("nowhere")), look_found, &found);
    assert_int_equal(found.n_added, 2);
    assert_int_equal(dc_city_rooms_find(found.rooms, DC_S("b"))->last_position, 1);
    dc_city_rooms_destroy(found.rooms);
}

static void several_rooms_are_found_by_their_ids(void **state)
{
    struct fixture *f = *state;
    struct found found = {.rooms = dc_city_rooms_create()};
    make_room(f, "a");
    make_room(f, "b");
    make_room(f, "c");
    do_batch(f,
             dc_repo_rooms(f->db, DC_S("[\"room_city_c\",\"room_city_a\",\"room_city_nowhere\"]")),
             look_found, &found);
    assert_int_equal(found.n_added, 2);
    assert_null(dc_city_rooms_find(found.rooms, DC_S("b")));
    dc_city_rooms_destroy(found.rooms);
}

/* --- pages --- */

struct page {
    int64_t limit;
    size_t n_cursor, n_rows;
    int64_t cursor;
    uint64_t positions[16];
};

static void look_page(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct page *p = data;
    assert_int_equal(n, 2);
    p->n_cursor = dc_db_rows(results[0]);
    p->cursor = p->n_cursor == 1 ? dc_db_get_int(results[0], 0, 0) : -1;
    p->n_rows = dc_db_rows(results[1]);
    assert_true(p->n_rows <= DC_ARRAY_LEN(p->positions));
    for (size_t i = 0; i < p->n_rows; i++) {
        struct dc_message m;
        char body[40];
        dc_repo_read_message(results[1], i, DC_S("room_city_a"), &m);
        p->positions[i] = m.position;
        snprintf(body, sizeof(body), "message %u", (unsigned)m.position);
        assert_true(dc_slice_eq(m.body, dc_slice_z(body)));
        assert_true(dc_slice_eq(m.author_user_id, DC_S("u_1")));
        assert_null(m.author_agent_id.ptr);
        assert_int_equal(m.created_at.ms, noon.ms + (int64_t)m.position);
    }
}

static void read_page(struct fixture *f, struct page *p, enum dc_page_kind kind,
                      struct dc_slice cursor, uint64_t position, int64_t limit)
{
    *p = (struct page){.limit = limit};
    do_batch(f, dc_repo_messages(f->db, DC_S("room_city_a"), kind, cursor, position, limit),
             look_page, p);
}

/* from, from + step, …: count rows. */
static void assert_positions(const struct page *p, uint64_t from, int step, size_t count)
{
    assert_int_equal(p->n_rows, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(p->positions[i], (int64_t)from + step * (int64_t)i);
    }
}

static void pages_ask_for_one_row_more_than_they_show(void **state)
{
    struct fixture *f = *state;
    struct page p;
    make_room(f, "a");
    say_many(f, DC_S("room_city_a"), 10);

    read_page(f, &p, DC_PAGE_LAST, DC_SLICE_NULL, 0, 4);
    assert_positions(&p, 10, -1, 5);
    read_page(f, &p, DC_PAGE_LAST, DC_SLICE_NULL, 0, 10);
    assert_positions(&p, 10, -1, 10);

    read_page(f, &p, DC_PAGE_BEFORE, DC_S("m_city_u_1_6"), 0, 4);
    assert_int_equal(p.cursor, 6);
    assert_positions(&p, 5, -1, 5);
    read_page(f, &p, DC_PAGE_BEFORE, DC_S("m_city_u_1_1"), 0, 4);
    assert_positions(&p, 0, 0, 0);

    read_page(f, &p, DC_PAGE_AFTER, DC_S("m_city_u_1_6"), 0, 3);
    assert_int_equal(p.cursor, 6);
    assert_positions(&p, 7, 1, 4);
    read_page(f, &p, DC_PAGE_AFTER, DC_S("m_city_u_1_6"), 0, 4);
    assert_positions(&p, 7, 1, 4);
    read_page(f, &p, DC_PAGE_AFTER, DC_S("m_city_u_1_10"), 0, 4);
    assert_positions(&p, 0, 0, 0);

    read_page(f, &p, DC_PAGE_AFTER_POSITION, DC_SLICE_NULL, 8, 4);
    assert_int_equal(p.cursor, 10); /* the room's newest */
    assert_positions(&p, 9, 1, 2);
    read_page(f, &p, DC_PAGE_AFTER_POSITION, DC_SLICE_NULL, 0, 4);
    assert_positions(&p, 1, 1, 5);
    read_page(f, &p, DC_PAGE_AFTER_POSITION, DC_SLICE_NULL, 99, 4);
    assert_positions(&p, 0, 0, 0);
}

static void a_cursor_of_another_room_or_of_nobody_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct said said;
    struct page p;
    make_room(f, "a");
    make_room(f, "b");
    say_many(f, DC_S("room_city_a"), 2);
    say_and_wait(f, &said, DC_S("room_city_b"), "u_9", 1, NULL);
    static const enum dc_page_kind kinds[] = {DC_PAGE_BEFORE, DC_PAGE_AFTER};
    for (size_t i = 0; i < DC_ARRAY_LEN(kinds); i++) {
        read_page(f, &p, kinds[i], dc_slice_z(said.id), 0, 4);
        assert_int_equal(p.n_cursor, 0);
        assert_int_equal(p.n_rows, 0);
        read_page(f, &p, kinds[i], DC_S("nobody"), 0, 4);
        assert_int_equal(p.n_cursor, 0);
        assert_int_equal(p.n_rows, 0);
    }
}

static void look_heads(void *data, const struct dc_db_result *const *results, size_t n)
{
    assert_int_equal(n, 1);
    size_t *sum = data;
    for (size_t i = 0; i < dc_db_rows(results[0]); i++) {
        *sum += (size_t)dc_db_get_int(results[0], i, 1) *
                (dc_slice_eq(dc_db_get_text(results[0], i, 0), DC_S("room_city_a")) ? 1 : 100);
    }
}

static void the_heads_tell_the_newest_position_of_every_room(void **state)
{
    struct fixture *f = *state;
    struct said said;
    size_t sum = 0;
    make_room(f, "a");
    make_room(f, "b");
    say_many(f, DC_S("room_city_a"), 3);
    say_and_wait(f, &said, DC_S("room_city_b"), "u_9", 1, NULL);
    do_batch(f, dc_repo_heads(f->db), look_heads, &sum);
    assert_int_equal(sum, 103);
}

/* --- feed --- */

struct feed {
    size_t n_cursor, n_rows;
    char ids[16][24];
    char slug[40];
    char payload[80];
};

static void look_feed(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct feed *feed = data;
    assert_int_equal(n, 2);
    feed->n_cursor = dc_db_rows(results[0]);
    feed->n_rows = dc_db_rows(results[1]);
    assert_true(feed->n_rows <= DC_ARRAY_LEN(feed->ids));
    for (size_t i = 0; i < feed->n_rows; i++) {
        struct dc_feed_event e;
        dc_repo_read_feed(results[1], i, &e);
        assert_true(dc_slice_copy_z(e.id, feed->ids[i], sizeof(feed->ids[i])));
        assert_true(dc_slice_copy_z(e.payload, feed->payload, sizeof(feed->payload)));
        if (e.room_slug.ptr != NULL) {
            assert_true(dc_slice_copy_z(e.room_slug, feed->slug, sizeof(feed->slug)));
        }
        assert_int_equal(e.created_at.ms, noon.ms);
    }
}

static void read_feed(struct fixture *f, struct feed *feed, struct dc_slice before, int64_t offset,
                      int64_t limit)
{
    *feed = (struct feed){0};
    do_batch(f, dc_repo_feed(f->db, before, offset, limit), look_feed, feed);
}

static void the_feed_pages_through_events_of_the_same_millisecond(void **state)
{
    struct fixture *f = *state;
    struct feed feed;
    static const char *const slugs[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < DC_ARRAY_LEN(slugs); i++) {
        make_room(f, slugs[i]); /* evt_a … evt_e, all at noon */
    }
    read_feed(f, &feed, DC_SLICE_NULL, 0, 2);
    assert_int_equal(feed.n_rows, 2);
    assert_string_equal(feed.ids[0], "evt_e");
    assert_string_equal(feed.ids[1], "evt_d");
    assert_string_equal(feed.slug, "d");
    struct dc_slice payload = dc_slice_z(feed.payload);
    json_t *object = NULL;
    assert_int_equal(dc_json_parse(payload, &object, NULL), DC_OK);
    assert_true(dc_slice_eq(dc_json_text(object, "action"), DC_S("room_created")));
    json_decref(object);

    read_feed(f, &feed, DC_S("evt_d"), 0, 2);
    assert_int_equal(feed.n_cursor, 1);
    assert_int_equal(feed.n_rows, 2);
    assert_string_equal(feed.ids[0], "evt_c");
    assert_string_equal(feed.ids[1], "evt_b");
    read_feed(f, &feed, DC_S("evt_b"), 0, 2);
    assert_int_equal(feed.n_rows, 1);
    assert_string_equal(feed.ids[0], "evt_a");
    read_feed(f, &feed, DC_SLICE_NULL, 3, 10);
    assert_int_equal(feed.n_rows, 2);
    assert_string_equal(feed.ids[0], "evt_b");
    read_feed(f, &feed, DC_S("nothing"), 0, 10);
    assert_int_equal(feed.n_cursor, 0);
    assert_int_equal(feed.n_rows, 0);
}

static void look_since(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct feed *feed = data;
    assert_int_equal(n, 1);
    feed->n_rows = dc_db_rows(results[0]);
    assert_true(feed->n_rows <= DC_ARRAY_LEN(feed->ids));
    for (size_t i = 0; i < feed->n_rows; i++) {
        struct dc_feed_event e;
        dc_repo_read_feed(results[0], i, &e);
        assert_true(dc_slice_copy_z(e.id, feed->ids[i], sizeof(feed->ids[i])));
    }
}

static void the_feed_is_read_on_from_a_time_oldest_first(void **state)
{
    struct fixture *f = *state;
    struct feed feed = {0};
    struct said said;
    make_room(f, "a"); /* evt_a, at noon */
    say_and_wait(f, &said, DC_S("room_city_a"), "u", 2, NULL);
    say_and_wait(f, &said, DC_S("room_city_a"), "u", 1, NULL);
    do_batch(f, dc_repo_feed_since(f->db, noon, 10), look_since, &feed);
    assert_int_equal(feed.n_rows, 3);
    assert_string_equal(feed.ids[0], "evt_a");
    assert_string_equal(feed.ids[1], "evt_city_u_1");
    assert_string_equal(feed.ids[2], "evt_city_u_2");
    do_batch(f, dc_repo_feed_since(f->db, (struct dc_utc){noon.ms + 1}, 1), look_since, &feed);
    assert_int_equal(feed.n_rows, 1);
    assert_string_equal(feed.ids[0], "evt_city_u_1");
}

int main(int argc, char **argv)
{
    bool is_postgres = argc == 2 && strcmp(argv[1], "postgres") == 0;
    if (!is_postgres && (argc != 2 || strcmp(argv[1], "sqlite") != 0)) {
        fprintf(stderr, "usage: test_repo sqlite|postgres\n");
        return 2;
    }
    if (is_postgres && getenv("TEST_DATABASE_URL") == NULL) {
        fprintf(stderr, "skipped: TEST_DATABASE_URL is not set (script/with-postgres)\n");
        return 77;
    }
    place_use_postgres(is_postgres);
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, repo_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_new_database_has_an_epoch_and_no_rooms),
        CASE(a_created_room_is_loaded_with_its_last_words),
        CASE(an_ensured_room_is_made_once_and_never_changed),
        CASE(a_taken_slug_or_id_is_a_conflict_and_leaves_nothing_behind),
        CASE(rooms_are_read_in_list_order_and_unusable_ones_are_left_out),
        CASE(messages_submitted_at_once_get_positions_without_gaps),
        CASE(a_retry_gives_the_first_message_and_leaves_no_gap),
        CASE(retries_that_share_a_commit_store_one_message),
        CASE(a_key_is_the_author_s_own_in_one_room),
        CASE(a_message_to_an_unknown_room_is_not_stored_and_hurts_no_neighbour),
        CASE(a_message_owes_itself_with_its_position_and_then_its_event),
        CASE(what_is_not_stored_owes_nothing),
        CASE(the_text_of_a_message_is_whole_once_its_number_is_in_place),
        CASE(a_load_tells_which_rooms_owe_messages),
        CASE(a_room_is_found_by_id_or_slug_and_added_once),
        CASE(several_rooms_are_found_by_their_ids),
        CASE(pages_ask_for_one_row_more_than_they_show),
        CASE(a_cursor_of_another_room_or_of_nobody_is_not_found),
        CASE(the_heads_tell_the_newest_position_of_every_room),
        CASE(the_feed_pages_through_events_of_the_same_millisecond),
        CASE(the_feed_is_read_on_from_a_time_oldest_first),
    };
    return cmocka_run_group_tests_name(is_postgres ? "repo postgres" : "repo sqlite", tests, NULL,
                                       NULL);
}
