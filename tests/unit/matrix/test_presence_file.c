/* daarion-presence.yaml: what is in it for which size, and that it takes an earlier one's place. */
#include "base/mem.h"
#include "matrix/presence_file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct dc_slice rooms[] = {
    {"!abc:daarion.space", 18}, {"!without-a-server", 17}, {"!it's:daarion.space", 19}};

static enum dc_status write_text(int64_t people, struct dc_slice observer,
                                 const struct dc_slice *ids, size_t n, struct dc_strbuf *out)
{
    const struct dc_matrix_presence_config config = {
        .people = people, .observer = observer, .room_ids = ids, .n_room_ids = n};
    struct dc_error err = {0};
    enum dc_status st = dc_matrix_presence_text(&config, out, &err);
    dc_strbuf_add_char(out, '\0');
    assert_true(dc_strbuf_ok(out));
    return st;
}

static void what_is_in_it_goes_by_the_number_of_people(void **state)
{
    (void)state;
    static const struct {
        int64_t people;
        bool has_router, has_rooms, has_timers;
    } rows[] = {
        {1, false, false, false},   {999, false, false, false}, {1000, true, false, false},
        {9999, true, false, false}, {10000, true, true, false}, {99999, true, true, false},
        {100000, true, true, true},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_strbuf out = {0};
        assert_int_equal(dc_matrix_presence_wants_rooms(rows[i].people), rows[i].has_rooms);
        assert_int_equal(write_text(rows[i].people, DC_S("@presence_daemon:daarion.space"), rooms,
                                    DC_ARRAY_LEN(rooms), &out),
                         DC_OK);
        if ((strstr(out.ptr, "\nmodules:\n") != NULL) != rows[i].has_router ||
            (strstr(out.ptr, "\nexclude_rooms_from_presence:\n") != NULL) != rows[i].has_rooms ||
            (strstr(out.ptr, "\npresence:\n") != NULL) != rows[i].has_timers) {
            fail_msg("%lld people:\n%s", (long long)rows[i].people, out.ptr);
        }
        dc_strbuf_free(&out);
    }
}

static void ids_are_quoted_and_nothing_else_gets_in(void **state)
{
    (void)state;
    struct dc_strbuf out = {0};
    assert_int_equal(
        write_text(10000, DC_S("@presence_daemon:daarion.space"), rooms, DC_ARRAY_LEN(rooms), &out),
        DC_OK);
    assert_non_null(strstr(out.ptr, "\n        - '@presence_daemon:daarion.space'\n"));
    assert_non_null(strstr(out.ptr, "exclude_rooms_from_presence:\n  - '!abc:daarion.space'\n"
                                    "  - '!without-a-server'\n  - '!it''s:daarion.space'\n"));
    dc_strbuf_free(&out);
    assert_int_equal(write_text(10000, DC_S("@presence_daemon:daarion.space"), NULL, 0, &out),
                     DC_OK);
    assert_non_null(strstr(out.ptr, "\nexclude_rooms_from_presence: []\n"));
    dc_strbuf_free(&out);
    static const char *const bad[] = {"#abc:x", "", "!", "!a b:x", "!a\nmodules: []"};
    for (size_t i = 0; i < DC_ARRAY_LEN(bad); i++) {
        const struct dc_slice id = dc_slice_z(bad[i]);
        assert_int_equal(write_text(10000, DC_S("@p:x"), &id, 1, &out), DC_INVALID);
        dc_strbuf_free(&out);
    }
    assert_int_equal(write_text(10000, DC_S("presence_daemon"), NULL, 0, &out), DC_INVALID);
    dc_strbuf_free(&out);
}

static void read_file(const char *path, char *text, size_t size)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
}

static void it_takes_the_place_of_an_earlier_one_or_leaves_it(void **state)
{
    (void)state;
    char dir[] = "/tmp/dc-test-presence.XXXXXX";
    char text[64];
    char blocked[80];
    struct stat info;
    struct dc_error err = {0};
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 2; i++) {
        struct dc_strbuf path = {0};
        assert_int_equal(
            dc_matrix_presence_write(dir, i == 0 ? DC_S("a longer one") : DC_S("two"), &path, &err),
            DC_OK);
        dc_strbuf_add_char(&path, '\0');
        assert_true(dc_strbuf_ok(&path));
        read_file(path.ptr, text, sizeof(text));
        assert_string_equal(text, i == 0 ? "a longer one" : "two");
        assert_int_equal(stat(path.ptr, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
        dc_strbuf_free(&path);
    }
    /* What cannot be written harms nothing. */
    struct dc_strbuf path = {0};
    snprintf(blocked, sizeof(blocked), "%s/" DC_MATRIX_PRESENCE_FILE ".new", dir);
    assert_int_equal(symlink("/dev/null", blocked), 0);
    assert_int_equal(dc_matrix_presence_write(dir, DC_S("three"), &path, &err), DC_CONFIG);
    assert_non_null(strstr(dc_error_text(&err), blocked));
    assert_int_equal(path.len, 0);
    snprintf(blocked, sizeof(blocked), "%s/" DC_MATRIX_PRESENCE_FILE, dir);
    read_file(blocked, text, sizeof(text));
    assert_string_equal(text, "two");
    assert_int_equal(unlink(blocked), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(dc_matrix_presence_write(dir, DC_S("x"), &path, &err), DC_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_it_goes_by_the_number_of_people),
        cmocka_unit_test(ids_are_quoted_and_nothing_else_gets_in),
        cmocka_unit_test(it_takes_the_place_of_an_earlier_one_or_leaves_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
