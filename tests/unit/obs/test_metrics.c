/* The metrics page: order, escaping, buckets, process figures. */
#include "base/mem.h"
#include "dies.h"
#include "obs/metrics.h"
#include "obs/process.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* The page as text; dc_free() it. */
static char *render(const struct dc_metrics *m)
{
    struct dc_strbuf out = {0};

    dc_metrics_render(m, &out);
    assert_true(dc_strbuf_ok(&out));
    char *text = dc_slice_dup_z(dc_strbuf_slice(&out));
    dc_strbuf_free(&out);
    return text;
}

/* The part of the page that modules registered. */
static char *render_own(const struct dc_metrics *m)
{
    char *text = render(m);
    char *process = strstr(text, "# HELP process_");

    assert_non_null(process);
    *process = '\0';
    return text;
}

static void page_is_sorted_with_help_and_type_once_a_name(void **state)
{
    struct dc_metrics *m = dc_metrics_create();

    (void)state;
    dc_metrics_counter(m, "daarion_ws_frames_total", "direction=\"out\"", "Frames.")->value = 7;
    dc_metrics_gauge(m, "daarion_http_open_connections", NULL, "Open connections.")->value = -3;
    dc_metrics_counter(m, "daarion_ws_frames_total", "direction=\"in\"", "Second text.")->value =
        UINT64_MAX;
    dc_metrics_counter(m, "daarion_ws_frames", NULL, "A prefix of another name.");
    char *text = render_own(m);
    assert_string_equal(text, "# HELP daarion_http_open_connections Open connections.\n"
                              "# TYPE daarion_http_open_connections gauge\n"
                              "daarion_http_open_connections -3\n"
                              "# HELP daarion_ws_frames A prefix of another name.\n"
                              "# TYPE daarion_ws_frames counter\n"
                              "daarion_ws_frames 0\n"
                              "# HELP daarion_ws_frames_total Second text.\n"
                              "# TYPE daarion_ws_frames_total counter\n"
                              "daarion_ws_frames_total{direction=\"in\"} 18446744073709551615\n"
                              "daarion_ws_frames_total{direction=\"out\"} 7\n");
    dc_free(text);
    dc_metrics_destroy(m);
}

static void same_name_and_labels_give_the_same_metric(void **state)
{
    struct dc_metrics *m = dc_metrics_create();

    (void)state;
    struct dc_counter *c = dc_metrics_counter(m, "daarion_a_total", "k=\"1\"", "A.");
    assert_ptr_equal(dc_metrics_counter(m, "daarion_a_total", "k=\"1\"", "A."), c);
    assert_ptr_not_equal(dc_metrics_counter(m, "daarion_a_total", "k=\"2\"", "A."), c);
    assert_ptr_not_equal(dc_metrics_counter(m, "daarion_a_total", NULL, "A."), c);
    assert_ptr_equal(dc_metrics_gauge(m, "daarion_g", "", "G."),
                     dc_metrics_gauge(m, "daarion_g", NULL, "G."));
    assert_ptr_equal(dc_metrics_histogram(m, "daarion_h_seconds", NULL, "H."),
                     dc_metrics_histogram(m, "daarion_h_seconds", NULL, "H."));
    dc_metrics_destroy(m);
}

static void pointers_stay_valid_while_many_metrics_are_added(void **state)
{
    struct dc_metrics *m = dc_metrics_create();
    struct dc_counter *c[500];
    char labels[32];

    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(c); i++) {
        snprintf(labels, sizeof(labels), "k=\"%zu\"", (i * 7919) % DC_ARRAY_LEN(c));
        c[i] = dc_metrics_counter(m, "daarion_many_total", labels, "Many.");
        c[i]->value = i;
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(c); i++) {
        snprintf(labels, sizeof(labels), "k=\"%zu\"", (i * 7919) % DC_ARRAY_LEN(c));
        assert_ptr_equal(dc_metrics_counter(m, "daarion_many_total", labels, "Many."), c[i]);
        assert_true(c[i]->value == i);
    }
    dc_metrics_destroy(m);
}

static void help_is_escaped_and_labels_are_as_given(void **state)
{
    struct dc_metrics *m = dc_metrics_create();

    (void)state;
    dc_metrics_gauge(m, "daarion_e", "server=\"public\",code=\"2xx\"", "One \\ two\n\"three\".");
    char *text = render_own(m);
    assert_string_equal(text, "# HELP daarion_e One \\\\ two\\n\"three\".\n"
                              "# TYPE daarion_e gauge\n"
                              "daarion_e{server=\"public\",code=\"2xx\"} 0\n");
    dc_free(text);
    dc_metrics_destroy(m);
}

static void histogram_counts_into_cumulative_buckets_in_seconds(void **state)
{
    struct dc_metrics *m = dc_metrics_create();
    struct dc_histogram *h =
        dc_metrics_histogram(m, "daarion_db_seconds", "op=\"read\"", "Database calls.");

    (void)state;
    dc_histogram_observe_us(h, 0);
    dc_histogram_observe_us(h, 50);
    dc_histogram_observe_us(h, 51);
    dc_histogram_observe_us(h, 2500);
    dc_histogram_observe_us(h, 10000000);
    dc_histogram_observe_us(h, 10000001);
    char *text = render_own(m);
    assert_string_equal(text, "# HELP daarion_db_seconds Database calls.\n"
                              "# TYPE daarion_db_seconds histogram\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.00005\"} 2\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.0001\"} 3\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.00025\"} 3\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.0005\"} 3\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.001\"} 3\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.0025\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.005\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.01\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.025\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.05\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.1\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.25\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"0.5\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"1\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"2.5\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"5\"} 4\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"10\"} 5\n"
                              "daarion_db_seconds_bucket{op=\"read\",le=\"+Inf\"} 6\n"
                              "daarion_db_seconds_sum{op=\"read\"} 20.002602\n"
                              "daarion_db_seconds_count{op=\"read\"} 6\n");
    dc_free(text);
    dc_metrics_destroy(m);
}

static void histogram_without_labels_has_only_the_bound_as_label(void **state)
{
    struct dc_metrics *m = dc_metrics_create();

    (void)state;
    dc_histogram_observe_us(dc_metrics_histogram(m, "daarion_h_seconds", NULL, "H."), 1);
    char *text = render_own(m);
    assert_non_null(strstr(text, "\ndaarion_h_seconds_bucket{le=\"0.00005\"} 1\n"));
    assert_non_null(strstr(text, "\ndaarion_h_seconds_sum 0.000001\n"));
    assert_non_null(strstr(text, "\ndaarion_h_seconds_count 1\n"));
    dc_free(text);
    dc_metrics_destroy(m);
}

static void count_nowhere(void *data)
{
    dc_metrics_counter(data, "daarion_a_total", NULL, "A.")->value++;
}

static void give_one_name_two_types(void *data)
{
    dc_metrics_counter(data, "daarion_a_total", "code=\"1\"", "A.")->value++;
    dc_metrics_gauge(data, "daarion_a_total", "code=\"2\"", "A.")->value++;
}

static void what_only_a_mistake_of_ours_can_do_aborts(void **state)
{
    struct dc_metrics *m = dc_metrics_create();

    (void)state;
    assert_true(dies_with("m != NULL", count_nowhere, NULL));
    assert_true(dies_with("->type == type", give_one_name_two_types, m));
    dc_metrics_destroy(m);
    dc_metrics_destroy(NULL);
}

/* The value behind `\nname `. */
static double value_of(const char *text, const char *name)
{
    char key[64];
    char *end;

    snprintf(key, sizeof(key), "\n%s ", name);
    const char *at = strstr(text, key);
    assert_non_null(at);
    double v = strtod(at + strlen(key), &end);
    assert_int_equal(*end, '\n');
    return v;
}

static void page_ends_with_the_figures_of_the_process(void **state)
{
    struct dc_metrics *m = dc_metrics_create();
    char *text = render(m);
    double now_s = (double)time(NULL);

    (void)state;
    assert_true(value_of(text, "process_cpu_seconds_total") >= 0);
    assert_true(value_of(text, "process_resident_memory_bytes") > 4096);
    assert_true(value_of(text, "process_open_fds") >= 1);
    /* A test process is younger than a day, and did not start in the future. */
    assert_true(value_of(text, "process_start_time_seconds") <= now_s + 1);
    assert_true(value_of(text, "process_start_time_seconds") > now_s - 86400);
    assert_non_null(strstr(text, "# TYPE process_cpu_seconds_total counter\n"));
    dc_free(text);
    dc_metrics_destroy(m);
}

static void open_descriptors_are_counted_exactly(void **state)
{
    uint64_t before = 0;
    uint64_t with = 0;
    int fds[8];

    (void)state;
    assert_true(dc_process_open_fds(&before));
    for (size_t i = 0; i < DC_ARRAY_LEN(fds); i++) {
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(fds[i] >= 0);
    }
    assert_true(dc_process_open_fds(&with));
    assert_int_equal(with - before, DC_ARRAY_LEN(fds));
    for (size_t i = 0; i < DC_ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
    assert_true(dc_process_open_fds(&with));
    assert_int_equal(with, before);
}

static void cpu_time_grows_with_work(void **state)
{
    uint64_t before = 0;
    uint64_t after = 0;

    (void)state;
    assert_true(dc_process_cpu_us(&before));
    do { /* busy until the clock has moved; it must */
        assert_true(dc_process_cpu_us(&after));
    } while (after < before + 1000);
    assert_true(after > before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_is_sorted_with_help_and_type_once_a_name),
        cmocka_unit_test(same_name_and_labels_give_the_same_metric),
        cmocka_unit_test(pointers_stay_valid_while_many_metrics_are_added),
        cmocka_unit_test(help_is_escaped_and_labels_are_as_given),
        cmocka_unit_test(histogram_counts_into_cumulative_buckets_in_seconds),
        cmocka_unit_test(histogram_without_labels_has_only_the_bound_as_label),
        cmocka_unit_test(what_only_a_mistake_of_ours_can_do_aborts),
        cmocka_unit_test(page_ends_with_the_figures_of_the_process),
        cmocka_unit_test(open_descriptors_are_counted_exactly),
        cmocka_unit_test(cpu_time_grows_with_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
