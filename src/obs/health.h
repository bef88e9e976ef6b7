/* Health: named checks that components keep up to date; /livez, /readyz and /healthz read them.
 * A required check that is down makes the process unready (503); an optional one degrades it (200,
 * "degraded"). */
#ifndef DC_OBS_HEALTH_H
#define DC_OBS_HEALTH_H

#include "base/json.h"

enum dc_health_state { DC_HEALTH_OK, DC_HEALTH_DEGRADED, DC_HEALTH_DOWN };

struct dc_health;
struct dc_health_check;
struct dc_health *dc_health_create(void);
void dc_health_destroy(struct dc_health *h);
/* name is copied, each once (asserted); starts DOWN with detail "starting". */
struct dc_health_check *dc_health_add(struct dc_health *h, const char *name, bool is_required);
/* detail: short text without secrets, NULL allowed; copied, cut at 160 bytes.  c may be NULL. */
void dc_health_set(struct dc_health_check *c, enum dc_health_state state, const char *detail);
enum dc_health_state dc_health_overall(const struct dc_health *h);
/* A text member of /healthz beside the checks, such as "synapse":"connected" (what a specification
 * names); copied, replaces that of the same name. value NULL: null. */
void dc_health_set_fact(struct dc_health *h, const char *name, const char *value);
/* Writes them into an open object, in the order in which they were first set. */
void dc_health_write_facts(const struct dc_health *h, struct dc_jsonw *w);
/* Writes `"status":"ok|degraded|unavailable","checks":{...}` members into an open object. */
void dc_health_write(const struct dc_health *h, struct dc_jsonw *w);

#endif
