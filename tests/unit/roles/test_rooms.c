/* The room directory: order, finding, putting again, last words, default rooms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "roles/city/rooms.h"

static struct dc_room_row row_of(const char *slug, int64_t created_ms, bool is_default)
{
    static char ids[16][80];
    static size_t next;
    char *id = ids[next++ % DC_ARRAY_LEN(ids)];
    int n = snprintf(id, sizeof(ids[0]), "room_city_%s", slug);
    return (struct dc_room_row){.id = dc_slice_make(id, (size_t)n),
                                .slug = dc_slice_z(slug),
                                .name = dc_slice_z(slug),
                                .is_default = is_default,
                                .created_at = {created_ms}};
}

static struct dc_city_room *put(struct dc_city_rooms *rooms, const char *slug, int64_t created_ms,
                                bool is_default)
{
    const struct dc_room_row row = row_of(slug, created_ms, is_default);
    return dc_city_rooms_put(rooms, &row);
}

static void assert_order(const struct dc_city_rooms *rooms, const char *const *slugs, size_t n)
{
    const struct dc_city_room *room = NULL;
    assert_int_equal(dc_city_rooms_count(rooms), n);
    for (size_t i = 0; i < n; i++) {
        room = dc_city_rooms_next(rooms, room);
        assert_non_null(room);
        if (!dc_slice_eq(room->row.slug, dc_slice_z(slugs[i]))) {
            fail_msg("place %zu: %.*s, want %s", i, DC_SLICE_ARG(room->row.slug), slugs[i]);
        }
    }
    assert_null(dc_city_rooms_next(rooms, room));
}

static void default_rooms_come_first_then_the_newest_whatever_the_order_of_putting(void **state)
{
    static const struct {
        const char *slug;
        int64_t ms;
        bool is_default;
    } made[] = {{"general", 1, true}, {"welcome", 2, true}, {"c", 300, false},
                {"b", 200, false},    {"b2", 200, false},   {"a", 100, false}};
    static const char *const want[] = {"general", "welcome", "c", "b", "b2", "a"};
    (void)state;
    /* Every rotation, forwards and backwards. */
    for (size_t start = 0; start < 2 * DC_ARRAY_LEN(made); start++) {
        struct dc_city_rooms *rooms = dc_city_rooms_create();
        for (size_t k = 0; k < DC_ARRAY_LEN(made); k++) {
            size_t i = (start + k) % DC_ARRAY_LEN(made);
            i = start < DC_ARRAY_LEN(made) ? i : DC_ARRAY_LEN(made) - 1 - i;
            (void)put(rooms, made[i].slug, made[i].ms, made[i].is_default);
        }
        assert_order(rooms, want, DC_ARRAY_LEN(want));
        dc_city_rooms_destroy(rooms);
    }
}

static void a_room_is_found_by_id_and_by_slug_and_by_nothing_else(void **state)
{
    (void)state;
    struct dc_city_rooms *rooms = dc_city_rooms_create();
    assert_null(dc_city_rooms_next(rooms, NULL));
    assert_null(dc_city_rooms_find(rooms, DC_S("plaza")));
    const struct dc_city_room *room = put(rooms, "plaza", 1, false);
    (void)put(rooms, "park", 2, false);
    assert_ptr_equal(dc_city_rooms_find(rooms, DC_S("plaza")), room);
    assert_ptr_equal(dc_city_rooms_find(rooms, DC_S("room_city_plaza")), room);
    assert_null(dc_city_rooms_find(rooms, DC_S("Plaza")));
    assert_null(dc_city_rooms_find(rooms, DC_S("plaz")));
    assert_null(dc_city_rooms_find(rooms, DC_S("")));
    assert_null(dc_city_rooms_find(rooms, DC_SLICE_NULL));
    dc_city_rooms_destroy(rooms);
    dc_city_rooms_destroy(NULL);
}

static void putting_again_keeps_the_room_and_what_it_knows(void **state)
{
    (void)state;
    struct dc_city_rooms *rooms = dc_city_rooms_create();
    struct dc_city_room *room = put(rooms, "plaza", 100, false);
    (void)put(rooms, "park", 200, false);
    const struct dc_last_message last = {
        .id = DC_S("m_1"), .username = DC_S("N"), .snippet = DC_S("s"), .created_at = {5}};
    dc_city_room_set_last(room, 7, &last);
    struct dc_room_row renamed = row_of("plaza", 300, false);
    renamed.slug = DC_S("square");
    renamed.description = DC_S("new");
    assert_ptr_equal(dc_city_rooms_put(rooms, &renamed), room);
    assert_null(dc_city_rooms_find(rooms, DC_S("plaza")));
    assert_ptr_equal(dc_city_rooms_find(rooms, DC_S("square")), room);
    assert_ptr_equal(dc_city_rooms_find(rooms, DC_S("room_city_plaza")), room);
    assert_true(dc_slice_eq(room->row.description, DC_S("new")));
    assert_int_equal(room->last_position, 7);
    assert_true(dc_slice_eq(room->last.id, DC_S("m_1")));
    static const char *const want[] = {"square", "park"};
    assert_order(rooms, want, 2);
    /* With its own row, whose texts are about to be replaced. */
    assert_ptr_equal(dc_city_rooms_put(rooms, &room->row), room);
    assert_true(dc_slice_eq(room->row.slug, DC_S("square")));
    dc_city_rooms_destroy(rooms);
}

static void older_last_words_are_ignored(void **state)
{
    (void)state;
    struct dc_city_rooms *rooms = dc_city_rooms_create();
    struct dc_city_room *room = put(rooms, "plaza", 1, false);
    const struct dc_last_message newer = {
        .id = DC_S("m_5"), .username = DC_S("N"), .created_at = {500}};
    const struct dc_last_message older = {
        .id = DC_S("m_4"), .username = DC_S("N"), .snippet = DC_S("old"), .created_at = {400}};
    const struct dc_last_message none = {0};
    dc_city_room_set_last(room, 5, &newer);
    dc_city_room_set_last(room, 4, &older);
    assert_int_equal(room->last_position, 5);
    assert_true(dc_slice_eq(room->last.id, DC_S("m_5")));
    assert_int_equal(room->last_event.ms, 500);
    assert_non_null(room->last.snippet.ptr); /* empty, not missing */
    dc_city_room_set_last(room, 6, &none);
    assert_int_equal(room->last_position, 6);
    assert_true(dc_slice_eq(room->last.id, DC_S("m_5")));
    dc_city_rooms_destroy(rooms);
}

static void a_room_is_written_with_null_for_what_is_not_there(void **state)
{
    (void)state;
    struct dc_city_rooms *rooms = dc_city_rooms_create();
    struct dc_city_room *room = put(rooms, "plaza", 0, true);
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_city_room_write(room, &w);
    dc_jsonw_end(&w);
    assert_true(dc_slice_eq(
        dc_strbuf_slice(&out),
        DC_S("{\"id\":\"room_city_plaza\",\"slug\":\"plaza\",\"name\":\"plaza\","
             "\"description\":null,\"is_default\":true,\"archived\":false,"
             "\"created_at\":\"1970-01-01T00:00:00.000Z\",\"created_by\":null,"
             "\"members_online\":0,\"away_count\":0,\"typing_count\":0,\"last_event\":null,"
             "\"last_message\":null,\"matrix_room_id\":null,\"matrix_room_alias\":null}")));
    dc_strbuf_free(&out);
    dc_city_rooms_destroy(rooms);
}

static void ids_of_rooms_are_bounded_in_bytes(void **state)
{
    char long_id[DC_ROOM_ID_MAX_BYTES + 2];
    (void)state;
    memset(long_id, 'x', sizeof(long_id));
    assert_true(dc_room_id_is_valid(dc_slice_make(long_id, DC_ROOM_ID_MAX_BYTES)));
    assert_false(dc_room_id_is_valid(dc_slice_make(long_id, DC_ROOM_ID_MAX_BYTES + 1)));
    assert_false(dc_room_id_is_valid(DC_S("")));
    assert_false(dc_room_id_is_valid(DC_S("a b")));
    /* 40 characters of four bytes */
    struct dc_strbuf wide = {0};
    for (int i = 0; i < 40; i++) {
        dc_strbuf_add(&wide, DC_S("😀"));
    }
    assert_false(dc_room_id_is_valid(dc_strbuf_slice(&wide)));
    dc_strbuf_free(&wide);
}

/* --- default rooms --- */

struct visited {
    size_t n;
    char text[512]; /* "slug=name;" for each */
};

static void visit(void *data, const struct dc_room_row *row)
{
    struct visited *v = data;
    size_t len = strlen(v->text);
    assert_true(row->is_default);
    assert_true(dc_slice_starts(row->id, DC_S("room_city_")));
    assert_true(dc_slice_ends(row->id, row->slug));
    snprintf(v->text + len, sizeof(v->text) - len, "%.*s=%.*s;", DC_SLICE_ARG(row->slug),
             DC_SLICE_ARG(row->name));
    v->n++;
}

static void lists_of_default_rooms_are_read_in_their_order(void **state)
{
    static const struct {
        const char *list, *want;
    } cases[] = {
        {"", ""},
        {" , ,", ""},
        {"general", "general=General;"},
        {" general , open-lab,my_room ", "general=General;open-lab=Open lab;my_room=My room;"},
        {"42,a", "42=42;a=A;"},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        struct visited v = {0};
        struct dc_error err = {0};
        assert_int_equal(dc_city_default_rooms(dc_slice_z(cases[i].list), visit, &v, &err), DC_OK);
        assert_string_equal(v.text, cases[i].want);
    }
}

static void a_bad_slug_among_the_default_rooms_is_named(void **state)
{
    static const char *const lists[] = {"Not A Slug", "general,-x", "general,ÜBER", "a/b",
                                        "general,_x,welcome"};
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(lists); i++) {
        struct visited v = {0};
        struct dc_error err = {0};
        assert_int_equal(dc_city_default_rooms(dc_slice_z(lists[i]), visit, &v, &err), DC_CONFIG);
        assert_non_null(strstr(err.text, "CITY_DEFAULT_ROOMS"));
        assert_true(v.n <= 1);
    }
    /* 63 characters are a slug, 64 are none. */
    char list[65];
    struct visited v = {0};
    memset(list, 'a', sizeof(list));
    list[64] = '\0';
    assert_int_equal(dc_city_default_rooms(dc_slice_z(list), visit, &v, NULL), DC_CONFIG);
    list[63] = '\0';
    assert_int_equal(dc_city_default_rooms(dc_slice_z(list), visit, &v, NULL), DC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_rooms_come_first_then_the_newest_whatever_the_order_of_putting),
        cmocka_unit_test(a_room_is_found_by_id_and_by_slug_and_by_nothing_else),
        cmocka_unit_test(putting_again_keeps_the_room_and_what_it_knows),
        cmocka_unit_test(older_last_words_are_ignored),
        cmocka_unit_test(a_room_is_written_with_null_for_what_is_not_there),
        cmocka_unit_test(ids_of_rooms_are_bounded_in_bytes),
        cmocka_unit_test(lists_of_default_rooms_are_read_in_their_order),
        cmocka_unit_test(a_bad_slug_among_the_default_rooms_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
