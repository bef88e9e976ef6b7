/* Health checks: a handful for each process, kept in the order in which they were added. */
#include "obs/health.h"
#include "base/list.h"
#include "base/mem.h"
#include "obs/printable.h"

#define DETAIL_MAX_BYTES 160

struct dc_health_check {
    struct dc_list link;
    char *name;
    bool is_required;
    enum dc_health_state state;
    size_t detail_len;
    char detail[DETAIL_MAX_BYTES];
};

struct fact {
    struct dc_list link;
    char *name;
    char *value;
};

struct dc_health {
    struct dc_list checks;
    struct dc_list facts;
};

struct dc_health *dc_health_create(void)
{
    struct dc_health *h = dc_calloc(1, sizeof(*h));

    dc_list_init(&h->checks);
    dc_list_init(&h->facts);
    return h;
}

void dc_health_destroy(struct dc_health *h)
{
    if (h == NULL) {
        return;
    }
    while (!dc_list_is_empty(&h->checks)) {
        struct dc_health_check *c = DC_LIST_ENTRY(h->checks.next, struct dc_health_check, link);
        dc_list_remove(&c->link);
        dc_free(c->name);
        dc_free(c);
    }
    while (!dc_list_is_empty(&h->facts)) {
        struct fact *f = DC_LIST_ENTRY(h->facts.next, struct fact, link);
        dc_list_remove(&f->link);
        dc_free(f->name);
        dc_free(f->value);
        dc_free(f);
    }
    dc_free(h);
}

struct dc_health_check *dc_health_add(struct dc_health *h, const char *name, bool is_required)
{
    struct dc_health_check *c;

    DC_LIST_FOREACH (it, &h->checks) {
        /* Two owners of one check would hide each other's failure. */
        DC_ASSERT(strcmp(DC_LIST_ENTRY(it, struct dc_health_check, link)->name, name) != 0);
    }
    c = dc_calloc(1, sizeof(*c));
    c->name = dc_strdup(name);
    c->is_required = is_required;
    dc_list_push_back(&h->checks, &c->link);
    dc_health_set(c, DC_HEALTH_DOWN, "starting");
    return c;
}

void dc_health_set(struct dc_health_check *c, enum dc_health_state state, const char *detail)
{
    if (c == NULL) {
        return;
    }
    c->state = state;
    c->detail_len = dc_printable_copy(dc_slice_z(detail), c->detail, sizeof(c->detail));
}

/* What one check means for the whole process. */
static enum dc_health_state effect(const struct dc_health_check *c)
{
    return c->state == DC_HEALTH_DOWN && !c->is_required ? DC_HEALTH_DEGRADED : c->state;
}

enum dc_health_state dc_health_overall(const struct dc_health *h)
{
    enum dc_health_state worst = DC_HEALTH_OK;

    DC_LIST_FOREACH (it, &h->checks) {
        enum dc_health_state e = effect(DC_LIST_ENTRY(it, struct dc_health_check, link));
        if (e > worst) {
            worst = e;
        }
    }
    return worst;
}

static struct dc_slice state_text(enum dc_health_state state)
{
    switch (state) {
    case DC_HEALTH_OK:
        return DC_S("ok");
    case DC_HEALTH_DEGRADED:
        return DC_S("degraded");
    case DC_HEALTH_DOWN:
        return DC_S("unavailable");
    }
    return DC_S("unavailable");
}

void dc_health_write(const struct dc_health *h, struct dc_jsonw *w)
{
    dc_jsonw_key_text(w, "status", state_text(dc_health_overall(h)));
    dc_jsonw_key(w, "checks");
    dc_jsonw_object(w);
    DC_LIST_FOREACH (it, &h->checks) {
        const struct dc_health_check *c = DC_LIST_ENTRY(it, struct dc_health_check, link);
        dc_jsonw_key(w, c->name);
        dc_jsonw_object(w);
        dc_jsonw_key_text(w, "status", state_text(c->state));
        if (c->detail_len > 0) {
            dc_jsonw_key_text(w, "detail", dc_slice_make(c->detail, c->detail_len));
        }
        dc_jsonw_end(w);
    }
    dc_jsonw_end(w);
}

void dc_health_set_fact(struct dc_health *h, const char *name, const char *value)
{
    struct fact *fact = NULL;

    DC_LIST_FOREACH (it, &h->facts) {
        struct fact *f = DC_LIST_ENTRY(it, struct fact, link);
        if (strcmp(f->name, name) == 0) {
            fact = f;
        }
    }
    if (fact == NULL) {
        fact = dc_calloc(1, sizeof(*fact));
        fact->name = dc_strdup(name);
        dc_list_push_back(&h->facts, &fact->link);
    }
    dc_free(fact->value);
    fact->value = value == NULL ? NULL : dc_strdup(value);
}

void dc_health_write_facts(const struct dc_health *h, struct dc_jsonw *w)
{
    DC_LIST_FOREACH (it, &h->facts) {
        const struct fact *f = DC_LIST_ENTRY(it, struct fact, link);
        dc_jsonw_key_text(w, f->name, dc_slice_z(f->value));
    }
}
