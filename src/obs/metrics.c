/* The registry of metrics and its page.  Metrics are registered while modules are created and only
 * read by name when the page is rendered, so they sit in one sorted array of pointers. */
#include "obs/metrics.h"
#include "base/mem.h"
#include "obs/process.h"
#include <inttypes.h>

struct bucket {
    uint64_t upper_us;
    const char *le; /* the same in seconds */
};
static const struct bucket buckets[] = {
    {50, "0.00005"},  {100, "0.0001"},  {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},
    {2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"},  {25000, "0.025"}, {50000, "0.05"},
    {100000, "0.1"},  {250000, "0.25"}, {500000, "0.5"},  {1000000, "1"},   {2500000, "2.5"},
    {5000000, "5"},   {10000000, "10"},
};
#define BUCKET_COUNT DC_ARRAY_LEN(buckets)

struct dc_histogram {
    uint64_t counts[BUCKET_COUNT + 1]; /* each its own; the last: above all bounds */
    uint64_t sum_us;
};

enum type { COUNTER, GAUGE, HISTOGRAM };

struct metric {
    char *name;
    char *labels; /* "" : none */
    char *help;
    enum type type;
    union {
        struct dc_counter counter;
        struct dc_gauge gauge;
        struct dc_histogram histogram;
    } u;
};

struct dc_metrics {
    struct metric **items; /* sorted by name, then labels */
    size_t count, cap;
    int64_t start_utc_ms; /* 0: unknown */
};

struct dc_metrics *dc_metrics_create(void)
{
    struct dc_metrics *m = dc_calloc(1, sizeof(*m));

    if (!dc_process_start_utc_ms(&m->start_utc_ms)) {
        m->start_utc_ms = 0;
    }
    return m;
}

void dc_metrics_destroy(struct dc_metrics *m)
{
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        dc_free(m->items[i]->name);
        dc_free(m->items[i]->labels);
        dc_free(m->items[i]->help);
        dc_free(m->items[i]);
    }
    dc_free(m->items);
    dc_free(m);
}

/* [a-zA-Z_:][a-zA-Z0-9_:]* */
static bool is_name(const char *name)
{
    for (size_t i = 0; name[i] != '\0'; i++) {
        char c = name[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
        if (!is_letter && (i == 0 || c < '0' || c > '9')) {
            return false;
        }
    }
    return name[0] != '\0';
}

static int compare(const struct metric *a, const char *name, const char *labels)
{
    int c = strcmp(a->name, name);

    return c != 0 ? c : strcmp(a->labels, labels);
}

/* The index of the metric, or where it belongs. */
static size_t position(const struct dc_metrics *m, const char *name, const char *labels)
{
    size_t low = 0;
    size_t high = m->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare(m->items[mid], name, labels) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static bool is_family(const struct dc_metrics *m, size_t i, const char *name)
{
    return i < m->count && strcmp(m->items[i]->name, name) == 0;
}

static struct metric *find_or_add(struct dc_metrics *m, enum type type, const char *name,
                                  const char *labels, const char *help)
{
    DC_ASSERT(m != NULL && is_name(name));
    const char *l = labels == NULL ? "" : labels;
    size_t pos = position(m, name, l);

    if (pos < m->count && compare(m->items[pos], name, l) == 0) {
        DC_ASSERT(m->items[pos]->type == type);
        return m->items[pos];
    }
    DC_ASSERT(!is_family(m, pos, name) || m->items[pos]->type == type);
    DC_ASSERT(pos == 0 || !is_family(m, pos - 1, name) || m->items[pos - 1]->type == type);
    if (m->count == m->cap) {
        size_t cap = m->cap == 0 ? 64 : m->cap * 2;
        size_t bytes = 0;
        bool fits = dc_mul_size(cap, sizeof(struct metric *), &bytes);
        DC_ASSERT(fits);
        m->items = dc_realloc(m->items, bytes);
        m->cap = cap;
    }
    struct metric *item = dc_calloc(1, sizeof(*item));
    item->name = dc_strdup(name);
    item->labels = dc_strdup(l);
    item->help = dc_strdup(help);
    item->type = type;
    memmove(m->items + pos + 1, m->items + pos, (m->count - pos) * sizeof(struct metric *));
    m->items[pos] = item;
    m->count++;
    return item;
}

struct dc_counter *dc_metrics_counter(struct dc_metrics *m, const char *name, const char *labels,
                                      const char *help)
{
    return &find_or_add(m, COUNTER, name, labels, help)->u.counter;
}

struct dc_gauge *dc_metrics_gauge(struct dc_metrics *m, const char *name, const char *labels,
                                  const char *help)
{
    return &find_or_add(m, GAUGE, name, labels, help)->u.gauge;
}

struct dc_histogram *dc_metrics_histogram(struct dc_metrics *m, const char *name,
                                          const char *labels, const char *help)
{
    return &find_or_add(m, HISTOGRAM, name, labels, help)->u.histogram;
}

void dc_histogram_observe_us(struct dc_histogram *h, uint64_t us)
{
    size_t i = 0;

    while (i < BUCKET_COUNT && us > buckets[i].upper_us) {
        i++;
    }
    h->counts[i]++;
    h->sum_us += us;
}

/* As the text format wants it. */
static void add_help(struct dc_strbuf *out, const char *text_z)
{
    for (; *text_z != '\0'; text_z++) {
        if (*text_z == '\n') {
            dc_strbuf_add(out, DC_S("\\n"));
            continue;
        }
        if (*text_z == '\\') {
            dc_strbuf_add_char(out, '\\');
        }
        dc_strbuf_add_char(out, *text_z);
    }
}

static void add_head(struct dc_strbuf *out, const char *name, const char *help, const char *type)
{
    dc_strbuf_add(out, DC_S("# HELP "));
    dc_strbuf_add_z(out, name);
    dc_strbuf_add_char(out, ' ');
    add_help(out, help);
    dc_strbuf_add(out, DC_S("\n# TYPE "));
    dc_strbuf_add_z(out, name);
    dc_strbuf_add_char(out, ' ');
    dc_strbuf_add_z(out, type);
    dc_strbuf_add_char(out, '\n');
}

/* `name_suffix{labels,le="..."} `, without what is empty. */
static void add_series(struct dc_strbuf *out, const struct metric *item, const char *suffix,
                       const char *le)
{
    dc_strbuf_add_z(out, item->name);
    dc_strbuf_add_z(out, suffix);
    if (item->labels[0] != '\0' || le != NULL) {
        dc_strbuf_add_char(out, '{');
        dc_strbuf_add_z(out, item->labels);
        if (le != NULL) {
            dc_strbuf_add_z(out, item->labels[0] != '\0' ? ",le=\"" : "le=\"");
            dc_strbuf_add_z(out, le);
            dc_strbuf_add_char(out, '"');
        }
        dc_strbuf_add_char(out, '}');
    }
    dc_strbuf_add_char(out, ' ');
}

static void add_seconds(struct dc_strbuf *out, uint64_t us)
{
    dc_strbuf_printf(out, "%" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
}

static void add_histogram(struct dc_strbuf *out, const struct metric *item)
{
    const struct dc_histogram *h = &item->u.histogram;
    uint64_t total = 0;

    for (size_t i = 0; i <= BUCKET_COUNT; i++) {
        total += h->counts[i];
        add_series(out, item, "_bucket", i < BUCKET_COUNT ? buckets[i].le : "+Inf");
        dc_strbuf_add_u64(out, total);
        dc_strbuf_add_char(out, '\n');
    }
    add_series(out, item, "_sum", NULL);
    add_seconds(out, h->sum_us);
    add_series(out, item, "_count", NULL);
    dc_strbuf_add_u64(out, total);
    dc_strbuf_add_char(out, '\n');
}

static void add_metric(struct dc_strbuf *out, const struct metric *item)
{
    switch (item->type) {
    case COUNTER:
        add_series(out, item, "", NULL);
        dc_strbuf_add_u64(out, item->u.counter.value);
        dc_strbuf_add_char(out, '\n');
        break;
    case GAUGE:
        add_series(out, item, "", NULL);
        dc_strbuf_add_i64(out, item->u.gauge.value);
        dc_strbuf_add_char(out, '\n');
        break;
    case HISTOGRAM:
        add_histogram(out, item);
        break;
    }
}

static void add_process(const struct dc_metrics *m, struct dc_strbuf *out)
{
    uint64_t v = 0;

    if (dc_process_cpu_us(&v)) {
        add_head(out, "process_cpu_seconds_total", "User and system CPU time.", "counter");
        dc_strbuf_add(out, DC_S("process_cpu_seconds_total "));
        add_seconds(out, v);
    }
    if (dc_process_open_fds(&v)) {
        add_head(out, "process_open_fds", "Open file descriptors.", "gauge");
        dc_strbuf_printf(out, "process_open_fds %" PRIu64 "\n", v);
    }
    if (dc_process_resident_bytes(&v)) {
        add_head(out, "process_resident_memory_bytes", "Resident memory.", "gauge");
        dc_strbuf_printf(out, "process_resident_memory_bytes %" PRIu64 "\n", v);
    }
    if (m->start_utc_ms > 0) {
        add_head(out, "process_start_time_seconds", "Start of the process since the epoch.",
                 "gauge");
        dc_strbuf_printf(out, "process_start_time_seconds %" PRId64 ".%03" PRId64 "\n",
                         m->start_utc_ms / 1000, m->start_utc_ms % 1000);
    }
}

void dc_metrics_render(const struct dc_metrics *m, struct dc_strbuf *out)
{
    static const char *const type_names[] = {
        [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};

    for (size_t i = 0; i < m->count; i++) {
        const struct metric *item = m->items[i];
        if (i == 0 || strcmp(m->items[i - 1]->name, item->name) != 0) {
            add_head(out, item->name, item->help, type_names[item->type]);
        }
        add_metric(out, item);
    }
    add_process(m, out);
}
