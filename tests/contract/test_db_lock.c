/* The lock of a process in PostgreSQL: who may have it beside whom, and what happens when its
 * connection ends. */
#include "base/mem.h"
#include "db/postgres_lock.h"
#include "db_fixture.h"
#include "db_suites.h"
#include <string.h>

/* One process that wants it. */
struct holder {
    struct dc_pg_lock *lock;
    unsigned held, taken, away, config;
    bool has_heard; /* cleared by whoever waits */
    char text[200];
};

static void on_heard(void *data, const struct dc_error *err)
{
    struct holder *h = data;

    h->held += err->status == DC_OK;
    h->taken += err->status == DC_CONFLICT;
    h->away += err->status == DC_UNAVAILABLE;
    h->config += err->status == DC_CONFIG;
    h->has_heard = true;
    snprintf(h->text, sizeof(h->text), "%s", dc_error_text(err));
}

static void want_at(struct fixture *f, struct holder *h, const char *url, bool is_shared)
{
    const struct dc_pg_lock_opts opts = {
        .url = url, .is_shared = is_shared, .patience_ms = 0, .log = f->log};

    *h = (struct holder){.lock = NULL};
    assert_int_equal(dc_pg_lock_open(f->loop, &opts, on_heard, h, &h->lock, NULL), DC_OK);
    assert_false(h->has_heard);
}

static void want(struct fixture *f, struct holder *h, bool is_shared)
{
    want_at(f, h, f->place.url, is_shared);
}

static void until_heard(struct fixture *f, struct holder *h)
{
    h->has_heard = false;
    fixture_until(f, &h->has_heard);
}

static void get(struct fixture *f, struct holder *h, bool is_shared)
{
    want(f, h, is_shared);
    until_heard(f, h);
    assert_string_equal(h->text, "ok");
    assert_int_equal(h->held, 1);
}

/* Somebody in front of it; it goes on trying. */
static void get_none(struct fixture *f, struct holder *h, bool is_shared)
{
    want(f, h, is_shared);
    until_heard(f, h);
    assert_int_equal(h->taken, 1);
    assert_int_equal(h->held, 0);
}

static void exclusive_is_for_one_and_goes_to_the_next_when_released(void **state)
{
    struct fixture *f = *state;
    struct holder a, b;

    get(f, &a, false);
    get_none(f, &b, false);
    dc_pg_lock_close(a.lock);
    while (b.held == 0) {
        until_heard(f, &b);
    }
    assert_int_equal(a.held, 1);
    dc_pg_lock_close(b.lock);
}

static void shared_ones_stand_beside_each_other_and_not_beside_an_exclusive_one(void **state)
{
    struct fixture *f = *state;
    struct holder a, b, alone;

    get(f, &a, true);
    get(f, &b, true);
    get_none(f, &alone, false);
    dc_pg_lock_close(a.lock);
    dc_pg_lock_close(b.lock);
    while (alone.held == 0) {
        until_heard(f, &alone);
    }
    get_none(f, &a, true);
    dc_pg_lock_close(a.lock);
    dc_pg_lock_close(alone.lock);
}

static void two_schemas_are_two_cities(void **state)
{
    struct fixture *f = *state;
    struct place other;
    struct holder a, b;

    place_create(&other);
    get(f, &a, false);
    want_at(f, &b, other.url, false);
    until_heard(f, &b);
    assert_int_equal(b.held, 1);
    dc_pg_lock_close(a.lock);
    dc_pg_lock_close(b.lock);
    place_remove(&other);
}

/* By its name, and only those of this schema. */
static void cut(struct fixture *f)
{
    place_exec(&f->place,
               "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN pg_locks l"
               " ON l.pid = a.pid AND l.locktype = 'advisory' AND l.granted"
               " AND l.objid = (hashtext(current_schema())::bigint & 4294967295)::oid"
               " WHERE a.application_name = 'daarion-lock'");
}

static void it_is_got_again_when_its_connection_is_cut(void **state)
{
    struct fixture *f = *state;
    struct holder a, b;

    get(f, &a, false);
    for (unsigned i = 2; i <= 3; i++) {
        cut(f);
        while (a.held < i) {
            until_heard(f, &a);
        }
    }
    get_none(f, &b, false);
    dc_pg_lock_close(a.lock);
    dc_pg_lock_close(b.lock);
}

static void it_is_got_again_when_the_server_comes_back(void **state)
{
    struct fixture *f = *state;
    struct holder a;

    if (!place_can_restart()) {
        skip();
    }
    get(f, &a, false);
    fixture_server(f, "stop");
    while (a.away == 0) {
        until_heard(f, &a);
    }
    fixture_server(f, "start");
    while (a.held < 2) {
        until_heard(f, &a);
    }
    dc_pg_lock_close(a.lock);
}

static void what_can_never_work_is_told_with_the_name_of_the_setting(void **state)
{
    struct fixture *f = *state;
    struct holder a;
    struct dc_error err;
    char url[512];
    const struct dc_pg_lock_opts bad = {.url = "postgresql://u:hunter2@h:0/d"};

    assert_int_equal(dc_pg_lock_open(f->loop, &bad, on_heard, &a, &a.lock, &err), DC_CONFIG);
    assert_non_null(strstr(dc_error_text(&err), "DATABASE_URL"));
    assert_null(strstr(dc_error_text(&err), "hunter2"));
    place_url_with("hunter2", NULL, url, sizeof(url));
    want_at(f, &a, url, false);
    until_heard(f, &a);
    assert_int_equal(a.config, 1);
    assert_non_null(strstr(a.text, "DATABASE_URL"));
    assert_null(strstr(a.text, "hunter2"));
    dc_pg_lock_close(a.lock);
}

/* At every moment of its life: the loop must then be empty (teardown). */
static void it_can_be_closed_at_any_moment(void **state)
{
    struct fixture *f = *state;
    struct holder a;

    dc_pg_lock_close(NULL);
    for (unsigned turns = 0; turns < 50; turns++) {
        want(f, &a, turns % 2 == 0);
        fixture_turns(f, turns);
        dc_pg_lock_close(a.lock);
    }
    get(f, &a, false);
    cut(f);
    dc_pg_lock_close(a.lock);
    want_at(f, &a, "postgresql://127.0.0.1:1/nobody_listens", false);
    until_heard(f, &a);
    assert_int_equal(a.away, 1);
    dc_pg_lock_close(a.lock);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int db_lock_suite(void)
{
    const struct CMUnitTest cases[] = {
        CASE(exclusive_is_for_one_and_goes_to_the_next_when_released),
        CASE(shared_ones_stand_beside_each_other_and_not_beside_an_exclusive_one),
        CASE(two_schemas_are_two_cities),
        CASE(it_is_got_again_when_its_connection_is_cut),
        CASE(it_is_got_again_when_the_server_comes_back),
        CASE(what_can_never_work_is_told_with_the_name_of_the_setting),
        CASE(it_can_be_closed_at_any_moment),
    };
    return cmocka_run_group_tests_name("lock", cases, NULL, NULL);
}
