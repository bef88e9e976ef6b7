/* Counters, gauges and histograms, rendered as Prometheus text (version 0.0.4).  Modules register
 * their metrics at creation and keep the pointers; values are plain integers, serving takes no
 * lock. No user or room ids as labels. */
#ifndef DC_OBS_METRICS_H
#define DC_OBS_METRICS_H

#include "base/strbuf.h"

struct dc_metrics;
struct dc_metrics *dc_metrics_create(void);
/* Frees all metrics with it; NULL is allowed. */
void dc_metrics_destroy(struct dc_metrics *m);

/* name: daarion_<module>_<what>[_total|_bytes|_seconds]; labels: rendered text such as
 * `role="city-service",code="2xx"` (values are ours: nothing in them is escaped) or NULL; all are
 * copied.  Registering the same name and labels
 * again gives the same metric; one name has one type (asserted).  m is never NULL: whoever counts
 * is given a registry, tests too. */
struct dc_counter {
    uint64_t value;
};
struct dc_gauge {
    int64_t value;
};
struct dc_histogram;
struct dc_counter *dc_metrics_counter(struct dc_metrics *m, const char *name, const char *labels,
                                      const char *help);
struct dc_gauge *dc_metrics_gauge(struct dc_metrics *m, const char *name, const char *labels,
                                  const char *help);
/* Microseconds in, seconds out; buckets 50 us .. 10 s. */
struct dc_histogram *dc_metrics_histogram(struct dc_metrics *m, const char *name,
                                          const char *labels, const char *help);
void dc_histogram_observe_us(struct dc_histogram *h, uint64_t us);

/* Appends the whole page, sorted by name and labels, # HELP and # TYPE once a name, then what every
 * process has: process_cpu_seconds_total, process_open_fds, process_resident_memory_bytes,
 * process_start_time_seconds (left out where the system does not say).  out may fail: ask it. */
void dc_metrics_render(const struct dc_metrics *m, struct dc_strbuf *out);

#endif
