/* The SQL of chat with Matrix rooms over real databases: messages that come from there, what is to
 * be said there, whose accounts are ours. */
#include "repo_fixture.h"
#include "roles/city/matrix_repo.h"
#include "roles/matrix_gateway/repo.h"

static const struct dc_utc noon = {1795000000000};
#define ROOM   "room_city_a"
#define MATRIX "!a:fake.test"

static struct dc_feed_event event_of(const char *id, struct dc_slice room_id)
{
    return (struct dc_feed_event){.id = dc_slice_z(id),
                                  .kind = DC_S("room_message"),
                                  .room_id = room_id,
                                  .user_id = DC_S("u_1"),
                                  .username = DC_S("Name"),
                                  .payload = DC_S("{}"),
                                  .created_at = noon};
}

static const struct dc_owed_message owed = {.subject = {"city.chat.a", 11},
                                            .head = {"{\"offset\":", 10},
                                            .tail = {"}", 1},
                                            .event = {"{}", 2}};

/* matrix_room_id NULL: none. */
static void make_room(struct fixture *f, const char *id, const char *slug,
                      const char *matrix_room_id)
{
    const struct dc_room_row row = {.id = dc_slice_z(id),
                                    .slug = dc_slice_z(slug),
                                    .name = DC_S("A room"),
                                    .created_at = noon,
                                    .matrix_room_id = dc_slice_z(matrix_room_id)};
    char event_id[80];
    snprintf(event_id, sizeof(event_id), "evt_%s", slug);
    const struct dc_feed_event event = event_of(event_id, row.id);
    const struct dc_owed_room owes = {
        .message_id = row.id, .room = DC_S("{}"), .event = DC_S("{}")};
    do_batch(f, dc_repo_room_create(f->db, &row, &event, &owes), NULL, NULL);
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

/* A message of the city itself. */
static void say(struct fixture *f, const char *room, const char *id, const char *key,
                bool is_for_matrix)
{
    char event_id[80];
    snprintf(event_id, sizeof(event_id), "evt_%s", id);
    const struct dc_message m = {.id = dc_slice_z(id),
                                 .room_id = dc_slice_z(room),
                                 .author_user_id = DC_S("u_1"),
                                 .username = DC_S("Name"),
                                 .body = DC_S("said"),
                                 .idempotency_key = dc_slice_z(key),
                                 .created_at = noon,
                                 .is_for_matrix = is_for_matrix};
    const struct dc_feed_event event = event_of(event_id, m.room_id);
    do_batch(f, dc_repo_message_insert(f->db, &m, &event, &owed), NULL, NULL);
}

struct taken {
    struct dc_message message;
    enum dc_message_outcome outcome;
    int64_t owed_ids[DC_OWED_OF_MESSAGE];
};

static void look_taken(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct taken *t = data;
    t->outcome = dc_repo_matrix_message_stored(results, n, &t->message, t->owed_ids);
}

static int next_id;

/* A message that came from Matrix. */
static struct taken take(struct fixture *f, const char *room, const char *author,
                         const struct dc_message_origin *origin)
{
    static char id[40];
    static char event_id[48];
    snprintf(id, sizeof(id), "m_city_%d", ++next_id);
    snprintf(event_id, sizeof(event_id), "evt_city_%d", next_id);
    struct taken t = {.message = {.id = dc_slice_z(id),
                                  .room_id = dc_slice_z(room),
                                  .author_user_id = dc_slice_z(author),
                                  .username = DC_S("Ada"),
                                  .body = DC_S("from Matrix"),
                                  .created_at = noon}};
    const struct dc_feed_event event = event_of(event_id, t.message.room_id);
    do_batch(f, dc_repo_matrix_message_insert(f->db, &t.message, origin, &event, &owed), look_taken,
             &t);
    return t;
}

static struct taken take_event(struct fixture *f, const char *event_id)
{
    const struct dc_message_origin origin = {.event_id = dc_slice_z(event_id)};
    return take(f, ROOM, "@ada:fake.test", &origin);
}

static void an_event_is_stored_once_with_all_that_belongs_to_it(void **state)
{
    struct fixture *f = *state;
    make_room(f, ROOM, "a", MATRIX);
    struct taken t = take_event(f, "$1");
    assert_int_equal(t.outcome, DC_MESSAGE_NEW);
    assert_int_equal(t.message.position, 1);
    assert_true(0 < t.owed_ids[0] && t.owed_ids[0] < t.owed_ids[1]);
    assert_int_equal(take_event(f, "$1").outcome, DC_MESSAGE_KNOWN);
    t = take_event(f, "$2");
    assert_int_equal(t.outcome, DC_MESSAGE_NEW);
    assert_int_equal(t.message.position, 2);
    assert_int_equal(count_of(f, "select count(*) from city_room_messages"), 2);
    assert_int_equal(count_of(f, "select last_position from city_room_heads"), 2);
    assert_int_equal(
        count_of(f, "select count(*) from city_feed_events where kind = 'room_message'"), 3);
    assert_int_equal(count_of(f, "select count(*) from outbox where position is not null"), 2);
    /* What came from there is not said there. */
    assert_int_equal(count_of(f, "select count(*) from matrix_outgoing"), 0);
    const struct dc_message_origin gone = {.event_id = DC_S("$3")};
    assert_int_equal(take(f, "room_city_none", "@ada:fake.test", &gone).outcome, DC_MESSAGE_HELD);
}

static void an_event_waits_for_the_one_before_it(void **state)
{
    struct fixture *f = *state;
    const struct dc_message_origin second = {.event_id = DC_S("$2"), .behind = DC_S("$1")};
    make_room(f, ROOM, "a", MATRIX);
    assert_int_equal(take(f, ROOM, "@ada:fake.test", &second).outcome, DC_MESSAGE_HELD);
    assert_int_equal(count_of(f, "select count(*) from city_room_messages"), 0);
    assert_int_equal(count_of(f, "select last_position from city_room_heads"), 0);
    assert_int_equal(take_event(f, "$1").outcome, DC_MESSAGE_NEW);
    struct taken t = take(f, ROOM, "@ada:fake.test", &second);
    assert_int_equal(t.outcome, DC_MESSAGE_NEW);
    assert_int_equal(t.message.position, 2);
    assert_int_equal(take(f, ROOM, "@ada:fake.test", &second).outcome, DC_MESSAGE_KNOWN);
}

static void an_echo_is_what_it_says_only_if_it_can_be(void **state)
{
    struct fixture *f = *state;
    const struct dc_message_origin echo = {.event_id = DC_S("$1"), .echo_of = DC_S("m_ours")};
    const struct dc_message_origin other = {.event_id = DC_S("$2"), .echo_of = DC_S("m_ours")};
    const struct dc_message_origin third = {.event_id = DC_S("$3"), .echo_of = DC_S("m_ours")};
    const struct dc_message_origin none = {.event_id = DC_S("$4"), .echo_of = DC_S("m_none")};
    make_room(f, ROOM, "a", MATRIX);
    make_room(f, "room_city_b", "b", "!b:fake.test");
    say(f, ROOM, "m_ours", NULL, true);
    assert_int_equal(take(f, ROOM, "u_2", &other).outcome, DC_MESSAGE_NEW);
    assert_int_equal(take(f, "room_city_b", "u_1", &third).outcome, DC_MESSAGE_NEW);
    assert_int_equal(take(f, ROOM, "u_1", &none).outcome, DC_MESSAGE_NEW);
    assert_int_equal(count_of(f, "select count(*) from matrix_outgoing"), 1);
    assert_int_equal(take(f, ROOM, "u_1", &echo).outcome, DC_MESSAGE_KNOWN);
    assert_int_equal(count_of(f, "select count(*) from matrix_outgoing"), 0);
    assert_int_equal(count_of(f, "select count(*) from city_room_messages"
                                 " where id = 'm_ours' and matrix_event_id = '$1'"),
                     1);
    assert_int_equal(take(f, ROOM, "u_1", &echo).outcome, DC_MESSAGE_KNOWN);
    /* It is one event already: another that says the same is something new. */
    const struct dc_message_origin forged = {.event_id = DC_S("$5"), .echo_of = DC_S("m_ours")};
    assert_int_equal(take(f, ROOM, "u_1", &forged).outcome, DC_MESSAGE_NEW);
    assert_int_equal(count_of(f, "select count(*) from city_room_messages"), 5);
}

static void only_what_is_said_here_in_a_bridged_room_is_to_be_said_there(void **state)
{
    struct fixture *f = *state;
    make_room(f, ROOM, "a", MATRIX);
    make_room(f, "room_city_b", "b", NULL);
    say(f, ROOM, "m_1", "key", true);
    say(f, ROOM, "m_2", "key", true); /* the same again */
    say(f, ROOM, "m_3", NULL, false);
    say(f, "room_city_b", "m_4", NULL, true);
    assert_int_equal(count_of(f, "select count(*) from matrix_outgoing"), 1);
    assert_int_equal(count_of(f, "select count(*) from matrix_outgoing where message_id = 'm_1'"
                                 " and position = 1"),
                     1);
}

struct page {
    size_t n;
    char ids[8][16];
    int64_t waiting;
};

static void look_page(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct page *p = data;
    assert_int_equal(n, 1);
    p->n = dc_db_rows(results[0]);
    for (size_t i = 0; i < p->n; i++) {
        struct dc_matrix_owed o;
        dc_matrix_repo_read_owed(results[0], i, &o);
        assert_true(dc_slice_copy_z(o.message_id, p->ids[i], sizeof(p->ids[i])));
        assert_true(dc_slice_eq(o.user_id, DC_S("u_1")));
        assert_true(dc_slice_eq(o.username, DC_S("Name")));
        assert_true(dc_slice_eq(o.body, DC_S("said")));
    }
}

static void look_waiting(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct page *p = data;
    struct dc_slice room_id;
    assert_int_equal(n, 1);
    p->n = dc_db_rows(results[0]);
    if (p->n > 0) {
        dc_matrix_repo_read_waiting(results[0], 0, &room_id, &p->waiting);
        assert_true(dc_slice_eq(room_id, DC_S(ROOM)));
    }
}

static void what_is_to_be_said_is_read_in_order_until_it_has_been(void **state)
{
    struct fixture *f = *state;
    struct page p = {0};
    struct outcome taken = {0};
    make_room(f, ROOM, "a", MATRIX);
    for (int i = 1; i <= 4; i++) {
        char id[16];
        snprintf(id, sizeof(id), "m_%d", i);
        say(f, ROOM, id, NULL, true);
    }
    do_batch(f, dc_matrix_repo_waiting(f->db), look_waiting, &p);
    assert_int_equal(p.waiting, 4);
    do_batch(f, dc_matrix_repo_page(f->db, DC_S(ROOM), 3), look_page, &p);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.ids[0], "m_1");
    assert_string_equal(p.ids[2], "m_3");
    do_batch(f, dc_matrix_repo_said(f->db, DC_S(ROOM), DC_S("m_1"), DC_S("$1")), NULL, NULL);
    do_batch(f, dc_matrix_repo_said(f->db, DC_S(ROOM), DC_S("m_1"), DC_S("$1")), NULL, NULL);
    do_batch(f,
             dc_matrix_repo_refused(f->db, DC_S(ROOM), DC_S("m_2"), DC_S("matrix_forbidden"), noon),
             NULL, NULL);
    do_batch(f, dc_matrix_repo_page(f->db, DC_S(ROOM), 8), look_page, &p);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.ids[0], "m_3");
    /* Another message is that event. */
    begin(dc_matrix_repo_said(f->db, DC_S(ROOM), DC_S("m_3"), DC_S("$1")), &taken);
    await(f, &taken);
    assert_int_equal(taken.status, DC_CONFLICT);
    do_batch(f, dc_matrix_repo_forget(f->db, DC_S(ROOM), DC_S("m_3")), NULL, NULL);
    do_batch(f, dc_matrix_repo_forget_all(f->db), NULL, NULL);
    do_batch(f, dc_matrix_repo_waiting(f->db), look_waiting, &p);
    assert_int_equal(p.n, 0);
    /* A refusal stays, with its reason. */
    assert_int_equal(count_of(f, "select count(*) from matrix_outgoing where message_id = 'm_2'"
                                 " and refused_code = 'matrix_forbidden'"),
                     1);
}

static void ignore_room(void *data, struct dc_city_room *room)
{
    (void)data;
    (void)room;
}

static void look_rooms(void *data, const struct dc_db_result *const *results, size_t n)
{
    assert_int_equal(n, 1);
    dc_repo_read_unknown_rooms(results[0], data, ignore_room, NULL);
}

static void a_room_is_found_by_its_matrix_room(void **state)
{
    struct fixture *f = *state;
    struct dc_city_rooms *rooms = dc_city_rooms_create();
    make_room(f, ROOM, "a", MATRIX);
    make_room(f, "room_city_b", "b", NULL);
    do_batch(f, dc_repo_rooms_of_matrix(f->db, DC_S("[\"" MATRIX "\",\"!none:x\"]")), look_rooms,
             rooms);
    assert_int_equal(dc_city_rooms_count(rooms), 1);
    struct dc_city_room *room = dc_city_rooms_find_matrix(rooms, DC_S(MATRIX));
    assert_non_null(room);
    assert_true(dc_slice_eq(room->row.id, DC_S(ROOM)));
    assert_null(dc_city_rooms_find_matrix(rooms, DC_S("!none:x")));
    /* It may get another one, or none. */
    struct dc_room_row row = {
        .id = DC_S(ROOM), .slug = DC_S("a"), .name = DC_S("A"), .matrix_room_id = DC_S("!new:x")};
    (void)dc_city_rooms_put(rooms, &row);
    assert_null(dc_city_rooms_find_matrix(rooms, DC_S(MATRIX)));
    assert_ptr_equal(dc_city_rooms_find_matrix(rooms, DC_S("!new:x")), room);
    row.matrix_room_id = DC_SLICE_NULL;
    (void)dc_city_rooms_put(rooms, &row);
    assert_null(dc_city_rooms_find_matrix(rooms, DC_S("!new:x")));
    dc_city_rooms_destroy(rooms);
}

/* --- claims --- */

struct claimed {
    bool is_there;
    struct dc_utc at;
};

static void look_claim(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct claimed *c = data;
    assert_int_equal(n, 1);
    c->is_there = dc_gateway_repo_read_claim(results[0], &c->at);
}

static struct claimed claims(struct fixture *f, struct dc_db_batch *b)
{
    struct claimed c = {.is_there = false};
    do_batch(f, b, look_claim, &c);
    return c;
}

#define CLAIM(f, is_fresh)                                                                         \
    claims((f), dc_gateway_repo_claim((f)->db, DC_S("one"), DC_S("@daarion.one:x"), (is_fresh)))

/* As if the last renewal had been so long ago. */
static void grow_old(struct fixture *f, bool is_postgres, int ms)
{
    char sql[200];
    snprintf(sql, sizeof(sql),
             is_postgres ? "update matrix_accounts set claimed_at = claimed_at - %d * interval '1 "
                           "millisecond' returning 1"
                         : "update matrix_accounts set claimed_at = claimed_at - %d returning 1",
             ms);
    dc_free(place_query(&f->place, sql));
}

static bool uses_postgres(const struct fixture *f)
{
    return f->opts.url != NULL;
}

static void a_claim_keeps_others_away_as_long_as_it_is_renewed(void **state)
{
    struct fixture *f = *state;
    struct dc_utc before = dc_utc_now();
    struct claimed mine = CLAIM(f, true);
    assert_true(mine.is_there);
    assert_true(mine.at.ms >= before.ms - 1000 && mine.at.ms <= dc_utc_now().ms + 1000);
    assert_false(CLAIM(f, true).is_there); /* who has seen no row meanwhile */
    assert_false(CLAIM(f, false).is_there);
    for (int i = 0; i < 3; i++) {
        grow_old(f, uses_postgres(f), DC_MATRIX_CLAIM_MS - 1000);
        mine.at.ms -= DC_MATRIX_CLAIM_MS - 1000;
        mine = claims(f, dc_gateway_repo_renew(f->db, DC_S("one"), mine.at));
        assert_true(mine.is_there);
    }
    assert_false(CLAIM(f, false).is_there);
    grow_old(f, uses_postgres(f), DC_MATRIX_CLAIM_MS);
    mine.at.ms -= DC_MATRIX_CLAIM_MS;
    assert_false(CLAIM(f, true).is_there); /* it is no fresh one, whatever was seen */
    struct claimed other = CLAIM(f, false);
    assert_true(other.is_there && other.at.ms != mine.at.ms);
    /* Who has lost it changes nothing any more. */
    assert_false(claims(f, dc_gateway_repo_renew(f->db, DC_S("one"), mine.at)).is_there);
    assert_false(claims(f, dc_gateway_repo_release(f->db, DC_S("one"), mine.at)).is_there);
    do_batch(f, dc_gateway_repo_abandon(f->db, DC_S("one"), mine.at), NULL, NULL);
    assert_false(CLAIM(f, false).is_there);
    assert_true(claims(f, dc_gateway_repo_renew(f->db, DC_S("one"), other.at)).is_there);
}

static void a_claim_that_is_given_up_is_the_next_ones_at_once(void **state)
{
    struct fixture *f = *state;
    struct claimed mine = CLAIM(f, true);
    do_batch(f, dc_gateway_repo_abandon(f->db, DC_S("one"), mine.at), NULL, NULL);
    assert_false(CLAIM(f, true).is_there);
    mine = CLAIM(f, false);
    assert_true(mine.is_there);
    assert_true(claims(f, dc_gateway_repo_release(f->db, DC_S("one"), mine.at)).is_there);
    assert_false(CLAIM(f, false).is_there); /* no row */
    assert_true(CLAIM(f, true).is_there);
    do_batch(f, dc_gateway_repo_confirm(f->db, DC_S("one"), noon), NULL, NULL);
    grow_old(f, uses_postgres(f), DC_MATRIX_CLAIM_MS);
    assert_false(CLAIM(f, false).is_there); /* it has been made */
}

static void look_owners(void *data, const struct dc_db_result *const *results, size_t n)
{
    struct dc_matrix_owner owner;
    (void)data;
    assert_int_equal(n, 1);
    assert_int_equal(dc_db_rows(results[0]), 1);
    dc_gateway_repo_read_owner(results[0], 0, &owner);
    assert_true(dc_slice_eq(owner.matrix_user_id, DC_S("@daarion.one:x")));
    assert_true(dc_slice_eq(owner.user_id, DC_S("one")));
    assert_true(dc_slice_eq(owner.display_name, DC_S("Name of one")));
}

static void only_accounts_that_have_been_made_are_residents(void **state)
{
    struct fixture *f = *state;
    do_batch(f, dc_gateway_repo_claim(f->db, DC_S("one"), DC_S("@daarion.one:x"), true), NULL,
             NULL);
    do_batch(f, dc_gateway_repo_confirm(f->db, DC_S("one"), noon), NULL, NULL);
    do_batch(f, dc_gateway_repo_set_name(f->db, DC_S("one"), DC_S("Name of one")), NULL, NULL);
    do_batch(f, dc_gateway_repo_claim(f->db, DC_S("two"), DC_S("@daarion.two:x"), true), NULL,
             NULL);
    do_batch(f,
             dc_gateway_repo_owners(f->db, DC_S("[\"@daarion.one:x\",\"@daarion.two:x\","
                                                "\"@daarion.three:x\",\"@daarion.one:x\"]")),
             look_owners, NULL);
}

int main(int argc, char **argv)
{
    bool is_postgres = argc == 2 && strcmp(argv[1], "postgres") == 0;
    if (!is_postgres && (argc != 2 || strcmp(argv[1], "sqlite") != 0)) {
        fprintf(stderr, "usage: test_matrix_repo sqlite|postgres\n");
        return 2;
    }
    if (is_postgres && getenv("TEST_DATABASE_URL") == NULL) {
        fprintf(stderr, "skipped: TEST_DATABASE_URL is not set (script/with-postgres)\n");
        return 77;
    }
    place_use_postgres(is_postgres);
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, repo_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_event_is_stored_once_with_all_that_belongs_to_it),
        CASE(an_event_waits_for_the_one_before_it),
        CASE(an_echo_is_what_it_says_only_if_it_can_be),
        CASE(only_what_is_said_here_in_a_bridged_room_is_to_be_said_there),
        CASE(what_is_to_be_said_is_read_in_order_until_it_has_been),
        CASE(a_room_is_found_by_its_matrix_room),
        CASE(only_accounts_that_have_been_made_are_residents),
        CASE(a_claim_keeps_others_away_as_long_as_it_is_renewed),
        CASE(a_claim_that_is_given_up_is_the_next_ones_at_once),
    };
    return cmocka_run_group_tests_name(is_postgres ? "matrix_repo postgres" : "matrix_repo sqlite",
                                       tests, NULL, NULL);
}
