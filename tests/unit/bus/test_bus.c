/* The bus as the program opens it: the city's own streams, counters, health, addresses. */
#include "bus/bus.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct heard {
    unsigned n, n_caught_up;
};

static void on_message(void *data, const struct dc_bus_message *m)
{
    struct heard *h = data;
    h->n++;
    if (m->ack != NULL) {
        dc_bus_ack(m->ack, true);
    }
}

static void on_caught_up(void *data)
{
    struct heard *h = data;
    h->n_caught_up++;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void publish(struct dc_bus *bus, const char *subject, const char *id)
{
    assert_int_equal(
        dc_bus_publish(bus, dc_slice_z(subject), dc_slice_z(id), DC_S("{}"), NULL, NULL, NULL),
        DC_OK);
}

static void listen_to(struct dc_bus *bus, const char *pattern, enum dc_bus_start start,
                      const char *durable, struct heard *h)
{
    const struct dc_bus_sub_opts opts = {.pattern = dc_slice_z(pattern),
                                         .start = start,
                                         .durable = durable,
                                         .caught_up = on_caught_up};
    struct dc_bus_sub *sub = NULL;
    assert_int_equal(dc_bus_subscribe(bus, &opts, on_message, h, &sub, NULL), DC_OK);
}

static uint64_t counter(struct dc_metrics *m, const char *name)
{
    return dc_metrics_counter(m, name, NULL, "")->value;
}

static void the_streams_of_the_city_work_and_are_counted(void **state)
{
    (void)state;
    struct dc_metrics *metrics = dc_metrics_create();
    struct dc_health *health = dc_health_create();
    struct dc_loop *loop = NULL;
    struct dc_bus *bus = NULL;
    assert_int_equal(dc_loop_create(&loop, NULL), DC_OK);
    const struct dc_bus_opts opts = {.metrics = metrics,
                                     .health = dc_health_add(health, "bus", true)};
    assert_int_equal(dc_bus_open(loop, &opts, &bus, NULL), DC_OK);
    assert_int_equal(dc_health_overall(health), DC_HEALTH_OK);
    publish(bus, "city.presence.room.plaza", "");
    publish(bus, "city.presence.room.plaza", "");
    publish(bus, "city.presence.user.u_1", "");
    publish(bus, "city.chat.general", "m1");
    publish(bus, "city.chat.general", "m1");
    publish(bus, "usage.llm", "");
    publish(bus, "agents.invoke", "");
    assert_int_equal(
        dc_bus_publish(bus, DC_S("city.>"), DC_SLICE_NULL, DC_S("{}"), NULL, NULL, NULL),
        DC_INVALID);
    struct heard rooms = {0}, chat = {0}, usage = {0}, plain = {0};
    listen_to(bus, "city.presence.room.*", DC_BUS_LAST, NULL, &rooms);
    listen_to(bus, "city.chat.*", DC_BUS_ALL, NULL, &chat);
    listen_to(bus, "usage.llm", DC_BUS_ALL, "living-map", &usage);
    listen_to(bus, "agents.*", DC_BUS_ALL, NULL, &plain);
    for (int i = 0; i < 10; i++) {
        (void)dc_loop_step(loop);
    }
    assert_int_equal(rooms.n, 1); /* the last one only */
    assert_int_equal(chat.n, 1);  /* the other was a duplicate */
    assert_int_equal(usage.n, 1);
    assert_int_equal(plain.n, 0); /* nothing is kept */
    assert_int_equal(rooms.n_caught_up + chat.n_caught_up + usage.n_caught_up + plain.n_caught_up,
                     4);
    assert_int_equal(counter(metrics, "daarion_bus_published_total"), 7);
    assert_int_equal(counter(metrics, "daarion_bus_publish_failed_total"), 1);
    assert_int_equal(counter(metrics, "daarion_bus_duplicates_total"), 1);
    assert_int_equal(counter(metrics, "daarion_bus_delivered_total"), 3);
    assert_int_equal(counter(metrics, "daarion_bus_evicted_total"), 0);
    bool is_closed = false;
    dc_bus_close(bus, on_closed, &is_closed);
    dc_loop_run(loop); /* ends by itself: nothing is left */
    assert_true(is_closed);
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
    dc_health_destroy(health);
    dc_metrics_destroy(metrics);
}

static void an_address_that_nobody_can_speak_is_refused(void **state)
{
    (void)state;
    struct dc_loop *loop = NULL;
    assert_int_equal(dc_loop_create(&loop, NULL), DC_OK);
    struct dc_bus *bus = NULL;
    struct dc_error err = {0};
    struct dc_metrics *metrics = dc_metrics_create();
    const struct dc_bus_opts opts = {.url = "http://secret@127.0.0.1", .metrics = metrics};
    assert_int_equal(dc_bus_open(loop, &opts, &bus, &err), DC_CONFIG);
    dc_metrics_destroy(metrics);
    assert_null(bus);
    assert_non_null(strstr(err.text, "NATS_URL"));
    assert_null(strstr(err.text, "secret"));
    assert_int_equal(dc_loop_destroy(loop), DC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_streams_of_the_city_work_and_are_counted),
        cmocka_unit_test(an_address_that_nobody_can_speak_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
